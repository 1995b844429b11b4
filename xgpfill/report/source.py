"""The frames of a reconstruction, one at a time: lazy fields are evaluated once and read back from disk."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import xarray as xr

from xgpfill.errors import DimensionError
from xgpfill.files import uniform_chunks
from xgpfill.plotting.cells.layout import sites_of
from xgpfill.words import written

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence

    from xgpfill.report.summary import ModelSummary

SLAB_BYTES = 2**25
"""About how much of the fields is in memory at once."""


class Fields(Protocol):
    """What a report is of: a field of one variable, or Datasets of several, with their uncertainty."""

    @property
    def mean(self) -> Any:
        """In data units."""

    @property
    def variance(self) -> Any:
        """In data units²; None where there is none."""

    @property
    def observed(self) -> Any:
        """The observations, NaN in gaps."""

    @property
    def variance_kind(self) -> str:
        """Whose variance it is, "latent" or "observed"."""

    @property
    def summary(self) -> ModelSummary | Mapping[Hashable, ModelSummary] | None:
        """The model in short."""

    def std(self) -> Any:
        """Standard deviation of the kind of the variance."""

    def observation_std(self, name: Hashable | None = None) -> xr.DataArray:
        """Standard deviation of a new observation."""

    def score(self, truth: Any, dim: Any = None) -> xr.Dataset:
        """Scores against a truth."""

    def of_variable(self, name: Hashable) -> Self:
        """That of one of several variables."""

    def with_fields(self, mean: Any, variance: Any) -> Self:
        """The same of other numbers on the same cells."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of one field.

    Attributes
    ----------
    fields : dict of str to DataArray
        "mean", "std" (of the kind that was asked for), "spread" (with noise), "observed", and "truth" if it is known.
    title : str
        Its date, and its place along other dimensions.
    """

    fields: dict[str, xr.DataArray]
    title: str


@contextmanager
def evaluated(found: Fields, beside: Path) -> Iterator[Fields]:
    """The reconstruction with mean and variance computed: as it is in memory, else in a store that lives as long.

    Mean and variance of a tile come from one task, so one pass evaluates each tile once.
    """
    if found.mean.chunks is None:
        yield found
        return
    with tempfile.TemporaryDirectory(dir=beside, prefix=".xgpfill-report-") as folder:
        plain = {"mean": found.mean, "variance": found.variance}
        ds = xr.Dataset({k: da.variable for k, da in plain.items()})
        ds = uniform_chunks(ds.drop_attrs())
        for variable in ds.variables.values():
            variable.encoding = {}
        ds.to_zarr(Path(folder) / "fields.zarr", consolidated=False)
        stored = xr.open_zarr(Path(folder) / "fields.zarr", consolidated=False)
        back = [da.copy(data=stored[k].data.rechunk(da.chunks)) for k, da in plain.items()]
        yield found.with_fields(*back)


def chosen(count: int, frames: Any) -> Sequence[int]:
    """Positions of the frames that get a page.

    Raises
    ------
    DimensionError
        When there are no such frames.

    Examples
    --------
    >>> list(chosen(10, 3)), list(chosen(10, slice(8, None))), list(chosen(10, [0, -1]))
    ([0, 4, 9], [8, 9], [0, 9])
    """
    if frames is None:
        return range(count)
    if isinstance(frames, slice):
        return range(count)[frames]
    if isinstance(frames, (int, np.integer)) and not isinstance(frames, bool):
        if frames < 0:
            raise DimensionError(f"frames={frames!r}: expected at least zero; for the last frame type `frames=[-1]`.")
        return [int(i) for i in np.unique(np.linspace(0, count - 1, min(int(frames), count)).astype(int))]
    try:
        return [range(count)[int(i)] for i in frames]
    except (TypeError, ValueError, IndexError):
        raise DimensionError(
            f"frames={frames!r}: there are {count} frames. Expected None (all), a number of evenly spaced ones, a "
            f"slice, or positions such as `frames=[0, {count - 1}]`."
        ) from None


def leading_dims(mean: xr.DataArray, dims: Mapping[str, Hashable]) -> tuple[Hashable, ...]:
    """The dimensions that tell frames apart: all but the two, or the one, that a page shows."""
    sites = sites_of(mean)
    if sites is not None:
        return tuple(d for d in mean.dims if d != sites.dim)
    space = [name for role, name in dims.items() if role in ("y", "x")]
    shown = space if len(space) == 2 else [*dims.values()]  # a series, or time against a line
    return tuple(d for d in mean.dims if d not in shown)


def frames_of(
    found: Fields, truth: xr.DataArray | None, leading: tuple[Hashable, ...], wanted: Sequence[int]
) -> Iterator[Frame]:
    """The wanted frames, read a few at a time."""
    fields = {"mean": found.mean, "std": found.std(), "spread": found.observation_std()}
    fields |= {"observed": found.observed} | ({} if truth is None else {"truth": truth})
    sizes = [found.mean.sizes[d] for d in leading]
    bytes_of_frame = max(1, 8 * len(fields) * found.mean.size // max(1, int(np.prod(sizes))))
    step = max(1, SLAB_BYTES // bytes_of_frame)
    for start in range(0, len(wanted), step):
        places = [
            dict(zip(leading, np.unravel_index(i, sizes), strict=True)) if leading else {}
            for i in wanted[start : start + step]
        ]
        for place in places if not leading else _together(fields, places, leading):
            yield place if isinstance(place, Frame) else _frame(fields, place)


def _together(
    fields: dict[str, xr.DataArray], places: list[dict[Hashable, Any]], leading: tuple[Hashable, ...]
) -> Iterator[Frame]:
    """Frames of the box of cells that holds them all along the last leading dimension, read at once."""
    import dask

    *outer, last = leading
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for place in places:
        groups.setdefault(tuple(place[d] for d in outer), []).append(place[last])
    for key, inner in groups.items():
        where = {**dict(zip(outer, key, strict=True)), last: inner}
        names = list(fields)
        slab = dict(zip(names, dask.compute(*(fields[n].isel(_own(fields[n], where)) for n in names)), strict=True))
        for i in range(len(inner)):
            yield _frame(slab, {last: i})


def _frame(fields: dict[str, xr.DataArray], place: dict[Hashable, Any]) -> Frame:
    cut = {name: da.isel(_own(da, place)).load() for name, da in fields.items()}
    for name in ("truth", "observed"):
        if name in cut:
            cut[name] = cut[name].transpose(*cut["mean"].dims).assign_attrs(cut["mean"].attrs)
    mean = cut["mean"]
    words = [
        f"{n}={written(c.values[()])}" for n, c in mean.coords.items() if c.ndim == 0 and n in _dims_of(fields["mean"])
    ]
    return Frame(cut, ", ".join(words))


def _dims_of(field: xr.DataArray) -> set[Hashable]:
    """Names of dimensions, and of scalar coordinates that were dimensions before."""
    return {*field.dims, *(n for n, c in field.coords.items() if c.ndim == 0)}


def _own(da: xr.DataArray, place: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
    return {d: i for d, i in place.items() if d in da.dims}
