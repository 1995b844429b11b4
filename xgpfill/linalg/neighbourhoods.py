"""Scattered points and the observations most correlated with them, by KD-trees in coordinates scaled by lengthscales.

"Most correlated" is under the full sum of terms: candidates come from one tree for each term, and those with the
largest prior covariance are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.grid.directions import apart_from_depth
from xgpfill.kernels.evaluate import Lags, prior_covariance
from xgpfill.kernels.reach import reach
from xgpfill.kernels.spec import Constant

if TYPE_CHECKING:
    from torch import Tensor

    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.points import Points
    from xgpfill.kernels.prior import Prior
    from xgpfill.kernels.spec import Kernel

LEAF = 32


@dataclass(frozen=True, eq=False)
class Neighbourhoods:
    """Where observations are and how covariances between them are evaluated, on one device in float64."""

    prior: Prior
    time: Tensor
    space: Tensor

    @classmethod
    def of(cls, prior: Prior, points: Points, device: str = "cpu") -> Neighbourhoods:
        """Of these points."""
        time, space = (torch.as_tensor(np.ascontiguousarray(x), device=device) for x in (points.time, points.space))
        return cls(prior, time[:, None], space)

    def covariance(self, first: Tensor, second: Tensor, other: Neighbourhoods | None = None) -> Tensor:
        """Prior covariance of points by number, (..., 1) with (..., m) or any shapes that broadcast."""
        b = other or self
        time = Lags(self.time[first], b.time[second], "time")
        return prior_covariance(self.prior, time, Lags(self.space[first], b.space[second], self.prior.geometry))


def metric_scales(prior: Prior, points: Points) -> list[tuple[float, ...]]:
    """Lengthscales (days, km, of depth) of each term in which its correlation decays; infinite where it does not."""
    axes = {"time": points.time[:, None], **dict(zip(("space", "depth"), apart_from_depth(points.space), strict=False))}
    extents = {name: max(float(np.ptp(x, axis=0).max()), 1e-9) for name, x in axes.items()}
    found: dict[tuple[float, ...], tuple[float, ...]] = {}
    for term in prior.terms:
        kernels = {**dict.fromkeys(axes, Constant()), **term.axes}
        scales = tuple(_scale(kernels[name], extent) for name, extent in extents.items())
        if not np.isinf(scales).all():
            ratio = tuple(round(float(np.arctan2(scales[0], scale)), 6) for scale in scales[1:])
            found.setdefault(ratio, scales)
    return list(found.values()) or [tuple(extents.values())]


def _scale(kernel: Kernel, extent: float) -> float:
    if isinstance(kernel, Constant):
        return np.inf
    return float(np.clip(reach(kernel), 1e-6 * extent, extent))


def scaled_coordinates(points: Points, scales: tuple[float, ...]) -> FloatArray:
    """Coordinates (n, 1 + d) over the lengthscales."""
    axes = [points.time[:, None], *apart_from_depth(points.space)]
    return np.concatenate([x / scale for x, scale in zip(axes, scales, strict=True)], axis=1)


def most_correlated(
    hood: Neighbourhoods, own: Tensor, candidates: Tensor, count: int, other: Neighbourhoods | None = None
) -> tuple[Tensor, Tensor]:
    """The candidates (rows, k) with the largest prior covariance with `own` (rows,), and whether each is one.

    Candidates of −1 are none; a candidate that occurs twice counts once.
    """
    candidates = candidates.sort(1).values
    twice = torch.zeros_like(candidates, dtype=torch.bool)
    twice[:, 1:] = candidates[:, 1:] == candidates[:, :-1]
    known = (candidates >= 0) & ~twice
    index = candidates.clamp_min(0)
    strength = hood.covariance(own[:, None], index, other).abs().masked_fill_(~known, -1.0)
    best = strength.topk(min(count, strength.shape[1]), dim=1).indices
    return index.gather(1, best), known.gather(1, best)
