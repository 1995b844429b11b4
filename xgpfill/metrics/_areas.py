"""Areas of the cells of a grid, from edges halfway between their centres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.errors import CoordinateError, listed
from xgpfill.grid.axes import require_numeric
from xgpfill.grid.dims import Roles, roles_if_told
from xgpfill.grid.edges import edges
from xgpfill.grid.metric import EARTH_RADIUS_KM, Metric, check_latitudes, degrees_per
from xgpfill.grid.places import still
from xgpfill.words import squared, units_of

if TYPE_CHECKING:
    from collections.abc import Hashable

    from xgpfill.grid.lattice import FloatArray


def area_weights(field: xr.DataArray) -> xr.DataArray:
    """Areas of the cells of a grid, whose edges lie halfway between their centres.

    Parameters
    ----------
    field : DataArray
        With latitudes and longitudes, along dimensions of their own or curvilinear, or with projected x and y. An axis
        without coordinates counts in cells; on a lone one a cell is one degree, or unit, wide.

    Returns
    -------
    DataArray
        `weights`, on the dimensions of space: km² on the sphere, elsewhere the squared unit of the coordinates. Cells
        end at the poles, and a meridian that is repeated at 360 degrees is shared between its two cells.

    Raises
    ------
    CoordinateError
        When there is no grid: for stations, say, or cells in a list.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> globe = {"lat": np.arange(-60.0, 61.0, 60.0), "lon": np.arange(0.0, 360.0, 90.0)}
    >>> areas = area_weights(xr.DataArray(np.zeros((3, 4)), globe, ("lat", "lon")))
    >>> bool(np.isclose(areas.sum(), 4 * np.pi * 6371.0088**2))
    True
    """
    roles = _roles(field)
    y, x = (_coordinate(field, *place) for place in ((roles.y, roles.y_dim), (roles.x, roles.x_dim)))
    if max(y.ndim, x.ndim) > 1:
        out = _quadrilaterals(*xr.broadcast(y, x), degrees=roles.degrees)
    elif roles.degrees:
        out = _zones(y) * _sectors(x, whole=roles.x is None)
    else:
        out = _along(y, _widths) * _along(x, _widths)
    out.name, units = "weights", "km2" if roles.degrees else squared(units_of(x) or units_of(y) or "1")
    out.attrs = {"long_name": "area of the cell", "units": units}
    return out


def _roles(field: xr.DataArray) -> Roles:
    roles = roles_if_told(field)
    own = [] if roles is None else [field.coords[c] for c in (roles.y, roles.x) if c is not None]
    listed_sites = len(own) == 2 and own[0].ndim == own[1].ndim == 1 and own[0].dims == own[1].dims
    if roles is None or not roles.space or listed_sites:
        found = "places in a list, which have no edges" if listed_sites else "no dimension of space"
        raise CoordinateError(
            f"Areas of cells are those of a grid; along the dimensions {listed(field.dims)} there is {found}. Give the "
            f"areas as weights, e.g. `weights=ds['cell_area']`."
        )
    return roles


def _coordinate(field: xr.DataArray, name: Hashable | None, dim: Hashable | None) -> xr.DataArray:
    """Centres of the cells along one axis: a number where it is absent, cells counted where it has no coordinate."""
    if name is None:
        return xr.DataArray(0.0) if dim is None else xr.DataArray(np.arange(float(field.sizes[dim])), dims=(dim,))
    found = still(field, name)
    require_numeric(found.values, name, found.dims)
    bare = found.reset_coords(drop=True)
    return bare.copy(data=degrees_per(units_of(found)) * found.values.astype(float))


def _along(centres: xr.DataArray, measure: Any) -> xr.DataArray:
    """What is measured of the cells along one axis."""
    return centres.copy(data=measure(np.atleast_1d(centres.values)).reshape(centres.shape))


def _widths(centres: FloatArray) -> FloatArray:
    return np.abs(np.diff(edges(centres)))


def _zones(latitude: xr.DataArray) -> xr.DataArray:
    """R² (sin φ₂ − sin φ₁) of every row of cells, in km² per radian of longitude."""
    check_latitudes(latitude.values)

    def between(centres: FloatArray) -> FloatArray:
        heights = np.diff(np.sin(np.deg2rad(np.clip(edges(centres), -90.0, 90.0))))
        return np.asarray(EARTH_RADIUS_KM**2 * np.abs(heights))

    return _along(latitude, between)


def _sectors(longitude: xr.DataArray, *, whole: bool) -> xr.DataArray:
    """Radians of longitude of every column of cells; all around where there are no longitudes."""

    def widths(centres: FloatArray) -> FloatArray:
        found = _widths(np.unwrap(centres, period=360.0))
        excess = found.sum() - 360.0
        if excess > 0 and found.size > 1:  # the repeated meridian
            found[[0, -1]] -= excess / 2
        return np.deg2rad(found)

    return xr.full_like(longitude, 2 * np.pi) if whole and not longitude.ndim else _along(longitude, widths)


def _quadrilaterals(y: xr.DataArray, x: xr.DataArray, *, degrees: bool) -> xr.DataArray:
    """½ |d₁ × d₂| of the diagonals d of cells whose corners lie halfway between centres."""
    if min(y.shape) < 2:
        raise CoordinateError(
            f"Cells of a grid with two-dimensional coordinates need neighbours on both axes to have edges; their shape "
            f"is {y.shape}. Give the areas as weights, e.g. `weights=ds['cell_area']`."
        )
    centres = Metric("sphere" if degrees else "plane", degrees).embed(y.values, x.values)
    corners = edges(edges(centres).swapaxes(0, 1)).swapaxes(0, 1)
    if degrees:
        corners *= EARTH_RADIUS_KM / np.linalg.norm(corners, axis=-1, keepdims=True)
    else:
        corners = np.concatenate([corners, np.zeros_like(corners[..., :1])], axis=-1)
    first, second = corners[1:, 1:] - corners[:-1, :-1], corners[1:, :-1] - corners[:-1, 1:]
    return y.copy(data=0.5 * np.linalg.norm(np.cross(first, second), axis=-1))
