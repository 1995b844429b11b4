"""Which lattices products by frequency are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xgpfill.grid.lattice import MAX_DENSE_SITES, MAX_TIMES, is_regular
from xgpfill.grid.meridians import find_meridians
from xgpfill.kernels.outside import Outside
from xgpfill.kernels.parts import has_type
from xgpfill.kernels.spec import Brownian

if TYPE_CHECKING:
    from xgpfill.grid.lattice import Lattice
    from xgpfill.kernels.prior import Prior


def suits_iteration(lattice: Lattice, prior: Prior | None = None) -> bool:
    """Whether the iterative engine takes it: regular meridians or few places, and not too many times.

    More times than `MAX_TIMES` must be regular, and every kernel of time a function of the lag. Cells that have times
    of their own are no lattice.
    """
    if lattice.days is not None:
        return False
    uneven = prior is not None and any(has_type(term.time, Brownian, Outside) for term in prior.terms)
    if lattice.time.size > MAX_TIMES and (uneven or not is_regular(lattice.time)):
        return False
    if lattice.space.size <= MAX_DENSE_SITES:
        return True
    return find_meridians(lattice.space.coordinates, lattice.space.geometry) is not None
