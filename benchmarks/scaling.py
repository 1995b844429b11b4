"""How seconds and memory grow with the lattice: synthetic fields around the globe, nearly all of them hidden.

python benchmarks/scaling.py                 # the global case, longer longitudes, all axes longer; saved
python benchmarks/scaling.py --case globe    # one of them

Fields are draws of a known prior (static, common, slow and fast, all Matérn-3/2), so that RMSE has no case to be tuned
to. Every lattice is learned and reconstructed with default arguments in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
import xgpfill  # noqa: F401
from measure import peak_memory
from products import best, operations, prior
from xgpfill.grid.lattice import Lattice, Space
from xgpfill.grid.metric import Metric

RESULTS = Path(__file__).parent / "results"
NOISE = 0.2
CASES: dict[str, list[tuple[int, int, int, float]]] = {
    "globe": [(110, 64, 128, 0.98)],
    "longitude": [(12, 64, 128, 0.9), (12, 64, 400, 0.9), (12, 64, 1280, 0.9)],
    "all axes": [(24, 32, 64, 0.9), (48, 48, 96, 0.9), (96, 64, 128, 0.9)],
}
"""Times, latitudes, longitudes, share hidden."""


def main() -> None:
    """Measure every lattice in a process of its own and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--save", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(*json.loads(options.one))))
        return
    rows = []
    for name in options.case or CASES:
        first: dict[str, Any] | None = None
        for size in CASES[name]:
            row = {"case": name, **in_a_process(size)}
            first = first or row
            row["cost_per_cell"] = (row["step_seconds"] / row["cells"]) / (first["step_seconds"] / first["cells"])
            row["cost_per_operation"] = (row["step_seconds"] / row["operations"]) / (
                first["step_seconds"] / first["operations"]
            )
            rows.append(row)
            print(line(row), flush=True)
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "scaling.json").write_text(
            json.dumps({"threads": torch.get_num_threads(), "rows": rows}, indent=1) + "\n"
        )


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    return (
        f"{row['case']:10}{row['lattice']:>16}{row['cells']:>10,}{row['observations']:>9,} obs"
        f"{row['steps']:>5} steps  learn {row['learn_seconds']:.1f} s  solve {row['solve_seconds']:.1f} s  "
        f"step {row['step_seconds'] * 1e3:.1f} ms  RMSE {row['rmse']:.3f}  95% {row['coverage95']:.3f}  "
        f"{row['peak_memory_gib']:.2f} GiB  per cell x{row['cost_per_cell']:.2f}  "
        f"per operation x{row['cost_per_operation']:.2f}"
    )


def in_a_process(size: tuple[int, int, int, float]) -> dict[str, Any]:
    """Measure one lattice in a fresh process."""
    command = [sys.executable, __file__, "--one", json.dumps(size)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    row: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    return row


def measured(nt: int, ny: int, nx: int, hidden: float) -> dict[str, Any]:
    """Learn, reconstruct, score; seconds of one product of the operator with ten columns."""
    import xgpfill.engines.iterative
    import xgpfill.fitting  # noqa: F401
    from xgpfill.linalg.lattice import LatticeOperator

    truth = synthetic(nt, ny, nx)
    rng = np.random.default_rng(1)
    observed = truth + NOISE * rng.standard_normal(truth.shape)
    observed = observed.where(rng.random(truth.shape) >= hidden)
    began = time.perf_counter()
    model = observed.gpfill.fit(valid=True, progress=False)
    learned = time.perf_counter()
    found = model.reconstruct(progress=False)
    solved = time.perf_counter()
    peak = peak_memory() / 2**30
    error = (found.mean - truth).values
    inside = np.abs(error) <= 1.96 * np.sqrt(found.variance.values)
    coordinates = Metric("sphere", degrees=True).embed(truth.lat.values[:, None], truth.lon.values[None])
    operator = LatticeOperator(prior(), np.arange(float(nt)), coordinates, "cpu", torch.float32)
    field = torch.randn(ny * nx, 10, nt)
    solve = model.convergence.isel(solve=0)
    return {
        "lattice": f"{nt} x {ny} x {nx}",
        "cells": nt * ny * nx,
        "observations": int(observed.count()),
        "engine": type(model.settings).__name__.lower(),
        "steps": int(solve.steps),
        "residual": float(solve.residual),
        "learn_seconds": learned - began,
        "solve_seconds": solved - learned,
        "step_seconds": best(lambda: operator(field), "cpu"),
        "operations": operations(operator, 10),
        "rmse": float(np.sqrt(np.mean(error[~np.isfinite(observed.values)] ** 2))),
        "coverage95": float(inside[~np.isfinite(observed.values)].mean()),
        "peak_memory_gib": peak,
    }


def synthetic(nt: int, ny: int, nx: int) -> xr.DataArray:
    """A draw of the prior around the globe; no cell is at a pole."""
    from xgpfill.linalg.draws import PriorDraws

    lat, lon = (np.arange(ny) + 0.5) * 180 / ny - 90, np.arange(nx) * 360 / nx
    coordinates = Metric("sphere", degrees=True).embed(lat[:, None], lon[None])
    lattice = Lattice(None, np.arange(float(nt)), Space(coordinates, "sphere", wraps=True))
    field = PriorDraws(lattice, prior(), 5).field(0, 0, (np.arange(nt), np.arange(ny), np.arange(nx)))
    time_axis = np.datetime64("2001-01-01", "ns") + np.arange(nt).astype("timedelta64[D]")
    coords = {"time": time_axis, "lat": lat, "lon": lon}
    return xr.DataArray(field, dims=("time", "lat", "lon"), coords=coords, name="t")


if __name__ == "__main__":
    main()
