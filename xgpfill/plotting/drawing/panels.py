"""Figures of like panels and one sheet drawn in a panel, as a map or on plain axes; what is drawn is settled elsewhere.

Nothing here reaches for the network: coastlines are drawn when Natural Earth is already on disk, the edges of
`valid` otherwise.
"""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.plotting.cells.edges import Array, areas, broken
from xgpfill.plotting.cells.sheet import Sheet, limits
from xgpfill.plotting.drawing.coast import draw_coast
from xgpfill.plotting.drawing.colours import check_colours, log_ticks, scale_of
from xgpfill.plotting.drawing.graticule import MERIDIAN, PARALLEL, frame_foreign, frame_map, frame_plain, hide_labels
from xgpfill.plotting.drawing.ink import hatch_ink, ink, land
from xgpfill.plotting.drawing.paper import MARGIN, new_panels
from xgpfill.plotting.drawing.projection import aspect, divided, is_straight, located_on, projection, widest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import Collection
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

FIELD_COLOURS = "viridis"
SPREAD_COLOURS = "magma"
# Even steps of lightness from a grey middle: Moreland (2009), doi:10.1007/978-3-642-10520-3_9.
ERROR_COLOURS = "coolwarm"
HATCH = "//////"
DOT_AREAS = (9.0, 60.0)  # points²
PANEL_WIDTH = 4.6  # inches


def panels(
    sheet: Sheet, rows: int, columns: int, *, width: float = PANEL_WIDTH, bars: bool = True
) -> tuple[Figure, list[Axes]]:
    """Make a figure of like panels: maps when the sheet has longitudes and cartopy is installed.

    `width` (inches) is that of a panel; `bars` leaves room for a bar at each of them, else for one at the right.
    """
    height = float(np.clip(width * aspect(sheet), 0.35 * width, 1.3 * width)) + (0.5 if bars else 0.35)
    total = (width + 1.1) * columns if bars else max(width * columns, 3.2) + 1.3
    size = (total, height * rows + 2 * MARGIN * rows + (0.3 if bars else 0.7))
    return new_panels(rows, columns, size, layout="compressed", subplot_kw={"projection": projection(sheet)})


def draw(
    sheet: Sheet,
    ax: Axes,
    colours: str | Colormap,
    within: tuple[float | None, float | None],
    label: str | None = None,
    *,
    hatched: bool = False,
    norm: str = "linear",
) -> Collection:
    """Draw a sheet in a panel, its colours between two limits; with a `label` it has a bar of its own.

    `hatched` marks where the field exists but has no value; `norm` is "linear" or "log".
    """
    check_colours(colours)
    scale = scale_of(sheet.values, within, norm)
    crs = _crs_of(sheet, ax)
    own = crs is None or crs == projection(sheet)
    whole, sheet = sheet, sheet if is_straight(crs) else divided(sheet)
    x, y = _positions(sheet, crs)
    options: dict[str, Any] = {"cmap": colours, "norm": scale, "rasterized": True}
    drawn = _draw_places if sheet.places else _draw_cells
    mesh = drawn(sheet, ax, x, y, options, hatched=hatched)
    draw_coast(sheet, ax, x, y, crs)
    if own:
        (frame_plain if crs is None else frame_map)(whole, ax)
    else:
        frame_foreign(ax)
    if label is not None:
        add_bar(mesh, [ax], [sheet.values], label)
    return mesh


def _crs_of(sheet: Sheet, ax: Axes) -> Any:
    """The projection of a panel that is a map; None for plain axes, and for a sheet without degrees."""
    return getattr(ax, "projection", None) if sheet.central is not None else None


def _positions(sheet: Sheet, crs: Any) -> tuple[Array, Array]:
    """Corners of the cells, or places, in the coordinates of a panel."""
    if crs is not None:
        return located_on(sheet, crs)
    from matplotlib.dates import date2num

    x, y = (date2num(edge) if edge.dtype.kind == "M" else edge for edge in (sheet.x, sheet.y))  # type: ignore[no-untyped-call]
    x = x if sheet.central is None else x + sheet.central
    return (x, y) if sheet.places or x.ndim == 2 else tuple(np.meshgrid(x, y))


def _draw_cells(sheet: Sheet, ax: Axes, x: Array, y: Array, options: dict[str, Any], *, hatched: bool) -> Collection:
    """Cells in their colours, those outside as land, and gaps hatched."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import PathPatch

    across, up, lost, where = _cells_for(sheet, ax, x, y)
    mesh = ax.pcolormesh(across, up, np.where(lost, np.nan, sheet.values), **options, **where)
    if sheet.outside is not None and sheet.outside.any():
        shaded = np.where(sheet.outside & ~lost, 0.0, np.nan)
        ax.pcolormesh(across, up, shaded, cmap=ListedColormap([land(ax)]), rasterized=True, **where)
    gaps = areas(sheet.gaps, x, y, widest(sheet, _crs_of(sheet, ax))) if hatched else None
    if gaps is not None:
        hatching = PathPatch(gaps, facecolor="none", edgecolor=hatch_ink(ax), linewidth=0.0, hatch=HATCH)
        ax.add_artist(hatching)  # `add_patch` would look for limits in every ring
    return mesh


def _cells_for(sheet: Sheet, ax: Axes, x: Array, y: Array) -> tuple[Array, Array, Array | bool, dict[str, Any]]:
    """What `pcolormesh` needs, and which cells it cannot draw: a map of the user's own cuts them at its seam itself."""
    crs = _crs_of(sheet, ax)
    if crs is not None and crs != projection(sheet):
        import cartopy.crs as ccrs

        return sheet.x, sheet.y, False, {"transform": ccrs.PlateCarree(central_longitude=sheet.central)}
    if sheet.x.ndim == 1 and is_straight(crs):
        east = sheet.x + sheet.central if crs is None and sheet.central is not None else sheet.x
        return east, sheet.y, False, {}
    return np.nan_to_num(x), np.nan_to_num(y), broken(x, widest(sheet, crs)), {}


def _draw_places(sheet: Sheet, ax: Axes, x: Array, y: Array, options: dict[str, Any], *, hatched: bool) -> Collection:
    """Places as dots, the fewer the larger; gaps as hatched rings."""
    size = float(np.clip(6000.0 / max(x.size, 1), *DOT_AREAS))
    rim: dict[str, Any] = {"linewidths": 0.4, "edgecolors": ink(ax)}
    known = np.isfinite(sheet.values)
    dots = ax.scatter(x[known], y[known], s=size, c=sheet.values[known], zorder=3.0, **rim, **options)
    if sheet.outside is not None and sheet.outside.any():
        ax.scatter(x[sheet.outside], y[sheet.outside], s=size / 2, color=land(ax), zorder=2.5)
    if hatched and sheet.gaps.any():
        empty: dict[str, Any] = {"facecolors": "none", "edgecolors": hatch_ink(ax), "linewidths": 0.8, "hatch": HATCH}
        ax.scatter(x[sheet.gaps], y[sheet.gaps], s=size, zorder=2.8, **empty)
    return dots


def add_bar(mesh: Collection, axes: list[Axes], values: list[Array], label: str) -> None:
    """Add one bar for like panels, pointed where values lie beyond the limits of its colours."""
    seen = np.concatenate([part[np.isfinite(part)] for part in values])
    own = {"fraction": 0.046, "pad": 0.03}
    shared = {"shrink": 0.85, "aspect": 30.0, "pad": 0.02}
    options: dict[str, Any] = own if len(axes) == 1 else shared
    bar = axes[0].figure.colorbar(mesh, ax=axes, extend=_extend(seen, *mesh.get_clim()), **options)
    bar.set_label(fill(label, 32))
    if type(mesh.norm).__name__ == "LogNorm":
        round_numbers = log_ticks(*mesh.get_clim()).tolist()
        bar.set_ticks(round_numbers, labels=[f"{number:g}" for number in round_numbers])
        bar.minorticks_off()


def hide_inner_labels(axes: list[Axes], columns: int) -> None:
    """Keep what is written beside the axes only at the left and at the bottom of rows of like panels."""
    for i, ax in enumerate(axes):
        if i % columns:
            ax.tick_params(labelleft=False)
            ax.set_ylabel("")
            hide_labels(ax, PARALLEL)
        if i + columns < len(axes):
            ax.tick_params(labelbottom=False)
            ax.set_xlabel("")
            hide_labels(ax, MERIDIAN)


def explain(figure: Figure, sheet: Sheet, like: Axes, spare: Axes | None) -> None:
    """Say what hatching and shading mean in a panel, in a spare panel or below all of them."""
    from matplotlib.legend_handler import HandlerPatch
    from matplotlib.patches import Circle, Patch

    swatch: Any = (lambda **look: Circle((0.0, 0.0), **look)) if sheet.places else Patch
    marks = []
    if sheet.gaps.any():
        empty = {"facecolor": "none", "edgecolor": hatch_ink(like), "linewidth": 0.8, "hatch": HATCH}
        marks.append(swatch(**empty, label="not observed"))
    if sheet.outside is not None and sheet.outside.any():
        marks.append(swatch(facecolor=land(like), edgecolor=ink(like), linewidth=0.4, label="outside the field"))
    if spare is not None:
        spare.set_axis_off()
    if not marks:
        return
    legend: dict[str, Any] = {"handles": marks, "handler_map": {Circle: HandlerPatch(_dot)}, "frameon": False}
    if spare is not None:
        spare.legend(loc="center", **legend)
    else:
        figure.legend(loc="outside lower left", ncols=len(marks), fontsize="small", **legend)


def _dot(*, width: float, height: float, xdescent: float, ydescent: float, **_: Any) -> Any:
    """A place in a legend, in the middle of its swatch."""
    from matplotlib.patches import Circle

    return Circle((width / 2 - xdescent, height / 2 - ydescent), 0.7 * height)


def _extend(values: Array, vmin: float, vmax: float) -> str:
    lowest, highest = limits(values)
    return {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[lowest < vmin, highest > vmax]
