"""One frame of a vector field: arrows over its speed, or over where it points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.errors import DataError, shown
from xgpfill.plotting.cells.layout import to_sheet
from xgpfill.plotting.cells.sheet import load_together, on_cells_of
from xgpfill.plotting.drawing.ink import ink
from xgpfill.plotting.maps import field_map
from xgpfill.words import units_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.collections import Collection
    from matplotlib.quiver import Quiver

    from xgpfill.plotting.cells.edges import Array
    from xgpfill.plotting.cells.sheet import Sheet

ARROWS = 24
"""Along the longer side of a map, about."""
NEXT_TO_A_POLE = 85.0
"""Degrees of latitude beyond which arrows would cover each other."""
COLOURS = {"speed": "viridis", "direction": "twilight"}


def vector_map(
    u: xr.DataArray,
    v: xr.DataArray,
    *,
    colours: str = "speed",
    ax: Axes | None = None,
    valid: xr.DataArray | None = None,
    arrows: int = ARROWS,
    **options: Any,
) -> tuple[Collection, Quiver]:
    """Draw one frame of a vector field as arrows, over its speed or its direction in colours.

    Parameters
    ----------
    u, v : DataArray
        Components to the east (or along x) and to the north (or along y), two dimensions, on the same cells.
    colours : {"speed", "direction"}
        What the colours say; a direction is where the vector points to, in degrees from north by east.
    ax : matplotlib Axes, optional
    valid : DataArray of bool, optional
        True where the field exists.
    arrows : int
        How many along the longer side, about.
    **options
        Others of :func:`xgpfill.plotting.field_map`.

    Returns
    -------
    (matplotlib.collections.QuadMesh, matplotlib.quiver.Quiver)

    Raises
    ------
    DataError
        When the colours can say no such thing, or there are no arrows.
    AlignmentError
        When the components lie on other cells.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import xarray as xr
    >>> lat, lon = xr.DataArray([40.0, 41.0, 42.0], dims="lat"), xr.DataArray([3.0, 4.0, 5.0, 6.0], dims="lon")
    >>> u, v = (((1 + 0 * lat) * (1 + 0 * lon)).assign_coords(lat=lat, lon=lon) for _ in range(2))
    >>> mesh, quiver = vector_map(u, v)
    >>> float(mesh.get_array().max().round(3)), quiver.N
    (1.414, 12)
    """
    if not isinstance(colours, str) or colours not in COLOURS:
        raise DataError(f"colours={shown(colours)}: choose 'speed' or 'direction'.")
    if isinstance(arrows, bool) or not isinstance(arrows, (int, np.integer)) or arrows < 1:
        raise DataError(f"arrows={shown(arrows)}: expected a positive number of arrows along a side, e.g. `arrows=24`.")
    u, v = load_together(u, on_cells_of(u, v, "v"))
    limits = {"vmin": 0.0} if colours == "speed" else {"vmin": 0.0, "vmax": 360.0}
    shade = (speed if colours == "speed" else direction)(u, v)
    mesh = field_map(shade, ax=ax, valid=valid, **{"cmap": COLOURS[colours]} | limits | options)
    axes: Any = mesh.axes
    return mesh, _quiver(axes, to_sheet(u, valid), to_sheet(v, valid), int(arrows))


def speed(u: xr.DataArray, v: xr.DataArray) -> xr.DataArray:
    """The length of the vector."""
    found: xr.DataArray = np.hypot(u, v)  # type: ignore[assignment]
    attrs = {"long_name": "speed"} | ({"units": units_of(u)} if units_of(u) else {})
    return found.rename("speed").drop_attrs(deep=False).assign_attrs(attrs)


def direction(u: xr.DataArray, v: xr.DataArray) -> xr.DataArray:
    """Where the vector points to, degrees from north by east, 0 to 360."""
    angle: Any = np.arctan2(u, v)
    found: xr.DataArray = (angle * (180.0 / np.pi) % 360.0).rename("direction").drop_attrs(deep=False)
    return found.assign_attrs(long_name="direction", units="degree")


def _quiver(ax: Any, east: Sheet, north: Sheet, arrows: int) -> Quiver:
    """Arrows at some of the cells."""
    x, y = (_middles(edges, axis, east) for axis, edges in ((1, east.x), (0, east.y)))
    step = max(1, -(-max(east.values.shape) // arrows))
    some = (slice(step // 2, None, step),) * east.values.ndim
    x, y, u, v = (array[some] for array in (x, y, east.values, north.values))
    how: dict[str, Any] = {"color": ink(ax), "pivot": "middle", "width": 0.0025}
    if east.central is not None:
        x = x + east.central
        if hasattr(ax, "projection"):
            import cartopy.crs as ccrs

            seen = np.abs(y) <= NEXT_TO_A_POLE
            x, y, u, v = (array[seen] for array in (x, y, u, v))
            how["transform"] = ccrs.PlateCarree()
    found: Quiver = ax.quiver(x, y, u, v, **how)
    return found


def _middles(edges: Array, axis: int, sheet: Sheet) -> Array:
    """The middle of every cell from the edges along one direction; places as they are."""
    if sheet.places:
        return edges
    if edges.ndim == 2:
        across = 0.5 * (edges[1:] + edges[:-1])
        return np.asarray(0.5 * (across[:, 1:] + across[:, :-1]))
    if edges.dtype.kind == "M":
        from matplotlib.dates import date2num

        edges = date2num(edges)  # type: ignore[no-untyped-call]
    middle = 0.5 * (edges[1:] + edges[:-1])
    return np.broadcast_to(middle if axis else middle[:, None], sheet.values.shape)
