"""The covariance of the prior between points: tables per axis, combined per pair, never per exponential twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.covariance.evaluate import Lags, correlation
from xgpfill.kernels.spec import Constant, Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from xgpfill.arrays import FloatArray, IntArray
    from xgpfill.grid.points import Points
    from xgpfill.kernels.prior import Prior, Term

CHUNK_ELEMENTS = 2**20
"""Elements of one block of columns: a few such arrays stay near the processor's caches."""


TABLE_SHARE = 0.5
"""A table is made when it has at most this share of the pairs; spreading it costs about as much as exponentials."""


@dataclass(frozen=True, eq=False)
class Block:
    """What the prior says of some targets.

    Attributes
    ----------
    index : int array (m,)
        Which targets.
    columns : Tensor (n, m)
        Their covariance with the points asked about.
    variance : Tensor (m,)
    """

    index: IntArray
    columns: Tensor
    variance: Tensor


@dataclass(frozen=True, eq=False)
class Covariance:
    """``cov(f(x), f(x')) = Σ_j v_j k_time,j(t, t') k_space,j(s, s')`` with all numbers known.

    Attributes
    ----------
    prior : Prior
        Variances in standardised units.
    device : str
    dtype : torch.dtype
    """

    prior: Prior
    device: str = "cpu"
    dtype: torch.dtype = torch.float64

    def tensor(self, array: FloatArray) -> Tensor:
        """An array on this covariance's device, in its dtype."""
        return torch.as_tensor(np.ascontiguousarray(array)).to(self.device, self.dtype)

    def matrix(self, a: Points, b: Points) -> Tensor:
        """Covariance of every point of `a` with every one of `b`, (n, m)."""
        time = _Axis(self, a.times, a.time_index, b.times, b.time_index, "time")
        space = _Axis(self, a.sites, a.site_index, b.sites, b.site_index, self.prior.geometry)
        total = torch.zeros(len(a), len(b), dtype=self.dtype, device=self.device)
        width = max(1, CHUNK_ELEMENTS // max(1, len(a)))
        for start in range(0, len(b), width):
            part = slice(start, min(start + width, len(b)))
            for term in self.prior.terms:
                _add(total[:, part], _variance(term), time.factor(term.time, part), space.factor(term.space, part))
        return total

    def diagonal(self, a: Points) -> Tensor:
        """Prior variance of every point, (n,)."""
        total = torch.zeros(len(a), dtype=self.dtype, device=self.device)
        times, sites = self.tensor(a.times)[:, None], self.tensor(a.sites)
        time, space = Lags(times, times, "time"), Lags(sites, sites, self.prior.geometry)
        time_index, site_index = torch.as_tensor(a.time_index), torch.as_tensor(a.site_index)
        for term in self.prior.terms:
            factor = correlation(term.time, time)[time_index] * correlation(term.space, space)[site_index]
            total.add_(factor, alpha=_variance(term))
        return total

    def blocks(self, a: Points, targets: Points, width: int | None = None) -> Iterator[Block]:
        """The targets in blocks of at most `width`, by default what stays near the caches."""
        width = width or max(1, CHUNK_ELEMENTS // max(1, len(a)))
        variance = self.diagonal(targets)
        if targets.is_grid:
            for index, columns in self._grid_columns(a, targets, width):
                yield Block(index, columns, variance[index])
            return
        for start in range(0, len(targets), width):
            index = np.arange(start, min(start + width, len(targets)))
            yield Block(index, self.matrix(a, targets.take(index)), variance[index])

    def _grid_columns(self, a: Points, targets: Points, width: int) -> Iterator[tuple[IntArray, Tensor]]:
        """Blocks of sites outermost, their space factors reused at every time."""
        num_sites, every = targets.sites.shape[0], np.arange(targets.times.size)
        time = _Axis(self, a.times, a.time_index, targets.times, every, "time")
        time_factors = [time.factor(term.time) for term in self.prior.terms]
        for start in range(0, num_sites, width):
            chosen = np.arange(start, min(start + width, num_sites))
            local = np.arange(chosen.size)
            space = _Axis(self, a.sites, a.site_index, targets.sites[chosen], local, self.prior.geometry)
            space_factors = [space.factor(term.space) for term in self.prior.terms]
            for t in every:
                columns = torch.zeros(len(a), chosen.size, dtype=self.dtype, device=self.device)
                for term, in_time, in_space in zip(self.prior.terms, time_factors, space_factors, strict=True):
                    _add(columns, _variance(term), None if in_time is None else in_time[:, t : t + 1], in_space)
                yield t * num_sites + chosen, columns


def _add(total: Tensor, variance: float, time_factor: Tensor | None, space_factor: Tensor | None) -> None:
    """Add one term to a matrix in place; a factor of None is one everywhere."""
    if time_factor is not None and space_factor is not None:
        total.addcmul_(time_factor, space_factor, value=variance)
    elif space_factor is not None:
        total.add_(space_factor, alpha=variance)
    elif time_factor is not None:
        total.add_(time_factor, alpha=variance)
    else:
        total.add_(variance)


class _Axis:
    """One axis of two sets of points: lags once, a table per kernel where axes are shared, spread to the points.

    Parameters
    ----------
    covariance : Covariance
    a, b : array
        The axes.
    ia, ib : int array (n,), (m,)
        The points' places on them.
    geometry : str
    """

    def __init__(
        self, covariance: Covariance, a: FloatArray, ia: IntArray, b: FloatArray, ib: IntArray, geometry: str
    ) -> None:
        self._tabulated = a.shape[0] * b.shape[0] <= TABLE_SHARE * ia.size * ib.size
        if not self._tabulated:
            a, b = a[ia], b[ib]
        self._first, self._second = (covariance.tensor(x if x.ndim == 2 else x[:, None]) for x in (a, b))
        self._ia, self._ib = (_selection(i, n, covariance.device) for i, n in ((ia, len(a)), (ib, len(b))))
        self._geometry = geometry
        self._lags: dict[tuple[int, int], Lags] = {}
        self._rows: dict[Kernel, Tensor] = {}

    def factor(self, kernel: Kernel, part: slice = slice(None)) -> Tensor | None:
        """The correlation of every point of the first set with part of the second; None where it is one."""
        if isinstance(kernel, Constant):
            return None
        if not self._tabulated:
            return correlation(kernel, self._lags_of(part))
        if kernel not in self._rows:
            self._rows[kernel] = correlation(kernel, self._lags_of(slice(None)))
        table = self._rows[kernel]
        rows = table[:, part] if self._ib is None else table.index_select(1, self._ib[part])
        return rows if self._ia is None else rows.index_select(0, self._ia)

    def _lags_of(self, part: slice) -> Lags:
        """Lags to part of the second set; the last ones are kept, since all kernels need them."""
        key = (part.start or 0, -1 if part.stop is None else part.stop)
        if key not in self._lags:
            self._lags = {key: Lags.matrix(self._first, self._second[part], self._geometry)}
        return self._lags[key]


def _selection(index: IntArray, size: int, device: str) -> Tensor | None:
    """The index as a tensor, or None when it takes everything in order."""
    if index.size == size and np.array_equal(index, np.arange(size)):
        return None
    return torch.as_tensor(index, device=device)


def _variance(term: Term) -> float:
    assert term.variance is not None, "variances are known before a covariance is evaluated"
    return float(term.variance)
