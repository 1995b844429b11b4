"""Options that several calls share: device, dtype, seed, tile sizes, progress bars."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from xgpfill.errors import DataError, DeviceError, MethodError, listed


def resolve_device(device: str) -> str:
    """The torch device that a name means; "auto" is the GPU when there is one.

    Raises
    ------
    DeviceError
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        return "cpu"
    if isinstance(device, str) and device.split(":", maxsplit=1)[0] == "cuda":
        if not torch.cuda.is_available():
            raise DeviceError(
                f"device={device!r} was asked for, but torch finds no GPU. Type `device='cpu'` or 'auto'."
            )
        return device
    raise DeviceError(f"Unknown device {device!r}. Choose one of {listed(('auto', 'cpu', 'cuda'))}.")


def checked_dtype(dtype: str) -> str:
    """A dtype that computation knows."""
    if dtype not in ("float64", "float32"):
        raise MethodError(f"dtype={dtype!r}: choose 'float64' or 'float32'.")
    return dtype


def checked_seed(seed: Any) -> int:
    """A seed as a plain integer."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise DataError(f"seed={seed!r}: expected an integer of at least zero.")
    return int(seed)


def canonical_sizes(sizes: Any, names: Mapping[Hashable, str]) -> Any:
    """Tile or halo sizes by canonical axis, where they were given by the data's own dimension names."""
    return {names.get(k, k): v for k, v in sizes.items()} if isinstance(sizes, Mapping) else sizes


def plain_sizes(sizes: Any) -> Any:
    """Tile or halo sizes as a plain dict that can be saved."""
    return {str(k): v for k, v in sizes.items()} if isinstance(sizes, Mapping) else sizes


def show_progress(progress: bool | None) -> bool:
    """Whether to show a bar: as asked, else when someone is watching."""
    return bool(sys.stderr.isatty() or "ipykernel" in sys.modules) if progress is None else bool(progress)


@contextmanager
def progress_bar(title: str, show: bool, *, total: int | None) -> Iterator[Any]:
    """A progress bar's step; silent unless shown."""
    if not show:
        yield lambda: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=title, leave=False) as bar:
        yield lambda: bar.update(1)
