"""The prior covariance of a whole lattice as an operator, never as a matrix: K = Σ_j v_j T_j ⊗ S_j.

Fields are (nx, ny, R, nt) for R right-hand sides, time innermost. A product transforms along longitude once, applies
every term's block to each frequency and its time matrix to what remains, and transforms back once. Static terms are
summed over time first, common terms over space.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.errors import MethodError
from xgpfill.grid.lattice import MAX_TIMES
from xgpfill.grid.meridians import find_meridians
from xgpfill.kernels.evaluate import Lags, correlation
from xgpfill.kernels.outside import Outside
from xgpfill.kernels.spec import Brownian, Constant, Independent, Kernel, has_type
from xgpfill.linalg.space import dense_space, is_even, product_period, spectrum
from xgpfill.linalg.transforms import Buffers, LongitudeTransform

if TYPE_CHECKING:
    from torch import Tensor

    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.meridians import Meridians
    from xgpfill.grid.points import IntArray
    from xgpfill.kernels.prior import Prior

MAX_DENSE_TIMES = 2000
"""Longer regular time axes are multiplied by FFT."""
REGULAR_TIME = 1e-3
"""Times may lie this share of a step off a regular axis; they are then taken for regular."""
STATIONARY = 1e-6
"""Share of the largest covariance by which a user's kernel of time may miss a function of the lag alone."""


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
        ny, nx, _ = coordinates.shape
        self.shape: tuple[int, int, int] = (nx, ny, times.size)
        self._buffers = Buffers(device, dtype)
        self.meridians = self._usable_meridians()
        self.transform = None
        if self.meridians is not None:
            self.transform = LongitudeTransform(nx, product_period(self.meridians), device, dtype)
        self._common: Tensor | None = None
        self._long_common: Tensor | None = None
        self.terms: list[_Term] = []
        for time, group in self._by_time().items():
            self._add(time, group)

    @property
    def num_sites(self) -> int:
        """Number of cells of one frame."""
        nx, ny, _ = self.shape
        return nx * ny

    def cells(self, time_index: IntArray, site_index: IntArray) -> tuple[Tensor, Tensor]:
        """Places (site, time) in a field of the cells whose site counts along x first, as in a (ny, nx) frame."""
        nx, ny, _ = self.shape
        y, x = np.divmod(np.asarray(site_index), nx)
        return torch.as_tensor(x * ny + y, device=self.device), torch.as_tensor(time_index, device=self.device)

    def empty(self, columns: int) -> Tensor:
        """A field of zeros for `columns` right-hand sides; overwritten by the next call."""
        nx, ny, nt = self.shape
        return self._buffers("input", nx * ny, columns, nt).zero_()

    def __call__(self, field: Tensor) -> Tensor:
        """K times a field (sites, R, nt); the answer is overwritten by the next call."""
        sites, columns, nt = field.shape
        out = self._buffers("output", sites, columns, nt).zero_()
        if self.transform is not None:
            self._through_frequencies(field, out)
        for term in self.terms:
            if not term.in_frequency:
                self._directly(term, field, out)
        if self._common is not None:
            out += (field.sum(0) @ self._common)[None]  # the time matrix is symmetric
        if self._long_common is not None:
            out += _toeplitz(self._long_common, field.sum(0))[None]
        return out

    def _through_frequencies(self, field: Tensor, out: Tensor) -> None:
        terms = [term for term in self.terms if term.in_frequency]
        if not terms or self.transform is None:
            return
        nx, ny, nt = self.shape
        columns = field.shape[1]
        f = self.transform.forward(field.view(nx, ny * columns * nt)).view(-1, 2, ny, columns, nt)
        most = max(len(term.blocks) for term in terms)
        total = self._buffers("frequencies", most, 2, ny, columns, nt).zero_()
        for term in terms:
            k = len(term.blocks)
            if term.time is None and nt > 1:  # static: the same at all times
                summed = f[:k].sum(-1)
                z = self._buffers("summed", k, 2, ny, columns)
                for part in (0, 1):
                    torch.bmm(term.blocks, summed[:, part], out=z[:, part])
                total[:k] += z[..., None]
                continue
            moved = self._in_time(term, f[:k])
            for part in (0, 1):
                target = total[:k, part].view(k, ny, columns * nt)
                target.baddbmm_(term.blocks, moved[:, part].reshape(k, ny, columns * nt))
        out += self.transform.inverse(total.view(most, 2, ny * columns * nt)).view(out.shape)

    def _directly(self, term: _Term, field: Tensor, out: Tensor) -> None:
        """Terms of dense space, or of independent places."""
        sites, columns, nt = field.shape
        if term.time is None and nt > 1:
            summed = field.sum(-1)
            part = summed * term.scale if term.matrix is None else term.matrix @ summed
            out += part[..., None]
            return
        moved = self._in_time(term, field)
        if term.matrix is None:
            out.add_(moved, alpha=term.scale)
        else:
            out.view(sites, columns * nt).addmm_(term.matrix, moved.reshape(sites, columns * nt))

    def _in_time(self, term: _Term, x: Tensor) -> Tensor:
        """The time matrix applied to the last axis."""
        if term.time is None:
            return x
        if term.is_toeplitz:
            return _toeplitz(term.time, x)
        moved = self._buffers("moved", *x.shape)
        torch.mm(x.reshape(-1, x.shape[-1]), term.time, out=moved.view(-1, x.shape[-1]))
        return moved

    def _usable_meridians(self) -> Meridians | None:
        kernels = {term.space for term in self.prior.terms if not isinstance(term.space, (Constant, Independent))}
        found = find_meridians(self.coordinates, self.prior.geometry)
        return found if found is not None and kernels and all(is_even(k, found) for k in kernels) else None

    @property
    def _is_regular(self) -> bool:
        """Whether times are evenly spaced."""
        even = np.linspace(self.times[0], self.times[-1], self.times.size)
        return bool(np.abs(self.times - even).max() <= REGULAR_TIME * abs(even[1] - even[0]))

    def _by_time(self) -> dict[Kernel, list[tuple[float, Kernel]]]:
        """Space kernels with their variances for each time kernel: those of one time kernel are summed."""
        groups: dict[Kernel, list[tuple[float, Kernel]]] = {}
        for term in self.prior.terms:
            assert term.variance is not None
            always_one = self.shape[2] == 1 and not has_type(term.time, Brownian, Outside)
            time = Constant() if always_one else term.time
            groups.setdefault(time, []).append((float(term.variance), term.space))
        return groups

    def _add(self, time: Kernel, group: list[tuple[float, Kernel]]) -> None:
        matrix, toeplitz = self._time_matrix(time)
        blocks: Tensor | None = None
        for variance, space in group:
            if isinstance(space, Constant):
                self._add_common(variance, matrix, toeplitz=toeplitz)
            elif isinstance(space, Independent):
                self.terms.append(_Term(matrix, toeplitz, None, variance, in_frequency=False))
            elif self.meridians is not None:
                part = spectrum(space, self.meridians, product_period(self.meridians)).mul_(variance)
                blocks = part if blocks is None else _added(blocks, part)
            else:
                part = dense_space(space, self.coordinates, self.prior.geometry).mul_(variance)
                blocks = part if blocks is None else blocks.add_(part)
        if blocks is not None:
            spectral = self.meridians is not None
            kept = blocks.to(self.device, self.dtype)
            self.terms.append(_Term(matrix, toeplitz, kept, 1.0, in_frequency=spectral))

    def _add_common(self, variance: float, matrix: Tensor | None, *, toeplitz: bool) -> None:
        """A term that is the same everywhere in space."""
        if matrix is None:
            matrix = torch.ones(self.times.size, self.times.size, dtype=self.dtype, device=self.device)
        if toeplitz:
            self._long_common = variance * matrix + (0.0 if self._long_common is None else self._long_common)
        else:
            self._common = variance * matrix + (0.0 if self._common is None else self._common)

    def _time_matrix(self, kernel: Kernel) -> tuple[Tensor | None, bool]:
        """The matrix of a time kernel, its spectrum for a long regular axis, or None where it is one everywhere."""
        if isinstance(kernel, Constant):
            return None, False
        n = self.times.size
        x = torch.as_tensor(self.times)[:, None]
        if n > MAX_DENSE_TIMES and self._is_regular and _is_stationary(kernel, x):
            row = correlation(kernel, Lags.matrix(x[:1], x, "time"))[0]
            circle = torch.cat([row, row[-1:] * 0, row[1:].flip(0)])
            return torch.fft.rfft(circle).real.to(self.device, self.dtype), True
        if n > MAX_TIMES:
            raise MethodError(_TOO_MANY_TIMES.format(n))
        return correlation(kernel, Lags.matrix(x, x, "time")).to(self.device, self.dtype).contiguous(), False


def _is_stationary(kernel: Kernel, x: Tensor) -> bool:
    """Whether a time kernel depends on the lag alone; one that a user brought is tried on rows of its matrix."""
    if has_type(kernel, Brownian):
        return False
    if not has_type(kernel, Outside):
        return True
    n = len(x)
    rows = torch.tensor([0, n // 3, n - 1])
    K = correlation(kernel, Lags.matrix(x[rows], x, "time"))
    expected = K[0][(rows[:, None] - torch.arange(n)).abs()]
    return bool((K - expected).abs().max() <= STATIONARY * K[0].abs().max())


def _toeplitz(spectrum: Tensor, x: Tensor) -> Tensor:
    """The symmetric Toeplitz matrix of this spectrum times the last axis."""
    n = x.shape[-1]
    found: Tensor = torch.fft.irfft(torch.fft.rfft(x, n=2 * n) * spectrum, n=2 * n)[..., :n]
    return found


def _added(a: Tensor, b: Tensor) -> Tensor:
    """Sum of blocks of which one may have fewer frequencies."""
    longer, shorter = (a, b) if len(a) >= len(b) else (b, a)
    longer[: len(shorter)] += shorter
    return longer


@dataclass(frozen=True, eq=False)
class _Term:
    """One group of terms with the same time kernel.

    Attributes
    ----------
    time : Tensor or None
        Matrix (nt, nt), or the spectrum of a long regular axis; None for one everywhere.
    is_toeplitz : bool
    matrix : Tensor or None
        Blocks (frequencies, ny, ny), or (sites, sites); None where places are independent.
    scale : float
        Variance of independent places.
    in_frequency : bool
    """

    time: Tensor | None
    is_toeplitz: bool
    matrix: Tensor | None
    scale: float
    in_frequency: bool

    @property
    def blocks(self) -> Tensor:
        """The matrix, where there is one."""
        assert self.matrix is not None
        return self.matrix


_TOO_MANY_TIMES = (
    "The iterative engine takes {} time steps at once only when they are regular and no random walk is among the "
    "terms. Type smaller tiles, e.g. `tile={{'time': 2000}}`."
)
