"""Work is cut into parts that cover everything once, results do not depend on threads, and limits are put back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event, Lock, Thread, get_ident

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from threadpoolctl import OpenBLASController, threadpool_info, threadpool_limits
from xgpfill.covariance.matrices import Covariance
from xgpfill.engines.iterative import IterativeEngine
from xgpfill.kernels import spec
from xgpfill.kernels.prior import Prior, Term
from xgpfill.machine.threads import in_parts, on_threads, own_threads
from xgpfill.operators.conjugate_gradients import conjugate_gradients
from xgpfill.operators.lattice import LatticeOperator
from xgpfill.vecchia.preconditioner import VecchiaFactor

from tests.linalg.lattices import crossed, every_cell, neighbours_of, observed_on
from tests.problems import SPACE_KERNELS, TIME_KERNELS, anova

WAYS = ("one thread", "two threads", "a thread of a pool")


@pytest.fixture(autouse=True)
def _number_of_threads():
    """Leave torch as it was."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def in_a_new_thread(call):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


def done(way, call):
    """What a call returns with so many threads, or from a thread that torch knows nothing of."""
    torch.set_num_threads(1 if way == "one thread" else 2)
    return in_a_new_thread(call) if way == "a thread of a pool" else call()


def blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


# Parts


@settings(max_examples=60, deadline=None)
@given(count=st.integers(0, 5000), step=st.integers(1, 700), threads=st.integers(1, 3))
def test_parts_cover_each_element_once_and_do_not_depend_on_the_number_of_threads(count, step, threads):
    torch.set_num_threads(threads)
    seen, parts, lock = np.zeros(count, int), [], Lock()

    def work(start, stop):
        seen[start:stop] += 1
        with lock:
            parts.append((start, stop))

    in_parts(work, count, step)
    assert (seen == 1).all()
    assert sorted(parts) == [(start, min(start + step, count)) for start in range(0, count, step)]


@settings(max_examples=60, deadline=None)
@given(count=st.integers(0, 5000), least=st.integers(1, 700), threads=st.integers(1, 3))
def test_on_threads_covers_each_element_once(count, least, threads):
    torch.set_num_threads(threads)
    seen = np.zeros(count, int)

    def work(start, stop):
        assert 0 <= start < stop <= count
        assert stop - start >= min(least, count) or stop == count
        seen[start:stop] += 1

    on_threads(work, count, least=least)
    assert (seen == 1).all()


def test_parts_are_shared_among_as_many_threads_as_torch_has():
    torch.set_num_threads(2)
    both, workers, inside = Barrier(2, timeout=30), set(), []

    def work(start, stop):
        workers.add(get_ident())
        inside.append(torch.get_num_threads())
        both.wait()  # passes only when two are at work at once

    in_parts(work, 8, 1)
    assert len(workers) == 2
    assert set(inside) == {1}


def test_one_part_is_worked_on_where_it_is_called():
    torch.set_num_threads(2)
    workers = []
    in_parts(lambda start, stop: workers.append(get_ident()), 5, 5)
    assert workers == [get_ident()]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("how", [in_parts, lambda work, count, step: on_threads(work, count, least=step)])
def test_an_error_in_a_part_is_raised(how, threads):
    torch.set_num_threads(threads)

    def work(start, stop):
        if start <= 42 < stop:
            raise ValueError("the 43rd")

    with pytest.raises(ValueError, match="the 43rd"):
        how(work, 4000, 10)
    assert torch.get_num_threads() == threads


# The same to the last bit

PRIOR = Prior(
    (
        *anova("matern32").terms,
        Term("rough", TIME_KERNELS["matern12"], spec.Independent(), 0.1),
        Term("short", TIME_KERNELS["rbf"], SPACE_KERNELS["matern12"], 0.3),
    ),
    noise=0.05,
    geometry="sphere",
)
TIMES = np.arange(12.0)
GLOBE = crossed(np.linspace(-75, 75, 11), 10.0 * np.arange(36))
REGION = crossed(np.linspace(20, 50, 17), 1.5 * np.arange(29))
SCATTER = np.random.default_rng(0).permutation(GLOBE.reshape(-1, 1, 3))[:150]


def assert_same(call):
    """Whatever the number of threads, and from whichever thread."""
    first, *others = ([np.array(part) for part in done(way, call)] for way in WAYS)
    assert all(np.isfinite(part).all() for part in first)
    for other in others:
        for found, expected in zip(other, first, strict=True):
            assert_array_equal(found, expected, strict=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("coordinates", [GLOBE, REGION, SCATTER], ids=["globe", "region", "sites"])
@pytest.mark.parametrize("columns", [1, 9])
def test_products_of_the_operator_are_bit_for_bit_the_same(columns, coordinates, dtype, monkeypatch):
    monkeypatch.setattr("xgpfill.operators.lattice.PART", 2**10)  # several parts, as on large lattices
    monkeypatch.setattr("xgpfill.operators.transforms.STRIP", 64)

    def product():
        operator = LatticeOperator(PRIOR, TIMES, coordinates, "cpu", dtype)
        field = np.random.default_rng(1).standard_normal((operator.num_sites, columns, TIMES.size))
        return [operator(torch.as_tensor(field).to(dtype)).numpy()]

    assert_same(product)


def test_products_by_fast_fourier_transforms_are_bit_for_bit_the_same(monkeypatch):
    monkeypatch.setattr("xgpfill.operators.transforms.MATRIX_PERIOD", 8)
    field = np.random.default_rng(1).standard_normal((GLOBE.shape[0] * GLOBE.shape[1], 3, TIMES.size))
    assert_same(
        lambda: [LatticeOperator(PRIOR, TIMES, GLOBE, "cpu", torch.float64)(torch.as_tensor(field.copy())).numpy()]
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_factor_and_its_products_are_bit_for_bit_the_same(dtype):
    observations = observed_on(TIMES, REGION, 0.8)
    n = len(observations)
    assert n > 2 * 2048  # rows that one thread takes at once
    right = torch.as_tensor(np.random.default_rng(1).standard_normal((n, 5))).to(dtype)

    def products():
        neighbours = neighbours_of(PRIOR, observations, REGION.shape[:2])
        factor = VecchiaFactor(neighbours, 12, dtype=dtype)
        return [factor(right).numpy(), factor.precision]

    assert_same(products)


@pytest.mark.parametrize("fast", [False, True])
def test_solves_are_bit_for_bit_the_same(fast, monkeypatch):
    monkeypatch.setattr("xgpfill.operators.conjugate_gradients.ROWS", 32)
    rng = np.random.default_rng(0)
    Q, _ = np.linalg.qr(rng.standard_normal((200, 200)))
    A, b = torch.as_tensor((Q * np.geomspace(1.0, 1e3, 200)) @ Q.T), torch.as_tensor(rng.standard_normal((200, 4)))
    scale = torch.as_tensor(rng.uniform(0.5, 2.0, 200))
    single = (A.float().__matmul__, lambda x: x) if fast else None

    def solve():
        with own_threads():
            found = conjugate_gradients(
                A.__matmul__, b, lambda x: x, torch.full((4,), 1e-6), max_steps=500, scale=scale, fast=single
            )
        assert found.converged
        return [found.values.numpy(), found.residual.numpy(), found.remainder.numpy(), found.steps]

    assert_same(solve)


@pytest.mark.parametrize("coordinates", [GLOBE, REGION], ids=["globe", "region"])
def test_moments_are_bit_for_bit_the_same(coordinates, monkeypatch):
    monkeypatch.setattr("xgpfill.operators.conjugate_gradients.ROWS", 128)
    monkeypatch.setattr("xgpfill.operators.lattice.PART", 2**12)
    times = TIMES[:5]
    observations = observed_on(times, coordinates, 0.4, noise=0.05)
    cells = every_cell(times, coordinates)

    def moments():
        found = IterativeEngine().condition(Covariance(PRIOR), observations).moments(cells)
        return [found.mean, found.variance]

    assert_same(moments)


# What is put back


def free_blas():
    """Let any thread set its number of threads: since threadpoolctl 3.8 only the first that did so may."""
    getattr(OpenBLASController, "clear_controlling_thread", lambda force: None)(force=True)


@pytest.fixture
def two_of_each():
    """Two threads for torch and for BLAS, set by a thread that has gone: another one that held them could alone."""
    torch.set_num_threads(2)
    before = max(blas_threads())
    free_blas()
    in_a_new_thread(lambda: threadpool_limits(2, user_api="blas"))
    if set(blas_threads()) != {2}:
        pytest.skip("BLAS has no two threads here")
    yield
    free_blas()
    in_a_new_thread(lambda: threadpool_limits(before, user_api="blas"))


@pytest.mark.usefixtures("two_of_each")
def test_inside_there_is_one_thread_an_operation_and_afterwards_as_many_as_before():
    with own_threads() as threads:
        assert threads == 2
        assert torch.get_num_threads() == 1
        assert set(blas_threads()) == {1}
    assert torch.get_num_threads() == 2
    assert set(blas_threads()) == {2}


@pytest.mark.usefixtures("two_of_each")
def test_inside_there_is_one_thread_an_operation_in_any_thread():
    def inside():
        with own_threads():
            return torch.get_num_threads(), set(blas_threads())

    assert inside() == (1, {1})
    assert in_a_new_thread(inside) == (1, {1})


@pytest.mark.usefixtures("two_of_each")
def test_nested_blocks_share_the_threads_of_the_outermost():
    with own_threads() as outer:
        with own_threads() as inner:
            assert inner == outer == 2
        assert torch.get_num_threads() == 1
        assert set(blas_threads()) == {1}
        with own_threads() as again:
            assert again == 2
    assert torch.get_num_threads() == 2
    assert set(blas_threads()) == {2}


@pytest.mark.usefixtures("two_of_each")
def test_after_an_error_there_are_as_many_threads_as_before():
    with pytest.raises(ValueError, match="inside"), own_threads(), own_threads():
        raise ValueError("inside")
    assert torch.get_num_threads() == 2
    assert set(blas_threads()) == {2}
    with own_threads() as threads:
        assert threads == 2


def overlapping(*, first_goes_first):
    """What there is when two threads are within blocks of their own at once."""
    second_is_in, may_go, seen = Event(), Event(), {}

    def second():
        with own_threads() as threads:
            seen["second shares"] = threads
            second_is_in.set()
            assert may_go.wait(30)
            seen["second, inside"] = torch.get_num_threads(), set(blas_threads())
        seen["second, after"] = torch.get_num_threads()

    other = Thread(target=second)
    with own_threads():
        other.start()
        assert second_is_in.wait(30)
        if not first_goes_first:
            may_go.set()
            other.join()
            seen["first, inside"] = torch.get_num_threads(), set(blas_threads())
    seen["first, after"] = torch.get_num_threads()
    may_go.set()
    other.join()
    return seen


@pytest.mark.usefixtures("two_of_each")
@pytest.mark.parametrize("first_goes_first", [True, False])
def test_limits_hold_until_the_last_of_two_threads_has_gone(first_goes_first):
    seen = overlapping(first_goes_first=first_goes_first)
    assert seen["second, inside"] == (1, {1})
    assert seen.get("first, inside", (1, {1})) == (1, {1})
    assert seen["first, after"] == 2
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_of_each")
def test_limits_of_blas_are_lifted_by_the_thread_that_set_them():
    overlapping(first_goes_first=False)
    assert set(blas_threads()) == {2}


@pytest.mark.usefixtures("two_of_each")
def test_limits_of_blas_that_another_thread_cannot_lift_are_lifted_by_the_next_block():
    overlapping(first_goes_first=True)
    with own_threads():
        pass
    assert set(blas_threads()) == {2}


@pytest.mark.usefixtures("two_of_each")
def test_threads_that_overlap_leave_later_ones_as_many_as_there_were():
    seen = overlapping(first_goes_first=True)
    assert seen["second, after"] == 2
    assert in_a_new_thread(torch.get_num_threads) == 2
