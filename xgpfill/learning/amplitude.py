"""Where a field varies more than elsewhere: a smooth amplitude from predictions of hidden observations.

With the residual rᵢ of a hidden observation, its variance vᵢ by a model of one amplitude and known noise σᵢ²,

    rᵢ ~ N(0, exp(gᵢ) vᵢ + σᵢ²),   g(s) = g₀ + Σⱼ aⱼ exp(−|s − cⱼ|² / 2ℓ²),   aⱼ ~ N(0, 1),   D = exp(g/2)

which is a generalised linear model of the squared residuals (McCullagh & Nelder 1989, §8.4; with the mean replaced by
predictions of what is hidden it is the cross-validated variance of Bachoc 2013, doi:10.1016/j.csda.2013.03.016, place
by place). The lengthscale ℓ, or none, is that under which other days' residuals are most likely.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xgpfill.grid.directions import apart_from_depth
from xgpfill.grid.scaling import Amplitude, bumps

if TYPE_CHECKING:
    from xgpfill.grid.lattice import FloatArray, Space
    from xgpfill.learning.heldout import Prediction

SHARES_OF_EXTENT = (1 / 4, 1 / 8, 1 / 16)
"""Lengthscales that are tried, relative to the extent of the domain."""
LEAST_CELLS = 2.0
"""Cells that a lengthscale spans at least."""
ENOUGH_EACH = 20
"""Residuals for each centre, at least."""
FOLDS = 10
STEPS, CLOSE = 50, 1e-3
"""Steps at most, and how much likelier (in nats, of all residuals) the next one may be where they end."""


def local_amplitude(hidden: Prediction, space: Space, seed: int) -> Amplitude | None:
    """The amplitude under which the residuals of hidden observations are most likely; None where one is enough.

    Lengthscales are tried from the longest on, as long as the shorter one says more of other days.

    Parameters
    ----------
    hidden : Prediction
        Of a model of one amplitude.
    space : Space
        For the lengthscales that are tried.
    seed : int
        Of the folds, where days are too few to be these.
    """
    smallest, sites = LEAST_CELLS * max(space.steps), apart_from_depth(hidden.space)[0]
    found = Residuals.of(hidden)
    folds = _folds(hidden.time, np.random.default_rng(seed))
    best, chosen = found.losses(np.zeros((len(found), 0)), folds).mean(), None
    for share in SHARES_OF_EXTENT:
        lengthscale = share * space.extent
        if not lengthscale > smallest:
            break
        centres = _centres(sites, lengthscale)
        if len(centres) * ENOUGH_EACH > len(found):
            break
        loss = found.losses(bumps(sites, centres, lengthscale), folds).mean()
        if not loss < best:
            break  # a shorter one says even less
        best, chosen = loss, (centres, lengthscale)
    if chosen is None:
        return None
    centres, lengthscale = chosen
    basis = bumps(sites, centres, lengthscale)
    logs = 0.5 * found.fitted(basis)[1:]
    level = -float((basis @ logs).mean())
    return Amplitude(tuple(map(tuple, centres.tolist())), tuple(logs.tolist()), lengthscale, level)


@dataclass(frozen=True)
class Residuals:
    """Squared residuals of hidden observations, (k,); two parts of the variance expected of them; how each counts."""

    square: FloatArray
    varying: FloatArray
    known: FloatArray
    weight: FloatArray

    def __len__(self) -> int:
        return self.square.size

    @classmethod
    def of(cls, hidden: Prediction) -> Residuals:
        """Those of a prediction; noise that is not known varies as the field does."""
        variance = hidden.sd**2
        varying = np.maximum(variance - hidden.known_noise, 1e-6 * variance)
        return cls((hidden.truth - hidden.mean) ** 2, varying, hidden.known_noise, hidden.weight)

    def take(self, index: FloatArray) -> Residuals:
        """Some of them."""
        return Residuals(self.square[index], self.varying[index], self.known[index], self.weight[index])

    def fitted(self, basis: FloatArray, near: FloatArray | None = None) -> FloatArray:
        """g₀ and the aⱼ of largest posterior density, (1 + m,), by Fisher's scoring from `near`; `basis` (k, m)."""
        B = np.column_stack([np.ones(len(self)), basis])
        penalty = np.diag(np.r_[1e-6, np.ones(basis.shape[1])])
        a = np.zeros(B.shape[1]) if near is None else near
        for _ in range(STEPS):
            part = np.exp(B @ a) * self.varying
            whole = part + self.known
            slope = B.T @ (0.5 * self.weight * part / whole * (1.0 - self.square / whole)) + penalty @ a
            curvature = B.T @ ((0.5 * self.weight * (part / whole) ** 2)[:, None] * B) + penalty
            step = np.linalg.solve(curvature, slope)
            largest = float(np.abs(step).max())
            a = a - step / max(1.0, largest)
            if largest < 1.0 and float(slope @ step) < CLOSE:
                break
        return a

    def loss(self, logs: FloatArray) -> float:
        """Mean of −log N(r; 0, exp(g) v + σ²), without its constant."""
        whole = np.exp(logs) * self.varying + self.known
        return float((0.5 * self.weight * (np.log(whole) + self.square / whole)).mean())

    def losses(self, basis: FloatArray, folds: FloatArray) -> FloatArray:
        """The loss of each fold with what the others say, (folds,)."""
        losses, near = [], self.fitted(basis)
        for fold in np.unique(folds):
            own = folds == fold
            a = self.take(~own).fitted(basis[~own], near)
            losses.append(self.take(own).loss(a[0] + basis[own] @ a[1:]))
        return np.array(losses)


def _folds(time: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Which fold each residual is of: whole days where there are enough, since errors of a day go together."""
    days, index = np.unique(time, return_inverse=True)
    if days.size < FOLDS:
        return np.asarray(rng.integers(0, FOLDS, time.size))
    return np.asarray(rng.permutation(days.size)[index] % FOLDS)


def _centres(sites: FloatArray, lengthscale: float) -> FloatArray:
    """Places of which one is within a lengthscale of every place: the farthest from the others, one by one."""
    chosen = [sites[0]]
    distance = np.linalg.norm(sites - chosen[0], axis=1)
    while distance.max() > lengthscale:
        chosen.append(sites[int(distance.argmax())])
        distance = np.minimum(distance, np.linalg.norm(sites - chosen[-1], axis=1))
    return np.array(chosen)
