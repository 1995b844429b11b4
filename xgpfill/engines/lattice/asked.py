"""Cells of a lattice whose variances are asked for, those that are solved exactly, and what they say of others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import KDTree

if TYPE_CHECKING:
    from xgpfill.arrays import FloatArray, IntArray
    from xgpfill.engines.lattice.variance import BoolArray, Pool
    from xgpfill.grid.points import Points

    AnyFloats = np.ndarray[Any, np.dtype[np.floating[Any]]]


@dataclass(frozen=True, eq=False)
class Asked:
    """Targets that are cells of the lattice, all of some sites at all of some times.

    Attributes
    ----------
    points : Points
    times, sites : int array
        Where they are on the lattice, along each axis.
    shape : tuple of int
        Times, rows, columns.
    wanted : bool array (m,)
        Where the field exists.
    """

    points: Points
    times: IntArray
    sites: IntArray
    shape: tuple[int, int, int]
    wanted: BoolArray

    def is_whole(self, own: Points) -> bool:
        """Whether these are all cells of the lattice."""
        return self.times.size == own.times.size and self.sites.size == own.sites.shape[0]

    def is_same(self, other: Asked) -> bool:
        """Whether these are those cells."""
        pairs = ((self.times, other.times), (self.sites, other.sites), (self.wanted, other.wanted))
        return all(np.array_equal(a, b) for a, b in pairs)

    def number(self, cells: IntArray) -> IntArray:
        """Which targets cells (k, 2) of the lattice are; −1 for none."""
        found = []
        for own, wanted in ((self.times, cells[:, 0]), (self.sites, cells[:, 1])):
            place = np.full(max(own.max(), wanted.max(initial=0)) + 1, -1)
            place[own] = np.arange(own.size)
            found.append(place[wanted])
        return np.where((found[0] < 0) | (found[1] < 0), -1, found[0] * self.sites.size + found[1])


@dataclass(frozen=True, eq=False)
class Probes:
    """Cells whose variance is solved exactly.

    Attributes
    ----------
    cells : int array (P, 2)
        Times and sites of the lattice.
    points : Points
    variance : array (P,)
        Exact, but for the trend.
    asked : Asked
        The targets that they were chosen from.
    """

    cells: IntArray
    points: Points
    variance: FloatArray
    asked: Asked


@dataclass(frozen=True, eq=False)
class Told:
    """What unobserved cells of the lattice say of the variance of targets elsewhere.

    Attributes
    ----------
    pool : Pool
    factors : (array (m,), array (m,))
        Of A and B, over what the pool expects of each cell.
    asked : Asked or None
        Those cells.
    neighbours : int
        Observations that each was conditioned on.
    sample : Sample or None
        Some of them, to be conditioned on neighbours of their own, as targets elsewhere are.
    """

    pool: Pool
    factors: tuple[FloatArray, FloatArray]
    asked: Asked | None = None
    neighbours: int = 0
    sample: Sample | None = None


@dataclass(frozen=True, eq=False)
class Sample:
    """Some cells.

    Attributes
    ----------
    points : Points
    mean, errors : array (k, S)
        Posterior means of draws there, and the draws less these.
    """

    points: Points
    mean: AnyFloats
    errors: AnyFloats


def places_on(own: Points, targets: Points) -> tuple[IntArray, IntArray] | None:
    """Which sites and times of a lattice those of the targets are; None when some are elsewhere."""
    sites, times = _places(own.sites, targets.sites), _places(own.times[:, None], targets.times[:, None])
    return None if sites is None or times is None else (sites, times)


def _places(own: FloatArray, wanted: FloatArray) -> IntArray | None:
    """Where each of `wanted` is among `own` rows; None when one is not there."""
    if own.shape == wanted.shape and np.array_equal(own, wanted):
        return np.arange(len(own))
    if not len(own):
        return None
    distance, index = KDTree(own).query(wanted)
    return None if (distance > 0).any() else np.asarray(index, dtype=np.intp)
