"""Checks of plain arguments: seeds, shares, lengths. What needs torch or the data is checked elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np

from xgpfill.errors import DataError, DimensionError, shown


def checked_seed(seed: Any) -> int:
    """A seed as a plain integer."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise DataError(f"seed={shown(seed)}: expected an integer of at least zero, e.g. `seed=0`.")
    return int(seed)


def checked_probability(probability: Any) -> float:
    """The share of cells to hide, as a plain number.

    Raises
    ------
    DataError
    """
    number = isinstance(probability, Real) and not isinstance(probability, bool)
    if not number or not 0.0 <= float(probability) <= 1.0:
        raise DataError(
            f"probability={shown(probability)}: expected the share of cells to hide, a number between 0 and 1, e.g. "
            f"`0.5`."
        )
    return float(probability)


def positive(value: Any, name: str, unit: str) -> float:
    """A length of space or time as a plain number.

    Raises
    ------
    DataError
    """
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not float(value) > 0.0:
        raise DataError(f"{name}={shown(value)}: expected a number of {unit} greater than zero, e.g. `{name}=10.0`.")
    return float(value)


def checked_level(level: Any) -> float:
    """The probability of an interval, as a plain number.

    Raises
    ------
    DataError
    """
    number = isinstance(level, Real) and not isinstance(level, bool)
    if not number or not 0.0 < float(level) < 1.0:
        raise DataError(f"level={shown(level)}: expected a probability between 0 and 1, e.g. `level=0.95`.")
    return float(level)


def checked_flag(value: Any, name: str) -> bool:
    """Yes or no, as a plain bool.

    Raises
    ------
    DataError
    """
    if not isinstance(value, (bool, np.bool_)):
        raise DataError(f"{name}={shown(value)}: expected True or False, e.g. `{name}=True`.")
    return bool(value)


def require_array(da: Any, what: str) -> None:
    """Refuse what is no DataArray.

    Raises
    ------
    DataError
    """
    if hasattr(da, "data_vars"):
        raise DataError(f"`{what}` takes a DataArray; got a Dataset. Choose a variable, e.g. `ds['sst']`.")
    if not hasattr(da, "coords") or not hasattr(da, "dims"):
        raise DataError(
            f"`{what}` takes a DataArray; got a {type(da).__name__}. Make one, e.g. "
            f"`xr.DataArray(values, dims=('time', 'lat', 'lon'))`."
        )


def checked_sel(sel: Any) -> dict[Any, Any]:
    """What to select, as a plain mapping of dimension to label.

    Raises
    ------
    DimensionError
    """
    if sel is not None and not isinstance(sel, Mapping):
        raise DimensionError(f"sel={shown(sel)}: expected a mapping of dimension to label, e.g. `sel={{'lat': 40.0}}`.")
    return dict(sel or {})


def known_mean(trend: Any) -> float | None:
    """The mean of the field that `trend` says, zero for None; None where it is not known.

    Raises
    ------
    DataError
    """
    if trend is None:
        return 0.0
    if isinstance(trend, str) and trend == "constant":
        return None
    if isinstance(trend, bool) or not isinstance(trend, Real) or not np.isfinite(float(trend)):
        raise DataError(
            f"trend={shown(trend)}: expected 'constant' (a mean that the data tell), None (a mean of zero) or a number "
            f"(the mean, in units of the data), e.g. `fit(trend=None)`."
        )
    return float(trend)
