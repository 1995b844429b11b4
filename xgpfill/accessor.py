"""The accessor ``.gpfill`` on DataArray and Dataset: it names every argument and delegates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xarray as xr

from xgpfill.errors import NotFittedError
from xgpfill.options import interruptible

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping

    from xgpfill.description import Description
    from xgpfill.engines.settings import Settings
    from xgpfill.joint.model import FittedJoint
    from xgpfill.kernels.spec import Kernel
    from xgpfill.model import FittedModel
    from xgpfill.results import Reconstruction
    from xgpfill.variables import FittedDataset
    from xgpfill.vectors import FittedVector

    Dims = Iterable[Hashable] | Mapping[str, Hashable] | Hashable | None
    Coords = Iterable[Hashable] | Hashable | None
    KernelLike = Kernel | Callable[..., Any] | str | None
    Sizes = str | Mapping[str, int]

_FIT_DOC = """Learn the covariance of the gappy field and condition on its observations.

        Parameters
        ----------{variable}
        dims : names in any order, or mapping, optional
            Dimensions to fit, e.g. ``("time", "lat", "lon")``; inferred when left out. A mapping says which is which:
            ``{{"time": "t", "y": "j", "x": "i"}}``. Other dimensions are independent fields that share the
            hyperparameters, each with a mean and a standard deviation of its own.
        coords : names, optional
            Of observations scattered along one dimension, the coordinates that say where and when each was made, e.g.
            ``dims=("obs",), coords=("time", "lat", "lon")``, or ``("x",)``. In any order; repeated ones are repeated
            measurements. Those of tracks and stations are recognised without.
        time_kernel, space_kernel : str, Kernel or None
            "matern12", "matern32", "matern52", "rbf", "rational_quadratic", "periodic", "spectral", "brownian" (time),
            "constant", or an object such as ``xgpfill.Matern(1.5, lengthscale=30.0)``; they compose with ``+`` and
            ``*``. Lengthscales are in days and km; a given one is where learning starts, unless the kernel has
            ``fixed=True``, while a given period is kept. ``variance=`` of a kernel is that of its term; where it and
            all else is held, the noise too, nothing is learned, and intervals are those of the normal law. None: no
            correlation along that axis. A GPyTorch kernel or a function of two arrays of coordinates is accepted too;
            see ``xgpfill.FromFunction``. "auto": the Matérn smoothness that predicts hidden observations best.
        combine : {{"anova", "product", "sum"}}, optional
            "anova" (default): a static space term, a common time term and `scales` space-time products. A fixed kernel,
            or None on one side, implies "product".
        scales : int
            Number of space-time products under anova.
        noise_std, noise_variance : float or DataArray, optional
            The noise as a standard deviation (data units) or as a variance (data units²), one number for all or one
            for each observation on the grid of the data. None learns one variance.
        noise_fixed : bool, optional
            Whether it stays as given: by default a number does, and of a DataArray a common factor is learned. With
            False learning starts from the number, with True the factor is one.
        noise : float or DataArray, optional
            A short name: ``noise=0.3`` is ``noise_variance=0.3``, a DataArray is ``noise_std``. Where it may have been
            meant otherwise, a warning says how it was read.
        trend : {{"constant"}}, number or None
            The mean of the field: "constant" is one that the data tell (ordinary kriging), None is zero, a number is
            that (simple kriging; data units).
        method : {{"auto", "exact", "iterative", "variational", "vecchia"}} or settings
            The engine, e.g. ``xgpfill.Iterative(num_samples=32)``. "auto" takes "exact" for up to 1,000 observations
            and beyond "iterative" on lattices; elsewhere "exact" to 4,000, "iterative" to 20,000, then "vecchia"; see
            ``xgpfill.select_method``.
        geometry : {{"auto", "sphere", "cylinder", "plane"}}
            What distance means; the sphere for latitude and longitude.
        anisotropy : bool, float, optional
            How many times as long lengthscales of space are to the east (or along x) as to the north: a number, or True
            to learn it; None: the same in all directions. By default a region is a plane then; on a sphere it is the
            ratio at the equator, which falls to one at the poles.
        valid : DataArray of True and False, 1 and 0, or 1 and NaN; or True, optional
            Where the field exists (sea); elsewhere the result is NaN. True: everywhere.
        hyperparameters : Dataset, optional
            Of an earlier model; nothing is learned then.
        tile, halo : optional
            Cells of a tile along some dimensions, and cells that it sees one by one beyond its own, e.g.
            ``tile={{"time": 30}}, halo={{"time": 5}}``. "auto": one tile whenever memory holds it, else the split that
            takes the least work. What lies beyond a halo is seen as averages; regular columns beyond it are not seen.
        check : {{"blocks", "full"}}
            On lazy data, whether to look for infinities only in what learning reads, or in all of it first.
        amplitude : bool
            Whether to look for places where the field and its noise vary more than elsewhere. A smooth map of how much
            is taken where it predicts hidden observations better; see :attr:`FittedModel.amplitude`.
        calibrate : bool
            Whether intervals, and they alone, are fitted to hidden observations; see :attr:`FittedModel.calibration`.
        device : {{"auto", "cpu", "cuda"}}
        dtype : {{"float64", "float32"}}
        seed : int
            Same seed, same answer.
        progress : bool, optional
            Show progress bars; by default when someone is watching.

        Returns
        -------
        {returns}

        Raises
        ------
        XgpfillError
            A ValueError that says what was found, what was expected and what to type.

        Examples
        --------
        >>> import xgpfill
        >>> ds = xgpfill.datasets.synthetic_sst(days=10, nlat=10, nlon=12)
        >>> {example}
        >>> mean, variance = model.reconstruct()
        >>> mean.dims
        ('time', 'lat', 'lon')
        """


_DESCRIBE_DOC = """Describe the field before anything is fitted: axes, gaps, values, and settings that suit it.

        The data are read once, chunk by chunk; of lazy data only where they are observed is kept in memory.

        Parameters
        ----------{variable}
        dims : names or mapping, optional
            Dimensions to fit, as in ``fit``; inferred when left out.
        valid : bool DataArray or True, optional
            Where the field exists; the figures are about these cells. Without it, places that are never observed are
            left out of the figures and their share is told apart; ``True`` counts them as gaps.
        max_cells : int
            With more cells than this, evenly spaced steps of time are read, which the description says; gap
            durations are left out then.

        Returns
        -------
        Description
            With all figures as attributes; ``.to_dataset()`` gives them as a Dataset.

        Raises
        ------
        XgpfillError
            When dimensions are missing or ambiguous, `valid` does not align, or the data are no real numbers. What
            else ``fit`` would refuse is listed among its ``problems``.

        Examples
        --------
        >>> import xgpfill
        >>> ds = xgpfill.datasets.synthetic_sst(days=10, nlat=10, nlon=12)
        >>> found = {example}
        >>> found.axes[0].name, found.axes[0].size
        ('time', 10)
        >>> found.durations.units
        'days'
        """


_PAD_DOC = """Continue the field past its edges, so that stencils, networks and tiles have sane borders there.

        Each field is continued by an autoregressive model that least squares fits to it, as linear prediction padding
        [1]_ does for convolutions, or by the Gaussian process of ``fit``. Longitudes that close wrap exactly.

        Parameters
        ----------
        pad_width : mapping of dimension to int or (int, int)
            Cells to add, before and after, along one dimension or two.{variable}
        mode : {{"lp2x1", "lp1x1", "lp2x3", "gp"}}
            What a cell is predicted from: one row before it, two (default), or two rows of three cells. "gp": the
            posterior mean of a model fitted to all dimensions that ``fit`` would take, which takes seconds to minutes.
            Modes that use no fit, "edge" or "reflect", are those of xarray's ``pad``.
        method : {{"cov_stab", "cov_sym_stab", "correlation"}}, optional
            How coefficients of linear prediction are found. "cov_stab": least squares, one set for each side, with
            poles reflected into the unit circle so that nothing grows; "cov_sym_stab": the same set for both sides;
            "correlation": from the autocorrelation under a Tukey window, what "lp2x3" takes.
        dims : names, optional
            The one or two dimensions that make a field; others are independent. By default those of `pad_width`, and
            of space the other direction. "gp" fits these alone.

        Returns
        -------
        {returns}
            Lazy if the data are. Dtype (integers become float64), attributes and coordinates are kept; those of
            dimensions go on in even steps, others are missing in the margins.

        Raises
        ------
        DataError
            When there are gaps; of lazy data when they are computed.
        CoordinateError
            When steps are uneven, or would lead beyond a pole or more than once round the globe.
        DimensionError, MethodError, VariableError
            When a name is unknown, or a field is smaller than what it is predicted from.

        References
        ----------
        .. [1] Niemitalo et al. 2025, Per-channel autoregressive linear prediction padding in tiled CNN processing of
           2D spatial data, arXiv:2502.12300.

        Examples
        --------
        >>> import xgpfill
        >>> ds = xgpfill.datasets.synthetic_sst(days=2, nlat=8, nlon=10)[["truth"]].fillna(15.0)
        >>> padded = {example}
        >>> padded.sizes["lat"], padded.sizes["lon"]
        (13, 14)
        """


class _Accessor:
    """What both accessors share: the last model fitted through this same object."""

    def __init__(self, data: Any) -> None:
        self._data = data
        self._model: Any = None

    def _last(self, call: str) -> Any:
        if self._model is None:
            raise NotFittedError(
                f"Nothing was fitted through this object, so `{call}` has no model; `ds['x']` makes a new object each "
                f"time. Keep the model: `model = da.gpfill.fit(...)`, then `model.{call}`."
            )
        return self._model

    def reconstruct(
        self,
        *,
        include_noise: bool = False,
        variance: bool = True,
        tile: Sizes | None = None,
        halo: str | int | Mapping[str, int] | None = None,
        progress: bool | None = None,
    ) -> Reconstruction:
        """Reconstruct with the last model fitted through this object; see :meth:`FittedModel.reconstruct`."""
        last = self._last("reconstruct()")
        return last.reconstruct(include_noise=include_noise, variance=variance, tile=tile, halo=halo, progress=progress)  # type: ignore[no-any-return]

    def predict(
        self, target: Any, *, include_noise: bool = False, covariance: bool = False, valid: xr.DataArray | None = None
    ) -> Any:
        """Predict with the last model fitted through this object; see :meth:`FittedModel.predict`."""
        last = self._last("predict(target)")
        return last.predict(target, include_noise=include_noise, covariance=covariance, valid=valid)

    def sample(
        self,
        n: int = 1,
        *,
        target: Any = None,
        seed: int = 0,
        include_noise: bool = False,
        progress: bool | None = None,
    ) -> Any:
        """Sample from the last model fitted through this object; see :meth:`FittedModel.sample`."""
        last = self._last("sample(n)")
        return last.sample(n, target=target, seed=seed, include_noise=include_noise, progress=progress)

    def aggregate(self, weights: xr.DataArray, *, include_noise: bool = False, normalize: bool = True) -> Any:
        """Average with the last model fitted through this object; see :meth:`FittedModel.aggregate`."""
        return self._last("aggregate(weights)").aggregate(weights, include_noise=include_noise, normalize=normalize)

    def condition(self, data: Any, **kwargs: Any) -> Any:
        """Condition the last model fitted through this object on other data; see :meth:`FittedModel.condition`."""
        return self._last("condition(da)").condition(data, **kwargs)

    def save(self, path: Any, *, data: bool = True, mode: str = "w-") -> None:
        """Save the last model fitted through this object; see :meth:`FittedModel.save`."""
        self._last("save(path)").save(path, data=data, mode=mode)

    @property
    def hyperparameters(self) -> Any:
        """Hyperparameters of the last model fitted through this object, in physical units."""
        return self._last("hyperparameters").hyperparameters

    @property
    def model(self) -> Any:
        """The last model fitted through this object."""
        return self._last("model")


@xr.register_dataarray_accessor("gpfill")
class DataArrayAccessor(_Accessor):
    """Fill the gaps of this DataArray: ``da.gpfill.fit(...)``."""

    @interruptible
    def fit(
        self,
        *,
        dims: Dims = None,
        coords: Coords = None,
        time_kernel: KernelLike = "matern32",
        space_kernel: KernelLike = "matern32",
        combine: str | None = None,
        scales: int = 2,
        noise: float | xr.DataArray | None = None,
        noise_std: float | xr.DataArray | None = None,
        noise_variance: float | xr.DataArray | None = None,
        noise_fixed: bool | None = None,
        trend: float | str | None = "constant",
        method: str | Settings = "auto",
        geometry: str = "auto",
        anisotropy: bool | float | None = None,
        valid: xr.DataArray | bool | None = None,
        hyperparameters: xr.Dataset | None = None,
        tile: Sizes = "auto",
        halo: str | int | Mapping[str, int] = "auto",
        check: str = "blocks",
        amplitude: bool = True,
        calibrate: bool = True,
        device: str = "auto",
        dtype: str = "float64",
        seed: int = 0,
        progress: bool | None = None,
    ) -> FittedModel:
        """Learn the covariance of the field; the full text is made below."""
        from xgpfill.fitting import fit  # torch loads here, once

        self._model = fit(
            self._data, dims=dims, coords=coords, time_kernel=time_kernel, space_kernel=space_kernel, combine=combine,
            scales=scales, noise=noise, noise_std=noise_std, noise_variance=noise_variance, noise_fixed=noise_fixed,
            trend=trend, method=method, geometry=geometry, anisotropy=anisotropy, valid=valid,
            hyperparameters=hyperparameters, tile=tile, halo=halo, check=check, amplitude=amplitude,
            calibrate=calibrate, device=device, dtype=dtype, seed=seed, progress=progress,
        )  # fmt: skip
        return self._model  # type: ignore[no-any-return]

    fit.__doc__ = _FIT_DOC.format(
        variable="", returns="FittedModel", example='model = ds["sst"].gpfill.fit(valid=ds["valid"], method="exact")'
    )

    @interruptible
    def describe(
        self,
        *,
        dims: Dims = None,
        valid: xr.DataArray | bool | None = None,
        max_cells: int = 50_000_000,
    ) -> Description:
        """Describe the field; the full text is made below."""
        from xgpfill.description import describe

        return describe(self._data, dims=dims, valid=valid, max_cells=max_cells)

    describe.__doc__ = _DESCRIBE_DOC.format(variable="", example='ds["sst"].gpfill.describe(valid=ds["valid"])')

    @interruptible
    def pad(
        self,
        pad_width: Mapping[Hashable, int | tuple[int, int]],
        *,
        mode: str = "lp2x1",
        method: str | None = None,
        dims: Coords = None,
    ) -> xr.DataArray:
        """Continue the field past its edges; the full text is made below."""
        from xgpfill.continuing import pad

        return pad(self._data, pad_width, mode=mode, method=method, dims=dims)

    pad.__doc__ = _PAD_DOC.format(
        variable="", returns="DataArray", example='ds["truth"].gpfill.pad({"lat": (2, 3), "lon": 2})'
    )

    @interruptible
    def fill(self, **fit_arguments: Any) -> xr.DataArray:
        """Fit and return the field with its gaps filled: observed where observed, the mean elsewhere.

        Parameters
        ----------
        **fit_arguments
            Those of :meth:`fit`.

        Examples
        --------
        >>> import xgpfill
        >>> ds = xgpfill.datasets.synthetic_sst(days=10, nlat=10, nlon=12)
        >>> filled = ds["sst"].gpfill.fill(valid=ds["valid"], method="exact")
        >>> bool(filled.where(ds["valid"], 0.0).notnull().all())
        True
        """
        return self.fit(**fit_arguments).filled


@xr.register_dataset_accessor("gpfill")
class DatasetAccessor(_Accessor):
    """Fill the gaps of variables of this Dataset: ``ds.gpfill.fit(variable="sst", ...)``."""

    @interruptible
    def fit(
        self,
        *,
        variable: Hashable | list[Hashable] | tuple[Hashable, ...] | None = None,
        vector: bool = False,
        joint: bool = False,
        dims: Dims = None,
        coords: Coords = None,
        time_kernel: KernelLike = "matern32",
        space_kernel: KernelLike = "matern32",
        combine: str | None = None,
        scales: int = 2,
        noise: float | xr.DataArray | None = None,
        noise_std: float | xr.DataArray | None = None,
        noise_variance: float | xr.DataArray | None = None,
        noise_fixed: bool | None = None,
        trend: float | str | None = "constant",
        method: str | Settings = "auto",
        geometry: str = "auto",
        anisotropy: bool | float | None = None,
        valid: xr.DataArray | bool | None = None,
        hyperparameters: xr.Dataset | None = None,
        tile: Sizes = "auto",
        halo: str | int | Mapping[str, int] = "auto",
        check: str = "blocks",
        amplitude: bool = True,
        calibrate: bool = True,
        device: str = "auto",
        dtype: str = "float64",
        seed: int = 0,
        progress: bool | None = None,
    ) -> FittedModel | FittedDataset | FittedVector | FittedJoint:
        """Learn the covariance of the field; the full text is made below."""
        from xgpfill.dataset import fit_dataset  # torch loads here, once

        self._model = fit_dataset(
            self._data, variable, vector=vector, joint=joint, dims=dims, coords=coords, time_kernel=time_kernel,
            space_kernel=space_kernel, combine=combine, scales=scales, noise=noise, noise_std=noise_std,
            noise_variance=noise_variance, noise_fixed=noise_fixed, trend=trend, method=method, geometry=geometry,
            anisotropy=anisotropy, valid=valid, hyperparameters=hyperparameters, tile=tile, halo=halo, check=check,
            amplitude=amplitude, calibrate=calibrate, device=device, dtype=dtype, seed=seed, progress=progress,
        )  # fmt: skip
        return self._model  # type: ignore[no-any-return]

    fit.__doc__ = _FIT_DOC.format(
        variable="""
        variable : name, list or tuple of names, optional
            What to fit. Needed when several variables have the fitted dimensions. A name gives DataArrays, a list
            gives Datasets, each variable fitted on its own.
        vector : bool
            Whether the two variables named are the components of a vector, to the east and to the north (or along x and
            y), such as a wind. They have one covariance then, that of a Cartesian vector projected on east and north,
            so that the field is smooth across the poles.
        joint : bool
            Whether the variables named are fitted together, so that each helps to fill the gaps of the others. What
            they share is learned; where hidden observations are not predicted better by it, a warning says so, and the
            variables stay apart.""",
        returns="FittedModel, FittedDataset for a list of variables, FittedVector for a vector, or FittedJoint",
        example='model = ds.gpfill.fit(variable="sst", valid=ds["valid"], method="exact")',
    )

    @interruptible
    def describe(
        self,
        *,
        variable: Hashable | None = None,
        dims: Dims = None,
        valid: xr.DataArray | bool | None = None,
        max_cells: int = 50_000_000,
    ) -> Description:
        """Describe the field; the full text is made below."""
        from xgpfill.description import describe
        from xgpfill.grid.variables import named_variable, only_variable

        da = only_variable(self._data, dims) if variable is None else named_variable(self._data, variable)
        return describe(da, dims=dims, valid=valid, max_cells=max_cells)

    describe.__doc__ = _DESCRIBE_DOC.format(
        variable="""
        variable : name, optional
            What to describe. Needed when several variables have the dimensions.""",
        example='ds.gpfill.describe(variable="sst", valid=ds["valid"])',
    )

    @interruptible
    def pad(
        self,
        pad_width: Mapping[Hashable, int | tuple[int, int]],
        *,
        variable: Hashable | list[Hashable] | tuple[Hashable, ...] | None = None,
        mode: str = "lp2x1",
        method: str | None = None,
        dims: Coords = None,
    ) -> xr.DataArray | xr.Dataset:
        """Continue the fields past their edges; the full text is made below."""
        from xgpfill.continuing import pad_dataset

        return pad_dataset(self._data, pad_width, variable=variable, mode=mode, method=method, dims=dims)

    pad.__doc__ = _PAD_DOC.format(
        variable="""
        variable : name, list or tuple of names, optional
            What to pad. A name gives a DataArray, a list a Dataset of these alone. By default all variables that have
            the dimensions are padded, each on its own; those that have none of them are kept, bounds of coordinates
            are not.""",
        returns="Dataset, or DataArray for one name",
        example='ds.gpfill.pad({"lat": (2, 3), "lon": 2})',
    )

    @interruptible
    def fill(self, **fit_arguments: Any) -> xr.DataArray | xr.Dataset:
        """Fit and return the field(s) with their gaps filled; the arguments are those of :meth:`fit`."""
        return self.fit(**fit_arguments).filled
