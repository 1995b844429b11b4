"""Krige points on a line and in the plane beside `pykeops.torch.KernelSolve`: seconds and relative residuals.

python benchmarks/kriging.py                        # 10,000 points
python benchmarks/kriging.py --count 200000 --alone

As in the tutorial of KeOps: Gaussian and exponential kernels of a tenth of the extent, ridges of 1 and 1e-4. Ours makes
products in float32 and checks residuals in float64; KernelSolve has both precisions, one after the other,
and stops at the relative residual that ours reached. Compilation is in no one's seconds; without
pykeops or a C++ compiler its rows are left out. On a machine that others use, compare seconds of the processor, with
one thread (OMP_NUM_THREADS=1): threads of KeOps wait for each other in busy loops.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import time
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from xgpfill.engines.iterative import IterativeEngine
from xgpfill.engines.points import PointSystem
from xgpfill.engines.settings import Iterative
from xgpfill.files import written_whole
from xgpfill.grid.points import Observations, Points
from xgpfill.kernels import spec
from xgpfill.kernels.covariance import Covariance
from xgpfill.kernels.prior import Prior, Term
from xgpfill.linalg.threads import own_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

HERE = Path(__file__).parent
SCALE, RIDGES = 0.1, (1.0, 1e-4)
KERNELS = {"gaussian": spec.RBF(SCALE), "exponential": spec.Matern(0.5, SCALE)}


def main() -> None:
    """Measure every case asked for, print a line each, and keep all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="number of points")
    parser.add_argument("--alone", action="store_true", help="leave KernelSolve out")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "kriging.json", help="file to write")
    options = parser.parse_args()
    solve = None if options.alone else kernel_solve()
    rows = []
    command = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    about = {"commit": commit.stdout.strip() or None, "threads": torch.get_num_threads()}
    for ridge, dims, kernel, dtype in product(RIDGES, (1, 2), KERNELS, (torch.float32, torch.float64)):
        rows.append(measured(options.count, dims, kernel, ridge, dtype, solve))
        print(json.dumps(rows[-1]), flush=True)
        with written_whole(options.results) as temporary:
            temporary.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


def measured(
    count: int, dims: int, kernel: str, ridge: float, dtype: torch.dtype, solve: Callable[..., Any] | None
) -> dict[str, Any]:
    """One case: ours, and KernelSolve to the same relative residual."""
    rng = np.random.default_rng(0)
    x = rng.random((count, dims))
    values = np.sin(6.0 * x).sum(1) + 0.1 * rng.standard_normal(count)
    prior = Prior((Term("product", spec.Constant(), KERNELS[kernel], 1.0),), ridge)
    law = Covariance(prior)
    observations = Observations(Points.scattered(np.zeros(count), x), values, np.full(count, ridge))
    seconds, cpu, residual, steps = ours(law, observations)
    row = {
        "points": count, "dims": dims, "kernel": kernel, "ridge": ridge, "dtype": str(dtype).removeprefix("torch."),
        "seconds": seconds, "cpu_seconds": cpu, "residual": residual, "steps": steps,
        "peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }  # fmt: skip
    if solve is not None:
        row |= beside(solve, x, values, kernel, ridge, dtype, residual)
    return row


def ours(law: Covariance, observations: Observations) -> tuple[float, float, float, int]:
    """Seconds with the preconditioner, of the processor too, relative residual and steps, when all is compiled."""
    seconds = cpu = 0.0
    for _ in range(2):
        began, before, engine = time.perf_counter(), time.process_time(), IterativeEngine(Iterative())
        system = PointSystem(engine.settings, law, observations, engine.records)
        right = law.tensor(observations.columns)
        _, left = system.solution(right, right.new_full((1,), engine.settings.tolerance))
        seconds, cpu = time.perf_counter() - began, time.process_time() - before
    with own_threads():
        return seconds, cpu, float(left.norm() / right.norm()), engine.records[-1].steps


def kernel_solve() -> Callable[..., Any] | None:
    """`KernelSolve`, or None where it cannot be used."""
    try:
        from pykeops.torch import KernelSolve
    except Exception as error:  # noqa: BLE001  (whatever a missing compiler raises)
        print(f"KernelSolve is left out: {error}")
        return None
    return KernelSolve


def beside(
    solve: Callable[..., Any], x: NDArray[np.float64], values: NDArray[np.float64], kernel: str, ridge: float,
    dtype: torch.dtype, residual: float,
) -> dict[str, float]:  # fmt: skip
    """Seconds of KernelSolve and its relative residual, the second time."""
    size = x.shape[1]
    form = "Exp(-g * SqDist(x, y)) * b" if kernel == "gaussian" else "Exp(-g * Sqrt(SqDist(x, y))) * b"
    g = 0.5 / SCALE**2 if kernel == "gaussian" else 1.0 / SCALE
    names = [f"x = Vi({size})", f"y = Vj({size})", "b = Vj(1)", "g = Pm(1)"]
    solver = solve(form, names, "b", axis=1)
    places, right = torch.as_tensor(x).to(dtype).contiguous(), torch.as_tensor(values[:, None]).to(dtype)
    given = places, places, right, torch.tensor([g], dtype=dtype)
    least = 1e-7 if dtype == torch.float32 else 1e-14
    eps = max(residual, least) * float(right.square().mean().sqrt())  # root mean square of what is left
    solver(*given, alpha=ridge, eps=1e6)  # compiles
    began, before = time.perf_counter(), time.process_time()
    found = solver(*given, alpha=ridge, eps=eps)
    seconds, cpu = time.perf_counter() - began, time.process_time() - before
    from pykeops.torch import Genred

    product = Genred(form, names, reduction_op="Sum", axis=1)
    left = right - product(places, places, found, given[-1]) - ridge * found
    return {
        "keops_seconds": seconds, "keops_cpu_seconds": cpu, "keops_residual": float(left.norm() / right.norm())
    }  # fmt: skip


if __name__ == "__main__":
    main()
