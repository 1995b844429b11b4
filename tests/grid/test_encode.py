"""The front door: any DataArray in, a lattice in km and days out, the same array back, bad input named."""

from __future__ import annotations

import re
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from xgpfill.errors import AlignmentError, CoordinateError, DataError, DimensionError, NoiseError, XgpfillWarning
from xgpfill.layout.encode import encode

from tests import reference as ref
from tests.strategies import TIME_KINDS, days, fields, latitudes, longitudes, quick, time_axis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from xgpfill.grid.lattice import Lattice


def cube(nt: int = 4, ny: int = 5, nx: int = 6, **coords: Any) -> xr.DataArray:
    """A field without gaps on time, lat and lon."""
    own = {
        "time": pd.date_range("2000-01-01", periods=nt),
        "lat": ("lat", 40.0 + np.arange(ny), {"units": "degrees_north"}),
        "lon": ("lon", 10.0 + np.arange(nx), {"units": "degrees_east"}),
    }
    values = np.random.default_rng(0).normal(size=(nt, ny, nx))
    return xr.DataArray(values, dims=("time", "lat", "lon"), coords={**own, **coords}, name="sst")


def projected(units: str = "m", step: float = 1000.0) -> xr.DataArray:
    """A field on x and y."""
    coords = {d: (d, step * np.arange(n), {"units": units}) for d, n in (("y", 4), ("x", 5))}
    return xr.DataArray(np.random.default_rng(1).normal(size=(4, 5)), dims=("y", "x"), coords=coords)


def stations(n: int = 4) -> xr.DataArray:
    """A field on time and stations."""
    rng = np.random.default_rng(2)
    coords = {
        "time": pd.date_range("2000-01-01", periods=3),
        "lat": ("station", rng.uniform(-90, 90, n), {"units": "degrees_north"}),
        "lon": ("station", rng.uniform(-180, 360, n), {"units": "degrees_east"}),
    }
    return xr.DataArray(rng.normal(size=(3, n)), dims=("time", "station"), coords=coords)


def curvilinear() -> xr.DataArray:
    """A field on y and x with two-dimensional latitude and longitude across the date line."""
    lat, lon = np.meshgrid(60 + np.arange(4.0), 178 + np.arange(5.0), indexing="ij")
    lat, lon = lat + 0.1 * (lon - 180), (lon + 0.3 * (lat - 60) + 180) % 360 - 180
    coords = {"lat": (("y", "x"), lat, {"units": "degrees_north"}), "lon": (("y", "x"), lon, {"units": "degrees_east"})}
    return xr.DataArray(np.random.default_rng(3).normal(size=(4, 5)), dims=("y", "x"), coords=coords)


def distances(lattice: Lattice) -> np.ndarray:
    flat = lattice.space.coordinates.reshape(lattice.space.size, -1)
    return ref.distance(flat, flat)


def chords(lat: Any, lon: Any) -> np.ndarray:
    places = ref.chord(np.ravel(lat), np.ravel(lon))
    return ref.distance(places, places)


@contextmanager
def nothing_computed() -> Iterator[None]:
    """Fail if dask computes."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("dask computed")

    with dask.config.set(scheduler=refuse):
        yield


# There and back


@quick
@given(fields())
def test_what_goes_in_comes_back_whatever_the_order_of_dimensions(da: xr.DataArray) -> None:
    lattice, layout = encode(da, valid=True)
    assert_array_equal(layout.restore(layout.canonical(da)), da.values, strict=True)
    assert_array_equal(layout.restore(lattice.values), da.values, strict=True)
    assert lattice.values.shape == (*lattice.extra_shape, *lattice.shape)
    assert layout.axis_sizes() == lattice.shape
    assert set(layout.canonical_dims) == set(da.dims)


@quick
@given(fields())
def test_the_input_is_never_changed(da: xr.DataArray) -> None:
    before = da.copy(deep=True)
    bits = da.values.tobytes()
    _, layout = encode(da, valid=True)
    layout.restore(layout.canonical(da))
    xr.testing.assert_identical(da, before)
    assert da.values.tobytes() == bits
    for name in da.coords:
        assert da.coords[name].attrs == before.coords[name].attrs
        assert da.coords[name].encoding == before.coords[name].encoding


@quick
@given(fields(), st.randoms())
def test_the_lattice_does_not_depend_on_the_order_of_dimensions(da: xr.DataArray, random: Any) -> None:
    order = list(da.dims)
    random.shuffle(order)
    dims = ("time", "lat", "lon")
    one, layout = encode(da, dims=[d for d in dims if d in da.dims], valid=True)
    other, _ = encode(da.transpose(*order), dims=[d for d in dims if d in da.dims], valid=True)
    assert_array_equal(one.time, other.time)
    assert_array_equal(one.space.coordinates, other.space.coordinates)
    again = layout.canonical(da.transpose(*order))
    assert_array_equal(one.values, again, strict=True)


@quick
@given(latitudes(), longitudes())
def test_cells_are_where_latitude_and_longitude_say_in_either_direction(lat: np.ndarray, lon: np.ndarray) -> None:
    da = xr.DataArray(np.zeros((lat.size, lon.size)), dims=("lat", "lon"), coords={"lat": lat, "lon": lon})
    lattice, _ = encode(da)
    assert lattice.shape == (1, lat.size, lon.size)
    assert_allclose(distances(lattice), chords(*np.meshgrid(lat, lon, indexing="ij")), atol=1e-7)


@quick
@given(latitudes(), longitudes(convention="0..360"))
def test_both_conventions_of_longitude_give_the_same_distances(lat: np.ndarray, lon: np.ndarray) -> None:
    da = xr.DataArray(np.zeros((lat.size, lon.size)), dims=("lat", "lon"), coords={"lat": lat, "lon": lon})
    other = da.assign_coords(lon=(lon + 180) % 360 - 180)
    assert_allclose(distances(encode(da)[0]), distances(encode(other)[0]), atol=1e-7)


@quick
@given(days(), st.sampled_from(TIME_KINDS))
def test_days_count_from_the_first_step_for_dates_of_every_kind(expected: np.ndarray, kind: str) -> None:
    da = xr.DataArray(np.zeros(expected.size), dims="time", coords={"time": time_axis(expected, kind)})
    lattice, _ = encode(da)
    assert lattice.time.dtype == np.float64
    assert_allclose(lattice.time, expected - expected[0], atol=1e-9)
    falling, _ = encode(da[::-1])
    assert_allclose(np.abs(np.diff(falling.time)), np.diff(expected)[::-1], atol=1e-9)


@pytest.mark.parametrize(
    ("name", "step"),
    [("year", 365.2425), ("hour", 1 / 24), ("week", 7.0), ("month", 365.2425 / 12), ("dayofyear", 1.0)],
)
def test_numbers_along_a_dimension_of_years_or_hours_count_these(name: str, step: float) -> None:
    da = cube().assign_coords(time=[3, 4, 6, 7]).rename(time=name)
    lattice, layout = encode(da)
    assert_allclose(lattice.time, step * np.array([0.0, 1.0, 3.0, 4.0]))
    assert_allclose(encode(da[1:], like=layout)[0].time, lattice.time[1:])
    da[name].attrs["units"] = "days"
    assert_allclose(encode(da)[0].time, [0, 1, 3, 4])


@pytest.mark.parametrize("years", [[1990, 1991, 1992, 1993], 1990 + np.arange(4) / 12])
def test_numbers_that_look_like_years_are_warned_of_with_both_cures(years: Any) -> None:
    da = cube().assign_coords(time=years)
    with pytest.warns(XgpfillWarning, match=r"'time' runs from 1990 to 199.*counted as days.*= 'years'`, or 'days'"):
        encode(da)
    da.time.attrs["units"] = "years"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_allclose(encode(da)[0].time, 365.2425 * (np.array(years) - 1990))


def test_descending_axes_keep_their_order() -> None:
    da = cube()[::-1, ::-1, ::-1]
    lattice, layout = encode(da)
    forward, _ = encode(cube())
    assert_array_equal(lattice.values, forward.values[::-1, ::-1, ::-1])
    assert_allclose(distances(lattice), distances(forward)[::-1, ::-1], atol=1e-9)
    assert_allclose(lattice.time, [0, -1, -2, -3])
    assert lattice.time_step == 1.0
    assert_array_equal(layout.restore(lattice.values), da.values)


@pytest.mark.parametrize("dtype", ["int64", "float16", "float32"])
def test_real_numbers_of_every_type_are_taken_as_they_are(dtype: str) -> None:
    assert encode(cube().astype(dtype))[0].values.dtype == dtype


@pytest.mark.parametrize("sizes", [(1, 5, 6), (4, 1, 6), (4, 5, 1), (1, 1, 6), (1, 1, 1)])
def test_axes_of_one_cell_are_fine(sizes: tuple[int, int, int]) -> None:
    assert encode(cube(*sizes))[0].shape == sizes


# Kinds of space


def test_stations_are_places_in_a_column() -> None:
    da = stations()
    lattice, layout = encode(da)
    assert lattice.shape == (3, 4, 1)
    assert not lattice.space.is_grid
    assert_allclose(distances(lattice), chords(da.lat, da.lon), atol=1e-7)
    assert_array_equal(layout.restore(lattice.values), da.values)
    assert_array_equal(encode(da.T)[1].restore(lattice.values), da.T.values)


def test_stations_may_share_a_place_and_come_in_any_order() -> None:
    da = stations().isel(station=[2, 0, 2, 1])
    assert distances(encode(da)[0])[0, 2] == 0


@pytest.mark.parametrize("order", [("y", "x"), ("x", "y")])
def test_curvilinear_cells_are_where_their_coordinates_say(order: tuple[str, str]) -> None:
    da = curvilinear().transpose(*order)
    lattice, layout = encode(da)
    assert lattice.shape == (1, 4, 5)
    assert lattice.space.is_grid
    assert not lattice.space.wraps
    assert_allclose(distances(lattice), chords(curvilinear().lat, curvilinear().lon), atol=1e-7)
    assert_array_equal(layout.restore(lattice.values), da.values)


def test_coordinates_stored_in_another_order_than_the_data_are_turned() -> None:
    da = curvilinear()
    turned = da.assign_coords(lat=da.lat.T, lon=da.lon)
    assert_array_equal(encode(turned)[0].space.coordinates, encode(da)[0].space.coordinates)


@pytest.mark.parametrize(("units", "step"), [("m", 2000.0), ("km", 2.0), ("metres", 2000.0)])
def test_projected_axes_become_km(units: str, step: float) -> None:
    lattice, layout = encode(projected(units, step))
    assert (lattice.space.geometry, lattice.space.unit) == ("plane", "km")
    assert lattice.space.steps == pytest.approx((2.0, 2.0))
    assert_allclose(lattice.space.coordinates[1, 2], [4, 2])
    assert not layout.metric.degrees


def test_two_spellings_of_one_unit_are_one_unit() -> None:
    da = projected("m")
    da.x.attrs["units"] = "metre"
    assert encode(da)[0].space.unit == "km"


def test_axes_without_coordinates_are_counted_in_cells() -> None:
    lattice, layout = encode(xr.DataArray(np.zeros((4, 5, 3)), dims=("y", "x", "channel")))
    assert (lattice.space.geometry, lattice.space.unit, lattice.extra_shape) == ("plane", "cell", (3,))
    assert_array_equal(lattice.space.coordinates[2, 3], [3, 2])
    assert lattice.values.shape == (3, 1, 4, 5)
    assert layout.restore(lattice.values).shape == (4, 5, 3)


def test_time_without_a_coordinate_is_counted_in_steps() -> None:
    lattice, _ = encode(xr.DataArray(np.zeros(4), dims="time"))
    assert lattice.shape == (4, 1, 1)
    assert_array_equal(lattice.time, [0, 1, 2, 3])


def test_a_rotated_pole_has_the_distances_of_its_true_latitudes() -> None:
    rlat, rlon = np.meshgrid(np.linspace(-5, 5, 3), np.linspace(-8, 8, 4), indexing="ij")
    x, y, z = np.moveaxis(ref.chord(rlat, rlon) / ref.EARTH_RADIUS, -1, 0)
    tilt = np.radians(50.75)
    x, z = x * np.cos(tilt) - z * np.sin(tilt), x * np.sin(tilt) + z * np.cos(tilt)
    true = {
        "lat": (("rlat", "rlon"), np.degrees(np.arcsin(z)), {"units": "degrees_north"}),
        "lon": (("rlat", "rlon"), np.degrees(np.arctan2(y, x)), {"units": "degrees_east"}),
    }
    own = {
        "rlat": ("rlat", rlat[:, 0], {"units": "degrees", "standard_name": "grid_latitude"}),
        "rlon": ("rlon", rlon[0], {"units": "degrees", "standard_name": "grid_longitude"}),
    }
    da = xr.DataArray(np.zeros((3, 4)), dims=("rlat", "rlon"), coords=own)
    assert_allclose(distances(encode(da)[0]), distances(encode(da.assign_coords(true))[0]), atol=1e-6)


def test_radians_are_angles_on_the_sphere_too() -> None:
    da = cube()
    turned = da.assign_coords(lat=np.radians(da.lat), lon=np.radians(da.lon))
    for axis in ("lat", "lon"):
        turned[axis].attrs = {"units": "radians"}
    lattice, layout = encode(turned)
    assert layout.metric.degrees
    assert_allclose(distances(lattice), distances(encode(da)[0]), atol=1e-6)


def test_a_globe_in_radians_closes() -> None:
    lat, lon = np.radians([0.0, 10.0]), np.radians(np.arange(0, 360, 10.0))
    coords = {"lat": ("lat", lat, {"units": "radians"}), "lon": ("lon", lon, {"units": "radians"})}
    assert encode(cube(1, 2, 36, **coords))[0].space.wraps


@pytest.mark.parametrize("names", [("lat", "lon"), ("nav_lat", "nav_lon")])
def test_a_row_of_cells_stays_at_the_latitude_it_was_taken_from(names: tuple[str, str]) -> None:
    da = cube().rename(lat=names[0], lon=names[1]).isel({names[0]: -1})
    lat, lon = np.broadcast_arrays(da[names[0]].values, da[names[1]].values)
    assert_allclose(distances(encode(da)[0]), chords(lat, lon), atol=1e-7)


def test_geometries_can_be_chosen() -> None:
    da = cube()
    lat, lon = (a.ravel() for a in np.meshgrid(da.lat, da.lon, indexing="ij"))
    wound = ref.cylinder(lat, lon)
    assert_allclose(distances(encode(da, geometry="cylinder")[0]), ref.distance(wound, wound), atol=1e-7)
    assert encode(da, geometry="plane")[0].space.coordinates.shape[-1] == 2
    assert encode(da, directional=True)[0].space.geometry == "plane"


# Longitudes that close


@pytest.mark.parametrize(
    ("lon", "wraps"),
    [
        (np.arange(0.0, 360, 10), True),
        (np.arange(0.0, 361, 10), True),
        (np.arange(-180.0, 181, 10), True),
        (np.arange(5.0, 360, 10), True),
        (np.arange(0.0, 360, 10)[::-1], True),
        (np.r_[180.0:360:10, 0.0:180:10], True),
        (np.arange(0.0, 360, 90), True),
        (np.arange(4320) / 12 - 180, True),
        (np.arange(0.0, 350, 10), False),
        (np.arange(0.0, 371, 10), False),
        (np.r_[0.0:340:10, 345, 350], False),
        (np.array([0.0]), False),
    ],
    ids=[
        "0..350", "0..360", "-180..180", "half steps", "descending", "one jump", "quarters",
        "twelfths", "short", "long", "irregular", "one",
    ],
)  # fmt: skip
def test_a_globe_closes_and_a_region_does_not(lon: np.ndarray, wraps: bool) -> None:
    da = cube(1, 2, lon.size, lon=("lon", lon, {"units": "degrees_east"}))
    assert encode(da)[0].space.wraps is wraps
    assert encode(da, geometry="cylinder")[0].space.wraps is wraps
    assert not encode(da, geometry="plane")[0].space.wraps


@pytest.mark.parametrize(("start", "per_degree"), [(-180.0, 10), (0.0, 24), (0.0, 100)])
def test_a_globe_stored_in_single_precision_closes_too(per_degree: int, start: float) -> None:
    lon = (start + np.arange(360 * per_degree) / per_degree).astype(np.float32)
    assert encode(cube(1, 2, lon.size, lon=("lon", lon, {"units": "degrees_east"})))[0].space.wraps


def test_a_repeated_meridian_is_one_place() -> None:
    lattice, _ = encode(cube(1, 2, 37, lon=np.arange(0.0, 361, 10)))
    assert_allclose(lattice.space.coordinates[:, 0], lattice.space.coordinates[:, -1], atol=1e-9)


def test_longitudes_across_the_date_line_are_sorted_but_for_one_jump() -> None:
    lattice, _ = encode(cube(1, 2, 4, lon=[178.0, 179.0, -180.0, -179.0]))
    assert lattice.space.steps[1] == pytest.approx(
        ref.EARTH_RADIUS * np.radians(1) * np.cos(np.radians(40.5)), rel=0.01
    )


# Lazy data


def test_lazy_data_stay_lazy_and_keep_their_chunks() -> None:
    da = cube().chunk(time=2, lat=3).transpose("lon", "time", "lat")
    with nothing_computed():
        lattice, layout = encode(da)
        back = layout.restore(lattice.values)
    assert lattice.is_lazy
    assert back.chunks == da.chunks
    assert_array_equal(back.compute(scheduler="sync"), da.values)


def test_values_of_lazy_data_are_not_looked_at() -> None:
    da = cube().where(False, np.inf).chunk()
    with nothing_computed():
        encode(da)


# Where the field exists, and how well it is known


@pytest.mark.parametrize(
    ("dims", "shape"),
    [
        (("lat", "lon"), (1, 1, 5, 6)),
        (("lon", "lat"), (1, 1, 5, 6)),
        (("lon", "level", "lat", "time"), (2, 4, 5, 6)),
        (("level",), (2, 1, 1, 1)),
        ((), (1, 1, 1, 1)),
    ],
)
def test_valid_and_errors_broadcast_in_canonical_order(dims: tuple[str, ...], shape: tuple[int, ...]) -> None:
    da = cube().expand_dims(level=2)
    field = (da > 0).isel({d: 0 for d in da.dims if d not in dims}, drop=True).transpose(*dims)
    lattice, _ = encode(da, valid=field, errors=1.0 + field)
    assert lattice.valid.shape == lattice.errors.shape == shape
    spread = np.broadcast_to(lattice.valid, lattice.values.shape)
    expected = field.broadcast_like(da).transpose(*da.dims)
    assert_array_equal(spread, expected)
    assert_array_equal(np.broadcast_to(lattice.errors, lattice.values.shape), 1.0 + expected)


def test_valid_without_coordinates_goes_by_position() -> None:
    mask = xr.DataArray(np.eye(5, 6, dtype=bool), dims=("lat", "lon"))
    assert_array_equal(encode(cube(), valid=mask)[0].valid[0], mask)


@pytest.mark.parametrize("everywhere", [True, np.True_])
def test_valid_true_is_everywhere(everywhere: Any) -> None:
    assert encode(cube(), valid=everywhere)[0].valid is None


def test_errors_may_be_missing_in_the_gaps() -> None:
    da = cube()
    da[0, 0, 0] = np.nan
    errors = xr.ones_like(da).where(da.notnull())
    assert encode(da, errors=errors)[0].errors.shape == (4, 5, 6)


def never_seen() -> xr.DataArray:
    da = cube()
    da[:, :2, :3] = np.nan
    da[1, 4, 4] = np.nan
    return da


def test_a_mask_that_leaves_hardly_an_observation_is_warned_of() -> None:
    da = cube(8).where(lambda da: (da.lon < 13) | (da.time == da.time[0]) & (da.lat == da.lat[0]))
    with pytest.warns(XgpfillWarning, match=r"have 3 of 123 observations where `valid` says.*`valid=~valid`"):
        encode(da, valid=da.lon >= 13)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encode(da, valid=da.lon < 13)
        encode(cube(8), valid=cube(8).lon < 11)  # a part of the domain, of which all is observed


def test_cells_that_are_never_observed_are_warned_about_once_with_their_share_and_both_cures() -> None:
    words = r"20\.0% of the cells are never observed.*`valid=da\.notnull\(\)\.any\('time'\)`; if .* gaps, `valid=True`"
    with pytest.warns(XgpfillWarning, match=words) as record:
        encode(never_seen())
    assert len(record) == 1


def test_both_cures_of_never_observed_cells_silence_the_warning() -> None:
    da = never_seen()
    lattice, _ = encode(da, valid=da.notnull().any("time"))
    assert_array_equal(lattice.valid[0], ~np.isnan(da.values).all(axis=0))
    assert encode(da, valid=True)[0].valid is None


def test_the_cure_names_the_time_axis_of_the_user() -> None:
    with pytest.warns(XgpfillWarning, match=r"\.any\('t'\)`"):
        encode(never_seen().rename(time="t"))


@pytest.mark.parametrize(
    "da",
    [cube(), never_seen()[0], never_seen().astype(float).fillna(0).astype(int), never_seen().chunk()],
    ids=["no gaps", "one frame", "integers", "lazy"],
)
def test_there_is_no_warning_where_nothing_can_be_said(da: xr.DataArray) -> None:
    encode(da)


@pytest.mark.parametrize("form", ["fit", "fill"])
def test_the_warning_points_to_the_line_of_the_user(form: str) -> None:
    import xgpfill  # noqa: F401  (registers .gpfill)

    constant = never_seen() * 0 + 1
    calls: dict[str, Callable[[], Any]] = {
        "fit": constant.gpfill.fit,
        "fill": constant.gpfill.fill,
    }
    with pytest.warns(XgpfillWarning, match="never observed") as record, pytest.raises(DataError, match="constant"):
        calls[form]()
    assert record[0].filename == __file__


# The same coordinates for other data


def test_other_data_are_placed_by_the_metric_and_clock_they_are_compared_with() -> None:
    da = cube(8, 9, 10)
    _, layout = encode(da)
    part, _ = encode(da[3:5, 2:6, ::2], like=layout)
    whole, _ = encode(da)
    assert_allclose(part.time, whole.time[3:5])
    assert_allclose(part.space.coordinates, whole.space.coordinates[2:6, ::2])


def test_other_data_may_have_other_extra_dimensions_and_another_order() -> None:
    da = cube()
    _, layout = encode(da)
    other = da.expand_dims(member=3).transpose("lon", "member", "lat", "time")
    lattice, own = encode(other, like=layout)
    assert lattice.extra_shape == (3,)
    assert_array_equal(own.restore(lattice.values), other.values)


def test_other_data_in_metres_are_placed_among_data_in_km() -> None:
    metres, km = projected("m", 2000.0), projected("km", 2.0)
    expected, layout = encode(km)
    assert_allclose(encode(metres, like=layout)[0].space.coordinates, expected.space.coordinates)


def test_other_data_counted_in_cells_are_refused_among_data_in_km() -> None:
    _, layout = encode(projected("km", 2.0))
    with pytest.raises(AlignmentError, match=r"cell.*km|km.*cell|lack"):
        encode(projected().drop_vars(["x", "y"]), like=layout)


def test_other_data_without_a_fitted_dimension_are_refused() -> None:
    _, layout = encode(cube())
    with pytest.raises(
        AlignmentError, match=r"lack dimension\(s\) 'lat' .*'time', 'y', 'lon'.*`da\.rename\(\{'y': 'lat'"
    ):
        encode(cube().rename(lat="y"), like=layout)


@pytest.mark.parametrize("make", [cube, stations], ids=["grid", "stations"])
def test_other_data_without_a_coordinate_of_space_are_refused(make: Callable[[], xr.DataArray]) -> None:
    _, layout = encode(make())
    with pytest.raises(AlignmentError, match=r"'lat'"):
        encode(make().drop_vars("lat"), like=layout)


def test_other_data_of_another_calendar_are_refused() -> None:
    _, layout = encode(cube())
    with pytest.raises(AlignmentError, match=r"cftime \(noleap calendar\), but the model was fitted on datetime64"):
        encode(cube().convert_calendar("noleap"), like=layout)


def test_other_data_beyond_a_pole_are_refused() -> None:
    _, layout = encode(cube())
    with pytest.raises(CoordinateError, match=r"120\.0 is outside −90…90"):
        encode(cube(lat=[0.0, 30.0, 60.0, 90.0, 120.0]), like=layout)


# Bad data


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.zeros(3, complex), "complex128"),
        (np.array(["a", "b", "c"]), "<U1"),
        (np.zeros(3, object), "object"),
        (np.zeros(3, "datetime64[ns]"), "datetime64"),
    ],
)
def test_data_must_be_real_numbers(values: np.ndarray, dtype: str) -> None:
    with pytest.raises(DataError, match=rf"dtype {dtype}.*; expected real numbers.*`da\.astype\(float\)`"):
        encode(xr.DataArray(values, dims="time"))


def test_empty_data_are_refused() -> None:
    with pytest.raises(DataError, match=r"The data are empty: their sizes are \{'time': 4, 'lat': 0, 'lon': 6\}"):
        encode(cube()[:, :0])


@pytest.mark.parametrize(
    ("da", "index"),
    [
        (cube(), {"time": 2, "lat": 1, "lon": 3}),
        (cube()[:, 0, 0], {"time": 2}),
        (cube()[0], {"lat": 1, "lon": 3}),
        (cube()[:, 0], {"time": 3, "lon": 2}),
        (stations(), {"time": 1, "station": 2}),
        (cube().expand_dims(level=3), {"level": 2, "time": 3, "lat": 1, "lon": 3}),
    ],
    ids=["cube", "time", "map", "section", "stations", "levels of cubes"],
)
def test_an_infinity_is_refused_and_located(da: xr.DataArray, index: dict[str, int]) -> None:
    da = da.copy(deep=True)
    da[index] = -np.inf
    names, where = tuple(index), tuple(index.values())
    words = re.escape(f"1 infinite value(s), the first at {names!r} index {where!r}. ")
    with pytest.raises(DataError, match=words):
        encode(da)


# Bad coordinates


@pytest.mark.parametrize("dim", ["time", "lat", "lon"])
def test_repeated_coordinates_are_refused(dim: str) -> None:
    with pytest.raises(
        CoordinateError, match=rf"'{dim}' has 1 duplicate value\(s\).*`da\.groupby\('{dim}'\)\.mean\(\)`"
    ):
        encode(cube().isel({dim: [0, 1, 1, 2]}))


@pytest.mark.parametrize("dim", ["time", "lat", "lon"])
def test_unsorted_coordinates_are_refused(dim: str) -> None:
    with pytest.raises(CoordinateError, match=rf"Coordinate '{dim}' is not sorted.*`da\.sortby\('{dim}'\)`"):
        encode(cube().isel({dim: [0, 2, 1, 3]}))


@pytest.mark.parametrize("dim", ["x", "y"])
def test_unsorted_projected_coordinates_are_refused_however_large_the_jump(dim: str) -> None:
    with pytest.raises(CoordinateError, match=rf"Coordinate '{dim}' is not sorted"):
        encode(projected().isel({dim: [0, 2, 3, 1]}))


def test_unsorted_numbers_of_time_are_refused_however_large_the_jump() -> None:
    with pytest.raises(CoordinateError, match="Coordinate 'time' is not sorted"):
        encode(xr.DataArray(np.zeros(4), dims="time", coords={"time": [0.0, 1000.0, 2000.0, 500.0]}))


def test_longitudes_that_overlap_after_their_jump_are_refused() -> None:
    with pytest.raises(CoordinateError, match="Coordinate 'lon' is not sorted"):
        encode(cube(1, 2, 5, lon=[0.0, 100.0, 200.0, 10.0, 110.0]))


@pytest.mark.parametrize("dim", ["lat", "lon"])
def test_a_coordinate_of_words_is_refused(dim: str) -> None:
    words = list("abcdef")[: cube().sizes[dim]]
    with pytest.raises(CoordinateError, match=rf"Coordinate '{dim}' has dtype <U1; expected real numbers"):
        encode(cube(**{dim: words}))


@pytest.mark.parametrize(
    "times",
    [
        np.array(["2000-01-01", "2000-01-02", "2000-01-03"]),
        np.array(["2000-01-01", "2000-01-02", "2000-01-03"], dtype=object),
        pd.period_range("2000-01", periods=3, freq="M"),
    ],
    ids=["str", "object", "period"],
)
def test_times_in_words_are_refused_with_the_way_to_decode_them(times: Any) -> None:
    with pytest.raises(
        CoordinateError, match=r"[Tt]ime.* has dtype .*expected datetime64, cftime or real numbers.*pd\."
    ):
        encode(xr.DataArray(np.arange(3.0), dims="time", coords={"time": times}))


def test_dates_among_which_one_is_nothing_are_refused() -> None:
    _, dates, _ = time_axis(np.arange(3.0), "cftime")
    dates[1] = None
    with pytest.raises(CoordinateError, match=r"[Tt]ime"):
        encode(xr.DataArray(np.arange(3.0), dims="time", coords={"time": dates}))


def test_space_in_two_units_is_refused() -> None:
    da = projected("m")
    da.x.attrs["units"] = "km"
    with pytest.raises(CoordinateError, match=r"'y', 'x' have different units 'km', 'm'; distances need one"):
        encode(da)


@pytest.mark.parametrize(
    ("da", "lost"),
    [(projected(), "x"), (projected(), "y"), (cube(), "lon"), (cube(), "lat")],
    ids=["x of metres", "y of metres", "lon", "lat"],
)
def test_one_axis_of_space_with_a_unit_and_one_without_coordinate_are_refused(da: xr.DataArray, lost: str) -> None:
    with pytest.raises(CoordinateError, match=rf"'{lost}'"):
        encode(da.drop_vars(lost))


def test_other_data_in_metres_are_refused_among_data_counted_in_cells() -> None:
    _, layout = encode(projected().drop_vars(["x", "y"]))
    with pytest.raises(AlignmentError, match="cell"):
        encode(projected(), like=layout)


def test_a_longitude_that_is_said_to_be_y_is_refused() -> None:
    with pytest.raises(DimensionError, match=r"'lon'.*'y'|'y'.*'lon'"):
        encode(cube(), dims={"time": "time", "y": "lon", "x": "lat"})


# Masks and errors that do not fit


@pytest.mark.parametrize(
    ("valid", "words"),
    [
        (np.ones((4, 5, 6), bool), r"`valid` is a ndarray; expected a DataArray on the grid of the data"),
        (False, r"`valid` is a bool; expected a DataArray"),
        (cube() > 0, None),
        (cube().astype(float), r"`valid` has dtype float64; expected bool, e\.g\. `valid=mask == 1`"),
        ((cube() > 0).rename(lat="z"), r"`valid` has dimension\(s\) 'z' that the data lack; they have 'time', 'lat'"),
        (xr.DataArray(np.ones((5, 7), bool), dims=("lat", "lon")), r"`valid` does not lie on the grid.*lon"),
        ((cube() > 0)[:, ::-1], r"`valid` does not lie on the grid.*'lat'.*`valid\.reindex_like\(da"),
        ((cube() > 0).convert_calendar("noleap"), r"`valid` does not lie on the grid of the data:.*'time'"),
        ((cube() > 0).assign_coords(lon=cube().lon - 360), r"`valid` does not lie on the grid of the data:.*'lon'"),
    ],
)  # fmt: skip
def test_valid_must_be_a_mask_on_the_grid_of_the_data(valid: Any, words: str | None) -> None:
    if words is None:
        encode(cube(), valid=valid)
        return
    with pytest.raises(AlignmentError, match=words):
        encode(cube(), valid=valid)


@pytest.mark.parametrize("bad", [np.nan, 0.0, np.inf])
def test_errors_must_be_positive_and_known_where_there_is_an_observation(bad: float) -> None:
    errors = xr.ones_like(cube())
    errors[0, 0, :2] = bad
    with pytest.raises(
        NoiseError, match=r"missing, zero or negative at 2 observed cell\(s\).*`da\.where\(noise > 0\)`"
    ):
        encode(cube(), errors=errors)


def test_errors_must_lie_on_the_grid_and_be_numbers() -> None:
    with pytest.raises(AlignmentError, match=r"`noise` does not lie on the grid of the data"):
        encode(cube(), errors=xr.ones_like(cube())[:, ::-1])
    with pytest.raises(AlignmentError, match=r"`noise` is a ndarray; expected a DataArray"):
        encode(cube(), errors=np.ones((4, 5, 6)))
    with pytest.raises(NoiseError, match=r"`noise`.*dtype"):
        encode(cube(), errors=xr.ones_like(cube()).astype(str))


# Every cure works when it is typed


def with_infinity() -> xr.DataArray:
    da = cube()
    da[0, 1, 2] = np.inf
    return da


def with_coordinate(bad: Any, dim: str) -> xr.DataArray:
    values = cube()[dim].values.copy()
    values[1] = bad
    return cube(**{dim: values})


def with_lost_cell() -> xr.DataArray:
    da = curvilinear()
    da.lat.values[1, 1] = np.nan
    return da


def with_lost_station() -> xr.DataArray:
    da = stations()
    da.lat.values[1] = np.nan
    return da


def with_lost_column() -> xr.DataArray:
    da = curvilinear()
    da.lat.values[:, 1] = np.nan
    return da


def with_lost_row() -> xr.DataArray:
    da = cube().isel(lat=0)
    return da.assign_coords(lat=np.nan)


DIGITS = ("time", [20000101.0, 20000102.0, 20000103.0, 20000104.0], {"units": "day as %Y%m%d.%f"})
SICK = {
    "infinity": with_infinity,
    "object": lambda: cube().astype(object),
    "NaN in lat": lambda: with_coordinate(np.nan, "lat"),
    "infinite lat": lambda: with_coordinate(np.inf, "lat"),
    "NaT": lambda: with_coordinate(np.datetime64("NaT"), "time"),
    "lost station": with_lost_station,
    "lost curvilinear cell": with_lost_cell,
    "lost curvilinear column": with_lost_column,
    "lost row": with_lost_row,
    "duplicates": lambda: cube().isel(lat=[0, 1, 1, 2]),
    "duplicate times": lambda: cube().isel(time=[0, 1, 1, 2]),
    "unsorted": lambda: cube().isel(lon=[0, 2, 1, 3]),
    "words": lambda: cube(lat=list("abcde")),
    "times in words": lambda: cube(time=["2000-01-01", "2000-01-02", "2000-01-03", "2000-01-04"]),
    "periods": lambda: cube(time=pd.period_range("2000-01", periods=4, freq="M")),
    "dates in digits": lambda: cube(time=DIGITS),
}


@pytest.mark.parametrize("name", SICK)
def test_the_cure_an_error_names_works_when_typed(name: str) -> None:
    da = SICK[name]()
    with pytest.raises((CoordinateError, DataError), match="`") as caught:
        encode(da)
    typed = [
        code for code in re.findall(r"`([^`]+)`", str(caught.value)) if re.match(r"(da\.(?!real|imag)|ds\[)", code)
    ]
    assert typed
    for code in typed:
        space = {"da": da, "ds": da.to_dataset(name="sst"), "np": np, "pd": pd, "xr": xr}
        if code.startswith("ds["):
            exec(code, space)  # our own message
            cured = space["ds"]["sst"]
        else:
            cured = eval(code, space)
        encode(cured, valid=True)


@pytest.mark.parametrize(
    "valid",
    [np.ones((4, 5, 6), bool), (cube() > -9)[:, ::-1], (cube() > -9)[:, 1:], (cube() > -9).astype(float)],
    ids=["array", "flipped", "part", "float"],
)
def test_the_cure_of_a_mask_that_does_not_fit_works_when_typed(valid: Any) -> None:
    da = cube()
    with pytest.raises(AlignmentError, match="`") as caught:
        encode(da, valid=valid)
    code = re.findall(r"e\.g\. `(?:valid=)?([^`]+)`", str(caught.value))[-1]
    cured = eval(code, {"da": da, "valid": valid, "mask": valid, "xr": xr, "np": np})
    lattice, _ = encode(da, valid=cured)
    if isinstance(valid, xr.DataArray):
        expected = valid.astype(bool).reindex_like(da, fill_value=False)
        assert_array_equal(lattice.valid, expected)
    else:
        assert lattice.valid.all()


@pytest.mark.parametrize(
    "valid",
    [(cube() > -9).convert_calendar("noleap"), (cube() > -9).assign_coords(lon=cube().lon - 360)],
    ids=["calendar", "longitudes"],
)
def test_the_cure_of_a_mask_of_other_dates_or_longitudes_does_not_hide_the_whole_field(valid: xr.DataArray) -> None:
    da = cube()
    with pytest.raises(AlignmentError, match="`") as caught:
        encode(da, valid=valid)
    code = re.findall(r"e\.g\. `(?:valid=)?([^`]+)`", str(caught.value))[-1]
    cured = eval(code, {"da": da, "valid": valid, "xr": xr, "np": np})
    assert encode(da, valid=cured)[0].valid.all()


def test_the_cure_of_a_lost_longitude_beside_the_date_line_does_not_send_the_cell_around_the_world() -> None:
    lon, lat = np.meshgrid([178.0, 179.5, -179.0], 60.0 + np.arange(3), indexing="ij")
    coords = {"lat": (("y", "x"), lat, {"units": "degrees_north"}), "lon": (("y", "x"), lon, {"units": "degrees_east"})}
    da = xr.DataArray(np.arange(9.0).reshape(3, 3), dims=("y", "x"), coords=coords)
    da.lon.values[1, 1] = np.nan
    with pytest.raises(CoordinateError, match="`") as caught:
        encode(da)
    code = re.findall(r"`(da\.[^`]+)`", str(caught.value))[-1]
    lattice, _ = encode(eval(code, {"da": da, "np": np, "xr": xr}))
    assert distances(lattice).max() < 500
