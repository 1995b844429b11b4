"""Points that are one place, and repeated measurements there: what they say of the field is kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xgpfill.grid.points import Observations, Points, same_places, without_repeats

from tests import problems
from tests import reference as ref
from tests.strategies import quick

R = ref.EARTH_RADIUS


def globe(latitudes: np.ndarray, longitudes: np.ndarray, embed=ref.chord) -> np.ndarray:
    """The sites of a lattice, columns innermost, (rows · columns, 3)."""
    lat, lon = np.meshgrid(latitudes, longitudes, indexing="ij")
    return embed(lat, lon).reshape(-1, 3)


def by_pairs(sites: np.ndarray) -> np.ndarray:
    """The first site within 1e-6 km of each, by all distances."""
    return np.argmax(ref.distance(sites, sites) < 1e-6, axis=1)


def gappy(
    sites: np.ndarray, times: int, draws: tuple[int, ...] = (), seed: int = 0, always: tuple[int, ...] = ()
) -> Observations:
    """Seven of ten cells of a lattice of these sites, and those that are `always` seen; unequal noise."""
    rng = np.random.default_rng(seed)
    seen = rng.random((times, len(sites))) < 0.7
    seen[:, list(always)] = True
    t, s = np.nonzero(seen)
    points = Points(np.arange(float(times)), sites, t, s, frame=(1, len(sites)))
    return Observations(points, rng.normal(size=(t.size, *draws)), rng.uniform(0.05, 2.0, t.size))


# Places


def test_a_row_at_a_pole_is_one_place() -> None:
    sites = globe(np.array([-90.0, -45.0, 90.0]), np.arange(0.0, 360.0, 30.0))
    expected = np.concatenate([np.zeros(12), np.arange(12, 24), np.full(12, 24)])
    np.testing.assert_array_equal(same_places(sites), expected)


@pytest.mark.parametrize("embed", [ref.chord, ref.cylinder])
def test_a_meridian_that_is_repeated_is_one(embed) -> None:
    sites = globe(np.linspace(-40, 40, 9), np.linspace(0.0, 360.0, 13), embed)
    expected = np.arange(9 * 13).reshape(9, 13)
    expected[:, -1] = expected[:, 0]
    np.testing.assert_array_equal(same_places(sites), expected.ravel())


@pytest.mark.parametrize(
    "sites",
    [
        globe(np.linspace(-89, 89, 90), np.arange(0.0, 360.0, 2.0)),
        np.stack(np.meshgrid(np.arange(60.0), np.arange(70.0)), axis=-1).reshape(-1, 2),
        1e-9 * np.stack(np.meshgrid(np.arange(60.0), np.arange(70.0)), axis=-1).reshape(-1, 2),
        np.zeros((1, 3)),
        np.zeros((0, 3)),
    ],
    ids=["globe", "image", "a millimetre", "one site", "none"],
)
def test_places_that_differ_give_none(sites: np.ndarray) -> None:
    assert same_places(sites) is None


def test_many_sites_at_one_place_are_found_without_looking_at_pairs() -> None:
    np.testing.assert_array_equal(same_places(np.full((50_000, 2), 3.0)), np.zeros(50_000))


@quick
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(2, 3), st.floats(0.0, 1.0))
def test_same_places_are_those_of_all_pairs_in_any_order(seed: int, n: int, d: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    sites = rng.uniform(-1.0, 1.0, (n, d))
    sites *= R / np.linalg.norm(sites, axis=1)[:, None]
    copies = rng.random(n) < share
    sites[copies] = sites[rng.integers(0, n, copies.sum())]
    sites += rng.uniform(-1e-8, 1e-8, sites.shape)
    found, expected = same_places(sites), by_pairs(sites)
    np.testing.assert_array_equal(np.arange(n) if found is None else found, expected)
    assert (found is None) == (np.unique(expected).size == n)


@quick
@given(st.floats(-1.0, 1.0), st.sampled_from([5e-8, 2e-7, 5e-7]), st.integers(0, 2**32 - 1))
def test_two_near_sites_are_never_told_apart_wherever_they_lie(where: float, apart: float, seed: int) -> None:
    """As they would be by bins, on two sides of an edge."""
    rng = np.random.default_rng(seed)
    site = ref.chord(90 * where, 360 * where)
    step = rng.normal(size=3)
    pair = np.stack([site, ref.chord(0.0, 7.0), site + apart * step / np.linalg.norm(step)])
    np.testing.assert_array_equal(same_places(pair), [0, 1, 0])


def test_places_within_a_few_metres_are_kept_apart() -> None:
    steps = 1e-3 * np.arange(5)[:, None] * np.array([[0.0, 0.6, 0.8]])
    assert same_places(ref.chord(0.0, 0.0) + steps) is None


def test_neither_a_common_coordinate_nor_a_common_line_makes_places_the_same() -> None:
    line = np.sqrt(np.arange(3) + 2.0)  # what is looked at first
    across = np.cross(line, [0.0, 0.0, 1.0])
    sites = 6000.0 + np.arange(4)[:, None] * across
    assert same_places(sites) is None
    square = R * np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    assert same_places(square) is None


# Repeated measurements


@pytest.mark.parametrize("draws", [(), (3,)])
def test_nothing_that_repeats_gives_the_very_same_object(draws: tuple[int, ...]) -> None:
    observations = gappy(globe(np.linspace(0, 40, 5), np.linspace(0, 90, 6)), 4, draws)
    found, number = without_repeats(observations)
    assert found is observations
    np.testing.assert_array_equal(number, np.arange(len(observations)))


def test_repeated_places_whose_cells_are_not_observed_together_give_the_same_object() -> None:
    sites = np.array([[0.0, R], [R, 0.0], [0.0, R]])
    points = Points(np.arange(2.0), sites, np.array([0, 1]), np.array([0, 2]))
    observations = Observations(points, np.zeros(2), np.ones(2))
    assert without_repeats(observations)[0] is observations


def test_no_observation_at_all_repeats_nothing() -> None:
    none = Points(np.arange(2.0), np.zeros((2, 3)), np.arange(0), np.arange(0))
    observations = Observations(none, np.zeros(0), np.zeros(0))
    assert without_repeats(observations)[0] is observations


@pytest.mark.parametrize("draws", [(), (2,), (1,)])
def test_the_mean_is_weighted_by_precision_and_precisions_add(draws: tuple[int, ...]) -> None:
    sites = globe(np.array([60.0, 90.0]), np.array([0.0, 120.0, 240.0]))
    times, t, s = np.arange(2.0), np.array([0, 0, 0, 1, 1, 1]), np.array([1, 3, 5, 0, 4, 5])
    values = np.arange(6.0).reshape(6, *(1 for _ in draws)) * np.ones((6, *draws))
    noise = np.array([1.0, 2.0, 1.0, 3.0, 0.5, 0.25])
    observations = Observations(Points(times, sites, t, s, frame=(2, 3)), values, noise)
    found, number = without_repeats(observations)
    assert number.tolist() == [0, 1, 1, 2, 3, 3]
    np.testing.assert_allclose(found.noise, [1.0, 2 / 3, 3.0, 1 / 6])
    expected = np.array([0.0, (1 / 2 + 2 / 1) / (1 / 2 + 1), 3.0, (4 * 2 + 5 * 4) / 6])
    np.testing.assert_allclose(found.values, expected.reshape(4, *(1 for _ in draws)) * np.ones((4, *draws)))
    assert found.values.shape == (4, *draws)
    assert found.points.time_index.tolist() == [0, 0, 1, 1]
    assert found.points.site_index.tolist() == [1, 3, 0, 4], "each at the first of its cells"
    assert found.points.times is times and found.points.sites is sites and found.points.frame == (2, 3)
    assert values[1].max() == 1.0, "what was given is not changed"


def test_a_grid_with_repeats_is_no_grid_any_more() -> None:
    sites = np.array([[0.0, R], [R, 0.0], [0.0, R]])
    found, number = without_repeats(Observations(Points.grid(np.arange(2.0), sites), np.arange(6.0), np.ones(6)))
    assert not found.points.is_grid
    np.testing.assert_array_equal(number, [0, 1, 0, 2, 3, 2])
    np.testing.assert_allclose(found.values, [1.0, 1.0, 4.0, 4.0])


def test_points_in_any_order_and_times_given_twice_are_found() -> None:
    sites = np.array([[0.0, R], [R, 0.0]])
    points = Points(np.array([3.0, 1.0, 3.0]), sites, np.array([2, 1, 0, 1]), np.array([0, 1, 0, 1]))
    found, number = without_repeats(Observations(points, np.array([1.0, 2.0, 3.0, 6.0]), np.ones(4)))
    assert number.tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(found.values, [2.0, 4.0])
    np.testing.assert_allclose(found.points.time, [3.0, 1.0])


@pytest.mark.parametrize("noise", [(0.0, 0.0), (0.0, 0.5), (0.5, 0.0), (1e-320, 0.0), (1e300, 1e-300)])
def test_noise_of_nothing_divides_by_nothing(noise: tuple[float, float]) -> None:
    sites = np.array([[0.0, R], [0.0, R]])
    points = Points(np.zeros(1), sites, np.zeros(2, int), np.arange(2))
    with np.errstate(all="raise", under="ignore"):
        found, _ = without_repeats(Observations(points, np.array([1.0, 3.0]), np.array(noise)))
    certain = [value for value, n in zip((1.0, 3.0), noise, strict=True) if n <= 1e-300]
    np.testing.assert_allclose(found.values, [np.mean(certain)])
    assert 0 < found.noise[0] <= max(min(noise), np.finfo(float).tiny)
    assert np.isfinite(1 / found.noise[0])


def test_zero_noise_at_thousands_of_cells_of_a_pole_stays_invertible() -> None:
    sites = globe(np.array([90.0]), np.arange(0.0, 360.0, 0.1))
    found, _ = without_repeats(Observations(Points.grid(np.zeros(1), sites), np.arange(3600.0), np.zeros(3600)))
    assert len(found) == 1
    np.testing.assert_allclose(found.values, 1799.5)
    assert np.isfinite(1 / found.noise[0])


# What they say of the field


@st.composite
def repeated(draw: st.DrawFn) -> Observations:
    """Observations of a small lattice with a repeated meridian, perhaps poles, gaps, unequal noise, in any order."""
    latitudes = np.array(draw(st.sampled_from([(-90.0, 0.0, 90.0), (60.0, 90.0), (-90.0, -30.0), (10.0, 40.0)])))
    longitudes = np.linspace(0.0, 360.0, draw(st.integers(2, 5)))
    sites = globe(latitudes, longitudes)
    ends = (0, longitudes.size - 1)
    found = gappy(sites, draw(st.integers(1, 3)), seed=draw(st.integers(0, 2**32 - 1)), always=ends)
    if draw(st.booleans()):
        order = np.random.default_rng(draw(st.integers(0, 99))).permutation(len(found))
        found = Observations(found.points.take_in_order(order), found.values[order], found.noise[order])
    return found


@quick
@given(repeated(), st.booleans(), st.sampled_from(["matern12", "matern32", "rbf"]))
def test_the_posterior_is_that_of_all_measurements(observations: Observations, trend: bool, kernel: str) -> None:
    prior = problems.anova(kernel)
    found, number = without_repeats(observations)
    assert len(found) < len(observations)
    targets = Points.grid(np.array([-0.5, 0.0, 1.0]), ref.chord([90.0, 85.0, 5.0], [10.0, 0.0, 180.0]))
    whole, merged = (
        problems.oracle_posterior(prior, o, targets, trend=trend, full=True) for o in (observations, found)
    )
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(merged.covariance, whole.covariance, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.points.space[number], observations.points.space, atol=1e-6)
    np.testing.assert_array_equal(found.points.time[number], observations.points.time)
    assert without_repeats(found)[0] is found


@quick
@given(repeated(), st.integers(1, 3))
def test_each_draw_is_pooled_as_it_would_be_alone(observations: Observations, draws: int) -> None:
    values = np.random.default_rng(draws).normal(size=(len(observations), draws))
    together = without_repeats(observations.with_values(values))[0]
    for k in range(draws):
        alone = without_repeats(observations.with_values(values[:, k]))[0]
        np.testing.assert_allclose(together.values[:, k], alone.values, rtol=1e-12, atol=1e-14)
        np.testing.assert_array_equal(together.noise, alone.noise)
