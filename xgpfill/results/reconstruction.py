"""What a reconstruction is: two DataArrays that unpack, and what follows from them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import xarray as xr

from xgpfill.cf.conventions import global_attrs, on_scale, placing, settled, with_bounds
from xgpfill.checks import checked_flag, checked_level
from xgpfill.errors import DataError, VariableError, XgpfillError, XgpfillWarning, shown
from xgpfill.files import write_netcdf, write_zarr
from xgpfill.metrics.calibration import NORMAL, Intervals
from xgpfill.metrics.scoring import check_variables, score_gaussian, score_vector
from xgpfill.options import interruptible
from xgpfill.results.datasetlike import DatasetLike
from xgpfill.results.decoding import Measure, bound_attrs, flags, standard_deviation, suffixed, variance_attrs
from xgpfill.results.grouping import Grouped, Groups
from xgpfill.results.nearness import as_days, as_length

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence
    from pathlib import Path

    from xgpfill.metrics.averaging import Dim
    from xgpfill.metrics.calibration import Calibration
    from xgpfill.results.pictures import Pictures

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


class Reconstruction(DatasetLike):
    """Mean and variance of the field; unpacks as ``mean, variance = model.reconstruct()``.

    Beside that it behaves as the Dataset of :meth:`to_dataset`: ``r["sst_std"]``, ``r.sel(time="2011-02")``, ``r.lat``,
    ``r.load()``, ``dask.compute(r)``. Selections are reconstructions again. Both fields come from the same tasks, so
    evaluate them together: :meth:`compute`, :meth:`persist`, :meth:`to_zarr`.

    Functions of xarray, which take nothing but their own classes, are given that Dataset: ``xr.merge([r.to_dataset(),
    other])``, ``xr.concat([a.to_dataset(), b.to_dataset()], "time")``, ``xr.align``, ``xr.combine_by_coords`` too.

    Attributes
    ----------
    mean : DataArray or Dataset
        In data units.
    variance : DataArray or Dataset, or None
        In data units², latent or observed as its attr ``variance_kind`` says; None when it was not asked for.
    """

    _context: Context

    def __new__(cls, mean: Field, variance: Field, context: Context) -> Self:
        """Pair the two fields."""
        self = super().__new__(cls, (mean, variance))
        self._context = context
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:
        """What a copy is made from."""
        return (*self, self._context)

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
        return self._context.observed

    @property
    def noise(self) -> Any:
        """Noise variance in data units²: a number, or a DataArray where there are standard errors."""
        return self._context.noise

    @property
    def vector(self) -> tuple[str, str] | None:
        """The variables that are the components of a vector, to the east and to the north; None where none are."""
        return self._context.vector

    @property
    def plot(self) -> Pictures:
        """Pictures: ``.comparison(truth, time=...)``, ``.map()``, ``.facets()``, ``.series(sel=...)``."""
        from xgpfill.results.pictures import Pictures

        return Pictures(self)

    def __repr__(self) -> str:
        kind = "no" if self.variance is None else self._context.variance_kind
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
            return self.mean, self.variance, self._context.noise, self._context.observed
        variance = self.variance[suffixed(name, "variance")]
        return self.mean[name], variance, self._context.noise[name], self._context.observed[name]

    def _parts_known(self) -> tuple[Any, ...]:
        """The fields; with them what was observed, for scores."""
        return self.mean, self.variance, self._context.noise, self._context.observed, self._context.positions

    def _with_parts(self, parts: Iterable[Any]) -> Self:
        mean, variance, noise, observed, positions = parts
        return type(self)(mean, variance, replace(self._context, noise=noise, observed=observed, positions=positions))

    def std(self) -> Field:
        """Standard deviation, of the same kind as the variance (``standard_name="… standard_error"``)."""

        def one(name: Hashable | None) -> xr.DataArray:
            return standard_deviation(*self._parts(name)[:2])

        return self._named(one, "std")

    def _named(self, one: Any, suffix: str) -> Field:
        if isinstance(self.mean, xr.Dataset):
            return xr.Dataset({suffixed(name, suffix): one(name) for name in self.mean.data_vars})
        return one(None)

    def _variance_of(self, name: Hashable | None, kind: str) -> xr.DataArray:
        """Latent or observed variance of one variable (float64), whichever the reconstruction holds."""
        _, variance, noise, _ = self._parts(name)
        found = variance.astype(float)
        if kind != self._context.variance_kind:
            found = found + noise if kind == "observed" else (found - noise).clip(min=0.0)
        found = found.transpose(*variance.dims)
        return found.assign_attrs(variance.attrs | {"variance_kind": kind})

    def _law(self, name: Hashable | None) -> tuple[Calibration, xr.DataArray | int]:
        """How residuals of one variable are distributed, and the number of the independent field of every cell."""
        intervals, positions = self._context.intervals, self._context.positions
        if name is not None and intervals is not None:
            intervals, positions = intervals[name], positions[name]
        return (NORMAL, 0) if intervals is None else (intervals.calibration, intervals.field(positions))

    def _observed_std(self, name: Hashable | None) -> xr.DataArray:
        with xr.set_options(keep_attrs=False):
            return self._variance_of(name, "observed") ** 0.5

    @interruptible
    def near_data(
        self, *, where_sd_below: float | None = None, max_gap: Any = None, max_distance: float | None = None
    ) -> Self:
        """The same with cells that are far from all data left empty: NaN in the mean, the variance, and what follows.

        What was observed stays. All conditions that are given must hold.

        Parameters
        ----------
        where_sd_below : float, optional
            The largest standard deviation, data units, of the kind that the variance is.
        max_gap : float (days), text or timedelta, optional
            How far in time an observation of the same place may be, e.g. ``"10D"``; with `max_distance` one of a place
            within that: (time / max_gap)² + (distance / max_distance)² ≤ 1.
        max_distance : float, optional
            How far the place of an observation may be, in km (or the unit of a plane), at any time without `max_gap`.

        Raises
        ------
        DataError
            When nothing is given, or it is no positive number.

        Examples
        --------
        >>> import xgpfill
        >>> ds = xgpfill.datasets.synthetic_sst(days=8, nlat=8, nlon=8)
        >>> found = ds.sst.gpfill.fit(valid=ds.valid, method="exact").reconstruct()
        >>> kept = found.near_data(max_gap="2D", max_distance=100.0).mean.notnull()
        >>> bool(kept.where(ds.sst.notnull(), True).all())
        True
        """
        sd = as_length(where_sd_below, "where_sd_below", "0.5")
        days, distance = as_days(max_gap), as_length(max_distance, "max_distance", "200.0")
        if sd is None and days is None and distance is None:
            raise DataError(
                "near_data() was given no limit. Type one, e.g. `r.near_data(max_distance=200.0)` (km), "
                "`max_gap='10D'` or `where_sd_below=0.5` (data units)."
            )

        kept = self._each(lambda name: self._kept(name, sd, days, distance))
        mean, variance, noise, observed, positions = self._parts_known()
        mean, variance = (None if field is None else _only(field, kept, mean) for field in (mean, variance))
        context = replace(self._context, averager=None)
        return type(self)(mean, variance, context)._with_parts((mean, variance, noise, observed, positions))

    def _kept(
        self, name: Hashable | None, sd: float | None, days: float | None, distance: float | None
    ) -> xr.DataArray:
        """Which cells of one variable are near data, or observed."""
        mean, observed = self._seen(name)
        near = xr.ones_like(mean, dtype=bool)
        if sd is not None:
            near = near & (self._parts(name)[1] <= sd**2)
        if days is not None or distance is not None:
            nearness, positions = self._context.nearness, self._context.positions
            if nearness is None:
                raise XgpfillError(
                    "Where the data of these cells are is not known here: they are averages already. Leave cells empty "
                    "before: `model.reconstruct().near_data(...)`."
                )
            if name is not None:
                nearness, positions = nearness[name], positions[name]
            near = near & nearness(positions, days, distance).drop_vars(list(near.coords), errors="ignore")
        return (near | observed.notnull()).transpose(*mean.dims).drop_attrs()

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
        mean, observed = self.mean, self._context.observed
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
                mean, (law, field) = self._parts(name)[0], self._law(name)
                half = law.half_width(level, field)
                found = (mean + sign * half * self._observed_std(name)).astype(mean.dtype)
                found = found.transpose(*mean.dims)
                found.attrs, found.name = bound_attrs(mean, level, side), suffixed(mean.name, side)
                found.encoding = placing(mean)[1]
                return settled(found)

            return self._named(one, side)

        return bound(-1.0, "lower"), bound(1.0, "upper")

    @interruptible
    def average(self, dims: Dim = None, weights: xr.DataArray | str | None = None) -> Reconstruction:
        """Average over dimensions, with the true variance of the average: errors of cells go together.

        It takes one solve for each average, of all observations together; where memory does not hold that, draws, as
        the attribute ``comment`` of the variance says. Of a selection it is the average of the cells selected; of
        predictions, of up to 5,000 targets.

        Parameters
        ----------
        dims : names, optional
            Averaged over; all by default.
        weights : DataArray, "area" or "cos_lat", optional
            Weights of the cells, zero or NaN where they do not count; "area": their areas, as
            :func:`xgpfill.metrics.area_weights` tells them; "cos_lat": the cosine of their latitude. Cells where the
            field does not exist never count.

        Returns
        -------
        Reconstruction
            Of the same kind of variance; float64.

        Raises
        ------
        MethodError
            When there are more averages, or targets of predictions, than can be solved for.
        XgpfillError
            When these are averages already.

        Examples
        --------
        >>> import xgpfill
        >>> ds = xgpfill.datasets.synthetic_sst(days=8, nlat=8, nlon=8)
        >>> found = ds.sst.gpfill.fit(valid=ds.valid, method="exact").reconstruct()
        >>> found.sel(lat=slice(36, 40)).average(("lat", "lon"), weights="cos_lat").std().dims
        ('time',)
        """
        return self._averaged(dims, weights)

    def resample(self, freq: str | None = None, **how: str) -> Grouped:
        """Form periods of time, ``r.resample(time="MS").mean(("lat", "lon"))``: as :meth:`average`, of each."""
        call = f"resample({shown(freq) if freq is not None else ', '.join(f'{k}={v!r}' for k, v in how.items())})"
        return Grouped(self._averaged, lambda field: Groups.resampled(field, freq, how), call)

    def groupby(self, group: Any) -> Grouped:
        """Form groups along a dimension, ``r.groupby("time.month").mean("lat")``: as :meth:`average`, of each."""
        return Grouped(self._averaged, lambda field: Groups.by(field, group), f"groupby({shown(group)})")

    def _averaged(self, dims: Any, weights: Any, form: Any = None) -> Reconstruction:
        known = self._context
        if known.averager is None:
            raise XgpfillError(
                "How the errors of these cells go together is not known here: they are averages already, or some were "
                "left empty. Average the reconstruction, over all dimensions at once: "
                "`model.reconstruct().average(dims)`."
            )

        def one(field: xr.DataArray, averager: Any, positions: Any) -> Reconstruction:
            groups = () if form is None else (form(field),)
            return averager(field, positions, dims, weights, *groups)  # type: ignore[no-any-return]

        if isinstance(self.mean, xr.Dataset):
            names = self.mean.data_vars
            return paired({n: one(self.mean[n], known.averager[n], known.positions[n]) for n in names})
        return one(self.mean, known.averager, known.positions)

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
        how = {"dim": dim, "weights": self._weights_of(name, weights), "law": self._law(name)}
        scores = score_gaussian(mean, self._observed_std(name), truth, observed=observed, **how)
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
        both = [tuple(fields[name] for name in names) for fields in (self.mean, truth, self._context.observed)]
        scores = score_vector(*both, **how)
        lazy = any(part.chunks is not None for part in (*both[0], *both[2]))
        return dict((scores if lazy else scores.compute()).data_vars)

    def _weights_of(self, name: Hashable | None, weights: Any) -> Any:
        """Weights by a word are those of the cells in the whole grid, whatever was selected; others stay."""
        averager, positions = self._context.averager, self._context.positions
        if averager is None or not isinstance(weights, str):
            return weights
        if name is not None:
            averager, positions = averager[name], positions[name]
        return averager.weights(self._parts(name)[0], positions, weights)

    @interruptible
    def report(
        self,
        path: str | Path,
        truth: Field | None = None,
        *,
        frames: int | slice | Sequence[int] | None = None,
        model: Any = None,
        title: str | None = None,
        progress: bool | None = None,
    ) -> None:
        """Write a report as PDF or HTML: settings, description, covariance, scores, and a page for each frame.

        It is written whole or not at all. Lazy fields are evaluated once, tile by tile, into a temporary folder beside
        `path`; pages are drawn one at a time, so hundreds of frames need no more memory than a few.

        Parameters
        ----------
        path : path
            Ending in ``.pdf`` or ``.html``.
        truth : DataArray (or Dataset when several variables were fitted), optional
            On the same grid, data units: adds the error of every frame, and scores.
        frames : int, slice or positions, optional
            Which frames get a page: every one by default, a number of evenly spaced ones, or those named.
        model : FittedModel, optional
            Needed only for a reconstruction that does not know its model.
        title : str, optional
        progress : bool, optional
            Show a bar over pages.

        Raises
        ------
        XgpfillError
            When `path` is no place for a report, `truth` does not align, or there is no variance.

        Examples
        --------
        >>> import xgpfill, tempfile, pathlib, matplotlib
        >>> matplotlib.use("Agg")
        >>> ds = xgpfill.datasets.synthetic_sst(days=4, nlat=6, nlon=8)
        >>> found = ds.sst.gpfill.fit(valid=ds.valid, method="exact").reconstruct()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found.report(pathlib.Path(folder) / "sst.html", ds.truth, frames=1)
        ...     [file.name for file in pathlib.Path(folder).iterdir()]
        ['sst.html']
        """
        from xgpfill.report import report

        report(self, path, truth, frames=frames, model=model, title=title, progress=progress)

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
        return with_bounds(ds, self._context.observed, self._context.positions)

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
        write_netcdf(self.to_dataset(), path, kwargs, self._context.sources)

    @interruptible
    def to_zarr(self, path: str | Path, **kwargs: Any) -> None:
        """Write :meth:`to_dataset` to a Zarr store, each tile evaluated once, whole or not at all.

        `kwargs` and modes are those of :meth:`to_netcdf`.
        """
        write_zarr(self.to_dataset(), path, kwargs, self._context.sources)


def _only(field: Field, kept: Any, mean: Field) -> Field:
    """A field, or a Dataset of them in the order of those of `mean`, with NaN elsewhere."""

    def one(da: xr.DataArray, mask: xr.DataArray) -> xr.DataArray:
        found = da.where(mask).assign_attrs(da.attrs)
        found.encoding = dict(da.encoding)
        return found

    if isinstance(field, xr.Dataset):
        pairs = zip(field.data_vars, mean.data_vars, strict=True)
        return xr.Dataset({own: one(field[own], kept[name]) for own, name in pairs})
    return one(field, kept)


def _require_free_names(names: Iterable[Hashable], field: xr.DataArray) -> None:
    """Refuse a coordinate of the data that is called as what goes with the field."""
    taken = next((name for name in names if name in field.coords), None)
    if taken is not None:
        raise VariableError(
            f"The data have a coordinate {taken!r}, which is what goes with the field {field.name!r} here. Rename it "
            f"first, e.g. `da.rename({{{taken!r}: {f'own_{taken}'!r}}})`."
        )


def by_component(
    whole: Reconstruction,
    dim: Hashable,
    attrs: Mapping[str, dict[str, Any]],
    measures: Mapping[str, Measure] | None = None,
) -> Reconstruction:
    """A reconstruction of a vector or of joint variables, which are along `dim`, as one of Datasets.

    Parameters
    ----------
    whole : Reconstruction
    dim : name
    attrs : mapping of name to attributes
        Of each component, in order, as those of its mean.
    measures : mapping of name to Measure, optional
        Of joint variables, which are in standardised units.
    """
    parts: dict[Hashable, Reconstruction] = {}
    for number, (name, own) in enumerate(attrs.items()):
        part = whole.isel({dim: number}, drop=True)
        part = part if measures is None else _measured(part, measures[name])
        known, mean = part._context, part.mean.rename(name).assign_attrs(own)
        variance = part.variance
        if variance is not None:
            kept = {key: variance.attrs[key] for key in ("comment",) if key in variance.attrs}
            said = variance_attrs(mean.attrs, known.variance_kind, name) | kept
            variance = variance.rename(suffixed(name, "variance")).drop_attrs(deep=False).assign_attrs(said)
        observed = known.observed.rename(name).assign_attrs(own)
        parts[name] = Reconstruction(mean, variance, replace(known, observed=observed))
    found = paired(parts)
    if measures is not None:
        return found
    first, second = parts
    return Reconstruction(*found, replace(found._context, vector=(str(first), str(second))))


def _measured(part: Reconstruction, own: Measure) -> Reconstruction:
    """A standardised reconstruction of one variable in its units, with its noise and its intervals."""
    known, variance, noise = part._context, part.variance, part._context.noise
    if not isinstance(noise, xr.DataArray):  # that of a typical observation
        if variance is not None and known.variance_kind == "observed":
            variance = variance.copy(data=variance.data + (own.noise - noise))
        noise = own.noise
    variance = None if variance is None else own.variances(variance)
    intervals = None if own.intervals is None else Intervals(own.intervals, {})
    averager = None if known.averager is None else _MeasuredAverager(known.averager, own)
    observed = known.observed if known.observed is None else own.values(known.observed)
    changed = {"noise": own.variances(noise), "observed": observed, "intervals": intervals, "averager": averager}
    return Reconstruction(own.values(part.mean), variance, replace(known, **changed))


@dataclass(frozen=True, eq=False)
class _MeasuredAverager:
    """Averages of one joint variable, in its units."""

    standardised: Any
    measure: Measure

    def __call__(self, *about: Any) -> Reconstruction:
        return _measured(self.standardised(*about), replace(self.measure, dtype="float64"))

    def weights(self, *about: Any) -> Any:
        return self.standardised.weights(*about)


def paired(parts: dict[Hashable, Reconstruction]) -> Reconstruction:
    """Reconstructions of several variables as one of Datasets."""
    mean = xr.Dataset({n: r.mean for n, r in parts.items()})
    first = next(iter(parts.values()))
    variance = (
        None if first.variance is None else xr.Dataset({suffixed(n, "variance"): r.variance for n, r in parts.items()})
    )
    observed = xr.Dataset({n: r._context.observed for n, r in parts.items()})
    each: dict[str, Any] = {
        what: {n: getattr(r._context, what) for n, r in parts.items()}
        for what in ("noise", "model", "averager", "positions", "intervals", "nearness")
    }
    if first._context.averager is None:
        each["averager"] = None
    if all(found is None for found in each["intervals"].values()):
        each["intervals"] = None
    sources = frozenset().union(*(r._context.sources for r in parts.values()))
    return Reconstruction(mean, variance, replace(first._context, observed=observed, sources=sources, **each))
