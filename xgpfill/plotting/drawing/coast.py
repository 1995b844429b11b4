"""Coasts: those of Natural Earth when they are on disk, else the edges of the cells where the field exists.

Nothing here reaches for the network.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from xgpfill.errors import warn
from xgpfill.plotting.cells.edges import borders
from xgpfill.plotting.drawing.ink import ink
from xgpfill.plotting.drawing.projection import widest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from xgpfill.plotting.cells.edges import Array
    from xgpfill.plotting.cells.sheet import Sheet


def draw_coast(sheet: Sheet, ax: Axes, x: Array, y: Array, crs: Any) -> None:
    """Draw coastlines, or the edges between cells within and outside; `x` and `y` are corners in a projection."""
    west, east, _, _ = sheet.box
    scale = coastlines_on_disk(float(east - west)) if crs is not None else None
    if scale is not None:
        ax.coastlines(resolution=scale, linewidth=0.7, color=ink(ax))  # type: ignore[attr-defined]
        return
    if crs is not None:
        hint_at_coastlines()
    if sheet.outside is None or sheet.places:
        return
    from matplotlib.collections import LineCollection

    lines = borders(sheet.outside, x, y, widest(sheet, crs))
    if lines:
        ax.add_collection(LineCollection(lines, colors=ink(ax), linewidths=0.7, capstyle="projecting"), autolim=False)


def coastlines_on_disk(width: float) -> str | None:
    """Choose a resolution of Natural Earth to draw over `width` degrees; None when there is none on disk.

    `ax.coastlines()` always succeeds; without the shapefile it is saving the figure that tries to download
    it and fails. So look where cartopy's own downloader would, and let it download nothing: in the folder named by
    ``CARTOPY_DATA_DIR``, then in the user's own.
    """
    from cartopy import config
    from cartopy.io import Downloader

    finest = 0 if width < 20 else 1 if width < 120 else 2
    scales = ("10m", "50m", "110m")
    for scale in scales[finest:] + scales[:finest][::-1]:
        keys = {"config": config, "category": "physical", "name": "coastline", "resolution": scale}
        finder = Downloader.from_config(("shapefiles", "natural_earth", scale, "physical", "coastline"))
        places = (finder.pre_downloaded_path(keys), finder.target_path(keys))
        path = next((path for path in places if path is not None and path.exists()), None)  # the one cartopy reads
        if path is not None and all(path.with_suffix(part).exists() for part in (".shx", ".dbf")):
            return scale
    return None


@cache
def hint_at_coastlines() -> None:
    """Warn once how maps get coastlines."""
    warn(
        "Maps are drawn without coastlines: Natural Earth is not on this disk. Fetch it once, where there is a "
        "network, with `cartopy_feature_download physical`, or name the folder that has it in the environment, "
        "`CARTOPY_DATA_DIR`; until then the edge of `valid=` is drawn."
    )
