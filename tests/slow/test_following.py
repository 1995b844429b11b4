"""Lengthscales to the east and north are told apart on fields whose truth is known, and cost nothing where alike."""

from __future__ import annotations

import numpy as np
import pytest

from tests.currents import currents

pytestmark = pytest.mark.slow


def error(ratio: float, seed: int, anisotropy: bool | None) -> tuple[float, float]:
    """RMSE on hidden cells, and the ratio that was learned."""
    truth, seen = currents(ratio, seed, (16, 24, 32))
    model = seen.gpfill.fit(anisotropy=anisotropy, valid=True)
    square = (model.reconstruct(variance=False).mean - truth) ** 2
    return float(np.sqrt(square.where(seen.isnull()).mean())), float(model.hyperparameters.get("anisotropy", 1.0))


@pytest.mark.parametrize(("ratio", "share"), [(2.0, 0.95), (3.0, 0.85), (1.0, 1.01)])
@pytest.mark.parametrize("seed", range(3))
def test_a_ratio_is_recovered_and_gaps_are_filled_no_worse(ratio: float, share: float, seed: int) -> None:
    plain, _ = error(ratio, seed, None)
    following, learned = error(ratio, seed, True)
    assert learned == pytest.approx(ratio, rel=0.12)  # each field says it as well as this
    assert following <= share * plain
