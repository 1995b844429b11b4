"""The axes of a lattice: finite numbers or dates, sorted, and a longitude that may jump once or close."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.errors import CoordinateError, warn
from xgpfill.grid.angles import check_angles
from xgpfill.grid.metric import clock_of, degrees_per
from xgpfill.grid.names import STEP_UNITS
from xgpfill.grid.places import crs_units

if TYPE_CHECKING:
    from collections.abc import Hashable

    import xarray as xr

    from xgpfill.grid.dims import Roles


def check_axes(da: xr.DataArray, roles: Roles, *, told: bool = False) -> None:
    """Coordinates must be numbers, or dates of time, and those of an axis must rise or fall without a repeat.

    Parameters
    ----------
    da : DataArray
    roles : Roles
    told : bool
        Whether the unit of angles that name none is known, from the data that these are compared with.

    Raises
    ------
    CoordinateError
    """
    for name in dict.fromkeys((roles.time, roles.track, roles.depth, roles.y, roles.x)):
        if name is None or name not in da.coords:
            continue
        coordinate = da.coords[name]
        units = str(coordinate.attrs.get("units", ""))
        if name in (roles.time, roles.track):
            _check_times(coordinate, name, units)
        else:
            require_numeric(coordinate.values, name, coordinate.dims)
        if name in roles.fitted and not (roles.scattered and name in roles.space):
            turn = 360.0 / degrees_per(units) if roles.degrees and name == roles.x_dim else None
            _check_order(coordinate.values, name, turn)
    if roles.degrees and roles.y in da.coords and roles.x in da.coords:
        check_angles(da.coords[roles.y], da.coords[roles.x], told=told or bool(crs_units(da)))


_CODED = {8: "%Y%m%d", 6: "%Y%m", 10: "%Y%m%d%H"}
"""How many digits a date is coded with, and how it is read."""


def _require_elapsed(values: np.ndarray[Any, Any], name: Hashable, units: str) -> None:
    """Refuse dates coded in digits, 20210425: as numbers of days they would be centuries apart at each new month."""
    whole = values.dtype.kind in "iu" or (values.dtype.kind == "f" and bool(np.all(values == np.round(values))))
    if not whole or units.strip() not in ("", "1") or not values.size:
        return
    for digits, code in _CODED.items():
        rest = np.asarray(values, np.int64) // 10 ** max(0, digits - 8)
        day = rest % 100 if digits > 6 else np.ones_like(rest)
        month = rest // 100 % 100 if digits > 6 else rest % 100
        year = rest // (10000 if digits > 6 else 100)
        if np.all((year >= 1000) & (year <= 2999) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)):
            raise CoordinateError(
                f"Coordinate {name!r} holds numbers like {int(values.flat[0])}, dates coded as {code!r}, which are no "
                f"elapsed times. Decode them first: `da.assign_coords({name}=pd.to_datetime(da[{name!r}].values"
                f".astype(int).astype(str), format={code!r}))`."
            )


def _note_years(values: np.ndarray[Any, Any], name: Hashable) -> None:
    """Warn of numbers that are taken for days, and look like years: 1990, 1991, or 1990.04, 1990.12."""
    if values.size < 2 or values.min() < EARLIEST or values.max() > LATEST:
        return
    warn(
        f"Coordinate {name!r} runs from {float(values.min()):.6g} to {float(values.max()):.6g}, which look like years, "
        f"and no units say so: they are counted as days. Say it: `da[{name!r}].attrs['units'] = 'years'`, or 'days'."
    )


EARLIEST, LATEST = 1500, 2300
"""Years that data are of."""


def _check_times(coordinate: xr.DataArray, name: Hashable, units: str) -> None:
    values = coordinate.values
    if values.dtype.kind in "mM" and np.isnat(values).any():
        raise CoordinateError(
            f"Coordinate {name!r} holds NaT. Drop these steps, e.g. `da.isel({coordinate.dims[0]}="
            f"da[{name!r}].notnull())`."
        )
    if clock_of(values, units).kind == "number":
        require_numeric(values, name, coordinate.dims)
        _require_elapsed(values, name, units)
        if not units and str(name).lower() not in STEP_UNITS:
            _note_years(values, name)


def _check_order(values: np.ndarray[Any, Any], dim: Hashable, turn: float | None) -> None:
    repeats = values.size - np.unique(values).size
    if repeats:
        raise CoordinateError(
            f"Coordinate {dim!r} has {repeats} duplicate value(s). Merge them first, e.g. "
            f"`da.groupby({str(dim)!r}).mean()` or `da.drop_duplicates({str(dim)!r})`."
        )
    if not (_rises(values, turn) or _rises(values[::-1], turn)):
        raise CoordinateError(f"Coordinate {dim!r} is not sorted. Sort it first: `da.sortby({str(dim)!r})`.")


def _rises(values: np.ndarray[Any, Any], turn: float | None) -> bool:
    """Whether values rise throughout or, round a circle, with one jump back: 178, 179, −180, −179."""
    jumps = np.flatnonzero(values[1:] < values[:-1])
    if turn is None or jumps.size != 1:
        return jumps.size == 0
    before, after = float(values[jumps[0]]), float(values[jumps[0] + 1])
    return turn / 2 < before - after < turn and bool(values[-1] < values[0])


def is_closed(longitude: np.ndarray[Any, Any], turn: float = 360.0) -> bool:
    """Whether a regular longitude axis closes: |n·Δλ − 360°| ≤ 1e-3·Δλ (or the first meridian is repeated).

    The rounding of the type that the axis is stored in is forgiven.
    """
    if longitude.size < 4:
        return False
    steps = np.diff(np.unwrap(longitude.astype(np.float64), period=turn))
    step = abs(float(steps.mean()))
    stored = longitude.dtype if longitude.dtype.kind == "f" else np.dtype(np.float64)
    tolerance = 1e-3 * step + 2 * float(np.spacing(np.abs(longitude).max().astype(stored)))
    regular = bool(np.all(np.abs(np.abs(steps) - step) <= tolerance))
    return regular and min(abs(longitude.size * step - turn), abs((longitude.size - 1) * step - turn)) <= tolerance


def require_numeric(values: np.ndarray[Any, Any], name: Hashable, dims: tuple[Hashable, ...] | None = None) -> None:
    """Refuse a coordinate that is not made of finite real numbers; `dims` are its own, if not its name."""
    if values.dtype.kind not in "iuf":
        raise CoordinateError(
            f"Coordinate {name!r} has dtype {values.dtype}; expected real numbers. Convert it, or drop the labels "
            f"of all axes to use their indices: `da.drop_vars(da.indexes)`."
        )
    lost, far = ~np.isfinite(values), np.abs(values, dtype=float) >= FAR
    if lost.any():
        found = f"{int(lost.sum())} NaN or infinite value(s)"
        raise CoordinateError(f"Coordinate {name!r} holds {found}. {_cure_of_lost(name, dims, 'np.isfinite({})')}")
    if far.any():
        found = f"{int(far.sum())} value(s) like {float(values[far].flat[0]):.3g}, which stand for no place or time"
        raise CoordinateError(f"Coordinate {name!r} holds {found}. {_cure_of_lost(name, dims, f'abs({{}}) < {FAR:g}')}")


FAR = 1e19
"""Coordinates from here on are fill values, not nanoseconds or metres."""


def _cure_of_lost(name: Hashable, dims: tuple[Hashable, ...] | None, known: str) -> str:
    """What to type where a coordinate is not known: cells of unknown place are dropped, never invented."""
    if dims == ():
        return f"Give it, e.g. `da.assign_coords({name}=45.0)`, or drop it: `da.drop_vars({name!r})`."
    if dims is None or len(dims) == 1:
        return f"Drop them, e.g. `da.isel({name if dims is None else dims[0]}={known.format(f'da[{name!r}]')})`."
    return (
        f"Make the cells a list of sites and drop these, e.g. `da.stack(site={dims!r}, create_index=False)"
        f".pipe(lambda s: s.isel(site={known.format(f's[{name!r}]')}))`."
    )
