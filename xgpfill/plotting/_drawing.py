"""Figures of like panels and one sheet drawn in a panel, as a map or on plain axes; what is drawn is settled elsewhere.

Nothing here reaches for the network: coastlines are drawn when Natural Earth is already on disk, the outline
of `valid` otherwise.
"""

from __future__ import annotations

from numbers import Real
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.errors import DataError, shown
from xgpfill.plotting._sheet import Array, Sheet, centres, limits, ticks
from xgpfill.words import degrees

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


def panels(
    sheet: Sheet, rows: int, columns: int, *, width: float = PANEL_WIDTH, bars: bool = True
) -> tuple[Figure, list[Axes]]:
    """Make a figure of like panels: maps when the sheet has longitudes and cartopy is installed.

    `width` (inches) is that of a panel; `bars` leaves room for a bar at each of them, else for one at the right.
    """
    import matplotlib.pyplot as plt

    height = float(np.clip(width * sheet.aspect, 0.35 * width, 1.3 * width)) + (0.5 if bars else 0.35)
    total = (width + 1.1) * columns if bars else max(width * columns, 3.2) + 1.3
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(total, height * rows + (0.3 if bars else 0.7)),
        layout="compressed",
        squeeze=False,
        subplot_kw={"projection": projection(sheet)},
    )
    return figure, list(axes.flat)


def projection(sheet: Sheet) -> Any:
    """PlateCarree about the middle of the data; None for plain axes, or without cartopy."""
    if sheet.central is None:
        return None
    try:
        import cartopy.crs as ccrs
    except ImportError:
        return None
    return ccrs.PlateCarree(central_longitude=sheet.central)


def draw(
    sheet: Sheet,
    ax: Axes,
    colours: str | Colormap,
    within: tuple[float | None, float | None],
    label: str | None = None,
) -> QuadMesh:
    """Draw a sheet in a panel, its colours between two limits; with a `label` it has a bar of its own."""
    _check_colours(colours, within)
    on_map = sheet.central is not None and hasattr(ax, "projection")
    options: dict[str, Any] = {"transform": projection(sheet)} if on_map else {}
    x = sheet.x if on_map or sheet.central is None else sheet.x + sheet.central
    lowest, highest = limits(sheet.values)
    vmin, vmax = (lowest if within[0] is None else within[0]), (highest if within[1] is None else within[1])
    mesh = ax.pcolormesh(x, sheet.y, sheet.values, cmap=colours, vmin=vmin, vmax=vmax, rasterized=True, **options)
    _shade_outside(sheet, ax, x, options)
    _outline(sheet, ax, x, options, on_map=on_map)
    _frame_axes(sheet, ax, x, on_map=on_map)
    if label is not None:
        add_bar(mesh, [ax], [sheet.values], label)
    return mesh


def _check_colours(colours: Any, within: tuple[Any, Any]) -> None:
    from matplotlib import colormaps

    if isinstance(colours, str) and colours not in colormaps:
        raise DataError(
            f"cmap={shown(colours)}: matplotlib has no such colours. Name one it has, e.g. `cmap='viridis'`."
        )
    for name, limit in zip(("vmin", "vmax"), within, strict=True):
        if limit is not None and not (isinstance(limit, Real) and np.isfinite(float(limit))):
            raise DataError(f"{name}={shown(limit)}: expected a finite number in the units of the field, or None.")


def add_bar(mesh: QuadMesh, axes: list[Axes], values: list[Array], label: str) -> None:
    """Add one bar for like panels, pointed where values lie beyond the limits of its colours."""
    seen = np.concatenate([part[np.isfinite(part)] for part in values])
    own = {"fraction": 0.046, "pad": 0.03}
    shared = {"shrink": 0.85, "aspect": 30.0, "pad": 0.02}
    options: dict[str, Any] = own if len(axes) == 1 else shared
    bar = axes[0].figure.colorbar(mesh, ax=axes, extend=_extend(seen, *mesh.get_clim()), **options)
    bar.set_label(fill(label, 32))


def hide_inner_labels(axes: list[Axes], columns: int) -> None:
    """Keep what is written beside the axes only at the left and at the bottom of rows of like panels."""
    for i, ax in enumerate(axes):
        if i % columns:
            ax.tick_params(labelleft=False)
            ax.set_ylabel("")
        if i + columns < len(axes):
            ax.tick_params(labelbottom=False)
            ax.set_xlabel("")


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
    if on_map and ax.projection != projection(sheet):  # type: ignore[attr-defined]
        lines = ax.gridlines(draw_labels=True, linewidth=0.4, color="0.5", alpha=0.6)  # type: ignore[attr-defined]
        lines.top_labels = lines.right_labels = False
        return
    ax.set_xlim(x.min(), x.max())
    ax.set_ylim(*((sheet.y.max(), sheet.y.min()) if sheet.top_down else (sheet.y.min(), sheet.y.max())))
    ax.set_aspect("equal" if sheet.equal else "auto")
    if sheet.central is None:
        ax.set(xlabel=sheet.labels[0], ylabel=sheet.labels[1])
        for name, edges in (("x", sheet.x), ("y", sheet.y)):
            if edges.dtype.kind == "f":
                ax.locator_params(axis=name, nbins=6, integer=sheet.top_down)  # type: ignore[arg-type]
        return
    offset = sheet.central if on_map else 0.0
    east, north = ticks(x + offset), ticks(sheet.y)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_visible(True)  # GeoAxes hide theirs
    ax.xaxis.set_ticks(east - offset, labels=[degrees(t, "EW") for t in east])
    ax.yaxis.set_ticks(north, labels=[degrees(t, "NS") for t in north])
    ax.grid(linewidth=0.4, color="0.5", alpha=0.6)


def _extend(values: Array, vmin: float, vmax: float) -> str:
    lowest, highest = limits(values)
    return {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[lowest < vmin, highest > vmax]
