"""Loops on problems that lie side by side give what dense linear algebra gives of each."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.sparse import csr_array
from xgpfill.vecchia.loops import LANES, PIVOT, factor_lanes, solve_lanes, transposed


def problems(m, seed=0):
    """Covariance matrices (lanes, m, m) and vectors (lanes, m)."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(size=(LANES, m, 2))
    distance = np.linalg.norm(places[:, :, None] - places[:, None], axis=-1)
    return np.exp(-distance / 0.3) + 0.01 * np.eye(m), rng.standard_normal((LANES, m))


def side_by_side(array):
    """Lanes innermost."""
    return np.ascontiguousarray(np.moveaxis(array, 0, -1))


@pytest.mark.parametrize("m", [2, 7, 36])
def test_factors_and_solutions_side_by_side_are_those_of_each(m):
    K, z = problems(m)
    factors, solved, explained = side_by_side(K), side_by_side(z), np.empty(LANES)
    factor_lanes(factors)
    solve_lanes(factors, solved, explained)
    L, expected = np.linalg.cholesky(K), np.linalg.solve(K, z[..., None])[..., 0]
    diagonal = np.arange(m)
    assert_allclose(1.0 / factors[diagonal, diagonal].T, L[:, diagonal, diagonal], rtol=1e-12)
    for lane in range(LANES):
        assert_allclose(np.tril(factors[..., lane], -1), np.tril(L[lane], -1), atol=1e-12)
    assert_allclose(solved.T, expected, rtol=1e-9)
    assert_allclose(explained, np.sum(z * expected, axis=1), rtol=1e-9)


def test_a_matrix_that_rounding_leaves_singular_is_factored_all_the_same():
    K = side_by_side(np.ones((LANES, 3, 3)))
    factor_lanes(K)
    assert_allclose(K[1, 1], PIVOT**-0.5)
    assert np.isfinite(K[np.tril_indices(3)]).all()


def test_rows_of_equal_length_are_transposed_without_their_zeros():
    rng = np.random.default_rng(1)
    n, width = 50, 6
    columns = np.stack([rng.choice(n, width, replace=False) for _ in range(n)]).astype(np.int32)
    weights = rng.standard_normal((n, width))
    weights[rng.uniform(size=weights.shape) < 0.3] = 0.0
    matrix = csr_array((weights.ravel(), columns.ravel(), np.arange(n + 1) * width), shape=(n, n))
    counts = np.bincount(columns[weights != 0], minlength=n)
    starts = np.r_[0, np.cumsum(counts)]
    rows, values = np.empty(starts[-1], np.int32), np.empty(starts[-1])
    transposed(columns, weights, starts, rows, values)
    assert_allclose(csr_array((values, rows, starts), shape=(n, n)).toarray(), matrix.toarray().T)
    assert all((np.diff(rows[a:b]) > 0).all() for a, b in pairwise(starts))
