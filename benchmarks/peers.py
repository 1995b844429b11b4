"""The other tools, set as a competent user of each would set it. xgpfill itself is in `ours`."""

from __future__ import annotations

import time
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from common import Filled, Scattered, Table, tabulated

if TYPE_CHECKING:
    from common import Case, Request
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LEARN_ON = 15_000  # observations that GPBoost learns from
NEIGHBOURS, NEIGHBOURS_AT_PREDICTION = 20, 40
RBF_NEIGHBOURS = 50
HELD_OUT, MOST_HELD_OUT = 0.1, 3_000
TIME_SCALES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # cells that one frame counts as
KERNELS = ("linear", "thin_plate_spline", "cubic")
SMOOTHINGS = (0.0, 0.1, 1.0)


class MissingPeerError(ImportError):
    """A peer is not installed, or does not load."""


def gpboost_vecchia(case: Case, request: Request) -> Filled:
    """GPBoost's Vecchia approximation with one Matérn-3/2 over time and space.

    Learned by maximum likelihood with a constant mean on at most 15,000 observations drawn with the seed, 20
    neighbours; conditioned on all observations, 40 neighbours; variances of new observations. Time is in days and
    the first column, as ``matern_space_time`` wants it; values are standardised.

    Raises
    ------
    MissingPeerError
        When gpboost is not installed or does not load.
    """
    table = tabulated(case, request.targets)
    mean, std, seconds, learned = vecchia_of(table, request, (NEIGHBOURS, NEIGHBOURS_AT_PREDICTION))
    kernel = "matern_space_time" if table.has_time else "matern"
    return Filled(
        f"GPBoost Vecchia, {kernel} 3/2, {NEIGHBOURS} neighbours ({NEIGHBOURS_AT_PREDICTION} at prediction)",
        table.field(mean), table.field(std), *seconds,
        {"covariance parameters of standardised values": learned, "learned on": min(LEARN_ON, table.values.size)},
    )  # fmt: skip


def vecchia_of(
    table: Table | Scattered, request: Request, neighbours: tuple[int, int]
) -> tuple[Floats, Floats, tuple[float, float], list[float]]:
    """Mean and standard deviation at the targets, seconds of learning and of predicting, and what was learned."""
    gpb = _gpboost()
    centre, scale = float(table.values.mean()), float(table.values.std()) or 1.0
    y = (table.values - centre) / scale
    kernel = "matern_space_time" if table.has_time else "matern"

    def model_of(rows: NDArray[np.intp]) -> Any:
        return gpb.GPModel(
            gp_coords=table.coordinates[rows], cov_function=kernel, cov_fct_shape=1.5, gp_approx="vecchia",
            num_neighbors=neighbours[0], likelihood="gaussian", num_parallel_threads=request.threads, seed=request.seed,
        )  # fmt: skip

    rows = np.sort(np.random.default_rng(request.seed).permutation(y.size)[:LEARN_ON])
    began = time.perf_counter()
    model = model_of(rows).fit(y=y[rows], X=np.ones((rows.size, 1)))
    learned = np.ravel(model.get_cov_pars(format_pandas=False))
    constant = float(np.ravel(model.get_coef(format_pandas=False))[0])
    half = time.perf_counter()
    if rows.size < y.size:
        rows = np.arange(y.size)
        model = model_of(rows)
    model.set_prediction_data(num_neighbors_pred=neighbours[1])
    mean, std = _predicted(model, y[rows], learned, constant, table.targets)
    solved = time.perf_counter()
    return mean * scale + centre, std * scale, (half - began, solved - half), learned.tolist()


def _predicted(model: Any, y: Floats, learned: Floats, constant: float, targets: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of new observations; a model of other rows than it learned on knows no constant."""
    if model.model_fitted:
        found = model.predict(gp_coords_pred=targets, X_pred=np.ones((len(targets), 1)), predict_var=True)
        return found["mu"], np.sqrt(found["var"])
    found = model.predict(y=y - constant, cov_pars=learned, gp_coords_pred=targets, predict_var=True)
    return found["mu"] + constant, np.sqrt(found["var"])


def _gpboost() -> Any:
    try:
        import gpboost
    except ModuleNotFoundError:
        raise MissingPeerError('gpboost is not installed. Type `pip install -e ".[peers]"`.') from None
    except OSError as error:
        raise MissingPeerError(
            f"gpboost is installed but does not load: {error}. On Debian or Ubuntu type "
            f"`apt-get install -y libgomp1 ocl-icd-libopencl1`."
        ) from None
    return gpboost


def rbf(case: Case, request: Request) -> Filled:
    """Interpolate with scipy's RBFInterpolator: 50 neighbours, linear, a frame counts as one cell; nothing is tuned."""
    import scipy.interpolate  # noqa: F401  (in no one's seconds)

    table = tabulated(case, request.targets)
    began = time.perf_counter()
    values = _rbf(table, table.coordinates, table.values, table.targets)
    seconds = time.perf_counter() - began
    label = f"scipy RBFInterpolator, {RBF_NEIGHBOURS} neighbours, linear, untuned"
    return Filled(label, table.field(values), None, None, seconds)


def rbf_tuned(case: Case, request: Request) -> Filled:
    """Interpolate likewise, tuned on a tenth of the observations: time scale, kernel and smoothing."""
    import scipy.interpolate  # noqa: F401  (in no one's seconds)

    table = tabulated(case, request.targets)
    began = time.perf_counter()
    chosen = _tuned(table, request.seed)
    half = time.perf_counter()
    values = _rbf(table, table.coordinates, table.values, table.targets, **chosen)
    solved = time.perf_counter()
    label = f"scipy RBFInterpolator, {RBF_NEIGHBOURS} neighbours, tuned on held-out data"
    return Filled(label, table.field(values), None, half - began, solved - half, chosen)


def _tuned(table: Table, seed: int) -> dict[str, Any]:
    """Find the time scale, kernel and smoothing with the least squared error on held-out observations."""
    order = np.random.default_rng(seed).permutation(table.values.size)
    out, kept = np.split(order, [max(1, int(HELD_OUT * order.size))])
    out = out[:MOST_HELD_OUT]

    def error(chosen: dict[str, Any]) -> float:
        try:
            found = _rbf(table, table.coordinates[kept], table.values[kept], table.coordinates[out], **chosen)
        except np.linalg.LinAlgError:  # neighbours on one plane leave a kernel's polynomial undetermined
            return np.inf
        return float(np.mean((found - table.values[out]) ** 2))

    scales = TIME_SCALES if table.has_time else (1.0,)
    choices = [
        {"time_scale": scale, "kernel": kernel, "smoothing": smoothing}
        for scale, kernel, smoothing in product(scales, KERNELS, SMOOTHINGS)
    ]
    return min(choices, key=error)


def _rbf(
    table: Table, places: Floats, values: Floats, targets: Floats, *, time_scale: float = 1.0, kernel: str = "linear",
    smoothing: float = 0.0,
) -> Floats:  # fmt: skip
    """Interpolate in units of cells, a frame counting as `time_scale` of them."""
    from scipy.interpolate import RBFInterpolator

    frame, cell = table.steps
    units = np.full(places.shape[1], 1.0 / cell)
    if table.has_time:
        units[0] = time_scale / frame
    neighbours = min(RBF_NEIGHBOURS, values.size)
    solver = RBFInterpolator(places * units, values, neighbors=neighbours, kernel=kernel, smoothing=smoothing)
    return np.asarray(solver(targets * units), dtype=np.float64)
