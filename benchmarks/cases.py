"""Measure xgpfill on a folder of cases, beside what is recorded of other tools.

python benchmarks/cases.py ../shared/data                        # all cases, method="auto"
python benchmarks/cases.py ../shared/data --method variational --case tas_dynamic90 --save

Each case is a netCDF file with `obs`, `truth` and `valid`; cells with a truth and no observation are scored. A table
goes to the terminal, with `--save` also to benchmarks/results/METHOD.json with the commit it came from.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Self

import psutil
import xarray as xr
import xgpfill  # noqa: F401  (registers .gpfill)

RESULTS = Path(__file__).parent / "results"
COLUMNS = ("rmse", "mae", "crps", "coverage95", "learn_seconds", "solve_seconds", "peak_memory_gib")


def main() -> None:
    """Run the cases asked for and print one table each."""
    options = parse()
    rows = []
    for path in sorted(options.folder.glob("*.nc")):
        if options.case and path.stem not in options.case:
            continue
        row = run_case(path, options.method, options.seed)
        rows.append(row)
        print(table(row, recorded_peers(options.folder, path.stem)), flush=True)
    if options.save:
        print(f"saved to {save(rows, options.method)}")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of cases (*.nc)")
    parser.add_argument("--method", default="auto", help="engine")
    parser.add_argument("--case", action="append", help="name of a case; may be repeated (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/METHOD.json")
    return parser.parse_args()


def run_case(path: Path, method: str, seed: int) -> dict[str, Any]:
    """Learn, reconstruct mean and variance, and score one case with default arguments."""
    ds = xr.open_dataset(path).load()
    with PeakMemory() as memory:
        began = time.perf_counter()
        model = ds["obs"].gpfill.fit(method=method, valid=ds["valid"], seed=seed, progress=False)
        learned = time.perf_counter()
        found = model.reconstruct(progress=False)
        solved = time.perf_counter()
    score = found.score(ds["truth"])
    return {
        "case": path.stem,
        "method": f"xgpfill {type(model.settings).__name__.lower()}",
        **{name: float(score[name]) for name in ("rmse", "mae", "crps", "coverage95")},
        "learn_seconds": learned - began,
        "solve_seconds": solved - learned,
        "peak_memory_gib": memory.peak / 2**30,
        "model": repr(model),
    }


class PeakMemory:
    """The largest resident memory of this process inside the block, sampled in a thread."""

    def __enter__(self) -> Self:
        self.peak, self._stop = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        process = psutil.Process()
        while not self._stop.wait(0.05):
            self.peak = max(self.peak, process.memory_info().rss)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def recorded_peers(folder: Path, case: str) -> list[dict[str, Any]]:
    """What other tools reach on this case, as recorded in the folder."""
    path = folder / "peers.json"
    return json.loads(path.read_text())["cases"].get(case, []) if path.exists() else []


def table(row: dict[str, Any], peers: list[dict[str, Any]]) -> str:
    """One case: ours first, then the recorded peers."""
    lines = [f"\n{row['case']}", f"{'method':62}" + "".join(f"{c:>17}" for c in COLUMNS)]
    lines.append(f"{row['method']:62}" + "".join(f"{row[c]:17.4g}" for c in COLUMNS))
    for peer in peers:
        values = [peer["rmse"], peer["mae"], peer["crps"], peer["cov95"], None, peer["seconds"], None]
        lines.append(f"{peer['method'][:60]:62}" + "".join(f"{'-':>17}" if v is None else f"{v:17.4g}" for v in values))
    return "\n".join(lines)


def save(rows: list[dict[str, Any]], method: str) -> Path:
    """Write the results with the commit they came from."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    about = {"commit": commit.stdout.strip(), "python": platform.python_version(), "cores": psutil.cpu_count()}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{method}.json"
    path.write_text(json.dumps({**about, "cases": rows}, indent=1) + "\n")
    return path


if __name__ == "__main__":
    main()
