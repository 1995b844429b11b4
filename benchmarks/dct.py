"""Penalised least squares by discrete cosine transforms (DCT-PLS), tuned as a competent user would tune it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from common import Filled, held_out, tabulated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from common import Case, Request, Table
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Bools = NDArray[np.bool_]

ITERATIONS = 600
PATH = np.geomspace(1e3, 1e-6, ITERATIONS)  # smoothing, from the first iteration to the last
RELAXATION = 2.0
FOLDS = 2
TIME_SCALES = (0.5, 1.0, 2.0, 4.0, 8.0)  # cells that one frame counts as
ORDERS = (2, 3)  # of the penalty: powers of the Laplacian


def dct_pls(case: Case, request: Request) -> Filled:
    """Fill by DCT-PLS (Garcia 2010, doi:10.1016/j.csda.2009.09.020; gaps: Wang et al. 2012).

    The schedule is that of Garcia's inpaintn: from the nearest observation, smoothing falls from 10³ to 10⁻⁶ in equal
    steps of its logarithm, here 600 of them, and each iteration is relaxed by 2. Distances are kilometres in units of
    a cell along y, and a frame counts as `time_scale` of them. That scale, the order of the penalty and the iteration
    to stop at have the least squared error on held-out observations, in gaps shaped as the case's own. Mean only.
    """
    from scipy.fft import set_workers
    from scipy.ndimage import distance_transform_edt  # noqa: F401  (in no one's seconds)

    table = tabulated(case, request.targets)
    values, frames = _cube(table)
    aspect = table.spacing[1] / table.spacing[0]
    with set_workers(request.threads):
        began = time.perf_counter()
        chosen = _tuned(case, table, values, frames, aspect, request.seed)
        half = time.perf_counter()
        steps = _steps(chosen["time_scale"], aspect)
        found = _filled(values, steps, chosen["order"], PATH[: chosen["iterations"]])
        solved = time.perf_counter()
    label = f"DCT-PLS (Garcia 2010), {ITERATIONS} iterations, tuned on held-out data"
    return Filled(label, table.field(found[frames][table.where]), None, half - began, solved - half, chosen)


def _cube(table: Table) -> tuple[Floats, NDArray[np.intp]]:
    """Observations on an even axis of time, and which of its steps the frames are; a missing day is a gap."""
    days = table.days
    step = np.diff(days).min() if days.size > 1 else 1.0
    frames = np.rint((days - days[0]) / step).astype(int)
    values = np.full((frames[-1] + 1, *table.like.shape[1:]), np.nan, dtype=np.float32)
    values[frames] = table.like.values
    return values, frames


def _steps(time_scale: float, aspect: float) -> tuple[float, float, float]:
    """Distances between neighbours along time, y and x."""
    return time_scale, 1.0, aspect


def _tuned(
    case: Case, table: Table, values: Floats, frames: NDArray[np.intp], aspect: float, seed: int
) -> dict[str, Any]:
    """Find the time scale, the order and the last smoothing with the least squared error on held-out observations.

    One after the other: the scale in powers of 2, the order, the scale in half powers.
    """
    rng = np.random.default_rng(seed)
    folds = []
    for _ in range(FOLDS):
        held = np.zeros(values.shape, dtype=bool)
        held[frames] = held_out(case, table.like, rng)
        folds.append(held)

    def found(scale: float, order: int) -> tuple[float, float, int, int]:
        errors = np.zeros(ITERATIONS)  # after each iteration
        for held in folds:
            fields = _iterations(np.where(held, np.nan, values), _steps(scale, aspect), order, PATH)
            errors += [float(np.sum((field[held] - values[held]) ** 2)) for field in fields]
        return float(errors.min()), scale, order, int(errors.argmin()) + 1

    has_time = len(frames) > 1
    best = min(found(scale, ORDERS[0]) for scale in (TIME_SCALES if has_time else (1.0,)))
    best = min([best, *(found(best[1], order) for order in ORDERS[1:])])
    finer = [best[1] * factor for factor in (2**-0.5, 2**0.5) if has_time and best[1] * factor < TIME_SCALES[-1]]
    _, scale, order, iterations = min([best, *(found(scale, best[2]) for scale in finer)])
    return {
        "time_scale": scale, "order": order, "iterations": iterations, "smoothing": float(PATH[iterations - 1])
    }  # fmt: skip


def _filled(values: Floats, steps: tuple[float, float, float], order: int, path: Floats) -> Floats:
    """The last iterate."""
    for field in _iterations(values, steps, order, path):
        found = field
    return found


def _iterations(values: Floats, steps: tuple[float, float, float], order: int, path: Floats) -> Iterator[Floats]:
    """Iterates z ← ρ DCT⁻¹(Γ DCT(W (y − z) + z)) + (1 − ρ) z with Γ = 1 / (1 + s λᵐ) (Garcia 2010, eq. 12 and 13).

    λ are the eigenvalues of the negative Laplacian under reflecting boundaries, W tells where y is known.
    """
    from scipy.fft import dctn, idctn

    known = np.isfinite(values)
    centre, scale = float(values[known].mean()), float(values[known].std()) or 1.0
    y = (values - centre) / scale
    z = _nearest(y, known, steps)
    power = _eigenvalues(values.shape, steps) ** order
    for s in path:
        smooth = dctn(np.where(known, y, z), norm="ortho") / (1 + np.float32(s) * power)
        z = RELAXATION * idctn(smooth, norm="ortho") + (1 - RELAXATION) * z
        yield z * scale + centre


def _eigenvalues(shape: tuple[int, ...], steps: tuple[float, float, float]) -> Floats:
    """Those of the negative Laplacian that the cosine transform diagonalises: Σ (2 − 2 cos(π k / n)) / h²."""
    each = [(2 - 2 * np.cos(np.pi * np.arange(n) / n)) / h**2 for n, h in zip(shape, steps, strict=True)]
    t, y, x = np.ix_(*each)
    return np.asarray(t + y + x, dtype=np.float32)


def _nearest(y: Floats, known: Bools, steps: tuple[float, float, float]) -> Floats:
    """Give each gap the nearest observation."""
    from scipy.ndimage import distance_transform_edt

    at = distance_transform_edt(~known, sampling=steps, return_distances=False, return_indices=True)
    return y[tuple(at)]
