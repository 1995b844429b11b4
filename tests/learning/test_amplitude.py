"""The local amplitude: the optimum of what is stated, a known one found again, none where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from xgpfill.grid.scaling import bumps
from xgpfill.learning.amplitude import ENOUGH_EACH, Residuals, local_amplitude
from xgpfill.learning.heldout import Prediction

from tests import reference as ref
from tests.problems import lattice

SPACE = lattice(np.zeros((1, 12, 15)), geometry="plane", spacing=1.0).space
SITES = SPACE.coordinates.reshape(-1, 2)


def varying(sites: np.ndarray, factor: float = 3.0) -> np.ndarray:
    """A smooth standard deviation between 1/factor and factor."""
    x = (sites - SITES.min(0)) / np.ptp(SITES, axis=0)
    return factor ** (np.sin(2.5 * x[:, 0] + 0.5) * np.cos(3.0 * x[:, 1]))


def predicted(rng: np.random.Generator, number: int, *, factor: float = 3.0, days: int = 40, known: float = 0.0):
    """Residuals of hidden observations of a field that varies so, and noise that does not; and where they are."""
    sites, time = SITES[rng.integers(0, len(SITES), number)], rng.integers(0, days, number).astype(float)
    field = varying(sites, factor) if factor > 1 else np.ones(number)
    truth = np.sqrt(0.5 * field**2 + known) * rng.standard_normal(number)
    hidden = Prediction(
        np.zeros(number), np.full(number, (0.5 + known) ** 0.5), truth, np.full(number, known), np.ones(number),
        np.zeros(number, np.intp), time, sites, np.ones(number),
    )  # fmt: skip
    return hidden, field


# The optimum


@pytest.fixture
def to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scoring goes on until nothing changes."""
    monkeypatch.setattr("xgpfill.learning.amplitude.CLOSE", 1e-12)


@pytest.mark.parametrize("known", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
def test_what_is_fitted_has_the_largest_posterior_density(known: float, weighted: bool, to_the_end: None) -> None:
    rng = np.random.default_rng(0)
    hidden, _ = predicted(rng, 400, known=known)
    found = Residuals.of(hidden)
    weight = rng.uniform(0.2, 3.0, 400) if weighted else np.ones(400)
    found = Residuals(found.square, found.varying, found.known, weight)
    centres = SITES[rng.choice(len(SITES), 6, replace=False)]
    basis = bumps(hidden.space, centres, 400.0)
    B = np.column_stack([np.ones(400), np.exp(-0.5 * ref.distance(hidden.space, centres) ** 2 / 400.0**2)])

    def objective(a: np.ndarray) -> float:
        variance = np.exp(B @ a) * 0.5 + known
        each = np.log(variance) + hidden.truth**2 / variance
        return 0.5 * float((weight * each).sum() + (a[1:] ** 2).sum() + 1e-6 * a[0] ** 2)

    best = minimize(objective, np.zeros(7), method="BFGS", options={"gtol": 1e-6})
    answer = found.fitted(basis)
    assert objective(answer) <= best.fun + 1e-8
    assert_allclose(answer, best.x, atol=2e-3)


def test_without_bumps_it_is_the_mean_square(to_the_end: None) -> None:
    hidden, _ = predicted(np.random.default_rng(1), 500, factor=1.0)
    found = Residuals.of(hidden).fitted(np.zeros((500, 0)))
    assert found.shape == (1,)
    assert np.exp(found[0]) == pytest.approx((hidden.truth**2).mean() / 0.5, rel=1e-5)


def test_the_loss_of_a_fold_is_that_of_what_the_others_say() -> None:
    hidden, _ = predicted(np.random.default_rng(2), 300, factor=1.0, known=0.2)
    folds, found = np.arange(300) % 3, Residuals.of(hidden)
    for fold, loss in enumerate(found.losses(np.zeros((300, 0)), folds)):
        own = folds == fold
        rest = hidden.truth[~own] ** 2
        variances = np.geomspace(0.05, 5.0, 40_001)
        best = variances[np.argmin(np.log(variances + 0.2) + rest.mean() / (variances + 0.2))] + 0.2
        assert loss == pytest.approx(0.5 * (np.log(best) + (hidden.truth[own] ** 2).mean() / best), abs=1e-4)


# From residuals


@pytest.mark.parametrize("known", [0.0, 0.1])
@pytest.mark.parametrize("seed", range(3))
def test_a_known_amplitude_is_found_from_residuals(seed: int, known: float) -> None:
    hidden, field = predicted(np.random.default_rng(seed), 4000, known=known)
    found = local_amplitude(hidden, SPACE, seed)
    assert found is not None
    logs = np.log(found.at(hidden.space))
    assert np.corrcoef(logs, np.log(field))[0, 1] > 0.9
    assert abs(logs.mean()) < 1e-9
    assert np.std(logs) == pytest.approx(np.std(np.log(field)), rel=0.2)


def test_residuals_of_one_size_everywhere_have_no_large_amplitude() -> None:
    spreads = []
    for seed in range(10):
        found = local_amplitude(predicted(np.random.default_rng(seed), 2000, factor=1.0)[0], SPACE, seed)
        spreads.append(0.0 if found is None else float(np.std(np.log(found.at(SITES)))))
    assert np.mean(np.array(spreads) == 0.0) >= 0.6
    assert max(spreads) < 0.15


def test_few_residuals_have_no_amplitude() -> None:
    assert local_amplitude(predicted(np.random.default_rng(0), 3 * ENOUGH_EACH, factor=10.0)[0], SPACE, 0) is None


# From fields


def field_of(seed: int, factor: float, *, days: int = 12, width: int = 12, noise: float = 0.05):
    """A draw of D K D with noise of D², a third of it hidden, and log D of every place."""
    rng = np.random.default_rng(seed)
    coords = {"time": np.arange(float(days))} | {d: 50.0 * np.arange(width) for d in ("y", "x")}
    x, y = np.meshgrid(coords["x"], coords["y"])
    sites = np.stack([x.ravel(), y.ravel()], 1)
    logs = np.log(factor) * np.sin(2.5 * sites[:, 0] / sites.max() + 0.5) * np.cos(3.0 * sites[:, 1] / sites.max())
    chol = [np.linalg.cholesky(ref.matern(ref.distance(a, a), ell, 1.5) + 1e-9 * np.eye(len(a)))
            for a, ell in ((coords["time"], 3.0), (sites, 150.0))]  # fmt: skip
    f = chol[0] @ rng.standard_normal((days, width**2)) @ chol[1].T
    values = 4.0 + np.exp(logs) * (f + noise**0.5 * rng.standard_normal(f.shape))
    values = np.where(rng.random(f.shape) < 2 / 3, values, np.nan).reshape(days, width, width)
    da = xr.DataArray(values, coords, ("time", "y", "x"))
    for d in ("y", "x"):
        da[d].attrs["units"] = "km"
    return da, logs.reshape(width, width)


def fitted(da: xr.DataArray, **arguments: Any):
    return da.gpfill.fit(valid=True, combine="product", method="exact", calibrate=False, **arguments)


def test_a_known_amplitude_is_found_from_a_field() -> None:
    da, logs = field_of(0, 4.0, days=20, width=10)
    model = fitted(da)
    assert model.scaling.amplitude is not None
    found = np.log(model.amplitude.transpose("y", "x").values)
    assert np.corrcoef(found.ravel(), logs.ravel())[0, 1] > 0.8


def test_an_amplitude_that_nobody_asks_for_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xgpfill.learning.steps.local_amplitude", lambda *_: pytest.fail("looked for"))
    assert fitted(field_of(0, 4.0, days=4, width=6)[0], amplitude=False).scaling.amplitude is None


def test_a_field_of_one_amplitude_gets_none() -> None:
    taken = [fitted(field_of(seed, 1.0, days=8, width=6)[0]).scaling.amplitude is not None for seed in range(6)]
    assert sum(taken) <= 1


def test_a_field_of_few_observations_gets_none() -> None:
    da, _ = field_of(0, 4.0, days=4, width=5)
    assert fitted(da).scaling.amplitude is None
