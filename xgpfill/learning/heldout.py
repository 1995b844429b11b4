"""Predictions of observations that are hidden as the gaps are: what settles noise, smoothness and calibration.

Each of some observations is predicted from its most correlated neighbours, leaving out all that are nearer than the
nearest observation of a randomly drawn gap. So random gaps are judged by leaving one out, clouds by leaving clouds out.
Likelihood alone is too sure of itself where variability differs from place to place (Bachoc 2013,
doi:10.1016/j.csda.2013.03.016): intervals are widened until they hold what they say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from xgpfill.grid.points import Points
from xgpfill.kernels.prior import AXES
from xgpfill.kernels.reach import reach
from xgpfill.kernels.spec import Constant, Kernel, Matern
from xgpfill.linalg.dense import cholesky_each
from xgpfill.linalg.neighbourhoods import LEAF, Neighbourhoods, metric_scales, most_correlated, scaled_coordinates
from xgpfill.metrics import crps_gaussian, normal_quantile

if TYPE_CHECKING:
    from collections.abc import Callable

    from xgpfill.grid.lattice import FloatArray, Lattice
    from xgpfill.grid.points import IntArray, Observations
    from xgpfill.kernels.prior import Prior

NUM_HIDDEN = 800
NUM_NEIGHBOURS = 32
ENOUGH = 60
"""Fewer observations than this settle nothing."""
THINNING = 4
"""How much sparser each next set of candidates is, for wide gaps."""
LEVEL = 0.95
LIMITS = (1.0, 3.0)
"""Intervals are widened, never narrowed: what is observed says little of what lies far from it."""
GAIN = 0.01
"""Share by which another choice must predict better to be taken."""
CHANCE = 1.645
"""Standard errors of the gain by which it must: one such gain in twenty is chance."""
NEARLY = 0.8
"""Share of the largest gain that is as good: the most noise that has it is taken."""
NOISE_SHARES = (0.5, 0.3, 0.1, 0.03, 0.01)
SMOOTHNESS = (0.5, 2.5)
CHUNK = 200
ROUNDING = 1e-9
"""On a lattice many are exactly as far as the radius; rounding must not choose among them."""


@dataclass(frozen=True)
class Prediction:
    """Hidden observations and what the rest says of them, each (k,), standardised.

    Attributes
    ----------
    mean, sd, truth : array
        The standard deviation includes the noise.
    """

    mean: FloatArray
    sd: FloatArray
    truth: FloatArray

    @property
    def factor(self) -> float:
        """What to multiply all variances with so that 95 % intervals hold 95 %; within limits."""
        miss = np.abs(self.truth - self.mean) / self.sd
        return float(np.clip((np.quantile(miss, LEVEL) / normal_quantile(LEVEL)) ** 2, *LIMITS))

    @cached_property
    def crps(self) -> FloatArray:
        """Continuous ranked probability score of each with calibrated variances, (k,)."""
        truth, mean, sd = (xr.DataArray(x, dims="hidden") for x in (self.truth, self.mean, self.sd))
        return np.asarray(crps_gaussian(truth, mean, sd * self.factor**0.5, dim=[]))

    def is_better_than(self, other: Prediction) -> bool:
        """Whether the same observations are predicted better, by more than chance among them would tell."""
        gain, error = self.gain_over(other)
        return bool(gain > max(GAIN * float(other.crps.mean()), CHANCE * error))

    def gain_over(self, other: Prediction) -> tuple[float, float]:
        """How much smaller the score of the same observations is on average, and the standard error of that."""
        gain = other.crps - self.crps
        return float(gain.mean()), float(gain.std()) / np.sqrt(gain.size)


class HeldOut:
    """Observations to hide and the neighbours they are predicted from, the same for all priors that are compared.

    Parameters
    ----------
    prior : Prior
        Learned, standardised units: says who is correlated.
    pool : Observations
        Standardised; noise not yet multiplied by its factor.
    radii : array
        Distances from gaps to their nearest observation, in lengthscales of the fastest term; drawn from. Empty: zero.
    seed : int
    """

    def __init__(self, prior: Prior, pool: Observations, radii: FloatArray, seed: int) -> None:
        rng = np.random.default_rng(seed)
        n = len(pool)
        self.pool = pool
        self.hidden = rng.choice(n, min(n, NUM_HIDDEN), replace=False)
        beyond = rng.choice(radii, self.hidden.size) if radii.size else np.zeros(self.hidden.size)
        fast = scaled_coordinates(pool.points, fastest(prior))
        candidates = [
            _beyond(scaled_coordinates(pool.points, scales), fast, self.hidden, beyond, rng)
            for scales in metric_scales(prior, pool.points)
        ]
        hood = Neighbourhoods.of(prior, pool.points)
        every = np.concatenate(candidates, axis=1)
        told = (every >= 0).any(1)  # nothing is known of what no observation is far enough from
        self.hidden = self.hidden[told]
        own, others = torch.as_tensor(self.hidden), torch.as_tensor(every[told])
        self._near, self._known = most_correlated(hood, own, others, NUM_NEIGHBOURS)

    def predict(self, prior: Prior) -> Prediction:
        """Predict what is hidden with a prior (its unknown constant mean estimated from the neighbours)."""
        hood, own = Neighbourhoods.of(prior, self.pool.points), torch.as_tensor(self.hidden)
        assert prior.noise is not None
        noise = float(prior.noise) * torch.as_tensor(self.pool.noise)
        values = torch.as_tensor(self.pool.values)
        parts = [
            _kriged(hood, own[i], self._near[i], self._known[i], noise, values)
            for i in (slice(s, s + CHUNK) for s in range(0, own.numel(), CHUNK))
        ]
        mean, variance = (torch.cat(p).numpy() for p in zip(*parts, strict=True))
        return Prediction(mean, np.sqrt(variance), self.pool.values[self.hidden])


def _kriged(
    hood: Neighbourhoods,
    own: torch.Tensor,
    near: torch.Tensor,
    known: torch.Tensor,
    noise: torch.Tensor,
    values: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ordinary kriging of each point from its neighbours; unknown neighbours weigh nothing."""
    weight = known.double()
    K = hood.covariance(near[:, :, None], near[:, None, :]) * (weight[:, :, None] * weight[:, None, :])
    K.diagonal(dim1=1, dim2=2).add_(torch.where(known, noise[near], 1.0))
    cross = hood.covariance(own[:, None], near) * weight
    L = cholesky_each(K)
    right = torch.stack([values[near] * weight, weight, cross], -1)
    y, one, c = torch.cholesky_solve(right, L).unbind(-1)
    precision = (weight * one).sum(1)
    beta = (weight * y).sum(1) / precision
    missing = 1.0 - (weight * c).sum(1)
    mean = beta + (cross * (y - beta[:, None] * one)).sum(1)
    variance = hood.covariance(own, own) - (cross * c).sum(1) + missing.square() / precision + noise[own]
    return mean, variance.clamp_min(1e-12)


def held_out(prior: Prior, lattice: Lattice, pool: Observations, seed: int) -> HeldOut | None:
    """Hide some of the observations of a lattice as its gaps are; None when there are too few.

    Parameters
    ----------
    prior : Prior
        Learned, standardised units.
    lattice : Lattice
        Gaps are looked for in the first field; on lazy data none are, and observations are left out one by one.
    pool : Observations
        Of that field, standardised.
    seed : int
    """
    if len(pool) < ENOUGH:
        return None
    rng = np.random.default_rng(seed)
    radii = np.zeros(0)
    if not lattice.is_lazy:
        gaps = _gaps(lattice, rng)
        if len(gaps):
            radii = _distances(fastest(prior), pool.points, gaps)
    hidden = HeldOut(prior, pool, radii, seed)
    return hidden if hidden.hidden.size >= ENOUGH else None


def settle_noise(prior: Prior, hidden: HeldOut) -> Prior:
    """A lower noise where hidden observations are predicted better with it.

    One noise level for a whole field takes the roughness of a few places for noise everywhere, and then everything is
    smoothed. Of the shares of it that predict better by more than chance would tell, the largest is taken that is
    nearly as good as the best.
    """
    assert prior.noise is not None
    score, lower = hidden.predict(prior), []
    for share in NOISE_SHARES:
        candidate = prior.with_values({"noise": share * float(prior.noise)})
        found = hidden.predict(candidate)
        if found.is_better_than(score):
            lower.append((candidate, found.gain_over(score)[0]))
    most = max((gain for _, gain in lower), default=0.0)
    return next((candidate for candidate, gain in lower if gain >= NEARLY * most), prior)


def settle_smoothness(prior: Prior, axes: tuple[str, ...], relearn: Callable[[Prior], Prior], hidden: HeldOut) -> Prior:
    """The smoothness of the Matérn kernels of these axes that predicts hidden observations best.

    Parameters
    ----------
    prior : Prior
        Learned with the smoothness it has.
    axes : tuple of {"time", "space"}
    relearn : callable
        Learns the numbers of a prior from those it has.
    hidden : HeldOut
    """
    best, score = prior, hidden.predict(prior)
    for axis in reversed(AXES):
        for nu in SMOOTHNESS if axis in axes else ():
            changed = with_smoothness(best, axis, nu)
            if changed == best:
                continue
            candidate = relearn(changed)
            found = hidden.predict(candidate)
            if found.is_better_than(score):
                best, score = candidate, found
    return best


def with_smoothness(prior: Prior, axis: str, nu: float) -> Prior:
    """The same prior with Matérn kernels of this smoothness along an axis."""
    terms = []
    for term in prior.terms:
        kernel = getattr(term, axis)
        changed: dict[str, Any] = {axis: replace(kernel, nu=nu)} if isinstance(kernel, Matern) else {}
        terms.append(replace(term, **changed))
    return replace(prior, terms=tuple(terms))


def fastest(prior: Prior) -> tuple[float, float]:
    """Lengthscales (days, km) of the term that decorrelates first, along both axes if one does; infinite for never."""

    def scale(kernel: Kernel) -> float:
        return np.inf if isinstance(kernel, Constant) else max(reach(kernel), 1e-9)

    scales = [(scale(t.time), scale(t.space)) for t in prior.terms]
    finite = [s for s in scales if np.isfinite(s).any()]
    return min(finite, key=lambda s: (np.isinf(s).sum(), s[1], s[0])) if finite else (1.0, 1.0)


def _gaps(lattice: Lattice, rng: np.random.Generator) -> Points:
    """Some cells that are gaps."""
    member = next(lattice.members())
    values = np.asarray(lattice.values[member])
    cells = np.stack([rng.integers(0, n, 20 * NUM_HIDDEN) for n in lattice.shape])
    gap = ~np.isfinite(values[tuple(cells)])
    if lattice.valid is not None:
        valid = lattice.valid[tuple(0 if n == 1 else m for n, m in zip(lattice.valid.shape, member, strict=False))]
        gap &= np.broadcast_to(np.asarray(valid), lattice.shape)[tuple(cells)]
    t, y, x = cells[:, np.flatnonzero(gap)[:NUM_HIDDEN]]
    sites = lattice.space.coordinates.reshape(lattice.space.size, -1)
    return Points(lattice.time, sites, t, y * lattice.shape[2] + x)


def _distances(scales: tuple[float, float], points: Points, gaps: Points) -> FloatArray:
    """From each gap to the nearest point."""
    from scipy.spatial import KDTree

    tree = KDTree(scaled_coordinates(points, scales), leafsize=LEAF)
    return np.asarray(tree.query(scaled_coordinates(gaps, scales), workers=-1)[0])


def _beyond(
    scaled: FloatArray, fast: FloatArray, own: IntArray, radii: FloatArray, rng: np.random.Generator
) -> IntArray:
    """The points nearest to each of `own` in one metric that are not nearer than its radius in the other; −1 for none.

    Wide gaps are asked of ever sparser sets, so that their surroundings are found, not their inside.
    """
    from scipy.spatial import KDTree

    n, wanted = len(scaled), NUM_NEIGHBOURS
    found = np.full((own.size, wanted), -1, dtype=np.intp)
    left, pool = np.arange(own.size), np.arange(n)
    while left.size:
        count = min(4 * wanted, pool.size)
        tree = KDTree(scaled[pool], leafsize=LEAF)
        index = pool[tree.query(scaled[own[left]], k=count, workers=-1)[1].reshape(left.size, count)]
        apart = np.linalg.norm(fast[index] - fast[own[left], None], axis=-1)
        usable = (apart >= (1.0 - ROUNDING) * radii[left, None]) & (index != own[left, None])
        last = pool.size <= 4 * wanted
        enough = (usable.sum(1) >= wanted) | last
        order = np.argsort(~usable, axis=1, kind="stable")[:, :wanted]  # the nearest usable first
        chosen = np.where(np.take_along_axis(usable, order, 1), np.take_along_axis(index, order, 1), -1)
        found[left[enough], : chosen.shape[1]] = chosen[enough]
        left = left[~enough]
        pool = np.sort(rng.choice(pool, max(1, pool.size // THINNING), replace=False))
    return found
