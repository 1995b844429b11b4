"""Weighted sums of cells that lie in several tiles, whose errors no tile knows together: from draws that tiles share.

With f a draw of the prior, y the observations of it with noise, and μ the blended means of the tiles, e = f − μ(y) is a
draw of the errors of all cells at once, and wᵀe one of the error of the sum. Its mean square over S draws is the
variance, of a relative standard deviation √(2/S): that of the standard deviation is √(1/(2 S)).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.operators.draws import PriorDraws, noise_share
from xgpfill.tiling.assemble import everything, run_member, tile_means

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xgpfill.arrays import FloatArray, Window
    from xgpfill.tiling.solve import TileSolver

DRAWS = 256
SEED = 0
ELEMENTS_AT_ONCE = 2**25
"""Cells of draws that are held at once."""
HOW = (
    f"standard deviations of averages whose cells lie in several tiles are those of {DRAWS} draws, within about "
    f"{100 * (2 * DRAWS) ** -0.5:.1f} %"
)


def drawn_sums(
    solver: TileSolver,
    values: Any,
    errors: Any,
    noise: Any,
    weighted: Sequence[tuple[Window, FloatArray]],
    step: Callable[[], None],
) -> tuple[FloatArray, FloatArray]:
    """Mean and latent variance (k,) of sums of cells, each a window and the weights there, in data units.

    Parameters
    ----------
    solver : TileSolver
    values : array (time, y, x)
    errors : array that broadcasts against it, or None
    noise : array or float
        Noise variance of every cell, data units².
    weighted : windows and weights
    step : callable
        Called after some of the draws.
    """
    draws = PriorDraws(solver.frame, solver.prior, SEED, noise_share(solver.prior, float(solver.prior.noise or 1.0)))
    whole = everything(solver)
    amplitude = np.broadcast_to(solver.amplitude(solver.points(whole)), int(np.prod(solver.frame.shape)))
    scale, sd = solver.scaling.scale * amplitude.reshape(solver.frame.shape), np.sqrt(noise)
    squares = np.zeros(len(weighted))
    at_once = max(1, ELEMENTS_AT_ONCE // int(np.prod(solver.frame.shape)))
    for start in range(0, DRAWS, at_once):
        some = range(start, min(start + at_once, DRAWS))
        prior = scale * np.stack(list(draws.fields(some, 0, whole)))
        noisy = sd * np.stack([draws.noise(i, 0, whole) for i in some])
        data = np.concatenate([np.asarray(values)[np.newaxis], values - prior - noisy])
        found = run_member(solver, data, errors, work=tile_means, step=step)
        mean = _sums(found[:1], weighted)[0]
        squares += (_sums(found[1:] + prior - found[0], weighted) ** 2).sum(0)
    return mean, squares / DRAWS


def _sums(fields: FloatArray, weighted: Sequence[tuple[Window, FloatArray]]) -> FloatArray:
    """Weighted sums (draws, k) of fields (draws, time, y, x)."""
    every = np.arange(len(fields))
    columns = [np.tensordot(fields[np.ix_(every, *window)], weights, 3) for window, weights in weighted]
    return np.stack(columns, axis=1)
