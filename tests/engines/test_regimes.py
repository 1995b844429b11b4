"""In every regime, at the true hyperparameters, an engine answers as the dense oracle does, or warns that it may not.

The bars are on cells without an observation: of the mean in posterior standard deviations, of the standard deviation
relative to itself.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import xarray as xr
import xgpfill  # noqa: F401  (registers .gpfill)
from numpy.testing import assert_allclose
from xgpfill.covariance.matrices import Covariance
from xgpfill.engines.exact import ExactEngine
from xgpfill.errors import XgpfillWarning

from tests import regimes
from tests.regimes import REGIMES, Regime

METHODS = (pytest.param("exact", marks=pytest.mark.slow), "iterative")
MOST_CELLS = 1500
"""Cells of a field at which the oracle is asked, at most."""
MAY_WARN = frozenset[tuple[str, str]]()
"""Where a warning may stand for the bars: nowhere."""

MEAN_99 = 0.05
SD_MEDIAN, SD_99, SD_BIAS = 0.05, 0.25, 0.02


@dataclass(frozen=True)
class Errors:
    """How far an answer is from the oracle's, over cells without an observation.

    Attributes
    ----------
    mean_99 : float
        99th percentile of the error of the mean, in posterior standard deviations.
    sd_median, sd_99 : float
        Of the relative error of the standard deviation.
    sd_bias : float
        Its mean, with its sign.
    """

    mean_99: float
    sd_median: float
    sd_99: float
    sd_bias: float


@cache
def made(name: str) -> Regime:
    return regimes.make(name)


@cache
def expected(name: str) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Cells, means and standard deviations by the oracle, for each independent field."""
    regime, found = made(name), []
    for member in regime.members:
        index = regime.unseen(member, MOST_CELLS)
        posterior = regime.posterior(index, member)
        found.append((index, posterior.mean, np.sqrt(posterior.variance)))
    return found


def answered(regime: Regime, method: object) -> tuple[xr.DataArray, xr.DataArray, list[str]]:
    """Mean and variance by an engine, and the warnings it gave."""
    arguments = {**regime.fit_arguments, "valid": True, "hyperparameters": regime.hyperparameters}
    model = regime.observed.gpfill.fit(method=method, **arguments)
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", category=XgpfillWarning)
        mean, variance = model.reconstruct()
    return mean, variance, [str(w.message) for w in caught]


def compared(name: str, mean: xr.DataArray, variance: xr.DataArray) -> Errors:
    """All independent fields together."""
    regime, off, ratio = made(name), [], []
    for member, (index, its_mean, its_sd) in zip(regime.members, expected(name), strict=True):
        off.append(np.abs(regime.of_cells(mean, member)[index] - its_mean) / its_sd)
        ratio.append(np.sqrt(regime.of_cells(variance, member)[index]) / its_sd)
    away, relative = np.concatenate(off), np.concatenate(ratio) - 1
    return Errors(
        float(np.quantile(away, 0.99)),
        float(np.median(np.abs(relative))),
        float(np.quantile(np.abs(relative), 0.99)),
        float(np.mean(relative)),
    )


every_regime = pytest.mark.parametrize("name", REGIMES)


# Engines


@pytest.mark.parametrize("method", METHODS)
@every_regime
def test_an_engine_answers_as_the_oracle_or_warns(name, method):
    mean, variance, warned = answered(made(name), method)
    assert not mean.isnull().any()
    assert not variance.isnull().any()
    assert float(variance.min()) >= 0.0
    if (name, method) not in MAY_WARN:
        assert not warned
    if not warned:
        errors = compared(name, mean, variance)
        assert errors.mean_99 <= MEAN_99, errors
        assert errors.sd_median <= SD_MEDIAN, errors
        assert errors.sd_99 <= SD_99, errors
        assert abs(errors.sd_bias) <= SD_BIAS, errors


# The regimes themselves


@every_regime
def test_fit_builds_the_prior_of_a_regime_from_its_numbers(name):
    regime = made(name)
    arguments = {**regime.fit_arguments, "valid": True, "hyperparameters": regime.hyperparameters}
    model = regime.observed.gpfill.fit(method="exact", **arguments)
    assert model.prior == regime.prior
    assert_allclose(model.lattice.time, regime.lattice.time)
    mine, its = regime.lattice.space, model.lattice.space
    assert (mine.geometry, mine.unit, mine.is_grid, mine.wraps) == (its.geometry, its.unit, its.is_grid, its.wraps)


@every_regime
def test_a_regime_is_of_the_promised_size(name):
    regime = made(name)
    assert 2000 <= regime.truth.size <= 8100
    assert int(regime.observed.notnull().sum()) <= 3000
    assert regime.truth.notnull().all()
    assert regime.truth.dims == regime.observed.dims
    assert regime.truth.transpose(..., *regime.dims).dims == regime.truth.dims


@every_regime
def test_the_truth_lies_where_the_oracle_says(name):
    """Of a draw of the prior, errors over their standard deviations have a mean square of about one."""
    regime = made(name)
    scales = [1.0] if regime.scale is None else regime.scale.values
    for member, scale, (index, mean, sd) in zip(regime.members, scales, expected(name), strict=True):
        z = (regime.of_cells(regime.truth, member)[index] - mean) / (scale * sd)
        assert 0.6 < np.sqrt(np.mean(z**2)) < (1.4 if regime.drawn_from_prior else 3.0)


def test_the_same_seed_gives_the_same_regime_and_another_another():
    first, again, other = (regimes.make("two levels", seed) for seed in (0, 0, 1))
    xr.testing.assert_identical(first.truth, again.truth)
    xr.testing.assert_identical(first.observed, again.observed)
    assert not np.allclose(first.truth, other.truth)


def test_observations_are_those_of_the_field():
    regime = made("globe with poles")
    found = regime.observations()
    observed = regime.observed.values
    assert len(found) == np.isfinite(observed).sum()
    assert_allclose(found.values, observed[np.isfinite(observed)])
    t, y, x = (i[5] for i in np.nonzero(np.isfinite(observed)))
    assert found.points.time[5] == t
    assert_allclose(found.points.space[5], regime.lattice.space.coordinates[y, x])


@pytest.mark.parametrize("name", ["hidden", "two levels"])
def test_an_engine_can_be_conditioned_on_the_points_of_a_regime(name):
    regime = made(name)
    for member, (index, mean, sd) in zip(regime.members, expected(name), strict=True):
        posterior = ExactEngine().condition(Covariance(regime.prior), regime.observations(member))
        found = posterior.moments(regime.cells)
        assert_allclose(found.mean[index], mean, rtol=1e-6)
        assert_allclose(np.sqrt(found.variance[index]), sd, rtol=1e-6)


def test_the_map_of_the_static_map_is_much_larger_than_its_anomalies():
    truth = made("static map").truth
    anomalies = truth - truth.mean("time")
    assert 8 < float(truth.mean("time").std() / anomalies.std("time").mean()) < 25
    assert abs(float(xr.corr(anomalies[:-1].drop_vars("time"), anomalies[1:].drop_vars("time")))) < 0.1


def test_the_cells_of_a_pole_have_one_truth():
    truth = made("globe with poles").truth
    assert_allclose(truth.isel(lat=[0, -1]).std("lon"), 0.0, atol=1e-9)
