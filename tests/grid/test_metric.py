"""Kilometres and days: the geometries against the oracle, and one clock for dates of every kind."""

from __future__ import annotations

import json
from dataclasses import asdict

import cftime
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from xgpfill.errors import AlignmentError, CoordinateError, KernelError
from xgpfill.grid.metric import EARTH_RADIUS_KM, Clock, Metric, clock_of, metric_for

from tests import reference as ref
from tests.strategies import CALENDARS, TIME_KINDS, days, quick, time_axis

LAT = st.floats(-90, 90)
LON = st.floats(-360, 720)
PLACES = st.lists(st.tuples(LAT, LON), min_size=1, max_size=6)


def metric_of(lat, lon, geometry: str = "auto", *, directional: bool = False) -> Metric:
    lat, lon = np.asarray(lat, float), np.asarray(lon, float)
    return metric_for(lat, lon, degrees=True, units="degrees", geometry=geometry, directional=directional)


def distances(metric: Metric, lat, lon) -> np.ndarray:
    places = metric.embed(np.asarray(lat, float), np.asarray(lon, float))
    return ref.distance(places, places)


# Space


def test_the_radius_is_that_of_the_oracle() -> None:
    assert EARTH_RADIUS_KM == ref.EARTH_RADIUS == 6371.0088


@quick
@given(PLACES)
def test_distances_on_the_sphere_are_chords_wherever_the_centre_is(places: list[tuple[float, float]]) -> None:
    lat, lon = np.transpose(places)
    oracle = ref.chord(lat, lon)
    assert_allclose(distances(metric_of(lat, lon), lat, lon), ref.distance(oracle, oracle), atol=1e-7)


@quick
@given(PLACES)
def test_distances_on_the_cylinder_are_those_of_the_oracle(places: list[tuple[float, float]]) -> None:
    lat, lon = np.transpose(places)
    oracle = ref.cylinder(lat, lon)
    assert_allclose(distances(metric_of(lat, lon, "cylinder"), lat, lon), ref.distance(oracle, oracle), atol=1e-7)


@pytest.mark.parametrize("geometry", ["sphere", "cylinder"])
@quick
@given(lat=LAT, lon=LON, turns=st.integers(-2, 2))
def test_whole_turns_of_longitude_change_nothing(geometry: str, lat: float, lon: float, turns: int) -> None:
    metric = Metric(geometry, degrees=True, latitude=10.0, longitude=175.0)
    assert_allclose(metric.embed(lat, lon), metric.embed(lat, lon + 360.0 * turns), atol=1e-6)


@pytest.mark.parametrize("pole", [-90.0, 90.0])
def test_a_pole_is_one_place_on_the_sphere(pole: float) -> None:
    lon = np.arange(0.0, 360.0, 30.0)
    assert_allclose(distances(metric_of([pole], lon), np.full(12, pole), lon), 0, atol=1e-9)


def test_a_pole_is_a_circle_on_the_cylinder() -> None:
    metric = metric_of([90.0], [0.0, 180.0], "cylinder")
    assert_allclose(distances(metric, [90, 90], [0, 180])[0, 1], 2 * ref.EARTH_RADIUS)


@pytest.mark.parametrize("centre", [12.0, 180.0, 359.9])
def test_the_local_plane_agrees_with_the_sphere_over_a_degree_even_across_the_date_line(centre: float) -> None:
    lat, lon = np.meshgrid(45 + np.linspace(-0.5, 0.5, 3), centre + np.linspace(-0.5, 0.5, 3), indexing="ij")
    lon = (lon + 180) % 360 - 180
    lat, lon = lat.ravel(), lon.ravel()
    metric = metric_of(lat, lon, "plane")
    assert metric.embed(lat, lon).shape == (9, 2)
    oracle = ref.chord(lat, lon)
    assert_allclose(distances(metric, lat, lon), ref.distance(oracle, oracle), rtol=0.02, atol=1e-9)


@pytest.mark.parametrize(
    ("units", "factor", "unit"),
    [
        ("m", 1e-3, "km"),
        ("metres", 1e-3, "km"),
        ("Meter", 1e-3, "km"),
        ("km", 1.0, "km"),
        ("kilometers", 1.0, "km"),
        ("cell", 1.0, "cell"),
        ("pixel", 1.0, "pixel"),
        ("", 1.0, "1"),
    ],
)
def test_projected_coordinates_become_km_when_their_unit_is_known(units: str, factor: float, unit: str) -> None:
    axis = np.arange(3.0)
    metric = metric_for(axis, axis, degrees=False, units=units, geometry="auto", directional=False)
    assert (metric.geometry, metric.factor, metric.unit) == ("plane", factor, unit)
    assert_allclose(metric.embed(np.array([0.0, 3.0]), np.array([0.0, 4.0])), factor * np.array([[0, 0], [4, 3]]))


def test_the_centre_of_a_region_across_the_date_line_lies_in_it() -> None:
    assert metric_of([0.0], [170.0, 175.0, -170.0]).longitude == 180.0
    assert metric_of([0.0], [350.0, 10.0]).longitude == 0.0
    assert metric_of([0.0], [-30.0]).longitude == 330.0


def test_auto_is_the_sphere_and_the_plane_for_kernels_that_need_directions() -> None:
    lat, lon = np.array([40.0, 45.0]), np.array([0.0, 20.0])
    assert metric_of(lat, lon).geometry == "sphere"
    assert metric_of(lat, lon, directional=True).geometry == "plane"
    assert metric_of(lat, lon, "cylinder", directional=True).geometry == "cylinder"


def test_an_unknown_geometry_is_refused_with_the_list_of_known_ones() -> None:
    with pytest.raises(CoordinateError, match=r"Unknown geometry 'globe'.*'auto', 'sphere', 'cylinder', 'plane'"):
        metric_of([0.0], [0.0], "globe")


@pytest.mark.parametrize("geometry", ["sphere", "cylinder"])
def test_round_geometries_need_degrees(geometry: str) -> None:
    axis = np.arange(3.0)
    with pytest.raises(CoordinateError, match=rf"geometry='{geometry}' needs latitude.*'m'.*`geometry='plane'`"):
        metric_for(axis, axis, degrees=False, units="m", geometry=geometry, directional=False)


@pytest.mark.parametrize("lat", [-90.1, 91.0])
def test_a_latitude_beyond_a_pole_is_refused(lat: float) -> None:
    with pytest.raises(CoordinateError, match=rf"Latitude {lat} is outside −90…90 degrees.*`units='m'`"):
        metric_of([0.0, lat], [0.0, 1.0])


def test_rounding_at_a_pole_is_forgiven() -> None:
    assert metric_of([-90.0000004, 90.0000004], [0.0, 1.0]).geometry == "sphere"


def test_directional_kernels_are_refused_on_the_sphere() -> None:
    with pytest.raises(KernelError, match=r"not positive definite.*`geometry='plane'`"):
        metric_of([0.0], [0.0, 5.0], "sphere", directional=True)


def test_directional_kernels_are_refused_on_more_than_half_a_turn() -> None:
    with pytest.raises(KernelError, match=r"at most 180° wide; the data span 200\.0°.*`space_kernel='matern32'`"):
        metric_of([0.0], np.arange(0.0, 201.0, 40.0), directional=True)


# Time


@quick
@given(days(), st.sampled_from(TIME_KINDS), st.sampled_from(CALENDARS))
def test_dates_of_every_kind_are_the_same_days(expected: np.ndarray, kind: str, calendar: str) -> None:
    _, values, attrs = time_axis(expected, kind, calendar)
    units = attrs.get("units", "")
    found = clock_of(values, units).days(values, units)
    assert found.dtype == np.float64
    assert_allclose(found, expected - expected[0], atol=1e-9)


@pytest.mark.parametrize("unit", ["s", "ns"])
def test_days_do_not_depend_on_the_resolution_of_datetime64(unit: str) -> None:
    times = np.array(["2000-02-28T12", "2000-02-29T12", "2000-03-01T18"], dtype=f"datetime64[{unit}]")
    assert_allclose(clock_of(times).days(times), [0, 1, 2.25])


@pytest.mark.parametrize("years", [("0850", "0851"), ("0850", "2000"), ("2000", "2500")])
def test_dates_that_nanoseconds_cannot_hold_are_counted_too(years: tuple[str, str]) -> None:
    times = np.array([f"{year}-01-01" for year in years], dtype="datetime64[s]")
    expected = float((times[1] - times[0]) / np.timedelta64(1, "D"))
    assert_allclose(clock_of(times).days(times), [0, expected])


def test_a_clock_of_one_resolution_reads_dates_of_another() -> None:
    clock = clock_of(np.array(["2000-01-01"], dtype="datetime64[s]"))
    assert_allclose(clock.days(np.array(["2000-01-02T06"], dtype="datetime64[ns]")), [1.25])


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
@pytest.mark.parametrize("year", [850, 12000])
def test_cftime_of_every_calendar_and_age_is_counted_exactly(calendar: str, year: int) -> None:
    times = np.array(
        [cftime.datetime(year, 2, 1, 6, calendar=calendar), cftime.datetime(year, 2, 2, 12, calendar=calendar)]
    )
    assert_allclose(clock_of(times).days(times), [0, 1.25])


def test_lead_times_are_days() -> None:
    leads = pd.to_timedelta([0, 36], unit="h").to_numpy()
    assert_allclose(clock_of(leads).days(leads), [0, 1.5])


@pytest.mark.parametrize(
    ("units", "per_unit"),
    [
        ("", 1),
        ("days", 1),
        ("day", 1),
        ("Days since 1950-01-01", 1),
        ("hours since 1900-01-01", 1 / 24),
        ("minutes", 1 / 1440),
        ("seconds since 1970-01-01T00:00:00Z", 1 / 86400),
        ("weeks", 7),
        ("years", 365.2425),
    ],
)
def test_numbers_count_from_the_first_in_the_unit_they_name(units: str, per_unit: float) -> None:
    times = np.array([100, 101, 104])
    assert_allclose(clock_of(times, units).days(times, units), per_unit * np.array([0, 1, 4]), rtol=1e-12)


@pytest.mark.parametrize(
    ("units", "per_unit"),
    [("milliseconds since 1970-01-01", 1 / 86400e3), ("microseconds", 1 / 86400e6), ("nanoseconds", 1 / 86400e9)],
)
def test_small_cf_units_of_time_are_known(units: str, per_unit: float) -> None:
    times = np.array([0.0, 1e6, 5e6])
    assert_allclose(clock_of(times, units).days(times, units), per_unit * times, rtol=1e-12)


@pytest.mark.parametrize("units", ["months since 2000-01-01", "fortnights since 2000-01-01"])
def test_numbers_in_a_unit_that_is_not_a_number_of_days_are_refused(units: str) -> None:
    with pytest.raises(CoordinateError, match=units.split(maxsplit=1)[0]):
        clock_of(np.arange(3.0), units)


def test_a_clock_reads_numbers_of_another_unit_in_their_own() -> None:
    clock = clock_of(np.arange(48.0), "hours since 2000-01-01")
    assert_allclose(clock.days(np.array([0.0, 1.0, 1.5]), "days since 2000-01-01"), [0, 1, 1.5])


def test_one_date_may_be_written_in_several_ways() -> None:
    clock = clock_of(np.arange(4.0), "days since 2000-01-01")
    assert_allclose(clock.days(np.array([2.0]), "days since 2000-1-1 00:00:0.0"), [2])


def test_numbers_counted_from_another_date_are_refused_with_both_named() -> None:
    clock = clock_of(np.arange(4.0), "days since 2000-01-01")
    with pytest.raises(AlignmentError, match=r"1990-01-01.*2000-01-01"):
        clock.days(np.arange(4.0), "days since 1990-01-01")


def test_dates_coded_in_digits_are_refused_with_the_way_to_decode_them() -> None:
    with pytest.raises(CoordinateError, match=r"'day as %Y%m%d\.%f', which is not an elapsed time.*`ds\['time'\] = pd"):
        clock_of(np.array([20000101.0, 20000102.0]), "day as %Y%m%d.%f")


@pytest.mark.parametrize(
    ("values", "dtype"),
    [(np.array(["2000-01-01"]), "<U10"), (np.array(["2000-01-01"], object), "object"), (np.array([1j]), "complex128")],
)
def test_times_that_are_neither_dates_nor_numbers_are_refused(values: np.ndarray, dtype: str) -> None:
    with pytest.raises(CoordinateError, match=rf"Time has dtype {dtype}; expected datetime64, cftime or real numbers"):
        clock_of(values)


def test_a_time_that_is_not_a_time_is_refused() -> None:
    with pytest.raises(CoordinateError, match=r"Time holds NaT.*`da\.isel\(time=da\['time'\]\.notnull\(\)\)`"):
        clock_of(np.array(["2000-01-01", "NaT"], dtype="datetime64[ns]"))


@pytest.mark.parametrize(
    ("fitted", "given", "words"),
    [
        (("datetime64", ""), ("cftime", "noleap"), r"are cftime \(noleap calendar\), but .* fitted on datetime64"),
        (("cftime", "360_day"), ("cftime", "noleap"), r"cftime \(noleap calendar\), .* cftime \(360_day calendar\)"),
        (("datetime64", ""), ("number", ""), r"are number, but the model was fitted on datetime64"),
        (("number", ""), ("datetime64", ""), r"are datetime64, but the model was fitted on number"),
    ],
)
def test_dates_of_another_kind_or_calendar_are_refused_with_both_named(
    fitted: tuple[str, str], given: tuple[str, str], words: str
) -> None:
    _, own, attrs = time_axis(np.arange(3.0), *fitted)
    _, other, other_attrs = time_axis(np.arange(3.0), *given)
    with pytest.raises(AlignmentError, match=rf"{words}.*`da\.convert_calendar\('standard'\)`"):
        clock_of(own, attrs.get("units", "")).days(other, other_attrs.get("units", ""))


def test_a_clock_survives_being_written_down() -> None:
    times = np.array([cftime.datetime(2000, 2, 30, 1, 2, 3, 250000, calendar="360_day")])
    clock = clock_of(times)
    assert_allclose(Clock(**json.loads(json.dumps(asdict(clock)))).days(times), [0], atol=1e-9)
