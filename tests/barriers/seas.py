"""Seas with land between them: grids of a plane, observations on them, and a field that jumps across an isthmus."""

from __future__ import annotations

import numpy as np
import xarray as xr
from xgpfill.barriers.barrier import Barrier
from xgpfill.grid.points import Points

KM = 100.0
"""Between cells of a plane."""


def barrier(text: str, *, wraps: bool = False) -> Barrier:
    """Land (#) and water on a plane, rows by line."""
    water = np.array([[letter != "#" for letter in row] for row in text.split()])
    y, x = np.indices(water.shape)
    return Barrier(water, KM * np.stack([x, y], axis=-1).astype(float), wraps)


def afloat(rng: np.random.Generator, land: Barrier, n: int, days: float = 10.0) -> Points:
    """Points at random times on cells of water, near their middles."""
    cells = rng.choice(np.flatnonzero(land.water), n)
    places = land.places.reshape(-1, 2)[cells] + rng.uniform(-0.3, 0.3, (n, 2)) * KM
    return Points.scattered(rng.uniform(0.0, days, n), places)


def isthmus(seed: int, *, ny: int = 20, nx: int = 30, nt: int = 6) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """A truth that jumps across a strip of land with an open end, what is seen of it, and the land.

    The jump fades towards the open end; noise is 0.03, cells are hidden at random and in boxes along the land.
    """
    rng = np.random.default_rng(seed)
    lat, lon = 20 + 0.25 * np.arange(ny), 30 + 0.25 * np.arange(nx)
    axes = {"time": np.arange(nt).astype("datetime64[D]").astype("datetime64[ns]"), "lat": lat, "lon": lon}
    strip = np.zeros((ny, nx), bool)
    strip[4:, nx // 2] = True
    side = np.where(np.arange(nx) < nx // 2, -1.5, 1.5) * np.clip((np.arange(ny)[:, None] - 3) / 4, 0, 1)
    roots = [
        np.linalg.cholesky(np.exp(-0.5 * np.subtract.outer(a, a) ** 2) + 1e-6 * np.eye(len(a))) for a in (lat, lon)
    ]
    smooth = np.einsum("ij,tjk,lk->til", roots[0], rng.standard_normal((nt, ny, nx)), roots[1])
    hidden = (rng.random((nt, ny, nx)) < 0.6) | strip
    for frame in hidden:
        for _ in range(4):
            row, column = rng.integers(6, ny), nx // 2 + rng.integers(-4, 5)
            frame[row - 3 : row + 3, column - 3 : column + 3] = True
    truth = xr.DataArray(side + 0.5 * smooth, axes, tuple(axes), "sst")
    seen = (truth + 0.03 * rng.standard_normal(truth.shape)).where(~hidden)
    land = xr.DataArray(strip, {"lat": lat, "lon": lon}, ("lat", "lon"))
    return truth.where(~land), seen, land


def error_near(mean: xr.DataArray, truth: xr.DataArray, seen: xr.DataArray, land: xr.DataArray) -> float:
    """Root mean square error on hidden cells within three columns of the strip, where it is land."""
    rows, column = land.any("lon"), int(land.values.any(0).argmax())
    near = abs(xr.DataArray(np.arange(land.sizes["lon"]), {"lon": land.lon}, "lon") - column) <= 3
    return float(((mean - truth) ** 2).where(seen.isnull() & near & rows & ~land).mean() ** 0.5)
