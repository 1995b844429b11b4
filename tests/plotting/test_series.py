"""A series at one place: which cell, how wide the bands, what the legend says, and what a lazy field computes."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import dask.array
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.colors import to_rgb
from xgpfill.errors import AlignmentError, DataError, DimensionError, XgpfillError
from xgpfill.plotting import series

LON = np.array([170.0, 175.0, 180.0, -175.0])
DATES = np.arange("2020-01-01", "2020-01-07", dtype="datetime64[D]").astype("datetime64[ns]")
CENTRE = {"lat": 0.0, "lon": 180.0}


def cube(**coords: Any) -> xr.DataArray:
    """(time, lat, lon) across the date line, every value its own."""
    values = np.arange(72.0).reshape(6, 3, 4)
    own = {"time": DATES, "lat": [-10.0, 0.0, 10.0], "lon": LON} | coords
    return xr.DataArray(values, dims=("time", "lat", "lon"), coords=own, name="ssh", attrs={"units": "m"})


def line(ax: Any, label: str) -> Any:
    (found,) = [found for found in ax.lines if found.get_label() == label]
    return found


def legend(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize(
    ("sel", "cell"),
    [
        ({"lat": 0.4, "lon": 174.0}, (1, 1)),
        ({"lat": 9.0, "lon": 184.0}, (2, 3)),  # 184 is -176
        ({"lat": -9.0, "lon": -179.0}, (0, 2)),
        ({"latitude": -9.0, "longitude": 530.0}, (0, 0)),  # 530 is 170
    ],
)
def test_the_nearest_cell_is_found_round_the_date_line(sel: dict[str, float], cell: tuple[int, int]) -> None:
    ax = series(mean=cube(), sel=sel)
    np.testing.assert_array_equal(line(ax, "mean").get_ydata(), cube().values[:, *cell])


def test_at_a_pole_every_longitude_is_near() -> None:
    field = cube(lat=[70.0, 80.0, 90.0])
    ax = series(mean=field, sel={"lat": 90.0, "lon": 0.0})
    assert line(ax, "mean").get_ydata()[0] in field.values[0, 2]


def test_bands_are_so_many_standard_deviations_wide_and_say_of_which_kind() -> None:
    field = cube()
    variance = (0 * field + 0.25).assign_attrs(variance_kind="latent")
    ax = series(mean=field, variance=variance, sel=CENTRE, sigmas=(1, 2.5))
    widths = {band.get_label(): band.get_paths()[0].get_extents().y0 - 6.0 for band in ax.collections}
    assert widths == {"±2.5 sd (latent)": pytest.approx(-1.25), "±1 sd (latent)": pytest.approx(-0.5)}
    assert legend(ax) == ["±2.5 sd (latent)", "±1 sd (latent)", "mean"]
    assert ax.get_ylabel() == "ssh [m]"
    assert ax.get_title() == "0°, 180°"


def test_observations_are_dots_truth_is_a_line_and_draws_are_thin_ones() -> None:
    field = cube()
    draws = xr.concat([field + k for k in (1, 2, 3)], "sample")
    observed = field.where(field.time > DATES[2])
    ax = series(mean=field, observed=observed, truth=field.isel(time=slice(0, 4)) - 1, draws=draws, sel=CENTRE)
    assert line(ax, "observed").get_xdata().size == 3
    np.testing.assert_array_equal(line(ax, "truth").get_ydata(), field.values[:4, 1, 2] - 1)
    thin = [found for found in ax.lines if found.get_linewidth() < 1]
    assert [found.get_ydata()[0] - field.values[0, 1, 2] for found in thin] == [1, 2, 3]
    assert legend(ax) == ["3 draws", "mean", "truth", "observed"]


def test_whatever_has_a_mean_and_a_variance_is_a_reconstruction() -> None:
    field = cube()
    found = SimpleNamespace(mean=field, variance=0 * field + 1, observed=field)
    assert legend(series(found, sel=CENTRE)) == ["±3 sd", "±2 sd", "±1 sd", "mean", "observed"]


def test_other_fields_are_matched_by_coordinates_or_are_cut_already() -> None:
    field = cube()
    turned = (field + 1).isel(lat=slice(None, None, -1)).transpose("lon", "lat", "time")
    for truth in (turned, (field + 1).isel(lat=2, lon=1)):
        ax = series(mean=field, truth=truth, sel={"lat": 10, "lon": 175})
        np.testing.assert_array_equal(line(ax, "truth").get_ydata(), field.values[:, 2, 1] + 1)


def stations() -> xr.DataArray:
    coords = {"station": ["Palma", "Suva"], "lat": ("station", [39.6, -18.1]), "lon": ("station", [2.6, 178.4])}
    return xr.DataArray(np.arange(12.0).reshape(6, 2), dims=("time", "station"), coords=coords | {"time": DATES})


@pytest.mark.parametrize("sel", [{"station": "Suva"}, {"lat": -17.0, "lon": -179.0}])
def test_a_station_is_chosen_by_its_name_or_by_the_place_nearest_to_it(sel: dict[str, Any]) -> None:
    ax = series(mean=stations(), sel=sel)
    np.testing.assert_array_equal(line(ax, "mean").get_ydata(), stations().values[:, 1])
    assert ax.get_title() == "Suva, 18.1°S, 178.4°E"


@pytest.mark.parametrize(
    ("times", "label"),
    [
        (DATES, ""),
        (xr.date_range("2001-11-16", periods=6, freq="MS", calendar="noleap", use_cftime=True).values, ""),
        (xr.date_range("2001-02-27", periods=6, calendar="360_day", use_cftime=True).values, ""),
        (xr.date_range("1850-01-01", periods=6, freq="30YS", calendar="noleap", use_cftime=True).values, ""),
        (np.arange(6).astype("timedelta64[D]").astype("timedelta64[ns]"), "time [days]"),
        (np.arange(6.0), "time [days since 2000-01-01]"),
        (None, "time [step]"),
    ],
    ids=["datetime64", "months", "days of 360", "decades", "timedelta64", "numbers", "no coordinate"],
)
def test_time_alone_needs_no_place_and_every_calendar_has_ticks(times: Any, label: str) -> None:
    field = xr.DataArray(np.arange(6.0), dims="time", name="x")
    if times is not None:
        attrs = {"units": "days since 2000-01-01"} if times.dtype.kind == "f" else {}
        field = field.assign_coords(time=("time", times, attrs))
    ax = series(mean=field, variance=0 * field + 1)
    ax.figure.savefig(io.BytesIO(), dpi=30)
    low, high = ax.get_xlim()
    ticks = [tick.get_text() for tick in ax.get_xticklabels() if low <= tick.get_position()[0] <= high]
    assert ax.get_xlabel() == label
    assert 2 <= len(ticks) <= 10
    assert len(set(ticks)) == len(ticks)


@pytest.mark.parametrize(
    ("places", "units", "label", "first"),
    [
        (np.array([3.0, 5.0, 9.0]), "degrees_north", "place [degrees_north]", 3.0),
        (np.array([3, 5, 9]), "hPa", "place [hPa]", 3),
        (np.array(["Palma", "Ibiza", "Soller"]), "", "place", 0.0),
    ],
)
def test_a_line_of_places_is_drawn_along_their_numbers_or_names(places, units, label, first) -> None:
    mean = xr.DataArray([1.0, 2.0, 3.0], {"place": ("place", places, {"units": units})}, ("place",))
    ax = series(mean=mean, dim="place")
    assert ax.get_xlabel() == label
    assert ax.lines[0].get_xdata()[0] == first
    assert units or [tick.get_text() for tick in ax.get_xticklabels()] == list(places)


def test_ticks_of_a_calendar_without_leap_days_are_first_days_of_its_months() -> None:
    times = xr.date_range("2001-11-16", periods=6, freq="MS", calendar="noleap", use_cftime=True)
    ax = series(mean=xr.DataArray(np.arange(6.0), dims="time", coords={"time": times}))
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [time.strftime("%Y-%m") for time in times]


def test_ticks_of_days_name_their_month() -> None:
    times = pd.date_range("2021-04-15", periods=21)
    ax = series(mean=xr.DataArray(np.arange(21.0), dims="time", coords={"time": times}))
    ax.figure.canvas.draw()
    ticks = [tick.get_text() for tick in ax.get_xticklabels()]
    assert ticks[0].endswith(" Apr")
    assert "01 May" in ticks
    assert ax.xaxis.get_offset_text().get_text() == "2021"


def test_a_lazy_field_computes_its_place_only_and_once() -> None:
    runs: list[tuple[int, ...]] = []

    def both(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        runs.append(block_info[0]["chunk-location"])
        return np.stack([block, 0 * block + 1])

    blocks = dask.array.from_array(cube().values, chunks=(6, 1, 1))
    pair = blocks.map_blocks(both, dtype=float, new_axis=0, chunks=((2,), *blocks.chunks), meta=np.empty((0,) * 4))
    series(mean=cube().copy(data=pair[0]), variance=cube().copy(data=pair[1]), sel={"lat": 0.0, "lon": 175.0})
    assert runs == [(0, 1, 1)]


@pytest.mark.parametrize(
    ("error", "options", "match"),
    [
        (DimensionError, {"mean": cube().isel(time=0)}, r"needs a dimension of time; this field has 'lat'.*field_map"),
        (DimensionError, {"mean": cube()}, r"still 'lat', 'lon' to choose.*sel=\{'lat': -10.0, 'lon': 170.0\}"),
        (DimensionError, {"mean": cube(), "sel": {"height": 2}}, r"sel= names 'height'.*'time', 'lat', 'lon'"),
        (DimensionError, {"mean": stations(), "sel": {"station": "Oslo"}}, r"no such label.*'Palma'"),
        (DimensionError, {"mean": stations().drop_vars("station"), "sel": {"station": 5}}, r"no labels.*index below 2"),
        (DimensionError, {"mean": cube(), "sel": CENTRE | {"time": 0}}, r"chooses along 'time'.*isel\(time=0\)"),
        (DimensionError, {"mean": cube(), "sel": CENTRE, "draws": cube()}, r"expected 'sample'.*expand_dims"),
        (DataError, {"mean": cube() * np.nan, "sel": CENTRE}, r"no values at 0°, 180°: it does not exist there"),
        (XgpfillError, {"mean": cube(), "sel": CENTRE, "sigmas": (0,)}, r"sigmas=\(0,\): expected.*\(1, 2, 3\)"),
        (XgpfillError, {}, r"got nothing\. Type `series\(model\.reconstruct\(\)\)`"),
        (XgpfillError, {"mean": cube().to_dataset()}, r"got a Dataset.*mean=mean\['sst'\]"),
        (AlignmentError, {"mean": cube(), "sel": CENTRE, "truth": cube(lon=LON / 2)}, r"other values of 'lon'"),
        (AlignmentError, {"mean": cube(), "sel": CENTRE, "truth": cube().isel(time=0)}, r"`truth` has the dim.*'lat'"),
        (
            AlignmentError,
            {"mean": cube(), "sel": CENTRE, "variance": cube().isel(time=slice(3))},
            r"`variance` has dimensions \{'time': 3\}",
        ),
        (
            AlignmentError,
            {"mean": cube(), "sel": CENTRE, "truth": cube(time=np.arange(6.0))},
            r"These times are number, but",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_says_what_to_type(error: type[Exception], options: dict[str, Any], match: str) -> None:
    with pytest.raises(error, match=match):
        series(**options)


def test_axes_of_the_users_own_are_drawn_on() -> None:
    _, ax = plt.subplots()
    assert series(mean=stations().isel(station=0), ax=ax) is ax


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_mean_and_observations_stand_out_from_paper_and_bands(style: str) -> None:
    field = cube()
    with plt.style.context(style):
        ax = series(mean=field, variance=0 * field + 1, observed=field, sel=CENTRE)
    under = [np.array(ax.get_facecolor()[:3]), *(band.get_facecolor()[0, :3] for band in ax.collections)]
    for label, least in (("mean", 0.2), ("observed", 0.3)):
        colour = np.array(to_rgb(line(ax, label).get_color()))
        assert all(abs(colour - other).mean() > least for other in under)


CURVED = xr.DataArray(
    np.arange(24.0).reshape(2, 3, 4),
    dims=("time", "j", "i"),
    coords={
        "time": DATES[:2],
        "lat": (("j", "i"), 40.0 + np.add.outer(np.arange(3.0), 0.1 * np.arange(4.0))),
        "lon": (("j", "i"), 178.0 + np.add.outer(0.1 * np.arange(3.0), np.arange(4.0))),
    },
)


@pytest.mark.parametrize(
    ("field", "sel", "match"),
    [
        (cube(), {"lat": 16.0, "lon": 180.0}, r"'lat' from 15°S to 15°N and 'lon' .*nearest is `sel=\{'lat': 10\.0, "),
        (cube(), {"lat": 0.0, "lon": 5.0}, r"'lon' from 167\.5°E to 172\.5°W"),
        (cube(), {"latitude": 0.0, "longitude": 165.0}, r"sel=\{'lat': 0\.0, 'lon': 165\.0\} lies beyond the field"),
        (
            cube().isel(lon=0),
            {"lat": -80.0},
            r"sel=\{'lat': -80\.0\} lies beyond .*the nearest is `sel=\{'lat': -10\.0\}`",
        ),
        (
            CURVED,
            {"lat": 50.0, "lon": 179.0},
            r"beyond the field, which has 'lat' from 40°N to 42\.3°N and 'lon' from 178°E to 178\.8°W",
        ),
        (stations(), {"lat": 80.0, "lon": 3.0}, r"beyond .*the nearest is `sel=\{'lat': 39\.6, 'lon': 2\.6\}`"),
        (
            cube().rename(lat="y", lon="x").assign_coords(y=[0, 5, 10], x=[0, 5, 10, 15]),
            {"x": 18.0, "y": 0.0},
            r"'y' from -2\.5 to 12\.5 and 'x' from -2\.5 to 17\.5",
        ),
        (
            cube().isel(lon=0).rename(lat="level").assign_coords(level=[850, 700, 500]),
            {"level": 100},
            r"from 400 to 925",
        ),
    ],
    ids=["north of it", "east of it", "by long names", "one axis", "curvilinear", "stations", "plane", "a level"],
)
def test_a_place_out_of_range_is_refused_with_the_range_and_the_nearest_place(field: Any, sel: Any, match: str) -> None:
    with pytest.raises(DimensionError, match=match):
        series(mean=field, sel=sel)


@pytest.mark.parametrize(
    ("field", "sel", "title"),
    [
        (cube(), {"lat": 14.9, "lon": 187.4}, "10°N, 175°W"),
        (cube(lon=np.arange(0.0, 360.0, 90.0)), {"lat": 0.0, "lon": -50.0}, "0°, 90°W"),
        (cube(lon=np.arange(0.0, 360.0, 90.0)), {"lat": 0.0, "lon": 178.0}, "0°, 180°"),
        (CURVED, {"lat": 40.4, "lon": 181.3}, "40.3°N, 179°W"),
        (stations(), {"lat": 38.0, "lon": 0.0}, "Palma, 39.6°N, 2.6°E"),
        (cube().isel(lat=[1]), {"lat": 0.4, "lon": 170.0}, "0°, 170°E"),
    ],
    ids=["edge of a cell", "round the globe", "where it closes", "curvilinear", "near a station", "a lone row"],
)
def test_the_title_is_the_cell_that_is_drawn_not_the_place_that_was_asked_for(field: Any, sel: Any, title: str) -> None:
    assert series(mean=field, sel=sel).get_title() == title
