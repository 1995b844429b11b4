"""The barrier that a user gives, as land and water between places; and what it cannot go with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.barriers.barrier import Barrier
from xgpfill.errors import AlignmentError, DataError, MethodError, listed, shown, warn
from xgpfill.layout.axes import is_closed

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from xgpfill.grid.lattice import Space
    from xgpfill.grid.points import Observations
    from xgpfill.layout.encode import Layout

MOST_ON_LAND = 0.5
"""Share of the observations that may lie on land."""


def read_barrier(barrier: Any, layout: Layout, space: Space) -> Barrier | None:
    """Read a boolean DataArray, true on land, on the grid of the field; of scattered places on a grid of its own.

    Raises
    ------
    AlignmentError
        When it is no such array, or lies on another grid.
    DataError
        When all of it is land.
    MethodError
        When the field has components.
    """
    if barrier is None:
        return None
    _require_boolean(barrier)
    if layout.roles.component is not None:
        depth = layout.roles.depth
        require_one_variable(barrier, "vector=True or joint=True" if depth is None else f"depth ({depth!r} in dims=)")
    names = layout.roles.y, layout.roles.x
    if None in names:
        raise AlignmentError(
            f"barrier= needs places: the field has no coordinates of two directions of space, such as latitude and "
            f"longitude; its coordinates are {listed(layout.template.coords)}. Add them with `da.assign_coords(...)`."
        )
    barrier = barrier.compute()
    found = _on_grid(barrier, layout, space) if space.is_grid else _on_own_grid(barrier, layout, *names)
    if not found.water.any():
        raise DataError(
            "`barrier` is true everywhere: all of it is land. If it is true at sea, type `barrier=~barrier`."
        )
    if not found.bars:
        warn("`barrier` is False everywhere: it holds no land, and nothing is barred. It is to be True on land.")
    return found


def _require_boolean(barrier: Any) -> None:
    if not isinstance(barrier, xr.DataArray):
        raise AlignmentError(
            f"barrier={shown(barrier)} is a {type(barrier).__name__}; expected a DataArray of True on land and False "
            f"at sea, on the latitude and longitude of the field, e.g. `barrier=~sea`."
        )
    if barrier.dtype != bool:
        raise AlignmentError(
            f"`barrier` has dtype {barrier.dtype}; expected bool, True on land, e.g. `barrier=land == 1`."
        )


def require_one_variable(barrier: Any, what: str) -> None:
    """Refuse a barrier where several variables, or components, are fitted together.

    Raises
    ------
    MethodError
    """
    if barrier is not None:
        raise MethodError(
            f"barrier= takes one scalar field, and {what} was asked for, which the engine of neighbours does not know. "
            f"Leave one of them out."
        )


def _on_grid(barrier: xr.DataArray, layout: Layout, space: Space) -> Barrier:
    """On the cells of the field."""
    da, dims = layout.template, (layout.roles.y_dim, layout.roles.x_dim)
    own = {str(d): da.sizes[d] for d in dims if d is not None}
    sizes = {str(d): n for d, n in barrier.sizes.items()}
    if sizes != own:
        raise AlignmentError(
            f"`barrier` has sizes {sizes}; expected those of the field in space, {own}. Bring it there, e.g. "
            f"`barrier.isel(time=0)` of one that does not change, or `barrier.reindex_like(da, method='nearest')`."
        )
    try:
        xr.align(barrier, da, join="exact", copy=False)
    except ValueError as error:
        raise AlignmentError(
            f"`barrier` does not lie on the grid of the field: {str(error).splitlines()[0]}. Bring it there first: "
            f"longitudes of another convention by `barrier.assign_coords(lon=barrier.lon % 360).sortby('lon')`, then "
            f"`barrier.reindex_like(da, method='nearest', tolerance=1.0)`."
        ) from None
    land = barrier.transpose(*dims).values.reshape(space.shape)
    return Barrier(~land, space.coordinates, space.wraps)


def _on_own_grid(barrier: xr.DataArray, layout: Layout, y: Hashable, x: Hashable) -> Barrier:
    """On a grid of its own, where observations are no grid."""
    if set(barrier.dims) != {y, x} or not {y, x} <= set(barrier.coords):
        raise AlignmentError(
            f"`barrier` has dimensions {listed(barrier.dims)} and coordinates {listed(barrier.coords)}; the "
            f"observations are scattered, so that it takes a grid of its own along {listed((y, x))}. Name them so, "
            f"e.g. `barrier.rename(...)`."
        )
    barrier, metric = barrier.transpose(y, x), layout.metric_of([barrier.coords[y], barrier.coords[x]])
    rows, columns = (np.asarray(barrier.coords[name].values, dtype=float) for name in (y, x))
    around = metric.degrees and metric.geometry != "plane" and is_closed(columns, 360.0 / metric.factor)
    return Barrier(~barrier.values, metric.embed(rows[:, None], columns[None]), around)


def require_afloat(barrier: Barrier | None, blocks: Sequence[Observations]) -> None:
    """Refuse a barrier that says land where most of some observations are.

    Raises
    ------
    DataError
    """
    if barrier is None or not blocks:
        return
    share = np.concatenate([barrier.on_land(b.points.sites)[b.points.site_index] for b in blocks]).mean()
    if share > MOST_ON_LAND:
        raise DataError(
            f"`barrier` says land at {share:.0%} of the observations. It is true on land: if yours is true at sea, "
            f"type `barrier=~barrier`."
        )


def require_one_tile(barrier: Barrier | None, tile: Any, halo: Any) -> None:
    """Refuse tiles: what they see of far observations are averages, which know of no land.

    Raises
    ------
    MethodError
    """
    if barrier is not None and not (tile == "auto" and halo == "auto"):
        name = "tile" if tile != "auto" else "halo"
        raise MethodError(
            f"{name}={shown(tile if tile != 'auto' else halo)} with barrier=: tiles see far observations as averages, "
            f"which know of no land. Leave `{name}=` out; memory grows with the observations alone."
        )
