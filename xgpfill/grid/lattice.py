"""The lattice: a gappy field in canonical order (extra..., time, y, x) with physical coordinates, arrays only."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xgpfill.grid.directions import has_directions, has_levels, places_of
from xgpfill.grid.meridians import find_meridians

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xgpfill.grid.meridians import Meridians
    from xgpfill.grid.metric import Metric
    from xgpfill.grid.points import Points

FloatArray = NDArray[np.float64]
Window = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]
"""Indices of a box of the lattice along (time, y, x); longitude indices may wrap."""

MAX_DENSE_SITES = 10_000
"""Places on no regular meridians between which a matrix is made."""
MAX_DENSE_LIST = 4000
"""The same where there is one time."""
MOST_PLACES = 2048
"""Places whose map is told apart, at most: its covariance is dense."""
TRACK = 2
"""Times as many observations as times or places that a track has, at most."""
EMPTY = 20
"""Times as many cells as observations that the lattice of all its times and places has, at least."""
MAX_TIMES = 20_000
"""Times between which a matrix is made."""
MOST_STEPS = 10_000
"""Places of a list whose nearest others are looked for, to say how far apart places are."""
REGULAR_TIME = 1e-3
"""Times may lie this share of a step off a regular axis; they are then taken for regular."""


@dataclass(frozen=True)
class Space:
    """Where the cells are.

    Attributes
    ----------
    coordinates : array (ny, nx, d)
        Kilometres (or `unit`), embedded so that Euclidean distance is the distance of the geometry.
    geometry : {"sphere", "cylinder", "plane"}
    unit : str
    is_grid : bool
        Whether neighbours in index are neighbours in space (false for a list of sites).
    wraps : bool
        Whether the last meridian is a neighbour of the first.
    components : int
        Of a vector, or the number of joint variables or of levels: the rows of each follow those of the one before, and
        coordinates say where it points, which it is, or how deep (:mod:`xgpfill.grid.directions`).
    short : (array (ny, 1), array (1, nx)), optional
        Coordinates of rows and columns that `metric` makes all places from, which need not travel then.
    metric : Metric, optional
    depths : tuple of float
        Of the levels, in `depth_unit`; empty where depth is not fitted.
    depth_unit : str
    """

    coordinates: FloatArray
    geometry: str
    unit: str = "km"
    is_grid: bool = True
    wraps: bool = False
    components: int = 1
    short: tuple[FloatArray, FloatArray] | None = field(default=None, repr=False, compare=False)
    metric: Metric | None = field(default=None, repr=False, compare=False)
    depths: tuple[float, ...] = ()
    depth_unit: str = ""

    def __getstate__(self) -> dict[str, Any]:
        """Travel as rows and columns where all places are made from these to the last bit."""
        state = {each.name: getattr(self, each.name) for each in fields(self)}
        if self.short is None or self.metric is None:
            return state
        if not np.array_equal(self.metric.embed(*self.short), self.coordinates):  # some of them, or others
            return state | {"short": None, "metric": None}
        return state | {"coordinates": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["coordinates"] is None:
            state = state | {"coordinates": state["metric"].embed(*state["short"])}
        self.__dict__.update(state)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of cells along (y, x)."""
        return self.coordinates.shape[0], self.coordinates.shape[1]

    @property
    def size(self) -> int:
        """Number of cells."""
        return self.shape[0] * self.shape[1]

    @property
    def first_component(self) -> Space:
        """The places of the first component of a vector, of the first variable, or of the first level."""
        rows = self.shape[0] // self.components
        return replace(self, coordinates=self.coordinates[:rows], components=1, depths=self.depths[:1])

    @property
    def depth_step(self) -> float:
        """Shortest distance between two levels; one where there are no two."""
        return float(np.diff(np.sort(self.depths)).min()) if len(self.depths) > 1 else 1.0

    @property
    def depth_extent(self) -> float:
        """Distance between the highest and the lowest level."""
        return float(np.ptp(self.depths)) if self.depths else 0.0

    @cached_property
    def meridians(self) -> Meridians | None:
        """The regular columns; None where there are none."""
        return find_meridians(self.coordinates, self.geometry)

    @cached_property
    def steps(self) -> tuple[float, float]:
        """Typical distance between neighbours along y and along x (0 for an axis of one cell)."""
        if not self.is_grid:
            y, x = self.shape
            apart = distance_between(places_of(self.coordinates).reshape(self.size, -1))
            return (apart, 0.0) if y >= x else (0.0, apart)
        steps = []
        for axis in (0, 1):
            differences = np.linalg.norm(np.diff(places_of(self.coordinates), axis=axis), axis=-1)
            steps.append(float(np.median(differences)) if differences.size else 0.0)
        return steps[0], steps[1]

    @cached_property
    def extent(self) -> float:
        """Diameter of the region: the largest side of its bounding box (km)."""
        places = places_of(self.coordinates)
        flat = places.reshape(-1, places.shape[-1])
        return float(np.max(np.ptp(flat, axis=0))) if flat.size else 0.0


@dataclass(frozen=True)
class Lattice:
    """Values on time × y × x, NaN in the gaps, possibly lazy, with any number of extra leading axes.

    Attributes
    ----------
    values : array (extra..., time, y, x)
        numpy or dask.
    time : array (time,)
        Days from the epoch.
    space : Space
    valid : bool array (extra or 1..., time or 1, y or 1, x or 1), or None
        Where the field exists; None: everywhere.
    errors : array (extra or 1..., time or 1, y or 1, x or 1), or None
        Standard error of each observation, in data units.
    fills : tuple of float
        Numbers that the attributes of the data declare to be no value.
    days : array (y, x), optional
        Days of each cell where every one has its own, as on a track; `time` is then one step that says nothing.
    """

    values: Any
    time: FloatArray
    space: Space
    valid: Any = None
    errors: Any = None
    fills: tuple[float, ...] = ()
    extra_shape: tuple[int, ...] = field(default=())
    days: FloatArray | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of cells along (time, y, x)."""
        return (self.time.size, *self.space.shape)

    @property
    def is_lazy(self) -> bool:
        """Whether the values are a dask array."""
        return hasattr(self.values, "dask")

    @cached_property
    def moments(self) -> FloatArray:
        """The times that cells have, each once where cells have their own (days)."""
        return self.time if self.days is None else np.unique(self.days)

    @cached_property
    def num_places(self) -> int:
        """Number of places, on each level, of cells that have their own time each once."""
        if self.days is None:
            return self.space.size // max(1, len(self.space.depths))
        return len(np.unique(self.space.coordinates.reshape(self.space.size, -1), axis=0))

    @cached_property
    def time_step(self) -> float:
        """Median length of a time step (days); of n scattered times a share of 1/√n of all."""
        if self.moments.size < 2:
            return 1.0
        if self.days is not None:
            return self.time_extent / math.sqrt(self.days.size)
        return float(np.median(np.abs(np.diff(self.time))))

    @property
    def time_extent(self) -> float:
        """Days from the first to the last time."""
        return float(np.ptp(self.moments)) if self.moments.size > 1 else 0.0

    def days_of(self, y: NDArray[np.intp], x: NDArray[np.intp]) -> FloatArray | None:
        """Days of the cells of some rows and columns that have their own."""
        return None if self.days is None else self.days[np.ix_(y, x)]

    def members(self) -> Iterator[tuple[int, ...]]:
        """Indices of the independent fields."""
        yield from np.ndindex(self.extra_shape)

    def window(self, array: Any, member: tuple[int, ...], window: Window) -> Any:
        """The part of a canonical array inside a window; axes of length one are kept as they are."""
        leading = tuple(0 if n == 1 else m for n, m in zip(array.shape, member, strict=False))
        part = array[leading] if leading else array
        for axis, indices in enumerate(window):
            if part.shape[axis] != 1 or self.shape[axis] == 1:
                part = take(part, indices, axis)
        return part


def are_scattered(points: Points, geometry: str) -> bool:
    """Whether points are better taken one by one than as cells of a lattice.

    On a track each observation has a time and a place of its own, and nearly all cells are empty. Other places are
    scattered where they are many and lie on no regular meridians. Components of a vector and levels need a lattice.
    """
    num_times, num_sites, n = points.times.size, len(points.sites), len(points)
    if has_directions(points.sites) or has_levels(points.sites):
        return False
    if n <= TRACK * max(num_times, num_sites) and EMPTY * n <= num_times * num_sites:
        return points.frame is None or find_meridians(_framed(points), geometry) is None
    if num_sites <= (MAX_DENSE_SITES if num_times > 1 else MAX_DENSE_LIST):
        return False
    return points.frame is None or find_meridians(_framed(points), geometry) is None


def _framed(points: Points) -> FloatArray:
    assert points.frame is not None
    return points.sites.reshape(*points.frame, -1)


def distance_between(places: FloatArray) -> float:
    """Median distance of places (n, d) in any order to the nearest other one; zero where there is one place."""
    from scipy.spatial import KDTree

    distinct = np.unique(places, axis=0)
    if len(distinct) < 2:
        return 0.0
    some = distinct[:: max(1, len(distinct) // MOST_STEPS)]
    return float(np.median(KDTree(distinct).query(some, k=2)[0][:, 1]))


def is_regular(times: FloatArray) -> bool:
    """Whether times are evenly spaced."""
    if times.size < 3:
        return True
    even = np.linspace(times[0], times[-1], times.size)
    return bool(np.abs(times - even).max() <= REGULAR_TIME * abs(even[1] - even[0]))


def take(array: Any, indices: NDArray[np.intp], axis: int) -> Any:
    """Take along one axis, by slices where indices run without a jump (cheap for dask), else by index."""
    selection: list[Any] = [slice(None)] * array.ndim
    runs = np.split(indices, np.flatnonzero(np.diff(indices) != 1) + 1)
    if len(runs) > 2:
        selection[axis] = indices
        return array[tuple(selection)]
    parts = []
    for run in runs:
        selection[axis] = slice(int(run[0]), int(run[-1]) + 1) if run.size else slice(0, 0)
        parts.append(array[tuple(selection)])
    if len(parts) == 1:
        return parts[0]
    if hasattr(array, "dask"):
        import dask.array

        return dask.array.concatenate(parts, axis=axis)
    return np.concatenate(parts, axis=axis)
