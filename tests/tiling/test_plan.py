"""Tiles: their weights sum to one, their pieces fit together, and the plan keeps its promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from xgpfill.errors import DimensionError, TooManyPointsError
from xgpfill.grid.lattice import Lattice, Space
from xgpfill.kernels import spec
from xgpfill.kernels.prior import Prior, Term
from xgpfill.kernels.reach import reach
from xgpfill.tiling.memory import Limit
from xgpfill.tiling.plan import MOST_BEYOND, plan_tiles, tapered
from xgpfill.tiling.tiles import AxisTiles, TilePlan
from xgpfill.tiling.views.halo import Sight

from tests import reference as ref
from tests.problems import SPACE_KERNELS, TIME_KERNELS, lattice, product

# One axis


@st.composite
def axes(draw):
    size = draw(st.integers(1, 40))
    count = draw(st.integers(1, size))
    inner = st.lists(st.integers(1, max(1, size - 1)), min_size=count - 1, max_size=count - 1, unique=True)
    borders = draw(st.none() | inner.map(sorted).map(tuple))
    return AxisTiles(size, count, draw(st.integers(0, 45)), draw(st.booleans()), borders)


axis_property = settings(max_examples=100, deadline=None)


@axis_property
@given(axes())
def test_the_weights_of_all_tiles_sum_to_one_at_every_cell(axis):
    total = np.zeros(axis.size)
    for tile in range(axis.count):
        cells, weights = axis.evaluated(tile), axis.weights(tile)
        assert cells.shape == weights.shape
        assert (weights >= 0).all() and (weights <= 1 + 1e-12).all()
        np.add.at(total, cells, weights)
    assert_allclose(total, 1.0, rtol=1e-12)


@axis_property
@given(axes())
def test_a_tile_weighs_nothing_where_it_is_not_evaluated(axis):
    for tile in range(axis.count):
        outside = np.delete(np.arange(axis.size), axis.evaluated(tile))
        assert_allclose(axis.weight_of_every_cell(tile)[outside], 0.0)


@axis_property
@given(axes())
def test_cores_partition_the_axis_and_every_range_holds_the_one_before(axis):
    cores = [np.arange(a, b) for a, b in zip(axis.edges, axis.edges[1:], strict=False)]
    assert_array_equal(np.concatenate(cores), np.arange(axis.size))
    for tile, core in enumerate(cores):
        assert core.size
        evaluated, observed = axis.evaluated(tile).tolist(), axis.observed(tile).tolist()
        assert set(core.tolist()) <= set(evaluated) <= set(observed) <= set(range(axis.size))
        assert len(set(evaluated)) == len(evaluated) and len(set(observed)) == len(observed)


@axis_property
@given(axes(), st.integers(1, 45))
def test_a_larger_halo_sees_more_and_one_as_large_as_the_axis_sees_all(axis, more):
    wide, all_of_it = replace(axis, halo=axis.halo + more), replace(axis, halo=axis.size)
    for tile in range(axis.count):
        assert set(axis.observed(tile)) <= set(wide.observed(tile))
        assert_array_equal(np.sort(all_of_it.observed(tile)), np.arange(axis.size))


@axis_property
@given(st.integers(2, 8), st.integers(1, 6), st.integers(0, 20))
def test_tiles_of_an_axis_that_wraps_are_the_same_up_to_a_turn(count, core, halo):
    axis = AxisTiles(count * core, count, halo, wraps=True)
    for tile in range(count):
        turned = np.roll(axis.weight_of_every_cell(0), tile * core)
        assert_allclose(axis.weight_of_every_cell(tile), turned, atol=1e-12)
        assert set(axis.observed(tile)) == {(i + tile * core) % axis.size for i in axis.observed(0)}


def test_weights_change_smoothly_over_the_ramp_and_are_half_at_the_border():
    axis = AxisTiles(80, 2, halo=20)
    weights = axis.weight_of_every_cell(0)
    assert axis.ramp == 10
    assert (weights[:30] == 1).all() and (weights[50:] == 0).all()
    assert weights[39] + weights[40] == pytest.approx(1.0)
    assert (np.diff(weights) <= 0).all() and np.abs(np.diff(weights)).max() < 0.11


def test_one_tile_is_the_whole_axis():
    axis = AxisTiles(7)
    assert_array_equal(axis.evaluated(0), np.arange(7))
    assert_array_equal(axis.observed(0), np.arange(7))
    assert_array_equal(axis.weights(0), np.ones(7))


# Three axes


@settings(max_examples=60, deadline=None)
@given(axes(), axes(), axes())
def test_the_tiles_of_a_lattice_are_a_partition_of_unity(time, y, x):
    small = [replace(a, size=min(a.size, 7), count=min(a.count, 3, a.size, 7), borders=None) for a in (time, y, x)]
    plan = TilePlan(*small)
    shape = tuple(a.size for a in small)
    total, cells = np.zeros(shape), np.argwhere(np.ones(shape))
    for tile in plan.tiles():
        everywhere = np.zeros(shape)
        everywhere[np.ix_(*plan.evaluated(tile))] = plan.weights(tile)
        total += everywhere
        assert_allclose(plan.weights_at(tile, cells), everywhere.ravel(), atol=1e-13)
    assert_allclose(total, 1.0, rtol=1e-12)


def test_a_plan_counts_its_tiles():
    plan = TilePlan(AxisTiles(9, 3), AxisTiles(8, 2), AxisTiles(5))
    assert len(plan) == 6 == len(list(plan.tiles()))
    assert tuple(plan.shape) == (3, 2, 1)


# How far a kernel reaches


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        (spec.Matern(1.5, 3.0), 3.0),
        (spec.RBF(3.0), 3.0),
        (spec.RationalQuadratic(3.0, 1.0), 3.0),
        (spec.Constant(), np.inf),
        (spec.Independent(), 0.0),
        (spec.Periodic(5.0, 0.1), np.inf),
        (spec.Brownian(1.0), np.inf),
        (spec.Spectral(2, (1.0, 1.0), (0.1, 0.2), (0.5, 0.01)), 1 / (2 * np.pi * 0.01)),
        (spec.Spectral(1, (1.0,), (0.1,), (0.0,)), np.inf),
        (spec.RBF(3.0) + spec.Matern(0.5, 8.0), 8.0),
        (spec.RBF(3.0) * spec.Periodic(5.0, 0.1), 3.0),
        (spec.Constant() + spec.RBF(3.0), np.inf),
        (spec.Independent() * spec.RBF(3.0), 0.0),
    ],
)
def test_reach_is_how_far_a_kernel_correlates(kernel, expected):
    assert reach(kernel) == pytest.approx(expected)


# Planning

LOCAL = product(spec.Matern(1.5, 1.0), spec.Matern(1.5, 200.0), "sphere")
ALL_TERMS = Prior(
    (
        Term("static", spec.Constant(), spec.RBF(9000.0), 1.0),
        Term("common", spec.Matern(1.5, 2.0), spec.Constant(), 1.0),
        Term("slow", spec.Matern(1.5, 90.0), spec.Matern(1.5, 300.0), 1.0),
        Term("fast", spec.Matern(1.5, 1.0), spec.Matern(1.5, 200.0), 1.0),
    ),
    geometry="sphere",
)


def plan(shape=(30, 20, 24), prior=LOCAL, *, tile="auto", halo="auto", most=None, share=1.0, **kwargs):
    of = lattice(np.zeros(shape), **kwargs)
    limit = None if most is None else Limit(observations=most)
    return planned(of, prior, tile=tile, halo=halo, limit=limit, share=share)


def planned(of, prior, *, tile="auto", halo="auto", limit=None, share=1.0, **sight):
    return plan_tiles(Sight(of, prior, halo, **sight), tile=tile, limit=limit, observed_share=share)


def halos(plan):
    return tuple(band.halo for band in plan.bands)


def test_there_is_one_tile_whenever_it_fits():
    assert len(plan()) == len(plan(most=30 * 20 * 24)) == len(plan(most=3000, share=0.2)) == 1


def test_too_many_observations_are_split_until_a_tile_holds_about_what_it_may():
    many = plan((60, 30, 36), most=8000)
    assert len(many) > 1
    most = max(np.prod([w.size for w in many.observed(tile)]) for tile in many.tiles())
    assert most < 2 * 8000


def test_more_than_the_smallest_tiles_hold_is_refused_with_what_to_type():
    with pytest.raises(
        TooManyPointsError, match=r"see \d+ × \d+ × \d+ times, rows and columns, .* `da\.sel\(lon=.*tile="
    ):
        plan((60, 30, 36), most=300)
    assert len(plan((60, 30, 36), most=300, tile={"time": 6})) == 10
    of = lattice(np.zeros((60, 30, 36)))
    few = planned(of, LOCAL, limit=Limit(observations=300), grow=True)
    assert len(few) > 10  # of inducing points there may be as few as one likes


def test_named_sizes_split_the_named_axes_only():
    assert tuple(plan(tile={"time": 5}).shape) == (6, 1, 1)
    assert tuple(plan(tile={"lat": 10, "longitude": 6}).shape) == (1, 2, 4)
    assert tuple(plan(tile={"time": 5, "y": 10, "x": 6}).shape) == (6, 2, 4)


def test_a_tile_or_halo_larger_than_the_array_is_folded():
    assert len(plan(tile={"time": 1000, "x": 1000})) == 1
    large = plan(tile={"time": 5}, halo=1000)
    assert all(large.observed(tile)[0].size == 30 for tile in large.tiles())


def test_a_halo_is_a_number_of_cells_or_one_for_each_axis():
    assert [a.halo for a in plan(tile={"time": 5, "y": 5}, halo=3).axes] == [3, 3, 0]
    assert [a.halo for a in plan(tile={"time": 5, "x": 6}, halo={"time": 4, "x": 0}).axes] == [4, 0, 0]
    assert [a.halo for a in plan(tile={"time": 5, "y": 5}, halo=0).axes] == [0, 0, 0]
    named, all_axes = plan(tile={"x": 6}, halo={"x": 2}), plan(tile={"x": 6}, halo=2)
    assert named.observed((0, 0, 1))[2].size == 6 + 2 * (named.x.ramp + 2)
    assert halos(all_axes) == halos(plan(tile={"x": 6}))  # of columns beyond nothing would be seen, not even averages


def test_an_automatic_halo_goes_as_far_as_averages_would_be_of_less_than_two_cells():
    found = plan(tile={"time": 10, "y": 10}, prior=product(spec.RBF(2.0), spec.RBF(500.0), "sphere"))
    assert found.time.halo == 5  # the sixth day is three lengthscales away
    rows = 3 * 500.0 / lattice(np.zeros((3, 3, 3))).space.steps[0]
    assert found.y.halo == np.ceil(rows) - 1
    assert found.x.halo == 0
    assert plan(prior=ALL_TERMS, tile={"time": 10}).time.halo == 5  # then the slow term, in runs of 18 days
    slow = product(spec.RBF(9.0), spec.RBF(500.0), "sphere")
    assert plan(prior=slow, tile={"time": 10}).time.halo == 26  # a fifth of nine days is less than two
    assert plan((12, 20, 24), prior=slow, tile={"time": 4}).time.halo == 12


def test_columns_are_seen_within_two_lengthscales_in_each_band_of_rows():
    lat, lon = np.arange(-89.0, 90.0, 2.0), np.arange(0.0, 360.0, 2.0)
    coordinates = ref.chord(*np.meshgrid(lat, lon, indexing="ij"))
    of = Lattice(None, np.arange(2.0), Space(coordinates, "sphere", wraps=True))
    found = planned(of, ALL_TERMS, tile={"y": 10, "x": 20})
    assert halos(found) == (0,) * 9  # the static term reaches half around the Earth: all is seen, so nothing is cut
    assert tuple(found.shape) == (1, 9, 1)
    prior = product(spec.Matern(1.5, 2.0), spec.Matern(1.5, 900.0), "sphere")
    found = planned(of, prior, tile={"y": 10, "x": 20})
    for tile in found.tiles():
        _, _, columns = found.observed(tile)
        core = found.evaluated(tile)[2]
        missing = np.setdiff1d(np.arange(180), columns)
        if missing.size:
            own = coordinates[found.evaluated(tile)[1]]
            away = np.linalg.norm(own[:, core][:, :, None] - own[:, missing][:, None], axis=-1)
            assert away.min() > 2 * 900.0
    assert found.columns(0).count == found.columns(8).count == 1  # poles are around the corner from everywhere
    assert found.columns(4).count == 9
    total = np.zeros(of.shape)
    for tile in found.tiles():
        total[np.ix_(*found.evaluated(tile))] += found.weights(tile)
    assert_allclose(total, 1.0, rtol=1e-12)


def test_columns_are_cut_only_where_memory_does_not_hold_them():
    of = lattice(np.zeros((30, 40, 400)))
    cells, prior = float(np.prod(of.shape)), product(spec.Matern(1.5, 1.0), spec.Matern(1.5, 60.0), "sphere")
    for most, is_cut in ((cells, False), (0.5 * cells, False), (cells / 40, True)):
        limit = Limit(observations=most)
        found = planned(of, prior, limit=limit)
        assert (found.shape[2] > 1) == is_cut
        seen = max(np.prod([w.size for w in found.observed(tile)]) for tile in found.tiles())
        assert seen <= MOST_BEYOND * most


def globe(step=2.0, times=2):
    lat, lon = np.arange(-90.0 + step / 2, 90.0, step), np.arange(0.0, 360.0, step)
    coordinates = ref.chord(*np.meshgrid(lat, lon, indexing="ij"))
    return Lattice(None, np.arange(float(times)), Space(coordinates, "sphere", wraps=True))


def test_rows_are_seen_as_far_as_columns_where_it_is_known_how_far_observations_matter():
    of, prior = globe(), product(spec.Matern(1.5, 2.0), spec.Matern(1.5, 3000.0), "sphere")
    near = planned(of, prior, tile={"y": 10, "x": 20}, screening=(None, 700.0))
    assert near.columns(4).count == 9 and near.columns(4).halo == 4  # of 220 km
    assert near.rows_averaged == 4 - near.y.halo == 2
    assert planned(of, prior, tile={"y": 10}, screening=(None, 700.0)).rows_averaged is None  # then all is seen
    assert planned(of, prior, tile={"y": 10, "x": 20}).rows_averaged is None


def test_bands_grow_from_poles_where_all_columns_must_be_seen_and_each_is_cut_as_it_must_be():
    of, prior = globe(1.0, 30), product(spec.Matern(1.5, 2.0), spec.Matern(1.5, 3000.0), "sphere")
    sight, limit = Sight(of, prior, screening=(None, 400.0)), Limit(observations=1.3e5)
    found = plan_tiles(sight, tile="auto", limit=limit, observed_share=1.0)
    most = max(found.time.size * y.size * x.size for _, y, x in map(found.observed, found.tiles()))
    assert most <= 1.3e5 and len(found) < 200  # of all columns no more than eleven rows could be seen, halo included
    rows = np.diff(found.y.edges)
    assert rows[0] < rows[1] <= rows[len(rows) // 2] and rows[-1] == rows[0]
    counts = [found.columns(band).count for band in range(found.y.count)]
    assert counts[0] == 1 < counts[len(counts) // 2]
    total = np.zeros(of.shape)
    for tile in found.tiles():
        total[np.ix_(*found.evaluated(tile))] += found.weights(tile)
    assert_allclose(total, 1.0, rtol=1e-12)


def test_tiles_see_rows_no_farther_than_observations_matter_unless_a_halo_is_named():
    of, prior = globe(1.0, 30), product(spec.Matern(1.5, 2.0), spec.Matern(1.5, 1000.0), "sphere")
    near = Sight(of, prior, screening=(None, 400.0))
    y = near.axis(1, 6)
    assert y.halo > near.rows_seen == near.nearer(y).halo
    assert near.plan(1, y, [4], near=True).y.halo == near.rows_seen
    assert near.plan(1, y, [1], near=False).y == y
    named = Sight(of, prior, {"y": 9}, screening=(None, 400.0))
    assert named.plan(1, named.axis(1, 6), [4], near=True).y.halo == 9
    assert Sight(of, prior).nearer(y) == y  # it is not known how far they matter


@axis_property
@given(st.integers(1, 200), st.integers(1, 20), st.integers(0, 30), st.integers(0, 30))
def test_tapered_tiles_cover_the_axis_and_grow_from_its_ends(size, count, first, last):
    y = AxisTiles(size, min(size, count))
    found = tapered(y, first, last)
    cores = np.diff(found.edges)
    assert cores.sum() == size and (cores > 0).all() and cores.size == found.count
    if found is not y and first and first < 0.5 * size / y.count:
        assert cores[0] == first and cores[1] <= 2 * first + 1


def test_tiles_see_what_is_near_alone_where_that_saves_much_work():
    of, prior = globe(1.0, 30), product(spec.Matern(1.5, 2.0), spec.Matern(1.5, 1500.0), "sphere")
    limit = Limit(observations=8e5)
    far, near = planned(of, prior, limit=limit), planned(of, prior, limit=limit, screening=(None, 400.0))
    assert not far.bands and far.rows_averaged is None
    assert near.rows_averaged == 2 and len(near) < len(far)  # of four rows, the halo of two one by one
    assert max(np.prod([w.size for w in near.observed(tile)]) for tile in near.tiles()) <= 8e5


def test_halos_of_columns_are_as_many_as_it_takes_on_a_plane():
    of = lattice(np.zeros((3, 8, 40)), geometry="plane")
    prior = product(spec.Matern(1.5, 1.0), spec.Matern(1.5, 3.2 * of.space.steps[1]), "plane")
    found = planned(of, prior, tile={"x": 4, "y": 4})
    assert halos(found) == (7, 7)


def test_every_column_is_seen_where_they_may_be_averaged():
    of = lattice(np.zeros((30, 20, 24)))
    moved = of.space.coordinates + np.random.default_rng(0).normal(0, 20.0, of.space.coordinates.shape)
    bent = replace(of, space=replace(of.space, coordinates=moved))
    assert planned(bent, LOCAL, tile={"x": 6}).x.halo == 3


def test_a_number_for_all_halos_is_for_columns_as_well_where_those_beyond_are_averaged():
    of = lattice(np.zeros((30, 20, 24)))
    assert [a.halo for a in planned(of, LOCAL, tile={"x": 6, "time": 5}, halo=3, grow=True).axes] == [3, 0, 3]


def test_places_in_a_list_are_called_so_when_they_are_too_many():
    of = lattice(np.zeros((30, 400, 1)), geometry="plane")
    of = replace(of, space=replace(of.space, is_grid=False))
    with pytest.raises(TooManyPointsError, match=r"see \d+ × 400 times and places, .*Select fewer places, take"):
        planned(of, LOCAL, limit=Limit(observations=30))


def test_a_globe_has_tiles_that_wrap_in_longitude_only():
    assert [a.wraps for a in plan(tile={"x": 6}, wraps=True).axes] == [False, False, True]


def test_a_list_of_sites_is_split_in_time_only():
    of = lattice(np.zeros((300, 40, 1)), geometry="plane")
    of = replace(of, space=replace(of.space, is_grid=False))
    limit = Limit(observations=2000)
    found = planned(of, LOCAL, limit=limit)
    assert found.shape[0] > 1 and tuple(found.shape[1:]) == (1, 1)
    assert len(planned(of, LOCAL, tile={"time": 100, "y": 40}, limit=limit)) == 3
    with pytest.raises(DimensionError, match="cannot split a list of sites, whose order is not space; split time only"):
        planned(of, LOCAL, tile={"y": 10}, limit=limit)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tile": "large"}, r"tile='large': expected 'auto' or a mapping, e\.g\. `tile=\{'time': 20"),
        ({"tile": {"level": 3}}, r"Unknown axis 'level' in tile=\. Axes are 'time', 'y', 'x'"),
        ({"tile": {"time": 0}}, r"tile=\{'time': 0\}: expected an integer of at least 1"),
        ({"tile": {"time": 2.5}}, r"tile=\{'time': 2\.5\}: expected an integer of at least 1"),
        ({"tile": {"time": True}}, r"tile=\{'time': True\}: expected an integer of at least 1"),
        ({"halo": {"time": -1}}, r"halo=\{'time': -1\}: expected an integer of at least 0"),
        ({"halo": {"depth": 1}}, r"Unknown axis 'depth' in halo="),
        ({"halo": -1}, r"halo=-1: expected 'auto', a number of cells, or e\.g\. `halo=\{'time': 5\}`"),
        ({"halo": "wide"}, r"halo='wide': expected 'auto', a number of cells"),
        ({"halo": True}, r"halo=True: expected 'auto', a number of cells"),
        ({"halo": 1.5}, r"halo=1\.5: expected 'auto', a number of cells"),
    ],
)
def test_sizes_that_mean_nothing_say_what_to_type(arguments, message):
    with pytest.raises(DimensionError, match=message):
        plan(**{"tile": {"time": 10}} | arguments)


def test_every_kernel_can_be_planned_with():
    of_time = [product(kernel, spec.RBF(300.0)) for kernel in TIME_KERNELS.values()]
    of_space = [product(spec.RBF(3.0), kernel) for kernel in SPACE_KERNELS.values()]
    for prior in (*of_time, *of_space):
        found = plan(prior=prior, tile={"time": 10, "y": 10, "x": 6}, geometry="plane")
        assert all(0 <= a.halo <= a.size for a in found.axes), prior
