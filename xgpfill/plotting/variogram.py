"""The picture of a variogram: that of the data as dots, the learned one as a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.errors import KernelError
from xgpfill.plotting.drawing.ink import ink
from xgpfill.plotting.drawing.paper import panels_by_lag
from xgpfill.words import bracketed, units_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_AXES = {"time": "time_lag", "space": "distance"}
LARGEST, SMALLEST = 60.0, 6.0
"""Areas of dots: of the bin with the most pairs, and the least there is."""


def variogram(model: Any, *, axes: Sequence[Axes] | None = None) -> Figure:
    """Draw the variogram of the data against time lag and against distance, and what the model expects there.

    A dot's area tells how many pairs of observations it stands for.

    Parameters
    ----------
    model : FittedModel or Dataset
        Or what ``model.variogram(bins=...)`` gives.
    axes : sequence of matplotlib Axes, optional
        One for each panel (time, then space; only that which the data have). None makes a figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    KernelError
        When it is no variogram, or there are too few axes.

    Examples
    --------
    >>> import matplotlib, xgpfill
    >>> matplotlib.use("Agg")
    >>> ds = xgpfill.datasets.synthetic_sst(days=8, nlat=8, nlon=8)
    >>> model = ds.sst.gpfill.fit(valid=ds.valid, method="exact")
    >>> [ax.get_xlabel() for ax in variogram(model).axes]
    ['time lag [days]', 'distance [km]']
    """
    table = model.variogram() if hasattr(model, "variogram") else model
    names = [name for name in _AXES if f"{name}_variogram" in getattr(table, "data_vars", ())]
    if not names:
        raise KernelError(
            f"There is no variogram to draw in a {type(model).__name__}. Give a fitted model, or "
            f"`model.variogram(bins=...)`."
        )
    panels = panels_by_lag(len(names), axes)
    for ax, name in zip(panels, names, strict=False):
        _draw(ax, table, name)
    figure: Figure = panels[0].figure  # type: ignore[assignment]
    return figure


def _draw(ax: Axes, table: xr.Dataset, name: str) -> None:
    """One panel."""
    lag = _AXES[name]
    seen, learned, pairs = (table[f"{name}_{what}"] for what in ("variogram", "learned", "pairs"))
    area = np.maximum(LARGEST * pairs.values / pairs.values.max(), SMALLEST)
    ax.scatter(seen[lag].values, seen.values, s=area, label="data", zorder=3)
    ax.plot(learned[lag].values, learned.values, color=ink(ax), label="learned", zorder=2.5)
    ax.set_xlim(left=0.0)
    ax.set_ylim(bottom=0.0)
    ax.set_xlabel(bracketed(lag.replace("_", " "), units_of(seen[lag])))
    ax.set_ylabel(bracketed("semivariance", units_of(seen)))
    ax.legend(fontsize="small", loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, frameon=False)
