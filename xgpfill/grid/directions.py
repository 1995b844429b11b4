"""Directions of vectors: coordinates of a component are its place and, in three more columns, where it points.

The components of a vector field are what a Cartesian field of independent parts is along the local directions, so that
the covariance of two of them is k(x, x') d(x)·d(x'). Nothing is singular at the poles, where east and north turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from xgpfill.grid.lattice import FloatArray

COLUMNS = 3
"""Columns that say where a component points; places alone have no more than this."""
COMPONENTS = 2
"""Of a vector: east (or along x) and north (or along y)."""


def has_directions(coordinates: Any) -> bool:
    """Whether the last axis of coordinates says where components point."""
    return bool(coordinates.shape[-1] > COLUMNS)


def places_of(coordinates: Any) -> Any:
    """The columns that say where, of an array or tensor (..., d)."""
    return coordinates[..., :-COLUMNS] if has_directions(coordinates) else coordinates


def with_directions(places: FloatArray, directions: FloatArray) -> FloatArray:
    """Places (..., d) of each component of `directions` (components, ..., 3), one component after another."""
    return np.concatenate([np.concatenate([places, own], axis=-1) for own in directions], axis=0)


def east_and_north(latitude: FloatArray, longitude: FloatArray) -> FloatArray:
    """Unit vectors to the east and to the north at places on the sphere (radians), (2, ..., 3).

    Examples
    --------
    >>> import numpy as np
    >>> east_and_north(np.array(0.0), np.array(0.0)).round(3)
    array([[0., 1., 0.],
           [0., 0., 1.]])
    """
    zero = np.zeros_like(latitude)
    east = np.stack([-np.sin(longitude), np.cos(longitude), zero], axis=-1)
    north = [-np.sin(latitude) * np.cos(longitude), -np.sin(latitude) * np.sin(longitude), np.cos(latitude)]
    return np.stack([east, np.stack(north, axis=-1)])


def along_axes(shape: tuple[int, ...]) -> FloatArray:
    """Unit vectors along x and y of a sheet, the same everywhere, (2, *shape, 3)."""
    return np.stack([np.broadcast_to(unit, (*shape, COLUMNS)) for unit in np.eye(COLUMNS)[:COMPONENTS]])
