"""Scattered cells and observations, as indices into two axes, so that covariances can be tabulated once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from xgpfill.grid.lattice import FloatArray

IntArray = NDArray[np.intp]
Int32Array = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Points:
    """Points in time and space: point i is at ``times[time_index[i]]``, ``sites[site_index[i]]``.

    Attributes
    ----------
    times : array (a,)
        Days.
    sites : array (b, d)
        Embedded km.
    time_index, site_index : int array (n,)
    is_grid : bool
        Whether the points are all times × all sites, time outermost.
    frame : (rows, columns) or None
        The shape of the lattice that the sites are, columns innermost; None for a list of sites.
    """

    times: FloatArray
    sites: FloatArray
    time_index: IntArray
    site_index: IntArray
    is_grid: bool = False
    frame: tuple[int, int] | None = None

    def __len__(self) -> int:
        return self.time_index.size

    @classmethod
    def grid(cls, times: FloatArray, sites: FloatArray, frame: tuple[int, int] | None = None) -> Points:
        """Every site at every time, time outermost."""
        t, s = np.indices((times.size, sites.shape[0]))
        return cls(times, sites, t.ravel(), s.ravel(), is_grid=True, frame=frame)

    @classmethod
    def scattered(cls, time: FloatArray, space: FloatArray) -> Points:
        """Points given one by one: `time` (n,) in days and `space` (n, d) in km; repeated axis values are shared."""
        times, time_index = np.unique(time, return_inverse=True)
        sites, site_index = np.unique(space, axis=0, return_inverse=True)
        return cls(times, sites, time_index.ravel(), site_index.ravel())

    @cached_property
    def time(self) -> FloatArray:
        """Days of each point, (n,)."""
        return self.times[self.time_index]

    @cached_property
    def space(self) -> FloatArray:
        """Embedded km of each point, (n, d)."""
        return self.sites[self.site_index]

    def take(self, index: IntArray) -> Points:
        """Some of the points, on axes that hold only what they use."""
        t, time_index = np.unique(self.time_index[index], return_inverse=True)
        s, site_index = np.unique(self.site_index[index], return_inverse=True)
        return Points(self.times[t], self.sites[s], time_index.ravel(), site_index.ravel())

    def take_in_order(self, index: IntArray) -> Points:
        """Some of the points, in any order, on the same axes."""
        return Points(self.times, self.sites, self.time_index[index], self.site_index[index])


@dataclass(frozen=True, eq=False)
class Observations:
    """Noisy values at points: ``values = f(points) + ε`` with independent ε of variance ``noise``.

    Attributes
    ----------
    points : Points
    values : array (n,)
        Standardised.
    noise : array (n,)
        Noise variance of each, standardised; with per-cell errors that are not yet scaled, their squares.
    """

    points: Points
    values: FloatArray
    noise: FloatArray

    def __len__(self) -> int:
        return len(self.points)

    @property
    def columns(self) -> FloatArray:
        """The values as (n, draws), draws being one when there are no others."""
        return self.values if self.values.ndim == 2 else self.values[:, None]

    def take(self, index: IntArray) -> Observations:
        """Some of the observations."""
        return Observations(self.points.take(index), self.values[index], self.noise[index])

    def with_values(self, values: FloatArray) -> Observations:
        """The same points with other values, (n,) or (n, draws)."""
        return replace(self, values=values)
