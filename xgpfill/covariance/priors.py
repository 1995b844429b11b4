"""Draws and covariances of kernels along one axis, to see what they say before data. Pictures are made elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from xgpfill.covariance.bylag import places_along
from xgpfill.covariance.dense import cholesky
from xgpfill.covariance.evaluate import Lags, correlation
from xgpfill.errors import DataError, KernelError, listed, shown
from xgpfill.kernels import hyperparameters as tables
from xgpfill.kernels.given import Given, apart
from xgpfill.kernels.parts import has_type, replaced, walk
from xgpfill.kernels.spec import Brownian, Kernel, Periodic, Spectral, Sum, as_kernel
from xgpfill.options import checked_seed

if TYPE_CHECKING:
    from torch import Tensor

    from xgpfill.arrays import FloatArray

NUM_POINTS = 300
"""Points along the axis of a draw."""


def prior_draws(
    kernels: Kernel | str | Sequence[Kernel | str | None] | None,
    *,
    axis: str = "time",
    extent: float | None = None,
    n: int = 5,
    seed: int = 0,
) -> xr.DataArray:
    """Draw from kernels along one axis, to see what they mean; :func:`xgpfill.plotting.prior_draws` pictures them.

    Hyperparameters that a kernel does not give are: variance 1, lengthscale `extent` / 10 (dimensionless ones 1), a
    period of `extent` / 4, `alpha` 1, the offset of a Brownian walk `extent` / 10, and spectral components of equal
    weight at 4, 8, 12, … cycles per `extent`, one cycle wide.

    Parameters
    ----------
    kernels : kernel, name or None, or a sequence of them
        As in ``fit``: ``"matern32"``, ``xgpfill.RBF(30.0) * xgpfill.Periodic(365.25)``, None for white noise.
    axis : {"time", "space"}
        Along days, or along a straight line in km.
    extent : float, optional
        Length of the axis; by default 100 days or 1000 km.
    n : int
        Number of draws.
    seed : int
        Same seed, same draws; all kernels are drawn from the same noise.

    Returns
    -------
    DataArray (kernel, sample, time or distance)
        Of unit variance, or that given with a kernel (a Brownian walk grows), on 300 points; `kernel` holds their
        descriptions.

    Raises
    ------
    KernelError
        When a kernel is unknown, or not one of this axis.
    DataError
        When `axis`, `extent` or `n` makes no sense.

    Notes
    -----
    Rasmussen & Williams (2006), appendix A.2: L z with L Lᵀ = K and z white.

    Examples
    --------
    >>> draws = prior_draws(["matern12", "rbf"], extent=60.0, n=3)
    >>> dict(draws.sizes)
    {'kernel': 2, 'sample': 3, 'time': 300}
    >>> draws.kernel.values.tolist()
    ['Matérn-1/2, 6 days', 'RBF, 6 days']
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise DataError(f"n={shown(n)}: expected a positive number of draws, e.g. `prior_draws('matern32', n=5)`.")
    line = _Line.of(axis, extent)
    white = np.random.default_rng(checked_seed(seed)).standard_normal((NUM_POINTS, n))
    whole = line.kernels(kernels)
    values = np.stack([_drawn(line.matrix(*kernel), white) for kernel in whole])
    coords = {"kernel": line.words(whole), "sample": np.arange(n), line.dim: line.coordinate}
    attrs = {"long_name": "draws of the prior"}
    return xr.DataArray(values, coords, ("kernel", "sample", line.dim), name="prior_draws", attrs=attrs)


def prior_covariance(
    kernels: Kernel | str | Sequence[Kernel | str | None] | None, *, axis: str = "time", extent: float | None = None
) -> xr.DataArray:
    """The covariance matrix of kernels along one axis; :func:`xgpfill.plotting.prior_covariance` pictures it.

    Parameters
    ----------
    kernels, axis, extent
        As in :func:`prior_draws`, where it says what numbers that a kernel does not give are.

    Returns
    -------
    DataArray (kernel, time or distance, the same with `_other`)
        On 300 points; `kernel` holds their descriptions.

    Raises
    ------
    KernelError, DataError
        As :func:`prior_draws`.

    Examples
    --------
    >>> from xgpfill import RBF
    >>> found = prior_covariance(["matern12", RBF(3.0, variance=2.0)], extent=60.0)
    >>> dict(found.sizes)
    {'kernel': 2, 'time': 300, 'time_other': 300}
    >>> found.isel(time=0, time_other=0).values.tolist()
    [1.0, 2.0]
    """
    line = _Line.of(axis, extent)
    whole = line.kernels(kernels)
    values = np.stack([line.matrix(*kernel).numpy() for kernel in whole])
    other = f"{line.dim}_other"
    coords = {"kernel": line.words(whole), line.dim: line.coordinate, other: (other, *line.coordinate[1:])}
    attrs = {"long_name": "covariance of the prior"}
    return xr.DataArray(values, coords, ("kernel", line.dim, other), name="prior_covariance", attrs=attrs)


@dataclass(frozen=True)
class _Line:
    """The axis that kernels are looked at along, from zero to `extent`."""

    axis: str
    extent: float

    @classmethod
    def of(cls, axis: Any, extent: Any) -> _Line:
        """The axis that is meant.

        Raises
        ------
        DataError
        """
        if not isinstance(axis, str) or axis not in ("time", "space"):
            raise DataError(f"axis={shown(axis)}: choose one of {listed(('time', 'space'))}.")
        extent = {"time": 100.0, "space": 1000.0}[axis] if extent is None else extent
        if isinstance(extent, bool) or not isinstance(extent, Real) or not 0 < float(extent) < np.inf:
            unit = _unit(axis)
            raise DataError(f"extent={shown(extent)}: expected a positive number of {unit}, e.g. `extent=100.0`.")
        return cls(axis, float(extent))

    @property
    def dim(self) -> str:
        return "time" if self.axis == "time" else "distance"

    @property
    def positions(self) -> FloatArray:
        return np.linspace(0.0, self.extent, NUM_POINTS)

    @property
    def coordinate(self) -> tuple[str, FloatArray, dict[str, str]]:
        return self.dim, self.positions, {"units": _unit(self.axis)}

    def kernels(self, kernels: Any) -> list[tuple[Kernel, Given]]:
        """Those asked for, with numbers where they have none, and the variances that were given with them."""
        asked = list(kernels) if isinstance(kernels, Sequence) and not isinstance(kernels, str) else [kernels]
        if not asked:
            raise KernelError("No kernel was given. Name at least one, e.g. `prior_draws(['matern32', 'rbf'])`.")
        bare = [apart(as_kernel(kernel)) for kernel in asked]
        return [(_whole(kernel, self.axis, self.extent), given) for kernel, given in bare]

    def words(self, kernels: list[tuple[Kernel, Given]]) -> list[str]:
        """Descriptions of kernels."""
        names = [tables.described(kernel, _unit(self.axis)) for kernel, _ in kernels]
        variances = ["" if given.variance is None else f", variance {given.variance:.4g}" for _, given in kernels]
        return [name + variance for name, variance in zip(names, variances, strict=True)]

    def matrix(self, kernel: Kernel, given: Given) -> Tensor:
        """Covariance of all points, (n, n)."""
        geometry = "time" if self.axis == "time" else "plane"
        columns = self.positions[:, None] if self.axis == "time" else places_along(self.positions, "plane")
        points = torch.as_tensor(columns)
        variance = 1.0 if given.variance is None else float(given.variance)
        return variance * correlation(kernel, Lags.matrix(points, points, geometry))


def _unit(axis: str) -> str:
    return "days" if axis == "time" else "km"


def _drawn(covariance: Tensor, white: FloatArray) -> FloatArray:
    """Draws (sample, points) of a covariance."""
    factor = cholesky(covariance, what="covariance of a kernel")
    return np.asarray((factor @ torch.as_tensor(white)).T.numpy())


def _whole(kernel: Kernel, axis: str, extent: float) -> Kernel:
    """The kernel with documented numbers where it has none."""
    if axis == "space" and has_type(kernel, Brownian):
        raise KernelError("brownian is a kernel of time only; for space choose e.g. `prior_draws('matern12')`.")
    values: dict[str, Any] = {}
    for path, part in walk(kernel):
        values |= {path + name: v for name, v in _defaults(part, extent).items() if getattr(part, name) is None}
    return _started(replaced(kernel, values), extent)


def _defaults(kernel: Kernel, extent: float) -> dict[str, Any]:
    if isinstance(kernel, Periodic):
        return {"period": extent / 4, "lengthscale": 1.0}
    if isinstance(kernel, Spectral):
        q = kernel.num_components
        frequencies = tuple(4.0 * (i + 1) / extent for i in range(q))
        return {"weights": (1.0,) * q, "frequencies": frequencies, "bandwidths": (1.0 / extent,) * q}
    if isinstance(kernel, Sum):
        return {"weights": (1.0,) * len(kernel.parts)}
    if isinstance(kernel, Brownian):
        return {"offset": extent / 10}
    every = {"lengthscale": extent / 10, "alpha": 1.0}
    return {name: every[name] for name in kernel.parameter_units() if name in every}


def _started(kernel: Kernel, extent: float) -> Kernel:
    """Brownian walks that start at the beginning of the axis."""
    if isinstance(kernel, Brownian) and kernel.start is None:
        return replace(kernel, start=0.0, extent=extent)
    return kernel.with_parts(tuple(_started(part, extent) for part in kernel.parts))
