"""Lengthscales that differ to the east and north: engines against the formula, the ratio learned, kept and told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
import xgpfill
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from xgpfill import ByLatitude, Matern
from xgpfill.errors import KernelError, MethodError, VariableError, XgpfillError
from xgpfill.grid.metric import Metric

from tests import reference as ref
from tests.currents import currents
from tests.test_io import edited

if TYPE_CHECKING:
    from pathlib import Path

RATIO, VARIANCE, NOISE = 2.5, 1.7, 0.02
LAT, LON = 35.0 + np.arange(5.0), 2.0 + np.arange(6.0)
KNOWN: dict[str, Any] = {
    "time_kernel": Matern(0.5, 3.0, fixed=True),
    "space_kernel": Matern(1.5, 200.0, variance=VARIANCE, fixed=True),
    "noise_variance": NOISE,
    "trend": None,
    "valid": True,
}
PLACES = {
    "auto": lambda lat, lon: ref.plane(lat, lon, (37.0, 4.5)),
    "plane": lambda lat, lon: ref.plane(lat, lon, (37.0, 4.5)),
    "sphere": ref.chord,
    "cylinder": ref.cylinder,
}
ENGINES = {
    "exact": ("exact", 1e-10),
    "vecchia": (xgpfill.Vecchia(num_neighbours=200), 1e-10),
    "variational": (xgpfill.Variational(num_inducing=200), 1e-10),
    "iterative": (xgpfill.Iterative(tolerance=1e-12), 1e-8),
}


def gappy(shape: tuple[int, int, int] = (4, 5, 6), lat: Any = LAT, lon: Any = LON) -> xr.DataArray:
    rng = np.random.default_rng(1)
    coords = {"time": np.arange(float(shape[0])), "lat": lat, "lon": lon}
    return xr.DataArray(rng.standard_normal(shape), coords, ["time", "lat", "lon"], "u").where(rng.random(shape) < 0.4)


def covariance(da: xr.DataArray, places: Any, ratio: float = RATIO) -> Any:
    """Of every cell with every other, by the oracle."""
    t, y, x = (c.ravel() for c in np.meshgrid(da.time, da.lat, da.lon, indexing="ij"))
    at = ref.anisotropic(places(y, x), ratio)
    return VARIANCE * ref.matern(ref.distance(t, t), 3.0, 0.5) * ref.matern(ref.distance(at, at), 200.0, 1.5)


def by_formula(da: xr.DataArray, K: Any) -> tuple[Any, Any]:
    """Mean and variance of every cell (RW eq. 2.25, 2.26)."""
    seen = np.isfinite(da.values.ravel())
    found = ref.posterior(K[np.ix_(seen, seen)], K[seen], np.diag(K), da.values.ravel()[seen], NOISE)
    return found.mean.reshape(da.shape), found.variance.reshape(da.shape)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("geometry", PLACES)
def test_every_engine_equals_the_formula_in_every_geometry(geometry: str, engine: str) -> None:
    da, (method, close) = gappy(), ENGINES[engine]
    model = da.gpfill.fit(**KNOWN, method=method, geometry=geometry, anisotropy=RATIO)
    found = model.reconstruct()
    mean, variance = by_formula(da, covariance(da, PLACES[geometry]))
    assert_allclose(found.mean, mean, atol=close)
    assert_allclose(found.variance, variance, **({"rtol": 0.3} if engine == "iterative" else {"atol": close}))
    assert model.lattice.space.geometry == ("plane" if geometry == "auto" else geometry)


@pytest.mark.parametrize("geometry", ["sphere", "cylinder"])
def test_around_the_globe_the_operator_equals_the_formula(geometry: str) -> None:
    da = gappy((3, 5, 12), np.linspace(-90.0, 90.0, 5), np.arange(12) * 30.0)
    wide = KNOWN | {"space_kernel": Matern(1.5, 2000.0, variance=VARIANCE, fixed=True)}
    found = da.gpfill.fit(**wide, method=xgpfill.Iterative(tolerance=1e-12), geometry=geometry, anisotropy=RATIO)
    t, y, x = (c.ravel() for c in np.meshgrid(da.time, da.lat, da.lon, indexing="ij"))
    at = ref.anisotropic(PLACES[geometry](y, x), RATIO)
    K = VARIANCE * ref.matern(ref.distance(t, t), 3.0, 0.5) * ref.matern(ref.distance(at, at), 2000.0, 1.5)
    assert_allclose(found.reconstruct().mean, by_formula(da, K)[0], atol=1e-8)


def test_components_of_a_vector_follow_it_too() -> None:
    parts = {name: gappy().isel(time=0, drop=True) for name in "uv"}
    parts["v"] = parts["v"][::-1, ::-1].assign_coords(lat=parts["u"].lat, lon=parts["u"].lon)
    how = KNOWN | {"time_kernel": "matern32"}
    how.pop("trend")
    model = xr.Dataset(parts).gpfill.fit(
        variable=("u", "v"), vector=True, geometry="sphere", anisotropy=RATIO, method="exact", **how
    )
    y, x = (c.ravel() for c in np.meshgrid(LAT, LON, indexing="ij"))
    at = ref.anisotropic(ref.chord(y, x), RATIO)
    K = VARIANCE * ref.projected(ref.matern(ref.distance(at, at), 200.0, 1.5), y, x)
    both = xr.DataArray(np.stack([parts[n].values for n in "uv"]))
    mean, variance = by_formula(both, K)
    found = model.reconstruct()
    assert_allclose(np.stack([found.mean.u, found.mean.v]), mean, atol=1e-9)
    assert_allclose(np.stack([found.variance.u_variance, found.variance.v_variance]), variance, atol=1e-9)


@pytest.mark.parametrize(
    ("lat", "lon", "geometry"),
    [
        (LAT, LON, "plane"),
        (LAT, (LON - 5.0) % 360.0, "plane"),  # across the first meridian
        (np.array([10.0, 70.0]), LON, "sphere"),  # parallels of very different length
        (LAT, np.linspace(0.0, 200.0, 6), "sphere"),
        (np.linspace(-90, 90, 5), np.arange(6) * 60.0, "sphere"),
    ],
)
def test_a_region_is_a_plane_and_what_is_wider_a_sphere(lat: Any, lon: Any, geometry: str) -> None:
    da = gappy((2, len(lat), len(lon)), lat, np.sort(lon))
    assert da.gpfill.fit(**KNOWN, anisotropy=2.0).lattice.space.geometry == geometry


@settings(max_examples=20, deadline=None)
@given(ratio=st.floats(0.1, 10.0), seed=st.integers(0, 99), geometry=st.sampled_from(["sphere", "cylinder", "plane"]))
def test_covariances_are_positive_definite_and_the_same_on_all_meridians(
    ratio: float, seed: int, geometry: str
) -> None:
    rng = np.random.default_rng(seed)
    lat, lon = rng.uniform(-90, 90, 40), rng.uniform(-170, 170, 40)
    metric = Metric(geometry, degrees=True, anisotropy=ratio)
    at, moved = metric.embed(lat, lon), metric.embed(lat, lon + 7.0)
    K, L = (ref.matern(ref.distance(x, x), 3000.0, 1.5) for x in (at, moved))
    assert np.linalg.eigvalsh(K)[0] > -1e-10
    assert_allclose(K, L, atol=1e-9)
    assert_allclose(at, ref.anisotropic(Metric(geometry, degrees=True).embed(lat, lon), ratio), rtol=1e-12)


def test_a_ratio_of_one_changes_nothing() -> None:
    da = gappy()
    plain = da.gpfill.fit(**KNOWN, geometry="sphere").reconstruct()
    same = da.gpfill.fit(**KNOWN, geometry="sphere", anisotropy=1.0).reconstruct()
    assert_array_equal(plain.mean, same.mean)
    assert_array_equal(plain.variance, same.variance)


# Learning


def error(model: Any, truth: xr.DataArray, seen: xr.DataArray) -> float:
    return float((((model.reconstruct().mean - truth) ** 2).where(seen.isnull()).mean()) ** 0.5)


LEARN: dict[str, Any] = {"combine": "product", "calibrate": False, "valid": True}


@pytest.fixture(scope="module")
def learned() -> tuple[Any, xr.DataArray, xr.DataArray]:
    truth, seen = currents(2.5, 0)
    return seen.gpfill.fit(anisotropy=True, **LEARN), truth, seen


def test_the_ratio_is_learned_and_gaps_are_filled_better(learned: Any) -> None:
    model, truth, seen = learned
    assert float(model.hyperparameters.anisotropy) == pytest.approx(2.5, rel=0.2)  # of few numbers
    plain = seen.gpfill.fit(**LEARN)
    assert error(model, truth, seen) < 0.95 * error(plain, truth, seen)
    assert "anisotropy" not in plain.hyperparameters


def test_it_is_told_with_the_lengthscales(learned: Any) -> None:
    model, *_ = learned
    ratio = float(model.hyperparameters.anisotropy)
    said = f"lengthscales of space are those to the north; to the east they are {ratio:.3g} times as long."
    assert said in repr(model)
    assert said in model._repr_html_()
    assert "times as long at the equator" in repr(gappy().gpfill.fit(**KNOWN, geometry="sphere", anisotropy=2.0))
    assert "Anisotropy" not in repr(gappy().gpfill.fit(**KNOWN))
    assert model.hyperparameters.anisotropy.attrs["units"] == "1"
    lag = float(model.covariance(distance=[50.0]).space_covariance.sum())
    length, variance = model.hyperparameters.space_lengthscale.item(), model.hyperparameters.variance.item()
    assert lag == pytest.approx(variance * float(ref.matern(50.0, length, 1.5)), rel=1e-9)
    assert_allclose(model.variogram(bins=4).space_learned[0], model.variogram(bins=4).space_variogram[0], rtol=0.5)


def test_it_comes_back_from_a_file_and_from_hyperparameters(learned: Any, tmp_path: Path) -> None:
    model, _, seen = learned
    model.save(tmp_path / "model.nc")
    expected, target = model.reconstruct(), {"time": [0.5], "y": [33.0, 500.0], "x": [12.0]}
    again = xgpfill.load(tmp_path / "model.nc")
    how: dict[str, Any] = LEARN | {"hyperparameters": model.hyperparameters}
    for other in (again, seen.gpfill.fit(**how), seen.gpfill.fit(anisotropy=True, **how)):
        assert_allclose(other.reconstruct().mean, expected.mean, rtol=1e-9)
        assert_allclose(other.predict(target).variance, model.predict(target).variance, rtol=1e-9)
        assert_allclose(other.hyperparameters.anisotropy, model.hyperparameters.anisotropy)
    later = again.condition(seen.isel(time=slice(2, 5)))
    assert later.layout.metric == model.layout.metric


def test_a_file_of_before_there_was_a_ratio_is_read_as_without_one(tmp_path: Path) -> None:
    model = gappy().gpfill.fit(**KNOWN, geometry="sphere")
    model.save(tmp_path / "model.nc")

    def older(state: dict[str, Any]) -> None:
        state["format"] = 4
        state["metric"].pop("anisotropy")

    again = xgpfill.load(edited(tmp_path / "model.nc", older))
    assert again.layout.metric.anisotropy == 1.0
    assert_array_equal(again.reconstruct().mean, model.reconstruct().mean)


def test_tiles_and_samples_know_it() -> None:
    da = gappy((6, 5, 6))
    whole = da.gpfill.fit(**KNOWN, anisotropy=RATIO, method="exact")
    tiled = whole.reconstruct(tile={"time": 3}, halo={"time": 3})
    assert_allclose(tiled.mean, whole.reconstruct().mean, atol=1e-8)
    target = {"time": [1.0], "lat": [36.2], "lon": [3.1, 6.0]}
    _, joint = whole.predict(target, covariance=True)
    drawn = whole.sample(400, target=target).values.reshape(400, 2)
    assert_allclose(np.cov(drawn.T), np.asarray(joint).reshape(2, 2), atol=0.3)


def test_what_is_near_data_is_so_in_kilometres_all_the_same() -> None:
    da = gappy((1, 5, 6)).where(gappy((1, 5, 6)).lon == 4.0)
    kept = [
        da.gpfill.fit(**KNOWN, geometry="plane", anisotropy=ratio).reconstruct().near_data(max_distance=120.0)
        for ratio in (None, 3.0)
    ]
    assert 0 < int(kept[0].mean.notnull().sum()) < da.size
    assert_array_equal(kept[0].mean.notnull(), kept[1].mean.notnull())


# What is refused


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"anisotropy": -1.0}, r"anisotropy=-1.0: expected how many times as long .*such as 2.0; True to learn it"),
        ({"anisotropy": "east"}, r"anisotropy='east': expected how many times"),
        ({"anisotropy": np.inf}, r"anisotropy=inf: expected how many times"),
        ({"anisotropy": 2.0, "space_kernel": "periodic"}, r"read the two directions of space themselves. Leave"),
        ({"anisotropy": True, "space_kernel": lambda a, b: a @ b.T}, r"read the two directions of space themselves"),
        ({"anisotropy": 2.0, "space_kernel": None}, r"`space_kernel`, and None has none. Leave `anisotropy=` out"),
        ({"anisotropy": True, "space_kernel": "constant"}, r"and 'constant' has none"),
        (KNOWN | {"anisotropy": True}, r"all other numbers are given and held.*Give the ratio, e.g. `anisotropy=2.0`"),
    ],
)
def test_a_ratio_that_makes_no_sense_is_refused(arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(KernelError, match=match):
        gappy().gpfill.fit(**arguments)


@pytest.mark.parametrize("geometry", ["plane", "sphere", "cylinder"])
@pytest.mark.parametrize("dim", ["lat", "lon"])
def test_places_on_one_line_tell_no_ratio(dim: str, geometry: str) -> None:
    with pytest.raises(KernelError, match="all these places lie on one line"):
        gappy().isel({dim: [2]}).gpfill.fit(anisotropy=True, geometry=geometry, valid=True)


def test_hyperparameters_of_another_ratio_are_refused(learned: Any) -> None:
    model, _, seen = learned
    how: dict[str, Any] = LEARN | {"hyperparameters": model.hyperparameters}
    with pytest.raises(KernelError, match=r"were learned with lengthscales 2\.\d+ times .*anisotropy=7 says otherwise"):
        seen.gpfill.fit(anisotropy=7.0, **how)
    how["hyperparameters"] = model.hyperparameters.drop_vars("anisotropy")
    with pytest.raises(KernelError, match="hold no anisotropy, and nothing is learned beside them"):
        seen.gpfill.fit(anisotropy=True, **how)


def test_joint_variables_have_none() -> None:
    both = xr.Dataset({"a": gappy(), "b": gappy()})
    with pytest.raises(VariableError, match=r"anisotropy= with joint=True.*fit\(variable=\[...\]\)"):
        both.gpfill.fit(variable=["a", "b"], joint=True, anisotropy=True)
    assert issubclass(VariableError, XgpfillError)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"anisotropy": 2.0, "barrier": True}, r"anisotropy= was asked for together with barrier="),
        ({"anisotropy": True, "depth": True}, r"anisotropy= was asked for together with a fitted depth \('depth'"),
        ({"space_kernel": ByLatitude("matern32"), "depth": True}, r"ByLatitude was asked for together with a fitted"),
    ],
)
def test_land_and_depth_are_refused_beside_lengthscales_that_follow_the_field(how: dict[str, Any], said: str) -> None:
    lat, lon = ("lat", np.arange(40.0, 46.0)), ("lon", np.arange(5.0))
    da = xr.DataArray(np.random.default_rng(0).standard_normal((2, 6, 5)), coords=[("depth", [0.0, 10.0]), lat, lon])
    options = dict(how)
    if options.pop("depth", False):
        options["dims"] = ("depth", "lat", "lon")
    if "barrier" in options:
        options["barrier"] = xr.zeros_like(da[0], dtype=bool).reset_coords(drop=True)
    with pytest.raises(MethodError, match=said):
        da.gpfill.fit(**options)


def test_a_ratio_of_other_hyperparameters_is_not_dropped_by_false() -> None:
    _, seen = currents(2.0, seed=0)
    model = seen.isel(time=slice(2)).gpfill.fit(anisotropy=2.0, valid=True, method="exact", amplitude=False)
    with pytest.raises(KernelError, match=r"were learned with lengthscales 2 times as long"):
        seen.isel(time=slice(2)).gpfill.fit(hyperparameters=model.hyperparameters, anisotropy=False, valid=True)
