"""How much more a field varies at one place, or one field than another; and the noise that goes with it, cell by cell.

It is estimated in :mod:`xgpfill.learning.amplitude` and applied to values in :mod:`xgpfill.grid.scaling`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.learning.blocks import nearest_known

if TYPE_CHECKING:
    from xgpfill.arrays import FloatArray
    from xgpfill.grid.points import Points
    from xgpfill.posterior.state import State


def canonical_amplitude(state: State) -> FloatArray:
    """What one stands for, relative to what it does in hyperparameters: (extra..., 1, y, x), or shorter axes of one."""
    lattice, scaling = state.lattice, state.scaling
    space = lattice.space
    places = np.broadcast_to(scaling.amplitude_at(space.coordinates.reshape(space.size, -1)), space.size)
    found: FloatArray = _of_fields(state)[..., None, None, None] * places.reshape(1, *space.shape)
    return found


def _of_fields(state: State) -> FloatArray:
    """That of each independent field alone, (extra...)."""
    each = [state.scaling.of_field(i).relative() for i, _ in enumerate(state.lattice.members())]
    return np.reshape(each, state.lattice.extra_shape)


def amplitude(state: State) -> xr.DataArray:
    """See :attr:`xgpfill.model.FittedModel.amplitude`."""
    layout = state.layout
    whole = layout.template.isel({d: 0 for d in (layout.roles.time,) if d is not None}, drop=True)
    found = layout.restore(np.broadcast_to(canonical_amplitude(state), _one_step(state)))
    if layout.roles.time is not None:
        found = found.take(0, axis=layout.template.get_axis_num(layout.roles.time))
    attrs = {"long_name": "local amplitude of the field", "units": "1"}
    return xr.DataArray(found, whole.coords, whole.dims, "amplitude", attrs)


def _one_step(state: State) -> tuple[int, ...]:
    return (*state.lattice.extra_shape, 1, *state.lattice.space.shape)


def noise_variance(state: State) -> Any:
    """Noise variance in data units²: a number, or a DataArray where it is not the same on all cells."""
    assert state.prior.noise is not None
    noise, template = float(state.prior.noise), state.layout.template
    if state.errors is not None:
        return _from_errors(state, state.errors, noise)
    if state.noise_is_known or state.scaling.is_uniform:
        return noise
    shape = (*state.lattice.extra_shape, *state.lattice.shape)
    cells: Any = noise * canonical_amplitude(state) ** 2
    if state.lattice.is_lazy:
        import dask.array as da

        chunks = state.lattice.values.chunks
        own = tuple(c if n > 1 else (1,) for c, n in zip(chunks, cells.shape, strict=True))
        cells = da.broadcast_to(da.from_array(cells, chunks=own), shape, chunks=chunks)
    else:
        cells = np.broadcast_to(cells, shape)
    return xr.DataArray(state.layout.restore(cells), coords=template.coords, dims=template.dims).reset_coords(drop=True)


def _from_errors(state: State, errors: xr.DataArray, factor: float) -> xr.DataArray:
    """The squares of standard errors times the factor on them; where none is known, of the nearest that is."""
    template = state.layout.template
    errors = errors.reset_coords(drop=True)  # levels of an index stay
    field = [d for d in errors.dims if d in state.layout.roles.fitted]
    errors = errors if errors.chunks is None else errors.chunk(dict.fromkeys(field, -1))  # nearest in any chunk
    known = xr.apply_ufunc(
        nearest_known, errors, state.typical_error, input_core_dims=[field, []], output_core_dims=[field],
        vectorize=True, keep_attrs=False, dask="parallelized", output_dtypes=[float],
    )  # fmt: skip
    whole: xr.DataArray = (known**2 * factor).broadcast_like(template).transpose(*template.dims)
    return whole if errors.chunks is None else whole.chunk(dict(template.chunksizes))


def noise_at(state: State, points: Points) -> Any:
    """Noise variance of new observations at points, data units²: a number, or (extra..., n).

    With standard errors it is that of a typical one.
    """
    assert state.prior.noise is not None
    noise = float(state.prior.noise)
    if state.errors is not None:
        assert state.typical_error is not None
        return noise * state.typical_error**2
    if state.noise_is_known or state.scaling.is_uniform:
        return noise
    places = np.broadcast_to(state.scaling.amplitude_of(points), len(points))
    found: FloatArray = noise * (_of_fields(state)[..., None] * places) ** 2
    return found
