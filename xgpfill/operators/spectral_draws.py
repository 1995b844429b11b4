"""Draws of a space kernel on regular meridians, by a factor of each longitude frequency's block.

A region is drawn as part of a longer circle: one so long that its images are as good as uncorrelated, or the full one
of the globe, which is exact, where a whole number of steps makes it and it is shorter. Adding the covariance with the
next images keeps the sum positive definite, so nothing has to be clipped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.covariance.evaluate import Lags, correlation
from xgpfill.machine.threads import in_parts, on_threads
from xgpfill.operators.space import (
    BELOW_NOISE,
    by_row,
    images,
    lags_around,
    leading,
    levels,
    negligible,
    odd_rows,
    rotated,
    spectrum,
)
from xgpfill.operators.transforms import LongitudeTransform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from xgpfill.arrays import FloatArray
    from xgpfill.grid.meridians import Meridians
    from xgpfill.kernels.spec import Kernel

NUGGETS = tuple(10.0**-k for k in range(14, 3, -1))
"""Shares of the variance that are added for the sake of a Cholesky factor, until there is one."""
NUGGET = 1e-7
"""The first that is tried, unless the noise is smaller."""
NEGLIGIBLE = 1e-7
"""Frequencies with less than this share of the largest are not drawn."""
UNCORRELATED = 1e-4
"""Correlation that a region and its next image may have."""
MEET = 1e-7
"""Correlation that a cell and its image may have half a turn away."""
MOST_GAP = 16
"""Longest gap between a region and its next image that is tried, in lengths of the region."""
MOST_COLUMNS = 8000
"""Of a circle."""
MULTIPLE = 24
"""Circles have a length that this divides, so that smooth kernels can be told from every second, third … lag."""
AT_ONCE = 2**22
"""Elements of white noise that are made at once."""
PART = 2**17
"""Elements of frequencies that one thread works on at once."""
ENOUGH_NOISE = 1e-4
"""Share of the variance from which on factors are kept in float32: what that rounds away is small beside it."""
AFFORDABLE = 10**8
"""Elements of the blocks, at most."""


@dataclass(frozen=True, eq=False)
class SpectralFactor:
    """Factors L of the blocks, S_f = L Lᵀ, on a circle of `period` columns.

    Attributes
    ----------
    factors : Tensor (frequencies, ny, ny)
        In float32 where there is enough noise.
    transform : LongitudeTransform
    odd : int Tensor
        Rows whose transforms are times i.
    """

    factors: Tensor
    transform: LongitudeTransform
    odd: Tensor

    def draws(self, rngs: Sequence[np.random.Generator], in_time: FloatArray | None, rank: int) -> FloatArray:
        """One draw for each generator, (draws, times, ny, nx).

        `in_time` (times, rank) correlates `rank` independent ones; None leaves them so. Memory is that of the answer:
        white noise is made some frequencies at a time.
        """
        nf, ny, _ = self.factors.shape
        period = self.transform.period
        scale = math.sqrt(period / 2)
        along = None if in_time is None else torch.as_tensor(in_time * scale).T.contiguous()
        size = len(rngs) * (rank if along is None else along.shape[1])
        mixed = torch.empty(nf, 2, ny, size, dtype=torch.float64)
        step = max(1, AT_ONCE // (2 * ny * len(rngs) * rank))
        for begin in range(0, nf, step):
            white = self._white(rngs, begin, min(begin + step, nf), rank)

            def correlate(start: int, stop: int) -> None:
                some = white[start:stop]  # noqa: B023
                some = some * scale if along is None else some @ along
                factors = self.factors[begin + start : begin + stop].double()  # noqa: B023
                for part in (0, 1):
                    moved = some[:, part].reshape(stop - start, ny, -1)
                    torch.bmm(factors, moved, out=mixed[begin + start : begin + stop, part])  # noqa: B023

            in_parts(correlate, len(white), max(1, PART // mixed[0].numel()))
        rotated(mixed, self.odd, back=True)
        field = self.transform.inverse(mixed.view(nf, 2, -1)).numpy()[self.transform.positions]
        return np.asarray(field.reshape(self.transform.size, ny, len(rngs), -1).transpose(2, 3, 1, 0))

    def _white(self, rngs: Sequence[np.random.Generator], begin: int, end: int, rank: int) -> Tensor:
        """White noise of some frequencies, the next of every generator, (frequencies, 2, ny, draws, rank)."""
        ny, last = self.factors.shape[1], self.transform.period // 2
        white = torch.empty(end - begin, 2, ny, len(rngs), rank, dtype=torch.float64)

        def fill(start: int, stop: int) -> None:
            for k in range(start, stop):
                white[..., k, :] = torch.as_tensor(rngs[k].standard_normal((end - begin, 2, ny, rank)))

        on_threads(fill, len(rngs), least=1)
        alone = [0] if self.transform.period % 2 else [0, last]  # frequencies of which one part is zero everywhere
        for frequency in alone:
            if begin <= frequency < end:
                white[frequency - begin] *= math.sqrt(2.0)
        return white


def spectral_factor(kernel: Kernel, meridians: Meridians, noise_share: float = 1.0) -> SpectralFactor | None:
    """The factor on a circle that holds the region; None when none is affordable.

    What is left out and added for its sake is small beside a noise of `noise_share` of the variance.
    """
    shortest, full = _circle(kernel, meridians), meridians.longest_period
    for period in dict.fromkeys((shortest, full if full is not None and full <= MOST_COLUMNS else None)):
        found = None if period is None else _factor_on(kernel, meridians, period, noise_share)
        if found is not None:  # where images overlap there may be none, on a full circle there is
            return found
    return None


def _factor_on(kernel: Kernel, meridians: Meridians, period: int, noise_share: float) -> SpectralFactor | None:
    """The factor on a circle of so many columns; None where it is not affordable, or is no covariance."""
    exact = period == meridians.longest_period
    columns = [lags_around(meridians, period)] if exact else images(kernel, meridians, period)
    count, stride = _frequencies(kernel, meridians, period, columns, noise_share)
    if count * len(meridians.column) ** 2 > AFFORDABLE:
        return None
    table = by_row(kernel, meridians, *(column[::stride] for column in columns)).mul_(stride)
    blocks = spectrum(table, period // stride, odd=meridians.odd, count=count)
    del table
    first = min(NUGGET, BELOW_NOISE * noise_share)
    kind = torch.float32 if noise_share >= ENOUGH_NOISE else torch.float64
    factors = torch.empty(blocks.shape, dtype=kind)
    for nugget in (n for n in NUGGETS if n >= 0.5 * first):
        blocks.diagonal(dim1=1, dim2=2).add_(nugget)
        if _factored(blocks, factors):
            transform = LongitudeTransform(meridians.size, period, "cpu", torch.float64)
            return SpectralFactor(factors, transform, odd_rows(meridians))
    return None


def _factored(blocks: Tensor, factors: Tensor) -> bool:
    """Cholesky factors of blocks (k, ny, ny) into `factors`; whether all have one."""
    failed = torch.empty(len(blocks), dtype=torch.bool)

    def factor(start: int, stop: int) -> None:
        found, info = torch.linalg.cholesky_ex(blocks[start:stop])
        factors[start:stop], failed[start:stop] = found, info > 0

    in_parts(factor, len(blocks), 4)
    return not bool(failed.any())


def _frequencies(
    kernel: Kernel, meridians: Meridians, period: int, columns: list[FloatArray], noise_share: float = 1.0
) -> tuple[int, int]:
    """How many leading frequencies hold more than a negligible part, and the step in lags that tells them.

    Of every `stride`-th lag one sees the sum of the frequencies f + k · period / stride. Three times as many lags as
    frequencies leave what is added to the highest ones negligible as well.
    """
    level = levels([_along(kernel, meridians, column) for column in columns], period)
    count = leading(level, negligible(NEGLIGIBLE, noise_share, period))
    strides = [s for s in range(1, period) if period % s == 0 and period // s >= 3 * count]
    return count, max(strides, default=1)


def _circle(kernel: Kernel, meridians: Meridians) -> int | None:
    """Columns of the shortest circle on which draws have the right covariance."""
    if meridians.is_global:
        return meridians.size
    full = meridians.longest_period
    turn = math.inf if meridians.geometry == "plane" else 2 * math.pi / abs(meridians.step)
    # Images meet half a turn away; if they are correlated there, their sum is a covariance on parts of a turn alone.
    meet = full is not None and float(_along(kernel, meridians, meridians.columns(np.array([turn / 2]))).max()) > MEET
    for gap in np.unique(np.geomspace(1, MOST_GAP * meridians.size, 40).astype(int)):
        period = -(-(meridians.size + int(gap)) // MULTIPLE) * MULTIPLE
        if period > min(turn, MOST_COLUMNS):
            break
        if full is not None and full <= min(period, MOST_COLUMNS):
            return full
        if meet and full is not None and full % period:
            continue
        gaps = np.linspace(period - meridians.size + 1, period - 1, 8)  # from the last column to the first's image
        if float(_along(kernel, meridians, meridians.columns(gaps)).abs().max()) <= UNCORRELATED:
            return period
    return full if full is not None and full <= MOST_COLUMNS else None


def _along(kernel: Kernel, meridians: Meridians, columns: FloatArray) -> Tensor:
    """Correlation of every cell of the first column with its likes in other columns, (columns, ny)."""
    first = torch.as_tensor(meridians.columns(np.zeros(1)))
    return correlation(kernel, Lags(first, torch.as_tensor(columns), meridians.geometry))
