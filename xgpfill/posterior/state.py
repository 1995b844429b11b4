"""What was learned and the observations it is conditioned on: the state that every verb reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.barriers.reading import require_one_tile
from xgpfill.errors import NotFittedError
from xgpfill.files import sources_of
from xgpfill.kernels import hyperparameters as tables
from xgpfill.metrics.calibration import Intervals
from xgpfill.options import canonical_sizes
from xgpfill.results.fields import relative_to_terms
from xgpfill.settings import Variational
from xgpfill.tiling.memory import settings_of_all, tile_limit
from xgpfill.tiling.plan import plan_tiles
from xgpfill.tiling.solve import TileSolver
from xgpfill.tiling.views.halo import Sight
from xgpfill.words import units_of

if TYPE_CHECKING:
    from pathlib import Path

    from xgpfill.grid.lattice import Lattice
    from xgpfill.grid.scaling import Scaling
    from xgpfill.kernels.prior import Prior
    from xgpfill.layout.encode import Layout
    from xgpfill.metrics.calibration import Calibration
    from xgpfill.settings import Settings
    from xgpfill.tiling.views.screening import Distances

Tile = str | Mapping[str, int]
Halo = str | int | Mapping[str, int]


@dataclass(frozen=True)
class Record:
    """How learning went.

    Attributes
    ----------
    seconds : float
    evaluations : int
        Of the likelihood; 0 when nothing was learned.
    log_likelihood : float
        Composite, per observation; NaN when nothing was learned.
    choice : str
        The engine and why it was chosen.
    """

    seconds: float = 0.0
    evaluations: int = 0
    log_likelihood: float = float("nan")
    choice: str = ""


@dataclass(frozen=True, eq=False)
class State:
    """A learned covariance and its observations. Immutable.

    Attributes
    ----------
    prior : Prior
        The terms, in data units², days and km.
    scaling : Scaling
        Data units of standardised ones.
    settings : Exact, Iterative, Variational or Vecchia
        The engine.
    lattice : Lattice
        The observations.
    layout : Layout
        How the lattice lies in the user's DataArray.
    options : dict
        Tiles, device, precision, seed.
    record : Record
        How learning went.
    share : float
        Share of cells with an observation; on lazy data estimated while fitting.
    valid : bool DataArray, True or None
        Where the field exists, as it was given.
    errors : DataArray or None
        Standard errors of the observations.
    typical_error : float or None
        Their median, for places that have none.
    has_data : bool
        False for a model that was loaded without its observations.
    learned_shape : (int, int)
        Times and places that were learned from.
    opened : frozenset of paths
        Files and stores that the data were opened from.
    intervals : Calibration or None
        How wide intervals are; None: as the normal law says.
    screening : (float or None, float or None)
        Beyond which distance in time and in space observations hardly matter; None where it is not known or needed.
    """

    prior: Prior
    scaling: Scaling
    settings: Settings
    lattice: Lattice
    layout: Layout
    options: dict[str, Any]
    record: Record
    share: float
    valid: xr.DataArray | bool | None = None
    errors: xr.DataArray | None = None
    typical_error: float | None = None
    has_data: bool = True
    learned_shape: tuple[int, int] = (0, 0)
    opened: frozenset[Path] = frozenset()
    intervals: Calibration | None = None
    screening: Distances = (None, None)

    @property
    def hyperparameters(self) -> xr.Dataset:
        """All hyperparameters in physical units; ``fit(hyperparameters=...)`` takes them back."""
        return tables.to_dataset(
            self.prior, self.lattice, units_of(self.layout.template), noise_is_scale=self.errors is not None,
            comment=self.jitter, anisotropy=self.layout.metric.anisotropy,
            **relative_to_terms(self.scaling, self.layout),
        )  # fmt: skip

    @property
    def jitter(self) -> str:
        """What to say where noise was given as nothing and yet is not; empty where it is as given."""
        if self.errors is not None:
            return ""
        return tables.jitter(self.prior, self.scaling.reference, units_of(self.layout.template))

    @property
    def noise_is_known(self) -> bool:
        """Whether the noise is that which was given, wherever the field varies more; else it varies with the field."""
        return self.errors is not None or self.prior.fixed_noise

    @property
    def fields_of_intervals(self) -> Intervals | None:
        """How wide intervals are, with the dimensions of the fields they are of."""
        if self.intervals is None:
            return None
        return Intervals(self.intervals, {d: self.layout.template.sizes[d] for d in self.layout.roles.extra})

    @cached_property
    def sources(self) -> frozenset[Path]:
        """Files and stores that the data come from; nothing is written onto them."""
        return self.opened | sources_of(self.layout.template, self.errors, self.valid)

    @property
    def convergence(self) -> xr.Dataset:
        """How the solves of the iterative engine went in this process, oldest first.

        Returns
        -------
        Dataset (solve)
            ``steps``; ``residual``, the largest true residual over its tolerance (at most 1 when it converged);
            ``tolerance``; the numbers of ``observations`` and of right-hand sides (``columns``); ``factor_seconds`` and
            ``solve_seconds``. Empty for other engines. Where a solve gave variances, what they were found to be worth:

            - ``probes``: cells whose variance was solved for exactly; ``std_error`` and ``worst_std_error``: median and
              largest relative error of their standard deviations;
            - ``mean_error``: error of means, in standard deviations, that the residual leaves; a hundredth of all
              cells have a larger one;
            - ``std_bias`` and ``region_bias``: relative error of standard deviations on the whole, and in the part of
              the domain where it is largest and no chance (0 where there is none), from errors of draws on all cells;
            - ``neighbours`` and ``patch``: observations that each cell was conditioned on locally, and cells that
              shared them.
        """
        records = [r for solver in self._solvers.values() for r in solver.records]
        names = ("steps", "residual", "tolerance", "observations", "columns", "factor_seconds", "solve_seconds")
        found = xr.Dataset({name: ("solve", [getattr(r, name) for r in records]) for name in names})
        if any(r.check is not None for r in records):
            from dataclasses import asdict

            checks = [{} if r.check is None else asdict(r.check) for r in records]
            told = sorted({name for check in checks for name in check})
            found = found.assign({name: ("solve", [check.get(name, np.nan) for check in checks]) for name in told})
        return found

    def require_data(self) -> None:
        """Refuse what needs observations where there are none.

        Raises
        ------
        NotFittedError
        """
        if not self.has_data:
            raise NotFittedError(
                "This model was loaded without data. Give it observations: `model.condition(da)`, then call this on "
                "the result."
            )

    def within_valid(self, da: xr.DataArray) -> xr.DataArray:
        """NaN where the field does not exist; dimensions, attributes and chunks as they were."""
        if not isinstance(self.valid, xr.DataArray):
            return da
        exists = self.valid.reset_coords(drop=True)  # levels of an index stay
        masked = da.where(exists).transpose(*da.dims).assign_attrs(da.attrs)
        masked.encoding = da.encoding
        return masked if da.chunks is None else masked.chunk(dict(da.chunksizes))

    def errors_of(self, member: tuple[int, ...]) -> Any:
        """Standard errors of one independent field, (time, y, x) or shorter axes of one; None without errors."""
        errors = self.lattice.errors
        if errors is None:
            return None
        return errors[tuple(0 if n == 1 else m for n, m in zip(errors.shape, member, strict=False))]

    def solver(self, tile: Tile | None = None, halo: Halo | None = None) -> TileSolver:
        """What each tile needs, with the tiles planned for this lattice; by default those of ``fit``."""
        names = self.layout.axis_names
        tile = canonical_sizes("tile", self.options["tile"] if tile is None else tile, names)
        halo = canonical_sizes("halo", self.options["halo"] if halo is None else halo, names)
        key = repr((tile, halo))
        if key not in self._solvers:
            self._solvers[key] = _planned(self, tile, halo)
        return self._solvers[key]

    @cached_property
    def _solvers(self) -> dict[str, TileSolver]:
        return {}


def _planned(state: State, tile: Tile, halo: Halo) -> TileSolver:
    """What each tile needs, with tiles planned for the lattice."""
    lattice, settings, device = state.lattice, state.settings, state.options["device"]
    require_one_tile(lattice.barrier, tile, halo)
    prior = tables.standardised(state.prior, state.scaling.reference, has_errors=state.errors is not None)
    sight = Sight(lattice, prior, halo, state.screening, isinstance(settings, Variational))
    plan = plan_tiles(sight, tile=tile, limit=tile_limit(settings, lattice, device), observed_share=state.share)
    return TileSolver(
        replace(lattice, values=None, valid=None, errors=None), prior, state.scaling, settings, plan, device,
        state.options["dtype"], _existing(lattice), state.noise_is_known,
        settings_of_all(settings, lattice, prior, state.share, device), state.screening,
    )  # fmt: skip


def _existing(lattice: Lattice) -> Any:
    """Where the field exists in any field at any time, (y, x); None where that is not known or everywhere."""
    if not isinstance(lattice.valid, np.ndarray):
        return None
    exists = lattice.valid.any(axis=tuple(range(lattice.valid.ndim - 2)))
    return None if exists.all() else np.broadcast_to(exists, lattice.space.shape)
