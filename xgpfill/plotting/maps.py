"""Maps of one frame: a field, or truth beside mean, standard deviation and error.

Nothing here reaches for the network: coastlines are drawn when Natural Earth is already on disk, the outline
of `valid` otherwise. No series or reports live here.
"""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from xgpfill.plotting._sheet import (
    Array,
    Sheet,
    bracketed,
    centres,
    check_flat,
    degrees,
    limits,
    on_cells_of,
    ticks,
    to_sheet,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

FIELD_COLOURS = "viridis"
SPREAD_COLOURS = "magma"
# Even steps of lightness from a grey middle: Moreland (2009), doi:10.1007/978-3-642-10520-3_9.
ERROR_COLOURS = "coolwarm"
LAND_COLOUR = "#c9c0ae"
PANEL_WIDTH = 4.6  # inches


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
    >>> mesh.colorbar.ax.get_ylabel().endswith("[degC]")
    True
    """
    sheet = to_sheet(field, valid)
    if ax is None:
        ax = _panels(sheet, 1, 1)[1][0]
    return _draw(sheet, ax, cmap or FIELD_COLOURS, (vmin, vmax), label or _label(field))


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
    figure, axes = _panels(sheets[0], *((2, 2) if len(fields) == 4 else (1, 3)))
    for sheet, ax, panel in zip(sheets, axes, _comparison_panels(fields, sheets), strict=True):
        _draw(sheet, ax, panel.colours, panel.limits, panel.label)
        ax.set_title(panel.heading)
    if heading := _frame_title(fields[0]) if title is None else title:
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
    name, units = _label(mean if mean.attrs else first), _units(mean) or _units(first)
    shared = limits(sheets[0].values, sheets[1].values)
    largest = limits(sheets[2].values)[1]
    panels = [
        _Panel("truth" if known else "observed", FIELD_COLOURS, shared, name),
        _Panel("filled: mean", FIELD_COLOURS, shared, name),
        _Panel("standard deviation", SPREAD_COLOURS, (0.0, largest), bracketed("standard deviation", units)),
    ]
    if known:
        size = _error_size(sheets[3].values)
        panels.append(_Panel("error: mean - truth", ERROR_COLOURS, (-size, size), bracketed("error", units)))
    return panels


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
    together = xr.Dataset({str(i): field.variable for i, field in enumerate(fields)}).load()
    return [field.copy(data=together[str(i)].values) for i, field in enumerate(fields)]


def _named(field: xr.DataArray) -> str:
    return "A field of the comparison" if field.name is None else f"{field.name!r}"


def _panels(sheet: Sheet, rows: int, columns: int) -> tuple[Figure, list[Axes]]:
    """Make a figure of like panels: maps when the sheet has longitudes and cartopy is installed."""
    import matplotlib.pyplot as plt

    height = float(np.clip(PANEL_WIDTH * sheet.aspect, 1.6, 6.0)) + 0.5
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=((PANEL_WIDTH + 1.1) * columns, height * rows + 0.3),
        layout="compressed",
        squeeze=False,
        subplot_kw={"projection": _projection(sheet)},
    )
    return figure, list(axes.flat)


def _projection(sheet: Sheet) -> Any:
    """PlateCarree about the middle of the data; None for plain axes, or without cartopy."""
    if sheet.central is None:
        return None
    try:
        import cartopy.crs as ccrs
    except ImportError:
        return None
    return ccrs.PlateCarree(central_longitude=sheet.central)


def _draw(
    sheet: Sheet,
    ax: Axes,
    colours: str | Colormap,
    within: tuple[float | None, float | None],
    label: str,
) -> QuadMesh:
    on_map = sheet.central is not None and hasattr(ax, "projection")
    options: dict[str, Any] = {"transform": _projection(sheet)} if on_map else {}
    x = sheet.x if on_map or sheet.central is None else sheet.x + sheet.central
    lowest, highest = limits(sheet.values)
    vmin, vmax = (lowest if within[0] is None else within[0]), (highest if within[1] is None else within[1])
    mesh = ax.pcolormesh(x, sheet.y, sheet.values, cmap=colours, vmin=vmin, vmax=vmax, rasterized=True, **options)
    _shade_outside(sheet, ax, x, options)
    _outline(sheet, ax, x, options, on_map=on_map)
    _frame_axes(sheet, ax, x, on_map=on_map)
    bar = ax.figure.colorbar(mesh, ax=ax, extend=_extend(sheet.values, vmin, vmax), fraction=0.046, pad=0.03)
    bar.set_label(fill(label, 32))
    return mesh


def _shade_outside(sheet: Sheet, ax: Axes, x: Array, options: dict[str, Any]) -> None:
    from matplotlib.colors import ListedColormap

    if sheet.outside is not None and sheet.outside.any():
        land = np.where(sheet.outside, 0.0, np.nan)
        ax.pcolormesh(x, sheet.y, land, cmap=ListedColormap([LAND_COLOUR]), rasterized=True, **options)


def _outline(sheet: Sheet, ax: Axes, x: Array, options: dict[str, Any], *, on_map: bool) -> None:
    """Coastlines when they are on disk, else the edge of where the field exists."""
    scale = _coastlines_on_disk(float(np.ptp(x))) if on_map else None
    if scale is not None:
        ax.coastlines(resolution=scale, linewidth=0.7, color="0.2")  # type: ignore[attr-defined]
        return
    outside = sheet.outside
    if outside is not None and min(outside.shape) > 1 and outside.any() and not outside.all():
        edge = outside.astype(float)
        ax.contour(centres(x), centres(sheet.y), edge, levels=[0.5], colors="0.2", linewidths=0.7, **options)


def _coastlines_on_disk(width: float) -> str | None:
    """Choose a resolution of Natural Earth to draw over `width` degrees; None when there is none on disk.

    `ax.coastlines()` always succeeds; without the shapefile it is saving the figure that tries to download
    it and fails. So look where cartopy's own downloader would, and let it download nothing.
    """
    from cartopy import config
    from cartopy.io import Downloader

    finest = 0 if width < 20 else 1 if width < 120 else 2
    scales = ("10m", "50m", "110m")
    for scale in scales[finest:] + scales[:finest][::-1]:
        keys = {"config": config, "category": "physical", "name": "coastline", "resolution": scale}
        finder = Downloader.from_config(("shapefiles", "natural_earth", scale, "physical", "coastline"))
        for path in (finder.pre_downloaded_path(keys), finder.target_path(keys)):
            if path is not None and all(path.with_suffix(part).exists() for part in (".shp", ".shx", ".dbf")):
                return scale
    return None


def _frame_axes(sheet: Sheet, ax: Axes, x: Array, *, on_map: bool) -> None:
    """Limits, ticks and graticule."""
    if on_map and ax.projection != _projection(sheet):  # type: ignore[attr-defined]
        lines = ax.gridlines(draw_labels=True, linewidth=0.4, color="0.5", alpha=0.6)  # type: ignore[attr-defined]
        lines.top_labels = lines.right_labels = False
        return
    ax.set_xlim(x.min(), x.max())
    ax.set_ylim(*((sheet.y.max(), sheet.y.min()) if sheet.top_down else (sheet.y.min(), sheet.y.max())))
    ax.set_aspect("equal" if sheet.equal else "auto")
    if sheet.central is None:
        ax.set(xlabel=sheet.labels[0], ylabel=sheet.labels[1])
        return
    offset = sheet.central if on_map else 0.0
    east, north = ticks(x + offset), ticks(sheet.y)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_visible(True)  # GeoAxes hide theirs
    ax.xaxis.set_ticks(east - offset, labels=[degrees(t, "EW") for t in east])
    ax.yaxis.set_ticks(north, labels=[degrees(t, "NS") for t in north])
    ax.grid(linewidth=0.4, color="0.5", alpha=0.6)


def _extend(values: Array, vmin: float, vmax: float) -> str:
    lowest, highest = limits(values[np.isfinite(values)])
    return {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[lowest < vmin, highest > vmax]


def _units(field: xr.DataArray) -> str:
    return str(field.attrs.get("units", ""))


def _label(field: xr.DataArray) -> str:
    name = field.attrs.get("long_name") or field.attrs.get("standard_name") or field.name or ""
    return bracketed(str(name).replace("_", " "), _units(field))


def _frame_title(field: xr.DataArray) -> str:
    """Tell the time of a frame cut from a series; nothing when it has none."""
    for name, coordinate in field.coords.items():
        if coordinate.ndim == 0 and str(name) in ("time", "t", "date"):
            value = coordinate.values
            return (
                str(np.datetime_as_string(value, unit="m")).replace("T00:00", "")
                if value.dtype.kind == "M"
                else str(value)
            )
    return ""
