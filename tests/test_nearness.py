"""Cells far from all data are left empty, by their sd, by time and by distance, as brute force says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from xgpfill.errors import DataError, XgpfillError
from xgpfill.results.nearness import as_days

from tests import reference as ref
from tests.test_scattered import GRID, KNOWN, days, track

if TYPE_CHECKING:
    import xarray as xr
    from xgpfill.model import FittedModel


@pytest.fixture(scope="module")
def points() -> FittedModel:
    return track(30).gpfill.fit(**KNOWN)


def by_hand(da: xr.DataArray, gap: float | None, distance: float) -> Any:
    """Whether an observation of a track is near each target of the grid."""
    t, y, x = (c.ravel() for c in np.meshgrid([4.0, 8.0], GRID["lat"], GRID["lon"], indexing="ij"))
    apart = ref.distance(ref.chord(y, x), ref.chord(da.lat.values, da.lon.values)) / distance
    lag = 0.0 if gap is None else ref.distance(t, days(da.time)) / gap
    return (apart**2 + lag**2 <= 1).any(1).reshape(2, 3, 2)


@pytest.mark.parametrize("gap", [None, 2.0, "36h", np.timedelta64(3, "D")])
def test_targets_near_a_track_are_those_that_brute_force_finds(points: FittedModel, gap: Any) -> None:
    found = points.predict(GRID).near_data(max_gap=gap, max_distance=60.0)
    expected = by_hand(points.layout.template, as_days(gap), 60.0)
    assert 0 < expected.sum() < expected.size
    assert_array_equal(found.mean.notnull(), expected)
    assert_array_equal(found.variance.notnull(), expected)
    assert found.mean.attrs == points.predict(GRID).mean.attrs


def test_gaps_of_a_lattice_longer_than_allowed_stay_empty(ds: xr.Dataset, model: FittedModel) -> None:
    seen = ds.sst.where(ds.time.isin(ds.time[[0, 5]]))
    found = model.condition(seen).reconstruct().near_data(max_gap=1.5)
    near = np.zeros(seen.shape, bool)
    for t in range(seen.sizes["time"]):
        near[t] = seen.notnull().values[max(0, t - 1) : t + 2].any(0)
    assert_array_equal(found.mean.notnull(), near & ds.valid.values)
    assert_array_equal(found.filled.notnull(), near & ds.valid.values)
    one = found.isel(time=3).near_data(max_gap="1.5D", max_distance=1.0)
    assert_array_equal(one.mean.notnull(), near[3] & ds.valid.values)


def test_uncertain_cells_are_left_empty_and_observed_ones_stay(ds: xr.Dataset, model: FittedModel) -> None:
    found = model.reconstruct()
    limit = float(found.std().median())
    kept = found.near_data(where_sd_below=limit)
    expected = (found.std() <= limit) | (ds.sst.notnull() & ds.valid)
    assert_array_equal(kept.mean.notnull(), expected)
    assert_array_equal(kept.std().notnull(), expected)
    with pytest.raises(XgpfillError, match="left empty"):
        kept.average("time")


def test_several_variables_are_left_empty_each_by_its_own_data(ds: xr.Dataset) -> None:
    both = ds[["sst"]].assign(late=ds.sst.where(ds.time > ds.time[4]).drop_attrs())
    found = both.gpfill.fit(variable=["sst", "late"], valid=ds.valid, method="exact").reconstruct()
    kept = found.near_data(max_gap=1.0)
    assert int(kept.mean.late.notnull().sum()) < int(kept.mean.sst.notnull().sum())
    assert_array_equal(kept.variance.late_variance.notnull(), kept.mean.late.notnull())


def test_lazy_fields_stay_lazy(ds: xr.Dataset, model: FittedModel, request: pytest.FixtureRequest) -> None:
    lazy = ds.sst.chunk(time=4).gpfill.fit(valid=ds.valid, method="exact", hyperparameters=model.hyperparameters)
    request.getfixturevalue("nothing_is_computed")
    found = lazy.reconstruct().near_data(max_gap=1.0, max_distance=50.0).mean
    assert found.chunks is not None
    with dask.config.set(scheduler="synchronous"):
        expected = model.condition(ds.sst).reconstruct().near_data(max_gap=1.0, max_distance=50.0).mean
        assert_array_equal(found.notnull(), expected.notnull())


@pytest.mark.parametrize(
    ("limits", "match"),
    [
        ({}, r"was given no limit.*`r.near_data\(max_distance=200.0\)`"),
        ({"max_gap": "ten"}, r"max_gap='ten': expected a length of time.*`max_gap='10D'`"),
        ({"max_gap": -1}, "max_gap=-1: expected a length of time"),
        ({"max_gap": True}, "max_gap=True: expected a length of time"),
        ({"max_distance": 0}, "max_distance=0: expected a positive number"),
        ({"where_sd_below": "1 K"}, "where_sd_below='1 K': expected a positive number"),
    ],
)
def test_limits_that_are_none_are_refused(model: FittedModel, limits: dict[str, Any], match: str) -> None:
    with pytest.raises(DataError, match=match):
        model.reconstruct().near_data(**limits)


def test_averages_do_not_know_where_their_data_were(model: FittedModel) -> None:
    with pytest.raises(XgpfillError, match=r"averages already.*`model.reconstruct\(\).near_data\(...\)`"):
        model.reconstruct().average("time").near_data(max_distance=10.0)
