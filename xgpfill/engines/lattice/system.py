"""The system of the iterative engine, A = K + noise on the observed cells of a lattice: products, factor, solves."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.engines.base import Convergence
from xgpfill.engines.lattice.products import LEAST_COLUMNS, Products
from xgpfill.errors import XgpfillWarning
from xgpfill.grid.lattice import Lattice, Space
from xgpfill.machine.threads import own_threads
from xgpfill.operators.conjugate_gradients import conjugate_gradients
from xgpfill.operators.draws import PriorDraws, noise_share
from xgpfill.operators.lattice import LatticeOperator
from xgpfill.vecchia.neighbours import Neighbours
from xgpfill.vecchia.static import preconditioner_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from xgpfill.arrays import FloatArray
    from xgpfill.covariance.matrices import Covariance
    from xgpfill.engines.lattice.asked import Probes, Told
    from xgpfill.engines.lattice.variance import Pool
    from xgpfill.grid.points import Observations, Points
    from xgpfill.operators.conjugate_gradients import Solution
    from xgpfill.settings import Iterative
    from xgpfill.vecchia.static import Factor

    Watch = Callable[[int, float], None]
    Float32Array = np.ndarray[tuple[int, ...], np.dtype[np.float32]]

DRAW_TOLERANCE = 0.03
"""Of the solves for draws: looser ones would make the variance too small."""
FEW_PLACES = 0.25
"""Share of the sites that may ever have been observed for the iteration to run on these alone, as a dense matrix."""
MOST_PLACES = 4000
USELESS = 0.1
"""Posterior standard deviations that means may be off; an answer that is farther off is thrown away."""
EXACT_TOLERANCE = 0.01
"""Of solves for the variance of a cell, in its own standard deviations."""
FEW_COLUMNS = 4
"""Columns of single cells whose products in full precision are made at once: buffers grow with them."""
ENOUGH_NOISE = 1e-4
"""Share of the variance from which on float32 rounds fields of draws far below what is not known of them."""
EPS = 2.3e-16


class Stalled(Exception):  # noqa: N818  (no error yet: another engine may do it)
    """Conjugate gradients stopped so far from the answer that it is of no use; the text says how."""


class Unproven(Exception):  # noqa: N818
    """Variances missed their bars where the dense engine costs little."""


@dataclass(frozen=True, eq=False)
class Draws:
    """Draws of the zero-mean field, of data from it, and A⁻¹ times these.

    Attributes
    ----------
    fields : float32 array (S, nt, sites)
        On all cells of the lattice.
    data, weights : Tensor (n, S)
    """

    fields: Float32Array
    data: Tensor
    weights: Tensor


class System:
    """A = K + noise on the observed cells of a lattice: products, a preconditioner, solves."""

    @own_threads()
    def __init__(
        self,
        settings: Iterative,
        law: Covariance,
        observations: Observations,
        records: list[Convergence] | None = None,
    ) -> None:
        began = time.perf_counter()
        self.settings, self.law, self.observations = settings, law, observations
        points = observations.points
        rows, columns = points.frame or (points.sites.shape[0], 1)
        coordinates = points.sites.reshape(rows, columns, -1)
        self._noise_share = noise_share(law.prior, float(observations.noise.min()))
        self.operator = LatticeOperator(law.prior, points.times, coordinates, law.device, law.dtype, self._noise_share)
        self.site, self.time = self.operator.cells(points.time_index, points.site_index)
        cell = points.time_index * self.operator.num_sites + points.site_index
        self.noise = law.tensor(observations.noise)[:, None]
        repeats = bool(np.unique(cell).size < cell.size)
        self._lattice = Products(self.operator, self.site, self.time, self.noise, repeats=repeats)
        self._products = self._on_observed_places() or self._lattice
        cells = self.operator.tables.cells(points.time_index, points.site_index)
        self.neighbours = Neighbours(self.operator.tables, cells, observations.noise)
        self.num_neighbours = settings.neighbours_of(len(observations))
        kind = torch.float32 if law.device == "cpu" else law.dtype  # half the memory, and as good a factor
        self.preconditioner = preconditioner_of(
            self.neighbours, cells, self.num_neighbours, device=law.device, dtype=kind
        )
        # Residuals are small or large beside what is not known of an observation from all others.
        self.scale = torch.as_tensor(self.preconditioner.precision, device=law.device).to(law.dtype).rsqrt()
        self._fast: tuple[Products, Factor] | None = None
        if law.dtype == torch.float64:
            self._fast = self._products.to(torch.float32), self.preconditioner.to(torch.float32)
        self.factor_seconds = time.perf_counter() - began
        self.record: list[Convergence] = [] if records is None else records
        self.watch: Watch | None = None
        self.draws: Draws | None = None
        self.solved: tuple[Tensor, Tensor, float] | None = None  # beside the draws
        self.probes: Probes | None = None
        self.told: Told | None = None
        self.single_pool: Pool | None = None
        self.checked = 0

    def _on_observed_places(self) -> Products | None:
        """Products on the places that were ever observed, where these are so few that a dense matrix is cheaper."""
        points = self.observations.points
        places, number = np.unique(points.site_index, return_inverse=True)
        most = min(MOST_PLACES, FEW_PLACES * self.operator.num_sites)
        if self.operator.meridians is None or places.size > most:
            return None
        nx, ny, _ = self.operator.shape
        if places.size**2 > ny * ny * nx:  # as many operations as the lattice takes
            return None
        coordinates = points.sites[places][:, None]
        operator = LatticeOperator(self.law.prior, points.times, coordinates, self.law.device, self.law.dtype)
        if operator.meridians is not None:
            return None
        site = torch.as_tensor(number.ravel(), device=self.law.device)
        return replace(self._lattice, operator=operator, site=site)

    def release(self) -> None:
        """Give back what products of large fields work in: where all is solved, other things need the memory."""
        if self._lattice.columns_at_once > LEAST_COLUMNS:
            return
        for products in (self._products, self._lattice, *(self._fast or ())[:1]):
            products.operator.release()

    @property
    def columns_at_once(self) -> int:
        """Columns whose fields on all cells are worked on at once."""
        return self._lattice.columns_at_once

    def spread(self, v: Tensor, *, rough: bool = False) -> Tensor:
        """K times values at the observations, on all cells: (sites, R, nt), overwritten next.

        Where `rough` in float32, unless noise is so small that its rounding would matter.
        """
        if rough and self._fast and self._products is self._lattice and self._noise_share >= ENOUGH_NOISE:
            return self._fast[0].spread(v.float())
        return self._lattice.spread(v)

    def solve(self, right: Tensor, tolerance: Tensor) -> Tensor:
        """A⁻¹ times (n, R); see :meth:`solution`."""
        return self.solution(right, tolerance).values

    def solution(self, right: Tensor, tolerance: Tensor, *, recorded: bool = True) -> Solution:
        """A⁻¹ times (n, R).

        Parameters
        ----------
        right : Tensor (n, R)
        tolerance : Tensor (R,)
            Of the residual over what is not known of each observation from all others (root mean square): about what
            it makes of errors in the mean, in posterior standard deviations.
        recorded : bool
            Whether it counts among the solves that `record` tells of.

        Raises
        ------
        Stalled
            When it ended far from its tolerance.

        Warns
        -----
        XgpfillWarning
            When the tolerance was missed.
        """
        began = time.perf_counter()
        found = conjugate_gradients(
            self._products,
            right,
            self.preconditioner,
            tolerance,
            max_steps=self.settings.max_steps,
            scale=self.scale,
            fast=self._fast,
            callback=self.watch,
        )
        self._note(found, tolerance, time.perf_counter() - began, recorded=recorded)
        return found

    def _note(self, found: Solution, tolerance: Tensor, seconds: float, *, recorded: bool) -> None:
        made = Convergence.of(found, tolerance, self.settings.tolerance, self.factor_seconds, seconds)
        if recorded:
            self.record.append(made)
        if found.converged:
            return
        if not made.error <= USELESS:
            raise Stalled(f"stopped after {made.steps} steps with means about {made.error:.2g} standard deviations off")
        most = self.num_neighbours
        warnings.warn(
            f"{made.as_text} Type `method=xgpfill.Iterative(num_neighbours={2 * most})`, more `max_steps=`, or a "
            f"larger `noise=`.",
            XgpfillWarning,
            stacklevel=2,
        )

    def solve_data(self, right: Tensor) -> tuple[Tensor, float]:
        """A⁻¹ times data (n, R), to the tolerance of the settings, and the residual of the first column."""
        if not right.shape[1]:
            return right, 0.0
        found = self.solution(right, right.new_full((right.shape[1],), self.settings.tolerance))
        return found.values, float(found.residual[0])

    def tolerance_for(self, right: Tensor) -> Tensor:
        """A small share of each column itself, for right-hand sides that are no data."""
        share = min(1e-3, 0.2 * self.settings.tolerance)
        return (share * self._size(right)).clamp_min(torch.finfo(right.dtype).tiny)

    def columns_for(self, targets: Points, local_sd: FloatArray) -> tuple[Tensor, Tensor]:
        """Covariances (n, k) of targets with the observations, and how well to solve for them: to 1 % of their sd.

        What is left of a column is to be small beside the sd when it is spread over all observations, and beside the
        variance when it is near the target, as the column itself is.
        """
        cross = self.law.matrix(self.observations.points, targets)
        precise = min(EXACT_TOLERANCE, 2.0 * self.settings.tolerance)
        left = local_sd**2 / self.law.diagonal(targets).double().cpu().numpy()
        spread, near = (torch.as_tensor(x).to(cross) for x in (precise * local_sd, 2.0 * precise * left))
        return cross, torch.minimum(spread, near * self._size(cross)).clamp_min(torch.finfo(cross.dtype).tiny)

    def _size(self, right: Tensor) -> Tensor:
        """Of columns, as residuals are measured."""
        return (right / self.scale[:, None]).square().mean(0).sqrt()

    def solve_all(self, right: Tensor) -> tuple[Tensor, float, Draws]:
        """A⁻¹ times `right`, its first residual, and draws, which are solved for the first time."""
        if self.draws is not None:
            if self.solved is not None and torch.equal(self.solved[0], right):
                return *self.solved[1:], self.draws
            return *self.solve_data(right), self.draws
        own, fields, data = right.shape[1], *self.draw_data(self.settings.num_samples)
        loose = min(DRAW_TOLERANCE, 10.0 * self.settings.tolerance)
        tolerance = right.new_full((own + data.shape[1],), loose)
        tolerance[:own] = self.settings.tolerance
        found = self.solution(torch.cat([right, data], 1), tolerance)
        self.checked = len(self.record) - 1
        self.draws = Draws(fields, data, found.values[:, own:])
        self.solved = right, found.values[:, :own], float(found.residual[0]) if own else 0.0
        return *self.solved[1:], self.draws

    def variances(self, prior: FloatArray, cross: Tensor, near: Tensor, local: FloatArray, excess: float) -> FloatArray:
        """Exact variances of targets, the trend left out, none of which is more than about `excess` too large.

        Of any weights x, k(x, x) − 2xᵀk + xᵀAx is the variance plus rᵀA⁻¹r with r = k − Ax: never too small, and second
        order in what is left. So weights that are nearly right need few steps or, as rᵀUᵀUr tells, none.

        Parameters
        ----------
        prior : array (k,)
            Prior variances.
        cross : Tensor (n, k)
            Covariances k with the observations.
        near : Tensor (n, k)
            Weights to begin with.
        local : array (k,)
            The variances, about.
        excess : float
            Share of them.
        """
        with own_threads():
            parts = [slice(a, a + FEW_COLUMNS) for a in range(0, cross.shape[1], FEW_COLUMNS)]
            left = torch.cat([cross[:, some] - self._products(near[:, some]) for some in parts], 1)
            energy = (left * self.preconditioner(left)).sum(0)
        tiny = torch.finfo(left.dtype).tiny
        allowed = torch.as_tensor(excess * local).to(left) / energy.clamp_min(tiny)
        tolerance = (self._size(left) * allowed.sqrt()).clamp_min(tiny)
        found = self.solution(left, tolerance, recorded=False)
        explained = ((near + found.values) * (cross + found.remainder)).sum(0)
        return np.asarray(np.maximum(prior - explained.double().cpu().numpy(), EPS * prior))

    @own_threads()
    def draw_data(self, count: int) -> tuple[Float32Array, Tensor]:
        """Draws of the zero-mean field (count, nt, sites), and of noisy data (n, count)."""
        points, law = self.observations.points, self.law
        space = Space(self.operator.coordinates, law.prior.geometry)
        draws = PriorDraws(Lattice(None, points.times, space), law.prior, 0, self._noise_share)
        rng = np.random.default_rng(1)
        rows, columns = space.shape
        everywhere = (np.arange(points.times.size), np.arange(rows), np.arange(columns))
        found = np.empty((len(points), count))
        fields = np.empty((count, points.times.size, rows * columns), np.float32)
        for s, field in enumerate(draws.fields(range(count), 0, everywhere)):
            flat = field.reshape(points.times.size, -1)
            found[:, s], fields[s] = flat[points.time_index, points.site_index], flat
        found += rng.standard_normal(found.shape) * np.sqrt(self.observations.noise)[:, None]
        return fields, law.tensor(found)

    def drawn(self, count: int) -> FloatArray:
        """The data of all draws, (n, S); none of them, (n, 0), where means of none are known."""
        if not count:
            return np.zeros((len(self.observations), 0))
        assert self.draws is not None
        return np.asarray(self.draws.data.double().cpu().numpy())
