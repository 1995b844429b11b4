"""Parts of a field whose rows follow one another: components of a vector, which point somewhere, or joint variables.

Coordinates of a component are its place and, in three more columns, where it points. The components of a vector are
what a Cartesian field of independent parts is along the local directions, so that the covariance of two of them is
k(x, x') d(x)·d(x'). Nothing is singular at the poles, where east and north turn. Coordinates of a variable are its
place and, in five more columns, its number and zeros.
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
MARKS = 5
"""Columns that say which variable it is: so many that no place of two or three columns with a direction has as many."""


def has_directions(coordinates: Any) -> bool:
    """Whether the last axis of coordinates says where components point."""
    return bool(COLUMNS < coordinates.shape[-1] <= 2 * COLUMNS)


def has_variables(coordinates: Any) -> bool:
    """Whether the last axis of coordinates says of which of several joint variables a cell is."""
    return bool(coordinates.shape[-1] > 2 * COLUMNS)


def variable_of(coordinates: Any) -> Any:
    """The number of the variable, of an array or tensor (..., d) that says it."""
    return coordinates[..., -MARKS]


def places_of(coordinates: Any) -> Any:
    """The columns that say where, of an array or tensor (..., d)."""
    if has_variables(coordinates):
        return coordinates[..., :-MARKS]
    return coordinates[..., :-COLUMNS] if has_directions(coordinates) else coordinates


def point_alike(first: FloatArray, second: FloatArray) -> NDArray[np.bool_]:
    """Whether components point about the same way, or are of one variable, (...); true where coordinates do not say."""
    if has_variables(first):
        return np.asarray(variable_of(first) == variable_of(second))
    if not has_directions(first):
        return np.ones(first.shape[:-1], bool)
    return np.asarray(np.sum(first[..., -COLUMNS:] * second[..., -COLUMNS:], axis=-1) > ALIKE)


def with_directions(places: FloatArray, directions: FloatArray) -> FloatArray:
    """Places (..., d) of each component of `directions` (components, ..., 3), one component after another."""
    return np.concatenate([np.concatenate([places, own], axis=-1) for own in directions], axis=0)


def with_variables(places: FloatArray, count: int) -> FloatArray:
    """Places (ny, ..., d) of each of some variables, one variable after another."""
    marks = np.zeros((count, *places.shape[:-1], MARKS))
    marks[..., 0] = np.arange(count).reshape(-1, *[1] * (places.ndim - 1))
    return np.concatenate([np.concatenate([places, own], axis=-1) for own in marks], axis=0)


def places_of_each(coordinates: FloatArray, count: int) -> int | None:
    """Leading elements of coordinates (n, ..., d) that are one variable's; None unless `count` lie at its places."""
    rows = len(coordinates) // count
    alike = np.array_equal(coordinates, with_variables(places_of(coordinates[:rows]), count))
    return rows if alike else None


def one_after_another(data: Any, rows: int, count: int) -> Any:
    """An array (..., components, y, x), in memory or lazy, as (..., components · y, x).

    Axes of length one stand for all `rows` and all of `count` components; where both are, they still do.
    """
    *lead, components, y, x = data.shape
    if components == y == 1:
        return data.reshape(*lead, 1, x)
    if (components, y) != (count, rows):
        data = _broadcast(data, (*lead, count, rows, x))
    return data.reshape(*lead, count * rows, x)


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


def drawn_together(coordinates: FloatArray, geometry: str, anisotropy: float) -> FloatArray:
    """Embedded coordinates (..., d) with what lies to the east (or along x) `anisotropy` times as near.

    Distances of them are between places of any geometry, so that every kernel stays positive definite and the same on
    all meridians; a sphere becomes a spheroid, on which what lies to the north is drawn together towards the poles.

    Examples
    --------
    >>> import numpy as np
    >>> drawn_together(np.array([6.0, 5.0]), "plane", 3.0)
    array([2., 5.])
    """
    if anisotropy == 1.0:
        return coordinates
    found = coordinates.copy()
    found[..., : 1 if geometry == "plane" else 2] /= anisotropy
    return found


def along_axes(shape: tuple[int, ...]) -> FloatArray:
    """Unit vectors along x and y of a sheet, the same everywhere, (2, *shape, 3)."""
    return np.stack([np.broadcast_to(unit, (*shape, COLUMNS)) for unit in np.eye(COLUMNS)[:COMPONENTS]])
