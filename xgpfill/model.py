"""The fitted model: a learned covariance and its observations; reconstruct, predict, sample, save."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill import hyperparameters as tables
from xgpfill.checks import checked_flag
from xgpfill.errors import DataError, NotFittedError, shown
from xgpfill.fields import relative_scales
from xgpfill.files import sources_of
from xgpfill.options import canonical_sizes, checked_seed, interruptible, show_progress
from xgpfill.words import units_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike

    from xgpfill.calibration import Calibration, Intervals
    from xgpfill.engines.settings import Settings
    from xgpfill.grid.encode import Layout
    from xgpfill.grid.lattice import Lattice
    from xgpfill.grid.scaling import Scaling
    from xgpfill.kernels.prior import Prior
    from xgpfill.pictures import ModelPictures
    from xgpfill.report.summary import ModelSummary
    from xgpfill.results import Reconstruction
    from xgpfill.tiling.screening import Distances
    from xgpfill.tiling.solve import TileSolver

KernelLike = Any
"""A kernel object, its name, a GPyTorch kernel, a function of two arrays, or None."""
Tile = str | Mapping[str, int]
Halo = str | int | Mapping[str, int]


@dataclass(frozen=True)
class Record:
    """How learning went.

    Attributes
    ----------
    seconds : float
    evaluations : int
        Of the likelihood; 0 when nothing was learned.
    log_likelihood : float
        Composite, per observation; NaN when nothing was learned.
    choice : str
        The engine and why it was chosen.
    """

    seconds: float = 0.0
    evaluations: int = 0
    log_likelihood: float = float("nan")
    choice: str = ""


@dataclass(frozen=True, eq=False)
class FittedModel:
    """A covariance that was learned and the observations it is conditioned on. Immutable; what ``fit`` returns.

    Attributes
    ----------
    prior : Prior
        The terms, in data units², days and km.
    settings : Exact or Variational
        The engine.
    record : Record
        How learning went.
    share : float
        Share of cells with an observation; on lazy data estimated while fitting.
    screening : (float or None, float or None)
        Beyond which distance in time and in space observations hardly matter; None where it is not known or needed.
    valid : bool DataArray, True or None
        Where the field exists, as it was given.
    errors : DataArray or None
        Standard errors of the observations.
    typical_error : float or None
        Their median, for places that have none.
    opened : frozenset of paths
        Files and stores that the data were opened from.
    intervals : Calibration or None
        How wide intervals are; None: as the normal law says.
    """

    prior: Prior
    scaling: Scaling
    settings: Settings
    lattice: Lattice
    layout: Layout
    options: dict[str, Any]
    record: Record
    share: float
    valid: xr.DataArray | bool | None = None
    errors: xr.DataArray | None = None
    typical_error: float | None = None
    has_data: bool = True
    learned_shape: tuple[int, int] = (0, 0)
    opened: frozenset[Path] = frozenset()
    intervals: Calibration | None = None
    screening: Distances = (None, None)

    # What was learned

    @property
    def hyperparameters(self) -> xr.Dataset:
        """All hyperparameters in physical units; ``fit(hyperparameters=...)`` takes them back."""
        return tables.to_dataset(
            self.prior, self.lattice, units_of(self.layout.template), noise_is_scale=self.errors is not None,
            amplitude=self.scaling.amplitude, fields=relative_scales(self.scaling, self.layout), comment=self._jitter,
            anisotropy=self.layout.metric.anisotropy,
        )  # fmt: skip

    @property
    def _jitter(self) -> str:
        """What to say where noise was given as nothing and yet is not."""
        if self.errors is not None:
            return ""
        return tables.jitter(self.prior, self.scaling.reference, units_of(self.layout.template))

    @property
    def summary(self) -> ModelSummary:
        """The model in short, as its reconstructions remember it for their reports."""
        from xgpfill.summarising import summarised

        return summarised(self)

    @property
    def amplitude(self) -> xr.DataArray:
        """How much more the field varies at each place, and each of several fields, than `hyperparameters` say.

        Standard deviations at a place are those of the hyperparameters times this. It is one everywhere where hidden
        observations are not predicted better with another.

        Returns
        -------
        DataArray
            On the dimensions of the data but time; no units.
        """
        from xgpfill.amplitude import amplitude

        self._require_data()
        return amplitude(self)

    @property
    def fields_of_intervals(self) -> Intervals | None:
        """How wide intervals are, with the dimensions of the fields they are of."""
        if self.intervals is None:
            return None
        from xgpfill.calibration import Intervals

        sizes = {d: self.layout.template.sizes[d] for d in self.layout.roles.extra}
        return Intervals(self.intervals, sizes)

    @property
    def calibration(self) -> xr.Dataset:
        """How wide central intervals are, as hidden observations tell; used by intervals and scores.

        Returns
        -------
        Dataset (..., probability)
            ``half_width``, in standard deviations of an observation; ``normal_half_width``, that of a normal law; and
            ``hidden``, the number of observations that were hidden, for each independent field. Without calibration
            half-widths are those of the normal law.
        """
        from xgpfill.summarising import calibration_table

        return calibration_table(self)

    def __repr__(self) -> str:
        return self.summary.as_text()

    def _repr_html_(self) -> str:
        return self.summary.as_html()

    def covariance(self, time: ArrayLike | None = None, distance: ArrayLike | None = None) -> xr.Dataset:
        """The learned covariance of the field against time lag and against distance, of each term.

        Parameters
        ----------
        time : array of lags (days), optional
            At no distance. By default up to three of the longest lengthscale, at most half of the extent of the data;
            nothing when the model was learned on one time. They count back from the last day for a Brownian walk.
        distance : array of distances (km, or the unit of a plane), optional
            At no time lag. By default likewise. On a sphere along a great circle, on a plane along x; with an
            `anisotropy` to the north.

        Returns
        -------
        Dataset
            ``time_covariance(term, time_lag)``, ``space_covariance(term, distance)`` and the scalar ``noise`` (that of
            the median standard error, if there are such), in data units²; the lengthscales of the terms, in days and
            km. The covariance of the field is ``.sum("term")``.

        Raises
        ------
        CoordinateError
            When a lag is negative or no finite number.

        Examples
        --------
        >>> import xgpfill
        >>> ds = xgpfill.datasets.synthetic_sst(days=8, nlat=8, nlon=8)
        >>> model = ds.sst.gpfill.fit(valid=ds.valid, method="exact")
        >>> at_zero = model.covariance(time=[0.0]).time_covariance.sum("term").item()
        >>> bool(abs(at_zero - model.hyperparameters.variance.sum()) < 1e-9)
        True
        """
        return self.summary.covariance(time, distance)

    def variogram(self, *, bins: int = 15, seed: int = 0) -> xr.Dataset:
        """The variogram of the observations beside what the model expects on the same pairs of them.

        Half the mean squared difference of pairs of at most 2,000 observations, drawn with the seed: of pairs of about
        one place against time lag, of about one time against distance. Where the two go apart, the covariance is not
        that of the data. Noise is in both; a trend of the data is in the first alone.

        Parameters
        ----------
        bins : int
            Up to half of the longest lag; those without pairs are left out.
        seed : int

        Returns
        -------
        Dataset
            ``time_variogram(time_lag)``, ``time_learned(time_lag)`` and the number of ``time_pairs``, likewise
            ``space_...(distance)``, in data units²; lags are means of those in a bin.

        Raises
        ------
        DataError
            When `bins` is no positive integer.

        Examples
        --------
        >>> import xgpfill
        >>> ds = xgpfill.datasets.synthetic_sst(days=8, nlat=8, nlon=8)
        >>> model = ds.sst.gpfill.fit(valid=ds.valid, method="exact")
        >>> model.variogram(bins=5).space_variogram.dims
        ('distance',)
        """
        from xgpfill.variograms import variogram

        self._require_data()
        return variogram(self, bins, checked_seed(seed))

    @property
    def plot(self) -> ModelPictures:
        """Pictures: ``.covariance()``, ``.variogram()`` and ``.amplitude()``."""
        from xgpfill.pictures import ModelPictures

        return ModelPictures(self)

    # Other observations

    def condition(
        self,
        da: xr.DataArray,
        *,
        noise: xr.DataArray | None = None,
        noise_std: xr.DataArray | None = None,
        noise_variance: xr.DataArray | None = None,
        valid: xr.DataArray | bool | None = None,
        calibrate: bool | None = None,
    ) -> FittedModel:
        """The same covariance conditioned on other observations; nothing is learned but the widths of intervals.

        Parameters
        ----------
        da : DataArray
            On the fitted dimensions; other times, places and masks are welcome.
        noise_std, noise_variance : DataArray, optional
            Standard errors or their squares, needed when the model was fitted with such.
        noise : DataArray, optional
            The same as `noise_std`.
        valid : bool DataArray or True, optional
            Where the field exists; by default as in ``fit``, where it still lies on the same grid.
        calibrate : bool, optional
            Whether widths of intervals are fitted to hidden ones of these observations. By default they are for data in
            memory, if they were in ``fit``; of lazy data nothing is read and widths stay as they were.

        Returns
        -------
        FittedModel

        Examples
        --------
        >>> import xgpfill, xarray as xr
        >>> ds = xgpfill.datasets.synthetic_sst(days=8, nlat=8, nlon=8)
        >>> model = ds.sst.gpfill.fit(valid=ds.valid, method="exact")
        >>> later = model.condition(ds.sst.isel(time=slice(4, 8)))
        """
        from xgpfill.conditioning import conditioned

        noises = {"noise": noise, "noise_std": noise_std, "noise_variance": noise_variance}
        return conditioned(self, da, noises, valid, None if calibrate is None else checked_flag(calibrate, "calibrate"))

    # The field

    @interruptible
    def reconstruct(
        self,
        *,
        include_noise: bool = False,
        variance: bool = True,
        tile: Tile | None = None,
        halo: Halo | None = None,
        progress: bool | None = None,
    ) -> Reconstruction:
        """Posterior mean and variance on every cell of the grid.

        Lazy when the data are lazy: nothing is computed until asked, output chunks equal input chunks, and mean
        and variance of a tile come from one task.

        Parameters
        ----------
        include_noise : bool
            False: the variance of the field itself (latent). True: of a new observation of it (observed).
        variance : bool
            Whether the variance is wanted.
        tile, halo : optional
            Override those of ``fit``.
        progress : bool, optional
            Show a bar over tiles; by default in an interactive terminal or notebook.

        Returns
        -------
        Reconstruction
            Unpacks as ``mean, variance``, in data units and units².
        """
        from xgpfill.reconstruction import reconstruct

        self._require_data()
        noisy, variance = checked_flag(include_noise, "include_noise"), checked_flag(variance, "variance")
        show = show_progress(progress)
        return reconstruct(self, self._solver(tile, halo), include_noise=noisy, variance=variance, show=show)

    def reconstruct_to(
        self,
        path: str | Path,
        *,
        mode: str = "w-",
        resume: bool = True,
        include_noise: bool = False,
        variance: bool = True,
        tile: Tile | None = None,
        halo: Halo | None = None,
        progress: bool | None = None,
    ) -> None:
        """Write the reconstruction to a Zarr store, or a netCDF file, and go on where an earlier call was stopped.

        Every tile that is finished is kept in the folder ``<path>.tiles`` until all is written. When a run was stopped,
        or a worker of it, the same call again computes only the tiles that are not there. They are known by all they
        depend on: with other data, hyperparameters or tiles everything is computed anew, as it is in another session
        with a kernel that you brought, of which only that session knows what it does. On a cluster the folder must
        be one that all workers see.

        Parameters
        ----------
        path : str or Path
            Ends in ``.nc``, ``.nc4`` or ``.h5`` for a netCDF file; everything else is a Zarr store.
        mode : {"w-", "w"}
            "w-" writes where nothing is; "w" replaces what is there, when all is ready.
        resume : bool
            False: begin anew, and throw away the tiles of an earlier call.
        include_noise, variance, tile, halo, progress
            As in :meth:`reconstruct`.

        Examples
        --------
        >>> import xgpfill
        >>> ds = xgpfill.datasets.synthetic_sst(days=8, nlat=8, nlon=8)
        >>> model = ds["sst"].gpfill.fit(valid=ds["valid"])
        >>> model.reconstruct_to(path, tile={"time": 4})  # doctest: +SKIP
        """
        from xgpfill.streaming import reconstruct_to

        self._require_data()
        flags = {"resume": resume, "include_noise": include_noise, "variance": variance}
        checked = {name: checked_flag(flag, name) for name, flag in flags.items()}
        reconstruct_to(self, self._solver(tile, halo), path, mode=mode, show=show_progress(progress), **checked)

    def _member_errors(self, member: tuple[int, ...]) -> Any:
        errors = self.lattice.errors
        if errors is None:
            return None
        return errors[tuple(0 if n == 1 else m for n, m in zip(errors.shape, member, strict=False))]

    def within_valid(self, da: xr.DataArray) -> xr.DataArray:
        """NaN where the field does not exist; dimensions, attributes and chunks as they were."""
        if not isinstance(self.valid, xr.DataArray):
            return da
        exists = self.valid.reset_coords(drop=True)  # levels of an index stay
        masked = da.where(exists).transpose(*da.dims).assign_attrs(da.attrs)
        masked.encoding = da.encoding
        return masked if da.chunks is None else masked.chunk(dict(da.chunksizes))

    @property
    def noise_is_known(self) -> bool:
        """Whether the noise is that which was given, wherever the field varies more; else it varies with the field."""
        return self.errors is not None or self.prior.fixed_noise

    def _noise_variance(self) -> Any:
        from xgpfill.amplitude import noise_variance

        return noise_variance(self)

    @property
    def filled(self) -> xr.DataArray:
        """The observed values with the gaps filled by the mean."""
        return self.reconstruct().filled  # type: ignore[no-any-return]

    @property
    def convergence(self) -> xr.Dataset:
        """How the solves of the iterative engine went in this process, oldest first.

        Returns
        -------
        Dataset (solve)
            ``steps``; ``residual``, the largest true residual over its tolerance (at most 1 when it converged);
            ``tolerance``; the numbers of ``observations`` and of right-hand sides (``columns``); ``factor_seconds`` and
            ``solve_seconds``. Empty for other engines. Where a solve gave variances, what they were found to be worth:

            - ``probes``: cells whose variance was solved for exactly; ``std_error`` and ``worst_std_error``: median and
              largest relative error of their standard deviations;
            - ``mean_error``: error of means, in standard deviations, that the residual leaves; a hundredth of all
              cells have a larger one;
            - ``std_bias`` and ``region_bias``: relative error of standard deviations on the whole, and in the part of
              the domain where it is largest and no chance (0 where there is none), from errors of draws on all cells;
            - ``neighbours`` and ``patch``: observations that each cell was conditioned on locally, and cells that
              shared them.
        """
        records = [r for solver in self._solvers.values() for r in solver.records]
        names = ("steps", "residual", "tolerance", "observations", "columns", "factor_seconds", "solve_seconds")
        found = xr.Dataset({name: ("solve", [getattr(r, name) for r in records]) for name in names})
        if any(r.check is not None for r in records):
            from dataclasses import asdict

            checks = [{} if r.check is None else asdict(r.check) for r in records]
            told = sorted({name for check in checks for name in check})
            found = found.assign({name: ("solve", [check.get(name, np.nan) for check in checks]) for name in told})
        return found

    @property
    def trend(self) -> xr.Dataset:
        """The constant mean with its standard error (data units), for each independent field.

        With a local amplitude D the mean is m + D·b, of which this is the value where D is one; known, its error is 0.
        """
        from xgpfill.reconstruction import trend

        self._require_data()
        return trend(self, self._solver(None, None))

    @interruptible
    def predict(
        self, target: Any, *, include_noise: bool = False, covariance: bool = False, valid: xr.DataArray | None = None
    ) -> Any:
        """Posterior at other places and times.

        Parameters
        ----------
        target : Dataset, DataArray, or mapping of coordinate names to values
            Coordinates named as those of the data. Coordinates on their own dimensions give a grid; coordinates that
            share a dimension give points. What is left out is as in the data. Dates may be text, ``"2011-02-01"`` or
            ``"2011-02-01T12:00"``, `datetime.datetime` or `pandas.Timestamp`, read in the calendar of the data.
        include_noise : bool
            Add the noise variance.
        covariance : bool
            Return the mean and the joint covariance matrix instead, for up to 5,000 targets.
        valid : bool DataArray, optional
            Where the field exists among the targets, on some of their dimensions; the answer is NaN elsewhere. That
            of ``fit`` lies on the grid of the data and says nothing of other places.

        Returns
        -------
        Reconstruction, or (mean, covariance) DataArrays

        Examples
        --------
        >>> import xgpfill
        >>> ds = xgpfill.datasets.synthetic_sst(days=8, nlat=8, nlon=8)
        >>> model = ds.sst.gpfill.fit(valid=ds.valid, method="exact")
        >>> model.predict({"time": ["2021-04-16", "2021-04-17T12:00"], "lat": 40.0, "lon": 5.0}).mean.dims
        ('time',)
        """
        from xgpfill.prediction import predict

        self._require_data()
        include_noise, covariance = checked_flag(include_noise, "include_noise"), checked_flag(covariance, "covariance")
        return predict(self, target, include_noise=include_noise, covariance=covariance, valid=valid)

    @interruptible
    def aggregate(
        self, weights: xr.DataArray, *, include_noise: bool = False, normalize: bool = True
    ) -> Reconstruction:
        """Average the field with weights, over the dimensions that they share with the data; with its true variance.

        Errors of cells go together, so the variance of an average is not that of independent cells. It takes one solve
        for each average, of all observations together; where memory does not hold that, draws, as the attribute
        ``comment`` of the variance says. :meth:`Reconstruction.average` and ``.resample`` name dimensions and periods
        instead.

        Parameters
        ----------
        weights : DataArray
            On dimensions of the data; those of its own, e.g. `region`, tell averages apart. Zero or NaN: the cell does
            not count, nor does one where the field does not exist.
        include_noise : bool
            False: the variance of the average of the field. True: of that of new observations on the same cells.
        normalize : bool
            Whether weights are divided by their sum. False gives sums and, with negative weights, differences.

        Returns
        -------
        Reconstruction
            On the dimensions that are left, those of the weights' own first; data units, float64, lazy when the data
            are lazy.

        Raises
        ------
        AlignmentError, DataError
            When the weights do not lie on the data, or are no weights.
        MethodError
            When there are more averages than can be solved for.

        Examples
        --------
        >>> import xgpfill
        >>> ds = xgpfill.datasets.synthetic_sst(days=8, nlat=8, nlon=8)
        >>> model = ds.sst.gpfill.fit(valid=ds.valid, method="exact")
        >>> north = xgpfill.metrics.cos_lat_weights(ds.sst).where(ds.lat > 40)
        >>> mean, variance = model.aggregate(north)
        >>> mean.dims
        ('time', 'lon')
        """
        from xgpfill.aggregating import aggregate

        self._require_data()
        noisy, divided = checked_flag(include_noise, "include_noise"), checked_flag(normalize, "normalize")
        return aggregate(self, weights, include_noise=noisy, normalize=divided)

    @interruptible
    def sample(
        self,
        n: int = 1,
        *,
        target: Any = None,
        seed: int = 0,
        include_noise: bool = False,
        progress: bool | None = None,
    ) -> xr.DataArray:
        """Coherent draws of the field given the data, by Matheron's rule (Wilson et al. 2021, eq. 9).

        At a `target`, and where observations are scattered, they are draws from the joint law of the points.

        Parameters
        ----------
        n : int
            Number of draws.
        target : Dataset, DataArray, or mapping of coordinate names to values, optional
            Other places and times, as :meth:`predict` takes them; by default the cells of the data.
        seed : int
            Same seed, same draws, whatever the tiles.
        include_noise : bool
            Add noise to each draw.

        Returns
        -------
        DataArray (sample, ...)
            Data units; lazy when the data are lazy.
        """
        from xgpfill.sampling import sample

        self._require_data()
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
            raise DataError(f"n={shown(n)}: expected a positive number of samples, e.g. `model.sample(8, seed=1)`.")
        if "sample" in self.layout.template.dims or "sample" in self.layout.template.coords:
            raise DataError(
                "The data have a dimension or coordinate 'sample' already. Rename it, e.g. "
                "`da.rename(sample='member')`."
            )
        noisy = checked_flag(include_noise, "include_noise")
        how: dict[str, Any] = {"target": target, "include_noise": noisy, "show": show_progress(progress)}
        return sample(self, int(n), checked_seed(seed), **how)

    def save(self, path: str | Path, *, data: bool = True, mode: str = "w-") -> None:
        """Write the model to ``.nc`` or ``.zarr``; read it with :func:`xgpfill.load`. See :func:`xgpfill.io.save`."""
        from xgpfill.io import save

        save(self, path, data=data, mode=mode)

    # Inside

    def _require_data(self) -> None:
        if not self.has_data:
            raise NotFittedError(
                "This model was loaded without data. Give it observations: `model.condition(da)`, then call this on "
                "the result."
            )

    def _solver(self, tile: Tile | None, halo: Halo | None) -> TileSolver:
        """What each tile needs, with the tiles planned for this lattice."""
        names = self.layout.axis_names
        tile = canonical_sizes("tile", self.options["tile"] if tile is None else tile, names)
        halo = canonical_sizes("halo", self.options["halo"] if halo is None else halo, names)
        key = repr((tile, halo))
        if key not in self._solvers:
            from xgpfill.reconstruction import planned

            self._solvers[key] = planned(self, tile, halo)
        return self._solvers[key]

    @cached_property
    def sources(self) -> frozenset[Path]:
        """Files and stores that the data come from; nothing is written onto them."""
        return self.opened | sources_of(self.layout.template, self.errors, self.valid)

    @cached_property
    def _solvers(self) -> dict[str, TileSolver]:
        return {}
