"""One place of a field: the nearest cell, a station, a level; and how it is called. Nothing is drawn here."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.checks import checked_sel
from xgpfill.errors import AlignmentError, DimensionError, listed, shown
from xgpfill.grid.metric import Metric, degrees_per
from xgpfill.layout.dims import Roles, roles_if_told
from xgpfill.plotting.cells.layout import in_degrees
from xgpfill.plotting.cells.reach import Reach, beyond, kind_of, on_field, reaches_of, width_of_cell
from xgpfill.plotting.cells.sheet import on_cells_of
from xgpfill.words import degrees, units_of, value_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    import xarray as xr

Place = dict["Hashable", int]
"""Dimension to index."""


def find_place(field: xr.DataArray, sel: Mapping[Hashable, Any] | None, time: Hashable) -> Place:
    """Find the cell that `sel` means, so that only time is left.

    Raises
    ------
    DimensionError
        When a name is no coordinate or dimension, a label is not there, the place lies beyond the field, or dimensions
        other than time are left.
    """
    roles = roles_if_told(field)
    wanted = {_own_name(field, name, roles): value for name, value in checked_sel(sel).items()}
    if time in wanted:
        raise DimensionError(
            f"sel={dict(sel or {})!r} chooses along {time!r}, the dimension that a series is drawn along. Leave it "
            f"out, or draw one frame: `field_map(mean.isel({time}=0))`."
        )
    place: Place = {}
    if roles is not None and roles.y in wanted and roles.x in wanted:
        place |= _nearest(field, roles, wanted.pop(roles.y), wanted.pop(roles.x))
    for name, value in wanted.items():
        place |= _along_one(field, name, value, roles)
    left = [d for d in field.dims if d not in (time, *place) and field.sizes[d] > 1]
    if left:
        example = {d: first_label(field, d) for d in left}
        raise DimensionError(
            f"A series is drawn at one place; of {listed(field.dims)} there are still {listed(left)} to choose. "
            f"Say where, e.g. `sel={example!r}`."
        )
    return place | {d: 0 for d in field.dims if d not in (time, *place)}


def at_place(
    like: xr.DataArray, field: xr.DataArray, place: Place, kept: tuple[Hashable, ...], name: str
) -> xr.DataArray:
    """Cut a field at a place of `like`, where it must have the same cells (or be cut there already)."""
    cut = field
    for d, index in place.items():
        if d not in field.dims:
            continue
        here = like[d] if d in like.coords else like.isel(dict.fromkeys(set(like.dims) - {d}, 0), drop=True)
        there = field[d] if d in field.coords else field.isel(dict.fromkeys(set(field.dims) - {d}, 0), drop=True)
        on_cells_of(here, there, f"`{name}`")
        labelled = d in like.indexes and d in field.indexes  # cells may come in another order
        cut = cut.sel({d: like.indexes[d][index]}) if labelled else cut.isel({d: index})
    extra = [d for d in cut.dims if d not in kept]
    if extra or not set(cut.dims) >= {kept[0]}:
        raise AlignmentError(
            f"`{name}` has the dimensions {listed(field.dims)}; at one place there would be {listed(cut.dims)}, but "
            f"{listed(kept)} was expected. Select from it first, e.g. `{name}.isel({extra[0] if extra else 'x'}=0)`."
        )
    return cut


def place_name(field: xr.DataArray) -> str:
    """Call the place of a series by its station, level, latitude and longitude; nothing when it has none."""
    scalars = {str(name): c for name, c in field.coords.items() if c.ndim == 0 and c.dtype.kind in "iufUSO"}
    words = []
    for names, signs in ((("lat", "latitude"), "NS"), (("lon", "longitude"), "EW")):
        found = next((n for n in scalars if n.lower() in names or scalars[n].attrs.get("standard_name") in names), None)
        if found is not None and scalars[found].dtype.kind in "iuf":
            coordinate = scalars.pop(found)
            words.append(degrees(round(float(coordinate) * degrees_per(units_of(coordinate)), 3), signs))
    others = [value_of(c) if c.dtype.kind in "USO" else f"{name} = {value_of(c)}" for name, c in scalars.items()]
    return ", ".join(others + words)


def _own_name(field: xr.DataArray, name: Hashable, roles: Roles | None) -> Hashable:
    """`latitude` for `lat` where the field calls it so."""
    if roles is None or name in field.coords or name in field.dims:
        return name
    short = {"lat": roles.y, "latitude": roles.y, "lon": roles.x, "longitude": roles.x} if roles.degrees else {}
    return short.get(str(name)) or name


def _nearest(field: xr.DataArray, roles: Roles, y: Any, x: Any) -> Place:
    """The cell nearest to a point, on the sphere or on a plane.

    Raises
    ------
    DimensionError
        When the field does not reach so far.
    """
    from xarray import broadcast

    ys, xs = broadcast(field.coords[roles.y], field.coords[roles.x])
    factor = degrees_per(units_of(field.coords[roles.y])) if roles.degrees else 1.0
    metric = Metric("sphere" if roles.degrees else "plane", degrees=roles.degrees, factor=factor)
    cells = metric.embed(ys.values, xs.values)
    north, east = _number(y, roles.y), _number(x, roles.x)
    point = Metric(metric.geometry, degrees=metric.degrees).embed(np.asarray(north), np.asarray(east))
    away = np.linalg.norm(cells - point, axis=-1)
    index = tuple(int(i) for i in np.unravel_index(int(np.nanargmin(away)), away.shape))
    if not on_field(field, roles, (north, east), float(away[index]), width_of_cell(cells, index)):
        near = [float(in_degrees(c)[index] if roles.degrees else c.values[index]) for c in (ys, xs)]
        reaches = reaches_of(field, roles)
        raise beyond({roles.y: y, roles.x: x}, dict(zip(reaches, near, strict=True)), reaches)
    return dict(zip(ys.dims, index, strict=True))


def _along_one(field: xr.DataArray, name: Hashable, value: Any, roles: Roles | None) -> Place:
    """The index along one dimension: of the nearest number, of a label, or itself where there are none."""
    if name in field.dims and name not in field.coords:
        count = field.sizes[name]
        if not isinstance(value, int | np.integer) or not -count <= value < count:
            raise DimensionError(
                f"sel={{{name!r}: {value!r}}}: {name!r} has no labels, so give an index below {count}, "
                f"e.g. `sel={{{name!r}: 0}}`."
            )
        return {name: int(value) % count}
    if name not in field.coords or field.coords[name].ndim != 1:
        known = [n for n in field.coords if field.coords[n].ndim == 1] + [
            d for d in field.dims if d not in field.coords
        ]
        raise DimensionError(
            f"sel= names {name!r}, which is no coordinate along one dimension of the field. Choose of {listed(known)}, "
            f"or give latitude and longitude together."
        )
    coordinate = field.coords[name]
    values = coordinate.values
    if values.dtype.kind in "iuf":
        return {coordinate.dims[0]: _nearest_number(coordinate, value, kind_of(name, roles))}
    try:
        same = np.flatnonzero(values == np.asarray(value, dtype=values.dtype))
    except (TypeError, ValueError):
        same = np.zeros(0, np.intp)
    if not same.size:
        raise DimensionError(
            f"sel={{{name!r}: {value!r}}}: there is no such label. There are {listed(values.tolist()[:8])}"
            f"{' and more' if values.size > 8 else ''}."
        )
    return {coordinate.dims[0]: int(same[0])}


def _nearest_number(coordinate: xr.DataArray, value: Any, kind: str) -> int:
    """The index of the nearest number along a coordinate; `kind` as that of a `Reach`."""
    number, name = _number(value, coordinate.name), coordinate.name
    values = in_degrees(coordinate) if kind else coordinate.values.astype(float)
    away = values - number
    index = int(np.nanargmin(np.abs((away + 180.0) % 360.0 - 180.0 if kind == "EW" else away)))
    reach = Reach(coordinate, kind, listed=name not in coordinate.dims)
    if not reach.holds(number):
        raise beyond({name: value}, {name: float(values[index])}, {name: reach})
    return index


def _number(value: Any, name: Hashable) -> float:
    """Where along a coordinate of numbers."""
    number = isinstance(value, Real) or (getattr(value, "ndim", 1) == 0 and value.dtype.kind in "iuf")
    if not number or not np.isfinite(float(value)):
        raise DimensionError(f"sel={{{name!r}: {shown(value)}}}: expected one number, e.g. `sel={{{name!r}: 40.0}}`.")
    return float(value)


def first_label(field: xr.DataArray, dim: Hashable) -> Any:
    """A value to show in a message."""
    first = field.coords[dim].values[0] if dim in field.coords else 0
    return first.item() if isinstance(first, np.generic) else first
