"""Lines between cells along their edges, and cells as areas. Nothing is drawn here."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]


def broken(x: Array, widest: float) -> Array:
    """Cells that lie on both sides of a seam, wider than they can be, or have a corner out of sight."""
    corners = np.stack([x[:-1, :-1], x[1:, :-1], x[:-1, 1:], x[1:, 1:]])
    found: Array = ~(np.ptp(corners, axis=0) <= widest)
    return found


def borders(marked: Array, x: Array, y: Array, widest: float = np.inf) -> list[Array]:
    """Lines along the edges between marked cells and others, each (n, 2); a lone cell has the four of a square.

    Parameters
    ----------
    marked : (ny, nx) bool
    x, y : (ny+1, nx+1)
        Corners of the cells; lines stop where they are not finite.
    widest : float
        Lines longer than this along x would cross a seam.
    """
    corners = np.stack([x, y], axis=-1)
    found = []
    for cells, nodes in ((marked, corners), (marked.T, corners.swapaxes(0, 1))):
        for row, (upper, lower) in enumerate(zip(cells[1:], cells[:-1], strict=True), start=1):
            near = np.abs(np.diff(nodes[row, :, 0])) <= widest  # not where one is NaN
            found += [nodes[row, start : stop + 1] for start, stop in _runs((upper != lower) & near)]
    return found


def areas(marked: Array, x: Array, y: Array, widest: float = np.inf) -> Any:
    """Marked cells as one path, row by row in runs of neighbours; None when there is none. Arguments as `borders`."""
    from matplotlib.path import Path

    corners = np.stack([x, y], axis=-1)
    rings = [
        np.concatenate(
            [corners[row, start : stop + 1], corners[row + 1, start : stop + 1][::-1], corners[row, [start]]]
        )
        for row, cells in enumerate(marked & ~broken(x, widest))
        for start, stop in _runs(cells)
    ]
    if not rings:
        return None
    codes = [np.r_[Path.MOVETO, np.full(len(ring) - 2, Path.LINETO), Path.CLOSEPOLY] for ring in rings]
    return Path(np.concatenate(rings), np.concatenate(codes).astype(Path.code_type))


def _runs(marked: Array) -> list[tuple[int, int]]:
    """First and one past the last of every unbroken run."""
    change = np.flatnonzero(np.diff(np.r_[False, marked, False].astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in change.reshape(-1, 2)]
