"""The scores of a reconstruction: on which cells, with which weights, and what they are called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill import metrics
from xgpfill.cf.units import CELSIUS, KELVIN, PERCENT
from xgpfill.errors import AlignmentError, DataError, VariableError, listed
from xgpfill.metrics._weights import named_weights
from xgpfill.metrics.averaging import checked_dims, weighted_mean
from xgpfill.metrics.calibration import NORMAL
from xgpfill.words import squared

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from xgpfill.metrics.averaging import Dim
    from xgpfill.metrics.calibration import Calibration

_NAMES = {
    "rmse": "root mean squared error",
    "mae": "mean absolute error",
    "bias": "mean error, reconstruction minus truth",
    "crps": "continuous ranked probability score",
    "nlpd": "negative log predictive density",
    "mean_variance": "mean predicted variance of an observation",
    "coverage95": "share of the truth within the 95 % interval",
    "variance_error_correlation": "correlation of predicted variance and squared error",
    "reduced_chi2": "mean squared standardised error",
    "cells": "number of cells scored",
}
_OF_VECTORS = {
    "vector_rmse": "root mean squared length of the error of the vector",
    "speed_rmse": "root mean squared error of the speed",
    "speed_bias": "mean error of the speed, reconstruction minus truth",
    "angle_mae": "mean angle between the vector and the truth",
}
_IN_DATA_UNITS = ("rmse", "mae", "bias", "crps")
_SPELLINGS = (CELSIUS, KELVIN, PERCENT)


def score_gaussian(
    mean: xr.DataArray,
    std: xr.DataArray,
    truth: xr.DataArray,
    *,
    observed: xr.DataArray,
    dim: Dim = None,
    weights: Any = None,
    law: tuple[Calibration, xr.DataArray | int] = (NORMAL, 0),
) -> xr.Dataset:
    """All scores over the cells where `truth` is known and `observed` is not.

    Parameters
    ----------
    mean, std, truth, observed : DataArray
        In the same units; `std` is that of an observation.
    dim : names, optional
        Dimensions to average over; all by default.
    weights : DataArray, "area" or "cos_lat", optional
    law : (Calibration, int or DataArray)
        How residuals are distributed, and the number of the independent field of every cell; by default normally.

    Raises
    ------
    AlignmentError, VariableError, DataError
    """
    truth = on_grid_of(truth, mean)
    if isinstance(weights, str):
        weights = named_weights(weights, mean)
    hidden, (of, field) = truth.where(observed.isnull()), law
    how: dict[str, Any] = {"dim": dim, "weights": weights, "skipna": True}
    scores = {
        "rmse": metrics.rmse(mean, hidden, **how),
        "mae": metrics.mae(mean, hidden, **how),
        "bias": metrics.bias(mean, hidden, **how),
        "crps": averaged(of.crps(hidden, mean, std, field), dim, weights),
        "nlpd": averaged(of.nlpd(hidden, mean, std, field), dim, weights),
        "mean_variance": metrics.mean_variance(hidden, mean, std, **how),
        "coverage95": averaged(within(of, field, hidden, mean, std, 0.95), dim, weights),
        "variance_error_correlation": metrics.variance_error_correlation(hidden, mean, std, **how),
        "reduced_chi2": metrics.reduced_chi2(hidden, mean, std, **how),
        "cells": (hidden.notnull() & mean.notnull()).sum(checked_dims(mean, dim)),
    }
    out = xr.Dataset({name: score.reset_coords(drop=True).drop_attrs(deep=False) for name, score in scores.items()})
    units = mean.attrs.get("units") or truth.attrs.get("units")
    for name, said in _NAMES.items():
        out[name].attrs["long_name"] = said
        if units and name in _IN_DATA_UNITS:
            out[name].attrs["units"] = units
    if units:
        out["mean_variance"].attrs["units"] = squared(str(units))
    return out


def score_vector(
    mean: Sequence[xr.DataArray],
    truth: Sequence[xr.DataArray],
    observed: Sequence[xr.DataArray],
    *,
    dim: Dim = None,
    weights: Any = None,
) -> xr.Dataset:
    """Scores of a vector as a whole, over the cells where `truth` is known and a component was not observed.

    Parameters
    ----------
    mean, truth, observed : (DataArray, DataArray)
        Components to the east and to the north.
    dim : names, optional
        Dimensions to average over; all by default.
    weights : DataArray, "area" or "cos_lat", optional
    """
    u, v = mean
    hidden = observed[0].isnull() | observed[1].isnull()
    x, y = (on_grid_of(part, own).where(hidden) for part, own in zip(truth, mean, strict=True))
    if isinstance(weights, str):
        weights = named_weights(weights, u)
    how: dict[str, Any] = {"dim": dim, "weights": weights, "skipna": True}
    lengths: list[Any] = [np.hypot(u, v), np.hypot(x, y)]
    away: Any = np.hypot(u - x, v - y)
    angle: Any = np.rad2deg(abs(np.arctan2(u * y - v * x, u * x + v * y)))
    scores = {
        "vector_rmse": metrics.rmse(away, 0 * away, **how),
        "speed_rmse": metrics.rmse(*lengths, **how),
        "speed_bias": metrics.bias(*lengths, **how),
        "angle_mae": averaged(angle, dim, weights),
    }
    out = xr.Dataset({name: score.reset_coords(drop=True).drop_attrs(deep=False) for name, score in scores.items()})
    units = u.attrs.get("units") or truth[0].attrs.get("units")
    for name, said in _OF_VECTORS.items():
        out[name].attrs["long_name"] = said
        if units or name == "angle_mae":
            out[name].attrs["units"] = "degree" if name == "angle_mae" else units
    return out


def averaged(cells: xr.DataArray, dim: Dim, weights: Any) -> xr.DataArray:
    """Mean over cells that are known."""
    found: xr.DataArray = weighted_mean(cells, dim, weights, True, False, cells, pure=True)
    return found


def within(
    law: Calibration,
    field: xr.DataArray | int,
    truth: xr.DataArray,
    mean: xr.DataArray,
    std: xr.DataArray,
    level: float,
) -> xr.DataArray:
    """One where the truth lies in the central interval of a level, zero where not, NaN where it is not known."""
    error = abs(truth - mean)
    found: xr.DataArray = (error <= law.half_width(level, field) * std).where(error.notnull() & (std >= 0))
    return found.transpose(*mean.dims)


def check_variables(truth: Any, mean: Any, call: str) -> None:
    """Refuse a truth of other variables than the mean; `call` is how a part of it would be given.

    Raises
    ------
    VariableError
    """
    if isinstance(mean, xr.Dataset):
        names = list(mean.data_vars)
        missing = [n for n in names if not isinstance(truth, xr.Dataset) or n not in truth.data_vars]
        if missing:
            raise VariableError(
                f"`truth` lacks the variable(s) {listed(missing)} of this reconstruction; expected a Dataset that "
                f"holds {listed(names)}."
            )
    elif isinstance(truth, xr.Dataset):
        raise VariableError(
            f"`truth` is a Dataset; expected a DataArray like {mean.name!r}. Type `{call}[{str(mean.name)!r}])`."
        )


def on_grid_of(truth: Any, mean: xr.DataArray) -> xr.DataArray:
    """The truth on the cells of the mean, in its units; of fewer dimensions it may be.

    Raises
    ------
    AlignmentError, VariableError, DataError
    """
    if not isinstance(truth, xr.DataArray):
        cure = f"ds[{truth!r}]" if isinstance(truth, str) else "mean.copy(data=truth)"
        raise VariableError(
            f"`truth` is a {type(truth).__name__}; expected a DataArray on the grid of {mean.name!r}, e.g. `{cure}`."
        )
    if truth.dtype.kind not in "iufb":
        raise DataError(f"`truth` has dtype {truth.dtype}; expected real numbers, e.g. `truth.astype(float)`.")
    foreign = [d for d in truth.dims if d not in mean.dims]
    if foreign:
        lacking = [str(d) for d in mean.dims if d not in truth.dims]
        cure = f"truth.rename({{{str(foreign[0])!r}: {lacking[0]!r}}})" if lacking else f"truth.isel({foreign[0]}=0)"
        raise AlignmentError(
            f"`truth` has dimension(s) {listed(foreign)} that the reconstruction lacks; it has {listed(mean.dims)}. "
            f"Rename or select them, e.g. `{cure}`."
        )
    units = [str(da.attrs.get("units", "")) for da in (truth, mean)]
    if all(units) and not same_units(*units):
        raise AlignmentError(
            f"`truth` is in {units[0]!r}, but the reconstruction is in {units[1]!r}. Convert it, or if both mean the "
            f"same: `truth.assign_attrs(units={units[1]!r})`."
        )
    for d in truth.dims:  # the same dates, stored to another resolution
        both = [da.coords[d] for da in (truth, mean) if d in da.coords]
        if len(both) == 2 and all(c.dtype.kind == "M" for c in both) and both[0].dtype != both[1].dtype:
            truth = truth.assign_coords({d: both[0].astype(both[1].dtype)})
    try:
        brought: xr.DataArray = xr.align(truth, mean, join="exact", copy=False)[0]
    except ValueError as error:
        raise AlignmentError(
            f"`truth` does not lie on the grid of the reconstruction: {str(error).splitlines()[0]}. "
            f"{_cure(truth, mean)}"
        ) from None
    return brought


def _cure(truth: xr.DataArray, mean: xr.DataArray) -> str:
    for d in truth.dims:
        mine, own = (_calendar(da, d) for da in (truth, mean))
        if mine != own:
            return (
                f"Along {d!r} it has {mine}, the reconstruction {own}. Convert one of them, e.g. "
                f"`truth.convert_calendar('standard', dim={str(d)!r}, use_cftime=False)` or `xr.decode_cf(ds)`."
            )
    return "Bring it there: `truth.reindex_like(mean, method='nearest', tolerance=1e-6)`."


def _calendar(da: xr.DataArray, dim: Hashable) -> str:
    if dim not in da.coords:
        return "no labels"
    labels = da.coords[dim]
    if labels.dtype == object and labels.size:
        first = labels.values.flat[0]
        return f"dates of the calendar {first.calendar!r}" if hasattr(first, "calendar") else "objects"
    return {"M": "dates of the standard calendar", "m": "durations"}.get(labels.dtype.kind, "numbers")


def same_units(one: str, other: str) -> bool:
    """Whether two units are one, up to how they are commonly spelled.

    Examples
    --------
    >>> same_units("m s-1", "m/s"), same_units("degC", "Celsius"), same_units("K", "degC")
    (True, True, False)
    """
    return _spelled(one) == _spelled(other)


def _spelled(units: str) -> str:
    plain = " ".join(units.replace("**", "").replace("^", "").replace("*", " ").replace(".", " ").split())
    first, *others = (part.strip() for part in plain.split("/"))
    plain = " ".join([first, *(part if part[-1:].isdigit() else f"{part}-1" for part in others)])
    return next((min(names) for names in _SPELLINGS if plain in names), plain)
