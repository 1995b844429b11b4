"""How wide intervals must be to hold what they say, from predictions of hidden observations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri

from xgpfill.learning.heldout import weighted_quantile
from xgpfill.metrics import normal_quantile
from xgpfill.metrics.calibration import LEVELS, Calibration

if TYPE_CHECKING:
    from xgpfill.learning.heldout import Prediction

BELIEF = 50
"""Residuals of a normal law that are added to those seen, so that few tell little; each as good as one seen alone."""
MIDDLE = 0.68
"""The level at which residuals tell how wide that normal law is."""
RATIOS = (0.02, 4.0)
"""Of half-widths, at least and at most."""


def calibrated(hidden: Prediction, fields: int) -> Calibration:
    """Half-widths of intervals, of each field its own; of a field without hidden observations those of all.

    Parameters
    ----------
    hidden : Prediction
    fields : int
        How many independent fields there are.
    """
    each = [hidden.take(hidden.field == i) for i in range(fields)] if fields > 1 else [hidden]
    ratios = [_ratios(part if part.mean.size else hidden) for part in each]
    return Calibration(tuple(ratios), tuple(part.mean.size for part in each))


def _ratios(hidden: Prediction) -> tuple[float, ...]:
    """Quantiles of the sizes of residuals over those of a normal law, at every level; widths never fall with it."""
    believed = _believed_width(hidden) * ndtri(0.5 + 0.5 * (np.arange(BELIEF) + 0.5) / BELIEF)
    belief = np.full(BELIEF, hidden.design_effect * hidden.weight.mean())
    both = np.concatenate([np.abs(hidden.standardised), believed]), np.concatenate([hidden.weight, belief])
    widths = weighted_quantile(*both, LEVELS)
    normal = np.array([normal_quantile(level) for level in LEVELS])
    widths = np.clip(widths, RATIOS[0] * normal, RATIOS[1] * normal)
    return tuple((np.maximum.accumulate(widths) / normal).tolist())


def _believed_width(hidden: Prediction) -> float:
    """How wide the normal law is that is believed in: one, or as narrow as residuals are the more of them there are.

    Fields that are smoother than the kernel are predicted many times better than it says; a law of width one would
    then be all that the outer levels see.
    """
    count = hidden.mean.size / hidden.design_effect
    seen = weighted_quantile(np.abs(hidden.standardised), hidden.weight, MIDDLE) / normal_quantile(MIDDLE)
    return float(np.clip(seen, RATIOS[0], 1.0) ** (count / (count + BELIEF)))
