"""Products of covariances of points: as the oracle says, for every kernel and in both precisions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from xgpfill.covariance.matrices import Covariance
from xgpfill.grid.points import Points
from xgpfill.kernels import spec
from xgpfill.operators import pairs
from xgpfill.operators.pairs import PairProducts

from tests.problems import SPACE_KERNELS, TIME_KERNELS, oracle_covariance, product, scattered

CASES = [
    *((kernel, spec.Matern(1.5, 700.0)) for kernel in TIME_KERNELS.values()),
    *((spec.Matern(0.5, 3.0), kernel) for kernel in SPACE_KERNELS.values()),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("in_time", "in_space"), CASES)
def test_products_equal_those_of_the_oracle(in_time, in_space, dtype, monkeypatch):
    monkeypatch.setattr(pairs, "ROWS", 17)
    monkeypatch.setattr(pairs, "COLUMNS", 23)
    rng, prior = np.random.default_rng(0), product(in_time, in_space, "plane", 0.1)
    own, others = scattered(rng, 90, "plane"), scattered(rng, 50, "plane")
    v, noise = rng.standard_normal((90, 3)), rng.random((90, 1))
    found = PairProducts(Covariance(prior), own, torch.as_tensor(noise)).to(dtype)
    right = torch.as_tensor(v).to(dtype)
    close = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 1e-10, "atol": 1e-10}
    assert_allclose(found(right), oracle_covariance(prior, own, own) @ v + noise * v, **close)
    assert_allclose(found.across(others, right), oracle_covariance(prior, others, own) @ v, **close)


def test_far_points_have_no_covariance_and_no_nan():
    prior = product(spec.Constant(), spec.RBF(1.0), "plane", 0.0)
    points = Points.scattered(np.zeros(3), np.array([[0.0, 0.0], [1e4, 0.0], [0.0, 1e6]]))
    for dtype in (torch.float32, torch.float64):
        found = PairProducts(Covariance(prior), points, torch.zeros(3, 1, dtype=torch.float64)).to(dtype)
        assert_allclose(
            found(torch.eye(3, dtype=dtype)), float(prior.terms[0].variance) * np.eye(3), atol=1e-30, rtol=1e-6
        )
