"""Which ratio of lengthscales to the east and north is asked for, and places whose distances know it. No torch."""

from __future__ import annotations

from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.errors import KernelError, MethodError, shown
from xgpfill.grid.directions import drawn_together, places_of
from xgpfill.grid.metric import EARTH_RADIUS_KM
from xgpfill.kernels.by_latitude import ByLatitude
from xgpfill.kernels.outside import Outside
from xgpfill.kernels.parts import has_type, is_directional, walk
from xgpfill.kernels.spec import as_kernel
from xgpfill.layout.encode import encode

if TYPE_CHECKING:
    from collections.abc import Hashable

    from xgpfill.grid.lattice import Lattice, Space
    from xgpfill.grid.metric import Metric
    from xgpfill.layout.encode import Layout

NAME = "anisotropy"
"""Of the ratio among hyperparameters."""
LARGEST = 10.0
"""Ratio that is learned, at most; at least, its inverse."""
WIDEST, UNEVEN = 180.0, 1.5
"""Degrees of longitude of a region that is a plane, at most, and how much longer its longest parallel is, at most."""
LEAST = 1e-6
"""Of the extent to the north or east: what is less is none."""


def asked_for(anisotropy: Any, space_kernel: Any, hyperparameters: xr.Dataset | None) -> float | bool | None:
    """The ratio that is asked for: a number, True where it is to be learned, or None.

    Raises
    ------
    KernelError
        When it is none of these, `hyperparameters` say otherwise, or no kernel of space has a lengthscale.
    """
    wanted = _read(anisotropy)
    if isinstance(hyperparameters, xr.Dataset):
        wanted = _with_hyperparameters(1.0 if anisotropy is False else wanted, hyperparameters)
    if wanted is None:
        return None
    kernel = as_kernel(space_kernel)
    if has_type(kernel, Outside) or is_directional(kernel):
        raise KernelError(
            f"anisotropy={shown(anisotropy)} draws distances together, while periodic and spectral kernels and those "
            f"that you bring read the two directions of space themselves. Leave `anisotropy=` out, or choose e.g. "
            f"`space_kernel='matern32'`."
        )
    if not any("lengthscale" in part.parameter_units() for _, part in walk(kernel)):
        raise KernelError(
            f"anisotropy={shown(anisotropy)} is of the lengthscales of `space_kernel`, and {shown(space_kernel)} has "
            f"none. Leave `anisotropy=` out, or choose e.g. `space_kernel='matern32'`."
        )
    return wanted


def _read(anisotropy: Any) -> float | bool | None:
    if anisotropy is None or anisotropy is False:
        return None
    if anisotropy is True:
        return True
    number = float(anisotropy) if isinstance(anisotropy, Real) else np.nan
    if not 0.0 < number < np.inf:
        raise KernelError(
            f"anisotropy={shown(anisotropy)}: expected how many times as long lengthscales are to the east as to the "
            f"north, a positive number such as 2.0; True to learn it; or None, the same in all directions."
        )
    return number


def _with_hyperparameters(wanted: float | bool | None, hyperparameters: xr.Dataset) -> float | None:
    """What other hyperparameters were learned with, which a number that is asked for must equal."""
    known = float(hyperparameters[NAME]) if NAME in hyperparameters else None
    if wanted is None or wanted is True:
        if wanted and known is None:
            raise KernelError(
                "`hyperparameters` hold no anisotropy, and nothing is learned beside them. Leave `anisotropy=True` "
                "out, or learn anew without `hyperparameters=`."
            )
        return known
    if abs((known or 1.0) - wanted) > 1e-9 * wanted:
        raise KernelError(
            f"`hyperparameters` were learned with lengthscales {known or 1.0:g} times as long to the east as to the "
            f"north, and anisotropy={wanted:g} says otherwise. Leave `anisotropy=` out, or learn anew."
        )
    return known


def require_learning(ratio: float | bool | None, *, given: bool) -> None:
    """Refuse to learn a ratio where all other numbers are given and nothing is learned.

    Raises
    ------
    KernelError
    """
    if given and ratio is True:
        raise KernelError(
            "anisotropy=True is to be learned, while all other numbers are given and held, so that nothing is. Give "
            "the ratio, e.g. `anisotropy=2.0`, or leave a lengthscale or variance to be learned."
        )


def require_apart(ratio: float | bool | None, space_kernel: Any, barrier: Any, depth: Hashable | None) -> None:
    """Refuse a land barrier or a fitted depth beside lengthscales that differ with direction or latitude.

    Raises
    ------
    MethodError
    """
    by_latitude = not isinstance(space_kernel, Outside) and has_type(as_kernel(space_kernel), ByLatitude)
    said = "anisotropy=" if ratio is not None else "ByLatitude" if by_latitude else ""
    other = "barrier=" if barrier is not None else f"a fitted depth ({depth!r} in dims=)" if depth is not None else ""
    if said and other:
        raise MethodError(
            f"{said} was asked for together with {other}; lengthscales that differ with direction or latitude are not "
            f"built for land barriers or fitted depth. Leave one of them out."
        )


def as_asked(
    da: xr.DataArray, lattice: Lattice, layout: Layout, ratio: float | bool, *, geometry: str, how: dict[str, Any]
) -> tuple[Lattice, Layout]:
    """The same data on places whose distances know the ratio; of one to be learned on those that can.

    Where nothing is said of the `geometry`, a region is a plane, on which east and north are the same everywhere.

    Raises
    ------
    KernelError
        When all places lie on one line to the east or north.
    """
    metric = layout.metric
    if geometry == "auto" and metric.geometry == "sphere" and _is_region(lattice.space):
        metric = replace(metric, geometry="plane")
    metric = replace(metric, anisotropy=1.0 if ratio is True else float(ratio))
    if metric != layout.metric:
        own = {key: how[key] for key in ("valid", "errors")}
        lattice, layout = encode(da, like=replace(layout, metric=metric), check=False, **own)
    if not all(_extents(lattice.space)):
        raise KernelError(
            "anisotropy= is about lengthscales to the east and to the north, and all these places lie on one line. "
            "Leave it out, or give places that differ in both directions."
        )
    return lattice, layout


def stretched(space: Space, metric: Metric, ratio: float) -> tuple[Space, Metric]:
    """Places and the metric that they were made by, with another ratio in place of one."""
    metric = replace(metric, anisotropy=ratio)
    coordinates = drawn_together(space.coordinates, space.geometry, ratio)
    return replace(space, coordinates=coordinates, metric=space.metric and metric), metric


def _is_region(space: Space) -> bool:
    """Whether places on a sphere are few enough degrees apart for a plane."""
    places = places_of(space.coordinates) / EARTH_RADIUS_KM
    width = np.hypot(places[..., 0], places[..., 1])  # of parallels
    narrow = float(np.ptp(np.rad2deg(np.arctan2(places[..., 1], places[..., 0])))) <= WIDEST
    return narrow and float(width.max()) <= UNEVEN * float(width.min())


def _extents(space: Space) -> tuple[bool, bool]:
    """Whether places differ to the east and to the north."""
    places = places_of(space.coordinates)
    if space.geometry == "plane":
        east, north = places[..., 0], places[..., 1]
    else:
        middle = complex(places[..., 0].mean(), places[..., 1].mean()) or 1.0
        turned = (places[..., 0] + 1j * places[..., 1]) * np.conj(middle) / abs(middle)
        east, north = turned.imag, places[..., 2]
    least = LEAST * max(float(np.ptp(east)), float(np.ptp(north)))
    return float(np.ptp(east)) > least, float(np.ptp(north)) > least
