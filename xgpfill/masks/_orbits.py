"""Gaps between the ground tracks of a satellite: its orbit, and the cells that it passes over."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.checks import checked_probability, checked_seed, positive
from xgpfill.errors import CoordinateError, DataError
from xgpfill.grid.metric import EARTH_RADIUS_KM
from xgpfill.layout.encode import encode
from xgpfill.masks._frame import Frame, sampled, threshold

if TYPE_CHECKING:
    import xarray as xr

    from xgpfill.arrays import FloatArray, Window
    from xgpfill.grid.lattice import Lattice
    from xgpfill.grid.metric import Metric
    from xgpfill.layout.encode import Dims
    from xgpfill.masks._frame import Bools

POINTS_AN_ORBIT = 800  # 50 km apart; between them the track is a straight line, to 0.05 km
LONGEST_WINDOW = 10.0  # days
FASTEST = 17.0  # orbits a day, at the height of the ground
VALUES = 65_536
TIMES = 512


@dataclass(frozen=True, eq=False)
class _Orbit:
    """A circular orbit over a turning Earth.

    Attributes
    ----------
    inclination : float
        Radians.
    orbits_per_day : float
    node : float
        Longitude of the ascending node on day zero (radians).
    along : float
        Where on the orbit the satellite is on day zero (radians from the node).
    metric : Metric
        Of the grid: how latitude and longitude become km.
    """

    inclination: float
    orbits_per_day: float
    node: float
    along: float
    metric: Metric

    def track(self, day: float, window: float) -> tuple[FloatArray, FloatArray]:
        """Points (n, 3) of the ground track over `window` days, in km, and its unit tangent at each."""
        count = 1 + math.ceil(POINTS_AN_ORBIT * self.orbits_per_day * window)
        days = day + window * np.arange(count) / (count - 1)
        u = self.along + 2 * np.pi * self.orbits_per_day * days
        latitude = np.arcsin(math.sin(self.inclination) * np.sin(u))
        longitude = self.node + np.arctan2(math.cos(self.inclination) * np.sin(u), np.cos(u)) - 2 * np.pi * days
        points = self.metric.embed(np.degrees(latitude), np.degrees(longitude))
        tangent = np.gradient(points, axis=0)
        length = np.linalg.norm(tangent, axis=1, keepdims=True)
        return points, tangent / np.where(length > 0, length, 1.0)  # no way at all in a window of microseconds

    def distance(self, cells: FloatArray, day: float, window: float, within: float = math.inf) -> FloatArray:
        """Distance in km of each of `cells` (n, 3) from the track; infinite where beyond `within`."""
        from scipy.spatial import cKDTree

        points, tangents = self.track(day, window)
        spacing = 2 * np.pi * EARTH_RADIUS_KM / POINTS_AN_ORBIT
        reach = math.hypot(within, spacing)
        if math.isfinite(reach):
            centre = cells.mean(axis=0)
            radius = float(np.max(np.linalg.norm(cells - centre, axis=1)))
            near = np.linalg.norm(points - centre, axis=1) <= radius + reach
            points, tangents = points[near], tangents[near]
        far = np.full(len(cells), math.inf)
        if not len(points):
            return far
        found, nearest = cKDTree(points, compact_nodes=False, balanced_tree=False).query(
            cells, distance_upper_bound=reach
        )
        hit = np.flatnonzero(np.isfinite(found))
        offset = cells[hit] - points[nearest[hit]]
        along = np.einsum("ij,ij->i", offset, tangents[nearest[hit]])
        across = np.sqrt(np.maximum(found[hit] ** 2 - along**2, 0.0))
        far[hit] = np.where(np.abs(along) <= spacing, across, found[hit])  # beside the track, or beyond its end
        return far


@dataclass(frozen=True, eq=False)
class _Tracks:
    """Cells within half a swath of the track that is flown from each step on."""

    days: FloatArray
    places: FloatArray
    window: float
    orbits: tuple[_Orbit, ...]
    reaches: tuple[float, ...]

    def __call__(self, member: int, window: Window) -> Bools:
        t, y, x = window
        cells = self.places[np.ix_(y, x)].reshape(y.size * x.size, 3)
        reach = self.reaches[member]
        if not math.isfinite(reach):
            return np.full((t.size, y.size, x.size), reach > 0)
        rows = [self.orbits[member].distance(cells, self.days[i], self.window, reach) <= reach for i in t]
        return np.stack(rows).reshape(t.size, y.size, x.size)


def tracks(
    field: xr.DataArray,
    probability: float,
    *,
    inclination: float = 98.7,
    orbits_per_day: float = 14.2,
    window: float | None = None,
    dims: Dims = None,
    seed: int = 0,
) -> xr.DataArray:
    """Hide all but the swath of a satellite: ascending and descending passes that shift from day to day.

    Parameters
    ----------
    field : DataArray
        On latitudes and longitudes. Its values are not read.
    probability : float
        Share of the cells to hide, 0 to 1, over all times; the swath is as wide as that takes (attr ``swath``, km). On
        up to 512 steps and 65,536 cells it is met to one cell; on more within 0.02, unless the region is so small and
        the steps so many that passes are rare.
    inclination : float
        Of the orbit, degrees between 0 and 180; no track goes beyond this latitude.
    orbits_per_day : float
        Over the turning Earth; its fraction decides how tracks shift from day to day.
    window : float, optional
        Days of flight that one step sees; by default the time from step to step (a day if there is one step), but not
        more than ten.
    dims : names in any order, or mapping, optional
        As in ``fit``; other dimensions are independent fields, each with a satellite of its own on the same kind of
        orbit.
    seed : int
        Decides where the satellite starts.

    Returns
    -------
    DataArray of bool
        `observed`, on the dimensions of `field`; True = observed, so ``field.where(mask)`` hides. Lazy if `field` is.

    Raises
    ------
    DataError
        For a probability outside 0 to 1, or an orbit that is none.
    CoordinateError
        When the field has no latitudes and longitudes.

    Notes
    -----
    With u the angle since the ascending node and i the inclination, sin φ = sin i sin u and
    λ = Ω + atan2(cos i sin u, cos u) − 2π t; the Earth turns once a day under an orbit that is fixed to the mean sun.

    Examples
    --------
    >>> import xgpfill
    >>> sst = xgpfill.datasets.synthetic_sst(days=4).truth
    >>> mask = xgpfill.masks.tracks(sst, 0.8, inclination=66.0, orbits_per_day=12.7)
    >>> round(float((~mask).mean()), 2)
    0.8
    """
    probability, seed = checked_probability(probability), checked_seed(seed)
    window = None if window is None else positive(window, "window", "days")
    _check_orbit(inclination, orbits_per_day, window)
    frame = Frame.of(field, dims, "tracks")
    lattice, metric = _on_the_globe(field, dims)
    if window is None:
        window = min(lattice.time_step, LONGEST_WINDOW)
    orbits, reaches = [], []
    for member in range(math.prod(frame.extra_shape)):
        rng = np.random.default_rng([seed, 4, member])
        node, along = rng.uniform(0.0, 2 * np.pi, 2)
        orbits.append(_Orbit(math.radians(inclination), float(orbits_per_day), node, along, metric))
        reaches.append(_reach(orbits[-1], lattice, window, probability, rng))
    source = _Tracks(lattice.time, lattice.space.coordinates, window, tuple(orbits), tuple(reaches))
    swaths = [max(0.0, 2 * reach) for reach in reaches]
    return frame.mask(
        source, mask="tracks", probability=probability, seed=seed, inclination=float(inclination),
        inclination_units="degrees", orbits_per_day=float(orbits_per_day), window=window, window_units="days",
        swath=swaths[0] if len(swaths) == 1 else swaths, swath_units="km",
    )  # fmt: skip


def _check_orbit(inclination: Any, orbits_per_day: Any, window: float | None) -> None:
    try:
        tilted, flying = 0.0 <= float(inclination) <= 180.0, 0.0 < float(orbits_per_day) <= FASTEST
    except (TypeError, ValueError):
        tilted = flying = False
    if not tilted or not flying:
        raise DataError(
            f"inclination={inclination!r}, orbits_per_day={orbits_per_day!r}: expected degrees between 0 and 180, and "
            f"up to {FASTEST:g} orbits a day, e.g. `inclination=98.7, orbits_per_day=14.2`."
        )
    if window is not None and window > LONGEST_WINDOW:
        raise DataError(f"window={window!r}: expected at most {LONGEST_WINDOW:g} days of flight in one step.")


def _on_the_globe(field: xr.DataArray, dims: Dims) -> tuple[Lattice, Metric]:
    """The grid in km on the sphere, by the latitude and longitude of its cells."""
    lattice, layout = encode(field, dims=dims, check=False)
    if not layout.metric.degrees:  # projected axes: their cells may still say where on Earth they are
        spatial = [d for d in layout.roles.space if d in field.coords]
        lattice, layout = encode(field.drop_vars(spatial), dims=dims, check=False)
    if not layout.metric.degrees:
        raise CoordinateError(
            f"`masks.tracks` needs latitudes and longitudes, and the coordinates are {list(field.coords)!r}. Give "
            f"them, e.g. `da.assign_coords(lat=..., lon=...)`, or use `masks.blocks` or `masks.clouds`."
        )
    return lattice, layout.metric


def _reach(orbit: _Orbit, lattice: Lattice, window: float, share: float, rng: np.random.Generator) -> float:
    """Half the swath that leaves the given share hidden, from all cells or a sample of them."""
    t = sampled(rng, lattice.time.size, TIMES)
    sites = sampled(rng, lattice.space.size, max(1, VALUES // t.size))
    cells = lattice.space.coordinates.reshape(lattice.space.size, -1)[sites]
    return threshold(np.stack([orbit.distance(cells, lattice.time[i], window) for i in t]), share, rng)
