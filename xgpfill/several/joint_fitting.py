"""Fitting several variables together: each on its own first, then what they share, and whether that is of any use."""

from __future__ import annotations

import time as clock_time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.cf.conventions import with_companions
from xgpfill.cf.variables import named_variable
from xgpfill.engines.select import settings_for
from xgpfill.errors import DimensionError, VariableError, listed, warn
from xgpfill.fitting import fit
from xgpfill.grid.directions import variable_of
from xgpfill.grid.scaling import Scaling
from xgpfill.kernels import hyperparameters as tables
from xgpfill.layout.companions import within_valid
from xgpfill.layout.dims import VARIABLE
from xgpfill.layout.encode import encode
from xgpfill.learning.blocks import BlockPlan, draw_blocks, observed_share
from xgpfill.learning.calibration import calibrated
from xgpfill.learning.heldout import ENOUGH
from xgpfill.learning.samples import in_memory_if_small
from xgpfill.learning.steps import Course, Rules
from xgpfill.model import FittedModel
from xgpfill.posterior.state import Record
from xgpfill.results.attributes import Measure
from xgpfill.settings import as_settings
from xgpfill.several.coupling import apart, coupled, tell_of_each_other
from xgpfill.several.joint import FittedJoint, joint_names, side_by_side, standardised
from xgpfill.several.variables import FittedDataset, own_arguments
from xgpfill.several.vectors import free_name, own_attributes
from xgpfill.tiling.views.halo import check_tiles
from xgpfill.tiling.views.screening import distances_where_large

if TYPE_CHECKING:
    from collections.abc import Hashable

    from xgpfill.grid.lattice import Lattice
    from xgpfill.kernels.prior import Prior
    from xgpfill.layout.encode import Layout
    from xgpfill.learning.heldout import Hidden


def fit_joint(ds: xr.Dataset, variable: Any, *, dims: Any, **arguments: Any) -> FittedJoint | FittedDataset:
    """Fit variables together; apart where they tell nothing of each other, which a warning says."""
    began, names = clock_time.perf_counter(), joint_names(variable)
    if arguments.get("hyperparameters") is not None:
        raise VariableError("joint=True learns what variables share: leave `hyperparameters=` out, or `joint=` False.")
    models: dict[Hashable, FittedModel] = {}
    alike: dict[str, FittedModel] = {}
    for name in names:
        da, own = with_companions(named_variable(ds, name), ds), own_arguments(arguments, name)
        models[name] = _of_grid(fit(da, dims=dims, **own))
        alike[name] = models[name]
        if models[name].scaling.amplitude is not None:  # what is shared has one amplitude everywhere
            alike[name] = fit(da, dims=dims, **own | {"amplitude": False})
    measures = {name: _measure(ds[name], model) for name, model in alike.items()}
    lattice, layout, errors, valid = _together(ds, alike, measures, free_name(ds[names[0]]))
    course = _course(in_memory_if_small(lattice), models[names[0]])
    blocks = course.blocks
    before = apart({n: alike[n].prior.scaled(1 / measures[n].scaling.scale ** 2) for n in names})
    after = coupled(before, blocks)
    hidden = course.hidden(after)
    if not tell_of_each_other(before, after, hidden, blocks):
        warn(
            f"joint=True: {listed(names)} tell too little of each other to predict hidden observations better, and "
            f"are fitted apart. Leave `joint=` out to spare the time."
        )
        return FittedDataset(models)
    if arguments.get("calibrate", True) and hidden is not None:
        measures = _with_intervals(measures, hidden, after)
    first, share = models[names[0]], observed_share(lattice, 0)
    count = round(share * float(np.prod(lattice.shape)))
    choice = settings_for(as_settings(arguments.get("method", "auto")), count, lattice, after, "joint=True")
    model = FittedModel(
        prior=after, scaling=Scaling(0.0, 1.0), settings=choice.settings, lattice=lattice, layout=layout,
        options=first.options, record=Record(clock_time.perf_counter() - began, choice=str(choice)), share=share,
        valid=valid, errors=errors, typical_error=float(np.sqrt(np.mean([m.noise for m in measures.values()]))),
        opened=frozenset().union(*(m.sources for m in models.values())),
        learned_shape=(lattice.moments.size, lattice.num_places),
        screening=distances_where_large(lattice, after, choice.settings, first.options["seed"]),
    )  # fmt: skip
    return FittedJoint(model, own_attributes(ds, names), measures)


def _of_grid(model: FittedModel) -> FittedModel:
    """A model of one field on a grid or a list of places, which may be part of a joint one.

    Raises
    ------
    DimensionError
    """
    roles = model.layout.roles
    if roles.extra:
        raise DimensionError(
            f"joint=True takes one field of each variable, and {listed(roles.extra)} are independent fields. Select "
            f"one, e.g. `ds.isel({roles.extra[0]}=0)`."
        )
    if roles.layered:
        raise DimensionError(
            f"joint=True does not go with depth as a fitted dimension, and dims= names {roles.depth!r}. Select a "
            f"level, e.g. `ds.isel({roles.depth}=0)`, or fit the variables apart, `fit(variable=[...])`."
        )
    if roles.scattered or not roles.space:
        what = "scattered observations" if roles.scattered else "no dimension of space"
        raise DimensionError(
            f"joint=True is for fields on a grid or at a list of places, and these data have {what}. Fit the variables "
            f"apart, `fit(variable=[...])`, or bring them to a grid."
        )
    return model


def _measure(da: xr.DataArray, model: FittedModel) -> Measure:
    """The units of one variable, and its noise in them."""
    scaling = Scaling(model.scaling.shift, model.scaling.scale)
    error = 1.0 if model.errors is None else float(model.typical_error or 0.0)
    noise = float(model.prior.noise or 0.0) * error**2 / scaling.scale**2
    return Measure(scaling, max(noise, tables.SMALLEST_NOISE), dtype=da.dtype.str if da.dtype.kind == "f" else "<f8")


def _together(
    ds: xr.Dataset, models: dict[str, FittedModel], measures: dict[str, Measure], dim: str
) -> tuple[Lattice, Layout, xr.DataArray, Any]:
    """All variables on one lattice, with their standard errors and where they exist."""
    first = next(iter(models.values()))
    both, errors, valid = standardised(ds, measures, dim), {}, {}
    for name, model in models.items():
        factor = (float(model.prior.noise or 0.0)) ** 0.5 / measures[name].scaling.scale
        errors[name] = xr.DataArray(measures[name].noise ** 0.5) if model.errors is None else model.errors * factor
        valid[name] = model.valid
    where = side_by_side(valid, dim, True) if any(isinstance(v, xr.DataArray) for v in valid.values()) else True
    noise = side_by_side(errors, dim)
    roles = {**first.layout.roles.by_role, VARIABLE: dim}
    how: dict[str, Any] = {"geometry": first.lattice.space.geometry, "valid": where, "errors": noise}
    lattice, layout = encode(both, dims=roles, **how)
    check_tiles(lattice, first.options["tile"], first.options["halo"])
    return within_valid(lattice), layout, noise, where


def _course(lattice: Lattice, model: FittedModel) -> Course:
    """Blocks to learn from and observations to hide, read as those of one variable are."""
    seed = model.options["seed"]
    rules = Rules(has_errors=True, seed=seed, device=model.options["device"])
    return Course(lattice, draw_blocks(lattice, BlockPlan(), seed), Scaling(0.0, 1.0), rules, noise_is_known=True)


def _with_intervals(measures: dict[str, Measure], hidden: Hidden, prior: Prior) -> dict[str, Measure]:
    """Intervals of each variable from what is hidden of it; of one with too little hidden from that of all."""
    every = hidden.predict(prior)
    number, found = variable_of(every.space), {}
    for k, (name, own) in enumerate(measures.items()):
        part = every.take(number == k)
        found[name] = replace(own, intervals=calibrated(part if part.mean.size >= ENOUGH else every, 1))
    return found
