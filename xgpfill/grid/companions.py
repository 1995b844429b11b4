"""What comes with the data on their grid: where the field exists, standard errors. No estimation lives here."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.errors import AlignmentError, DataError, NoiseError, listed, shown, warn
from xgpfill.grid.scaling import LARGEST, SMALLEST
from xgpfill.grid.units import call_that_converts, conversion
from xgpfill.words import squared, units_of, with_units

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xgpfill.grid.lattice import Lattice


def within_valid(lattice: Lattice) -> Lattice:
    """Values outside `valid` are gaps."""
    if lattice.valid is None:
        return lattice
    values, valid = lattice.values, lattice.valid
    if lattice.is_lazy:
        import dask.array as da

        return replace(lattice, values=da.where(valid, values, np.nan).rechunk(values.chunks))
    return replace(lattice, values=np.where(valid, values, np.nan))


def in_memory_as(da: xr.DataArray, field: Any) -> Any:
    """A lazy `valid` or `noise` of data in memory, loaded: numpy in, numpy out."""
    if isinstance(field, xr.DataArray) and field.chunks is not None and da.chunks is None:
        return field.compute()
    return field


def as_mask(valid: Any) -> Any:
    """Where the field exists as True and False, also when it was given as 1 and 0, or as 1 and NaN.

    Anything but a DataArray stays as it is; lazy ones stay lazy, and are checked when they are computed.

    Raises
    ------
    AlignmentError
        When it holds anything else.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> as_mask(xr.DataArray([1.0, np.nan, 0.0])).values
    array([ True, False, False])
    """
    if not isinstance(valid, xr.DataArray) or valid.dtype == bool:
        return valid
    if valid.dtype.kind not in "iufO":
        raise AlignmentError(
            f"`valid` has dtype {valid.dtype}; expected True where the field exists and False elsewhere, 1 and 0, or "
            f"1 and NaN, e.g. `valid=mask == 1`."
        )
    return xr.apply_ufunc(_true_or_false, valid, dask="parallelized", output_dtypes=[bool], keep_attrs=False)


def _true_or_false(values: NDArray[Any]) -> NDArray[np.bool_]:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.full(np.shape(values), np.inf)
    other = ~(np.isnan(numbers) | (numbers == 0) | (numbers == 1))
    if other.any():
        raise AlignmentError(
            f"`valid` holds {np.asarray(values)[other][0]!s}; expected True where the field exists, False elsewhere, "
            f"1 and 0, or 1 and NaN. Say which values mean that it exists, e.g. `valid=mask == 1`."
        )
    return np.asarray(numbers == 1)


INVERTED = 0.1
"""A mask is more likely inverted when less than this share of the observations, and of its cells, are left."""


def require_inside(values: Any, exists: Any) -> None:
    """Refuse a `valid` that leaves no observation, and warn of one that leaves hardly any where there were many.

    Raises
    ------
    DataError
    """
    observed, inside = np.isfinite(values), np.broadcast_to(exists, values.shape)
    require_left(int(observed.sum()), int((observed & inside).sum()), int(inside.sum()))


def require_left(count: int, left: int, cells: int, *, part: bool = False) -> None:
    """The same of counts: observations, those that are left, and cells where the field exists.

    `part`: there are other observations, which were not read, so that none left is no more than a warning.

    Raises
    ------
    DataError
    """
    if not count or left >= INVERTED * count or (left and left >= INVERTED * cells):
        return
    found = f"{left} of {count} observations" if left else "no observation at all"
    where = " read so far" if part else ""
    said = (
        f"The data{where} have {found} where `valid` says that the field exists, {count - left} lie elsewhere and are "
        f"left out"
    )
    cure = "If `valid` is inverted, type `valid=~valid`"
    if not left and not part:
        raise DataError(f"{said}. {cure}; else choose cells that are observed.")
    warn(f"{said}. {cure}.")


_NOISE = {
    "noise": "a variance of at least zero in data units², or a DataArray of standard errors on the grid of the data",
    "noise_std": "a standard deviation of at least zero in data units, or a DataArray of these on the grid of the data",
    "noise_variance": "a variance of at least zero in data units², or a DataArray of these on the grid of the data",
}
_ERRORS = ("error", "std", "deviation", "uncertainty", "sigma")
"""Words that say that a field holds standard errors."""
LITTLE = 1e-3
"""Noise of less than this share of the spread of the data is hardly meant as a standard deviation."""


def read_noise(noise: Any, noise_std: Any, noise_variance: Any) -> float | xr.DataArray | None:
    """The noise in one form, whichever argument said it: a variance, a field of standard errors, or None.

    A number given as `noise` is a variance and a DataArray one of standard errors; the other two say what they are.
    A field is named as the argument that it came by, so that messages can name it.

    Raises
    ------
    NoiseError
        When several are given, or one is no such thing.

    Examples
    --------
    >>> read_noise(None, 0.5, None), read_noise(None, None, 0.25), read_noise(0.25, None, None)
    (0.25, 0.25, 0.25)
    """
    arguments = {"noise": noise, "noise_std": noise_std, "noise_variance": noise_variance}
    given = {name: value for name, value in arguments.items() if value is not None}
    if len(given) > 1:
        raise NoiseError(
            f"{listed(given)} were given together; expected one of them. Type `noise_std=` for standard deviations, or "
            f"`noise_variance=` for variances."
        )
    for name, value in given.items():
        if isinstance(value, xr.DataArray):
            squares = name == "noise_variance" and value.dtype.kind in "iuf"
            return (value.where(value > 0) ** 0.5 if squares else value).rename(name)
        number = isinstance(value, (int, float, np.integer, np.floating))
        number = number and not isinstance(value, (bool, np.timedelta64))
        if not number or not 0 <= value < np.inf:
            raise NoiseError(f"{name}={shown(value)}: expected None (learn it), {_NOISE[name]}.")
        return float(value) ** 2 if name == "noise_std" else float(value)
    return None


def require_error_units(errors: xr.DataArray, da: xr.DataArray) -> None:
    """Refuse standard errors in other units than the data, where both say theirs and the factor is known.

    Raises
    ------
    NoiseError
    """
    found, own, name = units_of(errors), units_of(da), str(errors.name)
    known = None if name == "noise_variance" else conversion(found, own)  # units of squares are hardly ever kept right
    if known is not None and not math.isclose(known[0], 1.0):
        raise NoiseError(
            f"`{name}` is in {found!r}, but the data are in {own!r}. Convert it and say so: "
            f"`{call_that_converts(found, own, name, spread=True)}`."
        )


def note_noise(noise: Any, da: xr.DataArray, spread: float | None = None) -> None:
    """Say how `noise=` was read where it may have been meant otherwise: a number is a variance, a field one of errors.

    Parameters
    ----------
    noise : number, DataArray or None
        As the user gave it.
    da : DataArray
        The data that it belongs to.
    spread : float, optional
        Standard deviation of the data; without it only what contradicts itself is noted.
    """
    units = units_of(da)
    if isinstance(noise, xr.DataArray):
        _note_field(noise, units, alone=spread is not None)
    elif noise is not None and spread is not None and LITTLE * spread <= noise <= spread and noise != 1:
        warn(
            f"noise={noise!r} is a number and so a variance, that of a standard deviation of "
            f"{with_units(f'{noise**0.5:.3g}', units)}, while a DataArray would hold standard errors. Say which: "
            f"`noise_variance={noise!r}`, or `noise_std={noise!r}` if that is the standard deviation."
        )


def _note_field(noise: xr.DataArray, units: str, *, alone: bool) -> None:
    """The same for a field; `alone`: where its attributes do not say what it is, a note is due."""
    own, names = units_of(noise), " ".join(str(noise.attrs.get(key, "")) for key in ("standard_name", "long_name"))
    said = f"{noise.name or ''} {names}".lower()
    if "variance" in said or (units not in ("", "1") and _plain(own) == _plain(squared(units))):
        called = repr(noise.name) if noise.name is not None else "a DataArray"
        warn(
            f"noise= is {called}{f' in {own!r}' if own else ''}, which looks like variances, and a DataArray given as "
            f"`noise` is read as standard errors. Say which: `noise_variance=`, or `noise_std=` if these are errors."
        )
    elif alone and not (any(word in said for word in _ERRORS) or (own and own == units)):
        one = f"{noise.item()!r}" if noise.ndim == 0 and noise.chunks is None else "errors"
        warn(
            f"noise={shown(noise)} is a DataArray and so a standard error, while a plain number would be a variance, "
            f"and nothing in its name or units says so. Say which, e.g. `noise_std={one}`, or `noise_variance={one}`."
        )


def _plain(units: str) -> str:
    """Units without the signs that people write exponents and products with."""
    return units.translate(str.maketrans("²", "2", "^*() .\N{DOT OPERATOR}"))


def median_error(da: xr.DataArray, errors: xr.DataArray | None, otherwise: float | None) -> float | None:
    """Median of standard errors in memory; lazy ones are not read for that."""
    return (
        otherwise
        if errors is None or errors.chunks is not None or da.chunks is not None
        else float(errors.where(da.notnull()).median())
    )


def same_grid(valid: xr.DataArray, da: xr.DataArray) -> bool:
    """Whether every dimension of `valid` is one of the data, with the same labels."""
    try:
        xr.align(valid, da, join="exact", copy=False)
    except ValueError:
        return False
    return set(valid.dims) <= set(da.dims)


_KINDS = {"noise_variance": "(variances)"}
"""What the arguments of noise hold, unless it is standard errors."""


def check_errors(values: Any, errors: Any, noise: str = "noise") -> None:
    """Standard errors, or variances, given as the argument `noise` must be positive and known at every observation.

    Raises
    ------
    NoiseError
    """
    observed = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
    known = np.broadcast_to(np.asarray(errors, float), values.shape)
    bad, kind = observed & ~(np.isfinite(known) & (known > 0)), _KINDS.get(noise, "(standard errors)")
    if bad.any():
        raise NoiseError(
            f"`{noise}` {kind} is missing, zero or negative at {int(bad.sum())} observed cell(s). Give a positive one "
            f"for every observation, or hide these: `da.where({noise} > 0)`."
        )
    extreme = observed & ((known < SMALLEST) | (known > LARGEST))
    if extreme.any():
        raise NoiseError(
            f"`{noise}` {kind} holds {float(known[extreme][0]):.3g}, whose square is beyond float64; expected the "
            f"error of an observation in its units. Hide it, e.g. `da.where({noise} < 1e6)`, or correct it."
        )
