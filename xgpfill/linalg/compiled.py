"""Loops compiled to machine code, run on several threads: for the many small problems that no array library batches."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numba
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

Function = TypeVar("Function", bound="Callable[..., object]")

REORDERED = {"reassoc", "contract", "nsz"}
"""Sums may be taken in any order. NaN must be told by comparison: `isfinite` is compiled to nothing."""
PARTS_PER_THREAD = 8


def compiled(function: Function) -> Function:
    """Compile a function on its first call; what was compiled is kept on disk where that can be written to."""
    compile_with = partial(numba.njit, nogil=True, fastmath=REORDERED, error_model="numpy")
    try:
        found = compile_with(cache=True)(function)
    except RuntimeError:  # no folder to keep it in
        found = compile_with()(function)
    return cast("Function", found)


def on_threads(work: Callable[[int, int], None], count: int, *, least: int = 256) -> None:
    """Call ``work(start, stop)`` for parts of ``range(count)``, on as many threads as torch uses."""
    threads = min(torch.get_num_threads(), max(1, count // least))
    if threads == 1:
        work(0, count)
        return
    step = max(least, -(-count // (threads * PARTS_PER_THREAD)))
    with ThreadPoolExecutor(threads) as pool:
        parts = [pool.submit(work, start, min(start + step, count)) for start in range(0, count, step)]
        for part in parts:
            part.result()


def plain(value: Any) -> Any:
    """Named tuples, and those in them, as plain ones: compiled code on disk must not need to know our classes."""
    return tuple(plain(part) for part in value) if isinstance(value, tuple) else value
