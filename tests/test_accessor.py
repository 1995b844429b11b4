"""The accessor: every call on both xarray types, and the kinds of data that people bring."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import xgpfill
from xgpfill.errors import NotFittedError, VariableError, XgpfillError, XgpfillWarning
from xgpfill.fitting import fit

if TYPE_CHECKING:
    from xgpfill.model import FittedModel

CUBE = ("time", "lat", "lon")


@pytest.fixture(scope="module")
def known(ds: xr.Dataset, model: FittedModel) -> dict[str, object]:
    """Arguments of a fit that learns nothing."""
    return {"valid": ds.valid, "method": "exact", "hyperparameters": model.hyperparameters}


@pytest.fixture(scope="module")
def two(ds: xr.Dataset) -> xr.Dataset:
    """Two variables on the same dimensions, gaps alike, and others that nobody asks for."""
    return ds[["sst", "valid"]].assign(anomaly=0.5 * ds.sst - 3.0, depth=("lat", np.arange(8.0)))


# The signature


@pytest.mark.parametrize(("cls", "also"), [(xr.DataArray, []), (xr.Dataset, ["variable", "vector", "joint"])])
def test_the_accessor_names_every_argument_of_fit_with_the_same_default(cls: type, also: list[str]) -> None:
    theirs = dict(inspect.signature(fit).parameters)
    ours = dict(inspect.signature(cls.gpfill.fit).parameters)
    del theirs["da"], ours["self"]
    assert [name for name in ours if name not in also] == list(theirs)
    assert {n: p.default for n, p in ours.items() if n not in also} == {n: p.default for n, p in theirs.items()}
    assert {p.kind for p in ours.values()} == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("cls", [xr.DataArray, xr.Dataset])
def test_the_docstring_of_fit_has_an_entry_for_every_argument(cls: type) -> None:
    names = set(inspect.signature(cls.gpfill.fit).parameters) - {"self"}
    entries = [line.split(" : ")[0] for line in inspect.getdoc(cls.gpfill.fit).splitlines() if " : " in line]
    assert names == {name.strip() for entry in entries for name in entry.split(",")}


# The calls


def test_fit_returns_a_model_whose_reconstruction_unpacks_on_the_grid_of_the_data(
    ds: xr.Dataset, model: FittedModel
) -> None:
    assert isinstance(model, xgpfill.FittedModel)
    mean, variance = model.reconstruct()
    assert mean.dims == variance.dims == ds.sst.dims
    xr.testing.assert_equal(mean.notnull(), ds.valid.broadcast_like(ds.sst).transpose(*CUBE))
    assert bool((variance.where(ds.valid, 1.0) > 0).all())


def test_the_last_model_answers_through_the_same_object(ds: xr.Dataset, known: dict[str, object]) -> None:
    da = ds.sst
    model = da.gpfill.fit(**known)
    assert da.gpfill.model is model
    xr.testing.assert_identical(da.gpfill.reconstruct().mean, model.reconstruct().mean)
    xr.testing.assert_identical(da.gpfill.sample(2, seed=3), model.sample(2, seed=3))
    point = {"lat": 40.0, "lon": 4.0}
    xr.testing.assert_identical(da.gpfill.predict(point).mean, model.predict(point).mean)
    assert da.gpfill.reconstruct(include_noise=True).variance.attrs["variance_kind"] == "observed"
    assert da.gpfill.reconstruct(variance=False).variance is None


def test_the_last_model_answers_through_the_same_dataset(two: xr.Dataset, known: dict[str, object]) -> None:
    model = two.gpfill.fit(variable="sst", **known)
    xr.testing.assert_identical(two.gpfill.reconstruct().mean, model.reconstruct().mean)


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        (lambda g: g.reconstruct(), r"model\.reconstruct\(\)"),
        (lambda g: g.predict({"lat": 40.0}), r"model\.predict\(target\)"),
        (lambda g: g.sample(2), r"model\.sample\(n\)"),
        (lambda g: g.model, r"model\.model"),
    ],
)
def test_an_object_that_fitted_nothing_says_so_and_shows_the_two_lines(ds: xr.Dataset, call, shown: str) -> None:
    expected = (
        rf"Nothing was fitted through this object.*ds\['x'\]` makes a new object.*model = da\.gpfill\.fit.*{shown}"
    )
    with pytest.raises(NotFittedError, match=expected):
        call(ds["truth"].gpfill)


def test_a_new_object_from_the_same_dataset_does_not_know_the_model(ds: xr.Dataset, known: dict[str, object]) -> None:
    ds["sst"].gpfill.fit(**known)
    with pytest.raises(NotFittedError, match="makes a new object each time"):
        ds["sst"].gpfill.reconstruct()


def test_a_later_fit_replaces_the_last_model_and_leaves_the_earlier_one_as_it_was(ds: xr.Dataset, known) -> None:
    da = ds.sst
    first = da.gpfill.fit(**known)
    before = first.hyperparameters
    second = da.gpfill.fit(**known, noise=None, seed=5)
    assert da.gpfill.model is second
    assert second is not first
    xr.testing.assert_identical(first.hyperparameters, before)


def test_fill_keeps_what_was_observed_and_leaves_no_gap_where_the_field_exists(ds: xr.Dataset, known) -> None:
    filled = ds.sst.gpfill.fill(**known)
    xr.testing.assert_equal(filled.sst_flag == 1, ds.sst.notnull().assign_coords(sst_flag=filled.sst_flag))
    filled = filled.drop_vars("sst_flag")
    assert filled.name == "sst"
    assert filled.dims == ds.sst.dims
    assert filled.attrs == ds.sst.attrs
    xr.testing.assert_equal(filled.where(ds.sst.notnull()), ds.sst)
    xr.testing.assert_equal(filled.notnull(), ds.valid.broadcast_like(ds.sst).transpose(*CUBE))


def test_fill_of_a_dataset_fills_the_named_variable(two: xr.Dataset, ds: xr.Dataset, known) -> None:
    xr.testing.assert_identical(two.gpfill.fill(variable="sst", **known), ds.sst.gpfill.fill(**known))


# Datasets


def test_a_dataset_with_one_variable_on_the_fitted_dimensions_needs_no_name(ds: xr.Dataset, model, known) -> None:
    found = ds[["sst", "valid"]].assign(depth=("lat", np.arange(8.0))).gpfill.fit(**known)
    xr.testing.assert_identical(found.reconstruct().mean, model.reconstruct().mean)


def test_a_dataset_with_several_variables_lists_them_and_shows_how_to_name_one(two: xr.Dataset) -> None:
    with pytest.raises(VariableError, match=r"several variables.*'sst', 'anomaly'.*`variable='sst'`") as refused:
        two.gpfill.fit()
    assert str(refused.value).endswith("a list as well and fits each on its own: `fit(variable=['sst', 'anomaly'])`.")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"variable": "t2m"}, r"no variable 't2m' in the Dataset, which has 'sst', 'valid', 'anomaly', 'depth'"),
        ({"variable": ()}, r"variable=\(\) names nothing"),
        ({"dims": ("level", "lat")}, r"No numeric variable of the Dataset has the dimensions 'lat', 'level'"),
    ],
)
def test_a_variable_that_is_not_there_is_an_error_of_ours(two: xr.Dataset, arguments, match: str) -> None:
    with pytest.raises(VariableError, match=match):
        two.gpfill.fit(**arguments)


def test_every_name_is_looked_up_before_anything_is_learned(two: xr.Dataset, monkeypatch) -> None:
    monkeypatch.setattr("xgpfill.several.dataset.fit", lambda *a, **k: pytest.fail("learned"))
    with pytest.raises(VariableError, match=r"no variable 't2m' in the Dataset"):
        two.gpfill.fit(variable=("sst", "t2m"))


def test_an_empty_list_of_variables_is_an_error_of_ours(two: xr.Dataset) -> None:
    with pytest.raises(VariableError, match=r"variable=\[\] names nothing"):
        two.gpfill.fit(variable=[])


@pytest.mark.parametrize("names", [["sst", "anomaly"], ("sst", "anomaly")], ids=["list", "tuple"])
def test_several_names_give_datasets_each_variable_fitted_on_its_own(two, ds, model, known, names) -> None:
    arguments = {"valid": ds.valid, "method": "exact"}
    both = two.gpfill.fit(variable=names, **arguments)
    mean, variance = both.reconstruct()
    assert list(mean) == ["sst", "anomaly"]
    assert list(variance) == ["sst_variance", "anomaly_variance"]
    xr.testing.assert_allclose(mean.sst, model.reconstruct().mean)
    np.testing.assert_allclose(mean.anomaly, 0.5 * mean.sst - 3.0, rtol=1e-5)
    np.testing.assert_allclose(variance.anomaly_variance, 0.25 * variance.sst_variance, rtol=1e-4)
    assert list(both.sample(2)) == list(both.filled) == list(both.predict({"lat": 40.0}).mean) == list(names)
    assert list(both.condition(two).reconstruct().mean) == list(names)


@pytest.fixture(scope="module")
def both(two: xr.Dataset, ds: xr.Dataset) -> object:
    return two.gpfill.fit(variable=("sst", "anomaly"), valid=ds.valid, method="exact")


def test_the_models_of_several_variables_can_be_looked_at_one_by_one(both) -> None:
    assert both["sst"].layout.template.name == "sst"
    assert list(both.hyperparameters) == ["sst", "anomaly"]
    assert "'sst'" in repr(both) and "'anomaly'" in repr(both)
    assert both._repr_html_().count("<table>") == 2
    with pytest.raises(VariableError, match=r"No model of 'depth'; there are models of 'sst', 'anomaly'"):
        both["depth"]


def test_valid_and_standard_errors_may_be_datasets_with_a_field_for_each_variable(two, ds: xr.Dataset) -> None:
    errors = xr.full_like(ds.sst, 0.1)
    fields = {
        "noise": xr.Dataset({"sst": errors, "anomaly": 0.5 * errors}),
        "valid": xr.Dataset({"sst": ds.valid, "anomaly": ds.valid}),
    }
    models = two.gpfill.fit(variable=("sst", "anomaly"), method="exact", **fields)
    mean, _ = models.reconstruct(include_noise=True)
    np.testing.assert_allclose(mean.anomaly, 0.5 * mean.sst - 3.0, rtol=1e-5)
    xr.testing.assert_identical(models.condition(two, **fields).reconstruct().mean, models.reconstruct().mean)


def test_what_several_variables_cannot_do_is_said(both) -> None:
    with pytest.raises(XgpfillError, match=r"covariance=True needs one variable"):
        both.predict({"lat": 40.0}, covariance=True)


def test_a_reconstruction_of_several_variables_scores_and_saves_like_one(both, two, ds, tmp_path) -> None:
    found = both.reconstruct()
    truth = xr.Dataset({"sst": ds.truth, "anomaly": 0.5 * ds.truth - 3.0})
    scores = found.score(truth)
    assert scores["variable"].values.tolist() == ["sst", "anomaly"]
    np.testing.assert_allclose(scores.rmse[1], 0.5 * scores.rmse[0], rtol=1e-5)
    found.to_netcdf(tmp_path / "both.nc")
    with xr.open_dataset(tmp_path / "both.nc") as back:
        xr.testing.assert_identical(back.load(), found.to_dataset())
    assert list(found.std()) == ["sst_std", "anomaly_std"]
    assert [list(bound) for bound in found.interval()] == [
        ["sst_lower", "anomaly_lower"],
        ["sst_upper", "anomaly_upper"],
    ]
    assert "sst_variance" in found._repr_html_()
    xr.testing.assert_equal(found.filled.sst.where(two.sst.notnull()).reset_coords(drop=True), two.sst)
    assert set(found.filled.coords) - set(two.coords) == {"sst_flag", "anomaly_flag"}


# The data are never changed


@pytest.mark.parametrize("call", ["fit", "fill", "dataset"])
def test_the_data_are_bit_identical_afterwards(ds: xr.Dataset, known, call: str) -> None:
    data = ds.copy(deep=True)
    data.sst.encoding, data.time.encoding = {"_FillValue": -1.0}, {"units": "days since 1950-01-01"}
    data.sst.values.flags.writeable = data.valid.values.flags.writeable = False
    before, stored, encoding = data.copy(deep=True), data.sst.values.tobytes(), dict(data.sst.encoding)
    arguments = {**known, "valid": data.valid}
    if call == "dataset":
        model = data.gpfill.fit(variable=("sst",), **{**arguments, "hyperparameters": None})
    elif call == "fit":
        model = data.sst.gpfill.fit(**arguments)
    else:
        model = None
        data.sst.gpfill.fill(**arguments)
    if model is not None:
        found = model.reconstruct(include_noise=True)
        _ = found.filled, found.std(), found.to_dataset(), found.interval(), model.sample(2, include_noise=True)
        mean = found.mean.sst if call == "dataset" else found.mean
        mean.attrs["units"] = mean.time.attrs["axis"] = "changed"
        mean[:] = 0.0
    xr.testing.assert_identical(data, before)
    assert data.sst.values.tobytes() == stored
    assert data.sst.encoding == encoding


def test_the_fit_arguments_are_bit_identical_afterwards(ds: xr.Dataset, model: FittedModel) -> None:
    hyperparameters, noise = model.hyperparameters, xr.full_like(ds.sst, 0.1).where(ds.sst.notnull())
    before, valid = (hyperparameters.copy(deep=True), noise.copy(deep=True)), ds.valid.copy(deep=True)
    ds.sst.gpfill.fit(valid=ds.valid, method="exact", hyperparameters=hyperparameters).reconstruct()
    ds.sst.gpfill.fit(valid=ds.valid, method="exact", noise=noise).reconstruct(include_noise=True)
    xr.testing.assert_identical(hyperparameters, before[0])
    xr.testing.assert_identical(noise, before[1])
    xr.testing.assert_identical(ds.valid, valid)


# Kinds of data


def answers(da: xr.DataArray, **arguments) -> xgpfill.Reconstruction:
    """Fit and reconstruct, with what every answer must satisfy."""
    found = da.gpfill.fit(method="exact", **arguments).reconstruct()
    assert found.mean.dims == found.variance.dims == da.dims
    assert found.mean.shape == found.variance.shape == da.shape
    assert bool(found.mean.notnull().all())
    assert bool((found.variance > 0).all())
    return found


def test_a_time_series_is_filled_with_terms_of_time_only(ds: xr.Dataset) -> None:
    series = ds.sst.isel(lat=4, lon=4)
    answers(series)
    model = series.gpfill.fit(method="exact")
    assert list(model.hyperparameters.data_vars) == ["variance", "time_lengthscale", "noise"]


def test_a_map_is_filled_with_terms_of_space_only(ds: xr.Dataset) -> None:
    frame = ds.sst.isel(time=3)
    answers(frame, valid=True)
    model = frame.gpfill.fit(method="exact", valid=True)
    assert list(model.hyperparameters.data_vars) == ["variance", "space_lengthscale", "noise"]


def test_one_time_step_gives_the_same_answer_as_the_map_without_it(ds: xr.Dataset) -> None:
    kept = answers(ds.sst.isel(time=[3]), valid=True)
    dropped = answers(ds.sst.isel(time=3), valid=True)
    np.testing.assert_allclose(kept.mean[0], dropped.mean)
    np.testing.assert_allclose(kept.variance[0], dropped.variance)


@pytest.mark.parametrize("dim", ["lat", "lon"])
def test_one_row_or_column_works(ds: xr.Dataset, dim: str) -> None:
    answers(ds.truth.isel({dim: [4]}).where(ds.sst.isel({dim: [4]}).notnull()), valid=True)


def test_one_row_gives_the_same_answer_with_its_latitude_as_a_scalar(ds: xr.Dataset) -> None:
    kept, dropped = answers(ds.sst.isel(lat=[4]), valid=True), answers(ds.sst.isel(lat=4), valid=True)
    np.testing.assert_allclose(kept.mean.isel(lat=0), dropped.mean)
    np.testing.assert_allclose(kept.variance.isel(lat=0), dropped.variance)


@pytest.fixture(scope="module")
def levels(ds: xr.Dataset) -> xr.DataArray:
    """Three depths with gaps of their own, the extra dimension in the middle."""
    deeper = [ds.sst, ds.truth.where(ds.sst.shift(time=1).notnull()) - 2.0, ds.sst * 0.5]
    return xr.concat(deeper, pd.Index([0, 50, 100], name="level")).transpose("time", "level", "lat", "lon")


def test_extra_dims_are_independent_fields_that_share_hyperparameters(levels: xr.DataArray, known) -> None:
    whole = levels.gpfill.fit(dims=CUBE, **known).reconstruct()
    assert whole.mean.dims == levels.dims
    for level in levels.level:
        alone = levels.sel(level=level).gpfill.fit(**known).reconstruct()
        np.testing.assert_allclose(whole.mean.sel(level=level), alone.mean, rtol=1e-9)
        np.testing.assert_allclose(whole.variance.sel(level=level), alone.variance, rtol=1e-8)


def test_several_extra_dims_work_in_any_order(ds: xr.Dataset, known) -> None:
    members = xr.concat([ds.sst, 2 * ds.sst], "member").expand_dims(level=[5.0, 9.0])
    members = members.transpose("lat", "member", "time", "level", "lon")
    found = members.gpfill.fit(dims=CUBE, **known)
    mean, _ = found.reconstruct()
    alone = members.isel(member=1, level=0).gpfill.fit(**known).reconstruct().mean
    assert mean.dims == members.dims
    np.testing.assert_allclose(mean.isel(member=1, level=1), alone, rtol=1e-9)
    assert found.trend["mean"].dims == ("member", "level")


def test_extra_dims_learn_one_set_of_hyperparameters(levels: xr.DataArray, ds: xr.Dataset) -> None:
    model = levels.gpfill.fit(dims=CUBE, valid=ds.valid, method="exact")
    assert model.hyperparameters["variance"].dims == ("term",)
    draws = model.sample(2)
    assert draws.dims == ("sample", *levels.dims)
    assert not draws.isel(level=0).identical(draws.isel(level=1))


def test_a_member_without_any_observation_gets_the_prior(ds: xr.Dataset, known) -> None:
    da = xr.concat([ds.sst, ds.sst.where(False)], pd.Index([1, 2], name="member"))
    model = da.gpfill.fit(dims=CUBE, **known)
    mean, variance = model.reconstruct()
    alone = ds.sst.gpfill.fit(**known).reconstruct()
    sea = ds.valid.values
    np.testing.assert_allclose(mean.sel(member=1), alone.mean)
    blind = mean.sel(member=2).values[:, sea]
    np.testing.assert_allclose(blind, float(ds.sst.mean()))
    prior = float(model.hyperparameters["variance"].sum())
    np.testing.assert_allclose(variance.sel(member=2).values[:, sea], prior, rtol=1e-9)


def test_an_image_without_coordinates_is_filled_channel_by_channel_in_cells() -> None:
    rng = np.random.default_rng(0)
    picture = rng.normal(size=(11, 9, 3)).cumsum(0).cumsum(1)
    picture[rng.random(picture.shape) < 0.4] = np.nan
    image = xr.DataArray(picture, dims=("y", "x", "channel"))
    model = image.gpfill.fit(dims=("x", "y"), method="exact")
    mean, _ = model.reconstruct()
    assert mean.dims == image.dims
    assert not mean.coords
    assert mean.name is None
    assert bool(mean.notnull().all())
    assert model.hyperparameters["space_lengthscale"].attrs["units"] == "cell"


def stations() -> xr.DataArray:
    rng = np.random.default_rng(0)
    coords = {
        "time": pd.date_range("2000-01-01", periods=12),
        "station": [f"s{i}" for i in range(7)],
        "lat": ("station", rng.uniform(40, 45, 7), {"standard_name": "latitude"}),
        "lon": ("station", rng.uniform(0, 8, 7), {"standard_name": "longitude"}),
    }
    values = rng.normal(size=(12, 1)).cumsum(0) + 0.3 * rng.normal(size=(12, 7)).cumsum(0)
    da = xr.DataArray(values, coords, ("time", "station"), "t2m")
    return da.where(rng.random(da.shape) > 0.3)


def test_stations_are_filled_by_their_places_not_by_their_order() -> None:
    da = stations()
    model = da.gpfill.fit(method="exact")
    mean = model.reconstruct().mean
    assert mean.dims == da.dims
    assert model.lattice.space.geometry == "sphere"
    shuffled = da.isel(station=[3, 1, 6, 0, 5, 4, 2])
    again = shuffled.gpfill.fit(method="exact", hyperparameters=model.hyperparameters).reconstruct().mean
    np.testing.assert_allclose(again.sel(station=da.station), mean, rtol=1e-9)


def test_two_stations_at_one_place_are_repeated_measurements() -> None:
    da = stations()
    twins = da.assign_coords(
        lat=da.lat.where(da.station != "s1", da.lat[0]), lon=da.lon.where(da.station != "s1", da.lon[0])
    )
    mean, variance = twins.gpfill.fit(method="exact").reconstruct()
    np.testing.assert_allclose(mean.sel(station="s0"), mean.sel(station="s1"), rtol=1e-6)
    np.testing.assert_allclose(variance.sel(station="s0"), variance.sel(station="s1"), rtol=1e-6)


def test_projected_metres_give_lengthscales_in_km(ds: xr.Dataset) -> None:
    da = ds.sst.isel(time=0, drop=True).rename(lat="y", lon="x")
    da = da.assign_coords(y=("y", 1e5 * np.arange(8.0), {"units": "m"}), x=("x", 1e5 * np.arange(9.0), {"units": "m"}))
    model = da.gpfill.fit(method="exact", valid=True)
    in_km = da.assign_coords(
        y=("y", 100.0 * np.arange(8), {"units": "km"}), x=("x", 100.0 * np.arange(9), {"units": "km"})
    )
    other = in_km.gpfill.fit(method="exact", valid=True)
    assert model.hyperparameters["space_lengthscale"].attrs["units"] == "km"
    np.testing.assert_allclose(model.hyperparameters["space_lengthscale"], other.hyperparameters["space_lengthscale"])


def test_integer_data_give_float64_and_keep_the_observed_values(ds: xr.Dataset) -> None:
    counts = (100 * ds.truth.fillna(15.0)).round().astype("int16")
    model = counts.gpfill.fit(method="exact", valid=ds.valid)
    found = model.reconstruct()
    assert found.mean.dtype == found.variance.dtype == found.filled.dtype == model.sample(1).dtype == np.float64
    xr.testing.assert_equal(found.filled.drop_vars("truth_flag").where(ds.valid), counts.where(ds.valid))


def test_data_without_gaps_work_and_are_known_everywhere(ds: xr.Dataset) -> None:
    whole = ds.truth.isel(lat=slice(2, 6), lon=slice(3, 6), time=slice(0, 5))
    assert bool(whole.notnull().all())
    found = answers(whole)
    xr.testing.assert_equal(found.filled.drop_vars("truth_flag"), whole)
    assert float(found.std().max()) < 0.5 * float(whole.std())


def test_cells_never_observed_are_filled_with_one_warning_that_names_both_cures(ds: xr.Dataset, known) -> None:
    arguments = {**known, "valid": None}
    with pytest.warns(
        XgpfillWarning, match=r"never observed.*valid=da\.notnull\(\)\.any\('time'\).*valid=True"
    ) as seen:
        mean = ds.sst.gpfill.fit(**arguments).reconstruct().mean
    assert len(seen) == 1
    assert seen[0].filename == __file__
    assert bool(mean.notnull().all())


def test_valid_true_fills_every_cell_without_a_warning(ds: xr.Dataset, known) -> None:
    assert bool(ds.sst.gpfill.fit(**{**known, "valid": True}).filled.notnull().all())


def test_observations_outside_valid_are_not_used(ds: xr.Dataset, known) -> None:
    spoilt = ds.sst.where(ds.valid, 99.0)
    xr.testing.assert_allclose(
        spoilt.gpfill.fit(**known).reconstruct().mean, ds.sst.gpfill.fit(**known).reconstruct().mean
    )


# Coordinates


def shifted_west(ds: xr.Dataset) -> xr.DataArray:
    """The field on longitudes −10…2, so that 0 lies inside."""
    return ds.sst.assign_coords(lon=("lon", ds.lon.values - 10.0, ds.lon.attrs))


def test_descending_latitude_gives_the_same_answer(ds: xr.Dataset, model: FittedModel, known) -> None:
    flipped = ds.sst.isel(lat=slice(None, None, -1))
    same = flipped.gpfill.fit(**{**known, "valid": ds.valid.isel(lat=slice(None, None, -1))}).reconstruct()
    np.testing.assert_array_equal(same.mean.lat, flipped.lat)
    np.testing.assert_allclose(same.mean.sel(lat=ds.lat), model.reconstruct().mean, rtol=1e-9)
    np.testing.assert_allclose(same.variance.sel(lat=ds.lat), model.reconstruct().variance, rtol=1e-7)
    learned = flipped.gpfill.fit(valid=True, method="exact")
    np.testing.assert_allclose(
        learned.reconstruct().mean.sel(lat=ds.lat),
        ds.sst.gpfill.fit(valid=True, method="exact").reconstruct().mean,
        atol=0.02,
    )


@pytest.mark.parametrize("kernel", ["matern32", "brownian"])
def test_descending_time_gives_the_same_answer_given_hyperparameters(ds: xr.Dataset, kernel: str) -> None:
    arguments = {"valid": ds.valid, "method": "exact", "time_kernel": kernel}
    forwards = ds.sst.gpfill.fit(**arguments)
    known = {**arguments, "hyperparameters": forwards.hyperparameters}
    backwards = ds.sst.isel(time=slice(None, None, -1)).gpfill.fit(**known)
    for tile, error in (("auto", 1e-6), ({"time": 4}, 0.02)):
        one, other = (m.reconstruct(tile=tile).mean.sel(time=ds.time) for m in (backwards, forwards))
        np.testing.assert_allclose(one, other, atol=error)


@pytest.mark.parametrize("is_sorted", [True, False])
def test_longitudes_of_0_to_360_give_the_same_answer_as_of_180_west_to_180_east(ds, known, is_sorted: bool) -> None:
    west = shifted_west(ds)
    round_the_globe = west.assign_coords(lon=("lon", west.lon.values % 360.0, ds.lon.attrs))
    round_the_globe = round_the_globe.sortby("lon") if is_sorted else round_the_globe
    arguments = {**known, "valid": True}
    one, other = (da.gpfill.fit(**arguments).reconstruct() for da in (west, round_the_globe))
    order = {"lon": west.lon.values % 360.0}
    np.testing.assert_array_equal(other.mean.lon, round_the_globe.lon)
    np.testing.assert_allclose(other.mean.sel(order), one.mean, rtol=1e-9)
    np.testing.assert_allclose(other.variance.sel(order), one.variance, rtol=1e-7)


def test_a_region_across_the_date_line_has_no_seam(ds: xr.Dataset, model: FittedModel, known) -> None:
    pacific = ds.sst.assign_coords(lon=("lon", (ds.lon.values + 175.0 + 180.0) % 360.0 - 180.0, ds.lon.attrs))
    assert (np.diff(pacific.lon) < 0).any()
    mean = pacific.gpfill.fit(**{**known, "valid": ds.valid.assign_coords(lon=pacific.lon)}).reconstruct().mean
    np.testing.assert_allclose(mean, model.reconstruct().mean, rtol=1e-8)


@pytest.mark.parametrize(
    "dims",
    [
        None,
        ("time", "lat", "lon"),
        {"lon", "time", "lat"},
        ["lat", "lon", "time"],
        {"time": "time", "y": "lat", "x": "lon"},
    ],
)
def test_dims_is_a_set_in_any_order_or_a_mapping(ds: xr.Dataset, model: FittedModel, known, dims) -> None:
    xr.testing.assert_identical(ds.sst.gpfill.fit(dims=dims, **known).reconstruct().mean, model.reconstruct().mean)


def test_dimensions_with_odd_names_are_told_by_a_mapping(ds: xr.Dataset, model: FittedModel, known) -> None:
    odd = {"time": "step", "lat": "j", "lon": "i"}
    da = ds.sst.rename(odd)
    arguments = {**known, "valid": ds.valid.rename(lat="j", lon="i")}
    mean = da.gpfill.fit(dims={"time": "step", "y": "j", "x": "i"}, **arguments).reconstruct().mean
    assert mean.dims == da.dims
    np.testing.assert_allclose(mean, model.reconstruct().mean, rtol=1e-9)


@pytest.mark.parametrize("order", [("lon", "lat", "time"), ("lat", "time", "lon")])
def test_the_order_of_dims_does_not_matter_and_is_kept(ds: xr.Dataset, model: FittedModel, known, order) -> None:
    mean, variance = ds.sst.transpose(*order).gpfill.fit(**known).reconstruct()
    assert mean.dims == variance.dims == order
    np.testing.assert_allclose(mean.transpose(*CUBE), model.reconstruct().mean, rtol=1e-9)


# Units, seeds, given numbers


@pytest.mark.parametrize(("a", "b"), [(1.0, 273.15), (1.8, 32.0), (-3.0, 0.0), (1e-6, 2e-6), (1e5, -4e5)])
def test_refitting_a_y_plus_b_scales_the_answer(ds: xr.Dataset, model: FittedModel, a: float, b: float) -> None:
    changed = (a * ds.sst + b).gpfill.fit(valid=ds.valid, method="exact")
    one, other = model.reconstruct(include_noise=True), changed.reconstruct(include_noise=True)
    np.testing.assert_allclose(other.mean, a * one.mean + b, atol=1e-4 * abs(a))
    np.testing.assert_allclose(other.variance, a**2 * one.variance, rtol=1e-3)
    np.testing.assert_allclose(changed.hyperparameters.noise, a**2 * model.hyperparameters.noise, rtol=1e-3)
    np.testing.assert_allclose(
        changed.hyperparameters.time_lengthscale, model.hyperparameters.time_lengthscale, rtol=1e-3
    )


def test_the_same_seed_gives_the_same_answer(ds: xr.Dataset) -> None:
    first, second = (ds.sst.gpfill.fit(valid=ds.valid, method="exact", seed=7) for _ in range(2))
    xr.testing.assert_identical(first.hyperparameters, second.hyperparameters)
    xr.testing.assert_identical(first.reconstruct().to_dataset(), second.reconstruct().to_dataset())


def test_given_hyperparameters_skip_learning(ds: xr.Dataset, model: FittedModel, known, monkeypatch) -> None:
    monkeypatch.setattr("xgpfill.learning.composite.learn", lambda *a, **k: pytest.fail("learned"))
    again = ds.sst.gpfill.fit(**known)
    assert again.record.evaluations == 0
    assert model.record.evaluations > 0
    xr.testing.assert_identical(again.hyperparameters, model.hyperparameters)
    xr.testing.assert_identical(again.reconstruct().mean, model.reconstruct().mean)


def test_a_given_noise_variance_is_kept_and_the_rest_is_learned(ds: xr.Dataset, model: FittedModel) -> None:
    given = ds.sst.gpfill.fit(valid=ds.valid, method="exact", noise_variance=0.25)
    np.testing.assert_allclose(given.hyperparameters.noise, 0.25)
    assert given.record.evaluations > 0
    observed, latent = (given.reconstruct(include_noise=n).variance for n in (True, False))
    np.testing.assert_allclose(observed - latent, xr.full_like(latent, 0.25).where(ds.valid), rtol=1e-9)


def test_a_given_noise_of_zero_means_data_without_error(ds: xr.Dataset) -> None:
    mean, variance = ds.sst.gpfill.fit(valid=ds.valid, method="exact", noise=0).reconstruct()
    np.testing.assert_allclose(mean.where(ds.sst.notnull()), ds.sst, atol=1e-3)
    assert float(variance.where(ds.sst.notnull()).max()) < 1e-5 * float(ds.sst.var())


def test_a_given_noise_counts_also_beside_given_hyperparameters(ds: xr.Dataset, known) -> None:
    """Both are named by the user, so neither may be dropped without a word."""
    try:
        model = ds.sst.gpfill.fit(**known, noise=1.0)
    except XgpfillError as error:
        assert "noise" in str(error)  # noqa: PT017
    else:
        np.testing.assert_allclose(model.hyperparameters.noise, 1.0)


def test_standard_errors_learn_a_scale_and_their_own_scale_does_not_matter(ds: xr.Dataset) -> None:
    errors = 0.1 + 0.05 * ds.lat.broadcast_like(ds.sst).transpose(*CUBE) / 40
    one, other = (ds.sst.gpfill.fit(valid=ds.valid, method="exact", noise_std=s * errors) for s in (1.0, 2.0))
    assert one.hyperparameters.noise.attrs["units"] == "1"
    np.testing.assert_allclose(other.reconstruct().mean, one.reconstruct().mean, atol=0.03)
    np.testing.assert_allclose(other.hyperparameters.noise, one.hyperparameters.noise / 4, rtol=0.3)
    assert "× error" in repr(one)


def test_standard_errors_may_lack_dims_of_the_data(ds: xr.Dataset) -> None:
    by_row = 0.1 + 0.01 * (ds.lat - 36)
    full = by_row.broadcast_like(ds.sst).transpose(*CUBE)
    one, other = (ds.sst.gpfill.fit(valid=ds.valid, method="exact", noise_std=e) for e in (by_row, full))
    xr.testing.assert_allclose(
        one.reconstruct(include_noise=True).variance, other.reconstruct(include_noise=True).variance
    )


def test_observed_variance_uses_the_nearest_known_standard_error(ds: xr.Dataset) -> None:
    errors = xr.full_like(ds.sst, 0.2).where(ds.sst.notnull())
    model = ds.sst.gpfill.fit(valid=ds.valid, method="exact", noise=errors)
    extra = model.reconstruct(include_noise=True).variance - model.reconstruct().variance
    expected = 0.04 * float(model.hyperparameters.noise)
    np.testing.assert_allclose(extra.values[:, ds.valid.values], expected, rtol=1e-6)


def test_unknown_standard_errors_come_from_the_same_field(ds: xr.Dataset) -> None:
    errors = xr.full_like(ds.sst, 0.1).where(ds.sst.notnull())
    model = ds.sst.gpfill.fit(valid=ds.valid, method="exact", noise=errors)
    level = pd.Index([0, 50], name="level")
    noise = xr.concat([errors, xr.full_like(errors, 0.5)], level)
    both = model.condition(xr.concat([ds.sst, ds.sst], level), noise=noise).reconstruct(include_noise=True).variance
    np.testing.assert_allclose(both.sel(level=0), model.reconstruct(include_noise=True).variance, rtol=1e-6)


def test_noise_may_not_be_a_standard_error_when_the_hyperparameters_hold_a_variance(ds: xr.Dataset, known) -> None:
    with pytest.raises(XgpfillError, match=r"noise"):
        ds.sst.gpfill.fit(**known, noise=xr.full_like(ds.sst, 0.1))


@pytest.mark.parametrize("which", ["lazy valid", "lazy noise"])
def test_numpy_in_numpy_out_even_when_an_argument_is_lazy(ds: xr.Dataset, known, which: str) -> None:
    if which == "lazy valid":
        model = ds.sst.gpfill.fit(**{**known, "valid": ds.valid.chunk(lat=3)})
    else:
        errors = xr.full_like(ds.sst, 0.1)
        model = ds.sst.gpfill.fit(valid=ds.valid, method="exact", noise=errors.chunk(time=3))
    found = model.reconstruct(include_noise=True)
    assert isinstance(found.mean.data, np.ndarray)
    assert isinstance(found.variance.data, np.ndarray)
