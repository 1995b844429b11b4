"""Kernels that users bring: any function of two sets of coordinates, or a GPyTorch kernel. Nothing here imports torch.

They receive days (n, 1) on the time axis, and km in space: (n, 3) on the sphere (positions in 3-D, so that distance is
the chord), (n, 2) on a plane. Whether they are valid covariances is tested in :mod:`xgpfill.covariance.check`.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xgpfill.errors import KernelError
from xgpfill.kernels.spec import DIMENSIONLESS, READERS, Kernel, require_numbers

if TYPE_CHECKING:
    from xgpfill.kernels.spec import Number


@dataclass(frozen=True)
class Outside(Kernel):
    """Base of the kernels that users bring: a name and what evaluates them.

    `function` is None in a model that was read from a file, which never holds it.
    """

    function: Any = None
    name: str = ""

    def __post_init__(self) -> None:
        self._require_variance()
        if not isinstance(self.name, str) or not self.name:
            raise KernelError(f"{type(self).__name__}(name={self.name!r}): expected a name, e.g. `name='mine'`.")


@dataclass(frozen=True)
class FromFunction(Outside):
    """A covariance that a function evaluates: ``function(x, y)`` for float64 arrays (n, d) and (m, d) gives (n, m).

    Parameters
    ----------
    function : callable
        Of days (n, 1) along time; of km in space, (n, 3) on the sphere, (n, 2) on a plane. Its values are multiplied
        with the variance of the term, so where that is learned let it be one at zero lag.
    name : str, optional
        By default the function's own; a saved model asks for it by this name.
    fixed : bool
        Hold the variance that is given.

    Examples
    --------
    >>> import numpy as np
    >>> def triangle(x, y):  # positive definite along one axis
    ...     return np.maximum(0.0, 1.0 - np.abs(x - y.T) / 30.0)
    >>> FromFunction(triangle).name
    'triangle'
    """

    fixed: bool = False

    def __post_init__(self) -> None:
        if self.function is not None and not callable(self.function):
            raise KernelError(
                f"FromFunction({self.function!r}): expected a function of two arrays, e.g. "
                f"`FromFunction(lambda x, y: np.exp(-np.abs(x - y.T) / 30.0), name='mine')`."
            )
        if not self.name:
            found = str(getattr(self.function, "__name__", type(self.function).__name__))
            object.__setattr__(self, "name", found.strip("<>"))
        super().__post_init__()


@dataclass(frozen=True)
class FromGPyTorch(Outside):
    """A GPyTorch kernel, whose positive hyperparameters are learned with the others.

    Parameters
    ----------
    function : gpytorch.kernels.Kernel
        Copied, so that the one that was given never changes. A ``ScaleKernel`` around all of it is left out: the
        variance belongs to the term.
    name : str, optional
        By default its class.
    parameters : tuple of float, optional
        Its hyperparameters, flat, in the order of ``named_parameters``; where learning starts. By default those it has.
    fixed : bool
        Hold them.

    Examples
    --------
    >>> import gpytorch
    >>> FromGPyTorch(gpytorch.kernels.RBFKernel()).name
    'RBFKernel'
    """

    parameters: tuple[Number, ...] | None = field(default=None, metadata={"unit": DIMENSIONLESS})
    fixed: bool = False

    def __post_init__(self) -> None:
        if self.function is not None and not is_gpytorch(self.function):
            raise KernelError(
                f"FromGPyTorch({self.function!r}): expected a GPyTorch kernel, e.g. "
                f"`FromGPyTorch(gpytorch.kernels.RBFKernel())`; for a function of two arrays use `FromFunction`."
            )
        if self.function is not None and (self.parameters is None or not self.name):
            module = copy.deepcopy(self.function)
            if type(module).__name__ == "ScaleKernel":
                module = module.base_kernel
            module = module.double().eval().requires_grad_(False)
            object.__setattr__(self, "function", module)
            object.__setattr__(self, "parameters", self.parameters or _read_parameters(module))
            object.__setattr__(self, "name", self.name or type(module).__name__)
        require_numbers("FromGPyTorch", "parameters", self.parameters or ())
        super().__post_init__()


def is_gpytorch(thing: object) -> bool:
    """Whether it is a GPyTorch kernel, found out without importing GPyTorch."""
    names = {f"{c.__module__.split('.')[0]}.{c.__name__}" for c in type(thing).__mro__}
    return "gpytorch.Kernel" in names


def as_outside(thing: object) -> Outside | None:
    """A kernel from a GPyTorch kernel or a function of two arrays; None when it is neither."""
    if is_gpytorch(thing):
        return FromGPyTorch(thing)
    if callable(thing) and not isinstance(thing, type):
        return FromFunction(thing)
    return None


def with_function(kernel: Outside, given: object) -> Outside:
    """A kernel read from a file with what evaluates it given back.

    Raises
    ------
    KernelError
        When it is of another kind, or has another number of hyperparameters.
    """
    made = as_outside(given)
    if made is None or type(made) is not type(kernel):
        raise KernelError(
            f"kernels={{{kernel.name!r}: ...}} is a {type(given).__name__}; the model was fitted with "
            f"{'a GPyTorch kernel' if isinstance(kernel, FromGPyTorch) else 'a function of two arrays'}."
        )
    changes: dict[str, Any] = {"function": made.function, "name": kernel.name}
    if isinstance(kernel, FromGPyTorch) and isinstance(made, FromGPyTorch):
        given_count, count = len(made.parameters or ()), len(kernel.parameters or ())
        if given_count != count:
            raise KernelError(
                f"kernels={{{kernel.name!r}: ...}} has {given_count} hyperparameters, the fitted one had {count}. "
                f"Give a kernel of the same kind."
            )
        changes |= {"parameters": kernel.parameters, "fixed": kernel.fixed}
    return type(kernel)(**changes)


def positive_parameters(module: Any) -> list[tuple[str, Any, Any]]:
    """The hyperparameters of a GPyTorch kernel that are positive: name, raw tensor, constraint."""
    found = []
    for name, raw, constraint in module.named_parameters_and_constraints():
        if constraint is not None and float(constraint.lower_bound.min()) >= 0.0:
            found.append((name, raw, constraint))
    return found


def _read_parameters(module: Any) -> tuple[float, ...]:
    values: list[float] = []
    for _, raw, constraint in positive_parameters(module):
        values += constraint.transform(raw).detach().reshape(-1).tolist()
    return tuple(values)


READERS.append(as_outside)
