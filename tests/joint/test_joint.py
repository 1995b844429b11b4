"""Variables fitted together: a linear model of coregionalisation, each variable in its own units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dask
import numpy as np
import pytest
import xarray as xr
import xgpfill
from numpy.testing import assert_allclose
from xgpfill.errors import AlignmentError, DimensionError, MethodError, VariableError, XgpfillError, XgpfillWarning

from tests import reference as ref

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ["sst", "chl"]
LAT, LON, NT = np.linspace(30.0, 40.0, 6), np.linspace(0.0, 10.0, 6), 6
UNITS = {"sst": (15.0, 2.0, "degC"), "chl": (0.4, -0.1, "mg m-3")}


def pair(correlation, *, seed=0, times=NT):
    """Two fields of one covariance with this correlation, in degrees and in milligrams."""
    rng = np.random.default_rng(seed)
    places = ref.chord(*(x.ravel() for x in np.meshgrid(LAT, LON, indexing="ij")))
    S, T = (
        ref.matern(ref.distance(places, places), 500.0, 1.5),
        ref.matern(ref.distance(np.arange(times), np.arange(times)), 3.0, 1.5),
    )
    in_space, in_time = (np.linalg.cholesky(K + 1e-9 * np.eye(len(K))) for K in (S, T))
    a, b = (in_time @ rng.standard_normal((times, len(places))) @ in_space.T for _ in range(2))
    fields = {"sst": a, "chl": correlation * a + np.sqrt(1 - correlation**2) * b}
    coords = {
        "time": np.datetime64("2021-01-01") + np.arange(times).astype("timedelta64[D]"),
        "lat": ("lat", LAT, {"units": "degrees_north"}), "lon": ("lon", LON, {"units": "degrees_east"}),
    }  # fmt: skip
    shape = (times, LAT.size, LON.size)
    found = {
        name: (
            ("time", "lat", "lon"),
            (shift + scale * fields[name]).reshape(shape),
            {"units": units, "long_name": name},
        )
        for name, (shift, scale, units) in UNITS.items()
    }
    return xr.Dataset(found, coords)


def gappy(truth, *, seed=0):
    """The north of one and the south of the other hidden most of the time, single cells at random."""
    rng, north = np.random.default_rng(seed), xr.DataArray(LAT > 35.0, dims="lat")
    often = xr.DataArray(rng.random(truth.sizes["time"]) < 0.7, dims="time")
    seen = {"sst": ~(north & often), "chl": ~(~north & often)}
    noise = {name: 0.1 * abs(scale) * rng.standard_normal(truth[name].shape) for name, (_, scale, _) in UNITS.items()}
    hidden = {
        n: (truth[n] + noise[n]).where(seen[n] & (truth[n].copy(data=rng.random(truth[n].shape)) < 0.8)) for n in NAMES
    }
    return xr.Dataset({n: da.transpose(*truth[n].dims).assign_attrs(truth[n].attrs) for n, da in hidden.items()})


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    return pair(0.95)


@pytest.fixture(scope="module")
def ds(truth: xr.Dataset) -> xr.Dataset:
    return gappy(truth)


HOW = {"variable": NAMES, "joint": True, "scales": 1, "valid": True}


@pytest.fixture(scope="module")
def model(ds: xr.Dataset) -> xgpfill.FittedJoint:
    return ds.gpfill.fit(**HOW, method="exact")


def dense(model, ds):
    """The joint prior covariance of all cells in data units, variable by variable, from the numbers of the model."""
    numbers = model.hyperparameters
    places = ref.chord(*(x.ravel() for x in np.meshgrid(ds.lat, ds.lon, indexing="ij")))
    lag, d = ref.distance(np.arange(ds.sizes["time"]), np.arange(ds.sizes["time"])), ref.distance(places, places)
    total = 0.0
    for term in numbers.term.values:
        own = numbers.sel(term=term)
        in_time, in_space = (
            np.ones_like(x) if np.isnan(length) else ref.matern(x, float(length), 1.5)
            for x, length in ((lag, own.time_lengthscale), (d, own.space_lengthscale))
        )
        loading = own.loading.values * numbers.scale.values
        total = total + float(own.variance) * np.kron(np.outer(loading, loading), np.kron(in_time, in_space))
    return total


def posterior(model, ds):
    """Mean (2 n,) and covariance (2 n, 2 n) by dense algebra in numpy."""
    K, numbers = dense(model, ds), model.hyperparameters
    y = np.concatenate([(ds[n].values - float(numbers["shift"].sel(variable=n))).ravel() for n in NAMES])
    noise = np.repeat([model.reconstruct().noise[n].values.ravel()[0] for n in NAMES], y.size // 2)
    seen = np.isfinite(y)
    A = K[np.ix_(seen, seen)] + np.diag(noise[seen])
    mean = K[:, seen] @ np.linalg.solve(A, y[seen]) + np.repeat(numbers["shift"].values, y.size // 2)
    return mean, K - K[:, seen] @ np.linalg.solve(A, K[seen])


# The answers


def test_the_exact_posterior_is_that_of_the_dense_coregionalised_kernel_in_the_units_of_each(model, ds) -> None:
    mean, variance = model.reconstruct()
    expected, spread = posterior(model, ds)
    for number, name in enumerate(NAMES):
        part = slice(number * ds[name].size, (number + 1) * ds[name].size)
        scale = float(model.hyperparameters.scale[number])
        assert_allclose(mean[name].values.ravel(), expected[part], atol=1e-6 * scale)
        assert_allclose(
            variance[f"{name}_variance"].values.ravel(), spread.diagonal()[part], rtol=1e-6, atol=1e-9 * scale**2
        )
        assert mean[name].attrs["units"] == UNITS[name][2]


def test_the_iterative_engine_agrees_with_the_exact_one(model, ds) -> None:
    found = ds.gpfill.fit(**HOW, method=xgpfill.Iterative(tolerance=1e-5)).reconstruct()
    mean, variance = model.reconstruct()
    for name in NAMES:
        sd = np.sqrt(variance[f"{name}_variance"])
        assert float((abs(found.mean[name] - mean[name]) / sd).max()) < 1e-3
        assert float(abs(found.std()[f"{name}_std"] / sd - 1).median()) < 0.1


def test_each_variable_helps_to_fill_the_gaps_of_the_other(model, ds, truth) -> None:
    alone = ds.gpfill.fit(variable=NAMES, scales=1, valid=True, method="exact").reconstruct()
    together = model.reconstruct()
    for name in NAMES:
        gaps = ds[name].isnull()
        both, one = (float((((r.mean[name] - truth[name]) ** 2).where(gaps)).mean() ** 0.5) for r in (together, alone))
        assert both < 0.8 * one
    loading = model.hyperparameters.loading
    assert (
        float(loading.prod("variable").sel(term=["sst_product", "chl_product"]).max()) < 0.0
    )  # chl falls as sst rises


def test_variables_that_tell_nothing_of_each_other_stay_apart_and_a_warning_says_so() -> None:
    ds = gappy(pair(0.0, seed=1), seed=1)
    with pytest.warns(
        XgpfillWarning, match="'sst', 'chl' tell too little of each other.*are fitted apart. Leave `joint="
    ):
        found = ds.gpfill.fit(**HOW, method="exact")
    assert isinstance(found, xgpfill.FittedDataset)
    apart = ds.gpfill.fit(variable=NAMES, scales=1, valid=True, method="exact").reconstruct()
    xr.testing.assert_identical(found.reconstruct().mean, apart.mean)


def test_predictions_at_cells_are_the_reconstruction_there(model) -> None:
    whole = model.reconstruct(include_noise=True)
    found = model.predict({"lat": LAT[1:3], "lon": LON[2:4]}, include_noise=True)
    for name in NAMES:
        there = {"lat": slice(1, 3), "lon": slice(2, 4)}
        assert_allclose(found.mean[name], whole.mean[name].isel(there), rtol=1e-6)
        assert_allclose(found.variance[f"{name}_variance"], whole.variance[f"{name}_variance"].isel(there), rtol=1e-6)


def test_joint_covariances_and_averages_are_those_of_the_dense_posterior(model, ds) -> None:
    expected, K = posterior(model, ds)
    mean, joint = model.predict({"time": ds.time[:2], "lat": LAT, "lon": LON}, covariance=True)
    assert list(mean) == NAMES
    n, per = 2 * LAT.size * LON.size, ds.sst.size
    index = np.r_[np.arange(n), per + np.arange(n)]
    scale = np.repeat(model.hyperparameters.scale.values, n)
    assert_allclose(joint.values / np.outer(scale, scale), K[np.ix_(index, index)] / np.outer(scale, scale), atol=1e-6)
    for found in (model.reconstruct().average(["time", "lat", "lon"]), model.aggregate(xr.ones_like(ds.sst))):
        for number, name in enumerate(NAMES):
            part = slice(number * per, (number + 1) * per)
            assert_allclose(found.mean[name], expected[part].mean(), rtol=1e-6)
            assert_allclose(found.variance[f"{name}_variance"], K[part, part].mean(), rtol=1e-5)


def test_draws_have_the_posterior_moments_of_both_in_their_units(model) -> None:
    draws, found = model.sample(300, seed=1), model.reconstruct()
    for name in NAMES:
        sd = found.std()[f"{name}_std"]
        assert float((abs(draws[name].mean("sample") - found.mean[name]) / sd).mean()) < 0.1
        assert 0.9 < float((draws[name].std("sample") / sd).mean()) < 1.1
    there = model.sample(2, target={"lat": [33.0], "lon": [4.0]}, seed=1)
    assert there.chl.sizes["sample"] == 2


def test_gaps_noise_validity_and_types_may_differ(truth) -> None:
    ds = gappy(truth)
    ds["chl"] = ds.chl.astype("float32")
    sea = xr.DataArray(np.arange(LON.size) > 0, dims="lon")
    valid = xr.Dataset({"sst": xr.ones_like(truth.sst, bool), "chl": sea & xr.ones_like(truth.chl, bool)})
    errors = xr.Dataset({"sst": xr.full_like(truth.sst, 0.2), "chl": xr.full_like(truth.chl, 0.01)})
    found = ds.where(valid).gpfill.fit(**HOW | {"valid": valid}, noise_std=errors, method="exact").reconstruct()
    assert found.mean.chl.dtype == np.float32
    assert found.mean.chl.isel(lon=0).isnull().all()
    assert not found.mean.sst.isnull().any()
    assert found.noise["chl"].values.max() < 0.01 < found.noise["sst"].values.min()


# Other data, files, lazy data


def test_a_saved_model_answers_as_before_and_conditions_on_the_same_data_alike(model, ds, tmp_path: Path) -> None:
    model.save(tmp_path / "joint.nc")
    found, expected = xgpfill.load(tmp_path / "joint.nc"), model.reconstruct()
    assert isinstance(found, xgpfill.FittedJoint)
    again = found.condition(ds, valid=True)
    for other in (found, again):
        r = other.reconstruct()
        xr.testing.assert_allclose(r.mean, expected.mean)
        xr.testing.assert_allclose(r.variance, expected.variance)
        for bound, known in zip(r.interval(0.9), expected.interval(0.9), strict=True):
            xr.testing.assert_allclose(bound, known)
    assert "FittedJoint of 'sst', 'chl'" in repr(found)


def test_lazy_data_stay_lazy_and_give_the_same(ds, model) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was computed")

    lazy = ds.gpfill.fit(**HOW, method="exact").condition(ds.chunk({"time": 3}), valid=True)
    with dask.config.set(scheduler=refuse):
        found = lazy.reconstruct()
        drawn = lazy.sample(2)
    assert found.mean.chl.chunks == ds.chunk({"time": 3}).chl.chunks
    assert drawn.sst.chunks is not None
    xr.testing.assert_allclose(found.mean.compute(scheduler="sync"), model.reconstruct().mean)


# What is refused


def test_what_cannot_be_fitted_together_is_refused(ds, model) -> None:
    with pytest.raises(VariableError, match=r"joint=True with variable='sst': expected the names of two or more"):
        ds.gpfill.fit(variable="sst", joint=True)
    with pytest.raises(VariableError, match="vector=True and joint=True exclude each other"):
        ds.gpfill.fit(**HOW, vector=True)
    with pytest.raises(VariableError, match="joint=True learns what variables share: leave `hyperparameters=` out"):
        ds.gpfill.fit(**HOW, hyperparameters=model.hyperparameters)
    with pytest.raises(
        DimensionError, match=r"'member' are independent fields. Select one, e.g. `ds.isel\(member=0\)`"
    ):
        ds.expand_dims(member=2).gpfill.fit(**HOW, dims=("time", "lat", "lon"), method="exact")
    with pytest.raises(MethodError, match="joint=True is for the exact engine and, on lattices, the iterative one"):
        ds.gpfill.fit(**HOW, method="vecchia")
    with pytest.raises(AlignmentError, match="'sst' is in 'K', but the model was fitted in 'degC'"):
        model.condition(ds.assign(sst=ds.sst.assign_attrs(units="K")))
    with pytest.raises(AlignmentError, match="Joint variables lie on the same cells, but 'sst' has the dimensions"):
        model.condition(ds.assign(chl=ds.chl.isel(time=0, drop=True)))
    with pytest.raises(XgpfillError, match="normalize=False gives sums"):
        model.aggregate(xr.ones_like(ds.sst), normalize=False)
    with pytest.raises(XgpfillError, match="Draws of joint variables at a target are of the field alone"):
        model.sample(1, target={"lat": [33.0], "lon": [4.0]}, include_noise=True)
