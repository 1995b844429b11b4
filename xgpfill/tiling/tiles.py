"""Where tiles begin and end, how far they overlap and see, and the smooth weights that blend them.

A tile *evaluates* its core and a ramp beyond each inner border, where its weight falls smoothly to zero; it sees what
it evaluates plus a halo cell by cell, and all else as averages (`xgpfill.tiling.views.view`). Along an axis that wraps,
all of this wraps too. Regular columns are never averaged: where tiles do not see all of them, each band of rows is cut
along x in its own way.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xgpfill.arrays import FloatArray, IntArray, Window

Tile = tuple[int, int, int]


def marks(tile: Tile) -> tuple[tuple[int, ...], ...]:
    """What tells what a tile sees along time, y and x from what others do; tiles share it with their neighbours."""
    t, y, x = tile
    return (0, t), (1, y), (2, y, x)


@dataclass(frozen=True)
class AxisTiles:
    """The tiles along one axis.

    Attributes
    ----------
    size : int
        Cells.
    count : int
        Tiles.
    halo : int
        Cells seen beyond what is evaluated.
    wraps : bool
    borders : int array or None
        Where all cores but the first begin; None: they are as long as each other.
    """

    size: int
    count: int = 1
    halo: int = 0
    wraps: bool = False
    borders: tuple[int, ...] | None = None

    @cached_property
    def edges(self) -> IntArray:
        """Borders of the cores, (count + 1,)."""
        if self.borders is not None:
            return np.array([0, *self.borders, self.size], dtype=np.intp)
        return np.round(np.linspace(0, self.size, self.count + 1)).astype(np.intp)

    @cached_property
    def ramp(self) -> int:
        """Half-width of the blend across a border, at most a quarter of the smallest core."""
        if self.count == 1:
            return 0
        return max(1, min(self.halo // 2, int(np.diff(self.edges).min()) // 4))

    def evaluated(self, tile: int) -> IntArray:
        """Indices that a tile evaluates."""
        return self._around(tile, self.ramp)

    def observed(self, tile: int) -> IntArray:
        """Indices that a tile is conditioned on."""
        return self._around(tile, self.ramp + self.halo)

    @property
    def least_seen(self) -> int:
        """The fewest cells that one of the tiles is conditioned on."""
        if self.count == 1:
            return self.size
        start, stop = self.edges[:-1] - self.ramp - self.halo, self.edges[1:] + self.ramp + self.halo
        if not self.wraps:
            start, stop = np.maximum(start, 0), np.minimum(stop, self.size)
        return min(self.size, int((stop - start).min()))

    def _around(self, tile: int, margin: int) -> IntArray:
        if self.count == 1:
            return np.arange(self.size)
        start, stop = int(self.edges[tile]) - margin, int(self.edges[tile + 1]) + margin
        if not self.wraps:
            return np.arange(max(0, start), min(self.size, stop))
        if stop - start >= self.size:
            return np.arange(self.size)
        return np.arange(start, stop) % self.size

    def weights(self, tile: int) -> FloatArray:
        """Weight of the tile at each index it evaluates; over all tiles they sum to one at every cell."""
        return self.weight_of_every_cell(tile)[self.evaluated(tile)]

    def weight_of_every_cell(self, tile: int) -> FloatArray:
        """Weight of the tile at every cell of the axis; zero where it does not evaluate."""
        return np.ones(self.size) if self.count == 1 else self._weights_of_all[tile]

    @cached_property
    def _weights_of_all(self) -> FloatArray:
        """Weights (tile, cell): the difference of smooth steps at the two borders of each tile."""
        cells: FloatArray = np.arange(self.size) + np.float64(0.5)
        steps = [_smootherstep((cells - edge) / (2 * self.ramp) + 0.5) for edge in self.edges]
        if not self.wraps:
            steps[0], steps[-1] = np.ones(self.size), np.zeros(self.size)
            return np.array([steps[k] - steps[k + 1] for k in range(self.count)])
        laps = (-self.size, 0, self.size)
        return np.array([np.sum([self._bump(cells + lap, k) for lap in laps], axis=0) for k in range(self.count)])

    def _bump(self, cells: FloatArray, tile: int) -> FloatArray:
        low, high = (_smootherstep((cells - edge) / (2 * self.ramp) + 0.5) for edge in self.edges[tile : tile + 2])
        return low - high


@dataclass(frozen=True)
class TilePlan:
    """Tiles of a lattice: the product of the tiles along (time, y, x).

    Attributes
    ----------
    time, y, x : AxisTiles
    bands : tuple of AxisTiles
        The tiles along x of each band of rows; empty where all are alike.
    rows_averaged : int or None
        Rows beyond the halo that are seen at all, in groups; None: all.
    """

    time: AxisTiles
    y: AxisTiles
    x: AxisTiles
    bands: tuple[AxisTiles, ...] = ()
    rows_averaged: int | None = None

    @classmethod
    def whole(cls, shape: tuple[int, ...], *, wraps: bool) -> TilePlan:
        """One tile."""
        nt, ny, nx = shape
        return cls(AxisTiles(nt), AxisTiles(ny), AxisTiles(nx, wraps=wraps))

    @property
    def axes(self) -> tuple[AxisTiles, AxisTiles, AxisTiles]:
        """The axes in canonical order."""
        return self.time, self.y, self.x

    def along(self, tile: Tile) -> Iterator[tuple[AxisTiles, int]]:
        """The axes as they are in the band of a tile, and its position along each."""
        yield from zip((self.time, self.y, self.columns(tile[1])), tile, strict=True)

    def columns(self, band: int) -> AxisTiles:
        """The tiles along x of a band of rows."""
        return self.bands[band] if self.bands else self.x

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of tiles along each axis; along x, that of the band of rows that has most."""
        return self.time.count, self.y.count, max(self.columns(band).count for band in range(self.y.count))

    def __len__(self) -> int:
        return self.time.count * sum(self.columns(band).count for band in range(self.y.count))

    def tiles(self) -> Iterator[Tile]:
        """Every tile as its position along each axis."""
        for t, y in product(range(self.time.count), range(self.y.count)):
            yield from ((t, y, x) for x in range(self.columns(y).count))

    def evaluated(self, tile: Tile) -> Window:
        """The window of cells that a tile evaluates."""
        t, y, x = (axis.evaluated(k) for axis, k in self.along(tile))
        return t, y, x

    def observed(self, tile: Tile) -> Window:
        """The window of cells that a tile is conditioned on."""
        t, y, x = (axis.observed(k) for axis, k in self.along(tile))
        return t, y, x

    def weights(self, tile: Tile) -> FloatArray:
        """Blending weights on the evaluated window, (time, y, x)."""
        t, y, x = (axis.weights(k) for axis, k in self.along(tile))
        return np.asarray(t[:, None, None] * y[:, None] * x)

    def weights_at(self, tile: Tile, cells: IntArray) -> FloatArray:
        """Blending weights at given cells (n, 3)."""
        weights = np.ones(cells.shape[0])
        for (axis, k), index in zip(self.along(tile), cells.T, strict=True):
            weights *= axis.weight_of_every_cell(k)[index]
        return weights


def unless_all_is_seen(axis: AxisTiles) -> AxisTiles:
    """An axis, in one tile without a halo where each of several would see all of it."""
    return AxisTiles(axis.size, wraps=axis.wraps) if axis.least_seen == axis.size else axis


def _smootherstep(x: FloatArray) -> FloatArray:
    """Rises from 0 to 1 over the unit interval with two continuous derivatives: 6x⁵ − 15x⁴ + 10x³."""
    x = np.clip(x, 0.0, 1.0)
    return x**3 * (10 + x * (6 * x - 15))
