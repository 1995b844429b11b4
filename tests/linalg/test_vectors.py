"""Two components of a vector on a lattice: products, tables and draws equal the projected kernels of the oracle."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from xgpfill.covariance.matrices import Covariance
from xgpfill.grid.directions import along_axes, east_and_north, with_directions
from xgpfill.grid.lattice import Lattice, Space
from xgpfill.grid.meridians import find_meridians
from xgpfill.grid.points import Points
from xgpfill.kernels import spec
from xgpfill.kernels.prior import Prior, Term
from xgpfill.machine.compiled import plain
from xgpfill.operators.draws import PriorDraws
from xgpfill.operators.lattice import LatticeOperator
from xgpfill.operators.tables import Tables
from xgpfill.vecchia.loops import covariances

from tests import reference as ref
from tests.linalg.lattices import product_of

EVEN, ODD = np.arange(0, 360, 36.0), np.arange(0, 360, 40.0)
TIMES = np.array([0.0, 1.0, 2.0, 4.5])
PLACES = {
    "globe": (np.array([-60.0, -10, 35]), EVEN),
    "globe with poles": (np.linspace(90, -90, 5), EVEN),
    "globe with poles, odd": (np.linspace(-90, 90, 5), ODD),
    "globe from the east": (np.linspace(-90, 90, 4), ODD[::-1] + 7.0),
    "repeated meridian": (np.array([-90.0, -10, 35]), np.append(EVEN, 360.0)),
    "region": (np.array([10.0, 25, 30, 32]), 10 + 4.0 * np.arange(7)),
    "region with a pole": (np.array([70.0, 80, 90]), 6.0 * np.arange(6)),
    "region across the date line": (np.array([10.0, 25]), np.array([170.0, 175, 180, -175])),
    "irregular longitudes": (np.array([10.0, 25, 90]), np.array([0.0, 3, 7, 20])),
}
KERNELS = {
    "matern32": (spec.Matern(1.5, 3000.0), lambda d: ref.matern(d, 3000.0, 1.5)),
    "rbf": (spec.RBF(2500.0), lambda d: ref.rbf(d, 2500.0)),
}


def components(lat, lon):
    """Embedded lattice (2 ny, nx, 6) and the places of one component, each (ny, nx)."""
    lat, lon = np.meshgrid(lat, lon, indexing="ij")
    return with_directions(ref.chord(lat, lon), east_and_north(np.radians(lat), np.radians(lon))), lat, lon


def prior_of(kernel):
    terms = (
        Term("static", spec.Constant(), kernel, 0.7),
        Term("product", spec.Matern(1.5, 2.0), kernel, 1.3),
    )
    return Prior(terms, noise=0.1, geometry="sphere")


def dense(oracle, lat, lon, times):
    """Of all cells in the order of a grid of times and sites."""
    lat, lon = lat.ravel(), lon.ravel()
    K = ref.projected(oracle(ref.distance(ref.chord(lat, lon), ref.chord(lat, lon))), lat, lon)
    in_time = 0.7 + 1.3 * ref.matern(ref.distance(times, times), 2.0, 1.5)
    return np.kron(in_time, K)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", PLACES)
def test_products_equal_the_dense_projected_kernels(name, kernel):
    coordinates, lat, lon = components(*PLACES[name])
    own, oracle = KERNELS[kernel]
    K = dense(oracle, lat, lon, TIMES)
    operator = LatticeOperator(prior_of(own), TIMES, coordinates, "cpu", torch.float64, 1e-9)
    assert (operator.transform is None) == (name == "irregular longitudes")
    v = np.random.default_rng(0).standard_normal((len(K), 3))
    assert_allclose(product_of(operator, v), K @ v, rtol=0, atol=1e-10 * np.abs(K @ v).max())


def test_products_by_fft_equal_those_by_a_matrix():
    coordinates, *_ = components(np.array([-90.0, 20.0, 90.0]), np.arange(0, 360, 360 / 800))
    own, _ = KERNELS["rbf"]
    prior = Prior((Term("product", spec.Constant(), own, 1.0),), noise=0.1, geometry="sphere")
    operator = LatticeOperator(prior, TIMES[:1], coordinates, "cpu", torch.float64, 1e-9)
    assert not operator.transform.by_matrix
    chosen = np.random.default_rng(0).choice(coordinates.shape[0] * 800, 40, replace=False)
    points = Points.grid(TIMES[:1], coordinates.reshape(-1, 6)).take_in_order(chosen)
    site, time = operator.cells(points.time_index, points.site_index)
    field = operator.empty(40)
    field[site, torch.arange(40), time] = 1.0
    K = Covariance(prior).matrix(points, points).numpy()
    assert_allclose(operator(field)[site, :, time].numpy(), K, atol=1e-10)


@pytest.mark.parametrize("name", PLACES)
def test_matrices_between_points_equal_the_oracle(name):
    coordinates, lat, lon = components(*PLACES[name])
    own, oracle = KERNELS["matern32"]
    points = Points.grid(TIMES, coordinates.reshape(-1, 6))
    K = dense(oracle, lat, lon, TIMES)
    law = Covariance(prior_of(own))
    assert_allclose(law.matrix(points, points).numpy(), K, atol=1e-12)
    assert_allclose(law.diagonal(points).numpy(), 2.0, atol=1e-12)
    assert np.linalg.eigvalsh(K).min() > -1e-9


@pytest.mark.parametrize("name", PLACES)
def test_pairs_looked_up_in_tables_equal_the_oracle(name):
    coordinates, lat, lon = components(*PLACES[name])
    own, oracle = KERNELS["matern32"]
    tables = Tables.of(prior_of(own), TIMES, coordinates)
    t, s = np.indices((TIMES.size, coordinates.shape[0] * coordinates.shape[1])).reshape(2, -1)
    cells = tables.cells(t, s)
    every, found = np.arange(len(cells), dtype=np.int32), np.empty((len(cells), len(cells)))
    for own_cell in range(len(cells)):
        covariances(plain(tables.arrays), cells, own_cell, cells, every, len(cells), found[own_cell])
    assert_allclose(found, dense(oracle, lat, lon, TIMES), atol=1e-9)


def test_the_two_components_at_a_pole_are_one_vector_seen_from_every_meridian():
    coordinates, *_ = components(np.array([0.0, 90.0]), EVEN)
    pole = coordinates.reshape(2, 2, EVEN.size, 6)[:, 1].reshape(-1, 6)
    K = Covariance(prior_of(spec.RBF(2500.0))).matrix(*[Points.grid(TIMES[:1], pole)] * 2).numpy()
    assert np.linalg.matrix_rank(K, tol=1e-9) == 2


def test_east_and_north_are_odd_against_each_other_on_a_sphere_alone():
    coordinates, lat, lon = components(np.array([-90.0, 10.0, 90.0]), EVEN)
    assert find_meridians(coordinates, "sphere").odd.tolist() == [False] * 3 + [True] * 3
    assert not find_meridians(coordinates[..., :3], "sphere").odd.any()
    sheet = with_directions(ref.cylinder(lat, lon), along_axes(lat.shape))
    found = find_meridians(sheet, "cylinder")
    assert not found.odd.any()
    assert_allclose(found.columns(np.array([3.0]))[0], sheet[:, 3], atol=1e-9)
    flat = with_directions(np.stack([lon, lat], axis=-1), along_axes(lat.shape))
    assert_allclose(find_meridians(flat, "plane").columns(np.array([4.0]))[0], flat[:, 4], atol=1e-9)


@pytest.mark.parametrize("name", ["globe with poles", "globe with poles, odd", "region with a pole"])
def test_draws_have_the_projected_covariance(name, monkeypatch):
    from xgpfill.operators import draws as module

    monkeypatch.setattr(module, "FEW_SITES", 0)
    coordinates, lat, lon = components(*PLACES[name])
    own, oracle = KERNELS["matern32"]
    frame = Lattice(None, TIMES[:1], Space(coordinates, "sphere"))
    drawn = PriorDraws(frame, prior_of(own), 3)
    assert drawn._spectral(own) is not None
    ny, nx, _ = coordinates.shape
    window = np.arange(1), np.arange(ny), np.arange(nx)
    fields = np.stack(list(drawn.fields(range(6000), 0, window))).reshape(6000, -1)
    K = dense(oracle, lat, lon, TIMES[:1])
    error = (fields.T @ fields / 6000 - K) / np.sqrt(2.0 / 6000) / 2.0
    assert np.abs(error).max() < 5.0
    assert np.sqrt(np.mean(error**2)) < 1.2
