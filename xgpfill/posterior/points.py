"""The posterior elsewhere: other times, places, points."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.cf.conventions import mapping_names, origin, placing, settled
from xgpfill.cf.dates import typed_dates
from xgpfill.cf.names import LAT_NAMES, LON_NAMES, TIME_NAMES, role_of_name
from xgpfill.cf.places import still
from xgpfill.errors import AlignmentError, MethodError, TooManyPointsError, listed, shown
from xgpfill.layout.axes import require_numeric
from xgpfill.layout.companions import as_mask
from xgpfill.layout.targets import broadcast, points_at
from xgpfill.options import show_progress
from xgpfill.posterior.amplitude import noise_at
from xgpfill.posterior.targets import TargetAverager, tile_of_targets
from xgpfill.results.attributes import dtype_of, mean_attrs, positions_of, suffixed, variance_attrs
from xgpfill.results.estimate import Context
from xgpfill.results.nearness import Nearness
from xgpfill.results.reconstruction import Reconstruction
from xgpfill.settings import MAX_JOINT_TARGETS
from xgpfill.tiling.assemble import (
    blended_points,
    lazy_points,
    node_of,
    seen_by_tiles,
)

if TYPE_CHECKING:
    from xgpfill.grid.points import Points
    from xgpfill.layout.encode import Layout
    from xgpfill.posterior.state import State


@dataclass(frozen=True)
class Target:
    """Where to predict: points in canonical order, and the shape and coordinates of the answer.

    Attributes
    ----------
    points : Points
    cells : int array (n, 3)
        Nearest lattice cell (time, y, x) of each, which decides how tiles are blended there.
    dims : tuple of names
    shape : tuple of int
    coords : dict
    """

    points: Points
    cells: np.ndarray[Any, np.dtype[np.intp]]
    dims: tuple[Hashable, ...]
    shape: tuple[int, ...]
    coords: dict[Hashable, Any]


def read_target(state: State, target: Any) -> Target:
    """Read coordinates named as those of the data; what is missing is as in the data.

    Raises
    ------
    AlignmentError
        When the target holds nothing that was fitted, or only one of the two coordinates of space; for dates where the
        data have none.
    CoordinateError
        When a coordinate is no number, no date, or out of range.
    """
    layout = state.layout
    roles = layout.roles
    given = {name: _coordinate(target, name, layout) for name in roles.coordinates.values()}
    _require_known(target, given, layout)
    if not any(c is not None for c in given.values()):
        raise AlignmentError(
            f"The target has none of the coordinates {listed(given)}. Give e.g. "
            f"`model.predict({{{', '.join(f'{str(n)!r}: [...]' for n in given)}}})`."
        )
    own = {name: c if c is not None else _own_coordinate(layout, name) for name, c in given.items()}
    _check_space_pair(given, own, roles)
    for name in own.keys() - {roles.clock}:
        require_numeric(own[name].values, name)
    arrays = broadcast(own)
    by_name = dict(zip(own, arrays, strict=True))
    shape, dims = arrays[0].shape, arrays[0].dims
    points = points_at(layout, by_name, own)
    coords: dict[Hashable, Any] = {}
    for c in own.values():
        coords.update(c.coords)
        if c.name is not None:
            coords[c.name] = c
    if roles.component is not None and not roles.layered:
        dims, shape = (roles.component, *dims), (layout.components, *shape)
        coords[roles.component] = layout.template.coords[roles.component]
    return Target(points, _nearest_cells(state, points), dims, shape, coords)


def _coordinate(target: Any, name: Hashable, layout: Layout) -> xr.DataArray | None:
    """One coordinate of the target as a DataArray; plain arrays get a dimension of their own, dates may be text."""
    if isinstance(target, Mapping) and not isinstance(target, xr.Dataset):
        value = target.get(name)
    elif isinstance(target, (xr.Dataset, xr.DataArray)):
        variables = target.variables if isinstance(target, xr.Dataset) else target.coords
        value = target[name] if name in variables else None
    else:
        raise AlignmentError(
            f"The target is a {type(target).__name__}; expected a Dataset, DataArray or mapping of coordinates, e.g. "
            f"`model.predict({{'lat': [40.5], 'lon': [3.2]}})`."
        )
    if value is None:
        return None
    if isinstance(value, xr.DataArray):
        return _with_dates(value.rename(name), layout)
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        raise AlignmentError(
            f"Target coordinate {name!r} is {shown(value)}; expected numbers or dates, e.g. `[40.5, 41.0]`."
        ) from None
    if name == layout.roles.clock:
        array = typed_dates(array, _own_coordinate(layout, name))
    dims = () if array.ndim == 0 else (name,)
    if array.ndim > 1:
        raise AlignmentError(
            f"Target coordinate {name!r} has {array.ndim} dimensions; give a DataArray that names them, e.g. "
            f"`xr.DataArray(values, dims=('y', 'x'))`."
        )
    attrs = _own_coordinate(layout, name).attrs
    return xr.DataArray(array, dims=dims, coords={name: (dims, array, attrs)}, name=name, attrs=attrs)


def _require_known(target: Any, given: dict[Hashable, Any], layout: Layout) -> None:
    """Refuse a coordinate by another name than that of the data, and one that was not fitted: they would be ignored."""
    roles = layout.roles
    names = roles.coordinates
    if isinstance(target, (xr.Dataset, xr.DataArray)):  # with whatever else there is beside the coordinates
        lacking = {role for role, name in names.items() if given[name] is None}
        foreign = (name for name in target.coords if name not in layout.template.dims)
        others = [name for name in foreign if _meant(name, names, SAME_WORD) in lacking]
    else:
        others = [name for name in target if name not in given]
    if not others:
        return
    name, said = others[0], f"The target has {others[0]!r}, "
    if name in roles.extra:
        raise AlignmentError(
            f"{said}a dimension of independent fields, which `predict` gives all of. Leave it out and select "
            f"afterwards, e.g. `model.predict(target).mean.sel({name}=...)`."
        )
    own = names.get(_meant(name, names, LIKE_WORD) or "")
    if own is None or given[own] is not None:
        kept = [n for n, value in given.items() if value is not None] or list(given)
        beside = f", here beside {own!r}" if own is not None else ""
        raise AlignmentError(
            f"{said}which the model was not fitted on; its coordinates are {listed(given)}{beside}. Leave it out, "
            f"`model.predict({{{', '.join(f'{str(n)!r}: ...' for n in kept)}}})`, or fit on data that have it."
        )
    raise AlignmentError(
        f"{said}but the data call it {own!r}; the coordinates of the model are {listed(given)}. Use their name, e.g. "
        f"`model.predict({{{str(own)!r}: ...}})`, or rename: `target.rename({{{name!r}: {own!r}}})`."
    )


LIKE_WORD, SAME_WORD = 0.75, 0.85
"""Share of two names that is the same (difflib's ratio) where one is a slip of the other: likely, and surely."""


def _meant(name: Hashable, names: dict[str, Any], cutoff: float) -> str | None:
    """The role that a name suggests, if need be with a slip in it."""
    if (role := role_of_name(name)) is not None:
        return role
    own = {str(known).lower(): role for role, known in names.items() if known is not None}
    close = difflib.get_close_matches(str(name).lower(), [*own, *TIME_NAMES, *LAT_NAMES, *LON_NAMES], 1, cutoff)
    return own.get(close[0], role_of_name(close[0])) if close else None


def _with_dates(coordinate: xr.DataArray, layout: Layout) -> xr.DataArray:
    """A coordinate with dates where it is text, or has text beside it: along a track all share one index."""
    time = layout.roles.clock
    if time is None:
        return coordinate
    axis = _own_coordinate(layout, time)
    if time in coordinate.coords:
        beside = coordinate.coords[time]
        given, index = beside.values, coordinate.xindexes.get_all_coords(time, errors="ignore")
        dates = typed_dates(given, axis)
        if dates is not given and len(index) > 1:
            raise AlignmentError(
                f"The target coordinate {time!r} is text in an index of several levels; expected dates there. Take the "
                f"index apart first: `target.reset_index({str(beside.dims[0])!r})`."
            )
        if dates is not given:
            coordinate = coordinate.assign_coords({time: (beside.dims, dates)})
    if coordinate.name == time:
        given = coordinate.values
        dates = typed_dates(given, axis)
        coordinate = coordinate if dates is given else coordinate.copy(data=dates)
    return coordinate


def _own_coordinate(layout: Layout, name: Hashable) -> xr.DataArray:
    template = layout.template
    if name in template.coords:
        return still(template, name)
    return xr.DataArray(np.arange(template.sizes[name], dtype=float), dims=(name,), name=name)


def _check_space_pair(given: Any, own: Any, roles: Any) -> None:
    """Latitude without longitude is meaningless when they share dimensions; on a track so is either without time."""
    if roles.scattered and (missing := [name for name, c in given.items() if c is None and own[name].ndim]):
        raise AlignmentError(
            f"The target lacks the coordinate {missing[0]!r}; the observations have coordinates each of their own, so "
            f"that all are needed: give {listed(given)}."
        )
    y, x = roles.coordinates.get("y"), roles.coordinates.get("x")
    if y is None or x is None or (given[y] is None) == (given[x] is None):
        return
    missing = y if given[y] is None else x
    if own[missing].dims not in ((), (missing,)):
        raise AlignmentError(f"The target lacks the coordinate {missing!r}; give both {y!r} and {x!r}.")


def _nearest_cells(state: State, points: Points) -> Any:
    from scipy.spatial import KDTree

    space = state.lattice.space
    if state.lattice.days is not None:  # one tile, which is not blended
        return np.broadcast_to(np.zeros(3, dtype=np.intp), (len(points), 3))
    flat = space.coordinates.reshape(space.size, -1)
    y, x = np.unravel_index(KDTree(flat).query(points.sites)[1], space.shape)
    t = KDTree(state.lattice.time[:, None]).query(points.times[:, None])[1]
    return np.stack([t[points.time_index], y[points.site_index], x[points.site_index]], axis=1)


def predict(state: State, target: Any, *, include_noise: bool, covariance: bool, valid: Any) -> Any:
    """See :meth:`FittedModel.predict`."""
    where = read_target(state, target)
    exists = None if valid is None else _existing(where, valid)
    if covariance:
        if exists is not None:
            raise AlignmentError(
                "covariance=True takes every target that is given, so `valid=` has no place there. Leave it out and "
                "give targets where the field exists."
            )
        return _joint(state, where, include_noise=include_noise)
    field, added = _moments_at(state, where), noise_at(state, where.points)
    mean = answered(state, where, field[0])
    kind, scale = "observed" if include_noise else "latent", state.scaling.reference
    variance = answered(state, where, field[1] ** 2 + (added if include_noise else 0.0), scale)
    noise = answered(state, where, added, scale).drop_attrs().reset_coords(drop=True) if np.ndim(added) else added
    variance.name = suffixed(mean.name, "variance")
    variance.attrs = variance_attrs(mean.attrs, kind, str(mean.name or "field"))
    variance.encoding = dict(mean.encoding)
    if exists is not None:
        mean, variance = (_where(exists, da) for da in (mean, variance))
    nothing = xr.full_like(mean, np.nan) if not state.lattice.is_lazy else mean * np.nan
    known: dict[str, Any] = {"positions": positions_of(mean), "intervals": state.fields_of_intervals}
    known["averager"] = TargetAverager(state, mean, where.dims, where.points, where.cells, exists, kind, added)
    known["nearness"] = Nearness(state.lattice, state.layout, where.points, where.dims, where.shape)
    return Reconstruction(mean, variance, Context(nothing, noise, kind, sources=state.sources, **known))


def _moments_at(state: State, where: Target) -> Any:
    """Mean and standard deviation at the targets, (2, extra..., n), in data units; in memory or lazy."""
    lattice, solver = state.lattice, state.solver()

    def lazily(m: tuple[int, ...], number: int) -> Any:

        node = node_of(solver.of_field(number))
        return lazy_points(node, lattice.values[m], state.errors_of(m), where.points, where.cells)

    def at_once(m: tuple[int, ...], number: int) -> Any:
        own, errors = solver.of_field(number), state.errors_of(m)
        return blended_points(own, lattice.values[m], errors, where.points, where.cells)

    if lattice.is_lazy:
        return over_points(state, lazily)
    with solver.watched(show_progress(None)):
        return over_points(state, at_once)


def _where(exists: xr.DataArray, field: xr.DataArray) -> xr.DataArray:
    """NaN where the field does not exist; the rest as it was."""
    found = field.where(exists).transpose(*field.dims).assign_attrs(field.attrs)
    found.encoding = dict(field.encoding)
    return found


def _existing(where: Target, valid: Any) -> xr.DataArray:
    """Where the field exists among the targets, without coordinates of its own.

    Raises
    ------
    AlignmentError
    """
    if not isinstance(valid, xr.DataArray):
        raise AlignmentError(
            f"`valid` is {shown(valid)}; expected a bool DataArray on dimensions of the targets, {listed(where.dims)}, "
            f"e.g. `valid=depth > 0`."
        )
    valid = as_mask(valid)
    foreign = [d for d in valid.dims if d not in where.dims]
    grid = xr.DataArray(np.empty(where.shape), dims=where.dims, coords=where.coords)
    try:
        xr.align(valid, grid, join="exact", copy=False)
    except ValueError as error:
        foreign = foreign or [str(error).splitlines()[0]]
    if foreign:
        raise AlignmentError(
            f"`valid` does not lie on the targets ({foreign[0]}): its dimensions are {listed(valid.dims)}, theirs "
            f"{listed(where.dims)}. Bring it there first, e.g. `valid.reindex_like(target, fill_value=False)`."
        )
    mask: xr.DataArray = valid.reset_coords(drop=True)
    return mask


def over_points(state: State, each: Any) -> Any:
    """Answers (2, n) of all members as (2, extra..., n)."""
    fields = [each(m, number) for number, m in enumerate(state.lattice.members())]
    if state.lattice.is_lazy:
        import dask.array as da

        stacked = da.stack(fields, axis=1)
    else:
        stacked = np.stack(fields, axis=1)
    return stacked.reshape(2, *state.lattice.extra_shape, stacked.shape[-1])


def answered(state: State, where: Target, data: Any, scale: float | None = None) -> xr.DataArray:
    """Answers (extra..., n) at targets, with their coordinates and the attributes of the data."""
    template, extra = state.layout.template, state.layout.roles.extra
    shaped = data.reshape((*state.lattice.extra_shape, *where.shape))
    coords = {d: template.coords[d] for d in extra if d in template.coords}
    coords |= {n: c for n, c in template.coords.items() if n in mapping_names(template) and not c.dims}
    shaped, dims = shaped.astype(dtype_of(template, scale)), (*extra, *where.dims)
    out = settled(xr.DataArray(shaped, dims=dims, coords={**coords, **where.coords}, name=template.name))
    out.attrs, out.encoding = template.attrs, placing(template)[1]  # of which what is not here is not mentioned
    out.attrs, out.encoding = mean_attrs(out), placing(out)[1] | origin(template)
    return out.transpose(*(d for d in template.dims if d in out.dims), ...)


def _joint(state: State, where: Target, *, include_noise: bool) -> tuple[xr.DataArray, xr.DataArray]:
    """Mean and joint covariance of up to 5,000 targets that one tile holds."""
    n = len(where.points)
    if n > MAX_JOINT_TARGETS:
        raise TooManyPointsError(
            f"covariance=True was asked for {n} targets; at most {MAX_JOINT_TARGETS} are allowed "
            f"({n * n * 8 / 2**30:.1f} GiB). Use fewer targets, or `model.sample(...)`."
        )
    if state.lattice.extra_shape:
        extra = state.layout.roles.extra
        one = ", ".join(f"{d}=0" for d in extra)
        raise MethodError(
            f"covariance=True needs one field, and there is one for each {listed(extra)}. Choose one of them: "
            f"`model.condition(da.isel({one})).predict(target, covariance=True)`."
        )
    solver = state.solver().together.of_field(0)
    if not n:
        raise AlignmentError(
            "covariance=True was asked for no target at all. Give at least one, e.g. `{'lat': [40.5]}`."
        )
    best = tile_of_targets(solver.plan, where.cells, "covariance=True")
    values, errors = np.asarray(state.lattice.values), state.errors_of(())
    posterior = solver.posterior(best, seen_by_tiles(solver, values, errors)(best))
    how = solver.amplitude(where.points), solver.scaling.mean_of(where.points)
    unit = np.broadcast_to(solver.scaling.scale * how[0], n)
    matrix = posterior.covariance(where.points) * (unit[:, None] * unit)
    errors_of_mean = solver.scaling.scale * solver.scaling.mean_errors_of(where.points)  # where they lie between levels
    matrix += errors_of_mean @ errors_of_mean.T
    mean = answered(state, where, solver.scaling.physical(posterior.moments(where.points).mean, *how))
    if include_noise:
        matrix[np.diag_indices(n)] += noise_at(state, where.points)
    joint = xr.DataArray(matrix, dims=("target", "target_other"), name=suffixed(mean.name, "covariance"))
    joint.attrs = variance_attrs(mean.attrs, "observed" if include_noise else "latent", str(mean.name or "field"))
    joint.attrs["long_name"] = joint.attrs["long_name"].replace("variance", "covariance")
    return mean, joint
