"""Averages of predictions, at targets anywhere, from the joint law of the targets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.errors import MethodError, TooManyPointsError
from xgpfill.metrics.calibration import position_name
from xgpfill.options import show_progress
from xgpfill.posterior.averages import averaged, summed
from xgpfill.results.cells import Cells, averaged_dims, weights_of
from xgpfill.settings import MAX_JOINT_TARGETS
from xgpfill.tiling.assemble import node_of, seen_by_tiles

if TYPE_CHECKING:
    from collections.abc import Hashable

    import xarray as xr

    from xgpfill.arrays import FloatArray, IntArray
    from xgpfill.grid.points import Points
    from xgpfill.posterior.state import State
    from xgpfill.results.grouping import Groups
    from xgpfill.results.reconstruction import Reconstruction
    from xgpfill.tiling.solve import TileSolver
    from xgpfill.tiling.tiles import Tile, TilePlan


@dataclass(frozen=True, eq=False)
class TargetAverager:
    """What predictions need to average: where they are, and the model that they are of.

    Attributes
    ----------
    state : State
    template : DataArray
        All predictions; their values are not read.
    dims : tuple of names
        Those of the targets.
    points : Points
    cells : int array (n, 3)
        Nearest lattice cell of each.
    exists : bool DataArray or None
        Where the field exists among them, on some of their dimensions.
    kind : {"latent", "observed"}
        Of the variance.
    noise : float or array (extra..., n)
        Variance of the noise of an observation at a target, data units².
    """

    state: State
    template: xr.DataArray
    dims: tuple[Hashable, ...]
    points: Points
    cells: IntArray
    exists: xr.DataArray | None
    kind: str
    noise: Any

    def weights(self, field: xr.DataArray, positions: xr.Dataset, weights: Any) -> xr.DataArray:
        """Weights of the targets of `field`; named ones are those of its cells among all targets."""
        return weights_of(field, self.template, positions, weights)

    def __call__(
        self, field: xr.DataArray, positions: xr.Dataset, dims: Any, weights: Any, groups: Groups | None = None
    ) -> Reconstruction:
        """Average the targets of `field`, at `positions` among all, over `dims`, group by group of another."""
        roles = self.state.layout.roles
        given = self.weights(field, positions, weights)
        if self.exists is not None:
            given = self._only_where(self.exists, given, positions)
        space = tuple(d for d in self.dims if d != roles.time)
        names = averaged_dims(field, dims, groups)
        cells = Cells(self.template, (*roles.extra, *self.dims), space, field, positions, names, groups)
        rows = partial(self._rows, cells)
        return averaged(cells, given, rows, kind=self.kind, normalize=True, sources=self.state.sources)

    def _only_where(self, exists: xr.DataArray, given: xr.DataArray, positions: xr.Dataset) -> xr.DataArray:
        """Weights of zero where the field does not exist."""
        bare = exists.drop_vars(list(exists.coords))
        own = bare.isel({d: positions[position_name(d)].variable for d in bare.dims}).compute()
        return given.drop_vars(list(given.coords)) * own

    def _rows(self, cells: Cells, weights: Any) -> tuple[Any, str]:
        show = show_progress(None) and not self.state.lattice.is_lazy
        with self.state.solver().together.watched(show):
            return summed(self.state, cells, weights, self._sums), ""

    def _sums(
        self, member: tuple[int, ...], field: int, weights: FloatArray, groups: tuple[IntArray, ...],
        counts: tuple[int, ...],
    ) -> Any:  # fmt: skip
        """Sums of one field, (4, sets, groups...), in memory or lazy."""
        shape, lattice = (4, len(weights), *counts), self.state.lattice
        solver, errors = self.state.solver().together.of_field(field), self.state.errors_of(member)
        size = len(self.points)
        if size > MAX_JOINT_TARGETS:
            raise TooManyPointsError(
                f"Averages of {size} targets were asked for; at most {MAX_JOINT_TARGETS} go together. Predict "
                f"fewer at a time, or average the grid of the data: `model.reconstruct().average(dims)`."
            )
        columns = self._columns(weights, groups, counts)
        noise = self.noise[member] if np.ndim(self.noise) else self.noise
        some = self.points, self.cells, columns, noise
        if not lattice.is_lazy:
            return _target_sums(solver, lattice.values[member], errors, *some).reshape(shape)
        import dask
        import dask.array as da

        node = node_of(solver)
        found = dask.delayed(_target_sums)(node, lattice.values[member], errors, *some)
        return da.from_delayed(found, shape=(4, columns.shape[1]), dtype=np.float64).reshape(shape)

    def _columns(self, weights: FloatArray, groups: tuple[IntArray, ...], counts: tuple[int, ...]) -> FloatArray:
        """Weights of every target in every sum, (targets, sets × groups)."""
        codes = np.zeros([g.size for g in groups], dtype=np.intp)
        for group, count in zip(np.ix_(*groups), counts, strict=True):
            codes = np.where((codes < 0) | (group < 0), -1, codes * count + group)
        whole = np.broadcast_to(weights, (len(weights), *codes.shape))
        inside = np.flatnonzero(codes.ravel() >= 0)
        found = np.zeros((codes.size, len(weights), int(np.prod(counts))))
        found[inside, :, codes.ravel()[inside]] = whole.reshape(len(weights), -1).T[inside]
        return found.reshape(codes.size, -1)


def _target_sums(
    solver: TileSolver, values: Any, errors: Any, points: Points, cells: IntArray, columns: FloatArray, noise: Any
) -> FloatArray:
    """Mean, latent variance, sum of weights and noise variance (4, k) of sums of targets, columns (n, k) of weights."""
    added = np.broadcast_to(noise, len(points)) @ columns**2
    found = np.stack([*np.zeros((2, columns.shape[1])), columns.sum(0), added])
    amplitude = np.broadcast_to(solver.amplitude(points), len(points))
    scale, seen = solver.scaling.scale, seen_by_tiles(solver, values, errors)
    level = np.broadcast_to(solver.scaling.mean_of(points), len(points))
    between = solver.scaling.mean_errors_of(points)  # where they lie between levels
    for tile, asked in _by_tile(solver.plan, cells, columns).items():
        batch = np.array(asked)
        posterior = solver.posterior(tile, seen(tile))
        used = np.flatnonzero(columns[:, batch].any(1))
        weights = columns[np.ix_(used, batch)] * amplitude[used, None]
        moments = posterior.averages(points.take(used), weights)
        found[0, batch] = scale * (moments.mean + level @ columns[:, batch]) + solver.scaling.shift * found[2, batch]
        found[1, batch] = scale**2 * (moments.variance + np.square(between.T @ columns[:, batch]).sum(0))
    return found


def _by_tile(plan: TilePlan, cells: IntArray, columns: FloatArray) -> dict[Tile, list[int]]:
    """The sums that each tile is asked for; empty ones left out."""
    tiles: dict[Tile, list[int]] = {}
    for k in np.flatnonzero(columns.any(0)):
        tile = tile_of_targets(plan, cells[columns[:, k] != 0], "An average of predictions")
        tiles.setdefault(tile, []).append(int(k))
    return tiles


def tile_of_targets(plan: TilePlan, cells: IntArray, what: str) -> Tile:
    """The tile that counts most at targets, given by their nearest cells (n, 3).

    Raises
    ------
    MethodError
        When none holds all of them; `what` needs that.
    """
    weights = {tile: plan.weights_at(tile, cells) for tile in plan.tiles()}
    tiles = [tile for tile, w in weights.items() if (w > 0).all()]
    if not tiles:
        raise MethodError(
            f"{what} needs targets within one tile, and these lie in several of {len(plan)}. Choose targets closer "
            f"together, larger tiles in `fit(tile=...)`, or `model.sample(...)`."
        )
    return max(tiles, key=lambda tile: float(weights[tile].min()))
