"""Local conditionals: the field of a few cells given their m most correlated observations, for all cells of a lattice.

Cells are taken in small patches that share their neighbours, so that one factor serves them all. As an approximation
of the variance this is smooth, cheap and biased high; the control variate of the iterative engine corrects it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xgpfill.linalg.threads import on_threads
from xgpfill.linalg.loops import add_features, conditionals, crossed, refuse_nan, search

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.points import Int32Array, IntArray
    from xgpfill.linalg.neighbours import Neighbours

PATCH = 8
"""Cells that may share neighbours, at most."""
FEW_CELLS = 75_000
"""So many cells may each have neighbours of their own; of more, some of a patch share them, and one factor."""
ALIKE = 0.5
"""Neighbouring cells join a patch while their correlation is at least this."""
CHUNK = 2**20
"""Pairs of a cell and a neighbour that are taken at once."""


@dataclass(frozen=True, eq=False)
class Goals:
    """Where conditionals are wanted.

    Attributes
    ----------
    cells : int32 array (m, 3)
        Time, row and column of each target, or of the cell nearest to it.
    prior : array (m,)
        Prior variance.
    cross : callable, optional
        Covariance, features left out, of targets by number (k,) with observations by number (k, count), as the data
        count them. Without one, targets are at the cells.
    features : callable, optional
        Features of targets by number, (k, q).
    """

    cells: Int32Array
    prior: FloatArray
    cross: Callable[[IntArray, IntArray], FloatArray] | None = None
    features: Callable[[IntArray], FloatArray] | None = None


@dataclass(frozen=True, eq=False)
class LocalBlock:
    """Conditionals of some targets.

    Attributes
    ----------
    index : int array (k,)
        Which targets.
    mean : array (k, R)
        Of each draw of the data.
    variance : array (k,)
    """

    index: IntArray
    mean: FloatArray
    variance: FloatArray


def local_conditionals(
    neighbours: Neighbours, values: FloatArray, goals: Goals, patches: IntArray, num_neighbours: int
) -> Iterator[LocalBlock]:
    """Conditionals of all targets, patch by patch.

    Parameters
    ----------
    neighbours : Neighbours
        The observations.
    values : array (n, R)
        Draws of the data there, zero-mean.
    goals : Goals
    patches : int array (patches, cells)
        Targets by number that may share neighbours; a short patch repeats one of its own.
    num_neighbours : int

    Raises
    ------
    NumericalError
        When a covariance is NaN.
    """
    noisy = neighbours.noisy
    count, share = min(num_neighbours, len(neighbours.order)), _shared(*patches.shape)
    groups = patches.reshape(-1, share)
    ordered = np.ascontiguousarray(values[neighbours.order], dtype=float)
    step = max(1, CHUNK // (share * count))
    for begin in range(0, len(groups), step):
        group = groups[begin : begin + step]
        index, k = group.ravel(), len(group)
        near, sizes = np.zeros((k, count), np.int32), np.empty(k, np.int32)
        cells, prior = np.ascontiguousarray(goals.cells[index]), goals.prior[index]
        middle = np.ascontiguousarray(goals.cells[group[:, share // 2]])
        on_threads(lambda a, b: search(noisy, middle, a, b, near, sizes), k)  # noqa: B023
        cross = np.empty((index.size, count))
        if goals.cross is None:
            on_threads(lambda a, b: crossed(noisy, cells, near, sizes, a, b, cross), k)  # noqa: B023
        else:
            cross[:] = goals.cross(index, neighbours.order[near.repeat(share, axis=0)])
        if goals.features is not None:
            told = goals.features(index)
            on_threads(lambda a, b: add_features(noisy, told, near, sizes, a, b, cross), k)  # noqa: B023
        means, variances = np.empty((index.size, values.shape[1])), np.empty(index.size)
        finite: list[bool] = []
        on_threads(
            lambda a, b: finite.append(  # noqa: B023
                conditionals(noisy, ordered, near, sizes, cross, prior, a, b, means, variances)  # noqa: B023
            ),
            k,
        )
        refuse_nan(finite=all(finite))
        yield LocalBlock(index, means, variances)


def _shared(patches: int, width: int) -> int:
    """How many cells of a patch share neighbours: a divisor of its width."""
    wanted = -(-patches * width // FEW_CELLS)
    return next(d for d in range(1, width + 1) if width % d == 0 and (d >= wanted or d == width))


def patches_of(shape: tuple[int, int, int], neighbours: tuple[float, float, float]) -> IntArray:
    """Cut a lattice (time, y, x) into boxes of up to eight cells that are as alike as can be.

    Parameters
    ----------
    shape : tuple of int
    neighbours : tuple of float
        Prior correlation of a cell with the next one along each axis.

    Returns
    -------
    int array (patches, cells)
        Cells by number, time outermost; boxes that leave the lattice repeat its last cells.
    """
    box, alike = [1, 1, 1], np.array(neighbours, float)
    while np.prod(box) < PATCH:
        reach = np.where(np.array(box) * 2 <= np.array(shape), alike, -np.inf)
        axis = int(np.argmax(reach))
        if reach[axis] < ALIKE:
            break
        box[axis] *= 2
        alike[axis] -= 1.0 - alike[axis]  # twice as far
    starts = [np.arange(0, n, b) for n, b in zip(shape, box, strict=True)]
    inside = [np.arange(b) for b in box]
    t, y, x = (np.minimum(s[:, None] + i, n - 1) for s, i, n in zip(starts, inside, shape, strict=True))
    number = (t[:, None, None, :, None, None] * shape[1] + y[None, :, None, None, :, None]) * shape[2]
    number = number + x[None, None, :, None, None, :]
    return np.asarray(number.reshape(-1, int(np.prod(box))))
