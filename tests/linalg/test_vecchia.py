"""The Vecchia factor is the inverse when all predecessors are neighbours, and a good one when few are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from xgpfill.errors import NumericalError
from xgpfill.grid.points import Observations
from xgpfill.kernels import spec
from xgpfill.kernels.prior import Prior, Term
from xgpfill.operators.conjugate_gradients import conjugate_gradients
from xgpfill.vecchia.preconditioner import VecchiaFactor

from tests.linalg.lattices import LATTICES, crossed, neighbours_of, observed_on
from tests.problems import SPACE_KERNELS, TIME_KERNELS, anova, oracle_covariance, product

SHARED = Prior(
    (
        Term("a", TIME_KERNELS["matern32"], SPACE_KERNELS["rbf"], 0.7),
        Term("b", TIME_KERNELS["matern32"], SPACE_KERNELS["matern12"], 0.2),
        Term("c", TIME_KERNELS["matern32"], spec.Constant(), 0.3),
        Term("d", TIME_KERNELS["matern32"], spec.Independent(), 0.1),
        Term("e", spec.Constant(), spec.Independent(), 0.1),
        Term("f", spec.Independent(), SPACE_KERNELS["matern52"], 0.2),
        Term("g", spec.Constant(), spec.Constant(), 0.2),
    ),
    geometry="sphere",
)
PRIORS = {
    "anova": anova("matern12"),
    "shared kernels": SHARED,
    "space plus time": Prior(
        (
            Term("space", spec.Constant(), SPACE_KERNELS["matern12"], 0.7),
            Term("time", TIME_KERNELS["matern52"], spec.Constant(), 1.1),
        ),
        geometry="sphere",
    ),
    "each frame on its own": product(spec.Independent(), SPACE_KERNELS["matern32"], "sphere"),
    "each site on its own": product(TIME_KERNELS["matern32"], spec.Independent(), "sphere"),
    "brownian": product(TIME_KERNELS["brownian"], SPACE_KERNELS["matern12"], "sphere", 2.0),
    "nothing but a constant": product(spec.Constant(), spec.Constant(), "sphere"),
    "nothing correlated": product(spec.Independent(), spec.Independent(), "sphere"),
}


def dense(factor, n):
    """UᵀU as a matrix."""
    return factor(torch.eye(n, dtype=torch.float64)).numpy()


def covariance_of(prior, observations):
    """Of the oracle, noise included; a kernel of space that knows no distance tells sites apart, as cells do."""
    return oracle_covariance(prior, observations.points, observations.points) + np.diag(observations.noise)


def factor_of(prior, observations, frame, count, **how):
    dtype = how.pop("dtype", torch.float64)
    return VecchiaFactor(neighbours_of(prior, observations, frame, **how), count, dtype=dtype)


@pytest.mark.parametrize("lattice", [name for name in LATTICES if name not in ("globe with poles", "plane")])
@pytest.mark.parametrize("name", PRIORS)
def test_with_all_predecessors_it_is_the_inverse(name, lattice):
    times, coordinates, _ = LATTICES[lattice]
    observations = observed_on(times, coordinates)
    n = len(observations)
    factor = factor_of(PRIORS[name], observations, coordinates.shape[:2], n)
    A = covariance_of(PRIORS[name], observations)
    assert_allclose(dense(factor, n) @ A, np.eye(n), atol=1e-7)
    assert factor.floored == 0


@pytest.mark.parametrize(
    ("lattice", "prior"),
    [
        ("globe with poles", anova("matern32")),
        ("plane", product(TIME_KERNELS["periodic"], SPACE_KERNELS["a product"], "plane")),
        ("plane", anova("matern32", "plane")),
    ],
)
def test_also_at_poles_and_on_a_plane(lattice, prior):
    times, coordinates, _ = LATTICES[lattice]
    observations = observed_on(times, coordinates, noise=0.1)
    n = len(observations)
    found = dense(factor_of(prior, observations, coordinates.shape[:2], n), n)
    assert_allclose(found @ covariance_of(prior, observations), np.eye(n), atol=1e-7)


def test_cells_that_were_measured_several_times():
    times, coordinates, _ = LATTICES["region"]
    observations = observed_on(times, coordinates, repeats=20)
    n = len(observations)
    found = dense(factor_of(anova(), observations, coordinates.shape[:2], n), n)
    assert_allclose(found @ covariance_of(anova(), observations), np.eye(n), atol=1e-7)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_observations_are_enough(n):
    times, coordinates, _ = LATTICES["region"]
    every = observed_on(times, coordinates)
    whole = Observations(every.points.take_in_order(np.arange(n)), np.zeros(n), np.linspace(0.1, 0.4, n))
    found = dense(factor_of(anova(), whole, coordinates.shape[:2], 10), n)
    assert_allclose(found, np.linalg.inv(covariance_of(anova(), whole)), rtol=1e-9)


@pytest.mark.parametrize("name", ["anova", "each frame on its own", "brownian", "space plus time"])
@pytest.mark.parametrize("noise", [1e-14, 1e-6, None], ids=["no noise", "tiny", "per cell"])
def test_with_few_neighbours_it_stays_positive_definite(name, noise):
    """Also where cells are measured twice and there is next to no noise, so that the matrix is singular."""
    times, coordinates, _ = LATTICES["region"]
    observations = observed_on(times, coordinates, 0.6, noise=noise, repeats=10)
    found = dense(factor_of(PRIORS[name], observations, coordinates.shape[:2], 12), len(observations))
    assert np.isfinite(found).all()
    assert_allclose(found, found.T, rtol=1e-9, atol=1e-12 * np.abs(found).max())
    assert np.linalg.eigvalsh(found).min() > 0


def test_repeated_measurements_without_noise_are_floored_and_counted():
    times, coordinates, _ = LATTICES["region"]
    observations = observed_on(times, coordinates, 0.3, noise=1e-14, repeats=30)
    factor = factor_of(anova("matern12"), observations, coordinates.shape[:2], 12)
    assert factor.floored >= 20
    assert np.linalg.eigvalsh(dense(factor, len(observations))).min() > 0


def test_a_covariance_that_is_nan_is_an_error():
    times, coordinates, _ = LATTICES["region"]
    observations = observed_on(times, coordinates, noise=np.nan)
    with pytest.raises(NumericalError, match=r"holds NaN or infinite values. Check the hyperparameters: print"):
        factor_of(anova(), observations, coordinates.shape[:2], 8)


def clouds(noise=0.01):
    """Most cells of some frames, few of others."""
    coordinates = crossed(np.linspace(20, 50, 12), np.linspace(0, 40, 14))
    times = np.arange(8.0)
    rng = np.random.default_rng(0)
    every = observed_on(times, coordinates, 1.0, noise=noise)
    t, s = every.points.time_index, every.points.site_index
    clear = rng.random((8, 12, 14)) < np.where(np.arange(14) // 5 % 2, 0.9, 0.05)
    kept = np.flatnonzero(clear.reshape(8, -1)[t, s])[:700]
    points = every.points.take_in_order(kept)
    return Observations(points, every.values[kept], every.noise[kept]), coordinates.shape[:2]


def steps_with(prior, observations, preconditioner):
    A = torch.as_tensor(covariance_of(prior, observations))
    b = torch.as_tensor(observations.values)[:, None]
    found = conjugate_gradients(A.__matmul__, b, preconditioner, torch.tensor([1e-3]), max_steps=2000)
    assert found.converged
    return found.steps


@pytest.mark.parametrize("family", ["matern12", "matern32"])
def test_few_neighbours_save_most_of_the_steps_and_more_save_more(family):
    prior, (observations, frame) = anova(family), clouds()
    plain = steps_with(prior, observations, lambda x: x)
    few, more = (steps_with(prior, observations, factor_of(prior, observations, frame, m)) for m in (8, 30))
    assert more <= few < plain / 3


def test_the_noise_of_each_observation_is_on_the_diagonal():
    prior, (observations, frame) = anova("matern32"), clouds()
    rng = np.random.default_rng(0)
    uneven = Observations(observations.points, observations.values, 10.0 ** rng.uniform(-3, 1, len(observations)))
    right, wrong = (factor_of(prior, o, frame, 15) for o in (uneven, observations))
    assert steps_with(prior, uneven, right) < steps_with(prior, uneven, wrong) / 3


def test_the_seed_settles_the_factor():
    observations, frame = clouds()
    n = len(observations)
    one, same, other = (dense(factor_of(anova(), observations, frame, 10, seed=s), n) for s in (1, 1, 2))
    assert_allclose(one, same, rtol=0, atol=0)
    assert np.abs(one - other).max() > 1e-6


def test_products_in_float32_are_those_in_float64():
    observations, frame = clouds()
    x = torch.as_tensor(np.random.default_rng(0).standard_normal((len(observations), 4)))
    fine, coarse = (factor_of(anova(), observations, frame, 10, dtype=d) for d in (torch.float64, torch.float32))
    for single in (coarse, fine.to(torch.float32)):
        found = single(x.float())
        assert found.dtype == torch.float32
        assert_allclose(found, fine(x), atol=1e-4 * float(fine(x).abs().max()))
