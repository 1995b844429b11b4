"""From a DataArray to its description: encode, read once, measure. Texts are in :mod:`xgpfill.description.text`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.description.advice import problems, suggestions
from xgpfill.description.axes import described_axes, memory_in_words
from xgpfill.description.figures import Description, Gaps
from xgpfill.description.survey import Survey, survey
from xgpfill.errors import CoordinateError, DataError
from xgpfill.grid.companions import as_mask
from xgpfill.grid.dims import find_roles
from xgpfill.grid.encode import Dims, encode
from xgpfill.grid.gaps import cell_areas, patches, runs, step_widths
from xgpfill.grid.vertical.axis import vertical_of
from xgpfill.words import written

if TYPE_CHECKING:
    from xgpfill.grid.encode import Layout
    from xgpfill.grid.lattice import Lattice

MAX_CELLS = 50_000_000
"""The most cells that are read when nothing is said: a minute at most, and 50 MB for where they are observed."""


def describe(
    da: xr.DataArray, *, dims: Dims = None, valid: xr.DataArray | bool | None = None, max_cells: int = MAX_CELLS
) -> Description:
    """What a gappy field is; see :meth:`xgpfill.accessor.DataArrayAccessor.describe`."""
    if isinstance(max_cells, bool) or not isinstance(max_cells, (int, np.integer)) or max_cells < 1:
        raise DataError(f"max_cells={max_cells!r}: expected a positive integer, e.g. `describe(max_cells=10_000_000)`.")
    lattice, layout, refused = _encoded(da, dims, valid)
    everywhere = isinstance(valid, (bool, np.bool_)) and bool(valid)
    found = survey(lattice, everywhere=everywhere, max_cells=int(max_cells))
    gaps, counted = found.gaps, found.counted
    shares = _shares(gaps, counted, layout, found)
    never = float(found.never.sum()) / max(1, found.never.size)
    whole = found.steps.size == lattice.shape[0]
    areas = _patches(gaps, lattice, layout, found)
    attrs, depth = da.attrs, (vertical_of(da, dims) or (None,))[0]
    return Description(
        name=str(da.name) if da.name is not None else "field",
        long_name=str(attrs.get("long_name") or attrs.get("standard_name") or "").replace("_", " "),
        units=str(attrs.get("units", "")),
        dtype=str(da.dtype),
        axes=described_axes(da, layout, lattice, depth),
        geometry=lattice.space.geometry,
        cells=int(da.size),
        steps_read=int(found.steps.size),
        steps=int(lattice.shape[0]),
        missing_share=(found.observed.size - found.values.count) / max(1, found.observed.size),
        gap_share=_ratio(gaps.sum(), counted.sum()),
        never_share=never,
        counted_all=lattice.valid is not None or everywhere or not found.observed.any() or lattice.shape[0] == 1,
        over_time=shares[0],
        over_space=shares[1],
        patches=areas[0],
        areas=areas[1],
        durations=_durations(gaps, lattice) if whole and layout.roles.time is not None else None,
        values=found.values,
        memory=memory_in_words(da),
        problems=problems(layout, found, never, refused, told=valid is not None),
        suggestions=suggestions(layout, lattice, found, never, told=valid is not None, depth=depth),
    )  # fmt: skip


def _encoded(da: xr.DataArray, dims: Dims, valid: Any) -> tuple[Lattice, Layout, str]:
    """Lattice and layout; where coordinates are refused, those of the indices, with the reason."""
    valid = as_mask(valid)
    where = True if valid is None else valid
    dims = _of_each_level(da, dims)
    try:
        return *encode(da, dims=dims, valid=where, check=False), ""
    except CoordinateError as error:
        known = find_roles(da, dims).by_role
        bare = da.drop_vars(list(da.coords))
        if isinstance(valid, xr.DataArray):
            where = valid.drop_vars(list(valid.coords))
        return *encode(bare, dims=known, valid=where, check=False), str(error)


def _of_each_level(da: xr.DataArray, dims: Dims) -> Dims:
    """The dimensions of one level where depth is among them: levels are described as fields of their own."""
    vertical = vertical_of(da, dims)
    return dims if vertical is None or not len(vertical[1]) else vertical[1]


def _ratio(part: Any, whole: Any) -> float:
    return float(part) / float(whole) if whole else float("nan")


def _shares(gaps: Any, counted: Any, layout: Layout, found: Survey) -> tuple[Any, Any]:
    """Gap share of every step and of every place, as DataArrays on the data's own coordinates."""
    roles, template = layout.roles, layout.template
    over_time = over_space = None
    if roles.time is not None:
        of_step = _divided(gaps.sum(axis=(0, 2, 3)), counted.sum(axis=(0, 2, 3)))
        over_time = _with_coords(template, (roles.time,), of_step, {roles.time: found.steps})
    if roles.space:
        share = _divided(gaps.sum(axis=(0, 1)), counted.sum(axis=(0, 1)))
        place = tuple(slice(None) if d is not None else 0 for d in (roles.y_dim, roles.x_dim))
        over_space = _with_coords(template, roles.space, share[place], {})
    return over_time, over_space


def _divided(part: Any, whole: Any) -> Any:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)


def _with_coords(template: xr.DataArray, dims: tuple[Any, ...], values: Any, steps: dict[Any, Any]) -> xr.DataArray:
    coords = {n: c.variable for n, c in template.coords.items() if set(c.dims) <= set(dims) and c.dims}
    like = (
        xr.Dataset(coords=coords).isel(steps) if coords and set(steps) <= set(xr.Dataset(coords=coords).dims) else None
    )
    out = xr.DataArray(values, dims=dims, coords=None if like is None else like.coords)
    out.attrs = {"long_name": "share of gaps", "units": "1"}
    return out


def _patches(gaps: Any, lattice: Lattice, layout: Layout, found: Survey) -> tuple[Gaps | None, Gaps | None]:
    """Connected gaps of the frames of a grid."""
    if not lattice.space.is_grid or lattice.space.size < 2:
        return None, None
    flat = gaps.reshape(-1, *lattice.space.shape)
    area = cell_areas(lattice.space)
    cells, areas, frame = patches(
        lambda s: flat[s], len(flat), area, shape=lattice.space.shape, wraps=lattice.space.wraps
    )
    dates = None if layout.roles.time is None else layout.template[layout.roles.time].values[found.steps]

    def date(sizes: Any) -> str:
        return "" if dates is None or not sizes.size else f"on {written(dates[frame[sizes.argmax()] % dates.size])}"

    return Gaps.of(cells, "cells", date(cells)), Gaps.of(areas, "km²", date(areas))


def _durations(gaps: Any, lattice: Lattice) -> Gaps | None:
    """Unbroken gaps of every place in time."""
    widths = step_widths(lattice.time)
    flat = gaps.reshape(*gaps.shape[:2], -1)
    found = [
        runs(lambda s, member=member: member[:, s], flat.shape[-1], widths)  # type: ignore[misc]
        for member in flat
    ]
    days, cut = (np.concatenate([f[i] for f in found]) for i in (0, 1))
    return Gaps.of(days, "days", f"{int(cut.sum())} cut off by an end of the series" if cut.any() else "")
