"""Where learning starts: hyperparameters guessed from the variogram and the spectrum of the blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.grid.directions import places_of, point_alike
from xgpfill.kernels.functions.by_latitude import ByLatitude
from xgpfill.kernels.outside import FromGPyTorch, positive_parameters
from xgpfill.kernels.prior import AXES, Prior, Term
from xgpfill.kernels.spec import (
    DIMENSIONLESS,
    RBF,
    Brownian,
    Constant,
    Independent,
    Kernel,
    Periodic,
    RationalQuadratic,
    Spectral,
    Sum,
    has_type,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xgpfill.grid.lattice import FloatArray, Lattice
    from xgpfill.grid.points import Observations

GPYTORCH_DEFAULT = float(np.log(2.0))
"""What GPyTorch's lengthscales are when nobody has set them: the softplus of zero."""
FIRST_NOISE = 0.02
"""Share of the variance taken for noise at the start."""
ENOUGH_PAIRS = 30
"""Pairs of observations that tell a variogram."""
BACKFITTING = 3
"""Rounds in which averages of places and of times are taken from each other."""
NUM_STARTS = 40
"""Other starts that are tried."""
NOISE_SHARES = (0.02, 0.3)
"""Shares of the variance taken for noise in these."""
LEAST_SHARE = 0.01
"""Of the variance, at least, when noise begins with a share of it."""
OFTEN = 4
"""Observations of a place from which on its average tells a static map."""
LEAST_STEPS = 0.5
"""Steps of the lattice that a lengthscale has at least: what is shorter is noise."""


@dataclass(frozen=True)
class AxisSummary:
    """What one axis looks like before learning, in its unit (days or km).

    Attributes
    ----------
    step, extent : float
    half : float
        Lag at which the semivariance of anomalies (what a static map and a common series leave) reaches half of theirs.
    frequencies : tuple of float
        Strongest frequencies (cycles per unit), strongest first.
    """

    step: float
    extent: float
    half: float
    frequencies: tuple[float, ...]


def summarise(blocks: list[Observations], lattice: Lattice, prior: Prior) -> dict[str, AxisSummary]:
    """Describe time and space from the blocks (standardised values); frequencies only where a kernel asks for them."""

    def peaks(axis: str, step: float) -> tuple[float, ...]:
        kernels = (getattr(term, axis) for term in prior.terms)
        return _peaks(blocks, axis, step) if any(has_type(k, Periodic, Spectral, FromGPyTorch) for k in kernels) else ()

    time_step, time_extent = lattice.time_step, max(lattice.time_extent, lattice.time_step)
    steps = [s for s in lattice.space.steps if s > 0]
    space_step = min(steps) if steps else 1.0
    space_extent = max(lattice.space.extent, space_step)
    time_half, space_half = _half_lags(blocks, time_step, space_step)
    return {
        "time": AxisSummary(
            time_step, time_extent, _between(time_half, time_step, time_extent), peaks("time", time_step)
        ),
        "space": AxisSummary(
            space_step,
            space_extent,
            _between(space_half, space_step, space_extent),
            peaks("space", space_step),
        ),
    }


def _between(half: float, step: float, extent: float) -> float:
    return float(np.clip(half if np.isfinite(half) else extent / 5, step, extent))


def _half_lags(blocks: list[Observations], time_step: float, space_step: float) -> tuple[float, float]:
    """Lags in time (at about one place) and in space (at about one time) of half the variance of anomalies.

    A static map, and what is common to all places, would hide how anomalies decorrelate where these are small beside.
    """
    lags: dict[str, list[FloatArray]] = {"time": [], "space": []}
    halves: dict[str, list[FloatArray]] = {"time": [], "space": []}
    rest = [anomalies(block) for block in blocks]
    for block, values in zip(blocks, rest, strict=True):
        i, j = np.triu_indices(len(block), 1)
        dt = np.abs(block.points.time[i] - block.points.time[j])
        ds = np.linalg.norm(places_of(block.points.space[i] - block.points.space[j]), axis=-1)
        alike = point_alike(block.points.space[i], block.points.space[j])
        square = 0.5 * (values[i] - values[j]) ** 2
        same = ds <= 1e-3 * space_step
        here = same if same.sum() >= ENOUGH_PAIRS else ds <= 1.5 * space_step
        for axis, lag, near in (("time", dt, here), ("space", ds, dt <= 0.5 * time_step)):
            chosen = near & alike & (lag > 0)
            lags[axis].append(lag[chosen])
            halves[axis].append(square[chosen])
    variance = float(np.mean(np.concatenate(rest) ** 2))
    time, space = (_half_lag(np.concatenate(lags[a]), np.concatenate(halves[a]), variance) for a in AXES)
    return time, space


def anomalies(block: Observations) -> FloatArray:
    """What the averages of every place and every time leave of values; averages of few are drawn to zero.

    Where all places are seen once, or all at one time, it is the deviation from the mean.
    """
    rest = block.values - block.values.mean()
    _, places = np.unique(block.points.space, axis=0, return_inverse=True)
    _, times = np.unique(block.points.time, return_inverse=True)
    groups = [places.ravel(), times.ravel()]
    apart = any(g.max() + 1 in (1, len(block)) for g in groups)
    for _ in range(0 if apart else BACKFITTING):
        for group in groups:
            count = np.bincount(group)
            rest = rest - (np.bincount(group, rest) / (count + 1.0))[group]
    return np.asarray(rest)


def _half_lag(lag: FloatArray, semivariance: FloatArray, variance: float) -> float:
    """First lag at which the binned semivariance passes half the variance; infinite when it never does."""
    if lag.size < ENOUGH_PAIRS:
        return float("inf")
    edges = np.unique(np.quantile(lag, np.linspace(0, 1, 25)))
    bins = np.clip(np.searchsorted(edges, lag, side="right") - 1, 0, max(edges.size - 2, 0))
    counts = np.maximum(np.bincount(bins), 1)
    means = np.bincount(bins, semivariance) / counts
    above = np.flatnonzero(means >= 0.5 * variance)
    return float((np.bincount(bins, lag) / counts)[above[0]]) if above.size else float("inf")


def _peaks(blocks: list[Observations], axis: str, step: float, count: int = 8) -> tuple[float, ...]:
    """Strongest frequencies of the scattered values along an axis (Lomb-Scargle), strongest first."""
    from scipy.signal import lombscargle

    pooled: FloatArray | float = 0.0
    longest = max(blocks, key=lambda b: float(np.ptp(getattr(b.points, axis), axis=0).max()))
    coordinates = getattr(longest.points, axis).reshape(len(longest), -1)
    extent = float(np.ptp(coordinates, axis=0).max())
    if extent < 4 * step or len(longest) < 8:
        return ()
    frequencies = np.arange(1, int(min(400.0, extent / step)) + 1) * 0.5 / extent
    for column in coordinates.T:
        if np.ptp(column) > 0.2 * extent:
            pooled = pooled + lombscargle(column, longest.values - longest.values.mean(), 2 * np.pi * frequencies)
    power = np.asarray(pooled)
    if power.ndim == 0:
        return ()
    inner = np.r_[power[0] > power[1], (power[1:-1] >= power[:-2]) & (power[1:-1] > power[2:]), False]
    peaks = np.flatnonzero(inner)
    return tuple(frequencies[peaks[np.argsort(-power[peaks])]][:count].tolist())


def starting_values(prior: Prior, axes: dict[str, AxisSummary], *, noise_is_scale: bool = False) -> dict[str, Any]:
    """A number for every hyperparameter that has none yet, by path (standardised units)."""
    values: dict[str, Any] = {}
    for term in prior.terms:
        if term.variance is None:
            values[f"{term.name}.variance"] = _share(term, prior)
        for axis in AXES:
            stretch = _stretch(term, prior)
            for path, kernel in walk(getattr(term, axis)):
                if isinstance(kernel, FromGPyTorch) and not kernel.fixed:
                    values[f"{term.name}.{axis}.{path}parameters"] = _gpytorch_starts(kernel, axes[axis], stretch)
                    continue
                found = _kernel_starts(kernel, axes[axis], stretch)
                values |= {f"{term.name}.{axis}.{path}{n}": v for n, v in found.items() if getattr(kernel, n) is None}
    if prior.noise is None:
        values["noise"] = 1.0 if noise_is_scale else FIRST_NOISE
    return values


def anomaly_share(blocks: list[Observations]) -> float:
    """Share of the variance that averages of places and of times leave, told by places and times seen often enough."""
    left, whole = np.zeros(2), np.zeros(2)
    for block in blocks:
        _, places = np.unique(block.points.space, axis=0, return_inverse=True)
        often = np.bincount(places.ravel())[places.ravel()] >= OFTEN
        if often.sum() >= OFTEN**2:
            left += np.sum(anomalies(block.take(np.flatnonzero(often))) ** 2), often.sum()
        whole += np.sum((block.values - block.values.mean()) ** 2), len(block)
    if not left[1] or not whole[0]:
        return 1.0
    return float(np.clip((left[0] / left[1]) / (whole[0] / whole[1]), 1e-4, 1.0))


def other_starts(
    prior: Prior,
    axes: dict[str, AxisSummary],
    first: Mapping[str, Any],
    share: float,
    seed: int,
    *,
    noise_is_scale: bool = False,
) -> list[dict[str, Any]]:
    """Starts beside the `first`: its free lengthscales from half a step to the extent, more noise or less.

    Products and noise begin with the `share` of the variance that anomalies have; a factor on squared standard errors
    with what it is.

    One start finds one optimum, and likelihoods of several terms have many: anomalies that are white in time beside a
    large static map end in the noise, all of them with lengthscales of centuries, where learning begins with long ones.
    """
    paths = [path for path in first if path.endswith(".lengthscale") and _is_length(prior, path)]
    if not paths:
        return []
    rng, products, found = np.random.default_rng(seed), _products(prior), []
    for number in range(NUM_STARTS):
        values = dict(first)
        for path in paths:
            axis = axes["time" if ".time." in path else "space"]
            low, high = np.log(LEAST_STEPS * axis.step), np.log(axis.extent)
            values[path] = float(np.exp(rng.uniform(low, max(low, high))))
        for term in products:
            if f"{term}.variance" in values:
                values[f"{term}.variance"] = share / len(products)
        if "noise" in values and not noise_is_scale:
            more = NOISE_SHARES[number % len(NOISE_SHARES)] / NOISE_SHARES[0]
            values["noise"] = max(share, LEAST_SHARE) * first["noise"] * more
        found.append(values)
    return found


def _is_length(prior: Prior, path: str) -> bool:
    """Whether a lengthscale is in days or km, not without dimension."""
    return next(unit for name, _, unit, _ in prior.items() if name == path) != DIMENSIONLESS


def _share(term: Term, prior: Prior) -> float:
    """The share of the variance a term starts with; a term without correlation starts small."""
    if isinstance(term.time, Independent) and isinstance(term.space, Independent):
        return FIRST_NOISE
    return 1.0 / len(prior.terms)


def _stretch(term: Term, prior: Prior) -> float:
    """How the lengthscales of a term compare with the empirical one: slow terms longer, fast ones shorter."""
    products = _products(prior)
    if term.name not in products or len(products) == 1:
        return 1.5
    position = products.index(term.name) / (len(products) - 1)
    return float(3.0 * (0.6 / 3.0) ** position)


def _products(prior: Prior) -> list[str]:
    """Names of the terms of both time and space."""
    return [term.name for term in prior.terms if term.name not in ("static", "common", "space", "time")]


def _kernel_starts(kernel: Kernel, axis: AxisSummary, stretch: float) -> dict[str, Any]:
    lengthscale = float(np.clip(stretch * axis.half, 0.5 * axis.step, 2 * axis.extent))
    frequencies = axis.frequencies or (2.0 / axis.extent,)
    if isinstance(kernel, Periodic):
        return {"period": 1.0 / frequencies[0], "lengthscale": 1.0}
    if isinstance(kernel, Spectral):
        q = kernel.num_components
        spread = tuple(frequencies[i % len(frequencies)] * (1 + i // len(frequencies)) for i in range(q))
        return {"weights": (1.0,) * q, "frequencies": spread, "bandwidths": (0.5 / axis.extent,) * q}
    if isinstance(kernel, Brownian):
        return {"offset": axis.step}
    if isinstance(kernel, RationalQuadratic):
        return {"lengthscale": lengthscale, "alpha": 1.0}
    if isinstance(kernel, ByLatitude):
        return {"to_pole": 1.0}
    if isinstance(kernel, Sum):
        return {"weights": (1.0,) * len(kernel.parts)}
    if isinstance(kernel, (Constant, Independent)):
        return {}
    return dict.fromkeys(kernel.parameter_units(), lengthscale)


def _gpytorch_starts(kernel: FromGPyTorch, axis: AxisSummary, stretch: float) -> tuple[float, ...]:
    """Its own numbers, except lengths that still are GPyTorch's default: those are guessed from the data."""
    guesses = {
        "lengthscale": _kernel_starts(RBF(), axis, stretch)["lengthscale"],
        "period_length": _kernel_starts(Periodic(), axis, stretch)["period"],
    }
    found: list[float] = []
    assert kernel.parameters is not None
    for name, raw, _ in positive_parameters(kernel.function):
        own = [float(v) for v in kernel.parameters[len(found) : len(found) + raw.numel()]]
        guess = guesses.get(name.rsplit(".", 1)[-1].removeprefix("raw_"))
        found += [guess if guess is not None and abs(v - GPYTORCH_DEFAULT) < 1e-6 else v for v in own]
    return tuple(found)


def bounds_of(path: str, unit: str, axes: dict[str, AxisSummary]) -> tuple[float, float]:
    """Smallest and largest value a hyperparameter may take while it is learned (standardised units)."""
    name = path.rsplit(".", 1)[-1]
    axis = axes["time" if ".time." in path else "space"]
    periodic = {"period": (2 * axis.step, 4 * axis.extent), "frequencies": (0.02 / axis.extent, 0.5 / axis.step)}
    return {
        "noise": (1e-6, 1e2),
        "variance": (1e-6, 1e3),
        "lengthscale": (0.05, 20.0) if unit == DIMENSIONLESS else (LEAST_STEPS * axis.step, 20 * axis.extent),
        "alpha": (0.05, 50.0),
        "bandwidths": (0.01 / axis.extent, 1.0 / axis.step),
        "offset": (1e-3 * axis.step, 100 * axis.extent),
        "weights": (1e-3, 1e3),
        "parameters": (1e-6, 1e8),
        "to_pole": (0.02, 50.0),
        **periodic,
    }[name]
