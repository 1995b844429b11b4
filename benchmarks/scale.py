"""Fields from 10⁵ to 10⁸ cells, from a chunked Zarr store to another one, on workers of little memory.

python benchmarks/scale.py                              # 10⁵, 10⁶, 10⁷ and 3·10⁷ cells on two workers
python benchmarks/scale.py --cells 1e6 --workers 1 2    # how much faster two workers are than one
python benchmarks/scale.py --cells 1e8 --share 0.1      # plan all of it, fill a tenth

Fields are sums of waves with the spectra of two known kernels on a grid of a quarter degree, 30 % of them seen with
noise. Workers have one thread each. Of every size: seconds to learn and to fill, tiles, the largest memory of a worker,
and how far the result is from the truth.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import xarray as xr

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from cases import save, surroundings  # noqa: E402  (it makes the accessor known)
from measure import peak_memory  # noqa: E402
from xgpfill.errors import XgpfillError  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = HERE / "results" / "scale.json"
SIZES = {
    "1e5": (30, 48, 72),
    "1e6": (30, 144, 240),
    "1e7": (30, 480, 720),
    "3e7": (30, 720, 1440),
    "1e8": (100, 720, 1440),
}
"""Times (days), rows and columns of a quarter degree; 1440 columns go around the globe."""
TERMS = ((1.0, 15.0, 600.0), (0.3, 3.0, 250.0))
"""Variance, lengthscale in time (days) and in space (km): exponential in time, Matérn-3/2 in space."""
WAVES = 128
"""Of each term."""
NOISE, SEEN = 0.2, 0.3
CHUNKS = {"time": 10, "lat": 120, "lon": 240}
RADIUS = 6371.0
PROCESSES = True
"""Whether workers are processes of their own."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the sizes asked for, print a line for each and save all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", choices=list(SIZES), default=["1e5", "1e6", "1e7", "3e7"])
    parser.add_argument("--workers", nargs="+", type=int, default=[2])
    parser.add_argument("--memory", default="3GB", help="of each worker")
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the rows that are filled, the first ones; whole chunks are made"
    )
    parser.add_argument("--folder", type=Path, help="where stores are kept; a temporary one without it")
    parser.add_argument("--save", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args(arguments)
    about = {k: v for k, v in surroundings(argparse.Namespace(threads=None, seed=None, targets=None)).items()
             if "peers" not in k}  # fmt: skip
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        for cells in options.cells:
            for workers in options.workers:
                try:
                    rows.append(measured(cells, workers, options.memory, options.share, folder))
                except XgpfillError as refused:  # of tiles that memory does not hold
                    rows.append({"cells": int(np.prod(SIZES[cells])), "workers": workers, "refused": str(refused)})
                print(json.dumps(rows[-1]), flush=True)
                if options.save:
                    save(RESULTS, {**about, "scale": rows})


def measured(cells: str, workers: int, memory: str, share: float, folder: Path) -> dict[str, Any]:
    """Write a field, learn and fill it on workers of their own."""
    from dask.distributed import Client, LocalCluster

    raw, filled = folder / f"raw-{cells}.zarr", folder / f"filled-{cells}.zarr"
    if not raw.exists():
        write(SIZES[cells], raw)
    how = {"threads_per_worker": 1, "processes": PROCESSES, "memory_limit": memory, "dashboard_address": ":0"}
    with LocalCluster(n_workers=workers, **how) as cluster:
        with Client(cluster) as client:
            began = time.perf_counter()
            ds = xr.open_zarr(raw, chunks=CHUNKS, consolidated=False)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                model = ds.observed.gpfill.fit(valid=True, progress=False)
                learned = time.perf_counter()
                tiles = filled_tiles(model, share, filled)
                ended = time.perf_counter()
            most = max(client.run(peak_memory).values())
        count = int(np.prod(SIZES[cells]))
        found = {
            "cells": count,
            "shape": list(SIZES[cells]),
            "workers": workers,
            "memory_of_a_worker": memory,
            "tiles": tiles,
            "share_filled": share,
            "learn_seconds": learned - began,
            "fill_seconds": ended - learned,
            "microseconds_per_cell": 1e6 * (ended - learned) / (count * share) * workers,
            "peak_memory_of_a_worker_gb": most / 1e9,
            **scores(ds, filled),
            "warnings": sorted({str(w.message)[:200] for w in caught}),
        }
    shutil.rmtree(filled)
    return found


def filled_tiles(model: Any, share: float, path: Path) -> list[int]:
    """Fill all of a field, or the first of its rows; how many tiles there are along time, y and x."""
    if share == 1:
        model.reconstruct_to(path, mode="w", progress=False)
    else:
        found = model.reconstruct(progress=False).to_dataset()
        found.isel(lat=slice(0, round(share * found.sizes["lat"]))).to_zarr(path, mode="w")
    return list(next(iter(model._solvers.values())).plan.shape)


def scores(ds: xr.Dataset, path: Path) -> dict[str, float]:
    """How the result does on hidden cells."""
    result = xr.open_zarr(path)
    mean, variance = result["observed"], result["observed_variance"]
    hidden = ds.observed.isnull()
    error = (mean - ds.truth).where(hidden)
    inside = (np.abs(error) <= 1.96 * np.sqrt(variance)).where(hidden)
    mse, coverage = dask.compute((error**2).mean(), inside.mean())
    return {"rmse": float(mse) ** 0.5, "coverage95": float(coverage), "noise": NOISE}


def write(shape: tuple[int, int, int], path: Path) -> None:
    """A field and observations of a part of it with noise, chunk by chunk."""
    nt, ny, nx = shape
    lat = -90 + 0.125 + 0.25 * (np.arange(ny) + (720 - ny) // 2)
    coords = {"time": np.datetime64("2020-01-01", "ns") + np.arange(nt) * np.timedelta64(1, "D"),
              "lat": lat, "lon": 0.25 * np.arange(nx)}  # fmt: skip
    sizes = dict(zip(("time", "lat", "lon"), shape, strict=True))
    chunks = tuple(da.core.normalize_chunks(min(CHUNKS[d], n), (n,))[0] for d, n in sizes.items())
    parts = da.map_blocks(block, lat=lat, chunks=((2,), *chunks), dtype=np.float32, meta=np.empty((0,) * 4, np.float32))
    variables = {name: (tuple(sizes), parts[k]) for k, name in enumerate(("truth", "observed"))}
    xr.Dataset(variables, coords).to_zarr(path, consolidated=False)


def block(lat: Any, block_info: Any = None) -> Any:
    """Truth and observations of a chunk, (2, time, lat, lon)."""
    where = block_info[None]["array-location"][1:]
    (t0, t1), (y0, y1), (x0, x1) = where
    phi, lam = np.radians(lat[y0:y1])[:, None], np.radians(0.25 * np.arange(x0, x1))
    place = RADIUS * np.stack(np.broadcast_arrays(np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)))
    truth = np.zeros((t1 - t0, y1 - y0, x1 - x0))
    for number, (variance, days, km) in enumerate(TERMS):
        rng = np.random.default_rng(number)
        frequency = rng.standard_normal((WAVES, 3)) / np.sqrt(rng.chisquare(3, (WAVES, 1)) / 3) / km
        phase = np.tensordot(frequency, place, 1).reshape(WAVES, -1)
        along = ornstein_uhlenbeck(rng.standard_normal((t1, 2 * WAVES)), days)[t0:]
        waves = np.concatenate([np.cos(phase), np.sin(phase)])
        truth += np.sqrt(variance / WAVES) * (along @ waves).reshape(truth.shape)
    rng = np.random.default_rng([t0, y0, x0])
    observed = truth + NOISE * rng.standard_normal(truth.shape)
    observed[rng.random(truth.shape) >= SEEN] = np.nan
    return np.stack([truth, observed]).astype(np.float32)


def ornstein_uhlenbeck(white: Any, days: float) -> Any:
    """White noise (times, k), correlated exponentially in time."""
    found, kept = white.copy(), np.exp(-1.0 / days)
    for t in range(1, len(found)):
        found[t] = kept * found[t - 1] + np.sqrt(1 - kept**2) * white[t]
    return found


if __name__ == "__main__":
    main()
