"""Inducing points: a subset that explains nearly all prior variance, never twice the same, never without end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from xgpfill.covariance.matrices import Covariance
from xgpfill.kernels import spec
from xgpfill.vecchia import inducing as module
from xgpfill.vecchia.inducing import choose_inducing

from tests.problems import SPACE_KERNELS, TIME_KERNELS, anova, gridded, oracle_covariance, product, scattered

if TYPE_CHECKING:
    from xgpfill.kernels.prior import Prior


def unexplained(prior: Prior, points, chosen):
    """Share of the prior variance of points that the chosen ones leave, by the oracle."""
    k_uu = oracle_covariance(prior, chosen, chosen) + 1e-10 * np.eye(len(chosen))
    k_uf = oracle_covariance(prior, chosen, points)
    total = np.trace(oracle_covariance(prior, points, points))
    return 1 - np.sum(k_uf * np.linalg.solve(k_uu, k_uf)) / total


def rows(points):
    return {tuple(row) for row in np.column_stack([points.time, points.space])}


@pytest.fixture(scope="module")
def candidates():
    return gridded(np.random.default_rng(0), 8, 40, "sphere")


def test_all_points_are_taken_when_there_are_not_more_than_asked_for(candidates):
    law = Covariance(anova())
    assert choose_inducing(law, candidates, len(candidates)) is candidates
    assert len(choose_inducing(law, candidates.take(np.arange(0)), 5)) == 0


@pytest.mark.parametrize("count", [1, 7, 150, 319])
def test_as_many_different_points_as_asked_for_are_chosen_among_the_candidates(candidates, count):
    chosen = choose_inducing(Covariance(anova("matern12")), candidates, count)
    assert len(chosen) == count == len(rows(chosen))
    assert rows(chosen) <= rows(candidates)


def test_the_same_seed_gives_the_same_points(candidates):
    law = Covariance(anova())
    first, again, other = (choose_inducing(law, candidates, 30, seed=s) for s in (1, 1, 2))
    assert rows(first) == rows(again) != rows(other)


@pytest.mark.parametrize("kernel", ["matern12", "matern32", "rbf"])
def test_the_chosen_points_explain_more_than_as_many_taken_at_random(candidates, kernel):
    prior = anova(kernel)
    left = unexplained(prior, candidates, choose_inducing(Covariance(prior), candidates, 60))
    rng = np.random.default_rng(1)
    by_chance = [
        unexplained(prior, candidates, candidates.take(rng.choice(len(candidates), 60, replace=False)))
        for _ in range(8)
    ]
    assert left < np.min(by_chance)


def test_the_greedy_bound_of_pivoted_cholesky_is_approached(candidates):
    prior = anova()
    values = np.linalg.eigvalsh(oracle_covariance(prior, candidates, candidates))[::-1]
    best_possible = values[60:].sum() / values.sum()
    assert unexplained(prior, candidates, choose_inducing(Covariance(prior), candidates, 60)) < 2.5 * best_possible


def test_blocks_smaller_than_the_count_give_as_good_a_choice(candidates, monkeypatch):
    prior, law = anova(), Covariance(anova())
    whole = unexplained(prior, candidates, choose_inducing(law, candidates, 60))
    monkeypatch.setattr(module, "BLOCK", 5)
    assert unexplained(prior, candidates, choose_inducing(law, candidates, 60)) < 1.5 * whole


@pytest.mark.parametrize("tolerance", [0.3, 0.05, 1e-3])
def test_choosing_stops_when_less_than_the_tolerance_is_unexplained(candidates, tolerance, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 8)
    prior = anova("rbf")
    chosen = choose_inducing(Covariance(prior), candidates, 300, tolerance=tolerance)
    assert len(chosen) < 300
    assert unexplained(prior, candidates, chosen) <= tolerance
    assert unexplained(prior, candidates, chosen.take(np.arange(max(1, len(chosen) - 8)))) > 0.02 * tolerance


def test_a_prior_of_low_rank_needs_no_more_points_than_its_rank(candidates):
    static = anova().restricted(("static",))
    chosen = choose_inducing(Covariance(static), candidates, 300)
    assert 1 <= len(chosen) <= 40
    assert unexplained(static, candidates, chosen) < 1e-8


def test_repeated_places_are_chosen_once():
    points = scattered(np.random.default_rng(2), 30, "sphere")
    twice = points.take(np.r_[0:30, 0:30])
    chosen = choose_inducing(Covariance(product(TIME_KERNELS["rbf"], SPACE_KERNELS["rbf"], "sphere")), twice, 59)
    assert len(chosen) == len(rows(chosen)) <= 30


@pytest.mark.parametrize("repeated", [False, True], ids=["smooth", "smooth and repeated"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("seed", range(2))
def test_choosing_ends_when_nothing_is_left_to_explain_to_rounding(dtype, repeated, seed, monkeypatch):
    """Poles and a doubled meridian repeat places; in float32 what remains there is rounding, not variance."""
    points = gridded(np.random.default_rng(seed), 6, 30, "sphere")
    if repeated:
        points = points.take(np.r_[0:180, 0:90])
    smooth = product(spec.RBF(10.0), spec.RBF(3000.0), "sphere")
    rounds, accepted = [], module._accepted

    def counted(*args):
        rounds.append(1)
        assert len(rounds) < 200, "the choice goes round without end"
        return accepted(*args)

    monkeypatch.setattr(module, "_accepted", counted)
    chosen = choose_inducing(Covariance(smooth, dtype=dtype), points, len(points) - 1, seed=seed)
    assert unexplained(smooth, points, chosen) < 1e-3


def test_many_candidates_are_thinned_first(candidates, monkeypatch):
    monkeypatch.setattr(module, "MAX_CANDIDATES", 50)
    chosen = choose_inducing(Covariance(anova("matern12")), candidates, 60)
    assert len(chosen) == 50
    assert rows(chosen) <= rows(candidates)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 40), geometry=st.sampled_from(["sphere", "plane"]))
def test_any_choice_is_a_subset_without_repeats(seed, count, geometry):
    points = scattered(np.random.default_rng(seed), 40, geometry)
    chosen = choose_inducing(Covariance(anova("matern12", geometry)), points, count, seed=seed)
    assert len(rows(chosen)) == len(chosen) <= count or len(points) <= count
    assert rows(chosen) <= rows(points)
