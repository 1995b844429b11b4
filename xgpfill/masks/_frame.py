"""What all masks share: checked arguments, random numbers by index, and a mask built window by window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import xarray as xr

from xgpfill.errors import DataError, DimensionError, listed
from xgpfill.layout.dims import Roles, find_roles

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

    from xgpfill.arrays import FloatArray, Window
    from xgpfill.layout.encode import Dims

    Bools = NDArray[np.bool_]
    Words = NDArray[np.uint64]

CELLS_AT_ONCE = 4_000_000
"""Cells whose random numbers are held in memory together."""


class Source(Protocol):
    """Where a mask comes from: True (observed) on any window of one of the independent fields."""

    def __call__(self, member: int, window: Window) -> Bools:
        """The mask of a window, (time, y, x)."""


@dataclass(frozen=True)
class Axes:
    """How an array in the user's order of dimensions relates to (extra..., time, y, x).

    Attributes
    ----------
    order : tuple of int
        For each canonical axis its place among the user's dimensions; -1 for an axis that is absent.
    num_extra : int
    extra_shape : tuple of int
    """

    order: tuple[int, ...]
    num_extra: int
    extra_shape: tuple[int, ...]

    def evaluate(self, source: Source, starts: Sequence[int], stops: Sequence[int]) -> Bools:
        """The mask on a box of the user's array, in time slabs that fit in memory."""
        axes = [np.arange(starts[i], stops[i]) if i >= 0 else np.arange(1) for i in self.order]
        extra, (t, y, x) = axes[: self.num_extra], axes[self.num_extra :]
        found = np.empty([axis.size for axis in axes], dtype=bool)
        step = max(1, CELLS_AT_ONCE // max(1, y.size * x.size))
        for where in np.ndindex(*(axis.size for axis in extra)):
            own = tuple(int(axis[i]) for axis, i in zip(extra, where, strict=True))
            member = int(np.ravel_multi_index(own, self.extra_shape)) if own else 0
            for first in range(0, t.size, step):
                slab = slice(first, first + step)
                found[(*where, slab)] = source(member, (t[slab], y, x))
        present = tuple(0 if i < 0 else slice(None) for i in self.order)
        return found[present].transpose(np.argsort([i for i in self.order if i >= 0]))


def _block(axes: Axes, source: Source, block_info: Any = None) -> Bools:
    starts, stops = zip(*block_info[None]["array-location"], strict=True)
    return axes.evaluate(source, starts, stops)


@dataclass(frozen=True, eq=False)
class Frame:
    """A field whose cells are to be hidden, and the roles of its dimensions."""

    field: xr.DataArray
    roles: Roles

    @classmethod
    def of(cls, field: Any, dims: Dims, call: str) -> Frame:
        """Read the roles of a field.

        Raises
        ------
        DataError, DimensionError
        """
        if not isinstance(field, xr.DataArray):
            raise DataError(
                f"`masks.{call}` got a {type(field).__name__}; expected a DataArray, e.g. "
                f"`masks.{call}(ds['sst'], ...)`."
            )
        if field.size == 0:
            raise DataError(f"The field is empty: its sizes are {dict(field.sizes)}. Select at least one cell.")
        return cls(field, find_roles(field, dims))

    @property
    def slots(self) -> tuple[Hashable | None, Hashable | None, Hashable | None]:
        """The dimensions in the roles (time, y, x)."""
        return self.roles.time, self.roles.y_dim, self.roles.x_dim

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of cells along (time, y, x)."""
        nt, ny, nx = (1 if d is None else self.field.sizes[d] for d in self.slots)
        return nt, ny, nx

    @property
    def extra_shape(self) -> tuple[int, ...]:
        """Number of independent fields along each extra dimension."""
        return tuple(self.field.sizes[d] for d in self.roles.extra)

    def mask(self, source: Source, **attrs: Any) -> xr.DataArray:
        """The mask on all cells, in memory or lazily as the field is."""
        dims = self.field.dims
        order = tuple(-1 if d is None else dims.index(d) for d in (*self.roles.extra, *self.slots))
        axes = Axes(order, len(self.extra_shape), self.extra_shape)
        if self.field.chunks is None:
            return self.labelled(axes.evaluate(source, [0] * len(dims), self.field.shape), **attrs)
        import dask
        import dask.array

        # one node of the graph holds the source, however many chunks there are
        node, meta = dask.delayed(source, traverse=False), np.empty((0,) * len(dims), bool)
        data = dask.array.map_blocks(_block, axes, node, chunks=self.field.chunks, dtype=bool, meta=meta)
        return self.labelled(data, **attrs)

    def labelled(self, data: Any, **attrs: Any) -> xr.DataArray:
        """Boolean data in the field's order as a DataArray that says how it was made."""
        out = xr.DataArray(data, coords=self.field.coords, dims=self.field.dims, name="observed")
        out.attrs = {"long_name": "cell is observed", **attrs}
        return out


def require_time(frame: Frame, call: str) -> Hashable:
    """The time dimension.

    Raises
    ------
    DimensionError
    """
    if frame.roles.time is None:
        raise DimensionError(
            f"`masks.{call}` needs a time dimension, and none of {listed(frame.field.dims)} looks like one. Name it: "
            f"`dims={{'time': 't', 'y': 'j', 'x': 'i'}}`."
        )
    return frame.roles.time


# Random numbers by index, so that a window needs only its own


def key_of(seed: int, purpose: int) -> Words:
    """Where the stream of a seed starts."""
    return np.random.SeedSequence([seed, purpose]).generate_state(1, np.uint64).astype(np.uint64)


def uniform(key: Words, *index: NDArray[Any], shape: tuple[int, ...]) -> FloatArray:
    """Numbers in [0, 1) at the cells of an outer product of indices into an array of `shape`.

    They are those that SplitMix64 (Steele, Lea & Flood 2014) draws when it walks over the whole array: its n-th number
    is a function of n alone.
    """
    strides = np.cumprod([1, *shape[:0:-1]])[::-1]
    number = np.zeros((1,) * len(shape), np.uint64)
    for axis, stride in zip(np.ix_(*index), strides, strict=True):
        number = number + axis.astype(np.uint64) * np.uint64(stride)
    word = key + (number + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray((word ^ (word >> np.uint64(31))) >> np.uint64(11), float) * 2.0**-53


def sampled(rng: np.random.Generator, size: int, most: int) -> NDArray[np.intp]:
    """All of `size` indices, or `most` of them, in order."""
    return np.arange(size) if size <= most else np.sort(rng.choice(size, most, replace=False))


def threshold(values: FloatArray, share: float, rng: np.random.Generator) -> float:
    """A number that the given share of `values` exceeds; between two of them, and beyond all for shares of 0 and 1."""
    ordered = np.sort(values, axis=None)
    width = float(ordered[-1] - ordered[0])
    if width <= 1e-9 * abs(float(ordered[-1])):  # all cells are one
        return math.inf if rng.uniform() >= share else -math.inf
    above = math.floor(share * ordered.size + rng.uniform())  # on few cells the share is right on average
    if above <= 0 or share == 0.0:
        return math.inf
    if above >= ordered.size:
        return -math.inf
    middle = 0.5 * (ordered[-above - 1] + ordered[-above])
    # cells at one place (a pole) are equal but for rounding: keep away from them, so that they stay together
    return float(middle + 1e-9 * width)
