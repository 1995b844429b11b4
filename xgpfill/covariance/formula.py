"""A prior as numbers that compiled loops evaluate pair by pair: sums of products of functions of a lag.

Every term is multiplied out into parts ``w Π_k f_k(x_k) exp(−Σ_k g_k(x_k))``, so that a part takes one exponential,
whatever kernels it is a product of.
"""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from xgpfill.errors import MethodError
from xgpfill.kernels.spec import (
    RBF,
    Brownian,
    Constant,
    Independent,
    Kernel,
    Matern,
    Periodic,
    Product,
    RationalQuadratic,
    Spectral,
    Sum,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xgpfill.arrays import FloatArray
    from xgpfill.kernels.prior import Prior

TIME, DISTANCE, FIRST_DIRECTION = 0, 1, 2
"""What a factor is a function of: the lag in time, the distance, or the lag in a direction of space."""
MATERN12, MATERN32, MATERN52, GAUSSIAN, RATIONAL, SINE, WAVE, WALK, SAME = range(9)

Factor = tuple[int, int, float, float, float]
"""Kind, what it is a function of, and up to three numbers."""
Parts = list[tuple[float, tuple[Factor, ...]]]


class Formula(NamedTuple):
    """A prior as compiled loops read it.

    Attributes
    ----------
    weights : array (parts,)
    starts : int array (parts + 1,)
        Where the factors of each part begin.
    kinds : int array (factors, 2)
        Kind, and what it is a function of.
    numbers : array (factors, 3)
    """

    weights: FloatArray
    starts: NDArray[np.intp]
    kinds: NDArray[np.intp]
    numbers: FloatArray


def formula(prior: Prior) -> Formula:
    """Multiply out the terms of a prior whose numbers are all known.

    Raises
    ------
    MethodError
        When a kernel is no such function.
    """
    parts: Parts = []
    for term in prior.terms:
        assert term.variance is not None
        in_time, in_space = _parts(term.time, (TIME,)), _parts(term.space, _directions(prior.geometry))
        parts += [(float(term.variance) * a * b, f + g) for (a, f), (b, g) in product(in_time, in_space)]
    factors = [factor for _, own in parts for factor in own]
    return Formula(
        np.array([weight for weight, _ in parts], dtype=float),
        np.cumsum([0, *(len(own) for _, own in parts)]).astype(np.intp),
        np.array([factor[:2] for factor in factors], dtype=np.intp).reshape(-1, 2),
        np.array([factor[2:] for factor in factors], dtype=float).reshape(-1, 3),
    )


def has_formula(prior: Prior) -> bool:
    """Whether every kernel is a function that compiled loops know."""
    axes = (("time", (TIME,)), ("space", _directions(prior.geometry)))
    return all(_is_known(getattr(term, axis), directions) for term in prior.terms for axis, directions in axes)


def _directions(geometry: str) -> tuple[int, ...]:
    """The lags that kernels of direction are products over; none but on a plane."""
    return (FIRST_DIRECTION, FIRST_DIRECTION + 1) if geometry == "plane" else ()


def _is_known(kernel: Kernel, directions: tuple[int, ...]) -> bool:
    if isinstance(kernel, (Sum, Product)):
        return all(_is_known(part, directions) for part in kernel.parts)
    if isinstance(kernel, (Periodic, Spectral)):
        return bool(directions)
    return isinstance(kernel, (Matern, RBF, RationalQuadratic, Brownian, Constant, Independent))


def _parts(kernel: Kernel, directions: tuple[int, ...]) -> Parts:
    """A kernel of one axis as a sum of products."""
    if not _is_known(kernel, directions):
        raise MethodError(
            f"method='vecchia' evaluates kernels pair by pair and knows no {type(kernel).__name__} here: a function "
            f"that you brought, averages of tiles, or a direction on the sphere. Choose another kernel, leave `tile=` "
            f"out, or type `method='variational'`."
        )
    if isinstance(kernel, Constant):
        return [(1.0, ())]
    if isinstance(kernel, Sum):
        weights = np.array(kernel.weights or (1.0,) * len(kernel.parts), dtype=float)
        shares = (weights / weights.sum()).tolist()
        return [(w * a, f) for w, part in zip(shares, kernel.parts, strict=True) for a, f in _parts(part, directions)]
    if isinstance(kernel, Product):
        return _multiplied([_parts(part, directions) for part in kernel.parts])
    if isinstance(kernel, Spectral):
        return _multiplied([_waves(kernel, lag) for lag in directions])
    if isinstance(kernel, Periodic):
        numbers = 1.0 / _known(kernel.period), 1.0 / _known(kernel.lengthscale), 0.0
        return [(1.0, tuple((SINE, lag, *numbers) for lag in directions))]
    return [(1.0, (_factor(kernel, TIME if directions == (TIME,) else DISTANCE),))]


def _multiplied(factors: list[Parts]) -> Parts:
    """The product of sums, multiplied out."""
    found: Parts = [(1.0, ())]
    for parts in factors:
        found = [(a * b, f + g) for (a, f), (b, g) in product(found, parts)]
    return found


def _waves(kernel: Spectral, lag: int) -> Parts:
    """Σ w exp(−2π²x²b²) cos(2πxf) (Wilson & Adams 2013, eq. 12)."""
    assert kernel.frequencies is not None
    assert kernel.bandwidths is not None
    weights = np.array(kernel.weights or (1.0,) * kernel.num_components, dtype=float)
    numbers = zip((weights / weights.sum()).tolist(), kernel.frequencies, kernel.bandwidths, strict=True)
    return [(w, ((WAVE, lag, 2 * (math.pi * _known(b)) ** 2, 2 * math.pi * _known(f), 0.0),)) for w, f, b in numbers]


def _factor(kernel: Kernel, lag: int) -> Factor:
    """A kernel that is one function of a lag."""
    if isinstance(kernel, Matern):
        kind = {0.5: MATERN12, 1.5: MATERN32, 2.5: MATERN52}[kernel.nu]
        return kind, lag, math.sqrt(2 * kernel.nu) / _known(kernel.lengthscale), 0.0, 0.0
    if isinstance(kernel, RBF):
        return GAUSSIAN, lag, 0.5 / _known(kernel.lengthscale) ** 2, 0.0, 0.0
    if isinstance(kernel, RationalQuadratic):
        alpha = _known(kernel.alpha)
        return RATIONAL, lag, 0.5 / (alpha * _known(kernel.lengthscale) ** 2), alpha, 0.0
    if isinstance(kernel, Brownian):
        return WALK, lag, _known(kernel.start), 1.0 / _known(kernel.extent), _known(kernel.offset)
    return SAME, lag, 0.0, 0.0, 0.0


def _known(value: Any) -> float:
    assert value is not None, "hyperparameters are resolved before evaluation"
    return float(value)
