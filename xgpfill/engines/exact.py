"""The exact engine: dense Cholesky of all observations. The oracle that other engines are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from xgpfill.covariance.dense import cholesky, solve_lower
from xgpfill.engines.base import WhitenedPosterior
from xgpfill.settings import Exact, require_affordable

if TYPE_CHECKING:
    from torch import Tensor

    from xgpfill.covariance.matrices import Covariance
    from xgpfill.grid.points import Observations, Points


@dataclass(frozen=True)
class ExactEngine:
    """Condition by a Cholesky factor of the whole covariance, O(n³) time and O(n²) memory."""

    settings: Exact = Exact()

    def condition(self, covariance: Covariance, observations: Observations, *, trend: bool = True) -> WhitenedPosterior:
        """Condition the prior on the observations.

        Raises
        ------
        TooManyPointsError
            When there are more observations than the settings allow.
        """
        require_affordable(self.settings, len(observations))
        return WhitenedPosterior(covariance, _Whitener(covariance, observations), observations, trend=trend)


class _Whitener:
    """W = L⁻¹ with A = LLᵀ."""

    def __init__(self, covariance: Covariance, observations: Observations) -> None:
        self.support: Points = observations.points
        A = covariance.matrix(self.support, self.support)
        A.diagonal().add_(torch.as_tensor(observations.noise).to(A))
        self._L = cholesky(A)

    def observed(self, values: Tensor) -> Tensor:
        return solve_lower(self._L, values)

    def gram(self, left: Tensor, right: Tensor) -> Tensor:
        return self.observed(left).T @ self.observed(right)

    def targets(self, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a = solve_lower(self._L, columns)
        return a, a[:0], a  # nothing gained, aᵀa lost
