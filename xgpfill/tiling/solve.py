"""One tile: its observations, averages of all others, and its posterior. Plain data that travels to workers."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cached_property
from importlib import metadata
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from xgpfill.covariance.matrices import Covariance
from xgpfill.engines.select import build_engine
from xgpfill.grid.lattice import Lattice
from xgpfill.grid.points import Observations, Points
from xgpfill.learning.blocks import read_window, require_known
from xgpfill.options import status_line
from xgpfill.settings import Exact, Settings, Variational
from xgpfill.tiling.kept import fingerprint
from xgpfill.tiling.tiles import Tile, TilePlan, marks
from xgpfill.tiling.views.halo import Sight
from xgpfill.tiling.views.view import View, groups_along

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from xgpfill.arrays import FloatArray, Window
    from xgpfill.engines.base import Engine, Posterior
    from xgpfill.grid.scaling import Scaling
    from xgpfill.kernels.prior import Prior
    from xgpfill.tiling.views.groups import Groups
    from xgpfill.tiling.views.screening import Distances

STAYS = {"covariance", "engine", "together", "sight", "_of_fields", "_groups", "_views"}
"""What a solver makes for itself in each process."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TileSolver:
    """Everything about a fitted model that a tile needs, but the data.

    Attributes
    ----------
    frame : Lattice
        The lattice without values: times, space.
    prior : Prior
        Standardised units.
    scaling : Scaling
    settings : Exact or Variational
    plan : TilePlan
    device, dtype : str
    exists : bool array (y, x), optional
        Where the field exists at any time; None: everywhere.
    noise_is_known : bool
        Whether the noise is that of the data, the same wherever the field varies more; else it varies with the field.
    settings_of_all : Settings or None
        The engine that takes all observations of a field at once; None where memory does not hold them.
    screening : (float or None, float or None)
        As in :class:`Sight`.
    """

    frame: Lattice
    prior: Prior
    scaling: Scaling
    settings: Settings
    plan: TilePlan
    device: str
    dtype: str
    exists: np.ndarray[Any, np.dtype[np.bool_]] | None = None
    noise_is_known: bool = False
    settings_of_all: Settings | None = None
    screening: Distances = (None, None)

    @cached_property
    def identity(self) -> str:
        """Tells it from every other one, in every process: all that its answers depend on but the observations."""
        held = (getattr(self, each.name) for each in fields(self) if each.name != "settings_of_all")
        return fingerprint(metadata.version("xgpfill"), *held)

    @cached_property
    def covariance(self) -> Covariance:
        """The prior covariance on this process's device."""
        return Covariance(self.prior, self.device, getattr(torch, self.dtype))

    def of_field(self, number: int) -> TileSolver:
        """That of one of the independent fields, in the order of the lattice; all share an engine."""
        if not self.scaling.fields:
            return self
        if number not in self._of_fields:
            own = replace(self, scaling=self.scaling.of_field(number))
            own.__dict__.update(covariance=self.covariance, engine=self.engine)
            self._of_fields[number] = own
        return self._of_fields[number]

    @cached_property
    def _of_fields(self) -> dict[int, TileSolver]:
        return {}

    @cached_property
    def together(self) -> TileSolver:
        """That of one tile that holds everything, for what no tile can say; itself where memory does not allow it."""
        if len(self.plan) == 1 or self.settings_of_all is None:
            return self
        whole = TilePlan.whole(self.frame.shape, wraps=self.frame.space.wraps)
        return replace(self, plan=whole, settings=self.settings_of_all)

    def points(self, window: Window) -> Points:
        """All cells of a window."""
        t, y, x = window
        sites = self.frame.space.coordinates[np.ix_(y, x)]
        exists = None if self.exists is None else self.exists[np.ix_(y, x)].ravel()
        if (days := self.frame.days_of(y, x)) is not None:
            flat = sites.reshape(-1, sites.shape[-1])
            every = np.arange(len(flat))
            found = Points.of_cells(self.frame.time, flat, np.zeros_like(every), every, days=days.ravel())
            return replace(found, exists=exists)
        return Points.grid(self.frame.time[t], sites.reshape(-1, sites.shape[-1]), (y.size, x.size), exists)

    def observations(self, window: Window, values: Any, errors: Any) -> Observations:
        """The observed cells of a window, standardised; `values` may have a leading axis of draws, gaps alike."""
        first = values if values.ndim == 3 else values[0]
        require_known(first, window, self.frame.fills)
        local: Window = tuple(np.arange(n) for n in first.shape)  # type: ignore[assignment]
        t, y, x = window
        space = replace(self.frame.space, coordinates=self.frame.space.coordinates[np.ix_(y, x)])
        days = self.frame.days_of(y, x)
        small = Lattice(values=first, time=self.frame.time[t], space=space, errors=errors, days=days)
        found = read_window(small, (), local)
        amplitude, mean = self.amplitude(found.points), self.scaling.mean_of(found.points)
        noise = found.noise * float(self.prior.noise) if self.prior.noise is not None else found.noise
        if self.noise_is_known:
            noise = noise / self.scaling.relative(amplitude) ** 2
        data, unit = found.values, None if np.ndim(amplitude) == 0 else amplitude
        if values.ndim == 4:
            data = np.asarray(values, dtype=np.float64)[:, np.isfinite(np.asarray(first, dtype=np.float64))].T
            amplitude, mean = (x if np.ndim(x) == 0 else x[:, None] for x in (amplitude, mean))
        return Observations(found.points, self.scaling.standardised(data, amplitude, mean), noise, unit=unit)

    def amplitude(self, points: Points) -> Any:
        """How much more the field varies at points (n,) than where hyperparameters say; one where it is the same."""
        return self.scaling.amplitude_of(points)

    def view(self, tile: Tile) -> View:
        """What a tile sees; the last is kept, since averages and their covariances are both made from it."""
        view = self._views.get(tile)
        if view is None:
            view = View.of(self.frame, self.prior, self.groups(tile), grow=self.sight.grow)
            self._views.clear()
            self._views[tile] = view
        return view

    def groups(self, tile: Tile) -> tuple[Groups, Groups, Groups]:
        """The cells of time, y and x as a tile sees them; tiles share those of an axis."""
        time, rows, columns = (self._groups_along(tile, mark) for mark in marks(tile))
        return time, rows, columns

    def _groups_along(self, tile: Tile, mark: tuple[int, ...]) -> Groups:
        if mark not in self._groups:
            self._groups[mark] = groups_along(self.sight, self.plan, tile, mark[0])
        return self._groups[mark]

    @cached_property
    def sight(self) -> Sight:
        """How long groups of cells are that its tiles see."""
        grow = isinstance(self.settings, Variational)
        return Sight(self.frame, self.prior, screening=self.screening, grow=grow)

    @cached_property
    def _groups(self) -> dict[tuple[int, ...], Groups]:
        return {}

    @cached_property
    def _views(self) -> dict[Tile, View]:
        return {}

    def sums(self, window: Window, values: Any, errors: Any) -> FloatArray:
        """The lowest level of a pyramid on a window, (2 + draws, time, y, x); see `xgpfill.tiling.views.pyramid`."""
        found = self.observations(window, values, errors)
        sums = np.zeros((2 + found.columns.shape[1], *(w.size for w in window)))
        flat = sums.reshape(len(sums), window[0].size, -1)
        where = found.points.time_index, found.points.site_index
        flat[0][where], flat[1][where] = 1.0, found.noise
        for row, column in zip(flat[2:], found.columns.T, strict=True):
            row[where] = column
        return sums

    def seen(self, tile: Tile, parts: Sequence[FloatArray]) -> Observations:
        """What a tile sees, from the parts of a pyramid that its view asks for."""
        found = self.view(tile).observations(parts)
        amplitude = self.amplitude(found.points)
        return found if np.ndim(amplitude) == 0 else replace(found, unit=amplitude)

    def posterior(self, tile: Tile, found: Observations) -> Posterior:
        """Condition on what a tile sees."""
        view = self.view(tile)
        covariance = self.covariance if view.are_single else replace(self.covariance, prior=view.averaged)
        return self._engine(found).condition(covariance, found, trend=len(found) > 0 and not self.prior.centred)

    def moments(self, tile: Tile, seen: Observations) -> FloatArray:
        """Mean and latent standard deviation on the cells a tile evaluates, (2, time, y, x), in data units."""
        window, began = self.plan.evaluated(tile), perf_counter()
        points = self.points(window)
        if points.exist_nowhere:
            return np.zeros((2, *(w.size for w in window)))
        found = self.moments_at(points, tile, seen)
        _log.info("solved tile %s, %d cells, in %.1f s", tile, found[0].size, perf_counter() - began)
        return found.reshape(2, *(w.size for w in window))

    def moments_at(self, points: Points, tile: Tile, seen: Observations) -> FloatArray:
        """Mean and latent standard deviation of a tile at points, (2, n), in data units."""
        found = self.posterior(tile, seen).moments(points)
        amplitude = self.amplitude(points)
        mean = self.scaling.physical(found.mean, amplitude, self.scaling.mean_of(points))
        sd = np.hypot(np.sqrt(found.variance) * amplitude, self.scaling.mean_error_of(points))
        return np.stack([mean, sd * self.scaling.scale])

    def means(self, tile: Tile, seen: Observations) -> FloatArray:
        """Posterior mean of each draw of the data, (draws, time, y, x), in data units."""
        window = self.plan.evaluated(tile)
        points = self.points(window)
        if points.exist_nowhere:
            return np.zeros((seen.columns.shape[1], *(w.size for w in window)))
        means = self.posterior(tile, seen).means(points).T
        means = self.scaling.physical(means, self.amplitude(points), self.scaling.mean_of(points))
        return np.asarray(means.reshape(-1, *(w.size for w in window)))

    def __getstate__(self) -> dict[str, Any]:
        """Travel as plain data: what was made on a device stays there."""
        return {name: value for name, value in self.__dict__.items() if name not in STAYS}

    @cached_property
    def engine(self) -> Engine:
        """The engine of this process, which may keep what it made."""
        return build_engine(self.settings, self.frame.land)

    @property
    def records(self) -> list[Any]:
        """How the solves of an iterative engine went, those of the systems it has dropped included."""
        return list(getattr(self.engine, "records", []))

    @contextmanager
    def watched(self, show: bool) -> Iterator[None]:
        """A line that says how far an iterative engine has come while a field is solved for."""
        if not hasattr(self.engine, "watch"):
            yield
            return
        most = getattr(self.settings, "max_steps", 0)
        with status_line("Setting up: neighbours of the observations", show) as say:
            self.engine.watch = lambda step, _: say(f"Solving: {step} of at most {most} steps")
            try:
                yield
            finally:
                self.engine.watch = None

    def _engine(self, found: Observations) -> Engine:
        return self.engine if len(found) else build_engine(Exact())
