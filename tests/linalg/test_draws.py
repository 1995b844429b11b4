"""Draws of the prior: the covariance it says, the same on any window, independent from draw to draw."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from xgpfill.covariance.averaged import Averaged, Members
from xgpfill.covariance.matrices import Covariance
from xgpfill.errors import KernelError
from xgpfill.grid.points import Points
from xgpfill.kernels import spec
from xgpfill.kernels.prior import Prior, Term
from xgpfill.operators import draws as module
from xgpfill.operators.draws import PriorDraws

from tests.problems import SPACE_KERNELS, TIME_KERNELS, anova, lattice, oracle_covariance, product

SHAPE = (3, 2, 3)
DRAWS = 3000
SIGMAS = 5.0

DENSE, LONG, WIDE, BOTH = (4000, 4000), (4000, 2), (2, 4000), (2, 2)
PATHS = {"dense": DENSE, "features in time": LONG, "features in space": WIDE, "features in both": BOTH}


def frame(geometry="sphere", shape=SHAPE):
    return lattice(np.zeros(shape), geometry=geometry, spacing=4.0)


def whole(shape=SHAPE):
    return tuple(np.arange(n) for n in shape)


def cells(of):
    sites = of.space.coordinates.reshape(of.space.size, -1)
    return Points.grid(of.time, sites)


@pytest.fixture
def path(request, monkeypatch):
    sites, times = PATHS[request.param]
    monkeypatch.setattr(module, "DENSE_SITES", sites)
    monkeypatch.setattr(module, "DENSE_TIMES", times)
    monkeypatch.setattr(module, "NUM_FEATURES", 40)
    return request.param


def every_path(*but):
    return pytest.mark.parametrize("path", [p for p in PATHS if p not in but], indirect=True)


def assert_covariance(prior: Prior, draws: int = DRAWS, seed: int = 0):
    """The mean square of many draws is the covariance of the oracle, within sampling error."""
    of = frame(prior.geometry)
    source = PriorDraws(of, prior, seed)
    fields = np.stack([source.field(i, 0, whole()).ravel() for i in range(draws)])
    K = oracle_covariance(prior, cells(of), cells(of))
    found = fields.T @ fields / draws
    error = np.sqrt((np.outer(np.diag(K), np.diag(K)) + K**2) / draws)
    assert_allclose(found, K, atol=1e-9 + SIGMAS * error.max())
    assert np.abs((found - K) / (error + 1e-9)).max() < SIGMAS
    assert_allclose(fields.mean(0), 0.0, atol=SIGMAS * np.sqrt(np.diag(K).max() / draws))


PRIORS = {
    "anova": anova("matern32"),
    "a product of rbf": product(TIME_KERNELS["rbf"], SPACE_KERNELS["rbf"], "plane", 2.0),
    "rational quadratic": product(TIME_KERNELS["rational_quadratic"], SPACE_KERNELS["rational_quadratic"], "sphere"),
    "periodic": product(TIME_KERNELS["periodic"], SPACE_KERNELS["periodic"], "plane"),
    "periodic on a cylinder": product(TIME_KERNELS["matern12"], SPACE_KERNELS["periodic"], "cylinder"),
    "spectral": product(TIME_KERNELS["spectral"], SPACE_KERNELS["spectral"], "plane"),
    "sums and products": product(TIME_KERNELS["a weighted sum"], SPACE_KERNELS["a product"], "plane"),
    "space plus time": Prior(
        (
            Term("space", spec.Constant(), SPACE_KERNELS["matern12"], 0.7),
            Term("time", TIME_KERNELS["matern52"], spec.Constant(), 1.1),
        ),
        geometry="sphere",
    ),
    "nothing but a constant": product(spec.Constant(), spec.Constant(), "plane"),
}


@every_path()
def test_averages_are_drawn_with_their_covariance(path):
    """Epochs of the second and third of four times, in a prior that never changes in space or does."""
    times = np.arange(4.0)[:, None]
    groups = Members.among(times, times[1:2], times[1:3], np.array([2]))
    prior = Prior((Term("a", Averaged(spec.RBF(2.0), groups), SPACE_KERNELS["rbf"], 1.0),), geometry="sphere")
    of = replace(frame(), time=times[[0, 1, 3], 0])
    source = PriorDraws(of, prior, 0)
    fields = np.stack([source.field(i, 0, whole()).ravel() for i in range(DRAWS)])
    K = Covariance(prior).matrix(cells(of), cells(of)).numpy()
    assert K[len(K) // 2, len(K) // 2] < 0.98  # an average varies less
    error = np.sqrt((np.outer(np.diag(K), np.diag(K)) + K**2) / DRAWS)
    assert np.abs((fields.T @ fields / DRAWS - K) / error).max() < SIGMAS


@every_path("features in both")
@pytest.mark.parametrize("name", ["anova", "space plus time"])
def test_the_covariance_over_draws_is_that_of_the_oracle(name, path):
    assert_covariance(PRIORS[name], DRAWS if path == "dense" else DRAWS // 2)


@pytest.mark.parametrize("path", ["features in both"], indirect=True)
@pytest.mark.parametrize("name", PRIORS)
def test_features_have_the_covariance_of_every_kernel(name, path):
    assert_covariance(PRIORS[name], DRAWS // 2)


@every_path()
@pytest.mark.parametrize("axis", ["time", "space"])
def test_what_is_independent_along_an_axis_is_drawn_independently(axis, path):
    kernels = {"time": TIME_KERNELS["matern32"], "space": SPACE_KERNELS["matern32"]} | {axis: spec.Independent()}
    assert_covariance(product(**kernels, geometry="plane"), DRAWS // 2)


@every_path("features in time", "features in both")
def test_a_brownian_walk_is_drawn(path):
    assert_covariance(product(TIME_KERNELS["brownian"], SPACE_KERNELS["matern32"], "plane"), DRAWS // 2)


@pytest.mark.parametrize("path", ["features in time", "features in both"], indirect=True)
def test_a_brownian_walk_over_very_many_times_says_what_to_do(path):
    prior = product(TIME_KERNELS["brownian"], SPACE_KERNELS["matern32"], "plane")
    with pytest.raises(KernelError, match=r"Brownian has no spectral density.*Sample fewer times, or choose another"):
        PriorDraws(frame("plane"), prior, 0).field(0, 0, whole())


def test_time_that_is_independent_takes_no_matrix_of_all_times(monkeypatch):
    """10,000 days would be 800 MB, and a factor as much again."""
    made, factored = [], module.cholesky
    monkeypatch.setattr(module, "cholesky", lambda K, **kwargs: made.append(K.shape[0]) or factored(K, **kwargs))
    monkeypatch.setattr(module, "DENSE_TIMES", 2)
    source = PriorDraws(frame("plane"), product(spec.Independent(), spec.Constant(), "plane"), 0)
    source.field(0, 0, whole())
    assert made == []


# Windows


@every_path()
def test_a_window_holds_the_same_draw_as_the_whole_lattice(path):
    source = PriorDraws(frame(), anova(), seed=3)
    everything = source.field(2, 1, whole())
    for window in (
        (np.array([1]), np.array([0, 1]), np.array([0, 1, 2])),
        (np.array([2, 0]), np.array([1]), np.array([2, 0])),
        (np.arange(3), np.arange(2), np.array([2, 0, 1])),
    ):
        assert_allclose(source.field(2, 1, window), everything[np.ix_(*window)], rtol=1e-12, atol=1e-13)


def test_a_window_holds_the_same_noise_as_the_whole_lattice():
    source = PriorDraws(frame(), anova(), seed=3)
    window = (np.array([2, 0]), np.array([1]), np.array([2, 0]))
    assert_array_equal(source.noise(2, 1, window), source.noise(2, 1, whole())[np.ix_(*window)])


def test_a_copy_sent_to_another_process_draws_the_same():
    source = PriorDraws(frame(), anova(), seed=3)
    here = source.field(1, 0, whole())
    there = pickle.loads(pickle.dumps(source))
    assert len(pickle.dumps(source)) < 10_000
    assert_array_equal(there.field(1, 0, whole()), here)
    assert_array_equal(there.noise(1, 0, whole()), source.noise(1, 0, whole()))


# Streams


def test_seeds_draws_and_members_all_give_other_fields():
    def field(seed, draw, member):
        return PriorDraws(frame(), anova(), seed).field(draw, member, whole())

    assert_array_equal(field(1, 2, 3), field(1, 2, 3))
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4), (1, 3, 2)):
        assert np.abs(field(1, 2, 3) - field(*other)).min() > 0


def test_noise_is_white_with_unit_variance():
    shape = (20, 30, 40)
    found = PriorDraws(frame(shape=shape), anova(), seed=0).noise(0, 0, whole(shape))
    assert found.mean() == pytest.approx(0, abs=5 / np.sqrt(found.size))
    assert found.var() == pytest.approx(1, abs=5 * np.sqrt(2 / found.size))
    for axis in range(3):
        neighbours = np.moveaxis(found, axis, 0)
        assert np.mean(neighbours[1:] * neighbours[:-1]) == pytest.approx(0, abs=5 / np.sqrt(found.size))


@pytest.mark.parametrize(
    "other",
    [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 2**20, 0)],
    ids=["draw", "member", "seed", "both", "fresh"],
)
def test_noise_streams_share_no_number(other):
    shape = (4, 10, 12)

    def noise(draw, member, seed):
        return PriorDraws(frame(shape=shape), anova(), seed).noise(draw, member, whole(shape))

    first, second = noise(0, 0, 0), noise(*other)
    assert not np.isin(first, second).any()
    assert np.unique(first).size == first.size
    assert_array_equal(first, noise(0, 0, 0))
