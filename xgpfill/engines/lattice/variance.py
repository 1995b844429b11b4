"""The variance of every cell from local conditionals and a few draws, and what the same draws say of its truth.

Of a draw s of field and data the whole field f_s is known. With μ_s its posterior mean and m_s that of a local
conditional of variance v_loc,

    f_s − m_s = (f_s − μ_s) + (μ_s − m_s),    v_loc = v + E(μ_s − m_s)²,

and both parts are independent Gaussian numbers, since f − μ is independent of the data. So with c the share of v_loc
that the local answer misses, A = mean (f_s − μ_s)²/v_loc has expectation 1 − c and B = mean (μ_s − m_s)²/v_loc has c.
Their Fisher information about c is S/2 (1 − c)⁻² and S/2 c⁻²: weighted with it,

    ĉ = ((1 − c)² B + c² (1 − A)) / (c² + (1 − c)²),

which is precise where little is missed (B) and where nearly all is (A): no variance need be floored.

Cells of like local variance are averaged first. What cells miss also differs from place to place, at the edges of the
domain or under long-lived clouds: so A and B, over what the pool expects of them, are smoothed over neighbouring cells
and taken as far as two halves of the draws agree about them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import gaussian_filter

if TYPE_CHECKING:
    from xgpfill.arrays import FloatArray, IntArray

    BoolArray = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

POOL = 500
"""Cells of similar local variance whose corrections are averaged, at least."""
MOST_POOLS = 200
ROUNDS = 6
NEARLY_NONE = 1e-3
"""Share of its average below which what is expected of the neighbours of a cell says nothing."""
LEAST_LEFT = 1e-6
"""Share of the local variance that is always left."""
LEAST_OF_POOL = 0.1
"""Share of what the pool leaves of a variance that neighbouring cells may lower it to."""
SIGNIFICANT = 5.0
"""Standard errors by which the draws' errors in a region must miss their variance to count."""
BIAS = 0.05
"""Share by which they must miss it."""


@dataclass(frozen=True, eq=False)
class Pool:
    """What local variances miss, as a function of the share of the prior variance that they leave.

    Attributes
    ----------
    left : array (k,)
        Local over prior variance, rising.
    missed : array (k,)
        Share of the local variance that is not there, c.
    """

    left: FloatArray
    missed: FloatArray

    @classmethod
    def of(cls, left: FloatArray, error: FloatArray, missed: FloatArray) -> Pool:
        """From A (`error`) and B (`missed`) of cells; continuous in `left`, so that maps have no steps.

        Examples
        --------
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> a, b = 0.7 * rng.chisquare(8, 4000) / 8, 0.3 * rng.chisquare(8, 4000) / 8
        >>> float(Pool.of(rng.random(4000), a, b).missed.mean().round(1))
        0.3
        """
        if not left.size:
            return cls(np.zeros(1), np.zeros(1))
        count = int(np.clip(left.size // POOL, 1, MOST_POOLS))
        order = np.argsort(left, kind="stable")
        group = np.empty(left.size, np.intp)
        group[order] = np.arange(left.size) * count // left.size
        size = np.bincount(group)
        key, A, B = (np.bincount(group, x) / size for x in (left, error, missed))
        return cls(key, combined(A, B))

    def share(self, left: FloatArray) -> FloatArray:
        """The share that is missed, c, of cells with these local over prior variances."""
        return np.asarray(np.interp(left, self.left, self.missed))

    def near(self, left: FloatArray, factors: tuple[FloatArray, FloatArray]) -> FloatArray:
        """The share where neighbouring cells have these factors, of A and of B, over what is expected of them."""
        c = np.clip(self.share(left), 0.0, 1.0 - LEAST_LEFT)
        error, missed = (1.0 - c) * factors[0], c * factors[1]
        found = ((1.0 - c) ** 2 * missed + c**2 * (1.0 - error)) / (c**2 + (1.0 - c) ** 2)
        return np.asarray(np.clip(found, 0.0, 1.0 - LEAST_OF_POOL * (1.0 - c)))


def combined(error: FloatArray, missed: FloatArray) -> FloatArray:
    """The share c that the averages A and B of the same cells tell, weighted with their information."""
    c = np.clip(missed, 0.0, 1.0 - LEAST_LEFT)
    for _ in range(ROUNDS):
        c = ((1.0 - c) ** 2 * missed + c**2 * (1.0 - error)) / (c**2 + (1.0 - c) ** 2)
        c = np.clip(c, 0.0, 1.0 - LEAST_LEFT)
    return c


@dataclass(frozen=True, eq=False)
class Halves:
    """Squares of what draws miss on cells of a lattice, averaged over each half of the draws.

    Attributes
    ----------
    first, second : array (m,)
    """

    first: FloatArray
    second: FloatArray

    @property
    def whole(self) -> FloatArray:
        """The average over all draws."""
        return 0.5 * (self.first + self.second)

    def over(self, other: FloatArray) -> Halves:
        """As shares of `other`."""
        return Halves(self.first / other, self.second / other)


@dataclass(frozen=True)
class Smoothing:
    """How neighbouring cells are averaged.

    Attributes
    ----------
    shape : tuple of int
        Times, rows, columns.
    width : tuple of float
        Cells along each axis: standard deviations of a Gaussian.
    wraps : bool
        Whether the last column is next to the first.
    """

    shape: tuple[int, int, int]
    width: tuple[float, float, float]
    wraps: bool

    def __call__(self, values: FloatArray) -> FloatArray:
        """Weighted sums of the neighbours of every cell, (m,)."""
        modes = ["constant", "constant", "wrap" if self.wraps else "constant"]
        return np.asarray(gaussian_filter(values.reshape(self.shape), self.width, mode=modes, truncate=3.0)).ravel()

    def factor(self, found: Halves, expected: FloatArray, which: BoolArray) -> FloatArray:
        """By what neighbouring cells differ from what is expected of them, (m,), near one where halves disagree.

        With f₁ and f₂ the factors that halves of the draws tell, E(f₁ − 1)(f₂ − 1) = τ² is how much the true ones
        vary, E(f₁ − f₂)²/4 = σ² the noise of their average: it is taken with the weight τ²/(τ² + σ²).
        """
        below = self(np.where(which, expected, 0.0))
        known = below > NEARLY_NONE * expected[which].mean()
        one, other = (
            np.where(known, self(np.where(which, half, 0.0)) / np.where(known, below, 1.0), 1.0)
            for half in (found.first, found.second)
        )
        varies = float(np.mean((one[which] - 1.0) * (other[which] - 1.0)))
        noise = float(np.mean(np.square(one[which] - other[which]))) / 4.0
        weight = float(np.clip(varies / max(varies + noise, 1e-300), 0.0, 1.0))
        return np.asarray(1.0 + weight * (0.5 * (one + other) - 1.0))


@dataclass(frozen=True)
class Check:
    """How true the answers were found to be.

    Attributes
    ----------
    probes : int
        Cells whose variance was solved for exactly.
    std_error, worst_std_error : float
        Median and largest relative error of their standard deviations.
    mean_error : float
        What a hundredth of the errors of means exceeds, in posterior standard deviations, as the residual of the data
        tells: 2.58 times its root mean square in units of what is not known of each observation from all others.
    std_bias : float
        Relative error of the standard deviations on the whole, from the errors of the draws on all cells.
    region_bias : float
        The same in the region, among those where it is no chance, in which it is largest; 0 where there is none.
    neighbours, patch : int
        Observations that a cell was conditioned on locally, and cells that shared them, at most.
    """

    probes: int
    std_error: float
    worst_std_error: float
    mean_error: float
    std_bias: float
    region_bias: float
    neighbours: int
    patch: int


@dataclass(frozen=True)
class Bars:
    """What a check must find: relative errors of standard deviations, errors of means in standard deviations."""

    std: float = 0.05
    worst_std: float = 0.25
    mean: float = 0.05
    bias: float = 0.05


def bias_of_regions(
    errors: np.ndarray[Any, np.dtype[np.floating[Any]]], variance: FloatArray, regions: IntArray
) -> tuple[float, float]:
    """Relative error of standard deviations on the whole, and that of the worst region where it is no chance.

    Parameters
    ----------
    errors : array (cells, S)
        f_s − μ_s of every draw.
    variance : array (cells,)
        What is said of it.
    regions : int array (cells,)
        Which region each is in.

    Notes
    -----
    (f_s − μ_s)²/v averages to one in each region. Its standard error there comes from the S averages, one of each
    draw, which know how far errors are correlated; where these happen to agree, from those of all regions.
    """
    draws = errors.shape[1]
    if not errors.size:  # no cell that anybody asks for
        return 0.0, 0.0
    size = np.bincount(regions)
    sums = np.stack([np.bincount(regions, np.square(errors[:, s], dtype=float) / variance) for s in range(draws)])
    each = sums.sum(1) / len(errors)
    whole = each.mean()
    by_region = np.column_stack([sums[:, size > 0] / size[size > 0], each])  # the whole is a region as well
    ratio = by_region.mean(0)
    if draws < 2:
        return float(1.0 / np.sqrt(max(whole, 1e-12)) - 1.0), 0.0
    scatter = by_region.var(0, ddof=1)
    standard_error = np.sqrt(np.maximum(scatter, scatter.mean()) / draws)
    # s claimed over s true is 1/√ratio
    bias = 1.0 / np.sqrt(np.maximum(ratio, 1e-12)) - 1.0
    certain = (np.abs(ratio - 1.0) > SIGNIFICANT * standard_error) & (np.abs(bias) > BIAS)
    worst = float(bias[certain][np.argmax(np.abs(bias[certain]))]) if certain.any() else 0.0
    return float(1.0 / np.sqrt(max(whole, 1e-12)) - 1.0), worst


def halved(squares: np.ndarray[Any, np.dtype[np.floating[Any]]]) -> Halves:
    """Averages over every other draw of the last axis."""
    first = squares[..., ::2].mean(-1)
    return Halves(first, squares[..., 1::2].mean(-1) if squares.shape[-1] > 1 else first)
