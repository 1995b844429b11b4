"""Fields on levels of depth for tests: correlated over time, depth and space, of unlike size at each level."""

from __future__ import annotations

import numpy as np
import xarray as xr

from tests import reference as ref

DEPTHS = np.array([0.0, 10.0, 25.0, 60.0])
DIMS = ("time", "depth", "lat", "lon")


def columns(
    times=6, depths=DEPTHS, shape=(5, 6), *, lengths=(3.0, 40.0, 300.0), level=True, noise=0.1, seed=0
) -> tuple[xr.DataArray, xr.DataArray]:
    """A field without noise, and the same with noise; lengthscales of time (days), depth (m) and space (km)."""
    rng = np.random.default_rng(seed)
    t, z, lat, lon = np.arange(times, dtype=float), np.asarray(depths), 40 + np.arange(shape[0]), np.arange(shape[1])
    y, x = np.meshgrid(lat, lon, indexing="ij")
    places = ref.chord(y.ravel(), x.ravel())
    found = rng.standard_normal((t.size, z.size, len(places)))
    for axis, (at, length) in enumerate(zip((t, z, places), lengths, strict=True)):
        K = ref.matern(ref.distance(at, at), length, 1.5) + 1e-10 * np.eye(len(at))
        found = np.moveaxis(np.tensordot(np.linalg.cholesky(K), found, axes=(1, axis)), 0, axis)
    size = 0.3 + np.exp(-z / 40) if level else np.ones(z.size)
    usual = 5 + 15 * np.exp(-z / 30) if level else np.zeros(z.size)
    noisy = found + noise * rng.standard_normal(found.shape)
    coords = {
        "time": ("time", np.datetime64("2021-01-01") + t.astype("timedelta64[D]")),
        "depth": ("depth", z, {"units": "m", "positive": "down", "axis": "Z"}),
        "lat": ("lat", lat.astype(float), {"units": "degrees_north"}),
        "lon": ("lon", lon.astype(float), {"units": "degrees_east"}),
    }
    parts = (usual[:, None] + size[:, None] * f for f in (found, noisy))
    shaped = (part.reshape(t.size, z.size, *shape) for part in parts)
    truth, data = (xr.DataArray(f, coords, DIMS, "temp", {"units": "degC"}) for f in shaped)
    return truth, data


def gappy(data: xr.DataArray, share=0.5, *, seed=0, levels=1.0) -> xr.DataArray:
    """Some of the cells, on some of the levels at each time."""
    rng = np.random.default_rng(seed)
    seen = rng.random(data.shape) < share
    whole = rng.random(data.shape[:2]) < levels
    return data.where(seen & whole[:, :, None, None]).assign_attrs(data.attrs)
