"""Stations and points: a map of dots, each at its place, never time against an index."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from cartopy import crs as ccrs
from matplotlib.collections import PathCollection
from xgpfill.errors import DimensionError
from xgpfill.plotting import comparison, facets, field_map

LAT, LON = np.array([10.0, 12.0, 9.0, 11.0]), np.array([177.0, -179.0, -178.0, 179.5])


def stations(values: Any = (1.0, 2.0, 3.0, 4.0), **attrs: str) -> xr.DataArray:
    coords = {"lat": ("station", LAT), "lon": ("station", LON)}
    return xr.DataArray(np.asarray(values, float), dims="station", coords=coords, name="t", attrs=attrs)


def series() -> xr.DataArray:
    times = np.arange("2020-01-01", "2020-01-04", dtype="datetime64[D]").astype("datetime64[ns]")
    return (stations() + xr.DataArray(np.arange(3.0), {"time": times}, ("time",))).transpose("time", "station")


def test_stations_are_dots_at_their_places_across_the_date_line() -> None:
    dots = field_map(stations(units="K"))
    assert isinstance(dots, PathCollection)
    np.testing.assert_array_equal(dots.get_array(), [1.0, 2.0, 3.0, 4.0])
    central = 179.5  # halfway between 177 and 182 degrees east
    assert dots.axes.projection == ccrs.PlateCarree(central)
    np.testing.assert_allclose(dots.get_offsets(), np.stack([(LON - central + 180) % 360 - 180, LAT], axis=1))
    assert np.ptp(dots.axes.get_xlim()) < 6.0
    assert dots.colorbar.ax.get_ylabel().endswith("[K]")


def test_stations_of_a_projection_lie_in_kilometres() -> None:
    coords = {"x": ("site", [1e4, 3e4], {"units": "m"}), "y": ("site", [2e4, 8e4], {"units": "m"})}
    dots = field_map(xr.DataArray([1.0, 2.0], dims="site", coords=coords))
    np.testing.assert_allclose(dots.get_offsets(), [[10.0, 20.0], [30.0, 80.0]])
    assert (dots.axes.get_xlabel(), dots.axes.get_ylabel()) == ("x [km]", "y [km]")


def test_a_track_is_dots_too() -> None:
    times = np.arange(4).astype("datetime64[D]").astype("datetime64[ns]")
    track = stations().rename(station="obs").assign_coords(time=("obs", times))
    assert len(field_map(track).get_offsets()) == 4


def test_a_place_that_is_not_known_is_left_out() -> None:
    field = stations()
    field["lat"] = ("station", np.where(LAT == 9.0, np.nan, LAT))
    np.testing.assert_array_equal(field_map(field).get_array(), [1.0, 2.0, 4.0])


def test_one_station_has_room_round_it() -> None:
    ax = field_map(stations().isel(station=slice(0, 1))).axes
    assert np.ptp(ax.get_xlim()) > 0.1 and np.ptp(ax.get_ylim()) > 0.1


@pytest.mark.parametrize("projection", [ccrs.Orthographic(180, 10), None])
def test_dots_are_drawn_on_axes_of_the_users_own(projection: Any) -> None:
    figure, ax = plt.subplots(subplot_kw={"projection": projection})
    assert field_map(stations(), ax=ax).axes is ax
    figure.canvas.draw()


def test_stations_that_were_not_observed_are_hatched_rings_and_those_outside_are_land() -> None:
    field = stations([1.0, np.nan, np.nan, 4.0])
    valid = xr.DataArray([True, True, False, True], dims="station")
    dots, land, rings = field_map(field, valid=valid, hatched=True).axes.collections[:3]
    assert (len(dots.get_offsets()), len(land.get_offsets()), len(rings.get_offsets())) == (2, 1, 1)
    assert rings.get_hatch() and not dots.get_hatch()
    assert not rings.get_facecolor().size


def test_frames_of_stations_follow_in_time() -> None:
    figure = facets(series())
    panels = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title() for ax in panels] == ["2020-01-01", "2020-01-02", "2020-01-03"]
    np.testing.assert_array_equal(panels[2].collections[0].get_array(), stations() + 2)


def test_a_comparison_of_stations_has_five_maps_of_dots() -> None:
    truth = stations()
    figure = comparison(truth, truth + 0.1, 0 * truth + 1, error=0 * truth + 0.1, observed=truth.where(truth > 2))
    panels = [ax for ax in figure.axes if ax.get_title()]
    assert len(panels) == 5
    assert all(isinstance(ax.collections[0], PathCollection) for ax in panels)


def test_stations_over_time_are_one_frame_after_another_never_a_picture_of_their_index() -> None:
    with pytest.raises(DimensionError, match=r"only the dimension 'station' of its places.*field\.isel\(time=0\)"):
        field_map(series())
