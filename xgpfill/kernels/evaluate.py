"""Kernels evaluated with torch: correlation as a function of lags, differentiable in the hyperparameters."""

from __future__ import annotations

import math
from contextlib import contextmanager
from copy import copy
from functools import cached_property
from itertools import pairwise
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from xgpfill.errors import KernelError
from xgpfill.grid.directions import COLUMNS, has_directions, has_variables, places_of, variable_of
from xgpfill.grid.metric import EARTH_RADIUS_KM
from xgpfill.kernels.averaged import Averaged
from xgpfill.kernels.functions.by_latitude import ByLatitude
from xgpfill.kernels.functions.matern import MaternCorrelation, MaternTerm
from xgpfill.kernels.outside import FromFunction, FromGPyTorch, positive_parameters
from xgpfill.kernels.spec import (
    RBF,
    Brownian,
    Constant,
    Independent,
    Kernel,
    Matern,
    Periodic,
    Product,
    RationalQuadratic,
    Shared,
    Spectral,
    Sum,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from xgpfill.kernels.outside import Outside
    from xgpfill.kernels.prior import Prior, Term


class Lags:
    """Separation of two sets of coordinates along one axis, each view computed once and when needed.

    Parameters
    ----------
    first, second : Tensor (..., d)
        Coordinates that broadcast against each other: (n, 1, d) and (1, m, d) for a matrix, (p, d) for pairs; those
        of components of a vector with their directions (:mod:`xgpfill.grid.directions`).
    geometry : {"time", "sphere", "cylinder", "plane"}
    """

    def __init__(self, first: Tensor, second: Tensor, geometry: str) -> None:
        self.first: Tensor = places_of(first)
        self.second: Tensor = places_of(second)
        self.geometry, self._given = geometry, (first, second)

    @classmethod
    def matrix(cls, first: Tensor, second: Tensor, geometry: str) -> Lags:
        """Lags of every element of `first` (..., n, d) with every one of `second` (..., m, d)."""
        return cls(first[..., :, None, :], second[..., None, :, :], geometry)

    @cached_property
    def distance(self) -> Tensor:
        """Euclidean distance, by direct differences: exact also for near neighbours."""
        size = self.first.shape[-1]
        if size == 1:
            return (self.first[..., 0] - self.second[..., 0]).abs()
        square = (self.first[..., 0] - self.second[..., 0]).square()
        for k in range(1, size):
            square = square + (self.first[..., k] - self.second[..., k]).square()
        if square.requires_grad:  # the square root has no derivative at zero
            apart = square > 0
            return torch.where(apart, square, 1.0).sqrt() * apart
        return square.sqrt()

    def over(self, factor: Tensor) -> Lags:
        """The same with each distance divided by a factor of its own, for what is a function of distance alone."""
        found = copy(self)
        found.__dict__["distance"] = self.distance / factor
        return found

    @cached_property
    def alignment(self) -> Tensor | None:
        """The cosine between the directions of components, d·d'; None where there are none."""
        a, b = self._given
        if not has_directions(a):
            return None
        return sum((a[..., k] * b[..., k] for k in range(-COLUMNS, 0)), start=a.new_zeros(()))

    @cached_property
    def variables(self) -> tuple[Tensor, Tensor] | None:
        """The numbers of the variables of both; None where coordinates do not say."""
        a, b = self._given
        return (variable_of(a).long(), variable_of(b).long()) if has_variables(a) else None

    @cached_property
    def components(self) -> tuple[Tensor, ...]:
        """The separation in each direction, in the axis' unit (two directions in space)."""
        if self.geometry == "sphere":
            raise KernelError(
                "periodic and spectral kernels of space are not valid on the sphere. "
                "Type `geometry='plane'` (a region) or leave `geometry='auto'`."
            )
        if self.geometry == "cylinder":
            turn = torch.atan2(self.first[..., 1], self.first[..., 0])
            turn = turn - torch.atan2(self.second[..., 1], self.second[..., 0])
            wrapped = torch.remainder(turn + math.pi, 2 * math.pi) - math.pi
            return (EARTH_RADIUS_KM * wrapped, self.first[..., 2] - self.second[..., 2])
        return tuple(self.first[..., k] - self.second[..., k] for k in range(self.first.shape[-1]))

    @cached_property
    def pairs(self) -> tuple[Tensor, Tensor, bool]:
        """The two sets (..., n, d) and (..., m, d) when every one meets every other (True); else the pairs, (n, d)."""
        first, second = self.first, self.second
        if first.ndim >= 3 and first.shape[-2] == 1 and second.shape[-3] == 1:
            return first[..., 0, :], second[..., 0, :, :], True
        shape = torch.broadcast_shapes(first.shape, second.shape)  # type: ignore[no-untyped-call]
        return first.expand(shape), second.expand(shape), False


def correlation(kernel: Kernel, lags: Lags) -> Tensor:
    """Evaluate a kernel whose hyperparameters are all numbers or tensors; of components, k d·d'.

    Returns
    -------
    Tensor
        The correlation at every lag, of the lags' broadcast shape.
    """
    found = _scalar(kernel, lags)
    return found if lags.alignment is None else found * lags.alignment


def _scalar(kernel: Kernel, lags: Lags) -> Tensor:
    """A kernel of places alone."""
    try:
        evaluate = _EVALUATORS[type(kernel)]
    except KeyError:
        raise KernelError(f"No evaluator for kernel {kernel!r}.") from None
    return evaluate(kernel, lags)


def prior_covariance(prior: Prior, time: Lags, space: Lags) -> Tensor:
    """Σ_j v_j k_time,j k_space,j at every lag, differentiable in whatever hyperparameters are tensors."""
    total: Any = None
    for term in prior.terms:
        part: Any = _term_covariance(term, time, space)
        total = part if total is None else total + part
    if not isinstance(total, torch.Tensor) or total.shape != time.distance.shape:
        total = (0.0 if total is None else total) + torch.zeros_like(time.distance)
    found: Tensor = total
    return found


def _term_covariance(term: Term, time: Lags, space: Lags) -> Tensor | float | None:
    """V k_time k_space at every lag; the variance alone where both are one."""
    if _is_learned(term) and not time.distance.requires_grad and not space.distance.requires_grad:
        axes = ((term.time, time), (term.space, space))
        distances = [None if isinstance(k, Constant) else axis.distance for k, axis in axes]
        scales = [getattr(k, "lengthscale", None) for k, _ in axes]
        nus = [getattr(k, "nu", None) for k, _ in axes]
        found: Tensor = MaternTerm.apply(term.variance, *distances, *scales, *nus)  # type: ignore[no-untyped-call]
        return found if space.alignment is None else found * space.alignment
    part: Any = term.variance
    for kernel, lags in ((term.time, time), (term.space, space)):
        if not isinstance(kernel, Constant):
            part = correlation(kernel, lags) * part
    return part  # type: ignore[no-any-return]


def _is_learned(term: Term) -> bool:
    """Whether a term is of Matérn kernels whose numbers are all being learned."""
    kernels = [k for k in (term.time, term.space) if not isinstance(k, Constant)]
    numbers = [term.variance, *(k.lengthscale if isinstance(k, Matern) else None for k in kernels)]
    return bool(kernels) and all(isinstance(number, torch.Tensor) for number in numbers)


def _matern(kernel: Matern, lags: Lags) -> Tensor:
    if isinstance(kernel.lengthscale, torch.Tensor) and not lags.distance.requires_grad:
        value: Tensor = MaternCorrelation.apply(lags.distance, kernel.lengthscale, kernel.nu)  # type: ignore[no-untyped-call]
        return value
    a = lags.distance * (math.sqrt(2 * kernel.nu) / _number(kernel.lengthscale))
    if kernel.nu == 0.5:
        return torch.exp(-a)
    return (1 + a if kernel.nu == 1.5 else 1 + a + a * a / 3) * torch.exp(-a)


def _rbf(kernel: RBF, lags: Lags) -> Tensor:
    return torch.exp(-0.5 * (lags.distance / _number(kernel.lengthscale)).square())


def _rational_quadratic(kernel: RationalQuadratic, lags: Lags) -> Tensor:
    alpha = _number(kernel.alpha)
    scaled = (lags.distance / _number(kernel.lengthscale)).square()
    return torch.exp(-alpha * torch.log1p(scaled / (2 * alpha)))


def _periodic(kernel: Periodic, lags: Lags) -> Tensor:
    period, lengthscale = _number(kernel.period), _number(kernel.lengthscale)
    phase = torch.stack([torch.sin(math.pi * lag / period).square() for lag in lags.components]).sum(0)
    return torch.exp(-2 * phase / lengthscale**2)


def _spectral(kernel: Spectral, lags: Lags) -> Tensor:
    weights = _weights(kernel.weights, kernel.num_components)
    frequencies, bandwidths = kernel.frequencies, kernel.bandwidths
    assert frequencies is not None  # resolved before evaluation
    assert bandwidths is not None

    def mixture(lag: Tensor) -> Tensor:
        parts = (
            w * torch.exp(-2 * (math.pi * lag * b).square()) * torch.cos(2 * math.pi * lag * f)
            for w, f, b in zip(weights, frequencies, bandwidths, strict=True)
        )
        return sum(parts)  # type: ignore[return-value]

    return math.prod(map(mixture, lags.components))  # type: ignore[return-value]


def _brownian(kernel: Brownian, lags: Lags) -> Tensor:
    if kernel.start is None or kernel.extent is None:
        raise KernelError("A brownian kernel has no start; it gets one from the data in `fit`.")
    elapsed = torch.minimum(lags.first[..., 0], lags.second[..., 0]) - kernel.start
    return (_number(kernel.offset) + elapsed.clamp_min(0.0)) / kernel.extent


def _constant(_: Constant, lags: Lags) -> Tensor:
    return lags.distance.new_ones(()).expand(lags.distance.shape)


def _independent(_: Independent, lags: Lags) -> Tensor:
    return (lags.distance == 0).to(lags.distance.dtype)


def _sum(kernel: Sum, lags: Lags) -> Tensor:
    weights = _weights(kernel.weights, len(kernel.parts))
    parts = (w * _scalar(part, lags) for w, part in zip(weights, kernel.parts, strict=True))
    return sum(parts)  # type: ignore[return-value]


def _shared(kernel: Shared, lags: Lags) -> Tensor:
    found = _scalar(kernel.of_one, lags)
    if lags.variables is None:  # of what is shared, whatever the variables have of it
        return found
    loadings = torch.as_tensor(kernel.loadings, dtype=found.dtype, device=found.device)
    first, second = lags.variables
    return found * loadings[first] * loadings[second]


def _by_latitude(kernel: ByLatitude, lags: Lags) -> Tensor:
    a, b = (kernel.at(places[..., -1], lags.geometry) for places in (lags.first, lags.second))
    square = 0.5 * (a.square() + b.square())
    return (a * b / square) ** (0.5 * lags.first.shape[-1]) * _scalar(kernel.of_one, lags.over(square.sqrt()))


def _product(kernel: Product, lags: Lags) -> Tensor:
    return math.prod(_scalar(part, lags) for part in kernel.parts)  # type: ignore[return-value]


AVERAGED_AT_ONCE = 2**22
"""Covariances of members of groups that are held at once."""


def _averaged(kernel: Averaged, lags: Lags) -> Tensor:
    first, second, every = lags.pairs
    if first.dtype == torch.float32:
        kernel.members.require_precise(float(torch.maximum(first.abs().max(), second.abs().max())))
    a, b = (x.detach().double().cpu().reshape(-1, x.shape[-1]) for x in (first, second))
    if not every:
        return _averaged_pairs(kernel, a, b, lags.geometry).reshape(first.shape[:-1]).to(first)
    if first.ndim > 2 or second.ndim > 2:
        pairs = zip(*_batched(first, second), strict=True)
        batches = [_averaged(kernel, Lags.matrix(x, y, lags.geometry)) for x, y in pairs]
        return torch.stack(batches).reshape(_matrices(first, second))
    (places, owner, weight), right = (_members(kernel, x) for x in (a, b))
    found = torch.zeros(len(a), len(b), dtype=torch.float64)
    step = max(1, AVERAGED_AT_ONCE // max(1, len(right[0])))
    for start in range(0, len(places), step):
        some = slice(start, start + step)
        part = correlation(kernel.kernel, Lags.matrix(places[some], right[0], lags.geometry)) * weight[some, None]
        if len(right[0]) > len(b):
            part = part.new_zeros(len(part), len(b)).index_add_(1, right[1], part * right[2])
        found.index_add_(0, owner[some], part)
    return found.to(first)


def _members(kernel: Averaged, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The places that points average, which point each is of, and its weight."""
    places, count = kernel.members.of(x.numpy())
    owner = np.repeat(np.arange(len(x)), count)
    return torch.as_tensor(places), torch.as_tensor(owner), torch.as_tensor(1.0 / count[owner])


def _averaged_pairs(kernel: Averaged, a: Tensor, b: Tensor, geometry: str) -> Tensor:
    """Each of `a` with the one of `b` beside it: all members of the one with all of the other."""
    (left, m), (right, n) = (kernel.members.of(x.numpy()) for x in (a, b))
    found = np.zeros(len(a))
    ends = np.append(0, np.cumsum(m * n))
    cuts = np.unique(np.append(np.searchsorted(ends, np.arange(0, ends[-1], AVERAGED_AT_ONCE)), len(a)))
    starts = [np.append(0, np.cumsum(k)) for k in (m, n)]
    for low, high in pairwise(cuts):
        pairs = m[low:high] * n[low:high]
        owner = np.repeat(np.arange(low, high), pairs)
        within = np.arange(owner.size) - np.repeat(np.cumsum(pairs) - pairs, pairs)
        i, j = starts[0][owner] + within // n[owner], starts[1][owner] + within % n[owner]
        values = correlation(kernel.kernel, Lags(torch.as_tensor(left[i]), torch.as_tensor(right[j]), geometry))
        found[low:high] = np.bincount(owner - low, values.numpy(), high - low)
    return torch.as_tensor(found / (m * n))


FUNCTION_ROWS = 256
"""Pairs that are evaluated as one small matrix, of which only the diagonal is wanted."""


def _from_function(kernel: FromFunction, lags: Lags) -> Tensor:
    first, second, every = lags.pairs
    a, b = first.detach(), second.detach()
    if every:
        batches = [_called(kernel, x, y) for x, y in zip(*_batched(a, b), strict=True)]
        return torch.stack(batches).reshape(_matrices(a, b)).to(first)
    a, b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    rows = [slice(i, i + FUNCTION_ROWS) for i in range(0, len(a), FUNCTION_ROWS)]
    parts = [_called(kernel, a[i], b[i]).diagonal() for i in rows]
    return torch.cat(parts).reshape(first.shape[:-1]).to(first)


def _matrices(a: Tensor, b: Tensor) -> torch.Size:
    """The shape of every one of `a` (..., n, d) with every one of `b` (..., m, d)."""
    lead = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])  # type: ignore[no-untyped-call]
    return torch.Size((*lead, a.shape[-2], b.shape[-2]))


def _batched(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Leading dimensions as one."""
    lead = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])  # type: ignore[no-untyped-call]
    return (
        a.expand(*lead, *a.shape[-2:]).reshape(-1, *a.shape[-2:]),
        b.expand(*lead, *b.shape[-2:]).reshape(-1, *b.shape[-2:]),
    )


def _called(kernel: FromFunction, a: Tensor, b: Tensor) -> Tensor:
    """What the user's function makes of two sets, checked."""
    x, y = (t.double().cpu().numpy() for t in (a, b))
    with _blamed(kernel, x.shape, y.shape):
        found = torch.as_tensor(kernel.function(x, y), dtype=torch.float64)
    if found.shape != (len(x), len(y)):
        raise KernelError(
            f"The kernel {kernel.name!r} gave an array of shape {tuple(found.shape)} for coordinates of shapes "
            f"{x.shape} and {y.shape}; expected {(len(x), len(y))}, the covariance of every first point with every "
            f"second one."
        )
    return found


_ONE_AT_A_TIME = Lock()
"""Held while a GPyTorch kernel is called, whose hyperparameters are put into it for the time of the call."""


class _GPyTorchCall(torch.nn.Module):
    """A GPyTorch kernel as a function of its raw hyperparameters."""

    def __init__(self, kernel: torch.nn.Module) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, a: Tensor, b: Tensor, *, diag: bool) -> Tensor:
        """The covariance matrix, or its diagonal, as a plain tensor."""
        found = self.kernel(a, b, diag=diag)
        dense: Tensor = found if diag else found.to_dense()
        return dense


def _from_gpytorch(kernel: FromGPyTorch, lags: Lags) -> Tensor:
    first, second, every = lags.pairs
    values = iter(kernel.parameters or ())
    raws = {}
    for name, raw, constraint in positive_parameters(kernel.function):
        numbers = [torch.as_tensor(next(values), dtype=torch.float64) for _ in range(raw.numel())]
        raws[f"kernel.{name}"] = constraint.inverse_transform(torch.stack(numbers).reshape(raw.shape))
    with _blamed(kernel, tuple(first.shape), tuple(second.shape)):
        call = _GPyTorchCall(kernel.function)
        with _ONE_AT_A_TIME:
            found = torch.func.functional_call(call, raws, (first.double(), second.double()), {"diag": not every})
    wanted = _matrices(first, second) if every else first.shape[:-1]
    if found.shape != wanted:
        raise KernelError(f"The kernel {kernel.name!r} gave shape {tuple(found.shape)}, expected {tuple(wanted)}.")
    answer: Tensor = found.to(first)
    return answer


@contextmanager
def _blamed(kernel: Outside, a: tuple[int, ...], b: tuple[int, ...]) -> Iterator[None]:
    """An error inside a user's kernel named as such."""
    if kernel.function is None:
        raise KernelError(
            f"This model was saved without its kernel {kernel.name!r}. Give it back: "
            f"`xgpfill.load(path, kernels={{{kernel.name!r}: kernel}})`."
        )
    try:
        yield
    except Exception as error:
        raise KernelError(
            f"The kernel {kernel.name!r} failed on coordinates of shapes {a} and {b} with {type(error).__name__}: "
            f"{error}. It must take days (n, 1) along time, or km in space ((n, 3) on the sphere, (n, 2) on a plane)."
        ) from error


_EVALUATORS: dict[type[Kernel], Callable[..., Tensor]] = {
    Matern: _matern,
    RBF: _rbf,
    RationalQuadratic: _rational_quadratic,
    Periodic: _periodic,
    Spectral: _spectral,
    Brownian: _brownian,
    Constant: _constant,
    Independent: _independent,
    Sum: _sum,
    Shared: _shared,
    ByLatitude: _by_latitude,
    Product: _product,
    Averaged: _averaged,
    FromFunction: _from_function,
    FromGPyTorch: _from_gpytorch,
}


def _number(value: float | Tensor | None) -> float | Tensor:
    """A hyperparameter that must be known by now."""
    assert value is not None, "hyperparameters are resolved before evaluation"
    return value


def _weights(weights: tuple[float | Tensor, ...] | None, count: int) -> list[float | Tensor]:
    """Relative weights normalised to sum to one; equal when None."""
    if weights is None:
        return [1.0 / count] * count
    total = sum(weights)
    return [w / total for w in weights]
