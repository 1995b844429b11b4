"""Small sets of observations to learn from: compact space-time neighbourhoods and scattered samples.

On lazy data only the chunks under these blocks are read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.errors import DataError
from xgpfill.grid.companions import check_errors, require_left
from xgpfill.grid.fills import check_fills, is_fill
from xgpfill.grid.points import IntArray, Observations, Points

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xgpfill.grid.lattice import FloatArray, Lattice, Window

ASPECTS = (0.25, 1.0, 4.0)
"""Extent in time steps over extent in cells of a compact block: wide, even, long."""
ZOOMS = (1.0, 1.0, 2.5, 5.0)
"""Linear size of compact blocks, relative to the smallest that holds enough; larger ones are thinned."""
NUM_SCATTERED_WINDOWS = 16


@dataclass(frozen=True)
class BlockPlan:
    """How many blocks of how many observations to learn from."""

    compact: int = 9
    scattered: int = 3
    size: int = 320


def read_window(lattice: Lattice, member: tuple[int, ...], window: Window) -> Observations:
    """The observed cells of a window of one field; values and squared errors in data units.

    Raises
    ------
    DataError
        When the window holds an infinite value, or one that attributes declare to be none.
    """
    values = np.asarray(lattice.window(lattice.values, member, window), dtype=np.float64)
    require_known(values, window, lattice.fills)
    observed = np.isfinite(values)
    if lattice.valid is not None:
        observed &= np.asarray(lattice.window(lattice.valid, member, window))
    t, y, x = np.nonzero(observed)
    noise = np.ones(t.size)
    if lattice.errors is not None:
        errors = np.asarray(lattice.window(lattice.errors, member, window), dtype=np.float64)
        check_errors(np.where(observed, values, np.nan), errors)
        noise = np.broadcast_to(errors, values.shape)[observed] ** 2
    _, ny, nx = values.shape
    sites = lattice.space.coordinates[np.ix_(window[1], window[2])].reshape(ny * nx, -1)
    days = lattice.days_of(window[1], window[2])
    points = Points.of_cells(
        lattice.time[window[0]], sites, t, y * nx + x, (ny, nx), None if days is None else days.ravel()
    )
    return Observations(points, values[observed], noise, field_number(lattice, member))


def field_number(lattice: Lattice, member: tuple[int, ...]) -> int:
    """The number of an independent field."""
    return int(np.ravel_multi_index(member, lattice.extra_shape)) if member else 0


def require_known(values: Any, window: Window, fills: tuple[float, ...] = ()) -> None:
    """Refuse infinite values and declared fill values of a window (time, y, x), naming the time steps they are at.

    Raises
    ------
    DataError
    """
    infinite = np.isinf(values)
    if infinite.any():
        raise DataError(
            f"The data hold an infinite value {_time_steps(infinite, window)}. Make them gaps: "
            f"`da.where(np.isfinite(da))`."
        )
    if fills and (declared := is_fill(values, fills)).any():
        check_fills(values, fills, f" {_time_steps(declared, window)}")


def _time_steps(where: Any, window: Window) -> str:
    """The first and the last of those at which cells of a window are marked."""
    steps = window[0][where.any((1, 2))]
    first, last = int(steps.min()), int(steps.max())
    return f"at time step {first}" if first == last else f"within time steps {first} to {last}"


def whole(lattice: Lattice) -> Window:
    """The window that is the whole lattice."""
    nt, ny, nx = (np.arange(n) for n in lattice.shape)
    return nt, ny, nx


def draw_blocks(lattice: Lattice, plan: BlockPlan, seed: int) -> list[Observations]:
    """Draw the blocks to learn from; a lattice with few observations is one block of all of them.

    Parameters
    ----------
    lattice : Lattice
    plan : BlockPlan
    seed : int
        Same seed, same blocks.
    """
    rng = np.random.default_rng(seed)
    if not lattice.is_lazy and np.prod(lattice.shape) * max(1, int(np.prod(lattice.extra_shape))) <= 2**22:
        blocks = [b for m in lattice.members() if len(b := read_window(lattice, m, whole(lattice)))]
        if sum(map(len, blocks)) <= 4 * plan.size:
            return blocks
    members = list(lattice.members())
    drawn = []
    for i in range(plan.compact):
        member = members[int(rng.integers(len(members)))]
        aspect, zoom = ASPECTS[i % len(ASPECTS)], ZOOMS[i // len(ASPECTS) % len(ZOOMS)]
        drawn.append(_compact(lattice, member, rng, plan.size, aspect, zoom))
    for _ in range(plan.scattered):
        member = members[int(rng.integers(len(members)))]
        drawn.append(_scattered(lattice, member, rng, plan.size))
    return [block for block in drawn if len(block) > 1]


def _compact(
    lattice: Lattice, member: tuple[int, ...], rng: np.random.Generator, size: int, aspect: float, zoom: float
) -> Observations:
    """About `size` observations around a random cell, from a window grown until it holds enough."""
    centre = tuple(int(rng.integers(n)) for n in lattice.shape)
    cells = float(size)
    while True:
        window = window_around(lattice, centre, cells, aspect)
        found = read_window(lattice, member, window)
        covered = all(w.size == n for w, n in zip(window, lattice.shape, strict=True))
        if len(found) >= size or covered:
            break
        cells *= max(2.0, min(16.0, 1.3 * size / max(len(found), 1)))
    if zoom > 1.0 and not covered:
        found = read_window(lattice, member, window_around(lattice, centre, cells * zoom**3, aspect))
    return _thinned(found, rng, size)


def window_around(lattice: Lattice, centre: tuple[int, ...], cells: float, aspect: float) -> Window:
    """Indices of a box of about `cells` cells around `centre`, `aspect` times longer in time than wide.

    Of a vector it holds the same places of both components; of levels those near that of the centre.
    """
    if (count := lattice.space.components) > 1 and (lattice.space.is_grid or lattice.space.depths):
        rows = lattice.shape[1] // count
        one, parts = replace(lattice, space=lattice.space.first_component), np.arange(count)
        if lattice.space.depths:  # as many as of each other axis
            free = 1 + sum(n > 1 for n in one.shape)
            parts = _range(centre[1] // rows, int(np.clip(np.ceil(cells ** (1 / free)), 2, count)), count)
        t, y, x = window_around(one, (centre[0], centre[1] % rows, centre[2]), cells / parts.size, aspect)
        return t, np.concatenate([y + k * rows for k in parts]), x
    nt, ny, nx = lattice.shape
    flat_axes = [n == 1 for n in (nt, ny, nx)]
    free = max(1, 3 - sum(flat_axes))
    width = (cells / (1.0 if nt == 1 else aspect)) ** (1 / free)
    spans = _fitted((aspect * width, width, width), (nt, ny, nx), cells)
    t, y, x = (_range(c, s, n) for c, s, n in zip(centre, spans, (nt, ny, nx), strict=True))
    if not lattice.space.is_grid:
        flat, own = lattice.space.coordinates.reshape(lattice.space.size, -1), centre[1] * nx + centre[2]
        apart = np.linalg.norm(flat - flat[own], axis=1)
        if lattice.days is not None:
            apart = _apart_in_both(lattice, apart, own, aspect)
        near = np.argsort(apart, kind="stable")
        chosen = np.sort(near[: max(1, y.size * x.size)])
        y, x = (chosen, np.zeros(1, np.intp)) if nx == 1 else (np.zeros(1, np.intp), chosen)
    return t, y, x


def _apart_in_both(lattice: Lattice, apart: FloatArray, own: int, aspect: float) -> FloatArray:
    """Distances (n,) in space and time from one of the cells that have their own time.

    Each axis counts in its extent: a window that grows reaches the ends of both at once, for an `aspect` of one.
    """
    assert lattice.days is not None
    days, extent = lattice.days.ravel(), max(lattice.space.extent, 1e-9)
    lag = np.abs(days - days[own]) / max(lattice.time_extent, 1e-9)
    return np.asarray(np.hypot(apart / extent, lag / aspect))


def _fitted(spans: tuple[float, ...], sizes: tuple[int, ...], cells: float) -> list[int]:
    """Spans clipped to the lattice; what an axis cannot take, the others get."""
    wanted = np.array(spans)
    limits = np.array(sizes, float)
    for _ in range(3):
        clipped = np.minimum(wanted, limits)
        free = wanted < limits
        if not free.any():
            break
        wanted = np.where(free, wanted * (cells / clipped.prod()) ** (1 / free.sum()), limits)
    return [int(np.clip(round(w), 1, n)) for w, n in zip(wanted, sizes, strict=True)]


def _range(centre: int, span: int, size: int) -> IntArray:
    start = int(np.clip(centre - span // 2, 0, size - span))
    return np.arange(start, start + span)


def _scattered(lattice: Lattice, member: tuple[int, ...], rng: np.random.Generator, size: int) -> Observations:
    """Observations from all over the domain; on lazy data from a few of its chunks."""
    pieces = [_thinned(read_window(lattice, member, w), rng, size) for w in _scattered_windows(lattice, rng)]
    return _thinned(merged([p for p in pieces if len(p)] or pieces[:1]), rng, size)


def _scattered_windows(lattice: Lattice, rng: np.random.Generator) -> Iterator[Window]:
    edges = [_edges(lattice, axis) for axis in range(3)]
    counts = [len(e) - 1 for e in edges]
    total = int(np.prod(counts))
    for flat in rng.choice(total, size=min(total, NUM_SCATTERED_WINDOWS), replace=False):
        where = np.unravel_index(int(flat), counts)
        t, y, x = (np.arange(e[i], e[i + 1]) for e, i in zip(edges, where, strict=True))
        yield t, y, x


def _edges(lattice: Lattice, axis: int) -> list[int]:
    """Where the chunks of a canonical axis begin and end."""
    if not lattice.is_lazy:
        return [0, lattice.shape[axis]]
    return [0, *np.cumsum(lattice.values.chunks[axis - 3]).tolist()]


def _thinned(found: Observations, rng: np.random.Generator, size: int) -> Observations:
    if len(found) <= size:
        return found
    return found.take(np.sort(rng.choice(len(found), size=size, replace=False)))


def merged(pieces: list[Observations]) -> Observations:
    """Several sets of observations of one field as one."""
    points = Points.scattered(
        np.concatenate([p.points.time for p in pieces]), np.concatenate([p.points.space for p in pieces])
    )
    values: FloatArray = np.concatenate([p.values for p in pieces])
    return Observations(points, values, np.concatenate([p.noise for p in pieces]), pieces[0].field)


def distinct(pieces: list[Observations]) -> Observations:
    """Several sets of observations of one field as one, each cell once."""
    both = merged(pieces)
    cells = both.points.time_index * both.points.sites.shape[0] + both.points.site_index
    return both.take(np.unique(cells, return_index=True)[1])


def one_field(lattice: Lattice, member: tuple[int, ...]) -> Lattice:
    """One of the independent fields of a lattice, without extra axes."""

    def part(array: Any) -> Any:
        if array is None or not member:
            return array
        return array[tuple(0 if n == 1 else m for n, m in zip(array.shape, member, strict=False))]

    return replace(
        lattice, values=part(lattice.values), valid=part(lattice.valid), errors=part(lattice.errors), extra_shape=()
    )


def all_values(blocks: list[Observations]) -> FloatArray:
    """The values of all blocks, one after another."""
    return np.concatenate([b.values for b in blocks]) if blocks else np.zeros(0)


def draw_samples(lattice: Lattice, size: int, seed: int) -> list[Observations]:
    """At most `size` observations from all over the domain, of every independent field its share."""
    rng = np.random.default_rng(seed)
    members = list(lattice.members())
    share = -(-size // len(members))
    return [_scattered(lattice, member, rng, share) for member in members]


def observed_share(lattice: Lattice, seed: int) -> float:
    """Share of cells with an observation where the field exists.

    On lazy data it is estimated from a few chunks. As these may be those before :func:`within_valid`, a `valid` that
    leaves hardly any of their observations is refused or warned of.
    """
    if not lattice.is_lazy:
        return float(np.mean(np.isfinite(lattice.values)))
    rng = np.random.default_rng(seed)
    member = next(lattice.members())
    counts = np.sum([_counted(lattice, member, window) for window in _scattered_windows(lattice, rng)], axis=0)
    cells, count, left, inside = map(int, counts)
    if lattice.valid is not None:
        part = cells < int(np.prod(lattice.shape)) or any(n > 1 for n in lattice.extra_shape)
        require_left(count, left, inside, part=part)
    return left / cells


def _counted(lattice: Lattice, member: tuple[int, ...], window: Window) -> tuple[int, int, int, int]:
    """Numbers of cells of a window, of observations, of those where the field exists, and of its cells there."""
    values = np.asarray(lattice.window(lattice.values, member, window), dtype=np.float64)
    exists = np.ones(values.shape, bool)
    if lattice.valid is not None:
        exists &= np.asarray(lattice.window(lattice.valid, member, window))
    require_known(np.where(exists, values, np.nan), window, lattice.fills)
    observed = np.isfinite(values) & ~is_fill(values, lattice.fills)
    return values.size, int(observed.sum()), int((observed & exists).sum()), int(exists.sum())


def nearest_known(errors: Any, otherwise: float) -> FloatArray:
    """Standard errors with each unknown one replaced by the nearest known (in cells), or `otherwise`."""
    from scipy.ndimage import distance_transform_edt

    values = np.asarray(errors, dtype=np.float64)
    unknown = ~(np.isfinite(values) & (values > 0))
    if unknown.all():
        return np.full(values.shape, otherwise)
    if not unknown.any():
        return values
    nearest = distance_transform_edt(unknown, return_distances=False, return_indices=True)
    return np.asarray(values[tuple(nearest)])
