"""The scale of the uncertainty, settled on observations that learning did not see.

Maximum likelihood fits the variance of whitened residuals, so where the model is wrong its intervals are off. The
leave-one-out estimate is robust to that (Bachoc 2013, doi:10.1016/j.csda.2013.03.016, §2): with α = K⁻¹(y − β), the
left-out residual over its predicted sd is αᵢ / (K⁻¹)ᵢᵢ^{1/2} (Rasmussen & Williams 2006, eq. 5.10–5.12), and all
variances are multiplied by the mean of its square. The mean of the field is not changed by that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.learning.composite import Block

if TYPE_CHECKING:
    from xgpfill.grid.points import Observations
    from xgpfill.kernels.prior import Prior

LIMITS = (0.5, 3.0)
"""Smallest and largest change of the variances."""
SHRINKAGE = 200.0
"""Residuals that a factor of one is worth."""


def leave_one_out_factor(prior: Prior, blocks: list[Observations]) -> float:
    """Mean squared standardised leave-one-out residual of the blocks, drawn a little towards one.

    Parameters
    ----------
    prior : Prior
        Learned, standardised units.
    blocks : list of Observations
        Standardised; best those that learning did not see.

    Returns
    -------
    float
        What to multiply all variances with, the noise included.
    """
    squares = [_squares(prior, block) for block in blocks if len(block) > 2]
    if not squares:
        return 1.0
    pooled = np.concatenate(squares)
    factor = (pooled.sum() + SHRINKAGE) / (pooled.size + SHRINKAGE)
    return float(np.clip(factor, *LIMITS))


def _squares(prior: Prior, observations: Observations) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Squared standardised leave-one-out residuals about the block's own generalised mean."""
    block = Block(observations, prior.geometry)
    assert prior.noise is not None
    K = block.covariance(prior) + torch.diag(float(prior.noise) * block.noise)
    L, info = torch.linalg.cholesky_ex(K)
    if info.any():
        return np.zeros(0)
    inverse = torch.cholesky_inverse(L)
    weights = inverse.sum(1)
    mean = (weights @ block.values) / weights.sum()
    projected = inverse - torch.outer(weights, weights) / weights.sum()  # the mean is estimated from the rest too
    alpha = inverse @ (block.values - mean)
    return np.asarray((alpha.square() / projected.diagonal()).numpy())
