"""From tiles to the field: one loop for arrays in memory, one dask graph for lazy ones, the same steps in both.

Mean and standard deviation of a tile leave one task together. The standard deviation is blended linearly: an
upper bound when tiles are exact under one model.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.grid.lattice import take
from xgpfill.tiling.kept import KEPT, fingerprint
from xgpfill.tiling.pyramid import Pyramid

if TYPE_CHECKING:
    from xgpfill.grid.lattice import FloatArray, Lattice, Window
    from xgpfill.grid.points import IntArray, Observations, Points
    from xgpfill.tiling.solve import Tile, TileSolver
    from xgpfill.tiling.stored import StoredAnswers

Member = tuple[int, ...]
Work = Callable[["TileSolver", "Tile", "Observations"], "FloatArray"]


def tile_moments(solver: TileSolver, tile: Tile, seen: Observations) -> FloatArray:
    """Mean and standard deviation of a tile, (2, time, y, x): the one task both come from."""
    return solver.moments(tile, seen)


def tile_means(solver: TileSolver, tile: Tile, seen: Observations) -> FloatArray:
    """Posterior mean for every draw of the data, (draws, time, y, x)."""
    return solver.means(tile, seen)


def node_of(solver: TileSolver) -> Any:
    """A solver as one delayed object for all tasks, which know it by the same name wherever they run."""
    import dask

    _ = solver.identity  # found here: a function that a user brought has another name in another process
    return dask.delayed(solver, traverse=False)


def solved_tile(
    work: Work, solver: TileSolver, tile: Tile, parts: list[FloatArray], kept: StoredAnswers | None
) -> FloatArray:
    """What `work` gives on a tile of lazy data, kept for whoever asks for the same next."""
    key = fingerprint(solver.identity, work.__qualname__, tile, *parts)
    return (kept or KEPT).get(key, lambda: work(solver, tile, solver.seen(tile, parts)))


def solved_whole(
    work: Work, solver: TileSolver, tile: Tile, values: Any, errors: Any, kept: StoredAnswers | None
) -> FloatArray:
    """The same of a tile that holds everything."""
    key = fingerprint(solver.identity, work.__qualname__, tile, values, errors)
    return (kept or KEPT).get(key, lambda: work(solver, tile, solver.observations(everything(solver), values, errors)))


def seen_by_tiles(solver: TileSolver, values: Any, errors: Any) -> Callable[[Tile], Observations]:
    """What each tile of a field in memory sees."""
    if len(solver.plan) == 1:
        return lambda _: solver.observations(everything(solver), values, errors)
    pyramid = Pyramid(solver.sums(everything(solver), values, errors))
    return lambda tile: solver.seen(tile, [pyramid.part(by, blocks) for by, blocks, _ in solver.view(tile).pieces])


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
    plan, field, seen = solver.plan, None, seen_by_tiles(solver, values, errors)
    for tile in plan.tiles():
        window = plan.evaluated(tile)
        result = work(solver, tile, seen(tile)) * plan.weights(tile)
        field = np.zeros((result.shape[0], *solver.frame.shape)) if field is None else field
        field[np.ix_(np.arange(len(field)), *window)] += result
        step()
    assert field is not None
    return field


def lazy_results(
    node: Any, solver: TileSolver, values: Any, errors: Any, work: Work, stored: StoredAnswers | None = None
) -> dict[Tile, Any]:
    """A delayed result of `work` for every tile of one lazy field."""
    import dask

    if len(solver.plan) == 1:
        tile = next(solver.plan.tiles())
        return {tile: dask.delayed(solved_whole)(work, node, tile, values, errors, stored)}
    sums, solve = dask.delayed(_sums), dask.delayed(solved_tile)
    leading = 2 + (values.shape[0] if values.ndim == 4 else 1)
    base = in_chunks(values.chunks[-3:], leading, lambda w: sums(node, w, cut(values, w), cut(errors, w)))
    pyramid, results = Pyramid(base), {}
    for tile in solver.plan.tiles():
        parts = [pyramid.part(by, blocks) for by, blocks, _ in solver.view(tile).pieces]
        results[tile] = solve(work, node, tile, parts, stored)
    return results


def _sums(solver: TileSolver, window: Window, values: Any, errors: Any) -> FloatArray:
    return solver.sums(window, values, errors)


def in_chunks(chunks: tuple[tuple[int, ...], ...], leading: int, make: Callable[[Window], Any]) -> Any:
    """A dask array (leading, time, y, x) of delayed chunks, made by their windows."""
    import dask.array as da

    blocks = np.empty(tuple(map(len, chunks)), dtype=object)
    for where in np.ndindex(blocks.shape):
        window = _chunk_window(chunks, where)
        shape = (leading, *(w.size for w in window))
        blocks[where] = da.from_delayed(make(window), shape=shape, dtype=np.float64)
    return da.block(blocks.tolist())


def lazy_member(
    node: Any,
    solver: TileSolver,
    values: Any,
    errors: Any,
    *,
    work: Work,
    leading: int,
    stored: StoredAnswers | None = None,
) -> Any:
    """All tiles of one lazy field, blended: a dask array (leading, time, y, x), chunked as `values`."""
    import dask

    results, blend = lazy_results(node, solver, values, errors, work, stored), dask.delayed(blended)

    def block(window: Window) -> Any:
        touching = [t for t in results if all(w.size for w in _overlap(solver.plan.evaluated(t), window)[0])]
        return blend(node, window, touching, [results[t] for t in touching])

    return in_chunks(values.chunks[-3:], leading, block)


def _chunk_window(chunks: tuple[tuple[int, ...], ...], where: tuple[int, ...]) -> Window:
    """The cells of one chunk."""
    t, y, x = (
        np.arange(start, start + size)
        for start, size in ((list(accumulate(c, initial=0))[i], c[i]) for c, i in zip(chunks, where, strict=True))
    )
    return t, y, x


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
    plan, seen = solver.plan, seen_by_tiles(solver, values, errors)
    total = np.zeros((2, len(points)))
    for tile in plan.tiles():
        weights = plan.weights_at(tile, cells)
        chosen = np.flatnonzero(weights)
        if not chosen.size:
            continue
        found = solver.moments_at(points.take(chosen), tile, seen(tile))
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
