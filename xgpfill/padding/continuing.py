"""Fields continued past their edges: by linear prediction, or by the Gaussian process that is fitted to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import xarray as xr

from xgpfill.cf.conventions import BOUNDS, PLACING, mentioned, with_companions
from xgpfill.cf.fills import declared_fills
from xgpfill.cf.variables import has_variable, named_variable
from xgpfill.errors import CoordinateError, DimensionError, MethodError, VariableError, listed, shown
from xgpfill.layout.dims import roles_if_told
from xgpfill.padding import checked_method, linearly_continued, read_margins, require_whole
from xgpfill.padding.continuation import NEIGHBOURHOODS

if TYPE_CHECKING:
    from collections.abc import Hashable

    from xgpfill.padding import Dims, Margins

MODES = (*NEIGHBOURHOODS, "gp")
_XARRAY_MODES = (
    "constant", "edge", "linear_ramp", "maximum", "mean", "median", "minimum", "reflect", "symmetric", "wrap",
)  # fmt: skip


def pad(
    da: xr.DataArray,
    pad_width: Mapping[Hashable, int | tuple[int, int]],
    *,
    mode: str = "lp2x1",
    method: str | None = None,
    dims: Dims = None,
) -> xr.DataArray:
    """Continue a field past its edges; see :meth:`xgpfill.accessor.DataArrayAccessor.pad`."""
    if not isinstance(mode, str) or mode not in MODES:
        theirs = isinstance(mode, str) and mode in _XARRAY_MODES
        own = f" {mode!r} is one of xarray: `da.pad(..., mode={mode!r})`." if theirs else ""
        raise MethodError(f"Unknown mode {shown(mode)} of padding. Choose one of {listed(MODES)}.{own}")
    if mode == "gp" and method is not None:
        raise MethodError(
            f"method={shown(method)} says how linear prediction finds its coefficients, and mode='gp' has none. Leave "
            f"it out, or choose one of {listed(NEIGHBOURHOODS)}."
        )
    margins = read_margins(da, pad_width, dims)
    if mode == "gp":
        return margins.labelled(_by_process(margins, dims))
    return margins.labelled(linearly_continued(margins, mode, checked_method(mode, method)))


def _by_process(margins: Margins, dims: Dims) -> xr.Variable:
    """The field with all margins but those round a circle, which are the gaps of a field that is fitted."""
    from xgpfill.fitting import fit  # torch loads here, once

    field: xr.DataArray = xr.apply_ufunc(
        require_whole, margins.field, kwargs={"fills": declared_fills(margins.field)}, dask="parallelized",
        output_dtypes=[margins.field.dtype], keep_attrs=True,
    )  # fmt: skip
    widths = {d: width for d, width in margins.open_widths.items() if any(width)}
    if not widths:
        return field.variable
    _require_axes(margins.field, set(widths))
    gappy = margins.with_gaps(field)
    told = roles_if_told(gappy, dims)
    if told is None or not set(widths) <= set(told.fitted):
        fitted: Any = dict(zip(("y", "x"), margins.plane, strict=False))
    else:
        fitted = told.fitted
    model = fit(gappy, dims=fitted, valid=True, amplitude=False, calibrate=False)
    mean = model.reconstruct(variance=False).mean
    found: xr.Variable = gappy.variable.fillna(mean.variable)
    return found


def _require_axes(da: xr.DataArray, dims: set[Any]) -> None:
    """Refuse places of a curvilinear grid, which are not known in margins."""
    torn = [str(name) for name, c in da.coords.items() if c.ndim > 1 and dims & set(c.dims) and c.dtype.kind in "iuf"]
    if torn:
        raise CoordinateError(
            f"mode='gp' needs to know where the margins are, and {listed(torn)} on {listed(da[torn[0]].dims)} cannot "
            f"be continued. Type `mode='lp2x1'`, or drop them to count in cells: `da.drop_vars({torn!r})`."
        )


def pad_dataset(
    ds: xr.Dataset, pad_width: Mapping[Hashable, int | tuple[int, int]], *, variable: Any, **arguments: Any
) -> xr.DataArray | xr.Dataset:
    """Continue variables of a Dataset; see :meth:`xgpfill.accessor.DatasetAccessor.pad`.

    Raises
    ------
    VariableError
        When a name is missing, none has the dimensions, or one has only some of them.
    """
    if variable is not None and (not isinstance(variable, (list, tuple)) or has_variable(ds, variable)):
        return pad(with_companions(named_variable(ds, variable), ds), pad_width, **arguments)
    if not isinstance(pad_width, Mapping):
        raise DimensionError(
            f"pad_width={shown(pad_width)}: expected a mapping of dimensions to widths, e.g. "
            f"`ds.gpfill.pad({{'lat': 2}})`."
        )
    chosen, kept = _chosen(ds, set(pad_width), variable)
    padded = {name: pad(with_companions(named_variable(ds, name), ds), pad_width, **arguments) for name in chosen}
    out = xr.Dataset(padded, attrs=ds.attrs)
    return out.assign({name: ds[name] for name in kept if name not in out.coords})


def _chosen(ds: xr.Dataset, dims: set[Any], variable: Any) -> tuple[list[Hashable], list[Hashable]]:
    """The variables to pad, and those that stay as they are."""
    if variable is not None:
        if not variable:
            raise VariableError(f"variable={variable!r} names nothing. The Dataset has {listed(ds.data_vars)}.")
        return list(variable), []
    own = {n: da for n, da in ds.data_vars.items() if str(n) not in _companions(ds)}
    chosen: list[Hashable] = [n for n, da in own.items() if dims <= set(da.dims) and da.dtype.kind in "iuf"]
    names = listed(sorted(map(str, dims)))
    if not chosen:
        raise VariableError(
            f"No numeric variable of the Dataset has the dimensions {names}; its variables are {listed(ds.data_vars)} "
            f"on {listed(ds.dims)}. Name dimensions that are there."
        )
    torn = [n for n, da in own.items() if dims & set(da.dims) and n not in chosen]
    if torn:
        raise VariableError(
            f"{listed(torn)} cannot stay as they are beside padded variables: they have some of the dimensions {names} "
            f"or are no numbers. Name what to pad, and leave others out: `pad(..., variable={chosen!r})`."
        )
    return chosen, [n for n in own if n not in chosen]


def _companions(ds: xr.Dataset) -> set[str]:
    """Variables that say something of others: bounds of coordinates, grid mappings, areas of cells."""
    said = [(where, BOUNDS) for c in ds.coords.values() for where in (c.attrs, c.encoding)]
    said += [(where, PLACING) for da in ds.data_vars.values() for where in (da.attrs, da.encoding)]
    return set().union(*(mentioned(where[key]) for where, keys in said for key in keys if key in where))
