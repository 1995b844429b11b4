"""How local conditionals of cells of a lattice are made: how many neighbours, and how many cells share them.

It is settled on probes, cells whose variance is known: the cheapest way whose local variances are near enough to the
exact ones for draws to tell the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from xgpfill.covariance.matrices import Covariance
from xgpfill.engines.lattice.single import NEIGHBOURS
from xgpfill.engines.lattice.variance import Halves, Smoothing, halved
from xgpfill.vecchia.local import Patches, patches_of
from xgpfill.vecchia.static import conditionals, given_map

if TYPE_CHECKING:
    from xgpfill.arrays import FloatArray, IntArray
    from xgpfill.engines.lattice.asked import AnyFloats, Asked
    from xgpfill.engines.lattice.system import System
    from xgpfill.grid.points import Points
    from xgpfill.vecchia.local import Goals

PAIRS = 64
"""Pairs of neighbours along an axis that say whether cells may share a patch, at most."""
MISSED, MISSED_OF_REST = (0.33, 0.6), (0.1, 0.25)
"""Share of its local variance that a probe's exact one may lack, median and largest; and with a map told apart."""
MOST_OPERATIONS = 1.2e11
"""Multiplications that local conditionals may take."""
MUCH_LESS = 0.8
"""Share of what probes missed before that they may miss when variances are made anew."""
ALIKE, WIDTHS = 0.5, (3.0, 1.0)
"""Cells over which what draws say is smoothed along an axis on which neighbours are correlated as much, and others."""


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


class Rungs:
    """Local conditionals of some cells under one system.

    Parameters
    ----------
    system : System
    asked : Asked
        The cells.
    goals : Goals
        The same as local conditionals want them.
    """

    def __init__(self, system: System, asked: Asked, goals: Goals) -> None:
        self._system, self._asked, self._goals = system, asked, goals

    @staticmethod
    def level(rung: int) -> Level:
        """How local conditionals are made on a rung."""
        return LADDER[rung]

    def chosen(self, at: IntArray, exact: FloatArray, *, above: int = -1) -> int:
        """The first rung of the ladder on which probes miss little of their variance, or the best affordable one.

        Of those above one that did not do: the first on which they miss much less.
        """
        most, largest = MISSED if given_map(self._system.preconditioner) is None else MISSED_OF_REST
        best, least = max(above, 0), np.inf
        for rung, level in enumerate(LADDER):
            if rung < above or (rung and self.operations(level) > MOST_OPERATIONS):
                continue
            if not at.size:
                return rung
            patches = self.patches(level)
            some = patches.only(np.isin(patches.members, at).any(1))
            local, _ = self.local(some, level, np.zeros((len(self._asked.points), 0)))
            missed = 1.0 - exact / local[at]
            middle = float(np.median(missed))
            if rung == above:
                most, least = MUCH_LESS * middle, middle
                continue
            if middle <= most and missed.max() <= largest:
                return rung
            if middle < least:
                best, least = rung, middle
            if level.patch == 1 and self.neighbours(level) >= len(self._system.observations):
                break
        return best

    def local(self, patches: Patches, level: Level, mean: AnyFloats) -> tuple[FloatArray, Halves]:
        """Blended local variances (m,), and the mean squares that local means of draws miss."""
        (m, draws), system = mean.shape, self._system
        local, missed = np.zeros(m), Halves(np.zeros(m), np.zeros(m))
        how = system.neighbours, system.drawn(draws), self._goals, patches, self.neighbours(level)
        for block in conditionals(system.preconditioner, *how):
            members, weights = patches.members[block.patches], patches.weights[block.patches]
            np.add.at(local, members, weights * block.variance)
            if draws:
                halves = halved(np.square(mean[members] - block.mean))
                np.add.at(missed.first, members, weights * halves.first)
                np.add.at(missed.second, members, weights * halves.second)
        return local, missed

    def neighbours(self, level: Level) -> int:
        """Observations that a cell is conditioned on."""
        return max(NEIGHBOURS, self._system.num_neighbours) * level.times

    def operations(self, level: Level) -> float:
        """Multiplications, about, that local conditionals of all wanted cells take."""
        count = min(self.neighbours(level), len(self._system.observations))
        share = level.patch if max(self._alike) > 0 else 1
        return float(self._asked.wanted.sum()) * count**2 * (count / 3 + 3 * share + 40) / share

    def smoothing(self) -> Smoothing | None:
        """Over which neighbours what draws say is smoothed; None for places in a list."""
        if self._asked.points.frame is None or 1 in self._asked.points.frame:
            return None
        time, y, x = (WIDTHS[0] if a >= ALIKE else WIDTHS[1] for a in self._alike)
        return Smoothing(self._asked.shape, (time, y, x), wraps=self._wraps)

    @property
    def _wraps(self) -> bool:
        """Whether the last column asked for is next to the first."""
        turn = self._system.operator.tables.arrays.turn
        return bool(turn) and self._asked.shape[2] == turn

    def patches(self, level: Level) -> Patches:
        """Targets that share neighbours, those where the field exists."""
        if self._asked.points.frame is None:
            patches = Patches.single(len(self._asked.points))
        else:
            time, y, x = self._alike
            patches = patches_of(self._asked.shape, (time, y, x), wraps=self._wraps, most=level.patch)
        there = self._asked.wanted[patches.members].any(1)
        return patches if there.all() else patches.only(there)

    @cached_property
    def _alike(self) -> tuple[float, ...]:
        """Least prior correlation of neighbouring cells along each axis."""
        shape, middle, found = self._asked.shape, np.array([n // 2 for n in self._asked.shape]), []
        for axis, n in enumerate(shape):
            cells = np.repeat(middle[None], min(n, PAIRS + 1) - 1, axis=0)  # all along the axis: sites may be a list
            cells[:, axis] = np.linspace(0, n - 2, len(cells)).astype(np.intp)
            pairs = [
                np.ravel_multi_index(tuple((cells + step * np.eye(3, dtype=np.intp)[axis]).T), shape) for step in (0, 1)
            ]
            found.append(self._least_correlation(*map(self._asked.points.take_in_order, pairs)) if len(cells) else 0.0)
        return tuple(found)

    def _least_correlation(self, first: Points, second: Points) -> float:
        """Of some pairs, in the term that tells them apart most."""
        found = [1.0]
        for term in self._system.law.prior.terms:
            covariance = Covariance(self._system.law.prior.restricted((term.name,)))
            K, own, its = covariance.matrix(first, second), covariance.diagonal(first), covariance.diagonal(second)
            found.append(float((K.diagonal() / (own * its).sqrt()).min()))
        return min(found)
