"""The fitted model against the dense oracle: posterior, trend, other observations, other places, coherent draws."""

from __future__ import annotations

import datetime as dt
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import xgpfill
from xgpfill.errors import (
    AlignmentError,
    CoordinateError,
    DataError,
    KernelError,
    MethodError,
    NoiseError,
    TooManyPointsError,
    XgpfillError,
    XgpfillWarning,
)

from tests import reference as ref

if TYPE_CHECKING:
    from xgpfill.model import FittedModel

CUBE = ("time", "lat", "lon")


@pytest.fixture(scope="module")
def field(model: FittedModel) -> xgpfill.Reconstruction:
    return model.reconstruct()


# The oracle


def terms_of(table: xr.Dataset) -> list[ref.Term]:
    """The oracle's terms from the Dataset of hyperparameters; Matérn-3/2 on both axes."""

    def factor(lengthscale: float) -> ref.Factor | None:
        return None if np.isnan(lengthscale) else lambda a, b: ref.matern(ref.distance(a, b), lengthscale, 1.5)

    return [
        {
            "variance": float(row.variance),
            "time": factor(float(row.get("time_lengthscale", np.nan))),
            "space": factor(float(row.get("space_lengthscale", np.nan))),
        }
        for row in (table.isel(term=i) for i in range(table.sizes["term"]))
    ]


def places(da: xr.DataArray) -> tuple[ref.Array, ref.Array, ref.Array]:
    """Days, km on the sphere and values of every cell, one after another."""
    cells = da.transpose(*CUBE).stack(cell=CUBE, create_index=False)
    days = (cells.time - pd.Timestamp("2021-04-15").to_datetime64()) / np.timedelta64(1, "D")
    return days.values, ref.chord(cells.lat, cells.lon), cells.values


def amplitudes(model: FittedModel, da: xr.DataArray) -> ref.Array:
    """The local amplitude of the model at every cell, one after another; of one everywhere on any grid."""
    if model.scaling.is_uniform:
        return np.ones(da.size)
    return places(model.amplitude.broadcast_like(da).transpose(*CUBE))[2]


def oracle(
    model: FittedModel, observed: xr.DataArray, target: xr.DataArray, noise: Any = None, *, full: bool = False
) -> ref.Posterior:
    """The dense posterior at the cells of `target`: D (K + 11ᵀβ) D, with an unknown β and the local amplitude D."""
    table, scaling = model.hyperparameters, model.scaling
    t, s, y = places(observed)
    seen = np.isfinite(y)
    t, s, y = t[seen], s[seen], y[seen] - scaling.shift
    tt, ss, _ = places(target)
    D, DD = amplitudes(model, observed)[seen], amplitudes(model, target)
    factor = D**2 if noise is None else places(noise)[2][seen] ** 2
    terms = terms_of(table)
    k = ref.covariance(terms, t, s, t, s), ref.covariance(terms, t, s, tt, ss), ref.covariance(terms, tt, ss, tt, ss)
    scaled = k[0] * np.outer(D, D), k[1] * np.outer(D, DD), k[2] * np.outer(DD, DD)
    found = ref.posterior(*scaled, y, float(table.noise) * factor, D[:, None], DD[:, None], full=full)
    return replace(found, mean=found.mean + scaling.shift)


def test_reconstruct_is_the_exact_posterior(ds: xr.Dataset, model: FittedModel, field) -> None:
    expected = oracle(model, ds.sst, ds.sst)
    sea = field.mean.notnull().values.ravel()
    np.testing.assert_allclose(field.mean.values.ravel()[sea], expected.mean[sea], rtol=1e-8)
    np.testing.assert_allclose(field.variance.values.ravel()[sea], expected.variance[sea], rtol=1e-6)


def test_reconstruct_with_standard_errors_is_the_exact_posterior(ds: xr.Dataset) -> None:
    rng = np.random.default_rng(1)
    errors = xr.full_like(ds.sst, 0.1) * rng.uniform(0.3, 3.0, ds.sst.shape)
    model = ds.sst.gpfill.fit(valid=True, method="exact", noise=errors)
    found, expected = model.reconstruct(), oracle(model, ds.sst, ds.sst, errors)
    np.testing.assert_allclose(found.mean.values.ravel(), expected.mean, rtol=1e-8)
    np.testing.assert_allclose(found.variance.values.ravel(), expected.variance, rtol=1e-6)
    seen = model.reconstruct(include_noise=True).variance - found.variance
    np.testing.assert_allclose(seen, model.hyperparameters.noise * errors**2, rtol=1e-8)


def test_the_trend_is_the_generalised_least_squares_mean_and_its_error(ds: xr.Dataset, model: FittedModel) -> None:
    t, s, y = places(ds.sst)
    seen = np.isfinite(y)
    K = ref.covariance(terms_of(model.hyperparameters), t[seen], s[seen], t[seen], s[seen])
    ones, noise = np.ones((seen.sum(), 1)), float(model.hyperparameters.noise)
    expected = ref.generalised_least_squares(K, y[seen], noise, ones)
    error = np.linalg.inv(ones.T @ np.linalg.solve(ref.with_noise(K, noise), ones)) ** 0.5
    trend = model.trend
    np.testing.assert_allclose(trend["mean"], expected[0], rtol=1e-8)
    np.testing.assert_allclose(trend["mean_standard_error"], error[0, 0], rtol=1e-8)
    assert trend["mean"].attrs["units"] == trend["mean_standard_error"].attrs["units"] == "degC"


def test_include_noise_adds_the_noise_variance_and_says_so(model: FittedModel, field) -> None:
    observed = model.reconstruct(include_noise=True)
    extra = (observed.variance - field.variance).values
    np.testing.assert_allclose(extra[np.isfinite(extra)], float(model.hyperparameters.noise), rtol=1e-9)
    assert observed.variance.attrs["variance_kind"] == "observed"
    assert field.variance.attrs["variance_kind"] == "latent"
    xr.testing.assert_identical(observed.mean, field.mean)


def test_posterior_variance_lies_between_zero_and_the_prior(ds: xr.Dataset, model: FittedModel, field) -> None:
    prior = float(model.hyperparameters["variance"].sum()) + float(model.trend["mean_standard_error"]) ** 2
    sea = field.variance.values[np.isfinite(field.variance.values)]
    assert sea.min() > 0
    assert sea.max() <= prior


def test_float32_computation_agrees_with_float64(ds: xr.Dataset, model: FittedModel, field) -> None:
    arguments = {"valid": ds.valid, "method": "exact", "hyperparameters": model.hyperparameters}
    mean, variance = ds.sst.gpfill.fit(**arguments, dtype="float32").reconstruct()
    np.testing.assert_allclose(mean, field.mean, atol=1e-3)
    np.testing.assert_allclose(variance, field.variance, rtol=0.02)


@pytest.mark.parametrize("halo", ["auto", 8, {"time": 8, "lat": 8}])
def test_tiles_that_see_the_whole_field_equal_one_tile(ds: xr.Dataset, model: FittedModel, field, halo) -> None:
    mean, variance = model.reconstruct(tile={"time": 4, "lat": 4}, halo=8 if halo == "auto" else halo)
    np.testing.assert_allclose(mean, field.mean, rtol=1e-9)
    np.testing.assert_allclose(variance, field.variance, rtol=1e-7)
    near, _ = model.reconstruct(tile={"time": 4}, halo=halo)
    assert float(abs(near - field.mean).max()) < 0.5 * float(field.std().mean())


# Other observations


@pytest.fixture(scope="module")
def masks(ds: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """A mask that differs from frame to frame and one that does not; True is observed."""
    rng = np.random.default_rng(5)
    dynamic = xr.DataArray(rng.random(ds.truth.shape) > 0.5, ds.truth.coords, CUBE)
    fixed = xr.DataArray(rng.random(ds.valid.shape) > 0.5, ds.valid.coords, ds.valid.dims)
    return dynamic, fixed


def test_train_on_a_dynamic_mask_then_condition_on_a_fixed_one_and_score(ds: xr.Dataset, masks) -> None:
    dynamic, fixed = masks
    trained = ds.truth.where(dynamic).gpfill.fit(valid=ds.valid, method="exact")
    tested = trained.condition(ds.truth.where(fixed))
    xr.testing.assert_identical(tested.hyperparameters, trained.hyperparameters)
    assert tested.record is trained.record
    scores = tested.reconstruct().score(ds.truth)
    hidden = ds.valid & ~fixed
    assert int(scores.cells) == int(hidden.sum()) * ds.sizes["time"]
    climatology = float((ds.truth.where(hidden) - ds.truth.where(fixed).mean()).std())
    assert float(scores.rmse) < 0.7 * climatology
    expected = oracle(tested, ds.truth.where(fixed), ds.truth)
    sea = ds.truth.notnull().values.ravel()
    np.testing.assert_allclose(tested.reconstruct().mean.values.ravel()[sea], expected.mean[sea], rtol=1e-8)


def test_conditioning_on_the_same_data_changes_nothing(ds: xr.Dataset, model: FittedModel, field) -> None:
    again = model.condition(ds.sst)
    xr.testing.assert_identical(again.reconstruct().to_dataset(), field.to_dataset())


def test_part_of_the_grid_exists_where_the_whole_did(ds: xr.Dataset, model: FittedModel) -> None:
    part = ds.sst.isel(lat=slice(2, 6), lon=[1, 2, 5])
    found = model.condition(part, calibrate=False).reconstruct().mean
    expected = model.condition(part, valid=ds.valid.isel(lat=slice(2, 6), lon=[1, 2, 5]), calibrate=False)
    xr.testing.assert_identical(found, expected.reconstruct().mean)
    row = model.condition(ds.sst.isel(lat=3).expand_dims("lat"), calibrate=False).reconstruct().mean
    assert row.notnull().any() and (row.notnull() == ds.valid.isel(lat=3)).all()


def test_conditioning_leaves_the_model_as_it_was(ds: xr.Dataset, model: FittedModel, field) -> None:
    model.condition(ds.sst.isel(time=slice(2)) + 5.0)
    xr.testing.assert_identical(model.reconstruct().to_dataset(), field.to_dataset())


def test_condition_on_later_days_counts_time_from_the_same_day(ds: xr.Dataset, model: FittedModel) -> None:
    later = ds.sst.isel(time=slice(3, 7)).assign_coords(time=ds.time[3:7].values + np.timedelta64(36, "h"))
    mean, variance = model.condition(later).reconstruct()
    expected = oracle(model, later, later)
    sea = mean.notnull().values.ravel()
    np.testing.assert_allclose(mean.values.ravel()[sea], expected.mean[sea], rtol=1e-8)
    np.testing.assert_allclose(variance.values.ravel()[sea], expected.variance[sea], rtol=1e-6)
    np.testing.assert_array_equal(mean.time, later.time)


def test_condition_on_another_grid_uses_its_places(ds: xr.Dataset, model: FittedModel) -> None:
    elsewhere = ds.sst.isel(lat=slice(1, 6), lon=slice(0, 9, 2)).assign_coords(lon=ds.lon.values[::2] + 0.3)
    found = model.condition(elsewhere, valid=True).reconstruct().mean
    np.testing.assert_allclose(found.values.ravel(), oracle(model, elsewhere, elsewhere).mean, rtol=1e-8)


def test_condition_on_data_with_a_new_extra_dim_gives_independent_fields(ds: xr.Dataset, model: FittedModel) -> None:
    both = xr.concat([ds.sst, ds.sst + 1.0], pd.Index([1, 2], name="member"))
    mean = model.condition(both).reconstruct().mean
    np.testing.assert_allclose(mean.sel(member=2) - mean.sel(member=1), xr.ones_like(ds.sst).where(ds.valid), rtol=1e-8)


def test_condition_remembers_valid_on_the_same_grid(ds: xr.Dataset, model: FittedModel) -> None:
    mean = model.condition(ds.truth.where(ds.sst.notnull())).reconstruct().mean
    xr.testing.assert_equal(mean.notnull(), ds.valid.broadcast_like(mean).transpose(*CUBE))


def test_condition_remembers_that_every_cell_is_valid(ds: xr.Dataset, masks) -> None:
    """`fit(valid=True)` answered the question about cells that are never observed; it is not asked again."""
    trained = ds.sst.fillna(ds.sst.mean()).gpfill.fit(valid=True, method="exact")
    assert bool(trained.condition(ds.truth.where(masks[1])).filled.notnull().all())


@pytest.mark.parametrize("dim", ["time"])
def test_a_model_that_saw_one_step_or_row_does_not_blend_several(ds: xr.Dataset, dim: str) -> None:
    """It learned nothing about that axis: either it says so, or each is a field of its own."""
    one = ds.sst.isel({dim: [4]}).gpfill.fit(valid=True, method="exact")
    try:
        several = one.condition(ds.sst.isel({dim: [3, 4, 5]}), valid=True).reconstruct().mean
    except XgpfillError as error:
        assert dim in str(error)  # noqa: PT017
    else:
        np.testing.assert_allclose(several.isel({dim: [1]}), one.reconstruct().mean, rtol=1e-6)


def test_a_random_walk_stands_still_before_its_first_day(ds: xr.Dataset) -> None:
    """Its covariance min(t, t') would not be positive definite there."""
    model = ds.sst.gpfill.fit(valid=ds.valid, method="exact", time_kernel="brownian", combine="product")
    days = ds.time.values[0] - np.arange(40, 1, -3).astype("timedelta64[D]")
    mean, joint = model.predict({"time": days, "lat": [38.0, 42.0], "lon": 5.0}, covariance=True)
    assert np.linalg.eigvalsh(joint.values).min() > -1e-10
    np.testing.assert_allclose(mean.std("time"), 0.0, atol=1e-8)


def test_conditioning_on_the_same_standard_errors_changes_nothing(ds: xr.Dataset) -> None:
    errors = xr.full_like(ds.sst, 0.1) * np.random.default_rng(0).uniform(0.5, 2.0, ds.sst.shape)
    model = ds.sst.gpfill.fit(valid=ds.valid, method="exact", noise=errors)
    again, point = model.condition(ds.sst, noise=errors), {"lat": 40.0, "lon": 5.0}
    one, other = (m.predict(point, include_noise=True).variance for m in (model, again))
    xr.testing.assert_allclose(one, other)


def test_a_model_that_saw_one_place_does_not_blend_several(ds: xr.Dataset) -> None:
    one = ds.truth.isel(lat=[4], lon=[4]).gpfill.fit(valid=True, method="exact")
    with pytest.raises(XgpfillError, match=r"fitted on one"):
        one.condition(ds.truth.isel(lat=[4], lon=[4, 5]), valid=True)


def test_condition_with_standard_errors_needs_those_of_the_new_data(ds: xr.Dataset) -> None:
    errors = xr.full_like(ds.sst, 0.1)
    model = ds.sst.gpfill.fit(valid=ds.valid, method="exact", noise=errors)
    new = ds.sst.isel(time=slice(4))
    found = model.condition(new, noise=2 * errors.isel(time=slice(4)), valid=True).reconstruct().mean
    expected = oracle(model, new, new, 2 * errors.isel(time=slice(4))).mean
    np.testing.assert_allclose(found.values.ravel(), expected, rtol=1e-8)
    with pytest.raises(NoiseError, match=r"fitted with standard errors; give.*condition\(da, noise_std=errors\)"):
        model.condition(new)
    with pytest.raises(NoiseError, match=r"standard errors, and noise_variance=0\.1 is one number; give those"):
        model.condition(new, noise_variance=0.1)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda da: da + 273.15,
            r"taken for 'degC'.*mean is 28\d\.?\d* .*in 'K' they.*: `\(da - 273\.15\)\.assign_attrs",
        ),
        (
            lambda da: 1000 * da,
            r"their standard deviation 1\.\d+e\+03, while it was fitted on 1\d\.\d+ and \d",
        ),
        (
            lambda da: da - 1000,
            r"If they are in 'degC', say so: `da\.assign_attrs\(units='degC'\)`; convert them where",
        ),
    ],
)
def test_new_data_without_units_that_are_hardly_in_those_of_the_model_are_warned_of(ds, model, change, match) -> None:
    bare = change(ds.sst).drop_attrs(deep=False)
    with pytest.warns(XgpfillWarning, match=match):
        model.condition(bare)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for plausible in (bare.assign_attrs(units="degC"), ds.sst.drop_attrs(deep=False), ds.sst[:1] + 3.0):
            model.condition(plausible, valid=True)
        model.condition(bare.chunk(time=4))


@pytest.mark.parametrize(
    ("change", "arguments", "error", "match"),
    [
        (lambda da: da.to_dataset(), {}, DataError, r"`condition` takes a DataArray; got a Dataset"),
        (
            lambda da: da,
            {"noise": xr.DataArray(0.1)},
            NoiseError,
            r"fitted with one noise variance; leave `noise=` out",
        ),
        (lambda da: da.isel(time=0), {}, AlignmentError, r"lack dimension\(s\) 'time'.*da\.expand_dims\('time'\)"),
        (lambda da: da.rename(lat="y"), {}, AlignmentError, r"lack dimension\(s\) 'lat'"),
        (lambda da: da.convert_calendar("noleap"), {}, AlignmentError, r"cftime \(noleap calendar\).*datetime64"),
        (
            lambda da: da.assign_coords(time=np.arange(8)),
            {},
            AlignmentError,
            r"These times are number, but.*datetime64",
        ),
        (lambda da: da.astype(str), {}, DataError, r"dtype <U.*expected real numbers"),
        (lambda da: da.where(da.notnull(), np.inf), {}, DataError, r"infinite value\(s\)"),
        (lambda da: da.isel(time=[1, 0, 2]), {}, CoordinateError, r"'time' is not sorted"),
        (lambda da: da, {"valid": xr.DataArray(np.ones(3, bool), dims="lat")}, AlignmentError, r"`valid` does not lie"),
    ],
)
def test_condition_refuses_what_it_cannot_use(
    ds: xr.Dataset, model: FittedModel, change, arguments, error, match
) -> None:
    with pytest.raises(error, match=match):
        model.condition(change(ds.sst), **arguments)


# Hyperparameters


def test_hyperparameters_are_a_dataset_in_physical_units(model: FittedModel) -> None:
    table = model.hyperparameters
    assert table["term"].values.tolist() == ["static", "common", "slow", "fast"]
    units = {name: table[name].attrs["units"] for name in table.data_vars}
    assert units == {"variance": "degC2", "time_lengthscale": "days", "space_lengthscale": "km", "noise": "degC2"}
    missing = {(str(t), n) for n in ("time_lengthscale", "space_lengthscale") for t in table.term.values
               if np.isnan(table[n].sel(term=t))}  # fmt: skip
    assert missing == {("static", "time_lengthscale"), ("common", "space_lengthscale")}
    assert float(table["time_lengthscale"].sel(term="slow")) >= float(table["time_lengthscale"].sel(term="fast"))
    assert float(table.noise) > 0


def test_hyperparameters_make_a_round_trip(ds: xr.Dataset, model: FittedModel) -> None:
    again = ds.sst.gpfill.fit(valid=ds.valid, method="exact", hyperparameters=model.hyperparameters)
    xr.testing.assert_identical(again.hyperparameters, model.hyperparameters)


def test_hyperparameters_with_standard_errors_make_a_round_trip_without_their_attributes(ds: xr.Dataset) -> None:
    arguments = {"valid": ds.valid, "method": "exact", "noise": xr.full_like(ds.sst, 0.1)}
    table = ds.sst.gpfill.fit(**arguments).hyperparameters
    again = ds.sst.gpfill.fit(**arguments, hyperparameters=table.drop_attrs())
    xr.testing.assert_identical(again.hyperparameters, table)


def test_hyperparameters_make_a_round_trip_through_a_file(ds: xr.Dataset, model: FittedModel, tmp_path) -> None:
    model.hyperparameters.to_netcdf(tmp_path / "hyperparameters.nc")
    with xr.open_dataset(tmp_path / "hyperparameters.nc") as stored:
        again = ds.sst.gpfill.fit(valid=ds.valid, method="exact", hyperparameters=stored.load())
    np.testing.assert_allclose(again.reconstruct().mean, model.reconstruct().mean)


@pytest.mark.parametrize(
    "kernels",
    [
        {"time_kernel": xgpfill.RBF() + xgpfill.Periodic(4.0), "combine": "product"},
        {"time_kernel": xgpfill.Spectral(2), "scales": 1},
        {"time_kernel": "brownian", "space_kernel": "rational_quadratic", "combine": "sum"},
        {"time_kernel": None, "space_kernel": xgpfill.Matern(0.5, lengthscale=300.0, fixed=True)},
    ],
    ids=["sum of kernels", "spectral", "brownian", "independent frames"],
)
def test_hyperparameters_of_other_kernels_make_a_round_trip(ds: xr.Dataset, kernels: dict[str, Any]) -> None:
    da = ds.sst.isel(time=slice(6), lat=slice(1, 6), lon=slice(3, 7))
    arguments = {"valid": True, "method": "exact", **kernels}
    learned = da.gpfill.fit(**arguments)
    again = da.gpfill.fit(**arguments, hyperparameters=learned.hyperparameters)
    xr.testing.assert_identical(again.hyperparameters, learned.hyperparameters)
    xr.testing.assert_allclose(again.reconstruct().mean, learned.reconstruct().mean)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda h: h["variance"], r"not a Dataset of hyperparameters.*model\.hyperparameters"),
        (lambda h: h.drop_vars("noise"), r"not a Dataset of hyperparameters"),
        (lambda h: h.drop_vars("term"), r"not a Dataset of hyperparameters"),
        (
            lambda h: h.isel(term=[0, 1]),
            r"has the terms 'static', 'common', but these arguments build 'static', 'common', 's",
        ),
        (lambda h: h.drop_vars("time_lengthscale"), r"has no 'time_lengthscale'; it was learned with other kernels"),
        (lambda h: h.assign(variance=-h["variance"]), r"no usable number for 'static\.variance'"),
        (lambda h: h.assign(noise=h.noise * np.nan), r"no usable number for 'noise'"),
        (lambda h: h.assign(space_lengthscale=0 * h.space_lengthscale), r"expected a positive, finite number"),
    ],
)
def test_hyperparameters_that_do_not_fit_the_kernels_are_refused(ds, model: FittedModel, change, match: str) -> None:
    with pytest.raises(KernelError, match=match):
        ds.sst.gpfill.fit(valid=ds.valid, method="exact", hyperparameters=change(model.hyperparameters))


# What it looks like


def test_the_repr_holds_the_table_with_days_and_km(model: FittedModel) -> None:
    text = repr(model)
    assert text.startswith("xgpfill.FittedModel of 'sst' {'time': 8, 'lat': 8, 'lon': 9}, exact engine, sphere")
    lines = {line.split()[0]: line for line in text.splitlines()}
    assert lines["term"].split() == ["term", "std.", "dev.", "time", "space"]
    assert "days" in lines["slow"] and "km" in lines["slow"] and "degC" in lines["slow"]
    assert "constant" in lines["static"] and "constant" in lines["common"]
    assert f"{float(model.hyperparameters.noise) ** 0.5:.3g} degC" in lines["noise"]


def test_the_html_holds_the_same_table(model: FittedModel) -> None:
    html = model._repr_html_()
    assert html.count("<tr>") == 6
    for words in ("std. dev.", "days", "km", "Matérn-3/2", "degC", "FittedModel of &#x27;sst&#x27;"):
        assert words in html


def test_html_of_a_field_with_a_dangerous_name_is_escaped(ds: xr.Dataset, model: FittedModel) -> None:
    known = {"valid": ds.valid, "method": "exact", "hyperparameters": model.hyperparameters}
    named = ds.sst.rename("<script>").assign_attrs(units="<b>").gpfill.fit(**known)
    assert "<script>" not in named._repr_html_()
    assert "<b>&" not in named._repr_html_()


def test_a_lengthscale_beyond_half_the_extent_is_reported(ds: xr.Dataset, model: FittedModel) -> None:
    table = model.hyperparameters
    table["time_lengthscale"].loc[{"term": "slow"}] = 300.0
    known = ds.sst.gpfill.fit(valid=ds.valid, method="exact", hyperparameters=table)
    assert "variance and lengthscale not separately identified" in repr(known)
    assert "slow" in repr(known).splitlines()[-1]


def test_the_record_says_how_learning_went_and_why_the_engine(ds: xr.Dataset, model: FittedModel) -> None:
    assert model.record.seconds > 0
    assert model.record.evaluations > 1
    assert np.isfinite(model.record.log_likelihood)
    assert "method=" in model.record.choice
    auto = ds.sst.gpfill.fit(valid=ds.valid, hyperparameters=model.hyperparameters)
    assert "observations in a field" in auto.record.choice


# Elsewhere


def test_predict_on_the_grid_of_the_data_equals_reconstruct(ds: xr.Dataset, model: FittedModel, field) -> None:
    for target in (ds, ds.sst, {name: ds[name] for name in CUBE}, {name: ds[name].values for name in CUBE}):
        mean, variance = model.predict(target)
        np.testing.assert_allclose(mean.where(ds.valid).transpose(*CUBE), field.mean, rtol=1e-9)
        np.testing.assert_allclose(variance.where(ds.valid).transpose(*CUBE), field.variance, rtol=1e-7)


@pytest.mark.parametrize("order", [("lon", "lat", "time"), ("lat", "time", "lon")])
def test_predict_on_a_grid_keeps_the_order_of_the_data(ds: xr.Dataset, model: FittedModel, order) -> None:
    found = model.condition(ds.sst.transpose(*order)).predict({"lat": [40.0, 41.0], "lon": [4.0, 5.0, 6.0]}).mean
    assert found.dims == order


def test_predict_on_another_grid_is_the_exact_posterior(ds: xr.Dataset, model: FittedModel) -> None:
    finer = xr.DataArray(
        np.zeros((3, 4, 5)),
        {"time": ds.time[2:5].values, "lat": np.linspace(38, 42, 4), "lon": np.linspace(3, 8, 5)},
        CUBE,
    )
    mean, variance = model.predict(finer)
    expected = oracle(model, ds.sst, finer)
    np.testing.assert_allclose(mean.values.ravel(), expected.mean, rtol=1e-8)
    np.testing.assert_allclose(variance.values.ravel(), expected.variance, rtol=1e-6)
    for name in CUBE:
        np.testing.assert_array_equal(mean[name], finer[name])
    assert mean.name == "sst" and variance.name == "sst_variance"
    assert mean.attrs["units"] == "degC" and variance.attrs["units"] == "degC2"


def test_predict_between_and_beyond_the_days_is_the_exact_posterior(ds: xr.Dataset, model: FittedModel) -> None:
    days = np.array(["2021-04-10", "2021-04-16T06", "2021-04-30"], "datetime64[ns]")
    found = model.predict({"time": days, "lat": 40.0, "lon": 5.0})
    target = found.mean.expand_dims(lat=[40.0], lon=[5.0])
    expected = oracle(model, ds.sst, target)
    assert found.mean.dims == ("time",)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-8)
    np.testing.assert_allclose(found.variance, expected.variance, rtol=1e-6)
    assert float(found.variance[2]) > float(found.variance[1])


def test_predict_at_points_of_a_track_is_the_exact_posterior(ds: xr.Dataset, model: FittedModel) -> None:
    rng = np.random.default_rng(2)
    track = xr.Dataset(
        {"salt": ("obs", np.zeros(6))},
        {
            "time": ("obs", ds.time.values[rng.integers(0, 8, 6)]),
            "lat": ("obs", rng.uniform(37, 43, 6)),
            "lon": ("obs", rng.uniform(1, 11, 6)),
        },
    )
    mean, variance = model.predict(track)
    assert mean.dims == ("obs",)
    for i in range(6):
        one = track.isel(obs=i)
        target = xr.DataArray(np.zeros((1, 1, 1)), {n: [one[n].values] for n in CUBE}, CUBE)
        expected = oracle(model, ds.sst, target)
        np.testing.assert_allclose(mean[i], expected.mean[0], rtol=1e-8)
        np.testing.assert_allclose(variance[i], expected.variance[0], rtol=1e-6)


def test_predict_at_places_gives_their_series_at_the_days_of_the_data(
    ds: xr.Dataset, model: FittedModel, field
) -> None:
    buoys = {
        "lat": xr.DataArray(ds.lat.values[[2, 5]], dims="buoy"),
        "lon": xr.DataArray(ds.lon.values[[3, 4]], dims="buoy"),
    }
    mean = model.predict(buoys).mean
    assert mean.dims == ("time", "buoy")
    np.testing.assert_allclose(mean[:, 0], field.mean[:, 2, 3], rtol=1e-9)
    np.testing.assert_allclose(mean[:, 1], field.mean[:, 5, 4], rtol=1e-9)


def test_predict_accepts_longitudes_of_any_turn(model: FittedModel) -> None:
    here, there = (model.predict({"lat": 40.0, "lon": lon}).mean for lon in (5.0, 365.0))
    np.testing.assert_allclose(here, there, rtol=1e-8)


def test_predict_at_one_point_of_one_time_gives_a_number(ds: xr.Dataset, model: FittedModel, field) -> None:
    point = {"time": ds.time.values[3], "lat": float(ds.lat[4]), "lon": float(ds.lon[5])}
    mean, variance = model.predict(point)
    assert mean.dims == variance.dims == ()
    np.testing.assert_allclose([mean, variance], [field.mean[3, 4, 5], field.variance[3, 4, 5]], rtol=1e-7)
    assert model.predict(ds.sst.isel(time=3, lat=4, lon=5)).mean.dims == ()
    frame = ds.sst.isel(time=3, drop=True).gpfill.fit(valid=True, method="exact")
    assert frame.predict({"lat": 40.0, "lon": 5.0}).mean.dims == ()


def test_predict_at_no_point_at_all_gives_an_empty_answer(model: FittedModel) -> None:
    nowhere = {"lat": xr.DataArray(np.zeros(0), dims="buoy"), "lon": xr.DataArray(np.zeros(0), dims="buoy")}
    try:
        mean = model.predict(nowhere).mean
    except XgpfillError as error:
        assert "target" in str(error).lower()  # noqa: PT017
    else:
        assert mean.sizes == {"time": 8, "buoy": 0}


def test_predict_with_noise_adds_it(model: FittedModel) -> None:
    point = {"lat": 40.2, "lon": 5.1}
    latent, observed = (model.predict(point, include_noise=n).variance for n in (False, True))
    np.testing.assert_allclose(observed - latent, float(model.hyperparameters.noise), rtol=1e-9)
    assert (latent.attrs["variance_kind"], observed.attrs["variance_kind"]) == ("latent", "observed")


def test_predict_of_extra_dims_gives_every_member(ds: xr.Dataset, model: FittedModel) -> None:
    both = model.condition(xr.concat([ds.sst, ds.sst + 1.0], pd.Index([1, 2], name="member")))
    mean = both.predict({"lat": [39.0, 41.0], "lon": 5.0}).mean
    assert set(mean.dims) == {"member", "time", "lat"}
    np.testing.assert_allclose(mean.sel(member=2) - mean.sel(member=1), 1.0, rtol=1e-8)


@pytest.mark.parametrize("dim", ["lat", "lon"])
def test_predict_on_the_grid_equals_reconstruct_for_a_section_with_a_scalar_coordinate(
    ds: xr.Dataset, dim: str
) -> None:
    section = ds.sst.isel({dim: 4})
    assert section[dim].ndim == 0
    model = section.gpfill.fit(valid=True, method="exact")
    np.testing.assert_allclose(model.predict(section).mean, model.reconstruct().mean, rtol=1e-9)


def test_predict_works_without_time_and_without_coordinates(ds: xr.Dataset) -> None:
    frame = ds.sst.isel(time=2, drop=True)
    of_frame = frame.gpfill.fit(valid=True, method="exact")
    np.testing.assert_allclose(of_frame.predict(frame).mean, of_frame.reconstruct().mean, rtol=1e-9)
    image = xr.DataArray(frame.values, dims=("y", "x"))
    of_image = image.gpfill.fit(method="exact")
    np.testing.assert_allclose(of_image.predict({"y": [2.0], "x": [3.0]}).mean, of_image.reconstruct().mean[2:3, 3:4])


def test_the_answer_of_predict_scores_against_a_truth(ds: xr.Dataset, model: FittedModel) -> None:
    found = model.predict(ds.truth)
    scores = found.score(ds.truth)
    assert int(scores.cells) == int(ds.truth.notnull().sum())
    assert float(scores.rmse) < 0.5
    xr.testing.assert_equal(found.filled.drop_vars("sst_flag"), found.mean)


@pytest.mark.parametrize(
    "typed",
    [
        "2021-04-16T12:00",
        "2021-04-16 12:00:00",
        np.str_("2021-04-16T12"),
        dt.datetime(2021, 4, 16, 12),  # noqa: DTZ001
        pd.Timestamp("2021-04-16T12"),
        ["2021-04-16T12:00"],
        ["2021-04-16T12:00", dt.date(2021, 4, 18)],
        pd.Index(["2021-04-16T12:00", "2021-04-18"]),
    ],
    ids=repr,
)
@pytest.mark.parametrize("calendar", ["datetime64", "standard", "noleap"])
def test_predict_reads_typed_dates_as_those_of_the_axis(ds: xr.Dataset, model: FittedModel, calendar, typed) -> None:
    numpy = np.array(["2021-04-16T12:00", "2021-04-18"], "datetime64[us]")
    numpy = numpy[: np.size(typed)] if np.ndim(typed) else numpy[0]
    expected = model.predict({"time": numpy, "lat": 40.0, "lon": 5.0})
    own = model if calendar == "datetime64" else model_in(ds, model, calendar)
    found = own.predict({"time": typed, "lat": 40.0, "lon": 5.0})
    assert found.mean.dims == expected.mean.dims
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)
    if calendar == "datetime64":
        xr.testing.assert_identical(found.mean, expected.mean)
    else:
        assert {type(date) for date in found.mean.time.values.flat} == {type(own.layout.template.time.values[0])}


def model_in(ds: xr.Dataset, model: FittedModel, calendar: str) -> FittedModel:
    """The same model of the same days in another calendar, of cftime."""
    arguments = {"valid": ds.valid, "method": "exact", "hyperparameters": model.hyperparameters}
    return ds.sst.convert_calendar(calendar, use_cftime=True).gpfill.fit(**arguments)


@pytest.mark.parametrize("dim", ["obs", "time"])
def test_predict_reads_dates_along_a_track(ds: xr.Dataset, model: FittedModel, dim: str) -> None:
    days = np.array(["2021-04-16", "2021-04-18T06"], "datetime64[us]")
    track = xr.Dataset(coords={"time": (dim, days), "lat": (dim, [40.0, 41.0]), "lon": (dim, [5.0, 6.0])})
    texts = np.datetime_as_string(days)
    typed = track.assign_coords(time=(dim, texts))
    expected = model.predict(track).mean
    given = (typed, typed.assign_coords(time=(dim, texts.astype(object))), {n: typed[n] for n in CUBE})
    for target in given:
        found = model.predict(target).mean
        assert found.time.dtype == days.dtype
        xr.testing.assert_identical(found, expected)
    assert typed.time.dtype.kind == "U"


def test_predict_says_how_to_take_an_index_of_typed_dates_apart(model: FittedModel) -> None:
    grid = xr.Dataset(coords={"time": ["2021-04-16"], "lat": [40.0, 41.0], "lon": [5.0]})
    cells = grid.stack(cell=CUBE)
    with pytest.raises(AlignmentError, match=r"'time' is text in an index of several.*`target\.reset_index\('cell'\)`"):
        model.predict(cells)
    found = model.predict(cells.reset_index("cell")).mean
    np.testing.assert_allclose(found, model.predict(grid).mean.values.ravel(), rtol=1e-9)


@pytest.mark.parametrize(
    ("time", "found"),
    [
        (
            {},
            r"numbers\. Give such, e\.g\. `model\.predict\(\{'time': 0\.0\}\)`, or fit on dates: `da\.assign_coords\(",
        ),
        ({"units": "days since 2021-04-15"}, r"numbers in 'days since 2021-04-15'\. Give such.*`xr\.decode_cf\(ds\)`"),
        (None, r"durations\. Give such, e\.g\. `model\.predict\(\{'time': np\.timedelta64\(3, 'D'\)\}\)`"),
    ],
)
def test_predict_refuses_dates_where_the_data_have_none(ds: xr.Dataset, model: FittedModel, time, found: str) -> None:
    days = np.arange(8.0) if time is not None else np.arange(8) * np.timedelta64(86400, "s")
    data = ds.sst.assign_coords(time=("time", days, time))
    own = data.gpfill.fit(valid=ds.valid, method="exact", hyperparameters=model.hyperparameters)
    for typed in ("2021-04-16", ["2021-04-16"], pd.Timestamp("2021-04-16")):
        with pytest.raises(AlignmentError, match=r"'time' holds '2021-04-16.*fitted on times that are " + found):
            own.predict({"time": typed, "lat": 40.0, "lon": 5.0})


@pytest.mark.parametrize(
    ("target", "error", "match"),
    [
        ([40.0, 41.0], AlignmentError, r"The target is a list; expected a Dataset, DataArray or mapping"),
        ({"y": [1.0]}, AlignmentError, r"target has 'y', but the data call it 'lat'.*model\.predict"),
        ({"lat": np.zeros((2, 2)), "lon": 3.0}, AlignmentError, r"'lat' has 2 dimensions; give a DataArray"),
        ({"lat": [91.0], "lon": [3.0]}, CoordinateError, r"latitude 91\.0 is outside"),
        ({"lat": [np.nan], "lon": [3.0]}, CoordinateError, r"'lat' holds .*NaN"),
        ({"lat": ["a"], "lon": [3.0]}, CoordinateError, r"'lat' has dtype <U1; expected real numbers"),
        (
            {"time": [3.0], "lat": 40.0, "lon": 3.0},
            AlignmentError,
            r"These times are number, but the model was fitted on",
        ),
        (
            {"time": ["2021-04-16", "soon"], "lat": 40.0, "lon": 3.0},
            CoordinateError,
            r"'time' holds 'soon', which is no date of the standard calendar; expected.*Type e\.g\. `'2021-04-15'`",
        ),
    ],
)
def test_predict_refuses_targets_it_cannot_place(model: FittedModel, target, error, match: str) -> None:
    with pytest.raises(error, match=match):
        model.predict(target)


@pytest.mark.parametrize("dims", [("lat", "lon"), ("lon", "lat"), ("lat",)])
@pytest.mark.parametrize("chunks", [None, {"time": 3}], ids=["in memory", "lazy"])
def test_predict_is_empty_where_the_field_does_not_exist(ds: xr.Dataset, model: FittedModel, dims, chunks) -> None:
    target = xr.Dataset(coords={"lat": [39.0, 40.0, 41.0], "lon": [3.0, 5.0]})
    sea = (target.lat > 39.5) & (target.lon > 4.0) if len(dims) == 2 else target.lat > 39.5
    asked = model if chunks is None else model.condition(ds.sst.chunk(chunks))
    found, everywhere = asked.predict(target, valid=sea.transpose(*dims)), asked.predict(target)
    for one, other in zip(found, everywhere, strict=True):
        assert one.dims == other.dims and one.attrs == other.attrs
        np.testing.assert_allclose(one, other.where(sea).transpose(*other.dims))
    xr.testing.assert_equal(found.std().notnull(), found.mean.notnull())


@pytest.mark.parametrize(
    ("valid", "match"),
    [
        (True, r"`valid` is True; expected a bool DataArray on dimensions of the targets, 'time', 'lat', 'lon'"),
        (xr.DataArray([0.5, 2.0], dims="lat"), r"`valid` holds 0\.5; expected True where the field exists"),
        (xr.DataArray([True], dims="depth"), r"does not lie on the targets \(depth\): its dimensions are 'depth'"),
        (xr.DataArray([True, False], {"lat": [1.0, 2.0]}, "lat"), r"does not lie on.*`valid\.reindex_like\(target"),
    ],
)
def test_predict_refuses_a_valid_that_does_not_fit(model: FittedModel, valid: Any, match: str) -> None:
    with pytest.raises(AlignmentError, match=match):
        model.predict({"lat": [39.0, 40.0], "lon": [3.0]}, valid=valid)
    one = {"lat": 40.0, "lon": 3.0, "time": "2021-04-16"}
    with pytest.raises(
        AlignmentError, match=r"covariance=True takes every target.*give targets where the field exists"
    ):
        model.predict(one, covariance=True, valid=xr.DataArray(True))


def test_predict_at_stations_needs_both_coordinates() -> None:
    rng = np.random.default_rng(0)
    da = xr.DataArray(
        rng.normal(size=(4, 5)),
        {"time": np.arange(4.0), "lat": ("site", rng.uniform(40, 45, 5)), "lon": ("site", rng.uniform(0, 8, 5))},
        ("time", "site"),
    )
    model = da.gpfill.fit(method="exact", scales=1)
    with pytest.raises(AlignmentError, match=r"The target lacks the coordinate 'lon'; give both 'lat' and 'lon'"):
        model.predict({"lat": [41.0]})


def test_the_joint_covariance_is_that_of_the_oracle(ds: xr.Dataset, model: FittedModel) -> None:
    target = xr.DataArray(
        np.zeros((2, 3, 2)), {"time": ds.time[1:3].values, "lat": [38.0, 39.0, 40.5], "lon": [4.0, 5.5]}, CUBE
    )
    mean, joint = model.predict(target, covariance=True)
    expected = oracle(model, ds.sst, target, full=True)
    matrix = joint.values
    assert joint.dims == ("target", "target_other") and mean.dims == CUBE
    np.testing.assert_allclose(mean.values.ravel(), expected.mean, rtol=1e-8)
    np.testing.assert_allclose(matrix, expected.covariance, rtol=1e-5, atol=1e-8)
    np.testing.assert_array_equal(matrix, matrix.T)
    assert np.linalg.eigvalsh(matrix).min() > -1e-10
    np.testing.assert_allclose(np.diag(matrix), model.predict(target).variance.values.ravel(), rtol=1e-7)
    assert joint.attrs["units"] == "degC2" and joint.name == "sst_covariance"
    noisy = model.predict(target, covariance=True, include_noise=True)[1].values
    np.testing.assert_allclose(noisy - matrix, float(model.hyperparameters.noise) * np.eye(12), atol=1e-9)


def test_a_joint_covariance_of_too_many_targets_says_how_much_memory(model: FittedModel) -> None:
    with pytest.raises(TooManyPointsError, match=r"for 5001 targets; at most 5000.*GiB.*model\.sample"):
        model.predict(
            {"time": model.layout.template.time[0], "lat": 40.0, "lon": np.linspace(0, 12, 5001)}, covariance=True
        )


def test_a_joint_covariance_needs_one_field_and_memory_or_one_tile(ds: xr.Dataset, model, monkeypatch) -> None:
    both = model.condition(xr.concat([ds.sst, ds.sst], pd.Index([1, 2], name="member")))
    with pytest.raises(MethodError, match=r"covariance=True needs one field"):
        both.predict({"lat": 40.0, "lon": 5.0}, covariance=True)
    arguments = {"valid": ds.valid, "method": "exact", "hyperparameters": model.hyperparameters}
    monkeypatch.setattr("xgpfill.posterior.state.settings_of_all", lambda *_: None)
    tiled = ds.sst.gpfill.fit(**arguments, tile={"time": 2}, halo=1)
    with pytest.raises(MethodError, match=r"targets within one tile, and these lie in several of 4"):
        tiled.predict({"lat": 40.0, "lon": 5.0}, covariance=True)
    one = {"time": ds.time[:1], "lat": [40.0], "lon": [5.0, 6.0]}
    assert tiled.predict(one, covariance=True)[1].shape == (2, 2)


def test_a_joint_covariance_in_a_tile_that_sees_everything_equals_that_of_one_tile(ds, model: FittedModel) -> None:
    arguments = {"valid": ds.valid, "method": "exact", "hyperparameters": model.hyperparameters}
    tiled = ds.sst.gpfill.fit(**arguments, tile={"time": 4}, halo=8)
    one = {"time": ds.time[:1], "lat": [40.0], "lon": [5.0, 6.0]}
    for found, expected in zip(tiled.predict(one, covariance=True), model.predict(one, covariance=True), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


# Draws


def test_draws_of_a_field_with_a_sample_dimension_do_not_repeat_its_name(ds: xr.Dataset, model: FittedModel) -> None:
    both = model.condition(xr.concat([ds.sst, ds.sst + 1.0], "sample"))
    try:
        draws = both.sample(3)
    except XgpfillError as error:
        assert "sample" in str(error)  # noqa: PT017
    else:
        assert len(set(draws.dims)) == 5


def test_draws_depend_on_the_seed_alone(model: FittedModel) -> None:
    xr.testing.assert_identical(model.sample(2, seed=4), model.sample(2, seed=4))
    assert not model.sample(2, seed=4).identical(model.sample(2, seed=5))
    xr.testing.assert_allclose(model.sample(3, seed=4).isel(sample=slice(2)), model.sample(2, seed=4), rtol=1e-5)


def test_draws_have_a_leading_sample_dimension_and_look_like_the_data(ds: xr.Dataset, model: FittedModel) -> None:
    draws = model.sample(3)
    assert draws.dims == ("sample", *ds.sst.dims)
    assert draws["sample"].values.tolist() == [0, 1, 2]
    assert draws.name == "sst" and draws.attrs == ds.sst.attrs and draws.dtype == ds.sst.dtype
    xr.testing.assert_equal(draws.isel(sample=0, drop=True).notnull(), ds.valid.broadcast_like(ds.sst).transpose(*CUBE))


@pytest.mark.parametrize("n", [0, -1, 2.5, True, "8"])
def test_a_number_of_draws_that_is_not_positive_is_refused(model: FittedModel, n) -> None:
    with pytest.raises(DataError, match=r"n=.*expected a positive number of samples"):
        model.sample(n)


@pytest.mark.parametrize("seed", [-1, 1.5, None, True])
def test_a_seed_that_is_no_whole_number_is_refused(model: FittedModel, seed) -> None:
    with pytest.raises(DataError, match=r"seed=.*expected an integer of at least zero"):
        model.sample(2, seed=seed)


@pytest.mark.parametrize("tile", ["auto", {"time": 3}])
def test_many_draws_have_the_mean_and_covariance_of_the_posterior(ds: xr.Dataset, model: FittedModel, tile) -> None:
    """Within sampling error: each mean within 5 standard errors, each covariance within 6."""
    n, arguments = 800, {"valid": True, "method": "exact", "hyperparameters": model.hyperparameters}
    da = ds.sst.isel(time=slice(6), lat=slice(2, 6), lon=slice(3, 7))
    whole = da.gpfill.fit(**arguments)
    draws = da.gpfill.fit(**arguments, tile=tile, halo=6).sample(n, seed=1).values.reshape(n, -1)
    mean, joint = whole.predict(da, covariance=True)
    mean, joint = mean.values.ravel(), joint.values
    sd = np.sqrt(np.diag(joint))
    assert np.abs((draws.mean(0) - mean) / sd).max() < 5 / np.sqrt(n)
    error = np.sqrt((joint**2 + np.outer(sd, sd) ** 2) / n)
    assert (np.abs(np.cov(draws.T) - joint) / error).max() < 6


def test_draws_with_noise_have_the_observed_variance(ds: xr.Dataset, model: FittedModel) -> None:
    n = 600
    draws = model.sample(n, seed=2, include_noise=True)
    observed = model.reconstruct(include_noise=True).variance
    ratio = (draws.var("sample", ddof=1) / observed).values[np.isfinite(observed.values)]
    assert np.abs(ratio - 1).max() < 6 * np.sqrt(2 / n)
    at_data = (draws - model.sample(n, seed=2)).where(ds.valid)
    np.testing.assert_allclose(float(at_data.var()), float(model.hyperparameters.noise), rtol=0.02)


def test_draws_of_members_are_independent(ds: xr.Dataset, model: FittedModel) -> None:
    both = model.condition(xr.concat([ds.sst, ds.sst], pd.Index([1, 2], name="member")))
    draws = both.sample(400, seed=3) - both.reconstruct().mean
    together = xr.corr(draws.sel(member=1), draws.sel(member=2), "sample").values
    assert np.nanmax(np.abs(together)) < 6 / np.sqrt(400)


def test_draws_pass_through_the_data_when_the_noise_is_tiny(ds: xr.Dataset) -> None:
    model = ds.sst.gpfill.fit(valid=ds.valid, method="exact", noise=1e-8)
    draws = model.sample(3, seed=1)
    seen = ds.sst.notnull()
    np.testing.assert_allclose(draws.where(seen), ds.sst.broadcast_like(draws), atol=2e-3)
    assert float(draws.where(~seen).std("sample").max()) > 0.05


def test_draws_of_a_field_with_standard_errors_have_its_variance(ds: xr.Dataset) -> None:
    errors = xr.full_like(ds.sst, 0.1) * np.linspace(0.5, 2.0, 8)[:, None, None]
    model = ds.sst.gpfill.fit(valid=ds.valid, method="exact", noise=errors)
    draws, n = model.sample(500, seed=2), 500
    ratio = (draws.var("sample", ddof=1) / model.reconstruct().variance).values
    assert np.nanmax(np.abs(ratio - 1)) < 6 * np.sqrt(2 / n)


def test_filled_of_the_model_is_filled_of_its_reconstruction(model: FittedModel, field) -> None:
    xr.testing.assert_identical(model.filled, field.filled)


def test_tile_and_halo_that_make_no_sense_are_refused_before_anything_is_learned(ds: xr.Dataset, monkeypatch) -> None:
    monkeypatch.setattr("xgpfill.learning.composite.learn", lambda *a, **k: pytest.fail("learned"))
    for wrong in ({"tile": "large"}, {"tile": {"time": 0}}, {"tile": {"level": 3}}, {"tile": {"time": 2}, "halo": -1}):
        with pytest.raises(XgpfillError, match=r"tile|halo"):
            ds.sst.gpfill.fit(valid=ds.valid, method="exact", **wrong)


def test_a_list_of_sites_is_not_split_in_space() -> None:
    rng = np.random.default_rng(0)
    da = xr.DataArray(
        rng.normal(size=(4, 5)),
        {"time": np.arange(4.0), "lat": ("site", rng.uniform(40, 45, 5)), "lon": ("site", rng.uniform(0, 8, 5))},
        ("time", "site"),
    )
    model = da.gpfill.fit(method="exact", scales=1)
    with pytest.raises(XgpfillError, match=r"tile= cannot split a list of sites.*split time only"):
        model.reconstruct(tile={"y": 2})
    assert model.reconstruct(tile={"time": 2}).mean.shape == da.shape
