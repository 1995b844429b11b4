"""Where tiles begin and end, how far they overlap and see, and the smooth weights that blend them.

A tile *evaluates* its core and a ramp beyond each inner border, where its weight falls smoothly to zero; it sees what
it evaluates plus a halo cell by cell, and all else as averages (:mod:`xgpfill.tiling.view`). Along an axis that wraps,
all of this wraps too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from xgpfill.errors import DimensionError, TooManyPointsError, listed
from xgpfill.kernels.prior import AXES, Prior
from xgpfill.tiling.groups import Lengths, grouped, keeps_columns

if TYPE_CHECKING:
    from xgpfill.grid.lattice import FloatArray, Lattice, Window
    from xgpfill.grid.points import IntArray

AXIS_NAMES = ("time", "y", "x")
MIN_HALO = 2
MOST_BEYOND = 1.5
"""What a tile sees over what memory holds, by estimate, beyond which it is refused."""
SPLITS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64, 80, 96, 128, 192, 256, 384, 512, 1024)


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
    """

    size: int
    count: int = 1
    halo: int = 0
    wraps: bool = False

    @cached_property
    def edges(self) -> IntArray:
        """Borders of the cores, (count + 1,)."""
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
    """Tiles of a lattice: the product of the tiles along (time, y, x)."""

    time: AxisTiles
    y: AxisTiles
    x: AxisTiles

    @classmethod
    def whole(cls, shape: tuple[int, ...], *, wraps: bool) -> TilePlan:
        """One tile."""
        nt, ny, nx = shape
        return cls(AxisTiles(nt), AxisTiles(ny), AxisTiles(nx, wraps=wraps))

    @property
    def axes(self) -> tuple[AxisTiles, AxisTiles, AxisTiles]:
        """The axes in canonical order."""
        return self.time, self.y, self.x

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of tiles along each axis."""
        return self.time.count, self.y.count, self.x.count

    def __len__(self) -> int:
        return int(np.prod(self.shape))

    def tiles(self) -> Iterator[tuple[int, int, int]]:
        """Every tile as its position along each axis."""
        yield from product(*(range(n) for n in self.shape))

    def evaluated(self, tile: tuple[int, int, int]) -> Window:
        """The window of cells that a tile evaluates."""
        t, y, x = (axis.evaluated(k) for axis, k in zip(self.axes, tile, strict=True))
        return t, y, x

    def observed(self, tile: tuple[int, int, int]) -> Window:
        """The window of cells that a tile is conditioned on."""
        t, y, x = (axis.observed(k) for axis, k in zip(self.axes, tile, strict=True))
        return t, y, x

    def weights(self, tile: tuple[int, int, int]) -> FloatArray:
        """Blending weights on the evaluated window, (time, y, x)."""
        t, y, x = (axis.weights(k) for axis, k in zip(self.axes, tile, strict=True))
        return np.asarray(t[:, None, None] * y[:, None] * x)

    def weights_at(self, tile: tuple[int, int, int], cells: IntArray) -> FloatArray:
        """Blending weights at given cells (n, 3)."""
        weights = np.ones(cells.shape[0])
        for axis, k, index in zip(self.axes, tile, cells.T, strict=True):
            weights *= axis.weight_of_every_cell(k)[index]
        return weights


def _smootherstep(x: FloatArray) -> FloatArray:
    """Rises from 0 to 1 over the unit interval with two continuous derivatives: 6x⁵ − 15x⁴ + 10x³."""
    x = np.clip(x, 0.0, 1.0)
    return x**3 * (10 + x * (6 * x - 15))


def plan_tiles(
    lattice: Lattice,
    prior: Prior,
    *,
    tile: str | Mapping[str, int],
    halo: str | int | Mapping[str, int],
    max_observations: int | None,
    observed_share: float,
    grow: bool = False,
) -> TilePlan:
    """Choose the tiles: one whenever it fits, else the split with the least repeated work.

    Parameters
    ----------
    lattice : Lattice
    prior : Prior
        Learned; its lengthscales set the halo.
    tile : "auto" or mapping
        Core sizes in cells along 'time', 'y' and 'x'; an axis that is not named is not split.
    halo : "auto", int or mapping
        Cells seen beyond what a tile evaluates.
    max_observations : int or None
        Observations, averages included, that the engine takes in one tile; None for no limit.
    observed_share : float
        Share of cells with an observation.
    grow : bool
        As in :class:`Lengths`.

    Raises
    ------
    TooManyPointsError
        When even the smallest tile would not fit.
    """
    if tile == "auto":
        counts = _auto_counts(lattice, prior, halo, max_observations, observed_share, grow=grow)
    else:
        sizes = _named(tile, "tile", lattice)
        counts = [max(1, round(n / max(1, sizes.get(k, n)))) for k, n in zip(AXIS_NAMES, lattice.shape, strict=True)]
    return _plan(lattice, prior, counts, halo, grow=grow)


def _plan(
    lattice: Lattice, prior: Prior, counts: list[int], halo: str | int | Mapping[str, int], *, grow: bool
) -> TilePlan:
    given = _given_halo(lattice, halo)
    axes = (
        _axis(lattice, prior, i, count, given.get(name), grow=grow)
        for i, (name, count) in enumerate(zip(AXIS_NAMES, counts, strict=True))
    )
    return TilePlan(*axes)


def _axis(lattice: Lattice, prior: Prior, axis: int, count: int, halo: int | None, *, grow: bool) -> AxisTiles:
    """An axis in so many tiles, with the halo that was named, or that suits them."""
    size = lattice.shape[axis]
    chosen = _auto_halo(lattice, prior, count, axis, grow=grow) if halo is None else min(halo, size)
    return AxisTiles(size, min(count, size), chosen if count > 1 else 0, lattice.space.wraps and axis == 2)


def check_tiles(lattice: Lattice, tile: str | Mapping[str, int], halo: str | int | Mapping[str, int]) -> None:
    """Refuse sizes of tiles and halos that mean nothing, before any work is done.

    Raises
    ------
    DimensionError
    """
    if tile != "auto":
        _named(tile, "tile", lattice)
    _given_halo(lattice, halo)


def _given_halo(lattice: Lattice, halo: str | int | Mapping[str, int]) -> dict[str, int]:
    """The halos that were named, by axis; the others are to be chosen."""
    if halo == "auto":
        return {}
    if isinstance(halo, Mapping):
        return _named(halo, "halo", lattice, smallest=0)
    if isinstance(halo, (bool, str)) or not isinstance(halo, (int, np.integer)) or halo < 0:
        raise DimensionError(f"halo={halo!r}: expected 'auto', a number of cells, or e.g. `halo={{'time': 5}}`.")
    return dict.fromkeys(AXIS_NAMES, int(halo))


def _named(sizes: str | Mapping[str, int], what: str, lattice: Lattice, smallest: int = 1) -> dict[str, int]:
    """Sizes by canonical axis; larger than the array is folded to it."""
    if not isinstance(sizes, Mapping):
        raise DimensionError(
            f"{what}={sizes!r}: expected 'auto' or a mapping, e.g. `{what}={{'time': 20, 'y': 50, 'x': 50}}`."
        )
    aliases = {"time": "time", "y": "y", "lat": "y", "latitude": "y", "x": "x", "lon": "x", "longitude": "x"}
    found = {}
    for name, size in sizes.items():
        if name not in aliases:
            raise DimensionError(f"Unknown axis {name!r} in {what}=. Axes are {listed(('time', 'y', 'x'))}.")
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < smallest:
            raise DimensionError(f"{what}={{{name!r}: {size!r}}}: expected an integer of at least {smallest}.")
        found[aliases[name]] = int(size)
    if not lattice.space.is_grid and any(
        found.get(k, n) < n for k, n in zip(("y", "x"), lattice.space.shape, strict=True)
    ):
        raise DimensionError(f"{what}= cannot split a list of sites, whose order is not space; split time only.")
    return found


def _steps(lattice: Lattice) -> tuple[float, float, float]:
    return (lattice.time_step, *lattice.space.steps)


def lengths_of(lattice: Lattice, prior: Prior, axis: int, *, grow: bool) -> Lengths:
    """How long groups of an axis may be far from a tile."""
    name = AXES[0] if axis == 0 else AXES[1]
    return Lengths(tuple(getattr(term, name) for term in prior.terms), _steps(lattice)[axis], grow)


def _auto_halo(lattice: Lattice, prior: Prior, count: int, axis: int, *, grow: bool) -> int:
    """As far as cells are too different for averages of them; all columns where operators rest on them."""
    size, lengths = lattice.shape[axis], lengths_of(lattice, prior, axis, grow=grow)
    if count == 1:
        return 0
    if not lengths.step or (axis == 2 and keeps_columns(lattice.space, grow=grow)):
        return size
    return next((k for k in range(MIN_HALO, size) if lengths.at(k + 1) >= 2.0), size)


def _auto_counts(
    lattice: Lattice,
    prior: Prior,
    halo: str | int | Mapping[str, int],
    max_observations: int | None,
    share: float,
    *,
    grow: bool,
) -> list[int]:
    """The split that keeps every tile within the limit at the least work."""
    if max_observations is None or np.prod(lattice.shape) * share <= max_observations:
        return [1, 1, 1]
    given = _given_halo(lattice, halo)
    splits = [[c for c in SPLITS if c == 1 or c <= n // 2] for n in lattice.shape]
    if not lattice.space.is_grid:
        splits[1] = splits[2] = [1]
    if keeps_columns(lattice.space, grow=grow):
        splits[2] = [1]
    options = [
        [_along(lattice, prior, i, count, given.get(name), grow=grow) for count in splits[i]]
        for i, name in enumerate(AXIS_NAMES)
    ]
    best = min(product(*options), key=lambda some: _work(some, max_observations, share, grow=grow))
    beyond, _ = _work(best, max_observations, share, grow=grow)
    if beyond > MOST_BEYOND and not grow:
        seen = [one.sizes.size for one in best]
        raise TooManyPointsError(
            f"Even the smallest tiles see {seen[0]} × {seen[1]} × {seen[2]} times, rows and columns, {beyond:.2g} "
            f"times what memory holds. Select fewer columns or rows, e.g. `da.sel(lon=slice(...))`, take fewer draws, "
            f"`method=xgpfill.Iterative(num_samples=2)`, or give workers more memory; sizes of your own, e.g. "
            f"`tile={{'time': 10}}`, are taken as they are."
        )
    return [one.axis.count for one in best]


@dataclass(frozen=True)
class _Along:
    """One axis cut in tiles; the sizes of the groups that the middle one sees, and how many cells it evaluates."""

    axis: AxisTiles
    sizes: IntArray
    evaluated: int


def _along(lattice: Lattice, prior: Prior, axis: int, count: int, halo: int | None, *, grow: bool) -> _Along:
    tiles = _axis(lattice, prior, axis, count, halo, grow=grow)
    groups = grouped(tiles.observed(count // 2), tiles.size, lengths_of(lattice, prior, axis, grow=grow))
    return _Along(tiles, groups.sizes, tiles.evaluated(count // 2).size)


def _observed(sizes: list[IntArray], share: float) -> float:
    """How many cells of groups have an observation, where that many cells of the lattice have, at random."""
    (t, m), (y, n), (x, k) = (np.unique(each, return_counts=True) for each in sizes)
    members = t[:, None, None] * y[:, None] * x
    return float((m[:, None, None] * n[:, None] * k * (1.0 - (1.0 - share) ** members)).sum())


def _work(along: tuple[_Along, ...], max_observations: int, share: float, *, grow: bool) -> tuple[float, float]:
    """How far a tile is beyond the limit, then the operations of all tiles.

    An engine that takes a few inducing points factors them for each tile, and may have few for what it sees; others do
    about so much for each cell.
    """
    number, evaluated = (float(np.prod(n)) for n in zip(*((a.axis.count, a.evaluated) for a in along), strict=True))
    load, rank = _observed([a.sizes for a in along], share), max_observations / 2
    beyond = max(1.0, load / max_observations)
    if grow:
        return 1.0, number * (rank**3 + (load + 2 * evaluated) * rank**2) * beyond**2
    return beyond, number * (load + evaluated)
