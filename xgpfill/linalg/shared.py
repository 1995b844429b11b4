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

from xgpfill.kernels.covariance import Covariance
from xgpfill.linalg.dense import cholesky, solve_lower
from xgpfill.linalg.inducing import choose_inducing
from xgpfill.linalg.threads import on_threads, own_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.points import Points
    from xgpfill.kernels.prior import Prior

MOST_NUMBERS = 2**24
"""Of h at all observations: an eighth of a gibibyte, of which there are some copies."""
MOST_OF_SLOW = 2**26
"""The same for slow terms alone, which need more of them."""
EXPLAINED = 1e-8
"""Share of the prior variance that is not worth another inducing point."""
SOME = 1000
"""Points that tell what inducing points leave."""
MANY = 5000
"""Points that those of slow terms are chosen from."""
FEW = 64
"""Inducing points that tell which terms are slower than others."""
AT_ONCE = 2048
"""Points whose covariances with the inducing points a thread holds at once, or an eighth of its share."""
NEARLY = 0.05
"""Share of the least noise that is to be left of slow terms, and twice that may be."""


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
    others : Prior or None
        The other terms, where they are of some terms alone; what they leave of these is then noise. None: of all terms,
        and neighbours tell what they leave.
    """

    law: Covariance
    points: Points | None = None
    factor: Tensor | None = None
    others: Prior | None = None

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

    @classmethod
    def of_slow(cls, prior: Prior, points: Points, count: int, noise: float) -> Shared:
        """Of the slowest terms of which at most `count` of the points leave next to nothing beside the noise.

        As many terms as can be, but not all of them; none where there is no such term.
        """
        some = points.take_in_order(np.arange(min(MANY, len(points))))
        found, count = cls.none(prior), min(count, MOST_OF_SLOW // max(1, len(points)), len(some) - 1)
        names: tuple[str, ...] = ()
        for name in _slowest_first(prior, some)[:-1] if count > 0 else ():
            names = (*names, name)
            law = Covariance(prior.restricted(names))
            least = NEARLY * noise / float(law.diagonal(some).mean())
            with own_threads():
                chosen = choose_inducing(law, some, count, tolerance=max(EXPLAINED, least))
                factor = cholesky(law.matrix(chosen, chosen), what="covariance of inducing points")
            others = prior.restricted(tuple(t.name for t in prior.terms if t.name not in names))
            tried = cls(law, chosen, factor, others)
            if tried.left(points) > 2.0 * NEARLY * noise:
                break
            found = tried
        return found

    def left(self, points: Points) -> float:
        """Variance that they leave of some of the points, on average."""
        some = points.take(np.unique(np.linspace(0, len(points) - 1, SOME).astype(np.intp)))
        return float(self.law.diagonal(some).mean()) - float(np.square(self.features(some)).sum(1).mean())

    def beside(self, points: Points, features: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Of points with these features what neighbours know by them (n, p), and what is noise to neighbours (n,)."""
        if self.others is None:
            return features, np.zeros(len(points))
        left = self.law.diagonal(points).numpy() - np.einsum("ij,ij->i", features, features)
        return features[:, :0], np.maximum(left, 0.0)

    @property
    def count(self) -> int:
        """How many there are."""
        return 0 if self.points is None else len(self.points)

    def features(self, targets: Points, out: FloatArray | None = None) -> FloatArray:
        """h(x) of every target as rows (m, p), into `out` if there is one."""
        found = np.empty((len(targets), self.count)) if out is None else out
        if self.points is None or self.factor is None:
            return found
        own, factor = self.points, self.factor

        def part(start: int, stop: int) -> None:
            columns = self.law.matrix(own, targets.take_in_order(np.arange(start, stop)))
            found[start:stop] = solve_lower(factor, columns).T.numpy()

        on_threads(part, len(targets), least=AT_ONCE)
        return found


def _slowest_first(prior: Prior, points: Points) -> list[str]:
    """Names of terms, those first of which few inducing points leave least."""
    some, share = points.take_in_order(np.arange(min(SOME, len(points)))), {}
    for term in prior.terms:
        law = Covariance(prior.restricted((term.name,)))
        chosen = choose_inducing(law, some, min(FEW, len(some)))
        few = Shared(law, chosen, cholesky(law.matrix(chosen, chosen), what="covariance of inducing points"))
        share[term.name] = few.left(some) / float(law.diagonal(some).mean())
    return sorted(share, key=lambda name: share[name])


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
