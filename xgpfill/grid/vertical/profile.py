"""What is usual at each depth: the mean and the standard deviation of every level, in between interpolated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.interpolate import PchipInterpolator

from xgpfill.grid.directions import depth_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[Any]

ENOUGH = 30
"""Observations that a level must have for a mean and a standard deviation of its own."""
LEAST = 1e-6
"""Standard deviation of a level, at least, over that of the level where it is largest."""


@dataclass(frozen=True)
class Profile:
    """Mean and standard deviation against depth, in the units of the whole field.

    Attributes
    ----------
    depths : tuple of float
        Rising.
    means, scales : tuple of float
        Of each level. Between levels means follow a monotone cubic (Fritsch & Carlson 1980), beyond the last they stay;
        logarithms of scales are interpolated.
    errors : tuple of float
        Standard error of the mean of each level that has too few observations for one of its own, 0 for others; empty
        where all have enough.

    Examples
    --------
    >>> import numpy as np
    >>> profile = Profile((0.0, 100.0), (2.0, 0.0), (1.0, 0.25))
    >>> profile.mean_at(np.array([0.0, 50.0, 900.0])), profile.scale_at(np.array([0.0, 50.0, 900.0]))
    (array([2., 1., 0.]), array([1.  , 0.5 , 0.25]))
    >>> profile.mean_error_at(np.array([100.0, 150.0]))
    array([0., 1.])
    """

    depths: tuple[float, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    errors: tuple[float, ...] = ()

    def mean_at(self, depths: Floats) -> Floats:
        """The mean at depths (n,)."""
        if len(self.depths) < 2:
            return np.asarray(np.interp(depths, self.depths, self.means))
        return np.asarray(self._cubic(np.clip(depths, self.depths[0], self.depths[-1])))

    def mean_error_at(self, depths: Floats) -> Floats:
        """The standard error of the mean at depths (n,), taken for what a straight line between levels differs by.

        Beyond the last level it is what the slope there makes of the distance to it.
        """
        if len(self.depths) < 2:
            return np.zeros(len(depths))
        first, last = self.depths[0], self.depths[-1]
        beyond = depths - np.clip(depths, first, last)
        slope = np.where(beyond < 0, *(np.diff(self.means) / np.diff(self.depths))[[0, -1]])
        found = np.abs(self.mean_at(depths) - np.interp(depths, self.depths, self.means)) + np.abs(slope * beyond)
        return np.asarray(np.hypot(found, np.interp(depths, self.depths, self.errors)) if self.errors else found)

    @cached_property
    def _cubic(self) -> PchipInterpolator:
        return PchipInterpolator(self.depths, self.means)

    def mean_error_of(self, sites: Floats) -> Floats:
        """The standard error of the mean at places that say how deep they are, (n, d)."""
        return self.mean_error_at(depth_of(sites))

    def between(self, sites: Floats) -> Floats:
        """Between which levels such places are: errors of the mean there go together."""
        return np.asarray(np.searchsorted(self.depths, depth_of(sites)))

    def scale_at(self, depths: Floats) -> Floats:
        """The standard deviation at depths (n,)."""
        return np.exp(np.interp(depths, self.depths, np.log(self.scales)))

    def mean_of(self, sites: Floats) -> Floats:
        """The mean at places that say how deep they are, (n, d)."""
        return self.mean_at(depth_of(sites))

    def scale_of(self, sites: Floats) -> Floats:
        """The standard deviation at such places."""
        return self.scale_at(depth_of(sites))

    @classmethod
    def of(cls, values: Mapping[float, Floats]) -> Profile:
        """That of observed values (1-D, finite) by depth; a level of few, or of equal ones, is as those around it.

        Where no level has enough, all are alike.
        """
        known = {depth: (float(v.mean()), float(v.std())) for depth, v in values.items() if v.size >= ENOUGH}
        most = max((sd for _, sd in known.values()), default=0.0)
        known = {depth: own for depth, own in known.items() if own[1] > LEAST * most}
        depths = tuple(sorted(values))
        if not known:
            return cls(depths, (0.0,) * len(depths), (1.0,) * len(depths))
        told = cls(*zip(*((depth, *known[depth]) for depth in sorted(known)), strict=True))
        every = np.array(depths)
        means, scales = told.mean_at(every), told.scale_at(every)
        errors = told.mean_error_at(every) if len(known) > 1 else scales  # of one level nothing is known of others
        told_by_others = [0.0 if depth in known else float(error) for depth, error in zip(depths, errors, strict=True)]
        own = tuple(told_by_others) if len(known) < len(depths) else ()
        return cls(depths, tuple(means.tolist()), tuple(scales.tolist()), own)

    @property
    def without_own_mean(self) -> tuple[float, ...]:
        """Depths of the levels that have too few observations for a mean of their own, where others have enough."""
        return tuple(depth for depth, error in zip(self.depths, self.errors, strict=False) if error > 0.0)

    def about_zero(self) -> Profile:
        """That of a field whose mean is known: root mean squares as scales."""
        return replace(
            self, means=(0.0,) * len(self.depths), errors=(), scales=tuple(np.hypot(self.means, self.scales).tolist())
        )

    def alike(self) -> Profile:
        """The same means, and one scale for all levels."""
        return replace(self, scales=(1.0,) * len(self.depths))

    def in_units_of(self, unit: float) -> Profile:
        """The same numbers in units that are `unit` of the old ones."""
        numbers = (tuple(float(x) / unit for x in own) for own in (self.means, self.scales, self.errors))
        return Profile(self.depths, *numbers)

    @property
    def are_alike(self) -> bool:
        """Whether all levels have one scale, that of the whole."""
        return set(self.scales) == {1.0}

    @property
    def typical(self) -> float:
        """Root mean square of the scales of levels."""
        return float(np.sqrt(np.mean(np.square(self.scales))))

    def with_scales(self, depths: Floats, scales: Floats) -> Profile:
        """The same means with scales that are known at these depths."""
        order = np.argsort(depths)
        told = Profile(tuple(depths[order].tolist()), (0.0,) * len(depths), tuple(scales[order].tolist()))
        return replace(self, scales=tuple(told.scale_at(np.array(self.depths)).tolist()))
