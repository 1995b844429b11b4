"""Bars of padding on a real case: edges of a field without gaps are hidden and continued into."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import xgpfill  # noqa: F401  (registers .gpfill)

DATA = Path(__file__).parents[3] / "shared" / "data"

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real cases is absent")]


def edge_errors(field: xr.DataArray, mode: str, width: int) -> dict[str, float]:
    """Root mean square errors of a mode, of replicate padding and of zero anomalies, over all four edges."""
    off: dict[str, list[np.ndarray]] = {mode: [], "replicate": [], "zero": []}
    for dim in ("lat", "lon"):
        for turned in (field, field.isel({dim: slice(None, None, -1)})):
            seen, hidden = turned.isel({dim: slice(None, -width)}), turned.isel({dim: slice(-width, None)})
            margin = seen.gpfill.pad({dim: (0, width)}, mode=mode).isel({dim: slice(-width, None)})
            off[mode].append((margin - hidden).values)
            off["replicate"].append((seen.isel({dim: -1}, drop=True) - hidden).values)
            off["zero"].append((seen.mean(("lat", "lon")) - hidden).values)
    return {name: float(np.sqrt(np.mean(np.concatenate([o.ravel() for o in part]) ** 2))) for name, part in off.items()}


@pytest.mark.parametrize(("mode", "width", "every"), [("lp2x1", 2, 1), ("lp2x3", 1, 1), ("lp2x3", 2, 1), ("gp", 2, 14)])
def test_margins_are_nearer_the_truth_than_zero_and_replicate_padding(mode: str, width: int, every: int) -> None:
    field = xr.open_dataset(DATA / "tas_dynamic50.nc")["truth"].load().isel(time=slice(None, None, every))
    errors = edge_errors(field, mode, width)
    assert errors[mode] < 0.95 * errors["replicate"] < errors["zero"]
