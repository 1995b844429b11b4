"""The Vecchia engine with few neighbours: near the oracle, coherent, and the same whatever the order or the threads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from xgpfill.engines.exact import ExactEngine
from xgpfill.engines.settings import Vecchia
from xgpfill.engines.vecchia import VecchiaEngine
from xgpfill.errors import MethodError, TooManyPointsError
from xgpfill.grid.points import Observations, Points
from xgpfill.kernels import spec
from xgpfill.kernels.covariance import Covariance
from xgpfill.kernels.outside import FromFunction
from xgpfill.kernels.prior import Prior, Term
from xgpfill.linalg.shared import Shared

from tests.problems import TIME_KERNELS, anova, observed, oracle_posterior, product, raised, scattered

PRIOR = anova("matern32", noise=0.05)
FEW = Vecchia(num_neighbours=60)


@pytest.fixture(scope="module")
def observations():
    return raised(PRIOR)


@pytest.fixture(scope="module")
def targets():
    return scattered(np.random.default_rng(5), 120, "sphere")


@pytest.fixture(scope="module")
def expected(observations, targets):
    return oracle_posterior(PRIOR, observations, targets, trend=True, full=True)


@pytest.fixture(scope="module")
def posterior(observations):
    return VecchiaEngine(FEW).condition(Covariance(PRIOR), observations)


def test_few_neighbours_come_near_the_oracle(posterior, targets, expected):
    found = posterior.moments(targets)
    sd = np.sqrt(expected.variance)
    assert np.sqrt(np.mean(((found.mean - expected.mean) / sd) ** 2)) < 0.3
    assert_allclose(np.sqrt(found.variance) / sd, 1.0, atol=0.15)
    assert np.median(np.sqrt(found.variance) / sd) < 1.03
    estimate, error = posterior.trend
    assert abs(estimate - expected.beta[0]) < 0.3 * error
    assert error == pytest.approx(expected.beta_covariance[0, 0] ** 0.5, rel=0.1)


def test_a_shuffle_of_the_observations_moves_hardly_anything(observations, posterior, targets):
    order = np.random.default_rng(9).permutation(len(observations))
    points = observations.points.take_in_order(order)
    other = Observations(points, observations.values[order], observations.noise[order])
    shuffled = VecchiaEngine(FEW).condition(Covariance(PRIOR), other).moments(targets)
    found = posterior.moments(targets)
    assert_allclose(np.sqrt(shuffled.variance), np.sqrt(found.variance), rtol=0.02)
    assert_allclose(shuffled.mean, found.mean, atol=0.02)


@pytest.mark.parametrize("trend", [False, True])
def test_what_reaches_far_is_heard_through_inducing_points(trend):
    """Smooth fields seen densely with noise: neighbours alone know little of them."""
    prior, rng = product(spec.Constant(), spec.RBF(400.0), "plane", 0.1), np.random.default_rng(0)
    points = Points.scattered(np.zeros(900), rng.uniform(0, 1500, (900, 2)))
    targets = Points.scattered(np.zeros(80), rng.uniform(0, 1500, (80, 2)))
    observations = observed(rng, prior, points)
    expected = oracle_posterior(prior, observations, targets, trend=trend)
    off = []
    for settings in (Vecchia(num_neighbours=30), Vecchia(num_neighbours=30, num_inducing=0)):
        found = VecchiaEngine(settings).condition(Covariance(prior), observations, trend=trend).moments(targets)
        off.append(np.sqrt(np.mean((found.mean - expected.mean) ** 2 / expected.variance)))
        if settings.num_inducing:
            assert_allclose(found.variance, expected.variance, rtol=1e-3)
    assert off[0] < 0.01 < 0.3 < off[1]


def test_a_mean_of_dense_observations_is_as_sure_as_all_of_them_make_it():
    """Regressions of each on few neighbours would make it surer, and another one."""
    prior, rng = product(spec.Constant(), spec.Matern(1.5, 60.0), "plane", 0.01), np.random.default_rng(0)
    points = Points.scattered(np.zeros(2500), rng.uniform(0, 150, (2500, 2)))
    observations = observed(rng, prior, points)
    alone = VecchiaEngine(Vecchia(num_inducing=0)).condition(Covariance(prior), observations)
    expected = ExactEngine().condition(Covariance(prior), observations)
    (found, error), (estimate, sd) = alone.trend, expected.trend
    assert error == pytest.approx(sd, rel=0.02)
    assert abs(found - estimate) < 0.2 * sd


def test_where_each_would_stand_for_too_many_they_are_not_of_all_terms(observations, monkeypatch):
    few = VecchiaEngine(Vecchia(num_neighbours=20, num_inducing=30)).condition(Covariance(PRIOR), observations)
    assert few._shared.others is not None  # 700 observations, 600 of which 30 points could stand for: slow terms alone
    more = VecchiaEngine(Vecchia(num_neighbours=20, num_inducing=40)).condition(Covariance(PRIOR), observations)
    assert more._shared.count == 40


GAP = Prior(
    (
        Term("slow", spec.Constant(), spec.Matern(1.5, 300.0), 1.0),
        Term("fast", spec.Constant(), spec.Matern(1.5, 5.0), 0.2),
    ),
    noise=0.02,
    geometry="plane",
)


@pytest.fixture(scope="module")
def around_a_gap():
    """Dense observations around a gap, where the mean is that of the slow term, and targets in it and beside it."""
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 120, (2600, 2))
    places = places[np.hypot(*(places - 60).T) > 30][:1800]
    observations = observed(rng, GAP, Points.scattered(np.zeros(len(places)), places))
    targets = Points.scattered(
        np.zeros(80), np.concatenate([rng.uniform(40, 80, (50, 2)), rng.uniform(0, 120, (30, 2))])
    )
    return observations, targets, oracle_posterior(GAP, observations, targets, trend=True, full=True)


def test_slow_terms_are_heard_through_inducing_points_of_their_own(around_a_gap):
    """Neighbours cannot average out a fast term that hides the slow one."""
    observations, targets, expected = around_a_gap
    off, sd = [], np.sqrt(expected.variance)
    for num_inducing in (70, 0):
        settings = Vecchia(num_neighbours=24, num_inducing=num_inducing)
        posterior = VecchiaEngine(settings).condition(Covariance(GAP), observations)
        found = posterior.moments(targets)
        off.append(np.sqrt(np.mean(((found.mean - expected.mean) / sd) ** 2)))
        if num_inducing:
            assert [term.name for term in posterior._shared.law.prior.terms] == ["slow"]
            assert_allclose(np.sqrt(found.variance) / sd, 1.0, atol=0.1)
            (estimate, error), unsure = posterior.trend, expected.beta_covariance[0, 0] ** 0.5
            assert error == pytest.approx(unsure, rel=0.05)
            assert abs(estimate - expected.beta[0]) < 0.05 * unsure
            joint = posterior.covariance(targets)
            assert np.abs((joint - expected.covariance) / np.outer(sd, sd)).max() < 0.2
            drawn = posterior.sample(targets, 2000, np.random.default_rng(0))
            assert np.sqrt(np.mean(((drawn.mean(0) - expected.mean) / sd) ** 2)) < 0.1
    assert off[0] < 0.03 < 0.1 < off[1]


def test_of_slow_terms_as_many_are_taken_as_leave_little_beside_the_noise(around_a_gap):
    points = around_a_gap[0].points
    assert Shared.of_slow(GAP, points, 200, 0.02).others.terms[0].name == "fast"
    assert Shared.of_slow(GAP, points, 200, 1e-6).count == 0
    assert Shared.of_slow(GAP, points, 0, 0.02).count == 0


def test_a_target_does_not_depend_on_the_others(posterior, targets, monkeypatch):
    found = posterior.moments(targets)
    some = posterior.moments(targets.take(np.arange(40, 50)))
    assert_allclose(some.mean, found.mean[40:50], rtol=1e-9)
    monkeypatch.setattr("xgpfill.engines.vecchia.TARGETS_AT_ONCE", 17)
    assert_allclose(posterior.moments(targets).variance, found.variance, rtol=1e-9)


def test_draws_of_the_data_have_means_of_their_own(observations, posterior, targets):
    columns = np.column_stack([observations.values, 2.0 * observations.values])
    both = VecchiaEngine(FEW).condition(Covariance(PRIOR), observations.with_values(columns)).means(targets)
    assert_allclose(both[:, 0], posterior.moments(targets).mean, rtol=1e-9, atol=1e-12)
    assert_allclose(both[:, 1], 2.0 * both[:, 0], rtol=1e-6, atol=1e-9)


def test_joint_laws_agree_with_each_other_and_come_near_the_oracle(posterior, targets, expected):
    joint, weights = posterior.covariance(targets), np.full((len(targets), 1), 1.0 / len(targets))
    sd = np.sqrt(np.diag(expected.covariance))
    assert np.abs((joint - expected.covariance) / np.outer(sd, sd)).max() < 0.3
    average = posterior.averages(targets, weights)
    assert_allclose(average.variance, weights.T @ joint @ weights[:, 0], rtol=1e-9)
    assert average.variance[0] == pytest.approx(float(weights[:, 0] @ expected.covariance @ weights[:, 0]), rel=0.2)
    drawn = posterior.sample(targets, 3000, np.random.default_rng(1))
    assert_allclose(drawn.std(0) / np.sqrt(np.diag(joint)), 1.0, atol=0.08)
    assert drawn.mean(1).std() == pytest.approx(average.variance[0] ** 0.5, rel=0.08)
    assert np.sqrt(np.mean(((drawn.mean(0) - expected.mean) / sd) ** 2)) < 0.3


def test_the_number_of_threads_changes_nothing(observations, targets):
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            posterior = VecchiaEngine(FEW).condition(Covariance(PRIOR), observations)
            found.append((posterior.moments(targets).mean, posterior.sample(targets, 2, np.random.default_rng(0))))
    finally:
        torch.set_num_threads(threads)
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_observations_without_noise_are_interpolated(observations):
    exact = replace(observations, noise=np.full(len(observations), 1e-8))
    own = exact.points.take(np.arange(350, 700))  # each once
    once = Observations(own, observations.values[350:], exact.noise[350:])
    found = VecchiaEngine(FEW).condition(Covariance(PRIOR), once).moments(own)
    assert_allclose(found.mean, once.values, atol=1e-4)
    assert (found.variance > 0).all() and (found.variance < 1e-6).all()


def test_too_many_joint_targets_are_refused_with_what_takes_them(posterior):
    many = scattered(np.random.default_rng(0), 5001, "sphere")
    with pytest.raises(TooManyPointsError, match=r"joint covariance of 5001 targets .*`model.sample\(n, target=...\)`"):
        posterior.covariance(many)


def test_a_kernel_that_is_brought_is_refused(observations):
    brought = product(TIME_KERNELS["matern32"], FromFunction(lambda a, b: np.exp(-abs(a - b.T))))
    with pytest.raises(MethodError, match="method='vecchia' evaluates kernels pair by pair"):
        VecchiaEngine(FEW).condition(Covariance(brought), observations)
