"""What coordinates are called: their role told by CF attributes, by their type, or by their name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    import xarray as xr

TIME_NAMES = frozenset({"time", "t", "date", "day", "days", "month", "year", "valid_time", "datetime", "times"})
Y_NAMES = frozenset(
    {"lat", "latitude", "y", "northing", "nav_lat", "rlat", "grid_latitude", "yc", "row", "rows", "lats"}
)
X_NAMES = frozenset(
    {"lon", "longitude", "x", "easting", "nav_lon", "rlon", "grid_longitude", "xc", "col", "cols", "lons"}
)
LAT_NAMES = frozenset({"lat", "latitude", "nav_lat", "rlat", "grid_latitude", "lats"})
LON_NAMES = frozenset({"lon", "longitude", "nav_lon", "rlon", "grid_longitude", "lons"})
KEYS = {"time": "time", "t": "time", "y": "y", "lat": "y", "latitude": "y", "x": "x", "lon": "x", "longitude": "x"}


def role_of(da: xr.DataArray, name: Hashable) -> str | None:
    """The role of one dimension: CF attributes first, then the coordinate's type, then the name."""
    for role in ("time", "y", "x"):
        if name in cf_names(da, role):
            return role
    coordinate = da.coords.get(name)
    return "time" if coordinate is not None and is_dates(coordinate) else role_of_name(name)


def role_of_name(name: Hashable) -> str | None:
    """The role that a name alone suggests."""
    for role, known in (("time", TIME_NAMES), ("y", Y_NAMES), ("x", X_NAMES)):
        if str(name).lower() in known:
            return role
    return None


def cf_names(da: xr.DataArray, role: str) -> set[Hashable]:
    """Coordinates that CF attributes give this role."""
    import cf_xarray  # noqa: F401  (registers .cf)

    cf = da.coords.to_dataset().cf
    axis, coordinate = {"time": ("T", "time"), "y": ("Y", "latitude"), "x": ("X", "longitude")}[role]
    return set(cf.axes.get(axis, ())) | set(cf.coordinates.get(coordinate, ()))


def is_dates(coordinate: xr.DataArray) -> bool:
    """Whether these are dates, durations, or numbers whose units make them such."""
    units = str(coordinate.attrs.get("units", ""))
    if coordinate.dtype.kind in "mM" or " since " in units or "%Y" in units:
        return True
    return coordinate.dtype == object and coordinate.size > 0 and hasattr(coordinate.values.flat[0], "calendar")


def located(da: xr.DataArray, role: str) -> Hashable | None:
    """The latitude ('y') or longitude ('x') coordinate, whatever dimensions it has."""
    import cf_xarray  # noqa: F401  (registers .cf)

    coords = da.coords.to_dataset()
    found = coords.cf.coordinates.get("latitude" if role == "y" else "longitude", [])
    names = LAT_NAMES if role == "y" else LON_NAMES
    return next(iter(found or [c for c in da.coords if str(c).lower() in names]), None)
