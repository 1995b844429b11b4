"""Hidden observations: kriging by the oracle, gaps told from geometry, and what draws of a known prior settle."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial

import dask
import dask.array
import numpy as np
import pytest
from numpy.testing import assert_allclose
from xgpfill.grid.points import Observations, Points
from xgpfill.kernels import spec
from xgpfill.kernels.outside import FromFunction
from xgpfill.kernels.prior import Prior, Term
from xgpfill.learning import heldout as module
from xgpfill.learning.composite import learn
from xgpfill.learning.heldout import (
    ENOUGH,
    NUM_HIDDEN,
    NUM_NEIGHBOURS,
    HeldOut,
    Prediction,
    fastest,
    held_out,
    settle_noise,
    settle_smoothness,
    with_smoothness,
)
from xgpfill.learning.starts import AxisSummary

from tests import reference as ref
from tests.problems import SPACE_KERNELS, TIME_KERNELS, anova, lattice, observed, oracle_posterior, product, scattered

NONE = np.zeros(0)
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


def apart(prior: Prior, points: Points, i: int):
    """Distances of every point from point `i`, in lengthscales of the fastest term."""
    time, space = fastest(prior)
    return np.hypot((points.time - points.time[i]) / time, ref.distance(points.space, points.space[[i]])[:, 0] / space)


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


@pytest.mark.parametrize("radius", [0.0, 1.0], ids=["one left out", "a gap around"])
@pytest.mark.parametrize("unequal", [False, True], ids=["one noise", "an error per cell"])
@pytest.mark.parametrize("name", PRIORS)
def test_each_prediction_is_ordinary_kriging_from_all_that_lie_beyond_the_gap(name, unequal, radius):
    prior = PRIORS[name]
    pool = drawn(prior, 24, unequal=unequal)
    if name == "one time step":
        pool = replace(pool, points=Points.scattered(np.zeros(24), pool.points.space))
    hidden = HeldOut(prior, pool, np.full(5, radius) if radius else NONE, seed=0)
    found = hidden.predict(prior)
    physical = replace(pool, noise=prior.noise * pool.noise)
    assert hidden.hidden.size == found.mean.size > 5
    for k, i in enumerate(hidden.hidden):
        others = np.flatnonzero((apart(prior, pool.points, i) >= radius) & (np.arange(len(pool)) != i))
        law = oracle_posterior(prior, physical.take(others), pool.points.take(np.array([i])), trend=True)
        assert found.mean[k] == pytest.approx(law.mean[0], rel=1e-6, abs=1e-8)
        assert found.sd[k] ** 2 == pytest.approx(law.variance[0] + physical.noise[i], rel=1e-6)
    assert_allclose(found.truth, pool.values[hidden.hidden])


def test_kernels_that_were_brought_are_predicted_with():
    function = FromFunction(lambda a, b: np.exp(-np.abs(a[..., :, None, 0] - b[..., None, :, 0]) / 3.0), name="mine")
    ours, theirs = (product(k, SPACE_KERNELS["matern32"], "sphere") for k in (spec.Matern(0.5, 3.0), function))
    pool = drawn(ours, 24)
    expected, found = (HeldOut(p, pool, NONE, seed=0).predict(p) for p in (ours, theirs))
    assert_allclose(np.sort(found.mean), np.sort(expected.mean), rtol=1e-8)
    assert_allclose(np.sort(found.sd), np.sort(expected.sd), rtol=1e-8)


def test_other_priors_are_asked_of_the_same_hidden_observations():
    pool = drawn(anova(), 300)
    hidden = HeldOut(anova(), pool, NONE, seed=0)
    here, there = hidden.predict(anova()), hidden.predict(anova().with_values({"noise": 0.5}))
    assert_allclose(here.truth, there.truth, rtol=0)
    assert (there.sd > here.sd).all()


def test_the_same_seed_hides_the_same_and_another_does_not():
    pool = drawn(anova(), 1000)
    first, again, other = (HeldOut(anova(), pool, NONE, seed) for seed in (1, 1, 2))
    assert (first.hidden == again.hidden).all() and not np.array_equal(first.hidden, other.hidden)
    assert first.hidden.size == NUM_HIDDEN == np.unique(first.hidden).size
    assert_allclose(first.predict(anova()).mean, again.predict(anova()).mean, rtol=0)


def test_nothing_nearer_than_the_gap_is_used_and_wide_gaps_are_seen_from_all_around():
    """Thousands of cells lie within the gap; a search for the nearest few would end inside it."""
    prior, width = in_space(1.5, 200.0, 0.01), 60
    x, y = np.meshgrid(50.0 * np.arange(width), 50.0 * np.arange(width))
    points = Points.scattered(np.zeros(width**2), np.stack([x.ravel(), y.ravel()], 1))
    pool = Observations(points, x.ravel() / 1000, np.ones(width**2))
    hidden = HeldOut(prior, pool, np.array([4.0]), seed=0)
    nearest = []
    for k, i in enumerate(hidden.hidden):
        used = hidden._near[k][hidden._known[k]].numpy()
        distance = apart(prior, points, i)[used]
        assert used.size == NUM_NEIGHBOURS and distance.min() >= 4.0
        nearest.append(distance.min())
    assert np.median(nearest) < 5.0
    changed = pool.values + np.where(apart(prior, points, hidden.hidden[0]) < 4.0, 1e6, 0.0)
    again = HeldOut(prior, replace(pool, values=changed), np.array([4.0]), seed=0)
    assert hidden.predict(prior).mean[0] == again.predict(prior).mean[0]


def test_what_no_observation_is_far_enough_from_is_not_judged():
    pool = drawn(anova(), 200)
    assert HeldOut(anova(), pool, np.array([1e6]), seed=0).hidden.size == 0
    some = HeldOut(anova(), pool, np.array([0.0, 1e6]), seed=0)
    assert 50 < some.hidden.size < 150
    assert np.isfinite(some.predict(anova()).sd).all()


# Gaps


def gappy(kind: str):
    """Values with gaps: cells on their own, or one big cloud."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((3, 16, 18))
    if kind == "random":
        values[rng.random(values.shape) < 0.4] = np.nan
    else:
        values[:, 3:14, 4:15] = np.nan
    return values


def radii_of(monkeypatch, field, pool, prior):
    """What a lattice's gaps are found to be."""
    seen = []
    monkeypatch.setattr(module, "HeldOut", lambda p, o, radii, seed: seen.append(radii) or HeldOut(p, o, NONE, seed))
    held_out(prior, field, pool, seed=0)
    return seen[0]


def pool_of(field):
    t, y, x = np.nonzero(np.isfinite(field.values))
    space = field.space.coordinates[y, x]
    return Observations(Points.scattered(field.time[t], space), field.values[t, y, x], np.ones(t.size))


@pytest.mark.parametrize("kind", ["random", "a cloud"])
def test_the_distances_are_those_of_gaps_to_what_is_observed(monkeypatch, kind):
    prior = product(spec.Matern(1.5, 2.0), spec.Matern(1.5, 400.0), "sphere")
    field = lattice(gappy(kind))
    pool = pool_of(field)
    t, y, x = np.nonzero(np.isnan(field.values))
    time = np.subtract.outer(field.time[t], pool.points.time) / 2.0
    space = ref.distance(field.space.coordinates[y, x], pool.points.space) / 400.0
    expected = np.hypot(time, space).min(1)
    found = radii_of(monkeypatch, field, pool, prior)
    assert np.isin(found.round(9), expected.round(9)).all()
    assert found.mean() == pytest.approx(expected.mean(), rel=0.1)
    step = 222.0 / 400.0  # two degrees
    assert (expected.mean() < 1.1 * step) if kind == "random" else (expected.mean() > 1.8 * step)


def test_a_field_without_gaps_leaves_out_one_at_a_time(monkeypatch):
    field = lattice(np.random.default_rng(0).standard_normal((2, 8, 9)))
    assert radii_of(monkeypatch, field, pool_of(field), anova()).size == 0


def test_what_is_not_valid_is_no_gap(monkeypatch):
    values = np.random.default_rng(0).standard_normal((2, 10, 11))
    values[:, :5] = np.nan
    land = np.arange(10)[None, :, None] >= 5
    field = lattice(values, valid=land)
    assert radii_of(monkeypatch, field, pool_of(field), anova()).size == 0
    open_sea = lattice(values)
    assert radii_of(monkeypatch, open_sea, pool_of(open_sea), anova()).size > 0


def test_lazy_data_are_not_read_and_leave_out_one_at_a_time(monkeypatch):
    field = lattice(gappy("a cloud"))
    lazy = replace(field, values=dask.array.from_array(field.values, chunks=(1, 16, 18)))

    def refuse(*_, **__):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        assert radii_of(monkeypatch, lazy, pool_of(field), anova()).size == 0


def test_too_few_observations_settle_nothing():
    field = lattice(gappy("random"))
    pool = pool_of(field)
    assert held_out(anova(), field, pool.take(np.arange(ENOUGH - 1)), seed=0) is None
    assert held_out(anova(), field, pool, seed=0) is not None


def test_gaps_wider_than_all_that_is_observed_settle_nothing():
    """A corner is observed; whatever is hidden there is nearer to the rest than the gaps are."""
    values = np.full((1, 30, 30), np.nan)
    values[:, :8, :8] = np.random.default_rng(0).standard_normal((8, 8))
    values[:, -1, -1] = 0.0
    far = lattice(values, spacing=0.5)
    corner = pool_of(lattice(values[:, :8, :8], spacing=0.5))
    assert held_out(in_space(1.5, 10.0, 0.1), far, corner, seed=0) is None


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ([(spec.Matern(1.5, 9.0), spec.Matern(1.5, 300.0)), (spec.RBF(2.0), spec.RBF(80.0))], (2.0, 80.0)),
        ([(spec.Constant(), spec.Matern(1.5, 30.0)), (spec.RBF(2.0), spec.RBF(80.0))], (2.0, 80.0)),
        ([(spec.Constant(), spec.Matern(1.5, 30.0))], (np.inf, 30.0)),
        ([(spec.Matern(1.5, 4.0), spec.Constant())], (4.0, np.inf)),
        ([(spec.Periodic(5.0, 1.0), spec.Constant())], (1.0, 1.0)),
    ],
    ids=["the smaller", "not a static one", "unless alone", "one site", "none"],
)
def test_gaps_are_measured_in_lengthscales_of_the_term_that_decays_first(terms, expected):
    prior = Prior(tuple(Term(f"t{i}", time, space, 1.0) for i, (time, space) in enumerate(terms)), noise=0.1)
    assert fastest(prior) == expected


# The factor and the score


@pytest.mark.parametrize(("largest", "expected"), [(3.0, (0.95 * 3.0 / 1.959964) ** 2), (1.0, 1.0), (99.0, 3.0)])
def test_the_factor_widens_to_the_quantile_and_never_narrows(largest, expected):
    """Errors 0, 1, ..., 100 hundredths of the largest: 95 % of them are within 0.95 of it."""
    errors = np.linspace(0.0, largest, 101) * np.tile([1.0, -1.0], 51)[:101]
    sd = np.linspace(0.5, 2.0, 101)
    assert Prediction(np.full(101, 7.0), sd, 7.0 + errors * sd).factor == pytest.approx(expected, rel=1e-6)


def test_after_the_factor_95_percent_of_the_intervals_hold_the_truth():
    rng = np.random.default_rng(0)
    sd = rng.uniform(0.5, 2.0, 2000)
    truth = 1.4 * sd * rng.standard_normal(2000)
    found = Prediction(np.zeros(2000), sd, truth)
    assert found.factor == pytest.approx(1.4**2, rel=0.1)
    assert ref.coverage(np.zeros(2000), found.factor**0.5 * sd, truth, 0.95) == pytest.approx(0.95, abs=1e-3)
    assert_allclose(found.crps, ref.crps_gaussian(np.zeros(2000), found.factor**0.5 * sd, truth))


@pytest.fixture(scope="module")
def draw():
    """A draw of a known prior and its predictions."""
    prior = anova("matern12")
    pool = drawn(prior, 1000, seed=3)
    return prior, pool, HeldOut(prior, pool, NONE, seed=0)


@pytest.mark.parametrize(("share", "expected"), [(1.0, 1.0), (0.5, 2.0), (2.0, 1.0), (1e-3, 3.0)])
def test_a_prior_that_is_right_needs_no_correction_and_one_too_sure_gets_it(draw, share, expected):
    prior, _, hidden = draw
    assert hidden.predict(prior.scaled(share)).factor == pytest.approx(expected, rel=0.15)


def test_gaps_do_not_make_a_right_prior_wrong(draw):
    prior, pool, _ = draw
    behind_gaps, next_door = (HeldOut(prior, pool, r, seed=0).predict(prior) for r in (np.array([0.5, 1.0]), NONE))
    assert behind_gaps.factor == pytest.approx(1.0, rel=0.15)
    assert behind_gaps.sd.mean() > 1.05 * next_door.sd.mean()


# Noise


def test_the_right_noise_is_kept(draw):
    prior, _, hidden = draw
    assert settle_noise(prior, hidden) == prior
    noisy = in_space(1.5, 300.0, 0.5)
    assert settle_noise(noisy, HeldOut(noisy, map_of(noisy, 25), NONE, seed=0)) == noisy


def test_noise_that_was_learned_from_a_few_rough_places_is_lowered():
    """A smooth map, hardly noisy, with four rough towns: likelihood takes their roughness for noise everywhere."""
    smooth, town = in_space(2.5, 400.0, 1e-3), in_space(0.5, 60.0, 1e-3)
    pool, rough = map_of(smooth, 28), map_of(town, 28, seed=1)
    centres = np.array([[300.0, 300.0], [300.0, 1000.0], [1000.0, 300.0], [1000.0, 1000.0]])
    inside = ref.distance(pool.points.space, centres).min(1) < 120.0
    pool = replace(pool, values=pool.values + np.where(inside, 1.5 * rough.values, 0.0))
    blocks = [pool.take(np.sort(np.random.default_rng(s).choice(len(pool), 260, replace=False))) for s in range(3)]
    learned = learn(smooth.with_values({"noise": 0.02}), blocks, AXES, max_evaluations=40).prior
    hidden = HeldOut(learned, pool, NONE, seed=0)
    settled = settle_noise(learned, hidden)
    assert learned.noise > 0.02  # too high by far
    assert settled.noise <= 0.3 * learned.noise
    assert replace(settled, noise=learned.noise) == learned
    assert hidden.predict(settled).crps.mean() < 0.99 * hidden.predict(learned).crps.mean()


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
    settled = settle_smoothness(first, ("space",), relearn, HeldOut(first, pool, NONE, seed=0))
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
    hidden = HeldOut(prior, drawn(prior, 80), NONE, seed=0)
    refuse = partial(pytest.fail, "learned again")
    assert settle_smoothness(prior, ("time", "space"), refuse, hidden) is prior


def test_a_smoothness_that_predicts_no_better_is_not_taken():
    prior = PRIORS["anova"]
    hidden = HeldOut(prior, drawn(prior, 400), NONE, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert settle_smoothness(prior, (), lambda p: p, hidden) is prior
    asked = []
    settle_smoothness(prior, ("space",), lambda p: asked.append(p) or prior, hidden)
    assert [p.terms[0].space.nu for p in asked] == [0.5, 2.5]


def test_a_gain_must_be_more_than_chance():
    """One in a hundred of 40 observations is no gain; the same of 40,000 is."""
    rng = np.random.default_rng(0)
    for count, better in ((40, False), (40_000, True)):
        truth, error = np.zeros(count), rng.standard_normal(count)
        sd = np.ones(count)
        here = Prediction(error, sd, truth)
        there = Prediction(0.97 * error + 0.1 * rng.standard_normal(count), sd, truth)
        assert there.crps.mean() < 0.995 * here.crps.mean() or not better
        assert there.is_better_than(here) is better
        assert not here.is_better_than(here)
