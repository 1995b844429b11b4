"""Where cells end: halfway between their centres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


def edges(centre: Array, axis: int = 0, single: float = 1.0) -> Array:
    """Edges halfway between centres, one more along `axis`; a lone cell is `single`, or a day, wide."""
    centre = np.moveaxis(centre, axis, 0)
    if centre.shape[0] == 1:
        half = np.timedelta64(12, "h") if centre.dtype.kind == "M" else single / 2
        return np.moveaxis(np.concatenate([centre - half, centre + half]), 0, axis)
    halves = (centre[1:] - centre[:-1]) / 2
    found = np.concatenate([centre[:1] - halves[:1], centre[:-1] + halves, centre[-1:] + halves[-1:]])
    return np.moveaxis(found, 0, axis)
