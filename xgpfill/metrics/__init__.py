"""Scores of a field and of its uncertainty against the truth, as xarray computes them: lazily on lazy data.

Signatures and meaning follow xskillscore. Which cells of a reconstruction are scored is decided in
`xgpfill.metrics.scoring`.
"""

from __future__ import annotations

from xgpfill.metrics._areas import area_weights
from xgpfill.metrics._field import bias, mae, rmse
from xgpfill.metrics._normal import (
    crps_gaussian,
    interval_coverage,
    mean_variance,
    nlpd,
    normal_quantile,
    reduced_chi2,
    variance_error_correlation,
)
from xgpfill.metrics._weights import cos_lat_weights

__all__ = [
    "area_weights",
    "bias",
    "cos_lat_weights",
    "crps_gaussian",
    "interval_coverage",
    "mae",
    "mean_variance",
    "nlpd",
    "normal_quantile",
    "reduced_chi2",
    "rmse",
    "variance_error_correlation",
]
