"""The coordinates that say where cells lie: latitude and longitude of any shape, projected sites, a CRS. No roles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.cf.names import LAT_NAMES, LON_NAMES, X_NAMES, Y_NAMES, cf_names, role_of, role_of_name
from xgpfill.errors import DimensionError, listed

if TYPE_CHECKING:
    from collections.abc import Hashable

    import xarray as xr

MANY = 20
"""More independent fields than this along one dimension are more likely places."""


def located(da: xr.DataArray, role: str) -> Hashable | None:
    """The latitude ('y') or longitude ('x') coordinate, whatever dimensions it has.

    Of several, as on staggered grids, it is the one that the ``coordinates`` of the variable name.
    """
    import cf_xarray  # noqa: F401  (registers .cf)

    coords = da.coords.to_dataset()
    names = LAT_NAMES if role == "y" else LON_NAMES
    found = coords.cf.coordinates.get("latitude" if role == "y" else "longitude", [])
    found = found or [c for c in da.coords if str(c).lower() in names]
    own = str(da.encoding.get("coordinates") or da.attrs.get("coordinates") or "").split()
    return next((name for name in found if name in own), next(iter(found), None))


def still(da: xr.DataArray, name: Hashable) -> xr.DataArray:
    """A coordinate of space without the dimension of time, along which places stay where they are.

    Raises
    ------
    DimensionError
        When they do not.
    """
    coordinate: xr.DataArray = da.coords[name]
    moving = [d for d in coordinate.dims if coordinate.ndim > 1 and role_of(da, d) == "time"]
    if not moving:
        return coordinate
    first = coordinate.isel(dict.fromkeys(moving, 0), drop=True)
    if not np.array_equal(coordinate.transpose(*moving, ...).values, np.broadcast_to(first, coordinate.shape)):
        raise DimensionError(
            f"Coordinate {name!r} changes along {moving[0]!r}: the cells move, and `fit` takes places that stay. Bring "
            f"the data onto a grid that does, or drop the coordinate to count in cells: `da.drop_vars({name!r})`."
        )
    return first


def places(da: xr.DataArray) -> tuple[Hashable, ...]:
    """The dimensions that latitude and longitude share: one for a list of sites, two for a curvilinear grid."""
    latitude, longitude = located(da, "y"), located(da, "x")
    if latitude is None or longitude is None:
        sites = projected_sites(da)
        return () if sites is None else da.coords[sites[0]].dims
    dims = still(da, latitude).dims
    return dims if set(dims) == set(still(da, longitude).dims) else ()


def projected_sites(da: xr.DataArray) -> tuple[Hashable, Hashable] | None:
    """The projected y and x of a list of sites: two coordinates along one dimension, none of them its index."""
    found = []
    for role, known in (("y", Y_NAMES), ("x", X_NAMES)):
        named = [c for c in da.coords if c in cf_names(da, role) or str(c).lower() in known]
        along = [c for c in named if da.coords[c].ndim == 1 and c not in da.dims]
        found.append(next(iter(along), None))
    y, x = found
    return (y, x) if y is not None and x is not None and da.coords[y].dims == da.coords[x].dims else None


def crs_units(da: xr.DataArray) -> str:
    """The unit of x and y as their coordinate reference system says it, "degrees" for a geographic one; or empty.

    The system is that of a scalar coordinate with CF's ``grid_mapping_name`` or with a text of it, as rioxarray has it.
    """
    for coordinate in da.coords.values():
        attrs: dict[str, Any] = {str(key): value for key, value in coordinate.attrs.items()}
        if coordinate.ndim or not attrs.keys() & {"grid_mapping_name", "crs_wkt", "spatial_ref"}:
            continue
        import pyproj

        try:
            system = pyproj.CRS.from_cf(attrs)
        except (pyproj.exceptions.CRSError, KeyError, TypeError, ValueError):
            continue  # what cannot be read says nothing
        units = system.axis_info[0].unit_name if system.axis_info else ""
        return "degrees" if system.is_geographic else units
    return ""


def fields_in_words(sizes: dict[Hashable, int], extra: tuple[Hashable, ...], *, has_space: bool) -> str:
    """What to say where places may have been taken for independent fields; empty where that is not likely.

    Parameters
    ----------
    sizes : dict
        Of all dimensions.
    extra : tuple of names
        Those that became independent fields.
    has_space : bool
        Whether some dimension was found to be one of space.
    """
    many = [d for d in extra if sizes[d] > MANY]
    if not (many or (not has_space and any(sizes[d] > 1 for d in extra))):
        return ""
    rest = [str(d) for d in sizes if d not in extra]
    free = dict(zip(("x", "y"), reversed([str(d) for d in extra][-2:]), strict=False))
    told = {"time": rest[0], **dict(reversed(free.items()))} if rest and not has_space else free
    found = "No dimension of space was found: " if not has_space else ""
    counted = ", ".join(f"{d}: {sizes[d]}" for d in extra)
    return (
        f"{found}{listed(many or extra)} became independent fields, each filled on its own ({counted}). If they are "
        f"places, name them, e.g. `dims={told!r}`, or give their coordinates; if they are fields of their own, say it "
        f"by naming the others: `dims={tuple(rest)!r}`."
    )


def track_of(da: xr.DataArray, dims: tuple[Hashable, ...]) -> Hashable | None:
    """A coordinate of time that runs along one of the `dims` of space, as on the track of a ship; or None."""
    for name, coordinate in da.coords.items():
        named = name in cf_names(da, "time") or role_of_name(name) == "time"
        if named and coordinate.ndim == 1 and coordinate.dims[0] in dims and np.unique(coordinate).size > 1:
            return name
    return None
