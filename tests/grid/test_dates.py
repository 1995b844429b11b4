"""Dates that somebody typed: read in the calendar and resolution of an axis, or refused in plain words."""

from __future__ import annotations

import datetime as dt

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from xgpfill.cf.dates import typed_dates
from xgpfill.errors import AlignmentError, CoordinateError

from tests.strategies import quick, time_axis

CALENDARS = ("standard", "noleap", "360_day", "julian")


def numpy_axis(unit: str = "ns") -> xr.DataArray:
    return xr.DataArray(np.array(["2001-01-01", "2001-01-02"], f"M8[{unit}]"), dims="time", name="time")


def axis_of(kind: str, calendar: str = "standard") -> xr.DataArray:
    dim, values, attrs = time_axis(np.arange(2.0), kind, calendar)
    return xr.DataArray(values, dims=dim, name=dim, attrs=attrs)


@quick
@given(st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)), st.sampled_from("T "))  # noqa: DTZ001
def test_what_a_datetime_prints_is_read_as_that_datetime(date: dt.datetime, between: str) -> None:
    expected = np.array(date, "M8[ns]")
    for typed in (date.isoformat(between), f" {date.isoformat()} ", date, pd.Timestamp(date)):
        found = typed_dates(np.asarray(typed), numpy_axis())
        assert found.dtype == "M8[ns]" and found.shape == ()
        assert found == expected


@quick
@given(st.integers(-500, 9000), st.integers(0, 364), st.integers(0, 86_399_999_999), st.sampled_from(CALENDARS))
def test_what_a_cftime_date_prints_is_read_as_that_date(year, day, microseconds, calendar: str) -> None:
    if calendar in ("standard", "julian"):
        year = max(year, 1)
    date = cftime.datetime(year, 1, 1, calendar=calendar) + dt.timedelta(days=day, microseconds=microseconds)
    axis = axis_of("cftime", calendar)
    for text in (date.isoformat(), date.isoformat(" ")):
        found = typed_dates(np.array([[text]]), axis)
        assert found.shape == (1, 1)
        assert found[0, 0] == date and found[0, 0].calendar == calendar
        assert type(found[0, 0]) is type(axis.values[0])


@pytest.mark.parametrize("cls", [cftime.DatetimeNoLeap, cftime.DatetimeProlepticGregorian])
def test_dates_are_of_the_class_of_the_axis(cls: type) -> None:
    axis = xr.DataArray(np.array([cls(2001, 1, 1)]), dims="time", name="time")
    assert type(typed_dates(np.array("2011-02-01"), axis).item()) is cls


def test_days_that_only_a_calendar_has_are_read_in_it() -> None:
    assert typed_dates(np.array("2011-02-30"), axis_of("cftime", "360_day")).item().day == 30
    with pytest.raises(CoordinateError, match=r"'2012-02-29', which is no date of the noleap calendar"):
        typed_dates(np.array("2012-02-29"), axis_of("cftime", "noleap"))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_dates_have_the_resolution_of_the_axis_where_it_holds_them(unit: str) -> None:
    assert typed_dates(np.array("2011-02-01T06"), numpy_axis(unit)).dtype == f"M8[{unit}]"
    fine = typed_dates(np.array(["2011-02-01T06:00:00.5", "2011-02-01"]), numpy_axis(unit))
    assert fine[0] == np.datetime64("2011-02-01T06:00:00.500")
    far = typed_dates(np.array("9000-02-01"), numpy_axis(unit))
    assert str(far.astype("M8[D]")) == "9000-02-01"


def test_other_values_are_given_back_as_they_are() -> None:
    cf = np.array([cftime.DatetimeNoLeap(2001, 1, 1)])
    days = np.array(["2001-01-01"], "M8[ns]")
    nothing = np.array([], object)
    for values in (cf, days, np.arange(3), np.array([np.nan, None], object), nothing, np.array([], "U1")):
        for axis in (numpy_axis(), axis_of("cftime"), axis_of("number")):
            assert typed_dates(values, axis) is values


def test_dates_of_several_kinds_are_read_together() -> None:
    mixed = np.array(
        ["2001-01-03", dt.date(2001, 1, 4), np.datetime64("2001-01-05"), pd.Timestamp("2001-01-06")], object
    )
    expected = np.array([f"2001-01-0{day}" for day in range(3, 7)], "M8[ns]")
    np.testing.assert_array_equal(typed_dates(mixed, numpy_axis()), expected)
    mixed[2] = cftime.DatetimeNoLeap(2001, 1, 5)
    found = typed_dates(mixed, axis_of("cftime", "noleap"))
    assert [date.day for date in found] == [3, 4, 5, 6] and found[2] is mixed[2]
    with pytest.raises(CoordinateError, match=r"'2001-01-05T00:00:00' \(it is of the noleap calendar\), which is no"):
        typed_dates(mixed, numpy_axis())


@pytest.mark.parametrize(
    "text",
    ["", "soon", "now", "NaT", "3", "2011", "2011-02", "20110201", "01/02/2011", "2011-13-01", "2011-02-30",
     "2011-02-01T25:00", "2011-02-01T12:61", "2011-02-01T12:00:99", "2011-02-01Tnoon", "2011-02-01 and later"],
)  # fmt: skip
@pytest.mark.parametrize(
    ("axis", "calendar"), [(numpy_axis(), "standard"), (axis_of("cftime", "noleap"), "noleap")], ids=["numpy", "cftime"]
)
def test_text_that_is_no_date_is_refused_with_an_example(axis: xr.DataArray, calendar: str, text: str) -> None:
    expected = (
        rf"'time' holds {text!r}, which is no date of the {calendar} calendar; expected year, month and day, and the "
        r"time of day if need be\. Type e\.g\. `'2001-01-01'` or `'2001-01-01T12:00'`"
    )
    with pytest.raises(CoordinateError, match=expected):
        typed_dates(np.array([text]), axis)


@pytest.mark.parametrize("missing", [pd.NaT, np.nan, None], ids=str)
def test_a_missing_date_among_dates_is_refused(missing: object) -> None:
    with pytest.raises(CoordinateError, match=r"'time' holds '(NaT|nan|None)', which is no date"):
        typed_dates(np.array(["2001-01-01", missing], object), numpy_axis())


@pytest.mark.parametrize(
    "typed", ["2011-02-01T12:00Z", "2011-02-01T12:00+01:00", pd.Timestamp("2011-02-01", tz="UTC")], ids=str
)
def test_a_date_with_a_time_zone_is_refused(typed: object) -> None:
    with pytest.raises(CoordinateError, match=r"which has a time zone; the dates of the data have none\. Leave it out"):
        typed_dates(np.asarray(typed), numpy_axis())


def test_a_date_on_an_axis_of_numbers_or_durations_is_refused() -> None:
    plain = xr.DataArray([5, 6], dims="step", name="step")
    expected = (
        r"'step' holds '2011-02-01', but the model was fitted on times that are numbers\. Give such, e\.g\. "
        r"`model\.predict\(\{'step': 5\}\)`, or fit on dates: `da\.assign_coords\(step=pd\.date_range\("
    )
    with pytest.raises(AlignmentError, match=expected):
        typed_dates(np.array("2011-02-01"), plain)
    with pytest.raises(AlignmentError, match=r"numbers in 'hours since 2001-01-01'.*or fit on dates: `xr\.decode_cf"):
        typed_dates(np.array("2011-02-01"), axis_of("number"))
    with pytest.raises(
        AlignmentError, match=r"times that are durations.*`model\.predict\(\{'step': np\.timedelta64\(3"
    ):
        typed_dates(np.array("2011-02-01"), plain.astype("m8[s]"))
