"""Small covariance matrices among neighbouring observations, and what is conditioned on them, in compiled loops."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xgpfill.errors import NumericalError
from xgpfill.linalg.compiled import compiled
from xgpfill.linalg.neighbours import SPARE, covariances, nearest

if TYPE_CHECKING:
    from xgpfill.grid.lattice import FloatArray
    from xgpfill.linalg.neighbours import Int32Array, Map
    from xgpfill.linalg.tables import Arrays

FLOOR = 1e-10
"""Conditional variances are at least this share of the prior's."""
PIVOT = 1e-12
"""Squared pivots of a factor are at least this share of the diagonal."""
HUGE = 1e300
"""Larger ones, and NaN, are no numbers: `isfinite` is compiled to nothing where sums may be reordered."""
LEAST = 2.3e-16
"""Share of a prior variance that neighbours cannot explain."""


class Noisy(NamedTuple):
    """Observations as loops read them.

    Attributes
    ----------
    arrays, ranking : Arrays
        The covariance, and that which neighbours are chosen by.
    fine, coarse : Map
    cells : int32 array (n, 3)
        Time, row and column of each.
    noise : array (n,)
    features : array (n, q)
        Whose products are part of the covariance; q may be 0.
    """

    arrays: Arrays
    ranking: Arrays
    fine: Map
    coarse: Map
    cells: Int32Array
    noise: FloatArray
    features: FloatArray


@compiled
def dot(a: FloatArray, b: FloatArray, size: int) -> float:
    """Sum of products of the first elements."""
    total = 0.0
    for k in range(size):
        total += a[k] * b[k]
    return total


@compiled
def factor(noisy: Noisy, near: Int32Array, size: int, L: FloatArray) -> bool:
    """Cholesky factor of the covariance of the first `size` of `near`, noise included; false where it holds NaN."""
    arrays, _, _, _, observed, noise, features = noisy
    for i in range(size):
        covariances(arrays, observed, near[i], observed, near, i + 1, L[i])
        if features.shape[1]:
            for j in range(i + 1):
                L[i, j] += dot(features[near[i]], features[near[j]], features.shape[1])
        L[i, i] += noise[near[i]]
        diagonal = L[i, i]
        for j in range(i):
            L[i, j] = (L[i, j] - dot(L[i], L[j], j)) / L[j, j]
        pivot = diagonal - dot(L[i], L[i], i)
        if not abs(pivot) < HUGE:
            return False
        L[i, i] = math.sqrt(max(pivot, PIVOT * diagonal))
    return True


@compiled
def solve_lower(L: FloatArray, size: int, x: FloatArray) -> None:
    """L⁻¹ x in place."""
    for i in range(size):
        x[i] = (x[i] - dot(L[i], x, i)) / L[i, i]


@compiled
def solve_upper(L: FloatArray, size: int, x: FloatArray) -> None:
    """L⁻ᵀ x in place."""
    for i in range(size - 1, -1, -1):
        x[i] /= L[i, i]
        for j in range(i):
            x[j] -= L[i, j] * x[i]


@compiled
def regressions(
    noisy: Noisy, count: int, start: int, stop: int, columns: Int32Array, weights: FloatArray, sizes: Int32Array
) -> int:
    """Rows of a Vecchia factor from `start` to `stop`: each observation on its most correlated predecessors.

    Returns how many conditional variances were floored, or -1 where one is NaN.
    """
    arrays, ranking, fine, coarse, observed, noise, features = noisy
    L = np.empty((count, count))
    found, strength = np.empty(2 * count + SPARE, np.int32), np.empty(2 * count + SPARE)
    z, floored = np.empty(count + 1), 0
    for own in range(start, stop):
        size = nearest(ranking, fine, coarse, observed, observed, own, own, count, found, strength)
        if not factor(noisy, found, size, L):
            return -1
        found[size] = own  # the last covariance is its own variance
        covariances(arrays, observed, own, observed, found, size + 1, z)
        if features.shape[1]:
            for k in range(size + 1):
                z[k] += dot(features[own], features[found[k]], features.shape[1])
        prior = z[size]
        solve_lower(L, size, z)
        variance, least = prior + noise[own] - dot(z, z, size), max(noise[own], FLOOR * prior)
        if not abs(variance) < HUGE:
            return -1
        if variance < least:
            variance = least
            floored += 1
        solve_upper(L, size, z)
        scale = 1.0 / math.sqrt(variance)
        for k in range(size):
            columns[own, k], weights[own, k] = found[k], -scale * z[k]
        columns[own, size], weights[own, size] = own, scale
        sizes[own] = size + 1
    return floored


@compiled
def search(noisy: Noisy, cells: Int32Array, start: int, stop: int, near: Int32Array, sizes: Int32Array) -> None:
    """The observations most correlated with cells (n, 3), into `near` (n, count)."""
    _, ranking, fine, coarse, observed, noise, _ = noisy
    count = near.shape[1]
    found, strength = np.empty(2 * count + SPARE, np.int32), np.empty(2 * count + SPARE)
    for k in range(start, stop):
        sizes[k] = nearest(ranking, fine, coarse, observed, cells, k, noise.size, count, found, strength)
        for i in range(sizes[k]):
            near[k, i] = found[i]


@compiled
def conditionals(
    noisy: Noisy,
    values: FloatArray,
    near: Int32Array,
    sizes: Int32Array,
    cross: FloatArray,
    prior: FloatArray,
    start: int,
    stop: int,
    means: FloatArray,
    variances: FloatArray,
) -> bool:
    """Means (targets, R) and variances (targets,) of several targets that share their neighbours; false for NaN.

    `near` (groups, count) holds the neighbours, `cross` (targets, count) the covariances of targets with those of
    their group. With L Lᵀ the covariance of the neighbours, both come from L⁻¹ of the two: means are the products of
    L⁻¹ cross with L⁻¹ values, variances what its squares leave of the prior.
    """
    count, share, draws = near.shape[1], len(cross) // len(near), values.shape[1]
    L, both = np.empty((count, count)), np.empty((count, share + draws))
    for group in range(start, stop):
        size, first = sizes[group], group * share
        if not factor(noisy, near[group], size, L):
            return False
        for i in range(size):
            for t in range(share):
                both[i, t] = cross[first + t, i]
            for r in range(draws):
                both[i, share + r] = values[near[group, i], r]
            for j in range(i):
                for k in range(share + draws):
                    both[i, k] -= L[i, j] * both[j, k]
            for k in range(share + draws):
                both[i, k] /= L[i, i]
        for t in range(share):
            explained = 0.0
            means[first + t] = 0.0
            for i in range(size):
                explained += both[i, t] * both[i, t]
                for r in range(draws):
                    means[first + t, r] += both[i, t] * both[i, share + r]
            variances[first + t] = max(prior[first + t] - explained, LEAST * prior[first + t])
            if not abs(variances[first + t]) < HUGE:
                return False
    return True


@compiled
def crossed(
    noisy: Noisy, cells: Int32Array, near: Int32Array, sizes: Int32Array, start: int, stop: int, cross: FloatArray
) -> None:
    """Covariances of the cells of each group with its neighbours, features left out, into `cross`."""
    arrays, _, _, _, observed, _, _ = noisy
    share = len(cells) // len(near)
    for group in range(start, stop):
        for target in range(group * share, (group + 1) * share):
            covariances(arrays, cells, target, observed, near[group], sizes[group], cross[target])


@compiled
def add_features(
    noisy: Noisy, told: FloatArray, near: Int32Array, sizes: Int32Array, start: int, stop: int, cross: FloatArray
) -> None:
    """Add the products of the targets' features (targets, q) with those of their neighbours to `cross`."""
    (_, _, _, _, _, _, features), share = noisy, len(told) // len(near)
    for group in range(start, stop):
        for target in range(group * share, (group + 1) * share):
            for k in range(sizes[group]):
                cross[target, k] += dot(told[target], features[near[group, k]], told.shape[1])


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
