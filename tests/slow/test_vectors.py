"""Winds filled as vectors are better than two scalar fields, at the poles above all."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
import xgpfill  # noqa: F401  (registers .gpfill)

from tests import winds

pytestmark = pytest.mark.slow

COARSE = np.linspace(-90.0, 90.0, 32), np.arange(64) * 360.0 / 64


def errors(truth, ds, **how):
    """RMSE over the standard deviation, on all hidden cells and within 15 degrees of a pole."""
    found = ds.gpfill.fit(variable=list(winds.NAMES), **how).reconstruct(variance=False)
    square = ((found.mean - truth) ** 2).where(ds.isnull()).to_dataarray()
    sd = float(truth.to_dataarray().std())
    return [float(part.mean()) ** 0.5 / sd for part in (square, square.where(abs(truth.lat) >= 75))]


def test_a_smooth_wind_is_filled_across_the_poles() -> None:
    truth = winds.harmonics(*COARSE)
    ds = winds.hidden(truth, 0.5)
    both, apart = errors(truth, ds, vector=True), errors(truth, ds)
    assert both[0] <= 0.002
    assert 20 * both[1] <= apart[1]


@pytest.mark.parametrize("geometry", ["cylinder", "plane"])
def test_a_field_smooth_on_the_sheet_is_filled_there(geometry: str) -> None:
    truth = winds.sheet()
    assert max(errors(truth, winds.hidden(truth, 0.5), vector=True, geometry=geometry)) <= 0.003


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_rough_wind_over_terrain_is_filled_better_than_component_by_component(share: float) -> None:
    truth = winds.rough(np.linspace(-90.0, 90.0, 37), np.arange(0.0, 360.0, 5.0))
    ds = winds.hidden(truth, share)
    assert errors(truth, ds, vector=True)[0] <= 0.9 * errors(truth, ds)[0]


def test_rough_terrain_does_not_set_the_noise_of_the_globe() -> None:
    lat, lon = np.linspace(-90.0, 90.0, 37), np.arange(0.0, 360.0, 5.0)
    land = xr.DataArray(
        winds.terrain(np.meshgrid(lat, lon, indexing="ij"), np.random.default_rng(0)), dims=("lat", "lon")
    )
    noise = xr.DataArray(np.random.default_rng(7).standard_normal((2, *land.shape)), dims=("component", *land.dims))
    smooth = winds.rough(lat, lon)
    truth = smooth.assign({n: smooth[n] + 1.5 * noise[i] * land for i, n in enumerate(winds.NAMES)})
    model = winds.hidden(truth, 0.5).gpfill.fit(variable=winds.NAMES, vector=True)
    amplitude = model.model.amplitude.isel(component=0).drop_vars("component")
    assert float(amplitude.where(land).median()) > 2 * float(amplitude.where(~land).median())
