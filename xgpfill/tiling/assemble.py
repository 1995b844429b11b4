"""From tiles to the field: one loop for arrays in memory, one dask graph for lazy ones, the same steps in both.

Mean and standard deviation of a tile leave one task together. The standard deviation is blended linearly: an
upper bound when tiles are exact under one model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np

from xgpfill.grid.lattice import take
from xgpfill.tiling.graph import Reads, base_level, chunked_alike, layer, touching
from xgpfill.tiling.kept import KEPT, fingerprint
from xgpfill.tiling.views.pyramid import Pyramid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dask.delayed import Delayed

    from xgpfill.arrays import FloatArray, IntArray, Window
    from xgpfill.grid.lattice import Lattice
    from xgpfill.grid.points import Observations, Points
    from xgpfill.tiling.graph import ChunkStarts
    from xgpfill.tiling.solve import TileSolver
    from xgpfill.tiling.stored import StoredAnswers
    from xgpfill.tiling.tiles import Tile

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
    _ = solver.identity  # found here: a function that a user brought has another name in another process
    return dask.delayed(solver, traverse=False)


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked of every tile.

    Attributes
    ----------
    work : callable
    stored : StoredAnswers or None
        Where answers are kept for later runs; None: in this process.
    """

    work: Work
    stored: StoredAnswers | None = None

    def answer(self, key: str, make: Callable[[], FloatArray]) -> FloatArray:
        """What is known by a key, made and kept when it is not there."""
        return (self.stored or KEPT).get(key, make)


def solved_tile(
    question: Question, solver: TileSolver, starts: ChunkStarts, position: IntArray, chunks: list[Any]
) -> FloatArray:
    """What is asked of a tile of lazy data, kept for whoever asks for the same next."""
    t, y, x = position.tolist()
    tile, work = (t, y, x), question.work
    parts = starts.cut(solver, solver.view(tile), chunks)
    key = fingerprint(solver.identity, work.__qualname__, tile, *parts)
    return question.answer(key, lambda: work(solver, tile, solver.seen(tile, parts)))


def solved_whole(question: Question, solver: TileSolver, values: list[Any], errors: Any) -> FloatArray:
    """The same of the one tile that holds everything, from the chunks of the data, nested as `np.block` takes them."""
    data, errors = np.block(values), np.block(errors) if isinstance(errors, list) else errors
    tile, work = next(solver.plan.tiles()), question.work
    key = fingerprint(solver.identity, work.__qualname__, tile, data, errors)
    return question.answer(key, lambda: work(solver, tile, solver.observations(everything(solver), data, errors)))


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


def blended(solver: TileSolver, bounds: IntArray, tiles: IntArray, results: list[FloatArray]) -> FloatArray:
    """Tiles (n, 3) summed with their weights on a part of the lattice, (k, time, y, x); `bounds` (3, 2) of its axes."""
    window = [np.arange(*ends) for ends in bounds.tolist()]
    total = np.zeros((results[0].shape[0], *(w.size for w in window)))
    for (t, y, x), result in zip(tiles.tolist(), results, strict=True):
        tile = (t, y, x)
        inside, where = _overlap(solver.plan.evaluated(tile), window)
        weighted = result * solver.plan.weights(tile)
        total[(slice(None), *np.ix_(*where))] += weighted[(slice(None), *np.ix_(*inside))]
    return total


def _overlap(evaluated: Window, window: Sequence[IntArray]) -> tuple[list[Any], list[Any]]:
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


def lazy_tiles(
    node: Any, solver: TileSolver, values: Any, errors: Any, work: Work, stored: StoredAnswers | None = None
) -> Delayed:
    """What `work` gives on every tile of one lazy field, as tasks (name, *tile) of the layer of one delayed object."""
    question = dask.delayed(Question(work, stored), traverse=False)
    if len(solver.plan) == 1:
        own = errors.__dask_keys__() if hasattr(errors, "dask") else errors
        task = (solved_whole, question.key, node.key, values.__dask_keys__(), own)
        whole = [question, node, values, *([errors] if hasattr(errors, "dask") else [])]
        return layer("solved-tile", {next(solver.plan.tiles()): task}, *whole)
    values, errors = chunked_alike(values, errors)
    reads = Reads(solver, values, errors, Pyramid(base_level(node, values, errors)))
    chunks = {tile: reads.of(tile) for tile in solver.plan.tiles()}
    starts = dask.delayed(reads.starts, traverse=False)
    needs = (question, node, starts)
    tasks = {tile: (solved_tile, *(n.key for n in needs), np.array(tile), read) for tile, read in chunks.items()}
    return layer("solved-tile", tasks, *needs, *reads.sources)


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
    tiles, tasks = lazy_tiles(node, solver, values, errors, work, stored), {}
    name, chunks = tiles.key[0], values.chunks[-3:]
    for where, bounds, some in touching(solver.plan, chunks):
        results = [(name, *tile) for tile in some]
        empty = (np.zeros, [leading, *np.diff(bounds)[:, 0].tolist()])
        tasks[0, *where] = (blended, node.key, bounds, np.array(some), results) if some else empty
    found = layer("blended-chunk", tasks, node, tiles)
    return da.Array(found.dask, found.key[0], ((leading,), *chunks), dtype=np.float64)


def in_chunks(chunks: tuple[tuple[int, ...], ...], leading: int, make: Callable[[Window], Delayed]) -> Any:
    """A dask array (leading, time, y, x) of delayed chunks, made by their windows, each once whoever asks for it."""
    made, starts = {}, [np.cumsum((0, *own)) for own in chunks]
    for where in np.ndindex(*map(len, chunks)):
        t, y, x = (np.arange(own[k], own[k + 1]) for own, k in zip(starts, where, strict=True))
        made[0, *where] = make((t, y, x))
    found = layer("made-chunk", {where: one.key for where, one in made.items()}, *made.values())
    return da.Array(found.dask, found.key[0], ((leading,), *chunks), dtype=np.float64)


def over_members(lattice: Lattice, each: Callable[[Member, int], Any]) -> Any:
    """Fields (k, time, y, x) of all members as one array (k, extra..., time, y, x), in memory or lazy.

    `each` is given the index of a member and its number.
    """
    fields = [each(member, number) for number, member in enumerate(lattice.members())]
    stacked = (da if lattice.is_lazy else np).stack(fields, axis=1)
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
    inputs = dask.delayed(solved_points)(node, values, errors, points, cells)
    return da.from_delayed(inputs, shape=(2, len(points)), dtype=np.float64)
