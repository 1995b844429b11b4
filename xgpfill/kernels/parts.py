"""The parts of a composed kernel."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from xgpfill.kernels.spec import Periodic, Spectral

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xgpfill.kernels.spec import Kernel


def walk(kernel: Kernel, path: str = "") -> Iterator[tuple[str, Kernel]]:
    """Every kernel in a composition with its path: '' for the root, '0.' and '1.' for its parts."""
    yield path, kernel
    for i, part in enumerate(kernel.parts):
        yield from walk(part, f"{path}{i}.")


def replaced(kernel: Kernel, values: dict[str, Any], path: str = "") -> Kernel:
    """The kernel with the hyperparameters named by path, e.g. ``{"0.lengthscale": 3.0}``, replaced."""
    own = {name: values[path + name] for name in kernel.parameter_units() if path + name in values}
    parts = tuple(replaced(part, values, f"{path}{i}.") for i, part in enumerate(kernel.parts))
    if parts:
        own["parts"] = parts
    return replace(kernel, **own) if own else kernel


def is_directional(kernel: Kernel) -> bool:
    """Whether the kernel needs the two directions of space apart instead of the distance alone."""
    return any(isinstance(k, (Periodic, Spectral)) for _, k in walk(kernel))


def has_type(kernel: Kernel, *types: type[Kernel]) -> bool:
    """Whether a kernel of one of these types is anywhere in the composition."""
    return any(isinstance(k, types) for _, k in walk(kernel))
