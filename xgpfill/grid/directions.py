"""Directions of vectors: coordinates of a component are its place and, in three more columns, where it points.

The components of a vector field are what a Cartesian field of independent parts is along the local directions, so that
the covariance of two of them is k(x, x') d(x)·d(x'). Nothing is singular at the poles, where east and north turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xgpfill.grid.lattice import FloatArray

COLUMNS = 3
"""Columns that say where a component points; places alone have no more than this."""
ALIKE = 0.7
"""Cosine from which on two components point about the same way."""
COMPONENTS = 2
"""Of a vector: east (or along x) and north (or along y)."""


def has_directions(coordinates: Any) -> bool:
    """Whether the last axis of coordinates says where components point."""
    return bool(coordinates.shape[-1] > COLUMNS)


def places_of(coordinates: Any) -> Any:
    """The columns that say where, of an array or tensor (..., d)."""
    return coordinates[..., :-COLUMNS] if has_directions(coordinates) else coordinates


def point_alike(first: FloatArray, second: FloatArray) -> NDArray[np.bool_]:
    """Whether components point about the same way, (...); true where coordinates do not say."""
    if not has_directions(first):
        return np.ones(first.shape[:-1], bool)
    return np.asarray(np.sum(first[..., -COLUMNS:] * second[..., -COLUMNS:], axis=-1) > ALIKE)


def with_directions(places: FloatArray, directions: FloatArray) -> FloatArray:
    """Places (..., d) of each component of `directions` (components, ..., 3), one component after another."""
    return np.concatenate([np.concatenate([places, own], axis=-1) for own in directions], axis=0)


def one_after_another(data: Any, rows: int) -> Any:
    """An array (..., components, y, x), in memory or lazy, as (..., components · y, x).

    Axes of length one stand for all `rows` and components; where both are, they still do.
    """
    *lead, components, y, x = data.shape
    if components == y == 1:
        return data.reshape(*lead, 1, x)
    if (components, y) != (COMPONENTS, rows):
        data = _broadcast(data, (*lead, COMPONENTS, rows, x))
    return data.reshape(*lead, COMPONENTS * rows, x)


def _broadcast(data: Any, shape: tuple[int, ...]) -> Any:
    if not hasattr(data, "dask"):
        return np.broadcast_to(data, shape)
    import dask.array

    return dask.array.broadcast_to(data, shape)


def east_and_north(latitude: FloatArray, longitude: FloatArray) -> FloatArray:
    """Unit vectors to the east and to the north at places on the sphere (radians), (2, ..., 3).

    Examples
    --------
    >>> import numpy as np
    >>> east_and_north(np.array(0.0), np.array(0.0)).round(3) + 0.0
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
