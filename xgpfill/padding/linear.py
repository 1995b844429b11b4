"""DataArrays continued past their edges by linear prediction: which method goes with which mode, and chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.cf.fills import declared_fills
from xgpfill.errors import DimensionError, MethodError, listed, shown
from xgpfill.padding.continuation import NEIGHBOURHOODS, continued
from xgpfill.padding.margins import require_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xgpfill.padding.margins import Margins

METHODS = ("cov_stab", "cov_sym_stab", "correlation")
"""How coefficients are found; the covariance methods reflect poles, and are for neighbourhoods one cell wide."""


def checked_method(mode: str, method: Any) -> str:
    """The method of a mode of linear prediction, by default the one that the paper has for it.

    Raises
    ------
    MethodError
    """
    wide = NEIGHBOURHOODS[mode][1] > 1
    if method is None:
        return "correlation" if wide else "cov_stab"
    if not isinstance(method, str) or method not in METHODS:
        raise MethodError(f"Unknown method {shown(method)} of padding. Choose one of {listed(METHODS)}.")
    if wide and method != "correlation":
        raise MethodError(
            f"method={method!r} reflects poles, and mode={mode!r}, {NEIGHBOURHOODS[mode][1]} cells wide, has none. "
            f"Type `method='correlation'`, or `mode='lp2x1'`."
        )
    return method


def linearly_continued(margins: Margins, mode: str, method: str) -> xr.Variable:
    """The field with all margins but those round a circle, lazily where it is lazy.

    Raises
    ------
    DimensionError
        When a field is smaller than the neighbourhood.
    """
    plane, sizes = margins.plane, margins.field.sizes
    _require_room(margins, mode)
    longer = {d: sizes[d] + sum(margins.open_widths.get(d, (0, 0))) for d in plane}
    how = {
        "widths": _as_pair([margins.open_widths.get(d, (0, 0)) for d in plane], (0, 0)),
        "periods": _as_pair([margins.periods.get(d) for d in plane], None),
        "mode": mode, "method": method, "fills": declared_fills(margins.field),
        "series": len(plane) == 1,
    }  # fmt: skip
    variable = margins.field.variable
    whole = variable.chunk(dict.fromkeys(plane, -1)) if variable.chunks is not None else variable
    found: xr.Variable = xr.apply_ufunc(
        _continued, whole, kwargs=how, input_core_dims=[plane], output_core_dims=[plane], exclude_dims=set(plane),
        dask="parallelized", output_dtypes=[variable.dtype], dask_gufunc_kwargs={"output_sizes": longer},
    )  # fmt: skip
    return found


def _as_pair(parts: list[Any], absent: Any) -> tuple[Any, Any]:
    """What holds along columns and rows; series are a column of cells."""
    return (parts[0], parts[1] if len(parts) > 1 else absent)


def _require_room(margins: Margins, mode: str) -> None:
    length, width = NEIGHBOURHOODS[mode]
    for dim, size in ((d, margins.field.sizes[d]) for d in margins.plane):
        least = max(length + 1 if any(margins.open_widths.get(dim, (0, 0))) else 1, width)
        if size < least:
            raise DimensionError(
                f"Dimension {dim!r} has {size} cell(s); mode={mode!r} needs {least} along it. Choose a smaller "
                f"neighbourhood, e.g. `mode='lp1x1'`, or xarray's `da.pad(..., mode='edge')`."
            )
    if width > len(margins.plane) == 1:
        raise DimensionError(
            f"mode={mode!r} predicts from {width} cells side by side, but a field has the dimension "
            f"{margins.plane[0]!r} alone. Name the one beside it, e.g. `dims=({str(margins.plane[0])!r}, 'x')`, or "
            f"type `mode='lp2x1'`."
        )


def _continued(
    values: NDArray[Any], widths: Any, periods: Any, mode: str, method: str, fills: tuple[float, ...], series: bool
) -> NDArray[Any]:
    """Arrays (..., y, x), or (..., y) of series, with margins."""
    require_whole(values, fills)
    fields = values[..., np.newaxis] if series else values
    flat = fields.reshape(-1, *fields.shape[-2:]).astype(np.float64)
    out = continued(flat, widths, periods, mode, method)
    out = out.reshape(*fields.shape[:-2], *out.shape[1:]).astype(values.dtype)
    return np.asarray(out[..., 0] if series else out)
