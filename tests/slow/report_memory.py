"""Write a report of many lazy frames and print what it took; run in a process of its own."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from pathlib import Path

import dask
import dask.array as da
import xarray as xr
from xgpfill.report import source
from xgpfill.results.estimate import Context
from xgpfill.results.reconstruction import Reconstruction

SLAB_BYTES = 2**18
"""Frames that are read together, so few that their number does not grow with the report."""


def lazy_reconstruction(count: int, ny: int, nx: int) -> Reconstruction:
    """Random frames in lazy chunks of ten; images, or curves where they have one row."""

    def field(seed: int) -> xr.DataArray:
        values = da.random.default_rng(seed).normal(size=(count, ny, nx), chunks=(10, ny, nx))
        whole = xr.DataArray(values, dims=("member", "time" if ny == 1 else "y", "x"), name="sst")
        return whole.isel(time=0).rename(x="time") if ny == 1 else whole

    variance = (0.5 + abs(field(2))).rename("sst_variance")
    return Reconstruction(field(0), variance, Context(field(1).where(field(1) > 0), 0.1, "latent"))


def resident() -> int:
    """Bytes of this process in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def leave_unarranged() -> None:
    """Pages whose panels are where they are: arranging them takes half of the time, and keeps nothing."""
    from matplotlib.figure import Figure

    Figure.set_layout_engine = lambda self, *_, **__: setattr(self, "_layout_engine", None)


def main(count: int, suffix: str, ny: int, nx: int) -> None:
    source.SLAB_BYTES = SLAB_BYTES
    leave_unarranged()
    dask.config.set(scheduler="synchronous")  # threads allocate in turns that differ between runs
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"report{suffix}"
        lazy_reconstruction(2, ny, nx).report(path, progress=False)  # what is imported and cached once
        before = resident()
        lazy_reconstruction(count, ny, nx).report(path, progress=False)
        status = Path("/proc/self/status").read_text()  # getrusage would count the process that started this one too
        peak = 1024 * int(status.split("VmHWM:")[1].split()[0])
        print(json.dumps({"before": before, "peak": peak, "bytes": path.stat().st_size}))  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
