"""Scattered cells and observations, as indices into two axes, so that covariances can be tabulated once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xgpfill.arrays import FloatArray, IntArray


SAME_PLACE = 1.6e-10
"""Coordinates of one place may differ by this share of the distance from the origin: 1e-6 km on the Earth."""


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
    exists : bool array (b,), optional
        Sites where the field exists; elsewhere any answer will do. None: everywhere.
    """

    times: FloatArray
    sites: FloatArray
    time_index: IntArray
    site_index: IntArray
    is_grid: bool = False
    frame: tuple[int, int] | None = None
    exists: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return self.time_index.size

    @classmethod
    def grid(
        cls,
        times: FloatArray,
        sites: FloatArray,
        frame: tuple[int, int] | None = None,
        exists: NDArray[np.bool_] | None = None,
    ) -> Points:
        """Every site at every time, time outermost."""
        t, s = np.indices((times.size, sites.shape[0]))
        return cls(times, sites, t.ravel(), s.ravel(), is_grid=True, frame=frame, exists=exists)

    @classmethod
    def of_cells(
        cls,
        times: FloatArray,
        sites: FloatArray,
        time_index: IntArray,
        site_index: IntArray,
        frame: tuple[int, int] | None = None,
        days: FloatArray | None = None,
    ) -> Points:
        """Cells of a lattice by number; where `days` (b,) says so, each site has a time of its own."""
        if days is not None:
            times, own = np.unique(days, return_inverse=True)
            time_index = own.ravel()[site_index]
        return cls(times, sites, time_index, site_index, frame=frame)

    @classmethod
    def scattered(cls, time: FloatArray, space: FloatArray) -> Points:
        """Points given one by one: `time` (n,) in days and `space` (n, d) in km; repeated axis values are shared."""
        times, time_index = np.unique(time, return_inverse=True)
        sites, site_index = np.unique(space, axis=0, return_inverse=True)
        return cls(times, sites, time_index.ravel(), site_index.ravel())

    @property
    def exist_nowhere(self) -> bool:
        """Whether the field exists at none of them: all land."""
        return self.exists is not None and not self.exists.any()

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
    field : int
        Which of several independent fields they are of, in the order of the lattice.
    unit : array (n,) or None
        What one stands for at each, relative to other places; None: the same everywhere.
    """

    points: Points
    values: FloatArray
    noise: FloatArray
    field: int = 0
    unit: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.points)

    @property
    def columns(self) -> FloatArray:
        """The values as (n, draws), draws being one when there are no others."""
        return self.values if self.values.ndim == 2 else self.values[:, None]

    def take(self, index: IntArray) -> Observations:
        """Some of the observations."""
        unit = None if self.unit is None else self.unit[index]
        return Observations(self.points.take(index), self.values[index], self.noise[index], self.field, unit)

    def with_values(self, values: FloatArray) -> Observations:
        """The same points with other values, (n,) or (n, draws)."""
        return replace(self, values=values)


def same_places(sites: FloatArray) -> IntArray | None:
    """Which sites are one place: the cells of a row at a pole, a meridian that is there at 0 and at 360 degrees.

    Parameters
    ----------
    sites : array (b, d)
        Embedded km.

    Returns
    -------
    int array (b,) or None
        Of each site the number of the first that has its coordinates but for rounding (`SAME_PLACE`); None when all
        differ. Sites that rounding joins one by one are one place.

    Examples
    --------
    >>> import numpy as np
    >>> same_places(np.array([[0.0, 6000.0], [1.0, 6000.0], [1e-9, 6000.0]]))
    array([0, 1, 0])
    """
    b, d = sites.shape
    if b < 2:
        return None
    near = SAME_PLACE * float(np.sqrt(np.einsum("ij,ij->i", sites, sites).max()))
    # Near places are near along any line; along this one, which fits no lattice, others hardly ever are.
    line = np.sqrt(np.arange(d) + 2.0)
    along = sites @ (line / np.linalg.norm(line))
    order = np.argsort(along, kind="stable")
    close = np.diff(along[order]) <= near
    if not close.any():
        return None
    suspects = np.sort(order[np.append(close, False) | np.append(False, close)])
    group = _without_gaps(np.column_stack([along, sites])[suspects], near)
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    if first.size == suspects.size:
        return None
    places = np.arange(b)
    places[suspects] = suspects[first][inverse]
    return places


def _without_gaps(coordinates: FloatArray, near: float) -> IntArray:
    """Numbers (n,) of groups of points, cut wherever a coordinate leaves a gap wider than `near`.

    Points nearer than that are never cut apart, as two on either side of the edge of a bin would be.
    """
    group = np.zeros(len(coordinates), np.intp)
    while True:
        count = int(group.max()) + 1
        for column in coordinates.T:
            order = np.lexsort((column, group))
            cut = (np.diff(column[order]) > near) | (np.diff(group[order]) != 0)
            group[order] = np.concatenate([[0], np.cumsum(cut)])
        if int(group.max()) + 1 == count:
            return group


def without_repeats(observations: Observations) -> tuple[Observations, IntArray]:
    """One observation of each place and time, which says all that those there say.

    Measurements yᵢ of one f with noise variances σᵢ² tell of f what one measurement Σ wᵢyᵢ / Σ wᵢ with the variance
    1 / Σ wᵢ tells, wᵢ = 1/σᵢ². (What they tell of the noise is lost.) Places are the same as :func:`same_places`
    says, times when they are equal.

    Parameters
    ----------
    observations : Observations
        Values (n,) or (n, draws). Noise of zero counts as the smallest positive number.

    Returns
    -------
    observations : Observations
        m of them in the order given, each at the first of its cells, on the same axes; the same object when nothing
        repeats.
    number : int array (n,)
        Which of these each of the given ones became.
    """
    n = len(observations)
    suspects, cell = _perhaps_repeated(observations.points)
    _, first, inverse, count = np.unique(cell, return_index=True, return_inverse=True, return_counts=True)
    if first.size == suspects.size:
        return observations, np.arange(n)
    leader = np.arange(n)
    leader[suspects] = suspects[first][inverse]
    leads = leader == np.arange(n)
    kept, number = np.flatnonzero(leads), (np.cumsum(leads) - 1)[leader]
    repeated = suspects[count[inverse] > 1]
    repeated = repeated[np.argsort(number[repeated], kind="stable")]
    starts = np.flatnonzero(np.diff(number[repeated], prepend=-1))
    pooled = number[repeated[starts]]
    values, noise = observations.values[kept], observations.noise[kept]
    mean, noise[pooled] = _pooled(observations.columns[repeated], observations.noise[repeated], starts)
    values[pooled] = mean.reshape(pooled.size, *values.shape[1:])
    points = observations.points
    there = replace(points, time_index=points.time_index[kept], site_index=points.site_index[kept], is_grid=False)
    return Observations(there, values, noise, observations.field), number


def _perhaps_repeated(points: Points) -> tuple[IntArray, IntArray]:
    """Indices (k,) of the points that others may share place and time with, and a number (k,) for these two."""
    places = same_places(points.sites)
    moments, moment = np.unique(points.times, return_inverse=True)
    cell = points.time_index.astype(np.intp) * len(points.sites) + points.site_index
    if moments.size < points.times.size or (np.diff(cell) <= 0).any():
        suspects = np.arange(len(points))
    elif places is None:  # cells of a lattice, in order and each once
        suspects = np.arange(0)
    else:
        suspects = np.flatnonzero((np.bincount(places)[places] > 1)[points.site_index])
    t, s = points.time_index[suspects], points.site_index[suspects]
    return suspects, moment[t] * len(points.sites) + (s if places is None else places[s])


def _pooled(values: FloatArray, noise: FloatArray, starts: IntArray) -> tuple[FloatArray, FloatArray]:
    """Means weighted by 1/noise (m, draws), and their noise (m,), of runs of observations from `starts` on."""
    smallest = np.finfo(np.float64).tiny
    noise = np.maximum(noise, smallest)
    size = np.diff(starts, append=noise.size)
    least = np.minimum.reduceat(noise, starts)
    weight = np.repeat(least, size) / noise  # at most one, where 1/noise may overflow
    total = np.add.reduceat(weight, starts)
    base = values[starts]
    change = np.add.reduceat(weight[:, None] * (values - np.repeat(base, size, axis=0)), starts, axis=0)
    return base + change / total[:, None], np.maximum(least / total, smallest)
