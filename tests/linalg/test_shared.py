"""What inducing points leave of the field is what the oracle says, and nothing where they are all points."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose
from xgpfill.linalg.shared import MOST_NUMBERS, Shared

from tests.problems import anova, oracle_covariance, scattered

PRIOR = anova("matern32", "plane")


def points(n, seed=0):
    return scattered(np.random.default_rng(seed), n, "plane")


def test_features_multiply_to_what_inducing_points_explain():
    shared, targets = Shared.of(PRIOR, points(200), 20), points(30, 1)
    assert shared.count == 20
    Z, k = (oracle_covariance(PRIOR, shared.points, other) for other in (shared.points, targets))
    features = shared.features(targets)
    assert_allclose(features @ features.T, k.T @ np.linalg.solve(Z, k), rtol=1e-6, atol=1e-9)
    left = np.diag(oracle_covariance(PRIOR, targets, targets)) - np.square(features).sum(1)
    assert (left > 0).all()
    assert_allclose(shared.left(targets), left.mean(), rtol=1e-9)


def test_without_inducing_points_nothing_is_explained():
    for shared in (Shared.none(PRIOR), Shared.of(PRIOR, points(20), 0), Shared.of(PRIOR, points(20), 20)):
        assert shared.count == 0
        assert shared.features(points(7)).shape == (7, 0)


def test_there_are_no_more_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr("xgpfill.linalg.shared.MOST_NUMBERS", 5 * 200)
    assert MOST_NUMBERS > 5 * 200
    assert Shared.of(PRIOR, points(200), 20).count == 5
