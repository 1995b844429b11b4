"""Land between places: which basin each place is in, and with which others it is joined over water."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from scipy.ndimage import label
from scipy.spatial import cKDTree

from xgpfill.barriers.ways import joined
from xgpfill.linalg.threads import nearest_of, on_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.points import Int32Array, IntArray, Observations

    Mask = NDArray[np.bool_]

LEAST = 2
"""Observations that a part of a block has, at least."""


@dataclass(frozen=True, eq=False)
class Barrier:
    """Land and water on a grid of places.

    Two places are joined over water where both are in one basin and the straight line between them (in rows and
    columns) crosses no land, or a way over water is at most 1.5 times as long; ways lead through the 4,096 cells that
    are nearest over water.

    Attributes
    ----------
    water : bool array (ny, nx)
        False on land.
    places : array (ny, nx, d)
        Embedded km of the cells.
    wraps : bool
        Whether the last column is a neighbour of the first.
    """

    water: Mask
    places: FloatArray
    wraps: bool = False

    def __getstate__(self) -> dict[str, Any]:
        """Travel without what is made of these."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def as_array(self) -> xr.DataArray:
        """As one array that can be saved: places (y, x, axis), with water as a coordinate."""
        coords = {"water": (("y", "x"), np.ascontiguousarray(self.water))}
        return xr.DataArray(self.places, coords, ("y", "x", "axis"), attrs={"wraps": int(self.wraps)})

    @classmethod
    def from_array(cls, array: xr.DataArray) -> Barrier:
        """What :meth:`as_array` gave."""
        return cls(array.coords["water"].values.astype(bool), array.values, bool(array.attrs["wraps"]))

    @property
    def bars(self) -> bool:
        """Whether there is any land."""
        return not self.water.all()

    @cached_property
    def basin(self) -> Int32Array:
        """The number of the basin of each cell (ny · nx,), 0 on land; cells that share an edge are of one basin."""
        found = label(self.water)[0]
        for row in found if self.wraps else ():
            if row[0] and row[-1] and row[0] != row[-1]:
                found[found == row[-1]] = row[0]
        return np.asarray(np.unique(found, return_inverse=True)[1].ravel() + int(self.water.all()), dtype=np.int32)

    @property
    def num_basins(self) -> int:
        """How many basins there are."""
        return int(self.basin.max())

    @property
    def share(self) -> float:
        """Share of the cells that is land."""
        return 1.0 - float(self.water.mean())

    @cached_property
    def _flat(self) -> FloatArray:
        return np.ascontiguousarray(self.places.reshape(self.water.size, -1), dtype=float)

    @cached_property
    def _wet(self) -> tuple[IntArray, cKDTree]:
        """The cells of water, and a tree of them."""
        cells = np.flatnonzero(self.water)
        return cells, cKDTree(self._flat[cells])

    def cells_at(self, sites: FloatArray) -> IntArray:
        """The cell of water nearest to each of some places (n, d), by number."""
        cells, tree = self._wet
        return np.asarray(cells[nearest_of(tree, np.ascontiguousarray(sites), 1)[:, 0]])

    def on_land(self, sites: FloatArray) -> Mask:
        """Whether the cell nearest to each of some places (n, d) is land."""
        return np.asarray(~self.water.ravel()[nearest_of(cKDTree(self._flat), np.ascontiguousarray(sites), 1)[:, 0]])

    def joins(self, own: IntArray, others: Any) -> Mask:
        """Whether cells (n,) are joined over water with others (n, k), by number; those below zero with nothing."""
        found = np.zeros(others.shape, bool)
        grid = np.ascontiguousarray(self.water), self._flat, bool(self.wraps), self.basin
        own, others, sequence = np.ascontiguousarray(own), np.ascontiguousarray(others), np.argsort(own, kind="stable")
        on_threads(lambda a, b: joined(*grid, own, others, sequence, a, b, found), len(own), least=64)
        return found

    def parts_of(self, block: Observations) -> list[Observations]:
        """Observations in parts that water connects within the box of rows and columns that holds all of them.

        Parts of a single observation are left out.
        """
        points, (ny, nx) = block.points, self.water.shape
        y, x = np.divmod(self.cells_at(points.sites)[points.site_index], nx)
        if self.wraps and int(np.ptp(x)) > nx // 2:  # perhaps on both sides of the last column
            connected = self.basin.reshape(ny, nx)
        else:
            connected = np.zeros((ny, nx), np.int32)
            box = slice(int(y.min()), int(y.max()) + 1), slice(int(x.min()), int(x.max()) + 1)
            connected[box] = label(self.water[box])[0]
        part = connected[y, x]
        numbers = np.unique(part)
        if numbers.size == 1:
            return [block]
        return [block.take(some) for n in numbers if (some := np.flatnonzero(part == n)).size >= LEAST]
