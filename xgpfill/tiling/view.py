"""What a tile sees: its own cells and its halo one by one, all others as averages over epochs and bands of rows.

An average of observations is itself an observation, and its covariances are averages of covariances. So a tile stays
a lattice, only of fewer and uneven times and rows, on which every engine works as on any other; nothing is
approximated but what is next, and only information is lost. A cell of this lattice is the mean over all members of its
group, of which n of N were observed. Their own mean differs from it, for members taken at random, by the variance

    (1/n − 1/N) S²,   S² = N/(N − 1) (σ² − σ̄²),

(Cochran 1977, eq. 2.9) with σ² the variance of the field and σ̄² that of its mean over the group. It is added to the
noise of the average, which is Σ noise / n².
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.grid.meridians import find_meridians
from xgpfill.grid.points import Observations, Points
from xgpfill.kernels.averaged import Averaged, Members
from xgpfill.kernels.covariance import Covariance
from xgpfill.kernels.spec import Constant
from xgpfill.tiling.groups import Groups, grouped, keeps_columns
from xgpfill.tiling.plan import lengths_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xgpfill.grid.lattice import FloatArray, Lattice
    from xgpfill.grid.points import IntArray
    from xgpfill.kernels.prior import Prior, Term
    from xgpfill.kernels.spec import Kernel
    from xgpfill.tiling.plan import TilePlan


@dataclass(frozen=True, eq=False)
class Seen:
    """Observations added up in the groups that a tile sees.

    Attributes
    ----------
    cell : int array (k,)
        Numbers of the groups' cells that anything was observed in, ascending.
    count : int array (k,)
    values : array (k, draws)
    noise, unit : array (k,)
    """

    cell: IntArray
    count: IntArray
    values: FloatArray
    noise: FloatArray
    unit: FloatArray | None

    @classmethod
    def of(cls, cell: IntArray, found: Observations) -> Seen:
        """Of observations, by the number of the cell that each is in."""
        return added([cls(cell, np.ones(cell.size, np.intp), found.columns, found.noise, found.unit)])


def added(parts: Sequence[Seen]) -> Seen:
    """The sums of all parts."""
    if len(parts) == 1 and (np.diff(parts[0].cell) > 0).all():
        return parts[0]
    cell, inverse = np.unique(np.concatenate([p.cell for p in parts]), return_inverse=True)

    def total(arrays: list[Any]) -> Any:
        whole = np.concatenate(arrays)
        if whole.ndim == 1:
            return np.bincount(inverse, whole, cell.size)
        return np.stack([np.bincount(inverse, column, cell.size) for column in whole.T], axis=1)

    unit = None if parts[0].unit is None else total([p.unit for p in parts])
    count = total([p.count for p in parts]).astype(np.intp)
    return Seen(cell, count, total([p.values for p in parts]), total([p.noise for p in parts]), unit)


@dataclass(frozen=True, eq=False)
class View:
    """The lattice that a tile sees.

    Attributes
    ----------
    frame : Lattice
        Every cell; no values.
    prior : Prior
    time, y, x : Groups
    """

    frame: Lattice
    prior: Prior
    time: Groups
    y: Groups
    x: Groups

    @classmethod
    def of(cls, frame: Lattice, prior: Prior, plan: TilePlan, tile: tuple[int, int, int], *, grow: bool) -> View:
        """That of a tile; `grow` as in :class:`xgpfill.tiling.groups.Lengths`."""
        seen = [axis.observed(k) for axis, k in zip(plan.axes, tile, strict=True)]
        if keeps_columns(frame.space):
            seen[2] = np.arange(plan.x.size)
        lengths = (lengths_of(frame, prior, axis, grow=grow) for axis in range(3))
        return cls(frame, prior, *map(grouped, seen, frame.shape, lengths))

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
        time = None
        if not self.time.are_single:
            time = _members(self.time, self.frame.time[:, None], "")
        space = self._of_space

        def of(term: Term) -> Term:
            return replace(term, time=_averaged(term.time, time), space=_averaged(term.space, space))

        return replace(self.prior, terms=tuple(map(of, self.prior.terms)))

    @property
    def _of_space(self) -> Members | None:
        if self.y.are_single and self.x.are_single:
            return None
        space = self.frame.space
        if self.x.are_single and find_meridians(space.coordinates, space.geometry) is not None:
            return _members(self.y, space.coordinates[:, 0], space.geometry)
        (ny, nx), d = space.shape, space.coordinates.shape[-1]
        at, places, sizes = [], [], []
        for (a, b), i in zip(pairwise([*self.y.starts, ny]), self.y.middle, strict=True):
            for (left, right), j in zip(pairwise([*self.x.starts, nx]), self.x.middle, strict=True):
                if (b - a) * (right - left) > 1:
                    at.append(space.coordinates[i, j])
                    places.append(space.coordinates[a:b, left:right].reshape(-1, d))
                    sizes.append(len(places[-1]))
        return Members(np.array(at), np.concatenate(places), np.array(sizes))

    def cells(self, time: IntArray, y: IntArray, x: IntArray) -> IntArray:
        """Numbers of the cells of the view that cells of the frame are in."""
        t, i, j = (g.number[k] for g, k in zip(self.groups, (time, y, x), strict=True))
        return (t * self.y.starts.size + i) * self.x.starts.size + j

    def observations(self, seen: Seen) -> Observations:
        """The averages that a tile is conditioned on, as noisy as they are."""
        ny, nx = self.y.starts.size, self.x.starts.size
        t, site = np.divmod(seen.cell, ny * nx)
        coordinates = self.frame.space.coordinates[np.ix_(self.y.middle, self.x.middle)]
        points = Points(
            self.frame.time[self.time.middle], coordinates.reshape(ny * nx, -1), t, site, frame=(ny, nx)
        )  # fmt: skip
        members = self.time.sizes[t] * self.y.sizes[site // nx] * self.x.sizes[site % nx]
        noise = seen.noise / seen.count**2
        some = np.flatnonzero(members > seen.count)
        if some.size:
            own = points.take_in_order(some)
            whole, mean = (Covariance(p).diagonal(own) for p in (self.prior, self.averaged))
            among = (whole - mean).clamp_min(0.0).numpy() * members[some] / (members[some] - 1.0)
            noise[some] += (1.0 / seen.count[some] - 1.0 / members[some]) * among
        values, unit = seen.values / seen.count[:, None], None if seen.unit is None else seen.unit / seen.count
        values = values if values.shape[1] > 1 else values[:, 0]
        return Observations(points, values, noise, unit=unit)


def _averaged(kernel: Kernel, members: Members | None) -> Kernel:
    return kernel if members is None or isinstance(kernel, Constant) else Averaged(kernel, members)


def _members(groups: Groups, places: FloatArray, turns: str) -> Members:
    """The groups of more than one cell; a group stands where it is widest from a pole, if not in its middle."""
    several = np.flatnonzero(groups.sizes > 1)
    inside = np.isin(groups.number, several)
    return Members(places[groups.middle[several]], places[inside], groups.sizes[several], turns)
