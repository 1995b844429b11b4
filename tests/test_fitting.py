"""Arguments of fit that are refused, with what to type instead, and before anything is learned."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
import xgpfill
from xgpfill.datasets import synthetic_sst
from xgpfill.errors import (
    AlignmentError,
    CoordinateError,
    DataError,
    DeviceError,
    DimensionError,
    KernelError,
    MethodError,
    NoiseError,
    TooManyPointsError,
    XgpfillError,
    XgpfillWarning,
)
from xgpfill.layout.encode import encode
from xgpfill.learning.gaps import pools
from xgpfill.options import checked_dtype, checked_seed, progress_bar, resolve_device, show_progress
from xgpfill.settings import as_settings

from tests import reference as ref


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    return synthetic_sst(days=4, nlat=6, nlon=7)


@pytest.fixture
def nothing_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xgpfill.learning.steps.learn", lambda *a, **k: pytest.fail("learned"))
    monkeypatch.setattr("xgpfill.learning.elbo.learn_elbo", lambda *a, **k: pytest.fail("learned"))


REFUSED: list[tuple[dict[str, Any], type[XgpfillError], str]] = [
    ({"check": "all"}, DataError, r"check='all': choose 'blocks' .* or 'full'"),
    ({"check": None}, DataError, r"check=None: choose 'blocks'"),
    (
        {"noise": -0.1},
        NoiseError,
        r"noise=-0\.1: expected None \(learn it\), a variance of at least zero in",
    ),
    ({"noise": np.inf}, NoiseError, r"noise=inf: expected None"),
    (
        {"noise_std": -0.1},
        NoiseError,
        r"noise_std=-0\.1: expected None \(learn it\), a standard deviation of at least zero",
    ),
    (
        {"noise_variance": "a"},
        NoiseError,
        r"noise_variance='a': expected None \(learn it\), a variance of at least zero",
    ),
    ({"noise": 0.1, "noise_std": 0.3}, NoiseError, r"'noise', 'noise_std' were given together.*Type `noise_std=`"),
    ({"noise_fixed": True}, NoiseError, r"noise_fixed=True holds the noise, and none was given.*`noise_std=0\.3`"),
    ({"noise_std": 0.1, "noise_fixed": 1}, DataError, r"noise_fixed=1: expected True or False"),
    ({"noise": np.nan}, NoiseError, r"noise=nan: expected None"),
    ({"noise": True}, NoiseError, r"noise=True: expected None"),
    ({"noise": "low"}, NoiseError, r"noise='low': expected None .* or a DataArray of standard errors"),
    (
        {"noise": np.full((4, 6, 7), 0.1)},
        NoiseError,
        r"noise=<ndarray of shape \(4, 6, 7\)>: .*or a DataArray of standard errors",
    ),
    (
        {"method": "magic"},
        MethodError,
        r"Unknown method 'magic'. Choose 'auto', 'exact', 'iterative', 'variational'.*Variational\(",
    ),
    ({"method": None}, MethodError, r"Unknown method None"),
    ({"method": xgpfill.Exact}, MethodError, r"method=Exact is a class. Type `method=xgpfill\.Exact\(\)`"),
    ({"device": "tpu"}, DeviceError, r"Unknown device 'tpu'. Choose one of 'auto', 'cpu', 'cuda'"),
    ({"device": None}, DeviceError, r"Unknown device None"),
    ({"dtype": "float16"}, MethodError, r"dtype='float16': choose 'float64' or 'float32'"),
    ({"dtype": np.float32}, MethodError, r"dtype=<class .*choose 'float64' or 'float32'"),
    ({"seed": -1}, DataError, r"seed=-1: expected an integer of at least zero"),
    ({"seed": 1.0}, DataError, r"seed=1\.0: expected an integer"),
    ({"seed": None}, DataError, r"seed=None: expected an integer"),
    ({"seed": True}, DataError, r"seed=True: expected an integer"),
    (
        {"geometry": "flat"},
        CoordinateError,
        r"Unknown geometry 'flat'. Choose one of 'auto', 'sphere', 'cyl",
    ),
    ({"combine": "both"}, KernelError, r"combine='both'. Choose one of 'anova', 'product', 'sum'"),
    ({"scales": 0}, KernelError, r"scales=0: expected a positive integer"),
    ({"scales": 1.5}, KernelError, r"scales=1\.5: expected a positive integer"),
    ({"time_kernel": "matern72"}, KernelError, r"Unknown kernel 'matern72'. Known names are 'rbf', 'matern'"),
    ({"space_kernel": 3}, KernelError, r"Unknown kernel 3"),
    ({"space_kernel": "brownian"}, KernelError, r"brownian is a kernel of time only"),
    ({"space_kernel": "periodic", "geometry": "sphere"}, KernelError, r"periodic and spectral.*geometry='plane'"),
    ({"dims": ("time", "depth")}, DimensionError, r"Dimension 'depth' is not in the data.*fit\(dims="),
    ({"dims": ()}, DimensionError, r"expected at least one name"),
    ({"dims": ("time", "time")}, DimensionError, r"each once"),
    ({"dims": {"q": "lat"}}, DimensionError, r"Unknown role 'q' in dims"),
    ({"hyperparameters": {"noise": 1.0}}, KernelError, r"not a Dataset of hyperparameters"),
    ({"valid": np.ones((6, 7), bool)}, AlignmentError, r"`valid` is a ndarray; expected a DataArray"),
    ({"valid": False}, AlignmentError, r"`valid` is a bool; expected a DataArray"),
]


@pytest.mark.parametrize(("argument", "error", "match"), REFUSED, ids=[str(a)[:50] for a, _, _ in REFUSED])
def test_an_argument_that_makes_no_sense_is_refused(ds, nothing_is_learned: None, argument, error, match: str) -> None:
    with pytest.raises(error, match=match):
        ds.sst.gpfill.fit(**{"valid": ds.valid, **argument})


@pytest.mark.parametrize("error", sorted({e for _, e, _ in REFUSED}, key=lambda e: e.__name__))
def test_every_error_is_a_value_error_of_ours(error: type[Exception]) -> None:
    assert issubclass(error, XgpfillError)
    assert issubclass(error, ValueError)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (
            lambda v: v.isel(lat=slice(3)),
            AlignmentError,
            r"`valid` does not lie on the grid.*valid\.reindex_like\(",
        ),
        (lambda v: v.assign_coords(lat=v.lat + 0.1), AlignmentError, r"`valid` does not lie on the grid"),
        (lambda v: v.rename(lat="y"), AlignmentError, r"`valid` has dimension\(s\) 'y' that the data lack"),
        (lambda v: 2 * v.astype(int), AlignmentError, r"`valid` holds 2; expected True where.*`valid=mask == 1`"),
        (lambda v: v & False, DataError, r"no observation at all"),
    ],
)
def test_a_valid_that_does_not_fit_is_refused(ds, nothing_is_learned: None, change, error, match: str) -> None:
    with pytest.raises(error, match=match):
        ds.sst.gpfill.fit(valid=change(ds.valid))


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda e: e.isel(lat=slice(3)), AlignmentError, r"`noise` does not lie on the grid"),
        (lambda e: e.rename(lat="y"), AlignmentError, r"`noise` has dimension\(s\) 'y' that the data lack"),
        (lambda e: 0 * e, NoiseError, r"missing, zero or negative at \d+ observed cell\(s\).*da\.where\(noise > 0\)"),
        (lambda e: -e, NoiseError, r"missing, zero or negative"),
        (lambda e: e.where(e.lat > 40), NoiseError, r"missing, zero or negative"),
        (lambda e: e + np.inf, NoiseError, r"missing, zero or negative"),
    ],
)
def test_standard_errors_that_do_not_fit_are_refused(ds, nothing_is_learned: None, change, error, match: str) -> None:
    with pytest.raises(error, match=match):
        ds.sst.gpfill.fit(valid=ds.valid, noise=change(xr.full_like(ds.sst, 0.1)))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda da: da.where(False),
            r"'sst' has no observation at all \(every value is NaN\).*da\.notnull\(\)",
        ),
        (lambda da: da.where(da == da.max()), r"'sst' has one observation only; at least two"),
        (lambda da: xr.full_like(da, 3.0), r"'sst' is constant: all 168 observations equal 3\.0.*da\.fillna\(3\.0\)"),
        (lambda da: xr.full_like(da, 0.1).rename(None), r"the data is constant"),
        (lambda da: da.where(da.lat > 38, np.inf), r"infinite value\(s\), the first at \('time', 'lat', 'lon'\) index"),
        (lambda da: da.astype(complex), r"dtype complex128; expected real numbers.*da\.astype\(float\)"),
        (lambda da: da.astype(str), r"dtype <U\d+; expected real numbers"),
        (lambda da: da.isel(time=slice(0)), r"The data are empty: their sizes are \{'time': 0"),
    ],
)
def test_data_that_hold_nothing_to_learn_are_refused(
    ds: xr.Dataset, nothing_is_learned: None, change, match: str
) -> None:
    with pytest.raises(DataError, match=match):
        change(ds.sst).gpfill.fit(valid=True)


@pytest.mark.parametrize("value", [1e-3, 0.1, 273.15, -1e6, 1e30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_field_is_recognised_whatever_its_value(ds, nothing_is_learned: None, value: float, dtype) -> None:
    with pytest.raises(DataError, match="is constant"):
        xr.full_like(ds.sst, value, dtype=dtype).gpfill.fit(valid=True)


# Settings


@pytest.mark.parametrize("value", [0, -1, 2.5, True, "many", None])
@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (xgpfill.Exact, "max_observations"),
        (xgpfill.Variational, "num_inducing"),
        (xgpfill.Variational, "batch_size"),
        (xgpfill.Variational, "epochs"),
    ],
)
def test_settings_that_count_must_be_positive_integers(cls: type, name: str, value: object) -> None:
    with pytest.raises(MethodError, match=rf"{cls.__name__}\({name}=.*\): expected a positive integer"):
        cls(**{name: value})


@pytest.mark.parametrize("value", [-0.1, 1.0, 2, float("nan"), "a", None])
def test_the_share_held_out_must_be_a_share(value: object) -> None:
    with pytest.raises(MethodError, match=r"Variational\(validation=.*\): expected a share of at least 0, below 1"):
        xgpfill.Variational(validation=value)


def test_the_way_to_train_must_be_one_of_two() -> None:
    with pytest.raises(MethodError, match=r"Variational\(train='mcmc'\): choose 'composite' or 'elbo'"):
        xgpfill.Variational(train="mcmc")


def test_methods_are_named_by_a_string_or_by_settings() -> None:
    assert as_settings("auto") is None
    assert as_settings("exact") == xgpfill.Exact()
    assert as_settings("variational") == xgpfill.Variational()
    mine = xgpfill.Variational(num_inducing=7)
    assert as_settings(mine) is mine


def test_numpy_integers_are_integers() -> None:
    assert xgpfill.Variational(num_inducing=np.int64(7)).num_inducing == 7
    assert checked_seed(np.int64(3)) == 3
    assert type(checked_seed(np.int64(3))) is int


def test_too_many_observations_for_the_exact_engine_say_how_much_memory_and_name_another(ds: xr.Dataset) -> None:
    few = {"valid": ds.valid, "method": xgpfill.Exact(max_observations=10), "scales": 1}
    said = r"GiB.*max_observations=10.*method='variational'.*tile="
    with pytest.raises(TooManyPointsError, match=said) as raised:
        ds.sst.gpfill.fit(**few)  # before anything is learned
    assert isinstance(raised.value, MethodError)
    in_one_tile = ds.sst.gpfill.fit(**few, tile={"time": 1000})
    with pytest.raises(TooManyPointsError, match=said):
        in_one_tile.reconstruct()


# Options


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device in ("cuda", "cuda:1"):
        with pytest.raises(DeviceError, match=rf"device='{device}' was asked for, but torch finds no GPU"):
            resolve_device(device)
    assert resolve_device("auto") == resolve_device("cpu") == "cpu"


def test_a_gpu_that_is_there_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == "cuda"
    assert resolve_device("cuda:1") == "cuda:1"
    assert resolve_device("cpu") == "cpu"
    with pytest.raises(DeviceError, match=r"device='cuda:7' was asked for, but torch finds 2 GPU\(s\).*'cuda:1'"):
        resolve_device("cuda:7")


@pytest.mark.parametrize("device", ["cudax", "cuda:x", "cuda:-1", "gpu", "", 0, None, ["cpu"]])
def test_an_unknown_device_lists_what_exists(monkeypatch: pytest.MonkeyPatch, device: object) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(DeviceError, match=r"Unknown device .*'auto', 'cpu', 'cuda'"):
        resolve_device(device)


def test_a_dtype_is_one_of_two() -> None:
    assert checked_dtype("float32") == "float32"
    with pytest.raises(MethodError, match=r"choose 'float64' or 'float32'"):
        checked_dtype("double")


def test_progress_is_shown_only_when_asked_or_watched(capsys, ds: xr.Dataset, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", object())
    assert show_progress(None)  # in a notebook
    monkeypatch.delitem(sys.modules, "ipykernel")
    assert show_progress(True)
    assert not show_progress(False)
    assert not show_progress(None)
    ds.sst.gpfill.fit(valid=ds.valid, method="exact", scales=1).reconstruct()
    assert capsys.readouterr() == ("", "")
    ds.sst.gpfill.fit(valid=ds.valid, method="exact", scales=1, progress=True)
    shown = capsys.readouterr()
    assert not shown.out
    assert "Learning" in shown.err


def test_a_progress_bar_that_is_off_prints_nothing(capsys) -> None:
    with progress_bar("Working", False, total=3) as step:
        step()
    assert capsys.readouterr() == ("", "")


# What fit decides


def test_auto_names_the_engine_and_why(ds: xr.Dataset) -> None:
    choice = xgpfill.select_method(ds.sst)
    assert choice.settings == xgpfill.Exact()
    assert "observations in a field" in choice.reason
    lazy = xgpfill.select_method(ds.sst.chunk(time=1))
    assert lazy.settings == xgpfill.Exact()
    many = xr.DataArray(np.zeros((20, 20, 20)), dims=("time", "y", "x"))
    assert isinstance(xgpfill.select_method(many).settings, xgpfill.Iterative)
    lat, lon = np.random.default_rng(0).uniform((-60, 0), (60, 360), (24_000, 2)).T
    scattered = xr.DataArray(np.zeros(24_000), dims="site", coords={"lat": ("site", lat), "lon": ("site", lon)})
    assert isinstance(xgpfill.select_method(scattered).settings, xgpfill.Vecchia)
    assert isinstance(xgpfill.select_method(scattered[:12_000]).settings, xgpfill.Iterative)


def test_numbers_given_in_kernels_are_where_learning_starts_or_what_stays(ds: xr.Dataset) -> None:
    fixed = xgpfill.Matern(1.5, lengthscale=250.0, fixed=True)
    table = ds.sst.gpfill.fit(valid=ds.valid, method="exact", space_kernel=fixed).hyperparameters
    assert table.term.values.tolist() == ["product"]
    np.testing.assert_allclose(table.space_lengthscale, 250.0)
    started = xgpfill.Matern(1.5, lengthscale=250.0)
    table = ds.sst.gpfill.fit(valid=ds.valid, method="exact", space_kernel=started).hyperparameters
    assert table.term.values.tolist() == ["static", "common", "slow", "fast"]


@pytest.mark.parametrize(
    ("arguments", "terms"),
    [
        ({}, ["static", "common", "slow", "fast"]),
        ({"scales": 1}, ["static", "common", "product"]),
        ({"combine": "product"}, ["product"]),
        ({"combine": "sum"}, ["space", "time"]),
        ({"time_kernel": None}, ["product"]),
        ({"space_kernel": None}, ["product"]),
    ],
)
def test_the_terms_are_those_that_the_arguments_mean(ds: xr.Dataset, arguments: dict[str, Any], terms) -> None:
    model = ds.sst.gpfill.fit(valid=ds.valid, method="exact", **arguments)
    assert model.hyperparameters.term.values.tolist() == terms


# Smoothness, noise and intervals


@pytest.fixture(scope="module")
def rough_in_space() -> xr.DataArray:
    """A draw that is exponential in space and smooth in time, with gaps."""
    rng = np.random.default_rng(0)
    day, y, x = np.arange(30.0), 50.0 * np.arange(7), 50.0 * np.arange(7)
    sites = np.stack(np.meshgrid(y, x, indexing="ij"), -1).reshape(-1, 2)
    time = ref.matern(ref.distance(day, day), 2.5, 2.5)
    space = ref.matern(ref.distance(sites, sites), 300.0, 0.5)
    roots = [np.linalg.cholesky(K + 1e-10 * np.eye(len(K))) for K in (time, space)]
    values = (roots[0] @ rng.standard_normal((30, 49)) @ roots[1].T).reshape(30, 7, 7)
    values += 0.02 * rng.standard_normal(values.shape)
    values[rng.random(values.shape) < 0.25] = np.nan
    coords = {"time": day, "y": ("y", y, {"units": "km"}), "x": ("x", x, {"units": "km"})}
    return xr.DataArray(values, dims=("time", "y", "x"), coords=coords, name="field")


@pytest.mark.parametrize(
    ("arguments", "time", "space"),
    [
        pytest.param(
            {"time_kernel": "auto", "space_kernel": "auto", "method": "exact"}, "5/2", "1/2", marks=pytest.mark.slow
        ),
        pytest.param(
            {"time_kernel": "Auto", "space_kernel": "auto", "method": "iterative"}, "5/2", "1/2", marks=pytest.mark.slow
        ),
        pytest.param({"time_kernel": "auto"}, "5/2", "3/2", marks=pytest.mark.slow),
        ({"space_kernel": "auto", "time_kernel": "matern52"}, "5/2", "1/2"),
        pytest.param(
            {"space_kernel": "auto", "time_kernel": "matern52", "noise": 4e-4}, "5/2", "1/2", marks=pytest.mark.slow
        ),
        pytest.param(
            {"time_kernel": "auto", "method": xgpfill.Variational(20, epochs=1, train="elbo")},
            "5/2",
            "3/2",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["exact", "iterative", "time", "space", "given noise", "elbo"],
)
def test_the_smoothness_of_auto_kernels_is_settled_and_shown(rough_in_space, arguments, time: str, space: str) -> None:
    model = rough_in_space.gpfill.fit(valid=True, combine="product", amplitude=False, calibrate=False, **arguments)
    (shown,) = (line for line in repr(model).splitlines() if line.startswith("product"))
    assert [part.split(",")[0] for part in shown.split("Matérn-")[1:]] == [time, space]
    if isinstance(model.settings, xgpfill.Iterative):
        with warnings.catch_warnings():  # one cell in a thousand of so small a field
            warnings.filterwarnings("ignore", "The variance of", XgpfillWarning)
            mean, _ = model.reconstruct()
        assert float((mean - rough_in_space).std()) < 0.1


@pytest.mark.parametrize(("dim", "shown"), [("time", "constant"), ("site", "constant")])
def test_an_axis_of_one_point_has_no_smoothness_to_settle(rough_in_space, dim: str, shown: str) -> None:
    part = rough_in_space.isel(time=[3]) if dim == "time" else rough_in_space.isel(y=[3], x=[3])
    model = part.gpfill.fit(valid=True, time_kernel="auto", space_kernel="auto", method="exact", scales=1)
    assert shown in repr(model)


@pytest.mark.parametrize(
    "compose", [lambda k: k + "auto", lambda k: k * "auto", lambda k: "auto" + k], ids=["sum", "product", "right"]
)
def test_auto_is_no_part_of_a_composition(compose) -> None:
    with pytest.raises(KernelError, match=r"'auto' is no kernel.*alone in `fit\(time_kernel='auto'.*Name.*'matern12'"):
        compose(xgpfill.Periodic(365.25))


def test_an_unknown_kernel_is_told_of_auto(ds, nothing_is_learned: None) -> None:
    with pytest.raises(KernelError, match=r"Unknown kernel 'automatic'.*in `fit` alone, 'auto'"):
        ds.sst.gpfill.fit(valid=ds.valid, space_kernel="automatic")


def test_intervals_are_widened_and_neither_mean_nor_variance_changes(rough_in_space) -> None:
    arguments = {"valid": True, "combine": "product", "method": "exact", "amplitude": False}
    part = rough_in_space.isel(time=slice(12))
    calibrated, plain = (part.gpfill.fit(**arguments, calibrate=c) for c in (True, False))
    xr.testing.assert_identical(calibrated.hyperparameters, plain.hyperparameters)
    (mean, variance), (plain_mean, plain_variance) = calibrated.reconstruct(), plain.reconstruct()
    xr.testing.assert_identical(mean, plain_mean)
    xr.testing.assert_identical(variance, plain_variance)
    normal = plain.reconstruct().interval(0.8)
    std = plain.reconstruct(include_noise=True).variance ** 0.5
    np.testing.assert_allclose(normal[1], plain_mean + 1.2815516 * std, rtol=1e-6, atol=1e-7)
    ratio = calibrated.intervals.ratios[0][2]
    assert ratio != 1.0
    lower, upper = calibrated.reconstruct().interval(0.8)
    xr.testing.assert_allclose(upper - lower, ratio * (normal[1] - normal[0]))
    assert plain.intervals is None


def test_a_period_that_is_given_is_kept() -> None:
    days = np.arange(0.0, 1461.0, 60.9)
    values = np.sin(2 * np.pi * days / 380.0) + np.random.default_rng(0).normal(scale=0.1, size=days.size)
    series = xr.DataArray(values, {"time": days}, "time")
    model = series.gpfill.fit(time_kernel=xgpfill.Periodic(365.25), noise_std=0.1, scales=1, method="exact")
    assert float(model.hyperparameters.time_period[0]) == 365.25


def given_noise(ds: xr.Dataset, **noise: Any) -> tuple[float, xr.DataArray | None]:
    """The noise, and the errors, of a model of the smallest part of the data."""
    part = ds.sst.isel(time=[0], lat=slice(3), lon=slice(3, 7)).astype(float)
    model = part.gpfill.fit(valid=True, method="exact", **noise)
    return float(model.hyperparameters.noise), model.errors


@pytest.mark.parametrize("noise", [{"noise_std": 0.5}, {"noise_variance": 0.25}, {"noise_std": np.float32(0.5)}])
def test_a_number_is_a_standard_deviation_or_a_variance_as_its_name_says_and_held(ds: xr.Dataset, noise) -> None:
    assert given_noise(ds, **noise) == (pytest.approx(0.25), None)
    assert given_noise(ds, **noise, noise_fixed=True) == (pytest.approx(0.25), None)
    assert given_noise(ds, **noise, noise_fixed=False)[0] != pytest.approx(0.25)


@pytest.mark.parametrize(("name", "power"), [("noise_std", 1), ("noise_variance", 2), ("noise", 1)])
def test_a_field_of_errors_is_of_deviations_or_variances_as_its_name_says(
    ds: xr.Dataset, name: str, power: int
) -> None:
    error = xr.DataArray(0.1) if name == "noise_std" else xr.full_like(ds.sst.isel(time=[0]), 0.1, float)
    part = ds.sst.isel(time=[0]).astype(float)
    arguments = {"valid": True, "method": "exact", name: error**power}
    model = part.gpfill.fit(**arguments)
    held = part.gpfill.fit(**arguments, noise_fixed=True)
    xr.testing.assert_allclose(model.errors.reset_coords(drop=True), error.reset_coords(drop=True))
    assert float(model.hyperparameters.noise) != 1.0
    assert float(held.hyperparameters.noise) == 1.0
    again = model.condition(part, **{name: error**power})
    xr.testing.assert_identical(again.reconstruct().mean, model.reconstruct().mean)


@pytest.mark.parametrize("noise", [0.25, np.float32(0.25)])
def test_a_number_that_does_not_say_what_it_is_is_noted_once_and_read_as_a_variance(ds: xr.Dataset, noise: Any) -> None:
    expected = r"is a number and so a variance, that of a standard deviation of 0\.5 °C.*`noise_variance=.*`noise_std="
    with pytest.warns(XgpfillWarning, match=expected) as told:
        found, errors = given_noise(ds, noise=noise)
    assert (found, errors, len(told)) == (pytest.approx(0.25), None, 1)


@pytest.mark.parametrize("noise", [0, 1, 1e-4, 25.0])
def test_a_number_that_can_only_be_a_variance_is_not_noted(ds: xr.Dataset, noise: float) -> None:
    """One is its own square; others are no deviation of data that vary by 2 °C."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert given_noise(ds, noise=noise)[0] == pytest.approx(noise, abs=1e-6)


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({}, r"is a DataArray and so a standard error.*nothing in its name or units says so\. .*`noise_std=0\.3`"),
        ({"units": "degC2"}, r"noise= is 'unsure' in 'degC2', which looks like variances.*`noise_variance=`"),
        ({"units": "(degC)^2"}, r"in '\(degC\)\^2', which looks like variances"),
        ({"long_name": "error variance"}, r"noise= is 'unsure', which looks like variances"),
    ],
)
def test_a_field_that_may_hold_no_standard_errors_is_noted_once(ds: xr.Dataset, said, match: str) -> None:
    noise = xr.DataArray(0.3, attrs=said, name="unsure")
    with pytest.warns(XgpfillWarning, match=match) as told:
        assert given_noise(ds, noise=noise)[1] is not None
    assert len(told) == 1


@pytest.mark.parametrize(
    "noise",
    [xr.DataArray(0.3, attrs={"units": "degC"}), xr.DataArray(0.3, name="sst_std"),
     xr.DataArray(0.3, attrs={"standard_name": "sea_surface_temperature standard_error"})],
)  # fmt: skip
def test_a_field_that_says_that_it_holds_standard_errors_is_not_noted(ds: xr.Dataset, noise: xr.DataArray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert given_noise(ds, noise=noise)[1] is not None


def test_new_variances_that_are_read_as_standard_errors_are_noted(ds: xr.Dataset) -> None:
    part = ds.sst.isel(time=[0], lat=slice(3), lon=slice(3, 7)).astype(float)
    model = part.gpfill.fit(valid=True, method="exact", noise_std=xr.DataArray(0.3))
    with pytest.warns(XgpfillWarning, match=r"noise= is a DataArray in 'degC2', which looks like variances"):
        model.condition(part, noise=xr.DataArray(0.3, attrs={"units": "degC2"}))


def test_a_noise_that_is_given_is_not_lowered(rough_in_space) -> None:
    model = rough_in_space.gpfill.fit(valid=True, combine="product", method="exact", noise_variance=0.3)
    assert float(model.hyperparameters.noise) == pytest.approx(0.3)


def test_the_same_seed_settles_the_same(rough_in_space) -> None:
    part = rough_in_space.isel(time=slice(12))
    first, again = (
        part.gpfill.fit(valid=True, combine="product", method="exact", time_kernel="auto") for _ in range(2)
    )
    assert first.prior == again.prior
    assert first.intervals == again.intervals
    assert first.scaling == again.scaling


def test_what_is_hidden_is_of_one_field_and_each_cell_once(rough_in_space) -> None:
    """The same cell of another field, or of another window, would tell what is hidden."""
    levels = [xr.full_like(rough_in_space, np.nan), rough_in_space, rough_in_space + 100.0]
    da = xr.concat(levels, "level", coords="minimal", compat="override").chunk(level=1, time=4)
    lattice, _ = encode(da, dims=("time", "y", "x"), geometry="auto", valid=True)
    for found in pools(lattice, 1):
        observed = found.observations
        assert observed.field in (1, 2) and ((observed.values > 50) == (observed.field == 2)).all()
        cells = {*zip(observed.points.time, *observed.points.space.T, strict=True)}
        assert len(cells) == len(observed) > 100
    assert len(pools(lattice, 1)) == 2
