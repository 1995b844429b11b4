"""xgpfill as its user would call it: default arguments, `valid=` given. The other tools are in `peers`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import xgpfill
from common import Filled

if TYPE_CHECKING:
    from common import Case, Request


def full(case: Case, request: Request) -> Filled:
    """Learn, then reconstruct mean and variance on every valid cell."""
    _import()
    began = time.perf_counter()
    model = _fit(case, request)
    learned = time.perf_counter()
    found = model.reconstruct(include_noise=True, progress=False)
    solved = time.perf_counter()
    return Filled(
        f"xgpfill {_engine(model)}", found.mean, np.sqrt(found.variance), learned - began, solved - learned,
        {"model": repr(model)}, _spread(found, case),
    )  # fmt: skip


def _spread(found: Any, case: Case) -> dict[str, float]:
    """Scores of calibrated intervals."""
    scores, (lower, upper) = found.score(case.truth), found.interval(0.68)
    inside = ((lower <= case.truth) & (case.truth <= upper)).where(case.hidden & found.mean.notnull())
    return {"crps": float(scores.crps), "coverage95": float(scores.coverage95), "coverage68": float(inside.mean())}


def learn(case: Case, request: Request) -> None:
    """Learn and save the model for ``mean_alone``; nothing is timed."""
    _fit(case, request).save(request.model, data=False)


def mean_alone(case: Case, request: Request) -> Filled:
    """Reconstruct the mean, and nothing else, with the hyperparameters that ``learn`` saved."""
    _import()
    known = xgpfill.load(request.model).hyperparameters
    began = time.perf_counter()
    model = _fit(case, request, hyperparameters=known)
    mean = model.reconstruct(variance=False, progress=False).mean
    seconds = time.perf_counter() - began
    return Filled(f"xgpfill {_engine(model)}, mean alone", mean, None, None, seconds, {"model": repr(model)})


def _fit(case: Case, request: Request, **known: Any) -> Any:
    return case.obs.gpfill.fit(method=request.engine, valid=case.valid, seed=request.seed, progress=False, **known)


def _engine(model: Any) -> str:
    return type(model.settings).__name__.lower()


def _import() -> None:
    """Load what ``fit`` would load late, so that imports are in no one's seconds."""
    import xgpfill.engines.iterative
    import xgpfill.engines.variational
    import xgpfill.fitting  # noqa: F401
