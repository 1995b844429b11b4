"""What draws say of variances is right on average, has no steps, and raises an alarm where it must and only there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from xgpfill.engines.lattice.variance import LEAST_LEFT, POOL, Halves, Pool, Smoothing, bias_of_regions, combined

SHARES = (0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.999)


def averages(rng, c, degrees, size):
    """A and B of cells whose local answer misses a share c: mean squares of Gaussian numbers, of so many of them."""
    error, missed = rng.chisquare(degrees, (2, size)) / degrees
    return (1.0 - c) * error, c * missed


# The share that is missed


@pytest.mark.parametrize("c", SHARES)
@pytest.mark.parametrize("degrees", [64, 4000])
def test_the_share_is_right_on_average(degrees, c):
    """Relative to what is left, and to what is missed: to four standard errors, and what a finite number leaves."""
    A, B = averages(np.random.default_rng(0), c, degrees, 20_000)
    found = combined(A, B)
    for share, truth in ((found, c), (1.0 - found, 1.0 - c)):
        allowed = 4.0 * share.std() / np.sqrt(share.size) + 0.3 / degrees * truth
        assert abs(share.mean() - truth) < allowed


@pytest.mark.parametrize("c", SHARES)
def test_the_share_is_as_precise_as_the_information_of_both_averages_allows(c):
    """Cramér and Rao: S/2 (1 − c)⁻² from A and S/2 c⁻² from B."""
    degrees = 4000
    found = combined(*averages(np.random.default_rng(1), c, degrees, 20_000))
    least = np.sqrt(2.0 / degrees / (c**-2 + (1.0 - c) ** -2))
    assert found.std() == pytest.approx(least, rel=0.05)


def test_nothing_missed_and_all_missed_are_the_ends():
    assert_allclose(combined(np.array([1.0, 0.0]), np.array([0.0, 1.0])), [0.0, 1.0 - LEAST_LEFT])


@settings(max_examples=200, deadline=None)
@given(error=st.floats(0.0, 50.0), missed=st.floats(0.0, 50.0))
def test_the_share_leaves_something_whatever_the_averages(error, missed):
    (found,) = combined(np.array([error]), np.array([missed]))
    assert 0.0 <= found <= 1.0 - LEAST_LEFT


# Pools


def pool_of(seed, size, degrees=8):
    """A share that grows from nothing to nearly all with what is left of the prior variance."""
    rng = np.random.default_rng(seed)
    left = rng.uniform(0.02, 0.98, size)
    return Pool.of(left, *averages(rng, left**2, degrees, size))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.sampled_from([0, 1, 7, POOL, 3 * POOL, 20 * POOL]))
def test_pools_are_continuous_and_leave_something(seed, size):
    """Between two keys the share is on the line between theirs, beyond the outermost ones as theirs."""
    pool = pool_of(seed, size)
    assert (np.diff(pool.left) >= 0).all()
    assert ((pool.missed >= 0) & (pool.missed < 1)).all()
    left = np.linspace(0, 1, 2001)
    share = pool.share(left)
    assert ((share >= 0) & (share < 1)).all()
    for side in (-1e-9, 1e-9):
        assert_allclose(pool.share(pool.left + side), pool.missed, atol=1e-5)
    steepest = np.max(np.abs(np.diff(pool.missed)) / np.maximum(np.diff(pool.left), 1e-12), initial=0.0)
    assert np.abs(np.diff(share)).max() <= steepest / 2000 + 1e-9
    assert_allclose(pool.share(np.array([-1.0, 2.0])), pool.missed[[0, -1]])


def test_pools_follow_a_share_that_changes_with_what_is_left():
    pool = pool_of(0, 60 * POOL)
    assert_allclose(pool.share(np.linspace(0.1, 0.9, 9)), np.linspace(0.1, 0.9, 9) ** 2, atol=0.03)


def test_a_pool_holds_enough_cells():
    for size, count in ((1, 1), (POOL - 1, 1), (2 * POOL - 1, 1), (2 * POOL, 2), (10 * POOL, 10), (500 * POOL, 200)):
        assert pool_of(0, size, 2).left.size == count


def test_cells_of_one_kind_are_one_share():
    """Cells that differ by rounding are in several pools, of which each says about the same."""
    rng = np.random.default_rng(0)
    A, B = averages(rng, 0.3, 8, 20 * POOL)
    pool = Pool.of(np.full(20 * POOL, 0.4) + 1e-12 * rng.uniform(size=20 * POOL), A, B)
    assert_allclose(pool.missed, 0.3, atol=0.06)
    assert_allclose(pool.share(np.array([0.1, 0.4, 0.9])), 0.3, atol=0.06)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), A=st.floats(0.0, 9.0), B=st.floats(0.0, 9.0))
def test_places_that_are_like_others_have_the_share_of_their_pool(seed, A, B):
    pool, left = pool_of(seed, 3 * POOL), np.linspace(0, 1, 101)
    assert_allclose(pool.near(left, (np.ones(101), np.ones(101))), pool.share(left), atol=1e-12)
    found = pool.near(left, (np.full(101, A), np.full(101, B)))
    assert ((found >= 0) & (found < 1)).all()


# Neighbouring cells

SHAPE = (12, 20, 24)


def smoothed(truth, *, draws, seed=0, wraps=False):
    """Factors from halves of so many draws of independent cells whose averages are `truth` over what is expected."""
    rng = np.random.default_rng(seed)
    halves = truth.ravel() * rng.chisquare(draws / 2, (2, truth.size)) / (draws / 2)
    smoothing = Smoothing(SHAPE, (1.0, 3.0, 3.0), wraps=wraps)
    return smoothing.factor(Halves(*halves), np.ones(truth.size), np.ones(truth.size, bool)).reshape(SHAPE)


def test_where_places_do_not_differ_their_factors_are_one():
    assert_allclose(smoothed(np.ones(SHAPE), draws=8), 1.0, atol=0.03)


def test_where_places_differ_their_factors_tell_by_how_much():
    y = np.arange(SHAPE[1])[None, :, None]
    truth = np.broadcast_to(1.0 + 0.5 * np.sin(2 * np.pi * y / 20), SHAPE)
    found = smoothed(truth, draws=8)
    assert np.sqrt(np.mean((found - truth) ** 2)) < 0.15  # 0.35 without any
    assert np.corrcoef(found.ravel(), truth.ravel())[0, 1] > 0.9


def test_factors_have_no_seam_on_a_circle():
    x = np.arange(SHAPE[2])[None, None, :]
    truth = np.broadcast_to(1.0 + 0.5 * np.cos(2 * np.pi * x / 24), SHAPE)
    found = smoothed(truth, draws=2000, wraps=True)
    shifted = smoothed(np.roll(truth, 12, axis=2), draws=2000, wraps=True, seed=1)
    assert_allclose(np.roll(found, 12, axis=2), shifted, atol=0.05)


# Regions

REGIONS = (3, 4, 4)


def regions_of(shape):
    """Which of 3 × 4 × 4 parts of the domain each cell is in."""
    t, y, x = np.ix_(*(np.arange(n) * parts // n for n, parts in zip(shape, REGIONS, strict=True)))
    return ((t * REGIONS[1] + y) * REGIONS[2] + x).ravel()


def correlated(rng, shape, width, draws):
    """Gaussian fields (cells, draws) of variance one, each cell correlated over `width` cells along every axis."""
    field = rng.standard_normal((draws, *shape))
    for axis, cells in enumerate(width, 1):
        n = field.shape[axis]
        if cells:
            lag = np.minimum(np.arange(n), n - np.arange(n))
            response = np.abs(np.fft.rfft(np.exp(-((lag / cells) ** 2))))
            response /= np.sqrt(np.mean(np.abs(np.fft.fft(np.exp(-((lag / cells) ** 2)))) ** 2))
            response = response.reshape([-1 if a == axis else 1 for a in range(field.ndim)])
            field = np.fft.irfft(np.fft.rfft(field, axis=axis) * response, n=n, axis=axis)
    return field.reshape(draws, -1).T


WHOLE = (12, 16, 24)
WIDTHS = [(0, 0, 0), (1, 1, 1), (0, 2, 2), (2, 2, 3), (6, 0, 0), (0, 4, 6), WHOLE]


@pytest.mark.parametrize("width", WIDTHS)
def test_true_variances_raise_no_alarm_however_errors_are_correlated(width):
    shape = (12, 16, 24)
    regions, variance, alarms = regions_of(shape), np.ones(int(np.prod(shape))), 0
    for seed in range(300):
        errors = correlated(np.random.default_rng(seed), shape, width, 8)
        whole, worst = bias_of_regions(errors, variance, regions)
        alarms += worst != 0.0
        assert whole == pytest.approx(np.mean(errors**2) ** -0.5 - 1.0, abs=1e-12)
    assert alarms <= (15 if width == WHOLE else 3)  # where a draw is one number, eight say little of their scatter


@pytest.mark.parametrize("width", [(0, 0, 0), (0, 1, 1)])
@pytest.mark.parametrize("factor", [1.2, 1 / 1.2])
def test_a_variance_that_is_a_fifth_off_in_a_quarter_of_the_domain_is_caught(width, factor):
    shape = (24, 60, 80)
    regions, variance = regions_of(shape), np.ones(shape)
    variance[:, :30, :40] = factor
    for seed in range(10):
        errors = correlated(np.random.default_rng(seed), shape, width, 8)
        whole, worst = bias_of_regions(errors, variance.ravel(), regions)
        assert worst == pytest.approx(np.sqrt(factor) - 1.0, abs=0.05)
        assert whole == pytest.approx(np.mean(1.0 / variance) ** -0.5 - 1.0, abs=0.02)


def test_cells_that_are_far_off_in_all_regions_are_caught():
    shape = (12, 16, 24)
    errors = correlated(np.random.default_rng(0), shape, (0, 1, 1), 8)
    whole, worst = bias_of_regions(errors, np.full(len(errors), 4.0), regions_of(shape))
    assert whole == pytest.approx(1.0, abs=0.1)
    assert worst == pytest.approx(1.0, abs=0.5)


def test_one_draw_tells_of_the_whole_alone():
    errors = np.random.default_rng(0).standard_normal((1000, 1))
    whole, worst = bias_of_regions(errors, np.full(1000, 4.0), np.arange(1000) // 100)
    assert whole == pytest.approx(1.0, abs=0.15)
    assert worst == 0.0


def test_regions_without_cells_are_none():
    errors = np.random.default_rng(0).standard_normal((1000, 8))
    whole, worst = bias_of_regions(errors, np.ones(1000), 5 * (np.arange(1000) // 500))
    assert abs(whole) < 0.1
    assert worst == 0.0
