"""The pictures of a reconstruction, by name: it is cut and completed here, and drawn by :mod:`xgpfill.plotting`."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any

from xgpfill.checks import require_array
from xgpfill.errors import AlignmentError, VariableError, listed, shown
from xgpfill.plotting.cells.frame import (
    frame_dim,
    refuse_others,
    require_named,
    require_one_field,
    selected,
    step_at,
)
from xgpfill.words import place_in_order

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    import xarray as xr
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
        return (
            "Pictures: .comparison(truth, time=), .map(what, time=), .facets(what), .series(sel=), "
            ".calibration(truth); of a vector .arrows(what, time=)"
        )

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
        from xgpfill.plotting.cells.layout import sites_of

        mean = self.field_of("mean")
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
            The nearest step, which the title tells; by default the first.
        sel : mapping, optional
            Labels along other dimensions, e.g. ``{"level": 850}``.
        ax : matplotlib Axes, optional
        """
        from xgpfill.plotting import field_map

        self._refuse_others("map", options, _arguments(field_map))
        (frame, mean), title = self._frames((self.field_of(what), self.field_of("mean")), time, sel, "map")
        drawn = field_map(frame, ax=ax, **_looks(what) | {"valid": _existence(mean)} | options)
        if title:
            own: Any = drawn.axes
            own.set_title(title)
        return drawn

    def arrows(
        self,
        what: str = "mean",
        *,
        time: Any = None,
        sel: Mapping[Hashable, Any] | None = None,
        ax: Axes | None = None,
        **options: Any,
    ) -> tuple[Collection, Any]:
        """Draw one frame of a vector as arrows over its speed or direction: :func:`xgpfill.plotting.vector_map`.

        Parameters
        ----------
        what : {"mean", "filled", "observed"}
        time, sel, ax : optional
            As in :meth:`map`.
        **options
            `colours`, `arrows` and others of ``vector_map``.

        Raises
        ------
        VariableError
            When the two variables are no vector.
        """
        from xgpfill.plotting import vector_map

        names = self.reconstruction.vector
        if names is None or what not in ("mean", "filled", "observed"):
            raise VariableError(
                f"Arrows are drawn of the mean, filled or observed values of a vector; there are none of {shown(what)} "
                f"here. Fit one, `fit(variable=('u', 'v'), vector=True)`, or type "
                f"`xgpfill.plotting.vector_map(u, v)`."
            )
        both = [Pictures(self.reconstruction, name) for name in names]
        fields = [each.field_of(kind) for kind in (what, "mean") for each in both]
        (u, v, mean, _), title = self._frames(fields, time, sel, "arrows")
        drawn = vector_map(u, v, ax=ax, **{"valid": _existence(mean)} | options)
        if title:
            own: Any = drawn[0].axes
            own.set_title(title)
        return drawn

    def comparison(
        self,
        truth: xr.DataArray | xr.Dataset | None = None,
        *,
        time: Any = None,
        sel: Mapping[Hashable, Any] | None = None,
        title: str | None = None,
        **others: Any,
    ) -> Figure:
        """Draw one frame: what was observed, gaps hatched, mean, standard deviation; with a truth, that and the error.

        Parameters
        ----------
        truth : DataArray, optional
            On the same cells, all times or that one.
        time, sel : optional
            As in :meth:`map`.
        title : str, optional
            Default: the time of the step that is drawn.
        **others
            There are none; each is refused with the call that works.
        """
        from xgpfill.plotting import comparison

        self._refuse_others("comparison", others)
        true = [] if truth is None else [_one_of(truth, self.variable)]
        fields = [self.field_of("mean"), self.field_of("std"), self.field_of("observed"), *true]
        (mean, std, observed, *true), moment = self._frames(fields, time, sel, "comparison")
        valid, title = _existence(mean), title if title is not None else moment or None
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
        """Draw several frames; `options` are those of :func:`xgpfill.plotting.facets`, ``steps=[0, 3]`` says which."""
        from xgpfill.plotting import facets

        self._refuse_others("facets", options, _arguments(facets))
        require_named(sel, self.field_of("mean"))
        field, mean = (selected(self.field_of(name), sel) for name in (what, "mean"))
        if field.ndim > 3:
            require_one_field(field, "facets")
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

        self._refuse_others("series", options, ("dim", "sigmas", "ax"))
        true = None if truth is None else _one_of(truth, self.variable)
        kind = "observed" if include_noise else "latent"
        bare = self.reconstruction.variance is None
        spread = None if bare else self.reconstruction.variance_of(self.variable, kind)
        return series(
            mean=self.field_of("mean"), variance=spread, observed=self.field_of("observed"), truth=true, draws=draws,
            sel=sel, **options,
        )  # fmt: skip

    def calibration(self, truth: xr.DataArray | xr.Dataset) -> Figure:
        """Draw whether the uncertainty fits a truth where nothing was observed: :func:`xgpfill.plotting.calibration`.

        Parameters
        ----------
        truth : DataArray
            On the same grid, in the same units.
        """
        from xgpfill.plotting import calibration

        self.field_of("mean")  # refused without `variable` where there are several
        return calibration(self.reconstruction, _one_of(truth, self.variable), variable=self.variable)

    # Inside

    def field_of(self, what: str) -> xr.DataArray:
        """One of the fields of one variable."""
        if what not in FIELDS:
            raise VariableError(f"There is no picture of {shown(what)}. Choose one of {listed(FIELDS)}.")
        if self.variable is None and hasattr(self.reconstruction.mean, "data_vars"):
            names = list(self.reconstruction.mean.data_vars)
            raise VariableError(
                f"This reconstruction has several variables, {listed(names)}. Choose one, e.g. "
                f"`reconstruction.plot[{names[0]!r}].map()`; both components of a vector together are "
                f"`reconstruction.plot.arrows()`."
            )
        found = self.reconstruction.std() if what == "std" else getattr(self.reconstruction, what)
        if found is None:
            raise VariableError("This reconstruction has no variance. Ask for it: `model.reconstruct(variance=True)`.")
        if self.variable is None:
            return found  # type: ignore[no-any-return]
        name = self.variable if what in ("mean", "filled", "observed") else f"{self.variable}_{what}"
        return found[name]  # type: ignore[no-any-return]

    def _refuse_others(self, call: str, options: Mapping[str, Any], known: Sequence[str] = ()) -> None:
        """Refuse what neither a picture nor what draws it takes."""
        if options:
            refuse_others(options, [*_arguments(getattr(type(self), call)), *known], self.field_of("mean"), call)

    @staticmethod
    def _frames(
        fields: Sequence[xr.DataArray], time: Any, sel: Mapping[Hashable, Any] | None, call: str
    ) -> tuple[tuple[xr.DataArray, ...], str]:
        """One step of every field (which may be a single one already), evaluated together, and its title."""
        import dask

        require_named(sel, *fields)
        frames, title, moment = [], "", time
        for field in (selected(field, sel) for field in fields):
            require_one_field(field, call)
            dim = frame_dim(field)
            if dim is None:
                frames.append(field)
                continue
            step, said = (0, place_in_order(field, dim, 0)) if moment is None else step_at(field, dim, moment)
            label = field.indexes[dim][step] if dim in field.indexes else step
            if title and label != moment:
                raise AlignmentError(
                    f"`truth` has the step {label} of {dim!r} nearest to {moment}, that of the reconstruction. Put it "
                    f"on the same steps: `truth.reindex({dim}=mean[{dim!r}])`."
                )
            frames.append(field.isel({dim: step}))
            title, moment = title or said, label
        return dask.compute(*frames), title


@dataclass(frozen=True, eq=False)
class ModelPictures:
    """What ``model.plot`` is.

    Attributes
    ----------
    model : FittedModel
    """

    model: Any

    def __repr__(self) -> str:
        return "ModelPictures: .covariance(), .variogram(), .amplitude()"

    def covariance(self, *, axes: Sequence[Axes] | None = None) -> Figure:
        """Draw the learned covariance against time lag and distance: :func:`xgpfill.plotting.covariance`.

        Parameters
        ----------
        axes : sequence of matplotlib Axes, optional
            One for each panel; None makes a figure.
        """
        from xgpfill.plotting import covariance

        return covariance(self.model, axes=axes)

    def variogram(self, *, axes: Sequence[Axes] | None = None) -> Figure:
        """Draw the variogram of the data beside the learned one: :func:`xgpfill.plotting.variogram`.

        Parameters
        ----------
        axes : sequence of matplotlib Axes, optional
            One for each panel; None makes a figure.
        """
        from xgpfill.plotting import variogram

        return variogram(self.model, axes=axes)

    def amplitude(self, *, sel: Mapping[Hashable, Any] | None = None, **options: Any) -> Collection:
        """Map the local amplitude: how many times more than elsewhere the field varies at each place.

        Parameters
        ----------
        sel : mapping, optional
            One of several fields, e.g. ``{"level": 500.0}``.
        **options
            Of :func:`xgpfill.plotting.field_map`.

        Returns
        -------
        matplotlib.collections.QuadMesh, or PathCollection for places

        Raises
        ------
        VariableError
            Where there is no place, as in a single series.
        """
        from xgpfill.plotting import field_map

        field = selected(self.model.amplitude, sel)
        if not field.ndim:
            raise VariableError(
                f"The field is a single series, whose amplitude is {float(field):.3g}; a map needs places."
            )
        require_one_field(field, "amplitude", "model")
        return field_map(field, **{"norm": "log"} | options)


def _arguments(function: Any) -> list[str]:
    """The names of the arguments that a function takes, its first one aside."""
    named = list(signature(function).parameters.values())[1:]
    return [each.name for each in named if each.kind is not each.VAR_KEYWORD]


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
