"""The field of a fitted model, tile by tile: its tiles, its mean and variance, its noise and its trend."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.aggregating import Averager
from xgpfill.amplitude import noise_variance
from xgpfill.conventions import settled, without_bounds
from xgpfill.decoding import decode, positions_of
from xgpfill.engines.memory import settings_of_all, tile_limit
from xgpfill.engines.settings import Variational
from xgpfill.hyperparameters import standardised
from xgpfill.nearness import Nearness
from xgpfill.options import progress_bar
from xgpfill.results import Context, Reconstruction
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
from xgpfill.tiling.plan import plan_tiles
from xgpfill.tiling.sight import Sight
from xgpfill.tiling.solve import TileSolver
from xgpfill.words import units_of

if TYPE_CHECKING:
    from xgpfill.grid.lattice import FloatArray, Lattice
    from xgpfill.grid.scaling import Scaling
    from xgpfill.model import FittedModel, Halo, Tile
    from xgpfill.tiling.stored import StoredAnswers


def reconstruct(
    model: FittedModel,
    solver: TileSolver,
    *,
    include_noise: bool,
    variance: bool,
    show: bool,
    stored: StoredAnswers | None = None,
) -> Reconstruction:
    """See :meth:`xgpfill.model.FittedModel.reconstruct`."""
    kind = "observed" if include_noise else "latent"
    field = _field(model, solver, show, tile_moments if variance else tile_means, stored)
    mean_data, noise = field[0], noise_variance(model)
    mean = _decoded(model, mean_data)
    spread = None
    if variance:
        latent = field[1] ** 2
        extra = 0.0 if not include_noise else (noise if isinstance(noise, float) else model.layout.canonical(noise))
        spread = _decoded(model, latent + extra, kind="variance", note=kind, scale=model.scaling.reference)
        if include_noise and model.errors is not None:
            spread.attrs["comment"] = "noise: where no standard error is known, that of the nearest known cell"
    template = model.layout.template
    known: dict[str, Any] = {"averager": Averager(model, include_noise), "positions": positions_of(template)}
    known |= {"intervals": model.fields_of_intervals, "nearness": Nearness(model)}
    context = Context(without_bounds(template), noise, kind, model.summary, model.sources, **known)
    return Reconstruction(mean, spread, context)


def _field(model: FittedModel, solver: TileSolver, show: bool, work: Work, stored: StoredAnswers | None) -> Any:
    """Mean and, where `work` gives it, standard deviation (1 or 2, extra..., time, y, x)."""
    lattice = model.lattice
    if lattice.is_lazy:
        leading = 2 if work is tile_moments else 1

        def lazily(m: tuple[int, ...], number: int) -> Any:
            own = solver.of_field(number)
            node, values = node_of(own), lattice.values[m]
            errors = model._member_errors(m)
            return lazy_member(node, own, values, errors, work=work, leading=leading, stored=stored)

        return over_members(lattice, lazily)
    total = len(solver.plan) * max(1, int(np.prod(lattice.extra_shape)))
    with progress_bar("Reconstructing", show and total > 1, total=total) as step, solver.watched(show):

        def at_once(m: tuple[int, ...], number: int) -> Any:
            own, errors = solver.of_field(number), model._member_errors(m)
            return run_member(own, lattice.values[m], errors, work=work, step=step)

        return over_members(lattice, at_once)


def _decoded(model: FittedModel, data: Any, **kwargs: Any) -> xr.DataArray:
    return model.within_valid(decode(model.layout, data, **kwargs))


def trend(model: FittedModel, solver: TileSolver) -> xr.Dataset:
    """See :attr:`xgpfill.model.FittedModel.trend`."""
    found = []
    for number, m in enumerate(model.lattice.members()):
        own = solver.of_field(number)
        mean, error = _member_trend(own, np.asarray(model.lattice.values[m]), model._member_errors(m))
        found.append(_in_data_units(own.scaling, mean, error, np.array(model.lattice.space.depths)))
    depth = model.layout.roles.depth
    shape = model.lattice.extra_shape if depth is None else (*model.lattice.extra_shape, model.layout.components)
    table = np.array(found).reshape(*shape, 2)
    dims, known = model.layout.roles.extra, settled(model.layout.template).coords
    dims = dims if depth is None else (*dims, depth)
    coords = {d: known[d] for d in dims if d in known}
    attrs = {"units": units} if (units := units_of(model.layout.template)) else {}
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


def planned(model: FittedModel, tile: Tile, halo: Halo) -> TileSolver:
    """What each tile needs, with the tiles planned for the lattice of the model."""
    prior = standardised(model.prior, model.scaling.reference, has_errors=model.errors is not None)
    limit = tile_limit(model.settings, model.lattice, model.options["device"])
    sight = Sight(model.lattice, prior, halo, model.screening, isinstance(model.settings, Variational))
    plan = plan_tiles(sight, tile=tile, limit=limit, observed_share=model.share)
    frame, device = replace(model.lattice, values=None, valid=None, errors=None), model.options["device"]
    of_all = settings_of_all(model.settings, model.lattice, prior, model.share, device)
    return TileSolver(
        frame, prior, model.scaling, model.settings, plan, device, model.options["dtype"],
        _existing(model.lattice), model.noise_is_known, of_all, model.screening,
    )  # fmt: skip


def _existing(lattice: Lattice) -> Any:
    """Where the field exists in any field at any time, (y, x); None where that is not known or everywhere."""
    if not isinstance(lattice.valid, np.ndarray):
        return None
    exists = lattice.valid.any(axis=tuple(range(lattice.valid.ndim - 2)))
    return None if exists.all() else np.broadcast_to(exists, lattice.space.shape)


def _member_trend(solver: TileSolver, values: Any, errors: Any) -> tuple[float, float]:
    """Estimate and standard error of the constant mean of one field, standardised."""
    solver = solver.together
    tile = list(solver.plan.tiles())[len(solver.plan) // 2]
    found = solver.posterior(tile, seen_by_tiles(solver, values, errors)(tile)).trend
    if found is None and solver.prior.centred:
        return 0.0, 0.0
    return found if found is not None else (float("nan"), float("nan"))
