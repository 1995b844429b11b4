"""Fields of weights, K(targets, observations) times weights: by the operator on cells of the lattice, or in blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.engines.lattice.asked import places_on

if TYPE_CHECKING:
    from torch import Tensor

    from xgpfill.covariance.matrices import Covariance
    from xgpfill.engines.lattice.system import System
    from xgpfill.grid.points import Observations, Points


class Fields:
    """Fields of weights under one system.

    Parameters
    ----------
    system : System
    law : Covariance
    observations : Observations
    """

    def __init__(self, system: System, law: Covariance, observations: Observations) -> None:
        self._system, self._law, self._observations = system, law, observations

    def __call__(self, weights: Tensor, right: Tensor, targets: Points, *, rough: bool = False) -> Tensor:
        """K(targets, observations) times weights (n, R): by the operator on cells of the lattice, else in blocks.

        At observed cells K A⁻¹b = b − noise A⁻¹b. The right side is the better one there: it leaves out the residual,
        which may be small against the data and yet large against a small noise. Fields are made some columns at a time.
        """
        index = self._places(targets)
        if index is not None:
            step, (sites, times) = self._system.columns_at_once, index
            pairs = zip(torch.split(weights, step, dim=1), torch.split(right, step, dim=1), strict=True)
            return torch.cat([self._on_places(w, b, sites, times, rough=rough) for w, b in pairs], 1)
        found = weights.new_empty(len(targets), weights.shape[1])
        for block in self._law.blocks(self._observations.points, targets):
            found[torch.as_tensor(block.index)] = block.columns.T @ weights
        return found

    def _on_places(self, weights: Tensor, right: Tensor, sites: Tensor, times: Tensor | None, *, rough: bool) -> Tensor:
        """Fields of some columns at all of some sites at all of some times."""
        field, known = self._system.spread(weights, rough=rough), right - self._system.noise * weights
        field[self._system.site, :, self._system.time] = known.to(field)
        part = field[sites] if times is None else field[sites][..., times]
        return part.permute(2, 0, 1).reshape(-1, weights.shape[1])

    def _places(self, targets: Points) -> tuple[Tensor, Tensor | None] | None:
        """Places of a grid of targets in a field of the operator; None when some are elsewhere."""
        inside = places_on(self._observations.points, targets) if targets.is_grid else None
        if inside is None:
            return None
        sites, times = inside
        site, _ = self._system.operator.cells(np.zeros(sites.size, dtype=np.intp), sites)
        every = np.array_equal(times, np.arange(self._observations.points.times.size))
        return site, None if every else torch.as_tensor(times, device=self._law.device)
