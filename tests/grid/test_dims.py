"""Roles of dimensions: CF attributes before types of coordinates before names, and no silent guess."""

from __future__ import annotations

from typing import Any

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from xgpfill.errors import CoordinateError, DimensionError
from xgpfill.grid.axes import require_numeric
from xgpfill.grid.dims import Roles, find_roles

from tests.strategies import fields, quick

DATES = pd.date_range("2000-01-01", periods=3)


def array(*dims: str, **coords: Any) -> xr.DataArray:
    """Zeros of 3, 4, 5, ... cells along `dims`; a bare list of numbers is a coordinate of its own dimension."""
    sizes = dict(zip(dims, range(3, 9), strict=False))
    return xr.DataArray(np.zeros(tuple(sizes.values())), dims=dims, coords=coords)


def numbers(dim: str, n: int, **attrs: str) -> tuple[str, np.ndarray, dict[str, str]]:
    return dim, np.arange(float(n)), attrs


def places(
    *dims: str, shape: tuple[int, ...], names: tuple[str, str] = ("lat", "lon"), cf: bool = True
) -> dict[str, Any]:
    """Latitude and longitude coordinates over `dims`."""
    cells = np.arange(float(np.prod(shape))).reshape(shape)
    units = ({"units": "degrees_north"}, {"units": "degrees_east"}) if cf else ({}, {})
    return {names[0]: (dims, cells / 2, units[0]), names[1]: (dims, cells, units[1])}


# From CF attributes, coordinate types and names


@pytest.mark.parametrize(
    ("y", "x"),
    [
        ({"axis": "Y"}, {"axis": "X"}),
        ({"standard_name": "latitude"}, {"standard_name": "longitude"}),
        ({"units": "degrees_north"}, {"units": "degrees_east"}),
        ({"standard_name": "projection_y_coordinate"}, {"standard_name": "projection_x_coordinate"}),
    ],
)
def test_cf_attributes_give_roles_to_any_name(y: dict[str, str], x: dict[str, str]) -> None:
    da = array(
        "when", "down", "right", when=("when", DATES), down=numbers("down", 4, **y), right=numbers("right", 5, **x)
    )
    roles = find_roles(da, None)
    assert (roles.time, roles.y_dim, roles.x_dim) == ("when", "down", "right")
    assert roles.fitted == ("when", "down", "right")


def test_cf_attributes_outrank_names() -> None:
    da = array("x", "y", x=numbers("x", 3, axis="Y"), y=numbers("y", 4, axis="X"))
    roles = find_roles(da, None)
    assert (roles.y_dim, roles.x_dim) == ("x", "y")


@pytest.mark.parametrize(
    "coordinate",
    [
        ("z", DATES),
        ("z", pd.to_timedelta([1, 2, 3], unit="D")),
        ("z", np.array([cftime.datetime(2000, 1, d, calendar="noleap") for d in (1, 2, 3)])),
        ("z", [0.0, 1.0, 2.0], {"units": "days since 2000-01-01"}),
        ("z", [20000101.0, 20000102.0, 20000103.0], {"units": "day as %Y%m%d.%f"}),
    ],
    ids=["datetime64", "timedelta64", "cftime", "since", "digits"],
)
def test_a_coordinate_of_dates_is_time_whatever_its_name(coordinate: tuple[Any, ...]) -> None:
    assert find_roles(array("z", "lat", z=coordinate), None).time == "z"


@pytest.mark.parametrize(
    "names",
    [
        ("time", "lat", "lon"),
        ("t", "latitude", "longitude"),
        ("date", "y", "x"),
        ("valid_time", "nav_lat", "nav_lon"),
        ("year", "northing", "easting"),
        ("month", "rlat", "rlon"),
        ("TIME", "Lat", "LON"),
        ("day", "row", "col"),
    ],
)
def test_usual_names_suffice(names: tuple[str, str, str]) -> None:
    assert find_roles(array(*names), None).fitted == names


def test_latitude_and_longitude_by_name_alone_are_degrees_but_x_and_y_are_not() -> None:
    assert find_roles(array("lat", "lon", lat=numbers("lat", 3), lon=numbers("lon", 4)), None).degrees
    assert not find_roles(array("y", "x", y=numbers("y", 3), x=numbers("x", 4)), None).degrees


def test_a_unit_outranks_the_name_in_saying_whether_it_is_degrees() -> None:
    metres = {"y": numbers("y", 3, units="m"), "x": numbers("x", 4, units="m")}
    assert not find_roles(array("y", "x", **metres), None).degrees
    rotated = {"y": numbers("y", 3, units="degrees"), "x": numbers("x", 4, units="degrees")}
    assert find_roles(array("y", "x", **rotated), None).degrees
    odd = {"lat": numbers("lat", 3, units="m"), "lon": numbers("lon", 4, units="m")}
    assert not find_roles(array("lat", "lon", **odd), None).degrees


# What is left over


def test_an_image_is_rows_and_columns_of_independent_channels() -> None:
    roles = find_roles(array("y", "x", "channel"), None)
    assert roles == Roles(None, ("y", "x"), ("channel",), y_dim="y", x_dim="x")


def test_a_time_series_has_no_space() -> None:
    assert find_roles(array("time"), None) == Roles("time", (), ())


@pytest.mark.parametrize("name", ["level", "member", "number", "step", "depth"])
@pytest.mark.parametrize("labelled", [True, False])
def test_usual_extra_dimensions_are_independent_fields(name: str, labelled: bool) -> None:
    da = array("time", "lat", "lon", time=DATES).expand_dims({name: [1.0, 2.0] if labelled else 2})
    assert find_roles(da, None).extra == (name,)


@pytest.mark.parametrize("name", ["index", "jackknife", "xyz", "minimum"])
def test_an_extra_dimension_gets_no_role_for_its_first_letters(name: str) -> None:
    da = array("time", "lat", "lon", time=DATES).expand_dims({name: [1.0, 2.0]})
    assert find_roles(da, None).extra == (name,)
    assert find_roles(da.isel(lat=0, lon=0, drop=True), None).extra == (name,)


@pytest.mark.parametrize(
    "labels",
    [
        ["a", "b"],
        pd.CategoricalIndex(["a", "b"]),
        pd.period_range("2000-01", periods=2, freq="M"),
        pd.interval_range(0, 2),
        pd.MultiIndex.from_product([["a"], [1, 2]], names=["letter", "digit"]),
    ],
    ids=["str", "categorical", "period", "interval", "multi"],
)
def test_labels_of_any_type_are_fine_along_an_extra_dimension(labels: Any) -> None:
    da = array("time", "lat", time=DATES).expand_dims(kind=2)
    labels = (
        xr.Coordinates.from_pandas_multiindex(labels, "kind") if isinstance(labels, pd.MultiIndex) else {"kind": labels}
    )
    assert find_roles(da.assign_coords(labels), ("time", "lat")).extra == ("kind",)
    assert find_roles(da.assign_coords(labels), None).extra == ("kind",)


# Space that is not two axes of its own


@pytest.mark.parametrize(("dims", "labelled"), [(None, True), (None, False), ({"station", "time"}, False)])
def test_stations_are_one_axis_of_places(dims: Any, labelled: bool) -> None:
    da = array("time", "station", time=DATES, **places("station", shape=(4,)))
    da = da.assign_coords(station=list("abcd")) if labelled else da
    roles = find_roles(da, dims)
    assert (roles.time, roles.space, roles.extra) == ("time", ("station",), ())
    assert (roles.y, roles.x, roles.degrees) == ("lat", "lon", True)


@pytest.mark.parametrize("dims", [None, "station"])
def test_stations_at_one_time_are_places_too(dims: Any) -> None:
    roles = find_roles(array("station", **places("station", shape=(3,))), dims)
    assert (roles.time, roles.space, roles.y, roles.x) == (None, ("station",), "lat", "lon")


def test_a_ship_track_along_x_is_a_list_of_places() -> None:
    roles = find_roles(array("x", **places("x", shape=(3,))), None)
    assert (roles.space, roles.y, roles.x, roles.degrees) == (("x",), "lat", "lon", True)


def test_a_stacked_grid_is_a_list_of_places() -> None:
    grid = array("time", "lat", "lon", time=DATES, lat=numbers("lat", 4), lon=numbers("lon", 5))
    roles = find_roles(grid.stack(site=("lat", "lon")), None)
    assert (roles.time, roles.space, roles.y, roles.x) == ("time", ("site",), "lat", "lon")


@pytest.mark.parametrize(("names", "cf"), [(("XLAT", "XLONG"), True), (("nav_lat", "nav_lon"), False)])
def test_two_dimensional_latitude_and_longitude_place_the_cells_of_y_and_x(names: tuple[str, str], cf: bool) -> None:
    da = array("time", "y", "x", time=DATES, **places("y", "x", shape=(4, 5), names=names, cf=cf))
    roles = find_roles(da, None)
    assert (roles.y_dim, roles.x_dim, roles.y, roles.x, roles.degrees) == ("y", "x", *names, True)


@pytest.mark.parametrize("dims", [("time", "south_north", "west_east"), ("west_east", "south_north", "time")])
def test_two_dimensional_latitude_and_longitude_give_their_dimensions_a_role_when_named(dims: tuple[str, ...]) -> None:
    cells = places("south_north", "west_east", shape=(4, 5), names=("XLAT", "XLONG"))
    roles = find_roles(array("time", "south_north", "west_east", time=DATES, **cells), dims)
    assert set(roles.space) == {"south_north", "west_east"}
    assert (roles.extra, roles.y, roles.x, roles.degrees) == ((), "XLAT", "XLONG", True)


@pytest.mark.parametrize(("y", "x", "labelled"), [("south_north", "west_east", False), ("j", "i", True)])
def test_two_dimensional_latitude_and_longitude_give_their_dimensions_a_role_unasked(
    y: str, x: str, labelled: bool
) -> None:
    cells = places(y, x, shape=(4, 5), names=("XLAT", "XLONG"))
    da = array("time", y, x, time=DATES, **cells)
    da = da.assign_coords({y: np.arange(4), x: np.arange(5)}) if labelled else da
    for field in (da, da.isel(time=0, drop=True), da.expand_dims(member=2)):
        roles = find_roles(field, None)
        assert set(roles.space) == {y, x}
        assert (roles.y, roles.x, roles.degrees) == ("XLAT", "XLONG", True)
        assert roles.extra == (("member",) if "member" in field.dims else ())


@pytest.mark.parametrize("unit", ["m", "Meters", "kilometers"])
def test_projected_axes_in_a_unit_of_length_outrank_two_dimensional_latitudes(unit: str) -> None:
    da = array("y", "x", y=numbers("y", 3, units=unit), x=numbers("x", 4, units=unit))
    roles = find_roles(da.assign_coords(places("y", "x", shape=(3, 4))), None)
    assert (roles.y, roles.x, roles.degrees) == ("y", "x", False)


def test_a_rotated_pole_uses_true_latitudes_when_it_has_them() -> None:
    rotated = {
        "rlat": numbers("rlat", 3, units="degrees", standard_name="grid_latitude"),
        "rlon": numbers("rlon", 4, units="degrees", standard_name="grid_longitude"),
    }
    da = array("rlat", "rlon", **rotated)
    own, true = find_roles(da, None), find_roles(da.assign_coords(places("rlat", "rlon", shape=(3, 4))), None)
    assert own.space == true.space == ("rlat", "rlon")
    assert (own.y, own.x, own.degrees) == ("rlat", "rlon", True)
    assert (true.y, true.x, true.degrees) == ("lat", "lon", True)


def test_dimensions_without_coordinates_have_none() -> None:
    roles = find_roles(array("time", "y", "x"), None)
    assert (roles.y, roles.x, roles.y_dim, roles.x_dim, roles.degrees) == (None, None, "y", "x", False)


# What the user says


@pytest.mark.parametrize("dims", [("time", "lat", "lon"), ["lon", "time", "lat"], {"lat", "lon", "time"}, None])
def test_names_may_come_in_any_order(dims: Any) -> None:
    roles = find_roles(array("lon", "time", "lat", time=("time", pd.date_range("2000", periods=4))), dims)
    assert roles.fitted == ("time", "lat", "lon")


def test_dimensions_that_are_not_named_are_independent_fields() -> None:
    da = array("time", "lat", "lon", time=DATES)
    assert find_roles(da, "time").extra == ("lat", "lon")
    assert find_roles(da, ("lat", "lon")).extra == ("time",)
    assert find_roles(da.expand_dims(lead=pd.to_timedelta([1, 2], unit="D")), ("time", "lat", "lon")).extra == ("lead",)


@pytest.mark.parametrize(("y", "x"), [("y", "x"), ("Latitude", "LONGITUDE")])
def test_a_mapping_settles_what_cannot_be_told(y: str, x: str) -> None:
    roles = find_roles(array("a", "b", "c"), {"time": "b", y: "c", x: "a"})
    assert (roles.time, roles.y_dim, roles.x_dim, roles.extra) == ("b", "c", "a", ())
    assert roles.fitted == ("b", "c", "a")


@quick
@given(fields(), st.randoms())
def test_roles_do_not_depend_on_the_order_of_dimensions_or_names(da: xr.DataArray, random: Any) -> None:
    roles = find_roles(da, None)
    order = list(da.dims)
    random.shuffle(order)
    assert find_roles(da.transpose(*order), None).fitted == roles.fitted
    names = list(roles.fitted)
    random.shuffle(names)
    assert find_roles(da, names) == roles
    assert set(roles.extra) == set(da.dims) - {"time", "lat", "lon"}


# Errors


@pytest.mark.parametrize("dims", [("time", "latitude"), "latitude", {"y": "latitude"}])
def test_a_dimension_that_is_not_there_is_named_beside_those_that_are(dims: Any) -> None:
    with pytest.raises(
        DimensionError,
        match=r"Dimension 'latitude' is not in the data, whose dimensions are 'time', 'lat'.*`fit\(dims=\(",
    ):
        find_roles(array("time", "lat"), dims)


@pytest.mark.parametrize("dims", [(), {}, ("lat", "lat"), {"y": "lat", "x": "lat"}])
def test_names_must_be_some_and_each_once(dims: Any) -> None:
    with pytest.raises(DimensionError, match=r"expected at least one name, each once, out of 'time', 'lat'"):
        find_roles(array("time", "lat"), dims)


def test_an_unknown_role_is_refused_with_the_list_of_roles() -> None:
    with pytest.raises(DimensionError, match=r"Unknown role 'q' in dims\. Roles are 'time', 'depth', 'y' \(or 'lat'\)"):
        find_roles(array("a", "b"), {"q": "a"})


def test_a_role_given_twice_is_refused() -> None:
    with pytest.raises(DimensionError, match=r"'a'.*'b'"):
        find_roles(array("a", "b", "x"), {"y": "a", "lat": "b", "x": "x"})


@pytest.mark.parametrize("dims", [None, ("a", "b"), {"a", "b"}])
def test_roles_that_cannot_be_told_are_asked_for(dims: Any) -> None:
    with pytest.raises(
        DimensionError,
        match=r"Cannot tell the role of dimension\(s\) '[ab]', '[ab]'.*`dims=\{'y': '[ab]', 'x': '[ab]'\}`",
    ):
        find_roles(array("a", "b"), dims)


@pytest.mark.parametrize(
    ("names", "role"), [(("time", "date"), "time"), (("lat", "y"), "y"), (("lon", "easting"), "x")]
)
def test_two_dimensions_of_one_role_are_refused(names: tuple[str, str], role: str) -> None:
    with pytest.raises(
        DimensionError, match=rf"'{names[0]}' and '{names[1]}' both look like '{role}'.*`dims=\{{'time'"
    ):
        find_roles(array(*names), None)


def test_forecast_leads_beside_times_are_asked_about() -> None:
    da = array("time", "lat", time=DATES).expand_dims(lead=pd.to_timedelta([1, 2], unit="D"))
    with pytest.raises(DimensionError, match=r"Dimensions 'lead' and 'time' both look like 'time'"):
        find_roles(da, None)


@pytest.mark.parametrize("values", [np.array(["a"]), np.array([True]), np.array([1j]), np.array([None])])
def test_a_coordinate_must_be_real_numbers(values: np.ndarray) -> None:
    with pytest.raises(CoordinateError, match=r"'lat' has dtype .*; expected real numbers.*`da\.drop_vars\("):
        require_numeric(values, "lat")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_coordinate_must_be_finite(bad: float) -> None:
    with pytest.raises(CoordinateError, match=r"'lat' holds 1 NaN or infinite value\(s\)\. Drop them"):
        require_numeric(np.array([0.0, bad]), "lat")
