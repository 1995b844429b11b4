"""What variables share, learned from blocks: the likelihood of the oracle, its slopes, and what it finds."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from xgpfill.grid.directions import with_variables
from xgpfill.grid.points import Observations, Points
from xgpfill.kernels import spec
from xgpfill.kernels.prior import Prior, Term
from xgpfill.several.coupling import _Block, apart, coupled, tell_of_each_other

from tests import reference as ref

TIMES, PLACES = np.arange(6.0), 100.0 * np.stack(np.indices((4, 4)), axis=-1).reshape(-1, 2)
OWN = Prior((Term("product", spec.Matern(1.5, 3.0), spec.Matern(1.5, 200.0), 1.0),), noise=0.05, geometry="plane")
LOADINGS = np.array([[1.0, -0.8], [0.0, 1.0]])


def block(loadings, *, seed=0):
    """Observations of two variables at all places and times, drawn with these loadings; and their covariance."""
    places = with_variables(PLACES[:, None], 2).reshape(2 * len(PLACES), -1)
    points = Points.grid(TIMES, places)
    one = np.kron(ref.matern(ref.distance(TIMES, TIMES), 3.0, 1.5), np.ones((2 * len(PLACES),) * 2))
    d = ref.matern(ref.distance(PLACES, PLACES), 200.0, 1.5)
    K = one * np.kron(np.ones((TIMES.size,) * 2), np.kron(loadings.T @ loadings, d))
    y = np.linalg.cholesky(K + 0.05 * np.eye(len(K))) @ np.random.default_rng(seed).standard_normal(len(K))
    return Observations(points, y, np.full(len(K), 0.05)), K


def test_the_likelihood_of_a_block_is_that_of_the_dense_oracle_and_its_slopes_are_differences():
    observations, K = block(LOADINGS)
    own = _Block.of(observations, apart({"a": OWN, "b": OWN}))
    value, in_variance, in_loading = own.half_deviance(np.ones(2), LOADINGS)
    expected = ref.log_marginal_likelihood(K, observations.values, 0.05)
    assert_allclose(-value - 0.5 * len(K) * np.log(2 * np.pi), expected, rtol=1e-10)
    for j in range(2):
        step = np.where(np.arange(2) == j, 1e-5, 0.0)
        up, down = (own.half_deviance(np.exp(sign * step), LOADINGS)[0] for sign in (1, -1))
        assert_allclose(in_variance[j], (up - down) / 2e-5, rtol=1e-5)
        for b in range(2):
            move = np.zeros((2, 2))
            move[j, b] = 1e-5
            up, down = (own.half_deviance(np.ones(2), LOADINGS + sign * move)[0] for sign in (1, -1))
            assert_allclose(in_loading[j, b], (up - down) / 2e-5, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_correlation_of_variables_is_found(seed):
    prior = coupled(apart({"a": OWN, "b": OWN}), [block(LOADINGS, seed=seed)[0]])
    w = np.array([term.space.loadings for term in prior.terms])
    B = (w.T * [term.variance for term in prior.terms]) @ w
    assert abs(B[0, 1] / np.sqrt(B[0, 0] * B[1, 1]) + 0.8 / np.hypot(1.0, 0.8)) < 0.2
    assert [term.name for term in prior.terms] == ["a_product", "b_product"]


def test_without_hidden_observations_akaikes_criterion_tells_whether_variables_are_coupled():
    before = apart({"a": OWN, "b": OWN})
    for loadings, expected in ((LOADINGS, True), (np.eye(2), False)):
        blocks = [block(loadings, seed=5)[0]]
        assert tell_of_each_other(before, coupled(before, blocks), None, blocks) is expected


def test_numbers_that_have_no_factor_end_no_search():
    observations, _ = block(LOADINGS)
    observations.noise[:] = 0.0
    own = _Block.of(observations, apart({"a": OWN, "b": OWN}))
    assert own.half_deviance(np.ones(2), np.array([[1.0, 1.0], [1.0, 1.0]])) is None
