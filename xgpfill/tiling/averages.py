"""Weighted sums of cells of one field, with their true variances: which cells, batch by batch, from which tile.

Those of cells that no tile holds together are left to :mod:`xgpfill.tiling.drawn`.
What they are called, and what they are divided by, is decided in :mod:`xgpfill.aggregating`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.tiling.assemble import cut, seen_by_tiles
from xgpfill.tiling.drawn import drawn_sums
from xgpfill.tiling.kept import KEPT, fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from xgpfill.engines.base import Posterior
    from xgpfill.grid.lattice import FloatArray, Window
    from xgpfill.grid.points import IntArray
    from xgpfill.tiling.solve import TileSolver
    from xgpfill.tiling.tiles import Tile

BATCH = 32
"""Sums whose solves share directions."""
BATCH_ELEMENTS = 2**26
"""Weights of cells that are held at once."""


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums of cells of one lattice: every set of weights, on every combination of groups of the three axes.

    Attributes
    ----------
    weights : array (sets, time or 1, y or 1, x or 1)
    groups : int arrays (time,), (y,), (x,)
        Which group a cell is part of along each axis; −1: of none.
    counts : (int, int, int)
        Groups along each axis.
    """

    weights: FloatArray
    groups: tuple[IntArray, IntArray, IntArray]
    counts: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Sets of weights, and groups along time, y and x."""
        return (len(self.weights), *self.counts)

    def cells(self, where: tuple[int, ...], valid: Any) -> tuple[Window, FloatArray]:
        """The window of the cells of one sum, and their weights there, zero where the field does not exist."""
        t, y, x = (np.flatnonzero(g == i) for g, i in zip(self.groups, where[1:], strict=True))
        window: Window = (t, y, x)
        weights = np.broadcast_to(cut(self.weights[where[0]], window), tuple(w.size for w in window))
        if valid is not None:
            weights = np.where(cut(valid, window), weights, 0.0)
        used = weights != 0
        kept = [np.flatnonzero(used.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
        t, y, x = (indices[some] for indices, some in zip(window, kept, strict=True))
        return (t, y, x), weights[np.ix_(*kept)]


def member_sums(
    solver: TileSolver, values: Any, errors: Any, sums: Sums, valid: Any, noise: Any, step: Callable[[], None]
) -> FloatArray:
    """Mean, latent variance, sum of weights, and noise variance of every sum, (4, sets, groups...), in data units."""
    found = np.zeros((4, *sums.shape))
    tiles, across = _by_tile(solver, sums, valid)
    posteriors: dict[Tile, Posterior] = {}  # of one tile after the other
    scale, shift = solver.scaling.scale, solver.scaling.shift
    seen = seen_by_tiles(solver, values, errors)
    for tile, window, batch, weights in _batches(solver, sums, valid, tiles):
        if tile not in posteriors:
            posteriors = {tile: solver.posterior(tile, seen(tile))}
        points, total = solver.points(window), weights.sum(0)
        amplitude = np.broadcast_to(solver.amplitude(points), len(points))
        moments = posteriors[tile].averages(points, weights * amplitude[:, None])
        added = _on(window, noise).ravel() @ weights**2
        means = scale * (moments.mean + np.broadcast_to(solver.scaling.mean_of(points), len(points)) @ weights)
        _put(found, batch, (means + shift * total, scale**2 * moments.variance, total, added))
        step()
    if across:
        weighted = [sums.cells(where, valid) for where in across]
        mean, variance = drawn_sums(solver, values, errors, noise, weighted, step)
        total = np.array([weights.sum() for _, weights in weighted])
        added = np.array([(_on(window, noise) * weights**2).sum() for window, weights in weighted])
        _put(found, across, (mean, variance, total, added))
    return found


def _on(window: Window, noise: Any) -> FloatArray:
    """Noise variance of the cells of a window."""
    return np.broadcast_to(cut(np.asarray(noise), window) if np.ndim(noise) else noise, [w.size for w in window])


def _put(found: FloatArray, batch: list[tuple[int, ...]], rows: tuple[FloatArray, ...]) -> None:
    """Write rows of answers where they belong."""
    for row, answers in zip(found, rows, strict=True):
        row[tuple(np.array(batch).T)] = answers


def kept_sums(solver: TileSolver, values: Any, errors: Any, sums: Sums, valid: Any, noise: Any) -> FloatArray:
    """The same of lazy data, kept for whoever asks for the same next."""
    key = fingerprint(solver.identity, values, errors, valid, noise, sums.weights, *sums.groups)
    return KEPT.get(key, lambda: member_sums(solver, values, errors, sums, valid, noise, lambda: None))


def _by_tile(
    solver: TileSolver, sums: Sums, valid: Any
) -> tuple[dict[Tile, list[tuple[int, ...]]], list[tuple[int, ...]]]:
    """Which sums each tile is asked for, and those whose cells lie in several; empty ones left out."""
    tiles: dict[Tile, list[tuple[int, ...]]] = {}
    across: list[tuple[int, ...]] = []
    for where in np.ndindex(sums.shape):
        window, weights = sums.cells(where, valid)
        if weights.size:
            tile = _tile_of(solver, window)
            (across if tile is None else tiles.setdefault(tile, [])).append(where)
    return tiles, across


def are_across(solver: TileSolver, sums: Sums, valid: Any) -> bool:
    """Whether the cells of a sum lie in several tiles."""
    return len(solver.plan) > 1 and bool(_by_tile(solver, sums, valid)[1])


def _batches(
    solver: TileSolver, sums: Sums, valid: Any, tiles: dict[Tile, list[tuple[int, ...]]]
) -> Iterator[tuple[Tile, Window, list[tuple[int, ...]], FloatArray]]:
    """Sums of one tile that are solved for together, with their weights on its window (m, k)."""
    for tile, wanted in tiles.items():
        window = solver.plan.evaluated(tile)
        shape = tuple(w.size for w in window)
        places = [np.full(n, -1) for n in solver.frame.shape]
        for place, indices in zip(places, window, strict=True):
            place[indices] = np.arange(indices.size)
        size = max(1, min(BATCH, BATCH_ELEMENTS // math.prod(shape)))
        for start in range(0, len(wanted), size):
            batch = wanted[start : start + size]
            weights = np.zeros((*shape, len(batch)))
            for k, where in enumerate(batch):
                cells, values = sums.cells(where, valid)
                weights[np.ix_(*(p[c] for p, c in zip(places, cells, strict=True)), np.array([k]))] = values[
                    ..., np.newaxis
                ]
            yield tile, window, batch, weights.reshape(-1, len(batch))


def _tile_of(solver: TileSolver, window: Window) -> Tile | None:
    """The tile whose answer counts most at the cells of a window; None where none holds all of them."""
    plan = solver.plan

    def least(tile: Tile) -> float:
        axes = zip(plan.along(tile), window, strict=True)
        return float(np.prod([axis.weight_of_every_cell(k)[cells].min() for (axis, k), cells in axes]))

    best = max(plan.tiles(), key=least)
    return best if least(best) > 0 else None
