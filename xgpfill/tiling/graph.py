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
from xgpfill.tiling.views.pyramid import Pyramid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from xgpfill.arrays import FloatArray, IntArray
    from xgpfill.tiling.solve import TileSolver
    from xgpfill.tiling.tiles import AxisTiles, Tile, TilePlan
    from xgpfill.tiling.views.pyramid import By
    from xgpfill.tiling.views.view import View

Key = tuple[Any, ...]
Slices = tuple[slice, ...]
Chunks = tuple[tuple[int, ...], ...]
FEW = 2
"""Halvings up to which the cells of a block, of four bytes each, take less than its count, noise and sum."""


def chunked_alike(values: Any, errors: Any) -> tuple[Any, Any]:
    """Values, all draws of a cell in one chunk, and errors as dask arrays; the latter cut where the former are."""
    values = values.rechunk({0: -1}) if values.ndim == 4 else values
    if errors is None:
        return values, None
    chunks, errors = values.chunks[-3:], da.asarray(errors)
    return values, errors.rechunk(tuple((1,) if n == 1 else own for n, own in zip(errors.shape, chunks, strict=True)))


def base_level(node: Any, values: Any, errors: Any) -> Any:
    """Sums of every cell, the lowest level of a pyramid, as a dask array chunked as `values`."""
    leading = 2 + (values.shape[0] if values.ndim == 4 else 1)
    cells = [
        part
        for own, axis in zip(values.chunks[-3:], "tyx", strict=True)
        for part in (da.arange(sum(own), chunks=(own,)), axis)
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

    def cut(self, solver: TileSolver, view: View, chunks: Sequence[Any]) -> list[FloatArray]:
        """The pieces of a view from the chunks that hold them, as :meth:`Reads.of` gives them."""
        parts = []
        for (by, blocks, _), held in zip(view.pieces, chunks, strict=True):
            if not is_summed_by_tiles(by):
                parts.append(_cut(held, self._where(by, blocks)))
                continue
            cells = cells_of(blocks, by, solver.frame.shape)
            t, y, x = (np.arange(own.start, own.stop) for own in cells)
            values, errors = (None if each is None else _cut(each, self._where((0, 0, 0), cells)) for each in held)
            parts.append(Pyramid(solver.sums((t, y, x), values, errors)).level(by))
        return parts

    def _where(self, by: By, blocks: Slices) -> Slices:
        """Where blocks are among the chunks that hold them."""
        return tuple(self.read(axis, n, own)[1] for axis, (n, own) in enumerate(zip(by, blocks, strict=True)))


def is_summed_by_tiles(by: By) -> bool:
    """Whether the cells of such blocks are held in no more bytes than their sums."""
    return sum(by) <= FEW


def cells_of(blocks: Slices, by: By, shape: Sequence[int]) -> Slices:
    """The cells of blocks along time, y and x; the last block of an axis may be cut off by its end."""
    each = zip(blocks, by, shape, strict=True)
    return tuple(slice(own.start << n, min(own.stop << n, size)) for own, n, size in each)


def _cut(nested: Any, where: Slices) -> FloatArray:
    """Part of an array ([...,] time, y, x) from its chunks; an axis of length one is there for all cells."""
    array: FloatArray = np.block(nested)
    t, y, x = (slice(None) if n == 1 else own for own, n in zip(where, array.shape[-3:], strict=True))
    return array[..., t, y, x]


@dataclass(eq=False)
class Reads:
    """The chunks that tiles read: of lazy data for single cells and small blocks, of their pyramid for large ones.

    The data are held in fewer bytes than their sums, and most of what tiles see is single cells.

    Attributes
    ----------
    solver : TileSolver
    values, errors : dask arrays
        As :func:`chunked_alike` gives them.
    pyramid : Pyramid
        Of their sums.
    """

    solver: TileSolver
    values: Any
    errors: Any
    pyramid: Pyramid
    _nested: dict[Key, list[Any]] = field(default_factory=dict, repr=False)
    _ranges: dict[Key, range] = field(default_factory=dict, repr=False)

    @cached_property
    def starts(self) -> ChunkStarts:
        """Where chunks begin, for all levels that were read so far."""
        return ChunkStarts({})

    @property
    def sources(self) -> list[Any]:
        """All dask arrays that were read so far."""
        return [each for each in (self.values, self.errors, *self.pyramid.levels[1:]) if each is not None]

    def of(self, tile: Tile) -> list[Any]:
        """Keys of the chunks of each piece that a tile sees, in their order, nested as `np.block` takes them.

        Of what the tile sums itself, those of the data and of their errors.
        """
        runs = (self._runs(mark, tile) for mark in marks(tile))
        return [self._keys(*zip(*each, strict=True)) for each in product(*runs)]

    def _runs(self, mark: Key, tile: Tile) -> list[tuple[int, slice]]:
        """Of every run of groups along an axis: how often it is halved, and which blocks it is."""
        return [(n, blocks) for n, blocks, _ in self.solver.groups(tile)[mark[0]].runs]

    def _keys(self, by: By, blocks: Slices) -> list[Any]:
        """Those of one piece: the same list for all tiles, so that a graph that travels holds it once."""
        summed = is_summed_by_tiles(by)
        level = (0, 0, 0) if summed else by
        own = cells_of(blocks, by, self.solver.frame.shape) if summed else blocks
        ranges = tuple(self._chunks(axis, n, each) for axis, (n, each) in enumerate(zip(level, own, strict=True)))
        key = level, *ranges
        if key not in self._nested:
            held = (self.values, self.errors) if summed else (self.pyramid.level(by),)
            nested = [None if each is None else _nested_keys(each, ranges) for each in held]
            self._nested[key] = nested if summed else nested[0]  # type: ignore[assignment]
        return self._nested[key]

    def _chunks(self, axis: int, halvings: int, blocks: slice) -> range:
        """Those that hold some blocks of an axis."""
        key = axis, halvings, blocks.start, blocks.stop
        if key not in self._ranges:
            if (axis, halvings) not in self.starts.starts:
                t, y, x = (halvings if i == axis else 0 for i in range(3))
                sizes = self.pyramid.level((t, y, x)).chunks[axis + 1]
                self.starts.starts[axis, halvings] = np.cumsum((0, *sizes[:-1]))
            self._ranges[key] = self.starts.read(axis, halvings, blocks)[0]
        return self._ranges[key]


def _nested_keys(array: Any, ranges: tuple[range, ...]) -> list[Any]:
    """Those of some chunks of an array ([one chunk,] time, y, x); of an axis with one chunk, that one."""
    leading = (0,) * (array.ndim - 3)
    each = zip(ranges, array.numblocks[-3:], strict=True)
    times, rows, columns = (own if count > 1 else range(1) for own, count in each)
    return [[[(array.name, *leading, i, j, k) for k in columns] for j in rows] for i in times]


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
