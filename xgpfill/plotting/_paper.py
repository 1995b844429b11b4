"""New figures: like panels with a margin all round. What is drawn on them is settled elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
