"""Preconditioned conjugate gradients for many independent right-hand sides at once (Hestenes & Stiefel 1952)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Product = Callable[[Tensor], Tensor]

MAX_RESTARTS = 4


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
    callback: Callable[[int, float], None] | None = None,
) -> Solution:
    """Solve ``A x = b`` for every column of `right` on its own.

    Columns leave the iteration when their residual is within tolerance. The recursion's residual drifts from the true
    one, so that is computed at the end; columns that fail it start again from where they are.

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
    callback : callable, optional
        Called after each step with its number and the largest residual over tolerance.

    Returns
    -------
    Solution
    """
    size = right.norm(dim=0)
    x = torch.zeros_like(right)
    residual = torch.where(size > 0, 1.0, 0.0).to(right.dtype)
    remainder, steps = right.clone(), 0
    for _ in range(MAX_RESTARTS):
        active = torch.nonzero(residual > tolerance)[:, 0]
        if not active.numel() or steps >= max_steps:
            break
        part = _Columns(x[:, active], remainder[:, active], active)
        steps = _iterate(part, x, size, tolerance, product, preconditioner, steps, max_steps, callback)
        remainder = right - product(x)
        residual = remainder.norm(dim=0) / size.clamp_min(torch.finfo(size.dtype).tiny)
    return Solution(x, steps, residual, bool((residual <= tolerance).all()))


class _Columns:
    """Those still in the iteration."""

    def __init__(self, x: Tensor, r: Tensor, index: Tensor) -> None:
        self.x, self.r, self.index = x, r, index
        self.p = self.rho = torch.zeros(0)

    def keep(self, chosen: Tensor) -> None:
        """Drop the others."""
        self.x, self.r, self.p = self.x[:, chosen], self.r[:, chosen], self.p[:, chosen]
        self.rho, self.index = self.rho[chosen], self.index[chosen]


def _iterate(
    part: _Columns,
    x: Tensor,
    size: Tensor,
    tolerance: Tensor,
    product: Product,
    preconditioner: Product,
    steps: int,
    max_steps: int,
    callback: Callable[[int, float], None] | None,
) -> int:
    """Run until every column's own residual says it is done; answers go into `x`."""
    part.p = preconditioner(part.r)
    part.rho = (part.r * part.p).sum(0)
    while part.index.numel() and steps < max_steps:
        q = product(part.p)
        steps += 1
        alpha = part.rho / (part.p * q).sum(0)  # α = rᵀz / pᵀAp
        part.x = torch.addcmul(part.x, part.p, alpha[None])
        part.r = torch.addcmul(part.r, q, alpha[None], value=-1.0)
        excess = part.r.norm(dim=0) / (size[part.index] * tolerance[part.index])
        if callback is not None:
            callback(steps, float(excess.max()))
        done = ~(excess > 0.9)  # a little more than asked, so that rounding rarely asks for a restart; NaN leaves too
        if done.any():
            x[:, part.index[done]] = part.x[:, done]
            part.keep(~done)
            if not part.index.numel():
                break
        z = preconditioner(part.r)
        rho = (part.r * z).sum(0)
        part.p = torch.addcmul(z, part.p, (rho / part.rho)[None])
        part.rho = rho
    x[:, part.index] = part.x
    return steps
