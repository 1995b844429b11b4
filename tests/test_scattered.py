"""Observations scattered in time and space: fitted, mapped, drawn, saved, as the dense oracle says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import xgpfill
from numpy.testing import assert_allclose
from xgpfill.errors import AlignmentError, TooManyPointsError

from tests import reference as ref

if TYPE_CHECKING:
    from xgpfill.model import FittedModel

SPACE, TIME = xgpfill.Matern(1.5, 400.0, fixed=True), xgpfill.Matern(0.5, 5.0, fixed=True)
KNOWN: dict[str, Any] = {"time_kernel": TIME, "space_kernel": SPACE, "noise_variance": 0.01, "method": "exact"}
GRID = {"time": ["2020-01-05", "2020-01-09"], "lat": [41.0, 42.0, 43.0], "lon": [2.0, 4.0]}


def track(n: int = 60, seed: int = 0) -> xr.DataArray:
    """Unsorted observations of a smooth field, two of them at one place and time."""
    rng = np.random.default_rng(seed)
    lat, lon, day = rng.uniform(40, 44, n), rng.uniform(0, 6, n), rng.uniform(0, 12, n)
    lat[1], lon[1], day[1] = lat[0], lon[0], day[0]
    values = np.sin(lat) + np.cos(lon / 2) * np.sin(day / 4) + 0.1 * rng.standard_normal(n)
    time = pd.Timestamp("2020-01-01") + pd.to_timedelta(day, unit="D")
    coords = {"time": ("obs", time), "lat": ("obs", lat), "lon": ("obs", lon)}
    return xr.DataArray(values, coords, ["obs"], "sla", {"units": "m"})


@pytest.fixture(scope="module")
def da() -> xr.DataArray:
    return track()


@pytest.fixture(scope="module")
def model(da: xr.DataArray) -> FittedModel:
    return da.gpfill.fit(**KNOWN)


def days(time: Any) -> Any:
    return (np.asarray(time, "M8[ns]") - np.datetime64("2020-01-01")) / np.timedelta64(1, "D")


def oracle(model: FittedModel, da: xr.DataArray, time: Any, lat: Any, lon: Any) -> ref.Posterior:
    """The dense posterior of the model's one product at given days and degrees."""
    variance, noise = float(model.hyperparameters.variance[0]), float(model.hyperparameters.noise)

    def covariance(a: Any, b: Any) -> Any:
        (ta, ya, xa), (tb, yb, xb) = a, b
        in_time = ref.matern(ref.distance(ta, tb), 5.0, 0.5)
        return variance * in_time * ref.matern(ref.distance(ref.chord(ya, xa), ref.chord(yb, xb)), 400.0, 1.5)

    seen, asked = (days(da.time), da.lat.values, da.lon.values), (time, lat, lon)
    ones, others = np.ones((da.size, 1)), np.ones((len(time), 1))
    return ref.posterior(
        covariance(seen, seen), covariance(seen, asked), covariance(asked, asked), da.values, noise, ones, others,
        full=True,
    )  # fmt: skip


def test_maps_and_values_at_the_observations_equal_the_oracle(da: xr.DataArray, model: FittedModel) -> None:
    found = model.predict(GRID)
    assert found.mean.dims == ("time", "lat", "lon")
    t, y, x = (c.ravel() for c in np.meshgrid([4.0, 8.0], GRID["lat"], GRID["lon"], indexing="ij"))
    for mean, variance, expected in (
        (*found, oracle(model, da, t, y, x)),
        (*model.reconstruct(), oracle(model, da, days(da.time), da.lat.values, da.lon.values)),
    ):
        assert_allclose(mean.values.ravel(), expected.mean, rtol=1e-6, atol=1e-9)
        assert_allclose(variance.values.ravel(), expected.variance, rtol=1e-6)


def test_the_order_of_observations_is_irrelevant(da: xr.DataArray, model: FittedModel) -> None:
    order = np.random.default_rng(1).permutation(da.size)
    other = da.isel(obs=order).gpfill.fit(**KNOWN, hyperparameters=model.hyperparameters)
    assert_allclose(other.predict(GRID).mean, model.predict(GRID).mean, rtol=1e-6)
    assert_allclose(other.reconstruct().mean, model.reconstruct().mean[order], rtol=1e-6)


def test_time_along_a_track_is_learned_from(da: xr.DataArray) -> None:
    found = da.gpfill.fit(method="exact").hyperparameters
    assert "time_lengthscale" in found
    still = da.drop_vars("time").gpfill.fit(coords=("lat", "lon"), method="exact").hyperparameters
    assert "time_lengthscale" not in still


def test_a_dataset_is_fitted_by_the_coordinates_that_are_named(da: xr.DataArray, model: FittedModel) -> None:
    ds = da.to_dataset().assign(other=da + 1)
    found = ds.gpfill.fit(variable="sla", dims=("obs",), coords=("time", "lat", "lon"), **KNOWN)
    assert_allclose(found.predict(GRID).mean, model.predict(GRID).mean)


def test_gaps_along_a_track_are_filled(da: xr.DataArray) -> None:
    seen = da.where(np.arange(da.size) % 3 > 0)
    before = seen.copy(deep=True)
    found = seen.gpfill.fit(**KNOWN).reconstruct()
    assert bool(found.mean.notnull().all())
    assert float(abs(found.mean - da).mean()) < 0.5 * float(da.std())
    xr.testing.assert_identical(seen, before)


def test_a_model_of_a_track_is_saved_conditioned_and_selected(
    da: xr.DataArray, model: FittedModel, tmp_path: Any
) -> None:
    model.save(tmp_path / "track.nc")
    loaded = xgpfill.load(tmp_path / "track.nc")
    assert_allclose(loaded.predict(GRID).mean, model.predict(GRID).mean)
    assert loaded.layout.roles == model.layout.roles
    model.save(tmp_path / "bare.nc", data=False)
    some = xgpfill.load(tmp_path / "bare.nc").condition(da.isel(obs=slice(20)))
    assert_allclose(some.predict(GRID).mean, model.condition(da.isel(obs=slice(20))).predict(GRID).mean)
    assert model.reconstruct().isel(obs=slice(5)).mean.sizes == {"obs": 5}


def test_lazy_tracks_stay_lazy(da: xr.DataArray, model: FittedModel, request: pytest.FixtureRequest) -> None:
    lazy = da.chunk(obs=20).gpfill.fit(**KNOWN, hyperparameters=model.hyperparameters)
    request.getfixturevalue("nothing_is_computed")
    found, predicted = lazy.reconstruct(), lazy.predict(GRID)
    drawn = lazy.sample(2), lazy.sample(2, target=GRID)
    with dask.config.set(scheduler="synchronous"):
        assert_allclose(found.mean, model.reconstruct().mean, rtol=1e-9)
        assert_allclose(predicted.mean, model.predict(GRID).mean, rtol=1e-9)
        assert_allclose(drawn[0], model.sample(2), rtol=1e-6)
        assert_allclose(drawn[1], model.sample(2, target=GRID), rtol=1e-6)
    assert found.mean.chunksizes == {"obs": (20, 20, 20)}


@pytest.mark.parametrize("noisy", [False, True])
def test_draws_have_the_posterior_mean_and_covariance(model: FittedModel, noisy: bool) -> None:
    target = {"time": "2020-01-05", "lat": 41.5, "lon": [1.0, 1.5, 5.0]}
    drawn = model.sample(1500, target=target, include_noise=noisy)
    mean, covariance = model.predict(target, covariance=True, include_noise=noisy)
    assert drawn.dims == ("sample", "lon")
    size = np.sqrt(np.diag(covariance))
    assert_allclose(drawn.mean("sample"), mean, atol=4 * size.max() / np.sqrt(1500))
    assert_allclose(np.cov(drawn.values.T) / np.outer(size, size), covariance / np.outer(size, size), atol=0.15)
    xr.testing.assert_identical(
        drawn[:2], model.sample(2, target=target, include_noise=noisy).assign_attrs(drawn.attrs)
    )


def test_draws_at_the_observations_have_their_variance(model: FittedModel) -> None:
    drawn, found = model.sample(800, seed=3), model.reconstruct()
    assert drawn.dims == ("sample", "obs")
    assert_allclose(drawn.std("sample") / found.std(), 1.0, atol=0.16)
    assert float(abs((drawn.mean("sample") - found.mean) / found.std()).max()) < 0.18


def test_draws_at_too_many_points_name_what_takes_them(model: FittedModel) -> None:
    lat = np.linspace(40, 44, 6000)
    with pytest.raises(TooManyPointsError, match=r"Draws at 6000 points .*`method='vecchia'`"):
        model.sample(1, target={"time": "2020-01-05", "lat": lat, "lon": 2.0})


@pytest.mark.parametrize("given", [("lat", "lon"), ("time",), ("time", "lat")])
def test_a_target_without_one_of_the_coordinates_is_refused(model: FittedModel, given: tuple[str, ...]) -> None:
    missing = next(name for name in ("time", "lat", "lon") if name not in given)
    with pytest.raises(AlignmentError, match=f"lacks the coordinate '{missing}'.*'time', 'lat', 'lon'"):
        model.predict({name: GRID[name] for name in given})


def test_new_observations_must_have_their_times(da: xr.DataArray, model: FittedModel) -> None:
    with pytest.raises(AlignmentError, match="lack the coordinate 'time' along 'obs'"):
        model.condition(da.drop_vars("time"))


@pytest.mark.parametrize("coords", [("x",), ("x", "y")])
def test_points_without_units_are_kriged_on_a_plane(coords: tuple[str, ...]) -> None:
    rng = np.random.default_rng(2)
    along = {name: ("obs", rng.uniform(0, 1, 80)) for name in coords}
    da = xr.DataArray(np.sin(6 * along["x"][1]), along, ["obs"])
    found = da.gpfill.fit(dims=("obs",), coords=coords).predict({name: np.linspace(0.1, 0.9, 5) for name in coords})
    assert_allclose(found.mean.mean([d for d in found.mean.dims if d != "x"]), np.sin(6 * found.mean.x), atol=0.05)


def test_times_of_one_place_are_a_series(da: xr.DataArray) -> None:
    series = da.drop_vars(["lat", "lon"])
    model = series.gpfill.fit(coords="time", time_kernel=TIME, noise_variance=0.01)
    assert [str(t) for t in model.hyperparameters.term.values] == ["product"]
    assert model.predict({"time": GRID["time"]}).mean.dims == ("time",)


def test_without_noise_the_mean_goes_through_the_values_and_the_jitter_is_told(da: xr.DataArray) -> None:
    some = da.isel(obs=slice(1, None))  # each place once
    model = some.gpfill.fit(**KNOWN | {"noise_variance": 0.0})
    assert_allclose(model.reconstruct().mean, some, atol=1e-4)
    noise = model.hyperparameters.noise
    assert 0 < float(noise) < 1e-6 * float(some.var())
    assert "for the sake of rounding" in noise.attrs["comment"]
    assert "for the sake of rounding" in repr(model)
    assert "comment" not in da.gpfill.fit(**KNOWN).hyperparameters.noise.attrs


def test_repeated_observations_are_repeated_measurements(da: xr.DataArray, model: FittedModel) -> None:
    other = model.condition(da.isel(obs=[5]))
    twice = model.condition(da.isel(obs=[5, 5]))
    point = {"time": da.time.values[5], "lat": da.lat.values[5], "lon": da.lon.values[5]}
    known, again = float(other.predict(point).variance), float(twice.predict(point).variance)
    assert 0 < again < known
