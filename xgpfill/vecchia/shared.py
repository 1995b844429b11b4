"""What a few inducing points, the same for all, say of the field anywhere; the rest of it is correlated nearby alone.

With Z the inducing points, K_ZZ = LLᵀ and h(x) = L⁻¹k(Z, x) the prior is k(x, x') = h(x)ᵀh(x') + r(x, x'): what far
observations say of a target goes through Z, and its neighbours tell the residual r (full-scale approximation, Sang &
Huang 2012, doi:10.1111/j.1467-9868.2011.01007.x; with neighbours Gyger, Furrer & Sigrist 2024, arXiv:2405.14492).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.covariance.dense import cholesky, solve_lower
from xgpfill.covariance.matrices import Covariance
from xgpfill.machine.threads import own_threads
from xgpfill.vecchia.inducing import choose_inducing

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from xgpfill.arrays import FloatArray
    from xgpfill.grid.points import Points
    from xgpfill.kernels.prior import Prior

MOST_NUMBERS = 2**24
"""Of h at all observations: an eighth of a gibibyte, of which there are some copies."""
EXPLAINED = 1e-8
"""Share of the prior variance that is not worth another inducing point."""
SOME = 1000
"""Points that tell what inducing points leave."""


@dataclass(frozen=True, eq=False)
class Shared:
    """Inducing points and a factor of their covariance.

    Attributes
    ----------
    law : Covariance
        In float64, on the processor.
    points : Points or None
        Z; None where there are none.
    factor : Tensor (p, p) or None
        L.
    """

    law: Covariance
    points: Points | None = None
    factor: Tensor | None = None

    @classmethod
    def none(cls, prior: Prior) -> Shared:
        """No inducing points."""
        return cls(Covariance(prior))

    @classmethod
    def of(cls, prior: Prior, points: Points, count: int) -> Shared:
        """At most `count` of the points, and no more than there is room for."""
        law, count = Covariance(prior), min(count, MOST_NUMBERS // max(1, len(points)))
        if not count or count >= len(points):
            return cls(law)
        with own_threads():
            chosen = choose_inducing(law, points, count, tolerance=EXPLAINED)
            return cls(law, chosen, cholesky(law.matrix(chosen, chosen), what="covariance of inducing points"))

    def left(self, points: Points) -> float:
        """Variance that they leave of some of the points, on average."""
        some = points.take(np.unique(np.linspace(0, len(points) - 1, SOME).astype(np.intp)))
        return float(self.law.diagonal(some).mean()) - float(np.square(self.features(some)).sum(1).mean())

    @property
    def count(self) -> int:
        """How many there are."""
        return 0 if self.points is None else len(self.points)

    def features(self, targets: Points) -> FloatArray:
        """h(x) of every target as rows (m, p)."""
        if self.points is None or self.factor is None:
            return np.zeros((len(targets), 0))
        found = np.empty((len(targets), len(self.points)))
        with own_threads():
            for block in self.law.blocks(self.points, targets):
                found[block.index] = solve_lower(self.factor, block.columns).T.numpy()
        return found


class WithShared:
    """(R + hhᵀ)⁻¹ times columns, from R⁻¹ times columns (Woodbury; Golub & Van Loan 2013, eq. 2.1.4).

    Parameters
    ----------
    rest : callable
        R⁻¹ times (n, k), symmetric: of what h leaves, noise included.
    h : Tensor (n, p)
        In float64: most of what R⁻¹ says of the span of h is taken away again.
    """

    def __init__(self, rest: Callable[[Tensor], Tensor], h: Tensor) -> None:
        self._rest, self._told = rest, rest(h)  # R⁻¹h
        P = h.T @ self._told
        P.diagonal().add_(1.0)
        self._factor = cholesky(P, what="precision of inducing points")

    def __call__(self, residual: Tensor) -> Tensor:
        """R⁻¹r − R⁻¹h (I + hᵀR⁻¹h)⁻¹ hᵀR⁻¹r."""
        r = residual.double()
        found = self._rest(r) - self._told @ torch.cholesky_solve(self._told.T @ r, self._factor)
        return found.to(residual)
