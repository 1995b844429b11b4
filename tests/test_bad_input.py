"""Bad input, one table for each call: what is asked, and what the error says. And input that only looks bad, and works.

Rows that belong to one module are tested beside it: kernels, tiles, files, masks, scores and pictures have their own.
"""

from __future__ import annotations

import warnings
from datetime import datetime
from typing import TYPE_CHECKING, Any

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import xgpfill
from xgpfill import masks, metrics
from xgpfill.engines.select import select_method
from xgpfill.errors import (
    AlignmentError,
    CoordinateError,
    DataError,
    DeviceError,
    DimensionError,
    FileFormatError,
    KernelError,
    MethodError,
    NoiseError,
    VariableError,
    XgpfillError,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from xgpfill.model import FittedModel
    from xgpfill.results.reconstruction import Reconstruction

    Change = Callable[[xr.DataArray], xr.DataArray]


@pytest.fixture(scope="module")
def da() -> xr.DataArray:
    values = 10.0 + np.random.default_rng(0).normal(size=(3, 3, 4))
    values[0, 0, 0] = values[1, 2, 1] = np.nan
    coords = {"time": pd.date_range("2001-01-01", periods=3), "lat": [10.0, 11.0, 12.0], "lon": [0.0, 1.0, 2.0, 3.0]}
    return xr.DataArray(values, coords, ("time", "lat", "lon"), "sst", {"units": "K"})


@pytest.fixture(scope="module")
def model(da: xr.DataArray) -> FittedModel:
    return da.gpfill.fit(method="exact", valid=True)


@pytest.fixture(scope="module")
def found(model: FittedModel) -> Reconstruction:
    return model.reconstruct()


def times(*values: Any, **attrs: str) -> Change:
    return lambda da: da.assign_coords(time=("time", np.array(values, object if "object" in attrs else None), attrs))


def row(*values: Any) -> Change:
    return lambda da: da.assign_coords(lat=("lat", list(values)))


def column(*values: Any) -> Change:
    return lambda da: da.assign_coords(lon=("lon", list(values)))


def noleap(day: int, calendar: str = "noleap") -> cftime.datetime:
    return cftime.datetime(2001, 1, day, calendar=calendar)


def curvilinear(latitude: float) -> Change:
    def change(da: xr.DataArray) -> xr.DataArray:
        frame = da.isel(time=0, drop=True).drop_vars(["lat", "lon"]).rename(lat="j", lon="i")
        return frame.assign_coords(lat=(("j", "i"), np.full((3, 4), latitude)), lon=(("j", "i"), np.ones((3, 4))))

    return change


def mixed_units(da: xr.DataArray) -> xr.DataArray:
    lat, lon = ("lat", [0.1, 0.2, 0.3], {"units": "radian"}), ("lon", np.arange(4), {"units": "degrees_east"})
    return da.assign_coords(lat=lat, lon=lon)


# Data

DATA: list[tuple[str, Change, type[XgpfillError], str]] = [
    ("no observation", lambda da: da.where(False), DataError,
     r"'sst' has no observation at all \(every value is NaN\).*da\.notnull"),
    ("one observation", lambda da: da.where(da == da[1, 1, 1]), DataError,
     r"one observation only; at least two different"),
    ("one value", lambda da: da[1, 1, 1], DataError, r"one observation only"),
    ("constant", lambda da: xr.full_like(da, 3.0), DataError,
     r"is constant: all 36 observations equal 3\.0.*da\.fillna\(3\.0\)"),
    ("lost in rounding", lambda da: da + 1e15, DataError,
     r"constant but for rounding: it varies by 0\.\d around 1e\+15\. Take that off"),
    ("too large", lambda da: 1e199 * da, DataError,
     r"values of up to 1\.\d+e\+200, whose squares are beyond float64.*`da / 1e\+200`"),
    ("too small", lambda da: 1e-301 * da, DataError, r"values of up to 1\.\d+e-300, whose squares.*`da / 1e-300`"),
    ("infinite", lambda da: da.where(da.lat < 12, np.inf), DataError,
     r"hold 12 infinite value\(s\), the first at .*np\.isfinite"),
    ("complex", lambda da: da + 1j, DataError, r"dtype complex128; expected real numbers.*`da\.real`"),
    ("text", lambda da: da.astype(str), DataError, r"dtype <U\d+; expected real numbers.*da\.astype\(float\)"),
    ("objects", lambda da: da.astype(object), DataError, r"dtype object; expected real numbers"),
    ("yes and no", lambda da: da > 10, DataError,
     r"True and False, which have no gaps: a mask\?.*`field\.where\(mask\)`.*`da\.astype\(float\)`"),
    ("days as digits", times(20010131, 20010201, 20010202), CoordinateError,
     r"'time' holds numbers like 20010131, dates coded as '%Y%m%d'.*pd\.to_datetime\(.*format='%Y%m%d'"),
    ("hours as digits", times(2001013100, 2001013106, 2001013112), CoordinateError, r"coded as '%Y%m%d%H'"),
    ("months as digits", times(200101.0, 200102.0, 200103.0), CoordinateError, r"coded as '%Y%m', which"),
    ("longitudes times ten", column(0.0, 1200.0, 2400.0, 3600.0), CoordinateError,
     r"'lon' run from 0 to 3600, several times round.*`da\.assign_coords\(lon=da\['lon'\] / 10\)`"),
    ("radians without units", lambda da: row(-1.57, 0.0, 1.57)(column(-3.14, -1.0, 1.0, 3.1)(da)), CoordinateError,
     r"from -1\.57 to 1\.57.*whole globe in radians, but no units.*`da\['lat'\]\.attrs\['units'\]"),
    ("yes and no for a latitude", row(True, False, True), CoordinateError,
     r"'lat' has dtype bool; expected real numbers"),
    ("yes and no for times", times(True, False, True), CoordinateError, r"Time has dtype bool; expected datetime64"),
    ("moving places", lambda da: da.drop_vars(["lat", "lon"]).rename(lat="j", lon="i").assign_coords(
        {n: (("time", "j", "i"), np.random.default_rng(0).uniform(size=(3, 3, 4))) for n in ("lat", "lon")}),
     DimensionError, r"'lat' changes along 'time': the cells move.*`da\.drop_vars\('lat'\)`"),
    ("labels beside the index", lambda da: da.rename(lat="row", lon="col").drop_vars(["row", "col"]).assign_coords(
        lat=("row", [1.0, 2.0, 3.0]), lon=("col", [1.0, 2.0, 3.0, 4.0])), DimensionError,
     r"'row' has no coordinate of its own, and 'lat' along it would be ignored.*`da\.swap_dims\(\{'row': 'lat'\}\)`"),
    ("WRF times", lambda da: da.rename(time="Time").assign_coords(XTIME=("Time", da.time.values)).drop_vars("Time"),
     DimensionError, r"'Time' has no coordinate.*'XTIME'.*`da\.swap_dims\(\{'Time': 'XTIME'\}\)`"),
    ("dates", lambda da: xr.zeros_like(da).astype("M8[s]"), DataError, r"dtype datetime64\[s\]; expected real numbers"),
    ("empty", lambda da: da.isel(lat=slice(0)), DataError, r"are empty: their sizes are .*'lat': 0.*at least one cell"),
    ("repeated day", lambda da: da.isel(time=[0, 0, 1]), CoordinateError,
     r"'time' has 1 duplicate.*da\.groupby\('time'\)"),
    ("repeated row", row(10.0, 10.0, 11.0), CoordinateError,
     r"'lat' has 1 duplicate value\(s\).*drop_duplicates\('lat'\)"),
    ("unsorted days", lambda da: da.isel(time=[1, 0, 2]), CoordinateError,
     r"'time' is not sorted.*da\.sortby\('time'\)"),
    ("unsorted rows", lambda da: da.isel(lat=[1, 0, 2]), CoordinateError, r"'lat' is not sorted.*da\.sortby\('lat'\)"),
    ("NaN latitude", row(10.0, np.nan, 11.0), CoordinateError,
     r"'lat' holds 1 NaN or infinite.*da\.isel\(lat=np\.isfinite\(da\['lat'\]\)\)"),
    ("NaN longitude", column(0.0, 1.0, np.nan, 3.0), CoordinateError,
     r"'lon' holds 1 NaN or infinite value\(s\)\. Drop them"),
    ("fill value", column(0.0, 1.0, 2.0, 9.96921e36), CoordinateError,
     r"'lon' holds 1 value\(s\) like 9\.97e\+36, which stand for no place.*abs\(da\['lon'\]\) < 1e\+19"),
    ("far times", times(0.0, 1e300, 1.5e300), CoordinateError,
     r"'time' holds 2 value\(s\) like 1e\+300.*abs\(da\['time'\]\)"),
    ("NaN in 2-D", curvilinear(np.nan), CoordinateError, r"holds 12 NaN.*list of sites.*da\.stack\(site="),
    ("fill value in 2-D", curvilinear(1e20), CoordinateError, r"like 1e\+20.*isel\(site=abs\(s\['lat'\]\) < 1e\+19\)"),
    ("latitude outside", row(0.0, 50.0, 120.0), CoordinateError, r"Latitude 120\.0 is outside −90…90.*`units='m'`"),
    ("text latitude", row("a", "b", "c"), CoordinateError,
     r"'lat' has dtype <U1; expected real numbers.*da\.drop_vars\("),
    ("kilometres of longitude", lambda da: da.assign_coords(lon=1e5 * da.lon), CoordinateError,
     r"'lon' run from 0 to 300000, several times round"),
    ("complex latitude", row(1j, 2j, 3j), CoordinateError, r"'lat' has dtype complex128"),
    ("two units", mixed_units, CoordinateError,
     r"'lat', 'lon' have different units 'degrees_east', 'radian'; distances need one"),
    ("NaT", lambda da: da.assign_coords(time=pd.DatetimeIndex(["2001-01-01", "NaT", "2001-01-03"])), CoordinateError,
     r"'time' holds NaT\. Drop these steps"),
    ("text time", times("a", "b", "c"), CoordinateError,
     r"Time has dtype <U1; expected datetime64, cftime or real numbers.*pd\.to_datetime"),
    ("periods", lambda da: da.assign_coords(time=pd.period_range("2001-01", periods=3, freq="M")), CoordinateError,
     r"Time has dtype object.*Decode it"),
    ("calendars", lambda da: da.assign_coords(time=np.array([noleap(1), noleap(2, "360_day"), noleap(3)])),
     CoordinateError, r"several calendars, '360_day', 'noleap'; expected one.*part\.convert_calendar\('360_day'\)"),
    ("steps", times(0, 1, 2, units="step"), CoordinateError,
     r"counted in 'step'.*pd\.date_range.*`del ds\.time\.attrs\['units'\]` counts each as a day"),
    ("months", times(0, 1, 2, units="months since 2000-01-01"), CoordinateError,
     r"counted in 'months'; expected a unit of fixed length"),
    ("coded", times(20010101.0, 20010102.0, 20010103.0, units="day as %Y%m%d.%f"), CoordinateError,
     r"not an elapsed time\. Decode it first"),
    ("no roles", lambda da: da.drop_vars(da.coords).rename(time="a", lat="b", lon="c"), DimensionError,
     r"Cannot tell the role of dimension\(s\) 'a', 'b', 'c'.*dims=\{'time'"),
    ("two times", lambda da: da.assign_coords(lat=pd.date_range("2001-01-01", periods=3)), DimensionError,
     r"'time' and 'lat' both look like 'time'|'lat'"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "error", "match"), [r[1:] for r in DATA], ids=[r[0] for r in DATA])
def test_data_that_cannot_be_fitted_say_why_and_what_to_type(da, change: Change, error, match: str) -> None:
    """Nothing is warned of before, and nothing is changed."""
    bad = change(da)
    before = bad.copy(deep=True)
    with pytest.raises(error, match=match):
        bad.gpfill.fit(method="exact")
    xr.testing.assert_identical(bad, before)


@pytest.mark.filterwarnings("ignore:Duplicate dimension names:UserWarning")
def test_a_dimension_that_occurs_twice_is_refused() -> None:
    with pytest.raises(DimensionError, match=r"have a dimension twice: \('x', 'x'\)\. Name each apart.*'x0', 'x1'"):
        xr.DataArray(np.eye(3), dims=("x", "x")).gpfill.fit()


@pytest.mark.parametrize("got", [np.zeros((3, 3)), [1.0], None, "dataset"], ids=["array", "list", "None", "dataset"])
def test_only_a_dataarray_can_be_fitted(da: xr.DataArray, model: FittedModel, got: Any) -> None:
    got = da.to_dataset() if isinstance(got, str) else got
    kind = type(got).__name__
    for call in (xgpfill.fitting.fit, model.condition, select_method):
        with pytest.raises(DataError, match=rf"takes a DataArray; got a {kind}\. (Make one, e\.g\.|Choose a variable)"):
            call(got)


# Arguments of fit

FIT: list[tuple[dict[str, Any], type[XgpfillError], str]] = [
    ({"dims": ("time", "latitude")}, DimensionError,
     r"Dimension 'latitude' is not in the data.*`fit\(dims=\('time', 'lat', 'lon'\)\)`"),
    ({"dims": ()}, DimensionError, r"dims=\(\): expected at least one name"),
    ({"dims": {}}, DimensionError, r"expected at least one name"),
    ({"dims": 5}, DimensionError, r"Dimension 5 is not in the data"),
    ({"dims": [["time"]]}, DimensionError, r"Dimension \['time'\] is not in the data"),
    ({"dims": {"time": ["time"]}}, DimensionError, r"Dimension \['time'\] is not"),
    ({"dims": ("time", "lat", "lat")}, DimensionError, r"each once, out of 'time', 'lat', 'lon'"),
    ({"geometry": "globe"}, CoordinateError, r"Unknown geometry 'globe'\. Choose one of 'auto', 'sphere'"),
    ({"geometry": ["sphere"]}, CoordinateError, r"Unknown geometry \['sphere'\]"),
    ({"combine": "prod"}, KernelError, r"Unknown combine='prod'\. Choose one of 'anova', 'product', 'sum'"),
    ({"combine": ["sum"]}, KernelError, r"Unknown combine=\['sum'\]"),
    *[({"scales": s}, KernelError, r"scales=.*expected a positive integer, e\.g\. `scales=2`") for s in (0, 1.5, True,
     "2", None)],
    ({"check": "all"}, DataError, r"check='all': choose 'blocks'.*or 'full'"),
    ({"check": ["full"]}, DataError, r"check=\['full'\]: choose"),
    ({"method": "krige"}, MethodError, r"Unknown method 'krige'.*'auto', 'exact', 'iterative', 'variational'"),
    ({"method": xgpfill.Matern()}, MethodError, r"Unknown method Matern"),
    ({"method": xgpfill.Exact}, MethodError, r"method=Exact is a class\. Type `method=xgpfill\.Exact\(\)`"),
    ({"time_kernel": "walk"}, KernelError, r"Unknown kernel 'walk'\. Known names are 'rbf'"),
    ({"time_kernel": xgpfill.Matern}, KernelError, r"Unknown kernel <class .*Add parentheses: `xgpfill\.Matern\(\)`"),
    ({"space_kernel": xgpfill.RBF}, KernelError, r"Add parentheses: `xgpfill\.RBF\(\)`"),
    ({"space_kernel": float}, KernelError, r"Unknown kernel <class 'float'>\. Known names"),
    ({"space_kernel": xr.DataArray([1.0])}, KernelError, r"Unknown kernel <DataArray of shape \(1,\)>"),
    ({"space_kernel": "brownian"}, KernelError, r"brownian is a kernel of time only"),
    ({"time_kernel": lambda x: x}, KernelError, r"'lambda' failed on coordinates of shapes"),
    ({"time_kernel": lambda x, y: x - y.T}, KernelError, r"is not symmetric"),
    ({"time_kernel": lambda x, y: -np.ones((len(x), len(y)))}, KernelError, r"is not positive definite"),
    ({"noise": -1.0}, NoiseError, r"noise=-1\.0: expected None \(learn it\), a variance of at least zero"),
    ({"noise": [0.1, 0.2]}, NoiseError, r"noise=\[0\.1, 0\.2\]: expected None"),
    ({"noise": np.array([0.1])}, NoiseError, r"noise=<ndarray of shape \(1,\)>: expected None"),
    ({"noise_std": np.timedelta64(1, "D")}, NoiseError, r"noise_std=.*timedelta64\(1,'D'\): expected None"),
    ({"noise": xr.Dataset({"sst": 1.0})}, NoiseError, r"noise=<Dataset of 'sst'>: expected None"),
    ({"valid": False}, AlignmentError, r"`valid` is a bool; expected a DataArray.*dtype=bool\)`, or True"),
    ({"valid": "sea"}, AlignmentError, r"`valid` is a str; expected a DataArray"),
    ({"hyperparameters": {}}, KernelError, r"not a Dataset of hyperparameters\. Give `model\.hyperparameters`"),
    ({"hyperparameters": "model.nc"}, KernelError, r"not a Dataset of hyperparameters"),
    ({"tile": 0}, DimensionError, r"tile=0: expected 'auto' or a mapping"),
    ({"tile": [2, 2]}, DimensionError, r"tile=\[2, 2\]: expected 'auto' or a mapping"),
    ({"tile": {"lat": 1, "y": 2}}, DimensionError, r"name an axis twice.*'time', 'lat', 'lon'"),
    *[({"tile": {"time": n}}, DimensionError, r"tile=.*expected an integer of at least 1") for n in (0, -1, 1.5,
     "2", True)],
    ({"tile": {"depth": 2}}, DimensionError, r"Unknown axis .depth. in tile=\. The fitted axes .* are .time., .lat"),
    ({"halo": {"Time": 2}}, DimensionError, r"Unknown axis 'Time' in halo="),
    ({"halo": "wide"}, DimensionError, r"halo='wide': expected 'auto', a number of cells"),
    ({"halo": -1}, DimensionError, r"halo=-1: expected"),
    ({"halo": {"lat": -1}}, DimensionError, r"halo=.*expected an integer of at least 0"),
    *[({"seed": s}, DataError, r"seed=.*expected an integer of at least zero, e\.g\. `seed=0`") for s in (-1, 1.5,
     "a", None, True, [1])],
    *[({"progress": p}, DataError, r"progress=.*expected True or False") for p in ("no", 1, [])],
    *[({"device": d}, DeviceError, r"Unknown device .*'auto', 'cpu', 'cuda'") for d in ("gpu", "cuda:x",
     "CPU", None, 3)],
    *[({"dtype": d}, MethodError, r"dtype=.*choose 'float64' or 'float32'") for d in ("float16",
     "f8", np.float32, None)],
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "error", "match"), FIT, ids=[str(r[0])[:40] for r in FIT])
def test_an_argument_of_fit_that_makes_no_sense_says_what_to_type(da, model, arguments, error, match: str) -> None:
    with pytest.raises(error, match=match):
        da.gpfill.fit(**{"method": "exact", "valid": True, "hyperparameters": model.hyperparameters} | arguments)


FIELDS: list[tuple[str, Callable[[xr.DataArray], Any], type[XgpfillError], str]] = [
    ("noise", lambda e: e.isel(lat=slice(2)), AlignmentError,
     r"`noise` does not lie on the grid.*noise\.reindex_like\(da\)"),
    ("noise", lambda e: -e, NoiseError, r"missing, zero or negative at 34 observed cell\(s\)"),
    ("noise", lambda e: 0 * e, NoiseError, r"missing, zero or negative"),
    ("noise", lambda e: e.where(e.lat > 10), NoiseError, r"missing, zero or negative at 11 observed"),
    ("noise", lambda e: 1e200 * e, NoiseError, r"holds 1e\+199, whose square is beyond float64.*da\.where\(noise < "),
    ("noise", lambda e: 1e-300 * e, NoiseError, r"holds 1e-301, whose square is beyond"),
    ("noise", lambda e: e > 0, NoiseError, r"has dtype bool; expected real numbers"),
    ("noise", lambda e: e.expand_dims(depth=2), AlignmentError, r"dimension\(s\) 'depth' that the data lack"),
    ("noise_std", lambda e: e.isel(lat=slice(2)), AlignmentError,
     r"`noise_std` does not lie on the grid.*noise_std\.reindex_like\(da\)"),
    ("noise_std", lambda e: e > 0, NoiseError, r"`noise_std` \(standard errors\) has dtype bool.*`noise_std=errors"),
    ("noise_std", lambda e: 0 * e, NoiseError, r"`noise_std` \(standard errors\) is missing.*da\.where\(noise_std > 0"),
    ("noise_variance", lambda e: e > 0, NoiseError, r"`noise_variance` .* has dtype bool; expected real numbers"),
    ("noise_variance", lambda e: -e, NoiseError, r"`noise_variance` \(variances\) is missing, zero or negative at 34"),
    ("valid", lambda e: e, AlignmentError,
     r"`valid` holds 0\.1; expected True where the field exists, False.*1 and NaN.*`valid=mask == 1`"),
    ("valid", lambda e: e.astype(str), AlignmentError, r"`valid` has dtype <U\d+; expected True where"),
    ("valid", lambda e: e.astype(str).astype(object), AlignmentError, r"`valid` holds 0\.1; expected True where"),
    ("valid", lambda e: (e > 0).values, AlignmentError, r"`valid` is a ndarray; expected a DataArray"),
    ("valid", lambda e: (e > 0).to_dataset(name="sea"), AlignmentError, r"`valid` is a Dataset; expected a DataArray"),
    ("valid", lambda e: (e > 0).isel(lon=slice(2)), AlignmentError, r"`valid` does not lie on the grid"),
    ("valid", lambda e: (e > 0).rename(lat="y"), AlignmentError, r"dimension\(s\) 'y' that the data lack"),
    ("valid", lambda e: e < 0, DataError,
     r"no observation at all where `valid` says that the field exists, 34 lie elsewhere.*`valid=~valid`"),
    ("noise_std", lambda e: e.assign_attrs(units="mK"), NoiseError,
     r"`noise_std` is in 'mK', but the data are in 'K'\. Convert.*`\(noise_std / 1000\)\.assign_attrs\(units='K'\)`"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "error", "match"), FIELDS)
def test_a_field_beside_the_data_that_does_not_fit_says_what_to_type(da, name, change, error, match: str) -> None:
    with pytest.raises(error, match=match):
        da.gpfill.fit(**{"valid": True, name: change(xr.full_like(da, 0.1))}, method="exact")


HYPERPARAMETERS: list[tuple[Callable[[xr.Dataset], Any], type[XgpfillError], str]] = [
    (lambda h: h.isel(term=[0, 1]), KernelError,
     r"has the terms 'static', 'common', but these arguments build.*`combine=`"),
    (lambda h: h.drop_vars("space_lengthscale"), KernelError,
     r"has no 'space_lengthscale'; it was learned with other kernels"),
    (lambda h: h * np.nan, KernelError, r"no usable number for 'static\.variance': .*expected a positive one"),
    (lambda h: -h, KernelError, r"no usable number for 'static\.variance'"),
    (lambda h: 0 * h, KernelError, r"lengthscale=0\.0\): expected a positive, finite number"),
    (lambda h: h.assign(noise=("draw", [1.0, 2.0])), KernelError, r"a noise of shape \(2,\); expected one number"),
    (lambda h: h.assign(variance=("term", list("abcd"))), KernelError, r"no usable number for 'static\.variance'"),
    (lambda h: h.assign(space_lengthscale=h.space_lengthscale.assign_attrs(units="cell")), KernelError,
     r"lengthscales of space in 'cell', but the distances of these data are in 'km'"),
    (lambda h: h.assign(noise=h.noise.assign_attrs(long_name="factor on the squared standard errors")), NoiseError,
     r"hold a factor on squared standard errors, which does not go with this `noise=`"),
    (lambda h: h.assign_coords(time_kernel=("term", ["constant", "RBF", "RBF", "RBF"])), KernelError,
     r"learned with RBF along time, in the term 'common', and these arguments say Matérn-3/2.*Type the `time_kernel=`"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "error", "match"), HYPERPARAMETERS)
def test_hyperparameters_of_another_model_are_refused(da, model, change, error, match: str) -> None:
    with pytest.raises(error, match=match):
        da.gpfill.fit(method="exact", valid=True, hyperparameters=change(model.hyperparameters))


def test_hyperparameters_of_other_kernels_are_refused_and_those_without_names_taken(da, model) -> None:
    how = {"method": "exact", "valid": True, "hyperparameters": model.hyperparameters, "calibrate": False}
    with pytest.raises(KernelError, match=r"learned with Matérn-3/2 along space.*these arguments say RBF"):
        da.gpfill.fit(**how, space_kernel="rbf")
    bare = model.hyperparameters.drop_vars(["time_kernel", "space_kernel"])
    da.gpfill.fit(**how | {"hyperparameters": bare}, space_kernel="rbf")


# Datasets

DATASETS: list[tuple[dict[str, Any], str]] = [
    ({}, r"several variables on these dimensions: 'a', 'b'\. Name one, e\.g\. `(fit\()?variable='a'"),
    ({"variable": "lat"}, r"no variable 'lat' in the Dataset, which has 'a', 'b'\. Name one of these"),
    ({"variable": xr.DataArray([1.0])}, r"no variable <DataArray of shape \(1,\)>"),
    ({"variable": {"a"}}, r"no variable \{'a'\} in the Dataset"),
    ({"variable": [["a"]]}, r"no variable \['a'\] in the Dataset"),
    ({"variable": (["a"],)}, r"no variable \['a'\] in the Dataset"),
    ({"variable": []}, r"variable=\[\] names nothing"),
    ({"dims": "depth"}, r"No numeric variable of the Dataset has the dimensions 'depth'.*`fit\(dims=\.\.\.\)`"),
    ({"dims": [["time"]]}, r"has the dimensions \"\['time'\]\""),
    ({"variable": ["a", "b"], "noise": xr.Dataset({"a": 1.0})},
     r"`noise` holds nothing for 'b', only for 'a'\. Give one for each"),
    ({"variable": ["a", "b"], "hyperparameters": {}}, r"`hyperparameters` holds nothing for 'a', only for none"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "match"), DATASETS, ids=[str(a)[:40] for a, _ in DATASETS])
def test_a_variable_that_is_not_there_is_refused(da, monkeypatch, arguments: dict[str, Any], match: str) -> None:
    monkeypatch.setattr("xgpfill.several.dataset.fit", lambda *_, **__: None)  # of the variables before
    with pytest.raises(VariableError, match=match):
        xr.Dataset({"a": da, "b": da + 1}).gpfill.fit(**arguments, method="exact", valid=True)


def test_models_of_several_variables_are_conditioned_on_a_dataset(da: xr.DataArray, model: FittedModel) -> None:
    both = xr.Dataset({"a": da}).gpfill.fit(
        variable=["a"], method="exact", valid=True, hyperparameters={"a": model.hyperparameters}
    )
    with pytest.raises(VariableError, match=r"Expected a Dataset that holds 'a', got a DataArray"):
        both.condition(da)


# Calls of a model

MODEL: list[tuple[str, Callable[[FittedModel], Any], type[XgpfillError], str]] = [
    ("variance", lambda m: m.reconstruct(variance="no"), DataError, r"variance='no': expected True or False"),
    ("noise", lambda m: m.reconstruct(include_noise="latent"), DataError,
     r"include_noise='latent': expected True or False"),
    ("tile", lambda m: m.reconstruct(tile={"depth": 1}), DimensionError, r"Unknown axis 'depth'"),
    ("halo", lambda m: m.reconstruct(halo="wide"), DimensionError, r"halo='wide': expected 'auto'"),
    ("progress", lambda m: m.reconstruct(progress="yes"), DataError, r"progress='yes': expected True or False"),
    ("samples", lambda m: m.sample(0), DataError, r"n=0: expected a positive number of samples"),
    ("sample seed", lambda m: m.sample(1, seed="x"), DataError, r"seed='x': expected an integer"),
    ("sample noise", lambda m: m.sample(1, include_noise=2), DataError, r"include_noise=2: expected True or False"),
    ("condition noise", lambda m: m.condition(m.layout.template, noise=0.1), NoiseError,
     r"one noise variance; leave `noise=` out"),
    ("condition deviation", lambda m: m.condition(m.layout.template, noise_std=0.1), NoiseError,
     r"one noise variance; leave `noise_std=` out"),
    ("condition variances", lambda m: m.condition(m.layout.template, noise_variance=xr.DataArray(0.1)), NoiseError,
     r"one noise variance; leave `noise_variance=` out"),
    ("condition valid", lambda m: m.condition(m.layout.template, valid=1), AlignmentError,
     r"`valid` is a int; expected a DataArray"),
    ("condition dims", lambda m: m.condition(m.layout.template.isel(lat=0)), AlignmentError,
     r"lack dimension\(s\) 'lat' that the model was fitted on.*Bring it back: `da\.expand_dims\('lat'\)`"),
    ("condition names", lambda m: m.condition(m.layout.template.rename(lat="latitude")), AlignmentError,
     r"lack dimension\(s\) 'lat'.*`da\.rename\(\{'latitude': 'lat'\}\)`"),
    ("no target", lambda m: m.predict(None), AlignmentError,
     r"target is a NoneType; expected a Dataset, DataArray or mapping"),
    ("target of nothing", lambda m: m.predict({}), AlignmentError, r"none of the coordinates 'time', 'lat', 'lon'"),
    ("target of another axis", lambda m: m.predict({"depth": [1]}), AlignmentError,
     r"target has 'depth', which the model was not fitted on; its coordinates are 'time', 'lat', 'lon'.*"
     r"`model\.predict\(\{'time': \.\.\., 'lat': \.\.\., 'lon': \.\.\.\}\)`"),
    *[(f"target {key}", lambda m, key=key: m.predict({key: [11.0], "time": ["2001-01-02"]}), AlignmentError,
       rf"target has '{key}', but the data call it '{own}'; the coordinates of the model are 'time', 'lat', 'lon'\. "
       rf"Use their name, e\.g\. `model\.predict\(\{{'{own}': ") for key, own in (("latitudes", "lat"),
     ("longitud", "lon"), ("LAT ", "lat"), ("lats", "lat"), ("x", "lon"))],
    ("grid with a slip", lambda m: m.predict(m.layout.template.rename(lat="latitudes").to_dataset()), AlignmentError,
     r"target has 'latitudes', but the data call it 'lat'"),
    ("an attribute too many", lambda m: m.predict({"lat": [11.0], "lon": [1.0], "method": "linear"}), AlignmentError,
     r"target has 'method', which.*Leave it out, `model\.predict\(\{'lat': \.\.\., 'lon': \.\.\.\}\)`"),
    ("target with a capital", lambda m: m.predict({"Time": ["2001-01-02"], "lat": [11.0]}), AlignmentError,
     r"target has 'Time', but the data call it 'time'.*`model\.predict\(\{'time': \.\.\.\}\)`"),
    ("target by another name", lambda m: m.predict({"latitude": [11.0], "time": ["2001-01-02"]}), AlignmentError,
     r"target has 'latitude', but the data call it 'lat'"),
    ("grid by another name", lambda m: m.predict(m.layout.template.rename(lat="latitude").to_dataset()), AlignmentError,
     r"target has 'latitude', but the data call it 'lat'.*`target\.rename\(\{'latitude': 'lat'\}\)`"),
    ("target of a level", lambda m: m.predict({"lat": [11.0], "level": 3}), AlignmentError,
     r"target has 'level', which the model was not fitted on; its coordinates are 'time', 'lat', 'lon'"),
    ("two latitudes", lambda m: m.predict({"lat": [11.0], "latitude": [12.0]}), AlignmentError,
     r"target has 'latitude', which the model was not fitted on.*, here beside 'lat'\. Leave it out"),
    ("target of an extra dim", lambda m: m.condition(m.layout.template.expand_dims(level=2)).predict({"lat": [11.0],
     "level": 0}), AlignmentError, r"'level', a dimension of independent fields.*mean\.sel\(level="),
    ("condition on other units", lambda m: m.condition((1000 * m.layout.template).assign_attrs(units="mK")),
     AlignmentError, r"data are in 'mK', but the model was fitted on 'K'\. Convert them and say so: `\(da / 1000\)"),
    ("condition on Celsius", lambda m: m.condition(m.layout.template.assign_attrs(units="degC")), AlignmentError,
     r"in 'degC', but the model was fitted on 'K'\. Convert.* `\(da \+ 273\.15\)\.assign_attrs\(units='K'\)`; if both"),
    ("condition on what cannot be converted", lambda m: m.condition(m.layout.template.assign_attrs(units="psu")),
     AlignmentError, r"`\(factor \* da \+ offset\)\.assign_attrs\(units='K'\)` with the numbers for these units"),
    ("text target", lambda m: m.predict({"lat": ["a"]}), CoordinateError,
     r"'lat' has dtype <U1; expected real numbers"),
    ("NaN target", lambda m: m.predict({"lat": [np.nan, 1.0]}), CoordinateError,
     r"'lat' holds 1 NaN or infinite value"),
    ("far target", lambda m: m.predict({"lon": [1e300]}), CoordinateError, r"'lon' holds 1 value\(s\) like 1e\+300"),
    ("latitude", lambda m: m.predict({"lat": [100.0]}), CoordinateError,
     r"Target latitude 100\.0 is outside.*Swap latitude and longitude"),
    ("longitude", lambda m: m.predict({"lat": [11.0], "lon": [3600.0]}), CoordinateError,
     r"Target longitude 3600\.0 is several times round the globe; expected degrees.*`model\.predict\(\{'lon': "),
    ("ragged target", lambda m: m.predict({"lat": [1, [2, 3]]}), AlignmentError,
     r"Target coordinate 'lat' is \[1, \[2, 3\]\]; expected numbers"),
    ("2-D target", lambda m: m.predict({"lat": [[1.0]]}), AlignmentError,
     r"'lat' has 2 dimensions; give a DataArray that names them, e\.g\."),
    ("points that do not match", lambda m: m.predict({"lat": xr.DataArray([1.0, 2.0], dims="p"),
     "lon": xr.DataArray([1.0, 2.0, 3.0], dims="p")}), AlignmentError,
     r"'time', 'lat', 'lon' do not go together.*share a dimension are points"),
    ("labels that do not match", lambda m: m.predict({"lat": xr.DataArray([1.0, 2.0], {"lon": [5.0, 6.0]}, "lon")}),
     AlignmentError, r"do not go together"),
    ("target of numbers for dates", lambda m: m.predict({"time": [3.0]}), AlignmentError,
     r"number, but the model was fitted on datetime64"),
    ("target of another calendar", lambda m: m.predict({"time": [noleap(2)]}), AlignmentError,
     r"cftime \(noleap calendar\), but"),
    ("target NaT", lambda m: m.predict({"time": np.array(["NaT"], "M8[s]")}), CoordinateError, r"NaT"),
    ("other units", lambda m: m.predict(xr.Dataset(coords={"lat": ("lat", [1.0], {"units": "m"})})), AlignmentError,
     r"in 'm', but the model was fitted on 'degrees'"),
    ("covariance of nothing", lambda m: m.predict({"lat": []}, covariance=True), AlignmentError,
     r"for no target at all\. Give at least one"),
    ("covariance", lambda m: m.predict({"lat": [1.0]}, covariance="yes"), DataError,
     r"covariance='yes': expected True or False"),
    ("lags", lambda m: m.covariance(time=[-1.0]), CoordinateError, r"time=\[-1\.0\]: expected lags in days"),
    ("text lags", lambda m: m.covariance(time=["1"]), CoordinateError, r"expected lags in days, finite numbers"),
    ("lags of space", lambda m: m.covariance(distance=pd.to_timedelta([1], "D")), CoordinateError,
     r"expected lags in km"),
    *[(f"save {p!r}", lambda m, p=p: m.save(p), XgpfillError,
     r"path=.*expected the name of a file, e\.g\. `'model\.nc'`") for p in (None, 3, b"m.nc", "")],
    ("save half", lambda m: m.save("m.nc", data="no"), DataError, r"data='no': expected True or False"),
    ("load", lambda m: xgpfill.load(None), XgpfillError, r"path=None: expected the name of a file"),
    ("load nothing", lambda m: xgpfill.load("none.nc"), FileFormatError, r"no file 'none\.nc'"),
    ("kernels", lambda m: xgpfill.load.__globals__["with_outside"](m.prior, ["mine"]), KernelError,
     r"kernels=\['mine'\]: expected a mapping of name to kernel"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "match"), [r[1:] for r in MODEL], ids=[r[0] for r in MODEL])
def test_a_call_of_a_model_that_makes_no_sense_says_what_to_type(model, call, error, match: str) -> None:
    with pytest.raises(error, match=match):
        call(model)


# Calls of a reconstruction

LIKE = Any
RESULT: list[tuple[str, Callable[[Reconstruction, LIKE], Any], type[XgpfillError], str]] = [
    *[(f"level {v!r}", lambda r, t, v=v: r.interval(v), DataError,
     r"level=.*expected a probability between 0 and 1, e\.g\. `level=0\.95`") for v in (0, 1, -1, np.nan,
     "a", None, True, [0.9])],
    ("no truth", lambda r, t: r.score(None), VariableError,
     r"`truth` is a NoneType; expected a DataArray.*mean\.copy\(data=truth\)"),
    ("text truth", lambda r, t: r.score(t.astype(str)), DataError, r"`truth` has dtype <U\d+; expected real numbers"),
    ("other units", lambda r, t: r.score(t.assign_attrs(units="degC")), AlignmentError,
     r"`truth` is in 'degC', but the reconstruction is in 'K'"),
    ("other cells", lambda r, t: r.score(t.isel(lat=slice(2))), AlignmentError, r"`truth` does not lie on the grid"),
    ("no such dim", lambda r, t: r.score(t, dim=3), DimensionError,
     r"dim=3: the data have no dimension 3.*leave `dim=` out"),
    ("weights", lambda r, t: r.score(t, weights="volume"), DataError, r"weights='volume': choose 'area' or 'cos_lat'"),
    ("negative weights", lambda r, t: r.score(t, weights=-abs(t)), DataError, r"`weights` holds -.*at least zero"),
    ("infinite weights", lambda r, t: r.score(t, weights=t / 0), DataError,
     r"`weights` holds infinite values; expected finite ones"),
    ("text weights", lambda r, t: r.score(t, weights=t.astype(str)), DataError,
     r"`weights` has dtype <U\d+; expected real numbers"),
    ("path", lambda r, t: r.to_netcdf(3), XgpfillError, r"path=3: expected the name of a file"),
    ("name", lambda r, t: type(r)(r.mean.rename("lat"), r.variance, r.context).to_dataset(), VariableError,
     r"name of its own coordinate 'lat'.*da\.rename\('field'\)"),
    ("what", lambda r, t: r.plot.map("error"), VariableError, r"no picture of 'error'"),
    ("sel", lambda r, t: r.plot.map(sel=3), DimensionError, r"sel=3: expected a mapping of dimension to label"),
    ("sel label", lambda r, t: r.plot.map(sel={"lat": 500.0}), DimensionError,
     r"sel=\{'lat': 500\.0\}: KeyError.*Give labels that are there"),
    ("time", lambda r, t: r.plot.map(time="soon"), DimensionError,
     r"time='soon': the steps of 'time' run from 2001-01-01"),
    ("cmap", lambda r, t: r.plot.map(cmap="mauve"), DataError, r"cmap='mauve': matplotlib has no such colours"),
    ("limits", lambda r, t: r.plot.map(vmin="low"), DataError,
     r"vmin='low': expected a finite number in the units of the field"),
    ("picture of a truth", lambda r, t: r.plot.comparison(t.values), DataError,
     r"`truth` takes a DataArray; got a ndarray"),
    ("steps", lambda r, t: r.plot.facets(steps="a"), DimensionError,
     r"steps='a': expected how many frames to draw, or which"),
    ("step", lambda r, t: r.plot.facets(steps=[1.5]), DimensionError, r"steps=\[1\.5\]: expected how many frames"),
    ("columns", lambda r, t: r.plot.facets(columns="two"), DimensionError,
     r"columns='two': expected at least one panel"),
    ("place", lambda r, t: r.plot.series(sel={"lat": "north", "lon": 1.0}), DimensionError,
     r"sel=\{'lat': 'north'\}: expected one number"),
    ("no place", lambda r, t: r.plot.series(sel={"lat": np.nan, "lon": 1.0}), DimensionError, r"expected one number"),
    ("sigmas", lambda r, t: r.plot.series(sel={"lat": 10.0, "lon": 1.0}, sigmas="a"), XgpfillError,
     r"sigmas=\('a',\): expected positive numbers"),
    ("draws", lambda r, t: r.plot.series(sel={"lat": 10.0, "lon": 1.0}, draws=t.values), DataError,
     r"`draws` takes a DataArray; got a ndarray"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "match"), [r[1:] for r in RESULT], ids=[r[0] for r in RESULT])
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_a_call_of_a_reconstruction_that_makes_no_sense_says_what_to_type(found, da, call, error, match: str) -> None:
    with pytest.raises(error, match=match):
        call(found, da.fillna(10.0))


def test_pictures_of_steps_without_labels_take_an_index(da: xr.DataArray) -> None:
    plain = da.drop_vars(da.coords).gpfill.fit(method="exact", valid=True).reconstruct()
    with pytest.raises(DimensionError, match=r"time='soon': the 3 steps of 'time' have no labels\. Give an index"):
        plain.plot.map(time="soon")


def test_a_frame_whose_cells_all_lie_at_one_place_is_drawn(da: xr.DataArray) -> None:
    import matplotlib.pyplot as plt

    frame = curvilinear(40.0)(da)
    plt.close(xgpfill.plotting.field_map(frame.fillna(0.0)).figure)


# Functions beside the accessor

BESIDE: list[tuple[str, Callable[[xr.DataArray], Any], type[XgpfillError], str]] = [
    ("axis", lambda da: xgpfill.prior_draws("rbf", axis=["time"]), DataError,
     r"axis=\['time'\]: choose one of 'time', 'space'"),
    ("extent", lambda da: xgpfill.prior_draws("rbf", extent="far"), DataError,
     r"extent='far': expected a positive number of days"),
    ("extents", lambda da: xgpfill.prior_draws("rbf", extent=[1, 2]), DataError,
     r"extent=\[1, 2\]: expected a positive number"),
    ("draws", lambda da: xgpfill.prior_draws("rbf", n="many"), DataError,
     r"n='many': expected a positive number of draws"),
    ("class", lambda da: xgpfill.prior_draws(xgpfill.RBF), KernelError, r"Add parentheses: `xgpfill\.RBF\(\)`"),
    ("mask of no field", lambda da: masks.random(da.values, 0.5), DataError, r"got a ndarray; expected a DataArray"),
    ("probability", lambda da: masks.random(da, "half"), DataError,
     r"probability='half': expected the share of cells to hide"),
    ("lengthscale", lambda da: masks.clouds(da, 0.5, lengthscale=0), DataError,
     r"lengthscale=0: expected a number of km greater than zero, e\.g\."),
    ("mask seed", lambda da: masks.random(da, 0.5, seed=0.5), DataError, r"seed=0\.5: expected an integer"),
    ("complex score", lambda da: metrics.rmse(da + 1j, da), DataError,
     r"Got dtype complex128 where real numbers are expected"),
    ("score of text", lambda da: metrics.rmse(da, "truth"), DataError,
     r"Got str where a DataArray, a Dataset or a number is expected"),
    ("coverage", lambda da: metrics.interval_coverage(da, 0.0, 1.0, level="all"), DataError,
     r"level='all': expected a probability"),
    ("no latitude", lambda da: metrics.cos_lat_weights(da.drop_vars("lat").rename(lat="row")), CoordinateError,
     r"No latitude among the coordinates"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "match"), [r[1:] for r in BESIDE], ids=[r[0] for r in BESIDE])
def test_functions_beside_the_accessor_say_what_to_type(da, call, error, match: str) -> None:
    with pytest.raises(error, match=match):
        call(da)


def test_what_was_found_is_shown_on_one_short_line() -> None:
    assert shown("x" * 100) == "'" + "x" * 56 + "..."
    assert shown(np.zeros((2, 3))) == "<ndarray of shape (2, 3)>"
    assert shown(np.float64) == "<class 'numpy.float64'>"
    assert "\n" not in shown(xr.Dataset({"a": 1.0}))


# What only looks bad works


def sites(units: str = "m") -> xr.DataArray:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 5e4, (2, 6))
    coords = {"x": ("station", x, {"units": units}), "y": ("station", y, {"units": units})}
    return xr.DataArray(rng.normal(size=(4, 6)), coords, ("time", "station"))


WORKS: dict[str, Change] = {
    "integers": lambda da: da.fillna(9).astype("i2"),
    "unsigned": lambda da: (10 * da.fillna(9)).astype("u1"),
    "half precision": lambda da: (300 * (da - 10)).astype("f2"),
    "small float32": lambda da: (1e-25 * da).astype("f4"),
    "large float32": lambda da: (1e25 * da).astype("f4"),
    "large offset": lambda da: da + 1e9,
    "masked array": lambda da: da.copy(data=np.ma.masked_greater(da.fillna(99).values, 11)),
    "one time step": lambda da: da.isel(time=[1]),
    "one row": lambda da: da.isel(lat=[1]),
    "one row, its latitude a scalar": lambda da: da.isel(lat=1),
    "one cell": lambda da: da.isel(lat=1, lon=0),
    "no gaps": lambda da: da.fillna(10.3),
    "a frame of gaps": lambda da: da.where(da.time != da.time[1]),
    "a row of gaps": lambda da: da.where(da.lat != 11.0),
    "descending latitude": lambda da: da.isel(lat=slice(None, None, -1)),
    "descending time": lambda da: da.isel(time=slice(None, None, -1)),
    "across the date line": column(178.0, 179.0, -180.0, -179.0),
    "round the globe": column(0.0, 90.0, 180.0, 270.0),
    "radians": lambda da: da.assign_coords({d: (d, np.deg2rad(da[d].values), {"units": "radians"}) for d in ("lat",
     "lon")}),
    "bare steps": times(0, 1, 2),
    "durations": lambda da: da.assign_coords(time=pd.to_timedelta([0, 1, 2], "h")),
    "cftime": lambda da: da.assign_coords(time=[noleap(1), noleap(2), noleap(3)]),
    "python dates": lambda da: da.assign_coords(time=[datetime(2001, 1, d) for d in (1, 2, 3)]),  # noqa: DTZ001
    "nanoseconds": times(0, 2**62, 2**63 - 1, units="nanoseconds since 1970-01-01"),
    "five dimensions": lambda da: da.expand_dims(level=2, member=2),
    "stacked cells": lambda da: da.stack(cell=("lat", "lon")),
    "repeated stations": lambda da: da.stack(cell=("lat", "lon"), create_index=False).isel(cell=[0, 1, 1, 5, 6]),
    "odd name": lambda da: da.rename(("a", 1)),
    "chunks of one cell": lambda da: da[:2, 1:, :2].chunk(time=1, lat=1, lon=1),
    "stations on a plane": lambda da: sites(),
    "stations on a plane in km": lambda da: sites("km"),
}  # fmt: skip


@pytest.mark.parametrize("change", WORKS.values(), ids=list(WORKS))
def test_what_only_looks_bad_works(da: xr.DataArray, change: Change) -> None:
    good = change(da)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "90% or more of the variance was taken for noise")  # a few random numbers
        found = good.gpfill.fit(method="exact", valid=True, scales=1).reconstruct()
    written = found.to_dataset().compute()
    assert found.mean.dims == good.dims
    assert all(np.isfinite(written[name].values.astype(float)).all() for name in written)
    assert bool((found.variance > 0).all())


def test_a_tile_of_gaps_and_sizes_larger_than_the_array_are_folded(da: xr.DataArray, model: FittedModel) -> None:
    hidden = model.condition(da.where(da.time != da.time[1]))
    for how in (
        {"tile": {"time": 1}, "halo": 0},
        {"tile": {"time": 1000}, "halo": 1000},
        {"tile": {"lat": 1}, "halo": 99},
    ):
        mean, variance = hidden.reconstruct(**how)
        assert bool((mean.notnull() & (variance > 0)).all())


def test_a_variance_is_held_in_a_type_that_can_hold_it(da: xr.DataArray) -> None:
    expected = da.gpfill.fit(method="exact", valid=True, scales=1).reconstruct()
    for factor, dtype, held in ((1e-25, "f4", "f8"), (1.0, "f2", "f8"), (1.0, "f4", "f4"), (1e-9, "f4", "f4")):
        fitted = (factor * da).astype(dtype).gpfill.fit(method="exact", valid=True, scales=1)
        for found in (fitted.reconstruct(), fitted.predict(da)):
            assert (found.mean.dtype, found.variance.dtype) == (dtype, held)
            np.testing.assert_allclose(found.variance / factor**2, expected.variance, rtol=0.2)


def test_stations_on_a_plane_are_placed_by_their_coordinates() -> None:
    da = sites().where(xr.DataArray(np.arange(6), dims="station") != 0)
    fit = {"valid": True, "time_kernel": None, "space_kernel": xgpfill.Matern(1.5, 30.0, fixed=True), "noise": 1e-4}
    model = da.gpfill.fit(**fit, method="exact")
    assert model.layout.roles.space == ("station",)
    assert model.lattice.space.unit == "km"
    x, y = da.x.values / 1e3, da.y.values / 1e3
    np.testing.assert_allclose(model.lattice.space.coordinates[:, 0], np.stack([x, y], axis=1))
    named = da.gpfill.fit(**fit, method="exact", dims=("time", "station"), hyperparameters=model.hyperparameters)
    xr.testing.assert_allclose(named.reconstruct().mean, model.reconstruct().mean)
    at_a_station = model.predict({"x": xr.DataArray([x[3] * 1e3], dims="p"), "y": xr.DataArray([y[3] * 1e3], dims="p")})
    np.testing.assert_allclose(at_a_station.mean.values[:, 0], da.values[:, 3], atol=0.02)


def test_lags_may_be_durations(model: FittedModel) -> None:
    days, durations = model.covariance(time=[0.0, 1.5]), model.covariance(time=pd.to_timedelta([0, 36], "h"))
    xr.testing.assert_allclose(days, durations)


def test_no_observation_at_all_after_learning_gives_an_honest_answer(da: xr.DataArray, model: FittedModel) -> None:
    mean, variance = model.condition(da.where(False)).reconstruct()
    assert bool(mean.notnull().all())
    assert float(variance.min()) >= 0.5 * float(model.hyperparameters.variance.sum())
