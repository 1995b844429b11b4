"""Which variable of a Dataset is meant: the one that is named, or the only one it can be."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import xarray as xr

from xgpfill.errors import VariableError, listed, shown


def has_variable(ds: xr.Dataset, name: Any) -> bool:
    """Whether there is a variable of this name, which may be anything."""
    return _hashes(name) and name in ds.data_vars


def _hashes(name: Any) -> bool:
    """Whether it can be looked up: a tuple of lists cannot."""
    try:
        hash(name)
    except TypeError:
        return False
    return True


def named_variable(ds: xr.Dataset, name: Hashable) -> xr.DataArray:
    """The variable of this name.

    Raises
    ------
    VariableError
        When there is none, or it is no Dataset.
    """
    if not isinstance(ds, xr.Dataset):
        raise VariableError(f"Expected a Dataset that holds {name!r}, got a {type(ds).__name__}. Give e.g. `ds`.")
    if not has_variable(ds, name):
        raise VariableError(
            f"There is no variable {shown(name)} in the Dataset, which has {listed(ds.data_vars)}. Name one of these, "
            f"or a list of them."
        )
    return ds[name]


def only_variable(ds: xr.Dataset, dims: Any) -> xr.DataArray:
    """The one variable that can be meant.

    Raises
    ------
    VariableError
        When there is none, or there are several.
    """
    if dims is None:
        names: list[Any] = []
    elif isinstance(dims, Mapping):
        names = list(dims.values())
    else:
        names = [dims] if isinstance(dims, str) or not isinstance(dims, Iterable) else list(dims)
    wanted: set[Hashable] = {name if _hashes(name) else repr(name) for name in names}
    most = max((da.ndim for da in ds.data_vars.values() if da.dtype.kind in "iuf"), default=0)
    found = [
        name
        for name, da in ds.data_vars.items()
        if da.dtype.kind in "iuf" and (wanted <= set(da.dims) if wanted else da.ndim == most and most > 0)
    ]
    if len(found) == 1:
        return ds[found[0]]
    if not found:
        raise VariableError(
            f"No numeric variable of the Dataset has the dimensions {listed(sorted(map(str, wanted)))}; its variables "
            f"are {listed(ds.data_vars)} on {listed(ds.dims)}. Name dimensions that are there: `fit(dims=...)`."
        )
    raise VariableError(
        f"The Dataset has several variables on these dimensions: {listed(found)}. Name one, e.g. "
        f"`variable={found[0]!r}`; `fit` takes a list as well and fits each on its own: `fit(variable={found!r})`."
    )
