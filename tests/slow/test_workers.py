"""The same answer on one thread, on two, and in the processes of a cluster."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from distributed import Client, LocalCluster
from numpy.testing import assert_array_equal
from xgpfill.datasets import synthetic_sst

pytestmark = pytest.mark.slow


def test_threads_and_processes_give_the_same_field() -> None:
    """To the last bit on one machine; a thousandth of the posterior sd between processes that may differ."""
    ds = synthetic_sst(days=24, nlat=20, nlon=24)
    fit = {"valid": ds["valid"], "method": "iterative"}
    known = ds["sst"].gpfill.fit(**fit).hyperparameters
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(ds["sst"].gpfill.fit(hyperparameters=known, **fit).reconstruct())
    finally:
        torch.set_num_threads(threads)
    assert_array_equal(found[0].mean, found[1].mean)
    assert_array_equal(found[0].variance, found[1].variance)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        Client(cluster),
    ):
        there = ds["sst"].chunk().gpfill.fit(hyperparameters=known, **fit).reconstruct().compute()
    here = ds["sst"].chunk().gpfill.fit(hyperparameters=known, **fit).reconstruct().compute(scheduler="threads")
    sd = np.sqrt(here.variance)
    assert float((np.abs(there.mean - here.mean) / sd).max()) < 1e-3
    assert float(np.abs(np.sqrt(there.variance) / sd - 1.0).max()) < 1e-3
