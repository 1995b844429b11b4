"""Groups of cells along one dimension, months or years, as xarray forms them, and what is asked of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import xarray as xr

from xgpfill.errors import DimensionError, XgpfillError, listed, shown
from xgpfill.machine.interrupting import interruptible

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from xgpfill.arrays import IntArray


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of cells along a dimension.

    Attributes
    ----------
    dim : name
    codes : int array (size of `dim`,)
        The group of each cell; −1: of none.
    coordinate : DataArray
        What the groups are called.
    """

    dim: Hashable
    codes: IntArray
    coordinate: xr.DataArray

    @property
    def name(self) -> Hashable:
        """The dimension that takes the place of the old one."""
        return self.coordinate.dims[0]

    @classmethod
    def resampled(cls, field: xr.DataArray, freq: Any, how: Mapping[Any, Any]) -> Groups:
        """Periods of time, as ``field.resample(time="MS")`` forms them; `freq` alone is of the only time there is.

        Raises
        ------
        DimensionError
        """
        dates = [d for d in field.dims if d in field.indexes and field.indexes[d].dtype.kind in "MO"]
        wanted = dict(how) if freq is None else dict.fromkeys(dates[: 1 - len(how)], freq)
        dim = next(iter(wanted), None)
        if len(wanted) != 1 or dim not in field.dims:
            raise DimensionError(
                f"resample({shown(freq if how == {} else dict(how))}): expected one dimension of dates and a period, "
                f"e.g. `resample(time='MS')`. The dimensions are {listed(field.dims)}; dates are along {listed(dates)}."
            )
        return cls._of(_numbers(field, dim), dim, lambda numbers: numbers.resample(wanted))

    @classmethod
    def by(cls, field: xr.DataArray, group: Any) -> Groups:
        """Groups of equal labels, as ``field.groupby("time.month")`` forms them.

        Raises
        ------
        DimensionError
        """
        if isinstance(group, str):
            name = group.split(".", 1)[0]
            dims = field[name].dims if name in field.coords else ()
        else:
            dims = getattr(group, "dims", ())
        if len(dims) != 1 or dims[0] not in field.dims:
            raise DimensionError(
                f"groupby({shown(group)}): expected labels along one dimension of {listed(field.dims)}, e.g. "
                f"`groupby('time.month')`, or a DataArray of them."
            )
        return cls._of(_numbers(field, dims[0]), dims[0], lambda numbers: numbers.groupby(group))

    @classmethod
    def _of(cls, numbers: xr.DataArray, dim: Hashable, group: Callable[[xr.DataArray], Any]) -> Groups:
        try:
            grouped = group(numbers)
            counted = grouped.count()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DimensionError(
                f"Cells along {dim!r} cannot be grouped so: {shown(error, 120)}. Type e.g. `resample(time='MS')` or "
                f"`groupby('time.month')`."
            ) from None
        codes = np.full(numbers.size, -1)
        labels = counted.indexes[counted.dims[0]]
        for label, part in grouped:
            codes[part.values] = labels.get_loc(label)
        return cls(dim, codes, counted.coords[counted.dims[0]])


def _numbers(field: xr.DataArray, dim: Hashable) -> xr.DataArray:
    """The numbers of the cells along a dimension, with its coordinates."""
    coords = {name: c for name, c in field.coords.items() if c.dims == (dim,)}
    return xr.DataArray(np.arange(field.sizes[dim]), dims=(dim,), coords=coords)


@dataclass(frozen=True, eq=False)
class Grouped:
    """What ``r.resample(...)`` and ``r.groupby(...)`` are.

    Attributes
    ----------
    average : callable
        Of dimensions, weights, and how to form groups of a field.
    form : callable
        From a field to its groups.
    call : str
        How it was asked for.
    """

    average: Callable[..., Any]
    form: Callable[[xr.DataArray], Groups]
    call: str

    @interruptible
    def mean(self, dims: Any = None, weights: Any = None) -> Any:
        """The average of each group, over `dims` as well, with its true standard deviation.

        Parameters
        ----------
        dims : names, optional
            Averaged over beside the grouped one, e.g. ``("lat", "lon")``.
        weights : DataArray, "area" or "cos_lat", optional
            Of the cells.

        Returns
        -------
        Reconstruction
        """
        return self.average(dims, weights, self.form)

    def __repr__(self) -> str:
        return f"Groups of a reconstruction by {self.call}: .mean(dims, weights=)"

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        raise XgpfillError(
            f"Groups of a reconstruction have `.mean(dims, weights=...)`, with true standard deviations, but no "
            f"`.{name}`. For numbers that need none: `r.to_dataset().{self.call}.{name}(...)`."
        )
