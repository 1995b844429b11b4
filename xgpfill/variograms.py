"""The variogram of the data beside the one that was learned, on the same pairs of observations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xgpfill.errors import DataError, shown
from xgpfill.grid.directions import places_of, point_alike
from xgpfill.grid.metric import EARTH_RADIUS_KM
from xgpfill.kernels.covariance import Covariance
from xgpfill.learning.blocks import draw_samples
from xgpfill.words import squared, units_of

if TYPE_CHECKING:
    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.points import IntArray, Observations
    from xgpfill.model import FittedModel

MOST_OBSERVATIONS = 2000
"""Whose pairs are looked at, in all fields."""
FARTHEST = 0.5
"""Share of the longest lag up to which there are bins: longer lags have few pairs, all across the domain."""


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Pairs of observations of one field: lags, half the squared difference, and what the model expects of that."""

    days: FloatArray
    km: FloatArray
    seen: FloatArray
    learned: FloatArray


def variogram(model: FittedModel, num_bins: int, seed: int) -> xr.Dataset:
    """See :meth:`xgpfill.model.FittedModel.variogram`."""
    if isinstance(num_bins, bool) or not isinstance(num_bins, (int, np.integer)) or num_bins < 1:
        raise DataError(f"bins={shown(num_bins)}: expected a positive integer, e.g. `model.variogram(bins=15)`.")
    parts = [_pairs(model, found) for found in draw_samples(model.lattice, MOST_OBSERVATIONS, seed) if len(found) > 1]
    if not parts:
        raise DataError("No field has two observations, of which a variogram needs many.")
    days, km, seen, learned = (
        np.concatenate([getattr(p, name) for p in parts]) for name in ("days", "km", "seen", "learned")
    )
    widths = [FARTHEST * float(lag.max()) / num_bins for lag in (days, km)]
    near = days <= widths[0], km <= widths[1]  # pairs of one place, or of one time, about
    units = units_of(model.layout.template)
    units = squared(units) if units else ""
    found = xr.Dataset()
    axes = (
        ("time", "time_lag", days, widths[0], near[1], "days"),
        ("space", "distance", km, widths[1], near[0], model.summary.space_unit),
    )
    for axis, lag, lags, width, some, unit in axes:
        if width > 0:
            number = _bins(lags[some], width, num_bins)
            table = _binned(number, lags[some], seen[some], learned[some], num_bins)
            found = found.merge(_named(table, axis, lag, unit, units))
    return found


def _pairs(model: FittedModel, found: Observations) -> _Pairs:
    """All pairs of some observations, of vectors those that point about the same way.

    ½E(yᵢ − yⱼ)² = ½(kᵢᵢ + kⱼⱼ + σᵢ² + σⱼ²) − kᵢⱼ (Cressie 1993, §2.3).
    """
    points, own = found.points, model.scaling.of_field(found.field)
    scale = np.broadcast_to(own.relative(own.amplitude_of(points)), len(found))
    K = Covariance(model.prior).matrix(points, points).numpy() * scale[:, None] * scale
    factor = found.noise if model.errors is not None else np.ones(len(found)) if model.noise_is_known else scale**2
    own_variance = 0.5 * (K.diagonal() + float(model.prior.noise or 0.0) * factor)
    i, j = np.triu_indices(len(found), 1)
    alike = point_alike(points.space[i], points.space[j])
    i, j = i[alike], j[alike]
    km = np.linalg.norm(places_of(points.space[i] - points.space[j]), axis=1)
    if model.lattice.space.geometry == "sphere" and model.layout.metric.anisotropy == 1.0:
        km = 2 * EARTH_RADIUS_KM * np.arcsin(np.minimum(km / (2 * EARTH_RADIUS_KM), 1.0))
    difference = found.values[i] - found.values[j]
    learned = own_variance[i] + own_variance[j] - K[i, j]
    return _Pairs(np.abs(points.time[i] - points.time[j]), km, 0.5 * difference**2, learned)


def _bins(lags: FloatArray, width: float, count: int) -> IntArray:
    """Which bin each lag is in; `count` for those beyond all."""
    return np.minimum(np.floor(lags / width).astype(np.intp), count)


def _binned(number: IntArray, lags: FloatArray, seen: FloatArray, learned: FloatArray, count: int) -> list[FloatArray]:
    """Mean lag, mean of both variograms and number of pairs of every bin that has pairs."""
    pairs = np.bincount(number, minlength=count + 1)[:count]
    there = pairs > 0
    sums = (np.bincount(number, values, minlength=count + 1)[:count][there] for values in (lags, seen, learned))
    return [*(total / pairs[there] for total in sums), pairs[there].astype(float)]


def _named(table: list[FloatArray], axis: str, lag: str, unit: str, units: str) -> xr.Dataset:
    """The table of one axis with names and units."""
    lags, seen, learned, pairs = table
    attrs = {"units": units} if units else {}
    return xr.Dataset(
        {
            f"{axis}_variogram": (lag, seen, {"long_name": "semivariance of the data", **attrs}),
            f"{axis}_learned": (lag, learned, {"long_name": "semivariance that the model expects", **attrs}),
            f"{axis}_pairs": (lag, pairs.astype(np.intp), {"long_name": "pairs of observations"}),
        },
        {lag: (lag, lags, {"units": unit})},
    )
