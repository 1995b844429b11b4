"""The transform along longitude answers as numpy's real FFT does, by matrix and by FFT alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from xgpfill.operators.transforms import MATRIX_PERIOD, Buffers, LongitudeTransform, period_for

SIZES = [(1, 1), (1, 2), (4, 4), (5, 5), (5, 9), (6, 16), (7, 512), (7, 513), (300, 599), (300, 600), (600, 600)]
"""Meridians and period: odd and even, full circles and regions, by matrix and (after 512) by FFT."""


def about_the_middle(transform):
    """What turns numpy's frequencies, about the first meridian, into those about the middle one: (frequencies, 1)."""
    if not transform.by_matrix:
        return 1.0
    return np.exp(1j * np.pi * np.arange(transform.num_frequencies) * (transform.size - 1) / transform.period)[:, None]


def parts(complex_numbers):
    return np.stack([complex_numbers.real, complex_numbers.imag], axis=1)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-11), (torch.float32, 2e-4)])
@pytest.mark.parametrize(("size", "period"), SIZES)
def test_both_ways_equal_the_real_fft_of_numpy(size, period, dtype, atol):
    rng = np.random.default_rng(0)
    transform = LongitudeTransform(size, period, "cpu", dtype)
    x = rng.standard_normal((size, 3))
    placed = np.empty_like(x)
    placed[transform.positions] = x
    found = transform.forward(torch.as_tensor(placed).to(dtype)).double().numpy()
    expected = np.fft.rfft(x, n=period, axis=0) * about_the_middle(transform)
    assert found.shape == (period // 2 + 1, 2, 3)
    assert_allclose(found, parts(expected), atol=atol)
    back = transform.inverse(torch.as_tensor(parts(expected)).to(dtype)).double().numpy()
    assert_allclose(back[transform.positions], x, atol=atol)


@pytest.mark.parametrize(("size", "period"), [(6, 11), (6, 16), (7, 16), (900, 1800)])
def test_frequencies_that_are_left_out_count_as_zero(size, period):
    rng = np.random.default_rng(1)
    kept = 4
    some = rng.standard_normal((kept, 2, 5))
    some[0, 1] = 0.0  # the first has no sine
    transform = LongitudeTransform(size, period, "cpu", torch.float64)
    padded = np.zeros((period // 2 + 1, 5), complex)
    padded[:kept] = some[:, 0] + 1j * some[:, 1]
    expected = np.fft.irfft(padded / about_the_middle(transform), n=period, axis=0)[:size]
    for _ in range(2):  # what the first call left in the buffers does not matter
        transform.inverse(torch.as_tensor(rng.standard_normal((period // 2 + 1, 2, 5))))
        found = transform.inverse(torch.as_tensor(some))
        assert_allclose(found.numpy()[transform.positions], expected, atol=1e-13)


@pytest.mark.parametrize(("size", "period"), [(6, 11), (7, 16), (900, 1800)])
def test_another_precision_is_the_same_transform(size, period):
    transform = LongitudeTransform(size, period, "cpu", torch.float64)
    x = torch.as_tensor(np.random.default_rng(0).standard_normal((size, 3)))
    single = transform.to(torch.float32)
    assert single.by_matrix == transform.by_matrix
    assert_allclose(single.forward(x.float()), transform.forward(x), atol=1e-3)


def test_another_number_of_columns_in_between_changes_nothing():
    transform = LongitudeTransform(5, 9, "cpu", torch.float64)
    x = torch.arange(20.0, dtype=torch.float64).reshape(5, 4)
    first = transform.forward(x).clone()
    transform.forward(torch.ones(5, 11, dtype=torch.float64))
    assert_array_equal(transform.forward(x), first)


@pytest.mark.parametrize("size", [1, 2, 7, 256, 257, 1000, 1009])
def test_the_period_of_a_region_holds_it_without_overlap_and_is_no_power_of_two_too_long(size):
    period = period_for(size)
    assert 2 * size - 1 <= period <= 1.1 * (2 * size - 1)
    if period > MATRIX_PERIOD:  # a product of small primes
        for prime in (2, 3, 5, 7, 11):
            while period % prime == 0:
                period //= prime
        assert period == 1


def test_a_buffer_is_kept_by_name_and_grows_when_it_must():
    buffers = Buffers("cpu", torch.float64)
    first = buffers("a", 2, 3)
    assert buffers("a", 3, 2).data_ptr() == buffers("a", 2).data_ptr() == first.data_ptr()
    assert buffers("b", 2, 3).data_ptr() != first.data_ptr()
    assert buffers("a", 4, 5).shape == (4, 5)
    assert buffers("a", 2, dtype=torch.float32).dtype == torch.float32


@pytest.mark.parametrize("period", [64, 2000])
def test_another_precision_stays_on_its_device(period):
    transform = LongitudeTransform(30, period, "meta", torch.float64).to(torch.float32)
    assert transform.device == "meta"
    assert transform.forward(torch.empty(30, 2, device="meta")).device.type == "meta"
