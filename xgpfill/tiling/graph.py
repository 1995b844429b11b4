"""The dask graph of a lazy field: a task for each tile, which reads whole chunks, and one for each chunk of the answer.

Which chunks a tile reads is found once along each axis, so graphs of many tiles are made fast and stay small.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph

from xgpfill.tiling.tiles import marks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.points import IntArray
    from xgpfill.tiling.pyramid import Pyramid
    from xgpfill.tiling.solve import TileSolver
    from xgpfill.tiling.tiles import AxisTiles, Tile, TilePlan
    from xgpfill.tiling.view import View

Key = tuple[Any, ...]
Chunks = tuple[tuple[int, ...], ...]


def base_level(node: Any, values: Any, errors: Any) -> Any:
    """Sums of every cell, the lowest level of a pyramid, as a dask array chunked as `values`."""
    leading = 2 + (values.shape[0] if values.ndim == 4 else 1)
    values = values.rechunk({0: -1}) if values.ndim == 4 else values
    chunks = values.chunks[-3:]
    if errors is not None:
        errors = da.asarray(errors)
        errors = errors.rechunk(tuple((1,) if n == 1 else own for n, own in zip(errors.shape, chunks, strict=True)))
    cells = [
        part for own, axis in zip(chunks, "tyx", strict=True) for part in (da.arange(sum(own), chunks=(own,)), axis)
    ]
    return da.blockwise(
        _sums, "ltyx", node, None, values, "dtyx"[-values.ndim :], errors, None if errors is None else "tyx", *cells,
        new_axes={"l": leading}, concatenate=True, dtype=np.float64, meta=np.empty((0,) * 4),
    )  # fmt: skip


def _sums(solver: TileSolver, values: Any, errors: Any, t: IntArray, y: IntArray, x: IntArray) -> FloatArray:
    return solver.sums((t, y, x), values, errors)


@dataclass(frozen=True, eq=False)
class ChunkStarts:
    """Where the chunks of a pyramid begin, by axis and by how often it is halved.

    Attributes
    ----------
    starts : dict of (int, int) to int array
    """

    starts: dict[tuple[int, int], IntArray]

    def read(self, axis: int, halvings: int, blocks: slice) -> tuple[range, slice]:
        """The chunks that hold some blocks of an axis, and where the blocks are among these."""
        starts = self.starts[axis, halvings]
        first, last = (int(k) - 1 for k in np.searchsorted(starts, [blocks.start, blocks.stop - 1], side="right"))
        return range(first, last + 1), slice(blocks.start - int(starts[first]), blocks.stop - int(starts[first]))

    def cut(self, view: View, chunks: Sequence[Any]) -> list[FloatArray]:
        """The pieces of a view from the chunks that hold them, nested as `np.block` takes them."""
        parts = []
        for (by, blocks, _), nested in zip(view.pieces, chunks, strict=True):
            where = (self.read(axis, n, own)[1] for axis, (n, own) in enumerate(zip(by, blocks, strict=True)))
            parts.append(np.block(nested)[(slice(None), *where)])
        return parts


@dataclass(eq=False)
class Reads:
    """The chunks of a lazy pyramid that tiles read.

    Attributes
    ----------
    pyramid : Pyramid
    solver : TileSolver
    """

    pyramid: Pyramid
    solver: TileSolver
    _nested: dict[Key, list[Any]] = field(default_factory=dict, repr=False)
    _along: dict[Key, list[tuple[int, range]]] = field(default_factory=dict, repr=False)

    @cached_property
    def starts(self) -> ChunkStarts:
        """Where chunks begin, for all levels that were read so far."""
        return ChunkStarts({})

    def of(self, tile: Tile) -> list[Any]:
        """Keys of the chunks of each piece that a tile sees, in their order, nested by axis."""
        return [self._keys(runs) for runs in product(*(self._runs(mark, tile) for mark in marks(tile)))]

    def _keys(self, runs: tuple[tuple[int, range], ...]) -> list[Any]:
        """Those of one piece: the same list for all tiles, so that a graph that travels holds it once."""
        if runs not in self._nested:
            (a, times), (b, rows), (c, columns) = runs
            name = self.pyramid.level((a, b, c)).name
            self._nested[runs] = [[[(name, 0, i, j, k) for k in columns] for j in rows] for i in times]
        return self._nested[runs]

    def _runs(self, mark: Key, tile: Tile) -> list[tuple[int, range]]:
        """Of every run of groups along an axis: how often it is halved, and which chunks it is in."""
        if mark not in self._along:
            axis, groups = mark[0], self.solver.groups(tile)[mark[0]]
            self._along[mark] = [(n, self._chunks(axis, n, blocks)) for n, blocks, _ in groups.runs]
        return self._along[mark]

    def _chunks(self, axis: int, halvings: int, blocks: slice) -> range:
        if (axis, halvings) not in self.starts.starts:
            t, y, x = (halvings if i == axis else 0 for i in range(3))
            sizes = self.pyramid.level((t, y, x)).chunks[axis + 1]
            self.starts.starts[axis, halvings] = np.cumsum((0, *sizes[:-1]))
        return self.starts.read(axis, halvings, blocks)[0]


def touching(plan: TilePlan, chunks: Chunks) -> Iterator[tuple[Tile, IntArray, list[Tile]]]:
    """Every chunk by its position, where it begins and ends along each axis (3, 2), and the tiles that evaluate it."""
    bounds = [np.cumsum((0, *own)) for own in chunks]
    ends = [np.stack([own[:-1], own[1:]], axis=1) for own in bounds]
    times, rows = (_evaluating(axis, own) for axis, own in zip(plan.axes[:2], bounds[:2], strict=True))
    bands = [plan.columns(y) for y in range(plan.y.count)]
    columns = {id(axis): _evaluating(axis, bounds[2]) for axis in bands}
    for i, j, k in product(*(range(len(own)) for own in chunks)):
        some = [(t, y, x) for t in times[i] for y in rows[j] for x in columns[id(bands[y])][k]]
        yield (i, j, k), np.stack([own[n] for own, n in zip(ends, (i, j, k), strict=True)]), some


def _evaluating(axis: AxisTiles, bounds: IntArray) -> list[list[int]]:
    """Of every chunk of an axis, the tiles that evaluate cells of it."""
    found: list[list[int]] = [[] for _ in bounds[1:]]
    for tile in range(axis.count):
        for chunk in np.unique(np.searchsorted(bounds, axis.evaluated(tile), side="right") - 1):
            found[chunk].append(tile)
    return found


def layer(name: str, tasks: dict[Key, Any], *needs: Any) -> Delayed:
    """Tasks, keyed by position, as one layer above what they need; the first stands for all of them."""
    name = f"{name}-{uuid.uuid4().hex}"
    named = {(name, *where): task for where, task in tasks.items()}
    graph = HighLevelGraph.from_collections(name, named, dependencies=needs)
    return Delayed(next(iter(named)), graph, layer=name)
