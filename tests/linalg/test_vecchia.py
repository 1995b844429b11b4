"""The Vecchia factor is the inverse when all predecessors are neighbours, and a good one when few are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from xgpfill.grid.points import Observations, Points
from xgpfill.kernels import spec
from xgpfill.kernels.prior import Prior, Term
from xgpfill.linalg.conjugate_gradients import conjugate_gradients
from xgpfill.linalg.vecchia import Neighbourhoods, VecchiaFactor, metric_scales, most_correlated, predecessors

from tests.problems import SPACE_KERNELS, TIME_KERNELS, anova, oracle_covariance, places, product, scattered

PRIORS = {
    "anova": anova("matern12"),
    "anova on a cylinder": anova("matern32", "cylinder"),
    "space plus time": Prior(
        (
            Term("space", spec.Constant(), SPACE_KERNELS["matern12"], 0.7),
            Term("time", TIME_KERNELS["matern52"], spec.Constant(), 1.1),
        ),
        geometry="sphere",
    ),
    "each frame on its own": product(spec.Independent(), SPACE_KERNELS["matern32"], "sphere"),
    "brownian": product(TIME_KERNELS["brownian"], SPACE_KERNELS["matern12"], "sphere", 2.0),
    "periodic": product(TIME_KERNELS["periodic"], SPACE_KERNELS["a product"], "plane"),
    "nothing but a constant": product(spec.Constant(), spec.Constant(), "plane"),
    "nothing correlated": product(spec.Independent(), spec.Independent(), "plane"),
}


def problem(prior, n=70, seed=0, noise=None):
    """Observations of which half share time or place with others; a noise variance for each."""
    rng = np.random.default_rng(seed)
    points = scattered(rng, n, prior.geometry)
    noise = rng.uniform(0.02, 0.5, n) if noise is None else np.full(n, noise)
    return Observations(points, rng.standard_normal(n), noise)


def clustered(n=400, seed=0):
    """Clouds: many observations close together."""
    rng = np.random.default_rng(seed)
    centres = places(rng, 12, "sphere")
    sites = centres[rng.integers(0, 12, n)] + rng.normal(0, 60.0, (n, 3))
    points = Points.scattered(np.round(rng.uniform(0, 10, n), 1), sites)
    return Observations(points, rng.standard_normal(n), np.full(n, 0.01))


def dense(factor, n):
    """UᵀU as a matrix."""
    return factor(torch.eye(n, dtype=torch.float64)).numpy()


def covariance_of(prior, observations):
    return oracle_covariance(prior, observations.points, observations.points) + np.diag(observations.noise)


@pytest.mark.parametrize("name", PRIORS)
def test_with_all_predecessors_it_is_the_inverse(name):
    observations = problem(PRIORS[name])
    factor = VecchiaFactor(PRIORS[name], observations, len(observations))
    A = covariance_of(PRIORS[name], observations)
    assert_allclose(dense(factor, len(observations)) @ A, np.eye(len(observations)), atol=1e-7)
    assert factor.floored == 0


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_observations_are_enough(n):
    observations = problem(anova(), n=n)
    found = dense(VecchiaFactor(anova(), observations, 10), n)
    assert_allclose(found, np.linalg.inv(covariance_of(anova(), observations)), rtol=1e-9)


@pytest.mark.parametrize("name", ["anova", "each frame on its own", "brownian", "periodic", "space plus time"])
@pytest.mark.parametrize("noise", [1e-14, 1e-6, None], ids=["no noise", "tiny", "per cell"])
def test_with_few_neighbours_it_stays_positive_definite(name, noise):
    """Also where places are repeated and there is next to no noise, so that the matrix is singular."""
    observations = problem(PRIORS[name], n=120, noise=noise)
    found = dense(VecchiaFactor(PRIORS[name], observations, 12), len(observations))
    assert np.isfinite(found).all()
    assert_allclose(found, found.T, rtol=1e-9, atol=1e-12 * np.abs(found).max())
    assert np.linalg.eigvalsh(found).min() > 0


def test_repeated_measurements_without_noise_are_floored_and_counted():
    once = problem(anova("matern12"), n=40)
    twice = Observations(once.points.take_in_order(np.r_[0:40, 0:40]), np.zeros(80), np.full(80, 1e-14))
    factor = VecchiaFactor(anova("matern12"), twice, 12)
    assert factor.floored >= 20
    assert np.linalg.eigvalsh(dense(factor, 80)).min() > 0


def steps_with(prior, observations, preconditioner):
    A = torch.as_tensor(covariance_of(prior, observations))
    b = torch.as_tensor(observations.values)[:, None]
    found = conjugate_gradients(A.__matmul__, b, preconditioner, torch.tensor([1e-3]), max_steps=2000)
    assert found.converged
    return found.steps


@pytest.mark.parametrize("family", ["matern12", "matern32"])
def test_few_neighbours_save_most_of_the_steps_and_more_save_more(family):
    prior, observations = anova(family), clustered()
    plain = steps_with(prior, observations, lambda x: x)
    few, more = (steps_with(prior, observations, VecchiaFactor(prior, observations, m)) for m in (8, 30))
    assert more <= few < plain / 3


def test_the_noise_of_each_observation_is_on_the_diagonal():
    prior = anova("matern32")
    observations = clustered(200)
    rng = np.random.default_rng(0)
    uneven = Observations(observations.points, observations.values, 10.0 ** rng.uniform(-3, 1, 200))
    right, wrong = (VecchiaFactor(prior, o, 15) for o in (uneven, observations))
    assert steps_with(prior, uneven, right) < steps_with(prior, uneven, wrong) / 3


def test_the_seed_settles_the_factor():
    observations = problem(anova(), n=100)
    one, same, other = (dense(VecchiaFactor(anova(), observations, 10, seed=s), 100) for s in (1, 1, 2))
    assert_allclose(one, same, rtol=0, atol=0)
    assert np.abs(one - other).max() > 1e-6


def test_products_in_float32_are_those_in_float64():
    observations = problem(anova(), n=100)
    x = torch.as_tensor(np.random.default_rng(0).standard_normal((100, 4)))
    fine, coarse = (VecchiaFactor(anova(), observations, 10, dtype=d) for d in (torch.float64, torch.float32))
    found = coarse(x.float())
    assert found.dtype == torch.float32
    assert_allclose(found, fine(x), atol=1e-4 * float(fine(x).abs().max()))


# Neighbours


@pytest.mark.parametrize("count", [3, 10])
@pytest.mark.parametrize("n", [1, 2, 7, 150])
def test_predecessors_precede(n, count):
    points = scattered(np.random.default_rng(0), n, "sphere")
    order = np.random.default_rng(1).permutation(n)
    found = predecessors(anova(), points, order, count)
    assert len(found) == n
    assert (found < np.arange(n)[:, None]).all()
    assert (found >= -1).all()
    for place in range(min(n, count)):  # the first have few predecessors: all of them
        assert set(found[place]) - {-1} == set(range(place))


def test_most_places_find_as_many_candidates_as_they_need():
    n, count = 400, 10
    points = scattered(np.random.default_rng(0), n, "sphere")
    found = predecessors(anova(), points, np.random.default_rng(1).permutation(n), count)
    enough = [len(set(row) - {-1}) >= min(count, place) for place, row in enumerate(found)]
    assert np.mean(enough) > 0.99


@pytest.mark.parametrize("name", ["anova", "brownian", "space plus time", "each frame on its own"])
def test_the_most_correlated_have_the_largest_prior_covariance(name):
    prior, n, count = PRIORS[name], 80, 9
    points = scattered(np.random.default_rng(0), n, prior.geometry)
    hood = Neighbourhoods.of(prior, points)
    every = torch.arange(n).expand(n, n).clone()
    every[:, ::7] = -1  # some are none
    every = torch.cat([every, every[:, :20]], 1)  # and some are there twice
    chosen, known = most_correlated(hood, torch.arange(n), every, count)
    assert known.all()
    K = np.abs(oracle_covariance(prior, points, points))
    allowed = np.setdiff1d(np.arange(n), np.arange(0, n, 7))
    for i in range(n):
        assert len(set(chosen[i].tolist())) == count
        assert set(chosen[i].tolist()) <= set(allowed)
        best = np.sort(K[i, allowed])[-count:]
        assert_allclose(np.sort(K[i, chosen[i]]), best, rtol=1e-12, atol=1e-15)


def test_candidates_that_are_too_few_are_marked():
    points = scattered(np.random.default_rng(0), 10, "sphere")
    candidates = torch.tensor([[-1, -1, -1, -1], [0, 0, -1, -1], [0, 1, 1, -1]])
    chosen, known = most_correlated(Neighbourhoods.of(anova(), points), torch.arange(3), candidates, 3)
    assert known.sum(1).tolist() == [0, 1, 2]
    assert chosen[1][known[1]].tolist() == [0]
    assert sorted(chosen[2][known[2]].tolist()) == [0, 1]


def test_candidates_of_trees_come_close_to_the_best_of_all():
    """With a static term the nearest in one scaled metric are not the most correlated; one tree per term finds them."""
    prior, n, count = anova("matern32"), 500, 15
    points = scattered(np.random.default_rng(3), n, "sphere")
    order = np.arange(n)
    candidates = torch.as_tensor(predecessors(prior, points, order, count))
    chosen, known = most_correlated(Neighbourhoods.of(prior, points), torch.arange(n), candidates, count)
    K = oracle_covariance(prior, points, points)
    share = []
    for i in range(200, n):
        best = np.sort(K[i, :i])[-count:].sum()
        share.append(K[i, chosen[i][known[i]].numpy()].sum() / best)
    assert np.mean(share) > 0.98


def test_each_term_that_decays_has_its_scales():
    points = scattered(np.random.default_rng(0), 50, "plane")
    extents = float(np.ptp(points.time)), float(np.ptp(points.space, axis=0).max())
    prior = Prior(
        (
            Term("static", spec.Constant(), spec.Matern(1.5, 300.0), 1.0),
            Term("common", spec.RBF(2.0), spec.Constant(), 1.0),
            Term("slow", spec.RBF(3.0), spec.Matern(1.5, 200.0), 1.0),
            Term("endless", spec.Periodic(2.0, 1.0), spec.RBF(1e9), 1.0),
            Term("offset", spec.Constant(), spec.Constant(), 1.0),
        ),
        geometry="plane",
    )
    found = metric_scales(prior, points)
    assert_allclose(found, [(np.inf, 300.0), (2.0, np.inf), (3.0, 200.0), extents])
    assert_allclose(metric_scales(product(spec.Constant(), spec.Constant()), points), [extents])
