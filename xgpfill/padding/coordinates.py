"""Coordinates of a padded field: those that place its cells go on in even steps, others are not known there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.errors import CoordinateError
from xgpfill.grid.axes import require_numeric
from xgpfill.grid.metric import POLE, degrees_per
from xgpfill.words import units_of, written

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from numpy.typing import NDArray

    from xgpfill.grid.dims import Roles

EVEN = 1e-2
"""Steps may differ by this share of their mean, as those between Gaussian latitudes do, and are even then."""


def extended_coords(
    da: xr.DataArray, widths: Mapping[Hashable, tuple[int, int]], periods: Mapping[Hashable, int], roles: Roles | None
) -> dict[Hashable, xr.Variable]:
    """The coordinates of `da` along dimensions that get so many cells more at both ends.

    Coordinates of dimensions, and those along one that place cells in time and space, are extrapolated. Of others the
    margins are taken from round the circle, where there is one, and are missing elsewhere.

    Raises
    ------
    CoordinateError
        When steps are uneven, or would lead beyond a pole or more than once round the globe.
    """
    placing = set() if roles is None else set(roles.coordinates.values())
    found = {}
    for name, coordinate in da.coords.items():
        variable = coordinate.variable.to_base_variable()
        longer = [d for d in coordinate.dims if any(widths.get(d, (0, 0)))]
        for dim in longer:
            if name == dim or (name in placing and coordinate.ndim == 1):
                values = _extrapolated(coordinate, widths[dim], turn=_turn(coordinate, roles))
                variable = xr.Variable((dim,), values, coordinate.attrs, coordinate.encoding)
                _require_on_globe(coordinate, values, widths[dim], roles, closed=dim in periods)
            elif dim in periods:
                variable = variable.isel({dim: round_the_circle(da.sizes[dim], widths[dim], periods[dim])})
            else:
                variable = variable.pad({dim: widths[dim]})
        if longer:
            found[name] = variable
    return found


def round_the_circle(size: int, width: tuple[int, int], period: int) -> NDArray[np.intp]:
    """Which cells of a circle stand along a padded one; the cells that are there stay what they are."""
    place = np.arange(-width[0], size + width[1])
    return np.where((place >= 0) & (place < size), place, place % period)


def _turn(coordinate: xr.DataArray, roles: Roles | None) -> float | None:
    """A full turn in the unit of a longitude; None for any other coordinate."""
    if roles is None or not roles.degrees or coordinate.name != roles.x:
        return None
    return 360.0 / degrees_per(units_of(coordinate))


def _extrapolated(coordinate: xr.DataArray, width: tuple[int, int], *, turn: float | None) -> NDArray[Any]:
    values: NDArray[Any] = coordinate.values
    if values.size < 2:
        raise CoordinateError(
            f"Coordinate {coordinate.name!r} has one value, so the step to the next is not known. Drop it to count in "
            f"cells: `da.drop_vars({coordinate.name!r})`."
        )
    if values.dtype.kind in "mM" or (values.dtype == object and hasattr(values.flat[0], "calendar")):
        return _extrapolated_dates(coordinate, width)
    require_numeric(values, coordinate.name, coordinate.dims)
    numbers = values.astype(np.float64)
    steps = np.diff(numbers if turn is None else np.unwrap(numbers, period=turn))
    step = float(steps.mean())
    if not step or np.abs(steps - step).max() > EVEN * abs(step):
        raise _uneven(coordinate, f"{steps.min():.6g}", f"{steps.max():.6g}")
    margins = numbers[0] + step * np.arange(-width[0], 0), numbers[-1] + step * np.arange(1, width[1] + 1)
    if values.dtype.kind == "f":
        return np.concatenate([margins[0].astype(values.dtype), values, margins[1].astype(values.dtype)])
    found = np.concatenate([np.rint(margins[0]).astype(np.int64), values, np.rint(margins[1]).astype(np.int64)])
    kept = values.dtype.kind == "i" and np.array_equal(found.astype(values.dtype), found)
    return found.astype(values.dtype) if kept else found


def _extrapolated_dates(coordinate: xr.DataArray, width: tuple[int, int]) -> NDArray[Any]:
    """Dates in even steps, or by the calendar: months, quarters, years."""
    values = coordinate.values
    if values.dtype.kind in "mM" and np.isnat(values).any():
        raise CoordinateError(
            f"Coordinate {coordinate.name!r} holds NaT. Drop these steps, e.g. `da.isel({coordinate.dims[0]}="
            f"da[{coordinate.name!r}].notnull())`."
        )
    steps = np.diff(values)
    if (steps == steps[0]).all() and steps[0]:
        counts = np.arange(-width[0], 0), np.arange(1, width[1] + 1)
        if values.dtype == object:
            counts = counts[0].astype(object), counts[1].astype(object)
        return np.concatenate([values[0] + steps[0] * counts[0], values, values[-1] + steps[0] * counts[1]])
    freq = xr.infer_freq(coordinate) if values.size > 2 and values.dtype.kind != "m" else None
    if freq is None:
        raise _uneven(coordinate, written(steps.min()), written(steps.max()))
    how: dict[str, Any] = {"freq": freq}
    if values.dtype == object:
        how |= {"calendar": values[0].calendar, "use_cftime": True}
    before = xr.date_range(end=values[0], periods=width[0] + 1, **how).values[:-1]
    after = xr.date_range(start=values[-1], periods=width[1] + 1, **how).values[1:]
    return np.concatenate([before.astype(values.dtype), values, after.astype(values.dtype)])


def _uneven(coordinate: xr.DataArray, least: str, most: str) -> CoordinateError:
    name = coordinate.name
    return CoordinateError(
        f"Coordinate {name!r} has steps from {least} to {most}; padding goes on in even steps. Interpolate to such "
        f"first, `da.interp({name}=...)`, or drop the coordinate to count in cells: `da.drop_vars({name!r})`."
    )


def _require_on_globe(
    coordinate: xr.DataArray, values: NDArray[Any], width: tuple[int, int], roles: Roles | None, *, closed: bool
) -> None:
    """Refuse latitudes beyond a pole, and longitudes that go round and meet themselves."""
    if roles is None or not roles.degrees or coordinate.name not in (roles.y, roles.x):
        return
    name, degrees = coordinate.name, degrees_per(units_of(coordinate)) * values.astype(np.float64)
    if name == roles.y:
        beyond = np.abs(degrees) > POLE
        if beyond.any():
            fit = tuple(int((~beyond[part]).sum()) for part in (slice(width[0]), slice(len(values) - width[1], None)))
            raise CoordinateError(
                f"Padding {name!r} by {width} would lead to latitude {float(degrees[np.abs(degrees).argmax()]):.6g}, "
                f"outside −90…90 degrees. As many rows as fit are `pad({{{name!r}: {fit}}})`."
            )
        return
    round_trip = np.unwrap(degrees, period=360.0)
    if not closed and np.ptp(round_trip) > 360.0 - 0.5 * abs(round_trip[1] - round_trip[0]):
        most = int(
            (360.0 - np.ptp(round_trip[width[0] : len(degrees) - width[1]])) / abs(round_trip[1] - round_trip[0])
        )
        raise CoordinateError(
            f"Padding {name!r} by {width} would go round the globe and meet itself, along an axis that does not close. "
            f"Add {max(most - 1, 0)} columns at most, on both sides together."
        )
