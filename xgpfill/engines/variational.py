"""The variational engine: each tile has its own inducing points and the closed-form optimal q(u).

The algebra is in :mod:`xgpfill.vecchia.inducing`; learning by the evidence lower bound in
:mod:`xgpfill.learning.elbo`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xgpfill.engines.base import WhitenedPosterior
from xgpfill.settings import Variational
from xgpfill.vecchia.inducing import TitsiasWhitener, choose_inducing

if TYPE_CHECKING:
    from xgpfill.covariance.matrices import Covariance
    from xgpfill.grid.points import Observations


@dataclass(frozen=True)
class VariationalEngine:
    """Condition through inducing points, O(nM²) time and O(nM) memory."""

    settings: Variational = Variational()

    def condition(self, covariance: Covariance, observations: Observations, *, trend: bool = True) -> WhitenedPosterior:
        """Condition the prior on the observations, with inducing points chosen among them."""
        count = self.settings.num_inducing
        inducing = choose_inducing(covariance, observations.points, count, unit=observations.unit)
        whitener = TitsiasWhitener(covariance, observations, inducing)
        return WhitenedPosterior(covariance, whitener, observations, trend=trend)
