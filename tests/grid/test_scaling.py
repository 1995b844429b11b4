"""Standardised units: there and back, and data with nothing to learn from."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from xgpfill.errors import DataError
from xgpfill.grid.scaling import ENOUGH, Amplitude, Scaling

from tests.strategies import quick

VALUES = st.lists(st.integers(-10_000, 10_000), min_size=2, max_size=20).filter(lambda v: len(set(v)) > 1)


@quick
@given(VALUES)
def test_standardised_values_have_mean_zero_and_deviation_one_and_come_back(numbers: list[int]) -> None:
    values = np.array(numbers, float)
    scaling = Scaling.of(values)
    z = scaling.standardised(values)
    assert_allclose([z.mean(), z.std()], [0, 1], atol=1e-9)
    assert_allclose(scaling.physical(z), values, rtol=1e-12, atol=1e-9)


@quick
@given(VALUES, st.sampled_from((-3.0, 0.5, 1e6)), st.sampled_from((-40.0, 0.0, 1e3)))
def test_a_change_of_units_changes_the_scaling_alike(numbers: list[int], a: float, b: float) -> None:
    values = np.array(numbers, float)
    one, other = Scaling.of(values), Scaling.of(a * values + b)
    assert_allclose([other.shift, other.scale], [a * one.shift + b, abs(a) * one.scale], rtol=1e-9, atol=1e-6)


def test_moments_of_float32_are_taken_in_float64() -> None:
    values = (1e4 + np.random.default_rng(0).normal(size=200_000)).astype(np.float32)
    scaling = Scaling.of(values)
    exact = values.astype(np.float64)
    assert_allclose([scaling.shift, scaling.scale], [exact.mean(), exact.std()], rtol=1e-12)


@pytest.mark.parametrize("values", [[1, 2], [1e10, 1e10 + 1], [1e-100, 2e-100], [0.0, -1e-30]])
def test_small_differences_count(values: list[float]) -> None:
    assert Scaling.of(np.array(values)).scale > 0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], r"'sst' has no observation at all \(every value is NaN\); at least two different values.*`da\.notnull"),
        ([4.0], r"'sst' has one observation only; at least two different values are needed"),
        ([2.5, 2.5, 2.5], r"'sst' is constant: all 3 observations equal 2\.5\..*`da\.fillna\(2\.5\)`"),
        ([0.0, 0.0], r"'sst' is constant: all 2 observations equal 0\.0"),
    ],
)
def test_too_little_to_learn_from_is_refused(values: list[float], words: str) -> None:
    with pytest.raises(DataError, match=words):
        Scaling.of(np.array(values), "'sst'")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_that_rounding_makes_uneven_is_still_constant(dtype: type) -> None:
    with pytest.raises(DataError, match=r"the data is constant: all 1000 observations equal 0\.1"):
        Scaling.of(np.full(1000, 0.1, dtype))


# Local amplitude and fields of their own units


def test_the_amplitude_is_the_exponential_of_a_sum_of_bumps() -> None:
    rng = np.random.default_rng(0)
    centres, weights, sites = rng.normal(size=(4, 3)), rng.normal(size=4), rng.normal(size=(50, 3))
    found = Amplitude(tuple(map(tuple, centres)), tuple(weights), 0.7, -0.3).at(sites)
    logs = [-0.3 + sum(w * math.exp(-math.dist(s, c) ** 2 / 0.98) for w, c in zip(weights, centres, strict=True))
            for s in sites]  # fmt: skip
    assert_allclose(found, np.exp(logs), rtol=1e-9)


def test_the_amplitude_of_many_places_is_that_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    amplitude, sites = Amplitude(((0.0, 1.0),), (2.0,), 3.0), np.random.default_rng(1).normal(size=(10, 2))
    expected = amplitude.at(sites)
    monkeypatch.setattr("xgpfill.grid.scaling.AT_ONCE", 3)
    assert_allclose(amplitude.at(sites), expected, rtol=1e-14)
    assert amplitude.at(sites[:0]).shape == (0,)


@quick
@given(VALUES, st.floats(0.1, 10.0))
def test_values_with_an_amplitude_come_back(numbers: list[int], amplitude: float) -> None:
    values = np.array(numbers, float)
    scaling = Scaling.of(values)
    z = scaling.standardised(values, amplitude)
    assert_allclose(z * amplitude, scaling.standardised(values), rtol=1e-12)
    assert_allclose(scaling.physical(z, amplitude), values, rtol=1e-12, atol=1e-9)


def test_each_field_has_its_own_moments_and_the_unit_is_their_root_mean_square() -> None:
    rng = np.random.default_rng(2)
    fields = [loc + sd * rng.standard_normal(40) for loc, sd in ((0.0, 1.0), (10.0, 5.0))]
    found = Scaling.of_fields(fields)
    assert_allclose(found.fields, [(f.mean(), f.std()) for f in fields], rtol=1e-12)
    assert found.reference == pytest.approx(math.sqrt((fields[0].var() + fields[1].var()) / 2))
    for i, values in enumerate(fields):
        own = found.of_field(i)
        z = own.standardised(values)
        assert_allclose([z.mean(), z.std()], [0, 1], atol=1e-9)
        assert own.relative(2.0) == pytest.approx(2.0 * values.std() / found.reference)


def test_a_field_of_few_or_equal_observations_has_its_own_mean_and_the_spread_of_the_others() -> None:
    rng = np.random.default_rng(3)
    full, few, flat = 5.0 + rng.standard_normal(100), rng.standard_normal(ENOUGH - 1), np.full(50, 3.0)
    found = Scaling.of_fields([full, few, flat])
    for field, values in zip(found.fields[1:], (few, flat), strict=True):
        assert field == (pytest.approx(values.mean()), pytest.approx(full.std()))
    assert found.reference == pytest.approx(full.std())
    alone = Scaling.of_fields([few, flat])
    assert not alone.fields and alone.reference == alone.scale
