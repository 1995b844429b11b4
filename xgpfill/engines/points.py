"""The iterative engine where places are no lattice: conjugate gradients over covariances that are never kept.

Products take O(n²) time and O(n) memory (:mod:`xgpfill.operators.pairs`). The preconditioner hears what is far away
through inducing points and gives what they leave to a Vecchia factor. Few targets have exact variances; of many, each
is conditioned on neighbours, as by the Vecchia engine, and draws of field and data tell what these miss
(:mod:`xgpfill.engines.lattice.variance`).
"""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.covariance.formula import has_formula
from xgpfill.engines.averages import averaged_prior
from xgpfill.engines.base import Convergence, Moments, drawn_jointly, require_few_jointly
from xgpfill.engines.lattice.system import DRAW_TOLERANCE, EPS, USELESS
from xgpfill.engines.lattice.variance import Pool
from xgpfill.engines.vecchia import VecchiaPosterior, random_order
from xgpfill.errors import NumericalError, XgpfillWarning
from xgpfill.grid.points import without_repeats
from xgpfill.machine.threads import own_threads
from xgpfill.operators.conjugate_gradients import conjugate_gradients
from xgpfill.operators.draws import drawn_at, has_spectrum
from xgpfill.operators.pairs import PairProducts
from xgpfill.settings import Exact, Vecchia
from xgpfill.vecchia.preconditioner import VecchiaFactor
from xgpfill.vecchia.scattered import ScatteredNeighbours
from xgpfill.vecchia.shared import Shared, WithShared

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from xgpfill.arrays import FloatArray
    from xgpfill.covariance.matrices import Covariance
    from xgpfill.engines.lattice.system import Watch
    from xgpfill.grid.points import Observations, Points
    from xgpfill.settings import Iterative

EXACT_TARGETS = 256
"""Targets, at most, whose variances are solved for one by one."""
COLUMNS = 32
"""Right-hand sides solved at once for them, or for a joint covariance."""
NUM_INDUCING = 200
"""Points through which the preconditioner hears what is far away."""
SHARE, JOINT_SHARE = 1e-3, 1e-5
"""Of columns of targets, what solves may leave for variances of single ones, and where many are added up."""
SEED = 1
"""Of the draws that correct variances."""


class PointSystem:
    """A = K + noise of observations anywhere: products, a preconditioner, solves.

    Parameters
    ----------
    settings : Iterative
    law : Covariance
    observations : Observations
        Each place and time once.
    records : list of Convergence
    """

    @own_threads()
    def __init__(
        self, settings: Iterative, law: Covariance, observations: Observations, records: list[Convergence]
    ) -> None:
        began = time.perf_counter()
        self.settings, self.observations, self.records = settings, observations, records
        self.watch: Watch | None = None
        self.products = PairProducts(law, observations.points, law.tensor(observations.noise)[:, None])
        fast = law.dtype == torch.float64
        rest, precision = self._of_what_is_left(law)
        h = torch.as_tensor(self._features).to(law.device)
        self._preconditioner = WithShared(rest, h) if h.shape[1] else rest
        self._fast = (self.products.to(torch.float32), self._preconditioner) if fast else None
        # Residuals are small or large beside what is not known of an observation from all others.
        self.scale = torch.as_tensor(precision, device=law.device).to(law.dtype).rsqrt()
        self.factor_seconds = time.perf_counter() - began

    def _of_what_is_left(self, law: Covariance) -> tuple[Callable[[Tensor], Tensor], FloatArray]:
        """The inverse of what inducing points leave, and its diagonal: by neighbours where loops know the kernels."""
        own, noise = self.observations.points, self.observations.noise
        order = random_order(self.observations)
        self._features = Shared.of(law.prior, own.take_in_order(order), NUM_INDUCING).features(own)
        if has_formula(law.prior):
            neighbours = ScatteredNeighbours.of(law.prior, own, noise, order, self._features)
            count = self.settings.neighbours_of(len(own))
            factor = VecchiaFactor(neighbours, count, device=law.device, dtype=torch.float64)
            return factor, factor.precision
        prior = law.diagonal(own).double().cpu().numpy()
        left = np.maximum(prior - np.square(self._features).sum(1), EPS * prior) + noise
        inverse = torch.as_tensor(1.0 / left, device=law.device)[:, None]
        return (lambda r: inverse.to(r) * r), 1.0 / left

    def allowed(self, right: Tensor, share: float) -> Tensor:
        """Residuals that are a small share of columns that are no data."""
        size = (right / self.scale[:, None]).square().mean(0).sqrt()
        return (min(share, self.settings.tolerance) * size).clamp_min(torch.finfo(right.dtype).tiny)

    def solution(self, right: Tensor, tolerance: Tensor) -> tuple[Tensor, Tensor]:
        """A⁻¹ times (n, R), to residuals as those of a lattice's system, and what is left.

        Raises
        ------
        NumericalError
            When it ended far from its tolerance.

        Warns
        -----
        XgpfillWarning
            When the tolerance was missed.
        """
        began = time.perf_counter()
        found = conjugate_gradients(
            self.products, right, self._preconditioner, tolerance,
            max_steps=self.settings.max_steps, scale=self.scale, fast=self._fast, callback=self.watch,
        )  # fmt: skip
        seconds = self.factor_seconds, time.perf_counter() - began
        made = Convergence.of(found, tolerance, self.settings.tolerance, *seconds)
        self.records.append(made)
        if not found.converged:
            self._complain(made)
        return found.values, found.remainder

    def _complain(self, made: Convergence) -> None:
        """Say how far a solve came that missed its tolerance, and what to type."""
        n, more = made.observations, 2 * self.settings.neighbours_of(made.observations)
        cures = f"`method=xgpfill.Iterative(num_neighbours={more})`, more `max_steps=`, a larger `noise=`"
        if not made.error <= USELESS:
            other = "exact" if n <= Exact().max_observations else "vecchia"
            raise NumericalError(
                f"Conjugate gradients stopped after {made.steps} steps with means about {made.error:.2g} standard "
                f"deviations off, for {n} observations. Type {cures}, or `method={other!r}`."
            )
        warnings.warn(f"{made.as_text} Type {cures}.", XgpfillWarning, stacklevel=2)


class PointsPosterior:
    """The posterior of observations anywhere.

    Parameters
    ----------
    system : callable
        Makes the system of some observations.
    law : Covariance
    observations : Observations
        Values (n,), or (n, draws) for several draws of the data at the same points.
    trend : bool
        Whether an unknown constant mean with a flat prior is part of the model.
    """

    def __init__(
        self, system: Callable[[Covariance, Observations], PointSystem], law: Covariance, observations: Observations,
        *, trend: bool,
    ) -> None:  # fmt: skip
        law = replace(law, dtype=torch.float64)  # products run in float32, residuals are checked in this
        self._make, self._law, self._has_trend = system, law, trend
        self._observations, _ = without_repeats(observations)
        data = self._observations.columns
        self._level = data.mean(0) if trend else np.zeros(data.shape[1])
        self._y = law.tensor(data - self._level)  # so that residuals are not relative to the level

    @cached_property
    def _system(self) -> PointSystem:
        return self._make(self._law, self._observations)

    # Solves

    def _solve(self, right: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
        """Weights A⁻¹(b − Hβ) of columns (n, R), and their β (R,)."""
        found, _ = self._system.solution(right, right.new_full((right.shape[1],), tolerance))
        return self._without_trend(found)

    def _without_trend(self, found: Tensor) -> tuple[Tensor, Tensor]:
        """A⁻¹(b − Hβ) and β = P⁻¹HᵀA⁻¹b from A⁻¹b (n, R)."""
        if self._basis is None:
            return found, found.new_zeros(found.shape[1])
        beta = found.sum(0) / self._basis.sum()
        return found - self._basis * beta, beta

    @cached_property
    def _solved(self) -> Tensor:
        """A⁻¹[y, H], in one block."""
        right = torch.cat([self._y, torch.ones_like(self._y[:, :1])], 1) if self._has_trend else self._y
        tolerance = right.new_full((right.shape[1],), self._system.settings.tolerance)
        return self._system.solution(right, tolerance)[0]

    @property
    def _basis(self) -> Tensor | None:
        """A⁻¹H (n, 1), whose sum is P = HᵀA⁻¹H; None without a trend."""
        return self._solved[:, -1:] if self._has_trend else None

    @property
    def _first(self) -> tuple[Tensor, Tensor]:
        """Weights and β of the data."""
        return self._without_trend(self._solved[:, : self._y.shape[1]])

    def _fields(self, weights: Tensor, targets: Points) -> FloatArray:
        return np.asarray(self._system.products.across(targets, weights).double().cpu().numpy())

    # What is asked

    @own_threads()
    def moments(self, targets: Points) -> Moments:
        """Marginal mean (of the first draw of the data) and latent variance of every target."""
        weights, beta = self._first
        columns = weights[:, :1]
        if self._basis is not None:
            columns = torch.cat([columns, self._basis], 1)
        fields = self._fields(columns, targets)
        mean, variance = fields[:, 0] + float(beta[0]) + self._level[0], self._variance(targets)
        if self._basis is not None:
            variance = variance + np.square(1.0 - fields[:, 1]) / float(self._basis.sum())
        return Moments(mean, variance)

    @own_threads()
    def means(self, targets: Points) -> FloatArray:
        """Posterior mean for every draw of the data, (m, draws)."""
        weights, beta = self._first
        return np.asarray(self._fields(weights, targets) + beta.double().cpu().numpy() + self._level)

    def _variance(self, targets: Points) -> FloatArray:
        """Latent variance of every target, the trend left out."""
        if len(targets) <= EXACT_TARGETS or not has_formula(self._law.prior):
            found = np.empty(len(targets))
            for start in range(0, len(targets), COLUMNS):
                some = np.arange(start, min(start + COLUMNS, len(targets)))
                found[some] = self._exactly(targets.take_in_order(some))
            return found
        if not has_spectrum(self._law.prior):  # no draws: what neighbours say, which is a little too large
            return self._neighbours.conditionals(targets, 0)[1]
        return self._corrected(targets)

    def _exactly(self, targets: Points) -> FloatArray:
        """Of a few targets k(x, x) − kᵀA⁻¹k, whose error is of second order in what the solve leaves."""
        cross = self._law.matrix(self._observations.points, targets)
        x, left = self._system.solution(cross, self._system.allowed(cross, SHARE))
        prior = self._law.diagonal(targets)
        found = torch.maximum(prior - (x * (cross + left)).sum(0), EPS * prior)
        return np.asarray(found.double().cpu().numpy())

    @cached_property
    def _neighbours(self) -> VecchiaPosterior:
        """What neighbours say of draws of the data, where there are such."""
        data = self._draws[0] if has_spectrum(self._law.prior) else np.zeros((len(self._observations), 1))
        return VecchiaPosterior(self._law, self._observations.with_values(data), Vecchia(), trend=False)

    def _corrected(self, targets: Points) -> FloatArray:
        """Variances given neighbours less what draws tell that these miss, by how much they leave of the prior's."""
        data, weights = self._draws
        mean, local = self._neighbours.conditionals(targets, data.shape[1])
        exact = self._fields(weights, targets)
        error = drawn_at(self._law.prior, targets, self._seeds) - exact
        prior = self._law.diagonal(targets).double().cpu().numpy()
        A, B = (np.square(x).mean(1) / local for x in (error, exact - mean))
        return np.asarray(local * (1.0 - Pool.of(local / prior, A, B).share(local / prior)))

    @property
    def _seeds(self) -> list[tuple[int, int]]:
        return [(SEED, draw) for draw in range(self._system.settings.num_samples)]

    @cached_property
    def _draws(self) -> tuple[FloatArray, Tensor]:
        """Draws of zero-mean data (n, S), and A⁻¹ times these."""
        data = self._noisy(self._seeds, np.random.default_rng(SEED))
        right = self._law.tensor(data)
        loose = min(DRAW_TOLERANCE, 10.0 * self._system.settings.tolerance)
        return data, self._system.solution(right, right.new_full((data.shape[1],), loose))[0]

    def _noisy(self, seeds: list[tuple[int, int]], rng: np.random.Generator) -> FloatArray:
        """Draws of the field at the observations, with noise."""
        field = drawn_at(self._law.prior, self._observations.points, seeds)
        return field + rng.standard_normal(field.shape) * np.sqrt(self._observations.noise)[:, None]

    @own_threads()
    def covariance(self, targets: Points) -> FloatArray:
        """Joint latent covariance of the targets, (m, m), by as many solves as there are targets.

        Raises
        ------
        TooManyPointsError
            When the matrix would be too large.
        """
        m = len(targets)
        require_few_jointly(m)
        cross, joint = self._law.matrix(self._observations.points, targets), self._law.matrix(targets, targets)
        for start in range(0, m, COLUMNS):
            some = slice(start, start + COLUMNS)
            x, _ = self._system.solution(cross[:, some], self._system.allowed(cross[:, some], JOINT_SHARE))
            joint[:, some] -= cross.T @ x
        if self._basis is not None:
            r = 1.0 - cross.T @ self._basis
            joint = joint + r @ r.T / self._basis.sum()
        found: FloatArray = np.asarray(joint.double().cpu().numpy(), dtype=float)
        np.fill_diagonal(found, np.maximum(found.diagonal(), 0.0))
        return 0.5 * (found + found.T)

    @own_threads()
    def averages(self, targets: Points, weights: FloatArray) -> Moments:
        """Mean (of the first draw of the data) and latent variance of wᵀf for every column of weights, a solve each."""
        w, own = self._law.tensor(weights), self._observations.points
        cross = PairProducts(self._law, targets, w[:, :1]).across(own, w)
        x, left = self._system.solution(cross, self._system.allowed(cross, JOINT_SHARE))
        prior = averaged_prior(self._law, targets, w)
        variance, total = prior - (x * (cross + left)).sum(0), w.sum(0)
        solved, beta = self._first
        mean = cross.T @ solved[:, 0] + total * (beta[0] + float(self._level[0]))
        if self._basis is not None:
            variance = variance + (total - cross.T @ self._basis[:, 0]).square() / self._basis.sum()
        variance = torch.maximum(variance, EPS * prior)
        return Moments(*(np.asarray(v.double().cpu().numpy()) for v in (mean, variance)))

    @own_threads()
    def sample(self, targets: Points, n: int, rng: np.random.Generator) -> FloatArray:
        """Coherent draws of the field at targets (given the first draw of the data), (n, m).

        Of few targets from their joint law; of many by Matheron's rule (Wilson et al. 2021, eq. 9): a draw of the
        prior, and what the data say of the error that it makes at the observations.
        """
        if len(targets) <= EXACT_TARGETS or not has_spectrum(self._law.prior):
            return drawn_jointly(self, targets, n, rng)
        seeds = [(int(seed), SEED) for seed in rng.integers(2**62, size=n)]
        data = self._law.tensor(self._noisy(seeds, rng))
        weights, beta = self._solve(self._y[:, :1] - data, self._system.settings.tolerance)
        found = self._fields(weights, targets) + beta.double().cpu().numpy() + self._level[0]
        return np.asarray((found + drawn_at(self._law.prior, targets, seeds)).T)

    @property
    def trend(self) -> tuple[float, float] | None:
        """Estimate and standard error of the constant mean (standardised), or None."""
        if self._basis is None:
            return None
        return float(self._first[1][0]) + float(self._level[0]), float(self._basis.sum()) ** -0.5
