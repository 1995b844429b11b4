"""Variances of cells of a lattice: local conditionals, corrected by draws, checked on cells that are solved exactly."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from xgpfill.engines.lattice.asked import Probes, Sample, Told
from xgpfill.engines.lattice.rungs import Rungs
from xgpfill.engines.lattice.single import LOOSELY, Singly
from xgpfill.engines.lattice.system import Unproven
from xgpfill.engines.lattice.variance import Bars, Check, Pool, bias_of_regions, halved
from xgpfill.errors import XgpfillWarning

if TYPE_CHECKING:
    from xgpfill.arrays import FloatArray, IntArray
    from xgpfill.covariance.matrices import Covariance
    from xgpfill.engines.lattice.asked import AnyFloats, Asked
    from xgpfill.engines.lattice.rungs import Level
    from xgpfill.engines.lattice.system import System
    from xgpfill.engines.lattice.variance import BoolArray, Halves, Smoothing
    from xgpfill.grid.points import Observations, Points

PROBES = ((100_000, 32), (10**18, 16))
"""Up to so many cells so many of them are solved exactly."""
MANY_CELLS, PROBES_AT_ONCE = 1_000_000, 8
"""Beyond so many cells so many probes are solved at once, since each takes as much memory as a draw."""
SINGLE = 2000
"""Cells that tell what targets elsewhere miss, at most."""
ATTEMPTS = 3
"""How often variances are made, where the check does not hold."""
RARE = 2.58
"""Standard deviations that a hundredth of normal numbers exceeds."""
REGIONS = (3, 4, 4)
"""Parts of the domain in time, rows and columns in which the draws' errors must agree with their variance."""
BARS, MARGIN = Bars(), 0.8
DENSE_OPERATIONS = 2e11
"""Multiplications that the dense engine may take where variances miss their bars."""


class Marginals:
    """Variances of cells under one system, and of targets one by one.

    Parameters
    ----------
    system : System
    law : Covariance
    observations : Observations

    Attributes
    ----------
    singly : Singly
    """

    def __init__(self, system: System, law: Covariance, observations: Observations) -> None:
        self._system, self._observations = system, observations
        self.singly = Singly(system, law, observations)

    # Probes

    def solve_probes(self, asked: Asked) -> None:
        """Solve some of the cells exactly, the first time that these are asked for."""
        if self._system.probes is not None and asked.is_same(self._system.probes.asked):
            return
        cells, points = self.choose_probes(asked)
        step = PROBES_AT_ONCE if len(asked.points) > MANY_CELLS else max(1, len(cells))
        parts = [points.take_in_order(np.arange(a, min(a + step, len(cells)))) for a in range(0, len(cells), step)]
        variance = [self.singly.exactly(part, LOOSELY)[0] for part in parts]
        self._system.probes = Probes(cells, points, np.concatenate(variance), asked) if len(cells) else None

    def choose_probes(self, asked: Asked) -> tuple[IntArray, Points]:
        """Cells (k, 2) of the lattice to solve exactly: where there is no observation, if there are such."""
        gaps = np.flatnonzero(asked.wanted & ~self._seen(asked))
        gaps = gaps if gaps.size else np.flatnonzero(asked.wanted)
        count = next(p for most, p in PROBES if len(asked.points) <= most)
        chosen = np.sort(np.random.default_rng(2).choice(gaps, min(count, gaps.size), replace=False))
        points = asked.points.take_in_order(chosen)
        where = np.stack([asked.times[points.time_index], asked.sites[points.site_index]], axis=1)
        return where, points

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
        goals = self.singly.goals(asked.points)
        rungs = Rungs(self._system, asked, goals)
        rung, smoothing = rungs.chosen(at, exact), rungs.smoothing()
        for attempt in range(ATTEMPTS):
            level = rungs.level(rung)
            local, missed = rungs.local(rungs.patches(level), level, mean)
            variance, told = _told(local, missed, errors, goals.prior, asked.wanted, seen, smoothing)
            neighbours = rungs.neighbours(level)
            check = _checked(level, neighbours, variance, errors, asked, (at, exact), residual)
            if _holds(check) or attempt + 1 == ATTEMPTS:
                break
            higher = rungs.chosen(at, exact, above=rung)
            if higher == rung:
                break
            rung = higher
        if asked.is_whole(self._observations.points):
            sample = self._sample(asked, seen, mean, errors)
            self._system.told = replace(told, asked=asked, neighbours=neighbours, sample=sample)
        known = self._system.record[self._system.checked]
        if known.check is None or asked.is_whole(self._observations.points):
            self._system.record[self._system.checked] = replace(known, check=check)
        n = len(self._observations)
        if not _holds(check) and n**2 * (n / 3 + len(asked.points)) <= DENSE_OPERATIONS:
            raise Unproven
        _warn(check, self._system.settings.num_samples)
        return variance

    @staticmethod
    def _sample(asked: Asked, seen: BoolArray, mean: AnyFloats, errors: AnyFloats) -> Sample:
        """Some of the cells, unobserved ones if there are such."""
        rng = np.random.default_rng(3)
        gaps = np.flatnonzero(asked.wanted & ~seen)
        gaps = gaps if gaps.size else np.flatnonzero(asked.wanted)
        some = rng.choice(gaps, min(SINGLE, gaps.size), replace=False)
        return Sample(asked.points.take_in_order(some), mean[some], errors[some])

    def _seen(self, asked: Asked) -> BoolArray:
        """Which targets are observed."""
        own, seen = self._observations.points, np.zeros(len(asked.points), bool)
        cells = asked.number(np.stack([own.time_index, own.site_index], axis=1))
        seen[cells[cells >= 0]] = True
        return seen

    def _probed(self, asked: Asked) -> tuple[BoolArray, IntArray, FloatArray]:
        """Which targets are observed; which are probes, and their exact variances."""
        probes, seen = self._system.probes, self._seen(asked)
        if probes is None:
            return seen, np.zeros(0, np.intp), np.zeros(0)
        number = asked.number(probes.cells)
        kept = number >= 0
        return seen, number[kept], probes.variance[kept]


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
    error, missed = halved(np.square(errors)).over(below), missed.over(below)
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


def _checked(
    level: Level,
    neighbours: int,
    variance: FloatArray,
    errors: AnyFloats,
    asked: Asked,
    probes: tuple[IntArray, FloatArray],
    residual: float,
) -> Check:
    """What probes and draws say.

    Parameters
    ----------
    level, neighbours
        How local conditionals were made.
    variance : array (m,)
        Of the cells that were asked for.
    errors : array (m, S)
        Draws less their posterior means.
    asked : Asked
    probes : (int array (P,), array (P,))
        Which of the cells are probes, and their exact variances.
    residual : float
        Of the data, in the unit of :meth:`System.solution`.
    """
    at, exact = probes
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
        neighbours=neighbours,
        patch=level.patch,
    )


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
