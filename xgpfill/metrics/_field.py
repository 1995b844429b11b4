"""Errors of a field: of an estimate against the truth, whatever its uncertainty."""

from __future__ import annotations

from typing import Any

import numpy as np

from xgpfill.metrics.averaging import Dim, XArray, per_cell, rooted, weighted_mean


def mae(
    a: XArray, b: XArray, dim: Dim = None, weights: Any = None, skipna: bool = False, keep_attrs: bool = False
) -> XArray:
    """Mean absolute error, the weighted mean of the absolute value of a − b.

    Parameters
    ----------
    a, b : DataArray or Dataset
        The estimate and the truth, in the same units, on the same cells.
    dim : names, optional
        Dimensions to average over; all by default.
    weights : DataArray, optional
        Of at least zero, on dimensions of the data; they need not sum to one. Where they are NaN the cell counts as
        NaN.
    skipna : bool
        Whether cells where any input is NaN are left out together with their weights; else one NaN makes the score NaN.
    keep_attrs : bool
        Whether to copy the attributes of the first input; scores without its units lose units and standard name.

    Returns
    -------
    DataArray or Dataset
        In the units of the data, float64, without the dimensions `dim`; lazy if an input is.

    Raises
    ------
    AlignmentError
        When inputs or weights do not lie on the same cells.
    DimensionError
        When `dim` names what the data lack.
    DataError
        For weights below zero; when they are computed if they are lazy.

    Examples
    --------
    >>> import xarray as xr
    >>> a, b = xr.DataArray([1.0, 2.0, 4.0], dims="x"), xr.DataArray([1.0, 3.0, 2.0], dims="x")
    >>> float(mae(a, b))
    1.0
    """
    return weighted_mean(per_cell(lambda a, b: np.abs(a - b), a, b), dim, weights, skipna, keep_attrs, a)


def rmse(
    a: XArray, b: XArray, dim: Dim = None, weights: Any = None, skipna: bool = False, keep_attrs: bool = False
) -> XArray:
    """Root mean squared error, the root of the weighted mean of (a − b)²; arguments and errors as :func:`mae`.

    Examples
    --------
    >>> import xarray as xr
    >>> float(rmse(xr.DataArray([3.0, 4.0], dims="x"), xr.DataArray([0.0, 0.0], dims="x"))) == 12.5**0.5
    True
    """
    return rooted(weighted_mean(per_cell(lambda a, b: (a - b) ** 2, a, b), dim, weights, skipna, keep_attrs, a))


def bias(
    a: XArray, b: XArray, dim: Dim = None, weights: Any = None, skipna: bool = False, keep_attrs: bool = False
) -> XArray:
    """Mean error, the weighted mean of a − b: of the estimate minus the truth; arguments and errors as :func:`mae`.

    xskillscore calls it ``me``.

    Examples
    --------
    >>> import xarray as xr
    >>> float(bias(xr.DataArray([3.0, 4.0], dims="x"), xr.DataArray([4.0, 4.0], dims="x")))
    -0.5
    """
    return weighted_mean(per_cell(lambda a, b: a - b, a, b), dim, weights, skipna, keep_attrs, a)
