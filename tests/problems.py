"""Small problems for tests: a prior in the oracle's words, random places, draws of a field with gaps."""

from __future__ import annotations

import math

import numpy as np
from xgpfill.grid.lattice import Lattice, Space
from xgpfill.grid.points import Observations, Points
from xgpfill.kernels import spec
from xgpfill.kernels.parts import replaced
from xgpfill.kernels.prior import Prior, Term

from tests import reference as ref

GEOMETRIES = ("sphere", "cylinder", "plane")


# A spec in the oracle's words


def oracle(kernel: spec.Kernel, a, b, geometry: str = "time"):
    """The correlation of every row of `a` (n, d) with every row of `b` (m, d), by the oracle."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    d = ref.distance(a, b)
    match kernel:
        case spec.Matern():
            return ref.matern(d, kernel.lengthscale, kernel.nu)
        case spec.RBF():
            return ref.rbf(d, kernel.lengthscale)
        case spec.RationalQuadratic():
            return ref.rational_quadratic(d, kernel.lengthscale, kernel.alpha)
        case spec.Periodic():
            return _over_directions(lambda lag: ref.periodic(lag, kernel.period, kernel.lengthscale), a, b, geometry)
        case spec.Spectral():
            numbers = kernel.weights, kernel.frequencies, kernel.bandwidths
            return _over_directions(lambda lag: ref.spectral(lag, *numbers), a, b, geometry)
        case spec.Brownian():
            return ref.brownian(a.ravel(), b.ravel(), kernel.start, kernel.extent, kernel.offset)
        case spec.Constant():
            return ref.constant(d)
        case spec.Independent():
            return ref.independent(d)
        case spec.Sum():
            weights = np.asarray(kernel.weights or np.ones(len(kernel.parts)), float)
            parts = [oracle(part, a, b, geometry) for part in kernel.parts]
            return np.tensordot(weights / weights.sum(), parts, axes=1)
        case spec.Product():
            return math.prod(oracle(part, a, b, geometry) for part in kernel.parts)
    raise AssertionError(f"the oracle has no {kernel!r}")


def _over_directions(function, a, b, geometry):
    """The product of a function of the lag over the directions: km along each axis, arcs around the cylinder."""
    if a.ndim == 1:
        return function(np.subtract.outer(a, b))
    lags = [np.subtract.outer(a[:, k], b[:, k]) for k in range(a.shape[1])]
    if geometry == "cylinder":
        angle = np.subtract.outer(np.arctan2(a[:, 1], a[:, 0]), np.arctan2(b[:, 1], b[:, 0]))
        lags = [ref.EARTH_RADIUS * np.arctan2(np.sin(angle), np.cos(angle)), lags[2]]
    return math.prod(map(function, lags))


def oracle_terms(prior: Prior) -> list[ref.Term]:
    """The terms of a prior with all numbers known; a constant factor is None, as in the oracle."""
    return [
        {"variance": float(t.variance), "time": _factor(t.time, "time"), "space": _factor(t.space, prior.geometry)}
        for t in prior.terms
    ]


def _factor(kernel: spec.Kernel, geometry: str) -> ref.Factor | None:
    return None if isinstance(kernel, spec.Constant) else lambda a, b: oracle(kernel, a, b, geometry)


def oracle_covariance(prior: Prior, a: Points, b: Points):
    """The prior covariance of points `a` with points `b`, (n, m), by the oracle."""
    return ref.covariance(oracle_terms(prior), a.time, a.space, b.time, b.space)


def oracle_posterior(prior: Prior, observations: Observations, targets: Points, *, trend: bool, full: bool = False):
    """The oracle's posterior; `trend` adds an unknown constant mean with a flat prior."""
    n, m = len(observations), len(targets)
    points = observations.points
    return ref.posterior(
        oracle_covariance(prior, points, points),
        oracle_covariance(prior, points, targets),
        oracle_covariance(prior, targets, targets),
        observations.values,
        observations.noise,
        basis=np.ones((n, 1)) if trend else None,
        basis_targets=np.ones((m, 1)) if trend else None,
        full=full,
    )


# Priors with all numbers known

TIME_KERNELS: dict[str, spec.Kernel] = {
    "matern12": spec.Matern(0.5, 3.0),
    "matern32": spec.Matern(1.5, 4.0),
    "matern52": spec.Matern(2.5, 2.5),
    "rbf": spec.RBF(2.0),
    "rational_quadratic": spec.RationalQuadratic(3.0, 0.7),
    "periodic": spec.Periodic(5.0, 0.8),
    "spectral": spec.Spectral(2, (1.0, 3.0), (0.1, 0.3), (0.02, 0.05)),
    "brownian": spec.Brownian(1.5, start=-1.0, extent=12.0),
    "constant": spec.Constant(),
    "independent": spec.Independent(),
    "a weighted sum": spec.Sum((spec.Matern(1.5, 4.0), spec.Periodic(5.0, 0.8)), (3.0, 1.0)),
    "an even sum": spec.Matern(0.5, 3.0) + spec.RBF(9.0),
    "a product": spec.RBF(6.0) * spec.Periodic(3.0, 1.2),
}
SPACE_KERNELS: dict[str, spec.Kernel] = {
    "matern12": spec.Matern(0.5, 900.0),
    "matern32": spec.Matern(1.5, 700.0),
    "matern52": spec.Matern(2.5, 500.0),
    "rbf": spec.RBF(600.0),
    "rational_quadratic": spec.RationalQuadratic(800.0, 1.3),
    "periodic": spec.Periodic(900.0, 1.1),
    "spectral": spec.Spectral(2, (2.0, 1.0), (1 / 2000, 1 / 700), (1 / 9000, 1 / 5000)),
    "constant": spec.Constant(),
    "independent": spec.Independent(),
    "a weighted sum": spec.Sum((spec.Matern(1.5, 700.0), spec.RBF(2500.0)), (1.0, 2.0)),
    "a product": spec.RBF(3000.0) * spec.Periodic(900.0, 1.1),
}


def anova(kernel: str = "matern32", geometry: str = "sphere", noise: float = 0.05) -> Prior:
    """A static, a common, a slow and a fast term of one family."""
    time, space = TIME_KERNELS[kernel], SPACE_KERNELS[kernel]

    def stretched(k: spec.Kernel, factor: float) -> spec.Kernel:
        return replaced(k, {"lengthscale": k.lengthscale * factor})

    terms = (
        Term("static", spec.Constant(), stretched(space, 1.5), 0.6),
        Term("common", stretched(time, 0.8), spec.Constant(), 0.3),
        Term("slow", stretched(time, 2.0), space, 0.8),
        Term("fast", stretched(time, 0.5), stretched(space, 0.4), 0.4),
    )
    return Prior(terms, noise=noise, geometry=geometry)


def product(time: spec.Kernel, space: spec.Kernel, geometry: str = "plane", variance: float = 1.0) -> Prior:
    """One space-time product."""
    return Prior((Term("product", time, space, variance),), noise=0.05, combine="product", geometry=geometry)


# Places and data


def places(rng: np.random.Generator, n: int, geometry: str):
    """Random places of a region of about 30 degrees, (n, d) in km."""
    lat, lon = rng.uniform(20, 50, n), rng.uniform(-15, 15, n)
    if geometry == "sphere":
        return ref.chord(lat, lon)
    if geometry == "cylinder":
        return ref.cylinder(lat, lon)
    return ref.EARTH_RADIUS * np.radians(np.stack([lon * np.cos(np.radians(35)), lat], axis=1))


def scattered(rng: np.random.Generator, n: int, geometry: str) -> Points:
    """Random points; half of them share their time and their place with others."""
    times, sites = np.round(rng.uniform(0, 11, n), 1), places(rng, n, geometry)
    times[: n // 2], sites[: n // 2] = times[n // 2 : n // 2 * 2], np.roll(sites[n // 2 : n // 2 * 2], 3, axis=0)
    return Points.scattered(times, sites)


def gridded(rng: np.random.Generator, num_times: int, num_sites: int, geometry: str) -> Points:
    """All of some places at all of some times."""
    return Points.grid(np.arange(num_times, dtype=float), places(rng, num_sites, geometry))


def observed(rng: np.random.Generator, prior: Prior, points: Points, *, unequal: bool = False) -> Observations:
    """A draw of the prior at points, with one noise variance or one for each, in standardised units."""
    noise = np.full(len(points), float(prior.noise))
    if unequal:
        noise *= rng.uniform(0.2, 5.0, len(points))
    K = oracle_covariance(prior, points, points) + np.diag(noise)
    return Observations(points, np.linalg.cholesky(K) @ rng.standard_normal(len(points)), noise)


def raised(prior: Prior, n: int = 700) -> Observations:
    """Scattered observations with noise of their own, of a draw of the prior about a level of 0.4."""
    rng = np.random.default_rng(0)
    found = observed(rng, prior, scattered(rng, n, "sphere"), unequal=True)
    return found.with_values(found.values + 0.4)


def lattice(values, *, geometry: str = "sphere", wraps: bool = False, spacing: float = 2.0, **kwargs) -> Lattice:
    """A lattice of daily fields (time, y, x) on a region of `spacing` degrees, or around the globe."""
    nt, ny, nx = values.shape[-3:]
    lat = 10 + spacing * np.arange(ny)
    lon = np.arange(nx) * (360 / nx if wraps else spacing)
    lat, lon = np.meshgrid(lat, lon, indexing="ij")
    if geometry == "plane":
        coordinates = ref.EARTH_RADIUS * np.radians(np.stack([lon, lat], axis=-1))
    else:
        coordinates = (ref.chord if geometry == "sphere" else ref.cylinder)(lat, lon)
    space = Space(coordinates, geometry, wraps=wraps)
    return Lattice(values, np.arange(nt, dtype=float), space, extra_shape=values.shape[:-3], **kwargs)
