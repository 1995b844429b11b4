"""The Vecchia engine: every value given its most correlated neighbours; for points anywhere, in linear memory.

Observations in a random order have the density Π p(yᵢ | neighbours among the predecessors) (Vecchia 1988; Datta et al.
2016, doi:10.1080/01621459.2015.1044091), a sparse factor U with UᵀU ≈ A⁻¹. A target is conditioned on the observations
that together say most of it; targets that are asked for together follow the observations in one order, each given
neighbours among the observations and the targets before it (Katzfuss et al. 2020, doi:10.1007/s13253-020-00401-7).
Where it helps, inducing points are heard by all, as basis functions h with coefficients of variance one, beside that of
the trend (:mod:`xgpfill.linalg.shared`); neighbours then tell what these leave. Where land bars, neighbours are those
that are joined over water (:mod:`xgpfill.barriers`); then there are no inducing points, and a mean for each basin.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.barriers.means import Means
from xgpfill.engines.base import Moments, require_few_jointly
from xgpfill.engines.settings import Vecchia
from xgpfill.grid.points import Points
from xgpfill.kernels.covariance import Covariance
from xgpfill.kernels.formula import formula
from xgpfill.linalg.dense import cholesky, solve_lower
from xgpfill.linalg.local import LEAST, Goals, Patches, local_conditionals
from xgpfill.linalg.loops import backward, forward
from xgpfill.linalg.scattered import ScatteredNeighbours, finite_scales
from xgpfill.linalg.shared import Shared
from xgpfill.linalg.threads import own_threads
from xgpfill.linalg.vecchia import VecchiaFactor, regressed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xgpfill.barriers.barrier import Barrier
    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.points import Int32Array, IntArray, Observations
    from xgpfill.kernels.prior import Prior

TARGETS_AT_ONCE = 2**15
"""Targets whose neighbours are held at once."""
ENOUGH_FOR_MEAN = 2000
"""Observations that tell the constant mean."""
SEED = 0
"""Of the orders."""


@dataclass(frozen=True)
class VecchiaEngine:
    """Condition by sparse regressions on neighbours, O(n m³) time and O(n m) memory, in float64 on the processor."""

    settings: Vecchia = Vecchia()
    barrier: Barrier | None = None

    def condition(self, covariance: Covariance, observations: Observations, *, trend: bool = True) -> VecchiaPosterior:
        """Condition the prior on the observations.

        Raises
        ------
        MethodError
            When a kernel is none that compiled loops know.
        """
        return VecchiaPosterior(covariance, observations, self.settings, trend=trend, barrier=self.barrier)


class VecchiaPosterior:
    """The law of the field given the neighbours.

    Parameters
    ----------
    law : Covariance
    observations : Observations
        Values (n,), or (n, draws).
    settings : Vecchia
    trend : bool
        Whether an unknown constant mean with a flat prior is part of the model.
    barrier : Barrier, optional
        Land that observations do not see across; then there is a mean for each basin.
    """

    def __init__(
        self, law: Covariance, observations: Observations, settings: Vecchia, *, trend: bool,
        barrier: Barrier | None = None,
    ) -> None:  # fmt: skip
        formula(law.prior)
        self._law, self._settings = law, settings
        own, order = observations.points, random_order(observations)
        self._means = Means.of(barrier, own) if trend else None
        kept = None if barrier is not None else own.take_in_order(order)
        self._shared = _shared(law.prior, kept, observations.noise, settings)
        self._bases = self._bases_at(own)
        known = self._bases[:, : self._shared.count]
        self._neighbours = ScatteredNeighbours.of(law.prior, own, observations.noise, order, known, barrier)
        self._y = np.asarray(observations.columns, dtype=float)

    def _bases_at(self, points: Points) -> FloatArray:
        """Basis functions g = (h, 1) of every point (m, q): those of the inducing points, and 1 where there is a trend.

        Their coefficients are a priori independent, those of h with a variance of one, that of 1 with a flat prior.
        With a barrier there is a 1 for each basin instead, zero elsewhere.
        """
        ones = np.zeros((len(points), 0)) if self._means is None else self._means.at(points)
        return np.column_stack([self._shared.features(points), ones])

    @cached_property
    @own_threads()
    def _estimated(self) -> tuple[FloatArray, FloatArray]:
        """β = P⁻¹GᵀA⁻¹y of every draw (q, draws) and the factor of P = GᵀA⁻¹G + B⁻¹ = LLᵀ, with UᵀU for A⁻¹."""
        count = self._bases.shape[1]
        if not count:
            return np.zeros((0, self._y.shape[1])), np.zeros((0, 0))
        white = self._whitened(np.column_stack([self._bases, self._y]))
        gram = white[:, :count].T @ white
        P = gram[:, :count] + np.diag((np.arange(count) < self._shared.count).astype(float))
        L = cholesky(torch.as_tensor(P), what="precision of the basis functions")
        return torch.cholesky_solve(torch.as_tensor(gram[:, count:]), L).numpy(), L.numpy()

    def _whitened(self, columns: FloatArray) -> FloatArray:
        """W times columns (n, k) with WᵀW for A⁻¹.

        Of a mean alone some observations know nearly all; by a factor of all of them, each with few neighbours that
        lie on one side, it would be sure of a wrong one where they are dense.
        """
        if self._shared.count:
            factor = VecchiaFactor(self._neighbours, self._settings.neighbours_of_observations)
            return np.asarray(factor.whitened(torch.as_tensor(columns)).numpy())
        assert self._means is not None
        order, count = self._neighbours.order, max(ENOUGH_FOR_MEAN, self._settings.neighbours_of_targets)
        found = []
        for some in self._means.groups(self._bases[order], count):
            own = self._neighbours.points.take_in_order(some)
            A = Covariance(self._law.prior).matrix(own, own)
            A.diagonal().add_(torch.as_tensor(self._neighbours.noise[some]))
            found.append(solve_lower(cholesky(A), torch.as_tensor(columns[order[some]])).numpy())
        return np.concatenate(found)

    @own_threads()
    def moments(self, targets: Points) -> Moments:
        """Marginal mean (of the first draw of the data) and latent variance of every target."""
        mean, variance = self.conditionals(targets, 1)
        return Moments(mean[:, 0], variance)

    @own_threads()
    def conditionals(self, targets: Points, draws: int) -> tuple[FloatArray, FloatArray]:
        """Marginal means (m, draws) of so many draws of the data, and the latent variance (m,), of every target."""
        mean, variance = np.empty((len(targets), draws)), np.empty(len(targets))
        for own, found, missing, left in self._conditioned(targets, self._y[:, :draws]):
            mean[own] = found + missing @ self._estimated[0][:, :draws]
            variance[own] = left + self._unknown(missing)
        return mean, variance

    @own_threads()
    def means(self, targets: Points) -> FloatArray:
        """Posterior mean for every draw of the data, (m, draws)."""
        mean = np.empty((len(targets), self._y.shape[1]))
        for own, found, missing, _ in self._conditioned(targets, self._y):
            mean[own] = found + missing @ self._estimated[0]
        return mean

    def _unknown(self, missing: FloatArray) -> FloatArray:
        """What is not known of the coefficients adds to variances, rᵀP⁻¹r of every row r."""
        if not missing.shape[1]:
            return np.zeros(len(missing))
        return np.asarray(np.square(np.linalg.solve(self._estimated[1], missing.T)).sum(0))

    def _conditioned(
        self, targets: Points, data: FloatArray
    ) -> Iterator[tuple[IntArray, FloatArray, FloatArray, FloatArray]]:
        """Simple kriging of the residual of some targets at once from their neighbours: numbers of these (k,).

        Then of each column of data (k, R), r = g − GᵀA⁻¹k of each (k, q), and its variance (k,).
        """
        columns = np.column_stack([data, self._bases])
        for start in range(0, len(targets), TARGETS_AT_ONCE):
            some = np.arange(start, min(start + TARGETS_AT_ONCE, len(targets)))
            part = targets.take(some)
            prior, bases = self._law.diagonal(part).double().cpu().numpy(), self._bases_at(part)
            if not len(data):
                yield some, np.zeros((len(some), data.shape[1])), bases, prior
                continue
            known = bases[:, : self._shared.count]
            neighbours, cells = self._neighbours.facing(part, known)
            goals = Goals(cells, np.maximum(prior - np.square(known).sum(1), LEAST * prior))
            count, patches = self._settings.neighbours_of_targets, Patches.single(len(some))
            for block in local_conditionals(neighbours, columns, goals, patches, count):
                found, r = block.mean[:, 0, : data.shape[1]], bases[block.patches] - block.mean[:, 0, data.shape[1] :]
                yield some[block.patches], found, r, block.variance[:, 0]

    @own_threads()
    def covariance(self, targets: Points) -> FloatArray:
        """Joint latent covariance of the targets, (m, m).

        Raises
        ------
        TooManyPointsError
            When the matrix would be too large.
        """
        m = len(targets)
        require_few_jointly(m)
        joint = self._jointly(targets)
        spread = joint.drawn(np.eye(m))  # U⁻¹
        found = spread @ spread.T + self._of_coefficients(joint, np.eye(m))
        return 0.5 * (found + found.T)

    def _of_coefficients(self, joint: _Joint, weights: FloatArray) -> FloatArray:
        """What is not known of the coefficients adds to the joint covariance of sums with weights (m, k), (k, k)."""
        if not self._bases.shape[1]:
            return np.zeros((weights.shape[1], weights.shape[1]))
        spread = np.linalg.solve(self._estimated[1], joint.missing.T @ weights)
        return np.asarray(spread.T @ spread)

    @own_threads()
    def averages(self, targets: Points, weights: FloatArray) -> Moments:
        """Mean (of the first draw of the data) and latent variance of wᵀf for every column of weights (m, k)."""
        joint = self._jointly(targets)
        mean = joint.mean(self._y[:, :1])[:, 0] + joint.missing @ self._estimated[0][:, 0]
        variance = np.square(joint.against(weights)).sum(0) + self._unknown((joint.missing.T @ weights).T)
        return Moments(mean @ weights, variance)

    @own_threads()
    def sample(self, targets: Points, n: int, rng: np.random.Generator) -> FloatArray:
        """Coherent draws of the field at targets (given the first draw of the data), (n, m)."""
        joint, (beta, L) = self._jointly(targets), self._estimated
        drawn = joint.mean(self._y[:, :1]) + joint.drawn(rng.standard_normal((len(targets), n)))
        coefficients = beta[:, :1] + np.linalg.solve(L.T, rng.standard_normal((len(L), n)))
        return np.asarray((drawn + joint.missing @ coefficients).T)

    def _jointly(self, targets: Points) -> _Joint:
        bases = self._bases, self._bases_at(targets)
        return _Joint(self._neighbours, targets, self._settings.neighbours_of_targets, bases, self._shared.count)

    @property
    def trend(self) -> tuple[float, float] | None:
        """Estimate and standard error of the constant mean (standardised), or None.

        With a barrier that of the means of basins, each counting as its observations do.
        """
        if self._means is None:
            return None
        beta, L = self._estimated
        if self._means.barrier is None:
            return float(beta[-1, 0]), 1.0 / float(L[-1, -1])
        shares = self._means.shares
        return float(shares @ beta[:, 0]), float(np.linalg.norm(np.linalg.solve(L, shares)))


def _shared(prior: Prior, points: Points | None, noise: FloatArray, settings: Vecchia) -> Shared:
    """Inducing points where each stands for no more observations than are neighbours, or all leave less than noise.

    Elsewhere what they leave is correlated beyond the neighbours, and would be counted many times. Without `points`
    there are none: land bars.
    """
    near = settings.neighbours_of_targets
    if points is None or len(points) <= near:  # all of them are neighbours
        return Shared.none(prior)
    found = Shared.of(prior, points, settings.num_inducing)
    few = len(points) <= near * found.count
    return found if few or found.left(points) <= float(noise.min()) else Shared.none(prior)


def random_order(observations: Observations) -> IntArray:
    """An order that does not depend on the one in which observations come."""
    points = observations.points
    keys = (observations.columns[:, 0], observations.noise, *points.space.T, points.time)
    return np.asarray(np.lexsort(keys)[np.random.default_rng(SEED).permutation(len(points))])


class _Joint:
    """The law of targets together: rows of a factor in which they follow the observations, in a random order.

    Parameters
    ----------
    neighbours : ScatteredNeighbours
    targets : Points
    count : int
        Neighbours of each.
    bases : (array (n, q), array (m, q))
        Basis functions of the observations and of the targets.
    num_known : int
        The first ones, whose products are taken from covariances.
    """

    def __init__(
        self,
        neighbours: ScatteredNeighbours,
        targets: Points,
        count: int,
        bases: tuple[FloatArray, FloatArray],
        num_known: int,
    ) -> None:
        self._bases, self._first, m = bases, len(neighbours.order), len(targets)
        self._order: IntArray = np.random.default_rng(SEED).permutation(m)
        self._own_order = neighbours.order
        own, other = neighbours.points, targets.take_in_order(self._order)
        both = Points(
            np.concatenate([own.times, other.times]), np.concatenate([own.sites, other.sites]),
            np.concatenate([own.time_index, len(own.times) + other.time_index]),
            np.concatenate([own.site_index, len(own.sites) + other.site_index]),
        )  # fmt: skip
        noise, every = np.concatenate([neighbours.noise, np.zeros(m)]), np.arange(len(both), dtype=np.int32)
        scales, barrier = neighbours.scales or finite_scales(neighbours.prior, both), neighbours.barrier
        known = np.concatenate([neighbours.known, bases[1][self._order, :num_known]])
        together = ScatteredNeighbours(neighbours.prior, both, noise, every.astype(np.intp), scales, known, barrier)
        width = min(count, max(1, len(both) - 1)) + 1
        self._columns: Int32Array
        self._columns, self._weights, _ = regressed(together, every, every - self._first, width, self._first)

    def mean(self, data: FloatArray) -> FloatArray:
        """E[f | data] of every column of zero-mean data (n, R), (m, R)."""
        values = np.zeros((self._first + len(self._columns), data.shape[1]))
        values[: self._first] = data[self._own_order]
        return self._solved(values)

    def drawn(self, white: FloatArray) -> FloatArray:
        """U⁻¹ times white noise (m, R), whose covariance is that of the targets given the data."""
        values = np.zeros((self._first + len(self._columns), white.shape[1]))
        values[self._first :] = white[self._order]
        return self._solved(values)

    @cached_property
    def missing(self) -> FloatArray:
        """Basis functions at every target less what those at the observations say of them, (m, q)."""
        return self._bases[1] - self.mean(self._bases[0])

    def against(self, weights: FloatArray) -> FloatArray:
        """U⁻ᵀw of every column of weights (m, k); its square is the variance of wᵀf."""
        values = np.ascontiguousarray(weights[self._order], dtype=float)
        backward(self._columns, self._weights, self._first, values)
        return values

    def _solved(self, values: FloatArray) -> FloatArray:
        forward(self._columns, self._weights, self._first, values)
        found = np.empty((len(self._columns), values.shape[1]))
        found[self._order] = values[self._first :]
        return found
