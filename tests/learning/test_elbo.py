"""Learning by the evidence lower bound: better than the start, repeatable, the best state kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gpytorch.utils.memoize import clear_cache_hook
from xgpfill.grid.points import Observations, Points
from xgpfill.kernels import spec
from xgpfill.kernels.prior import Prior, Term
from xgpfill.learning import elbo as module
from xgpfill.learning.elbo import learn_elbo
from xgpfill.learning.starts import AxisSummary
from xgpfill.settings import Variational

from tests import reference as ref
from tests.problems import SPACE_KERNELS, anova, observed, oracle_covariance, product, scattered

AXES = {"time": AxisSummary(0.1, 11.0, 3.0, (0.2,)), "space": AxisSummary(50.0, 3000.0, 500.0, (1e-3,))}
TRUTH = Prior(
    (Term("product", spec.Matern(1.5, 6.0), spec.Matern(1.5, 1500.0), 1.0),),
    noise=0.1,
    combine="product",
    geometry="sphere",
)
START = TRUTH.with_values(
    {"product.time.lengthscale": 2.0, "product.space.lengthscale": 500.0, "product.variance": 0.4, "noise": 0.4}
)
TINY = Variational(num_inducing=60, batch_size=64, epochs=40, train="elbo")


@pytest.fixture(scope="module")
def data():
    """320 observations with unit noise, as learning gets them, and 80 that nobody shows it."""
    rng = np.random.default_rng(0)
    everything = observed(rng, TRUTH, scattered(rng, 400, "sphere"))
    everything = replace(everything, noise=np.ones(400))
    order = rng.permutation(400)
    return everything.take(order[:320]), everything.take(order[320:])


@pytest.fixture(scope="module")
def learned(data):
    return learn_elbo(START, data[0], AXES, TINY, seed=1)


def held_out_score(prior: Prior, data):
    """Mean negative log density of the unseen observations under the exact posterior, by the oracle."""
    seen, unseen = data
    law = ref.posterior(
        oracle_covariance(prior, seen.points, seen.points),
        oracle_covariance(prior, seen.points, unseen.points),
        np.diag(oracle_covariance(prior, unseen.points, unseen.points)),
        seen.values,
        prior.noise * seen.noise,
    )
    spread = law.variance + prior.noise * unseen.noise
    return float(np.mean(0.5 * np.log(2 * np.pi * spread) + 0.5 * (unseen.values - law.mean) ** 2 / spread))


def test_what_was_learned_scores_better_on_unseen_data_than_the_start(learned, data):
    before, after, best = (held_out_score(p, data) for p in (START, learned.prior, TRUTH))
    assert after < before - 0.3 * (before - best)


def test_lengthscales_and_noise_move_towards_the_truth(learned):
    """The variance of so smooth a field is not told apart from its lengthscales."""
    truth, start, found = ({p: v for p, v, _, _ in prior.items()} for prior in (TRUTH, START, learned.prior))
    for path in ("product.time.lengthscale", "product.space.lengthscale", "noise"):
        value = found[path]
        assert abs(np.log(value / truth[path])) < abs(np.log(start[path] / truth[path])), path


def test_the_same_seed_gives_the_same_answer(data):
    first, again, other = (learn_elbo(START, data[0], AXES, replace(TINY, epochs=3), seed=s) for s in (1, 1, 2))
    assert first == again
    assert first.prior != other.prior


def test_the_random_state_of_the_user_is_left_alone(data):
    quick = replace(TINY, epochs=1)
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002  (the global state is what is tested)
    before, before_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    dtype, grad = torch.get_default_dtype(), torch.is_grad_enabled()
    first = learn_elbo(START, data[0], AXES, quick, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], before_numpy)  # noqa: NPY002
    assert (torch.get_default_dtype(), torch.is_grad_enabled()) == (dtype, grad)
    torch.manual_seed(4)
    assert learn_elbo(START, data[0], AXES, quick, seed=1) == first


@pytest.mark.parametrize(
    ("scores", "best"), [([3.0, 1.0, 2.0, 2.5], 1), ([3.0, 2.0, 1.0, 0.5], 3), ([1.0, float("nan"), 2.0, 3.0], 0)]
)
def test_the_state_with_the_best_held_out_score_is_kept(scores, best, data, monkeypatch):
    states, told = [], []

    def scripted(model, *_):
        states.append(model.covar_module.logs.detach().clone().numpy())
        return scores[len(states) - 1]

    monkeypatch.setattr(module, "_held_out", scripted)
    monkeypatch.setattr(module, "_noise_again", lambda prior, *_: (prior, 0.0))
    found = learn_elbo(
        START, data[0], AXES, replace(TINY, epochs=4), seed=0, callback=lambda epoch, score: told.append((epoch, score))
    )
    numbers = [value for _, value, _, _ in found.prior.items()]
    assert len(states) == 4 and not np.allclose(states[0], states[1])
    np.testing.assert_allclose(np.log(numbers), states[best], rtol=1e-12)
    assert [epoch for epoch, _ in told] == [0, 1, 2, 3]
    np.testing.assert_array_equal([score for _, score in told], scores)


def test_the_held_out_score_is_that_of_the_present_state_and_not_of_the_step_before(data, monkeypatch):
    held_out, pairs = module._held_out, []

    def twice(model, *args):
        score = held_out(model, *args)
        clear_cache_hook(model.variational_strategy)
        pairs.append((score, held_out(model, *args)))
        return score

    monkeypatch.setattr(module, "_held_out", twice)
    learn_elbo(START, data[0], AXES, replace(TINY, epochs=3), seed=0)
    np.testing.assert_allclose(*np.transpose(pairs), rtol=1e-10)


def test_the_noise_is_estimated_again_under_the_collapsed_bound(learned, data):
    """With as many inducing points as observations the bound is the likelihood, whose best noise is known."""
    seen, _ = data
    everything = np.column_stack([seen.points.time, seen.points.space])
    refined, bound = module._noise_again(TRUTH.with_values({"noise": 1.0}), seen, everything, 0.0, 0)
    K = oracle_covariance(TRUTH, seen.points, seen.points)
    trials = np.exp(np.linspace(np.log(0.03), np.log(0.5), 40))
    likelihoods = [ref.log_marginal_likelihood(K, seen.values, noise) for noise in trials]
    assert refined.noise == pytest.approx(trials[int(np.argmax(likelihoods))], rel=0.1)
    assert bound * len(seen) == pytest.approx(max(likelihoods), abs=0.5)
    assert refined.with_values({"noise": 1.0}) == TRUTH.with_values({"noise": 1.0})
    assert 0.05 < learned.prior.noise < 0.2


def test_a_fixed_noise_and_a_fixed_kernel_stay(data):
    fixed = replace(START, noise=0.25, fixed_noise=True)
    fixed = replace(fixed, terms=(replace(fixed.terms[0], time=spec.Matern(1.5, 2.0, fixed=True)),))
    found = learn_elbo(fixed, data[0], AXES, replace(TINY, epochs=1), seed=0).prior
    assert (found.noise, found.terms[0].time) == (0.25, spec.Matern(1.5, 2.0, fixed=True))
    assert found.terms[0].space.lengthscale != 250.0


def test_a_factor_on_standard_errors_that_were_far_too_small_is_found(data):
    seen, _ = data
    small = Observations(seen.points, seen.values, np.full(len(seen), 0.01))
    everything = np.column_stack([seen.points.time, seen.points.space])
    refined, _ = module._noise_again(TRUTH.with_values({"noise": 1.0}), small, everything, 0.0, 0)
    assert refined.noise == pytest.approx(10.0, rel=0.3)


@pytest.mark.parametrize("validation", [0.0, 0.3])
@pytest.mark.parametrize("learn_inducing", [True, False])
def test_any_settings_give_finite_numbers_within_their_bounds(data, validation, learn_inducing):
    settings = replace(TINY, epochs=1, validation=validation, learn_inducing=learn_inducing, batch_size=100_000)
    found = learn_elbo(anova(), data[0], AXES, settings, seed=0)
    assert found.evaluations == 1
    assert all(np.isfinite(value) and value > 0 for _, value, _, _ in found.prior.items() if value is not None)
    assert np.isfinite(found.log_likelihood)


def test_more_inducing_points_than_observations_are_fine(data):
    few = data[0].take(np.arange(20))
    found = learn_elbo(START, few, AXES, replace(TINY, num_inducing=500, epochs=1, batch_size=7), seed=0)
    assert np.isfinite(found.log_likelihood)


@pytest.mark.parametrize("geometry", ["plane", "cylinder"])
def test_composed_kernels_are_learned_with_their_tuples(geometry):
    rng = np.random.default_rng(5)
    time = spec.Sum((spec.Matern(0.5, 3.0), spec.Spectral(2, (1.0, 2.0), (0.1, 0.3), (0.02, 0.05))), (1.0, 1.0))
    prior = product(time, spec.RBF(900.0) * spec.Periodic(900.0, 1.1), geometry)
    block = replace(observed(rng, prior, scattered(rng, 100, geometry)), noise=np.ones(100))
    found = learn_elbo(prior, block, AXES, replace(TINY, epochs=1), seed=0).prior
    assert len(found.terms[0].time.parts[1].frequencies) == 2
    assert found.terms[0].space.parts[1].period == 900.0  # a given period is kept
    assert found.terms[0].space.parts[1].lengthscale != 1.1


@pytest.mark.parametrize("axis", ["time", "space"])
def test_what_is_independent_along_an_axis_is_learned_though_inducing_points_may_move(axis):
    rng = np.random.default_rng(6)
    kernels = {"time": spec.Matern(1.5, 3.0), "space": SPACE_KERNELS["matern32"]} | {axis: spec.Independent()}
    prior = product(**kernels, geometry="sphere")
    grid = Points.grid(np.arange(12.0), scattered(rng, 12, "sphere").sites)
    block = replace(observed(rng, prior, grid), noise=np.ones(len(grid)))
    scores = {}
    for moves in (True, False):
        heard = scores.setdefault(moves, [])
        settings = replace(TINY, num_inducing=144, epochs=10, learn_inducing=moves)
        found = learn_elbo(
            prior, block, AXES, settings, seed=0, callback=lambda _, score, heard=heard: heard.append(score)
        )
        assert found.prior.terms[0].variance != prior.terms[0].variance
    assert scores[True] == pytest.approx(scores[False], abs=0.02)
