"""`fit(..., barrier=)`: what it takes and refuses, and that all that a model does knows of the land."""

from __future__ import annotations

import re

import numpy as np
import pytest
import xarray as xr
import xgpfill
from numpy.testing import assert_allclose, assert_array_equal
from xgpfill.errors import AlignmentError, DataError, MethodError, XgpfillWarning
from xgpfill.learning.blocks import BlockPlan, draw_blocks
from xgpfill.learning.gaps import pools

from tests import reference as ref
from tests.barriers.seas import error_near, isthmus

GIVEN = {
    "time_kernel": xgpfill.Matern(1.5, lengthscale=5.0, fixed=True),
    "space_kernel": xgpfill.Matern(1.5, lengthscale=200.0, variance=1.5, fixed=True),
    "noise_std": 0.03,
    "combine": "product",
}
"""Nothing is learned."""


@pytest.fixture(scope="module")
def seas() -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    return isthmus(0, ny=14, nx=16, nt=3)


@pytest.fixture(scope="module")
def apart(seas) -> xr.DataArray:
    """Land from north to south."""
    land = xr.zeros_like(seas[2])
    land[:, 8] = True
    return land


@pytest.fixture(scope="module")
def parted(seas, apart) -> xgpfill.FittedModel:
    return seas[1].where(~apart).gpfill.fit(valid=~apart, barrier=apart, **GIVEN)


def test_near_an_isthmus_the_error_is_much_smaller(seas) -> None:
    truth, seen, land = seas
    errors = {}
    for name, barrier in (("with", land), ("without", None)):
        mean, _ = seen.gpfill.fit(valid=~land, barrier=barrier, method="vecchia", **GIVEN).reconstruct()
        errors[name] = error_near(mean, truth, seen, land)
    assert errors["with"] <= 0.7 * errors["without"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_near_an_isthmus_the_error_is_much_smaller_when_all_is_learned(seed: int) -> None:
    truth, seen, land = isthmus(seed)
    errors, spread = {}, {}
    for name, barrier in (("with", land), ("without", None)):
        model = seen.gpfill.fit(valid=~land, barrier=barrier, method="vecchia")
        mean, variance = model.reconstruct(include_noise=True)
        errors[name] = error_near(mean, truth, seen, land)
        spread[name] = error_near(mean / variance**0.5, truth / variance**0.5, seen, land)
    assert errors["with"] <= 0.7 * errors["without"]
    assert 0.7 < spread["with"] < 1.3


def test_a_barrier_of_no_land_changes_nothing(seas) -> None:
    _, seen, land = seas
    known = {"valid": ~land, "method": xgpfill.Vecchia(num_neighbours=20)}
    plain = seen.isel(time=[0]).gpfill.fit(**known)
    with pytest.warns(XgpfillWarning, match=r"`barrier` is False everywhere: it holds no land"):
        open_water = seen.isel(time=[0]).gpfill.fit(barrier=xr.zeros_like(land), **known)
    xr.testing.assert_identical(open_water.hyperparameters, plain.hyperparameters)
    xr.testing.assert_identical(open_water.calibration, plain.calibration)
    for found, expected in zip(open_water.reconstruct(), plain.reconstruct(), strict=True):
        xr.testing.assert_identical(found, expected)


def test_two_seas_apart_are_filled_as_by_two_dense_models(seas, apart) -> None:
    every = xgpfill.Vecchia(num_neighbours=1000)
    model = seas[1].where(~apart).gpfill.fit(valid=~apart, barrier=apart, method=every, **GIVEN)
    mean, variance = model.reconstruct()
    for columns in (slice(0, 8), slice(9, None)):
        part, days = seas[1].isel(lon=columns), np.arange(3.0)
        place = ref.chord(*np.meshgrid(part.lat, part.lon, indexing="ij"))

        def prior(a, b, days=days, place=place):
            time = ref.matern(ref.distance(days[a[0]], days[b[0]]), 5.0, 1.5)
            return 1.5 * time * ref.matern(ref.distance(place[a[1:]], place[b[1:]]), 200.0, 1.5)

        seen, cells = np.nonzero(part.notnull().values), tuple(i.ravel() for i in np.indices(part.shape))
        expected = ref.posterior(
            prior(seen, seen), prior(seen, cells), prior(cells, cells), part.values[seen], 0.03**2,
            basis=np.ones((len(seen[0]), 1)), basis_targets=np.ones((part.size, 1)),
        )  # fmt: skip
        assert_allclose(mean.isel(lon=columns).values.ravel(), expected.mean, rtol=1e-7, atol=1e-7)
        assert_allclose(variance.isel(lon=columns).values.ravel(), expected.variance, rtol=1e-6)


def test_auto_takes_the_engine_of_neighbours_and_says_why(parted) -> None:
    assert isinstance(parted.settings, xgpfill.Vecchia)
    assert "a land barrier was given, which neighbours alone take account of" in parted.record.choice


def test_the_model_tells_of_its_land(parted) -> None:
    said = "Observations do not see across land: a barrier of 6.2% of its cells, 2 basins of water."
    assert said in repr(parted)
    assert said in parted._repr_html_()


def test_targets_anywhere_are_told_by_the_basin_of_the_nearest_water(seas, apart, parted) -> None:
    _, seen, _ = seas
    lon = seen.lon.values
    target = {"time": seen.time.values[1], "lat": [21.1, 21.1], "lon": [lon[8] - 0.06, lon[8] + 0.06]}
    other = parted.condition(seen.where(~apart).where(seen.lon < lon[8], seen + 50.0))
    before, after = (model.predict(target).mean.isel(lat=0).values for model in (parted, other))
    assert abs(after[0] - before[0]) < 0.05
    assert after[1] - before[1] > 40
    joint = parted.predict(
        {
            "time": seen.time[1],
            "lat": xr.DataArray([21.1, 21.1], dims="p"),
            "lon": xr.DataArray(target["lon"], dims="p"),
        },
        covariance=True,
    )[1]
    assert_array_equal(joint.values[0, 1], 0.0)
    draws = parted.sample(300, target={**target, "lat": 21.1}, seed=1)
    assert abs(np.corrcoef(draws.values.reshape(300, 2).T)[0, 1]) < 0.2


def test_draws_and_averages_know_of_the_land(parted) -> None:
    draws = parted.sample(2, seed=0)
    assert draws.sizes["sample"] == 2 and bool(draws.notnull().any())
    average = parted.reconstruct().average("lon")
    assert bool((average.variance > 0).all())


def test_data_on_another_grid_keep_the_land(seas, apart, parted) -> None:
    finer = seas[1].interp(lon=np.linspace(30.1, 33.0, 9), method="nearest")
    model = parted.condition(finer, valid=True)
    assert model.lattice.barrier is parted.lattice.barrier
    assert bool(model.reconstruct().mean.notnull().all())


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
@pytest.mark.parametrize("data", [True, False])
def test_a_file_holds_the_land(parted, tmp_path, suffix: str, data: bool) -> None:
    path = tmp_path / f"model.{suffix}"
    parted.save(path, data=data)
    loaded = xgpfill.load(path)
    assert repr(loaded).splitlines()[-1] == repr(parted).splitlines()[-1] or not data
    loaded = loaded if data else loaded.condition(parted.layout.template)
    for found, expected in zip(loaded.reconstruct(), parted.reconstruct(), strict=True):
        xr.testing.assert_equal(found, expected)


def test_lazy_data_are_filled_alike(seas, apart, parted) -> None:
    lazy = seas[1].where(~apart).chunk({"time": 1})
    found = lazy.gpfill.fit(valid=~apart, barrier=apart, **GIVEN).reconstruct()
    assert_allclose(found.mean.compute(), parted.reconstruct().mean, rtol=1e-9)
    assert_allclose(found.variance.compute(), parted.reconstruct().variance, rtol=1e-9)


def test_hidden_observations_are_predicted_over_water(seas) -> None:
    _, seen, land = seas
    lattice = seen.gpfill.fit(valid=~land, barrier=land, **GIVEN).lattice
    barrier = lattice.barrier
    (pool,) = pools(lattice, 0)
    points, every = pool.observations.points, np.arange(len(pool.observations))
    own, near = pool.joined(points, every, np.broadcast_to(every, (every.size, every.size)))
    cells = barrier.cells_at(points.space)
    assert_array_equal(near >= 0, barrier.joins(cells[own], np.broadcast_to(cells, near.shape)))
    assert not (near >= 0).all()


def test_no_block_holds_two_basins(parted) -> None:
    lattice, barrier = parted.lattice, parted.lattice.barrier
    blocks = draw_blocks(lattice, BlockPlan(), 0)
    basins = [np.unique(barrier.basin[barrier.cells_at(block.points.space)]) for block in blocks]
    assert {len(found) for found in basins} == {1}
    assert set(np.concatenate(basins)) == {1, 2}


def test_the_variogram_is_of_pairs_that_are_joined(parted, seas) -> None:
    with_land = parted.variogram(bins=6).space_pairs.sum()
    plain = seas[1].gpfill.fit(valid=True, method="vecchia", **GIVEN).variogram(bins=6).space_pairs.sum()
    assert with_land < 0.8 * plain


def test_scattered_observations_take_a_barrier_on_a_grid_of_its_own(seas, apart) -> None:
    rng, lon = np.random.default_rng(3), seas[1].lon.values
    place = {"lat": ("obs", rng.uniform(20, 23, 150)), "lon": ("obs", rng.uniform(30, 33.75, 150))}
    west = place["lon"][1] < lon[8]
    track = xr.DataArray(np.where(west, -5.0, 5.0) + 0.1 * rng.standard_normal(150), place, ("obs",), "sst")
    model = track.gpfill.fit(dims="obs", barrier=apart, space_kernel="matern32", amplitude=False)
    found = model.predict({"lat": [21.5], "lon": [lon[7], lon[9]]}).mean.values.ravel()
    assert_allclose(found, [-5.0, 5.0], atol=0.15)


def test_members_share_the_land(seas, apart, parted) -> None:
    both = xr.concat([seas[1], 2 * seas[1]], "member").where(~apart)
    found = both.gpfill.fit(dims=("time", "lat", "lon"), valid=~apart, barrier=apart, trend=0.0, **GIVEN).reconstruct()
    assert_allclose(2 * found.mean.isel(member=0), found.mean.isel(member=1), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"method": "iterative"}, MethodError, r"takes each value.s neighbours.*Iterative.*`method='vecchia'`"),
        ({"method": "exact"}, MethodError, r"Exact.*was named. Type `method='vecchia'`, or leave `barrier=` out"),
        ({"space_kernel": lambda a, b: np.ones((len(a), len(b)))}, MethodError, "kernels that neighbours can be told"),
        ({"barrier": True}, AlignmentError, r"barrier=True is a bool; expected a DataArray of True on land"),
        ({"tile": {"time": 2}}, MethodError, r"tile=\{'time': 2\} with barrier=: tiles see far.*Leave `tile=` out"),
        ({"halo": 1}, MethodError, r"halo=1 with barrier=.*Leave `halo=` out"),
    ],
)  # fmt: skip
def test_what_a_barrier_does_not_go_with_is_refused(seas, apart, change, error, said: str) -> None:
    with pytest.raises(error, match=said):
        seas[1].gpfill.fit(**{"valid": True, "barrier": apart, **GIVEN, **change})


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda b: b.astype(float), AlignmentError, "has dtype float64; expected bool, True on land"),
        (lambda b: b.isel(lat=slice(3)), AlignmentError, "'lat': 3, .*expected those of the field in space, .*14"),
        (lambda b: b.expand_dims(time=3), AlignmentError, r"`barrier.isel\(time=0\)`"),
        (lambda b: b.isel(lat=0), AlignmentError, r"sizes \{'lon': 16\}; expected"),
        (lambda b: b.rename(lat="y"), AlignmentError, r"sizes \{'y': 14"),
        (lambda b: b.assign_coords(lat=b.lat + 1), AlignmentError, "does not lie on the grid of the field"),
        (xr.ones_like, DataError, "true everywhere: all of it is land.*`barrier=~barrier`"),
        (lambda b: ~b, DataError, r"says land at 9\d% of the observations. It is true on land.*`barrier=~barrier`"),
    ],
)  # fmt: skip
def test_a_barrier_that_is_none_of_the_field_is_refused(seas, apart, change, error, said: str) -> None:
    with pytest.raises(error, match=said):
        seas[1].gpfill.fit(valid=True, barrier=change(apart), **GIVEN)


def test_without_places_there_is_no_land(seas, apart) -> None:
    bare = seas[1].drop_vars(["lat", "lon"])
    with pytest.raises(AlignmentError, match=r"no coordinates of two directions of space.*assign_coords"):
        bare.gpfill.fit(valid=True, barrier=apart.drop_vars(["lat", "lon"]), **GIVEN)


@pytest.mark.parametrize("what", ["vector", "joint"])
def test_variables_that_are_fitted_together_are_refused(seas, apart, what: str) -> None:
    both = xr.Dataset({"u": seas[1], "v": seas[1]})
    with pytest.raises(MethodError, match=rf"barrier= takes one scalar field, and {what}=True was asked for"):
        both.gpfill.fit(variable=("u", "v"), barrier=apart, valid=True, **{what: True})


def test_tiles_are_refused_later_too(parted) -> None:
    with pytest.raises(MethodError, match=re.escape("tile={'time': 1} with barrier=")):
        parted.reconstruct(tile={"time": 1})
