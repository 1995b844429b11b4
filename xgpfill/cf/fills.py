"""Numbers that stand for no value: those that attributes declare, and those that look it. No xarray decoding here."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.errors import DataError, warn

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

_USUAL = (
    999.0, 9999.0, 99999.0, 32767.0, 32768.0, 2147483647.0, 2147483648.0, 1e15, 1e20, 1e30, 1e34, 1e35, 1e36, 1e37,
    9.969209968386869e36,
)  # fmt: skip
"""What programs write where there is nothing, of either sign; the last is the default of netCDF."""
_SHORT = (
    99.0, 127.0, 128.0, 255.0, 65535.0, 4294967295.0, 99.9, 99.99, 999.9, 999.99, 9999.9, 9999.99, 99999.9, 999999.0,
)  # fmt: skip
"""The same, of numbers that may well be data: they count where they are repeated."""
CERTAIN = 1e19
"""From here on such a number is no guess: nothing that is measured beside ordinary values is as large."""
FAR = 3.0
"""How far off all others any repeated number is, in their range, to look like no value."""
ABOVE, BELOW = 1.5, 1 / 3
"""The same for numbers that programs write: sensors saturate above what they measure, but hardly at −99 below it."""
REPEATED, MANY = 3, 10
"""How often such a number, and any other, is there exactly before the repetition says something."""
VARIED = 10
"""How many different numbers the others are at least: classes and masks lie far apart by nature."""
_WHOLES = (1.0, 100.0)
"""A whole, as a share and in percent: often reached."""
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


def suspected_fill(values: NDArray[Any]) -> float | None:
    """The least or largest value where it looks like one that stands for none; None where neither does.

    It does when it is far from all others and a number that programs write for nothing; when it is such a number, not
    as far, and repeated exactly; or when it is any other number, repeated exactly, and far from others that vary. What
    is clipped, saturated or zero by nature lies next to other values instead.

    Examples
    --------
    >>> suspected_fill(np.array([281.0, -9999.0, 290.0, -9999.0]))
    -9999.0
    >>> suspected_fill(np.array([-9000.0, -9999.0, 0.0])) is None  # depths of the sea
    True
    >>> suspected_fill(np.append(np.arange(20.0), [400.0] * 10))
    400.0
    """
    if not values.size:
        return None
    extremes = (float(values.min()), ABOVE if values.min() > 0 else BELOW), (float(values.max()), ABOVE)
    return next((extreme for extreme, bound in extremes if _stands_for_none(values, extreme, bound)), None)


def _stands_for_none(values: NDArray[Any], extreme: float, bound: float) -> bool:
    """Whether an extreme value looks like none; `bound` is how far off one that programs write must be."""
    usual, short = _is_among(extreme, _USUAL), _is_among(extreme, _SHORT)
    count = int(np.count_nonzero(values == extreme))
    natural = extreme in _WHOLES or 2 * count > values.size  # days without rain
    repeated = count >= REPEATED if usual or short else count >= MANY and not natural
    if not (usual or repeated):
        return False
    rest = values[~is_fill(values, (extreme,))]
    if not rest.size:
        return usual
    lowest, highest = float(rest.min()), float(rest.max())
    gap, spread = min(abs(extreme - lowest), abs(extreme - highest)), highest - lowest
    if usual and gap > FAR * spread:
        return True
    far = gap > (bound if usual or short else FAR) * spread
    return repeated and far and np.unique(rest).size >= VARIED


def _is_among(value: float, numbers: tuple[float, ...]) -> bool:
    """Whether it is one of these, of either sign, in single precision."""
    return any(math.isclose(abs(value), one, rel_tol=1e-3 if one >= CERTAIN else 1e-6) for one in numbers)


def require_decoded(da: xr.DataArray) -> None:
    """Refuse packed integers, whose scale still stands among the attributes, and warn of floats that may be packed.

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
    if said := packing_in_words(da):
        warn(said)


def packing_in_words(da: xr.DataArray) -> str:
    """What to say of floats whose attributes still name a packing; empty where they name none that changes a number."""
    trivial = {"scale_factor": 1.0, "add_offset": 0.0}
    packing = {name: da.attrs[name] for name in trivial if name in da.attrs}
    if da.dtype.kind != "f" or all(value == trivial[name] for name, value in packing.items()):
        return ""
    name = str(da.name or "field")
    drop = ", ".join(f"da.attrs[{key!r}]" for key in packing)
    return (
        f"The data are floats, but their attributes still say {listed_values(packing)}, as those of packed numbers do; "
        f"they are taken as they are. If they are packed yet, decode them: "
        f"`xr.decode_cf(da.to_dataset(name={name!r}))[{name!r}]`; if they are not, say so: `del {drop}`."
    )


def listed_values(attrs: dict[str, Any]) -> str:
    """Attributes for a message: ``scale_factor=0.01, add_offset=273.15``."""
    return ", ".join(f"{name}={float(value):.10g}" for name, value in attrs.items())


def declared_range(da: xr.DataArray) -> tuple[float, float] | None:
    """The least and the largest valid value that attributes name, in the units of the data; None where they name none.

    Whole numbers beside data that were decoded from packed ones are packed, as CF 1.11, section 8.1, has it.

    Examples
    --------
    >>> import xarray as xr
    >>> declared_range(xr.DataArray(1.0, attrs={"valid_min": 0.0}))
    (0.0, inf)
    """
    given = [np.asarray(da.attrs[name]) for name in ("valid_range", "valid_min", "valid_max") if name in da.attrs]
    both = da.attrs.get("valid_range", (da.attrs.get("valid_min", -math.inf), da.attrs.get("valid_max", math.inf)))
    try:
        low, high = np.asarray(both, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if all(bound.dtype.kind in "iu" for bound in given):
        scale, offset = (float(da.encoding.get(key, no)) for key, no in (("scale_factor", 1), ("add_offset", 0)))
        low, high = sorted((scale * low + offset, scale * high + offset))
    return None if not low <= high or (math.isinf(low) and math.isinf(high)) else (float(low), float(high))


def range_in_words(found: str, bounds: tuple[float, float]) -> str:
    """What to say of values outside the range that attributes call valid; `found` is what was found there."""
    low, high = bounds
    inside = [f"(da >= {low:.10g})"] * math.isfinite(low) + [f"(da <= {high:.10g})"] * math.isfinite(high)
    return (
        f"{found} outside {low:.6g}…{high:.6g}, what their attributes (`valid_range`, `valid_min`, `valid_max`) call "
        f"valid; taken as data. If they stand for no value, make these gaps: `da.where({' & '.join(inside)})`; if it "
        f"is the range that is not in the units of the data, drop these attributes."
    )


def is_outside(values: Any, bounds: tuple[float, float] | None) -> Any:
    """Where values are beyond a range, by more than rounding."""
    low, high = (-math.inf, math.inf) if bounds is None else bounds
    slack = 1e-6 * max(abs(bound) for bound in (low, high, 0.0) if math.isfinite(bound))
    return (values < low - slack) | (values > high + slack)


def check_range(values: Any, bounds: tuple[float, float] | None, *, part: bool = False) -> None:
    """Warn of values outside the range that attributes call valid; `part`: there are others, which were not read."""
    count = int(np.count_nonzero(is_outside(np.asarray(values), bounds)))
    if bounds is not None and count:
        warn(range_in_words(f"The data hold {'at least ' if part else ''}{count} value(s)", bounds))


def check_fills(values: Any, fills: tuple[float, ...], where: str = "", *, part: bool = False) -> None:
    """Refuse values that are declared to be none, or are so large that they must be; warn of those that look it.

    Parameters
    ----------
    values : array
        NaN where there is a gap.
    fills : tuple of float
        What :func:`declared_fills` found.
    where : str
        The part of the data that these are, for the message.
    part : bool
        Whether there are others, which were not read.

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
    suspect = suspected_fill(known)
    if suspect is None:
        return
    rest = known[~is_fill(known, (suspect,))]
    said = f"{'at least ' if part else ''}{known.size - rest.size} time(s){where} the number {suspect:.10g}"
    cure = cure_of_fill(suspect)
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
