"""Cells along one axis in groups: those near a tile one by one, farther ones in blocks of 2, 4, 8, … that are averaged.

A block is no longer than a fifth of the shortest lengthscale that still matters at its distance. It begins at a
multiple of its length, so that tiles share blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from xgpfill.kernels.parts import has_type
from xgpfill.kernels.reach import finest, reach
from xgpfill.kernels.spec import Brownian, Constant, Independent

if TYPE_CHECKING:
    from xgpfill.arrays import IntArray
    from xgpfill.grid.lattice import Space
    from xgpfill.kernels.spec import Kernel

SHARE = 0.2
"""Length of a group, at most, over the shortest lengthscale that still matters at its distance."""
MATTERS = 3.0
"""Lengthscales within which a kernel matters."""
NODES = {2: (0.2113, 0.7887), **{n: tuple((i + 0.5) / n for i in range(n)) for n in (4, 8)}}
"""Where cells stand for a group: Gauss and Legendre's two, or the middles of parts; in shares of its length."""
MOST = 64
"""Cells of a group along an axis, at most: all pairs of them are evaluated."""
GROWTH, SCREENED, GROWTH_OF_FEW = 0.5, 0.25, 4.0
"""Length of a group, at most, over its distance: of walks, and for engines that tell few observations well."""


@dataclass(frozen=True, eq=False)
class Groups:
    """Cells along one axis in groups of neighbours.

    Attributes
    ----------
    starts : int array (g,)
        First cell of each.
    size : int
        Cells of the axis.
    end : int or None
        Where the last group ends; None: with the axis. Cells before the first group and from there on are not seen.
    """

    starts: IntArray
    size: int
    end: int | None = None

    @property
    def sizes(self) -> IntArray:
        """Cells of each group."""
        return np.diff(self.starts, append=self.size if self.end is None else self.end)

    @property
    def number(self) -> IntArray:
        """Which group each cell is in; −1: in none."""
        found = np.full(self.size, -1, dtype=np.intp)
        first, sizes = int(self.starts[0]), self.sizes
        found[first : first + sizes.sum()] = np.repeat(np.arange(sizes.size), sizes)
        return found

    @property
    def are_single(self) -> bool:
        """Whether every cell is its own group."""
        return bool((self.sizes == 1).all())

    @property
    def runs(self) -> list[tuple[int, slice, slice]]:
        """Neighbours of like size in a row: how often the axis is halved for them, which blocks of it, which groups."""
        halvings = np.ceil(np.log2(self.sizes)).astype(int)
        jumps = self.starts[1:] != (self.starts + self.sizes)[:-1]
        cuts = np.flatnonzero(jumps | (np.diff(halvings) != 0)) + 1
        ends = zip([0, *cuts], [*cuts, halvings.size], strict=True)
        return [self._run(int(halvings[a]), a, b) for a, b in ends]

    def _run(self, halvings: int, start: int, stop: int) -> tuple[int, slice, slice]:
        first = int(self.starts[start]) >> halvings
        return halvings, slice(first, first + stop - start), slice(start, stop)

    def some(self, most: int | None) -> list[IntArray]:
        """Cells of each group, or so many of them that stand for all: the nodes of a rule of quadrature."""
        shares = NODES.get(most or 0)
        return [self._nodes(a, n, shares) for a, n in zip(self.starts, self.sizes, strict=True)]

    def _nodes(self, start: int, size: int, shares: tuple[float, ...] | None) -> IntArray:
        if shares is None or size <= len(shares):
            return np.arange(start, start + size)
        return np.asarray(start + np.round(size * np.array(shares) - 0.5).astype(np.intp))

    @property
    def middle(self) -> IntArray:
        """The cell where each group stands; of an even number the inner one, which is no pole."""
        inner = np.where(self.starts * 2 < self.size, self.sizes, self.sizes - 1)
        return np.asarray(self.starts + inner // 2)


@dataclass(frozen=True)
class Lengths:
    """How long groups may be at a distance from what a tile sees one by one.

    Attributes
    ----------
    kernels : tuple of Kernel
        Of one axis.
    step : float
        Distance between two cells, in the unit of the kernels; 0 where there is one.
    grow : bool
        Whether groups grow with distance beyond the kernel of the shortest reach, whatever the others: for engines
        that tell few observations well.
    screening : float or None
        Distance beyond which single observations hardly matter, so that groups grow with it; None where not known.
    """

    kernels: tuple[Kernel, ...]
    step: float
    grow: bool = False
    screening: float | None = None

    @cached_property
    def varying(self) -> list[tuple[float, float]]:
        """How far each kernel reaches that varies smoothly, and the shortest length along which it does."""
        return [(reach(k), finest(k)) for k in self.kernels if not isinstance(k, (Constant, Independent))]

    @cached_property
    def walks(self) -> bool:
        """Whether one of the kernels is of a walk."""
        return any(has_type(k, Brownian) for k in self.kernels)

    def at(self, cells: int) -> float:
        """The most cells of a group whose nearest cell is so many cells away."""
        if not self.step:
            return float(MOST)
        distance = cells * self.step
        most = min(
            (SHARE * length for far, length in self.varying if distance < MATTERS * far < np.inf), default=np.inf
        )
        if self.screening is not None and distance > self.screening:
            most = max(most, SCREENED * distance)
        lasting = (SHARE * length for far, length in self.varying if far == np.inf)
        most = min([most, *lasting, *[GROWTH * distance] * self.walks])
        if self.grow and distance > MATTERS * min((far for far, _ in self.varying), default=0.0):
            most = max(most, GROWTH_OF_FEW * distance)
        return min(most / self.step, float(MOST))


def grouped(seen: IntArray, size: int, lengths: Lengths, within: int | None = None) -> Groups:
    """The cells of an axis as a tile sees them: some one by one, the rest in groups that grow.

    Parameters
    ----------
    seen : int array
        Neighbours, ascending, that stay alone.
    size : int
        Cells of the axis.
    lengths : Lengths
    within : int, optional
        Cells beyond those alone that are seen at all, and whatever groups they are part of; by default all.
    """
    low, high = int(seen[0]), int(seen[-1]) + 1
    within = size if within is None else within
    starts, end = list(range(low, high)), high
    while end < min(size, high + within):
        starts.append(end)
        end += _block(end, end + 1 - high, size, lengths)
    before: list[int] = []
    begin = low
    while begin > max(0, low - within):
        begin -= _block(-begin, low + 1 - begin, size, lengths)
        before.append(begin)
    return Groups(np.array([*before[::-1], *starts], dtype=np.intp), size, end if end < size else None)


def _block(edge: int, away: int, size: int, lengths: Lengths) -> int:
    """The longest power of two that may begin, or end, at an edge and be so many cells away; at least one."""
    most, length = min(lengths.at(away), size), 1
    while 2 * length <= most and edge % (2 * length) == 0:
        length *= 2
    return length


@dataclass(frozen=True, eq=False)
class Alone(Groups):
    """Neighbours along an axis that wraps or not, seen one by one; the others are not seen.

    Attributes
    ----------
    starts : int array (g,)
        The cells.
    """

    @property
    def sizes(self) -> IntArray:
        """One each."""
        return np.ones(self.starts.size, dtype=np.intp)

    @property
    def number(self) -> IntArray:
        """Which group each cell is in; −1: in none."""
        found = np.full(self.size, -1, dtype=np.intp)
        found[self.starts] = np.arange(self.starts.size)
        return found


def drops_columns(space: Space, *, grow: bool) -> bool:
    """Whether columns that a tile does not see one by one are not seen at all: regular ones cannot be averaged."""
    return space.meridians is not None and not grow and space.components == 1


def keeps_columns(space: Space, *, grow: bool) -> bool:
    """Whether a tile sees every column: around the globe, and where operators rest on regular meridians."""
    return space.wraps or (space.meridians is not None and not grow)
