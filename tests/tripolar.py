"""A tripolar grid as ocean models have: regular in the south, folded over two north poles on land; a field on it."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

Array = NDArray[np.float64]

JOIN = 65.0
"""Latitude of both poles, and of the last regular row."""
FIRST_POLE = 80.0
"""Its longitude; the other is on the far side."""
SOUTH = -78.0
LAND = 8.0
"""Degrees of land round each pole."""


def tripolar(rows: int, columns: int) -> tuple[Array, Array]:
    """Latitudes and longitudes (rows, columns) of cells; along the last row columns j and n − 1 − j are neighbours.

    North of the join the bipolar grid of Murray (1996), doi:10.1006/jcph.1996.0136, section 5.
    """
    cap = rows // 8
    step = (JOIN - SOUTH) / (rows - cap)
    southern = SOUTH + step * (0.5 + np.arange(rows - cap))
    turned = 360.0 / columns * (0.5 + np.arange(columns))
    northern = JOIN + (90.0 - JOIN) / cap * (0.5 + np.arange(cap))
    lat, lon = _bipolar(*np.meshgrid(northern, turned, indexing="ij"))
    below = np.meshgrid(southern, turned, indexing="ij")
    lat, lon = np.concatenate([below[0], lat]), np.concatenate([below[1], lon])
    return lat, (lon + FIRST_POLE + 180.0) % 360.0 - 180.0


def _bipolar(lat: Array, turned: Array) -> tuple[Array, Array]:
    """Where cells of latitude and longitude, as seen from the first pole, come to lie."""
    width = np.tan(np.radians(90.0 - JOIN) / 2)
    up = np.pi / 2 - 2 * np.arctan(np.tan(np.radians(90.0 - lat) / 2) / width)
    around = np.radians(turned)
    across = np.arccos(np.clip(np.abs(np.sin(around)) * np.sin(up), -1.0, 1.0))
    sine = np.abs(np.sin(around)) / np.sqrt(1.0 + np.cos(around) ** 2 * np.tan(up) ** 2)
    angle = np.degrees(np.arcsin(np.clip(sine, 0.0, 1.0)))
    quadrant = (turned // 90.0).astype(int) % 4
    east = np.choose(quadrant, [angle, 180.0 - angle, 180.0 + angle, 360.0 - angle])
    return 90.0 - np.degrees(2 * np.arctan(width * np.tan(across / 2))), east


def smooth_field(lat: Array, lon: Array, seed: int = 0) -> Array:
    """Temperatures of a made-up ocean: a gradient and waves on the sphere, of a few hundred to some thousand km."""
    phi, lam = np.radians(lat), np.radians(lon)
    place = np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)
    rng = np.random.default_rng(seed)
    found = 20.0 * np.cos(phi) ** 2
    for _ in range(60):
        found = found + 0.4 * np.cos(place @ rng.normal(0.0, 12.0, 3) + rng.uniform(0, 2 * np.pi))
    return np.asarray(found)


def is_land(lat: Array, lon: Array) -> NDArray[np.bool_]:
    """Whether a cell is near one of the two poles of the grid."""
    return np.asarray((np.abs(lat - JOIN) < LAND) & (np.abs((lon - FIRST_POLE + 90.0) % 180.0 - 90.0) < 2 * LAND))


def ocean(lat: Array, lon: Array, *, hidden: float = 0.2, seed: int = 1) -> xr.Dataset:
    """Truth, observations with noise and gaps, and where there is sea, with coordinates (y, x)."""
    rng = np.random.default_rng(seed)
    truth = smooth_field(lat, lon)
    seen = (truth + 0.1 * rng.standard_normal(lat.shape)).astype(float)
    seen[rng.random(lat.shape) < hidden] = np.nan
    sea = ~is_land(lat, lon)
    coords = {
        "lat": (("y", "x"), lat, {"units": "degrees_north"}),
        "lon": (("y", "x"), lon, {"units": "degrees_east"}),
    }
    fields = {"truth": truth, "sst": np.where(sea, seen, np.nan), "sea": sea}
    return xr.Dataset({name: (("y", "x"), values) for name, values in fields.items()}, coords)
