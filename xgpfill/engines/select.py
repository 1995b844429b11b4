"""Which engine ``method="auto"`` means, and the engine that settings stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xgpfill.engines.settings import Exact, Settings, Variational

if TYPE_CHECKING:
    import xarray as xr

    from xgpfill.engines.base import Engine

FEW_OBSERVATIONS = 4000
OBSERVATIONS_PER_INDUCING = 3
"""Observations that a tile may hold for each of its inducing points before it is made smaller."""


@dataclass(frozen=True)
class Choice:
    """An engine and the reason it was chosen."""

    settings: Settings
    reason: str

    def __str__(self) -> str:
        return f"{self.settings}: {self.reason}"


def select_settings(num_observations: int) -> Choice:
    """The engine for this many observations in one field.

    Examples
    --------
    >>> select_settings(900).settings
    Exact(max_observations=12000)
    """
    if num_observations <= FEW_OBSERVATIONS:
        why = f"about {num_observations} observations in a field; dense up to {FEW_OBSERVATIONS}, fast and exact"
        return Choice(Exact(), why)
    why = f"about {num_observations} observations in a field, more than the {FEW_OBSERVATIONS} of a dense factor"
    return Choice(Variational(), why)


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
    return select_settings(round(observed_share(lattice, 0) * cells))


def build_engine(settings: Settings) -> Engine:
    """The engine that settings stand for (loads torch)."""
    if isinstance(settings, Exact):
        from xgpfill.engines.exact import ExactEngine

        return ExactEngine(settings)
    from xgpfill.engines.variational import VariationalEngine

    return VariationalEngine(settings)


def tile_capacity(settings: Settings) -> int | None:
    """Observations that one tile (and its halo) should hold; None when tiles are made only on request."""
    if isinstance(settings, Variational):
        return OBSERVATIONS_PER_INDUCING * settings.num_inducing
    return None
