"""Numbers of every step of time as lines, panel above panel: scores, spreads, shares of gaps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xgpfill.errors import DataError, VariableError, listed
from xgpfill.plotting.drawing.paper import new_panels
from xgpfill.plotting.drawing.time import TimeAxis, time_dim
from xgpfill.words import bracketed, label_of, name_of, units_of

if TYPE_CHECKING:
    from collections.abc import Hashable

    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 60
"""Steps that get a dot each."""


def over_time(*panels: xr.Dataset, dim: Hashable | None = None) -> Figure:
    """Draw what each step has of one or several numbers, panel above panel over one axis of time.

    Parameters
    ----------
    *panels : Dataset
        One panel each; its variables are lines in one unit, as ``reconstruction.score(truth, dim=("lat", "lon"))``
        gives them. The legend has their `long_name`; other dimensions (members) give several lines of one colour. The
        `long_name` of the Dataset says what they have in common.
    dim : name, optional
        The dimension of time, where its name and coordinate do not tell.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    VariableError
        When there is nothing to draw.
    DataError
        When the numbers of a panel have other units.
    DimensionError
        When there is no time.
    AlignmentError
        When panels have dates of other kinds.

    Examples
    --------
    >>> import matplotlib, xarray as xr
    >>> matplotlib.use("Agg")
    >>> errors = xr.Dataset({"rmse": ("time", [1.0, 2.0], {"units": "K"}), "mae": ("time", [0.5, 1.0], {"units": "K"})})
    >>> [ax.get_ylabel() for ax in over_time(errors.assign_attrs(long_name="error")).axes]
    ['error [K]']
    """
    if not panels or not all(panel.data_vars for panel in panels):
        raise VariableError(
            "There is nothing to draw over time. Give a Dataset of numbers for each step, e.g. "
            "`over_time(reconstruction.score(truth, dim=('lat', 'lon'))[['rmse', 'mae']])`."
        )
    first = next(iter(panels[0].values()))
    axis = TimeAxis.of(first, time_dim(first, dim))
    figure, axes = new_panels(len(panels), 1, (9.0, 0.6 + 2.8 * len(panels)), sharex=True)
    for ax, panel in zip(axes, panels, strict=True):
        for number, line in enumerate(panel.values()):
            _draw_line(ax, axis, line, f"C{number}")
        ax.set_ylabel(_panel_label(panel))
        ax.margins(x=0.01)
        ax.grid(linewidth=0.4, alpha=0.6)
        if len(panel.data_vars) > 1:
            ax.legend(fontsize="small", loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, frameon=False)
    axis.write(axes[-1])
    return figure


def _draw_line(ax: Axes, axis: TimeAxis, line: xr.DataArray, colour: str) -> None:
    """One line, or one of each member; only the first stands in the legend."""
    at, rows = axis.positions(line), line.transpose(..., axis.dim).values.reshape(-1, line.sizes[axis.dim])
    marks: dict[str, Any] = {"marker": "."} if at.size <= FEW else {}
    for i, row in enumerate(rows):
        ax.plot(at, row, color=colour, linewidth=1.2, label=name_of(line) if i == 0 else None, **marks)


def _panel_label(panel: xr.Dataset) -> str:
    units = {units_of(line) for line in panel.values()}
    if len(units) > 1:
        raise DataError(
            f"{listed(panel.data_vars)} are in {listed(sorted(units))}; lines of one panel need one unit. Draw them "
            f"in panels of their own: `over_time(ds[['rmse']], ds[['cells']])`."
        )
    lines = list(panel.values())
    told = str(panel.attrs.get("long_name", ""))
    return label_of(lines[0]) if len(lines) == 1 and not told else bracketed(told, units.pop()).strip()
