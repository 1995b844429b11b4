"""The prior covariance between cells of a lattice, tabulated once: every pair is then a few look-ups.

A term is a table of time lags (or of pairs of times) times a table of (row, row', lag in longitude). Where meridians
are not regular every site is a row of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xgpfill.grid.lattice import is_regular
from xgpfill.grid.meridians import find_meridians
from xgpfill.kernels.averaged import Averaged
from xgpfill.kernels.formula import Formula
from xgpfill.kernels.outside import Outside
from xgpfill.kernels.spec import Brownian, Constant, Independent, Kernel, has_type
from xgpfill.linalg.rows.parts import parts_of
from xgpfill.linalg.space import by_row, dense_space, is_even
from xgpfill.linalg.time import by_lag, is_stationary, time_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.meridians import Meridians
    from xgpfill.grid.points import Int32Array, IntArray
    from xgpfill.kernels.prior import Prior
    from xgpfill.linalg.rows.parts import Parts


EVEN = np.zeros(0, bool)
SLAB = 2**13
"""Elements, at most, of the table of short lags for each row."""


class Scattered(NamedTuple):
    """What compiled loops evaluate where places are no lattice; empty where they are.

    Attributes
    ----------
    times : array (a,)
    sites : array (b, d)
        Axes that the first two numbers of a cell are of.
    formula : Formula
    known, beside : array (points, p), (targets, p)
        Rows that the third number is of, one after the other; their products are taken from covariances.
    """

    times: FloatArray
    sites: FloatArray
    formula: Formula
    known: FloatArray
    beside: FloatArray


TABULATED = Scattered(
    np.zeros(0),
    np.zeros((0, 0)),
    Formula(np.zeros(0), np.zeros(0, np.intp), np.zeros((0, 2), np.intp), np.zeros((0, 3))),
    np.zeros((0, 0)),
    np.zeros((0, 0)),
)


class Arrays(NamedTuple):
    """What compiled loops read: Σ_j time[j] space[j] + static + common, and alone where the site is the same.

    Empty where there is no such term. Times are looked up by pair, or by lag where the axis before the last has
    length one. Variances are part of the tables.

    Attributes
    ----------
    time : array (terms, nt or 1, nt)
    space : array (terms, rows, rows, lags)
    static : array (rows, rows, lags)
    common, alone : array (nt or 1, nt)
    turn : int
        Columns around the globe; 0 on a region.
    near : array (rows, 2 D + 1, lags, times)
        The sum of all terms for rows up to D apart, short lags in longitude and in time (all pairs of times where they
        are looked up by pair): most look-ups of neighbours are there, and a part of it stays in the caches. May be
        empty.
    odd : bool array (rows,)
        Rows whose covariance with the others has the other sign at lags to the west; empty where there are none.
    scattered : Scattered
        Instead of tables, where places are no lattice.
    """

    time: FloatArray
    space: FloatArray
    static: FloatArray
    common: FloatArray
    alone: FloatArray
    turn: int
    near: FloatArray
    odd: NDArray[np.bool_] = EVEN
    scattered: Scattered = TABULATED


@dataclass(frozen=True, eq=False)
class Tables:
    """The covariance of a lattice.

    Attributes
    ----------
    arrays : Arrays
    shape : tuple of int
        Times, rows, columns; times, sites, 1 where a kernel of space needs regular meridians and there are none.
    meridians : Meridians or None
    parts : tuple of Parts or None
        For each table of space: the variables or levels that it is of, where one term is all of it.
    """

    arrays: Arrays
    shape: tuple[int, int, int]
    meridians: Meridians | None
    parts: tuple[Parts | None, ...] = ()

    @classmethod
    def of(cls, prior: Prior, times: FloatArray, coordinates: FloatArray) -> Tables:
        """Tabulate a prior whose numbers are all known on a lattice (ny, nx, d).

        Raises
        ------
        MethodError
            When there are too many irregular times, or sites off regular meridians.
        """
        ny, nx, _ = coordinates.shape
        groups = by_time(prior, times.size)
        varying = [kernel for kernel in groups if not isinstance(kernel, Constant)]
        lagged = is_regular(times) and all(is_stationary(kernel, times) for kernel in varying)
        spread = {kernel for group in groups.values() for _, kernel in group} - {Constant(), Independent()}
        found = find_meridians(coordinates, prior.geometry) if spread else None
        meridians = found if found is not None and all(is_even(k, found) for k in spread) else None
        columns = nx if meridians is not None or not spread else 1
        rows = ny * nx // columns

        def along_time(kernel: Kernel) -> FloatArray:
            if isinstance(kernel, Constant):
                return np.ones((1, times.size) if lagged else (times.size, times.size))
            return np.asarray((by_lag(kernel, times)[None] if lagged else time_matrix(kernel, times)).numpy())

        common, alone, static = np.zeros((0, 0)), np.zeros((0, 0)), np.zeros((0, 0, 0))
        in_time: list[FloatArray] = []
        in_space: list[FloatArray] = []
        for kernel, group in groups.items():
            table: FloatArray | None = None
            for variance, space in group:
                if isinstance(space, Constant):
                    common = _added(common, variance * along_time(kernel))
                elif isinstance(space, Independent):
                    alone = _added(alone, variance * along_time(kernel))
                else:
                    table = _add_space(table, variance, space, coordinates, prior.geometry, meridians)
            if table is not None and isinstance(kernel, Constant):
                static = table
            elif table is not None:
                in_time.append(along_time(kernel))
                in_space.append(table)
            del table
        arrays = Arrays(
            time=_stacked(in_time, (1 if lagged else times.size, times.size)),
            space=_stacked(in_space, (0, 0, 0)),
            static=static,
            common=common,
            alone=alone,
            turn=nx if meridians is not None and meridians.is_global else 0,
            near=np.zeros((0, 0, 0, 0)),
            odd=meridians.odd if meridians is not None and meridians.odd.any() else EVEN,
        )
        arrays = arrays._replace(near=summed_nearby(arrays, (times.size, rows, columns)))
        return cls(arrays, (times.size, rows, columns), meridians, _parts(groups, coordinates))

    def cells(self, time_index: IntArray, site_index: IntArray) -> Int32Array:
        """Times, rows and columns (n, 3) of cells whose site counts along x first."""
        row, column = np.divmod(np.asarray(site_index), self.shape[2])
        return np.stack([np.asarray(time_index), row, column], axis=1).astype(np.int32)


def _parts(groups: dict[Kernel, list[tuple[float, Kernel]]], coordinates: FloatArray) -> tuple[Parts | None, ...]:
    """The variables or levels that each term in time and space is of, where it is the only one of its time."""
    found = []
    for kernel, group in groups.items():
        varying = [space for _, space in group if not isinstance(space, (Constant, Independent))]
        if varying and not isinstance(kernel, Constant):
            found.append(parts_of(varying[0], coordinates) if len(varying) == 1 else None)
    return tuple(found)


def by_time(prior: Prior, num_times: int) -> dict[Kernel, list[tuple[float, Kernel]]]:
    """Space kernels with their variances for each kernel of time; with one time all are constant that can be."""
    groups: dict[Kernel, list[tuple[float, Kernel]]] = {}
    for term in prior.terms:
        assert term.variance is not None
        always_one = num_times == 1 and not has_type(term.time, Brownian, Outside, Averaged)
        groups.setdefault(Constant() if always_one else term.time, []).append((float(term.variance), term.space))
    return groups


def summed_nearby(arrays: Arrays, shape: tuple[int, int, int]) -> FloatArray:
    """The sum of all terms where lags are short, (rows, 2 D + 1, lags, times); empty where there are no columns."""
    nt, rows, columns = shape
    by_pair = arrays.time.shape[1] > 1
    if columns == 1 or (by_pair and nt * nt > SLAB // 32):
        return np.zeros((0, 0, 0, 0))
    apart, lags, times = _extent_nearby(arrays, shape)
    found = np.zeros((rows, 2 * apart + 1, lags, times))
    in_time = [table.ravel()[:times] for table in arrays.time]
    common, alone = (table.ravel()[:times] for table in (arrays.common, arrays.alone))
    for step in range(-apart, apart + 1):
        row = np.arange(max(0, -step), min(rows, rows - step))
        part = found[row, step + apart]
        for time, space in zip(in_time, arrays.space, strict=True):
            part += space[row, row + step, :lags, None] * time
        if arrays.static.size:
            part += arrays.static[row, row + step, :lags, None]
        if arrays.common.size:
            part += common
        if arrays.alone.size and step == 0:
            part[:, 0] += alone
        found[row, step + apart] = part
    return found


def _extent_nearby(arrays: Arrays, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Rows apart, lags in longitude and times (or their pairs) of about like covariance, as many as a slab holds."""
    nt, rows, columns = shape
    middle = rows // 2
    first = [table[0] for table in (arrays.common, arrays.alone) if table.size]
    lags = arrays.space.shape[3] if arrays.space.size else (arrays.static.shape[2] if arrays.static.size else columns)
    along_y, along_x, along_t = np.zeros(rows - middle), np.zeros(lags), np.zeros(nt)
    for time, space in zip(arrays.time, arrays.space, strict=True):
        along_y += time[0, 0] * space[middle, middle:, 0]
        along_x += time[0, 0] * space[middle, middle]
        along_t += time[0] * space[middle, middle, 0]
    if arrays.static.size:
        along_y += arrays.static[middle, middle:, 0]
        along_x += arrays.static[middle, middle]
        along_t += arrays.static[middle, middle, 0]
    along_t += sum(first, np.zeros(nt))
    pairs = arrays.time.shape[1] > 1
    best = (0, 1, nt * nt if pairs else 1)
    for level in np.geomspace(0.999, 0.001, 60):
        y, x, t = (int(np.argmin(np.append(a >= level * a[0], False))) for a in (along_y, along_x, along_t))
        extent = (max(y - 1, 0), max(x, 1), nt * nt if pairs else max(t, 1))
        if (2 * extent[0] + 1) * extent[1] * extent[2] > SLAB:
            break
        best = extent
    return best


def _added(total: FloatArray, part: FloatArray) -> FloatArray:
    return total + part if total.size else part


def _stacked(parts: list[FloatArray], shape: tuple[int, ...]) -> FloatArray:
    """One array of all, which are given up one by one; a single one is not copied."""
    if not parts:
        return np.zeros((0, *shape))
    if len(parts) == 1:
        return parts[0][None]
    found = np.empty((len(parts), *parts[0].shape))
    for k in reversed(range(len(parts))):
        found[k] = parts.pop()
    return found


def _add_space(
    total: FloatArray | None,
    variance: float,
    kernel: Kernel,
    coordinates: FloatArray,
    geometry: str,
    meridians: Meridians | None,
) -> FloatArray:
    """`total` plus a kernel of space by (row, row', lag); in place."""
    parts = parts_of(kernel, coordinates)
    if parts is not None:
        one = None if meridians is None else replace(meridians, column=meridians.column[: parts.rows])
        own = _add_space(None, variance, parts.kernel, coordinates[: parts.rows], geometry, one)
        part = np.asarray(np.kron(parts.matrix[..., None], own), float)
        return part if total is None else np.add(total, part, out=total)
    if meridians is None:
        table = dense_space(kernel, coordinates, geometry)[..., None]
    else:
        lags = meridians.size // 2 + 1 if meridians.is_global else meridians.size
        table = by_row(kernel, meridians, meridians.columns(np.arange(lags, dtype=float)))
    part = table.mul_(variance).numpy()
    return part if total is None else np.add(total, part, out=total)
