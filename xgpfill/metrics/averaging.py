"""Functions of every cell and their weighted means, with names, NaN, weights and attributes as in xskillscore.

What is averaged is decided in `xgpfill.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from xgpfill.errors import AlignmentError, DataError, DimensionError, listed, shown

Dim = str | Collection[Hashable] | None
Floats = np.ndarray[Any, np.dtype[np.float64]]
XArray = TypeVar("XArray", xr.DataArray, xr.Dataset)


def per_cell(function: Callable[..., Floats], *inputs: Any) -> Any:
    """A float64 function of each cell, lazily on lazy data; quiet where it is not defined."""
    arrays = [x if isinstance(x, (xr.DataArray, xr.Dataset)) else _as_array(x) for x in inputs]
    for array in arrays:
        _require_real(array)
    try:
        arrays = list(xr.align(*arrays, join="exact", copy=False))
    except ValueError as error:
        raise AlignmentError(
            f"The inputs do not lie on the same cells: {str(error).splitlines()[0]}. Bring one to the other first, "
            f"e.g. `b.reindex_like(a)`."
        ) from None

    def quiet(*parts: Any) -> Floats:
        with np.errstate(all="ignore"):
            return function(*(np.asarray(part, np.float64) for part in parts))

    return xr.apply_ufunc(quiet, *arrays, dask="parallelized", output_dtypes=[np.float64], keep_attrs=False)


def _require_real(array: xr.DataArray | xr.Dataset) -> None:
    for part in array.data_vars.values() if isinstance(array, xr.Dataset) else (array,):
        if part.dtype.kind not in "iufb":
            raise DataError(
                f"Got dtype {part.dtype} where real numbers are expected. Convert, e.g. `da.astype(float)`."
            )


def _as_array(value: Any) -> xr.DataArray:
    array = np.asarray(value)
    if array.ndim or array.dtype.kind not in "iufb":
        raise DataError(f"Got {type(value).__name__} where a DataArray, a Dataset or a number is expected.")
    return xr.DataArray(array)


def weighted_mean(
    values: Any, dim: Dim, weights: Any, skipna: bool, keep_attrs: bool, first: XArray, *, pure: bool = False
) -> XArray:
    """Mean over `dim`; `pure`: of numbers that do not have the units of `first`."""
    names = checked_dims(values, dim)
    with xr.set_options(keep_attrs=False), np.errstate(all="ignore"):  # infinite cells have no mean, and no warning
        if weights is None:
            found = values.mean(names, skipna=skipna)
        else:
            weights = checked_weights(values, weights)
            found = values.where(weights.notnull()).weighted(weights.fillna(0.0)).mean(names, skipna=skipna)
    return with_attrs(found, first, keep_attrs, pure=pure)


def rooted(found: XArray) -> XArray:
    """The square root of a mean of squares, with its attributes."""
    root: XArray = xr.apply_ufunc(np.sqrt, found, dask="parallelized", output_dtypes=[np.float64], keep_attrs=True)
    return root


def checked_dims(values: Any, dim: Any) -> list[Hashable]:
    """The dimensions to average over, each once and in the data."""
    one = isinstance(dim, str) or not isinstance(dim, Iterable)
    names: list[Hashable] = list(values.dims if dim is None else [dim] if one else dim)
    for name in names:
        if name not in values.dims:
            raise DimensionError(
                f"dim={shown(dim)}: the data have no dimension {shown(name)}, only {listed(values.dims)}. Name some of "
                f"these, or leave `dim=` out to average over all."
            )
    return list(dict.fromkeys(names))


def checked_weights(values: Any, weights: Any) -> xr.DataArray:
    """Weights as float64 on cells of the data, none below zero."""
    if not isinstance(weights, xr.DataArray):
        raise DataError(f"`weights` is a {type(weights).__name__}; expected a DataArray, e.g. `cos_lat_weights(da)`.")
    if weights.dtype.kind not in "iufb":
        raise DataError(f"`weights` has dtype {weights.dtype}; expected real numbers, e.g. `weights.astype(float)`.")
    foreign = [d for d in weights.dims if d not in values.dims]
    if foreign:
        raise AlignmentError(f"`weights` has dimension(s) {listed(foreign)} that the data lack: {listed(values.dims)}.")
    require_on_cells(weights, values)
    return per_cell(_not_negative, weights.reset_coords(drop=True))  # type: ignore[no-any-return]


def require_on_cells(weights: xr.DataArray, values: Any) -> None:
    """Refuse weights whose coordinates are not those of the data.

    Raises
    ------
    AlignmentError
    """
    try:
        xr.align(weights, values, join="exact", copy=False)
    except ValueError as error:
        raise AlignmentError(
            f"`weights` does not lie on the cells of the data: {str(error).splitlines()[0]}. Bring it there first, "
            f"e.g. `weights.reindex_like(da)`."
        ) from None


def _not_negative(weights: Floats) -> Floats:
    if np.isinf(weights).any():
        raise DataError("`weights` holds infinite values; expected finite ones, e.g. `weights.clip(max=1e6)`.")
    if (weights < 0).any():
        raise DataError(f"`weights` holds {float(np.nanmin(weights))!r}; expected numbers of at least zero.")
    return weights


def with_attrs(found: Any, first: XArray, keep_attrs: bool, *, pure: bool) -> XArray:
    """Attributes of the first input, if they are to be kept and still hold."""
    lost = ("units", "standard_name") if pure else ()
    if keep_attrs:
        if isinstance(found, xr.Dataset):
            parts = {name: with_attrs(part, first[name], keep_attrs=True, pure=pure) for name, part in found.items()}
            found = found.assign(parts)
        found = found.assign_attrs({key: value for key, value in first.attrs.items() if key not in lost})
    kept: XArray = found
    return kept
