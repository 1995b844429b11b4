"""A sparse approximate inverse factor of the covariance of observations, (K + noise)⁻¹ ≈ UᵀU (Vecchia 1988).

In a random order every observation is conditioned on its m most correlated predecessors, under the full sum of terms;
the row of U holds the weights of that regression over its standard deviation (Katzfuss & Guinness 2021,
doi:10.1214/19-STS755).
"""

from __future__ import annotations

import warnings
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.sparse import csr_array

from xgpfill.machine.compiled import plain
from xgpfill.machine.threads import in_parts, on_threads
from xgpfill.vecchia.local import Goals, Patches, local_conditionals
from xgpfill.vecchia.loops import refuse_nan, regressions, sparse_rows, transposed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from xgpfill.arrays import FloatArray, Int32Array, IntArray
    from xgpfill.grid.points import Points
    from xgpfill.vecchia.neighbours import Neighbours
    from xgpfill.vecchia.scattered import ScatteredNeighbours

GRAM_ROWS = 8192
"""Rows of a factor times columns that are held at once."""
MOST_IN_LANES = 128
"""Neighbours, at most, of problems that are factored side by side; larger ones fill the caches by themselves."""


class VecchiaFactor:
    """U with UᵀU ≈ (K + noise)⁻¹, as sparse matrices in the order of the observations.

    Parameters
    ----------
    neighbours : Neighbours or ScatteredNeighbours
    num_neighbours : int
        Predecessors that each is conditioned on.
    device : str
    dtype : torch.dtype
        Of the weights, which are made in float64. On the processor products have the precision of what is multiplied.

    Attributes
    ----------
    floored : int
        Conditional variances that were raised to the least allowed one.
    precision : array (n,)
        Diagonal of UᵀU: one over the variance of each observation given all others, about.
    """

    def __init__(
        self,
        neighbours: Neighbours | ScatteredNeighbours,
        num_neighbours: int,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        n = len(neighbours.order)
        width = max(1, min(num_neighbours, n - 1)) + 1
        numbers = neighbours.order.astype(np.int32)
        columns, weights, self.floored = regressed(neighbours, numbers, numbers, width)
        squares = np.square(weights).ravel()
        self.precision: FloatArray = np.asarray(np.bincount(columns.ravel(), squares, minlength=n), dtype=float)
        weights = weights.astype(np.float32 if dtype == torch.float32 else np.float64, copy=False)
        upper = Rows(np.arange(n + 1) * width, columns.ravel(), weights.ravel(), n)
        lower = _transposed(columns, weights)
        self._halves = upper.on(device, dtype), lower.on(device, dtype)  # U and Uᵀ

    def to(self, dtype: torch.dtype) -> VecchiaFactor:
        """The same factor for products in another precision; on the processor that of any."""
        found = copy(self)
        found._halves = self._halves[0].to(dtype), self._halves[1].to(dtype)
        return found

    def whitened(self, values: Tensor) -> Tensor:
        """U times (n, R)."""
        found: Tensor = self._halves[0] @ values
        return found

    def __call__(self, residual: Tensor) -> Tensor:
        """UᵀU times (n, R)."""
        upper, lower = self._halves
        found: Tensor = lower @ (upper @ residual)
        return found

    def gram(self, columns: FloatArray) -> FloatArray:
        """CᵀUᵀUC of columns C (n, k), on the processor, without UC."""
        upper = self._halves[0]
        assert isinstance(upper, Rows)
        found = np.zeros((columns.shape[1],) * 2)
        parts: dict[int, FloatArray] = {}

        def work(a: int, b: int) -> None:
            white = np.empty((b - a, columns.shape[1]))
            sparse_rows(upper.starts[a : b + 1], upper.columns, upper.weights, columns, 0, b - a, white)
            parts[a] = white.T @ white

        in_parts(work, len(columns), GRAM_ROWS)
        for start in sorted(parts):
            found += parts[start]
        return found

    def summed(self, group: IntArray, count: int) -> FloatArray:
        """EᵀUᵀUE (count, count): UᵀU summed over the rows and over the columns of each group, numbered (n,)."""
        first = self._halves[0]
        upper = first if isinstance(first, Rows) else Rows.from_device(first)
        grouped = csr_array(
            (upper.weights.astype(float), group[upper.columns], upper.starts), (len(group), count), copy=True
        )
        grouped.sum_duplicates()
        return np.asarray((grouped.T @ grouped).toarray(), dtype=float)


def regressed(
    neighbours: Neighbours | ScatteredNeighbours, numbers: Int32Array, lines: Int32Array, width: int, first: int = 0
) -> tuple[Int32Array, FloatArray, int]:
    """Rows of a factor: columns and weights (rows, width), and how many conditional variances were raised.

    Parameters
    ----------
    neighbours : Neighbours or ScatteredNeighbours
    numbers, lines : int32 array (n,)
        What each place of the order is called in columns, and which row is its own.
    width : int
        Predecessors of each, and itself.
    first : int
        The first place of the order that has a row.

    Raises
    ------
    NumericalError
        When a covariance is NaN.
    """
    n = len(numbers) - first
    columns, weights = np.zeros((n, width), np.int32), np.zeros((n, width))
    known, sequence, floored = neighbours.predecessors(lines, width - 1, first), neighbours.by_place(first), []

    def work(start: int, stop: int) -> None:
        floored.append(regressions(neighbours.noisy, numbers, lines, known, sequence, start, stop, columns, weights))

    on_threads(work, n)
    refuse_nan(finite=min(floored, default=0) >= 0)
    return columns, weights, sum(floored)


def conditionals(
    neighbours: ScatteredNeighbours, columns: FloatArray, targets: Points, beside: tuple[FloatArray, FloatArray],
    prior: FloatArray, count: int,
) -> Iterator[tuple[slice, FloatArray, FloatArray]]:  # fmt: skip
    """What simple kriging of each target from its neighbours alone says: which targets, of each column, the variance.

    Parameters
    ----------
    neighbours : ScatteredNeighbours
        Observations whose order is that of their numbers.
    columns : array (n, R)
        Zero-mean data.
    targets : Points
    beside : (array (m, p), array (m,))
        What is known of each by other means, and what is noise to neighbours.
    prior : array (m,)
        Variance of each, less what is known by other means.
    count : int
        Neighbours of each.
    """
    (known, noise), m = beside, len(targets)
    facing, cells = neighbours.facing(targets, known)
    count = min(count, len(columns))
    if count > MOST_IN_LANES:
        for block in local_conditionals(facing, columns, Goals(cells, prior), Patches.single(m), count):
            yield block.patches, block.mean[:, 0], block.variance[:, 0]
        return
    near, sizes = np.zeros((m, count), np.int32), np.zeros(m, np.int32)
    facing.search(cells, cells, np.array([len(columns)]), np.array([count]), near, sizes)
    rows, first = Rows.regressed(facing, cells, noise, (near, sizes)), len(columns)
    own = rows.columns.reshape(m, -1) == first + np.arange(m)[:, None]
    weights = rows.weights.reshape(m, -1)
    scale = weights.sum(1, where=own)
    weights[:] = np.where(own, 0.0, -weights / scale[:, None])
    rows.columns.reshape(m, -1)[own] = 0
    found = np.asarray((rows @ torch.as_tensor(columns)).numpy())
    yield slice(0, m), found, scale**-2.0


@dataclass(frozen=True, eq=False)
class Rows:
    """A sparse matrix on the processor, whose rows are shared among our threads.

    Attributes
    ----------
    starts : int array (rows + 1,)
    columns : int32 array
    weights : float array
    num_columns : int
    """

    starts: IntArray
    columns: Int32Array
    weights: FloatArray
    num_columns: int

    @classmethod
    def sums(cls, group: IntArray, count: int) -> Rows:
        """What adds up the values (n,) of each group, numbered (n,)."""
        starts = np.concatenate([[0], np.cumsum(np.bincount(group, minlength=count))])
        columns = np.argsort(group, kind="stable").astype(np.int32)
        return cls(starts.astype(np.intp), columns, np.ones(len(group)), len(group))

    @classmethod
    def regressed(
        cls, facing: ScatteredNeighbours, cells: Int32Array, noise: FloatArray, known: tuple[Int32Array, Int32Array]
    ) -> Rows:
        """Rows of a factor of targets at cells (m, 3), numbered after the observations, on `known` neighbours of each.

        Raises
        ------
        NumericalError
            When a covariance is NaN.
        """
        (m, width), noisy = known[0].shape, facing.noisy
        observed, spread = np.concatenate([noisy[3], cells]), np.concatenate([noisy[4], noise])
        both, total = plain((*noisy[:3], observed, spread)), len(observed)
        numbers = np.arange(total, dtype=np.int32)
        columns, weights, floored = np.zeros((m, width + 1), np.int32), np.zeros((m, width + 1)), [0]
        lines, sequence = numbers - np.int32(total - m), numbers[total - m :]

        def work(a: int, b: int) -> None:
            floored.append(regressions(both, numbers, lines, known, sequence, a, b, columns, weights))

        on_threads(work, m)
        refuse_nan(finite=min(floored) >= 0)
        return cls(np.arange(m + 1) * (width + 1), columns.ravel(), weights.ravel(), total)

    @classmethod
    def from_device(cls, matrix: Tensor) -> Rows:
        """A sparse matrix of torch."""
        parts = (matrix.crow_indices(), matrix.col_indices(), matrix.values())
        starts, columns, weights = (part.cpu().numpy() for part in parts)
        return cls(starts.astype(np.intp), columns.astype(np.int32), weights, matrix.shape[1])

    def to(self, _: torch.dtype) -> Rows:
        """Itself, whose products have the precision of what is multiplied."""
        return self

    def on(self, device: str, dtype: torch.dtype) -> Rows | Tensor:
        """The same as a sparse matrix of torch on another device; itself on the processor."""
        if device == "cpu":
            return self
        matrix = csr_array(
            (self.weights, self.columns, self.starts), (len(self.starts) - 1, self.num_columns), copy=True
        )
        matrix.eliminate_zeros()
        matrix.sort_indices()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse")  # torch warns of its own state of development
            starts, columns = (torch.as_tensor(x.astype(np.int32)) for x in (matrix.indptr, matrix.indices))
            weights = torch.as_tensor(matrix.data)
            return torch.sparse_csr_tensor(starts, columns, weights, matrix.shape, dtype=dtype).to(device)

    def __matmul__(self, x: Tensor) -> Tensor:
        """Times (n, R)."""
        right = np.ascontiguousarray(x.numpy())
        out = np.empty((len(self.starts) - 1, right.shape[1]), right.dtype)
        rows = (self.starts, self.columns, self.weights)
        on_threads(lambda a, b: sparse_rows(*rows, right, a, b, out), len(out), least=2048)
        return torch.as_tensor(out)


def _transposed(columns: Int32Array, weights: FloatArray) -> Rows:
    """The transpose of a matrix of rows (n, width)."""
    n = len(columns)
    counts = np.bincount(columns.ravel(), (weights != 0).ravel(), minlength=n).astype(np.intp)
    starts = np.concatenate([[0], np.cumsum(counts)])
    rows, values = np.empty(starts[-1], np.int32), np.empty(starts[-1], weights.dtype)
    transposed(columns, weights, starts, rows, values)
    return Rows(starts, rows, values, n)
