"""What a tile sees: its own cells and its halo one by one, all others as averages over epochs and bands of rows.

An average of observations is itself an observation, and its covariances are averages of covariances. So a tile stays
a lattice, only of fewer and uneven times and rows, on which every engine works as on any other; nothing is
approximated but what is next, and only information is lost. A cell of this lattice is the mean over all members of its
group, of which n of N were observed. Their own mean differs from it, for members taken at random, by the variance

    (1/n − 1/N) S²,   S² = N/(N − 1) (σ² − σ̄²),

(Cochran 1977, eq. 2.9) with σ² the variance of the field and σ̄² that of its mean over the group. It is added to the
noise of the average, which is Σ noise / n².

Where an engine evaluates covariances pair by pair, a few cells stand for all of a group (`nodes`); by how much the
variance of their mean exceeds that of the mean of twice as many along each axis is noise too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from xgpfill.covariance.averaged import Averaged, Members
from xgpfill.covariance.matrices import Covariance
from xgpfill.grid.points import Observations, Points
from xgpfill.kernels.spec import Constant
from xgpfill.tiling.views.groups import Alone, Groups, keeps_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from xgpfill.arrays import FloatArray, IntArray
    from xgpfill.grid.lattice import Lattice
    from xgpfill.kernels.prior import Prior, Term
    from xgpfill.kernels.spec import Kernel
    from xgpfill.tiling.tiles import Tile, TilePlan
    from xgpfill.tiling.views.halo import Sight
    from xgpfill.tiling.views.pyramid import By

    Slices = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class View:
    """The lattice that a tile sees.

    Attributes
    ----------
    frame : Lattice
        Every cell; no values.
    prior : Prior
    time, y, x : Groups
    nodes : int or None
        Cells along each axis that stand for all of a group, where it has more; None: all do.
    """

    frame: Lattice
    prior: Prior
    time: Groups
    y: Groups
    x: Groups
    nodes: int | None = None

    @classmethod
    def of(cls, frame: Lattice, prior: Prior, groups: tuple[Groups, Groups, Groups], *, grow: bool) -> View:
        """That of these groups along time, y and x; `grow` as in :class:`xgpfill.tiling.views.groups.Lengths`."""
        nodes = 2 if grow else None if keeps_columns(frame.space, grow=grow) else 4
        return cls(frame, prior, *groups, nodes)

    @property
    def groups(self) -> tuple[Groups, Groups, Groups]:
        """Along time, y and x."""
        return self.time, self.y, self.x

    @property
    def are_single(self) -> bool:
        """Whether every cell is seen alone."""
        return all(groups.are_single for groups in self.groups)

    @cached_property
    def averaged(self) -> Prior:
        """The prior of what is seen."""
        return self._averaged(self.nodes)

    def _averaged(self, nodes: int | None) -> Prior:
        time = None if self.time.are_single else _members(self.time, self.frame.time[:, None], nodes)
        space = self._of_space(nodes)

        def of(term: Term) -> Term:
            return replace(term, time=_averaged(term.time, time), space=_averaged(term.space, space))

        return replace(self.prior, terms=tuple(map(of, self.prior.terms)))

    def _of_space(self, nodes: int | None) -> Members | None:
        if self.y.are_single and self.x.are_single:
            return None
        space = self.frame.space
        if self.x.are_single and space.meridians is not None:
            return _members(self.y, space.coordinates[:, 0], nodes, space.geometry)
        at, places, sizes = [], [], []
        rows, columns = (
            [*zip(groups.middle, groups.sizes, groups.some(nodes), strict=True)] for groups in (self.y, self.x)
        )
        for (i, tall, own_rows), (j, wide, own_columns) in product(rows, columns):
            if tall * wide > 1:
                at.append(space.coordinates[i, j])
                places.append(space.coordinates[np.ix_(own_rows, own_columns)].reshape(-1, len(at[-1])))
                sizes.append(len(places[-1]))
        everything = space.coordinates.reshape(-1, len(at[-1]))
        return Members.among(everything, np.array(at), np.concatenate(places), np.array(sizes))

    @property
    def pieces(self) -> Iterator[tuple[By, Slices, Slices]]:
        """Blocks of like size that are seen: of which level of a pyramid, where there, and the groups that they are."""
        for runs in product(*(groups.runs for groups in self.groups)):
            by, blocks, groups = zip(*runs, strict=True)
            yield by, blocks, groups

    def observations(self, parts: Sequence[FloatArray]) -> Observations:
        """The averages that a tile is conditioned on, as noisy as they are.

        Parameters
        ----------
        parts : arrays (2 + draws, times, rows, columns)
            Count, noise and values of all pieces, in their order.
        """
        shape = tuple(groups.starts.size for groups in self.groups)
        cell, sums = [], []
        for (_, _, groups), part in zip(self.pieces, parts, strict=True):
            number = np.ravel_multi_index(np.ix_(*(np.arange(g.start, g.stop) for g in groups)), shape)
            some = np.flatnonzero(part[0])
            cell.append(number.ravel()[some])
            sums.append(part.reshape(len(part), -1)[:, some])
        order = np.argsort(np.concatenate(cell), kind="stable")
        count, noise, *values = np.concatenate(sums, axis=1)[:, order]
        t, y, x = np.unravel_index(np.concatenate(cell)[order], shape)
        points = self._points(t, y, x)
        members = self.time.sizes[t] * self.y.sizes[y] * self.x.sizes[x]
        noise = noise / count**2 + self._of_choice(points, count, members)
        means = np.array(values) / count
        return Observations(points, means.T if len(means) > 1 else means[0], noise)

    def _points(self, t: IntArray, y: IntArray, x: IntArray) -> Points:
        """Cells of the view on its lattice."""
        coordinates = self.frame.space.coordinates[np.ix_(self.y.middle, self.x.middle)]
        ny, nx, d = coordinates.shape
        return Points(self.frame.time[self.time.middle], coordinates.reshape(-1, d), t, y * nx + x, frame=(ny, nx))

    def _of_choice(self, points: Points, count: FloatArray, members: IntArray) -> FloatArray:
        """Variance of the mean of those observed about that of all members, or of those that stand for them."""
        found, some = np.zeros(count.size), np.flatnonzero(members > 1)
        if self.nodes is None:
            some = np.flatnonzero(members > count)
        if not some.size:
            return found
        own, n, N = points.take_in_order(some), count[some], members[some]
        finer = self.averaged if self.nodes is None else self._averaged(2 * self.nodes)
        one, mean = (Covariance(p).diagonal(own).numpy() for p in (self.prior, finer))
        found[some] = (1.0 / n - 1.0 / N) * np.maximum(one - mean, 0.0) * N / (N - 1.0)
        if self.nodes is not None:
            found[some] += np.maximum(Covariance(self.averaged).diagonal(own).numpy() - mean, 0.0)
        return found


def groups_along(sight: Sight, plan: TilePlan, tile: Tile, axis: int) -> Groups:
    """The cells of one axis as a tile sees them."""
    seen, size = plan.observed(tile)[axis], plan.axes[axis].size
    if axis == 2 and seen.size < size and sight.drops_columns:
        return Alone(seen, size)
    if axis == 2 and keeps_columns(sight.lattice.space, grow=sight.grow):
        seen = np.arange(size)
    return sight.groups(seen, axis, plan.rows_averaged if axis == 1 else None)


def _averaged(kernel: Kernel, members: Members | None) -> Kernel:
    return kernel if members is None or isinstance(kernel, Constant) else Averaged(kernel, members)


def _members(groups: Groups, places: FloatArray, nodes: int | None, turns: str = "") -> Members:
    """The groups of more than one cell."""
    several = np.flatnonzero(groups.sizes > 1)
    chosen = groups.some(nodes)
    inside = [chosen[k] for k in several]
    sizes = np.array([cells.size for cells in inside])
    return Members.among(places, places[groups.middle[several]], places[np.concatenate(inside)], sizes, turns)
