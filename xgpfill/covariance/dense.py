"""Dense factorisations that say what happened when they fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from xgpfill.errors import NumericalError

if TYPE_CHECKING:
    from torch import Tensor

NUDGE = 1e-8
"""Relative addition to the diagonal of a small matrix whose factor fails by rounding."""
JITTERS = (0.0, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4)
"""Relative additions to the diagonal, tried in order until a Cholesky factor exists."""


def cholesky(matrix: Tensor, *, what: str = "covariance") -> Tensor:
    """Lower Cholesky factor of a positive semi-definite matrix, with the least jitter that works.

    Raises
    ------
    NumericalError
        When the matrix holds NaN, or is not positive definite even with the largest jitter.
    """
    if not matrix.numel():
        return matrix
    scale = matrix.diagonal().mean()
    _refuse_nan(scale, what)
    floor = 0.0 if matrix.dtype == torch.float64 else 1e-7
    for jitter in JITTERS:
        shifted = matrix if jitter + floor == 0.0 else matrix.clone()
        if jitter + floor:
            shifted.diagonal().add_((jitter + floor) * scale)
        factor, info = torch.linalg.cholesky_ex(shifted)
        if not info.any():
            found: Tensor = factor
            return found
    _refuse_nan(matrix, what)
    raise NumericalError(
        f"The {what} matrix ({matrix.shape[0]} × {matrix.shape[0]}) is not positive definite even after adding "
        f"{JITTERS[-1]:g} of its diagonal. Use `dtype='float64'`, a larger `noise=`, or a rougher kernel (matern32)."
    )


def _refuse_nan(numbers: Tensor, what: str) -> None:
    if not torch.isfinite(numbers).all():
        raise NumericalError(
            f"The {what} matrix holds NaN or infinite values. Check the hyperparameters: print `model.hyperparameters`."
        )


def cholesky_each(matrices: Tensor) -> Tensor:
    """Lower Cholesky factors of many small matrices (k, n, n), a little added to the diagonal of those that have none.

    Raises
    ------
    NumericalError
        When one has none even then.
    """
    factors, info = torch.linalg.cholesky_ex(matrices)
    if info.any():
        bad = info > 0
        shifted = matrices[bad]
        shifted.diagonal(dim1=1, dim2=2).mul_(1 + NUDGE)
        factors[bad], info = torch.linalg.cholesky_ex(shifted)
        if info.any():
            raise NumericalError(
                "The covariance of some neighbouring observations is not positive definite. Use `dtype='float64'`, a "
                "larger `noise=`, or a rougher kernel (matern32)."
            )
    found: Tensor = factors
    return found


def solve_lower(factor: Tensor, right: Tensor) -> Tensor:
    """L⁻¹ times a matrix (n, m) or vector (n,)."""
    solved: Tensor = torch.linalg.solve_triangular(factor, right if right.ndim == 2 else right[:, None], upper=False)
    return solved if right.ndim == 2 else solved[:, 0]
