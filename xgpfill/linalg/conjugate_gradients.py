"""Preconditioned block conjugate gradients (O'Leary 1980, doi:10.1016/0024-3795(80)90247-5).

All right-hand sides share one space of search directions, so each is served by the directions of all: with ten of
them a solve takes half the steps that ten separate ones take, at the same products. Directions that depend on others
are left out (Ji & Li 2017, doi:10.1007/s10543-016-0631-z).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Product = Callable[[Tensor], Tensor]

MAX_RESTARTS = 20
PROGRESS = 0.25
"""What is left of a residual after a round in low precision, at most; else rounding stops it."""
PATIENCE = 60
"""Steps without a smaller residual after which a round ends: rounding stops it, and another start may help."""
DEPENDENT = {torch.float64: 1e-11, torch.float32: 1e-5}
"""Share of the largest eigenvalue of the directions' products below which one counts as dependent on the others."""


@dataclass(frozen=True, eq=False)
class Solution:
    """What the iteration found.

    Attributes
    ----------
    values : Tensor (n, R)
    steps : int
        Products with the operator, those that check the residual left out.
    residual : Tensor (R,)
        True residuals ‖b − Ax‖ / ‖b‖, computed from the answer.
    converged : bool
        Whether every one is within its tolerance.
    """

    values: Tensor
    steps: int
    residual: Tensor
    converged: bool


def conjugate_gradients(
    product: Product,
    right: Tensor,
    preconditioner: Product,
    tolerance: Tensor,
    *,
    max_steps: int,
    fast: tuple[Product, Product] | None = None,
    callback: Callable[[int, float], None] | None = None,
) -> Solution:
    """Solve ``A x = b`` for every column of `right`.

    The recursion's residual drifts from the true one, so that is computed at the end; columns that fail it start again
    from where they are. With `fast` products the iteration runs in float32 and only the residuals in between in the
    precision of `right` (iterative refinement, Higham 2002, chapter 12); where rounding stops that, the products of
    full precision go on.

    Parameters
    ----------
    product : callable
        A times (n, k), for any k.
    right : Tensor (n, R)
    preconditioner : callable
        A symmetric positive definite approximation of A⁻¹ times (n, k).
    tolerance : Tensor (R,)
        Of ‖b − Ax‖ / ‖b‖.
    max_steps : int
    fast : pair of callables, optional
        Product and preconditioner for float32.
    callback : callable, optional
        Called after each step with its number and the largest residual over tolerance.

    Returns
    -------
    Solution
    """
    size = right.norm(dim=0).clamp_min(torch.finfo(right.dtype).tiny)
    x = torch.zeros_like(right)
    remainder, steps = right, 0
    residual = remainder.norm(dim=0) / size
    for _ in range(MAX_RESTARTS):
        active = torch.nonzero(residual > tolerance)[:, 0]
        if not active.numel() or steps >= max_steps:
            break
        scale = residual[active] * size[active]
        start = remainder[:, active] / scale
        goal = tolerance[active] / residual[active]
        products, kind = ((product, preconditioner), right.dtype) if fast is None else (fast, torch.float32)
        found, steps = _iterate(*products, start.to(kind), goal, steps, max_steps, callback)
        tried = x.index_add(1, active, found.to(x) * scale)
        left = right - product(tried)
        before, after = residual, left.norm(dim=0) / size
        better = after < before
        x, remainder = torch.where(better, tried, x), torch.where(better, left, remainder)
        residual = torch.where(better, after, before)
        if fast is not None and bool((residual > torch.maximum(tolerance, PROGRESS * before)).any()):
            fast = None
    return Solution(x, steps, residual, bool((residual <= tolerance).all()))


def _iterate(
    product: Product,
    preconditioner: Product,
    r: Tensor,
    goal: Tensor,
    steps: int,
    max_steps: int,
    callback: Callable[[int, float], None] | None,
) -> tuple[Tensor, int]:
    """Answers (n, R) from zero, when every column's own residual says it is done or there is no direction left."""
    x = torch.zeros_like(r)
    least, since = float("inf"), 0
    p = _independent(preconditioner(r))
    while p.shape[1] and steps < max_steps:
        q = product(p)
        energy, failed = torch.linalg.cholesky_ex(_small(p, q))
        if failed or not torch.isfinite(energy).all():  # rounding, or an operator that is not positive definite
            break
        steps += 1
        step = torch.cholesky_solve(_small(p, r), energy).to(r)  # (PᵀAP)⁻¹ PᵀR
        x.addmm_(p, step)
        r = torch.addmm(r, q, step, alpha=-1.0)
        excess = (r.norm(dim=0) / goal).max()
        if callback is not None:
            callback(steps, float(excess))
        least, since = (float(excess), 0) if excess < least else (least, since + 1)
        if since > PATIENCE:
            break
        if not excess > 0.9:  # a little more than asked, so that rounding rarely asks for a restart; NaN leaves too
            break
        z = preconditioner(r)
        p = _independent(torch.addmm(z, p, torch.cholesky_solve(_small(q, z), energy).to(r), alpha=-1.0))
    return x, steps


def _small(a: Tensor, b: Tensor) -> Tensor:
    """Products of columns, in float64 on the processor."""
    return (a.T @ b).double().cpu()


def _independent(p: Tensor) -> Tensor:
    """Orthonormal columns that span those of `p`; fewer where some depend on others."""
    gram = _small(p, p)
    length = gram.diagonal().sqrt()
    there = length > 0
    if not there.any() or not torch.isfinite(gram).all():
        return p[:, :0]
    length = torch.where(there, length, 1.0)
    values, vectors = torch.linalg.eigh(gram / length[:, None] / length)
    kept = values > DEPENDENT[p.dtype] * values.max()
    found: Tensor = p @ (vectors[:, kept] / values[kept].sqrt() / length[:, None]).to(p)
    return found
