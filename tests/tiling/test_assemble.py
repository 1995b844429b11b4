"""From tiles to the field: a huge halo is no tiles, no seam around the globe, lazy is eager, gaps of any size work."""

from __future__ import annotations

import warnings
from dataclasses import replace

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
import xgpfill
from numpy.testing import assert_allclose
from xgpfill.errors import DataError
from xgpfill.grid.points import Points
from xgpfill.grid.scaling import Scaling
from xgpfill.kernels.spec import Matern
from xgpfill.settings import Exact
from xgpfill.tiling.assemble import blended_points, cut, lazy_member, lazy_points, run_member, tile_means, tile_moments
from xgpfill.tiling.solve import TileSolver
from xgpfill.tiling.tiles import AxisTiles, TilePlan

from tests.problems import anova, lattice, observed

# A realistic small field


@pytest.fixture(scope="module")
def sea():
    """Twelve cloudy days off a coast, 20 km a cell, some five hundred observations with errors of 0.12 °C."""
    everything = xgpfill.datasets.synthetic_sst(days=12, nlat=40, nlon=60, seed=1)
    return everything.isel(lat=slice(9, 18), lon=slice(36, 48))


@pytest.fixture(scope="module")
def model(sea):
    return sea.sst.astype(float).gpfill.fit(valid=sea.valid, method="exact", noise_std=0.12, progress=False)


@pytest.fixture(scope="module")
def whole(model):
    mean, variance = model.reconstruct()
    return mean, variance


def in_sd(found, expected, variance):
    """Root mean square difference in units of the posterior standard deviation."""
    return float(np.sqrt((((found - expected) ** 2) / variance).mean()))


# A huge halo


@pytest.mark.parametrize("tile", [{"time": 5}, {"time": 5, "lat": 5, "lon": 4}], ids=["time", "time and space"])
def test_a_halo_that_covers_the_domain_is_no_tiles_at_all(sea, model, whole, tile):
    tiled = sea.sst.astype(float).gpfill.fit(
        valid=sea.valid, method="exact", noise_std=0.12, tile=tile, halo=1000, progress=False
    )
    xr.testing.assert_allclose(tiled.hyperparameters, model.hyperparameters)
    mean, variance = tiled.reconstruct()
    xr.testing.assert_allclose(mean, whole[0], rtol=1e-6)
    xr.testing.assert_allclose(variance, whole[1], rtol=1e-6)


def test_fit_without_tiles_answers_as_reconstruct_asked_for_tiles_does(model, whole):
    mean, variance = model.reconstruct(tile={"time": 4}, halo={"time": 100})
    xr.testing.assert_allclose(mean, whole[0], rtol=1e-6)
    xr.testing.assert_allclose(variance, whole[1], rtol=1e-6)


# Tiles that see a part


@pytest.mark.parametrize("tile", [{"time": 4}, {"lat": 5, "lon": 6}, {"time": 6, "lat": 5, "lon": 6}])
def test_exact_tiles_agree_with_one_tile_within_a_fifteenth_of_the_sd(model, whole, tile):
    mean, variance = model.reconstruct(tile=tile)
    assert in_sd(mean, whole[0], whole[1]) < 1 / 15
    assert float(abs(variance / whole[1] - 1).mean()) < 0.05


def test_a_wider_halo_comes_no_farther(model, whole):
    for tile in ({"time": 4}, {"lat": 5, "lon": 6}):
        far = [in_sd(model.reconstruct(tile=tile, halo=halo).mean, whole[0], whole[1]) for halo in (0, 2, 5)]
        assert 0.2 > far[0] >= far[1] - 1e-9 >= far[2] - 2e-9


@pytest.fixture(scope="module")
def variational(sea, model):
    """The same model by inducing points, as a function of the share of the observations that are inducing."""

    def fitted(share):
        count = round(share * int(sea.sst.notnull().sum()))
        return sea.sst.astype(float).gpfill.fit(
            valid=sea.valid,
            method=xgpfill.Variational(num_inducing=count),
            hyperparameters=model.hyperparameters,
            tile={"time": 1000},
            progress=False,
        )

    return fitted


@pytest.mark.parametrize(("tile", "halo"), [({"time": 4}, "auto"), ({"lat": 5, "lon": 6}, 5)])
def test_variational_tiles_agree_with_one_tile_within_a_fifteenth_of_the_sd(variational, tile, halo):
    """Each tile has inducing points of its own, and enough of them."""
    model = variational(0.6)
    one, tiled = model.reconstruct(), model.reconstruct(tile=tile, halo=halo)
    assert in_sd(tiled.mean, one.mean, one.variance) < 1 / 15
    assert float(abs(tiled.variance / one.variance - 1).mean()) < 0.05


@pytest.mark.parametrize("share", [0.05, 0.1])
def test_tiles_with_inducing_points_of_their_own_come_closer_to_the_exact_field(model, share):
    sea = xgpfill.datasets.synthetic_sst(days=60, nlat=40, nlon=60, seed=1).isel(lat=slice(9, 15), lon=slice(36, 42))
    how = {"valid": sea.valid, "hyperparameters": model.hyperparameters, "progress": False}
    exact = sea.sst.gpfill.fit(method="exact", **how).reconstruct()
    count = round(share * int(sea.sst.notnull().sum()))
    coarse = sea.sst.gpfill.fit(method=xgpfill.Variational(num_inducing=count), tile={"time": 1000}, **how)
    one, tiled = coarse.reconstruct(), coarse.reconstruct(tile={"time": 10})
    far, near = (in_sd(found.mean, exact.mean, exact.variance) for found in (one, tiled))
    assert near < 0.8 * far
    assert float((tiled.variance / exact.variance).mean()) < float((one.variance / exact.variance).mean())


def test_there_is_no_step_in_the_field_at_the_border_of_two_tiles(model):
    mean, _ = model.reconstruct(tile={"lon": 6}, halo=2)
    steps = abs(mean.diff("lon")).mean(("time", "lat"))
    assert float(steps[4:7].max()) < 2 * float(steps.median())


def test_the_tiles_do_not_change_where_the_field_is_missing(model, whole):
    mean, variance = model.reconstruct(tile={"time": 5, "lat": 5}, halo=1)
    xr.testing.assert_equal(mean.isnull(), whole[0].isnull())
    xr.testing.assert_equal(variance.isnull(), whole[0].isnull())
    assert float(variance.min()) > 0


# All-gap tiles


@pytest.mark.parametrize("method", ["exact", xgpfill.Variational(num_inducing=300)], ids=["exact", "variational"])
@pytest.mark.parametrize("halo", [0, 1, "auto"])
def test_a_tile_without_an_observation_is_filled_from_the_others(sea, model, whole, method, halo):
    gappy = sea.sst.astype(float).where((sea.time < sea.time[4]) | (sea.time > sea.time[9]))
    fitted = gappy.gpfill.fit(
        valid=sea.valid,
        method=method,
        hyperparameters=model.hyperparameters,
        tile={"time": 3},
        halo=halo,
        progress=False,
    )
    mean, variance = fitted.reconstruct()
    inside = variance.isel(time=slice(5, 9))
    assert bool(mean.notnull().where(sea.valid, True).all()) and bool((inside.where(sea.valid, 1) > 0).all())
    assert float(inside.mean()) > float(whole[1].isel(time=slice(5, 9)).mean())
    spread = float(whole[0].std())
    assert float(abs(mean.isel(time=slice(5, 9)) - whole[0].mean("time")).max()) < 5 * spread


def test_one_observed_frame_fills_tiles_that_see_nothing(sea, model):
    gappy = sea.sst.astype(float).where(sea.time == sea.time[0])
    fitted = gappy.gpfill.fit(
        valid=sea.valid, method="exact", hyperparameters=model.hyperparameters, tile={"time": 3}, halo=0, progress=False
    )
    expected = fitted.reconstruct(tile={"time": 100})
    found = fitted.reconstruct()
    assert in_sd(found.mean, expected.mean, expected.variance) < 0.1


def test_a_member_without_an_observation_has_the_prior(sea, model):
    both = xr.concat([sea.sst, sea.sst.where(False)], "member").astype(float)
    fitted = both.gpfill.fit(
        valid=sea.valid, method="exact", hyperparameters=model.hyperparameters, tile={"time": 5}, progress=False
    )
    found = fitted.reconstruct()
    assert float(found.mean.isel(member=1).std()) == pytest.approx(0.0, abs=1e-6)
    assert float(found.variance.isel(member=1).min()) > float(found.variance.isel(member=0).max()) * 0.5


# Around the globe


NLON = 24


@pytest.fixture(scope="module")
def globe():
    """A gappy global field of short memory, 24 meridians."""
    rng = np.random.default_rng(0)
    of = lattice(np.zeros((4, 5, NLON)), wraps=True)
    prior = anova("matern32").with_values({"fast.space.lengthscale": 2000.0})
    sites = of.space.coordinates.reshape(-1, 3)
    values = 10 + 3 * observed(rng, prior, Points.grid(of.time, sites)).values.reshape(of.shape)
    coords = {"time": np.arange(4.0), "lat": 10 + 2.0 * np.arange(5), "lon": np.arange(NLON) * 360 / NLON}
    field = xr.DataArray(values, coords=coords, dims=("time", "lat", "lon"), name="t2m")
    field.lat.attrs["units"], field.lon.attrs["units"] = "degrees_north", "degrees_east"
    return field.where(rng.random(field.shape) < 0.5)


def fit_globe(field, **kwargs):
    return field.gpfill.fit(method="exact", valid=True, progress=False, **kwargs)


@pytest.fixture(scope="module")
def numbers(globe):
    """Hyperparameters of one short product, the same for every turn of the data."""
    kernels = {"time_kernel": Matern(1.5, 0.5, fixed=True), "space_kernel": Matern(1.5, 400.0, fixed=True)}
    return kernels | {"hyperparameters": fit_globe(globe, **kernels).hyperparameters}


@pytest.mark.parametrize("turn", [1, 7, 12, 23])
def test_turned_data_give_the_turned_field_without_tiles(globe, numbers, turn):
    turned = globe.roll(lon=turn, roll_coords=False)
    here, there = fit_globe(globe, **numbers).reconstruct(), fit_globe(turned, **numbers).reconstruct()
    xr.testing.assert_allclose(there.mean, here.mean.roll(lon=turn, roll_coords=False), rtol=1e-8)
    xr.testing.assert_allclose(there.variance, here.variance.roll(lon=turn, roll_coords=False), rtol=1e-8)


@pytest.mark.parametrize("turn", [6, 12, 18])
def test_data_turned_by_whole_tiles_give_the_turned_field(globe, numbers, turn):
    turned = globe.roll(lon=turn, roll_coords=False)
    tiles = {"tile": {"lon": 6}, "halo": 2}
    here = fit_globe(globe, **numbers, **tiles).reconstruct()
    there = fit_globe(turned, **numbers, **tiles).reconstruct()
    xr.testing.assert_allclose(there.mean, here.mean.roll(lon=turn, roll_coords=False), rtol=1e-8)
    xr.testing.assert_allclose(there.variance, here.variance.roll(lon=turn, roll_coords=False), rtol=1e-8)


@pytest.mark.parametrize("turn", [0, 3, 11])
def test_tiles_are_no_worse_at_the_date_line_than_elsewhere(globe, turn):
    model = fit_globe(globe.roll(lon=turn, roll_coords=False))
    whole = model.reconstruct()
    found = model.reconstruct(tile={"lon": 6}, halo=3)
    error = np.sqrt(((found.mean - whole.mean) ** 2 / whole.variance).mean(("time", "lat"))).values
    assert np.sqrt(np.mean(error**2)) < 0.05
    seam, borders = error[[0, -1]].max(), error[[5, 6, 11, 12, 17, 18]].max()
    assert seam < 2 * borders + 0.01


def test_longitudes_in_either_convention_give_the_same_field(globe, numbers):
    shifted = globe.assign_coords(lon=(((globe.lon + 180) % 360) - 180).assign_attrs(globe.lon.attrs)).sortby("lon")
    here, there = (fit_globe(f, **numbers, tile={"lon": 6}, halo=2).reconstruct() for f in (globe, shifted))
    xr.testing.assert_allclose(
        there.mean.assign_coords(lon=(there.mean.lon % 360).assign_attrs(globe.lon.attrs)).sortby("lon"),
        here.mean,
        rtol=1e-8,
    )


def test_a_tile_that_is_all_land_is_not_solved(monkeypatch):
    ds = xgpfill.datasets.synthetic_sst(days=6, nlat=8, nlon=12)
    sea = ds.valid & (ds.lon > ds.lon[5])
    model = ds.sst.where(sea).gpfill.fit(valid=sea, scales=1, method="exact", progress=False)
    solved, true = [], TileSolver.posterior
    monkeypatch.setattr(TileSolver, "posterior", lambda self, tile, seen: solved.append(tile) or true(self, tile, seen))
    found = model.reconstruct(tile={"lon": 4}, halo={"lon": 3})
    assert {tile[2] for tile in solved} == {1, 2}
    assert (found.mean.notnull() == sea).all() and (found.std().notnull() == sea).all()
    lazily = model.condition(ds.sst.where(sea).chunk(time=3, lon=5)).reconstruct(tile={"lon": 4}, halo={"lon": 3})
    xr.testing.assert_allclose(lazily.mean.compute(), found.mean, rtol=1e-6)


# One loop in memory, one graph when lazy


SHAPE = (10, 4, 8)


def solver_of(counts, halo, *, wraps=False, errors=None):
    prior = anova("matern32")
    frame = lattice(np.zeros(SHAPE), wraps=wraps)
    axes = [
        AxisTiles(n, c, halo if c > 1 else 0, wraps and i == 2)
        for i, (n, c) in enumerate(zip(SHAPE, counts, strict=True))
    ]
    plan = TilePlan(*axes)
    return TileSolver(frame, prior, Scaling(1.0, 2.0), Exact(), plan, "cpu", "float64")


@pytest.fixture(scope="module")
def values():
    rng = np.random.default_rng(3)
    found = rng.standard_normal(SHAPE)
    return np.where(rng.random(SHAPE) < 0.4, found, np.nan)


PLANS = pytest.mark.parametrize(
    ("counts", "halo", "wraps"),
    [((1, 1, 1), 0, False), ((3, 1, 1), 1, False), ((2, 2, 2), 2, False), ((2, 1, 4), 1, True)],
    ids=["one tile", "time", "all axes", "around the globe"],
)


@PLANS
def test_lazy_data_give_the_same_field_in_their_own_chunks(values, counts, halo, wraps):
    solver = solver_of(counts, halo, wraps=wraps)
    lazy = da.from_array(values, chunks=(3, 2, 5))
    errors = np.linspace(0.2, 0.8, SHAPE[1])[None, :, None]
    expected = run_member(solver, values, errors)
    found = lazy_member(dask.delayed(solver, traverse=False), solver, lazy, errors, work=tile_moments, leading=2)
    assert found.chunks == ((2,), *lazy.chunks)
    with dask.config.set(scheduler="synchronous"):
        assert_allclose(found.compute(), expected, rtol=1e-10)


@PLANS
def test_lazy_draws_of_the_data_give_the_same_means(values, counts, halo, wraps):
    solver = solver_of(counts, halo, wraps=wraps)
    draws = values + np.random.default_rng(4).standard_normal((3, *SHAPE))
    expected = run_member(solver, draws, None, work=tile_means)
    lazy = da.from_array(draws, chunks=(3, 4, 2, 5))
    found = lazy_member(dask.delayed(solver, traverse=False), solver, lazy, None, work=tile_means, leading=3)
    with dask.config.set(scheduler="synchronous"):
        assert_allclose(found.compute(), expected, rtol=1e-10)


def test_the_mean_and_the_sd_of_a_tile_come_from_one_task(values):
    solver = solver_of((3, 1, 1), 1)
    worked = []

    def counted(solver, tile, *rest):
        worked.append(tile)
        return tile_moments(solver, tile, *rest)

    lazy = da.from_array(values, chunks=(4, 2, 8))
    found = lazy_member(dask.delayed(solver, traverse=False), solver, lazy, None, work=counted, leading=2)
    assert worked == []
    with dask.config.set(scheduler="synchronous"):
        dask.compute(found[0], found[1])
    assert sorted(worked) == sorted(solver.plan.tiles())


def test_a_tile_computed_alone_reads_its_own_infinity_and_says_where(values):
    bad = values.copy()
    bad[8, 1, 1] = np.inf
    solver = replace(solver_of((1, 1, 1), 0))
    with pytest.raises(DataError, match="infinite value at time step 8"):
        run_member(solver, bad, None)


def test_every_tile_is_heard_of(values):
    steps = []
    run_member(solver_of((2, 2, 2), 1), values, None, step=lambda: steps.append(1))
    assert len(steps) == 8


# At points


@PLANS
def test_points_on_the_cells_have_the_moments_of_the_cells(values, counts, halo, wraps):
    solver = solver_of(counts, halo, wraps=wraps)
    field = run_member(solver, values, None)
    cells = np.argwhere(np.ones(SHAPE))[::7]
    t, y, x = cells.T
    points = Points.scattered(solver.frame.time[t], solver.frame.space.coordinates[y, x])
    found = blended_points(solver, values, None, points, cells)
    assert_allclose(found[0], field[0][t, y, x], rtol=1e-8)
    assert_allclose(found[1], field[1][t, y, x], rtol=1e-8)
    lazy = lazy_points(dask.delayed(solver, traverse=False), da.from_array(values), None, points, cells)
    with dask.config.set(scheduler="synchronous"):
        assert_allclose(lazy.compute(), found, rtol=1e-12)


# Pieces


@pytest.mark.parametrize("lazy", [False, True])
def test_cut_takes_a_window_that_may_wrap_and_keeps_axes_of_length_one(lazy):
    array = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    window = np.array([2, 3]), np.array([0, 1, 2]), np.array([6, 7, 0, 1])
    given = da.from_array(array, chunks=3) if lazy else array
    assert_allclose(np.asarray(cut(given, window)), array[np.ix_(*window)])
    assert_allclose(np.asarray(cut(given[:1], window)), array[:1][:, window[1]][:, :, window[2]])
    assert_allclose(np.asarray(cut(given[None], window)), array[np.ix_(*window)][None])
    assert cut(None, window) is None


def test_nothing_warns_when_fields_are_tiled(values):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_member(solver_of((2, 2, 2), 1), values, None)
