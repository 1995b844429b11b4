"""Widths of intervals from residuals of a known law."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.stats import laplace, norm
from xgpfill.learning.calibration import RATIOS, calibrated
from xgpfill.learning.heldout import Prediction
from xgpfill.metrics.calibration import LEVELS

from tests.strategies import quick

NORMAL_WIDTHS = norm.ppf(0.5 + 0.5 * np.array(LEVELS))
NUMBER = 20_000


def predicted(residuals: np.ndarray, days: np.ndarray | None = None) -> Prediction:
    """A prediction with these residuals, each of a day of its own unless said."""
    k = residuals.size
    return Prediction(
        np.zeros(k), np.ones(k), residuals, np.zeros(k), np.ones(k), np.zeros(k, np.intp),
        np.arange(k) if days is None else days, np.zeros((k, 2)), np.ones(k),
    )  # fmt: skip


def ratios(hidden: Prediction) -> np.ndarray:
    return np.array(calibrated(hidden, 1).ratios[0])


def test_normal_residuals_need_no_other_widths() -> None:
    assert_allclose(ratios(predicted(np.random.default_rng(0).standard_normal(NUMBER))), 1.0, atol=0.03)


def test_residuals_of_another_law_have_its_quantiles() -> None:
    law = laplace(scale=0.5**0.5)
    residuals = law.rvs(NUMBER, random_state=np.random.default_rng(1))
    expected = law.ppf(0.5 + 0.5 * np.array(LEVELS)) / NORMAL_WIDTHS
    assert_allclose(ratios(predicted(residuals)), expected, atol=0.04)


def test_deviations_that_are_too_large_are_narrowed() -> None:
    assert_allclose(ratios(predicted(0.5 * np.random.default_rng(2).standard_normal(NUMBER))), 0.5, atol=0.02)


def test_a_few_hundred_residuals_that_are_tiny_narrow_the_outer_levels_too() -> None:
    found = ratios(predicted(0.05 * np.random.default_rng(7).standard_normal(900)))
    assert_allclose(found[:3], 0.05, rtol=0.25)
    assert (found[3:] < 0.1).all()


def test_residuals_count_by_their_weight() -> None:
    rng = np.random.default_rng(3)
    both = np.concatenate([rng.standard_normal(NUMBER), 3.0 * rng.standard_normal(NUMBER)])
    weight = np.repeat([2.0, 0.0], NUMBER)
    assert_allclose(ratios(replace(predicted(both), weight=weight)), 1.0, atol=0.05)


def test_few_residuals_tell_little() -> None:
    found = ratios(predicted(3.0 * np.random.default_rng(4).standard_normal(10)))
    assert (found[:3] < 1.4).all()


def test_many_residuals_of_few_days_tell_no_more_than_these_days() -> None:
    rng = np.random.default_rng(5)
    days, sizes = np.repeat(np.arange(6), 200), np.array([0.2, 4.0, 0.5, 3.0, 0.3, 5.0])
    residuals = sizes[days] * rng.choice([-1.0, 1.0], days.size) * rng.uniform(0.9, 1.1, days.size)
    together, alone = ratios(predicted(residuals, days)), ratios(predicted(residuals))
    assert alone.max() > 2.4
    assert np.abs(together - 1.0).max() < 0.5 * np.abs(alone - 1.0).max()
    assert (together[:3] < 1.35).all()


def test_each_field_has_widths_of_its_own_and_one_without_residuals_those_of_all() -> None:
    rng = np.random.default_rng(6)
    residuals = np.concatenate([rng.standard_normal(NUMBER), 2.0 * rng.standard_normal(NUMBER)])
    hidden = replace(predicted(residuals), field=np.repeat([0, 2], NUMBER))
    found = calibrated(hidden, 3)
    assert found.counts == (NUMBER, 0, NUMBER)
    assert_allclose(found.ratios[0], 1.0, atol=0.04)
    assert_allclose(found.ratios[2], 2.0, atol=0.08)
    assert found.ratios[1] == calibrated(hidden, 1).ratios[0]


@quick
@given(
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=300),
    st.integers(1, 20),
    st.sampled_from(("alike", "by size")),
)
def test_widths_never_fall_with_the_level_and_stay_within_limits(numbers: list[float], days: int, weights: str) -> None:
    residuals = np.array(numbers)
    weight = np.ones(residuals.size) if weights == "alike" else 1.0 / (1.0 + np.abs(residuals))
    hidden = replace(predicted(residuals, np.arange(residuals.size) % days), weight=weight / weight.mean())
    found = ratios(hidden)
    assert (np.diff(found * NORMAL_WIDTHS) >= -1e-12).all()
    assert (found >= RATIOS[0] - 1e-9).all() and (found <= RATIOS[1] + 1e-9).all()
