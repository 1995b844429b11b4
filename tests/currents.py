"""Synthetic currents: fields that reach farther to the east than to the north, by the dense covariance."""

from __future__ import annotations

import numpy as np
import xarray as xr

from tests import reference as ref

STEP, NORTH, DAYS, NOISE = 25.0, 80.0, 4.0, 0.1


def currents(
    ratio: float, seed: int, shape: tuple[int, int, int] = (6, 16, 20), share: float = 0.5
) -> tuple[xr.DataArray, xr.DataArray]:
    """The truth and what is seen of it, with noise: each 25 km and day; Matérn-3/2, 80 km to the north and 4 days."""
    rng = np.random.default_rng(seed)
    t, y, x = np.arange(float(shape[0])), STEP * np.arange(shape[1]), STEP * np.arange(shape[2])
    north, east = (c.ravel() for c in np.meshgrid(y, x, indexing="ij"))
    at = ref.anisotropic(np.stack([east, north], -1), ratio)
    S, T = ref.matern(ref.distance(at, at), NORTH, 1.5), ref.matern(ref.distance(t, t), DAYS, 1.5)
    L, M = (np.linalg.cholesky(K + 1e-9 * np.eye(len(K))) for K in (S, T))
    values = (M @ rng.standard_normal((t.size, at.shape[0])) @ L.T).reshape(shape)
    coords = {"time": t, "y": ("y", y, {"units": "km"}), "x": ("x", x, {"units": "km"})}
    truth = xr.DataArray(values, coords, ["time", "y", "x"], "u", {"units": "m s-1"})
    seen = truth + NOISE * rng.standard_normal(shape)
    return truth, seen.where(rng.random(shape) >= share)
