"""How a lattice is cut in tiles: the split that memory holds at the least work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from xgpfill.errors import TooManyPointsError
from xgpfill.tiling.views.groups import keeps_columns
from xgpfill.tiling.views.halo import AXIS_NAMES, Sight, named_sizes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from xgpfill.arrays import IntArray
    from xgpfill.grid.lattice import Lattice
    from xgpfill.tiling.memory import Limit
    from xgpfill.tiling.tiles import AxisTiles, TilePlan

MOST_BEYOND = 1.5
"""What a tile takes over what memory holds, by estimate, beyond which it is refused."""
WORTH = 0.9
"""Tiles see what is near alone where those that see all columns do not fit, or, where it is known how far observations
matter, this share of their work is enough."""
SPLITS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64, 80, 96, 128, 192, 256, 384, 512, 1024)
CAPS, GROWTH = (2, 4, 8, 16, 32), 1.5
"""Rows of a tile around a pole that are tried; how many times as many each next one has, up to those of others."""


def plan_tiles(sight: Sight, *, tile: str | Mapping[str, int], limit: Limit | None, observed_share: float) -> TilePlan:
    """Choose the tiles: one whenever it fits, else the split with the least repeated work.

    Parameters
    ----------
    sight : Sight
        Of the lattice and its prior.
    tile : "auto" or mapping
        Core sizes in cells along 'time', 'y' and 'x'; an axis that is not named is not split.
    limit : Limit or None
        What one tile may take; None for no limit.
    observed_share : float
        Share of cells with an observation.

    Raises
    ------
    TooManyPointsError
        When even the smallest tile would not fit.
    """
    lattice = sight.lattice
    if tile != "auto":
        sizes = named_sizes(tile, "tile", lattice)
        counts = [max(1, round(n / max(1, sizes.get(k, n)))) for k, n in zip(AXIS_NAMES, lattice.shape, strict=True)]
        return sight.plan(counts[0], sight.axis(1, counts[1]), counts[2:], near=counts[2] > 1)
    cells = float(np.prod(lattice.shape))
    if limit is None or limit.load(lattice.shape, cells * observed_share, cells) <= 1.0:
        return sight.plan(1, sight.axis(1, 1), [1], near=False)
    best = _best(sight, limit, observed_share)
    if best.beyond > MOST_BEYOND and not sight.grow:
        raise TooManyPointsError(_too_large(best, lattice))
    return sight.plan(best.time, best.y, best.columns, near=best.near)


def _best(sight: Sight, limit: Limit, share: float) -> _Option:
    """The split that keeps every tile within the limit at the least work; tiles see far if they can."""
    splits = [[c for c in SPLITS if c == 1 or c <= n // 2] for n in sight.lattice.shape]
    if not sight.lattice.space.is_grid or sight.lattice.space.components > 1:
        splits[1] = splits[2] = [1]
    at_first = [1] if keeps_columns(sight.lattice.space, grow=sight.grow) else splits[2]
    searches = [_Search(sight, limit, share, at_first, near=False)]
    if sight.drops_columns:
        searches.append(_Search(sight, limit, share, splits[2], near=True))
    found = [min(search.options(splits[0], splits[1]), key=lambda option: option.cost) for search in searches]
    far, near = found[0], found[-1]
    saves = sight.screening[1] is not None and near.work < WORTH * far.work
    return near if near.beyond < far.beyond or saves else far


def _too_large(best: _Option, lattice: Lattice) -> str:
    """What to say when even the best way to cut makes tiles that are too large."""
    seen = " × ".join(map(str, best.seen))
    cells = "times, rows and columns" if lattice.space.is_grid else "times and places"
    seen = seen if lattice.space.is_grid else f"{best.seen[0]} × {best.seen[1] * best.seen[2]}"
    fewer = "columns or rows, e.g. `da.sel(lon=slice(...))`" if lattice.space.is_grid else "places"
    return (
        f"Even the smallest tiles see {seen} {cells}, {best.beyond:.2g} times what memory holds. Select fewer {fewer}, "
        f"take fewer draws, `method=xgpfill.Iterative(num_samples=2)`, or give workers more memory; sizes of your own, "
        f"e.g. `tile={{'time': 10}}`, are taken as they are."
    )


@dataclass(frozen=True)
class _Option:
    """A way to cut a lattice, what its largest tile sees, and what all tiles take.

    Attributes
    ----------
    time : int
        Tiles.
    y : AxisTiles
    columns : list of int
        Tiles along x, in each band of rows.
    near : bool
        As in :meth:`Sight.plan`.
    beyond : float
        What the largest tile takes over what it may, at least one.
    seen : (int, int, int)
    work : float
        Operations.
    """

    time: int
    y: AxisTiles
    columns: list[int]
    near: bool
    beyond: float
    seen: tuple[int, int, int]
    work: float

    @property
    def cost(self) -> tuple[float, float]:
        """What is too much counts first."""
        return self.beyond, self.work


@dataclass(frozen=True, eq=False)
class _Seen:
    """What a tile sees and evaluates along one axis.

    Attributes
    ----------
    sizes : int array
        Cells of each group that is seen.
    evaluated : int
        Cells.
    """

    sizes: IntArray
    evaluated: int

    @cached_property
    def by_size(self) -> tuple[IntArray, IntArray]:
        """Sizes of groups, and how many there are of each."""
        return np.unique(self.sizes, return_counts=True)


@dataclass(frozen=True)
class _Taken:
    """What the tiles of a band take, cut in so many along x."""

    columns: int
    beyond: float
    seen: tuple[int, int, int]
    work: float


@dataclass(frozen=True, eq=False)
class _Search:
    """All ways to cut a lattice, and what each takes.

    Attributes
    ----------
    sight : Sight
    limit : Limit
    share : float
        Of cells with an observation.
    columns : list of int
        Numbers of tiles along x that are tried, ascending.
    near : bool
        As in :meth:`Sight.plan`.
    """

    sight: Sight
    limit: Limit
    share: float
    columns: list[int]
    near: bool

    def options(self, times: list[int], rows: list[int]) -> Iterator[_Option]:
        """Every way to cut times and rows, each with the best of columns; in no more times than it takes."""
        along_time = [(count, self._times(count)) for count in times]
        for y in self._rows(rows):
            kinds = self._kinds(y)
            seen = {kind: self._seen_rows(y, *kind) for kind in set(kinds)}
            for count, time in along_time:
                taken = {kind: self._taken(time, of_rows, kind[1]) for kind, of_rows in seen.items()}
                option = self._together(count, y, [taken[kind] for kind in kinds])
                yield option
                if option.beyond <= 1.0 and not self.sight.grow:
                    break

    def _rows(self, counts: list[int]) -> Iterator[AxisTiles]:
        """The rows in so many tiles, and in ever thinner ones towards poles where those would see all columns."""
        for count in counts:
            y = self.sight.axis(1, count)
            y = self.sight.nearer(y) if self.near else y
            yield y
            halos, most = self._halos(y), self.sight.lattice.shape[2]
            ends = [2 * halo >= most for halo in (halos[0], halos[-1])] if halos else [False, False]
            if count > 2 and any(ends):
                thinner = [cap for cap in CAPS if 2 * cap < y.size // count]
                yield from (tapered(y, cap * ends[0], cap * ends[1]) for cap in thinner)

    def _halos(self, y: AxisTiles) -> tuple[int, ...]:
        """Columns that each band of rows sees beyond its own, where it does not see all."""
        return self.sight.columns_seen(y) if self.near else ()

    def _times(self, count: int) -> _Seen:
        tiles = self.sight.axis(0, count)
        groups = self.sight.groups(tiles.observed(count // 2), 0)
        return _Seen(groups.sizes, tiles.evaluated(count // 2).size)

    def _kinds(self, y: AxisTiles) -> list[tuple[int, int | None]]:
        """Of each band, one that sees as many rows, and how many columns it sees beyond its own; None: no matter.

        Bands that are as tall as each other are taken to see what the middle one does.
        """
        halos = self._halos(y) or y.count * (None,)
        return [(y.count // 2 if y.borders is None else band, halo) for band, halo in enumerate(halos)]

    def _seen_rows(self, y: AxisTiles, band: int, halo: int | None) -> _Seen:
        averaged = None if halo is None else self.sight.rows_averaged(y)
        groups = self.sight.groups(y.observed(band), 1, averaged)
        return _Seen(groups.sizes, y.evaluated(band).size)

    def _taken(self, time: _Seen, rows: _Seen, halo: int | None) -> _Taken:
        """What a band takes in as many tiles along x as fit at the least work, and no more than it takes."""
        found: list[_Taken] = []
        for count in self.columns:
            columns, tiles = self._columns(halo, count)
            shape = time.sizes.size, rows.sizes.size, columns.sizes.size
            load = _observed((time, rows, columns), self.share)
            evaluated = float(time.evaluated * rows.evaluated * columns.evaluated)
            beyond = 1.0 if self.sight.grow else max(1.0, self.limit.load(shape, load, evaluated))
            work = tiles * _work(load, evaluated, self.limit, grow=self.sight.grow)
            found.append(_Taken(count, beyond, shape, work))
            if beyond <= 1.0 and not self.sight.grow:
                break
        return min(found, key=lambda taken: (taken.beyond, taken.work))

    def _columns(self, halo: int | None, count: int) -> tuple[_Seen, int]:
        """What is seen along x in so many tiles; and how many are left, as where each would see all there is one."""
        if (halo, count) not in self._of_columns:
            x = self.sight.axis(2, count) if halo is None else self.sight.band(halo, count)
            seen = x.observed(x.count // 2)
            sizes = np.ones(seen.size, dtype=int) if self.sight.drops_columns else self.sight.groups(seen, 2).sizes
            self._of_columns[halo, count] = _Seen(sizes, x.evaluated(x.count // 2).size), x.count
        return self._of_columns[halo, count]

    @cached_property
    def _of_columns(self) -> dict[tuple[int | None, int], tuple[_Seen, int]]:
        return {}

    def _together(self, count: int, y: AxisTiles, bands: list[_Taken]) -> _Option:
        """All bands at so many times."""
        worst = max(bands, key=lambda band: band.beyond)
        work, columns = count * sum(band.work for band in bands), [band.columns for band in bands]
        return _Option(count, y, columns, self.near, worst.beyond, worst.seen, work)


def tapered(y: AxisTiles, first: int, last: int) -> AxisTiles:
    """Tiles about as long as these, but the first of so many cells, and each next one longer; the last alike."""
    even = y.size / y.count
    before, after = (_growing(size, even) for size in (first, last))
    rest = y.size - sum(before) - sum(after)
    if rest < even:
        return y
    between = np.diff(np.round(np.linspace(0, rest, max(1, round(rest / even)) + 1))).astype(int)
    sizes = [*before, *between.tolist(), *after[::-1]]
    return replace(y, count=len(sizes), borders=tuple(np.cumsum(sizes)[:-1].tolist()))


def _growing(size: float, most: float) -> list[int]:
    """From so many cells on, each time half as many more, while fewer than others have."""
    sizes = []
    while 0 < size < most / GROWTH**0.5:
        sizes.append(round(size))
        size *= GROWTH
    return sizes


def _observed(axes: tuple[_Seen, _Seen, _Seen], share: float) -> float:
    """How many cells of groups have an observation, where that many cells of the lattice have, at random."""
    (t, m), (y, n), (x, k) = (axis.by_size for axis in axes)
    members = t[:, None, None] * y[:, None] * x
    return float((m[:, None, None] * n[:, None] * k * (1.0 - (1.0 - share) ** members)).sum())


def _work(load: float, evaluated: float, limit: Limit, *, grow: bool) -> float:
    """The operations of a tile that sees so many observations.

    An engine that takes a few inducing points factors them for each tile, and may have few for what it sees; others do
    about so much for each cell.
    """
    if not grow:
        return load + evaluated
    rank = limit.observations / 2
    return (rank**3 + (load + 2 * evaluated) * rank**2) * max(1.0, load / limit.observations) ** 2
