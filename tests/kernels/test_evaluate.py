"""Kernels evaluated: against the oracle, against GPyTorch's own, positive semi-definite, right gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from gpytorch.kernels import (
    ConstantKernel,
    MaternKernel,
    PeriodicKernel,
    RBFKernel,
    RQKernel,
    SpectralMixtureKernel,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from xgpfill.covariance.build import PriorKernel
from xgpfill.covariance.evaluate import Lags, correlation
from xgpfill.covariance.matrices import Covariance
from xgpfill.errors import KernelError
from xgpfill.kernels import spec
from xgpfill.kernels.parts import has_type, is_directional, replaced, walk

from tests.problems import GEOMETRIES, SPACE_KERNELS, TIME_KERNELS, anova, oracle, places, product, scattered

if TYPE_CHECKING:
    import gpytorch

DAYS = np.array([0.0, 0.0, 0.4, 1.0, 3.5, 7.25, 11.0])

SPACE_CASES = [
    pytest.param(kernel, geometry, id=f"{name} on {geometry}")
    for name, kernel in SPACE_KERNELS.items()
    for geometry in GEOMETRIES
    if not (is_directional(kernel) and geometry == "sphere")
]


def evaluated(kernel, a, b, geometry):
    first, second = (torch.as_tensor(np.atleast_2d(x.T).T) for x in (a, b))
    return correlation(kernel, Lags.matrix(first, second, geometry)).numpy()


# Values


@pytest.mark.parametrize("kernel", TIME_KERNELS.values(), ids=TIME_KERNELS)
def test_a_kernel_of_time_equals_the_oracle(kernel):
    assert_allclose(evaluated(kernel, DAYS, DAYS[2:], "time"), oracle(kernel, DAYS, DAYS[2:]), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("kernel", "geometry"), SPACE_CASES)
def test_a_kernel_of_space_equals_the_oracle_on_every_geometry_where_it_is_valid(kernel, geometry):
    rng = np.random.default_rng(1)
    a, b = places(rng, 9, geometry), places(rng, 7, geometry)
    b[:3] = a[4:7]
    assert_allclose(evaluated(kernel, a, b, geometry), oracle(kernel, a, b, geometry), rtol=1e-11, atol=1e-13)


def gpytorch_kernel(kernel: spec.Kernel, directions: int) -> gpytorch.kernels.Kernel:
    """The same covariance as GPyTorch writes it; its periodic lengthscale is the square of ours."""
    match kernel:
        case spec.Matern():
            other, numbers = MaternKernel(nu=kernel.nu), {"lengthscale": kernel.lengthscale}
        case spec.RBF():
            other, numbers = RBFKernel(), {"lengthscale": kernel.lengthscale}
        case spec.RationalQuadratic():
            other, numbers = RQKernel(), {"lengthscale": kernel.lengthscale, "alpha": kernel.alpha}
        case spec.Periodic():
            other, numbers = PeriodicKernel(), {"period_length": kernel.period, "lengthscale": kernel.lengthscale**2}
        case spec.Spectral():
            q = kernel.num_components
            other = SpectralMixtureKernel(num_mixtures=q, ard_num_dims=directions)
            means, scales, weights = (
                torch.tensor(v, dtype=torch.float64) for v in (kernel.frequencies, kernel.bandwidths, kernel.weights)
            )
            numbers = {"mixture_weights": weights / weights.sum()}
            numbers["mixture_means"] = means.reshape(q, 1, 1).expand(q, 1, directions)
            numbers["mixture_scales"] = scales.reshape(q, 1, 1).expand(q, 1, directions)
        case spec.Constant():
            other, numbers = ConstantKernel(), {"constant": torch.ones(1, dtype=torch.float64)}
    other = other.double()
    for name, value in numbers.items():
        setattr(other, name, value)
    return other


SIMPLE = ["matern12", "matern32", "matern52", "rbf", "rational_quadratic", "periodic", "spectral", "constant"]


@pytest.mark.parametrize("name", SIMPLE)
def test_a_kernel_of_time_equals_that_of_gpytorch(name):
    x = torch.as_tensor(DAYS)[:, None]
    expected = gpytorch_kernel(TIME_KERNELS[name], 1)(x, x).to_dense().detach()
    # GPyTorch takes distances by |a|² + |b|² − 2ab
    assert_allclose(evaluated(TIME_KERNELS[name], DAYS, DAYS, "time"), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", SIMPLE)
def test_a_kernel_of_space_equals_that_of_gpytorch_on_embedded_km(name):
    kernel = SPACE_KERNELS[name]
    if name == "spectral":  # of several components ours is a product of mixtures, GPyTorch's a mixture of products
        kernel = spec.Spectral(1, (1.0,), (1 / 2000,), (1 / 9000,))
    geometry = "plane" if is_directional(kernel) else "sphere"
    x = places(np.random.default_rng(2), 9, geometry)
    expected = gpytorch_kernel(kernel, x.shape[1])(torch.as_tensor(x), torch.as_tensor(x)).to_dense().detach()
    assert_allclose(evaluated(kernel, x, x, geometry), expected, rtol=1e-5, atol=1e-6)


def test_sums_and_products_equal_those_of_gpytorch():
    parts = gpytorch_kernel(TIME_KERNELS["rbf"], 1), gpytorch_kernel(TIME_KERNELS["matern12"], 1)
    x = torch.as_tensor(DAYS)[:, None]
    together = (parts[0] + parts[1])(x, x).to_dense().detach(), (parts[0] * parts[1])(x, x).to_dense().detach()
    ours = TIME_KERNELS["rbf"], TIME_KERNELS["matern12"]
    assert_allclose(evaluated(ours[0] + ours[1], DAYS, DAYS, "time"), together[0] / 2, rtol=1e-6, atol=1e-7)
    assert_allclose(evaluated(ours[0] * ours[1], DAYS, DAYS, "time"), together[1], rtol=1e-6, atol=1e-7)


def test_pairs_are_the_diagonal_of_the_matrix():
    x, y = torch.as_tensor(DAYS)[:, None], torch.as_tensor(DAYS[::-1].copy())[:, None]
    for kernel in TIME_KERNELS.values():
        pairs = correlation(kernel, Lags(x, y, "time"))
        assert_allclose(pairs, correlation(kernel, Lags.matrix(x, y, "time")).diagonal(), rtol=1e-13)


def test_every_kernel_but_brownian_is_one_at_zero_lag():
    rng = np.random.default_rng(3)
    for kernel in TIME_KERNELS.values():
        if not isinstance(kernel, spec.Brownian):
            assert_allclose(np.diag(evaluated(kernel, DAYS, DAYS, "time")), 1.0, rtol=1e-13)
    for kernel in SPACE_KERNELS.values():
        x = places(rng, 5, "plane")
        assert_allclose(np.diag(evaluated(kernel, x, x, "plane")), 1.0, rtol=1e-13)


def test_the_sphere_and_the_cylinder_have_no_seam_at_the_date_line():
    west, east = (np.array([[np.cos(a), np.sin(a), 0.3]]) * 6371.0088 for a in np.radians([-179.5, 179.5]))
    near, far = (np.array([[np.cos(a), np.sin(a), 0.3]]) * 6371.0088 for a in np.radians([10.0, 11.0]))
    for name in ("matern32", "periodic", "spectral"):
        kernel = SPACE_KERNELS[name]
        across, inside = evaluated(kernel, west, east, "cylinder"), evaluated(kernel, near, far, "cylinder")
        assert_allclose(across, inside, rtol=1e-9)


# Errors


@pytest.mark.parametrize("kernel", [SPACE_KERNELS["periodic"], SPACE_KERNELS["spectral"], SPACE_KERNELS["a product"]])
def test_periodic_and_spectral_of_space_are_refused_on_the_sphere(kernel):
    x = places(np.random.default_rng(0), 3, "sphere")
    with pytest.raises(KernelError, match=r"not valid on the sphere.*geometry='plane'"):
        evaluated(kernel, x, x, "sphere")


def test_brownian_without_a_start_says_where_it_comes_from():
    with pytest.raises(KernelError, match="brownian kernel has no start; it gets one from the data"):
        evaluated(spec.Brownian(1.0), DAYS, DAYS, "time")


def test_a_kernel_of_another_kind_has_no_evaluator():
    with pytest.raises(KernelError, match="No evaluator for kernel"):
        evaluated(spec.Kernel(), DAYS, DAYS, "time")


# Positive semi-definite

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.floats(0.02, 50.0)


@pytest.mark.parametrize("name", TIME_KERNELS)
@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, size=SIZES)
def test_a_kernel_of_time_is_positive_semidefinite_at_any_times(name, seed, size):
    days = size * np.random.default_rng(seed).uniform(0, 20, 25)
    K = evaluated(TIME_KERNELS[name], days, days, "time")
    assert np.linalg.eigvalsh(K).min() > -1e-10 * np.trace(K)


@pytest.mark.parametrize(("kernel", "geometry"), SPACE_CASES)
@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, size=SIZES)
def test_a_kernel_of_space_is_positive_semidefinite_at_any_places(kernel, geometry, seed, size):
    x = places(np.random.default_rng(seed), 25, geometry)
    if geometry == "plane":
        x = x * size
    elif has_type(kernel, spec.Matern, spec.RBF, spec.RationalQuadratic) and not is_directional(kernel):
        around = np.random.default_rng(seed).uniform(-1, 1, (25, 3))  # all around the globe
        x = 6371.0088 * around / np.linalg.norm(around[:, : 3 if geometry == "sphere" else 2], axis=1, keepdims=True)
    K = evaluated(kernel, x, x, geometry)
    assert np.linalg.eigvalsh(K).min() > -1e-10 * np.trace(K)


# Gradients

LEARNABLE = {name: k for name, k in TIME_KERNELS.items() if name not in ("constant", "independent")}


def numbers_of(kernel):
    """Paths of a kernel's hyperparameters with their sizes, and all of them in one tensor."""
    paths, flat = {}, []
    for path, part in walk(kernel):
        for name in part.parameter_units():
            value = getattr(part, name)
            if value is not None:
                paths[path + name] = len(value) if isinstance(value, tuple) else None
                flat += list(value) if isinstance(value, tuple) else [value]
    return paths, torch.tensor(flat, dtype=torch.float64, requires_grad=True)


def at(kernel, paths, numbers):
    values, start = {}, 0
    for path, size in paths.items():
        values[path] = numbers[start] if size is None else tuple(numbers[start : start + size])
        start += size or 1
    return replaced(kernel, values)


@pytest.mark.parametrize("name", LEARNABLE)
def test_the_gradient_in_every_hyperparameter_equals_finite_differences(name):
    kernel = LEARNABLE[name]
    paths, numbers = numbers_of(kernel)
    x = torch.as_tensor(DAYS)[:, None]
    lags = Lags.matrix(x, x, "time")
    assert torch.autograd.gradcheck(lambda n: correlation(at(kernel, paths, n), lags), (numbers,))


@pytest.mark.parametrize("nu", [0.5, 1.5, 2.5])
def test_the_closed_form_of_matern_equals_automatic_differentiation(nu):
    x = torch.as_tensor(places(np.random.default_rng(4), 6, "sphere"))
    weights = torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def slope(distance_has_gradient):
        lengthscale = torch.tensor(700.0, dtype=torch.float64, requires_grad=True)
        places_ = x.clone().requires_grad_(distance_has_gradient)
        found = correlation(spec.Matern(nu, lengthscale), Lags.matrix(places_, places_, "sphere"))
        (found * weights).sum().backward()
        return float(lengthscale.grad)

    assert slope(distance_has_gradient=False) == pytest.approx(slope(distance_has_gradient=True), rel=1e-12)


@pytest.mark.parametrize("kernel", [k for n, k in SPACE_KERNELS.items() if n not in ("constant", "independent")])
def test_the_gradient_in_the_places_equals_finite_differences(kernel):
    a = torch.as_tensor(places(np.random.default_rng(5), 4, "plane") / 1000).requires_grad_()
    b = torch.as_tensor(places(np.random.default_rng(6), 3, "plane") / 1000)
    assert torch.autograd.gradcheck(lambda a: correlation(kernel, Lags.matrix(1000 * a, 1000 * b, "plane")), (a,))


@pytest.mark.parametrize("name", SPACE_KERNELS)
def test_the_gradient_in_the_places_is_finite_where_two_coincide(name):
    a = torch.as_tensor(places(np.random.default_rng(5), 4, "plane"))
    a[1] = a[0]
    a.requires_grad_()
    K = correlation(SPACE_KERNELS[name], Lags.matrix(a, a, "plane"))
    if K.requires_grad:
        K.sum().backward()
        assert torch.isfinite(a.grad).all()


@pytest.mark.parametrize("name", SPACE_KERNELS)
@pytest.mark.parametrize("geometry", ["plane", "sphere"])
def test_places_that_have_a_gradient_have_the_same_correlation(name, geometry):
    kernel = SPACE_KERNELS[name]
    if geometry == "sphere" and is_directional(kernel):
        return
    a = torch.as_tensor(places(np.random.default_rng(5), 4, geometry))
    free = correlation(kernel, Lags.matrix(a.clone().requires_grad_(), a, geometry)).detach()
    assert_allclose(free, correlation(kernel, Lags.matrix(a, a, geometry)), rtol=1e-9)


# The prior as a kernel of GPyTorch


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_a_prior_as_a_kernel_of_gpytorch_has_the_same_covariance(geometry):
    prior = anova(geometry=geometry)
    points = scattered(np.random.default_rng(7), 12, geometry)
    x = torch.as_tensor(np.concatenate([points.time[:, None], points.space], axis=1))
    kernel = PriorKernel(geometry, lambda logs: prior, torch.zeros(1, dtype=torch.float64))
    expected = Covariance(prior).matrix(points, points)
    assert_allclose(kernel(x, x).to_dense().detach(), expected, rtol=1e-12)
    assert_allclose(kernel(x, x, diag=True).detach(), expected.diagonal(), rtol=1e-12)


def test_a_prior_of_constants_as_a_kernel_of_gpytorch_is_a_full_matrix():
    prior = product(spec.Constant(), spec.Constant())
    kernel = PriorKernel("plane", lambda logs: prior.with_values({"product.variance": logs[0]}), torch.ones(1))
    x = torch.zeros(4, 3)
    assert kernel(x, x).to_dense().shape == (4, 4)
    assert kernel(x, x, diag=True).shape == (4,)
