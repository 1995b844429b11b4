"""What is asked of padding: how many cells along which dimensions, and which dimensions make one field."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xgpfill.cf.conventions import settled
from xgpfill.cf.fills import check_fills, declared_fills, require_decoded
from xgpfill.checks import require_array
from xgpfill.errors import DataError, DimensionError, listed, shown
from xgpfill.grid.metric import degrees_per
from xgpfill.layout.axes import is_closed
from xgpfill.layout.dims import Roles, roles_if_told
from xgpfill.padding.coordinates import extended_coords, round_the_circle
from xgpfill.results.attributes import dtype_of, kept_encoding, mean_attrs, without_flags
from xgpfill.words import units_of

Dims = Iterable[Hashable] | Hashable | None


@dataclass(frozen=True, eq=False)
class Margins:
    """A field, what is added to it, and the coordinates of the answer.

    Attributes
    ----------
    field : DataArray
        Without gaps; of lazy data that shows when they are computed.
    widths : dict of name to (int, int)
        Cells to add before and after, along one dimension or two.
    plane : tuple of names
        The one or two dimensions that make one field, in the order (y, x) where these are told; along others fields are
        independent.
    periods : dict of name to int
        Cells of a full circle, for longitudes that close.
    roles : Roles or None
        None where they cannot be told.
    coords : dict of name to Variable
        Of the answer, where they are not those of the field.
    """

    field: xr.DataArray
    widths: dict[Hashable, tuple[int, int]]
    plane: tuple[Hashable, ...]
    periods: dict[Hashable, int]
    roles: Roles | None
    coords: dict[Hashable, xr.Variable]

    @property
    def open_widths(self) -> dict[Hashable, tuple[int, int]]:
        """What is added along dimensions that do not close."""
        return {d: width for d, width in self.widths.items() if d not in self.periods}

    def with_gaps(self, field: xr.DataArray) -> xr.DataArray:
        """The field with NaN in all margins but those round a circle."""
        widths = self.open_widths
        padded = field.variable.pad(widths)
        return self._placed(padded, extended_coords(field, widths, self.periods, self.roles), widths)

    def labelled(self, padded: xr.Variable) -> xr.DataArray:
        """The answer, from values with all margins but those round a circle, in any order of dimensions."""
        for dim, period in self.periods.items():
            if any(self.widths.get(dim, ())):
                places = round_the_circle(self.field.sizes[dim], self.widths[dim], period)
                padded = padded.isel({dim: places})
        return settled(self._placed(padded.transpose(*self.field.dims), self.coords, self.widths))

    def _placed(
        self, padded: xr.Variable, coords: dict[Hashable, xr.Variable], widths: Mapping[Hashable, tuple[int, int]]
    ) -> xr.DataArray:
        """Values as a DataArray with the chunks of the field, of which the first and last are longer."""
        if self.field.chunks is not None:
            padded = padded.chunk({d: _longer(n, widths.get(d, (0, 0))) for d, n in self.field.chunksizes.items()})
        out = xr.DataArray(padded.data, coords=self.field.drop_vars(coords).coords, dims=self.field.dims)
        out = out.assign_coords(coords)
        out.name = self.field.name  # of lazy values without a name xarray takes dask's
        out.attrs, out.encoding = mean_attrs(self.field), kept_encoding(self.field)
        return out


def _longer(sizes: tuple[int, ...], width: tuple[int, int]) -> tuple[int, ...]:
    """Chunks of which the first and the last are longer."""
    *most, last = sizes
    first, *rest = [*most, last + width[1]]
    return (first + width[0], *rest)


def read_margins(da: Any, pad_width: Any, dims: Dims) -> Margins:
    """Read and check what is to be padded; nothing lazy is computed.

    Raises
    ------
    DataError
        When the data are no real numbers, or have gaps (those in memory), or a width is no number of cells.
    DimensionError
        When a dimension is not there, or there are more than two.
    CoordinateError
        When a coordinate cannot be continued.
    """
    require_array(da, "pad")
    _require_real(da)
    require_decoded(da)
    da = without_flags(da)
    widths = _widths(da, pad_width)
    roles = roles_if_told(da)
    plane = _plane(da, widths, roles, dims)
    periods = _periods(da, plane, roles)
    coords = extended_coords(da, widths, periods, roles)
    if da.chunks is None:
        require_whole(da.values, declared_fills(da))
    field = da.astype(dtype_of(da), copy=False)
    field.encoding = da.encoding
    return Margins(field, widths, plane, periods, roles, coords)


def require_whole(values: Any, fills: tuple[float, ...]) -> Any:
    """The same values, none of which is a gap, infinite, or declared to stand for none.

    Raises
    ------
    DataError
    """
    lost = int(values.size - np.isfinite(values).sum())
    if lost:
        raise DataError(
            f"{lost} of {values.size} values are NaN or infinite; padding continues fields without gaps. Fill them "
            f"first: `da.gpfill.fill().gpfill.pad(...)`; fill leaves gaps where `valid=` says that there is no field."
        )
    if fills:
        check_fills(values, fills)
    return values


def _require_real(da: xr.DataArray) -> None:
    if da.dtype.kind not in "iuf":
        raise DataError(
            f"The data have dtype {da.dtype}; padding takes real numbers. Convert them first, e.g. `da.astype(float)`."
        )
    if da.size == 0:
        raise DataError(f"The data are empty: their sizes are {dict(da.sizes)}. Select at least one cell on each axis.")


def _widths(da: xr.DataArray, pad_width: Any) -> dict[Hashable, tuple[int, int]]:
    """Cells before and after along each dimension."""
    if not isinstance(pad_width, Mapping) or not pad_width:
        raise DimensionError(
            f"pad_width={shown(pad_width)}: expected a mapping of dimension to cells, e.g. "
            f"`pad({{{str(da.dims[-1]) if da.dims else 'x'!r}: (2, 3)}})`."
        )
    for dim in pad_width:
        if dim not in da.dims:
            raise DimensionError(
                f"pad_width names {shown(dim)}, which is no dimension of the data; they have {listed(da.dims)}."
            )
    if len(pad_width) > 2:
        raise DimensionError(
            f"pad_width names {listed(pad_width)}; a field is continued along two dimensions at most. Pad the others "
            f"in a second call: `da.gpfill.pad(...).gpfill.pad(...)`."
        )
    return {dim: _pair(width, dim) for dim, width in pad_width.items()}


def _pair(width: Any, dim: Hashable) -> tuple[int, int]:
    pair = tuple(width) if isinstance(width, (tuple, list)) else (width, width)
    whole = all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 0 for n in pair)
    if len(pair) != 2 or not whole:
        raise DataError(
            f"pad_width={{{dim!r}: {shown(width)}}}: expected a number of cells of at least zero, or two of them, "
            f"before and after, e.g. `{{{dim!r}: (2, 3)}}`."
        )
    return int(pair[0]), int(pair[1])


def _plane(
    da: xr.DataArray, widths: dict[Hashable, tuple[int, int]], roles: Roles | None, dims: Dims
) -> tuple[Hashable, ...]:
    """What makes one field: what was named, or the padded dimensions and the other direction of space."""
    space = () if roles is None or roles.scattered else roles.space
    if dims is None:
        names = set(widths)
        if len(widths) == 1 and names <= set(space):
            names |= set(space)
    else:
        names = {dims} if isinstance(dims, str) or not isinstance(dims, Iterable) else set(dims)
        if not set(widths) <= names <= set(da.dims) or len(names) > 2:
            raise DimensionError(
                f"dims={shown(dims)}: expected the one or two dimensions that make a field, out of {listed(da.dims)}, "
                f"with {listed(widths)} among them, e.g. `dims={tuple(map(str, widths))!r}`."
            )
    ordered = space if names == set(space) else da.dims
    return tuple(d for d in ordered if d in names)


def _periods(da: xr.DataArray, plane: tuple[Hashable, ...], roles: Roles | None) -> dict[Hashable, int]:
    """Columns of a full circle, where longitudes close; a meridian that is repeated counts once."""
    if roles is None or not roles.degrees or roles.scattered or roles.x is None or roles.x != roles.x_dim:
        return {}
    dim, longitude = roles.x, da.coords[roles.x]
    turn = 360.0 / degrees_per(units_of(longitude))
    if dim not in plane or longitude.dtype.kind not in "iuf" or not is_closed(longitude.values, turn):
        return {}
    step = abs(float(np.diff(np.unwrap(longitude.values.astype(float), period=turn)).mean()))
    return {dim: round(turn / step)}
