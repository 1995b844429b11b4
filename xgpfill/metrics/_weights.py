"""Weights of the cells of a grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xgpfill.errors import CoordinateError, DataError, listed, shown
from xgpfill.grid.axes import require_numeric
from xgpfill.grid.dims import roles_if_told
from xgpfill.grid.metric import check_latitudes, degrees_per, is_angle
from xgpfill.grid.places import located
from xgpfill.metrics._areas import area_weights

if TYPE_CHECKING:
    from collections.abc import Hashable


def cos_lat_weights(field: xr.DataArray | xr.Dataset) -> xr.DataArray:
    """Cosine of latitude, which weights the cells of a grid of latitudes and longitudes by their area.

    Parameters
    ----------
    field : DataArray or Dataset
        With a latitude, found by CF attributes or its name.

    Returns
    -------
    DataArray
        `weights`, on the dimensions of the latitude. Not normalised: one at the equator, zero at the poles; scores
        divide by their sum.

    Raises
    ------
    CoordinateError
        When there is no latitude, or it is not one.

    Examples
    --------
    >>> import xarray as xr
    >>> cos_lat_weights(xr.DataArray([1.0, 2.0], coords={"lat": [0.0, 60.0]}, dims="lat")).values.round(12)
    array([1. , 0.5])
    """
    name = _latitude(field)
    latitude = field.coords[name]
    require_numeric(latitude.values, name, latitude.dims)
    values = degrees_per(str(latitude.attrs.get("units", ""))) * latitude.values.astype(float)
    check_latitudes(values)
    out = latitude.copy(data=np.cos(np.radians(np.clip(values, -90.0, 90.0)))).rename("weights")
    out.attrs, out.encoding = {"long_name": "cosine of latitude", "units": "1"}, {}
    return out


def _latitude(field: xr.DataArray | xr.Dataset) -> Hashable:
    name: Hashable | None = located(field, "y")  # type: ignore[arg-type]
    if name is None and isinstance(field, xr.DataArray):
        roles = roles_if_told(field)
        name = roles.y if roles is not None and roles.degrees else None
    units = "" if name is None else str(field.coords[name].attrs.get("units", ""))
    if name is None or (units and not is_angle(units)):
        raise CoordinateError(
            f"No latitude among the coordinates {listed(field.coords)}. Name it by CF attributes, e.g. "
            f"`da['y'].attrs['units'] = 'degrees_north'`, or give weights of your own."
        )
    return name


_NAMED = {"area": area_weights, "cos_lat": cos_lat_weights}


def named_weights(name: str, field: xr.DataArray) -> xr.DataArray:
    """Weights of the cells of a field by a word: "area" or "cos_lat".

    Raises
    ------
    DataError
        When there is no such word.
    CoordinateError
        When the field has no such weights.
    """
    if name not in _NAMED:
        raise DataError(f"weights={shown(name)}: choose 'area' or 'cos_lat', or give a DataArray of weights.")
    return _NAMED[name](field)
