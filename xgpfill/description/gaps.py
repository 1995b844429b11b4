"""Gaps of a lattice as patches in space and as runs in time: arrays in, arrays out. No estimation lives here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from xgpfill.arrays import FloatArray
    from xgpfill.grid.lattice import Space

BoolArray = NDArray[np.bool_]
BLOCK_CELLS = 2**20
"""Cells that are looked at together, so that what is needed on the way stays small."""


def patches(
    frame_of: Callable[[slice], BoolArray], count: int, area: FloatArray | None, *, shape: tuple[int, int], wraps: bool
) -> tuple[FloatArray, FloatArray, NDArray[np.intp]]:
    """Connected gaps of every frame; cells are neighbours when they share an edge.

    Parameters
    ----------
    frame_of : callable
        Gives the gaps (True) of a slice of the frames, (n, y, x).
    count : int
        How many frames there are.
    area : array (y, x) or None
        Of each cell (km²).
    shape : (int, int)
        Of a frame.
    wraps : bool
        Whether the last column is a neighbour of the first, as round the globe.

    Returns
    -------
    cells : array (patches,)
        Cells of each patch.
    areas : array (patches,)
        km²; empty without `area`.
    frame : int array (patches,)
        Where each is.
    """
    step = max(1, BLOCK_CELLS // (shape[0] * shape[1]))
    found = [
        _labelled(frame_of(slice(start, min(start + step, count))), area, wraps=wraps)
        for start in range(0, count, step)
    ]
    starts = range(0, count, step)
    cells, areas = (np.concatenate([f[i] for f in found]) for i in (0, 1))
    return cells, areas, np.concatenate([f[2] + start for f, start in zip(found, starts, strict=True)])


def _labelled(gaps: BoolArray, area: FloatArray | None, *, wraps: bool) -> tuple[Any, Any, Any]:
    from scipy.ndimage import label

    edges = np.zeros((3, 3, 3), int)  # neighbours within a frame only
    edges[1] = [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    labels, number = label(gaps, structure=edges)
    patch = _joined(labels, number) if wraps else np.arange(number + 1)
    where = np.nonzero(labels)
    own = patch[labels[where]] - 1
    cells = np.bincount(own).astype(float)
    areas = np.zeros(0) if area is None else np.bincount(own, weights=area[where[1], where[2]])
    frame = np.zeros(cells.size, np.intp)
    frame[own] = where[0]
    return cells, areas, frame


def _joined(labels: NDArray[np.int32], number: int) -> NDArray[np.int32]:
    """The number, from one, of the patch that each label belongs to once the first and last columns touch."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first, last = labels[:, :, 0].ravel(), labels[:, :, -1].ravel()
    both = (first > 0) & (last > 0)
    links = coo_array((np.ones(int(both.sum()), bool), (first[both], last[both])), shape=(number + 1, number + 1))
    found: NDArray[np.int32] = connected_components(links, directed=False)[1]
    return found  # label 0 touches nothing, so it stays alone as component 0


def runs(gaps_of: Callable[[slice], BoolArray], sites: int, widths: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Unbroken gaps of every site in time.

    Parameters
    ----------
    gaps_of : callable
        Gives the gaps (True) of a slice of the sites, (time, n).
    sites : int
        How many sites there are.
    widths : array (time,)
        Days that each step stands for.

    Returns
    -------
    days : array (runs,)
    cut : bool array (runs,)
        Whether a run touches the first or the last step, so that it may have been longer.
    """
    until = np.concatenate([[0.0], np.cumsum(widths)])
    days, cut = [np.zeros(0)], [np.zeros(0, bool)]
    for block in _blocks(sites, max(1, BLOCK_CELLS // widths.size)):
        gaps = gaps_of(block).T
        padded = np.pad(gaps, ((0, 0), (1, 1))).astype(np.int8)
        change = np.diff(padded, axis=1)
        start, end = np.nonzero(change == 1)[1], np.nonzero(change == -1)[1]
        days.append(until[end] - until[start])
        cut.append((start == 0) | (end == widths.size))
    return np.concatenate(days), np.concatenate(cut)


def _blocks(size: int, step: int) -> Iterator[slice]:
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))


def step_widths(days: FloatArray) -> FloatArray:
    """Days that each step stands for: half the way to its neighbours on either side.

    Examples
    --------
    >>> step_widths(np.array([0.0, 1.0, 2.0, 6.0]))
    array([1. , 1. , 2.5, 4. ])
    """
    if days.size < 2:
        return np.ones(days.size)
    steps = np.abs(np.diff(days))
    return np.asarray((np.concatenate([steps[:1], steps]) + np.concatenate([steps, steps[-1:]])) / 2)


def cell_areas(space: Space) -> FloatArray | None:
    """Area of every cell (km²) from the distances to its neighbours; None for sites, lines and plain indices.

    The area is that of the parallelogram of the half-way steps to the neighbours, |∂r/∂i × ∂r/∂j|. On a regular grid
    of latitudes and longitudes it is R² cos φ sin Δφ sin Δλ, right to second order in the steps.
    """
    if not space.is_grid or min(space.shape) < 2 or space.unit != "km":
        return None
    places = space.coordinates
    down = np.gradient(places, axis=0)
    if space.wraps:
        across = (np.roll(places, -1, axis=1) - np.roll(places, 1, axis=1)) / 2
    else:
        across = np.gradient(places, axis=1)
    if places.shape[-1] == 2:
        return np.asarray(np.abs(down[..., 0] * across[..., 1] - down[..., 1] * across[..., 0]))
    return np.asarray(np.linalg.norm(np.cross(down, across), axis=-1))
