"""Coordinates of padded fields: what places cells goes on in even steps, what cannot is refused with a cure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import xgpfill  # noqa: F401  (registers .gpfill)
from hypothesis import given
from hypothesis import strategies as st
from xgpfill.errors import CoordinateError

from tests.strategies import CALENDARS, quick


def field(**coords: Any) -> xr.DataArray:
    """A drawn field along these coordinates."""
    sizes = {name: np.size(values[1] if isinstance(values, tuple) else values) for name, values in coords.items()}
    values = np.random.default_rng(0).standard_normal(tuple(sizes.values()))
    return xr.DataArray(values, coords=coords, dims=tuple(sizes), name="q")


def padded(coordinate: Any, width: Any, name: str = "x") -> np.ndarray:
    return field(**{name: coordinate}).gpfill.pad({name: width}, mode="lp1x1")[name].values


@given(
    st.floats(-60, 60), st.sampled_from([0.25, 1.0, -2.5]), st.integers(2, 9), st.integers(0, 4), st.integers(0, 4)
)  # fmt: skip
@quick
def test_numbers_go_on_in_even_steps(first: float, step: float, size: int, before: int, after: int) -> None:
    expected = first + step * np.arange(-before, size + after)
    np.testing.assert_allclose(padded(expected[before : before + size], (before, after)), expected, atol=1e-9)


def test_numbers_beyond_a_small_type_are_not_wrapped():
    da = xr.DataArray(np.zeros((2, 9)), dims=("y", "x"), coords={"x": np.arange(9, dtype="int8") * 13})
    assert da.gpfill.pad({"x": 2}).x.values.tolist() == [13 * n for n in range(-2, 11)]


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64"])
def test_the_type_of_a_coordinate_is_kept(dtype: str) -> None:
    found = padded(np.arange(5, dtype=dtype), (2, 1))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, np.arange(-2, 6))


def test_unsigned_coordinates_may_go_below_zero() -> None:
    np.testing.assert_array_equal(padded(np.arange(5, dtype="uint8"), 2), np.arange(-2, 7))


def test_attributes_and_encodings_of_coordinates_are_kept() -> None:
    da = field(lat=("lat", np.arange(5.0), {"units": "degrees_north"}), lon=("lon", np.arange(5.0)))
    da.lat.encoding["dtype"] = "float32"
    found = da.gpfill.pad({"lat": 2})
    assert found.lat.attrs == da.lat.attrs and found.lat.encoding["dtype"] == "float32"
    xr.testing.assert_identical(found.lon, da.lon)


@pytest.mark.parametrize("freq", ["D", "6h", "MS", "YS"])
def test_dates_go_on_by_the_clock_and_by_the_calendar(freq: str) -> None:
    whole = pd.date_range("2000-01-01", periods=12, freq=freq)
    np.testing.assert_array_equal(padded(whole[3:9], 3, "time"), whole.values)


@pytest.mark.parametrize("calendar", CALENDARS)
@pytest.mark.parametrize("freq", ["D", "MS"])
def test_dates_of_other_calendars_go_on_in_theirs(calendar: str, freq: str) -> None:
    whole = xr.date_range("2000-01-01", periods=12, freq=freq, calendar=calendar, use_cftime=True)
    found = padded(whole[3:9], 3, "time")
    assert list(found) == list(whole) and found[0].calendar == calendar


def test_durations_go_on() -> None:
    hours = np.arange(5) * np.timedelta64(6, "h").astype("m8[ns]")
    np.testing.assert_array_equal(padded(hours, (1, 0), "time")[0], np.timedelta64(-6, "h"))


def test_cells_without_coordinates_get_none() -> None:
    assert not xr.DataArray(np.eye(5), dims=("h", "w")).gpfill.pad({"h": 1, "w": (0, 2)}).coords


def test_longitudes_that_close_wrap_exactly_and_go_on_rising() -> None:
    da = field(lat=np.arange(-40.0, 41.0, 10.0), lon=np.arange(0.0, 360.0, 30.0))
    found = da.gpfill.pad({"lat": (2, 1), "lon": (3, 14)}, mode="lp2x3")
    np.testing.assert_array_equal(found.lon, np.arange(-90.0, 780.0, 30.0))
    np.testing.assert_array_equal(found, found.sel(lon=found.lon % 360.0))
    np.testing.assert_array_equal(found.sel(lat=da.lat, lon=da.lon), da)


def test_longitudes_that_jump_at_the_date_line_go_on_beyond_the_jump() -> None:
    da = field(lat=np.arange(4.0), lon=np.array([178.0, 179.0, -180.0, -179.0]))
    np.testing.assert_array_equal(da.gpfill.pad({"lon": 1}).lon, [177.0, 178.0, 179.0, -180.0, -179.0, -178.0])


def test_a_meridian_that_is_repeated_is_met_once_on_the_way_round() -> None:
    da = field(lat=np.arange(4.0), lon=np.arange(0.0, 361.0, 60.0))
    da[:, -1] = da[:, 0]
    found = da.gpfill.pad({"lon": 2})
    np.testing.assert_array_equal(found.sel(lon=[-120.0, -60.0, 420.0]), da.sel(lon=[240.0, 300.0, 60.0]))


def test_other_coordinates_are_kept_and_missing_in_the_margins() -> None:
    da = field(time=np.arange(3.0), lat=np.arange(4.0), lon=np.arange(5.0))
    da = da.assign_coords(
        height=2.0, area=(("lat", "lon"), np.ones((4, 5))), season=("time", ["a", "b", "c"]), row=("lat", np.arange(4))
    )
    found = da.gpfill.pad({"lat": (1, 2)})
    assert set(found.coords) == set(da.coords)
    xr.testing.assert_identical(found.season, da.season)
    np.testing.assert_array_equal(found.row, [np.nan, 0, 1, 2, 3, np.nan, np.nan])
    assert int(found.area.isnull().sum()) == 15 and float(found.height) == 2.0


def test_other_coordinates_are_known_all_round_a_circle() -> None:
    da = field(lat=np.arange(4.0), lon=np.arange(0.0, 360.0, 60.0)).assign_coords(column=("lon", np.arange(6)))
    np.testing.assert_array_equal(da.gpfill.pad({"lon": (1, 2)}).column, [5, 0, 1, 2, 3, 4, 5, 0, 1])


def test_latitudes_and_longitudes_along_a_section_go_on() -> None:
    da = field(time=np.arange(3.0), site=np.arange(4)).drop_vars("site")
    da = da.assign_coords(lat=("site", 10.0 * np.arange(4)), lon=("site", 5.0 * np.arange(4)))
    found = da.gpfill.pad({"site": 1})
    np.testing.assert_array_equal(found.lat, [-10.0, 0.0, 10.0, 20.0, 30.0, 40.0])
    np.testing.assert_array_equal(found.lon, 0.5 * found.lat)


REGION = {"lat": np.arange(60.0, 90.0, 10.0), "lon": np.arange(0.0, 300.0, 20.0)}


@pytest.mark.parametrize(
    ("coords", "width", "match"),
    [
        (REGION, {"lat": (2, 3)}, r"'lat' by \(2, 3\) would lead to latitude 110, outside.*pad\(\{'lat': \(2, 1\)\}\)"),
        (REGION, {"lon": 3}, r"'lon' by \(3, 3\) would go round the globe and meet itself.*Add \d+ columns at most"),
        ({"x": [0.0, 1.0, 3.0]}, {"x": 1}, r"'x' has steps from 1 to 2; .*da\.interp\(x=.*drop_vars\('x'\)"),
        ({"x": [0.0, 0.0, 0.0]}, {"x": 1}, r"'x' has steps from 0 to 0; .*drop_vars\('x'\)"),
        ({"x": [1.0, np.nan, 3.0]}, {"x": 1}, r"'x' holds 1 NaN or infinite"),
        ({"x": ["a", "b", "c"]}, {"x": 1}, r"'x' has dtype .*expected real numbers.*drop_vars"),
        ({"x": [4.0]}, {"x": 1}, r"'x' has one value, so the step .*drop_vars\('x'\)"),
        (
            {"time": np.array(["2000-01-01", "2000-01-02", "2000-01-09"], "M8[ns]")},
            {"time": 1},
            r"'time' has steps from 1 days to 7 days; .*da\.interp\(time=",
        ),
        ({"time": np.array(["2000-01-01", "NaT", "2000-01-09"], "M8[ns]")}, {"time": 1}, r"'time' holds NaT\. Drop"),
    ],
    ids=["pole", "round", "uneven", "still", "nan", "labels", "alone", "dates", "nat"],
)  # fmt: skip
def test_a_coordinate_that_cannot_go_on_says_what_to_type(coords: dict[str, Any], width: Any, match: str) -> None:
    with pytest.raises(CoordinateError, match=match):
        field(**coords).gpfill.pad(width, mode="lp1x1")


def test_radians_end_at_the_poles_too() -> None:
    attrs = {"units": "radians"}
    da = field(lat=("lat", np.radians(REGION["lat"]), attrs), lon=("lon", np.radians(REGION["lon"]), attrs))
    assert da.gpfill.pad({"lat": (0, 1)}).sizes["lat"] == 4
    with pytest.raises(CoordinateError, match="latitude 100, outside"):
        da.gpfill.pad({"lat": (0, 2)})
