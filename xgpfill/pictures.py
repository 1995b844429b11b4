"""The pictures of a reconstruction, by name: it is cut and completed here, and drawn by :mod:`xgpfill.plotting`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from xgpfill.checks import checked_sel, require_array
from xgpfill.errors import AlignmentError, DimensionError, VariableError, listed, shown
from xgpfill.grid.dims import roles_if_told
from xgpfill.plotting._place import first_label

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.collections import Collection
    from matplotlib.figure import Figure

FIELDS = ("mean", "std", "variance", "filled", "observed")


@dataclass(frozen=True, eq=False)
class Pictures:
    """What ``reconstruction.plot`` is; with several variables choose one, ``reconstruction.plot["sst"]``.

    Attributes
    ----------
    reconstruction : Reconstruction
    variable : name or None
        Which of several.
    """

    reconstruction: Any
    variable: Hashable | None = None

    def __getitem__(self, variable: Hashable) -> Pictures:
        """The pictures of one of several variables."""
        names = list(getattr(self.reconstruction.mean, "data_vars", ()))
        if variable not in names:
            raise VariableError(f"There is no variable {variable!r} in this reconstruction; there are {listed(names)}.")
        return Pictures(self.reconstruction, variable)

    def __repr__(self) -> str:
        return "Pictures: .comparison(truth, time=), .map(what, time=), .facets(what), .series(sel=)"

    def __call__(self, truth: xr.DataArray | xr.Dataset | None = None, **options: Any) -> Any:
        """Draw what suits the field: a comparison of one frame, or a series where there is only time, or only a line.

        Without a variance it is the map of the mean. `options` are those of :meth:`comparison`, :meth:`series` or
        :meth:`map`.

        Parameters
        ----------
        truth : DataArray, optional

        Returns
        -------
        matplotlib Figure, or Axes of a series, or Collection of a map
        """
        from xgpfill.plotting._layout import sites_of

        mean = self._field("mean")
        if mean.ndim == 1 and sites_of(mean) is None:
            return self.series(truth=truth, **{"dim": mean.dims[0]} | options)
        if self.reconstruction.variance is None and truth is None:
            return self.map(**options)
        return self.comparison(truth, **options)

    def map(
        self,
        what: str = "mean",
        *,
        time: Any = None,
        sel: Mapping[Hashable, Any] | None = None,
        ax: Axes | None = None,
        **options: Any,
    ) -> Collection:
        """Draw one frame; `options` are those of :func:`xgpfill.plotting.field_map`.

        Parameters
        ----------
        what : {"mean", "std", "variance", "filled", "observed"}
        time : date or number, optional
            The nearest step; by default the first.
        sel : mapping, optional
            Labels along other dimensions, e.g. ``{"level": 850}``.
        ax : matplotlib Axes, optional
        """
        from xgpfill.plotting import field_map

        frame, mean = self._frames((self._field(what), self._field("mean")), time, sel, "map")
        return field_map(frame, ax=ax, **_looks(what) | {"valid": _existence(mean)} | options)

    def comparison(
        self,
        truth: xr.DataArray | xr.Dataset | None = None,
        *,
        time: Any = None,
        sel: Mapping[Hashable, Any] | None = None,
        title: str | None = None,
    ) -> Figure:
        """Draw one frame: what was observed, gaps hatched, mean, standard deviation; with a truth, that and the error.

        Parameters
        ----------
        truth : DataArray, optional
            On the same cells, all times or that one.
        time, sel : optional
            As in :meth:`map`.
        title : str, optional
            Default: the time.
        """
        from xgpfill.plotting import comparison

        true = [] if truth is None else [_one_of(truth, self.variable)]
        fields = [self._field("mean"), self._field("std"), self._field("observed"), *true]
        mean, std, observed, *true = self._frames(fields, time, sel, "comparison")
        valid = _existence(mean)
        if not true:
            return comparison(observed, mean, std, valid=valid, title=title)
        error = mean - true[0]
        if dict(error.sizes) != dict(mean.sizes):
            raise AlignmentError(
                f"`truth` shares {dict(error.sizes)} cells with the reconstruction, which has {dict(mean.sizes)}. "
                f"Put it on the same ones: `truth.reindex_like(mean, method='nearest', tolerance=1e-6)`."
            )
        return comparison(true[0], mean, std, error=error, observed=observed, valid=valid, title=title)

    def facets(self, what: str = "mean", *, sel: Mapping[Hashable, Any] | None = None, **options: Any) -> Figure:
        """Draw several frames; `options` are those of :func:`xgpfill.plotting.facets`."""
        from xgpfill.plotting import facets

        field, mean = (_selected(self._field(name), sel) for name in (what, "mean"))
        if field.ndim > 3:
            _require_one_field(field, "facets")
        return facets(field, **_looks(what) | {"valid": mean.notnull()} | options)

    def series(
        self,
        *,
        sel: Mapping[Hashable, Any] | None = None,
        truth: xr.DataArray | xr.Dataset | None = None,
        draws: xr.DataArray | None = None,
        include_noise: bool = True,
        **options: Any,
    ) -> Axes:
        """Draw the field over time at one place, as :func:`xgpfill.plotting.series`, with its observations.

        Parameters
        ----------
        sel : mapping, optional
            The place, e.g. ``{"lat": 39.9, "lon": 3.5}``.
        truth, draws : DataArray, optional
        include_noise : bool
            True: bands of the observed variance, which hold observations; False: of the latent one, of the field.
        **options
            `dim`, `sigmas` and `ax`, as there.
        """
        from xgpfill.plotting import series

        true = None if truth is None else _one_of(truth, self.variable)
        kind = "observed" if include_noise else "latent"
        bare = self.reconstruction.variance is None
        spread = None if bare else self.reconstruction._variance_of(self.variable, kind)
        return series(
            mean=self._field("mean"), variance=spread, observed=self._field("observed"), truth=true, draws=draws,
            sel=sel, **options,
        )  # fmt: skip

    # Inside

    def _field(self, what: str) -> xr.DataArray:
        """One of the fields of one variable."""
        if what not in FIELDS:
            raise VariableError(f"There is no picture of {shown(what)}. Choose one of {listed(FIELDS)}.")
        if self.variable is None and hasattr(self.reconstruction.mean, "data_vars"):
            names = list(self.reconstruction.mean.data_vars)
            raise VariableError(
                f"This reconstruction has several variables, {listed(names)}. Choose one, e.g. "
                f"`reconstruction.plot[{names[0]!r}].map()`."
            )
        found = self.reconstruction.std() if what == "std" else getattr(self.reconstruction, what)
        if found is None:
            raise VariableError("This reconstruction has no variance. Ask for it: `model.reconstruct(variance=True)`.")
        if self.variable is None:
            return found  # type: ignore[no-any-return]
        name = self.variable if what in ("mean", "filled", "observed") else f"{self.variable}_{what}"
        return found[name]  # type: ignore[no-any-return]

    @staticmethod
    def _frames(
        fields: Sequence[xr.DataArray], time: Any, sel: Mapping[Hashable, Any] | None, call: str
    ) -> tuple[xr.DataArray, ...]:
        """One step of every field (which may be a single one already), evaluated together."""
        import dask

        frames = []
        for field in (_selected(field, sel) for field in fields):
            _require_one_field(field, call)
            dim = _time_dim(field)
            step = 0 if dim is None or time is None else _step(field, dim, time)
            frames.append(field if dim is None else field.isel({dim: step}))
        found: tuple[xr.DataArray, ...] = dask.compute(*frames)
        return found


def _looks(what: str) -> dict[str, Any]:
    """A spread has other colours than a field, which start at zero; of what was observed the gaps are hatched."""
    return {"cmap": "magma", "vmin": 0.0} if what in ("std", "variance") else {"hatched": what == "observed"}


def _existence(mean: xr.DataArray) -> xr.DataArray | None:
    """Where the field exists: the mean is NaN only elsewhere. None when that is everywhere or nowhere."""
    exists = mean.notnull()
    return exists if bool(exists.any()) and not bool(exists.all()) else None


def _one_of(truth: Any, variable: Hashable | None) -> xr.DataArray:
    """The truth of one variable."""
    if not hasattr(truth, "data_vars"):
        require_array(truth, "truth")
        return truth  # type: ignore[no-any-return]
    if variable is None or variable not in truth:
        raise VariableError(
            f"`truth` is a Dataset of {listed(list(truth.data_vars))}; expected a DataArray. Give one of them, e.g. "
            f"`truth[{next(iter(truth.data_vars), 'sst')!r}]`."
        )
    return truth[variable]  # type: ignore[no-any-return]


def _selected(field: xr.DataArray, sel: Mapping[Hashable, Any] | None) -> xr.DataArray:
    """The field at labels (indices where there are none) of dimensions that it has."""
    wanted = checked_sel(sel)
    here = {name: value for name, value in wanted.items() if name in field.dims}
    try:
        return field.sel(here)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DimensionError(
            f"sel={shown(wanted)}: {shown(error, 120)}. Give labels that are there, e.g. those of "
            f"`reconstruction.mean[{next(iter(here))!r}]`."
        ) from None


def _time_dim(field: xr.DataArray) -> Hashable | None:
    """The dimension of time, where there are more than the two of a map, or the one of a list of places."""
    from xgpfill.plotting._layout import sites_of

    roles = roles_if_told(field)
    if roles is None:
        return field.dims[0] if field.ndim == 3 else None
    return roles.time if field.ndim > (2 if sites_of(field) is None else 1) else None


def _require_one_field(field: xr.DataArray, call: str) -> None:
    """Refuse several independent fields, levels or members, where one is drawn.

    Raises
    ------
    DimensionError
    """
    roles = roles_if_told(field)
    if roles is None or not roles.extra:
        return
    firsts = {str(dim): first_label(field, dim) for dim in roles.extra}
    raise DimensionError(
        f"There is one field for each {listed(roles.extra)}, and a picture is of one. Choose it: "
        f"`reconstruction.plot.{call}(sel={firsts!r})`."
    )


def _step(field: xr.DataArray, dim: Hashable, time: Any) -> int:
    """The step nearest to a time, or the first within a month or year; an index where steps have no labels."""
    if dim not in field.indexes:
        if (
            isinstance(time, bool)
            or not isinstance(time, int | np.integer)
            or not -field.sizes[dim] <= time < field.sizes[dim]
        ):
            raise DimensionError(
                f"time={shown(time)}: the {field.sizes[dim]} steps of {dim!r} have no labels. Give an index, e.g. "
                f"`time=0`."
            )
        return int(time)
    times = field.indexes[dim]
    steps = xr.DataArray(np.arange(times.size), coords={dim: times}, dims=(dim,))
    try:
        found = _within(steps, dim, time)
        return _nearest(steps, dim, time) if found is None else found
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        raise DimensionError(
            f"time={shown(time)}: the steps of {dim!r} run from {times[0]} to {times[-1]}. Give one of their kind, "
            f"e.g. `time={str(times[0])!r}`."
        ) from None


def _within(steps: xr.DataArray, dim: Hashable, time: Any) -> int | None:
    """The first step that a label says, which may be a month or a year in text; None when it says none."""
    try:
        found = steps.sel({dim: time}).values.ravel()
    except (KeyError, TypeError, ValueError):
        return None
    return int(found[0]) if found.size else None


def _nearest(steps: xr.DataArray, dim: Hashable, time: Any) -> int:
    """The step nearest to a time, no farther beyond the ends than half a step.

    Raises
    ------
    KeyError
        When it lies beyond them.
    """
    times = steps.indexes[dim]
    step = int(steps.sel({dim: time}, method="nearest").values.flat[0])
    at = pd.Timestamp(time) if times.dtype.kind == "M" else time
    ordered = times.sort_values()
    half = np.median(np.diff(ordered)) / 2 if times.size > 1 else 0 * (ordered[0] - ordered[0])
    if not ordered[0] - half <= at <= ordered[-1] + half:
        raise KeyError(time)
    return step
