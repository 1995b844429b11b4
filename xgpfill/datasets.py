"""Small fields to learn and test with, made on the spot: nothing is read from disk or the network.

No estimation lives here; the masks that hide cells of your own data are in `xgpfill.masks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from xgpfill.errors import DimensionError

Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]

EARTH_RADIUS = 6371.0088  # km
REGION = ((36.0, 44.0), (0.0, 12.0))  # degrees: latitudes, longitudes
FIRST_DAY = "2021-04-15"
CLOUD_SHARE = 0.6  # of the sea, over all days
MOST_CLOUDS = 0.95  # of the sea, on one day
SENSOR_NOISE = 0.12  # degC, standard deviation of one observed cell

# Outlines of land, lon lat in degrees, drawn by hand after the western Mediterranean.
_COASTS: tuple[str, ...] = (
    # Iberia and southern France
    "-1 45, -1 39.4, -.3 39.4, 0 40, .5 40.6, .85 40.8, 1.1 41.2, 2.1 41.5, 3.1 42, 3.25 42.4, 3 42.7, "
    "3 43.3, 3.9 43.8, 4.8 43.65, 5.35 43.45, 6 43.25, 6.65 43.4, 7.3 43.85, 8 44.1, 8.7 44.6, 8.7 45",
    # Cape Nao
    "-1 39.2, -1 38.2, -.4 38.4, .25 38.75, -.2 39.1",
    # Italy
    "9.2 45, 9.2 44.4, 9.9 44.1, 10.3 43.5, 10.55 43, 11.1 42.7, 11.3 42.45, 11.8 42.1, 12.3 41.7, 13 41.5, 13 45",
    # North Africa
    "-1 35, -1 35.3, .1 35.7, 1.3 36, 3.1 36.25, 4.6 36.35, 5.2 36.2, 6.3 36.5, 7.3 36.5, 7.8 36.2, "
    "8.8 36.4, 9.8 36.8, 10.2 36.6, 10.4 36.2, 11.05 36.55, 10.6 35.9, 10.9 35",
    # Corsica, Sardinia, Majorca, Minorca, Ibiza
    "8.6 41.9, 8.55 42.4, 9.1 42.7, 9.4 43, 9.55 42.1, 9.2 41.4",
    "8.15 40.6, 8.2 40.95, 9.2 41.25, 9.8 40.6, 9.65 39.4, 9 38.95, 8.4 39, 8.45 39.8",
    "2.35 39.55, 3.1 39.97, 3.45 39.7, 3.05 39.25, 2.7 39.5",
    "3.8 40.05, 4.3 39.95, 4.2 39.8, 3.85 39.9",
    "1.2 38.95, 1.5 39.12, 1.65 39, 1.4 38.8",
)


@dataclass(frozen=True)
class _Grid:
    """Axes of the cube: degrees, days from the first step, and km east and north of the south-west corner."""

    lat: Floats
    lon: Floats
    days: Floats

    @property
    def north(self) -> Floats:
        return np.asarray(np.radians(self.lat - self.lat[0]) * EARTH_RADIUS)

    @property
    def east(self) -> Floats:
        shrink = np.cos(np.radians(self.lat.mean()))
        return np.asarray(np.radians(self.lon - self.lon[0]) * EARTH_RADIUS * shrink)

    @property
    def spacing(self) -> tuple[float, float]:
        """Kilometres from a cell to the next, north and east."""
        return float(self.north[1]), float(self.east[1])


def synthetic_sst(*, days: int = 45, nlat: int = 36, nlon: int = 48, seed: int = 0) -> xr.Dataset:
    """Make up a daily sea surface temperature, as it is and as a satellite sees it through clouds.

    The truth is a meridional gradient, the warming of spring, some tens of eddies (radii 40-100 km) that
    drift with a mean current and die, and an anomaly of the weather remembered for about five days [1]_.
    The satellite adds noise (0.12 degC) and loses about 60 % of the sea under clouds that move, grow and
    last two or three days. The coast resembles the western Mediterranean, whatever the seed.

    Parameters
    ----------
    days, nlat, nlon : int
        Size of the cube; at least 1, 4 and 4. The region is always 36-44 °N, 0-12 °E, the first day
        2021-04-15.
    seed : int
        The same seed gives the same field.

    Returns
    -------
    xarray.Dataset
        On (time, lat, lon): `sst` (degC, float32, NaN under clouds and on land) and `truth` (degC, float32,
        NaN on land only, without the noise); on (lat, lon): `valid` (bool, True at sea).

    Raises
    ------
    DimensionError
        When a size is too small.

    References
    ----------
    .. [1] Hasselmann, K. (1976). Stochastic climate models. Part I. Theory. Tellus 28, 473-485: the ocean
       integrates the weather, which makes its anomalies a first-order autoregression.

    Examples
    --------
    >>> from xgpfill.datasets import synthetic_sst
    >>> cube = synthetic_sst(days=20)
    >>> dict(cube.sizes)
    {'time': 20, 'lat': 36, 'lon': 48}
    >>> hidden = cube.sst.isnull() & cube.valid
    >>> round(float(hidden.sum() / (cube.valid.sum() * cube.sizes["time"])), 2)
    0.6
    """
    _check_sizes(days=days, nlat=nlat, nlon=nlon)
    lat, lon = np.linspace(*REGION[0], nlat), np.linspace(*REGION[1], nlon)
    grid = _Grid(lat, lon, np.arange(days, dtype=float))
    # One stream a part, so that changing one part leaves the others as they are.
    eddies, weather, clouds, sensor = np.random.default_rng(seed).spawn(4)
    sea = _sea(grid)
    truth = _background(grid) + _eddies(grid, eddies) + _weather(grid, weather)
    truth = np.where(sea, truth, np.nan)
    seen = truth + SENSOR_NOISE * sensor.standard_normal(truth.shape)
    return _dataset(grid, truth, np.where(_clouds(grid, sea, clouds), np.nan, seen), sea)


def _check_sizes(*, days: int, nlat: int, nlon: int) -> None:
    for name, found, least in (("days", days, 1), ("nlat", nlat, 4), ("nlon", nlon, 4)):
        if found < least:
            raise DimensionError(
                f"`{name}={found}` is too small for a synthetic field: at least {least} is needed. "
                f"Type e.g. `synthetic_sst(days=45, nlat=36, nlon=48)`."
            )


def _dataset(grid: _Grid, truth: Floats, seen: Floats, sea: Bools) -> xr.Dataset:
    dims = ("time", "lat", "lon")
    temperature = {"standard_name": "sea_surface_temperature", "units": "degC"}
    return xr.Dataset(
        {
            "sst": (
                dims,
                seen.astype(np.float32),
                {"long_name": "sea surface temperature", **temperature},
            ),
            "truth": (
                dims,
                truth.astype(np.float32),
                {"long_name": "true sea surface temperature", **temperature},
            ),
            "valid": (dims[1:], sea, {"long_name": "cell is sea"}),
        },
        coords={
            "time": (
                "time",
                pd.date_range(FIRST_DAY, periods=grid.days.size),
                {"standard_name": "time", "axis": "T"},
            ),
            "lat": ("lat", grid.lat, {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"}),
            "lon": ("lon", grid.lon, {"standard_name": "longitude", "units": "degrees_east", "axis": "X"}),
        },
        attrs={"Conventions": "CF-1.11", "title": "Synthetic daily sea surface temperature with clouds"},
    )


def _sea(grid: _Grid) -> Bools:
    """(lat, lon) True at sea."""
    lon, lat = np.meshgrid(grid.lon, grid.lat)
    land = np.zeros(lon.shape, dtype=bool)
    for coast in _COASTS:
        land |= _inside(lon, lat, np.array([corner.split() for corner in coast.split(",")], dtype=float))
    return ~land


def _inside(x: Floats, y: Floats, polygon: Floats) -> Bools:
    """Even-odd rule: True where a ray to the east crosses the outline an odd number of times."""
    odd = np.zeros(x.shape, dtype=bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        spans = (y0 > y) != (y1 > y)
        odd ^= spans & (x < x0 + (y - y0) / (y1 - y0) * (x1 - x0))
    return odd


def _background(grid: _Grid) -> Floats:
    """(time, lat, lon) in degC: colder to the north along a wavy front; over the year coldest in February."""
    day_of_year = pd.Timestamp(FIRST_DAY).day_of_year + grid.days
    season = -5.0 * np.cos(2 * np.pi * (day_of_year - 45.0) / 365.25)
    front = 0.8 * np.sin(2 * np.pi * grid.lon / 9.0)
    gradient = -0.45 * (grid.lat[:, None] + front - 40.0)
    found: Floats = 18.0 + season[:, None, None] + gradient
    return found


def _eddies(grid: _Grid, rng: np.random.Generator) -> Floats:
    """(time, lat, lon) in degC: warm and cold Gaussian bumps that drift, spin up and decay within weeks."""
    lead = 40.0  # days: births before the first day and after the last keep the number steady
    north, east = grid.north, grid.east
    total = np.zeros((grid.days.size, north.size, east.size))
    for _ in range(int(40 * (grid.days.size + 2 * lead) / 60)):
        age = grid.days - rng.uniform(-lead, grid.days[-1] + lead)
        strength = rng.choice([-1.0, 1.0]) * rng.uniform(0.6, 1.8) * np.exp(-0.5 * (age / rng.uniform(10, 20)) ** 2)
        radius = rng.uniform(40.0, 100.0)
        # km a day: the mean current (to the east-north-east) and the eddy's own way
        y = rng.uniform(-100.0, north[-1] + 100.0) + (1.0 + rng.normal(0.0, 2.0)) * age
        x = rng.uniform(-100.0, east[-1] + 100.0) + (4.0 + rng.normal(0.0, 2.0)) * age
        across = np.exp(-0.5 * ((north - y[:, None]) / radius) ** 2)
        along = np.exp(-0.5 * ((east - x[:, None]) / radius) ** 2)
        total += strength[:, None, None] * across[:, :, None] * along[:, None, :]
    return total


def _weather(grid: _Grid, rng: np.random.Generator) -> Floats:
    """(time, lat, lon) in degC: what the wind and the sun of the last five days left in the water."""
    anomaly = _remembering(grid, rng, scale=130.0, memory=5.0, margin=500.0)
    return 0.4 * anomaly[:, : grid.lat.size, : grid.lon.size]


def _clouds(grid: _Grid, sea: Bools, rng: np.random.Generator) -> Bools:
    """(time, lat, lon) True where the sea is hidden: systems and their ragged edges, carried by the wind."""
    systems = _remembering(grid, rng, scale=150.0, memory=4.0, margin=1500.0)
    shreds = _remembering(grid, rng, scale=40.0, memory=2.0, margin=1500.0)
    thickness = _carried(grid, systems + 0.35 * shreds, wind=(10.0, 45.0))
    over_sea = thickness[:, sea]
    overcast = np.quantile(over_sea, 1.0 - MOST_CLOUDS, axis=1)
    limit = np.maximum(np.quantile(over_sea, 1.0 - CLOUD_SHARE), overcast)
    return np.asarray(thickness > limit[:, None, None])


def _remembering(grid: _Grid, rng: np.random.Generator, *, scale: float, memory: float, margin: float) -> Floats:
    """Unit-variance noise, smooth over `scale` km and correlated as exp(-lag / memory) over days.

    It is periodic in space, on a sheet wider than the grid by `margin` km: (time, north, east).
    """
    from scipy.ndimage import gaussian_filter

    sizes = [
        n + int(np.ceil(margin / step)) for n, step in zip((grid.lat.size, grid.lon.size), grid.spacing, strict=True)
    ]
    widths = [scale / step for step in grid.spacing]
    fresh = rng.standard_normal((grid.days.size, *sizes))
    fresh = gaussian_filter(fresh, (0.0, *widths), mode="wrap")
    fresh /= fresh.std()
    kept = float(np.exp(-1.0 / memory))
    for today in range(1, grid.days.size):
        fresh[today] = kept * fresh[today - 1] + np.sqrt(1.0 - kept**2) * fresh[today]
    return np.asarray(fresh, dtype=np.float64)


def _carried(grid: _Grid, sheet: Floats, *, wind: tuple[float, float]) -> Floats:
    """Look at a periodic sheet that moves over the grid with `wind` (km a day, north and east)."""
    frames = np.empty((grid.days.size, grid.lat.size, grid.lon.size))
    for day, frame in enumerate(sheet):
        shift = [round(day * speed / step) for speed, step in zip(wind, grid.spacing, strict=True)]
        frames[day] = np.roll(frame, shift, axis=(0, 1))[: grid.lat.size, : grid.lon.size]
    return frames
