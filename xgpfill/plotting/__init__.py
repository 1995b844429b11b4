"""Pictures of fields and of how they were filled. Matplotlib and cartopy load when something is drawn."""

from __future__ import annotations

from xgpfill.plotting.calibration import calibration
from xgpfill.plotting.covariance import covariance, prior_covariance, prior_draws
from xgpfill.plotting.frames import facets
from xgpfill.plotting.maps import comparison, field_map
from xgpfill.plotting.scores import bars
from xgpfill.plotting.series import series
from xgpfill.plotting.steps import over_time
from xgpfill.plotting.variogram import variogram
from xgpfill.plotting.vectors import vector_map

__all__ = [
    "bars",
    "calibration",
    "comparison",
    "covariance",
    "facets",
    "field_map",
    "over_time",
    "prior_covariance",
    "prior_draws",
    "series",
    "variogram",
    "vector_map",
]
