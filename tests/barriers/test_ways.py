"""Which cells are joined over water, against shortest ways by scipy and lines that are drawn by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import lil_array
from scipy.sparse.csgraph import shortest_path
from xgpfill.barriers.ways import DETOUR, is_clear

from tests.barriers.seas import KM, barrier


def clear(text: str, *, wraps: bool = False) -> bool:
    """Whether the line from A to B is clear."""
    land = barrier(text, wraps=wraps)
    letters = "".join(text.split())
    found = {
        is_clear(land.water, a, b, wraps) for a, b in ((letters.index(p), letters.index(q)) for p, q in ("AB", "BA"))
    }
    assert len(found) == 1  # the same both ways
    return found.pop()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A...B", True),
        ("A.#.B", False),
        ("A#. ..B", True),  # one of the cells at a corner is water
        ("A# #B", False),  # none is: a strip of land has no gap there
        ("A.... ..#.. ....B", False),
        ("A.... ...#. ....B", True),
        ("#.B.# #...# #.A.#", True),
        ("..#B .#.. A...", False),
    ],
)
def test_a_line_is_clear_where_it_meets_no_land(text, expected):
    assert clear(text) is expected


def test_a_line_takes_the_short_way_around_the_globe():
    assert clear(".A.#.B. .......", wraps=True)
    assert not clear(".A.#.B. .......", wraps=False)
    assert not clear("#A...B. .......", wraps=True) or clear("#A...B. .......")


def steps_between(land, wraps):
    """Lengths of the shortest ways over water between all cells, by scipy, in steps to the eight cells around."""
    rows, columns = land.water.shape
    graph = lil_array((rows * columns,) * 2)
    places = land.places.reshape(rows * columns, -1)
    for y, x in np.argwhere(land.water):
        for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
            below, beside = y + dy, x + dx
            if below >= rows or (not wraps and not 0 <= beside < columns):
                continue
            beside %= columns
            corner = dy and dx and not (land.water[y, beside] or land.water[below, x])
            if land.water[below, beside] and not corner:
                a, b = y * columns + x, below * columns + beside
                graph[a, b] = graph[b, a] = np.linalg.norm(places[a] - places[b])
    return shortest_path(graph.tocsr(), directed=False)


@pytest.mark.parametrize("share", [0.15, 0.35, 0.5])
def test_places_are_joined_by_a_clear_line_or_by_a_way_that_is_hardly_longer(share):
    rng = np.random.default_rng(round(100 * share))
    land = barrier(" ".join("".join(".#"[int(v)] for v in row) for row in rng.random((12, 15)) < share))
    cells = np.flatnonzero(land.water)
    found = land.joins(cells, np.broadcast_to(cells, (cells.size, cells.size)))
    length = steps_between(land, wraps=False)[np.ix_(cells, cells)]
    places = land.places.reshape(-1, 2)[cells]
    straight = np.linalg.norm(places[:, None] - places, axis=-1)
    line = np.array([[is_clear(land.water, a, b, False) for b in cells] for a in cells])
    np.testing.assert_array_equal(found, np.isfinite(length) & (line | (length <= DETOUR * straight * (1 + 1e-12))))
    np.testing.assert_array_equal(found, found.T)
    assert (length[line] <= 1.09 * straight[line] + 3 * KM).all()  # a clear line is a way, but for corners
    assert 0 < found.mean() < 1


def test_ways_are_looked_for_among_the_nearest_cells_alone():
    rows = ["." * 120] * 101
    rows[48:53] = ["." * 60 + "#" + "." * 59] * 5
    land = barrier(" ".join(rows))
    middle = 50 * 120 + 60
    found = land.joins(middle - np.array([5, 15, 55]), middle + np.array([[5], [15], [55]]))[:, 0]
    np.testing.assert_array_equal(found, [True, True, False])  # the last way has more than 4,096 cells before it


def test_numbers_below_zero_and_other_basins_are_joined_with_nothing():
    land = barrier("..#.. ..#..")
    assert land.num_basins == 2
    np.testing.assert_array_equal(land.joins(np.array([0, 3]), np.array([[1, -1, 3], [4, -1, 0]])), [[1, 0, 0]] * 2)
