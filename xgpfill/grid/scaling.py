"""Standardised units: values are shifted and scaled once, so that computation sees numbers of order one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
        shift, scale = float(np.mean(values, dtype=np.float64)), float(np.std(values, dtype=np.float64))
        if not scale > 1e-12 * max(abs(shift), np.finfo(float).tiny * 1e20):
            raise DataError(
                f"{name} is constant: all {values.size} observations equal {float(values.flat[0])!r}. There is nothing "
                f"to learn; fill it with `da.fillna({float(values.flat[0])!r})`."
            )
        return cls(shift, scale)
