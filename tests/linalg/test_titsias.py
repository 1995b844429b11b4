"""The closed-form sparse posterior and its bound, held against the oracle's plain formulas (Titsias 2009)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from xgpfill.covariance.matrices import Covariance
from xgpfill.engines.base import WhitenedPosterior
from xgpfill.vecchia.inducing import TitsiasWhitener, collapsed_bound

from tests import reference as ref
from tests.problems import anova, observed, oracle_covariance, scattered


@pytest.fixture(params=[False, True], ids=["one noise", "unequal noise"])
def problem(request):
    rng = np.random.default_rng(1)
    prior = anova("matern12")
    observations = observed(rng, prior, scattered(rng, 40, "sphere"), unequal=request.param)
    inducing = observations.points.take(np.sort(rng.choice(np.arange(40), 12, replace=False)))
    return prior, observations, inducing, scattered(rng, 15, "sphere")


def blocks(prior, observations, inducing):
    points = observations.points
    return (
        oracle_covariance(prior, inducing, inducing),
        oracle_covariance(prior, inducing, points),
        np.diag(oracle_covariance(prior, points, points)),
    )


def test_the_moments_equal_the_sparse_posterior_of_the_oracle(problem):
    prior, observations, inducing, targets = problem
    k_uu, k_uf, _ = blocks(prior, observations, inducing)
    expected = ref.sparse_posterior(
        k_uu,
        k_uf,
        oracle_covariance(prior, inducing, targets),
        np.diag(oracle_covariance(prior, targets, targets)),
        observations.values,
        observations.noise,
    )
    law = Covariance(prior)
    posterior = WhitenedPosterior(law, TitsiasWhitener(law, observations, inducing), observations, trend=False)
    found = posterior.moments(targets)
    assert_allclose(found.mean, expected.mean, rtol=1e-9, atol=1e-11)
    assert_allclose(found.variance, expected.variance, rtol=1e-9)


def test_gram_is_the_inverse_of_the_approximate_covariance(problem):
    prior, observations, inducing, _ = problem
    k_uu, k_uf, _ = blocks(prior, observations, inducing)
    A = k_uf.T @ np.linalg.solve(k_uu, k_uf) + np.diag(observations.noise)
    left, right = np.random.default_rng(2).standard_normal((2, 40, 3))
    found = TitsiasWhitener(Covariance(prior), observations, inducing).gram(
        torch.as_tensor(left), torch.as_tensor(right)
    )
    assert_allclose(found, left.T @ np.linalg.solve(A, right), rtol=1e-9, atol=1e-11)


def test_observed_and_targets_together_give_the_mean_of_every_column(problem):
    prior, observations, inducing, targets = problem
    law = Covariance(prior)
    whitener = TitsiasWhitener(law, observations, inducing)
    columns = np.random.default_rng(3).standard_normal((40, 4))
    a, gained, lost = whitener.targets(law.matrix(inducing, targets))
    assert_allclose(gained, a)
    k_uu, k_uf, _ = blocks(prior, observations, inducing)
    k_us = oracle_covariance(prior, inducing, targets)
    A = k_uf.T @ np.linalg.solve(k_uu, k_uf) + np.diag(observations.noise)
    expected = k_us.T @ np.linalg.solve(k_uu, k_uf) @ np.linalg.solve(A, columns)
    assert_allclose(a.T @ whitener.observed(torch.as_tensor(columns)), expected, rtol=1e-8, atol=1e-10)
    assert_allclose(lost.square().sum(0), np.sum(k_us * np.linalg.solve(k_uu, k_us), axis=0), rtol=1e-9)


def test_the_bound_equals_that_of_the_oracle(problem):
    prior, observations, inducing, _ = problem
    expected = ref.collapsed_bound(*blocks(prior, observations, inducing), observations.values, observations.noise)
    assert collapsed_bound(Covariance(prior), observations, inducing) == pytest.approx(expected, rel=1e-9)


def test_the_bound_with_every_point_inducing_is_the_log_marginal_likelihood():
    rng = np.random.default_rng(4)
    prior = anova("matern12")
    points = scattered(rng, 30, "sphere")
    points = points.take(np.arange(15, 30))
    observations = observed(rng, prior, points, unequal=True)
    K = oracle_covariance(prior, points, points)
    expected = ref.log_marginal_likelihood(K, observations.values, observations.noise)
    assert collapsed_bound(Covariance(prior), observations, points) == pytest.approx(expected, rel=1e-8)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kernel=st.sampled_from(["matern12", "matern32", "rbf"]))
def test_the_bound_is_a_bound_and_grows_with_every_inducing_point(seed, kernel):
    rng = np.random.default_rng(seed)
    prior = anova(kernel)
    observations = observed(rng, prior, scattered(rng, 24, "sphere"), unequal=True)
    order = rng.permutation(24)
    law = Covariance(prior)
    bounds = [collapsed_bound(law, observations, observations.points.take(order[:m])) for m in (2, 6, 12)]
    K = oracle_covariance(prior, observations.points, observations.points)
    bounds.append(ref.log_marginal_likelihood(K, observations.values, observations.noise))
    assert (np.diff(bounds) > -1e-6).all()
