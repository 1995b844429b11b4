"""The law of a tile for the iterative engine: a lattice operator's terms, and features for what messages tell.

Terms that reach far beyond a tile are told by a message (:mod:`xgpfill.tiling.messages`). A message changes the prior
of the features' weights, which no operator on the lattice can hold; so in a tile those terms are their features alone,
V Vᵀ with V = G C^{1/2}, and the other terms stay with the operator. What the features do not explain of the told
terms, a thousandth of their variance where there are enough of them, is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.kernels.covariance import Covariance

if TYPE_CHECKING:
    from torch import Tensor

    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.points import Points
    from xgpfill.kernels.covariance import PriorLaw
    from xgpfill.kernels.prior import Prior

CHUNK = 2**22
"""Elements of features that are made at once."""


@dataclass(eq=False)
class TileLaw:
    """What the iterative engine needs of a prior law.

    Attributes
    ----------
    prior : Prior
        The terms that the operator holds.
    law : PriorLaw
        With the message, if there is one.
    """

    prior: Prior
    law: PriorLaw

    @classmethod
    def of(cls, law: PriorLaw) -> TileLaw:
        """Read a law with or without a message."""
        if isinstance(law, Covariance):
            return cls(law.prior, law)
        told: tuple[str, ...] = getattr(law, "told_terms", ())
        kept = tuple(term.name for term in law.base.prior.terms if term.name not in told)
        return cls(law.base.prior.restricted(kept), law)

    @property
    def device(self) -> str:
        """Where it computes."""
        return self.law.device

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return self.law.dtype

    @cached_property
    def local(self) -> Covariance:
        """The covariance of the operator's terms."""
        return Covariance(self.prior, self.device, self.dtype)

    @cached_property
    def _root(self) -> Tensor | None:
        """C^{1/2}, or None where nothing is told."""
        covariance: Tensor | None = getattr(self.law, "weights_covariance", None)
        if covariance is None:
            return None
        values, vectors = torch.linalg.eigh(covariance.double())
        root: Tensor = vectors * values.clamp_min(0.0).sqrt()
        return root.to(self.dtype)

    @property
    def num_features(self) -> int:
        """Columns of V."""
        return 0 if self._root is None else self._root.shape[1]

    def features(self, points: Points) -> Tensor | None:
        """V at points, (n, q); None where nothing is told."""
        if self._root is None:
            return None
        basis: Tensor = self.law.basis(points)  # type: ignore[attr-defined]
        return basis.T @ self._root

    def diagonal(self, points: Points) -> FloatArray:
        """Prior variance of points, (n,)."""
        found = self.local.diagonal(points)
        told = self.features(points)
        found = found if told is None else found + told.square().sum(1)
        return np.asarray(found.double().cpu().numpy())

    def tensor(self, array: FloatArray) -> Tensor:
        """An array on this law's device, in its dtype."""
        return self.local.tensor(array)

    def matrix(self, a: Points, b: Points) -> Tensor:
        """Covariance of `a` with `b`."""
        found = self.local.matrix(a, b)
        left, right = self.features(a), self.features(b)
        return found if left is None or right is None else found + left @ right.T

    def mean(self, a: Points) -> Tensor | None:
        """Prior mean, (n, draws)."""
        return self.law.mean(a)
