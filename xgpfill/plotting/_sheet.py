"""From one frame of a field to the cells of a sheet, ready to be drawn. Nothing is drawn here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from xgpfill.errors import AlignmentError, DimensionError
from xgpfill.grid.dims import Roles, roles_if_told
from xgpfill.grid.metric import kilometres_per
from xgpfill.words import bracketed, units_of

if TYPE_CHECKING:
    from collections.abc import Hashable

    import xarray as xr

Array: TypeAlias = npt.NDArray[Any]

MANY_METRES = 5000.0


@dataclass(frozen=True)
class Sheet:
    """A frame ready to be drawn.

    Attributes
    ----------
    values : (ny, nx) float
        NaN where nothing is to be seen.
    x, y : (nx+1,) and (ny+1,), or both (ny+1, nx+1)
        Edges of the cells: degrees, numbers or dates.
    outside : (ny, nx) bool or None
        True where the field does not exist.
    central : float or None
        The longitude from which `x` counts; None when `x` and `y` are not degrees.
    labels : (str, str)
        Names of x and y.
    equal : bool
        Whether x and y share a unit and are drawn at one scale.
    top_down : bool
        Whether row 0 is drawn on top, as in an image.
    """

    values: Array
    x: Array
    y: Array
    outside: Array | None
    central: float | None = None
    labels: tuple[str, str] = ("", "")
    equal: bool = True
    top_down: bool = False

    @property
    def aspect(self) -> float:
        """Height over width."""
        return float(np.ptp(self.y) / np.ptp(self.x)) if self.equal else 0.75


def to_sheet(field: xr.DataArray, valid: xr.DataArray | None) -> Sheet:
    """Lay out a two-dimensional field; cells where `valid` is False are emptied.

    Raises
    ------
    DimensionError
        When `field` is not two-dimensional.
    AlignmentError
        When `valid` lies on other cells.
    """
    check_flat(field)
    roles = _roles(field)
    field = field if roles is None else field.transpose(*roles.space)
    values = np.asarray(field.values, dtype=float)
    outside = None
    if valid is not None:
        outside = ~on_cells_of(field, valid, "`valid`").values.astype(bool)
        values = np.where(outside, np.nan, values)
    if roles is not None and roles.degrees and roles.y in field.coords and roles.x in field.coords:
        latitude, longitude = field.coords[roles.y], field.coords[roles.x]
        apart = latitude.ndim == longitude.ndim == 1 or (np.ptp(latitude.values) > 0 and np.ptp(longitude.values) > 0)
        if apart and np.isfinite(latitude).all() and np.isfinite(longitude).all():
            return _geographic(field, latitude, longitude, values, outside)
    return _plain(field, values, outside)


def check_flat(field: xr.DataArray) -> None:
    """Refuse anything but two dimensions."""
    if field.ndim < 2:
        raise DimensionError(
            f"A map needs two dimensions; this field has {field.ndim}: {tuple(field.dims)}. Draw it over time, e.g. "
            f"`reconstruction.plot.series()`."
        )
    if field.ndim > 2:
        extra = "time" if "time" in field.dims else next(iter(field.dims), "time")
        raise DimensionError(
            f"A map needs two dimensions; this field has {field.ndim}: {tuple(field.dims)}. "
            f"Choose one frame, e.g. `field.isel({extra}=0)`."
        )


def on_cells_of(field: xr.DataArray, other: xr.DataArray, name: str) -> xr.DataArray:
    """`other` on the cells of `field`, in the same order: matched by coordinates where both have them."""
    if dict(other.sizes) != dict(field.sizes):
        raise AlignmentError(
            f"{name} has dimensions {dict(other.sizes)}, but the field {dict(field.sizes)}. "
            f"Give one frame of the same cells, e.g. `.isel(time=0)` or `.sel(lat=field.lat, lon=field.lon)`."
        )
    for dim in field.dims:
        if dim not in field.indexes or dim not in other.indexes:
            continue
        wanted, found = field.indexes[dim], other.indexes[dim]
        if not wanted.sort_values().equals(found.sort_values()):
            raise AlignmentError(
                f"{name} has other values of {dim!r} ({found[0]} to {found[-1]}) than the field "
                f"({wanted[0]} to {wanted[-1]}). Put it on the same cells, e.g. "
                f"`.reindex_like(field, method='nearest')`."
            )
        if not wanted.equals(found):
            other = other.sel({dim: wanted})
    return other.transpose(*field.dims)


def load_together(*fields: xr.DataArray) -> list[xr.DataArray]:
    """Bring fields into memory at once (mean and variance of a tile come from one task); those given stay lazy."""
    from xarray import Dataset

    own = {str(i): ([f"{dim} {i}" for dim in field.dims], field.data) for i, field in enumerate(fields)}
    loaded = Dataset(own).load()
    return [field.copy(data=loaded[name].values) for name, field in zip(own, fields, strict=True)]


def centres(edges: Array) -> Array:
    """Halve the way between edges, along every axis."""
    for axis in range(edges.ndim):
        edges = np.moveaxis(edges, axis, 0)
        edges = np.moveaxis(edges[:-1] + (edges[1:] - edges[:-1]) / 2, 0, axis)
    return edges


def ticks(values: Array) -> Array:
    """Choose at most seven round degrees within the values."""
    low, high = float(values.min()), float(values.max())
    decimals = [10.0**power * one for power in range(-4, 1) for one in (1, 2, 5)]
    steps = [*decimals, 10.0, 15.0, 30.0, 60.0, 90.0]
    step = next((step for step in steps if (high - low) / step <= 6.0), 90.0)
    return np.arange(np.ceil(low / step - 1e-6), np.floor(high / step + 1e-6) + 1) * step


def limits(*fields: Array) -> tuple[float, float]:
    """Find the lowest and highest finite value; 0 and 1 when there is none."""
    finite = np.concatenate([values[np.isfinite(values)] for values in fields])
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def _roles(field: xr.DataArray) -> Roles | None:
    """Find the roles of the dimensions when both are of space, by their names or what lies along them."""
    for dims in (None, field.dims):
        roles = roles_if_told(field, dims)
        if roles is not None and len(roles.space) == 2:
            return roles
    return None


def _geographic(
    field: xr.DataArray,
    latitude: xr.DataArray,
    longitude: xr.DataArray,
    values: Array,
    outside: Array | None,
) -> Sheet:
    """Longitudes, made continuous and sorted, count from the middle of the data: no seam can lie inside."""
    if latitude.ndim == longitude.ndim == 1:
        lon = np.unwrap(longitude.values.astype(float), period=360.0)
        order = np.argsort(lon, kind="stable")
        lat = latitude.values.astype(float)
        x, y = _edges(lon[order], single=_step(lat)), _edges(lat, single=_step(lon[order]))
        values, outside = values[:, order], None if outside is None else outside[:, order]
    else:
        lon, lat = (c.transpose(*field.dims).values.astype(float) for c in (longitude, latitude))
        lon = np.unwrap(np.unwrap(lon, period=360.0, axis=1), period=360.0, axis=0)
        x, y = (_edges(_edges(c, axis=0), axis=1) for c in (lon, lat))
    middle = float(x.min() + x.max()) / 2
    x, y = np.clip(x - middle, -180.0, 180.0), np.clip(y, -90.0, 90.0)
    central = (middle + 180.0) % 360.0 - 180.0
    return Sheet(values, x, y, outside, central=central, equal=_alike(y, x, 10.0))


def _alike(y: Array, x: Array, most: float) -> bool:
    """Whether two axes have extents of one order; cells that all lie at one place have none."""
    high, wide = float(np.ptp(y)), float(np.ptp(x))
    return 0.0 < high <= most * wide and wide <= most * high


def _plain(field: xr.DataArray, values: Array, outside: Array | None) -> Sheet:
    """Whatever has no latitudes and longitudes: projected metres, images, time against latitude."""
    (y, y_units), (x, x_units) = (_in_readable_units(_edges(_positions(field, d)), field, d) for d in field.dims)
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


def _in_readable_units(edges: Array, field: xr.DataArray, dim: Hashable) -> tuple[Array, str]:
    """Positions along a dimension and their units; many metres become kilometres."""
    units = units_of(field.coords[dim]) if dim in field.coords else ""
    if edges.dtype.kind == "f" and kilometres_per(units) == 1e-3 and np.ptp(edges) >= MANY_METRES:
        return edges * 1e-3, "km"
    return edges, units


def _step(centre: Array) -> float:
    """Measure the first step; 1 when there is none."""
    return float(abs(centre[1] - centre[0])) if centre.size > 1 else 1.0


def _edges(centre: Array, axis: int = 0, single: float = 1.0) -> Array:
    """Edges halfway between centres, one more along `axis`; a lone cell is `single`, or a day, wide."""
    centre = np.moveaxis(centre, axis, 0)
    if centre.shape[0] == 1:
        half = np.timedelta64(12, "h") if centre.dtype.kind == "M" else single / 2
        return np.moveaxis(np.concatenate([centre - half, centre + half]), 0, axis)
    halves = (centre[1:] - centre[:-1]) / 2
    edges = np.concatenate([centre[:1] - halves[:1], centre[:-1] + halves, centre[-1:] + halves[-1:]])
    return np.moveaxis(edges, 0, axis)
