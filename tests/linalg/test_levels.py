"""Levels of depth on a lattice: products, tables and draws equal the kernels of the oracle times one of depth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from xgpfill.grid.directions import levels_of_each, with_levels
from xgpfill.grid.lattice import Lattice, Space
from xgpfill.grid.points import Points
from xgpfill.kernels import spec
from xgpfill.kernels.covariance import Covariance
from xgpfill.kernels.levels.spec import Layered
from xgpfill.kernels.prior import Prior, Term
from xgpfill.linalg.compiled import plain
from xgpfill.linalg.draws import PriorDraws
from xgpfill.linalg.lattice import LatticeOperator
from xgpfill.linalg.loops import covariances
from xgpfill.linalg.tables import Tables

from tests import reference as ref
from tests.linalg.lattices import LATTICES, product_of

DEPTHS = np.array([0.0, 10.0, 35.0, 30.0])
NAMES = ("globe with poles", "globe, odd", "region, uneven times", "plane", "irregular", "one frame", "one site")


def layered(space, length):
    return Layered((space, spec.Matern(1.5, length)))


def prior_of(geometry, num_times):
    """A map, a common series and two products, each with a lengthscale of depth of its own."""
    products = (
        Term("slow", spec.Matern(1.5, 2.0), layered(spec.Matern(1.5, 900.0), 25.0), 1.3),
        Term("fast", spec.Matern(0.5, 1.0), layered(spec.Matern(0.5, 300.0), 12.0), 0.4),
    )
    both = (
        Term("static", spec.Constant(), layered(spec.Matern(1.5, 700.0), 50.0), 0.7),
        Term("common", spec.Matern(1.5, 3.0), layered(spec.Constant(), 40.0), 0.3),
    )
    return Prior((*both, *products) if num_times > 1 else products, noise=0.1, geometry=geometry)


def dense(prior, times, places):
    """Of all cells in the order of a grid of times and sites, by the oracle."""
    flat = places.reshape(-1, places.shape[-1])
    t, s, z = ref.distance(times, times), ref.distance(flat, flat), ref.distance(DEPTHS, DEPTHS)

    def of(kernel, d):
        return np.ones_like(d) if isinstance(kernel, spec.Constant) else ref.matern(d, kernel.lengthscale, kernel.nu)

    terms = [(term.variance, *(term.axes[axis] for axis in ("time", "depth", "space"))) for term in prior.terms]
    return sum(v * np.kron(of(a, t), np.kron(of(b, z), of(c, s))) for v, a, b, c in terms)


@pytest.mark.parametrize("name", NAMES)
def test_products_tables_and_matrices_equal_the_oracle(name):
    times, places, geometry = LATTICES[name]
    prior, coordinates = prior_of(geometry, times.size), with_levels(places, DEPTHS)
    K = dense(prior, times, places)
    points = Points.grid(times, coordinates.reshape(-1, coordinates.shape[-1]))
    assert_allclose(Covariance(prior).matrix(points, points).numpy(), K, atol=1e-12)
    assert_allclose(Covariance(prior).diagonal(points).numpy(), K.diagonal(), atol=1e-12)
    operator = LatticeOperator(prior, times, coordinates, "cpu", torch.float64, 1e-9)
    v = np.random.default_rng(0).standard_normal((len(K), 3))
    assert_allclose(product_of(operator, v), K @ v, rtol=0, atol=1e-9 * np.abs(K @ v).max())
    tables = Tables.of(prior, times, coordinates)
    cells, every = tables.cells(points.time_index, points.site_index), np.arange(len(K), dtype=np.int32)
    some = np.random.default_rng(1).choice(len(K), 25)
    found = np.empty((25, len(K)))
    for k, own in enumerate(some):
        covariances(plain(tables.arrays), cells, own, cells, every, len(cells), found[k])
    assert_allclose(found, K[some], atol=1e-9)


def test_blocks_of_frequencies_are_those_of_one_level():
    times, places, geometry = LATTICES["globe, odd"]
    prior = prior_of(geometry, times.size)
    operator = LatticeOperator(prior, times, with_levels(places, DEPTHS), "cpu", torch.float64, 1e-9)
    moving = [term for term in operator.terms if term.time is not None]
    assert sorted({term.matrix.shape[1] for term in moving}) == [3]


@pytest.mark.parametrize(("name", "few"), [("globe with poles", 0), ("plane", 10**6)])
def test_draws_have_the_covariance_of_the_oracle(name, few, monkeypatch):
    from xgpfill.linalg import draws as module

    monkeypatch.setattr(module, "FEW_SITES", few)
    times, places, geometry = LATTICES[name]
    times, prior = times[:2], prior_of(geometry, 2)
    coordinates = with_levels(places, DEPTHS)
    drawn = PriorDraws(Lattice(None, times, Space(coordinates, geometry)), prior, 3)
    ny, nx, _ = coordinates.shape
    window = np.arange(2), np.arange(ny), np.arange(nx)
    fields = np.stack(list(drawn.fields(range(600), 0, window))).reshape(600, -1)
    K = dense(prior, times, places)
    error = (fields.T @ fields / 600 - K) / np.sqrt(2.0 / 600) / K[0, 0]
    assert np.abs(error).max() < 5.5
    assert np.sqrt(np.mean(error**2)) < 1.0
    part = next(iter(drawn.fields([7], 0, (np.array([1]), np.arange(2, ny, 3), np.array([0, 2])))))
    assert_allclose(part[0], fields[7].reshape(2, ny, nx)[1][2::3][:, [0, 2]], atol=1e-12)


def test_levels_that_lie_elsewhere_are_no_parts():
    places = LATTICES["plane"][1]
    assert_allclose(levels_of_each(with_levels(places, DEPTHS)), DEPTHS)
    moved = np.concatenate([with_levels(places, DEPTHS[:2]), with_levels(places + 1.0, DEPTHS[2:])])
    assert levels_of_each(moved) is None
    assert levels_of_each(places) is None
