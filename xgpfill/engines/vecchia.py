"""The Vecchia engine: every value given its most correlated neighbours; for points anywhere, in linear memory.

Observations in a random order have the density Π p(yᵢ | neighbours among the predecessors) (Vecchia 1988; Datta et al.
2016, doi:10.1080/01621459.2015.1044091), a sparse factor U with UᵀU ≈ A⁻¹. A target is conditioned on the observations
that together say most of it; targets that are asked for together follow the observations in one order, each given
neighbours among the observations and the targets before it (Katzfuss et al. 2020, doi:10.1007/s13253-020-00401-7).
Where it helps, inducing points are heard by all, as basis functions h with coefficients of variance one, beside that of
the trend (:mod:`xgpfill.vecchia.shared`); neighbours then tell what these leave.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.barriers.means import Means
from xgpfill.covariance.dense import cholesky, solve_lower
from xgpfill.covariance.formula import formula
from xgpfill.covariance.matrices import Covariance
from xgpfill.engines.base import Moments, require_few_jointly
from xgpfill.grid.points import Points
from xgpfill.machine.threads import own_threads
from xgpfill.settings import Vecchia
from xgpfill.vecchia.local import LEAST
from xgpfill.vecchia.loops import backward, forward
from xgpfill.vecchia.preconditioner import VecchiaFactor, conditionals, regressed
from xgpfill.vecchia.scattered import ScatteredNeighbours, finite_scales
from xgpfill.vecchia.shared import Shared

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xgpfill.arrays import FloatArray, Int32Array, IntArray
    from xgpfill.barriers.barrier import Barrier
    from xgpfill.grid.points import Observations
    from xgpfill.kernels.prior import Prior

TARGETS_AT_ONCE = 2**15
"""Targets whose neighbours are held at once."""
ENOUGH_FOR_MEAN = 2000
"""Observations that tell the constant mean."""
SLOWER = 3
"""Times as many inducing points, at most, where they are of slow terms alone and cost less."""
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
        Land that observations do not see across; then there is a mean for each basin, and no inducing points, which are
        heard everywhere.
    """

    def __init__(
        self, law: Covariance, observations: Observations, settings: Vecchia, *, trend: bool,
        barrier: Barrier | None = None,
    ) -> None:  # fmt: skip
        formula(law.prior)
        self._law, self._settings = law, settings
        order = random_order(observations)
        own, noise = observations.points.take_in_order(order), observations.noise[order]
        self._means = Means.of(barrier, own) if trend else None
        self._shared = _shared(law.prior, own, noise, settings) if barrier is None else Shared.none(law.prior)
        y = observations.columns[order]
        self._columns = self._bases_at(own, y)
        known, more = self._shared.beside(own, self._columns[:, : self._shared.count])
        prior = self._shared.others or law.prior
        self._neighbours = ScatteredNeighbours.of(prior, own, noise + more, np.arange(len(own)), known, barrier)
        self._count = self._columns.shape[1] - y.shape[1]

    def _bases_at(self, points: Points, *more: FloatArray) -> FloatArray:
        """Basis functions g = (h, 1) of every point (m, q): those of the inducing points, and 1 where there is a trend.

        Their coefficients are a priori independent, those of h with a variance of one, that of 1 with a flat prior.
        With a barrier there is a 1 for each basin instead, zero elsewhere. `more` columns follow.
        """
        count, ones = self._shared.count, [] if self._means is None else [self._means.at(points)]
        found = np.empty((len(points), count + sum(x.shape[1] for x in (*ones, *more))))
        self._shared.features(points, found[:, :count])
        np.concatenate([found[:, :0], *ones, *more], axis=1, out=found[:, count:])
        return found

    @cached_property
    @own_threads()
    def _estimated(self) -> tuple[FloatArray, FloatArray]:
        """β = P⁻¹GᵀA⁻¹y of every draw (q, draws) and the factor of P = GᵀA⁻¹G + B⁻¹ = LLᵀ, with UᵀU for A⁻¹."""
        count = self._count
        if not count:
            return np.zeros((0, self._columns.shape[1])), np.zeros((0, 0))
        gram = self._gram()
        P = gram[:count, :count] + np.diag((np.arange(count) < self._shared.count).astype(float))
        L = cholesky(torch.as_tensor(P), what="precision of the basis functions")
        return torch.cholesky_solve(torch.as_tensor(gram[:count, count:]), L).numpy(), L.numpy()

    def _gram(self) -> FloatArray:
        """CᵀA⁻¹C of all columns C.

        Of a mean alone some observations know nearly all; by a factor of all of them, each with few neighbours that
        lie on one side, it would be sure of a wrong one where they are dense.
        """
        if self._shared.count:
            factor = VecchiaFactor(self._neighbours, self._settings.neighbours_of_observations)
            return factor.gram(self._columns)
        assert self._means is not None
        found = np.zeros((self._columns.shape[1],) * 2)
        most = max(ENOUGH_FOR_MEAN, self._settings.neighbours_of_targets)
        for some in self._means.groups(self._columns[:, : self._count], most):
            own = self._neighbours.points.take_in_order(some)
            A = Covariance(self._law.prior).matrix(own, own)
            A.diagonal().add_(torch.as_tensor(self._neighbours.noise[some]))
            white = solve_lower(cholesky(A), torch.as_tensor(self._columns[some])).numpy()
            found += white.T @ white
        return found

    @own_threads()
    def moments(self, targets: Points) -> Moments:
        """Marginal mean (of the first draw of the data) and latent variance of every target."""
        mean, variance = self.conditionals(targets, 1)
        return Moments(mean[:, 0], variance)

    @own_threads()
    def conditionals(self, targets: Points, draws: int) -> tuple[FloatArray, FloatArray]:
        """Marginal means (m, draws) of so many draws of the data, and the latent variance (m,), of every target."""
        mean, variance = np.empty((len(targets), draws)), np.empty(len(targets))
        for own, found, missing, left in self._conditioned(targets):
            mean[own] = found[:, :draws] + missing @ self._estimated[0][:, :draws]
            variance[own] = left + self._unknown(missing)
        return mean, variance

    def means(self, targets: Points) -> FloatArray:
        """Posterior mean for every draw of the data, (m, draws)."""
        return self.conditionals(targets, self._columns.shape[1] - self._count)[0]

    def _unknown(self, missing: FloatArray) -> FloatArray:
        """What is not known of the coefficients adds to variances, rᵀP⁻¹r of every row r."""
        if not missing.shape[1]:
            return np.zeros(len(missing))
        return np.asarray(np.square(np.linalg.solve(self._estimated[1], missing.T)).sum(0))

    def _conditioned(self, targets: Points) -> Iterator[tuple[IntArray, FloatArray, FloatArray, FloatArray]]:
        """Simple kriging of the residual of some targets at once from their neighbours: numbers of these (k,).

        Then of each draw of the data (k, draws), r = g − GᵀA⁻¹k of each (k, q), and its variance (k,).
        """
        for start in range(0, len(targets), TARGETS_AT_ONCE):
            some = np.arange(start, min(start + TARGETS_AT_ONCE, len(targets)))
            part = targets.take(some)
            prior, bases = self._law.diagonal(part).double().cpu().numpy(), self._bases_at(part)
            if not len(self._columns):
                yield some, np.zeros((len(some), self._columns.shape[1] - self._count)), bases, prior
                continue
            features = bases[:, : self._shared.count]
            known, noise = self._shared.beside(part, features)
            beside = known, np.maximum(noise, LEAST * prior)
            left = np.maximum(prior - np.square(features).sum(1), LEAST * prior)
            count = self._settings.neighbours_of_targets
            for own, found, variance in conditionals(self._neighbours, self._columns, part, beside, left, count):
                yield some[own], found[:, self._count :], bases[own] - found[:, : self._count], variance

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
        if not self._count:
            return np.zeros((weights.shape[1], weights.shape[1]))
        spread = np.linalg.solve(self._estimated[1], joint.missing.T @ weights)
        return np.asarray(spread.T @ spread)

    @own_threads()
    def averages(self, targets: Points, weights: FloatArray) -> Moments:
        """Mean (of the first draw of the data) and latent variance of wᵀf for every column of weights (m, k)."""
        joint = self._jointly(targets)
        mean = joint.mean(self._columns[:, self._count :][:, :1])[:, 0] + joint.missing @ self._estimated[0][:, 0]
        variance = np.square(joint.against(weights)).sum(0) + self._unknown((joint.missing.T @ weights).T)
        return Moments(mean @ weights, variance)

    @own_threads()
    def sample(self, targets: Points, n: int, rng: np.random.Generator) -> FloatArray:
        """Coherent draws of the field at targets (given the first draw of the data), (n, m)."""
        joint, (beta, L) = self._jointly(targets), self._estimated
        drawn = joint.mean(self._columns[:, self._count :][:, :1]) + joint.drawn(rng.standard_normal((len(targets), n)))
        coefficients = beta[:, :1] + np.linalg.solve(L.T, rng.standard_normal((len(L), n)))
        return np.asarray((drawn + joint.missing @ coefficients).T)

    def _jointly(self, targets: Points) -> _Joint:
        bases = self._columns[:, : self._count], self._bases_at(targets)
        beside = self._shared.beside(targets, bases[1][:, : self._shared.count])
        return _Joint(self._neighbours, targets, self._settings.neighbours_of_targets, bases, beside)

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


def _shared(prior: Prior, points: Points, noise: FloatArray, settings: Vecchia) -> Shared:
    """Inducing points where each stands for no more observations than are neighbours, or all leave less than noise.

    Elsewhere what they leave is correlated beyond the neighbours, and would be counted many times: there they are of
    those slow terms alone of which they leave next to nothing.
    """
    near, least = settings.neighbours_of_targets, float(noise.min(initial=np.inf))
    if len(points) <= near:  # all of them are neighbours
        return Shared.none(prior)
    found = Shared.of(prior, points, settings.num_inducing)
    if len(points) <= near * found.count or found.left(points) <= least:
        return found
    return Shared.of_slow(prior, points, SLOWER * settings.num_inducing, least)


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
    beside : (array (m, p), array (m,))
        Of targets: what is known by other means, whose products are taken from covariances, and what is noise.
    """

    def __init__(
        self,
        neighbours: ScatteredNeighbours,
        targets: Points,
        count: int,
        bases: tuple[FloatArray, FloatArray],
        beside: tuple[FloatArray, FloatArray],
    ) -> None:
        self._bases, self._first, m = bases, len(neighbours.order), len(targets)
        self._order: IntArray = np.random.default_rng(SEED).permutation(m)
        own, other = neighbours.points, targets.take_in_order(self._order)
        both = Points(
            np.concatenate([own.times, other.times]), np.concatenate([own.sites, other.sites]),
            np.concatenate([own.time_index, len(own.times) + other.time_index]),
            np.concatenate([own.site_index, len(own.sites) + other.site_index]),
        )  # fmt: skip
        known, noise = (
            np.concatenate([a, b[self._order]])
            for a, b in zip((neighbours.known, neighbours.noise), beside, strict=True)
        )
        every = np.arange(len(both), dtype=np.int32)
        scales, barrier = neighbours.scales or finite_scales(neighbours.prior, both), neighbours.barrier
        together = ScatteredNeighbours(neighbours.prior, both, noise, every.astype(np.intp), scales, known, barrier)
        width = min(count, max(1, len(both) - 1)) + 1
        self._columns: Int32Array
        self._columns, self._weights, _ = regressed(together, every, every - self._first, width, self._first)

    def mean(self, data: FloatArray) -> FloatArray:
        """E[f | data] of every column of zero-mean data (n, R), (m, R)."""
        values = np.zeros((self._first + len(self._columns), data.shape[1]))
        values[: self._first] = data
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
