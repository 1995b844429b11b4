"""Parts of a field at the same places whose covariance is M ⊗ S: what joint variables share, and levels of depth.

S is the covariance of one part and M that between parts: of rank one, w wᵀ, for what variables share, and a kernel of
depth for levels. A product with M ⊗ S is one with S for all parts at once and a small one with M; a draw is one of S
for each part, mixed by a factor of M.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.grid.directions import levels_of_each, places_of_each
from xgpfill.kernels.evaluate import Lags, correlation
from xgpfill.kernels.levels.spec import Layered
from xgpfill.kernels.spec import Shared
from xgpfill.linalg.dense import cholesky

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from torch import Tensor

    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.points import IntArray
    from xgpfill.kernels.spec import Kernel

    Generators = Sequence[np.random.Generator]
    Draw = Callable[[Generators, IntArray], Iterable[FloatArray]]


@dataclass(frozen=True)
class Loaded:
    """Variables that have w of one field each.

    Attributes
    ----------
    kernel : Kernel
        Of the field that they share.
    rows : int
        Leading rows of the lattice that are one variable's.
    loadings : tuple of float
        The w.
    """

    kernel: Kernel
    rows: int
    loadings: tuple[float, ...]

    @property
    def count(self) -> int:
        """Number of parts."""
        return len(self.loadings)

    @property
    def matrix(self) -> FloatArray:
        """The covariance between parts, (count, count)."""
        return np.outer(self.loadings, self.loadings)

    def of_one(self, table: Tensor) -> tuple[Tensor, Loaded]:
        """From a table of all rows that of the part that has most, and the parts relative to it."""
        most, rows = int(np.argmax(np.abs(self.loadings))), len(table) // self.count
        own = slice(most * rows, (most + 1) * rows)
        return table[own, own], Loaded(self.kernel, rows, tuple(w / self.loadings[most] for w in self.loadings))

    def gathered(self, parts: Tensor, axis: int) -> Tensor:
        """What parts, along an axis, put into the field."""
        parts = parts.movedim(axis, 0)
        total = torch.zeros(parts.shape[1:], dtype=parts.dtype, device=parts.device)
        for part, loading in zip(parts, self.loadings, strict=True):
            total.add_(part, alpha=loading)
        return total

    def spread(self, field: Tensor, out: Tensor, axis: int, *, add: bool) -> None:
        """What parts have of the field (..., rows, m), into or added to `out` (..., parts, rows, m)."""
        for part, loading in zip(out.movedim(axis, 0), self.loadings, strict=True):
            part.add_(field, alpha=loading) if add else torch.mul(field, loading, out=part)

    def drawn(
        self, draw: Draw, rngs: Sequence[np.random.Generator], sites: IntArray, size: int
    ) -> Iterator[FloatArray]:
        """Draws (times, sites) of unit variance from those of one part, of `size` sites."""
        variable, place = np.divmod(sites, size)
        loadings = np.array(self.loadings)[variable]
        places, back = np.unique(place, return_inverse=True)
        return (loadings * found[:, back] for found in draw(rngs, places))


@dataclass(frozen=True)
class Levels:
    """Levels that are correlated by a kernel of depth.

    Attributes
    ----------
    kernel : Kernel
        Of space.
    rows : int
        Leading rows of the lattice that are one level's.
    correlations : tuple of tuples of float
        Between levels.
    """

    kernel: Kernel
    rows: int
    correlations: tuple[tuple[float, ...], ...]

    @property
    def count(self) -> int:
        """Number of parts."""
        return len(self.correlations)

    @property
    def matrix(self) -> FloatArray:
        """The correlation between levels, (count, count)."""
        return np.array(self.correlations)

    def of_one(self, table: Tensor) -> tuple[Tensor, Levels]:
        """From a table of all rows that of one level, and the levels relative to it."""
        rows = len(table) // self.count
        return table[:rows, :rows], Levels(self.kernel, rows, self.correlations)

    def gathered(self, parts: Tensor, axis: int) -> Tensor:
        """Levels as columns, (..., rows, levels, columns, times), that a product with one level takes all at once."""
        return parts.movedim(axis, axis + 1).contiguous()

    def spread(self, field: Tensor, out: Tensor, axis: int, *, add: bool) -> None:
        """Levels mixed, (..., rows, levels · m) as columns, into or added to `out` (..., levels, rows, m)."""
        wide = field.view(*field.shape[:-1], self.count, -1)
        mixed = torch.matmul(torch.as_tensor(self.matrix).to(wide), wide).movedim(axis + 1, axis)
        out.add_(mixed) if add else out.copy_(mixed)

    def drawn(
        self, draw: Draw, rngs: Sequence[np.random.Generator], sites: IntArray, size: int
    ) -> Iterator[FloatArray]:
        """Draws (times, sites) of unit variance from those of one level, of `size` sites."""
        level, place = np.divmod(sites, size)
        places, back = np.unique(place, return_inverse=True)
        factor = cholesky(torch.as_tensor(self.matrix), what="prior").numpy()
        for rng in rngs:
            white = np.stack(list(draw(rng.spawn(self.count), places)))  # (levels, times, places)
            mixed = np.tensordot(factor, white, 1)
            yield mixed[level, :, back].T


Parts = Loaded | Levels


def parts_of(kernel: Kernel, coordinates: FloatArray) -> Parts | None:
    """The parts that a kernel of space has on a lattice (rows, columns, d); None where they do not lie so."""
    if isinstance(kernel, Shared):
        rows = places_of_each(coordinates, len(kernel.loadings))
        return None if rows is None else Loaded(kernel.of_one, rows, kernel.loadings)
    depths = levels_of_each(coordinates) if isinstance(kernel, Layered) else None
    if depths is None or not isinstance(kernel, Layered):
        return None
    z = torch.as_tensor(depths)[:, None]
    between = correlation(kernel.of_depth, Lags.matrix(z, z, "time"))
    return Levels(kernel.of_places, len(coordinates) // depths.size, tuple(map(tuple, between.tolist())))
