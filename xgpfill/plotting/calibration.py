"""Whether uncertainties are as large as errors: three pictures of calibration. Scores are computed in `scoring`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.errors import DataError
from xgpfill.metrics.scoring import on_grid_of
from xgpfill.plotting.drawing.ink import ink, on_paper, pencil
from xgpfill.plotting.drawing.paper import new_panels
from xgpfill.words import bracketed, name_of, units_of

if TYPE_CHECKING:
    from collections.abc import Hashable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from xgpfill.plotting.cells.edges import Array

FOUND_COLOURS = ("#4f81b3", "#7fb0e0")
"""On light and on dark paper."""
LEVELS = np.append(np.arange(5, 100, 5), 99)  # per cent
BAND = 0.9
"""Share of uniform samples whose bars end within the band."""
CELLS_IN_A_BIN = 30
MOST_BARS, MOST_BINS = 20, 12


def calibration(reconstruction: Any, truth: xr.DataArray, *, variable: Hashable | None = None) -> Figure:
    """Draw whether the uncertainty fits a truth, on the cells that were not observed, in three panels.

    1. Histogram of the probability integral transform, flat when calibrated, with the band that holds 90 % of the bars
       of a uniform sample [1]_. A hump means too wide, a dip too narrow intervals, a slope a bias. Errors of
       neighbouring cells go together, so bars of a calibrated field leave the band more often.
    2. Share of the truth within central intervals against their nominal level; below the diagonal they are too narrow.
    3. Root mean squared error against the predicted standard deviation, in bins of as many cells each. It is that of
       the model, before intervals are widened or narrowed.

    Parameters
    ----------
    reconstruction : Reconstruction
        With a variance; its noise is included.
    truth : DataArray
        On the same grid, in the same units, known where something was hidden.
    variable : name, optional
        Which of several.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    XgpfillError
        When the reconstruction has no variance.
    DataError
        When the truth is known on no cell that was hidden.
    AlignmentError
        When it lies on other cells, or has other units.

    References
    ----------
    .. [1] Gneiting, Balabdaoui and Raftery (2007), doi:10.1111/j.1467-9868.2007.00587.x, section 3.

    Examples
    --------
    >>> import matplotlib, xgpfill
    >>> matplotlib.use("Agg")
    >>> ds = xgpfill.datasets.synthetic_sst(days=8, nlat=8, nlon=8)
    >>> found = ds.sst.gpfill.fit(valid=ds.valid, method="exact").reconstruct()
    >>> [ax.get_title() for ax in calibration(found, ds.truth).axes]
    ['probability integral transform', 'central intervals', 'spread and skill']
    """
    import dask

    mean, std, hidden = hidden_cells(reconstruction, truth, variable)
    arrays = dask.compute(pit(reconstruction, truth, variable), std, hidden - mean)
    ranks, spread, error = (np.ravel(one.transpose(*mean.dims).values) for one in arrays)
    known = np.isfinite(ranks)
    if not known.any():
        raise DataError(
            "There is no cell to check: calibration is seen on cells that were not observed, and `truth` is known at "
            "none. Hide some before fitting, `da.where(xgpfill.masks.random(da, 0.1)).gpfill.fit()`, then give `da`."
        )
    figure, panels = new_panels(1, 3, (12.6, 4.3))
    _draw_ranks(panels[0], ranks[known])
    _draw_coverage(panels[1], ranks[known])
    _draw_skill(panels[2], spread[known], error[known], units_of(mean) or units_of(truth))
    figure.suptitle(f"{name_of(mean)}: {known.sum():,} cells that were not observed".removeprefix(": "))
    return figure


def pit(reconstruction: Any, truth: xr.DataArray, variable: Hashable | None = None) -> xr.DataArray:
    """Probability integral transform of a truth: how probable a smaller observation was, uniform when calibrated.

    u = F(y) = Φ(g((y − μ)/σ)), with the noise in σ and the map g that intervals are made with
    (:mod:`xgpfill.metrics.calibration`); NaN where the cell was observed or the truth is not known.
    """
    mean, std, hidden = hidden_cells(reconstruction, truth, variable)
    law, field = reconstruction.law_of(variable)
    z = law.normal_residual(hidden, mean, std, field)
    u: xr.DataArray = xr.apply_ufunc(_normal, z, dask="parallelized", output_dtypes=[float])
    return u.transpose(*mean.dims)


def hidden_cells(
    reconstruction: Any, truth: xr.DataArray, variable: Hashable | None
) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Mean, standard deviation of an observation, and the truth where nothing was observed, of one variable."""
    std = reconstruction.observation_std(variable)
    fields = reconstruction.mean, reconstruction.observed
    mean, observed = fields if variable is None else (field[variable] for field in fields)
    hidden = on_grid_of(truth, mean).astype(float).where(observed.isnull())
    return mean, std, hidden.broadcast_like(mean)


def _normal(z: Array) -> Array:
    from scipy.special import ndtr

    found: Array = ndtr(z)
    return found


def _draw_ranks(ax: Axes, ranks: Array) -> None:
    """The histogram of the transform: each bar over what is expected, and the band of uniform samples."""
    from scipy.stats import binom

    count, bars = ranks.size, int(np.clip(ranks.size // CELLS_IN_A_BIN, 5, MOST_BARS))
    heights = np.histogram(ranks, bins=bars, range=(0.0, 1.0))[0] * bars / count
    low, high = np.array(binom.interval(BAND, count, 1 / bars)) * bars / count
    left, paper = np.arange(bars) / bars, ax.get_facecolor()
    ax.bar(left, heights, 1 / bars, align="edge", color=on_paper(ax, *FOUND_COLOURS), edgecolor=paper)
    ax.axhspan(low, high, facecolor=ink(ax), alpha=0.2, linewidth=0, label=f"{BAND:.0%} of bars, if calibrated")
    ax.axhline(1.0, color=ink(ax), linewidth=0.8, linestyle="--", zorder=2)
    ax.set(xlim=(0.0, 1.0), xlabel="probability of a smaller value", ylabel="cells, relative to a uniform share")
    ax.set_title("probability integral transform")
    ax.set_ylim(0.0, 1.25 * max(float(heights.max()), float(high)))
    ax.legend(loc="upper center", fontsize="small", frameon=False)


def _draw_coverage(ax: Axes, ranks: Array) -> None:
    """The share of the truth within central intervals: |2u − 1| is the level of the narrowest that holds it."""
    needed = 100.0 * np.abs(2.0 * ranks - 1.0)
    found = 100.0 * (needed[:, None] <= LEVELS).mean(axis=0)
    _draw_diagonal(ax, 100.0)
    ax.plot(LEVELS, found, "o-", color=on_paper(ax, *FOUND_COLOURS), markersize=4, zorder=3)
    at95 = found[LEVELS == 95][0]
    ax.text(0.97, 0.05, f"95 % intervals hold {at95:.3g} %", transform=ax.transAxes, ha="right", fontsize="small")
    ax.set(xlabel="nominal level [%]", ylabel="truth within the interval [%]")
    ax.set_title("central intervals")


def _draw_skill(ax: Axes, spread: Array, error: Array, units: str) -> None:
    """The error that was made where a standard deviation was predicted, from the surest cells to the least sure."""
    bins = int(np.clip(spread.size // CELLS_IN_A_BIN, 1, MOST_BINS))
    parts = np.array_split(np.argsort(spread, kind="stable"), bins)
    predicted = [np.sqrt(np.mean(spread[part] ** 2)) for part in parts]
    found = [np.sqrt(np.mean(error[part] ** 2)) for part in parts]
    _draw_diagonal(ax, 1.08 * max(*predicted, *found))
    ax.plot(predicted, found, "o", color=on_paper(ax, *FOUND_COLOURS), markersize=6, zorder=3)
    ax.set(xlabel=bracketed("predicted standard deviation", units), ylabel=bracketed("root mean squared error", units))
    ax.set_title("spread and skill")


def _draw_diagonal(ax: Axes, end: float) -> None:
    """Where predicted and found are the same, from zero to an end of both axes."""
    ax.plot([0.0, end], [0.0, end], color=ink(ax), linewidth=0.8, linestyle="--", zorder=2)
    ax.set(xlim=(0.0, end), ylim=(0.0, end), aspect="equal")
    ax.grid(linewidth=0.4, alpha=0.6, color=pencil(ax))
