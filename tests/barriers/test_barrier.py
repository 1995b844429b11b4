"""Basins, the cells that places are in, and parts of blocks that are joined over water."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from xgpfill.barriers.barrier import Barrier
from xgpfill.grid.points import Observations, Points

from tests.barriers.seas import KM, afloat, barrier


def test_basins_are_of_cells_that_share_an_edge():
    land = barrier("..#. .#.. #...")
    np.testing.assert_array_equal(land.basin.reshape(3, 4) > 0, land.water)
    assert land.num_basins == 2  # the strip runs across corners and has no gap
    assert barrier("... ...").num_basins == 1
    assert (barrier("... ...").basin == 1).all()
    assert land.share == pytest.approx(3 / 12)


def test_basins_go_on_around_the_globe():
    text = "..#.. ..#.. ##### .#.#."
    assert barrier(text).num_basins == 5
    around = barrier(text, wraps=True)
    assert around.num_basins == 3
    assert around.basin[0] == around.basin[4] == around.basin[5] != around.basin[15] == around.basin[19]


def test_a_place_is_in_the_nearest_cell_of_water():
    land = barrier("..#. ..#.")
    places = KM * np.array([[0.1, 0.2], [1.8, 0.0], [2.2, 1.1], [9.0, 0.0]])
    np.testing.assert_array_equal(land.cells_at(places), [0, 1, 7, 3])
    np.testing.assert_array_equal(land.on_land(places), [False, True, True, False])


def test_only_land_bars():
    assert not barrier("... ...").bars
    assert barrier("..# ...").bars


def test_a_barrier_travels_and_is_saved_as_an_array():
    land = barrier("..#. ..#.", wraps=True)
    land.cells_at(land.places[0])
    for other in (pickle.loads(pickle.dumps(land)), Barrier.from_array(land.as_array())):
        np.testing.assert_array_equal(other.water, land.water)
        np.testing.assert_array_equal(other.places, land.places)
        assert other.wraps
    assert set(pickle.loads(pickle.dumps(land)).__dict__) == {"water", "places", "wraps"}


def block_of(points: Points) -> Observations:
    return Observations(points, np.arange(float(len(points))), np.ones(len(points)), field=2)


def test_a_block_is_cut_where_water_does_not_connect_it():
    land = barrier("...#... ...#... ...#... ...#... .......")
    points = afloat(np.random.default_rng(0), land, 150)
    block = block_of(points)
    assert land.parts_of(block) == [block]  # around the end of the strip
    upper = block.take(np.flatnonzero(land.cells_at(points.space) < 4 * 7))
    parts = land.parts_of(upper)
    assert sum(map(len, parts)) == len(upper)
    west, east = (part.points.space[:, 0] < 3 * KM for part in parts)
    assert west.all() and not east.any()
    assert {part.field for part in parts} == {2}


def test_basins_are_parts_also_around_the_globe():
    land = barrier("..#..#. ..#..#. ..#..#.", wraps=True)
    points = afloat(np.random.default_rng(0), land, 150)
    parts = land.parts_of(block_of(points))
    assert [len(np.unique(land.basin[land.cells_at(part.points.space)])) for part in parts] == [1, 1]
    assert sum(map(len, parts)) == 150


def test_a_block_of_open_water_stays_what_it_is():
    land = barrier("....# ....# ....#")
    block = block_of(afloat(np.random.default_rng(1), land, 40))
    assert land.parts_of(block) == [block]
