"""Independent fields (levels, members) by their labels: which of those that were fitted new data are of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from xgpfill.calibration import Calibration
from xgpfill.errors import AlignmentError, listed

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from xgpfill.grid.encode import Layout
    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.scaling import Scaling

ALIKE = 1.25
"""Ratio of standard deviations of fields up to which they are taken for draws of one law."""


def relative_scales(scaling: Scaling, layout: Layout) -> xr.DataArray | None:
    """Standard deviation of each field relative to that of the hyperparameters; None where there is one for all."""
    if not scaling.fields:
        return None
    return _table(np.array([scale for _, scale in scaling.fields]) / scaling.reference, layout)


def means_of_fields(scaling: Scaling, layout: Layout) -> xr.DataArray | None:
    """Mean of each field, data units; None where there is one for all."""
    return _table(np.array([shift for shift, _ in scaling.fields]), layout) if scaling.fields else None


def calibration_of(
    calibration: Calibration, old: Layout, da: xr.DataArray, new: Sequence[Hashable]
) -> Calibration | None:
    """Intervals of the fields of data by the labels of the `old` ones; None where some are none of these."""
    if len(calibration.ratios) == 1:
        return calibration
    found = _of_labels(_table(np.arange(float(len(calibration.ratios))), old), da)
    if found is None:
        return None
    numbers = [int(number) for number in _each(found, da, new)]
    return Calibration(tuple(calibration.ratios[i] for i in numbers), tuple(calibration.counts[i] for i in numbers))


def _table(values: FloatArray, layout: Layout) -> xr.DataArray:
    """One number of each field with the labels of the fields."""
    extra, template = layout.roles.extra, layout.template
    coords = {d: _labels(template, d) for d in extra if d in template.indexes}
    known = {d: labels for d, labels in coords.items() if labels is not None}
    return xr.DataArray(values.reshape([template.sizes[d] for d in extra]), known, extra)


def _labels(template: xr.DataArray, dim: Hashable) -> Any:
    """Labels that tell fields apart and can be written to a file; None where there are none such."""
    index = template.indexes[dim]
    if isinstance(index, pd.MultiIndex) or not index.is_unique:
        return None
    if index.dtype == object and all(isinstance(label, str) for label in index):
        return (dim, np.array(list(index), dtype=str))
    return template.coords[dim].variable


def with_fields_of(
    scaling: Scaling,
    known: xr.DataArray | None,
    da: xr.DataArray,
    new: Sequence[Hashable],
    means: xr.DataArray | None = None,
) -> Scaling:
    """Units of the fields of data along `new` dimensions: standard deviations as `known` by label.

    Means are those of `means` by the same labels, if they are given, else their own.

    Raises
    ------
    AlignmentError
        Where fields that are not known could have any standard deviation.
    """
    if known is None:
        return replace(scaling, fields=(), unit=None)
    found = _of_labels(known, da)
    if found is None:
        _require_alike(known)
        return replace(scaling, fields=(), unit=None)
    scales = _each(found, da, new) * scaling.reference
    own = None if means is None else _of_labels(means, da)
    pooled = scaling.fields or ((scaling.shift, scaling.scale),) * scales.size
    shifts = [shift for shift, _ in pooled] if own is None else _each(own, da, new)
    fields = tuple((float(shift), float(scale)) for shift, scale in zip(shifts, scales, strict=True))
    return replace(scaling, fields=fields, unit=scaling.reference)


def relative_to_terms(scaling: Scaling, layout: Layout) -> dict[str, Any]:
    """By how much places, fields and levels vary more than hyperparameters say, as their table takes it."""
    fields, levels = relative_scales(scaling, layout), _of_levels(scaling)
    return {"amplitude": scaling.amplitude, "fields": fields, "levels": levels}


def _of_levels(scaling: Scaling) -> xr.DataArray | None:
    """Standard deviation of each level of depth relative to that of the hyperparameters; None where there are none."""
    if scaling.levels is None:
        return None
    return xr.DataArray(list(scaling.levels.scales), {"level": list(scaling.levels.depths)}, ("level",))


def with_levels_of(scaling: Scaling, hyperparameters: xr.Dataset) -> Scaling:
    """Units of levels whose standard deviations are those that hyperparameters hold; their means stay their own."""
    known = hyperparameters.get("level_amplitude")
    if scaling.levels is None:
        return scaling
    if known is None:
        return replace(scaling, levels=scaling.levels.alike())
    depths, scales = (np.asarray(x, float) for x in (known["level"], known))
    return replace(scaling, levels=scaling.levels.with_scales(depths, scales))


def _each(table: xr.DataArray, da: xr.DataArray, new: Sequence[Hashable]) -> FloatArray:
    """The numbers of a table for each field of data along `new` dimensions, in their order."""
    table = table.transpose(*(d for d in new if d in table.dims))
    named = [slice(None) if d in table.dims else np.newaxis for d in new]
    return np.broadcast_to(table.values[tuple(named)], [da.sizes[d] for d in new]).ravel()


def _of_labels(table: xr.DataArray, da: xr.DataArray) -> xr.DataArray | None:
    """The part of a table of fields that the data are of; None where they are others."""
    for dim in table.dims:
        labels = da.coords.get(dim)
        if dim in table.indexes and labels is not None:
            try:
                table = table.sel({dim: labels.values if labels.ndim else labels.item()})
            except (KeyError, TypeError):  # other labels, or of another kind
                return None
        elif da.sizes.get(dim) != table.sizes[dim]:
            return None
    return table


def _require_alike(known: xr.DataArray) -> None:
    low, high = float(known.min()), float(known.max())
    if high <= ALIKE * low:
        return
    names = listed(known.dims)
    raise AlignmentError(
        f"The model knows each of {names} by its label, and their standard deviations differ by a factor of "
        f"{high / low:.3g}; some of the new data are none of these. Give fields that were fitted, with their labels, "
        f"e.g. `da.sel({known.dims[0]}=...)`, or fit again."
    )
