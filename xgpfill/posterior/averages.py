"""Averages of the field of a fitted model over dimensions, regions and periods, with their true standard deviations.

For weights w over cells the average is a = wᵀf / Σw. Its variance is that of the joint law of all these cells, so it
takes one solve for each average; see :mod:`xgpfill.engines.averages`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.cf.conventions import origin, placing, settled
from xgpfill.errors import AlignmentError, DataError, MethodError, listed
from xgpfill.grid.directions import one_after_another
from xgpfill.metrics.averaging import require_on_cells
from xgpfill.options import progress_bar, show_progress
from xgpfill.posterior.amplitude import noise_variance
from xgpfill.results.attributes import mean_attrs, positions_of, suffixed, variance_attrs
from xgpfill.results.cells import Cells, averaged_dims, weights_of
from xgpfill.results.estimate import Context
from xgpfill.results.reconstruction import Reconstruction
from xgpfill.tiling.assemble import node_of
from xgpfill.tiling.averages import Sums, are_across, kept_sums, member_sums
from xgpfill.tiling.drawn import HOW

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from pathlib import Path

    from xgpfill.posterior.state import State
    from xgpfill.results.grouping import Groups

MOST = 4096
"""Averages of one field that are solved for."""


@dataclass(frozen=True, eq=False)
class Averager:
    """What a reconstruction needs to average: the model that it is of.

    Attributes
    ----------
    state : State
    include_noise : bool
        Whether variances are of averages of new observations.
    """

    state: State
    include_noise: bool

    def weights(self, field: xr.DataArray, positions: xr.Dataset, weights: Any) -> xr.DataArray:
        """Weights of the cells of `field`; named ones are those of its cells in the whole grid."""
        return weights_of(field, self.state.layout.template, positions, weights)

    def __call__(
        self, field: xr.DataArray, positions: xr.Dataset, dims: Any, weights: Any, groups: Groups | None = None
    ) -> Reconstruction:
        """Average the cells of `field`, at `positions` in the model's data, over `dims`, group by group of another."""
        given = self.weights(field, positions, weights)
        cells = _cells(self.state, field, positions, averaged_dims(field, dims, groups), groups)
        return _of_model(self.state, cells, given, include_noise=self.include_noise, normalize=True)


def aggregate(state: State, weights: Any, *, include_noise: bool, normalize: bool) -> Reconstruction:
    """See :meth:`xgpfill.model.FittedModel.aggregate`."""
    field = state.layout.template
    given = _sets_of_weights(field, weights, normalize=normalize)
    cells = _cells(state, field, positions_of(field), tuple(d for d in given.dims if d in field.dims), None)
    return _of_model(state, cells, given, include_noise=include_noise, normalize=normalize)


def _cells(
    state: State, field: xr.DataArray, positions: xr.Dataset, dims: tuple[Hashable, ...], groups: Groups | None
) -> Cells:
    """Cells of the model's data; the axes are (extra..., time, y, x)."""
    roles = state.layout.roles
    components = () if roles.component is None else (roles.component,)
    slots = (*roles.extra, roles.time, *components, roles.y_dim, roles.x_dim)
    return Cells(state.layout.template, slots, roles.space, field, positions, dims, groups)


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


def averaged(
    cells: Cells,
    given: xr.DataArray,
    sums: Callable[[Any], tuple[Any, str]],
    *,
    kind: str,
    normalize: bool,
    sources: frozenset[Path],
) -> Reconstruction:
    """Mean and variance of averages, or of sums, as a reconstruction.

    Parameters
    ----------
    cells : Cells
    given : DataArray
        Weights of cells.
    sums : callable
        From weights (sets, axes...) to rows (4, sets, averages along each axis) of the mean, the latent variance, the
        weights and the noise, and to what is to be said of how they were found.
    kind : {"latent", "observed"}
        Of the variance.
    normalize : bool
        Whether sums are divided by those of the weights.
    sources : frozenset of paths
        What the data come from.
    """
    weights, own = cells.weights(given)
    rows, how = sums(weights)
    found = cells.labelled(rows, given, own)
    mean, variance, total, noise = (settled(found.isel(row=i, drop=True)) for i in range(4))
    size = total.where(total != 0) if normalize else 1.0
    mean, variance, noise = mean / size, variance / size**2, noise / size**2
    template = cells.template
    variance = variance + noise if kind == "observed" else variance
    mean.name, mean.attrs, mean.encoding = template.name, template.attrs, template.encoding  # less what is not here
    mean.attrs = {**mean_attrs(mean), "cell_methods": cells.methods(normalize=normalize)}
    mean.encoding = placing(mean)[1] | origin(template)
    variance.name, variance.encoding = suffixed(mean.name, "variance"), dict(mean.encoding)
    variance.attrs = variance_attrs(mean.attrs, kind, str(mean.name or "field")) | ({"comment": how} if how else {})
    return Reconstruction(mean, variance, Context(mean * np.nan, noise.drop_attrs(), kind, sources=sources))


def _of_model(
    state: State, cells: Cells, given: xr.DataArray, *, include_noise: bool, normalize: bool
) -> Reconstruction:
    """Averages of cells of the model's data."""
    kind = "observed" if include_noise else "latent"
    sums = partial(_rows, state, cells)
    return averaged(cells, given, sums, kind=kind, normalize=normalize, sources=state.sources)


def _rows(state: State, cells: Cells, weights: Any) -> tuple[Any, str]:
    """Sums over cells of the mean, the variance, the weights and the noise, (4, sets, extra..., time, y, x)."""
    work = _Work(state)
    with progress_bar("Averaging", work.show, total=None) as step, work.solver.watched(work.show):
        rows = summed(state, cells, weights, partial(work.sums, step))
    return rows, HOW if work.across else ""


def summed(state: State, cells: Cells, weights: Any, each: Callable[..., Any]) -> Any:
    """Sums of all independent fields, (4, sets, averages along each axis), in memory or lazy.

    Parameters
    ----------
    state : State
    cells : Cells
    weights : array (sets, axes...)
    each : callable
        From a member, weights (sets, other axes...), the groups along these axes and their counts to (4, sets, counts).
    """
    number = len(state.lattice.extra_shape)
    codes = [cells.codes(d) for d in cells.slots]
    counts = [int(code.max(initial=-1)) + 1 for code in codes]
    _require_few([len(weights), *counts[number:]])
    parts: dict[tuple[int, ...], Any] = {}
    for field, member in enumerate(state.lattice.members()):
        where = tuple(int(code[m]) for code, m in zip(codes, member, strict=False))
        if min(where, default=0) >= 0:
            own = weights[:, *_of_member(weights.shape[1:], member)]
            found = each(member, field, own, tuple(codes[number:]), tuple(counts[number:]))
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
    """The sums of one field after the other, in memory or lazy; `across` is whether any has cells in several tiles."""

    def __init__(self, state: State) -> None:
        self.state, self.solver = state, state.solver().together
        self.show = show_progress(None) and not state.lattice.is_lazy
        noise = noise_variance(state)
        self.noise = noise if isinstance(noise, float) else state.layout.canonical(noise)
        self.across = False

    def sums(self, step: Any, member: tuple[int, ...], field: int, weights: Any, groups: Any, counts: Any) -> Any:
        """Those of one field, (4, sets, groups...)."""
        whole = counts
        if self.state.layout.roles.component is not None:
            weights, groups, counts = _rows_of_both(weights, groups, counts)
        lattice, sums, solver = self.state.lattice, Sums(weights, groups, counts), self.solver.of_field(field)
        values, errors = lattice.values[member], self.state.errors_of(member)
        valid = None if lattice.valid is None else lattice.valid[_of_member(lattice.valid.shape, member)]
        noise = self.noise if isinstance(self.noise, float) else self.noise[member]
        known = valid if isinstance(valid, np.ndarray) else None
        self.across = self.across or are_across(self.solver, sums, known)
        if not lattice.is_lazy:
            found = member_sums(solver, values, errors, sums, valid, noise, step)
            return found.reshape(*found.shape[:2], *whole)
        import dask
        import dask.array as da

        node = node_of(solver)
        found = dask.delayed(kept_sums)(node, values, errors, dask.delayed(sums, traverse=False), valid, noise)
        lazy = da.from_delayed(found, shape=(4, *sums.shape), dtype=np.float64)
        return lazy.reshape(*lazy.shape[:2], *whole)


def _rows_of_both(weights: Any, groups: Any, counts: Any) -> tuple[Any, Any, Any]:
    """Weights (sets, time, components, y, x), groups and their counts with the rows of components as one axis."""
    time, component, y, x = groups
    together = np.where((component[:, None] < 0) | (y < 0), -1, component[:, None] * counts[2] + y).ravel()
    rows = one_after_another(weights, y.size, component.size)
    return rows, (time, together, x), (counts[0], counts[1] * counts[2], counts[3])
