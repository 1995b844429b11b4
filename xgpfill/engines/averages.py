"""Weighted sums a = wᵀf of a field: what the prior knows of them, wᵀKw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.grid.lattice import Lattice, Space
from xgpfill.operators.lattice import LatticeOperator
from xgpfill.operators.suits import suits_iteration

if TYPE_CHECKING:
    from torch import Tensor

    from xgpfill.covariance.matrices import Covariance
    from xgpfill.grid.points import Points

FEW_PAIRS = 2**24
"""Pairs of cells whose covariances are summed one by one."""


def averaged_prior(law: Covariance, targets: Points, weights: Tensor) -> Tensor:
    """wᵀKw of every column of weights (m, k): by pairs of cells, or by one product where these are many."""
    used = np.flatnonzero((weights != 0).any(1).cpu().numpy())
    if used.size**2 > FEW_PAIRS and targets.is_grid:
        operator = _operator(law, targets)
        if operator is not None:
            site, time = operator.cells(targets.time_index, targets.site_index)
            return (spread_weights(operator, targets, weights)[site, :, time] * weights).sum(0)
    some, w = targets.take(used), weights[torch.as_tensor(used, device=weights.device)]
    found = torch.zeros_like(weights[0])
    for block in law.blocks(some, some):
        found += ((w.T @ block.columns).T * w[torch.as_tensor(block.index, device=w.device)]).sum(0)
    return found


def _operator(law: Covariance, targets: Points) -> LatticeOperator | None:
    """Products with the covariance of a grid of targets; None where there are none."""
    rows, columns = targets.frame or (targets.sites.shape[0], 1)
    coordinates = targets.sites.reshape(rows, columns, -1)
    lattice = Lattice(None, targets.times, Space(coordinates, law.prior.geometry))
    if not suits_iteration(lattice, law.prior):
        return None
    return LatticeOperator(law.prior, targets.times, coordinates, law.device, law.dtype, 0.0)


def spread_weights(operator: LatticeOperator, cells: Points, weights: Tensor) -> Tensor:
    """K times weights (m, k) of cells of the operator's lattice, on all of it: (sites, k, nt), overwritten next."""
    site, time = operator.cells(cells.time_index, cells.site_index)
    field = operator.empty(weights.shape[1])
    field[site, :, time] = weights
    return operator(field)
