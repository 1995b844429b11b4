"""The x axis of a series: time in any calendar, or places along a line. Fields are laid out in the module of sheets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.errors import CoordinateError, DimensionError, listed
from xgpfill.grid.metric import Clock, clock_of
from xgpfill.layout.dims import roles_if_told
from xgpfill.words import bracketed, units_of

if TYPE_CHECKING:
    from collections.abc import Hashable

    import xarray as xr
    from matplotlib.axes import Axes

    from xgpfill.plotting.cells.edges import Array

MOST_TICKS = 8
MOST_NAMES = 40


def time_dim(field: xr.DataArray, dim: Hashable | None) -> Hashable:
    """Find the dimension of time, or take the one that is named.

    Raises
    ------
    DimensionError
    """
    if dim is not None and dim in field.dims:
        return dim
    roles = roles_if_told(field) if dim is None else None
    if roles is not None and roles.time is not None:
        return roles.time
    raise DimensionError(
        f"A series needs a dimension of time; this field has {listed(field.dims)}. Name it if it is one of them, "
        f"`series(..., dim=...)`; a field of space alone is a map: `field_map(mean)`."
    )


DATES = {
    "formats": ["%Y", "%b", "%d %b", "%H:%M", "%H:%M", "%S.%f"],
    "zero_formats": ["", "%Y", "%d %b", "%d %b", "%H:%M", "%H:%M"],
    "offset_formats": ["", "%Y", "%Y", "%Y-%b-%d", "%Y-%b-%d", "%Y-%b-%d %H:%M"],
}
"""How ticks at years, months, days, ... are written; every day with its month, since a series may begin in another."""


@dataclass(frozen=True)
class TimeAxis:
    """Where moments, or places along a line, lie on the x axis of a series, and how they are written.

    Attributes
    ----------
    dim : name
    clock : Clock or None
        Of the first series; None when its coordinate holds no moments, or there is none: then steps are counted.
    label : str
        Of the axis; dates speak for themselves.
    names : tuple of str
        Of places that have names.
    numbers : bool
        Whether the coordinate holds numbers that are no time, as those of places.
    """

    dim: Hashable
    clock: Clock | None
    label: str
    names: tuple[str, ...] = ()
    numbers: bool = False

    @classmethod
    def of(cls, field: xr.DataArray, dim: Hashable) -> TimeAxis:
        """Read the axis from the coordinate of `dim`, if there is one."""
        if dim not in field.coords:
            return cls(dim, None, bracketed(str(dim), "step"))
        coordinate, units = field.coords[dim], units_of(field.coords[dim])
        if coordinate.dtype.kind in "SU" or (coordinate.dtype == object and isinstance(coordinate.values[0], str)):
            return cls(dim, None, str(dim), tuple(str(name) for name in coordinate.values))
        try:
            clock = clock_of(coordinate.values, units)
        except CoordinateError:
            if coordinate.dtype.kind not in "iuf" or "%Y" in units:
                raise
            return cls(dim, None, bracketed(str(dim), units), numbers=True)
        shown = {"timedelta64": "days", "number": units}.get(clock.kind)
        return cls(dim, clock, "" if shown is None else bracketed(str(dim), shown))

    def positions(self, field: xr.DataArray) -> Array:
        """Positions of the moments of a series on this axis.

        Raises
        ------
        AlignmentError
            When its dates are of another kind or calendar.
        """
        if self.dim not in field.coords or not (self.clock or self.numbers):
            return np.arange(field.sizes[self.dim], dtype=float)
        coordinate = field.coords[self.dim]
        values: Array = coordinate.values
        if self.clock is None:
            return values
        days = self.clock.days(values, units_of(coordinate))
        return values if self.clock.kind in ("datetime64", "number") else days

    def write(self, ax: Axes) -> None:
        """Set the ticks and their labels."""
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
        from matplotlib.ticker import FixedLocator, FuncFormatter

        ax.set_xlabel(self.label)
        if self.names:
            step = -(-len(self.names) // MOST_NAMES)
            ax.set_xticks(np.arange(len(self.names))[::step], labels=self.names[::step], rotation=90)
        if self.clock is None or self.clock.kind not in ("datetime64", "cftime"):
            return
        if self.clock.kind == "datetime64":
            locator = AutoDateLocator(minticks=3, maxticks=MOST_TICKS)  # type: ignore[no-untyped-call]
            ax.xaxis.set_major_locator(locator)
            ax.xaxis.set_major_formatter(ConciseDateFormatter(locator, **DATES))  # type: ignore[no-untyped-call]
            return
        days, form = _calendar_ticks(self.clock, *ax.get_xlim())
        ax.xaxis.set_major_locator(FixedLocator(days))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda day, _: _date(self.clock, day).strftime(form)))


def _date(clock: Clock | None, day: float) -> Any:
    import cftime

    assert clock is not None
    return cftime.num2date(day, f"days since {clock.epoch}", calendar=clock.calendar)


def _calendar_ticks(clock: Clock, low: float, high: float) -> tuple[list[float], str]:
    """Days of at most eight round dates between two days of a calendar, and how to write them."""
    import cftime

    first, last = _date(clock, low), _date(clock, high)
    months = (last.year - first.year) * 12 + last.month - first.month
    if months < 3:
        step = next((s for s in (1, 2, 5, 10, 20) if (high - low) / s <= MOST_TICKS), 30)
        whole = cftime.date2num(_at(clock, first.year, first.month), f"days since {clock.epoch}", clock.calendar)
        days = [float(whole) + step * k for k in range(200 // step)]
        return [day for day in days if low <= day <= high], "%Y-%m-%d"
    strides = (1, 2, 3, 6, *(12 * n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500)))
    stride = next((s for s in strides if months / s <= MOST_TICKS), 12_000)
    start = (first.year * 12 + first.month - 1) // stride * stride
    dates = [_at(clock, m // 12, m % 12 + 1) for m in range(start, start + months + 2 * stride, stride) if m >= 12]
    found = cftime.date2num(dates, f"days since {clock.epoch}", clock.calendar)
    return [float(day) for day in found if low <= day <= high], "%Y" if stride >= 12 else "%Y-%m"


def _at(clock: Clock, year: int, month: int) -> Any:
    import cftime

    return cftime.datetime(year, month, 1, calendar=clock.calendar)
