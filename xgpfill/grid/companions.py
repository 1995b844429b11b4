"""What comes with the data on their grid: where the field exists, standard errors. No estimation lives here."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

if TYPE_CHECKING:
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
