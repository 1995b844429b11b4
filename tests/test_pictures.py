"""The pictures of a reconstruction: which frame, which variance, which region, and that tiles are computed once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from xgpfill.errors import AlignmentError, DimensionError, VariableError, XgpfillError
from xgpfill.grid.scaling import Amplitude
from xgpfill.results.estimate import Context
from xgpfill.results.reconstruction import Reconstruction

from tests.counted import counted_pair

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.colors import LogNorm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xgpfill.model import FittedModel

HERE = {"lat": 39.5, "lon": 6.1}


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def found(model: FittedModel) -> Reconstruction:
    return model.reconstruct()


def values(mesh: Any) -> np.ndarray:
    return np.ma.filled(mesh.get_array(), np.nan)


@pytest.mark.parametrize("what", ["mean", "std", "variance", "filled", "observed"])
def test_a_map_shows_the_step_nearest_to_a_time(found: Reconstruction, what: str) -> None:
    field = found.std() if what == "std" else getattr(found, what)
    mesh = found.plot.map(what, time="2021-04-18T10:00")
    np.testing.assert_array_equal(values(mesh), field.isel(time=3))
    np.testing.assert_array_equal(values(found.plot.map(what)), field.isel(time=0))


def test_a_comparison_has_truth_and_error_when_a_truth_is_given(found: Reconstruction, ds: xr.Dataset) -> None:
    figure = found.plot.comparison(ds.truth, time=np.datetime64("2021-04-17"))
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == ["observed", "filled: mean", "standard deviation", "truth", "error: mean - truth"]
    assert figure.get_suptitle() == "2021-04-17"
    assert [ax.get_title() for ax in found.plot.comparison().axes][:2] == ["observed", "filled: mean"]


def test_land_is_shaded_because_the_mean_is_empty_only_there(found: Reconstruction, ds: xr.Dataset) -> None:
    shaded = found.plot.map("observed", time="2021-04-17").axes.collections[1]
    np.testing.assert_array_equal(np.isnan(values(shaded)), ds.valid)


def test_facets_share_the_units_of_a_spread(found: Reconstruction) -> None:
    figure = found.plot.facets("variance", steps=4)
    assert figure.axes[-1].get_ylabel().replace("\n", " ") == "latent variance of sea surface temperature [°C²]"
    assert len(figure.axes) == 5


@pytest.mark.parametrize("kind", ["latent", "observed"])
@pytest.mark.parametrize("wanted", ["latent", "observed"])
def test_bands_are_of_the_variance_that_was_asked_for(model: FittedModel, kind: str, wanted: str) -> None:
    given = model.reconstruct(include_noise=kind == "observed")
    ax = given.plot.series(sel=HERE, include_noise=wanted == "observed", sigmas=(1,))
    assert ax.get_legend().get_texts()[0].get_text() == f"±1 sd ({wanted})"
    truth = model.reconstruct(include_noise=wanted == "observed")
    mean, variance = (field.sel(HERE, method="nearest").values for field in truth)
    top = ax.collections[0].get_paths()[0].get_extents().y1
    assert top == pytest.approx((mean + np.sqrt(variance)).max(), rel=1e-6)


def test_without_a_variance_a_series_has_no_bands_and_a_comparison_is_refused(model: FittedModel) -> None:
    bare = model.reconstruct(variance=False)
    assert not bare.plot.series(sel=HERE).collections
    with pytest.raises(XgpfillError, match=r"no variance\. Ask for it: `model\.reconstruct\(variance=True\)`"):
        bare.plot.comparison()


def test_several_variables_are_chosen_by_name(found: Reconstruction) -> None:
    mean, variance = found.mean, found.variance
    several = Reconstruction(
        xr.Dataset({"sst": mean, "t": mean + 1}),
        xr.Dataset({"sst_variance": variance, "t_variance": variance}),
        Context(xr.Dataset({"sst": found.observed, "t": found.observed}), {"sst": 0.1, "t": 0.2}, "latent"),
    )
    np.testing.assert_array_equal(values(several.plot["t"].map()), mean.isel(time=0) + 1)
    assert several.plot["t"].series(sel=HERE).get_legend()
    assert several.plot["t"].comparison(several.mean)
    with pytest.raises(VariableError, match=r"several variables, 'sst', 't'.*reconstruction\.plot\['sst'\]\.map\(\)"):
        several.plot.map()
    with pytest.raises(VariableError, match=r"no variable 'u' in this reconstruction; there are 'sst', 't'"):
        several.plot["u"]


def test_a_lazy_reconstruction_computes_each_tile_of_a_frame_once(found: Reconstruction) -> None:
    mean, variance, runs = counted_pair(found, (1, 8, 9))
    lazy = Reconstruction(mean, variance, Context(found.observed, 0.1, "latent"))
    lazy.plot.comparison(time="2021-04-17")
    assert runs == [(2, 0, 0)]
    lazy.plot.facets("std", steps=[1, 3])
    assert sorted(runs[1:]) == [(1, 0, 0), (3, 0, 0)]


def test_a_date_of_another_calendar_is_chosen_by_its_text() -> None:
    times = xr.date_range("2001-02-27", periods=3, calendar="noleap", use_cftime=True)
    mean = xr.DataArray(np.arange(12.0).reshape(3, 2, 2), dims=("time", "y", "x"), coords={"time": times})
    found = Reconstruction(mean, 0 * mean, Context(mean, 0.1, "latent"))
    np.testing.assert_array_equal(values(found.plot.map(time="2001-03-01")), mean.isel(time=2))
    with pytest.raises(DimensionError, match=r"time='soon': the steps of 'time' run from 2001-02-27.*to 2001-03-01"):
        found.plot.map(time="soon")


def test_what_is_called_draws_what_suits_the_field(found: Reconstruction, ds: xr.Dataset) -> None:
    figure = found.plot(time="2021-04-17")
    assert [ax.get_title() for ax in figure.axes if ax.get_title()] == [
        "observed",
        "filled: mean",
        "standard deviation",
    ]
    assert figure.get_suptitle() == "2021-04-17"
    assert len([ax for ax in found.plot(ds.truth).axes if ax.get_title()]) == 5
    one = [field.sel(HERE, method="nearest") for field in (*found, found.observed)]
    line = Reconstruction(one[0], one[1], Context(one[2], 0.1, "latent"))
    assert line.plot(sigmas=(1,)).get_legend()
    row = Reconstruction(*(field[0, :, 0] for field in found), Context(found.observed[0, :, 0], 0.1, "latent"))
    assert row.plot().get_xlabel().startswith("lat")
    sheet = Reconstruction(*(field[:, :, 4] for field in found), Context(found.observed[:, :, 4], 0.1, "latent"))
    assert [ax.get_ylabel() for ax in sheet.plot().axes if ax.get_title()] == ["time"] * 3
    bare = Reconstruction(found.mean, None, found.context)
    np.testing.assert_array_equal(values(bare.plot()), found.mean.isel(time=0))


def test_gaps_are_hatched_where_only_what_was_observed_is_drawn(found: Reconstruction) -> None:
    assert [bool(found.plot.map(what).axes.patches) for what in ("observed", "filled")] == [True, False]
    assert all(ax.patches for ax in found.plot.facets("observed", steps=2).axes[:2])


def test_stations_are_maps_of_dots_one_for_each_time(found: Reconstruction) -> None:
    places = {"lat": ("station", [38.0, 40.0, 41.0]), "lon": ("station", [3.0, 5.0, 7.0])}
    times = found.mean.time[:4]
    mean = xr.DataArray(np.arange(12.0).reshape(4, 3), {"time": times, **places}, ("time", "station"), name="t")
    sites = Reconstruction(mean, 0 * mean + 1, Context(mean.where(mean > 6), 0.1, "latent"))
    np.testing.assert_array_equal(values(sites.plot.map(time=times[2])), mean[2])
    assert all(ax.collections[0].get_offsets().shape[1] == 2 for ax in sites.plot(mean).axes if ax.get_title())
    assert len([ax for ax in sites.plot.facets().axes if ax.get_title()]) == 4


def test_what_cannot_be_drawn_says_what_to_type(found: Reconstruction, ds: xr.Dataset) -> None:
    with pytest.raises(VariableError, match=r"no picture of 'error'\. Choose one of 'mean', 'std'"):
        found.plot.map("error")
    with pytest.raises(AlignmentError, match=r"`truth` shares .* cells with the reconstruction.*reindex_like"):
        found.plot.comparison(ds.truth.isel(lat=slice(2)))
    with pytest.raises(VariableError, match=r"`truth` is a Dataset of 'sst', 'truth', 'valid'.*truth\['sst'\]"):
        found.plot.series(truth=ds, sel=HERE)
    member = found.mean.expand_dims(member=["a", "b"])
    several = Reconstruction(member, 0 * member, Context(member, 0.1, "latent"))
    assert several.plot.map(sel={"member": "b"})
    with pytest.raises(DimensionError, match=r"sel=\{'member': 'c'\}.*reconstruction\.mean\['member'\]"):
        several.plot.map(sel={"member": "c"})


@pytest.mark.parametrize("time", ["2030-01-01", "2021-04-14T11:00", np.datetime64("2021-04-22T13:00"), "2020", "soon"])
def test_a_time_beyond_the_steps_is_refused_with_their_range(found: Reconstruction, time: Any) -> None:
    with pytest.raises(DimensionError, match=r"the steps of 'time' run from 2021-04-15 .* to 2021-04-22"):
        found.plot.map(time=time)


def test_a_time_of_other_calendars_and_of_numbers_beyond_the_steps_is_refused(found: Reconstruction) -> None:
    mean, variance = found
    for times, beyond, within in (
        (xr.date_range("2000-02-26", periods=8, calendar="noleap", use_cftime=True), "2001-01-01", "2000-03-02"),
        (np.arange(8.0), 8.0, 7.4),
    ):
        parts = [part.assign_coords(time=times) for part in (mean, variance, found.observed)]
        other = Reconstruction(parts[0], parts[1], Context(parts[2], 0.1, "latent"))
        with pytest.raises(DimensionError, match="the steps of 'time' run from"):
            other.plot.map(time=beyond)
        assert other.plot.map(time=within)


def test_a_month_in_text_is_its_first_step_and_half_a_step_beyond_the_ends_is_near(found: Reconstruction) -> None:
    np.testing.assert_array_equal(values(found.plot.map(time="2021-04")), found.mean.isel(time=0))
    np.testing.assert_array_equal(values(found.plot.map(time="2021-04-22T11:00")), found.mean.isel(time=-1))


@pytest.mark.parametrize("call", ["map", "comparison", "facets"])
def test_several_levels_are_told_with_the_call_that_draws_one(found: Reconstruction, call: str) -> None:
    levels = [xr.concat([part, part], xr.DataArray([850, 500], dims="level", name="level")) for part in found]
    both = Reconstruction(levels[0], levels[1], Context(levels[0], 0.1, "latent"))
    with pytest.raises(DimensionError, match=rf"one field for each 'level'.*plot\.{call}\(sel=\{{'level': 850\}}\)`"):
        getattr(both.plot, call)()
    assert getattr(both.plot, call)(sel={"level": 850})
    assert getattr(both.sel(level=500).plot, call)()


def test_a_level_of_several_names_is_told_too(found: Reconstruction) -> None:
    runs = xr.Coordinates.from_pandas_multiindex(pd.MultiIndex.from_product([["a", "b"], [1]], names=["m", "n"]), "run")
    several = [xr.concat([part, part], "run").assign_coords(runs) for part in found]
    both = Reconstruction(several[0], several[1], Context(several[0], 0.1, "latent"))
    with pytest.raises(DimensionError, match=r"one field for each 'run'.*sel=\{'run': \('a', 1\)\}"):
        both.plot.map()
    assert both.plot.map(sel={"run": ("a", 1)})


def timed(times: Any, name: str = "time") -> Reconstruction:
    """A field of eight steps on a few cells."""
    coords = {name: times, "lat": [36.0, 38.0, 40.0], "lon": [1.0, 2.0, 3.0]}
    mean = xr.DataArray(np.arange(72.0).reshape(8, 3, 3), coords, (name, "lat", "lon"), name="t")
    return Reconstruction(mean, 0 * mean + 1, Context(mean.where(mean % 3 > 0), 0.1, "latent"))


DAYS = pd.date_range("2021-04-15", periods=8)
NOLEAP = xr.date_range("2000-02-26", periods=8, calendar="noleap", use_cftime=True)


@pytest.mark.parametrize(
    ("times", "time", "title"),
    [
        (DAYS, None, "2021-04-15"),
        (DAYS, "2021-04-17", "2021-04-17"),
        (DAYS, np.datetime64("2021-04-17"), "2021-04-17"),
        (DAYS, "2021-04-18T10:00", "2021-04-18, nearest to 2021-04-18T10:00"),
        (DAYS, pd.Timestamp("2021-04-18 14:00"), "2021-04-19, nearest to 2021-04-18 14:00"),
        (DAYS, "2021-04", "2021-04-15, first of 8 steps in 2021-04"),
        (NOLEAP, "2000-03-01T05:00", "2000-03-01, nearest to 2000-03-01T05:00"),
        (np.arange(8.0), 2.4, "time = 2, nearest to 2.4"),
        (np.arange(8), 3, "time = 3"),
    ],
)
def test_the_title_is_the_step_that_is_drawn_and_what_was_asked_for_where_that_is_another(times, time, title) -> None:
    found = timed(times)
    assert found.plot.map(time=time).axes.get_title() == title


def test_a_comparison_is_titled_with_the_step_that_is_drawn_unless_it_has_a_title() -> None:
    found = timed(np.arange(8.0))
    assert found.plot(time=2.4).get_suptitle() == "time = 2, nearest to 2.4"
    assert found.plot.comparison(title="my own").get_suptitle() == "my own"


def test_a_step_without_a_label_is_titled_by_its_number() -> None:
    found = timed(DAYS)
    parts = [part.drop_vars("time") for part in (*found, found.observed)]
    bare = Reconstruction(parts[0], parts[1], Context(parts[2], 0.1, "latent"))
    assert bare.plot.map(time=-1).axes.get_title() == "time 7"


def test_a_truth_of_other_steps_is_not_compared_with_the_nearest() -> None:
    found = timed(DAYS)
    with pytest.raises(AlignmentError, match=r"step 2021-04-15 10:00:00 of 'time' nearest to 2021-04-15 00:00:00"):
        found.plot(found.mean.assign_coords(time=DAYS + pd.Timedelta("10h")), time="2021-04-15")
    late = found.mean.isel(time=slice(3, None))
    assert found.plot(late, time="2021-04-19")
    with pytest.raises(DimensionError, match=r"the steps of 'time' run from 2021-04-18"):
        found.plot(late)


LEVELS = xr.DataArray([850, 500], dims="level", name="level")


@pytest.mark.parametrize(
    ("picture", "call", "options", "match"),
    [
        ("days", "facets", {"time": "2021-04-18T01:00"},
         r"`time=` is no argument .*plot\.map\(time='2021-04-18 00:00:00'\)`.*plot\.facets\(steps=\[3\]\)`"),
        ("days", "facets", {"time": ["2021-04-15", "2021-04-22"]}, r"plot\.facets\(steps=\[0, 7\]\)`"),
        ("days", "facets", {"time": "2031"}, r"plot\.facets\(steps=\[0\]\)`"),
        ("days", "series", {"time": "2021-04-18"},
         r"all of 'time'.*\.sel\(time=slice\('2021-04-15 00:00:00', '2021-04-22 00:00:00'\)\)\.plot\.series\(\)"),
        ("days", "series", {"lat": 40}, r"Choose with `sel=`: `reconstruction\.plot\.series\(sel=\{'lat': 40\}\)`"),
        ("days", "map", {"lat": 40},
         r"`lat=` .*shows all of 'lat'.*reconstruction\.sel\(lat=slice\(36\.0, 40\.0\)\)\.plot\.map\(\)`"),
        ("days", "__call__", {"level": 850}, r"`level=` is no argument of `.*plot\.comparison`, which takes 'truth'"),
        ("days", "map", {"colour": "red"}, r"`colour=` .*which takes 'what', 'time', 'sel', 'ax', 'valid', 'cmap'"),
        ("days", "comparison", {"sigmas": 1}, r"`sigmas=` .*which takes 'truth', 'time', 'sel', 'title'\.$"),
        ("levels", "__call__", {"level": 500}, r"Choose with `sel=`: `.*plot\.comparison\(sel=\{'level': 500\}\)`"),
        ("levels", "map", {"level": 600}, r"plot\.map\(sel=\{'level': 850\}\)`"),
        ("levels", "facets", {"level": 850}, r"plot\.facets\(sel=\{'level': 850\}\)`"),
        ("dated", "map", {"date": "2021-04-18"}, r"Choose with `time=`: `.*plot\.map\(time='2021-04-18'\)`"),
    ],
)  # fmt: skip
def test_an_argument_that_a_picture_does_not_take_is_refused_with_the_call_that_works(
    picture: str, call: str, options: dict[str, Any], match: str
) -> None:
    found = timed(DAYS, "date" if picture == "dated" else "time")
    if picture == "levels":
        parts = [xr.concat([part, part], LEVELS) for part in (*found, found.observed)]
        found = Reconstruction(parts[0], parts[1], Context(parts[2], 0.1, "latent"))
    with pytest.raises(XgpfillError, match=match):
        getattr(found.plot, call)(**options)


def test_a_model_has_the_picture_of_its_covariance(model: FittedModel) -> None:
    assert [ax.get_xlabel() for ax in model.plot.covariance().axes] == ["time lag [days]", "distance [km]"]
    axes = plt.subplots(1, 2)[1]
    assert model.plot.covariance(axes=axes) is axes[0].figure


def with_amplitude(model: FittedModel) -> FittedModel:
    """The same model with twice the amplitude around one place."""
    centre = tuple(model.lattice.space.coordinates.reshape(-1, model.lattice.space.coordinates.shape[-1])[10])
    known = Amplitude((centre,), (float(np.log(2.0)),), 200.0)
    return replace(model, scaling=model.scaling.with_amplitude(known))


def test_a_model_has_the_picture_of_its_local_amplitude(model: FittedModel) -> None:
    found = with_amplitude(model)
    drawn = found.plot.amplitude()
    assert np.nanmax(values(drawn)) > 1.8
    assert isinstance(drawn.norm, LogNorm)
    np.testing.assert_allclose(np.sort(np.ravel(drawn.get_array())), np.sort(np.ravel(found.amplitude)), rtol=1e-6)
    assert "local amplitude" in drawn.colorbar.ax.get_ylabel()


def test_an_amplitude_of_several_fields_or_of_no_place_names_the_call_that_works() -> None:
    rng = np.random.default_rng(0)
    levels = xr.DataArray(
        rng.normal(size=(2, 4, 5, 6)).cumsum(2), {"level": [500.0, 850.0]}, ("level", "time", "y", "x")
    )
    both = levels.gpfill.fit(dims=("time", "y", "x"), method="exact", valid=True, progress=False)
    with pytest.raises(DimensionError, match=r"`model\.plot\.amplitude\(sel=\{'level': 500\.0\}\)`"):
        both.plot.amplitude()
    both.plot.amplitude(sel={"level": 850.0})
    series = levels[0, :, 0, 0].gpfill.fit(dims="time", method="exact", progress=False, noise_std=0.1)
    with pytest.raises(VariableError, match="a single series, whose amplitude is 1; a map needs places"):
        series.plot.amplitude()
