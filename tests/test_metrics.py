"""Scores equal xskillscore, scipy and integrals, with NaN, weights and dask, and say what is wrong with their input."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import cftime
import dask
import numpy as np
import pytest
import xarray as xr
import xgpfill
from scipy import integrate, stats
from xgpfill import metrics
from xgpfill.errors import AlignmentError, CoordinateError, DataError, DimensionError, VariableError
from xgpfill.results.estimate import Context

if TYPE_CHECKING:
    from collections.abc import Callable

CLOSE = {"rtol": 1e-10, "atol": 1e-12}
PAIRS = {"mae": "mae", "rmse": "rmse", "bias": "me"}
NORMAL = ("crps_gaussian", "nlpd", "interval_coverage", "reduced_chi2", "variance_error_correlation")
DIMS: list[Any] = [None, "time", ["lat", "lon"], ["time", "lon"]]


@pytest.fixture(scope="module")
def xs() -> Any:
    return pytest.importorskip("xskillscore")


@pytest.fixture(scope="module")
def cube() -> xr.Dataset:
    """Truth, mean and spread with a few NaN, and weights of every cell; one row is never known."""
    rng = np.random.default_rng(5)
    coords = {"time": np.arange(4), "lat": [-60.0, -10.0, 30.0, 80.0, 90.0], "lon": np.arange(6) * 60.0}
    sizes = tuple(len(axis) for axis in coords.values())
    truth = rng.normal(size=sizes)
    truth[rng.uniform(size=sizes) < 0.2] = np.nan
    truth[:, 1, 2] = np.nan
    mean = truth + rng.normal(size=sizes)
    mean[0, 0, :3] = np.nan
    parts = {"truth": truth, "mean": mean, "std": rng.uniform(0.3, 2.0, sizes), "weights": rng.uniform(size=sizes)}
    out = xr.Dataset({name: (tuple(coords), part) for name, part in parts.items()}, coords)
    out.truth.attrs = {"units": "K", "standard_name": "air_temperature", "history": "made up"}
    return out


def weights_on(cube: xr.Dataset, dim: Any) -> xr.DataArray:
    """On the dimensions `dim` only, which is what xskillscore takes."""
    kept = list(cube.truth.dims) if dim is None else [dim] if isinstance(dim, str) else dim
    return cube.weights.isel({d: 0 for d in cube.truth.dims if d not in kept}, drop=True)


def normal(name: str) -> Callable[..., Any]:
    return getattr(metrics, name)


# Formulae


@pytest.mark.parametrize("dim", DIMS, ids=str)
@pytest.mark.parametrize("name", PAIRS)
def test_scores_of_a_field_equal_xskillscore(xs, cube, name: str, dim) -> None:
    lazy = cube["mean"].chunk(time=3, lat=2), cube.truth.chunk(time=1, lon=4)
    for weights, skipna in itertools.product((None, weights_on(cube, dim)), (False, True)):
        how = {"dim": dim, "weights": weights, "skipna": skipna}
        expected = getattr(xs, PAIRS[name])(cube["mean"], cube.truth, **how)
        xr.testing.assert_allclose(getattr(metrics, name)(cube["mean"], cube.truth, **how), expected, **CLOSE)
        lazily = getattr(metrics, name)(*lazy, **how)
        assert lazily.chunks is not None
        xr.testing.assert_allclose(lazily.compute(), expected, **CLOSE)


@pytest.mark.parametrize("dim", DIMS, ids=str)
def test_the_crps_and_the_correlation_equal_xskillscore(xs, cube, dim) -> None:
    three = (cube.truth, cube["mean"], cube["std"])
    for weights in (None, weights_on(cube, dim)):
        how = {"dim": dim, "weights": weights}
        found = metrics.crps_gaussian(*three, skipna=True, **how)
        xr.testing.assert_allclose(found, xs.crps_gaussian(*three, **how), **CLOSE)
        variance, error = cube["std"] ** 2, (cube.truth - cube["mean"]) ** 2
        for skipna in (False, True):
            expected = xs.pearson_r(variance, error, skipna=skipna, **how)
            found = metrics.variance_error_correlation(*three, skipna=skipna, **how)
            xr.testing.assert_allclose(found, expected, **CLOSE)


def test_the_crps_is_the_integral_of_the_squared_difference_of_distributions() -> None:
    for observed, mean, sd in ((0.3, 0.0, 1.0), (-4.0, 1.0, 0.5), (2.0, 2.0, 3.0)):
        law = stats.norm(mean, sd)
        below = integrate.quad(lambda x, law=law: law.cdf(x) ** 2, -np.inf, observed, epsabs=1e-13)[0]
        above = integrate.quad(lambda x, law=law: law.sf(x) ** 2, observed, np.inf, epsabs=1e-13)[0]
        found = metrics.crps_gaussian(xr.DataArray([observed], dims="x"), mean, sd)
        assert float(found) == pytest.approx(below + above, abs=1e-10)


def test_density_coverage_and_chi2_equal_scipy_on_the_known_cells(cube) -> None:
    known = (cube.truth + cube["mean"]).notnull().values
    truth, mean, sd, w = (cube[name].values[known] for name in ("truth", "mean", "std", "weights"))
    law = stats.norm(mean, sd)
    low, high = law.interval(0.8)
    expected = {
        "nlpd": -law.logpdf(truth),
        "interval_coverage": (low <= truth) & (truth <= high),
        "reduced_chi2": ((truth - mean) / sd) ** 2,
    }
    for name, values in expected.items():
        level = {"level": 0.8} if name == "interval_coverage" else {}
        how: dict[str, Any] = {"skipna": True, **level}
        three = (cube.truth, cube["mean"], cube["std"])
        np.testing.assert_allclose(normal(name)(*three, **how), values.mean(), **CLOSE)
        found = normal(name)(*three, weights=cube.weights, **how)
        np.testing.assert_allclose(found, np.average(values, weights=w), **CLOSE)


@pytest.mark.parametrize("name", NORMAL)
def test_scores_of_lazy_data_are_lazy_and_the_same(cube, name: str, nothing_is_computed: None) -> None:
    lazy = cube.chunk(time=3, lat=2)
    how: dict[str, Any] = {"dim": ["lat", "lon"], "skipna": True}
    found = normal(name)(lazy.truth, lazy["mean"], lazy["std"], weights=lazy.weights, **how)
    with dask.config.set(scheduler="synchronous"):
        expected = normal(name)(cube.truth, cube["mean"], cube["std"], weights=cube.weights, **how)
        xr.testing.assert_allclose(found.compute(), expected, **CLOSE)


# NaN, weights, attributes


@pytest.mark.parametrize("name", [*PAIRS, *NORMAL])
def test_a_nan_makes_the_score_nan_unless_skipped_and_nothing_known_is_nan_without_a_warning(cube, name: str) -> None:
    for data in (cube, cube.chunk(time=2)):
        three = (data.truth, data["mean"], data["std"])[: 2 if name in PAIRS else 3]
        assert np.isnan(normal(name)(*three))
        assert np.isfinite(normal(name)(*three, skipna=True))
        nothing = (data.truth * np.nan, *three[1:])
        assert np.isnan(normal(name)(*nothing, skipna=True).compute())
        assert np.isnan(normal(name)(*nothing, weights=data.weights, skipna=True).compute())


@pytest.mark.parametrize("lazy", [False, True])
def test_a_weight_of_nan_leaves_its_cell_out_as_in_xskillscore(xs, cube, lazy: bool) -> None:
    weights = cube.weights.where(cube.weights > 0.3)
    for skipna in (False, True):
        how = {"weights": weights.chunk(lat=3) if lazy else weights, "skipna": skipna}
        expected = xs.mae(cube["mean"], cube.truth, weights=weights, skipna=skipna)
        xr.testing.assert_allclose(metrics.mae(cube["mean"], cube.truth, **how).compute(), expected, **CLOSE)


def test_weights_on_some_dims_are_those_broadcast_to_all(cube) -> None:
    cosine = metrics.cos_lat_weights(cube)
    for dim in (None, ["lat"]):
        found = metrics.rmse(cube["mean"], cube.truth, dim=dim, weights=cosine, skipna=True)
        full = metrics.rmse(cube["mean"], cube.truth, dim, cosine.broadcast_like(cube.truth), skipna=True)
        xr.testing.assert_allclose(found, full, **CLOSE)


def test_a_spread_of_zero_is_the_limit_of_small_ones_and_one_below_zero_is_nan() -> None:
    truth, sig = xr.DataArray([1.0, 0.0, 1.0], dims="x"), xr.DataArray([0.0, 0.0, -1.0], dims="x")
    for data, sd in ((truth, sig), (truth.chunk(x=1), sig.chunk(x=1))):
        each = {name: normal(name)(data, 0.0, sd, dim=[]).values for name in NORMAL}
        np.testing.assert_array_equal(each["crps_gaussian"], [1.0, 0.0, np.nan])
        np.testing.assert_array_equal(each["interval_coverage"], [0.0, 1.0, np.nan])
        np.testing.assert_array_equal(each["nlpd"], [np.inf, np.nan, np.nan])
        np.testing.assert_array_equal(each["reduced_chi2"], [np.inf, np.nan, np.nan])
        assert np.isnan(metrics.variance_error_correlation(data, 0.0, 0.1))


def test_float32_and_integers_are_scored_in_double_precision() -> None:
    a = xr.DataArray(np.arange(5, dtype=np.float32) + np.float32(0.1), dims="x")
    b = xr.DataArray(np.arange(5), dims="x")
    expected = np.mean((a.values.astype(float) - b.values) ** 2) ** 0.5
    assert float(metrics.rmse(a, b)) == pytest.approx(expected, rel=1e-14)
    assert metrics.crps_gaussian(b, a, 1).dtype == np.float64


@pytest.mark.parametrize("name", [*PAIRS, *NORMAL])
def test_attributes_are_kept_on_request_units_only_where_they_hold(cube, name: str) -> None:
    three = (cube.truth, cube["mean"], cube["std"])[: 2 if name in PAIRS else 3]
    with xr.set_options(keep_attrs=True):
        assert normal(name)(*three).attrs == {}
    kept = normal(name)(*three, keep_attrs=True).attrs
    in_units = name in PAIRS or name == "crps_gaussian"
    assert kept == (cube.truth.attrs if in_units else {"history": "made up"})


def test_datasets_are_scored_by_variable(cube) -> None:
    two = xr.Dataset({"a": cube["mean"], "b": cube["std"]})
    truth = xr.Dataset({"a": cube.truth, "b": cube.truth})
    found = metrics.rmse(two, truth, skipna=True, weights=cube.weights)
    assert float(found.a) == float(metrics.rmse(two.a, truth.a, skipna=True, weights=cube.weights))
    assert metrics.crps_gaussian(truth, two, 1.0, keep_attrs=True).b.attrs["units"] == "K"


# Weights of latitude


def test_weights_of_latitude_are_proportional_to_the_area_of_cells() -> None:
    edges = np.linspace(-90.0, 90.0, 181)
    area = np.diff(np.sin(np.radians(edges)))
    lat = xr.DataArray(0.5 * (edges[1:] + edges[:-1]), dims="row", attrs={"units": "degrees_north"})
    weights = metrics.cos_lat_weights(xr.DataArray(np.zeros(180), dims="row", coords={"phi": lat}))
    np.testing.assert_allclose(weights / weights.sum(), area / area.sum(), rtol=1e-10)
    assert weights.dims == ("row",)
    assert weights.name == "weights"


def test_latitudes_are_found_in_radians_on_curvilinear_grids_and_at_the_poles() -> None:
    lat = np.array([[0.0, 30.0], [60.0, 90.0]])
    curved = xr.DataArray(np.zeros((2, 2)), dims=("j", "i"), coords={"nav_lat": (("j", "i"), lat)})
    np.testing.assert_allclose(metrics.cos_lat_weights(curved), np.cos(np.radians(lat)), atol=1e-15)
    turned = {"lat": ("lat", np.radians(lat[:, 0]), {"units": "radians", "standard_name": "latitude"})}
    radians = xr.DataArray(np.zeros(2), dims="lat", coords=turned)
    np.testing.assert_allclose(metrics.cos_lat_weights(radians), [1.0, 0.5])


@pytest.mark.parametrize(
    ("coords", "match"),
    [
        ({}, r"No latitude among the coordinates none.*units'\] = 'degrees_north'"),
        ({"lat": ("lat", [0.0, 1e6], {"units": "m"})}, "No latitude among"),
        ({"lat": [0.0, 91.0]}, "Latitude 91.0 is outside"),
        ({"lat": [0.0, np.nan]}, "'lat' holds 1 NaN"),
    ],
)
def test_a_field_without_latitude_has_no_such_weights(coords: dict[str, Any], match: str) -> None:
    with pytest.raises(CoordinateError, match=match):
        metrics.cos_lat_weights(xr.DataArray(np.zeros(2), dims="lat", coords=coords))


# Areas of cells

EARTH = 4 * np.pi * 6371.0088**2


def globe(lat: np.ndarray, lon: np.ndarray) -> xr.DataArray:
    return xr.DataArray(np.zeros((lat.size, lon.size)), {"lat": lat, "lon": lon}, ("lat", "lon"))


@pytest.mark.parametrize(
    ("lat", "lon"),
    [
        (np.arange(-87.5, 90.0, 5.0), np.arange(0.0, 360.0, 7.5)),
        (np.linspace(90.0, -90.0, 13), np.arange(-180.0, 180.0, 20.0)),
        (np.linspace(-90.0, 90.0, 13), np.linspace(0.0, 360.0, 19)),
        (np.arange(-85.0, 90.0, 10.0), (np.arange(0.0, 360.0, 10.0) + 180.0) % 360.0),
    ],
    ids=["centres", "poles", "cyclic", "seam"],
)
def test_areas_of_all_cells_are_that_of_the_earth(lat: np.ndarray, lon: np.ndarray) -> None:
    areas = metrics.area_weights(globe(lat, lon))
    assert float(areas.sum()) == pytest.approx(EARTH) and areas.attrs["units"] == "km2"
    assert areas.dims == ("lat", "lon") and float(areas.min()) > 0


def test_areas_of_uneven_rows_are_not_the_cosine_of_latitude() -> None:
    uneven = globe(np.array([0.0, 1.0, 5.0]), np.array([0.0, 2.0, 3.0]))
    edges = np.sin(np.radians([-0.5, 0.5, 3.0, 7.0]))
    expected = 6371.0088**2 * np.diff(edges)[:, None] * np.radians([2.0, 1.5, 1.0])
    np.testing.assert_allclose(metrics.area_weights(uneven), expected)


def test_curvilinear_cells_have_the_areas_of_the_same_on_plain_axes() -> None:
    plain = globe(np.arange(30.0, 60.0, 1.0), np.arange(175.0, 195.0, 1.0))
    lat, lon = xr.broadcast(plain.lat, plain.lon)
    curved = plain.drop_vars(["lat", "lon"]).rename(lat="j", lon="i")
    curved = curved.assign_coords(nav_lat=(("j", "i"), lat.values), nav_lon=(("j", "i"), lon.values % 360.0))
    np.testing.assert_allclose(metrics.area_weights(curved), metrics.area_weights(plain), rtol=1e-3)


def test_areas_on_a_plane_are_in_the_squared_unit_of_its_axes_and_cells_without_labels_count_one() -> None:
    axes = {"y": ("y", [0.0, 10.0, 30.0], {"units": "m"}), "x": ("x", [0.0, 5.0], {"units": "m"})}
    plane = xr.DataArray(np.zeros((3, 2)), axes, ("y", "x"))
    areas = metrics.area_weights(plane)
    np.testing.assert_allclose(areas, np.outer([10.0, 15.0, 20.0], [5.0, 5.0]))
    assert areas.attrs["units"] == "m2"
    np.testing.assert_array_equal(metrics.area_weights(plane.drop_vars(["y", "x"])), 1.0)
    zones = metrics.area_weights(globe(np.arange(-85.0, 90.0, 10.0), np.zeros(1)).isel(lon=0, drop=True))
    assert zones.dims == ("lat",) and float(zones.sum()) == pytest.approx(EARTH)


def test_cells_without_edges_have_no_areas_and_the_error_names_the_way() -> None:
    stations = xr.DataArray(np.zeros(3), {"lat": ("s", [0.0, 1.0, 2.0]), "lon": ("s", [3.0, 1.0, 2.0])}, "s")
    with pytest.raises(CoordinateError, match=r"places in a list, which have no edges.*`weights=ds\['cell_area'\]`"):
        metrics.area_weights(stations)
    with pytest.raises(CoordinateError, match=r"along the dimensions 'time' there is no dimension of space"):
        metrics.area_weights(xr.DataArray(np.zeros(2), dims="time"))
    corner = {c: (("j", "i"), np.array([[1.0, 2.0]])) for c in ("lat", "lon")}
    with pytest.raises(CoordinateError, match=r"need neighbours on both axes.*\(1, 2\)"):
        metrics.area_weights(xr.DataArray(np.zeros((1, 2)), corner, ("j", "i")))


# What is refused


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"b": lambda d: d.truth.isel(lon=slice(3))}, AlignmentError, r"do not lie on the same cells.*b\.reindex_like"),
        ({"b": lambda d: d.truth.values}, DataError, "Got ndarray where a DataArray"),
        ({"dim": "x"}, DimensionError, "dim='x': the data have no dimension 'x', only 'time', 'lat', 'lon'"),
        ({"weights": lambda d: d.weights.values}, DataError, "`weights` is a ndarray; expected a DataArray"),
        ({"weights": lambda d: d.weights.rename(lat="y")}, AlignmentError, r"dimension\(s\) 'y' that the data lack"),
        ({"weights": lambda d: d.weights.isel(lat=[0])}, AlignmentError, r"`weights` does not lie.*reindex_like"),
        ({"weights": lambda d: -d.weights}, DataError, "expected numbers of at least zero"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(cube, change: dict[str, Any], error: type, match: str) -> None:
    given = {key: value(cube) if callable(value) else value for key, value in change.items()}
    with pytest.raises(error, match=match):
        metrics.mae(cube["mean"], **{"b": cube.truth, **given})


def test_negative_lazy_weights_are_refused_when_they_are_computed(cube) -> None:
    score = metrics.mae(cube["mean"], cube.truth, weights=-cube.weights.chunk())
    with pytest.raises(DataError, match="expected numbers of at least zero"):
        score.compute()


@pytest.mark.parametrize("level", [0.0, 95, math.nan, True])
def test_a_level_that_is_no_probability_is_refused(cube, level: float) -> None:
    with pytest.raises(DataError, match=r"level=.*between 0 and 1"):
        metrics.interval_coverage(cube.truth, cube["mean"], cube["std"], level)


# The scores of a reconstruction


@pytest.fixture(scope="module")
def found(cube) -> xgpfill.Reconstruction:
    """A mean and latent variance, a noise of a quarter, and observations of the first two steps."""
    gappy = cube["mean"].where(cube.time < 2)
    dates = {"time": np.datetime64("2001-01-01", "ns") + np.arange(4) * np.timedelta64(1, "D")}
    mean, variance, gappy = (da.assign_coords(dates) for da in (cube["mean"].fillna(0.0), cube["std"] ** 2, gappy))
    return xgpfill.Reconstruction(mean.assign_attrs(units="K"), variance, Context(gappy, 0.25, "latent"))


@pytest.fixture(scope="module")
def truth(cube, found) -> xr.DataArray:
    return cube.truth.assign_coords(time=found.mean.time)


def test_a_reconstruction_is_scored_with_the_noise_on_hidden_cells_by_weight(cube, found, truth) -> None:
    for kind, weights in (("none", None), ("cos_lat", "cos_lat"), ("own", truth.copy(data=cube.weights))):
        scores = found.score(truth, weights=weights)
        cells = (truth.notnull() & found.context.observed.isnull()).values
        cosine = np.cos(np.radians(truth.lat))
        w = {"none": xr.ones_like(truth), "cos_lat": cosine, "own": truth.copy(data=cube.weights)}[kind]
        w = w.broadcast_like(truth).transpose(*truth.dims).values[cells]
        t, m, s = (a.values[cells] for a in (truth, found.mean, np.sqrt(found.variance + 0.25)))
        v, e = s**2, (t - m) ** 2
        law = stats.norm(m, s)
        average = np.average(np.stack([e, abs(t - m), m - t, -law.logpdf(t), e / v, v]), axis=1, weights=w)
        covariance = np.cov(v, e, aweights=w)
        expected = dict(zip(("mse", "mae", "bias", "nlpd", "reduced_chi2", "mean_variance"), average, strict=True))
        expected["rmse"] = np.sqrt(expected.pop("mse"))
        expected["coverage95"] = np.average(abs(t - m) <= law.interval(0.95)[1] - m, weights=w)
        expected["variance_error_correlation"] = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
        for name, value in expected.items():
            np.testing.assert_allclose(scores[name], value, **CLOSE, err_msg=name)
        assert int(scores.cells) == cells.sum()
        assert all(score.attrs["long_name"] for score in scores.values())


def test_scores_of_a_lazy_reconstruction_are_lazy(found, truth, nothing_is_computed: None) -> None:
    lazy = xgpfill.Reconstruction(found.mean.chunk(lat=2), found.variance.chunk(lat=2), found.context)
    scores = lazy.score(truth, dim=("lat", "lon"), weights="cos_lat")
    assert all(score.chunks is not None for score in scores.values())
    with dask.config.set(scheduler="synchronous"):
        expected = found.score(truth, dim=("lat", "lon"), weights="cos_lat")
        xr.testing.assert_allclose(scores.compute(), expected, **CLOSE)


@pytest.mark.parametrize(
    "same",
    [
        lambda t: t.transpose("lon", "time", "lat"),
        lambda t: t.assign_coords(time=t.time.astype("datetime64[s]")),
        lambda t: t.assign_attrs(units="kelvin"),
        lambda t: t.assign_coords(source="buoys"),
    ],
    ids=["transposed", "seconds", "spelling", "scalar"],
)
def test_a_truth_that_means_the_same_scores_the_same(found, truth, same: Callable[..., Any]) -> None:
    xr.testing.assert_allclose(found.score(same(truth)), found.score(truth))


def test_a_truth_that_is_nowhere_known_scores_nan(found, truth) -> None:
    scores = found.score(truth * np.nan, weights="cos_lat")
    assert int(scores.cells) == 0
    assert all(bool(scores[name].isnull()) for name in scores if name != "cells")


DATES = np.array([cftime.DatetimeNoLeap(2001, 1, day) for day in range(1, 5)])


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda t: t.assign_coords(time=DATES), AlignmentError, "calendar 'noleap'.*convert_calendar"),
        (lambda t: t.assign_coords(time=np.arange(4)), AlignmentError, "it has numbers, the reconstruction dates"),
        (lambda t: t.assign_attrs(units="degC"), AlignmentError, r"`truth` is in 'degC'.*'K'.*assign_attrs\(units='K'"),
        (
            lambda t: t.rename(lat="phi"),
            AlignmentError,
            r"dimension\(s\) 'phi' that the reconstruction lacks.*`truth\.rename\(\{'phi': 'lat'\}\)`",
        ),
        (
            lambda t: t.expand_dims("member"),
            AlignmentError,
            r"dimension\(s\) 'member' that the reconstruction lacks.*`truth\.isel\(member=0\)`",
        ),
        (lambda t: t.values, VariableError, "`truth` is a ndarray"),
        (lambda t: t.astype(complex), DataError, "`truth` has dtype complex128"),
    ],
)
def test_a_truth_that_cannot_be_compared_is_refused(found, truth, change, error: type, match: str) -> None:
    with pytest.raises(error, match=match):
        found.score(change(truth))


def test_unknown_weights_and_variables_are_refused(found, truth) -> None:
    with pytest.raises(DataError, match="weights='volume': choose 'area' or 'cos_lat'"):
        found.score(truth, weights="volume")
    both = xr.Dataset({"a": found.mean}), xr.Dataset({"a_variance": found.variance})
    several = xgpfill.Reconstruction(*both, Context(found.context.observed.to_dataset(name="a"), {"a": 0.25}, "latent"))
    with pytest.raises(VariableError, match=r"lacks the variable\(s\) 'a'"):
        several.score(truth)
    scores = several.score(truth.to_dataset(name="a"), weights="cos_lat")
    xr.testing.assert_allclose(scores.isel(variable=0, drop=True), found.score(truth, weights="cos_lat"))
