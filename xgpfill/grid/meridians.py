"""Regular meridians: columns of a lattice that are one column moved along x, or turned about the axis. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from xgpfill.grid.directions import COLUMNS, east_and_north, has_directions, places_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xgpfill.arrays import FloatArray

REGULAR = 1e-3
"""Meridians may lie this share of a step off a regular grid; they are then taken for regular."""


@dataclass(frozen=True, eq=False)
class Meridians:
    """Columns of the lattice that are one column moved along x, or turned about the axis, again and again.

    Attributes
    ----------
    column : array (ny, d)
        The first one, embedded (km); of components of a vector with their directions, which turn with it.
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

    @cached_property
    def odd(self) -> NDArray[np.bool_]:
        """Rows whose covariance with the others changes its sign with the lag, (ny,): east with north, on a sphere.

        Mirrored about a meridian what points east points west.
        """
        if self.geometry != "sphere" or not has_directions(self.column):
            return np.zeros(len(self.column), bool)
        widest = self.column[np.argmax(np.hypot(self.column[:, 0], self.column[:, 1]))]
        east = east_and_north(np.zeros(()), np.arctan2(widest[1], widest[0]))[0]
        return np.asarray(np.abs(self.column[:, -COLUMNS:] @ east) < 0.5)

    def columns(self, number: FloatArray) -> FloatArray:
        """The columns of these (fractional, any) numbers, (k, ny, d)."""
        moved = np.repeat(self.column[None], number.size, axis=0)
        turn = self.step * number[:, None]
        if self.geometry == "plane":
            moved[..., 0] += turn
            return moved
        _turn(places_of(moved), turn)
        if self.geometry == "sphere" and has_directions(moved):
            _turn(moved[..., -COLUMNS:], turn)
        return moved


def _turn(vectors: FloatArray, angle: FloatArray) -> None:
    """Turn vectors (k, ny, 3) by angles (k, 1) about the axis, in place."""
    x, y = vectors[..., 0].copy(), vectors[..., 1].copy()
    vectors[..., 0] = np.cos(angle) * x - np.sin(angle) * y
    vectors[..., 1] = np.sin(angle) * x + np.cos(angle) * y


def find_meridians(coordinates: FloatArray, geometry: str) -> Meridians | None:
    """The regular columns of a lattice (ny, nx, d); None when they are not regular, or there is only one.

    Columns lie within a thousandth of a step of where regular ones would be.
    """
    _, nx, _ = coordinates.shape
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
    if not step or places_of(coordinates).shape[-1] not in (2, 3):
        return None
    middle = coordinates[:, nx // 2]
    found = Meridians(_column(middle, -step * (nx // 2), geometry), nx, step, geometry)
    off = np.linalg.norm(found.columns(np.arange(nx, dtype=float)).transpose(1, 0, 2) - coordinates, axis=-1)
    return found if off.max() <= REGULAR * unit else None


def _column(column: FloatArray, move: float, geometry: str) -> FloatArray:
    moved: FloatArray = Meridians(column, 1, move, geometry).columns(np.ones(1))[0]
    return moved
