"""What levels tell of one another: lengthscales that are found again, and gaps that other levels fill."""

from __future__ import annotations

import numpy as np
import pytest

from tests.columns import DIMS, columns, gappy

pytestmark = pytest.mark.slow
DEPTHS = np.array([0.0, 5.0, 12.0, 20.0, 35.0, 60.0, 90.0, 140.0])


def rmse(found, truth, data):
    return float(np.sqrt((((found.mean - truth) / truth.std(("time", "lat", "lon"))).where(data.isnull()) ** 2).mean()))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_lengthscale_of_depth_is_recovered(seed):
    """Of 40 times it is known to about a tenth; levels span seven lengthscales."""
    _, noisy = columns(40, DEPTHS, (6, 6), lengths=(2.0, 20.0, 150.0), seed=seed)
    model = gappy(noisy, 0.6, seed=seed).gpfill.fit(dims=DIMS, combine="product", amplitude=False, valid=True)
    assert model.hyperparameters.depth_lengthscale.item() == pytest.approx(20.0, rel=0.15)


def test_levels_that_are_seen_tell_of_those_that_are_not():
    truth, noisy = columns(30, DEPTHS, (8, 10), lengths=(1.5, 40.0, 300.0), seed=3)
    data = gappy(noisy, 0.8, seed=3, levels=0.5)
    together = data.gpfill.fit(dims=DIMS, valid=True).reconstruct()
    apart = data.gpfill.fit(valid=True).reconstruct()
    assert rmse(together, truth, data) < 0.7 * rmse(apart, truth, data)
    coverage = float(together.score(truth).coverage95)
    assert 0.9 < coverage < 0.99
