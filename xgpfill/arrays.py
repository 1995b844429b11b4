"""Types of arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
Int32Array = NDArray[np.int32]
Window = tuple[IntArray, IntArray, IntArray]
"""Indices of a box of the lattice along (time, y, x); longitude indices may wrap."""
