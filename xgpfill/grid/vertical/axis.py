"""The vertical axis: which dimension it is, by CF attributes, units or name; and its levels as numbers."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.errors import AlignmentError, CoordinateError, DimensionError, listed
from xgpfill.grid.names import role_of
from xgpfill.grid.units import conversion

if TYPE_CHECKING:
    import xarray as xr

    from xgpfill.grid.lattice import FloatArray

DEPTH = "depth"
"""The role of the vertical axis, whether it counts depth, height or pressure."""
KEYS = frozenset({"depth", "z", "height", "altitude", "level", "pressure", "vertical"})
"""What it may be called in a mapping of roles."""
NAMES = frozenset(
    {
        "depth", "z", "lev", "level", "levels", "height", "altitude", "elevation", "pressure", "plev", "isobaric",
        "isobaricinhpa", "pressure_level", "vertical", "heightaboveground",
        "deptht", "depthu", "depthv", "depthw", "olevel", "z_t", "z_w", "st_ocean", "sw_ocean", "z_l", "z_i", "zl",
        "zi", "s_rho", "s_w", "bottom_top", "layer",
    }
)  # fmt: skip
COUNTED = "level"
"""Unit of levels that have no coordinate, which are counted."""


def is_vertical(da: xr.DataArray, name: Hashable) -> bool:
    """Whether a dimension that is none of time or of the map is the vertical one.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> lev = ("lev", [1000.0, 850.0], {"units": "hPa"})
    >>> is_vertical(xr.DataArray(np.zeros((2, 3)), {"lev": lev}, ("lev", "member")), "lev")
    True
    """
    import cf_xarray  # noqa: F401  (registers .cf)

    if role_of(da, name) is not None:
        return False
    if name in da.coords:
        cf, attrs = da.coords.to_dataset().cf, da.coords[name].attrs
        if name in {*cf.axes.get("Z", ()), *cf.coordinates.get("vertical", ())}:
            return True
        if str(attrs.get("positive", "")).lower() in ("up", "down"):
            return True
        if conversion(str(attrs.get("units", "")), "Pa") is not None:
            return True
    return str(name).lower() in NAMES


def vertical_of(da: xr.DataArray, dims: Any) -> tuple[Hashable, Any] | None:
    """The vertical dimension among those that are to be fitted, and the others; None where there is none.

    Raises
    ------
    DimensionError
        When there are two, or a mapping names one that is not there.
    """
    if isinstance(dims, Mapping):
        found = [name for key, name in dims.items() if str(key).lower() in KEYS]
        rest: Any = {key: name for key, name in dims.items() if str(key).lower() not in KEYS}
    elif dims is None or isinstance(dims, str) or not isinstance(dims, Iterable):
        found = [dims] if dims in da.dims and is_vertical(da, dims) else []
        rest = ()
    else:
        names = tuple(dims)
        found = [name for name in names if name in da.dims and is_vertical(da, name)]
        rest = tuple(name for name in names if name not in found)
    if not found:
        return None
    if len(set(found)) > 1 or len(found) > 1:
        raise DimensionError(
            f"dims={dims!r} names {listed(found)} as the vertical axis; expected one. Leave the other out, it is one "
            f"of independent fields, or select a part of it, e.g. `da.isel({found[-1]}=0)`."
        )
    if found[0] not in da.dims:
        raise DimensionError(
            f"Dimension {found[0]!r} is not in the data, whose dimensions are {listed(da.dims)}. Name the vertical "
            f"one, e.g. `dims={{'depth': 'lev', ...}}`."
        )
    return found[0], rest


@dataclass(frozen=True)
class Vertical:
    """What depth is counted in.

    Attributes
    ----------
    units : str
        Of lengthscales along depth; "1" where the levels name none, "level" where they have no coordinate.
    positive : str
        "up", "down" or nothing, as CF says it.

    Examples
    --------
    >>> import xarray as xr
    >>> Vertical("m").read(xr.DataArray([0.1, 0.5], attrs={"units": "km"}))
    array([100., 500.])
    """

    units: str = "1"
    positive: str = ""

    @classmethod
    def of(cls, da: xr.DataArray, name: Hashable) -> Vertical:
        """That of the levels of some data.

        Raises
        ------
        CoordinateError
            When labels beside the dimension would be ignored.
        """
        if name in da.coords:
            attrs = da.coords[name].attrs
            return cls(str(attrs.get("units", "")).strip() or "1", _way(attrs))
        beside = [c for c in da.coords if da.coords[c].dims == (name,) and da.coords[c].dtype.kind in "iuf"]
        if beside:
            raise CoordinateError(
                f"Dimension {name!r} has no coordinate of its own, and {beside[0]!r} along it would be ignored. Make "
                f"it the dimension: `da.swap_dims({{{name!r}: {beside[0]!r}}})`; or drop it to count levels: "
                f"`da.drop_vars({beside[0]!r})`."
            )
        return cls(COUNTED)

    def levels(self, da: xr.DataArray, name: Hashable) -> FloatArray:
        """Where the levels of some data are; their number where they have no coordinate."""
        return self.read(da.coords[name]) if name in da.coords else np.arange(da.sizes[name], dtype=float)

    def read(self, coordinate: xr.DataArray) -> FloatArray:
        """The numbers of a coordinate in this unit; where one of the two names none, as they are.

        Raises
        ------
        AlignmentError
            When they measure something else, or count the other way.
        """
        return self.read_as(coordinate, coordinate)

    def read_as(self, numbers: xr.DataArray, coordinate: xr.DataArray) -> FloatArray:
        """The same of numbers, flat, that are counted as a coordinate says."""
        values, name = np.asarray(numbers.values, float).ravel(), coordinate.name
        way, units = _way(coordinate.attrs), str(coordinate.attrs.get("units", "")).strip()
        if way and self.positive and way != self.positive:
            raise AlignmentError(
                f"The levels {name!r} are positive {way}, those of the model {self.positive}. Turn them, and say so: "
                f"`da.assign_coords({name}=-da[{name!r}])` with `attrs['positive'] = {self.positive!r}`."
            )
        if not units or units == self.units or self.units in ("1", COUNTED):
            return values
        known = conversion(units, self.units)
        if known is None:
            raise AlignmentError(
                f"The levels {name!r} are in {units!r}, those of the model in {self.units!r}. Convert them, and say "
                f"so: `da[{name!r}].attrs['units'] = {self.units!r}`."
            )
        return np.asarray(known[0] * values + known[1])


def _way(attrs: Mapping[str, Any]) -> str:
    """Whether a coordinate rises upward or downward, where it says so."""
    return str(attrs.get("positive", "")).strip().lower()
