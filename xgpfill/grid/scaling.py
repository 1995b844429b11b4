"""Standardised units: values are shifted and scaled once, so that computation sees numbers of order one.

Where a field varies more in some places than in others, or one of several independent fields more than the others, its
own unit is larger there: K → D K D with D diagonal, so that the standardised field has one covariance everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.errors import DataError
from xgpfill.grid.directions import apart_from_depth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xgpfill.grid.points import Points
    from xgpfill.grid.vertical.profile import Profile

    Floats = NDArray[Any]


SMALLEST, LARGEST = 1e-140, 1e140
"""What the largest value may be, so that variances can be held."""
ENOUGH = 30
"""Observations that one of several fields must have for units of its own."""
AT_ONCE = 2**16
"""Places whose amplitude is evaluated at once."""


@dataclass(frozen=True)
class Amplitude:
    """How much larger departures and noise are at a place than elsewhere, a smooth function of place.

        D(s) = exp(c + Σᵢ wᵢ exp(−|s − cᵢ|² / 2ℓ²))

    Attributes
    ----------
    centres : tuple of points
        The cᵢ, embedded as the places are (km).
    weights : tuple of float
        The wᵢ.
    lengthscale : float
        ℓ, in the unit of the coordinates.
    level : float
        c.

    Examples
    --------
    >>> import numpy as np
    >>> Amplitude(((0.0, 0.0),), (np.log(2.0),), 100.0).at(np.array([[0.0, 0.0], [1e4, 0.0]])).round(3)
    array([2., 1.])
    """

    centres: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    lengthscale: float
    level: float = 0.0

    def at(self, sites: Floats) -> Floats:
        """D at places (n, d): (n,); the same at all depths."""
        sites = apart_from_depth(sites)[0]
        parts = [sites[i : i + AT_ONCE] for i in range(0, len(sites), AT_ONCE)]
        centres, weights = np.array(self.centres), np.array(self.weights)
        logs = [bumps(part, centres, self.lengthscale) @ weights for part in parts]
        return np.exp(self.level + np.concatenate(logs)) if logs else np.ones(0)


def bumps(sites: Floats, centres: Floats, lengthscale: float) -> Floats:
    """exp(−|s − c|² / 2ℓ²) of every place (n, d) and centre (k, d): (n, k)."""
    square = (sites**2).sum(1)[:, None] + (centres**2).sum(1) - 2.0 * sites @ centres.T
    return np.asarray(np.exp(np.maximum(square, 0.0) / (-2.0 * lengthscale**2)))


@dataclass(frozen=True)
class Scaling:
    """A change of units, z = (y − shift) / (scale · D(s)).

    Attributes
    ----------
    shift, scale : float
        Of all data, or of one of several independent fields; of hyperparameters, see `unit`.
    fields : tuple of (shift, scale)
        Those of each of several independent fields; empty where there is one.
    amplitude : Amplitude or None
        D; None: one everywhere.
    unit : float or None
        What one stands for in hyperparameters; None: `scale`.
    levels : Profile or None
        Where depth is fitted: means and scales against it, in units of `scale`. The scale is a part of D, the mean is
        taken off, (y − shift) / scale = mean + D z.

    Examples
    --------
    >>> Scaling(shift=10.0, scale=2.0).standardised(14.0)
    2.0
    """

    shift: float
    scale: float
    fields: tuple[tuple[float, float], ...] = ()
    amplitude: Amplitude | None = None
    unit: float | None = None
    levels: Profile | None = None

    def standardised(self, values: Any, amplitude: Any = 1.0, mean: Any = 0.0) -> Any:
        """Values in standardised units; `amplitude` is D where they are, `mean` that of their levels."""
        return (values - (self.shift + self.scale * mean)) / (self.scale * amplitude)

    def physical(self, values: Any, amplitude: Any = 1.0, mean: Any = 0.0) -> Any:
        """Values back in data units; `amplitude` is D where they are, `mean` that of their levels."""
        return values * (self.scale * amplitude) + (self.shift + self.scale * mean)

    @property
    def reference(self) -> float:
        """What one stands for in hyperparameters, in data units."""
        return self.scale if self.unit is None else self.unit

    @property
    def is_uniform(self) -> bool:
        """Whether it is the same for all fields and places."""
        alike = self.levels is None or self.levels.are_alike
        return not self.fields and self.amplitude is None and alike

    def of_field(self, number: int) -> Scaling:
        """That of one of the independent fields, in the order of the lattice."""
        if not self.fields:
            return self
        shift, scale = self.fields[number]
        return Scaling(shift, scale, amplitude=self.amplitude, unit=self.reference, levels=self.levels)

    def amplitude_at(self, sites: Floats) -> Any:
        """D at places (n, d): (n,), or one."""
        local = 1.0 if self.amplitude is None else self.amplitude.at(sites)
        return local if self.levels is None else local * self.levels.scale_of(sites)

    def amplitude_of(self, points: Points) -> Any:
        """D of each of n points: (n,), or one."""
        found = self.amplitude_at(points.sites)
        return found if np.ndim(found) == 0 else found[points.site_index]

    def mean_of(self, points: Points) -> Any:
        """The mean of the level of each of n points, in units of `scale`: (n,), or zero."""
        return 0.0 if self.levels is None else self.levels.mean_of(points.sites)[points.site_index]

    def mean_error_of(self, points: Points) -> Any:
        """The standard error of that mean, where a point lies between levels, in units of `scale`: (n,), or zero."""
        return 0.0 if self.levels is None else self.levels.mean_error_of(points.sites)[points.site_index]

    def mean_errors_of(self, points: Points) -> Floats:
        """The same as independent parts (n, k): one for each gap between levels, k = 0 where there is none."""
        error = np.broadcast_to(self.mean_error_of(points), len(points))
        if self.levels is None or not error.any():
            return np.zeros((len(points), 0))
        gaps = self.levels.between(points.sites)[points.site_index]
        return np.where(gaps[:, None] == np.unique(gaps), error[:, None], 0.0)

    def relative(self, amplitude: Any = 1.0) -> Any:
        """What one stands for, relative to what it does in hyperparameters; `amplitude` is D there."""
        return self.scale / self.reference * amplitude

    @classmethod
    def of_fields(cls, values: Sequence[Floats], name: object = "the data") -> Scaling:
        """Each field's own mean and standard deviation; the hyperparameters are in the root mean square of the latter.

        Parameters
        ----------
        values : sequence of arrays
            The observed values of each field (1-D, finite). A field of too few, or of equal ones, has the root mean
            square of the others' standard deviations.

        Raises
        ------
        DataError
            As :meth:`of`, for all together.
        """
        pooled = cls.of(np.concatenate(list(values)), name)
        if len(values) == 1:
            return pooled
        own = [_moments(v) if v.size >= ENOUGH else (np.nan, 0.0) for v in values]
        least = 1e-12 * max(abs(pooled.shift), pooled.scale)
        scales = np.array([scale for _, scale in own if scale > least])
        if not scales.size:
            return pooled
        unit = float(np.sqrt(np.mean(scales**2)))
        means = [float(np.mean(v)) if v.size else pooled.shift for v in values]
        fields = tuple((m, s) if s > least else (mean, unit) for (m, s), mean in zip(own, means, strict=True))
        return cls(pooled.shift, pooled.scale, fields=fields, unit=unit)

    def about_zero(self) -> Scaling:
        """Units of a field whose mean is known to be zero: no shift, and root mean squares as scales."""
        fields = tuple((0.0, float(np.hypot(*own))) for own in self.fields)
        unit = float(np.sqrt(np.mean([scale**2 for _, scale in fields]))) if fields else None
        return replace(self, shift=0.0, scale=float(np.hypot(self.shift, self.scale)), fields=fields, unit=unit)

    def about(self, mean: float) -> Scaling:
        """Units of a field whose mean is known, with root mean squares about it as scales."""
        found = replace(self, shift=self.shift - mean, fields=tuple((shift - mean, s) for shift, s in self.fields))
        found = found.about_zero()
        return replace(found, shift=mean, fields=tuple((mean, s) for _, s in found.fields))

    def of_all(self) -> Scaling:
        """The same units for all of several independent fields."""
        return replace(self, fields=(), unit=None)

    def with_levels(self, levels: Profile) -> Scaling:
        """Units that are those of levels on the whole, and differ from level to level as these do."""
        unit = levels.typical
        fields = tuple((shift, scale * unit) for shift, scale in self.fields)
        own = None if self.unit is None else self.unit * unit
        return replace(self, scale=self.scale * unit, fields=fields, unit=own, levels=levels.in_units_of(unit))

    def with_amplitude(self, amplitude: Amplitude | None) -> Scaling:
        """The same with another D."""
        return replace(self, amplitude=amplitude)

    @classmethod
    def of(cls, values: Floats, name: object = "the data") -> Scaling:
        """Mean and standard deviation of the observed `values` (1-D, finite).

        Raises
        ------
        DataError
            When there is no observation, only one, or all are equal.
        """
        if values.size < 2:
            found = "no observation at all (every value is NaN)" if values.size == 0 else "one observation only"
            raise DataError(
                f"{name} has {found}; at least two different values are needed to learn from. "
                f"Check the mask and the variable, e.g. `da.notnull().sum()`."
            )
        lowest, highest = float(values.min()), float(values.max())
        if lowest == highest:
            raise DataError(
                f"{name} is constant: all {values.size} observations equal {lowest!r}. There is nothing to learn; fill "
                f"it with `da.fillna({lowest!r})`."
            )
        largest = max(abs(lowest), abs(highest))
        if not SMALLEST <= largest <= LARGEST:
            raise DataError(
                f"{name} has values of up to {largest:.3g}, whose squares are beyond float64. Give it in other units, "
                f"e.g. `da / {largest:.0e}`."
            )
        shift, scale = _moments(values)
        if not scale > 1e-12 * largest:
            raise DataError(
                f"{name} is constant but for rounding: it varies by {scale:.1g} around {shift:.6g}. Take that "
                f"off before it is rounded, e.g. `da.astype(float) - {shift:.6g}`, or fill it, "
                f"`da.fillna({shift:.6g})`."
            )
        return cls(shift, scale)


def _moments(values: Floats) -> tuple[float, float]:
    """Mean and standard deviation."""
    return float(np.mean(values, dtype=np.float64)), float(np.std(values, dtype=np.float64))
