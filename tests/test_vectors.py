"""Vector fields: two variables with one covariance, projected on east and north."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import dask
import numpy as np
import pytest
import xarray as xr
import xgpfill
from hypothesis import given, settings
from hypothesis import strategies as st
from xgpfill.errors import (
    AlignmentError,
    DataError,
    DimensionError,
    KernelError,
    MethodError,
    VariableError,
    XgpfillWarning,
)

from tests import reference as ref

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("u", "v")


def rotation(lat, lon, axis=(0.3, -0.5, 0.8), *, strain=0.6):
    """East and north components, m/s, of a solid rotation and a strain that is as smooth, at degrees."""
    lat, lon = np.meshgrid(lat, lon, indexing="ij")
    places, units = ref.chord(lat, lon) / ref.EARTH_RADIUS, ref.east_and_north(lat, lon)
    flow = np.cross(axis, places) + strain * places * places[..., [1, 2, 0]]
    return [np.einsum("yxi,yxi->yx", 10.0 * flow, unit) for unit in units]


def wind(nlat=7, nlon=12, *, times=0):
    lat, lon = np.linspace(-90, 90, nlat), np.arange(nlon) * 360.0 / nlon
    coords = {"lat": ("lat", lat, {"units": "degrees_north"}), "lon": ("lon", lon, {"units": "degrees_east"})}
    told = [
        {"units": "m s-1", "standard_name": "eastward_wind", "long_name": "wind to the east"},
        {"units": "m/s", "standard_name": "northward_wind"},
    ]
    if not times:
        fields = rotation(lat, lon)
        return xr.Dataset({n: (("lat", "lon"), f, a) for n, f, a in zip(NAMES, fields, told, strict=True)}, coords)
    days = np.arange(times)
    steps = [rotation(lat, lon, (np.cos(0.4 * t), np.sin(0.4 * t), 0.2)) for t in days]
    coords["time"] = ("time", np.datetime64("2021-01-01") + days.astype("timedelta64[D]"))
    return xr.Dataset(
        {n: (("time", "lat", "lon"), np.stack([s[i] for s in steps]), told[i]) for i, n in enumerate(NAMES)}, coords
    )


def gappy(truth, share=0.5, *, seed=0):
    """Each component hidden on its own: at some cells one of them is seen alone."""
    rng = np.random.default_rng(seed)
    return truth.map(lambda da: da.where(rng.random(da.shape) < share).assign_attrs(da.attrs))


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    return wind()


@pytest.fixture(scope="module")
def ds(truth: xr.Dataset) -> xr.Dataset:
    return gappy(truth)


@pytest.fixture(scope="module")
def model(ds: xr.Dataset) -> xgpfill.FittedVector:
    return ds.gpfill.fit(variable=NAMES, vector=True, method="exact", scales=1, noise_std=0.3)


@pytest.fixture(scope="module")
def known(model: xgpfill.FittedVector) -> dict[str, object]:
    """Arguments of a fit that learns nothing."""
    return {"variable": NAMES, "vector": True, "hyperparameters": model.hyperparameters, "scales": 1}


def oracle(model, ds):
    """Mean and variance (2, lat, lon) by dense algebra in numpy, from the numbers of the model."""
    numbers = model.hyperparameters
    lat, lon = (x.ravel() for x in np.meshgrid(ds.lat, ds.lon, indexing="ij"))
    places = ref.chord(lat, lon)
    correlation = ref.matern(ref.distance(places, places), float(numbers.space_lengthscale[0]), 1.5)
    K = float(numbers.variance[0]) * ref.projected(correlation, lat, lon)
    y = np.concatenate([ds[n].values.ravel() for n in NAMES])
    seen = np.isfinite(y)
    A = K[np.ix_(seen, seen)] + float(numbers.noise) * np.eye(seen.sum())
    shape = (2, *ds.u.shape)
    mean = K[:, seen] @ np.linalg.solve(A, y[seen])
    variance = K.diagonal() - np.einsum("ij,ji->i", K[:, seen], np.linalg.solve(A, K[seen]))
    return mean.reshape(shape), variance.reshape(shape)


# The answers


def test_the_exact_posterior_of_both_components_is_that_of_the_dense_projected_kernel(model, ds) -> None:
    mean, variance = model.reconstruct()
    expected, spread = oracle(model, ds)
    for number, name in enumerate(NAMES):
        np.testing.assert_allclose(mean[name], expected[number], atol=1e-6)
        np.testing.assert_allclose(variance[f"{name}_variance"], spread[number], rtol=1e-6, atol=1e-9)


def test_the_iterative_engine_agrees_with_the_exact_one(model, ds, known) -> None:
    found = ds.gpfill.fit(method=xgpfill.Iterative(tolerance=1e-5), **known, noise_std=0.3).reconstruct()
    mean, variance = model.reconstruct()
    for name in NAMES:
        sd = np.sqrt(variance[f"{name}_variance"])
        assert float((abs(found.mean[name] - mean[name]) / sd).max()) < 1e-3
        assert float(abs(found.std()[f"{name}_std"] / sd - 1).median()) < 0.1


def test_over_several_times_the_engines_agree_too() -> None:
    ds = gappy(wind(5, 8, times=6))
    how = {"variable": NAMES, "vector": True, "noise_std": 0.3, "dims": ("time", "lat", "lon")}
    exact = ds.gpfill.fit(method="exact", **how)
    same = {"hyperparameters": exact.hyperparameters, "calibrate": False}
    found = ds.gpfill.fit(method=xgpfill.Iterative(tolerance=1e-5), **how, **same).reconstruct()
    mean, variance = exact.reconstruct()
    for name in NAMES:
        sd = np.sqrt(variance[f"{name}_variance"])
        assert float((abs(found.mean[name] - mean[name]) / sd).max()) < 1e-3
        assert float(abs(found.std()[f"{name}_std"] / sd - 1).median()) < 0.1


def test_a_list_of_places_is_filled_as_the_grid_of_these_places_is(model, ds, known) -> None:
    places = ds.stack(place=("lat", "lon")).reset_index("place").expand_dims(time=[np.datetime64("2021-01-01")])
    how = {"dims": ("time", "place"), "method": "exact", "noise_std": 0.3}
    found = places.gpfill.fit(valid=True, **how, **known).reconstruct()
    assert found.mean.u.dims == ("time", "place")
    np.testing.assert_allclose(found.mean.v[0], model.reconstruct().mean.v.values.ravel(), atol=1e-6)


def test_the_wind_at_a_pole_is_one_vector_on_every_meridian(model) -> None:
    lon = np.array([0.0, 50.0, 200.0])
    mean = model.predict({"lat": [90.0], "lon": lon}).mean.isel(lat=0)
    cartesian = sum(
        mean[name].values[:, None] * unit
        for name, unit in zip(NAMES, ref.east_and_north(np.full(3, 90.0), lon), strict=True)
    )
    np.testing.assert_allclose(cartesian, np.broadcast_to(cartesian[0], (3, 3)), atol=1e-8)


def test_joint_covariances_hold_both_components(model) -> None:
    target = {"lat": xr.DataArray([80.0, 10.0], dims="p"), "lon": xr.DataArray([0.0, 90.0], dims="p")}
    mean, joint = model.predict(target, covariance=True)
    alone = model.predict(target)
    assert joint.component.values.tolist() == ["u", "u", "v", "v"] == joint.component_other.values.tolist()
    np.testing.assert_allclose(mean.v, alone.mean.v, atol=1e-9)
    variances = np.concatenate([alone.variance[f"{n}_variance"] for n in NAMES])
    np.testing.assert_allclose(joint.values.diagonal(), variances, rtol=1e-6)
    assert np.linalg.eigvalsh(joint.values).min() > 0


@settings(max_examples=5, deadline=None)
@given(st.floats(-180, 180))
def test_the_first_meridian_may_be_anywhere(model, ds, known, turn: float) -> None:
    turned = ds.assign_coords(lon=(ds.lon + turn).assign_attrs(ds.lon.attrs))
    found = turned.gpfill.fit(method="exact", **known, noise_std=0.3, calibrate=False).reconstruct()
    for name, variance in zip(NAMES, ("u_variance", "v_variance"), strict=True):
        np.testing.assert_allclose(found.mean[name], model.reconstruct().mean[name], atol=1e-6)
        np.testing.assert_allclose(found.variance[variance], model.reconstruct().variance[variance], rtol=1e-5)


def test_samples_scatter_about_the_mean_as_the_variance_says_and_are_the_same_of_a_seed(model) -> None:
    drawn = model.sample(400, seed=2)
    mean, variance = model.reconstruct()
    xr.testing.assert_identical(drawn, model.sample(400, seed=2))
    for name in NAMES:
        z = (drawn[name] - mean[name]) / np.sqrt(variance[f"{name}_variance"])
        assert abs(float(z.std()) - 1) < 0.03
        assert drawn[name].attrs["units"] == mean[name].attrs["units"]


def test_averages_of_a_component_have_the_sd_of_its_joint_law(model, ds) -> None:
    found = model.reconstruct().sel(lat=slice(50, 90)).average(("lat", "lon"), weights="cos_lat")
    lat, lon = ds.lat.values[ds.lat >= 50], ds.lon.values
    mean, joint = model.predict({"lat": lat, "lon": lon}, covariance=True)
    w = np.repeat(np.cos(np.radians(lat)), lon.size)
    w /= w.sum()
    own = joint.values[w.size :, w.size :]  # of the north
    np.testing.assert_allclose(float(found.mean.v), w @ mean.v.values.ravel(), atol=1e-6)
    np.testing.assert_allclose(float(found.variance.v_variance), w @ own @ w, rtol=1e-4)
    weights = xgpfill.metrics.cos_lat_weights(ds.u).where(ds.lat >= 50)
    np.testing.assert_allclose(model.aggregate(weights).mean.v.mean(), found.mean.v, atol=1e-6)


@pytest.mark.parametrize("geometry", ["cylinder", "plane"])
def test_on_a_sheet_the_components_are_two_fields_with_one_covariance(geometry: str, truth) -> None:
    ds = gappy(truth.sel(lat=slice(-60, 60), lon=slice(0, 170)))
    how = {"geometry": geometry, "method": "exact", "scales": 1, "noise_std": 0.3}
    model = ds.gpfill.fit(variable=NAMES, vector=True, **how)
    v = ds[["v"]].assign(u=ds.u * 0.0 + 1e-9 * ds.u)  # what is seen of the other says nothing
    alone = v.gpfill.fit(variable=NAMES, vector=True, hyperparameters=model.hyperparameters, **how)
    np.testing.assert_allclose(alone.reconstruct().mean.v, model.reconstruct().mean.v, atol=1e-6)


# What comes out


def test_results_are_datasets_with_the_names_and_attributes_of_the_components(model, ds) -> None:
    found = model.reconstruct()
    assert list(found.mean) == list(NAMES) and list(found.variance) == ["u_variance", "v_variance"]
    assert found.mean.u.dims == ds.u.dims and dict(found.mean.u.attrs) == dict(ds.u.attrs)
    assert found.mean.v.attrs == ds.v.attrs
    assert found.variance.v_variance.attrs["units"] == "(m/s)2"
    assert found.variance.u_variance.attrs["long_name"] == "latent variance of wind to the east"
    assert "component" not in found.to_dataset().coords
    filled = model.filled
    np.testing.assert_allclose(filled.u.where(ds.u.notnull()), ds.u)
    assert not filled.isnull().to_dataarray().any()


def test_the_data_are_not_changed(truth) -> None:
    ds = gappy(truth)
    kept = ds.copy(deep=True)
    ds.gpfill.fit(variable=NAMES, vector=True, method="exact", scales=1).reconstruct()
    xr.testing.assert_identical(ds, kept)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_vector_makes_a_round_trip_through_a_file(model, ds, tmp_path: Path, suffix: str) -> None:
    model.save(tmp_path / f"wind{suffix}")
    again = xgpfill.load(tmp_path / f"wind{suffix}")
    assert isinstance(again, xgpfill.FittedVector) and again.components == model.components
    xr.testing.assert_identical(again.reconstruct().mean, model.reconstruct().mean)
    xr.testing.assert_identical(again.hyperparameters, model.hyperparameters)


def test_a_vector_travels_to_other_processes(model) -> None:
    again = pickle.loads(pickle.dumps(model))
    xr.testing.assert_identical(again.reconstruct().mean, model.reconstruct().mean)


def test_saved_without_data_it_can_condition(model, ds, tmp_path: Path) -> None:
    model.save(tmp_path / "wind.nc", data=False)
    again = xgpfill.load(tmp_path / "wind.nc").condition(ds)
    xr.testing.assert_identical(again.reconstruct().mean, model.reconstruct().mean)


def test_conditioned_on_everything_the_mean_is_what_was_seen(model, truth) -> None:
    found = model.condition(truth).reconstruct()
    assert float(abs(found.mean - truth).to_dataarray().max()) < 0.5
    assert float(abs(found.mean - truth).to_dataarray().mean()) < 0.1


def test_valid_and_noise_may_be_of_both_or_of_each(model, ds, known) -> None:
    land = (ds.lat > 0).broadcast_like(ds.u)
    whole = ds.gpfill.fit(method="exact", valid=land, **known, noise_std=0.3).reconstruct()
    each = ds.gpfill.fit(method="exact", valid=xr.Dataset({"u": land, "v": land}), **known, noise_std=0.3).reconstruct()
    xr.testing.assert_identical(whole.mean, each.mean)
    assert bool((whole.mean.v.notnull() == land).all())
    errors = xr.Dataset({"u": xr.full_like(ds.u, 0.3), "v": xr.full_like(ds.v, 0.6)})
    found = ds.gpfill.fit(variable=NAMES, vector=True, method="exact", scales=1, noise_std=errors)
    noise = found.reconstruct(include_noise=True).variance - found.reconstruct().variance
    np.testing.assert_allclose(noise.v_variance / noise.u_variance, 4.0, rtol=1e-6)
    with pytest.raises(VariableError, match=r"`valid` holds nothing for 'v', only for 'u'"):
        ds.gpfill.fit(variable=NAMES, vector=True, valid=land.to_dataset(name="u"))


def test_times_and_members_are_dimensions_as_of_one_variable() -> None:
    truth = wind(5, 8, times=6)
    ds = gappy(truth)
    found = ds.gpfill.fit(variable=NAMES, vector=True, dims=("time", "lat", "lon"), method="exact", noise_std=0.3)
    assert [t for t in found.hyperparameters.term.values if t == "common"] == []
    members = xr.concat([ds, gappy(truth, seed=5)], "member").transpose("lat", "member", "time", "lon")
    both = members.gpfill.fit(
        variable=NAMES, vector=True, dims=("time", "lat", "lon"), hyperparameters=found.hyperparameters, method="exact",
        noise_std=0.3,
    ).reconstruct()  # fmt: skip
    assert both.mean.u.dims == ("lat", "member", "time", "lon")
    np.testing.assert_allclose(
        both.mean.v.isel(member=0).transpose("time", "lat", "lon"), found.reconstruct().mean.v, atol=0.05
    )


def test_lazy_data_give_the_same_lazily_in_their_own_chunks() -> None:
    ds = gappy(wind(5, 8, times=6))
    how = {"variable": NAMES, "vector": True, "method": "exact", "scales": 1, "noise_std": 0.3}
    expected = ds.gpfill.fit(**how).reconstruct()
    lazy = ds.chunk({"time": 2, "lat": 3})
    model = lazy.gpfill.fit(**how)
    with dask.config.set(scheduler=lambda *_, **__: pytest.fail("dask computed something")):
        found = model.reconstruct()
        drawn = model.sample(2, seed=1)
    assert found.mean.u.chunks == lazy.u.chunks and found.variance.v_variance.chunks == lazy.v.chunks
    xr.testing.assert_allclose(found.compute().mean, expected.mean)
    xr.testing.assert_allclose(found.compute().variance, expected.variance)
    assert drawn.u.chunks is not None


def test_tiles_in_time_see_both_components() -> None:
    ds = gappy(wind(5, 8, times=8))
    how = {"variable": NAMES, "vector": True, "method": "exact", "scales": 1, "noise_std": 0.3}
    model = ds.gpfill.fit(**how)
    cut = model.reconstruct(tile={"time": 4})
    whole = model.reconstruct()
    error = (cut.mean - whole.mean).to_dataarray() / np.sqrt(whole.variance.to_dataarray().values)
    assert float(np.sqrt((error**2).mean())) < 0.3


def test_scores_of_the_whole_vector_are_those_by_hand(model, truth, ds) -> None:
    found = model.reconstruct()
    scores = found.score(truth)
    hidden = (ds.u.isnull() | ds.v.isnull()).values
    a, b = (np.stack([field[n].values[hidden] for n in NAMES]) for field in (found.mean, truth))
    lengths = [np.linalg.norm(x, axis=0) for x in (a, b)]
    cosine = (a * b).sum(0) / (lengths[0] * lengths[1])
    np.testing.assert_allclose(scores.vector_rmse, np.sqrt(((a - b) ** 2).sum(0).mean()))
    np.testing.assert_allclose(scores.speed_rmse, np.sqrt(np.mean((lengths[0] - lengths[1]) ** 2)))
    np.testing.assert_allclose(scores.speed_bias, np.mean(lengths[0] - lengths[1]))
    np.testing.assert_allclose(scores.angle_mae, np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean(), rtol=1e-4)
    assert scores.angle_mae.attrs["units"] == "degree" and scores.speed_rmse.attrs["units"] == "m s-1"
    assert scores.rmse.dims == ("variable",) and scores.vector_rmse.dims == ()
    assert found.score(truth, dim="lon").angle_mae.dims == ("lat",)
    assert float(found.score(truth, weights="cos_lat").vector_rmse) > 0


def test_a_vector_is_drawn_as_arrows_over_its_speed_or_direction(model, ds) -> None:
    import matplotlib.pyplot as plt

    found = model.reconstruct()
    mesh, quiver = found.plot.arrows()
    assert float(mesh.get_array().max()) == pytest.approx(float(np.hypot(found.mean.u, found.mean.v).max()))
    assert quiver.N > 30
    mesh.figure.canvas.draw()
    mesh, _ = found.plot.arrows("observed", colours="direction", arrows=6)
    assert mesh.get_clim() == (0.0, 360.0)
    plt.close("all")
    with pytest.raises(VariableError, match="Arrows are drawn of the mean, filled or observed values of a vector"):
        found.plot.arrows("std")


# What is refused


@pytest.mark.parametrize(
    ("variable", "said"),
    [("u", "expected the names of two variables"), (("u", "u"), "e.g. `fit"), (["u", "v", "u"], "two variables")],
)
def test_a_vector_has_two_names(ds, variable, said) -> None:
    with pytest.raises(VariableError, match=said):
        ds.gpfill.fit(variable=variable, vector=True)


def test_what_does_not_go_together_is_refused(ds, truth) -> None:
    with pytest.raises(AlignmentError, match=r"'u' has the dimensions 'lat', 'lon' and 'v' 'lon'"):
        ds.assign(v=ds.v.isel(lat=0, drop=True)).gpfill.fit(variable=NAMES, vector=True)
    with pytest.raises(VariableError, match=r"'u' is in 'm s-1' and 'v' in 'knot'. Convert one"):
        ds.assign(v=ds.v.assign_attrs(units="knot")).gpfill.fit(variable=NAMES, vector=True)
    with pytest.raises(VariableError, match="There is no variable 'w'"):
        ds.gpfill.fit(variable=("u", "w"), vector=True)
    with pytest.raises(DataError, match="vector='yes': expected True or False"):
        ds.gpfill.fit(variable=NAMES, vector="yes")
    broken = truth.v.copy()
    broken[2, 3] = np.inf
    with pytest.raises(DataError, match=r"the first at \('component', 'lat', 'lon'\) index \(1, 2, 3\)"):
        ds.assign(v=broken).gpfill.fit(variable=NAMES, vector=True)


def test_what_no_vector_can_be_fitted_with_is_refused(ds) -> None:
    with pytest.raises(MethodError, match="vector=True is for the exact engine and, on lattices, the iterative one"):
        ds.gpfill.fit(variable=NAMES, vector=True, method="vecchia")
    with pytest.raises(KernelError, match="is the same at all places, where east and north are not"):
        ds.gpfill.fit(variable=NAMES, vector=True, space_kernel="constant", combine="product")
    with pytest.raises(DimensionError, match=r"tile= cannot split a vector field or joint.*`tile=\{'time': 30\}`"):
        ds.gpfill.fit(variable=NAMES, vector=True, tile={"lat": 3})
    points = ds.stack(obs=("lat", "lon")).reset_index("obs")
    with pytest.raises(DimensionError, match=r"these data have scattered observations\. Fit the components apart"):
        points.gpfill.fit(variable=NAMES, vector=True, dims=("obs",), coords=("lat", "lon"))


def test_what_the_model_of_both_knows_is_said_where_it_is(model) -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'trend'. What is known of all parts .* at `model.model`"):
        _ = model.trend


def test_components_that_cf_names_the_other_way_round_are_refused(ds) -> None:
    with pytest.raises(
        VariableError, match=r"comes first.*'northward_wind' and 'eastward_wind'.*variable=\('u', 'v'\)"
    ):
        ds.gpfill.fit(variable=("v", "u"), vector=True)


def test_a_component_without_an_observation_is_told_of(ds) -> None:
    with pytest.warns(XgpfillWarning, match=r"'v' has no observation; it is filled from the other component alone"):
        model = ds.assign(v=ds.v * np.nan).gpfill.fit(variable=NAMES, vector=True, method="exact")
    mean, variance = model.reconstruct()
    assert mean.v.notnull().all() and (variance.v_variance > variance.u_variance).mean() > 0.8
