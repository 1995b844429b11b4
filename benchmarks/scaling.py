"""How seconds and memory grow with the lattice: synthetic fields around the globe, nearly all of them hidden.

python benchmarks/scaling.py                 # all of them; saved
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
STATIONS = 104.0
"""Places of a region that are observed at all months, with little noise; their hyperparameters are given."""
STATION_NOISE = 0.1
CASES: dict[str, list[tuple[int, int, int, float]]] = {
    "globe": [(110, 64, 128, 0.98)],
    "longitude": [(12, 64, 128, 0.9), (12, 64, 400, 0.9), (12, 64, 1280, 0.9)],
    "all axes": [(24, 32, 64, 0.9), (48, 48, 96, 0.9), (96, 64, 128, 0.9)],
    "30 % seen": [(30, 180, 360, 0.7), (12, 360, 720, 0.7)],
    "stations": [(240, 37, 49, STATIONS)],
}
"""Times, latitudes, longitudes, share hidden; more than one stands for stations on a region of one degree."""


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
    from xgpfill.operators.lattice import LatticeOperator

    rng = np.random.default_rng(1)
    known: dict[str, Any] = {}
    if hidden > 1:
        truth, observed, known = stations(nt, ny, nx, int(hidden), rng)
    else:
        truth = synthetic(nt, ny, nx)
        observed = truth + NOISE * rng.standard_normal(truth.shape)
        observed = observed.where(rng.random(truth.shape) >= hidden)
    began = time.perf_counter()
    model = observed.gpfill.fit(valid=True, progress=False, **known)
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
        **checked(solve),
        "rmse": float(np.sqrt(np.mean(error[~np.isfinite(observed.values)] ** 2))),
        "coverage95": float(inside[~np.isfinite(observed.values)].mean()),
        "peak_memory_gib": peak,
    }


def checked(solve: xr.Dataset) -> dict[str, float]:
    """What the check of that solve found."""
    names = ("probes", "std_error", "worst_std_error", "mean_error", "std_bias", "region_bias", "neighbours", "patch")
    return {name: float(solve[name]) for name in names if name in solve}


def stations(nt: int, ny: int, nx: int, count: int, rng: np.random.Generator) -> tuple[Any, Any, dict[str, Any]]:
    """Months at a few places of a region; truth, observations, and the prior they are drawn from."""
    from xgpfill.kernels import spec
    from xgpfill.kernels.hyperparameters import to_dataset
    from xgpfill.kernels.prior import Prior, Term
    from xgpfill.layout.encode import encode
    from xgpfill.operators.draws import PriorDraws

    def term(name: str, variance: float, days: float | None, km: float | None) -> Term:
        time_kernel, space_kernel = (spec.Constant() if x is None else spec.Matern(1.5, x) for x in (days, km))
        return Term(name, time_kernel, space_kernel, variance)

    terms = (
        term("static", 100.0, None, 1500.0),
        term("common", 2.0, 200.0, None),
        term("slow", 10.0, 300.0, 2000.0),
        term("fast", 8.0, 30.0, 1200.0),
    )
    months = np.arange(nt) * 30.4375
    lat, lon = 35.0 + np.arange(ny), -10.0 + np.arange(nx)
    coordinates = Metric("sphere", degrees=True).embed(lat[:, None], lon[None])
    lattice = Lattice(None, months, Space(coordinates, "sphere"))
    own = Prior(terms, noise=STATION_NOISE**2, combine="anova", geometry="sphere")
    field = PriorDraws(lattice, own, 3).field(0, 0, (np.arange(nt), np.arange(ny), np.arange(nx)))
    time_axis = np.datetime64("2000-01-01", "ns") + (months * 86400e9).astype("timedelta64[ns]")
    coords = {"time": time_axis, "lat": lat, "lon": lon}
    truth = xr.DataArray(field, dims=("time", "lat", "lon"), coords=coords, name="t")
    seen = np.zeros(ny * nx, bool)
    seen[rng.choice(ny * nx, count, replace=False)] = True
    where = xr.DataArray(seen.reshape(ny, nx), dims=("lat", "lon"))
    observed = (truth + STATION_NOISE * rng.standard_normal(truth.shape)).where(where)
    return (
        truth,
        observed,
        {"hyperparameters": to_dataset(own, encode(observed, valid=True)[0], "", noise_is_scale=False)},
    )


def synthetic(nt: int, ny: int, nx: int) -> xr.DataArray:
    """A draw of the prior around the globe; no cell is at a pole."""
    from xgpfill.operators.draws import PriorDraws

    lat, lon = (np.arange(ny) + 0.5) * 180 / ny - 90, np.arange(nx) * 360 / nx
    coordinates = Metric("sphere", degrees=True).embed(lat[:, None], lon[None])
    lattice = Lattice(None, np.arange(float(nt)), Space(coordinates, "sphere", wraps=True))
    field = PriorDraws(lattice, prior(), 5).field(0, 0, (np.arange(nt), np.arange(ny), np.arange(nx)))
    time_axis = np.datetime64("2001-01-01", "ns") + np.arange(nt).astype("timedelta64[D]")
    coords = {"time": time_axis, "lat": lat, "lon": lon}
    return xr.DataArray(field, dims=("time", "lat", "lon"), coords=coords, name="t")


if __name__ == "__main__":
    main()
