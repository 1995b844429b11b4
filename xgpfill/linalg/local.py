"""Local conditionals: the field of a few cells given their m most correlated observations, for all cells of a lattice.

Cells are taken in small patches that share their neighbours, so that one factor serves them all. As an approximation
of the variance this is smooth, cheap and biased high; the control variate of the iterative engine corrects it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.linalg.dense import cholesky_each
from xgpfill.linalg.vecchia import LEAF, Neighbourhoods, chunks_of, metric_scales, most_correlated, scaled_coordinates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from xgpfill.grid.points import IntArray, Observations, Points
    from xgpfill.kernels.prior import Prior

PATCH = 8
"""Cells whose candidates for neighbours are looked up together, at most."""
FEW_CELLS = 50_000
"""So many cells may each have neighbours of their own; of more, some of a patch share them, and one factor."""
ALIKE = 0.5
"""Neighbouring cells join a patch while their correlation is at least this."""
SPARE = 1.0
"""Candidates of a patch for each neighbour of a cell, in every metric."""


@dataclass(frozen=True, eq=False)
class LocalBlock:
    """Conditionals of some cells.

    Attributes
    ----------
    index : Tensor (cells,)
        Which targets.
    mean : Tensor (cells, R)
        Of each draw of the data.
    variance : Tensor (cells,)
    """

    index: Tensor
    mean: Tensor
    variance: Tensor


def local_conditionals(
    prior: Prior,
    observations: Observations,
    values: Tensor,
    targets: Points,
    patches: IntArray,
    num_neighbours: int,
    device: str = "cpu",
    features: Callable[[Points], Tensor | None] | None = None,
) -> Iterator[LocalBlock]:
    """Conditionals of all targets, patch by patch.

    Parameters
    ----------
    prior : Prior
    observations : Observations
        Places and noise.
    values : Tensor (n, R)
        Draws of the data there, zero-mean.
    targets : Points
    patches : int array (patches, cells)
        Targets by number that share neighbours; a short patch repeats one of its own.
    num_neighbours : int
    device : str
    features : callable, optional
        Features of points (n, q) whose products are part of the covariance.
    """
    from scipy.spatial import KDTree

    scales = metric_scales(prior, observations.points)
    trees = [KDTree(scaled_coordinates(observations.points, s), leafsize=LEAF) for s in scales]
    features = features or (lambda _: None)
    hood = Neighbourhoods.of(prior, observations.points, device, features(observations.points))
    noise = torch.as_tensor(observations.noise, device=device)
    width, count = patches.shape[1], min(num_neighbours, len(observations))
    wanted = min(len(observations), count if width == 1 else int(SPARE * count))
    share = _shared(patches.size, width)
    middle = targets.take_in_order(patches[:, width // 2])
    candidates = np.concatenate(
        [
            tree.query(scaled_coordinates(middle, s), k=wanted, workers=-1)[1].reshape(-1, wanted)
            for tree, s in zip(trees, scales, strict=True)
        ],
        axis=1,
    )
    for part in chunks_of(len(patches), count + share, cells=width // share):
        places = targets.take_in_order(patches[part].ravel())
        goals = Neighbourhoods.of(prior, places, device, features(places))
        cells = torch.arange(len(places), device=device).view(-1, share)
        asked = torch.as_tensor(candidates[part], device=device).repeat_interleave(width // share, 0)
        chosen, known = most_correlated(goals, cells[:, share // 2], asked, count, hood)
        found = _conditional(hood, goals, cells, chosen, known, noise, values)
        yield replace(found, index=torch.as_tensor(patches[part].ravel(), device=device))


def _shared(cells: int, width: int) -> int:
    """How many cells of a patch share neighbours: a divisor of its width."""
    wanted = -(-cells // FEW_CELLS)
    return next(d for d in range(1, width + 1) if width % d == 0 and (d >= wanted or d == width))


def _conditional(
    hood: Neighbourhoods,
    goals: Neighbourhoods,
    cells: Tensor,
    near: Tensor,
    known: Tensor,
    noise: Tensor,
    values: Tensor,
) -> LocalBlock:
    K = hood.covariance(near[:, :, None], near[:, None, :])
    K *= (known[:, :, None] & known[:, None, :]).to(K.dtype)
    K.diagonal(dim1=1, dim2=2).add_(torch.where(known, noise[near], 1.0))
    cross = goals.covariance(cells[:, None, :], near[:, :, None], hood) * known[:, :, None]  # (patches, m, cells)
    L = cholesky_each(K)
    half = torch.linalg.solve_triangular(L, cross, upper=False)
    weights = torch.linalg.solve_triangular(L.mT, half, upper=True)
    mean = torch.einsum("pmc,pmr->pcr", weights, values[near].to(weights.dtype))
    prior = goals.covariance(cells, cells)
    variance = torch.maximum(prior - half.square().sum(1), torch.finfo(prior.dtype).eps * prior)
    flat = cells.reshape(-1)
    return LocalBlock(flat, mean.reshape(flat.numel(), -1), variance.reshape(-1))


def patches_of(shape: tuple[int, int, int], neighbours: tuple[float, float, float]) -> IntArray:
    """Cut a lattice (time, y, x) into boxes of up to eight cells that are as alike as can be.

    Parameters
    ----------
    shape : tuple of int
    neighbours : tuple of float
        Prior correlation of a cell with the next one along each axis.

    Returns
    -------
    int array (patches, cells)
        Cells by number, time outermost; boxes that leave the lattice repeat its last cells.
    """
    box, alike = [1, 1, 1], np.array(neighbours, float)
    while np.prod(box) < PATCH:
        reach = np.where(np.array(box) * 2 <= np.array(shape), alike, -np.inf)
        axis = int(np.argmax(reach))
        if reach[axis] < ALIKE:
            break
        box[axis] *= 2
        alike[axis] -= 1.0 - alike[axis]  # twice as far
    starts = [np.arange(0, n, b) for n, b in zip(shape, box, strict=True)]
    inside = [np.arange(b) for b in box]
    t, y, x = (np.minimum(s[:, None] + i, n - 1) for s, i, n in zip(starts, inside, shape, strict=True))
    number = (t[:, None, None, :, None, None] * shape[1] + y[None, :, None, None, :, None]) * shape[2]
    number = number + x[None, None, :, None, None, :]
    return np.asarray(number.reshape(-1, int(np.prod(box))))
