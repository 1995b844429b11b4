"""Local conditionals are the dense ones given the neighbours found; patches cut a lattice into boxes that blend."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from xgpfill.errors import NumericalError
from xgpfill.grid.points import Observations, Points
from xgpfill.vecchia import local as module
from xgpfill.vecchia.local import PATCH, Goals, Patches, local_conditionals, local_weights, patches_of
from xgpfill.vecchia.loops import AT_ONCE, AT_ONCE_FOR_GROUPS, CANDIDATES, JUDGES, search

from tests.linalg.lattices import LATTICES, crossed, every_cell, neighbours_of, observed_on
from tests.linalg.test_vecchia import PRIORS
from tests.problems import anova, oracle_covariance, oracle_posterior, scattered


def goals_of(prior, neighbours, observations, targets):
    """Targets at cells of the lattice, or at other places with the covariance of the oracle."""
    points = observations.points
    variance = np.diag(oracle_covariance(prior, targets, targets)).copy()
    here = targets.sites is points.sites
    if here:
        cells = neighbours.tables.cells(targets.time_index, targets.site_index)
    else:  # any cell will do when all observations are neighbours
        cells = np.zeros((len(targets), 3), np.int32)
    K = oracle_covariance(prior, targets, points)
    return Goals(cells, variance, None if here else lambda i, near: K[i[:, None], near])


def found_of(prior, observations, frame, values, targets, patches, count):
    """Conditionals of all targets, those of several patches blended."""
    neighbours = neighbours_of(prior, observations, frame)
    goals = goals_of(prior, neighbours, observations, targets)
    m = len(targets)
    mean, variance, weight = np.zeros((m, values.shape[1])), np.zeros(m), np.zeros(m)
    for block in local_conditionals(neighbours, values, goals, patches, count):
        members, weights = patches.members[block.patches], patches.weights[block.patches]
        np.add.at(mean, members, weights[..., None] * block.mean)
        np.add.at(variance, members, weights * block.variance)
        np.add.at(weight, members, weights)
    assert_allclose(weight, 1.0, rtol=1e-12)
    return mean, variance


def lattice_points(times, coordinates, points):
    """All cells on the axes of other points."""
    cells = every_cell(times, coordinates)
    return Points(points.times, points.sites, cells.time_index, cells.site_index)


def in_fours(m):
    """Four in a row, as often as there are; the last patch repeats a target with no weight."""
    cells = np.arange(0, m, 4)[:, None] + np.arange(4)
    return Patches(np.minimum(cells, m - 1), (cells < m).astype(float), np.minimum(cells[:, 1], m - 1))


def overlapping(m):
    """Three in a row that share their outer ones with the patches beside them."""
    middle = np.arange(0, m, 2)
    cells = middle[:, None] + np.array([-1, 0, 1])
    weights = np.where((cells < 0) | (cells >= m), 0.0, [0.5, 1.0, 0.5])
    if m % 2 == 0:
        weights[-1, 2] = 1.0  # the last one has no other patch
    return Patches(np.where(weights > 0, cells, middle[:, None]), weights, middle)


# With all observations


@pytest.mark.parametrize("patches", [Patches.single, in_fours, overlapping])
@pytest.mark.parametrize("lattice", ["region", "globe, odd", "irregular"])
@pytest.mark.parametrize("name", ["anova", "brownian"])
def test_with_all_observations_they_are_the_posterior(name, lattice, patches):
    rng, prior = np.random.default_rng(0), PRIORS[name]
    times, coordinates, _ = LATTICES[lattice]
    observations = observed_on(times, coordinates)
    n = len(observations)
    values = np.stack([observations.values, rng.standard_normal(n)], axis=1)
    for targets in (lattice_points(times, coordinates, observations.points), scattered(rng, 30, "sphere")):
        mean, variance = found_of(
            prior, observations, coordinates.shape[:2], values, targets, patches(len(targets)), 1000
        )
        for i in range(2):
            expected = oracle_posterior(prior, observations.with_values(values[:, i]), targets, trend=False)
            assert_allclose(mean[:, i], expected.mean, rtol=1e-6, atol=1e-7)
        assert_allclose(variance, expected.variance, rtol=1e-6)


# With few


def found_neighbours(neighbours, goals, patches, count):
    """The observations, as the data count them, that each patch is conditioned on."""
    prefixes, counts = module._sets(len(neighbours.order), count)
    near, sizes = np.zeros((len(patches), count), np.int32), np.empty(len(patches), np.int32)
    cells, middle = goals.cells[patches.members.ravel()], goals.cells[patches.middle]
    search(neighbours.noisy, middle, cells, prefixes, counts, 0, len(patches), near, sizes)
    return [neighbours.order[row[:size]] for row, size in zip(near, sizes, strict=True)]


@pytest.mark.parametrize("count", [3, 9, 24])
@pytest.mark.parametrize("lattice", ["region", "globe with poles", "irregular", "region, uneven times"])
def test_conditionals_are_dense_ones_given_exactly_the_neighbours_found(lattice, count):
    prior = anova("matern32")
    times, coordinates, _ = LATTICES[lattice]
    observations = observed_on(times, coordinates, 0.6)
    neighbours = neighbours_of(prior, observations, coordinates.shape[:2])
    targets = lattice_points(times, coordinates, observations.points)
    goals = goals_of(prior, neighbours, observations, targets)
    patches = patches_of((times.size, *coordinates.shape[:2]), (0.9, 0.95, 0.95), most=4)
    near = found_neighbours(neighbours, goals, patches, count)
    assert max(map(len, near)) > 1
    K = oracle_covariance(prior, observations.points, observations.points) + np.diag(observations.noise)
    cross = oracle_covariance(prior, targets, observations.points)
    for block in local_conditionals(neighbours, observations.columns, goals, patches, count):
        for i, patch in enumerate(range(len(patches))[block.patches]):
            own, members = near[patch], patches.members[patch]
            gain = np.linalg.solve(K[np.ix_(own, own)], cross[np.ix_(members, own)].T)
            left = goals.prior[members] - np.einsum("ij,ji->i", cross[np.ix_(members, own)], gain)
            assert_allclose(block.mean[i, :, 0], observations.values[own] @ gain, rtol=1e-8, atol=1e-9)
            assert_allclose(block.variance[i], left, rtol=1e-8, atol=1e-10)


def test_fewer_neighbours_never_make_the_variance_smaller():
    """Nor do patches, whose blended variances are averages of conditional ones."""
    prior = anova("matern32")
    times, coordinates, _ = LATTICES["globe, odd"]
    observations = observed_on(times, coordinates, 0.6)
    targets = lattice_points(times, coordinates, observations.points)
    exact = oracle_posterior(prior, observations, targets, trend=False).variance
    most = np.diag(oracle_covariance(prior, targets, targets))
    shape = (times.size, *coordinates.shape[:2])
    boxes = patches_of(shape, (0.9, 0.95, 0.95), wraps=True)
    assert boxes.members.shape[1] > 4
    for patches, near in ((Patches.single(len(targets)), 0.02), (boxes, 0.2)):
        excess = []
        for count in (5, 20, 80):
            _, variance = found_of(
                prior, observations, coordinates.shape[:2], observations.columns, targets, patches, count
            )
            assert (variance >= exact * (1 - 1e-9)).all()
            assert (variance <= most * (1 + 1e-9)).all()
            excess.append(np.median(variance / exact) - 1)
        assert excess[0] > excess[1] > excess[2]
        assert excess[2] < near


def dense_and_far(rows=28, columns=44, num_times=6):
    """A region that is seen in its western third, without a gap, and at few cells beyond."""
    coordinates = crossed(np.linspace(20, 40, rows), np.linspace(0, 30, columns))
    rng, times = np.random.default_rng(0), np.arange(float(num_times))
    every = observed_on(times, coordinates, 1.0, noise=0.01)
    west = every.points.site_index % columns < 0.35 * columns
    kept = np.flatnonzero(west | (rng.uniform(size=len(every)) < 0.05))
    observations = Observations(every.points.take_in_order(kept), every.values[kept], every.noise[kept])
    return observations, coordinates, lattice_points(times, coordinates, observations.points)


@pytest.mark.parametrize(("count", "sets"), [(8, 3), (12, 2), (40, 2)])
def test_neighbours_are_the_most_correlated_of_all_and_of_sparser_sets(count, sets):
    prior, (observations, coordinates, targets) = anova("matern32"), dense_and_far()
    targets = targets.take_in_order(np.random.default_rng(1).choice(len(targets), 60, replace=False))
    neighbours = neighbours_of(prior, observations, coordinates.shape[:2])
    goals = goals_of(prior, neighbours, observations, targets)
    n, place = len(observations), np.argsort(neighbours.order)
    K = oracle_covariance(prior, targets, observations.points)[:, neighbours.order]
    prefixes, counts = module._sets(n, count)
    assert n > AT_ONCE  # the nearest of all are walked to cell by cell, those of sparser sets by blocks, or tried
    assert prefixes.tolist() == [n, n // 8, n // 64][:sets]
    found_of_best = []
    for target, found in enumerate(found_neighbours(neighbours, goals, Patches.single(60), count)):
        ranks = place[found]
        assert np.unique(ranks).size == ranks.size <= count
        assert (ranks[counts[0] :] < prefixes[1]).all()
        nearest = np.sort(K[target])[::-1][: counts[0]]
        assert_allclose(np.sort(K[target, ranks[: counts[0]]])[::-1], nearest, rtol=1e-9)
        for before, few in zip(prefixes[1:], counts[1:], strict=True):  # some may be among the nearest of all
            expected = np.sort(K[target, :before])[::-1][:few]
            chosen = np.sort(K[target, ranks[ranks < before]])[::-1][:few]
            if before <= AT_ONCE_FOR_GROUPS:
                assert_allclose(chosen, expected, rtol=1e-9)
            found_of_best.append(chosen.sum() / expected.sum())

    assert np.mean(found_of_best) > 0.97
    assert min(found_of_best) > 0.7


@pytest.mark.parametrize("most", [4, 16])
def test_a_patch_takes_the_candidates_of_its_middle_that_are_most_correlated_with_any_member(most):
    """With any of some members, where they are many; of more candidates where a walk meets them without a gap."""
    prior, (observations, coordinates, targets) = anova("matern32"), dense_and_far(16, 24, 3)
    neighbours = neighbours_of(prior, observations, coordinates.shape[:2])
    goals = goals_of(prior, neighbours, observations, targets)
    patches, count = patches_of((3, 16, 24), (0.9, 0.97, 0.97), most=most), 6
    assert module._sets(len(observations), count)[1].tolist() == [count]  # too few for sparser sets
    K = oracle_covariance(prior, targets, observations.points)
    judges = patches.members[:, :: max(1, patches.members.shape[1] // JUDGES)]
    where = numbers_of(observations.points, 16 * 24)
    for patch, found in enumerate(found_neighbours(neighbours, goals, patches, count)):
        middle = K[patches.middle[patch]]
        candidates = np.argsort(-middle, kind="stable")[: CANDIDATES * count]
        strength = K[judges[patch]].max(0)
        assert np.unique(found).size == found.size == count
        own = np.isin(where[found], patches.members[patch])  # which come first
        others = np.sort(strength[found[~own]])[::-1]
        assert (middle[found[~own]] >= middle[candidates].min() * (1 - 1e-9)).all()
        few, all_of_them = (np.sort(strength[candidates[:n]])[::-1][:count] for n in (count, None))
        assert (others >= few[own.sum() :] * (1 - 1e-9)).all()
        assert (others <= all_of_them[: others.size] * (1 + 1e-9)).all()


def test_neighbours_of_a_patch_are_not_those_of_its_middle():
    """Where all observations are looked at one by one, more candidates cost nothing."""
    prior, (observations, coordinates, targets) = anova("matern32"), dense_and_far(16, 24, 3)
    assert len(observations) <= AT_ONCE
    neighbours = neighbours_of(prior, observations, coordinates.shape[:2])
    goals = goals_of(prior, neighbours, observations, targets)
    patches, count = patches_of((3, 16, 24), (0.9, 0.97, 0.97)), 6
    K, same = oracle_covariance(prior, targets, observations.points), 0
    for patch, found in enumerate(found_neighbours(neighbours, goals, patches, count)):
        same += set(found) == set(np.argsort(-K[patches.middle[patch]])[:count])
    assert same < 0.5 * len(patches)


@given(n=st.integers(0, 10**6), count=st.integers(1, 600))
def test_sparser_sets_take_a_part_of_the_neighbours_where_they_are_not_exhausted(n, count):
    prefixes, counts = module._sets(n, count)
    assert counts.sum() == count
    assert prefixes[0] == n
    assert counts[0] >= 0.7 * count
    assert (counts[1:] > 0).all()
    assert (prefixes[1:] > 4 * count).all()
    assert (np.diff(prefixes) < 0).all()


def test_cells_measured_twice_without_noise_break_nothing():
    times, coordinates, _ = LATTICES["region"]
    observations = observed_on(times, coordinates, 0.3, noise=1e-16, repeats=20)
    mean, variance = found_of(
        anova("rbf"), observations, coordinates.shape[:2], observations.columns, observations.points,
        Patches.single(len(observations)), 30,
    )  # fmt: skip
    assert np.isfinite(mean).all()
    assert (variance > 0).all()
    assert (variance < 1e-6).all()


def test_one_observation_is_enough():
    times, coordinates, _ = LATTICES["region"]
    every = observed_on(times, coordinates)
    one = Observations(every.points.take_in_order(np.array([2])), every.values[[2]], every.noise[[2]])
    targets = scattered(np.random.default_rng(0), 5, "sphere")
    mean, variance = found_of(anova(), one, coordinates.shape[:2], one.columns, targets, Patches.single(5), 10)
    expected = oracle_posterior(anova(), one, targets, trend=False)
    assert_allclose(mean[:, 0], expected.mean, rtol=1e-9)
    assert_allclose(variance, expected.variance, rtol=1e-9)


def test_no_target_has_no_blocks():
    times, coordinates, _ = LATTICES["region"]
    neighbours = neighbours_of(anova(), observed_on(times, coordinates), coordinates.shape[:2])
    nowhere = Goals(np.zeros((0, 3), np.int32), np.zeros(0))
    values = np.zeros((len(neighbours.order), 1))
    assert list(local_conditionals(neighbours, values, nowhere, Patches.single(0), 3)) == []


def test_blocks_of_patches_follow_each_other_however_few_fit(monkeypatch):
    prior = anova("matern32")
    times, coordinates, _ = LATTICES["region"]
    observations = observed_on(times, coordinates)
    targets = lattice_points(times, coordinates, observations.points)
    patches = patches_of((times.size, *coordinates.shape[:2]), (0.9, 0.95, 0.95))
    arguments = prior, observations, coordinates.shape[:2], observations.columns, targets, patches, 12
    whole = found_of(*arguments)
    monkeypatch.setattr(module, "BLOCK", 12 * patches.members.shape[1] * 3)  # three at once
    monkeypatch.setattr(module, "ELEMENTS", 1)
    for found, expected in zip(found_of(*arguments), whole, strict=True):
        assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("what", ["prior", "noise", "cross"])
def test_a_covariance_that_is_nan_is_an_error(what):
    times, coordinates, _ = LATTICES["region"]
    observations = observed_on(times, coordinates)
    n, prior = len(observations), np.ones(4)
    if what == "noise":
        observations = Observations(observations.points, observations.values, np.full(n, np.nan))
    if what == "prior":
        prior = np.array([1.0, np.nan, 1.0, 1.0])
    neighbours = neighbours_of(anova(), observations, coordinates.shape[:2])
    goals = Goals(
        np.zeros((4, 3), np.int32),
        prior,
        (lambda i, near: np.full(near.shape, np.nan)) if what == "cross" else None,
    )
    with pytest.raises(NumericalError, match="holds NaN or infinite values"):
        list(local_conditionals(neighbours, np.zeros((n, 1)), goals, Patches.single(4), 3))


# Patches

SHAPES = st.tuples(*[st.integers(1, 13)] * 3)
ALIKE = st.tuples(*[st.one_of(st.floats(0.0, 1.0), st.floats(0.9, 1.0))] * 3)


@settings(max_examples=150, deadline=None)
@given(shape=SHAPES, alike=ALIKE, wraps=st.booleans(), most=st.integers(1, PATCH))
def test_the_weights_of_every_cell_add_up_to_one(shape, alike, wraps, most):
    patches = patches_of(shape, alike, wraps=wraps, most=most)
    cells = int(np.prod(shape))
    assert patches.members.shape == patches.weights.shape
    assert len(patches) == len(patches.middle) == len(patches.members)
    assert patches.members.min() >= 0
    assert patches.members.max() < cells
    assert patches.weights.min() >= 0.0
    assert patches.weights.max() <= 1.0
    total = np.bincount(patches.members.ravel(), patches.weights.ravel(), minlength=cells)
    assert_allclose(total, 1.0, rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, alike=ALIKE, wraps=st.booleans())
def test_the_middle_of_a_patch_is_one_of_its_cells_and_of_full_weight_in_space(shape, alike, wraps):
    patches = patches_of(shape, alike, wraps=wraps)
    own = (patches.members == patches.middle[:, None]) & (patches.weights > 0)
    assert own.any(1).all()
    assert_allclose(np.where(own, patches.weights, 0.0).max(1), 1.0)


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, alike=ALIKE, wraps=st.booleans())
def test_no_cell_counts_twice_in_one_patch(shape, alike, wraps):
    patches = patches_of(shape, alike, wraps=wraps)
    for members, weights in zip(patches.members, patches.weights, strict=True):
        there = members[weights > 0]
        assert np.unique(there).size == there.size


@settings(max_examples=100, deadline=None)
@given(n=st.integers(1, 60), spacing=st.integers(1, 16), wraps=st.booleans())
def test_hats_rise_and_fall_linearly_between_the_nodes(n, spacing, wraps):
    """The oracle: np.interp between nodes, constant beyond the outermost ones; around the circle when it wraps."""
    cells, weights, nodes = module._hats(n, spacing, wraps=wraps)
    around = wraps and nodes.size > 1
    x = np.r_[nodes - n, nodes, nodes + n] if around else nodes
    for k in range(nodes.size):
        own = np.tile(np.eye(nodes.size)[k], 3) if around else np.eye(nodes.size)[k]
        dense = np.bincount(cells[k], weights[k], minlength=n)
        assert_allclose(dense, np.interp(np.arange(n), x, own), atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(count=st.integers(2, 9), spacing=st.sampled_from([1, 2, 4, 8]))
def test_hats_on_a_circle_have_no_seam(count, spacing):
    """Turned by one spacing they are the same hats; each falls as fast across the last column as elsewhere."""
    n = count * spacing
    cells, weights, _ = module._hats(n, spacing, wraps=True)
    hats = np.stack([np.bincount(c, w, minlength=n) for c, w in zip(cells, weights, strict=True)])
    assert_allclose(np.roll(hats, (1, spacing), axis=(0, 1)), hats, atol=1e-12)
    steps = np.abs(hats - np.roll(hats, 1, axis=1)).max(0)
    assert_allclose(steps, steps[0])
    if count > 2:  # two hats meet on both sides
        assert_allclose(steps, 1 / spacing)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(2, 60), spacing=st.integers(1, 16))
def test_no_weight_jumps_across_the_last_column_of_a_circle(n, spacing):
    cells, weights, nodes = module._hats(n, spacing, wraps=True)
    hats = np.stack([np.bincount(c, w, minlength=n) for c, w in zip(cells, weights, strict=True)])
    narrowest = int(np.diff(np.r_[nodes, nodes[0] + n]).min())
    if nodes.size > 1:
        assert np.abs(hats - np.roll(hats, 1, axis=1)).max() <= 1 / narrowest + 1e-12


def boxes(alike, shape=(16, 16, 16), **how):
    """Cells between the middles of patches along each axis."""
    patches = patches_of(shape, alike, **how)
    t, y, x = np.unravel_index(patches.middle, shape)
    return tuple(n / np.unique(a).size for n, a in zip(shape, (t, y, x), strict=True))


def test_patches_are_boxes_along_the_axes_that_are_alike():
    assert boxes((0.99, 0.1, 0.1))[1:] == (1, 1)
    assert boxes((0.99, 0.1, 0.1))[0] > 1
    assert np.prod(boxes((0.999, 0.999, 0.999))) == 16
    assert max(boxes((0.999, 0.999, 0.999))) < 16
    assert boxes((0.4, 0.3, 0.49)) == (1, 1, 1)
    assert boxes((0.999, 0.0, 0.0), (1, 16, 16)) == (1, 1, 1)
    assert boxes((0.9999, 0.9, 0.3)) == (16, 1, 1)
    assert boxes((0.3, 0.99, 0.3), most=4) == (1, 4, 1)


def test_time_is_the_outermost_number_of_a_cell_and_its_steps_lie_side_by_side():
    assert_array_equal(patches_of((2, 1, 1), (1.0, 1.0, 1.0)).members, [[0, 1]])
    assert_array_equal(patches_of((2, 2, 3), (0.0, 0.0, 0.0)).members, np.arange(12)[:, None])
    both = patches_of((2, 2, 3), (0.95, 0.0, 0.0))
    assert_array_equal(np.sort(both.members, axis=1), [[i, i + 6] for i in range(6)])
    assert_array_equal(both.weights, 1.0)


def test_each_by_itself_is_a_patch_of_one():
    patches = Patches.single(3)
    assert_array_equal(patches.members, [[0], [1], [2]])
    assert_array_equal(patches.weights, 1.0)
    assert_array_equal(patches.middle, [0, 1, 2])


@pytest.mark.parametrize("place", ["cells of the lattice", "elsewhere"])
def test_with_all_observations_local_weights_are_those_of_kriging(place):
    prior, (times, coordinates, _) = anova("matern32"), LATTICES["region"]
    observations = observed_on(times, coordinates, 0.5)
    targets = lattice_points(times, coordinates, observations.points).take_in_order(np.arange(0, 160, 7))
    targets = targets if place == "cells of the lattice" else scattered(np.random.default_rng(4), 9, "sphere")
    neighbours = neighbours_of(prior, observations, coordinates.shape[:2])
    goals = goals_of(prior, neighbours, observations, targets)
    A = oracle_covariance(prior, observations.points, observations.points) + np.diag(observations.noise)
    expected = np.linalg.solve(A, oracle_covariance(prior, observations.points, targets))
    found = local_weights(neighbours, goals, len(observations)).numpy()
    assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())
    few = local_weights(neighbours, goals, 10).numpy()
    assert ((few != 0).sum(0) == 10).all()


def test_observed_cells_of_a_patch_are_conditioned_on_their_own_observations():
    """Near a pole the cells of a patch are so near each other that others may be as correlated."""
    prior, times = anova("matern12"), np.arange(4.0)
    coordinates = crossed(np.linspace(-89, 89, 8), np.arange(0, 360, 10.0))
    observations = observed_on(times, coordinates, 0.2, noise=0.01)
    targets = lattice_points(times, coordinates, observations.points)
    neighbours = neighbours_of(prior, observations, coordinates.shape[:2])
    goals = goals_of(prior, neighbours, observations, targets)
    patches = patches_of((4, 8, 36), (0.9, 0.6, 0.99), wraps=True)
    own = {int(cell): number for number, cell in enumerate(numbers_of(observations.points, 8 * 36))}
    for patch, found in enumerate(found_neighbours(neighbours, goals, patches, 24)):
        seen = [own[cell] for cell in patches.members[patch].tolist() if cell in own]
        assert set(seen) <= set(found.tolist()) or len(set(seen)) > 24


def numbers_of(points, sites):
    """The cells of points, times outermost."""
    return points.time_index * sites + points.site_index
