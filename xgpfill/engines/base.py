"""What an engine is, and the linear algebra that all of them share.

An engine conditions a Gaussian prior on observations. With A the covariance of the observations (field plus
noise), H the basis functions of the trend and h those of a target,

    P = HᵀA⁻¹H + B⁻¹,   β = P⁻¹HᵀA⁻¹y,   r = h − HᵀA⁻¹k,
    mean = hᵀβ + kᵀA⁻¹(y − Hβ),   variance = k** − kᵀA⁻¹k + rᵀP⁻¹r

(Rasmussen & Williams 2006, eq. 2.41–2.42). An engine supplies only how A⁻¹ acts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from xgpfill.covariance.dense import cholesky
from xgpfill.engines.averages import averaged_prior
from xgpfill.errors import TooManyPointsError
from xgpfill.settings import MAX_JOINT_TARGETS

if TYPE_CHECKING:
    from torch import Tensor

    from xgpfill.arrays import FloatArray
    from xgpfill.covariance.matrices import Covariance
    from xgpfill.engines.lattice.variance import Check
    from xgpfill.grid.points import Observations, Points
    from xgpfill.operators.conjugate_gradients import Solution


@dataclass(frozen=True)
class Moments:
    """Posterior mean and latent variance at targets, each (m,), standardised."""

    mean: FloatArray
    variance: FloatArray


class Posterior(Protocol):
    """The law of f given the observations: f | y ~ N(K*ᵀA⁻¹y, K** − K*ᵀA⁻¹K*), A = K + noise."""

    def moments(self, targets: Points) -> Moments:
        """Marginal mean (of the first draw of the data) and latent variance of every target."""

    def means(self, targets: Points) -> FloatArray:
        """Posterior mean for every draw of the data, (m, draws)."""

    def covariance(self, targets: Points) -> FloatArray:
        """Joint latent covariance of the targets, (m, m)."""

    def averages(self, targets: Points, weights: FloatArray) -> Moments:
        """Mean (of the first draw of the data) and latent variance of wᵀf for every column of weights (m, k)."""

    def sample(self, targets: Points, n: int, rng: np.random.Generator) -> FloatArray:
        """Coherent draws of the field at targets (given the first draw of the data), (n, m)."""

    @property
    def trend(self) -> tuple[float, float] | None:
        """Estimate and standard error of the constant mean, None where it is not part of the model."""


class Engine(Protocol):
    """A way to condition: frozen settings with one verb."""

    def condition(self, covariance: Covariance, observations: Observations, *, trend: bool = True) -> Posterior:
        """Condition the prior on the observations; with `trend` an unknown constant mean is added."""


class Whitener(Protocol):
    """A linear map W with WᵀW = the part of A⁻¹ that sees the prior: the one thing an engine supplies."""

    def observed(self, values: Tensor) -> Tensor:
        """ỹ such that a(x)ᵀỹ is the posterior mean of data `values` (n, p); returns (q, p)."""

    def gram(self, left: Tensor, right: Tensor) -> Tensor:
        """leftᵀA⁻¹right."""

    def targets(self, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For covariances with targets (·, m): a (q, m), and the factors whose squares are what data add and remove."""

    @property
    def support(self) -> Points:
        """The points whose covariance with a target is all that is needed of it."""


class WhitenedPosterior:
    """A posterior from a whitener, a prior covariance and an optional unknown constant mean.

    Parameters
    ----------
    law : Covariance
    whitener : Whitener
    observations : Observations
        Values (n,), or (n, draws) for several draws of the data at the same points.
    trend : bool
        Whether an unknown constant mean with a flat prior is part of the model.
    """

    def __init__(self, law: Covariance, whitener: Whitener, observations: Observations, *, trend: bool) -> None:
        self._law, self._whitener = law, whitener
        y = self._tensor(observations.columns)
        self._ones = torch.ones(y.shape[0], 1, dtype=law.dtype, device=law.device) if trend else None
        self._coefficients, self._beta = whitener.observed(y), None
        if self._ones is not None:
            self._basis = whitener.observed(self._ones)
            self._precision = whitener.gram(self._ones, self._ones)  # P
            self._beta = torch.linalg.solve(self._precision, whitener.gram(self._ones, y))  # β = P⁻¹HᵀA⁻¹y
            self._coefficients = self._coefficients - self._basis @ self._beta

    def _tensor(self, array: FloatArray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array)).to(self._law.device, self._law.dtype)

    def moments(self, targets: Points) -> Moments:
        """Marginal mean (of the first draw of the data) and latent variance of every target."""
        mean = torch.empty(len(targets), dtype=self._law.dtype)
        variance = torch.empty_like(mean)
        for block in self._law.blocks(self._whitener.support, targets):
            a, gained, lost = self._whitener.targets(block.columns)
            left = block.variance - lost.square().sum(0) + gained.square().sum(0)
            if self._ones is not None:
                r = 1.0 - self._basis.T @ a
                left = left + r[0].square() / self._precision[0, 0]
            mean[block.index] = self._mean(a)[:, 0].cpu()
            variance[block.index] = _floored(left, block.variance).cpu()
        return Moments(mean.double().numpy(), variance.double().numpy())

    def means(self, targets: Points) -> FloatArray:
        """Posterior mean for every draw of the data, (m, draws)."""
        mean = torch.empty(len(targets), self._coefficients.shape[1], dtype=self._law.dtype)
        for block in self._law.blocks(self._whitener.support, targets):
            mean[block.index] = self._mean(self._whitener.targets(block.columns)[0]).cpu()
        return np.asarray(mean.double().numpy())

    def _mean(self, a: Tensor) -> Tensor:
        mean = a.T @ self._coefficients
        return mean if self._beta is None else mean + self._beta

    def covariance(self, targets: Points) -> FloatArray:
        """Joint latent covariance of the targets."""
        a, gained, lost = self._whitener.targets(self._law.matrix(self._whitener.support, targets))
        joint = self._law.matrix(targets, targets) + gained.T @ gained - lost.T @ lost
        if self._ones is not None:
            r = 1.0 - self._basis.T @ a
            joint = joint + r.T @ torch.linalg.solve(self._precision, r)
        found: FloatArray = joint.double().cpu().numpy().astype(np.float64)
        np.fill_diagonal(found, np.maximum(found.diagonal(), 0.0))
        return 0.5 * (found + found.T)

    def averages(self, targets: Points, weights: FloatArray) -> Moments:
        """Mean (of the first draw of the data) and latent variance of wᵀf for every column of weights (m, k)."""
        w = self._tensor(weights)
        columns = w.new_zeros(len(self._whitener.support), w.shape[1])
        for block in self._law.blocks(self._whitener.support, targets):
            columns += block.columns @ w[torch.as_tensor(block.index, device=w.device)]
        a, gained, lost = self._whitener.targets(columns)
        mean, prior = a.T @ self._coefficients[:, 0], averaged_prior(self._law, targets, w)
        variance = prior - lost.square().sum(0) + gained.square().sum(0)
        if self._ones is not None:
            assert self._beta is not None
            r = w.sum(0) - self._basis[:, 0] @ a
            mean, variance = mean + self._beta[0, 0] * w.sum(0), variance + r.square() / self._precision[0, 0]
        return Moments(*(np.asarray(x.double().cpu().numpy()) for x in (mean, _floored(variance, prior))))

    def sample(self, targets: Points, n: int, rng: np.random.Generator) -> FloatArray:
        """Coherent draws of the field at targets (given the first draw of the data), (n, m)."""
        return drawn_jointly(self, targets, n, rng)

    @property
    def trend(self) -> tuple[float, float] | None:
        """Estimate and standard error of the constant mean (standardised), or None."""
        if self._ones is None:
            return None
        assert self._beta is not None
        return float(self._beta[0, 0]), float(self._precision[0, 0]) ** -0.5


@dataclass(frozen=True)
class Convergence:
    """How a solve went.

    Attributes
    ----------
    steps : int
    residual : float
        Largest true residual over its tolerance; at most 1 when the solve converged.
    tolerance : float
        Of the mean.
    observations, columns : int
    factor_seconds, solve_seconds : float
    check : Check or None
        What the answers that it gave were found to be worth.
    """

    steps: int
    residual: float
    tolerance: float
    observations: int
    columns: int
    factor_seconds: float
    solve_seconds: float
    check: Check | None = None

    @classmethod
    def of(
        cls, found: Solution, tolerance: Tensor, asked: float, factor_seconds: float, solve_seconds: float
    ) -> Convergence:
        """Of a solve to tolerances (R,) of its columns, where `asked` is that of the mean."""
        worst = float((found.residual / tolerance).max()) if tolerance.numel() else 0.0
        n, columns = found.values.shape
        return cls(found.steps, worst, asked, n, columns, factor_seconds, solve_seconds)

    @property
    def error(self) -> float:
        """About how far off means are, in standard deviations."""
        return self.residual * self.tolerance

    @property
    def as_text(self) -> str:
        """How far it came, of one that missed its tolerance."""
        return (
            f"Conjugate gradients stopped after {self.steps} steps at {self.residual:.2g} times the tolerance: means "
            f"are about {self.error:.2g} standard deviations off."
        )


def require_few_jointly(m: int) -> None:
    """Refuse the joint covariance of more targets than go together.

    Raises
    ------
    TooManyPointsError
    """
    if m > MAX_JOINT_TARGETS:
        raise TooManyPointsError(
            f"The joint covariance of {m} targets would take {m * m * 8 / 2**30:.1f} GiB; at most "
            f"{MAX_JOINT_TARGETS} go together. Use fewer targets, or draws: `model.sample(n, target=...)`."
        )


def drawn_jointly(posterior: Posterior, targets: Points, n: int, rng: np.random.Generator) -> FloatArray:
    """Draws (n, m) by a factor of the joint covariance of the targets, f = μ + Lz (Rasmussen & Williams 2006, A.2).

    Raises
    ------
    TooManyPointsError
        When the covariance would be too large.
    """
    m = len(targets)
    if m > MAX_JOINT_TARGETS:
        raise TooManyPointsError(
            f"Draws at {m} points would need the joint covariance of all, {m * m * 8 / 2**30:.1f} GiB; at most "
            f"{MAX_JOINT_TARGETS} go together. Fit with `method='vecchia'`, which needs no such matrix, or draw at "
            f"fewer points."
        )
    L = cholesky(torch.as_tensor(posterior.covariance(targets)), what="posterior covariance").numpy()
    mean = posterior.means(targets)[:, 0]
    return np.asarray(mean + rng.standard_normal((n, m)) @ L.T)


def _floored(variance: Tensor, prior: Tensor) -> Tensor:
    """Rounding may leave a variance just below zero where the data pin the field; it is not less than rounding."""
    return torch.maximum(variance, torch.finfo(variance.dtype).eps * prior)
