"""Hyperparameters by composite likelihood: independent Gaussian blocks, closed-form gradient in K, L-BFGS.

The log-likelihood of the blocks is added up as if they were independent (Varin, Reid & Firth 2011). Its
derivative in a block's covariance is ½(K⁻¹ − ααᵀ), α = K⁻¹(y − β) (Rasmussen & Williams 2006, eq. 5.9);
torch carries it on to the hyperparameters.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from xgpfill.errors import NumericalError, XgpfillWarning
from xgpfill.kernels.evaluate import Lags, prior_covariance
from xgpfill.learning.starts import AxisSummary, bounds_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.points import Observations
    from xgpfill.kernels.prior import Prior

PRIOR_SD = 2.5
"""Standard deviation of the weak prior on the log of each hyperparameter around its start."""
NOISY_SHARE = 0.9
VECTORS = ("weights", "frequencies", "bandwidths", "parameters")
"""Hyperparameters that hold several numbers."""
FAILED = 1e10
"""The objective where a covariance cannot be factored."""


@dataclass(frozen=True)
class Learned:
    """What learning found.

    Attributes
    ----------
    prior : Prior
        All numbers known, standardised units.
    evaluations : int
    log_likelihood : float
        Per observation, at the optimum.
    """

    prior: Prior
    evaluations: int
    log_likelihood: float


class Packing:
    """Between a flat vector of logs (plus the mean, last) and the hyperparameters that are free."""

    def __init__(self, prior: Prior, axes: dict[str, AxisSummary]) -> None:
        self.prior = prior
        self.sizes: dict[str, int] = {}
        start: list[float] = []
        self.bounds: list[tuple[float, float]] = []
        for path, value, unit, fixed in prior.items():
            if fixed or value is None:
                continue
            numbers = value if isinstance(value, tuple) else (value,)
            low, high = bounds_of(path, unit, axes)
            self.sizes[path] = len(numbers)
            start += [math.log(max(n, low)) for n in numbers]
            self.bounds += [(math.log(min(low, n) if n > 0 else low), math.log(max(high, n))) for n in numbers]
        self.start: FloatArray = np.array([*start, 0.0])
        self.bounds.append((-5.0, 5.0))

    def values(self, numbers: Any) -> dict[str, Any]:
        """Hyperparameters by path from exponentiated `numbers` (array or tensor), tuples kept as tuples."""
        found: dict[str, Any] = {}
        at = 0
        for path, size in self.sizes.items():
            vector = path.endswith(VECTORS)
            found[path] = tuple(numbers[at : at + size]) if vector else numbers[at]
            at += size
        return found

    def prior_at(self, theta: FloatArray) -> Prior:
        """The prior with plain numbers at a vector of logs."""
        return self.prior.with_values(self.values([float(v) for v in np.exp(theta[:-1])]))


def learn(
    prior: Prior,
    blocks: list[Observations],
    axes: dict[str, AxisSummary],
    *,
    max_evaluations: int = 80,
    callback: Callable[[int, float], None] | None = None,
) -> Learned:
    """Maximise the composite likelihood of `blocks` from the values that `prior` holds.

    Parameters
    ----------
    prior : Prior
        Every hyperparameter has its starting (or fixed) number; standardised units.
    blocks : list of Observations
        Standardised.
    axes : dict
        Summaries of time and space, for the bounds.
    max_evaluations : int
    callback : callable, optional
        Called with the number of evaluations and the objective per observation.
    """
    from scipy.optimize import minimize

    packing = Packing(prior, axes)
    problem = _Problem(packing, [Block(b, prior.geometry) for b in blocks])
    count = sum(map(len, blocks))
    state = {"evaluations": 0}

    def objective(theta: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = problem.evaluate(theta)
        state["evaluations"] += 1
        if callback is not None:
            callback(state["evaluations"], value / count)
        return value / count, gradient / count

    result = minimize(
        objective,
        packing.start,
        jac=True,
        method="L-BFGS-B",
        bounds=packing.bounds,
        options={"maxfun": max_evaluations, "maxiter": max_evaluations, "ftol": 1e-6, "maxcor": 20},
    )
    if not result.fun < FAILED / count:
        raise NumericalError(
            "Learning found no finite likelihood. Check the data for extreme values, type a larger `noise=`, or give "
            "starting values, e.g. `space_kernel=xgpfill.Matern(1.5, lengthscale=100.0)`."
        )
    learned = packing.prior_at(result.x)
    _warn_at_bounds(packing, result.x)
    likelihood = problem.penalty(result.x)[0] / count - float(result.fun) - 0.5 * math.log(2 * math.pi)
    return Learned(learned, state["evaluations"], likelihood)


class Block:
    """One block with its lags computed once."""

    def __init__(self, block: Observations, geometry: str) -> None:
        time = torch.as_tensor(block.points.time)[:, None]
        space = torch.as_tensor(np.ascontiguousarray(block.points.space))
        self.time, self.space = Lags.matrix(time, time, "time"), Lags.matrix(space, space, geometry)
        self.values, self.noise = torch.as_tensor(block.values), torch.as_tensor(block.noise)

    def covariance(self, prior: Prior) -> torch.Tensor:
        """The covariance of the block's field, differentiable in the prior's hyperparameters."""
        return prior_covariance(prior, self.time, self.space)


class _Problem:
    """The negative log posterior of the hyperparameters and its gradient."""

    def __init__(self, packing: Packing, blocks: list[Block]) -> None:
        self.packing, self.blocks = packing, blocks

    def evaluate(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Objective and gradient at a vector of logs."""
        leaf = torch.tensor(theta, requires_grad=True)
        numbers = leaf[:-1].exp()
        value = 0.0
        for block in self.blocks:
            prior = self.packing.prior.with_values(self.packing.values(numbers))
            assert prior.noise is not None
            noise = prior.noise * block.noise
            K = block.covariance(prior) + torch.diag(noise)
            result = _half_deviance(K.detach(), block.values - leaf[-1].detach())
            if result is None:
                return FAILED, np.zeros_like(theta)
            half_deviance, slope, alpha = result
            value += half_deviance
            torch.autograd.backward([K, leaf], [slope, _last(theta.size, -float(alpha.sum()))], retain_graph=True)
        assert leaf.grad is not None
        penalty, push = self.penalty(theta)
        return value + penalty, leaf.grad.numpy() + push

    def penalty(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Negative log density of the weak prior, without its constant, and its gradient."""
        spread = np.r_[np.full(theta.size - 1, PRIOR_SD), 1.0]
        distance = (theta - self.packing.start) / spread
        return 0.5 * float(distance @ distance), distance / spread


def _last(size: int, value: float) -> torch.Tensor:
    vector = torch.zeros(size, dtype=torch.float64)
    vector[-1] = value
    return vector


def _half_deviance(K: torch.Tensor, residual: torch.Tensor) -> tuple[float, torch.Tensor, torch.Tensor] | None:
    """−log N(residual; 0, K) without its constant, its derivative in K, and α = K⁻¹ residual."""
    L, info = torch.linalg.cholesky_ex(K)
    if info.any():
        return None
    inverse = torch.cholesky_inverse(L)
    alpha = inverse @ residual
    half_deviance = 0.5 * float(residual @ alpha) + float(L.diagonal().log().sum())
    return half_deviance, 0.5 * (inverse - torch.outer(alpha, alpha)), alpha


def _warn_at_bounds(packing: Packing, theta: FloatArray) -> None:
    """Say when a variance or the noise ended where it should not; lengthscales are reported by the model."""
    at = 0
    for path, size in packing.sizes.items():
        for i in range(at, at + size):
            low = packing.bounds[i][0]
            if path.endswith("lengthscale") and theta[i] <= low + 1e-6:
                warnings.warn(
                    f"Learning ended at the lower bound of {path}: the data show no correlation at that scale. Drop a "
                    f"scale, e.g. `scales=1`, or fix it, e.g. `xgpfill.Matern(1.5, lengthscale=..., fixed=True)`.",
                    XgpfillWarning,
                    stacklevel=6,
                )
        at += size
    numbers = packing.values(np.exp(theta[:-1]))
    variances = sum(float(v) for path, v in numbers.items() if path.endswith(".variance"))
    if "noise" in numbers and numbers["noise"] >= NOISY_SHARE * (variances + numbers["noise"]) and variances > 0:
        warnings.warn(
            f"{NOISY_SHARE:.0%} or more of the variance was taken for noise: the field will be smoothed to its mean. "
            f"Check the units of `noise=`, try a rougher kernel, e.g. `space_kernel='matern12'`, or fix `noise=`.",
            XgpfillWarning,
            stacklevel=6,
        )
