"""The field of a fitted model, tile by tile: its tiles, its mean and variance, its noise and its trend."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.aggregating import Averager
from xgpfill.conventions import settled, without_bounds
from xgpfill.decoding import decode, positions_of
from xgpfill.engines.select import tile_capacity
from xgpfill.engines.settings import Iterative
from xgpfill.learning.blocks import nearest_known
from xgpfill.options import progress_bar
from xgpfill.results import Context, Reconstruction
from xgpfill.tiling.assemble import (
    Work,
    lazy_member,
    member_trend,
    over_members,
    run_member,
    tile_means,
    tile_moments,
)
from xgpfill.tiling.messages import choose_features
from xgpfill.tiling.plan import message_terms, plan_tiles
from xgpfill.tiling.solve import TileSolver
from xgpfill.words import units_of

if TYPE_CHECKING:
    from xgpfill.grid.lattice import Lattice
    from xgpfill.kernels.prior import Prior
    from xgpfill.model import FittedModel, Halo, Tile

SMALLEST_NOISE = 1e-8
"""Noise below this share of the variance of the data is raised to it, for the sake of rounding."""

ITERATIVE_FEATURES = 256
"""Features of messages where each costs a solve."""


def reconstruct(
    model: FittedModel, solver: TileSolver, *, include_noise: bool, variance: bool, show: bool
) -> Reconstruction:
    """See :meth:`xgpfill.model.FittedModel.reconstruct`."""
    kind = "observed" if include_noise else "latent"
    field = _field(model, solver, show, tile_moments if variance else tile_means)
    mean_data, noise = field[0], noise_variance(model)
    mean = _decoded(model, mean_data)
    spread = None
    if variance:
        latent = field[1] ** 2
        extra = 0.0 if not include_noise else (noise if isinstance(noise, float) else model.layout.canonical(noise))
        spread = _decoded(model, latent + extra, kind="variance", note=kind, scale=model.scaling.scale)
        if include_noise and model.errors is not None:
            spread.attrs["comment"] = "noise: where no standard error is known, that of the nearest known cell"
    template = model.layout.template
    known = {"averager": Averager(model, include_noise), "positions": positions_of(template)}
    context = Context(without_bounds(template), noise, kind, model.summary, model.sources, **known)
    return Reconstruction(mean, spread, context)


def _field(model: FittedModel, solver: TileSolver, show: bool, work: Work) -> Any:
    """Mean and, where `work` gives it, standard deviation (1 or 2, extra..., time, y, x)."""
    lattice = model.lattice
    if lattice.is_lazy:
        import dask

        node = dask.delayed(solver, traverse=False)
        leading = 2 if work is tile_moments else 1
        return over_members(
            lattice,
            lambda m: lazy_member(node, solver, lattice.values[m], model._member_errors(m), work=work, leading=leading),
        )
    total = len(solver.plan) * max(1, int(np.prod(lattice.extra_shape)))
    with progress_bar("Reconstructing", show and total > 1, total=total) as step, solver.watched(show):
        return over_members(
            lattice, lambda m: run_member(solver, lattice.values[m], model._member_errors(m), work=work, step=step)
        )


def _decoded(model: FittedModel, data: Any, **kwargs: Any) -> xr.DataArray:
    return model.within_valid(decode(model.layout, data, **kwargs))


def noise_variance(model: FittedModel) -> Any:
    """Noise variance in data units²: a number, or a DataArray when there are standard errors."""
    assert model.prior.noise is not None
    if model.errors is None:
        return float(model.prior.noise)
    errors = model.errors.reset_coords(drop=True)  # levels of an index stay
    field = [d for d in errors.dims if d in model.layout.roles.fitted]
    errors = errors if errors.chunks is None else errors.chunk(dict.fromkeys(field, -1))  # nearest in any chunk
    known = xr.apply_ufunc(
        nearest_known, errors, model.typical_error, input_core_dims=[field, []], output_core_dims=[field],
        vectorize=True, keep_attrs=False, dask="parallelized", output_dtypes=[float],
    )  # fmt: skip
    whole = (known**2 * float(model.prior.noise)).broadcast_like(model.layout.template)
    whole = whole.transpose(*model.layout.template.dims)
    return whole if errors.chunks is None else whole.chunk(dict(model.layout.template.chunksizes))


def trend(model: FittedModel, solver: TileSolver) -> xr.Dataset:
    """See :attr:`xgpfill.model.FittedModel.trend`."""
    found = [
        member_trend(solver, np.asarray(model.lattice.values[m]), model._member_errors(m))
        for m in model.lattice.members()
    ]
    table = np.array(found).reshape(*model.lattice.extra_shape, 2)
    dims, known = model.layout.roles.extra, settled(model.layout.template).coords
    coords = {d: known[d] for d in dims if d in known}
    attrs = {"units": units} if (units := units_of(model.layout.template)) else {}
    return xr.Dataset(
        {
            "mean": (dims, model.scaling.physical(table[..., 0]), attrs),
            "mean_standard_error": (dims, table[..., 1] * model.scaling.scale, attrs),
        },
        coords=coords,
    )


def planned(model: FittedModel, tile: Tile, halo: Halo) -> TileSolver:
    """What each tile needs, with the tiles planned for the lattice of the model."""
    prior = model.prior.scaled(1 / model.scaling.scale**2)
    prior = replace(prior, noise=_floored_noise(model, prior))
    plan = plan_tiles(
        model.lattice,
        prior,
        tile=tile,
        halo=halo,
        max_observations=tile_capacity(model.settings, model.lattice, model.share),
        observed_share=model.share,
    )
    features = None
    if len(plan) > 1:
        names = message_terms(model.lattice, prior, plan.shape)
        most = ITERATIVE_FEATURES if isinstance(model.settings, Iterative) else None
        features = choose_features(model.lattice, prior, names, model.options["seed"], most)
    frame = replace(model.lattice, values=None, valid=None, errors=None)
    return TileSolver(
        frame, prior, model.scaling, model.settings, plan, features, model.options["device"], model.options["dtype"],
        _existing(model.lattice),
    )  # fmt: skip


def _existing(lattice: Lattice) -> Any:
    """Where the field exists in any field at any time, (y, x); None where that is not known or everywhere."""
    if not isinstance(lattice.valid, np.ndarray):
        return None
    exists = lattice.valid.any(axis=tuple(range(lattice.valid.ndim - 2)))
    return None if exists.all() else np.broadcast_to(exists, lattice.space.shape)


def _floored_noise(model: FittedModel, prior: Prior) -> float:
    assert prior.noise is not None
    return float(prior.noise) if model.errors is not None else max(float(prior.noise), SMALLEST_NOISE)
