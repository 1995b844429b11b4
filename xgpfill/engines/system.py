"""The system of the iterative engine, A = K + noise on the observed cells of a lattice: products, factor, solves."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.errors import XgpfillWarning
from xgpfill.grid.lattice import Lattice, Space
from xgpfill.linalg.conjugate_gradients import ROWS, conjugate_gradients
from xgpfill.linalg.draws import PriorDraws
from xgpfill.linalg.lattice import LatticeOperator
from xgpfill.linalg.neighbours import Neighbours
from xgpfill.linalg.tables import Tables
from xgpfill.linalg.threads import in_parts, own_threads
from xgpfill.linalg.vecchia import VecchiaFactor

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from xgpfill.engines.settings import Iterative
    from xgpfill.engines.tilelaw import TileLaw
    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.points import Observations
    from xgpfill.linalg.conjugate_gradients import Solution

    Watch = Callable[[int, float], None]

DRAW_TOLERANCE = 0.03
"""Of the solves for draws: looser ones would make the variance too small."""


@dataclass(frozen=True)
class Convergence:
    """How a solve went.

    Attributes
    ----------
    steps : int
    residual : float
        Largest true residual over its tolerance; at most 1 when the solve converged.
    tolerance : float
        Of the mean.
    observations, columns : int
    factor_seconds, solve_seconds : float
    """

    steps: int
    residual: float
    tolerance: float
    observations: int
    columns: int
    factor_seconds: float
    solve_seconds: float


@dataclass(frozen=True, eq=False)
class Products:
    """Products with A = K + noise on the observed cells.

    Attributes
    ----------
    operator : LatticeOperator
    site, time : int Tensor (n,)
        Places in its fields.
    noise : Tensor (n, 1)
    features : Tensor (n, q) or None
    repeats : bool
        Whether a cell was measured several times.
    """

    operator: LatticeOperator
    site: Tensor
    time: Tensor
    noise: Tensor
    features: Tensor | None
    repeats: bool

    def to(self, dtype: torch.dtype) -> Products:
        """The same in another precision."""
        features = None if self.features is None else self.features.to(dtype)
        return replace(self, operator=self.operator.to(dtype), noise=self.noise.to(dtype), features=features)

    def __call__(self, v: Tensor) -> Tensor:
        """A times (n, R)."""
        field, found = self.spread(v), torch.empty_like(v)

        def part(start: int, stop: int) -> None:
            at = slice(start, stop)
            torch.addcmul(field[self.site[at], :, self.time[at]], self.noise[at], v[at], out=found[at])

        in_parts(part, len(v), self._rows)
        return found if self.features is None else found.addmm_(self.features, self.features.T @ v)

    def spread(self, v: Tensor) -> Tensor:
        """K, without features, times values at the observations, on all cells: (sites, R, nt), overwritten next."""
        field = self.operator.empty(v.shape[1])
        if self.repeats:  # several measurements of one cell add up
            field.permute(0, 2, 1).index_put_((self.site, self.time), v, accumulate=True)
        else:

            def part(start: int, stop: int) -> None:
                field[self.site[start:stop], :, self.time[start:stop]] = v[start:stop]

            in_parts(part, len(v), self._rows)
        return self.operator(field)

    @property
    def _rows(self) -> int:
        """Observations that one thread takes at once; all of them on other devices."""
        return ROWS if self.noise.device.type == "cpu" else max(1, len(self.noise))


class System:
    """A = K + noise on the observed cells of a lattice: products, a preconditioner, solves."""

    @own_threads()
    def __init__(
        self,
        settings: Iterative,
        law: TileLaw,
        observations: Observations,
        records: list[Convergence] | None = None,
    ) -> None:
        began = time.perf_counter()
        self.settings, self.law, self.observations = settings, law, observations
        points = observations.points
        rows, columns = points.frame or (points.sites.shape[0], 1)
        coordinates = points.sites.reshape(rows, columns, -1)
        self.operator = LatticeOperator(law.prior, points.times, coordinates, law.device, law.dtype)
        self.site, self.time = self.operator.cells(points.time_index, points.site_index)
        cell = points.time_index * self.operator.num_sites + points.site_index
        self.noise = law.tensor(observations.noise)[:, None]
        self.features = law.features(points)
        repeats = bool(np.unique(cell).size < cell.size)
        self._products = Products(self.operator, self.site, self.time, self.noise, self.features, repeats=repeats)
        self.neighbours = Neighbours(
            self.operator.tables,
            self.operator.tables.cells(points.time_index, points.site_index),
            observations.noise,
            None if self.features is None else self.features.double().cpu().numpy(),
            ranking=self._ranking(coordinates),
        )
        self.preconditioner = VecchiaFactor(
            self.neighbours, settings.num_neighbours, device=law.device, dtype=law.dtype
        )
        # Residuals are small or large beside what is not known of an observation from all others.
        self.scale = torch.as_tensor(self.preconditioner.precision, device=law.device).to(law.dtype).rsqrt()
        self._fast = None
        if law.dtype == torch.float64:
            self._fast = self._products.to(torch.float32), self.preconditioner.to(torch.float32)
        self.factor_seconds = time.perf_counter() - began
        self.record: list[Convergence] = [] if records is None else records
        self.watch: Watch | None = None
        self._draws: tuple[Tensor, Tensor] | None = None

    def _ranking(self, coordinates: FloatArray) -> Tables | None:
        """The whole prior's covariance, where features tell a part of it: neighbours are chosen under all terms."""
        if self.features is None:
            return None
        found = Tables.of(self.law.law.base.prior, self.observations.points.times, coordinates)
        return found if found.shape == self.operator.tables.shape else None

    def spread(self, v: Tensor) -> Tensor:
        """K, without features, times values at the observations, on all cells: (sites, R, nt), overwritten next."""
        return self._products.spread(v)

    def solve(self, right: Tensor, tolerance: Tensor) -> Tensor:
        """A⁻¹ times (n, R).

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
        self._note(found, tolerance, time.perf_counter() - began)
        return found.values

    def _note(self, found: Solution, tolerance: Tensor, seconds: float) -> None:
        worst = float((found.residual / tolerance).max()) if tolerance.numel() else 0.0
        n, columns = found.values.shape
        self.record.append(
            Convergence(found.steps, worst, self.settings.tolerance, n, columns, self.factor_seconds, seconds)
        )
        if not found.converged:
            most = self.settings.num_neighbours
            warnings.warn(
                f"Conjugate gradients stopped after {found.steps} steps at {worst:.2g} times the tolerance, so the "
                f"field is not the exact one. Type `method=xgpfill.Iterative(num_neighbours={2 * most})`, more "
                f"`max_steps=`, or a larger `noise=`.",
                XgpfillWarning,
                stacklevel=2,
            )

    def with_draws(self, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A⁻¹ times `right`, and draws of zero-mean data (n, S) with A⁻¹ times them, solved once in the same batch."""
        own = right.shape[1]
        if self._draws is None:
            data = self.draw_data(self.settings.num_samples)
            tolerance = right.new_full((own + data.shape[1],), max(DRAW_TOLERANCE, self.settings.tolerance))
            tolerance[:own] = self.settings.tolerance
            found = self.solve(torch.cat([right, data], 1), tolerance)
            self._draws = (data, found[:, own:])
            return found[:, :own], *self._draws
        solved = self.solve(right, right.new_full((own,), self.settings.tolerance)) if own else right
        return solved, *self._draws

    @own_threads()
    def draw_data(self, count: int) -> Tensor:
        """Draws of zero-mean data from the prior and the noise, (n, count)."""
        points, law = self.observations.points, self.law
        space = Space(self.operator.coordinates, law.prior.geometry)
        draws = PriorDraws(Lattice(None, points.times, space), law.prior, 0)
        rng = np.random.default_rng(1)
        rows, columns = space.shape
        everywhere = (np.arange(points.times.size), np.arange(rows), np.arange(columns))
        found = np.empty((len(points), count))
        for s, field in enumerate(draws.fields(range(count), 0, everywhere)):
            found[:, s] = field.reshape(points.times.size, -1)[points.time_index, points.site_index]
        found += rng.standard_normal(found.shape) * np.sqrt(self.observations.noise)[:, None]
        data = law.tensor(found)
        if self.features is not None:
            data = data + self.features @ law.tensor(rng.standard_normal((self.features.shape[1], count)))
        return data
