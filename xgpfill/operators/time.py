"""How kernels of time act on the times of a lattice: by the lag alone on regular axes, by a matrix on others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from xgpfill.covariance.averaged import Averaged
from xgpfill.covariance.evaluate import Lags, correlation
from xgpfill.errors import MethodError
from xgpfill.grid.lattice import MAX_TIMES
from xgpfill.kernels.outside import Outside
from xgpfill.kernels.parts import has_type
from xgpfill.kernels.spec import Brownian

if TYPE_CHECKING:
    from torch import Tensor

    from xgpfill.arrays import FloatArray
    from xgpfill.kernels.spec import Kernel

STATIONARY = 1e-6
"""Share of the largest covariance by which a user's kernel of time may miss a function of the lag alone."""


def is_stationary(kernel: Kernel, times: FloatArray) -> bool:
    """Whether a kernel depends on the lag alone; one that a user brought is tried on rows of its matrix."""
    if has_type(kernel, Brownian, Averaged):
        return False
    if not has_type(kernel, Outside):
        return True
    n, x = times.size, torch.as_tensor(times)[:, None]
    rows = torch.tensor([0, n // 3, n - 1])
    K = correlation(kernel, Lags.matrix(x[rows], x, "time"))
    expected = K[0][(rows[:, None] - torch.arange(n)).abs()]
    return bool((K - expected).abs().max() <= STATIONARY * K[0].abs().max())


def by_lag(kernel: Kernel, times: FloatArray) -> Tensor:
    """Correlation of the first time with every one, (nt,); float64."""
    x = torch.as_tensor(times)[:, None]
    return correlation(kernel, Lags.matrix(x[:1], x, "time"))[0]


def time_matrix(kernel: Kernel, times: FloatArray) -> Tensor:
    """Correlation of all times, (nt, nt); float64.

    Raises
    ------
    MethodError
        When there are too many.
    """
    if times.size > MAX_TIMES:
        raise MethodError(
            f"The iterative engine takes {times.size} time steps at once only when they are regular and every kernel "
            f"of time depends on the lag alone, which a random walk does not. Type smaller tiles, e.g. "
            f"`tile={{'time': 2000}}`."
        )
    x = torch.as_tensor(times)[:, None]
    return correlation(kernel, Lags.matrix(x, x, "time")).contiguous()
