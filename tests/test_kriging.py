"""Kriging with everything given: kernel, variance, mean and ridge, as the textbook's formula in plain numpy says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import xgpfill
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from xgpfill import RBF, Brownian, Constant, FromFunction, Matern, Periodic, RationalQuadratic, Spectral
from xgpfill.errors import DataError, KernelError, XgpfillError

from tests import reference as ref

if TYPE_CHECKING:
    from collections.abc import Callable

VARIANCE, RIDGE, MEAN = 1.7, 0.02, 4.0
START = np.datetime64("2020-01-01", "ns")


class Case(NamedTuple):
    """Points of some kind, how they are fitted, and their covariance."""

    coords: Callable[[Any], dict[str, Any]]
    arguments: dict[str, Any]
    covariance: Callable[[Any, Any], Any]


def _dates(days: Any) -> Any:
    return START + pd.to_timedelta(days, unit="D").to_numpy()


def _exponential(a: Any, b: Any) -> Any:
    return VARIANCE * ref.matern(ref.distance(a, b), 2.0, 0.5)


def _on_sphere(a: Any, b: Any) -> Any:
    return VARIANCE * ref.matern(ref.distance(ref.chord(*a.T), ref.chord(*b.T)), 300.0, 1.5)


KERNEL, FAR = Matern(0.5, 2.0, variance=VARIANCE, fixed=True), Matern(1.5, 300.0, variance=VARIANCE, fixed=True)
CASES = {
    "a line": Case(lambda p: {"x": p[:, 0]}, {"space_kernel": KERNEL}, lambda a, b: _exponential(a[:, :1], b[:, :1])),
    "a plane": Case(lambda p: {"x": p[:, 0], "y": p[:, 1]}, {"space_kernel": KERNEL}, _exponential),
    "a sphere": Case(lambda p: {"lat": p[:, 0], "lon": p[:, 1]}, {"space_kernel": FAR}, _on_sphere),
    "times": Case(
        lambda p: {"time": _dates(p[:, 0])}, {"time_kernel": KERNEL}, lambda a, b: _exponential(a[:, :1], b[:, :1])
    ),
}


def points(n: int, case: Case, seed: int = 0) -> tuple[Any, xr.DataArray]:
    """Observations of noise about the mean at `n` places; n = 0 is one place that was not observed."""
    rng = np.random.default_rng(seed)
    at = rng.uniform(0, 10, (max(n, 1), 2))
    if "time" in case.coords(at):
        at[0] = 0.0  # days count from the first
    values = MEAN + rng.standard_normal(len(at)) if n else np.array([np.nan])
    coords = {name: ("obs", c) for name, c in case.coords(at).items()}
    return at, xr.DataArray(values, coords, ["obs"], "z", {"units": "m"})


def target_of(case: Case, at: Any) -> dict[str, Any]:
    return {name: xr.DataArray(c, dims="target") for name, c in case.coords(at).items()}


def fitted(da: xr.DataArray, case: Case, **options: Any) -> Any:
    names = tuple(da.coords)
    return da.gpfill.fit(dims=("obs",), coords=names, noise_variance=RIDGE, **case.arguments, **options)


def simple(case: Case, at: Any, y: Any, asked: Any, mean: float) -> tuple[Any, Any]:
    """Mean and joint covariance: m + k(K + αI)⁻¹(y − m), k** − k(K + αI)⁻¹k."""
    K, k = case.covariance(at, at) + RIDGE * np.eye(len(at)), case.covariance(at, asked)
    return mean + k.T @ np.linalg.solve(K, y - mean), case.covariance(asked, asked) - k.T @ np.linalg.solve(K, k)


# Points


@pytest.mark.parametrize("trend", [None, MEAN])
@pytest.mark.parametrize("n", [40, 1])
@pytest.mark.parametrize("name", CASES)
def test_points_are_kriged_as_the_textbook_says(name: str, n: int, trend: float | None) -> None:
    case, asked = CASES[name], np.random.default_rng(9).uniform(0, 12, (15, 2))
    at, da = points(n, case)
    model = fitted(da, case, trend=trend)
    mean, joint = simple(case, at, da.values, asked, trend or 0.0)
    found, covariance = model.predict(target_of(case, asked), covariance=True)
    assert_allclose(found, mean, rtol=1e-10, atol=1e-10)
    assert_allclose(covariance, joint, rtol=1e-10, atol=1e-10)
    assert_allclose(model.predict(target_of(case, asked)).variance, np.diag(joint), rtol=1e-9)
    assert model.record.evaluations == 0
    assert float(model.hyperparameters.variance.item()) == pytest.approx(VARIANCE, rel=1e-12)


@pytest.mark.parametrize("method", [xgpfill.Vecchia(num_neighbours=40), xgpfill.Variational(num_inducing=40), "exact"])
@pytest.mark.parametrize("name", CASES)
def test_every_engine_for_points_gives_the_same(name: str, method: Any) -> None:
    case, asked = CASES[name], np.random.default_rng(9).uniform(0, 12, (15, 2))
    at, da = points(40, case)
    found = fitted(da, case, trend=MEAN, method=method).predict(target_of(case, asked))
    mean, joint = simple(case, at, da.values, asked, MEAN)
    assert_allclose(found.mean, mean, atol=1e-10)
    assert_allclose(found.variance, np.diag(joint), atol=1e-10)


@pytest.mark.parametrize("trend", [None, MEAN])
@pytest.mark.parametrize("name", CASES)
def test_without_any_observation_it_is_the_prior(name: str, trend: float | None) -> None:
    case, asked = CASES[name], np.random.default_rng(9).uniform(0, 12, (5, 2))
    _, da = points(0, case)
    model = fitted(da, case, trend=trend, valid=True)
    mean, joint = model.predict(target_of(case, asked), covariance=True)
    assert_allclose(mean, trend or 0.0)
    assert_allclose(joint, case.covariance(asked, asked), rtol=1e-12)
    drawn = model.sample(800, target=target_of(case, asked)).values - (trend or 0.0)
    assert_allclose(np.cov(drawn.T), joint, atol=5 * VARIANCE * np.sqrt(2 / 800))
    assert_allclose(model.reconstruct().variance, VARIANCE, rtol=1e-10)


def test_an_unknown_mean_is_that_of_ordinary_kriging() -> None:
    case = CASES["a plane"]
    at, da = points(30, case)
    asked = at[:4] + 0.3
    found = fitted(da, case).predict(target_of(case, asked))
    K, k, one = case.covariance(at, at) + RIDGE * np.eye(30), case.covariance(at, asked), np.ones(30)
    A = np.linalg.inv(K)
    beta = one @ A @ da.values / (one @ A @ one)
    r = 1.0 - one @ A @ k
    assert_allclose(found.mean, beta + k.T @ A @ (da.values - beta), rtol=1e-10)
    assert_allclose(found.variance, VARIANCE - np.diag(k.T @ A @ k) + r**2 / (one @ A @ one), rtol=1e-9)


@settings(max_examples=15, deadline=None)
@given(factor=st.floats(1e-3, 1e3), offset=st.floats(-1e3, 1e3))
def test_other_units_give_the_same_in_other_units(factor: float, offset: float) -> None:
    case = CASES["a line"]
    _, da = points(8, case)
    target = {"x": [0.5, 3.0, 11.0]}
    kernel = Matern(0.5, 2.0, variance=VARIANCE * factor**2, fixed=True)
    how: dict[str, Any] = {"dims": ("obs",), "coords": ("x",), "space_kernel": kernel}
    noise, mean = RIDGE * factor**2, MEAN * factor + offset
    one = fitted(da, case, trend=MEAN).predict(target)
    other = (factor * da + offset).gpfill.fit(**how, noise_variance=noise, trend=mean).predict(target)
    assert_allclose(other.mean, factor * one.mean + offset, rtol=1e-9, atol=1e-9 * factor)
    assert_allclose(other.variance, factor**2 * one.variance, rtol=1e-9)


# Lattices


def lattice() -> xr.DataArray:
    rng = np.random.default_rng(1)
    values = MEAN + rng.standard_normal((4, 5, 6))
    coords = {"time": _dates(np.arange(4.0)), "lat": 40.0 + np.arange(5), "lon": 2.0 + np.arange(6)}
    return xr.DataArray(values, coords, ["time", "lat", "lon"], "z").where(rng.random((4, 5, 6)) < 0.4)


IN_TIME, IN_SPACE = Matern(0.5, 3.0, fixed=True), Matern(1.5, 200.0, variance=VARIANCE, fixed=True)
GIVEN: dict[str, Any] = {"time_kernel": IN_TIME, "space_kernel": IN_SPACE, "noise_variance": RIDGE, "valid": True}


def on_lattice(da: xr.DataArray) -> tuple[Any, Any]:
    """Mean and variance of every cell by the formula."""
    t, y, x = (c.ravel() for c in np.meshgrid(np.arange(4.0), da.lat, da.lon, indexing="ij"))
    K = VARIANCE * ref.matern(ref.distance(t, t), 3.0, 0.5)
    K = K * ref.matern(ref.distance(ref.chord(y, x), ref.chord(y, x)), 200.0, 1.5)
    seen = np.isfinite(da.values.ravel())
    A, k = K[np.ix_(seen, seen)] + RIDGE * np.eye(seen.sum()), K[seen]
    mean = MEAN + k.T @ np.linalg.solve(A, da.values.ravel()[seen] - MEAN)
    return mean.reshape(da.shape), (np.diag(K) - np.sum(k * np.linalg.solve(A, k), axis=0)).reshape(da.shape)


@pytest.mark.parametrize(
    ("method", "close"),
    [
        ("exact", 1e-10),
        (xgpfill.Vecchia(num_neighbours=200), 1e-10),
        (xgpfill.Variational(num_inducing=200), 1e-10),
        (xgpfill.Iterative(tolerance=1e-12), 1e-8),
    ],
    ids=lambda value: type(value).__name__,
)
def test_lattices_are_kriged_as_the_textbook_says(method: Any, close: float) -> None:
    da = lattice()
    found = da.gpfill.fit(**GIVEN, trend=MEAN, method=method).reconstruct()
    mean, variance = on_lattice(da)
    assert_allclose(found.mean, mean, atol=close)
    if not isinstance(method, xgpfill.Iterative):
        assert_allclose(found.variance, variance, atol=close)
    assert_allclose(found.variance, variance, rtol=0.3)


def test_lazy_data_are_kriged_without_being_computed(request: pytest.FixtureRequest) -> None:
    da = lattice()
    model = da.chunk(time=2).gpfill.fit(**GIVEN, trend=MEAN, method="exact")
    request.getfixturevalue("nothing_is_computed")
    found = model.reconstruct()
    with dask.config.set(scheduler="synchronous"):
        assert_allclose(found.mean, on_lattice(da)[0], atol=1e-10)


def test_fields_of_other_spread_have_the_variance_that_was_given() -> None:
    da = lattice()
    both = xr.concat([da, MEAN + 10 * (da - MEAN)], "member").assign_coords(member=[1, 2])
    found = both.gpfill.fit(dims=("time", "lat", "lon"), **GIVEN, trend=MEAN, method="exact").reconstruct()
    assert_allclose(found.variance.isel(member=0), found.variance.isel(member=1), rtol=1e-10)
    assert_allclose(found.mean.isel(member=1) - MEAN, 10 * (found.mean.isel(member=0) - MEAN), atol=1e-9)
    assert_allclose(found.mean.isel(member=0), on_lattice(da)[0], atol=1e-10)


def test_data_of_one_value_are_kriged_too() -> None:
    da = lattice() * 0 + 5.0
    found = da.gpfill.fit(**GIVEN, trend=MEAN, method="exact").reconstruct()
    assert_allclose(found.mean, on_lattice(da)[0], atol=1e-10)


def test_known_standard_errors_are_left_as_they_are() -> None:
    case = CASES["a plane"]
    at, da = points(20, case)
    errors = da * 0 + np.linspace(0.1, 0.5, 20)
    model = da.gpfill.fit(
        dims=("obs",), coords=("x", "y"), **case.arguments, noise_std=errors, noise_fixed=True, trend=None
    )
    K, k = case.covariance(at, at) + np.diag(errors.values**2), case.covariance(at, at[:3] + 0.1)
    found = model.predict(target_of(case, at[:3] + 0.1))
    assert_allclose(found.mean, k.T @ np.linalg.solve(K, da.values), rtol=1e-10)


# Kernels


def wiener(x: Any, y: Any) -> Any:
    return np.minimum(x, y.T)


LINE: dict[str, Any] = {"dims": ("time",), "noise_variance": RIDGE, "trend": None, "method": "exact"}
KERNELS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "rbf": (RBF(2.0, variance=0.7, fixed=True), lambda d: 0.7 * ref.rbf(d, 2.0)),
    "rational": (
        RationalQuadratic(2.0, 0.5, variance=0.7, fixed=True),
        lambda d: 0.7 * ref.rational_quadratic(d, 2.0, 0.5),
    ),
    "periodic": (Periodic(3.0, 1.2, variance=0.7, fixed=True), lambda d: 0.7 * ref.periodic(d, 3.0, 1.2)),
    "spectral": (
        Spectral(1, (1.0,), (0.2,), (0.1,), variance=0.7, fixed=True),
        lambda d: 0.7 * ref.spectral(d, [1.0], [0.2], [0.1]),
    ),
    "constant": (Constant(variance=0.7, fixed=True), lambda d: 0.7 * np.ones_like(d)),
    "sum": (
        RBF(2.0, variance=0.7, fixed=True) + Matern(0.5, 5.0, variance=0.2, fixed=True),
        lambda d: 0.7 * ref.rbf(d, 2.0) + 0.2 * ref.matern(d, 5.0, 0.5),
    ),
    "product": (
        RBF(2.0, variance=0.7, fixed=True) * Periodic(3.0, 1.2, fixed=True),
        lambda d: 0.7 * ref.rbf(d, 2.0) * ref.periodic(d, 3.0, 1.2),
    ),
    "function": (
        FromFunction(lambda x, y: np.exp(-np.abs(x - y.T)), name="f", variance=0.7, fixed=True),
        lambda d: 0.7 * np.exp(-d),
    ),
}


def series(n: int = 12) -> tuple[Any, xr.DataArray]:
    days = np.r_[0.0, np.sort(np.random.default_rng(2).uniform(0.5, 10, n - 1))]
    return days, xr.DataArray(np.sin(days), {"time": _dates(days)}, ["time"], "z")


@pytest.mark.parametrize("name", KERNELS)
def test_every_kernel_takes_its_variance(name: str) -> None:
    kernel, covariance = KERNELS[name]
    days, da = series()
    asked = np.array([0.3, 4.0, 9.0])
    found = da.gpfill.fit(time_kernel=kernel, **LINE).predict({"time": _dates(asked)})
    K, k = (covariance(ref.distance(days, other)) for other in (days, asked))
    A = K + RIDGE * np.eye(days.size)
    assert_allclose(found.mean, k.T @ np.linalg.solve(A, da.values), atol=1e-9)
    assert_allclose(found.variance, 0.7 + 0.2 * (name == "sum") - np.sum(k * np.linalg.solve(A, k), axis=0), atol=1e-9)


@pytest.mark.parametrize(
    "kernel", [FromFunction(wiener, variance=1.3, fixed=True), Brownian(1e-12, True, 0.0, 1.0, variance=1.3)]
)
def test_brownian_motion_is_kriged_by_a_users_function_as_by_its_own_kernel(kernel: Any) -> None:
    days, da = series()
    asked = np.array([0.3, 4.0, 9.0])
    mean, joint = da.gpfill.fit(time_kernel=kernel, **LINE).predict({"time": _dates(asked)}, covariance=True)
    A, k = 1.3 * np.minimum.outer(days, days) + RIDGE * np.eye(days.size), 1.3 * np.minimum.outer(days, asked)
    assert_allclose(mean, k.T @ np.linalg.solve(A, da.values), atol=1e-9)
    assert_allclose(joint, 1.3 * np.minimum.outer(asked, asked) - k.T @ np.linalg.solve(A, k), atol=1e-9)


def test_variances_of_time_and_space_are_multiplied_and_those_of_a_sum_are_apart() -> None:
    da, time = lattice(), Matern(0.5, 3.0, variance=0.5, fixed=True)
    how: dict[str, Any] = {"space_kernel": IN_SPACE, "noise_variance": RIDGE, "method": "exact", "valid": True}
    how["trend"] = None
    product = da.gpfill.fit(time_kernel=time, **how).hyperparameters
    assert_allclose(product.variance, [0.5 * VARIANCE])
    apart = da.gpfill.fit(time_kernel=time, combine="sum", **how)
    assert_allclose(apart.hyperparameters.variance.sel(term=["space", "time"]), [VARIANCE, 0.5])
    assert apart.record.evaluations == 0


def test_a_held_variance_stays_while_lengthscales_are_learned() -> None:
    ds = xgpfill.datasets.synthetic_sst(days=6, nlat=8, nlon=8)
    kernel = Matern(1.5, 150.0, variance=2.5, fixed=True)
    model = ds.sst.gpfill.fit(space_kernel=kernel, valid=ds.valid, method="exact", calibrate=False)
    assert model.record.evaluations > 0
    assert_allclose(model.hyperparameters.variance, [2.5], rtol=1e-12)
    assert model.scaling.amplitude is None


def test_a_variance_that_is_not_held_is_where_learning_starts() -> None:
    ds = xgpfill.datasets.synthetic_sst(days=6, nlat=8, nlon=8)
    kernel = Matern(1.5, 150.0, variance=2.5)
    model = ds.sst.gpfill.fit(space_kernel=kernel, valid=ds.valid, method="exact", combine="product")
    assert abs(float(model.hyperparameters.variance.item()) - 2.5) > 1e-3


# The model


def test_a_kriged_model_is_saved_loaded_and_conditioned(tmp_path: Any) -> None:
    case = CASES["a plane"]
    at, da = points(20, case)
    model, target = fitted(da, case, trend=MEAN), target_of(case, np.full((1, 2), 3.0))
    assert "The mean is known: 4 m." in repr(model)
    assert (model.trend["mean"].item(), model.trend.mean_standard_error.item()) == (MEAN, 0.0)
    model.save(tmp_path / "kriged.nc")
    loaded = xgpfill.load(tmp_path / "kriged.nc")
    xr.testing.assert_identical(loaded.predict(target).mean, model.predict(target).mean)
    few = loaded.condition(da[:5]).predict(target)
    assert_allclose(few.mean, simple(case, at[:5], da.values[:5], np.full((1, 2), 3.0), MEAN)[0], rtol=1e-10)
    assert loaded.condition(da[:5]).intervals is None


def test_intervals_are_those_of_the_normal_law() -> None:
    found = fitted(points(40, CASES["a plane"])[1], CASES["a plane"], trend=MEAN)
    assert_allclose(found.calibration.half_width, found.calibration.normal_half_width)


# What is refused


@pytest.mark.parametrize(
    ("error", "options", "match"),
    [
        (DataError, {"trend": "linear"}, r"trend='linear': expected 'constant' .*None .* number.*`fit\(trend=None\)`"),
        (DataError, {"trend": np.nan}, r"trend=nan: expected 'constant'"),
        (DataError, {"trend": True}, r"trend=True: expected 'constant'"),
        (
            KernelError,
            {"space_kernel": RBF(2.0, variance=1.0) + Matern(0.5, 1.0)},
            r"variances of some of its parts; expected one of each.*`RBF\(30\.0, variance=2\.0\)",
        ),
    ],
)
def test_what_cannot_be_kriged_says_what_to_type(
    error: type[XgpfillError], options: dict[str, Any], match: str
) -> None:
    case = CASES["a line"]
    how = {"dims": ("obs",), "coords": ("x",), "noise_variance": RIDGE, **case.arguments}
    with pytest.raises(error, match=match):
        points(5, case)[1].gpfill.fit(**(how | options))


def test_an_unknown_mean_needs_an_observation() -> None:
    with pytest.raises(
        DataError, match=r"'z' has no observation at all .*which could tell the mean.*`fit\(trend=0\.0\)`"
    ):
        fitted(points(0, CASES["a line"])[1], CASES["a line"], valid=True)


@pytest.mark.parametrize("make", [Matern, RBF, Constant, Spectral, Brownian])
@pytest.mark.parametrize("variance", [0.0, -1.0, np.inf, "much"])
def test_a_variance_is_positive(make: Any, variance: Any) -> None:
    with pytest.raises(
        KernelError, match=rf"{make.__name__}\(variance=.*expected a positive, finite number in squared"
    ):
        make(variance=variance)


def test_a_vector_has_no_level() -> None:
    ds = xgpfill.datasets.synthetic_sst(days=2, nlat=5, nlon=5)
    both = xr.Dataset({"u": ds.truth.fillna(0.0), "v": ds.truth.fillna(1.0)})
    with pytest.raises(DataError, match=r"trend=3\.0 with vector=True: the components of a vector have no level"):
        both.gpfill.fit(variable=("u", "v"), vector=True, trend=3.0)
