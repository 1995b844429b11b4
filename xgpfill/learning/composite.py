"""Hyperparameters by composite likelihood: independent Gaussian blocks, closed-form gradient in K, L-BFGS.

The log-likelihood of the blocks is added up as if they were independent (Varin, Reid & Firth 2011). Its
derivative in a block's covariance is ½(K⁻¹ − ααᵀ), α = K⁻¹(y − β) (Rasmussen & Williams 2006, eq. 5.9);
torch carries it on to the hyperparameters.
"""

from __future__ import annotations

import math
import warnings
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from xgpfill.errors import NumericalError, XgpfillWarning
from xgpfill.grid.directions import apart_from_depth
from xgpfill.kernels.evaluate import Lags, prior_covariance
from xgpfill.kernels.prior import AXES, outside_kernels
from xgpfill.kernels.spec import RBF, Matern
from xgpfill.learning.starts import FIRST_NOISE, LEAST_STEPS, AxisSummary, bounds_of
from xgpfill.linalg.threads import own_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.points import IntArray, Observations
    from xgpfill.kernels.prior import Prior
    from xgpfill.kernels.spec import Kernel

PRIOR_SD = 2.5
"""Standard deviation of the weak prior on the log of each hyperparameter around its start."""
NOISY_SHARE = 0.9
VECTORS = ("weights", "frequencies", "bandwidths", "parameters")
"""Hyperparameters that hold several numbers."""
FAILED = 1e10
"""The objective where a covariance cannot be factored."""
SHORTEST = 1.3
"""Times the shortest allowed lengthscale up to which a term is white, if it is so in time and space."""
SMALLEST_VARIANCE = 1e-6
"""What is left of the variance of such a term."""


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
        self.bounds.append((0.0, 0.0) if prior.centred else (-5.0, 5.0))

    def values(self, numbers: Any) -> dict[str, Any]:
        """Hyperparameters by path from exponentiated `numbers` (array or tensor), tuples kept as tuples."""
        found: dict[str, Any] = {}
        at = 0
        for path, size in self.sizes.items():
            vector = path.endswith(VECTORS)
            found[path] = tuple(numbers[at : at + size]) if vector else numbers[at]
            at += size
        return found

    def at(self, values: Mapping[str, Any]) -> FloatArray:
        """The vector with some hyperparameters replaced, within bounds."""
        theta, place = self.start.copy(), 0
        for path, size in self.sizes.items():
            if path in values:
                theta[place : place + size] = np.log(values[path])
            place += size
        low, high = np.array(self.bounds).T
        return np.asarray(np.clip(theta, low, high))

    def prior_at(self, theta: FloatArray) -> Prior:
        """The prior with plain numbers at a vector of logs."""
        return self.prior.with_values(self.values([float(v) for v in np.exp(theta[:-1])]))


def learn(
    prior: Prior,
    blocks: list[Observations],
    axes: dict[str, AxisSummary],
    *,
    starts: Sequence[Mapping[str, Any]] = (),
    rounds: tuple[str, ...] = ("coarse", "fine"),
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
    starts : sequence of mappings
        Other values to start from, by path. Those with the largest likelihood are followed for some steps, and the
        best of these and of the prior's own to the end.
    rounds : tuple of {"coarse", "fine"}
        The coarse round comes near the optimum with fewer and smaller blocks.
    max_evaluations : int
        Of each round.
    callback : callable, optional
        Called with the number of evaluations and the objective per observation.
    """
    few = _fewer(blocks)
    if prior.fixed_noise and "coarse" in rounds:
        # With little noise, rough data and a smooth kernel the first steps would end where nothing is correlated.
        free = replace(prior, noise=max(float(prior.noise or 0.0), FIRST_NOISE), fixed_noise=False)
        how: dict[str, Any] = {"rounds": ("coarse",), "max_evaluations": max_evaluations, "callback": callback}
        near, starts = learn(free, blocks, axes, starts=starts, **how).prior, ()
        prior = replace(near, noise=prior.noise, fixed_noise=True)
    packing = Packing(prior, axes)
    state = {"evaluations": 0}
    found, first = None, packing.start
    efforts = {"coarse": (few or blocks, COARSE), "fine": (blocks, FINE)}
    with own_threads() as threads, ThreadPoolExecutor(threads) as pool:
        if starts:
            scouted = _Problem(packing, [Block(b, prior) for b in few or _parts(blocks)], pool)
            first = _best_start(scouted, [packing.at(values) for values in starts], state, callback)
        for part, effort in [efforts[r] for r in rounds if few or r == rounds[-1]]:
            problem = _Problem(packing, [Block(b, prior) for b in part], pool)
            found = _minimised(problem, first, effort, max_evaluations, state, callback)
            first = found.x if found.fun < FAILED / len(problem) else packing.start
    assert found is not None
    if not found.fun < FAILED / len(problem):
        raise NumericalError(
            "Learning found no finite likelihood. Check the data for extreme values, type a larger `noise=`, or give "
            "starting values, e.g. `space_kernel=xgpfill.Matern(1.5, lengthscale=100.0)`."
        )
    learned = packing.prior_at(found.x)
    if rounds[-1] == "fine":
        single = {"time": all(np.ptp(b.points.time) == 0 for b in blocks)}
        single["space"] = all(np.ptp(apart_from_depth(b.points.space)[0], axis=0).max() == 0 for b in blocks)
        units = np.concatenate([b.noise for b in blocks])
        learned = without_shorter(learned, axes, units, [name for name in AXES if single[name]])
        _warn_of_noise(learned)
    likelihood = problem.penalty(found.x)[0] / len(problem) - float(found.fun) - 0.5 * math.log(2 * math.pi)
    return Learned(learned, state["evaluations"], likelihood)


def without_shorter(prior: Prior, axes: dict[str, AxisSummary], units: FloatArray, single: Sequence[str] = ()) -> Prior:
    """The prior with the variance of terms that neighbours in time and space share nothing of given to the noise.

    Parameters
    ----------
    prior : Prior
        All numbers known.
    axes : dict
    units : array (n,)
        What the noise of the prior multiplies at each observation. Where squared standard errors differ, a factor on
        them cannot hold what is the same everywhere, and the term stays.
    single : names of axes
        Those of one point, along which nothing can tell a term from noise.
    """
    unit = float(units.mean())
    if prior.fixed_noise or not unit > 0 or np.ptp(units) > 1e-9 * unit:
        return prior
    values, noise = dict[str, Any](), float(prior.noise or 0.0)
    for term in prior.terms:
        white = {axis: _is_white(kernel, axes[axis]) for axis, kernel in term.axes.items()}
        if any(white.values()) and all(is_so or axis in single for axis, is_so in white.items()):
            variance = float(term.variance or 0.0)
            noise, values[f"{term.name}.variance"] = noise + variance / unit, min(variance, SMALLEST_VARIANCE)
    return prior.with_values(values | {"noise": noise}) if values else prior


def without_field(prior: Prior) -> Prior:
    """The prior with next to nothing left of its terms, and what they had in the noise."""
    variances = {f"{term.name}.variance": float(term.variance or 0.0) for term in prior.terms}
    noise = float(prior.noise or 0.0) + sum(variances.values())
    values = {name: min(own, SMALLEST_VARIANCE) for name, own in variances.items()} | {"noise": noise}
    found = prior.with_values(values)
    _warn_of_noise(found)
    return found


def _is_white(kernel: Kernel, axis: AxisSummary) -> bool:
    """Whether a kernel that was learned ended as short as it may."""
    length = getattr(kernel, "lengthscale", None)
    simple = isinstance(kernel, (Matern, RBF)) and length is not None and not kernel.fixed
    return simple and float(length) <= SHORTEST * LEAST_STEPS * axis.step  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Effort:
    """When L-BFGS stops: relative change of the objective, evaluations."""

    change: float
    evaluations: int


SCOUT = _Effort(1e-3, 25)
FOLLOWED = 3
"""Other starts that are followed for some steps."""
COARSE = _Effort(1e-4, 60)
FINE = _Effort(2e-5, 60)
FEW = 160
"""Observations of a block in the first, coarse round."""


def _best_start(
    problem: _Problem,
    others: list[FloatArray],
    state: dict[str, int],
    callback: Callable[[int, float], None] | None,
) -> FloatArray:
    """Where some steps from the packing's own start, and from the most likely of the others, come to the best."""
    values = [problem.evaluate(theta)[0] for theta in others]
    state["evaluations"] += len(others)
    followed = [problem.packing.start, *(others[i] for i in np.argsort(values, kind="stable")[:FOLLOWED])]
    found = [_minimised(problem, theta, SCOUT, SCOUT.evaluations, state, callback) for theta in followed]
    best: FloatArray = min(found, key=lambda result: float(result.fun)).x
    return best


def _fewer(blocks: list[Observations]) -> list[Observations]:
    """Smaller blocks to come near the optimum with, at a tenth of the work: by turns thinned and cut out; or none."""
    if sum(map(len, blocks)) < 8 * FEW:
        return []
    found = []
    for i, block in enumerate(blocks[:: 2 if len(blocks) >= 12 else 1]):
        if len(block) <= FEW:
            found.append(block)
        elif i % 2:
            found.append(block.take(np.linspace(0, len(block) - 1, FEW).round().astype(np.intp)))
        else:
            found.append(block.take(_compact_part(block)))
    return found


def _parts(blocks: list[Observations]) -> list[Observations]:
    """Of few blocks: those that are large in two parts, thinned and cut out."""
    found = []
    for block in blocks:
        if len(block) <= 3 * FEW:
            found.append(block)
        else:
            found += [block.take(np.linspace(0, len(block) - 1, 2 * FEW).round().astype(np.intp))]
            found += [block.take(_compact_part(block, 2 * FEW))]
    return found


def _compact_part(block: Observations, size: int = FEW) -> IntArray:
    """Those nearest to the middle one, in time and space relative to the block's extent."""
    axes = [block.points.time[:, None], *apart_from_depth(block.points.space)]
    spans = [float(np.ptp(axis, axis=0).max()) or 1.0 for axis in axes]
    scaled = np.concatenate([axis / span for axis, span in zip(axes, spans, strict=True)], axis=1)
    distance = np.linalg.norm(scaled - np.median(scaled, axis=0), axis=1)
    return np.sort(np.argsort(distance, kind="stable")[:size])


def _minimised(
    problem: _Problem,
    start: FloatArray,
    effort: _Effort,
    max_evaluations: int,
    state: dict[str, int],
    callback: Callable[[int, float], None] | None,
) -> Any:
    """L-BFGS on the objective per observation."""
    from scipy.optimize import minimize

    count = len(problem)

    def objective(theta: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = problem.evaluate(theta)
        state["evaluations"] += 1
        if callback is not None:
            callback(state["evaluations"], value / count)
        return value / count, gradient / count

    evaluations = min(effort.evaluations, max_evaluations)
    options = {"maxfun": evaluations, "maxiter": evaluations, "ftol": effort.change, "maxcor": 20}
    bounds = problem.packing.bounds
    return minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)


class Block:
    """One block: lags of its pairs, each pair once, and where they are in the lower triangle."""

    def __init__(self, block: Observations, prior: Prior) -> None:
        time = torch.as_tensor(block.points.time)[:, None]
        space = torch.as_tensor(np.ascontiguousarray(block.points.space))
        self.values, self.noise = torch.as_tensor(block.values), torch.as_tensor(block.noise)
        self._pairs: Tensor | None = None
        if outside_kernels(prior):  # functions are asked for matrices
            self.time, self.space = Lags.matrix(time, time, "time"), Lags.matrix(space, space, prior.geometry)
            return
        n = len(block)
        i, j = torch.tril_indices(n, n)
        self._pairs = i * n + j
        self.time, self.space = Lags(time[i], time[j], "time"), Lags(space[i], space[j], prior.geometry)

    def __len__(self) -> int:
        return self.values.numel()

    def entries(self, prior: Prior) -> Tensor:
        """The covariances of the pairs (or the whole matrix), differentiable in the prior's hyperparameters."""
        return prior_covariance(prior, self.time, self.space)

    def matrix(self, entries: Tensor) -> Tensor:
        """The lower triangle of the covariance matrix; what is above it is not defined."""
        if self._pairs is None:
            return entries.clone()
        n = len(self)
        K = torch.zeros(n * n, dtype=entries.dtype)
        K[self._pairs] = entries
        return K.view(n, n)

    def covariance(self, prior: Prior) -> Tensor:
        """The whole covariance matrix of the block's field."""
        lower = self.matrix(self.entries(prior))
        return lower if self._pairs is None else lower.tril() + lower.tril(-1).T

    def slopes(self, matrix_slope: Tensor) -> Tensor:
        """The derivative in the entries, from that in the matrix."""
        if self._pairs is None:
            return matrix_slope
        twice = 2.0 * matrix_slope
        twice.diagonal().mul_(0.5)
        return twice.reshape(-1)[self._pairs]


class _Problem:
    """The negative log posterior of the hyperparameters and its gradient."""

    def __init__(self, packing: Packing, blocks: list[Block], pool: Executor) -> None:
        self.packing, self.blocks, self._pool = packing, blocks, pool

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    def evaluate(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Objective and gradient at a vector of logs."""
        value, gradient = 0.0, np.zeros_like(theta)
        for found in self._pool.map(lambda block: self._of_block(block, theta), self.blocks):
            if found is None:
                return FAILED, np.zeros_like(theta)
            value, gradient = value + found[0], gradient + found[1]
        penalty, push = self.penalty(theta)
        return value + penalty, gradient + push

    def _of_block(self, block: Block, theta: FloatArray) -> tuple[float, FloatArray] | None:
        """Half the deviance of one block and its gradient; None when its covariance cannot be factored."""
        leaf = torch.tensor(theta, requires_grad=True)
        prior = self.packing.prior.with_values(self.packing.values(leaf[:-1].exp()))
        assert prior.noise is not None
        noise, mean = torch.as_tensor(prior.noise, dtype=torch.float64), float(theta[-1])
        entries = block.entries(prior)
        K = block.matrix(entries.detach())
        K.diagonal().add_(block.noise, alpha=float(noise.detach()))
        result = _half_deviance(K, block.values - mean)
        if result is None:
            return None
        half_deviance, slope, alpha = result
        total = torch.dot(entries.reshape(-1), block.slopes(slope).reshape(-1)) - leaf[-1] * alpha.sum()
        if noise.requires_grad:
            total = total + noise * (slope.diagonal() @ block.noise)
        total.backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        return half_deviance, leaf.grad.numpy()

    def penalty(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Negative log density of the weak prior, without its constant, and its gradient."""
        spread = np.r_[np.full(theta.size - 1, PRIOR_SD), 1.0]
        distance = (theta - self.packing.start) / spread
        return 0.5 * float(distance @ distance), distance / spread


def _half_deviance(K: torch.Tensor, residual: torch.Tensor) -> tuple[float, torch.Tensor, torch.Tensor] | None:
    """−log N(residual; 0, K) without its constant, its derivative in K, and α = K⁻¹ residual."""
    L, info = torch.linalg.cholesky_ex(K)
    if info.any():
        return None
    inverse = torch.cholesky_inverse(L)  # symmetric
    alpha = inverse @ residual
    half_deviance = 0.5 * float(residual @ alpha) + float(L.diagonal().log().sum())
    return half_deviance, 0.5 * (inverse - torch.outer(alpha, alpha)), alpha


def _warn_of_noise(prior: Prior) -> None:
    """Say when nearly all is noise."""
    variances, noise = sum(float(term.variance or 0.0) for term in prior.terms), float(prior.noise or 0.0)
    if not prior.fixed_noise and noise >= NOISY_SHARE * (variances + noise) and variances > 0:
        warnings.warn(
            f"{NOISY_SHARE:.0%} or more of the variance was taken for noise: the field will be smoothed to its mean. "
            f"Check the units of `noise=`, try a rougher kernel, e.g. `space_kernel='matern12'`, or fix `noise=`.",
            XgpfillWarning,
            stacklevel=6,
        )
