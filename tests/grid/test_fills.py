"""Numbers that stand for no value are never taken for data without a word."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import xgpfill
from xgpfill.cf.fills import declared_fills, declared_range, suspected_fill
from xgpfill.errors import DataError, XgpfillWarning
from xgpfill.layout.encode import encode

GUESSED = [(-999.0, "f8"), (-9999.0, "f4"), (-32768.0, "i4"), (9999.0, "f8")]
CERTAIN = [(1e20, "f4"), (9.969209968386869e36, "f8"), (-1e34, "f4")]
FIXED = {
    "noise_variance": 0.5,
    "time_kernel": None,
    "space_kernel": xgpfill.Matern(1.5, 300.0, fixed=True),
    "method": "exact",
}


@pytest.fixture
def da() -> xr.DataArray:
    values = 290.0 + np.random.default_rng(0).normal(size=(4, 4, 5))
    values[1, 2, 3] = np.nan
    coords = {"time": pd.date_range("2001-01-01", periods=4), "lat": np.arange(4.0), "lon": np.arange(5.0)}
    return xr.DataArray(values, coords, ("time", "lat", "lon"), "sst", {"units": "K"})


def filled_with(da: xr.DataArray, value: float, dtype: str = "f8") -> xr.DataArray:
    return da.fillna(290.0).where(da.lon > 0, value).astype(dtype).assign_attrs(da.attrs)


@pytest.mark.parametrize("name", ["_FillValue", "missing_value"])
@pytest.mark.parametrize("value", [-9999.0, 1e20, -9.9e-5])
def test_a_declared_fill_value_among_the_data_is_refused(da: xr.DataArray, name: str, value: float) -> None:
    bad = filled_with(da, value, "f4").assign_attrs({name: np.float32(value)})
    for data in (bad, bad.chunk(time=2)):
        with pytest.raises(DataError, match=r"hold \d+ time\(s\).* the number .*`xr\.decode_cf\(ds\)`.*da\.where\("):
            data.gpfill.fit(method="exact", valid=True)


def test_a_declared_fill_value_of_lazy_data_is_refused_when_its_tile_is_computed(da: xr.DataArray) -> None:
    model = da.gpfill.fit(**FIXED, valid=True)
    bad = da.where(da.time < da.time[3], -9999.0).assign_attrs(missing_value=-9999.0)
    with pytest.raises(DataError, match=r"hold 20 time\(s\) at time step 3 the number -9999"):
        model.condition(bad.chunk(time=2)).reconstruct().compute()
    with pytest.raises(DataError, match=r"hold 20 time\(s\) the number -9999"):
        model.condition(bad)


def test_where_the_field_does_not_exist_there_may_be_anything(da: xr.DataArray) -> None:
    bad = filled_with(da, -9999.0).assign_attrs(_FillValue=-9999.0)
    for data in (bad, bad.chunk(time=2)):
        found = data.gpfill.fit(**FIXED, valid=da.lon > 0).reconstruct().mean
        assert abs(float(found.mean()) - 290) < 1


@pytest.mark.parametrize(("value", "dtype"), GUESSED)
def test_what_looks_like_a_fill_value_is_warned_of(da: xr.DataArray, value: float, dtype: str) -> None:
    bad = filled_with(da, value, dtype)
    for data in (bad, bad.chunk(time=2)):
        with pytest.warns(
            XgpfillWarning, match=rf"number {value:.10g}, far from all others.*`da\.where\(da != {value:g}"
        ):
            data.gpfill.fit(**FIXED, valid=True)


@pytest.mark.parametrize(("value", "dtype"), CERTAIN)
def test_what_can_only_be_a_fill_value_is_refused(da: xr.DataArray, value: float, dtype: str) -> None:
    bad = filled_with(da, value, dtype)
    for data in (bad, bad.chunk(time=2)):
        with pytest.raises(DataError, match=r"a fill value among ordinary numbers.*`da\.where\(abs\(da\) < 1e\+19\)`"):
            data.gpfill.fit(method="exact", valid=True)


RNG = np.random.default_rng(3)
CELSIUS = np.clip(RNG.normal(10.0, 12.0, 4000), -30.0, 40.0)
"""Air temperatures of a continent."""
RAIN = np.where(RNG.uniform(size=4000) < 0.7, 0.0, np.round(RNG.gamma(0.5, 12.0, 4000), 1))
EMPTY: dict[str, tuple[float, Any]] = {
    "-99": (-99.0, CELSIUS),
    "-99 in float32": (-99.9, CELSIUS.astype("f4")),
    "255 in bytes": (255, RNG.integers(0, 101, 4000, dtype="u1")),
    "65535": (65535, RNG.integers(0, 10_000, 4000, dtype="u2")),
    "1e15": (1e15, CELSIUS),
    "32767": (32767, RNG.integers(-500, 8000, 4000, dtype="i2")),
    "-128 in bytes": (-128, RNG.integers(0, 101, 4000).astype("i1")),
    "-9999 in rain": (-9999.0, RAIN),
    "-999 among many": (-999.0, RNG.normal(0.0, 150.0, 4000)),
    "0 K": (0.0, 273.15 + CELSIUS),
    "-5": (-5.0, RNG.normal(35.0, 0.5, 4000)),
}
"""A number that stands for no value, and the data that it is put among."""
ORDINARY: dict[str, Any] = {
    "rain": RAIN,
    "rain on a few days": np.where(np.arange(4000) < 3990, 0.0, RAIN.max() + np.arange(4000) / 10),
    "saturated image": np.clip(RNG.normal(140.0, 70.0, 4000), 0, 255).astype("u1"),
    "saturated lamp": np.append(np.clip(RNG.normal(80.0, 20.0, 4000), 0, 160), [255.0] * 50).astype("u1"),
    "image with holes in its levels": (RNG.integers(0, 18, 4000) * 15).astype("u1"),
    "sea ice": np.clip(np.round(RNG.normal(60.0, 80.0, 4000)), 0, 100),
    "sea ice or none": RNG.choice([0.0, 100.0], 4000),
    "sea ice, little or all": RNG.choice(np.append(np.arange(13.0), 100.0), 4000),
    "a mask of bytes": RNG.choice([0, 255], 4000).astype("u1"),
    "classes": RNG.choice([1, 2, 3, 255], 4000).astype("u1"),
    "clipped": np.clip(RNG.normal(size=4000), -0.5, 0.5),
    "humidity": np.minimum(RNG.gamma(20.0, 4.0, 4000), 100.0),
    "heavy tails": RNG.standard_cauchy(4000),
    "one outlier": np.append(CELSIUS, [-99.0]),
    "depths": np.append(np.round(RNG.uniform(-9999, 0, 4000)), [-9999.0] * 20),
    "shares of one": np.append(RNG.uniform(0, 0.1, 4000), [1.0] * 50),
    "99 among percents": RNG.integers(60, 100, 4000),
}


def every_fortieth(name: str) -> tuple[xr.DataArray, str]:
    """Data of which every fortieth value stands for none, and what is said of them."""
    fill, values = EMPTY[name]
    values = np.where(np.arange(values.size) % 40 == 7, np.array(fill, values.dtype), values)
    told = re.escape(f"{float(values[7]):.10g}")
    return xr.DataArray(
        values.reshape(40, 100), dims=("y", "x")
    ), rf"the number {told}, far from all.*`da\.where\(da != "


@pytest.mark.parametrize("name", EMPTY)
def test_a_number_repeated_far_from_all_others_is_warned_of_with_its_count_and_cure(name: str) -> None:
    da, told = every_fortieth(name)
    with pytest.warns(XgpfillWarning, match=f"The data hold 100 time.*{told}"):
        encode(da)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encode(da.where(da != da.values[0, 7]))


def test_on_lazy_data_the_count_is_the_least_that_there_are(da: xr.DataArray, monkeypatch) -> None:
    monkeypatch.setattr("xgpfill.learning.samples.SMALL", 0)
    cells, told = every_fortieth("-99")
    fixed = FIXED | {"space_kernel": xgpfill.Matern(1.5, 3.0, fixed=True)}
    with pytest.warns(XgpfillWarning, match=f"The data hold at least .*{told}") as found:
        cells.chunk(y=10).gpfill.fit(**fixed)
    (said,) = (str(w.message) for w in found if "fill value" in str(w.message))
    assert 0 < int(re.search(r"(\d+) time", said)[1]) <= 100


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_field_is_not_suspected(name: str) -> None:
    assert suspected_fill(np.asarray(ORDINARY[name])) is None
    assert suspected_fill(np.asarray(ORDINARY[name], "f4")) is None


def test_ordinary_numbers_that_equal_a_fill_value_are_no_fill_values(da: xr.DataArray) -> None:
    depths = xr.DataArray([-9999.0, -9000.0, -400.0, 0.0]).values
    assert suspected_fill(depths) is None
    assert suspected_fill(np.array([900.0, 999.0, 850.0])) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for good in (da.assign_attrs(_FillValue=np.nan), da.assign_attrs(_FillValue=-9999.0, missing_value="none")):
            good.gpfill.fit(**FIXED, valid=True)


def test_declared_values_are_read_from_attributes_of_any_kind(da: xr.DataArray) -> None:
    attrs = {"_FillValue": np.float32(-99.5), "missing_value": [1e20, -99.5, np.nan]}
    assert declared_fills(da.assign_attrs(attrs)) == (-99.5, 1e20)
    assert declared_fills(da.assign_attrs(missing_value="n/a")) == ()


def test_packed_integers_are_to_be_decoded_first(da: xr.DataArray, tmp_path) -> None:
    packing = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 290.0, "_FillValue": -32768}
    da.to_netcdf(tmp_path / "packed.nc", encoding={"sst": packing})
    with xr.open_dataset(tmp_path / "packed.nc", mask_and_scale=False) as raw:
        with pytest.raises(DataError, match=r"packed integers \(int16\).*'scale_factor'.*not in 'K'.*decode_cf\(ds\)"):
            raw.sst.gpfill.fit(method="exact")
        xr.decode_cf(raw).sst.gpfill.fit(**FIXED, valid=True)


PACKING = {"scale_factor": 0.01, "add_offset": 273.15}


@pytest.mark.parametrize("chunks", [None, {"time": 2}], ids=["in memory", "lazy"])
def test_floats_that_name_a_packing_are_warned_of_and_either_cure_works(da: xr.DataArray, tmp_path, chunks) -> None:
    packed = ((da - 273.15) / 0.01).assign_attrs(da.attrs | PACKING)
    packed = packed if chunks is None else packed.chunk(chunks)
    said = (
        r"are floats, but their attributes still say scale_factor=0\.01, add_offset=273\.15.*taken as they are.*"
        r"`xr\.decode_cf\(da\.to_dataset\(name='sst'\)\)\['sst'\]`.*"
        r"`del da\.attrs\['scale_factor'\], da\.attrs\['add_offset'\]`"
    )
    with pytest.warns(XgpfillWarning, match=said):
        found = packed.gpfill.fit(**FIXED, valid=True).reconstruct()
    assert any("are floats, but" in problem for problem in packed.gpfill.describe(valid=True).problems)
    assert not set(PACKING) & set(found.mean.attrs)
    found.to_netcdf(tmp_path / "out.nc")
    with xr.open_dataset(tmp_path / "out.nc") as back:  # which are not decoded a second time
        xr.testing.assert_allclose(back.sst, found.mean)
    decoded = xr.decode_cf(packed.to_dataset(name="sst"))["sst"]
    del packed.attrs["scale_factor"], packed.attrs["add_offset"]
    for cured in (decoded, packed, da.assign_attrs(scale_factor=1.0, add_offset=0.0)):
        cured.gpfill.fit(**FIXED, valid=True)
    np.testing.assert_allclose(decoded, da)


@pytest.mark.parametrize(
    ("attrs", "inside", "count"),
    [
        ({"valid_range": np.array([280.0, 295.0])}, r"`da\.where\(\(da >= 280\) & \(da <= 295\)\)`", 16),
        ({"valid_max": 295.0, "valid_min": "none"}, None, 0),
        ({"valid_max": 295.0}, r"`da\.where\(\(da <= 295\)\)`", 16),
        ({"valid_min": 400}, r"`da\.where\(\(da >= 400\)\)`", 79),
    ],
    ids=["range", "words", "largest", "least"],
)
@pytest.mark.parametrize("chunks", [None, {"time": 2}], ids=["in memory", "lazy"])
def test_values_outside_the_range_that_is_called_valid_are_warned_of(
    da, attrs, inside, count, chunks, monkeypatch
) -> None:
    monkeypatch.setattr("xgpfill.learning.samples.SMALL", 0)
    bad = da.where(da.lon > 0, 300.0 + 3 * da.lat).assign_attrs(da.attrs | attrs)
    bad = bad if chunks is None else bad.chunk(chunks)
    least = "" if chunks is None else "at least "
    if inside is None:
        bad.gpfill.fit(**FIXED, valid=True)
        return
    with pytest.warns(XgpfillWarning, match=rf"hold {least}{count} value\(s\) outside .*call valid.*{inside}"):
        found = bad.gpfill.fit(**FIXED, valid=True).reconstruct()
    assert not set(attrs) & set(found.mean.attrs)
    assert any(re.search(rf"Values run from .*outside .*{inside}", p) for p in bad.gpfill.describe(valid=True).problems)


def test_a_range_of_whole_numbers_beside_decoded_data_is_packed(da: xr.DataArray, tmp_path) -> None:
    packing = PACKING | {"dtype": "i2", "_FillValue": -32768}
    da.assign_attrs(valid_range=np.array([0, 3000], "i2")).to_netcdf(tmp_path / "in.nc", encoding={"sst": packing})
    with xr.open_dataset(tmp_path / "in.nc") as opened:
        assert declared_range(opened.sst) == pytest.approx((273.15, 303.15))
        opened.sst.gpfill.fit(**FIXED, valid=True)
        assert not opened.sst.gpfill.describe(valid=True).problems
    assert declared_range(da) is None and declared_range(da.assign_attrs(valid_range=[2.0, 1.0])) is None


@pytest.mark.parametrize("value", [-9999.0, 1e20])
@pytest.mark.parametrize("declared", [True, False])
def test_a_description_counts_fill_values_as_gaps_and_says_how_to_make_them_so(da, value, declared: bool) -> None:
    bad = filled_with(da, value)
    bad = bad.assign_attrs(_FillValue=value) if declared else bad
    for data in (bad, bad.chunk(time=2)):
        found = data.gpfill.describe(valid=True)
        assert found.gap_share == pytest.approx(0.2)
        assert found.values.fills == 16
        assert found.values.minimum > 280
        assert any("stand for none" in problem and "da.where(" in problem for problem in found.problems)
