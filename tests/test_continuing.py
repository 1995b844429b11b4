"""Padding through the accessor: dimensions, types, chunks, Datasets, the Gaussian process, and what is refused."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
from xgpfill.errors import CoordinateError, DataError, DimensionError, MethodError, VariableError
from xgpfill.padding import continuing

from tests.padding import oracle

if TYPE_CHECKING:
    from collections.abc import Callable

MODES = ("lp1x1", "lp2x1", "lp2x3")


@pytest.fixture(scope="module")
def da() -> xr.DataArray:
    drawn = np.random.default_rng(0).standard_normal((2, 3, 8, 9)).cumsum(2).cumsum(3)
    coords = {
        "level": [10.0, 20.0],
        "time": np.arange(3) * np.timedelta64(1, "D") + np.datetime64("2000-01-01", "ns"),
        "lat": ("lat", np.arange(8.0), {"units": "degrees_north"}),
        "lon": ("lon", 2 * np.arange(9.0), {"units": "degrees_east"}),
    }
    attrs = {"units": "K", "long_name": "temperature", "cell_methods": "time: mean"}
    return xr.DataArray(280.0 + drawn, coords, tuple(coords), name="tas", attrs=attrs)


# What comes out


@pytest.mark.parametrize("mode", MODES)
def test_every_field_is_padded_as_the_equations_say(da: xr.DataArray, mode: str) -> None:
    found = da.gpfill.pad({"lat": (2, 3), "lon": 8}, mode=mode)
    method = "correlation" if mode == "lp2x3" else "cov_stab"
    for where in ({"level": 0, "time": 1}, {"level": 1, "time": 2}):
        expected = oracle.padded(da.isel(where).values, (2, 3), (8, 8), mode, method)
        np.testing.assert_allclose(found.isel(where), expected, rtol=1e-6)


@pytest.mark.parametrize("mode", [*MODES, "gp"])
def test_the_field_is_found_in_the_middle_with_all_that_belongs_to_it(da: xr.DataArray, mode: str) -> None:
    before = da.copy(deep=True)
    found = da.gpfill.pad({"lat": (2, 3), "lon": 1}, mode=mode)
    xr.testing.assert_identical(found.isel(lat=slice(2, -3), lon=slice(1, -1)), da)
    assert found.notnull().all()
    xr.testing.assert_identical(da, before)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int16"])
def test_floats_keep_their_type_and_integers_become_float64(da: xr.DataArray, dtype: str) -> None:
    own = da.astype(dtype)
    found = own.gpfill.pad({"lat": 1})
    assert found.dtype == (np.dtype(dtype) if dtype.startswith("f") else np.float64)
    np.testing.assert_array_equal(found.isel(lat=slice(1, -1)), own)


def test_the_order_of_dimensions_changes_nothing(da: xr.DataArray) -> None:
    found = da.transpose("lon", "level", "lat", "time").gpfill.pad({"lon": 2, "lat": 1})
    assert found.dims == ("lon", "level", "lat", "time")
    xr.testing.assert_allclose(found.transpose(*da.dims), da.gpfill.pad({"lat": 1, "lon": 2}))


def test_rows_of_a_map_share_one_model_unless_they_are_said_to_be_fields(da: xr.DataArray) -> None:
    one = da.isel(level=0, time=0)
    shared, alone = one.gpfill.pad({"lon": (0, 2)}), one.gpfill.pad({"lon": (0, 2)}, dims="lon")
    np.testing.assert_allclose(shared, oracle.padded(one.values, (0, 0), (0, 2), "lp2x1", "cov_stab"))
    expected = oracle.padded(one.values[3:4].T, (0, 2), (0, 0), "lp2x1", "cov_stab")[:, 0]
    np.testing.assert_allclose(alone[3], expected)


def test_a_series_goes_on_for_every_place(da: xr.DataArray) -> None:
    found = da.isel(level=0).gpfill.pad({"time": (0, 2)}, mode="lp1x1")
    expected = oracle.padded(da.values[0, :, 3, 4][:, None], (0, 2), (0, 0), "lp1x1", "cov_stab")[:, 0]
    np.testing.assert_allclose(found[:, 3, 4], expected)
    assert found.time.values[-1] == np.datetime64("2000-01-05")


def test_images_need_no_coordinates_and_no_known_names() -> None:
    images = np.random.default_rng(0).standard_normal((2, 3, 6, 7)).astype("float32")
    found = xr.DataArray(images, dims=("batch", "channel", "h", "w")).gpfill.pad({"h": 2, "w": 2}, mode="lp2x3")
    assert found.shape == (2, 3, 10, 11) and found.dtype == np.float32


def test_name_attributes_and_encoding_are_kept_without_packing(da: xr.DataArray) -> None:
    own = da.copy()
    own.attrs |= {"valid_range": [0.0, 1.0]}
    own.encoding = {"zlib": True, "scale_factor": 0.1, "chunksizes": (1, 1, 8, 9)}
    found = own.gpfill.pad({"lat": 1})
    assert found.name == "tas" and found.attrs == da.attrs and found.encoding == {"zlib": True}


def test_flags_of_an_earlier_filling_are_left_out(ds: xr.Dataset, model: Any) -> None:
    filled = model.reconstruct().filled.fillna(15.0)
    assert "sst_flag" in filled.coords and "sst_flag" not in filled.gpfill.pad({"lat": 1}).coords


@pytest.mark.parametrize("mode", ["lp2x1", "lp2x3", "gp"])
def test_a_smooth_field_goes_on_better_than_zero_or_its_edge_do(mode: str) -> None:
    radius = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64))
    radius[0, 0] = np.inf
    white = np.fft.fft2(np.random.default_rng(0).standard_normal((64, 64)))
    field = xr.DataArray(np.fft.ifft2(white / radius**2).real[:24, :26], dims=("y", "x"))
    found = field[1:-1, 1:-1].gpfill.pad({"y": 1, "x": 1}, mode=mode)
    others = (field[1:-1, 1:-1].pad(y=1, x=1, mode=how) for how in ("edge", "constant"))
    ours, replicate, zero = (float(((one.fillna(0.0) - field) ** 2).mean()) for one in (found, *others))
    assert ours < 0.8 * replicate < zero


# Lazily


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.usefixtures("nothing_is_computed")
def test_padding_lazy_data_computes_nothing(da: xr.DataArray, mode: str) -> None:
    found = da.chunk({"time": 1, "lat": 3}).gpfill.pad({"lat": (2, 3), "lon": 8}, mode=mode)
    assert found.chunks == ((2,), (1, 1, 1), (5, 3, 5), (25,))


@pytest.mark.parametrize("mode", MODES)
def test_chunks_change_nothing(da: xr.DataArray, mode: str) -> None:
    lazy = da.chunk({"level": 1, "time": 2, "lat": 3}).gpfill.pad({"lat": (2, 3), "lon": 8}, mode=mode)
    xr.testing.assert_allclose(lazy.compute(), da.gpfill.pad({"lat": (2, 3), "lon": 8}, mode=mode), rtol=1e-12)


def test_gaps_of_lazy_data_are_told_when_they_are_computed(da: xr.DataArray) -> None:
    found = da.where(da.lat != 3.0).chunk({"time": 1}).gpfill.pad({"lat": 1})
    with pytest.raises(DataError, match="18 of 144 values are NaN"):
        found.compute()


# By a Gaussian process


def test_the_process_goes_on_smoothly_and_wraps_exactly() -> None:
    lat, lon = np.arange(-40.0, 41.0, 10.0), np.arange(0.0, 360.0, 30.0)
    wave = np.cos(np.radians(lon)) * np.cos(np.radians(lat))[:, None]
    globe = xr.DataArray(wave, {"lat": lat, "lon": lon}, ("lat", "lon"))
    found = globe.gpfill.pad({"lat": 1, "lon": 2}, mode="gp")
    truth = np.cos(np.radians(found.lon)) * np.cos(np.radians(found.lat))
    assert float(np.abs(found - truth).max()) < 0.05
    np.testing.assert_array_equal(found.sel(lon=-30.0), found.sel(lon=330.0))


def test_the_process_knows_series_and_images_whose_names_say_nothing() -> None:
    wave = np.sin(np.arange(40.0) / 5)
    series = xr.DataArray(wave[:38], dims="step").gpfill.pad({"step": (0, 2)}, mode="gp")
    np.testing.assert_allclose(series[38:], wave[38:], atol=0.1)
    image = xr.DataArray(wave[:12, None] + wave[:12], dims=("h", "w"))
    assert image.gpfill.pad({"h": 1}, mode="gp", dims=("h", "w")).shape == (14, 12)


def test_the_process_keeps_lazy_data_lazy(da: xr.DataArray) -> None:
    own = da.isel(level=0).astype("float32")
    found = own.chunk({"time": 1}).gpfill.pad({"lat": (1, 0)}, mode="gp")
    assert found.chunks == ((1, 1, 1), (9,), (9,)) and found.dtype == np.float32
    xr.testing.assert_allclose(found.compute(), own.gpfill.pad({"lat": (1, 0)}, mode="gp"), rtol=1e-3)


# Datasets


def test_all_variables_with_the_dimensions_are_padded_and_those_without_kept(da: xr.DataArray) -> None:
    ds = xr.Dataset({"tas": da, "pr": 2 * da, "scale": 3.0, "crs": 0}, attrs={"title": "t"})
    ds.lat.attrs["bounds"] = "lat_bnds"
    ds["tas"].attrs["grid_mapping"] = "crs"
    ds["lat_bnds"] = (("lat", "bnds"), np.ones((8, 2)))
    found = ds.gpfill.pad({"lat": (1, 2)})
    assert set(found.data_vars) == {"tas", "pr", "scale"} and "crs" in found.coords and found.attrs == ds.attrs
    assert "bounds" not in found.lat.attrs and found.sizes["lat"] == 11
    xr.testing.assert_allclose(found.pr.drop_vars("crs"), (2 * da).gpfill.pad({"lat": (1, 2)}))


def test_a_name_gives_an_array_and_a_list_a_dataset(da: xr.DataArray) -> None:
    ds = xr.Dataset({"tas": da, "pr": 2 * da, "mask": da > 0})
    xr.testing.assert_identical(ds.gpfill.pad({"lat": 1}, variable="tas"), da.gpfill.pad({"lat": 1}))
    assert set(ds.gpfill.pad({"lat": 1}, variable=["pr"]).data_vars) == {"pr"}


@pytest.mark.parametrize(
    ("variables", "arguments", "match"),
    [
        (["tas", "mask"], {}, r"'mask' cannot stay .* are no numbers.*pad\(\.\.\., variable=\['tas'\]\)"),
        (["tas", "zonal"], {"pad_width": {"lat": 1, "lon": 1}}, r"'zonal' cannot stay .*dimensions 'lat', 'lon'"),
        (["mask"], {}, r"No numeric variable of the Dataset has the dimensions 'lat'; its variables are 'mask'"),
        (["tas"], {"variable": "sst"}, r"no variable 'sst'"),
        (["tas"], {"variable": []}, r"variable=\[\] names nothing\. The Dataset has 'tas'"),
    ],
)
def test_variables_that_cannot_be_padded_say_so(da: xr.DataArray, variables, arguments: Any, match: str) -> None:
    ds = xr.Dataset({"tas": da, "mask": da > 0, "zonal": da.mean("lon")})[variables]
    with pytest.raises(VariableError, match=match):
        ds.gpfill.pad(**{"pad_width": {"lat": 1}, **arguments})


# What is refused


def same(da: xr.DataArray) -> xr.DataArray:
    return da


@pytest.mark.parametrize(
    ("change", "arguments", "error", "match"),
    [
        (same, {"mode": "lp9"}, MethodError, r"Unknown mode 'lp9' of padding\. Choose one of 'lp1x1', .*'gp'\.$"),
        (same, {"mode": "edge"}, MethodError, r"'edge' is one of xarray: `da\.pad\(\.\.\., mode='edge'\)`"),
        (same, {"mode": 3}, MethodError, "Unknown mode 3 of padding"),
        (same, {"method": "burg"}, MethodError, "Unknown method 'burg' of padding. Choose one of 'cov_stab'"),
        (same, {"mode": "lp2x3", "method": "cov_stab"}, MethodError, "reflects poles, and mode='lp2x3', 3 cells"),
        (same, {"mode": "gp", "method": "cov_stab"}, MethodError, "mode='gp' has none. Leave it out"),
        (same, {"pad_width": 3}, DimensionError, r"pad_width=3: expected a mapping.*pad\(\{'lon': \(2, 3\)\}\)"),
        (same, {"pad_width": {}}, DimensionError, r"pad_width=\{\}: expected a mapping"),
        (same, {"pad_width": {"y": 1}}, DimensionError, "names 'y', which is no dimension .*'lat', 'lon'"),
        (same, {"pad_width": {"time": 1, "lat": 1, "lon": 1}}, DimensionError, "two dimensions at most. Pad"),
        (same, {"pad_width": {"lat": -1}}, DataError, r"\{'lat': -1\}: expected a number of cells of at least"),
        (same, {"pad_width": {"lat": 1.5}}, DataError, r"\{'lat': 1\.5\}: expected a number of cells"),
        (same, {"pad_width": {"lat": (1, 2, 3)}}, DataError, r"or two of them, before and after"),
        (same, {"dims": "lon"}, DimensionError, r"dims='lon': expected the one or two .* with 'lat' among them"),
        (same, {"dims": ("time", "lat", "lon")}, DimensionError, "expected the one or two dimensions that make"),
        (same, {"dims": "lat", "mode": "lp2x3"}, DimensionError, r"3 cells side by side, .*dims=\('lat', 'x'\)"),
        (lambda a: a.isel(lat=[0, 1]), {}, DimensionError, r"'lat' has 2 cell\(s\); mode='lp2x1' needs 3 along it"),
        (lambda a: a.where(a.lat > 1), {}, DataError, r"108 of 432 values are NaN or infinite; .*gpfill\.fill\(\)"),
        (lambda a: a.where(a.lat > 1, np.inf), {}, DataError, "108 of 432 values are NaN or infinite"),
        (lambda a: a > 0, {}, DataError, "dtype bool; padding takes real numbers"),
        (lambda a: a * 1j, {}, DataError, "dtype complex128; padding takes real numbers"),
        (lambda a: a[:, :0], {}, DataError, "The data are empty"),
        (lambda a: a.astype(int).assign_attrs(scale_factor=0.1), {}, DataError, "packed integers"),
        (lambda a: a.where(a.lat > 1, -9).assign_attrs(_FillValue=-9.0), {}, DataError, "108 time.* the number -9"),
    ],
)  # fmt: skip
def test_padding_that_makes_no_sense_says_what_to_type(
    da: xr.DataArray, change: Callable[[Any], Any], arguments: Any, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        change(da).gpfill.pad(**{"pad_width": {"lat": 1}, **arguments})


@pytest.mark.parametrize("cls", [xr.DataArray, xr.Dataset])
def test_the_accessor_names_every_argument_of_pad_with_the_same_default(cls: type) -> None:
    theirs, ours = (dict(inspect.signature(call).parameters) for call in (continuing.pad, cls.gpfill.pad))
    del theirs["da"], ours["self"]
    ours.pop("variable", None)
    assert [(n, p.default, p.kind) for n, p in ours.items()] == [(n, p.default, p.kind) for n, p in theirs.items()]
    entries = [line.split(" : ")[0] for line in inspect.getdoc(cls.gpfill.pad).splitlines() if " : " in line]
    assert set(theirs) <= set(entries)


def test_large_values_are_continued_as_small_ones_are(da: xr.DataArray) -> None:
    anomalies = da - 280.0
    large = (1e200 * anomalies).gpfill.pad({"lat": 2, "lon": 2})
    np.testing.assert_allclose(large / 1e200, anomalies.gpfill.pad({"lat": 2, "lon": 2}), rtol=1e-9, atol=1e-12)


def test_what_is_no_mapping_of_widths_is_refused_for_datasets_too(da: xr.DataArray) -> None:
    for width in (5, None):
        with pytest.raises(DimensionError, match=r"expected a mapping of dimensions to widths.*pad\(\{'lat': 2\}\)"):
            da.to_dataset().gpfill.pad(width)


def test_a_process_does_not_go_on_where_places_are_not_known() -> None:
    lat, lon = np.meshgrid(np.linspace(30.0, 40.0, 6), np.linspace(0.0, 9.0, 7), indexing="ij")
    curved = xr.DataArray(lat + lon, {"lat": (("y", "x"), lat), "lon": (("y", "x"), lon)}, ("y", "x"))
    with pytest.raises(
        CoordinateError, match=r"'lat', 'lon' on 'y', 'x' cannot be continued.*drop_vars\(\['lat', 'lon'\]\)"
    ):
        curved.gpfill.pad({"y": 1}, mode="gp")
    assert curved.drop_vars(["lat", "lon"]).gpfill.pad({"y": 1}, mode="gp").notnull().all()
