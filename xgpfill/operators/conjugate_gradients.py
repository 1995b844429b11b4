"""Preconditioned block conjugate gradients (O'Leary 1980, doi:10.1016/0024-3795(80)90247-5).

All right-hand sides share one space of search directions, so each is served by the directions of all: with ten of
them a solve takes half the steps that ten separate ones take, at the same products. Directions that depend on others
are left out (Ji & Li 2017, doi:10.1007/s10543-016-0631-z).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from xgpfill.machine.threads import in_parts, own_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Product = Callable[[Tensor], Tensor]

MAX_RESTARTS = 20
PROGRESS = 0.25
"""What is left of a residual after a round in low precision, at most; else rounding stops it."""
ROUNDING, WELL_BELOW = 1e-6, 0.1
"""Share of a product that float32 rounds away, and share of a tolerance that this may be for it to tell residuals."""
WITNESSES = 2
"""Columns whose residual is told in full precision even then, before the iteration ends."""
PATIENCE = 60
"""Steps without a smaller residual after which a round ends: rounding stops it, and another start may help."""
ROWS = 2**14
"""Rows that one thread takes at once, on the processor."""
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
        True residuals in their measure, computed from the answer.
    converged : bool
        Whether every one is within its tolerance.
    remainder : Tensor (n, R)
        What is left, b − Ax.
    """

    values: Tensor
    steps: int
    residual: Tensor
    converged: bool
    remainder: Tensor


@own_threads()
def conjugate_gradients(
    product: Product,
    right: Tensor,
    preconditioner: Product,
    tolerance: Tensor,
    *,
    max_steps: int,
    scale: Tensor | None = None,
    fast: tuple[Product, Product] | None = None,
    callback: Callable[[int, float], None] | None = None,
) -> Solution:
    """Solve ``A x = b`` for every column of `right`.

    The recursion's residual drifts from the true one, so that is computed at the end; columns that fail it start again
    from where they are. With `fast` products the iteration runs in float32 and only the residuals in between in the
    precision of `right` (iterative refinement, Higham 2002, chapter 12); where rounding stops that, the products of
    full precision go on. Where float32 rounds away less than a tenth of every tolerance, it tells residuals as well.

    Parameters
    ----------
    product : callable
        A times (n, k), for any k.
    right : Tensor (n, R)
    preconditioner : callable
        A symmetric positive definite approximation of A⁻¹ times (n, k).
    tolerance : Tensor (R,)
        Of the residual: the root mean square of b − Ax over `scale`, or ‖b − Ax‖ / ‖b‖ where there is none.
    max_steps : int
    scale : Tensor (n,), optional
        What is small for each row.
    fast : pair of callables, optional
        Product and preconditioner for float32.
    callback : callable, optional
        Called after each step with its number and the largest residual over tolerance.

    Returns
    -------
    Solution
    """
    tiny = torch.finfo(right.dtype).tiny
    weight = None if scale is None else 1.0 / scale
    size = right.norm(dim=0).clamp_min(tiny) if scale is None else right.new_full(right.shape[1:], len(right) ** 0.5)
    x = torch.zeros_like(right)
    remainder, steps = right, 0
    residual = _norms(remainder, weight) / size
    check = product
    if fast is not None and bool((ROUNDING * residual <= WELL_BELOW * tolerance).all()):
        check = fast[0]  # its rounding is nothing beside what is asked
    for _ in range(MAX_RESTARTS):
        active = torch.nonzero(~(residual <= tolerance))[:, 0]
        if not active.numel() or steps >= max_steps:
            break
        length = remainder[:, active].norm(dim=0).clamp_min(tiny)
        start = remainder[:, active] / length
        goal = tolerance[active] * size[active] / length
        products, kind = ((product, preconditioner), right.dtype) if fast is None else (fast, torch.float32)
        here = None if weight is None else weight.to(kind)
        found, steps = _iterate(*products, start.to(kind), goal, here, steps, max_steps, callback)
        tried = x.index_add(1, active, found.to(x) * length)
        left = right - (product(tried) if check is product else check(tried.float()).to(right))
        before, after = residual, _norms(left, weight) / size
        better = after < before
        x, remainder = torch.where(better, tried, x), torch.where(better, left, remainder)
        residual = torch.where(better, after, before)
        if check is not product and bool((residual <= tolerance).all()):
            strict = tolerance.argsort()[:WITNESSES]  # a few in full precision stand for all
            true = _norms(right[:, strict] - product(x[:, strict].contiguous()), weight) / size[strict]
            if not bool((true <= tolerance[strict]).all()):
                check, remainder = product, right - product(x)
                residual = _norms(remainder, weight) / size
        slow = (residual > torch.maximum(tolerance, PROGRESS * before)).any()
        if bool(slow) and fast is None and not bool(better.any()):
            break  # rounding stops this precision as well
        if bool(slow):
            if check is not product:  # what float32 says is left is not what is left
                remainder = right - product(x)
                residual = _norms(remainder, weight) / size
            fast, check = None, product
    return Solution(x, steps, residual, bool((residual <= tolerance).all()), remainder)


def _iterate(
    product: Product,
    preconditioner: Product,
    r: Tensor,
    goal: Tensor,
    weight: Tensor | None,
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
        x, r = _sum(x, p, step), _sum(r, q, -step)
        excess = (_norms(r, weight) / goal).max()
        if callback is not None:
            callback(steps, float(excess))
        least, since = (float(excess), 0) if excess < least else (least, since + 1)
        if since > PATIENCE:
            break
        if not excess > 0.9:  # a little more than asked, so that rounding rarely asks for a restart; NaN leaves too
            break
        z = preconditioner(r)
        p = _independent(_sum(z, p, -torch.cholesky_solve(_small(q, z), energy).to(r)))
    return x, steps


def _rows(x: Tensor) -> int:
    """Rows that one thread takes at once; all of them on other devices."""
    return ROWS if x.device.type == "cpu" else max(1, len(x))


def _norms(x: Tensor, weight: Tensor | None) -> Tensor:
    """Length of every column, its elements weighted, in float64."""
    parts = [torch.zeros(x.shape[1], dtype=torch.float64, device=x.device)] * -(-len(x) // _rows(x))

    def part(start: int, stop: int) -> None:
        some = x[start:stop] if weight is None else x[start:stop] * weight[start:stop, None]
        parts[start // _rows(x)] = some.square().sum(0, dtype=torch.float64)

    in_parts(part, len(x), _rows(x))
    return torch.stack(parts).sum(0).sqrt() if parts else torch.zeros(x.shape[1], dtype=torch.float64)


def _sum(x: Tensor, p: Tensor, small: Tensor) -> Tensor:
    """The sum x + p · small."""
    found = torch.empty_like(x)
    in_parts(lambda a, b: torch.addmm(x[a:b], p[a:b], small, out=found[a:b]), len(x), _rows(x))
    return found


def _small(a: Tensor, b: Tensor) -> Tensor:
    """Products of columns, in float64 on the processor."""
    parts = [torch.zeros(0)] * -(-len(a) // _rows(a))

    def part(start: int, stop: int) -> None:
        parts[start // _rows(a)] = (a[start:stop].T @ b[start:stop]).double()

    in_parts(part, len(a), _rows(a))
    return torch.stack(parts).sum(0).cpu()


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
    basis = (vectors[:, kept] / values[kept].sqrt() / length[:, None]).to(p)
    found = p.new_empty(len(p), basis.shape[1])
    in_parts(lambda a, b: torch.mm(p[a:b], basis, out=found[a:b]), len(p), _rows(p))
    return found
