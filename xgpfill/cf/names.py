"""What coordinates are called: their role told by CF attributes, by their type, or by their name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    import xarray as xr

TIME_NAMES = frozenset(
    {
        "time", "t", "date", "day", "days", "month", "year", "valid_time", "datetime", "times", "dayofyear", "doy",
        "hour", "week", "quarter", "time_counter", "ocean_time", "xtime",
    }
)  # fmt: skip
STEP_UNITS = {"year": "years", "quarter": "mean quarters", "month": "mean months", "week": "weeks", "hour": "hours"}
"""What numbers along dimensions of these names count, where no units say it; others count days."""
LAT_NAMES = frozenset(
    {
        "lat", "latitude", "nav_lat", "rlat", "grid_latitude", "lats",
        "lat_rho", "lat_u", "lat_v", "lat_psi",  # ROMS
        "tlat", "ulat", "xlat", "xlat_m", "xlat_u", "xlat_v",  # CESM, WRF
        "geolat", "geolat_c", "geolat_u", "geolat_v", "gphit", "gphiu", "gphiv", "gphif",  # MOM, NEMO
        "clat", "latcell",  # ICON, MPAS
    }
)  # fmt: skip
"""Names of latitudes; those of models in the order of their :data:`LON_NAMES`."""
LON_NAMES = frozenset(
    {
        "lon", "longitude", "nav_lon", "rlon", "grid_longitude", "lons",
        "lon_rho", "lon_u", "lon_v", "lon_psi",
        "tlong", "ulong", "tlon", "ulon", "xlong", "xlong_m", "xlong_u", "xlong_v",
        "geolon", "geolon_c", "geolon_u", "geolon_v", "glamt", "glamu", "glamv", "glamf",
        "clon", "loncell",
    }
)  # fmt: skip
Y_NAMES = LAT_NAMES | {
    "y", "northing", "yc", "row", "rows", "nj", "nlat", "eta_rho", "eta_u", "eta_v", "eta_psi", "south_north",
}  # fmt: skip
X_NAMES = LON_NAMES | {
    "x", "easting", "xc", "col", "cols", "ni", "nlon", "xi_rho", "xi_u", "xi_v", "xi_psi", "west_east",
}  # fmt: skip
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
