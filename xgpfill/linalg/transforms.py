"""The real Fourier transform along longitude, as a matrix product for short axes and by FFT for long ones.

A matrix product reaches the speed of the processor and needs no padding to a fast length, so it wins up to a few
hundred cells; beyond, the FFT's n log n does. Both write into buffers that are kept: fresh memory costs more than
the arithmetic.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import scipy.fft
import torch

if TYPE_CHECKING:
    from torch import Tensor

MATRIX_PERIOD = 768
"""Longest period that is transformed by a matrix product."""


class Buffers:
    """Work arrays by name, made once and kept while their shape stays the same."""

    def __init__(self, device: str, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype
        self._kept: dict[str, Tensor] = {}

    def __call__(self, name: str, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """The array of this name, uninitialised when it is new."""
        wanted, size = dtype or self._dtype, math.prod(shape)
        kept = self._kept.get(name)
        if kept is None or kept.numel() < size or kept.dtype != wanted:
            self._kept[name] = kept = torch.empty(size, dtype=wanted, device=self._device)
        return kept[:size].view(shape)


class LongitudeTransform:
    """Real data (n, m), zero-padded to `period` along the first axis, to and from (frequencies, 2, m).

    Parameters
    ----------
    size : int
        Number of meridians.
    period : int
        After which the lattice repeats; at least `size`.
    device : str
    dtype : torch.dtype

    Examples
    --------
    >>> import torch
    >>> transform = LongitudeTransform(4, 7, "cpu", torch.float64)
    >>> x = torch.arange(8.0, dtype=torch.float64).reshape(4, 2)
    >>> bool(torch.allclose(transform.inverse(transform.forward(x)), x))
    True
    """

    def __init__(self, size: int, period: int, device: str, dtype: torch.dtype) -> None:
        self.size, self.period = size, period
        self.num_frequencies = period // 2 + 1
        self._buffers = Buffers(device, dtype)
        self._matrices = _matrices(size, period, device, dtype) if period <= MATRIX_PERIOD else None

    @property
    def by_matrix(self) -> bool:
        """Whether it is a matrix product."""
        return self._matrices is not None

    def forward(self, x: Tensor) -> Tensor:
        """Real and imaginary part of every frequency; the answer is overwritten by the next call."""
        m, nf = x.shape[1], self.num_frequencies
        out = self._buffers("forward", nf, 2, m)
        if self._matrices is not None:
            torch.mm(self._matrices[0], x, out=out.view(2 * nf, m))
            return out
        found = torch.view_as_real(torch.fft.rfft(x, n=self.period, dim=0))
        out[:, 0].copy_(found[..., 0])
        out[:, 1].copy_(found[..., 1])
        return out

    def inverse(self, frequencies: Tensor) -> Tensor:
        """The first `size` meridians of the field with these leading frequencies, the others being zero."""
        nf, _, m = frequencies.shape
        out = self._buffers("inverse", self.size, m)
        if self._matrices is not None:
            torch.mm(self._matrices[1][:, : 2 * nf], frequencies.reshape(2 * nf, m), out=out)
            return out
        both = self._buffers("complex", self.num_frequencies, m, 2)
        both[:nf, :, 0].copy_(frequencies[:, 0])
        both[:nf, :, 1].copy_(frequencies[:, 1])
        both[nf:].zero_()
        found = torch.fft.irfft(torch.view_as_complex(both), n=self.period, dim=0)
        out.copy_(found[: self.size])
        return out


def period_for(size: int) -> int:
    """The shortest convenient period that holds a region of `size` meridians without overlap."""
    least = 2 * size - 1
    return least if least <= MATRIX_PERIOD else int(scipy.fft.next_fast_len(least, real=True))


def _matrices(size: int, period: int, device: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Forward (2 frequencies, size) and inverse (size, 2 frequencies), rows alternating real and imaginary."""
    f = torch.arange(period // 2 + 1)
    turns = (f[:, None] * torch.arange(size)) % period
    angle = 2 * math.pi * turns.double() / period
    both = torch.stack([angle.cos(), -angle.sin()], dim=1)
    weight = torch.full((f.numel(),), 2.0, dtype=torch.float64)
    weight[0] = 1.0
    if period % 2 == 0:
        weight[-1] = 1.0
    inverse = both * (weight / period)[:, None, None]
    flat = (2 * f.numel(), size)
    return both.reshape(flat).to(device, dtype), inverse.reshape(flat).T.contiguous().to(device, dtype)
