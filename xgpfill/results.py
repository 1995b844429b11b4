"""What a reconstruction is: two DataArrays that unpack, and what follows from them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import xarray as xr

from xgpfill.errors import AlignmentError, VariableError, XgpfillError
from xgpfill.files import uniform_chunks, written_whole
from xgpfill.metrics import Dim, normal_quantile, score_gaussian

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

    from xgpfill.grid.encode import Layout

Field = Any
"""A DataArray, or a Dataset when several variables were fitted."""

_ENCODING_KEPT = ("zlib", "complevel", "shuffle", "compression")


def decode(layout: Layout, data: Any, *, kind: str = "mean", note: str = "") -> xr.DataArray:
    """Canonical values (extra..., time, y, x) as a DataArray like the user's.

    Parameters
    ----------
    layout : Layout
    data : array
        numpy or dask.
    kind : {"mean", "variance"}
        What it is: decides name, units and CF attributes.
    note : str
        The ``variance_kind`` of a variance: "latent" or "observed".
    """
    template = layout.template
    dtype = template.dtype if template.dtype.kind == "f" else np.dtype(np.float64)
    restored = layout.restore(data).astype(dtype)
    da = xr.DataArray(restored, coords=template.coords, dims=template.dims, name=template.name)
    da.encoding = {k: v for k, v in template.encoding.items() if k in _ENCODING_KEPT}
    attrs = {
        k: v for k, v in template.attrs.items() if k not in ("valid_range", "valid_min", "valid_max", "actual_range")
    }
    da.attrs = attrs if kind == "mean" else variance_attrs(attrs, note, str(template.name or "field"))
    if kind != "mean":
        da.name = suffixed(template.name, "variance")
    return da


def suffixed(name: Hashable | None, suffix: str) -> str:
    """`sst_variance` for `sst`, `variance` for a field without a name."""
    return suffix if name is None else f"{name}_{suffix}"


def squared(units: str) -> str:
    """The units of a variance.

    Examples
    --------
    >>> squared("K"), squared("m s-1"), squared("1")
    ('K2', '(m s-1)2', '1')
    """
    if units in ("", "1"):
        return units
    return f"{units}2" if units.isalpha() else f"({units})2"


def variance_attrs(attrs: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    """Attributes of a variance: its own long name, squared units, whether noise is in it."""
    found = {"long_name": f"{kind} variance of {attrs.get('long_name', name)}", "variance_kind": kind}
    if attrs.get("units"):
        found["units"] = squared(str(attrs["units"]))
    return found


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
    """

    observed: Field
    noise: Any
    variance_kind: str


class Reconstruction(tuple[Any, Any]):
    """Mean and variance of the field; unpacks as ``mean, variance = model.reconstruct()``.

    Both come from the same tasks, so evaluate them together: :meth:`compute`, :meth:`persist`,
    :meth:`to_dataset`, :meth:`to_zarr`.

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

    def __repr__(self) -> str:
        kind = "no" if self.variance is None else self._context.variance_kind
        return f"Reconstruction(mean, variance) with {kind} variance\n{self.mean!r}"

    def _repr_html_(self) -> str:
        return str(self.to_dataset()._repr_html_())

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

    def compute(self, **kwargs: Any) -> Reconstruction:
        """Evaluate mean and variance together, each tile once."""
        import dask

        mean, variance, noise = dask.compute(self.mean, self.variance, self._context.noise, **kwargs)
        return Reconstruction(mean, variance, Context(self._context.observed, noise, self._context.variance_kind))

    def persist(self, **kwargs: Any) -> Reconstruction:
        """Evaluate both together and keep them on the workers."""
        import dask

        mean, variance, noise = dask.persist(self.mean, self.variance, self._context.noise, **kwargs)
        return Reconstruction(mean, variance, Context(self._context.observed, noise, self._context.variance_kind))

    def std(self) -> Field:
        """Standard deviation, of the same kind as the variance (``standard_name="… standard_error"``)."""

        def one(name: Hashable | None) -> xr.DataArray:
            mean, variance, _, _ = self._parts(name)
            std: xr.DataArray = np.sqrt(variance)  # type: ignore[assignment]
            std.name = suffixed(mean.name, "std")
            std.attrs = {"long_name": f"standard deviation of {mean.attrs.get('long_name', mean.name or 'field')}"}
            std.attrs["variance_kind"] = self._context.variance_kind
            if mean.attrs.get("standard_name"):
                std.attrs["standard_name"] = f"{mean.attrs['standard_name']} standard_error"
            if mean.attrs.get("units"):
                std.attrs["units"] = mean.attrs["units"]
            return std

        return self._named(one, "std")

    def _named(self, one: Any, suffix: str) -> Field:
        if isinstance(self.mean, xr.Dataset):
            return xr.Dataset({suffixed(name, suffix): one(name) for name in self.mean.data_vars})
        return one(None)

    def _observed_std(self, name: Hashable | None) -> xr.DataArray:
        _, variance, noise, _ = self._parts(name)
        extra = 0.0 if self._context.variance_kind == "observed" else noise
        with xr.set_options(keep_attrs=False):
            return (variance.astype(float) + extra) ** 0.5

    @property
    def filled(self) -> Field:
        """The observed value where there is one, the mean in the gaps."""

        def one(name: Hashable | None) -> xr.DataArray:
            mean, observed = (
                (self.mean, self._context.observed) if name is None else (self.mean[name], self._context.observed[name])
            )
            filled: xr.DataArray = observed.astype(mean.dtype).where(observed.notnull() & mean.notnull(), mean)
            filled.attrs, filled.name = dict(mean.attrs), mean.name
            return filled

        return self._each(one)

    def interval(self, level: float = 0.95) -> tuple[Field, Field]:
        """Lower and upper bound of the central interval that holds a new observation with probability `level`.

        The noise is included whatever the kind of the variance.
        """
        if not 0.0 < level < 1.0:
            raise XgpfillError(f"level={level!r}: expected a probability between 0 and 1, e.g. `interval(0.95)`.")
        half = normal_quantile(level)

        def bound(sign: float) -> Any:
            def one(name: Hashable | None) -> xr.DataArray:
                mean = self._parts(name)[0]
                found = (mean + sign * half * self._observed_std(name)).astype(mean.dtype)
                found.attrs, found.name = dict(mean.attrs), suffixed(mean.name, "lower" if sign < 0 else "upper")
                return found

            return self._named(one, "lower" if sign < 0 else "upper")

        return bound(-1.0), bound(1.0)

    def score(self, truth: Field, dim: Dim = None) -> xr.Dataset:
        """Score against the truth on the cells where it is known and was not observed; observed variance.

        Parameters
        ----------
        truth : DataArray (or Dataset when several variables were fitted)
            On the same grid, data units.
        dim : names, optional
            Dimensions to average over; all by default.

        Returns
        -------
        Dataset
            rmse, mae, bias, crps (data units), nlpd, coverage95, cells.
        """
        if isinstance(self.mean, xr.Dataset):
            scores = [self._score_one(name, truth[name], dim) for name in self.mean.data_vars]
            return xr.concat(
                scores, xr.DataArray([str(n) for n in self.mean.data_vars], dims="variable", name="variable")
            )
        if isinstance(truth, xr.Dataset):
            raise VariableError(
                f"`truth` is a Dataset; expected a DataArray like {self.mean.name!r}. Type "
                f"`score(truth[{str(self.mean.name)!r}])`."
            )
        return self._score_one(None, truth, dim)

    def _score_one(self, name: Hashable | None, truth: xr.DataArray, dim: Dim) -> xr.Dataset:
        mean, _, _, observed = self._parts(name)
        try:
            mean, truth, observed, std = xr.align(mean, truth, observed, self._observed_std(name), join="exact")
        except ValueError as error:
            raise AlignmentError(
                f"`truth` does not lie on the grid of the reconstruction: {str(error).splitlines()[0]}. "
                f"Bring it there: `truth.reindex_like(mean, method='nearest', tolerance=1e-6)`."
            ) from None
        return score_gaussian(mean, std, truth.where(observed.isnull()), dim)

    def to_dataset(self) -> xr.Dataset:
        """Mean, variance and standard deviation as one CF Dataset, tied by ``ancillary_variables``."""
        if self.variance is None:
            return (
                self.mean if isinstance(self.mean, xr.Dataset) else self.mean.to_dataset(name=self.mean.name or "mean")
            )
        names = list(self.mean.data_vars) if isinstance(self.mean, xr.Dataset) else [None]
        std = self.std()
        out = xr.Dataset()
        for name in names:
            mean, variance, _, _ = self._parts(name)
            key = name if name is not None else (mean.name or "mean")
            own = std[suffixed(name, "std")] if name is not None else std
            related = (suffixed(mean.name, "variance"), suffixed(mean.name, "std"))
            out[key] = mean.assign_attrs(ancillary_variables=" ".join(related))
            out[related[0]], out[related[1]] = variance, own
        out.attrs["Conventions"] = "CF-1.11"
        return out

    def to_netcdf(self, path: str | Path, **kwargs: Any) -> None:
        """Write :meth:`to_dataset` to netCDF, whole or not at all; `kwargs` as those of xarray."""
        _require_whole("to_netcdf", kwargs)
        with written_whole(path) as temporary:
            self.to_dataset().to_netcdf(temporary, **kwargs)

    def to_zarr(self, path: str | Path, **kwargs: Any) -> None:
        """Write :meth:`to_dataset` to a Zarr store, each tile evaluated once, whole or not at all."""
        _require_whole("to_zarr", kwargs)
        with written_whole(path) as temporary:
            ds = uniform_chunks(self.to_dataset())
            with warnings.catch_warnings():  # that Zarr 3 has not specified what xarray writes by default
                warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
                ds.to_zarr(temporary, **kwargs)


def _require_whole(writer: str, kwargs: dict[str, Any]) -> None:
    """Refuse what writes later or into a part of a file: the file is replaced as soon as the call ends."""
    whole = {"compute": True, "mode": "w", "append_dim": None, "region": None, "group": None}
    for name, value in kwargs.items():
        if name in whole and value != whole[name]:
            raise XgpfillError(
                f"`{writer}` writes a file whole and at once, which {name}={value!r} is not. Type "
                f"`reconstruction.to_dataset().{writer}(path, {name}={value!r})`."
            )


def sample_array(layout: Layout, data: Any) -> xr.DataArray:
    """Draws (sample, extra..., time, y, x) as a DataArray with a leading `sample` dimension."""
    template = layout.template
    fields = [layout.restore(data[i]) for i in range(data.shape[0])]
    stack = np.stack(fields) if isinstance(fields[0], np.ndarray) else _dask_stack(fields)
    dtype = template.dtype if template.dtype.kind == "f" else np.dtype(np.float64)
    coords = {name: c.variable for name, c in template.coords.items()}
    out = xr.DataArray(stack.astype(dtype), coords=coords, dims=("sample", *template.dims), name=template.name)
    out.attrs = dict(template.attrs)
    return out.assign_coords(sample=np.arange(data.shape[0]))


def _dask_stack(fields: list[Any]) -> Any:
    import dask.array as da

    return da.stack(fields)
