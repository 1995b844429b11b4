"""Linear prediction padding of one field, written from the equations of its paper in plain numpy, cell by cell.

It shares no code with xgpfill. Niemitalo et al. 2025, arXiv:2502.12300; Makhoul 1975, doi:10.1109/PROC.1975.9792.
"""

from __future__ import annotations

import numpy as np
from scipy.signal.windows import tukey

SHAPES = {"lp1x1": (1, 1), "lp2x1": (2, 1), "lp2x3": (2, 3)}


def padded(field: np.ndarray, rows: tuple[int, int], columns: tuple[int, int], mode: str, method: str) -> np.ndarray:
    """The field (row, column) with margins; along rows first, then along columns."""
    length, width = SHAPES[mode]
    mean = field.mean()
    out = anomaly = field - mean
    for turn, widths in ((np.transpose, columns), (np.asarray, rows)):
        if not any(widths):
            continue
        way_on, way_back = (
            coefficients(part, length, width, method) for part in (turn(anomaly), turn(anomaly)[::-1, ::-1])
        )
        if method == "cov_sym_stab":
            way_on = way_back = least_squares([turn(anomaly), turn(anomaly)[::-1]], length)
        part = turn(out)
        part = np.vstack([part, following(part, way_on, widths[1])])
        part = np.vstack([following(part[::-1, ::-1], way_back, widths[0])[::-1, ::-1], part])
        out = turn(part)
    return out + mean


def coefficients(field: np.ndarray, length: int, width: int, method: str) -> np.ndarray:
    """Weights (target, lag, cell) of the last rows, the nearest first."""
    return yule_walker(field, length, width) if method == "correlation" else least_squares([field], length)


def least_squares(fields: list[np.ndarray], length: int) -> np.ndarray:
    """The regression of every cell on those before it in its column, its poles reflected into the unit circle."""
    known, target = [], []
    for field in fields:
        for i in range(length, field.shape[0]):
            known += [[field[i - lag, j] for lag in range(1, length + 1)] for j in range(field.shape[1])]
            target += list(field[i])
    a = np.linalg.lstsq(np.array(known), np.array(target), rcond=None)[0]
    poles = np.roots([1.0, *(-a)])
    poles = [1 / np.conj(p) if abs(p) > 1 else p for p in poles]
    return -np.poly(poles)[1:].real.reshape(1, length, 1)


def yule_walker(field: np.ndarray, length: int, width: int) -> np.ndarray:
    """(R + ε R(0) I) a = r under a Tukey window, R by the Fourier transform."""
    ny, nx = field.shape
    windowed = field * np.outer(tukey(ny + 2)[1:-1], tukey(nx + 2)[1:-1] if nx > 1 else np.ones(1))
    spectrum = np.abs(np.fft.fft2(windowed, (2 * ny + 8, 2 * nx + 8))) ** 2
    R = np.fft.ifft2(spectrum).real
    places = [(-lag, cell) for lag in range(1, length + 1) for cell in range(width)]
    matrix = np.array([[R[a - c, b - d] for c, d in places] for a, b in places]) + 1e-7 * R[0, 0] * np.eye(len(places))
    targets = [np.linalg.solve(matrix, [R[0 - c, cell - d] for c, d in places]) for cell in range(width)]
    a = np.array(targets).reshape(width, length, width)
    if width == 1:
        return a
    narrow = np.zeros_like(a)
    for cell in range(width):
        narrow[cell, :, cell] = yule_walker(field, length, 1)[0, :, 0]
    mixed = [(1 - s) * a + s * narrow for s in np.arange(9) / 8]
    return next(one for one in mixed if growth(one) <= 1.0)


def growth(a: np.ndarray) -> float:
    """The largest pole, over waves along a row, of what the middle target is predicted by."""
    largest = 0.0
    for omega in np.linspace(0, np.pi, 33):
        wave = np.exp(1j * omega * np.array([-1, 0, 1]))
        largest = max(largest, *np.abs(np.roots([1.0, -(a[1, 0] @ wave), -(a[1, 1] @ wave)])))
    return largest


def following(field: np.ndarray, a: np.ndarray, steps: int) -> np.ndarray:
    """The next rows, each cell from a neighbourhood that it is in front of the middle of, or as near as there is."""
    width, length = a.shape[:2]
    rows = list(field)
    for _ in range(steps):
        new = np.zeros(field.shape[1])
        for j in range(new.size):
            start = min(max(j - width // 2, 0), new.size - width)
            for lag in range(1, length + 1):
                for cell in range(width):
                    new[j] += a[j - start, lag - 1, cell] * rows[-lag][start + cell]
        rows.append(new)
    return np.array(rows[len(field) :]).reshape(steps, field.shape[1])
