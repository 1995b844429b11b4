"""The Vecchia engine: every value given its most correlated neighbours; for points anywhere, in linear memory.

Observations in a random order have the density Π p(yᵢ | neighbours among the predecessors) (Vecchia 1988; Datta et al.
2016, doi:10.1080/01621459.2015.1044091), a sparse factor U with UᵀU ≈ A⁻¹. The trend follows from it. A target is
conditioned on its most correlated observations; targets that are asked for together follow the observations in one
order, each given neighbours among the observations and the targets before it (Katzfuss et al. 2020,
doi:10.1007/s13253-020-00401-7).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.engines.base import Moments
from xgpfill.engines.settings import MAX_JOINT_TARGETS, Vecchia
from xgpfill.errors import TooManyPointsError
from xgpfill.grid.points import Points
from xgpfill.linalg.local import Goals, Patches, local_conditionals
from xgpfill.linalg.loops import backward, forward
from xgpfill.linalg.scattered import ScatteredNeighbours, finite_scales
from xgpfill.linalg.vecchia import VecchiaFactor, regressed

if TYPE_CHECKING:
    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.points import Int32Array, IntArray, Observations
    from xgpfill.kernels.covariance import Covariance

TARGETS_AT_ONCE = 2**17
"""Targets whose neighbours are held at once."""
SEED = 0
"""Of the orders."""


@dataclass(frozen=True)
class VecchiaEngine:
    """Condition by sparse regressions on neighbours, O(n m³) time and O(n m) memory, in float64 on the processor."""

    settings: Vecchia = Vecchia()

    def condition(self, covariance: Covariance, observations: Observations, *, trend: bool = True) -> VecchiaPosterior:
        """Condition the prior on the observations.

        Raises
        ------
        MethodError
            When a kernel is none that compiled loops know.
        """
        return VecchiaPosterior(covariance, observations, self.settings, trend=trend)


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
    """

    def __init__(self, law: Covariance, observations: Observations, settings: Vecchia, *, trend: bool) -> None:
        self._law, self._observations, self._settings, self._has_trend = law, observations, settings, trend
        order = np.random.default_rng(SEED).permutation(len(observations))
        self._neighbours = ScatteredNeighbours.of(law.prior, observations.points, observations.noise, order)
        self._y = np.asarray(observations.columns, dtype=float)

    @cached_property
    def _estimated(self) -> tuple[FloatArray, float]:
        """β = P⁻¹HᵀA⁻¹y of every draw and P = HᵀA⁻¹H, with UᵀU for A⁻¹; zero and infinite without a trend."""
        if not self._has_trend:
            return np.zeros(self._y.shape[1]), np.inf
        factor = VecchiaFactor(self._neighbours, self._settings.neighbours_of_observations)
        white = factor.whitened(torch.as_tensor(np.column_stack([np.ones(len(self._y)), self._y]))).numpy()
        precision = float(white[:, 0] @ white[:, 0])
        return white[:, 0] @ white[:, 1:] / precision, precision

    def moments(self, targets: Points) -> Moments:
        """Marginal mean (of the first draw of the data) and latent variance of every target."""
        (beta, precision), data = self._estimated, np.column_stack([self._y[:, 0], np.ones(len(self._y))])
        found, variance = self._conditioned(targets, data)
        missing = 1.0 - found[:, 1]  # r = h − HᵀA⁻¹k
        return Moments(found[:, 0] + beta[0] * missing, variance + missing**2 / precision)

    def means(self, targets: Points) -> FloatArray:
        """Posterior mean for every draw of the data, (m, draws)."""
        beta, _ = self._estimated
        found, _ = self._conditioned(targets, np.column_stack([self._y, np.ones(len(self._y))]))
        return found[:, :-1] + beta * (1.0 - found[:, -1:])

    def _conditioned(self, targets: Points, data: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Simple kriging of every target from its neighbours: of each column of data (m, R), and its variance (m,)."""
        mean, variance = np.empty((len(targets), data.shape[1])), np.empty(len(targets))
        if not len(data):
            return np.zeros_like(mean), self._law.diagonal(targets).double().cpu().numpy()
        for start in range(0, len(targets), TARGETS_AT_ONCE):
            some = np.arange(start, min(start + TARGETS_AT_ONCE, len(targets)))
            part = targets.take(some)
            neighbours, cells = self._neighbours.facing(part)
            goals = Goals(cells, self._law.diagonal(part).double().cpu().numpy())
            count, patches = self._settings.neighbours_of_targets, Patches.single(len(some))
            for block in local_conditionals(neighbours, data, goals, patches, count):
                own = some[block.patches]
                mean[own], variance[own] = block.mean[:, 0], block.variance[:, 0]
        return mean, variance

    def covariance(self, targets: Points) -> FloatArray:
        """Joint latent covariance of the targets, (m, m).

        Raises
        ------
        TooManyPointsError
            When the matrix would be too large.
        """
        m = len(targets)
        if m > MAX_JOINT_TARGETS:
            raise TooManyPointsError(
                f"The joint covariance of {m} targets would take {m * m * 8 / 2**30:.1f} GiB; at most "
                f"{MAX_JOINT_TARGETS} go together. Use fewer targets, or draws: `model.sample(n, target=...)`."
            )
        joint = self._jointly(targets)
        spread = joint.drawn(np.eye(m))  # U⁻¹
        found = spread @ spread.T
        if self._has_trend:
            missing = joint.missing
            found = found + np.outer(missing, missing) / self._estimated[1]
        return 0.5 * (found + found.T)

    def averages(self, targets: Points, weights: FloatArray) -> Moments:
        """Mean (of the first draw of the data) and latent variance of wᵀf for every column of weights (m, k)."""
        joint, (beta, precision) = self._jointly(targets), self._estimated
        mean = joint.mean(self._y[:, :1] - beta[0])[:, 0] + beta[0]
        variance = np.square(joint.against(weights)).sum(0) + (joint.missing @ weights) ** 2 / precision
        return Moments(mean @ weights, variance)

    def sample(self, targets: Points, n: int, rng: np.random.Generator) -> FloatArray:
        """Coherent draws of the field at targets (given the first draw of the data), (n, m)."""
        joint, (beta, precision) = self._jointly(targets), self._estimated
        mean = joint.mean(self._y[:, :1] - beta[0]) + beta[0]
        drawn = mean + joint.drawn(rng.standard_normal((len(targets), n)))
        level = rng.standard_normal(n) / np.sqrt(precision)
        return np.asarray((drawn + joint.missing[:, None] * level).T)

    def _jointly(self, targets: Points) -> _Joint:
        return _Joint(self._neighbours, targets, self._settings.neighbours_of_targets)

    @property
    def trend(self) -> tuple[float, float] | None:
        """Estimate and standard error of the constant mean (standardised), or None."""
        if not self._has_trend:
            return None
        beta, precision = self._estimated
        return float(beta[0]), precision**-0.5


class _Joint:
    """The law of targets together: rows of a factor in which they follow the observations, in a random order.

    Parameters
    ----------
    neighbours : ScatteredNeighbours
    targets : Points
    count : int
        Neighbours of each.
    """

    def __init__(self, neighbours: ScatteredNeighbours, targets: Points, count: int) -> None:
        self._first, m = len(neighbours.order), len(targets)
        self._order: IntArray = np.random.default_rng(SEED).permutation(m)
        self._own_order = neighbours.order
        own, other = neighbours.points, targets.take_in_order(self._order)
        both = Points(
            np.concatenate([own.times, other.times]), np.concatenate([own.sites, other.sites]),
            np.concatenate([own.time_index, len(own.times) + other.time_index]),
            np.concatenate([own.site_index, len(own.sites) + other.site_index]),
        )  # fmt: skip
        noise, every = np.concatenate([neighbours.noise, np.zeros(m)]), np.arange(len(both), dtype=np.int32)
        scales = neighbours.scales or finite_scales(neighbours.prior, both)
        together = ScatteredNeighbours(neighbours.prior, both, noise, every.astype(np.intp), scales)
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
        """1 minus what data of one say at every target, (m,)."""
        return 1.0 - self.mean(np.ones((self._first, 1)))[:, 0]

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
