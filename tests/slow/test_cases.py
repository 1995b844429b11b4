"""Bars on real cases: other arguments default, hidden cells, observed 95 % intervals."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import xgpfill

DATA = Path(__file__).parents[3] / "shared" / "data"

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real cases is absent")]


@pytest.mark.parametrize(
    ("case", "part", "rmse"),
    [("tas_dynamic90", {}, 1.75), ("alboran_clouds", {"lat": slice(50, 150), "lon": slice(75, 225)}, 0.40)],
)
def test_the_variational_engine_clears_its_bars_on_hidden_cells(case, part, rmse):
    ds = xr.open_dataset(DATA / f"{case}.nc").load().isel(part)
    model = ds["obs"].gpfill.fit(dims=("time", "lat", "lon"), method="variational", valid=ds["valid"])
    score = model.reconstruct().score(ds["truth"])
    assert float(score["rmse"]) <= rmse
    assert 0.92 <= float(score["coverage95"]) <= 0.98


@pytest.mark.parametrize(
    ("case", "rmse", "crps"),
    [
        ("tas_dynamic90", 1.40, 0.68),
        ("tas_dynamic50", 0.62, 0.275),
        ("alboran_clouds", 0.315, 0.163),
        ("heaton_sat", 1.50, 0.80),
    ],
)
def test_the_default_clears_its_bars_on_hidden_cells(case, rmse, crps):
    ds = xr.open_dataset(DATA / f"{case}.nc").load()
    model = ds["obs"].gpfill.fit(valid=ds["valid"])
    assert isinstance(model.settings, xgpfill.Iterative)
    score = model.reconstruct().score(ds["truth"])
    assert float(score["rmse"]) <= rmse
    assert float(score["crps"]) <= crps
    assert 0.93 <= float(score["coverage95"]) <= 0.97
    assert float(model.convergence["residual"].max()) <= 1.0
    assert int(model.convergence["steps"].max()) <= 80


@pytest.mark.parametrize("tile", [{"time": 10}, {"time": 8, "lat": 6}], ids=str)
def test_tiles_answer_nearly_as_one_tile_does(tile):
    ds = xr.open_dataset(DATA / "tas_dynamic90.nc").load()
    model = ds["obs"].gpfill.fit(valid=ds["valid"])
    one, tiled = model.reconstruct(), model.reconstruct(tile=tile)
    hidden = ds["obs"].isnull() & one.mean.notnull()
    off = np.abs((tiled.mean - one.mean) / one.std()).where(hidden).values
    ratio = (tiled.std() / one.std()).where(hidden).values
    assert np.sqrt(np.nanmean(off**2)) <= 0.2
    assert np.nanquantile(off, 0.99) <= 0.6
    assert 0.99 <= np.nanmedian(ratio) <= 1.04
    scores = [r.score(ds["truth"]) for r in (tiled, one)]
    assert float(scores[0].rmse / scores[1].rmse) <= 1.02
    assert abs(float(scores[0].coverage95 - scores[1].coverage95)) <= 0.01
