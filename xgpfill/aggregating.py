"""Averages of the field of a fitted model over dimensions, regions and periods, with their true standard deviations.

For weights w over cells the average is a = wᵀf / Σw. Its variance is that of the joint law of all these cells, so it
takes one solve for each average; see :mod:`xgpfill.engines.averages`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.averaging import checked_dims, checked_weights, require_on_cells
from xgpfill.conventions import mapping_names, origin, settled
from xgpfill.decoding import mean_attrs, position_name, positions_of, suffixed, variance_attrs
from xgpfill.errors import AlignmentError, DataError, MethodError, listed, shown
from xgpfill.metrics import cos_lat_weights
from xgpfill.options import progress_bar, show_progress
from xgpfill.results import Context, Reconstruction
from xgpfill.tiling.averages import Sums, kept_sums, member_sums

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from xgpfill.grid.points import IntArray
    from xgpfill.grouping import Groups
    from xgpfill.model import FittedModel

MOST = 4096
"""Averages of one field that are solved for."""


@dataclass(frozen=True, eq=False)
class Averager:
    """What a reconstruction needs to average: the model that it is of.

    Attributes
    ----------
    model : FittedModel
    include_noise : bool
        Whether variances are of averages of new observations.
    """

    model: FittedModel
    include_noise: bool

    def __call__(
        self, field: xr.DataArray, positions: xr.Dataset, dims: Any, weights: Any, groups: Groups | None = None
    ) -> Reconstruction:
        """Average the cells of `field`, at `positions` in the model's data, over `dims`, group by group of another."""
        names = [] if groups is not None and dims is None else checked_dims(field, dims)
        if isinstance(weights, str):
            if weights != "cos_lat":
                raise DataError(f"weights={shown(weights)}: choose 'cos_lat', or give a DataArray of weights.")
            weights = cos_lat_weights(field)
        given = xr.DataArray(1.0) if weights is None else checked_weights(field, weights).fillna(0.0).compute()
        cells = _Cells(self.model, field, positions, tuple(names), groups)
        return _averaged(cells, given, include_noise=self.include_noise, normalize=True)


def aggregate(model: FittedModel, weights: Any, *, include_noise: bool, normalize: bool) -> Reconstruction:
    """See :meth:`xgpfill.model.FittedModel.aggregate`."""
    field = model.layout.template
    given = _sets_of_weights(field, weights, normalize=normalize)
    dims = tuple(d for d in given.dims if d in field.dims)
    cells = _Cells(model, field, positions_of(field), dims, None)
    return _averaged(cells, given, include_noise=include_noise, normalize=normalize)


def _sets_of_weights(field: xr.DataArray, weights: Any, *, normalize: bool) -> xr.DataArray:
    """Weights of cells of the field, along dimensions of their own as well, known everywhere.

    Raises
    ------
    AlignmentError, DataError
    """
    if not isinstance(weights, xr.DataArray) or weights.dtype.kind not in "iufb":
        found = f"has dtype {weights.dtype}" if isinstance(weights, xr.DataArray) else f"is a {type(weights).__name__}"
        raise DataError(
            f"`weights` {found}; expected a DataArray of real numbers, e.g. `cos_lat_weights(da) * region`."
        )
    if not set(weights.dims) & set(field.dims):
        raise AlignmentError(
            f"`weights` has the dimensions {listed(weights.dims)}, none of the data's {listed(field.dims)}. Give "
            f"weights of cells, e.g. `xgpfill.metrics.cos_lat_weights(da)`."
        )
    require_on_cells(weights, field)
    given = weights.astype(float).fillna(0.0).compute()
    if np.isinf(given).any():
        raise DataError("`weights` holds infinite values; expected finite ones, e.g. `weights.clip(max=1e6)`.")
    if normalize and (given < 0).any():
        raise DataError(
            f"`weights` holds {float(given.min())!r}; expected numbers of at least zero for an average. For a sum or a "
            f"difference, which is divided by nothing, type `aggregate(weights, normalize=False)`."
        )
    return given


@dataclass(frozen=True, eq=False)
class _Cells:
    """Which cells of the model's data go into which average.

    Attributes
    ----------
    model : FittedModel
    field : DataArray
        Its dimensions and coordinates are those that answers start from.
    positions : Dataset
        Where its cells are along each dimension of the model's data.
    dims : tuple of names
        Averaged over.
    groups : Groups, optional
        Of cells along one more dimension.
    """

    model: FittedModel
    field: xr.DataArray
    positions: xr.Dataset
    dims: tuple[Hashable, ...]
    groups: Groups | None

    @property
    def slots(self) -> tuple[Hashable | None, ...]:
        """The dimension of each canonical axis (extra..., time, y, x)."""
        roles = self.model.layout.roles
        return (*roles.extra, roles.time, roles.y_dim, roles.x_dim)

    def place(self, dim: Hashable) -> IntArray:
        """Positions (k,) of the cells along a dimension of the model's data.

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
        """The average along one axis that each cell of the model's data is part of; −1: of none."""
        if dim is None:
            return np.zeros(1, dtype=np.intp)
        found = np.full(self.model.layout.template.sizes[dim], -1)
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
        whole = np.zeros((len(values), *(self.model.layout.template.sizes[d] for d in here)))
        whole[np.ix_(np.arange(len(values)), *(self.place(d) for d in here))] = values
        return whole[:, *(slice(None) if d in here else np.newaxis for d in self.slots)], own

    def labelled(self, rows: Any, given: xr.DataArray, own: tuple[Hashable, ...]) -> xr.DataArray:
        """Rows (row, sets, extra..., time, y, x) with the dimensions and coordinates of the averages."""
        field, groups = self.field, self.groups
        names = {d: d for d in field.dims if self.is_kept(d)} | ({} if groups is None else {groups.dim: groups.name})
        gone = [d for d in field.dims if names.get(d) != d or (groups is not None and d == groups.dim)]
        lost = [name for name, c in field.coords.items() if set(gone) & set(c.dims)]
        if set(gone) & set(self.slots[-2:]):  # no map any more
            lost += [name for name in mapping_names(field) if name in field.coords and name not in lost]
        sizes = {d: given.sizes[d] for d in own}
        sizes |= {names[d]: n for n, d in zip(rows.shape[2:], self.slots, strict=True) if d in names}
        found = xr.DataArray(rows.reshape(len(rows), *sizes.values()), dims=("row", *sizes))
        found = found.assign_coords(field.drop_vars(lost).isel(dict.fromkeys(gone, 0), drop=True).coords)
        found = found.assign_coords({d: given.coords[d] for d in own if d in given.coords})
        found = found if groups is None else found.assign_coords({groups.name: groups.coordinate})
        return found.transpose("row", *own, *(names[d] for d in field.dims if d in names))


def _averaged(cells: _Cells, given: xr.DataArray, *, include_noise: bool, normalize: bool) -> Reconstruction:
    """Mean and variance of averages, or of sums, as a reconstruction."""
    weights, own = cells.weights(given)
    found = cells.labelled(_rows(cells, weights), given, own)
    mean, variance, total, noise = (settled(found.isel(row=i, drop=True)) for i in range(4))
    size = total.where(total != 0) if normalize else 1.0
    mean, variance, noise = mean / size, variance / size**2, noise / size**2
    template, kind = cells.model.layout.template, "observed" if include_noise else "latent"
    variance = variance + noise if include_noise else variance
    mean.name, mean.attrs = template.name, template.attrs
    mean.attrs = {**mean_attrs(mean), "cell_methods": _cell_methods(template, cells, normalize=normalize)}
    mean.encoding = origin(template)
    variance.name = suffixed(mean.name, "variance")
    variance.attrs = variance_attrs(mean.attrs, kind, str(mean.name or "field"))
    return Reconstruction(mean, variance, Context(mean * np.nan, noise.drop_attrs(), kind, sources=cells.model.sources))


def _cell_methods(template: xr.DataArray, cells: _Cells, *, normalize: bool) -> str:
    """What was done to the cells, after what was before, as CF says it."""
    dims = [*cells.dims, *([] if cells.groups is None or cells.groups.dim in cells.dims else [cells.groups.dim])]
    done = f"{' '.join(f'{d}:' for d in dims)} {'mean' if normalize else 'sum'}"
    return f"{template.attrs.get('cell_methods', '')} {done}".strip()


def _rows(cells: _Cells, weights: Any) -> Any:
    """Sums over cells of the mean, the variance, the weights and the noise, (4, sets, extra..., time, y, x)."""
    model, number = cells.model, len(cells.model.lattice.extra_shape)
    codes = [cells.codes(d) for d in cells.slots]
    counts = [int(code.max(initial=-1)) + 1 for code in codes]
    _require_few([len(weights), *counts[number:]])
    along: tuple[Any, Any, Any] = tuple(codes[number:])  # type: ignore[assignment]
    parts: dict[tuple[int, ...], Any] = {}
    work = _Work(model)
    with progress_bar("Averaging", work.show, total=None) as step, work.solver.watched(work.show):
        for member in model.lattice.members():
            where = tuple(int(code[m]) for code, m in zip(codes, member, strict=False))
            if min(where, default=0) >= 0:
                own = weights[:, *_of_member(weights.shape[1:], member)]
                found = work.sums(member, Sums(own, along, tuple(counts[number:])), step)  # type: ignore[arg-type]
                parts[where] = found + parts[where] if where in parts else found
    ordered = [parts[where] for where in np.ndindex(*counts[:number])]
    return _stacked(ordered).reshape((4, len(weights), *counts))


def _of_member(shape: Sequence[int], member: tuple[int, ...]) -> tuple[int, ...]:
    """The index of one field in a canonical array whose extra axes may have length one."""
    return tuple(0 if n == 1 else m for n, m in zip(shape, member, strict=False))


def _stacked(parts: list[Any]) -> Any:
    """Rows of members (4, sets, ...) as (4, sets, members, ...), in memory or lazy."""
    if isinstance(parts[0], np.ndarray):
        return np.stack(parts, axis=2)
    import dask.array as da

    return da.stack(parts, axis=2)


def _require_few(counts: list[int]) -> None:
    """Refuse more averages than anyone would wait for."""
    number = int(np.prod(counts))
    if number > MOST:
        raise MethodError(
            f"{number} averages were asked for, and each takes a solve; at most {MOST} are made. Average over more "
            f"dimensions, e.g. `r.average(('lat', 'lon'))` or `.mean(dims=('lat', 'lon'))`, or take them from draws: "
            f"`model.sample(64)`, whose averages have the standard deviation `.std('sample')`."
        )


class _Work:
    """The sums of one field after the other, in memory or lazy."""

    def __init__(self, model: FittedModel) -> None:
        self.model, self.solver = model, model._solver(None, None)
        self.show = show_progress(None) and not model.lattice.is_lazy
        noise = model._noise_variance()
        self.noise = noise if isinstance(noise, float) else model.layout.canonical(noise)

    def sums(self, member: tuple[int, ...], sums: Sums, step: Any) -> Any:
        """Those of one field, (4, sets, groups...)."""
        lattice = self.model.lattice
        values, errors = lattice.values[member], self.model._member_errors(member)
        valid = None if lattice.valid is None else lattice.valid[_of_member(lattice.valid.shape, member)]
        noise = self.noise if isinstance(self.noise, float) else self.noise[member]
        if not lattice.is_lazy:
            return member_sums(self.solver, values, errors, sums, valid, noise, step)
        import dask
        import dask.array as da

        node = dask.delayed(self.solver, traverse=False)
        found = dask.delayed(kept_sums)(node, values, errors, dask.delayed(sums, traverse=False), valid, noise)
        return da.from_delayed(found, shape=(4, *sums.shape), dtype=np.float64)
