"""Hypothesis strategies: small gappy DataArrays in every order, orientation, calendar and dtype that the package takes.

Values come from a drawn seed, coordinates and gaps from Hypothesis, so that examples shrink to small plain grids.
"""

from __future__ import annotations

from typing import Any

import cftime
import numpy as np
import xarray as xr
from hypothesis import settings
from hypothesis import strategies as st

quick = settings(deadline=None, max_examples=25)
"""Decorator of property tests that take milliseconds an example; the first one imports much, hence no deadline."""

TIME_KINDS = ("datetime64", "cftime", "number")
CALENDARS = ("standard", "noleap", "360_day")
LONGITUDES = ("0..360", "-180..180")
DTYPES = ("float64", "float32", "int32")
EXTRA_DIMS = ("level", "member")


@st.composite
def latitudes(draw: st.DrawFn, *, max_size: int = 5, regular: bool = True) -> np.ndarray:
    """Sorted latitudes in degrees, rising or falling; poles may be among them."""
    n = draw(st.integers(1, max_size))
    if regular:
        step = draw(st.sampled_from((0.25, 1.0, 7.5, 180.0 / max(n - 1, 1))))
        values = draw(st.floats(-90.0, 90.0 - step * (n - 1), width=32)) + step * np.arange(n)
    else:
        values = np.sort(draw(st.lists(st.integers(-900, 900), min_size=n, max_size=n, unique=True))) / 10.0
    return np.clip(values, -90.0, 90.0)[:: draw(st.sampled_from((1, -1)))]


@st.composite
def longitudes(draw: st.DrawFn, *, max_size: int = 6, convention: str | None = None) -> np.ndarray:
    """Regular longitudes in degrees, of a region or around the globe, rising or falling."""
    n = draw(st.integers(1, max_size))
    low = {"0..360": 0.0, "-180..180": -180.0}[convention or draw(st.sampled_from(LONGITUDES))]
    if draw(st.booleans()):
        values = low + 360.0 / n * np.arange(n)
    else:
        step = draw(st.sampled_from((0.25, 1.0, 7.5, 30.0)))
        values = low + draw(st.integers(0, int(359 - step * (n - 1)))) + step * np.arange(n)
    return values[:: draw(st.sampled_from((1, -1)))]


@st.composite
def days(draw: st.DrawFn, *, max_size: int = 5) -> np.ndarray:
    """Whole days of the year 2001, sorted, with any steps; none is 29 February or after the 28th of a month."""
    n = draw(st.integers(1, max_size))
    return np.sort(draw(st.lists(st.integers(0, 27), min_size=n, max_size=n, unique=True))).astype(float)


def time_axis(days: np.ndarray, kind: str, calendar: str = "standard", dim: str = "time") -> tuple[Any, ...]:
    """The same days of January 2001 as ``(dim, values, attrs)`` of datetime64, cftime or numbers."""
    if kind == "datetime64":
        return dim, np.datetime64("2001-01-01", "ns") + days.astype(int) * np.timedelta64(1, "D"), {}
    if kind == "cftime":
        dates = [cftime.datetime(2001, 1, 1 + int(day), calendar=calendar) for day in days]
        return dim, np.array(dates, dtype=object), {}
    if kind == "number":
        return dim, 24.0 * days, {"units": "hours since 2001-01-01"}
    raise ValueError(kind)


@st.composite
def fields(
    draw: st.DrawFn,
    *,
    axes: tuple[str, ...] | None = None,
    extra: tuple[str, ...] | None = None,
    dtype: str | None = None,
    time_kind: str | None = None,
) -> xr.DataArray:
    """A small gappy field on any of time, lat and lon (at least one), in any order of dimensions.

    Parameters
    ----------
    axes, extra : tuple of names, optional
        The fitted axes, out of time, lat and lon, and the independent ones.
    dtype, time_kind : str, optional
        One of `DTYPES` (integers have no gaps) and of `TIME_KINDS`.
    """
    choices = [("time", "lat", "lon"), ("lat", "lon"), ("time",), ("time", "lon"), ("lat",)]
    axes = draw(st.sampled_from(choices)) if axes is None else axes
    extra = draw(st.sampled_from([(), (), ("level",), EXTRA_DIMS])) if extra is None else extra
    coords: dict[str, Any] = {}
    if "time" in axes:
        kind = time_kind or draw(st.sampled_from(TIME_KINDS))
        coords["time"] = time_axis(draw(days()), kind, draw(st.sampled_from(CALENDARS)))
    if "lat" in axes:
        coords["lat"] = ("lat", draw(latitudes()), {"units": "degrees_north"})
    if "lon" in axes:
        coords["lon"] = ("lon", draw(longitudes()), {"units": "degrees_east"})
    if "level" in extra:
        coords["level"] = ("level", [850.0, 500.0], {"units": "hPa"})
    sizes = {name: len(axis[1]) for name, axis in coords.items()} | ({"member": 2} if "member" in extra else {})
    dims = draw(st.permutations(list(sizes)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    values = 10.0 + 3.0 * rng.normal(size=tuple(sizes[d] for d in dims))
    dtype = dtype or draw(st.sampled_from(DTYPES))
    if dtype.startswith("float"):
        values[rng.uniform(size=values.shape) < draw(st.sampled_from((0.0, 0.3, 0.8)))] = np.nan
    return xr.DataArray(values.astype(dtype), dims=dims, coords=coords, name="sst", attrs={"units": "degC"})
