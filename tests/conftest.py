"""Fixtures that several test modules share: a tiny field, the model of it, and a scheduler that refuses to work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dask
import pytest
import xgpfill  # noqa: F401  (registers .gpfill)
from xgpfill.datasets import synthetic_sst
from xgpfill.tiling.kept import KEPT

if TYPE_CHECKING:
    from collections.abc import Iterator

    import xarray as xr
    from xgpfill.model import FittedModel


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    cube = synthetic_sst(days=8, nlat=8, nlon=9)
    return cube.assign(sst=cube.sst.astype(float), truth=cube.truth.astype(float))


@pytest.fixture(scope="module")
def model(ds: xr.Dataset) -> FittedModel:
    return ds.sst.gpfill.fit(valid=ds.valid, method="exact")


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> None:
    """Equal models ask equal questions: what one test was answered is no answer for the next."""
    KEPT.clear()


@pytest.fixture
def nothing_is_computed() -> Iterator[None]:
    """A scheduler that refuses to work."""

    def refuse(*args: object, **kwargs: object) -> None:
        pytest.fail("dask computed something")

    with dask.config.set(scheduler=refuse):
        yield
