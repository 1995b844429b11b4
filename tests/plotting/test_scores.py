"""Bars over runs: their lengths, order, units and room, and what is refused."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import pytest
import xarray as xr
from xgpfill.errors import DataError, DimensionError, VariableError, XgpfillError
from xgpfill.plotting import bars


def scores(mae: float = 0.5, units: str = "K", **others: float) -> xr.Dataset:
    found = xr.Dataset({"mae": ((), mae, {"units": units}), "mean_variance": ((), mae**2, {"units": f"{units}2"})})
    return found.assign({name: ((), value) for name, value in others.items()})


def widths(ax: Any) -> list[float]:
    return [bar.get_width() for bar in ax.patches]


def test_each_metric_has_a_panel_with_its_units_and_each_run_a_bar_from_the_top() -> None:
    runs = {"one": scores(0.5, variance_error_correlation=-0.2), "two": scores(0.25, variance_error_correlation=0.4)}
    first, second, third = bars(runs).axes
    assert [ax.get_xlabel() for ax in (first, second, third)] == [
        "MAE [K]",
        "mean variance [K²]",
        "correlation of variance and error",
    ]
    assert [widths(ax) for ax in (first, second, third)] == [[0.5, 0.25], [0.25, 0.0625], [-0.2, 0.4]]
    assert [label.get_text() for label in first.get_yticklabels()] == ["one", "two"]
    assert first.yaxis_inverted()


def test_crps_and_coverage_are_compared_too_in_two_even_rows_with_a_line_at_what_should_be_covered() -> None:
    many = dict.fromkeys(("rmse", "crps", "coverage95", "variance_error_correlation"), 0.9)
    figure = bars({"one": scores(**many), "two": scores(**many)})
    names = [ax.get_xlabel() for ax in figure.axes]
    assert names[2:4] == ["CRPS", "coverage of the 95 % interval"]
    assert len({round(ax.get_position().y0, 3) for ax in figure.axes}) == 2
    assert 0.95 in [line.get_xdata()[0] for line in figure.axes[3].lines]


def test_a_dataset_along_run_is_the_same_as_a_mapping() -> None:
    joined = xr.concat([scores(0.5), scores(0.25)], xr.DataArray(["one", "two"], dims="run", name="run"))
    figure = bars(joined, metrics=("mae",))
    assert widths(figure.axes[0]) == [0.5, 0.25]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["one", "two"]


def test_a_run_without_a_metric_has_no_bar_and_says_so() -> None:
    ax = bars({"one": scores(), "two": scores().drop_vars("mae")}, metrics=["mae"]).axes[0]
    assert [text.get_text().strip() for text in ax.texts] == ["0.5", "none"]


def test_forty_runs_with_long_names_overlap_nothing_and_stay_on_the_figure() -> None:
    runs = {f"matern32-in-time_matern12-in-space_exact_{i:02}": scores(0.001 * i, rmse=-1.0 * i) for i in range(40)}
    figure = bars(runs)
    figure.canvas.draw()
    labels = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert all(a.y0 >= b.y1 for a, b in pairwise(labels))
    assert min(label.x0 for label in labels) >= 0
    for ax in figure.axes:
        assert all(text.get_window_extent().x1 <= ax.get_window_extent().x1 for text in ax.texts)
        ticks = [tick.get_window_extent() for tick in ax.get_xticklabels() if tick.get_text()]
        assert all(a.x1 <= b.x0 for a, b in pairwise(ticks))


@pytest.mark.parametrize(
    ("error", "runs", "metrics", "match"),
    [
        (VariableError, {"a": scores()}, ["rmse"], r"No run has a score 'rmse'; there are 'mae'.*metrics=\('mae',\)"),
        (VariableError, {"a": xr.Dataset({"x": 1.0})}, None, r"No run has a score 'mae', 'rmse'.*there are 'x'"),
        (DimensionError, {"a": scores().expand_dims(time=2)}, None, r"'mae' of 'a' has .*'time'.*isel\(time=0\)"),
        (DimensionError, scores(), None, r"expected 'run'.*bars\(\{'matern32': scores\}\)"),
        (DataError, {"a": scores(), "b": scores(units="mK")}, None, r"'mae' is in 'K', 'mK'"),
        (DataError, {}, None, r"There is no run to draw"),
        (DataError, [scores()], None, r"got a list; expected a mapping"),
    ],
)
def test_what_cannot_be_compared_says_what_to_type(
    error: type[XgpfillError], runs: Any, metrics: Any, match: str
) -> None:
    with pytest.raises(error, match=match):
        bars(runs, metrics=metrics)
    plt.close("all")
