"""The observations most correlated with a cell of a lattice, found by walking outward in the order of correlation.

For every row the lags of largest prior covariance are sorted once, under the full sum of terms. A search follows them
until it has met enough observations. In a wide gap, where the walk ends before, a second one goes by blocks of cells;
and where observations are few, those of the first places in the (random) order are tried one by one: far ones matter
through the slow terms alone, for which a sample is as good.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

import numpy as np

from xgpfill.machine.compiled import plain
from xgpfill.machine.threads import in_parts, on_threads
from xgpfill.vecchia.loops import Noisy, search
from xgpfill.vecchia.walks import Map, Walks

if TYPE_CHECKING:
    from xgpfill.arrays import FloatArray, Int32Array, IntArray
    from xgpfill.operators.tables import Arrays, Tables

WALK = 1024
"""Lags in a walk, each of which is up to four cells."""
BLOCK = 4
"""Rows and columns of a block of cells."""
NEGLIGIBLE = 1e-6
"""Share of the variance below which a covariance is not walked to."""
MOST_LAGS = 2**24
"""Of all rows together; where there are many rows, walks are shorter."""


class Neighbours:
    """Observations on a lattice in a random order, and how their neighbours are found.

    Parameters
    ----------
    tables : Tables
    cells : int32 array (n, 3)
    noise : array (n,)
    seed : int
        Of the order.

    Attributes
    ----------
    order : int array (n,)
        Which observation each place of the order holds.
    noisy : Noisy
        The observations in that order.
    """

    looks_around = True
    """Whether cells are conditioned on some observations far away on all sides, beside the nearest ones."""

    def __init__(self, tables: Tables, cells: Int32Array, noise: FloatArray, *, seed: int = 0) -> None:
        self.tables = tables
        self.order: IntArray = np.random.default_rng(seed).permutation(len(cells))
        ordered = np.ascontiguousarray(cells[self.order])
        maps = fine_map(tables, ordered), coarse_map(tables, ordered)
        noisy = Noisy(tables.arrays, *maps, ordered, np.ascontiguousarray(noise[self.order]))
        self.noisy: Noisy = plain(noisy)

    def under(self, tables: Tables) -> Neighbours:
        """The same observations in the same order, whose neighbours are those under another covariance."""
        found, maps = copy(self), (fine_map(tables, self.noisy[3]), coarse_map(tables, self.noisy[3]))
        found.tables, found.noisy = tables, plain(Noisy(tables.arrays, *maps, *self.noisy[3:]))
        return found

    def by_place(self, first: int = 0) -> Int32Array:
        """Places of the order from `first` on, those of one row of the lattice together, then those of one column.

        Neighbours in this sequence read the same parts of the tables.
        """
        time, row, column = self.noisy[3][first:].T
        return (first + np.lexsort((time, column, row))).astype(np.int32)

    def predecessors(self, lines: Int32Array, count: int, first: int = 0) -> tuple[Int32Array, Int32Array]:  # noqa: ARG002
        """Nothing: those of a lattice are searched where they are used."""
        return np.zeros((0, 0), np.int32), np.zeros(0, np.int32)

    def search(
        self,
        cells: Int32Array,
        middle: Int32Array,
        prefixes: IntArray,
        counts: IntArray,
        near: Int32Array,
        sizes: Int32Array,
    ) -> None:
        """The observations most correlated with groups of cells; see :func:`xgpfill.vecchia.loops.search`."""
        in_parts(lambda a, b: search(self.noisy, middle, cells, prefixes, counts, a, b, near, sizes), len(middle), 64)


def fine_map(tables: Tables, cells: Int32Array) -> Map:
    """A map of cells (n, 3)."""
    return _mapped(cells, tables.shape, walks(tables.arrays, tables.shape), 1)


def coarse_map(tables: Tables, cells: Int32Array) -> Map:
    """A map of blocks; without any where a lattice has too few columns, or no block divides the globe."""
    arrays, (nt, rows, columns) = tables.arrays, tables.shape
    block = _usable_block(arrays, columns)
    if not block:
        none = np.zeros((1, 0, 3), np.int32)
        return Map(Walks(none, np.zeros(1, np.int32)), np.zeros((0, 0, 0), np.int32), np.zeros(0, np.int32), 0)
    shape = nt, -(-rows // block), -(-columns // block)
    middle = np.minimum(np.arange(shape[1]) * block + block // 2, rows - 1)
    thinned = arrays._replace(
        space=arrays.space[:, middle][:, :, middle, ::block] if arrays.space.size else arrays.space,
        static=arrays.static[middle][:, middle, ::block] if arrays.static.size else arrays.static,
        turn=arrays.turn // block,
    )
    return _mapped(cells // np.array([1, block, block], np.int32), shape, walks(thinned, shape), block)


def _usable_block(arrays: Arrays, columns: int) -> int:
    """Rows and columns of a block; 0 for none."""
    sizes = [b for b in (BLOCK, BLOCK - 1, BLOCK + 1, BLOCK - 2) if not arrays.turn % b and columns >= 2 * b]
    return sizes[0] if sizes and (arrays.space.size or arrays.static.size) else 0


def _mapped(blocks: Int32Array, shape: tuple[int, int, int], walks: Walks, block: int) -> Map:
    n = len(blocks)
    first, following = np.full(shape, n, np.int32), np.full(n, n, np.int32)
    flat = np.ravel_multi_index(tuple(blocks.T.astype(np.intp)), shape)
    by_block = np.argsort(flat, kind="stable")
    same = flat[by_block[1:]] == flat[by_block[:-1]]
    following[by_block[:-1][same]] = by_block[1:][same]
    head = by_block[np.append(True, ~same)] if n else by_block
    first.reshape(-1)[flat[head]] = head
    return Map(walks, first, following, block)


def walks(arrays: Arrays, shape: tuple[int, int, int]) -> Walks:
    """Sort the lags of every row by the covariance they have."""
    nt, rows, _ = shape
    if not arrays.space.size and not arrays.static.size:  # the same everywhere: own site, and others for a common term
        near = [(0, 0)] + ([(dy, dx) for dy in range(-2, 3) for dx in range(3) if (dy, dx) != (0, 0)])
        near = near if arrays.common.size else near[:1]
        strength = np.zeros((nt, len(near)))
        for table, where in ((arrays.common, slice(None)), (arrays.alone, slice(0, 1))):
            if table.size:
                strength[:, where] += np.abs(_lagged(table))[:, None]
        return _packed([_sorted(strength, np.arange(nt), np.array(near), WALK)])
    count = min(WALK, max(64, MOST_LAGS // rows))
    found: list[Int32Array] = [np.empty((0, 3), np.int32)] * rows
    in_time = [_lagged(table) for table in arrays.time]
    common, alone = (_lagged(table) if table.size else np.zeros(nt) for table in (arrays.common, arrays.alone))

    def work(start: int, stop: int) -> None:
        level = 0.0  # rows follow each other: what the last one left out need not be sorted
        for row in range(start, stop):
            terms = [(t, s[row]) for t, s in zip(in_time, arrays.space, strict=True)]
            if arrays.static.size:
                terms.append((np.ones(nt), arrays.static[row]))
            found[row], level = _walk(terms, common, alone, row, count, level)

    on_threads(work, rows, least=16)
    return _packed(found)


def _walk(
    terms: list[tuple[FloatArray, FloatArray]],
    everywhere: FloatArray,
    here: FloatArray,
    row: int,
    count: int,
    level: float,
) -> tuple[Int32Array, float]:
    """The walk of one row, from its terms (lags in time, table of rows and columns), and the least covariance at hand.

    `everywhere` and `here` are covariances by lag in time of all sites and of the same one.

    Lags in space whose covariance is below three quarters of `level` are not looked at where others suffice.
    """
    budget = 4 * count
    in_time = np.abs(sum(t * s[row, 0] for t, s in terms) + everywhere + here)
    in_space = sum(t[0] * s for t, s in terms) + everywhere[0]
    in_space[row, 0] = in_time[0]
    in_space = np.abs(in_space).ravel()
    if not 0.0 < in_space.max() < np.inf:  # nothing is correlated, or NaN: factors will tell
        return np.zeros((0, 3), np.int32), 0.0
    near = np.flatnonzero(in_space >= 0.75 * level)
    near = near if near.size >= budget else np.arange(in_space.size)
    near = near[np.argsort(-in_space[near])[:budget]]
    times, places = _extent(np.argsort(-in_time), in_time, near, in_space, budget)
    y, x = np.divmod(places, terms[0][1].shape[1])
    strength = sum(t[times, None] * s[y, x] for t, s in terms) + everywhere[times, None]
    strength[:, (y == row) & (x == 0)] += here[times, None]
    return _sorted(np.abs(strength), times, np.stack([y - row, x], axis=1), count), float(in_space[near[-1]])


def _extent(
    times: IntArray, in_time: FloatArray, places: IntArray, in_space: FloatArray, budget: int
) -> tuple[IntArray, IntArray]:
    """The sorted lags of time and of space that have covariances above a level, the lowest with a number in budget.

    A covariance of both lags is at most that of either where none is negative, so none above the level is missed.
    """
    times = times[in_time[times] > NEGLIGIBLE * in_time[times[0]]]
    places = places[in_space[places] > NEGLIGIBLE * in_space[places[0]]]
    beside = np.searchsorted(-in_time[times], -in_space[places], side="right").clip(1)  # times above each place's level
    inside = np.flatnonzero(beside * np.arange(1, places.size + 1) <= budget)
    num_places = int(inside[-1]) + 1 if inside.size else 1
    num_times = int(beside[num_places - 1])
    if num_places == places.size:  # few places: as many times as there may be
        num_times = max(num_times, budget // num_places)
    return times[:num_times], places[:num_places]


def _sorted(strength: FloatArray, times: IntArray, places: IntArray, count: int) -> Int32Array:
    """Lags (n, 3) by falling strength (times, places)."""
    flat = strength.ravel()
    order = np.argsort(-flat, kind="stable")[:count]
    order = order[flat[order] > NEGLIGIBLE * flat.max()]
    t, p = np.divmod(order, len(places))
    return np.column_stack([times[t], places[p]]).astype(np.int32)


def _lagged(table: FloatArray) -> FloatArray:
    """Covariances in time by lag; the largest at each number of steps where they are by pair."""
    if table.shape[0] == 1:
        first: FloatArray = table[0]
        return first
    return np.asarray([np.abs(np.diagonal(table, k)).max() for k in range(table.shape[0])])


def _packed(found: list[Int32Array]) -> Walks:
    lags = np.zeros((len(found), max(len(walk) for walk in found), 3), np.int32)
    for row, walk in enumerate(found):
        lags[row, : len(walk)] = walk
    return Walks(lags, np.array([len(walk) for walk in found], np.int32))
