"""The prior covariance of a whole lattice as an operator, never as a matrix: K = Σ_j v_j T_j ⊗ S_j.

Fields are (nx, ny, R, nt) for R right-hand sides, time innermost. A product transforms along longitude once, applies
every term's block to each frequency and its time matrix to what remains, and transforms back once. Static terms are
summed over time first, common terms over space.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.linalg.space import product_period, spectrum
from xgpfill.linalg.tables import Tables
from xgpfill.linalg.transforms import Buffers, LongitudeTransform

if TYPE_CHECKING:
    from torch import Tensor

    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.meridians import Meridians
    from xgpfill.grid.points import IntArray
    from xgpfill.kernels.prior import Prior

MAX_DENSE_TIMES = 2000
"""Longer regular time axes are multiplied by FFT."""
PACKED = 4
"""Blocks of more rows than this times the columns are read once for both parts of a frequency."""


class LatticeOperator:
    """Products with the prior covariance of all cells of a lattice.

    Parameters
    ----------
    prior : Prior
        All numbers known.
    times : array (nt,)
        Days.
    coordinates : array (ny, nx, d)
        Embedded (km).
    device : str
    dtype : torch.dtype
        What the products are computed in; spectra are made in float64.
    """

    def __init__(
        self, prior: Prior, times: FloatArray, coordinates: FloatArray, device: str, dtype: torch.dtype
    ) -> None:
        self.prior, self.times, self.coordinates = prior, times, coordinates
        self.device, self.dtype = device, dtype
        self.tables = Tables.of(prior, times, coordinates)
        ny, nx, _ = coordinates.shape
        self.shape: tuple[int, int, int] = (nx, ny, times.size)
        self._buffers = Buffers(device, dtype)
        self.transform = None
        if self.meridians is not None:
            self.transform = LongitudeTransform(nx, product_period(self.meridians), device, dtype)
        arrays = self.tables.arrays
        self.terms = [
            _Term(self._in_time_of(time), self._in_space_of(space))
            for time, space in zip(arrays.time, arrays.space, strict=True)
        ]
        if arrays.static.size:
            self.terms.append(_Term(None, self._in_space_of(arrays.static)))
        self._common = self._in_time_of(arrays.common) if arrays.common.size else None
        self._alone = self._in_time_of(arrays.alone) if arrays.alone.size else None

    def to(self, dtype: torch.dtype) -> LatticeOperator:
        """The same products in another precision."""
        found = copy(self)
        found.dtype, found._buffers = dtype, Buffers(self.device, dtype)
        found.transform = self.transform and self.transform.to(dtype)
        found.terms = [_Term(term.time and term.time.to(dtype), term.matrix.to(dtype)) for term in self.terms]
        found._common = self._common and self._common.to(dtype)
        found._alone = self._alone and self._alone.to(dtype)
        return found

    @property
    def meridians(self) -> Meridians | None:
        """Regular columns of the lattice, where kernels of space make use of them."""
        return self.tables.meridians

    @property
    def num_sites(self) -> int:
        """Number of cells of one frame."""
        nx, ny, _ = self.shape
        return nx * ny

    def cells(self, time_index: IntArray, site_index: IntArray) -> tuple[Tensor, Tensor]:
        """Places (site, time) in a field of the cells whose site counts along x first, as in a (ny, nx) frame."""
        nx, ny, _ = self.shape
        y, x = np.divmod(np.asarray(site_index), nx)
        site = site_index if self.transform is None else self.transform.positions[x] * ny + y
        return torch.as_tensor(site, device=self.device), torch.as_tensor(time_index, device=self.device)

    def empty(self, columns: int) -> Tensor:
        """A field of zeros for `columns` right-hand sides; overwritten by the next call."""
        nx, ny, nt = self.shape
        return self._buffers("input", nx * ny, columns, nt).zero_()

    def __call__(self, field: Tensor) -> Tensor:
        """K times a field (sites, R, nt); the answer is overwritten by the next call."""
        if self.transform is not None:
            out = self._through_frequencies(self.transform, field)
        else:
            out = self._buffers("output", *field.shape).zero_()
            for term in self.terms:
                self._directly(term, field, out)
        if self._common is not None:
            out += self._common.along(field.sum(0))[None]
        if self._alone is not None:
            out += self._in_time(self._alone, field)
        return out

    def _through_frequencies(self, transform: LongitudeTransform, field: Tensor) -> Tensor:
        nx, ny, nt = self.shape
        columns = field.shape[1]
        f = transform.forward(field.view(nx, ny * columns * nt)).view(-1, 2, ny, columns, nt)
        most = max(len(term.matrix) for term in self.terms)
        total = self._buffers("frequencies", most, 2, ny, columns * nt)
        filled = 0
        for term in sorted(self.terms, key=lambda term: -len(term.matrix)):
            k = len(term.matrix)
            if term.time is None and nt > 1:  # static: the same at all times
                same = self._blocks(term.matrix, f[:k].sum(-1), self._buffers("summed", k, 2, ny, columns), add=False)
                wide = total[:k].view(k, 2, ny, columns, nt)
                wide.add_(same[..., None]) if filled else wide.copy_(same[..., None].expand_as(wide))
            else:
                moved = self._in_time(term.time, f[:k]).reshape(k, 2, ny, columns * nt)
                self._blocks(term.matrix, moved, total[:k], add=bool(filled))
            filled = k
        return transform.inverse(total.view(most, 2, -1)).view(field.shape)

    def _blocks(self, blocks: Tensor, x: Tensor, out: Tensor, *, add: bool) -> Tensor:
        """Blocks (k, ny, ny) times (k, 2, ny, m), into or added to `out`."""
        k, _, ny, m = x.shape
        if m * PACKED > ny:  # as many operations as elements of the blocks: read them once for each part
            for part in (0, 1):
                target = out[:, part]
                target.baddbmm_(blocks, x[:, part]) if add else torch.bmm(blocks, x[:, part], out=target)
            return out
        packed = self._buffers("packed", k, ny, 2, m).copy_(x.transpose(1, 2))
        both = self._buffers("both", k, ny, 2 * m)
        torch.bmm(blocks, packed.view(k, ny, 2 * m), out=both)
        found = both.view(k, ny, 2, m).transpose(1, 2)
        return out.add_(found) if add else out.copy_(found)

    def _directly(self, term: _Term, field: Tensor, out: Tensor) -> None:
        """A term of dense space."""
        sites, columns, nt = field.shape
        if term.time is None and nt > 1:
            out += (term.matrix @ field.sum(-1))[..., None]
            return
        moved = self._in_time(term.time, field)
        out.view(sites, columns * nt).addmm_(term.matrix, moved.reshape(sites, columns * nt))

    def _in_time(self, time: _Time | None, x: Tensor) -> Tensor:
        """A matrix of time applied to the last axis."""
        return x if time is None else time.along(x, self._buffers("moved", *x.shape))

    def _in_time_of(self, table: FloatArray) -> _Time:
        """A table by pair or by lag as a matrix, or a spectrum for a long axis."""
        n, found = table.shape[-1], torch.as_tensor(table)
        if len(found) == n:
            return _Time(found.to(self.device, self.dtype), is_toeplitz=False)
        if n > MAX_DENSE_TIMES:
            circle = torch.cat([found[0], found[0, -1:] * 0, found[0, 1:].flip(0)])
            return _Time(torch.fft.rfft(circle).real.to(self.device, self.dtype), is_toeplitz=True)
        lag = (torch.arange(n)[:, None] - torch.arange(n)).abs()
        return _Time(found[0][lag].to(self.device, self.dtype), is_toeplitz=False)

    def _in_space_of(self, table: FloatArray) -> Tensor:
        """A table by row and lag as blocks of frequencies, or as a matrix of sites."""
        found = torch.as_tensor(table)
        found = found[..., 0] if self.meridians is None else spectrum(found, product_period(self.meridians))
        return found.to(self.device, self.dtype)


def _toeplitz(spectrum: Tensor, x: Tensor) -> Tensor:
    """The symmetric Toeplitz matrix of this spectrum times the last axis."""
    n = x.shape[-1]
    found: Tensor = torch.fft.irfft(torch.fft.rfft(x, n=2 * n) * spectrum, n=2 * n)[..., :n]
    return found


@dataclass(frozen=True, eq=False)
class _Time:
    """A kernel of time on the times of the lattice.

    Attributes
    ----------
    matrix : Tensor (nt, nt) or (frequencies,)
        Symmetric; the spectrum of a long regular axis.
    is_toeplitz : bool
        Whether it is a spectrum.
    """

    matrix: Tensor
    is_toeplitz: bool

    def to(self, dtype: torch.dtype) -> _Time:
        """The same in another precision."""
        return _Time(self.matrix.to(dtype), self.is_toeplitz)

    def along(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """The matrix applied to the last axis."""
        if self.is_toeplitz:
            return _toeplitz(self.matrix, x)
        out = torch.empty_like(x) if out is None else out
        n = x.shape[-1]
        torch.mm(x.reshape(-1, n), self.matrix, out=out.view(-1, n))
        return out


@dataclass(frozen=True, eq=False)
class _Term:
    """The terms of one kernel of time.

    Attributes
    ----------
    time : _Time or None
        None where it is one everywhere.
    matrix : Tensor
        Blocks (frequencies, ny, ny), or (sites, sites).
    """

    time: _Time | None
    matrix: Tensor
