"""What a tile sees: groups, averages of observations, their law and their noise."""

from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import combinations

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from xgpfill.covariance.matrices import Covariance
from xgpfill.engines.select import build_engine
from xgpfill.grid.points import Points
from xgpfill.grid.scaling import Scaling
from xgpfill.kernels import spec
from xgpfill.kernels.outside import FromFunction
from xgpfill.kernels.prior import Prior, Term
from xgpfill.settings import Exact, Iterative, Variational
from xgpfill.tiling.assemble import run_member, seen_by_tiles, tile_means
from xgpfill.tiling.solve import TileSolver
from xgpfill.tiling.tiles import AxisTiles, TilePlan
from xgpfill.tiling.views.groups import GROWTH, MATTERS, MOST, SCREENED, SHARE, Alone, Groups, Lengths, grouped
from xgpfill.tiling.views.halo import Sight
from xgpfill.tiling.views.pyramid import Pyramid
from xgpfill.tiling.views.screening import screening_distances
from xgpfill.tiling.views.view import View

from tests.problems import anova, lattice, observed, oracle_covariance, product

# Groups

KERNELS = (spec.Constant(), spec.Matern(1.5, 2.0), spec.Matern(1.5, 40.0), spec.Independent())


@st.composite
def axes(draw):
    size = draw(st.integers(1, 300))
    low = draw(st.integers(0, size - 1))
    return np.arange(low, draw(st.integers(low + 1, size))), size


@settings(max_examples=100, deadline=None)
@given(axes(), st.floats(0.1, 10.0), st.booleans())
def test_groups_cut_an_axis_what_is_seen_stays_alone_and_runs_are_as_short_as_they_must_be(axis, step, grow):
    (seen, size), lengths = axis, Lengths(KERNELS, step, grow)
    groups = grouped(seen, size, lengths)
    assert groups.starts[0] == 0 and groups.sizes.sum() == size and (groups.sizes >= 1).all()
    assert (groups.starts % 2 ** np.ceil(np.log2(groups.sizes)) == 0).all()
    assert_array_equal(groups.number, np.searchsorted(groups.starts, np.arange(size), side="right") - 1)
    assert (groups.sizes[groups.number[seen]] == 1).all()
    assert (groups.number[groups.middle] == np.arange(groups.starts.size)).all()
    for start, length in zip(groups.starts, groups.sizes, strict=True):
        away = max(seen[0] - (start + length), start - seen[-1] - 1)
        assert length == 1 or length <= lengths.at(away + 1)


@settings(max_examples=60, deadline=None)
@given(axes(), st.floats(0.1, 10.0), st.integers(0, 80))
def test_cells_farther_than_so_many_are_in_no_group(axis, step, within):
    (seen, size), lengths = axis, Lengths(KERNELS, step)
    groups, every = grouped(seen, size, lengths, within), grouped(seen, size, lengths)
    assert set(groups.starts) <= set(every.starts)
    inside = np.arange(max(0, seen[0] - within), min(size, seen[-1] + 1 + within))
    assert (groups.number[inside] >= 0).all()
    outside = np.flatnonzero(groups.number < 0)
    away = np.maximum(seen[0] - outside, outside - seen[-1])
    assert (away > within).all() and outside.size == size - groups.sizes.sum()
    assert_array_equal(np.bincount(groups.number[groups.number >= 0]), groups.sizes)
    assert (groups.number[groups.middle] == np.arange(groups.starts.size)).all()


@pytest.mark.parametrize(
    ("kernels", "cells", "most"),
    [
        ((spec.Matern(1.5, 40.0),), 9, SHARE * 40.0),
        ((spec.Matern(1.5, 40.0),), 11, SHARE * 40.0),
        ((spec.Matern(1.5, 4.0),), 9, SHARE * 4.0),
        ((spec.Matern(1.5, 4.0),), 11, SCREENED * 11),
        ((spec.Matern(1.5, 4.0), spec.Periodic(12.0, 5.0)), 40, SHARE * 3.0),
        ((spec.Matern(1.5, 4.0), spec.Brownian(1.0)), 40, GROWTH * 40.0),
        ((spec.Matern(1.5, 4.0), FromFunction(lambda x, y: np.exp(-np.abs(x - y.T)))), 40, 0.0),
        ((spec.Matern(1.5, 90.0),), 100, SCREENED * 100.0),
    ],
    ids=["within", "long", "short, within", "short", "periodic", "a walk", "a function", "far"],
)
def test_groups_grow_beyond_the_distance_within_which_observations_matter(kernels, cells, most):
    assert Lengths(kernels, 1.0, screening=10.0).at(cells) == pytest.approx(most)


@pytest.mark.parametrize(
    ("cells", "most", "grown"),
    [(4, SHARE * 2.0, SHARE * 2.0), (13, SHARE * 40.0, 26.0), (60, SHARE * 40.0, 32.0), (241, 32.0, 32.0)],
)
def test_a_group_is_a_fifth_of_the_shortest_lengthscale_that_still_matters_or_grows(cells, most, grown):
    """In cells of half a day; the short kernel matters for six days, the long one for a hundred and twenty."""
    assert Lengths(KERNELS, 0.5).at(cells) == pytest.approx(2 * most)
    assert Lengths(KERNELS, 0.5, grow=True).at(cells) == pytest.approx(2 * grown)
    assert (MATTERS, GROWTH, MOST) == (3.0, 0.5, 64)


@pytest.mark.parametrize(
    ("kernel", "most"),
    [
        (spec.Periodic(12.0, 5.0), SHARE * 3.0),
        (spec.Periodic(12.0, 0.5), SHARE * 12.0 * 0.5 / (2 * np.pi)),
        (spec.Matern(0.5, 1e4) * spec.Periodic(12.0, 5.0), SHARE * 3.0),
        (spec.Spectral(1, (1.0,), (0.1,), (0.0,)), SHARE / (0.2 * np.pi)),
        (spec.Brownian(1.0), MOST),
        (FromFunction(lambda x, y: np.exp(-np.abs(x - y.T))), 0.0),
        (spec.Constant(), MOST),
    ],
    ids=["periodic", "short harmonics", "product", "spectral", "a walk", "a function", "constant"],
)
def test_far_from_a_tile_what_repeats_is_not_averaged_away(kernel, most):
    assert Lengths((kernel,), 1.0).at(500) == pytest.approx(most)
    assert Lengths((spec.Brownian(1.0),), 1.0).at(20) == GROWTH * 20


def test_a_group_at_a_pole_stands_beside_it():
    for starts in ([0, 2, 3], [0, 1, 2, 3]):
        groups = Groups(np.array(starts), 5)
        assert 0 not in groups.middle[groups.sizes > 1] and 4 not in groups.middle[groups.sizes > 1]


# The law of averages

SHAPE = (14, 9, 5)
PRIOR = anova("matern32")
VIEWS = {
    "epochs": ([0, 4, 6, 7, 8, 10, 12], None, None),
    "bands": (None, [0, 2, 3, 4, 8], None),
    "epochs and bands": ([0, 1, 2, 4, 8], [0, 2, 3, 4, 8], None),
    "blocks off meridians": ([0, 4, 6, 7, 8], [0, 2, 3, 4, 8], [0, 2, 3, 4]),
}


def view_of(name, *, geometry="sphere", prior=PRIOR, seed=0):
    frame = lattice(np.zeros(SHAPE), geometry=geometry)
    if "off meridians" in name:
        moved = frame.space.coordinates + np.random.default_rng(seed).normal(0, 30.0, frame.space.coordinates.shape)
        frame = replace(frame, space=replace(frame.space, coordinates=moved))
    starts = [np.arange(n) if s is None else np.array(s) for s, n in zip(VIEWS[name], SHAPE, strict=True)]
    groups = [Groups(s, n) for s, n in zip(starts, SHAPE, strict=True)]
    return View(frame, replace(prior, geometry=geometry), *groups)


def everywhere(view):
    space = view.frame.space
    return Points.grid(view.frame.time, space.coordinates.reshape(space.size, -1), space.shape)


def cells_of(view, t, y, x):
    """Numbers of the cells of the view that cells of the frame are in."""
    where = [g.number[k] for g, k in zip(view.groups, (t, y, x), strict=True)]
    return np.ravel_multi_index(where, [g.starts.size for g in view.groups])


def averaging(view):
    """The matrix (cells of the view, cells of the frame) that averages all members."""
    t, y, x = np.indices(SHAPE).reshape(3, -1)
    cell = cells_of(view, t, y, x)
    W = np.zeros((cell.max() + 1, cell.size))
    W[cell, np.arange(cell.size)] = 1.0
    return W / W.sum(1, keepdims=True)


@pytest.mark.parametrize("geometry", ["sphere", "cylinder", "plane"])
@pytest.mark.parametrize("name", VIEWS)
def test_where_all_is_observed_averages_have_the_averages_of_the_covariances_and_of_the_noise(name, geometry):
    view = view_of(name, geometry=geometry)
    rng = np.random.default_rng(1)
    values, noise = rng.standard_normal(SHAPE), rng.uniform(0.1, 0.5, SHAPE)
    found = view.observations(seen_of(view, values, noise))
    W = averaging(view)
    assert_allclose(found.values, W @ values.ravel(), rtol=1e-12)
    assert_allclose(found.noise, W**2 @ noise.ravel(), rtol=1e-8)
    points = everywhere(view)
    expected = W @ oracle_covariance(view.prior, points, points) @ W.T
    law = Covariance(view.averaged)
    assert_allclose(law.matrix(found.points, found.points), expected, rtol=1e-6, atol=1e-8)
    assert_allclose(law.diagonal(found.points), np.diag(expected), rtol=1e-6)


def seen_of(view, values, noise):
    """The parts of a pyramid that a view asks for."""
    some = np.isfinite(values)
    pyramid = Pyramid(np.stack([some, np.where(some, noise, 0.0), np.where(some, values, 0.0)]))
    return [pyramid.part(by, blocks) for by, blocks, _ in view.pieces]


@pytest.mark.parametrize(("groups", "size"), [([0, 4], 5), ([0, 3], 4)])
def test_what_an_epoch_lacks_is_noise_whose_variance_is_that_over_all_choices_of_its_members(groups, size):
    """The mean square of own mean less mean of all, over every way to observe n of N: by enumeration."""
    prior = Prior((Term("a", spec.Matern(0.5, 3.0), spec.Constant(), 1.3),), noise=0.2, geometry="plane")
    frame = lattice(np.zeros((size, 1, 1)), geometry="plane")
    view = View(frame, prior, Groups(np.array(groups), size), Groups(np.arange(1), 1), Groups(np.arange(1), 1))
    N = groups[1]
    K = 1.3 * np.exp(-np.abs(np.subtract.outer(frame.time[:N], frame.time[:N])) / 3.0)
    for n in range(1, N + 1):
        squares = []
        for some in combinations(range(N), n):
            w = np.full(N, -1 / N)
            w[list(some)] += 1 / n
            squares.append(w @ K @ w)
        values = np.full((size, 1, 1), np.nan)
        values[:n, 0, 0] = 1.0
        found = view.observations(seen_of(view, values, np.full((size, 1, 1), 0.2)))
        assert found.noise[0] == pytest.approx(0.2 / n + np.mean(squares), rel=1e-9)


@pytest.mark.parametrize("name", ["epochs", "bands", "epochs and bands", "blocks off meridians"])
def test_a_few_cells_stand_for_a_group_and_what_they_miss_is_noise(name):
    smooth = Prior((Term("a", spec.Matern(1.5, 20.0), spec.Matern(1.5, 4000.0), 1.0),), noise=0.01)
    few = replace(view_of(name, prior=smooth), nodes=2)
    rng = np.random.default_rng(1)
    parts = seen_of(few, rng.standard_normal(SHAPE), np.full(SHAPE, 0.1))
    found, exact = few.observations(parts), replace(few, nodes=None).observations(parts)
    assert_allclose(found.values, exact.values, rtol=1e-12)
    W, points = averaging(few), everywhere(few)
    expected = W @ oracle_covariance(few.prior, points, points) @ W.T
    law = Covariance(few.averaged).matrix(found.points, found.points).numpy()
    assert np.abs(law - expected).max() < 0.02
    missed = np.diag(law) - np.diag(expected)  # about the variance of the mean of some about that of all
    assert_allclose(found.noise - exact.noise, np.maximum(missed, 0.0), atol=0.01)


def test_gaps_are_no_observations_and_the_order_is_that_of_a_lattice():
    view, rng = view_of("epochs and bands"), np.random.default_rng(2)
    values = np.where(rng.random(SHAPE) < 0.1, rng.standard_normal(SHAPE), np.nan)
    found = view.observations(seen_of(view, values, np.full(SHAPE, 0.1)))
    t, y, x = np.nonzero(np.isfinite(values))
    cell, count = np.unique(cells_of(view, t, y, x), return_counts=True)
    sums = np.bincount(cells_of(view, t, y, x), values[t, y, x])[cell]
    assert_allclose(found.values, sums / count, rtol=1e-12)
    assert_array_equal(found.points.time_index * len(found.points.sites) + found.points.site_index, cell)


@pytest.mark.parametrize("by", [(0, 0, 0), (1, 0, 0), (2, 1, 0), (0, 3, 2), (4, 4, 4)])
@pytest.mark.parametrize("lazy", [False, True])
def test_a_level_of_a_pyramid_adds_up_aligned_blocks(by, lazy):
    base = np.random.default_rng(3).standard_normal((3, 13, 9, 7))
    expected = base
    for axis, halvings in enumerate(by, start=1):
        expected = np.add.reduceat(expected, np.arange(0, base.shape[axis], 2**halvings), axis=axis)
    pyramid = Pyramid(da.from_array(base, chunks=(3, 4, (3, 5, 1), 7)) if lazy else base)
    assert_allclose(pyramid.level(by), expected, rtol=1e-12, atol=1e-12)
    assert pyramid.level(by) is pyramid.level(by)
    assert dask.is_dask_collection(pyramid.level(by)) == lazy


# Tiles


SCALES = Prior(
    (
        Term("static", spec.Constant(), spec.Matern(1.5, 1000.0), 0.6),
        Term("common", spec.Matern(1.5, 12.0), spec.Constant(), 0.3),
        Term("slow", spec.Matern(1.5, 15.0), spec.Matern(1.5, 700.0), 0.8),
        Term("fast", spec.Matern(1.5, 1.0), spec.Matern(1.5, 40.0), 0.4),
    ),
    noise=0.05,
    geometry="sphere",
)
"""So unlike that what is far from a tile is averaged."""


def solvers(counts, halo, *, settings=None, wraps=False, prior=SCALES, shape=(20, 16, 3), spacing=0.3, share=0.4):
    """The solver of tiles and that of one tile, for the same gappy draw of the prior."""
    frame = lattice(np.zeros(shape), wraps=wraps, spacing=spacing)
    rng = np.random.default_rng(9)
    points = Points.grid(frame.time, frame.space.coordinates.reshape(-1, 3))
    values = 2.0 + 0.5 * observed(rng, prior, points).values.reshape(shape)
    values[rng.random(shape) > share] = np.nan
    own = [
        AxisTiles(n, c, (n if i == 2 else halo) if c > 1 else 0, wraps and i == 2)
        for i, (n, c) in enumerate(zip(shape, counts, strict=True))
    ]
    common = (frame, prior, Scaling(2.0, 0.5), settings or Exact())
    tiled = TileSolver(*common, TilePlan(*own), "cpu", "float64")
    return tiled, TileSolver(*common, TilePlan.whole(shape, wraps=wraps), "cpu", "float64"), values


ENGINES = pytest.mark.parametrize(
    "engine",
    [Exact(), Iterative(num_samples=16), Variational(num_inducing=10_000)],
    ids=["exact", "iterative", "variational"],
)


@ENGINES
@pytest.mark.parametrize("counts", [(3, 1, 1), (1, 2, 1), (3, 2, 1)], ids=str)
def test_tiles_answer_nearly_as_one_tile_does(counts, engine):
    tiled, single, values = solvers(counts, 2, settings=engine)
    expected, found = run_member(single, values, None), run_member(tiled, values, None)
    assert not any(tiled.view(tile).are_single for tile in tiled.plan.tiles())
    off = (found[0] - expected[0]) / expected[1]
    assert np.sqrt((off**2).mean()) < 0.2 and np.quantile(np.abs(off), 0.99) < 0.6
    assert 0.99 < np.median(found[1] / expected[1]) < 1.04


@pytest.mark.parametrize("counts", [(3, 1, 1), (1, 4, 1)], ids=str)
def test_tiles_are_never_surer_than_all_observations_allow_where_everything_is_observed(counts):
    tiled, single, values = solvers(counts, 0, share=1.1)
    expected, found = run_member(single, values, None), run_member(tiled, values, None)
    assert (found[1] > expected[1] * (1 - 1e-9)).all()


def test_around_the_globe_a_tile_sees_every_column():
    tiled, single, values = solvers((1, 1, 5), 1, wraps=True)
    expected, found = run_member(single, values, None), run_member(tiled, values, None)
    assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("engine", [Exact(), Iterative(tolerance=1e-3, num_samples=8)], ids=["exact", "iterative"])
@pytest.mark.parametrize("wraps", [False, True])
def test_columns_beyond_a_halo_are_not_seen_and_all_others_are(engine, wraps):
    shape = (3, 5, 18)
    tiled, _, values = solvers((1, 1, 3), 1, settings=engine, wraps=wraps, shape=shape)
    tiled = replace(tiled, plan=replace(tiled.plan, bands=(replace(tiled.plan.x, halo=2),)))
    seen = seen_by_tiles(tiled, values, None)
    for tile in tiled.plan.tiles():
        _, _, columns = window = tiled.plan.observed(tile)
        assert columns.size < 18 and tiled.view(tile).are_single
        mean, sd = tiled.moments(tile, seen(tile))
        alone = tiled.observations(window, values[:, :, columns], None)
        targets = tiled.points(tiled.plan.evaluated(tile))
        posterior = build_engine(Exact()).condition(tiled.covariance, alone).moments(targets)
        assert_allclose(mean.ravel(), 2.0 + 0.5 * posterior.mean, atol=0.01 * sd.min())
        off = 1e-6 if isinstance(engine, Exact) else 0.25
        assert_allclose(sd.ravel(), 0.5 * np.sqrt(posterior.variance), rtol=off)


def test_rows_and_times_are_averaged_on_the_columns_that_are_seen():
    local = replace(SCALES, terms=SCALES.terms[1:])
    tiled, single, values = solvers((2, 2, 2), 2, prior=local, shape=(14, 12, 20), spacing=3.0)
    tiled = replace(tiled, plan=replace(tiled.plan, bands=(replace(tiled.plan.x, halo=6),) * 2))
    expected, found = run_member(single, values, None), run_member(tiled, values, None)
    assert not any(tiled.view(tile).are_single for tile in tiled.plan.tiles())
    assert {tiled.view(tile).x.starts.size for tile in tiled.plan.tiles()} < set(range(20))
    off = (found[0] - expected[0]) / expected[1]
    assert np.sqrt((off**2).mean()) < 0.2 and np.quantile(np.abs(off), 0.99) < 0.6
    assert 0.99 < np.median(found[1] / expected[1]) < 1.04


def test_rows_and_columns_beyond_those_that_matter_are_not_seen_and_hardly_missed():
    local = product(spec.Matern(1.5, 2.0), spec.Matern(1.5, 200.0), "sphere")
    local = replace(local, noise=0.05)
    tiled, single, values = solvers((1, 3, 4), 2, prior=local, shape=(4, 18, 24), spacing=3.0)
    distances = screening_distances(replace(single.frame, values=values), local, 0)
    sight = Sight(single.frame, local, screening=distances)
    tiled = replace(tiled, plan=sight.plan(1, sight.axis(1, 3), [4], near=True), screening=distances)
    assert max(view.y.starts.size for view in map(tiled.view, tiled.plan.tiles())) < 18
    assert max(view.x.starts.size for view in map(tiled.view, tiled.plan.tiles())) < 24
    expected, found = run_member(single, values, None), run_member(tiled, values, None)
    off = (found[0] - expected[0]) / expected[1]
    assert np.sqrt((off**2).mean()) < 0.1 and np.quantile(np.abs(off), 0.99) < 0.3
    assert 0.99 < np.median(found[1] / expected[1]) < 1.02


def test_times_beyond_those_that_matter_are_averaged_in_epochs_that_grow():
    prior = replace(SCALES, terms=SCALES.terms[1:])
    tiled, single, values = solvers((6, 1, 1), 4, prior=prior, shape=(120, 3, 4))
    distances = screening_distances(replace(single.frame, values=values), prior, 0)
    found = {}
    for screening in ((None, None), distances):
        sight = Sight(single.frame, prior, screening=screening)
        tiled = replace(tiled, plan=sight.plan(6, sight.axis(1, 1), [1], near=False), screening=screening)
        assert sum(tiled.view((3, 0, 0)).time.sizes) == 120
        found[screening] = tiled.view((3, 0, 0)).time.starts.size
    assert found[distances] < found[None, None]
    expected, found = run_member(single, values, None), run_member(tiled, values, None)
    off = (found[0] - expected[0]) / expected[1]
    assert np.sqrt((off**2).mean()) < 0.2 and np.quantile(np.abs(off), 0.99) < 0.6
    assert 0.99 < np.median(found[1] / expected[1]) < 1.04


def test_columns_of_a_window_are_read_in_runs():
    alone = Alone(np.array([9, 10, 11, 0, 1]), 12)
    assert alone.are_single and alone.runs == [(0, slice(9, 12), slice(0, 3)), (0, slice(0, 2), slice(3, 5))]
    assert_array_equal(alone.number[[9, 11, 0, 1, 5]], [0, 2, 3, 4, -1])
    assert_array_equal(alone.middle, alone.starts)
    assert_array_equal(alone.sizes, 1)


def test_unequal_errors_and_draws_are_averaged_alike():
    tiled, _, values = solvers((3, 1, 1), 1)
    errors = np.random.default_rng(10).uniform(0.1, 0.8, (1, *values.shape[1:]))
    draws = values + np.random.default_rng(11).standard_normal((3, *values.shape))
    found = run_member(tiled, draws, errors, work=tile_means)
    alone = [run_member(tiled, draw, errors, work=tile_means)[0] for draw in draws]
    assert_allclose(found, alone, rtol=1e-9, atol=1e-9)
    assert not np.allclose(found, run_member(tiled, draws, None, work=tile_means), rtol=1e-3)


def test_the_answer_of_a_tile_does_not_depend_on_those_before_it():
    tiled, _, values = solvers((1, 1, 2), 1, settings=Iterative())  # every tile sees everything, one by one
    seen, tiles = seen_by_tiles(tiled, values, None), list(tiled.plan.tiles())
    forward = [tiled.moments(tile, seen(tile)) for tile in tiles]
    alone = [replace(tiled, device="cpu").moments(tile, seen(tile)) for tile in tiles[::-1]][::-1]
    for one, other in zip(forward, alone, strict=True):
        assert_array_equal(one, other)


def test_a_solver_travels_and_answers_the_same():
    tiled, _, values = solvers((3, 2, 1), 1)
    here = run_member(tiled, values, None)
    assert_array_equal(run_member(pickle.loads(pickle.dumps(tiled)), values, None), here)


def test_a_tile_of_a_field_without_observations_has_the_prior():
    tiled, single, values = solvers((3, 1, 1), 1)
    nothing = np.full_like(values, np.nan)
    assert_allclose(run_member(tiled, nothing, None), run_member(single, nothing, None))
