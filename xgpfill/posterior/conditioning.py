"""A fitted model conditioned on other observations: what must hold for them. Nothing is learned here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
import xarray as xr

from xgpfill.cf.units import call_that_converts, conversion, siblings
from xgpfill.checks import require_array
from xgpfill.errors import AlignmentError, NoiseError, listed, shown, warn
from xgpfill.files import sources_of
from xgpfill.kernels.hyperparameters import standardised
from xgpfill.layout.companions import (
    as_mask,
    in_memory_as,
    median_error,
    note_noise,
    read_noise,
    same_grid,
    within_valid,
)
from xgpfill.layout.encode import encode
from xgpfill.learning.blocks import observed_share
from xgpfill.learning.samples import in_memory_if_small
from xgpfill.metrics.scoring import same_units
from xgpfill.results.fields import calibration_of, means_of_fields, relative_scales, with_fields_of
from xgpfill.tiling.views.screening import distances_where_large
from xgpfill.words import units_of

if TYPE_CHECKING:
    from xgpfill.grid.lattice import Lattice
    from xgpfill.grid.scaling import Scaling
    from xgpfill.layout.encode import Layout
    from xgpfill.metrics.calibration import Calibration
    from xgpfill.posterior.state import State

S = TypeVar("S", bound="State")
FAR_OFF, WIDE = 6.0, 10.0
"""How many standard deviations off, and how many times as wide, data are hardly in the units of the model."""


def conditioned(
    state: S,
    da: xr.DataArray,
    noises: dict[str, Any],
    valid: xr.DataArray | bool | None,
    calibrate: bool | None = None,
) -> S:
    """See :meth:`xgpfill.model.FittedModel.condition`; `noises` are its three arguments of that kind by name."""
    require_array(da, "condition")
    opened = sources_of(da, *noises.values(), valid)  # before anything is read
    errors = _new_errors(state, noises)
    note_noise(noises["noise"], da)
    _require_units(state, da)
    kept = _kept_valid(state, da) if valid is None else valid
    kept, errors = as_mask(in_memory_as(da, kept)), in_memory_as(da, errors)
    lattice, layout = encode(da, valid=kept, errors=errors, like=state.layout)
    lattice = replace(lattice, barrier=state.lattice.barrier)
    _require_learned_axes(state, lattice, layout.components)
    lattice = within_valid(lattice)
    fresh = calibrate if calibrate is not None else state.options.get("calibrate", True) and not lattice.is_lazy
    scaling = _scaling(state, layout)
    lattice, seed = _units_looked_at(state, da, lattice), state.options["seed"]
    own = standardised(state.prior, scaling.reference, has_errors=errors is not None)
    return replace(
        state, lattice=lattice, layout=layout, errors=errors, has_data=True, scaling=scaling,
        share=state.share if lattice.is_lazy else observed_share(lattice, 0),
        valid=kept, typical_error=median_error(da, errors, state.typical_error), opened=opened,
        intervals=_intervals(state, scaling, lattice, layout) if fresh else _kept_intervals(state, layout, calibrate),
        screening=state.screening if lattice.is_lazy else distances_where_large(lattice, own, state.settings, seed),
    )  # fmt: skip


def _new_errors(state: State, noises: dict[str, Any]) -> xr.DataArray | None:
    """Standard errors of the new data, which must be there when the model was fitted with such, and only then."""
    found = read_noise(**noises)
    name = next((name for name, value in noises.items() if value is not None), "noise_std")
    if state.errors is None and found is not None:
        raise NoiseError(f"The model was fitted with one noise variance; leave `{name}=` out.")
    if state.errors is None or isinstance(found, xr.DataArray):
        return found  # type: ignore[return-value]
    given = "" if found is None else f", and {name}={shown(noises[name])} is one number"
    raise NoiseError(
        f"The model was fitted with standard errors{given}; give those of the new data: `condition(da, "
        f"noise_std=errors)`."
    )


def _intervals(state: State, scaling: Scaling, lattice: Lattice, layout: Layout) -> Calibration | None:
    """How wide intervals must be, told anew by what is hidden of the new data; as they were where these are few."""
    from xgpfill.learning.steps import Course, Rules

    has_errors = state.errors is not None
    rules = Rules(has_errors=has_errors, seed=state.options["seed"])
    course = Course(in_memory_if_small(lattice), [], scaling, rules, state.noise_is_known)
    found = course.intervals(state.prior.scaled(1 / scaling.reference**2, noise=not has_errors))
    return _kept_intervals(state, layout, None) if found is None else found


def _kept_intervals(state: State, layout: Layout, calibrate: bool | None) -> Calibration | None:
    """As they were, for each of several fields by its label; none where new fields are none of the old ones."""
    if state.intervals is None or calibrate is False:
        return None
    return calibration_of(state.intervals, state.layout, layout.template, layout.roles.extra)


def _scaling(state: State, layout: Layout) -> Scaling:
    """Units of the fields of the new data: those of the fields of their labels, and the old mean where it is shared."""
    known, old = relative_scales(state.scaling, state.layout), state.scaling
    pooled, means = replace(old, fields=(), unit=old.reference), means_of_fields(old, state.layout)
    return with_fields_of(pooled, known, layout.template, layout.roles.extra, means)


def _require_units(state: State, da: xr.DataArray) -> None:
    """Refuse data in other units, as far as both say theirs: what was learned is in those of the old data."""
    found, own = units_of(da), units_of(state.layout.template)
    if not (found and own) or same_units(found, own):
        return
    call, any_units = call_that_converts(found, own), f"(factor * da + offset).assign_attrs(units={own!r})"
    cure = f"`{call}`" if call else f"`{any_units}` with the numbers for these units"
    raise AlignmentError(
        f"The data are in {found!r}, but the model was fitted on {own!r}. Convert them and say so: {cure}; if both "
        f"mean the same, `da.assign_attrs(units={own!r})`."
    )


def _units_looked_at(state: State, da: xr.DataArray, lattice: Lattice) -> Lattice:
    """The same data; where they name no units they are looked at, lazy ones chunk by chunk when they are computed."""
    own = units_of(state.layout.template)
    if units_of(da) or own in ("", "1"):
        return lattice
    look = _Look(own, state.scaling)
    if lattice.is_lazy:
        values = lattice.values
        return replace(lattice, values=values.map_blocks(look, dtype=values.dtype, meta=np.empty((), values.dtype)))
    look(lattice.values)
    return lattice


@dataclass
class _Look:
    """Passes values on, and warns once where they hardly are in the units of the model."""

    units: str
    scaling: Scaling
    warned: bool = False

    def __call__(self, values: Any) -> Any:
        if not self.warned:
            self.warned = _note_implausible(self.units, self.scaling, np.asarray(values, float))
        return values


def _note_implausible(own: str, scaling: Scaling, values: Any) -> bool:
    """Warn of data without units that hardly are in those of the model, `own`; whether they were not."""
    values = values[np.isfinite(values)]
    mean, spread = (float(values.mean()), float(values.std())) if values.size else (scaling.shift, 0.0)
    if abs(mean - scaling.shift) <= FAR_OFF * max(spread, scaling.scale) and spread <= WIDE * scaling.scale:
        return False
    near = (units for units in siblings(own) if _is_near(scaling, mean, conversion(units, own)))
    other = next(near, "")
    cure = (
        f"in {other!r} they would be plausible: `{call_that_converts(other, own)}`"
        if other
        else "convert them where they are in others"
    )
    warn(
        f"The data name no units and are taken for {own!r}, those of the model; but their mean is {mean:.4g} and their "
        f"standard deviation {spread:.3g}, while it was fitted on {scaling.shift:.4g} and {scaling.scale:.3g}. If they "
        f"are in {own!r}, say so: `da.assign_attrs(units={own!r})`; {cure}."
    )
    return True


def _is_near(scaling: Scaling, mean: float, conversion: tuple[float, float] | None) -> bool:
    """Whether a mean would be one of the model's data once it is converted."""
    assert conversion is not None
    factor, offset = conversion
    return abs(factor * mean + offset - scaling.shift) <= FAR_OFF / 2 * scaling.scale


def _kept_valid(state: State, da: xr.DataArray) -> xr.DataArray | bool | None:
    """What was said of the old data's cells, which must hold for the new ones too."""
    if not set(state.layout.roles.fitted) <= set(da.dims):
        return None  # which is refused for that reason
    if isinstance(state.valid, xr.DataArray) and not same_grid(state.valid, da):
        part = _at_labels(state.valid, da)
        if part is not None and same_grid(part, da):
            return part
        raise AlignmentError(
            f"The `valid` that the model was fitted with, on {listed(state.valid.dims)}, does not lie on the grid "
            f"of the new data. Give theirs: `condition(da, valid=...)`, or `valid=True` if it exists everywhere."
        )
    return state.valid


def _at_labels(valid: xr.DataArray, da: xr.DataArray) -> xr.DataArray | None:
    """What was said of the cells of new data that are some of the old ones; None where they are others."""
    try:
        return valid.sel({d: da.indexes[d] for d in valid.dims if d in valid.indexes and d in da.indexes})
    except (KeyError, TypeError, pd.errors.InvalidIndexError):
        return None


def _require_learned_axes(state: State, lattice: Lattice, components: int) -> None:
    """Refuse several times where learning saw one: nothing is known of how they go together."""
    roles = state.layout.roles
    levels = () if roles.depth is None else ((f"level of {roles.depth!r}", state.layout.components, components),)
    for name, seen, found in (
        *levels,
        (f"step of {roles.clock!r}", state.learned_shape[0], lattice.moments.size),
        ("place", state.learned_shape[1], lattice.num_places),
    ):
        if seen == 1 < found:
            raise AlignmentError(
                f"The model was fitted on one {name}, so it knows nothing of how several go together, and the new "
                f"data have {found}. Condition on one at a time, or fit on several."
            )
