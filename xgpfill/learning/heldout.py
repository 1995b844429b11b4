"""Predictions of observations that are hidden as the gaps are: what settles noise, smoothness and calibration.

Each of some observations is predicted from its most correlated neighbours among those that are kept while it is hidden
(:mod:`xgpfill.learning.gaps`). They count so that together they are as uncertain as the gaps are.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from xgpfill.grid.directions import places_of
from xgpfill.kernels.prior import AXES
from xgpfill.kernels.spec import Matern
from xgpfill.linalg.dense import cholesky_each
from xgpfill.linalg.neighbourhoods import LEAF, Neighbourhoods, metric_scales, most_correlated, scaled_coordinates
from xgpfill.linalg.threads import in_parts, nearest_of, own_threads
from xgpfill.metrics import crps_gaussian, normal_quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.points import IntArray, Observations, Points
    from xgpfill.grid.scaling import Amplitude
    from xgpfill.kernels.prior import Prior
    from xgpfill.learning.gaps import Mask, Pool

NUM_HIDDEN = 4000
"""Observations that are hidden, in all fields."""
MOST_OFTEN = 1
"""How often each is hidden at most, on average."""
ENOUGH_OF_FIELD = 400
"""Observations that are hidden in each, at least."""
NUM_TO_CHOOSE = 1000
"""Of these, those that noise and smoothness are settled with."""
NUM_NEIGHBOURS = 32
ENOUGH = 60
"""Fewer observations than this settle nothing."""
LEVEL = 0.95
LIMITS = (0.25, 3.0)
"""What variances are multiplied with at least and at most before predictions are compared."""
GAIN = 0.01
"""Share by which another choice must predict better to be taken."""
CHANCE = 1.645
"""Standard errors of the gain by which it must: one such gain in twenty is chance."""
FAR = 3.0
"""Standard deviations that no error counts more than."""
FEW_DAYS, QUARTERS = 5, 4
"""Fewer days than this are divided along each axis of space."""
NEARLY = 0.8
"""Share of the largest gain that is as good: the most noise that has it is taken."""
NOISE_SHARES = (0.5, 0.3, 0.1, 0.03, 0.01)
SMOOTHNESS = (0.5, 2.5)
CHUNK = 200
SMALLEST = 1e-12
"""Variance of a prediction, at least."""
NUM_CLASSES, ENOUGH_OF_CLASS = 10, 20
"""Classes of how uncertain gaps are, equally many in each; and the hidden observations that each has at least."""
WIDER = 1.1
"""Variances of hidden observations may lie that far beyond those of gaps."""
LARGEST_WEIGHT = 5.0


@dataclass(frozen=True)
class Prediction:
    """Hidden observations and what the rest says of them, each (k,), standardised.

    Attributes
    ----------
    mean, sd, truth : array
        The standard deviation includes the noise.
    known_noise : array
        Noise variance that is the same however much the field varies; zero where noise varies with it.
    unit : array
        What one of the numbers above stands for, relative to what is compared.
    field : int array
        Which of several independent fields.
    time, space : array (k,), (k, d)
        Days and km.
    weight : array
        How much each counts, so that together they are as uncertain as gaps are; one on average.
    """

    mean: FloatArray
    sd: FloatArray
    truth: FloatArray
    known_noise: FloatArray
    unit: FloatArray
    field: IntArray
    time: FloatArray
    space: FloatArray
    weight: FloatArray

    @classmethod
    def together(cls, parts: Sequence[Prediction]) -> Prediction:
        """Several predictions as one."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))

    def take(self, index: Any) -> Prediction:
        """Some of them."""
        return Prediction(*(getattr(self, f.name)[index] for f in fields(self)))

    @property
    def standardised(self) -> FloatArray:
        """(truth − mean) / sd, (k,)."""
        return (self.truth - self.mean) / self.sd

    @property
    def factor(self) -> float:
        """What to multiply all variances with so that 95 % intervals hold 95 %; within limits."""
        width = weighted_quantile(np.abs(self.standardised), self.weight, LEVEL)
        return float(np.clip((width / normal_quantile(LEVEL)) ** 2, *LIMITS))

    @cached_property
    def crps(self) -> FloatArray:
        """Continuous ranked probability score of each with calibrated variances, in units that compare, (k,)."""
        truth, mean, sd = (xr.DataArray(x, dims="hidden") for x in (self.truth, self.mean, self.sd))
        return np.asarray(self.unit * np.asarray(crps_gaussian(truth, mean, sd * self.factor**0.5, dim=[])))

    def is_better_than(self, other: Prediction) -> bool:
        """Whether the same observations are predicted better, by more than chance among them would tell."""
        gain, error = self.gain_over(other)
        return bool(gain > max(GAIN * float((self.weight * other.crps).mean()), CHANCE * error))

    def gain_over(self, other: Prediction) -> tuple[float, float]:
        """How much smaller the score of the same observations is on average, and the standard error of that."""
        return self.mean_and_error(other.crps - self.crps)

    def mean_and_error(self, values: FloatArray) -> tuple[float, float]:
        """Weighted mean of one value of each, and its standard error where those of a group go together."""
        mean = float((self.weight * values).mean())
        sums = np.bincount(self.groups, self.weight * (values - mean))
        return mean, float(np.sqrt((sums**2).sum()) / values.size)

    @property
    def design_effect(self) -> float:
        """How many of them tell as much of the size of errors as one alone would; at least one (Kish 1965, §8.2)."""
        size = np.minimum(np.abs(self.standardised), FAR)
        mean, error = self.mean_and_error(size)
        alone = float(np.mean((self.weight * (size - mean)) ** 2)) / size.size
        return max(1.0, error**2 / alone) if alone > 0 else 1.0

    @cached_property
    def groups(self) -> IntArray:
        """Which go together, since errors of the same day do: by days, and where these are few, by their quarters."""
        labels = [self.field, np.unique(self.time, return_inverse=True)[1]]
        if np.unique(self.time).size < FEW_DAYS:
            space = places_of(self.space)
            low, extent = space.min(0), np.maximum(np.ptp(space, axis=0), SMALLEST)
            labels += list(np.minimum(QUARTERS * (space - low) / extent, QUARTERS - 1).astype(int).T)
        return np.asarray(np.unique(np.stack(labels), axis=1, return_inverse=True)[1]).ravel()


def weighted_quantile(values: FloatArray, weight: FloatArray, level: Any) -> Any:
    """The value that a share of the weight lies below, for each of one or several levels."""
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weight[order])
    return np.interp(level, (total - 0.5 * weight[order]) / total[-1], values[order])


class HeldOut:
    """Observations to hide and the neighbours they are predicted from, the same for all priors that are compared.

    Parameters
    ----------
    prior : Prior
        Learned, standardised units: says who is correlated, and how uncertain gaps are.
    pool : Pool
        Standardised; noise not yet multiplied by its factor.
    seed : int
    count : int
        How many to hide.
    """

    def __init__(self, prior: Prior, pool: Pool, seed: int, count: int) -> None:
        rng, count = np.random.default_rng(seed), min(count, MOST_OFTEN * len(pool.observations))
        points = pool.observations.points
        self.pool, self.observations, self.unit = pool, pool.observations, np.ones(len(pool.observations))
        parts = [_nearest_kept(prior, points, own, kept) for own, kept in _rounds(pool, count, rng)]
        self.hidden, candidates = (np.concatenate(x) for x in zip(*parts, strict=True))
        hood, own = Neighbourhoods.of(prior, points), torch.as_tensor(self.hidden)
        with own_threads():
            self._near, self._known = most_correlated(hood, own, torch.as_tensor(candidates), NUM_NEIGHBOURS)
        self.weight = np.ones(self.hidden.size)

    def weighted(self, prior: Prior) -> HeldOut:
        """The same counting so that together the hidden ones are, by a prior, as uncertain as gaps are."""
        if not len(self.pool.gaps) or not self.hidden.size:
            return self
        found, hood = copy(self), Neighbourhoods.of(prior, self.observations.points)
        noise, own = (float(prior.noise or 0.0),), torch.as_tensor(self.hidden)
        variances = _kriged(hood, own, self._near, self._known, self.observations, noise)[1][0]
        found.weight = _weights(variances, _gap_variances(hood, self.pool.gaps, self.observations))
        return found

    def some(self, count: int) -> HeldOut:
        """The same with fewer hidden, evenly of all kinds."""
        index = np.unique(np.linspace(0, self.hidden.size - 1, min(count, self.hidden.size)).round().astype(np.intp))
        found = copy(self)
        found.hidden, found.weight = self.hidden[index], self.weight[index]
        found._near, found._known = self._near[index], self._known[index]
        return found

    def in_units(self, unit: Any, *, noise_is_known: bool) -> HeldOut:
        """The same with numbers that stand for `unit` (n,) times what they did."""
        found, own = copy(self), self.observations
        noise = own.noise / unit**2 if noise_is_known else own.noise
        found.observations, found.unit = replace(own, values=own.values / unit, noise=noise), self.unit * unit
        return found

    def predict(self, prior: Prior, noises: Sequence[float], *, noise_is_known: bool = False) -> list[Prediction]:
        """Predict what is hidden with a prior and each noise (its constant mean estimated from the neighbours)."""
        observations, points, k = self.observations, self.observations.points, self.hidden.size
        hood = Neighbourhoods.of(prior, points)
        found = _kriged(hood, torch.as_tensor(self.hidden), self._near, self._known, observations, noises)
        seen = [noise * observations.noise[self.hidden] for noise in noises]
        return [
            Prediction(
                mean, np.sqrt(np.maximum(variance + noise, SMALLEST)), observations.values[self.hidden],
                known_noise=noise if noise_is_known else np.zeros(k), unit=self.unit[self.hidden],
                field=np.full(k, observations.field), weight=self.weight,
                time=points.time[self.hidden], space=points.sites[points.site_index[self.hidden]],
            )
            for mean, variance, noise in zip(*found, seen, strict=True)
        ]  # fmt: skip


def _rounds(pool: Pool, count: int, rng: np.random.Generator) -> Iterator[tuple[IntArray, Mask | None]]:
    """Observations to hide, and which are kept while they are: None where each is left out alone."""
    lasting = round(count * pool.never) if pool.lasting.any() else 0
    transient = (count - lasting) // 2 if pool.transient.any() else 0
    yield rng.choice(len(pool.observations), min(len(pool.observations), count - lasting - transient), False), None
    for masks, number in ((pool.transient, transient), (pool.lasting, lasting)):
        for mask in masks:
            there = np.flatnonzero(mask)
            if there.size and not mask.all():
                yield rng.choice(there, min(there.size, -(-number // len(masks))), replace=False), ~mask


def _nearest_kept(prior: Prior, points: Points, own: IntArray, kept: Mask | None) -> tuple[IntArray, IntArray]:
    """Of each of `own` the nearest kept points in the metric of every term, (k, candidates); −1: none."""
    from scipy.spatial import cKDTree

    among = np.arange(len(points)) if kept is None else np.flatnonzero(kept)
    more = int(kept is None)  # itself
    count, found = min(NUM_NEIGHBOURS + more, among.size), []
    for scales in metric_scales(prior, points) if own.size else ():
        scaled = scaled_coordinates(points, scales)
        index = among[nearest_of(cKDTree(scaled[among], leafsize=LEAF), scaled[own], count)]
        found.append(np.where(index == own[:, None], -1, index))
    width = len(metric_scales(prior, points)) * (NUM_NEIGHBOURS + 1)
    every = np.full((own.size, width), -1, dtype=np.intp)
    for i, index in enumerate(found):
        every[:, i * count : (i + 1) * count] = index
    return own, every


def _gap_variances(hood: Neighbourhoods, gaps: Points, observations: Observations) -> FloatArray:
    """Variances of the field in gaps."""
    from scipy.spatial import cKDTree

    points, count = observations.points, min(NUM_NEIGHBOURS, len(observations))
    candidates = []
    for scales in metric_scales(hood.prior, points):
        tree = cKDTree(scaled_coordinates(points, scales), leafsize=LEAF)
        candidates.append(nearest_of(tree, scaled_coordinates(gaps, scales), count))
    other, own = Neighbourhoods.of(hood.prior, gaps), torch.arange(len(gaps))
    with own_threads():
        near, known = most_correlated(other, own, torch.as_tensor(np.concatenate(candidates, axis=1)), count, hood)
    return np.asarray(_kriged(hood, own, near, known, observations, (float(hood.prior.noise or 0.0),), other)[1][0])


def _weights(hidden: FloatArray, gaps: FloatArray) -> FloatArray:
    """How much each of the hidden (k,) counts so that their variances are distributed as those of gaps (g,)."""
    edges = np.quantile(gaps, np.linspace(0.0, 1.0, NUM_CLASSES + 1))
    edges[0], edges[-1] = edges[0] / WIDER, edges[-1] * WIDER
    group = _enough_in_each(np.histogram(hidden, edges)[0])
    place = np.searchsorted(edges, hidden, side="right") - 1
    inside = (place >= 0) & (place < NUM_CLASSES)
    of = group[np.clip(place, 0, NUM_CLASSES - 1)]
    own = np.bincount(of[inside], minlength=group.max() + 1)
    if not own.all():
        return np.ones(hidden.size)
    share = np.bincount(group) / NUM_CLASSES
    weight = np.where(inside, np.minimum((share / (own / own.sum()))[of], LARGEST_WEIGHT), 0.0)
    return np.asarray(weight / weight.mean())


def _enough_in_each(counts: IntArray) -> IntArray:
    """A group for each class, neighbours joined until each has enough."""
    group, total, number = np.zeros(counts.size, np.intp), 0, 0
    for i, count in enumerate(counts):
        if total >= ENOUGH_OF_CLASS:
            number, total = number + 1, 0
        group[i], total = number, total + count
    if total < ENOUGH_OF_CLASS and number:
        group[group == number] = number - 1
    return group


def _kriged(
    hood: Neighbourhoods,
    own: torch.Tensor,
    near: torch.Tensor,
    known: torch.Tensor,
    observations: Observations,
    noises: Sequence[float],
    other: Neighbourhoods | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Ordinary kriging of the field at each point from its neighbours with each noise, mean and variance (noises, k).

    Simple kriging where the mean is known to be zero.

    The points are numbered in `hood`, or in `other` if there is one; unknown neighbours weigh nothing.
    """
    each = [noise * torch.as_tensor(observations.noise) for noise in noises]
    values = torch.as_tensor(observations.values)
    mean, variance = (np.zeros((len(each), own.numel())) for _ in range(2))

    @torch.no_grad()  # a kernel that was brought has parameters of its own
    def part(start: int, stop: int) -> None:
        i = slice(start, stop)
        K, cross, before = _covariances(hood, own[i], near[i], known[i], other or hood)
        for j, noise in enumerate(each):
            found = _kriged_at_once(K, cross, before, near[i], known[i], noise, values, centred=hood.prior.centred)
            mean[j, i], variance[j, i] = (x.numpy() for x in found)

    in_parts(part, own.numel(), CHUNK)
    return mean, variance


def _covariances(
    hood: Neighbourhoods, own: torch.Tensor, near: torch.Tensor, known: torch.Tensor, other: Neighbourhoods
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of neighbours (k, m, m), of each point with them (k, m), of each point (k,); zero where there is no neighbour."""
    weight, (i, j) = known.double(), torch.triu_indices(near.shape[1], near.shape[1])
    pairs = hood.covariance(near[:, i], near[:, j]) * (weight[:, i] * weight[:, j])
    K = pairs.new_empty(len(near), near.shape[1], near.shape[1])
    K[:, i, j], K[:, j, i] = pairs, pairs
    return K, other.covariance(own[:, None], near, hood) * weight, other.covariance(own, own)


def _kriged_at_once(
    K: torch.Tensor,
    cross: torch.Tensor,
    before: torch.Tensor,
    near: torch.Tensor,
    known: torch.Tensor,
    noise: torch.Tensor,
    values: torch.Tensor,
    *,
    centred: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    weight = known.double()
    L = cholesky_each(K + torch.diag_embed(torch.where(known, noise[near], 1.0)))
    right = torch.stack([values[near] * weight, weight, cross], -1)
    y, one, c = torch.cholesky_solve(right, L).unbind(-1)
    if centred:
        return (cross * y).sum(1), (before - (cross * c).sum(1)).clamp_min(SMALLEST)
    precision = (weight * one).sum(1)
    beta = (weight * y).sum(1) / precision
    missing = 1.0 - (weight * c).sum(1)
    mean = beta + (cross * (y - beta[:, None] * one)).sum(1)
    variance = before - (cross * c).sum(1) + missing.square() / precision
    return mean, variance.clamp_min(SMALLEST)


@dataclass(frozen=True)
class Hidden:
    """Observations to hide in one or several independent fields.

    Attributes
    ----------
    parts : tuple of HeldOut
    noise_is_known : bool
        Whether noise stays what it is however much the field varies.
    """

    parts: tuple[HeldOut, ...]
    noise_is_known: bool = False

    def predict(self, prior: Prior) -> Prediction:
        """Predict what is hidden with a prior."""
        return self.predict_each(prior, (float(prior.noise or 0.0),))[0]

    def predict_each(self, prior: Prior, noises: Sequence[float]) -> list[Prediction]:
        """The same with each of some noises."""
        found = [part.predict(prior, noises, noise_is_known=self.noise_is_known) for part in self.parts]
        return [Prediction.together(of_one) for of_one in zip(*found, strict=True)]

    def weighted(self, prior: Prior) -> Hidden:
        """The same counting as gaps do that are as uncertain by a prior."""
        return replace(self, parts=tuple(part.weighted(prior) for part in self.parts))

    def some(self, count: int) -> Hidden:
        """The same with fewer hidden, in all."""
        share = max(ENOUGH, -(-count // len(self.parts)))
        return replace(self, parts=tuple(part.some(share) for part in self.parts))

    def with_amplitude(self, amplitude: Amplitude) -> Hidden:
        """The same with numbers that stand for more where the field varies more."""

        def of(part: HeldOut) -> HeldOut:
            points = part.observations.points
            return part.in_units(amplitude.at(points.sites)[points.site_index], noise_is_known=self.noise_is_known)

        return replace(self, parts=tuple(map(of, self.parts)))


def held_out(prior: Prior, pools: Sequence[Pool], seed: int, *, noise_is_known: bool = False) -> Hidden | None:
    """Hide some of the observations of fields as their gaps are; None when there are too few.

    Parameters
    ----------
    prior : Prior
        Learned, standardised units.
    pools : sequence of Pool
        Standardised.
    seed : int
    noise_is_known : bool
        As of :class:`Hidden`.
    """
    share = max(ENOUGH_OF_FIELD, -(-NUM_HIDDEN // max(1, len(pools))))
    parts = [HeldOut(prior, pool, seed, share) for pool in pools if len(pool.observations) >= ENOUGH]
    parts = [part for part in parts if part.hidden.size >= ENOUGH]
    return Hidden(tuple(parts), noise_is_known) if parts else None


def settle_noise(prior: Prior, hidden: Hidden) -> Prior:
    """A lower noise where hidden observations are predicted better with it.

    One noise level for a whole field takes the roughness of a few places for noise everywhere, and then everything is
    smoothed. Of the shares of it that predict better by more than chance would tell, the largest is taken that is
    nearly as good as the best.
    """
    assert prior.noise is not None
    noises = [share * float(prior.noise) for share in NOISE_SHARES]
    score, *others = hidden.predict_each(prior, [float(prior.noise), *noises])
    lower = [
        (noise, found.gain_over(score)[0])
        for noise, found in zip(noises, others, strict=True)
        if found.is_better_than(score)
    ]
    most = max((gain for _, gain in lower), default=0.0)
    return next((prior.with_values({"noise": noise}) for noise, gain in lower if gain >= NEARLY * most), prior)


def settle_smoothness(prior: Prior, axes: tuple[str, ...], relearn: Callable[[Prior], Prior], hidden: Hidden) -> Prior:
    """The smoothness of the Matérn kernels of these axes that predicts hidden observations best.

    None is simpler than another, so that none needs to be better by more than chance.

    Parameters
    ----------
    prior : Prior
        Learned with the smoothness it has.
    axes : tuple of {"time", "space", "depth"}
    relearn : callable
        Learns the numbers of a prior from those it has.
    hidden : Hidden
    """
    best, score = prior, hidden.predict(prior)
    for axis in ("depth", *reversed(AXES)):
        for nu in SMOOTHNESS if axis in axes else ():
            changed = with_smoothness(best, axis, nu)
            if changed == best:
                continue
            candidate = relearn(changed)
            found = hidden.predict(candidate)
            if found.gain_over(score)[0] > 0.0:
                best, score = candidate, found
    return best


def with_smoothness(prior: Prior, axis: str, nu: float) -> Prior:
    """The same prior with Matérn kernels of this smoothness along an axis."""
    terms = []
    for term in prior.terms:
        kernel = term.axes.get(axis)
        terms.append(term.with_axes({axis: replace(kernel, nu=nu)} if isinstance(kernel, Matern) else {}))
    return replace(prior, terms=tuple(terms))
