"""Variances of cells of a lattice: local conditionals, corrected by draws, checked on cells that are solved exactly.

How many observations a cell is conditioned on, and how many cells share them, is settled on the probes: the cheapest
way whose local variances are near enough to the exact ones for draws to tell the rest.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.spatial import KDTree

from xgpfill.covariance.matrices import Covariance
from xgpfill.engines.lattice.system import EPS, Probes, Unproven
from xgpfill.engines.lattice.variance import Bars, Check, Halves, Pool, Smoothing, bias_of_regions
from xgpfill.errors import XgpfillWarning
from xgpfill.vecchia.local import Goals, Patches, local_conditionals, local_weights, patches_of
from xgpfill.vecchia.neighbourhoods import Neighbourhoods
from xgpfill.vecchia.static import conditionals, given_map

if TYPE_CHECKING:
    from torch import Tensor

    from xgpfill.arrays import FloatArray, IntArray
    from xgpfill.engines.lattice.system import System
    from xgpfill.engines.lattice.variance import BoolArray
    from xgpfill.grid.points import Observations, Points

    AnyFloats = np.ndarray[Any, np.dtype[np.floating[Any]]]

NEIGHBOURS = 64
"""Observations that a cell is conditioned on, at least."""
PROBES = ((100_000, 32), (10**18, 16))
"""Up to so many cells so many of them are solved exactly."""
MANY_CELLS, PROBES_AT_ONCE = 1_000_000, 8
"""Beyond so many cells so many probes are solved at once, since each takes as much memory as a draw."""
NEARLY_ALL = 1024
"""Observations that an exact solve begins with."""
CLOSELY, LOOSELY = 0.01, 0.04
"""Share by which variances of single cells may come out too large: of those asked for, and of probes."""
RARE = 2.58
"""Standard deviations that a hundredth of normal numbers exceeds."""
SINGLE = 2000
"""Cells that tell what targets elsewhere miss, at most."""
PAIRS = 64
"""Pairs of neighbours along an axis that say whether cells may share a patch, at most."""
MISSED, MISSED_OF_REST = (0.33, 0.6), (0.1, 0.25)
"""Share of its local variance that a probe's exact one may lack, median and largest; and with a map told apart."""
MOST_OPERATIONS = 1.2e11
"""Multiplications that local conditionals may take."""
ATTEMPTS = 3
"""How often variances are made, where the check does not hold."""
MUCH_LESS = 0.8
"""Share of what probes missed before that they may miss when variances are made anew."""
ALIKE, WIDTHS = 0.5, (3.0, 1.0)
"""Cells over which what draws say is smoothed along an axis on which neighbours are correlated as much, and others."""
DENSE_OPERATIONS = 2e11
"""Multiplications that the dense engine may take where variances miss their bars."""
REGIONS = (3, 4, 4)
"""Parts of the domain in time, rows and columns in which the draws' errors must agree with their variance."""
BARS, MARGIN = Bars(), 0.8


@dataclass(frozen=True)
class Level:
    """How local conditionals are made.

    Attributes
    ----------
    patch : int
        Cells that share neighbours, at most.
    times : int
        Times as many neighbours as at least.
    """

    patch: int
    times: int


LADDER = tuple(
    Level(*pair) for pair in ((16, 1), (8, 1), (4, 1), (2, 1), (4, 2), (2, 2), (1, 2), (2, 4), (1, 4), (1, 8))
)
"""From cheap to dear."""


@dataclass(frozen=True, eq=False)
class Asked:
    """Targets that are cells of the lattice, all of some sites at all of some times.

    Attributes
    ----------
    points : Points
    times, sites : int array
        Where they are on the lattice, along each axis.
    shape : tuple of int
        Times, rows, columns.
    wanted : bool array (m,)
        Where the field exists.
    """

    points: Points
    times: IntArray
    sites: IntArray
    shape: tuple[int, int, int]
    wanted: BoolArray

    def is_whole(self, own: Points) -> bool:
        """Whether these are all cells of the lattice."""
        return self.times.size == own.times.size and self.sites.size == own.sites.shape[0]

    def is_same(self, other: Asked) -> bool:
        """Whether these are those cells."""
        pairs = ((self.times, other.times), (self.sites, other.sites), (self.wanted, other.wanted))
        return all(np.array_equal(a, b) for a, b in pairs)

    def number(self, cells: IntArray) -> IntArray:
        """Which targets cells (k, 2) of the lattice are; −1 for none."""
        found = []
        for own, wanted in ((self.times, cells[:, 0]), (self.sites, cells[:, 1])):
            place = np.full(max(own.max(), wanted.max(initial=0)) + 1, -1)
            place[own] = np.arange(own.size)
            found.append(place[wanted])
        return np.where((found[0] < 0) | (found[1] < 0), -1, found[0] * self.sites.size + found[1])


@dataclass(frozen=True, eq=False)
class Told:
    """What unobserved cells of the lattice say of the variance of targets elsewhere.

    Attributes
    ----------
    pool : Pool
    factors : (array (m,), array (m,))
        Of A and B, over what the pool expects of each cell.
    asked : Asked or None
        Those cells.
    neighbours : int
        Observations that each was conditioned on.
    sample : Sample or None
        Some of them, to be conditioned on neighbours of their own, as targets elsewhere are.
    """

    pool: Pool
    factors: tuple[FloatArray, FloatArray]
    asked: Asked | None = None
    neighbours: int = 0
    sample: Sample | None = None


@dataclass(frozen=True, eq=False)
class Sample:
    """Some cells.

    Attributes
    ----------
    points : Points
    mean, errors : array (k, S)
        Posterior means of draws there, and the draws less these.
    """

    points: Points
    mean: AnyFloats
    errors: AnyFloats


class Marginals:
    """Variances under one system.

    Parameters
    ----------
    system : System
    law : Covariance
    observations : Observations
    """

    def __init__(self, system: System, law: Covariance, observations: Observations) -> None:
        self._system, self._law, self._observations = system, law, observations

    # Probes

    def solve_probes(self, asked: Asked) -> None:
        """Solve some of the cells exactly, the first time that these are asked for."""
        if self._system.probes is not None and asked.is_same(self._system.probes.asked):
            return
        cells, points = self.choose_probes(asked)
        step = PROBES_AT_ONCE if len(asked.points) > MANY_CELLS else max(1, len(cells))
        parts = [points.take_in_order(np.arange(a, min(a + step, len(cells)))) for a in range(0, len(cells), step)]
        variance = [self.exactly(part, LOOSELY)[0] for part in parts]
        self._system.probes = Probes(cells, points, np.concatenate(variance), asked) if len(cells) else None

    def exactly(self, targets: Points, excess: float = CLOSELY) -> tuple[FloatArray, Tensor]:
        """Exact variances of targets (k,), the trend left out, and their covariances (n, k) with the observations.

        Solved for one by one, from what kriging with many neighbours of their own weighs; too large by no more than
        this share.
        """
        cross, goals = self._law.matrix(self._observations.points, targets), self.goals(targets)
        near = local_weights(self._system.neighbours, goals, NEARLY_ALL).to(cross)
        local = np.maximum(goals.prior - (near * cross).sum(0).double().cpu().numpy(), EPS * goals.prior)
        return self._system.variances(goals.prior, cross, near, local, excess), cross

    def choose_probes(self, asked: Asked) -> tuple[IntArray, Points]:
        """Cells (k, 2) of the lattice to solve exactly: where there is no observation, if there are such."""
        gaps = np.flatnonzero(asked.wanted & ~self._seen(asked))
        gaps = gaps if gaps.size else np.flatnonzero(asked.wanted)
        count = next(p for most, p in PROBES if len(asked.points) <= most)
        chosen = np.sort(np.random.default_rng(2).choice(gaps, min(count, gaps.size), replace=False))
        points = asked.points.take_in_order(chosen)
        where = np.stack([asked.times[points.time_index], asked.sites[points.site_index]], axis=1)
        return where, points

    def local_sd(self, targets: Points) -> FloatArray:
        """Standard deviations given neighbours of their own alone: a little too large."""
        return np.asarray(np.sqrt(self._singly(self.goals(targets), np.zeros((len(targets), 0)), NEIGHBOURS)[0]))

    # Variances

    def on_lattice(self, asked: Asked, mean: AnyFloats, truth: AnyFloats, residual: float) -> FloatArray:
        """Variances (m,) of cells, from the posterior means (m, S) of draws and the draws themselves.

        `residual` is that of the data, in the unit of :meth:`System.solution`.

        Warns
        -----
        XgpfillWarning
            When probes or draws say that they are not true.
        """
        errors = truth - mean
        seen, at, exact = self._probed(asked)
        goals, alike = self.goals(asked.points), self._alike(asked)
        rung = self._rung(asked, goals, alike, at, exact)
        smoothing = self._smoothing(asked, alike)
        for attempt in range(ATTEMPTS):
            level = LADDER[rung]
            local, missed = self._local(goals, self._patches(asked, alike, level), level, mean)
            variance, told = _told(local, missed, errors, goals.prior, asked.wanted, seen, smoothing)
            check = self._check(level, variance, errors, asked, at, exact, residual)
            if _holds(check) or attempt + 1 == ATTEMPTS:
                break
            higher = self._rung(asked, goals, alike, at, exact, above=rung)
            if higher == rung:
                break
            rung = higher
        if asked.is_whole(self._observations.points):
            rng = np.random.default_rng(3)
            gaps = np.flatnonzero(asked.wanted & ~seen)
            gaps = gaps if gaps.size else np.flatnonzero(asked.wanted)
            some = rng.choice(gaps, min(SINGLE, gaps.size), replace=False)
            sample = Sample(asked.points.take_in_order(some), mean[some], errors[some])
            self._system.told = replace(told, asked=asked, neighbours=self._neighbours(level), sample=sample)
        known = self._system.record[self._system.checked]
        if known.check is None or asked.is_whole(self._observations.points):
            self._system.record[self._system.checked] = replace(known, check=check)
        n = len(self._observations)
        if not _holds(check) and n**2 * (n / 3 + len(asked.points)) <= DENSE_OPERATIONS:
            raise Unproven
        _warn(check, self._system.settings.num_samples)
        return variance

    def elsewhere(self, targets: Points) -> FloatArray:
        """Variances of any targets, each by itself, with what cells of the lattice with a like local variance miss."""
        told = self._system.told
        assert told is not None
        assert told.asked is not None
        goals = self.goals(targets)
        local, _ = self._singly(goals, np.zeros((len(targets), 0)), told.neighbours)
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
            local, missed = self._singly(goals, told.sample.mean, told.neighbours)
            self._system.single_pool = Pool.of(local / goals.prior, errors / local, missed / local)
        return self._system.single_pool

    def _singly(self, goals: Goals, mean: AnyFloats, count: int) -> tuple[FloatArray, FloatArray]:
        """Local variances of targets, each with neighbours of its own, and the mean squares that they miss of draws."""
        data = self._drawn(mean.shape[1])
        local, missed = np.zeros(len(mean)), np.zeros(len(mean))
        for block in local_conditionals(self._system.neighbours, data, goals, Patches.single(len(mean)), count):
            local[block.patches] = block.variance[:, 0]
            if mean.shape[1]:
                missed[block.patches] = np.square(mean[block.patches] - block.mean[:, 0]).mean(1)
        return local, missed

    def _seen(self, asked: Asked) -> BoolArray:
        """Which targets are observed."""
        own, seen = self._observations.points, np.zeros(len(asked.points), bool)
        cells = asked.number(np.stack([own.time_index, own.site_index], axis=1))
        seen[cells[cells >= 0]] = True
        return seen

    def _drawn(self, draws: int) -> FloatArray:
        """The data of all draws, (n, S); none of them, (n, 0), where means of none are known."""
        if not draws:
            return np.zeros((len(self._observations), 0))
        assert self._system.draws is not None
        return np.asarray(self._system.draws.data.double().cpu().numpy())

    def _probed(self, asked: Asked) -> tuple[BoolArray, IntArray, FloatArray]:
        """Which targets are observed; which are probes, and their exact variances."""
        probes, seen = self._system.probes, self._seen(asked)
        if probes is None:
            return seen, np.zeros(0, np.intp), np.zeros(0)
        number = asked.number(probes.cells)
        kept = number >= 0
        return seen, number[kept], probes.variance[kept]

    def _rung(
        self,
        asked: Asked,
        goals: Goals,
        alike: tuple[float, ...],
        at: IntArray,
        exact: FloatArray,
        *,
        above: int = -1,
    ) -> int:
        """The first rung of the ladder on which probes miss little of their variance, or the best affordable one.

        Of those above one that did not do: the first on which they miss much less.
        """
        most, largest = MISSED if given_map(self._system.preconditioner) is None else MISSED_OF_REST
        best, least = max(above, 0), np.inf
        for rung, level in enumerate(LADDER):
            if rung < above or (rung and self._operations(asked, alike, level) > MOST_OPERATIONS):
                continue
            if not at.size:
                return rung
            patches = self._patches(asked, alike, level)
            some = patches.only(np.isin(patches.members, at).any(1))
            local, _ = self._local(goals, some, level, np.zeros((len(asked.points), 0)))
            missed = 1.0 - exact / local[at]
            middle = float(np.median(missed))
            if rung == above:
                most, least = MUCH_LESS * middle, middle
                continue
            if middle <= most and missed.max() <= largest:
                return rung
            if middle < least:
                best, least = rung, middle
            if level.patch == 1 and self._neighbours(level) >= len(self._observations):
                break
        return best

    def _local(self, goals: Goals, patches: Patches, level: Level, mean: AnyFloats) -> tuple[FloatArray, Halves]:
        """Blended local variances (m,), and the mean squares that local means of draws miss."""
        (m, draws), system = mean.shape, self._system
        local, missed = np.zeros(m), Halves(np.zeros(m), np.zeros(m))
        how = system.neighbours, self._drawn(draws), goals, patches, self._neighbours(level)
        for block in conditionals(system.preconditioner, *how):
            members, weights = patches.members[block.patches], patches.weights[block.patches]
            np.add.at(local, members, weights * block.variance)
            if draws:
                halves = _halved(np.square(mean[members] - block.mean))
                np.add.at(missed.first, members, weights * halves.first)
                np.add.at(missed.second, members, weights * halves.second)
        return local, missed

    def _check(
        self,
        level: Level,
        variance: FloatArray,
        errors: AnyFloats,
        asked: Asked,
        at: IntArray,
        exact: FloatArray,
        residual: float,
    ) -> Check:
        """What probes and draws say."""
        off = np.abs(np.sqrt(variance[at] / exact) - 1.0)
        counts = [np.arange(n) * parts // n for n, parts in zip(asked.shape, REGIONS, strict=True)]
        t, y, x = np.ix_(*counts)
        regions = ((t * REGIONS[1] + y) * REGIONS[2] + x).ravel()[asked.wanted]
        bias, worst = bias_of_regions(errors[asked.wanted], variance[asked.wanted], regions)
        return Check(
            probes=at.size,
            std_error=float(np.median(off)) if at.size else np.nan,
            worst_std_error=float(off.max()) if at.size else np.nan,
            mean_error=RARE * residual,
            std_bias=bias,
            region_bias=worst,
            neighbours=self._neighbours(level),
            patch=level.patch,
        )

    def _neighbours(self, level: Level) -> int:
        """Observations that a cell is conditioned on."""
        return max(NEIGHBOURS, self._system.num_neighbours) * level.times

    def _operations(self, asked: Asked, alike: tuple[float, ...], level: Level) -> float:
        """Multiplications, about, that local conditionals of all wanted cells take."""
        count = min(self._neighbours(level), len(self._observations))
        share = level.patch if max(alike) > 0 else 1
        return float(asked.wanted.sum()) * count**2 * (count / 3 + 3 * share + 40) / share

    # Where cells are alike

    def _smoothing(self, asked: Asked, alike: tuple[float, ...]) -> Smoothing | None:
        """Over which neighbours what draws say is smoothed; None for places in a list."""
        if asked.points.frame is None or 1 in asked.points.frame:
            return None
        time, y, x = (WIDTHS[0] if a >= ALIKE else WIDTHS[1] for a in alike)
        return Smoothing(asked.shape, (time, y, x), wraps=self._wraps(asked))

    def _wraps(self, asked: Asked) -> bool:
        """Whether the last column asked for is next to the first."""
        turn = self._system.operator.tables.arrays.turn
        return bool(turn) and asked.shape[2] == turn

    def _patches(self, asked: Asked, alike: tuple[float, ...], level: Level) -> Patches:
        """Targets that share neighbours, those where the field exists."""
        if asked.points.frame is None:
            patches = Patches.single(len(asked.points))
        else:
            patches = patches_of(asked.shape, alike[:3], wraps=self._wraps(asked), most=level.patch)  # type: ignore[arg-type]
        there = asked.wanted[patches.members].any(1)
        return patches if there.all() else patches.only(there)

    def _alike(self, asked: Asked) -> tuple[float, ...]:
        """Least prior correlation of neighbouring cells along each axis."""
        shape, middle, found = asked.shape, np.array([n // 2 for n in asked.shape]), []
        for axis, n in enumerate(shape):
            cells = np.repeat(middle[None], min(n, PAIRS + 1) - 1, axis=0)  # all along the axis: sites may be a list
            cells[:, axis] = np.linspace(0, n - 2, len(cells)).astype(np.intp)
            pairs = [
                np.ravel_multi_index(tuple((cells + step * np.eye(3, dtype=np.intp)[axis]).T), shape) for step in (0, 1)
            ]
            found.append(self._least_correlation(*map(asked.points.take_in_order, pairs)) if len(cells) else 0.0)
        return tuple(found)

    def _least_correlation(self, first: Points, second: Points) -> float:
        """Of some pairs, in the term that tells them apart most."""
        found = [1.0]
        for term in self._law.prior.terms:
            covariance = Covariance(self._law.prior.restricted((term.name,)))
            K, own, its = covariance.matrix(first, second), covariance.diagonal(first), covariance.diagonal(second)
            found.append(float((K.diagonal() / (own * its).sqrt()).min()))
        return min(found)

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


def places_on(own: Points, targets: Points) -> tuple[IntArray, IntArray] | None:
    """Which sites and times of a lattice those of the targets are; None when some are elsewhere."""
    sites, times = _places(own.sites, targets.sites), _places(own.times[:, None], targets.times[:, None])
    return None if sites is None or times is None else (sites, times)


def _places(own: FloatArray, wanted: FloatArray) -> IntArray | None:
    """Where each of `wanted` is among `own` rows; None when one is not there."""
    if own.shape == wanted.shape and np.array_equal(own, wanted):
        return np.arange(len(own))
    if not len(own):
        return None
    distance, index = KDTree(own).query(wanted)
    return None if (distance > 0).any() else np.asarray(index, dtype=np.intp)


def _halved(squares: AnyFloats) -> Halves:
    """Averages over every other draw of the last axis."""
    first = squares[..., ::2].mean(-1)
    return Halves(first, squares[..., 1::2].mean(-1) if squares.shape[-1] > 1 else first)


def _told(
    local: FloatArray,
    missed: Halves,
    errors: AnyFloats,
    prior: FloatArray,
    wanted: BoolArray,
    seen: BoolArray,
    smoothing: Smoothing | None,
) -> tuple[FloatArray, Told]:
    """Variances with what like cells miss, observed and unobserved ones apart; what the unobserved say of others."""
    variance, told = prior.copy(), Told(Pool(np.zeros(1), np.zeros(1)), (np.ones(local.size), np.ones(local.size)))
    below = np.where(wanted, local, 1.0)
    error, missed = _halved(np.square(errors)).over(below), missed.over(below)
    for some in (wanted & seen, wanted & ~seen):
        if not some.any():
            continue
        left = below / prior
        pool = Pool.of(left[some], error.whole[some], missed.whole[some])
        factors = np.ones(local.size), np.ones(local.size)
        if smoothing is not None and errors.shape[1] > 1:
            share = pool.share(left)
            factors = smoothing.factor(error, 1.0 - share, some), smoothing.factor(missed, share, some)
        variance[some] = (below * (1.0 - pool.near(left, factors)))[some]
        told = Told(pool, factors)
    return variance, told


def _holds(check: Check) -> bool:
    """Whether what was found is well within the bars: a few probes stand for all cells."""
    return not (
        check.std_error > BARS.std
        or check.worst_std_error > MARGIN * BARS.worst_std
        or abs(check.region_bias) > BARS.bias
    )


def _warn(check: Check, draws: int) -> None:
    """Say by how much answers miss the bars, and what to type."""
    said = []
    if check.std_error > BARS.std or check.worst_std_error > BARS.worst_std:
        said.append(
            f"standard deviations of {check.probes} cells that were solved exactly are off by {check.std_error:.0%} "
            f"(median) and {check.worst_std_error:.0%} (worst)"
        )
    if abs(check.region_bias) > BARS.bias:
        said.append(f"standard deviations in part of the domain are {check.region_bias:+.0%} off")
    if check.mean_error > BARS.mean:
        said.append(f"means of a hundredth of the cells are {check.mean_error:.2f} standard deviations off or more")
    if said:
        more = [f"num_neighbours={2 * check.neighbours}", f"num_samples={4 * draws}"]
        more += ["tolerance=1e-3"] if check.mean_error > BARS.mean else []
        warnings.warn(
            f"The solve was checked: {'; '.join(said)}. Type `method=xgpfill.Iterative({', '.join(more)})` for closer "
            f"ones, or `method='exact'` where observations are few.",
            XgpfillWarning,
            stacklevel=2,
        )
