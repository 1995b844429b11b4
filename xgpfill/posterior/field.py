"""The field of a fitted model, tile by tile: its tiles, its mean and variance, its noise and its trend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.cf.conventions import settled, without_bounds
from xgpfill.options import progress_bar
from xgpfill.posterior.amplitude import noise_variance
from xgpfill.posterior.averages import Averager
from xgpfill.posterior.summarising import summarised
from xgpfill.results.attributes import decode, positions_of
from xgpfill.results.estimate import Context
from xgpfill.results.nearness import Nearness
from xgpfill.results.reconstruction import Reconstruction
from xgpfill.tiling.assemble import (
    Work,
    lazy_member,
    node_of,
    over_members,
    run_member,
    seen_by_tiles,
    tile_means,
    tile_moments,
)
from xgpfill.words import units_of

if TYPE_CHECKING:
    from xgpfill.arrays import FloatArray
    from xgpfill.grid.scaling import Scaling
    from xgpfill.posterior.state import State
    from xgpfill.tiling.solve import TileSolver
    from xgpfill.tiling.stored import StoredAnswers


def reconstruct(
    state: State,
    solver: TileSolver,
    *,
    include_noise: bool,
    variance: bool,
    show: bool,
    stored: StoredAnswers | None = None,
) -> Reconstruction:
    """See :meth:`xgpfill.model.FittedModel.reconstruct`."""
    kind = "observed" if include_noise else "latent"
    field = _field(state, solver, show, tile_moments if variance else tile_means, stored)
    mean_data, noise = field[0], noise_variance(state)
    mean = _decoded(state, mean_data)
    spread = None
    if variance:
        latent = field[1] ** 2
        extra = 0.0 if not include_noise else (noise if isinstance(noise, float) else state.layout.canonical(noise))
        spread = _decoded(state, latent + extra, kind="variance", note=kind, scale=state.scaling.reference)
        if include_noise and state.errors is not None:
            spread.attrs["comment"] = "noise: where no standard error is known, that of the nearest known cell"
    template = state.layout.template
    known: dict[str, Any] = {"averager": Averager(state, include_noise), "positions": positions_of(template)}
    known |= {"intervals": state.fields_of_intervals, "nearness": Nearness(state.lattice, state.layout)}
    context = Context(without_bounds(template), noise, kind, summarised(state), state.sources, **known)
    return Reconstruction(mean, spread, context)


def _field(state: State, solver: TileSolver, show: bool, work: Work, stored: StoredAnswers | None) -> Any:
    """Mean and, where `work` gives it, standard deviation (1 or 2, extra..., time, y, x)."""
    lattice = state.lattice
    if lattice.is_lazy:
        leading = 2 if work is tile_moments else 1

        def lazily(m: tuple[int, ...], number: int) -> Any:
            own = solver.of_field(number)
            node, values = node_of(own), lattice.values[m]
            errors = state.errors_of(m)
            return lazy_member(node, own, values, errors, work=work, leading=leading, stored=stored)

        return over_members(lattice, lazily)
    total = len(solver.plan) * max(1, int(np.prod(lattice.extra_shape)))
    with progress_bar("Reconstructing", show and total > 1, total=total) as step, solver.watched(show):

        def at_once(m: tuple[int, ...], number: int) -> Any:
            own, errors = solver.of_field(number), state.errors_of(m)
            return run_member(own, lattice.values[m], errors, work=work, step=step)

        return over_members(lattice, at_once)


def _decoded(state: State, data: Any, **kwargs: Any) -> xr.DataArray:
    return state.within_valid(decode(state.layout, data, **kwargs))


def trend(state: State, solver: TileSolver) -> xr.Dataset:
    """See :attr:`xgpfill.model.FittedModel.trend`."""
    found = []
    for number, m in enumerate(state.lattice.members()):
        own = solver.of_field(number)
        mean, error = _member_trend(own, np.asarray(state.lattice.values[m]), state.errors_of(m))
        found.append(_in_data_units(own.scaling, mean, error, np.array(state.lattice.space.depths)))
    depth = state.layout.roles.depth
    shape = state.lattice.extra_shape if depth is None else (*state.lattice.extra_shape, state.layout.components)
    table = np.array(found).reshape(*shape, 2)
    dims, known = state.layout.roles.extra, settled(state.layout.template).coords
    dims = dims if depth is None else (*dims, depth)
    coords = {d: known[d] for d in dims if d in known}
    attrs = {"units": units} if (units := units_of(state.layout.template)) else {}
    return xr.Dataset(
        {
            "mean": (dims, table[..., 0], attrs),
            "mean_standard_error": (dims, table[..., 1], attrs),
        },
        coords=coords,
    )


def _in_data_units(scaling: Scaling, mean: float, error: float, depths: FloatArray) -> Any:
    """A constant mean and its standard error; where depth is fitted, those of every level, (levels, 2)."""
    levels = scaling.levels
    if not depths.size or levels is None:
        return [(scaling.physical(mean), error * scaling.scale)] * max(1, depths.size)
    scales = levels.scale_at(depths)
    means = scaling.physical(mean, scales, levels.mean_at(depths))
    return np.stack([means, error * scaling.scale * scales], axis=-1)


def _member_trend(solver: TileSolver, values: Any, errors: Any) -> tuple[float, float]:
    """Estimate and standard error of the constant mean of one field, standardised."""
    solver = solver.together
    tile = list(solver.plan.tiles())[len(solver.plan) // 2]
    found = solver.posterior(tile, seen_by_tiles(solver, values, errors)(tile)).trend
    if found is None and solver.prior.centred:
        return 0.0, 0.0
    return found if found is not None else (float("nan"), float("nan"))
