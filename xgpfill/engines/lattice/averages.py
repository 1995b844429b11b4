"""Weighted sums a = wᵀf of a field: solves as close as their small errors ask.

With c = K(observations, cells) w, h = wᵀ1 and x ≈ A⁻¹c with the remainder ρ = c − Ax,

    mean = hβ + xᵀ(y − 1β),   variance = wᵀKw − (xᵀc + xᵀρ) + (h − 1ᵀx)²/P,   β = 1ᵀA⁻¹y/P,   P = 1ᵀA⁻¹1

The error of the variance is ρᵀA⁻¹ρ, of second order; y − 1β is a draw of covariance A, so that of the mean has the
standard deviation √(ρᵀA⁻¹ρ). So a solve goes on until that is small beside the posterior standard deviation of a.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch

from xgpfill.engines.averages import spread_weights
from xgpfill.errors import XgpfillWarning

if TYPE_CHECKING:
    from torch import Tensor

    from xgpfill.engines.lattice.system import System
    from xgpfill.grid.points import Points

SMALL, LARGE = 1e-4, 3e-3
"""Error of a mean, in its own standard deviations, at which a solve ends; and beyond which it is told."""
ROUNDS = 4
"""Solves for what the last one left, at most."""


def averaged_on(system: System, cells: Points, weights: Tensor) -> tuple[Tensor, Tensor]:
    """K(observations, cells) w and wᵀKw for weights (m, k) of cells of the system's lattice."""
    field = spread_weights(system.operator, cells, weights)
    site, time = system.operator.cells(cells.time_index, cells.site_index)
    return field[system.site, :, system.time], (field[site, :, time] * weights).sum(0)


def _times(system: System, v: Tensor) -> Tensor:
    """A times (n, k) in full precision, by the operator that averages are made with."""
    return system.spread(v)[system.site, :, system.time] + system.noise * v


def solve_closely(system: System, right: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """X ≈ A⁻¹ right (n, k) and what is left, right − Ax; `variance` (k,) is that without observations, NaN for none.

    Warns
    -----
    XgpfillWarning
        When the error of a mean stays large beside its standard deviation.
    """
    x, left = torch.zeros_like(right), right
    for _ in range(ROUNDS):
        x = x + system.solution(left, system.tolerance_for(left)).values
        left = right - _times(system, x)
        error = (left * system.preconditioner(left)).sum(0).clamp_min(0.0).sqrt()
        posterior = (variance - (x * (right + left)).sum(0)).clamp_min(torch.finfo(x.dtype).eps * variance)
        relative = torch.where(variance.isnan(), 0.0, error / posterior.sqrt())
        worst = float(relative.max())
        if worst <= SMALL:
            break
    if worst > LARGE:
        warnings.warn(
            f"Solves for averages ended with means about {worst:.2g} of their standard deviations off. Type "
            f"`method=xgpfill.Iterative(num_neighbours={2 * system.num_neighbours})`, or a larger `noise=`.",
            XgpfillWarning,
            stacklevel=2,
        )
    return x, left
