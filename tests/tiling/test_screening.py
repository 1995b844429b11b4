"""How far observations matter: against dense kriging, on full and empty fields, in memory and lazily."""

from __future__ import annotations

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
import xarray as xr
import xgpfill
from numpy.testing import assert_allclose
from xgpfill.kernels import spec
from xgpfill.kernels.prior import Prior, Term
from xgpfill.tiling.views import screening
from xgpfill.tiling.views.screening import screening_distances

from tests.problems import lattice, oracle_covariance, product

PRIOR = replace(product(spec.Matern(1.5, 2.0), spec.Matern(1.5, 300.0), "sphere"), noise=0.05)


@pytest.fixture(autouse=True)
def few_windows(monkeypatch):
    monkeypatch.setattr(screening, "WINDOWS", 3)


def gappy(share, shape=(9, 20, 24)):
    """So many cells observed; of what, does not matter."""
    rng = np.random.default_rng(0)
    return lattice(np.where(rng.random(shape) < share, rng.standard_normal(shape), np.nan))


def explained(seen, cell, prior, inside):
    """Variance of a cell that some observations explain, by dense kriging."""
    used = seen.points.take_in_order(np.flatnonzero(inside))
    gram = oracle_covariance(prior, used, used) + np.diag(seen.noise[inside])
    cross = oracle_covariance(prior, used, cell)[:, 0]
    return float(cross @ np.linalg.solve(gram, cross))


def test_what_is_lost_beyond_a_distance_is_what_dense_kriging_loses_there():
    of = gappy(0.3, (4, 8, 9))
    ((seen, cell),) = list(screening._probes(of, PRIOR, np.random.default_rng(1)))[:1]
    kms, days = np.array([200.0, 500.0, 900.0, 5000.0]), np.array([0.0, 1.0, 9.0])
    for distances, away in ((kms, screening._in_space), (days, screening._in_time)):
        lost = screening._lost(seen, cell, PRIOR, np.random.default_rng(0), distances, away)
        everything = explained(seen, cell, PRIOR, np.ones(len(seen), dtype=bool))
        left = float(oracle_covariance(PRIOR, cell, cell)[0, 0]) - everything
        reached = [explained(seen, cell, PRIOR, away(seen.points, cell) <= d) for d in distances]
        assert_allclose(lost, (everything - np.array(reached)) / left, rtol=1e-8, atol=1e-10)
        assert lost[-1] < 1e-12 < lost[0]


def test_observations_matter_farther_where_there_are_fewer():
    prior = replace(product(spec.Matern(1.5, 6.0), spec.Matern(1.5, 900.0), "sphere"), noise=0.05)
    near, far = (screening_distances(gappy(share, (30, 14, 14)), prior, 0) for share in (0.5, 0.03))
    assert near[0] < far[0] and near[1] < far[1]
    assert near[1] < 1.5 * 900.0


def test_the_same_seed_finds_the_same_distances_in_memory_and_lazily():
    of = gappy(0.2)
    lazy = replace(of, values=da.from_array(of.values, chunks=(3, 7, 24)))
    assert screening_distances(of, PRIOR, 3) == screening_distances(lazy, PRIOR, 3)


def test_without_gaps_or_observations_nothing_is_known():
    of = gappy(1.0, (3, 5, 6))
    assert screening_distances(of, PRIOR, 0) == (None, None)
    assert screening_distances(replace(of, values=np.full(of.shape, np.nan)), PRIOR, 0) == (None, None)
    land = replace(gappy(0.5, (3, 5, 6)), valid=np.zeros((3, 5, 6), dtype=bool))
    assert screening_distances(land, PRIOR, 0) == (None, None)


def test_one_image_has_a_distance_in_space_alone():
    still = replace(product(spec.Constant(), spec.Matern(1.5, 300.0), "sphere"), noise=0.05)
    days, km = screening_distances(gappy(0.5, (1, 30, 30)), still, 0)
    assert days is None and 200.0 < km < 1500.0


def test_windows_without_observations_are_passed_over():
    of = gappy(0.3, (6, 60, 60))
    values = np.array(of.values)
    values[:, :52], values[:, :, :52] = np.nan, np.nan  # an eighth of the rows and columns hold something
    sea = replace(of, values=values, valid=np.broadcast_to(np.isfinite(values).any(0), of.shape))
    assert None not in screening_distances(sea, PRIOR, 0)


def test_what_reaches_beyond_the_windows_is_not_known(monkeypatch):
    monkeypatch.setattr(screening, "ACROSS", 3)
    monkeypatch.setattr(screening, "DEEP", 2)
    far = replace(product(spec.Matern(1.5, 20.0), spec.Matern(1.5, 3000.0), "sphere"), noise=0.5)
    assert screening_distances(gappy(0.05, (20, 30, 30)), far, 0) == (None, None)


def test_what_never_varies_does_not_lengthen_times():
    static = Term("static", spec.Constant(), spec.Matern(1.5, 300.0), 1.0)
    both = Prior((*PRIOR.terms, static), noise=0.05, geometry="sphere")
    of = gappy(0.2)
    assert screening_distances(of, both, 0)[0] == screening_distances(of, PRIOR, 0)[0]


@pytest.fixture
def large(monkeypatch):
    monkeypatch.setattr(screening, "LARGE", 100)


def test_a_fit_of_a_large_field_finds_it_and_keeps_it(large, tmp_path):
    ds = xgpfill.datasets.synthetic_sst(days=12, nlat=12, nlon=16)
    model = ds.sst.gpfill.fit(valid=ds.valid, method="iterative")
    days, km = model.screening
    assert days is not None and km is not None
    model.save(tmp_path / "model.nc")
    assert xgpfill.load(tmp_path / "model.nc").screening == (days, km)
    again = model.condition(ds.sst.where(np.random.default_rng(0).random(ds.sst.shape) < 0.15))
    assert again.screening[1] > km
    assert model.condition(ds.sst.chunk(time=3)).screening == (days, km)  # as it was: of lazy data nothing is read


def test_a_small_field_and_one_of_inducing_points_need_none(large, monkeypatch):
    ds = xgpfill.datasets.synthetic_sst(days=8, nlat=8, nlon=8)
    few = ds.sst.gpfill.fit(valid=ds.valid, method=xgpfill.Variational(num_inducing=20))
    assert few.screening == (None, None)
    monkeypatch.undo()
    assert ds.sst.gpfill.fit(valid=ds.valid, method="exact").screening == (None, None)


def test_tiles_of_rows_and_columns_are_lazily_as_in_memory(large):
    ds = xgpfill.datasets.synthetic_sst(days=4, nlat=12, nlon=18)
    tile = {"lat": 6, "lon": 6}
    eager = ds.sst.gpfill.fit(valid=ds.valid, method="iterative")
    lazy = ds.sst.chunk(time=2).gpfill.fit(valid=ds.valid, method="iterative")
    assert eager.screening == lazy.screening
    a, b = eager.reconstruct(tile=tile), lazy.reconstruct(tile=tile).compute()
    xr.testing.assert_allclose(a.mean, b.mean)
    xr.testing.assert_allclose(a.variance, b.variance)
