"""The posterior of a lattice from the solves of its system: moments, joint laws, averages, the trend."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial import KDTree

from xgpfill.engines.averages import averaged_prior
from xgpfill.engines.base import Moments
from xgpfill.engines.lattice.asked import Asked, places_on
from xgpfill.engines.lattice.averages import averaged_on, solve_closely
from xgpfill.engines.lattice.fields import Fields
from xgpfill.engines.lattice.marginals import Marginals
from xgpfill.errors import NumericalError
from xgpfill.grid.points import Points, same_places, without_repeats
from xgpfill.kernels.parts import has_type
from xgpfill.kernels.spec import Independent

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from xgpfill.arrays import FloatArray, IntArray
    from xgpfill.covariance.matrices import Covariance
    from xgpfill.engines.lattice.system import Draws, System
    from xgpfill.grid.points import Observations

EXACT_TARGETS = 256
"""Targets off the lattice, at most, whose variances are solved for one by one."""
COLUMNS = 32
"""Right-hand sides solved at once for them, or for a joint covariance."""


class LatticePosterior:
    """The posterior of a lattice, as far as the iteration comes to an answer.

    Parameters
    ----------
    make : callable
        Gives the system of a covariance and observations.
    law : Covariance
    observations : Observations
        Values (n,), or (n, draws) for several draws of the data at the same points.
    trend : bool
        Whether an unknown constant mean with a flat prior is part of the model.
    """

    def __init__(
        self, make: Callable[[Covariance, Observations], System], law: Covariance, observations: Observations, *,
        trend: bool,
    ) -> None:  # fmt: skip
        self._make, self._law, self._has_trend = make, law, trend
        self._observations = _places_once(law, observations)
        data = self._observations.columns
        self._level = data.mean(0) if trend else np.zeros(data.shape[1])
        self._y = law.tensor(data - self._level)  # so that residuals are not relative to the level
        self._solved: Tensor | None = None

    @cached_property
    def system(self) -> System:
        """Products and the preconditioner, made when first needed."""
        return self._make(self._law, self._observations)

    @cached_property
    def _marginals(self) -> Marginals:
        return Marginals(self.system, self._law, self._observations)

    @cached_property
    def _fields(self) -> Fields:
        return Fields(self.system, self._law, self._observations)

    # Solves

    @property
    def _right_sides(self) -> Tensor:
        """What is to be solved for: the data, and the constant mean where it is part of the model."""
        return torch.cat([self._y, torch.ones_like(self._y[:, :1])], 1) if self._has_trend else self._y

    def _solve_data(self) -> None:
        if self._solved is None:
            self._set(*self.system.solve_data(self._right_sides))

    def _solve_all(self, asked: Asked) -> Draws:
        """Solve for the data, once, and for draws of data and probes."""
        right = self._right_sides if self._solved is None else self._y[:, :0]
        found, residual, draws = self.system.solve_all(right)
        if self._solved is None:
            self._set(found, residual)
        self._marginals.solve_probes(asked)
        return draws

    def _set(self, solved: Tensor, residual: float) -> None:
        draws, self._residual = self._y.shape[1], residual
        self._beta, self._right = None, self._y
        if self._has_trend:
            basis = solved[:, draws:]  # A⁻¹H
            self._precision = basis.sum()  # P = HᵀA⁻¹H
            self._beta = solved[:, :draws].sum(0) / self._precision  # β = P⁻¹HᵀA⁻¹y, over the level
            solved = torch.cat([solved[:, :draws] - basis * self._beta, basis], 1)
            self._right = torch.cat([self._y - self._beta, torch.ones_like(basis)], 1)
        self._solved = solved

    # Moments

    def moments(self, targets: Points) -> Moments:
        """Marginal mean (of the first draw of the data) and latent variance of every target."""
        inside = places_on(self._observations.points, targets) if targets.is_grid else None
        if inside is not None:
            return self._on_lattice(targets, *inside)
        if len(targets) <= EXACT_TARGETS:
            return self._one_by_one(targets)
        if self.system.told is None:
            own = self._observations.points
            self.moments(Points.grid(own.times, own.sites, own.frame))
        self._solve_data()
        assert self._solved is not None
        draws = self._y.shape[1]
        fields = self._fields(self._solved[:, [0, *range(draws, self._solved.shape[1])]], self._right, targets)
        return self._with_trend(_plain(fields), self._marginals.singly.elsewhere(targets))

    def _with_trend(self, fields: FloatArray, variance: FloatArray) -> Moments:
        """Moments from K A⁻¹[y − Hβ, H] and the variance without the trend."""
        mean = fields[:, 0] + self._level[0]
        if self._beta is not None:
            mean = mean + float(self._beta[0])
            variance = variance + np.square(1.0 - fields[:, 1]) / float(self._precision)
        if not (np.isfinite(mean).all() and np.isfinite(variance).all()):
            raise NumericalError(
                "The iterative engine came to means or variances that are no numbers. Check the hyperparameters: print "
                "`model.hyperparameters`; type a larger `noise=` or a rougher kernel."
            )
        return Moments(mean, variance)

    def _on_lattice(self, targets: Points, sites: IntArray, times: IntArray) -> Moments:
        """Of cells of the lattice: means by one product, variances by local conditionals."""
        shape = (targets.times.size, *(targets.frame or (targets.sites.shape[0], 1)))
        wanted = np.ones(len(targets), bool) if targets.exists is None else np.tile(targets.exists, shape[0])
        asked = Asked(targets, times, sites, shape, wanted)
        draws = self._solve_all(asked)
        assert self._solved is not None
        own, count = self._y.shape[1], len(draws.fields)
        every, right = (torch.cat([x[:, :1], x[:, own:]], 1) for x in (self._solved, self._right))
        trend = _plain(self._fields(every, right, targets))  # (m, 1 or 2)
        drawn = self._fields(draws.weights, draws.data, targets, rough=True).float().cpu().numpy()  # (m, S)
        truth = draws.fields[:, times][:, :, sites].reshape(count, -1).T
        same = _same_places(self._law, targets.sites)
        self.system.release()
        variance = self._marginals.on_lattice(asked, drawn, truth, self._residual)
        found = self._with_trend(trend, variance)
        if same is None:
            return found
        mean, variance = (x.reshape(shape[0], -1)[:, same].ravel() for x in (found.mean, found.variance))
        return Moments(mean, variance)

    def _one_by_one(self, targets: Points) -> Moments:
        """Of a few targets anywhere: a solve for each, so that its answer does not depend on the others."""
        self._solve_data()
        assert self._solved is not None
        draws = self._y.shape[1]
        variance, fields = np.empty(len(targets)), np.empty((len(targets), self._solved.shape[1] - draws + 1))
        weights, right = (torch.cat([x[:, :1], x[:, draws:]], 1) for x in (self._solved, self._right))
        for start in range(0, len(targets), COLUMNS):
            some = np.arange(start, min(start + COLUMNS, len(targets)))
            variance[some], cross = self._marginals.singly.exactly(targets.take_in_order(some))
            fields[some] = _plain(cross.T @ weights)
        number = self._measured_at(targets)
        fields[number >= 0] = _plain(right - self.system.noise * weights)[number[number >= 0]]  # as in `_fields`
        return self._with_trend(fields, variance)

    def _measured_at(self, targets: Points) -> IntArray:
        """Which observation each target is at; −1 for none."""
        own = self._observations.points
        same = _same_places(self._law, own.sites)
        (away, site), (apart, time) = (
            KDTree(x).query(y) for x, y in ((own.sites, targets.sites), (own.times[:, None], targets.times[:, None]))
        )
        site = site if same is None else same[site]
        number = np.full(own.times.size * len(own.sites), -1)
        number[own.time_index * len(own.sites) + own.site_index] = np.arange(len(own))
        found = number[time[targets.time_index] * len(own.sites) + site[targets.site_index]]
        there = (away[targets.site_index] == 0) & (apart[targets.time_index] == 0)
        return np.asarray(np.where(there, found, -1))

    def means(self, targets: Points) -> FloatArray:
        """Posterior mean for every draw of the data, (m, draws)."""
        self._solve_data()
        assert self._solved is not None
        draws = self._y.shape[1]
        mean = self._fields(self._solved[:, :draws], self._right[:, :draws], targets)
        return _plain(mean if self._beta is None else mean + self._beta) + self._level

    # Joint laws

    def covariance(self, targets: Points) -> FloatArray:
        """Joint latent covariance of the targets, (m, m), by as many solves as there are targets."""
        cross, tolerance = self.system.columns_for(targets, self._marginals.singly.local_sd(targets))
        joint = self._law.matrix(targets, targets)
        for start in range(0, cross.shape[1], COLUMNS):
            some = slice(start, start + COLUMNS)
            joint[:, some] -= cross.T @ self.system.solve(cross[:, some], tolerance[some])
        if self._has_trend:
            self._solve_data()
            assert self._solved is not None
            r = 1.0 - cross.T @ self._solved[:, -1:]
            joint = joint + r @ r.T / self._precision
        found: FloatArray = joint.double().cpu().numpy().astype(np.float64)
        np.fill_diagonal(found, np.maximum(found.diagonal(), 0.0))
        return 0.5 * (found + found.T)

    def averages(self, targets: Points, weights: FloatArray) -> Moments:
        """By solves for 1 and for the covariance of the averages with the data; see :mod:`xgpfill.engines.averages`."""
        w = self._law.tensor(weights)
        cross, prior = self._averaged(targets, w)  # c = K(observations, cells) w and wᵀKw
        ones = torch.ones_like(cross[:, :1])
        x, left = solve_closely(
            self.system, torch.cat([ones, cross], 1), torch.cat([prior.new_full((1,), torch.nan), prior])
        )
        basis, x, y = x[:, 0], x[:, 1:], self._y[:, 0]
        variance, total = prior - (x * (cross + left[:, 1:])).sum(0), w.sum(0)
        mean = x.T @ y + total * float(self._level[0])
        if self._has_trend:
            precision = basis.sum()  # P
            beta = basis @ y / precision
            r = total - x.sum(0)
            mean, variance = mean + beta * r, variance + r.square() / precision
        return Moments(_plain(mean), np.maximum(_plain(variance), np.finfo(float).eps * _plain(prior)))

    def _averaged(self, targets: Points, w: Tensor) -> tuple[Tensor, Tensor]:
        """Covariance (n, k) of averages with the observations, and their prior variance (k,)."""
        inside = places_on(self._observations.points, targets) if targets.is_grid else None
        if inside is not None:
            sites, times = inside
            own = replace(targets, time_index=times[targets.time_index], site_index=sites[targets.site_index])
            return averaged_on(self.system, own, w)
        cross = w.new_zeros(len(self._observations), w.shape[1])
        for block in self._law.blocks(self._observations.points, targets):
            cross += block.columns @ w[torch.as_tensor(block.index, device=w.device)]
        return cross, averaged_prior(self._law, targets, w)

    @property
    def trend(self) -> tuple[float, float] | None:
        """Estimate and standard error of the constant mean (standardised), or None."""
        if not self._has_trend:
            return None
        self._solve_data()
        assert self._beta is not None
        return float(self._beta[0]) + float(self._level[0]), float(self._precision) ** -0.5


def _same_places(law: Covariance, sites: FloatArray) -> IntArray | None:
    """The first of the sites at each one's place; None where all differ, or a kernel makes each cell its own."""
    alone = any(has_type(term.space, Independent) for term in law.prior.terms)
    return None if alone else same_places(sites)


def _places_once(law: Covariance, observations: Observations) -> Observations:
    """One observation of each place and time, on the first of its cells."""
    points = observations.points
    same = _same_places(law, points.sites)
    if same is not None:
        points = replace(points, site_index=same[points.site_index], is_grid=False)
        observations = replace(observations, points=points)
    return without_repeats(observations)[0]


def _plain(tensor: Tensor) -> FloatArray:
    return np.asarray(tensor.double().cpu().numpy())
