"""Numbers that stand for no value: those that attributes declare, and those that look it. No xarray decoding here."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.errors import DataError, warn

if TYPE_CHECKING:
    import xarray as xr

    from xgpfill.grid.lattice import FloatArray

_USUAL = (
    999.0, 9999.0, 99999.0, 32767.0, 32768.0, 2147483647.0, 2147483648.0, 1e20, 1e30, 1e34, 1e35, 1e36, 1e37,
    9.969209968386869e36,
)  # fmt: skip
"""What programs write where there is nothing, of either sign; the last is the default of netCDF."""
CERTAIN = 1e19
"""From here on such a number is no guess: nothing that is measured beside ordinary values is as large."""
FAR = 3.0
"""How far off all others it is, in their range, to look like no value."""
ORDINARY = 1e-6
"""The share of such a number that ordinary values stay below."""


def declared_fills(da: xr.DataArray) -> tuple[float, ...]:
    """The numbers that ``_FillValue`` and ``missing_value`` name, where they stand undecoded in the attrs."""
    found: list[float] = []
    for name in ("_FillValue", "missing_value"):
        try:
            named = np.asarray(da.attrs.get(name, ()), dtype=np.float64).ravel()
        except (TypeError, ValueError):
            continue
        found += [float(value) for value in named if math.isfinite(value)]
    return tuple(dict.fromkeys(found))


def is_fill(values: Any, fills: tuple[float, ...]) -> Any:
    """Where values are one of these numbers, whatever the type that both were rounded to."""
    found = np.zeros(np.shape(values), bool)
    for fill in fills:
        exact = fill == round(fill) and abs(fill) < CERTAIN
        found |= values == fill if exact else np.isclose(values, fill, rtol=1e-6, atol=0.0)
    return found


def suspected_fill(values: FloatArray) -> float | None:
    """The least or largest value where it is a number that programs write for nothing, and far from all others.

    Far is three times as far as the others are spread. None where no value is suspect.

    Examples
    --------
    >>> suspected_fill(np.array([281.0, -9999.0, 290.0, -9999.0]))
    -9999.0
    >>> suspected_fill(np.array([-9000.0, -9999.0, 0.0])) is None  # depths of the sea
    True
    """
    if not values.size:
        return None
    for extreme in (float(values.min()), float(values.max())):
        usual_ones = (math.isclose(abs(extreme), usual, rel_tol=1e-3 if usual >= CERTAIN else 1e-6) for usual in _USUAL)
        if not any(usual_ones):
            continue
        rest = values[~is_fill(values, (extreme,))]
        if not rest.size or min(abs(extreme - rest.min()), abs(extreme - rest.max())) > FAR * np.ptp(rest):
            return extreme
    return None


def require_decoded(da: xr.DataArray) -> None:
    """Refuse packed integers: their scale still stands among the attributes.

    Raises
    ------
    DataError
    """
    packing = {name: da.attrs[name] for name in ("scale_factor", "add_offset") if name in da.attrs}
    if packing and da.dtype.kind in "iu":
        raise DataError(
            f"The data are packed integers ({da.dtype}) whose attributes still say {packing!r}, so they are not in "
            f"{da.attrs.get('units', 'their units')!r}. Decode them first: `xr.decode_cf(ds)`."
        )


def check_fills(values: Any, fills: tuple[float, ...], where: str = "") -> None:
    """Refuse values that are declared to be none, or are so large that they must be; warn of those that look it.

    Parameters
    ----------
    values : array
        NaN where there is a gap.
    fills : tuple of float
        What :func:`declared_fills` found.
    where : str
        The part of the data that these are, for the message.

    Raises
    ------
    DataError
    """
    declared = is_fill(values, fills) if fills else np.zeros(0, bool)
    if declared.any():
        value = float(np.asarray(values)[declared][0])
        raise DataError(
            f"The data hold {int(declared.sum())} time(s){where} the number {value:.10g}, which their attributes name "
            f"as `_FillValue` or `missing_value`: no value at all. Decode them, `xr.decode_cf(ds)`, or make these "
            f"gaps: `{cure_of_fill(value)}`."
        )
    known = np.asarray(values)[np.isfinite(values)]
    suspect = None if known.dtype.kind in "ub" else suspected_fill(known)
    if suspect is None:
        return
    rest = known[~is_fill(known, (suspect,))]
    said, cure = f"{known.size - rest.size} time(s){where} the number {suspect:.10g}", cure_of_fill(suspect)
    if rest.size and abs(suspect) >= CERTAIN and float(np.abs(rest, dtype=float).max()) < ORDINARY * abs(suspect):
        raise DataError(f"The data hold {said}, a fill value among ordinary numbers. Make these gaps: `{cure}`.")
    if rest.size:
        warn(
            f"The data hold {said}, far from all others; it looks like a fill value and is taken as data. If it stands "
            f"for no value, make these gaps: `{cure}`."
        )


def cure_of_fill(value: float) -> str:
    """What to type so that a number becomes a gap."""
    if abs(value) >= CERTAIN:
        return f"da.where(abs(da) < {CERTAIN:g})"
    return f"da.where(da != {value:.10g})"
