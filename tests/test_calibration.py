"""The law of observations whose intervals have widths of their own, against numerical integration of its definition."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.stats import norm
from xgpfill.metrics.calibration import LEVELS, NORMAL, Calibration, Curve, Intervals, position_name

from tests import reference as ref

CURVES = {
    "wider": Curve((1.2,) * 5),
    "narrower": Curve((0.6,) * 5),
    "peaked": Curve((0.73, 0.81, 0.89, 1.08, 1.26)),
    "flat": Curve((1.3, 1.2, 1.1, 0.95, 0.8)),
}
NORMAL_WIDTHS = norm.ppf(0.5 + 0.5 * np.array(LEVELS))
HERE = (-3.7, -1.0, -0.2, 0.0, 0.4, 1.5, 2.9, 6.0)


@pytest.fixture(params=CURVES)
def curve(request: pytest.FixtureRequest) -> Curve:
    return CURVES[request.param]


def to_normal(curve: Curve, u: float) -> float:
    """The stated map: piecewise linear through the half-widths of the levels, and on along the last ratio."""
    own = [0.0, *(NORMAL_WIDTHS * curve.ratios)]
    if abs(u) > own[-1]:
        return u / curve.ratios[-1]
    return float(np.sign(u) * np.interp(abs(u), own, [0.0, *NORMAL_WIDTHS]))


def cdf(curve: Curve, u: float) -> float:
    return float(norm.cdf(to_normal(curve, u)))


def integral(function, low: float, high: float, curve: Curve) -> float:
    knots = np.array([0.0, *(NORMAL_WIDTHS * curve.ratios)])
    inside = np.unique([u for u in np.r_[-knots, knots] if low < u < high])
    edges = [low, *inside, high]
    return sum(quad(function, a, b, epsabs=1e-12)[0] for a, b in pairwise(edges))


# One curve


def test_the_map_is_that_of_the_levels(curve: Curve) -> None:
    assert_allclose(curve.normal_residual(np.array(HERE)), [to_normal(curve, u) for u in HERE], rtol=1e-6)
    assert np.isnan(curve.normal_residual(np.array([np.nan]))).all()


@pytest.mark.parametrize("level", [0.1, 0.5, 0.6, 0.68, 0.9, 0.95, 0.99, 0.999])
def test_the_interval_of_a_level_holds_that_share_of_the_law(curve: Curve, level: float) -> None:
    half = curve.half_width(level)
    assert cdf(curve, half) - cdf(curve, -half) == pytest.approx(level, abs=1e-6)


@pytest.mark.parametrize("number", range(len(LEVELS)))
def test_the_half_width_of_a_level_is_its_ratio_times_the_normal_one(curve: Curve, number: int) -> None:
    assert curve.half_width(LEVELS[number]) == pytest.approx(curve.ratios[number] * NORMAL_WIDTHS[number], rel=1e-6)


def test_the_slope_is_the_derivative_of_the_map(curve: Curve) -> None:
    expected = [(to_normal(curve, u + 1e-6) - to_normal(curve, u - 1e-6)) / 2e-6 for u in HERE]
    assert_allclose(curve.slope(np.array(HERE)), expected, rtol=1e-6)
    assert np.isnan(curve.slope(np.array([np.nan]))).all()


@pytest.mark.parametrize("u", [0.0, 0.5, -1.3, 2.7, 12.0])
def test_the_score_is_the_integral_of_the_squared_difference_from_a_step(curve: Curve, u: float) -> None:
    below = integral(lambda v: cdf(curve, v) ** 2, -30.0, u, curve)
    above = integral(lambda v: (1.0 - cdf(curve, v)) ** 2, u, 30.0, curve)
    assert float(curve.score(np.array(u))) == pytest.approx(below + above, abs=2e-6)


def test_the_score_far_out_is_the_absolute_error_less_what_the_law_spreads(curve: Curve) -> None:
    assert_allclose(np.diff(curve.score(np.array([50.0, 53.0, -60.0]))), [3.0, 7.0], rtol=1e-9)


# Cells of fields


def test_the_density_of_cells_integrates_to_one(curve: Curve) -> None:
    law = Calibration((curve.ratios,), (1000,))

    def density(u: float) -> float:
        return float(np.exp(-law.nlpd(2.0 + 0.5 * u, 2.0, 0.5)))

    assert 0.5 * integral(density, -40.0, 40.0, curve) == pytest.approx(1.0, abs=1e-7)


def test_the_density_of_cells_is_the_derivative_of_the_law(curve: Curve) -> None:
    law = Calibration((curve.ratios,), (1000,))
    for u in HERE:
        slope = (cdf(curve, u + 1e-5) - cdf(curve, u - 1e-5)) / 2e-5 / 3.0
        assert float(np.exp(-law.nlpd(1.0 + 3.0 * u, 1.0, 3.0))) == pytest.approx(slope, rel=1e-4)


def test_the_score_of_cells_is_in_the_units_of_the_data(curve: Curve) -> None:
    law, truth = Calibration((curve.ratios,), (1000,)), np.array([1.0, 2.5, 7.0])
    expected = [3.0 * float(curve.score(np.array((y - 1.5) / 3.0))) for y in truth]
    assert_allclose(law.crps(truth, 1.5, 3.0), expected, rtol=1e-12)


def test_ratios_of_one_are_the_normal_law() -> None:
    rng = np.random.default_rng(0)
    truth, mean, sd = rng.normal(size=200), rng.normal(size=200), rng.uniform(0.1, 3.0, 200)
    assert_allclose(NORMAL.crps(truth, mean, sd), ref.crps_gaussian(mean, sd, truth), atol=2e-6)
    assert_allclose(NORMAL.nlpd(truth, mean, sd), -norm.logpdf(truth, mean, sd), rtol=1e-9)
    assert_allclose(NORMAL.normal_residual(truth, mean, sd), (truth - mean) / sd, rtol=1e-9)
    for level in (0.3, 0.9, 0.999):
        assert NORMAL.half_width(level) == pytest.approx(norm.ppf(0.5 + 0.5 * level), rel=1e-6)


def test_a_cell_that_is_certain_has_its_absolute_error_and_none_without_a_value() -> None:
    found = NORMAL.crps(np.array([1.0, np.nan, 2.0]), np.array([3.0, 0.0, 2.0]), np.array([0.0, 1.0, np.nan]))
    assert_allclose(found, [2.0, np.nan, np.nan])


def test_every_cell_has_the_law_of_its_field() -> None:
    names = list(CURVES)
    both = Calibration(tuple(CURVES[n].ratios for n in names), (10,) * 4)
    field = xr.DataArray([3, 0, 1, 2, 0], dims="cell")
    truth = xr.DataArray(np.linspace(-2.0, 3.0, 5), dims="cell")
    for what in ("crps", "nlpd", "normal_residual"):
        found = getattr(both, what)(truth, 0.5, 1.3, field)
        own = [getattr(Calibration((CURVES[names[i]].ratios,), (1,)), what)(truth[k], 0.5, 1.3) for k, i in
               enumerate(field.values)]  # fmt: skip
        assert_allclose(found, np.array(own, float))
        xr.testing.assert_allclose(getattr(both, what)(truth.chunk(cell=2), 0.5, 1.3, field.chunk(cell=2)), found)
    widths = both.half_width(0.8, field)
    assert_allclose(widths, [CURVES[names[i]].half_width(0.8) for i in field.values])
    assert both.half_width(0.8, 2) == CURVES[names[2]].half_width(0.8)


def test_the_number_of_a_field_counts_along_its_dimensions_in_order() -> None:
    intervals = Intervals(Calibration(((1.0,) * 5,) * 6, (1,) * 6), {"level": 2, "member": 3})
    positions = xr.Dataset({position_name("level"): ("a", [0, 1, 1]), position_name("member"): ("b", [2, 0])})
    assert intervals.field(positions).transpose("a", "b").values.tolist() == [[2, 0], [5, 3], [5, 3]]
    assert Intervals(NORMAL, {}).field(xr.Dataset()) == 0
