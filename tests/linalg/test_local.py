"""Local conditionals are the dense ones when all observations are neighbours; patches cut a lattice into boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from xgpfill.errors import NumericalError
from xgpfill.grid.points import Observations
from xgpfill.linalg import local as module
from xgpfill.linalg.local import PATCH, Goals, local_conditionals, patches_of

from tests.linalg.lattices import LATTICES, every_cell, neighbours_of, observed_on
from tests.linalg.test_vecchia import PRIORS
from tests.problems import anova, oracle_covariance, oracle_posterior, scattered


def found_of(prior, observations, frame, values, targets, patches, count, told=(None, None)):
    """Conditionals at cells of the lattice, or at other places with the covariance of the oracle."""
    neighbours = neighbours_of(prior, observations, frame, features=told[0])
    points = observations.points
    variance = np.diag(oracle_covariance(prior, targets, targets)).copy()
    own = told[1]
    if own is not None:
        variance += np.square(own).sum(1)
    here = targets.sites is points.sites
    if here:
        cells = neighbours.tables.cells(targets.time_index, targets.site_index)
    else:  # any cell will do when all observations are neighbours
        cells = np.zeros((len(targets), 3), np.int32)
    K = oracle_covariance(prior, targets, points)
    goals = Goals(
        cells,
        variance,
        None if here else lambda i, near: K[i[:, None], near],
        None if own is None else lambda i: own[i],
    )
    m = len(targets)
    mean, variance, seen = np.full((m, values.shape[1]), np.nan), np.full(m, np.nan), np.zeros(m, int)
    for block in local_conditionals(neighbours, values, goals, patches, count):
        mean[block.index], variance[block.index] = block.mean, block.variance
        np.add.at(seen, block.index, 1)
    assert (seen > 0).all()
    return mean, variance


def singly(m):
    return np.arange(m)[:, None]


def in_fours(m):
    return np.minimum(np.arange(0, m, 4)[:, None] + np.arange(4), m - 1)


@pytest.fixture(params=["own neighbours", "shared neighbours"])
def sharing(request, monkeypatch):
    if request.param == "shared neighbours":
        monkeypatch.setattr(module, "FEW_CELLS", 1)


@pytest.mark.usefixtures("sharing")
@pytest.mark.parametrize("patches", [singly, in_fours], ids=["one by one", "in patches"])
@pytest.mark.parametrize("lattice", ["region", "globe, odd", "irregular"])
@pytest.mark.parametrize("name", ["anova", "brownian"])
def test_with_all_observations_they_are_the_posterior(name, lattice, patches):
    rng, prior = np.random.default_rng(0), PRIORS[name]
    times, coordinates, _ = LATTICES[lattice]
    observations = observed_on(times, coordinates)
    n = len(observations)
    values = np.stack([observations.values, rng.standard_normal(n)], axis=1)
    cells = every_cell(times, coordinates)
    inside = observations.points.take_in_order(np.zeros(0, int))
    inside = type(cells)(inside.times, inside.sites, cells.time_index, cells.site_index)
    for targets in (inside, scattered(rng, 30, "sphere")):
        mean, variance = found_of(
            prior, observations, coordinates.shape[:2], values, targets, patches(len(targets)), 1000
        )
        for i in range(2):
            expected = oracle_posterior(prior, observations.with_values(values[:, i]), targets, trend=False)
            assert_allclose(mean[:, i], expected.mean, rtol=1e-6, atol=1e-7)
        assert_allclose(variance, expected.variance, rtol=1e-6)


@pytest.mark.usefixtures("sharing")
def test_features_of_targets_and_observations_are_part_of_the_covariance():
    rng, prior = np.random.default_rng(0), anova("matern32")
    times, coordinates, _ = LATTICES["region"]
    observations = observed_on(times, coordinates)
    n, targets = len(observations), scattered(rng, 30, "sphere")
    V, W = rng.standard_normal((n, 4)), rng.standard_normal((30, 4))
    mean, variance = found_of(
        prior, observations, coordinates.shape[:2], observations.columns, targets, in_fours(30), n,
        told=(V, W),
    )  # fmt: skip
    A = oracle_covariance(prior, observations.points, observations.points) + np.diag(observations.noise) + V @ V.T
    cross = oracle_covariance(prior, targets, observations.points) + W @ V.T
    joint = oracle_covariance(prior, targets, targets) + W @ W.T
    assert_allclose(mean[:, 0], cross @ np.linalg.solve(A, observations.values), rtol=1e-6, atol=1e-7)
    assert_allclose(variance, np.diag(joint - cross @ np.linalg.solve(A, cross.T)), rtol=1e-6)


def test_fewer_neighbours_never_make_the_variance_smaller():
    prior = anova("matern32")
    times, coordinates, _ = LATTICES["globe, odd"]
    observations = observed_on(times, coordinates, 0.6)
    cells = every_cell(times, coordinates)
    points = observations.points
    targets = type(cells)(points.times, points.sites, cells.time_index, cells.site_index)
    exact = oracle_posterior(prior, observations, targets, trend=False).variance
    most = np.diag(oracle_covariance(prior, targets, targets))
    excess = []
    for count in (5, 20, 80):
        _, variance = found_of(
            prior, observations, coordinates.shape[:2], observations.columns, targets, singly(len(targets)), count
        )
        assert (variance >= exact * (1 - 1e-9)).all()
        assert (variance <= most * (1 + 1e-9)).all()
        excess.append(np.median(variance / exact) - 1)
    assert excess[0] > excess[1] > excess[2]
    assert excess[2] < 0.02


def test_cells_measured_twice_without_noise_break_nothing():
    times, coordinates, _ = LATTICES["region"]
    observations = observed_on(times, coordinates, 0.3, noise=1e-16, repeats=20)
    mean, variance = found_of(
        anova("rbf"), observations, coordinates.shape[:2], observations.columns, observations.points,
        singly(len(observations)), 30,
    )  # fmt: skip
    assert np.isfinite(mean).all()
    assert (np.abs(variance) < 1e-6).all()


def test_one_observation_is_enough():
    times, coordinates, _ = LATTICES["region"]
    every = observed_on(times, coordinates)
    one = Observations(every.points.take_in_order(np.array([2])), every.values[[2]], every.noise[[2]])
    targets = scattered(np.random.default_rng(0), 5, "sphere")
    mean, variance = found_of(anova(), one, coordinates.shape[:2], one.columns, targets, singly(5), 10)
    expected = oracle_posterior(anova(), one, targets, trend=False)
    assert_allclose(mean[:, 0], expected.mean, rtol=1e-9)
    assert_allclose(variance, expected.variance, rtol=1e-9)


def test_no_target_has_no_blocks():
    times, coordinates, _ = LATTICES["region"]
    neighbours = neighbours_of(anova(), observed_on(times, coordinates), coordinates.shape[:2])
    nowhere = Goals(np.zeros((0, 3), np.int32), np.zeros(0))
    values = np.zeros((len(neighbours.order), 1))
    assert list(local_conditionals(neighbours, values, nowhere, singly(0), 3)) == []


def test_a_covariance_that_is_nan_is_an_error():
    times, coordinates, _ = LATTICES["region"]
    neighbours = neighbours_of(anova(), observed_on(times, coordinates), coordinates.shape[:2])
    goals = Goals(np.zeros((4, 3), np.int32), np.full(4, np.nan))
    with pytest.raises(NumericalError, match="holds NaN or infinite values"):
        list(local_conditionals(neighbours, np.zeros((len(neighbours.order), 1)), goals, singly(4), 3))


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
