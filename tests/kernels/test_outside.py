"""Kernels that users bring: functions of coordinates and GPyTorch kernels."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import gpytorch
import numpy as np
import pytest
import torch
import xgpfill
from xgpfill.covariance.check import invariant_in_longitude
from xgpfill.covariance.evaluate import Lags, correlation
from xgpfill.errors import KernelError, XgpfillError
from xgpfill.kernels.outside import FromFunction, FromGPyTorch
from xgpfill.kernels.spec import Matern, as_kernel

rng = np.random.default_rng(5)
SPHERE = rng.normal(size=(30, 3))
SPHERE = torch.as_tensor(6371.0 * SPHERE / np.linalg.norm(SPHERE, axis=1, keepdims=True))


def exponential(x, y):
    return np.exp(-np.linalg.norm(x[:, None] - y[None], axis=-1) / 2000.0)


def gpytorch_matern(lengthscale):
    kernel = gpytorch.kernels.MaternKernel(nu=1.5)
    kernel.lengthscale = lengthscale
    return kernel


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [(exponential, Matern(0.5, 2000.0)), (gpytorch_matern(2000.0), Matern(1.5, 2000.0))],
)
def test_matrices_and_pairs_equal_our_own_kernel(theirs, ours):
    kernel = as_kernel(theirs)
    for lags in (Lags.matrix(SPHERE[:7], SPHERE, "sphere"), Lags(SPHERE, SPHERE.flip(0), "sphere")):
        torch.testing.assert_close(correlation(kernel, lags), correlation(ours, lags), rtol=1e-6, atol=1e-6)


def test_batches_of_matrices_are_evaluated_one_by_one():
    batch = SPHERE.reshape(3, 10, 3)
    found = correlation(as_kernel(exponential), Lags.matrix(batch, batch, "sphere"))
    expected = correlation(Matern(0.5, 2000.0), Lags.matrix(batch, batch, "sphere"))
    torch.testing.assert_close(found, expected)


def test_the_derivative_in_a_gpytorch_lengthscale_is_that_of_our_kernel():
    lags = Lags.matrix(SPHERE, SPHERE, "sphere")
    gradients = []
    for build in (lambda v: FromGPyTorch(gpytorch_matern(2000.0), parameters=(v,)), lambda v: Matern(1.5, v)):
        value = torch.tensor(2000.0, dtype=torch.float64, requires_grad=True)
        correlation(build(value), lags).square().sum().backward()
        gradients.append(float(value.grad))
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-4)


class Waiting(gpytorch.kernels.MaternKernel):
    """Lets other threads run before it reads its lengthscale."""

    def forward(self, *args, **kwargs):
        time.sleep(0.02)
        return super().forward(*args, **kwargs)


def test_threads_do_not_see_the_lengthscale_of_another():
    lags = Lags.matrix(SPHERE, SPHERE, "sphere")
    kernel, lengthscales = FromGPyTorch(Waiting(nu=1.5)), [500.0, 1000.0, 2000.0, 4000.0] * 3
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda v: correlation(replace(kernel, parameters=(v,)), lags), lengthscales))
    for matrix, lengthscale in zip(found, lengthscales, strict=True):
        torch.testing.assert_close(matrix, correlation(Matern(1.5, lengthscale), lags), rtol=1e-6, atol=1e-6)


def test_the_kernel_that_was_given_never_changes(ds):
    given = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())
    before = {k: v.clone() for k, v in given.state_dict().items()}
    ds["sst"].gpfill.fit(valid=ds["valid"], method="exact", space_kernel=given, combine="product")
    assert all(torch.equal(v, before[k]) for k, v in given.state_dict().items())
    assert given.raw_outputscale.dtype == torch.float32


def test_gpytorch_and_own_kernels_learn_the_same_field(ds):
    how = {"method": "exact", "combine": "product", "noise_std": 0.12, "amplitude": False}
    fields = [
        ds["sst"].gpfill.fit(valid=ds["valid"], **how, space_kernel=k).reconstruct().mean
        for k in (gpytorch.kernels.MaternKernel(nu=1.5), "matern32")
    ]
    assert float(abs(fields[0] - fields[1]).max()) < 0.02 * float(fields[1].std())


def test_a_function_is_composed_with_named_kernels(ds):
    kernel = "matern52" + FromFunction(exponential)
    how = {"method": "exact", "combine": "product", "amplitude": False, "calibrate": False}
    model = ds["sst"].gpfill.fit(valid=ds["valid"], space_kernel=kernel, **how)
    assert "Matérn-5/2" in repr(model)
    assert "exponential" in repr(model)
    assert np.isfinite(model.reconstruct().mean.where(ds["valid"], 0)).all()


def test_a_model_is_saved_without_its_kernel_and_takes_it_back(ds, tmp_path):
    kernel = gpytorch.kernels.RBFKernel()
    model = ds["sst"].gpfill.fit(
        valid=ds["valid"], method="exact", time_kernel=lambda x, y: np.exp(-abs(x - y.T) / 5), space_kernel=kernel,
        combine="product",
    )  # fmt: skip
    model.save(tmp_path / "model.nc")
    with pytest.raises(KernelError, match="saved without the kernels that you brought: 'lambda', 'RBFKernel'"):
        xgpfill.load(tmp_path / "model.nc")
    given = {"lambda": lambda x, y: np.exp(-abs(x - y.T) / 5), "RBFKernel": kernel}
    loaded = xgpfill.load(tmp_path / "model.nc", kernels=given)
    assert loaded.reconstruct().mean.equals(model.reconstruct().mean)
    with pytest.raises(KernelError, match="kernels= names 'more'"):
        xgpfill.load(tmp_path / "model.nc", kernels={**given, "more": kernel})
    with pytest.raises(KernelError, match="fitted with a GPyTorch kernel"):
        xgpfill.load(tmp_path / "model.nc", kernels={**given, "RBFKernel": exponential})
    with pytest.raises(KernelError, match="has 2 hyperparameters, the fitted one had 1"):
        xgpfill.load(tmp_path / "model.nc", kernels={**given, "RBFKernel": gpytorch.kernels.RQKernel()})


@pytest.mark.parametrize(
    ("kernel", "match"),
    [
        (lambda x, y: -np.ones((len(x), len(y))), "not positive definite"),
        (lambda x, y: np.cos((x - y.T) ** 2 * 7), "not positive definite"),
        (lambda x, y: np.exp(-abs(x - y.T)) * (x + 1), "not symmetric"),
        (lambda x, y: x, "expected .*, the covariance of every first point"),
        (lambda x, y: np.full((len(x), len(y)), np.nan), "NaN or infinite"),
        (lambda x: x, "failed on coordinates .* TypeError"),
        (lambda x, y: 1 / 0, "ZeroDivisionError"),
        (gpytorch.kernels.RBFKernel(active_dims=(4,)), "failed on coordinates"),
        (3, "Unknown kernel 3"),
    ],
)
def test_what_is_no_covariance_is_refused(ds, kernel, match):
    before = ds.copy(deep=True)
    with pytest.raises(XgpfillError, match=match):
        ds["sst"].gpfill.fit(valid=ds["valid"], method="exact", time_kernel=kernel)
    assert before.identical(ds)


def test_two_kernels_of_one_name_are_told_apart(ds):
    other = FromFunction(lambda x, y: exponential(x, y) ** 2, name="exponential")
    both = FromFunction(exponential) + other
    with pytest.raises(KernelError, match="Two kernels have the name 'exponential'"):
        ds["sst"].gpfill.fit(valid=ds["valid"], method="exact", space_kernel=both, combine="product")


def test_wrong_objects_are_refused_with_the_right_word():
    with pytest.raises(KernelError, match="expected a function of two arrays"):
        FromFunction(3)
    with pytest.raises(KernelError, match="expected a GPyTorch kernel"):
        FromGPyTorch(exponential)


def test_invariance_in_longitude_is_tried():
    places = SPHERE.numpy()
    assert invariant_in_longitude(as_kernel(exponential), places, "sphere")
    assert invariant_in_longitude(Matern(1.5, 10.0), places, "sphere")
    along_x = gpytorch.kernels.RBFKernel(active_dims=(0,))
    along_x.lengthscale = 3000.0
    assert not invariant_in_longitude(as_kernel(along_x), places, "sphere")
