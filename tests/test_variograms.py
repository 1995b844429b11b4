"""The variogram of the data is that of numpy on the same pairs, and the learned one is what the model expects there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
import xgpfill
from numpy.testing import assert_allclose
from xgpfill.errors import DataError, KernelError
from xgpfill.plotting import variogram as drawn

from tests import reference as ref

LENGTH = 40.0
KNOWN: dict[str, Any] = {
    "space_kernel": xgpfill.Matern(1.5, LENGTH, fixed=True), "noise_variance": 0.2, "method": "exact",
    "amplitude": False, "calibrate": False,
}  # fmt: skip


def line(n: int = 150, seed: int = 0) -> xr.DataArray:
    """A field of unit variance seen with noise at places on a line."""
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(0, 2000, n))
    K = ref.matern(ref.distance(x, x), LENGTH, 1.5) + 0.2 * np.eye(n)
    return xr.DataArray(np.linalg.cholesky(K) @ rng.standard_normal(n), {"x": ("obs", x)}, ["obs"], "z", {"units": "m"})


@pytest.fixture(scope="module")
def da() -> xr.DataArray:
    return line()


@pytest.fixture(scope="module")
def model(da: xr.DataArray) -> Any:
    return da.gpfill.fit(coords=("x",), **KNOWN)


def test_both_are_means_over_the_same_pairs(da: xr.DataArray, model: Any) -> None:
    found = model.variogram(bins=4)
    i, j = np.triu_indices(da.size, 1)
    apart = np.abs(da.x.values[i] - da.x.values[j])
    variance = float(model.hyperparameters.variance[0])
    learned = variance * (1 - ref.matern(apart, LENGTH, 1.5)) + 0.2
    seen = 0.5 * (da.values[i] - da.values[j]) ** 2
    number = np.floor(apart / (0.5 * apart.max() / 4)).astype(int)
    for k in range(4):
        some = number == k
        one = found.isel(distance=k)
        assert int(one.space_pairs) == some.sum()
        for name, values in (("distance", apart), ("space_variogram", seen), ("space_learned", learned)):
            assert_allclose(float(one[name]), values[some].mean(), rtol=1e-9)
    assert found.space_variogram.attrs["units"] == "m2"
    assert "time_lag" not in found


def test_a_model_of_the_truth_expects_what_is_seen(model: Any) -> None:
    found = model.variogram(bins=10)
    assert_allclose(found.space_learned, found.space_variogram, rtol=0.4)  # one field tells far lags badly
    assert_allclose(found.space_learned.mean(), found.space_variogram.mean(), rtol=0.1)


def test_time_and_space_have_variograms_of_their_own_and_fields_are_pooled(ds: xr.Dataset) -> None:
    twice = xr.concat([ds.sst, 3.0 * ds.sst], "member")
    fitted = twice.gpfill.fit(dims=("time", "lat", "lon"), valid=ds.valid, method="exact", calibrate=False)
    found = fitted.variogram()
    assert {"time_variogram", "time_learned", "space_variogram", "space_learned"} <= set(found.data_vars)
    assert bool((found.space_pairs > 0).all()) and found.time_lag.attrs["units"] == "days"
    ratio = found.space_learned / found.space_variogram
    assert 0.3 < float(ratio.median()) < 3.0


def test_same_seed_same_pairs(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xgpfill.posterior.variogram.MOST_OBSERVATIONS", 40)
    one, again, other = (model.variogram(seed=seed) for seed in (1, 1, 2))
    xr.testing.assert_identical(one, again)
    assert not one.equals(other)


@pytest.mark.parametrize("bins", [0, -3, 2.5, True, "many"])
def test_bins_are_a_positive_integer(model: Any, bins: Any) -> None:
    with pytest.raises(DataError, match=r"bins=.*: expected a positive integer, e\.g\. `model\.variogram\(bins=15\)`"):
        model.variogram(bins=bins)


def test_the_picture_has_a_dot_for_each_bin_and_the_learned_line(model: Any) -> None:
    (ax,) = model.plot.variogram().axes
    table = model.variogram()
    assert_allclose(ax.collections[0].get_offsets(), np.column_stack([table.distance, table.space_variogram]))
    assert_allclose(ax.lines[0].get_ydata(), table.space_learned)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("distance", "semivariance [m²]")
    assert drawn(table, axes=[ax]) is ax.figure


def test_what_is_no_variogram_is_refused(model: Any) -> None:
    with pytest.raises(KernelError, match=r"no variogram to draw in a Dataset\. Give a fitted model"):
        drawn(xr.Dataset())
    with pytest.raises(KernelError, match=r"axes= holds 0 panel\(s\); 1 are needed"):
        drawn(model, axes=[])
