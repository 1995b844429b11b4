"""Coefficients of linear prediction: a cell as a weighted sum of cells on the rows before it, fitted to each field.

The neighbourhood `length` × `width` is the last `length` rows, `width` cells wide. Fields (field, row, cell) have zero
mean and are continued behind their last row; coefficients (field, target, lag, cell) weight the cells of the
neighbourhood, the nearest row first, for each target of the next row in front of it. Nothing is predicted here.

Niemitalo et al. 2025, arXiv:2502.12300; Makhoul 1975, Linear prediction: a tutorial review, doi:10.1109/PROC.1975.9792.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xgpfill.arrays import FloatArray

TAPER = 0.5
"""The share of a Tukey window that is tapered."""
RIDGE = 1e-7
"""Added to the diagonal of normal equations, as a share of the variance."""
FREQUENCIES = 33
"""Waves along a row whose growth is looked at."""
SHARES = 8
"""Steps from wide coefficients to narrow ones."""


def by_covariance(fields: FloatArray, length: int, *, symmetric: bool) -> tuple[FloatArray, FloatArray]:
    """Coefficients (field, 1, length, 1) for the way back and for the way on, by least squares along all columns.

    On the way on they minimise Σ (x_i − a₁ x_{i−1} − a₂ x_{i−2})² over the cells whose neighbourhood is in the field,
    the covariance method; on the way back the same of the rows in reverse order. Poles outside the unit circle are
    reflected into it, so that no continuation grows.

    Parameters
    ----------
    fields : array (field, row, cell)
    length : {1, 2}
    symmetric : bool
        Whether the process is the same in both directions: both sums of squares are minimised together.
    """
    on, back = _moments(fields, length), _moments(fields[:, ::-1], length)
    if symmetric:
        on = back = (on[0] + back[0], on[1] + back[1])
    found = [stabilised(_from_moments(*moments)) for moments in (back, on)]
    return found[0][:, None, :, None], found[1][:, None, :, None]


def _moments(fields: FloatArray, length: int) -> tuple[FloatArray, FloatArray]:
    """Normal equations of the step x_i − x_{i−1} on x_{i−1} and, for two rows, on the step before it.

    The same predictor as on x_{i−1} and x_{i−2}, of which a smooth field would make nearly one column.
    """
    steps = np.diff(fields, axis=1)
    regressors = [fields[:, length - 1 : -1], *([steps[:, :-1]] if length == 2 else [])]
    step = steps[:, length - 1 :]
    gram = np.array([[np.einsum("fij,fij->f", a, b) for b in regressors] for a in regressors])
    vector = np.array([np.einsum("fij,fij->f", a, step) for a in regressors])
    return np.moveaxis(gram, -1, 0), vector.T


def _from_moments(gram: FloatArray, vector: FloatArray) -> FloatArray:
    """Solve for α, β and return a₁ = 1 + α + β, a₂ = −β; where columns depend on each other, the smallest solution."""
    scale = np.sqrt(np.einsum("fii->fi", gram))
    scale[scale == 0.0] = 1.0
    inverse = np.linalg.pinv(gram / scale[:, :, None] / scale[:, None, :], rcond=1e-12, hermitian=True)
    step = np.einsum("fij,fj->fi", inverse, vector / scale) / scale
    return np.stack([1.0 + step.sum(axis=1), *(-step[:, 1:].T)], axis=1)


def stabilised(coefficients: FloatArray) -> FloatArray:
    """Coefficients (field, length) whose poles p outside the unit circle became 1/p̄.

    The poles of one row are a₁, of two the roots of z² = a₁ z + a₂, so that a₁ = p₁ + p₂ and a₂ = −p₁ p₂.

    Examples
    --------
    >>> stabilised(np.array([[2.0], [0.5]])).tolist()
    [[0.5], [0.5]]
    >>> stabilised(np.array([[2.5, -1.0]])).tolist()  # poles at 2 and ½
    [[1.0, -0.25]]
    """
    if coefficients.shape[1] == 1:
        first = coefficients[:, 0]
        poles = np.stack([first, np.zeros_like(first)], axis=1).astype(complex)
    else:
        half, root = coefficients[:, 0] / 2, np.sqrt(coefficients[:, 0] ** 2 / 4 + coefficients[:, 1] + 0j)
        poles = np.stack([half + root, half - root], axis=1)
    outside = np.abs(poles) > 1.0
    poles[outside] = 1.0 / poles[outside].conj()
    inside = np.stack([poles.sum(axis=1).real, -poles.prod(axis=1).real], axis=1)[:, : coefficients.shape[1]]
    return np.where(outside.any(axis=1)[:, None], inside, coefficients)


def by_correlation(fields: FloatArray, length: int, width: int, *, circular: bool) -> FloatArray:
    """Coefficients (field, target, length, width) from the autocorrelation of the tapered fields.

    They solve (R + ε R(0) I) a = r, the normal equations of the autocorrelation method, with R the autocorrelation
    between cells of the neighbourhood and r that between them and a target. Rotated by half a turn, the process is the
    same, so they serve the way back as well. Those of one column are stable by nature; wider ones are calmed.

    Parameters
    ----------
    fields : array (field, row, cell)
    length, width : int
    circular : bool
        Whether the last cell of a row is beside its first: then there is no taper along rows, and lags go round.
    """
    lags = _autocorrelation(_tapered(fields, circular=circular), length, width - 1, circular=circular)

    def between(down: NDArray[Any], across: NDArray[Any]) -> FloatArray:
        sign = np.where(down < 0, -1, 1)
        return lags[:, np.abs(down), sign * across + width - 1]

    row, cell = (part.ravel() for part in np.meshgrid(np.arange(1, length + 1), np.arange(width), indexing="ij"))
    matrix = between(row[None, :] - row[:, None], cell[:, None] - cell[None, :])
    right = between(row[:, None] + np.zeros(width, int), np.arange(width)[None, :] - cell[:, None])
    variance = lags[:, 0, width - 1]
    ridge = np.where(variance > 0.0, RIDGE * variance, 1.0)
    solved = np.linalg.solve(matrix + ridge[:, None, None] * np.eye(row.size), right)
    found = np.swapaxes(solved, 1, 2).reshape(-1, width, length, width)
    return found if width == 1 else calmed(found, by_correlation(fields, length, 1, circular=circular))


def calmed(wide: FloatArray, narrow: FloatArray) -> FloatArray:
    """As much of wide coefficients (field, target, 2, width) as lets no wave along the rows grow from row to row.

    A wave exp(iωj) goes on by z² = A₁(ω) z + A₂(ω), with A_k(ω) the transform of the middle target's weights of lag k.
    Where some |z| exceeds one, the coefficients are (1 − s) wide + s narrow with the least s, in eighths, that leaves
    none: there are no poles to reflect one by one, and `narrow` (field, 1, 2, 1), each cell from its own column, is
    stable. The paper leaves such fields as they are; their margins grow without bound.
    """
    width = wide.shape[1]
    columns = narrow[:, 0, :, 0][:, None, :, None] * np.eye(width)[:, None, :]
    found, settled = columns.copy(), np.zeros(len(wide), bool)
    for share in np.linspace(0.0, 1.0, SHARES + 1):
        mixed = (1.0 - share) * wide + share * columns
        now = ~settled & (_growth(mixed[:, width // 2]) <= 1.0)
        found[now] = mixed[now]
        settled |= now
    return found


def _growth(middle: FloatArray) -> FloatArray:
    """The largest |z| over waves, of weights (field, lag, cell) of the middle target."""
    half = middle.shape[2] // 2
    waves = np.exp(1j * np.pi * np.outer(np.linspace(0.0, 1.0, FREQUENCIES), np.arange(-half, half + 1)))
    first, second = (np.einsum("fw,nw->fn", middle[:, lag], waves) for lag in range(2))
    root = np.sqrt(first**2 / 4 + second)
    return np.asarray(np.maximum(np.abs(first / 2 + root), np.abs(first / 2 - root)).max(axis=1))


def _tapered(fields: FloatArray, *, circular: bool) -> FloatArray:
    rows, cells = fields.shape[1:]
    across = np.ones(cells) if circular or cells == 1 else tukey(cells)
    return fields * tukey(rows)[:, None] * across


def tukey(size: int) -> FloatArray:
    """A window of ones between two halves of a raised cosine, without its zeros at both ends.

    Tukey 1967; Harris 1978, doi:10.1109/PROC.1978.10837, eq. 38.

    Examples
    --------
    >>> tukey(7).round(3).tolist()
    [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5]
    """
    place = np.arange(1, size + 1) / (size + 1)
    edge = np.minimum(np.minimum(place, 1.0 - place) / (TAPER / 2), 1.0)
    return 0.5 * (1.0 - np.cos(np.pi * edge))


def _autocorrelation(fields: FloatArray, down: int, across: int, *, circular: bool) -> FloatArray:
    """R(m, n) = Σ x_{i+m, j+n} x_{i, j} (field, m from 0 to `down`, n from −`across` to `across`)."""
    rows, cells = fields.shape[1:]
    found = np.zeros((len(fields), down + 1, 2 * across + 1))
    for m in range(min(down, rows - 1) + 1):
        for n in range(-across, across + 1):
            later, first = fields[:, m:], fields[:, : rows - m]
            if circular:
                later = np.roll(later, -n, axis=2)
            else:
                later, first = later[:, :, max(n, 0) : cells + min(n, 0)], first[:, :, max(-n, 0) : cells - max(n, 0)]
            found[:, m, n + across] = np.einsum("fij,fij->f", later, first)
    return found
