"""Faults planted one at a time in the iterative engine: the bars against the oracle, or a warning, notice each.

Faults that do no harm are planted too: what they touch may only be slower. Everything is at the true hyperparameters,
and the dense engine never answers instead, as where observations are many.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import pytest
import torch
from xgpfill.covariance.matrices import Covariance
from xgpfill.engines.iterative import IterativeEngine
from xgpfill.engines.lattice import marginals, rungs, single, system, variance
from xgpfill.engines.lattice import posterior as posteriors
from xgpfill.engines.lattice.fields import Fields
from xgpfill.engines.lattice.marginals import Marginals
from xgpfill.engines.lattice.posterior import LatticePosterior
from xgpfill.engines.lattice.rungs import Level
from xgpfill.engines.lattice.system import System
from xgpfill.errors import NumericalError, XgpfillWarning
from xgpfill.grid.points import Observations, Points
from xgpfill.kernels.prior import Prior, Term
from xgpfill.operators import conjugate_gradients, lattice, space, tables
from xgpfill.operators.draws import PriorDraws
from xgpfill.operators.lattice import LatticeOperator
from xgpfill.settings import Iterative
from xgpfill.vecchia import local, neighbours, static
from xgpfill.vecchia.local import Patches
from xgpfill.vecchia.preconditioner import VecchiaFactor

from tests import regimes

pytestmark = pytest.mark.slow

MEAN_99 = 0.05
SD_MEDIAN, SD_99, SD_BIAS = 0.05, 0.25, 0.02


@dataclass(frozen=True)
class Verdict:
    """How far an answer is from the oracle's, the worse of cells with and without an observation, and what was said.

    Attributes
    ----------
    mean_99 : float
        99th percentile of the error of the mean, in posterior standard deviations.
    sd_median, sd_99, sd_bias : float
        Of the relative error of the standard deviation, and the size of its mean.
    said : tuple of str
        Warnings.
    """

    mean_99: float
    sd_median: float
    sd_99: float
    sd_bias: float
    said: tuple[str, ...]

    @property
    def is_off(self) -> bool:
        """Whether a bar is broken."""
        within = (
            self.mean_99 <= MEAN_99 and self.sd_median <= SD_MEDIAN and self.sd_99 <= SD_99 and self.sd_bias <= SD_BIAS
        )
        return not within  # NaN is off as well


@cache
def regime_of(name):
    if name != "few and far":
        return regimes.make(name)
    terms = (Term("product", regimes.days(3.0), regimes.km(500.0), 1.0),)
    prior = Prior(terms, noise=0.05, combine="product", geometry="sphere")
    return regimes._regime(name, 0, prior, regimes.region(8, 12, 14), regimes.at_random(0.99))


@cache
def expected_of(name):
    """The oracle's mean and standard deviation of all cells."""
    regime = regime_of(name)
    found = regime.posterior(np.arange(len(regime.cells)))
    return found.mean, np.sqrt(found.variance)


def verdict(name, *, before=None, **settings) -> Verdict:
    """Compare all cells of a regime; `before` is done with the posterior before it is asked."""
    regime = regime_of(name)
    mean, sd = expected_of(name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("ignore", category=RuntimeWarning)  # of numpy, which tells users no more
        warnings.filterwarnings("always", category=XgpfillWarning)
        posterior = IterativeEngine(Iterative(**settings)).condition(Covariance(regime.prior), regime.observations())
        if before is not None:
            before(posterior, regime)
        try:
            found = posterior.moments(regime.cells)
        except NumericalError as error:  # it is noticed as well
            return Verdict(np.inf, np.inf, np.inf, np.inf, (str(error),))
    errors = []
    for cells in (regime.seen(), regime.unseen()):
        off, relative = np.abs(found.mean - mean)[cells] / sd[cells], np.sqrt(found.variance[cells]) / sd[cells] - 1
        errors.append(
            (np.quantile(off, 0.99), np.median(abs(relative)), np.quantile(abs(relative), 0.99), abs(relative.mean()))
        )
    return Verdict(*np.max(errors, axis=0).tolist(), tuple(str(w.message) for w in caught))


@pytest.fixture(autouse=True)
def _no_dense_engine(monkeypatch):
    monkeypatch.setattr(marginals, "DENSE_OPERATIONS", 0.0)


# Faults: each is given what sets attributes, for as long as it is there


def wrap(patch, owner, name, around):
    """Replace a function by one that is given the true one first."""
    true = getattr(owner, name)
    patch.setattr(owner, name, lambda *args, **kwargs: around(true, *args, **kwargs))


def few_neighbours(patch):
    """No fault: a quarter of the local variance is missed."""
    patch.setattr(rungs, "LADDER", (Level(2, 1),))
    for module in (rungs, single):
        patch.setattr(module, "NEIGHBOURS", 16)


def pools_tell_too_little(patch):
    wrap(patch, variance.Pool, "share", lambda true, *args: 0.8 * true(*args))


def corrected_too_little(patch):
    wrap(patch, variance.Pool, "near", lambda true, *args: 0.8 * true(*args))


def not_corrected(patch):
    wrap(patch, variance.Pool, "near", lambda true, pool, left, factors: np.zeros_like(left))


def draws_solved_loosely(patch):
    patch.setattr(system, "DRAW_TOLERANCE", 3.0)


def preconditioner_scaled(patch):
    wrap(patch, VecchiaFactor, "__call__", lambda true, factor, x: 7.0 * true(factor, x))


def preconditioner_is_a_poor_one(patch):
    """Of three neighbours."""
    true = system.preconditioner_of
    patch.setattr(system, "preconditioner_of", lambda neighbours, cells, _, **how: true(neighbours, cells, 3, **how))


def precision_too_small(patch):
    """What is not known of an observation is taken for ten times as much: residuals count a tenth."""
    true = VecchiaFactor.__init__

    def scaled(self, *args, **kwargs):
        true(self, *args, **kwargs)
        self.precision = self.precision / 100.0

    patch.setattr(VecchiaFactor, "__init__", scaled)


def noise_forgotten_in_local_covariances(patch):
    def without(true, noisy, near, sizes, K):
        found = true(noisy, near, sizes, K)
        every = np.arange(near.shape[1])
        K[:, every, every] -= np.where(every < sizes[:, None], noisy[4][near], 0.0)
        return found

    wrap(patch, local, "gathered", without)


def weights_of_patches_too_large(patch):
    def scaled(true, *args, **kwargs):
        found = true(*args, **kwargs)
        return Patches(found.members, 1.1 * found.weights, found.middle)

    wrap(patch, rungs, "patches_of", scaled)


def a_seam_on_the_globe(patch):
    wrap(patch, rungs, "patches_of", lambda true, *args, wraps, **kwargs: true(*args, wraps=False, **kwargs))


def a_hat_missing(patch):
    """Every seventh patch counts for nothing."""

    def without(true, *args, **kwargs):
        found = true(*args, **kwargs)
        return Patches(found.members, found.weights * (np.arange(len(found)) % 7 > 0)[:, None], found.middle)

    wrap(patch, rungs, "patches_of", without)


def no_sparser_sets(patch):
    patch.setattr(local, "_sets", lambda n, count: (np.array([n]), np.array([count])))


def neighbours_at_random(patch):
    def any_of_them(noisy, middle, cells, prefixes, counts, start, stop, near, sizes):
        rng = np.random.default_rng(start)
        for k in range(start, stop):
            sizes[k] = min(near.shape[1], prefixes[0])
            near[k, : sizes[k]] = rng.choice(prefixes[0], sizes[k], replace=False)

    patch.setattr(neighbours, "search", any_of_them)


def local_data_in_another_order(patch):
    def shuffled(true, neighbours, values, *args):
        return true(neighbours, np.roll(values, 1, axis=0), *args)

    for module in (single, static):  # of all terms, and with a map told apart
        wrap(patch, module, "local_conditionals", shuffled)


def variance_of_the_map_left_out(patch):
    wrap(patch, static.GivenMap, "left", lambda true, *args: 0.0 * true(*args))


def map_at_other_places(patch):
    """When what the map explains is taken off the data of draws."""
    wrap(patch, static.StaticFactor, "expected", lambda true, *args: true(*args).roll(1, 0))


def sign_of_the_trend(patch):
    def turned(true, posterior, fields, variance):
        fields = fields.copy()
        fields[:, 1:2] *= -1.0
        return true(posterior, fields, variance)

    wrap(patch, LatticePosterior, "_with_trend", turned)


def trend_left_out(patch):
    def without(true, posterior, fields, variance):
        return replace(true(posterior, fields, variance), variance=variance)

    wrap(patch, LatticePosterior, "_with_trend", without)


def level_forgotten(patch):
    def without(true, posterior, fields, variance):
        found = true(posterior, fields, variance)
        return replace(found, mean=found.mean - float(posterior._beta[0]))

    wrap(patch, LatticePosterior, "_with_trend", without)


def products_too_large(factor, patch):
    wrap(patch, LatticeOperator, "__call__", lambda true, operator, field: true(operator, field).mul_(factor))


def fast_products_too_large(patch):
    """Those of the iteration alone."""

    def scaled(true, operator, field):
        found = true(operator, field)
        return found.mul_(1.02) if operator.dtype == torch.float32 else found

    wrap(patch, LatticeOperator, "__call__", scaled)


def a_time_lag_shifted(patch):
    """One lag in the tables has the covariance of the next."""

    def shifted(true, kernel, times):
        found = true(kernel, times).clone()
        found[2:3] = found[3:4]
        return found

    wrap(patch, tables, "by_lag", shifted)


def frequencies_left_out(patch):
    patch.setattr(space, "negligible", lambda *_: 0.05)


def columns_solved_loosely(patch):
    """Those of probes."""

    def loose(true, system, prior, cross, near, local, _):
        return true(system, prior, cross, 0.5 * near, local, 1e6)

    wrap(patch, System, "variances", loose)


def band_cut_too_early(patch):
    patch.setattr(lattice, "NOTHING", dict.fromkeys(lattice.NOTHING, 1e-2))


def draws_of_less_variance(factor, patch):
    def less(frame, prior, *args):
        *others, last = prior.terms
        return PriorDraws(frame, replace(prior, terms=(*others, replace(last, variance=factor * last.variance))), *args)

    patch.setattr(system, "PriorDraws", less)


def draws_without_noise(patch):
    def without(true, self, count):
        kept = self.observations
        self.observations = replace(kept, noise=np.zeros(len(kept)))
        try:
            return true(self, count)
        finally:
            self.observations = kept

    wrap(patch, System, "draw_data", without)


def draws_a_day_late(patch):
    def late(true, self, count):
        fields, data = true(self, count)
        return np.roll(fields, 1, axis=1), data

    wrap(patch, System, "draw_data", late)


def one_draw_again_and_again(patch):
    def same(true, self, count):
        fields, data = true(self, count)
        return fields[:1].repeat(count, 0), data[:, :1].repeat(1, count)

    wrap(patch, System, "draw_data", same)


def observed_values_not_put_back(patch):
    def without(fields, weights, right, targets, **_):
        sites, times = fields._places(targets)
        field = fields._system.spread(weights)[sites]
        field = field if times is None else field[..., times]
        return field.permute(2, 0, 1).reshape(len(targets), -1).clone()

    patch.setattr(Fields, "__call__", without)


def noise_too_large(patch):
    true = System.__init__

    def scaled(self, settings, law, observations, *args):
        true(
            self, settings, law, Observations(observations.points, observations.values, 1.2 * observations.noise), *args
        )

    patch.setattr(System, "__init__", scaled)


def probes_from_observed_cells(patch):
    def observed(true, self, asked):
        seen = self._observations.points
        wanted = np.zeros(len(asked.points), bool)
        wanted[asked.number(np.stack([seen.time_index, seen.site_index], axis=1))] = True
        kept, self._observations = (
            self._observations,
            replace(
                self._observations, points=Points(seen.times, seen.sites, seen.time_index[:0], seen.site_index[:0])
            ),
        )
        try:
            chosen = np.flatnonzero(wanted)[:: max(1, wanted.sum() // 16)]
            points = asked.points.take_in_order(chosen)
            where = np.stack([asked.times[points.time_index], asked.sites[points.site_index]], axis=1)
        finally:
            self._observations = kept
        return where, points

    wrap(patch, Marginals, "choose_probes", observed)


def exact_variances_too_large(patch):
    def larger(true, self, asked):
        seen, at, exact = true(self, asked)
        return seen, at, 1.15 * exact

    wrap(patch, Marginals, "_probed", larger)


def measurements_of_one_place_not_weighted(patch):
    """The first of them stands for all, with its own noise."""

    def first(true, observations):
        merged, number = true(observations)
        _, own = np.unique(number, return_index=True)
        return replace(merged, values=observations.values[own], noise=observations.noise[own]), number

    wrap(patch, posteriors, "without_repeats", first)


def columns_leave_the_search(patch):
    """Directions are not made independent of each other."""
    patch.setattr(conjugate_gradients, "DEPENDENT", dict.fromkeys(conjugate_gradients.DEPENDENT, 0.5))


def nothing(patch):
    """No fault."""


def mean_first(posterior, regime):
    """The mean is asked for by itself, so that its solve has no probes in it."""
    posterior.means(regime.cells)


FEW = {"few": True}
"""Neighbours, so that much of the local variance is missed."""
SAID = [
    (not_corrected, "some noise", FEW),
    (variance_of_the_map_left_out, "static map", {}),
    (local_data_in_another_order, "globe with poles", {}),
    (noise_forgotten_in_local_covariances, "dense", {}),
    (neighbours_at_random, "some noise", {}),
    (partial(products_too_large, 1.02), "little noise", {}),
    (frequencies_left_out, "little noise", {}),
    (band_cut_too_early, "little noise", {}),
    (columns_solved_loosely, "hidden", {}),
    (partial(draws_of_less_variance, 0.5), "some noise", FEW),
    (draws_without_noise, "little noise", {}),
    (draws_a_day_late, "little noise", {}),
    (one_draw_again_and_again, "some noise", {}),
    (observed_values_not_put_back, "noise free", {}),
    (exact_variances_too_large, "hidden", {}),
    (nothing, "hidden", {"tolerance": 0.9, "before": mean_first}),
    (nothing, "hidden", {"max_steps": 2, "num_neighbours": 16}),
]
"""Faults that the engine notices by itself: it warns."""
TOLD_BY_THE_ORACLE = [
    (precision_too_small, "static map", {}),
    (corrected_too_little, "noise free", FEW),
    (weights_of_patches_too_large, "some noise", {}),
    (a_hat_missing, "some noise", {}),
    (sign_of_the_trend, "hidden", {}),
    (trend_left_out, "few and far", {}),
    (level_forgotten, "hidden", {}),
    (a_time_lag_shifted, "hidden", {}),
    (frequencies_left_out, "hidden", {}),
    (band_cut_too_early, "hidden", {}),
    (noise_too_large, "hidden", {}),
    (draws_solved_loosely, "some noise", {"tolerance": 0.9}),
    (map_at_other_places, "some noise", {}),
    (measurements_of_one_place_not_weighted, "globe with poles", {}),
]
"""Faults that the engine may not notice, and the bars do."""
HARMLESS = [
    (fast_products_too_large, "hidden", {}),  # full precision tells, and goes on
    (fast_products_too_large, "little noise", {}),
    (preconditioner_scaled, "one frame", {}),
    (probes_from_observed_cells, "static map", {}),  # with the map told apart there is little to tell
    (preconditioner_is_a_poor_one, "dense", {}),
    (columns_leave_the_search, "static map", {}),
    (no_sparser_sets, "some noise", FEW),
    (a_seam_on_the_globe, "globe with poles", {}),
    (pools_tell_too_little, "noise free", FEW),  # places make up for it
    (partial(draws_of_less_variance, 0.9), "noise free", FEW),
    (nothing, "hidden", {"tolerance": 0.9}),  # probes are solved well, and data with them
]
"""What may only be slower, or is made up for."""


def named(planted):
    fault, regime, settings = planted
    name = getattr(fault, "__name__", None) or f"{fault.func.__name__} {fault.args[0]}"
    return ", ".join([name.replace("_", " "), regime, *settings])


def with_fault(planted, monkeypatch) -> Verdict:
    fault, regime, settings = planted
    if settings.get("few"):
        few_neighbours(monkeypatch)
        settings = {"num_neighbours": 16}
    fault(monkeypatch)
    return verdict(regime, **settings)


@pytest.mark.parametrize("planted", SAID, ids=named)
def test_a_fault_is_said(planted, monkeypatch):
    assert with_fault(planted, monkeypatch).said


@pytest.mark.parametrize("planted", TOLD_BY_THE_ORACLE, ids=named)
def test_a_fault_breaks_a_bar(planted, monkeypatch):
    found = with_fault(planted, monkeypatch)
    assert found.is_off or found.said, found


@pytest.mark.parametrize("planted", HARMLESS, ids=named)
def test_what_does_no_harm_breaks_no_bar(planted, monkeypatch):
    found = with_fault(planted, monkeypatch)
    assert not found.is_off, found
    assert not found.said, found


PROBLEMS = sorted({(regime, "few" in settings) for _, regime, settings in SAID + TOLD_BY_THE_ORACLE + HARMLESS})


@pytest.mark.parametrize(("regime", "few"), PROBLEMS)
def test_without_a_fault_no_bar_is_broken(regime, few, monkeypatch):
    """So what notices a fault is about the fault."""
    found = with_fault((nothing, regime, FEW if few else {}), monkeypatch)
    assert not found.is_off, found
    assert not found.said, found


@pytest.mark.parametrize("fault", [draws_without_noise, draws_a_day_late, noise_forgotten_in_local_covariances])
def test_a_fault_of_variances_that_is_noticed_leaves_the_answer_to_the_dense_engine_where_that_is_cheap(
    fault, monkeypatch
):
    monkeypatch.setattr(marginals, "DENSE_OPERATIONS", 1e12)
    fault(monkeypatch)
    found = verdict("little noise")
    assert max(found.mean_99, found.sd_99) < 1e-6, found
    assert not found.said
