"""Conjugate gradients solve what numpy solves, each column to its own tolerance, and say how far they came."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from xgpfill.linalg.conjugate_gradients import conjugate_gradients


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


def test_columns_leave_when_their_own_tolerance_is_met():
    A, b = system(columns=4)
    b[:, 1] *= 1e-8
    b[:, 2] *= 1e8
    widths = []

    def product(x):
        widths.append(x.shape[1])
        return A @ x

    tolerance = torch.tensor([1e-10, 1e-10, 1e-4, 1e-1], dtype=torch.float64)
    found = conjugate_gradients(product, b, identity, tolerance, max_steps=500)
    assert found.converged
    assert (found.residual <= tolerance).all()
    assert found.residual[3] > 1e-4  # it was not iterated with the others
    assert widths[0] == 4
    assert min(widths[:-1]) <= 2
    alone = [conjugate_gradients(A.__matmul__, b[:, [i]], identity, tolerance[[i]], max_steps=500) for i in range(4)]
    for i in range(4):
        apart = (found.values[:, [i]] - alone[i].values).norm()
        assert apart <= 2 * tolerance[i] * b[:, i].norm()  # the smallest eigenvalue is 1
    assert found.steps == pytest.approx(max(a.steps for a in alone), abs=3)  # rounding


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
