"""Workers and runs that are killed: nothing finished is computed again, and the field is the same to the last bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING

import pytest
import xarray as xr
import xgpfill
from distributed import Client, LocalCluster
from xgpfill.datasets import synthetic_sst

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

DAYS = 30
TILES = {"tile": {"time": 5}, "halo": 2}
RUN = """
import sys
import dask
import xarray as xr
import xgpfill
with dask.config.set(scheduler="synchronous"):
    xgpfill.load(sys.argv[1]).reconstruct_to(sys.argv[2], tile={"time": 5}, halo=2)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in a file."""
    path = tmp_path_factory.mktemp("model") / "model.nc"
    ds = synthetic_sst(days=DAYS, nlat=20, nlon=24)
    ds["sst"].gpfill.fit(valid=ds["valid"], method="iterative").save(path)
    return path


@pytest.fixture(scope="module")
def undisturbed(model: Path, tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    path = tmp_path_factory.mktemp("whole") / "out.zarr"
    _run(model, path).wait()
    return _fields(path)


def _run(model: Path, out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", RUN, str(model), str(out)])


def _fields(path: Path) -> xr.Dataset:
    return xr.open_zarr(path).load().drop_attrs()


def _finished(out: Path) -> dict[str, int]:
    """Tiles that are there, and when they were written."""
    found = {}
    for path in out.with_name(f"{out.name}.tiles").glob("*.npy"):
        with suppress(FileNotFoundError):  # the run has ended
            found[path.name] = path.stat().st_mtime_ns
    return found


def _wait_for(tiles: int, out: Path) -> dict[str, int]:
    for _ in range(3000):
        if len(found := _finished(out)) >= tiles:
            return found
        time.sleep(0.02)
    pytest.fail(f"{tiles} tiles were not finished in a minute")


def test_a_run_that_was_killed_goes_on_and_ends_bit_for_bit_as_one_that_was_not(model, undisturbed, tmp_path) -> None:
    out = tmp_path / "out.zarr"
    run = _run(model, out)
    before = _wait_for(2, out)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    assert not out.exists() and len(before) < DAYS // 5
    again = _run(model, out)
    after = _wait_for(len(before) + 1, out)
    assert {name: after[name] for name in before} == before  # not written anew
    assert again.wait() == 0
    xr.testing.assert_identical(_fields(out), undisturbed)
    assert [p.name for p in tmp_path.iterdir()] == ["out.zarr"]  # and nothing hidden


def test_a_worker_that_is_killed_loses_only_what_it_had_in_hand(model, undisturbed, tmp_path) -> None:
    out = tmp_path / "out.zarr"
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        pids = list(client.run(os.getpid).values())
        failed: list[BaseException] = []

        def work() -> None:
            try:
                xgpfill.load(model).reconstruct_to(out, **TILES)
            except BaseException as error:  # noqa: BLE001  (told below)
                failed.append(error)

        thread = Thread(target=work)
        thread.start()
        before = _wait_for(1, out)
        os.kill(pids[0], signal.SIGKILL)
        seen = dict(before)
        while thread.is_alive():
            for name, when in _finished(out).items():
                assert seen.setdefault(name, when) == when
            time.sleep(0.02)
        thread.join()
    assert not failed, failed
    found = _fields(out)
    for name in undisturbed.data_vars:
        xr.testing.assert_identical(found[name], undisturbed[name])
