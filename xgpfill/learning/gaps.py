"""Observations to hide as the gaps of a field are: random cells, other days' clouds, or places that nobody measures.

Three kinds of gaps ask for three kinds of hiding: single observations; those under the gaps of another day (Beckers &
Rixen 2003 hide clouds so), in a single image under its own gaps shifted; and all observations of some places, as far as
gaps lie where nothing was ever observed (Roberts et al. 2017, doi:10.1111/ecog.02881).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.grid.points import Points
from xgpfill.learning.blocks import merged, one_field, read_window, whole, window_around

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xgpfill.barriers.barrier import Barrier
    from xgpfill.grid.lattice import Lattice, Window
    from xgpfill.grid.points import IntArray, Observations

    Mask = NDArray[np.bool_]

MAX_POOL = 2**20
"""Cells of fields in memory that are read whole."""
MOST_FIELDS = 64
"""Independent fields of which some observations are hidden."""
NUM_WINDOWS, WINDOW_CELLS = 6, 2**15
"""Windows of data that are not read whole, and how many cells each has."""
CELLS_TRIED = 16_000
NUM_GAPS = 800
ROUNDS = 4
"""Sets that are hidden together, of each kind."""
FEW_DAYS = 5
"""Fewer than that are shifted in space."""
SHIFTS_TRIED = 6
HIDDEN_PLACES = 0.2
"""Share of the places whose observations are hidden together."""
ENOUGH_PLACES = 10
NUM_DISCS = 8
"""Parts of a region that are hidden together where observations are points."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Observations of one field, or of some windows of it, and gaps among them.

    Attributes
    ----------
    observations : Observations
        n of them.
    gaps : Points
        Some cells that were not observed, where the field exists; perhaps none.
    transient : bool array (rounds, n)
        What is hidden together as gaps are that come and go; perhaps no round.
    lasting : bool array (rounds, n)
        What is hidden together as places are that were never observed; perhaps no round.
    never : float
        Share of the gaps that lie at such places.
    barrier : Barrier or None
        Land that observations do not see across.
    """

    observations: Observations
    gaps: Points
    transient: Mask
    lasting: Mask
    never: float
    barrier: Barrier | None = None

    def with_observations(self, observations: Observations) -> Pool:
        """The same with other numbers."""
        return replace(self, observations=observations)

    def joined(self, points: Points, own: IntArray, candidates: IntArray) -> tuple[IntArray, IntArray]:
        """Numbers `own` (k,) of some points with candidates (k, m) among the observations, −1 for those across land.

        Points that are left without any are left out.
        """
        if self.barrier is None or not own.size:
            return own, candidates
        observed = self.observations.points
        cells, targets = (self.barrier.cells_at(p.sites)[p.site_index] for p in (observed, points))
        found = self.barrier.joins(targets[own], np.where(candidates < 0, -1, cells[candidates]))
        known = found.any(axis=1)
        return own[known], np.where(found, candidates, -1)[known]


def pools(lattice: Lattice, seed: int) -> list[Pool]:
    """Pools of every field, or of many evenly spread: of all of those in memory, else of random windows."""
    members = list(lattice.members())
    number = min(len(members), MOST_FIELDS)
    whole_fields = not lattice.is_lazy and np.prod(lattice.shape) * number <= MAX_POOL
    found = []
    for place in np.linspace(0, len(members) - 1, number).round().astype(int):
        field, rng = one_field(lattice, members[place]), np.random.default_rng(seed)
        windows = [whole(field)] if whole_fields else _windows(field, rng)
        pool = _joined([_read(field, window, rng) for window in windows])
        if pool is not None:
            own = replace(pool.observations, field=int(place))
            found.append(replace(pool, observations=own, barrier=lattice.land))
    return found


def _windows(lattice: Lattice, rng: np.random.Generator) -> list[Window]:
    """Boxes around random cells."""
    centres = [tuple(int(rng.integers(n)) for n in lattice.shape) for _ in range(NUM_WINDOWS)]
    return [window_around(lattice, centre, WINDOW_CELLS, 1.0) for centre in centres]


def _read(lattice: Lattice, window: Window, rng: np.random.Generator) -> Pool:
    """All observations of a window, some of its gaps, and what is hidden together."""
    observations, shape = read_window(lattice, (), window), tuple(w.size for w in window)
    points, days = observations.points, lattice.days_of(window[1], window[2])
    step = points.time_index if days is None else np.zeros(len(points), np.intp)
    seen = np.zeros(shape, dtype=bool)
    seen.reshape(shape[0], -1)[step, points.site_index] = True
    gap: Mask = ~seen
    if lattice.valid is not None:
        gap = gap & np.asarray(lattice.window(lattice.valid, (), window), dtype=bool)
    cells = rng.integers(0, gap.size, CELLS_TRIED) if gap.size > CELLS_TRIED else rng.permutation(gap.size)
    t, y, x = np.unravel_index(cells[gap.ravel()[cells]][:NUM_GAPS], shape)
    ever: Mask = np.any(seen, axis=0)
    never = ~ever[y, x]
    transient = [_shifted(gap, (step, points.site_index), rng) for _ in range(ROUNDS)] if not never.all() else []
    if not gap.any() and lattice.space.size == len(
        points
    ):  # points, of which nobody knows where they will be asked for
        transient = [_discs(points, rng) for _ in range(ROUNDS)]
    lasting = [_places(points.site_index, rng) for _ in range(ROUNDS)] if never.any() else []
    times = lattice.time[window[0]]
    gaps = Points.of_cells(times, points.sites, t, y * shape[2] + x, None, None if days is None else days.ravel())
    share = float(never.mean()) if never.size else 0.0
    return Pool(observations, gaps, _masks(transient, len(points)), _masks(lasting, len(points)), share)


def _masks(rounds: list[Mask], size: int) -> Mask:
    return np.array(rounds, dtype=bool).reshape(len(rounds), size)


def _shifted(gap: Mask, cells: tuple[IntArray, IntArray], rng: np.random.Generator) -> Mask:
    """Which observations, on `cells` (time, site), would be gaps with those of another time, or of a shifted image.

    Gaps may recur, so that those of another time hide nothing: the first of some shifts is taken that hides half as
    many as gaps without any relation would.
    """
    nt, ny, nx = gap.shape
    if nt >= FEW_DAYS:
        shifts = [(int(n), 0, 0) for n in rng.permutation(np.arange(1, nt))[:SHIFTS_TRIED]]
    else:
        parts = [rng.integers(n // 8, n - n // 8, SHIFTS_TRIED) if n > 1 else [0] * SHIFTS_TRIED for n in (ny, nx)]
        shifts = [(0, int(y), int(x)) for y, x in zip(*parts, strict=True)]
    found: Mask = np.zeros(cells[0].size, dtype=bool)
    for shift in shifts:
        moved = np.roll(gap, shift, axis=(0, 1, 2)).reshape(nt, -1)[cells]
        found = moved if moved.sum() > found.sum() else found
        if found.mean() >= 0.5 * gap.mean():
            break
    return found


def _discs(points: Points, rng: np.random.Generator) -> Mask:
    """Which observations lie in some discs around random ones, as gaps that nobody marked; none where these are few."""
    from scipy.spatial import KDTree

    found: Mask = np.zeros(len(points), dtype=bool)
    size = int(HIDDEN_PLACES * len(points) / NUM_DISCS)
    if size:
        centres = points.space[rng.choice(len(points), NUM_DISCS)]
        found[KDTree(points.space).query(centres, k=size)[1].ravel()] = True
    return found


def _places(site_index: IntArray, rng: np.random.Generator) -> Mask:
    """Which observations are of some of the places; of none where places are too few."""
    places, of = np.unique(site_index, return_inverse=True)
    if places.size < ENOUGH_PLACES:
        return np.zeros(site_index.size, dtype=bool)
    return np.asarray((rng.random(places.size) < HIDDEN_PLACES)[of])


def _joined(parts: list[Pool]) -> Pool | None:
    """Several windows as one; None without any observation."""
    parts = [part for part in parts if len(part.observations)]
    if len(parts) <= 1:
        return parts[0] if parts else None
    gaps = [part.gaps for part in parts]
    every = Points.scattered(np.concatenate([g.time for g in gaps]), np.concatenate([g.space for g in gaps]))
    observations = merged([part.observations for part in parts])
    cells = observations.points.time_index * observations.points.sites.shape[0] + observations.points.site_index
    once = np.unique(cells, return_index=True)[1]

    def side_by_side(name: str) -> Any:
        masks = [getattr(part, name) for part in parts]
        rounds = max(map(len, masks))
        full = [m if len(m) == rounds else np.zeros((rounds, m.shape[1]), dtype=bool) for m in masks]
        return np.concatenate(full, axis=1)[:, once]

    never = float(np.average([p.never for p in parts], weights=[max(1, len(p.gaps)) for p in parts]))
    return Pool(observations.take(once), every, side_by_side("transient"), side_by_side("lasting"), never)
