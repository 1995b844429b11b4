"""Measure xgpfill on a folder of cases, beside what is recorded of other tools and, with --peers, beside some of them.

python benchmarks/cases.py ../shared/data                        # all cases, method="auto"
python benchmarks/cases.py ../shared/data --method variational --case tas_dynamic90 --peers
python benchmarks/cases.py ../shared/data --mean-only            # the mean alone beside scipy's RBFInterpolator

Each case is a netCDF file with `obs`, `truth` and `valid`; cells with a truth and no observation are scored. Every
method runs in its own process, one after the other, with the same number of threads. README.md beside this file says
what the columns mean and how the peers are set. The peers: `pip install -e ".[peers]"`; where gpboost then does not
load, `apt-get install -y libgomp1 ocl-icd-libopencl1`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xgpfill
from common import Request
from measure import measured
from xgpfill.files import written_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
PACKAGES = ("torch", "gpytorch", "numpy", "scipy", "xarray", "gpboost", "muygpys")
COLUMNS = {
    "rmse": "RMSE", "mae": "MAE", "crps": "CRPS", "coverage95": "95% cov.", "coverage68": "68% cov.",
    "learn_seconds": "learn s", "solve_seconds": "solve s", "total_seconds": "total s", "peak_memory_gib": "peak GiB",
}  # fmt: skip
OURS = ("xgpfill", "mean_alone")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the cases asked for and print one table each."""
    options = parse(arguments)
    about, rows, peers = surroundings(options), [], []
    name = f"{options.method}_mean" if options.mean_only else options.method
    for path in chosen(options.folder, options.case):
        own, others = [], []
        for method in methods(options):
            row = fastest(request_of(options, path, method), options.repeat)
            (own if method in OURS else others).append(row)
        rows, peers = rows + own, peers + others
        print(table(own, others, recorded_peers(options.folder, path.stem)), flush=True)
        if options.save:
            save(options.results / f"{name}.json", {**about, "cases": rows, "peers": peers})
    if options.save:
        print(f"\nsaved to {options.results / name}.json")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of cases (*.nc)")
    parser.add_argument("--method", default="auto", help="engine of xgpfill")
    parser.add_argument("--case", action="append", help="name of a case; may be repeated (default: all)")
    parser.add_argument(
        "--peers", action="store_true", help="run GPBoost, MuyGPyS, DCT-PLS and RBF interpolation as well"
    )
    parser.add_argument(
        "--mean-only", action="store_true",
        help="hyperparameters known, no variance: the mean alone, beside scipy's untuned RBFInterpolator",
    )  # fmt: skip
    parser.add_argument("--threads", type=positive, default=cores(), help="of every method (default: all cores)")
    parser.add_argument("--repeat", type=positive, default=1, help="measure so often, keep the fastest")
    parser.add_argument(
        "--targets", choices=("hidden", "gaps"), default="hidden",
        help="cells that peers predict: those that are scored, or all gaps, as xgpfill does",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--save", action=argparse.BooleanOptionalAction, default=True, help="write METHOD.json (or METHOD_mean.json)"
    )
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder that --save writes to")
    return parser.parse_args(arguments)


def positive(text: str) -> int:
    """Read a whole number of at least one."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1; type e.g. 2")
    return int(text)


def cores() -> int:
    """Count the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def chosen(folder: Path, names: list[str] | None) -> list[Path]:
    """List the files of the cases asked for.

    Raises
    ------
    SystemExit
        When there is no folder, no case in it, or none of a given name.
    """
    if not folder.is_dir():
        raise SystemExit(
            f"There is no folder {str(folder)!r}; expected one of cases, netCDF files with obs, truth and valid. Type "
            f"e.g. `python benchmarks/cases.py ../shared/data`."
        )
    paths = {path.stem: path for path in sorted(folder.glob("*.nc"))}
    if not paths:
        raise SystemExit(
            f"The folder {str(folder)!r} holds no case; expected netCDF files (*.nc) with obs, truth and valid. "
            f"Write one, e.g. `ds.to_netcdf({str(folder / 'mine.nc')!r})`."
        )
    unknown = [name for name in names or () if name not in paths]
    if unknown:
        found, first = list(paths), next(iter(paths))
        raise SystemExit(f"No case {unknown} in {str(folder)!r}, which has {found}. Type e.g. `--case {first}`.")
    return [paths[name] for name in names or paths]


def methods(options: argparse.Namespace) -> list[str]:
    """Name what to run, ours first."""
    if options.mean_only:
        return ["mean_alone", "rbf", *(["rbf_tuned"] if options.peers else [])]
    return ["xgpfill", *(["gpboost", "muygps", "dct_pls", "rbf", "rbf_tuned"] if options.peers else [])]


def request_of(options: argparse.Namespace, path: Path, method: str) -> Request:
    """Ask for one method on one case."""
    return Request(
        method=method, path=str(path.resolve()), engine=options.method, seed=options.seed, threads=options.threads,
        targets=options.targets,
    )  # fmt: skip


def fastest(request: Request, repeat: int) -> dict[str, Any]:
    """Measure `repeat` times and keep the least disturbed run; all seconds are recorded."""
    runs = [with_total(measured(request)) for _ in range(repeat)]
    best = min(runs, key=lambda row: row.get("total_seconds", float("inf")))
    return {**best, "all_seconds": [row.get("total_seconds") for row in runs]} if repeat > 1 else best


def with_total(row: dict[str, Any]) -> dict[str, Any]:
    """Add the seconds of learning and solving together."""
    return row if "error" in row else {**row, "total_seconds": (row["learn_seconds"] or 0.0) + row["solve_seconds"]}


def recorded_peers(folder: Path, case: str) -> list[dict[str, Any]]:
    """List what other tools reach on this case, as recorded in the folder."""
    path = folder / "peers.json"
    recorded = json.loads(path.read_text())["cases"].get(case, []) if path.exists() else []
    same = {"coverage95": "cov95", "total_seconds": "seconds"}
    return [
        {"method": f"recorded: {peer['method']}", **{name: peer.get(same.get(name, name)) for name in COLUMNS}}
        for peer in recorded
    ]


def table(own: list[dict[str, Any]], measured_peers: list[dict[str, Any]], recorded: list[dict[str, Any]]) -> str:
    """Lay out one case: ours first, then the peers measured beside it, then the recorded ones, then the ratios."""
    rows = [*own, *measured_peers, *recorded]
    width = max(len(row["method"]) for row in rows) + 2
    lines = [f"\n{own[0]['case']}", f"{'method':{width}}" + "".join(f"{title:>10}" for title in COLUMNS.values())]
    for row in rows:
        numbers = f"  failed: {row['error']}" if "error" in row else "".join(cell(row.get(name)) for name in COLUMNS)
        lines.append(f"{row['method']:{width}}{numbers}")
    lines += [f"{row['method']} warned: {text}" for row in rows for text in row.get("warnings", ())]
    return "\n".join(lines + ratios(own, measured_peers))


def cell(value: float | None) -> str:
    """Write one number, or a dash."""
    return f"{'-':>10}" if value is None else f"{value:10.4g}"


def ratios(own: list[dict[str, Any]], peers: list[dict[str, Any]]) -> list[str]:
    """Say how many times the seconds of each peer xgpfill took; measured here, not recorded."""
    return [
        f"{mine['method']} took {mine['total_seconds'] / peer['total_seconds']:.2f} x the seconds of {peer['method']}"
        for mine in own
        for peer in peers
        if "error" not in mine and "error" not in peer
    ]


def surroundings(options: argparse.Namespace) -> dict[str, Any]:
    """Say where the figures come from: commit, versions, machine, settings."""
    command = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "commit": commit.stdout.strip() or None,
        "python": platform.python_version(),
        "packages": {"xgpfill": xgpfill.__version__, **{name: version(name) for name in PACKAGES}},
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": cores(),
        "threads": options.threads,
        "seed": options.seed,
        "targets of peers": options.targets,
    }


def version(package: str) -> str | None:
    """Look up an installed version; None when it is absent."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def save(path: Path, results: dict[str, Any]) -> None:
    """Write the results whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
