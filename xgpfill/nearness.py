"""How near cells and targets are to observations, so that what is far from all data can be left empty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from xgpfill.calibration import position_name
from xgpfill.errors import DataError, shown
from xgpfill.grid.directions import drawn_together
from xgpfill.grid.points import SAME_PLACE, Points

if TYPE_CHECKING:
    from collections.abc import Hashable

    from xgpfill.grid.lattice import FloatArray
    from xgpfill.model import FittedModel


@dataclass(frozen=True, eq=False)
class Nearness:
    """What a reconstruction needs to tell what is near its data.

    Attributes
    ----------
    model : FittedModel
    points : Points or None
        The targets; None for the cells of the data.
    dims : tuple of names
        Of the targets.
    shape : tuple of int
    """

    model: FittedModel
    points: Points | None = None
    dims: tuple[Hashable, ...] = ()
    shape: tuple[int, ...] = ()

    def __call__(self, positions: xr.Dataset, days: float | None, distance: float | None) -> xr.DataArray:
        """Whether an observation is near each cell that is left, at `positions` in the whole.

        Near is (Δt / days)² + (d / distance)² ≤ 1: without `days` at whatever time, without `distance` at one place.
        """
        lattice, layout = self.model.lattice, self.model.layout
        targets = _cells(self.model) if self.points is None else self.points
        along = self._drawn_together(distance)
        fields = [self._of_field(lattice.values[m], targets, days, along) for m in lattice.members()]
        stack = _dask().stack(fields) if lattice.is_lazy else np.stack(fields)
        if self.points is None:
            whole = stack.reshape(*lattice.extra_shape, *lattice.shape)
            found = xr.DataArray(layout.restore(whole), dims=layout.template.dims)
            found = found if not lattice.is_lazy else found.chunk(dict(layout.template.chunksizes))
        else:
            found = xr.DataArray(
                stack.reshape(*lattice.extra_shape, *self.shape), dims=(*layout.roles.extra, *self.dims)
            )
        return found.isel({d: positions[position_name(d)].variable for d in found.dims})

    def _drawn_together(self, distance: float | None) -> FloatArray | None:
        """The distance along each column of places, of which some count less where lengthscales differ."""
        space, ratio = self.model.lattice.space, self.model.layout.metric.anisotropy
        every = None if distance is None else np.full(space.coordinates.shape[-1], distance)
        return None if every is None else drawn_together(every, space.geometry, ratio)

    def _of_field(self, values: Any, targets: Points, days: float | None, distance: FloatArray | None) -> Any:
        """That of one field, lazy where its values are."""
        known = _cells(self.model), targets, days, distance
        if not self.model.lattice.is_lazy:
            return near_observations(values, *known)
        import dask

        task = dask.delayed(near_observations)(values, *known)
        return _dask().from_delayed(task, shape=(len(targets),), dtype=bool)


def _dask() -> Any:
    import dask.array

    return dask.array


def _cells(model: FittedModel) -> Points:
    """All cells of the data."""
    lattice, sites = model.lattice, model.lattice.space.coordinates.reshape(model.lattice.space.size, -1)
    if lattice.days is not None:
        return Points.of_cells(lattice.time, sites, np.arange(0), np.arange(len(sites)), days=lattice.days.ravel())
    return Points.grid(lattice.time, sites)


def near_observations(
    values: Any, cells: Points, targets: Points, days: float | None, distance: float | FloatArray | None
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Whether one of the observed `cells` is near each target, (n,)."""
    from scipy.spatial import KDTree

    from xgpfill.linalg.threads import own_threads

    seen = np.flatnonzero(np.isfinite(np.asarray(values, dtype=float)).ravel())
    if not seen.size:
        return np.zeros(len(targets), dtype=bool)
    if distance is None:
        distance = SAME_PLACE * float(np.abs(cells.sites).max(initial=1.0))

    def scaled(points: Points) -> FloatArray:
        time = np.zeros(len(points)) if days is None else points.time / days
        return np.column_stack([time, points.space / distance])

    tree = KDTree(np.unique(scaled(cells.take_in_order(seen)), axis=0))
    with own_threads() as threads:
        apart = tree.query(scaled(targets), distance_upper_bound=1.0 + 1e-9, workers=threads)[0]
    return np.asarray(np.isfinite(apart))


def as_days(gap: Any) -> float | None:
    """A length of time in days, from a number of them or anything that pandas reads.

    Raises
    ------
    DataError
        When it is no positive one.

    Examples
    --------
    >>> as_days("36h"), as_days(2)
    (1.5, 2.0)
    """
    if gap is None:
        return None
    try:
        number = isinstance(gap, (int, float, np.integer, np.floating)) and not isinstance(gap, (bool, np.timedelta64))
        days = float(gap) if number else pd.Timedelta(gap) / pd.Timedelta(1, "D")
    except (TypeError, ValueError):
        days = np.nan
    if not 0 < days < np.inf:
        raise DataError(f"max_gap={shown(gap)}: expected a length of time, in days or as text, e.g. `max_gap='10D'`.")
    return float(days)


def as_length(value: Any, name: str, example: str) -> float | None:
    """A positive number, or None.

    Raises
    ------
    DataError
    """
    if value is None:
        return None
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not number or not 0 < value < np.inf:
        raise DataError(f"{name}={shown(value)}: expected a positive number, e.g. `{name}={example}`.")
    return float(value)
