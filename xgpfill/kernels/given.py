"""Variances that are given with kernels: which are held, and what they are of sums and products; without torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from xgpfill.errors import KernelError
from xgpfill.kernels.spec import Kernel, Sum

if TYPE_CHECKING:
    from xgpfill.kernels.spec import Number


@dataclass(frozen=True)
class Given:
    """A variance that was given with a kernel, None where there was none, and whether it is held."""

    variance: Number | None = None
    held: bool = False

    def times(self, other: Given) -> Given:
        """That of a product of kernels; one that has none leaves the other's as it is."""
        if self.variance is None or other.variance is None:
            return other if self.variance is None else self
        return Given(self.variance * other.variance, self.held and other.held)


def apart(kernel: Kernel) -> tuple[Kernel, Given]:
    """A kernel as a correlation function, and the variance that was given with it.

    Variances of the parts of a sum become its weights, wᵢ = vᵢ / Σv.

    Raises
    ------
    KernelError
        When some parts of a sum have one and others have none.

    Examples
    --------
    >>> from xgpfill.kernels.spec import RBF, Matern, Periodic
    >>> apart(RBF(3.0, variance=2.0, fixed=True) * Periodic(7.0, 1.0, fixed=True))[1]
    Given(variance=2.0, held=True)
    >>> apart(RBF(3.0, variance=3.0) + Matern(0.5, 1.0, variance=1.0))[0].weights
    (0.75, 0.25)
    """
    parts = [apart(part) for part in kernel.parts]
    changed: dict[str, Any] = {"parts": tuple(part for part, _ in parts)} if parts else {}
    own = Given(kernel.variance, kernel.variance is not None and kernel.is_fixed)
    if isinstance(kernel, Sum) and any(given.variance is not None for _, given in parts):
        weights, total = _weights(kernel, [given for _, given in parts])
        return replace(kernel, variance=None, weights=weights, fixed=total.held, **changed), total.times(own)
    for _, given in parts:
        own = own.times(given)
    return replace(kernel, variance=None, **changed), own


def _weights(kernel: Sum, parts: list[Given]) -> tuple[tuple[Number, ...], Given]:
    """Shares of the parts of a sum in its variance, and that."""
    variances = [given.variance for given in parts if given.variance is not None]
    if len(variances) < len(parts) or kernel.weights is not None:
        raise KernelError(
            "A sum of kernels has variances of some of its parts; expected one of each and no weights, e.g. "
            "`RBF(30.0, variance=2.0) + Matern(0.5, 3.0, variance=0.5)`, or of none."
        )
    total = sum(variances)
    return tuple(v / total for v in variances), Given(total, all(given.held for given in parts))
