"""Smooth random fields made of waves, known at any place and time: nothing is stored, so chunks change nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from xgpfill.arrays import FloatArray

NUM_WAVES = 512
SITES_AT_ONCE = 8192


@dataclass(frozen=True, eq=False)
class Waves:
    """A sum of plane waves of random direction and phase, close to a Gaussian field of unit variance.

    Its covariance is the product of two Matérn-3/2 functions, of distance over `lengthscale` and of lag over `duration`
    (random Fourier features, Rahimi & Recht 2007).

    Attributes
    ----------
    in_space : array (waves, d)
        Angular frequency along each coordinate, radians per km.
    in_time : array (waves,)
        Radians per day.
    phase : array (waves,)
    """

    in_space: FloatArray
    in_time: FloatArray
    phase: FloatArray

    @classmethod
    def drawn(cls, rng: np.random.Generator, *, lengthscale: float, duration: float, ndim: int) -> Waves:
        """Draw the waves of a field in `ndim` coordinates, km and days."""
        return cls(
            _matern32(rng, ndim) / lengthscale,
            _matern32(rng, 1)[:, 0] / duration,
            rng.uniform(0.0, 2 * np.pi, NUM_WAVES),
        )

    def at(self, days: FloatArray, sites: FloatArray) -> FloatArray:
        """The field at all `days` (n,) and all `sites` (m, d), as (n, m).

        Examples
        --------
        >>> import numpy as np
        >>> waves = Waves.drawn(np.random.default_rng(0), lengthscale=100.0, duration=2.0, ndim=2)
        >>> waves.at(np.arange(3.0), np.zeros((5, 2))).shape
        (3, 5)
        """
        turn = days[:, None] * self.in_time + self.phase
        before, found = np.concatenate([np.cos(turn), -np.sin(turn)], axis=1), np.empty((days.size, len(sites)))
        for start in range(0, len(sites), SITES_AT_ONCE):
            part = slice(start, start + SITES_AT_ONCE)
            along = sites[part] @ self.in_space.T
            # cos(a + b) = cos a cos b − sin a sin b: one product of matrices for all days
            found[:, part] = before @ np.concatenate([np.cos(along), np.sin(along)], axis=1).T
        return found * math.sqrt(2.0 / self.phase.size)


def _matern32(rng: np.random.Generator, ndim: int) -> FloatArray:
    """Frequencies (waves, ndim) of a Matérn-3/2 of unit lengthscale: its spectral density is Student's t, 3 degrees."""
    return np.asarray(rng.standard_normal((NUM_WAVES, ndim)) / np.sqrt(rng.chisquare(3.0, (NUM_WAVES, 1)) / 3.0))
