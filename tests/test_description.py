"""What a description says: shares, patches and durations counted by hand, texts, laziness."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import xgpfill
from xgpfill.datasets import synthetic_sst
from xgpfill.description.gaps import step_widths
from xgpfill.errors import AlignmentError, DataError, DimensionError, VariableError

R = 6371.0088


def globe(values: np.ndarray, *, lat: np.ndarray, lon: np.ndarray) -> xr.DataArray:
    days = pd.date_range("2020-01-01", periods=values.shape[0])
    return xr.DataArray(values, {"time": days, "lat": lat, "lon": lon}, ("time", "lat", "lon"), "x", {"units": "K"})


@pytest.fixture
def cube() -> xr.DataArray:
    """Five days of 4 x 6 cells of 60 degrees round the globe, all observed."""
    rng = np.random.default_rng(0)
    return globe(rng.normal(size=(5, 4, 6)), lat=np.array([-45.0, -15.0, 15.0, 45.0]), lon=np.arange(0.0, 360.0, 60.0))


# Gaps


def test_gap_shares_are_counted_over_time_and_space(cube: xr.DataArray) -> None:
    cube[1, :, 0] = np.nan
    cube[2, 0, 0] = np.nan
    found = cube.gpfill.describe()
    assert found.gap_share == found.missing_share == 5 / 120
    np.testing.assert_allclose(found.over_time, np.array([0, 4, 1, 0, 0]) / 24)
    np.testing.assert_allclose(found.over_space[:, 0], np.array([2, 1, 1, 1]) / 5)
    assert float(found.over_space[:, 1:].sum()) == 0
    assert found.worst_time == "2020-01-02"
    xr.testing.assert_equal(found.over_time.time, cube.time)


@pytest.mark.parametrize(("lon", "patches"), [(np.arange(0.0, 360.0, 60.0), 1), (np.arange(0.0, 180.0, 30.0), 2)])
def test_patches_join_across_the_date_line_only_round_the_globe(cube: xr.DataArray, lon: Any, patches: int) -> None:
    cube = cube.assign_coords(lon=lon)
    cube[0, 1:3, 0] = np.nan
    cube[0, 2, 5] = np.nan
    found = cube.gpfill.describe().patches
    assert (found.count, found.largest) == (patches, 3 if patches == 1 else 2)


def test_a_ring_that_closes_is_one_patch_and_corners_do_not_touch(cube: xr.DataArray) -> None:
    cube[0, 1, :] = np.nan  # a ring
    cube[1, 0, 0] = cube[1, 1, 1] = np.nan  # two cells that share a corner
    found = cube.gpfill.describe().patches
    assert (found.count, found.largest, found.median, found.where) == (3, 6, 1, "on 2020-01-01")


def test_the_area_of_a_patch_is_that_of_its_cells_on_the_sphere() -> None:
    lat, lon = np.arange(-89.0, 90.0, 2.0), np.arange(0.0, 360.0, 2.0)
    field = globe(np.random.default_rng(0).normal(size=(2, lat.size, lon.size)), lat=lat, lon=lon)
    box = (np.abs(lat) < 30)[:, None] & ((lon < 40) | (lon >= 340))[None]
    hidden = field.where(~xr.DataArray(np.stack([box, np.zeros_like(box)]), dims=field.dims))
    exact = R**2 * 2 * np.sin(np.deg2rad(30)) * np.deg2rad(60)
    found = hidden.gpfill.describe()
    np.testing.assert_allclose(found.areas.largest, exact, rtol=1e-3)
    assert found.areas.units == "km²"


def test_the_area_on_a_plane_in_metres_is_in_square_kilometres() -> None:
    y, x = (xr.DataArray(np.arange(n) * 500.0, dims=d, attrs={"units": "m"}) for n, d in ((6, "y"), (7, "x")))
    field = xr.DataArray(np.random.default_rng(0).normal(size=(6, 7)), {"y": y, "x": x}, ("y", "x"))
    field[2:4, 3:6] = np.nan
    np.testing.assert_allclose(field.gpfill.describe(valid=True).areas.largest, 6 * 0.25)


def test_durations_are_runs_in_days_and_those_cut_off_are_told(cube: xr.DataArray) -> None:
    cube[1:3, 0, 0] = np.nan  # two days
    cube[4, 0, 0] = np.nan  # one day, cut off
    cube[:3, 1, 1] = np.nan  # three days, cut off
    found = cube.gpfill.describe().durations
    assert (found.count, found.largest, found.median, found.units) == (3, 3, 2, "days")
    assert found.where == "2 cut off by an end of the series"


def test_steps_of_unequal_length_stand_for_half_the_way_to_their_neighbours() -> None:
    np.testing.assert_allclose(step_widths(np.array([0.0, 0.5, 1.0, 3.0])), [0.5, 0.5, 1.25, 2.0])
    field = xr.DataArray([1.0, np.nan, np.nan, 2.0], {"time": [0.0, 0.5, 1.0, 3.0]}, ("time",))
    assert field.gpfill.describe().durations.largest == 1.75


def test_places_never_observed_are_told_apart_counted_or_left_out(cube: xr.DataArray) -> None:
    cube[:, 0] = np.nan
    cube[0, 1, 0] = np.nan
    apart, counted = cube.gpfill.describe(), cube.gpfill.describe(valid=True)
    land = cube.gpfill.describe(valid=cube.notnull().any("time"))
    assert (apart.never_share, apart.gap_share, apart.missing_share) == (0.25, 1 / 90, 31 / 120)
    assert (counted.gap_share, counted.never_share, counted.problems) == (31 / 120, 0.25, ())
    assert (land.gap_share, land.never_share, land.patches.largest) == (1 / 90, 0, 1)
    assert "valid=da.notnull().any('time')" in apart.problems[0] and "valid=True" in apart.problems[0]
    assert np.isnan(apart.over_space[0]).all()
    for found, words in (
        (apart, "1.1% of the cells observed at some time; 25.8% of all cells"),
        (counted, "25.8% of the cells"),
        (land, "1.1% of the cells of `valid`; 25.8% of all cells"),
    ):
        assert re.search(rf"gaps\s+{re.escape(words)}\n", str(found))


# Axes


def test_axes_say_role_range_step_convention_and_poles() -> None:
    field = globe(np.zeros((3, 3, 4)), lat=np.array([90.0, 0.0, -90.0]), lon=np.arange(-180.0, 180.0, 90.0))
    time, lat, lon = field.gpfill.describe().axes
    assert (time.role, time.first, time.last, time.step) == ("time", "2020-01-01", "2020-01-03", 1.0)
    assert lat.notes == ("includes the south and north poles",)
    assert (lon.notes, lon.step) == (("longitudes -180…180", "wraps the globe"), 90.0)


def test_months_are_irregular_and_a_calendar_is_named() -> None:
    months = xr.date_range("2000-01-01", periods=6, freq="MS", calendar="noleap", use_cftime=True)
    axis = xr.DataArray(np.arange(6.0), {"time": months}, ("time",)).gpfill.describe().axes[0]
    assert not axis.regular
    assert (axis.step, axis.notes) == (31.0, ("noleap calendar",))


# Kinds of data

KINDS = {
    "one step": lambda ds: ds.sst.isel(time=0),
    "time only": lambda ds: ds.sst.isel(lat=4, lon=4),
    "a row": lambda ds: ds.sst.isel(lat=4),
    "members": lambda ds: xr.concat([ds.sst, ds.sst + 1], "member"),
    "stations": lambda ds: ds.sst.stack(site=("lat", "lon"), create_index=False),
    "integers": lambda ds: ds.sst.fillna(0).astype(int),
    "all gaps": lambda ds: ds.sst * np.nan,
    "an image": lambda ds: ds.sst.isel(time=0).drop_vars(["lat", "lon"]).rename(lat="y", lon="x"),
    "transposed": lambda ds: ds.sst.transpose("lon", "time", "lat"),
}


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    return synthetic_sst(days=6, nlat=8, nlon=9)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_data_is_described_alike_in_memory_and_lazily(ds: xr.Dataset, kind: str) -> None:
    field = KINDS[kind](ds)
    eager = field.gpfill.describe()
    lazy = field.chunk(dict.fromkeys(field.dims, 3)).gpfill.describe()
    xr.testing.assert_allclose(eager.to_dataset(), lazy.to_dataset())
    assert eager.values.count == int(field.notnull().sum())
    assert eager.suggestions == lazy.suggestions
    assert (eager.patches, eager.durations) == (lazy.patches, lazy.durations)
    if eager.values.count:
        np.testing.assert_allclose([eager.values.mean, eager.values.std], [field.mean(), field.std()], rtol=1e-5)
    assert "Values:" in repr(eager) and "<details" in eager._repr_html_()


def test_a_members_gaps_are_its_own(ds: xr.Dataset) -> None:
    both = xr.concat([ds.sst, ds.sst.fillna(0.0)], "member")
    single, double = (da.gpfill.describe(valid=True) for da in (ds.sst, both))
    assert double.patches.count == single.patches.count
    assert double.gap_share == single.gap_share / 2


def test_describing_lazy_data_reads_each_chunk_once(ds: xr.Dataset) -> None:
    reads = []

    def read(block: np.ndarray) -> np.ndarray:
        reads.append(block.shape)
        return block

    lazy = ds.sst.chunk(time=2, lat=4)
    data = lazy.copy(data=lazy.data.map_blocks(read, dtype=lazy.dtype, meta=np.zeros((0, 0, 0), lazy.dtype)))
    with dask.config.set(scheduler="synchronous"):
        data.gpfill.describe()
    assert len(reads) == lazy.data.npartitions == 6


def test_too_many_cells_are_sampled_in_time_and_the_text_says_so(ds: xr.Dataset) -> None:
    found = ds.sst.gpfill.describe(valid=ds.valid, max_cells=3 * 72)
    assert (found.steps_read, found.steps, found.durations) == (3, 6, None)
    assert "3 of 6 steps, evenly spaced, were read" in repr(found)
    np.testing.assert_array_equal(found.over_time.time, ds.time[[0, 2, 5]])


# Problems and texts


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda da: xr.full_like(da, 3.5), "constant: every value is 3.5"),
        (lambda da: da.where(da.notnull(), np.inf), "infinite value"),
        (lambda da: da * np.nan, "No observation at all"),
        (lambda da: da.assign_coords(time=da.time[[0, 1, 2, 3, 4, 4]].values), "duplicate"),
        (lambda da: da.assign_coords(lat=da.lat + 60), "outside"),
    ],
)
def test_what_fit_would_refuse_is_listed_with_its_cure(ds: xr.Dataset, spoil: Any, said: str) -> None:
    assert any(said in problem for problem in spoil(ds.sst).gpfill.describe(valid=True).problems)


def test_the_suggested_method_is_the_one_that_auto_chooses(ds: xr.Dataset) -> None:
    for field in (ds.sst, synthetic_sst().sst):
        engine = type(xgpfill.select_method(field).settings).__name__.lower()
        assert field.gpfill.describe(valid=True).suggestions["method"].startswith(repr(engine))


def test_years_of_data_get_a_periodic_kernel_suggested() -> None:
    series = xr.DataArray(np.arange(1100.0), {"time": pd.date_range("2000", periods=1100)}, ("time",))
    assert "Periodic(period=365.25)" in series.gpfill.describe().suggestions["time_kernel"]


def test_html_escapes_what_comes_from_the_data(ds: xr.Dataset) -> None:
    html = ds.sst.assign_attrs(long_name="<script>alert(1)</script>").gpfill.describe()._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;" in html


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda ds: ds.sst.gpfill.describe(max_cells=0), DataError, r"max_cells=0: expected a positive integer"),
        (lambda ds: ds.sst.gpfill.describe(dims="tme"), DimensionError, "Dimension 'tme' is not in the data"),
        (lambda ds: ds.sst.gpfill.describe(valid=ds.valid[1:]), AlignmentError, "`valid` does not lie on the grid"),
        (lambda ds: ds.gpfill.describe(), VariableError, "several variables on these dimensions"),
        (lambda ds: ds.gpfill.describe(variable="x"), VariableError, "no variable 'x'"),
    ],
)
def test_bad_arguments_are_refused_with_a_cure(ds: xr.Dataset, call: Any, error: type, match: str) -> None:
    with pytest.raises(error, match=match):
        call(ds)


def test_describing_never_changes_the_data_nor_loads_torch(ds: xr.Dataset) -> None:
    before = ds.copy(deep=True)
    ds.gpfill.describe(variable="sst")
    xr.testing.assert_identical(ds, before)
    code = (
        "import xgpfill, sys; ds = xgpfill.datasets.synthetic_sst(days=3, nlat=6, nlon=6); "
        "ds.gpfill.describe(variable='sst'); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
