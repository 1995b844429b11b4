"""A prior as a GPyTorch kernel, so that GPyTorch's models can be trained with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gpytorch
import torch

from xgpfill.covariance.evaluate import Lags, prior_covariance

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from xgpfill.kernels.prior import Prior


class PriorKernel(gpytorch.kernels.Kernel):  # type: ignore[misc]
    """The covariance of a prior on inputs (…, n, 1 + d): days, then embedded km.

    Parameters
    ----------
    geometry : str
    prior_at : callable
        From the tensor of logs to a prior that holds tensors.
    logs : Tensor (p,)
        Where the hyperparameters start.
    """

    has_lengthscale = False

    def __init__(self, geometry: str, prior_at: Callable[[Tensor], Prior], logs: Tensor) -> None:
        super().__init__()
        self._geometry, self._prior_at = geometry, prior_at
        self.register_parameter("logs", torch.nn.Parameter(logs.clone()))

    def prior(self) -> Prior:
        """The prior at the present hyperparameters."""
        return self._prior_at(self.logs)

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **_: Any) -> Tensor:
        """Covariance matrix (…, n, m), or its diagonal (…, n)."""
        make = Lags if diag else Lags.matrix
        time = make(x1[..., :1], x2[..., :1], "time")
        space = make(x1[..., 1:], x2[..., 1:], self._geometry)
        return prior_covariance(self.prior(), time, space)
