"""Dates that somebody typed, as text or as Python's own dates: read as dates of a time axis."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.errors import AlignmentError, CoordinateError, shown

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

_ISO = re.compile(
    r"(-?\d{4,6}-\d\d-\d\d)(?:[T ](\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?)?\s*(Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII
)
"""The day; hour, minute, second and fraction; the zone."""


def typed_dates(values: NDArray[Any], axis: xr.DataArray) -> NDArray[Any]:
    """Text, `datetime.datetime` and `pandas.Timestamp` as dates of `axis`; the same array where there are none.

    A date is read as it is written, in the calendar of the axis.

    Parameters
    ----------
    values : array
        What was given for a coordinate of time, of any shape.
    axis : DataArray
        The times of the data, by its name: datetime64, cftime, durations or numbers.

    Returns
    -------
    array
        datetime64 of the resolution of the axis (finer if need be), or cftime of its class.

    Raises
    ------
    CoordinateError
        When one is no date of the calendar, or has a time zone.
    AlignmentError
        When the axis has no dates.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> days = xr.DataArray(np.array(["2000-01-01", "2000-01-02"], "M8[s]"), dims="time", name="time")
    >>> typed_dates(np.array("2011-02-01"), days)
    array('2011-02-01T00:00:00', dtype='datetime64[s]')
    """
    if values.dtype.kind not in "UTO":
        return values
    given = values.ravel().tolist()
    typed = [one for one in given if isinstance(one, (str, date))]
    if not typed:
        return values
    if axis.dtype.kind not in "MO":
        raise _no_dates(typed[0], axis)
    if axis.dtype.kind == "M":
        return _datetime64(given, axis).reshape(values.shape)
    first, dates = axis[:1], np.empty(len(given), dtype=object)
    dates[:] = [one if hasattr(one, "calendar") else _cftime(one, first) for one in given]
    return dates.reshape(values.shape)


def _datetime64(given: list[Any], axis: xr.DataArray) -> NDArray[Any]:
    dates = []
    for one in given:
        day, hour, minute, second, fraction = _parts(one, axis)
        try:
            dates.append(np.datetime64(f"{day}T{hour}:{minute}:{second}.{fraction}"))
        except ValueError:
            raise _no_date(one, axis) from None
    exact = np.array(dates)
    like = exact.astype(axis.dtype)
    return like if (like.astype(exact.dtype) == exact).all() else exact


def _cftime(one: Any, axis: xr.DataArray) -> Any:
    day, hour, minute, second, fraction = _parts(one, axis)
    year, month, day_of_month = day.rsplit("-", 2)
    try:
        return axis.values.flat[0].replace(
            year=int(year), month=int(month), day=int(day_of_month), hour=int(hour), minute=int(minute),
            second=int(second), microsecond=int(fraction[:6].ljust(6, "0")),
        )  # fmt: skip
    except ValueError:
        raise _no_date(one, axis) from None


def _parts(one: Any, axis: xr.DataArray) -> tuple[str, str, str, str, str]:
    """Day, hour, minute, second and its fraction of a date as ISO 8601 writes it."""
    text = _written(one)
    found = None if hasattr(one, "calendar") else _ISO.fullmatch(text.strip())
    if found is None:
        raise _no_date(one, axis)
    day, hour, minute, second, fraction, zone = found.groups()
    if zone:
        raise CoordinateError(
            f"Target coordinate {axis.name!r} holds {text!r}, which has a time zone; the dates of the data have none. "
            f"Leave it out, e.g. `{_example(axis, '12:00')}`; dates of pandas become UTC by `dates.tz_convert(None)`."
        )
    return day, hour or "00", minute or "00", second or "00", fraction or "0"


def _written(one: Any) -> str:
    return str(one.isoformat()) if hasattr(one, "isoformat") else str(one)


def _no_date(one: Any, axis: xr.DataArray) -> CoordinateError:
    calendar = "of the standard" if axis.dtype.kind == "M" else f"of the {axis.values.flat[0].calendar}"
    own = f" (it is of the {one.calendar} calendar)" if hasattr(one, "calendar") else ""
    return CoordinateError(
        f"Target coordinate {axis.name!r} holds {shown(_written(one))}{own}, which is no date {calendar} calendar; "
        f"expected year, month and day, and the time of day if need be. Type e.g. `{_example(axis)}` or "
        f"`{_example(axis, '12:00')}`."
    )


def _no_dates(one: Any, axis: xr.DataArray) -> AlignmentError:
    units = str(axis.attrs.get("units", ""))
    if axis.dtype.kind == "m":
        kind, example = "durations", "np.timedelta64(3, 'D')"
    else:
        kind, example = "numbers" + (f" in {units!r}" if units else ""), repr(axis.values.flat[0].item())
    name = str(axis.name)
    dates = (
        "`xr.decode_cf(ds)`"
        if " since " in units
        else f"`da.assign_coords({name}=pd.date_range('2000-01-01', periods={axis.size}))`"
    )
    return AlignmentError(
        f"Target coordinate {name!r} holds {shown(_written(one))}, but the model was fitted on times that are {kind}. "
        f"Give such, e.g. `model.predict({{{name!r}: {example}}})`, or fit on dates: {dates}."
    )


def _example(axis: xr.DataArray, hour: str = "") -> str:
    """The first date of the data as one would type it."""
    day = _written(axis.values.flat[0]).partition("T")[0]
    return repr(f"{day}T{hour}" if hour else day)
