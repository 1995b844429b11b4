"""Points by xgpfill's Vecchia engine beside GPBoost's Vecchia: learning, means and variances, with as many neighbours.

python benchmarks/points.py ../shared/data                     # tas_dynamic90, heaton_sat, 50,000 scattered points
python benchmarks/points.py ../shared/data --case scattered

The observations of a case are given one by one, its hidden cells are asked for. GPBoost has one Matérn-3/2 over time
and space, learned on at most 15,000 observations drawn at random, as in `peers`; xgpfill has its defaults but for the
neighbours. Every measurement runs in a process of its own, the two by turns, with one thread: where others use the
machine compare seconds of the processor. The scattered points are a draw of a Matérn-3/2 with noise.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from common import Request, Scattered, open_case, tabulated
from measure import with_threads
from xgpfill.files import written_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from numpy.typing import NDArray

HERE = Path(__file__).parent
CASES, METHODS = ("tas_dynamic90", "heaton_sat", "scattered"), ("xgpfill", "gpboost")
NEIGHBOURS = 30
COUNT, TARGETS, LENGTH, NOISE = 50_000, 10_000, 5.0, 0.1  # of the scattered points, in a square of 100 km


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every case by both, print a line each and save all."""
    import os

    options = parse(arguments)
    if options.child:
        print(json.dumps(measured(options.folder, options.case[0], options.child, options.most)))
        return
    about = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True, check=False
    )
    rows = []
    for case in options.case or CASES:
        for method in METHODS:
            command = [sys.executable, __file__, str(options.folder), "--case", case, "--child", method]
            command += ["--most", str(options.most)]
            done = subprocess.run(command, env=with_threads(os.environ, 1), capture_output=True, text=True, check=False)
            said = (done.stdout if done.returncode == 0 else done.stderr).splitlines() or ["nothing"]
            rows.append(json.loads(said[-1]) if done.returncode == 0 else {"case": case, "error": said[-1]})
            print(json.dumps(rows[-1]), flush=True)
            with written_whole(options.results) as temporary:
                temporary.write_text(
                    json.dumps({"commit": about.stdout.strip() or None, "rows": rows}, indent=1) + "\n"
                )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of cases (*.nc)")
    parser.add_argument("--case", action="append", choices=CASES, help="may be repeated (default: all)")
    parser.add_argument("--most", type=int, default=10**9, help="targets that are asked for, at most")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "points.json", help="file to write")
    parser.add_argument("--child", choices=METHODS, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def measured(folder: Path, case: str, method: str, most: int) -> dict[str, Any]:
    """One method on one case, in this process."""
    points, targets, truth, table = scattered(most) if case == "scattered" else of_case(folder / f"{case}.nc", most)
    run = by_gpboost if method == "gpboost" else ours
    import xgpfill.engines.vecchia
    import xgpfill.fitting  # noqa: F401  (imports are in no one's seconds)

    before = time.process_time()
    mean, std, seconds = run(points, targets, table)
    cpu = time.process_time() - before
    return {
        "case": case, "method": method, "observations": points.size, "targets": truth.size, "neighbours": NEIGHBOURS,
        "rmse": float(np.sqrt(np.mean((mean - truth) ** 2))), "crps": crps(mean, std, truth),
        "coverage95": float(np.mean(np.abs(mean - truth) < 1.96 * std)),
        "learn_seconds": seconds[0], "predict_seconds": seconds[1], "cpu_seconds": cpu,
    }  # fmt: skip


def crps(mean: NDArray[np.float64], std: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Average continuous ranked probability score of normal laws."""
    from scipy.stats import norm

    z = (truth - mean) / std
    return float(np.mean(std * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - np.pi**-0.5)))


def ours(points: xr.DataArray, targets: xr.DataArray, _: Any) -> tuple[Any, Any, tuple[float, float]]:
    """Mean, standard deviation of new observations, and seconds."""
    import xgpfill

    began = time.perf_counter()
    coords = tuple(map(str, points.coords))
    model = points.gpfill.fit(
        dims=("obs",), coords=coords, method=xgpfill.Vecchia(num_neighbours=NEIGHBOURS), progress=False
    )
    half = time.perf_counter()
    found = model.predict(targets, include_noise=True)
    seconds = half - began, time.perf_counter() - half
    return found.mean.values, np.sqrt(found.variance.values), seconds


def by_gpboost(points: xr.DataArray, _: Any, table: Any) -> tuple[Any, Any, tuple[float, float]]:  # noqa: ARG001
    """The same by GPBoost."""
    from peers import vecchia_of

    mean, std, seconds, _ = vecchia_of(table, Request("gpboost", ""), (NEIGHBOURS, NEIGHBOURS))
    return mean, std, seconds


def of_case(path: Path, most: int) -> tuple[xr.DataArray, xr.DataArray, NDArray[np.float64], Scattered]:
    """Observations and hidden cells of a case one by one."""
    case = open_case(path)
    table, dims = tabulated(case), case.obs.dims
    obs, truth = (x.stack(obs=dims, create_index=False) for x in (case.obs.astype(float), case.truth.astype(float)))
    hidden = truth.where(obs.isnull()).dropna("obs")
    some = np.sort(np.random.default_rng(0).permutation(hidden.size)[:most])
    obs, hidden = obs.dropna("obs"), hidden.isel(obs=some)
    if not table.has_time:
        obs, hidden = obs.drop_vars("time"), hidden.drop_vars("time")
    return obs, hidden, hidden.values, Scattered(table.coordinates, table.values, table.targets[some], table.has_time)


def scattered(most: int) -> tuple[xr.DataArray, xr.DataArray, NDArray[np.float64], Scattered]:
    """A draw of a known field in the plane."""
    import xarray as xr
    from xgpfill.grid.points import Points
    from xgpfill.kernels.prior import Prior, Term
    from xgpfill.kernels.spec import Constant, Matern
    from xgpfill.linalg.draws import drawn_at

    rng, n, m = np.random.default_rng(0), COUNT, min(TARGETS, most)
    x = rng.uniform(0, 100, (n + m, 2))
    prior = Prior((Term("product", Constant(), Matern(1.5, LENGTH), 1.0),), NOISE, geometry="plane")
    field = drawn_at(prior, Points.scattered(np.zeros(n + m), x), [(0, 0)])[:, 0]
    values = field + NOISE**0.5 * rng.standard_normal(n + m)
    along = {name: ("obs", x[:, i], {"units": "km"}) for i, name in enumerate("xy")}
    both = xr.DataArray(values, along, ["obs"], "field")
    some, rest = slice(0, n), slice(n, n + m)
    return both[some], both[rest], values[rest], Scattered(x[some], values[some], x[rest])


if __name__ == "__main__":
    main()
