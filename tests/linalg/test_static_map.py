"""A map that is the same at all times, told apart: the inverse with all neighbours, and few steps with few."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from xgpfill.grid.points import Observations
from xgpfill.kernels import spec
from xgpfill.kernels.prior import Prior, Term
from xgpfill.operators.conjugate_gradients import conjugate_gradients
from xgpfill.vecchia import static
from xgpfill.vecchia.local import Goals, Patches, local_conditionals, patches_of
from xgpfill.vecchia.preconditioner import Rows, VecchiaFactor
from xgpfill.vecchia.static import StaticFactor, conditionals, places_of_map

from tests.linalg.lattices import LATTICES, crossed, neighbours_of, observed_on
from tests.linalg.test_local import lattice_points
from tests.linalg.test_vecchia import SHARED, covariance_of, dense
from tests.problems import anova, oracle_covariance, oracle_posterior, product


def apart(prior, observations, frame):
    neighbours = neighbours_of(prior, observations, frame)
    points = observations.points
    return neighbours, places_of_map(neighbours.tables, neighbours.tables.cells(points.time_index, points.site_index))


def factor_of(prior, observations, frame, count, **how):
    neighbours, found = apart(prior, observations, frame)
    assert found is not None
    return StaticFactor(neighbours, *found, count, **how)


@pytest.mark.parametrize("lattice", ["globe with poles", "globe, odd", "region", "region, uneven times", "irregular"])
@pytest.mark.parametrize("repeats", [0, 20])
def test_with_all_predecessors_it_is_the_inverse(lattice, repeats):
    times, coordinates, _ = LATTICES[lattice]
    prior = anova("matern12")
    observations = observed_on(times, coordinates, 0.7, noise=0.1, repeats=repeats)
    n = len(observations)
    found = dense(factor_of(prior, observations, coordinates.shape[:2], 2 * n), n)
    assert_allclose(found @ covariance_of(prior, observations), np.eye(n), atol=1e-7)


@pytest.mark.parametrize("noise", [1e-6, 0.1, 10.0])
def test_with_few_neighbours_it_is_symmetric_and_positive_definite(noise):
    times, coordinates, _ = LATTICES["region"]
    observations = observed_on(times, coordinates, 0.7, noise=noise)
    found = dense(factor_of(anova(), observations, coordinates.shape[:2], 8), len(observations))
    assert_allclose(found, found.T, rtol=1e-6, atol=1e-10 * np.abs(found).max())
    assert np.linalg.eigvalsh(0.5 * (found + found.T)).min() > 0


def stations(share=1.0):
    """Months at places that are few, under a map that is much larger than what changes."""
    times, coordinates = np.arange(60.0), crossed(np.linspace(20, 50, 6), np.linspace(0, 40, 5))
    terms = (
        Term("static", spec.Constant(), spec.Matern(1.5, 3000.0), 100.0),
        Term("fast", spec.Matern(1.5, 3.0), spec.Matern(1.5, 1500.0), 1.0),
    )
    prior = Prior(terms, geometry="sphere")
    return prior, observed_on(times, coordinates, share, noise=0.01), coordinates.shape[:2]


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_it_saves_nearly_all_steps_where_a_map_is_large(share):
    prior, observations, frame = stations(share)
    A = torch.as_tensor(covariance_of(prior, observations))
    right = torch.as_tensor(np.random.default_rng(0).standard_normal((len(observations), 3)))

    def steps(factor):
        found = conjugate_gradients(A.__matmul__, right, factor, torch.full((3,), 1e-4).double(), max_steps=1000)
        assert found.converged
        return found.steps

    told, plain = factor_of(prior, observations, frame, 48), VecchiaFactor(apart(prior, observations, frame)[0], 48)
    assert steps(told) <= 20
    assert steps(told) <= 0.34 * steps(plain)


def test_the_precision_is_about_that_of_each_observation_given_all_others():
    prior, observations, frame = stations(0.7)
    exact = np.diag(np.linalg.inv(covariance_of(prior, observations)))
    found = factor_of(prior, observations, frame, 32).precision / exact
    assert 0.8 <= np.median(found) <= 1.1
    assert found.min() > 0.4
    assert found.max() < 1.2


def test_products_in_float32_are_those_in_float64():
    prior, observations, frame = stations(0.7)
    x = torch.as_tensor(np.random.default_rng(0).standard_normal((len(observations), 3)))
    double = factor_of(prior, observations, frame, 16)
    single = factor_of(prior, observations, frame, 16, dtype=torch.float32)
    for y in (single(x), single.to(torch.float32)(x.float()).double(), double.to(torch.float32)(x)):
        assert_allclose(y, double(x), atol=1e-4 * double(x).abs().max())


def test_sums_over_groups_are_those_of_the_dense_matrix():
    prior, observations, frame = stations(0.5)
    neighbours = apart(prior, observations, frame)[0]
    n, group = len(observations), observations.points.site_index % 7
    factor = VecchiaFactor(neighbours, 12)
    before = dense(factor, n)
    E = np.eye(7)[group]
    assert_allclose(factor.summed(group, 7), E.T @ before @ E, rtol=1e-9)
    assert_allclose(dense(factor, n), before, atol=0)  # nothing is changed by it
    values = torch.as_tensor(np.random.default_rng(0).standard_normal((n, 2)))
    assert_allclose(Rows.sums(group, 7) @ values, E.T @ values.numpy(), rtol=1e-12)


@pytest.mark.filterwarnings("ignore:Sparse")  # torch warns of its own state of development
def test_rows_come_back_from_a_sparse_matrix_of_torch_as_they_were():
    dense_rows = torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 3.0]], dtype=torch.float64)
    found, values = Rows.from_device(dense_rows.to_sparse_csr()), torch.eye(3, dtype=torch.float64)
    assert found.num_columns == 3
    assert_allclose(found @ values, dense_rows, atol=0)


@pytest.mark.parametrize(
    "prior",
    [product(spec.Matern(1.5, 3.0), spec.Matern(1.5, 500.0), "sphere"), SHARED.restricted(("c", "d", "e", "g"))],
    ids=["no map", "none that space tells"],
)
def test_where_there_is_no_map_none_is_told_apart(prior):
    times, coordinates, _ = LATTICES["region"]
    assert apart(prior, observed_on(times, coordinates, 1.0), coordinates.shape[:2])[1] is None


def test_nor_is_one_of_one_time_of_places_seen_once_or_of_too_many(monkeypatch):
    prior, observations, frame = stations()
    assert apart(prior, observations, frame)[1] is not None
    once = observations.points.take_in_order(np.flatnonzero(observations.points.time_index == 0))
    single = replace(observations, points=once, values=np.zeros(len(once)), noise=np.full(len(once), 0.01))
    assert apart(prior, single, frame)[1] is None
    monkeypatch.setattr(static, "MOST_PLACES", 29)
    assert apart(prior, observations, frame)[1] is None


def local_of(prior, observations, frame, values, count, patches=None):
    """Conditionals of all cells of a lattice, with its map told apart."""
    neighbours, found = apart(prior, observations, frame)
    factor = StaticFactor(neighbours, *found, min(2 * len(observations), 3 * count))
    points = observations.points
    targets = lattice_points(points.times, points.sites.reshape(*frame, -1), points)
    cells = neighbours.tables.cells(targets.time_index, targets.site_index)
    goals = Goals(cells, np.diag(oracle_covariance(prior, targets, targets)).copy())
    patches = patches or Patches.single(len(targets))
    mean, variance = np.zeros((len(targets), values.shape[1])), np.zeros(len(targets))
    for block in conditionals(factor, neighbours, values, goals, patches, count):
        members, weights = patches.members[block.patches], patches.weights[block.patches]
        np.add.at(mean, members, weights[..., None] * block.mean)
        np.add.at(variance, members, weights * block.variance)
    return mean, variance, targets


@pytest.mark.parametrize("lattice", ["globe with poles", "region, uneven times", "irregular"])
@pytest.mark.parametrize("draws", [0, 2])
def test_local_conditionals_on_all_neighbours_are_those_of_the_oracle(lattice, draws):
    times, coordinates, _ = LATTICES[lattice]
    prior, observations = anova("matern12"), observed_on(times, coordinates, 0.7, noise=0.1)
    values = np.random.default_rng(0).standard_normal((len(observations), draws))
    mean, variance, targets = local_of(prior, observations, coordinates.shape[:2], values, 1000)
    for i in range(draws):
        expected = oracle_posterior(prior, observations.with_values(values[:, i]), targets, trend=False)
        assert_allclose(mean[:, i], expected.mean, rtol=1e-6, atol=1e-7)
    exact = oracle_posterior(prior, observations.with_values(np.zeros(len(observations))), targets, trend=False)
    assert_allclose(variance, exact.variance, rtol=1e-6)


@pytest.mark.parametrize("share", [1.0, 0.3])
@pytest.mark.parametrize("size", [1, 8])
def test_with_few_neighbours_they_are_near_it_where_those_of_all_terms_are_far(share, size):
    prior, observations, frame = stations(share)
    points = observations.points
    seen = np.flatnonzero(points.site_index % 4 > 0)  # some places were never observed
    some = Observations(points.take_in_order(seen), observations.values[seen], observations.noise[seen])
    values = np.random.default_rng(0).standard_normal((len(some), 1))
    patches = patches_of((points.times.size, *frame), (0.9, 0.5, 0.5), most=size)
    _, variance, targets = local_of(prior, some, frame, values, 24, patches)
    exact = oracle_posterior(prior, some.with_values(np.zeros(len(some))), targets, trend=False).variance
    ratio = np.sqrt(variance / exact)
    assert np.median(ratio) < 1.05
    assert ratio.max() < 1.3
    assert ratio.min() > 0.9
    neighbours = apart(prior, some, frame)[0]
    goals = Goals(neighbours.tables.cells(targets.time_index, targets.site_index), np.full(len(targets), 101.0))
    far = local_conditionals(neighbours, values, goals, Patches.single(len(targets)), 24)
    assert np.median(np.sqrt(np.concatenate([block.variance[:, 0] for block in far]) / exact)) > 1.1
