"""Sums of observations over blocks of 2ᵃ times, 2ᵇ rows and 2ᶜ columns, each made once, from those half as large.

What a tile averages are such blocks, so no tile reads what is far from it cell by cell.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from xgpfill.arrays import FloatArray

By = tuple[int, int, int]
"""How often time, y and x are halved."""


@dataclass(eq=False)
class Pyramid:
    """Sums at all levels, in memory or lazy.

    Attributes
    ----------
    base : array (2 + draws, time, y, x)
        Of every cell: how many observations there are, the variance of their noise, and their values; zero in gaps.
    """

    base: Any
    _levels: dict[By, Any] = field(default_factory=dict, repr=False)

    def level(self, by: By) -> Any:
        """Sums over blocks, (2 + draws, times, rows, columns); the last block of an axis may be cut off by its end."""
        if by == (0, 0, 0):
            return self.base
        if by not in self._levels:
            axis = max(i for i in range(3) if by[i])
            t, y, x = (n - (i == axis) for i, n in enumerate(by))
            self._levels[by] = halved(self.level((t, y, x)), axis + 1)
        return self._levels[by]

    @property
    def levels(self) -> list[Any]:
        """All that were asked for."""
        return [self.base, *self._levels.values()]

    def part(self, by: By, where: tuple[slice, ...]) -> Any:
        """Some blocks of a level."""
        return self.level(by)[(slice(None), *where)]


def halved(array: Any, axis: int) -> Any:
    """Sums of pairs of neighbours along an axis; a last one alone stays alone."""
    if isinstance(array, np.ndarray):
        return _pairs(array, axis)
    wide = array.rechunk({axis: 2 * max(array.chunks[axis])})
    chunks = list(wide.chunks)
    chunks[axis] = tuple(-(-n // 2) for n in chunks[axis])
    return wide.map_blocks(_pairs, axis, dtype=array.dtype, chunks=tuple(chunks))


def _pairs(array: FloatArray, axis: int) -> FloatArray:
    return np.add.reduceat(array, np.arange(0, array.shape[axis], 2), axis=axis)
