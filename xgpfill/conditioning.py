"""A fitted model conditioned on other observations: what must hold for them. Nothing is learned here."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import xarray as xr

from xgpfill.checks import require_array
from xgpfill.errors import AlignmentError, NoiseError, listed
from xgpfill.files import sources_of
from xgpfill.grid.companions import as_mask, in_memory_as, median_error, same_grid, within_valid
from xgpfill.grid.encode import encode
from xgpfill.learning.blocks import observed_share
from xgpfill.scoring import same_units
from xgpfill.words import units_of

if TYPE_CHECKING:
    from xgpfill.grid.lattice import Lattice
    from xgpfill.model import FittedModel


def conditioned(
    model: FittedModel, da: xr.DataArray, noise: float | xr.DataArray | None, valid: xr.DataArray | bool | None
) -> FittedModel:
    """See :meth:`xgpfill.model.FittedModel.condition`."""
    require_array(da, "condition")
    opened = sources_of(da, noise, valid)  # before anything is read
    errors = noise if isinstance(noise, xr.DataArray) else None
    if isinstance(noise, float) or (errors is None) != (model.errors is None):
        raise NoiseError(
            "The model was fitted with standard errors; give those of the new data: `condition(da, noise_std=errors)`."
            if model.errors is not None
            else "The model was fitted with one noise variance; leave `noise=` out."
        )
    _require_units(model, da)
    kept = _kept_valid(model, da) if valid is None else valid
    kept, errors = as_mask(in_memory_as(da, kept)), in_memory_as(da, errors)
    lattice, layout = encode(da, valid=kept, errors=errors, like=model.layout)
    _require_learned_axes(model, lattice)
    lattice = within_valid(lattice)
    return replace(
        model, lattice=lattice, layout=layout, errors=errors, has_data=True,
        share=model.share if lattice.is_lazy else observed_share(lattice, 0),
        valid=kept, typical_error=median_error(da, errors, model.typical_error), opened=opened,
    )  # fmt: skip


def _require_units(model: FittedModel, da: xr.DataArray) -> None:
    """Refuse data in other units, as far as both say theirs: what was learned is in those of the old data."""
    found, own = units_of(da), units_of(model.layout.template)
    if found and own and not same_units(found, own):
        raise AlignmentError(
            f"The data are in {found!r}, but the model was fitted on {own!r}. Convert them and say so, e.g. "
            f"`(factor * da).assign_attrs(units={own!r})`; if both mean the same, `da.assign_attrs(units={own!r})`."
        )


def _kept_valid(model: FittedModel, da: xr.DataArray) -> xr.DataArray | bool | None:
    """What was said of the old data's cells, which must hold for the new ones too."""
    if not set(model.layout.roles.fitted) <= set(da.dims):
        return None  # which is refused for that reason
    if isinstance(model.valid, xr.DataArray) and not same_grid(model.valid, da):
        raise AlignmentError(
            f"The `valid` that the model was fitted with, on {listed(model.valid.dims)}, does not lie on the grid "
            f"of the new data. Give theirs: `condition(da, valid=...)`, or `valid=True` if it exists everywhere."
        )
    return model.valid


def _require_learned_axes(model: FittedModel, lattice: Lattice) -> None:
    """Refuse several times where learning saw one: nothing is known of how they go together."""
    for name, seen, found in (
        (f"step of {model.layout.roles.time!r}", model.learned_shape[0], lattice.time.size),
        ("place", model.learned_shape[1], lattice.space.size),
    ):
        if seen == 1 < found:
            raise AlignmentError(
                f"The model was fitted on one {name}, so it knows nothing of how several go together, and the new "
                f"data have {found}. Condition on one at a time, or fit on several."
            )
