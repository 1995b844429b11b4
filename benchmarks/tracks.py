"""A million observations along tracks to daily maps of a region: seconds and the memory that more days take.

python benchmarks/tracks.py                          # 10 and 40 days of a 0.25 degree region
python benchmarks/tracks.py --observations 200000

Each number of days is asked for in a fresh process, of a covariance that is given, so that nothing is learned. Written
is the largest resident memory of the process before `predict` and after it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr

START = np.datetime64("2020-01-01", "ns")
SPAN = 60.0  # days
MIB = 2**10  # ru_maxrss is in KiB


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every number of days, print a line each and save all."""
    options = parse(arguments)
    if options.child is not None:
        print(json.dumps(measured(options.observations, options.child)))
        return
    rows = []
    for days in options.days:
        command = [sys.executable, __file__, "--child", str(days), "--observations", str(options.observations)]
        found = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append(json.loads(found.stdout.splitlines()[-1]))
        print("  ".join(f"{key} {value}" for key, value in rows[-1].items()))
    if not options.no_save:
        about = {"date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(), "tracks": rows}
        (HERE / "results" / "tracks.json").write_text(json.dumps(about, indent=1) + "\n")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--observations", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, nargs="+", default=[10, 40])
    parser.add_argument("--no-save", action="store_true", help="don't write results/tracks.json")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def measured(observations: int, days: int) -> dict[str, Any]:
    """Fit with everything given and map so many days."""
    import xgpfill

    tracks = along_tracks(observations)
    given = {
        "time_kernel": xgpfill.Matern(0.5, 10.0, fixed=True),
        "space_kernel": xgpfill.Matern(1.5, 120.0, variance=0.04, fixed=True),
    }
    began = time.perf_counter()
    model = tracks.gpfill.fit(**given, trend=0.0, noise_std=0.05, method="vecchia")
    fitted, before = time.perf_counter() - began, peak()
    dates = START + (10.0 + np.arange(days)) * np.timedelta64(1, "D")
    target = {"time": dates, "lat": np.arange(30.0, 45.0, 0.25), "lon": np.arange(-75.0, -50.0, 0.25)}
    maps = model.predict(target)
    return {
        "observations": observations, "days": days, "targets": maps.mean.size, "fit_seconds": round(fitted, 1),
        "predict_seconds": round(time.perf_counter() - began - fitted, 1), "peak_before_mib": before,
        "peak_mib": peak(), "mean_std": round(float(maps.std().mean()), 4),
    }  # fmt: skip


def along_tracks(count: int) -> xr.DataArray:
    """Observations along ascending and descending passes over the region, for the whole span."""
    import xarray as xr

    rng, per_pass = np.random.default_rng(0), 200
    passes = -(-count // per_pass)
    along = np.linspace(29.0, 46.0, per_pass)
    slope = rng.choice([-0.45, 0.45], passes)[:, None]
    lon = (rng.uniform(-80, -45, passes)[:, None] + slope * (along - 37.5)).ravel()[:count]
    lat = np.tile(along, passes)[:count]
    days = np.repeat(np.sort(rng.uniform(0, SPAN, passes)), per_pass)[:count]
    wave = 0.2 * np.sin(np.radians(40 * lat + 30 * lon + 10 * days))
    time_of = START + (days * 86400e9).astype("timedelta64[ns]")
    coords = {"time": ("obs", time_of), "lat": ("obs", lat), "lon": ("obs", lon)}
    return xr.DataArray(wave + 0.05 * rng.standard_normal(count), coords, ["obs"], "sla", {"units": "m"})


def peak() -> int:
    """The largest resident memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // MIB


if __name__ == "__main__":
    main()
