"""The made-up sea surface temperature: repeatable, plausible, and hidden as clouds hide."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from xgpfill.datasets import synthetic_sst
from xgpfill.errors import DimensionError


@pytest.fixture(scope="module")
def cube() -> xr.Dataset:
    return synthetic_sst()


def test_the_default_cube_has_the_promised_shape_and_types(cube: xr.Dataset) -> None:
    assert dict(cube.sizes) == {"time": 45, "lat": 36, "lon": 48}
    assert cube.sst.dims == cube.truth.dims == ("time", "lat", "lon")
    assert cube.valid.dims == ("lat", "lon")
    assert (cube.sst.dtype, cube.truth.dtype, cube.valid.dtype) == (np.float32, np.float32, bool)
    assert cube.time.dtype.kind == "M"


def test_the_same_seed_gives_the_same_field() -> None:
    xr.testing.assert_identical(synthetic_sst(days=5, seed=3), synthetic_sst(days=5, seed=3))


def test_another_seed_gives_another_field_on_the_same_coast() -> None:
    one, other = synthetic_sst(days=5, seed=3), synthetic_sst(days=5, seed=4)
    assert float(abs(one.truth - other.truth).mean()) > 0.1
    xr.testing.assert_identical(one.valid, other.valid)


def test_metadata_follow_cf(cube: xr.Dataset) -> None:
    for name in ("sst", "truth"):
        assert cube[name].attrs["units"] == "degC"
        assert cube[name].attrs["standard_name"] == "sea_surface_temperature"
    assert cube.lat.attrs["units"] == "degrees_north"
    assert cube.lon.attrs["units"] == "degrees_east"


@pytest.mark.parametrize("size", [{}, {"nlat": 25, "nlon": 31}, {"nlat": 80, "nlon": 100, "days": 8}])
def test_land_takes_fifteen_to_twenty_five_percent(size: dict[str, int]) -> None:
    assert 0.15 <= 1 - float(synthetic_sst(**size).valid.mean()) <= 0.25


@pytest.mark.parametrize("seed", range(3))
def test_clouds_hide_more_than_half_of_the_sea(seed: int) -> None:
    cube = synthetic_sst(days=40, seed=seed)
    assert 0.55 <= float(cube.sst.isnull().where(cube.valid).mean()) <= 0.65


def test_every_day_and_every_cell_is_seen_sometimes(cube: xr.Dataset) -> None:
    seen = cube.sst.notnull()
    assert bool((seen.sum(("lat", "lon")) > 0.04 * cube.valid.sum()).all())
    assert bool(seen.any("time").where(cube.valid, True).all())


def test_the_truth_is_missing_on_land_and_nowhere_else(cube: xr.Dataset) -> None:
    xr.testing.assert_equal(cube.truth.notnull(), cube.valid.broadcast_like(cube.truth))
    assert not bool((cube.sst.notnull() & ~cube.valid).any())


def test_the_satellite_sees_the_truth_and_a_little_noise(cube: xr.Dataset) -> None:
    noise = (cube.sst - cube.truth).astype(float)
    assert float(noise.std()) == pytest.approx(0.12, rel=0.05)
    assert abs(float(noise.mean())) < 0.01


def test_temperatures_are_plausible_colder_in_the_north_and_warming(cube: xr.Dataset) -> None:
    assert 9 < float(cube.truth.min()) < float(cube.truth.max()) < 28
    south, north = cube.truth.isel(lat=slice(0, 10)), cube.truth.isel(lat=slice(-10, None))
    assert float(south.mean() - north.mean()) > 1
    assert float(cube.truth.isel(time=-1).mean() - cube.truth.isel(time=0).mean()) > 2


def test_clouds_persist_for_two_or_three_days_and_then_are_gone(cube: xr.Dataset) -> None:
    cloud = cube.sst.isnull().where(cube.valid).stack(cell=("lat", "lon")).dropna("cell").values

    def persistence(lag: int) -> float:
        return float(np.corrcoef(cloud[:-lag].ravel(), cloud[lag:].ravel())[0, 1])

    assert persistence(1) > 0.4
    assert 0.15 < persistence(2) < 0.55
    assert persistence(8) < 0.15


def test_clouds_are_large_shapes(cube: xr.Dataset) -> None:
    cloud, sea = cube.sst.isnull().values, cube.valid.values
    both = sea[:, 1:] & sea[:, :-1]
    assert np.mean((cloud[..., 1:] == cloud[..., :-1])[:, both]) > 0.9


def test_eddies_make_anomalies_coherent_over_neighbours_and_days(cube: xr.Dataset) -> None:
    anomaly = (cube.truth - cube.truth.mean("time") - cube.truth.mean(("lat", "lon"))).astype(float)
    near = xr.corr(anomaly, anomaly.shift(lon=2), "time").mean()
    far = xr.corr(anomaly, anomaly.shift(lon=25), "time").mean()
    later = xr.corr(anomaly, anomaly.shift(time=3)).mean()
    assert float(near) > 0.8
    assert float(far) < 0.4
    assert float(later) > 0.5


@pytest.mark.parametrize("size", [{"days": 1}, {"nlat": 4, "nlon": 4, "days": 2}, {"nlat": 7, "nlon": 90}])
def test_odd_sizes_work(size: dict[str, int]) -> None:
    cube = synthetic_sst(**size)
    assert bool(cube.sst.notnull().any())
    assert bool(cube.sst.isnull().where(cube.valid, False).any())


@pytest.mark.parametrize("size", [{"days": 0}, {"nlat": 3}, {"nlon": -1}])
def test_too_small_a_size_says_what_to_type(size: dict[str, int]) -> None:
    name, value = next(iter(size.items()))
    with pytest.raises(DimensionError, match=rf"`{name}={value}` is too small.*synthetic_sst\("):
        synthetic_sst(**size)


def test_datasets_load_neither_torch_nor_matplotlib() -> None:
    code = "import sys, xgpfill.datasets as d; d.synthetic_sst(days=1); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "matplotlib"} & set(done.stdout.split())
