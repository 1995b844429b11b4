"""Lazy fields that count how often each of their chunks is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask.array
import numpy as np

if TYPE_CHECKING:
    import xarray as xr
    from xgpfill.results.reconstruction import Reconstruction


def counted_pair(
    found: Reconstruction, chunks: tuple[int, ...]
) -> tuple[xr.DataArray, xr.DataArray, list[tuple[int, ...]]]:
    """A lazy mean and a variance of one from one task a chunk, and the chunks computed so far."""
    runs: list[tuple[int, ...]] = []

    def both(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        runs.append(block_info[0]["chunk-location"])
        return np.stack([block, 0 * block + 1])

    blocks = dask.array.from_array(found.mean.values, chunks=chunks)
    pair = blocks.map_blocks(both, dtype=float, new_axis=0, chunks=((2,), *blocks.chunks), meta=np.empty((0,) * 4))
    mean, variance = (field.copy(data=data) for field, data in zip(found, pair, strict=True))
    return mean, variance, runs
