"""Winds whose truth is known: harmonics, a sheet, and a rough one over terrain. No estimation lives here."""

from __future__ import annotations

from math import factorial

import numpy as np
import xarray as xr
from scipy.special import lpmv

from tests import reference as ref

NAMES = ("u", "v")


def wind(lat, lon, u, v):
    """Two components (lat, lon), m/s, as a Dataset; coordinates in degrees."""
    coords = {"lat": ("lat", lat, {"units": "degrees_north"}), "lon": ("lon", lon, {"units": "degrees_east"})}
    return xr.Dataset({n: (("lat", "lon"), f, {"units": "m s-1"}) for n, f in zip(NAMES, (u, v), strict=True)}, coords)


def harmonics(lat, lon, degree=6, *, seed=0):
    """Gradients of a random velocity potential, and those of a stream function turned, up to a degree.

    ∂Y/∂θ = m cot θ Y_lm − P_l^{m+1} e^{imφ}, with SciPy's sign of associated Legendre functions P (DLMF 14.10).
    """
    rng = np.random.default_rng(seed)
    theta = np.clip(np.radians(90.0 - np.asarray(lat, float)), 1e-7, np.pi - 1e-7)[:, None]
    phi = np.radians(np.asarray(lon, float))[None]
    u, v = np.zeros((2, theta.size, phi.size))
    for order in range(1, degree + 1):
        for m in range(order + 1):
            norm = np.sqrt((2 * order + 1) * factorial(order - m) / factorial(order + m) / (order * (order + 1)))
            P, following = (norm * lpmv(k, order, np.cos(theta)) for k in (m, m + 1))
            south = (m / np.tan(theta) * P + following) * np.exp(1j * m * phi)  # ∂Y/∂θ
            east = 1j * m * P / np.sin(theta) * np.exp(1j * m * phi)
            potential, stream = rng.standard_normal((2, 2)) @ [1.0, 1j] / order
            u += np.real(potential * east + stream * south)
            v += np.real(-potential * south + stream * east)
    return wind(lat, lon, u, v)


def sheet():
    """A field u = cos 2λ, v = sin 2φ on a grid of 0.1 rad, smooth on the sheet of latitude and longitude alone."""
    lat, lon = np.degrees(np.arange(-np.pi / 2, np.pi / 2, 0.1)), np.degrees(np.arange(0.0, 2 * np.pi - 1e-9, 0.1))
    phi, lam = np.meshgrid(np.radians(lat), np.radians(lon), indexing="ij")
    return wind(lat, lon, np.cos(2 * lam), np.sin(2 * phi))


def rough(lat, lon, *, seed=0, waves=1500, steep=2.2):
    """A wind of all sizes down to the cells, weaker over a terrain that covers a third of the globe and makes it rough.

    Potentials are sums of plane waves on the sphere |p| = 1, amplitudes falling with |k|; over terrain there are others
    of two to ten cells, and a tenth as much noise from cell to cell.
    """
    rng = np.random.default_rng(seed)
    grid = np.meshgrid(lat, lon, indexing="ij")
    shortest = 0.5 * len(lat)
    land = terrain(grid, rng)
    large = waves_of(grid, rng, waves, (1.5, shortest), steep)
    small = waves_of(grid, rng, waves, (0.2 * shortest, shortest), 1.0)
    noise = 0.15 * rng.standard_normal((2, *land.shape))
    u, v = np.where(land, 4.8 * large + 1.5 * small + noise, 8.0 * large)
    return wind(lat, lon, u, v)


def terrain(grid, rng):
    """Where land is, (lat, lon): a third of the cells."""
    height = np.cos(ref.chord(*grid) / ref.EARTH_RADIUS @ (4.0 * rng.standard_normal((3, 6))) + np.arange(6)).sum(-1)
    return height > np.quantile(height, 2 / 3)


def waves_of(grid, rng, count, sizes, steep):
    """Both components (2, lat, lon), of root mean square one, of Σ a cos(k·p + c): Σ −k a sin(k·p + c) and its turn."""
    places, units = ref.chord(*grid) / ref.EARTH_RADIUS, ref.east_and_north(*grid)
    k = rng.standard_normal((count, 3))
    size = np.exp(rng.uniform(*np.log(sizes), count))
    k *= (size / np.linalg.norm(k, axis=1))[:, None]
    phase = np.sin(places @ k.T + rng.uniform(0, 2 * np.pi, count))
    potential, stream = (phase @ (k * (a * size**-steep)[:, None]) for a in rng.standard_normal((2, count)))
    (a, b), (c, d) = ([np.einsum("yxi,yxi->yx", slope, unit) for unit in units] for slope in (potential, stream))
    both = np.stack([a - 0.7 * d, b + 0.7 * c])
    return both / np.sqrt(np.mean(both**2))


def hidden(truth, share, *, seed=0):
    """The wind with random cells hidden, both components of each."""
    seen = np.random.default_rng(seed).random(truth.u.shape) >= share
    return truth.where(xr.DataArray(seen, dims=truth.u.dims))
