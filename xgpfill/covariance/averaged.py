"""Kernels of averages: the covariance of a field averaged over groups of times or places. No torch.

A group stands at one of its members, its representative; what lies elsewhere stands for itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.spatial import KDTree

from xgpfill.errors import NumericalError
from xgpfill.kernels.spec import Kernel

if TYPE_CHECKING:
    from xgpfill.arrays import FloatArray, IntArray

NEAR = 0.25
"""What lies this share of the distance to the next place from a representative is the group."""
SINGLE = 3e-7
"""Share of the largest coordinate by which single precision misses one."""


@dataclass(frozen=True)
class Members:
    """Which places every group averages.

    Attributes
    ----------
    at : array (g, d)
        The representatives.
    places : array (m, d)
        All members of all groups, group by group.
    sizes : int array (g,)
        How many of them each group has.
    near : float
        What lies so far from a representative is the group.
    turns : {"", "sphere", "cylinder", "plane"}
        "": places are those of the groups alone. Else a group is a band of rows on the first meridian, given by
        whole columns of it: it is the same band on every other meridian, which is the first one turned about the axis,
        or moved along x on a plane.
    """

    at: FloatArray = field(repr=False, compare=False)
    places: FloatArray = field(repr=False, compare=False)
    sizes: IntArray = field(repr=False, compare=False)
    near: float
    turns: str = ""
    key: str = field(init=False)

    def __post_init__(self) -> None:
        digest = blake2b(digest_size=16)
        for array in (self.at, self.places, self.sizes):
            digest.update(np.ascontiguousarray(array).tobytes())
        object.__setattr__(self, "key", digest.hexdigest())

    @classmethod
    def among(
        cls, everything: FloatArray, at: FloatArray, places: FloatArray, sizes: IntArray, turns: str = ""
    ) -> Members:
        """Groups of the places (n, d) of an axis, told from all others of it."""
        some = _telling(turns)
        away = KDTree(everything[:, some]).query(at[:, some], k=min(2, len(everything)))[0].reshape(len(at), -1)
        return cls(at, places, sizes, NEAR * float(away[:, -1].min()), turns)

    def require_precise(self, largest: float) -> None:
        """Refuse single precision where it does not tell a representative from its neighbours.

        Raises
        ------
        NumericalError
        """
        if self.near < SINGLE * largest:
            raise NumericalError(
                "Cells lie so near to each other, beside their distance from the origin, that single precision does "
                "not tell them apart in tiles. Type `dtype='float64'`."
            )

    @cached_property
    def _tree(self) -> KDTree:
        return KDTree(self.at[:, _telling(self.turns)])

    @cached_property
    def _starts(self) -> IntArray:
        return np.cumsum(np.append(0, self.sizes))

    def of(self, x: FloatArray) -> tuple[FloatArray, IntArray]:
        """The places (k, d) that points (n, d) average, in order, and how many each one does (n,)."""
        away, group = self._tree.query(x[:, _telling(self.turns)])
        inside = away <= self.near
        count = np.where(inside, self.sizes[group], 1)
        owner = np.repeat(np.arange(len(x)), count)
        places = x[owner].copy()
        within = np.arange(owner.size) - np.repeat(np.cumsum(count) - count, count)
        chosen = inside[owner]
        group = group[owner][chosen]
        member = self.places[self._starts[group] + within[chosen]]
        places[chosen] = self._moved(member, self.at[group], places[chosen])
        return places, count

    def _moved(self, member: FloatArray, at: FloatArray, x: FloatArray) -> FloatArray:
        """Members of groups that stand `at` the first meridian as they are for points `x` on any."""
        if not self.turns:
            return member
        moved = member.copy()
        if self.turns == "plane":
            moved[:, 0] += x[:, 0] - at[:, 0]
            return moved
        turn = (x[:, 0] + 1j * x[:, 1]) / (at[:, 0] + 1j * at[:, 1])
        turned = turn / np.abs(turn) * (member[:, 0] + 1j * member[:, 1])
        moved[:, 0], moved[:, 1] = turned.real, turned.imag
        return moved


def _telling(turns: str) -> slice:
    """The coordinates that tell a representative from others."""
    return slice(None) if not turns else slice(1, 2) if turns == "plane" else slice(2, 3)


@dataclass(frozen=True)
class Averaged(Kernel):
    """The covariance of averages over groups, of a field whose covariance is that of another kernel.

    Attributes
    ----------
    kernel : Kernel
    members : Members
    """

    kernel: Kernel
    members: Members

    @property
    def parts(self) -> tuple[Kernel, ...]:
        """What is averaged."""
        return (self.kernel,)

    def with_parts(self, parts: tuple[Kernel, ...]) -> Self:
        """The same averages of another field."""
        changed: dict[str, Any] = {"kernel": parts[0]} if parts else {}
        return replace(self, **changed)
