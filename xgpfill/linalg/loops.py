"""Loops compiled to machine code: searching neighbours, factoring their small covariances, conditioning on them.

All of them are in this one module: what numba keeps on disk is made anew when the file of a function changes, not when
that of one it calls does.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xgpfill.errors import NumericalError
from xgpfill.kernels.formula import (
    DISTANCE,
    FIRST_DIRECTION,
    GAUSSIAN,
    MATERN12,
    MATERN32,
    MATERN52,
    RATIONAL,
    SINE,
    TIME,
    WALK,
    WAVE,
)
from xgpfill.linalg.compiled import compiled

if TYPE_CHECKING:
    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.points import Int32Array, IntArray
    from xgpfill.linalg.neighbours import Map
    from xgpfill.linalg.tables import Arrays, Scattered

TRIED = 2048
"""Observations that are tried one by one when both walks end early."""
AT_ONCE, AT_ONCE_FOR_GROUPS = 2500, 256
"""So few observations are tried one by one and not walked to; for groups, which look at more than they take, fewer."""
SPARE = 8
"""Places of a list beyond those wanted, for what the last step of a walk may add."""
JUDGES = 8
"""Cells of a group that choose from these, about."""
CANDIDATES = 3
"""Times as many observations are looked at as a group of cells shares."""
FLOOR = 1e-10
"""Conditional variances are at least this share of the prior's."""
PIVOT = 1e-12
"""Squared pivots of a factor are at least this share of the diagonal."""
ENDED = 1e-5
"""Share of what neighbours explain that is not worth another one."""
LANES = 16
"""Problems that are factored side by side."""
HUGE = 1e300
"""Larger ones, and NaN, are no numbers: `isfinite` is compiled to nothing where sums may be reordered."""


class Noisy(NamedTuple):
    """Observations as loops read them.

    Attributes
    ----------
    arrays : Arrays
        The covariance.
    fine, coarse : Map
    cells : int32 array (n, 3)
        Time, row and column of each.
    noise : array (n,)
    """

    arrays: Arrays
    fine: Map
    coarse: Map
    cells: Int32Array
    noise: FloatArray


@compiled
def dot(a: FloatArray, b: FloatArray, size: int) -> float:
    """Sum of products of the first elements."""
    total = 0.0
    for k in range(size):
        total += a[k] * b[k]
    return total


@compiled
def by_formula(
    scattered: Scattered,
    cells: Int32Array,
    own: int,
    others: Int32Array,
    near: Int32Array,
    size: int,
    found: FloatArray,
) -> None:
    """The same as :func:`covariances` where places are no lattice: cells are numbers of a time, a site and a row.

    The row is that of what is known of a point by other means; the covariance is of what that leaves.
    """
    times, sites, (weights, starts, kinds, numbers), known, beside = scattered
    when, where = times[cells[own, 0]], cells[own, 1]
    for k in range(size):
        who = near[k]
        then, other = times[others[who, 0]], others[who, 1]
        square = 0.0
        for c in range(sites.shape[1]):
            square += (sites[where, c] - sites[other, c]) ** 2
        distance, total = math.sqrt(square), 0.0
        for part in range(weights.size):
            value, power = weights[part], 0.0
            for j in range(starts[part], starts[part + 1]):
                kind, axis, a, b = kinds[j, 0], kinds[j, 1], numbers[j, 0], numbers[j, 1]
                if axis == DISTANCE:
                    x = distance
                elif axis == TIME:
                    x = abs(when - then)
                else:
                    x = abs(sites[where, axis - FIRST_DIRECTION] - sites[other, axis - FIRST_DIRECTION])
                if kind == MATERN32:
                    value, power = value * (1.0 + x * a), power + x * a
                elif kind == MATERN12:
                    power += x * a
                elif kind == MATERN52:
                    value, power = value * (1.0 + x * a + (x * a) ** 2 / 3.0), power + x * a
                elif kind == GAUSSIAN:
                    power += x * x * a
                elif kind == RATIONAL:
                    power += b * math.log1p(x * x * a)
                elif kind == SINE:
                    power += 2.0 * (math.sin(math.pi * x * a) * b) ** 2
                elif kind == WAVE:
                    value, power = value * math.cos(x * b), power + x * x * a
                elif kind == WALK:
                    value *= (numbers[j, 2] + max(min(when, then) - a, 0.0)) * b
                elif x != 0.0:  # SAME
                    value = 0.0
            total += value * math.exp(-power)
        if known.shape[1]:
            row, there = cells[own, 2], others[who, 2]
            here = known[row] if row < len(known) else beside[row - len(known)]
            total -= dot(here, known[there] if there < len(known) else beside[there - len(known)], known.shape[1])
        found[k] = total


@compiled
def covariances(
    arrays: Arrays, cells: Int32Array, own: int, others: Int32Array, near: Int32Array, size: int, found: FloatArray
) -> None:
    """Of cell `own` of (n, 3) with those of `others` that the first `size` of `near` number, into `found`."""
    # As locals: to read them there takes longer.
    time, space, static, common, alone, turn, table, odd, scattered = arrays
    if scattered[1].size:
        by_formula(scattered, cells, own, others, near, size, found)
        return
    by_lag, nt, apart = time.shape[1] == 1, time.shape[2], table.shape[1] // 2
    when, row, column = cells[own, 0], cells[own, 1], cells[own, 2]
    for k in range(size):
        who = near[k]
        lag, other, sign = others[who, 2] - column, others[who, 1], 1.0
        if odd.size and odd[row] != odd[other] and (lag < 0) != (turn > 0 and 2 * abs(lag) > turn):
            sign = -1.0  # the other one is to the west
        lag = abs(lag)
        if turn and 2 * lag > turn:
            lag = turn - lag
        first, second = when, others[who, 0]
        if by_lag:
            first, second = 0, abs(first - second)
        step, pair = other - row + apart, first * nt + second
        if 0 <= step < table.shape[1] and lag < table.shape[2] and pair < table.shape[3]:
            found[k] = sign * table[row, step, lag, pair]
            continue
        total = 0.0
        for j in range(time.shape[0]):
            total += time[j, first, second] * space[j, row, other, lag]
        if static.size:
            total += static[row, other, lag]
        if common.size:
            total += common[first, second]
        if alone.size and row == other and lag == 0:
            total += alone[first, second]
        found[k] = sign * total


@compiled
def nearest(
    arrays: Arrays,
    fine: Map,
    coarse: Map,
    observed: Int32Array,
    cells: Int32Array,
    own: int,
    before: int,
    count: int,
    more: int,
    few: int,
    found: Int32Array,
    strength: FloatArray,
) -> int:
    """Fill `found` with up to `count` observations before number `before` that are most correlated with cell `own`.

    Up to `more` where they are met without looking in wide gaps. No more than `few` are tried one by one. `found` and
    `strength` are longer than that: what does not fit by rank is left over behind it.
    """
    time, _, _, _, _, turn, _, _, _ = arrays
    block = coarse[3]
    exact = time.shape[1] == 1  # times by lag: a walk by cells is in the right order
    most = found.size - SPARE
    if before <= few:
        return _strongest(
            found, strength, _try_one_by_one(arrays, observed, cells, own, before, found, strength, 0), more
        )
    wanted, met = more if exact else most, 0
    if before * block * block >= fine[1].size or not block:  # else cells are mostly empty, and blocks are not
        met = _collect(fine, turn, cells, own, before, wanted, found, 0)
        if met >= count and exact:
            return min(met, more)
    if met < wanted and block:
        met = _collect(coarse, turn // block, cells, own, before, max(2 * count, more), found, met)
    if met < min(count, before):
        met = _try_one_by_one(arrays, observed, cells, own, min(before, TRIED), found, strength, met)
    else:
        covariances(arrays, cells, own, observed, found, met, strength)
    return _strongest(found, strength, met, more)


@compiled
def _collect(
    places: Map, turn: int, cells: Int32Array, own: int, before: int, wanted: int, found: Int32Array, known: int
) -> int:
    """Walk from cell `own` until `wanted` observations are met, beside the first `known`; how many there are then."""
    (lags, length), first, following, block = places
    nt, rows, columns = first.shape
    when, row, column = cells[own, 0], cells[own, 1] // block, cells[own, 2] // block
    list_of = row if length.size > 1 else 0
    met = known
    for k in range(length[list_of]):
        y = row + lags[list_of, k, 1]
        if y < 0 or y >= rows:
            continue
        dt, dx = lags[list_of, k, 0], lags[list_of, k, 2]
        for later in range(2 if dt else 1):
            t = when - dt if later else when + dt
            if t < 0 or t >= nt:
                continue
            for east in range(2 if dx and 2 * dx != turn else 1):
                x = column - dx if east else column + dx
                if turn:
                    x %= turn
                elif x < 0 or x >= columns:
                    continue
                who = first[t, y, x]
                while who < before and met < found.size:
                    fresh = True
                    for i in range(known):
                        if found[i] == who:
                            fresh = False
                            break
                    if fresh:
                        found[met] = who
                        met += 1
                    who = following[who]
        if met >= wanted:
            break
    return met


@compiled
def _try_one_by_one(
    arrays: Arrays,
    observed: Int32Array,
    cells: Int32Array,
    own: int,
    stop: int,
    found: Int32Array,
    strength: FloatArray,
    met: int,
) -> int:
    """Keep the most correlated of a list and of the first `stop` observations, as many as the list is long."""
    numbers, values = np.empty(met + stop, np.int32), np.empty(met + stop)
    numbers[:met] = found[:met]
    for k in range(stop):
        numbers[met + k] = k
    covariances(arrays, cells, own, observed, numbers, met + stop, values)
    for k in range(met):
        if numbers[k] < stop:
            values[met + numbers[k]] = 0.0  # there already
    kept = 0
    for k in range(met + stop):
        if values[k] != 0.0:
            numbers[kept], values[kept] = numbers[k], values[k]
            kept += 1
    kept = _strongest(numbers, values, kept, found.size)
    found[:kept], strength[:kept] = numbers[:kept], values[:kept]
    return kept


@compiled
def _strongest(found: Int32Array, strength: FloatArray, met: int, count: int) -> int:
    """Move the `count` strongest to the front, in the order in which they are."""
    if met <= count:
        return met
    least = np.partition(np.abs(strength[:met]), met - count)[met - count]
    above = 0
    for k in range(met):
        above += abs(strength[k]) > least
    kept, equal = 0, count - above
    for k in range(met):
        size = abs(strength[k])
        if size > least or (size == least and equal > 0):
            equal -= size == least
            found[kept], strength[kept] = found[k], strength[k]
            kept += 1
    return kept


@compiled
def factor_lanes(K: FloatArray) -> None:
    """Cholesky factors in place of the lower triangles (m, m, lanes), the diagonal holding one over each pivot.

    Problems lie side by side, so that every step is an instruction on vectors.
    """
    m, lanes = K.shape[0], K.shape[2]
    total = np.empty(lanes)
    for i in range(m):
        for j in range(i + 1):
            for b in range(lanes):
                total[b] = K[i, j, b]
            for k in range(j):
                for b in range(lanes):
                    total[b] -= K[i, k, b] * K[j, k, b]
            if j < i:
                for b in range(lanes):
                    K[i, j, b] = total[b] * K[j, j, b]
            else:
                for b in range(lanes):
                    K[i, i, b] = 1.0 / math.sqrt(max(total[b], PIVOT * K[i, i, b]))


@compiled
def solve_lanes(K: FloatArray, z: FloatArray, explained: FloatArray) -> None:
    """K⁻¹ z in place of (m, lanes), from factors of :func:`factor_lanes`; zᵀ K⁻¹ z of each into `explained`."""
    m, lanes = z.shape
    explained[:] = 0.0
    for i in range(m):
        for k in range(i):
            for b in range(lanes):
                z[i, b] -= K[i, k, b] * z[k, b]
        for b in range(lanes):
            z[i, b] *= K[i, i, b]
            explained[b] += z[i, b] * z[i, b]
    for i in range(m - 1, -1, -1):
        for b in range(lanes):
            z[i, b] *= K[i, i, b]
        for k in range(i):
            for b in range(lanes):
                z[k, b] -= K[i, k, b] * z[i, b]


@compiled
def _place_problem(
    noisy: Noisy, own: int, near: Int32Array, size: int, row: FloatArray, K: FloatArray, z: FloatArray
) -> float:
    """The covariance of the first `size` of `near` into a lane of K, that with `own` into one of z; its prior variance.

    What is left of the lane is that of a unit matrix. NaN where a covariance is.
    """
    arrays, _, _, observed, noise = noisy
    total = 0.0
    for i in range(size):
        covariances(arrays, observed, near[i], observed, near, i + 1, row)
        row[i] += noise[near[i]]
        for j in range(i + 1):
            K[i, j] = row[j]
            total += row[j]
    near[size] = own  # the last covariance is its own variance
    covariances(arrays, observed, own, observed, near, size + 1, row)
    for i in range(size):
        z[i] = row[i]
        total += row[i]
    for i in range(size, len(z)):
        K[i, :i] = 0.0
        K[i, i] = 1.0
        z[i] = 0.0
    return row[size] if abs(total) < HUGE else np.nan


@compiled
def regressions(
    noisy: Noisy,
    numbers: Int32Array,
    lines: Int32Array,
    known: tuple[Int32Array, Int32Array],
    sequence: Int32Array,
    start: int,
    stop: int,
    columns: Int32Array,
    weights: FloatArray,
) -> int:
    """Rows of a Vecchia factor, those of `sequence[start:stop]`: each observation on its most correlated predecessors.

    `numbers` says which observation each place of the order holds, `lines` which row it is. The neighbours of each row
    may be `known`, with how many they are; they are searched where there are none. Rows that have fewer predecessors
    than places keep weights of zero. Returns how many conditional variances were floored, or -1 where one is NaN.
    """
    arrays, fine, coarse, observed, noise = noisy
    count = columns.shape[1] - 1
    K, z, explained = np.ones((count, count, LANES)), np.zeros((count, LANES)), np.empty(LANES)
    found, strength = np.empty((LANES, 2 * count + SPARE), np.int32), np.empty(2 * count + SPARE)
    sizes, prior, row, floored = np.empty(LANES, np.int64), np.empty(LANES), np.empty(count + 1), 0
    for begin in range(start, stop, LANES):
        lanes = min(LANES, stop - begin)
        for b in range(lanes):
            own = sequence[begin + b]
            if known[1].size:
                sizes[b] = known[1][lines[own]]
                found[b, : sizes[b]] = known[0][lines[own], : sizes[b]]
            else:
                sizes[b] = nearest(
                    arrays, fine, coarse, observed, observed, own, own, count, count, AT_ONCE, found[b], strength
                )
            prior[b] = _place_problem(noisy, own, found[b], sizes[b], row, K[:, :, b], z[:, b])
        factor_lanes(K)
        solve_lanes(K, z, explained)
        for b in range(lanes):
            own = sequence[begin + b]
            variance, least = prior[b] + noise[own] - explained[b], max(noise[own], FLOOR * prior[b])
            if not abs(variance) < HUGE:
                return -1
            if variance < least:
                variance = least
                floored += 1
            scale, line = 1.0 / math.sqrt(variance), lines[own]
            for k in range(sizes[b]):
                columns[line, k], weights[line, k] = numbers[found[b, k]], -scale * z[k, b]
            columns[line, sizes[b]], weights[line, sizes[b]] = numbers[own], scale
    return floored


@compiled
def ranked(
    noisy: Noisy,
    cells: Int32Array,
    candidates: Int32Array,
    before: IntArray,
    every: int,
    start: int,
    stop: int,
    near: Int32Array,
    sizes: Int32Array,
) -> None:
    """Of sorted candidates (n, k) the most correlated with each cell, into `near`; how many there are into `sizes`.

    Those that are there twice count once, those that are not `before` a number do not count. Cells before which are no
    more than `every` try all of these.
    """
    arrays, _, _, observed, _ = noisy
    count = near.shape[1]
    room = max(candidates.shape[1], every)
    found, strength = np.empty(room, np.int32), np.empty(room)
    for own in range(start, stop):
        met = _candidates_of(candidates[own], before[own], every, found)
        covariances(arrays, cells, own, observed, found, met, strength)
        met = _strongest(found, strength, met, count)
        near[own, :met] = found[:met]
        sizes[own] = met


@compiled
def chosen(
    noisy: Noisy,
    cells: Int32Array,
    candidates: Int32Array,
    before: IntArray,
    every: int,
    start: int,
    stop: int,
    near: Int32Array,
    sizes: Int32Array,
) -> None:
    """Of sorted candidates (n, k) those that together say most of each cell, one after the other, as in :func:`ranked`.

    Each next one lowers the variance most, given those before it (Gramacy & Apley 2015,
    doi:10.1080/10618600.2014.914442): where many lie side by side, few of them are taken and others farther away.
    """
    arrays, _, _, observed, noise = noisy
    count, room = near.shape[1], max(candidates.shape[1], every)
    found, slope, row, left = np.empty(room, np.int32), np.empty(room), np.empty(room), np.empty(room)
    factor, own_variance = np.empty((count, room)), np.empty(1)
    for own in range(start, stop):
        met = _candidates_of(candidates[own], before[own], every, found)
        if met <= count:
            near[own, :met] = found[:met]
            sizes[own] = met
            continue
        covariances(arrays, cells, own, observed, found, met, slope)  # with what is not known of each candidate
        for i in range(met):
            covariances(arrays, observed, found[i], observed, found[i : i + 1], 1, own_variance)
            left[i] = own_variance[0] + noise[found[i]]  # of each candidate
        gained, q = 0.0, 0
        while q < count:
            best, gain = -1, 0.0
            for i in range(met):
                if left[i] > 0.0 and slope[i] * slope[i] > gain * left[i]:
                    best, gain = i, slope[i] * slope[i] / left[i]
            if best < 0 or gain < ENDED * gained:
                break
            gained += gain
            near[own, q] = found[best]
            covariances(arrays, observed, found[best], observed, found, met, row)
            for p in range(q):
                weight = factor[p, best]
                for i in range(met):
                    row[i] -= weight * factor[p, i]
            scale = 1.0 / math.sqrt(left[best])
            step = slope[best] * scale
            for i in range(met):
                factor[q, i] = row[i] * scale
                slope[i] -= step * factor[q, i]
                left[i] -= factor[q, i] * factor[q, i]
            left[best] = 0.0  # taken
            q += 1
        sizes[own] = q


@compiled
def _candidates_of(candidates: Int32Array, before: int, every: int, found: Int32Array) -> int:
    """Each of sorted candidates that is `before` a number once, into `found`; all of these where they are few."""
    if before <= every:
        for who in range(before):
            found[who] = who
        return before
    met, last = 0, -1
    for k in range(candidates.size):
        who = candidates[k]
        if last < who < before:
            found[met] = last = who
            met += 1
    return met


@compiled
def forward(columns: Int32Array, weights: FloatArray, first: int, values: FloatArray) -> None:
    """Solve rows of a factor, those of `first` on in the order, for the last values (n, R); what they hold is white.

    Row by row Σ_k u_k f_k = ε: the one place that is the row's own follows from its predecessors.
    """
    for line in range(len(columns)):
        own, scale = first + line, 1.0
        for k in range(columns.shape[1]):
            weight, column = weights[line, k], columns[line, k]
            if weight == 0.0:  # a place without a neighbour
                continue
            if column == own:
                scale = weight
            else:
                for r in range(values.shape[1]):
                    values[own, r] -= weight * values[column, r]
        for r in range(values.shape[1]):
            values[own, r] /= scale


@compiled
def backward(columns: Int32Array, weights: FloatArray, first: int, values: FloatArray) -> None:
    """Solve the transpose of the same rows, without the columns before `first`, for values (rows, R) in place."""
    for line in range(len(columns) - 1, -1, -1):
        own, scale = first + line, 1.0
        for k in range(columns.shape[1]):
            if columns[line, k] == own and weights[line, k] != 0.0:
                scale = weights[line, k]
        for r in range(values.shape[1]):
            values[line, r] /= scale
        for k in range(columns.shape[1]):
            weight, column = weights[line, k], columns[line, k]
            if weight != 0.0 and first <= column < own:
                for r in range(values.shape[1]):
                    values[column - first, r] -= weight * values[line, r]


@compiled
def transposed(
    columns: Int32Array, weights: FloatArray, starts: IntArray, rows: Int32Array, values: FloatArray
) -> None:
    """The transpose of a matrix of rows (n, width), zeros left out, into `rows` and `values`; it begins at `starts`."""
    place = starts[:-1].copy()
    for i in range(len(columns)):
        for k in range(columns.shape[1]):
            if weights[i, k] != 0.0:
                at = place[columns[i, k]]
                rows[at], values[at] = i, weights[i, k]
                place[columns[i, k]] = at + 1


@compiled
def search(
    noisy: Noisy,
    middle: Int32Array,
    cells: Int32Array,
    prefixes: IntArray,
    counts: IntArray,
    start: int,
    stop: int,
    near: Int32Array,
    sizes: Int32Array,
) -> None:
    """The observations most correlated with any cell of a group, into `near`: some of all, and some of sparser sets.

    Of the first `prefixes[j]` observations `counts[j]` are taken, each of them once. Candidates are those most
    correlated with the middle cell; `cells` (groups · share, 3) holds the cells of each group.
    """
    arrays, fine, coarse, observed, _ = noisy
    share = len(cells) // len(middle)
    more = CANDIDATES if share > 1 else 1
    most = more * counts.max()
    found, strength, value = np.empty(2 * most + SPARE, np.int32), np.empty(2 * most + SPARE), np.empty(most)
    for k in range(start, stop):
        met = 0
        for j in range(prefixes.size):
            count, length = counts[j], 2 * more * counts[j] + SPARE
            size = nearest(
                arrays, fine, coarse, observed, middle, k, prefixes[j], count, more * count, AT_ONCE_FOR_GROUPS,
                found[:length], strength[:length],
            )  # fmt: skip
            if more > 1 and size > count:
                strength[:size] = 0.0
                for own in range(k * share, (k + 1) * share, max(1, share // JUDGES)):
                    covariances(arrays, cells, own, observed, found, size, value)
                    for i in range(size):
                        strength[i] = max(strength[i], abs(value[i]))
            if share > 1 and j == 0:  # an observed cell without its own observation would be as unknown as a gap
                size = _prefer_own(fine, cells, k * share, (k + 1) * share, prefixes[0], found, strength, size)
            size = _strongest(found, strength, size, count)
            first = met
            for i in range(size):
                fresh = True
                for other in range(first):
                    if near[k, other] == found[i]:
                        fresh = False
                        break
                if fresh:
                    near[k, met] = found[i]
                    met += 1
        sizes[k] = met


@compiled
def _prefer_own(
    fine: Map, cells: Int32Array, start: int, stop: int, before: int, found: Int32Array, strength: FloatArray, size: int
) -> int:
    """Rank the observations of the cells from `start` to `stop` above all; how many are found then."""
    _, first, following, _ = fine
    for own in range(start, stop):
        who = first[cells[own, 0], cells[own, 1], cells[own, 2]]
        while who < before and size < found.size:
            place = 0
            while place < size and found[place] != who:
                place += 1
            found[place], strength[place] = who, HUGE
            size = max(size, place + 1)
            who = following[who]
    return size


@compiled
def gathered(noisy: Noisy, near: Int32Array, sizes: Int32Array, K: FloatArray) -> bool:
    """Lower halves of the covariances (groups, count, count) of each group's neighbours, noise included.

    Places without a neighbour are those of a unit matrix. False where one holds NaN.
    """
    arrays, _, _, observed, noise = noisy
    for group in range(len(near)):
        for i in range(near.shape[1]):
            row = K[group, i]
            if i >= sizes[group]:
                row[:i] = 0.0
                row[i] = 1.0
                continue
            own = near[group, i]
            covariances(arrays, observed, own, observed, near[group], i + 1, row)
            row[i] += noise[own]
            if not abs(row[i]) < HUGE:
                return False
    return True


@compiled
def factor_each(K: FloatArray) -> None:
    """Cholesky factors in place of (groups, m, m), with pivots raised to what rounding leaves."""
    m = K.shape[1]
    for group in range(len(K)):
        L = K[group]
        for i in range(m):
            diagonal = L[i, i]
            for j in range(i):
                L[i, j] = (L[i, j] - dot(L[i], L[j], j)) / L[j, j]
            L[i, i] = math.sqrt(max(diagonal - dot(L[i], L[i], i), PIVOT * diagonal))
            L[i, i + 1 :] = 0.0


@compiled
def crossed(
    noisy: Noisy, cells: Int32Array, near: Int32Array, sizes: Int32Array, start: int, stop: int, cross: FloatArray
) -> None:
    """Covariances of the cells of each group with its neighbours, into `cross`."""
    arrays, _, _, observed, _ = noisy
    share = len(cells) // len(near)
    for group in range(start, stop):
        for target in range(group * share, (group + 1) * share):
            covariances(arrays, cells, target, observed, near[group], sizes[group], cross[target])


@compiled
def sparse_rows(
    starts: IntArray,
    columns: Int32Array,
    weights: FloatArray,
    x: FloatArray,
    begin: int,
    end: int,
    out: FloatArray,
) -> None:
    """Rows of a sparse matrix times (n, R), into rows of `out`."""
    for row in range(begin, end):
        for r in range(x.shape[1]):
            out[row, r] = 0.0
        for k in range(starts[row], starts[row + 1]):
            weight, column = weights[k], columns[k]
            for r in range(x.shape[1]):
                out[row, r] += weight * x[column, r]


@compiled
def put(site: IntArray, time: IntArray, values: FloatArray, begin: int, end: int, field: FloatArray) -> None:
    """Values (n, R) of observations onto their cells of a field (sites, R, times)."""
    for k in range(begin, end):
        for r in range(values.shape[1]):
            field[site[k], r, time[k]] = values[k, r]


@compiled
def taken(
    site: IntArray,
    time: IntArray,
    field: FloatArray,
    noise: FloatArray,
    values: FloatArray,
    begin: int,
    end: int,
    out: FloatArray,
) -> None:
    """A field (sites, R, times) at observations, plus the noise times `values` (n, R), into `out`."""
    for k in range(begin, end):
        for r in range(values.shape[1]):
            out[k, r] = field[site[k], r, time[k]] + noise[k] * values[k, r]


def refuse_nan(*, finite: bool) -> None:
    """Raise for a covariance of neighbours that holds NaN or infinite values.

    Raises
    ------
    NumericalError
    """
    if not finite:
        raise NumericalError(
            "The covariance of some neighbouring observations holds NaN or infinite values. Check the "
            "hyperparameters: print `model.hyperparameters`."
        )
