"""From tiles to the field: one loop for arrays in memory, one dask graph for lazy ones, the same steps in both.

Mean and standard deviation of a tile leave one task together. The standard deviation is blended linearly: an
upper bound when tiles are exact under one model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.grid.lattice import take
from xgpfill.tiling.kept import KEPT, fingerprint
from xgpfill.tiling.view import Seen, added

if TYPE_CHECKING:
    from xgpfill.grid.lattice import FloatArray, Lattice, Window
    from xgpfill.grid.points import IntArray, Points
    from xgpfill.tiling.solve import Tile, TileSolver

Member = tuple[int, ...]
Work = Callable[["TileSolver", "Tile", Seen], "FloatArray"]


def tile_moments(solver: TileSolver, tile: Tile, seen: Seen) -> FloatArray:
    """Mean and standard deviation of a tile, (2, time, y, x): the one task both come from."""
    return solver.moments(tile, seen)


def tile_means(solver: TileSolver, tile: Tile, seen: Seen) -> FloatArray:
    """Posterior mean for every draw of the data, (draws, time, y, x)."""
    return solver.means(tile, seen)


def solved_tile(work: Work, solver: TileSolver, tile: Tile, parts: list[Seen]) -> FloatArray:
    """What `work` gives on a tile of lazy data, kept for whoever asks for the same next."""
    seen = added(parts)
    unit = () if seen.unit is None else (seen.unit,)
    key = fingerprint(
        solver.identity, work.__qualname__, tile, seen.cell, seen.count, seen.values, seen.noise, *unit
    )  # fmt: skip
    return KEPT.get(key, lambda: work(solver, tile, seen))


def seen_of(solver: TileSolver, tile: Tile, window: Window, values: Any, errors: Any) -> Seen:
    """What a tile sees of one chunk of lazy data."""
    return solver.seen(tile, window, values, errors)


def everything(solver: TileSolver) -> Window:
    """All cells."""
    t, y, x = (np.arange(n) for n in solver.frame.shape)
    return t, y, x


def cut(array: Any, window: Window) -> Any:
    """The part of an array ([draws,] time, y, x) in a window, lazily if it is lazy; axes of length one are kept."""
    if array is None:
        return None
    for axis, indices in zip((-3, -2, -1), window, strict=True):
        if array.shape[axis] != 1:
            array = take(array, indices, array.ndim + axis)
    return array


def blended(solver: TileSolver, window: Window, tiles: list[Tile], results: list[FloatArray]) -> FloatArray:
    """Tiles summed with their weights on one window of the lattice, (k, time, y, x)."""
    total = np.zeros((results[0].shape[0], *(w.size for w in window)))
    for tile, result in zip(tiles, results, strict=True):
        inside, where = _overlap(solver.plan.evaluated(tile), window)
        weighted = result * solver.plan.weights(tile)
        total[(slice(None), *np.ix_(*where))] += weighted[(slice(None), *np.ix_(*inside))]
    return total


def _overlap(evaluated: Window, window: Window) -> tuple[list[Any], list[Any]]:
    """Positions of the common cells in a tile's window and in the other."""
    inside, where = [], []
    for have, want in zip(evaluated, window, strict=True):
        _, i, j = np.intersect1d(have, want, assume_unique=True, return_indices=True)
        inside.append(i)
        where.append(j)
    return inside, where


def run_member(
    solver: TileSolver,
    values: Any,
    errors: Any,
    *,
    work: Work = tile_moments,
    step: Callable[[], None] = lambda: None,
) -> FloatArray:
    """All tiles of one field in memory, blended: (k, time, y, x).

    Parameters
    ----------
    values : array ([draws,] time, y, x)
    errors : array that broadcasts against (time, y, x), or None
    work : callable
        What to do on each tile.
    step : callable
        Called after each tile.
    """
    plan, field, whole = solver.plan, None, everything(solver)
    for tile in plan.tiles():
        window = plan.evaluated(tile)
        result = work(solver, tile, solver.seen(tile, whole, values, errors)) * plan.weights(tile)
        field = np.zeros((result.shape[0], *solver.frame.shape)) if field is None else field
        field[np.ix_(np.arange(len(field)), *window)] += result
        step()
    assert field is not None
    return field


def lazy_results(node: Any, solver: TileSolver, values: Any, errors: Any, work: Work) -> dict[Tile, Any]:
    """A delayed result of `work` for every tile of one lazy field."""
    import dask

    see, solve, blocks = dask.delayed(seen_of), dask.delayed(solved_tile), list(chunk_windows(values.chunks[-3:]))
    results = {}
    for tile in solver.plan.tiles():
        parts = [see(node, tile, window, cut(values, window), cut(errors, window)) for window in blocks]
        results[tile] = solve(work, node, tile, parts)
    return results


def lazy_member(node: Any, solver: TileSolver, values: Any, errors: Any, *, work: Work, leading: int) -> Any:
    """All tiles of one lazy field, blended: a dask array (leading, time, y, x), chunked as `values`."""
    import dask
    import dask.array as da

    results = lazy_results(node, solver, values, errors, work)
    chunks = values.chunks[-3:]
    blocks = np.empty(tuple(len(c) for c in chunks), dtype=object)
    blend = dask.delayed(blended)
    for where in np.ndindex(blocks.shape):
        window = _chunk_window(chunks, where)
        touching = [t for t in results if all(w.size for w in _overlap(solver.plan.evaluated(t), window)[0])]
        block = blend(node, window, touching, [results[t] for t in touching])
        shape = (leading, *(w.size for w in window))
        blocks[where] = da.from_delayed(block, shape=shape, dtype=np.float64)
    return da.block(blocks.tolist())


def _chunk_window(chunks: tuple[tuple[int, ...], ...], where: tuple[int, ...]) -> Window:
    """The cells of one chunk."""
    t, y, x = (
        np.arange(start, start + size)
        for start, size in ((list(accumulate(c, initial=0))[i], c[i]) for c, i in zip(chunks, where, strict=True))
    )
    return t, y, x


def chunk_windows(chunks: tuple[tuple[int, ...], ...]) -> Iterator[Window]:
    """The cells of every chunk."""
    for where in np.ndindex(*map(len, chunks)):
        yield _chunk_window(chunks, where)


def over_members(lattice: Lattice, each: Callable[[Member, int], Any]) -> Any:
    """Fields (k, time, y, x) of all members as one array (k, extra..., time, y, x), in memory or lazy.

    `each` is given the index of a member and its number.
    """
    fields = [each(member, number) for number, member in enumerate(lattice.members())]
    if lattice.is_lazy:
        import dask.array as da

        stacked = da.stack(fields, axis=1)
    else:
        stacked = np.stack(fields, axis=1)
    whole = stacked.reshape(stacked.shape[0], *lattice.extra_shape, *stacked.shape[2:])
    return whole.rechunk((whole.chunks[0], *lattice.values.chunks)) if lattice.is_lazy else whole


def blended_points(solver: TileSolver, values: Any, errors: Any, points: Points, cells: IntArray) -> FloatArray:
    """Mean and standard deviation at points anywhere, (2, n), in data units; tiles blended by nearest cell."""
    plan, whole = solver.plan, everything(solver)
    total = np.zeros((2, len(points)))
    for tile in plan.tiles():
        weights = plan.weights_at(tile, cells)
        chosen = np.flatnonzero(weights)
        if not chosen.size:
            continue
        seen = solver.seen(tile, whole, values, errors)
        found = solver.moments_at(points.take(chosen), tile, seen)
        total[:, chosen] += weights[chosen] * found
    return total


def solved_points(solver: TileSolver, values: Any, errors: Any, points: Points, cells: IntArray) -> FloatArray:
    """The same for lazy data, kept for whoever asks for the same next."""
    places = points.times, points.sites, points.time_index, points.site_index, cells
    key = fingerprint(solver.identity, values, errors, *places)
    return KEPT.get(key, lambda: blended_points(solver, values, errors, points, cells))


def lazy_points(node: Any, values: Any, errors: Any, points: Points, cells: IntArray) -> Any:
    """The same as one lazy array of a single chunk."""
    import dask
    import dask.array as da

    inputs = dask.delayed(solved_points)(node, values, errors, points, cells)
    return da.from_delayed(inputs, shape=(2, len(points)), dtype=np.float64)
