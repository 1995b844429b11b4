"""Physical coordinates: degrees or projected metres to km, dates to days. No torch, no xarray objects."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xgpfill.errors import AlignmentError, CoordinateError, KernelError, listed, shown
from xgpfill.grid.directions import along_axes, drawn_together, east_and_north

EARTH_RADIUS_KM = 6371.0088
"""Mean radius of the Earth (km), IUGG."""

POLE = 90.0 + 1e-5
"""The largest latitude (degrees): half π in single precision lies beyond 90°."""

GEOMETRIES = ("auto", "sphere", "cylinder", "plane")
_KM_PER_UNIT = {
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1e-3),
    **dict.fromkeys(("ft", "foot", "feet"), 3.048e-4),
    **dict.fromkeys(("us survey foot", "us_survey_foot"), 12e-4 / 3.937),
    **dict.fromkeys(("km", "kilometer", "kilometers", "kilometre", "kilometres"), 1.0),
}
_DEGREES_PER_UNIT = dict.fromkeys(("radian", "radians", "rad"), float(np.rad2deg(1.0)))
_DAYS_PER_UNIT = {
    **dict.fromkeys(("", "1"), 1.0),
    **dict.fromkeys(("nanosecond", "nanoseconds", "ns"), 1 / 86400e9),
    **dict.fromkeys(("microsecond", "microseconds", "microsec", "us"), 1 / 86400e6),
    **dict.fromkeys(("millisecond", "milliseconds", "millisec", "msec", "ms"), 1 / 86400e3),
    **dict.fromkeys(("day", "days", "d"), 1.0),
    **dict.fromkeys(("hour", "hours", "hr", "hrs", "h"), 1 / 24),
    **dict.fromkeys(("minute", "minutes", "min", "mins"), 1 / 1440),
    **dict.fromkeys(("second", "seconds", "sec", "secs", "s"), 1 / 86400),
    **dict.fromkeys(("week", "weeks"), 7.0),
    **dict.fromkeys(("year", "years", "yr", "yrs"), 365.2425),
    "mean months": 365.2425 / 12,
    "mean quarters": 365.2425 / 4,
}

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """How the two space coordinates become km: the geometry and its reference point.

    Attributes
    ----------
    geometry : {"sphere", "cylinder", "plane"}
    degrees : bool
        Whether the coordinates are latitude and longitude in degrees.
    factor : float
        Kilometres (or `unit`) per unit of a projected coordinate; degrees per unit of latitude and longitude.
    unit : str
        Unit of distances: "km", "cell" for coordinates that are indices, else the coordinate's own unit.
    latitude, longitude : float
        Centre of the local plane and of the range longitudes are unwrapped to (degrees).
    anisotropy : float
        How many times as long lengthscales are to the east as to the north; distances to the east count so much less.
    """

    geometry: str
    degrees: bool
    factor: float = 1.0
    unit: str = "km"
    latitude: float = 0.0
    longitude: float = 0.0
    anisotropy: float = 1.0

    def embed(self, y: FloatArray, x: FloatArray) -> FloatArray:
        """Coordinates (..., d) in km whose Euclidean distance is the distance of this geometry.

        Examples
        --------
        >>> import numpy as np
        >>> sphere = Metric("sphere", degrees=True)
        >>> a, b = sphere.embed(np.array([0.0, 0.0]), np.array([359.5, -0.5]))
        >>> bool(np.allclose(a, b))  # no seam at the date line
        True
        """
        y, x = np.broadcast_arrays(self.factor * np.asarray(y, float), self.factor * np.asarray(x, float))
        if not self.degrees:
            return drawn_together(np.stack([x, y], axis=-1), self.geometry, self.anisotropy)
        turn, phi = np.deg2rad(self.unwrap(x) - self.longitude), np.deg2rad(y)
        if self.geometry == "sphere":
            parts = [np.cos(phi) * np.cos(turn), np.cos(phi) * np.sin(turn), np.sin(phi)]
        elif self.geometry == "cylinder":
            parts = [np.cos(turn), np.sin(turn), phi]
        else:
            parts = [np.cos(np.deg2rad(self.latitude)) * turn, phi]
        return drawn_together(EARTH_RADIUS_KM * np.stack(parts, axis=-1), self.geometry, self.anisotropy)

    def directions(self, y: FloatArray, x: FloatArray) -> FloatArray:
        """Unit vectors along the components of a vector at these coordinates, (2, ..., 3): east and north, or x and y.

        On a sphere they turn with the place; on a sheet they are the same everywhere.
        """
        y, x = np.broadcast_arrays(self.factor * np.asarray(y, float), self.factor * np.asarray(x, float))
        if self.geometry != "sphere":
            return along_axes(y.shape)
        return east_and_north(np.deg2rad(y), np.deg2rad(self.unwrap(x) - self.longitude))

    def unwrap(self, longitude: FloatArray) -> FloatArray:
        """Longitudes brought within half a turn of the centre."""
        return (np.asarray(longitude, float) - self.longitude + 180.0) % 360.0 - 180.0 + self.longitude

    def in_units(self, units: str) -> Metric:
        """The same distances for coordinates given in other units; an empty unit is that of the data.

        Raises
        ------
        AlignmentError
            When the units measure something else.
        """
        if not units:
            return self
        factor, unit = _scale(units, degrees=self.degrees)
        if unit != self.unit:
            own = "degrees" if self.degrees else self.unit
            raise AlignmentError(
                f"These coordinates of space are in {units!r}, but the model was fitted on {own!r}. Convert them, and "
                f"say so, e.g. `da['x'].attrs['units'] = {own!r}`."
            )
        return replace(self, factor=factor)


def kilometres_per(units: str) -> float | None:
    """Kilometres in a unit of length; None when it is none that is known."""
    return _KM_PER_UNIT.get(units.strip().lower())


def is_angle(units: str) -> bool:
    """Whether these are units of latitude and longitude."""
    units = units.strip().lower()
    return units.startswith("degree") or units in ("deg", "°") or units in _DEGREES_PER_UNIT


def degrees_per(units: str) -> float:
    """Degrees in a unit of angle; one when it is none that is known."""
    return _DEGREES_PER_UNIT.get(units.strip().lower(), 1.0)


def same_unit(units: str) -> str:
    """One spelling of a unit of space."""
    if is_angle(units):
        return f"{degrees_per(units)} degrees"
    known = kilometres_per(units)
    return units if known is None else f"{known} km"


def _scale(units: str, *, degrees: bool) -> tuple[float, str]:
    """What one unit of a coordinate is, and the unit of the distances that follow."""
    if degrees:
        return degrees_per(units), "km" if is_angle(units) else units
    known = kilometres_per(units)
    return (1.0, units or "1") if known is None else (known, "km")


def check_latitudes(latitude: FloatArray) -> None:
    """Latitudes in degrees must lie between the poles.

    Raises
    ------
    CoordinateError
    """
    outside = np.abs(latitude) > POLE
    if outside.any():
        raise CoordinateError(
            f"Latitude {float(latitude[outside][0])!r} is outside −90…90 degrees. If these are projected coordinates, "
            f"give them `units='m'` or `'km'`; if dims are mixed up, name them: `dims={{'y': ..., 'x': ...}}`."
        )


def metric_for(y: FloatArray, x: FloatArray, *, degrees: bool, units: str, geometry: str, directional: bool) -> Metric:
    """Choose the metric of these coordinates.

    Parameters
    ----------
    y, x : array
        Latitude and longitude in degrees, or projected coordinates.
    degrees : bool
        Whether they are latitude and longitude.
    units : str
        Unit of the coordinates ("degrees", "radians", "m", "km", "cell", ...).
    geometry : {"auto", "sphere", "cylinder", "plane"}
    directional : bool
        Whether a kernel needs the two directions apart (periodic, spectral).
    """
    if not isinstance(geometry, str) or geometry not in GEOMETRIES:
        raise CoordinateError(f"Unknown geometry {shown(geometry)}. Choose one of {listed(GEOMETRIES)}.")
    if not degrees:
        if geometry in ("sphere", "cylinder"):
            raise CoordinateError(
                f"geometry={geometry!r} needs latitude and longitude in degrees, but the coordinates are in "
                f"{units!r}. Type `geometry='plane'`, or give the coordinates CF units such as 'degrees_north'."
            )
        factor, unit = _scale(units, degrees=False)
        return Metric("plane", degrees=False, factor=factor, unit=unit)
    factor = degrees_per(units)
    y, x = factor * y, factor * x
    check_latitudes(y)
    if directional and geometry == "sphere":
        raise KernelError(
            "periodic and spectral kernels of space are not positive definite as functions of the chord on the "
            "sphere. Type `geometry='plane'` for a region, or leave `geometry='auto'`."
        )
    centre, extent = _longitude_span(x)
    if geometry == "auto":
        geometry = "plane" if directional else "sphere"
    if directional and extent > 180.0:
        raise KernelError(
            f"periodic and spectral kernels of space need a region at most 180° wide; the data span {extent:.1f}°. "
            f"Select a region, or choose `space_kernel='matern32'`, which has no seam."
        )
    middle = 0.5 * (float(np.min(y)) + float(np.max(y)))
    return Metric(geometry, degrees=True, factor=factor, latitude=middle, longitude=centre)


def _longitude_span(x: FloatArray) -> tuple[float, float]:
    """Centre and width (degrees) of the smallest arc that holds all longitudes."""
    turned = np.unique(np.asarray(x, float) % 360.0)
    if turned.size == 1:
        return float(turned[0]), 0.0
    gaps = np.diff(turned, append=turned[0] + 360.0)
    widest = int(np.argmax(gaps))
    start, extent = turned[(widest + 1) % turned.size], 360.0 - float(gaps[widest])
    return float((start + extent / 2) % 360.0), extent


@dataclass(frozen=True)
class Clock:
    """Where day zero is, and what kind of dates are counted from it.

    Attributes
    ----------
    kind : {"datetime64", "timedelta64", "cftime", "number"}
    epoch : str or float
        ISO date (with `calendar` for cftime), or the first number.
    calendar : str
    scale : float
        Days per unit of a numeric axis.
    since : str
        The date that a numeric axis counts from, when its units name one.
    """

    kind: str
    epoch: str | float = 0.0
    calendar: str = ""
    scale: float = 1.0
    since: str = ""

    def days(self, times: NDArray[Any], units: str = "") -> FloatArray:
        """Days (float64) from the epoch to each of `times`; numbers without `units` are in those of this clock.

        Raises
        ------
        AlignmentError
            When the dates are of another kind or calendar than this clock's, or count from another date.
        """
        other = clock_of(times, units)
        if (other.kind, other.calendar) != (self.kind, self.calendar):
            raise AlignmentError(
                f"These times are {_described(other)}, but the model was fitted on {_described(self)}. "
                f"Convert one of them, e.g. `da.convert_calendar('standard')` or `xr.decode_cf(ds)`."
            )
        if self.kind == "datetime64":
            (days, rest), (day, start) = _split(times), _split(np.datetime64(str(self.epoch)))
            return np.asarray((days - day) + (rest - start), np.float64)
        if self.kind == "timedelta64":
            return np.asarray(times / np.timedelta64(1, "D"), np.float64)
        if self.kind == "cftime":
            import cftime

            return np.asarray(cftime.date2num(times, f"days since {self.epoch}", calendar=self.calendar), float)
        if other.since and self.since and _digits(other.since) != _digits(self.since):
            raise AlignmentError(
                f"These times count from {other.since!r}, but the model was fitted on times from {self.since!r}. "
                f"Decode both before fitting, `xr.decode_cf(ds)`, or count them from one date."
            )
        scale = other.scale if units else self.scale
        return np.asarray(times, float) * scale - float(self.epoch) * self.scale


def clock_of(times: NDArray[Any], units: str = "") -> Clock:
    """The clock whose day zero is the first of `times`.

    Parameters
    ----------
    times : array (time,)
        datetime64, timedelta64, cftime objects, or numbers (days unless `units` says otherwise).
    units : str
        The ``units`` attribute of a numeric axis.
    """
    if "%Y" in units:
        raise CoordinateError(
            f"Time is coded as {units!r}, which is not an elapsed time. Decode it first, e.g. "
            f"`ds['time'] = pd.to_datetime(ds.time.values.astype(int).astype(str), format='%Y%m%d')`."
        )
    if np.issubdtype(times.dtype, np.datetime64):
        if np.isnat(times).any():
            raise CoordinateError("Time holds NaT. Drop these steps, e.g. `da.isel(time=da['time'].notnull())`.")
        return Clock("datetime64", epoch=str(times[0]))
    if np.issubdtype(times.dtype, np.timedelta64):
        return Clock("timedelta64")
    if times.dtype == object and all(hasattr(time, "calendar") for time in times.flat):
        _require_one_calendar(times)
        return Clock("cftime", epoch=times.flat[0].isoformat(sep=" "), calendar=times.flat[0].calendar)
    if not np.issubdtype(times.dtype, np.number) or np.issubdtype(times.dtype, np.complexfloating):
        raise CoordinateError(
            f"Time has dtype {times.dtype}; expected datetime64, cftime or real numbers. "
            f"Decode it, e.g. `ds['time'] = pd.to_datetime(ds['time'].astype(str))`."
        )
    unit, _, since = units.partition(" since ")
    scale = _DAYS_PER_UNIT.get(unit.strip().lower())
    if scale is None:
        raise CoordinateError(
            f"Time is counted in {unit!r}; expected a unit of fixed length, such as 'days' or 'hours'. Give dates, "
            f"e.g. `ds['time'] = pd.date_range('2000-01-01', periods=ds.sizes['time'], freq='MS')`; if these are mere "
            f"steps, `del ds.time.attrs['units']` counts each as a day."
        )
    return Clock("number", epoch=float(times.flat[0]), scale=scale, since=since.strip())


def _require_one_calendar(times: NDArray[Any]) -> None:
    calendars = sorted({time.calendar for time in times.flat})
    if len(calendars) > 1:
        raise CoordinateError(
            f"Time holds dates of several calendars, {listed(calendars)}; expected one. Convert each part before they "
            f"are joined, e.g. `part.convert_calendar({calendars[0]!r})`."
        )


def _split(times: Any) -> tuple[Any, Any]:
    """Whole days since 1970 and the rest of the day, so that no date is too far for its resolution."""
    whole = times.astype("datetime64[D]")
    return whole.astype(np.int64), (times - whole) / np.timedelta64(1, "D")


def _digits(date: str) -> list[float]:
    """The numbers of a date, so that 2000-1-1 and 2000-01-01 00:00:00 compare equal."""
    numbers = [float(digits) for digits in re.findall(r"\d+(?:\.\d+)?", date)]
    last = max((i for i, number in enumerate(numbers, 1) if number), default=0)
    return numbers[:last]


def _described(clock: Clock) -> str:
    return f"{clock.kind} ({clock.calendar} calendar)" if clock.calendar else clock.kind
