"""Maps of one frame: a field, or what was observed beside mean, standard deviation, truth and error.

Nothing here reaches for the network: coastlines are drawn when Natural Earth is already on disk, the edges of
`valid` otherwise. Several frames of one field are in :mod:`xgpfill.plotting.frames`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xgpfill.plotting.cells.layout import check_flat, to_sheet
from xgpfill.plotting.cells.sheet import Sheet, limits, load_together, on_cells_of
from xgpfill.plotting.drawing.panels import ERROR_COLOURS, FIELD_COLOURS, SPREAD_COLOURS, draw, explain, panels
from xgpfill.words import bracketed, label_of, moment_of, units_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.collections import Collection
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

    from xgpfill.plotting.cells.edges import Array

WORDS = 0.5  # inches: a title over the panels of a comparison, a legend below them


def field_map(
    field: xr.DataArray,
    *,
    ax: Axes | None = None,
    valid: xr.DataArray | None = None,
    cmap: str | Colormap | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    label: str | None = None,
    hatched: bool = False,
    norm: str = "linear",
) -> Collection:
    """Draw one frame with its colour bar: a map when it has latitudes and longitudes, plain axes otherwise.

    The globe is drawn in Robinson's projection, a cap round a pole polar stereographic, a wide region of middle
    latitudes conic, all else with straight meridians and parallels.

    Parameters
    ----------
    field : DataArray
        Two dimensions in any order, or the one of a list of places, which are drawn as dots. Latitudes may descend,
        longitudes run 0..360, -180..180 or across 180°. A field without coordinates is drawn as an image, its first
        row on top.
    ax : matplotlib Axes, optional
        Where to draw; a cartopy GeoAxes of any projection, or plain axes. None makes a figure.
    valid : DataArray of bool, optional
        On the cells of `field`, True where it exists. The rest is shaded, and outlined along the edges of cells
        when no coastlines are on disk.
    cmap : name or Colormap, optional
        Default viridis.
    vmin, vmax : float, optional
        Limits of the colours in the units of `field`; by default those of its finite values.
    label : str, optional
        Of the colour bar; by default the name and units in the attributes of `field`.
    hatched : bool
        Hatch the gaps, where the field exists and has no value.
    norm : {"linear", "log"}
        Scale of the colours; "log" suits factors, 0.5 and 2 are as far from 1.

    Returns
    -------
    matplotlib.collections.QuadMesh, or PathCollection for places
        With its axes as `.axes` and its bar as `.colorbar`.

    Raises
    ------
    DimensionError
        When `field` has other dimensions than those of a map.
    AlignmentError
        When `valid` lies on other cells.
    DataError
        When a limit or name of colours cannot be, or a logarithm has something at or below zero.

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
    label = label or label_of(field)
    return draw(sheet, ax, cmap or FIELD_COLOURS, (vmin, vmax), label, hatched=hatched, norm=norm)


def comparison(
    truth_or_observed: xr.DataArray,
    mean: xr.DataArray,
    std: xr.DataArray,
    *,
    error: xr.DataArray | None = None,
    observed: xr.DataArray | None = None,
    valid: xr.DataArray | None = None,
    title: str | None = None,
) -> Figure:
    """Draw one frame as it was observed, as it was filled, how sure that is, and below them the truth and the error.

    Where nothing was observed is hatched. Observations, mean and truth share their colours, the standard deviation
    starts at zero, and the error is symmetric about zero, its limits the 99th percentile of its size.

    Parameters
    ----------
    truth_or_observed, mean, std : DataArray
        Two dimensions, or the one of a list of places; the same cells. Lazy ones are computed together.
    error : DataArray, optional
        Mean minus truth, when the truth is known: the first field is the truth then (without it: what was observed).
    observed : DataArray, optional
        What was observed, beside a truth.
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
        When a field has other dimensions than those of a map.
    AlignmentError
        When the fields or `valid` do not lie on the same cells.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> from xgpfill.datasets import synthetic_sst
    >>> frame = synthetic_sst(days=3).isel(time=0)
    >>> mean, std = frame.truth + 0.1, 0.2 + 0 * frame.truth
    >>> figure = comparison(
    ...     frame.truth, mean, std, error=mean - frame.truth, observed=frame.sst, valid=frame.valid
    ... )
    >>> [ax.get_title() for ax in figure.axes if ax.get_title()]
    ['observed', 'filled: mean', 'standard deviation', 'truth', 'error: mean - truth']
    """
    known = error is not None
    named = {"truth" if known else "observed": truth_or_observed, "mean": mean, "std": std, "error": error}
    named |= {"observed": observed} if known else {}
    given = {name: field for name, field in named.items() if field is not None}
    fields = dict(zip(given, _loaded(*given.values()), strict=True))
    sheets = {name: to_sheet(field, valid) for name, field in fields.items()}
    places = _ARRANGED[known, "observed" in fields]
    rows, columns = max(row for row, _ in places.values()) + 1, max(column for _, column in places.values()) + 1
    figure, axes = panels(sheets["mean"], rows, columns)
    wide, high = figure.get_size_inches()
    figure.set_size_inches(wide, high + WORDS)
    looks = _looks(fields, sheets)
    for name, (row, column) in places.items():
        panel, ax = looks[name], axes[row * columns + column]
        draw(sheets[name], ax, panel.colours, panel.limits, panel.label, hatched=name == "observed")
        ax.set_title(panel.heading)
    if "observed" in sheets:
        explain(figure, sheets["observed"], axes[0], axes[columns] if known else None)
    if heading := moment_of(fields["mean"]) or moment_of(next(iter(fields.values()))) if title is None else title:
        figure.suptitle(heading)
    return figure


_ARRANGED: dict[tuple[bool, bool], dict[str, tuple[int, int]]] = {
    (False, True): {"observed": (0, 0), "mean": (0, 1), "std": (0, 2)},
    (True, False): {"truth": (0, 0), "mean": (0, 1), "std": (1, 0), "error": (1, 1)},
    (True, True): {"observed": (0, 0), "mean": (0, 1), "std": (0, 2), "truth": (1, 1), "error": (1, 2)},
}
"""Row and column of each panel, by whether the truth and what was observed are known: like stands below like."""


class _Panel(NamedTuple):
    heading: str
    colours: str
    limits: tuple[float, float]
    label: str


def _looks(fields: dict[str, xr.DataArray], sheets: dict[str, Sheet]) -> dict[str, _Panel]:
    """Words and colours of the panels: the fields share theirs, the error is symmetric about zero."""
    mean, first = fields["mean"], next(iter(fields.values()))
    name, units = label_of(mean if mean.attrs else first), units_of(mean) or units_of(first)
    alike = [name for name in ("observed", "truth", "mean") if name in sheets]
    shared = limits(*(sheets[name].values for name in alike))
    headings = {"observed": "observed", "truth": "truth", "mean": "filled: mean"}
    found: dict[str, _Panel] = {key: _Panel(headings[key], FIELD_COLOURS, shared, name) for key in alike}
    largest = limits(sheets["std"].values)[1]
    spread = "standard deviation"
    found["std"] = _Panel(spread, SPREAD_COLOURS, (0.0, largest), bracketed(spread, units))
    if "error" in sheets:
        size = _error_size(sheets["error"].values)
        found["error"] = _Panel("error: mean - truth", ERROR_COLOURS, (-size, size), bracketed("error", units))
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
