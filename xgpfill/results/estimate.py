"""A mean and a variance that unpack, and what follows from the two alone."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import xarray as xr

from xgpfill.cf.conventions import global_attrs, on_scale, placing, settled, with_bounds
from xgpfill.checks import checked_flag, checked_level
from xgpfill.errors import VariableError, XgpfillError, XgpfillWarning
from xgpfill.files import write_netcdf, write_zarr
from xgpfill.metrics.calibration import NORMAL
from xgpfill.metrics.scoring import check_variables, score_gaussian, score_vector
from xgpfill.options import interruptible
from xgpfill.results.attributes import bound_attrs, flags, standard_deviation, suffixed
from xgpfill.results.datasetlike import DatasetLike

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable
    from pathlib import Path

    from xgpfill.metrics.averaging import Dim
    from xgpfill.metrics.calibration import Calibration

Field = Any
"""A DataArray, or a Dataset when several variables were fitted."""


@dataclass(frozen=True, eq=False)
class Context:
    """What a Reconstruction knows besides its two fields.

    Attributes
    ----------
    observed : DataArray or Dataset
        The data it was conditioned on.
    noise : DataArray, float, or mapping of name to these
        Noise variance in data units².
    variance_kind : {"latent", "observed"}
    model : ModelSummary, mapping of name to these, or None
        The model in short, for reports.
    sources : frozenset of paths
        Files and stores that the data come from, which nothing is written onto.
    averager : callable, mapping of name to these, or None
        Averages the field, where its joint law is known.
    positions : Dataset, mapping of name to these, or None
        Which cells of the field are left.
    intervals : Intervals, mapping of name to these, or None
        How wide intervals are; None: as the normal law says.
    nearness : callable, mapping of name to these, or None
        Tells which cells are near data, where these are known.
    vector : (name, name) or None
        The variables that are the components of a vector.
    """

    observed: Field
    noise: Any
    variance_kind: str
    model: Any = None
    sources: frozenset[Path] = frozenset()
    averager: Any = None
    positions: Any = None
    intervals: Any = None
    nearness: Any = None
    vector: tuple[str, str] | None = None


OF_EACH = ("observed", "noise", "model", "averager", "positions", "intervals", "nearness")
"""What a context knows of each of several variables."""


class Estimate(DatasetLike):
    """Mean and variance of a field, and what follows from the two: intervals, scores, files.

    Attributes
    ----------
    mean : DataArray or Dataset
        In data units.
    variance : DataArray or Dataset, or None
        In data units², latent or observed as its attr ``variance_kind`` says; None when it was not asked for.
    context : Context
    """

    context: Context

    def __new__(cls, mean: Field, variance: Field, context: Context) -> Self:
        """Pair the two fields."""
        self = super().__new__(cls, (mean, variance))
        self.context = context
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:
        """What a copy is made from."""
        return (*self, self.context)

    @property
    def mean(self) -> Field:
        """The posterior mean."""
        return self[0]

    @property
    def variance(self) -> Field:
        """The posterior variance."""
        return self[1]

    @property
    def observed(self) -> Field:
        """The data it was conditioned on, gaps as NaN."""
        return self.context.observed

    @property
    def noise(self) -> Any:
        """Noise variance in data units²: a number, or a DataArray where there are standard errors."""
        return self.context.noise

    @property
    def variance_kind(self) -> str:
        """Whether the variance is that of the field, "latent", or of a new observation, "observed"."""
        return self.context.variance_kind

    @property
    def summary(self) -> Any:
        """The model in short, or a mapping of name to these; None where it is not known."""
        return self.context.model

    def of_variable(self, name: Hashable) -> Self:
        """That of one of several variables."""
        known, variance = self.context, None if self.variance is None else self.variance[suffixed(name, "variance")]
        parts: dict[str, Any] = {field: getattr(known, field) for field in OF_EACH}
        own: Any = {
            field: part[name] if isinstance(part, (Mapping, xr.Dataset)) else part for field, part in parts.items()
        }
        return type(self)(self.mean[name], variance, replace(known, vector=None, **own))

    def with_fields(self, mean: Field, variance: Field) -> Self:
        """The same of other numbers on the same cells."""
        return type(self)(mean, variance, self.context)

    @property
    def vector(self) -> tuple[str, str] | None:
        """The variables that are the components of a vector, to the east and to the north; None where none are."""
        return self.context.vector

    def __repr__(self) -> str:
        kind = "no" if self.variance is None else self.context.variance_kind
        lazy = "; lazy: to solve once, `r = r.compute()` or `r.persist()`" if self._lazy() else ""
        return f"Reconstruction(mean, variance) with {kind} variance; a Dataset: `r.to_dataset()`{lazy}\n{self.mean!r}"

    def _repr_html_(self) -> str:
        try:
            return str(self.to_dataset()._repr_html_())
        except XgpfillError:  # fields whose names clash stand for themselves
            return str(self.mean._repr_html_())

    def _each(self, change: Any) -> Any:
        """Apply to the one variable, or to each of several."""
        if isinstance(self.mean, xr.Dataset):
            return xr.Dataset({name: change(name) for name in self.mean.data_vars})
        return change(None)

    def _parts(self, name: Hashable | None) -> tuple[xr.DataArray, xr.DataArray, Any, xr.DataArray]:
        """Mean, variance, noise variance and observed values of one variable."""
        if self.variance is None:
            raise XgpfillError("This reconstruction has no variance. Ask for it: `model.reconstruct(variance=True)`.")
        if name is None:
            return self.mean, self.variance, self.context.noise, self.context.observed
        variance = self.variance[suffixed(name, "variance")]
        return self.mean[name], variance, self.context.noise[name], self.context.observed[name]

    def _parts_known(self) -> tuple[Any, ...]:
        """The fields; with them what was observed, for scores."""
        return self.mean, self.variance, self.context.noise, self.context.observed, self.context.positions

    def _with_parts(self, parts: Iterable[Any]) -> Self:
        mean, variance, noise, observed, positions = parts
        return type(self)(mean, variance, replace(self.context, noise=noise, observed=observed, positions=positions))

    def std(self) -> Field:
        """Standard deviation, of the same kind as the variance (``standard_name="… standard_error"``)."""

        def one(name: Hashable | None) -> xr.DataArray:
            return standard_deviation(*self._parts(name)[:2])

        return self._named(one, "std")

    def _named(self, one: Any, suffix: str) -> Field:
        if isinstance(self.mean, xr.Dataset):
            return xr.Dataset({suffixed(name, suffix): one(name) for name in self.mean.data_vars})
        return one(None)

    def variance_of(self, name: Hashable | None, kind: str) -> xr.DataArray:
        """Latent or observed variance of one variable (float64), whichever the reconstruction holds."""
        _, variance, noise, _ = self._parts(name)
        found = variance.astype(float)
        if kind != self.context.variance_kind:
            found = found + noise if kind == "observed" else (found - noise).clip(min=0.0)
        found = found.transpose(*variance.dims)
        return found.assign_attrs(variance.attrs | {"variance_kind": kind})

    def law_of(self, name: Hashable | None) -> tuple[Calibration, xr.DataArray | int]:
        """How residuals of one variable are distributed, and the number of the independent field of every cell."""
        intervals, positions = self.context.intervals, self.context.positions
        if name is not None and intervals is not None:
            intervals, positions = intervals[name], positions[name]
        return (NORMAL, 0) if intervals is None else (intervals.calibration, intervals.field(positions))

    def observation_std(self, name: Hashable | None = None) -> xr.DataArray:
        """Standard deviation of a new observation of one variable: the noise is in it, whatever the variance is of."""
        with xr.set_options(keep_attrs=False):
            return self.variance_of(name, "observed") ** 0.5

    @property
    def filled(self) -> Field:
        """The observed value where there is one, the mean in the gaps; a coordinate as ``sst_flag`` says which.

        It is that of :attr:`flag`, and goes where the values go: through selections, arithmetic and files. To put
        fields that were filled from other observations side by side, drop it: ``r.filled.drop_vars("sst_flag")``.
        """

        def one(name: Hashable | None) -> xr.DataArray:
            filled, flag = self._filled(name), self._flag(name)
            return filled if flag.name in filled.coords else filled.assign_coords({flag.name: flag.variable})

        return self._each(one)

    def _filled(self, name: Hashable | None) -> xr.DataArray:
        mean, observed = self._seen(name)
        filled: xr.DataArray = observed.astype(mean.dtype).where(observed.notnull() & mean.notnull(), mean)
        filled.attrs, filled.name, filled.encoding = dict(mean.attrs), mean.name, dict(mean.encoding)
        return settled(filled)

    def _flag(self, name: Hashable | None) -> xr.DataArray:
        return flags(*self._seen(name))

    def _seen(self, name: Hashable | None) -> tuple[xr.DataArray, xr.DataArray]:
        """Mean and observed values of one variable, on the same coordinates: those of the data may have old flags."""
        mean, observed = self.mean, self.context.observed
        mean, observed = (mean, observed) if name is None else (mean[name], observed[name])
        return mean, observed.drop_vars([c for c in observed.coords if c not in mean.coords])

    def interval(self, level: float = 0.95) -> tuple[Field, Field]:
        """Lower and upper bound of the central interval that holds a new observation with probability `level`.

        The noise is included whatever the kind of the variance. Widths are calibrated on hidden observations, see
        :attr:`xgpfill.model.FittedModel.calibration`, unless ``fit(calibrate=False)``.
        """
        level = checked_level(level)

        def bound(sign: float, side: str) -> Any:
            def one(name: Hashable | None) -> xr.DataArray:
                mean, (law, field) = self._parts(name)[0], self.law_of(name)
                half = law.half_width(level, field)
                found = (mean + sign * half * self.observation_std(name)).astype(mean.dtype)
                found = found.transpose(*mean.dims)
                found.attrs, found.name = bound_attrs(mean, level, side), suffixed(mean.name, side)
                found.encoding = placing(mean)[1]
                return settled(found)

            return self._named(one, side)

        return bound(-1.0, "lower"), bound(1.0, "upper")

    def score(self, truth: Field, dim: Dim = None, weights: xr.DataArray | str | None = None) -> xr.Dataset:
        """Score against the truth on the cells where it is known and was not observed; observed variance.

        Numbers when the reconstruction is in memory, as after :meth:`compute`, even if the truth is lazy; else lazy.

        Parameters
        ----------
        truth : DataArray (or Dataset when several variables were fitted)
            On the same grid, in the same units; dimensions in any order.
        dim : names, optional
            Dimensions to average over; all by default.
        weights : DataArray, "area" or "cos_lat", optional
            Weights of the cells; "area": their areas, "cos_lat": the cosine of their latitude, as :meth:`average` has.

        Returns
        -------
        Dataset
            rmse, mae, bias, crps (data units), nlpd, mean_variance (data units²), coverage95,
            variance_error_correlation, reduced_chi2, and cells, the number of cells scored; each as in
            :mod:`xgpfill.metrics`, NaN where no cell is scored. Of a vector also vector_rmse, speed_rmse and speed_bias
            (data units), and angle_mae (degrees), where a component was not observed.

        Raises
        ------
        AlignmentError
            When `truth` or `weights` lies on other cells, or `truth` has other units or another calendar.
        VariableError
            When `truth` is a Dataset for one field, or lacks a variable.

        Examples
        --------
        >>> import xgpfill
        >>> ds = xgpfill.datasets.synthetic_sst(days=8, nlat=8, nlon=8)
        >>> found = ds.sst.gpfill.fit(valid=ds.valid, method="exact").reconstruct()
        >>> scores = found.score(ds.truth, weights="cos_lat")
        >>> found.score(ds.truth, dim=("lat", "lon")).rmse.dims
        ('time',)
        """
        check_variables(truth, self.mean, "score(truth")
        if isinstance(self.mean, xr.Dataset):
            names = list(self.mean.data_vars)
            scores = [self._score_one(name, truth[name], dim, weights) for name in names]
            found = xr.concat(scores, xr.DataArray([str(n) for n in names], dims="variable", name="variable"))
            return found if self.vector is None else found.assign(self._score_vector(truth, dim, weights))
        return self._score_one(None, truth, dim, weights)

    def _score_one(self, name: Hashable | None, truth: Any, dim: Dim, weights: Any) -> xr.Dataset:
        parts = self._parts(name)
        mean, _, _, observed = parts
        how = {"dim": dim, "weights": self._weights_of(name, weights), "law": self.law_of(name)}
        scores = score_gaussian(mean, self.observation_std(name), truth, observed=observed, **how)
        if any(isinstance(part, xr.DataArray) and part.chunks is not None for part in parts):
            return scores
        scores = scores.compute()
        if not int(scores.cells.sum()) and bool(truth.notnull().any()):
            warnings.warn(
                "No cell is scored: scores are of cells that were not observed, and `truth` is known at none. Hide "
                "some before fitting, `da.where(xgpfill.masks.random(da, 0.1)).gpfill.fit()`, then `score(da)`.",
                XgpfillWarning,
                stacklevel=3,
            )
        return scores

    def _score_vector(self, truth: Any, dim: Dim, weights: Any) -> dict[Hashable, Any]:
        """The scores of a vector as a whole."""
        assert self.vector is not None
        first, second = self.vector
        how = {"dim": dim, "weights": self._weights_of(first, weights)}
        names = (first, second)
        both = [tuple(fields[name] for name in names) for fields in (self.mean, truth, self.context.observed)]
        scores = score_vector(*both, **how)
        lazy = any(part.chunks is not None for part in (*both[0], *both[2]))
        return dict((scores if lazy else scores.compute()).data_vars)

    def _weights_of(self, name: Hashable | None, weights: Any) -> Any:
        """Weights by a word are those of the cells in the whole grid, whatever was selected; others stay."""
        averager, positions = self.context.averager, self.context.positions
        if averager is None or not isinstance(weights, str):
            return weights
        if name is not None:
            averager, positions = averager[name], positions[name]
        return averager.weights(self._parts(name)[0], positions, weights)

    @property
    def flag(self) -> Field:
        """Which cells were observed and which are filled, a CF flag variable: 1 observed, 2 filled, 0 no field."""
        return self._named(self._flag, "flag")

    def to_dataset(self, *, filled: bool = False) -> xr.Dataset:
        """Mean, variance and standard deviation as one CF Dataset, tied by ``ancillary_variables``.

        Parameters
        ----------
        filled : bool
            The observed values where there are some instead of their mean, with a flag variable that says where.

        Raises
        ------
        VariableError
            When a field has the name of one of its coordinates.
        """
        self._require_own_name()
        fields, flagged = (self._each(self._filled), self.flag) if checked_flag(filled, "filled") else (self.mean, None)
        names = list(self.mean.data_vars) if isinstance(self.mean, xr.Dataset) else [None]
        std = None if self.variance is None else self.std()
        out: dict[Hashable, xr.DataArray] = {}  # all at once, since indexes of several levels come only together
        for name in names:
            mean = fields if name is None else fields[name]
            key = name if name is not None else (mean.name or "mean")
            others = {"variance": self.variance, "std": std, "flag": flagged}
            related = {suffixed(mean.name, k): v for k, v in others.items() if v is not None}
            _require_free_names(related, mean)
            out[key] = mean.assign_attrs(on_scale(mean.attrs))
            if related:
                out[key].attrs["ancillary_variables"] = " ".join(related)
            out |= {k: v if name is None else v[k] for k, v in related.items()}
        about = [fields if name is None else fields[name] for name in names]
        ds = xr.Dataset(out, attrs=global_attrs(about))
        return with_bounds(ds, self.context.observed, self.context.positions)

    def _require_own_name(self) -> None:
        """Refuse a field that is called as one of its coordinates; a Dataset cannot hold both."""
        name = None if isinstance(self.mean, xr.Dataset) else self.mean.name
        if name is not None and name in self.mean.coords:
            raise VariableError(
                f"The field has the name of its own coordinate {name!r}, so one Dataset cannot hold both. Rename the "
                f"data first, e.g. `da.rename('field')`."
            )

    @interruptible
    def to_netcdf(self, path: str | Path, **kwargs: Any) -> None:
        """Write :meth:`to_dataset` to netCDF, whole or not at all; `kwargs` as those of xarray.

        By default ``mode="w-"``: nothing that is there is replaced. ``mode="w"`` replaces it, but never what the lazy
        data come from.
        """
        write_netcdf(self.to_dataset(), path, kwargs, self.context.sources)

    @interruptible
    def to_zarr(self, path: str | Path, **kwargs: Any) -> None:
        """Write :meth:`to_dataset` to a Zarr store, each tile evaluated once, whole or not at all.

        `kwargs` and modes are those of :meth:`to_netcdf`.
        """
        write_zarr(self.to_dataset(), path, kwargs, self.context.sources)


def _require_free_names(names: Iterable[Hashable], field: xr.DataArray) -> None:
    """Refuse a coordinate of the data that is called as what goes with the field."""
    taken = next((name for name in names if name in field.coords), None)
    if taken is not None:
        raise VariableError(
            f"The data have a coordinate {taken!r}, which is what goes with the field {field.name!r} here. Rename it "
            f"first, e.g. `da.rename({{{taken!r}: {f'own_{taken}'!r}}})`."
        )
