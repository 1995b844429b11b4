"""How much memory there is, and what an engine takes of it for one tile; figures of bytes as they were measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xgpfill.grid.lattice import MOST_PLACES
from xgpfill.operators.suits import suits_iteration
from xgpfill.settings import Exact, Iterative, Settings, Variational

if TYPE_CHECKING:
    from xgpfill.grid.lattice import Lattice
    from xgpfill.kernels.prior import Prior

OBSERVATIONS_PER_INDUCING = 3
"""Observations that a tile may hold for each of its inducing points before it is made smaller."""
USUAL_COLUMNS = 10
"""Data, trend and eight draws: the fields that the iterative engine holds when bytes were measured."""
PER_CELL, PER_OBSERVATION = 450, 1500
"""Bytes that it holds of each cell that a tile sees, and of each observation, averages included, with so many."""
PER_EVALUATED = 100
"""Bytes of each cell whose variance is asked for."""
PER_LAG = 100
"""Bytes of each pair of rows and lag in longitude, for all terms: tables, blocks in two precisions, those of draws."""
PER_PAIR_OF_PLACES = 48
"""Bytes of each pair of places whose map is told apart: some dense matrices of them."""
MEMORY_SHARE, LIBRARIES, LEAST_SHARE = 0.65, 4e8, 0.1
"""Of what there is that a tile is planned for: this share of what libraries leave; and at least so much of all."""


@dataclass(frozen=True)
class Chunks:
    """The chunks of lazy data, which a tile reads whole.

    Attributes
    ----------
    shape : (int, int, int)
        Times, rows and columns of all data.
    largest : (int, int, int)
        Of each axis.
    itemsize : int
        Bytes of a cell.
    """

    shape: tuple[int, int, int]
    largest: tuple[int, int, int]
    itemsize: int

    def bytes(self, shape: tuple[int, int, int]) -> float:
        """What those take, on average, that hold so many times, rows and columns."""
        own = zip(self.shape, shape, self.largest, strict=True)
        return self.itemsize * math.prod(min(size, seen + most - 1) for size, seen, most in own)


@dataclass(frozen=True)
class Limit:
    """What one tile, with all that it sees, may take.

    Attributes
    ----------
    observations : float
        That an engine takes, averages included.
    memory : float
        Bytes.
    columns : int
        Fields that are held at once.
    is_regular : bool
        Whether columns are alike, so that covariances are known by their lag.
    chunks : Chunks or None
        None: the data are in memory.
    """

    observations: float = math.inf
    memory: float = math.inf
    columns: int = USUAL_COLUMNS
    is_regular: bool = True
    chunks: Chunks | None = None

    def load(self, shape: tuple[int, int, int], observed: float, evaluated: float = 0.0) -> float:
        """Share of the limit that a tile takes.

        Parameters
        ----------
        shape : (int, int, int)
            Times, rows and columns that it sees, averages counted as one.
        observed : float
            Observations among them.
        evaluated : float
            Cells whose variance is asked for.
        """
        return max(observed / self.observations, self.bytes(shape, observed, evaluated) / self.memory)

    def bytes(self, shape: tuple[int, int, int], observed: float, evaluated: float) -> float:
        """Of the iterative engine, and of the chunks that are held while it works."""
        nt, ny, nx = shape
        fields = (PER_CELL * nt * ny * nx + PER_OBSERVATION * observed) * self.columns / USUAL_COLUMNS
        pairs = ny * ny * nx if self.is_regular else (ny * nx) ** 2
        read = self.chunks.bytes(shape) if self.chunks else 0.0
        apart = (ny * nx) ** 2 if ny * nx <= MOST_PLACES else 0
        return fields + PER_EVALUATED * evaluated + PER_LAG * pairs + PER_PAIR_OF_PLACES * apart + read


def tile_limit(settings: Settings, lattice: Lattice, device: str = "cpu") -> Limit | None:
    """What one tile of a lattice may take; None when tiles are made only on request."""
    if isinstance(settings, Variational):
        return Limit(observations=OBSERVATIONS_PER_INDUCING * settings.num_inducing)
    if isinstance(settings, Iterative) and suits_iteration(lattice):  # elsewhere memory grows with the observations
        return _iterative_limit(lattice, settings.num_samples + 2, device)
    return None


def settings_of_all(
    settings: Settings, lattice: Lattice, prior: Prior, observed_share: float, device: str = "cpu"
) -> Settings | None:
    """The engine that conditions on all observations of a field at once; None where memory does not hold them."""
    count = math.prod(lattice.shape) * observed_share
    if isinstance(settings, Exact) and count <= settings.max_observations:
        return settings
    limit = _iterative_limit(lattice, USUAL_COLUMNS, device)
    if suits_iteration(lattice, prior) and limit.load(lattice.shape, count) <= 1.0:
        return settings if isinstance(settings, Iterative) else Iterative()
    dense = Exact()
    return dense if count <= dense.max_observations and 24 * count**2 <= limit.memory else None


def _iterative_limit(lattice: Lattice, columns: int, device: str) -> Limit:
    there = available_memory(device, lazy=lattice.is_lazy)
    memory = max(MEMORY_SHARE * (there - LIBRARIES), LEAST_SHARE * there)
    chunks = None
    if lattice.is_lazy:
        largest = tuple(map(max, lattice.values.chunks[-3:]))
        chunks = Chunks(lattice.shape, largest, lattice.values.dtype.itemsize)
    return Limit(memory=memory, columns=columns, is_regular=lattice.space.meridians is not None, chunks=chunks)


def available_memory(device: str = "cpu", *, lazy: bool = False) -> float:
    """Bytes that one tile may be planned for: those of the GPU, of a worker's thread, or of this process.

    Lazy data are computed by the workers of a dask cluster where there is one; a process has no more than its cgroup
    and its limits allow.
    """
    if device.startswith("cuda"):
        import torch

        return float(torch.cuda.get_device_properties(torch.device(device)).total_memory)
    from distributed import default_client
    from distributed.system import MEMORY_LIMIT

    if lazy:
        try:
            workers = default_client().scheduler_info(n_workers=-1)["workers"].values()
        except ValueError:  # no cluster
            workers = ()
        shares = [w["memory_limit"] / max(1, w["nthreads"]) for w in workers if w["memory_limit"]]
        if shares:
            return float(min(shares))
    return float(MEMORY_LIMIT)
