"""From a DataArray to a Lattice and back: the Layout remembers dimension order, coordinates, attributes and chunks."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from xgpfill.checks import require_array
from xgpfill.errors import AlignmentError, CoordinateError, DataError, NoiseError, listed, warn
from xgpfill.grid.axes import check_axes, is_closed
from xgpfill.grid.companions import check_errors, require_error_units, require_inside
from xgpfill.grid.dims import Roles, find_roles
from xgpfill.grid.directions import at_depths, one_after_another, with_directions, with_levels, with_variables
from xgpfill.grid.fills import check_fills, check_range, declared_fills, declared_range, require_decoded
from xgpfill.grid.lattice import FloatArray, Lattice, Space
from xgpfill.grid.metric import Clock, Metric, check_latitudes, clock_of, metric_for, same_unit
from xgpfill.grid.names import STEP_UNITS, role_of
from xgpfill.grid.places import crs_units, fields_in_words, still
from xgpfill.grid.vertical.axis import Vertical

Dims = Iterable[Hashable] | Mapping[str, Hashable] | Hashable | None
Coords = Iterable[Hashable] | Hashable | None


@dataclass(frozen=True, eq=False)
class Layout:
    """What it takes to turn arrays back into the user's DataArray, and new coordinates into km and days.

    Attributes
    ----------
    template : DataArray
        The user's array; only its coordinates, name, attributes, dtype and chunks are read.
    roles : Roles
    metric : Metric
    clock : Clock or None
        None when there is no time axis.
    vertical : Vertical or None
        None where depth is not fitted.
    """

    template: xr.DataArray
    roles: Roles
    metric: Metric
    clock: Clock | None
    vertical: Vertical | None = None

    @property
    def canonical_dims(self) -> tuple[Hashable, ...]:
        """The user's dimensions in the order (extra..., time, y, x); components, variables or levels before y."""
        return tuple(d for d in self._slots() if d is not None)

    def canonical(self, da: xr.DataArray) -> Any:
        """The data of `da` as (extra..., time, y, x), axes that are absent having length one.

        The rows of the second component of a vector, variable or level follow those of the first.
        """
        data = da.transpose(*(d for d in self.canonical_dims if d in da.dims)).data
        data = data[tuple(slice(None) if d in da.dims else np.newaxis for d in self._slots())]
        return data if self.roles.component is None else one_after_another(data, self.axis_sizes()[1], self.components)

    def _slots(self) -> tuple[Hashable | None, ...]:
        """The canonical axes: a dimension's name, or None for an axis that is absent."""
        roles = self.roles
        components = () if roles.component is None else (roles.component,)
        return (*roles.extra, roles.time, *components, roles.y_dim, roles.x_dim)

    def restore(self, data: Any) -> Any:
        """An array (extra..., time, y, x) in the order of the user's dimensions."""
        if self.roles.component is not None:
            *lead, rows, columns = data.shape
            data = data.reshape(*lead, self.components, rows // self.components, columns)
        present = tuple(0 if d is None else slice(None) for d in self._slots())
        squeezed = data[present]
        order = [self.canonical_dims.index(d) for d in self.template.dims]
        found = squeezed.transpose(order)
        cut = self.roles.component is not None and self.template.chunks is not None and hasattr(found, "dask")
        return found.rechunk(self.template.chunks) if cut else found

    @property
    def components(self) -> int:
        """Number of components of a vector, of joint variables, or of levels; one where there are none."""
        return 1 if self.roles.component is None else int(self.template.sizes[self.roles.component])

    def placed(self, y: FloatArray, x: FloatArray, metric: Metric | None = None) -> FloatArray:
        """Embedded km of coordinates, of every component, variable or level one after another; of another `metric`."""
        metric = self.metric if metric is None else metric
        places = metric.embed(y, x)
        if self.roles.component is None:
            return places
        if self.roles.layered:
            return with_levels(places, self.depths)
        if self.roles.joint:
            return with_variables(places, self.components)
        return with_directions(places, metric.directions(y, x))

    def placed_at(
        self, y: FloatArray, x: FloatArray, metric: Metric | None = None, *, depth: FloatArray | None = None
    ) -> FloatArray:
        """The same of targets (n,), at depths of their own where depth is fitted."""
        if self.vertical is None or depth is None:
            return self.placed(y, x, metric)
        return at_depths((self.metric if metric is None else metric).embed(y, x), depth)

    @property
    def depths(self) -> FloatArray:
        """Where the levels are, in the unit of :attr:`vertical`; none where depth is not fitted."""
        if self.vertical is None or self.roles.depth is None:
            return np.zeros(0)
        return self.vertical.levels(self.template, self.roles.depth)

    @property
    def axis_names(self) -> dict[Hashable, str]:
        """The user's names of the canonical axes."""
        own = zip((self.roles.time, self.roles.y_dim, self.roles.x_dim), ("time", "y", "x"), strict=True)
        return {name: axis for name, axis in own if name is not None}

    def fields_in_words(self) -> str:
        """What to say where places may have been taken for independent fields; empty where that is not likely."""
        sizes = dict(self.template.sizes)
        return fields_in_words(sizes, self.roles.extra, has_space=bool(self.roles.space))

    def axis_sizes(self) -> tuple[int, int, int]:
        """Number of cells along (time, y, x), in each component of a vector."""
        sizes, roles = self.template.sizes, self.roles
        nt, ny, nx = (1 if d is None else sizes[d] for d in (roles.time, roles.y_dim, roles.x_dim))
        return nt, ny, nx

    def metric_of(self, coordinates: Iterable[xr.DataArray]) -> Metric:
        """The same distances for coordinates in their own unit; those that name none are in that of the data."""
        return self.metric.in_units(_common_unit([c for c in coordinates if _units(c)]))


def encode(
    da: xr.DataArray,
    *,
    dims: Dims = None,
    coords: Coords = None,
    geometry: str = "auto",
    directional: bool = False,
    valid: xr.DataArray | bool | None = None,
    errors: xr.DataArray | None = None,
    like: Layout | None = None,
    check: bool = True,
) -> tuple[Lattice, Layout]:
    """Read a DataArray as a lattice of values in physical coordinates.

    Parameters
    ----------
    da : DataArray
        Gappy field; NaN marks the gaps. Never changed.
    dims : names, or mapping of role to name, or None
        The dimensions to fit; the others are independent fields.
    coords : names, optional
        Coordinates of observations along one dimension, where they are not told by themselves.
    geometry : {"auto", "sphere", "cylinder", "plane"}
    directional : bool
        Whether a kernel needs the two directions of space apart.
    valid : bool DataArray, True, or None
        Where the field exists.
    errors : DataArray, optional
        Standard error of each observation, named as the argument that it came by.
    like : Layout, optional
        Use its roles, metric and clock, so that coordinates are comparable.
    check : bool
        Whether to look at the values (of data in memory) for infinities, fill values and cells that are never observed.

    Raises
    ------
    XgpfillError
        See DESIGN §7; each kind of bad input has its own message.
    """
    require_array(da, "fit")
    _require_real(da)
    roles = find_roles(da, dims, coords) if like is None else _same_roles(da, like)
    check_axes(da, roles, told=like is not None and like.metric.degrees and like.metric.factor != 1.0)
    y, x = _space_values(da, roles)
    if like is None:
        units = _space_units(da, roles)
        metric = metric_for(y, x, degrees=roles.degrees, units=units, geometry=geometry, directional=directional)
        clock, vertical = _clock(da, roles), None if roles.depth is None else Vertical.of(da, roles.depth)
    else:
        metric, clock, vertical = like.metric_of(_space_coordinates(da, roles)), like.clock, like.vertical
        if metric.degrees:
            check_latitudes(metric.factor * y)
    layout = Layout(da, roles, metric, clock, vertical)
    space = _space(layout, y, x)
    lattice = Lattice(
        values=layout.canonical(da),
        time=np.zeros(1) if clock is None or roles.time is None else clock.days(*_time_values(da, roles.time)),
        space=space,
        days=None if clock is None or roles.track is None else _days(da, roles.track, clock).reshape(space.shape),
        valid=None if valid is None or _is_true(valid) else _aligned(valid, layout, "valid"),
        errors=None if errors is None else _aligned(errors, layout, _argument(errors)),
        extra_shape=tuple(da.sizes[d] for d in roles.extra),
        fills=declared_fills(da),
    )
    _check_types(lattice, _argument(errors))
    if errors is not None:
        require_error_units(errors, da)
    if check:
        require_decoded(da)
    if check and not lattice.is_lazy:
        _check_values(lattice, layout, valid, _argument(errors))
    return lattice, layout


def _argument(errors: xr.DataArray | None) -> str:
    """What the user called standard errors: fields of them are named as the argument that they came by."""
    name = str(getattr(errors, "name", ""))
    return name if name.startswith("noise") else "noise"


def _require_real(da: xr.DataArray) -> None:
    if da.dtype == bool:
        raise DataError(
            "The data are True and False, which have no gaps: a mask? Hide by it the values that it belongs to, e.g. "
            "`field.where(mask)`; to fit the two as numbers, type `da.astype(float)`."
        )
    if da.dtype.kind not in "iuf":
        raise DataError(
            f"The data have dtype {da.dtype}; expected real numbers. Convert them first, e.g. `da.astype(float)`, "
            f"or fit `da.real` and `da.imag` apart."
        )
    if da.size == 0:
        raise DataError(f"The data are empty: their sizes are {dict(da.sizes)}. Select at least one cell on each axis.")


def _same_roles(da: xr.DataArray, like: Layout) -> Roles:
    """The roles that the model was fitted with, for other data."""
    roles = like.roles
    missing = [d for d in roles.fitted if d not in da.dims]
    if missing:
        raise AlignmentError(
            f"The data lack dimension(s) {listed(missing)} that the model was fitted on; their dimensions are "
            f"{listed(da.dims)}. {_cure_of_missing(da, roles, missing[0])}."
        )
    for name in (roles.y, roles.x, roles.track):
        if name is not None and not (name in da.coords and set(still(da, name).dims) <= set(roles.space)):
            raise AlignmentError(
                f"The data lack the coordinate {name!r} along {listed(roles.space)} that the model was fitted on; "
                f"their coordinates are {listed(da.coords)}. Add it, e.g. `da.assign_coords({name}=...)`."
            )
    for name, dim in ((roles.y, roles.y_dim), (roles.x, roles.x_dim)):
        if name is None and dim in da.coords and not roles.scattered:
            raise AlignmentError(
                f"The data have a coordinate along {dim!r}, but the model was fitted on cells without one. Drop it, "
                f"e.g. `da.drop_vars({dim!r})`, or fit again."
            )
    return replace(roles, extra=tuple(d for d in da.dims if d not in (*roles.fitted, roles.component)))


def _cure_of_missing(da: xr.DataArray, roles: Roles, dim: Hashable) -> str:
    """What to type where new data lack a dimension: one that `isel` took away comes back, another is renamed."""
    if dim in da.coords and not da.coords[dim].dims:
        return f"Bring it back: `da.expand_dims({str(dim)!r})`"
    role = next(role for role, name in roles.by_role.items() if name == dim)
    same = (str(d) for d in da.dims if d not in roles.fitted and role_of(da, d) == role)
    return f"Rename them, e.g. `da.rename({{{next(same, 'old')!r}: {str(dim)!r}}})`"


def _space_values(da: xr.DataArray, roles: Roles) -> tuple[FloatArray, FloatArray]:
    """The two space coordinates broadcast to (ny, nx); an index where there is no coordinate, 0 where no axis."""
    slots = (roles.y_dim, roles.x_dim)

    def oriented(name: Hashable | None, dim: Hashable | None) -> FloatArray:
        if name is not None:
            coordinate = still(da, name).variable
        elif dim is not None:
            coordinate = xr.Variable((dim,), np.arange(da.sizes[dim]))
        else:
            return np.zeros((1, 1))
        values = np.asarray(coordinate.transpose(*(d for d in slots if d in coordinate.dims)).values, float)
        return values[tuple(slice(None) if d in coordinate.dims else np.newaxis for d in slots)]

    if roles.scattered and roles.y is None and roles.x is None:  # times of one place
        return np.zeros((da.sizes[roles.space[0]], 1)), np.zeros((1, 1))
    y, x = np.broadcast_arrays(oriented(roles.y, roles.y_dim), oriented(roles.x, roles.x_dim))
    return y, x


def _space_coordinates(da: xr.DataArray, roles: Roles) -> list[xr.DataArray]:
    return [da.coords[name] for name in (roles.y, roles.x) if name is not None]


def _space_units(da: xr.DataArray, roles: Roles) -> str:
    coordinates = _space_coordinates(da, roles)
    bare = [d for c, d in ((roles.y, roles.y_dim), (roles.x, roles.x_dim)) if c is None and d is not None]
    if bare and coordinates:
        raise CoordinateError(
            f"Dimension {bare[0]!r} has no coordinate, but {coordinates[0].name!r} has; distances need both. Add it, "
            f"e.g. `da.assign_coords({bare[0]}=...)`, or drop both: `da.drop_vars({coordinates[0].name!r})`."
        )
    if roles.degrees:
        return _common_unit([c for c in coordinates if _units(c)]) or "degrees"
    return _common_unit(coordinates) or crs_units(da) if coordinates else "cell"


def _units(coordinate: xr.DataArray) -> str:
    return str(coordinate.attrs.get("units", "")).strip()


def _common_unit(coordinates: list[xr.DataArray]) -> str:
    """The unit that coordinates share, however it is spelled; empty when there is none."""
    units = {same_unit(_units(c)): _units(c) for c in coordinates}
    if len(units) > 1:
        raise CoordinateError(
            f"The space coordinates {listed(c.name for c in coordinates)} have different units "
            f"{listed(sorted(units.values()))}; distances need one. Convert one of them and set its `attrs['units']`."
        )
    return next(iter(units.values()), "")


def _clock(da: xr.DataArray, roles: Roles) -> Clock | None:
    return None if roles.clock is None else clock_of(*_time_values(da, roles.clock))


def _days(da: xr.DataArray, track: Hashable, clock: Clock) -> FloatArray:
    return clock.days(*_time_values(da, track))


def _time_values(da: xr.DataArray, name: Hashable) -> tuple[np.ndarray[Any, Any], str]:
    if name not in da.coords:
        return np.arange(da.sizes[name], dtype=float), ""
    coordinate = da.coords[name]
    named = STEP_UNITS.get(str(name).lower(), "") if coordinate.dtype.kind in "iuf" else ""
    return coordinate.values, _units(coordinate) or named


def _space(layout: Layout, y: FloatArray, x: FloatArray) -> Space:
    da, roles, metric = layout.template, layout.roles, layout.metric
    is_list = roles.scattered or (
        len(roles.space) == 1
        and all(name is not None and still(da, name).dims == roles.space for name in (roles.y, roles.x))
    )
    wraps = False
    if metric.degrees and metric.geometry != "plane" and not is_list and roles.x is not None and roles.x == roles.x_dim:
        wraps = is_closed(da.coords[roles.x].values, 360.0 / metric.factor)
    short = y[:, :1].copy(), x[:1].copy()  # enough where rows and columns are regular
    places, count = layout.placed(y, x), layout.components
    if roles.component is not None:
        unit, depths = "" if layout.vertical is None else layout.vertical.units, tuple(layout.depths.tolist())
        how: dict[str, Any] = {"components": count, "depths": depths, "depth_unit": unit}
        return Space(places, metric.geometry, metric.unit, is_grid=not is_list, wraps=wraps, **how)
    return Space(places, metric.geometry, metric.unit, is_grid=not is_list, wraps=wraps, short=short, metric=metric)


def _aligned(field: xr.DataArray | Any, layout: Layout, name: str) -> Any:
    """`valid` or a field of standard errors as a canonical array that broadcasts against the values."""
    da = layout.template
    like, filled = (", dtype=bool", ", fill_value=False") if name == "valid" else ("", "")
    if not isinstance(field, xr.DataArray):
        raise AlignmentError(
            f"`{name}` is a {type(field).__name__}; expected a DataArray on the grid of the data, "
            f"e.g. `{name}=xr.ones_like(da{like})`{', or True' if name == 'valid' else ''}."
        )
    foreign = [d for d in field.dims if d not in da.dims]
    if foreign:
        raise AlignmentError(
            f"`{name}` has dimension(s) {listed(foreign)} that the data lack; they have {listed(da.dims)}."
        )
    try:
        xr.align(field, da, join="exact", copy=False)
    except ValueError as error:
        raise AlignmentError(
            f"`{name}` does not lie on the grid of the data: {str(error).splitlines()[0]}. "
            f"{_bring(field, da, name, filled)}"
        ) from None
    return layout.canonical(field)


def _bring(field: xr.DataArray, da: xr.DataArray, name: str, filled: str) -> str:
    """How to bring `field` onto the grid of `da`; labels that share nothing are not to be reindexed."""
    for dim in field.dims:
        mine, own = field.indexes.get(dim), da.indexes.get(dim)
        if mine is None or own is None or len(mine.intersection(own)):
            continue
        cure = f"`{name}.assign_coords({dim}=da[{dim!r}])`" if len(mine) == len(own) else "regrid it"
        return (
            f"Along {dim!r} they share no label: it has {mine[0]!s}, ... ({mine.dtype}), the data {own[0]!s}, ... "
            f"({own.dtype}). Convert one of them; if cells correspond one by one, e.g. {cure}."
        )
    return f"Bring it there first, e.g. `{name}.reindex_like(da{filled})`."


def _check_values(lattice: Lattice, layout: Layout, valid: xr.DataArray | bool | None, noise: str) -> None:
    """Infinities are refused; errors must be known where the data are; never-observed cells are reported once."""
    values = lattice.values
    if values.dtype.kind == "f" and np.isinf(values).any():
        infinite = np.isinf(layout.template.transpose(*layout.canonical_dims).values)
        where = tuple(int(i[0]) for i in np.nonzero(infinite))
        raise DataError(
            f"The data hold {int(np.isinf(values).sum())} infinite value(s), the first at {layout.canonical_dims} "
            f"index {where}. Make them gaps: `da.where(np.isfinite(da))`."
        )
    exists = lattice.valid
    if exists is not None:
        require_inside(values, exists)
    there = values if exists is None else values[np.broadcast_to(exists, values.shape)]
    check_fills(there, lattice.fills)
    check_range(there, declared_range(layout.template))
    if lattice.errors is not None:
        check_errors(values, lattice.errors, noise)
    if valid is None and lattice.time.size > 1 and values.dtype.kind == "f":
        never = float(np.mean(np.isnan(values).all(axis=-3)))
        if never > 0 and np.isfinite(values).sum() > 1:  # else there is more to say than this
            warn(
                f"{never:.1%} of the cells are never observed, and `valid=` is not given: they will be filled. If they "
                f"are land, type `valid=da.notnull().any({str(layout.roles.time)!r})`; if they are gaps, `valid=True`."
            )


def _is_true(valid: Any) -> bool:
    return isinstance(valid, (bool, np.bool_)) and bool(valid)


def _check_types(lattice: Lattice, noise: str) -> None:
    """Masks are boolean, errors are real numbers."""
    if lattice.valid is not None and lattice.valid.dtype != bool:
        raise AlignmentError(f"`valid` has dtype {lattice.valid.dtype}; expected bool, e.g. `valid=mask == 1`.")
    if lattice.errors is not None and lattice.errors.dtype.kind not in "iuf":
        raise NoiseError(
            f"`{noise}` (standard errors) has dtype {lattice.errors.dtype}; expected real numbers, e.g. "
            f"`{noise}=errors.astype(float)`."
        )
