"""Neighbours of scattered points: the most correlated ones, each once, and only predecessors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from xgpfill.grid.points import Points
from xgpfill.linalg import scattered as module
from xgpfill.linalg.scattered import ScatteredNeighbours
from xgpfill.linalg.vecchia import VecchiaFactor

from tests.problems import SPACE_KERNELS, TIME_KERNELS, anova, oracle_covariance, product, scattered

ONE_METRIC = product(TIME_KERNELS["matern32"], SPACE_KERNELS["matern32"])


def neighbours_of(prior, n, seed=0):
    rng = np.random.default_rng(seed)
    points = scattered(rng, n, prior.geometry)
    return ScatteredNeighbours.of(prior, points, np.full(n, 0.1), rng.permutation(n))


def lists(near, sizes):
    return [set(row[:size].tolist()) for row, size in zip(near, sizes, strict=True)]


def share_found(found, strength, before, count):
    """How much of the correlation of the best ones, on average, that of those found is."""
    shares = []
    for own, some in enumerate(found):
        best = np.sort(strength[own, : before[own]])[::-1][:count]
        assert len(some) == len(best)
        shares.append(strength[own, sorted(some)].sum() / best.sum() if len(best) else 1.0)
    return np.mean(shares)


@pytest.mark.parametrize(("prior", "least"), [(ONE_METRIC, 0.99), (anova("matern32"), 0.99)], ids=["one", "four"])
def test_predecessors_are_the_most_correlated_ones(monkeypatch, prior, least):
    monkeypatch.setattr(module, "LEAST_TRIED", 32)
    n, count = 400, 8
    neighbours = neighbours_of(prior, n)
    lines = np.arange(n, dtype=np.int32)
    near, sizes = neighbours.predecessors(lines, count)
    found = lists(near, sizes)
    assert all(all(who < own for who in some) for own, some in enumerate(found))
    strength = np.abs(oracle_covariance(prior, neighbours.points, neighbours.points))
    assert share_found(found, strength, lines, count) > least


@pytest.mark.parametrize(("prior", "least"), [(ONE_METRIC, 0.99), (anova("matern32"), 0.99)], ids=["one", "four"])
def test_neighbours_of_targets_are_the_most_correlated_observations(monkeypatch, prior, least):
    monkeypatch.setattr(module, "LEAST_TRIED", 32)
    neighbours, targets = neighbours_of(prior, 400), scattered(np.random.default_rng(3), 50, prior.geometry)
    facing, cells = neighbours.facing(targets)
    near, sizes = np.zeros((50, 8), np.int32), np.zeros(50, np.int32)
    facing.search(cells, cells, np.array([400]), np.array([8]), near, sizes)
    strength = np.abs(oracle_covariance(prior, targets, neighbours.points))
    assert share_found(lists(near, sizes), strength, np.full(50, 400), 8) > least


def test_several_sets_are_joined_without_repeats():
    parts = [(np.array([[3, 5, 0]], np.int32), np.array([2])), (np.array([[5, 1]], np.int32), np.array([2]))]
    near, sizes = np.zeros((1, 5), np.int32), np.zeros(1, np.int32)
    module._joined(parts, near, sizes)
    assert near[0, : sizes[0]].tolist() == [3, 5, 1]


def test_many_observations_at_one_place_and_time_have_neighbours_beside_them():
    rng = np.random.default_rng(0)
    crowd = Points.scattered(np.zeros(900), np.zeros((900, 2)))
    other = scattered(rng, 300, "plane")
    points = Points.scattered(np.r_[crowd.time, other.time], np.r_[crowd.space, other.space])
    neighbours = ScatteredNeighbours.of(anova("matern32", "plane"), points, np.full(1200, 0.1), rng.permutation(1200))
    _, sizes = neighbours.predecessors(np.arange(1200, dtype=np.int32), 10)
    assert_allclose(sizes, np.minimum(np.arange(1200), 10))


def test_places_in_memory_are_all_of_them_near_ones_together():
    neighbours = neighbours_of(ONE_METRIC, 300)
    assert sorted(neighbours.by_place().tolist()) == list(range(300))
    assert sorted(neighbours.by_place(250).tolist()) == list(range(250, 300))


@pytest.mark.parametrize("prior", [ONE_METRIC, anova("matern12")], ids=["one metric", "four terms"])
def test_with_all_predecessors_the_factor_is_the_inverse(prior):
    neighbours = neighbours_of(prior, 60)
    factor = VecchiaFactor(neighbours, 60)
    K = np.empty((60, 60))
    K[np.ix_(neighbours.order, neighbours.order)] = oracle_covariance(prior, neighbours.points, neighbours.points)
    K += 0.1 * np.eye(60)
    assert_allclose(factor(torch.eye(60, dtype=torch.float64)).numpy() @ K, np.eye(60), atol=1e-9)
