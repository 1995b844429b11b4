"""How a lattice is cut in tiles: how far each sees, and the split that memory holds at the least work.

A halo ends where averages of what is beyond would be of two cells or more. Regular columns are never averaged: where
memory does not hold all of them, a tile sees those within two lengthscales of the term that reaches farthest, in each
band of rows as many as that takes there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from xgpfill.errors import DimensionError, TooManyPointsError, listed
from xgpfill.kernels.prior import AXES, Prior
from xgpfill.kernels.reach import reach
from xgpfill.kernels.spec import Constant
from xgpfill.options import SYNONYMS
from xgpfill.tiling.groups import Lengths, drops_columns, grouped, keeps_columns
from xgpfill.tiling.tiles import AxisTiles, TilePlan

if TYPE_CHECKING:
    from xgpfill.engines.memory import Limit
    from xgpfill.grid.lattice import Lattice
    from xgpfill.grid.points import IntArray

AXIS_NAMES = ("time", "y", "x")
MIN_HALO = 2
MOST_BEYOND = 1.5
"""What a tile takes over what memory holds, by estimate, beyond which it is refused."""
COLUMNS_SEEN = 2.0
"""Longest lengthscales of space within which columns are seen: those beyond change means by 0.1 of their sd."""
SPLITS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64, 80, 96, 128, 192, 256, 384, 512, 1024)


def plan_tiles(
    lattice: Lattice,
    prior: Prior,
    *,
    tile: str | Mapping[str, int],
    halo: str | int | Mapping[str, int],
    limit: Limit | None,
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
    limit : Limit or None
        What one tile may take; None for no limit.
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
        counts = _auto_counts(lattice, prior, halo, limit, observed_share, grow=grow)
    else:
        sizes = _named(tile, "tile", lattice)
        counts = [max(1, round(n / max(1, sizes.get(k, n)))) for k, n in zip(AXIS_NAMES, lattice.shape, strict=True)]
    return _plan(lattice, prior, counts, halo, grow=grow)


def _plan(
    lattice: Lattice, prior: Prior, counts: list[int], halo: str | int | Mapping[str, int], *, grow: bool
) -> TilePlan:
    given = _given_halo(lattice, halo, grow=grow)
    time, y, x = (
        _axis(lattice, prior, i, count, given.get(name), grow=grow)
        for i, (name, count) in enumerate(zip(AXIS_NAMES, counts, strict=True))
    )
    halos = _columns_seen(lattice, prior, y, given, grow=grow) if x.count > 1 else ()
    return TilePlan(time, y, x, halos)


def _columns_seen(
    lattice: Lattice, prior: Prior, y: AxisTiles, given: dict[str, int], *, grow: bool
) -> tuple[int, ...]:
    """How many columns beyond a tile each band of rows sees: two lengthscales' worth where they are closest.

    None where their number is given, or columns are averaged.
    """
    meridians = lattice.space.meridians
    if meridians is None or "x" in given or not drops_columns(lattice.space, grow=grow):
        return ()
    reaches = [reach(term.space) for term in prior.terms if not isinstance(term.space, Constant)]
    distance = COLUMNS_SEEN * max(reaches, default=0.0)
    if meridians.geometry == "plane":
        cells = np.full(y.size, distance / abs(meridians.step))
    else:
        widest = 2.0 * np.hypot(meridians.column[:, 0], meridians.column[:, 1])  # chord to the other side
        far = distance >= widest
        angle = 2.0 * np.arcsin(np.where(far, 1.0, distance / np.where(far, 1.0, widest)))
        cells = np.where(far, np.inf, angle / abs(meridians.step))
    cells = np.ceil(np.minimum(cells, meridians.size)).astype(int)
    return tuple(max(MIN_HALO, int(cells[y.evaluated(band)].max())) for band in range(y.count))


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
    _given_halo(lattice, halo, grow=False)


def _given_halo(lattice: Lattice, halo: str | int | Mapping[str, int], *, grow: bool) -> dict[str, int]:
    """The halos that were named, by axis; the others are to be chosen."""
    if halo == "auto":
        return {}
    if isinstance(halo, Mapping):
        return _named(halo, "halo", lattice, smallest=0)
    if isinstance(halo, (bool, str)) or not isinstance(halo, (int, np.integer)) or halo < 0:
        raise DimensionError(f"halo={halo!r}: expected 'auto', a number of cells, or e.g. `halo={{'time': 5}}`.")
    averaged = AXIS_NAMES[:2] if drops_columns(lattice.space, grow=grow) else AXIS_NAMES
    return dict.fromkeys(averaged, int(halo))  # of what is beyond, only averaged cells are seen


def _named(sizes: str | Mapping[str, int], what: str, lattice: Lattice, smallest: int = 1) -> dict[str, int]:
    """Sizes by canonical axis; larger than the array is folded to it."""
    if not isinstance(sizes, Mapping):
        raise DimensionError(
            f"{what}={sizes!r}: expected 'auto' or a mapping, e.g. `{what}={{'time': 20, 'y': 50, 'x': 50}}`."
        )
    found = {}
    for name, size in sizes.items():
        if name not in SYNONYMS:
            raise DimensionError(f"Unknown axis {name!r} in {what}=. Axes are {listed(('time', 'y', 'x'))}.")
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < smallest:
            raise DimensionError(f"{what}={{{name!r}: {size!r}}}: expected an integer of at least {smallest}.")
        found[SYNONYMS[name]] = int(size)
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
    limit: Limit | None,
    share: float,
    *,
    grow: bool,
) -> list[int]:
    """The split that keeps every tile within the limit at the least work; columns stay together if they can."""
    cells = float(np.prod(lattice.shape))
    if limit is None or limit.load(lattice.shape, cells * share, cells) <= 1.0:
        return [1, 1, 1]
    splits = [[c for c in SPLITS if c == 1 or c <= n // 2] for n in lattice.shape]
    if not lattice.space.is_grid:
        splits[1] = splits[2] = [1]
    at_first = [1] if keeps_columns(lattice.space, grow=grow) else splits[2]
    ways = [at_first, splits[2]] if drops_columns(lattice.space, grow=grow) else [at_first]
    for columns in ways:
        axes = [splits[0], splits[1], columns]
        best = min(_options(lattice, prior, halo, axes, limit, share, grow=grow), key=lambda option: option.cost)
        if best.beyond <= 1.0:
            break
    if best.beyond > MOST_BEYOND and not grow:
        raise TooManyPointsError(_too_large(best, lattice))
    return list(best.counts)


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
    counts : (int, int, int)
    beyond : float
        What the largest tile takes over what it may, at least one.
    seen : (int, int, int)
    work : float
        Operations.
    """

    counts: tuple[int, int, int]
    beyond: float
    seen: tuple[int, int, int]
    work: float

    @property
    def cost(self) -> tuple[float, float]:
        """What is too much counts first."""
        return self.beyond, self.work


def _options(
    lattice: Lattice,
    prior: Prior,
    halo: str | int | Mapping[str, int],
    splits: list[list[int]],
    limit: Limit,
    share: float,
    *,
    grow: bool,
) -> Iterator[_Option]:
    """Every way to cut."""
    given = _given_halo(lattice, halo, grow=grow)
    along = [
        [_along(lattice, prior, i, count, given.get(name), grow=grow) for count in splits[i]]
        for i, name in enumerate(AXIS_NAMES)
    ]
    halos = {y.axis: _columns_seen(lattice, prior, y.axis, given, grow=grow) for y in along[1]}
    for y, x in product(along[1], along[2]):
        plan = TilePlan(AxisTiles(1), y.axis, x.axis, halos[y.axis] if x.axis.count > 1 else ())
        bands = [_columns(plan.columns(band)) for band in range(y.axis.count)] if plan.halos else [x]
        number = [y.axis.count / len(bands) * band.axis.count for band in bands]
        largest = max(bands, key=lambda band: band.sizes.size)
        for t in along[0]:
            load = _observed([t.sizes, y.sizes, largest.sizes], share)
            seen = (t.sizes.size, y.sizes.size, largest.sizes.size)
            evaluated = float(t.evaluated * y.evaluated)
            beyond = limit.load(seen, load, evaluated * largest.evaluated)
            work = sum(
                n * _work(load * band.sizes.size / seen[2], evaluated * band.evaluated, limit, grow=grow)
                for n, band in zip(number, bands, strict=True)
            )
            counts = (t.axis.count, y.axis.count, x.axis.count)
            yield _Option(counts, 1.0 if grow else max(1.0, beyond), seen, t.axis.count * work)


@dataclass(frozen=True)
class _Along:
    """One axis cut in tiles; the sizes of the groups that the middle one sees, and how many cells it evaluates.

    Along x, those of one band of rows.
    """

    axis: AxisTiles
    sizes: IntArray
    evaluated: int


def _along(lattice: Lattice, prior: Prior, axis: int, count: int, halo: int | None, *, grow: bool) -> _Along:
    tiles = _axis(lattice, prior, axis, count, halo, grow=grow)
    if axis == 2 and drops_columns(lattice.space, grow=grow):
        return _columns(tiles)
    groups = grouped(tiles.observed(count // 2), tiles.size, lengths_of(lattice, prior, axis, grow=grow))
    return _Along(tiles, groups.sizes, tiles.evaluated(count // 2).size)


def _columns(tiles: AxisTiles) -> _Along:
    """Columns that are seen one by one or not at all."""
    middle = tiles.count // 2
    return _Along(tiles, np.ones(tiles.observed(middle).size, dtype=int), tiles.evaluated(middle).size)


def _observed(sizes: list[IntArray], share: float) -> float:
    """How many cells of groups have an observation, where that many cells of the lattice have, at random."""
    (t, m), (y, n), (x, k) = (np.unique(each, return_counts=True) for each in sizes)
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
