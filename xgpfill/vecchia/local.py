"""Local conditionals: the field of a few cells given their m most correlated observations, for all cells of a lattice.

Cells are taken in patches that share their neighbours, so that one factor serves them all. In space patches overlap,
and their answers are blended with weights that fall linearly to zero, so that no map shows where they meet. As an
approximation of the variance a local conditional is cheap and too large; draws tell by how much
(:mod:`xgpfill.engines.lattice.variance`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from xgpfill.machine.threads import in_parts, own_threads
from xgpfill.vecchia.loops import crossed, factor_each, gathered, refuse_nan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from xgpfill.arrays import FloatArray, Int32Array, IntArray
    from xgpfill.vecchia.loops import Noisy
    from xgpfill.vecchia.neighbours import Neighbours
    from xgpfill.vecchia.scattered import ScatteredNeighbours

PATCH = 16
"""Cells whose middle one has its own neighbours, at most."""
ALIKE = 0.5
"""Neighbouring cells join a patch while their correlation is at least this."""
WIDER = 8
"""Every so many times sparser sets of observations, whose nearest ones are far away in all directions."""
WIDE_SHARE = 0.25
"""Share of the neighbours that come from the two sparser sets."""
ELEMENTS = 2**19
"""Of covariances that one thread works on at once."""
BLOCK = 2**22
"""Elements of covariances with targets that are kept at once."""
LEAST = 2.3e-16
"""Share of a prior variance that neighbours cannot explain."""


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
        Covariance of targets by number (k,) with observations by number (k, count), as the data count them. Without
        one, targets are at the cells.
    """

    cells: Int32Array
    prior: FloatArray
    cross: Callable[[IntArray, IntArray], FloatArray] | None = None


@dataclass(frozen=True, eq=False)
class Patches:
    """Targets that share neighbours.

    Attributes
    ----------
    members : int array (patches, cells)
        Targets by number; short patches repeat one of their own with no weight.
    weights : array (patches, cells)
        Those of a target add up to one.
    middle : int array (patches,)
        The target whose neighbours they share.
    """

    members: IntArray
    weights: FloatArray
    middle: IntArray

    def __len__(self) -> int:
        return len(self.members)

    def only(self, which: Any) -> Patches:
        """Those that a bool array (patches,) says."""
        return Patches(self.members[which], self.weights[which], self.middle[which])

    @classmethod
    def single(cls, count: int) -> Patches:
        """Each target by itself."""
        every = np.arange(count)
        return cls(every[:, None], np.ones((count, 1)), every)


@dataclass(frozen=True, eq=False)
class LocalBlock:
    """Conditionals of the targets of some patches.

    Attributes
    ----------
    patches : slice
    mean : array (patches, cells, R)
        Of each draw of the data.
    variance : array (patches, cells)
    """

    patches: slice
    mean: FloatArray
    variance: FloatArray


class Beside(Protocol):
    """What else there is than the field that neighbours tell of: a map that is the same at all times."""

    def left(self, near: IntArray, cells: Int32Array, weights: torch.Tensor) -> FloatArray:
        """Variance that it adds to the cells of k patches, (k, cells).

        Parameters
        ----------
        near : int array (k, count)
            The observations that each patch is conditioned on.
        cells : int32 array (k · cells, 3)
        weights : Tensor (k, count, cells)
            Those of the observations; zero beyond their number.
        """


def local_conditionals(
    neighbours: Neighbours | ScatteredNeighbours, values: FloatArray, goals: Goals, patches: Patches,
    num_neighbours: int, given: Beside | None = None,
) -> Iterator[LocalBlock]:  # fmt: skip
    """Conditionals of all targets, some patches at a time.

    Parameters
    ----------
    neighbours : Neighbours or ScatteredNeighbours
        The observations.
    values : array (n, R)
        Draws of the data there, zero-mean.
    goals : Goals
    patches : Patches
    num_neighbours : int
    given : Beside, optional
        A map whose variance is added; neighbours, values and goals are then those of the rest of the field.

    Raises
    ------
    NumericalError
        When a covariance is NaN.
    """
    count, width = min(num_neighbours, len(neighbours.order)), patches.members.shape[1]
    ordered = torch.as_tensor(np.ascontiguousarray(values[neighbours.order], dtype=float))
    step = max(1, BLOCK // (width * count))
    for begin in range(0, len(patches), step):
        some = slice(begin, min(begin + step, len(patches)))
        yield _conditioned(neighbours, ordered, goals, patches, some, count, given)


@dataclass(frozen=True, eq=False)
class _Problems:
    """Some patches: their neighbours by place in the order, how many there are, covariances with their cells.

    Attributes
    ----------
    near : int32 array (patches, count)
    sizes : int32 array (patches,)
    cross : array (patches, cells, count)
        Not yet filled where covariances are looked up in tables.
    """

    near: Int32Array
    sizes: Int32Array
    cross: FloatArray
    cells: Int32Array
    in_tables: bool

    def covariances(self, noisy: Noisy, a: int, b: int) -> tuple[torch.Tensor, torch.Tensor, bool]:
        """Those of the neighbours' observations (k, count, count) and with cells (k, count, cells), of some patches.

        Rows beyond the number of neighbours are those of a unit matrix, and zero. Whether all are finite comes last.
        """
        count, flat = self.near.shape[1], self.cross.reshape(-1, self.near.shape[1])
        if self.in_tables:
            crossed(noisy, self.cells, self.near, self.sizes, a, b, flat)
        K = np.empty((b - a, count, count))
        finite = gathered(noisy, self.near[a:b], self.sizes[a:b], K)
        there = torch.as_tensor(np.arange(count) < self.sizes[a:b, None])[..., None]
        return torch.as_tensor(K), torch.where(there, torch.as_tensor(self.cross[a:b]).mT, 0.0), finite


def _problems(
    neighbours: Neighbours | ScatteredNeighbours, goals: Goals, patches: Patches, some: slice, count: int
) -> _Problems:
    """Search the neighbours of some patches."""
    members = patches.members[some]
    k, width = members.shape
    near, sizes = np.zeros((k, count), np.int32), np.empty(k, np.int32)
    cells, middle = (np.ascontiguousarray(goals.cells[index]) for index in (members.ravel(), patches.middle[some]))
    n = len(neighbours.order)
    prefixes, counts = _sets(n, count) if neighbours.looks_around else (np.array([n]), np.array([count]))
    neighbours.search(cells, middle, prefixes, counts, near, sizes)
    cross = np.empty((k, width, count))
    if goals.cross is not None:
        cross[:] = goals.cross(members.ravel(), neighbours.order[near.repeat(width, axis=0)]).reshape(cross.shape)
    return _Problems(near, sizes, cross, cells, goals.cross is None)


@own_threads()
def _conditioned(
    neighbours: Neighbours | ScatteredNeighbours,
    ordered: torch.Tensor,
    goals: Goals,
    patches: Patches,
    some: slice,
    count: int,
    given: Beside | None,
) -> LocalBlock:
    """Conditionals of some patches: L⁻¹ of covariances with targets and of values gives both moments."""
    found = _problems(neighbours, goals, patches, some, count)
    prior, (k, width), draws = goals.prior[patches.members[some]], found.cross.shape[:2], ordered.shape[1]
    mean, variance, finite = np.empty((k, width, draws)), np.empty((k, width)), [True]

    def work(a: int, b: int) -> None:
        K, cross, whole = found.covariances(neighbours.noisy, a, b)
        finite.append(whole)
        data = ordered[torch.as_tensor(found.near[a:b].astype(np.intp))]
        data[torch.as_tensor(np.arange(count) >= found.sizes[a:b, None])] = 0.0
        L, solve = _factors(K), torch.linalg.solve_triangular
        if draws <= width and given is None:
            both = solve(L, torch.cat([cross, data], 2), upper=False)
            moved, weights, data = both[..., :width], both[..., :width], both[..., width:]
        else:  # there are fewer weights to solve for
            moved = solve(L, cross, upper=False)
            weights = solve(L.mT, moved, upper=True)
        torch.bmm(weights.mT, data, out=torch.as_tensor(mean[a:b]))
        variance[a:b] = np.maximum(prior[a:b] - moved.square().sum(1).numpy(), LEAST * prior[a:b])
        if given is not None:
            variance[a:b] += given.left(neighbours.order[found.near[a:b]], found.cells[a * width : b * width], weights)

    in_parts(work, k, max(1, ELEMENTS // (count * (count + width + draws))))
    refuse_nan(finite=all(finite) and bool(np.isfinite(variance).all()))
    return LocalBlock(some, mean, variance)


@own_threads()
def local_weights(neighbours: Neighbours, goals: Goals, num_neighbours: int) -> torch.Tensor:
    """What simple kriging of each target from its most correlated observations gives these, (n, targets).

    With all observations they are A⁻¹k, k the target's covariances; with some, near enough to begin with.
    """
    n, m = len(neighbours.order), len(goals.prior)
    found = _problems(neighbours, goals, Patches.single(m), slice(0, m), min(num_neighbours, n))
    weights, finite = torch.zeros(n, m, dtype=torch.float64), [True]

    def work(a: int, b: int) -> None:
        K, cross, whole = found.covariances(neighbours.noisy, a, b)
        finite.append(whole)
        solved = torch.cholesky_solve(cross, _factors(K))[..., 0]
        for target in range(a, b):
            size = found.sizes[target]
            weights[neighbours.order[found.near[target, :size]], target] = solved[target - a, :size]

    in_parts(work, m, 1)
    refuse_nan(finite=all(finite) and bool(torch.isfinite(weights).all()))
    return weights


def _factors(K: torch.Tensor) -> torch.Tensor:
    """Cholesky factors of (k, m, m); with the smallest pivots raised where rounding leaves none."""
    L, info = torch.linalg.cholesky_ex(K)
    failed = torch.nonzero(info)[:, 0].numpy()
    if failed.size:
        again = np.ascontiguousarray(K.numpy()[failed])
        factor_each(again)
        L[torch.as_tensor(failed)] = torch.as_tensor(again)
    found: torch.Tensor = L
    return found


def _sets(n: int, count: int) -> tuple[IntArray, IntArray]:
    """Of how many leading observations in the random order how many of the nearest are taken.

    Where observations are dense and gaps wide, the nearest ones all lie on one side, and on top of each other; the
    nearest ones of a sparse subset lie around.
    """
    wide = [(n // WIDER**j, int(count * WIDE_SHARE / 2)) for j in (1, 2)]
    wide = [(before, few) for before, few in wide if few and before > 4 * count]
    pairs = [(n, count - sum(few for _, few in wide)), *wide]
    return np.array([b for b, _ in pairs]), np.array([c for _, c in pairs])


def patches_of(
    shape: tuple[int, int, int], neighbours: tuple[float, float, float], *, wraps: bool = False, most: int = PATCH
) -> Patches:
    """Cut a lattice (time, y, x) into boxes of cells that are as alike as can be, which overlap in space.

    Parameters
    ----------
    shape : tuple of int
    neighbours : tuple of float
        Prior correlation of a cell with the next one along each axis.
    wraps : bool
        Whether the last column is next to the first.
    most : int
        Cells of a box.

    Returns
    -------
    Patches
        Cells by number, time outermost.
    """
    box, alike = [1, 1, 1], np.array(neighbours, float)
    while np.prod(box) < most:
        reach = np.where(np.array(box) * 2 <= np.array(shape), alike, -np.inf)
        axis = int(np.argmax(reach))
        if reach[axis] < ALIKE:
            break
        box[axis] *= 2
        alike[axis] -= 1.0 - alike[axis]  # twice as far
    axes = [_steps(shape[0], box[0]), _hats(shape[1], box[1]), _hats(shape[2], box[2], wraps=wraps)]
    (t, wt, mt), (y, wy, my), (x, wx, mx) = axes
    number = (t[:, None, None, :, None, None] * shape[1] + y[None, :, None, None, :, None]) * shape[2]
    number = number + x[None, None, :, None, None, :]
    weight = wt[:, None, None, :, None, None] * wy[None, :, None, None, :, None] * wx[None, None, :, None, None, :]
    middle = (mt[:, None, None] * shape[1] + my[:, None]) * shape[2] + mx
    cells = t.shape[1] * y.shape[1] * x.shape[1]
    return Patches(number.reshape(-1, cells), weight.reshape(-1, cells), middle.ravel())


_Axis = tuple["IntArray", "FloatArray", "IntArray"]
"""Cells (parts, width) of the parts of an axis, their weights, and the middle one of each."""


def _steps(n: int, size: int) -> _Axis:
    """Parts side by side."""
    cells = np.arange(0, n, size)[:, None] + np.arange(size)
    return np.minimum(cells, n - 1), (cells < n).astype(float), np.minimum(cells[:, size // 2], n - 1)


def _hats(n: int, spacing: int, *, wraps: bool = False) -> _Axis:
    """Parts around nodes about `spacing` apart, with weights that fall to zero at the next nodes."""
    count = max(1, round(n / spacing))
    wraps = wraps and count > 1
    nodes = (
        np.floor(np.arange(count) * n / count).astype(int) if wraps else (2 * np.arange(count) + 1) * n // (2 * count)
    )
    before, after = np.r_[nodes[-1] - n, nodes[:-1]], np.r_[nodes[1:], nodes[0] + n]
    if not wraps:
        before[0], after[-1] = -n, 2 * n  # the outermost ones have no other beside them
    cells = nodes[:, None] + np.arange(-max(nodes - before) + 1, max(after - nodes))
    rising = (cells - before[:, None]) / (nodes - before)[:, None]
    falling = (after[:, None] - cells) / (after - nodes)[:, None]
    weights = np.clip(np.minimum(rising, falling), 0.0, 1.0)
    if not wraps:
        weights[0][cells[0] <= nodes[0]] = 1.0
        weights[-1][cells[-1] >= nodes[-1]] = 1.0
        weights[(cells < 0) | (cells >= n)] = 0.0
    kept = weights > 0
    width = int(kept.sum(1).max())
    order = np.argsort(~kept, axis=1, kind="stable")[:, :width]  # those that count first
    cells, weights = (np.take_along_axis(part, order, axis=1) for part in (cells, weights))
    cells = np.where(weights > 0, cells, nodes[:, None])
    return cells % n, weights, nodes
