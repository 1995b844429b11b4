"""A local amplitude that is known: every answer equals the dense posterior with covariance D K D."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
import xgpfill
from numpy.testing import assert_allclose
from xgpfill.errors import DataError, KernelError

from tests import reference as ref

if TYPE_CHECKING:
    from collections.abc import Callable

    from xgpfill.model import FittedModel

DIMS = ("time", "y", "x")
VARIANCE, DAYS, KM, NOISE = 2.0, 3.0, 250.0, 0.1
CENTRES, WEIGHTS, WIDTH, LEVEL = [[100.0, 100.0], [500.0, 300.0]], [1.1, -0.8], 180.0, 0.2
TABLE = xr.Dataset(
    {
        "variance": ("term", [VARIANCE]),
        "time_lengthscale": ("term", [DAYS]),
        "space_lengthscale": ("term", [KM]),
        "noise": NOISE,
        "amplitude_centre": (("bump", "axis"), CENTRES),
        "amplitude_weight": ("bump", WEIGHTS),
        "amplitude_lengthscale": WIDTH,
        "amplitude_level": LEVEL,
    },
    {"term": ["product"]},
)
AMPLITUDE = [name for name in TABLE if str(name).startswith("amplitude")]


def grid(nt: int = 5, ny: int = 5, nx: int = 6) -> xr.DataArray:
    coords = {
        "time": ("time", np.arange(float(nt)), {"units": "days"}),
        "y": ("y", 100.0 * np.arange(ny), {"units": "km"}),
        "x": ("x", 100.0 * np.arange(nx), {"units": "km"}),
    }
    return xr.DataArray(np.zeros((nt, ny, nx)), coords, DIMS, "field")


@pytest.fixture(scope="module")
def gappy() -> xr.DataArray:
    rng, da = np.random.default_rng(0), grid()
    return da.copy(data=np.where(rng.random(da.shape) < 0.6, 7.0 + 2.0 * rng.standard_normal(da.shape), np.nan))


def fitted(da: xr.DataArray, table: xr.Dataset = TABLE, **arguments: Any) -> FittedModel:
    how: dict[str, Any] = {"valid": True, "combine": "product", "method": "exact", "calibrate": False} | arguments
    return da.gpfill.fit(hyperparameters=table, **how)


@pytest.fixture(scope="module")
def model(gappy: xr.DataArray) -> FittedModel:
    return fitted(gappy)


# The oracle


def cells(da: xr.DataArray) -> tuple[ref.Array, ref.Array, ref.Array]:
    """Days, km and values of every cell, one after another."""
    flat = da.transpose(*DIMS).stack(cell=DIMS, create_index=False)
    return flat.time.values, np.stack([flat.x, flat.y], 1), flat.values


def local(sites: ref.Array) -> ref.Array:
    """D at places, the formula as it stands."""
    squares = ((sites[:, None] - np.array(CENTRES)) ** 2).sum(-1)
    return np.exp(LEVEL + (np.exp(-squares / (2 * WIDTH**2)) * WEIGHTS).sum(1))


def covariance(time: ref.Array, sites: ref.Array, other_time: ref.Array, other_sites: ref.Array) -> ref.Array:
    """D K D between two sets of points."""
    in_time = ref.matern(ref.distance(time, other_time), DAYS, 1.5)
    in_space = ref.matern(ref.distance(sites, other_sites), KM, 1.5)
    return VARIANCE * in_time * in_space * np.outer(local(sites), local(other_sites))


def oracle(observed: xr.DataArray, t: Any, s: Any, noise: Any = None, *, full: bool = False) -> ref.Posterior:
    """The law of y = shift + D (β + f) + ε at points, β unknown; the noise has D² as well unless it is known."""
    days, sites, y = cells(observed)
    seen = np.isfinite(y)
    days, sites, y = days[seen], sites[seen], y[seen]
    noise = NOISE * local(sites) ** 2 if noise is None else np.broadcast_to(noise, seen.shape)[seen]
    found = ref.posterior(
        covariance(days, sites, days, sites), covariance(days, sites, t, s), covariance(t, s, t, s), y - y.mean(),
        noise, local(sites)[:, None], local(s)[:, None], full=full,
    )  # fmt: skip
    return replace(found, mean=found.mean + y.mean())


def check(found: xgpfill.Reconstruction, expected: ref.Posterior, rtol: float = 1e-7) -> None:
    sd = expected.variance**0.5
    assert_allclose(found.mean.values.ravel() / sd, expected.mean / sd, atol=rtol, rtol=rtol)
    assert_allclose(found.variance.values.ravel(), expected.variance, rtol=max(10 * rtol, 1e-6))


# Fields


def test_the_exact_field_is_that_of_the_oracle(gappy: xr.DataArray, model: FittedModel) -> None:
    check(model.reconstruct(), oracle(gappy, *cells(gappy)[:2]))


def test_the_amplitude_of_the_model_is_the_formula_on_its_cells(gappy: xr.DataArray, model: FittedModel) -> None:
    assert model.amplitude.dims == ("y", "x")
    assert_allclose(model.amplitude.values.ravel(), local(cells(gappy[:1])[1]), rtol=1e-9)


def test_noise_that_was_learned_goes_with_the_amplitude(gappy: xr.DataArray, model: FittedModel) -> None:
    added = model.reconstruct(include_noise=True).variance - model.reconstruct().variance
    assert_allclose(added.values.ravel(), NOISE * local(cells(gappy)[1]) ** 2, rtol=1e-8)


def test_noise_that_is_known_is_the_same_everywhere(gappy: xr.DataArray) -> None:
    model = fitted(gappy, noise_variance=0.3)
    found = model.reconstruct()
    check(found, oracle(gappy, *cells(gappy)[:2], noise=0.3))
    assert_allclose(model.reconstruct(include_noise=True).variance - found.variance, 0.3, rtol=1e-8)


def test_standard_errors_are_the_same_however_much_the_field_varies(gappy: xr.DataArray) -> None:
    errors = gappy.copy(data=np.random.default_rng(1).uniform(0.1, 1.0, gappy.shape))
    model = fitted(gappy, TABLE.assign(noise=1.5), noise_std=errors)
    found = model.reconstruct()
    check(found, oracle(gappy, *cells(gappy)[:2], noise=1.5 * errors.values.ravel() ** 2))
    assert_allclose(model.reconstruct(include_noise=True).variance - found.variance, 1.5 * errors**2, rtol=1e-7)


def test_tiles_that_see_everything_answer_as_one(gappy: xr.DataArray) -> None:
    tiled = fitted(gappy, tile={"time": 3, "y": 3, "x": 3}, halo=6)
    check(tiled.reconstruct(), oracle(gappy, *cells(gappy)[:2]))


@pytest.mark.parametrize("method", ["iterative", "variational"])
def test_other_engines_come_close_to_the_oracle(gappy: xr.DataArray, method: str) -> None:
    engine = {"iterative": xgpfill.Iterative(tolerance=1e-8), "variational": xgpfill.Variational(num_inducing=90)}
    found, expected = fitted(gappy, method=engine[method]).reconstruct(), oracle(gappy, *cells(gappy)[:2])
    sd = expected.variance**0.5
    assert_allclose(found.mean.values.ravel() / sd, expected.mean / sd, atol=0.02)
    assert_allclose(found.variance.values.ravel() ** 0.5, sd, rtol=0.1)
    assert np.median(np.abs(found.variance.values.ravel() ** 0.5 / sd - 1)) < 0.02


@pytest.mark.parametrize("chunks", [{"time": 2}, {"y": 2, "x": 4}], ids=str)
def test_lazy_data_give_the_same_field(gappy: xr.DataArray, model: FittedModel, chunks: dict[str, int]) -> None:
    found, lazy = model.reconstruct(include_noise=True), fitted(gappy.chunk(chunks)).reconstruct(include_noise=True)
    assert lazy.variance.chunks is not None
    xr.testing.assert_allclose(lazy.mean.compute(), found.mean)
    xr.testing.assert_allclose(lazy.variance.compute(), found.variance)


# Other places, draws, averages


@pytest.fixture
def target() -> xr.DataArray:
    coords = {"time": [0.5, 2.0], "y": [120.0, 333.0], "x": [50.0, 480.0, 610.0]}
    return xr.DataArray(np.zeros((2, 2, 3)), coords, DIMS)


def test_predictions_elsewhere_are_those_of_the_oracle(gappy, model: FittedModel, target: xr.DataArray) -> None:
    t, s, _ = cells(target)
    check(model.predict(target), oracle(gappy, t, s))
    noisy = model.predict(target, include_noise=True).variance - model.predict(target).variance
    assert_allclose(noisy.values.ravel(), NOISE * local(s) ** 2, rtol=1e-7)
    known = fitted(gappy, noise_variance=0.3)
    noisy = known.predict(target, include_noise=True).variance - known.predict(target).variance
    assert_allclose(noisy, 0.3, rtol=1e-7)


def test_the_joint_covariance_is_that_of_the_oracle(gappy, model: FittedModel, target: xr.DataArray) -> None:
    t, s, _ = cells(target)
    joint = model.predict(target, covariance=True)[1].values
    assert_allclose(joint, oracle(gappy, t, s, full=True).covariance, rtol=1e-5, atol=1e-8)
    noisy = model.predict(target, covariance=True, include_noise=True)[1].values
    assert_allclose(np.diag(noisy - joint), NOISE * local(s) ** 2, rtol=1e-6)
    assert_allclose(noisy - np.diag(np.diag(noisy)), joint - np.diag(np.diag(joint)), atol=1e-9)


def test_draws_have_the_mean_and_covariance_of_the_oracle(gappy: xr.DataArray, model: FittedModel) -> None:
    days, sites, _ = cells(gappy)
    expected = oracle(gappy, days, sites, full=True)
    draws = model.sample(3000, seed=4).transpose("sample", *DIMS).values.reshape(3000, -1)
    sd = expected.variance**0.5
    assert np.abs((draws.mean(0) - expected.mean) / sd).max() < 5 / 3000**0.5
    found = np.cov(draws.T) / np.outer(sd, sd)
    assert np.abs(found - expected.covariance / np.outer(sd, sd)).max() < 6 / 3000**0.5


@pytest.mark.parametrize("method", ["exact", "iterative"])
def test_averages_have_the_variance_of_the_oracle(gappy: xr.DataArray, method: str) -> None:
    days, sites, _ = cells(gappy)
    expected = oracle(gappy, days, sites, full=True)
    engine = xgpfill.Iterative(tolerance=1e-8) if method == "iterative" else method
    field = fitted(gappy, method=engine).reconstruct()
    whole, steps = field.average(), field.average(("y", "x"))
    n, rtol = expected.mean.size, 1e-6 if method == "exact" else 1e-3
    assert_allclose(whole.mean, expected.mean.mean(), rtol=rtol)
    assert_allclose(whole.variance, expected.covariance.sum() / n**2, rtol=rtol)
    blocks = expected.covariance.reshape(5, 30, 5, 30)
    assert_allclose(steps.mean, expected.mean.reshape(5, 30).mean(1), rtol=rtol)
    assert_allclose(steps.variance, [blocks[i, :, i].mean() for i in range(5)], rtol=rtol)


def test_noise_of_averages_goes_with_the_amplitude(gappy: xr.DataArray, model: FittedModel) -> None:
    averages = [model.reconstruct(include_noise=noisy).average(("y", "x")).variance for noisy in (True, False)]
    assert_allclose(averages[0] - averages[1], (NOISE * local(cells(gappy[:1])[1]) ** 2).sum() / 30**2, rtol=1e-6)


# Given, kept, refused


def test_an_amplitude_of_one_changes_nothing(gappy: xr.DataArray) -> None:
    flat = TABLE.assign(amplitude_weight=("bump", [0.0, 0.0]), amplitude_level=0.0)
    one, none = (fitted(gappy, table).reconstruct(include_noise=True) for table in (flat, TABLE.drop_vars(AMPLITUDE)))
    xr.testing.assert_allclose(one.mean, none.mean)
    xr.testing.assert_allclose(one.variance, none.variance)


def test_a_level_is_the_same_as_other_variances(gappy: xr.DataArray) -> None:
    raised = TABLE.assign(amplitude_level=LEVEL + np.log(2.0))
    scaled = TABLE.assign(variance=4 * TABLE.variance, noise=4 * TABLE.noise)
    one, other = (fitted(gappy, table).reconstruct() for table in (raised, scaled))
    xr.testing.assert_allclose(one.mean, other.mean)
    xr.testing.assert_allclose(one.variance, other.variance)


def test_hyperparameters_hold_the_amplitude_and_give_it_back(gappy: xr.DataArray, model: FittedModel) -> None:
    table = model.hyperparameters
    for name in AMPLITUDE:
        assert_allclose(table[name], TABLE[name])
    again = fitted(gappy, table)
    xr.testing.assert_identical(again.amplitude, model.amplitude)
    xr.testing.assert_identical(again.reconstruct().to_dataset(), model.reconstruct().to_dataset())


def test_other_data_have_the_amplitude_of_their_places(gappy: xr.DataArray, model: FittedModel) -> None:
    part = gappy.isel(time=slice(1, 4), x=slice(2, 6))
    found = model.condition(part).reconstruct()
    days, sites, y = cells(part)
    seen, shift = np.isfinite(y), float(gappy.mean())
    expected = ref.posterior(
        covariance(days[seen], sites[seen], days[seen], sites[seen]), covariance(days[seen], sites[seen], days, sites),
        covariance(days, sites, days, sites), y[seen] - shift, NOISE * local(sites[seen]) ** 2,
        local(sites[seen])[:, None], local(sites)[:, None],
    )  # fmt: skip
    check(found, replace(expected, mean=expected.mean + shift))


def test_a_part_of_an_amplitude_is_refused(gappy: xr.DataArray) -> None:
    match = r"has a local amplitude without 'amplitude_weight', 'amplitude_level'\. Give `model\.hyperparameters`"
    with pytest.raises(KernelError, match=match):
        fitted(gappy, TABLE.drop_vars(["amplitude_weight", "amplitude_level"]))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda da: fitted(da, amplitude="x"), r"amplitude='x': expected True or False"),
        (lambda da: fitted(da, amplitude=1), r"amplitude=1: expected True or False"),
        (lambda da: fitted(da, calibrate=3), r"calibrate=3: expected True or False"),
        (lambda da: fitted(da).condition(da, calibrate="no"), r"calibrate='no': expected True or False"),
    ],
)
def test_what_is_neither_true_nor_false_is_refused(
    gappy: xr.DataArray, call: Callable[[xr.DataArray], Any], match: str
) -> None:
    with pytest.raises(DataError, match=match):
        call(gappy)
