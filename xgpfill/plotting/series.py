"""The filled field over time at one place: mean, bands of its uncertainty, observations, truth and draws."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.checks import require_array
from xgpfill.errors import DataError, DimensionError, XgpfillError, listed, shown
from xgpfill.plotting.cells.place import at_place, find_place, place_name
from xgpfill.plotting.cells.sheet import load_together, on_cells_of
from xgpfill.plotting.drawing.ink import ink, on_paper, pencil
from xgpfill.plotting.drawing.paper import new_panels
from xgpfill.plotting.drawing.time import TimeAxis, time_dim
from xgpfill.words import label_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    import xarray as xr
    from matplotlib.axes import Axes

    from xgpfill.plotting.cells.edges import Array

MEAN_COLOURS = ("#1f4e79", "#b5d8f7")
TRUTH_COLOURS = ("#c1440e", "#ff9d5c")
BAND_COLOURS = (("#d6e4f1", "#17293a"), ("#8fb7db", "#2f5f8c"))
"""Of the widest and of the narrowest band; all on light and on dark paper."""


def series(
    reconstruction: Any = None,
    *,
    mean: xr.DataArray | None = None,
    variance: xr.DataArray | None = None,
    observed: xr.DataArray | None = None,
    truth: xr.DataArray | None = None,
    draws: xr.DataArray | None = None,
    sel: Mapping[Hashable, Any] | None = None,
    dim: Hashable | None = None,
    sigmas: Sequence[float] = (1, 2, 3),
    ax: Axes | None = None,
) -> Axes:
    """Draw the filled field over time at one place, with bands of so many standard deviations.

    Parameters
    ----------
    reconstruction : object with `mean` and `variance`, optional
        What `model.reconstruct()` gives; its `observed` values are drawn too. Or give `mean=` and `variance=`.
    mean, variance : DataArray, optional
        Posterior mean, and its variance in units² whose attribute ``variance_kind`` says what the bands show.
    observed, truth : DataArray, optional
        Observations (dots) and truth (a line), on the cells of the mean or already at the place; at any times.
    draws : DataArray (sample, ...), optional
        Coherent draws, e.g. `model.sample(5)`: thin lines.
    sel : mapping, optional
        The place, e.g. ``{"lat": 39.9, "lon": 3.5}``: the nearest cell, across the date line too. Other dimensions
        by label (``{"station": "Palma"}``), or by index where they have no labels. Not needed without space.
    dim : name, optional
        The dimension of time, where its name and coordinate do not tell; or that of places along a line.
    sigmas : sequence of float
        Half-widths of the bands, in standard deviations; an empty one draws none.
    ax : matplotlib Axes, optional
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DimensionError
        When the field has no time, or `sel` leaves more than time.
    DataError
        When the field has no values at that place.
    AlignmentError
        When another field lies on other cells, or its dates are of another calendar.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> from xgpfill.datasets import synthetic_sst
    >>> cube = synthetic_sst(days=10)
    >>> ax = series(mean=cube.truth, variance=0.04 + 0 * cube.truth, observed=cube.sst, sel={"lat": 40, "lon": 6})
    >>> ax.get_title()
    '40.114°N, 6.128°E'
    """
    fields = _fields(reconstruction, mean, variance, observed, truth, draws)
    widths = _checked_sigmas(sigmas)
    time = time_dim(fields.mean, dim)
    place = find_place(fields.mean, sel, time)
    named = {name: field for name, field in vars(fields).items() if field is not None}
    kept = {"draws": (time, "sample")}
    cut = [at_place(fields.mean, f, place, kept.get(name, (time,)), name) for name, f in named.items()]
    found = _Fields(**dict(zip(named, load_together(*cut), strict=True)))
    if not np.isfinite(found.mean.values).any():
        raise DataError(
            f"The field has no values at {place_name(found.mean) or 'this place'}: it does not exist there (`valid`). "
            f"Choose another place, e.g. `sel={{'lat': ..., 'lon': ...}}`."
        )
    if ax is None:
        (ax,) = new_panels(1, 1, (8.0, 3.6))[1]
    _draw_all(found, TimeAxis.of(found.mean, time), widths, ax)
    ax.set_title(place_name(found.mean))
    ax.set_ylabel(label_of(found.mean))
    ax.legend(fontsize="small", loc="best", framealpha=0.85)
    return ax


@dataclass(frozen=True)
class _Fields:
    mean: xr.DataArray
    variance: xr.DataArray | None = None
    observed: xr.DataArray | None = None
    truth: xr.DataArray | None = None
    draws: xr.DataArray | None = None


def _fields(
    reconstruction: Any,
    mean: xr.DataArray | None,
    variance: xr.DataArray | None,
    observed: xr.DataArray | None,
    truth: xr.DataArray | None,
    draws: xr.DataArray | None,
) -> _Fields:
    """What was given, one by one or as a reconstruction."""
    if reconstruction is not None:
        mean = getattr(reconstruction, "mean", None) if mean is None else mean
        variance = getattr(reconstruction, "variance", None) if variance is None else variance
        observed = getattr(reconstruction, "observed", None) if observed is None else observed
    if mean is None or not hasattr(mean, "dims") or hasattr(mean, "data_vars"):
        found = "nothing" if mean is None else f"a {type(mean).__name__} as its mean"
        raise XgpfillError(
            f"A series needs the mean of one field as a DataArray; it got {found}. Type "
            f"`series(model.reconstruct())` or `series(mean=mean, variance=variance)`; with several variables choose "
            f"one, e.g. `mean=mean['sst']`."
        )
    for name, field in {"variance": variance, "observed": observed, "truth": truth, "draws": draws}.items():
        if field is not None:
            require_array(field, name)
    if draws is not None and "sample" not in draws.dims:
        raise DimensionError(
            f"`draws` has the dimensions {listed(draws.dims)}; expected 'sample' among them, as "
            f"`model.sample(5)` gives. Make it, e.g. `draws.expand_dims('sample')`."
        )
    return _Fields(mean, variance, observed, truth, draws)


def _checked_sigmas(sigmas: Sequence[float]) -> list[float]:
    """Half-widths of the bands, widest first."""
    widths = list(sigmas) if isinstance(sigmas, Iterable) else [sigmas]
    if any(not isinstance(width, Real) or not 0 < float(width) < float("inf") for width in widths):
        raise XgpfillError(
            f"sigmas={shown(tuple(widths))}: expected positive numbers of standard deviations, e.g. `sigmas=(1, 2, 3)`."
        )
    return sorted((float(width) for width in widths), reverse=True)


def _draw_all(found: _Fields, axis: TimeAxis, widths: list[float], ax: Axes) -> None:
    """Draw from the widest band to the observations on top."""
    at, mean = axis.positions(found.mean), found.mean.values.astype(float)
    if found.variance is not None:
        _draw_bands(ax, at, mean, on_cells_of(found.mean, found.variance, "`variance`"), widths)
    if found.draws is not None:
        _draw_draws(ax, axis, found.draws)
    ax.plot(at, mean, color=on_paper(ax, *MEAN_COLOURS), linewidth=1.6, label="mean", zorder=4, **_single(at))
    if found.truth is not None:
        moments = axis.positions(found.truth)
        options = _single(moments)
        colour = on_paper(ax, *TRUTH_COLOURS)
        ax.plot(moments, found.truth.values, color=colour, linewidth=1.2, label="truth", zorder=5, **options)
    if found.observed is not None:
        moments, values = axis.positions(found.observed), found.observed.values
        seen = np.isfinite(values.astype(float))
        size = 4.0 if seen.sum() <= 200 else 2.0
        ax.plot(
            moments[seen], values[seen], "o", color=ink(ax), markersize=size, label="observed", zorder=6
        )  # fmt: skip
    ax.margins(x=0.01)
    axis.write(ax)


def _draw_bands(ax: Axes, at: Array, mean: Array, variance: xr.DataArray, widths: list[float]) -> None:
    """Shade mean ± k·sd for every k, darker where bands lie upon each other."""
    std = np.sqrt(np.maximum(variance.values.astype(float), 0.0))
    kind = variance.attrs.get("variance_kind", "")
    for colour, width in zip(_shades(len(widths), ax), widths, strict=True):
        label = f"±{width:g} sd{f' ({kind})' if kind else ''}"
        low, high = mean - width * std, mean + width * std
        ax.fill_between(at, low, high, color=colour, linewidth=0, label=label, zorder=2)


def _shades(count: int, ax: Axes) -> list[Any]:
    """Opaque colours from faint to strong, so that the legend shows what is seen."""
    from matplotlib.colors import LinearSegmentedColormap

    between = LinearSegmentedColormap.from_list("bands", [on_paper(ax, *pair) for pair in BAND_COLOURS])
    return [between(1.0 if count == 1 else i / (count - 1)) for i in range(count)]


def _draw_draws(ax: Axes, axis: TimeAxis, draws: xr.DataArray) -> None:
    draws = draws.transpose("sample", axis.dim)
    at = axis.positions(draws)
    for i, draw in enumerate(draws.values):
        label = f"{draws.sizes['sample']} draws" if i == 0 else None
        ax.plot(at, draw, color=pencil(ax), linewidth=0.6, alpha=0.8, label=label, zorder=3)


def _single(at: Array) -> dict[str, Any]:
    """One moment makes no line: mark it."""
    return {"marker": "s", "markersize": 5} if at.size == 1 else {}
