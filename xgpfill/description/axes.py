"""The axes of a field in short: range, step, units, calendar, longitudes, poles; and its size in memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.description.figures import Axis
from xgpfill.grid.metric import degrees_per
from xgpfill.words import written

if TYPE_CHECKING:
    from collections.abc import Hashable

    import xarray as xr

    from xgpfill.grid.encode import Layout
    from xgpfill.grid.lattice import Lattice

REGULAR = 1e-3
"""Steps that differ by less than this share of one are alike."""


def described_axes(
    da: xr.DataArray, layout: Layout, lattice: Lattice, depth: Hashable | None = None
) -> tuple[Axis, ...]:
    """Every dimension of the data, in their order; `depth` is the vertical one, if it is to be fitted."""
    roles = {name: "depth" if name == depth else _role(name, layout, lattice) for name in da.dims}
    return tuple(_axis(da, name, role, layout, lattice) for name, role in roles.items())


def _role(name: Hashable, layout: Layout, lattice: Lattice) -> str:
    roles = layout.roles
    if name == roles.time:
        return "time"
    if name in roles.space:
        return "site" if not lattice.space.is_grid else "y" if name == roles.y_dim else "x"
    return "extra"


def _axis(da: xr.DataArray, name: Hashable, role: str, layout: Layout, lattice: Lattice) -> Axis:
    size = da.sizes[name]
    if name not in da.coords:
        notes = _places(da, role, layout)
        return Axis(str(name), role, size, units="", notes=notes or ("no coordinate: indices",))
    coordinate = da.coords[name]
    values, units = coordinate.values, str(coordinate.attrs.get("units", ""))
    first, last = written(values[0]), written(values[-1])
    if role == "time":
        step, regular = _step(lattice.time)
        return Axis(str(name), role, size, first, last, step, "days", regular, _calendar(values))
    if values.dtype.kind not in "iuf" or role in ("extra", "site"):
        return Axis(str(name), role, size, first, last, units=units, notes=_places(da, role, layout))
    step, regular = _step(values.astype(float), 360.0 / degrees_per(units) if role == "x" else None)
    notes = _round_the_globe(values, units, role, lattice) if layout.roles.degrees else ()
    return Axis(str(name), role, size, first, last, step, units, regular, notes)


def _step(values: Any, turn: float | None = None) -> tuple[float, bool]:
    """Median length of a step and whether all are alike; longitudes may jump by a whole turn."""
    if values.size < 2:
        return math.nan, True
    steps = np.diff(values if turn is None else np.unwrap(values, period=turn))
    middle = float(np.median(np.abs(steps)))
    return middle, bool(
        np.all(np.abs(np.abs(steps) - middle) <= REGULAR * middle + 4 * np.spacing(np.abs(values).max()))
    )


def _calendar(values: Any) -> tuple[str, ...]:
    calendar = getattr(values.flat[0], "calendar", "") if values.dtype == object else ""
    return (f"{calendar} calendar",) if calendar else ()


def _round_the_globe(values: Any, units: str, role: str, lattice: Lattice) -> tuple[str, ...]:
    degrees = values * degrees_per(units)
    if role == "y":
        poles = [pole for pole, at in (("south", -90.0), ("north", 90.0)) if np.any(np.abs(degrees - at) < 1e-6)]
        return (f"includes the {' and '.join(poles)} pole{'s' if len(poles) > 1 else ''}",) if poles else ()
    convention = "0…360" if degrees.max() > 180.0 else "-180…180" if degrees.min() < 0.0 else ""
    return (
        *((f"longitudes {convention}",) if convention else ()),
        *(("wraps the globe",) if lattice.space.wraps else ()),
    )


def _places(da: xr.DataArray, role: str, layout: Layout) -> tuple[str, ...]:
    """Where sites, or the cells of a curvilinear grid, lie."""
    roles = layout.roles
    if role not in ("site", "y", "x") or roles.y not in da.coords or roles.x not in da.coords:
        return ()
    notes = [
        f"{name} {float(da.coords[name].min()):.6g} … {float(da.coords[name].max()):.6g}"
        for name in (roles.y, roles.x)
        if name is not None and name not in da.dims
    ]
    return tuple(notes)


def memory_in_words(da: xr.DataArray) -> str:
    """Size, and how it is cut into chunks."""
    whole = _bytes(da.nbytes)
    if da.chunks is None:
        return f"{whole} in memory"
    largest = {str(d): max(c) for d, c in da.chunksizes.items()}
    count = math.prod(len(c) for c in da.chunks)
    return (
        f"{whole} in {count} lazy chunk(s) of {largest}, {_bytes(math.prod(largest.values()) * da.dtype.itemsize)} each"
    )


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
