"""The scale of colours: linear or logarithmic, its limits, and the ticks of its bar. Nothing is drawn here."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.errors import DataError, listed, shown
from xgpfill.plotting.cells.sheet import limits

if TYPE_CHECKING:
    from matplotlib.colors import Normalize

    from xgpfill.plotting.cells.edges import Array

NORMS = ("linear", "log")
MOST_TICKS = 8


def scale_of(values: Array, within: tuple[Any, Any], norm: str = "linear") -> Normalize:
    """The scale of colours from a lower to an upper limit, by default those of the finite values.

    Raises
    ------
    DataError
        When a limit is no finite number, or a logarithm has something at or below zero.
    """
    from matplotlib.colors import LogNorm, Normalize

    for name, limit in zip(("vmin", "vmax"), within, strict=True):
        if limit is not None and not (isinstance(limit, Real) and np.isfinite(float(limit))):
            raise DataError(f"{name}={shown(limit)}: expected a finite number in the units of the field, or None.")
    if norm not in NORMS:
        raise DataError(f"norm={shown(norm)}: choose one of {listed(NORMS)}.")
    lowest, highest = limits(values)
    low, high = (lowest if within[0] is None else within[0]), (highest if within[1] is None else within[1])
    if norm == "linear":
        return Normalize(low, high)
    if not np.isfinite(values).any():
        low, high = within[0] or 0.1, within[1] or 1.0
    if min(low, high) <= 0.0:
        raise DataError(
            f"norm='log': the colours would run from {low:.4g} to {high:.4g}, and a logarithm needs them above zero. "
            f"Leave out `norm=`, or draw what lies above, e.g. `field.where(field > 0)`."
        )
    return LogNorm(low, high)


def check_colours(colours: Any) -> None:
    """Refuse a name of colours that matplotlib does not know.

    Raises
    ------
    DataError
    """
    from matplotlib import colormaps

    if isinstance(colours, str) and colours not in colormaps:
        raise DataError(
            f"cmap={shown(colours)}: matplotlib has no such colours. Name one it has, e.g. `cmap='viridis'`."
        )


def log_ticks(low: float, high: float) -> Array:
    """Round numbers of a logarithmic bar: 1, 2 and 5 of each decade, of many the decades alone, of a part of one more.

    Examples
    --------
    >>> log_ticks(0.3, 3.0).tolist(), log_ticks(1e-3, 1e3)[:2].tolist(), log_ticks(0.9, 1.1).size > 2
    ([0.5, 1.0, 2.0], [0.001, 0.01], True)
    """
    from matplotlib.ticker import MaxNLocator

    powers = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for steps in ((1, 2, 5), (1,)):
        found = np.array([float(f"{step}e{int(power)}") for power in powers for step in steps])
        found = found[(found >= low) & (found <= high)]
        if found.size <= MOST_TICKS:
            break
    if found.size < 2:
        even = np.asarray(MaxNLocator(4).tick_values(low, high))
        return even[(even >= low) & (even <= high)]
    return found[:: -(-found.size // MOST_TICKS)]
