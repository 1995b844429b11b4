"""Products with A = K + noise on the observed cells of a lattice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from xgpfill.machine.threads import in_parts
from xgpfill.operators.conjugate_gradients import ROWS
from xgpfill.vecchia.loops import put, taken

if TYPE_CHECKING:
    from torch import Tensor

    from xgpfill.operators.lattice import LatticeOperator

FIELDS, LEAST_COLUMNS = 2**22, 5
"""Elements of the fields whose products are made at once, on the processor, and columns of them, at least."""
MANY = 1024
"""Columns at once on a GPU."""


@dataclass(frozen=True, eq=False)
class Products:
    """Products with A = K + noise on the observed cells.

    Attributes
    ----------
    operator : LatticeOperator
    site, time : int Tensor (n,)
        Places in its fields.
    noise : Tensor (n, 1)
    repeats : bool
        Whether a cell was measured several times.
    """

    operator: LatticeOperator
    site: Tensor
    time: Tensor
    noise: Tensor
    repeats: bool

    def to(self, dtype: torch.dtype) -> Products:
        """The same in another precision."""
        return replace(self, operator=self.operator.to(dtype), noise=self.noise.to(dtype))

    def __call__(self, v: Tensor) -> Tensor:
        """A times (n, R), so many columns at once that fields of them are not too large."""
        parts = -(-v.shape[1] // self.columns_at_once)
        if parts <= 1:
            return self._product(v)
        found = [self._product(part.contiguous()) for part in torch.split(v, -(-v.shape[1] // parts), dim=1)]
        return torch.cat(found, 1)

    @property
    def columns_at_once(self) -> int:
        """Columns whose fields are worked on at once."""
        nx, ny, nt = self.operator.shape
        return max(LEAST_COLUMNS, FIELDS // (nx * ny * nt)) if self.noise.device.type == "cpu" else MANY

    def _product(self, v: Tensor) -> Tensor:
        field, found = self.spread(v), torch.empty_like(v)
        if v.device.type == "cpu":
            arrays = (x.numpy() for x in (self.site, self.time, field, self.noise[:, 0], v.contiguous()))
            site, time, values, noise, right = arrays
            out = found.numpy()
            in_parts(lambda a, b: taken(site, time, values, noise, right, a, b, out), len(v), ROWS)
        else:
            torch.addcmul(field[self.site, :, self.time], self.noise, v, out=found)
        return found

    def spread(self, v: Tensor) -> Tensor:
        """K times values at the observations, on all cells: (sites, R, nt), overwritten next."""
        field = self.operator.empty(v.shape[1])
        if self.repeats:  # several measurements of one cell add up
            field.permute(0, 2, 1).index_put_((self.site, self.time), v, accumulate=True)
        elif v.device.type == "cpu":
            site, time, values, right = (x.numpy() for x in (self.site, self.time, field, v.contiguous()))
            in_parts(lambda a, b: put(site, time, right, a, b, values), len(v), ROWS)
        else:
            field[self.site, :, self.time] = v
        return self.operator(field)
