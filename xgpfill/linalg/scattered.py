"""The observations most correlated with points anywhere, or that together say most of them: candidates by KD-trees.

"Most correlated" is under the full sum of terms: there is a tree for each ratio of lengthscales that a term has, and of
the candidates of all the ones with the largest prior covariance are kept, or those that explain most one by one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy.spatial import cKDTree

from xgpfill.grid.points import Points
from xgpfill.kernels.formula import formula
from xgpfill.linalg.compiled import plain
from xgpfill.linalg.loops import Noisy, chosen, ranked
from xgpfill.linalg.neighbourhoods import LEAF, metric_scales
from xgpfill.linalg.neighbours import Map, Walks
from xgpfill.linalg.tables import Arrays, Scattered
from xgpfill.linalg.threads import nearest_of, on_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from xgpfill.barriers.barrier import Barrier
    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.points import Int32Array, IntArray
    from xgpfill.kernels.formula import Formula
    from xgpfill.kernels.prior import Prior

    Choice = Callable[..., None]

LEAST_TRIED = 512
"""The first observations of the order are tried one by one."""
LEAST_CANDIDATES = 8
"""Of each tree."""
TIES = 1e3
"""Extents that stand for an infinite lengthscale, so that what is nearer there comes first of what is as near."""
AT_ONCE = 2**17
"""Points whose candidates are held at once."""
WIDER = 8
"""Every so many times fewer of the first observations are looked at as well: the nearest of these lie around."""
MORE = 2
"""So many times as many candidates are looked at where land bars some of them."""
NOTHING = np.zeros((0, 0)), np.zeros((0, 0))
"""Is known of any point by other means."""


@dataclass(frozen=True, eq=False)
class ScatteredNeighbours:
    """Observations anywhere in an order, and how their neighbours are found.

    Attributes
    ----------
    prior : Prior
    points : Points
        In the order.
    noise : array (n,)
        Of each, in the order.
    order : int array (n,)
        Which observation each place of the order holds.
    scales : tuple of (float, float)
        Lengthscales (days, km) of the metrics that candidates are nearest in.
    known : array (n, p)
        Of each, in the order: what is known of it by other means, whose products are taken from covariances.
    barrier : Barrier or None
        Land across which there are no neighbours.
    """

    prior: Prior
    points: Points
    noise: FloatArray
    order: IntArray
    scales: tuple[tuple[float, float], ...]
    known: FloatArray
    barrier: Barrier | None = None
    looks_around: ClassVar[bool] = False

    @classmethod
    def of(
        cls, prior: Prior, points: Points, noise: FloatArray, order: IntArray, known: FloatArray | None = None,
        barrier: Barrier | None = None,
    ) -> ScatteredNeighbours:  # fmt: skip
        """Observations at points, taken in an order.

        Raises
        ------
        MethodError
            When a kernel is none that compiled loops know.
        """
        formula(prior)
        scales = finite_scales(prior, points) if len(points) else ()
        known = np.zeros((len(points), 0)) if known is None else known[order]
        return cls(prior, points.take_in_order(order), noise[order], order, scales, known, barrier)

    @cached_property
    def noisy(self) -> Noisy:
        """The observations in the order, as loops read them."""
        found: Noisy = plain(self._noisy_beside(self.points.times, self.points.sites, self.known[:0]))
        return found

    def _noisy_beside(self, times: FloatArray, sites: FloatArray, beside: FloatArray) -> Noisy:
        """The same on axes that may go on beyond those of the observations."""
        none = Map(Walks(np.zeros((1, 0, 3), np.int32), np.zeros(1, np.int32)), *_NOWHERE, 0)
        arrays = scattered_arrays(times, sites, formula(self.prior), (self.known, beside))
        return Noisy(arrays, none, none, cells_of(self.points), np.ascontiguousarray(self.noise, dtype=float))

    def facing(self, targets: Points, known: FloatArray) -> tuple[ScatteredNeighbours, Int32Array]:
        """The same with axes that hold targets as well, of which (m, p) is known, and the cells (m, 3) of these."""
        times = np.concatenate([self.points.times, targets.times])
        sites = np.concatenate([self.points.sites, targets.sites])
        found = replace(self)
        noisy = self._noisy_beside(times, sites, known)
        found.__dict__.update(noisy=plain(noisy), _trees=self._trees, _cells=self._cells)
        first = np.array([len(self.points.times), len(self.points.sites), len(self.points)], np.int32)
        return found, cells_of(targets) + first

    def by_place(self, first: int = 0) -> Int32Array:
        """Places of the order from `first` on, near ones together: they read the same parts of the memory."""
        coordinates = self._scaled(self.points, self.scales[0], self._cells)[first:]
        indices = cKDTree(coordinates, leafsize=LEAF, balanced_tree=False).indices
        return np.asarray(first + indices, dtype=np.int32)

    def predecessors(self, lines: Int32Array, count: int, first: int = 0) -> tuple[Int32Array, Int32Array]:
        """The most correlated predecessors of each place from `first` on, (rows, count), and how many they are.

        Rows are those that `lines` says. Nearest ones are looked for among all as far as the next power of two, of
        which half or more are predecessors, and among those before the last one. From a later place on (targets that
        follow observations) they are those that together say most.
        """
        n, every = len(self.order), self._tried(count)
        near, sizes = np.zeros((n - first, max(1, count)), np.int32), np.zeros(n - first, np.int32)
        rows = self.noisy[3]
        start = first
        while start < n:
            low = every * 2 ** max(0, int(np.floor(np.log2(max(start, 1) / every))))
            low = low if start >= every else 0
            stop = min(n, 2 * low if low else every, start + AT_ONCE)
            own = np.arange(start, stop)
            before = self._around(low, count) if first else [(low, count)]
            wanted = [(min(n, 2 * low), 2 * count), *before] if low else []
            cells = None if self._cells is None else self._cells[own]
            found = self._candidates(self.points.take_in_order(own), wanted, cells, 0 if low else stop)
            best, met = self._best(chosen if first else ranked, rows[start:stop], found, own, near.shape[1])
            near[lines[own]], sizes[lines[own]] = best, met
            start = stop
        return near, sizes

    def search(
        self,
        cells: Int32Array,  # noqa: ARG002 (points are no groups)
        middle: Int32Array,
        prefixes: IntArray,
        counts: IntArray,  # noqa: ARG002 (those of one set are as many as there is room for)
        near: Int32Array,
        sizes: Int32Array,
    ) -> None:
        """The observations that say most of each of `middle`; see :func:`xgpfill.linalg.loops.search`."""
        arrays = self.noisy[0]
        times, sites = arrays[-1][0], arrays[-1][1]
        points = Points(times, sites, *middle[:, :2].T.astype(np.intp))
        n, count = int(prefixes[0]), near.shape[1]
        few = n <= self._tried(count)
        own = None if self.barrier is None else self.barrier.cells_at(points.space)
        found = self._candidates(points, [] if few else self._around(n, count), own, n if few else 0)
        near[:], sizes[:] = self._best(chosen, middle, found, np.full(len(middle), n), count)

    @staticmethod
    def _around(before: int, count: int) -> list[tuple[int, int]]:
        """Of how many first ones so many are looked at: where all near ones lie together, those of few lie around."""
        return [(before, 2 * count), *((before // WIDER**j, count) for j in (1, 2) if before // WIDER**j > count)]

    @staticmethod
    def _tried(count: int) -> int:
        """How many of the first observations are tried one by one, without a search."""
        return max(LEAST_TRIED, 4 * count)

    def _candidates(
        self, points: Points, wanted: list[tuple[int, int]], cells: IntArray | None, few: int
    ) -> Int32Array:
        """Observations near points in any metric, sorted by number (n, k): of the first ones so many each.

        With a barrier, `cells` (n,) say where points are; the first `few` are candidates too, and −1 stands for those
        that are not joined with a point over water.
        """
        found = [np.zeros((len(points), 0), np.intp)]
        for number, scales in enumerate(self.scales):
            scaled = self._scaled(points, scales, cells)
            for before, count in wanted:
                share = count if len(self.scales) == 1 else max(LEAST_CANDIDATES, 2 * count // len(self.scales))
                k = min(share if cells is None else MORE * share, before)
                found.append(nearest_of(self._tree(number, before), scaled, k))
        if self.barrier is not None and cells is not None and self._cells is not None:
            found.append(np.broadcast_to(np.arange(few), (len(points), few)))
            every = np.concatenate(found, axis=1)
            found = [np.where(self.barrier.joins(cells, self._cells[every]), every, -1)]
        return np.sort(np.concatenate(found, axis=1), axis=1).astype(np.int32)

    def _best(
        self, choice: Choice, cells: Int32Array, candidates: Int32Array, before: IntArray, count: int
    ) -> tuple[Int32Array, Int32Array]:
        """The best of candidates (n, count), as :func:`ranked` or :func:`chosen` says, and how many."""
        every = self._tried(count) if self.barrier is None else 0  # where land bars some, all candidates are named
        near, sizes = np.zeros((len(cells), count), np.int32), np.zeros(len(cells), np.int32)
        cells = np.ascontiguousarray(cells)
        on_threads(lambda a, b: choice(self.noisy, cells, candidates, before, every, a, b, near, sizes), len(cells))
        return near, sizes

    @cached_property
    def _trees(self) -> dict[tuple[int, int], cKDTree]:
        return {}

    def _tree(self, number: int, before: int) -> cKDTree:
        """The first observations of the order in one metric."""
        if (number, before) not in self._trees:
            cells = None if self._cells is None else self._cells[:before]
            scaled = self._scaled(self.points.take_in_order(np.arange(before)), self.scales[number], cells)
            self._trees[number, before] = cKDTree(scaled, leafsize=LEAF, balanced_tree=False, compact_nodes=False)
        return self._trees[number, before]

    @cached_property
    def _cells(self) -> IntArray | None:
        """The cell of the barrier that each observation is in; None where there is no barrier."""
        return None if self.barrier is None else self.barrier.cells_at(self.points.sites)[self.points.site_index]

    def _scaled(self, points: Points, scales: tuple[float, float], cells: IntArray | None) -> FloatArray:
        """Coordinates (n, 1 + d) over the lengthscales, and one more that sets basins of water far apart."""
        parts = [points.time[:, None] / scales[0], points.space / scales[1]]
        if self.barrier is not None and cells is not None:
            parts.append(self._between_basins(scales) * self.barrier.basin[cells].astype(float)[:, None])
        return np.concatenate(parts, axis=1)

    def _between_basins(self, scales: tuple[float, float]) -> float:
        """Farther than observations of one basin are from each other, over the lengthscales."""
        extents = np.ptp(self.points.times) / scales[0], *np.ptp(self.points.sites, axis=0) / scales[1]
        return 2.0 * sum(map(float, extents)) + 1.0


_NOWHERE = np.zeros((0, 0, 0), np.int32), np.zeros(0, np.int32)


def cells_of(points: Points) -> Int32Array:
    """Numbers of the time, of the site and of the row of what is known of each, (n, 3)."""
    return np.stack([points.time_index, points.site_index, np.arange(len(points))], axis=1).astype(np.int32)


def scattered_arrays(
    times: FloatArray, sites: FloatArray, rule: Formula, known: tuple[FloatArray, FloatArray] = NOTHING
) -> Arrays:
    """Covariances by formula, without tables, less the products of what is `known` of points and of those beside."""
    nothing = np.zeros((0, 0)), np.zeros((0, 0, 0))
    times, sites, own, beside = (np.ascontiguousarray(x, dtype=float) for x in (times, sites, *known))
    return Arrays(
        time=np.zeros((0, 1, 0)), space=np.zeros((0, 0, 0, 0)), static=nothing[1], common=nothing[0], alone=nothing[0],
        turn=0, near=np.zeros((0, 0, 0, 0)), scattered=Scattered(times, sites, rule, own, beside),
    )  # fmt: skip


def finite_scales(prior: Prior, points: Points) -> tuple[tuple[float, float], ...]:
    """Those of the terms; an axis along which one does not decay still orders what is as near in the other."""
    extents = max(float(np.ptp(points.times)), 1e-9), max(float(np.ptp(points.sites, axis=0).max()), 1e-9)
    pairs = metric_scales(prior, points)
    finite = [tuple(TIES * e if np.isinf(s) else s for s, e in zip(pair, extents, strict=True)) for pair in pairs]
    return tuple((a, b) for a, b in finite)
