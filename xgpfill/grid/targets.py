"""Where to predict: from coordinates of targets to days and embedded km. What they mean is settled elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xgpfill.errors import AlignmentError, CoordinateError, listed
from xgpfill.grid.axes import require_numeric
from xgpfill.grid.metric import POLE
from xgpfill.grid.points import Points

if TYPE_CHECKING:
    from collections.abc import Hashable

    from xgpfill.grid.encode import Layout
    from xgpfill.grid.lattice import FloatArray


def broadcast(own: dict[Hashable, xr.DataArray]) -> tuple[xr.DataArray, ...]:
    """The coordinates against each other; dimensions that they share must be the same points."""
    try:
        aligned = xr.align(*own.values(), join="exact", copy=False)
    except ValueError as error:
        raise AlignmentError(
            f"The target coordinates {listed(own)} do not go together: {str(error).splitlines()[0]}. Coordinates that "
            f"share a dimension are points and need the same ones; for a grid give each its own, e.g. "
            f"`model.predict({{{', '.join(f'{str(n)!r}: [...]' for n in own)}}})`."
        ) from None
    return xr.broadcast(*aligned)


def points_at(layout: Layout, by_name: dict[Hashable, xr.DataArray], own: dict[Hashable, xr.DataArray]) -> Points:
    """Days and embedded km of every target; of a grid times and places are read once, so that many days take little."""
    clock, whole = layout.roles.clock, next(iter(by_name.values()))
    fixed = {name: c for name, c in own.items() if name != clock}
    along = {d for c in fixed.values() for d in c.dims}
    if (
        clock is None
        or not along
        or not whole.size
        or along & set(own[clock].dims)
        or layout.roles.component is not None
    ):
        return Points.scattered(*_embedded(layout, by_name, own))
    there = dict(zip(fixed, broadcast(fixed), strict=True))
    times, time_index = np.unique(_days(layout, own[clock], own).ravel(), return_inverse=True)
    sites, site_index = np.unique(_places(layout, there, own), axis=0, return_inverse=True)
    place = next(iter(there.values()))
    numbers = ((time_index, own[clock]), (site_index, place))
    on_grid = [xr.DataArray(index.reshape(c.shape), dims=c.dims) for index, c in numbers]
    first, second = (index.transpose(*whole.dims).values.ravel() for index in xr.broadcast(*on_grid))
    return Points(times, sites, first, second)


def _embedded(
    layout: Layout, by_name: dict[Hashable, xr.DataArray], own: dict[Hashable, xr.DataArray]
) -> tuple[FloatArray, FloatArray]:
    """Days (n,) and embedded km (n, d) of every target."""
    size, clock = next(iter(by_name.values())).size, layout.roles.clock
    if not size:
        return np.zeros(0), layout.placed_at(np.zeros(0), np.zeros(0), depth=np.zeros(0))
    days = np.zeros(size) if clock is None else _days(layout, by_name[clock], own)
    found = _places(layout, by_name, own)
    return np.tile(days, len(found) // size), found


def _days(layout: Layout, moments: xr.DataArray, own: dict[Hashable, xr.DataArray]) -> FloatArray:
    """Times as days, (n,)."""
    clock = layout.roles.clock
    assert layout.clock is not None
    assert clock is not None
    units = str(own[clock].attrs.get("units", layout.template[clock].attrs.get("units", "")))
    values = moments.values.ravel()
    if values.dtype.kind in "iuf":
        require_numeric(values, clock)
    return layout.clock.days(values, units)


def _places(layout: Layout, by_name: dict[Hashable, xr.DataArray], own: dict[Hashable, xr.DataArray]) -> FloatArray:
    """Embedded km of places, (n, d).

    Raises
    ------
    CoordinateError
        Where degrees are none.
    """
    roles, flat, size = layout.roles, [], next(iter(by_name.values())).size
    for name in (roles.coordinates.get("y"), roles.coordinates.get("x")):
        if name is None:
            flat.append(np.zeros(size))
            continue
        values = by_name[name].values.ravel()
        flat.append(np.asarray(values, float))
    metric = layout.metric_of([own[name] for name in (roles.y, roles.x) if name is not None])
    beyond = np.abs(metric.factor * flat[0]) > POLE
    if metric.degrees and beyond.any():
        raise CoordinateError(
            f"Target latitude {float(flat[0][beyond][0])!r} is outside −90…90 degrees. Swap latitude and longitude if "
            f"they are mixed up."
        )
    far = np.abs(metric.factor * flat[1]) > 720
    if metric.degrees and far.any():
        raise CoordinateError(
            f"Target longitude {float(flat[1][far][0])!r} is several times round the globe; expected degrees, within "
            f"-360…360. Give those, e.g. `model.predict({{'lon': [3.2]}})`."
        )
    depth = None if layout.vertical is None else layout.vertical.read_as(by_name[roles.depth], own[roles.depth])
    return layout.placed_at(flat[0], flat[1], metric, depth=depth)
