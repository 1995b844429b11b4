"""Blocks to learn from: true to the data, of the right size and shape, read from few chunks when data are lazy."""

from __future__ import annotations

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from xgpfill.errors import DataError
from xgpfill.learning.blocks import (
    BlockPlan,
    all_values,
    distinct,
    draw_blocks,
    draw_samples,
    merged,
    nearest_known,
    observed_share,
    one_field,
    read_window,
    whole,
)

from tests.problems import lattice

SMALL = BlockPlan(compact=12, scattered=4, size=40)


def gappy(shape, *, share=0.5, seed=0):
    """Values that are all different, hidden by chance."""
    rng = np.random.default_rng(seed)
    values = rng.permutation(int(np.prod(shape))).reshape(shape).astype(float)
    return np.where(rng.random(shape) < share, values, np.nan)


def assert_true_to(of, blocks):
    """Every value of a block lies in the data at the very time and place that the block says."""
    sites = of.space.coordinates.reshape(of.space.size, -1)
    for block in blocks:
        t = np.searchsorted(of.time, block.points.time)
        s = np.argmin(np.linalg.norm(block.points.space[:, None] - sites, axis=-1), axis=1)
        assert_allclose(sites[s], block.points.space, atol=1e-9)
        found = np.asarray(of.values).reshape(-1, of.time.size, of.space.size)[:, t, s]
        assert (found == block.values).any(axis=0).all()


# One window


def test_a_window_holds_its_observed_cells_with_their_days_and_km():
    of = lattice(gappy((5, 4, 6)))
    window = np.array([1, 2, 4]), np.array([0, 2]), np.array([5, 0, 1])
    block = read_window(of, (), window)
    assert len(block) == np.isfinite(of.values[np.ix_(*window)]).sum()
    assert_array_equal(np.sort(block.values), np.sort(all_values([block])))
    assert_true_to(of, [block])
    assert_allclose(block.noise, 1.0)


def test_a_window_leaves_out_cells_that_are_not_valid():
    valid = np.random.default_rng(1).random((1, 4, 6)) < 0.5
    of = lattice(gappy((5, 4, 6), share=0.7), valid=valid)
    block = read_window(of, (), whole(of))
    expected = of.values[np.isfinite(of.values) & valid]
    assert_array_equal(block.values, expected)


@pytest.mark.parametrize("shape", [(5, 4, 6), (1, 4, 6), (5, 1, 1), (1, 1, 1)])
def test_the_noise_of_a_window_is_the_square_of_the_standard_errors(shape):
    errors = np.random.default_rng(2).uniform(0.1, 2.0, shape)
    of = lattice(gappy((5, 4, 6)), errors=errors)
    window = np.array([1, 3]), np.array([2, 3]), np.array([0, 4, 5])
    block = read_window(of, (), window)
    everywhere = np.broadcast_to(errors, (5, 4, 6))[np.ix_(*window)]
    assert_allclose(block.noise, everywhere[np.isfinite(of.values[np.ix_(*window)])] ** 2)


def test_a_window_of_one_member_holds_that_member():
    of = lattice(gappy((2, 3, 5, 4, 6)))
    for member in of.members():
        part = of.values[member]
        assert_array_equal(read_window(of, member, whole(of)).values, part[np.isfinite(part)])


@pytest.mark.parametrize("bad", [np.inf, -np.inf])
def test_an_infinite_value_is_reported_with_its_time_steps_and_the_cure(bad):
    values = gappy((9, 4, 6))
    values[5, 1, 2] = bad
    of = lattice(values)
    with pytest.raises(DataError, match=r"infinite value at time step 5.*da\.where\(np\.isfinite\(da\)\)"):
        read_window(of, (), (np.arange(4, 7), np.arange(4), np.arange(6)))
    read_window(of, (), (np.arange(6, 9), np.arange(4), np.arange(6)))
    values[7:, 0, 0] = bad
    with pytest.raises(DataError, match=r"infinite value within time steps 5 to 7\. Make"):
        read_window(lattice(values), (), (np.arange(4, 8), np.arange(4), np.arange(6)))


# Blocks


def test_few_observations_are_one_block_of_all_for_each_field():
    of = lattice(gappy((2, 5, 4, 6)))
    blocks = draw_blocks(of, SMALL, seed=0)
    assert len(blocks) == 2
    assert_array_equal(np.sort(all_values(blocks)), np.sort(of.values[np.isfinite(of.values)]))


def test_many_observations_give_the_planned_blocks_of_at_most_the_planned_size():
    of = lattice(gappy((30, 15, 20)))
    blocks = draw_blocks(of, SMALL, seed=0)
    assert len(blocks) == 16
    assert all(SMALL.size == len(block) for block in blocks)
    assert all(np.unique(block.values).size == len(block) for block in blocks)
    assert_true_to(of, blocks)


def test_the_same_seed_gives_the_same_blocks_and_another_gives_others():
    of = lattice(gappy((30, 15, 20)))
    first, again, other = (all_values(draw_blocks(of, SMALL, seed)) for seed in (1, 1, 2))
    assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_compact_blocks_are_closer_together_than_scattered_ones_and_of_three_shapes():
    of = lattice(gappy((60, 30, 30), share=0.9))
    blocks = draw_blocks(of, replace(SMALL, compact=6), seed=0)
    days = np.array([np.ptp(b.points.time) for b in blocks])
    km = np.array([np.ptp(b.points.space, axis=0).max() for b in blocks])
    assert km[:6].max() < 0.5 * km[6:].min()
    assert days[:6].max() < days[6:].min()
    wide, long = [0, 3], [2, 5]
    assert days[wide].max() < days[long].min() and km[long].max() < km[wide].min()


def test_every_field_has_its_chance():
    of = lattice(gappy((3, 30, 15, 20)))
    chosen = {
        m for block in draw_blocks(of, SMALL, seed=0) for m in range(3) if np.isin(block.values, of.values[m]).all()
    }
    assert chosen == {0, 1, 2}


@pytest.mark.parametrize("shape", [(1, 60, 60), (4000, 1, 1), (1, 1, 4000), (600, 1, 6), (2, 2, 2000)])
def test_a_lattice_that_is_flat_along_some_axes_has_blocks_too(shape):
    of = lattice(gappy(shape, share=0.4), spacing=0.02)
    blocks = draw_blocks(of, SMALL, seed=0)
    assert len(blocks) == 16
    assert all(SMALL.size == len(block) for block in blocks)
    assert_true_to(of, blocks)


def test_a_list_of_sites_has_blocks_of_near_sites():
    rng = np.random.default_rng(3)
    of = lattice(gappy((30, 200, 1), share=0.6), geometry="plane")
    sites = rng.uniform(0, 1000, (200, 1, 2))
    of = replace(of, space=replace(of.space, coordinates=sites, is_grid=False))
    blocks = draw_blocks(of, replace(SMALL, compact=3), seed=0)
    assert_true_to(of, blocks)
    km = [np.ptp(b.points.space, axis=0).max() for b in blocks]
    assert max(km[:2]) < 700 < min(km[3:])


def test_sparse_observations_are_gathered_from_a_wider_window():
    of = lattice(gappy((200, 20, 20), share=0.01))
    blocks = draw_blocks(of, SMALL, seed=0)
    assert all(len(block) == SMALL.size for block in blocks)


def test_a_lattice_without_observations_has_no_blocks():
    assert draw_blocks(lattice(np.full((3, 4, 5), np.nan)), SMALL, seed=0) == []
    assert draw_blocks(lattice(np.full((200, 10, 10), np.nan)), BlockPlan(size=1), seed=0) == []


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 30), st.integers(1, 12), st.integers(1, 12)),
    share=st.floats(0, 1),
)
def test_any_lattice_gives_blocks_that_are_true_to_it(seed, shape, share):
    of = lattice(gappy(shape, share=share, seed=seed), spacing=0.1)
    blocks = draw_blocks(of, BlockPlan(compact=3, scattered=1, size=10), seed=seed)
    assert_true_to(of, blocks)
    count = int(np.isfinite(of.values).sum())
    assert sum(map(len, blocks)) == count if count <= 40 else len(blocks) >= 1


# Lazy data


def counted(values, chunks):
    """The values as a dask array, and the list of the chunks that were computed."""
    read = []

    def note(block, block_info=None):
        read.append(block_info[0]["chunk-location"])
        return block

    return da.from_array(values, chunks=chunks).map_blocks(note, dtype=values.dtype, meta=values[:0, :0, :0]), read


def test_lazy_data_give_true_blocks_and_only_some_chunks_are_read():
    values = gappy((200, 30, 30))
    lazy, read = counted(values, (5, 30, 30))
    of = lattice(lazy)
    blocks = draw_blocks(of, BlockPlan(compact=2, scattered=1, size=40), seed=0)
    assert len(set(read)) < 0.75 * lazy.npartitions
    assert_true_to(lattice(values), blocks)


def test_planning_reads_nothing():
    lazy, read = counted(gappy((200, 10, 10)), (5, 10, 10))
    of = lattice(lazy)
    assert of.is_lazy and of.shape == (200, 10, 10)
    assert read == []


@pytest.mark.parametrize("lazy", [False, True])
def test_the_observed_share_is_that_of_the_data(lazy):
    values = gappy((60, 20, 20), share=0.3)
    of = lattice(da.from_array(values, chunks=(10, 10, 10)) if lazy else values)
    assert observed_share(of, 0) == pytest.approx(np.isfinite(values).mean(), rel=0.05 if lazy else 1e-12)


# Samples


@pytest.mark.parametrize("lazy", [False, True])
def test_a_sample_has_at_most_the_asked_size_and_comes_from_everywhere(lazy):
    values = gappy((2, 40, 20, 20))
    of = lattice(da.from_array(values, chunks=(1, 10, 10, 10)) if lazy else values)
    sample = merged(draw_samples(of, 501, seed=0))
    assert 500 <= len(sample) <= 502
    assert_true_to(lattice(values), [sample])
    for member in range(2):
        assert np.isin(sample.values, values[member]).sum() > 200
    assert np.ptp(sample.points.time) > 30


def test_merged_keeps_values_noise_places_and_their_order():
    of = lattice(gappy((6, 4, 6)), errors=np.random.default_rng(1).uniform(0.1, 2, (6, 4, 6)))
    pieces = [read_window(of, (), (np.arange(i, i + 2), np.arange(4), np.arange(6))) for i in (0, 2, 4)]
    together, everything = merged(pieces), read_window(of, (), whole(of))
    assert_array_equal(together.values, everything.values)
    assert_array_equal(together.noise, everything.noise)
    assert_allclose(together.points.time, everything.points.time)
    assert_allclose(together.points.space, everything.points.space)


# Errors that are not known everywhere


def test_an_unknown_error_is_that_of_the_nearest_cell_with_a_known_one():
    errors = np.array([[0.1, np.nan, np.nan, np.nan, 0.5], [np.nan, np.nan, 0.0, -1.0, np.nan]])
    found = nearest_known(errors, 9.0)
    assert_allclose(found[0, [0, 1, 3, 4]], [0.1, 0.1, 0.5, 0.5])
    assert_allclose(found[1, [0, 4]], [0.1, 0.5])
    assert np.isin(found, [0.1, 0.5]).all()


def test_errors_that_are_all_known_stay_and_those_that_are_all_unknown_are_a_typical_one():
    known = np.array([[0.1, 0.2]])
    assert_array_equal(nearest_known(known, 9.0), known)
    assert_array_equal(nearest_known(np.full((2, 2), np.nan), 9.0), np.full((2, 2), 9.0))


# One field


def test_blocks_that_overlap_are_put_together_with_each_cell_once():
    of = lattice(gappy((5, 6, 7)))
    everything = read_window(of, (), whole(of))
    n = len(everything)
    found = distinct([everything.take(np.arange(0, 2 * n // 3)), everything.take(np.arange(n // 3, n))])
    assert_array_equal(np.sort(found.values), np.sort(everything.values))
    assert_true_to(of, [found])


def test_one_field_of_several_keeps_what_is_known_of_it():
    values, rng = gappy((2, 3, 4, 5, 6)), np.random.default_rng(0)
    errors, valid = rng.uniform(1, 2, values.shape), rng.random((1, 3, 1, 5, 6)) < 0.9
    found = one_field(lattice(values, errors=errors, valid=valid), (1, 2))
    assert (found.extra_shape, found.shape) == ((), (4, 5, 6))
    assert_array_equal(found.values, values[1, 2])
    assert_array_equal(found.errors, errors[1, 2])
    assert_array_equal(found.valid, valid[0, 2])
    alone = lattice(values[0, 0])
    assert one_field(alone, ()).values is alone.values
