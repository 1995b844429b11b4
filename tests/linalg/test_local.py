"""Local conditionals are the dense ones when all observations are neighbours; patches cut a lattice into boxes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from xgpfill.grid.points import Observations, Points
from xgpfill.kernels import spec
from xgpfill.linalg.local import PATCH, local_conditionals, patches_of

from tests.problems import SPACE_KERNELS, TIME_KERNELS, anova, gridded, observed, oracle_posterior, product, scattered


def found_of(prior, observations, values, targets, patches, count):
    m, draws = len(targets), values.shape[1]
    mean, variance, seen = np.full((m, draws), np.nan), np.full(m, np.nan), np.zeros(m, int)
    for block in local_conditionals(prior, observations, torch.as_tensor(values), targets, patches, count):
        index = block.index.numpy()
        mean[index], variance[index] = block.mean.numpy(), block.variance.numpy()
        np.add.at(seen, index, 1)
    assert (seen > 0).all()
    return mean, variance


def singly(m):
    return np.arange(m)[:, None]


def in_fours(m):
    return np.minimum(np.arange(0, m, 4)[:, None] + np.arange(4), m - 1)


PRIORS = {
    "anova": anova("matern32"),
    "brownian": product(TIME_KERNELS["brownian"], SPACE_KERNELS["matern12"], "sphere", 2.0),
    "each frame on its own": product(spec.Independent(), SPACE_KERNELS["matern32"], "sphere"),
}


@pytest.mark.parametrize("patches", [singly, in_fours], ids=["one by one", "in patches"])
@pytest.mark.parametrize("name", PRIORS)
def test_with_all_observations_they_are_the_posterior(name, patches):
    rng, prior = np.random.default_rng(0), PRIORS[name]
    observations = observed(rng, prior, scattered(rng, 60, "sphere"), unequal=True)
    values = np.stack([observations.values, rng.standard_normal(60)], axis=1)
    for targets in (scattered(rng, 30, "sphere"), gridded(rng, 3, 6, "sphere"), observations.points):
        mean, variance = found_of(prior, observations, values, targets, patches(len(targets)), 1000)
        for i in range(2):
            expected = oracle_posterior(prior, observations.with_values(values[:, i]), targets, trend=False)
            assert_allclose(mean[:, i], expected.mean, rtol=1e-6, atol=1e-7)
        assert_allclose(variance, expected.variance, rtol=1e-6)


def test_fewer_neighbours_never_make_the_variance_smaller():
    rng, prior = np.random.default_rng(0), anova("matern32")
    observations = observed(rng, prior, scattered(rng, 150, "sphere"))
    targets = scattered(rng, 40, "sphere")
    exact = oracle_posterior(prior, observations, targets, trend=False).variance
    K = 2.1  # Σ of the variances of anova
    excess = []
    for count in (5, 20, 80):
        _, variance = found_of(prior, observations, np.zeros((150, 1)), targets, singly(40), count)
        assert (variance >= exact * (1 - 1e-9)).all()
        assert (variance <= K * (1 + 1e-9)).all()
        excess.append(np.median(variance / exact) - 1)
    assert excess[0] > excess[1] > excess[2]
    assert excess[2] < 0.02


def test_observations_at_one_place_without_noise_break_nothing():
    rng, prior = np.random.default_rng(0), anova("rbf")
    points = scattered(rng, 20, "sphere")
    twice = points.take_in_order(np.r_[0:20, 0:20])
    observations = Observations(twice, rng.standard_normal(40), np.full(40, 1e-16))
    mean, variance = found_of(prior, observations, np.zeros((40, 1)), points, singly(20), 30)
    assert np.isfinite(mean).all()
    assert (np.abs(variance) < 1e-6).all()


def test_one_observation_is_enough():
    rng, prior = np.random.default_rng(0), anova()
    observations = observed(rng, prior, scattered(rng, 4, "sphere")).take(np.array([2]))
    targets = scattered(rng, 5, "sphere")
    mean, variance = found_of(prior, observations, observations.columns, targets, singly(5), 10)
    expected = oracle_posterior(prior, observations, targets, trend=False)
    assert_allclose(mean[:, 0], expected.mean, rtol=1e-9)
    assert_allclose(variance, expected.variance, rtol=1e-9)


def test_no_target_has_no_blocks():
    rng, prior = np.random.default_rng(0), anova()
    observations = observed(rng, prior, scattered(rng, 4, "sphere"))
    nowhere = Points.scattered(np.zeros(0), np.zeros((0, 3)))
    assert list(local_conditionals(prior, observations, torch.zeros(4, 1), nowhere, singly(0), 3)) == []


# Patches


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    alike=st.tuples(*[st.floats(0.0, 1.0)] * 3),
)
def test_patches_cover_every_cell_and_repeat_only_the_last_ones(shape, alike):
    patches = patches_of(shape, alike)
    cells = int(np.prod(shape))
    assert patches.shape[1] <= PATCH
    assert set(patches.ravel().tolist()) == set(range(cells))
    owners: dict[int, set[int]] = {}
    for number, patch in enumerate(patches):
        for cell in patch.tolist():
            owners.setdefault(cell, set()).add(number)
    assert all(len(patch) == 1 for patch in owners.values())  # no two patches share a cell


def test_patches_are_boxes_along_the_axes_that_are_alike():
    def extents(alike, shape=(16, 16, 16)):
        t, y, x = np.unravel_index(patches_of(shape, alike), shape)
        return tuple(int(np.ptp(a, axis=1).max()) + 1 for a in (t, y, x))

    assert extents((0.99, 0.1, 0.1))[1:] == (1, 1)
    assert extents((0.99, 0.1, 0.1))[0] > 1
    assert extents((0.999, 0.999, 0.999)) == (2, 2, 2)
    assert extents((0.4, 0.3, 0.49)) == (1, 1, 1)
    assert extents((0.999, 0.0, 0.0), (1, 16, 16)) == (1, 1, 1)
    assert extents((0.9999, 0.9, 0.3)) == (8, 1, 1)


def test_time_is_the_outermost_number_of_a_cell():
    assert_allclose(patches_of((2, 1, 1), (1.0, 1.0, 1.0)), [[0, 1]])
    assert_allclose(patches_of((2, 2, 3), (0.0, 0.0, 0.0)), np.arange(12)[:, None])
    assert_allclose(np.sort(patches_of((2, 2, 3), (0.95, 0.0, 0.0)), axis=1), [[i, i + 6] for i in range(6)])
