"""Several frames under one bar: which ones, their titles, limits and labels, and what a lazy field computes."""

from __future__ import annotations

import io
from typing import Any

import dask.array
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from xgpfill.datasets import synthetic_sst
from xgpfill.errors import AlignmentError, DimensionError
from xgpfill.plotting import facets


def stack(
    dims: tuple[str, ...] = ("time", "y", "x"), shape: tuple[int, ...] = (5, 3, 4), **coords: Any
) -> xr.DataArray:
    values = np.arange(np.prod(shape), dtype=float).reshape(shape)
    return xr.DataArray(values, dims=dims, coords=coords, name="rain", attrs={"units": "mm day-1"})


def globe(longitudes: np.ndarray) -> xr.DataArray:
    lat = np.arange(-90.0, 91.0, 30.0)
    return stack(("time", "lat", "lon"), (2, lat.size, longitudes.size), lat=lat, lon=longitudes)


def titles(figure: Any) -> list[str]:
    return [ax.get_title() for ax in figure.axes if ax.get_title()]


def panels(figure: Any) -> list[Any]:
    return [ax for ax in figure.axes if ax.get_title()]


def meshes(figure: Any) -> list[Any]:
    return [ax.collections[0] for ax in panels(figure)]


FIELDS = {
    "a region": lambda: synthetic_sst(days=3).sst,
    "the globe 0..360": lambda: globe(np.arange(0.0, 360.0, 30.0)),
    "the globe -180..180": lambda: globe(np.arange(-180.0, 180.0, 30.0)),
    "across the date line": lambda: globe(np.r_[160.0:180.0:5, -180.0:-160.0:5]).isel(lat=slice(2, 5)),
    "images": lambda: stack(("frame", "y", "x")),
    "one frame": lambda: stack(shape=(1, 3, 4)),
    "nothing but gaps": lambda: stack() * np.nan,
    "time last": lambda: stack(("y", "x", "time"), (3, 4, 5)),
    "projected metres": lambda: stack(x=("x", np.arange(4) * 1e4, {"units": "m"}), y=("y", np.arange(3) * 1e4)),
}


@pytest.mark.parametrize("kind", FIELDS)
def test_every_kind_of_field_has_a_panel_a_frame_and_one_bar(kind: str) -> None:
    field = FIELDS[kind]()
    dim = "frame" if "frame" in field.dims else "time"
    figure = facets(field)
    assert len(panels(figure)) == field.sizes[dim]
    assert len(figure.axes) == field.sizes[dim] + 1
    figure.savefig(io.BytesIO(), dpi=30)


def test_frames_share_the_limits_of_what_is_drawn_and_the_bar_names_the_units() -> None:
    figure = facets(stack(), steps=[1, 3])
    assert {mesh.get_clim() for mesh in meshes(figure)} == {(12.0, 47.0)}
    assert figure.axes[-1].get_ylabel() == "rain [mm day⁻¹]"


def test_given_limits_point_the_bar_where_values_lie_beyond() -> None:
    figure = facets(stack(), vmin=10.0)
    assert meshes(figure)[0].colorbar is None or meshes(figure)[-1].colorbar.extend == "min"
    assert {mesh.get_clim() for mesh in meshes(figure)} == {(10.0, 59.0)}


def test_each_panel_holds_its_own_frame() -> None:
    field = stack()
    for mesh, step in zip(meshes(facets(field, steps=[4, -2])), (4, 3), strict=True):
        np.testing.assert_array_equal(mesh.get_array(), field.isel(time=step))


@pytest.mark.parametrize(
    ("coordinate", "expected"),
    [
        (np.array(["2020-02-28", "2020-02-29T06"], "datetime64[ns]"), ["2020-02-28", "2020-02-29 06:00"]),
        (
            xr.date_range("2001-02-28", periods=2, calendar="noleap", use_cftime=True).values,
            ["2001-02-28", "2001-03-01"],
        ),
        (np.array([0, 36], "timedelta64[h]").astype("timedelta64[ns]"), ["0 days", "1.5 days"]),
        (np.array([850.0, 500.0]), ["time = 850", "time = 500"]),
        (None, ["time 0", "time 1"]),
    ],
    ids=["datetime64", "cftime", "timedelta64", "numbers", "no coordinate"],
)
def test_each_frame_is_titled_with_its_date(coordinate: Any, expected: list[str]) -> None:
    field = stack(shape=(2, 3, 4))
    field = field if coordinate is None else field.assign_coords(time=coordinate)
    assert titles(facets(field)) == expected


def test_a_long_series_is_thinned_evenly_and_the_title_says_so() -> None:
    field = stack(shape=(45, 2, 2))
    figure = facets(field)
    assert titles(figure) == [f"time {step}" for step in np.linspace(0, 44, 12).round().astype(int)]
    assert figure.get_suptitle() == "12 of 45 frames, evenly spaced in time"
    assert facets(field, title="").get_suptitle() == ""


def test_only_the_outer_panels_are_labelled() -> None:
    figure = facets(stack(), columns=2)
    assert [bool(ax.get_ylabel()) for ax in panels(figure)] == [True, False, True, False, True]
    assert [bool(ax.get_xlabel()) for ax in panels(figure)] == [False, False, False, True, True]


def test_a_lazy_field_computes_the_chosen_frames_only() -> None:
    seen: list[int] = []

    def load(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        seen.append(block_info[0]["chunk-location"][0])
        return block

    field = stack(shape=(30, 3, 4))
    blocks = dask.array.from_array(field.values, chunks=(1, 3, 4)).map_blocks(
        load, dtype=float, meta=np.empty((0, 0, 0))
    )
    facets(field.copy(data=blocks), steps=[2, 7])
    assert sorted(seen) == [2, 7]


def test_a_valid_region_may_change_with_time_and_come_in_another_order() -> None:
    field = stack().assign_coords(time=np.arange(5))
    valid = field < field.max()
    last = meshes(facets(field, valid=valid.isel(time=slice(None, None, -1)).T))[-1]
    assert np.isnan(np.ma.filled(last.get_array(), np.nan)).sum() == 1


@pytest.mark.parametrize(
    ("field", "options", "match"),
    [
        (stack().isel(time=0), {}, r"need three dimensions; this field has 2: \('y', 'x'\).*field_map"),
        (stack(("level", "time", "y", "x"), (2, 3, 4, 5)), {}, r"this field has 4.*field\.isel\(level=0\)"),
        (stack(("i", "j", "k")), {}, r"Cannot tell along which of \('i', 'j', 'k'\).*dim='i'"),
        (stack(), {"dim": "level"}, r"'level' is not in the field, whose dimensions are 'time', 'y', 'x'"),
        (stack(), {"steps": [7]}, r"steps=\[7\]: 'time' has 5 steps.*steps=\[0, 4\]"),
        (stack(), {"steps": 0}, r"steps=0: expected how many frames.*steps=9"),
        (stack(), {"columns": 0}, r"columns=0: expected at least one.*columns=3"),
    ],
)
def test_what_cannot_be_drawn_says_what_to_type(field: xr.DataArray, options: dict[str, Any], match: str) -> None:
    with pytest.raises(DimensionError, match=match):
        facets(field, **options)
    assert not plt.get_fignums()


def test_a_valid_region_of_other_dates_is_refused() -> None:
    field = stack().assign_coords(time=np.arange(5))
    with pytest.raises(AlignmentError, match=r"`valid` has other values of 'time' \(3 to 7\)"):
        facets(field, valid=(field > 0).assign_coords(time=np.arange(3, 8)))
