"""Which coordinates are the places and times of observations along one dimension."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from xgpfill.errors import CoordinateError, DimensionError
from xgpfill.grid.lattice import distance_between
from xgpfill.layout.dims import find_roles
from xgpfill.layout.encode import encode

TIMES = pd.date_range("2000-01-01", periods=4)


def observations(n: int = 4, **coords: Any) -> xr.DataArray:
    """Some values along `obs` with coordinates along it."""
    return xr.DataArray(
        np.arange(float(n)), dims="obs", coords={name: ("obs", values) for name, values in coords.items()}
    )


def track(n: int = 4) -> xr.DataArray:
    lat, lon = np.linspace(40.0, 41.0, n), np.linspace(1.0, 3.0, n)
    return observations(n, time=TIMES[np.arange(n) % 4], lat=lat, lon=lon)


@pytest.mark.parametrize("dims", [None, "obs", ("obs",)])
@pytest.mark.parametrize("coords", [None, ("time", "lat", "lon"), ("lon", "time", "lat")])
def test_time_latitude_and_longitude_along_one_dimension_are_a_track(dims: Any, coords: Any) -> None:
    roles = find_roles(track(), dims, coords)
    assert (roles.time, roles.track, roles.space, roles.extra) == (None, "time", ("obs",), ())
    assert (roles.y, roles.x, roles.degrees, roles.scattered) == ("lat", "lon", True, True)
    assert roles.coordinates == {"time": "time", "y": "lat", "x": "lon"}


def test_a_track_whose_dimension_is_its_time_is_one_as_well() -> None:
    roles = find_roles(track().swap_dims(obs="time"), None)
    assert (roles.time, roles.track, roles.space, roles.y, roles.x) == (None, "time", ("time",), "lat", "lon")


def test_a_buoy_that_stays_is_a_series() -> None:
    roles = find_roles(
        track().assign_coords(lat=("obs", np.ones(4)), lon=("obs", np.ones(4))).swap_dims(obs="time"), None
    )
    assert (roles.time, roles.track, roles.space) == ("time", None, ())


@pytest.mark.parametrize(
    ("coords", "y", "x", "time"),
    [
        (("x",), None, "x", None),
        (("y",), "y", None, None),
        (("x", "y"), "y", "x", None),
        (("a",), None, "a", None),
        (("a", "b"), "b", "a", None),
        (("x", "when"), None, "x", "when"),
        ("when", None, None, "when"),
    ],
)
def test_coordinates_that_are_named_need_no_attributes(coords: Any, y: str, x: str, time: str) -> None:
    numbers = {name: np.array([3.0, 1.0, 1.0, 2.0]) for name in "xyab"}
    roles = find_roles(observations(**numbers, when=TIMES), ("obs",), coords)
    assert (roles.y, roles.x, roles.track, roles.degrees) == (y, x, time, False)
    assert {roles.y_dim, roles.x_dim} == {"obs", None}


def test_the_coordinate_of_the_dimension_may_be_unsorted_and_repeated() -> None:
    da = xr.DataArray(np.zeros(4), dims="x", coords={"x": [3.0, 1.0, 1.0, 2.0]})
    lattice, _ = encode(da, dims="x", coords="x")
    np.testing.assert_array_equal(lattice.space.coordinates[0, :, 0], da.x)
    assert not lattice.space.is_grid


def test_other_dimensions_are_fields_or_times() -> None:
    da = track().drop_vars("time").expand_dims(member=3, time=TIMES)
    roles = find_roles(da, ("time", "obs"), ("lat", "lon"))
    assert (roles.time, roles.track, roles.space, roles.extra) == ("time", None, ("obs",), ("member",))


def test_days_and_places_are_those_of_each_observation() -> None:
    da = track().isel(obs=[2, 0, 3, 1])
    lattice, layout = encode(da)
    np.testing.assert_array_equal(lattice.days.ravel(), [0.0, -2.0, 1.0, -1.0])
    np.testing.assert_array_equal(lattice.moments, [-2.0, -1.0, 0.0, 1.0])
    assert lattice.shape == (1, 4, 1)
    assert lattice.time_extent == 3.0
    assert lattice.num_places == 4
    np.testing.assert_array_equal(layout.restore(lattice.values), da)


def test_places_in_any_order_are_as_far_apart_as_the_nearest_ones() -> None:
    rng = np.random.default_rng(0)
    places = np.stack(np.meshgrid(np.arange(6.0), np.arange(5.0)), axis=-1).reshape(-1, 2)
    assert distance_between(rng.permutation(np.concatenate([places, places]))) == 1.0
    assert distance_between(places[:1]) == 0.0


@pytest.mark.parametrize(
    ("dims", "coords", "match"),
    [
        (("obs",), ("lat", "depth"), "Coordinate 'depth' is not in the data, .*coords=\\('time', 'lat', 'lon'\\)"),
        (("obs",), (), "coords=\\(\\): expected at least one name"),
        (("obs",), ("lat", "lat"), "coords=\\('lat', 'lat'\\): expected at least one name, each once"),
        (("obs",), ("lat", "y"), "Coordinates 'lat' and 'y' both look like 'y'"),
        (("obs",), ("lat", "lon", "a"), "cannot tell what 'a' are.*one of time"),
        (("obs", "lat"), ("lat", "lon"), "Dimension 'lat' is not in the data"),
        (("member",), ("lat", "lon"), "lie along 'obs', which is none of dims=\\('member',\\)"),
        (("obs", "member"), ("lat", "lon"), "go beyond 'obs'.*independent fields"),
        (("obs",), ("scalar",), "One observation is a dimension of one: `da.expand_dims\\('obs'\\)`"),
        (("obs",), ("lat", "level"), "coords= names .*'level' along \\('member',\\).*`da.stack\\(obs="),
    ],
)
def test_what_cannot_be_told_is_refused_with_its_cure(dims: Any, coords: Any, match: str) -> None:
    da = track().expand_dims(member=2).assign_coords(y=("obs", np.arange(4.0)), a=("obs", np.arange(4.0)), scalar=1.0)
    da = da.assign_coords(level=("member", [1.0, 2.0]))
    with pytest.raises(DimensionError, match=match):
        find_roles(da, dims, coords)


def test_coordinates_of_a_lattice_need_not_be_named() -> None:
    da = xr.DataArray(np.zeros((3, 4)), dims=("lat", "lon"), coords={"lat": np.arange(3.0), "lon": np.arange(4.0)})
    with pytest.raises(DimensionError, match=re.escape("need no `coords=`: `fit(dims=('lat', 'lon'))`")):
        find_roles(da, None, ("lat", "lon"))


def test_a_swath_is_refused_with_the_call_that_makes_it_a_list() -> None:
    cells = {name: (("y", "x"), np.arange(12.0).reshape(3, 4)) for name in ("lat", "lon")}
    da = xr.DataArray(np.zeros((3, 4)), dims=("y", "x"), coords={"time": ("y", TIMES[:3]), **cells})
    with pytest.raises(DimensionError, match=re.escape("`da.stack(obs=('y', 'x'), create_index=False).dropna('obs')`")):
        find_roles(da, None)
    listed = da.stack(obs=("y", "x"), create_index=False)
    assert find_roles(listed, ("obs",)).track == "time"


def test_observations_without_a_role_are_told_of_coords() -> None:
    with pytest.raises(DimensionError, match=re.escape("`dims=('obs',), coords=('temperature',)`")):
        find_roles(observations(temperature=np.arange(4.0)), None)


def test_lost_times_along_a_track_are_dropped_by_the_call_that_is_named() -> None:
    da = track()
    da = da.assign_coords(time=da.time.where(da.lat < 40.9))
    with pytest.raises(CoordinateError, match=re.escape("`da.isel(obs=da['time'].notnull())`")):
        encode(da)
    encode(da.isel(obs=da["time"].notnull()))
