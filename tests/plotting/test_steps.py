"""Lines of every step of time: one axis for all panels, units, legends, members."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from xgpfill.errors import AlignmentError, DataError, DimensionError, VariableError
from xgpfill.plotting import over_time

DAYS = np.arange("2021-01-01", "2021-01-11", dtype="datetime64[D]").astype("datetime64[ns]")
OTHER = xr.date_range("2021-01-01", periods=10, calendar="360_day", use_cftime=True)


def numbers(times: Any = DAYS, units: str = "K", **names: str) -> xr.Dataset:
    lines = {n: ("time", np.arange(10.0), {"units": units, "long_name": said}) for n, said in names.items()}
    return xr.Dataset(lines, coords={"time": times})


def test_panels_share_the_axis_of_time_and_each_tells_its_units_and_lines() -> None:
    errors = numbers(rmse="root mean squared error", bias="mean error").assign_attrs(long_name="error")
    upper, lower = over_time(errors, numbers(units="%", gaps="share of gaps")).axes
    assert (upper.get_ylabel(), lower.get_ylabel()) == ("error [K]", "share of gaps [%]")
    assert [text.get_text() for text in upper.get_legend().get_texts()] == ["root mean squared error", "mean error"]
    assert lower.get_legend() is None
    assert upper.get_xlim() == lower.get_xlim()
    assert upper.lines[0].get_xdata()[0] == DAYS[0]


def test_members_are_lines_of_one_colour_named_once() -> None:
    ds = numbers(rmse="error").expand_dims(member=3).assign(mae=numbers(mae="size").mae)
    ax = over_time(ds).axes[0]
    assert len(ax.lines) == 4
    assert len({line.get_color() for line in ax.lines[:3]}) == 1
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["error", "size"]


@pytest.mark.parametrize(
    ("error", "panels", "match"),
    [
        (VariableError, [], r"nothing to draw over time.*over_time\(reconstruction\.score"),
        (VariableError, [xr.Dataset()], "nothing to draw over time"),
        (DimensionError, [xr.Dataset({"rmse": 1.0})], "needs a dimension of time"),
        (DataError, [numbers(a="a").assign(b=numbers(units="m", b="b").b)], r"'a', 'b' are in 'K', 'm'"),
        (AlignmentError, [numbers(a="a"), numbers(OTHER, b="b")], "360_day calendar"),
    ],
)
def test_what_cannot_be_drawn_over_time_says_what_to_type(error: type[Exception], panels: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        over_time(*panels)
