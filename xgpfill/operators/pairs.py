"""Products of covariances between points anywhere with many columns, block by block: memory grows with the points.

Compiled loops fill blocks by formula, whole rows at a time, so that every step is an instruction on vectors; a kernel
that they do not know, and other devices, are evaluated by torch. Of the covariance of points with themselves each pair
is evaluated once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from xgpfill.covariance.formula import (
    DISTANCE,
    GAUSSIAN,
    MATERN12,
    MATERN32,
    MATERN52,
    RATIONAL,
    SINE,
    TIME,
    WALK,
    WAVE,
    formula,
    has_formula,
)
from xgpfill.machine.compiled import compiled, plain
from xgpfill.machine.threads import in_parts

if TYPE_CHECKING:
    from torch import Tensor

    from xgpfill.arrays import FloatArray
    from xgpfill.covariance.formula import Formula
    from xgpfill.covariance.matrices import Covariance
    from xgpfill.grid.points import Points

ROWS, COLUMNS = 256, 1024
"""Of a block: some of them stay near the processor's caches."""
GROUPS = 16
"""Parts of a symmetric product that are summed by themselves, whatever the number of threads."""
HIGH_PART = {np.dtype(np.float32): 0.693359375, np.dtype(np.float64): 6.93147180369123816490e-1}
"""Of log 2, with so few digits that whole numbers of them are exact."""
DEGREE = {np.dtype(np.float32): 7, np.dtype(np.float64): 12}
"""Of the series of the exponential on ±log(2)/2, which rounding cuts off."""


class Exponential(NamedTuple):
    """How compiled loops take exponentials in one precision: exp(x) = 2ᵐ Σ rᵏ/k!, x = m log 2 + r.

    Attributes
    ----------
    numbers : array (4,)
        1 / log 2, log 2 in two parts, and the least x.
    series : array (k,)
        Coefficients, highest first.
    bits : int array (COLUMNS,)
        Where powers of two are put together.
    shift, bias : int array (1,)
        Of exponents in such numbers.
    """

    numbers: FloatArray
    series: FloatArray
    bits: np.ndarray[tuple[int, ...], np.dtype[np.signedinteger]]
    shift: np.ndarray[tuple[int, ...], np.dtype[np.signedinteger]]
    bias: np.ndarray[tuple[int, ...], np.dtype[np.signedinteger]]

    @classmethod
    def of(cls, dtype: np.dtype[np.floating]) -> Exponential:
        """Those of a precision."""
        high, single = HIGH_PART[dtype], dtype == np.float32
        numbers = np.array([1 / math.log(2), high, math.log(2) - high, -87.0 if single else -708.0], dtype)
        series = np.array([1 / math.factorial(k) for k in range(DEGREE[dtype], -1, -1)], dtype)
        kind = np.int32 if single else np.int64
        return cls(
            numbers, series, np.empty(COLUMNS, kind), np.array([23 if single else 52], kind),
            np.array([127 if single else 1023], kind),
        )  # fmt: skip


@compiled
def exponentials(rule: Exponential, x: FloatArray, size: int, whole: FloatArray, out: FloatArray) -> None:
    """Exponentials of the first numbers of x, none of them above zero; x and `whole` are overwritten."""
    numbers, series, bits, shift, bias = rule
    inverse, high, low, least = numbers[0], numbers[1], numbers[2], numbers[3]
    for k in range(size):
        y = max(x[k], least)
        m = np.floor(y * inverse)
        whole[k] = m
        x[k] = (y - m * high) - m * low
        out[k] = series[0]
    for degree in range(1, series.size):
        c = series[degree]
        for k in range(size):
            out[k] = out[k] * x[k] + c
    powers = bits.view(x.dtype)
    for k in range(size):
        bits[k] = (bits.dtype.type(whole[k]) + bias[0]) << shift[0]
    for k in range(size):
        out[k] *= powers[k]


@compiled
def filled(rule: Formula, exponential: Exponential, first: FloatArray, second: FloatArray, out: FloatArray) -> None:
    """Covariances of points `first` (1 + d, n) with `second` (1 + d, m), time first, into `out`."""
    weights, starts, kinds, numbers = rule
    n, size = out.shape
    square, distance, x = np.empty(size, out.dtype), np.empty(size, out.dtype), np.empty(size, out.dtype)
    value, power, whole = np.empty(size, out.dtype), np.empty(size, out.dtype), np.empty(size, out.dtype)
    one, third = weights.dtype.type(1.0), weights.dtype.type(1.0 / 3.0)
    for i in range(n):
        square[:] = 0.0
        for c in range(1, first.shape[0]):
            here = first[c, i]
            for k in range(size):
                lag = here - second[c, k]
                square[k] += lag * lag
        for k in range(size):
            distance[k] = math.sqrt(square[k])
        out[i] = 0.0
        for part in range(weights.size):
            value[:] = weights[part]
            power[:] = 0.0
            for j in range(starts[part], starts[part + 1]):
                kind, axis, a, b, c2 = kinds[j, 0], kinds[j, 1], numbers[j, 0], numbers[j, 1], numbers[j, 2]
                if axis == DISTANCE:
                    x[:] = distance
                else:
                    row = 0 if axis == TIME else axis - 1
                    here = first[row, i]
                    for k in range(size):
                        x[k] = abs(here - second[row, k])
                if kind == MATERN32:
                    for k in range(size):
                        u = x[k] * a
                        value[k] *= one + u
                        power[k] -= u
                elif kind == MATERN12:
                    for k in range(size):
                        power[k] -= x[k] * a
                elif kind == MATERN52:
                    for k in range(size):
                        u = x[k] * a
                        value[k] *= one + u + u * u * third
                        power[k] -= u
                elif kind == GAUSSIAN:
                    for k in range(size):
                        power[k] -= x[k] * x[k] * a
                elif kind == RATIONAL:
                    for k in range(size):
                        power[k] -= b * math.log1p(x[k] * x[k] * a)
                elif kind == SINE:
                    for k in range(size):
                        power[k] -= 2.0 * (math.sin(math.pi * x[k] * a) * b) ** 2
                elif kind == WAVE:
                    for k in range(size):
                        value[k] *= math.cos(x[k] * b)
                        power[k] -= x[k] * x[k] * a
                elif kind == WALK:
                    here = first[0, i]
                    for k in range(size):
                        value[k] *= (c2 + max(min(here, second[0, k]) - a, 0.0)) * b
                else:
                    for k in range(size):
                        if x[k] != 0.0:
                            value[k] = 0.0
            if starts[part] == starts[part + 1]:
                for k in range(size):
                    out[i, k] += value[k]
                continue
            exponentials(exponential, power, size, whole, x)
            for k in range(size):
                out[i, k] += value[k] * x[k]


@dataclass(frozen=True, eq=False)
class PairProducts:
    """The covariance of points, and of others with them, times columns; and with a noise of each.

    Attributes
    ----------
    law : Covariance
    points : Points
    noise : Tensor (n, 1)
        In the precision of the law.
    """

    law: Covariance
    points: Points
    noise: Tensor

    def to(self, dtype: torch.dtype) -> PairProducts:
        """The same in another precision."""
        return replace(self, law=replace(self.law, dtype=dtype), noise=self.noise.to(dtype))

    def __call__(self, v: Tensor) -> Tensor:
        """K + noise times (n, R)."""
        n, v = len(self.points), v.contiguous()
        starts = range(0, n, ROWS)
        sums = v.new_zeros(min(GROUPS, max(1, len(starts))), n, v.shape[1])

        def group(number: int, _: int) -> None:
            for start in starts[number :: len(sums)]:
                self._beside(start, v, sums[number])

        in_parts(group, len(sums), 1)
        return torch.addcmul(sums.sum(0), self.noise, v)

    def _beside(self, start: int, v: Tensor, total: Tensor) -> None:
        """Add what some rows are to themselves and to all after them, and these to them."""
        own = slice(start, min(start + ROWS, len(v)))
        K = self._block(self._own, own, self._own, own)
        total[own] += _times(K, v[own])
        for begin in range(own.stop, len(v), COLUMNS):
            other = slice(begin, min(begin + COLUMNS, len(v)))
            K = self._block(self._own, own, self._own, other)
            total[own] += _times(K, v[other])
            total[other] += _times(K.T, v[own])

    def across(self, targets: Points, v: Tensor) -> Tensor:
        """Covariance of targets (m) with the points times (n, R)."""
        others, v = _Side(self.law, targets), v.contiguous()
        found = v.new_zeros(len(targets), v.shape[1])

        def rows(start: int, stop: int) -> None:
            own = slice(start, stop)
            for begin in range(0, len(v), COLUMNS):
                some = slice(begin, min(begin + COLUMNS, len(v)))
                found[own] += _times(self._block(others, own, self._own, some), v[some])

        in_parts(rows, len(targets), ROWS)
        return found

    @cached_property
    def _own(self) -> _Side:
        return _Side(self.law, self.points)

    @cached_property
    def _rule(self) -> tuple[Formula, Exponential] | None:
        """Of compiled loops, where they know all kernels."""
        if self.law.device != "cpu" or not has_formula(self.law.prior):
            return None
        kind, found = _numpy(self.law.dtype), formula(self.law.prior)
        found = found._replace(weights=found.weights.astype(kind), numbers=found.numbers.astype(kind))
        return found, Exponential.of(kind)

    def _block(self, a: _Side, rows: slice, b: _Side, columns: slice) -> Tensor:
        if self._rule is None:
            one, other = (x.points.take_in_order(np.arange(s.start, s.stop)) for x, s in ((a, rows), (b, columns)))
            return self.law.matrix(one, other)
        rule, exponential = self._rule
        K = np.empty((rows.stop - rows.start, columns.stop - columns.start), exponential.numbers.dtype)
        own = exponential._replace(bits=np.empty_like(exponential.bits))
        filled(plain(rule), plain(own), a.coordinates[:, rows], b.coordinates[:, columns], K)
        return torch.as_tensor(K)


def _times(K: Tensor, v: Tensor) -> Tensor:
    """A product; on the processor by numpy, whose products with few columns take a fifth of the time of torch."""
    return torch.as_tensor(K.numpy() @ v.numpy()) if v.device.type == "cpu" else K @ v


class _Side:
    """Points as blocks read them."""

    def __init__(self, law: Covariance, points: Points) -> None:
        self.points = points
        coordinates = np.concatenate([points.time[None], points.space.T])
        self.coordinates = np.ascontiguousarray(coordinates, dtype=_numpy(law.dtype))


def _numpy(dtype: torch.dtype) -> np.dtype[np.floating]:
    return np.dtype(np.float32 if dtype == torch.float32 else np.float64)
