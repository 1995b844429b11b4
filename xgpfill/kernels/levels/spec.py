"""A kernel of space times one of depth, as frozen, torch-free data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xgpfill.errors import KernelError, listed, shown
from xgpfill.kernels.spec import (
    RBF,
    Constant,
    Independent,
    Kernel,
    Matern,
    Product,
    RationalQuadratic,
    Sum,
    as_kernel,
    walk,
)

DEFAULT = "default"
"""What `depth_kernel` is where nobody names one: `matern32` where depth is fitted."""
TYPES = (Matern, RBF, RationalQuadratic, Constant, Independent, Sum, Product)
"""Kernels that there are of depth."""


@dataclass(frozen=True)
class Layered(Kernel):
    """k(s, s') d(z, z') between places s, s' at the depths z, z'.

    Its parts are the kernel of space, in km, and that of depth, in the unit of the levels.
    """

    parts: tuple[Kernel, ...] = ()

    @property
    def of_places(self) -> Kernel:
        """That of space."""
        return self.parts[0]

    @property
    def of_depth(self) -> Kernel:
        """That of depth."""
        return self.parts[1]


def as_depth_kernel(kernel: Any) -> Kernel:
    """Read a kernel of depth; the default is `matern32`.

    Raises
    ------
    KernelError
        When it is none that there is of depth.
    """
    found = as_kernel("matern32" if isinstance(kernel, str) and kernel == DEFAULT else kernel)
    foreign = [part for _, part in walk(found) if not isinstance(part, TYPES)]
    if foreign:
        raise KernelError(
            f"depth_kernel={shown(kernel)} holds {type(foreign[0]).__name__}, which is no kernel of depth. Choose of "
            f"{listed(('matern12', 'matern32', 'matern52', 'rbf', 'rational_quadratic', 'constant'))}, sums and "
            f"products of them, or None for levels that are independent."
        )
    return found


def require_fitted(kernel: Any, dims: object, depth: object) -> None:
    """Refuse a kernel of depth where no dimension of `depth` is fitted.

    Raises
    ------
    KernelError
    """
    if depth is None and not (isinstance(kernel, str) and kernel == DEFAULT):
        raise KernelError(
            f"depth_kernel={shown(kernel)} was given, but no dimension of depth is fitted: dims={dims!r}. Name it, "
            f"e.g. `dims=('time', 'depth', 'lat', 'lon')`, or `dims={{'depth': 'lev', ...}}`; or leave "
            f"`depth_kernel=` out."
        )
