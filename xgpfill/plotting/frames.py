"""Several frames of one field beside each other, under one colour bar. Single frames are in the module of maps."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from xgpfill.errors import DimensionError, listed, shown
from xgpfill.layout.dims import roles_if_told
from xgpfill.plotting.cells.layout import sites_of, to_sheet
from xgpfill.plotting.cells.sheet import Sheet, limits, load_together, on_cells_of
from xgpfill.plotting.drawing.panels import FIELD_COLOURS, add_bar, draw, hide_inner_labels, panels
from xgpfill.words import label_of, place_in_order

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    import xarray as xr
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

MOST_FRAMES = 12
FRAME_WIDTH = 2.9  # inches


def facets(
    field: xr.DataArray,
    *,
    dim: Hashable | None = None,
    steps: int | Sequence[int] | None = None,
    columns: int | None = None,
    valid: xr.DataArray | None = None,
    cmap: str | Colormap | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    label: str | None = None,
    title: str | None = None,
    hatched: bool = False,
) -> Figure:
    """Draw several frames of one field, each under its date, with the same colours and one bar.

    Parameters
    ----------
    field : DataArray
        Three dimensions in any order, or two for a list of places, which are drawn as dots. When lazy, only the frames
        that are drawn are computed, together.
    dim : name, optional
        The dimension along which frames follow each other; by default time, else the one that is not of space.
    steps : int or sequence of int, optional
        How many frames, evenly spaced from the first to the last, or which ones, counted from 0 (negative ones
        from the end). By default all of them, or 12 when there are more; the title says which.
    columns : int, optional
        Panels in a row; by default nearly a square, at most 4.
    valid : DataArray of bool, optional
        True where the field exists, for all frames or for each. The rest is shaded.
    cmap : name or Colormap, optional
        Default viridis.
    vmin, vmax : float, optional
        Limits of the colours in the units of `field`; by default those of the frames that are drawn.
    label : str, optional
        Of the colour bar; by default the name and units in the attributes of `field`.
    title : str, optional
        Default: which frames these are, when they are not all. An empty one writes nothing.
    hatched : bool
        Hatch the gaps, where the field exists and has no value.

    Returns
    -------
    matplotlib.figure.Figure
        Made by pyplot; close it with `plt.close(figure)` when you draw many.

    Raises
    ------
    DimensionError
        When `field` has more or fewer dimensions than that, `dim` cannot be told, or a step is not there.
    AlignmentError
        When `valid` lies on other cells.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> from xgpfill.datasets import synthetic_sst
    >>> cube = synthetic_sst(days=20)
    >>> figure = facets(cube.sst, valid=cube.valid, steps=4)
    >>> [ax.get_title() for ax in figure.axes if ax.get_title()]
    ['2021-04-15', '2021-04-21', '2021-04-28', '2021-05-04']
    >>> figure.get_suptitle()
    '4 of 20 frames, evenly spaced in time'
    """
    dim = _frame_dim(field, dim)
    chosen = _chosen(field.sizes[dim], steps, dim)
    sheets = _sheets(field, dim, chosen, valid)
    columns = _checked_columns(columns, len(chosen))
    figure, axes = panels(sheets[0], math.ceil(len(chosen) / columns), columns, width=FRAME_WIDTH, bars=False)
    lowest, highest = limits(*(sheet.values for sheet in sheets))
    within = (lowest if vmin is None else vmin, highest if vmax is None else vmax)
    for sheet, ax, step in zip(sheets, axes, chosen, strict=False):
        mesh = draw(sheet, ax, cmap or FIELD_COLOURS, within, hatched=hatched)
        ax.set_title(place_in_order(field, dim, step), fontsize="medium")
    for unused in axes[len(chosen) :]:
        unused.remove()
    axes = axes[: len(chosen)]
    hide_inner_labels(axes, columns)
    add_bar(mesh, axes, [sheet.values for sheet in sheets], label or label_of(field))
    if heading := _which(field, dim, chosen, steps) if title is None else title:
        figure.suptitle(heading)
    return figure


def _frame_dim(field: xr.DataArray, dim: Hashable | None) -> Hashable:
    """Find the dimension along which frames follow each other."""
    if dim is not None and dim not in field.dims:
        raise DimensionError(
            f"Dimension {dim!r} is not in the field, whose dimensions are {listed(field.dims)}. "
            f"Name the one along which frames follow each other, e.g. `facets(field, dim={field.dims[0]!r})`."
            if field.ndim
            else f"Dimension {dim!r} is not in the field, which has none."
        )
    sites = sites_of(field)
    if sites is not None and field.ndim == 2:
        return next(d for d in field.dims if d != sites.dim) if dim is None else dim
    if field.ndim != 3:
        cure = "Draw it with `field_map(field)`." if field.ndim == 2 else "Choose one, e.g. `field.isel(level=0)`."
        raise DimensionError(
            f"Frames need three dimensions; this field has {field.ndim}: {tuple(field.dims)}."
            f"{f' {cure}' if field.ndim > 1 else ''}"
        )
    if dim is not None:
        return dim
    roles = roles_if_told(field)
    rest = [] if roles is None else [d for d in field.dims if d not in roles.space]
    if len(rest) == 1:
        return rest[0]
    if roles is not None and roles.time is not None:
        return roles.time
    raise DimensionError(
        f"Cannot tell along which of {tuple(field.dims)} the frames follow each other. "
        f"Say it, e.g. `facets(field, dim={field.dims[0]!r})`."
    )


def _chosen(count: int, steps: int | Sequence[int] | None, dim: Hashable) -> list[int]:
    """Count the steps to draw from the first, in the order asked for."""
    if steps is None or isinstance(steps, int | np.integer):
        wanted = MOST_FRAMES if steps is None else int(steps)
        if wanted < 1 or isinstance(steps, bool):
            raise DimensionError(f"steps={steps!r}: expected how many frames to draw, e.g. `facets(field, steps=9)`.")
        return [int(step) for step in np.linspace(0, count - 1, min(wanted, count)).round()]
    listable = not isinstance(steps, str) and isinstance(steps, Iterable)
    if not listable or any(isinstance(step, bool) or not isinstance(step, int | np.integer) for step in steps):
        raise DimensionError(
            f"steps={shown(steps)}: expected how many frames to draw, or which, e.g. `facets(field, steps=[0, 5])`."
        )
    found = [int(step) for step in steps]
    outside = [step for step in found if not -count <= step < count]
    if outside or not found:
        raise DimensionError(
            f"steps={list(steps)!r}: {dim!r} has {count} steps, counted from 0. "
            f"Name at least one that is there, e.g. `facets(field, steps=[0, {count - 1}])`."
        )
    return [step % count for step in found]


def _sheets(field: xr.DataArray, dim: Hashable, chosen: list[int], valid: xr.DataArray | None) -> list[Sheet]:
    """Lay out the chosen frames; nothing else is computed."""
    if valid is not None and dim in valid.dims:
        valid = on_cells_of(field, valid, "`valid`").isel({dim: chosen})
    asked = [field.isel({dim: chosen})] + ([] if valid is None else [valid])
    frames, *masks = load_together(*asked)
    mask = masks[0] if masks else None
    return [
        to_sheet(frames.isel({dim: i}), mask.isel({dim: i}) if mask is not None and dim in mask.dims else mask)
        for i in range(len(chosen))
    ]


def _checked_columns(columns: int | None, count: int) -> int:
    if columns is None:
        return min(4, math.ceil(math.sqrt(count)))
    if isinstance(columns, bool) or not isinstance(columns, int | np.integer) or columns < 1:
        raise DimensionError(f"columns={shown(columns)}: expected at least one panel in a row, e.g. `columns=3`.")
    return min(columns, count)


def _which(field: xr.DataArray, dim: Hashable, chosen: list[int], steps: int | Sequence[int] | None) -> str:
    """Say which frames are drawn when they are not all of them."""
    count = field.sizes[dim]
    if len(chosen) == count:
        return ""
    spaced = f", evenly spaced in {dim}" if steps is None or isinstance(steps, int | np.integer) else ""
    return f"{len(chosen)} of {count} frames{spaced}"
