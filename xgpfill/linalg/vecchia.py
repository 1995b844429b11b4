"""A sparse approximate inverse factor of the covariance of observations, (K + noise)⁻¹ ≈ UᵀU (Vecchia 1988).

In a random order every observation is conditioned on its m most correlated predecessors, under the full sum of terms;
the row of U holds the weights of that regression over its standard deviation (Katzfuss & Guinness 2021,
doi:10.1214/19-STS755).
"""

from __future__ import annotations

import warnings
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.sparse import csr_array

from xgpfill.linalg.loops import refuse_nan, regressions, sparse_rows
from xgpfill.linalg.threads import on_threads

if TYPE_CHECKING:
    from torch import Tensor

    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.points import Int32Array
    from xgpfill.linalg.neighbours import Neighbours


class VecchiaFactor:
    """U with UᵀU ≈ (K + noise)⁻¹, as sparse matrices in the order of the observations.

    Parameters
    ----------
    neighbours : Neighbours
    num_neighbours : int
        Predecessors that each is conditioned on.
    device : str
    dtype : torch.dtype
        What products are computed in; the factor is made in float64.

    Attributes
    ----------
    floored : int
        Conditional variances that were raised to the least allowed one.
    precision : array (n,)
        Diagonal of UᵀU: one over the variance of each observation given all others, about.
    """

    def __init__(
        self,
        neighbours: Neighbours,
        num_neighbours: int,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        n, width = len(neighbours.order), num_neighbours + 1
        columns, weights = np.zeros((n, width), np.int32), np.empty((n, width))
        sizes, floored = np.empty(n, np.int32), []

        def work(start: int, stop: int) -> None:
            floored.append(regressions(neighbours.noisy, num_neighbours, start, stop, columns, weights, sizes))

        on_threads(work, n)
        refuse_nan(finite=min(floored, default=0) >= 0)
        self.floored = sum(floored)
        place = np.argsort(neighbours.order)  # of each observation in the order
        kept = (np.arange(width) < sizes[:, None])[place]
        starts = np.concatenate([[0], np.cumsum(sizes[place])]).astype(np.int32)
        numbers = neighbours.order.astype(np.int32)[columns[place][kept]]
        upper = csr_array((weights[place][kept], numbers, starts), shape=(n, n))
        self.precision: FloatArray = upper.power(2).sum(0)
        on_device = dtype if device == "cpu" else (dtype, device)
        self._upper, self._lower = (_sparse(part, on_device) for part in (upper, upper.T.tocsr()))

    def to(self, dtype: torch.dtype) -> VecchiaFactor:
        """The same factor for products in another precision."""
        found = copy(self)
        found._upper, found._lower = self._upper.to(dtype), self._lower.to(dtype)
        return found

    def __call__(self, residual: Tensor) -> Tensor:
        """UᵀU times (n, R)."""
        found: Tensor = self._lower @ (self._upper @ residual)
        return found


@dataclass(frozen=True, eq=False)
class _Rows:
    """A sparse matrix on the processor, whose rows are shared among our threads."""

    starts: Int32Array
    columns: Int32Array
    weights: FloatArray

    def to(self, dtype: torch.dtype) -> _Rows:
        """The same in another precision."""
        return replace(self, weights=self.weights.astype(np.float32 if dtype == torch.float32 else np.float64))

    def __matmul__(self, x: Tensor) -> Tensor:
        """Times (n, R)."""
        right = np.ascontiguousarray(x.numpy())
        out = np.empty((len(self.starts) - 1, right.shape[1]), right.dtype)
        rows = (self.starts, self.columns, self.weights)
        on_threads(lambda a, b: sparse_rows(*rows, right, a, b, out), len(out), least=2048)
        return torch.as_tensor(out)


def _sparse(matrix: csr_array, kind: torch.dtype | tuple[torch.dtype, str]) -> Any:
    """A sparse matrix for the processor, or one of torch for another device."""
    matrix.sort_indices()
    starts, columns = (part.astype(np.int32) for part in (matrix.indptr, matrix.indices))
    if isinstance(kind, torch.dtype):
        return _Rows(starts, columns, matrix.data).to(kind)
    dtype, device = kind
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse")  # torch warns of its own state of development
        rows, numbers = (torch.as_tensor(part, device=device) for part in (starts, columns))
        values = torch.as_tensor(matrix.data, device=device).to(dtype)
        return torch.sparse_csr_tensor(rows, numbers, values, matrix.shape)
