"""The oracle itself, held against mathematics: hand values, limits, other routes to the same number."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests import reference as ref

R = ref.EARTH_RADIUS


def integrate(values, step):
    """Trapezoidal rule on an even grid."""
    return step * (values.sum(-1) - 0.5 * (values[..., 0] + values[..., -1]))


@pytest.fixture
def problem():
    """A small regression: covariance blocks, observations, unequal noise, a basis of constant and trend."""
    rng = np.random.default_rng(3)
    x, x_targets = np.sort(rng.uniform(0, 10, 12)), np.linspace(-2, 13, 7)

    def k(a, b):
        return 1.7 * ref.matern(ref.distance(a, b), 2.5, 1.5)

    return {
        "k": k,
        "x": x,
        "x_targets": x_targets,
        "ff": k(x, x),
        "fs": k(x, x_targets),
        "ss": k(x_targets, x_targets),
        "y": np.sin(x) + 3 + 0.1 * rng.normal(size=12),
        "noise": rng.uniform(0.05, 0.4, 12),
        "H": np.stack([np.ones(12), x], axis=1),
        "h": np.stack([np.ones(7), x_targets], axis=1),
    }


# Geometry


@pytest.mark.parametrize("angle", [1e-6, 0.25, 30.0, 90.0, 180.0])
def test_chord_of_a_great_circle_arc_is_twice_the_radius_times_sine_of_half_the_angle(angle):
    along_equator = ref.distance(ref.chord([0.0], [170.0]), ref.chord([0.0], [170.0 + angle]))
    along_meridian = ref.distance(ref.chord([-90.0], [12.0]), ref.chord([-90.0 + angle], [12.0]))
    expected = 2 * R * math.sin(math.radians(angle) / 2)
    assert_allclose(along_equator, expected, rtol=1e-7)
    assert_allclose(along_meridian, expected, rtol=1e-7)


def test_chord_agrees_with_the_haversine_formula_for_any_two_points():
    rng = np.random.default_rng(0)
    lat, lon = rng.uniform(-90, 90, 20), rng.uniform(-180, 360, 20)
    phi, lam = np.radians(lat), np.radians(lon)
    haversine = (
        np.sin((phi[:, None] - phi) / 2) ** 2
        + np.cos(phi[:, None]) * np.cos(phi) * np.sin((lam[:, None] - lam) / 2) ** 2
    )
    points = ref.chord(lat, lon)
    assert points.shape == (20, 3)
    assert_allclose(ref.distance(points, points), 2 * R * np.sqrt(haversine), atol=1e-8)


def test_the_sphere_has_no_seam_and_its_poles_are_single_points():
    assert_allclose(ref.chord([10.0], [-180.0]), ref.chord([10.0], [180.0]), atol=1e-9)
    assert_allclose(ref.chord([90.0], [0.0]), ref.chord([90.0], [123.0]), atol=1e-9)


def test_the_cylinder_wraps_in_longitude_and_is_linear_in_latitude():
    a = ref.cylinder([60.0, 60.0, 20.0], [0.0, 180.0, 0.0])
    assert_allclose(ref.distance(a, a)[0], [0, 2 * R, R * math.radians(40)], rtol=1e-12)
    assert_allclose(ref.cylinder([5.0], [359.0]), ref.cylinder([5.0], [-1.0]), atol=1e-9)


def test_distance_is_a_hypotenuse_in_the_plane_and_a_lag_in_time():
    assert_allclose(ref.distance([[0.0, 0.0]], [[3.0, 4.0], [0.0, 0.0]]), [[5, 0]])
    assert_allclose(ref.distance([1.0, 4.0], [3.0]), [[2], [1]])


# Correlation functions

CORRELATIONS = {
    "constant": ref.constant,
    "independent": ref.independent,
    "rbf": lambda d: ref.rbf(d, 1.3),
    "matern12": lambda d: ref.matern(d, 1.3, 0.5),
    "matern32": lambda d: ref.matern(d, 1.3, 1.5),
    "matern52": lambda d: ref.matern(d, 1.3, 2.5),
    "rational_quadratic": lambda d: ref.rational_quadratic(d, 1.3, 0.7),
    "periodic": lambda d: ref.periodic(d, 1.9, 0.8),
    "spectral": lambda d: ref.spectral(d, [2.0, 3.0], [0.1, 0.6], [0.05, 0.2]),
}


@pytest.mark.parametrize("correlation", CORRELATIONS.values(), ids=CORRELATIONS)
def test_every_correlation_is_one_at_zero_bounded_by_one_and_positive_semidefinite_on_the_line(correlation):
    x = np.random.default_rng(1).uniform(0, 10, 40)
    K = correlation(ref.distance(x, x))
    assert_allclose(np.diag(K), 1, rtol=1e-15)
    assert np.abs(K).max() <= 1 + 1e-15
    assert np.linalg.eigvalsh(K).min() > -1e-12


@pytest.mark.parametrize("name", ["rbf", "matern12", "matern32", "matern52", "rational_quadratic"])
def test_monotone_correlations_of_the_chord_are_positive_definite_on_the_sphere(name):
    rng = np.random.default_rng(2)
    points = ref.chord(np.degrees(np.arcsin(rng.uniform(-1, 1, 60))), rng.uniform(0, 360, 60)) / 2000
    assert np.linalg.eigvalsh(CORRELATIONS[name](ref.distance(points, points))).min() > 0


@pytest.mark.parametrize("nu", [0.5, 1.5, 2.5])
def test_matern_agrees_with_its_bessel_function_form(nu):
    d, lengthscale = np.array([0.3, 1.0, 2.0, 6.0]), 1.7
    x = math.sqrt(2 * nu) * d / lengthscale
    t = np.linspace(0, 12, 20001)
    bessel = integrate(np.exp(-x[:, None] * np.cosh(t)) * np.cosh(nu * t), t[1])  # DLMF 10.32.9
    expected = 2 ** (1 - nu) / math.gamma(nu) * x**nu * bessel  # RW eq. 4.14
    assert_allclose(ref.matern(d, lengthscale, nu), expected, rtol=1e-9)


def test_matern_one_half_leaves_zero_with_slope_minus_one_over_the_lengthscale():
    assert_allclose((ref.matern(1e-7, 4.0, 0.5) - 1) / 1e-7, -1 / 4, rtol=1e-6)


@pytest.mark.parametrize(("nu", "curvature"), [(1.5, -3.0), (2.5, -5 / 3)])
def test_smoother_materns_leave_zero_flat_with_curvature_minus_nu_over_nu_minus_one(nu, curvature):
    d, lengthscale = 1e-4, 4.0
    fall = ref.matern(d * lengthscale, lengthscale, nu) - 1
    assert_allclose(2 * fall / d**2, curvature, rtol=1e-3)


def test_matern_refuses_another_smoothness():
    with pytest.raises(KeyError, match=r"2\.0"):
        ref.matern(1.0, 1.0, 2.0)


def test_rbf_at_one_lengthscale_is_exp_minus_one_half():
    assert_allclose(ref.rbf([2.0, -2.0], 2.0), math.exp(-0.5))


def test_rational_quadratic_of_large_alpha_is_the_rbf_and_of_alpha_one_the_cauchy_form():
    d = np.linspace(0, 5, 9)
    assert_allclose(ref.rational_quadratic(d, 1.4, 1e8), ref.rbf(d, 1.4), atol=1e-7)
    assert_allclose(ref.rational_quadratic(d, 1.4, 1.0), 1 / (1 + d**2 / (2 * 1.4**2)))


def test_periodic_repeats_after_its_period_and_is_least_half_way():
    d = np.linspace(0, 3, 7)
    assert_allclose(ref.periodic(d + 365.25, 365.25, 0.9), ref.periodic(d, 365.25, 0.9), rtol=1e-9)
    assert_allclose(ref.periodic(365.25 / 2, 365.25, 0.9), math.exp(-2 / 0.81))


def test_spectral_is_the_fourier_transform_of_its_mixture_of_gaussians():
    d, f, b = np.array([0.0, 0.4, 1.1, 3.0]), 0.6, 0.2
    s = np.linspace(f - 10 * b, f + 10 * b, 4001)
    density = np.exp(-0.5 * ((s - f) / b) ** 2) / (b * math.sqrt(2 * math.pi))
    expected = integrate(density * np.cos(2 * np.pi * d[:, None] * s), s[1] - s[0])
    assert_allclose(ref.spectral(d, 1.0, f, b), expected, atol=1e-12)


def test_spectral_without_bandwidth_is_a_cosine_and_its_weights_are_relative():
    d = np.linspace(0, 4, 6).reshape(2, 3)
    assert_allclose(ref.spectral(d, 7.0, 0.25, 0.0), np.cos(np.pi * d / 2), atol=1e-15)
    mixture = [ref.spectral(d, w, [0.1, 0.6], [0.05, 0.2]) for w in ([1.0, 3.0], [0.25, 0.75])]
    assert_allclose(mixture[0], mixture[1])


def test_brownian_increments_are_independent_with_variance_their_share_of_the_extent():
    t = np.array([3.0, 4.0, 6.0, 10.0])
    K = ref.brownian(t, t, start=2.0, extent=8.0, offset=0.5)
    increments = np.diff(np.eye(4), axis=0)
    assert_allclose(increments @ K @ increments.T, np.diag(np.diff(t) / 8), atol=1e-15)
    assert_allclose(K[0], (0.5 + 1.0) / 8)
    assert ref.brownian(t, t[:3], 2.0, 8.0, 0.0).shape == (4, 3)


# The prior covariance


def test_covariance_of_a_separable_term_on_a_lattice_is_a_kronecker_product():
    time, space = np.arange(3.0), ref.chord([0.0, 10.0, 20.0, 20.0], [0.0, 5.0, -3.0, 9.0])

    def kt(a, b):
        return ref.matern(ref.distance(a, b), 2.0, 1.5)

    def ks(a, b):
        return ref.rbf(ref.distance(a, b), 900.0)

    terms = [
        {"variance": 2.0, "time": kt, "space": ks},
        {"variance": 3.0, "time": None, "space": ks},
        {"variance": 5.0, "time": kt, "space": None},
        {"variance": 7.0, "time": None, "space": None},
    ]
    t, s = np.repeat(time, 4), np.tile(space, (3, 1))
    T, S = kt(time, time), ks(space, space)
    expected = 2 * np.kron(T, S) + 3 * np.kron(np.ones((3, 3)), S) + 5 * np.kron(T, np.ones((4, 4))) + 7
    assert_allclose(ref.covariance(terms, t, s, t, s), expected)
    assert_allclose(ref.covariance(terms, t, s, t[:5], s[:5]), expected[:, :5])


def test_covariance_needs_only_the_coordinates_its_terms_use():
    terms = [{"variance": 2.0, "time": ref.distance, "space": None}]
    assert_allclose(ref.covariance(terms, np.array([1.0, 4.0]), None, np.array([3.0]), None), [[4.0], [2.0]])


# Exact inference


def test_one_observation_shrinks_the_mean_by_signal_over_signal_plus_noise():
    result = ref.posterior([[4.0]], [[4.0, 2.0, 0.0]], [4.0, 4.0, 4.0], [10.0], 1.0)
    assert_allclose(result.mean, [8.0, 4.0, 0.0])  # k (4 + 1)⁻¹ 10
    assert_allclose(result.variance, [4 - 16 / 5, 4 - 4 / 5, 4.0])
    assert result.covariance is None
    assert result.beta is None
    assert result.beta_covariance is None


def test_one_observation_under_a_flat_constant_mean_is_believed_and_its_noise_kept():
    result = ref.posterior([[4.0]], [[4.0, 0.0]], [4.0, 4.0], [10.0], 1.0, [[1.0]], [[1.0], [1.0]])
    assert_allclose(result.beta, [10.0])
    assert_allclose(result.beta_covariance, [[5.0]])
    assert_allclose(result.mean, [10.0, 10.0])
    assert_allclose(result.variance, [1.0, 4.0 + 5.0])  # at the datum: noise; far away: prior plus that of beta


def test_posterior_equals_conditioning_through_the_joint_precision_matrix(problem):
    p = problem
    joint = np.block([[ref.with_noise(p["ff"], p["noise"]), p["fs"]], [p["fs"].T, p["ss"]]])
    precision = np.linalg.inv(joint)
    covariance = np.linalg.inv(precision[12:, 12:])
    result = ref.posterior(p["ff"], p["fs"], p["ss"], p["y"], p["noise"], full=True)
    assert_allclose(result.covariance, covariance, atol=1e-10)
    assert_allclose(result.mean, -covariance @ precision[12:, :12] @ p["y"], atol=1e-10)
    assert_allclose(result.variance, np.diag(covariance), atol=1e-10)


def test_one_noise_for_all_equals_the_same_noise_repeated_and_a_diagonal_prior_suffices(problem):
    p = problem
    one = ref.posterior(p["ff"], p["fs"], p["ss"], p["y"], 0.2)
    many = ref.posterior(p["ff"], p["fs"], np.diag(p["ss"]), p["y"], np.full(12, 0.2))
    assert_allclose(one.mean, many.mean)
    assert_allclose(one.variance, many.variance)


def test_without_noise_the_posterior_passes_through_the_observations(problem):
    p = problem
    result = ref.posterior(p["ff"], p["ff"], p["ff"], p["y"], 0.0)
    assert_allclose(result.mean, p["y"], atol=1e-9)
    assert_allclose(result.variance, 0, atol=1e-9)


def test_conditioning_in_two_steps_equals_conditioning_at_once(problem):
    p, k = problem, problem["k"]
    both = np.concatenate([p["x"][7:], p["x_targets"]])
    first = ref.posterior(
        k(p["x"][:7], p["x"][:7]), k(p["x"][:7], both), k(both, both), p["y"][:7], p["noise"][:7], full=True
    )
    C = first.covariance
    second = ref.posterior(C[:5, :5], C[:5, 5:], C[5:, 5:], p["y"][7:] - first.mean[:5], p["noise"][7:])
    once = ref.posterior(p["ff"], p["fs"], p["ss"], p["y"], p["noise"])
    assert_allclose(first.mean[5:] + second.mean, once.mean, atol=1e-10)
    assert_allclose(second.variance, once.variance, atol=1e-10)


@pytest.mark.parametrize("B", [np.array([[4.0, 0.3], [0.3, 0.5]]), np.diag([4.0, 0.5])])
def test_a_basis_with_finite_prior_equals_folding_that_prior_into_the_covariance(problem, B):
    p, H, h = problem, problem["H"], problem["h"]
    apart = ref.posterior(p["ff"], p["fs"], p["ss"], p["y"], p["noise"], H, h, np.linalg.inv(B), full=True)
    folded = ref.posterior(
        p["ff"] + H @ B @ H.T, p["fs"] + H @ B @ h.T, p["ss"] + h @ B @ h.T, p["y"], p["noise"], full=True
    )
    assert_allclose(apart.mean, folded.mean, atol=1e-10)
    assert_allclose(apart.covariance, folded.covariance, atol=1e-10)
    assert_allclose(apart.variance, folded.variance, atol=1e-10)


def test_beta_is_the_posterior_of_the_coefficients_seen_as_targets_of_the_field(problem):
    p, H, B = problem, problem["H"], np.array([[4.0, 0.3], [0.3, 0.5]])
    apart = ref.posterior(p["ff"], p["fs"], p["ss"], p["y"], p["noise"], H, p["h"], np.linalg.inv(B))
    field = ref.posterior(p["ff"] + H @ B @ H.T, H @ B, B, p["y"], p["noise"], full=True)  # Cov(f, β) = HB
    assert_allclose(apart.beta, field.mean, atol=1e-10)
    assert_allclose(apart.beta_covariance, field.covariance, atol=1e-10)


@pytest.mark.parametrize(
    "precision", [0.25, [0.25, 0.25], [[0.25, 0.0], [0.0, 0.25]]], ids=["number", "diagonal", "matrix"]
)
def test_prior_precision_may_be_a_number_a_diagonal_or_a_matrix(problem, precision):
    p = problem
    result = ref.posterior(p["ff"], p["fs"], p["ss"], p["y"], p["noise"], p["H"], p["h"], precision)
    expected = ref.posterior(p["ff"], p["fs"], p["ss"], p["y"], p["noise"], p["H"], p["h"], 0.25 * np.eye(2))
    assert_allclose(result.mean, expected.mean)
    assert_allclose(result.beta_covariance, expected.beta_covariance)


def test_a_flat_prior_constant_mean_is_the_generalised_least_squares_estimate(problem):
    p, ones = problem, np.ones(12)
    result = ref.posterior(p["ff"], p["fs"], p["ss"], p["y"], p["noise"], np.ones((12, 1)), np.ones((7, 1)))
    A_inverse = np.linalg.inv(p["ff"] + np.diag(p["noise"]))
    weights = ones @ A_inverse / (ones @ A_inverse @ ones)
    assert_allclose(result.beta, [weights @ p["y"]])
    assert_allclose(result.beta_covariance, [[1 / (ones @ A_inverse @ ones)]])
    assert_allclose(ref.generalised_least_squares(p["ff"], p["y"], p["noise"], np.ones((12, 1))), result.beta)


def test_a_flat_prior_is_the_limit_of_a_wide_one(problem):
    p = problem
    flat = ref.posterior(p["ff"], p["fs"], p["ss"], p["y"], p["noise"], p["H"], p["h"])
    wide = ref.posterior(p["ff"], p["fs"], p["ss"], p["y"], p["noise"], p["H"], p["h"], 1e-9)
    assert_allclose(flat.mean, wide.mean, rtol=1e-6)
    assert_allclose(flat.variance, wide.variance, rtol=1e-6)


def test_a_flat_prior_is_universal_kriging(problem):
    p, H, h = problem, problem["H"], problem["h"]
    system = np.block([[ref.with_noise(p["ff"], p["noise"]), H], [H.T, np.zeros((2, 2))]])
    right = np.vstack([p["fs"], h.T])
    solution = np.linalg.solve(system, right)  # weights and Lagrange multipliers of the unbiased predictor
    flat = ref.posterior(p["ff"], p["fs"], p["ss"], p["y"], p["noise"], H, h)
    assert_allclose(flat.mean, solution[:12].T @ p["y"], atol=1e-10)
    assert_allclose(flat.variance, np.diag(p["ss"]) - (solution * right).sum(0), atol=1e-10)


def test_a_flat_prior_trend_moves_with_the_data(problem):
    p = problem
    moved = p["y"] + p["H"] @ [100.0, -7.0]
    before = ref.posterior(p["ff"], p["fs"], p["ss"], p["y"], p["noise"], p["H"], p["h"])
    after = ref.posterior(p["ff"], p["fs"], p["ss"], moved, p["noise"], p["H"], p["h"])
    assert_allclose(after.mean - before.mean, p["h"] @ [100.0, -7.0], atol=1e-9)
    assert_allclose(after.variance, before.variance)


def test_with_a_negligible_covariance_the_basis_alone_is_weighted_least_squares(problem):
    p, W = problem, np.diag(1 / problem["noise"])
    result = ref.posterior(np.zeros((12, 12)), np.zeros((12, 7)), np.zeros(7), p["y"], p["noise"], p["H"], p["h"])
    normal = p["H"].T @ W @ p["H"]
    assert_allclose(result.beta, np.linalg.solve(normal, p["H"].T @ W @ p["y"]))
    assert_allclose(result.beta_covariance, np.linalg.inv(normal))
    assert_allclose(result.variance, np.diag(p["h"] @ np.linalg.inv(normal) @ p["h"].T))


# Likelihoods


def test_log_likelihood_of_one_observation_is_the_normal_density():
    expected = -0.5 * 9 / 5 - 0.5 * math.log(2 * math.pi * 5)
    assert_allclose(ref.log_marginal_likelihood([[4.0]], [3.0], 1.0), expected)


def test_log_likelihood_of_two_observations_by_hand():
    expected = -0.5 * (2 * 1 - 2 * 1 * 1 * 2 + 2 * 4) / 3 - 0.5 * math.log(3) - math.log(2 * math.pi)
    assert_allclose(ref.log_marginal_likelihood([[1.0, 1.0], [1.0, 1.0]], [1.0, 2.0], 1.0), expected)


def test_log_likelihood_is_the_sum_of_one_step_ahead_predictive_densities(problem):
    p, total = problem, 0.0
    for i in range(12):
        step = ref.posterior(p["ff"][:i, :i], p["ff"][:i, i:][:, :1], [p["ff"][i, i]], p["y"][:i], p["noise"][:i])
        variance = step.variance[0] + p["noise"][i]
        total += -0.5 * (p["y"][i] - step.mean[0]) ** 2 / variance - 0.5 * math.log(2 * math.pi * variance)
    assert_allclose(ref.log_marginal_likelihood(p["ff"], p["y"], p["noise"]), total)


def test_profiled_log_likelihood_is_the_largest_over_constant_means(problem):
    p = problem
    profiled = ref.profiled_log_marginal_likelihood(p["ff"], p["y"], p["noise"])
    means = np.linspace(0, 6, 601)
    grid = [ref.log_marginal_likelihood(p["ff"], p["y"] - m, p["noise"]) for m in means]
    assert profiled >= max(grid)
    assert_allclose(profiled, max(grid), atol=1e-4)


def test_profiled_log_likelihood_takes_any_basis_and_ignores_what_it_spans(problem):
    p = problem
    values = [
        ref.profiled_log_marginal_likelihood(p["ff"], y, p["noise"], p["H"])
        for y in (p["y"], p["y"] + p["H"] @ [5.0, -2.0])
    ]
    assert_allclose(values[0], values[1])
    assert values[0] >= ref.profiled_log_marginal_likelihood(p["ff"], p["y"], p["noise"])


# Inducing points


def test_sparse_posterior_with_every_observation_inducing_is_the_exact_posterior(problem):
    p = problem
    sparse = ref.sparse_posterior(p["ff"], p["ff"], p["fs"], np.diag(p["ss"]), p["y"], p["noise"])
    exact = ref.posterior(p["ff"], p["fs"], p["ss"], p["y"], p["noise"])
    assert_allclose(sparse.mean, exact.mean, atol=1e-10)
    assert_allclose(sparse.variance, exact.variance, atol=1e-10)


def test_sparse_posterior_is_that_of_the_projected_prior_plus_the_variance_it_lost(problem):
    p, k, u = problem, problem["k"], np.linspace(0, 10, 4)
    k_uu, k_uf, k_us = k(u, u), k(u, p["x"]), k(u, p["x_targets"])
    project = np.linalg.inv(k_uu)
    q_ss = k_us.T @ project @ k_us
    projected = ref.posterior(k_uf.T @ project @ k_uf, k_uf.T @ project @ k_us, q_ss, p["y"], p["noise"])
    sparse = ref.sparse_posterior(k_uu, k_uf, k_us, np.diag(p["ss"]), p["y"], p["noise"])
    assert_allclose(sparse.mean, projected.mean, atol=1e-10)
    assert_allclose(sparse.variance, projected.variance + np.diag(p["ss"]) - np.diag(q_ss), atol=1e-10)


def test_one_inducing_point_by_hand():
    # k_uu = 4, k_uf = 2, so q_ff = 1; noise 1: C = 2, V = 1, and the prior at the datum is 4.
    at_u = ref.sparse_posterior([[4.0]], [[2.0]], [[4.0]], [4.0], [3.0], 1.0)
    assert_allclose([at_u.mean[0], at_u.variance[0]], [2 * 3 / 2, 4 / 2])
    bound = -0.5 * 9 / 2 - 0.5 * math.log(2 * math.pi * 2) - 0.5 * (4 - 1) / 1
    assert_allclose(ref.collapsed_bound([[4.0]], [[2.0]], [4.0], [3.0], 1.0), bound)


def test_collapsed_bound_rises_with_nested_inducing_points_to_the_log_likelihood(problem):
    p = problem
    bounds = [
        ref.collapsed_bound(p["ff"][:m, :m], p["ff"][:m], np.diag(p["ff"]), p["y"], p["noise"]) for m in range(1, 13)
    ]
    assert np.all(np.diff(bounds) > -1e-9)
    assert_allclose(bounds[-1], ref.log_marginal_likelihood(p["ff"], p["y"], p["noise"]))
    assert bounds[3] < bounds[-1]


def test_collapsed_bound_is_the_evidence_bound_at_the_optimum_over_one_inducing_variable(problem):
    p = problem
    k_uu, k_uf = p["ff"][5:6, 5:6], p["ff"][5:6]
    best = ref.sparse_posterior(k_uu, k_uf, k_uu, np.diag(k_uu), p["y"], p["noise"])

    def evidence_bound(m, s):  # E_q[log p(y|f)] - KL(q(u) | p(u)) with q(u) = N(m, s), Titsias 2009 eq. 8
        a, v = k_uf[0] / k_uu[0, 0], k_uu[0, 0]
        spread = np.diag(p["ff"]) - a**2 * v + a**2 * s
        fit = -0.5 * (np.log(2 * np.pi * p["noise"]) + ((p["y"] - a * m) ** 2 + spread) / p["noise"]).sum()
        return fit - 0.5 * (s / v + m**2 / v - 1 + math.log(v / s))

    m, s = best.mean[0], best.variance[0]
    bound = ref.collapsed_bound(k_uu, k_uf, np.diag(p["ff"]), p["y"], p["noise"])
    assert_allclose(evidence_bound(m, s), bound)
    nearby = [
        evidence_bound(m + 0.01, s),
        evidence_bound(m - 0.01, s),
        evidence_bound(m, 1.1 * s),
        evidence_bound(m, 0.9 * s),
    ]
    assert max(nearby) < bound


# Scores


def test_crps_at_the_mean_is_root_two_minus_one_over_root_pi():
    assert_allclose(ref.crps_gaussian(2.0, 1.0, 2.0), (math.sqrt(2) - 1) / math.sqrt(math.pi))
    assert_allclose(ref.crps_gaussian(2.0, 1.0, 2.0), 0.2336949772551, rtol=1e-12)


@pytest.mark.parametrize(("mean", "sd", "truth"), [(0.0, 1.0, 0.5), (3.0, 0.2, 2.1), (-1.0, 4.0, 9.0)])
def test_crps_is_the_integrated_squared_difference_of_distribution_functions(mean, sd, truth):
    x = np.linspace(mean - 12 * sd, mean + 12 * sd, 48001)
    below, above = x[x < truth], x[x >= truth]
    middle = np.array([truth])
    total = 0.0
    for points, indicator in ((np.r_[below, middle], 0.0), (np.r_[middle, above], 1.0)):
        squared = (ref.normal_cdf((points - mean) / sd) - indicator) ** 2
        total += (0.5 * (squared[1:] + squared[:-1]) * np.diff(points)).sum()
    assert_allclose(ref.crps_gaussian(mean, sd, truth), total, rtol=1e-6)


def test_crps_of_a_very_sharp_forecast_is_its_absolute_error():
    assert_allclose(ref.crps_gaussian([1.0, 5.0], 1e-9, [4.0, 3.0]), [3, 2])


@pytest.mark.parametrize(
    ("p", "z"),
    [(0.5, 0.0), (0.975, 1.959963984540054), (0.95, 1.6448536269514722), (0.001, -3.090232306167813)],
)
def test_normal_quantiles_are_the_tabulated_ones(p, z):
    assert_allclose(ref.normal_quantile(p), z, atol=1e-12)


def test_coverage_counts_truths_inside_the_central_interval():
    truth = np.array([0.0, 1.9, -1.9, 2.0, -2.0])
    assert ref.coverage(0.0, 1.0, truth, 0.95) == pytest.approx(3 / 5)
    assert ref.coverage(0.0, 2.0, truth, 0.95) == 1
    assert ref.coverage(0.0, 1.0, truth, 0.5) == pytest.approx(1 / 5)


def test_coverage_of_normal_draws_is_near_its_level():
    truth = np.random.default_rng(4).normal(3.0, 2.0, 20000)
    assert ref.coverage(3.0, 2.0, truth, 0.8) == pytest.approx(0.8, abs=0.01)
