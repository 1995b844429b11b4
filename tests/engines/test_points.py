"""The iterative engine where places are no lattice: as the oracle says, for any kernel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from xgpfill.covariance.matrices import Covariance
from xgpfill.engines.iterative import IterativeEngine
from xgpfill.engines.points import PointsPosterior
from xgpfill.errors import NumericalError, TooManyPointsError
from xgpfill.grid.lattice import are_scattered
from xgpfill.grid.points import Observations, Points
from xgpfill.kernels import spec
from xgpfill.kernels.outside import FromFunction
from xgpfill.settings import Iterative

from tests.problems import anova, observed, oracle_posterior, product, raised, scattered

PRIOR = anova("matern32", noise=0.05)


@pytest.fixture(scope="module")
def observations():
    return raised(PRIOR)


@pytest.fixture(scope="module")
def targets():
    return scattered(np.random.default_rng(5), 400, "sphere")


@pytest.fixture(scope="module")
def expected(observations, targets):
    return oracle_posterior(PRIOR, observations, targets, trend=True, full=True)


@pytest.fixture(scope="module")
def posterior(observations):
    found = IterativeEngine().condition(Covariance(PRIOR), observations)
    assert isinstance(found, PointsPosterior)
    return found


def test_means_and_variances_of_many_targets_come_near_the_oracle(posterior, targets, expected):
    found, sd = posterior.moments(targets), np.sqrt(expected.variance)
    assert_allclose(found.mean / sd, expected.mean / sd, atol=0.05)
    assert_allclose(np.sqrt(found.variance) / sd, 1.0, atol=0.05)
    assert_allclose(posterior.means(targets)[:, 0], found.mean, rtol=1e-9, atol=1e-12)
    estimate, error = posterior.trend
    assert estimate == pytest.approx(expected.beta[0], rel=1e-3)
    assert error == pytest.approx(expected.beta_covariance[0, 0] ** 0.5, rel=1e-3)


def test_variances_of_few_targets_are_solved_for(posterior, targets, expected):
    few = posterior.moments(targets.take_in_order(np.arange(40)))
    assert_allclose(few.variance, expected.variance[:40], rtol=0.01)


def test_joint_laws_equal_the_oracle(posterior, targets, expected):
    some, weights = np.arange(60), np.full((400, 1), 1 / 400)
    size = np.sqrt(np.diag(expected.covariance))
    joint = posterior.covariance(targets.take_in_order(some))
    off = (joint - expected.covariance[:60, :60]) / np.outer(size[:60], size[:60])
    assert np.abs(off).max() < 1e-3
    average = posterior.averages(targets, weights)
    assert average.variance[0] == pytest.approx(expected.covariance.mean(), rel=0.01)
    assert average.mean[0] == pytest.approx(expected.mean.mean(), rel=0.01)


def test_draws_at_many_targets_have_the_posterior_law(posterior, targets, expected):
    drawn, sd = posterior.sample(targets, 100, np.random.default_rng(1)), np.sqrt(expected.variance)
    assert_allclose(drawn.std(0) / sd, 1.0, atol=0.35)
    assert np.median(drawn.std(0) / sd) == pytest.approx(1.0, abs=0.03)
    assert np.abs((drawn.mean(0) - expected.mean) / sd).max() < 5 / np.sqrt(100)
    assert drawn.mean(1).std() == pytest.approx(expected.covariance.mean() ** 0.5, rel=0.25)
    few = [posterior.sample(targets, 2, np.random.default_rng(1)) for _ in range(2)]
    np.testing.assert_array_equal(*few)


@pytest.mark.parametrize("noise", [1.0, 1e-4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_smooth_fields_with_little_noise_are_solved(noise, dtype):
    prior, rng = product(spec.Constant(), spec.RBF(400.0), "plane", noise), np.random.default_rng(0)
    observations = observed(rng, prior, Points.scattered(np.zeros(900), rng.uniform(0, 1500, (900, 2))))
    targets = Points.scattered(np.zeros(80), rng.uniform(0, 1500, (80, 2)))
    expected = oracle_posterior(prior, observations, targets, trend=True)
    engine = IterativeEngine()
    observations = replace(observations, points=replace(observations.points, frame=None))
    found = PointsPosterior(engine.points_system, Covariance(prior, dtype=dtype), observations, trend=True)
    sd = np.sqrt(expected.variance)
    assert_allclose(found.moments(targets).mean / sd, expected.mean / sd, atol=0.05)


def test_a_function_that_is_brought_is_solved_for_exactly():
    rng = np.random.default_rng(0)
    brought = FromFunction(lambda a, b: np.exp(-abs(np.asarray(a) - np.asarray(b).T) / 3.0), name="mine")
    prior, same = (product(kernel, spec.Constant(), "sphere", 0.1) for kernel in (brought, spec.Matern(0.5, 3.0)))
    points = scattered(rng, 300, "sphere")
    observations, targets = observed(rng, same, points), scattered(rng, 30, "sphere")
    expected = oracle_posterior(same, observations, targets, trend=True)
    engine = IterativeEngine()
    found = PointsPosterior(engine.points_system, Covariance(prior), observations, trend=True).moments(targets)
    assert_allclose(found.mean, expected.mean, atol=5e-3)
    assert_allclose(found.variance, expected.variance, rtol=0.01)


def test_the_number_of_threads_changes_nothing(observations, targets):
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            found.append(IterativeEngine().condition(Covariance(PRIOR), observations).moments(targets))
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(found[0].mean, found[1].mean)
    np.testing.assert_array_equal(found[0].variance, found[1].variance)


def test_a_stalled_solve_says_what_to_type(observations, targets):
    engine = IterativeEngine(Iterative(max_steps=1, num_neighbours=1, tolerance=1e-9))
    with pytest.raises(
        NumericalError, match=r"stopped after \d+ steps .*Type .*Iterative\(num_neighbours=2\).*'exact'"
    ):
        engine.condition(Covariance(anova("matern32", noise=1e-6)), observations).moments(targets)


def test_too_many_joint_targets_are_refused_with_what_takes_them(posterior):
    many = scattered(np.random.default_rng(0), 5001, "sphere")
    with pytest.raises(TooManyPointsError, match=r"joint covariance of 5001 targets .*`model.sample\(n, target=...\)`"):
        posterior.covariance(many)


def test_tracks_and_many_places_are_scattered_and_lattices_are_not():
    rng = np.random.default_rng(0)
    track = Points.scattered(rng.random(50), rng.random((50, 2)))
    stations = Points.grid(np.arange(30.0), rng.random((20, 2)))
    many = Points.scattered(np.zeros(4001), rng.random((4001, 2)))
    x, y = np.meshgrid(np.arange(80.0), np.arange(60.0))
    regular = Points.grid(np.zeros(1), np.column_stack([x.ravel(), y.ravel()]), (60, 80))
    broken = Points.grid(np.arange(400.0), rng.random((3, 2))).take_in_order(rng.choice(1200, 300, replace=False))
    found = [are_scattered(points, "plane") for points in (track, stations, many, regular, broken)]
    assert found == [True, False, True, False, False]


def test_repeated_measurements_count_as_one(targets):
    rng = np.random.default_rng(3)
    points = scattered(rng, 200, "sphere")
    twice = points.take_in_order(np.r_[np.arange(200), np.arange(50)])
    observations = Observations(twice, rng.standard_normal(250), np.full(250, 0.3))
    expected = oracle_posterior(PRIOR, observations, targets, trend=False)
    found = PointsPosterior(IterativeEngine().points_system, Covariance(PRIOR), observations, trend=False)
    assert_allclose(found.moments(targets).mean, expected.mean, atol=5e-3)
