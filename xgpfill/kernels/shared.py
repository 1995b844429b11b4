"""A kernel that variables share: how much each has of it."""

from __future__ import annotations

from dataclasses import dataclass

from xgpfill.kernels.spec import Kernel


@dataclass(frozen=True)
class Shared(Kernel):
    """What several variables have of one field of space: k(s, s') wₐ w_b between variables a and b.

    Terms of such kernels are a linear model of coregionalisation (Goovaerts 1997, §4.2.3), each of rank one. `loadings`
    are the w, in the order of the variables (:mod:`xgpfill.grid.directions`); they may be negative.
    """

    parts: tuple[Kernel, ...] = ()
    loadings: tuple[float, ...] = ()

    @property
    def of_one(self) -> Kernel:
        """The kernel of the field that is shared."""
        return self.parts[0]
