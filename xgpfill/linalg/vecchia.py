"""A sparse approximate inverse factor of the covariance of observations, (K + noise)⁻¹ ≈ UᵀU (Vecchia 1988).

In a random order every observation is conditioned on its m most correlated predecessors; the row of U holds the
weights of that regression over its standard deviation (Katzfuss & Guinness 2021, doi:10.1214/19-STS755). "Most
correlated" is under the full sum of terms: candidates come from one KD-tree for each term, in coordinates scaled by its
lengthscales, and those with the largest prior covariance are kept.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.kernels.evaluate import Lags, prior_covariance
from xgpfill.kernels.reach import reach
from xgpfill.kernels.spec import Constant
from xgpfill.linalg.dense import cholesky_each

if TYPE_CHECKING:
    from torch import Tensor

    from xgpfill.grid.lattice import FloatArray
    from xgpfill.grid.points import IntArray, Observations, Points
    from xgpfill.kernels.prior import Prior
    from xgpfill.kernels.spec import Kernel

CHUNK_PAIRS = 2**20
"""Pairs of points whose covariance is evaluated at once."""
FLOOR = 1e-10
"""Conditional variances are at least this share of the prior's."""
LEAF = 32


@dataclass(frozen=True, eq=False)
class Neighbourhoods:
    """Where observations are and how covariances between them are evaluated, on one device in float64.

    `features` (n, q), if any, add their products to the covariance.
    """

    prior: Prior
    time: Tensor
    space: Tensor
    features: Tensor | None = None

    @classmethod
    def of(cls, prior: Prior, points: Points, device: str = "cpu", features: Tensor | None = None) -> Neighbourhoods:
        """Of these points."""
        time, space = (torch.as_tensor(np.ascontiguousarray(x), device=device) for x in (points.time, points.space))
        return cls(prior, time[:, None], space, None if features is None else features.double())

    def covariance(self, first: Tensor, second: Tensor, other: Neighbourhoods | None = None) -> Tensor:
        """Prior covariance of points by number, (..., 1) with (..., m) or any shapes that broadcast."""
        b = other or self
        time = Lags(self.time[first], b.time[second], "time")
        K = prior_covariance(self.prior, time, Lags(self.space[first], b.space[second], self.prior.geometry))
        if self.features is None or b.features is None:
            return K
        if first.ndim > 1 and first.shape[-1] == 1 and second.ndim > 1 and second.shape[-2] == 1:  # all with all
            return K + self.features[first[..., 0]] @ b.features[second[..., 0, :]].mT
        if first.ndim > 1 and second.ndim > 1 and first.shape[-2] == 1 and second.shape[-1] == 1:
            return K + b.features[second[..., 0]] @ self.features[first[..., 0, :]].mT
        return K + (self.features[first] * b.features[second]).sum(-1)


def metric_scales(prior: Prior, points: Points) -> list[tuple[float, float]]:
    """Lengthscales (days, km) of each term in which its correlation decays; infinite where it does not."""
    extents = max(float(np.ptp(points.time)), 1e-9), max(float(np.ptp(points.space, axis=0).max()), 1e-9)
    found: dict[float, tuple[float, float]] = {}
    for term in prior.terms:
        scales = [_scale(kernel, extent) for kernel, extent in zip((term.time, term.space), extents, strict=True)]
        if not np.isinf(scales).all():
            found.setdefault(round(float(np.arctan2(scales[0], scales[1])), 6), (scales[0], scales[1]))
    return list(found.values()) or [extents]


def _scale(kernel: Kernel, extent: float) -> float:
    if isinstance(kernel, Constant):
        return np.inf
    return float(np.clip(reach(kernel), 1e-6 * extent, extent))


def scaled_coordinates(points: Points, scales: tuple[float, float]) -> FloatArray:
    """Coordinates (n, 1 + d) over the lengthscales."""
    return np.concatenate([points.time[:, None] / scales[0], points.space / scales[1]], axis=1)


def predecessors(prior: Prior, points: Points, order: IntArray, count: int) -> IntArray:
    """For the point at each place of `order`, up to `count` candidates for every metric from the places before it.

    Returns
    -------
    int array (n, k)
        Places in the order; those not before the point's own are no candidates and are given as −1.
    """
    from scipy.spatial import KDTree

    n = len(points)
    scaled = [scaled_coordinates(points, s)[order] for s in metric_scales(prior, points)]
    width = min(2 * count, n)
    found = np.full((n, width * len(scaled)), -1, dtype=np.intp)
    end = n
    while end > 1:  # the later half of the places asks a tree of all up to them
        start = end // 2 if end > 2 * count else 1
        for k, coordinates in enumerate(scaled):
            nearest = min(width, end)
            tree = KDTree(coordinates[:end], leafsize=LEAF, balanced_tree=False, compact_nodes=False)
            _, index = tree.query(coordinates[start:end], k=nearest, workers=-1)
            index = index.reshape(end - start, nearest)
            index[index >= np.arange(start, end)[:, None]] = -1
            found[start:end, k * width : k * width + nearest] = index
        end = start
    return found


def most_correlated(
    hood: Neighbourhoods, own: Tensor, candidates: Tensor, count: int, other: Neighbourhoods | None = None
) -> tuple[Tensor, Tensor]:
    """The candidates (rows, k) with the largest prior covariance with `own` (rows,), and whether each is one.

    Candidates of −1 are none; a candidate that occurs twice counts once.
    """
    candidates = candidates.sort(1).values
    twice = torch.zeros_like(candidates, dtype=torch.bool)
    twice[:, 1:] = candidates[:, 1:] == candidates[:, :-1]
    known = (candidates >= 0) & ~twice
    index = candidates.clamp_min(0)
    strength = hood.covariance(own[:, None], index, other).abs().masked_fill_(~known, -1.0)
    best = strength.topk(min(count, strength.shape[1]), dim=1).indices
    return index.gather(1, best), known.gather(1, best)


class VecchiaFactor:
    """U with UᵀU ≈ (K + noise)⁻¹, as sparse matrices in the order of the observations.

    Parameters
    ----------
    prior : Prior
    observations : Observations
    num_neighbours : int
        Predecessors that each is conditioned on.
    seed : int
        Of the random order.
    device : str
    dtype : torch.dtype
        What products are computed in; the factor is made in float64.
    features : Tensor (n, q), optional
        Whose products are part of K.
    """

    def __init__(
        self,
        prior: Prior,
        observations: Observations,
        num_neighbours: int,
        *,
        seed: int = 0,
        device: str = "cpu",
        dtype: torch.dtype = torch.float64,
        features: Tensor | None = None,
    ) -> None:
        n = len(observations)
        order = np.random.default_rng(seed).permutation(n)
        candidates = predecessors(prior, observations.points, order, num_neighbours)
        placed = None if features is None else features[torch.as_tensor(order, device=device)]
        hood = Neighbourhoods.of(prior, observations.points.take_in_order(order), device, placed)
        noise = torch.as_tensor(observations.noise[order], device=device)
        rows, columns, values = [], [], []
        self.floored = 0
        for part in chunks_of(n, num_neighbours + 1):
            place = torch.arange(part.start, part.stop, device=device)
            near, known = most_correlated(hood, place, torch.as_tensor(candidates[part], device=device), num_neighbours)
            weights, floored = _regressions(hood, place, near, known, noise)
            self.floored += floored
            kept = torch.cat([known, torch.ones_like(known[:, :1])], 1)
            columns.append(torch.cat([near, place[:, None]], 1)[kept])
            rows.append(place[:, None].expand(-1, kept.shape[1])[kept])
            values.append(weights[kept])
        place_of = torch.as_tensor(order, device=device)
        i, j = place_of[torch.cat(rows)], place_of[torch.cat(columns)]
        v = torch.cat(values).to(dtype)
        self._upper = _csr(i, j, v, n)
        self._lower = _csr(j, i, v, n)

    def __call__(self, residual: Tensor) -> Tensor:
        """UᵀU times (n, R)."""
        found: Tensor = self._lower @ (self._upper @ residual)
        return found


def _regressions(hood: Neighbourhoods, own: Tensor, near: Tensor, known: Tensor, noise: Tensor) -> tuple[Tensor, int]:
    """Rows of U: weights (rows, m + 1), the point itself last; and how many conditional variances were floored."""
    every = torch.cat([near, own[:, None]], 1)
    there = torch.cat([known, torch.ones_like(known[:, :1])], 1)
    K = hood.covariance(every[:, :, None], every[:, None, :])
    K *= (there[:, :, None] & there[:, None, :]).to(K.dtype)
    diagonal = K.diagonal(dim1=1, dim2=2)
    prior = diagonal[:, -1].clone()
    diagonal += torch.where(there, noise[every], 1.0)
    L = cholesky_each(K)
    last = torch.zeros(*every.shape, 1, dtype=K.dtype, device=K.device)
    last[:, -1] = 1.0
    weights = torch.linalg.solve_triangular(L.mT, last, upper=True)[..., 0]
    variance = weights[:, -1] ** -2.0
    floor = torch.maximum(noise[own], FLOOR * prior)
    floored = variance < floor
    return weights * (variance / torch.maximum(variance, floor)).sqrt()[:, None], int(floored.sum())


def chunks_of(n: int, width: int, cells: int = 1) -> list[slice]:
    """Rows in chunks whose covariances, `cells` matrices of this width a row, stay near the caches."""
    rows = max(1, CHUNK_PAIRS // (4 * width * width * cells))
    return [slice(i, min(i + rows, n)) for i in range(0, n, rows)]


def _csr(i: Tensor, j: Tensor, v: Tensor, n: int) -> Tensor:
    """A sparse matrix; torch warns of its own state of development."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse")
        sparse: Tensor = torch.sparse_coo_tensor(torch.stack([i, j]), v, (n, n)).coalesce().to_sparse_csr()
        return sparse
