"""Where the cells of a field lie: on meridians and parallels, on a curvilinear grid, at places, on plain axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xgpfill.cf.edges import edges
from xgpfill.cf.places import located
from xgpfill.errors import DimensionError
from xgpfill.grid.metric import degrees_per, kilometres_per
from xgpfill.layout.dims import Roles, roles_if_told
from xgpfill.plotting.cells.sheet import Sheet, on_cells_of
from xgpfill.words import bracketed, units_of

if TYPE_CHECKING:
    from collections.abc import Hashable

    import xarray as xr

    from xgpfill.plotting.cells.edges import Array

MANY_METRES = 5000.0
WHOLE_CIRCLE = 30.0
"""Longitudes without a larger gap (degrees) go round the globe."""


class Sites(NamedTuple):
    """A list of places: its dimension, and the coordinates along it that place it."""

    dim: Hashable
    y: Hashable
    x: Hashable
    degrees: bool


def sites_of(field: xr.DataArray) -> Sites | None:
    """The list of places that a field lies on: latitude and longitude, or x and y, along one dimension."""
    roles = roles_if_told(field)
    y, x = (located(field, "y"), located(field, "x")) if roles is None or roles.y is None else (roles.y, roles.x)
    if y is None or x is None or y == x:
        return None
    dims = field.coords[y].dims
    if len(dims) != 1 or field.coords[x].dims != dims or any(field.coords[c].dtype.kind not in "iuf" for c in (y, x)):
        return None
    return Sites(dims[0], y, x, roles is None or roles.y is None or roles.degrees)


def check_flat(field: xr.DataArray) -> None:
    """Refuse anything but two dimensions, or the one of a list of places."""
    sites = sites_of(field)
    if sites is not None and field.ndim == 1:
        return
    if field.ndim < 2:
        raise DimensionError(
            f"A map needs two dimensions; this field has {field.ndim}: {tuple(field.dims)}. Draw it over time, e.g. "
            f"`reconstruction.plot.series()`."
        )
    if field.ndim == 2 and sites is None:
        return
    needs = "two dimensions" if sites is None else f"only the dimension {sites.dim!r} of its places"
    others = [d for d in field.dims if sites is None or d != sites.dim]
    extra = "time" if "time" in field.dims else others[0]
    raise DimensionError(
        f"A map needs {needs}; this field has {field.ndim}: {tuple(field.dims)}. "
        f"Choose one frame, e.g. `field.isel({extra}=0)`."
    )


def to_sheet(field: xr.DataArray, valid: xr.DataArray | None) -> Sheet:
    """Lay out one frame; cells where `valid` is False are emptied.

    Raises
    ------
    DimensionError
        When `field` has too many dimensions for a map, or too few.
    AlignmentError
        When `valid` lies on other cells.
    """
    check_flat(field)
    sites = sites_of(field)
    roles = _roles(field) if sites is None else None
    field = field if roles is None else field.transpose(*roles.space)
    values = np.asarray(field.values, dtype=float)
    outside = None
    if valid is not None:
        outside = ~on_cells_of(field, valid, "`valid`").values.astype(bool)
        values = np.where(outside, np.nan, values)
    if sites is not None:
        return _places(field, sites, values, outside)
    if roles is not None and roles.degrees and roles.y in field.coords and roles.x in field.coords:
        latitude, longitude = field.coords[roles.y], field.coords[roles.x]
        apart = latitude.ndim == longitude.ndim == 1 or (np.ptp(latitude.values) > 0 and np.ptp(longitude.values) > 0)
        if apart and np.isfinite(latitude).all() and np.isfinite(longitude).all():
            return _geographic(field, latitude, longitude, values, outside)
    return _plain(field, values, outside)


def _roles(field: xr.DataArray) -> Roles | None:
    """Find the roles of the dimensions when both are of space, by their names or what lies along them."""
    for dims in (None, field.dims):
        roles = roles_if_told(field, dims)
        if roles is not None and len(roles.space) == 2:
            return roles
    return None


def _geographic(
    field: xr.DataArray, latitude: xr.DataArray, longitude: xr.DataArray, values: Array, outside: Array | None
) -> Sheet:
    """Longitudes, made continuous and sorted, count from the middle of the data: no seam can lie inside."""
    lat, lon = (in_degrees(coordinate) for coordinate in (latitude, longitude))
    if latitude.ndim == longitude.ndim == 1:
        lon = np.unwrap(lon, period=360.0)
        order = np.argsort(lon, kind="stable")
        x, y = edges(lon[order], single=_step(lat)), edges(lat, single=_step(lon[order]))
        values, outside = values[:, order], None if outside is None else outside[:, order]
        middle = float(x.min() + x.max()) / 2
        x = np.clip(x - middle, -180.0, 180.0)
    else:
        lat = lat.transpose([latitude.dims.index(d) for d in field.dims])
        lon = lon.transpose([longitude.dims.index(d) for d in field.dims])
        middle = middle_of(lon)
        x, y = _corners(lat, (lon - middle + 180.0) % 360.0 - 180.0)
    y, central = np.clip(y, -90.0, 90.0), (middle + 180.0) % 360.0 - 180.0
    return Sheet(values, x, y, outside, central=central, equal=_alike(y, x, 10.0))


def _places(field: xr.DataArray, sites: Sites, values: Array, outside: Array | None) -> Sheet:
    """A list of places, each at its latitude and longitude, or at its x and y; those without a place are left out."""
    y, x = field.coords[sites.y], field.coords[sites.x]
    placed = np.isfinite(y.values.astype(float)) & np.isfinite(x.values.astype(float))
    values, outside = values[placed], None if outside is None else outside[placed]
    if sites.degrees:
        lat, lon = in_degrees(y)[placed], in_degrees(x)[placed]
        middle = middle_of(lon)
        east = (lon - middle + 180.0) % 360.0 - 180.0
        central = (middle + 180.0) % 360.0 - 180.0
        return Sheet(values, east, lat, outside, central=central, equal=_alike(lat, east, 10.0), places=True)
    (north, y_units), (east, x_units) = (_readable(c.values.astype(float)[placed], units_of(c)) for c in (y, x))
    labels = (bracketed(str(sites.x), x_units), bracketed(str(sites.y), y_units))
    equal = x_units == y_units and _alike(north, east, 5.0)
    return Sheet(values, east, north, outside, labels=labels, equal=equal, places=True)


def in_degrees(coordinate: xr.DataArray) -> Array:
    """A latitude or longitude in degrees, whatever its units."""
    return coordinate.values.astype(float) * degrees_per(units_of(coordinate))


def middle_of(longitude: Array) -> float:
    """The middle of the shortest arc that holds all longitudes; Greenwich when they go round."""
    around = np.unique(np.ravel(longitude) % 360.0)
    gaps = np.diff(around, append=around[:1] + 360.0)
    last = int(np.argmax(gaps))
    if gaps[last] < WHOLE_CIRCLE:
        return 0.0
    return float(around[(last + 1) % around.size] + (360.0 - gaps[last]) / 2)


def _corners(lat: Array, lon: Array) -> tuple[Array, Array]:
    """Corners of the cells of a curvilinear grid: halfway between centres in space, so poles and seams do no harm."""
    if min(lat.shape) == 1:
        lon = np.unwrap(np.unwrap(lon, period=360.0, axis=1), period=360.0, axis=0)
        x, y = (edges(edges(c, axis=0), axis=1) for c in (lon, lat))
        return np.clip(x, -180.0, 180.0), y
    phi, lam = np.radians(lat), np.radians(lon)
    centre = np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)
    a, b, c = np.moveaxis(edges(edges(centre, axis=0), axis=1), -1, 0)
    return np.degrees(np.arctan2(b, a)), np.degrees(np.arctan2(c, np.hypot(a, b)))


def _alike(y: Array, x: Array, most: float) -> bool:
    """Whether two axes have extents of one order; cells that all lie at one place have none."""
    if not y.size:
        return False
    high, wide = float(np.ptp(y)), float(np.ptp(x))
    return 0.0 < high <= most * wide and wide <= most * high


def _plain(field: xr.DataArray, values: Array, outside: Array | None) -> Sheet:
    """Whatever has no latitudes and longitudes: projected metres, images, time against latitude."""
    (y, y_units), (x, x_units) = (_readable(edges(_positions(field, d)), _units(field, d)) for d in field.dims)
    comparable = x.dtype.kind == y.dtype.kind == "f" and y_units == x_units
    return Sheet(
        values,
        x,
        y,
        outside,
        labels=(bracketed(str(field.dims[1]), x_units), bracketed(str(field.dims[0]), y_units)),
        equal=comparable and _alike(y, x, 5.0),
        top_down=not any(dim in field.coords for dim in field.dims),
    )


def _positions(field: xr.DataArray, dim: Hashable) -> Array:
    """Centres along a dimension: numbers, dates, or the index where there is nothing matplotlib can place."""
    if dim in field.coords and field.coords[dim].dtype.kind in "iufM":
        values: Array = field.coords[dim].values
        return values if values.dtype.kind == "M" else values.astype(float)
    return np.arange(field.sizes[dim], dtype=float)


def _units(field: xr.DataArray, dim: Hashable) -> str:
    return units_of(field.coords[dim]) if dim in field.coords else ""


def _readable(positions: Array, units: str) -> tuple[Array, str]:
    """Positions along an axis and their units; many metres become kilometres."""
    metres = positions.dtype.kind == "f" and positions.size > 0 and kilometres_per(units) == 1e-3
    return (positions * 1e-3, "km") if metres and np.ptp(positions) >= MANY_METRES else (positions, units)


def _step(centre: Array) -> float:
    """Measure the first step; 1 when there is none."""
    return float(abs(centre[1] - centre[0])) if centre.size > 1 else 1.0
