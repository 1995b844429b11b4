"""Which engine ``method="auto"`` means, and the engine that settings stand for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xgpfill.covariance.formula import has_formula
from xgpfill.errors import MethodError
from xgpfill.operators.suits import suits_iteration
from xgpfill.settings import Exact, Iterative, Settings, Variational, Vecchia

if TYPE_CHECKING:
    import xarray as xr

    from xgpfill.barriers.barrier import Barrier
    from xgpfill.engines.base import Engine
    from xgpfill.grid.lattice import Lattice
    from xgpfill.kernels.prior import Prior

FEW_OBSERVATIONS = 1000
"""Up to here a dense factor is as fast as anything, and exact."""
QUICK_OPERATIONS = 2e10
"""Multiplications of a dense factor and of variances by it that take a second or so."""
SOME_OBSERVATIONS = 4000
"""Up to here it is affordable where places are no lattice."""
MANY_POINTS = 20_000
"""Up to here products of all pairs of points take seconds; there are some for each solve."""


@dataclass(frozen=True)
class Choice:
    """An engine and the reason it was chosen."""

    settings: Settings
    reason: str

    def __str__(self) -> str:
        return f"{self.settings}: {self.reason}"


def select_settings(num_observations: int, lattice: Lattice | None = None, prior: Prior | None = None) -> Choice:
    """The engine for this many observations in one field.

    Parameters
    ----------
    num_observations : int
    lattice : Lattice, optional
        Where they are; without it no lattice is taken for granted.
    prior : Prior, optional
        Its kernels; without it they are taken for functions of the lag.

    Examples
    --------
    >>> select_settings(900).settings
    Exact(max_observations=12000)
    """
    many = f"about {num_observations} observations in a field"
    if num_observations <= FEW_OBSERVATIONS:
        return Choice(Exact(), f"{many}; dense up to {FEW_OBSERVATIONS}, fast and exact")
    cells = None if lattice is None else math.prod(lattice.shape)
    if cells is not None and num_observations**2 * (num_observations / 3 + cells) <= QUICK_OPERATIONS:
        return Choice(Exact(), f"{many} and {cells} cells; dense in a second or so, and exact")
    if lattice is not None and suits_iteration(lattice, prior):
        return Choice(Iterative(), f"{many} on a lattice; exact without a matrix")
    if num_observations <= SOME_OBSERVATIONS:
        return Choice(Exact(), f"{many} on no regular lattice; dense up to {SOME_OBSERVATIONS}, exact")
    why = f"{many}, more than the {SOME_OBSERVATIONS} of a dense factor, on no regular lattice"
    if prior is not None and not has_formula(prior):
        return Choice(Variational(), f"{why}, with a kernel that neighbours cannot be told by")
    is_vector = lattice is not None and lattice.space.components > 1
    if num_observations <= MANY_POINTS and not is_vector:
        return Choice(Iterative(), f"{why}; exact without a matrix up to {MANY_POINTS}, where all pairs take seconds")
    why = f"{why}, and too many for all pairs of them"
    return Choice(Vecchia(), f"{why}; each value from its neighbours, in linear memory")


def settings_for(
    named: Settings | None, num_observations: int, lattice: Lattice, prior: Prior, rows_of: str = ""
) -> Choice:
    """The engine that was named, or that suits; of rows of several parts where something, `rows_of`, asked for them.

    Raises
    ------
    MethodError
        Where it does not know parts, or the kernels.
    """
    if lattice.barrier is not None:
        return _within_barrier(named, prior)
    choice = Choice(named, "named by `method=`") if named else select_settings(num_observations, lattice, prior)
    if rows_of:
        require_takes_rows(choice.settings, rows_of)
    if isinstance(choice.settings, Vecchia) and not has_formula(prior):
        raise MethodError(
            "method='vecchia' evaluates kernels pair by pair by formulas, and one of these has none: a function that "
            "you brought, ByLatitude, or a periodic or spectral one on the sphere. Choose another kernel, or type "
            "`method='variational'`."
        )
    return choice


def _within_barrier(named: Settings | None, prior: Prior) -> Choice:
    """The engine of neighbours, the only one that knows of land.

    Raises
    ------
    MethodError
        Where another was named, or neighbours cannot be told by a kernel.
    """
    if named is not None and not isinstance(named, Vecchia):
        raise MethodError(
            f"barrier= is for the engine that takes each value's neighbours, which land can bar; method={named} was "
            f"named. Type `method='vecchia'`, or leave `barrier=` out."
        )
    if not has_formula(prior):
        raise MethodError(
            "barrier= takes kernels that neighbours can be told by, and none that you brought. Choose another, e.g. "
            "`space_kernel='matern32'`, or leave `barrier=` out."
        )
    if named is not None:
        return Choice(named, "named by `method=`")
    return Choice(Vecchia(), "a land barrier was given, which neighbours alone take account of")


def require_takes_rows(settings: Settings, what: str) -> None:
    """Refuse engines that do not know directions, or variables; `what` asked for them.

    Raises
    ------
    MethodError
    """
    if not isinstance(settings, (Exact, Iterative)):
        raise MethodError(
            f"{what} is for the exact engine and, on lattices, the iterative one; method={settings} was named, or "
            f"chosen for many observations on no regular lattice. Type `method='exact'` with fewer observations, or "
            f"`method='iterative'` for regular longitudes."
        )


def select_method(da: xr.DataArray, *, dims: Any = None, coords: Any = None) -> Choice:
    """What ``method="auto"`` would choose for these data, and why.

    Parameters
    ----------
    da : DataArray
    dims, coords : names, optional
        As in ``fit``.

    Returns
    -------
    Choice
        With `settings` and `reason`.

    Examples
    --------
    >>> import xgpfill
    >>> ds = xgpfill.datasets.synthetic_sst(days=10, nlat=10, nlon=12)
    >>> xgpfill.select_method(ds["sst"]).settings
    Exact(max_observations=12000)
    """
    from xgpfill.layout.encode import encode
    from xgpfill.learning.blocks import observed_share

    lattice, _ = encode(da, dims=dims, coords=coords, valid=True)
    cells = lattice.shape[0] * lattice.shape[1] * lattice.shape[2]
    return select_settings(round(observed_share(lattice, 0) * cells), lattice)


def build_engine(settings: Settings, barrier: Barrier | None = None) -> Engine:
    """The engine that settings stand for (loads torch); that of neighbours with the land that bars them."""
    if isinstance(settings, Exact):
        from xgpfill.engines.exact import ExactEngine

        return ExactEngine(settings)
    if isinstance(settings, Iterative):
        from xgpfill.engines.iterative import IterativeEngine

        return IterativeEngine(settings)
    if isinstance(settings, Vecchia):
        from xgpfill.engines.vecchia import VecchiaEngine

        return VecchiaEngine(settings, barrier)
    from xgpfill.engines.variational import VariationalEngine

    return VariationalEngine(settings)
