"""One measurement in a fresh process: threads set before anything loads, its own peak memory, JSON back.

python benchmarks/measure.py REQUEST.json ANSWER.json runs what ``measured`` asks for; a user types `cases.py` instead.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import warnings
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import Request, open_case, scored

if TYPE_CHECKING:
    from collections.abc import Mapping

THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip
RUNNERS = {
    "xgpfill": "ours:full",
    "learn": "ours:learn",
    "mean_alone": "ours:mean_alone",
    "gpboost": "peers:gpboost_vecchia",
    "rbf": "peers:rbf",
    "rbf_tuned": "peers:rbf_tuned",
    "dct_pls": "dct:dct_pls",
    "muygps": "muygps:muygps",
}
TITLES = {  # of rows that failed before they could name themselves
    "xgpfill": "xgpfill",
    "mean_alone": "xgpfill, mean alone",
    "gpboost": "GPBoost Vecchia",
    "rbf": "scipy RBFInterpolator, untuned",
    "rbf_tuned": "scipy RBFInterpolator, tuned",
    "dct_pls": "DCT-PLS",
    "muygps": "MuyGPyS",
}


def measured(request: Request) -> dict[str, Any]:
    """Run one method on one case in a process of its own.

    Parameters
    ----------
    request : Request

    Returns
    -------
    dict
        case, method, rmse, mae, crps, coverage95, learn_seconds, solve_seconds, peak_memory_gib (of the whole
        process), notes, warnings; or case, method and error.
    """
    with tempfile.TemporaryDirectory() as folder:
        if request.method == "mean_alone":
            request = replace(request, model=str(Path(folder) / "model.nc"))
            learned = _in_fresh_process(replace(request, method="learn"), Path(folder))
            if "error" in learned:
                return {**learned, "method": TITLES["mean_alone"]}
        return _in_fresh_process(request, Path(folder))


def _in_fresh_process(request: Request, folder: Path) -> dict[str, Any]:
    asked, answer = folder / "request.json", folder / "answer.json"
    asked.write_text(json.dumps(asdict(request)))
    command = [sys.executable, __file__, str(asked), str(answer)]
    environment = with_threads(os.environ, request.threads)
    done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode == 0:
        row: dict[str, Any] = json.loads(answer.read_text())
        return row
    said = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode < 0:
        error = f"ended by signal {-done.returncode} (9: out of memory)"
    else:
        error = said[-1] if said else f"ended with status {done.returncode}"
    return {"case": Path(request.path).stem, "method": TITLES.get(request.method, request.method), "error": error}


def with_threads(environment: Mapping[str, str], threads: int) -> dict[str, str]:
    """Give a copy of the environment in which every library that counts threads finds this number."""
    return {**environment, **dict.fromkeys(THREADS, str(threads))}


def run(request: Request) -> dict[str, Any]:
    """Run one method in this process and score it."""
    module, name = RUNNERS[request.method].split(":")
    case = open_case(Path(request.path))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        filled = getattr(import_module(module), name)(case, request)
    if filled is None:
        return {}
    return {
        "case": case.name,
        "method": filled.label,
        **scored(case, filled),
        "learn_seconds": filled.learn_seconds,
        "solve_seconds": filled.solve_seconds,
        "peak_memory_gib": peak_memory() / 2**30,
        "notes": filled.notes,
        "warnings": sorted({f"{w.category.__name__}: {w.message}" for w in caught}),
    }


def peak_memory() -> int:
    """Bytes: the largest resident memory of this process so far.

    Linux's VmHWM counts this program only; ``getrusage`` would count the one that started it as well.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main(asked: str, answer: str) -> None:
    """Read a request, run it, write the answer."""
    row = run(Request(**json.loads(Path(asked).read_text())))
    Path(answer).write_text(json.dumps(row))


if __name__ == "__main__":
    main(*sys.argv[1:])
