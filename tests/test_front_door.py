"""Coordinates through the whole house: what is fitted in one unit is asked for, saved and read in the same places."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
import xgpfill
from xgpfill import FittedModel, Matern
from xgpfill.errors import CoordinateError
from xgpfill.layout.encode import encode
from xgpfill.posterior.points import Target, read_target

if TYPE_CHECKING:
    from pathlib import Path


def fitted(da: xr.DataArray) -> FittedModel:
    """A model with given lengthscales, so that nothing but noise and variance is learned."""
    time, space = Matern(nu=1.5, lengthscale=3.0), Matern(nu=1.5, lengthscale=2.0)
    return da.gpfill.fit(time_kernel=time, space_kernel=space, combine="product", method="exact", progress=False)


def places(model: FittedModel, target: Any) -> np.ndarray:
    """Embedded km of the targets, in their order."""
    return read_target(model, target).points.space


def field(*dims: str, **coords: Any) -> xr.DataArray:
    """A wave on 6 cells an axis."""
    cells = np.indices((6,) * len(dims)).sum(0)
    return xr.DataArray(10 + np.sin(cells / 2), dims=dims, coords=coords, name="q")


def axis(dim: str, step: float = 1.0, **attrs: str) -> tuple[str, np.ndarray, dict[str, str]]:
    return dim, step * np.arange(6), attrs


def read(da: xr.DataArray, target: Any) -> Target:
    """The targets as a model of `da` reads them, without fitting one."""
    lattice, layout = encode(da, valid=True)
    return read_target(SimpleNamespace(lattice=lattice, layout=layout), target)


def radians(da: xr.DataArray) -> xr.DataArray:
    turned = da.assign_coords(lat=np.radians(da.lat), lon=np.radians(da.lon))
    for name in ("lat", "lon"):
        turned[name].attrs["units"] = "radians"
    return turned


GLOBE = field("time", "lat", "lon", time=axis("time"), lat=axis("lat", 10.0), lon=axis("lon", 60.0))
SITES = field("time", "site", time=axis("time"), lat=("site", 9.0 * np.arange(6)), lon=("site", 99.0 * np.arange(6)))
CELLS = {"lat": (("y", "x"), np.arange(36.0).reshape(6, 6)), "lon": (("y", "x"), 9 * np.arange(36.0).reshape(6, 6))}


@pytest.mark.parametrize(
    "da",
    [
        GLOBE,
        GLOBE.transpose("lon", "time", "lat"),
        GLOBE[:, ::-1, ::-1],
        GLOBE.isel(time=0),
        GLOBE.isel(lat=4),
        GLOBE.isel(lon=4),
        GLOBE.isel(lat=4, drop=True),
        GLOBE.isel(lat=0, lon=0),
        GLOBE.expand_dims(level=2),
        radians(GLOBE),
        GLOBE.assign_coords(time=xr.date_range("2000-02-27", periods=6, calendar="noleap", use_cftime=True)),
        SITES,
        SITES.isel(time=0),
        field("y", "x", **CELLS),
        field("y", "x", y=axis("y", 1000.0, units="m"), x=axis("x", 1000.0, units="m")),
    ],
    ids=[
        "cube", "turned", "falling", "map", "row", "column", "bare row", "series", "levels", "radians", "noleap",
        "sites", "sites at once", "curvilinear", "projected",
    ],
)  # fmt: skip
def test_the_coordinates_of_the_data_are_the_places_of_the_data(da: xr.DataArray) -> None:
    lattice, _ = encode(da, valid=True)
    target = read(da, da)
    t, y, x = target.cells.T
    np.testing.assert_allclose(target.points.time, lattice.time[t], atol=1e-9)
    np.testing.assert_allclose(target.points.space, lattice.space.coordinates[y, x], atol=1e-6)
    assert len(target.points) == np.prod(lattice.shape)
    assert len(np.unique(target.cells, axis=0)) == np.prod(lattice.shape)


@pytest.mark.parametrize("da", [GLOBE, radians(GLOBE)], ids=["degrees", "radians"])
def test_targets_beyond_a_pole_are_refused_in_the_unit_of_the_data(da: xr.DataArray) -> None:
    beyond = 100.0 * float(da.lat[1]) / 10.0
    with pytest.raises(CoordinateError, match="outside −90…90"):
        read(da, {"lat": [beyond], "lon": [0.0]})


def test_targets_on_a_row_stay_at_its_latitude() -> None:
    row = field("lon", lon=axis("lon"), lat=60.0)
    model = fitted(row)
    np.testing.assert_allclose(places(model, {"lon": row.lon.values}), model.lattice.space.coordinates[0], atol=1e-6)


def test_targets_on_a_column_stay_at_its_longitude() -> None:
    column = field("lat", lat=axis("lat"), lon=170.0)
    model = fitted(column)
    np.testing.assert_allclose(
        places(model, {"lat": column.lat.values}), model.lattice.space.coordinates[:, 0], atol=1e-6
    )


def test_targets_in_metres_fall_among_data_in_km() -> None:
    model = fitted(field("y", "x", y=axis("y", units="km"), x=axis("x", units="km")))
    target = xr.Dataset(coords={"y": axis("y", 1000.0, units="m"), "x": axis("x", 1000.0, units="m")})
    np.testing.assert_allclose(places(model, target), model.lattice.space.coordinates.reshape(36, 2))


def test_targets_without_a_unit_are_in_that_of_the_data() -> None:
    model = fitted(field("y", "x", y=axis("y", 1000.0, units="m"), x=axis("x", 1000.0, units="m")))
    own = 1000.0 * np.arange(6)
    np.testing.assert_allclose(places(model, {"y": own, "x": own}), model.lattice.space.coordinates.reshape(36, 2))


def test_target_times_in_days_fall_among_data_in_hours() -> None:
    model = fitted(field("time", time=axis("time", 24.0, units="hours since 2000-01-01")))
    target = xr.Dataset(coords={"time": axis("time", units="days since 2000-01-01")})
    np.testing.assert_allclose(read_target(model, target).points.time, model.lattice.time)


@pytest.mark.parametrize(
    ("units", "suffix"), [("hours since 2000-01-01", ".nc"), ("hours since 2000-01-01", ".zarr"), ("days", ".nc")]
)
def test_a_model_on_times_that_were_never_decoded_survives_being_saved(tmp_path: Path, units: str, suffix: str) -> None:
    model = fitted(field("time", time=axis("time", 24.0, units=units)))
    model.save(tmp_path / f"model{suffix}")
    loaded = xgpfill.load(tmp_path / f"model{suffix}")
    assert loaded.layout.clock == model.layout.clock
    xr.testing.assert_identical(loaded.layout.template, model.layout.template)
    np.testing.assert_allclose(loaded.lattice.time, model.lattice.time)
