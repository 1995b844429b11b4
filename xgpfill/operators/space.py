"""How a space kernel acts on a lattice: spectra in longitude where meridians are regular, a dense matrix elsewhere.

A kernel that depends on (y, y', x − x') alone is block-circulant around the globe and block-Toeplitz on a region.
After a real Fourier transform along x every frequency has its own real, symmetric (ny, ny) block. That of rows whose
covariance is odd in the lag is imaginary; it is real when the transform of either is times i (:func:`rotated`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.covariance.check import invariant_in_longitude
from xgpfill.covariance.evaluate import Lags, correlation
from xgpfill.errors import MethodError
from xgpfill.grid.directions import places_of
from xgpfill.grid.lattice import MAX_DENSE_SITES
from xgpfill.kernels.outside import Outside
from xgpfill.kernels.parts import has_type
from xgpfill.machine.threads import in_parts
from xgpfill.operators.transforms import period_for

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from xgpfill.arrays import FloatArray
    from xgpfill.grid.meridians import Meridians
    from xgpfill.kernels.spec import Kernel

NEGLIGIBLE = 1e-8
"""Frequencies whose block is smaller than this share of the largest are left out."""
BELOW_NOISE = 0.01
"""Share of the noise that may be left out of, or added to, the variance of a field."""
LEAST = 1e-15
"""Share of the largest that rounding leaves in a block."""
UNCORRELATED = 1e-8
CHUNK = 2**18


def product_period(meridians: Meridians) -> int:
    """After how many columns a product repeats: around the globe, or far enough for a region not to overlap."""
    return meridians.size if meridians.is_global else period_for(meridians.size)


def by_row(kernel: Kernel, meridians: Meridians, *columns: FloatArray) -> Tensor:
    """Correlation of the cells of the first column with those of others (lags, ny, d), (ny, ny, lags), summed.

    At lags the other way that of an odd row with an even one has the other sign.
    """
    first = torch.as_tensor(meridians.column)
    others = [torch.as_tensor(np.ascontiguousarray(column.transpose(1, 0, 2))) for column in columns]  # (ny, lags, d)
    ny, lags, d = others[0].shape
    table = torch.empty(ny, ny, lags, dtype=torch.float64)
    odd = torch.as_tensor(meridians.odd)
    sign = torch.where(odd[:, None] != odd, -1.0, 1.0).double()[..., None]
    step = max(1, CHUNK // lags)

    def row(y: int, _: int) -> None:  # symmetric in the rows
        for start in range(y, ny, step):
            part = table[y, start : start + step]
            for k, other in enumerate(others):
                flat = other[start : start + step].reshape(-1, d)
                value = correlation(kernel, Lags.matrix(first[y : y + 1], flat, meridians.geometry)).view_as(part)
                part.copy_(value) if k == 0 else part.add_(value)
        table[y + 1 :, y] = table[y, y + 1 :] * sign[y, y + 1 :]

    if has_type(kernel, Outside):  # a function of a user's may not like threads
        for y in range(ny):
            row(y, y + 1)
    else:
        in_parts(row, ny, 1)
    return table


def spectrum(
    table: Tensor,
    period: int,
    *,
    odd: NDArray[np.bool_] | None = None,
    count: int | None = None,
    noise_share: float = 1.0,
) -> Tensor:
    """Real blocks (frequencies, ny, ny) of a table (ny, ny, lags) on columns that repeat after `period`; float64.

    Lags beyond those of the table get the covariance of the last; products never use them. Without a `count` the
    highest frequencies are left out where those on the diagonal hold a negligible part of the largest, also beside a
    noise of `noise_share` of the variance. Where rows are `odd`, the blocks are those of rotated transforms.
    """
    ny, _, lags = table.shape
    cosines = _cosines(period, lags)
    if count is None:
        count = leading(_largest(cosines, table.diagonal(dim1=0, dim2=1)), negligible(NEGLIGIBLE, noise_share, period))
    cosines = cosines[:count].T.contiguous()
    blocks = torch.empty(count, ny, ny, dtype=torch.float64)
    is_odd = torch.zeros(ny, dtype=torch.bool) if odd is None else torch.as_tensor(odd)
    sines = _sines(period, lags)[:count].T.contiguous() if is_odd.any() else None

    def row(y: int, _: int) -> None:  # symmetric in the rows
        blocks[:, y, y:] = (table[y, y:] @ cosines).T
        if sines is not None:
            other = y + torch.nonzero(is_odd[y:] != is_odd[y])[:, 0]
            blocks[:, y, other] = (table[y, other] @ sines).T * (-1.0 if is_odd[y] else 1.0)
        blocks[:, y + 1 :, y] = blocks[:, y, y + 1 :]

    in_parts(row, ny, 1)
    return blocks


def levels(along: list[Tensor], period: int) -> Tensor:
    """Largest block element on the diagonal, (frequencies,), from covariances (lags, ny) along rows, summed."""
    total = torch.stack(along).sum(0)
    return _largest(_cosines(period, len(total)), total)


def leading(level: Tensor, negligible: float) -> int:
    """How many leading frequencies it takes to have all whose level is more than a share of the largest."""
    return int(torch.nonzero(level > negligible * level.max())[-1]) + 1


def negligible(most: float, noise_share: float, period: int) -> float:
    """Share of the largest block that may be left out: all of these together hold no more than `period` times it."""
    return min(most, max(LEAST, BELOW_NOISE * noise_share / period))


def _largest(cosines: Tensor, along: Tensor) -> Tensor:
    return (cosines @ along).abs().amax(1)


def lags_around(meridians: Meridians, period: int, shift: int = 0) -> FloatArray:
    """The columns at every lag up to half a period, moved by whole periods, (lags, ny, d)."""
    return meridians.columns(np.arange(period // 2 + 1, dtype=float) + shift * period)


def images(kernel: Kernel, meridians: Meridians, period: int) -> list[FloatArray]:
    """The columns at every lag and those of their images that are not as good as uncorrelated with the first."""
    first = torch.as_tensor(meridians.column)[None]
    turn = np.inf if meridians.geometry == "plane" else np.pi / abs(meridians.step)
    found = [lags_around(meridians, period)]
    full, places = meridians.longest_period, {0}
    for shift in (1, -1, 2, -2):
        place = shift * period if full is None else shift * period % full  # around a circle two may be the same
        if (abs(shift) - 0.5) * period <= turn and place not in places:
            places.add(place)
            column = lags_around(meridians, period, shift)
            far = correlation(kernel, Lags(first, torch.as_tensor(column), meridians.geometry))
            if float(far.abs().max()) > UNCORRELATED:
                found.append(column)
    return found


def _cosines(period: int, lags: int) -> Tensor:
    """The real transform of even data as a matrix (frequencies, lags), the last lag standing for those beyond it.

    Every lag but zero and half the period occurs twice.
    """
    k = torch.arange(period // 2 + 1)
    angle = 2 * math.pi * ((k[:, None] * k) % period).double() / period
    twice = torch.full((k.numel(),), 2.0, dtype=torch.float64)
    twice[0] = 1.0
    if period % 2 == 0:
        twice[-1] = 1.0
    cosines = angle.cos() * twice
    if lags == k.numel():
        return cosines
    return torch.cat([cosines[:, : lags - 1], cosines[:, lags - 1 :].sum(1, keepdim=True)], 1)


def _sines(period: int, lags: int) -> Tensor:
    """The imaginary transform of odd data, likewise; it has nothing at no lag and at half the period."""
    k = torch.arange(period // 2 + 1)
    angle = 2 * math.pi * ((k[:, None] * k) % period).double() / period
    sines = 2.0 * angle.sin()
    if period % 2 == 0:
        sines[:, -1] = 0.0
    if lags == k.numel():
        return sines
    return torch.cat([sines[:, : lags - 1], sines[:, lags - 1 :].sum(1, keepdim=True)], 1)


def rotated(frequencies: Tensor, odd: Tensor, *, back: bool = False) -> Tensor:
    """Transforms (frequencies, 2, ny, ...) with those of the odd rows times i, or −i, in place."""
    if odd.numel():
        real, imaginary = frequencies[:, 0, odd], frequencies[:, 1, odd]
        frequencies[:, 0, odd] = imaginary if back else -imaginary
        frequencies[:, 1, odd] = -real if back else real
    return frequencies


def odd_rows(meridians: Meridians, device: str = "cpu") -> Tensor:
    """Numbers of the odd rows."""
    return torch.as_tensor(np.flatnonzero(meridians.odd), device=device)


def dense_space(kernel: Kernel, coordinates: FloatArray, geometry: str) -> Tensor:
    """The matrix of a kernel between all sites, (sites, sites), in rows that stay near the caches; float64.

    Raises
    ------
    MethodError
        When there are too many sites that lie on no regular meridians.
    """
    flat = torch.as_tensor(np.ascontiguousarray(coordinates.reshape(-1, coordinates.shape[-1])))
    n = flat.shape[0]
    if n > MAX_DENSE_SITES:
        raise MethodError(
            "A matrix between all places is made for lattices with regular longitudes (or x), or up to "
            f"{MAX_DENSE_SITES} other places; these {n} lie on no regular meridians. Type `method='vecchia'`, or "
            f"smaller tiles, e.g. `tile={{'y': 100, 'x': 100}}`."
        )
    K = torch.empty(n, n, dtype=torch.float64)
    width = max(1, CHUNK // n)
    for start in range(0, n, width):
        K[start : start + width] = correlation(kernel, Lags.matrix(flat[start : start + width], flat, geometry))
    return K


def is_even(kernel: Kernel, meridians: Meridians) -> bool:
    """Whether a kernel is the same to the left and to the right, and along all meridians; ours are."""
    columns = places_of(meridians.columns(np.arange(min(meridians.size, 24), dtype=float)))
    places = columns.reshape(-1, columns.shape[-1])
    if not invariant_in_longitude(kernel, places, meridians.geometry):
        return False
    first = torch.as_tensor(places_of(meridians.column))[None, :, None, :]
    sides = [torch.as_tensor(places_of(meridians.columns(np.array([side * 2.0]))))[:, None, :, :] for side in (-1, 1)]
    left, right = (correlation(kernel, Lags(first, side, meridians.geometry)) for side in sides)
    return bool(torch.allclose(left, right, rtol=1e-6, atol=1e-9))
