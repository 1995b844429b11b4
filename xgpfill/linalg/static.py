"""Fields with a map that is the same at all times: a preconditioner, and local conditionals, that tell it apart.

A map is known from the average of all times, of which the few neighbours of an observation hold little: a factor that
conditions on neighbours leaves it a thousand times too uncertain. With the map's covariance V at the p places that are
ever observed, E which place each observation is at, and M = UᵀU ≈ (K_rest + noise)⁻¹ for the other terms,

    (K_rest + E V Eᵀ + noise)⁻¹ ≈ M − M E C⁻¹ Eᵀ M,   C⁻¹ = (V⁻¹ + EᵀME)⁻¹ = L (I + LᵀEᵀMEL)⁻¹ Lᵀ,   V = LLᵀ

(Woodbury's identity, Henderson & Searle 1981, doi:10.1137/1023004); C⁻¹ is the covariance of the map given the data.
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.linalg.dense import cholesky
from xgpfill.linalg.loops import gathered
from xgpfill.linalg.neighbours import Neighbours
from xgpfill.linalg.tables import summed_nearby
from xgpfill.linalg.vecchia import Rows, VecchiaFactor

if TYPE_CHECKING:
    from torch import Tensor

    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.points import Int32Array, IntArray
    from xgpfill.linalg.tables import Tables

MOST_PLACES = 2048
"""Places whose map is told apart, at most: its covariance is dense."""
OFTEN = 2.0
"""Times that a place is observed, on average, at least: else there is little to average."""
SHARE_OF_NEIGHBOURS = 0.5
"""Of the neighbours that a factor of all terms needs: the rest is told by so many as well."""


class StaticFactor:
    """A preconditioner like :class:`~xgpfill.linalg.vecchia.VecchiaFactor`, with the map of all times told apart.

    Parameters
    ----------
    neighbours : Neighbours
        Under all terms.
    places : int32 array (p, 3)
        As cells of the first time.
    number : int array (n,)
        Which place each observation is at.
    num_neighbours : int
        That a factor of all terms would have.
    device : str
    dtype : torch.dtype
        Of the weights, which are made in float64.

    Attributes
    ----------
    precision : array (n,)
        One over the variance of each observation given all others, about.
    """

    def __init__(
        self,
        neighbours: Neighbours,
        places: Int32Array,
        number: IntArray,
        num_neighbours: int,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        rest = neighbours.under(_without_map(neighbours.tables))
        own = math.ceil(SHARE_OF_NEIGHBOURS * num_neighbours)
        self._rest = VecchiaFactor(rest, own, device=device, dtype=dtype)
        self.precision: FloatArray = self._rest.precision  # with one observation more or less the map is as well known
        L = cholesky(_of_map(neighbours.tables, places), what="covariance of the static map")
        told = L.T @ torch.as_tensor(self._rest.summed(number, len(places))) @ L
        told.diagonal().add_(1.0)
        root = torch.linalg.solve_triangular(cholesky(told), L.T, upper=False)  # C⁻¹ = rootᵀ root
        self._root = root.to(device=device)
        self._number = torch.as_tensor(number, device=device)
        self._sums = Rows.sums(number, len(places)).on(device, torch.float64)

    def to(self, dtype: torch.dtype) -> StaticFactor:
        """The same factor for products in another precision; on the processor that of any."""
        found = copy(self)
        found._rest = self._rest.to(dtype)
        return found

    def __call__(self, residual: Tensor) -> Tensor:
        """M (1 − E C⁻¹ EᵀM) times (n, R): what the map is expected to be is taken off before M, not after."""
        sums = self._sums @ self._rest(residual).double()
        given = self._root.T @ (self._root @ sums)
        return self._rest(residual - given.to(residual)[self._number])


Factor = VecchiaFactor | StaticFactor


def preconditioner_of(
    neighbours: Neighbours, cells: Int32Array, num_neighbours: int, *, device: str, dtype: torch.dtype
) -> Factor:
    """The factor of the observations at cells (n, 3), with the map of all times apart where there is one to tell."""
    apart = places_of_map(neighbours.tables, cells)
    if apart is None:
        return VecchiaFactor(neighbours, num_neighbours, device=device, dtype=dtype)
    return StaticFactor(neighbours, *apart, num_neighbours, device=device, dtype=dtype)


def places_of_map(tables: Tables, cells: Int32Array) -> tuple[Int32Array, IntArray] | None:
    """The places (p, 3) that hold the cells, and which one each is at; None where no map is to be told apart."""
    arrays = tables.arrays
    if not arrays.static.size or not (arrays.space.size or arrays.alone.size):
        return None
    places, number = np.unique(cells[:, 1:], axis=0, return_inverse=True)
    if len(places) > MOST_PLACES or len(cells) < OFTEN * len(places):
        return None
    return np.insert(places, 0, 0, axis=1).astype(np.int32), number.ravel()


def _without_map(tables: Tables) -> Tables:
    """The covariance of all other terms."""
    arrays = tables.arrays._replace(static=np.zeros((0, 0, 0)))
    return replace(tables, arrays=arrays._replace(near=summed_nearby(arrays, tables.shape)))


def _of_map(tables: Tables, places: Int32Array) -> Tensor:
    """The covariance of the map at places (p, p)."""
    arrays, none = tables.arrays, np.zeros((0, 0))
    apart = arrays._replace(
        time=arrays.time[:0], space=arrays.space[:0], common=none, alone=none, near=np.zeros((0, 0, 0, 0))
    )
    known, p = Neighbours(replace(tables, arrays=apart), places, np.zeros(len(places))), len(places)
    found, near = np.empty((1, p, p)), np.argsort(known.order).astype(np.int32)[None]
    gathered(known.noisy, near, np.array([p], np.int32), found)
    lower = torch.as_tensor(found[0]).tril()
    return lower + lower.tril(-1).T
