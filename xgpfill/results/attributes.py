"""From canonical arrays back to DataArrays like the user's: names, units and CF attributes of mean, variance, draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.cf.conventions import OF_COORDINATES, PLACING, difference, origin, own_attrs, placing, settled
from xgpfill.metrics.calibration import position_name
from xgpfill.words import squared

if TYPE_CHECKING:
    from collections.abc import Hashable

    from xgpfill.grid.scaling import Scaling
    from xgpfill.layout.encode import Layout
    from xgpfill.metrics.calibration import Calibration

_ENCODING_KEPT = ("zlib", "complevel", "shuffle", "compression")
_RANGES = ("valid_range", "valid_min", "valid_max", "actual_range")
_PACKING = ("scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned")
_FLAG_MEANINGS = "no_field observed filled"
ROOM = 1e-6
"""What a variance may be, relative to that of the data, above and below."""


@dataclass(frozen=True)
class Measure:
    """How one of several joint variables is measured, which are of one model in standardised units.

    Attributes
    ----------
    scaling : Scaling
        Its units.
    noise : float
        Of a typical observation, standardised.
    intervals : Calibration or None
        How wide its intervals are.
    dtype : str
        That of its data.
    """

    scaling: Scaling
    noise: float = 0.0
    intervals: Calibration | None = None
    dtype: str = "float64"

    def values(self, field: xr.DataArray) -> xr.DataArray:
        """A field of standardised values in its units."""
        return field.copy(data=self.scaling.physical(field.data).astype(self.dtype))

    def variances(self, field: Any) -> Any:
        """Standardised variances in its units²: a field, or a number."""
        if not isinstance(field, xr.DataArray):
            return field * self.scaling.scale**2
        return field.copy(data=(field.data * self.scaling.scale**2).astype(self.dtype))


def dtype_of(template: xr.DataArray, scale: float | None = None) -> np.dtype[Any]:
    """The type of an answer: that of the data if they are floats, else float64.

    With the `scale` of the data it is that of a variance, which is wider where squares would be lost: half precision
    and values of 1e-20 or 1e20 in single precision.
    """
    own: np.dtype[Any] = template.dtype if template.dtype.kind == "f" else np.dtype(np.float64)
    if scale is None:
        return own
    limits = np.finfo(own)
    held = float(limits.tiny) < ROOM * scale**2 and scale**2 / ROOM < float(limits.max)
    return own if held and own.itemsize > 2 else np.dtype(np.float64)


def decode(
    layout: Layout, data: Any, *, kind: str = "mean", note: str = "", scale: float | None = None
) -> xr.DataArray:
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
    scale : float, optional
        Of the data, for a variance.
    """
    template = layout.template
    restored = layout.restore(data).astype(dtype_of(template, scale))
    da = xr.DataArray(restored, coords=without_flags(template).coords, dims=template.dims, name=template.name)
    da.name = template.name  # of lazy values without a name xarray takes dask's
    da = settled(da)
    da.encoding = kept_encoding(template)
    da.attrs = mean_attrs(template)
    if kind != "mean":
        da.attrs = variance_attrs(da.attrs, note, str(template.name or "field"))
        da.name = suffixed(template.name, "variance")
    return da


def without_flags(template: xr.DataArray) -> xr.DataArray:
    """The same field without the flags of an earlier filling among its coordinates."""
    flagged = [name for name, c in template.coords.items() if c.attrs.get("flag_meanings") == _FLAG_MEANINGS]
    return template.drop_vars(flagged) if flagged else template


def mean_attrs(template: xr.DataArray) -> dict[str, Any]:
    """Attributes of the data, without their range and packing, and without mention of what does not come with them."""
    lost = (*_RANGES, *_PACKING, "ancillary_variables")
    return {k: v for k, v in own_attrs(template).items() if k not in lost}


def kept_encoding(template: xr.DataArray) -> dict[str, Any]:
    """Compression, where cells are and where the data come from, but no packing."""
    kept = {k: v for k, v in template.encoding.items() if k in _ENCODING_KEPT}
    return kept | placing(template)[1] | origin(template)


def positions_of(template: xr.DataArray) -> xr.Dataset:
    """Where every cell is along each dimension, and the bounds of coordinates; what is selected says what is left."""
    labels = template.coords.to_dataset()
    labels = labels.drop_vars([name for name in labels.coords if name not in template.xindexes]).drop_attrs()
    places = {position_name(d): (d, np.arange(n)) for d, n in template.sizes.items()}
    return labels.assign(places | template.encoding.get(OF_COORDINATES, {}))


def suffixed(name: Hashable | None, suffix: str) -> str:
    """`sst_variance` for `sst`, `variance` for a field without a name."""
    return suffix if name is None else f"{name}_{suffix}"


def variance_attrs(attrs: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    """Attributes of a variance: its own long name, squared units, whether noise is in it."""
    found = {"long_name": f"{kind} variance of {attrs.get('long_name', name)}", "variance_kind": kind}
    if attrs.get("units"):
        found["units"] = squared(str(attrs["units"]))
    return found | difference(attrs.get("units", "")) | _placed(attrs)


def _placed(attrs: dict[str, Any]) -> dict[str, Any]:
    return {key: attrs[key] for key in PLACING if key in attrs}


def bound_attrs(mean: xr.DataArray, level: float, side: str) -> dict[str, Any]:
    """Attributes of a bound of the central interval of probability `level`; `side` is "lower" or "upper"."""
    kept = {k: v for k, v in mean.attrs.items() if k not in ("standard_name", "cell_methods")}
    name = mean.attrs.get("long_name", mean.name or "field")
    return {**kept, "long_name": f"{side} bound of the {100 * level:g} % interval of {name}", "interval_level": level}


def standard_deviation(mean: xr.DataArray, variance: xr.DataArray) -> xr.DataArray:
    """The root of a variance, named and described after the mean."""
    std: xr.DataArray = np.sqrt(variance)  # type: ignore[assignment]
    std.name = suffixed(mean.name, "std")
    std.attrs = {"long_name": f"standard deviation of {mean.attrs.get('long_name', mean.name or 'field')}"}
    std.attrs |= {key: variance.attrs[key] for key in ("variance_kind",) if key in variance.attrs}
    if mean.attrs.get("standard_name"):
        std.attrs["standard_name"] = f"{mean.attrs['standard_name']} standard_error"
    if mean.attrs.get("units"):
        std.attrs["units"] = mean.attrs["units"]
    std.attrs |= difference(mean.attrs.get("units", "")) | _placed(mean.attrs)
    std.encoding = dict(variance.encoding)
    return std


def flags(mean: xr.DataArray, observed: xr.DataArray) -> xr.DataArray:
    """Which cells were observed and which are filled, as a CF flag variable."""
    known = mean.notnull()
    found = xr.where(observed.notnull() & known, 1, xr.where(known, 2, 0)).astype("int8").transpose(*mean.dims)
    found = settled(found.assign_coords(mean.coords))
    found.name, found.encoding = suffixed(mean.name, "flag"), placing(mean)[1]
    found.attrs = {
        "long_name": f"whether {mean.attrs.get('long_name', mean.name or 'the field')} was observed or filled",
        "standard_name": "status_flag",
        "flag_values": np.array([0, 1, 2], "int8"),
        "flag_meanings": _FLAG_MEANINGS,
        "units": "1",
    } | _placed(mean.attrs)
    return found


def sample_array(layout: Layout, data: Any) -> xr.DataArray:
    """Draws (sample, extra..., time, y, x) as a DataArray with a leading `sample` dimension."""
    template = layout.template
    fields = [layout.restore(data[i]) for i in range(data.shape[0])]
    stack = np.stack(fields) if isinstance(fields[0], np.ndarray) else _dask_stack(fields)
    coords = {name: c.variable for name, c in without_flags(template).coords.items()}
    out = xr.DataArray(
        stack.astype(dtype_of(template)), coords=coords, dims=("sample", *template.dims), name=template.name
    )
    out = settled(out)
    out.attrs, out.encoding = mean_attrs(template), placing(template)[1]
    return out.assign_coords(sample=("sample", np.arange(data.shape[0]), {"long_name": "number of the draw"}))


def _dask_stack(fields: list[Any]) -> Any:
    import dask.array as da

    return da.stack(fields)
