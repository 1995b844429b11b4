"""Linear prediction on arrays: it equals an oracle written from the equations, stays bounded, and keeps symmetries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xgpfill.padding.continuation import continued
from xgpfill.padding.predictors import calmed, stabilised, tukey

from tests.padding import oracle
from tests.strategies import quick

OPEN = (None, None)
HOW = [
    ("lp1x1", "cov_stab"), ("lp1x1", "cov_sym_stab"), ("lp1x1", "correlation"),
    ("lp2x1", "cov_stab"), ("lp2x1", "cov_sym_stab"), ("lp2x1", "correlation"), ("lp2x3", "correlation"),
]  # fmt: skip
every = pytest.mark.parametrize(("mode", "method"), HOW)


def fields(*shape: int, seed: int = 0, smooth: bool = True) -> np.ndarray:
    """White noise, or what is left of it after two running sums along both axes."""
    drawn = np.random.default_rng(seed).standard_normal(shape)
    return drawn.cumsum(1).cumsum(2) if smooth else drawn


@every
@pytest.mark.parametrize("smooth", [True, False])
def test_every_mode_equals_an_independent_solution_of_its_equations(mode: str, method: str, smooth: bool) -> None:
    batch = fields(3, 9, 12, smooth=smooth)
    found = continued(batch, ((2, 3), (4, 1)), OPEN, mode, method)
    for field, own in zip(batch, found, strict=True):
        expected = oracle.padded(field, (2, 3), (4, 1), mode, method)
        np.testing.assert_allclose(own, expected, rtol=1e-6, atol=1e-6 * np.abs(field).max())


@every
def test_the_field_itself_is_left_as_it_is_to_the_last_bit(mode: str, method: str) -> None:
    batch = 273.15 + fields(2, 6, 7)
    np.testing.assert_array_equal(continued(batch, ((1, 2), (3, 4)), OPEN, mode, method)[:, 1:-2, 3:-4], batch)


@every
def test_a_constant_field_goes_on_constant(mode: str, method: str) -> None:
    np.testing.assert_allclose(continued(np.full((1, 5, 6), 7.25), ((3, 3), (3, 3)), OPEN, mode, method), 7.25)


@every
def test_margins_of_zero_add_nothing(mode: str, method: str) -> None:
    batch = fields(2, 5, 6)
    np.testing.assert_array_equal(continued(batch, ((0, 0), (0, 0)), OPEN, mode, method), batch)


@pytest.mark.parametrize("series", [3.0 * np.arange(40.0) - 5.0, np.sin(2 * np.pi * np.arange(40) / 10)])
def test_two_rows_continue_a_line_and_a_wave(series: np.ndarray) -> None:
    found = continued(series[5:35].reshape(1, 30, 1), ((5, 5), (0, 0)), OPEN, "lp2x1", "cov_stab")[0, :, 0]
    np.testing.assert_allclose(found, series, atol=1e-5 * np.abs(series).max())


@given(st.floats(-3, 3), st.floats(-3, 3))
@quick
def test_reflected_poles_lie_in_the_unit_circle_and_inner_ones_stay(first: float, second: float) -> None:
    poles = np.roots([1.0, -first, -second])
    found = stabilised(np.array([[first, second]]))[0]
    inside = np.roots([1.0, *(-found)])
    assert np.all(np.abs(inside) <= 1.0 + 1e-6)
    if np.all(np.abs(poles) <= 1.0 - 1e-9):
        np.testing.assert_array_equal(found, [first, second])


@given(st.integers(0, 10_000), st.sampled_from(HOW), st.booleans())
@quick
def test_no_continuation_leaves_its_field_far_behind(seed: int, how: tuple[str, str], smooth: bool) -> None:
    batch = fields(2, 6, 8, seed=seed, smooth=smooth)
    batch -= batch.mean(axis=(1, 2), keepdims=True)
    found = np.abs(continued(batch, ((40, 40), (40, 40)), OPEN, *how)).max(axis=(1, 2))
    assert np.all(found < 10 * np.abs(batch).max(axis=(1, 2)))


@given(st.integers(0, 10_000))
@quick
def test_calmed_coefficients_let_no_wave_grow_and_quiet_ones_stay(seed: int) -> None:
    wide = np.random.default_rng(seed).normal(0, 0.3, (1, 3, 2, 3))
    found = calmed(wide, np.array([0.5, 0.2]).reshape(1, 1, 2, 1))
    assert oracle.growth(found[0]) <= 1.0 + 1e-9
    if oracle.growth(wide[0]) <= 1.0:
        np.testing.assert_array_equal(found, wide)


@given(st.integers(0, 10_000), st.sampled_from(HOW), st.floats(0.01, 100), st.floats(-300, 300))
@quick
def test_padding_a_field_in_other_units_gives_the_padded_field_in_them(seed, how, scale: float, shift: float) -> None:
    batch, margins = fields(1, 7, 8, seed=seed), ((2, 1), (1, 2))
    expected = scale * continued(batch, margins, OPEN, *how) + shift
    found = continued(scale * batch + shift, margins, OPEN, *how)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * scale * np.abs(batch).max())


@every
def test_a_field_turned_by_half_a_turn_has_its_margins_turned(mode: str, method: str) -> None:
    batch = fields(2, 7, 8)
    found = continued(batch[:, ::-1, ::-1], ((1, 2), (3, 4)), OPEN, mode, method)
    np.testing.assert_allclose(found[:, ::-1, ::-1], continued(batch, ((2, 1), (4, 3)), OPEN, mode, method), atol=1e-9)


@every
def test_fields_of_a_batch_do_not_see_each_other(mode: str, method: str) -> None:
    batch = fields(3, 7, 8)
    alone = [continued(one[None], ((1, 2), (3, 4)), OPEN, mode, method)[0] for one in batch]
    np.testing.assert_allclose(continued(batch, ((1, 2), (3, 4)), OPEN, mode, method), alone, rtol=1e-10, atol=1e-10)


@every
def test_rows_around_a_circle_have_no_seam(mode: str, method: str) -> None:
    batch = fields(2, 7, 9, smooth=False)
    found = continued(batch, ((2, 2), (5, 5)), (None, 9), mode, method)
    turned = continued(np.roll(batch, 4, axis=2), ((2, 2), (5, 5)), (None, 9), mode, method)
    assert found.shape == (2, 11, 9)
    np.testing.assert_allclose(turned, np.roll(found, 4, axis=2), atol=1e-10)


@every
def test_a_repeated_meridian_gets_the_margins_of_the_first(mode: str, method: str) -> None:
    batch = fields(2, 7, 9, smooth=False)
    twice = np.concatenate([batch, batch[:, :, :1]], axis=2)
    found = continued(twice, ((2, 2), (0, 0)), (None, 9), mode, method)
    np.testing.assert_array_equal(found[:, :, -1], found[:, :, 0])
    np.testing.assert_array_equal(found[:, :, :-1], continued(batch, ((2, 2), (0, 0)), (None, 9), mode, method))


def test_the_window_is_symmetric_and_leaves_the_middle_alone() -> None:
    window = tukey(31)
    np.testing.assert_allclose(window, window[::-1])
    assert np.all(window > 0.0) and np.all(window[10:21] == 1.0)
