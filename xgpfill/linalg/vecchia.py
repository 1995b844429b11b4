"""A sparse approximate inverse factor of the covariance of observations, (K + noise)⁻¹ ≈ UᵀU (Vecchia 1988).

In a random order every observation is conditioned on its m most correlated predecessors, under the full sum of terms;
the row of U holds the weights of that regression over its standard deviation (Katzfuss & Guinness 2021,
doi:10.1214/19-STS755).
"""

from __future__ import annotations

import warnings
from copy import copy
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.sparse import csr_array

from xgpfill.linalg.compiled import on_threads
from xgpfill.linalg.loops import refuse_nan, regressions

if TYPE_CHECKING:
    from torch import Tensor

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
        self._upper, self._lower = (_sparse(part, device, dtype) for part in (upper, upper.T.tocsr()))

    def to(self, dtype: torch.dtype) -> VecchiaFactor:
        """The same factor for products in another precision."""
        found = copy(self)
        found._upper, found._lower = self._upper.to(dtype), self._lower.to(dtype)
        return found

    def __call__(self, residual: Tensor) -> Tensor:
        """UᵀU times (n, R)."""
        found: Tensor = self._lower @ (self._upper @ residual)
        return found


def _sparse(matrix: csr_array, device: str, dtype: torch.dtype) -> Tensor:
    """A sparse matrix of torch, which warns of its own state of development."""
    matrix.sort_indices()
    rows, columns = (torch.as_tensor(part.astype(np.int32), device=device) for part in (matrix.indptr, matrix.indices))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse")
        values = torch.as_tensor(matrix.data, device=device).to(dtype)
        found: Tensor = torch.sparse_csr_tensor(rows, columns, values, matrix.shape)
        return found
