"""The prior of the field: a sum of separable space-time terms and a noise, as frozen, torch-free data.

Variances and noise are in data units², lengthscales in days and km. How terms are chosen from
``time_kernel``, ``space_kernel`` and ``combine`` is settled here; evaluation is in
:mod:`xgpfill.kernels.evaluate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Integral
from typing import TYPE_CHECKING, Any

from xgpfill.errors import KernelError, listed, shown
from xgpfill.kernels.given import Given, apart
from xgpfill.kernels.levels.spec import Layered
from xgpfill.kernels.outside import FromGPyTorch, Outside, with_function
from xgpfill.kernels.spec import (
    Brownian,
    Constant,
    Independent,
    Kernel,
    Periodic,
    as_kernel,
    has_type,
    replaced,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from xgpfill.kernels.spec import Number

COMBINATIONS = ("anova", "product", "sum")
AXES = ("time", "space")


@dataclass(frozen=True)
class Term:
    """One separable part: ``variance · k_time(t, t') · k_space(s, s')``; a constant factor is :class:`Constant`.

    `fixed` says whether the variance stays as it was given.
    """

    name: str
    time: Kernel
    space: Kernel
    variance: Number | None = None
    fixed: bool = False

    @property
    def axes(self) -> dict[str, Kernel]:
        """Its kernel of each axis: of time, of space, and of depth where it varies with that."""
        if not isinstance(self.space, Layered):
            return {"time": self.time, "space": self.space}
        return {"time": self.time, "space": self.space.of_places, "depth": self.space.of_depth}

    def with_axes(self, kernels: Mapping[str, Kernel]) -> Term:
        """The same with other kernels of some axes."""
        own = {**self.axes, **kernels}
        space = self.space.with_parts((own["space"], own["depth"])) if "depth" in own else own["space"]
        return replace(self, time=own["time"], space=space)


@dataclass(frozen=True)
class Prior:
    """All terms and the noise.

    Attributes
    ----------
    terms : tuple of Term
    noise : float or None
        Noise variance in data units²; with per-cell standard errors, the factor on their squares.
    combine : {"anova", "product", "sum"}
    geometry : {"sphere", "cylinder", "plane"}
    fixed_noise : bool
        Whether the noise stays as it was given.
    centred : bool
        Whether the mean is known, zero in standardised units: as given, and of the components of a vector, which have
        no level in common.
    """

    terms: tuple[Term, ...]
    noise: Number | None = None
    combine: str = "anova"
    geometry: str = "plane"
    fixed_noise: bool = False
    centred: bool = False

    def items(self) -> Iterator[tuple[str, Any, str, bool]]:
        """Every hyperparameter as (path, value, unit, fixed); the path is e.g. ``slow.time.lengthscale``."""
        for term in self.terms:
            yield f"{term.name}.variance", term.variance, "variance", term.fixed
            for axis, whole in term.axes.items():
                for path, kernel in walk(whole):
                    for name, unit in kernel.parameter_units().items():
                        yield f"{term.name}.{axis}.{path}{name}", getattr(kernel, name), unit, kernel.holds(name)
        yield "noise", self.noise, "variance", self.fixed_noise

    def with_values(self, values: Mapping[str, Any]) -> Prior:
        """The same prior with the hyperparameters named by path replaced."""
        terms = []
        for term in self.terms:
            own: dict[str, Kernel] = {}
            for axis, kernel in term.axes.items():
                prefix = f"{term.name}.{axis}."
                inner = {p.removeprefix(prefix): v for p, v in values.items() if p.startswith(prefix)}
                own[axis] = replaced(kernel, inner) if inner else kernel
            variance = values.get(f"{term.name}.variance", term.variance)
            terms.append(replace(term.with_axes(own), variance=variance))
        return replace(self, terms=tuple(terms), noise=values.get("noise", self.noise))

    def mapped(self, change: Callable[[Kernel], Kernel]) -> Prior:
        """The same prior with every simple kernel replaced by what `change` makes of it."""

        def changed(kernel: Kernel) -> Kernel:
            return kernel.with_parts(tuple(map(changed, kernel.parts))) if kernel.parts else change(kernel)

        terms = tuple(replace(t, time=changed(t.time), space=changed(t.space)) for t in self.terms)
        return replace(self, terms=terms)

    def scaled(self, factor: float, *, noise: bool = True) -> Prior:
        """The prior of the field times sqrt(`factor`): every variance (and the noise) times `factor`."""
        terms = tuple(replace(t, variance=None if t.variance is None else t.variance * factor) for t in self.terms)
        new_noise = self.noise * factor if noise and self.noise is not None else self.noise
        return replace(self, terms=terms, noise=new_noise)

    @property
    def is_given(self) -> bool:
        """Whether every number was given and stays as it is, so that there is nothing to learn."""
        return all(fixed and value is not None for _, value, _, fixed in self.items())

    @property
    def holds_variances(self) -> bool:
        """Whether the variance of some term stays as it was given."""
        return any(term.fixed for term in self.terms)

    def restricted(self, names: tuple[str, ...]) -> Prior:
        """The prior of the named terms alone."""
        return replace(self, terms=tuple(t for t in self.terms if t.name in names))


def build_prior(
    time_kernel: Kernel | str | None,
    space_kernel: Kernel | str | None,
    *,
    combine: str | None,
    scales: int,
    num_times: int,
    num_sites: int,
    geometry: str,
    vector: bool = False,
) -> Prior:
    """The terms that the arguments mean on a lattice of this shape, nothing learned yet.

    Components of a `vector` have no term that is the same at all places, since directions are not.

    Raises
    ------
    KernelError
        When a kernel or combination is unknown or not valid on its axis.
    """
    time, of_time = apart(as_kernel(time_kernel))
    space, of_space = apart(as_kernel(space_kernel))
    if has_type(space, Brownian):
        raise KernelError("brownian is a kernel of time only; for space choose e.g. `space_kernel='matern12'`.")
    if combine is not None and not (isinstance(combine, str) and combine in COMBINATIONS):
        raise KernelError(f"Unknown combine={shown(combine)}. Choose one of {listed(COMBINATIONS)}.")
    if isinstance(scales, bool) or not isinstance(scales, Integral) or scales < 1:
        raise KernelError(f"scales={shown(scales)}: expected a positive integer, e.g. `scales=2`.")
    one_sided = isinstance(time, Independent) or isinstance(space, Independent)
    chosen = combine or ("product" if one_sided or time.is_fixed or space.is_fixed else "anova")
    time = _along(time, num_times, chosen)
    space = _along(space, num_sites, chosen)
    terms = {"anova": _anova, "product": _product, "sum": _sum}[chosen](time, space, int(scales))
    if vector:
        terms = _of_vectors(terms, chosen)
    terms = _with_variances(terms, of_time, of_space)
    return Prior(terms=terms, combine=chosen, geometry=geometry, centred=vector)


def _along(kernel: Kernel, count: int, combine: str) -> Kernel:
    """The kernel of an axis of this many points; one point tells nothing of what is to be learned along it."""
    known = combine == "product" and _is_given(kernel)
    return Constant() if count <= 1 and not known else kernel


def _is_given(kernel: Kernel) -> bool:
    """Whether all of its numbers are given and stay."""
    numbers = [(k, name) for _, k in walk(kernel) for name in k.parameter_units()]
    return kernel.is_fixed and all(k.holds(name) and getattr(k, name) is not None for k, name in numbers)


def _with_variances(terms: tuple[Term, ...], of_time: Given, of_space: Given) -> tuple[Term, ...]:
    """The terms with the variances that were given with kernels: of a sum each its own, else of the first product."""
    products = [t.name for t in terms if t.name not in ("static", "common", "space", "time")]
    own = {"time": of_time, "space": of_space} | {name: of_time.times(of_space) for name in products[:1]}
    found = [(term, own.get(term.name, Given())) for term in terms]
    return tuple(replace(t, variance=g.variance, fixed=g.held) for t, g in found)


def _of_vectors(terms: tuple[Term, ...], combine: str) -> tuple[Term, ...]:
    """Those of a vector field, which vary from place to place; the common term of anova is left out.

    Raises
    ------
    KernelError
        When another one is the same everywhere.
    """
    kept = tuple(t for t in terms if t.name != "common")
    same = [t.name for t in kept if isinstance(t.space, Constant)]
    if same:
        raise KernelError(
            f"vector=True with combine={combine!r} has a term ({listed(same)}) that is the same at all places, where "
            f"east and north are not. Give a kernel of space that varies, e.g. `space_kernel='matern32'`, with "
            f"`combine='anova'` or 'product', on more than one place."
        )
    return kept


def _anova(time: Kernel, space: Kernel, scales: int) -> tuple[Term, ...]:
    """Static + common + `scales` products; what the data cannot tell apart is left out."""
    products = _products(time, space, scales)
    if isinstance(time, Constant) or isinstance(space, Constant):
        return products
    if isinstance(time, Independent) or isinstance(space, Independent):
        return products
    static = Term("static", Constant(), unnumbered(space))
    common = Term("common", unnumbered(time), Constant())
    return (static, common, *products)


def _products(time: Kernel, space: Kernel, scales: int) -> tuple[Term, ...]:
    """Space-time products, slowest first; given numbers belong to the slowest. Without any to learn they are one."""
    scales = scales if any(_has_numbers(kernel) for kernel in (time, space)) else 1
    names = {1: ("product",), 2: ("slow", "fast")}.get(scales, tuple(f"scale{j + 1}" for j in range(scales)))
    rest = [Term(name, unnumbered(time), unnumbered(space)) for name in names[1:]]
    return (Term(names[0], time, space), *rest)


def _has_numbers(kernel: Kernel) -> bool:
    """Whether two of this kernel can differ."""
    return any(getattr(k, name) != () for _, k in walk(unnumbered(kernel)) for name in k.parameter_units())


def _product(time: Kernel, space: Kernel, _: int) -> tuple[Term, ...]:
    return (Term("product", time, space),)


def _sum(time: Kernel, space: Kernel, _: int) -> tuple[Term, ...]:
    """Space + time; an axis of one point has no term."""
    terms = []
    if not isinstance(space, Constant):
        terms.append(Term("space", Constant(), space))
    if not isinstance(time, Constant):
        terms.append(Term("time", time, Constant()))
    return tuple(terms) or (Term("space", Constant(), Constant()),)


def unnumbered(kernel: Kernel) -> Kernel:
    """The family of a kernel: same types, no numbers given, nothing fixed; a period that is held belongs to it."""
    if isinstance(kernel, Outside):  # its numbers belong to what was given
        return replace(kernel, fixed=False) if isinstance(kernel, FromGPyTorch) else kernel
    changed: dict[str, Any] = {"fixed": False} if getattr(kernel, "fixed", False) else {}
    kernel = replace(kernel, **changed)
    blank: dict[str, Any] = {name: None for name in kernel.parameter_units() if not kernel.holds(name)}
    parts = tuple(unnumbered(part) for part in kernel.parts)
    if parts:
        blank["parts"] = parts
    return replace(kernel, **blank) if blank else kernel


def resolve_brownian(prior: Prior, start: float, extent: float) -> Prior:
    """Give every Brownian kernel its starting day and extent (days)."""

    def resolved(kernel: Kernel) -> Kernel:
        if isinstance(kernel, Brownian) and kernel.start is None:
            return replace(kernel, start=start, extent=extent)
        return kernel

    return prior.mapped(resolved)


def outside_kernels(prior: Prior) -> dict[str, Outside]:
    """The kernels that users brought, by name.

    Raises
    ------
    KernelError
        When two of them share a name.
    """
    found: dict[str, Outside] = {}
    for term in prior.terms:
        for axis in AXES:
            for _, kernel in walk(getattr(term, axis)):
                if not isinstance(kernel, Outside):
                    continue
                if found.setdefault(kernel.name, kernel).function is not kernel.function:
                    raise KernelError(
                        f"Two kernels have the name {kernel.name!r}. Name them apart, e.g. "
                        f"`xgpfill.FromFunction(f, name='{kernel.name}2')`."
                    )
    return found


def with_outside(prior: Prior, kernels: Mapping[str, Any] | None) -> Prior:
    """A prior read from a file with the kernels that users brought given back, by name.

    Raises
    ------
    KernelError
        When one is missing, of another kind, or not part of the prior.
    """
    if kernels is not None and not isinstance(kernels, Mapping):
        raise KernelError(
            f"kernels={shown(kernels)}: expected a mapping of name to kernel, e.g. `kernels={{'mine': f}}`."
        )
    given, wanted = dict(kernels or {}), outside_kernels(prior)
    missing, unknown = [n for n in wanted if n not in given], [n for n in given if n not in wanted]
    if missing:
        raise KernelError(
            f"The model was saved without the kernels that you brought: {listed(missing)}. Give them back: "
            f"`xgpfill.load(path, kernels={{{missing[0]!r}: kernel}})`."
        )
    if unknown:
        raise KernelError(f"kernels= names {listed(unknown)}; the model holds {listed(wanted) or 'no such kernel'}.")
    made = {name: with_function(kernel, given[name]).function for name, kernel in wanted.items()}
    return prior.mapped(lambda k: replace(k, function=made[k.name]) if isinstance(k, Outside) else k)


def ordered(prior: Prior) -> Prior:
    """Products sorted so that the first is the slowest (or, without time, the largest)."""
    swappable = [t for t in prior.terms if t.name in ("slow", "fast") or t.name.startswith("scale")]
    if len(swappable) < 2 or any(t.time.is_fixed or t.space.is_fixed for t in swappable):
        return prior
    axis = "space" if isinstance(swappable[0].time, (Constant, Independent)) else "time"
    ranked = sorted(swappable, key=lambda t: -_reach(t.axes[axis]))
    renamed = iter(replace(t, name=old.name) for t, old in zip(ranked, swappable, strict=True))
    return replace(prior, terms=tuple(next(renamed) if t in swappable else t for t in prior.terms))


def _reach(kernel: Kernel) -> float:
    """How far a kernel correlates, in its axis' unit: the longest lengthscale found in it."""
    lengths = [getattr(k, "lengthscale", None) for _, k in walk(kernel) if not isinstance(k, Periodic)]
    reaches = [float(length) for length in lengths if length is not None]
    return max(reaches, default=0.0)
