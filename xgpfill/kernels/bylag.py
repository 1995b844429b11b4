"""The covariance of a prior against lag, along one axis at a time. Draws and pictures are made elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from xgpfill.errors import CoordinateError, shown
from xgpfill.grid.metric import EARTH_RADIUS_KM
from xgpfill.kernels.evaluate import Lags, correlation
from xgpfill.kernels.functions.by_latitude import ByLatitude
from xgpfill.kernels.spec import AXIS_UNIT, Brownian, walk

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from xgpfill.grid.lattice import FloatArray
    from xgpfill.kernels.prior import Prior, Term

NUM_LAGS = 201
REACH = 3.0
"""Lags are shown up to this many of the longest lengthscale, at most half of the extent of the data."""


def covariance_by_lag(
    prior: Prior,
    time: ArrayLike | None,
    distance: ArrayLike | None,
    *,
    extents: tuple[float | None, float | None],
    units: str,
    space_unit: str,
) -> xr.Dataset:
    """Evaluate every term at lags along one axis, at no lag along the other.

    Parameters
    ----------
    prior : Prior
        In data units², days and km.
    time, distance : array of lags, or None
        In days and `space_unit`; None chooses them by lengthscale and extent.
    extents : (float or None, float or None)
        Days and `space_unit` that the data span; None leaves an axis out when no lags are given.
    units : str
        Of a variance.
    space_unit : str

    Returns
    -------
    Dataset
        ``time_covariance(term, time_lag)`` and ``space_covariance(term, distance)``.

    Raises
    ------
    CoordinateError
        When a lag is negative or no finite number.

    Examples
    --------
    >>> from xgpfill.kernels.prior import Prior, Term
    >>> from xgpfill.kernels.spec import RBF
    >>> prior = Prior((Term("product", RBF(2.0), RBF(100.0), 4.0),), noise=0.1)
    >>> found = covariance_by_lag(prior, [0.0, 2.0], None, extents=(9.0, None), units="K2", space_unit="km")
    >>> found.time_covariance.values.round(3)  # 4 exp(-½)
    array([[4.   , 2.426]])
    """
    out = xr.Dataset(coords={"term": [term.name for term in prior.terms]})
    for axis, lags, name, unit, extent in (
        ("time", time, "time_lag", "days", extents[0]),
        ("space", distance, "distance", space_unit, extents[1]),
    ):
        if lags is None and extent is None:
            continue
        given = np.linspace(0.0, _reach(prior, axis, extent or 0.0), NUM_LAGS)
        given = given if lags is None else _checked_lags(lags, axis, unit)
        parts = np.stack([_against_lag(term, prior.geometry, axis, given) for term in prior.terms])
        attrs = {"long_name": f"covariance by {'time lag' if axis == 'time' else 'distance'}"}
        out[f"{axis}_covariance"] = (("term", name), parts, attrs | ({"units": units} if units else {}))
        out = out.assign_coords({name: (name, given, {"units": unit, "long_name": name.replace("_", " ")})})
    return out


def _against_lag(term: Term, geometry: str, axis: str, lags: FloatArray) -> FloatArray:
    """Covariance of one term at lags along one axis, at no lag along the other."""
    last = max([_last_day(k) for _, k in walk(term.time) if isinstance(k, Brownian)], default=0.0)
    back, still = last - lags, np.full_like(lags, last)
    here = places_along(np.zeros_like(lags), geometry)
    there = places_along(lags, geometry)
    time = _lags(still, back if axis == "time" else still, "time")
    space = _lags(here, there if axis == "space" else here, geometry)
    assert term.variance is not None
    kernel = term.space.of_one if isinstance(term.space, ByLatitude) else term.space  # in the middle of the data
    found = float(term.variance) * correlation(term.time, time) * correlation(kernel, space)
    return np.asarray(found.numpy(), float)


def _lags(first: FloatArray, second: FloatArray, geometry: str) -> Lags:
    a, b = (torch.as_tensor(x if x.ndim == 2 else x[:, None], dtype=torch.float64) for x in (first, second))
    return Lags(a, b, geometry)


def _last_day(kernel: Brownian) -> float:
    return float(kernel.start or 0.0) + float(kernel.extent or 0.0)


def places_along(distance: FloatArray, geometry: str) -> FloatArray:
    """Embedded places at these distances from one: on a great circle, up the cylinder, or along x."""
    zero = np.zeros_like(distance)
    if geometry == "sphere":
        turn = distance / EARTH_RADIUS_KM
        return EARTH_RADIUS_KM * np.stack([np.cos(turn), np.sin(turn), zero], axis=-1)
    if geometry == "cylinder":
        return np.stack([zero + EARTH_RADIUS_KM, zero, distance], axis=-1)
    return np.stack([distance, zero], axis=-1)


def _reach(prior: Prior, axis: str, extent: float) -> float:
    """The longest lag to show when none are given."""
    lengths = [
        float(value)
        for path, value, unit, _ in prior.items()
        if f".{axis}." in path and path.endswith(("lengthscale", "period")) and unit == AXIS_UNIT and value is not None
    ]
    wanted = REACH * max(lengths, default=0.0)
    if extent <= 0:
        return wanted or 1.0
    return min(wanted or np.inf, extent / 2)


def _checked_lags(lags: Any, axis: str, unit: str) -> FloatArray:
    name = "time" if axis == "time" else "distance"
    try:
        if axis == "time" and np.asarray(lags).dtype.kind == "m":
            lags = np.asarray(lags) / np.timedelta64(1, "D")
        found = np.atleast_1d(np.asarray(lags, dtype=float))
        found = np.full(1, np.nan) if np.asarray(lags).dtype.kind not in "iuf" else found
    except (TypeError, ValueError):
        found = np.array([np.nan])
    if found.ndim != 1 or not found.size or not np.isfinite(found).all() or (found < 0).any():
        raise CoordinateError(
            f"{name}={shown(lags)}: expected lags in {unit}, finite numbers of at least zero, e.g. "
            f"`model.covariance({name}=np.linspace(0, 30, 100))`."
        )
    return found
