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

from xgpfill.linalg.loops import refuse_nan, regressions, sparse_rows, transposed
from xgpfill.linalg.threads import on_threads

if TYPE_CHECKING:
    from torch import Tensor

    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.points import Int32Array, IntArray
    from xgpfill.linalg.neighbours import Neighbours
    from xgpfill.linalg.scattered import ScatteredNeighbours


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
        upper = _Rows(np.arange(n + 1) * width, columns.ravel(), weights.ravel())
        lower = _transposed(columns, weights)
        self._upper, self._lower = (part if device == "cpu" else part.on(device, dtype) for part in (upper, lower))

    def to(self, dtype: torch.dtype) -> VecchiaFactor:
        """The same factor for products in another precision; on the processor that of any."""
        found = copy(self)
        found._upper, found._lower = self._upper.to(dtype), self._lower.to(dtype)
        return found

    def whitened(self, values: Tensor) -> Tensor:
        """U times (n, R)."""
        found: Tensor = self._upper @ values
        return found

    def __call__(self, residual: Tensor) -> Tensor:
        """UᵀU times (n, R)."""
        found: Tensor = self._lower @ (self._upper @ residual)
        return found


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


@dataclass(frozen=True, eq=False)
class _Rows:
    """A sparse matrix on the processor, whose rows are shared among our threads."""

    starts: IntArray
    columns: Int32Array
    weights: FloatArray

    def to(self, _: torch.dtype) -> _Rows:
        """Itself, whose products have the precision of what is multiplied."""
        return self

    def on(self, device: str, dtype: torch.dtype) -> Tensor:
        """The same as a sparse matrix of torch on another device."""
        n = len(self.starts) - 1
        matrix = csr_array((self.weights, self.columns, self.starts), shape=(n, n), copy=True)
        matrix.eliminate_zeros()
        matrix.sort_indices()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse")  # torch warns of its own state of development
            starts, columns = (torch.as_tensor(x.astype(np.int32)) for x in (matrix.indptr, matrix.indices))
            found = torch.sparse_csr_tensor(starts, columns, torch.as_tensor(matrix.data), (n, n), dtype=dtype)
            return found.to(device)

    def __matmul__(self, x: Tensor) -> Tensor:
        """Times (n, R)."""
        right = np.ascontiguousarray(x.numpy())
        out = np.empty((len(self.starts) - 1, right.shape[1]), right.dtype)
        rows = (self.starts, self.columns, self.weights)
        on_threads(lambda a, b: sparse_rows(*rows, right, a, b, out), len(out), least=2048)
        return torch.as_tensor(out)


def _transposed(columns: Int32Array, weights: FloatArray) -> _Rows:
    """The transpose of a matrix of rows (n, width)."""
    counts = np.bincount(columns.ravel(), (weights != 0).ravel(), minlength=len(columns)).astype(np.intp)
    starts = np.concatenate([[0], np.cumsum(counts)])
    rows, values = np.empty(starts[-1], np.int32), np.empty(starts[-1], weights.dtype)
    transposed(columns, weights, starts, rows, values)
    return _Rows(starts, rows, values)
