"""Inducing points by randomly pivoted Cholesky with blocks: the observations whose field says most about the rest.

Chen, Epperly, Tropp & Webber (2025), "Randomly pivoted Cholesky", doi:10.1002/cpa.22234; the blocked form with
rejection of redundant proposals follows Epperly, Tropp & Webber (2024), arXiv:2410.03969.

Given them, the closed-form optimum of a sparse Gaussian process and its collapsed bound, by QR (Titsias 2009).

With u the field at M inducing points, Kuu = LLᵀ, φ(x) = L⁻¹k_u(x), Λ the noise of each observation and
B = Λ^{-1/2}Φᵀ the whitened features of the data, q(u) is optimal when

    RᵀR = I + BᵀB,   mean = φᵀ R⁻¹R⁻ᵀ BᵀΛ^{-1/2}y,   variance = k** − φᵀφ + φᵀ(RᵀR)⁻¹φ.

R comes from a QR factorisation of [B; I], which squares no condition number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.covariance.dense import cholesky, solve_lower

if TYPE_CHECKING:
    from torch import Tensor

    from xgpfill.arrays import FloatArray, IntArray
    from xgpfill.covariance.matrices import Covariance
    from xgpfill.grid.points import Observations, Points

BLOCK = 128
NEGLIGIBLE = 1e-9
"""A point whose remaining variance is below this share of its prior variance adds nothing."""
MAX_CANDIDATES = 20_000


def choose_inducing(
    covariance: Covariance, points: Points, count: int, *, seed: int = 0, tolerance: float = NEGLIGIBLE,
    unit: FloatArray | None = None,
) -> Points:  # fmt: skip
    """Choose at most `count` of `points`, spread so that little prior variance remains unexplained.

    Parameters
    ----------
    covariance : Covariance
    points : Points
        Candidates; more than 20,000 are thinned at random first.
    count : int
    seed : int
    tolerance : float
        Stop when less than this share of the prior variance remains unexplained.
    unit : array (n,), optional
        What a standard deviation of one stands for at each point; variance counts by its square.

    Returns
    -------
    Points
        All of them when there are no more than `count`.
    """
    if len(points) <= count and tolerance <= NEGLIGIBLE:
        return points
    rng = np.random.default_rng(seed)
    if len(points) > MAX_CANDIDATES:
        some = np.sort(rng.choice(len(points), MAX_CANDIDATES, replace=False))
        points, unit = points.take(some), None if unit is None else unit[some]
    counts = np.ones(len(points)) if unit is None else unit**2
    return points.take(np.sort(_pivots(covariance, points, count, rng, tolerance, counts)))


def _pivots(
    covariance: Covariance, points: Points, count: int, rng: np.random.Generator, tolerance: float, counts: FloatArray
) -> IntArray:
    """Indices drawn block by block in proportion to the remaining variance, redundant draws rejected."""
    prior = covariance.diagonal(points)
    left = prior.clone()
    negligible = max(NEGLIGIBLE, 100 * torch.finfo(prior.dtype).eps)
    factor = torch.zeros(count, len(points), dtype=covariance.dtype, device=covariance.device)
    chosen = np.empty(0, dtype=np.intp)
    while chosen.size < count and float(left.sum()) > tolerance * float(prior.sum()):
        share = counts * torch.where(left > negligible * prior, left, 0.0).double().cpu().numpy()
        share[chosen] = 0.0
        if not share.sum() > 0:
            break
        proposals = rng.choice(
            len(points), size=min(BLOCK, int((share > 0).sum())), replace=False, p=share / share.sum()
        )
        done = chosen.size
        rows = factor[:done]
        proposed = points.take(proposals)
        gram = covariance.matrix(proposed, proposed) - rows[:, proposals].T @ rows[:, proposals]
        accepted, L = _accepted(gram, rng)
        new = proposals[accepted][: count - done]
        if not new.size:
            break
        L = L[: new.size, : new.size]
        residual = covariance.matrix(points.take(new), points) - rows[:, new].T @ rows
        factor[done : done + new.size] = solve_lower(L, residual)
        left = (left - factor[done : done + new.size].square().sum(0)).clamp_min(0.0)
        chosen = np.concatenate([chosen, new])
    return chosen


def _accepted(gram: torch.Tensor, rng: np.random.Generator) -> tuple[IntArray, torch.Tensor]:
    """Accept a proposal with the share of its variance that earlier accepted ones leave; return their factor too."""
    size = gram.shape[0]
    L = torch.zeros_like(gram)
    diagonal = gram.diagonal().clone()
    kept: list[int] = []
    for i, chance in enumerate(rng.random(size)):
        if float(diagonal[i]) <= 0 or chance * float(gram[i, i]) > float(diagonal[i]):
            continue
        column = gram[:, i] - L[:, : len(kept)] @ L[i, : len(kept)]
        L[:, len(kept)] = column / diagonal[i].sqrt()
        diagonal = diagonal - L[:, len(kept)].square()
        kept.append(i)
    index = np.array(kept, dtype=np.intp)
    return index, L[index][:, : index.size]


class TitsiasWhitener:
    """W = R⁻ᵀBᵀΛ^{-1/2}: the whitened projection of data on the inducing features."""

    def __init__(self, covariance: Covariance, observations: Observations, inducing: Points) -> None:
        self.support = inducing
        self._L = cholesky(covariance.matrix(inducing, inducing), what="inducing covariance")
        features = solve_lower(self._L, covariance.matrix(inducing, observations.points))  # (M, n)
        self.root_precision = torch.as_tensor(observations.noise).to(features).rsqrt()
        self.B = (features * self.root_precision).T
        stacked = torch.cat([self.B, torch.eye(len(inducing), dtype=self.B.dtype, device=self.B.device)])
        self.R = torch.linalg.qr(stacked, mode="r").R

    def observed(self, values: Tensor) -> Tensor:
        """R⁻ᵀBᵀΛ^{-1/2} values."""
        return self._solve(self.B.T @ (values * self.root_precision[:, None]))

    def gram(self, left: Tensor, right: Tensor) -> Tensor:
        """leftᵀ(Q + Λ)⁻¹right, by Woodbury."""
        precision = self.root_precision.square()[:, None]
        return left.T @ (right * precision) - self.observed(left).T @ self.observed(right)

    def targets(self, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A = R⁻ᵀφ, gained aᵀa, lost φᵀφ."""
        features = solve_lower(self._L, columns)
        a = self._solve(features)
        return a, a, features

    def _solve(self, right: Tensor) -> Tensor:
        """R⁻ᵀ right."""
        return solve_lower(self.R.T, right)


def collapsed_bound(covariance: Covariance, observations: Observations, inducing: Points) -> float:
    """Titsias' lower bound of the log marginal likelihood of zero-mean observations (Titsias 2009, eq. 9)."""
    whitener = TitsiasWhitener(covariance, observations, inducing)
    y = torch.as_tensor(observations.values).to(whitener.B)[:, None]
    fit = float(whitener.gram(y, y)[0, 0])
    log_det = 2 * float(whitener.R.diagonal().abs().log().sum()) + float(np.log(observations.noise).sum())
    explained = (whitener.B / whitener.root_precision[:, None]).square().sum(1)
    slack = (covariance.diagonal(observations.points) - explained) * whitener.root_precision.square()
    return -0.5 * (fit + log_det + len(observations) * float(np.log(2 * np.pi)) + float(slack.sum()))
