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

if TYPE_CHECKING:
    from xgpfill.grid.lattice import FloatArray, Lattice, Window
    from xgpfill.grid.points import IntArray, Points
    from xgpfill.tiling.messages import Information
    from xgpfill.tiling.solve import Tile, TileSolver

Member = tuple[int, ...]
Work = Callable[["TileSolver", "Tile", Any, Any, "Information | None"], "FloatArray"]


def tile_moments(solver: TileSolver, tile: Tile, values: Any, errors: Any, told: Information | None) -> FloatArray:
    """Mean and standard deviation of a tile, (2, time, y, x): the one task both come from."""
    return solver.moments(tile, values, errors, told)


def tile_means(solver: TileSolver, tile: Tile, values: Any, errors: Any, told: Information | None) -> FloatArray:
    """Posterior mean for every draw of the data, (draws, time, y, x)."""
    return solver.means(tile, values, errors, told)


def solved_tile(
    work: Work, solver: TileSolver, tile: Tile, values: Any, errors: Any, told: Information | None
) -> FloatArray:
    """What `work` gives on a tile of lazy data, kept for whoever asks for the same next."""
    message = () if told is None else (told.precision, told.vector)
    key = fingerprint(solver.identity, work.__qualname__, tile, values, errors, *message)
    return KEPT.get(key, lambda: work(solver, tile, values, errors, told))


def segment_information(solver: TileSolver, window: Window, values: Any, errors: Any) -> Information:
    """What one segment says of the slow features."""
    return solver.information(window, values, errors)


def summed(parts: list[Information]) -> Information:
    """All that the domain says."""
    return parts[0].plus(parts[1:])


def without(total: Information, inside: list[Information]) -> Information:
    """What the domain outside a tile says."""
    return total.plus(inside, sign=-1.0)


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
    plan, field = solver.plan, None
    messages = member_messages(solver, values, errors)
    for tile in plan.tiles():
        seen, window = plan.observed(tile), plan.evaluated(tile)
        result = work(solver, tile, cut(values, seen), cut(errors, seen), messages(tile)) * plan.weights(tile)
        field = np.zeros((result.shape[0], *solver.frame.shape)) if field is None else field
        field[np.ix_(np.arange(len(field)), *window)] += result
        step()
    assert field is not None
    return field


def member_messages(solver: TileSolver, values: Any, errors: Any) -> Callable[[Tile], Information | None]:
    """What each tile of a field in memory is told; nothing when there is one tile."""
    plan = solver.plan
    if len(plan) == 1:
        return lambda _: None
    parts = [segment_information(solver, s, cut(values, s), cut(errors, s)) for s in plan.segments]
    total = summed(parts)
    return lambda tile: without(total, [parts[i] for i in plan.segments_within(tile)])


def member_trend(solver: TileSolver, values: Any, errors: Any) -> tuple[float, float]:
    """Estimate and standard error of the constant mean of one field, standardised."""
    plan = solver.plan
    if len(plan) == 1:
        window = plan.observed(next(plan.tiles()))
        found = solver.posterior(window, values, errors, None).trend
        return found if found is not None else (float("nan"), float("nan"))
    parts = [segment_information(solver, s, cut(values, s), cut(errors, s)) for s in plan.segments]
    total = summed(parts)
    return solver.trend(total) if total.count else (float("nan"), float("nan"))


def lazy_results(node: Any, solver: TileSolver, values: Any, errors: Any, work: Work) -> dict[Tile, Any]:
    """A delayed result of `work` for every tile of one lazy field."""
    import dask

    plan = solver.plan
    parts = []
    if len(plan) > 1:
        tell = dask.delayed(segment_information)
        parts = [tell(node, segment, cut(values, segment), cut(errors, segment)) for segment in plan.segments]
        total = dask.delayed(summed)(parts)
    results = {}
    for tile in plan.tiles():
        seen = plan.observed(tile)
        told = dask.delayed(without)(total, [parts[i] for i in plan.segments_within(tile)]) if parts else None
        results[tile] = dask.delayed(solved_tile)(work, node, tile, cut(values, seen), cut(errors, seen), told)
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
    plan = solver.plan
    messages = member_messages(solver, values, errors)
    total = np.zeros((2, len(points)))
    for tile in plan.tiles():
        weights = plan.weights_at(tile, cells)
        chosen = np.flatnonzero(weights)
        if not chosen.size:
            continue
        seen = plan.observed(tile)
        found = solver.moments_at(points.take(chosen), tile, cut(values, seen), cut(errors, seen), messages(tile))
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
