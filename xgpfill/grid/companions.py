"""What comes with the data on their grid: where the field exists, standard errors. No estimation lives here."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.errors import AlignmentError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xgpfill.grid.lattice import Lattice


def within_valid(lattice: Lattice) -> Lattice:
    """Values outside `valid` are gaps."""
    if lattice.valid is None:
        return lattice
    values, valid = lattice.values, lattice.valid
    if lattice.is_lazy:
        import dask.array as da

        return replace(lattice, values=da.where(valid, values, np.nan).rechunk(values.chunks))
    return replace(lattice, values=np.where(valid, values, np.nan))


def in_memory_as(da: xr.DataArray, field: Any) -> Any:
    """A lazy `valid` or `noise` of data in memory, loaded: numpy in, numpy out."""
    if isinstance(field, xr.DataArray) and field.chunks is not None and da.chunks is None:
        return field.compute()
    return field


def as_mask(valid: Any) -> Any:
    """Where the field exists as True and False, also when it was given as 1 and 0, or as 1 and NaN.

    Anything but a DataArray stays as it is; lazy ones stay lazy, and are checked when they are computed.

    Raises
    ------
    AlignmentError
        When it holds anything else.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> as_mask(xr.DataArray([1.0, np.nan, 0.0])).values
    array([ True, False, False])
    """
    if not isinstance(valid, xr.DataArray) or valid.dtype == bool:
        return valid
    if valid.dtype.kind not in "iufO":
        raise AlignmentError(
            f"`valid` has dtype {valid.dtype}; expected True where the field exists and False elsewhere, 1 and 0, or "
            f"1 and NaN, e.g. `valid=mask == 1`."
        )
    return xr.apply_ufunc(_true_or_false, valid, dask="parallelized", output_dtypes=[bool], keep_attrs=False)


def _true_or_false(values: NDArray[Any]) -> NDArray[np.bool_]:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.full(np.shape(values), np.inf)
    other = ~(np.isnan(numbers) | (numbers == 0) | (numbers == 1))
    if other.any():
        raise AlignmentError(
            f"`valid` holds {np.asarray(values)[other][0]!s}; expected True where the field exists, False elsewhere, "
            f"1 and 0, or 1 and NaN. Say which values mean that it exists, e.g. `valid=mask == 1`."
        )
    return np.asarray(numbers == 1)


def median_error(da: xr.DataArray, errors: xr.DataArray | None, otherwise: float | None) -> float | None:
    """Median of standard errors in memory; lazy ones are not read for that."""
    return (
        otherwise
        if errors is None or errors.chunks is not None or da.chunks is not None
        else float(errors.where(da.notnull()).median())
    )


def same_grid(valid: xr.DataArray, da: xr.DataArray) -> bool:
    """Whether every dimension of `valid` is one of the data, with the same labels."""
    try:
        xr.align(valid, da, join="exact", copy=False)
    except ValueError:
        return False
    return set(valid.dims) <= set(da.dims)
