"""Maps of one frame: a field, or truth beside mean, standard deviation and error.

Nothing here reaches for the network: coastlines are drawn when Natural Earth is already on disk, the outline
of `valid` otherwise. Several frames of one field are in :mod:`xgpfill.plotting.frames`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xgpfill.plotting._drawing import ERROR_COLOURS, FIELD_COLOURS, SPREAD_COLOURS, draw, panels
from xgpfill.plotting._sheet import Array, Sheet, check_flat, limits, load_together, on_cells_of, to_sheet
from xgpfill.words import bracketed, label_of, moment_of, units_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure


def field_map(
    field: xr.DataArray,
    *,
    ax: Axes | None = None,
    valid: xr.DataArray | None = None,
    cmap: str | Colormap | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    label: str | None = None,
) -> QuadMesh:
    """Draw one frame with its colour bar: a map when it has latitudes and longitudes, plain axes otherwise.

    Parameters
    ----------
    field : DataArray
        Two dimensions in any order. Latitudes may descend, longitudes run 0..360, -180..180 or across 180°.
        A field without coordinates is drawn as an image, its first row on top.
    ax : matplotlib Axes, optional
        Where to draw; a cartopy GeoAxes of any projection, or plain axes. None makes a figure.
    valid : DataArray of bool, optional
        On the cells of `field`, True where it exists. The rest is shaded, and outlined when no coastlines
        are on disk.
    cmap : name or Colormap, optional
        Default viridis.
    vmin, vmax : float, optional
        Limits of the colours in the units of `field`; by default those of its finite values.
    label : str, optional
        Of the colour bar; by default the name and units in the attributes of `field`.

    Returns
    -------
    matplotlib.collections.QuadMesh
        With its axes as `.axes` and its bar as `.colorbar`.

    Raises
    ------
    DimensionError
        When `field` is not two-dimensional.
    AlignmentError
        When `valid` lies on other cells.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> from xgpfill.datasets import synthetic_sst
    >>> cube = synthetic_sst(days=3)
    >>> mesh = field_map(cube.sst.isel(time=0), valid=cube.valid)
    >>> mesh.colorbar.ax.get_ylabel().endswith("[°C]")
    True
    """
    sheet = to_sheet(field, valid)
    if ax is None:
        ax = panels(sheet, 1, 1)[1][0]
    return draw(sheet, ax, cmap or FIELD_COLOURS, (vmin, vmax), label or label_of(field))


def comparison(
    truth_or_observed: xr.DataArray,
    mean: xr.DataArray,
    std: xr.DataArray,
    *,
    error: xr.DataArray | None = None,
    valid: xr.DataArray | None = None,
    title: str | None = None,
) -> Figure:
    """Draw one frame as it is (or was observed), as it was filled, how sure that is, and how wrong.

    The first two panels share their colours, the standard deviation starts at zero, and the error is
    symmetric about zero, its limits the 99th percentile of its size.

    Parameters
    ----------
    truth_or_observed, mean, std : DataArray
        Two dimensions, the same cells. Lazy ones are computed together.
    error : DataArray, optional
        Mean minus truth, when the truth is known: it makes the fourth panel, and the first is called "truth"
        (without it: "observed").
    valid : DataArray of bool, optional
        True where the field exists; the rest is shaded.
    title : str, optional
        Default: the time of the frame, if it has one.

    Returns
    -------
    matplotlib.figure.Figure
        Made by pyplot; close it with `plt.close(figure)` when you draw many.

    Raises
    ------
    DimensionError
        When a field is not two-dimensional.
    AlignmentError
        When the fields or `valid` do not lie on the same cells.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> from xgpfill.datasets import synthetic_sst
    >>> frame = synthetic_sst(days=3).isel(time=0)
    >>> mean, std = frame.truth + 0.1, 0.2 + 0 * frame.truth
    >>> figure = comparison(frame.truth, mean, std, error=mean - frame.truth, valid=frame.valid)
    >>> [ax.get_title() for ax in figure.axes if ax.get_title()]
    ['truth', 'filled: mean', 'standard deviation', 'error: mean - truth']
    """
    fields = _loaded(truth_or_observed, mean, std, *([] if error is None else [error]))
    sheets = [to_sheet(field, valid) for field in fields]
    figure, axes = panels(sheets[0], *((2, 2) if len(fields) == 4 else (1, 3)))
    for sheet, ax, panel in zip(sheets, axes, _comparison_panels(fields, sheets), strict=True):
        draw(sheet, ax, panel.colours, panel.limits, panel.label)
        ax.set_title(panel.heading)
    if heading := moment_of(fields[0]) if title is None else title:
        figure.suptitle(heading)
    return figure


class _Panel(NamedTuple):
    heading: str
    colours: str
    limits: tuple[float, float]
    label: str


def _comparison_panels(fields: list[xr.DataArray], sheets: list[Sheet]) -> list[_Panel]:
    """Choose words and colours: the first two share theirs, the error is symmetric about zero."""
    first, mean = fields[:2]
    known = len(fields) == 4
    name, units = label_of(mean if mean.attrs else first), units_of(mean) or units_of(first)
    shared = limits(sheets[0].values, sheets[1].values)
    largest = limits(sheets[2].values)[1]
    found = [
        _Panel("truth" if known else "observed", FIELD_COLOURS, shared, name),
        _Panel("filled: mean", FIELD_COLOURS, shared, name),
        _Panel("standard deviation", SPREAD_COLOURS, (0.0, largest), bracketed("standard deviation", units)),
    ]
    if known:
        size = _error_size(sheets[3].values)
        found.append(_Panel("error: mean - truth", ERROR_COLOURS, (-size, size), bracketed("error", units)))
    return found


def _error_size(error: Array) -> float:
    """Find the size that 99 % of the errors stay under; 1 when there is none."""
    sizes = np.abs(error[np.isfinite(error)])
    return float(np.quantile(sizes, 0.99)) if sizes.size else 1.0


def _loaded(*fields: xr.DataArray) -> list[xr.DataArray]:
    """Bring the fields into memory at once (mean and variance of a tile come from one task), cell by cell."""
    for field in fields:
        check_flat(field)
    first, *others = fields
    fields = (first, *(on_cells_of(first, other, _named(other)) for other in others))
    return load_together(*fields)


def _named(field: xr.DataArray) -> str:
    return "A field of the comparison" if field.name is None else f"{field.name!r}"
