"""Saving and loading a model: what survives, what is refused, and that a failure loses nothing."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import xgpfill
from xgpfill.datasets import synthetic_sst
from xgpfill.errors import DataError, FileFormatError, NotFittedError, XgpfillError
from xgpfill.storage.saving import FORMAT, from_plain, to_plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from xgpfill.model import FittedModel

KINDS = [".nc", ".zarr"]


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    return synthetic_sst(days=8, nlat=8, nlon=9)


@pytest.fixture(scope="module")
def model(ds: xr.Dataset) -> FittedModel:
    return ds.sst.gpfill.fit(valid=ds.valid, method="exact")


@pytest.fixture(scope="module")
def with_errors(ds: xr.Dataset) -> FittedModel:
    """Fitted with standard errors, everywhere valid."""
    return ds.sst.gpfill.fit(valid=True, method="exact", noise=xr.full_like(ds.sst, 0.1))


def round_trip(model: FittedModel, path: Path, **arguments: Any) -> FittedModel:
    model.save(path, **arguments)
    return xgpfill.load(path)


def edited(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A netCDF file whose JSON was changed."""
    with netCDF4.Dataset(path, "a") as file:
        state = json.loads(file.getncattr("xgpfill"))
        change(state)
        file.setncattr("xgpfill", json.dumps(state))
    return path


# Round trips


@pytest.mark.parametrize("suffix", KINDS)
def test_a_loaded_model_reconstructs_the_same_field(model: FittedModel, tmp_path: Path, suffix: str) -> None:
    loaded = round_trip(model, tmp_path / f"model{suffix}")
    xr.testing.assert_identical(loaded.reconstruct().to_dataset(), model.reconstruct().to_dataset())
    xr.testing.assert_identical(loaded.hyperparameters, model.hyperparameters)
    xr.testing.assert_identical(loaded.sample(2), model.sample(2))
    xr.testing.assert_identical(loaded.trend, model.trend)
    target = {"lat": [40.0, 41.0], "lon": 5.0}
    xr.testing.assert_identical(loaded.predict(target).mean, model.predict(target).mean)
    assert repr(loaded) == repr(model)
    assert (loaded.settings, loaded.record) == (model.settings, model.record)
    assert loaded.prior == model.prior


def test_standard_errors_are_saved_too(with_errors: FittedModel, tmp_path: Path) -> None:
    loaded = round_trip(with_errors, tmp_path / "model.nc")
    one, other = (m.reconstruct(include_noise=True).to_dataset() for m in (loaded, with_errors))
    xr.testing.assert_identical(one, other)
    xr.testing.assert_identical(loaded.hyperparameters, with_errors.hyperparameters)
    one, other = (m.predict({"lat": 40.0, "lon": 5.0}, include_noise=True).variance for m in (loaded, with_errors))
    xr.testing.assert_identical(one, other)


@pytest.mark.parametrize("suffix", KINDS)
def test_saving_a_lazy_model_saves_its_data(ds: xr.Dataset, model: FittedModel, tmp_path: Path, suffix: str) -> None:
    lazy = model.condition(ds.sst.chunk(time=(2, 5, 1)))
    loaded = round_trip(lazy, tmp_path / f"model{suffix}")
    np.testing.assert_allclose(loaded.reconstruct().mean, model.reconstruct().mean, rtol=1e-6)


def test_a_model_can_be_saved_over_and_over_and_leaves_nothing_else(model: FittedModel, tmp_path: Path) -> None:
    for suffix in KINDS:
        for _ in range(2):
            model.save(str(tmp_path / f"model{suffix}"), mode="w")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.nc", "model.zarr"]
    again = round_trip(xgpfill.load(tmp_path / "model.nc"), tmp_path / "again.nc")
    xr.testing.assert_identical(again.reconstruct().mean, model.reconstruct().mean)


@pytest.mark.parametrize(
    "arguments",
    [
        {"time_kernel": xgpfill.RBF() + xgpfill.Periodic(4.0), "combine": "product"},
        {"time_kernel": xgpfill.Spectral(2), "space_kernel": "matern12", "scales": 1},
        {"time_kernel": "brownian", "space_kernel": "rational_quadratic", "combine": "sum"},
        {"time_kernel": None, "space_kernel": xgpfill.Matern(0.5, lengthscale=300.0, fixed=True)},
        {"method": xgpfill.Variational(num_inducing=40), "tile": {"time": 3}, "halo": 2},
        {"geometry": "plane", "seed": 3, "noise_variance": 0.01},
    ],
    ids=["sum of kernels", "spectral", "brownian", "fixed", "variational tiles", "plane"],
)
def test_models_of_every_kind_make_a_round_trip(ds: xr.Dataset, tmp_path: Path, arguments: dict[str, Any]) -> None:
    da = ds.sst.isel(time=slice(6), lat=slice(1, 6), lon=slice(3, 7))
    model = da.gpfill.fit(**{"valid": True, "method": "exact", **arguments})
    loaded = round_trip(model, tmp_path / "model.nc")
    assert loaded.prior == model.prior
    assert loaded.options == model.options
    xr.testing.assert_identical(loaded.reconstruct().to_dataset(), model.reconstruct().to_dataset())


def test_sizes_of_tiles_given_as_numpy_integers_are_saved(ds, model: FittedModel, tmp_path: Path) -> None:
    arguments = {"valid": ds.valid, "method": "exact", "hyperparameters": model.hyperparameters}
    tiled = ds.sst.gpfill.fit(**arguments, tile={"time": np.int64(4)}, halo=np.int32(2), seed=np.int16(1))
    loaded = round_trip(tiled, tmp_path / "model.nc")
    xr.testing.assert_identical(loaded.reconstruct().mean, tiled.reconstruct().mean)


# Coordinates and attributes


def dated(ds: xr.Dataset, calendar: str) -> xr.DataArray:
    return ds.sst.assign_coords(time=xr.date_range("2001-02-01", periods=8, calendar=calendar, use_cftime=True))


def numbered(ds: xr.Dataset, units: str) -> xr.DataArray:
    return ds.sst.assign_coords(time=("time", np.arange(8.0) + 100, {"units": units} if units else {}))


TIMES: dict[str, Callable[[xr.Dataset], xr.DataArray]] = {
    "noleap": lambda ds: dated(ds, "noleap"),
    "standard cftime": lambda ds: dated(ds, "standard"),
    "numbers": lambda ds: numbered(ds, ""),
    "hours": lambda ds: numbered(ds, "hours"),
    "days since, not decoded": lambda ds: numbered(ds, "days since 2000-01-01"),
    "timedelta": lambda ds: ds.sst.assign_coords(time=pd.to_timedelta(np.arange(8), unit="D")),
    "seconds of long ago": lambda ds: ds.sst.assign_coords(time=np.arange(8).astype("datetime64[s]") - 10**11),
    "no coordinate": lambda ds: ds.sst.drop_vars("time"),
    "no time": lambda ds: ds.sst.isel(time=3),
}


@pytest.mark.parametrize("kind", TIMES)
def test_times_of_every_kind_survive(ds: xr.Dataset, model, tmp_path: Path, kind: str) -> None:
    da = TIMES[kind](ds)
    known = {} if kind == "no time" else {"hyperparameters": model.hyperparameters}
    fitted = da.gpfill.fit(valid=ds.valid, method="exact", **known)
    loaded = round_trip(fitted, tmp_path / "model.nc")
    xr.testing.assert_identical(loaded.reconstruct().to_dataset(), fitted.reconstruct().to_dataset())
    xr.testing.assert_identical(loaded.condition(da).reconstruct().mean, fitted.reconstruct().mean)


@pytest.mark.parametrize("suffix", KINDS)
def test_attributes_name_and_coordinates_survive(ds: xr.Dataset, model, tmp_path: Path, suffix: str) -> None:
    rich = ds.sst.assign_attrs(history="made up", flags=[1, 2], level=2.5).rename("sea surface")
    rich = rich.assign_coords(
        month=("time", ds.time.dt.month.values, {"note": "of the year"}),
        area=(("lat", "lon"), np.ones((8, 9))),
        depth=0.5,
        run="a",
        born=pd.Timestamp("2020-01-01"),
        day=xr.date_range("2001-01-01", periods=1, calendar="noleap", use_cftime=True)[0],
        summer=("time", np.arange(8) > 3),
        platform=("lat", np.char.encode([f"Søya {i}" for i in range(8)], "utf-8")),
    )
    fitted = model.condition(rich)
    loaded = round_trip(fitted, tmp_path / f"model{suffix}")
    one, other = loaded.layout.template, fitted.layout.template
    assert one.name == "sea surface"
    assert {k: np.asarray(v).tolist() for k, v in one.attrs.items()} == other.attrs
    assert set(one.coords) == set(other.coords)
    for name in other.coords:
        xr.testing.assert_equal(one[name].variable, other[name].variable)
        assert one[name].attrs == other[name].attrs
        assert one[name].dtype == other[name].dtype


@pytest.mark.parametrize("name", [None, "a b/c"])
def test_any_name_of_the_field_survives(ds: xr.Dataset, model: FittedModel, tmp_path: Path, name) -> None:
    loaded = round_trip(model.condition(ds.sst.rename(name)), tmp_path / "model.nc")
    assert loaded.layout.template.name == name
    assert loaded.reconstruct().mean.name == name


@pytest.mark.parametrize(
    "value", [np.True_, None, {"a": 1}, [], np.array([1.5]), pd.Timestamp("2020-01-01"), "x" * 200_000], ids=type
)
def test_no_attribute_keeps_a_model_from_being_saved(ds: xr.Dataset, model: FittedModel, tmp_path: Path, value) -> None:
    odd = model.condition(ds.sst.assign_attrs(odd=value))
    loaded = round_trip(odd, tmp_path / "model.nc")
    assert loaded.layout.template.attrs["units"] == "degC"
    np.testing.assert_array_equal(loaded.reconstruct().mean, odd.reconstruct().mean)


def test_a_field_whose_units_look_like_time_stays_a_number(ds, model: FittedModel, tmp_path: Path) -> None:
    units = "days since 2000-01-01"
    known = {"valid": ds.valid, "method": "exact", "hyperparameters": model.hyperparameters}
    loaded = round_trip(ds.sst.assign_attrs(units=units).gpfill.fit(**known), tmp_path / "model.nc")
    assert loaded.layout.template.dtype == np.float32
    assert loaded.layout.template.attrs["units"] == units


def test_packing_of_the_source_does_not_quantise_what_is_saved(ds, model: FittedModel, tmp_path: Path) -> None:
    packed = ds.sst.copy()
    packed.encoding = {"dtype": "int16", "scale_factor": 0.5, "_FillValue": -9, "chunksizes": (1, 1, 1)}
    loaded = round_trip(model.condition(packed), tmp_path / "model.nc")
    np.testing.assert_array_equal(loaded.layout.template, ds.sst)


@pytest.mark.parametrize("suffix", KINDS)
def test_stations_with_names_survive(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    coords = {
        "time": pd.date_range("2000-01-01", periods=6),
        "station": ["Bergen", "Brest", "Faro", "Bari"],
        "lat": ("station", [60.4, 48.4, 37.0, 41.1]),
        "lon": ("station", [5.3, -4.5, -7.9, 16.9]),
    }
    da = xr.DataArray(rng.normal(size=(6, 4)).cumsum(0), coords, ("time", "station"))
    model = da.gpfill.fit(method="exact", scales=1, space_kernel=None)
    loaded = round_trip(model, tmp_path / f"model{suffix}")
    assert loaded.layout.template.station.values.tolist() == coords["station"]
    np.testing.assert_array_equal(loaded.reconstruct().mean, model.reconstruct().mean)


def test_a_coordinate_that_no_file_holds_is_refused_before_anything_is_written(ds, model, tmp_path: Path) -> None:
    odd = model.condition(ds.sst.assign_coords(odd=("lat", [frozenset()] * 8)))
    with pytest.raises(DataError, match=r"along 'lat' holds a frozenset; files hold numbers, dates and strings"):
        odd.save(tmp_path / "model.nc")
    assert not list(tmp_path.iterdir())


def test_extra_dims_and_integers_survive(ds: xr.Dataset, model: FittedModel, tmp_path: Path) -> None:
    counts = (100 * ds.truth.fillna(15.0)).astype("int16")
    both = xr.concat([counts, counts + 1], pd.Index(["a", "b"], name="member"))
    conditioned = model.condition(both)
    loaded = round_trip(conditioned, tmp_path / "model.nc")
    assert loaded.layout.template.dtype == np.int16
    np.testing.assert_array_equal(loaded.reconstruct().mean, conditioned.reconstruct().mean)


# Without data


def test_a_model_saved_without_data_holds_no_observation_and_says_so(model, tmp_path: Path) -> None:
    loaded = round_trip(model, tmp_path / "model.nc", data=False)
    assert loaded.layout.template.size == 0
    assert "Loaded without data: `condition` it on observations first." in repr(loaded).splitlines()
    xr.testing.assert_identical(loaded.hyperparameters, model.hyperparameters)
    calls = {
        "reconstruct": loaded.reconstruct, "sample": loaded.sample, "predict": lambda: loaded.predict({"lat": 40.0}),
        "trend": lambda: loaded.trend, "filled": lambda: loaded.filled,
    }  # fmt: skip
    for call in calls.values():
        with pytest.raises(NotFittedError, match=r"loaded without data.*model\.condition\(da\)"):
            call()


@pytest.mark.parametrize("suffix", KINDS)
def test_a_model_saved_without_data_conditions_as_before(ds: xr.Dataset, model, tmp_path: Path, suffix: str) -> None:
    loaded = round_trip(model, tmp_path / f"model{suffix}", data=False)
    later = ds.sst.isel(time=slice(4, 8))
    one, other = (m.condition(later, valid=ds.valid).reconstruct() for m in (loaded, model))
    xr.testing.assert_identical(one.to_dataset(), other.to_dataset())
    xr.testing.assert_identical(loaded.condition(ds.sst, valid=ds.valid).trend, model.trend)


def test_a_model_saved_without_data_still_knows_where_the_field_exists(ds, model: FittedModel, tmp_path: Path) -> None:
    loaded = round_trip(model, tmp_path / "model.nc", data=False)
    xr.testing.assert_identical(loaded.condition(ds.sst).reconstruct().mean, model.reconstruct().mean)


def test_a_model_of_one_step_saved_without_data_does_not_blend_several(ds: xr.Dataset, tmp_path: Path) -> None:
    one = ds.sst.isel(time=[3]).gpfill.fit(valid=ds.valid, method="exact")
    loaded = round_trip(one, tmp_path / "model.nc", data=False)
    with pytest.raises(XgpfillError, match="fitted on one step of 'time'"):
        loaded.condition(ds.sst.isel(time=[3, 4]), valid=ds.valid)


def test_a_model_saved_without_data_still_knows_that_it_needs_standard_errors(ds, with_errors, tmp_path: Path) -> None:
    loaded = round_trip(with_errors, tmp_path / "model.nc", data=False)
    xr.testing.assert_identical(loaded.hyperparameters, with_errors.hyperparameters)
    again = loaded.condition(ds.sst, noise=xr.full_like(ds.sst, 0.1), valid=True)
    np.testing.assert_allclose(again.reconstruct().mean, with_errors.reconstruct().mean, rtol=1e-6)
    with pytest.raises(XgpfillError, match="fitted with standard errors"):
        loaded.condition(ds.sst, valid=True)


def test_a_model_without_data_can_be_saved_again_and_claims_no_data(model, ds: xr.Dataset, tmp_path: Path) -> None:
    loaded = round_trip(round_trip(model, tmp_path / "a.nc", data=False), tmp_path / "b.nc")
    with pytest.raises(NotFittedError, match="loaded without data"):
        loaded.reconstruct()
    xr.testing.assert_identical(loaded.condition(ds.sst).reconstruct().mean, model.reconstruct().mean)


# What is refused


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"There is no file '.*none\.nc'. Give the path that `model\.save"):
        xgpfill.load(tmp_path / "none.nc")


def test_a_file_of_a_newer_format_asks_for_an_update(model: FittedModel, tmp_path: Path) -> None:
    model.save(tmp_path / "model.nc")
    newer = edited(tmp_path / "model.nc", lambda state: state.update(format=FORMAT + 1))
    with pytest.raises(FileFormatError, match=rf"has format {FORMAT + 1}, newer than {FORMAT}.*pip install -U xgpfill"):
        xgpfill.load(newer)


@pytest.mark.parametrize("suffix", KINDS)
def test_another_dataset_is_not_a_model(ds: xr.Dataset, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"other{suffix}"
    if suffix == ".nc":
        ds.to_netcdf(path)
    else:
        ds.to_zarr(path, zarr_format=2)
    with pytest.raises(FileFormatError, match=r"is not a model saved by xgpfill. Write one with `model\.save"):
        xgpfill.load(path)


def test_a_file_of_another_kind_is_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "text.nc").write_text("not netCDF")
    (tmp_path / "folder.zarr").mkdir()
    for name in ("text.nc", "folder.zarr"):
        with pytest.raises(FileFormatError, match=r"cannot be read as netCDF or Zarr"):
            xgpfill.load(tmp_path / name)


@pytest.mark.parametrize("name", ["model", "model.pkl"])
def test_a_path_without_a_known_ending_is_refused_before_anything_is_written(model, tmp_path: Path, name: str) -> None:
    with pytest.raises(XgpfillError, match=r"Cannot tell the format of .* End it in '\.nc' or '\.zarr'"):
        model.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_an_unknown_type_is_refused(model: FittedModel, tmp_path: Path) -> None:
    model.save(tmp_path / "model.nc")

    def plant(state: dict[str, Any]) -> None:
        state["prior"]["terms"]["items"][0]["time"] = {"type": "Popen", "args": "true"}

    with pytest.raises(FileFormatError, match=r"holds a 'Popen', which this version does not know. Update xgpfill"):
        xgpfill.load(edited(tmp_path / "model.nc", plant))


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("prior"),
        lambda state: state.update(format="new"),
        lambda state: state["scaling"].update(surprise=1.0),
        lambda state: state["prior"].pop("terms"),
    ],
)
def test_a_damaged_state_is_an_error_of_ours(model: FittedModel, tmp_path: Path, change) -> None:
    model.save(tmp_path / "model.nc")
    with pytest.raises(FileFormatError, match=r"model\.nc' is a model saved by xgpfill, but damaged .*Write it anew"):
        xgpfill.load(edited(tmp_path / "model.nc", change))


def test_state_that_is_no_json_is_an_error_of_ours(model: FittedModel, tmp_path: Path) -> None:
    model.save(tmp_path / "model.nc")
    with netCDF4.Dataset(tmp_path / "model.nc", "a") as file:
        file.setncattr("xgpfill", "{half")
    with pytest.raises(FileFormatError, match=r"model\.nc' is a model saved by xgpfill, but damaged"):
        xgpfill.load(tmp_path / "model.nc")


def test_plain_data_hold_only_json_and_come_back_equal(model: FittedModel) -> None:
    plain = to_plain(model.prior)
    assert from_plain(json.loads(json.dumps(plain))) == model.prior
    assert to_plain(np.float64(2.5)) == 2.5
    assert from_plain(to_plain(("a", ("b",), None))) == ("a", ("b",), None)


# Safety


@pytest.mark.parametrize("suffix", KINDS)
def test_nothing_is_pickled(model: FittedModel, tmp_path: Path, monkeypatch, suffix: str) -> None:
    for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, lambda *a, **k: pytest.fail("pickled"))
    path = tmp_path / f"model{suffix}"
    loaded = round_trip(model, path)
    assert loaded.prior == model.prior
    stored = b"".join(p.read_bytes() for p in [path, *path.rglob("*")] if p.is_file())
    for trace in (b"pickle", b"torch", b"cxgpfill", b"__reduce__"):
        assert trace not in stored
    with xr.open_datatree(path, engine="netcdf4" if suffix == ".nc" else "zarr", **OPENED[suffix]) as tree:
        for node in tree.subtree:
            assert all(v.dtype.kind in "fiubMU" or v.dtype.kind == "T" for v in node.to_dataset().variables.values())


OPENED: dict[str, dict[str, Any]] = {".nc": {}, ".zarr": {"consolidated": False}}


@pytest.mark.parametrize("suffix", KINDS)
def test_a_write_that_fails_leaves_the_old_file_whole(model, tmp_path: Path, monkeypatch, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    model.save(path)
    before = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    def broken(self: xr.DataTree, target: Path, **kwargs: object) -> None:
        if suffix == ".zarr":
            target.mkdir()
            target = target / "half"
        target.write_bytes(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr(xr.DataTree, "to_netcdf" if suffix == ".nc" else "to_zarr", broken)
    with pytest.raises(OSError, match="the disk is full"):
        model.save(path, mode="w")
    assert {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    monkeypatch.undo()
    assert xgpfill.load(path).prior == model.prior


@pytest.mark.parametrize("suffix", KINDS)
def test_a_write_into_a_folder_that_is_not_there_fails_and_makes_nothing(model, tmp_path: Path, suffix: str) -> None:
    with pytest.raises(XgpfillError, match=r"There is no folder '.*none' to write 'model.* Make it first, e\.g\. `"):
        model.save(tmp_path / "none" / f"model{suffix}")
    assert not list(tmp_path.iterdir())


def test_an_address_is_refused(model: FittedModel) -> None:
    with pytest.raises(XgpfillError, match=r"'s3://a/model\.zarr' is an address; expected a path on this machine"):
        model.save("s3://a/model.zarr")


def test_a_folder_of_other_things_is_never_replaced(model: FittedModel, tmp_path: Path) -> None:
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "mine.zarr" / "thesis.txt").write_text("years of work")
    with pytest.raises(XgpfillError, match=r"holds other things than a Zarr store.*e\.g\. '.*out\.zarr'"):
        model.save(tmp_path / "mine.zarr")
    assert (tmp_path / "mine.zarr" / "thesis.txt").read_text() == "years of work"


# Local amplitude, fields and intervals


@pytest.fixture(scope="module")
def varied(ds: xr.Dataset) -> FittedModel:
    """Two fields of different sizes with a local amplitude and calibrated intervals."""
    both = xr.concat([ds.sst, 5.0 * ds.sst], pd.Index([10, 50], name="level")).isel(time=slice(5))
    table = xr.Dataset(
        {
            "variance": ("term", [0.5]),
            "time_lengthscale": ("term", [5.0]),
            "space_lengthscale": ("term", [300.0]),
            "noise": 0.02,
            "amplitude_centre": (("bump", "axis"), [[4850.0, 400.0, 4100.0], [4700.0, 900.0, 4200.0]]),
            "amplitude_weight": ("bump", [0.7, -0.4]),
            "amplitude_lengthscale": 300.0,
            "amplitude_level": -0.1,
            "field_amplitude": ("level", [0.5, 2.5]),
        },
        {"term": ["product"], "level": [10, 50]},
    )
    dims = ("time", "lat", "lon")
    return both.gpfill.fit(dims=dims, valid=ds.valid, combine="product", method="exact", hyperparameters=table)


@pytest.mark.parametrize("suffix", KINDS)
def test_amplitude_fields_and_intervals_survive(varied: FittedModel, tmp_path: Path, suffix: str) -> None:
    loaded = round_trip(varied, tmp_path / f"model{suffix}")
    assert varied.intervals is not None and len(varied.intervals.ratios) == 2
    assert loaded.intervals == varied.intervals and loaded.scaling == varied.scaling
    xr.testing.assert_identical(loaded.amplitude, varied.amplitude)
    xr.testing.assert_identical(loaded.calibration, varied.calibration)
    xr.testing.assert_identical(loaded.hyperparameters, varied.hyperparameters)
    for one, other in zip(loaded.reconstruct().interval(0.8), varied.reconstruct().interval(0.8), strict=True):
        xr.testing.assert_identical(one, other)


def test_a_model_saved_without_data_keeps_amplitude_and_fields(varied: FittedModel, tmp_path: Path) -> None:
    loaded, data = round_trip(varied, tmp_path / "model.nc", data=False), varied.layout.template
    xr.testing.assert_identical(loaded.hyperparameters, varied.hyperparameters)
    part = data.sel(level=[50])
    found, expected = (m.condition(part, valid=varied.valid) for m in (loaded, varied))
    xr.testing.assert_identical(found.reconstruct().to_dataset(), expected.reconstruct().to_dataset())
    assert found.intervals == expected.intervals


def test_a_file_of_the_first_format_is_read_without_intervals(model: FittedModel, tmp_path: Path) -> None:
    def older(state: dict[str, Any]) -> None:
        state["format"] = 1
        del state["intervals"]
        state["record"]["items"].append(["calibration", 1.2])
        for name in ("fields", "amplitude", "unit"):
            del state["scaling"][name]

    model.save(tmp_path / "model.nc")
    loaded = xgpfill.load(edited(tmp_path / "model.nc", older))
    assert loaded.intervals is None
    xr.testing.assert_identical(loaded.hyperparameters, model.hyperparameters)
    xr.testing.assert_identical(loaded.reconstruct().mean, model.reconstruct().mean)


def test_hyperparameters_given_back_to_fit_give_the_same_field(varied: FittedModel) -> None:
    data, table = varied.layout.template, varied.hyperparameters
    how: dict[str, Any] = {"dims": ("time", "lat", "lon"), "valid": varied.valid, "combine": "product"}
    again = data.gpfill.fit(**how, method="exact", hyperparameters=table)
    xr.testing.assert_identical(again.hyperparameters, table)
    xr.testing.assert_identical(again.amplitude, varied.amplitude)
    xr.testing.assert_identical(again.reconstruct().to_dataset(), varied.reconstruct().to_dataset())
    assert again.intervals == varied.intervals
    assert not [name for name in table if "calibration" in str(name) or "interval" in str(name)]


def test_intervals_are_told_anew_by_the_data_that_are_conditioned_on(varied: FittedModel) -> None:
    data = varied.layout.template
    larger = data + 3.0 * (data - data.mean(("time", "lat", "lon")))
    same, other = varied.condition(data), varied.condition(larger)
    assert same.intervals == varied.intervals
    assert np.mean(other.intervals.ratios) > np.mean(varied.intervals.ratios)
    xr.testing.assert_identical(other.hyperparameters, varied.hyperparameters)
    none = varied.condition(larger, calibrate=False)
    assert none.intervals is None
    xr.testing.assert_identical(none.reconstruct().variance, other.reconstruct().variance)


def test_lazy_data_keep_the_intervals_unless_asked(model: FittedModel, nothing_is_computed: None) -> None:
    assert model.intervals is not None
    lazy = model.layout.template.chunk(time=3)
    assert model.condition(lazy).intervals == model.intervals


def test_lazy_data_are_calibrated_when_asked(model: FittedModel) -> None:
    data = model.layout.template * 1.5
    found = model.condition(data.chunk(time=3), calibrate=True)
    assert found.intervals == model.condition(data).intervals
