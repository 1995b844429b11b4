"""Covariance against lag and draws of kernels, against the oracle and against mathematics."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
import xgpfill
from xgpfill.errors import CoordinateError, DataError, KernelError, XgpfillError
from xgpfill.kernels.prior import Prior, Term
from xgpfill.kernels.spec import Brownian, Constant, Matern

from tests import reference as ref
from tests.problems import SPACE_KERNELS, TIME_KERNELS, oracle

if TYPE_CHECKING:
    from xgpfill.model import FittedModel

RADIUS = 6371.0088


def with_terms(model: FittedModel, *terms: Term, geometry: str = "sphere") -> FittedModel:
    return replace(model, prior=Prior(terms, noise=0.25, geometry=geometry))


def test_at_no_lag_the_covariance_is_the_sum_of_variances(model: FittedModel) -> None:
    found, table = model.covariance(), model.hyperparameters
    for name, lag in (("time_covariance", "time_lag"), ("space_covariance", "distance")):
        np.testing.assert_allclose(found[name].isel({lag: 0}), table.variance)
        assert found[name].attrs["units"] == "degC2"
    assert found.noise.item() == pytest.approx(table.noise.item())
    assert (found.time_lag.attrs["units"], found.distance.attrs["units"]) == ("days", "km")


def test_lags_reach_three_lengthscales_but_not_beyond_half_of_the_extent(model: FittedModel) -> None:
    near = with_terms(model, Term("product", Matern(1.5, 0.5), Matern(1.5, 20.0), 1.0)).covariance()
    assert (near.time_lag.max(), near.distance.max()) == (pytest.approx(1.5), pytest.approx(60.0))
    far = with_terms(model, Term("product", Matern(1.5, 500.0), Matern(1.5, 1e5), 1.0)).covariance()
    assert far.time_lag.max() == pytest.approx(3.5)  # of 7 days
    assert far.distance.max() == pytest.approx(model.lattice.space.extent / 2)


@pytest.mark.parametrize("name", sorted(TIME_KERNELS.keys() - {"an even sum"}))  # whose weights are not known yet
def test_every_kernel_of_time_is_evaluated_at_its_lags(model: FittedModel, name: str) -> None:
    kernel = TIME_KERNELS[name]
    lags = np.array([0.0, 0.3, 2.0, 7.0])
    last = 11.0  # start + extent of the Brownian one: lags count back from there
    found = with_terms(model, Term("product", kernel, Matern(1.5, 300.0), 2.0)).covariance(time=lags)
    expected = 2.0 * oracle(kernel, np.array([[last]]), last - lags[:, None])[0]
    np.testing.assert_allclose(found.time_covariance.values[0], expected, atol=1e-12)


CASES = [("plane", name) for name in SPACE_KERNELS]
CASES += [(geometry, name) for geometry in ("sphere", "cylinder") for name in ("matern12", "rbf", "independent")]


@pytest.mark.parametrize(("geometry", "name"), [*CASES, ("cylinder", "periodic"), ("cylinder", "spectral")])
def test_every_kernel_of_space_is_evaluated_at_its_distances(model: FittedModel, geometry: str, name: str) -> None:
    kernel = SPACE_KERNELS[name]
    distances = np.array([0.0, 40.0, 700.0, 5000.0])
    found = with_terms(model, Term("product", Matern(1.5, 3.0), kernel, 2.0), geometry=geometry).covariance(
        distance=distances
    )
    if geometry == "sphere":  # the chord of an arc of this length
        distances = 2 * RADIUS * np.sin(distances / 2 / RADIUS)
    expected = 2.0 * oracle(kernel, np.zeros((1, 2)), np.stack([distances, 0 * distances], -1), "plane")[0]
    np.testing.assert_allclose(found.space_covariance.values[0], expected, atol=1e-9)


def test_static_and_common_terms_do_not_fall_along_the_axis_they_are_constant_on(model: FittedModel) -> None:
    terms = Term("static", Constant(), Matern(0.5, 100.0), 3.0), Term("common", Matern(0.5, 2.0), Constant(), 5.0)
    found = with_terms(model, *terms).covariance(time=[0.0, 2.0], distance=[0.0, 1e4])
    np.testing.assert_allclose(found.time_covariance.sel(term="static"), [3.0, 3.0])
    np.testing.assert_allclose(found.time_covariance.sel(term="common"), [5.0, 5.0 / np.e])
    np.testing.assert_allclose(found.space_covariance.sel(term="common"), [5.0, 5.0])
    np.testing.assert_allclose(found.space_lengthscale, [100.0, np.nan])
    assert found.space_covariance.sel(term="static")[-1] < 1e-12


def test_a_model_of_one_time_has_a_covariance_in_space_only(ds: xr.Dataset) -> None:
    one = ds.sst.isel(time=3).gpfill.fit(valid=ds.valid, method="exact")
    assert "time_covariance" not in one.covariance()
    assert xgpfill.plotting.covariance(one).axes[0].get_xlabel() == "distance [km]"


def test_standard_errors_give_the_noise_of_the_typical_one(ds: xr.Dataset, model: FittedModel) -> None:
    typed = replace(model, errors=xr.full_like(ds.sst, 0.3), typical_error=0.3)
    found = typed.covariance().noise
    assert found.item() == pytest.approx(model.hyperparameters.noise.item() * 0.09)
    assert found.attrs["units"] == "degC2"


@pytest.mark.parametrize("lags", [[-1.0], [np.nan], "far", [[0.0]], []])
def test_lags_must_be_positive_numbers(model: FittedModel, lags: Any) -> None:
    with pytest.raises(CoordinateError, match=r"time=.*expected lags in days.*np\.linspace\(0, 30, 100\)"):
        model.covariance(time=lags)


# Draws


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        ("matern12", lambda d: ref.matern(d, 10.0, 0.5)),
        ("rbf", lambda d: ref.rbf(d, 10.0)),
        ("rational_quadratic", lambda d: ref.rational_quadratic(d, 10.0, 1.0)),
        ("periodic", lambda d: ref.periodic(d, 25.0, 1.0)),
        ("spectral", lambda d: ref.spectral(d, (1.0, 1.0, 1.0), (0.04, 0.08, 0.12), (0.01, 0.01, 0.01))),
        (None, lambda d: 1.0 * (d == 0)),
        ("constant", np.ones_like),
        (Matern(1.5, 30.0), lambda d: ref.matern(d, 30.0, 1.5)),
    ],
)
@pytest.mark.parametrize("axis", ["time", "space"])
def test_draws_have_the_documented_covariance(kernel: Any, expected: Any, axis: str) -> None:
    n = 4000
    draws = xgpfill.prior_draws(kernel, axis=axis, extent=100.0, n=n).isel(kernel=0)
    at = draws[draws.dims[-1]].values[::30]
    found = draws.values[:, ::30].T @ draws.values[:, ::30] / n
    np.testing.assert_allclose(found, expected(np.abs(np.subtract.outer(at, at))), atol=5 * np.sqrt(2 / n))


def test_a_brownian_walk_starts_at_its_offset_and_grows() -> None:
    draws = xgpfill.prior_draws("brownian", extent=50.0, n=4000).isel(kernel=0)
    np.testing.assert_allclose((draws.isel(time=[0, -1]) ** 2).mean("sample"), [0.1, 1.1], rtol=0.15)


def test_the_same_seed_gives_the_same_draws_of_every_kernel_given() -> None:
    kernels = ["matern12", Matern(2.5, 3.0) + "periodic", Brownian() * "rbf", None]
    one, two, other = (xgpfill.prior_draws(kernels, n=2, seed=seed) for seed in (1, 1, 2))
    xr.testing.assert_identical(one, two)
    assert not np.allclose(one, other)
    assert dict(one.sizes) == {"kernel": 4, "sample": 2, "time": 300}
    assert len(xgpfill.plotting.prior_draws(one).axes) == 4


@pytest.mark.parametrize(
    ("error", "options", "match"),
    [
        (DataError, {"axis": "depth"}, r"axis='depth': choose one of 'time', 'space'"),
        (DataError, {"extent": -1.0}, r"extent=-1\.0: expected a positive number of days"),
        (DataError, {"n": 0}, r"n=0: expected a positive number of draws"),
        (KernelError, {"kernels": []}, r"No kernel was given"),
        (KernelError, {"kernels": "brownian", "axis": "space"}, r"brownian is a kernel of time only"),
        (KernelError, {"kernels": "matren"}, r"Unknown kernel 'matren'"),
    ],
)
def test_what_cannot_be_drawn_from_says_what_to_type(
    error: type[XgpfillError], options: dict[str, Any], match: str
) -> None:
    with pytest.raises(error, match=match):
        xgpfill.prior_draws(**({"kernels": "rbf"} | options))


# Covariances


@pytest.mark.parametrize("axis", ["time", "space"])
def test_a_covariance_is_that_of_the_kernel_with_its_variance(axis: str) -> None:
    found = xgpfill.prior_covariance([Matern(1.5, 30.0, variance=2.0), "rbf"], axis=axis, extent=100.0)
    dim = "time" if axis == "time" else "distance"
    assert found.dims == ("kernel", dim, f"{dim}_other")
    lags = np.abs(np.subtract.outer(found[dim].values, found[f"{dim}_other"].values))
    np.testing.assert_allclose(found[0], 2.0 * ref.matern(lags, 30.0, 1.5), rtol=1e-10)
    np.testing.assert_allclose(found[1], ref.rbf(lags, 10.0), rtol=1e-10, atol=1e-14)
    assert found.kernel.values.tolist()[0].endswith(", variance 2")


def test_draws_have_the_variance_that_was_given_and_are_those_of_one_times_its_root() -> None:
    one, four = xgpfill.prior_draws([Matern(0.5, 3.0), Matern(0.5, 3.0, variance=4.0)], n=2)
    np.testing.assert_allclose(four, 2.0 * one, rtol=1e-10)


def test_a_function_of_ones_own_is_drawn_and_pictured() -> None:
    def wiener(x: Any, y: Any) -> Any:
        return np.minimum(x, y.T)

    found = xgpfill.prior_covariance(wiener, extent=50.0)
    np.testing.assert_allclose(found[0], np.minimum.outer(found.time.values, found.time.values))
    figure = xgpfill.plotting.prior_covariance(found)
    assert figure.axes[0].get_title() == "wiener"
    assert xgpfill.prior_draws(wiener, extent=50.0).sizes["time"] == 300


def test_what_is_no_covariance_of_kernels_is_not_pictured() -> None:
    with pytest.raises(
        KernelError, match=r"(?s)no covariances of kernels.*xgpfill\.prior_covariance\(\['matern32', 'rbf'\]"
    ):
        xgpfill.plotting.prior_covariance(xgpfill.prior_draws("rbf"))
