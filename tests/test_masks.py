"""Masks hide the share they promise, in the shape they promise, whatever the chunks, and say how they were made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cftime
import dask
import dask.array
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from scipy import ndimage
from xgpfill import masks
from xgpfill.errors import CoordinateError, DataError, DimensionError

from tests import reference as ref
from tests.strategies import fields, quick

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAKERS: dict[str, Callable[..., xr.DataArray]] = {
    "dynamic": masks.random,
    "fixed": lambda f, p, **k: masks.random(f, p, kind="fixed", **k),
    "blocks": lambda f, p, **k: masks.blocks(f, p, size=sizes_for(f), **k),
    "clouds": lambda f, p, **k: masks.clouds(f, p, lengthscale=700.0, duration=2.0, **k),
    "tracks": masks.tracks,
}
LAZY_CHUNKS = {"time": (3, 1, 6), "lat": (1, 12, 6), "lon": 7}


def sizes_for(field: xr.DataArray) -> dict[Any, int]:
    wanted = {"time": 2, "lat": 3, "lon": 4, "y": 3, "x": 4}
    return {d: n for d, n in wanted.items() if d in field.dims}


def globe(nt: int = 10, step: float = 10.0, *, first: float = 0.0) -> xr.DataArray:
    """Zeros on a globe with both poles."""
    lat, lon = np.arange(-90.0, 90.1, step), first + np.arange(0.0, 360.0, step)
    coords = {
        "time": pd.date_range("2001-01-01", periods=nt),
        "lat": ("lat", lat, {"units": "degrees_north"}),
        "lon": ("lon", lon, {"units": "degrees_east"}),
    }
    return xr.DataArray(np.zeros((nt, lat.size, lon.size), np.float32), coords, ("time", "lat", "lon"), name="sst")


def sea(nt: int = 30) -> xr.DataArray:
    """Zeros on a region like the Mediterranean."""
    coords = {"time": np.arange(float(nt)), "lat": np.linspace(45.0, 30.0, 16), "lon": np.linspace(-5.0, 36.0, 42)}
    return xr.DataArray(np.zeros((nt, 16, 42)), coords, tuple(coords))


def hidden(mask: xr.DataArray) -> float:
    return float((~mask).mean())


# The share


@pytest.mark.parametrize("name", MAKERS)
def test_the_promised_share_is_hidden(name: str) -> None:
    for field in (globe(12), sea()):
        for probability in (0.0, 0.25, 0.8, 1.0):
            found = [hidden(MAKERS[name](field, probability, seed=seed)) for seed in range(2)]
            # independent places: cells for random, boxes for blocks; clouds and tracks are fitted to the share, but for
            # the 36 cells of a pole, which are one place
            number = {"dynamic": field.size, "fixed": field[0].size, "blocks": field.size / 24}.get(name)
            allowed = 37 / field.size if number is None else 4.5 * np.sqrt(probability * (1 - probability) / number)
            np.testing.assert_allclose(found, probability, atol=allowed)


@pytest.mark.parametrize("name", ["clouds", "tracks"])
def test_the_share_holds_on_more_cells_than_are_looked_at(name: str) -> None:
    assert hidden(MAKERS[name](globe(25, 2.0), 0.7, seed=1)) == pytest.approx(0.7, abs=0.02)


def test_on_few_cells_the_share_is_right_on_average() -> None:
    two = globe(1).isel(time=0, lat=slice(5, 7), lon=[0])
    found = [hidden(masks.clouds(two, 0.3, lengthscale=100.0, seed=seed)) for seed in range(150)]
    assert np.mean(found) == pytest.approx(0.3, abs=0.12)


# Laziness and seeds


@pytest.mark.parametrize("name", MAKERS)
def test_chunks_change_nothing_and_lazy_fields_give_lazy_masks(name: str, nothing_is_computed: None) -> None:
    lazy = globe().transpose("lon", "time", "lat").chunk(LAZY_CHUNKS)
    found = MAKERS[name](lazy, 0.6, seed=3)
    assert found.chunks == lazy.chunks
    with dask.config.set(scheduler="synchronous"):
        expected = MAKERS[name](globe(), 0.6, seed=3).transpose("lon", "time", "lat")
        xr.testing.assert_identical(found.compute(), expected)


@pytest.mark.parametrize("name", MAKERS)
def test_the_same_seed_gives_the_same_mask_and_another_one_another(name: str) -> None:
    one, same, other = (MAKERS[name](globe(), 0.5, seed=seed) for seed in (1, 1, 2))
    xr.testing.assert_identical(one, same)
    assert float((one == other).mean()) < 0.9


@pytest.mark.parametrize("name", MAKERS)
def test_a_mask_keeps_coordinates_says_how_it_was_made_and_can_be_stored(name: str, tmp_path: Path) -> None:
    field = globe(4).assign_coords(run="a", month=("time", [1, 1, 1, 1]))
    before = field.copy(deep=True)
    mask = MAKERS[name](field, 0.5, seed=7)
    assert mask.dtype == bool
    assert mask.name == "observed"
    xr.testing.assert_identical(mask.coords.to_dataset(), field.coords.to_dataset())
    assert mask.attrs["mask"] == {"dynamic": "random", "fixed": "random"}.get(name, name)
    assert (mask.attrs["probability"], mask.attrs["seed"]) == (0.5, 7)
    mask.to_netcdf(tmp_path / "mask.nc")
    with xr.open_dataarray(tmp_path / "mask.nc") as back:
        xr.testing.assert_equal(back, mask)
        assert back.attrs == mask.attrs
    xr.testing.assert_identical(field, before)


@pytest.mark.parametrize("name", MAKERS)
def test_members_have_gaps_of_their_own(name: str) -> None:
    members = globe().expand_dims(member=3)
    found = MAKERS[name](members.transpose("lat", "member", "time", "lon"), 0.5, seed=1)
    assert float((found.isel(member=0) == found.isel(member=2)).mean()) < 0.9
    assert hidden(found.isel(member=1)) == pytest.approx(0.5, abs=0.1)


# Odd fields


@pytest.mark.parametrize("name", MAKERS)
def test_odd_fields_work(name: str) -> None:
    noleap = [cftime.DatetimeNoLeap(2001, 1, day) for day in range(1, 11)]
    odd = {
        "one step": globe().isel(time=[0]),
        "no time": globe().isel(time=0, drop=True),
        "descending": globe().isel(lat=slice(None, None, -1)),
        "west": globe(first=-180.0),
        "cftime": globe().assign_coords(time=noleap),
        "integers": globe().astype(int),
        "sites": globe().stack(site=("lat", "lon"), create_index=False),
        "image": xr.DataArray(np.zeros((3, 30, 40)), dims=("channel", "y", "x")),
    }
    if name == "tracks":
        del odd["image"]
    if name == "blocks":
        del odd["sites"]
    for field in odd.values():
        mask = MAKERS[name](field, 0.5)
        assert mask.dims == field.dims
        assert hidden(mask) == pytest.approx(0.5, abs=0.13)


@quick
@given(field=fields())
def test_any_field_that_can_be_fitted_can_be_hidden(field: xr.DataArray) -> None:
    for mask in (masks.random(field, 0.5), masks.clouds(field, 0.5, lengthscale=500.0)):
        assert mask.dims == field.dims
        assert field.where(mask).shape == field.shape


def test_the_order_of_dims_and_of_latitudes_only_reorders_the_clouds() -> None:
    expected = MAKERS["clouds"](globe(), 0.5)
    turned = MAKERS["clouds"](globe().transpose("lon", "time", "lat").isel(lat=slice(None, None, -1)), 0.5)
    assert float((turned == expected).mean()) > 0.98  # centred alike, drawn alike; the sums round differently


# Shapes


def test_fixed_gaps_stay_and_dynamic_ones_do_not() -> None:
    field = sea()
    stay, move = (masks.random(field, 0.5, kind=kind) for kind in ("fixed", "dynamic"))
    assert bool((stay == stay.isel(time=0)).all())
    agree = (move == move.isel(time=0)).isel(time=slice(1, None)).mean()
    assert float(agree) == pytest.approx(0.5, abs=0.02)


def test_random_gaps_have_no_pattern() -> None:
    mask = masks.random(globe(60), 0.5, seed=2).astype(float) - 0.5
    for dim in mask.dims:
        for lag in (1, 2, 4):
            product = mask * mask.shift({dim: lag})
            assert abs(float(product.mean())) * 4 < 4.5 / np.sqrt(product.size)


def test_gaps_of_blocks_are_unions_of_boxes_that_go_on_across_the_date_line() -> None:
    mask = masks.blocks(globe(), 0.4, size={"time": 2, "lat": 3, "lon": 5}, seed=4)
    gaps = np.pad(~mask.values, ((0, 0), (0, 0), (5, 5)), mode="wrap")
    gaps = np.pad(gaps, ((2, 2), (3, 3), (0, 0)), mode="edge")  # boxes lie partly outside
    opened = ndimage.binary_opening(gaps, np.ones((2, 3, 5), bool))
    inner = (slice(2, -2), slice(3, -3), slice(5, -5))
    np.testing.assert_array_equal(opened[inner], gaps[inner])
    assert (~mask.values[:, :, 0] & ~mask.values[:, :, -1]).any()


def test_a_box_may_take_a_whole_axis_or_be_larger_than_it() -> None:
    stay = masks.blocks(globe(), 0.5, size={"time": -1, "lat": 4, "lon": 4})
    assert bool((stay == stay.isel(time=0)).all())
    assert stay.attrs["size_time"] == 10
    found = [hidden(masks.blocks(globe(), 0.5, size={"lat": 100, "lon": 100}, seed=seed)) for seed in range(20)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.1)


def agreement(mask: xr.DataArray, pairs: np.ndarray) -> float:
    """Correlation of the mask between pairs of cells, over all times."""
    flat = mask.transpose("time", "lat", "lon").values.reshape(mask.sizes["time"], -1)
    a, b = (flat[:, pairs[:, i]].astype(float) - 0.5 for i in (0, 1))
    return float(4 * np.mean(a * b))


def test_clouds_have_the_covariance_they_promise_also_over_the_poles_and_the_date_line() -> None:
    """Where half is hidden the correlation of the mask is 2/π · arcsin of that of the field (Sheppard 1899)."""
    field = globe(400, 10.0)
    long = field.assign_coords(time=field.time.values[0] + np.arange(400) * np.timedelta64(30, "D"))
    mask = masks.clouds(long, 0.5, lengthscale=1500.0, duration=2.0, seed=1)
    lat, lon = (a.ravel() for a in np.meshgrid(field.lat, field.lon, indexing="ij"))
    distance = ref.distance(ref.chord(lat, lon), ref.chord(lat, lon))
    near = np.argwhere(np.triu((distance > 1000.0) & (distance < 1300.0), 1))
    jump = np.abs(lon[near[:, 0]] - lon[near[:, 1]])
    polar = (np.abs(lat[near]) > 75).all(axis=1) & (np.abs(lat[near]) < 89).all(axis=1) & (jump > 30) & (jump < 330)
    seam = (jump > 300) & (np.abs(lat[near]) < 60).all(axis=1)
    plain = (jump < 60) & (np.abs(lat[near]) < 60).all(axis=1)
    for some in (polar, seam, plain):
        pairs = near[some]
        field_correlation = ref.matern(distance[pairs[:, 0], pairs[:, 1]], 1500.0, 1.5)
        expected = float(np.mean(2 / np.pi * np.arcsin(field_correlation)))
        assert agreement(mask, pairs) == pytest.approx(expected, abs=0.06)
    apart = np.argwhere(np.triu(distance > 9000.0, 1))[::37]
    assert abs(agreement(mask, apart)) < 0.06


def test_clouds_last_as_long_as_they_promise() -> None:
    mask = masks.clouds(sea(400), 0.5, lengthscale=150.0, duration=3.0).astype(float) - 0.5
    for lag in (1, 3, 6):
        expected = 2 / np.pi * np.arcsin(ref.matern(np.array(float(lag)), 3.0, 1.5))
        assert 4 * float((mask * mask.shift(time=lag)).mean()) == pytest.approx(float(expected), abs=0.04)
    still = masks.clouds(sea(), 0.5, lengthscale=150.0, duration=np.inf)
    assert bool((still == still.isel(time=0)).all())


def test_cells_of_a_pole_are_hidden_together() -> None:
    mask = MAKERS["clouds"](globe(60), 0.5)
    for pole in (0, -1):
        row = mask.isel(lat=pole)
        assert bool((row == row.isel(lon=0)).all())


def test_clouds_of_an_image_are_measured_in_cells_and_of_projected_axes_in_km() -> None:
    image = xr.DataArray(np.zeros((60, 80)), dims=("y", "x"))
    metres = image.assign_coords({d: (d, 2000.0 * np.arange(image.sizes[d]), {"units": "m"}) for d in ("y", "x")})
    cells, km = masks.clouds(image, 0.5, lengthscale=8.0), masks.clouds(metres, 0.5, lengthscale=16.0)
    np.testing.assert_array_equal(cells, km)
    assert (cells.attrs["lengthscale_units"], km.attrs["lengthscale_units"]) == ("cell", "km")


def test_tracks_are_passes_of_an_inclined_orbit_that_shift_from_day_to_day() -> None:
    field = globe(3, 1.0)
    mask = masks.tracks(field, 0.8, inclination=66.0, orbits_per_day=14.2, seed=2)
    assert not bool(mask.where(abs(field.lat) > 70, False).any())
    # a turn of the Earth under 14.2 orbits: so many ascending and as many descending passes of the equator
    equator = mask.sel(lat=0)
    _, passes = ndimage.label(equator.isel(time=0).values)
    assert 27 <= passes <= 30
    # the pattern of a day is that of the day before, turned by what 15 orbits are more than a day
    step = 360.0 / 14.2
    turned = -(15 * step - 360.0)
    day, later = (equator.isel(time=i).astype(float).values for i in (1, 2))
    overlap = [np.mean(later * np.roll(day, shift)) for shift in range(int(step / 2))]
    best = {int(shift) for shift in np.argsort(overlap)[-2:]}
    assert any(abs((turned - b + step / 2) % step - step / 2) <= 2.0 for b in best)


def test_a_cell_is_observed_exactly_where_the_track_comes_within_half_a_swath() -> None:
    """Against a track of points every six kilometres, from the equations of a circular orbit."""
    field = globe(2, 5.0)
    mask = masks.tracks(field, 0.7, inclination=80.0, orbits_per_day=14.3, seed=9)
    node, along = np.random.default_rng([9, 4, 0]).uniform(0.0, 2 * np.pi, 2)
    lat, lon = (a.ravel() for a in np.meshgrid(field.lat, field.lon, indexing="ij"))
    for day in (0, 1):
        t = day + np.linspace(0.0, 1.0, 100_000)
        u, i = along + 2 * np.pi * 14.3 * t, np.radians(80.0)
        # a circle in the orbital plane, tilted about the line of nodes, then turned with the Earth
        x, y, z = np.cos(u), np.sin(u) * np.cos(i), np.sin(u) * np.sin(i)
        turn = node - 2 * np.pi * t
        east, north = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
        track = ref.EARTH_RADIUS * np.stack([east, north, z], axis=1)
        cells = ref.chord(lat, lon)
        nearest = np.array([np.sqrt(((track - cell) ** 2).sum(1).min()) for cell in cells[::19]])
        found = mask.isel(time=day).values.ravel()[::19]
        sure = np.abs(nearest - mask.attrs["swath"] / 2) > 1.0
        assert sure.mean() > 0.95
        np.testing.assert_array_equal(found[sure], nearest[sure] < mask.attrs["swath"] / 2)


def test_tracks_find_latitude_and_longitude_beside_projected_axes() -> None:
    y, x = np.meshgrid(np.linspace(30.0, 50.0, 20), np.linspace(0.0, 20.0, 25), indexing="ij")
    metres = {d: (d, 1e4 * np.arange(n), {"units": "m"}) for d, n in (("y", 20), ("x", 25))}
    field = xr.DataArray(np.zeros((20, 25)), {**metres, "lat": (("y", "x"), y), "lon": (("y", "x"), x)}, ("y", "x"))
    plain = xr.DataArray(np.zeros((20, 25)), {"lat": y[:, 0], "lon": x[0]}, ("lat", "lon"))
    np.testing.assert_array_equal(masks.tracks(field, 0.5), masks.tracks(plain, 0.5))


# Other days


def test_each_step_gets_the_gaps_of_another_one_and_each_is_used_once(nothing_is_computed: None) -> None:
    field = sea(9).where(masks.random(sea(9), 0.5))
    mask = masks.other_days(field, seed=1)
    known = field.notnull().values.reshape(9, -1)
    equal = (mask.values.reshape(9, 1, -1) == known).all(axis=-1)
    np.testing.assert_array_equal(equal.sum(axis=0), 1)
    np.testing.assert_array_equal(equal.sum(axis=1), 1)
    assert not equal.diagonal().any()
    lazy = masks.other_days(field.chunk(time=(2, 3, 4), lon=10), seed=1)
    assert lazy.chunks == field.chunk(time=(2, 3, 4), lon=10).chunks
    with dask.config.set(scheduler="synchronous"):
        xr.testing.assert_identical(lazy.compute(), mask)
    xr.testing.assert_identical(mask.coords.to_dataset(), field.coords.to_dataset())


def test_two_steps_exchange_their_gaps() -> None:
    field = globe(2).where(masks.random(globe(2), 0.5))
    np.testing.assert_array_equal(masks.other_days(field), field.notnull().values[::-1])


# What is refused


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda f: masks.random(f, 1.5), DataError, r"probability=1\.5: expected the share of cells to hide"),
        (lambda f: masks.clouds(f, np.nan, lengthscale=1.0), DataError, "probability=nan"),
        (lambda f: masks.tracks(f, True), DataError, "probability=True"),
        (lambda f: masks.blocks(f, "half", size={}), DataError, "probability='half'"),
        (lambda f: masks.random(f, 0.5, kind="static"), DataError, "kind='static': choose one of 'dynamic', 'fixed'"),
        (lambda f: masks.random(f, 0.5, seed=-1), DataError, "seed=-1: expected an integer"),
        (lambda f: masks.random(f, 0.5, dims=("time", "depth")), DimensionError, "'depth' is not in the data"),
        (lambda f: masks.random(f.values, 0.5), DataError, r"got a ndarray; expected a DataArray.*masks\.random\(ds"),
        (lambda f: masks.random(f.isel(time=[]), 0.5), DataError, "The field is empty"),
        (lambda f: masks.blocks(f, 0.5, size=3), DataError, r"size=3: expected the cells of a box.*\{'time': 2"),
        (lambda f: masks.blocks(f, 0.5, size={"lat": np.nan}), DataError, "whole number of cells along 'lat'"),
        (lambda f: masks.blocks(f, 0.5, size={"lat": 0}), DataError, "whole number of cells along 'lat'"),
        (lambda f: masks.blocks(f, 0.5, size={"y": 2}), DimensionError, "names the dimension 'y'; the fitted ones are"),
        (lambda f: masks.clouds(f, 0.5, lengthscale=-2.0), DataError, r"lengthscale=-2\.0: expected a number of km"),
        (lambda f: masks.clouds(f, 0.5, lengthscale=np.nan), DataError, "lengthscale=nan"),
        (lambda f: masks.clouds(f, 0.5, lengthscale=9, duration=0), DataError, "duration=0: expected a number of days"),
        (lambda f: masks.tracks(f, 0.5, inclination=200), DataError, "inclination=200.*degrees between 0 and 180"),
        (lambda f: masks.tracks(f, 0.5, orbits_per_day="many"), DataError, "orbits_per_day='many'"),
        (lambda f: masks.tracks(f, 0.5, window=400), DataError, r"window=400\.0: expected at most 10 days"),
        (lambda f: masks.tracks(f.drop_vars(["lat", "lon"]), 0.5), CoordinateError, r"needs latitudes.*masks\.blocks"),
        (lambda f: masks.other_days(f.isel(time=[0])), DataError, "at least two steps along 'time'; there is one"),
        (lambda f: masks.other_days(f.isel(time=0)), DimensionError, "needs a time dimension.*dims={'time': 't'"),
    ],
)
def test_what_cannot_be_hidden_is_refused_with_a_cure(call: Callable[..., Any], error: type, match: str) -> None:
    with pytest.raises(error, match=match):
        call(globe(2))
