"""How the terms of a prior come to vary with depth."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from xgpfill.kernels.given import Given, apart
from xgpfill.kernels.levels.spec import Layered
from xgpfill.kernels.prior import unnumbered
from xgpfill.kernels.spec import Constant

if TYPE_CHECKING:
    from xgpfill.kernels.prior import Prior
    from xgpfill.kernels.spec import Kernel


def with_depth(prior: Prior, depth_kernel: Kernel, num_levels: int) -> Prior:
    """The terms of a prior with a kernel of depth each; given numbers belong to the first of the products.

    Parameters
    ----------
    prior : Prior
        Of time and space.
    depth_kernel : Kernel
    num_levels : int
        One level tells nothing of what is to be learned along depth.
    """
    kernel, given = apart(depth_kernel)
    if num_levels <= 1 or isinstance(kernel, Constant):
        kernel = Constant()
    products = [t.name for t in prior.terms if t.name not in ("static", "common", "space", "time")]
    first = (products or [prior.terms[0].name])[0]
    terms = []
    for term in prior.terms:
        own = kernel if term.name == first else unnumbered(kernel)
        space = term.space if isinstance(kernel, Constant) else Layered((term.space, own))
        found = Given(term.variance, term.fixed).times(given if term.name == first else Given())
        terms.append(replace(term, space=space, variance=found.variance, fixed=found.held))
    return replace(prior, terms=tuple(terms))
