"""What a tile is told about observations it does not see.

Terms that are constant or nearly so along a tiled axis (static, common, trend, long lengthscales) would be
truncated by a halo. Their sum g is summarised over the whole domain by r features, g(x) ≈ Φ(x)w with
w ~ N(0, I), together with the constant mean β: G = [Φ, 1]. Every segment of the domain tells what its
observations say of (w, β), Λ = GᵀA⁻¹G and b = GᵀA⁻¹y with A the covariance of everything else there;
segments are taken as independent given (w, β). The sum over the segments a tile does not observe is its
message: there the prior of (w, β) is replaced by its posterior N(m, C),

    mean G m,   covariance K − ΦΦᵀ + G C Gᵀ,   C = (Λ + diag(I, 0))⁻¹,   m = C b.

What the features do not hold of g stays in K − ΦΦᵀ, so nothing of the prior is lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import torch

from xgpfill.grid.points import Points
from xgpfill.kernels.covariance import CHUNK_ELEMENTS, Block, Covariance
from xgpfill.linalg.dense import cholesky, solve_lower
from xgpfill.linalg.inducing import choose_inducing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

    from xgpfill.grid.lattice import FloatArray, Lattice
    from xgpfill.grid.points import IntArray
    from xgpfill.kernels.prior import Prior

NUM_CANDIDATES = 6000
MAX_FEATURES = 768
UNEXPLAINED = 1e-3
"""Features are added until they leave this share of the slow terms' variance, or there are too many."""


@dataclass(frozen=True, eq=False)
class SlowFeatures:
    """Features of the slow terms: where they are anchored. Plain arrays, so that they travel.

    Attributes
    ----------
    names : tuple of str
        The terms summarised.
    anchors : Points
    """

    names: tuple[str, ...]
    anchors: Points

    def factored(self, base: Covariance) -> tuple[Covariance, Tensor]:
        """The covariance of the slow terms and its Cholesky factor at the anchors, made once per `base`."""
        if base not in self._made:
            slow = Covariance(base.prior.restricted(self.names), base.device, base.dtype)
            self._made[base] = (slow, cholesky(slow.matrix(self.anchors, self.anchors), what="slow features"))
        return self._made[base]

    @cached_property
    def _made(self) -> WeakKeyDictionary[Covariance, tuple[Covariance, Tensor]]:
        return WeakKeyDictionary()

    def __getstate__(self) -> dict[str, object]:
        """Travel without what was made on this machine."""
        return {"names": self.names, "anchors": self.anchors}


def choose_features(
    lattice: Lattice, prior: Prior, names: tuple[str, ...], seed: int, most: int | None = None
) -> SlowFeatures:
    """Anchor at most `most` (768) features at lattice cells that explain most of the slow terms' variance."""
    rng = np.random.default_rng(seed)
    nt, ns = lattice.time.size, lattice.space.size
    sites = lattice.space.coordinates.reshape(ns, -1)
    slow = Covariance(prior.restricted(names))
    times = _thinned(nt, 200, rng)
    chosen_sites = _thinned(ns, 4000, rng)
    number = min(NUM_CANDIDATES, times.size * chosen_sites.size)
    cells = rng.choice(times.size * chosen_sites.size, size=number, replace=False)
    t, s = np.divmod(cells, chosen_sites.size)
    if not names:
        number = 0
    candidates = Points(lattice.time[times], sites[chosen_sites], t, s).take(np.arange(number))
    anchors = choose_inducing(slow, candidates, most or MAX_FEATURES, seed=seed, tolerance=UNEXPLAINED)
    return SlowFeatures(names, anchors)


def _thinned(size: int, most: int, rng: np.random.Generator) -> IntArray:
    return np.arange(size) if size <= most else np.sort(rng.choice(size, most, replace=False))


@dataclass(frozen=True, eq=False)
class Information:
    """What observations say of (w, β): Λ (r+1, r+1), b (r+1, draws), and how many they are."""

    precision: FloatArray
    vector: FloatArray
    count: int

    @classmethod
    def none(cls, size: int, draws: int) -> Information:
        """Of no observations."""
        return cls(np.zeros((size, size)), np.zeros((size, draws)), 0)

    def plus(self, others: Iterable[Information], sign: float = 1.0) -> Information:
        """With that of other observations added (or taken away)."""
        precision, vector, count = self.precision.copy(), self.vector.copy(), self.count
        for other in others:
            precision += sign * other.precision
            vector += sign * other.vector
            count += int(sign) * other.count
        return Information(precision, vector, count)


@dataclass(eq=False)
class ToldLaw:
    """The prior law of a tile: K − ΦΦᵀ + G C Gᵀ with mean G m; without a message just K − ΦΦᵀ, zero mean.

    Parameters
    ----------
    base : Covariance
    features : SlowFeatures
    information : Information or None
        None leaves the slow features out of the law: what a segment sees besides (w, β).
    """

    base: Covariance
    features: SlowFeatures
    information: Information | None = None
    _change: Tensor = field(init=False)
    coefficients: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.dtype, self.device = self.base.dtype, self.base.device
        self._slow, self._L = self.features.factored(self.base)
        size = len(self.features.anchors) + 1
        known = torch.ones(size, dtype=torch.float64)
        known[-1] = 0.0  # the constant mean has no prior
        if self.information is None:
            change, coefficients = -torch.diag(known), torch.zeros(size, 1, dtype=torch.float64)
        else:
            precision = torch.as_tensor(self.information.precision) + torch.diag(known)
            L = cholesky(0.5 * (precision + precision.T), what="message")
            change = torch.cholesky_inverse(L) - torch.diag(known)
            coefficients = torch.cholesky_solve(torch.as_tensor(self.information.vector), L)
        self._basis: WeakKeyDictionary[Points, Tensor] = WeakKeyDictionary()
        self._change = change.to(self.device, self.dtype)
        self.coefficients = coefficients.to(self.device, self.dtype)

    @property
    def told_terms(self) -> tuple[str, ...]:
        """Names of the terms that the features summarise."""
        return self.features.names

    @property
    def weights_covariance(self) -> Tensor | None:
        """C, the covariance of (w, β); None without a message, when the features are no part of the law."""
        if self.information is None:
            return None
        known = torch.ones(len(self._change), dtype=self.dtype, device=self.device)
        known[-1] = 0.0
        return self._change + torch.diag(known)

    @property
    def mean_variance(self) -> float:
        """Variance of the constant mean given the message."""
        return float(self._change[-1, -1])

    def basis(self, points: Points) -> Tensor:
        """G at points, transposed, (r+1, n)."""
        if points not in self._basis:
            self._basis[points] = self._with_one(self._slow.matrix(self.features.anchors, points))
        return self._basis[points]

    def _with_one(self, slow_columns: Tensor) -> Tensor:
        features = solve_lower(self._L, slow_columns)
        return torch.cat([features, features.new_ones(1, features.shape[1])])

    def mean(self, a: Points) -> Tensor | None:
        """Prior mean at points, (n, draws)."""
        return None if self.information is None else self.basis(a).T @ self.coefficients

    def matrix(self, a: Points, b: Points) -> Tensor:
        """Covariance of `a` with `b`."""
        left = self.basis(a)
        right = left if a is b else self.basis(b)
        return self.base.matrix(a, b) + left.T @ (self._change @ right)

    def diagonal(self, a: Points) -> Tensor:
        """Variance of each point."""
        nothing = self.features.anchors.take(np.arange(0))
        variance = torch.empty(len(a), dtype=self.dtype, device=self.device)
        for block in self.blocks(nothing, a):
            variance[block.index] = block.variance
        return variance

    def blocks(self, a: Points, targets: Points, width: int | None = None) -> Iterator[Block]:
        """The targets in blocks; the features of each target are evaluated once."""
        width = width or max(1, CHUNK_ELEMENTS // max(len(a), len(self.features.anchors), 1))
        left = self.basis(a).T @ self._change
        slow_blocks = self._slow.blocks(self.features.anchors, targets, width)
        for block, slow in zip(self.base.blocks(a, targets, width), slow_blocks, strict=True):
            basis = self._with_one(slow.columns)
            variance = block.variance + (basis * (self._change @ basis)).sum(0)
            mean = None if self.information is None else basis.T @ self.coefficients
            yield Block(block.index, block.columns.addmm_(left, basis), variance.clamp_min(0.0), mean)
