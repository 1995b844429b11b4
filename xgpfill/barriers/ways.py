"""Whether cells of a grid are joined over water: a clear line between them, or a way that is hardly longer. Compiled.

A step goes to one of the eight cells around, to those across a corner only where water is beside it: a strip of land
one cell wide has no gaps, however it runs.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.linalg.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.points import Int32Array, IntArray

    Mask = NDArray[np.bool_]

DETOUR = 1.5
"""A way over water may be so many times as long as the straight line."""
MOST_CELLS = 4096
"""Cells nearest over water to a place among which its ways are looked for."""


@compiled
def is_clear(water: Mask, a: int, b: int, wraps: bool) -> bool:
    """Whether the straight line in rows and columns from cell `a` to cell `b`, both of water, crosses no land."""
    if a > b:  # the same both ways
        a, b = b, a
    columns = water.shape[1]
    y, x = divmod(a, columns)
    down, right = b // columns - y, b % columns - x
    if wraps and 2 * abs(right) > columns:
        right -= columns if right > 0 else -columns
    steps = max(abs(down), abs(right))
    row, column = y, x
    for s in range(1, steps + 1):
        below = y + (2 * down * s + steps) // (2 * steps)  # rounded
        beside = (x + (2 * right * s + steps) // (2 * steps)) % columns
        if not water[below, beside]:
            return False
        if below != row and beside != column and not (water[row, beside] or water[below, column]):
            return False
        row, column = below, beside
    return True


@compiled
def joined(
    water: Mask,
    places: FloatArray,
    wraps: bool,
    basin: Int32Array,
    own: IntArray,
    others: Any,
    sequence: IntArray,
    start: int,
    stop: int,
    found: Mask,
) -> None:
    """Whether each cell of `own` (n,) is joined over water with each of `others` (n, k), into `found` (n, k).

    Rows are those of `sequence[start:stop]`, in which those of one cell follow each other: from each cell ways are
    looked for once (Dijkstra 1959), as far as they are asked for. `places` (cells, d) says where cells are, `basin`
    (cells,) which water they are of. Others below zero are joined with nothing.
    """
    length, done = np.full(water.size, np.inf), np.zeros(water.size, np.bool_)
    touched, counts = np.empty(9 * MOST_CELLS + 9, np.int64), np.zeros(2, np.int64)
    source, heap = -1, [(0.0, 0)]
    for i in range(start, stop):
        line = sequence[i]
        a = own[line]
        for k in range(others.shape[1]):
            b = others[line, k]
            if b < 0 or basin[a] != basin[b]:
                found[line, k] = False
                continue
            if a == b or is_clear(water, a, b, wraps):
                found[line, k] = True
                continue
            if source != a:
                for j in range(counts[1]):
                    length[touched[j]], done[touched[j]] = np.inf, False
                source, heap = a, [(0.0, a)]
                length[a], touched[0] = 0.0, a
                counts[0], counts[1] = 0, 1
            bound = DETOUR * _apart(places, a, b)
            while not done[b] and counts[0] < MOST_CELLS and len(heap) > 0 and heap[0][0] <= bound:
                so_far, cell = heapq.heappop(heap)
                if not done[cell]:
                    done[cell] = True
                    counts[0] += 1
                    _look_around(water, places, wraps, cell, so_far, heap, length, touched, counts)
            found[line, k] = done[b] and length[b] <= bound


@compiled
def _look_around(
    water: Mask,
    places: FloatArray,
    wraps: bool,
    cell: int,
    so_far: float,
    heap: list[tuple[float, int]],
    length: FloatArray,
    touched: IntArray,
    counts: IntArray,
) -> None:
    """Put the cells that are one step from a cell on the heap, where that way to them is the shortest so far.

    `touched` holds those that were ever put there, the second of `counts` how many they are.
    """
    rows, columns = water.shape
    y, x = divmod(cell, columns)
    for below in range(max(0, y - 1), min(rows, y + 2)):
        for right in range(x - 1, x + 2):
            beside = right % columns
            if (right != beside and not wraps) or not water[below, beside]:
                continue
            if below != y and beside != x and not (water[y, beside] or water[below, x]):
                continue
            other = below * columns + beside
            along = so_far + _apart(places, cell, other)
            if along < length[other]:
                if length[other] == np.inf:
                    touched[counts[1]] = other
                    counts[1] += 1
                length[other] = along
                heapq.heappush(heap, (along, other))


@compiled
def _apart(places: FloatArray, a: int, b: int) -> float:
    """Distance of two cells."""
    total = 0.0
    for d in range(places.shape[1]):
        total += (places[a, d] - places[b, d]) ** 2
    return math.sqrt(total)
