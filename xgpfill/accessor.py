"""The accessor ``.gpfill`` on DataArray and Dataset: it names every argument and delegates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xarray as xr

from xgpfill.docstrings import DESCRIBE, FIT, PAD
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
        self,
        target: Any,
        *,
        include_noise: bool = False,
        covariance: bool = False,
        valid: xr.DataArray | None = None,
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
        depth_kernel: KernelLike = "default",
        combine: str | None = None,
        scales: int = 2,
        noise: float | xr.DataArray | None = None,
        noise_std: float | xr.DataArray | None = None,
        noise_variance: float | xr.DataArray | None = None,
        noise_fixed: bool | None = None,
        trend: float | str | None = "constant",
        method: str | Settings = "auto",
        geometry: str = "auto",
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
            self._data, dims=dims, coords=coords, time_kernel=time_kernel, space_kernel=space_kernel,
            depth_kernel=depth_kernel, combine=combine, scales=scales, noise=noise, noise_std=noise_std,
            noise_variance=noise_variance, noise_fixed=noise_fixed, trend=trend, method=method, geometry=geometry,
            valid=valid, hyperparameters=hyperparameters, tile=tile, halo=halo, check=check, amplitude=amplitude,
            calibrate=calibrate, device=device, dtype=dtype, seed=seed, progress=progress,
        )  # fmt: skip
        return self._model  # type: ignore[no-any-return]

    fit.__doc__ = FIT.format(
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

    describe.__doc__ = DESCRIBE.format(variable="", example='ds["sst"].gpfill.describe(valid=ds["valid"])')

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

    pad.__doc__ = PAD.format(
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
        depth_kernel: KernelLike = "default",
        combine: str | None = None,
        scales: int = 2,
        noise: float | xr.DataArray | None = None,
        noise_std: float | xr.DataArray | None = None,
        noise_variance: float | xr.DataArray | None = None,
        noise_fixed: bool | None = None,
        trend: float | str | None = "constant",
        method: str | Settings = "auto",
        geometry: str = "auto",
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
            space_kernel=space_kernel, depth_kernel=depth_kernel, combine=combine, scales=scales, noise=noise,
            noise_std=noise_std, noise_variance=noise_variance, noise_fixed=noise_fixed, trend=trend, method=method,
            geometry=geometry, valid=valid, hyperparameters=hyperparameters, tile=tile, halo=halo, check=check,
            amplitude=amplitude, calibrate=calibrate, device=device, dtype=dtype, seed=seed, progress=progress,
        )  # fmt: skip
        return self._model  # type: ignore[no-any-return]

    fit.__doc__ = FIT.format(
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

    describe.__doc__ = DESCRIBE.format(
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

    pad.__doc__ = PAD.format(
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
