"""Variables that share fields on a lattice: products, tables and draws equal the kernels of the oracle."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from xgpfill.covariance.matrices import Covariance
from xgpfill.grid.directions import has_directions, places_of, places_of_each, point_alike, variable_of, with_variables
from xgpfill.grid.lattice import Lattice, Space
from xgpfill.grid.points import Points
from xgpfill.kernels import spec
from xgpfill.kernels.prior import Prior, Term
from xgpfill.kernels.shared import Shared
from xgpfill.machine.compiled import plain
from xgpfill.operators.draws import PriorDraws
from xgpfill.operators.lattice import LatticeOperator
from xgpfill.operators.tables import Tables
from xgpfill.vecchia.loops import covariances

from tests import reference as ref
from tests.linalg.lattices import LATTICES, product_of

TIMES = {"even": np.arange(4.0), "uneven": np.array([0.0, 1.0, 2.0, 4.5]), "one": np.zeros(1)}
LOADINGS = {"static": (1.0, 0.5), "common": (0.3, 1.0), "slow": (1.0, -0.8), "fast": (0.0, 1.0)}
LENGTH = 2500.0


def prior_of(geometry, length=LENGTH, loadings=LOADINGS):
    def shared(name, kernel):
        return Shared((kernel,), loadings[name])

    terms = (
        Term("static", spec.Constant(), shared("static", spec.Matern(1.5, length)), 0.7),
        Term("common", spec.Matern(0.5, 3.0), shared("common", spec.Constant()), 0.4),
        Term("slow", spec.Matern(1.5, 2.0), shared("slow", spec.Matern(1.5, length)), 1.3),
        Term("fast", spec.Matern(0.5, 1.0), shared("fast", spec.RBF(0.5 * length)), 0.6),
    )
    return Prior(terms, noise=0.1, geometry=geometry)


def dense(places, times, length=LENGTH, loadings=LOADINGS):
    """Of all cells in the order of a grid of times, variables and places."""
    d, lag = ref.distance(places, places), ref.distance(times, times)
    one = np.ones((times.size, times.size))
    parts = {
        "static": (0.7 * one, ref.matern(d, length, 1.5)),
        "common": (0.4 * ref.matern(lag, 3.0, 0.5), np.ones_like(d)),
        "slow": (1.3 * ref.matern(lag, 2.0, 1.5), ref.matern(d, length, 1.5)),
        "fast": (0.6 * ref.matern(lag, 1.0, 0.5), ref.rbf(d, 0.5 * length)),
    }
    return sum(np.kron(t, np.kron(np.outer(loadings[n], loadings[n]), s)) for n, (t, s) in parts.items())


def both(name):
    """Coordinates of a lattice of two variables, those of one as a list, and the geometry."""
    _, places, geometry = LATTICES[name]
    return with_variables(places, 2), places.reshape(-1, places.shape[-1]), geometry


GRIDS = [name for name in LATTICES if name != "one site"]


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("name", GRIDS)
def test_products_equal_the_dense_coregionalised_kernels(name, times):
    coordinates, places, geometry = both(name)
    times = TIMES[times]
    K = dense(places, times)
    operator = LatticeOperator(prior_of(geometry), times, coordinates, "cpu", torch.float64, 1e-9)
    v = np.random.default_rng(0).standard_normal((len(K), 3))
    assert_allclose(product_of(operator, v), K @ v, rtol=0, atol=1e-10 * np.abs(K @ v).max())


def test_three_variables_cost_the_operator_as_many_blocks_as_one():
    coordinates = with_variables(LATTICES["region"][1], 3)
    loadings = {"static": (1.0, 0.5, 0.1), "common": (0.3, 1.0, 0.0), "slow": (1.0, -0.8, 2.0), "fast": (0.0, 1.0, 0.2)}
    operator = LatticeOperator(prior_of("sphere", loadings=loadings), TIMES["even"], coordinates, "cpu", torch.float64)
    rows = [term.matrix.shape[1] for term in operator.terms if term.time is not None]
    assert rows == [len(coordinates) // 3] * 3


@pytest.mark.parametrize("name", GRIDS)
def test_matrices_and_pairs_looked_up_in_tables_equal_the_oracle(name):
    coordinates, places, geometry = both(name)
    times, prior = TIMES["uneven"], prior_of(geometry)
    K = dense(places, times)
    points = Points.grid(times, coordinates.reshape(-1, coordinates.shape[-1]))
    law = Covariance(prior)
    assert_allclose(law.matrix(points, points).numpy(), K, atol=1e-12)
    assert_allclose(law.diagonal(points).numpy(), K.diagonal(), atol=1e-12)
    tables = Tables.of(prior, times, coordinates)
    cells = tables.cells(points.time_index, points.site_index)
    every, found = np.arange(len(cells), dtype=np.int32), np.empty((len(cells), len(cells)))
    for own in range(len(cells)):
        covariances(plain(tables.arrays), cells, own, cells, every, len(cells), found[own])
    assert_allclose(found, K, atol=1e-9)


def test_tables_of_some_places_of_each_variable_equal_the_oracle():
    coordinates, places, geometry = both("region")
    chosen = np.array([0, 3, 5, 20, 30, 31, 40])
    some = coordinates.reshape(-1, coordinates.shape[-1])[chosen][:, None]
    assert places_of_each(some, 2) is None
    tables = Tables.of(prior_of(geometry), TIMES["one"], some)
    expected = dense(places, TIMES["one"])[np.ix_(chosen, chosen)]
    assert_allclose(tables.arrays.static[..., 0], expected)


@pytest.mark.parametrize("name", ["globe with poles", "plane", "irregular"])
def test_draws_have_the_coregionalised_covariance(name, monkeypatch):
    from xgpfill.operators import draws as module

    monkeypatch.setattr(module, "FEW_SITES", 0)
    coordinates, places, geometry = both(name)
    ny, nx, _ = coordinates.shape
    times = TIMES["uneven"][:2]
    source = PriorDraws(Lattice(None, times, Space(coordinates, geometry)), prior_of(geometry), 3)
    window = np.arange(2), np.arange(ny), np.arange(nx)
    fields = np.stack(list(source.fields(range(4000), 0, window))).reshape(4000, -1)
    K = dense(places, times)
    sd = np.sqrt(K.diagonal())
    error = (fields.T @ fields / 4000 - K) / np.sqrt(2.0 / 4000) / np.outer(sd, sd)
    assert np.abs(error).max() < 5.5
    assert np.sqrt(np.mean(error**2)) < 1.2
    part = np.array([1]), np.array([0, ny - 1]), np.array([1, 2])
    assert_allclose(source.field(7, 0, part), fields[7].reshape(2, ny, nx)[np.ix_(*part)])


def test_places_and_variables_are_told_apart_by_the_number_of_columns():
    for places in (np.zeros((3, 2)), np.ones((2, 4, 3))):
        marked = with_variables(places, 3)
        assert not has_directions(marked)
        assert_allclose(places_of(marked)[: len(places)], places)
        assert_allclose(np.unique(variable_of(marked)), [0, 1, 2])
    assert point_alike(marked, marked).all()
    assert not point_alike(marked[:2], marked[2:4]).any()


def test_without_variables_a_shared_kernel_is_that_of_what_is_shared():
    from xgpfill.covariance.evaluate import Lags, correlation

    x = torch.arange(5.0, dtype=torch.float64)[:, None]
    lags = Lags.matrix(x, x, "plane")
    own = spec.Matern(1.5, 2.0)
    assert_allclose(correlation(Shared((own,), (1.0, 0.2)), lags), correlation(own, lags))
