"""Neighbours of scattered points: the most correlated ones, each once, and only predecessors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from xgpfill.grid.points import Points
from xgpfill.kernels import spec
from xgpfill.vecchia import preconditioner as vecchia
from xgpfill.vecchia import scattered as module
from xgpfill.vecchia.preconditioner import VecchiaFactor
from xgpfill.vecchia.scattered import ScatteredNeighbours
from xgpfill.vecchia.shared import Shared

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


def greedy(K, k, noise, count):
    """Observations that lower the variance of a target most, one after the other."""
    some = []
    for _ in range(count):
        gains = np.full(len(k), -1.0)
        for i in set(range(len(k))) - set(some):
            own = [*some, i]
            gains[i] = k[own] @ np.linalg.solve(K[np.ix_(own, own)] + noise * np.eye(len(own)), k[own])
        some.append(int(gains.argmax()))
    return some


@pytest.mark.parametrize("prior", [ONE_METRIC, anova("matern32")], ids=["one metric", "four terms"])
def test_neighbours_of_targets_are_those_that_together_say_most(prior):
    neighbours, targets = neighbours_of(prior, 60), scattered(np.random.default_rng(3), 10, prior.geometry)
    facing, cells = neighbours.facing(targets, np.zeros((10, 0)))
    near, sizes = np.zeros((10, 6), np.int32), np.zeros(10, np.int32)
    facing.search(cells, cells, np.array([60]), np.array([6]), near, sizes)
    K = oracle_covariance(prior, neighbours.points, neighbours.points)
    cross = oracle_covariance(prior, targets, neighbours.points)
    for row, size, k in zip(near, sizes, cross, strict=True):
        assert row[:size].tolist() == greedy(K, k, 0.1, 6)


def test_in_a_wide_gap_neighbours_lie_all_around(monkeypatch):
    monkeypatch.setattr(module, "LEAST_TRIED", 32)
    x, y = (c.ravel() for c in np.meshgrid(np.arange(60.0), np.arange(60.0)))
    outside = np.hypot(x - 25, y - 30) > 20
    points = Points.scattered(np.zeros(outside.sum()), np.column_stack([x, y])[outside])
    prior = product(spec.Constant(), spec.Matern(1.5, 60.0), "plane")
    order = np.random.default_rng(0).permutation(len(points))
    neighbours = ScatteredNeighbours.of(prior, points, np.full(len(points), 0.01), order)
    middle = Points.scattered(np.zeros(1), np.array([[20.0, 30.0]]))
    facing, cells = neighbours.facing(middle, np.zeros((1, 0)))
    near, sizes = np.zeros((1, 20), np.int32), np.zeros(1, np.int32)
    facing.search(cells, cells, np.array([len(points)]), np.array([20]), near, sizes)
    found = neighbours.points.space[near[0, : sizes[0]]] - [25.0, 30.0]
    directions = np.sort(np.arctan2(*found.T))
    assert np.diff(directions, append=directions[0] + 2 * np.pi).max() < np.pi / 2


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


def test_columns_are_summed_as_the_whitened_ones_are(monkeypatch):
    monkeypatch.setattr(vecchia, "GRAM_ROWS", 17)
    factor, columns = VecchiaFactor(neighbours_of(ONE_METRIC, 60), 60), np.random.default_rng(0).normal(size=(60, 3))
    neighbours = neighbours_of(ONE_METRIC, 60)
    K = oracle_covariance(ONE_METRIC, neighbours.points, neighbours.points) + 0.1 * np.eye(60)
    in_order = columns[neighbours.order]
    assert_allclose(factor.gram(columns), in_order.T @ np.linalg.solve(K, in_order), rtol=1e-8)


@pytest.mark.parametrize("side_by_side", [True, False])
@pytest.mark.parametrize("prior", [ONE_METRIC, anova("matern12")], ids=["one metric", "four terms"])
def test_with_all_observations_conditionals_are_those_of_the_oracle(monkeypatch, prior, side_by_side):
    """Of what is left of both by other means."""
    monkeypatch.setattr(vecchia, "MOST_IN_LANES", 1000 if side_by_side else 0)
    rng, n, m = np.random.default_rng(0), 60, 40
    points, targets = scattered(rng, n, prior.geometry), scattered(rng, m, prior.geometry)
    shared = Shared.of(prior, points, 5)
    known, beside = shared.features(points), shared.features(targets)
    neighbours = ScatteredNeighbours.of(prior, points, np.full(n, 0.1), np.arange(n), known)
    columns, before = rng.standard_normal((n, 3)), oracle_covariance(prior, targets, targets).diagonal()
    left = before - (beside**2).sum(1)
    [(which, found, variance)] = vecchia.conditionals(neighbours, columns, targets, (beside, np.zeros(m)), left, n)
    K = oracle_covariance(prior, points, points) - known @ known.T + 0.1 * np.eye(n)
    cross = oracle_covariance(prior, points, targets) - known @ beside.T
    weights = np.linalg.solve(K, cross)
    assert which == slice(0, m)
    assert_allclose(found, weights.T @ columns, rtol=1e-7, atol=1e-9)
    assert_allclose(variance, left - (cross * weights).sum(0), rtol=1e-6)
