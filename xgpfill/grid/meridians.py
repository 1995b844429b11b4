"""Regular meridians: columns of a lattice that are one column moved along x, or turned about the axis. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from xgpfill.grid.lattice import FloatArray

REGULAR = 1e-3
"""Meridians may lie this share of a step off a regular grid; they are then taken for regular."""


@dataclass(frozen=True, eq=False)
class Meridians:
    """Columns of the lattice that are one column moved along x, or turned about the axis, again and again.

    Attributes
    ----------
    column : array (ny, d)
        The first one, embedded (km).
    size : int
        Number of columns.
    step : float
        Radians between two of them, or km on a plane; negative where x falls.
    geometry : str
    """

    column: FloatArray
    size: int
    step: float
    geometry: str

    @property
    def is_global(self) -> bool:
        """Whether the next column after the last is the first."""
        return self.geometry != "plane" and abs(self.size - 2 * np.pi / abs(self.step)) <= REGULAR

    @property
    def longest_period(self) -> int | None:
        """Columns of a full circle when a whole number of steps makes one; None for a plane or other steps."""
        if self.geometry == "plane":
            return None
        count = 2 * np.pi / abs(self.step)
        return round(count) if abs(count - round(count)) <= REGULAR else None

    def columns(self, number: FloatArray) -> FloatArray:
        """The columns of these (fractional, any) numbers, (k, ny, d)."""
        if self.geometry == "plane":
            moved = np.repeat(self.column[None], number.size, axis=0)
            moved[..., 0] += self.step * number[:, None]
            return moved
        turn = self.step * number[:, None]
        x, y = self.column[:, 0], self.column[:, 1]
        turned = [np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y]
        rest = np.broadcast_to(self.column[:, 2], turned[0].shape)
        return np.stack([*turned, rest], axis=-1)


def find_meridians(coordinates: FloatArray, geometry: str) -> Meridians | None:
    """The regular columns of a lattice (ny, nx, d); None when they are not regular, or there is only one.

    Columns lie within a thousandth of a step of where regular ones would be.
    """
    _, nx, d = coordinates.shape
    if nx < 2:
        return None
    if geometry == "plane":
        step = float(np.mean(coordinates[:, -1, 0] - coordinates[:, 0, 0])) / (nx - 1)
        unit = abs(step)
    else:
        angles = np.unwrap(np.arctan2(coordinates[..., 1], coordinates[..., 0]), axis=1)
        widest = int(np.argmax(np.hypot(coordinates[:, 0, 0], coordinates[:, 0, 1])))  # no pole
        step = float(angles[widest, -1] - angles[widest, 0]) / (nx - 1)
        unit = abs(step) * float(np.hypot(*coordinates[widest, 0, :2]))
    if not step or d not in (2, 3):
        return None
    middle = coordinates[:, nx // 2]
    found = Meridians(_column(middle, -step * (nx // 2), geometry), nx, step, geometry)
    off = np.linalg.norm(found.columns(np.arange(nx, dtype=float)).transpose(1, 0, 2) - coordinates, axis=-1)
    return found if off.max() <= REGULAR * unit else None


def _column(column: FloatArray, move: float, geometry: str) -> FloatArray:
    moved: FloatArray = Meridians(column, 1, move, geometry).columns(np.ones(1))[0]
    return moved
