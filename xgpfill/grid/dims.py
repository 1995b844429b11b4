"""Which dimension plays which role: time, the directions of space, or an extra one of independent fields."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.errors import DimensionError, listed, shown
from xgpfill.grid.metric import is_angle, kilometres_per
from xgpfill.grid.names import KEYS, LAT_NAMES, LON_NAMES, cf_names, role_of
from xgpfill.grid.places import crs_units, located, places, projected_sites
from xgpfill.grid.scattered import dimension_of, named_coordinates, time_along, track_along_time
from xgpfill.grid.vertical.axis import DEPTH, vertical_of

if TYPE_CHECKING:
    import xarray as xr

COMPONENT = "component"
"""The role, in a mapping, of a dimension of components of a vector."""
VARIABLE = "variable"
"""The role, in a mapping, of a dimension of joint variables."""


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
        Coordinates of space (None: the index along the dimension); on a row or column of a grid of latitudes and
        longitudes one of them is a scalar.
    degrees : bool
        Whether these are latitude and longitude.
    y_dim, x_dim : name or None
        Dimensions in the direction of y and of x; a list of sites lies along one of them.
    track : name or None
        The coordinate of time along the places, as on a track; `time` is then None.
    scattered : bool
        Whether cells are observations along one dimension, with coordinates each of their own, in any order.
    component : name or None
        The dimension of the components of a vector, east (or along x) and north (or along y), of joint variables, or of
        levels.
    joint, layered : bool
        Whether it is one of joint variables, or of levels of depth, height or pressure.
    """

    time: Hashable | None
    space: tuple[Hashable, ...]
    extra: tuple[Hashable, ...]
    y: Hashable | None = None
    x: Hashable | None = None
    degrees: bool = False
    y_dim: Hashable | None = None
    x_dim: Hashable | None = None
    track: Hashable | None = None
    scattered: bool = False
    component: Hashable | None = None
    joint: bool = False
    layered: bool = False

    @property
    def depth(self) -> Hashable | None:
        """The vertical dimension, where it is fitted."""
        return self.component if self.layered else None

    @property
    def fitted(self) -> tuple[Hashable, ...]:
        """The fitted dimensions in canonical order (time, depth, y, x)."""
        return (*(name for name in (self.time, self.depth) if name is not None), *self.space)

    @property
    def by_role(self) -> dict[str, Hashable]:
        """The fitted dimensions under "time", "depth", "y" and "x", as `dims=` takes them."""
        named = {"time": self.time, DEPTH: self.depth, "y": self.y_dim, "x": self.x_dim}
        return {role: name for role, name in named.items() if name is not None}

    @property
    def clock(self) -> Hashable | None:
        """The coordinate that tells the time of a cell: that of the dimension, or along a track."""
        return self.time if self.track is None else self.track

    @property
    def coordinates(self) -> dict[str, Hashable]:
        """What places a cell in time and space, by role: coordinates, or dimensions that have none."""
        y, x = (None, None) if self.scattered else (self.y_dim, self.x_dim)
        y, x = self.y if self.y is not None else y, self.x if self.x is not None else x
        named = {"time": self.clock, DEPTH: self.depth, "y": y, "x": x}
        return {role: name for role, name in named.items() if name is not None}


def find_roles(
    da: xr.DataArray,
    dims: Iterable[Hashable] | Mapping[str, Hashable] | Hashable | None,
    coords: Iterable[Hashable] | Hashable | None = None,
) -> Roles:
    """Give every dimension of `da` a role, from CF attributes, then coordinate types, then names.

    Parameters
    ----------
    da : DataArray
    dims : names in any order, or mapping of role to name, or None
        None infers them from all dimensions.
    coords : names, optional
        Coordinates of observations along one dimension; inferred where they are those of a track.

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
    if len(set(da.dims)) < da.ndim:
        raise DimensionError(
            f"The data have a dimension twice: {da.dims!r}. Name each apart, e.g. "
            f"`xr.DataArray(da.values, dims={tuple(f'{d}{i}' for i, d in enumerate(da.dims))!r})`."
        )
    own = next((role for role in (COMPONENT, VARIABLE) if isinstance(dims, Mapping) and role in dims), None)
    if isinstance(dims, Mapping) and own is not None:
        rest = {role: name for role, name in dims.items() if role != own}
        roles = find_roles(da.isel({dims[own]: 0}, drop=True), rest or None, coords)
        return replace(roles, component=dims[own], joint=own == VARIABLE)
    if (vertical := vertical_of(da, dims)) is not None:
        return _with_levels(da, *vertical, coords)
    if coords is not None:
        names = tuple(dims.values()) if isinstance(dims, Mapping) else dims
        return _scattered(da, _names(da, names), named_coordinates(da, coords))
    by_role = _from_mapping(da, dims) if isinstance(dims, Mapping) else _inferred(da, _names(da, dims))
    along_time = track_along_time(da, by_role.get("time")) if len(by_role) == 1 else {}
    if along_time:
        return _scattered(da, (by_role["time"],), along_time)
    chosen = set(by_role.values())
    extra = tuple(d for d in da.dims if d not in chosen)
    roles = _with_coordinates(da, by_role, extra)
    track = time_along(da, roles.space) if roles.time is None else None
    if track is not None:
        return replace(roles, track=track, scattered=True)
    _require_used(da, roles)
    return roles


def _with_levels(da: xr.DataArray, name: Hashable, rest: Any, coords: Any) -> Roles:
    """The roles of the other dimensions that are fitted, `rest`, with `name` for the vertical one.

    Raises
    ------
    DimensionError
        Where cells are scattered.
    """
    one = da.isel({name: 0}, drop=True)
    found = find_roles(one, rest, coords) if len(rest) else Roles(time=None, space=(), extra=tuple(one.dims))
    if found.scattered or coords is not None:
        raise DimensionError(
            f"{name!r} is fitted as depth on a grid or at a list of places, and these observations have coordinates "
            f"each of their own. Leave it out of `dims=`: each level is then a field of its own."
        )
    return replace(found, component=name, layered=True)


def _scattered(da: xr.DataArray, names: tuple[Hashable, ...] | None, coords: dict[str, Hashable]) -> Roles:
    """Observations with these coordinates by role, along one dimension and perhaps at each of several times.

    Raises
    ------
    DimensionError
    """
    dim = dimension_of(da, names, coords)
    others = [name for name in names or () if name != dim]
    if len(others) > 1 or any(role_of(da, name) != "time" or "time" in coords for name in others):
        raise DimensionError(
            f"dims={names!r} go beyond {dim!r}, along which coords={tuple(coords.values())!r} lie. Expected that "
            f"dimension alone, or with one of time; leave the others out, they are independent fields."
        )
    y, x = (coords.get(role) for role in ("y", "x"))
    fitted = {dim, *others}
    return Roles(
        time=others[0] if others else None, space=(dim,), extra=tuple(d for d in da.dims if d not in fitted),
        y=y, x=x, degrees=any(_in_degrees(da, c, known) for c, known in ((y, LAT_NAMES), (x, LON_NAMES))),
        y_dim=dim if y is not None or x is None else None, x_dim=dim if y is None and x is not None else None,
        track=coords.get("time"), scattered=True,
    )  # fmt: skip


def _require_used(da: xr.DataArray, roles: Roles) -> None:
    """Refuse data of which a coordinate would be dropped: labels that are no index.

    Raises
    ------
    DimensionError
    """
    own = (("time", roles.time, None), ("y", roles.y_dim, roles.y), ("x", roles.x_dim, roles.x))
    for role, dim, coordinate in own:
        if dim is None or dim in da.coords or coordinate is not None:
            continue
        for name, found in da.coords.items():
            if found.dims == (dim,) and role_of(da, name) == role and np.unique(found).size == found.size:
                raise DimensionError(
                    f"Dimension {dim!r} has no coordinate of its own, and {name!r} along it would be ignored. Make it "
                    f"the dimension: `da.swap_dims({{{dim!r}: {name!r}}})`; or drop it to count in steps: "
                    f"`da.drop_vars({name!r})`."
                )


def roles_if_told(da: xr.DataArray, dims: Iterable[Hashable] | Hashable | None = None) -> Roles | None:
    """The roles, or None where they cannot be told."""
    try:
        return find_roles(da, dims)
    except DimensionError:
        return None


def _names(da: xr.DataArray, dims: Iterable[Hashable] | Hashable | None) -> tuple[Hashable, ...] | None:
    """The requested dimension names as a tuple, checked to exist."""
    if dims is None:
        return None
    names = (dims,) if isinstance(dims, str) or not isinstance(dims, Iterable) else tuple(dims)
    for name in names:
        if name not in da.dims:
            cure = f"Name the axes to fit, e.g. `fit(dims={tuple(da.dims)!r})`."
            raise DimensionError(
                f"Dimension {shown(name)} is not in the data, whose dimensions are {listed(da.dims)}. "
                f"{cure if da.dims else 'One value is no field; select less, e.g. `da.isel(lat=0)` alone.'}"
            )
    if len(set(names)) != len(names) or not names:
        raise DimensionError(f"dims={names!r}: expected at least one name, each once, out of {listed(da.dims)}.")
    return names


def _from_mapping(da: xr.DataArray, dims: Mapping[str, Hashable]) -> dict[str, Hashable]:
    by_role: dict[str, Hashable] = {}
    for key, name in dims.items():
        role = KEYS.get(str(key).lower())
        if role is None:
            raise DimensionError(
                f"Unknown role {key!r} in dims. Roles are 'time', 'depth', 'y' (or 'lat') and 'x' (or 'lon')."
            )
        if role in by_role:
            raise DimensionError(
                f"dims={dict(dims)!r} gives the role {role!r} to both {by_role[role]!r} and {name!r}. "
                f"Name one dimension for each, e.g. `dims={{'time': 't', 'y': 'j', 'x': 'i'}}`."
            )
        by_role[role] = name
    _names(da, tuple(by_role.values()))
    for role, other in (("y", "x"), ("x", "y")):
        name = by_role.get(role)
        if name is not None and name in cf_names(da, other) - cf_names(da, role):
            raise DimensionError(
                f"dims= says that {name!r} is {role!r}, but its attributes say {other!r}. Swap them, or correct the "
                f"attributes: `da[{name!r}].attrs`."
            )
    return by_role


def _inferred(da: xr.DataArray, names: tuple[Hashable, ...] | None) -> dict[str, Hashable]:
    """Roles by evidence; with `names` every one of them must get a role."""
    by_role: dict[str, Hashable] = {}
    for name in names or da.dims:
        role = role_of(da, name)
        if role in by_role:
            raise DimensionError(
                f"Dimensions {by_role[role]!r} and {name!r} both look like {role!r}. "
                f"Say which is which, e.g. `dims={{'time': 't', 'y': 'j', 'x': 'i'}}`."
            )
        if role is not None:
            by_role[role] = name
    by_role |= _roles_by_place(da, by_role, da.dims if names is None else names)
    unknown = [name for name in names or da.dims if name not in by_role.values()]
    if unknown and (names is not None or not by_role):
        raise _ambiguous(da, unknown)
    return by_role


def _roles_by_place(da: xr.DataArray, by_role: dict[str, Hashable], names: tuple[Hashable, ...]) -> dict[str, Hashable]:
    """Roles, of those left, for dimensions along which latitude and longitude place every cell together."""
    shared = places(da)
    taken = {by_role[role] for role in ("y", "x") if role in by_role}
    if len(shared) > 2 or by_role.get("time") in shared or not taken <= set(shared) <= set(names):
        return {}
    free = [role for role in ("y", "x") if role not in by_role]
    return dict(zip(free, (name for name in shared if name not in by_role.values()), strict=False))


def _ambiguous(da: xr.DataArray, unknown: list[Hashable]) -> DimensionError:
    told = {role_of(da, name): str(name) for name in da.dims}
    free = [role for role in ("x", "y", "time") if role not in told]
    told |= dict(zip(free, reversed([str(name) for name in unknown]), strict=False))
    said = {role: told[role] for role in ("time", "y", "x") if role in told}
    along = [str(c) for c in da.coords if len(unknown) == 1 and c not in da.dims and da.coords[c].dims == (unknown[0],)]
    points = f"; if these are observations scattered along it, `dims={(str(unknown[0]),)!r}, coords={tuple(along)!r}`"
    return DimensionError(
        f"Cannot tell the role of dimension(s) {listed(unknown)} of {tuple(da.dims)!r} from attributes, coordinates or "
        f"names. Say it, e.g. `dims={said!r}`{points if along else ''}."
    )


def _with_coordinates(da: xr.DataArray, by_role: dict[str, Hashable], extra: tuple[Hashable, ...]) -> Roles:
    """Attach the coordinates that place cells in space."""
    space = tuple(by_role[role] for role in ("y", "x") if role in by_role)
    common: dict[str, Any] = {"time": by_role.get("time"), "space": space, "extra": extra}
    common |= {"y_dim": by_role.get("y"), "x_dim": by_role.get("x")}
    placed = bool(space) and set(places(da)) == set(space)
    if placed and not (len(space) == 2 and all(_is_projected(da, d) for d in space)):
        latitude, longitude = located(da, "y"), located(da, "x")
        if latitude is not None and longitude is not None:
            return Roles(**common, y=latitude, x=longitude, degrees=True)
        y, x = projected_sites(da) or (None, None)
        return Roles(**common, y=y, x=x)
    y, x = (by_role.get(role) if by_role.get(role) in da.coords else None for role in ("y", "x"))
    degrees = any(_in_degrees(da, c, names) for c, names in ((y, LAT_NAMES), (x, LON_NAMES)))
    if degrees and len(space) == 1:
        y, x = y or _scalar(da, "y"), x or _scalar(da, "x")
    return Roles(**common, y=y, x=x, degrees=degrees)


def _scalar(da: xr.DataArray, role: str) -> Hashable | None:
    """The one latitude of a row, or longitude of a column, that `isel` left behind."""
    found = located(da, role)
    return found if found is not None and da.coords[found].ndim == 0 else None


def _is_projected(da: xr.DataArray, dim: Hashable) -> bool:
    return dim in da.coords and kilometres_per(str(da.coords[dim].attrs.get("units", ""))) is not None


def _in_degrees(da: xr.DataArray, name: Hashable | None, names: frozenset[str]) -> bool:
    if name is None:
        return False
    attrs = da.coords[name].attrs
    units = str(attrs.get("units", "")) or crs_units(da)
    return is_angle(units) if units else "itude" in str(attrs.get("standard_name", "")) or str(name).lower() in names
