"""What comes with the data: where the field exists, said in any of the ways that people say it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from xgpfill.errors import AlignmentError
from xgpfill.layout.companions import as_mask

WAYS: dict[str, Any] = {
    "1 and NaN": lambda sea: xr.where(sea, 1.0, np.nan),
    "1 and 0": lambda sea: sea.astype("i1"),
    "1.0 and 0.0": lambda sea: sea.astype("f4"),
    "objects, as `reindex` leaves them": lambda sea: sea.astype(object).where(sea),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
@pytest.mark.parametrize("lazy", [False, True], ids=["numpy", "dask"])
def test_where_the_field_exists_may_be_said_in_any_usual_way(ds: xr.Dataset, model, way: Any, lazy: bool) -> None:
    data, given = (ds.sst.chunk(time=4), way(ds.valid).chunk(lat=3)) if lazy else (ds.sst, way(ds.valid))
    before = given.copy(deep=True)
    own = data.gpfill.fit(method="exact", valid=given, hyperparameters=model.hyperparameters)
    for found in (own, model.condition(data, valid=given)):
        xr.testing.assert_allclose(found.reconstruct().mean.compute(), model.reconstruct().mean, atol=0.02)
    assert data.gpfill.describe(valid=given).gap_share == data.gpfill.describe(valid=ds.valid).gap_share
    xr.testing.assert_identical(given, before)


def test_a_lazy_mask_of_something_else_is_refused_when_it_is_read(ds: xr.Dataset) -> None:
    flags = (2 * ds.valid.astype(int)).chunk(lat=3)
    assert as_mask(flags).chunks is not None
    with pytest.raises(AlignmentError, match=r"`valid` holds 2; expected True.*which values mean.*`valid=mask == 1`"):
        as_mask(flags).compute()
