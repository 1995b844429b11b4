"""Which engine ``method="auto"`` means, and the engine that settings stand for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xgpfill.engines.settings import Exact, Iterative, Settings, Variational
from xgpfill.grid.lattice import MAX_DENSE_SITES, MAX_TIMES, is_regular
from xgpfill.grid.meridians import find_meridians
from xgpfill.kernels.outside import Outside
from xgpfill.kernels.spec import Brownian, has_type

if TYPE_CHECKING:
    import xarray as xr

    from xgpfill.engines.base import Engine
    from xgpfill.grid.lattice import Lattice
    from xgpfill.kernels.prior import Prior

FEW_OBSERVATIONS = 1000
"""Up to here a dense factor is as fast as anything, and exact."""
QUICK_OPERATIONS = 2e10
"""Multiplications of a dense factor and of variances by it that take a second or so."""
SOME_OBSERVATIONS = 4000
"""Up to here it is affordable where places are no lattice."""
OBSERVATIONS_PER_INDUCING = 3
"""Observations that a tile may hold for each of its inducing points before it is made smaller."""
BYTES_PER_CELL = 1000
"""What the iterative engine holds of each cell of a tile while it solves for the data and eight draws."""
BYTES_PER_LAG = 100
"""What it holds of each pair of rows and lag in longitude, for all terms: tables, spectra in two precisions, draws."""
COLUMNS_OF_AVERAGES = 10
"""Fields of which the memory is taken while one average is solved for: 1030 bytes a cell were measured on a million."""
MEMORY_SHARE = 0.5
LEAST_SHARE = 0.05
"""Of the memory: cells get at least this, however large the tables are."""


@dataclass(frozen=True)
class Choice:
    """An engine and the reason it was chosen."""

    settings: Settings
    reason: str

    def __str__(self) -> str:
        return f"{self.settings}: {self.reason}"


def select_settings(num_observations: int, lattice: Lattice | None = None, prior: Prior | None = None) -> Choice:
    """The engine for this many observations in one field.

    Parameters
    ----------
    num_observations : int
    lattice : Lattice, optional
        Where they are; without it no lattice is taken for granted.
    prior : Prior, optional
        Its kernels; without it they are taken for functions of the lag.

    Examples
    --------
    >>> select_settings(900).settings
    Exact(max_observations=12000)
    """
    many = f"about {num_observations} observations in a field"
    if num_observations <= FEW_OBSERVATIONS:
        return Choice(Exact(), f"{many}; dense up to {FEW_OBSERVATIONS}, fast and exact")
    cells = None if lattice is None else math.prod(lattice.shape)
    if cells is not None and num_observations**2 * (num_observations / 3 + cells) <= QUICK_OPERATIONS:
        return Choice(Exact(), f"{many} and {cells} cells; dense in a second or so, and exact")
    if lattice is not None and suits_iteration(lattice, prior):
        return Choice(Iterative(), f"{many} on a lattice; exact without a matrix")
    if num_observations <= SOME_OBSERVATIONS:
        return Choice(Exact(), f"{many} on no regular lattice; dense up to {SOME_OBSERVATIONS}, exact")
    why = f"{many}, more than the {SOME_OBSERVATIONS} of a dense factor, on no regular lattice"
    return Choice(Variational(), why)


def suits_iteration(lattice: Lattice, prior: Prior | None = None) -> bool:
    """Whether the iterative engine takes it: regular meridians or few places, and not too many times.

    More than `MAX_TIMES` must be regular, and every kernel of time a function of the lag.
    """
    uneven = prior is not None and any(has_type(term.time, Brownian, Outside) for term in prior.terms)
    if lattice.time.size > MAX_TIMES and (uneven or not is_regular(lattice.time)):
        return False
    if lattice.space.size <= MAX_DENSE_SITES:
        return True
    return find_meridians(lattice.space.coordinates, lattice.space.geometry) is not None


def select_method(da: xr.DataArray, *, dims: Any = None) -> Choice:
    """What ``method="auto"`` would choose for these data, and why.

    Parameters
    ----------
    da : DataArray
    dims : names, optional
        As in ``fit``.

    Returns
    -------
    Choice
        With `settings` and `reason`.

    Examples
    --------
    >>> import xgpfill
    >>> ds = xgpfill.datasets.synthetic_sst(days=10, nlat=10, nlon=12)
    >>> xgpfill.select_method(ds["sst"]).settings
    Exact(max_observations=12000)
    """
    from xgpfill.grid.encode import encode
    from xgpfill.learning.blocks import observed_share

    lattice, _ = encode(da, dims=dims, valid=True)
    cells = lattice.shape[0] * lattice.shape[1] * lattice.shape[2]
    return select_settings(round(observed_share(lattice, 0) * cells), lattice)


def build_engine(settings: Settings) -> Engine:
    """The engine that settings stand for (loads torch)."""
    if isinstance(settings, Exact):
        from xgpfill.engines.exact import ExactEngine

        return ExactEngine(settings)
    if isinstance(settings, Iterative):
        from xgpfill.engines.iterative import IterativeEngine

        return IterativeEngine(settings)
    from xgpfill.engines.variational import VariationalEngine

    return VariationalEngine(settings)


def tile_capacity(settings: Settings, lattice: Lattice, observed_share: float = 1.0, device: str = "cpu") -> int | None:
    """Observations that one tile, with all that it sees, should hold; None when tiles are made only on request."""
    if isinstance(settings, Variational):
        return OBSERVATIONS_PER_INDUCING * settings.num_inducing
    if isinstance(settings, Iterative):
        memory = available_memory(device, lazy=lattice.is_lazy)
        return _iterative_capacity(lattice, settings.num_samples + 2, observed_share, memory)
    return None


def settings_of_all(
    settings: Settings, lattice: Lattice, prior: Prior, observed_share: float, device: str = "cpu"
) -> Settings | None:
    """The engine that conditions on all observations of a field at once; None where memory does not hold them."""
    count, memory = math.prod(lattice.shape) * observed_share, available_memory(device, lazy=lattice.is_lazy)
    if isinstance(settings, Exact) and count <= settings.max_observations:
        return settings
    most = _iterative_capacity(lattice, COLUMNS_OF_AVERAGES, observed_share, memory)
    if suits_iteration(lattice, prior) and count <= most:
        return settings if isinstance(settings, Iterative) else Iterative()
    dense = Exact()
    return dense if count <= dense.max_observations and 24 * count**2 <= MEMORY_SHARE * memory else None


def _iterative_capacity(lattice: Lattice, columns: int, observed_share: float, memory: float) -> int:
    """Observations of a tile for which the iterative engine holds so many fields."""
    room = max(MEMORY_SHARE * memory - BYTES_PER_LAG * _lags(lattice), LEAST_SHARE * memory)
    return max(1, int(room / (BYTES_PER_CELL * columns / 10) * observed_share))


def _lags(lattice: Lattice) -> int:
    """Pairs of rows and lags in longitude, or pairs of sites."""
    ny, nx = lattice.space.shape
    regular = find_meridians(lattice.space.coordinates, lattice.space.geometry) is not None
    return ny * ny * nx if regular else (ny * nx) ** 2


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
