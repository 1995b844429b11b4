"""Which projection suits a region, and where a sheet lies in it. Nothing is drawn here; cartopy loads on first use."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from xgpfill.plotting.cells.edges import Array
    from xgpfill.plotting.cells.sheet import Sheet

FINEST = 2.0
"""Cells are divided into parts of at most so many degrees where meridians and parallels are curves."""
NEARLY_HALF = 179.9999
"""Degrees from the central meridian that still lie on their own side of the seam."""


def projection(sheet: Sheet) -> Any:
    """The projection that an atlas would take; None for plain axes, or without cartopy.

    The globe is Robinson's, a cap round a pole polar stereographic, a wide or high region of middle latitudes a
    conic of Lambert; all else has straight meridians and parallels. Each is about the middle of the data.
    """
    if sheet.central is None:
        return None
    try:
        import cartopy.crs as ccrs
    except ImportError:
        return None
    west, east, south, north = sheet.box
    wide, high = east - west, north - south
    low, top = (south, north) if south + north > 0.0 else (-north, -south)
    if wide >= 180.0 and low >= 15.0 and top >= 75.0:
        polar = ccrs.NorthPolarStereo if south > 0.0 else ccrs.SouthPolarStereo
        return polar(central_longitude=0.0 if is_round(sheet) else sheet.central)
    if wide >= 300.0 and high >= 100.0:
        return ccrs.Robinson(central_longitude=sheet.central)
    if sheet.equal and wide <= 180.0 and low >= 10.0 and _tapers(low, top, wide):
        sign = 1.0 if south > 0.0 else -1.0
        parallels = tuple(sign * (low + part * (top - low)) for part in (1 / 6, 5 / 6))  # as in most atlases
        return ccrs.LambertConformal(sheet.central, sign * (low + top) / 2, standard_parallels=parallels, cutoff=-sign)
    return ccrs.PlateCarree(central_longitude=sheet.central)


def _tapers(low: float, top: float, wide: float) -> bool:
    """Whether a region is so wide, or reaches so far poleward, that its meridians visibly converge."""
    shrinks = np.cos(np.radians(low)) / max(np.cos(np.radians(top)), 1e-3)
    return bool((low + top) / 2 >= 25.0 and ((wide >= 25.0 and top - low >= 10.0) or shrinks >= 1.3))


def is_round(sheet: Sheet) -> bool:
    """Whether a sheet goes once round the globe."""
    west, east, _, _ = sheet.box
    return bool(east - west >= (330.0 if is_curvilinear(sheet) else 359.0))


def is_curvilinear(sheet: Sheet) -> bool:
    """Whether the cells follow no meridians and parallels."""
    return sheet.x.ndim == 2


def is_straight(crs: Any) -> bool:
    """Whether meridians and parallels are straight and evenly spaced, as on plain axes."""
    return crs is None or type(crs).__name__ == "PlateCarree"


def stretch(sheet: Sheet) -> float:
    """Height of a degree of latitude over the width of one of longitude, at the middle of a straight map."""
    west, east, south, north = sheet.box
    if sheet.central is None or east - west > 180.0:
        return 1.0
    return float(1.0 / max(np.cos(np.radians((south + north) / 2)), 0.2))


def aspect(sheet: Sheet) -> float:
    """Height over width of the map of a sheet."""
    crs = projection(sheet)
    if is_straight(crs):
        if not sheet.equal:
            return 0.75
        west, east, south, north = sheet.box
        return float((north - south) / (east - west)) * stretch(sheet)
    if type(crs).__name__ == "Robinson":
        return 0.51
    x, y = frame(sheet, crs).T
    return float(np.ptp(y) / np.ptp(x))


def divided(sheet: Sheet) -> Sheet:
    """The sheet with wide cells in parts, so that curved meridians and parallels are followed."""
    if sheet.places or is_curvilinear(sheet):
        return sheet
    values, outside, axes = sheet.values, sheet.outside, [sheet.y, sheet.x]
    for axis, nodes in enumerate(axes):
        parts = max(1, int(np.ceil(np.abs(np.diff(nodes)).max() / FINEST)))
        steps = np.arange(parts * (nodes.size - 1) + 1) / parts
        axes[axis] = np.interp(steps, np.arange(nodes.size), nodes)
        values = np.repeat(values, parts, axis)
        outside = None if outside is None else np.repeat(outside, parts, axis)
    return replace(sheet, values=values, outside=outside, x=axes[1], y=axes[0])


def located_on(sheet: Sheet, crs: Any) -> tuple[Array, Array]:
    """Corners of the cells (or places) in the coordinates of a projection, NaN where it does not show them."""
    x, y = (sheet.x, sheet.y) if sheet.places or is_curvilinear(sheet) else np.meshgrid(sheet.x, sheet.y)
    return project(crs, x, y, sheet.central or 0.0)


def project(crs: Any, x: Array, y: Array, central: float) -> tuple[Array, Array]:
    """Degrees east of a central meridian, and latitudes, in the coordinates of a projection."""
    import cartopy.crs as ccrs

    x, y = np.broadcast_arrays(np.clip(np.asarray(x, float), -NEARLY_HALF, NEARLY_HALF), np.asarray(y, float))
    if is_straight(crs) and crs == ccrs.PlateCarree(central_longitude=central):
        return x.copy(), y.copy()
    found = crs.transform_points(ccrs.Geodetic(), x + central, y)[..., :2]
    found[~np.isfinite(found).all(axis=-1)] = np.nan
    return found[..., 0], found[..., 1]


def widest(sheet: Sheet, crs: Any) -> float:
    """What is wider than this crosses a seam: half the map, or half the globe on plain axes."""
    if crs is not None:
        return float(np.ptp(crs.x_limits)) / 2
    return np.inf if sheet.central is None else 180.0


def frame(sheet: Sheet, crs: Any) -> Array:
    """The line round a sheet, (n, 2) in the coordinates of a projection.

    A rectangle round a curvilinear grid; else along the outermost meridians and parallels.
    """
    if is_curvilinear(sheet):
        x, y = located_on(sheet, crs)
        (west, east), (south, north) = ((np.nanmin(c), np.nanmax(c)) for c in (x, y))
        return np.array([(west, south), (east, south), (east, north), (west, north), (west, south)])
    west, east, south, north = sheet.box
    across, up = np.linspace(west, east, 181), np.linspace(south, north, 61)
    x = np.concatenate([across, np.full(61, east), across[::-1], np.full(61, west)])
    y = np.concatenate([np.full(181, south), up, np.full(181, north), up[::-1]])
    if is_round(sheet) and "Polar" in type(crs).__name__:  # the circle of the outermost parallel alone
        x, y = across, np.full(181, south if south > 0.0 else north)
    return np.stack(project(crs, x, y, sheet.central or 0.0), axis=-1)
