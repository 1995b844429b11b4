"""Averages over dimensions, regions and periods: their true standard deviations, names, and what is refused."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import xgpfill
from xgpfill.errors import AlignmentError, DataError, DimensionError, MethodError, TooManyPointsError, XgpfillError
from xgpfill.metrics import area_weights, cos_lat_weights

from tests.test_model import CUBE, oracle

if TYPE_CHECKING:
    from xgpfill.model import FittedModel

SPACE = ("lat", "lon")
ENGINES = ["exact", xgpfill.Iterative(num_samples=2), xgpfill.Variational(num_inducing=10_000)]


@pytest.fixture(scope="module")
def gappy(ds: xr.Dataset) -> xr.DataArray:
    return ds.sst.where(np.random.default_rng(0).uniform(size=ds.sst.shape) < 0.7)


@pytest.fixture(scope="module")
def model(ds: xr.Dataset, gappy: xr.DataArray) -> FittedModel:
    return gappy.gpfill.fit(valid=ds.valid, method="exact")


@pytest.fixture(scope="module")
def found(model: FittedModel) -> xgpfill.Reconstruction:
    return model.reconstruct()


@pytest.fixture(scope="module")
def joint(model: FittedModel, gappy: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of all cells by the oracle."""
    law = oracle(model, gappy, gappy, full=True)
    assert law.covariance is not None
    return law.mean, law.covariance


def by_oracle(joint, weights: xr.DataArray, ds: xr.Dataset) -> tuple[float, float]:
    """Mean and standard deviation of one average, from weights that may lack dimensions."""
    sea = ds.valid.broadcast_like(ds.sst).transpose(*CUBE)
    w = (weights * sea).transpose(*CUBE).values.ravel()
    w = w / w.sum()
    mean, covariance = joint
    return float(w @ mean), float(np.sqrt(w @ covariance @ w))


def close(found: xgpfill.Reconstruction, mean: Any, sd: Any) -> None:
    """Within a thousandth of the standard deviation."""
    np.testing.assert_array_less(np.abs(found.mean.values - mean), 1e-3 * np.asarray(sd))
    np.testing.assert_allclose(found.std().values, sd, rtol=1e-3)


# Against the oracle


@pytest.mark.parametrize("method", ENGINES, ids=["exact", "iterative", "variational"])
def test_averages_equal_the_oracle_to_a_thousandth_of_their_standard_deviation(ds, gappy, model, joint, method) -> None:
    known = {"hyperparameters": model.hyperparameters, "valid": ds.valid, "method": method}
    found = gappy.gpfill.fit(**known).reconstruct(variance=False)
    days = found.average(SPACE, weights="cos_lat")
    weights = cos_lat_weights(ds.sst)
    expected = [by_oracle(joint, weights * (ds.time == t), ds) for t in ds.time]
    close(days, *np.array(expected).T)
    close(found.average(), *by_oracle(joint, xr.ones_like(ds.sst), ds))
    meridians = found.average(("time", "lat"))
    expected = [by_oracle(joint, xr.ones_like(ds.sst) * (ds.lon == x), ds) for x in ds.lon]
    close(meridians, *np.array(expected).T)


def test_the_standard_deviation_is_not_that_of_independent_cells(ds: xr.Dataset, found) -> None:
    sea = int(found.mean.notnull().sum())
    naive = float(np.sqrt(found.variance.sum())) / sea
    assert float(found.average().std()) > 2 * naive


def test_averages_of_draws_spread_as_averages_say(model: FittedModel, found: xgpfill.Reconstruction) -> None:
    draws = model.sample(400, seed=1).mean(SPACE)
    days = found.average(SPACE)
    np.testing.assert_allclose(draws.std("sample"), days.std(), rtol=0.15)
    np.testing.assert_allclose(draws.mean("sample"), days.mean, atol=float(4 * days.std().max() / 20))


def test_a_cell_alone_is_its_own_average(ds: xr.Dataset, found: xgpfill.Reconstruction) -> None:
    one = found.isel(time=2, lat=4, lon=5)
    close(one.average(), float(one.mean), float(one.std()))


def test_noise_of_new_observations_averages_out(ds: xr.Dataset, model: FittedModel, found) -> None:
    observed = model.reconstruct(include_noise=True).average(SPACE)
    latent = found.average(SPACE)
    cells = int(ds.valid.sum())
    added = observed.variance - latent.variance
    np.testing.assert_allclose(added, float(model.hyperparameters.noise) / cells, rtol=1e-6)
    assert (observed.variance.variance_kind, latent.variance.variance_kind) == ("observed", "latent")
    for bounds in zip(observed.interval(), latent.interval(), strict=True):
        np.testing.assert_allclose(*bounds)  # of new observations, either way


def test_noise_with_standard_errors_is_weighted_cell_by_cell(ds: xr.Dataset, gappy: xr.DataArray) -> None:
    errors = xr.full_like(gappy, 0.1) * (1 + np.arange(8.0))[:, None, None]
    model = gappy.gpfill.fit(valid=ds.valid, method="exact", noise=errors)
    observed, latent = (model.reconstruct(include_noise=n).average(SPACE).variance for n in (True, False))
    expected = float(model.hyperparameters.noise) * errors[:, 0, 0] ** 2 / int(ds.valid.sum())
    np.testing.assert_allclose(observed - latent, expected, rtol=1e-6)


# Periods and groups


def test_periods_are_those_of_xarray_with_the_oracles_errors(ds: xr.Dataset, found, joint) -> None:
    periods = found.resample("5D").mean(SPACE)
    expected = ds.sst.resample(time="5D").mean()
    xr.testing.assert_equal(periods.time, expected.time)
    inside = [(ds.time.values >= t) & (ds.time.values < t + np.timedelta64(5, "D")) for t in expected.time.values]
    laws = [by_oracle(joint, xr.ones_like(ds.sst) * xr.DataArray(i, dims="time"), ds) for i in inside]
    close(periods, *np.array(laws).T)
    assert periods.mean.attrs["cell_methods"] == "lat: lon: time: mean"


def test_periods_of_every_place_keep_its_dimensions(ds: xr.Dataset, found) -> None:
    maps = found.isel(lat=slice(2, 4)).resample(time="8D").mean()
    assert maps.mean.dims == CUBE and dict(maps.sizes) == {"time": 1, "lat": 2, "lon": 9}
    np.testing.assert_array_equal(maps.mean.isnull().squeeze("time"), ~ds.valid.isel(lat=slice(2, 4)))


def test_an_empty_period_has_no_average(ds: xr.Dataset, model: FittedModel, gappy: xr.DataArray) -> None:
    holed = model.condition(gappy.isel(time=[0, 1, 6, 7])).reconstruct().resample(time="2D").mean(SPACE)
    np.testing.assert_array_equal(holed.mean.isnull(), [False, True, True, False])
    assert holed.variance.isnull().equals(holed.mean.isnull())


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_periods_of_other_calendars(ds: xr.Dataset, gappy: xr.DataArray, model: FittedModel, calendar: str) -> None:
    times = xr.date_range("2000-02-26", periods=8, calendar=calendar, use_cftime=True)
    data = gappy.assign_coords(time=times)
    known = {"hyperparameters": model.hyperparameters, "valid": True, "method": "exact"}
    months = data.gpfill.fit(**known).reconstruct().resample(time="MS").mean(SPACE)
    assert months.mean.time.equals(data.resample(time="MS").mean().time)


@pytest.mark.parametrize("group", ["time.day", xr.DataArray(list("aabbaabb"), dims="time", name="phase")])
def test_groups_are_those_of_xarray(found: xgpfill.Reconstruction, group: Any) -> None:
    groups = found.groupby(group).mean(SPACE)
    expected = found.mean.groupby(group).mean(...)
    assert groups.mean.dims == expected.dims
    xr.testing.assert_equal(groups.mean[expected.dims[0]], expected[expected.dims[0]])
    np.testing.assert_allclose(groups.mean, expected, rtol=1e-6)  # no cell is missing at some times only


def test_other_verbs_of_groups_are_named_with_the_call_that_works(found: xgpfill.Reconstruction) -> None:
    groups = found.resample(time="MS")
    assert repr(groups) == "Groups of a reconstruction by resample(time='MS'): .mean(dims, weights=)"
    with pytest.raises(XgpfillError, match=r"no `\.max`.*`r\.to_dataset\(\)\.resample\(time='MS'\)\.max\("):
        groups.max()
    assert found.to_dataset().resample(time="8D").max().sizes["time"] == 1


@pytest.mark.parametrize(
    ("ask", "match"),
    [
        (lambda r: r.resample(lat="MS").mean(), r"Cells along 'lat' cannot be grouped so"),
        (lambda r: r.resample("MS", time="MS").mean(), r"expected one dimension of dates and a period"),
        (lambda r: r.resample(time="fortnight").mean(), r"Cells along 'time' cannot be grouped so: .*fortnight"),
        (lambda r: r.resample(month="MS").mean(), r"e\.g\. `resample\(time='MS'\)`. The dimensions are 'time', 'lat'"),
        (lambda r: r.groupby("season").mean(), r"groupby\('season'\): expected labels along one dimension"),
        (lambda r: r.groupby("time.fortnight").mean(), r"Cells along 'time' cannot be grouped so"),
    ],
)
def test_groups_that_make_no_sense_are_refused(found: xgpfill.Reconstruction, ask: Any, match: str) -> None:
    with pytest.raises(DimensionError, match=match):
        ask(found)


# Selections and weights


def test_the_average_of_a_selection_is_that_of_its_cells(ds: xr.Dataset, found, joint) -> None:
    part = found.sel(lat=slice(38, 42)).isel(time=slice(1, 7, 2)).average(("time", *SPACE), weights="cos_lat")
    weights = cos_lat_weights(ds.sst) * ((ds.lat >= 38) & (ds.lat <= 42)) * ds.time.isin(ds.time[1:7:2])
    close(part, *by_oracle(joint, weights, ds))
    turned = found.transpose("lon", ...).isel(lon=[3, 1], time=0).average("lat")
    np.testing.assert_array_equal(turned.mean.lon, ds.lon[[3, 1]])
    np.testing.assert_allclose(turned.mean[1], found.isel(lon=1, time=0).average("lat").mean)


def test_cells_selected_point_by_point_cannot_be_averaged(found: xgpfill.Reconstruction) -> None:
    track = {d: xr.DataArray([0, 1], dims="obs") for d in SPACE}
    with pytest.raises(AlignmentError, match=r"selected point by point along 'obs'.*`model\.aggregate\(weights\)`"):
        found.isel(track).average("time")


def test_weights_of_unknown_cells_do_not_count(ds: xr.Dataset, found: xgpfill.Reconstruction) -> None:
    weights = xr.where(ds.lat > 40, 1.0, np.nan)
    north = found.sel(lat=slice(40.1, None)).average(SPACE)
    np.testing.assert_allclose(found.average(SPACE, weights=weights).mean, north.mean)


def test_places_without_a_field_have_no_average(ds: xr.Dataset, found: xgpfill.Reconstruction) -> None:
    land = found.average("time")
    np.testing.assert_array_equal(land.mean.notnull(), ds.valid)
    np.testing.assert_array_equal(land.variance.notnull(), ds.valid)


def test_regions_and_dates_are_aggregated_by_weights(ds: xr.Dataset, model: FittedModel, found, joint) -> None:
    north = cos_lat_weights(ds.sst) * (ds.lat > 40)
    regions = xr.concat([north, 1.0 - (ds.lat > 40)], pd.Index(["north", "south"], name="region"))
    both = model.aggregate(regions * xr.ones_like(ds.lon))
    assert both.mean.dims == ("region", "time") and list(both.mean.region.values) == ["north", "south"]
    np.testing.assert_allclose(both.mean.sel(region="north"), found.average(SPACE, weights=north).mean)
    whole = model.aggregate(regions * xr.ones_like(ds.sst))
    close(whole.isel(region=0), *by_oracle(joint, north, ds))


def test_differences_have_the_error_of_both_ends(ds: xr.Dataset, model: FittedModel, joint) -> None:
    sea = ds.valid.broadcast_like(ds.sst).transpose(*CUBE)
    first, last = (sea.astype(float) * (ds.time == t) / int(ds.valid.sum()) for t in (ds.time[0], ds.time[-1]))
    change = model.aggregate(last - first, normalize=False)
    w = (last - first).values.ravel()
    close(change, w @ joint[0], np.sqrt(w @ joint[1] @ w))
    assert change.mean.attrs["cell_methods"] == "time: lat: lon: sum"
    with pytest.raises(DataError, match=r"at least zero for an average.*`aggregate\(weights, normalize=False\)`"):
        model.aggregate(last - first)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda w: w.isel(lat=slice(4)), AlignmentError, r"does not lie on the cells.*`weights\.reindex_like\(da\)`"),
        (lambda w: w.rename(lat="y"), AlignmentError, r"dimensions 'y', none of the data's 'time', 'lat', 'lon'"),
        (lambda w: w / 0, DataError, "infinite values"),
        (lambda w: w.values, DataError, r"is a ndarray; expected a DataArray of real numbers"),
        (lambda w: w.astype(str), DataError, r"has dtype .*; expected a DataArray of real numbers"),
    ],
)
def test_weights_that_are_none_are_refused(ds: xr.Dataset, model: FittedModel, change, error, match: str) -> None:
    with pytest.raises(error, match=match):
        model.aggregate(change(cos_lat_weights(ds.sst)))


def test_areas_are_those_of_the_cells_in_the_whole_grid_whatever_is_selected(ds: xr.Dataset, found) -> None:
    areas = area_weights(ds.sst)
    expected = found.average(SPACE, weights=areas)
    xr.testing.assert_allclose(found.average(SPACE, weights="area").variance, expected.variance)
    rows = {"lat": [0, 4, 7], "lon": slice(2, 9)}
    part = found.isel(rows).average(SPACE, weights="area")
    xr.testing.assert_allclose(part.mean, found.isel(rows).average(SPACE, weights=areas.isel(rows)).mean)
    row = found.isel(lat=4).average("lon", weights="area")
    xr.testing.assert_allclose(row.mean, found.isel(lat=4).average("lon").mean)


def test_scores_are_weighted_by_the_areas_of_the_cells_in_the_whole_grid_too(ds: xr.Dataset, found) -> None:
    areas = area_weights(ds.sst)
    xr.testing.assert_allclose(found.score(ds.truth, weights="area"), found.score(ds.truth, weights=areas))
    rows = {"lat": [0, 4, 7], "lon": slice(2, 9)}
    part, truth = found.isel(rows), ds.truth.isel(rows)
    expected = part.score(truth, dim=SPACE, weights=areas.isel(rows))
    xr.testing.assert_allclose(part.score(truth, dim=SPACE, weights="area"), expected)
    averages = found.average("lon")
    expected = averages.score(ds.truth.mean("lon"), weights=area_weights(averages.mean))
    xr.testing.assert_allclose(averages.score(ds.truth.mean("lon"), weights="area"), expected)


def test_a_word_for_weights_that_is_not_known_names_the_one_that_is(found: xgpfill.Reconstruction) -> None:
    with pytest.raises(DataError, match=r"weights='volume': choose 'area' or 'cos_lat'"):
        found.average(weights="volume")
    with pytest.raises(DimensionError, match=r"dim='level': the data have no dimension 'level'"):
        found.average("level")


# What they are


def test_averages_are_reconstructions_in_float64_with_names_units_and_methods(ds: xr.Dataset, model, found) -> None:
    single = model.condition(ds.sst.astype("f4")).reconstruct().average("lon")
    assert single.mean.dtype == single.variance.dtype == np.float64
    days = found.average(SPACE)
    out = days.to_dataset()
    assert list(out) == ["sst", "sst_variance", "sst_std"] and set(out.coords) == {"time"}
    assert (out.sst.units, out.sst_variance.units) == ("degC", "degC2")
    assert out.sst.cell_methods == "lat: lon: mean"
    truth = ds.truth.where(ds.valid).mean(SPACE)
    assert int(days.score(truth).cells) == ds.sizes["time"]
    with pytest.raises(XgpfillError, match=r"averages already.*`model\.reconstruct\(\)\.average\(dims\)`"):
        days.average()


def test_coordinates_that_are_lost_are_those_that_vary(ds: xr.Dataset, gappy: xr.DataArray, model: FittedModel) -> None:
    rich = gappy.assign_coords(area=(SPACE, np.ones((8, 9))), month=("time", ds.time.dt.month.values), run="a")
    days = model.condition(rich).reconstruct().average(SPACE)
    assert set(days.mean.coords) == {"time", "month", "run"}
    assert set(model.condition(rich).reconstruct().average("time").mean.coords) == {"lat", "lon", "area", "run"}


def test_members_are_independent_fields(ds: xr.Dataset, gappy: xr.DataArray, model: FittedModel) -> None:
    members = xr.concat([gappy, gappy + 1.0], pd.Index([10, 20], name="member"))
    found = model.condition(members.transpose("time", "member", ...)).reconstruct()
    each = found.average(SPACE)
    assert each.mean.dims == ("time", "member")
    one = model.reconstruct().average(SPACE)
    np.testing.assert_allclose(each.mean.sel(member=20), one.mean + 1.0)
    both = found.average(("member", *SPACE))
    np.testing.assert_allclose(both.mean, one.mean + 0.5)
    np.testing.assert_allclose(both.variance, one.variance / 2)
    np.testing.assert_allclose(found.isel(member=1).average(SPACE).mean, one.mean + 1.0)


def test_several_variables_give_datasets(ds: xr.Dataset, gappy: xr.DataArray, model: FittedModel) -> None:
    pair = xr.Dataset({"a": gappy, "b": gappy})
    known = {"hyperparameters": {"a": model.hyperparameters, "b": model.hyperparameters}, "method": "exact"}
    fitted = pair.gpfill.fit(variable=["a", "b"], valid=ds.valid, **known)
    mean, variance = fitted.reconstruct().isel(time=slice(4)).average(SPACE)
    assert list(mean) == ["a", "b"] and list(variance) == ["a_variance", "b_variance"] and mean.sizes == {"time": 4}
    assert list(fitted.aggregate(cos_lat_weights(ds.sst)).mean) == ["a", "b"]
    assert list(fitted.reconstruct().resample(time="4D").mean(SPACE).mean) == ["a", "b"]


def test_images_and_series_average_too(ds: xr.Dataset, gappy: xr.DataArray) -> None:
    image = gappy.isel(time=0, drop=True).drop_vars(["lat", "lon"]).gpfill.fit(valid=True, method="exact")
    assert image.reconstruct().average("lon").mean.dims == ("lat",)
    series = gappy.isel(lat=5, lon=4).gpfill.fit(valid=True, method="exact").reconstruct()
    assert series.average().mean.dims == () and float(series.average().std()) > 0


# Predictions

TARGET: dict[str, Any] = {"time": ["2021-04-16", "2021-04-17T12:00"], "lat": [38.3, 40.1, 41.0], "lon": [2.0, 5.5]}


def jointly(model: FittedModel, target: dict[str, Any], weights: Any) -> tuple[float, float]:
    """Mean and standard deviation of one average by the covariance of all targets."""
    mean, covariance = model.predict(target, covariance=True)
    w = np.broadcast_to(weights, mean.shape).ravel() / np.broadcast_to(weights, mean.shape).sum()
    return float(w @ mean.values.ravel()), float(np.sqrt(w @ covariance.values @ w))


@pytest.mark.parametrize("method", ["exact", xgpfill.Iterative(num_samples=2)], ids=["exact", "iterative"])
def test_predictions_average_by_their_joint_covariance(ds: xr.Dataset, gappy, model: FittedModel, method) -> None:
    known = {"hyperparameters": model.hyperparameters, "valid": ds.valid, "method": method}
    found = gappy.gpfill.fit(**known).predict(TARGET)
    days = found.average(SPACE, weights="cos_lat")
    weights = np.cos(np.radians(TARGET["lat"]))[:, None]
    expected = [jointly(model, TARGET | {"time": [t]}, weights) for t in TARGET["time"]]
    close(days, *np.array(expected).T)
    close(found.average(), *jointly(model, TARGET, 1.0))
    close(found.isel(lat=[0, 2]).average(), *jointly(model, TARGET | {"lat": [38.3, 41.0]}, 1.0))
    assert days.mean.dims == ("time",) and days.mean.cell_methods == "lat: lon: mean"


def test_predictions_of_observations_at_points_and_where_the_field_exists(model: FittedModel, found) -> None:
    places = {
        name: xr.DataArray(values, dims="obs") for name, values in (("lat", [38.0, 39, 43]), ("lon", [4.0, 5, 6]))
    }
    target = places | {"time": ["2021-04-16"]}
    exists = xr.DataArray([True, True, False], dims="obs")
    latent, observed = (model.predict(target, valid=exists, include_noise=n).average("obs") for n in (False, True))
    close(latent.isel(time=0), *jointly(model, {k: v[:2] for k, v in target.items()}, 1.0))
    np.testing.assert_allclose(observed.variance - latent.variance, float(model.hyperparameters.noise) / 2)
    whole = model.predict(target, valid=exists)
    np.testing.assert_allclose(whole.isel(obs=[1, 2]).average("obs").std(), whole.isel(obs=1).std())
    assert bool(whole.isel(obs=[2]).average("obs").mean.isnull().all())


def test_predictions_of_lazy_data_members_and_groups_average_too(gappy, model: FittedModel) -> None:
    members = xr.concat([gappy, gappy + 1.0], pd.Index([10, 20], name="member"))
    one = model.predict(TARGET)
    lazy = model.condition(members.chunk(time=3)).predict(TARGET)
    both = lazy.average(("member", *SPACE))
    assert dask.is_dask_collection(both.mean)
    np.testing.assert_allclose(both.mean, one.average(SPACE).mean + 0.5)
    np.testing.assert_allclose(both.variance, one.average(SPACE).variance / 2)
    months = lazy.resample(time="MS").mean(SPACE, weights="area")
    assert dict(months.sizes) == {"member": 2, "time": 1}
    np.testing.assert_allclose(months.isel(member=0).mean, one.resample(time="MS").mean(SPACE, weights="area").mean)


def test_averages_of_predictions_in_tiles_equal_those_of_one_tile(ds, gappy, model: FittedModel) -> None:
    known = {"hyperparameters": model.hyperparameters, "valid": ds.valid, "method": "exact"}
    tiled = gappy.gpfill.fit(tile={"time": 4}, halo=0, **known)
    averages = [m.predict({"lat": [40.0, 40.3], "lon": [3.0]}).average() for m in (tiled, model)]
    close(averages[0], averages[1].mean.values, averages[1].std().values)


def test_predictions_that_are_too_many_or_in_several_tiles_are_refused(tiled: FittedModel, monkeypatch) -> None:
    found = tiled.predict({"lat": [40.0], "lon": [3.0]})
    assert found.average(SPACE).mean.dims == ("time",)
    with pytest.raises(MethodError, match=r"An average of predictions needs targets within one tile"):
        found.average()
    monkeypatch.setattr("xgpfill.posterior.targets.MAX_JOINT_TARGETS", 7)
    with pytest.raises(TooManyPointsError, match=r"Averages of 8 targets.*fewer at a time, or.*`model\.reconstruct\("):
        found.isel(time=0).average()


# Tiles, dask, copies


@pytest.mark.parametrize("method", ENGINES, ids=["exact", "iterative", "variational"])
def test_averages_in_tiles_equal_the_oracle_whatever_the_tiles(ds, gappy, model, joint, method) -> None:
    known = {"hyperparameters": model.hyperparameters, "valid": ds.valid, "method": method}
    found = gappy.gpfill.fit(tile={"time": 4, "lat": 6}, halo=0, **known).reconstruct(variance=False)
    expected = [by_oracle(joint, xr.ones_like(ds.sst) * (ds.time == t), ds) for t in ds.time]
    close(found.average(SPACE), *np.array(expected).T)
    everything = found.average()
    close(everything, *by_oracle(joint, xr.ones_like(ds.sst), ds))
    assert "comment" not in everything.variance.attrs


def without_memory(da: xr.DataArray, **known: Any) -> FittedModel:
    """A model in tiles, on a machine whose memory does not hold all observations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xgpfill.posterior.state.settings_of_all", lambda *_: None)
        model = da.gpfill.fit(**known)
        assert model.solver().together.plan.shape == (2, 1, 1)
    return model


@pytest.fixture(scope="module")
def tiled(ds: xr.Dataset, gappy: xr.DataArray, model: FittedModel) -> FittedModel:
    known = {"hyperparameters": model.hyperparameters, "valid": ds.valid, "method": "exact"}
    return without_memory(gappy, tile={"time": 4}, halo=8, **known)


def test_without_memory_an_average_within_a_tile_is_solved_for_and_one_across_tiles_is_drawn(model, tiled) -> None:
    found, whole = tiled.reconstruct(), model.reconstruct()
    days, one = found.average(SPACE), whole.average(SPACE)
    np.testing.assert_allclose(days.mean, one.mean, atol=float(one.std().min()))
    np.testing.assert_allclose(days.std(), one.std(), rtol=1e-6)  # each tile sees all
    everything = found.average()
    np.testing.assert_allclose(everything.mean, found.mean.mean(), rtol=1e-12)
    np.testing.assert_allclose(everything.std(), whole.average().std(), rtol=3 / (2 * 256) ** 0.5)
    assert "256 draws, within about 4.4 %" in everything.variance.attrs["comment"]
    assert "comment" not in days.variance.attrs


def test_draws_tell_the_error_of_the_blended_mean_not_of_the_best_one(ds, gappy, model, joint) -> None:
    known = {"hyperparameters": model.hyperparameters, "valid": ds.valid, "method": "exact"}
    found = without_memory(gappy, tile={"time": 4}, halo=0, **known).reconstruct(variance=False).average()
    mean, sd = by_oracle(joint, xr.ones_like(ds.sst), ds)
    assert sd < float(found.std()) < 2 * sd
    assert abs(float(found.mean) - mean) < 3 * np.sqrt(float(found.variance) - sd**2)


def test_averages_across_tiles_are_lazy_weighted_and_of_observations_too(ds, gappy, tiled: FittedModel) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xgpfill.posterior.state.settings_of_all", lambda *_: None)
        lazy = tiled.condition(gappy.chunk(time=3)).reconstruct()
        assert len(lazy.context.averager.state.solver().plan) == 2
    both = [r.average(("time", "lat"), weights="cos_lat") for r in (tiled.reconstruct(), lazy)]
    assert dask.is_dask_collection(both[1].mean) and "comment" in both[1].variance.attrs
    xr.testing.assert_allclose(both[0].mean, both[1].mean.compute())
    xr.testing.assert_allclose(both[0].variance, both[1].variance.compute())
    observed = tiled.reconstruct(include_noise=True).average(("time", "lat"), weights="cos_lat")
    weights = (cos_lat_weights(ds.sst) * ds.valid).expand_dims(time=8)
    added = float(tiled.hyperparameters.noise) * (weights**2).sum(("time", "lat")) / weights.sum(("time", "lat")) ** 2
    np.testing.assert_allclose(observed.variance - both[0].variance, added, rtol=1e-6)


def test_more_averages_than_anyone_waits_for_are_refused(found: xgpfill.Reconstruction, monkeypatch) -> None:
    monkeypatch.setattr("xgpfill.posterior.averages.MOST", 71)
    with pytest.raises(MethodError, match=r"72 averages were asked for.*`r\.average\(\('lat', 'lon'\)\)`.*sample\(64"):
        found.average("time")


def test_lazy_averages_compute_nothing_until_asked_and_equal_those_in_memory(ds, model, gappy) -> None:
    lazy = model.condition(gappy.chunk(time=3)).reconstruct()
    monthly = lazy.resample(time="5D").mean(SPACE, weights="cos_lat")
    assert dask.is_dask_collection(monthly.mean) and dask.is_dask_collection(monthly.variance)
    expected = model.reconstruct().resample(time="5D").mean(SPACE, weights="cos_lat")
    np.testing.assert_allclose(monthly.mean, expected.mean)
    np.testing.assert_allclose(monthly.std(), expected.std())
    chunked = lazy.chunk(lat=2).average(SPACE)
    np.testing.assert_allclose(chunked.compute().mean, model.reconstruct().average(SPACE).mean)


def test_a_lazy_monthly_mean_costs_less_than_two_reconstructions(ds, model, gappy, monkeypatch) -> None:
    solved = []
    from xgpfill.engines.lattice.system import System

    solution = System.solution

    def counting(self: System, right: Any, tolerance: Any, **how: Any) -> Any:
        solved.append(right.shape[1])
        return solution(self, right, tolerance, **how)

    monkeypatch.setattr(System, "solution", counting)
    known = {"hyperparameters": model.hyperparameters, "valid": ds.valid, "method": xgpfill.Iterative()}
    lazy = gappy.chunk(time=3).gpfill.fit(**known).reconstruct()
    with dask.config.set(scheduler="synchronous"):
        lazy.resample(time="MS").mean(SPACE).compute()
        averages = len(solved), sum(solved)
        solved.clear()
        lazy.compute()
    assert averages[0] <= 3 and averages[1] < sum(solved)


def test_averages_survive_pickling(found: xgpfill.Reconstruction) -> None:
    again = pickle.loads(pickle.dumps(found))
    xr.testing.assert_identical(again.average(SPACE).mean, found.average(SPACE).mean)


def test_the_accessor_aggregates_with_its_last_model(ds: xr.Dataset, gappy: xr.DataArray, model: FittedModel) -> None:
    own = xr.Dataset({"sst": gappy})
    own.gpfill.fit(hyperparameters=model.hyperparameters, valid=ds.valid, method="exact")
    weights = cos_lat_weights(ds.sst)
    xr.testing.assert_identical(own.gpfill.aggregate(weights).mean, model.aggregate(weights).mean)


@pytest.mark.parametrize("method", [xgpfill.Iterative(tolerance=1e-6), "exact"], ids=["iterative", "exact"])
def test_in_tiles_that_are_told_of_the_rest_a_cell_alone_is_its_own_average(ds, gappy, model, method) -> None:
    known = {"hyperparameters": model.hyperparameters, "valid": ds.valid, "method": method}
    found = without_memory(gappy, tile={"time": 4}, halo=1, **known).reconstruct()
    inner = found.isel(time=[0, 7], lat=[4], lon=[5])
    cells = inner.average(SPACE)
    np.testing.assert_allclose(cells.mean, inner.mean.squeeze(SPACE), rtol=1e-5)
    np.testing.assert_allclose(cells.std(), inner.std().squeeze(SPACE), rtol=0.1 if method != "exact" else 1e-6)
