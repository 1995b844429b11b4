"""Models of several variables in one file."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xarray as xr
import xgpfill
from xgpfill.errors import FileFormatError
from xgpfill.metrics.calibration import Calibration
from xgpfill.storage.saving import FORMAT

if TYPE_CHECKING:
    from pathlib import Path

    from xgpfill.model import FittedModel

NAMES = ["sst", ("pair", 1)]


@pytest.fixture(scope="module")
def both(ds: xr.Dataset, model: FittedModel) -> xgpfill.FittedDataset:
    pair = xr.Dataset({NAMES[0]: ds.sst, NAMES[1]: 2.0 * ds.sst})
    known = dict.fromkeys(NAMES, model.hyperparameters)
    return pair.gpfill.fit(variable=NAMES, valid=ds.valid, method="exact", hyperparameters=known)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_models_of_several_variables_make_a_round_trip_through_one_file(both, tmp_path: Path, suffix: str) -> None:
    both.save(tmp_path / f"models{suffix}")
    again = xgpfill.load(tmp_path / f"models{suffix}")
    assert isinstance(again, xgpfill.FittedDataset) and list(again.models) == NAMES
    xr.testing.assert_identical(again.reconstruct().mean, both.reconstruct().mean)
    for name in NAMES:
        xr.testing.assert_identical(again[name].hyperparameters, both[name].hyperparameters)


def test_saved_without_data_they_can_condition(ds: xr.Dataset, both, tmp_path: Path) -> None:
    both.save(tmp_path / "models.nc", data=False)
    again = xgpfill.load(tmp_path / "models.nc")
    assert not any(model.has_data for model in again.models.values())
    data = xr.Dataset({NAMES[0]: ds.sst, NAMES[1]: 2.0 * ds.sst})
    xr.testing.assert_identical(again.condition(data, valid=ds.valid).reconstruct().mean, both.reconstruct().mean)


def test_what_came_back_conditions_predicts_samples_and_is_saved_again(ds: xr.Dataset, both, tmp_path: Path) -> None:
    both.save(tmp_path / "first.nc")
    data = xr.Dataset({NAMES[0]: ds.sst, NAMES[1]: 2.0 * ds.sst})
    again = pickle.loads(pickle.dumps(xgpfill.load(tmp_path / "first.nc"))).condition(data, valid=ds.valid)
    again.save(tmp_path / "second.zarr")
    last = xgpfill.load(tmp_path / "second.zarr")
    xr.testing.assert_identical(last.sample(2, seed=3), both.sample(2, seed=3))
    xr.testing.assert_identical(last.predict({"lat": [40.0]}).variance, both.predict({"lat": [40.0]}).variance)
    known = {"valid": ds.valid, "method": "exact", "hyperparameters": last.hyperparameters}
    refitted = data.gpfill.fit(variable=NAMES, **known).reconstruct()
    xr.testing.assert_allclose(refitted.mean, both.reconstruct().mean)


@pytest.mark.parametrize("name", ["trend", "convergence", "covariance", "prior"])
def test_what_only_the_model_of_one_variable_has_is_named_with_the_call(both, name: str) -> None:
    with pytest.raises(AttributeError, match=rf"Ask one of 'sst', \('pair', 1\), e\.g\. `model\['sst'\]\.{name}`"):
        getattr(both, name)
    assert hasattr(both["sst"], name) and not hasattr(both, "nonsense")


def test_models_of_a_newer_format_are_refused(both, tmp_path: Path) -> None:
    both.save(tmp_path / "models.zarr")
    state = json.loads((tmp_path / "models.zarr" / "zarr.json").read_text())
    written = json.loads(state["attributes"]["xgpfill"])
    state["attributes"]["xgpfill"] = json.dumps({**written, "format": FORMAT + 1})
    (tmp_path / "models.zarr" / "zarr.json").write_text(json.dumps(state))
    with pytest.raises(FileFormatError, match=r"newer than .*`pip install -U xgpfill`"):
        xgpfill.load(tmp_path / "models.zarr")


@pytest.mark.parametrize("order", [NAMES, NAMES[::-1]], ids=["as they are", "the other way round"])
def test_each_variable_has_its_own_intervals_whatever_their_order(both, order) -> None:
    """Also where one of them has none."""
    wide = Calibration(((2.0,) * 5,), (1000,))
    models = {NAMES[0]: replace(both[NAMES[0]], intervals=None), NAMES[1]: replace(both[NAMES[1]], intervals=wide)}
    found = xgpfill.FittedDataset({name: models[name] for name in order}).reconstruct()
    lower, upper = found.interval(0.8)
    std = xgpfill.FittedDataset(models).reconstruct(include_noise=True).std()
    for name, ratio in zip(NAMES, (1.0, 2.0), strict=True):
        half = 0.5 * (upper[f"{name}_upper"] - lower[f"{name}_lower"])
        np.testing.assert_allclose(half, ratio * 1.2815516 * std[f"{name}_std"], rtol=1e-4)
