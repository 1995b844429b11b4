"""One pass over the values of a lattice: where it is observed, and how the values are spread. No texts here."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.cf.fills import is_fill, suspected_fill
from xgpfill.description.gaps import BLOCK_CELLS, BoolArray

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xgpfill.grid.lattice import Lattice

BATCH_BYTES = 2**28
"""About how much lazy data is read at once."""


@dataclass(frozen=True)
class ValueRange:
    """What the observed values are, gathered block by block.

    Attributes
    ----------
    count : int
        Finite values.
    minimum, maximum, mean : float
        In data units; NaN when there is none.
    infinities : int
    squares : float
        Sum of the squared deviations from the mean.
    fills : int
        Values that stand for none; they are counted as gaps.
    fill : float
        One of these; NaN when there is none.
    """

    count: int = 0
    minimum: float = math.nan
    maximum: float = math.nan
    mean: float = math.nan
    infinities: int = 0
    squares: float = 0.0
    fills: int = 0
    fill: float = math.nan

    @property
    def std(self) -> float:
        """Standard deviation in data units."""
        return math.sqrt(self.squares / self.count) if self.count else math.nan

    def plus(self, other: ValueRange) -> ValueRange:
        """Both together: the pairwise update of Chan, Golub & LeVeque (1983), eq. 2.1."""
        infinities, fills = self.infinities + other.infinities, self.fills + other.fills
        fill = self.fill if self.fills else other.fill
        if not (self.count and other.count):
            return replace(self if self.count else other, infinities=infinities, fills=fills, fill=fill)
        count, apart = self.count + other.count, other.mean - self.mean
        return ValueRange(
            count,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
            self.mean + apart * other.count / count,
            infinities,
            self.squares + other.squares + apart**2 * self.count * other.count / count,
            fills,
            fill,
        )


@dataclass(frozen=True, eq=False)
class Survey:
    """What one pass over the values found.

    Attributes
    ----------
    observed : bool array (members, time, y, x)
        Finite values, at the steps that were read.
    counted : bool array that broadcasts against it
        The cells that the figures are about.
    never : bool array (members, 1, y, x)
        Cells that exist and were not observed at any step that was read.
    steps : int array
        Which steps were read; all of them unless there were too many cells.
    values : ValueRange
    """

    observed: BoolArray
    counted: BoolArray
    never: BoolArray
    steps: Any
    values: ValueRange

    @property
    def gaps(self) -> BoolArray:
        """Cells that are counted and not observed, (members, time, y, x)."""
        return self.counted & ~self.observed


def survey(lattice: Lattice, *, everywhere: bool, max_cells: int) -> Survey:
    """Read the values once, chunk by chunk, or evenly spaced steps of them when they are too many.

    Parameters
    ----------
    lattice : Lattice
    everywhere : bool
        Whether cells that are never observed are gaps (``valid=True``) when the lattice does not say where the field
        exists.
    max_cells : int
        The most cells to read, as whole steps of all members; at least one step is read.
    """
    members, (times, ny, nx) = math.prod(lattice.extra_shape), lattice.shape
    wanted = min(times, max(1, max_cells // max(1, members * ny * nx)))
    steps = np.unique(np.linspace(0, times - 1, wanted).round().astype(int))
    chosen = lattice.values if steps.size == times else lattice.values[..., steps, :, :]
    observed, values = _read(chosen, lattice.is_lazy, lattice.fills)
    observed = observed.reshape(members, steps.size, ny, nx)
    exists = _where_it_exists(lattice, steps, observed.shape)
    seen = (observed & exists).any(axis=1, keepdims=True)
    anywhere = exists.any(axis=1, keepdims=True)
    apart = lattice.valid is None and not everywhere and times > 1 and bool(seen.any())
    counted = np.broadcast_to(seen if apart else exists, observed.shape)
    never: BoolArray = np.logical_and(anywhere, ~seen)
    return Survey(observed, counted, never, steps, values)


def _where_it_exists(lattice: Lattice, steps: Any, shape: tuple[int, ...]) -> BoolArray:
    if lattice.valid is None:
        return np.broadcast_to(True, shape)
    valid = lattice.valid if lattice.valid.shape[-3] == 1 else lattice.valid[..., steps, :, :]
    whole = (*lattice.extra_shape, *shape[1:])
    return np.broadcast_to(np.asarray(valid), whole).reshape(shape)


def _read(values: Any, lazy: bool, fills: tuple[float, ...]) -> tuple[BoolArray, ValueRange]:
    observed, found = np.zeros(values.shape, bool), ValueRange()
    for where, seen, part in _lazy_blocks(values, fills) if lazy else _blocks(values, fills):
        observed[where] = seen
        found = found.plus(part)
    return observed, found


def _look(block: Any, fills: tuple[float, ...]) -> tuple[BoolArray, ValueRange]:
    """Where a block is observed, and its values; declared and suspected fill values are none."""
    block = np.asarray(block)
    if block.dtype.kind == "f":
        seen, infinities = np.isfinite(block), int(np.isinf(block).sum())
    else:
        seen, infinities = np.ones(block.shape, bool), 0
    values = block[seen].astype(float)
    suspect = suspected_fill(values)
    filled = is_fill(values, fills if suspect is None else (*fills, suspect))
    none = ValueRange(infinities=infinities)
    if filled.any():
        none = replace(none, fills=int(filled.sum()), fill=float(values[filled][0]))
        seen[seen], values = ~filled, values[~filled]
    if not values.size:
        return seen, none
    with np.errstate(over="ignore"):  # what is too large to be squared has an infinite spread, which is told
        mean = float(values.mean())
        squares = float(np.square(values - mean).sum())
    lowest, highest = float(values.min()), float(values.max())
    return seen, replace(none, count=values.size, minimum=lowest, maximum=highest, mean=mean, squares=squares)


def _blocks(values: Any, fills: tuple[float, ...]) -> Iterator[tuple[Any, BoolArray, ValueRange]]:
    """Steps of an array in memory, a few at a time."""
    step = max(1, BLOCK_CELLS // max(1, math.prod(values.shape[-2:])))
    for member in np.ndindex(values.shape[:-3]):
        for start in range(0, values.shape[-3], step):
            where = (*member, slice(start, start + step))
            yield where, *_look(values[where], fills)


def _lazy_blocks(values: Any, fills: tuple[float, ...]) -> Iterator[tuple[Any, BoolArray, ValueRange]]:
    """Chunks of a lazy array, each read once, a few at a time; only masks and sums of it are kept."""
    import dask
    from dask.array.core import slices_from_chunks

    look = dask.delayed(_look, pure=True)
    places = slices_from_chunks(values.chunks)
    chunks = values.to_delayed().ravel()
    largest = math.prod(max(c) for c in values.chunks) * values.dtype.itemsize
    batch = max(1, BATCH_BYTES // max(1, largest))
    for start in range(0, len(places), batch):
        found = dask.compute(*(look(chunk, fills) for chunk in chunks[start : start + batch]))
        for where, (seen, part) in zip(places[start : start + batch], found, strict=True):
            yield where, seen, part
