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
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.covariance.dense import cholesky
from xgpfill.grid.lattice import MOST_PLACES
from xgpfill.operators.tables import summed_nearby
from xgpfill.vecchia.local import local_conditionals
from xgpfill.vecchia.loops import crossed
from xgpfill.vecchia.neighbours import Neighbours
from xgpfill.vecchia.preconditioner import Rows, VecchiaFactor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from xgpfill.arrays import FloatArray, Int32Array, IntArray
    from xgpfill.operators.tables import Tables
    from xgpfill.vecchia.local import Goals, LocalBlock, Patches

OFTEN = 2.0
"""Times that a place is observed, on average, at least: else there is little to average."""
SHARE_OF_NEIGHBOURS, ENOUGH_NEIGHBOURS = 0.5, 32
"""Of the neighbours that a factor of all terms needs: the rest is told by so many as well, from enough of them on."""


class StaticFactor:
    """A preconditioner like `VecchiaFactor`, with the map of all times told apart.

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
        Of the weights on another device; on the processor they are float64.

    Attributes
    ----------
    precision : array (n,)
        One over the variance of each observation given all others, about.
    rest : Neighbours
        The observations under all other terms.
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
        self.rest = neighbours.under(_without_map(neighbours.tables))
        own = max(math.ceil(SHARE_OF_NEIGHBOURS * num_neighbours), min(num_neighbours, ENOUGH_NEIGHBOURS))
        own = own if num_neighbours < len(number) else num_neighbours  # all are all
        exact = torch.float64 if device == "cpu" else dtype  # what is told of the map hangs on differences of weights
        self._rest = VecchiaFactor(self.rest, own, device=device, dtype=exact)
        self.precision: FloatArray = self._rest.precision  # with one observation more or less the map is as well known
        self._places, self._tables = places, neighbours.tables
        L = self._prior_root = cholesky(_map_at(neighbours.tables, places, places), what="covariance of the static map")
        told = L.T @ torch.as_tensor(self._rest.summed(number, len(places))) @ L
        told.diagonal().add_(1.0)
        root = torch.linalg.solve_triangular(cholesky(told), L.T, upper=False)  # C⁻¹ = rootᵀ root
        self._root = root.to(device=device)
        self.number = torch.as_tensor(number, device=device)
        self._sums = Rows.sums(number, len(places)).on(device, torch.float64)

    @cached_property
    def given(self) -> GivenMap | None:
        """The map given the data on all sites of the lattice; None where these are too many."""
        _, rows, columns = self._tables.shape
        if rows * columns * len(self._places) > MOST_PLACES**2:
            return None
        sites = np.indices((1, rows, columns), np.int32).reshape(3, -1).T.copy()
        prior = torch.as_tensor(self._tables.arrays.static[sites[:, 1], sites[:, 1], 0])
        with_places = _map_at(self._tables, sites, self._places)
        half = torch.linalg.solve_triangular(self._prior_root, with_places.T, upper=False)
        weights = torch.linalg.solve_triangular(self._prior_root.T, half, upper=True).T
        covariance = (self._root.T @ self._root).cpu()
        beside = weights @ covariance
        variance = prior - half.square().sum(0) + (beside * weights).sum(1)
        return GivenMap(self.number.cpu(), covariance, beside, prior.numpy(), variance.clamp_min(0.0), weights, columns)

    def to(self, dtype: torch.dtype) -> StaticFactor:
        """The same factor for products in another precision; on the processor that of any."""
        found = copy(self)
        found._rest = self._rest.to(dtype)
        return found

    def expected(self, values: Tensor) -> Tensor:
        """The map at the places given values (n, R) of the observations, C⁻¹EᵀM times them, (p, R)."""
        found: Tensor = self._root.T @ (self._root @ (self._sums @ self._rest(values).double()))
        return found

    def __call__(self, residual: Tensor) -> Tensor:
        """M (1 − E C⁻¹ EᵀM) times (n, R): the map that is expected is taken off before M, not after."""
        found: Tensor = self._rest(residual - self.expected(residual).to(residual)[self.number])
        return found


Factor = VecchiaFactor | StaticFactor


@dataclass(frozen=True, eq=False)
class GivenMap:
    """What the data say of the map at every site of a lattice.

    Given the map, the rest of the field is told by neighbours alone, and the variance of a cell is that which they
    leave of the rest, plus that of what they make of the map: (e − Eᵀw)ᵀ C⁻¹ (e − Eᵀw), with w their weights.

    Attributes
    ----------
    number : int Tensor (n,)
        The place of each observation.
    covariance : Tensor (p, p)
        C⁻¹, of the places.
    beside : Tensor (sites, p)
        Of each site with the places.
    prior : array (sites,)
    variance : Tensor (sites,)
    weights : Tensor (sites, p)
        Of the places in the map at each site.
    columns : int
        Of the lattice.
    """

    number: Tensor
    covariance: Tensor
    beside: Tensor
    prior: FloatArray
    variance: Tensor
    weights: Tensor
    columns: int

    def sites(self, cells: Int32Array) -> IntArray:
        """The sites (m,) of cells (m, 3) of the lattice."""
        return cells[:, 1].astype(np.intp) * self.columns + cells[:, 2]

    def left(self, near: IntArray, cells: Int32Array, weights: Tensor) -> FloatArray:
        """Variance that the map adds to the cells of k patches, (k, cells).

        Parameters
        ----------
        near : int array (k, count)
            The observations that each patch is conditioned on.
        cells : int32 array (k · cells, 3)
        weights : Tensor (k, count, cells)
            Those of the observations; zero beyond their number.
        """
        places = self.number[torch.as_tensor(near)]
        sites = torch.as_tensor(self.sites(cells).reshape(len(near), -1))
        own = self.covariance[places[:, :, None], places[:, None, :]]
        between = self.beside[sites[:, None, :], places[:, :, None]]
        found = self.variance[sites] + (weights * (own @ weights - 2.0 * between)).sum(1)
        return np.asarray(found.clamp_min(0.0).numpy())


def given_map(factor: Factor) -> GivenMap | None:
    """The map that a factor tells apart on all sites; None where it tells none."""
    return factor.given if isinstance(factor, StaticFactor) else None


def conditionals(
    factor: Factor,
    neighbours: Neighbours,
    values: FloatArray,
    goals: Goals,
    patches: Patches,
    num_neighbours: int,
) -> Iterator[LocalBlock]:
    """Local conditionals of cells, as :func:`~xgpfill.vecchia.local.local_conditionals`, with the map told apart.

    Neighbours tell the rest of the field from what the map that the data let expect leaves of them.
    """
    if not isinstance(factor, StaticFactor) or factor.given is None:
        yield from local_conditionals(neighbours, values, goals, patches, num_neighbours)
        return
    given = factor.given
    sites, expected = given.sites(goals.cells), given.weights.new_zeros(len(given.weights), values.shape[1])
    if values.shape[1]:
        places = factor.expected(torch.as_tensor(values))
        values, expected = values - places[given.number].numpy(), given.weights @ places
    rest = replace(goals, prior=np.maximum(goals.prior - given.prior[sites], 0.0))
    for block in local_conditionals(factor.rest, values, rest, patches, num_neighbours, given):
        map_there = expected[torch.as_tensor(sites[patches.members[block.patches]])]
        yield replace(block, mean=block.mean + map_there.numpy())


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


def _map_at(tables: Tables, cells: Int32Array, places: Int32Array) -> Tensor:
    """The covariance of the map at cells (m, 3) with that at places, (m, p)."""
    arrays, none, p = tables.arrays, np.zeros((0, 0)), len(places)
    alone = arrays._replace(
        time=arrays.time[:0], space=arrays.space[:0], common=none, alone=none, near=np.zeros((0, 0, 0, 0))
    )
    known = Neighbours(replace(tables, arrays=alone), places, np.zeros(p))
    near, found = np.argsort(known.order).astype(np.int32)[None], np.empty((len(cells), p))
    crossed(known.noisy, cells, near, np.array([p], np.int32), 0, 1, found)
    return torch.as_tensor(found)
