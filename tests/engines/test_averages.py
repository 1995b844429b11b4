"""Averages of many cells, with few observations and many, much noise and little, by every engine."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from xgpfill.covariance.matrices import Covariance
from xgpfill.engines import averages
from xgpfill.engines.exact import ExactEngine
from xgpfill.engines.iterative import IterativeEngine
from xgpfill.engines.lattice import averages as closely
from xgpfill.engines.lattice.system import System
from xgpfill.errors import XgpfillWarning
from xgpfill.settings import Iterative

from tests.engines.test_engines import PRIORS, engines, trends
from tests.engines.test_engines import problem as scattered_problem
from tests.engines.test_iterative import clouds, problem, tracks
from tests.problems import anova, oracle_posterior


def weights_of(cells, seed=0):
    """A mean of everything, of one cell, of one day, and a difference."""
    rng, m = np.random.default_rng(seed), len(cells)
    w = np.stack([rng.uniform(size=m), np.arange(m) == m // 2, cells.time_index == 1, rng.standard_normal(m)], axis=1)
    w = w.astype(float)
    w[:, [0, 2]] /= w[:, [0, 2]].sum(0)
    return w


def close(found, law, w):
    """Means and standard deviations to a thousandth of the latter."""
    variance = np.einsum("mk,mn,nk->k", w, law.covariance, w)
    assert_allclose((found.mean - w.T @ law.mean) / np.sqrt(variance), 0.0, atol=1e-3)
    assert_allclose(np.sqrt(found.variance), np.sqrt(variance), rtol=1e-3)


@trends
@pytest.mark.parametrize("name", PRIORS)
@engines
def test_averages_of_points_and_grids_equal_the_oracle(engine, name, trend):
    prior, tolerance = PRIORS[name]
    observations, *targets = scattered_problem(prior, unequal=True)
    posterior = engine.condition(Covariance(prior), observations, trend=trend)
    for points in targets:
        w = weights_of(points)
        law = oracle_posterior(prior, observations, points, trend=trend, full=True)
        found = posterior.averages(points, w)
        assert_allclose(found.mean, w.T @ law.mean, rtol=tolerance, atol=tolerance)
        assert_allclose(found.variance, np.einsum("mk,mn,nk->k", w, law.covariance, w), rtol=tolerance)


@trends
@pytest.mark.parametrize("gaps", [clouds, tracks])
@pytest.mark.parametrize("noise", [0.05, 1e-4])
@pytest.mark.parametrize("kernel", ["matern32", "rbf"])
def test_the_iteration_at_its_defaults_equals_the_oracle(kernel, noise, gaps, trend):
    p = problem(anova(kernel, noise=noise), np.arange(10, 30, 2.0), np.arange(0, 20, 2.0), np.arange(6.0), gaps)
    w = weights_of(p.cells)
    law = oracle_posterior(p.prior, p.observations, p.cells, trend=trend, full=True)
    close(IterativeEngine().condition(p.law, p.observations, trend=trend).averages(p.cells, w), law, w)


def test_averages_of_data_with_next_to_no_noise_equal_the_oracle():
    """Their standard deviations are so small that residuals told in single precision would hide the errors."""
    prior = anova("matern32", noise=1e-7)
    p = problem(prior, np.arange(10, 34, 2.0), np.arange(0, 36, 2.0), np.arange(6.0))
    w = weights_of(p.cells)
    law = oracle_posterior(p.prior, p.observations, p.cells, trend=True, full=True)
    close(IterativeEngine().condition(p.law, p.observations).averages(p.cells, w), law, w)


def test_averages_around_the_globe_and_at_a_pole_equal_the_oracle():
    p = problem(anova(), np.linspace(60, 90, 4), np.arange(0, 360, 30.0), np.arange(3.0))
    w = weights_of(p.cells)
    law = oracle_posterior(p.prior, p.observations, p.cells, trend=True, full=True)
    for engine in (ExactEngine(), IterativeEngine()):
        close(engine.condition(p.law, p.observations).averages(p.cells, w), law, w)


@pytest.mark.parametrize("geometry", ["sphere", "plane"])
def test_the_prior_of_many_cells_is_that_of_pairs(monkeypatch, geometry):
    p = problem(anova("matern32", geometry), np.arange(10, 30, 4.0), np.arange(0, 20, 4.0), np.arange(3.0))
    w = p.law.tensor(weights_of(p.cells))
    by_pairs = averages.averaged_prior(p.law, p.cells, w)
    monkeypatch.setattr(averages, "FEW_PAIRS", 0)
    assert_allclose(averages.averaged_prior(p.law, p.cells, w), by_pairs, rtol=1e-6)


def test_one_average_takes_no_more_solves_than_it_needs(monkeypatch):
    columns = []
    solution = System.solution
    monkeypatch.setattr(
        System, "solution", lambda self, b, tol: columns.append(b.shape[1]) or solution(self, b, tol)
    )  # fmt: skip
    p = problem(anova(), np.arange(10, 30, 2.0), np.arange(0, 20, 2.0), np.arange(6.0))
    IterativeEngine().condition(p.law, p.observations).averages(p.cells, weights_of(p.cells)[:, :1])
    assert 1 <= len(columns) <= 2 and set(columns) == {2}


def test_an_average_that_is_far_off_says_so(monkeypatch):
    monkeypatch.setattr(closely, "ROUNDS", 1)
    monkeypatch.setattr(closely, "LARGE", 1e-9)
    monkeypatch.setattr(closely, "SMALL", 1e-12)
    p = problem(anova(), np.arange(10, 30, 2.0), np.arange(0, 20, 2.0), np.arange(6.0))
    engine = IterativeEngine(Iterative(num_neighbours=4))
    with pytest.warns(XgpfillWarning, match=r"standard deviations off. Type `method=.*num_neighbours=8\)`"):
        engine.condition(p.law, p.observations).averages(p.cells, weights_of(p.cells))


def test_an_iteration_that_stalls_leaves_averages_to_the_dense_engine():
    p = problem(anova(), np.arange(10, 30, 2.0), np.arange(0, 20, 2.0), np.arange(6.0))
    w = weights_of(p.cells)
    stalled = IterativeEngine(Iterative(max_steps=1, num_neighbours=1)).condition(p.law, p.observations)
    with pytest.warns(XgpfillWarning, match="dense engine answers instead"):
        found = stalled.averages(p.cells, w)
    expected = ExactEngine().condition(p.law, p.observations).averages(p.cells, w)
    assert_allclose(found.mean, expected.mean)
