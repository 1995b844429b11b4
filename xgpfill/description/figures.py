"""The figures of a description as frozen data, and as a Dataset. They are gathered and written out elsewhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from collections.abc import Hashable

    from xgpfill.description.survey import ValueRange


@dataclass(frozen=True)
class Axis:
    """One dimension.

    Attributes
    ----------
    name : str
    role : {"time", "y", "x", "site", "extra"}
    size : int
    first, last : str
        With their date or number.
    step : float
        Median length of a step, days along time, else in `units`; NaN for one cell.
    units : str
    regular : bool
        Whether all steps are alike, to a thousandth of one.
    notes : tuple of str
        Calendar, convention of longitudes, whether they go round the globe, poles.
    """

    name: str
    role: str
    size: int
    first: str = ""
    last: str = ""
    step: float = math.nan
    units: str = ""
    regular: bool = True
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gaps:
    """How large gaps are, in one unit.

    Attributes
    ----------
    count : int
    median, ninety, largest : float
        Median, 90th percentile and largest size.
    units : str
    where : str
        Date of the largest, for patches; how many are cut off by the ends of the series, for runs.
    """

    count: int
    median: float
    ninety: float
    largest: float
    units: str
    where: str = ""

    @classmethod
    def of(cls, sizes: Any, units: str, where: str = "") -> Gaps | None:
        """The distribution of these sizes; None when there is none."""
        if not sizes.size:
            return None
        return cls(
            sizes.size, float(np.median(sizes)), float(np.quantile(sizes, 0.9)), float(sizes.max()), units, where
        )


@dataclass(frozen=True, eq=False)
class Figures:
    """What a description is made of; its attributes are told of by `Description`."""

    name: str
    long_name: str
    units: str
    dtype: str
    axes: tuple[Axis, ...]
    geometry: str
    cells: int
    steps_read: int
    steps: int
    missing_share: float
    gap_share: float
    never_share: float
    counted_all: bool
    over_time: xr.DataArray | None
    over_space: xr.DataArray | None
    patches: Gaps | None
    areas: Gaps | None
    durations: Gaps | None
    values: ValueRange
    memory: str
    problems: tuple[str, ...]
    suggestions: dict[str, str]

    @property
    def roles(self) -> dict[str, Hashable]:
        """Dimensions by role."""
        return {axis.role: axis.name for axis in self.axes if axis.role != "extra"}

    def to_dataset(self) -> xr.Dataset:
        """The figures as a Dataset: scalars with units, and the gap shares over time and space."""
        ds = xr.Dataset(attrs={"title": f"Description of {self.name}"})
        for name in ("missing_share", "gap_share", "never_share"):
            ds[name] = ((), getattr(self, name), {"units": "1"})
        for name in ("minimum", "maximum", "mean", "std"):
            ds[name] = ((), getattr(self.values, name), {"units": self.units} if self.units else {})
        ds["count"], ds["infinities"] = ((), self.values.count), ((), self.values.infinities)
        for name, gaps in (("gap_patch", self.patches), ("gap_area", self.areas), ("gap_duration", self.durations)):
            if gaps is not None:
                for key in ("median", "ninety", "largest"):
                    ds[f"{name}_{key}"] = ((), getattr(gaps, key), {"units": gaps.units})
        for name, share in (("gap_share_over_time", self.over_time), ("gap_share_over_space", self.over_space)):
            if share is not None:
                ds[name] = share
        return ds
