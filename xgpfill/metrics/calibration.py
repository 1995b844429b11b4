"""Intervals that hold what they say: a monotone map from standardised residuals to those of a normal law.

A model may be right about mean and standard deviation and its errors yet be no normal ones: the interval of 95 % holds
95 % and that of 50 % holds 70 %. So the half-width of the central interval of each of some levels is widened or
narrowed by a ratio of its own, linearly in between (quantile recalibration, Kuleshov et al. 2018,
https://proceedings.mlr.press/v80/kuleshov18a.html, for symmetric errors). With g the map of residuals in standard
deviations to normal ones, the law of an observation is F(y) = Φ(g((y − mean)/sd)). Ratios are estimated in
:mod:`xgpfill.learning.calibration`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.metrics import normal_quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LEVELS = (0.5, 0.68, 0.8, 0.95, 0.99)
"""Probabilities of central intervals whose widths are estimated."""
FARTHEST = 9.0
"""Normal residual beyond which the law holds nothing: Φ(−9) is 1e-19."""
NODES = 2**14 + 1
"""Of the table of the continuous ranked probability score."""


@dataclass(frozen=True)
class Curve:
    """The map of one field.

    Attributes
    ----------
    ratios : tuple of float
        Half-width of the central interval of each of `LEVELS` over that of the normal law.

    Examples
    --------
    >>> round(Curve((1.2,) * 5).half_width(0.95) / 1.959964, 3)
    1.2
    """

    ratios: tuple[float, ...]

    @cached_property
    def normal(self) -> Floats:
        """Normal half-widths of the levels, from zero on."""
        return np.array([0.0, *map(normal_quantile, LEVELS)])

    @cached_property
    def own(self) -> Floats:
        """Half-widths of the same levels, in standard deviations."""
        return np.asarray(self.normal * np.array([1.0, *self.ratios]))

    def half_width(self, level: float) -> float:
        """Half-width of the central interval of a level, in standard deviations."""
        normal = normal_quantile(level)
        inside = float(np.interp(normal, self.normal, self.own))
        return inside if normal <= self.normal[-1] else normal * self.ratios[-1]

    def normal_residual(self, residual: Any) -> Floats:
        """g: the normal residual that is as far out as one in standard deviations."""
        size = np.abs(residual)
        inside = np.interp(size, self.own, self.normal)
        return np.asarray(np.copysign(np.where(size <= self.own[-1], inside, size / self.ratios[-1]), residual))

    def slope(self, residual: Any) -> Floats:
        """g′, from the right."""
        size = np.abs(residual)
        slopes = np.r_[np.diff(self.normal) / np.diff(self.own), 1.0 / self.ratios[-1]]
        piece = np.searchsorted(self.own, size, side="right") - 1
        return np.asarray(np.where(np.isnan(size), np.nan, slopes[np.minimum(piece, slopes.size - 1)]))

    @cached_property
    def _scores(self) -> tuple[Floats, Floats]:
        """Residuals u ≥ 0, and ∫ F² below plus ∫ (1 − F)² above each: its score where the deviation is one."""
        from scipy.integrate import cumulative_trapezoid
        from scipy.special import ndtr

        u = np.linspace(0.0, FARTHEST * self.ratios[-1], NODES)
        F = ndtr(self.normal_residual(u))
        up, down = (cumulative_trapezoid(x**2, u, initial=0.0) for x in (F, 1.0 - F))
        return u, up + 2.0 * down[-1] - down  # below zero F(−u) = 1 − F(u)

    def score(self, residual: Any) -> Floats:
        """Continuous ranked probability score where the standard deviation is one."""
        u, table = self._scores
        size = np.abs(residual)
        return np.asarray(np.interp(size, u, table) + np.maximum(size - u[-1], 0.0))


@dataclass(frozen=True)
class Calibration:
    """The map of each of several independent fields, or one of all.

    Attributes
    ----------
    ratios : tuple of tuples of float, (fields or 1, levels)
    counts : tuple of int
        Hidden observations that each was estimated from.
    """

    ratios: tuple[tuple[float, ...], ...]
    counts: tuple[int, ...]

    def curve(self, field: int = 0) -> Curve:
        """That of one field."""
        return Curve(self.ratios[field if len(self.ratios) > 1 else 0])

    def half_width(self, level: float, field: xr.DataArray | int = 0) -> Any:
        """Half-width of the central interval in standard deviations, for each of the fields."""
        each = np.array([self.curve(i).half_width(level) for i in range(len(self.ratios))])
        return self._of(each, field)

    def _of(self, each: Floats, field: xr.DataArray | int) -> Any:
        if isinstance(field, xr.DataArray) and len(each) > 1:
            return field.copy(data=each[np.asarray(field)])
        return float(each[int(field) if len(each) > 1 else 0])

    def crps(self, truth: Any, mean: Any, std: Any, field: xr.DataArray | int = 0) -> Any:
        """Continuous ranked probability score of every cell, in the units of the data."""

        def score(curve: Curve, truth: Floats, mean: Floats, std: Floats) -> Floats:
            error = np.abs(truth - mean)
            with np.errstate(divide="ignore", invalid="ignore"):
                return np.where(std > 0, std * curve.score(error / std), np.where(std == 0, error, np.nan))

        return self._cell_by_cell(score, field, truth, mean, std)

    def nlpd(self, truth: Any, mean: Any, std: Any, field: xr.DataArray | int = 0) -> Any:
        """Negative log predictive density of every cell, in nats."""

        def score(curve: Curve, truth: Floats, mean: Floats, std: Floats) -> Floats:
            with np.errstate(divide="ignore", invalid="ignore"):
                residual = (truth - mean) / np.where(std >= 0, std, np.nan)
                shape = 0.5 * curve.normal_residual(residual) ** 2 - np.log(curve.slope(residual))
                return np.asarray(shape + np.log(std) + 0.5 * np.log(2 * np.pi))

        return self._cell_by_cell(score, field, truth, mean, std)

    def normal_residual(self, truth: Any, mean: Any, std: Any, field: xr.DataArray | int = 0) -> Any:
        """G of every cell: normal with deviation one where the law is true."""

        def score(curve: Curve, truth: Floats, mean: Floats, std: Floats) -> Floats:
            with np.errstate(divide="ignore", invalid="ignore"):
                return curve.normal_residual((truth - mean) / np.where(std > 0, std, np.nan))

        return self._cell_by_cell(score, field, truth, mean, std)

    def _cell_by_cell(self, score: Callable[..., Floats], field: xr.DataArray | int, *inputs: Any) -> Any:
        curves = [self.curve(i) for i in range(len(self.ratios))]

        def scored(field: Any, *cells: Floats) -> Floats:
            if len(curves) == 1:
                return score(curves[0], *cells)
            cells, field = tuple(np.broadcast_arrays(*cells)), np.broadcast_to(field, np.broadcast(*cells).shape)
            found = np.full(field.shape, np.nan)
            for i in np.unique(field):
                own = field == i
                found[own] = score(curves[int(i)], *(c[own] for c in cells))
            return found

        return xr.apply_ufunc(
            scored, field, *inputs, dask="parallelized", output_dtypes=[np.float64], keep_attrs=False
        )  # fmt: skip


NORMAL = Calibration(((1.0,) * len(LEVELS),), (0,))
"""Intervals as the normal law says."""


@dataclass(frozen=True)
class Intervals:
    """The maps of the fields of a reconstruction, of which some may have been selected.

    Attributes
    ----------
    calibration : Calibration
    sizes : mapping of name to int
        The dimensions of the independent fields, in the order of the lattice.
    """

    calibration: Calibration
    sizes: Mapping[Hashable, int]

    def field(self, positions: xr.Dataset) -> xr.DataArray | int:
        """The number of the field of each cell, from positions along dimensions (of `position along` their names)."""
        number: xr.DataArray | int = 0
        for dim, size in self.sizes.items():
            number = number * size + positions[position_name(dim)]
        return number


def position_name(dim: Hashable) -> str:
    """What positions along a dimension are called."""
    return f"position along {dim}"
