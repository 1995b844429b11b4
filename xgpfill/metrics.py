"""Scores of a reconstruction against the truth, lazily on lazy data. The spread is the observed one."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable
from typing import Any

import numpy as np
import xarray as xr

Dim = str | Collection[Hashable] | None


def _erf(x: xr.DataArray) -> xr.DataArray:
    from scipy.special import erf

    found: xr.DataArray = xr.apply_ufunc(erf, x, dask="parallelized", output_dtypes=[float])
    return found


def normal_quantile(level: float) -> float:
    """Half-width, in standard deviations, of the central interval that holds `level` of a normal law.

    Examples
    --------
    >>> round(normal_quantile(0.95), 4)
    1.96
    """
    from scipy.special import ndtri

    return float(ndtri(0.5 + level / 2))


def crps_gaussian(mean: xr.DataArray, std: xr.DataArray, truth: xr.DataArray) -> xr.DataArray:
    """Continuous ranked probability score of a normal forecast at every cell (Gneiting & Raftery 2007, eq. 21)."""
    z = (truth - mean) / std
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    return std * (z * _erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))


def score_gaussian(mean: xr.DataArray, std: xr.DataArray, truth: xr.DataArray, dim: Dim = None) -> xr.Dataset:
    """Scores over the cells where `truth` is known.

    Parameters
    ----------
    mean, std, truth : DataArray
        In the same units; NaN in `truth` leaves a cell out.
    dim : names, optional
        Dimensions to average over; all by default.

    Returns
    -------
    Dataset
        rmse, mae, bias, crps (data units), nlpd, coverage95 and cells (dimensionless).
    """
    error, std = (mean - truth).astype(float), std.astype(float)
    z = error / std
    half = normal_quantile(0.95)
    nlpd = 0.5 * z**2 + np.log(std) + 0.5 * math.log(2 * math.pi)
    scores: dict[str, Any] = {
        "rmse": np.sqrt((error**2).mean(dim)),
        "mae": abs(error).mean(dim),
        "bias": error.mean(dim),
        "crps": crps_gaussian(mean.astype(float), std, truth).mean(dim),
        "nlpd": nlpd.mean(dim),
        "coverage95": (abs(z) <= half).where(error.notnull()).mean(dim),
        "cells": error.notnull().sum(dim),
    }
    units = truth.attrs.get("units") or mean.attrs.get("units")
    out = xr.Dataset({name: value.drop_attrs() for name, value in scores.items()})
    for name in ("rmse", "mae", "bias", "crps"):
        if units:
            out[name].attrs["units"] = units
    return out
