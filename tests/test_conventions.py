"""What is written follows CF and is found again by other tools: references, CRS, calendars, chunks, flags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cf_units
import cf_xarray  # noqa: F401  (registers .cf)
import numpy as np
import pytest
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
import xgpfill
from compliance_checker.base import BaseCheck
from compliance_checker.runner import CheckSuite
from xgpfill.cf.conventions import is_temperature, mentioned, placing, settled
from xgpfill.errors import VariableError
from xgpfill.words import squared

from tests import conventions

if TYPE_CHECKING:
    from pathlib import Path

    from xgpfill.model import FittedModel

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:compliance_checker")


@pytest.fixture(scope="module")
def placed(ds: xr.Dataset) -> xr.Dataset:
    """With a CRS, areas, bounds and a quality flag, as models and satellites come."""
    out = ds[["sst"]].rio.write_crs("EPSG:4326", grid_mapping_name="crs")
    bounds = np.stack([ds.lat - 0.5, ds.lat + 0.5], axis=1)
    out = out.assign(
        lat_bnds=(("lat", "bnds"), bounds),
        area=(("lat", "lon"), np.ones((8, 9)), {"units": "m2", "standard_name": "cell_area", "long_name": "area"}),
        quality=ds.sst.notnull().astype("int8"),
    )
    out.lat.attrs["bounds"] = "lat_bnds"
    out.crs.attrs["long_name"] = "coordinate reference system"
    out.sst.attrs |= {"cell_measures": "area: area", "ancillary_variables": "quality", "grid_mapping": "crs"}
    out.sst.encoding.clear()
    return out


@pytest.fixture(scope="module")
def fitted(placed: xr.Dataset, ds: xr.Dataset, model: FittedModel) -> FittedModel:
    known = {"hyperparameters": model.hyperparameters, "valid": ds.valid, "method": "exact"}
    return placed.gpfill.fit(variable="sst", **known)


def errors_of(path: Path) -> list[str]:
    """What the compliance checker holds against a file under CF 1.11."""
    suite = CheckSuite()
    suite.load_all_available_checkers()
    groups = suite.run_all(suite.load_dataset(str(path)), ["cf:1.11"])["cf:1.11"][0]
    found: list[str] = []

    def collect(group: Any) -> None:
        passed, total = group.value if isinstance(group.value, tuple) else (int(group.value or 0), 1)
        for child in group.children or ():
            collect(child)
        if not group.children and group.weight == BaseCheck.HIGH and passed < total:
            found.extend(map(str, group.msgs))

    for group in groups:
        collect(group)
    return found


def outputs(fitted: FittedModel) -> dict[str, xr.Dataset]:
    """Every kind of answer, as a Dataset."""
    found = fitted.reconstruct()
    lower, upper = found.interval(0.9)
    return {
        "reconstruction": found.to_dataset(),
        "filled": found.to_dataset(filled=True),
        "filled alone": found.filled.to_dataset(),
        "its mean": found.filled.mean("time").to_dataset(),
        "bounds": xr.Dataset({da.name: da for da in (lower, upper)}),
        "averages": found.average(("lat", "lon")).to_dataset(),
        "predictions": fitted.predict({"lat": [40.0, 41.0], "lon": [3.0]}).to_dataset(),
        "draws": fitted.sample(2).to_dataset(),
    }


# Compliance


@pytest.mark.parametrize(
    "kind", ["reconstruction", "filled", "filled alone", "its mean", "bounds", "averages", "predictions", "draws"]
)
def test_the_compliance_checker_finds_no_error(fitted: FittedModel, tmp_path: Path, kind: str) -> None:
    out = outputs(fitted)[kind]
    out.attrs.setdefault("Conventions", "CF-1.11")
    out.to_netcdf(tmp_path / "out.nc")
    found = errors_of(tmp_path / "out.nc")
    assert not found, "\n".join(found)


def test_the_checker_would_find_the_errors_of_plain_xarray(ds: xr.Dataset, tmp_path: Path) -> None:
    ds[["sst"]].assign_attrs(Conventions="CF-1.11").to_netcdf(tmp_path / "in.nc")
    assert any("_FillValue" in error for error in errors_of(tmp_path / "in.nc"))


def test_no_coordinate_has_a_fill_value_and_the_users_are_left_alone(ds, fitted: FittedModel, tmp_path: Path) -> None:
    before = {name: dict(c.encoding) for name, c in ds.coords.items()}
    for name, out in outputs(fitted).items():
        out.to_netcdf(tmp_path / f"{name}.nc")
        with xr.open_dataset(tmp_path / f"{name}.nc", decode_cf=False) as back:
            assert not [c for c in back.coords if "_FillValue" in back[c].attrs]
    assert {name: dict(c.encoding) for name, c in ds.coords.items()} == before


def test_coordinates_with_gaps_keep_their_fill_value() -> None:
    track = xr.DataArray([1.0, 2.0], dims="obs", coords={"depth": ("obs", [np.nan, 1.0]), "lat": ("obs", [1.0, 2.0])})
    found = settled(track)
    assert "_FillValue" not in found.depth.encoding and found.lat.encoding["_FillValue"] is None
    assert "_FillValue" not in track.lat.encoding


# References


def test_what_says_where_cells_are_comes_along_and_what_is_not_there_is_not_mentioned(placed, fitted) -> None:
    assert not [name for name, out in outputs(fitted).items() if missing(out)]
    found = fitted.reconstruct()
    for made in (found.mean, found.variance, found.std(), found.filled, found.flag, *found.interval()):
        assert made.attrs["grid_mapping"] == "crs" and made.attrs["cell_measures"] == "area: area"
        assert "crs" in made.coords and "area" in made.coords
    assert placed.lat.attrs["bounds"] == "lat_bnds" and "bounds" not in found.mean.lat.attrs


def missing(out: xr.Dataset) -> list[tuple[Any, ...]]:
    """Where a Dataset mentions a variable that it does not have."""
    keys = ("bounds", "climatology", "formula_terms", "cell_measures", "grid_mapping", "ancillary_variables")
    said = [
        (v, k, where[k]) for v in out.variables for where in (out[v].attrs, out[v].encoding) for k in keys if k in where
    ]
    return [place for place in said if not mentioned(place[2]) <= set(map(str, out.variables))]


@pytest.mark.filterwarnings("ignore:Variable.* referenced in cell_measures not in variables")
@pytest.mark.parametrize("decode", [True, "all"])
@pytest.mark.parametrize("whole", [True, False], ids=["from the Dataset", "from the variable"])
def test_bounds_areas_and_flags_of_a_file_are_kept_whole_or_not_mentioned(
    placed, fitted, tmp_path, decode, whole
) -> None:
    levels = placed.expand_dims(level=[10.0, 20.0]).assign(level_bnds=(("level", "bnds"), np.zeros((2, 2))))
    levels.level.attrs["bounds"], levels.time.attrs["climatology"] = "level_bnds", "time_bnds"
    levels = levels.assign(
        time_bnds=(("time", "bnds"), np.zeros((8, 2))), sst=levels.sst.assign_attrs(placed.sst.attrs)
    )
    levels.sst.attrs["cell_measures"] = "area: area volume: thickness"  # one of which is not there
    levels.to_netcdf(tmp_path / "in.nc")
    known = {"hyperparameters": fitted.hyperparameters, "valid": fitted.valid, "method": "exact"}
    with xr.open_dataset(tmp_path / "in.nc", decode_coords=decode) as opened:
        model = opened.gpfill.fit(variable="sst", **known) if whole else opened.sst.gpfill.fit(**known)
        for name, out in (*outputs(model).items(), ("trend", model.trend)):
            assert not missing(out), name
            out.to_netcdf(tmp_path / "out.nc")
            with xr.open_dataset(tmp_path / "out.nc", decode_cf=False) as back:
                assert not missing(back), name


@pytest.fixture(scope="module")
def bounded(placed: xr.Dataset, ds: xr.Dataset) -> xr.Dataset:
    """With bounds of latitudes and of days, as models write them."""
    day = np.timedelta64(1, "D")
    out = placed.assign(time_bnds=(("time", "bnds"), np.stack([ds.time.values, ds.time.values + day], axis=1)))
    out.time.attrs["bounds"] = "time_bnds"
    return out


@pytest.mark.parametrize("chunks", [None, {"time": 3}], ids=["in memory", "lazy"])
def test_bounds_of_a_dataset_come_along_whole_and_are_cut_with_the_field(bounded, fitted, tmp_path, chunks) -> None:
    known = {"hyperparameters": fitted.hyperparameters, "valid": fitted.valid, "method": "exact"}
    data = bounded if chunks is None else bounded.chunk(chunks)
    model = data.gpfill.fit(variable="sst", **known)
    found = model.reconstruct()
    cuts = [{}, {"lat": slice(2, 5), "time": slice(1, 6)}, {"time": 3}, {"lat": slice(None, None, -1)}]
    for cut in cuts:
        part = found.isel(cut)
        for name, own in (("lat", "lat_bnds"), ("time", "time_bnds")):
            assert part[name].attrs["bounds"] == own
            xr.testing.assert_equal(part[own].variable, bounded[own].isel(cut, missing_dims="ignore").variable)
    assert found.transpose("lon", "lat", "time")["lat_bnds"].dims == ("lat", "bnds")
    assert "bounds" not in found.mean.lat.attrs and "bounds" not in found.average("lon").lat.attrs
    assert not missing(found.to_dataset()) and not missing(found.average("lon").to_dataset())
    cut = found.isel(time=slice(3)).compute()
    xr.testing.assert_identical(cut.to_dataset(), found.to_dataset().isel(time=slice(3)).compute())
    again = found.observed.isel(lat=slice(4)).gpfill.fit(**{**known, "valid": True}).reconstruct()  # no bounds there
    assert "lat_bnds" not in again and not missing(again.to_dataset())


def test_bounds_are_written_in_the_unit_of_their_dates_and_come_back_with_a_saved_model(
    bounded, fitted, tmp_path
) -> None:
    known = {"hyperparameters": fitted.hyperparameters, "valid": fitted.valid, "method": "exact"}
    model = bounded.gpfill.fit(variable="sst", **known)
    model.save(tmp_path / "model.nc")
    for number, found in enumerate((model.reconstruct(), xgpfill.load(tmp_path / "model.nc").reconstruct())):
        found.to_netcdf(path := tmp_path / f"{number}.nc")
        assert not errors_of(path), errors_of(path)
        with xr.open_dataset(path) as back, xr.open_dataset(path, decode_cf=False) as bare:
            for name in ("lat_bnds", "time_bnds"):
                xr.testing.assert_equal(back[name].variable, bounded[name].variable)
                assert "_FillValue" not in bare[name].attrs
            assert bare.time.attrs["units"] == "days since 2021-04-15" and "units" not in bare.time_bnds.attrs
    model.save(tmp_path / "bare.nc", data=False)
    assert "lat_bnds" not in xgpfill.load(tmp_path / "bare.nc").condition(bounded.sst).reconstruct()


@pytest.mark.parametrize("decode", [True, "all"])
def test_bounds_of_a_file_that_is_closed_are_kept_for_every_variable(bounded, fitted, tmp_path, decode) -> None:
    dates = xr.date_range("2000-02-25", periods=8, calendar="noleap", use_cftime=True)
    whole = np.stack([dates.values, dates.values + np.timedelta64(6, "h").astype(object)], axis=1)
    edges = (("time", "bnds"), whole)
    told = bounded.assign(two=bounded.sst).assign_coords(time=("time", dates, bounded.time.attrs))
    told.time.encoding["units"] = "hours since 2000-01-01"
    told.assign(time_bnds=edges).to_netcdf(tmp_path / "in.nc")
    known = {"valid": fitted.valid, "method": "exact"}
    known["hyperparameters"] = dict.fromkeys(("two", "sst"), fitted.hyperparameters)
    with xr.open_dataset(tmp_path / "in.nc", decode_coords=decode) as opened:
        model = opened.gpfill.fit(variable=["two", "sst"], **known)
    model.save(tmp_path / "model.nc")
    for number, found in enumerate((model.reconstruct(), xgpfill.load(tmp_path / "model.nc").reconstruct())):
        out = found.to_dataset()
        assert not missing(out) and {"lat_bnds", "time_bnds"} <= set(out.coords)
        out.to_netcdf(tmp_path / f"{number}.nc")
        with xr.open_dataset(tmp_path / f"{number}.nc") as back:
            np.testing.assert_array_equal(back.time_bnds, whole)
            assert back.lat.attrs["bounds"] == "lat_bnds"


def test_a_crs_in_the_encoding_survives(placed: xr.Dataset, model: FittedModel, ds, tmp_path: Path) -> None:
    placed.to_netcdf(tmp_path / "in.nc")
    with xr.open_dataset(tmp_path / "in.nc", decode_coords="all") as opened:
        assert opened.sst.encoding["grid_mapping"] == "crs"
        known = {"hyperparameters": model.hyperparameters, "valid": ds.valid, "method": "exact"}
        found = opened.sst.gpfill.fit(**known).reconstruct().compute()
    found.to_netcdf(tmp_path / "out.nc")
    with xr.open_dataset(tmp_path / "out.nc", decode_coords="all") as back:
        for name in ("sst", "sst_variance", "sst_std"):
            assert back[name].rio.crs.to_epsg() == 4326
        assert set(back.cf.get_associated_variable_names("sst")["ancillary_variables"]) == {"sst_variance", "sst_std"}
    for made in (found.mean, found.filled, found.std(), *found.interval()):
        assert made.rio.crs.to_epsg() == 4326


def test_predictions_and_draws_know_the_crs(fitted: FittedModel) -> None:
    assert fitted.predict({"lat": [40.0, 41.0], "lon": [3.0]}).variance.rio.crs.to_epsg() == 4326
    assert fitted.sample(1).rio.crs.to_epsg() == 4326


def test_a_crs_that_stays_in_the_dataset_is_not_mentioned(placed: xr.Dataset, model: FittedModel) -> None:
    bare = model.condition(placed.sst.reset_coords(drop=True)).reconstruct()
    assert "grid_mapping" not in bare.mean.attrs and "cell_measures" not in bare.variance.attrs
    assert placing(placed.sst) == ({"grid_mapping": "crs"}, {})


# What it says of itself


def test_a_file_says_what_it_is_what_was_done_and_after_whom(model: FittedModel) -> None:
    out = model.reconstruct().to_dataset()
    assert out.attrs["title"] == "sea surface temperature: gaps filled by a Gaussian process"
    assert out.attrs["history"].endswith(f"filled by xgpfill {xgpfill.__version__}")
    assert "Rasmussen" in out.attrs["references"]


ORIGIN = {
    "title": "Level 4", "institution": "An institute", "source": "a satellite", "comment": "clouds", "history": "made",
    "references": "A paper", "license": "free", "tracking_id": "of one file",
}  # fmt: skip


def keeps_its_origin(attrs: dict[str, Any]) -> bool:
    """Whether attributes of a file say where the data come from, and what was done since."""
    kept = {key: attrs[key] for key in ("title", "institution", "source", "comment", "license")}
    before, added = attrs["history"].split("\n")
    assert before == "made" and added.endswith(f": filled by xgpfill {xgpfill.__version__}")
    assert attrs["references"].split("\n")[0] == "A paper" and "Rasmussen" in attrs["references"]
    return kept == {key: ORIGIN[key] for key in kept} and "tracking_id" not in attrs


def test_what_a_dataset_says_of_itself_is_kept_and_its_history_goes_on(placed, fitted: FittedModel, tmp_path) -> None:
    told = placed.assign_attrs(ORIGIN)
    told["two"] = told.sst.assign_attrs(title="of two")
    before = told.copy(deep=True)
    known = {"hyperparameters": fitted.hyperparameters, "valid": fitted.valid, "method": "exact"}
    model = told.gpfill.fit(variable="sst", **known)
    found = model.reconstruct()
    several = told.gpfill.fit(variable=["two", "sst"], **several_of(known)).reconstruct()
    for made in (found.sel(lat=slice(40)), found.average("time"), model.predict({"lat": [40.0]}), several):
        assert keeps_its_origin(made.to_dataset().attrs)
    model.save(tmp_path / "model.nc")
    again = xgpfill.load(tmp_path / "model.nc").reconstruct()
    again.to_netcdf(tmp_path / "out.nc")
    again.to_zarr(tmp_path / "out.zarr")
    for path in ("out.nc", "out.zarr"):
        with xr.open_dataset(tmp_path / path) as back:
            assert keeps_its_origin(back.attrs)
    xr.testing.assert_identical(told, before)
    assert "dataset_attrs" not in told.sst.encoding


def several_of(known: dict[str, Any]) -> dict[str, Any]:
    """The same arguments for two variables."""
    return known | {"hyperparameters": dict.fromkeys(("two", "sst"), known["hyperparameters"])}


def test_what_a_field_says_of_itself_is_told_of_the_file_too(ds: xr.Dataset, model: FittedModel) -> None:
    told = ds.sst.assign_attrs(institution="An institute", history="made", comment="of this field")
    out = model.condition(told).reconstruct().to_dataset()
    assert out.attrs["institution"] == "An institute" and out.attrs["history"].startswith("made\n")
    assert "comment" not in out.attrs and out.sst.attrs["comment"] == "of this field"


def test_a_crs_in_the_encoding_comes_back_with_a_saved_model(placed, fitted: FittedModel, tmp_path: Path) -> None:
    moved = placed.sst.copy()
    moved.encoding["grid_mapping"] = moved.attrs.pop("grid_mapping")
    fitted.condition(moved).save(tmp_path / "model.nc")
    assert xgpfill.load(tmp_path / "model.nc").reconstruct().variance.rio.crs.to_epsg() == 4326


def test_spreads_of_temperatures_are_differences_and_fields_lie_on_the_scale(ds, fitted, model: FittedModel) -> None:
    out = fitted.reconstruct().to_dataset()
    assert out.sst.attrs["units_metadata"] == "temperature: on_scale"
    assert out.sst_std.attrs["units_metadata"] == out.sst_variance.attrs["units_metadata"] == "temperature: difference"
    rain = ds.sst.assign_attrs(units="mm", standard_name="rainfall_amount")
    rain = rain.gpfill.fit(valid=ds.valid, method="exact").reconstruct().to_dataset()
    anomaly = ds.sst.assign_attrs(standard_name="sea_surface_temperature_anomaly")
    anomaly = model.condition(anomaly).reconstruct().to_dataset()
    assert not any("units_metadata" in v.attrs for v in rain.values())
    assert "units_metadata" not in anomaly.sst.attrs


@pytest.mark.parametrize(
    "units", ["K", "degC", "°C", "m s-1", "m/s", "%", "mg m^-3", "kg m**-3", "W/m^2", "1e-3", "Pa"]
)
def test_udunits_reads_squared_units_as_the_square(units: str) -> None:
    wanted = cf_units.Unit("K") if is_temperature(units) else cf_units.Unit(units)
    assert cf_units.Unit(squared(units)) == wanted**2


def test_bounds_say_their_level_and_are_not_taken_for_the_field(fitted: FittedModel) -> None:
    lower, upper = fitted.reconstruct().interval(0.9)
    assert lower.attrs["long_name"] == "lower bound of the 90 % interval of sea surface temperature"
    assert upper.attrs["interval_level"] == 0.9 and "standard_name" not in upper.attrs


@pytest.mark.parametrize("chunks", [None, {"time": 3}], ids=["in memory", "lazy"])
def test_the_filled_field_is_written_with_a_flag_of_what_was_observed(ds, model: FittedModel, tmp_path, chunks) -> None:
    found = model.condition(ds.sst if chunks is None else ds.sst.chunk(chunks)).reconstruct()
    out = found.to_dataset(filled=True)
    assert out.sst.attrs["ancillary_variables"] == "sst_variance sst_std sst_flag"
    out.to_netcdf(tmp_path / "out.nc")
    with xr.open_dataset(tmp_path / "out.nc") as back:
        flags, sea = back.sst_flag, ds.valid.broadcast_like(ds.sst).transpose(*ds.sst.dims)
        assert back.sst_flag.cf.is_flag_variable
        np.testing.assert_array_equal(flags.cf == "observed", ds.sst.notnull() & sea)
        np.testing.assert_array_equal(flags.cf == "filled", ds.sst.isnull() & sea)
        np.testing.assert_array_equal(flags.cf == "no_field", ~sea)
        np.testing.assert_allclose(back.sst, found.filled)
    assert found.to_dataset(filled=True).sst_flag.chunks == found.mean.chunks


def test_filled_alone_carries_its_flags_through_arithmetic_selections_and_files(ds, model, tmp_path: Path) -> None:
    found = model.reconstruct()
    filled = (found.filled + 273.15).isel(time=slice(2, 6))
    filled.to_netcdf(tmp_path / "out.nc")
    assert "sst_flag" not in found.mean.coords and "sst_flag" not in filled.mean("time").coords
    with xr.open_dataarray(tmp_path / "out.nc") as back:
        xr.testing.assert_equal(back, filled)
        assert back.sst_flag.cf.is_flag_variable and back.cf.standard_names["status_flag"] == ["sst_flag"]
        np.testing.assert_array_equal(back.sst_flag.cf == "observed", ds.sst.isel(time=slice(2, 6)).notnull())
    days = [found.filled.isel(time=slice(4)), found.filled.isel(time=slice(4, None))]
    xr.testing.assert_identical(xr.concat(days, "time"), found.filled)
    merged = xr.merge([found.filled, found.variance, ds.truth])
    assert list(merged) == ["sst", "sst_variance", "truth"] and "sst_flag" in merged.coords


def test_flags_of_an_earlier_filling_give_way_to_new_ones(ds: xr.Dataset, model: FittedModel) -> None:
    data = model.filled.where(ds.time > ds.time[3])
    found = model.condition(data).reconstruct()
    assert "sst_flag" not in {*found.mean.coords, *model.condition(data).sample(1).coords}
    np.testing.assert_array_equal(found.filled.sst_flag == 1, data.notnull())
    xr.testing.assert_identical(found.to_dataset(filled=True).sst_flag, found.flag)


@pytest.mark.parametrize("name", ["sst_flag", "sst_std"])
def test_a_coordinate_with_the_name_of_what_goes_with_the_field_is_kept_and_told(ds, model, name: str) -> None:
    data = ds.sst.assign_coords({name: ("time", np.arange(8.0))})
    found = model.condition(data).reconstruct()
    xr.testing.assert_identical(found.filled[name], data[name])
    with pytest.raises(VariableError, match=rf"have a coordinate '{name}'.*`da\.rename\({{'{name}': 'own_{name}'}}\)`"):
        found.to_dataset(filled=True)


def test_several_variables_have_a_flag_each(ds: xr.Dataset, model: FittedModel) -> None:
    pair = xr.Dataset({"a": ds.sst, "b": ds.sst})
    known = {"hyperparameters": {"a": model.hyperparameters, "b": model.hyperparameters}, "method": "exact"}
    out = pair.gpfill.fit(variable=["a", "b"], valid=ds.valid, **known).reconstruct().to_dataset(filled=True)
    assert list(out) == ["a", "a_variance", "a_std", "a_flag", "b", "b_variance", "b_std", "b_flag"]


# Reopened by xarray


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "standard"])
@pytest.mark.parametrize("kind", ["netcdf", "zarr"])
def test_every_output_is_reopened_with_calendar_dims_and_attributes(ds, model, tmp_path, kind: str, calendar) -> None:
    times = xr.date_range("2000-02-25", periods=8, calendar=calendar, use_cftime=calendar != "standard")
    data = ds.sst.assign_coords(time=times).transpose("lon", "time", "lat").chunk(time=3, lon=9)
    known = {"hyperparameters": model.hyperparameters, "valid": ds.valid, "method": "exact"}
    found = data.gpfill.fit(**known).reconstruct()
    path = tmp_path / f"out.{kind}"
    getattr(found, f"to_{kind}")(path)
    options = {"engine": "zarr", "consolidated": False} if kind == "zarr" else {}
    with xr.open_dataset(path, chunks={}, **options) as back:
        assert back.time.dt.calendar == data.time.dt.calendar
        np.testing.assert_array_equal(back.time, data.time)
        for name, da in found.to_dataset().items():
            assert back[name].dims == data.dims and back[name].attrs == da.attrs
        if kind == "zarr":
            assert back.sst.chunksizes == data.chunksizes


# Other shapes

FIXED = {
    "time_kernel": xgpfill.Matern(1.5, 4.0, fixed=True), "space_kernel": xgpfill.Matern(1.5, 300.0, fixed=True),
    "noise_std": 0.05, "method": "exact", "valid": True,
}  # fmt: skip


def told(field: xr.DataArray) -> xr.DataArray:
    """A field whose coordinates say what they are, as CF wants it."""
    field = conventions.hidden(field)
    field.lat.attrs |= {"standard_name": "latitude", "units": "degrees_north"}
    field.lon.attrs |= {"standard_name": "longitude", "units": "degrees_east"}
    field.time.attrs |= {"standard_name": "time"}
    return field.assign_attrs(standard_name="sea_surface_temperature", units="degC")


def shaped(shape: str) -> FittedModel:
    """A model of a globe with its CRS, of a list of stations, or of several variables."""
    if shape == "globe":
        globe = told(conventions.plain(360.0 / 7.0, -20.0)).to_dataset().rio.write_crs(4326, grid_mapping_name="crs")
        globe.crs.attrs["long_name"] = "coordinate reference system"
        return globe.gpfill.fit(**FIXED)
    if shape == "stations":
        stations = told(conventions.as_stations(conventions.plain()).isel(station=slice(0, 42, 5)))
        stations.altitude.attrs |= {"standard_name": "altitude", "units": "m", "positive": "up", "axis": "Z"}
        stations.station_name.attrs |= {"long_name": "name of the station", "cf_role": "timeseries_id"}
        return stations.gpfill.fit(**FIXED)
    own = told(conventions.plain())
    two = own.to_dataset(name="a").assign(b=(own + 1.0).assign_attrs(units="m", standard_name="wave_height"))
    two.b.attrs["standard_name"] = "sea_surface_wave_significant_height"
    return two.gpfill.fit(variable=["a", "b"], **FIXED)


@pytest.mark.parametrize("shape", ["globe", "stations", "several"])
def test_globes_stations_and_several_variables_are_written_without_error_and_read_again(tmp_path, shape: str) -> None:
    model = shaped(shape)
    found = model.reconstruct()
    written = {
        "filled": found.to_dataset(filled=True),
        "average": found.average("time").to_dataset(),
        "prediction": model.predict({"lat": [42.5, 43.0], "lon": [3.5]}).to_dataset(),
    }
    for name, out in written.items():
        out.to_netcdf(tmp_path / f"{name}.nc")
        assert not errors_of(tmp_path / f"{name}.nc"), (name, errors_of(tmp_path / f"{name}.nc"))
        with xr.open_dataset(tmp_path / f"{name}.nc", decode_coords="all") as back:
            xr.testing.assert_equal(back.reset_coords(), out.reset_coords())
            for variable in out.data_vars:
                assert back[variable].dims == out[variable].dims
                assert "crs" not in out or back[variable].rio.crs.to_epsg() == 4326


def test_every_output_is_read_again_by_xarray_cf_xarray_and_rioxarray(fitted: FittedModel, tmp_path: Path) -> None:
    for name, out in outputs(fitted).items():
        out.to_netcdf(tmp_path / f"{name}.nc")
        with xr.open_dataset(tmp_path / f"{name}.nc", decode_coords="all") as back:
            xr.testing.assert_equal(back.reset_coords(), out.reset_coords())
            for variable, da in out.data_vars.items():
                assert back[variable].dims == da.dims and back[variable].dtype == da.dtype
                associated = back.cf.get_associated_variable_names(variable, error=True)
                assert {n for names in associated.values() for n in names} <= set(map(str, back.variables))
                assert name in ("averages", "its mean") or back[variable].rio.crs.to_epsg() == 4326


# Other verbs of xarray


def test_answers_merge_and_concatenate(ds: xr.Dataset, model: FittedModel) -> None:
    early, late = (
        model.condition(ds.sst.isel(time=part)).reconstruct().to_dataset() for part in (slice(4), slice(4, 8))
    )
    both = xr.concat([early, late], "time")
    assert both.sizes == ds.sst.sizes and list(both) == ["sst", "sst_variance", "sst_std"]
    assert list(xr.merge([both.rename(sst="filled"), ds[["sst"]]])) == ["filled", "sst_variance", "sst_std", "sst"]
    assert xr.combine_by_coords([late, early]).sizes == ds.sst.sizes


def test_answers_group_roll_and_resample(model: FittedModel) -> None:
    out = model.reconstruct().to_dataset()
    assert out.groupby("time.month").mean().sizes["month"] == 1
    assert out.rolling(time=3).mean().sizes == out.sizes
    assert out.resample(time="2D").mean().sizes["time"] == 4
    assert out.weighted(np.cos(np.radians(out.lat))).mean("lat").sizes["lon"] == 9


@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part")
def test_answers_are_written_by_region_and_appended(ds: xr.Dataset, model: FittedModel, tmp_path: Path) -> None:
    store = tmp_path / "out.zarr"
    out = model.condition(ds.sst.chunk(time=4)).reconstruct().to_dataset()
    out.isel(time=slice(4)).to_zarr(store, consolidated=False)
    out.isel(time=slice(4, 8)).to_zarr(store, append_dim="time", consolidated=False)
    part = out.isel(time=slice(4, 8)).drop_vars(["lat", "lon"]) + 1.0
    part.to_zarr(store, region={"time": slice(4, 8)}, consolidated=False)
    with xr.open_zarr(store, consolidated=False, chunks=None) as back:
        np.testing.assert_allclose(back.sst[:4], out.sst[:4])
        np.testing.assert_allclose(back.sst[4:], out.sst[4:] + 1.0)
