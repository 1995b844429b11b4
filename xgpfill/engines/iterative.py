"""The iterative engine: the exact posterior of a lattice by conjugate gradients, never a dense matrix.

Observations that lie on no lattice go to :mod:`xgpfill.engines.points`.

With A = K + noise on the observed cells, one batch of solves gives A⁻¹[y, 1, y₁ … y_S, k₁ … k_P] for the data, the
constant mean, S draws of data from the prior and P cells that answers are checked on. The mean needs the first two.
Variances come from local conditionals, which draws correct and probes check (:mod:`xgpfill.engines.lattice.marginals`).
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass, field
from threading import RLock
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from xgpfill.engines.base import drawn_jointly
from xgpfill.engines.exact import ExactEngine
from xgpfill.engines.lattice.posterior import LatticePosterior
from xgpfill.engines.lattice.system import Stalled, System, Unproven
from xgpfill.engines.points import PointsPosterior, PointSystem
from xgpfill.errors import NumericalError, XgpfillWarning
from xgpfill.grid.lattice import are_scattered
from xgpfill.machine.threads import own_threads
from xgpfill.settings import Exact, Iterative

if TYPE_CHECKING:
    from collections.abc import Callable

    from xgpfill.arrays import FloatArray
    from xgpfill.covariance.matrices import Covariance
    from xgpfill.engines.base import Convergence, Moments, Posterior
    from xgpfill.engines.lattice.system import Watch
    from xgpfill.grid.points import Observations, Points

    Answer = TypeVar("Answer")


@dataclass
class IterativeEngine:
    """Condition by preconditioned conjugate gradients; the last system is kept for the same cells with other data.

    Attributes
    ----------
    settings : Iterative
    systems : dict
        The last one, by what it was made from.
    records : list of Convergence
        How all solves went.
    watch : callable or None
        Told of every step and of the largest residual over its tolerance.
    """

    settings: Iterative = field(default_factory=Iterative)
    systems: dict[str, System] = field(default_factory=dict, repr=False, compare=False)
    records: list[Convergence] = field(default_factory=list, repr=False, compare=False)
    watch: Watch | None = field(default=None, repr=False, compare=False)
    lock: RLock = field(default_factory=RLock, repr=False, compare=False)

    def condition(self, covariance: Covariance, observations: Observations, *, trend: bool = True) -> Posterior:
        """Condition the prior on the observations."""
        if not len(observations):  # nothing to iterate on: the prior
            return ExactEngine().condition(covariance, observations, trend=trend)
        if are_scattered(observations.points, covariance.prior.geometry):
            return PointsPosterior(self.points_system, covariance, observations, trend=trend)
        return IterativePosterior(self, covariance, observations, trend=trend)

    def system(self, law: Covariance, observations: Observations) -> System:
        """The system of these observations, made once as long as no other is asked for."""
        points = observations.points
        key = hashlib.sha256(repr((law.prior, law.device, law.dtype, points.frame)).encode())
        for array in (points.times, points.sites, points.time_index, points.site_index, observations.noise):
            key.update(np.ascontiguousarray(array).tobytes())
        if key.hexdigest() not in self.systems:
            self.systems.clear()
            self.systems[key.hexdigest()] = System(self.settings, law, observations, self.records)
        system = self.systems[key.hexdigest()]
        system.watch = self.watch
        return system

    def points_system(self, law: Covariance, observations: Observations) -> PointSystem:
        """The system of observations that lie on no lattice."""
        found = PointSystem(self.settings, law, observations, self.records)
        found.watch = self.watch
        return found


class IterativePosterior:
    """The posterior of a lattice.

    One thread at a time uses what the engine keeps: operators write into buffers of their own.

    Parameters
    ----------
    engine : IterativeEngine
    law : Covariance
    observations : Observations
        Values (n,), or (n, draws) for several draws of the data at the same points.
    trend : bool
        Whether an unknown constant mean with a flat prior is part of the model.
    """

    def __init__(self, engine: IterativeEngine, law: Covariance, observations: Observations, *, trend: bool) -> None:
        self._engine, self._law, self._given, self._has_trend = engine, law, observations, trend
        self._own = LatticePosterior(engine.system, law, observations, trend=trend)
        self._instead: Posterior | None = None

    @property
    def system(self) -> System:
        """Products and the preconditioner, made when first needed."""
        return self._own.system

    # What is asked

    def moments(self, targets: Points) -> Moments:
        """Marginal mean (of the first draw of the data) and latent variance of every target."""
        return self._either(lambda: self._own.moments(targets), lambda other: other.moments(targets))

    def means(self, targets: Points) -> FloatArray:
        """Posterior mean for every draw of the data, (m, draws)."""
        return self._either(lambda: self._own.means(targets), lambda other: other.means(targets))

    def covariance(self, targets: Points) -> FloatArray:
        """Joint latent covariance of the targets, (m, m), by as many solves as there are targets."""
        return self._either(lambda: self._own.covariance(targets), lambda other: other.covariance(targets))

    def averages(self, targets: Points, weights: FloatArray) -> Moments:
        """Mean (of the first draw of the data) and latent variance of wᵀf for every column of weights, a solve each."""
        return self._either(
            lambda: self._own.averages(targets, weights), lambda other: other.averages(targets, weights)
        )

    def sample(self, targets: Points, n: int, rng: np.random.Generator) -> FloatArray:
        """Coherent draws of the field at targets (given the first draw of the data), (n, m)."""
        return drawn_jointly(self, targets, n, rng)

    @property
    def trend(self) -> tuple[float, float] | None:
        """Estimate and standard error of the constant mean (standardised), or None."""
        return self._either(lambda: self._own.trend, lambda other: other.trend)

    def _either(self, own: Callable[[], Answer], others: Callable[[Posterior], Answer]) -> Answer:
        """Our own answer, or that of the dense engine where the iteration came to nothing."""
        with self._engine.lock, own_threads():
            if self._instead is None:
                try:
                    return own()
                except Stalled as stalled:
                    self._instead = self._dense(stalled)
                except Unproven:
                    self._instead = ExactEngine().condition(self._law, self._given, trend=self._has_trend)
        return others(self._instead)

    def _dense(self, stalled: Stalled) -> Posterior:
        """The dense engine, for as many observations as it takes.

        Raises
        ------
        NumericalError
            When they are too many.
        """
        count, most = len(self._given), Exact().max_observations
        cures = "type a larger `noise=` if the data allow it, or a rougher kernel, e.g. `space_kernel='matern32'`"
        if count > most:
            raise NumericalError(
                f"Conjugate gradients {stalled}, and {count} observations are more than the {most} that the dense "
                f"engine takes instead. The field is too smooth for so little noise: {cures}."
            )
        warnings.warn(
            f"Conjugate gradients {stalled}. The dense engine answers instead, for {count} observations. To spare the "
            f"time, type `method='exact'`; else {cures}.",
            XgpfillWarning,
            stacklevel=2,
        )
        return ExactEngine().condition(self._law, self._given, trend=self._has_trend)
