"""Latitudes and longitudes whose attributes name no unit: whether they can be the degrees that they are taken for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xgpfill.errors import CoordinateError, warn
from xgpfill.grid.metric import degrees_per

if TYPE_CHECKING:
    import xarray as xr

    from xgpfill.arrays import FloatArray

_PART = 1.001
"""Rounding of an extent, as a share of it."""
_CUT = 240
"""Grids of models and products have their cells on fractions of a degree, most of them on 1/240."""
_FINE = 14400
"""Fractions of a degree that nearly all grids in degrees lie on."""
_ROUND = 0.02
"""How far from a whole number of such fractions single precision may put a cell."""


def check_angles(latitude: xr.DataArray, longitude: xr.DataArray, *, told: bool = False) -> None:
    """Angles must be in the unit they are taken to be in: not far beyond a turn, and no radians that do not say so.

    Radians are recognised with certainty by a whole globe of π × 2π, by meridians that close at 2π, and by cells on
    round numbers of degrees once they are turned into such. What merely could be radians is warned of.

    Parameters
    ----------
    latitude, longitude : DataArray
    told : bool
        Whether their unit is known although no attribute names one.

    Raises
    ------
    CoordinateError
    """
    _require_few_turns(longitude)
    if told or any(coordinate.attrs.get("units") for coordinate in (latitude, longitude)):
        return
    if abs(latitude).max() > _PART * np.pi / 2 or abs(longitude).max() > _PART * 2 * np.pi:
        return
    phi, lam = (np.unique(np.asarray(coordinate.values, float)) for coordinate in (latitude, longitude))
    if max(phi.size, lam.size) < 3:
        return
    plain = all(_on_fractions(values, _FINE) for values in (phi, lam))
    evidence = _evidence(phi, lam, plain=plain)
    found = f"Latitudes {latitude.name!r} run from {phi[0]:.4g} to {phi[-1]:.4g} and longitudes {longitude.name!r} "
    found += f"from {lam[0]:.4g} to {lam[-1]:.4g}"
    cure = f"`da[{latitude.name!r}].attrs['units'] = da[{longitude.name!r}].attrs['units'] = "
    if evidence:
        raise CoordinateError(
            f"{found}: {evidence}, but no units say so. Say it: {cure}'radians'`, or 'degrees' if they are that."
        )
    if not plain or _is_globe(phi, lam):
        warn(
            f"{found}, and no units say whether these are degrees, which they are taken for, or radians. Say it: "
            f"{cure}'degrees'`, or 'radians'."
        )


def _require_few_turns(longitude: xr.DataArray) -> None:
    turn = 360.0 / degrees_per(str(longitude.attrs.get("units", "")))
    low, high, name = float(longitude.min()), float(longitude.max()), longitude.name
    if max(abs(low), abs(high)) > 2 * turn:
        raise CoordinateError(
            f"Longitudes {name!r} run from {low:.6g} to {high:.6g}, several times round the globe. If they were stored "
            f"times ten, type `da.assign_coords({name}=da[{name!r}] / 10)`; if they are projected, give them units: "
            f"`da[{name!r}].attrs['units'] = 'm'`."
        )


def _evidence(phi: FloatArray, lam: FloatArray, *, plain: bool) -> str:
    """Why sorted angles are surely radians; empty where they need not be. `plain`: they are round as they are."""
    pole = abs(np.abs(phi).max() - np.pi / 2) < 2e-3
    if (pole or not plain) and _is_globe(phi, lam):
        return "the whole globe in radians"
    if not plain and _closes(lam):
        return "meridians that close at 2π, the whole circle in radians"
    if not plain and all(_on_fractions(np.rad2deg(values), _CUT) for values in (phi, lam)):
        return f"round numbers of degrees in radians (the last longitude is {np.rad2deg(lam[-1]):.6g}°)"
    return ""


def _is_globe(phi: FloatArray, lam: FloatArray) -> bool:
    """Whether latitudes go to the poles and longitudes round the globe, were they radians."""
    return bool(np.abs(phi).max() >= 0.9 * np.pi / 2 and 0.9 * 2 * np.pi <= np.ptp(lam) <= _PART * 2 * np.pi)


def _closes(lam: FloatArray) -> bool:
    """Whether sorted meridians are regular and close at 2π."""
    steps = np.diff(lam)
    if steps.size < 3 or np.ptp(steps) > 1e-3 * steps.mean():
        return False
    return bool(min(abs(n * steps.mean() - 2 * np.pi) for n in (lam.size, lam.size - 1)) <= 2e-3 * steps.mean())


def _on_fractions(degrees: FloatArray, parts: int) -> bool:
    """Whether all angles are whole numbers of such parts of a degree."""
    counted = degrees * parts
    return bool(np.abs(counted - np.round(counted)).max() <= _ROUND)
