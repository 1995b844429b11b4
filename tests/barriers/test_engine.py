"""The engine of neighbours with land: the oracle of each basin, of joined observations, and nothing across land."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from xgpfill.engines.settings import Vecchia
from xgpfill.engines.vecchia import VecchiaEngine
from xgpfill.grid.points import Observations, Points
from xgpfill.kernels import spec
from xgpfill.kernels.covariance import Covariance

from tests import reference as ref
from tests.barriers.seas import KM, afloat, barrier
from tests.problems import observed, oracle_covariance, oracle_posterior, product

PRIOR = product(spec.Matern(1.5, 6.0), spec.Matern(1.5, 4 * KM))
APART = barrier("...#.... ...#.... ...#.... ...#....")
STRIP = barrier("........ ...#.... ...#.... ...#.... ...#.... ...#....")
ALL = Vecchia(num_neighbours=1000)


def drawn(land, n, seed=0):
    rng = np.random.default_rng(seed)
    points = afloat(rng, land, n)
    return Observations(points, rng.standard_normal(n) + 0.5, rng.uniform(0.02, 0.2, n))


def conditioned(land, observations, settings=ALL, **how):
    return VecchiaEngine(settings, land).condition(Covariance(PRIOR), observations, **how)


def of_basin(land, points):
    return land.basin[land.cells_at(points.space)]


@pytest.mark.parametrize("trend", [False, True])
def test_with_all_as_neighbours_one_basin_is_that_of_the_oracle(trend):
    land = barrier(".....# .....# .....#")
    observations, targets = drawn(land, 60), afloat(np.random.default_rng(1), land, 25)
    expected = oracle_posterior(PRIOR, observations, targets, trend=trend, full=True)
    posterior = conditioned(land, observations, trend=trend)
    found = posterior.moments(targets)
    assert_allclose(found.mean, expected.mean, rtol=1e-8, atol=1e-10)
    assert_allclose(found.variance, expected.variance, rtol=1e-8)
    assert_allclose(posterior.covariance(targets), expected.covariance, atol=1e-9)
    if trend:
        assert_allclose(posterior.trend, (expected.beta[0], expected.beta_covariance[0, 0] ** 0.5), rtol=1e-8)


@pytest.mark.parametrize("trend", [False, True])
def test_two_basins_apart_are_two_oracles(trend):
    observations, targets = drawn(APART, 90), afloat(np.random.default_rng(1), APART, 40)
    posterior = conditioned(APART, observations, trend=trend)
    found, joint = posterior.moments(targets), posterior.covariance(targets)
    weights = np.random.default_rng(2).uniform(0, 1, (40, 2))
    average = posterior.averages(targets, weights)
    means, variances = np.zeros(2), np.zeros(2)
    for basin in (1, 2):
        seen, some = of_basin(APART, observations.points) == basin, np.flatnonzero(of_basin(APART, targets) == basin)
        own = observations.take(np.flatnonzero(seen))
        expected = oracle_posterior(PRIOR, own, targets.take_in_order(some), trend=trend, full=True)
        assert_allclose(found.mean[some], expected.mean, rtol=1e-8, atol=1e-10)
        assert_allclose(found.variance[some], expected.variance, rtol=1e-8)
        assert_allclose(joint[np.ix_(some, some)], expected.covariance, atol=1e-9)
        assert_allclose(joint[np.ix_(some, np.setdiff1d(np.arange(40), some))], 0.0, atol=1e-12)
        means += weights[some].T @ expected.mean
        variances += np.einsum("ik,ij,jk->k", weights[some], expected.covariance, weights[some])
    assert_allclose(average.mean, means, rtol=1e-8)
    assert_allclose(average.variance, variances, rtol=1e-8)


def test_a_target_is_told_by_the_observations_that_it_is_joined_with():
    observations, targets = drawn(STRIP, 80), afloat(np.random.default_rng(1), STRIP, 30)
    found = conditioned(STRIP, observations, trend=False).moments(targets)
    cells, own = (STRIP.cells_at(points.space) for points in (observations.points, targets))
    barred = 0
    for i in range(30):
        seen = np.flatnonzero(STRIP.joins(own[i : i + 1], cells[None])[0])
        barred += seen.size < 80
        one, some = targets.take_in_order(np.array([i])), observations.points.take_in_order(seen)
        expected = ref.posterior(
            oracle_covariance(PRIOR, some, some), oracle_covariance(PRIOR, some, one),
            oracle_covariance(PRIOR, one, one), observations.values[seen], observations.noise[seen],
        )  # fmt: skip
        assert_allclose(found.mean[i], expected.mean[0], rtol=1e-8, atol=1e-10)
        assert_allclose(found.variance[i], expected.variance[0], rtol=1e-8)
    assert barred > 10


def test_a_joint_law_is_positive_definite_and_its_draws_have_it():
    observations, targets = drawn(STRIP, 80), afloat(np.random.default_rng(1), STRIP, 30)
    posterior = conditioned(STRIP, observations)
    joint = posterior.covariance(targets)
    assert np.linalg.eigvalsh(joint).min() > 0
    samples = posterior.sample(targets, 4000, np.random.default_rng(3))
    assert np.abs(np.cov(samples.T) - joint).max() < 0.1 * joint.diagonal().max()


@pytest.mark.parametrize("trend", [False, True])
def test_nothing_across_land_changes_anything(trend):
    """With few neighbours too, which trees find among many."""
    observations, targets = drawn(APART, 3000), afloat(np.random.default_rng(1), APART, 60)
    west, own = (of_basin(APART, points) == 1 for points in (observations.points, targets))
    few = Vecchia(num_neighbours=20)
    found = conditioned(APART, observations, few, trend=trend).moments(targets)
    values = np.where(west, observations.values, 100.0 + 7.0 * observations.values)
    other = conditioned(APART, observations.with_values(values), few, trend=trend).moments(targets)
    joint = conditioned(APART, observations, few, trend=trend).covariance(targets)
    assert_allclose(other.variance, found.variance, rtol=1e-7)
    assert_allclose(other.mean[own], found.mean[own], rtol=1e-3, atol=1e-3)
    assert (np.abs(other.mean[~own] - found.mean[~own]) > 10).all()
    assert_allclose(joint[np.ix_(own, ~own)], 0.0, atol=1e-12)


def test_few_neighbours_of_many_come_near_the_oracle_of_each_basin():
    rng = np.random.default_rng(1)
    observations, targets = observed(rng, PRIOR, afloat(rng, APART, 900)), afloat(rng, APART, 60)
    found, off = conditioned(APART, observations, Vecchia(num_neighbours=60)).moments(targets), []
    for basin in (1, 2):
        own = observations.take(np.flatnonzero(of_basin(APART, observations.points) == basin))
        some = np.flatnonzero(of_basin(APART, targets) == basin)
        expected = oracle_posterior(PRIOR, own, targets.take_in_order(some), trend=True)
        assert_allclose(np.sqrt(found.variance[some] / expected.variance), 1.0, atol=0.1)
        off.append((found.mean[some] - expected.mean) ** 2 / expected.variance)
    assert np.sqrt(np.mean(np.concatenate(off))) < 0.3


def test_a_basin_without_observations_is_as_unknown_as_the_prior_and_its_mean():
    land = barrier("...#.. ...#.. ######  ......")
    rng = np.random.default_rng(0)
    points = afloat(rng, land, 120)
    seen = np.flatnonzero(of_basin(land, points) != 3)
    observations = Observations(points.take_in_order(seen), rng.standard_normal(seen.size), np.full(seen.size, 0.1))
    target = Points.scattered(np.array([2.0]), np.array([[2 * KM, 3 * KM]]))
    posterior = conditioned(land, observations)
    found, (mean, error) = posterior.moments(target), posterior.trend
    assert_allclose(found.mean, mean, rtol=1e-10)
    assert_allclose(found.variance, 1.0 + error**2, rtol=1e-10)
    shares, parts = [], []
    for basin in (1, 2):
        own = observations.take(np.flatnonzero(of_basin(land, observations.points) == basin))
        parts.append(oracle_posterior(PRIOR, own, target, trend=True).beta[0])
        shares.append(len(own) / len(observations))
    assert mean == pytest.approx(np.dot(shares, parts), rel=1e-8)


def test_what_is_told_does_not_depend_on_the_order_of_observations():
    observations, targets = drawn(STRIP, 700), afloat(np.random.default_rng(1), STRIP, 40)
    few, order = Vecchia(num_neighbours=20), np.random.default_rng(5).permutation(700)
    shuffled = replace(
        observations, points=observations.points.take_in_order(order), values=observations.values[order],
        noise=observations.noise[order],
    )  # fmt: skip
    found, other = (conditioned(STRIP, each, few).moments(targets) for each in (observations, shuffled))
    assert_allclose(other.mean, found.mean, rtol=1e-8, atol=1e-9)
    assert_allclose(other.variance, found.variance, rtol=1e-8)
