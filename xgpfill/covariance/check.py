"""Whether a kernel that a user brought is a covariance on the places it will meet, tried on random points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.covariance.evaluate import Lags, correlation
from xgpfill.errors import KernelError
from xgpfill.kernels.outside import Outside
from xgpfill.kernels.parts import walk
from xgpfill.kernels.prior import AXES, outside_kernels

if TYPE_CHECKING:
    from torch import Tensor

    from xgpfill.arrays import FloatArray
    from xgpfill.grid.lattice import Lattice
    from xgpfill.kernels.prior import Prior
    from xgpfill.kernels.spec import Kernel

NUM_POINTS = 128
TOLERANCE = 1e-6
"""Of the largest eigenvalue, or of the largest covariance: what rounding may do."""


def check_outside(prior: Prior, lattice: Lattice, seed: int) -> None:
    """Try every kernel that a user brought on random points of the lattice.

    Raises
    ------
    KernelError
        When it fails, gives another shape or NaN, or is not symmetric and positive definite.
    """
    outside_kernels(prior)  # names are told apart
    rng = np.random.default_rng(seed)
    places = {"time": lattice.moments[:, None], "space": lattice.space.coordinates.reshape(lattice.space.size, -1)}
    for term in prior.terms:
        for axis in AXES:
            for _, kernel in walk(getattr(term, axis)):
                if isinstance(kernel, Outside):
                    geometry = "time" if axis == "time" else prior.geometry
                    _check(kernel, _some(places[axis], rng), axis, geometry)


def _some(places: FloatArray, rng: np.random.Generator) -> Tensor:
    """Up to `NUM_POINTS` of them, some near neighbours among them."""
    start = int(rng.integers(max(1, len(places) - NUM_POINTS // 2)))
    chosen = rng.choice(len(places), size=min(len(places), NUM_POINTS // 2), replace=False)
    index = np.union1d(chosen, np.arange(start, min(len(places), start + NUM_POINTS // 2)))
    return torch.as_tensor(np.ascontiguousarray(places[index]))


def _check(kernel: Outside, places: Tensor, axis: str, geometry: str) -> None:
    K = correlation(kernel, Lags.matrix(places, places, geometry)).double()
    said = f"The {axis} kernel {kernel.name!r}"
    if not torch.isfinite(K).all():
        raise KernelError(f"{said} gives NaN or infinite covariances. It must be finite at every pair of points.")
    largest = float(K.abs().max())
    asymmetry = float((K - K.T).abs().max())
    if asymmetry > TOLERANCE * largest:
        raise KernelError(
            f"{said} is not symmetric: k(x, y) and k(y, x) differ by {asymmetry:.3g}. Let it depend on both alike."
        )
    eigenvalues = torch.linalg.eigvalsh(0.5 * (K + K.T))
    if float(eigenvalues[0]) < -TOLERANCE * float(eigenvalues[-1]) or largest == 0.0:
        kind = "km in 3-D, whose distance is the chord" if geometry == "sphere" else "days" if axis == "time" else "km"
        raise KernelError(
            f"{said} is not positive definite: on {len(K)} random points its eigenvalues go from "
            f"{float(eigenvalues[0]):.3g} to {float(eigenvalues[-1]):.3g}. It receives {kind}. "
            f"Use a kernel that is valid there, e.g. `{axis}_kernel='matern32'`."
        )


def invariant_in_longitude(kernel: Kernel, places: FloatArray, geometry: str, seed: int = 0) -> bool:
    """Whether turning both points about the axis of the globe, or moving both along x, changes nothing.

    Every kernel of this package is; one that a user brought is tried on random pairs.
    """
    if not any(isinstance(part, Outside) for _, part in walk(kernel)):
        return True
    rng = np.random.default_rng(seed)
    x = torch.as_tensor(np.ascontiguousarray(places[rng.choice(len(places), min(len(places), NUM_POINTS))]))
    moved = x.clone()
    if geometry == "plane":
        moved[:, 0] += 0.37 * float(x[:, 0].max() - x[:, 0].min() + 1.0)
    else:
        c, s = np.cos(0.7), np.sin(0.7)
        moved[:, 0], moved[:, 1] = c * x[:, 0] - s * x[:, 1], s * x[:, 0] + c * x[:, 1]
    here, there = (correlation(kernel, Lags.matrix(p, p, geometry)) for p in (x, moved))
    return bool((here - there).abs().max() <= TOLERANCE * here.abs().max())
