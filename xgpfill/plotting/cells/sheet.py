"""A frame of a field as a sheet of cells or places, ready to be drawn. Where these lie is found elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.errors import AlignmentError

if TYPE_CHECKING:
    import xarray as xr

    from xgpfill.plotting.cells.edges import Array

MARGIN = 0.08
"""Beside the outermost places, as a share of their extent."""


@dataclass(frozen=True)
class Sheet:
    """A frame ready to be drawn.

    Attributes
    ----------
    values : (ny, nx) float, or (n,) of places
        NaN where nothing is to be seen.
    x, y : (nx+1,) and (ny+1,), or both (ny+1, nx+1); or both (n,) of places
        Edges of the cells, or the places: degrees, numbers or dates.
    outside : bool like values, or None
        True where the field does not exist.
    central : float or None
        The longitude from which `x` counts; None when `x` and `y` are not degrees.
    labels : (str, str)
        Names of x and y.
    equal : bool
        Whether x and y share a unit and are drawn at one scale.
    top_down : bool
        Whether row 0 is drawn on top, as in an image.
    places : bool
        Whether these are places, drawn as dots, not cells.
    """

    values: Array
    x: Array
    y: Array
    outside: Array | None
    central: float | None = None
    labels: tuple[str, str] = ("", "")
    equal: bool = True
    top_down: bool = False
    places: bool = False

    @property
    def box(self) -> tuple[Any, Any, Any, Any]:
        """Least and largest x, least and largest y; round places with a margin."""
        if not self.places:
            return self.x.min(), self.x.max(), self.y.min(), self.y.max()
        if not self.x.size:
            return -1.0, 1.0, -1.0, 1.0
        wide, high = float(np.ptp(self.x)), float(np.ptp(self.y))
        beside, above = (MARGIN * (extent or wide or high or 1.0) for extent in (wide, high))
        west, east = self.x.min() - beside, self.x.max() + beside
        south, north = self.y.min() - above, self.y.max() + above
        if self.central is None:
            return west, east, south, north
        return max(west, -180.0), min(east, 180.0), max(south, -90.0), min(north, 90.0)

    @property
    def gaps(self) -> Array:
        """True where the field exists and there is no value."""
        empty: Array = np.isnan(self.values)
        return empty if self.outside is None else empty & ~self.outside


def on_cells_of(field: xr.DataArray, other: xr.DataArray, name: str) -> xr.DataArray:
    """`other` on the cells of `field`, in the same order: matched by coordinates where both have them."""
    if dict(other.sizes) != dict(field.sizes):
        raise AlignmentError(
            f"{name} has dimensions {dict(other.sizes)}, but the field {dict(field.sizes)}. "
            f"Give one frame of the same cells, e.g. `.isel(time=0)` or `.sel(lat=field.lat, lon=field.lon)`."
        )
    for dim in field.dims:
        if dim not in field.indexes or dim not in other.indexes:
            continue
        wanted, found = field.indexes[dim], other.indexes[dim]
        if not wanted.sort_values().equals(found.sort_values()):
            raise AlignmentError(
                f"{name} has other values of {dim!r} ({found[0]} to {found[-1]}) than the field "
                f"({wanted[0]} to {wanted[-1]}). Put it on the same cells, e.g. "
                f"`.reindex_like(field, method='nearest')`."
            )
        if not wanted.equals(found):
            other = other.sel({dim: wanted})
    return other.transpose(*field.dims)


def load_together(*fields: xr.DataArray) -> list[xr.DataArray]:
    """Bring fields into memory at once (mean and variance of a tile come from one task); those given stay lazy."""
    from xarray import Dataset

    own = {str(i): ([f"{dim} {i}" for dim in field.dims], field.data) for i, field in enumerate(fields)}
    loaded = Dataset(own).load()
    return [field.copy(data=loaded[name].values) for name, field in zip(own, fields, strict=True)]


def ticks(values: Array) -> Array:
    """Choose at most seven round degrees within the values."""
    low, high = float(values.min()), float(values.max())
    decimals = [10.0**power * one for power in range(-4, 1) for one in (1, 2, 5)]
    steps = [*decimals, 10.0, 15.0, 30.0, 60.0, 90.0]
    step = next((step for step in steps if (high - low) / step <= 6.0), 90.0)
    return np.arange(np.ceil(low / step - 1e-6), np.floor(high / step + 1e-6) + 1) * step


def limits(*fields: Array) -> tuple[float, float]:
    """Find the lowest and highest finite value; 0 and 1 when there is none."""
    finite = np.concatenate([values[np.isfinite(values)] for values in fields])
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
