"""Tables hold the covariance of the oracle between any two cells, and the walks lead to the most correlated ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from xgpfill.kernels import spec
from xgpfill.machine.compiled import plain
from xgpfill.operators import tables as tables_module
from xgpfill.operators.tables import Tables
from xgpfill.vecchia import neighbours as module
from xgpfill.vecchia.loops import AT_ONCE, Noisy, covariances, nearest, search
from xgpfill.vecchia.neighbours import coarse_map, fine_map

from tests.linalg.lattices import LATTICES, REGULAR, crossed, every_cell, neighbours_of, observed_on
from tests.linalg.test_vecchia import PRIORS
from tests.problems import SPACE_KERNELS, TIME_KERNELS, anova, oracle_covariance, product


def matrix_of(tables, cells):
    """The covariance of all cells (n, 3) by look-ups."""
    found = np.empty((len(cells), len(cells)))
    every = np.arange(len(cells))
    for own in range(len(cells)):
        covariances(plain(tables.arrays), cells, own, cells, every, len(cells), found[own])
    return found


@pytest.mark.parametrize("lattice", [name for name in LATTICES if name not in ("globe with poles", "plane")])
@pytest.mark.parametrize("name", PRIORS)
def test_look_ups_are_the_covariance_of_the_oracle(name, lattice):
    times, coordinates, _ = LATTICES[lattice]
    points = every_cell(times, coordinates)
    tables = Tables.of(PRIORS[name], times, coordinates)
    found = matrix_of(tables, tables.cells(points.time_index, points.site_index))
    assert_allclose(found, oracle_covariance(PRIORS[name], points, points), atol=1e-9)


@pytest.mark.parametrize("kernel", ["matern32", "periodic", "spectral", "a product"])
def test_kernels_with_directions_on_a_plane(kernel):
    times, coordinates, _ = LATTICES["plane"]
    prior = product(TIME_KERNELS["matern32"], SPACE_KERNELS[kernel], "plane")
    points = every_cell(times, coordinates)
    tables = Tables.of(prior, times, coordinates)
    found = matrix_of(tables, tables.cells(points.time_index, points.site_index))
    assert_allclose(found, oracle_covariance(prior, points, points), atol=1e-9)


def test_the_poles_are_one_place():
    times, coordinates, _ = LATTICES["globe with poles"]
    points = every_cell(times, coordinates)
    tables = Tables.of(anova("matern32"), times, coordinates)
    found = matrix_of(tables, tables.cells(points.time_index, points.site_index))
    assert_allclose(found, oracle_covariance(anova("matern32"), points, points), atol=1e-9)
    assert_allclose(found[0, 1:10], found[0, 0])


def test_long_regular_times_need_no_matrix():
    times, coordinates = 0.5 * np.arange(30_000.0), crossed([10, 20], [0, 3, 6])
    tables = Tables.of(anova("matern32"), times, coordinates)
    assert tables.arrays.time.shape == (2, 1, 30_000)
    assert tables.arrays.common.shape == (1, 30_000)


def test_independent_sites_need_no_table():
    """Else a million sites would need a million rows."""
    times, coordinates = np.arange(4.0), np.random.default_rng(0).uniform(-1000, 1000, (200_000, 1, 2))
    tables = Tables.of(product(TIME_KERNELS["matern32"], spec.Independent(), "plane"), times, coordinates)
    assert not tables.arrays.space.size
    assert tables.arrays.alone.shape == (1, 4)


# Walks


def found_by(neighbours, cells, count):
    noisy = neighbours.noisy
    near, sizes = np.zeros((len(cells), count), np.int32), np.empty(len(cells), np.int32)
    cells = np.ascontiguousarray(cells)
    search(noisy, cells, cells, np.array([len(noisy[3])]), np.array([count]), 0, len(cells), near, sizes)
    return near, sizes


@pytest.mark.parametrize("lattice", [n for n in LATTICES if n not in ("globe with poles", "plane", "one site")])
@pytest.mark.parametrize("name", [n for n in PRIORS if not n.startswith("nothing")])
@pytest.mark.parametrize("share", [0.6, 0.1])
def test_a_search_finds_the_most_correlated_observations(name, lattice, share):
    times, coordinates, _ = LATTICES[lattice]
    observations = observed_on(times, coordinates, share, repeats=3)
    neighbours = neighbours_of(PRIORS[name], observations, coordinates.shape[:2])
    points = every_cell(times, coordinates)
    count = min(8, len(observations))
    near, sizes = found_by(neighbours, neighbours.tables.cells(points.time_index, points.site_index), count)
    K = np.abs(oracle_covariance(PRIORS[name], points, observations.points))[:, neighbours.order]
    best = np.sort(K, axis=1)[:, -count:]
    exact = neighbours.tables.arrays.time.shape[1] == 1  # with uneven times the walk is in nearly the right order
    shares = []
    for own in range(len(points)):
        chosen = near[own, : sizes[own]]
        assert len(set(chosen.tolist())) == sizes[own]
        told = best[own][best[own] > 1e-5]  # what is correlated at all
        if exact:
            assert sizes[own] >= told.size
            assert_allclose(np.sort(K[own, chosen])[::-1][: told.size], told[::-1], rtol=1e-9, atol=1e-5)
        elif told.size:
            shares.append(K[own, chosen].sum() / told.sum())
    assert exact or np.mean(shares) > 0.97


def test_predecessors_precede():
    times, coordinates, _ = LATTICES["region"]
    observations = observed_on(times, coordinates, 0.8, repeats=5)
    neighbours = neighbours_of(anova(), observations, coordinates.shape[:2])
    arrays, fine, coarse, cells, _ = neighbours.noisy
    found, strength = np.empty(28, np.int32), np.empty(28)
    K = oracle_covariance(anova(), observations.points, observations.points)[np.ix_(neighbours.order, neighbours.order)]
    for own in range(len(cells)):
        size = nearest(arrays, fine, coarse, cells, cells, own, own, 10, 10, AT_ONCE, found, strength)
        assert size == min(own, 10)
        assert (found[:size] < own).all()
        assert_allclose(np.sort(K[own, found[:size]]), np.sort(K[own, :own])[own - size :], rtol=1e-9)


WIDE = crossed(np.linspace(-60, 60, 40), np.arange(0, 360, 6.0))


def only_in_a_corner(coordinates, times=REGULAR):
    """Observations of a tenth of the columns: elsewhere a walk meets none for long."""
    observations = observed_on(times, coordinates, 1.0, noise=0.1)
    column = observations.points.site_index % coordinates.shape[1]
    kept = np.flatnonzero(column < coordinates.shape[1] // 10)
    return type(observations)(
        observations.points.take_in_order(kept), observations.values[kept], observations.noise[kept]
    )


@pytest.mark.parametrize("name", ["anova", "each frame on its own"])
@pytest.mark.parametrize("coarse", [True, False], ids=["by blocks", "one by one"])
def test_in_a_wide_gap_neighbours_are_nearly_the_best(name, coarse, monkeypatch):
    monkeypatch.setattr(module, "WALK", 60)
    if not coarse:
        monkeypatch.setattr(module, "_usable_block", lambda *_: 0)
    observations = only_in_a_corner(WIDE)
    neighbours = neighbours_of(PRIORS[name], observations, WIDE.shape[:2])
    assert bool(neighbours.noisy[2][3]) is coarse
    points = every_cell(REGULAR, WIDE).take_in_order(np.random.default_rng(0).permutation(40 * 60 * 6)[:200])
    count = 10
    near, sizes = found_by(neighbours, neighbours.tables.cells(points.time_index, points.site_index), count)
    K = np.abs(oracle_covariance(PRIORS[name], points, observations.points))[:, neighbours.order]
    best = np.sort(K, axis=1)[:, -count:].sum(1)
    found = np.array([K[i, near[i, : sizes[i]]].sum() for i in range(len(points))])
    assert (found / np.maximum(best, 1e-12) > 0.5)[best > 1e-3].all()
    assert np.median((found / best)[best > 1e-3]) > 0.9


@pytest.mark.parametrize("last", [True, False], ids=["last", "first"])
def test_a_time_far_from_all_others_keeps_no_walk_at_home(last):
    """Times by pair: a walk is in the order of what most times see, not of what one of them does."""
    times = np.r_[np.arange(12.0), 900.0] if last else np.r_[-900.0, np.arange(12.0)]
    coordinates = crossed(np.linspace(20, 50, 8), np.linspace(0, 40, 9))
    prior = product(spec.Matern(1.5, 10.0), spec.Matern(1.5, 50.0), "sphere")
    observations = observed_on(times, coordinates, 0.2)
    neighbours = neighbours_of(prior, observations, coordinates.shape[:2])
    points = every_cell(times, coordinates).take_in_order(np.flatnonzero(np.repeat(times, 72) == 5.0))
    near, sizes = found_by(neighbours, neighbours.tables.cells(points.time_index, points.site_index), 8)
    K = oracle_covariance(prior, points, observations.points)[:, neighbours.order]
    best = np.sort(K, axis=1)[:, -8:].sum(1)
    found = np.array([K[i, near[i, : sizes[i]]].sum() for i in range(len(points))])
    assert (best > 0.5).sum() > 20
    assert (found / best)[best > 0.5].min() > 0.9


def test_tables_without_any_covariance_have_no_walks():
    times, coordinates, _ = LATTICES["region"]
    nothing = product(spec.Matern(1.5, 10.0), spec.Matern(1.5, 50.0), "sphere", 0.0)
    observations = observed_on(times, coordinates, 0.2)
    neighbours = neighbours_of(nothing, observations, coordinates.shape[:2])
    _, sizes = found_by(neighbours, neighbours.noisy[3], 5)
    assert (sizes == 0).all()


def test_maps_know_every_observation_of_a_block():
    observations = observed_on(REGULAR, WIDE, 0.3, repeats=9)
    neighbours = neighbours_of(anova(), observations, WIDE.shape[:2])
    _, fine, coarse, cells, _ = neighbours.noisy
    for _, first, following, block in (fine, coarse):
        seen = []
        for place in np.ndindex(first.shape):
            who, before = first[place], -1
            while who < len(cells):
                assert who > before  # in their order
                assert tuple(cells[who] // np.array([1, block, block])) == place
                seen.append(who)
                who, before = following[who], who
        assert sorted(seen) == list(range(len(cells)))
    assert coarse[3] == module.BLOCK


def test_a_lattice_of_few_columns_has_no_blocks():
    times, coordinates, _ = LATTICES["a list of sites"]
    observations = observed_on(times, coordinates)
    points = observations.points
    tables = Tables.of(anova(), times, coordinates)
    cells = tables.cells(points.time_index, points.site_index)
    assert coarse_map(tables, cells).block == 0
    assert fine_map(tables, cells).block == 1
    assert isinstance(neighbours_of(anova(), observations, coordinates.shape[:2]).noisy, tuple)
    assert Noisy._fields == ("arrays", "fine", "coarse", "cells", "noise")


@pytest.mark.parametrize("lattice", ["globe with poles", "globe, odd", "region", "region, uneven times", "one frame"])
@pytest.mark.parametrize("name", ["anova", "shared kernels"])
def test_the_table_of_short_lags_says_what_the_terms_say(name, lattice):
    times, coordinates, _ = LATTICES[lattice]
    points = every_cell(times, coordinates)
    tables = Tables.of(PRIORS[name], times, coordinates)
    cells = tables.cells(points.time_index, points.site_index)
    assert tables.arrays.near.size > 0
    without = replace(tables, arrays=tables.arrays._replace(near=np.zeros((0, 0, 0, 0))))
    assert_allclose(matrix_of(tables, cells), matrix_of(without, cells), rtol=1e-12, atol=1e-14)


def test_the_table_of_short_lags_is_bounded():
    times, coordinates = np.arange(40.0), crossed(np.linspace(-80, 80, 60), np.arange(0, 360, 3.0))
    near = Tables.of(anova("matern32"), times, coordinates).arrays.near
    assert near.shape[0] == 60
    assert 100 < near[0].size <= tables_module.SLAB
