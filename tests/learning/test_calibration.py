"""The scale of the uncertainty: the leave-one-out residuals of the oracle, one at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from xgpfill.learning.calibration import LIMITS, SHRINKAGE, leave_one_out_factor

from tests.problems import anova, observed, oracle_posterior, scattered


def blocks_of(prior, *, count=2, size=25, unequal=False, seed=0):
    """Draws of the prior with what its noise is to be multiplied by."""
    rng = np.random.default_rng(seed)
    drawn = [observed(rng, prior, scattered(rng, size, "sphere"), unequal=unequal) for _ in range(count)]
    return [replace(block, noise=block.noise / prior.noise) for block in drawn]


@pytest.mark.parametrize("unequal", [False, True], ids=["one noise", "unequal noise"])
def test_the_factor_is_the_mean_square_of_what_every_observation_misses_its_prediction_by(unequal):
    prior = anova("matern12")
    blocks = blocks_of(prior, unequal=unequal)
    squares = []
    for block in blocks:
        physical = replace(block, noise=prior.noise * block.noise)
        for i in range(len(block)):
            rest = physical.take(np.delete(np.arange(len(block)), i))
            law = oracle_posterior(prior, rest, physical.points.take(np.array([i])), trend=True)
            squares.append((block.values[i] - law.mean[0]) ** 2 / (law.variance[0] + physical.noise[i]))
    expected = (np.sum(squares) + SHRINKAGE) / (len(squares) + SHRINKAGE)
    assert leave_one_out_factor(prior, blocks) == pytest.approx(expected, rel=1e-9)


def test_a_prior_that_is_right_needs_no_correction_and_one_that_is_wrong_gets_it():
    prior = anova("matern12")
    blocks = blocks_of(prior, count=12, size=120)
    assert leave_one_out_factor(prior, blocks) == pytest.approx(1.0, abs=0.15)
    assert leave_one_out_factor(prior.scaled(0.5), blocks) == pytest.approx(1.85, abs=0.25)


def test_the_correction_has_limits_and_is_none_without_observations():
    prior = anova("matern12")
    blocks = blocks_of(prior, count=12, size=120)
    assert leave_one_out_factor(prior.scaled(1e-3), blocks) == LIMITS[1]
    assert leave_one_out_factor(prior.scaled(1e3), blocks) == LIMITS[0]
    assert leave_one_out_factor(prior, []) == 1.0
    assert leave_one_out_factor(prior, [blocks[0].take(np.arange(2))]) == 1.0
