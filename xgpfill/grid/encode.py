"""From a DataArray to a Lattice and back: the Layout remembers dimension order, coordinates, attributes and chunks."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from xgpfill.errors import AlignmentError, CoordinateError, DataError, NoiseError, XgpfillWarning, listed
from xgpfill.grid.dims import Roles, find_roles, require_numeric
from xgpfill.grid.lattice import FloatArray, Lattice, Space
from xgpfill.grid.metric import Clock, Metric, clock_of, metric_for

Dims = Iterable[Hashable] | Mapping[str, Hashable] | Hashable | None


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
    """

    template: xr.DataArray
    roles: Roles
    metric: Metric
    clock: Clock | None

    @property
    def canonical_dims(self) -> tuple[Hashable, ...]:
        """The user's dimensions in the order (extra..., time, y, x)."""
        return self.roles.extra + self.roles.fitted

    def canonical(self, da: xr.DataArray) -> Any:
        """The data of `da` as (extra..., time, y, x), axes that are absent having length one."""
        data = da.transpose(*(d for d in self.canonical_dims if d in da.dims)).data
        return data[tuple(slice(None) if d in da.dims else np.newaxis for d in self._slots())]

    def _slots(self) -> tuple[Hashable | None, ...]:
        """The canonical axes: a dimension's name, or None for an axis that is absent."""
        roles = self.roles
        return (*roles.extra, roles.time, roles.y_dim, roles.x_dim)

    def restore(self, data: Any) -> Any:
        """An array (extra..., time, y, x) in the order of the user's dimensions."""
        present = tuple(0 if d is None else slice(None) for d in self._slots())
        squeezed = data[present]
        order = [self.canonical_dims.index(d) for d in self.template.dims]
        return squeezed.transpose(order)

    def axis_sizes(self) -> tuple[int, int, int]:
        """Number of cells along (time, y, x)."""
        sizes = self.template.sizes
        nt, ny, nx = (1 if d is None else sizes[d] for d in self._slots()[-3:])
        return nt, ny, nx

    def places(self, ds: Any) -> FloatArray:
        """Embedded km of the space coordinates of `ds`, of shape (ny, nx, d)."""
        y, x = _space_values(ds, self.roles)
        return self.metric.embed(y, x)


def encode(
    da: xr.DataArray,
    *,
    dims: Dims = None,
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
    geometry : {"auto", "sphere", "cylinder", "plane"}
    directional : bool
        Whether a kernel needs the two directions of space apart.
    valid : bool DataArray, True, or None
        Where the field exists.
    errors : DataArray, optional
        Standard error of each observation.
    like : Layout, optional
        Use its roles, metric and clock, so that coordinates are comparable.
    check : bool
        Whether to look at the values (of data in memory) for infinities and for cells that are never observed.

    Raises
    ------
    XgpfillError
        See DESIGN §7; each kind of bad input has its own message.
    """
    _require_real(da)
    roles = find_roles(da, dims) if like is None else _same_roles(da, like)
    _check_axes(da, roles)
    if like is None:
        y, x = _space_values(da, roles)
        units = _space_units(da, roles)
        metric = metric_for(y, x, degrees=roles.degrees, units=units, geometry=geometry, directional=directional)
        clock = _clock(da, roles)
    else:
        metric, clock = like.metric, like.clock
    layout = Layout(da, roles, metric, clock)
    time = np.zeros(1) if roles.time is None else _days(da, roles, clock)
    values = layout.canonical(da)
    lattice = Lattice(
        values=values,
        time=time,
        space=_space(da, layout),
        valid=None if valid is None or valid is True else _aligned(valid, layout, "valid"),
        errors=None if errors is None else _aligned(errors, layout, "noise"),
        extra_shape=tuple(da.sizes[d] for d in roles.extra),
    )
    if lattice.valid is not None and lattice.valid.dtype != bool:
        raise AlignmentError(f"`valid` has dtype {lattice.valid.dtype}; expected bool, e.g. `valid=mask.astype(bool)`.")
    if check and not lattice.is_lazy:
        _check_values(lattice, layout, valid)
    return lattice, layout


def _require_real(da: xr.DataArray) -> None:
    if da.dtype.kind not in "iufb":
        raise DataError(
            f"The data have dtype {da.dtype}; expected real numbers. Convert them first, e.g. `da.astype(float)`, "
            f"or fit `da.real` and `da.imag` apart."
        )
    if da.size == 0:
        raise DataError(f"The data are empty: their sizes are {dict(da.sizes)}. Select at least one cell on each axis.")


def _same_roles(da: xr.DataArray, like: Layout) -> Roles:
    missing = [d for d in like.roles.fitted if d not in da.dims]
    if missing:
        raise AlignmentError(
            f"The data lack dimension(s) {listed(missing)} that the model was fitted on; their dimensions are "
            f"{listed(da.dims)}. Rename them, e.g. `da.rename({{'old': {str(missing[0])!r}}})`."
        )
    return replace(like.roles, extra=tuple(d for d in da.dims if d not in like.roles.fitted))


def _check_axes(da: xr.DataArray, roles: Roles) -> None:
    """Coordinates of the lattice's axes must be numbers (or dates) that rise or fall without a repeat."""
    for dim in roles.fitted:
        if dim not in da.coords or dim not in (roles.time, roles.y, roles.x):
            continue
        values = da.coords[dim].values
        if dim == roles.time and values.dtype.kind in "mMO":
            if values.dtype.kind in "mM" and np.isnat(values).any():
                raise CoordinateError(
                    f"Coordinate {dim!r} holds NaT. Drop these steps, e.g. `da.sel({dim}=da[{str(dim)!r}].notnull())`."
                )
        elif dim == roles.time and "%Y" in str(da.coords[dim].attrs.get("units", "")):
            continue
        else:
            require_numeric(values, dim)
        _check_order(values, dim)
    for name in {roles.y, roles.x} - set(roles.fitted) - {None}:
        require_numeric(da.coords[name].values, name)


def _check_order(values: np.ndarray[Any, Any], dim: Hashable) -> None:
    if values.size < 2:
        return
    unique = np.unique(values)
    if unique.size < values.size:
        raise CoordinateError(
            f"Coordinate {dim!r} has {values.size - unique.size} duplicate value(s). Merge them first, e.g. "
            f"`da.groupby({str(dim)!r}).mean()` or `da.drop_duplicates({str(dim)!r})`."
        )
    steps = values[1:] > values[:-1]
    if not (steps.all() or not steps.any() or _is_one_wrap(values, steps)):
        raise CoordinateError(f"Coordinate {dim!r} is not sorted. Sort it first: `da.sortby({str(dim)!r})`.")


def _is_one_wrap(values: np.ndarray[Any, Any], steps: np.ndarray[Any, Any]) -> bool:
    """Longitudes such as 178, 179, −180, −179: sorted but for one jump of about a turn."""
    jumps = np.flatnonzero(steps != (np.sum(steps) > steps.size / 2))
    return (
        values.dtype.kind in "iuf" and jumps.size == 1 and abs(float(values[jumps[0] + 1] - values[jumps[0]])) > 180.0
    )


def _space_values(ds: Any, roles: Roles) -> tuple[FloatArray, FloatArray]:
    """The two space coordinates broadcast to (ny, nx); an index where there is no coordinate, 0 where no axis."""

    def oriented(name: Hashable | None, dim: Hashable | None, axis: int) -> FloatArray:
        if name is None and dim is None:
            scalar = _scalar(ds, axis) if roles.degrees else 0.0
            return np.full((1, 1), scalar)
        if name is None:
            values = np.arange(ds.sizes[dim], dtype=float)
            return np.expand_dims(values, 1 - axis)
        coordinate = ds.coords[name]
        values = np.asarray(coordinate.values, float)
        if str(coordinate.attrs.get("units", "")).lower().startswith("radian"):
            values = np.rad2deg(values)
        slots = (roles.y_dim, roles.x_dim)
        order = [d for d in slots if d in coordinate.dims]
        values = np.transpose(values, [coordinate.dims.index(d) for d in order])
        return np.asarray(values[tuple(slice(None) if d in coordinate.dims else np.newaxis for d in slots)])

    y, x = oriented(roles.y, roles.y_dim, 0), oriented(roles.x, roles.x_dim, 1)
    y, x = np.broadcast_arrays(y, x)
    return y, x


def _scalar(ds: Any, axis: int) -> float:
    """A scalar latitude or longitude kept by `isel`, or zero."""
    for name in (("lat", "latitude"), ("lon", "longitude"))[axis]:
        if name in ds.coords and ds.coords[name].ndim == 0:
            return float(ds.coords[name].values)
    return 0.0


def _space_units(da: xr.DataArray, roles: Roles) -> str:
    if roles.degrees:
        return "degrees"
    named = [c for c in (roles.y, roles.x) if c is not None]
    if not named:
        return "cell"
    units = {str(da.coords[c].attrs.get("units", "")) for c in named}
    if len(units) > 1:
        raise CoordinateError(
            f"The space coordinates {listed(named)} have different units {listed(sorted(units))}; distances need one. "
            f"Convert one of them and set its `attrs['units']`."
        )
    return units.pop()


def _clock(da: xr.DataArray, roles: Roles) -> Clock | None:
    if roles.time is None:
        return None
    values, units = _time_values(da, roles.time)
    return clock_of(values, units)


def _time_values(ds: Any, name: Hashable) -> tuple[np.ndarray[Any, Any], str]:
    if name not in ds.coords:
        return np.arange(ds.sizes[name], dtype=float), ""
    return ds.coords[name].values, str(ds.coords[name].attrs.get("units", ""))


def _days(da: xr.DataArray, roles: Roles, clock: Clock | None) -> FloatArray:
    assert clock is not None
    assert roles.time is not None
    return clock.days(*_time_values(da, roles.time))


def _space(da: xr.DataArray, layout: Layout) -> Space:
    roles, metric = layout.roles, layout.metric
    coordinates = layout.places(da)
    is_grid = len(roles.space) == 2 or (len(roles.space) == 1 and not (roles.y is not None and roles.x is not None))
    return Space(
        coordinates, metric.geometry, metric.unit, is_grid=is_grid, wraps=is_grid and _wraps(da, roles, metric)
    )


def _wraps(da: xr.DataArray, roles: Roles, metric: Metric) -> bool:
    """Whether a regular longitude axis closes: |n·Δλ − 360°| ≤ 1e-3·Δλ (or the first meridian is repeated)."""
    if not metric.degrees or metric.geometry == "plane" or roles.x is None or roles.x != roles.x_dim:
        return False
    lon = np.asarray(da.coords[roles.x].values, float)
    if lon.size < 4:
        return False
    steps = np.diff(np.unwrap(lon, period=360.0))
    step = float(np.median(np.abs(steps)))
    regular = bool(np.all(np.abs(np.abs(steps) - step) <= 1e-3 * step))
    return regular and min(abs(lon.size * step - 360.0), abs((lon.size - 1) * step - 360.0)) <= 1e-3 * step


def _aligned(field: xr.DataArray | Any, layout: Layout, name: str) -> Any:
    """`valid` or a field of standard errors as a canonical array that broadcasts against the values."""
    da = layout.template
    if not isinstance(field, xr.DataArray):
        raise AlignmentError(
            f"`{name}` is a {type(field).__name__}; expected a DataArray on the grid of the data, "
            f"e.g. `{name}=xr.ones_like(da)`."
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
            f"Bring it there first, e.g. `{name}.reindex_like(da)`."
        ) from None
    return layout.canonical(field)


def _check_values(lattice: Lattice, layout: Layout, valid: xr.DataArray | bool | None) -> None:
    """Infinities are refused; errors must be known where the data are; never-observed cells are reported once."""
    values = lattice.values
    if values.dtype.kind == "f" and np.isinf(values).any():
        where = tuple(int(i[0]) for i in np.nonzero(np.isinf(values)))
        raise DataError(
            f"The data hold {int(np.isinf(values).sum())} infinite value(s), the first at {layout.canonical_dims} "
            f"index {where[-len(layout.canonical_dims) :]}. Make them gaps: `da.where(np.isfinite(da))`."
        )
    if lattice.errors is not None:
        check_errors(values, lattice.errors)
    if valid is None and lattice.time.size > 1 and values.dtype.kind == "f":
        never = float(np.mean(np.isnan(values).all(axis=-3)))
        if never > 0:
            warnings.warn(
                f"{never:.1%} of the cells are never observed, and `valid=` is not given: they will be filled. If they "
                f"are land, type `valid=da.notnull().any({str(layout.roles.time)!r})`; if they are gaps, `valid=True`.",
                XgpfillWarning,
                stacklevel=5,
            )


def check_errors(values: Any, errors: Any) -> None:
    """Standard errors must be positive and known wherever there is an observation.

    Raises
    ------
    NoiseError
    """
    observed = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
    known = np.broadcast_to(errors, values.shape)
    bad = observed & ~(np.isfinite(known) & (known > 0))
    if bad.any():
        raise NoiseError(
            f"`noise` (standard errors) is missing, zero or negative at {int(bad.sum())} observed cell(s). Give a "
            f"positive one for every observation, or hide these: `da.where(noise > 0)`."
        )
