"""Observations scattered along one dimension: which of its coordinates are their places and their times."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.cf.names import cf_names, is_dates, role_of_name
from xgpfill.cf.places import located, places, track_of
from xgpfill.errors import DimensionError, listed, shown

if TYPE_CHECKING:
    import xarray as xr


def named_coordinates(da: xr.DataArray, coords: Iterable[Hashable] | Hashable) -> dict[str, Hashable]:
    """The coordinates that the user named, by role: "time", "y" and "x".

    Their roles are told by CF attributes, dates and names; what says nothing is x first, then y.

    Raises
    ------
    DimensionError
        When one is not there, or two have one role.
    """
    names = (coords,) if isinstance(coords, str) or not isinstance(coords, Iterable) else tuple(coords)
    if not names or len(set(names)) != len(names):
        raise DimensionError(f"coords={names!r}: expected at least one name, each once, out of {listed(da.coords)}.")
    found: dict[str, Hashable] = {}
    for name in names:
        if name not in da.coords:
            raise DimensionError(
                f"Coordinate {shown(name)} is not in the data, whose coordinates are {listed(da.coords)}. Name those "
                f"of the observations, e.g. `fit(dims=('obs',), coords=('time', 'lat', 'lon'))`."
            )
        role = _role(da, name)
        if role is not None and role in found:
            raise DimensionError(
                f"Coordinates {found[role]!r} and {name!r} both look like {role!r}. Name one of them in `coords=`."
            )
        if role is not None:
            found[role] = name
    unknown = [name for name in names if name not in found.values()]
    free = [role for role in ("x", "y") if role not in found]
    if len(unknown) > len(free):
        raise DimensionError(
            f"coords={names!r}: cannot tell what {listed(unknown)} are. Expected at most two coordinates of space and "
            f"one of time, which dates or units such as 'days since 2000-01-01' tell."
        )
    return found | dict(zip(free, unknown, strict=False))


def _role(da: xr.DataArray, name: Hashable) -> str | None:
    """The role of a coordinate, which need not be a dimension."""
    own = [role for role in ("time", "y", "x") if name in cf_names(da, role)]
    if own:
        return own[0]
    return "time" if is_dates(da.coords[name]) else role_of_name(name)


def dimension_of(da: xr.DataArray, names: tuple[Hashable, ...] | None, coords: dict[str, Hashable]) -> Hashable:
    """The one dimension that named coordinates lie along.

    Raises
    ------
    DimensionError
        When there are several, none, or another than those fitted.
    """
    along = {d: None for name in coords.values() for d in da.coords[name].dims}
    if len(along) != 1:
        found = ", ".join(f"{name!r} along {da.coords[name].dims!r}" for name in coords.values())
        raise DimensionError(
            f"coords= names {found}; expected coordinates of observations along one dimension. {_cure(da, along)}"
        )
    dim: Hashable = next(iter(along))
    if names is not None and dim not in names:
        raise DimensionError(
            f"coords= lie along {dim!r}, which is none of dims={names!r}. Name it: `fit(dims=({str(dim)!r},), ...)`."
        )
    return dim


def _cure(da: xr.DataArray, along: Iterable[Hashable]) -> str:
    """What to type where coordinates lie along several dimensions, or none."""
    dims = tuple(along)
    if dims and all(d in da.indexes for d in dims):
        return f"Those of a lattice need no `coords=`: `fit(dims={dims!r})`."
    if not dims:
        return "One observation is a dimension of one: `da.expand_dims('obs')`."
    return f"Make the cells a list of observations: `da.stack(obs={dims!r}, create_index=False).dropna('obs')`."


def time_along(da: xr.DataArray, space: tuple[Hashable, ...]) -> Hashable | None:
    """The coordinate of time along places, as on a track; None where there is none.

    Raises
    ------
    DimensionError
        When places have two dimensions, of which only one says when.
    """
    track = track_of(da, space)
    if track is not None and len(space) > 1:
        raise DimensionError(
            f"Time ({track!r}) lies along {da.coords[track].dims[0]!r} as the places on {tuple(space)!r} do. Make the "
            f"cells a list of observations: `da.stack(obs={tuple(space)!r}, create_index=False).dropna('obs')`, with "
            f"`fit(dims=('obs',))`."
        )
    return track


def track_along_time(da: xr.DataArray, time: Hashable | None) -> dict[str, Hashable]:
    """The coordinates by role of a track whose dimension is its time; nothing where places stay or are not known."""
    if time is None or time not in da.coords or places(da) != (time,):
        return {}
    found: dict[str, Any] = {role: located(da, role) for role in ("y", "x")}
    if any(name is None for name in found.values()):
        return {}
    moves = any(np.unique(da.coords[name]).size > 1 for name in found.values())
    return {"time": time, **found} if moves else {}
