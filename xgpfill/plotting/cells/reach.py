"""How far a field reaches: whether a place that was asked for lies on it. Which cell is nearest is found elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.cf.edges import edges
from xgpfill.errors import DimensionError
from xgpfill.plotting.cells.layout import in_degrees, middle_of
from xgpfill.plotting.cells.sheet import MARGIN
from xgpfill.words import degrees, units_of, with_units

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    import xarray as xr

    from xgpfill.layout.dims import Roles
    from xgpfill.plotting.cells.edges import Array

ROUNDING = 1e-6
"""Of what a field spans: a place that lies beyond it by less lies on its edge."""


class Reach:
    """From where to where a field reaches along a coordinate: the outer edges of its cells, the centres of curved ones.

    Parameters
    ----------
    coordinate : DataArray
    kind : {"", "NS", "EW"}
        Whether it is a latitude or a longitude.
    listed : bool
        Whether it belongs to a list of places, which have no cells but a margin, as on a map.
    """

    def __init__(self, coordinate: xr.DataArray, kind: str = "", *, listed: bool = False) -> None:
        self._kind, self._units = kind, units_of(coordinate)
        values = np.ravel(in_degrees(coordinate) if kind else coordinate.values.astype(float))
        values = values[np.isfinite(values)]
        self._middle = middle_of(values) if kind == "EW" else 0.0
        values = np.unique(self._turned(values))
        room = MARGIN * float(np.ptp(values)) or 1.0
        outer = (values[0] - room, values[-1] + room) if listed else edges(values)
        ends = values if coordinate.ndim > 1 else outer
        self.low, self.high = float(ends[0]), float(ends[-1])

    def holds(self, at: float) -> bool:
        """Whether a place lies within, in degrees where it is a latitude or longitude."""
        slack = ROUNDING * (self.high - self.low)
        turns = (-360.0, 0.0, 360.0) if self._kind == "EW" else (0.0,)
        return any(self.low - slack <= self._turned(at) + turn <= self.high + slack for turn in turns)

    def __str__(self) -> str:
        """From where to where."""
        if self._kind == "EW" and self.high - self.low >= 360.0 * (1.0 - ROUNDING):
            return "all longitudes"
        if self._kind:
            return " to ".join(degrees(round(end + self._middle, 3), self._kind) for end in (self.low, self.high))
        return f"{self.low:.6g} to {with_units(f'{self.high:.6g}', self._units)}"

    def _turned(self, at: Any) -> Any:
        """Longitudes counted from the middle of all."""
        return (at - self._middle + 180.0) % 360.0 - 180.0 if self._kind == "EW" else at


def kind_of(name: Hashable, roles: Roles | None) -> str:
    """Whether a coordinate is a latitude, "NS", a longitude, "EW", or neither."""
    if roles is None or not roles.degrees:
        return ""
    return "NS" if name == roles.y else "EW" if name == roles.x else ""


def reaches_of(field: xr.DataArray, roles: Roles) -> dict[Hashable, Reach]:
    """How far a field reaches along y and along x."""
    y, x = field.coords[roles.y], field.coords[roles.x]
    return {c.name: Reach(c, kind_of(c.name, roles), listed=y.dims == x.dims) for c in (y, x)}


def on_field(field: xr.DataArray, roles: Roles, point: tuple[float, float], away: float, width: float) -> bool:
    """Whether a point (y, x) lies on a field; `away` from the nearest cell, which is so wide.

    On a grid of latitudes and longitudes every longitude is near at a pole; a curvilinear grid has no outer edges.
    """
    y, x = field.coords[roles.y], field.coords[roles.x]
    if max(y.ndim, x.ndim) > 1:
        return away <= width
    reached = all(reach.holds(at) for reach, at in zip(reaches_of(field, roles).values(), point, strict=True))
    return reached or away <= (0.0 if y.dims == x.dims else width / 2)


def width_of_cell(cells: Array, index: tuple[int, ...]) -> float:
    """The largest distance from a cell to those beside it; a lone one is endless."""
    beside = [
        cells[(*index[:axis], near, *index[axis + 1 :])]
        for axis, at in enumerate(index)
        for near in (at - 1, at + 1)
        if 0 <= near < cells.shape[axis]
    ]
    return max((float(np.linalg.norm(cell - cells[index])) for cell in beside), default=np.inf)


def beyond(
    wanted: Mapping[Hashable, Any], nearest: Mapping[Hashable, float], reaches: Mapping[Hashable, Reach]
) -> DimensionError:
    """The error for a place that a field does not reach, with its range and the nearest place on it."""
    said = " and ".join(f"{name!r} from {reach}" for name, reach in reaches.items())
    near = {name: float(f"{value:.7g}") for name, value in nearest.items()}
    return DimensionError(
        f"sel={dict(wanted)!r} lies beyond the field, which has {said}. Give a place on it; the nearest is "
        f"`sel={near!r}`."
    )
