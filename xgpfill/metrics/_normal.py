"""Scores of a normal law, of mean `mu` and standard deviation `sig`, against what was observed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from xgpfill.checks import checked_level
from xgpfill.metrics.averaging import Dim, Floats, XArray, per_cell, weighted_mean, with_attrs

Number = float | xr.DataArray | xr.Dataset


def normal_quantile(level: float) -> float:
    """Half-width, in standard deviations, of the central interval that holds `level` of a normal law.

    Examples
    --------
    >>> round(normal_quantile(0.95), 4)
    1.96
    """
    from scipy.special import ndtri

    return float(ndtri(0.5 + level / 2))


def crps_gaussian(
    observations: XArray,
    mu: Number,
    sig: Number,
    dim: Dim = None,
    weights: Any = None,
    skipna: bool = False,
    keep_attrs: bool = False,
) -> XArray:
    """Continuous ranked probability score of normal forecasts (Gneiting & Raftery 2007, eq. 21), in data units.

    Parameters
    ----------
    observations : DataArray or Dataset
        The truth.
    mu, sig : DataArray, Dataset or float
        Mean and standard deviation of the forecast of an observation, in the units of the data. A cell with a `sig` of
        zero scores its absolute error; one below zero is NaN.
    dim, weights, skipna, keep_attrs
        As in :func:`mae`. xskillscore's function of this name always skips NaN; the others do as this one.

    Returns
    -------
    DataArray or Dataset

    Raises
    ------
    XgpfillError
        As in :func:`mae`.

    Examples
    --------
    >>> import xarray as xr
    >>> round(float(crps_gaussian(xr.DataArray([0.0], dims="x"), 0.0, 1.0)), 4)  # (√2 − 1) / √π
    0.2337
    """
    return weighted_mean(per_cell(_crps, observations, mu, sig), dim, weights, skipna, keep_attrs, observations)


def nlpd(
    observations: XArray,
    mu: Number,
    sig: Number,
    dim: Dim = None,
    weights: Any = None,
    skipna: bool = False,
    keep_attrs: bool = False,
) -> XArray:
    """Negative log predictive density, the weighted mean of −log N(observation; mu, sig²), in nats.

    Arguments and errors as :func:`crps_gaussian`. It changes by a constant with the units of the data. A `sig` of zero
    has no density: the score is infinite, or NaN where the error is zero too.

    Examples
    --------
    >>> import xarray as xr
    >>> round(float(nlpd(xr.DataArray([0.0], dims="x"), 0.0, 1.0)), 4)  # ½ log 2π
    0.9189
    """
    return weighted_mean(
        per_cell(_nlpd, observations, mu, sig), dim, weights, skipna, keep_attrs, observations, pure=True
    )


def interval_coverage(
    observations: XArray,
    mu: Number,
    sig: Number,
    level: float = 0.95,
    dim: Dim = None,
    weights: Any = None,
    skipna: bool = False,
    keep_attrs: bool = False,
) -> XArray:
    """Share of observations within the central interval that should hold `level` of them, 0 to 1.

    Arguments and errors as :func:`crps_gaussian`, and a DataError for a `level` that is no probability.

    Examples
    --------
    >>> import xarray as xr
    >>> float(interval_coverage(xr.DataArray([0.0, 1.9, 2.0, 3.0], dims="x"), 0.0, 1.0, level=0.95))
    0.5
    """
    half = normal_quantile(checked_level(level))

    def within(observed: Floats, mean: Floats, sd: Floats) -> Floats:
        error = np.abs(observed - mean)
        return np.where(np.isnan(error) | ~(sd >= 0), np.nan, error <= half * sd)

    return weighted_mean(
        per_cell(within, observations, mu, sig), dim, weights, skipna, keep_attrs, observations, pure=True
    )


def reduced_chi2(
    observations: XArray,
    mu: Number,
    sig: Number,
    dim: Dim = None,
    weights: Any = None,
    skipna: bool = False,
    keep_attrs: bool = False,
) -> XArray:
    """Weighted mean of ((observation − mu) / sig)²: one when the spread is right, above when it is too small.

    Arguments and errors as :func:`crps_gaussian`. With a `sig` of zero it is infinite, or NaN where the error is zero.

    Examples
    --------
    >>> import xarray as xr
    >>> float(reduced_chi2(xr.DataArray([0.0, 2.0], dims="x"), 0.0, 1.0))
    2.0
    """

    def squared(observed: Floats, mean: Floats, sd: Floats) -> Floats:
        return ((observed - mean) / np.where(sd >= 0, sd, np.nan)) ** 2

    return weighted_mean(
        per_cell(squared, observations, mu, sig), dim, weights, skipna, keep_attrs, observations, pure=True
    )


def mean_variance(
    observations: XArray,
    mu: Number,
    sig: Number,
    dim: Dim = None,
    weights: Any = None,
    skipna: bool = False,
    keep_attrs: bool = False,
) -> XArray:
    """Weighted mean of the predicted variance sig² over the cells that are scored, in squared data units.

    Arguments and errors as :func:`crps_gaussian`. Beside the mean squared error it tells whether the spread is right.

    Examples
    --------
    >>> import xarray as xr
    >>> float(mean_variance(xr.DataArray([0.0, 1.0], dims="x"), 0.0, 2.0))
    4.0
    """
    return weighted_mean(
        per_cell(_variance, observations, mu, sig), dim, weights, skipna, keep_attrs, observations, pure=True
    )


def variance_error_correlation(
    observations: XArray,
    mu: Number,
    sig: Number,
    dim: Dim = None,
    weights: Any = None,
    skipna: bool = False,
    keep_attrs: bool = False,
) -> XArray:
    """Weighted Pearson correlation of the predicted variance sig² and the squared error, −1 to 1.

    Arguments and errors as :func:`crps_gaussian`. NaN where one of the two does not vary.

    Examples
    --------
    >>> import xarray as xr
    >>> truth, sig = xr.DataArray([1.0, -2.0, 3.0], dims="x"), xr.DataArray([0.5, 1.0, 1.5], dims="x")
    >>> round(float(variance_error_correlation(truth, 0.0, sig)), 6)
    1.0
    """

    def mean(values: Any) -> Any:
        return weighted_mean(values, dim, weights, skipna, False, observations)

    variance = per_cell(_variance, observations, mu, sig)
    error = per_cell(lambda o, m, s: np.where(s >= 0, (o - m) ** 2, np.nan), observations, mu, sig)
    centres = mean(variance), mean(error)
    v, e = (per_cell(np.subtract, part, centre) for part, centre in zip((variance, error), centres, strict=True))
    moments = [mean(per_cell(np.multiply, x, y)) for x, y in ((v, e), (v, v), (e, e))]
    found = per_cell(_correlation, *moments, *centres)
    return with_attrs(found, observations, keep_attrs, pure=True)


# Scores of one cell


def _crps(observed: Floats, mean: Floats, sd: Floats) -> Floats:
    from scipy.special import erf

    z = (observed - mean) / np.where(sd > 0, sd, np.nan)
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    score = sd * (z * erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))
    return np.where(sd == 0, np.abs(observed - mean), score)


def _variance(observed: Floats, mean: Floats, sd: Floats) -> Floats:
    """With the NaN of the others, so that all means are over the same cells."""
    return np.where(np.isnan(observed - mean) | ~(sd >= 0), np.nan, sd**2)


def _nlpd(observed: Floats, mean: Floats, sd: Floats) -> Floats:
    error = observed - mean
    score = 0.5 * (error / sd) ** 2 + np.log(sd) + 0.5 * math.log(2 * math.pi)
    return np.where(sd == 0, np.where(np.abs(error) > 0, np.inf, np.nan), score)


def _correlation(both: Floats, first: Floats, second: Floats, *centres: Floats) -> Floats:
    """Pearson's, from centred moments; a part that varies by rounding only is constant."""
    constant = [np.sqrt(m) <= 1e-13 * np.abs(centre) for m, centre in zip((first, second), centres, strict=True)]
    found = np.clip(both / np.sqrt(first * second), -1.0, 1.0)
    return np.where(constant[0] | constant[1], np.nan, found)
