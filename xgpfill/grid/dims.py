"""Which dimension plays which role: time, the directions of space, or an extra one of independent fields."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.errors import CoordinateError, DimensionError, listed

if TYPE_CHECKING:
    import xarray as xr

_TIME_NAMES = frozenset({"time", "t", "date", "day", "days", "month", "year", "valid_time", "datetime", "times"})
_Y_NAMES = frozenset(
    {"lat", "latitude", "y", "northing", "nav_lat", "rlat", "grid_latitude", "yc", "row", "rows", "lats"}
)
_X_NAMES = frozenset(
    {"lon", "longitude", "x", "easting", "nav_lon", "rlon", "grid_longitude", "xc", "col", "cols", "lons"}
)
_LAT_NAMES = frozenset({"lat", "latitude", "nav_lat", "rlat", "grid_latitude", "lats"})
_LON_NAMES = frozenset({"lon", "longitude", "nav_lon", "rlon", "grid_longitude", "lons"})
_KEYS = {"time": "time", "t": "time", "y": "y", "lat": "y", "latitude": "y", "x": "x", "lon": "x", "longitude": "x"}


@dataclass(frozen=True)
class Roles:
    """The dimensions by role, and the coordinates that place the cells in space.

    Attributes
    ----------
    time : name or None
    space : tuple of names
        At most two, in the order (y, x); one name for a list of sites.
    extra : tuple of names
        Dimensions of independent fields.
    y, x : name or None
        Coordinates of space (None: the index along the dimension).
    degrees : bool
        Whether these are latitude and longitude.
    """

    time: Hashable | None
    space: tuple[Hashable, ...]
    extra: tuple[Hashable, ...]
    y: Hashable | None = None
    x: Hashable | None = None
    degrees: bool = False
    y_dim: Hashable | None = None
    x_dim: Hashable | None = None

    @property
    def fitted(self) -> tuple[Hashable, ...]:
        """The fitted dimensions in canonical order (time, y, x)."""
        return (() if self.time is None else (self.time,)) + self.space


def find_roles(da: xr.DataArray, dims: Iterable[Hashable] | Mapping[str, Hashable] | Hashable | None) -> Roles:
    """Give every dimension of `da` a role, from CF attributes, then coordinate types, then names.

    Parameters
    ----------
    da : DataArray
    dims : names in any order, or mapping of role to name, or None
        None infers them from all dimensions.

    Raises
    ------
    DimensionError
        When a name is missing, or a role cannot be told.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> find_roles(xr.DataArray(np.zeros((4, 5, 3)), dims=("y", "x", "channel")), ("x", "y")).extra
    ('channel',)
    """
    by_role = _from_mapping(da, dims) if isinstance(dims, Mapping) else _inferred(da, _names(da, dims))
    chosen = set(by_role.values())
    extra = tuple(d for d in da.dims if d not in chosen)
    return _with_coordinates(da, by_role, extra)


def _names(da: xr.DataArray, dims: Iterable[Hashable] | Hashable | None) -> tuple[Hashable, ...] | None:
    """The requested dimension names as a tuple, checked to exist."""
    if dims is None:
        return None
    names = (dims,) if isinstance(dims, str) or not isinstance(dims, Iterable) else tuple(dims)
    for name in names:
        if name not in da.dims:
            raise DimensionError(
                f"Dimension {name!r} is not in the data, whose dimensions are {listed(da.dims)}. "
                f"Name the axes to fit, e.g. `fit(dims={tuple(da.dims)!r})`."
            )
    if len(set(names)) != len(names) or not names:
        raise DimensionError(f"dims={names!r}: expected at least one name, each once, out of {listed(da.dims)}.")
    return names


def _from_mapping(da: xr.DataArray, dims: Mapping[str, Hashable]) -> dict[str, Hashable]:
    unknown = [key for key in dims if str(key).lower() not in _KEYS]
    if unknown:
        raise DimensionError(
            f"Unknown role {unknown[0]!r} in dims. Roles are 'time', 'y' (or 'lat') and 'x' (or 'lon')."
        )
    by_role = {_KEYS[str(key).lower()]: name for key, name in dims.items()}
    _names(da, tuple(by_role.values()))
    return by_role


def _inferred(da: xr.DataArray, names: tuple[Hashable, ...] | None) -> dict[str, Hashable]:
    """Roles by evidence; with `names` every one of them must get a role."""
    by_role: dict[str, Hashable] = {}
    unknown = []
    for name in names or da.dims:
        role = _role_of(da, name)
        if role is None:
            unknown.append(name)
        elif role in by_role:
            raise DimensionError(
                f"Dimensions {by_role[role]!r} and {name!r} both look like {role!r}. "
                f"Say which is which, e.g. `dims={{'time': 't', 'y': 'j', 'x': 'i'}}`."
            )
        else:
            by_role[role] = name
    if names is None and not by_role and da.ndim:
        raise _ambiguous(da, unknown)
    for name in unknown if names is not None else [n for n in unknown if _has_sites(da, n)]:
        free = [role for role in ("y", "x") if role not in by_role]
        if _has_sites(da, name) and len(free) == 2:
            by_role["y"] = name
        elif names is not None and _is_curvilinear(da, unknown) and set(unknown) == {name, *unknown} and free:
            by_role[free[0]] = name
        elif names is not None:
            raise _ambiguous(da, unknown)
    return by_role


def _ambiguous(da: xr.DataArray, unknown: list[Hashable]) -> DimensionError:
    return DimensionError(
        f"Cannot tell the role of dimension(s) {listed(unknown)} of {tuple(da.dims)!r} from attributes, coordinates or "
        f"names. Say it, e.g. `dims={{'time': 't', 'y': 'j', 'x': 'i'}}`."
    )


def _role_of(da: xr.DataArray, name: Hashable) -> str | None:
    """The role of one dimension: CF attributes first, then the coordinate's type, then the name."""
    for role in ("time", "y", "x"):
        if name in _cf_names(da, role):
            return role
    coordinate = da.coords.get(name)
    if coordinate is not None and _is_dates(coordinate):
        return "time"
    for role, known in (("time", _TIME_NAMES), ("y", _Y_NAMES), ("x", _X_NAMES)):
        if str(name).lower() in known:
            return role
    return None


def _cf_names(da: xr.DataArray, role: str) -> set[Hashable]:
    """Coordinates that CF attributes give this role."""
    import cf_xarray  # noqa: F401  (registers .cf)

    cf = da.coords.to_dataset().cf
    axis, coordinate = {"time": ("T", "time"), "y": ("Y", "latitude"), "x": ("X", "longitude")}[role]
    return set(cf.axes.get(axis, ())) | set(cf.coordinates.get(coordinate, ()))


def _is_dates(coordinate: xr.DataArray) -> bool:
    units = str(coordinate.attrs.get("units", ""))
    if coordinate.dtype.kind in "mM" or " since " in units or "%Y" in units:
        return True
    return coordinate.dtype == object and coordinate.size > 0 and hasattr(coordinate.values.flat[0], "calendar")


def _located(da: xr.DataArray, role: str) -> Hashable | None:
    """The latitude ('y') or longitude ('x') coordinate, whatever dimensions it has."""
    import cf_xarray  # noqa: F401  (registers .cf)

    coords = da.coords.to_dataset()
    found = coords.cf.coordinates.get("latitude" if role == "y" else "longitude", [])
    names = _LAT_NAMES if role == "y" else _LON_NAMES
    return next(iter(found or [c for c in da.coords if str(c).lower() in names]), None)


def _has_sites(da: xr.DataArray, name: Hashable) -> bool:
    """Whether latitude and longitude are coordinates along this one dimension: a list of sites."""
    found = [_located(da, role) for role in ("y", "x")]
    return all(c is not None and da.coords[c].dims == (name,) for c in found)


def _is_curvilinear(da: xr.DataArray, names: list[Hashable]) -> bool:
    found = [_located(da, role) for role in ("y", "x")]
    return len(names) == 2 and all(c is not None and set(da.coords[c].dims) == set(names) for c in found)


def _with_coordinates(da: xr.DataArray, by_role: dict[str, Hashable], extra: tuple[Hashable, ...]) -> Roles:
    """Attach the coordinates that place cells in space."""
    space = tuple(by_role[role] for role in ("y", "x") if role in by_role)
    common: dict[str, Any] = {"time": by_role.get("time"), "space": space, "extra": extra}
    common |= {"y_dim": by_role.get("y"), "x_dim": by_role.get("x")}
    latitude, longitude = _located(da, "y"), _located(da, "x")
    spread = space and latitude is not None and longitude is not None
    if spread and all(da.coords[c].ndim and set(da.coords[c].dims) == set(space) for c in (latitude, longitude)):
        own = [d for d in space if d in da.coords]
        if len(space) == 1 or len(own) < 2 or not all(_is_metric(da.coords[d]) for d in own):
            return Roles(**common, y=latitude, x=longitude, degrees=True)
    y, x = (by_role.get(role) if by_role.get(role) in da.coords else None for role in ("y", "x"))
    degrees = any(_in_degrees(da, c, names) for c, names in ((y, _LAT_NAMES), (x, _LON_NAMES)))
    return Roles(**common, y=y, x=x, degrees=degrees)


def _is_metric(coordinate: xr.DataArray) -> bool:
    return str(coordinate.attrs.get("units", "")).lower() in ("m", "km", "metre", "meter", "metres", "meters")


def _in_degrees(da: xr.DataArray, name: Hashable | None, names: frozenset[str]) -> bool:
    if name is None:
        return False
    attrs = da.coords[name].attrs
    units = str(attrs.get("units", "")).lower()
    if units:
        return units.startswith("degree") or units in ("deg", "°")
    return "itude" in str(attrs.get("standard_name", "")) or str(name).lower() in names


def require_numeric(values: np.ndarray[Any, Any], name: Hashable) -> None:
    """Refuse a coordinate that is not made of finite real numbers."""
    if values.dtype.kind not in "iuf":
        raise CoordinateError(
            f"Coordinate {name!r} has dtype {values.dtype}; expected real numbers. Convert it, or drop it to use the "
            f"index: `da.drop_vars({name!r})`."
        )
    if not np.isfinite(values).all():
        raise CoordinateError(
            f"Coordinate {name!r} holds {int((~np.isfinite(values)).sum())} NaN or infinite value(s). "
            f"Drop them first, e.g. `da.sel({name}=da[{str(name)!r}].notnull())`."
        )
