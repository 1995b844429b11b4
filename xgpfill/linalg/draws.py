"""Coherent draws of the prior on a lattice, from a seed, evaluated on any window of it.

A separable term is drawn as (factor of the time matrix) · (draws in space). Space is drawn by a dense Cholesky
factor up to `DENSE_SITES` cells; beyond, by a factor in longitude (:mod:`xgpfill.linalg.spectral_draws`) where
meridians are regular; else by random Fourier features (Rahimi & Recht 2007) with fresh frequencies for every draw, so
that the covariance over draws is exact in expectation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.errors import KernelError
from xgpfill.grid.directions import places_of_each
from xgpfill.grid.meridians import find_meridians
from xgpfill.grid.metric import EARTH_RADIUS_KM
from xgpfill.kernels.averaged import Averaged
from xgpfill.kernels.evaluate import Lags, correlation
from xgpfill.kernels.functions.by_latitude import ByLatitude
from xgpfill.kernels.outside import Outside
from xgpfill.kernels.spec import (
    RBF,
    Brownian,
    Constant,
    Independent,
    Kernel,
    Matern,
    Periodic,
    Product,
    RationalQuadratic,
    Shared,
    Spectral,
    Sum,
    has_type,
    is_directional,
)
from xgpfill.linalg.dense import cholesky
from xgpfill.linalg.space import is_even
from xgpfill.linalg.spectral_draws import SpectralFactor, spectral_factor
from xgpfill.linalg.threads import in_parts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from xgpfill.grid.lattice import FloatArray, Lattice, Window
    from xgpfill.grid.points import IntArray, Points
    from xgpfill.kernels.prior import Prior, Term

FEW_SITES = 256
DENSE_SITES = 4000
DENSE_TIMES = 4000
CHUNK = 2**21
"""Cells that are drawn at once: as many draws as have no more."""
NUM_FEATURES = 2000
FEATURES_AT_ONCE = 2**20
"""Waves at points that one thread makes at once."""


@dataclass(frozen=True, eq=False)
class PriorDraws:
    """Draws of the zero-mean prior and of unit noise on a lattice; same seed, same draws, whatever the window.

    Attributes
    ----------
    frame : Lattice
        Times and space; its values are not used.
    prior : Prior
    seed : int
    noise_share : float
        Noise over the variance of the prior: what draws may miss of it is small beside it.
    """

    frame: Lattice
    prior: Prior
    seed: int
    noise_share: float = 1.0

    def field(self, draw: int, member: int, window: Window) -> FloatArray:
        """One draw of the field on a window, (time, y, x)."""
        return next(self.fields(range(draw, draw + 1), member, window))

    def fields(self, draws: Sequence[int], member: int, window: Window) -> Iterator[FloatArray]:
        """Draws of the field on a window by number, each (time, y, x), several of them made at once."""
        t, y, x = window
        _, nx = self.frame.space.shape
        sites = (y[:, None] * nx + x).ravel()
        at_once = max(1, CHUNK // (self.frame.time.size * self.frame.space.size))
        for start in range(0, len(draws), at_once):
            some = draws[start : start + at_once]
            total = np.zeros((len(some), t.size, sites.size))
            for number, term in enumerate(self.prior.terms):
                rngs = [np.random.default_rng([self.seed, draw, member, number]) for draw in some]
                assert term.variance is not None
                for k, drawn in enumerate(self._term(term, rngs, t, sites)):
                    total[k] += math.sqrt(float(term.variance)) * drawn
            yield from total.reshape(len(some), t.size, y.size, x.size)

    def noise(self, draw: int, member: int, window: Window) -> FloatArray:
        """Unit white noise on a window, (time, y, x): one stream for each time step."""
        t, y, x = window
        frames = [self._frame_noise(draw, member, int(i))[np.ix_(y, x)] for i in t]
        return np.stack(frames)

    def _frame_noise(self, draw: int, member: int, step: int) -> FloatArray:
        stream = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, draw, member, step]))
        return stream.standard_normal(self.frame.space.shape)

    def _term(
        self, term: Term, rngs: Sequence[np.random.Generator], t: IntArray, sites: IntArray
    ) -> Iterable[FloatArray]:
        """Draws of a term of unit variance, each (times, sites)."""
        if isinstance(term.space, Shared) and (one := self._of_one(len(term.space.loadings))) is not None:
            variable, place = np.divmod(sites, one.frame.space.size)
            loadings, own = np.array(term.space.loadings)[variable], replace(term, space=term.space.of_one)
            places, back = np.unique(place, return_inverse=True)
            return (loadings * drawn[:, back] for drawn in one._term(own, rngs, t, places))
        unmixed = isinstance(term.space, (Constant, Independent))
        few = self.frame.time.size <= DENSE_TIMES or isinstance(term.time, (Constant, Independent))
        spectral = self._spectral(term.space) if self.frame.space.size > FEW_SITES and few and not unmixed else None
        if spectral is not None:
            return self._in_longitude(spectral, term, rngs, t, sites)
        return (self._drawn(term, rng, t, sites) for rng in rngs)

    def _of_one(self, count: int) -> PriorDraws | None:
        """Draws of what `count` variables share, made once; None where these do not lie at the same places."""
        if count not in self._shared:
            whole = self.frame.space
            rows = places_of_each(whole.coordinates, count)
            space = None if rows is None else replace(whole, coordinates=whole.coordinates[:rows], components=1)
            frame = None if space is None else replace(self.frame, space=space)
            one = None if frame is None else PriorDraws(frame, self.prior, self.seed, self.noise_share)
            self._shared[count] = one
        return self._shared[count]

    @cached_property
    def _shared(self) -> dict[int, PriorDraws | None]:
        return {}

    def _drawn(self, term: Term, rng: np.random.Generator, t: IntArray, sites: IntArray) -> FloatArray:
        """A draw of a term by its dense factors or by features."""
        num_times, num_sites = self.frame.time.size, self.frame.space.size
        if num_times > DENSE_TIMES and not isinstance(term.time, (Constant, Independent)):
            if num_sites > DENSE_SITES and not isinstance(term.space, (Constant, Independent)):
                return self._joint_features(term, rng, t, sites)
            white = rng.standard_normal((2, NUM_FEATURES, self._space_rank(term.space)))
            cosine, sine = _waves(term.time, self.frame.time[t, None], _frequencies(term.time, rng, 1))
            in_time = (cosine @ white[0] + sine @ white[1]) / math.sqrt(NUM_FEATURES)
            return self._spread(in_time, term.space, sites)
        if num_sites <= DENSE_SITES or isinstance(term.space, (Constant, Independent)):
            white = rng.standard_normal((self._time_rank(term.time), self._space_rank(term.space)))
            return self._spread(self._along(white, term.time, t), term.space, sites)
        places = self._places(term.space)
        waves = _waves(term.space, places[sites], _frequencies(term.space, rng, places.shape[1]))
        white = rng.standard_normal((2, self._time_rank(term.time), NUM_FEATURES))
        cosine, sine = (self._along(w, term.time, t) for w in white)
        mixed = cosine @ waves[0].T + sine @ waves[1].T
        return np.asarray(mixed / math.sqrt(NUM_FEATURES))

    def _in_longitude(
        self, spectral: SpectralFactor, term: Term, rngs: Sequence[np.random.Generator], t: IntArray, sites: IntArray
    ) -> Iterator[FloatArray]:
        """Draws by a factor in longitude; whole frames are drawn, of which the window is a part."""
        mixed = not isinstance(term.time, (Constant, Independent))
        in_time = self._factor(term.time, self.frame.time[:, None], "time")[t] if mixed else None
        for whole in spectral.draws(rngs, in_time, self._time_rank(term.time)):
            times = whole.reshape(-1, self.frame.space.size)
            if not mixed:
                times = times[t] if len(times) > 1 else np.repeat(times, t.size, axis=0)
            yield times if sites.size == times.shape[1] else times[:, sites]

    def _spectral(self, kernel: Kernel) -> SpectralFactor | None:
        """Factors in longitude, where meridians are regular and a circle is affordable."""
        if kernel not in self._spectra:
            meridians = find_meridians(self.frame.space.coordinates, self.prior.geometry)
            usable = meridians is not None and is_even(kernel, meridians)
            self._spectra[kernel] = (
                spectral_factor(kernel, meridians, self.noise_share) if usable and meridians is not None else None
            )
        return self._spectra[kernel]

    @cached_property
    def _spectra(self) -> dict[Kernel, SpectralFactor | None]:
        return {}

    def _joint_features(self, term: Term, rng: np.random.Generator, t: IntArray, sites: IntArray) -> FloatArray:
        """Features of time and space together, for lattices long in both."""
        places = self._places(term.space)
        cosine, sine = _waves(term.time, self.frame.time[t, None], _frequencies(term.time, rng, 1))
        waves = _waves(term.space, places[sites], _frequencies(term.space, rng, places.shape[1]))
        a, b = rng.standard_normal((2, NUM_FEATURES))
        mixed = (cosine * a + sine * b) @ waves[0].T + (cosine * b - sine * a) @ waves[1].T
        return np.asarray(mixed / math.sqrt(NUM_FEATURES))

    def _space_rank(self, kernel: Kernel) -> int:
        return 1 if isinstance(kernel, Constant) else self.frame.space.size

    def _spread(self, white: FloatArray, kernel: Kernel, sites: IntArray) -> FloatArray:
        if isinstance(kernel, Constant):
            return np.repeat(white, sites.size, axis=1)
        if isinstance(kernel, Independent):
            return white[:, sites]
        return np.asarray(white @ self._space_factor(kernel)[sites].T)

    def _time_rank(self, kernel: Kernel) -> int:
        return 1 if isinstance(kernel, Constant) else self.frame.time.size

    def _along(self, white: FloatArray, kernel: Kernel, t: IntArray) -> FloatArray:
        """White noise (rank, ...) correlated along time, at some times."""
        if isinstance(kernel, Constant):
            return np.repeat(white, t.size, axis=0)
        if isinstance(kernel, Independent):
            return white[t]
        return np.asarray(self._factor(kernel, self.frame.time[:, None], "time")[t] @ white)

    def _space_factor(self, kernel: Kernel) -> FloatArray:
        if isinstance(kernel, Constant):
            return np.ones((self.frame.space.size, 1))
        return self._factor(
            kernel, self.frame.space.coordinates.reshape(self.frame.space.size, -1), self.prior.geometry
        )

    def _factor(self, kernel: Kernel, coordinates: FloatArray, geometry: str) -> FloatArray:
        if (kernel, geometry) not in self._factors:
            x = torch.as_tensor(np.ascontiguousarray(coordinates))
            factor = cholesky(correlation(kernel, Lags.matrix(x, x, geometry)), what="prior")
            self._factors[kernel, geometry] = factor.numpy()
        return self._factors[kernel, geometry]

    @cached_property
    def _factors(self) -> dict[tuple[Kernel, str], FloatArray]:
        return {}

    def _places(self, kernel: Kernel) -> FloatArray:
        """Coordinates in which the kernel is stationary, (sites, d)."""
        flat = self.frame.space.coordinates.reshape(self.frame.space.size, -1)
        if self.prior.geometry == "cylinder" and is_directional(kernel):
            return np.stack([EARTH_RADIUS_KM * np.arctan2(flat[:, 1], flat[:, 0]), flat[:, 2]], axis=1)
        return flat

    def __getstate__(self) -> dict[str, object]:
        """Travel without factors; they are made where they are needed."""
        return {"frame": self.frame, "prior": self.prior, "seed": self.seed, "noise_share": self.noise_share}


def has_spectrum(prior: Prior) -> bool:
    """Whether :func:`drawn_at` knows the frequencies of every kernel."""
    if prior.geometry == "cylinder" and any(is_directional(term.space) for term in prior.terms):
        return False
    return not any(
        has_type(k, Brownian, Independent, Outside, Averaged, ByLatitude)
        for t in prior.terms
        for k in (t.time, t.space)
    )


def drawn_at(prior: Prior, points: Points, seeds: Sequence[Sequence[int]]) -> FloatArray:
    """Draws (n, S) of the zero-mean field at points anywhere, by features; a seed is the same field wherever asked.

    With fresh frequencies for every draw their covariance is exact in expectation, and so are second moments of
    whatever is linear in them.
    """
    found, x = np.zeros((len(points), len(seeds))), np.column_stack([points.time, points.space])
    for s, seed in enumerate(seeds):
        for number, term in enumerate(prior.terms):
            assert term.variance is not None
            rng = np.random.default_rng([*seed, number])
            parts = [_frequencies(term.time, rng, 1), _frequencies(term.space, rng, x.shape[1] - 1)]
            frequencies = torch.as_tensor(np.concatenate(parts, axis=1).T)
            a, b = rng.standard_normal((2, NUM_FEATURES))
            size = torch.as_tensor(np.hypot(a, b) * math.sqrt(float(term.variance) / NUM_FEATURES)).float()
            turn, column = torch.as_tensor(np.arctan2(b, a)), found[:, s]

            def part(start: int, stop: int) -> None:
                phase = torch.remainder(torch.as_tensor(x[start:stop]) @ frequencies - turn, 2 * math.pi)  # noqa: B023
                column[start:stop] += (phase.float().cos_() @ size).double().numpy()  # noqa: B023

            in_parts(part, len(points), FEATURES_AT_ONCE // NUM_FEATURES)
    return found


def noise_share(prior: Prior, noise: float) -> float:
    """Noise over the variance of a prior, at most one."""
    return min(1.0, noise / max(sum(float(term.variance or 0.0) for term in prior.terms), 1e-300))


def _waves(kernel: Kernel, places: FloatArray, frequencies: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Cosines and sines at places, (places, NUM_FEATURES): of averages, the averages of those of their members."""
    if not isinstance(kernel, Averaged):
        phase = places @ frequencies.T
        return np.cos(phase), np.sin(phase)
    members, count = kernel.members.of(places)
    starts = np.cumsum(count) - count
    waves = _waves(kernel.kernel, members, frequencies)
    cosine, sine = (np.add.reduceat(wave, starts, axis=0) / count[:, None] for wave in waves)
    return cosine, sine


def _frequencies(kernel: Kernel, rng: np.random.Generator, size: int) -> FloatArray:
    """Angular frequencies (NUM_FEATURES, size) drawn from the kernel's spectral density (Bochner)."""
    n = NUM_FEATURES
    normal = rng.standard_normal((n, size))
    if isinstance(kernel, Matern):
        ratio = rng.chisquare(2 * kernel.nu, (n, 1)) / (2 * kernel.nu)
        return np.asarray(normal / np.sqrt(ratio) / _known(kernel.lengthscale))
    if isinstance(kernel, RBF):
        return np.asarray(normal / _known(kernel.lengthscale))
    if isinstance(kernel, RationalQuadratic):
        alpha = _known(kernel.alpha)
        return np.asarray(normal * np.sqrt(rng.gamma(alpha, 1 / alpha, (n, 1))) / _known(kernel.lengthscale))
    if isinstance(kernel, Periodic):
        from scipy.special import ive

        lengthscale = _known(kernel.lengthscale)
        most = 8 + int(8 / lengthscale)  # harmonics of sd 1/ℓ: what is left out is rounding
        orders = np.arange(-most, most + 1)
        share = ive(np.abs(orders), lengthscale**-2)
        drawn = rng.choice(orders, size=(n, size), p=share / share.sum())
        return np.asarray(2 * np.pi * drawn / _known(kernel.period))
    if isinstance(kernel, Spectral):
        return _mixture_frequencies(kernel, rng, normal)
    if isinstance(kernel, Averaged):
        return _frequencies(kernel.kernel, rng, size)
    if isinstance(kernel, Constant):
        return np.zeros((n, size))
    if isinstance(kernel, Product):
        return np.asarray(np.sum([_frequencies(part, rng, size) for part in kernel.parts], axis=0))
    if isinstance(kernel, Sum):
        weights = np.array(kernel.weights or (1.0,) * len(kernel.parts), dtype=float)
        chosen = rng.choice(weights.size, size=n, p=weights / weights.sum())
        parts = np.stack([_frequencies(part, rng, size) for part in kernel.parts])
        return np.asarray(parts[chosen, np.arange(n)])
    raise KernelError(
        f"{type(kernel).__name__} has no spectral density to draw from on more than {DENSE_TIMES} times, or on more "
        f"than {DENSE_SITES} places off regular meridians. Sample fewer times, or choose another kernel."
    )


def _mixture_frequencies(kernel: Spectral, rng: np.random.Generator, normal: FloatArray) -> FloatArray:
    """Those of a spectral mixture, from its Gaussians around plus and minus each frequency."""
    assert kernel.weights
    assert kernel.frequencies
    assert kernel.bandwidths
    weights = np.array(kernel.weights, dtype=float)
    chosen = rng.choice(weights.size, size=normal.shape, p=weights / weights.sum())
    sign = rng.choice((-1.0, 1.0), size=normal.shape)
    centre, width = np.array(kernel.frequencies)[chosen], np.array(kernel.bandwidths)[chosen]
    return np.asarray(2 * np.pi * (sign * centre + width * normal))


def _known(value: object) -> float:
    assert value is not None
    return float(value)  # type: ignore[arg-type]
