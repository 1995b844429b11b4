"""Of scattered points the most correlated are found, whatever the terms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from xgpfill.kernels import spec
from xgpfill.kernels.prior import Prior, Term
from xgpfill.vecchia.neighbourhoods import Neighbourhoods, metric_scales, most_correlated

from tests.problems import SPACE_KERNELS, TIME_KERNELS, anova, oracle_covariance, product, scattered

PRIORS = {
    "anova": anova("matern12"),
    "space plus time": Prior(
        (
            Term("space", spec.Constant(), SPACE_KERNELS["matern12"], 0.7),
            Term("time", TIME_KERNELS["matern52"], spec.Constant(), 1.1),
        ),
        geometry="sphere",
    ),
    "each frame on its own": product(spec.Independent(), SPACE_KERNELS["matern32"], "sphere"),
    "brownian": product(TIME_KERNELS["brownian"], SPACE_KERNELS["matern12"], "sphere", 2.0),
}


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
