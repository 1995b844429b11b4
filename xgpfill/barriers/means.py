"""The constant mean where land parts the water: one for each basin with observations, so that none informs another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from xgpfill.barriers.barrier import Barrier
    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.points import Int32Array, IntArray, Points


@dataclass(frozen=True, eq=False)
class Means:
    """Which observations tell which constant means, and which of these a point has.

    Attributes
    ----------
    barrier : Barrier or None
        None: there is one mean.
    basins : int array (q,)
        Numbers of the basins with observations.
    shares : array (q,)
        Of the observations. A point in a basin without any has the means of the others in these shares.
    """

    barrier: Barrier | None
    basins: Int32Array
    shares: FloatArray

    @classmethod
    def of(cls, barrier: Barrier | None, points: Points) -> Means:
        """Those of observations at points."""
        if barrier is None or not len(points):
            return cls(None, np.ones(1, np.int32), np.ones(1))
        basins, counts = np.unique(_basins(barrier, points), return_counts=True)
        return cls(barrier, basins, counts / counts.sum())

    def at(self, points: Points) -> FloatArray:
        """How much each mean counts at points, (m, q)."""
        if self.barrier is None:
            return np.ones((len(points), 1))
        own = (_basins(self.barrier, points)[:, None] == self.basins).astype(float)
        return np.where(own.any(axis=1, keepdims=True), own, self.shares)

    def groups(self, bases: FloatArray, most: int) -> list[IntArray]:
        """The first observations that tell each mean, at most so many, from their rows (n, q) of :meth:`at`."""
        if self.barrier is None:
            return [np.arange(min(len(bases), most))]
        return [np.flatnonzero(column)[:most] for column in bases.T]


def _basins(barrier: Barrier, points: Points) -> Int32Array:
    return barrier.basin[barrier.cells_at(points.sites)][points.site_index]
