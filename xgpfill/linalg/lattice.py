"""The prior covariance of a whole lattice as an operator, never as a matrix: K = Σ_j v_j T_j ⊗ S_j.

Fields are (nx, ny, R, nt) for R right-hand sides, time innermost. A product transforms along longitude once, applies
every term's block to each frequency and its time matrix to what remains, and transforms back once. Static terms are
summed over time first, common terms over space.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.linalg.space import odd_rows, product_period, rotated, spectrum
from xgpfill.linalg.tables import Tables
from xgpfill.linalg.threads import in_parts, own_threads
from xgpfill.linalg.transforms import Buffers, LongitudeTransform

if TYPE_CHECKING:
    from torch import Tensor

    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.meridians import Meridians
    from xgpfill.grid.points import IntArray
    from xgpfill.kernels.prior import Prior
    from xgpfill.linalg.rows.parts import Parts

    _Panels = tuple[tuple[slice, slice], ...]

MAX_DENSE_TIMES = 2000
"""Longer regular time axes are multiplied by FFT."""
PACKED = 4
"""Blocks of more rows than this times the columns are read once for both parts of a frequency."""
PART = 2**19
"""Elements of frequencies that are multiplied at once by one thread."""
NOTHING = {torch.float64: 1e-15, torch.float32: 1e-9}
"""Share of the largest element below which one is made zero: products with numbers that are next to nothing are many
times slower than others (denormal numbers), and rows that are far apart need not be multiplied at all."""
PANEL, BAND = 32, 8
"""Rows, and frequencies, that are multiplied at once with the rows that they are correlated with."""
NARROW = 0.7
"""Share of the operations that panels must not exceed to be worth their calls."""


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
    noise_share : float
        Noise over the variance of the prior: what is left out of products is small beside it.
    """

    def __init__(
        self,
        prior: Prior,
        times: FloatArray,
        coordinates: FloatArray,
        device: str,
        dtype: torch.dtype,
        noise_share: float = 1.0,
    ) -> None:
        self._noise_share = noise_share
        self.prior, self.times, self.coordinates = prior, times, coordinates
        self.device, self.dtype = device, dtype
        self.tables = Tables.of(prior, times, coordinates)
        ny, nx, _ = coordinates.shape
        self.shape: tuple[int, int, int] = (nx, ny, times.size)
        self._buffers = Buffers(device, dtype)
        self.transform = None
        self._odd = torch.zeros(0, dtype=torch.long)
        if self.meridians is not None:
            self._odd = odd_rows(self.meridians, device)
            self.transform = LongitudeTransform(nx, product_period(self.meridians), device, dtype)
        arrays = self.tables.arrays
        tables = zip(arrays.time, arrays.space, self.tables.parts, strict=True)
        self.terms = [self._term_of(time, space, parts) for time, space, parts in tables]
        if arrays.static.size:
            self.terms.append(self._term_of(None, arrays.static))
        self._common = self._in_time_of(arrays.common) if arrays.common.size else None
        self._alone = self._in_time_of(arrays.alone) if arrays.alone.size else None

    def to(self, dtype: torch.dtype) -> LatticeOperator:
        """The same products in another precision."""
        found = copy(self)
        found.dtype, found._buffers = dtype, Buffers(self.device, dtype)
        found.transform = self.transform and self.transform.to(dtype)
        found.terms = [term.to(dtype) for term in self.terms]
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

    def release(self) -> None:
        """Give back the memory that products write to; the next one takes it anew."""
        self._buffers.clear()
        if self.transform is not None:
            self.transform.release()

    def __call__(self, field: Tensor) -> Tensor:
        """K times a field (sites, R, nt); the answer is overwritten by the next call."""
        with own_threads():
            if self.transform is not None:
                out = self._through_frequencies(self.transform, field)
            else:
                out = self._buffers("output", *field.shape).zero_()
                for term in self.terms:
                    self._directly(term, field, out)
            if self._common is not None:
                out += self._common.along(field.sum(0))[None]
            if self._alone is not None:
                out += self._alone.along(field, self._buffers("moved", *field.shape))
        return out

    def _through_frequencies(self, transform: LongitudeTransform, field: Tensor) -> Tensor:
        nx, ny, nt = self.shape
        columns = field.shape[1]
        f = transform.forward(field.view(nx, ny * columns * nt)).view(-1, 2, ny, columns, nt)
        rotated(f, self._odd)
        terms = sorted(self.terms, key=lambda term: -len(term.matrix))
        most = len(terms[0].matrix)
        total = self._buffers("frequencies", most, 2, ny, columns * nt)
        step = max(1, PART // total[0].numel()) if self.device == "cpu" else most
        free = list(range(-(-most // step)))[::-1]  # a thread takes the first that no other one has

        def part(start: int, stop: int) -> None:
            number = free.pop()
            work = _Work(*(self._buffers(f"{name} {number}", *f[:step].shape) for name in ("moved", "packed", "both")))
            for k, term in enumerate(terms):
                here = slice(start, min(stop, len(term.matrix)))
                if here.start < here.stop:
                    own = work.of(slice(0, here.stop - start))
                    _add_term(term, here, f[here], total[here], own, add=k > 0)
            free.append(number)

        in_parts(part, most, step)
        rotated(total, self._odd, back=True)
        return transform.inverse(total.view(most, 2, -1)).view(field.shape)

    def _directly(self, term: _Term, field: Tensor, out: Tensor) -> None:
        """A term of dense space."""
        sites, columns, nt = field.shape
        if term.parts is not None and term.time is not None:
            moved = term.time.along(term.parts.gathered(field.view(term.parts.count, -1, columns, nt), 0))
            found = term.matrix @ moved.view(len(term.matrix), -1)
            term.parts.spread(found, out.view(term.parts.count, -1, columns * nt), 0, add=True)
            return
        if term.time is None and nt > 1:
            out += (term.matrix @ field.sum(-1))[..., None]
            return
        moved = field if term.time is None else term.time.along(field, self._buffers("moved", *field.shape))
        out.view(sites, columns * nt).addmm_(term.matrix, moved.reshape(sites, columns * nt))

    def _in_time_of(self, table: FloatArray) -> _Time:
        """A table by pair or by lag as a matrix, or a spectrum for a long axis."""
        n, found = table.shape[-1], _without_next_to_nothing(torch.as_tensor(table), torch.float64, "cpu")
        if len(found) == n:
            return _Time(found.to(self.device, self.dtype), is_toeplitz=False)
        if n > MAX_DENSE_TIMES:
            circle = torch.cat([found[0], found[0, -1:] * 0, found[0, 1:].flip(0)])
            return _Time(torch.fft.rfft(circle).real.to(self.device, self.dtype), is_toeplitz=True)
        lag = (torch.arange(n)[:, None] - torch.arange(n)).abs()
        return _Time(found[0][lag].to(self.device, self.dtype), is_toeplitz=False)

    def _term_of(self, time: FloatArray | None, space: FloatArray, parts: Parts | None = None) -> _Term:
        """Tables of time and of space as matrices; of space as blocks of frequencies, or as a matrix of sites.

        Of variables that share a term, and of levels, those of one of them.
        """
        table = torch.as_tensor(space)
        if parts is not None:
            table, parts = parts.of_one(table)
        odd = None if parts is not None or self.meridians is None else self.meridians.odd
        blocks = (
            table[..., 0]
            if self.meridians is None
            else spectrum(table, product_period(self.meridians), odd=odd, noise_share=self._noise_share)
        )
        moving = None if time is None else self._in_time_of(time)
        matrix = _without_next_to_nothing(blocks, self.dtype, self.device)
        return _Term(moving, matrix, parts).with_panels()


def _without_next_to_nothing(matrix: Tensor, dtype: torch.dtype, device: str) -> Tensor:
    """A matrix in this precision, with zeros where its elements are a negligible part of the largest."""
    found = torch.empty(matrix.shape, dtype=dtype, device=device)
    least = NOTHING[dtype] * float(max(matrix.max(), -matrix.min()))

    def part(start: int, stop: int) -> None:
        some = matrix[start:stop]
        found[start:stop] = torch.where(some.abs() < least, 0.0, some)

    in_parts(part, len(matrix), max(1, PART // max(1, matrix[0].numel())))
    return found


def _add_term(term: _Term, which: slice, f: Tensor, out: Tensor, work: _Work, *, add: bool) -> None:
    """A term's part of some frequencies (k, 2, ny, R, nt), into or added to `out` (k, 2, ny, R · nt)."""
    k, _, ny, columns, nt = f.shape
    if term.time is None and nt > 1:  # static: the same at all times
        same = torch.empty(k, 2, ny, columns, dtype=f.dtype, device=f.device)
        term.multiply(which, f.sum(-1), same, work, add=False)
        wide = out.view(k, 2, ny, columns, nt)
        wide.add_(same[..., None]) if add else wide.copy_(same[..., None].expand_as(wide))
        return
    if term.parts is not None and term.time is not None:
        count, rows = term.parts.count, ny // term.parts.count
        moved = term.time.along(term.parts.gathered(f.view(k, 2, count, rows, columns, nt), 2)).view(k, 2, rows, -1)
        found = torch.empty_like(moved)
        term.multiply(which, moved, found, work, add=False)
        term.parts.spread(found, out.view(k, 2, count, rows, columns * nt), 2, add=add)
        return
    moved = f if term.time is None else term.time.along(f, work.moved)
    term.multiply(which, moved.reshape(k, 2, ny, columns * nt), out, work, add=add)


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
        return _Time(_without_next_to_nothing(self.matrix, dtype, str(self.matrix.device)), self.is_toeplitz)

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
    parts : Parts or None
        Variables or levels whose rows or sites follow one another, of which the matrix is that of one; else it is all.
    panels : tuple of tuples of (slice, slice)
        For every `BAND` frequencies: some rows of their blocks, and the columns outside of which these rows are zero.
        Waves that are short in longitude are short-ranged in latitude: their blocks are narrow about the diagonal.
        Empty where blocks are small.
    """

    time: _Time | None
    matrix: Tensor
    parts: Parts | None = None
    panels: tuple[_Panels, ...] = ()

    def to(self, dtype: torch.dtype) -> _Term:
        """The same in another precision."""
        matrix = _without_next_to_nothing(self.matrix, dtype, str(self.matrix.device))
        return _Term(self.time and self.time.to(dtype), matrix, self.parts).with_panels()

    def with_panels(self) -> _Term:
        """The term with its panels, on the processor and where blocks are wide enough for them."""
        count = len(self.matrix)
        if self.matrix.ndim < 3 or self.matrix.shape[1] < 2 * PANEL or self.matrix.device.type != "cpu":
            return self
        panels: list[_Panels] = [()] * -(-count // BAND)

        def part(start: int, stop: int) -> None:
            panels[start // BAND] = _panels_of(self.matrix[start:stop])

        in_parts(part, count, BAND)
        return replace(self, panels=tuple(panels))

    def multiply(self, which: slice, x: Tensor, out: Tensor, work: _Work, *, add: bool) -> None:
        """Blocks of some frequencies (k, ny, ny) times (k, 2, ny, m), into or added to `out`."""
        if not self.panels:
            every = slice(0, self.matrix.shape[1])
            _multiply(self.matrix[which], ((every, every),), x, out, work, add=add)
            return
        for start in range(which.start - which.start % BAND, which.stop, BAND):
            some = slice(max(start, which.start), min(start + BAND, which.stop))
            here = slice(some.start - which.start, some.stop - which.start)
            panels = self.panels[start // BAND]
            _multiply(self.matrix[some], panels, x[here], out[here], work.of(here), add=add)


def _panels_of(blocks: Tensor) -> _Panels:
    """Rows of some blocks and the columns that they reach; all at once where panels would spare little."""
    ny = blocks.shape[1]
    seen, panels = (blocks != 0).any(0), []
    for start in range(0, ny, PANEL):
        rows = slice(start, min(start + PANEL, ny))
        columns = torch.nonzero(seen[rows].any(0))[:, 0]
        low, high = (int(columns[0]), int(columns[-1]) + 1) if columns.numel() else (0, 1)
        panels.append((rows, slice(low, high)))
    operations = sum((r.stop - r.start) * (c.stop - c.start) for r, c in panels)
    return tuple(panels) if operations <= NARROW * ny * ny else ((slice(0, ny), slice(0, ny)),)


@dataclass(frozen=True, eq=False)
class _Work:
    """Memory to work in, (frequencies, 2, ny, R, nt) each."""

    moved: Tensor
    packed: Tensor
    both: Tensor

    def of(self, some: slice) -> _Work:
        """That of some frequencies."""
        return _Work(self.moved[some], self.packed[some], self.both[some])


def _multiply(blocks: Tensor, panels: _Panels, x: Tensor, out: Tensor, work: _Work, *, add: bool) -> None:
    """Blocks (k, ny, ny) times (k, 2, ny, m), into or added to `out`."""
    k, _, ny, m = x.shape
    if m * PACKED > ny:  # as many operations as elements of the blocks: read them once for each part
        for part in (0, 1):
            for rows, columns in panels:
                block, target = blocks[:, rows, columns], out[:, part, rows]
                near = x[:, part, columns]
                target.baddbmm_(block, near) if add else torch.bmm(block, near, out=target)
        return
    packed, both = (part.reshape(-1)[: k * ny * 2 * m] for part in (work.packed, work.both))
    packed = packed.view(k, ny, 2, m).copy_(x.transpose(1, 2))
    for rows, columns in panels:
        torch.bmm(blocks[:, rows, columns], packed.view(k, ny, 2 * m)[:, columns], out=both.view(k, ny, 2 * m)[:, rows])
    found = both.view(k, ny, 2, m).transpose(1, 2)
    out.add_(found) if add else out.copy_(found)
