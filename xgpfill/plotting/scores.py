"""Bars that compare the scores of many runs. Scores are computed in the module of metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.errors import DataError, DimensionError, VariableError, listed
from xgpfill.plotting.drawing.ink import ink, pencil
from xgpfill.plotting.drawing.paper import new_panels
from xgpfill.words import bracketed, units_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from xgpfill.plotting.cells.edges import Array

METRICS = ("mae", "rmse", "crps", "coverage95", "mean_variance", "variance_error_correlation")
_NAMES = {
    "mae": "MAE",
    "rmse": "RMSE",
    "crps": "CRPS",
    "nlpd": "NLPD",
    "variance_error_correlation": "correlation of variance and error",
    "coverage95": "coverage of the 95 % interval",
}
BAR_COLOUR = "#4f81b3"
MOST_COLUMNS = 4
NOMINAL = 0.95
"""What a 95 % interval should cover."""


def bars(scores: Mapping[str, xr.Dataset] | xr.Dataset, *, metrics: Sequence[str] | None = None) -> Figure:
    """Compare many runs: one panel of horizontal bars for each metric, one bar for each run, in the order given.

    Parameters
    ----------
    scores : mapping of run name to Dataset, or Dataset with a dimension `run`
        Scalar scores with their units, as ``reconstruction.score(truth)`` gives them.
    metrics : sequence of str, optional
        By default ``mae``, ``rmse``, ``crps``, ``coverage95``, ``mean_variance`` and ``variance_error_correlation``,
        those that are there; a line marks the 95 % that intervals should cover. A run without one of them has no bar.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    VariableError
        When a metric is in no run.
    DimensionError
        When a score is not one number for each run.
    DataError
        When there is no run, or runs have other units.

    Examples
    --------
    >>> import matplotlib, xarray as xr
    >>> matplotlib.use("Agg")
    >>> units = {"units": "K"}
    >>> runs = {f"matern{nu}": xr.Dataset({"rmse": ((), value, units)}) for nu, value in (("12", 0.5), ("32", 0.4))}
    >>> [ax.get_xlabel() for ax in bars(runs).axes]
    ['RMSE [K]']
    """
    runs = _runs(scores)
    chosen = _chosen_metrics(runs, metrics)
    names = list(runs)
    rows = -(-len(chosen) // MOST_COLUMNS)
    columns = -(-len(chosen) // rows)
    figure, panels = _new_panels(rows, columns, names)
    for i, (ax, metric) in enumerate(zip(panels, chosen, strict=False)):
        values, units = _values(runs, metric)
        _draw_bars(ax, values, names, named=i % columns == 0)
        ax.set_xlabel(bracketed(metric_name(metric), units))
        if metric == "coverage95":
            ax.axvline(NOMINAL, color=ink(ax), linewidth=0.8, linestyle="--", zorder=0.5)
    for unused in panels[len(chosen) :]:
        unused.remove()
    return figure


def metric_name(metric: str) -> str:
    """A score as it is printed.

    Examples
    --------
    >>> metric_name("crps"), metric_name("mean_variance")
    ('CRPS', 'mean variance')
    """
    return _NAMES.get(metric, metric.replace("_", " "))


def _runs(scores: Any) -> dict[str, xr.Dataset]:
    """Scores by run name."""
    if hasattr(scores, "data_vars"):
        if "run" not in scores.dims:
            raise DimensionError(
                f"The scores have the dimensions {listed(scores.dims)}; expected 'run'. Give a mapping of run name to "
                f"scores, e.g. `bars({{'matern32': scores}})`, or join them: `xr.concat(all, 'run')`."
            )
        labels = scores["run"].values if "run" in scores.coords else np.arange(scores.sizes["run"])
        runs = {str(label): scores.isel(run=i) for i, label in enumerate(labels)}
    elif isinstance(scores, Mapping):
        runs = {str(name): one for name, one in scores.items()}
    else:
        raise DataError(
            f"`bars` got a {type(scores).__name__}; expected a mapping of run name to scores, e.g. "
            f"`bars({{'matern32': reconstruction.score(truth)}})`."
        )
    if not runs:
        raise DataError("There is no run to draw. Give at least one, e.g. `bars({'matern32': scores})`.")
    return runs


def _chosen_metrics(runs: dict[str, xr.Dataset], metrics: Sequence[str] | None) -> list[str]:
    known = list(dict.fromkeys(str(name) for one in runs.values() for name in one.data_vars))
    wanted = [name for name in METRICS if name in known] if metrics is None else [*metrics]
    missing = [name for name in wanted if name not in known]
    if missing or not wanted:
        raise VariableError(
            f"No run has a score {listed(missing or METRICS)}; there are {listed(known)}. "
            f"Choose of these, e.g. `metrics=({(known or ['rmse'])[0]!r},)`."
        )
    return wanted


def _values(runs: dict[str, xr.Dataset], metric: str) -> tuple[Array, str]:
    """The score of every run (NaN where it has none), and its units."""
    values, units = [], set()
    for name, one in runs.items():
        if metric not in one:
            values.append(np.nan)
            continue
        if one[metric].ndim:
            dims = one[metric].dims
            raise DimensionError(
                f"{metric!r} of {name!r} has the dimensions {listed(dims)}; expected one number. Average it, "
                f"`reconstruction.score(truth)` without `dim=`, or choose, e.g. `scores.isel({dims[0]}=0)`."
            )
        values.append(float(one[metric]))
        units.add(units_of(one[metric]))
    if len(units) > 1:
        raise DataError(
            f"{metric!r} is in {listed(sorted(units))}; bars beside each other need one unit. Convert the runs, or "
            f"draw them apart."
        )
    return np.array(values), units.pop()


def _new_panels(rows: int, columns: int, names: list[str]) -> tuple[Figure, list[Axes]]:
    """Make a figure that leaves each run a line, and long names their room."""
    words = min(0.085 * max(len(name) for name in names), 6.0)
    size = (words + 2.5 * columns + 0.3, rows * (0.9 + 0.24 * max(len(names), 2)))
    return new_panels(rows, columns, size, sharey=True)


def _draw_bars(ax: Axes, values: Array, names: list[str], *, named: bool) -> None:
    """Draw bars from top to bottom, each with its number."""
    at = np.arange(len(names))
    ax.barh(at, values, color=BAR_COLOUR, height=0.72)
    for y, value in zip(at.tolist(), values.tolist(), strict=True):
        text = f" {value:.3g} " if np.isfinite(value) else " none "
        left = not value < 0
        ax.text(value if np.isfinite(value) else 0.0, y, text, va="center", ha="left" if left else "right", fontsize=7)
    ax.set_yticks(at, labels=names)
    ax.tick_params(axis="y", labelleft=named, length=0)
    ax.set_ylim(len(names) - 0.4, -0.6)
    finite = values[np.isfinite(values)]
    low, high = min(0.0, *finite, 0.0), max(0.0, *finite, 0.0)
    room = 0.34 * ((high - low) or 1.0)  # for the numbers
    ax.set_xlim(low - room * (low < 0), high + room * bool(np.any(~(values < 0))))
    ax.axvline(0.0, color=pencil(ax), linewidth=0.8)
    ax.locator_params(axis="x", nbins=4)
    ax.spines[["top", "right"]].set_visible(False)
