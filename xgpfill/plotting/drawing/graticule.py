"""What stands round a map or plain axes: limits, meridians and parallels, their labels. Values are drawn elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.plotting.cells.sheet import Sheet, ticks
from xgpfill.plotting.drawing.ink import GRID_COLOUR
from xgpfill.plotting.drawing.projection import frame, is_curvilinear, is_round, is_straight, project, stretch
from xgpfill.words import degrees

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from xgpfill.plotting.cells.edges import Array

LINE: dict[str, Any] = {"linewidth": 0.4, "color": GRID_COLOUR, "alpha": 0.6}
GLOBE = (-180.0, 180.0, -90.0, 90.0)
WORLDS = ("Robinson", "EqualEarth", "Mollweide", *(f"Eckert{number}" for number in ("I", "II", "III", "IV", "V", "VI")))
"""Projections of the whole globe whose parallels are straight and whose meridians are not."""
AWAY = 4.0  # points between a label and its line
NEAR_A_POLE = 80.0  # degrees: a parallel too short for labels
MERIDIAN, PARALLEL = "meridian", "parallel"
"""Ids of labels on curved maps."""


def frame_plain(sheet: Sheet, ax: Axes) -> None:
    """Plain axes: limits, names, and degrees where there are."""
    west, east, south, north = sheet.box
    shift = 0.0 if sheet.central is None else sheet.central
    ax.set_xlim(west + shift if shift else west, east + shift if shift else east)
    ax.set_ylim(*((north, south) if sheet.top_down else (south, north)))
    ax.set_aspect(stretch(sheet) if sheet.equal else "auto")
    if sheet.central is not None:
        _straight_lines(sheet, ax, shift)
        return
    ax.set(xlabel=sheet.labels[0], ylabel=sheet.labels[1])
    for name, positions in (("x", sheet.x), ("y", sheet.y)):
        if positions.dtype.kind == "f":
            ax.locator_params(axis=name, nbins=6, integer=sheet.top_down)  # type: ignore[arg-type]


def frame_map(sheet: Sheet, ax: Axes) -> None:
    """A map in the projection of its sheet."""
    crs: Any = ax.projection  # type: ignore[attr-defined]
    if is_straight(crs):
        west, east, south, north = sheet.box
        ax.set_xlim(west, east)
        ax.set_ylim(south, north)
        ax.set_aspect(stretch(sheet) if sheet.equal else "auto")
        _straight_lines(sheet, ax, 0.0)
        return
    if type(crs).__name__ == "Robinson":
        ax.set_global()  # type: ignore[attr-defined]
        _Curves(ax, crs, GLOBE, sheet.central or 0.0).draw()
        return
    from matplotlib.path import Path

    outline = frame(sheet, crs)
    ax.set_xlim(outline[:, 0].min(), outline[:, 0].max())
    ax.set_ylim(outline[:, 1].min(), outline[:, 1].max())
    if is_curvilinear(sheet):
        _cut_lines(ax)
        return
    ax.set_boundary(Path(outline, closed=True))  # type: ignore[attr-defined]
    _Curves(ax, crs, sheet.box, sheet.central or 0.0, turning=is_round(sheet)).draw()


def frame_foreign(ax: Axes) -> None:
    """A map in a projection of the user's own."""
    crs: Any = ax.projection  # type: ignore[attr-defined]
    wide = np.ptp(ax.get_xlim()) >= 0.99 * np.ptp(crs.x_limits)
    if wide and type(crs).__name__ in WORLDS:
        _Curves(ax, crs, GLOBE, float(crs.proj4_params.get("lon_0", 0.0))).draw()
        return
    _cut_lines(ax)


def hide_labels(ax: Axes, kind: str) -> None:
    """Leave out the labels of the meridians, or of the parallels, of a curved map."""
    for text in [text for text in ax.texts if text.get_gid() == kind]:
        text.remove()


def _straight_lines(sheet: Sheet, ax: Axes, shift: float) -> None:
    """Meridians and parallels as ticks; `shift` lies already in what is drawn."""
    west, east, south, north = sheet.box
    offset = (sheet.central or 0.0) - shift
    across, up = ticks(np.array([west, east]) + (sheet.central or 0.0)), ticks(np.array([south, north]))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_visible(True)  # GeoAxes hide theirs
    ax.xaxis.set_ticks(across - offset, labels=[degrees(t, "EW") for t in across])
    ax.yaxis.set_ticks(up, labels=[degrees(t, "NS") for t in up])
    ax.grid(**LINE)


def _cut_lines(ax: Axes) -> None:
    """Meridians and parallels, labelled where they leave the map at the left and at the bottom."""
    small = {"size": "small"}
    ax.gridlines(  # type: ignore[attr-defined]
        draw_labels={"bottom": "x", "left": "y"}, x_inline=False, y_inline=False, rotate_labels=False,
        xlabel_style=small, ylabel_style=small, **LINE,
    )  # fmt: skip


@dataclass(frozen=True)
class _Curves:
    """Meridians and parallels of a box of degrees on a curved map.

    Longitudes are labelled below it and latitudes at its left; round a pole (`turning`) longitudes all round the
    circle and latitudes along a meridian. The whole globe has few longitudes, since the line of a pole is short.
    """

    ax: Axes
    crs: Any
    box: tuple[float, float, float, float]
    central: float
    turning: bool = False

    def draw(self) -> None:
        west, east, south, north = self.box
        whole = east - west >= 359.0
        steps = np.arange(-180.0, 180.0, 60.0 if self.turning else 30.0)
        across = steps if whole else ticks(np.array([west, east]) + self.central)
        up = np.arange(-60.0, 61.0, 30.0) if whole and not self.turning else ticks(np.array([south, north]))
        places = (across - self.central + 180.0) % 360.0 - 180.0 if whole else across - self.central
        for at in places:
            self._line(np.full(61, at), np.linspace(south, north, 61))
        for at in up:
            self._line(np.linspace(west, east, 181), np.full(181, at))
        few = np.isin(across % 120.0, 0.0) & (np.abs(places) < 135.0)
        named = few if whole and not self.turning else np.ones(across.size, bool)
        self._label_meridians(places[named], across[named])
        if self.turning:
            room = 0.1 * (north - south)
            self._label_within([degree for degree in up if min(degree - south, north - degree) > room])
        else:
            for degree in up:
                self._label(degrees(degree, "NS"), (west, degree), (west, degree + 0.5), PARALLEL)

    def _line(self, x: Array, y: Array) -> None:
        lines: Any = self._at(x, y)
        self.ax.plot(*lines, zorder=2.0, scalex=False, scaley=False, **LINE)

    def _at(self, x: Any, y: Any) -> Array:
        return np.stack(project(self.crs, np.asarray(x, float), np.asarray(y, float), self.central))

    def _label_meridians(self, places: Array, names: Array) -> None:
        _, _, south, north = self.box
        outer = north if south + north < 0.0 and (self.turning or south < -NEAR_A_POLE) else south
        for at, degree in zip(places, names, strict=True):
            self._label(degrees(degree, "EW"), (at, outer), (at + 0.5, outer), MERIDIAN)

    def _label(self, text: str, at: tuple[float, float], beside: tuple[float, float], kind: str) -> None:
        """Write a label at a point of the edge, square to the edge that leads to a point beside it."""
        west, east, south, north = self.box
        middle = (0.0, np.sign(south + north) * 90.0) if self.turning else ((west + east) / 2, (south + north) / 2)
        x, y = self._at(*zip(at, beside, middle, strict=True))
        away = np.array([y[1] - y[0], x[0] - x[1]])
        if not np.hypot(*away) > 1e-6 * np.hypot(x[0] - x[2], y[0] - y[2]):  # the edge is a point, or out of sight
            return
        away *= np.sign(away @ (x[0] - x[2], y[0] - y[2])) / np.hypot(*away)
        if away[1] > 0.99:  # a title stands there
            return
        ha = "right" if away[0] < -0.4 else "left" if away[0] > 0.4 else "center"
        va = "top" if away[1] < -0.4 else "bottom" if away[1] > 0.4 else "center"
        self.ax.annotate(
            text, (x[0], y[0]), xytext=tuple(AWAY * away), textcoords="offset points", ha=ha, va=va, gid=kind,
            fontsize="small", annotation_clip=False,
        )  # fmt: skip

    def _label_within(self, parallels: list[float]) -> None:
        """Write latitudes on the map, on a little of its paper."""
        paper = {"boxstyle": "round,pad=0.1", "facecolor": self.ax.get_facecolor(), "edgecolor": "none", "alpha": 0.6}
        for degree in parallels:
            (x,), (y,) = self._at([45.0 - self.central], [degree])
            text = degrees(degree, "NS")
            self.ax.text(x, y, text, ha="center", va="center", fontsize="x-small", gid=PARALLEL, bbox=paper)
