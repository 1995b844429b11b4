"""The closed-form optimum of a sparse Gaussian process and its collapsed bound, by QR (Titsias 2009).

With u the field at M inducing points, Kuu = LLᵀ, φ(x) = L⁻¹k_u(x), Λ the noise of each observation and
B = Λ^{-1/2}Φᵀ the whitened features of the data, q(u) is optimal when

    RᵀR = I + BᵀB,   mean = φᵀ R⁻¹R⁻ᵀ BᵀΛ^{-1/2}y,   variance = k** − φᵀφ + φᵀ(RᵀR)⁻¹φ.

R comes from a QR factorisation of [B; I], which squares no condition number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.linalg.dense import cholesky, solve_lower

if TYPE_CHECKING:
    from torch import Tensor

    from xgpfill.grid.points import Observations, Points
    from xgpfill.kernels.covariance import Covariance


class TitsiasWhitener:
    """W = R⁻ᵀBᵀΛ^{-1/2}: the whitened projection of data on the inducing features."""

    def __init__(self, covariance: Covariance, observations: Observations, inducing: Points) -> None:
        self.support = inducing
        self._L = cholesky(covariance.matrix(inducing, inducing), what="inducing covariance")
        features = solve_lower(self._L, covariance.matrix(inducing, observations.points))  # (M, n)
        self.root_precision = torch.as_tensor(observations.noise).to(features).rsqrt()
        self.B = (features * self.root_precision).T
        stacked = torch.cat([self.B, torch.eye(len(inducing), dtype=self.B.dtype, device=self.B.device)])
        self.R = torch.linalg.qr(stacked, mode="r").R

    def observed(self, values: Tensor) -> Tensor:
        """R⁻ᵀBᵀΛ^{-1/2} values."""
        return self._solve(self.B.T @ (values * self.root_precision[:, None]))

    def gram(self, left: Tensor, right: Tensor) -> Tensor:
        """leftᵀ(Q + Λ)⁻¹right, by Woodbury."""
        precision = self.root_precision.square()[:, None]
        return left.T @ (right * precision) - self.observed(left).T @ self.observed(right)

    def targets(self, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A = R⁻ᵀφ, gained aᵀa, lost φᵀφ."""
        features = solve_lower(self._L, columns)
        a = self._solve(features)
        return a, a, features

    def _solve(self, right: Tensor) -> Tensor:
        """R⁻ᵀ right."""
        return solve_lower(self.R.T, right)


def collapsed_bound(covariance: Covariance, observations: Observations, inducing: Points) -> float:
    """Titsias' lower bound of the log marginal likelihood of zero-mean observations (Titsias 2009, eq. 9)."""
    whitener = TitsiasWhitener(covariance, observations, inducing)
    y = torch.as_tensor(observations.values).to(whitener.B)[:, None]
    fit = float(whitener.gram(y, y)[0, 0])
    log_det = 2 * float(whitener.R.diagonal().abs().log().sum()) + float(np.log(observations.noise).sum())
    explained = (whitener.B / whitener.root_precision[:, None]).square().sum(1)
    slack = (covariance.diagonal(observations.points) - explained) * whitener.root_precision.square()
    return -0.5 * (fit + log_det + len(observations) * float(np.log(2 * np.pi)) + float(slack.sum()))
