"""Which cells of a grid are averaged, with which weights, and what the averages are labelled with.

What they are is solved for elsewhere: on the grid of the data in :mod:`xgpfill.posterior.averages`, of predictions in
:mod:`xgpfill.posterior.targets`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.cf.conventions import mapping_names
from xgpfill.errors import AlignmentError, listed
from xgpfill.metrics._weights import named_weights
from xgpfill.metrics.averaging import checked_dims, checked_weights
from xgpfill.metrics.calibration import position_name

if TYPE_CHECKING:
    from collections.abc import Hashable

    from xgpfill.arrays import IntArray
    from xgpfill.results.grouping import Groups


def averaged_dims(field: xr.DataArray, dims: Any, groups: Groups | None) -> tuple[Hashable, ...]:
    """The dimensions that are averaged over: all by default, none but the grouped one where there are groups."""
    return () if groups is not None and dims is None else tuple(checked_dims(field, dims))


def weights_of(field: xr.DataArray, template: xr.DataArray, positions: xr.Dataset, weights: Any) -> xr.DataArray:
    """Weights of the cells of a field, in memory; named ones are those of its cells in the whole grid.

    Raises
    ------
    AlignmentError, DataError
    """
    if weights is None:
        return xr.DataArray(1.0)
    if isinstance(weights, str):
        whole = named_weights(weights, template).reset_coords(drop=True)
        weights = whole.isel({d: positions[position_name(d)].variable for d in whole.dims})
    return checked_weights(field, weights).fillna(0.0).compute()


@dataclass(frozen=True, eq=False)
class Cells:
    """Which cells of a grid go into which average.

    Attributes
    ----------
    template : DataArray
        The whole grid; its values are not read.
    slots : tuple of names or None
        The dimension of each of its axes in the order of computation; None for one that is absent.
    space : tuple of names
        Those of space.
    field : DataArray
        What is left of it; its dimensions and coordinates are those that answers start from.
    positions : Dataset
        Where cells of the field are along each dimension of the grid.
    dims : tuple of names
        Averaged over.
    groups : Groups, optional
        Of cells along one more dimension.
    """

    template: xr.DataArray
    slots: tuple[Hashable | None, ...]
    space: tuple[Hashable, ...]
    field: xr.DataArray
    positions: xr.Dataset
    dims: tuple[Hashable, ...]
    groups: Groups | None = None

    def place(self, dim: Hashable) -> IntArray:
        """Positions (k,) of the cells along a dimension of the grid.

        Raises
        ------
        AlignmentError
            When cells were selected point by point.
        """
        found = self.positions[position_name(dim)]
        if found.dims not in ((), (dim,)):
            raise AlignmentError(
                f"Cells were selected point by point along {listed(found.dims)}, so they are no part of the grid. "
                f"Average first and select then, or give weights that are zero elsewhere: `model.aggregate(weights)`."
            )
        return np.atleast_1d(found.values)

    def is_kept(self, dim: Hashable | None) -> bool:
        """Whether averages have this dimension."""
        return dim in self.field.dims and dim not in self.dims

    def codes(self, dim: Hashable | None) -> IntArray:
        """The average along one axis that each cell of the grid is part of; −1: of none."""
        if dim is None:
            return np.zeros(1, dtype=np.intp)
        found = np.full(self.template.sizes[dim], -1)
        place = self.place(dim)
        if self.groups is not None and dim == self.groups.dim:
            found[place] = self.groups.codes
        else:
            found[place] = np.arange(place.size) if self.is_kept(dim) else 0
        return found

    def weights(self, given: xr.DataArray) -> tuple[Any, tuple[Hashable, ...]]:
        """Weights (sets, extra or 1..., time or 1, y or 1, x or 1) on all cells, and what their sets are along."""
        own = tuple(d for d in given.dims if d not in self.field.dims)
        here = [d for d in self.slots if d in given.dims]
        values = given.transpose(*own, *here).values
        values = values.reshape(-1, *values.shape[len(own) :])
        whole = np.zeros((len(values), *(self.template.sizes[d] for d in here)))
        whole[np.ix_(np.arange(len(values)), *(self.place(d) for d in here))] = values
        return whole[:, *(slice(None) if d in here else np.newaxis for d in self.slots)], own

    def labelled(self, rows: Any, given: xr.DataArray, own: tuple[Hashable, ...]) -> xr.DataArray:
        """Rows (row, sets, extra..., time, y, x) with the dimensions and coordinates of the averages."""
        field, groups = self.field, self.groups
        names = {d: d for d in field.dims if self.is_kept(d)} | ({} if groups is None else {groups.dim: groups.name})
        gone = [d for d in field.dims if names.get(d) != d or (groups is not None and d == groups.dim)]
        lost = [name for name, c in field.coords.items() if set(gone) & set(c.dims)]
        if set(gone) & set(self.space):  # no map any more
            lost += [name for name in mapping_names(field) if name in field.coords and name not in lost]
        sizes = {d: given.sizes[d] for d in own}
        sizes |= {names[d]: n for n, d in zip(rows.shape[2:], self.slots, strict=True) if d in names}
        found = xr.DataArray(rows.reshape(len(rows), *sizes.values()), dims=("row", *sizes))
        found = found.assign_coords(field.drop_vars(lost).isel(dict.fromkeys(gone, 0), drop=True).coords)
        found = found.assign_coords({d: given.coords[d] for d in own if d in given.coords})
        found = found if groups is None else found.assign_coords({groups.name: groups.coordinate})
        return found.transpose("row", *own, *(names[d] for d in field.dims if d in names))

    def methods(self, *, normalize: bool) -> str:
        """What was done to the cells, after what was before, as CF's ``cell_methods`` says it."""
        dims = [*self.dims, *([] if self.groups is None or self.groups.dim in self.dims else [self.groups.dim])]
        done = f"{' '.join(f'{d}:' for d in dims)} {'mean' if normalize else 'sum'}"
        return f"{self.template.attrs.get('cell_methods', '')} {done}".strip()
