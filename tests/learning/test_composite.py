"""Composite likelihood: its value against the oracle, its gradient against differences, and what it finds."""

from __future__ import annotations

import math
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from xgpfill.errors import NumericalError, XgpfillWarning
from xgpfill.grid.points import Observations
from xgpfill.kernels import spec
from xgpfill.kernels.outside import FromFunction
from xgpfill.kernels.prior import Prior, Term
from xgpfill.learning.composite import FEW, PRIOR_SD, Block, Packing, _fewer, _Problem, learn, without_shorter
from xgpfill.learning.starts import AxisSummary

from tests import reference as ref
from tests.problems import SPACE_KERNELS, TIME_KERNELS, anova, observed, oracle_covariance, product, scattered

POOL = ThreadPoolExecutor(2)
AXES = {"time": AxisSummary(0.1, 11.0, 3.0, (0.2,)), "space": AxisSummary(50.0, 3000.0, 500.0, (1e-3,))}

PRIORS = {
    "anova of matern12": anova("matern12"),
    "anova of matern32": anova("matern32", "cylinder"),
    "anova of matern52": anova("matern52", "plane"),
    "rbf": product(TIME_KERNELS["rbf"], SPACE_KERNELS["rbf"], "sphere"),
    "rational quadratic": product(TIME_KERNELS["rational_quadratic"], SPACE_KERNELS["rational_quadratic"], "sphere"),
    "periodic": product(TIME_KERNELS["periodic"], SPACE_KERNELS["periodic"], "plane"),
    "spectral": product(TIME_KERNELS["spectral"], SPACE_KERNELS["spectral"], "plane"),
    "brownian": product(TIME_KERNELS["brownian"], SPACE_KERNELS["matern32"], "sphere"),
    "a weighted sum": product(TIME_KERNELS["a weighted sum"], SPACE_KERNELS["a weighted sum"], "sphere"),
    "a product": product(TIME_KERNELS["a product"], SPACE_KERNELS["matern12"], "sphere"),
    "each frame on its own": product(spec.Independent(), SPACE_KERNELS["matern32"], "sphere"),
    "nothing but a constant": product(spec.Constant(), spec.Constant(), "sphere"),
    "a fixed kernel": product(spec.Matern(1.5, 4.0, fixed=True), SPACE_KERNELS["matern32"], "sphere"),
    "a fixed noise": replace(anova("matern32"), fixed_noise=True),
}


def blocks_of(prior, *, count=3, size=12, seed=0):
    rng = np.random.default_rng(seed)
    return [observed(rng, prior, scattered(rng, size + i, prior.geometry)) for i in range(count)]


def with_unit_noise(block, rng):
    """The noise as learning gets it: what is to be multiplied by the factor that is learned."""
    return replace(block, noise=rng.uniform(0.2, 5.0, len(block)))


def problem(prior, *, seed=0):
    """The problem, its blocks and a point away from the start."""
    rng = np.random.default_rng(seed)
    blocks = [with_unit_noise(b, rng) for b in blocks_of(prior)]
    packing = Packing(prior, AXES)
    theta = packing.start + 0.2 * rng.standard_normal(packing.start.size)
    return _Problem(packing, [Block(b, prior) for b in blocks], POOL), blocks, theta


# The objective


@pytest.mark.parametrize("name", PRIORS)
def test_the_value_is_the_negative_log_likelihood_of_the_oracle_and_a_weak_prior(name):
    prior = PRIORS[name]
    objective, blocks, theta = problem(prior)
    here = objective.packing.prior_at(theta)
    expected = 0.0
    for block in blocks:
        K = oracle_covariance(here, block.points, block.points)
        likelihood = ref.log_marginal_likelihood(K, block.values - theta[-1], here.noise * block.noise)
        expected -= likelihood + 0.5 * len(block) * math.log(2 * math.pi)
    away = (theta - objective.packing.start)[:-1] / PRIOR_SD
    expected += 0.5 * (away @ away + theta[-1] ** 2)
    assert objective.evaluate(theta)[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", PRIORS)
def test_the_gradient_equals_finite_differences_the_mean_included(name):
    objective, _, theta = problem(PRIORS[name])
    value, gradient = objective.evaluate(theta)
    for i in range(theta.size):
        step = np.zeros(theta.size)
        step[i] = 1e-5
        difference = (objective.evaluate(theta + step)[0] - objective.evaluate(theta - step)[0]) / 2e-5
        assert gradient[i] == pytest.approx(difference, rel=1e-5, abs=1e-5 * abs(value)), (name, i)


def test_evaluating_twice_gives_the_same_answer():
    objective, _, theta = problem(PRIORS["anova of matern32"])
    (first, slope), (again, slope_again) = objective.evaluate(theta), objective.evaluate(theta)
    assert first == again
    assert_allclose(slope, slope_again, rtol=0)


def test_a_covariance_that_cannot_be_factored_is_a_very_bad_value_and_no_error():
    prior = product(spec.RBF(4.0), spec.Constant(), "plane")
    points = scattered(np.random.default_rng(0), 30, "plane")
    block = Observations(points, np.zeros(30), np.zeros(30))
    objective = _Problem(Packing(prior, AXES), [Block(block, prior)], POOL)
    value, gradient = objective.evaluate(objective.packing.start)
    assert value >= 1e10 and not gradient.any()


# A block


@pytest.mark.parametrize("name", PRIORS)
def test_the_covariance_of_a_block_is_that_of_the_oracle(name):
    prior = PRIORS[name]
    (block,) = blocks_of(prior, count=1, size=15)
    ours, expected = Block(block, prior), oracle_covariance(prior, block.points, block.points)
    assert len(ours) == 15
    assert_allclose(ours.covariance(prior), expected, rtol=1e-9, atol=1e-12)
    assert_allclose(np.tril(ours.matrix(ours.entries(prior))), np.tril(expected), rtol=1e-9, atol=1e-12)


def test_a_kernel_that_was_brought_gives_the_covariance_of_its_function():
    mine = FromFunction(lambda a, b: np.exp(-np.abs(a[..., :, None, 0] - b[..., None, :, 0]) / 3.0), name="mine")
    ours, theirs = (product(k, SPACE_KERNELS["matern32"], "sphere") for k in (spec.Matern(0.5, 3.0), mine))
    (block,) = blocks_of(ours, count=1, size=15)
    expected = oracle_covariance(ours, block.points, block.points)
    assert_allclose(Block(block, theirs).covariance(theirs), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["anova of matern32", "a weighted sum"])
def test_the_slope_in_a_pair_counts_both_its_places_in_the_matrix(name):
    """The change of Σ G∘K, G symmetric, is that of the entries times their slopes."""
    prior, rng = PRIORS[name], np.random.default_rng(0)
    (block,) = blocks_of(prior, count=1)
    ours = Block(block, prior)
    G = torch.as_tensor(rng.standard_normal((12, 12)))
    G = G + G.T
    change = torch.as_tensor(rng.standard_normal(ours.entries(prior).shape))
    lower = ours.matrix(change).tril()
    assert float(ours.slopes(G.clone()) @ change) == pytest.approx(float((G * (lower + lower.tril(-1).T)).sum()))


# Packing


def test_packing_holds_the_free_numbers_as_logs_and_the_mean_last():
    packing = Packing(PRIORS["a fixed kernel"], AXES)
    assert list(packing.sizes) == ["product.variance", "product.space.lengthscale", "noise"]
    assert_allclose(packing.start, [0.0, math.log(700.0), math.log(0.05), 0.0])
    assert list(Packing(PRIORS["a fixed noise"], AXES).sizes)[-1] == "fast.space.lengthscale"


@pytest.mark.parametrize("name", PRIORS)
def test_the_prior_at_the_start_is_the_prior(name):
    prior = PRIORS[name]
    packing = Packing(prior, AXES)
    found, expected = ({path: v for path, v, _, _ in p.items()} for p in (packing.prior_at(packing.start), prior))
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        assert found[path] == pytest.approx(value, rel=1e-12) if value is not None else found[path] is None


@pytest.mark.parametrize("name", PRIORS)
def test_the_start_lies_within_the_bounds_even_when_the_user_gave_it(name):
    packing = Packing(PRIORS[name].scaled(1e-9), AXES)
    assert all(low <= at <= high for at, (low, high) in zip(packing.start, packing.bounds, strict=True))
    assert all(low < high for low, high in packing.bounds)


def test_the_lengthscale_of_a_periodic_kernel_has_no_unit_and_so_have_its_bounds():
    """Km of a coarse grid, or months of days, say nothing of a lengthscale relative to the phase."""
    prior = product(spec.Periodic(365.25, 0.5), spec.Periodic(900.0, 0.5), "plane")
    coarse = {"time": AxisSummary(30.0, 9000.0, 60.0, ()), "space": AxisSummary(111.0, 5000.0, 500.0, ())}
    packing = Packing(prior, coarse)
    bounds, start = (dict(zip(packing.sizes, v[:-1], strict=True)) for v in (packing.bounds, packing.start))
    for path in ("product.time.lengthscale", "product.space.lengthscale"):
        assert start[path] == pytest.approx(math.log(0.5))
        assert bounds[path][0] < math.log(0.3) and math.log(3.0) < bounds[path][1] < math.log(1000.0)


def test_vectors_stay_tuples():
    packing = Packing(PRIORS["spectral"], AXES)
    values = packing.values(np.arange(1.0, packing.start.size))
    assert values["product.time.weights"] == (2.0, 3.0)
    assert values["product.variance"] == 1.0


# Learning

TRUTH = Prior(
    (Term("product", spec.Matern(1.5, 3.0), spec.Matern(1.5, 700.0), 1.0),),
    noise=0.1,
    combine="product",
    geometry="sphere",
)


def astray(prior, factor):
    """Every number of the prior wrong by a factor, lengthscales down and variances up."""
    numbers = {p: v / factor if p.endswith("lengthscale") else v * factor for p, v, _, _ in prior.items()}
    return prior.with_values(numbers)


@pytest.fixture(scope="module")
def data():
    """Draws of the truth, with unit noise as learning gets it."""
    rng = np.random.default_rng(1)
    return [replace(observed(rng, TRUTH, scattered(rng, 150, "sphere")), noise=np.ones(150)) for _ in range(6)]


@pytest.fixture(scope="module")
def learned(data):
    return learn(astray(TRUTH, 4.0), data, AXES)


def test_known_hyperparameters_of_simulated_data_are_found_within_a_factor_of_two(learned):
    truth = {path: value for path, value, _, _ in TRUTH.items()}
    for path, value, _, _ in learned.prior.items():
        assert 0.5 < value / truth[path] < 2.0, path


def test_the_likelihood_improves_over_the_start_and_is_near_that_of_the_truth(learned, data):
    def likelihood(prior):
        return sum(
            ref.profiled_log_marginal_likelihood(
                oracle_covariance(prior, b.points, b.points), b.values, prior.noise * b.noise
            )
            for b in data
        )

    start, found, truth = map(likelihood, (astray(TRUTH, 4.0), learned.prior, TRUTH))
    assert found > start + 20
    assert found > truth - 3


def test_the_reported_likelihood_is_per_observation(learned, data):
    count = sum(map(len, data))
    found = sum(
        ref.profiled_log_marginal_likelihood(
            oracle_covariance(learned.prior, b.points, b.points), b.values, learned.prior.noise * b.noise
        )
        for b in data
    )
    assert learned.log_likelihood == pytest.approx(found / count, abs=0.05)


def test_the_callback_hears_of_every_evaluation(data):
    heard = []
    found = learn(TRUTH, data[:1], AXES, max_evaluations=5, callback=lambda count, value: heard.append((count, value)))
    assert [count for count, _ in heard] == list(range(1, found.evaluations + 1))
    assert 1 <= found.evaluations <= 7
    assert heard[-1][1] <= heard[0][1]


@pytest.fixture(scope="module")
def many():
    """Draws of the truth in blocks large enough for a coarse round."""
    rng = np.random.default_rng(5)
    return [replace(observed(rng, TRUTH, scattered(rng, 240, "sphere")), noise=np.ones(240)) for _ in range(8)]


@pytest.fixture(scope="module")
def rounds(many):
    """What each choice of rounds finds, and how many evaluations were heard of."""

    def found(*names):
        heard: list[int] = []
        result = learn(astray(TRUTH, 2.0), many, AXES, rounds=names, callback=lambda count, _: heard.append(count))
        assert heard == list(range(1, result.evaluations + 1))
        return result

    return {names: found(*names) for names in (("coarse",), ("fine",), ("coarse", "fine"))}


def test_the_coarse_round_comes_near_the_fine_optimum(rounds):
    coarse, fine = ({p: v for p, v, _, _ in rounds[r,].prior.items()} for r in ("coarse", "fine"))
    for path, value in fine.items():
        assert abs(math.log(coarse[path] / value)) < math.log(1.35), path


def test_after_a_coarse_round_the_fine_one_ends_where_it_would_and_needs_less(rounds):
    both, fine = rounds["coarse", "fine"], rounds["fine",]
    assert both.log_likelihood == pytest.approx(fine.log_likelihood, abs=2e-3)
    assert both.evaluations - rounds["coarse",].evaluations < fine.evaluations


def test_the_coarse_round_sees_smaller_blocks_by_turns_cut_out_and_thinned_and_fewer_of_many(many):
    few = _fewer(many)
    assert [len(block) for block in few] == [FEW] * 8
    spread = []
    for block, part in zip(many, few, strict=True):
        own, seen = ({*zip(b.points.time, b.values, strict=True)} for b in (block, part))
        assert seen < own
        spread.append(np.std(part.points.time) / np.std(block.points.time))
    assert max(spread[::2]) < min(spread[1::2])
    assert len(_fewer(many * 2)) == 8


def test_little_data_have_one_round_only(data):
    few = [block.take(np.arange(0, 150, 3)) for block in data]
    assert _fewer(few) == []
    first, second = (learn(TRUTH, few, AXES, rounds=r) for r in (("fine",), ("coarse", "fine")))
    assert first == second


def test_what_is_fixed_is_not_learned(data):
    fixed = product(spec.Matern(1.5, 2.0, fixed=True), spec.Matern(1.5, 300.0), "sphere")
    found = learn(replace(fixed, noise=0.3, fixed_noise=True), data[:2], AXES, max_evaluations=8).prior
    assert (found.terms[0].time, found.noise) == (spec.Matern(1.5, 2.0, fixed=True), 0.3)
    assert found.terms[0].space.lengthscale != 300.0


def test_a_factor_on_the_standard_errors_is_learned(data):
    rng = np.random.default_rng(2)
    unequal = []
    for _ in range(4):
        points = scattered(rng, 120, "sphere")
        errors = rng.uniform(0.02, 0.5, 120)
        block = observed(rng, replace(TRUTH, noise=1e-9), points)
        noisy = block.values + np.sqrt(2.0 * errors) * rng.standard_normal(120)
        unequal.append(Observations(points, noisy, errors))
    assert learn(replace(TRUTH, noise=1.0), unequal, AXES).prior.noise == pytest.approx(2.0, rel=0.4)


def test_a_mean_far_from_zero_does_not_pass_for_variance(data):
    shifted = [replace(b, values=b.values + 1.5) for b in data]
    found = learn(TRUTH, shifted, AXES).prior
    assert found.terms[0].variance < 2.0


def test_learning_says_nothing_when_all_is_well(data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learn(TRUTH, data[:1], AXES, max_evaluations=5)


def test_a_likelihood_that_is_never_finite_is_an_error_and_not_an_answer():
    points = scattered(np.random.default_rng(0), 30, "sphere")
    repeated = Observations(points.take(np.r_[0:30, 0:30]), np.arange(60.0), np.zeros(60))
    with pytest.raises(NumericalError, match=r"Learning found no finite likelihood.*lengthscale="):
        learn(product(spec.RBF(4.0), spec.Constant(), "plane"), [repeated], AXES)


def test_pure_noise_is_reported_with_its_share_and_three_cures():
    rng = np.random.default_rng(3)
    points = scattered(rng, 200, "sphere")
    white = Observations(points, rng.standard_normal(200), np.ones(200))
    with pytest.warns(XgpfillWarning, match=r"90% or more of the variance was taken for noise.*matern12.*fix `noise=`"):
        learn(replace(TRUTH, noise=0.5), [white], AXES)


def test_a_term_of_which_neighbours_share_nothing_is_noise():
    fast = Term("fast", spec.Matern(1.5, 0.5 * AXES["time"].step), spec.Matern(1.5, 0.5 * AXES["space"].step), 0.3)
    prior = replace(TRUTH, terms=(*TRUTH.terms, fast), noise=0.1)
    assert without_shorter(prior, AXES, np.array([0.1, 0.1, 2.0])) == prior  # standard errors that differ
    found = without_shorter(prior, AXES, np.ones(3))
    assert found.noise == pytest.approx(0.4)
    assert found.terms[-1].variance <= 1e-6
    assert found.terms[:-1] == prior.terms[:-1]


def test_a_term_that_is_short_in_time_alone_stays():
    frame = Term("fast", spec.Matern(1.5, 0.5 * AXES["time"].step), spec.Matern(1.5, 10 * AXES["space"].step), 0.3)
    prior = replace(TRUTH, terms=(*TRUTH.terms, frame), noise=0.1)
    assert without_shorter(prior, AXES, np.ones(3)) == prior
    held = replace(prior, terms=(replace(frame, space=frame.time),), fixed_noise=True)
    assert without_shorter(held, AXES, np.ones(3)) == held
