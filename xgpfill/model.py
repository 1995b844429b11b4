"""The fitted model: it names what may be asked and delegates to :mod:`xgpfill.posterior`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.checks import checked_flag
from xgpfill.errors import DataError, shown
from xgpfill.options import checked_seed, interruptible, show_progress
from xgpfill.posterior import amplitude, averages, conditioning, field, points, samples, summarising, variogram
from xgpfill.posterior.state import State
from xgpfill.results.pictures import ModelPictures
from xgpfill.storage import saving, streaming

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr
    from numpy.typing import ArrayLike

    from xgpfill.posterior.state import Halo, Tile
    from xgpfill.report.summary import ModelSummary
    from xgpfill.results.reconstruction import Reconstruction


@dataclass(frozen=True, eq=False)
class FittedModel(State):
    """A covariance that was learned and the observations it is conditioned on. Immutable; what ``fit`` returns.

    What it is made of, the prior and the observations among it, are the attributes of
    :class:`~xgpfill.posterior.state.State`.
    """

    # What was learned

    @property
    def summary(self) -> ModelSummary:
        """The model in short, as its reconstructions remember it for their reports."""
        return summarising.summarised(self)

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
        self.require_data()
        return amplitude.amplitude(self)

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
        return summarising.calibration_table(self)

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
        self.require_data()
        return variogram.variogram(self, bins, checked_seed(seed))

    @property
    def plot(self) -> ModelPictures:
        """Pictures: ``.covariance()``, ``.variogram()`` and ``.amplitude()``."""
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
        noises = {"noise": noise, "noise_std": noise_std, "noise_variance": noise_variance}
        anew = None if calibrate is None else checked_flag(calibrate, "calibrate")
        return conditioning.conditioned(self, da, noises, valid, anew)

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
        self.require_data()
        noisy, variance = checked_flag(include_noise, "include_noise"), checked_flag(variance, "variance")
        show = show_progress(progress)
        return field.reconstruct(self, self.solver(tile, halo), include_noise=noisy, variance=variance, show=show)

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
        self.require_data()
        flags = {"resume": resume, "include_noise": include_noise, "variance": variance}
        checked = {name: checked_flag(flag, name) for name, flag in flags.items()}
        solver, show = self.solver(tile, halo), show_progress(progress)
        streaming.reconstruct_to(self, solver, path, mode=mode, show=show, **checked)

    @property
    def filled(self) -> xr.DataArray:
        """The observed values with the gaps filled by the mean."""
        return self.reconstruct().filled  # type: ignore[no-any-return]

    @property
    def trend(self) -> xr.Dataset:
        """The constant mean with its standard error (data units), for each independent field and each level of depth.

        With a local amplitude D the mean is m + D·b, of which this is the value where D is one; known, its error is 0.
        """
        self.require_data()
        return field.trend(self, self.solver())

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
        self.require_data()
        include_noise, covariance = checked_flag(include_noise, "include_noise"), checked_flag(covariance, "covariance")
        return points.predict(self, target, include_noise=include_noise, covariance=covariance, valid=valid)

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
        self.require_data()
        noisy, divided = checked_flag(include_noise, "include_noise"), checked_flag(normalize, "normalize")
        return averages.aggregate(self, weights, include_noise=noisy, normalize=divided)

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
        self.require_data()
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
            raise DataError(f"n={shown(n)}: expected a positive number of samples, e.g. `model.sample(8, seed=1)`.")
        if "sample" in self.layout.template.dims or "sample" in self.layout.template.coords:
            raise DataError(
                "The data have a dimension or coordinate 'sample' already. Rename it, e.g. "
                "`da.rename(sample='member')`."
            )
        noisy = checked_flag(include_noise, "include_noise")
        how: dict[str, Any] = {"target": target, "include_noise": noisy, "show": show_progress(progress)}
        return samples.sample(self, int(n), checked_seed(seed), **how)

    def save(self, path: str | Path, *, data: bool = True, mode: str = "w-") -> None:
        """Write the model to ``.nc`` or ``.zarr``; read it with :func:`xgpfill.load`."""
        saving.save(self, path, data=data, mode=mode)
