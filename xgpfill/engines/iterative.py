"""The iterative engine: the exact posterior of a lattice by conjugate gradients, never a dense matrix.

With A = K + noise on the observed cells, one batch of solves gives A⁻¹[y, 1, y₁ … y_S] for the data, the constant mean
and S draws of data from the prior. The mean needs the first two. The variance of every cell is that of a local
conditional, corrected by what the draws show it to miss: with Δ_s the difference between the full and the local mean of
draw s, the law of total variance gives var = v_loc − E[Δ²].
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass, field
from functools import cached_property, wraps
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.spatial import KDTree

from xgpfill.engines.base import Moments
from xgpfill.engines.exact import ExactEngine
from xgpfill.engines.settings import Iterative
from xgpfill.engines.system import System
from xgpfill.engines.tilelaw import CHUNK, TileLaw
from xgpfill.errors import XgpfillWarning
from xgpfill.kernels.covariance import Covariance
from xgpfill.linalg.local import Goals, local_conditionals, patches_of
from xgpfill.linalg.neighbourhoods import Neighbourhoods

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from xgpfill.engines.base import Posterior
    from xgpfill.engines.system import Convergence, Watch
    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.points import IntArray, Observations, Points
    from xgpfill.kernels.covariance import PriorLaw

LOCAL_NEIGHBOURS = 32
"""Observations that a cell is conditioned on locally, at least."""
POOL = 200
"""Cells of similar local variance whose corrections are averaged."""
KAPPA = 24.0
"""Draws that the pooled correction is worth."""
NOISE_LEFT = 0.2
"""Standard deviation that a cell's own draws may leave in its variance, at most."""
FLOOR = 0.02
"""Share of the local variance below which no correction goes."""
FLOORED_SHARE = 1e-3
PAIRS = 64
"""Pairs of neighbours along an axis that say whether cells may share a patch, at most."""
COLUMNS = 32
"""Right-hand sides solved at once for a joint covariance."""


@dataclass
class IterativeEngine:
    """Condition by preconditioned conjugate gradients; the last system is kept for the same cells with other data.

    Attributes
    ----------
    settings : Iterative
    systems : dict
        The last one, by what it was made from.
    records : list of Convergence
        How all solves went.
    watch : callable or None
        Told of every step and of the largest residual over its tolerance.
    """

    settings: Iterative = field(default_factory=Iterative)
    systems: dict[str, System] = field(default_factory=dict, repr=False, compare=False)
    records: list[Convergence] = field(default_factory=list, repr=False, compare=False)
    watch: Watch | None = field(default=None, repr=False, compare=False)
    lock: RLock = field(default_factory=RLock, repr=False, compare=False)

    def condition(self, covariance: PriorLaw, observations: Observations, *, trend: bool = True) -> Posterior:
        """Condition the prior on the observations, which must lie on a lattice.

        Raises
        ------
        MethodError
            When the places are no lattice that the operator can do.
        """
        if not len(observations):  # nothing to iterate on: the prior
            return ExactEngine().condition(covariance, observations, trend=trend)
        return IterativePosterior(self, TileLaw.of(covariance), observations, trend=trend)

    def system(self, law: TileLaw, observations: Observations) -> System:
        """The system of these observations, made once as long as no other is asked for."""
        points = observations.points
        if law.num_features:  # a message is the tile's own
            system = System(self.settings, law, observations, self.records)
            system.watch = self.watch
            return system
        key = hashlib.sha256(repr((law.prior, law.device, law.dtype, points.frame)).encode())
        for array in (points.times, points.sites, points.time_index, points.site_index, observations.noise):
            key.update(np.ascontiguousarray(array).tobytes())
        if key.hexdigest() not in self.systems:
            self.systems.clear()
            self.systems[key.hexdigest()] = System(self.settings, law, observations, self.records)
        system = self.systems[key.hexdigest()]
        system.watch = self.watch
        return system


def _alone(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let one thread at a time use what the engine keeps: operators write into buffers of their own."""

    @wraps(method)
    def locked(self: IterativePosterior, *args: Any, **kwargs: Any) -> Any:
        with self._engine.lock:
            return method(self, *args, **kwargs)

    return locked


class IterativePosterior:
    """The posterior of a lattice.

    Parameters
    ----------
    engine : IterativeEngine
    law : TileLaw
    observations : Observations
        Values (n,), or (n, draws) for several draws of the data at the same points.
    trend : bool
        Whether an unknown constant mean with a flat prior is part of the model.
    """

    def __init__(self, engine: IterativeEngine, law: TileLaw, observations: Observations, *, trend: bool) -> None:
        self._engine, self._law, self._observations, self._has_trend = engine, law, observations, trend
        known = law.mean(observations.points)
        data = observations.columns if known is None else observations.columns - _plain(known)
        self._level = data.mean(0) if trend else np.zeros(data.shape[1])
        self._y = law.tensor(data - self._level)  # so that residuals are not relative to the level
        self._solved: Tensor | None = None

    @cached_property
    def system(self) -> System:
        """Products and the preconditioner, made when first needed."""
        return self._engine.system(self._law, self._observations)

    @property
    def _right_sides(self) -> Tensor:
        """What is to be solved for: the data, and the constant mean where it is part of the model."""
        return torch.cat([self._y, torch.ones_like(self._y[:, :1])], 1) if self._has_trend else self._y

    def _solve_data(self) -> None:
        if self._solved is None:
            right = self._right_sides
            self._set(self.system.solve(right, right.new_full((right.shape[1],), self._engine.settings.tolerance)))

    def _solve_all(self) -> tuple[Tensor, Tensor]:
        """Solve for the data, once, and for draws of data; returns the draws and their solutions."""
        right = self._right_sides if self._solved is None else self._y[:, :0]
        found, data, weights = self.system.with_draws(right)
        if self._solved is None:
            self._set(found)
        return data, weights

    def _set(self, solved: Tensor) -> None:
        draws = self._y.shape[1]
        self._beta, self._right = None, self._y
        if self._has_trend:
            basis = solved[:, draws:]  # A⁻¹H
            self._precision = basis.sum()  # P = HᵀA⁻¹H
            self._beta = solved[:, :draws].sum(0) / self._precision  # β = P⁻¹HᵀA⁻¹y, over the level
            solved = torch.cat([solved[:, :draws] - basis * self._beta, basis], 1)
            self._right = torch.cat([self._y - self._beta, torch.ones_like(basis)], 1)
        self._solved = solved

    # Moments

    @_alone
    def moments(self, targets: Points) -> Moments:
        """Marginal mean (of the first draw of the data) and latent variance of every target."""
        data, weights = self._solve_all()
        assert self._solved is not None
        every, right = (
            torch.cat([own[:, :1], own[:, self._y.shape[1] :], drawn], 1)
            for own, drawn in ((self._solved, weights), (self._right, data))
        )
        fields = self._fields(every, right, targets)  # (m, 1 + trend + S)
        mean = fields[:, 0] if self._beta is None else fields[:, 0] + self._beta[0]
        variance = self._variance(fields[:, every.shape[1] - weights.shape[1] :], data, targets)
        if self._beta is not None:
            variance = variance + (1.0 - fields[:, 1]).square() / self._precision
        return Moments(_plain(mean) + self._level[0] + self._known(targets)[..., 0], _plain(variance))

    @_alone
    def means(self, targets: Points) -> FloatArray:
        """Posterior mean for every draw of the data, (m, draws)."""
        self._solve_data()
        assert self._solved is not None
        draws = self._y.shape[1]
        mean = self._fields(self._solved[:, :draws], self._right[:, :draws], targets)
        return _plain(mean if self._beta is None else mean + self._beta) + self._level + self._known(targets)

    def _known(self, targets: Points) -> FloatArray:
        """What a message says of the mean at targets, (m, draws) or one zero."""
        known = [self._law.mean(part) for part in self._parts(targets)]
        return np.concatenate([_plain(k) for k in known if k is not None]) if known[0] is not None else np.zeros((1, 1))

    def _parts(self, targets: Points) -> list[Points]:
        """The targets in parts whose features fit in memory; all at once where there are none."""
        width = CHUNK // self._law.num_features if self._law.num_features else len(targets)
        starts = range(0, max(1, len(targets)), max(1, width))
        return [targets.take_in_order(np.arange(s, min(s + width, len(targets)))) for s in starts]

    def _variance(self, full: Tensor, data: Tensor, targets: Points) -> Tensor:
        """Local variances with the draws' correction, v_loc (1 − ĉ)."""
        local, missed = torch.empty(len(targets), dtype=torch.float64), torch.empty(len(targets), dtype=torch.float64)
        blocks = local_conditionals(
            self.system.neighbours,
            _plain(data),
            self._goals(targets),
            self._patches(targets),
            max(LOCAL_NEIGHBOURS, self._engine.settings.num_neighbours),
        )
        for block in blocks:
            index = torch.as_tensor(block.index)
            local[index] = torch.as_tensor(block.variance)
            delta = full[index.to(full.device)].double().cpu() - torch.as_tensor(block.mean)
            missed[index] = delta.square().mean(1)
        share = missed / local
        pooled = _pooled(share, local)
        draws = data.shape[1]
        weight = _worth(pooled, draws)
        share = (draws * share + weight * pooled) / (draws + weight)
        floored = share > 1.0 - FLOOR
        if float(floored.double().mean()) > FLOORED_SHARE:
            warnings.warn(
                f"The variance of {float(floored.double().mean()):.1%} of the cells was raised to {FLOOR:.0%} of the "
                f"local one. Type `method=xgpfill.Iterative(num_samples={4 * draws})` for a less noisy variance.",
                XgpfillWarning,
                stacklevel=2,
            )
        return (local * (1.0 - share.clamp_max(1.0 - FLOOR))).to(full)

    def _goals(self, targets: Points) -> Goals:
        """Targets as the local conditionals want them: cells of the lattice, or places with a cell nearby."""
        law, observations = self._law, self._observations
        inside = self._inside(targets)
        prior = _plain(law.local.diagonal(targets))
        features = None
        if law.num_features:
            prior = prior + np.concatenate([np.square(self._told(part)).sum(1) for part in self._parts(targets)])

            def features(index: IntArray) -> FloatArray:
                return self._told(targets.take_in_order(index))

        if inside is not None:
            sites, times = inside
            cells = self.system.operator.tables.cells(times[targets.time_index], sites[targets.site_index])
            return Goals(cells, prior, features=features)
        own = observations.points
        _, near = KDTree(own.sites).query(targets.sites)
        _, when = KDTree(own.times[:, None]).query(targets.times[:, None])
        cells = self.system.operator.tables.cells(when[targets.time_index], near[targets.site_index])
        goals, hood = (Neighbourhoods.of(law.prior, points, law.device) for points in (targets, own))

        def cross(index: IntArray, near: IntArray) -> FloatArray:
            first, second = (torch.as_tensor(i, device=law.device) for i in (index[:, None], near))
            return _plain(goals.covariance(first, second, hood))

        return Goals(cells, prior, cross, features)

    def _told(self, points: Points) -> FloatArray:
        """Features of points, (n, q)."""
        found = self._law.features(points)
        assert found is not None
        return _plain(found)

    def _patches(self, targets: Points) -> IntArray:
        """Targets that share neighbours."""
        if not targets.is_grid or targets.frame is None:
            return np.arange(len(targets))[:, None]
        shape = (targets.times.size, *targets.frame)
        middle = np.array([n // 2 for n in shape])
        alike = []
        for axis, n in enumerate(shape):
            cells = np.repeat(middle[None], min(n, PAIRS + 1) - 1, axis=0)  # all along the axis: sites may be a list
            cells[:, axis] = np.linspace(0, n - 2, len(cells)).astype(np.intp)
            pairs = [
                np.ravel_multi_index(tuple((cells + step * np.eye(3, dtype=np.intp)[axis]).T), shape) for step in (0, 1)
            ]
            alike.append(self._least_correlation(*map(targets.take_in_order, pairs)) if len(cells) else 0.0)
        return patches_of(shape, (alike[0], alike[1], alike[2]))

    def _least_correlation(self, first: Points, second: Points) -> float:
        """Of some pairs, in the term that tells them apart most."""
        found = [1.0]
        for term in self._law.prior.terms:
            covariance = Covariance(self._law.prior.restricted((term.name,)))
            K, own, its = covariance.matrix(first, second), covariance.diagonal(first), covariance.diagonal(second)
            found.append(float((K.diagonal() / (own * its).sqrt()).min()))
        return min(found)

    # Fields of weights

    def _fields(self, weights: Tensor, right: Tensor, targets: Points) -> Tensor:
        """K(targets, observations) times weights (n, R): by the operator on cells of the lattice, else in blocks.

        At observed cells K A⁻¹b = b − noise A⁻¹b. The right side is the better one there: it leaves out the residual,
        which may be small against the data and yet large against a small noise.
        """
        index = self._on_lattice(targets)
        told = None if self.system.features is None else self.system.features.T @ weights  # Vᵀ weights, (q, R)
        if index is not None:
            field, (sites, times) = self.system.spread(weights), index
            known = right - self.system.noise * weights
            if told is not None:  # added for all cells below
                assert self.system.features is not None
                known = known - self.system.features @ told
            field[self.system.site, :, self.system.time] = known
            part = field[sites] if times is None else field[sites][..., times]
            found = part.permute(2, 0, 1).reshape(len(targets), -1)
        else:
            found = weights.new_empty(len(targets), weights.shape[1])
            for block in self._law.local.blocks(self._observations.points, targets):
                found[torch.as_tensor(block.index)] = block.columns.T @ weights
        return found if told is None else found + self._spread_told(told, targets)

    def _spread_told(self, told: Tensor, targets: Points) -> Tensor:
        """V at targets times (q, R)."""
        parts = [self._law.features(part) for part in self._parts(targets)]
        return torch.cat([part @ told for part in parts if part is not None])

    def _on_lattice(self, targets: Points) -> tuple[Tensor, Tensor | None] | None:
        """Places of a grid of targets in a field of the operator; None when some are elsewhere."""
        inside = self._inside(targets) if targets.is_grid else None
        if inside is None:
            return None
        sites, times = inside
        site, _ = self.system.operator.cells(np.zeros(sites.size, dtype=np.intp), sites)
        every = np.array_equal(times, np.arange(self._observations.points.times.size))
        return site, None if every else torch.as_tensor(times, device=self._law.device)

    def _inside(self, targets: Points) -> tuple[IntArray, IntArray] | None:
        """Which sites and times of the lattice those of the targets are; None when some are elsewhere."""
        own = self._observations.points
        sites, times = _places(own.sites, targets.sites), _places(own.times[:, None], targets.times[:, None])
        return None if sites is None or times is None else (sites, times)

    # Joint laws

    @_alone
    def covariance(self, targets: Points) -> FloatArray:
        """Joint latent covariance of the targets, (m, m), by as many solves as there are targets."""
        cross = self._law.matrix(self._observations.points, targets)
        joint = self._law.matrix(targets, targets)
        tolerance = cross.new_full((COLUMNS,), self._engine.settings.tolerance)
        for start in range(0, cross.shape[1], COLUMNS):
            part = cross[:, start : start + COLUMNS]
            joint[:, start : start + COLUMNS] -= cross.T @ self.system.solve(part, tolerance[: part.shape[1]])
        if self._has_trend:
            self._solve_data()
            assert self._solved is not None
            r = 1.0 - cross.T @ self._solved[:, -1:]
            joint = joint + r @ r.T / self._precision
        found: FloatArray = joint.double().cpu().numpy().astype(np.float64)
        np.fill_diagonal(found, np.maximum(found.diagonal(), 0.0))
        return 0.5 * (found + found.T)

    @_alone
    def gram(self, left: FloatArray, right: FloatArray) -> FloatArray:
        """leftᵀ A⁻¹ right."""
        a, b = self._law.tensor(left), self._law.tensor(right)
        return _plain(a.T @ self.system.solve(b, b.new_full((b.shape[1],), self._engine.settings.tolerance)))

    @property
    @_alone
    def trend(self) -> tuple[float, float] | None:
        """Estimate and standard error of the constant mean (standardised), or None."""
        if not self._has_trend:
            return None
        self._solve_data()
        assert self._beta is not None
        return float(self._beta[0]) + float(self._level[0]), float(self._precision) ** -0.5


def _worth(pooled: Tensor, draws: int) -> Tensor:
    """Draws that the pooled correction is worth: more where it takes most of the variance away.

    With c the correction, S draws of one cell leave the standard deviation c √(2S) / (S + κ) in it, which shall be no
    more than a share of what is left, 1 − c.
    """
    left = NOISE_LEFT * (1.0 - pooled).clamp_min(FLOOR)
    worth: Tensor = pooled * (2.0 * draws) ** 0.5 / left - draws
    return worth.clamp_min(KAPPA)


def _pooled(share: Tensor, local: Tensor) -> Tensor:
    """Corrections averaged over cells of similar local variance."""
    order = local.argsort()
    groups = torch.arange(len(order)) // POOL
    groups.clamp_(max=max(0, len(order) // POOL - 1))
    count = torch.bincount(groups).double()
    mean = torch.bincount(groups, weights=share[order]) / count
    pooled = torch.empty_like(share)
    pooled[order] = mean[groups]
    return pooled


def _places(own: FloatArray, wanted: FloatArray) -> IntArray | None:
    """Where each of `wanted` is among `own` rows; None when one is not there."""
    if own.shape == wanted.shape and np.array_equal(own, wanted):
        return np.arange(len(own))
    if not len(own):
        return None
    distance, index = KDTree(own).query(wanted)
    return None if (distance > 0).any() else np.asarray(index, dtype=np.intp)


def _plain(tensor: Tensor) -> FloatArray:
    return np.asarray(tensor.double().cpu().numpy())
