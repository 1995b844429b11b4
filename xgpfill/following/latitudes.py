"""What kernels of latitude need to know of the data. No torch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from xgpfill.errors import KernelError
from xgpfill.grid.directions import places_of
from xgpfill.grid.metric import EARTH_RADIUS_KM
from xgpfill.kernels.functions.by_latitude import ByLatitude
from xgpfill.kernels.spec import has_type, walk

if TYPE_CHECKING:
    from xgpfill.grid.lattice import Space
    from xgpfill.kernels.prior import Prior
    from xgpfill.kernels.spec import Kernel


def resolve_latitudes(prior: Prior, space: Space, *, degrees: bool) -> Prior:
    """Tell every kernel of latitude how far from the equator the data are.

    Raises
    ------
    KernelError
        When places have no latitude, or all the same, or such a kernel is one of time or part of another.
    """
    if not any(has_type(kernel, ByLatitude) for term in prior.terms for kernel in (term.time, term.space)):
        return prior
    if any(has_type(term.time, ByLatitude) for term in prior.terms):
        raise KernelError("ByLatitude is a kernel of space only; type `space_kernel=xgpfill.ByLatitude('matern32')`.")
    if any(isinstance(k, ByLatitude) and path for term in prior.terms for path, k in walk(term.space)):
        raise KernelError(
            "ByLatitude stands outermost, about sums and products of kernels, not in them. Type e.g. "
            "`space_kernel=xgpfill.ByLatitude(xgpfill.Matern(1.5) + xgpfill.RBF())`."
        )
    if not degrees:
        raise KernelError(
            "ByLatitude needs latitudes in degrees, and the coordinates of these data have none. Choose another kernel "
            "of space, e.g. `space_kernel='matern32'`, or give latitudes and longitudes."
        )
    north = np.abs(_latitudes(space))
    span = float(north.min()), float(north.max())

    def resolved(kernel: Kernel) -> Kernel:
        own = isinstance(kernel, ByLatitude) and kernel.latitudes is None
        return replace(kernel, latitudes=span) if own else kernel  # type: ignore[call-arg]

    return replace(prior, terms=tuple(replace(term, space=resolved(term.space)) for term in prior.terms))


def _latitudes(space: Space) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Degrees, from embedded places."""
    north = places_of(space.coordinates)[..., -1] / EARTH_RADIUS_KM
    turned = np.arcsin(np.clip(north, -1.0, 1.0)) if space.geometry == "sphere" else north
    return np.asarray(np.rad2deg(turned))
