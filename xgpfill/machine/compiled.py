"""Loops compiled to machine code, for the many small problems that no array library batches."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numba

if TYPE_CHECKING:
    from collections.abc import Callable

Function = TypeVar("Function", bound="Callable[..., object]")

REORDERED = {"reassoc", "contract", "nsz"}
"""Sums may be taken in any order. NaN must be told by comparison: `isfinite` is compiled to nothing."""


def compiled(function: Function) -> Function:
    """Compile a function on its first call; what was compiled is kept on disk where that can be written to."""
    compile_with = partial(numba.njit, nogil=True, fastmath=REORDERED, error_model="numpy")
    try:
        found = compile_with(cache=True)(function)
    except RuntimeError:  # no folder to keep it in
        found = compile_with()(function)
    return cast("Function", found)


def plain(value: Any) -> Any:
    """Named tuples, and those in them, as plain ones: compiled code on disk must not need to know our classes."""
    return tuple(plain(part) for part in value) if isinstance(value, tuple) else value
