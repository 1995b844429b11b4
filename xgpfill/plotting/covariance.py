"""Pictures of priors: a learned covariance against lag, kernels and draws of them. They are evaluated elsewhere."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.errors import KernelError
from xgpfill.plotting.drawing.ink import ink, pencil
from xgpfill.plotting.drawing.panels import add_bar
from xgpfill.plotting.drawing.paper import new_panels, panels_by_lag
from xgpfill.words import bracketed, units_of, with_units

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from xgpfill.plotting.cells.edges import Array

DOMINANT = 8.0
"""One term whose variance is so many times that of another hides it on a linear axis."""
MATRIX_COLOURS = "viridis"
LEAST = 1e-4
"""Of the largest variance: what is less is not looked for."""
_AXES = {"time_covariance": ("time", "time_lag"), "space_covariance": ("space", "distance")}


def covariance(model: Any, *, axes: Sequence[Axes] | None = None) -> Figure:
    """Draw a learned covariance against time lag and against distance: in all, of each term, and the noise.

    A term's lengthscale is a dot on its curve, and stands in the legend. The noise is the step at lag zero. Where one
    term would hide another, covariances are drawn on a logarithmic axis, and the noise is a mark at its own height.

    Parameters
    ----------
    model : FittedModel or Dataset
        Or what ``model.covariance(time=..., distance=...)`` gives, for lags of your own.
    axes : sequence of matplotlib Axes, optional
        One for each panel (time, then space; only that which the model has). None makes a figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    KernelError
        When it is no covariance, or there are too few axes.

    Examples
    --------
    >>> import matplotlib, xgpfill
    >>> matplotlib.use("Agg")
    >>> ds = xgpfill.datasets.synthetic_sst(days=8, nlat=8, nlon=8)
    >>> model = ds.sst.gpfill.fit(valid=ds.valid, method="exact")
    >>> [ax.get_xlabel() for ax in covariance(model).axes]
    ['time lag [days]', 'distance [km]']
    """
    table = model.covariance() if hasattr(model, "covariance") else model
    names = [name for name in _AXES if name in getattr(table, "data_vars", ())]
    if not names:
        raise KernelError(
            f"There is no covariance to draw in a {type(model).__name__}. Give a fitted model, or "
            f"`model.covariance(time=..., distance=...)`; one learned on a single value has neither."
        )
    panels = panels_by_lag(len(names), axes)
    for ax, name in zip(panels, names, strict=False):
        _draw_covariance(ax, table, name)
    figure: Figure = panels[0].figure  # type: ignore[assignment]
    return figure


def _draw_covariance(ax: Axes, table: xr.Dataset, name: str) -> None:
    """One panel: the total, its terms with their lengthscales, and the noise at lag zero."""
    axis, lag = _AXES[name]
    field = table[name].transpose("term", lag).sortby(lag)
    lags, parts = field[lag].values, field.values
    total = parts.sum(axis=0)
    if len(parts) > 1:
        ax.plot(lags, total, color=ink(ax), linewidth=3.0, label="field", zorder=2.5)
    for i, term in enumerate(field["term"].values):
        lengths = _lengths(table, axis, i)
        unit = units_of(field[lag])
        words = f"{term}: {', '.join(f'{length:.4g}' for length in lengths)} {unit}" if lengths else str(term)
        (line,) = ax.plot(lags, parts[i], linewidth=1.3, label=words, zorder=3)
        seen = [length for length in lengths if lags[0] <= length <= lags[-1]]
        ax.plot(seen, np.interp(seen, lags, parts[i]), "o", color=line.get_color(), markersize=5, zorder=5)
    noise = float(table["noise"]) if "noise" in table else math.nan
    hidden = _is_hidden(parts[:, 0])
    if np.isfinite(noise) and lags[0] == 0.0:
        _draw_noise(ax, noise, 0.0 if hidden else float(total[0]), units_of(table[name]))
    if hidden:
        _use_logarithms(ax, parts, noise)
    else:
        ax.axhline(0.0, color=pencil(ax), linewidth=0.6, zorder=1)
    ax.set_xlim(0.0, max(float(lags[-1]), np.finfo(float).tiny * 1e10))
    ax.set_xlabel(bracketed(lag.replace("_", " "), units_of(field[lag])))
    ax.set_ylabel(bracketed("covariance", units_of(field)))
    ax.legend(fontsize="small", loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, frameon=False)


def _is_hidden(variances: Array) -> bool:
    """Whether one term is so large that another would lie on the axis."""
    some = variances[variances > LEAST * variances.max()]
    return bool(some.size > 1 and some.max() > DOMINANT * some.min())


def _draw_noise(ax: Axes, noise: float, below: float, units: str) -> None:
    """The noise as a step upon what lies below it at lag zero; alone it is a mark."""
    top = f"noise: {with_units(f'{noise:.3g}', units)}"
    if below:
        ax.plot([0.0, 0.0], [below, below + noise], color=pencil(ax), linewidth=2.5, zorder=2, clip_on=False)
    ax.plot([0.0], [below + noise], "^" if below else "D", color=pencil(ax), label=top, zorder=6, clip_on=not below)


def _use_logarithms(ax: Axes, parts: Array, noise: float) -> None:
    """A logarithmic axis down to a tenth of the smallest variance; about zero it is linear where curves cross it."""
    variances = np.append(parts[:, 0], noise)
    seen = variances[np.isfinite(variances) & (variances > LEAST * parts[:, 0].max())]
    least, most = 0.1 * float(seen.min()), 2.0 * float(parts.sum(axis=0).max())
    if parts.min() < -least:
        ax.set_yscale("symlog", linthresh=least)
        return
    ax.set_yscale("log")
    ax.set_ylim(least, most)


def _lengths(table: xr.Dataset, axis: str, term: int) -> list[float]:
    """The lengthscales of one term along an axis; a composed kernel has several."""
    keys = [key for key in table if str(key).startswith(f"{axis}_") and str(key).endswith("lengthscale")]
    found: Array = np.array([float(table[key].isel(term=term)) for key in keys])
    return [float(length) for length in found[np.isfinite(found)]] if keys else []


def prior_draws(draws: xr.DataArray) -> Figure:
    """Draw what kernels mean: one panel for each, its draws as lines along time or distance.

    Parameters
    ----------
    draws : DataArray (kernel, sample, time or distance)
        What :func:`xgpfill.prior_draws` gives.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    KernelError
        When they are no such draws.

    Examples
    --------
    >>> import matplotlib, xgpfill
    >>> matplotlib.use("Agg")
    >>> figure = prior_draws(xgpfill.prior_draws(["matern12", "rbf"], extent=60.0))
    >>> [ax.get_title() for ax in figure.axes]
    ['Matérn-1/2, 6 days', 'RBF, 6 days']
    """
    if not {"kernel", "sample"} <= set(getattr(draws, "dims", ())):
        raise KernelError(
            f"There are no draws of kernels in {draws!r:.80}. Make them first, e.g. "
            f"`xgpfill.plotting.prior_draws(xgpfill.prior_draws(['matern32', 'rbf'], extent=100.0))`."
        )
    (dim,) = (d for d in draws.dims if d not in ("kernel", "sample"))
    figure, panels = _panels_of_kernels(draws, str(dim), 2.3, sharex=True)
    for i, ax in enumerate(panels):
        part = draws.isel(kernel=i).transpose(dim, "sample")
        ax.plot(draws[dim].values, part.values, linewidth=1.0)
        ax.margins(x=0)
    return figure


def prior_covariance(covariance: xr.DataArray) -> Figure:
    """Draw the covariance matrices of kernels: one panel for each.

    Parameters
    ----------
    covariance : DataArray (kernel, time or distance, the same with `_other`)
        What :func:`xgpfill.prior_covariance` gives.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    KernelError
        When they are no such covariances.

    Examples
    --------
    >>> import matplotlib, xgpfill
    >>> matplotlib.use("Agg")
    >>> figure = prior_covariance(xgpfill.prior_covariance(["matern12", "brownian"], extent=60.0))
    >>> [ax.get_title() for ax in figure.axes[:2]]
    ['Matérn-1/2, 6 days', 'Brownian, offset 6 days']
    """
    dims = getattr(covariance, "dims", ())
    dim = next((str(d) for d in dims if f"{d}_other" in dims), "")
    if "kernel" not in dims or not dim:
        raise KernelError(
            f"There are no covariances of kernels in {covariance!r:.80}. Make them first, e.g. "
            f"`xgpfill.plotting.prior_covariance(xgpfill.prior_covariance(['matern32', 'rbf'], extent=100.0))`."
        )
    figure, panels = _panels_of_kernels(covariance, dim, 3.1)
    for i, ax in enumerate(panels):
        part = covariance.isel(kernel=i).transpose(f"{dim}_other", dim)
        at = covariance[dim].values
        mesh = ax.pcolormesh(at, at, part.values, cmap=MATRIX_COLOURS, shading="nearest", rasterized=True)
        ax.set_aspect("equal")
        ax.set_ylabel(bracketed(dim, units_of(covariance[dim])) if i % 3 == 0 else "")
        add_bar(mesh, [ax], [part.values], "covariance")
    return figure


def _panels_of_kernels(field: xr.DataArray, dim: str, height: float, **shared: Any) -> tuple[Figure, list[Axes]]:
    """A panel for every kernel, at most three in a row, with its title and its axis along the lowest ones."""
    count = field.sizes["kernel"]
    columns = min(count, 3)
    rows = math.ceil(count / columns)
    figure, panels = new_panels(rows, columns, (0.3 + 3.6 * columns, 0.3 + height * rows), **shared)
    for unused in panels[count:]:
        unused.remove()
    for i, ax in enumerate(panels[:count]):
        lowest = i + columns >= count
        ax.set_title(_folded(str(field["kernel"].values[i])), fontsize="small")
        ax.tick_params(labelbottom=lowest)
        ax.set_xlabel(bracketed(dim, units_of(field[dim])) if lowest else "")
    return figure, panels[:count]


def _folded(text: str) -> str:
    from textwrap import fill

    return fill(text, 44)
