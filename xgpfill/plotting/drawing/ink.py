"""Colours of lines, dots and land, on light and on dark paper. Colours of values are in the modules of pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LAND_COLOURS = ("#cfc7b6", "#57524a")
"""On light and on dark paper."""
GRID_COLOUR = "0.5"


def is_dark(ax: Axes) -> bool:
    """Whether a panel, or the figure behind a clear one, is rather black than white."""
    from matplotlib.colors import to_rgba

    red, green, blue, opacity = to_rgba(ax.get_facecolor())
    if opacity < 0.5:
        red, green, blue, _ = to_rgba(ax.figure.get_facecolor())
    return 0.299 * red + 0.587 * green + 0.114 * blue < 0.5  # luma of Rec. 601


def on_paper(ax: Axes, light: str, dark: str) -> str:
    """The one of two colours that suits the paper."""
    return dark if is_dark(ax) else light


def ink(ax: Axes) -> str:
    """What is drawn in black on light paper."""
    return on_paper(ax, "0.1", "0.92")


def pencil(ax: Axes) -> str:
    """What should be seen, but not first: the noise, draws."""
    return on_paper(ax, "0.45", "0.6")


def hatch_ink(ax: Axes) -> str:
    """Thin lines on bare paper that mark gaps."""
    return on_paper(ax, "0.4", "0.85")


def land(ax: Axes) -> str:
    """Where the field does not exist."""
    return on_paper(ax, *LAND_COLOURS)
