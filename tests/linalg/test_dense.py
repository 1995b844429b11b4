"""Dense factors: exact where they exist, the least jitter where they nearly do, plain words where they do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from xgpfill.covariance.dense import cholesky, solve_lower
from xgpfill.errors import NumericalError

from tests.problems import SPACE_KERNELS, oracle, places


def smooth(n, dtype=torch.float64):
    """A covariance that is singular to rounding: many places within a tenth of the lengthscale of an RBF."""
    x = places(np.random.default_rng(0), n, "plane") / 50
    return torch.as_tensor(oracle(SPACE_KERNELS["rbf"], x, x)).to(dtype)


def test_a_positive_definite_matrix_is_factored_as_it_is():
    x = places(np.random.default_rng(1), 20, "plane")
    K = torch.as_tensor(oracle(SPACE_KERNELS["matern12"], x, x))
    before = K.clone()
    assert_allclose(cholesky(K), np.linalg.cholesky(K.numpy()), rtol=1e-12, atol=1e-15)
    assert torch.equal(K, before)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-8), (torch.float32, 1e-5)])
def test_a_singular_matrix_gets_the_least_jitter_that_works(dtype, tolerance):
    K = smooth(60, dtype)
    assert torch.linalg.cholesky_ex(K).info
    before = K.clone()
    L = cholesky(K)
    assert L.dtype == dtype
    assert_allclose(L @ L.T, K, atol=tolerance)
    assert torch.equal(K, before)


def test_jitter_is_relative_to_the_diagonal():
    K = smooth(60)
    assert_allclose(cholesky(1e12 * K), 1e6 * cholesky(K), rtol=1e-3, atol=1.0)


def test_a_matrix_of_rank_zero_or_one_is_factored():
    ones = torch.ones(5, 5, dtype=torch.float64)
    L = cholesky(ones)
    assert_allclose(L @ L.T, ones, atol=1e-10)
    assert cholesky(torch.zeros(0, 0)).shape == (0, 0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", [(2, 2), (3, 1)], ids=["on the diagonal", "off the diagonal"])
def test_nan_or_infinity_in_the_matrix_points_at_the_hyperparameters(bad, where):
    K = torch.eye(5, dtype=torch.float64)
    K[where] = K[where[::-1]] = bad
    with pytest.raises(NumericalError, match=r"The inducing matrix holds NaN or infinite.*model\.hyperparameters"):
        cholesky(K, what="inducing")


def test_an_indefinite_matrix_is_refused_with_three_cures():
    K = torch.diag(torch.tensor([1.0, 1.0, -0.5], dtype=torch.float64))
    with pytest.raises(
        NumericalError, match=r"prior matrix \(3 × 3\) is not positive definite.*float64.*noise.*matern32"
    ):
        cholesky(K, what="prior")


def test_solve_lower_solves_vectors_and_matrices():
    L = torch.tensor([[2.0, 0.0], [1.0, 4.0]], dtype=torch.float64)
    right = torch.tensor([2.0, 9.0], dtype=torch.float64)
    assert_allclose(solve_lower(L, right), [1.0, 2.0])
    assert_allclose(solve_lower(L, torch.stack([right, 2 * right], dim=1)), [[1.0, 2.0], [2.0, 4.0]])
    assert solve_lower(L[:0, :0], torch.zeros(0, 3, dtype=torch.float64)).shape == (0, 3)
