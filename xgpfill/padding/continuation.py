"""Fields continued past their edges: axis by axis by linear prediction, and round a circle by what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xgpfill.padding.predictors import by_correlation, by_covariance

if TYPE_CHECKING:
    from xgpfill.arrays import FloatArray

NEIGHBOURHOODS = {"lp1x1": (1, 1), "lp2x1": (2, 1), "lp2x3": (2, 3)}
"""Rows and cells a row that a cell is predicted from."""
Widths = tuple[tuple[int, int], tuple[int, int]]
Periods = tuple[int | None, int | None]


def continued(fields: FloatArray, widths: Widths, periods: Periods, mode: str, method: str) -> FloatArray:
    """Fields (field, row, cell) with margins that linear prediction made of each; a circular axis is left as it is.

    Rows are made longer first and columns then, corners with them, by coefficients of the field as it was.

    Parameters
    ----------
    fields : array (field, row, cell)
    widths : pairs of int
        Cells to add before and after, along columns and along rows.
    periods : pair of int or None
        Cells of a full circle, along columns and along rows; None where there is none.
    mode : {"lp1x1", "lp2x1", "lp2x3"}
    method : {"cov_stab", "cov_sym_stab", "correlation"}

    Notes
    -----
    Niemitalo et al. 2025, arXiv:2502.12300.

    Examples
    --------
    >>> wave = np.cos(np.arange(8.0)).reshape(1, 8, 1)
    >>> longer = continued(wave, ((0, 2), (0, 0)), (None, None), "lp2x1", "cov_stab")
    >>> longer.shape
    (1, 10, 1)
    """
    length, width = NEIGHBOURHOODS[mode]
    sizes = [n if period is None else period for n, period in zip(fields.shape[1:], periods, strict=True)]
    once = fields[:, : sizes[0], : sizes[1]]  # without a meridian that is repeated
    mean = once.mean(axis=(1, 2), keepdims=True)
    unit = np.abs(once - mean).max(axis=(1, 2), keepdims=True)  # squares of large values would be infinite
    unit[unit == 0.0] = 1.0
    anomalies = out = (once - mean) / unit
    for axis in (2, 1):
        if periods[axis - 1] is not None or not any(widths[axis - 1]):
            continue
        circular = periods[2 - axis] is not None
        along, longer = (np.swapaxes(part, 1, axis) for part in (anomalies, out))
        if method == "correlation":
            back = on = by_correlation(along, length, width, circular=circular)
        else:
            back, on = by_covariance(along, length, symmetric=method == "cov_sym_stab")
        before, after = widths[axis - 1]
        first = predicted(longer[:, ::-1, ::-1], back, before, circular=circular)[:, ::-1, ::-1]
        last = predicted(longer, on, after, circular=circular)
        out = np.swapaxes(np.concatenate([first, longer, last], axis=1), 1, axis)
    out = out * unit + mean
    for axis, (n, period) in enumerate(zip(fields.shape[1:], periods, strict=True), start=1):
        out = out if period is None else np.take(out, np.arange(n) % period, axis=axis)
    starts = [0 if period is not None else before for period, (before, _) in zip(periods, widths, strict=True)]
    inner = tuple(slice(start, start + n) for start, n in zip(starts, fields.shape[1:], strict=True))
    out[:, *inner] = fields
    return np.asarray(out)


def predicted(fields: FloatArray, coefficients: FloatArray, steps: int, *, circular: bool) -> FloatArray:
    """The next rows (field, step, cell), each from those before it.

    A cell is in the middle of its neighbourhood; at the ends of a row that is not circular it is as near to it as the
    field allows.
    """
    width, length = coefficients.shape[1:3]
    half = width // 2
    rows = [fields[:, -lag] for lag in range(length, 0, -1)]
    for _ in range(steps):
        last = np.stack(rows[: -length - 1 : -1], axis=1)  # the nearest row first
        last = np.concatenate([last[:, :, -half:], last, last[:, :, :half]], axis=2) if circular and half else last
        near = np.lib.stride_tricks.sliding_window_view(last, width, axis=2)
        row = np.einsum("flcw,flw->fc", near, coefficients[:, half])
        if half and not circular:
            first = np.einsum("flw,ftlw->ft", near[:, :, 0], coefficients[:, :half])
            end = np.einsum("flw,ftlw->ft", near[:, :, -1], coefficients[:, half + 1 :])
            row = np.concatenate([first, row, end], axis=1)
        rows.append(row)
    return np.stack(rows[length:], axis=1) if steps else fields[:, :0]
