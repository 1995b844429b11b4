"""Matérn correlations with derivatives in closed form: one exponential for the value and the slopes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from torch import Tensor


def polynomials(a: Tensor, nu: float) -> tuple[Tensor, Tensor]:
    """P and q with k = p e⁻ᵃ and dk/dlogℓ = q e⁻ᵃ for a Matérn correlation at scaled distance a."""
    if nu == 0.5:
        return torch.ones((), dtype=a.dtype), a
    square = a * a
    if nu == 1.5:
        return 1 + a, square
    return 1 + a + square / 3, square * (1 + a) / 3


class MaternTerm(torch.autograd.Function):
    """Variance times Matérn correlations of time, of space or of both: one exponential for all, and its derivatives.

    The derivative in a log lengthscale is what the polynomial of :func:`polynomials` says, in the log variance the
    term itself; both are contracted with the incoming derivative at once, pair by pair.
    """

    @staticmethod
    def forward(ctx, variance, time, space, time_scale, space_scale, time_nu, space_nu):  # type: ignore[no-untyped-def]  # noqa: D102
        axes = ((time, time_scale, time_nu), (space, space_scale, space_nu))
        scaled = [None if d is None else d * (math.sqrt(2 * nu) / scale) for d, scale, nu in axes]
        a, b = scaled
        e = torch.exp(-sum(x for x in scaled if x is not None))
        ctx.nus = time_nu, space_nu
        ctx.save_for_backward(variance, e, a, b, time_scale, space_scale)
        for x, nu in zip(scaled, ctx.nus, strict=True):
            if x is not None and nu != 0.5:
                e = e * polynomials(x, nu)[0]
        return e * variance

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # type: ignore[no-untyped-def]  # noqa: D102
        variance, e, a, b, time_scale, space_scale = ctx.saved_tensors
        ge = (grad * e).reshape(-1)
        (p, q), (r, s) = ((None, None) if x is None else _flat(x, nu) for x, nu in zip((a, b), ctx.nus, strict=True))
        with_p, with_r = (ge if part is None or part.ndim == 0 else ge * part for part in (p, r))
        in_time = None if q is None else variance * torch.dot(with_r, q) / time_scale
        in_space = None if s is None else variance * torch.dot(with_p, s) / space_scale
        in_variance = with_p.sum() if r is None or r.ndim == 0 else torch.dot(with_p, r)
        return in_variance, None, None, in_time, in_space, None, None


def _flat(x: Tensor, nu: float) -> list[Tensor]:
    return [part if part.ndim == 0 else part.reshape(-1) for part in polynomials(x, nu)]


class MaternCorrelation(torch.autograd.Function):
    """Matérn correlation with its closed-form derivative in log lengthscale: one exponential for both."""

    @staticmethod
    def forward(ctx, distance: Tensor, lengthscale: Tensor, nu: float) -> Tensor:  # type: ignore[no-untyped-def]  # noqa: D102
        a = distance * (math.sqrt(2 * nu) / lengthscale)
        e = torch.exp(-a)
        p, q = polynomials(a, nu)
        ctx.save_for_backward(q * e, lengthscale)
        return p * e

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):  # type: ignore[no-untyped-def]  # noqa: D102
        slope, lengthscale = ctx.saved_tensors
        return None, (grad * slope).sum() / lengthscale, None
