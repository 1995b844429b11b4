"""Inducing points by randomly pivoted Cholesky with blocks: the observations whose field says most about the rest.

Chen, Epperly, Tropp & Webber (2025), "Randomly pivoted Cholesky", doi:10.1002/cpa.22234; the blocked form with
rejection of redundant proposals follows Epperly, Tropp & Webber (2024), arXiv:2410.03969.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.linalg.dense import solve_lower

if TYPE_CHECKING:
    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.points import IntArray, Points
    from xgpfill.kernels.covariance import Covariance

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
