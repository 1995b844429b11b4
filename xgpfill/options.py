"""Options that several calls share: device, dtype, seed, tile sizes, progress bars."""

from __future__ import annotations

import re
import sys
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from xgpfill.checks import checked_flag
from xgpfill.checks import checked_seed as checked_seed  # noqa: PLC0414  (what needs no torch is there)
from xgpfill.errors import DeviceError, DimensionError, MethodError, listed, shown
from xgpfill.machine.interrupting import interruptible as interruptible  # noqa: PLC0414  (likewise)


def resolve_device(device: str) -> str:
    """The torch device that a name means; "auto" is the GPU when there is one.

    Raises
    ------
    DeviceError
    """
    import torch

    if not isinstance(device, str) or not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise DeviceError(
            f"Unknown device {shown(device)}. Choose one of {listed(('auto', 'cpu', 'cuda'))}, or one of several GPUs, "
            f"e.g. `device='cuda:1'`."
        )
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        return "cpu"
    if not torch.cuda.is_available():
        raise DeviceError(f"device={device!r} was asked for, but torch finds no GPU. Type `device='cpu'` or 'auto'.")
    number, count = int(device.partition(":")[2] or 0), torch.cuda.device_count()
    if number >= count:
        raise DeviceError(
            f"device={device!r} was asked for, but torch finds {count} GPU(s), counted from 0. Type "
            f"`device='cuda:{count - 1}'` or 'cuda'."
        )
    return device


def checked_dtype(dtype: str) -> str:
    """A dtype that computation knows."""
    if not isinstance(dtype, str) or dtype not in ("float64", "float32"):
        raise MethodError(f"dtype={shown(dtype)}: choose 'float64' or 'float32'.")
    return dtype


SYNONYMS: dict[Hashable, str] = {
    "time": "time",
    "y": "y",
    "lat": "y",
    "latitude": "y",
    "x": "x",
    "lon": "x",
    "longitude": "x",
}
"""Names of axes that are understood whatever the data call them."""


def canonical_sizes(what: str, sizes: Any, names: Mapping[Hashable, str]) -> Any:
    """Tile or halo sizes by canonical axis, where they were given by the data's own dimension names.

    Raises
    ------
    DimensionError
        When a name is that of no axis, or two are those of one.
    """
    if not isinstance(sizes, Mapping):
        return sizes
    axes = {**SYNONYMS, **names}
    unknown = next((k for k in sizes if k not in axes), None)
    if unknown is not None:
        raise DimensionError(f"Unknown axis {unknown!r} in {what}=. The fitted axes of the data are {listed(names)}.")
    named = {axes[k]: v for k, v in sizes.items()}
    if len(named) < len(sizes):
        raise DimensionError(f"Sizes {dict(sizes)!r} name an axis twice. Name each once: {listed(names)}.")
    return named


def plain_sizes(sizes: Any) -> Any:
    """Tile or halo sizes as a plain dict that can be saved."""
    return {str(k): v for k, v in sizes.items()} if isinstance(sizes, Mapping) else sizes


def show_progress(progress: bool | None) -> bool:
    """Whether to show a bar: as asked, else when someone is watching."""
    if progress is None:
        return bool(sys.stderr.isatty() or "ipykernel" in sys.modules)
    return checked_flag(progress, "progress")


@contextmanager
def progress_bar(title: str, show: bool, *, total: int | None) -> Iterator[Any]:
    """A progress bar's step; silent unless shown."""
    if not show:
        yield lambda: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=title, leave=False) as bar:
        yield lambda: bar.update(1)


@contextmanager
def status_line(said: str, show: bool) -> Iterator[Any]:
    """One line of words that says how far something has come; silent unless shown."""
    if not show:
        yield lambda _: None
        return
    from tqdm.auto import tqdm

    with tqdm(desc=said, bar_format="{desc} [{elapsed}]", leave=False) as bar:
        yield bar.set_description_str
