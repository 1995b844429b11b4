"""Lengthscales that change with latitude: engines against the formula of the paper, learned, kept and told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import xarray as xr
import xgpfill
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from xgpfill import RBF, ByLatitude, Matern, Periodic, RationalQuadratic
from xgpfill.covariance.evaluate import Lags, correlation
from xgpfill.errors import KernelError, MethodError
from xgpfill.kernels.reach import finest, reach

from tests import reference as ref

if TYPE_CHECKING:
    from pathlib import Path

TO_POLE, VARIANCE, NOISE = 0.3, 1.7, 0.02
LAT, LON = np.array([-5.0, 10.0, 25.0, 40.0, 55.0]), 10.0 * np.arange(6)
SPACE = Matern(1.5, 1500.0, variance=VARIANCE, fixed=True)
KNOWN: dict[str, Any] = {
    "time_kernel": Matern(0.5, 3.0, fixed=True),
    "space_kernel": ByLatitude(SPACE, to_pole=TO_POLE, fixed=True),
    "noise_variance": NOISE,
    "trend": None,
    "valid": True,
}
PLACES = {
    "sphere": ref.chord,
    "cylinder": ref.cylinder,
    "plane": lambda lat, lon: ref.plane(lat, lon, (25.0, 25.0)),
}
ENGINES = {
    "exact": ("exact", 1e-10),
    "variational": (xgpfill.Variational(num_inducing=200), 1e-9),
    "iterative": (xgpfill.Iterative(tolerance=1e-12), 1e-8),
}


def gappy(lat: Any = LAT, lon: Any = LON, times: int = 4) -> xr.DataArray:
    rng = np.random.default_rng(1)
    shape = times, len(lat), len(lon)
    coords = {"time": np.arange(float(times)), "lat": lat, "lon": lon}
    return xr.DataArray(rng.standard_normal(shape), coords, ["time", "lat", "lon"], "u").where(rng.random(shape) < 0.4)


def by_formula(da: xr.DataArray, places: Any) -> tuple[Any, Any]:
    """Mean and variance of every cell (RW eq. 2.25, 2.26) under the covariance of the paper."""
    t, y, x = (c.ravel() for c in np.meshgrid(da.time, da.lat, da.lon, indexing="ij"))
    north = np.abs(da.lat.values)
    scales = ref.by_latitude(y, TO_POLE, 0.5 * (north.min() + north.max()))
    S = ref.nonstationary(lambda d: ref.matern(d, 1500.0, 1.5), places(y, x), scales)
    K = VARIANCE * ref.matern(ref.distance(t, t), 3.0, 0.5) * S
    seen = np.isfinite(da.values.ravel())
    found = ref.posterior(K[np.ix_(seen, seen)], K[seen], np.diag(K), da.values.ravel()[seen], NOISE)
    return found.mean.reshape(da.shape), found.variance.reshape(da.shape)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("geometry", PLACES)
def test_engines_equal_the_formula_of_the_paper(geometry: str, engine: str) -> None:
    da, (method, close) = gappy(times=2), ENGINES[engine]
    found = da.gpfill.fit(**KNOWN, method=method, geometry=geometry).reconstruct()
    mean, variance = by_formula(da, PLACES[geometry])
    assert_allclose(found.mean, mean, atol=close)
    assert_allclose(found.variance, variance, **({"rtol": 0.3} if engine == "iterative" else {"atol": close}))


def test_around_the_globe_the_operator_equals_the_formula() -> None:
    da = gappy(np.linspace(-90.0, 90.0, 5), 30.0 * np.arange(12), 2)
    model = da.gpfill.fit(**KNOWN, method=xgpfill.Iterative(tolerance=1e-12))
    assert_allclose(model.reconstruct().mean, by_formula(da, ref.chord)[0], atol=1e-8)


@settings(max_examples=20, deadline=None)
@given(
    to_pole=st.floats(0.02, 50.0),
    seed=st.integers(0, 99),
    geometry=st.sampled_from(["sphere", "cylinder", "plane"]),
    kernel=st.sampled_from(
        [Matern(0.5, 3000.0), RBF(800.0), RationalQuadratic(900.0, 2.0), Matern(2.5, 900.0) * RBF(2e3)]
    ),
)
def test_it_is_positive_definite_and_one_at_no_distance(to_pole: float, seed: int, geometry: str, kernel: Any) -> None:
    rng = np.random.default_rng(seed)
    at = PLACES[geometry](rng.uniform(-90, 90, 40), rng.uniform(-170, 170, 40))
    x = torch.as_tensor(at)
    K = correlation(ByLatitude(kernel, to_pole, latitudes=(0.0, 90.0)), Lags.matrix(x, x, geometry)).numpy()
    assert np.linalg.eigvalsh(K)[0] > -1e-9
    assert_allclose(np.diag(K), 1.0, rtol=1e-12)
    plain = correlation(kernel, Lags.matrix(x, x, geometry)).numpy()
    same = correlation(ByLatitude(kernel, 1.0, latitudes=(0.0, 90.0)), Lags.matrix(x, x, geometry)).numpy()
    assert_allclose(same, plain, rtol=1e-12)


def test_it_reaches_as_far_as_the_longest_lengthscale_of_the_data() -> None:
    kernel = ByLatitude(Matern(1.5, 100.0), 0.25, latitudes=(0.0, 45.0))
    assert reach(kernel) == pytest.approx(100.0 * 0.25 ** (-0.25))
    assert finest(kernel) == pytest.approx(100.0 * 0.25**0.25)


# Learning


@pytest.fixture(scope="module")
def learned() -> tuple[Any, xr.DataArray, xr.DataArray]:
    """A field whose lengthscales fall from 900 km at 5° to 200 km at 65°, half of it seen."""
    rng, lat, lon = np.random.default_rng(2), np.arange(5.0, 66.0, 3.0), 3.0 * np.arange(24)
    y, x = (c.ravel() for c in np.meshgrid(lat, lon, indexing="ij"))
    scales = ref.by_latitude(y, 0.1, 35.0)
    at, s = ref.chord(y, x), np.sqrt((scales[:, None] ** 2 + scales**2) / 2)
    K = (scales[:, None] * scales / s**2) ** 1.5 * ref.matern(ref.distance(at, at) / s, 420.0, 1.5)
    L = np.linalg.cholesky(K + 1e-9 * np.eye(len(K)))
    values = (rng.standard_normal((3, len(K))) @ L.T).reshape(3, lat.size, lon.size)
    coords = {"time": np.arange(3.0), "lat": lat, "lon": lon}
    truth = xr.DataArray(values, coords, ["time", "lat", "lon"], "sst")
    seen = (truth + 0.05 * rng.standard_normal(truth.shape)).where(rng.random(truth.shape) < 0.5)
    return seen.gpfill.fit(space_kernel=ByLatitude("matern32"), **LEARN), truth, seen


LEARN: dict[str, Any] = {"time_kernel": None, "calibrate": False, "amplitude": False, "valid": True}


def test_the_law_is_learned_and_gaps_are_filled_better(learned: Any) -> None:
    model, truth, seen = learned
    assert model.hyperparameters.space_to_pole.item() == pytest.approx(0.1, rel=0.35)  # of few numbers
    assert model.hyperparameters.space_0_lengthscale.item() == pytest.approx(420.0, rel=0.2)
    plain = seen.gpfill.fit(**LEARN)
    errors = [(((m.reconstruct().mean - truth) ** 2).where(seen.isnull()).mean() ** 0.5).item() for m in (model, plain)]
    assert errors[0] < 0.97 * errors[1]


def test_it_is_told_and_comes_back(learned: Any, tmp_path: Path) -> None:
    model, _, seen = learned
    q = model.hyperparameters.space_to_pole.item()
    assert f"{q:.3g} × at a pole" in repr(model)
    assert model.hyperparameters.space_kernel.item() == "Matérn-3/2 by latitude"
    model.save(tmp_path / "model.nc")
    again = xgpfill.load(tmp_path / "model.nc")
    other = seen.gpfill.fit(space_kernel=ByLatitude("matern32"), **LEARN, hyperparameters=model.hyperparameters)
    target = {"time": [1.0], "lat": [7.0, 63.0], "lon": [11.0]}
    for found in (again, other):
        assert_allclose(found.reconstruct().mean, model.reconstruct().mean, rtol=1e-9)
        assert_allclose(found.predict(target).variance, model.predict(target).variance, rtol=1e-9)
    assert again.prior == model.prior
    lag = model.covariance(distance=[300.0]).space_covariance.item()  # along a great circle
    chord = 2 * ref.EARTH_RADIUS * np.sin(150.0 / ref.EARTH_RADIUS)
    length, variance = model.hyperparameters.space_0_lengthscale.item(), model.hyperparameters.variance.item()
    assert lag == pytest.approx(variance * float(ref.matern(chord, length, 1.5)), rel=1e-9)
    with pytest.raises(KernelError, match="were learned with Matérn-3/2 by latitude along space"):
        seen.gpfill.fit(**LEARN, hyperparameters=model.hyperparameters)


def test_tiles_vectors_and_joint_variables_take_it() -> None:
    da = gappy(times=6)
    whole = da.gpfill.fit(**KNOWN, method="exact")
    tiled = whole.reconstruct(tile={"time": 3}, halo={"time": 3})
    assert_allclose(tiled.mean, whole.reconstruct().mean, atol=1e-8)
    parts = xr.Dataset({"u": gappy(times=1), "v": gappy(times=1)}).isel(time=0, drop=True)
    how = {name: value for name, value in KNOWN.items() if name not in ("time_kernel", "trend")}
    found = parts.gpfill.fit(variable=("u", "v"), vector=True, method="exact", **how).reconstruct()
    y, x = (c.ravel() for c in np.meshgrid(LAT, LON, indexing="ij"))
    S = ref.nonstationary(lambda d: ref.matern(d, 1500.0, 1.5), ref.chord(y, x), ref.by_latitude(y, TO_POLE, 30.0))
    K, values = VARIANCE * ref.projected(S, y, x), np.concatenate([parts[n].values.ravel() for n in "uv"])
    seen = np.isfinite(values)
    A = K[np.ix_(seen, seen)] + NOISE * np.eye(seen.sum())
    mean = K[:, seen] @ np.linalg.solve(A, values[seen])
    assert_allclose(np.stack([found.mean.u, found.mean.v]).ravel(), mean, atol=1e-9)


# What is refused


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: ByLatitude("periodic"), r"it was given Periodic. Type e.g. `ByLatitude\('matern32'\)`"),
        (lambda: ByLatitude(ByLatitude("rbf")), "it was given ByLatitude"),
        (lambda: ByLatitude(Matern(1.5) + Periodic(3.0)), "it was given Periodic"),
        (lambda: ByLatitude((Matern(1.5), RBF())), "it was given 2 kernels"),
        (lambda: ByLatitude("rbf", to_pole=-1.0), r"ByLatitude\(to_pole=-1.0\): expected a positive"),
        (lambda: ByLatitude("rbf", fixed=True), "ByLatitude is fixed but has no to_pole"),
    ],
)
def test_a_kernel_that_it_cannot_change_is_refused(make: Any, match: str) -> None:
    with pytest.raises(KernelError, match=match):
        make()


def test_where_it_has_no_meaning_it_is_refused() -> None:
    da = gappy()
    flat = da.rename(lat="y", lon="x").assign_coords(y=("y", LAT, {"units": "km"}), x=("x", LON, {"units": "km"}))
    with pytest.raises(KernelError, match="needs latitudes in degrees, and the coordinates of these data have none"):
        flat.gpfill.fit(space_kernel=ByLatitude("rbf"), valid=True)
    with pytest.raises(KernelError, match="ByLatitude is a kernel of space only"):
        da.gpfill.fit(time_kernel=ByLatitude("rbf"), valid=True)
    with pytest.raises(KernelError, match="ByLatitude stands outermost"):
        da.gpfill.fit(space_kernel=Matern(1.5) + ByLatitude("rbf"), valid=True)
    with pytest.raises(MethodError, match=r"pair by pair by formulas, and one of these has none.*ByLatitude"):
        da.gpfill.fit(**KNOWN, method="vecchia").reconstruct()
    with pytest.raises(KernelError, match="does not know the latitudes of the data"):
        xgpfill.prior_covariance([ByLatitude("rbf", 0.5)])
