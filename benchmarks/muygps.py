"""MuyGPyS, local Gaussian processes on nearest neighbours, set as a competent user would set it."""

from __future__ import annotations

import time
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from common import Filled, held_out, tabulated
from peers import MissingPeerError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from common import Case, Request, Table
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NEIGHBOURS = 100
BATCH = 500  # held-out observations that it is tuned on
AT_ONCE = 1_000  # predictions
TIME_SCALES = (0.5, 1.0, 2.0, 4.0, 8.0)  # cells that one frame counts as
SMOOTHNESS = (0.5, 1.5)
NOISES = (1e-3, 1e-5, 1e-2)  # shares of the prior variance; the first is tried with everything else
LENGTHSCALES = (1.0, 200.0)  # cells
STARTS, STEPS = 4, 12  # of its Bayesian optimisation


class Learned(NamedTuple):
    """A model and the axes it was learned on, with its loss on held-out observations."""

    model: Any
    units: Floats
    loss: float
    notes: dict[str, float]


def muygps(case: Case, request: Request) -> Filled:
    """Predict by MuyGPs (Muyskens et al. 2021, arXiv:2104.14581) from 100 neighbours, Matérn, constant mean.

    Neighbours are near in cells, a frame counting as `time_scale` of them. For each time scale, smoothness and noise
    Bayes_optimize finds the lengthscale with the least loss (lool) on 500 observations that are held out in gaps
    shaped as the case's own; left out one by one, as is its habit, they would have neighbours nearer than any gap
    has. The choice with the least loss is taken, σ² the best one for it. Variances of new observations.

    Raises
    ------
    MissingPeerError
        When MuyGPyS is not installed.
    """
    _import()
    table = tabulated(case, request.targets)
    centre, scale = float(table.values.mean()), float(table.values.std()) or 1.0
    y = (table.values - centre) / scale
    began = time.perf_counter()
    learned = _learned(case, table, y, request)
    half = time.perf_counter()
    mean, variance = _predicted(learned, table, y)
    solved = time.perf_counter()
    return Filled(
        f"MuyGPyS, Matérn, {NEIGHBOURS} neighbours, tuned on held-out data",
        table.field(mean * scale + centre), table.field(np.sqrt(variance) * scale), half - began, solved - half,
        learned.notes,
    )  # fmt: skip


def _import() -> None:
    """Load MuyGPyS, so that its import is in no one's seconds."""
    try:
        import MuyGPyS.optimize  # noqa: F401
    except ModuleNotFoundError:
        raise MissingPeerError('MuyGPyS is not installed. Type `pip install -e ".[peers]"`.') from None


def _units(table: Table, time_scale: float) -> Floats:
    """What turns days and kilometres into cells, a frame counting as `time_scale` of them."""
    frame, cell = table.steps
    units = np.full(table.coordinates.shape[1], 1.0 / cell)
    if table.has_time:
        units[0] = time_scale / frame
    return units


def _learned(case: Case, table: Table, y: Floats, request: Request) -> Learned:
    """The best model over time scales (powers of 2) and smoothness, then half powers, then noise."""
    rng = np.random.default_rng(request.seed)
    held = held_out(case, table.like, rng)[table.like.notnull().values]
    out, kept = rng.permutation(np.flatnonzero(held))[:BATCH], np.flatnonzero(~held)

    def found(time_scale: float, smoothness: float, noise: float) -> Learned:
        return _optimized(table, y, out, kept, time_scale, smoothness, noise, request.seed)

    def least(models: Iterable[Learned]) -> Learned:
        return min(models, key=lambda learned: learned.loss)

    scales = TIME_SCALES if table.has_time else (1.0,)
    best = least(found(scale, smoothness, NOISES[0]) for scale, smoothness in product(scales, SMOOTHNESS))
    smoothness = best.notes["smoothness"]
    finer = [best.notes["time_scale"] * factor for factor in (2**-0.5, 2**0.5) if table.has_time]
    best = least([best, *(found(scale, smoothness, NOISES[0]) for scale in finer if scale < TIME_SCALES[-1])])
    return least([best, *(found(best.notes["time_scale"], smoothness, noise) for noise in NOISES[1:])])


def _optimized(
    table: Table, y: Floats, out: NDArray[np.intp], kept: NDArray[np.intp], time_scale: float, smoothness: float,
    noise: float, seed: int,
) -> Learned:  # fmt: skip
    """Find the lengthscale by Bayes_optimize, then the variance by the errors of what is held out."""
    from MuyGPyS.gp.hyperparameter import AnalyticScale, FixedScale
    from MuyGPyS.neighbors import NN_Wrapper
    from MuyGPyS.optimize import Bayes_optimize

    units = _units(table, time_scale)
    places, targets = table.coordinates[kept] * units, table.coordinates[out] * units
    near, _ = NN_Wrapper(places, min(NEIGHBOURS, kept.size - 1), n_jobs=1).get_nns(targets)
    model = _model(smoothness, noise, AnalyticScale())
    cross, pairs, values = model.make_predict_tensors(np.arange(out.size), near, targets, places, y[kept])
    model = Bayes_optimize(model, y[out], values, cross, pairs, random_state=seed, init_points=STARTS, n_iter=STEPS)
    length = float(model.kernel.deformation.length_scale())
    mean, variance = _moments(model, cross, pairs, values)
    amplitude = float(np.mean((y[out] - mean) ** 2 / (variance + noise)))  # the maximum of lool over σ²
    loss = np.log(amplitude) + float(np.mean(np.log(variance + noise)))
    notes = {
        "time_scale": time_scale, "smoothness": smoothness, "noise": noise * amplitude, "length_scale": length,
        "variance": amplitude,
    }  # fmt: skip
    return Learned(_model(smoothness, noise, FixedScale(val=amplitude), length), units, loss, notes)


def _model(smoothness: float, noise: float, scale: Any, length: float | None = None) -> Any:
    """A Matérn model, whose lengthscale (in cells) is to be found unless it is given."""
    from MuyGPyS.gp import MuyGPS
    from MuyGPyS.gp.deformation import Isotropy, l2
    from MuyGPyS.gp.hyperparameter import Parameter
    from MuyGPyS.gp.kernels import Matern
    from MuyGPyS.gp.noise import HomoscedasticNoise

    span = Parameter(20.0, LENGTHSCALES) if length is None else Parameter(length)
    kernel = Matern(smoothness=Parameter(smoothness), deformation=Isotropy(metric=l2, length_scale=span))
    return MuyGPS(kernel=kernel, noise=HomoscedasticNoise(noise), scale=scale)


def _moments(model: Any, cross: Floats, pairs: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Means and variances of the field, noise left out."""
    among, to = model.kernel(pairs), model.kernel(cross)
    return model.posterior_mean(among, to, values), model.posterior_variance(among, to)


def _predicted(learned: Learned, table: Table, y: Floats) -> tuple[Floats, Floats]:
    """Means and variances of new observations at the targets."""
    from MuyGPyS.neighbors import NN_Wrapper

    places, targets = table.coordinates * learned.units, table.targets * learned.units
    lookup = NN_Wrapper(places, min(NEIGHBOURS, y.size - 1), n_jobs=1)
    means, variances = [], []
    for begin in range(0, len(targets), AT_ONCE):
        part = targets[begin : begin + AT_ONCE]
        near, _ = lookup.get_nns(part)
        tensors = learned.model.make_predict_tensors(np.arange(len(part)), near, part, places, y)
        mean, variance = _moments(learned.model, *tensors)
        means.append(mean)
        variances.append(variance)
    return np.concatenate(means), np.concatenate(variances) + learned.notes["noise"]
