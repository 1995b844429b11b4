"""Arrays without labels: windows that wrap, spacing, members, and what a lazy array is spared."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from xgpfill.grid.lattice import Lattice, Space, take
from xgpfill.grid.points import Observations, Points

from tests.strategies import quick


def plane(ny: int, nx: int, dy: float = 1.0, dx: float = 1.0) -> Space:
    y, x = np.meshgrid(dy * np.arange(ny), dx * np.arange(nx), indexing="ij")
    return Space(np.stack([x, y], axis=-1), "plane")


def lattice(shape: tuple[int, ...] = (3, 4, 5), **fields) -> Lattice:
    values = np.arange(float(np.prod(shape))).reshape(shape)
    *extra, nt, ny, nx = shape
    return Lattice(values, np.arange(float(nt)), plane(ny, nx), extra_shape=tuple(extra), **fields)


# Space and time


def test_steps_and_extent_are_distances() -> None:
    space = plane(3, 5, dy=2.0, dx=10.0)
    assert space.shape == (3, 5)
    assert space.size == 15
    assert space.steps == (2.0, 10.0)
    assert space.extent == 40.0


def test_an_axis_of_one_cell_has_no_step() -> None:
    assert plane(1, 4).steps == (0.0, 1.0)
    assert plane(1, 1).extent == 0.0


def test_the_shape_is_time_y_x_without_members() -> None:
    assert lattice((2, 6, 3, 4, 5)).shape == (3, 4, 5)
    assert list(lattice((2, 2, 3, 4, 5)).members()) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert list(lattice().members()) == [()]


def test_the_time_step_is_the_median_and_one_day_for_a_single_time() -> None:
    space = plane(1, 1)
    assert Lattice(None, np.array([0.0, 1.0, 2.0, 30.0]), space).time_step == 1.0
    assert Lattice(None, np.array([0.0, 1.0, 2.0, 30.0]), space).time_extent == 30.0
    assert Lattice(None, np.zeros(1), space).time_step == 1.0
    assert Lattice(None, np.zeros(1), space).time_extent == 0.0


def test_the_time_step_of_falling_times_is_a_length() -> None:
    assert Lattice(None, np.array([3.0, 2.0, 1.0, 0.0]), plane(1, 1)).time_step == 1.0


def test_only_dask_is_lazy() -> None:
    assert not lattice().is_lazy
    assert Lattice(dask.array.zeros((3, 4, 5)), np.arange(3.0), plane(4, 5)).is_lazy


# Windows


@quick
@given(st.lists(st.integers(0, 6), max_size=9), st.sampled_from((0, 1)))
def test_take_is_numpy_take_for_any_indices(indices: list[int], axis: int) -> None:
    array = np.arange(49).reshape(7, 7)
    index = np.array(indices, dtype=np.intp)
    assert_array_equal(take(array, index, axis), np.take(array, index, axis))


@pytest.mark.parametrize("indices", [range(2, 6), [5, 6, 0, 1], [3], [6, 2, 4, 0], []])
def test_take_keeps_dask_lazy_and_agrees_with_numpy(indices) -> None:
    array = np.arange(49).reshape(7, 7)
    index = np.array(list(indices), dtype=np.intp)
    lazy = take(dask.array.from_array(array, chunks=3), index, 1)
    assert isinstance(lazy, dask.array.Array)
    assert_array_equal(lazy.compute(scheduler="sync"), np.take(array, index, 1))


def test_take_along_a_run_does_not_copy() -> None:
    array = np.zeros((4, 5))
    assert np.shares_memory(take(array, np.arange(1, 4), 1), array)


def test_a_window_wraps_in_longitude() -> None:
    grid = lattice((2, 3, 4, 5))
    window = (np.arange(1, 3), np.arange(4), np.array([3, 4, 0, 1]))
    assert_array_equal(grid.window(grid.values, (1,), window), grid.values[1, 1:3][..., [3, 4, 0, 1]])


def test_axes_of_length_one_broadcast_through_a_window() -> None:
    grid = lattice((2, 3, 4, 5))
    window = (np.arange(1, 3), np.arange(2), np.array([4, 0]))
    valid = np.arange(20).reshape(1, 1, 4, 5)
    assert_array_equal(grid.window(valid, (1,), window), valid[0][:, :2][..., [4, 0]])
    everywhere = np.ones((1, 1, 1, 1))
    assert grid.window(everywhere, (1,), window).shape == (1, 1, 1)


def test_a_window_of_an_axis_with_one_cell_can_be_empty() -> None:
    grid = lattice((1, 4, 5))
    window = (np.arange(0), np.arange(4), np.arange(5))
    assert grid.window(grid.values, (), window).shape == (0, 4, 5)


# Points


@quick
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=12))
def test_scattered_points_share_axes_and_keep_their_order_and_repeats(pairs: list[tuple[int, int]]) -> None:
    time, x = np.transpose(pairs).astype(float)
    points = Points.scattered(time, np.stack([x, -x], axis=-1))
    assert len(points) == len(pairs)
    assert points.times.size == len(set(time))
    assert len(points.sites) == len(set(x))
    assert_array_equal(points.time, time)
    assert_array_equal(points.space, np.stack([x, -x], axis=-1))


def test_a_grid_of_points_has_time_outermost() -> None:
    points = Points.grid(np.array([0.0, 1.0]), np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]]))
    assert points.is_grid
    assert_array_equal(points.time, [0, 0, 0, 1, 1, 1])
    assert_array_equal(points.space[:3], points.space[3:])


def test_taken_points_drop_the_axis_values_they_do_not_use() -> None:
    points = Points.grid(np.arange(3.0), np.arange(8.0).reshape(4, 2))
    index = np.array([5, 11, 5])
    some = points.take(index)
    assert not some.is_grid
    assert (some.times.size, len(some.sites)) == (2, 2)
    assert_allclose(some.time, points.time[index])
    assert_allclose(some.space, points.space[index])


def test_taken_observations_keep_values_and_noise_with_their_points() -> None:
    points = Points.grid(np.arange(2.0), np.arange(6.0).reshape(3, 2))
    observations = Observations(points, np.arange(6.0), 0.1 * np.arange(1, 7))
    some = observations.take(np.array([4, 0]))
    assert len(some) == 2
    assert_array_equal(some.values, [4, 0])
    assert_allclose(some.noise, [0.5, 0.1])
    assert_array_equal(some.points.time, [1, 0])
    assert some.columns.shape == (2, 1)
    assert some.with_values(np.zeros((2, 3))).columns.shape == (2, 3)
