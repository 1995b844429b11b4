"""Kernels as frozen, torch-free data: what a covariance is, not how it is evaluated.

Every kernel here is a correlation function of one axis (time in days, or space in km); a variance that is given with
it belongs to the term that uses it (see :mod:`xgpfill.kernels.prior`). Brownian is the one exception whose diagonal is
not constant.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, Self

from xgpfill.errors import KernelError, listed, parentheses, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Number = float | Tensor

AXIS_UNIT = "axis"
"""Unit marker: the parameter is in the unit of its axis (days or km)."""
AXIS_FREQUENCY = "1/axis"
"""Unit marker: the parameter is in cycles per unit of its axis."""
DIMENSIONLESS = "1"


def _parameter(unit: str) -> Any:
    """A positive hyperparameter: ``None`` is learned from a start found in the data."""
    return field(default=None, metadata={"unit": unit})


@dataclass(frozen=True)
class Kernel:
    """Base of all kernels. Kernels compose: ``Matern(1.5) + Periodic(365.25)``, ``RBF() * Periodic()``.

    A number that is given is where learning starts, None lets the data tell where; ``fixed=True`` holds all numbers of
    a kernel. A given period is held all the same, unless it is to be learned: a year is a year.

    Parameters
    ----------
    variance : float, optional
        In data units², by keyword: of the term that the kernel is of, where learning starts, or held when the kernel is
        fixed. Those of a sum add up, those of a product, and of time and space, are multiplied.
    """

    variance: Number | None = field(default=None, kw_only=True, repr=False)

    def __add__(self, other: Kernel | str) -> Sum:
        return Sum(_flat(Sum, self) + _flat(Sum, as_kernel(other)))

    def __radd__(self, other: str) -> Sum:
        return as_kernel(other) + self

    def __mul__(self, other: Kernel | str) -> Product:
        return Product(_flat(Product, self) + _flat(Product, as_kernel(other)))

    def __rmul__(self, other: str) -> Product:
        return as_kernel(other) * self

    @classmethod
    def parameter_units(cls) -> dict[str, str]:
        """Names of this kernel's own hyperparameters and their units."""
        return {f.name: f.metadata["unit"] for f in fields(cls) if "unit" in f.metadata}

    def holds(self, name: str) -> bool:  # noqa: ARG002  (what a kernel says of each of its numbers)
        """Whether learning leaves the hyperparameter of this name at the number that was given."""
        return bool(getattr(self, "fixed", False))

    @property
    def is_fixed(self) -> bool:
        """Whether any hyperparameter is held at its given value."""
        return bool(getattr(self, "fixed", False)) or any(part.is_fixed for part in self.parts)

    @property
    def parts(self) -> tuple[Kernel, ...]:
        """The kernels this one is composed of; empty for a simple kernel."""
        return ()

    def with_parts(self, parts: tuple[Kernel, ...]) -> Self:
        """The same composition of other kernels."""
        changed: dict[str, Any] = {"parts": parts} if parts else {}
        return replace(self, **changed)

    def __post_init__(self) -> None:
        """Check that given numbers are positive and that what is fixed is given."""
        self._require_variance()
        for name in self.parameter_units():
            value = getattr(self, name)
            if value is None and getattr(self, "fixed", False):
                raise KernelError(
                    f"{type(self).__name__} is fixed but has no {name}. "
                    f"Give a number, e.g. `{type(self).__name__}({name}=10.0, fixed=True)`."
                )
            if value is not None and not _in_range(value, zero=False):
                raise KernelError(
                    f"{type(self).__name__}({name}={value!r}): expected a positive, finite number, or None to learn it."
                )

    def _require_variance(self) -> None:
        """Refuse a variance that is none."""
        if self.variance is not None and not _in_range(self.variance, zero=False):
            raise KernelError(
                f"{type(self).__name__}(variance={self.variance!r}): expected a positive, finite number in squared "
                f"units of the data, or None to learn it."
            )


@dataclass(frozen=True)
class Matern(Kernel):
    """Matérn covariance of smoothness `nu`.

    Parameters
    ----------
    nu : {0.5, 1.5, 2.5}
        Smoothness: 0.5 is rough (exponential), 2.5 twice differentiable.
    lengthscale : float, optional
        In the axis' unit (days or km); None learns it, a number is where learning starts.
    fixed : bool
        Hold the lengthscale at the given number.

    Notes
    -----
    Rasmussen & Williams (2006), eq. 4.17.

    Examples
    --------
    >>> Matern(nu=2.5, lengthscale=30.0)
    Matern(nu=2.5, lengthscale=30.0, fixed=False)
    """

    nu: float = 1.5
    lengthscale: Number | None = _parameter(AXIS_UNIT)
    fixed: bool = False

    def __post_init__(self) -> None:
        if self.nu not in (0.5, 1.5, 2.5):
            raise KernelError(f"Matern(nu={self.nu!r}): expected nu of 0.5, 1.5 or 2.5, e.g. `Matern(nu=1.5)`.")
        super().__post_init__()


@dataclass(frozen=True)
class RBF(Kernel):
    """Gaussian (squared exponential) covariance, infinitely smooth. Rasmussen & Williams (2006), eq. 4.9.

    A given `lengthscale` is where learning starts.
    """

    lengthscale: Number | None = _parameter(AXIS_UNIT)
    fixed: bool = False


@dataclass(frozen=True)
class RationalQuadratic(Kernel):
    """A mixture of Gaussian covariances over lengthscales. Rasmussen & Williams (2006), eq. 4.19.

    `alpha` is dimensionless; a large one approaches :class:`RBF`. Given numbers are where learning starts.
    """

    lengthscale: Number | None = _parameter(AXIS_UNIT)
    alpha: Number | None = _parameter(DIMENSIONLESS)
    fixed: bool = False


@dataclass(frozen=True)
class Periodic(Kernel):
    """Exactly repeating covariance. Rasmussen & Williams (2006), eq. 4.31.

    `period` is in the axis' unit; `lengthscale` is dimensionless, relative to the phase: exp(−2 sin²(πd/p)/ℓ²).
    In space it is a product over the two directions, on a plane or cylinder only.

    Parameters
    ----------
    period : float, optional
        Held when given, in all terms; None learns it from the strongest frequency of the data.
    lengthscale : float, optional
        Where learning starts.
    fixed : bool
        Hold both.
    learn_period : bool, optional
        Learn the period from the given one on.

    Examples
    --------
    >>> Periodic(365.25).holds("period"), Periodic(365.25, learn_period=True).holds("period")
    (True, False)
    """

    period: Number | None = _parameter(AXIS_UNIT)
    lengthscale: Number | None = _parameter(DIMENSIONLESS)
    fixed: bool = False
    learn_period: bool | None = None

    def __post_init__(self) -> None:
        if self.learn_period is None:
            object.__setattr__(self, "learn_period", self.period is None)
        if not isinstance(self.learn_period, bool):
            raise KernelError(f"Periodic(learn_period={self.learn_period!r}): expected True or False.")
        if self.period is None and not self.learn_period:
            raise KernelError("Periodic holds its period but has none. Give it, e.g. `Periodic(period=365.25)`.")
        super().__post_init__()

    def holds(self, name: str) -> bool:
        """Whether learning leaves this hyperparameter alone: a given period, unless it is to be learned."""
        return self.fixed or (name == "period" and not self.learn_period)


@dataclass(frozen=True)
class Spectral(Kernel):
    """Spectral mixture of `num_components` Gaussians in frequency (Wilson & Adams 2013, eq. 12).

    `frequencies` and `bandwidths` are in cycles per unit of the axis; `weights` are relative. Each is a tuple of
    `num_components` numbers, learned from the spectrum of the data when None, and from there on when given. In space
    it is a product over the two directions, on a plane or cylinder only.
    """

    num_components: int = 3
    weights: tuple[Number, ...] | None = field(default=None, metadata={"unit": DIMENSIONLESS})
    frequencies: tuple[Number, ...] | None = field(default=None, metadata={"unit": AXIS_FREQUENCY})
    bandwidths: tuple[Number, ...] | None = field(default=None, metadata={"unit": AXIS_FREQUENCY})
    fixed: bool = False

    def __post_init__(self) -> None:
        self._require_variance()
        if not isinstance(self.num_components, int) or self.num_components < 1:
            raise KernelError(f"Spectral(num_components={self.num_components!r}): expected a positive integer.")
        for name in self.parameter_units():
            value = getattr(self, name)
            if value is None and not self.fixed:
                continue
            if not isinstance(value, tuple) or len(value) != self.num_components:
                raise KernelError(
                    f"Spectral({name}={value!r}): expected a tuple of {self.num_components} positive numbers, "
                    f"one for each component, or None to learn them."
                )
            require_numbers("Spectral", name, value)


@dataclass(frozen=True)
class Brownian(Kernel):
    """Random walk in time: (offset + min(t − start, t′ − start)) / extent, for days t, t′ ≥ start.

    `start` is one time step before the first time, so the walk is not pinned there, and `extent` the days from
    there to the last time; both come from the data. `offset` (days) is learned, from the given one on if there is one.
    """

    offset: Number | None = _parameter(AXIS_UNIT)
    fixed: bool = False
    start: float | None = None
    extent: float | None = None


@dataclass(frozen=True)
class Constant(Kernel):
    """Perfect correlation along the axis: one value shared by all of it."""

    fixed: bool = False


@dataclass(frozen=True)
class Independent(Kernel):
    """No correlation along the axis at all, δ(t, t′); what ``None`` means for a kernel."""

    fixed: bool = False


@dataclass(frozen=True)
class Sum(Kernel):
    """A weighted mean of kernels, Σ wᵢ kᵢ with Σ wᵢ = 1, so that it stays a correlation function."""

    parts: tuple[Kernel, ...] = ()
    weights: tuple[Number, ...] | None = field(default=None, metadata={"unit": DIMENSIONLESS})
    fixed: bool = False

    def __post_init__(self) -> None:
        self._require_variance()
        if self.weights is not None and len(self.weights) != len(self.parts):
            raise KernelError(f"Sum has {len(self.parts)} parts but {len(self.weights)} weights; give one for each.")
        require_numbers("Sum", "weights", self.weights or ())


@dataclass(frozen=True)
class Product(Kernel):
    """A product of kernels of one axis."""

    parts: tuple[Kernel, ...] = ()


KERNELS: dict[str, Kernel] = {
    "rbf": RBF(),
    "matern": Matern(1.5),
    "matern12": Matern(0.5),
    "matern32": Matern(1.5),
    "matern52": Matern(2.5),
    "rational_quadratic": RationalQuadratic(),
    "periodic": Periodic(),
    "spectral": Spectral(),
    "brownian": Brownian(),
    "constant": Constant(),
}
"""The kernels that have a name, as they are before anything is learned."""

TYPES: dict[str, type[Kernel]] = {
    cls.__name__: cls
    for cls in (Matern, RBF, RationalQuadratic, Periodic, Spectral, Brownian, Constant, Independent, Sum, Product)
}


READERS: list[Callable[[Any], Kernel | None]] = []
"""What else makes kernels of what users give: each gives None where it does not know it."""


def as_kernel(kernel: Any) -> Kernel:
    """Read a kernel from its name, object, a GPyTorch kernel, a function, or None (independent along the axis).

    Raises
    ------
    KernelError
        When it is none of these.

    Examples
    --------
    >>> as_kernel("matern52")
    Matern(nu=2.5, lengthscale=None, fixed=False)
    """
    if kernel is None:
        return Independent()
    if isinstance(kernel, Kernel):
        return kernel
    if isinstance(kernel, str) and kernel.lower() in KERNELS:
        return KERNELS[kernel.lower()]
    found = next((own for read in READERS if (own := read(kernel)) is not None), None)
    if found is not None:
        return found
    if isinstance(kernel, str) and kernel.lower() == "auto":
        raise KernelError(
            "'auto' is no kernel but the choice of one: it stands alone in `fit(time_kernel='auto', "
            "space_kernel='auto')`, not in a sum or product. Name the kernel here, e.g. 'matern12', 'matern32' or "
            "'matern52'."
        )
    raise KernelError(
        f"Unknown kernel {shown(kernel)}.{parentheses(kernel, TYPES.values())} Known names are {listed(KERNELS)}; or "
        f"give a kernel object, "
        f"e.g. `xgpfill.Matern(nu=1.5, lengthscale=30.0)`, a GPyTorch kernel, a function of two arrays of coordinates, "
        f"None for no correlation along the axis, or, in `fit` alone, 'auto'."
    )


def _in_range(value: object, *, zero: bool) -> bool:
    """Whether it is a positive (or zero) finite number, or a tensor, which learning keeps within its bounds."""
    if hasattr(value, "requires_grad"):
        return True
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    return 0 < float(value) < float("inf") or (zero and value == 0)


def require_numbers(owner: str, name: str, values: tuple[object, ...]) -> None:
    """Refuse a vector of hyperparameters that are not finite and at least zero."""
    if not all(_in_range(value, zero=True) for value in values):
        raise KernelError(f"{owner}({name}={values!r}): expected finite numbers of at least zero.")


def _flat(kind: type[Sum | Product], kernel: Kernel) -> tuple[Kernel, ...]:
    """The parts of a kernel when it already is that composition without weights, else the kernel alone."""
    if type(kernel) is kind and getattr(kernel, "weights", None) is None:
        return kernel.parts
    return (kernel,)
