"""Conjugate gradients solve what numpy solves, each column to its own tolerance, and say how far they came."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from xgpfill.operators.conjugate_gradients import conjugate_gradients


def system(n=60, condition=1e3, columns=3, seed=0):
    """A positive definite matrix with this condition number, and right-hand sides."""
    rng = np.random.default_rng(seed)
    Q, _ = np.linalg.qr(rng.standard_normal((n, n)))
    A = (Q * np.geomspace(1.0, condition, n)) @ Q.T
    return torch.as_tensor(0.5 * (A + A.T)), torch.as_tensor(rng.standard_normal((n, columns)))


def identity(x):
    return x


def solve(A, b, tolerance, *, preconditioner=identity, max_steps=1000, **kwargs):
    tolerance = torch.as_tensor(tolerance, dtype=b.dtype).expand(b.shape[1])
    product = A if callable(A) else A.__matmul__
    return conjugate_gradients(product, b, preconditioner, tolerance, max_steps=max_steps, **kwargs)


def residual_of(A, b, x):
    return (torch.linalg.norm(b - A @ x, dim=0) / torch.linalg.norm(b, dim=0)).numpy()


@pytest.mark.parametrize("condition", [1.0, 1e3, 1e5])
@pytest.mark.parametrize("tolerance", [1e-2, 1e-10])
def test_the_answer_is_that_of_numpy_to_the_tolerance(tolerance, condition):
    A, b = system(condition=condition)
    found = solve(A, b, tolerance)
    assert found.converged
    assert residual_of(A, b, found.values).max() <= tolerance
    assert_allclose(found.residual, residual_of(A, b, found.values), rtol=1e-6, atol=1e-14)
    expected = np.linalg.solve(A.numpy(), b.numpy())
    error = np.linalg.norm(found.values.numpy() - expected, axis=0)
    assert (error <= tolerance * np.linalg.norm(b, axis=0) + 1e-13).all()  # the smallest eigenvalue is 1


def test_a_preconditioner_that_is_the_inverse_needs_one_step():
    A, b = system(condition=1e6)
    found = solve(A, b, 1e-6, preconditioner=torch.linalg.inv(A).__matmul__)
    assert found.converged
    assert found.steps == 1


def test_a_better_preconditioner_needs_fewer_steps():
    A, b = system(condition=1e3)
    scale = torch.linspace(1, 100, 60, dtype=torch.float64)
    A = scale[:, None] * A * scale
    plain, jacobi = solve(A, b, 1e-6), solve(A, b, 1e-6, preconditioner=lambda x: x / A.diagonal()[:, None])
    assert plain.converged
    assert jacobi.converged
    assert jacobi.steps < plain.steps


def test_columns_that_met_their_tolerance_are_not_asked_again():
    A, b = system(columns=4)
    b[:, 1] *= 1e-8
    b[:, 2] *= 1e8
    tolerance = torch.tensor([1e-10, 1e-10, 1e-4, 1e-1], dtype=torch.float64)
    found = conjugate_gradients(A.__matmul__, b, identity, tolerance, max_steps=500)
    assert found.converged
    assert (found.residual <= tolerance).all()
    alone = [conjugate_gradients(A.__matmul__, b[:, [i]], identity, tolerance[[i]], max_steps=500) for i in range(4)]
    for i in range(4):
        apart = (found.values[:, [i]] - alone[i].values).norm()
        assert apart <= 2 * tolerance[i] * b[:, i].norm()  # the smallest eigenvalue is 1


def test_directions_that_are_shared_save_steps():
    A, b = system(n=400, condition=1e4, columns=12)
    together, alone = solve(A, b, 1e-8), solve(A, b[:, :1], 1e-8)
    assert together.converged
    assert together.steps < 0.5 * alone.steps


@pytest.mark.parametrize("columns", [[0, 0, 1], [0, 1, 2, 0, 1, 2], [0, 0]])
def test_right_hand_sides_that_depend_on_each_other_are_solved_alike(columns):
    A, b = system()
    scaled = b[:, columns] * torch.as_tensor(np.geomspace(1e-6, 1e6, len(columns)))
    found = solve(A, scaled, 1e-9)
    assert found.converged
    assert residual_of(A, scaled, found.values).max() <= 1e-9
    every = torch.cat([b, b @ torch.ones(3, 1, dtype=b.dtype)], 1)  # a sum of the others
    assert residual_of(A, every, solve(A, every, 1e-9).values).max() <= 1e-9


def single(matrix):
    """A product that takes and gives float32."""
    return lambda x: matrix.float() @ x


@pytest.mark.parametrize(("condition", "tolerance"), [(1e2, 1e-3), (1e2, 1e-10), (1e5, 1e-3), (1e6, 1e-7)])
def test_float32_with_refinement_reaches_what_float64_reaches(condition, tolerance):
    A, b = system(condition=condition)
    seen = []

    def fast(x):
        seen.append(x.dtype)
        return single(A)(x)

    found = solve(A, b, tolerance, fast=(fast, identity), max_steps=5000)
    assert found.converged
    assert found.values.dtype == torch.float64
    assert set(seen) == {torch.float32}
    assert residual_of(A, b, found.values).max() <= tolerance


def test_where_rounding_stops_float32_full_precision_goes_on():
    A, b = system(condition=1e3)
    products = []

    def full(x):
        products.append(x.shape[1])
        return A @ x

    wrong = single(A * (1.0 + 0.5 * torch.eye(60, dtype=A.dtype)))  # much worse than rounding
    found = solve(full, b, 1e-8, fast=(wrong, identity))
    assert found.converged
    assert len(products) > 10
    assert residual_of(A, b, found.values).max() <= 1e-8


def test_a_right_hand_side_of_zero_has_the_answer_zero():
    A, b = system()
    b[:, 1] = 0.0
    found = solve(A, b, 1e-8)
    assert found.converged
    assert_allclose(found.values[:, 1], 0.0, atol=0)
    assert_allclose(found.residual[1], 0.0, atol=0)
    nothing = solve(A, torch.zeros_like(b), 1e-8)
    assert nothing.converged
    assert nothing.steps == 0


def test_no_column_at_all_is_solved():
    A, b = system()
    found = solve(A, b[:, :0], 1e-8)
    assert found.converged
    assert found.values.shape == (60, 0)


def test_too_few_steps_are_said_with_the_true_residual():
    A, b = system(condition=1e5)
    found = solve(A, b, 1e-8, max_steps=5)
    assert not found.converged
    assert found.steps == 5
    assert_allclose(found.residual, residual_of(A, b, found.values), rtol=1e-9)
    assert (found.residual > 1e-8).all()


def test_a_matrix_that_is_not_positive_definite_never_counts_as_converged():
    A, b = system(n=20)
    found = solve(-A, b, 1e-8, preconditioner=torch.zeros_like, max_steps=50)
    assert not found.converged


def test_the_callback_hears_every_step_and_how_far_it_is():
    A, b = system()
    heard = []
    found = solve(A, b, 1e-6, callback=lambda step, excess: heard.append((step, excess)))
    assert [step for step, _ in heard] == list(range(1, found.steps + 1))
    assert heard[0][1] > 1.0
    assert heard[-1][1] <= 1.0


def test_a_recursion_that_went_astray_starts_again():
    """The first products are a little wrong: the recursion believes itself done, the true residual knows better."""
    A, b = system()
    calls = []

    def product(x):
        calls.append(x.shape[1])
        return A @ x * (1.0 + 1e-3 * (len(calls) <= 4))

    found = solve(product, b, 1e-8)
    assert found.converged
    assert residual_of(A, b, found.values).max() <= 1e-8


def test_float32_finds_what_it_can():
    A, b = system(condition=100.0)
    found = solve(A.float(), b.float(), 1e-4)
    assert found.converged
    assert found.values.dtype == torch.float32
    assert residual_of(A, b, found.values.double()).max() < 2e-4


def test_what_is_given_stays_as_it_is():
    A, b = system()
    before = b.clone()
    solve(A, b, 1e-8)
    assert torch.equal(b, before)


def test_a_product_may_overwrite_its_last_answer():
    """Operators keep their buffers."""
    A, b = system()
    kept = torch.empty(60, 3, dtype=torch.float64)

    def product(x):
        return torch.mm(A, x, out=kept[:, : x.shape[1]].reshape(-1)[: x.numel()].view(x.shape))

    assert residual_of(A, b, solve(product, b, 1e-9).values).max() <= 1e-9


# How residuals are measured


def uneven(seed=0):
    """A system of rows whose sizes differ by four orders of magnitude, and what is small for each."""
    A, b = system(condition=1e3, seed=seed)
    size = torch.as_tensor(10.0 ** np.random.default_rng(seed).uniform(-2, 2, 60))
    return size[:, None] * A * size, size[:, None] * b, size


def measured(A, b, x, scale):
    return ((b - A @ x) / scale[:, None]).square().mean(0).sqrt().numpy()


@pytest.mark.parametrize("how", ["plain", "fast"])
@pytest.mark.parametrize("tolerance", [1e-1, 1e-3, 1e-6])
def test_with_a_scale_residuals_are_root_mean_squares_over_it(tolerance, how):
    """To a tenth of the tolerance: where that is loose, residuals are told in low precision as well."""
    A, b, scale = uneven()
    jacobi = 1.0 / A.diagonal()[:, None]
    fast = (single(A), lambda x: jacobi.float() * x) if how == "fast" else None
    found = solve(A, b, tolerance, preconditioner=lambda x: jacobi * x, scale=scale, fast=fast)
    truth = measured(A, b, found.values, scale)
    assert found.converged
    assert found.residual.max() <= tolerance
    assert_allclose(found.residual, truth, rtol=1e-6 if how == "plain" else 0, atol=0.1 * tolerance)


def test_rounding_of_a_check_in_low_precision_does_not_keep_a_solve_from_its_end():
    """Rounding of a product is relative to |A||x|, which may be much more than the right-hand side."""
    A, b = system(n=400, condition=1e4)
    found = solve(A, b, 1e-3, fast=(single(A), identity), max_steps=5000)
    assert residual_of(A, b, found.values).max() <= 1e-3
    assert found.converged


def test_what_is_small_beside_the_scale_needs_no_step():
    A, b, scale = uneven()
    size = measured(A, b, torch.zeros_like(b), scale)
    nothing = solve(A, b, 1.01 * size.max(), scale=scale)
    assert nothing.converged
    assert nothing.steps == 0
    assert_allclose(nothing.values, 0.0, atol=0)
    assert_allclose(nothing.residual, size, rtol=1e-12)
    assert solve(A, b, 0.99 * size.min(), scale=scale).steps > 0


def test_a_scale_that_is_larger_asks_for_less():
    """The tolerance is relative to the scale, not to the right-hand side."""
    A, b, scale = uneven()
    jacobi = {"preconditioner": lambda x: x / A.diagonal()[:, None]}
    one, larger = solve(A, b, 1e-3, scale=scale, **jacobi), solve(A, b, 1e-3, scale=1024 * scale, **jacobi)
    assert larger.steps < one.steps
    times = solve(A, 1024 * b, 1e-3, scale=1024 * scale, **jacobi)
    assert times.steps == one.steps
    assert_allclose(times.values, 1024 * one.values, rtol=1e-9)
    assert solve(A, 1024 * b, 1e-3, scale=scale, **jacobi).steps > one.steps


def test_without_a_scale_residuals_are_relative_to_the_right_hand_side():
    A, b = system()
    one, times = solve(A, b, 1e-3), solve(A, 1024 * b, 1e-3)
    assert one.steps == times.steps
    assert_allclose(times.residual, one.residual, rtol=1e-6)


@pytest.mark.parametrize("how", ["plain", "scale", "fast", "too few steps", "zero"])
def test_the_remainder_is_what_is_left(how):
    A, b = system(condition=1e3)
    right = torch.zeros_like(b) if how == "zero" else b
    arguments = {
        "scale": {"scale": torch.linspace(0.5, 2.0, 60, dtype=b.dtype)},
        "fast": {"fast": (single(A), identity)},
        "too few steps": {"max_steps": 7},
    }
    found = solve(A, right, 1e-3, **arguments.get(how, {}))
    assert found.converged == (how != "too few steps")
    assert found.remainder.dtype == b.dtype
    apart = (found.remainder - (right - A @ found.values)).norm(dim=0)
    assert (apart <= (1e-4 if how == "fast" else 1e-12) * b.norm(dim=0)).all()


# Numbers that are none


def spoilt(A, first, last=10**9, *, row=7, value=float("nan")):
    """A product of which one row is none from call `first` to call `last`."""
    calls = []

    def product(x):
        calls.append(x.shape[1])
        found = A.to(x) @ x
        if first <= len(calls) <= last:
            found[row] = value
        return found

    return product


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("first", [1, 2, 5, 20])
def test_a_product_that_is_no_number_never_counts_as_converged(first, scaled, value):
    A, b = system()
    scale = torch.ones(60, dtype=b.dtype) if scaled else None
    found = solve(spoilt(A, first, value=value), b, 1e-10, scale=scale)
    assert not found.converged
    assert torch.isfinite(found.values).all()


LOOSE = 1e-3


@pytest.mark.parametrize("tolerance", [1e-8, LOOSE])
@pytest.mark.parametrize("first", [1, 5, 20])
def test_a_product_in_low_precision_that_is_no_number_leaves_it_to_full_precision(first, tolerance):
    A, b = system()
    found = solve(A, b, tolerance, fast=(spoilt(A, first), identity))
    assert residual_of(A, b, found.values).max() <= tolerance
    assert found.converged


@pytest.mark.parametrize("tolerance", [1e-8, LOOSE])
def test_products_in_low_precision_that_are_wrong_leave_it_to_full_precision(tolerance):
    A, b = system()
    found = solve(A, b, tolerance, fast=(single(1.02 * A), identity))
    assert residual_of(A, b, found.values).max() <= tolerance
    assert found.converged


@pytest.mark.parametrize("only", [1, 2, 5, 20])
def test_a_single_product_that_is_no_number_ends_in_a_true_answer_or_in_none(only):
    A, b = system()
    found = solve(spoilt(A, only, only), b, 1e-8)
    assert torch.isfinite(found.values).all()
    assert found.converged == bool(residual_of(A, b, found.values).max() <= 1e-8)


def test_a_preconditioner_that_is_no_number_never_counts_as_converged():
    A, b = system()
    found = solve(A, b, 1e-8, preconditioner=lambda x: x * float("nan"))
    assert not found.converged
    assert torch.isfinite(found.values).all()


@pytest.mark.parametrize("scaled", [False, True])
def test_a_right_hand_side_that_is_no_number_never_counts_as_converged(scaled):
    A, b = system()
    b[3, 1] = float("nan")
    found = solve(A, b, 1e-8, scale=torch.ones(60, dtype=b.dtype) if scaled else None)
    assert not found.converged
    assert torch.isfinite(found.values).all()


@pytest.mark.parametrize("scale", [0.0, float("nan")])
def test_a_scale_that_is_no_number_or_nothing_never_counts_as_converged(scale):
    A, b = system()
    scales = torch.ones(60, dtype=b.dtype)
    scales[5] = scale
    assert not solve(A, b, 1e-8, scale=scales, max_steps=200).converged
