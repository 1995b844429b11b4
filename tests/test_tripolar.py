"""Grids of ocean models that are folded over two poles: filled without a mark where they wrap and where they fold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from xgpfill import Matern, Vecchia

from tests import reference as ref
from tests.tripolar import ocean, tripolar

if TYPE_CHECKING:
    import xarray as xr


def apart(lat: Any, lon: Any, other_lat: Any, other_lon: Any) -> Any:
    """Chords (km) between cells, one by one."""
    return np.linalg.norm(ref.chord(lat, lon) - ref.chord(other_lat, other_lon), axis=-1)


def test_the_grid_folds_onto_itself_and_has_two_poles() -> None:
    lat, lon = tripolar(60, 72)
    across = apart(lat[-1], lon[-1], lat[-1, ::-1], lon[-1, ::-1])
    along_y = apart(lat[-2], lon[-2], lat[-1], lon[-1])
    assert_allclose(across, 2 * apart(lat[-1], lon[-1], *_between(lat, lon)), rtol=1e-3)
    assert np.all(across < 3 * along_y.max())
    assert_allclose(apart(lat[:, 0], lon[:, 0], lat[:, -1], lon[:, -1])[:40], 2 * _half_step(lat)[:40], rtol=1e-2)
    assert lat.max() > 88.0


def _between(lat: Any, lon: Any) -> tuple[Any, Any]:
    """Midpoints of a cell of the last row and the one that it folds onto."""
    middle = ref.chord(lat[-1], lon[-1]) + ref.chord(lat[-1, ::-1], lon[-1, ::-1])
    middle = middle / np.linalg.norm(middle, axis=-1, keepdims=True)
    return np.degrees(np.arcsin(middle[:, 2])), np.degrees(np.arctan2(middle[:, 1], middle[:, 0]))


def _half_step(lat: Any) -> Any:
    return ref.EARTH_RADIUS * np.cos(np.radians(lat[:, 0])) * np.radians(2.5)


@pytest.fixture(scope="module")
def small() -> xr.Dataset:
    return ocean(*tripolar(32, 36))


def test_a_small_one_is_filled_as_the_dense_engine_fills_it(small: xr.Dataset) -> None:
    how: dict[str, Any] = {"valid": small.sea, "noise_std": 0.1, "trend": 12.0}
    how["space_kernel"] = Matern(1.5, 900.0, variance=30.0, fixed=True)
    dense = small.sst.gpfill.fit(**how, method="exact").reconstruct()
    found = small.sst.gpfill.fit(**how, method=Vecchia(num_neighbours=60)).reconstruct()
    sd = np.sqrt(dense.variance)
    assert float((abs(found.mean - dense.mean) / sd).max()) < 0.3
    assert float(abs(found.std() / sd - 1.0).max()) < 0.1
    assert found.mean.notnull().equals(small.sea)


def errors(ds: xr.Dataset, method: str) -> xr.DataArray:
    """Of hidden cells at sea."""
    filled = ds.sst.gpfill.fit(valid=ds.sea, method=method, calibrate=False).reconstruct(variance=False)
    return (filled.mean - ds.truth).where(ds.sst.isnull() & ds.sea)


def rms(error: xr.DataArray) -> float:
    return float(np.sqrt((error**2).mean()))


@pytest.mark.slow
def test_a_whole_one_is_filled_as_well_as_a_regular_lattice_and_has_no_mark_at_wrap_or_fold() -> None:
    lat, lon = tripolar(300, 360)
    error = errors(ocean(lat, lon), "vecchia")
    straight = np.meshgrid(np.linspace(lat.min(), 89.75, 300), np.arange(-179.5, 180.0), indexing="ij")
    assert rms(error) <= 1.05 * rms(errors(ocean(*straight), "vecchia"))
    assert rms(error.isel(x=[0, -1])) < 1.2 * rms(error)
    assert rms(error.isel(y=slice(-3, None))) < 1.2 * rms(error)
