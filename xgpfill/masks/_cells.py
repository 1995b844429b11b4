"""Masks by cell: random cells, boxes of cells, and the gaps of other days. They ask nothing of the coordinates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.checks import checked_probability, checked_seed
from xgpfill.errors import DataError, DimensionError, listed
from xgpfill.grid.metric import degrees_per
from xgpfill.layout.axes import is_closed
from xgpfill.masks._frame import Frame, key_of, require_time, uniform

if TYPE_CHECKING:
    from collections.abc import Hashable

    import xarray as xr
    from numpy.typing import NDArray

    from xgpfill.arrays import Window
    from xgpfill.layout.encode import Dims
    from xgpfill.masks._frame import Bools, Words

_KINDS = ("dynamic", "fixed")


@dataclass(frozen=True, eq=False)
class _Cells:
    """Each cell hidden on its own, anew at every time unless `fixed`."""

    key: Words
    shape: tuple[int, ...]
    probability: float
    fixed: bool

    def __call__(self, member: int, window: Window) -> Bools:
        t, y, x = window
        steps = np.zeros(1, np.intp) if self.fixed else t
        drawn = uniform(self.key, np.array([member]), steps, y, x, shape=self.shape)[0]
        return np.broadcast_to(drawn >= self.probability, (t.size, y.size, x.size))


def random(
    field: xr.DataArray, probability: float, *, kind: str = "dynamic", dims: Dims = None, seed: int = 0
) -> xr.DataArray:
    """Hide each cell with the same probability, whatever its neighbours.

    Parameters
    ----------
    field : DataArray
        Its values are not read.
    probability : float
        Share of the cells to hide, 0 to 1; met within sampling error.
    kind : {"dynamic", "fixed"}
        "dynamic": other cells at every time. "fixed": the same places at all times, as stations are.
    dims : names in any order, or mapping, optional
        As in ``fit``; other dimensions are independent fields with gaps of their own.
    seed : int

    Returns
    -------
    DataArray of bool
        `observed`, on the dimensions of `field`; True = observed, so ``field.where(mask)`` hides. Lazy if `field` is.

    Raises
    ------
    DataError
        For a probability outside 0 to 1, an unknown kind, or a seed that is none.
    DimensionError
        For a dimension that is not there or whose role cannot be told.

    Examples
    --------
    >>> import xgpfill
    >>> sst = xgpfill.datasets.synthetic_sst(days=3).truth
    >>> stations = xgpfill.masks.random(sst, 0.9, kind="fixed")
    >>> bool((stations == stations.isel(time=0)).all())
    True
    """
    probability, seed = checked_probability(probability), checked_seed(seed)
    if kind not in _KINDS:
        raise DataError(f"kind={kind!r}: choose one of {listed(_KINDS)}.")
    frame = Frame.of(field, dims, "random")
    shape = (math.prod(frame.extra_shape), *frame.shape)
    source = _Cells(key_of(seed, 1), shape, probability, kind == "fixed")
    return frame.mask(source, mask="random", kind=kind, probability=probability, seed=seed)


@dataclass(frozen=True, eq=False)
class _Boxes:
    """Boxes that start at each cell, also before the first ones, with equal probability, and may overlap.

    Attributes
    ----------
    shape : tuple of int
        (member, time, y, x), with the places before the first cell where boxes may start.
    size : tuple of int
        Cells of a box along (time, y, x); 0: the whole axis.
    start : float
        Probability that a box starts at a cell.
    turn : int
        Number of meridians when longitude is closed, so that boxes go on beyond the last one; else 0.
    """

    key: Words
    shape: tuple[int, ...]
    size: tuple[int, int, int]
    start: float
    turn: int

    def __call__(self, member: int, window: Window) -> Bools:
        corners = [self._corners(axis, index) for axis, index in enumerate(window)]
        hidden = uniform(self.key, np.array([member]), *corners, shape=self.shape)[0] < self.start
        for axis, n in enumerate(self.size):
            if n > 1:
                total = np.cumsum(hidden, axis=axis, dtype=np.int32)
                total = np.insert(total, 0, 0, axis=axis)
                later = np.take(total, np.arange(n, total.shape[axis]), axis)
                hidden = later > np.take(total, np.arange(total.shape[axis] - n), axis)
        return np.broadcast_to(~hidden, tuple(index.size for index in window))

    def _corners(self, axis: int, index: NDArray[np.intp]) -> NDArray[np.intp]:
        """Where boxes start that reach these cells, counted from the first place where one may start."""
        n = self.size[axis]
        if n == 0:
            return np.zeros(1, np.intp)
        corners = np.arange(index[0], index[-1] + n)
        return corners % self.turn if axis == 2 and self.turn else corners


def blocks(
    field: xr.DataArray, probability: float, *, size: Mapping[Hashable, int], dims: Dims = None, seed: int = 0
) -> xr.DataArray:
    """Hide boxes of cells, at random places; they may overlap, and lie partly outside the grid.

    Parameters
    ----------
    field : DataArray
        Its values are not read.
    probability : float
        Share of the cells to hide, 0 to 1; met within the sampling error of so many boxes as the grid has room for.
    size : mapping
        Cells of a box along each fitted dimension, e.g. ``{"time": 3, "lat": 10, "lon": 10}``; -1 for the whole axis,
        1 for a dimension that is not named. Boxes go on across the date line where longitude is closed.
    dims : names in any order, or mapping, optional
        As in ``fit``; other dimensions are independent fields with gaps of their own.
    seed : int

    Returns
    -------
    DataArray of bool
        `observed`, on the dimensions of `field`; True = observed, so ``field.where(mask)`` hides. Lazy if `field` is.

    Raises
    ------
    DataError
        For a probability outside 0 to 1, or a size that is no whole number of cells.
    DimensionError
        For a dimension that is not there, is not fitted, or whose role cannot be told.

    Notes
    -----
    A box starts at a cell with probability q; a cell of a box of n cells is hidden with probability 1 − (1 − q)ⁿ, from
    which q follows (a Boolean model).

    Examples
    --------
    >>> import xgpfill
    >>> sst = xgpfill.datasets.synthetic_sst(days=3).truth
    >>> mask = xgpfill.masks.blocks(sst, 0.5, size={"time": -1, "lat": 6, "lon": 8})
    >>> mask.attrs["size_lat"]
    6
    """
    probability, seed = checked_probability(probability), checked_seed(seed)
    frame = Frame.of(field, dims, "blocks")
    sizes = _checked_sizes(frame, size)
    turn = frame.shape[2] if _is_closed(frame) else 0
    if turn:
        sizes = (*sizes[:2], min(sizes[2], turn))
    cells = math.prod(n or 1 for n in sizes)
    start = 1.0 if probability == 1.0 else -math.expm1(math.log1p(-probability) / cells)
    room = [1 if n == 0 else axis + n - 1 for axis, n in zip(frame.shape, sizes, strict=True)]
    source = _Boxes(key_of(seed, 2), (math.prod(frame.extra_shape), *room), sizes, start, turn)
    said = {f"size_{d}": n or frame.field.sizes[d] for d, n in zip(frame.slots, sizes, strict=True) if d is not None}
    return frame.mask(source, mask="blocks", probability=probability, seed=seed, **said)


def _checked_sizes(frame: Frame, size: Any) -> tuple[int, int, int]:
    """Cells of a box along (time, y, x); 0 for a whole axis."""
    example = dict.fromkeys(frame.roles.fitted, 2)
    if not isinstance(size, Mapping):
        raise DataError(f"size={size!r}: expected the cells of a box along each dimension, e.g. `size={example!r}`.")
    for name, n in size.items():
        if name not in frame.roles.fitted:
            raise DimensionError(
                f"size= names the dimension {name!r}; the fitted ones are {listed(frame.roles.fitted)}. Type e.g. "
                f"`size={example!r}`."
            )
        whole = isinstance(n, (int, np.integer)) and not isinstance(n, bool)
        if not whole or (n < 1 and n != -1):
            raise DataError(f"size={dict(size)!r}: expected a whole number of cells along {name!r}, or -1 for all.")
    t, y, x = (1 if d is None else int(size.get(d, 1)) for d in frame.slots)
    return max(t, 0), max(y, 0), max(x, 0)


def _is_closed(frame: Frame) -> bool:
    """Whether longitude is an axis of the grid that goes round the globe."""
    roles = frame.roles
    if not roles.degrees or roles.x is None or roles.x != roles.x_dim or roles.x == roles.y_dim:
        return False
    axis = frame.field.coords[roles.x]
    if axis.dtype.kind not in "iuf" or (roles.y is not None and frame.field.coords[roles.y].dims == axis.dims):
        return False
    return is_closed(axis.values, 360.0 / degrees_per(str(axis.attrs.get("units", ""))))


def other_days(field: xr.DataArray, *, dims: Dims = None, seed: int = 0) -> xr.DataArray:
    """Hide at each step what was missing at another one, so that gaps look as they do in these data.

    Parameters
    ----------
    field : DataArray
        With gaps (NaN), which are read, lazily if it is lazy.
    dims : names in any order, or mapping, optional
        As in ``fit``: they tell which dimension is time. Along other dimensions each field takes its own gaps, of the
        same other step.
    seed : int

    Returns
    -------
    DataArray of bool
        `observed`: where `field` is known at the other step. ``field.where(mask)`` then misses its own gaps and those
        of the other step. No step gets its own gaps, and the gaps of each step are used once.

    Raises
    ------
    DimensionError
        When there is no time dimension.
    DataError
        When there is only one step.

    Examples
    --------
    >>> import xgpfill
    >>> sst = xgpfill.datasets.synthetic_sst(days=5).sst
    >>> train = sst.where(xgpfill.masks.other_days(sst, seed=2))
    >>> bool(train.isnull().sum() > sst.isnull().sum())
    True
    """
    seed = checked_seed(seed)
    frame = Frame.of(field, dims, "other_days")
    time = require_time(frame, "other_days")
    steps = field.sizes[time]
    if steps == 1:
        raise DataError(
            f"`masks.other_days` needs at least two steps along {time!r}; there is one. Type e.g. "
            f"`masks.random(field, 0.5)`."
        )
    order = _cycle(steps, np.random.default_rng([seed, 5]))
    found = field.variable.notnull().isel({time: order})
    if field.chunks is not None:
        found = found.chunk(dict(zip(field.dims, field.chunks, strict=True)))
    return frame.labelled(found.data, mask="other_days", seed=seed)


def _cycle(n: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """A random permutation in which no element stays: one cycle through all (Sattolo 1986)."""
    order = np.arange(n)
    for last in range(n - 1, 0, -1):
        other = int(rng.integers(last))
        order[last], order[other] = order[other], order[last]
    return order
