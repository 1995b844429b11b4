"""Coherent draws of the field: on the grid by Matheron's rule, at points from their joint law."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.options import progress_bar
from xgpfill.posterior.amplitude import canonical_amplitude, noise_at, noise_variance
from xgpfill.posterior.points import answered, read_target
from xgpfill.posterior.targets import tile_of_targets
from xgpfill.results.attributes import sample_array
from xgpfill.settings import Vecchia
from xgpfill.tiling.assemble import (
    everything,
    in_chunks,
    lazy_member,
    node_of,
    over_members,
    run_member,
    seen_by_tiles,
    tile_means,
)

if TYPE_CHECKING:
    from xgpfill.arrays import FloatArray, IntArray, Window
    from xgpfill.grid.points import Points
    from xgpfill.operators.draws import PriorDraws
    from xgpfill.posterior.state import State
    from xgpfill.tiling.solve import TileSolver

FRESH = 2**20
"""Offset of the streams of noise that are added to samples, not taken from the data."""


def sample(state: State, n: int, seed: int, *, target: Any, include_noise: bool, show: bool) -> xr.DataArray:
    """See :meth:`FittedModel.sample`."""
    if target is not None:
        return _at_targets(state, target, n, seed, include_noise=include_noise)
    if state.lattice.days is not None or isinstance(state.settings, Vecchia):
        return _at_cells(state, n, seed, include_noise=include_noise)
    return _on_grid(state, n, seed, include_noise=include_noise, show=show)


def _at_targets(state: State, target: Any, n: int, seed: int, *, include_noise: bool) -> xr.DataArray:
    """Draws at other places and times, (sample, ...)."""
    where = read_target(state, target)
    drawn = _drawn_fields(state, where.points, where.cells, n, seed, include_noise=include_noise)
    fields = [answered(state, where, drawn[:, i]) for i in range(n)]
    out = xr.concat(fields, "sample", combine_attrs="override")
    return out.assign_coords(sample=("sample", np.arange(n), {"long_name": "number of the draw"}))


def _at_cells(state: State, n: int, seed: int, *, include_noise: bool) -> xr.DataArray:
    """Draws on all cells of the data from their joint law: where these have their own times, or by neighbours."""
    solver = state.solver()
    points = solver.points(everything(solver))
    cells = np.zeros((len(points), 3), dtype=np.intp)
    drawn = _drawn_fields(state, points, cells, n, seed, include_noise=include_noise)
    shape = n, *state.lattice.extra_shape, *state.lattice.shape
    return state.within_valid(sample_array(state.layout, drawn.swapaxes(0, 1).reshape(shape)))


def _drawn_fields(state: State, points: Points, cells: IntArray, n: int, seed: int, *, include_noise: bool) -> Any:
    """Draws (fields, n, points) in data units, in memory or lazy."""
    lattice, solver = state.lattice, state.solver()
    noise = np.broadcast_to(noise_at(state, points), (*lattice.extra_shape, len(points))).reshape(-1, len(points))
    found = []
    for number, member in enumerate(lattice.members()):
        own, sd = solver.of_field(number), np.sqrt(noise[number]) if include_noise else None
        given = lattice.values[member], state.errors_of(member), points, cells, n, [seed, number], sd
        if lattice.is_lazy:
            import dask
            import dask.array as da

            task = dask.delayed(drawn_points)(node_of(own), *given)
            found.append(da.from_delayed(task, shape=(n, len(points)), dtype=np.float64))
        else:
            found.append(drawn_points(own, *given))
    if lattice.is_lazy:
        return da.stack(found)
    return np.stack(found)


def drawn_points(
    solver: TileSolver,
    values: Any,
    errors: Any,
    points: Points,
    cells: IntArray,
    n: int,
    seed: list[int],
    noise_sd: FloatArray | None,
) -> FloatArray:
    """Draws of one field at points, (n, points), in data units; with noise where its standard deviation is given."""
    tile, rng = tile_of_targets(solver.plan, cells, "sample(target=...)"), np.random.default_rng(seed)
    posterior = solver.posterior(tile, seen_by_tiles(solver, values, errors)(tile))
    how = solver.amplitude(points), solver.scaling.mean_of(points)
    drawn = solver.scaling.physical(posterior.sample(points, n, rng), *how)
    errors_of_mean = solver.scaling.mean_errors_of(points)  # where they lie between levels
    drawn = drawn + solver.scaling.scale * rng.standard_normal((n, errors_of_mean.shape[1])) @ errors_of_mean.T
    if noise_sd is not None:
        drawn = drawn + noise_sd * np.random.default_rng([*seed, FRESH]).standard_normal(drawn.shape)
    return np.asarray(drawn)


# On the grid


def _on_grid(state: State, n: int, seed: int, *, include_noise: bool, show: bool) -> xr.DataArray:
    """Draws on the grid of the data, by Matheron's rule (Wilson et al. 2021, eq. 9)."""
    from xgpfill.operators.draws import PriorDraws, noise_share

    solver = state.solver()
    noise_level = float(solver.prior.noise or 1.0)
    draws = PriorDraws(solver.frame, solver.prior, seed, noise_share(solver.prior, noise_level))
    lattice = state.lattice
    amplitude = canonical_amplitude(state) * state.scaling.reference
    noise = noise_variance(state)
    noise_sd = math.sqrt(noise) if isinstance(noise, float) else np.sqrt(state.layout.canonical(noise))

    def one(member: tuple[int, ...], number: int) -> Any:
        errors, own, scale = state.errors_of(member), solver.of_field(number), amplitude[member]
        sd = noise_sd if isinstance(noise_sd, float) else noise_sd[member]
        values = lattice.values[member]
        if lattice.is_lazy:
            return _lazy_sample(own, draws, values, errors, sd, scale, (n, number, include_noise))
        prior = prior_fields(draws, n, number, everything(solver)) * scale
        noisy = noise_fields(draws, n, number, everything(solver)) * sd
        found = run_member(own, values - prior - noisy, errors, work=tile_means, step=step) + prior
        if not include_noise:
            return found
        return found + noise_fields(draws, n, number + FRESH, everything(solver)) * sd

    total = len(solver.plan) * max(1, int(np.prod(lattice.extra_shape)))
    show = show and not lattice.is_lazy
    with progress_bar("Sampling", show and total > 1, total=total) as step, solver.watched(show):
        data = over_members(lattice, one)
    out = sample_array(state.layout, data)
    return state.within_valid(out)


def prior_fields(draws: PriorDraws, n: int, member: int, window: Window) -> FloatArray:
    """`n` draws of the prior field, (n, time, y, x), standardised."""
    return np.stack(list(draws.fields(range(n), member, window)))


def noise_fields(draws: PriorDraws, n: int, member: int, window: Window) -> FloatArray:
    """`n` draws of unit noise, (n, time, y, x)."""
    return np.stack([draws.noise(i, member, window) for i in range(n)])


def _lazy_sample(
    solver: Any, draws: PriorDraws, values: Any, errors: Any, sd: Any, scale: FloatArray, how: tuple[int, int, bool]
) -> Any:
    """The same on lazy data: draws are made chunk by chunk from the seed."""
    import dask

    n, member, include_noise = how
    node, source = node_of(solver), dask.delayed(draws, traverse=False)

    def field(make: Any, number: int) -> Any:
        frames = (values.chunks[0], *((size,) for size in values.shape[1:]))  # a draw is one of whole frames
        return in_chunks(frames, n, lambda window: dask.delayed(make)(source, n, number, window)).rechunk(
            ((n,), *values.chunks)
        )

    prior = field(prior_fields, member) * scale
    residual = values - prior - field(noise_fields, member) * sd
    found = lazy_member(node, solver, residual, errors, work=tile_means, leading=n) + prior
    return found + field(noise_fields, member + FRESH) * sd if include_noise else found
