"""The dense oracle: geometry, covariances, Gaussian process posteriors and scores in plain numpy.

It shares no code with xgpfill and imports none of it. It is written to be read against the papers, not to be
fast. Random data, strategies and helpers for tests do not live here.

Sources: Rasmussen & Williams 2006 ("RW", Gaussian Processes for Machine Learning), Wilson & Adams 2013 (spectral
mixtures), Titsias 2009 (inducing points), Gneiting & Raftery 2007 (scores).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Factor = Callable[[Any, Any], Array]

EARTH_RADIUS = 6371.0088  # km


# Geometry


def chord(lat: ArrayLike, lon: ArrayLike) -> Array:
    """Points (n, 3) in km on the sphere; Euclidean distance between them is the chord. Degrees come in."""
    phi, lam = np.radians(lat), np.radians(lon)
    return EARTH_RADIUS * np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)


def cylinder(lat: ArrayLike, lon: ArrayLike) -> Array:
    """Points (n, 3) in km, (R cos λ, R sin λ, R φ): a lat-lon sheet that wraps in longitude."""
    phi, lam = np.radians(lat), np.radians(lon)
    return EARTH_RADIUS * np.stack([np.cos(lam), np.sin(lam), phi], axis=-1)


def plane(lat: ArrayLike, lon: ArrayLike, middle: tuple[float, float]) -> Array:
    """Points (n, 2) in km on the plane that touches the parallel in the middle: R cos φ₀ (λ − λ₀), R (φ). Degrees."""
    phi, lam = np.radians(lat), np.radians(np.asarray(lon) - middle[1])
    return EARTH_RADIUS * np.stack([np.cos(np.radians(middle[0])) * lam, phi], axis=-1)


def anisotropic(places: ArrayLike, ratio: float) -> Array:
    """Points (n, 2) or (n, 3) in km with the columns that change to the east divided by the ratio of lengthscales.

    On a plane that is x; on a sphere or cylinder it is both columns beside the axis.
    """
    places = np.asarray(places, float)
    return places / np.where(np.arange(places.shape[1]) < places.shape[1] - 1, ratio, 1.0)


def by_latitude(lat: ArrayLike, to_pole: float, middle: float) -> Array:
    """Lengthscales (n,) at latitudes over those at the middle one: log-linear in |latitude|. Degrees come in."""
    return np.asarray(to_pole ** ((np.abs(lat) - middle) / 90.0), float)


def nonstationary(rho: Callable[[Array], Array], places: ArrayLike, scales: ArrayLike) -> Array:
    """Covariance (n, n) of Paciorek & Schervish (2006, eq. 8) for Σᵢ = sᵢ² I; `rho` is a function of scaled distance.

    |Σᵢ|^¼ |Σⱼ|^¼ |(Σᵢ + Σⱼ)/2|^(−½) ρ(√Qᵢⱼ), with the matrices and the quadratic form Qᵢⱼ written out.
    """
    places, scales = np.asarray(places, float), np.asarray(scales, float)
    n, p = places.shape
    found = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            first, second = scales[i] ** 2 * np.eye(p), scales[j] ** 2 * np.eye(p)
            middle = (first + second) / 2
            q = (places[i] - places[j]) @ np.linalg.solve(middle, places[i] - places[j])
            size = (np.linalg.det(first) * np.linalg.det(second)) ** 0.25 / np.linalg.det(middle) ** 0.5
            found[i, j] = size * float(rho(np.sqrt(q)))
    return found


def east_and_north(lat: ArrayLike, lon: ArrayLike) -> Array:
    """Unit vectors to the east and to the north at places on the sphere, (2, n, 3). Degrees come in."""
    phi, lam = np.radians(lat), np.radians(lon)
    east = np.stack([-np.sin(lam), np.cos(lam), 0 * lam + 0 * phi], axis=-1)
    north = np.stack([-np.sin(phi) * np.cos(lam), -np.sin(phi) * np.sin(lam), np.cos(phi) + 0 * lam], axis=-1)
    return np.stack([east, north])


def projected(correlation: ArrayLike, lat: ArrayLike, lon: ArrayLike) -> Array:
    """Covariance (2n, 2n) of the east and then the north components at n places.

    Of a Cartesian field F of three independent parts with this correlation (n, n): u = e·F and v = n·F, so that
    cov(u, u') = k e·e', cov(u, v') = k e·n', cov(v, v') = k n·n'.
    """
    units = np.concatenate(list(east_and_north(lat, lon)))
    return np.tile(np.asarray(correlation), (2, 2)) * (units @ units.T)


def distance(a: ArrayLike, b: ArrayLike) -> Array:
    """Euclidean distance (n, m) of points (n, k) and (m, k), or |a - b| of times (n,) and (m,).

    By direct differences: the shortcut |a|² + |b|² - 2a·b loses digits for close points.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.ndim == 1:
        a, b = a[:, None], b[:, None]
    squared = np.zeros((len(a), len(b)))
    for k in range(a.shape[1]):
        squared += (a[:, None, k] - b[None, :, k]) ** 2
    return np.sqrt(squared)


# Correlation functions of a distance or lag, one at zero


def constant(d: ArrayLike) -> Array:
    """One everywhere."""
    return np.ones_like(np.asarray(d, float))


def independent(d: ArrayLike) -> Array:
    """One at distance zero, else zero: each coordinate on its own (a kernel `None` in DESIGN §2)."""
    return (np.asarray(d) == 0).astype(float)


def rbf(d: ArrayLike, lengthscale: float) -> Array:
    """exp(-d²/2ℓ²), RW eq. 4.9."""
    return np.exp(-0.5 * (np.asarray(d, float) / lengthscale) ** 2)


def matern(d: ArrayLike, lengthscale: float, nu: float) -> Array:
    """Matérn of smoothness 0.5, 1.5 or 2.5 in x = sqrt(2ν)|d|/ℓ, RW eqs. 4.14, 4.16, 4.17."""
    x = math.sqrt(2 * nu) * np.abs(d) / lengthscale
    polynomial = {0.5: 1.0, 1.5: 1 + x, 2.5: 1 + x + x**2 / 3}[nu]
    return polynomial * np.exp(-x)


def rational_quadratic(d: ArrayLike, lengthscale: float, alpha: float) -> Array:
    """(1 + d²/2αℓ²)^-α, RW eq. 4.19."""
    return (1 + (np.asarray(d, float) / lengthscale) ** 2 / (2 * alpha)) ** -alpha


def periodic(d: ArrayLike, period: float, lengthscale: float) -> Array:
    """exp(-2 sin²(πd/p)/ℓ²), RW eq. 4.31; ℓ has no unit. Of a lag, never of a chord (not positive definite)."""
    return np.exp(-2 * (np.sin(np.pi * np.asarray(d, float) / period) / lengthscale) ** 2)


def spectral(d: ArrayLike, weights: ArrayLike, frequencies: ArrayLike, bandwidths: ArrayLike) -> Array:
    """Spectral mixture Σ w exp(-2π²d²b²) cos(2πdf), Wilson & Adams 2013 eq. 12 with one input dimension.

    Weights are normalised to sum one; frequencies and bandwidths are in cycles per unit of d.
    """
    d = np.asarray(d, float)[..., None]
    w, f, b = (np.atleast_1d(np.asarray(v, float)) for v in (weights, frequencies, bandwidths))
    return (w / w.sum() * np.exp(-2 * (np.pi * d * b) ** 2) * np.cos(2 * np.pi * d * f)).sum(-1)


def brownian(t1: ArrayLike, t2: ArrayLike, start: float, extent: float, offset: float) -> Array:
    """(c + min(t - t0, t' - t0))/T for times (n,) and (m,): a Wiener process with a random start, DESIGN §2.

    A function of both times, not of their lag; not one at zero lag.
    """
    return (offset + np.minimum.outer(np.asarray(t1, float) - start, np.asarray(t2, float) - start)) / extent


# The prior covariance


class Term(TypedDict):
    """One separable term; a factor `None` is the constant one."""

    variance: float
    time: Factor | None
    space: Factor | None


def covariance(
    terms: Sequence[Term],
    time_a: Any,
    space_a: Any,
    time_b: Any,
    space_b: Any,
) -> Array:
    """Σ v · k_time(t, t') · k_space(s, s') between points a (n) and b (m), DESIGN §2.

    Row i of `time_a` and of `space_a` is one point; a coordinate that no term uses may be None.
    """
    n, m = (len(time if space is None else space) for time, space in ((time_a, space_a), (time_b, space_b)))
    total = np.zeros((n, m))
    for term in terms:
        product = np.full((n, m), float(term["variance"]))
        if term["time"] is not None:
            product = product * term["time"](time_a, time_b)
        if term["space"] is not None:
            product = product * term["space"](space_a, space_b)
        total += product
    return total


# Exact inference


@dataclass(frozen=True)
class Posterior:
    """The law of f given y. `covariance` is None unless it was asked for, beta is None without a basis."""

    mean: Array
    variance: Array
    covariance: Array | None = None
    beta: Array | None = None
    beta_covariance: Array | None = None


def with_noise(K: ArrayLike, noise: ArrayLike) -> Array:
    """K + Σ, where noise is one variance or one per observation."""
    K = np.asarray(K, float)
    return K + np.diag(np.broadcast_to(np.asarray(noise, float), len(K)))


def posterior(
    cov_ff: ArrayLike,
    cov_fs: ArrayLike,
    cov_ss: ArrayLike,
    y: ArrayLike,
    noise: ArrayLike,
    basis: ArrayLike | None = None,
    basis_targets: ArrayLike | None = None,
    prior_precision: ArrayLike | None = None,
    *,
    full: bool = False,
) -> Posterior:
    """Posterior of the latent field at the targets, RW eqs. 2.25, 2.26 and, with a basis, 2.41 and 2.42.

    Parameters
    ----------
    cov_ff, cov_fs, cov_ss
        Prior covariance without noise: (n, n), (n, m), and (m, m) or, when not `full`, its diagonal (m,).
    y, noise
        Observations (n,); noise variance, one or one per observation.
    basis, basis_targets
        H (n, p) and the rows h(x) (m, p) at the targets.
    prior_precision
        B⁻¹ of the zero-mean prior of β: a number, a diagonal (p,) or (p, p). None is a flat prior.
    """
    k, y, prior = np.asarray(cov_fs, float), np.asarray(y, float), np.asarray(cov_ss, float)
    L = np.linalg.cholesky(with_noise(cov_ff, noise))  # A = K + Σ = L Lᵀ
    V = np.linalg.solve(L, k)  # kᵀA⁻¹k = VᵀV
    residual, mean, gain, P_inverse, beta = y, np.zeros(k.shape[1]), None, None, None
    if basis is not None:
        H, h = np.asarray(basis, float), np.asarray(basis_targets, float)
        W = np.linalg.solve(L, H)  # HᵀA⁻¹H = WᵀW
        P = W.T @ W + precision_matrix(prior_precision, H.shape[1])
        beta = np.linalg.solve(P, W.T @ np.linalg.solve(L, y))  # β̂ = P⁻¹HᵀA⁻¹y
        P_inverse = np.linalg.inv(P)
        r = h.T - W.T @ V  # r(x) = h(x) - HᵀA⁻¹k(x)
        gain = np.linalg.solve(np.linalg.cholesky(P), r)  # rᵀP⁻¹r
        residual, mean = y - H @ beta, h @ beta
    mean = mean + V.T @ np.linalg.solve(L, residual)
    covariance = prior - V.T @ V if full else None
    variance = (np.diag(prior) if prior.ndim == 2 else prior) - (V**2).sum(0)
    if gain is not None:
        covariance = covariance + gain.T @ gain if full else None
        variance = variance + (gain**2).sum(0)
    return Posterior(mean, variance, covariance, beta, P_inverse)


def precision_matrix(prior_precision: ArrayLike | None, p: int) -> Array:
    """B⁻¹ (p, p) from None (flat), a number, a diagonal or the matrix itself."""
    B_inverse = np.asarray(0.0 if prior_precision is None else prior_precision, float)
    return B_inverse if B_inverse.ndim == 2 else np.diag(np.broadcast_to(B_inverse, p))


def log_marginal_likelihood(K: ArrayLike, y: ArrayLike, noise: ArrayLike) -> float:
    """Log N(y; 0, K + Σ), RW eq. 2.30."""
    L = np.linalg.cholesky(with_noise(K, noise))
    z = np.linalg.solve(L, np.asarray(y, float))
    return float(-0.5 * z @ z - np.log(np.diag(L)).sum() - 0.5 * len(L) * math.log(2 * math.pi))


def profiled_log_marginal_likelihood(
    K: ArrayLike, y: ArrayLike, noise: ArrayLike, basis: ArrayLike | None = None
) -> float:
    """Maximum over β of log N(y; Hβ, K + Σ), reached by generalised least squares.

    H is a column of ones (a constant mean) by default. This is the maximum over β, not the integral over a flat
    prior of RW eq. 2.45.
    """
    y = np.asarray(y, float)
    H = np.ones((len(y), 1)) if basis is None else np.asarray(basis, float)
    return log_marginal_likelihood(K, y - H @ generalised_least_squares(K, y, noise, H), noise)


def generalised_least_squares(K: ArrayLike, y: ArrayLike, noise: ArrayLike, basis: ArrayLike) -> Array:
    """β̂ = (HᵀA⁻¹H)⁻¹HᵀA⁻¹y with A = K + Σ, the normal equations as they stand (Aitken 1936)."""
    H = np.asarray(basis, float)
    weighted = np.linalg.solve(with_noise(K, noise), H)  # A⁻¹H
    return np.linalg.solve(H.T @ weighted, weighted.T @ np.asarray(y, float))


# Inducing points


def sparse_posterior(
    k_uu: ArrayLike,
    k_uf: ArrayLike,
    k_us: ArrayLike,
    k_ss_diag: ArrayLike,
    y: ArrayLike,
    noise: ArrayLike,
) -> Posterior:
    """Posterior moments under the optimal q(u), zero prior mean, Titsias 2009 eq. 10 put into eq. 6.

    With k_uu = L Lᵀ, V = L⁻¹k_uf, V* = L⁻¹k_us and C = I + V Σ⁻¹ Vᵀ:
    mean = V*ᵀC⁻¹VΣ⁻¹y, variance = k** - V*ᵀV* + V*ᵀC⁻¹V*.
    Targets that are the inducing points (k_us = k_uu) give the moments of q(u) itself. No jitter is added.
    """
    y, k_uf = np.asarray(y, float), np.asarray(k_uf, float)
    noise = np.broadcast_to(np.asarray(noise, float), y.shape)
    L = np.linalg.cholesky(np.asarray(k_uu, float))
    V, V_targets = np.linalg.solve(L, k_uf), np.linalg.solve(L, np.asarray(k_us, float))
    C = np.eye(len(L)) + (V / noise) @ V.T
    mean = V_targets.T @ np.linalg.solve(C, V @ (y / noise))
    variance = np.asarray(k_ss_diag, float) - (V_targets**2).sum(0)
    variance = variance + (V_targets * np.linalg.solve(C, V_targets)).sum(0)
    return Posterior(mean, variance)


def collapsed_bound(k_uu: ArrayLike, k_uf: ArrayLike, k_ff_diag: ArrayLike, y: ArrayLike, noise: ArrayLike) -> float:
    """Log N(y; 0, Q + Σ) - ½ Σᵢ (k_ii - q_ii)/σ²_i with Q = k_fu k_uu⁻¹ k_uf, Titsias 2009 eq. 9."""
    V = np.linalg.solve(np.linalg.cholesky(np.asarray(k_uu, float)), np.asarray(k_uf, float))
    lost = (np.asarray(k_ff_diag, float) - (V**2).sum(0)) / np.asarray(noise, float)
    return log_marginal_likelihood(V.T @ V, y, noise) - 0.5 * float(lost.sum())


# Scores


def normal_cdf(z: ArrayLike) -> Array:
    """Φ(z) = (1 + erf(z/√2))/2."""
    return 0.5 * (1 + np.vectorize(math.erf, otypes=[float])(np.asarray(z, float) / math.sqrt(2)))


def normal_quantile(p: float) -> float:
    """The z with Φ(z) = p for 0 < p < 1, by bisection."""
    low, high = -10.0, 10.0
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if normal_cdf(middle) < p else (low, middle)
    return 0.5 * (low + high)


def crps_gaussian(mean: ArrayLike, sd: ArrayLike, truth: ArrayLike) -> Array:
    """σ (z(2Φ(z) - 1) + 2φ(z) - 1/√π), z = (truth - mean)/σ, for each value; lower is better.

    Gneiting & Raftery 2007 eq. 21 with the opposite sign (theirs is a reward).
    """
    sd = np.asarray(sd, float)
    z = (np.asarray(truth, float) - np.asarray(mean, float)) / sd
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    return sd * (z * (2 * normal_cdf(z) - 1) + 2 * density - 1 / math.sqrt(math.pi))


def coverage(mean: ArrayLike, sd: ArrayLike, truth: ArrayLike, level: float) -> float:
    """Share of truths inside the central interval mean ± z·sd of probability `level`, ends included."""
    half_width = normal_quantile(0.5 + 0.5 * level) * np.asarray(sd, float)
    return float(np.mean(np.abs(np.asarray(truth, float) - np.asarray(mean, float)) <= half_width))
