"""Regimes: synthetic fields whose truth and hyperparameters are known, for tests of engines and of learning.

Truths are drawn with the covariances of the dense oracle; of the package only the plain data that describe a prior and
its points are used. Small problems for tests of one piece are in :mod:`tests.problems`.

Examples
--------
>>> import xgpfill
>>> regime = make("static map", seed=3)
>>> model = regime.observed.gpfill.fit(hyperparameters=regime.hyperparameters, valid=True, **regime.fit_arguments)
>>> model.prior == regime.prior
True
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xgpfill.grid.lattice import Lattice, Space
from xgpfill.grid.points import Observations, Points
from xgpfill.kernels import spec
from xgpfill.kernels.hyperparameters import SMALLEST_NOISE, to_dataset
from xgpfill.kernels.prior import Prior, Term

from tests import reference as ref
from tests.problems import oracle

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Gaps = Callable[[np.random.Generator, tuple[int, int, int]], Mask]
Member = Mapping[Hashable, Any]
"""The labels of one of the independent fields along the extra dimensions, for ``sel``."""

UNITS = "degC"
OFFSET = 15.0
"""Constant mean of all truths."""
JITTER = 1e-10
"""Share of the variance on the diagonal of what truths are drawn with, for the sake of rounding."""


@dataclass(frozen=True, eq=False)
class Regime:
    """A field that is known, what was observed of it, and the prior to fill it with.

    Attributes
    ----------
    name : str
    prior : Prior
        All numbers known; variances and noise in data units², lengthscales in days and km.
    truth : DataArray
        The whole field without noise, dimensions in the order (extra..., time, y, x).
    observed : DataArray
        NaN in the gaps, elsewhere truth and noise.
    fit_arguments : dict
        `dims`, kernels, `combine`, `scales` and `geometry` with which ``fit`` builds the terms of this prior.
    scale : DataArray or None
        Along extra dimensions, how many times larger than under `prior` each field and its noise are. The prior is
        then that of all of them pooled.
    drawn_from_prior : bool
        Whether the truth is a draw of the prior (of each field's own, with a `scale`).
    """

    name: str
    prior: Prior
    truth: xr.DataArray
    observed: xr.DataArray
    fit_arguments: dict[str, Any]
    scale: xr.DataArray | None = None
    drawn_from_prior: bool = True

    @property
    def dims(self) -> tuple[str, ...]:
        """The fitted dimensions, in the order (time, y, x)."""
        return tuple(self.fit_arguments["dims"])

    @property
    def members(self) -> list[Member]:
        """The independent fields; one without labels where there are no extra dimensions."""
        extra = [d for d in self.truth.dims if d not in self.dims]
        shape = [self.truth.sizes[d] for d in extra]
        return [{d: self.truth[d].values[i] for d, i in zip(extra, m, strict=True)} for m in np.ndindex(*shape)]

    @property
    def hyperparameters(self) -> xr.Dataset:
        """The numbers of the prior as ``fit(hyperparameters=...)`` takes them."""
        return to_dataset(self.prior, self.lattice, UNITS, noise_is_scale=False)

    @cached_property
    def lattice(self) -> Lattice:
        """The cells without values, for engines and operators."""
        return _lattice(self.truth, self.prior.geometry)

    @cached_property
    def cells(self) -> Points:
        """All cells of one field, time outermost."""
        space = self.lattice.space
        sites = space.coordinates.reshape(space.size, -1)
        return Points.grid(self.lattice.time, sites, space.shape)

    def of_cells(self, field: xr.DataArray, member: Member | None = None) -> Array:
        """The values of one field in the order of `cells`."""
        return field.sel(member or {}).transpose(*self.dims).values.ravel()

    def seen(self, member: Member | None = None) -> NDArray[np.intp]:
        """Which of the `cells` are observed."""
        return np.flatnonzero(np.isfinite(self.of_cells(self.observed, member)))

    def unseen(self, member: Member | None = None, most: int | None = None) -> NDArray[np.intp]:
        """Which of the `cells` are not; at most so many of them, at random."""
        index = np.flatnonzero(np.isnan(self.of_cells(self.observed, member)))
        return index if most is None or index.size <= most else np.sort(_rng(0).choice(index, most, replace=False))

    def observations(self, member: Member | None = None) -> Observations:
        """The observations of one field in data units, as engines take them with `prior`."""
        index, cells = self.seen(member), self.cells
        points = replace(cells, time_index=cells.time_index[index], site_index=cells.site_index[index], is_grid=False)
        values = self.of_cells(self.observed, member)[index]
        return Observations(points, values, np.full(index.size, float(self.prior.noise)))

    def posterior(self, index: NDArray[np.intp], member: Member | None = None) -> ref.Posterior:
        """The oracle's posterior of some of the `cells` under `prior` and an unknown constant mean, in data units."""
        cells, seen = self.cells, self.seen(member)
        t, s = cells.time_index, cells.site_index
        return ref.posterior(
            ref.covariance(self._terms, t[seen], s[seen], t[seen], s[seen]),
            ref.covariance(self._terms, t[seen], s[seen], t[index], s[index]),
            np.full(index.size, sum(term["variance"] for term in self._terms)),  # all kernels are one at no lag
            self.of_cells(self.observed, member)[seen],
            float(self.prior.noise),
            basis=np.ones((seen.size, 1)),
            basis_targets=np.ones((index.size, 1)),
        )

    @cached_property
    def _terms(self) -> list[ref.Term]:
        """The terms with factors of indices into the axes: each correlation is evaluated once."""

        def factor(kernel: spec.Kernel, axis: Array, geometry: str) -> ref.Factor | None:
            if isinstance(kernel, spec.Constant):
                return None
            table = oracle(kernel, axis, axis, geometry)
            return lambda i, j: table[np.ix_(i, j)]

        times, sites, geometry = self.cells.times, self.cells.sites, self.prior.geometry
        return [
            {
                "variance": float(term.variance),
                "time": factor(term.time, times, "time"),
                "space": factor(term.space, sites, geometry),
            }
            for term in self.prior.terms
        ]


def make(name: str, seed: int = 0) -> Regime:
    """The regime of this name; the same one for the same seed."""
    return REGIMES[name](seed)


# Draws by the oracle


def draw(rng: np.random.Generator, prior: Prior, times: Array, sites: Array) -> Array:
    """A draw of the zero-mean field at all times and sites, (time, site).

    Of each term √v · L Z Mᵀ, with L Lᵀ and M Mᵀ its correlations in time and space and Z independent.
    """
    total = np.zeros((len(times), len(sites)))
    for term in prior.terms:
        L, M = _root(term.time, times, "time"), _root(term.space, sites, prior.geometry)
        total += np.sqrt(float(term.variance)) * L @ rng.standard_normal((L.shape[1], M.shape[1])) @ M.T
    return total


def _root(kernel: spec.Kernel, axis: Array, geometry: str) -> Array:
    """A factor of the correlation matrix along an axis, with equal rows for equal coordinates (the cells of a pole)."""
    if isinstance(kernel, spec.Constant):
        return np.ones((len(axis), 1))
    distinct, where = np.unique(np.round(axis, 6) + 0.0, axis=0, return_inverse=True)
    K = oracle(kernel, distinct, distinct, geometry)
    return np.linalg.cholesky(K + JITTER * np.eye(len(K)))[where.ravel()]


# Gaps: each gives True where a cell (time, y, x) is observed


def at_random(hidden: float) -> Gaps:
    """Every cell on its own."""
    return lambda rng, shape: rng.uniform(size=shape) >= hidden


def clouds(hidden: float, size: tuple[int, int, int] = (2, 6, 7)) -> Gaps:
    """Boxes of up to this size (time, y, x)."""

    def gaps(rng: np.random.Generator, shape: tuple[int, int, int]) -> Mask:
        seen = np.ones(shape, bool)
        while np.mean(~seen) < hidden:
            middle = [int(rng.integers(n)) for n in shape]
            extent = [int(rng.integers(1, n + 1)) for n in size]
            seen[tuple(slice(max(0, m - n // 2), m - n // 2 + n) for m, n in zip(middle, extent, strict=True))] = False
        return seen

    return gaps


def tracks(hidden: float, period: int = 20) -> Gaps:
    """Next to nothing but diagonal lines, which move from time to time."""

    def gaps(rng: np.random.Generator, shape: tuple[int, int, int]) -> Mask:
        t, y, x = np.indices(shape)
        return (x + 2 * y + 7 * t + int(rng.integers(period))) % period < round((1 - hidden) * period)

    return gaps


def stations(count: int) -> Gaps:
    """A few places at all times, the others never."""

    def gaps(rng: np.random.Generator, shape: tuple[int, int, int]) -> Mask:
        places = np.zeros(shape[1] * shape[2], bool)
        places[rng.choice(places.size, count, replace=False)] = True
        return np.broadcast_to(places.reshape(shape[1:]), shape).copy()

    return gaps


def outages(hidden: float, longest: int) -> Gaps:
    """Runs of times without an observation, of each place on its own."""
    return clouds(hidden, (longest, 1, 1))


# Coordinates


def region(num_times: int, num_lat: int, num_lon: int, spacing: float = 2.0) -> dict[str, Any]:
    """Coordinates of daily fields on a regular region in the middle latitudes."""
    return {
        "time": _time(num_times),
        "lat": ("lat", 30.0 + spacing * np.arange(num_lat), {"units": "degrees_north"}),
        "lon": ("lon", -12.0 + spacing * np.arange(num_lon), {"units": "degrees_east"}),
    }


def globe(num_times: int, num_lat: int, num_lon: int) -> dict[str, Any]:
    """Coordinates of daily fields on the globe, rows on both poles."""
    return {
        "time": _time(num_times),
        "lat": ("lat", np.linspace(-90.0, 90.0, num_lat), {"units": "degrees_north"}),
        "lon": ("lon", 360.0 / num_lon * np.arange(num_lon), {"units": "degrees_east"}),
    }


def plane(num_y: int, num_x: int, spacing: float) -> dict[str, Any]:
    """Coordinates (km) of one field on a plane."""
    return {
        "y": ("y", spacing * np.arange(num_y), {"units": "km"}),
        "x": ("x", spacing * np.arange(num_x), {"units": "km"}),
    }


def _time(size: int) -> tuple[str, Any]:
    return "time", np.datetime64("2001-01-01", "ns") + np.arange(size) * np.timedelta64(1, "D")


def _lattice(da: xr.DataArray, geometry: str) -> Lattice:
    """The cells of a field, without values."""
    wraps = "lon" in da.dims and _wraps(da["lon"].values)
    return Lattice(None, _days(da), Space(_places(da), geometry, is_grid="station" not in da.dims, wraps=wraps))


def _days(da: xr.DataArray) -> Array:
    if "time" not in da.dims:
        return np.zeros(1)
    return (da["time"].values - da["time"].values[0]) / np.timedelta64(1, "D")


def _places(da: xr.DataArray) -> Array:
    """Embedded km of the cells, (y, x, d); a list of stations lies along y."""
    if "station" in da.dims:
        return ref.chord(da["lat"].values, da["lon"].values)[:, None]
    if "lat" in da.dims:
        return ref.chord(*np.meshgrid(da["lat"].values, da["lon"].values, indexing="ij"))
    return np.stack(np.meshgrid(da["y"].values, da["x"].values, indexing="ij")[::-1], axis=-1)


def _wraps(lon: Array) -> bool:
    return bool(np.isclose(lon.size * (lon[1] - lon[0]), 360.0))


# Priors

TIME, SPACE = "matern12", "matern32"
"""The families of kernels of all priors: rough in time, smoother in space."""


def days(lengthscale: float) -> spec.Matern:
    """The kernel in time."""
    return spec.Matern(0.5, lengthscale)


def km(lengthscale: float) -> spec.Matern:
    """The kernel in space."""
    return spec.Matern(1.5, lengthscale)


def anova(noise: float, variance: float = 4.0, geometry: str = "sphere") -> Prior:
    """A static, a common, a slow and a fast term; `noise` is a share of the variance of the field."""
    terms = (
        Term("static", spec.Constant(), km(1500.0), 0.3 * variance),
        Term("common", days(6.0), spec.Constant(), 0.1 * variance),
        Term("slow", days(10.0), km(1000.0), 0.4 * variance),
        Term("fast", days(2.5), km(400.0), 0.2 * variance),
    )
    return Prior(terms, noise=noise * variance, geometry=geometry)


# Regimes


def _static_map(seed: int) -> Regime:
    """A map much larger than anomalies that are white in time and correlated over a third of the domain."""
    terms = (
        Term("static", spec.Constant(), km(900.0), 15.0**2),
        Term("common", days(0.05), spec.Constant(), 0.05),
        Term("product", days(0.05), km(1200.0), 1.0),
    )
    prior = Prior(terms, noise=0.05, geometry="sphere")
    return _regime("static map", seed, prior, region(30, 10, 14, 3.0), clouds(0.7, (1, 7, 9)), scales=1)


def _fixed_stations(seed: int) -> Regime:
    """Some places at all times, the rest of the lattice never."""
    return _regime("fixed stations", seed, anova(0.05), region(38, 12, 14), stations(56))


def _dense(seed: int) -> Regime:
    """Few gaps, on a lattice much finer than the lengthscales, and little noise: what is near says almost all."""
    return _regime("dense", seed, anova(1e-3), region(12, 12, 14, 0.5), clouds(0.15, (2, 6, 6)))


def _hidden(seed: int) -> Regime:
    """Next to nothing is seen."""
    return _regime("hidden", seed, anova(0.05), region(32, 14, 18), at_random(0.98))


def _noise_free(seed: int) -> Regime:
    """No noise at all; the prior has the least that is allowed."""
    return _regime("noise free", seed, anova(0.0), region(20, 12, 16), tracks(0.7))


def _little_noise(seed: int) -> Regime:
    """Noise of a thousandth of the variance."""
    return _regime("little noise", seed, anova(1e-3), region(20, 12, 16), clouds(0.7))


def _some_noise(seed: int) -> Regime:
    """Noise of a tenth of the variance."""
    return _regime("some noise", seed, anova(0.1), region(20, 12, 16), at_random(0.7))


def _all_noise(seed: int) -> Regime:
    """As much noise as field."""
    return _regime("all noise", seed, anova(1.0), region(20, 12, 16), clouds(0.7))


def _one_frame(seed: int) -> Regime:
    """One field on a plane, no time."""
    terms = (Term("slow", spec.Constant(), km(150.0), 3.0), Term("fast", spec.Constant(), km(25.0), 1.0))
    prior = Prior(terms, noise=0.1, geometry="plane")
    return _regime("one frame", seed, prior, plane(44, 56, 10.0), clouds(0.5, (1, 9, 11)))


def _long_series(seed: int) -> Regime:
    """Three places, in no order, for four years, each with outages of its own."""
    places = {"lat": [48.1, 40.4, 51.5], "lon": [11.6, -3.7, -0.1]}
    attrs = {"lat": {"units": "degrees_north"}, "lon": {"units": "degrees_east"}}
    coords = {"time": _time(1500)} | {name: ("station", at, attrs[name]) for name, at in places.items()}
    return _regime("long series", seed, anova(0.05), coords, outages(0.75, 30))


def _globe_with_poles(seed: int) -> Regime:
    """The cells of a pole row are one place, and the last meridian is a neighbour of the first."""
    return _regime("globe with poles", seed, anova(0.05), globe(10, 13, 24), clouds(0.65, (2, 5, 7)))


def _rough_patches(seed: int) -> Regime:
    """A smooth field with patches where a short rough term is active; the prior is that of one stationary fit."""
    rough, share = 4.0, 0.25
    prior = anova(0.02)
    inside = Prior((Term("fast", days(1.5), km(300.0), rough),), geometry="sphere")
    average = Term("fast", days(1.5), km(300.0), share * rough)  # variance of the patches, spread over the domain
    smooth = prior.restricted(("static", "common", "slow"))
    prior = replace(prior, terms=(*smooth.terms, average))
    coords = region(20, 12, 16)
    rng = _rng(seed, "patches")
    patches = ~clouds(share, (1, 6, 8))(rng, (1, 12, 16))[0]

    def truth(rng: np.random.Generator, times: Array, sites: Array) -> Array:
        return draw(rng, smooth, times, sites) + patches.ravel() * draw(rng, inside, times, sites)

    found = _regime("rough patches", seed, prior, coords, tracks(0.7), truth=truth)
    return replace(found, drawn_from_prior=False)


def _two_levels(seed: int) -> Regime:
    """Two independent fields, one five times larger than the other, in units of their own pooled prior."""
    deviations = np.array([1.0, 5.0])
    prior = anova(0.05, variance=float(np.mean(deviations**2)))
    scale = xr.DataArray(
        deviations / np.sqrt(np.mean(deviations**2)), dims="level", coords={"level": ("level", [850.0, 500.0])}
    )
    return _regime("two levels", seed, prior, region(12, 10, 12), clouds(0.65), scale=scale)


REGIMES: dict[str, Callable[[int], Regime]] = {
    "static map": _static_map,
    "fixed stations": _fixed_stations,
    "dense": _dense,
    "hidden": _hidden,
    "noise free": _noise_free,
    "little noise": _little_noise,
    "some noise": _some_noise,
    "all noise": _all_noise,
    "one frame": _one_frame,
    "long series": _long_series,
    "globe with poles": _globe_with_poles,
    "rough patches": _rough_patches,
    "two levels": _two_levels,
}


def _regime(
    name: str,
    seed: int,
    prior: Prior,
    coords: dict[str, Any],
    gaps: Gaps,
    *,
    scales: int = 2,
    scale: xr.DataArray | None = None,
    truth: Callable[[np.random.Generator, Array, Array], Array] | None = None,
) -> Regime:
    """Draw a truth, add noise and hide cells.

    Parameters
    ----------
    prior : Prior
        Noise in data units²; zero stands for the least that is allowed, and none is added.
    coords : dict
        Coordinates along the fitted dimensions, in the order (time, y, x).
    scale : DataArray, optional
        See :class:`Regime`; one field is drawn for each of its entries.
    truth : callable, optional
        Draws a field (time, site) that is not one of the prior.
    """
    rng = _rng(seed, name)
    sizes = xr.Dataset(coords=coords).sizes
    empty = xr.DataArray(np.full(tuple(sizes.values()), np.nan), coords, tuple(sizes), "field", {"units": UNITS})
    frame = _lattice(empty, prior.geometry)
    if scale is not None:
        empty = empty.expand_dims({"level": scale["level"]})
    sites = frame.space.coordinates.reshape(frame.space.size, -1)
    fields, noises, seen = [], [], []
    for factor in (1.0,) if scale is None else scale.values:
        drawn = draw(rng, prior, frame.time, sites) if truth is None else truth(rng, frame.time, sites)
        fields.append(factor * drawn)
        noises.append(factor * np.sqrt(float(prior.noise)) * rng.standard_normal(drawn.shape))
        seen.append(gaps(rng, frame.shape))
    whole = empty.copy(data=OFFSET + np.reshape(fields, empty.shape))
    observed = (whole + np.reshape(noises, empty.shape)).where(np.reshape(seen, empty.shape)).assign_attrs(empty.attrs)
    if not prior.noise:
        prior = replace(prior, noise=SMALLEST_NOISE * float(observed.var()))
    arguments = {
        "dims": tuple(sizes), "time_kernel": TIME, "space_kernel": SPACE, "combine": prior.combine, "scales": scales,
        "geometry": prior.geometry,
    }  # fmt: skip
    return Regime(name, prior, whole, observed, arguments, scale)


def _rng(seed: int, name: str = "") -> np.random.Generator:
    """Each regime draws numbers of its own."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])
