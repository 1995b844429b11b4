"""One field in the forms that grids, stations and files of the geosciences have it in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cftime
import numpy as np
import pandas as pd
import xarray as xr

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[[xr.DataArray], xr.DataArray]

DAYS, ROWS, COLUMNS = 5, 6, 7
CUBE = ("time", "lat", "lon")


def plain(lon_step: float = 1.0, lat: float = 42.0) -> xr.DataArray:
    """Five days on a region of degrees, or on the globe, smooth in time and space."""
    t, y, x = np.meshgrid(np.arange(DAYS), np.arange(ROWS), np.arange(COLUMNS), indexing="ij")
    values = 12.0 + np.sin(y / 2 + t / 3) + np.cos(x * 2 * np.pi / 7 - t / 4) + 0.3 * np.sin(x * y / 5)
    coords = {"time": pd.date_range("2000-02-26", periods=DAYS), "lat": lat + np.arange(ROWS) * lon_step**0.5}
    return xr.DataArray(values, {**coords, "lon": np.arange(COLUMNS) * lon_step}, CUBE, "sst", {"units": "degC"})


def on_a_plane() -> xr.DataArray:
    """The same on a square grid of one kilometre."""
    axes = {"y": ("y", np.arange(float(ROWS)), {"units": "km"}), "x": ("x", np.arange(float(COLUMNS)), {"units": "km"})}
    return plain().drop_vars(["lat", "lon"]).rename(lat="y", lon="x").assign_coords(axes)


def in_depth() -> xr.DataArray:
    """The same on one line of a kilometre's spacing."""
    return on_a_plane().isel(y=2, drop=True)


def hidden(field: xr.DataArray) -> xr.DataArray:
    """The field with half of its cells hidden."""
    return field.where(xr.DataArray(np.random.default_rng(1).uniform(size=field.shape) > 0.5, dims=field.dims))


def curvilinear(time: str, y: str, x: str, lat: str, lon: str, **others: float) -> Make:
    """Two-dimensional coordinates without attributes; `others` are staggered ones, moved by so many degrees."""

    def make(da: xr.DataArray) -> xr.DataArray:
        two = xr.broadcast(da.lat, da.lon)
        bare = da.drop_vars(["lat", "lon"]).rename(time=time, lat=y, lon=x)
        places = {name: ((y, x), two[i].values) for i, name in enumerate((lat, lon))}
        return bare.assign_coords(
            {name: ((y, x), two["lon" in name.lower()].values + by) for name, by in others.items()} | places
        )

    return make


def as_cf(da: xr.DataArray) -> xr.DataArray:
    renamed = da.rename(time="when", lat="phi", lon="lam").transpose("lam", "when", "phi")
    renamed.phi.attrs, renamed.lam.attrs = {"standard_name": "latitude"}, {"standard_name": "longitude"}
    renamed.when.attrs = {"axis": "T"}
    return renamed


def as_cesm(da: xr.DataArray) -> xr.DataArray:
    made = curvilinear("time", "nlat", "nlon", "TLAT", "TLONG", ULAT=0.5, ULONG=0.5)(with_calendar("noleap")(da))
    units = {"TLAT": "degrees_north", "ULAT": "degrees_north", "TLONG": "degrees_east", "ULONG": "degrees_east"}
    for name, unit in units.items():
        made[name].attrs["units"] = unit
    made.encoding["coordinates"] = "TLONG TLAT"
    return made


def as_wrf(da: xr.DataArray) -> xr.DataArray:
    made = curvilinear("Time", "south_north", "west_east", "XLAT", "XLONG")(da)
    still = {name: made[name].expand_dims(Time=DAYS) for name in ("XLAT", "XLONG")}
    return made.drop_vars(["XLAT", "XLONG", "Time"]).assign_coords({"XTIME": ("Time", da.time.values), **still})


def cells(dim: str, lat: str, lon: str, units: str = "") -> Make:
    """Cells one after another along one dimension."""

    def make(da: xr.DataArray) -> xr.DataArray:
        flat = da.stack({dim: ("lat", "lon")}, create_index=False)
        places = {lat: flat.lat.values, lon: flat.lon.values}
        attrs = {"units": units} if units else {}
        turned = {n: (dim, np.deg2rad(v) if units == "radian" else v, attrs) for n, v in places.items()}
        return flat.drop_vars(["lat", "lon"]).assign_coords(turned)

    return make


def as_healpix(da: xr.DataArray) -> xr.DataArray:
    crs = xr.DataArray(0, attrs={"grid_mapping_name": "healpix", "healpix_nside": 1024, "healpix_order": "nest"})
    return cells("cell", "lat", "lon")(da).assign_coords(crs=crs)


def as_ugrid(da: xr.DataArray) -> xr.DataArray:
    made = cells("nMesh2_face", "Mesh2_face_y", "Mesh2_face_x")(da)
    made.Mesh2_face_y.attrs["standard_name"], made.Mesh2_face_x.attrs["standard_name"] = "latitude", "longitude"
    return made


def as_stations(da: xr.DataArray) -> xr.DataArray:
    made = cells("station", "lat", "lon")(da)
    names = [f"buoy {i}" for i in range(made.sizes["station"])]
    return made.assign_coords(station_name=("station", names), altitude=("station", np.arange(len(names))))


def as_rotated_pole(da: xr.DataArray) -> xr.DataArray:
    made = curvilinear("time", "rlat", "rlon", "lat", "lon")(da)
    pole = {"grid_mapping_name": "rotated_latitude_longitude", "grid_north_pole_latitude": 39.0}
    pole |= {"grid_north_pole_longitude": 190.0}
    axes = {"rlat": ("rlat", np.arange(ROWS) - 2.0, {"units": "degrees", "standard_name": "grid_latitude"})}
    axes |= {"rlon": ("rlon", np.arange(COLUMNS) - 3.0, {"units": "degrees", "standard_name": "grid_longitude"})}
    return made.assign_coords(rotated_pole=xr.DataArray(0, attrs=pole), **axes)


def with_crs(code: int, attribute: str = "spatial_ref") -> xr.DataArray:
    import pyproj

    return xr.DataArray(0, attrs={attribute: pyproj.CRS(code).to_wkt()})


def as_geotiff(da: xr.DataArray) -> xr.DataArray:
    stack = da.rename(lat="y", lon="x").isel(y=slice(None, None, -1)).expand_dims(band=[1])
    return stack.assign_coords(spatial_ref=with_crs(4326))


def as_ease_grid(da: xr.DataArray) -> xr.DataArray:
    metres = {d: 1000.0 * da[d].values for d in ("y", "x")}
    return da.assign_coords(**metres, crs=with_crs(6933, "crs_wkt"))


def as_track(da: xr.DataArray) -> xr.DataArray:
    return da.stack(obs=CUBE, create_index=False)


def as_profile(da: xr.DataArray) -> xr.DataArray:
    return da.rename(x="depth").assign_coords(lat=45.0, lon=3.0)


def with_calendar(calendar: str) -> Make:
    def make(da: xr.DataArray) -> xr.DataArray:
        start = cftime.datetime(2000, 2, 26, calendar=calendar)
        days = [start + pd.Timedelta(days=i).to_pytimedelta() for i in range(DAYS)]
        return da.assign_coords(time=np.array(days, object))

    return make


def packed(da: xr.DataArray) -> xr.DataArray:
    attrs = {"scale_factor": 1e-3, "add_offset": 12.0, "_FillValue": np.int16(-32768)}
    raw = ((da - 12.0) / 1e-3).round().fillna(-32768).astype("i2").assign_attrs(da.attrs | attrs)
    return xr.decode_cf(raw.to_dataset())["sst"]


def on_longitudes(turn: float) -> Make:
    return lambda da: da.assign_coords(lon=(da.lon - 3.0) % 360.0 - turn * ((da.lon - 3.0) % 360.0 > 180.0))


def cyclic(da: xr.DataArray) -> xr.DataArray:
    return xr.concat([da, da.isel(lon=[0]).assign_coords(lon=[360.0])], "lon")


def bare(time: str, y: str, x: str) -> Make:
    return lambda da: da.drop_vars(["y", "x"]).rename(y=y, x=x).rename(time=time)


FILLED: dict[str, tuple[Callable[[], xr.DataArray], Make]] = {
    "CF": (plain, as_cf),
    "ROMS": (plain, curvilinear("ocean_time", "eta_rho", "xi_rho", "lat_rho", "lon_rho")),
    "NEMO/ORCA": (plain, curvilinear("time_counter", "y", "x", "nav_lat", "nav_lon")),
    "MOM": (plain, curvilinear("time", "yh", "xh", "geolat", "geolon")),
    "CESM": (plain, as_cesm),
    "ICON": (plain, cells("ncells", "clat", "clon", "radian")),
    "MPAS": (plain, cells("nCells", "latCell", "lonCell", "radian")),
    "HEALPix": (plain, as_healpix),
    "UGRID": (plain, as_ugrid),
    "EASE-Grid": (on_a_plane, as_ease_grid),
    "rotated pole": (plain, as_rotated_pole),
    "GeoTIFF": (plain, as_geotiff),
    "stations": (plain, as_stations),
    "trajectory": (plain, as_track),
    "noleap": (plain, with_calendar("noleap")),
    "360_day": (plain, with_calendar("360_day")),
    "packed integers": (plain, packed),
    "0 to 360": (plain, on_longitudes(0.0)),
    "-180 to 180": (plain, on_longitudes(360.0)),
    "descending": (plain, lambda da: da.isel(lat=slice(None, None, -1), time=slice(None, None, -1))),
    "cyclic meridian": (lambda: plain(360.0 / 7.0, 10.0), cyclic),
    "images": (on_a_plane, bare("time", "y", "x")),
    "no labels": (on_a_plane, bare("time", "nj", "ni")),
    "day of the year": (plain, lambda da: da.assign_coords(time=da.time.dt.dayofyear).rename(time="dayofyear")),
}
"""The field on plain axes, and the same in the form of each convention."""

REFUSED: dict[str, tuple[Callable[[], xr.DataArray], Make, str]] = {
    "WRF": (plain, as_wrf, "da.swap_dims({'Time': 'XTIME'})"),
    "positions as x": (
        in_depth,
        lambda da: da.rename(x="obs").assign_coords(x=("obs", da.x.values, da.x.attrs)).drop_vars("obs"),
        "da.swap_dims({'obs': 'x'})",
    ),
}
"""The same for conventions that are refused, and the call that the error names."""
