"""Which frame of a field is drawn: of which level, at which step of time. It is drawn elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.cf.dates import typed_dates
from xgpfill.checks import checked_sel
from xgpfill.errors import DimensionError, XgpfillError, listed, shown
from xgpfill.layout.dims import roles_if_told
from xgpfill.plotting.cells.layout import sites_of
from xgpfill.plotting.cells.place import first_label
from xgpfill.words import place_in_order, written

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence


def selected(field: xr.DataArray, sel: Mapping[Hashable, Any] | None) -> xr.DataArray:
    """The field at labels (indices where there are none) of dimensions that it has.

    Raises
    ------
    DimensionError
        When a label is not there.
    """
    wanted = checked_sel(sel)
    here = {name: value for name, value in wanted.items() if name in field.dims}
    try:
        return field.sel(here)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DimensionError(
            f"sel={shown(wanted)}: {shown(error, 120)}. Give labels that are there, e.g. those of "
            f"`reconstruction.mean[{next(iter(here))!r}]`."
        ) from None


def require_named(sel: Mapping[Hashable, Any] | None, *fields: xr.DataArray) -> None:
    """Refuse names in `sel` that no field has as a dimension or a coordinate: they would be ignored.

    Raises
    ------
    DimensionError
    """
    known = {name for field in fields for name in (*field.dims, *field.coords)}
    strange = [name for name in checked_sel(sel) if name not in known]
    if strange:
        raise DimensionError(
            f"sel={shown(dict(sel or {}))}: there is no {strange[0]!r}. Choose among the dimensions "
            f"{listed(fields[0].dims)}."
        )


def frame_dim(field: xr.DataArray) -> Hashable | None:
    """The dimension of time, where there are more than the two of a map, or the one of a list of places."""
    roles = roles_if_told(field)
    if roles is None:
        return field.dims[0] if field.ndim == 3 else None
    return roles.time if field.ndim > (2 if sites_of(field) is None else 1) else None


def require_one_field(field: xr.DataArray, call: str, owner: str = "reconstruction") -> None:
    """Refuse several independent fields, levels or members, where one is drawn.

    Raises
    ------
    DimensionError
    """
    roles = roles_if_told(field)
    if roles is None or not roles.extra:
        return
    firsts = {str(dim): first_label(field, dim) for dim in roles.extra}
    raise DimensionError(
        f"There is one field for each {listed(roles.extra)}, and a picture is of one. Choose it: "
        f"`{owner}.plot.{call}(sel={firsts!r})`."
    )


def step_at(field: xr.DataArray, dim: Hashable, time: Any) -> tuple[int, str]:
    """The step that a time means, and its title: its own label, and what was asked for where that is another.

    It is the nearest one, no farther beyond the ends than half a step, or the first within a month or year; an index
    where steps have no labels.

    Raises
    ------
    DimensionError
        When there is no such step.
    """
    if dim not in field.indexes:
        step = _index(field, dim, time)
        return step, place_in_order(field, dim, step)
    try:
        found = _within(field, dim, time)
        step = found[0] if found else _nearest(field, dim, time)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        times = field.indexes[dim]
        raise DimensionError(
            f"time={shown(time)}: the steps of {dim!r} run from {times[0]} to {times[-1]}. Give one of their kind, "
            f"e.g. `time={str(times[0])!r}`."
        ) from None
    title = place_in_order(field, dim, step)
    if len(found) == 1:
        return step, title
    asked = time if isinstance(time, str) else written(np.asarray(time, field[dim].dtype)[()])
    return step, f"{title}, {f'first of {len(found)} steps in' if found else 'nearest to'} {asked}"


def _index(field: xr.DataArray, dim: Hashable, time: Any) -> int:
    """A step that is given by its number."""
    count = field.sizes[dim]
    if isinstance(time, bool) or not isinstance(time, int | np.integer) or not -count <= time < count:
        raise DimensionError(
            f"time={shown(time)}: the {count} steps of {dim!r} have no labels. Give an index, e.g. `time=0`."
        )
    return int(time) % count


def _steps(field: xr.DataArray, dim: Hashable) -> xr.DataArray:
    """The steps by their labels."""
    times = field.indexes[dim]
    return xr.DataArray(np.arange(times.size), coords={dim: times}, dims=(dim,))


def _within(field: xr.DataArray, dim: Hashable, time: Any) -> list[int]:
    """The steps that a label says, which may be a month or a year in text."""
    try:
        found = _steps(field, dim).sel({dim: time}).values
    except (KeyError, TypeError, ValueError):
        return []
    return [int(step) for step in np.ravel(found)]


def _nearest(field: xr.DataArray, dim: Hashable, time: Any) -> int:
    """The step nearest to a time, no farther beyond the ends than half a step.

    Raises
    ------
    KeyError
        When it lies beyond them.
    """
    ordered = field.indexes[dim].sort_values()
    at = typed_dates(np.asarray(time), field[dim])[()] if ordered.dtype.kind in "MO" else time
    half = np.median(np.diff(ordered)) / 2 if ordered.size > 1 else 0 * (ordered[0] - ordered[0])
    if not ordered[0] - half <= at <= ordered[-1] + half:
        raise KeyError(time)
    return int(_steps(field, dim).sel({dim: at}, method="nearest"))


def refuse_others(options: Mapping[str, Any], known: Sequence[str], field: xr.DataArray, call: str) -> None:
    """Refuse arguments that a picture does not take, with the call that works.

    Parameters
    ----------
    options, known : what was given, and the names of what may be.
    field : DataArray
        What the picture is of.
    call : str
        Name of the picture.

    Raises
    ------
    DimensionError
        When one is named as a dimension or coordinate of the field.
    XgpfillError
        When it is anything else.
    """
    name = next((name for name in options if name not in known), None)
    if name is None:
        return
    roles, taken = roles_if_told(field), f"`{name}=` is no argument of `reconstruction.plot.{call}`"
    time = None if roles is None else roles.time
    if name in ("time", time) and time in field.dims:
        raise DimensionError(f"{taken}. {_instead_of_time(field, time, options[name], call)}")
    if name not in (field.coords if call == "series" else field.dims):
        raise XgpfillError(f"{taken}, which takes {listed(dict.fromkeys(known))}.")
    if call != "series" and roles is not None and name in roles.space:
        raise DimensionError(f"{taken}, which shows all of {name!r}. {_cut(field, name, call)}")
    label = options[name]
    if name in field.indexes and not _within(field, name, label) and call != "series":
        label = first_label(field, name)
    raise DimensionError(f"{taken}. Choose with `sel=`: `reconstruction.plot.{call}(sel={{{name!r}: {label!r}}})`.")


def _instead_of_time(field: xr.DataArray, dim: Hashable, time: Any, call: str) -> str:
    """How to choose along time where a picture has no `time=`."""
    if call == "series":
        return f"It is drawn along all of {dim!r}. {_cut(field, dim, call)}"
    if call != "facets":
        return f"Choose with `time=`: `reconstruction.plot.{call}(time={time!r})`."
    try:
        steps = [step_at(field, dim, one)[0] for one in np.atleast_1d(time)]
    except DimensionError:
        steps = [0]
    label = str(field.indexes[dim][steps[0]]) if dim in field.indexes else steps[0]
    return (
        f"One step is `reconstruction.plot.map(time={label!r})`; of several give the numbers, "
        f"`reconstruction.plot.facets(steps={steps})`."
    )


def _cut(field: xr.DataArray, dim: Hashable, call: str) -> str:
    """How to draw a part of a field."""
    if dim not in field.indexes:
        return f"For a part of it cut first: `reconstruction.isel({dim}=slice(0, {field.sizes[dim]})).plot.{call}()`."
    ends = (label.item() if isinstance(label, np.generic) else label for label in field.indexes[dim][[0, -1]])
    first, last = (end if isinstance(end, int | float) else str(end) for end in ends)
    return f"For a part of it cut first: `reconstruction.sel({dim}=slice({first!r}, {last!r})).plot.{call}()`."
