"""How far observations matter: those near a gap screen those behind them.

With observations ordered by distance and K = L Lᵀ their covariance, v = L⁻¹ k (k: covariances with a cell) tells what
each adds to those before it: the first j explain v₁² + … + vⱼ² of the variance of the cell, and the mean moves by a
normal number of variance Σ v² over those that follow. So one factorisation tells what is lost with all observations
beyond any distance (Stein 2002, doi:10.1214/aos/1015362194, on screening in kriging).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.covariance.dense import cholesky
from xgpfill.covariance.matrices import Covariance
from xgpfill.grid.directions import places_of
from xgpfill.grid.points import Observations, Points
from xgpfill.kernels.spec import Constant
from xgpfill.learning.blocks import one_field, read_window
from xgpfill.settings import Variational
from xgpfill.tiling.views.groups import drops_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from xgpfill.arrays import FloatArray, IntArray, Window
    from xgpfill.grid.lattice import Lattice
    from xgpfill.kernels.prior import Prior
    from xgpfill.settings import Settings

LARGE = 10**6
"""Cells of one field from which on it may have to be cut in columns."""
WINDOWS, TRIED = 6, 18
"""Windows with observations that are read, of at most so many."""
MIDDLE, CELLS_OF_EACH = 400, 5
"""Gaps in the middle of a window, of which so many are looked at."""
ACROSS, DEEP = 48, 14
"""Rows and columns, and times, of a window on each side of its centre."""
NEAR, FAR = 1000, 500
"""Observations of a window that are taken: the most correlated with a cell, and of all others at random."""
LOST = 0.05
"""Root mean square, in posterior standard deviations, by which means may move for what is not seen."""


Distances = tuple[float | None, float | None]
"""In time and in space."""


def distances_where_large(lattice: Lattice, prior: Prior, settings: Settings, seed: int) -> Distances:
    """Those of a field that may have to be cut in columns by an engine that does not average them; else unknown."""
    is_large = lattice.space.is_grid and np.prod(lattice.shape) >= LARGE
    if is_large and drops_columns(lattice.space, grow=isinstance(settings, Variational)):
        return screening_distances(lattice, prior, seed)
    return None, None


def screening_distances(lattice: Lattice, prior: Prior, seed: int) -> Distances:
    """Beyond which distance in time, and in space, observations hardly change what is told of gaps.

    In time, what never varies is left aside: it is told by averages of what is far.

    Parameters
    ----------
    lattice : Lattice
        In memory or lazy; some windows of its first field are read.
    prior : Prior
        Learned; standardised.
    seed : int
        Of the windows. Same seed, same distance.

    Returns
    -------
    (float or None, float or None)
        In the units of time and of space; None where windows do not reach far enough to tell, or hold no gap.
    """
    rng, field = np.random.default_rng(seed), one_field(lattice, next(lattice.members()))
    days = np.arange(1, DEEP + 1) * np.float64(lattice.time_step)
    km = np.linspace(0.0, ACROSS, 2 * ACROSS + 1)[1:] * np.float64(max(lattice.space.steps))
    varying = replace(prior, terms=tuple(t for t in prior.terms if not isinstance(t.time, Constant)))
    in_time, in_space = [], []
    for seen, cell in _probes(field, prior, rng):
        in_space.append(_lost(seen, cell, prior, rng, km, _in_space))
        if varying.terms:
            in_time.append(_lost(seen, cell, varying, rng, days, _in_time))
    return _enough(in_time, days), _enough(in_space, km)


def _enough(lost: list[FloatArray], distances: FloatArray) -> float | None:
    """The least distance within which enough is told."""
    enough = np.flatnonzero(np.sqrt(np.mean(lost, axis=0)) <= LOST) if lost else np.zeros(0, dtype=int)
    return float(distances[enough[0]]) if enough.size and enough[0] < distances.size - 1 else None


def _in_space(points: Points, cell: Points) -> FloatArray:
    return np.asarray(np.linalg.norm(places_of(points.space - cell.space), axis=1))


def _in_time(points: Points, cell: Points) -> FloatArray:
    return np.abs(points.time - cell.time)


def _probes(lattice: Lattice, prior: Prior, rng: np.random.Generator) -> Iterator[tuple[Observations, Points]]:
    """Observations around random cells, and some of the gaps nearest to these."""
    read = 0
    for _ in range(TRIED):
        centre = tuple(int(rng.integers(n)) for n in lattice.shape)
        window = _around(lattice, centre)
        found = read_window(lattice, (), window)
        if len(found):
            read += 1
            noise = found.noise * float(prior.noise or 0.0)
            seen = Observations(found.points, found.values, noise)
            yield from ((seen, cell) for cell in _gaps(lattice, found.points, window, centre, rng))
        if read == WINDOWS:
            return


def _gaps(
    lattice: Lattice, seen: Points, window: Window, centre: tuple[int, ...], rng: np.random.Generator
) -> Iterator[Points]:
    """Some of the gaps of a window that are nearest to its centre."""
    shape = tuple(w.size for w in window)
    gap = np.ones(shape, dtype=bool)
    if lattice.valid is not None:
        gap &= np.asarray(lattice.window(lattice.valid, (), window), dtype=bool)
    gap.reshape(shape[0], -1)[seen.time_index, seen.site_index] = False
    cells = np.argwhere(gap)
    away = np.abs(cells - [int(np.argmin(np.abs(w - c))) for w, c in zip(window, centre, strict=True)]).sum(1)
    middle = cells[np.argsort(away, kind="stable")[:MIDDLE]]
    for t, y, x in rng.permutation(middle)[:CELLS_OF_EACH]:
        yield Points(seen.times, seen.sites, np.array([t]), np.array([y * shape[2] + x]))


def _around(lattice: Lattice, centre: tuple[int, ...]) -> Window:
    t, y, x = (
        np.arange(max(0, c - wide), min(n, c + wide + 1))
        for c, n, wide in zip(centre, lattice.shape, (DEEP, ACROSS, ACROSS), strict=True)
    )
    return t, y, x


def _lost(
    seen: Observations,
    cell: Points,
    prior: Prior,
    rng: np.random.Generator,
    distances: FloatArray,
    distance: Callable[[Points, Points], FloatArray],
) -> FloatArray:
    """Variance that observations beyond each distance explain, over what is left with all of them."""
    covariance = Covariance(prior)
    used = _chosen(covariance.matrix(seen.points, cell)[:, 0].numpy(), rng)
    away = distance(seen.points.take_in_order(used), cell)
    order = np.argsort(away, kind="stable")
    used, away = used[order], away[order]
    some = seen.points.take_in_order(used)
    gram = covariance.matrix(some, some) + torch.diag(torch.from_numpy(seen.noise[used]))
    factor = cholesky(gram)
    explained = torch.linalg.solve_triangular(factor, covariance.matrix(some, cell), upper=False)[:, 0].numpy() ** 2
    left = float(covariance.diagonal(cell)[0]) - explained.sum()
    beyond = explained.sum() - np.concatenate([[0.0], np.cumsum(explained)])[np.searchsorted(away, distances, "right")]
    return np.asarray(np.maximum(beyond, 0.0) / max(left, np.finfo(float).tiny))


def _chosen(covariances: FloatArray, rng: np.random.Generator) -> IntArray:
    """The observations most correlated with a cell, and some of all others."""
    order = np.argsort(-covariances, kind="stable")
    others = order[NEAR:]
    return np.concatenate([order[:NEAR], rng.choice(others, min(FAR, others.size), replace=False)])
