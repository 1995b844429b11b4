"""What learning reads of the data, in memory or lazy, the same of both."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.grid.directions import depth_of
from xgpfill.learning.blocks import all_values, draw_samples

if TYPE_CHECKING:
    from xgpfill.grid.lattice import FloatArray, Lattice
    from xgpfill.grid.points import Observations
    from xgpfill.grid.scaling import Scaling

SMALL = 2**22
"""Cells of lazy data, in all fields, that are read whole."""
OF_EACH = 4000
"""Observations that tell the scale of each of several lazy fields."""


def in_memory_if_small(lattice: Lattice) -> Lattice:
    """The lattice with its values in memory where these are few; then nothing that is learned depends on chunks."""
    size = int(np.prod(lattice.shape)) * max(1, int(np.prod(lattice.extra_shape)))
    if not lattice.is_lazy or size > SMALL:
        return lattice

    def read(array: Any) -> Any:
        return array.compute() if hasattr(array, "dask") else array

    return replace(lattice, values=read(lattice.values), valid=read(lattice.valid), errors=read(lattice.errors))


def values_of_fields(lattice: Lattice, blocks: list[Observations], seed: int) -> list[FloatArray]:
    """Observed values of each independent field: all of those in memory, else of blocks or a sample."""
    members = list(lattice.members())
    if not lattice.is_lazy:
        values = np.asarray(lattice.values)
        return [values[m][np.isfinite(values[m])] for m in members]
    if len(members) == 1:
        return [all_values(blocks)]
    return [sample.values for sample in draw_samples(lattice, OF_EACH * len(members), seed)]


def values_of_levels(lattice: Lattice, blocks: list[Observations], scaling: Scaling) -> dict[float, FloatArray]:
    """Observed values of each level by depth, in the units of the field each is of: of data in memory, or of blocks."""
    depths = lattice.space.depths
    found: dict[float, list[FloatArray]] = {depth: [] for depth in depths}
    for number, member in enumerate(() if lattice.is_lazy else lattice.members()):
        rows, own = np.asarray(lattice.values)[member], scaling.of_field(number)
        for depth, level in zip(depths, np.split(rows, len(depths), axis=1), strict=True):
            found[depth].append(own.standardised(level[np.isfinite(level)].astype(float)))
    for block in blocks if lattice.is_lazy else ():
        at, values = depth_of(block.points.space), scaling.of_field(block.field).standardised(block.values)
        for depth in depths:
            found[depth].append(values[at == depth])
    return {depth: np.concatenate(parts) if parts else np.zeros(0) for depth, parts in found.items()}
