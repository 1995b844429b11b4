"""Standardised units: values are shifted and scaled once, so that computation sees numbers of order one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


SMALLEST, LARGEST = 1e-140, 1e140
"""What the largest value may be, so that variances can be held."""


@dataclass(frozen=True)
class Scaling:
    """An affine change of units, z = (y − shift) / scale.

    Examples
    --------
    >>> Scaling(shift=10.0, scale=2.0).standardised(14.0)
    2.0
    """

    shift: float
    scale: float

    def standardised(self, values: Any) -> Any:
        """Values in standardised units."""
        return (values - self.shift) / self.scale

    def physical(self, values: Any) -> Any:
        """Values back in data units."""
        return values * self.scale + self.shift

    @classmethod
    def of(cls, values: NDArray[np.floating[Any]], name: object = "the data") -> Scaling:
        """Mean and standard deviation of the observed `values` (1-D, finite).

        Raises
        ------
        DataError
            When there is no observation, only one, or all are equal.
        """
        if values.size < 2:
            found = "no observation at all (every value is NaN)" if values.size == 0 else "one observation only"
            raise DataError(
                f"{name} has {found}; at least two different values are needed to learn from. "
                f"Check the mask and the variable, e.g. `da.notnull().sum()`."
            )
        lowest, highest = float(values.min()), float(values.max())
        if lowest == highest:
            raise DataError(
                f"{name} is constant: all {values.size} observations equal {lowest!r}. There is nothing to learn; fill "
                f"it with `da.fillna({lowest!r})`."
            )
        largest = max(abs(lowest), abs(highest))
        if not SMALLEST <= largest <= LARGEST:
            raise DataError(
                f"{name} has values of up to {largest:.3g}, whose squares are beyond float64. Give it in other units, "
                f"e.g. `da / {largest:.0e}`."
            )
        shift, scale = float(np.mean(values, dtype=np.float64)), float(np.std(values, dtype=np.float64))
        if not scale > 1e-12 * largest:
            raise DataError(
                f"{name} is constant but for rounding: it varies by {scale:.1g} around {shift:.6g}. Take that "
                f"off before it is rounded, e.g. `da.astype(float) - {shift:.6g}`, or fill it, "
                f"`da.fillna({shift:.6g})`."
            )
        return cls(shift, scale)
