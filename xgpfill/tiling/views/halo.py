"""How far the tiles of a lattice see: halos, what is averaged beyond them, and what is not seen at all.

A halo ends where averages of what is beyond would be of two cells or more. Regular columns are never averaged: where
tiles do not see all of them, each band of rows sees as many as lie within the distance beyond which observations
hardly matter (:mod:`xgpfill.tiling.views.screening`), and no rows beyond it either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from xgpfill.errors import DimensionError, listed
from xgpfill.kernels.prior import AXES, Prior
from xgpfill.kernels.reach import reach
from xgpfill.kernels.spec import Constant
from xgpfill.options import SYNONYMS
from xgpfill.tiling.tiles import AxisTiles, TilePlan, unless_all_is_seen
from xgpfill.tiling.views.groups import Groups, Lengths, drops_columns, grouped, keeps_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xgpfill.arrays import IntArray
    from xgpfill.grid.lattice import Lattice
    from xgpfill.tiling.views.screening import Distances

AXIS_NAMES = ("time", "y", "x")
MIN_HALO = 2
COLUMNS_SEEN = 2.0
"""Longest lengthscales of space within which columns are seen, where nothing is known of how far observations matter:
those beyond change means by 0.1 of their sd."""


@dataclass(frozen=True, eq=False)
class Sight:
    """What decides how far tiles see.

    Attributes
    ----------
    lattice : Lattice
    prior : Prior
        Learned; its lengthscales set the halo.
    halo : "auto", int or mapping
        Cells seen beyond what a tile evaluates, as they were named.
    screening : (float or None, float or None)
        Distance in time and in space beyond which observations hardly matter; None where that is not known.
    grow : bool
        As in :class:`Lengths`.
    """

    lattice: Lattice
    prior: Prior
    halo: str | int | Mapping[str, int] = "auto"
    screening: Distances = (None, None)
    grow: bool = False
    given: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        """Read the halos that were named."""
        object.__setattr__(self, "given", given_halo(self.lattice, self.halo, grow=self.grow))

    def plan(self, time: int, y: AxisTiles, columns: Sequence[int], *, near: bool) -> TilePlan:
        """So many tiles of time, these of rows, and so many along x in each band of rows, or in all alike.

        `near`: tiles see rows and columns that are near, where columns are not averaged, and no others.
        """
        y = self.nearer(y) if near else y
        x, halos = self.axis(2, max(columns)), self.columns_seen(y) if near else ()
        if not halos:
            return TilePlan(self.axis(0, time), y, x)
        counts = list(columns) if len(columns) == y.count else y.count * list(columns)
        bands = tuple(self.band(halo, count) for halo, count in zip(halos, counts, strict=True))
        return TilePlan(self.axis(0, time), y, x, bands, self.rows_averaged(y))

    def band(self, halo: int, count: int) -> AxisTiles:
        """The columns of a band of rows in so many tiles that see so many more; in one where each would see all."""
        x = AxisTiles(self.lattice.shape[2], count, halo if count > 1 else 0, self.lattice.space.wraps)
        return unless_all_is_seen(x)

    def axis(self, axis: int, count: int) -> AxisTiles:
        """An axis in so many tiles, with the halo that was named, or that suits them."""
        size, halo = self.lattice.shape[axis], self.given.get(AXIS_NAMES[axis])
        chosen = self._auto_halo(count, axis) if halo is None else min(halo, size)
        wraps = self.lattice.space.wraps and axis == 2
        return AxisTiles(size, min(count, size), chosen if count > 1 else 0, wraps)

    def _auto_halo(self, count: int, axis: int) -> int:
        """As far as cells are too different for averages of them; all columns where operators rest on them."""
        size, lengths = self.lattice.shape[axis], self.lengths(axis)
        if count == 1:
            return 0
        if not lengths.step or (axis == 2 and keeps_columns(self.lattice.space, grow=self.grow)):
            return size
        return next((k for k in range(MIN_HALO, size) if lengths.at(k + 1) >= 2.0), size)

    def lengths(self, axis: int) -> Lengths:
        """How long groups of an axis may be far from a tile."""
        return self._lengths[axis]

    @cached_property
    def _lengths(self) -> list[Lengths]:
        in_time, in_space = (tuple(term.axes[name] for term in self.prior.terms) for name in AXES)
        time = Lengths(in_time, self.lattice.time_step, self.grow, self.screening[0])
        return [time, *(Lengths(in_space, step, self.grow) for step in self.lattice.space.steps)]

    def groups(self, seen: IntArray, axis: int, within: int | None = None) -> Groups:
        """The cells of an axis where these are seen one by one, and so many beyond them at all."""
        return grouped(seen, self.lattice.shape[axis], self.lengths(axis), within)

    @property
    def drops_columns(self) -> bool:
        """Whether columns that a tile does not see one by one are not seen at all."""
        return drops_columns(self.lattice.space, grow=self.grow)

    @property
    def rows_seen(self) -> int | None:
        """Rows beyond those that a tile evaluates which it sees where it does not see all columns; None: all."""
        (_, distance), step = self.screening, self.lattice.space.steps[0]
        return None if distance is None or not step else max(MIN_HALO, int(np.ceil(distance / step)))

    def nearer(self, y: AxisTiles) -> AxisTiles:
        """Tiles of rows that see no farther than observations matter, unless their halo was named."""
        if self.rows_seen is None or not self.drops_columns or "y" in self.given:
            return y
        return replace(y, halo=min(y.halo, self.rows_seen))

    def rows_averaged(self, y: AxisTiles) -> int | None:
        """Of these the ones beyond the halo, which are seen in groups."""
        return None if self.rows_seen is None else max(0, self.rows_seen - y.halo)

    def columns_seen(self, y: AxisTiles) -> tuple[int, ...]:
        """How many columns beyond a tile each band of rows sees: as many as it takes where they are closest.

        None where their number is given, or columns are averaged.
        """
        if "x" in self.given or not self.drops_columns:
            return ()
        return tuple(max(MIN_HALO, int(self._columns_within[y.evaluated(band)].max())) for band in range(y.count))

    @cached_property
    def _columns_within(self) -> IntArray:
        """Columns within the distance that is seen, in each row."""
        meridians, distance = self.lattice.space.meridians, self._distance
        assert meridians is not None
        if meridians.geometry == "plane":
            cells = np.full(self.lattice.shape[1], distance / abs(meridians.step))
        else:
            widest = 2.0 * np.hypot(meridians.column[:, 0], meridians.column[:, 1])  # chord to the other side
            far = distance >= widest
            angle = 2.0 * np.arcsin(np.where(far, 1.0, distance / np.where(far, 1.0, widest)))
            cells = np.where(far, np.inf, angle / abs(meridians.step))
        return np.asarray(np.ceil(np.minimum(cells, meridians.size)), dtype=np.intp)

    @property
    def _distance(self) -> float:
        """Within which columns are seen."""
        if self.screening[1] is not None:
            return self.screening[1]
        kernels = [term.axes["space"] for term in self.prior.terms]
        reaches = [reach(kernel) for kernel in kernels if not isinstance(kernel, Constant)]
        return COLUMNS_SEEN * max(reaches, default=0.0)


def check_tiles(lattice: Lattice, tile: str | Mapping[str, int], halo: str | int | Mapping[str, int]) -> None:
    """Refuse sizes of tiles and halos that mean nothing, before any work is done.

    Raises
    ------
    DimensionError
    """
    if tile != "auto":
        named_sizes(tile, "tile", lattice)
    given_halo(lattice, halo, grow=False)


def given_halo(lattice: Lattice, halo: str | int | Mapping[str, int], *, grow: bool) -> dict[str, int]:
    """The halos that were named, by axis; the others are to be chosen."""
    if halo == "auto":
        return {}
    if isinstance(halo, Mapping):
        return named_sizes(halo, "halo", lattice, smallest=0)
    if isinstance(halo, (bool, str)) or not isinstance(halo, (int, np.integer)) or halo < 0:
        raise DimensionError(f"halo={halo!r}: expected 'auto', a number of cells, or e.g. `halo={{'time': 5}}`.")
    averaged = AXIS_NAMES[:2] if drops_columns(lattice.space, grow=grow) else AXIS_NAMES
    return dict.fromkeys(averaged, int(halo))  # of what is beyond, only averaged cells are seen


def named_sizes(sizes: str | Mapping[str, int], what: str, lattice: Lattice, smallest: int = 1) -> dict[str, int]:
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
    splits = any(found.get(k, n) < n for k, n in zip(("y", "x"), lattice.space.shape, strict=True))
    if splits and not lattice.space.is_grid:
        raise DimensionError(f"{what}= cannot split a list of sites, whose order is not space; split time only.")
    if splits and lattice.space.components > 1:
        parts = "levels of depth" if lattice.space.depths else "a vector field or joint variables"
        raise DimensionError(
            f"{what}= cannot split {parts} in space, whose parts go together; split time only, e.g. "
            f"`{what}={{'time': 30}}`."
        )
    return found
