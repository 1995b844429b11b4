"""`method="vecchia"` as users meet it: chosen and told why, mapped, drawn, lazy, saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import pytest
import xarray as xr
import xgpfill
from numpy.testing import assert_allclose

from tests.test_scattered import GRID, KNOWN, track

if TYPE_CHECKING:
    from xgpfill.model import FittedModel

ALL = KNOWN | {"method": xgpfill.Vecchia(num_neighbours=1000)}


@pytest.fixture(scope="module")
def da() -> xr.DataArray:
    return track(80)


@pytest.fixture(scope="module")
def exact(da: xr.DataArray) -> FittedModel:
    return da.gpfill.fit(**KNOWN)


@pytest.fixture(scope="module")
def model(da: xr.DataArray, exact: FittedModel) -> FittedModel:
    return da.gpfill.fit(**ALL, hyperparameters=exact.hyperparameters)


def test_with_all_neighbours_maps_are_those_of_the_exact_engine(model: FittedModel, exact: FittedModel) -> None:
    for found, expected in ((model.predict(GRID), exact.predict(GRID)), (model.reconstruct(), exact.reconstruct())):
        assert_allclose(found.mean, expected.mean, rtol=1e-6, atol=1e-9)
        assert_allclose(found.variance, expected.variance, rtol=1e-6)
    assert_allclose(model.trend.to_array(), exact.trend.to_array(), rtol=1e-6)
    joint, expected = (m.predict(GRID, covariance=True)[1] for m in (model, exact))
    assert_allclose(joint, expected, rtol=1e-6, atol=1e-9)
    average, expected = (m.predict(GRID).average("lat") for m in (model, exact))
    assert_allclose(average.variance, expected.variance, rtol=1e-6)


def test_draws_have_the_variance_of_the_field_at_the_data_and_at_a_target(model: FittedModel) -> None:
    for drawn, found in (
        (model.sample(1500, seed=1), model.reconstruct()),
        (model.sample(1500, target=GRID), model.predict(GRID)),
    ):
        assert_allclose(drawn.std("sample") / found.std(), 1.0, atol=0.12)
        assert float(abs((drawn.mean("sample") - found.mean) / found.std()).max()) < 0.15


def test_lattices_are_filled_by_neighbours_as_well(ds: xr.Dataset) -> None:
    ds = ds.isel(time=slice(0, 3))
    exact = ds.sst.gpfill.fit(valid=ds.valid, method="exact")
    known = {"valid": ds.valid, "hyperparameters": exact.hyperparameters}
    found = ds.sst.gpfill.fit(**known, method=xgpfill.Vecchia(5000))
    assert_allclose(found.reconstruct().mean, exact.reconstruct().mean, rtol=1e-6)
    assert found.sample(2).dims == ("sample", *ds.sst.dims)


def test_many_points_are_iterated_on_or_taken_by_neighbours_and_the_reason_is_told() -> None:
    many = track(4100)
    choice = xgpfill.select_method(many)
    assert choice.settings == xgpfill.Iterative()
    assert "4100 observations" in choice.reason and "without a matrix" in choice.reason
    model = many.gpfill.fit(**KNOWN | {"method": "vecchia"}, calibrate=False, amplitude=False)
    assert "vecchia engine" in repr(model)
    known = {"calibrate": False, "amplitude": False, "hyperparameters": model.hyperparameters}
    iterated = many.gpfill.fit(**KNOWN | {"method": "auto"}, **known)
    assert "iterative engine" in repr(iterated)
    dense = many.gpfill.fit(**KNOWN, calibrate=False, amplitude=False, hyperparameters=model.hyperparameters)
    found, expected = model.predict(GRID), dense.predict(GRID)
    assert float((((found.mean - expected.mean) / expected.std()) ** 2).mean() ** 0.5) < 0.5
    ratio = found.std() / expected.std()  # what some observations say is never more than what all do
    assert bool((ratio > 0.999).all()) and float(ratio.max()) < 1.3
    found = iterated.predict(GRID)
    assert float(abs((found.mean - expected.mean) / expected.std()).max()) < 0.05
    assert_allclose(found.std(), expected.std(), rtol=0.01)


def test_a_curvilinear_grid_of_many_places_is_no_longer_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xgpfill.operators.suits.MAX_DENSE_SITES", 100)
    rng = np.random.default_rng(0)
    y, x = np.meshgrid(np.linspace(40, 44, 70), np.linspace(0, 6, 70), indexing="ij")
    cells = {"lat": (("j", "i"), y + 0.1 * np.sin(x)), "lon": (("j", "i"), x + 0.1 * np.cos(y))}
    da = xr.DataArray(np.sin(y) + np.cos(x), cells, ("j", "i"), "h").where(rng.uniform(size=y.shape) > 0.1)
    assert xgpfill.select_method(da).settings == xgpfill.Iterative()
    model = da.gpfill.fit(space_kernel=xgpfill.Matern(1.5, 300.0, fixed=True), calibrate=False, amplitude=False)
    error = (model.reconstruct().mean - (np.sin(y) + np.cos(x))).where(da.isnull())
    assert float(np.sqrt((error**2).mean())) < 0.01


def test_lazy_data_stay_lazy(da: xr.DataArray, model: FittedModel, request: pytest.FixtureRequest) -> None:
    lazy = da.chunk(obs=30).gpfill.fit(**ALL, hyperparameters=model.hyperparameters)
    request.getfixturevalue("nothing_is_computed")
    found, drawn = lazy.predict(GRID), lazy.sample(2)
    with dask.config.set(scheduler="synchronous"):
        assert_allclose(found.mean, model.predict(GRID).mean, rtol=1e-9)
        assert_allclose(drawn, model.sample(2), rtol=1e-9)


def test_a_model_is_saved_with_its_settings(model: FittedModel, tmp_path: Any) -> None:
    model.save(tmp_path / "model.zarr")
    loaded = xgpfill.load(tmp_path / "model.zarr")
    assert loaded.settings == model.settings
    assert_allclose(loaded.predict(GRID).variance, model.predict(GRID).variance)
