"""The real Fourier transform along longitude, as a matrix product for short axes and by FFT for long ones.

A matrix product reaches the speed of the processor and needs no padding to a fast length, so it wins up to a few
hundred cells; beyond, the FFT's n log n does. Both write into buffers that are kept: fresh memory costs more than
the arithmetic.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft
import torch

from xgpfill.machine.threads import in_parts, own_threads

if TYPE_CHECKING:
    from torch import Tensor

    from xgpfill.arrays import IntArray

MATRIX_PERIOD = 768
"""Longest period that is transformed by a matrix product."""
STRIP = 4096
"""Columns that are transformed at once by one thread, on the processor."""


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

    def clear(self) -> None:
        """Give all of them back."""
        self._kept.clear()


class LongitudeTransform:
    """Real data (n, m), zero-padded to `period` along the first axis, to and from (frequencies, 2, m).

    As a matrix product it works on sums and differences of meridians that lie opposite about the middle one: cosines
    see the sums alone, sines the differences, so each needs half the meridians. `positions` puts the two of a pair in
    the same place of two halves. Frequencies are then those about the middle, which blocks of even kernels do not see.

    Parameters
    ----------
    size : int
        Number of meridians.
    period : int
        After which the lattice repeats; at least `size`.
    device : str
    dtype : torch.dtype

    Attributes
    ----------
    positions : int array (size,)
        Where along the first axis each meridian is.

    Examples
    --------
    >>> import torch
    >>> transform = LongitudeTransform(4, 7, "cpu", torch.float64)
    >>> x = torch.arange(8.0, dtype=torch.float64).reshape(4, 2)
    >>> bool(torch.allclose(transform.inverse(transform.forward(x)), x))
    True
    """

    def __init__(self, size: int, period: int, device: str, dtype: torch.dtype) -> None:
        self.size, self.period, self.device = size, period, device
        self.num_frequencies = period // 2 + 1
        self._buffers = Buffers(device, dtype)
        self._waves = _waves(size, period, device, dtype) if period <= MATRIX_PERIOD else None
        self.positions: IntArray = np.arange(size)
        if self._waves is not None:
            later = np.arange(size // 2)
            self.positions[size - 1 - later] = size - size // 2 + later

    @property
    def by_matrix(self) -> bool:
        """Whether it is a matrix product."""
        return self._waves is not None

    def to(self, dtype: torch.dtype) -> LongitudeTransform:
        """The same in another precision."""
        return LongitudeTransform(self.size, self.period, self.device, dtype)

    def release(self) -> None:
        """Give back the memory that transforms write to; the next one takes it anew."""
        self._buffers.clear()

    def forward(self, x: Tensor) -> Tensor:
        """Cosine and sine part of every frequency; the answer is overwritten by the next call."""
        m, nf = x.shape[1], self.num_frequencies
        out = self._buffers("forward", nf, 2, m)
        if self._waves is not None:
            half = self.size // 2
            cosine, sine = self._waves[:2]
            both = self._buffers("halves", self.size, m)

            def strip(start: int, stop: int) -> None:
                at = slice(start, stop)
                first, second, mixed = x[: self.size - half, at], x[self.size - half :, at], both[:, at]
                torch.add(first[:half], second, out=mixed[:half])
                mixed[half : self.size - half].copy_(first[half:])  # the middle one is its own opposite
                torch.sub(first[:half], second, out=mixed[self.size - half :])
                torch.mm(cosine, mixed[: self.size - half], out=out[:, 0, at])
                torch.mm(sine, mixed[self.size - half :], out=out[:, 1, at])

            in_parts(strip, m, STRIP if self.device == "cpu" else m)
            return out
        if x.device.type == "cpu":  # torch's answer would lie the other way in memory
            with own_threads() as workers:
                spectrum = torch.as_tensor(scipy.fft.rfft(x.numpy(), n=self.period, axis=0, workers=workers))
        else:
            spectrum = torch.fft.rfft(x, n=self.period, dim=0)
        out.copy_(torch.view_as_real(spectrum).movedim(2, 1))
        return out

    def inverse(self, frequencies: Tensor) -> Tensor:
        """The meridians of the field with these leading frequencies, the others being zero; overwritten next."""
        nf, _, m = frequencies.shape
        if self._waves is not None:
            out, half = self._buffers("inverse", self.size, m), self.size // 2
            cosine, sine = (wave[:, :nf] for wave in self._waves[2:])
            odd = self._buffers("halves", half, m)

            def strip(start: int, stop: int) -> None:
                at = slice(start, stop)
                torch.mm(cosine, frequencies[:, 0, at], out=out[: self.size - half, at])
                torch.mm(sine, frequencies[:, 1, at], out=odd[:, at])
                torch.sub(out[:half, at], odd[:, at], out=out[self.size - half :, at])
                out[:half, at].add_(odd[:, at])

            in_parts(strip, m, STRIP if self.device == "cpu" else m)
            return out
        both = self._buffers("complex", self.num_frequencies, m, 2)
        both[:nf].copy_(frequencies.movedim(1, 2))
        both[nf:].zero_()
        spectrum = torch.view_as_complex(both)
        if frequencies.device.type == "cpu":
            with own_threads() as workers:
                field = scipy.fft.irfft(spectrum.numpy(), n=self.period, axis=0, overwrite_x=True, workers=workers)
            return torch.as_tensor(field[: self.size])
        found: Tensor = torch.fft.irfft(spectrum, n=self.period, dim=0)[: self.size]
        return found


def period_for(size: int) -> int:
    """The shortest convenient period that holds a region of `size` meridians without overlap."""
    least = 2 * size - 1
    return least if least <= MATRIX_PERIOD else int(scipy.fft.next_fast_len(least, real=True))


def _waves(size: int, period: int, device: str, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cosines and sines (frequencies, half) about the middle, and both back again, weighted (half, frequencies)."""
    half = size // 2
    frequency = torch.arange(period // 2 + 1)[:, None]
    twice = 2 * torch.arange(size - half) - (size - 1)  # twice the place about the middle: whole numbers
    angle = math.pi * ((frequency * twice) % (2 * period)).double() / period
    weight = torch.full((frequency.numel(), 1), 2.0 / period, dtype=torch.float64)
    weight[0] /= 2
    if period % 2 == 0:
        weight[-1] /= 2
    cosine, sine = angle.cos(), -angle.sin()[:, :half]
    back = ((weight * wave).T.contiguous() for wave in (cosine, sine))
    waves = [wave.contiguous().to(device, dtype) for wave in (cosine, sine, *back)]
    return waves[0], waves[1], waves[2], waves[3]
