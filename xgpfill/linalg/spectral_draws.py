"""Draws of a space kernel on regular meridians, by a factor of each longitude frequency's block.

A region is drawn as part of a longer circle: the full one of the globe where a whole number of steps makes it and it
is not much longer, which is exact; else one so long that its images are as good as uncorrelated. Adding the covariance
with the next images keeps the sum positive definite, so nothing has to be clipped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft
import torch

from xgpfill.kernels.evaluate import Lags, correlation
from xgpfill.linalg.space import spectrum
from xgpfill.linalg.transforms import LongitudeTransform

if TYPE_CHECKING:
    from torch import Tensor

    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.meridians import Meridians
    from xgpfill.kernels.spec import Kernel

NUGGETS = (1e-7, 1e-6, 1e-5, 1e-4)
"""Shares of the variance that are added for the sake of a Cholesky factor, until there is one."""
NEGLIGIBLE = 1e-9
"""Frequencies with less than this share of the largest are not drawn."""
UNCORRELATED = 1e-4
"""Correlation that a region and its next image may have."""
GROWTH = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0)
"""Circles tried, relative to the shortest that holds the region without overlap."""
AFFORDABLE = 10**8
"""Elements of the blocks, at most."""


@dataclass(frozen=True, eq=False)
class SpectralFactor:
    """Factors L of the blocks, S_f = L Lᵀ, on a circle of `period` columns.

    Attributes
    ----------
    factors : Tensor (frequencies, ny, ny)
    transform : LongitudeTransform
    """

    factors: Tensor
    transform: LongitudeTransform

    def draw(self, rng: np.random.Generator, in_time: FloatArray | None, rank: int) -> FloatArray:
        """One draw (times, ny, nx); `in_time` (times, rank) correlates `rank` independent ones, None leaves them so."""
        nf, ny, _ = self.factors.shape
        period = self.transform.period
        white = torch.as_tensor(rng.standard_normal((nf, 2, ny, rank)))
        white[0] *= math.sqrt(2.0)  # frequencies without an imaginary part
        alone = period % 2 == 0 and nf == period // 2 + 1
        if alone:
            white[-1] *= math.sqrt(2.0)
        if in_time is not None:
            white = white @ torch.as_tensor(in_time).T
        white *= math.sqrt(period / 2)
        for part in (0, 1):
            white[:, part] = torch.bmm(self.factors, white[:, part].contiguous())
        white[0, 1] = 0.0
        if alone:
            white[-1, 1] = 0.0
        field = self.transform.inverse(white.reshape(nf, 2, -1))
        return np.asarray(field.view(self.transform.size, ny, -1).permute(2, 1, 0).numpy())


def spectral_factor(kernel: Kernel, meridians: Meridians) -> SpectralFactor | None:
    """The factor on a circle that holds the region; None when none is affordable."""
    period = _circle(kernel, meridians)
    if period is None:
        return None
    exact = period == meridians.longest_period
    blocks = spectrum(kernel, meridians, period, negligible=NEGLIGIBLE, images=not exact)
    if blocks.numel() > AFFORDABLE:
        return None
    for nugget in NUGGETS:
        blocks.diagonal(dim1=1, dim2=2).add_(nugget)
        factors, info = torch.linalg.cholesky_ex(blocks)
        if not info.any():
            return SpectralFactor(factors, LongitudeTransform(meridians.size, period, "cpu", torch.float64))
    return None


def _circle(kernel: Kernel, meridians: Meridians) -> int | None:
    """Columns of the shortest circle on which draws have the right covariance."""
    if meridians.is_global:
        return meridians.size
    least, full = 2 * meridians.size - 1, meridians.longest_period
    turn = math.inf if meridians.geometry == "plane" else 2 * math.pi / abs(meridians.step)
    if full is not None and full <= 2 * least:
        return full
    for growth in GROWTH:
        period = int(scipy.fft.next_fast_len(math.ceil(growth * least), real=True))
        if period > turn:
            break
        gaps = np.linspace(period - meridians.size + 1, period - 1, 8)  # from the last column to the first's image
        if float(_along(kernel, meridians, gaps).abs().max()) <= UNCORRELATED:
            return period
    return full


def _along(kernel: Kernel, meridians: Meridians, number: FloatArray) -> Tensor:
    """Correlation of every cell of the first column with its likes in other columns."""
    first, column = (torch.as_tensor(meridians.columns(n)) for n in (np.zeros(1), number))
    return correlation(kernel, Lags(first, column, meridians.geometry))
