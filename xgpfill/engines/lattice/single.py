"""Variances of targets one by one, on the lattice or off it: exact ones, and those given neighbours of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial import KDTree

from xgpfill.engines.lattice.asked import places_on
from xgpfill.engines.lattice.system import EPS
from xgpfill.engines.lattice.variance import Pool
from xgpfill.vecchia.local import Goals, Patches, local_conditionals, local_weights
from xgpfill.vecchia.neighbourhoods import Neighbourhoods

if TYPE_CHECKING:
    from torch import Tensor

    from xgpfill.arrays import FloatArray, IntArray
    from xgpfill.covariance.matrices import Covariance
    from xgpfill.engines.lattice.asked import AnyFloats, Told
    from xgpfill.engines.lattice.system import System
    from xgpfill.grid.points import Observations, Points

NEIGHBOURS = 64
"""Observations that a cell is conditioned on, at least."""
NEARLY_ALL = 1024
"""Observations that an exact solve begins with."""
CLOSELY, LOOSELY = 0.01, 0.04
"""Share by which variances of single cells may come out too large: of those asked for, and of probes."""


class Singly:
    """Variances of targets, each by itself, under one system.

    Parameters
    ----------
    system : System
    law : Covariance
    observations : Observations
    """

    def __init__(self, system: System, law: Covariance, observations: Observations) -> None:
        self._system, self._law, self._observations = system, law, observations

    def goals(self, targets: Points) -> Goals:
        """Targets as the local conditionals want them: cells of the lattice, or places with a cell nearby."""
        law, own = self._law, self._observations.points
        prior = np.asarray(law.diagonal(targets).double().cpu().numpy())
        tables, inside = self._system.operator.tables, places_on(own, targets)
        if inside is not None:
            sites, times = inside
            return Goals(tables.cells(times[targets.time_index], sites[targets.site_index]), prior)
        _, near = KDTree(own.sites).query(targets.sites)
        _, when = KDTree(own.times[:, None]).query(targets.times[:, None])
        cells = tables.cells(when[targets.time_index], near[targets.site_index])
        goals, hood = (Neighbourhoods.of(law.prior, points, law.device) for points in (targets, own))

        def cross(index: IntArray, near: IntArray) -> FloatArray:
            first, second = (torch.as_tensor(i, device=law.device) for i in (index[:, None], near))
            return np.asarray(goals.covariance(first, second, hood).double().cpu().numpy())

        return Goals(cells, prior, cross)

    def exactly(self, targets: Points, excess: float = CLOSELY) -> tuple[FloatArray, Tensor]:
        """Exact variances of targets (k,), the trend left out, and their covariances (n, k) with the observations.

        Solved for one by one, from what kriging with many neighbours of their own weighs; too large by no more than
        this share.
        """
        cross, goals = self._law.matrix(self._observations.points, targets), self.goals(targets)
        near = local_weights(self._system.neighbours, goals, NEARLY_ALL).to(cross)
        local = np.maximum(goals.prior - (near * cross).sum(0).double().cpu().numpy(), EPS * goals.prior)
        return self._system.variances(goals.prior, cross, near, local, excess), cross

    def local_sd(self, targets: Points) -> FloatArray:
        """Standard deviations given neighbours of their own alone: a little too large."""
        return np.asarray(np.sqrt(self.singly(self.goals(targets), np.zeros((len(targets), 0)), NEIGHBOURS)[0]))

    def elsewhere(self, targets: Points) -> FloatArray:
        """Variances of any targets, each by itself, with what cells of the lattice with a like local variance miss."""
        told = self._system.told
        assert told is not None
        assert told.asked is not None
        goals = self.goals(targets)
        local, _ = self.singly(goals, np.zeros((len(targets), 0)), told.neighbours)
        time, row, column = goals.cells.T.astype(np.intp)
        site = row * self._system.operator.tables.shape[2] + column
        number = told.asked.number(np.stack([time, site], axis=1))
        factors = tuple(np.where(number < 0, 1.0, factor[number]) for factor in told.factors)
        pool = self._single_pool(told)
        return np.asarray(local * (1.0 - pool.near(local / goals.prior, (factors[0], factors[1]))))

    def _single_pool(self, told: Told) -> Pool:
        """What a sample of cells misses when each has neighbours of its own."""
        assert told.sample is not None
        if self._system.single_pool is None:
            goals, errors = self.goals(told.sample.points), np.square(told.sample.errors).mean(1)
            local, missed = self.singly(goals, told.sample.mean, told.neighbours)
            self._system.single_pool = Pool.of(local / goals.prior, errors / local, missed / local)
        return self._system.single_pool

    def singly(self, goals: Goals, mean: AnyFloats, count: int) -> tuple[FloatArray, FloatArray]:
        """Local variances of targets, each with neighbours of its own, and the mean squares that they miss of draws."""
        data = self._system.drawn(mean.shape[1])
        local, missed = np.zeros(len(mean)), np.zeros(len(mean))
        for block in local_conditionals(self._system.neighbours, data, goals, Patches.single(len(mean)), count):
            local[block.patches] = block.variance[:, 0]
            if mean.shape[1]:
                missed[block.patches] = np.square(mean[block.patches] - block.mean[:, 0]).mean(1)
        return local, missed
