"""Radians that do not say so are never taken for degrees: refused where that is sure, warned of where it is a guess."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import xarray as xr
from xgpfill.errors import CoordinateError, XgpfillWarning
from xgpfill.layout.encode import encode

GAUSSIAN = np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(16)[0]))
"""Latitudes of a spectral model: no round numbers."""
GRIDS = {
    "coarse globe": (np.arange(-75.0, 90, 30), np.arange(0.0, 360, 30)),
    "globe with both ends": (np.linspace(-90, 90, 7), np.linspace(-180, 180, 13)),
    "band round the globe": (GAUSSIAN[4:12], np.arange(32) * 11.25),
    "region": (np.arange(30.0, 60), np.arange(-20.0, 30)),
    "quarter degrees": (43.125 + np.arange(8) / 4, 5.125 + np.arange(9) / 4),
    "one row": (np.array([45.0]), np.arange(0.0, 10)),
    "column": (np.arange(0.0, 10), np.array([0.0])),
}


def on(lat: Any, lon: Any, **attrs: str) -> xr.DataArray:
    coords = {"lat": ("lat", np.asarray(lat), attrs), "lon": ("lon", np.asarray(lon), attrs)}
    values = np.random.default_rng(0).normal(size=(np.size(lat), np.size(lon)))
    return xr.DataArray(values, coords, ("lat", "lon"))


def cells(lat: Any, lon: Any) -> xr.DataArray:
    return xr.DataArray(np.zeros(np.size(lat)), {"lat": ("cell", lat), "lon": ("cell", lon)}, "cell")


def from_first(da: xr.DataArray) -> np.ndarray:
    """Distance (km) of every cell from the first."""
    places = encode(da)[0].space.coordinates
    return np.linalg.norm(places - places[0, 0], axis=-1)


def silent(da: xr.DataArray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encode(da)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", GRIDS)
def test_a_grid_in_radians_without_units_is_refused_and_the_cure_works(name: str, dtype: str) -> None:
    degrees = on(*GRIDS[name])
    bad = on(*(np.deg2rad(axis).astype(dtype) for axis in GRIDS[name]))
    with pytest.raises(CoordinateError, match=r"in radians.*, but no units say so.*attrs\['units'\] = 'radians'`"):
        encode(bad)
    silent(degrees)
    bad.lat.attrs["units"] = bad.lon.attrs["units"] = "radians"
    np.testing.assert_allclose(from_first(bad), from_first(degrees), atol=5.0 if dtype == "f4" else 1e-6)


def test_cells_all_over_the_globe_in_radians_are_refused_without_units() -> None:
    rng = np.random.default_rng(0)
    lat, lon = np.arcsin(rng.uniform(-1, 1, 500)), rng.uniform(-np.pi, np.pi, 500)
    with pytest.raises(CoordinateError, match=r"the whole globe in radians, but no units say so"):
        encode(cells(lat, lon))


def test_radians_of_new_data_are_refused_unless_those_of_the_model_were() -> None:
    region = [np.deg2rad(axis) for axis in GRIDS["region"]]
    radians = on(*region, units="radians")
    _, layout = encode(radians)
    silent(radians)
    again, _ = encode(on(*region), like=layout)
    np.testing.assert_allclose(again.space.coordinates, encode(radians)[0].space.coordinates)
    with pytest.raises(CoordinateError, match=r"round numbers of degrees in radians"):
        encode(on(*region), like=encode(on(*GRIDS["region"]))[1])


@pytest.mark.parametrize("make", [on, cells])
def test_places_that_could_be_radians_are_warned_of_with_both_cures(make: Any) -> None:
    rng = np.random.default_rng(1)
    lat, lon = np.sort(rng.uniform(0.2, 0.5, 6)), np.sort(rng.uniform(0.1, 0.9, 6))
    with pytest.warns(XgpfillWarning, match=r"no units say whether these are degrees.*= 'degrees'`, or 'radians'"):
        encode(make(lat, lon))
    silent(on(lat, lon, units="degrees"))


def test_a_region_of_degrees_that_would_be_a_globe_of_radians_is_warned_of() -> None:
    lat, lon = np.linspace(-1.5, 1.5, 7), np.arange(0.0, 7)
    with pytest.warns(XgpfillWarning, match=r"from -1\.5 to 1\.5 and longitudes 'lon' from 0 to 6, and no units"):
        encode(on(lat, lon))
    silent(on(lat, lon, units="degrees"))


@pytest.mark.parametrize("step", [1.0, 0.5, 0.1, 0.05, 0.01, 1 / 12, 1 / 24, 1 / 16, 1 / 36])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_region_of_degrees_beside_the_origin_is_taken_as_it_is(step: float, dtype: str) -> None:
    lat, lon = np.arange(-1.0, 1.01, step).astype(dtype), np.arange(0.0, 3.01, step).astype(dtype)
    for attrs in ({}, {"units": "degrees"}):
        silent(on(lat, lon, **attrs))
        silent(on(lat + step / 2 if step < 1 else lat, lon, **attrs))


def test_a_crs_says_that_they_are_degrees() -> None:
    pyproj = pytest.importorskip("pyproj")
    crs = xr.DataArray(0, attrs={"crs_wkt": pyproj.CRS(4326).to_wkt()})
    silent(on([0.1234567, 0.2234567, 0.3234567], [0.7654321, 0.8654321]).assign_coords(crs=crs))


def test_nothing_is_warned_of_far_from_the_origin_or_for_two_places() -> None:
    silent(on([0.1234567, 1.6543211], [0.7654321, 6.9]))
    silent(on([0.1234567, 0.2], [0.7654321, 0.9]))
