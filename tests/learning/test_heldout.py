"""Hidden observations: kriging by the oracle, gaps told from geometry, and what draws of a known prior settle."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import dask.array
import gpytorch
import numpy as np
import pytest
from numpy.testing import assert_allclose
from xgpfill.grid.points import Observations, Points
from xgpfill.kernels import spec
from xgpfill.kernels.outside import FromFunction
from xgpfill.learning.composite import learn
from xgpfill.learning.gaps import Pool, pools
from xgpfill.learning.heldout import (
    ENOUGH,
    NUM_HIDDEN,
    HeldOut,
    Hidden,
    Prediction,
    held_out,
    settle_noise,
    settle_smoothness,
    weighted_quantile,
    with_smoothness,
)
from xgpfill.learning.starts import AxisSummary

from tests import reference as ref
from tests.problems import SPACE_KERNELS, TIME_KERNELS, anova, lattice, observed, oracle_posterior, product, scattered

if TYPE_CHECKING:
    from xgpfill.kernels.prior import Prior

AXES = {"time": AxisSummary(1.0, 10.0, 3.0, ()), "space": AxisSummary(50.0, 3000.0, 500.0, ())}


def as_learned(found: Observations, prior: Prior) -> Observations:
    """With what the noise of the prior is to be multiplied by."""
    return replace(found, noise=found.noise / prior.noise)


def drawn(prior: Prior, n: int, *, seed: int = 0, unequal: bool = False, geometry: str | None = None) -> Observations:
    rng = np.random.default_rng(seed)
    points = scattered(rng, n, geometry or prior.geometry)
    return as_learned(observed(rng, prior, points, unequal=unequal), prior)


def map_of(prior: Prior, width: int, *, step: float = 50.0, seed: int = 0) -> Observations:
    """A draw on every cell of one square map, on the plane."""
    x, y = np.meshgrid(step * np.arange(width), step * np.arange(width))
    points = Points.scattered(np.zeros(width**2), np.stack([x.ravel(), y.ravel()], 1))
    return as_learned(observed(np.random.default_rng(seed), prior, points), prior)


def in_space(nu: float, lengthscale: float, noise: float) -> Prior:
    return replace(product(spec.Constant(), spec.Matern(nu, lengthscale)), noise=noise)


NOWHERE = Points(np.zeros(0), np.zeros((0, 3)), np.zeros(0, np.intp), np.zeros(0, np.intp))


def pool_of(found: Observations, *rounds: np.ndarray, lasting: tuple = (), gaps: Points = NOWHERE, never=0.0) -> Pool:
    """A pool without gaps, unless said; `rounds` are hidden together."""
    masks = (np.array(r, dtype=bool).reshape(len(r), len(found)) for r in (rounds, lasting))
    return Pool(found, gaps, *masks, never)


def hidden_of(
    prior: Prior, found: Observations, *rounds: np.ndarray, count: int = NUM_HIDDEN, seed: int = 0
) -> HeldOut:
    return HeldOut(prior, pool_of(found, *rounds), seed, count)


def predict(hidden: HeldOut, prior: Prior) -> Prediction:
    return Hidden((hidden,)).predict(prior)


def predicted(mean, sd, truth) -> Prediction:
    """A prediction of one observation a day, in which all count alike."""
    k = np.size(truth)
    return Prediction(
        np.broadcast_to(mean, k), np.broadcast_to(sd, k), truth, np.zeros(k), np.ones(k), np.zeros(k, np.intp),
        np.arange(k), np.zeros((k, 3)), np.ones(k),
    )  # fmt: skip


# Predictions

PRIORS = {
    "anova": anova("matern32"),
    "a cylinder": anova("matern12", "cylinder"),
    "periodic in time": product(TIME_KERNELS["periodic"], SPACE_KERNELS["matern32"], "sphere"),
    "nothing but periodic": product(TIME_KERNELS["periodic"], SPACE_KERNELS["periodic"], "plane"),
    "rbf": product(TIME_KERNELS["rbf"], SPACE_KERNELS["rbf"], "sphere"),
    "a sum": product(TIME_KERNELS["a weighted sum"], SPACE_KERNELS["a weighted sum"], "sphere"),
    "each frame on its own": product(spec.Independent(), SPACE_KERNELS["matern32"], "sphere"),
    "one time step": product(spec.Constant(), SPACE_KERNELS["matern12"], "sphere"),
    "one site": product(TIME_KERNELS["matern32"], spec.Constant(), "sphere"),
}


@pytest.mark.parametrize("together", [False, True], ids=["one left out", "many hidden together"])
@pytest.mark.parametrize("unequal", [False, True], ids=["one noise", "an error per cell"])
@pytest.mark.parametrize("name", PRIORS)
def test_each_prediction_is_ordinary_kriging_from_all_that_are_kept(name, unequal, together):
    prior = PRIORS[name]
    found = drawn(prior, 24, unequal=unequal)
    if name == "one time step":
        found = replace(found, points=Points.scattered(np.zeros(24), found.points.space))
    mask = np.arange(24) % 3 == 0
    hidden = hidden_of(prior, found, *([mask] if together else []), count=16)
    answer = predict(hidden, prior)
    physical = replace(found, noise=prior.noise * found.noise)
    assert hidden.hidden.size == answer.mean.size == 16
    for k, i in enumerate(hidden.hidden):
        kept = ~mask if together and k >= 8 else np.arange(24) != i
        law = oracle_posterior(prior, physical.take(np.flatnonzero(kept)), found.points.take(np.array([i])), trend=True)
        assert answer.mean[k] == pytest.approx(law.mean[0], rel=1e-6, abs=1e-8)
        assert answer.sd[k] ** 2 == pytest.approx(law.variance[0] + physical.noise[i], rel=1e-6)
    assert_allclose(answer.truth, found.values[hidden.hidden])


def test_kernels_that_were_brought_are_predicted_with():
    function = FromFunction(lambda a, b: np.exp(-np.abs(a[..., :, None, 0] - b[..., None, :, 0]) / 3.0), name="mine")
    ours, theirs = (product(k, SPACE_KERNELS["matern32"], "sphere") for k in (spec.Matern(0.5, 3.0), function))
    pool = drawn(ours, 24)
    expected, found = (predict(hidden_of(p, pool), p) for p in (ours, theirs))
    assert_allclose(np.sort(found.mean), np.sort(expected.mean), rtol=1e-8)
    assert_allclose(np.sort(found.sd), np.sort(expected.sd), rtol=1e-8)


def test_a_kernel_with_parameters_of_its_own_predicts_many():
    """In parts, on several threads."""
    kernel = gpytorch.kernels.MaternKernel(nu=0.5)
    kernel.lengthscale = 3.0
    ours, theirs = (
        product(k, SPACE_KERNELS["matern32"], "sphere") for k in (spec.Matern(0.5, 3.0), spec.as_kernel(kernel))
    )
    pool = drawn(ours, 900)
    expected, found = (predict(hidden_of(ours, pool, count=800), p) for p in (ours, theirs))
    assert_allclose(found.mean, expected.mean, rtol=1e-5, atol=1e-6)
    assert_allclose(found.sd, expected.sd, rtol=1e-5)


def test_other_priors_are_asked_of_the_same_hidden_observations():
    pool = drawn(anova(), 300)
    hidden = hidden_of(anova(), pool)
    here, there = (predict(hidden, p) for p in (anova(), anova().with_values({"noise": 0.5})))
    assert_allclose(here.truth, there.truth, rtol=0)
    assert (there.sd > here.sd).all()


def test_each_of_several_noises_predicts_as_it_does_alone():
    pool = drawn(anova(), 300)
    hidden = Hidden((hidden_of(anova(), pool),))
    for noise, found in zip((0.1, 0.4), hidden.predict_each(anova(), (0.1, 0.4)), strict=True):
        alone = hidden.predict(anova().with_values({"noise": noise}))
        assert_allclose(found.mean, alone.mean, rtol=1e-10)
        assert_allclose(found.sd, alone.sd, rtol=1e-10)


def test_the_same_seed_hides_the_same_and_another_does_not():
    pool = drawn(anova(), 1000)
    first, again, other = (hidden_of(anova(), pool, count=500, seed=seed) for seed in (1, 1, 2))
    assert (first.hidden == again.hidden).all() and not np.array_equal(first.hidden, other.hidden)
    assert first.hidden.size == 500 == np.unique(first.hidden).size
    assert_allclose(predict(first, anova()).mean, predict(again, anova()).mean, rtol=0)


# Gaps


def gappy(kind: str):
    """Values with gaps: cells on their own, or one big cloud."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((8, 16, 18))
    if kind == "random":
        values[rng.random(values.shape) < 0.4] = np.nan
    else:
        values[::2, 3:14, 4:15] = np.nan
    return values


@pytest.mark.parametrize("kind", ["random", "a cloud"])
def test_hidden_observations_count_so_that_together_they_are_as_uncertain_as_gaps(kind):
    prior = product(spec.Matern(1.5, 1.0), spec.Matern(1.5, 600.0), "sphere")
    (pool,) = pools(lattice(gappy(kind)), seed=0)
    hidden = HeldOut(prior, pool, 0, 800).weighted(prior)
    answer = predict(hidden, prior)
    physical = replace(pool.observations, noise=np.full(len(pool.observations), prior.noise))
    chosen = pool.gaps.take(np.arange(0, len(pool.gaps), 8))
    exact = np.sqrt(oracle_posterior(prior, physical, chosen, trend=True).variance)
    own = np.sqrt(answer.sd**2 - prior.noise)
    assert answer.weight.mean() == pytest.approx(1.0)
    assert np.average(own, weights=answer.weight) == pytest.approx(exact.mean(), rel=0.1)


def test_a_field_without_gaps_counts_all_alike_and_leaves_out_one_at_a_time():
    (pool,) = pools(lattice(np.random.default_rng(0).standard_normal((2, 8, 9))), seed=0)
    assert not len(pool.gaps) and not pool.transient.any() and not pool.lasting.any()
    assert (HeldOut(anova(), pool, 0, 50).weighted(anova()).weight == 1.0).all()


def test_what_is_not_valid_is_no_gap():
    values = np.random.default_rng(0).standard_normal((2, 10, 11))
    values[:, :5] = np.nan
    sea = np.arange(10)[None, :, None] >= 5
    (closed,), (open_sea,) = pools(lattice(values, valid=sea), seed=0), pools(lattice(values), seed=0)
    assert len(closed.gaps) == 0 < len(open_sea.gaps)
    assert open_sea.never == 1.0


def test_places_that_nobody_measures_are_judged_by_places_hidden_at_all_times():
    values = np.full((12, 14, 15), np.nan)
    rng = np.random.default_rng(0)
    stations = rng.choice(14 * 15, 40, replace=False)
    values.reshape(12, -1)[:, stations] = rng.standard_normal((12, 40))
    (pool,) = pools(lattice(values), seed=0)
    assert pool.never == 1.0 and not len(pool.transient)
    for mask in pool.lasting:
        site = pool.observations.points.site_index
        assert 0 < mask.mean() < 0.5
        assert set(site[mask]).isdisjoint(site[~mask])
    hidden = HeldOut(anova(), pool, 0, 100)
    site = pool.observations.points.site_index
    for k, i in enumerate(hidden.hidden):
        assert site[i] not in site[hidden._near[k][hidden._known[k]].numpy()]


def test_lazy_fields_are_read_in_windows_and_judged_alike(monkeypatch):
    field = lattice(gappy("random"))
    monkeypatch.setattr("xgpfill.learning.gaps.WINDOW_CELLS", 300)
    lazy = replace(field, values=dask.array.from_array(field.values, chunks=(2, 8, 9)))
    (some,), (every,) = pools(lazy, seed=0), pools(field, seed=0)
    assert ENOUGH < len(some.observations) < len(every.observations)
    assert set(some.observations.values) <= set(every.observations.values)
    assert len(some.gaps) and some.transient.shape[1] == len(some.observations)


def test_too_few_observations_settle_nothing():
    found = drawn(anova(), 200)
    assert held_out(anova(), [pool_of(found.take(np.arange(ENOUGH - 1)))], seed=0) is None
    assert held_out(anova(), [pool_of(found)], seed=0) is not None


def test_quantiles_count_by_weight():
    values, weight = np.array([3.0, 1.0, 2.0]), np.array([1.0, 2.0, 1.0])
    same = weighted_quantile(np.array([1.0, 1.0, 2.0, 3.0]), np.ones(4), 0.7)
    assert weighted_quantile(values, weight, 0.25) == pytest.approx(1.0)
    assert weighted_quantile(values, weight, 0.7) == pytest.approx(same, abs=0.35)


# The factor and the score


@pytest.mark.parametrize(
    ("largest", "expected"), [(3.0, (0.95 * 3.0 / 1.959964) ** 2), (1.2, (0.95 * 1.2 / 1.959964) ** 2), (99.0, 3.0)]
)
def test_the_factor_brings_the_quantile_to_the_normal_one(largest, expected):
    """Errors 0, 1, ..., 100 hundredths of the largest: 95 % of them are within 0.95 of it."""
    errors = np.linspace(0.0, largest, 101) * np.tile([1.0, -1.0], 51)[:101]
    sd = np.linspace(0.5, 2.0, 101)
    assert predicted(7.0, sd, 7.0 + errors * sd).factor == pytest.approx(expected, rel=0.02)


def test_after_the_factor_95_percent_of_the_intervals_hold_the_truth():
    rng = np.random.default_rng(0)
    sd = rng.uniform(0.5, 2.0, 2000)
    truth = 1.4 * sd * rng.standard_normal(2000)
    found = predicted(0.0, sd, truth)
    assert found.factor == pytest.approx(1.4**2, rel=0.1)
    assert ref.coverage(np.zeros(2000), found.factor**0.5 * sd, truth, 0.95) == pytest.approx(0.95, abs=1e-3)
    assert_allclose(found.crps, ref.crps_gaussian(np.zeros(2000), found.factor**0.5 * sd, truth))


@pytest.fixture(scope="module")
def draw():
    """A draw of a known prior and its predictions."""
    prior = anova("matern12")
    pool = drawn(prior, 1000, seed=3)
    return prior, pool, hidden_of(prior, pool)


@pytest.mark.parametrize(("share", "expected"), [(1.0, 1.0), (0.5, 2.0), (2.0, 0.5), (1e-3, 3.0)])
def test_a_prior_that_is_right_needs_no_correction_and_one_too_sure_gets_it(draw, share, expected):
    prior, _, hidden = draw
    assert predict(hidden, prior.scaled(share)).factor == pytest.approx(expected, rel=0.15)


def test_gaps_do_not_make_a_right_prior_wrong(draw):
    prior, pool, hidden = draw
    mask = np.random.default_rng(1).random(len(pool)) < 0.8
    together, alone = predict(hidden_of(prior, pool, mask), prior), predict(hidden, prior)
    assert together.factor == pytest.approx(1.0, rel=0.15)
    assert together.sd.mean() > 1.05 * alone.sd.mean()


# Noise


def test_the_right_noise_is_kept(draw):
    prior, _, hidden = draw
    assert settle_noise(prior, Hidden((hidden,))) == prior
    noisy = in_space(1.5, 300.0, 0.5)
    assert settle_noise(noisy, Hidden((hidden_of(noisy, map_of(noisy, 25)),))) == noisy


def test_noise_that_was_learned_from_a_few_rough_places_is_lowered():
    """A smooth map, hardly noisy, with four rough towns: likelihood takes their roughness for noise everywhere."""
    smooth, town = in_space(2.5, 400.0, 1e-3), in_space(0.5, 60.0, 1e-3)
    pool, rough = map_of(smooth, 28), map_of(town, 28, seed=1)
    centres = np.array([[300.0, 300.0], [300.0, 1000.0], [1000.0, 300.0], [1000.0, 1000.0]])
    inside = ref.distance(pool.points.space, centres).min(1) < 120.0
    pool = replace(pool, values=pool.values + np.where(inside, 1.5 * rough.values, 0.0))
    blocks = [pool.take(np.sort(np.random.default_rng(s).choice(len(pool), 260, replace=False))) for s in range(3)]
    learned = learn(smooth.with_values({"noise": 0.02}), blocks, AXES, max_evaluations=40).prior
    hidden = hidden_of(learned, pool)
    settled = settle_noise(learned, Hidden((hidden,)))
    assert learned.noise > 0.02  # too high by far
    assert settled.noise <= 0.3 * learned.noise
    assert replace(settled, noise=learned.noise) == learned
    assert predict(hidden, settled).crps.mean() < 0.99 * predict(hidden, learned).crps.mean()


# Smoothness


def relearner(pool):
    blocks = [pool.take(np.sort(np.random.default_rng(s).choice(len(pool), 200, replace=False))) for s in range(3)]
    return lambda prior: learn(prior, blocks, AXES, rounds=("coarse",)).prior


@pytest.mark.parametrize("nu", [0.5, 2.5])
def test_the_smoothness_of_the_draw_is_found(nu):
    truth, rng = in_space(nu, 300.0, 1e-3), np.random.default_rng(0)
    points = Points.scattered(np.zeros(600), rng.uniform(0, 1500, (600, 2)))
    pool = as_learned(observed(rng, truth, points), truth)
    relearn = relearner(pool)
    first = relearn(with_smoothness(truth, "space", 1.5).with_values({"noise": 0.02}))
    settled = settle_smoothness(first, ("space",), relearn, Hidden((hidden_of(first, pool),)))
    assert settled.terms[0].space.nu == nu


def test_only_the_named_axis_and_matern_kernels_change():
    prior = anova("matern32")
    changed = with_smoothness(prior, "time", 0.5)
    assert [getattr(t.time, "nu", None) for t in changed.terms] == [None, 0.5, 0.5, 0.5]
    assert [t.space for t in changed.terms] == [t.space for t in prior.terms]
    assert changed.with_values({"noise": 0.05}) == replace(
        prior, terms=tuple(replace(t, time=c.time) for t, c in zip(prior.terms, changed.terms, strict=True))
    )


@pytest.mark.parametrize("name", ["rbf", "nothing but periodic", "a sum"])
def test_without_a_matern_kernel_nothing_is_tried(name):
    prior = PRIORS[name]
    hidden = hidden_of(prior, drawn(prior, 80))
    refuse = partial(pytest.fail, "learned again")
    assert settle_smoothness(prior, ("time", "space"), refuse, Hidden((hidden,))) is prior


def test_a_smoothness_that_predicts_no_better_is_not_taken():
    prior = PRIORS["anova"]
    hidden = Hidden((hidden_of(prior, drawn(prior, 400)),))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert settle_smoothness(prior, (), lambda p: p, hidden) is prior
    asked = []
    settle_smoothness(prior, ("space",), lambda p: asked.append(p) or prior, hidden)
    assert [p.terms[0].space.nu for p in asked] == [0.5, 2.5]


def test_a_gain_must_be_more_than_chance():
    """The same gain of two in a hundred, of which single observations tell little: 40 are too few, 40,000 enough."""
    rng = np.random.default_rng(0)
    for count, better in ((40, False), (40_000, True)):
        gain = rng.standard_normal(count)
        gain = 0.02 + 0.2 * (gain - gain.mean()) / gain.std()
        here, there = predicted(0.0, 1.0, np.zeros(count)), predicted(0.0, 1.0, np.zeros(count))
        here.__dict__["crps"], there.__dict__["crps"] = np.ones(count), 1.0 - gain
        assert there.gain_over(here) == pytest.approx((0.02, 0.2 / np.sqrt(count)))
        assert there.is_better_than(here) is better
        assert not here.is_better_than(here)


def test_errors_of_a_day_go_together():
    """Ten of each day that are all alike tell no more than one would; 4,000 days do."""
    days = np.repeat(np.arange(30), 10)
    errors = np.random.default_rng(0).standard_normal(30)[days]
    together = replace(predicted(0.0, 1.0, errors), time=days)
    once = predicted(0.0, 1.0, errors[::10])
    assert together.design_effect == pytest.approx(10 * once.design_effect)
    assert together.mean_and_error(errors) == pytest.approx(once.mean_and_error(errors[::10]))


def test_a_single_image_is_divided_into_quarters_of_its_axes():
    x = np.linspace(0.0, 100.0, 400)
    space = np.stack(np.meshgrid(x, x[:5], indexing="ij"), -1).reshape(-1, 2)
    image = replace(predicted(0.0, 1.0, np.zeros(2000)), time=np.zeros(2000), space=space)
    assert np.unique(image.groups).size == 16
    assert np.unique(replace(image, time=np.arange(2000) % 7).groups).size == 7


def test_the_score_of_gaps_that_recur_is_still_told_by_gaps_that_come_and_go():
    """The same cloud every other day: a shift by two days hides nothing, one by three does."""
    field = lattice(gappy("a cloud"))
    for seed in range(4):
        assert all(mask.mean() > 0.1 for mask in pools(field, seed=seed)[0].transient)
