"""New figures: like panels with a margin all round. What is drawn on them is settled elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARGIN = 0.09
"""Inches round each panel, and so between what stands outermost and the edge of the paper."""


def new_panels(
    rows: int, columns: int, size: tuple[float, float], *, layout: str = "constrained", **options: Any
) -> tuple[Figure, list[Axes]]:
    """Make a figure of pyplot and its panels, row by row; `size` in inches, `options` those of `plt.subplots`."""
    import matplotlib.pyplot as plt
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    engine = ConstrainedLayoutEngine(w_pad=MARGIN, h_pad=MARGIN, compress=layout == "compressed")
    figure, axes = plt.subplots(rows, columns, figsize=size, layout=engine, squeeze=False, **options)
    return figure, list(axes.flat)


def panels_by_lag(count: int, axes: Sequence[Axes] | None) -> list[Axes]:
    """So many panels side by side, for what depends on time lag and on distance: those that were given, or new ones.

    Raises
    ------
    KernelError
        When too few were given.
    """
    if axes is None:
        return new_panels(1, count, (0.4 + 4.6 * count, 4.0))[1]
    panels = list(np.ravel(np.asarray(axes, dtype=object)))
    if len(panels) < count:
        raise KernelError(
            f"axes= holds {len(panels)} panel(s); {count} are needed, e.g. `plt.subplots(1, {count})[1]`."
        )
    return panels
