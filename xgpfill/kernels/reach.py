"""How far kernels correlate, in the unit of their axis: what halos and neighbourhoods are made from."""

from __future__ import annotations

import math

from xgpfill.kernels.functions.by_latitude import ByLatitude
from xgpfill.kernels.outside import Outside
from xgpfill.kernels.spec import Brownian, Constant, Independent, Kernel, Periodic, Product, Spectral, walk


def reach(kernel: Kernel) -> float:
    """How far a kernel correlates, in its axis' unit; infinite for one that never decays."""
    if isinstance(kernel, (Constant, Periodic, Brownian, Outside)):
        return float("inf")
    if isinstance(kernel, Independent):
        return 0.0
    if isinstance(kernel, Spectral):
        assert kernel.bandwidths is not None
        narrowest = min(float(b) for b in kernel.bandwidths)
        return 1 / (2 * math.pi * narrowest) if narrowest > 0 else float("inf")
    if isinstance(kernel, ByLatitude):
        return kernel.factors[1] * reach(kernel.of_one)
    if kernel.parts:
        reaches = [reach(part) for part in kernel.parts]
        return min(reaches) if isinstance(kernel, Product) else max(reaches)
    return max((float(k.lengthscale) for _, k in walk(kernel)), default=0.0)  # type: ignore[attr-defined]


def finest(kernel: Kernel) -> float:
    """The shortest length along which a kernel changes much, in its axis' unit; infinite for one that never does."""
    if isinstance(kernel, Constant):
        return float("inf")
    if isinstance(kernel, Periodic):
        return float(kernel.period) * min(0.25, float(kernel.lengthscale) / (2 * math.pi))  # type: ignore[arg-type]
    if isinstance(kernel, Spectral):
        highest = max(
            float(f) + float(b) for f, b in zip(kernel.frequencies or (), kernel.bandwidths or (), strict=True)
        )
        return 1 / (2 * math.pi * highest)
    if isinstance(kernel, Outside):
        return 0.0
    if isinstance(kernel, Brownian):
        return float("inf")
    if isinstance(kernel, ByLatitude):
        return kernel.factors[0] * finest(kernel.of_one)
    return min((finest(part) for part in kernel.parts), default=reach(kernel))
