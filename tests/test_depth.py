"""Depth as a fitted dimension: one more factor of every term, with levels of unlike mean and size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import xarray as xr
import xgpfill
from numpy.testing import assert_allclose
from scipy.interpolate import pchip_interpolate
from xgpfill.errors import AlignmentError, CoordinateError, DimensionError, KernelError, MethodError, XgpfillWarning

from tests import reference as ref
from tests.columns import DIMS, columns, gappy

if TYPE_CHECKING:
    from pathlib import Path

QUICK = {"amplitude": False, "calibrate": False, "valid": True}


@pytest.fixture(scope="module")
def da() -> xr.DataArray:
    return gappy(columns()[1])


@pytest.fixture(scope="module")
def model(da: xr.DataArray) -> xgpfill.FittedModel:
    return da.gpfill.fit(dims=DIMS, method="exact", scales=1, **QUICK)


def law(model, times, depths, places, other):
    """Covariance of points by the oracle, from the hyperparameters that people see; of anomalies over their levels."""
    table, found = model.hyperparameters, 0.0
    lags = [ref.distance(a, b) for a, b in zip((times, depths, places), other, strict=True)]
    for term in table.term.values:
        own, part = table.sel(term=term), float(table.variance.sel(term=term))
        for axis, lag in zip(("time", "depth", "space"), lags, strict=True):
            length = float(own[f"{axis}_lengthscale"])
            part = part * (ref.matern(lag, length, 1.5) if np.isfinite(length) else 1.0)
        found = found + part
    return found


def cells(da, extra=None):
    """Days, depths and places of all cells; at other depths if they are given."""
    depths = da.depth.values if extra is None else extra
    t, z, lat, lon = np.meshgrid(np.arange(da.sizes["time"]), depths, da.lat.values, da.lon.values, indexing="ij")
    return t.ravel().astype(float), z.ravel(), ref.chord(lat.ravel(), lon.ravel())


def oracle(model, da, depths=None):
    """Posterior of the field on all cells of a lattice, mean and variance in data units."""
    means, scales = da.mean(("time", "lat", "lon")).values, model.hyperparameters.level_amplitude.values
    seen, target = cells(da), cells(da, depths)
    some = np.isfinite(da.values.ravel())
    known = tuple(x[some] for x in seen)
    y = (da.values.ravel()[some] - np.interp(known[1], da.depth, means)) / np.interp(known[1], da.depth, scales)
    one = np.ones((y.size, 1)), np.ones((target[0].size, 1))
    K, k = law(model, *known, known), law(model, *known, target)
    prior = np.full(target[0].size, float(model.hyperparameters.variance.sum()))
    found = ref.posterior(K, k, prior, y, float(model.hyperparameters.noise), *one)
    size = np.exp(np.interp(target[1], da.depth, np.log(scales)))
    straight, cubic = np.interp(target[1], da.depth, means), pchip_interpolate(da.depth.values, means, target[1])
    return found.mean * size + cubic, found.variance * size**2 + (cubic - straight) ** 2


# What it is


@pytest.mark.parametrize("method", ["exact", xgpfill.Iterative(tolerance=1e-7)])
def test_mean_and_variance_equal_the_dense_oracle(da, model, method):
    own = da.gpfill.fit(dims=DIMS, method=method, hyperparameters=model.hyperparameters, scales=1, **QUICK)
    found = own.reconstruct()
    mean, variance = oracle(model, da)
    sd = np.sqrt(variance)
    assert np.abs((found.mean.values.ravel() - mean) / sd).max() < 1e-6
    assert_allclose(found.std().values.ravel(), sd, rtol=1e-6 if method == "exact" else 0.25)
    assert found.mean.dims == da.dims


def test_other_depths_equal_the_oracle_and_own_levels_the_reconstruction(da, model):
    depths = np.array([4.0, 40.0])
    found = model.predict({"depth": depths})
    mean, variance = oracle(model, da, depths)
    assert found.mean.sizes == {"time": 6, "depth": 2, "lat": 5, "lon": 6}
    assert_allclose(found.mean.values.ravel(), mean, atol=1e-6)
    assert_allclose(found.variance.values.ravel(), variance, rtol=1e-6)
    own = model.predict({"time": da.time.values[:2], "lat": da.lat.values[:1], "lon": da.lon.values})
    whole = model.reconstruct().mean.isel(time=slice(2), lat=slice(1))
    assert_allclose(own.mean.transpose(*da.dims), whole, atol=1e-8)


def test_levels_have_a_mean_and_a_standard_deviation_of_their_own(da, model):
    table = model.hyperparameters
    spread = da.std(("time", "lat", "lon"))
    assert_allclose(table.level_amplitude, spread / np.sqrt((spread**2).mean()), rtol=1e-6)
    assert table.level.attrs["units"] == "m"
    assert table.depth_lengthscale.attrs["units"] == "m"
    assert model.trend["mean"].dims == ("depth",)
    assert np.abs(model.trend["mean"] - da.mean(("time", "lat", "lon"))).max() < 0.6
    assert model.amplitude.dims == ("depth", "lat", "lon")
    text = repr(model)
    assert "depth" in text.splitlines()[1]
    assert " m\n" in text


def test_a_level_of_few_observations_is_as_those_around_it():
    da = gappy(columns()[1])
    da[:, 1] = np.nan
    da[0, 1, 0, 0] = 17.0
    with pytest.warns(XgpfillWarning, match=r"At 10 m there are too few observations for a mean of their own"):
        found = da.gpfill.fit(dims=DIMS, method="exact", scales=1, **QUICK)
    usual, sizes = found.trend["mean"].values, found.hyperparameters.level_amplitude.values
    assert usual[2] < usual[1] < usual[0]
    assert sizes[2] < sizes[1] < sizes[0]
    assert bool(found.reconstruct().mean.notnull().all())


def curved(depths):
    """Layers whose mean falls off as exp(−z/40), each with the same wave."""
    t, z, y, x = np.meshgrid(np.arange(4.0), depths, np.arange(30.0, 35), np.arange(5.0), indexing="ij")
    values = 5 + (15 + np.sin(0.9 * y - 0.6 * t) * np.cos(0.8 * x + 0.5 * t)) * np.exp(-z / 40)
    axes = [("time", t[:, 0, 0, 0]), ("depth", depths, {"units": "m"}), ("lat", y[0, 0, :, 0]), ("lon", x[0, 0, 0])]
    return xr.DataArray(values, axes)


LEVELS = np.array([0.0, 10, 25, 50, 100])


def test_how_uncertain_the_mean_is_between_and_beyond_levels_is_in_every_answer():
    truth = curved(LEVELS)
    seen = truth.where(np.random.default_rng(0).random(truth.shape) < 0.6)
    model = seen.gpfill.fit(dims=DIMS, method="exact", scales=1, **QUICK)
    depths = np.array([5.0, 37.0, 75.0, 110.0])
    found, expected = model.predict({"depth": depths}), curved(depths)
    covered = (np.abs(found.mean - expected) < 2 * found.std()).mean(("time", "lat", "lon"))
    assert (covered > 0.9).all()
    at = {"time": truth.time.values[:1], "depth": depths, "lat": 31.0, "lon": 2.0}
    one = model.predict(at)
    joint = model.predict(at, covariance=True)[1].values
    assert_allclose(np.diag(joint), one.variance.values.ravel(), rtol=1e-6)
    assert_allclose(one.average("depth").variance.item(), joint.mean(), rtol=1e-5)
    drawn = model.sample(2000, target=at, seed=1)
    assert_allclose(drawn.std("sample").values.ravel(), np.sqrt(np.diag(joint)), rtol=0.1)


def test_a_level_that_was_never_observed_is_told_and_as_uncertain_as_it_should_be():
    truth = curved(LEVELS)
    with pytest.warns(XgpfillWarning, match=r"At 100 m there are too few observations for a mean of their own"):
        model = truth.where(truth.depth != 100).gpfill.fit(dims=DIMS, method="exact", scales=1, **QUICK)
    found = model.reconstruct()
    off = np.abs(found.mean - truth).sel(depth=100)
    assert (off > 1).any()
    assert (off < 2 * found.std().sel(depth=100)).mean() > 0.9


def test_averages_over_depth_have_the_standard_deviation_of_the_joint_law(da, model):
    thickness = xr.DataArray([5.0, 12.5, 25.0, 17.5], {"depth": da.depth}, ("depth",))
    found = model.reconstruct().average("depth", weights=thickness)
    assert found.mean.dims == ("time", "lat", "lon")
    at = {"time": da.time.values[2], "lat": 41.0, "lon": 3.0}
    mean, joint = model.predict({**at, "depth": da.depth.values}, covariance=True)
    w = thickness.values / thickness.values.sum()
    assert_allclose(found.mean.sel(at), w @ mean.values, rtol=1e-6)
    assert_allclose(found.variance.sel(at), w @ joint.values @ w, rtol=1e-5)
    whole = model.aggregate(thickness)
    assert_allclose(whole.mean, found.mean, rtol=1e-9)
    predicted = model.predict({"time": da.time.values[2:3], "depth": [5.0, 20.0]}).average("depth")
    assert predicted.mean.sizes == {"time": 1, "lat": 5, "lon": 6}


def test_draws_have_the_mean_and_the_variance_of_the_reconstruction(model):
    drawn, found = model.sample(80, seed=1), model.reconstruct()
    error = (drawn.mean("sample") - found.mean) / (found.std() / np.sqrt(80))
    assert float(abs(error).max()) < 5.0
    assert float((drawn.var("sample") / found.variance).mean()) == pytest.approx(1.0, abs=0.15)
    there = model.sample(2, target={"depth": [5.0]}, seed=3)
    assert there.sizes == {"sample": 2, "time": 6, "depth": 1, "lat": 5, "lon": 6}


# Which shapes


def test_maps_on_levels_without_time_profiles_in_time_and_profiles(da):
    whole = da.isel(time=0).drop_vars("time").gpfill.fit(dims=("depth", "lat", "lon"), method="exact", **QUICK)
    assert whole.prior.terms[0].axes.keys() == {"time", "space", "depth"}
    assert bool(whole.reconstruct().mean.notnull().all())
    mooring = da.isel(lat=2, lon=2, drop=True)
    found = mooring.gpfill.fit(dims=("time", "depth"), scales=1, method="exact", **QUICK)
    assert found.reconstruct().mean.dims == ("time", "depth")
    section = da.isel(lon=0, drop=True)
    assert section.gpfill.fit(dims=("time", "depth", "lat"), scales=1, **QUICK).reconstruct().mean.dims == section.dims


def test_the_order_of_dimensions_and_of_levels_changes_nothing(da, model):
    turned = da.isel(depth=slice(None, None, -1)).transpose("lon", "depth", "time", "lat")
    found = turned.gpfill.fit(
        dims=("lat", "lon", "depth", "time"), hyperparameters=model.hyperparameters, scales=1, method="exact", **QUICK
    ).reconstruct()
    assert found.mean.dims == turned.dims
    assert_allclose(found.mean.transpose(*da.dims).sortby("depth"), model.reconstruct().mean, atol=1e-7)


def test_levels_stay_apart_where_depth_is_not_named(da):
    apart = da.gpfill.fit(scales=1, method="exact", **QUICK)
    assert apart.layout.roles.extra == ("depth",)
    assert "depth_lengthscale" not in apart.hyperparameters
    named = da.gpfill.fit(dims=("time", "lat", "lon"), scales=1, method="exact", **QUICK)
    xr.testing.assert_identical(apart.reconstruct().mean, named.reconstruct().mean)


def test_independent_levels_share_only_what_was_learned(da):
    found = da.gpfill.fit(dims=DIMS, depth_kernel=None, scales=1, method="exact", **QUICK)
    deeper = da.copy()
    deeper[:, 1:] = deeper[:, 1:] + 100.0
    again = da.gpfill.fit(
        dims=DIMS, depth_kernel=None, scales=1, method="exact", hyperparameters=found.hyperparameters, **QUICK
    )
    assert found.summary.table[0][-1] == "independent"
    assert_allclose(again.reconstruct().mean, found.reconstruct().mean, rtol=1e-9)


def test_roles_by_attributes_name_unit_and_mapping():
    lev = ("lev", [1000.0, 850.0, 500.0], {"units": "hPa"})
    rng = np.random.default_rng(0)
    air = xr.DataArray(
        rng.standard_normal((5, 3, 4)).cumsum(0).cumsum(1).cumsum(2), {"lev": lev}, ("time", "lev", "x"), "air"
    )
    found = air.gpfill.fit(dims=("time", "lev", "x"), scales=1, method="exact", **QUICK)
    assert found.layout.roles.depth == "lev"
    assert "hPa" in repr(found)
    odd = air.rename(lev="k").drop_vars("k")
    with pytest.raises(DimensionError, match=r"Cannot tell the role of dimension\(s\) 'k'"):
        odd.gpfill.fit(dims=("time", "k", "x"))
    named = odd.gpfill.fit(dims={"time": "time", "depth": "k", "x": "x"}, scales=1, method="exact", **QUICK)
    assert named.layout.roles.depth == "k"
    assert " level" in repr(named)


def test_a_given_kernel_of_depth_is_taken(da):
    kernel = xgpfill.Matern(0.5, lengthscale=30.0, fixed=True)
    found = da.gpfill.fit(dims=DIMS, depth_kernel=kernel, method="exact", **QUICK)
    assert [term.name for term in found.prior.terms] == ["product"]
    assert found.hyperparameters.depth_lengthscale.values.tolist() == [30.0]


# Other data, files, lazy data, tiles


def test_other_data_and_other_levels_are_conditioned_on(da, model):
    part = da.isel(depth=[0, 2, 3])
    found = model.condition(part)
    assert found.layout.depths.tolist() == [0.0, 25.0, 60.0]
    assert_allclose(found.predict({"depth": [10.0]}).mean.shape, (6, 1, 5, 6))
    in_km = da.assign_coords(depth=("depth", da.depth.values / 1000, {"units": "km", "positive": "down"}))
    assert_allclose(model.condition(in_km).reconstruct().mean, model.reconstruct().mean, atol=1e-8)
    one = da.isel(depth=[0]).gpfill.fit(dims=DIMS, scales=1, method="exact", **QUICK)
    with pytest.raises(AlignmentError, match=r"fitted on one level of 'depth'.*the new data have 4"):
        one.condition(da)


def test_a_saved_model_is_the_same(da, model, tmp_path: Path):
    model.save(tmp_path / "model.nc")
    again = xgpfill.load(tmp_path / "model.nc")
    xr.testing.assert_identical(again.hyperparameters, model.hyperparameters)
    xr.testing.assert_identical(again.reconstruct().mean, model.reconstruct().mean)
    model.save(tmp_path / "bare.nc", data=False)
    bare = xgpfill.load(tmp_path / "bare.nc")
    assert " m\n" in repr(bare)
    assert_allclose(bare.condition(da, valid=True).reconstruct().mean, model.reconstruct().mean, atol=1e-9)


def test_lazy_data_give_the_same_and_stay_lazy(da, model):
    lazy = da.chunk(time=3, depth=2)
    own = lazy.gpfill.fit(dims=DIMS, method="exact", scales=1, hyperparameters=model.hyperparameters, **QUICK)
    found = own.reconstruct()
    assert found.mean.chunks == lazy.chunks
    assert_allclose(found.mean.compute(), model.reconstruct().mean, atol=1e-8)
    assert own.predict({"depth": [5.0]}).mean.chunks is not None


def test_tiles_of_time_see_all_levels(da, model):
    whole, found = model.reconstruct(), model.reconstruct(tile={"time": 3}, halo={"time": 3})
    assert_allclose(found.mean, whole.mean, atol=1e-6)
    with pytest.raises(DimensionError, match="cannot split levels of depth in space"):
        model.reconstruct(tile={"lat": 2})
    with pytest.raises(DimensionError, match=r"Unknown axis 'depth' in tile="):
        model.reconstruct(tile={"depth": 2})


def test_the_field_exists_where_the_mask_of_every_level_says(da, model):
    sea = xr.DataArray(np.ones(da.shape[1:], bool), {d: da[d] for d in DIMS[1:]}, DIMS[1:])
    sea[2:, :, :2] = False
    found = da.gpfill.fit(
        dims=DIMS, method="exact", scales=1, hyperparameters=model.hyperparameters, **{**QUICK, "valid": sea}
    ).reconstruct()
    assert bool((found.mean.notnull() == sea).all())


def test_pictures_are_of_a_level_and_descriptions_of_all(da, model):
    found = model.reconstruct()
    with pytest.raises(DimensionError, match="There is one field for each 'depth'"):
        found.plot.map()
    found.plot.map(time="2021-01-02", sel={"depth": 10.0})
    told = da.gpfill.describe(dims=DIMS, valid=True)
    assert [axis.role for axis in told.axes] == ["time", "depth", "y", "x"]
    assert told.suggestions["dims"] == repr(DIMS)
    assert "depth" in repr(told)


def test_what_is_far_from_data_is_told_level_by_level(da):
    few = da.where(da.depth == 0.0).assign_attrs(da.attrs)
    few[0, 3, 0, 0] = 1.0
    with pytest.warns(XgpfillWarning, match="too few observations for a mean"):
        found = few.gpfill.fit(dims=DIMS, method="exact", scales=1, **QUICK).reconstruct()
    near = found.near_data(max_distance=1000.0).mean.notnull().any(("time", "lat", "lon"))
    assert near.values.tolist() == [True, False, False, True]


# Bad input


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda da: da.assign_coords(depth=[0.0, np.nan, 25.0, 60.0]), CoordinateError, r"'depth' holds 1 NaN"),
        (lambda da: da.assign_coords(depth=[0.0, 10.0, 10.0, 60.0]), CoordinateError, r"'depth' has 1 duplicate"),
        (lambda da: da.assign_coords(depth=[0.0, 25.0, 10.0, 60.0]), CoordinateError, r"'depth' is not sorted"),
        (lambda da: da.assign_coords(depth=list("abcd")), CoordinateError, r"'depth' has dtype <U1; expected real"),
        (lambda da: da.rename(lat="lev").assign_coords(lev=range(5)), DimensionError, r"names 'depth', 'lev' as the"),
        (
            lambda da: da.rename(depth="level").drop_vars("level").assign_coords(z=("level", [1.0, 2, 3, 4])),
            CoordinateError,
            r"'level' has no coordinate of its own, and 'z' along it would be ignored.*swap_dims",
        ),
    ],
)
def test_bad_levels_are_refused(da, change, error, match):
    bad = change(da)
    with pytest.raises(error, match=match):
        bad.gpfill.fit(dims=bad.dims)


def test_combinations_that_are_not_built_are_refused(da, model):
    with pytest.raises(KernelError, match=r"depth_kernel='rbf' was given, but no dimension of depth is fitted"):
        da.gpfill.fit(depth_kernel="rbf", valid=True)
    with pytest.raises(KernelError, match=r"holds Brownian, which is no kernel of depth"):
        da.gpfill.fit(dims=DIMS, depth_kernel="brownian", valid=True)
    for method in ("vecchia", "variational"):
        with pytest.raises(MethodError, match=r"depth among dims= \('depth'\) is for the exact engine"):
            da.gpfill.fit(dims=DIMS, method=method, valid=True)
    both = xr.Dataset({"u": da.assign_attrs(units="m/s"), "v": da.assign_attrs(units="m/s")})
    with pytest.raises(DimensionError, match=r"vector=True does not go with depth as a fitted dimension"):
        both.gpfill.fit(variable=("u", "v"), vector=True, dims=DIMS, valid=True)
    with pytest.raises(DimensionError, match=r"joint=True does not go with depth as a fitted dimension"):
        both.gpfill.fit(variable=["u", "v"], joint=True, dims=DIMS, method="exact", scales=1, **QUICK)
    points = da.isel(lat=0, lon=0, drop=True).rename(time="obs").drop_vars("obs")
    with pytest.raises(DimensionError, match=r"'depth' is fitted as depth on a grid or at a list of places"):
        points.assign_coords(x=("obs", np.arange(6.0))).gpfill.fit(dims=("obs", "depth"), coords=("x",))
    with pytest.raises(AlignmentError, match=r"levels 'depth' are in 'hPa', those of the model in 'm'"):
        model.predict({"depth": xr.DataArray([10.0], dims="depth", attrs={"units": "hPa"})})
    with pytest.raises(AlignmentError, match=r"levels 'depth' are positive up, those of the model down"):
        model.condition(da.assign_coords(depth=da.depth.assign_attrs(positive="up")))
    with pytest.raises(CoordinateError, match=r"'depth' holds 1 NaN"):
        model.predict({"depth": [np.nan]})
    in_km = da.assign_coords(depth=da.depth.assign_attrs(units="km"))
    with pytest.raises(KernelError, match=r"lengthscales of depth in 'm', but the levels of these data are in 'km'"):
        in_km.gpfill.fit(dims=DIMS, hyperparameters=model.hyperparameters, scales=1, valid=True, method="exact")
