"""Gaps that look like clouds: a smooth random field in space and time, hidden where it is high."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xgpfill.checks import checked_probability, checked_seed, positive
from xgpfill.layout.encode import encode
from xgpfill.masks._frame import Frame, sampled, threshold
from xgpfill.masks._waves import Waves

if TYPE_CHECKING:
    import xarray as xr

    from xgpfill.arrays import FloatArray, Window
    from xgpfill.grid.lattice import Lattice
    from xgpfill.layout.encode import Dims
    from xgpfill.masks._frame import Bools

VALUES = 250_000
"""Cells, at most, from which the height of the cloud base is found."""
TIMES = 1000


@dataclass(frozen=True, eq=False)
class _Clouds:
    """A field of waves for each member, hidden where it exceeds a limit."""

    days: FloatArray
    places: FloatArray
    fields: tuple[Waves, ...]
    limits: tuple[float, ...]

    def __call__(self, member: int, window: Window) -> Bools:
        t, y, x = window
        sites = self.places[np.ix_(y, x)].reshape(y.size * x.size, -1)
        thickness = self.fields[member].at(self.days[t], sites)
        return (thickness <= self.limits[member]).reshape(t.size, y.size, x.size)


def clouds(
    field: xr.DataArray,
    probability: float,
    *,
    lengthscale: float,
    duration: float = 2.0,
    dims: Dims = None,
    seed: int = 0,
) -> xr.DataArray:
    """Hide under clouds: gaps that are correlated in space and in time.

    Parameters
    ----------
    field : DataArray
        Its values are not read.
    probability : float
        Share of the cells to hide, 0 to 1, over all times: some days are clearer than others. On up to 250,000 cells it
        is met to one cell (and to the cells that share one place, as those of a pole); on more, within about 0.01.
    lengthscale : float
        Size of the clouds in km; in cells where the grid has no coordinates. It is the lengthscale of a Matérn-3/2 of
        the distance that ``fit`` uses, so there is no seam at the date line and nothing special at the poles.
    duration : float
        How long they last, in days; ``math.inf`` for clouds that stay.
    dims : names in any order, or mapping, optional
        As in ``fit``; other dimensions are independent fields with clouds of their own.
    seed : int

    Returns
    -------
    DataArray of bool
        `observed`, on the dimensions of `field`; True = observed, so ``field.where(mask)`` hides. Lazy if `field` is.

    Raises
    ------
    DataError
        For a probability outside 0 to 1, or a lengthscale or duration that is not positive.
    XgpfillError
        For dimensions and coordinates that ``fit`` would refuse.

    References
    ----------
    Rahimi & Recht (2007), random features; here 512 waves on the positions and days, so that any chunk is made alone.

    Examples
    --------
    >>> import xgpfill
    >>> sst = xgpfill.datasets.synthetic_sst(days=6).truth
    >>> mask = xgpfill.masks.clouds(sst, 0.7, lengthscale=200.0, duration=2.0)
    >>> hidden = sst.where(mask)
    """
    probability, seed = checked_probability(probability), checked_seed(seed)
    lengthscale, duration = positive(lengthscale, "lengthscale", "km"), positive(duration, "duration", "days")
    frame = Frame.of(field, dims, "clouds")
    lattice, _ = encode(field, dims=dims, check=False)
    places = lattice.space.coordinates
    waves, limits = [], []
    for member in range(math.prod(frame.extra_shape)):
        rng = np.random.default_rng([seed, 3, member])
        waves.append(Waves.drawn(rng, lengthscale=lengthscale, duration=duration, ndim=places.shape[-1]))
        limits.append(_limit(waves[-1], lattice, probability, rng))
    source = _Clouds(lattice.time, places, tuple(waves), tuple(limits))
    return frame.mask(
        source, mask="clouds", probability=probability, seed=seed, lengthscale=lengthscale,
        lengthscale_units=lattice.space.unit, duration=duration, duration_units="days",
    )  # fmt: skip


def _limit(waves: Waves, lattice: Lattice, share: float, rng: np.random.Generator) -> float:
    """What the given share of the cells exceeds, from all cells or a sample of them."""
    t = sampled(rng, lattice.time.size, TIMES)
    sites = sampled(rng, lattice.space.size, max(1, VALUES // t.size))
    flat = lattice.space.coordinates.reshape(lattice.space.size, -1)
    return threshold(waves.at(lattice.time[t], flat[sites]), share, rng)
