"""What is usual at each depth: the mean and the standard deviation of every level, in between interpolated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

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
        Of each level; between levels means are interpolated and logarithms of scales, beyond the last they stay.

    Examples
    --------
    >>> import numpy as np
    >>> profile = Profile((0.0, 100.0), (2.0, 0.0), (1.0, 0.25))
    >>> profile.mean_at(np.array([0.0, 50.0, 900.0])), profile.scale_at(np.array([0.0, 50.0, 900.0]))
    (array([2., 1., 0.]), array([1.  , 0.5 , 0.25]))
    """

    depths: tuple[float, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]

    def mean_at(self, depths: Floats) -> Floats:
        """The mean at depths (n,)."""
        return np.interp(depths, self.depths, self.means)

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
        return cls(depths, tuple(told.mean_at(every).tolist()), tuple(told.scale_at(every).tolist()))

    def about_zero(self) -> Profile:
        """That of a field whose mean is known: root mean squares as scales."""
        return replace(self, means=(0.0,) * len(self.depths), scales=tuple(np.hypot(self.means, self.scales).tolist()))

    def alike(self) -> Profile:
        """The same means, and one scale for all levels."""
        return replace(self, scales=(1.0,) * len(self.depths))

    def in_units_of(self, unit: float) -> Profile:
        """The same numbers in units that are `unit` of the old ones."""
        means, scales = (tuple(float(x) / unit for x in own) for own in (self.means, self.scales))
        return replace(self, means=means, scales=scales)

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
