"""The steps of learning: starts, likelihood, smoothness, local amplitude, noise, intervals; in standardised units."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.learning.amplitude import local_amplitude
from xgpfill.learning.blocks import distinct, draw_samples, merged
from xgpfill.learning.calibration import calibrated
from xgpfill.learning.composite import Learned, learn, without_field
from xgpfill.learning.gaps import pools
from xgpfill.learning.heldout import ENOUGH, NUM_TO_CHOOSE, Hidden, held_out, settle_noise, settle_smoothness
from xgpfill.learning.starts import anomaly_share, other_starts, starting_values, summarise

if TYPE_CHECKING:
    from collections.abc import Callable

    from xgpfill.calibration import Calibration
    from xgpfill.engines.settings import Variational
    from xgpfill.grid.lattice import Lattice
    from xgpfill.grid.points import Observations
    from xgpfill.grid.scaling import Amplitude, Scaling
    from xgpfill.kernels.prior import Prior

ELBO_OBSERVATIONS = 100_000
"""The most observations that training by evidence lower bound sees."""

NUMBERS_OF_A_TERM = 3
"""Its variance and two lengthscales."""


@dataclass(frozen=True)
class Rules:
    """What is settled, and how.

    Attributes
    ----------
    bound : Variational or None
        The engine that trains by evidence lower bound; None: by composite likelihood.
    has_errors : bool
        Whether observations have standard errors; the noise is then a factor on their squares.
    auto : tuple of {"time", "space"}
        Axes whose smoothness is settled.
    amplitude, calibrate : bool
        Whether a local amplitude and the widths of intervals are looked for.
    seed : int
    device : str
    """

    bound: Variational | None = None
    has_errors: bool = False
    auto: tuple[str, ...] = ()
    amplitude: bool = True
    calibrate: bool = True
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True)
class Found:
    """What learning found: a prior in the units of `scaling`, the intervals, and how the likelihood ended."""

    prior: Prior
    scaling: Scaling
    calibration: Calibration | None
    evaluations: int
    log_likelihood: float


def standardised(found: Observations, scaling: Scaling, *, has_errors: bool, noise_is_known: bool) -> Observations:
    """Observations in data units as standardised ones."""
    own = scaling.of_field(found.field)
    amplitude = own.amplitude_of(found.points)
    noise = found.noise / scaling.reference**2 if has_errors else found.noise
    noise = noise / own.relative(amplitude) ** 2 if noise_is_known else noise
    return replace(found, values=own.standardised(found.values, amplitude, own.mean_of(found.points)), noise=noise)


@dataclass(eq=False)
class Course:
    """Learning from one set of blocks, checked on hidden observations of one set of pools.

    Attributes
    ----------
    lattice : Lattice
    blocks : list of Observations
        Data units.
    scaling : Scaling
    rules : Rules
    noise_is_known : bool
        Whether noise stays what it is however much the field varies.
    step : callable
        Called at each evaluation of the likelihood.
    """

    lattice: Lattice
    blocks: list[Observations]
    scaling: Scaling
    rules: Rules
    noise_is_known: bool
    step: Callable[[], None] = lambda: None
    evaluations: int = 0
    _drawn: Hidden | None = field(default=None, repr=False)
    _is_drawn: bool = field(default=False, repr=False)
    _weighted_by: Prior | None = field(default=None, repr=False)

    def run(self, prior: Prior) -> Found:
        """All steps; what the `prior` holds free is learned."""
        rules, how = self.rules, {"noise_is_scale": self.rules.has_errors}
        blocks = self._standard()
        axes = summarise(blocks, self.lattice, prior)
        values = starting_values(prior, axes, **how)
        starts = other_starts(prior, axes, values, anomaly_share(blocks), rules.seed, **how)
        start = prior.with_values(values)
        relearn = partial(self._relearn, axes=axes)
        if rules.auto:
            start = self._smoothness(start, starts, relearn)
        if rules.bound is not None:
            learned = self._by_bound(rules.bound, start, axes)
        else:
            learned = relearn(start, rounds=("fine",)) if rules.auto else relearn(start, starts=starts)
        learned = self._local(learned, relearn) if rules.amplitude else learned
        found = without_field(learned.prior) if self._is_white(learned) else learned.prior
        if not found.fixed_noise and (hidden := self.hidden(found)) is not None:
            found = settle_noise(found, hidden.some(NUM_TO_CHOOSE))
        intervals = self.intervals(found)
        return Found(found, self.scaling, intervals, self.evaluations, learned.log_likelihood)

    def intervals(self, prior: Prior) -> Calibration | None:
        """How wide intervals must be; None where too little could be hidden, or nobody asks."""
        if not self.rules.calibrate:
            return None
        hidden = self.hidden(prior)
        fields = len(list(self.lattice.members()))
        return None if hidden is None else calibrated(hidden.predict(prior), fields)

    def _standard(self) -> list[Observations]:
        return [self._standardised(block) for block in self.blocks]

    def _standardised(self, found: Observations) -> Observations:
        how = {"has_errors": self.rules.has_errors, "noise_is_known": self.noise_is_known}
        return standardised(found, self.scaling, **how)

    def _relearn(self, prior: Prior, **how: Any) -> Learned:
        learned = learn(prior, self._standard(), callback=lambda *_: self.step(), **how)
        self.evaluations += learned.evaluations
        return learned

    def _by_bound(self, settings: Variational, start: Prior, axes: Any) -> Learned:
        """By evidence lower bound."""
        from xgpfill.learning.elbo import learn_elbo

        rules = self.rules
        sample = merged([self._standardised(s) for s in draw_samples(self.lattice, ELBO_OBSERVATIONS, rules.seed)])
        how: dict[str, Any] = {"seed": rules.seed, "device": rules.device, "callback": lambda *_: self.step()}
        learned = learn_elbo(start, sample, axes, settings, **how)
        self.evaluations += learned.evaluations
        return learned

    def hidden(self, prior: Prior) -> Hidden | None:
        """Observations to hide, always the same, with numbers in the units of now; they count as gaps do by a prior."""
        if not self._is_drawn:
            found = [
                pool.with_observations(self._standardised(pool.observations))
                for pool in pools(self.lattice, self.rules.seed + 1)
            ]
            self._drawn = held_out(prior, found, self.rules.seed + 1, noise_is_known=self.noise_is_known)
            self._is_drawn = True
        if self._drawn is not None and self._weighted_by != prior:
            self._drawn, self._weighted_by = self._drawn.weighted(prior), prior
        return self._drawn

    def _smoothness(self, start: Prior, starts: Any, relearn: Callable[..., Learned]) -> Prior:
        """The prior with the smoothness of the axes that ask for it settled, near its optimum."""

        def near(prior: Prior, starts: Any = ()) -> Prior:
            return relearn(prior, rounds=("coarse",), starts=starts).prior

        first = near(start, starts)
        hidden = self.hidden(first)
        if hidden is None:
            return first
        return settle_smoothness(first, self.rules.auto, near, hidden.some(NUM_TO_CHOOSE))

    def _local(self, learned: Learned, relearn: Callable[..., Learned]) -> Learned:
        """Learned anew with a local amplitude, where hidden observations and the likelihood of all both ask for it.

        Days are few where most are empty: the amplitude that suits what is hidden then does not suit the field.
        """
        hidden = self.hidden(learned.prior)
        if hidden is None:
            return learned
        before = hidden.predict(learned.prior)
        amplitude = local_amplitude(before, self.lattice.space, self.rules.seed)
        if amplitude is None:
            return learned
        likelihood = learned.log_likelihood
        if self.rules.bound is not None:  # which is a bound, of other observations
            likelihood = relearn(learned.prior, rounds=("fine",)).log_likelihood
        plain, self.scaling = self.scaling, self.scaling.with_amplitude(amplitude)
        again, local = relearn(learned.prior, rounds=("fine",)), hidden.with_amplitude(amplitude)
        likelier = again.log_likelihood - self._mean_log(amplitude) > likelihood
        if likelier and local.predict(again.prior).is_better_than(before):
            self._drawn, self._weighted_by = local, None  # in other units
            return again
        self.scaling = plain
        return learned

    def _is_white(self, learned: Learned) -> bool:
        """Whether observations are hardly likelier as a field than as noise alone, by Akaike's criterion (1974, eq. 8).

        What chance makes alike in a few thousand numbers looks like a weak field, however white they are. The least
        field there is, one term, has three numbers; blocks that share observations count these once.
        """
        if self.rules.has_errors or self.rules.bound is not None or learned.prior.fixed_noise:
            return False
        values = merged(self._standard()).values
        by_field = [[b for b in self.blocks if b.field == own] for own in {b.field for b in self.blocks}]
        count = sum(len(distinct(blocks)) for blocks in by_field)
        if count < ENOUGH:
            return False
        alone = -0.5 * np.log(2.0 * np.pi * np.e * values.var())
        return bool((learned.log_likelihood - alone) * count < NUMBERS_OF_A_TERM)

    def _mean_log(self, amplitude: Amplitude) -> float:
        """What a likelihood per observation is less in the units of before, log p(y) = log p(y/D) − log D."""
        points = [block.points for block in self.blocks]
        return float(np.concatenate([np.log(amplitude.at(p.sites))[p.site_index] for p in points]).mean())
