"""What a reconstruction is and says of itself: names, attributes, intervals, scores, files, copies."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING

import cf_xarray  # noqa: F401  (registers .cf)
import numpy as np
import pytest
import xarray as xr
import xgpfill
from xgpfill.datasets import synthetic_sst
from xgpfill.errors import AlignmentError, VariableError, XgpfillError, XgpfillWarning
from xgpfill.words import squared

from tests import reference as ref

if TYPE_CHECKING:
    from pathlib import Path

    from xgpfill.model import FittedModel

QUANTISING = ("_FillValue", "missing_value", "scale_factor", "add_offset", "dtype", "chunks", "chunksizes")
ENCODING = {
    "_FillValue": np.int16(-999), "scale_factor": 0.01, "add_offset": 15.0, "dtype": np.dtype("int16"), "zlib": True,
    "complevel": 4, "chunksizes": (2, 4, 4), "chunks": (2, 4, 4), "preferred_chunks": {"time": 2}, "source": "a.nc",
}  # fmt: skip


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    cube = synthetic_sst(days=8, nlat=8, nlon=9)
    cube.sst.encoding = dict(ENCODING)
    cube.sst.attrs |= {"valid_range": [-2.0, 40.0], "history": "made up", "cell_methods": "time: mean"}
    return cube


@pytest.fixture(scope="module")
def model(ds: xr.Dataset) -> FittedModel:
    return ds.sst.gpfill.fit(valid=ds.valid, method="exact", calibrate=False)


@pytest.fixture(scope="module")
def found(model: FittedModel) -> xgpfill.Reconstruction:
    return model.reconstruct()


@pytest.fixture(scope="module")
def permuted(ds: xr.Dataset, model: FittedModel) -> FittedModel:
    return model.condition(ds.sst.transpose("lon", "time", "lat"))


def fields(found: xgpfill.Reconstruction) -> dict[str, xr.DataArray]:
    """Every DataArray that follows from a reconstruction."""
    lower, upper = found.interval(0.9)
    named = {"mean": found.mean, "variance": found.variance, "std": found.std(), "filled": found.filled}
    return {**named, "lower": lower, "upper": upper}


# A pair


def test_a_reconstruction_unpacks_as_mean_and_variance(found: xgpfill.Reconstruction) -> None:
    mean, variance = found
    assert mean is found.mean
    assert variance is found.variance
    assert isinstance(found, tuple) and len(found) == 2


def test_names_follow_the_name_of_the_field(found: xgpfill.Reconstruction) -> None:
    names = {key: da.name for key, da in fields(found).items()}
    assert names == {
        "mean": "sst", "variance": "sst_variance", "std": "sst_std", "filled": "sst", "lower": "sst_lower",
        "upper": "sst_upper",
    }  # fmt: skip


def test_a_field_without_a_name_gets_plain_names(ds: xr.Dataset, model: FittedModel) -> None:
    nameless = model.condition(ds.sst.rename(None)).reconstruct()
    assert [nameless.mean.name, nameless.variance.name, nameless.std().name] == [None, "variance", "std"]
    assert list(nameless.to_dataset()) == ["mean", "variance", "std"]


def test_without_variance_there_is_none_and_asking_for_it_says_how(model: FittedModel) -> None:
    mean_only = model.reconstruct(variance=False)
    assert mean_only.variance is None
    assert "with no variance" in repr(mean_only)
    assert list(mean_only.to_dataset()) == ["sst"]
    xr.testing.assert_identical(mean_only.filled, model.filled)
    assert mean_only.compute().variance is None
    for ask in (mean_only.std, mean_only.interval, lambda: mean_only.score(mean_only.mean)):
        with pytest.raises(XgpfillError, match=r"no variance. Ask for it: `model\.reconstruct\(variance=True\)`"):
            ask()


# Attributes and encoding


def test_the_mean_keeps_the_attributes_of_the_data_but_not_their_valid_range(ds: xr.Dataset, found) -> None:
    kept = {k: v for k, v in ds.sst.attrs.items() if k != "valid_range"}
    assert found.mean.attrs == kept
    assert found.filled.attrs == kept


def test_the_variance_has_its_own_units_set_explicitly_and_no_standard_name(model: FittedModel, found) -> None:
    attrs = found.variance.attrs
    assert attrs["units"] == "degC2"
    assert attrs["long_name"] == "latent variance of sea surface temperature"
    assert attrs["variance_kind"] == "latent"
    assert "standard_name" not in attrs
    assert model.reconstruct(include_noise=True).variance.attrs["long_name"].startswith("observed variance of")


def test_units_stay_right_whatever_keep_attrs_says(model: FittedModel) -> None:
    for keep in (True, False, "default"):
        with xr.set_options(keep_attrs=keep):
            found = {name: da.attrs.get("units") for name, da in fields(model.reconstruct(include_noise=True)).items()}
        assert found == dict.fromkeys(found, "degC") | {"variance": "degC2"}


@pytest.mark.parametrize(
    ("units", "expected"),
    [("degC", "degC2"), ("m s-1", "(m s-1)2"), ("%", "(%)2"), ("1", "1"), ("", "")],
)
def test_squared_units_are_unambiguous(units: str, expected: str) -> None:
    assert squared(units) == expected


def test_a_field_without_units_has_a_variance_without_units(ds: xr.Dataset, model: FittedModel) -> None:
    bare = model.condition(ds.sst.drop_attrs(deep=False)).reconstruct()
    assert "units" not in bare.variance.attrs
    assert "units" not in bare.std().attrs
    assert "units" not in bare.score(ds.truth.drop_attrs()).rmse.attrs


def test_the_standard_deviation_follows_cf(found: xgpfill.Reconstruction) -> None:
    std = found.std()
    assert std.attrs["standard_name"] == "sea_surface_temperature standard_error"
    assert std.attrs["units"] == "degC"
    assert std.attrs["variance_kind"] == "latent"
    np.testing.assert_allclose(std, np.sqrt(found.variance))


def test_packing_and_chunk_encodings_are_dropped(ds: xr.Dataset, model: FittedModel, found) -> None:
    for da in (*fields(found).values(), model.sample(1), *model.predict(ds.sst)):
        assert not set(da.encoding) & {*QUANTISING, "preferred_chunks", "source"}


def test_the_mean_keeps_the_compression_of_the_data(found: xgpfill.Reconstruction) -> None:
    assert found.mean.encoding == {"zlib": True, "complevel": 4}


def test_the_dataset_ties_mean_to_variance_and_std_as_cf_says(found: xgpfill.Reconstruction) -> None:
    out = found.to_dataset()
    assert list(out) == ["sst", "sst_variance", "sst_std"]
    assert out.attrs["Conventions"].startswith("CF-")
    assert out.sst.attrs["ancillary_variables"].split() == ["sst_variance", "sst_std"]
    assert set(out.cf.get_associated_variable_names("sst")["ancillary_variables"]) == {"sst_variance", "sst_std"}
    assert "sst_std" in out.cf.standard_names["sea_surface_temperature standard_error"]
    assert "ancillary_variables" not in found.mean.attrs


# Values


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_keep_their_dtype(ds: xr.Dataset, model: FittedModel, dtype) -> None:
    found = model.condition(ds.sst.astype(dtype)).reconstruct(include_noise=True)
    assert {da.dtype for da in fields(found).values()} == {np.dtype(dtype)}


def test_the_order_of_dims_is_kept_everywhere(permuted: FittedModel) -> None:
    found = permuted.reconstruct(include_noise=True)
    order = ("lon", "time", "lat")
    assert {da.dims for da in fields(found).values()} == {order}
    assert permuted.sample(2).dims == ("sample", *order)
    assert {da.dims for da in found.to_dataset().values()} == {order}
    assert permuted.filled.dims == order


def test_the_order_of_dims_changes_no_value(found: xgpfill.Reconstruction, permuted: FittedModel) -> None:
    for key, da in fields(permuted.reconstruct()).items():
        np.testing.assert_allclose(da.transpose("time", "lat", "lon"), fields(found)[key], rtol=1e-6)


def test_coordinates_of_all_kinds_are_kept(ds: xr.Dataset, model: FittedModel) -> None:
    rich = ds.sst.assign_coords(
        month=("time", ds.time.dt.month.values), area=(("lat", "lon"), np.ones((8, 9))), depth=0.5, run="a"
    )
    found = model.condition(rich).reconstruct()
    for da in fields(found).values():
        own = da.drop_vars("sst_flag", errors="ignore")
        xr.testing.assert_identical(own.coords.to_dataset(), rich.coords.to_dataset())


def test_coordinates_of_valid_and_noise_do_not_enter_the_answer(ds: xr.Dataset) -> None:
    valid = ds.valid.assign_coords(version=3)
    errors = xr.full_like(ds.sst, 0.1).assign_coords(source="satellite")
    model = ds.sst.gpfill.fit(valid=valid, method="exact", noise=errors)
    found = model.reconstruct(include_noise=True)
    everything = [
        *fields(found).values(),
        *fields(model.reconstruct()).values(),
        model.sample(1).isel(sample=0, drop=True),
    ]
    assert {frozenset(da.coords) - {"sst_flag"} for da in everything} == {frozenset(ds.sst.coords)}
    assert not set(model.reconstruct().score(ds.truth).coords)


def test_filled_is_observed_where_observed_and_the_mean_in_the_gaps(ds: xr.Dataset, found) -> None:
    seen, filled = ds.sst.notnull(), found.filled.drop_vars("sst_flag")
    xr.testing.assert_equal(filled.where(seen), ds.sst)
    xr.testing.assert_equal(filled.where(~seen), found.mean.where(~seen))
    assert not bool((found.mean == ds.sst).where(seen, False).any())


def test_observations_outside_valid_are_not_in_filled(ds: xr.Dataset, model: FittedModel) -> None:
    on_land = model.condition(ds.sst.where(ds.valid, 99.0)).reconstruct().filled
    xr.testing.assert_equal(
        on_land.drop_vars("sst_flag").notnull(), ds.valid.broadcast_like(ds.sst).transpose(*ds.sst.dims)
    )


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_an_interval_is_the_mean_give_or_take_quantiles_of_the_observed_law(model: FittedModel, level: float) -> None:
    half = ref.normal_quantile(0.5 + level / 2)
    observed = model.reconstruct(include_noise=True)
    for found in (model.reconstruct(), observed):
        lower, upper = found.interval(level)
        np.testing.assert_allclose(lower, observed.mean - half * observed.std(), rtol=1e-5)
        np.testing.assert_allclose(upper, observed.mean + half * observed.std(), rtol=1e-5)


def test_intervals_hold_the_share_of_new_observations_they_promise() -> None:
    """On many draws from a known model, within sampling error."""
    cube = synthetic_sst(days=8, nlat=8, nlon=9)
    known = cube.sst.gpfill.fit(valid=True, method="exact", calibrate=False)
    draws = known.sample(300, seed=1, include_noise=True)
    for level in (0.5, 0.95):
        lower, upper = known.reconstruct().interval(level)
        share = float(((lower <= draws) & (draws <= upper)).mean())
        assert share == pytest.approx(level, abs=0.02)


@pytest.mark.parametrize("level", [0.0, 95])
def test_a_level_that_is_no_probability_is_refused(found: xgpfill.Reconstruction, level: float) -> None:
    with pytest.raises(XgpfillError, match=r"level=.*expected a probability between 0 and 1"):
        found.interval(level)


# Scores


@pytest.fixture(scope="module")
def hidden(ds: xr.Dataset) -> np.ndarray:
    return (ds.sst.isnull() & ds.truth.notnull()).values


@pytest.mark.parametrize("include_noise", [False, True])
def test_scores_are_those_of_the_oracle_on_the_hidden_cells(
    ds, model: FittedModel, hidden, include_noise: bool
) -> None:
    found = model.reconstruct(include_noise=include_noise)
    scores = found.score(ds.truth)
    observed = model.reconstruct(include_noise=True)
    mean, sd, truth = (a.values[hidden].astype(float) for a in (observed.mean, observed.std(), ds.truth))
    error = mean - truth
    expected = {
        "rmse": np.sqrt((error**2).mean()),
        "mae": np.abs(error).mean(),
        "bias": error.mean(),
        "crps": ref.crps_gaussian(mean, sd, truth).mean(),
        "nlpd": (0.5 * (error / sd) ** 2 + np.log(sd) + 0.5 * np.log(2 * np.pi)).mean(),
        "mean_variance": (sd**2).mean(),
        "coverage95": ref.coverage(mean, sd, truth, 0.95),
        "variance_error_correlation": np.corrcoef(sd**2, error**2)[0, 1],
        "reduced_chi2": ((error / sd) ** 2).mean(),
        "cells": hidden.sum(),
    }
    assert set(scores) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(scores[name], value, rtol=2e-4, atol=1e-5, err_msg=name)
    assert {name: scores[name].attrs.get("units") for name in scores} == {
        **dict.fromkeys(expected), **dict.fromkeys(("rmse", "mae", "bias", "crps"), "degC"), "mean_variance": "degC2",
    }  # fmt: skip


def test_scores_along_some_dims_agree_with_xskillscore(ds: xr.Dataset, model: FittedModel) -> None:
    xs = pytest.importorskip("xskillscore")
    found = model.reconstruct(include_noise=True)
    scores = found.score(ds.truth, dim=("lat", "lon"))
    assert scores.sizes == {"time": 8}
    truth = ds.truth.where(ds.sst.isnull()).astype(float)
    mean, std = found.mean.astype(float), found.std().astype(float)
    where = {"dim": ["lat", "lon"], "skipna": True}
    np.testing.assert_allclose(scores.rmse, xs.rmse(mean, truth, **where), rtol=1e-5)
    np.testing.assert_allclose(scores.mae, xs.mae(mean, truth, **where), rtol=1e-5)
    np.testing.assert_allclose(scores.bias, xs.me(mean, truth, **where), atol=1e-5)
    crps = xs.crps_gaussian(truth, mean, std, dim=[]).mean(("lat", "lon"))
    np.testing.assert_allclose(scores.crps, crps, rtol=1e-5)


def test_a_truth_in_another_order_of_dims_scores_the_same(ds: xr.Dataset, found) -> None:
    xr.testing.assert_allclose(found.score(ds.truth.transpose("lon", "lat", "time")), found.score(ds.truth))


def test_scores_of_data_without_gaps_say_that_no_cell_was_scored(ds: xr.Dataset, model: FittedModel) -> None:
    for data, truth in ((ds.truth, ds.truth), (ds.sst, ds.sst)):
        with pytest.warns(XgpfillWarning, match=r"No cell is scored.*Hide some before fitting, `da\.where\("):
            scores = model.condition(data).reconstruct().score(truth)
        assert int(scores.cells) == 0
        assert bool(scores.rmse.isnull())


def test_a_truth_on_another_grid_is_refused_with_the_cure(ds: xr.Dataset, found) -> None:
    with pytest.raises(AlignmentError, match=r"`truth` does not lie on the grid.*truth\.reindex_like\(mean"):
        found.score(ds.truth.isel(lat=slice(4)))
    with pytest.raises(VariableError, match=r"`truth` is a Dataset.*score\(truth\['sst'\]\)"):
        found.score(ds)
    with pytest.raises(VariableError, match=r"`truth` is a str; .*`ds\['truth'\]`"):
        found.score("truth")


# Files, merging, copies


@pytest.mark.parametrize("kind", ["netcdf", "zarr"])
def test_what_is_written_is_read_again(found: xgpfill.Reconstruction, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"out.{kind}"
    if kind == "netcdf":
        found.to_netcdf(path)
        back = xr.load_dataset(path)
    else:
        found.to_zarr(path)
        back = xr.open_zarr(path, consolidated=False, chunks=None).load()
    xr.testing.assert_identical(back, found.to_dataset())


def test_what_was_opened_from_a_packed_file_is_written_without_packing(ds, model: FittedModel, tmp_path: Path) -> None:
    packed = {"dtype": "int16", "scale_factor": 0.01, "add_offset": 15.0, "_FillValue": -999, "zlib": True}
    source = ds.assign(sst=ds.sst.drop_encoding())
    source.sst.attrs.pop("valid_range")
    source.to_netcdf(tmp_path / "in.nc", encoding={"sst": packed})
    with xr.open_dataset(tmp_path / "in.nc") as opened:
        found = model.condition(opened.sst).reconstruct()
        found.to_netcdf(tmp_path / "out.nc")
    with xr.open_dataset(tmp_path / "out.nc") as back:
        np.testing.assert_array_equal(back.sst, found.mean)
        assert "scale_factor" not in back.sst_variance.encoding
        assert back.sst.encoding["zlib"]


@pytest.mark.parametrize("kind", ["netcdf", "zarr"])
def test_a_write_that_fails_leaves_the_old_file_whole(found, tmp_path: Path, monkeypatch, kind: str) -> None:
    path = tmp_path / f"out.{kind}"
    for _ in range(2):
        getattr(found, f"to_{kind}")(str(path), mode="w")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    files = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    def broken(self: xr.Dataset, target: Path, **kwargs: object) -> None:
        if kind == "zarr":
            target.mkdir()
            target = target / "half"
        target.write_bytes(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr(xr.Dataset, f"to_{kind}", broken)
    with pytest.raises(OSError, match="the disk is full"):
        getattr(found, f"to_{kind}")(path, mode="w")
    assert {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == files


def test_lazy_chunks_of_unequal_length_are_written_to_zarr(ds, model: FittedModel, tmp_path: Path) -> None:
    lazy = model.condition(ds.sst.chunk(time=(2, 5, 1))).reconstruct()
    lazy.to_zarr(tmp_path / "out.zarr")
    with xr.open_zarr(tmp_path / "out.zarr", consolidated=False, chunks=None) as back:
        xr.testing.assert_equal(back.load(), lazy.to_dataset().compute())


@pytest.mark.parametrize("how", [{"compute": False}, {"append_dim": "time"}, {"mode": "a"}], ids=str)
def test_writing_later_or_in_part_is_refused_so_that_nothing_is_lost(found, tmp_path: Path, how) -> None:
    with pytest.raises(XgpfillError, match=r"writes a file whole and at once.*Type `.*to_dataset\(\)\.to_zarr\(path, "):
        found.to_zarr(tmp_path / "out.zarr", **how)
    assert not list(tmp_path.iterdir())


def test_everything_merges(ds: xr.Dataset, found: xgpfill.Reconstruction) -> None:
    lower, upper = found.interval()
    merged = xr.merge([found.mean, found.variance, found.std(), lower, upper, ds.truth])
    assert list(merged) == ["sst", "sst_variance", "sst_std", "sst_lower", "sst_upper", "truth"]
    assert merged.sizes == ds.sst.sizes


def test_a_notebook_shows_the_dataset(found: xgpfill.Reconstruction) -> None:
    html = found._repr_html_()
    for name in ("sst_variance", "sst_std", "ancillary_variables"):
        assert name in html
    assert repr(found).startswith(
        "Reconstruction(mean, variance) with latent variance; a Dataset: `r.to_dataset()`\n<xarray.DataArray 'sst'"
    )


@pytest.mark.parametrize(
    "duplicate", [lambda r: pickle.loads(pickle.dumps(r)), copy.deepcopy], ids=["pickle", "deepcopy"]
)
def test_a_reconstruction_can_be_pickled_and_copied(ds: xr.Dataset, found: xgpfill.Reconstruction, duplicate) -> None:
    other = duplicate(found)
    assert type(other) is xgpfill.Reconstruction
    for key, da in fields(other).items():
        xr.testing.assert_identical(da, fields(found)[key])
    xr.testing.assert_identical(other.score(ds.truth), found.score(ds.truth))


def test_a_model_can_be_pickled(model: FittedModel, found: xgpfill.Reconstruction) -> None:
    xr.testing.assert_identical(pickle.loads(pickle.dumps(model)).reconstruct().to_dataset(), found.to_dataset())


def test_computing_and_persisting_numpy_changes_nothing(found: xgpfill.Reconstruction) -> None:
    for other in (found.compute(), found.persist()):
        xr.testing.assert_identical(other.to_dataset(), found.to_dataset())
