"""Maps of every kind of field, drawn on Agg, offline: any use of the network fails the test."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

matplotlib = pytest.importorskip("matplotlib")
cartopy = pytest.importorskip("cartopy")
matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
from cartopy import crs as ccrs  # noqa: E402
from cartopy.mpl.feature_artist import FeatureArtist  # noqa: E402
from matplotlib.collections import LineCollection  # noqa: E402
from xgpfill.datasets import synthetic_sst  # noqa: E402
from xgpfill.errors import AlignmentError, DataError, DimensionError  # noqa: E402
from xgpfill.plotting import comparison, field_map  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path


def geographic(lat: np.ndarray, lon: np.ndarray, units: str = "m") -> xr.DataArray:
    """A smooth field on these latitudes and longitudes."""
    values = np.cos(np.radians(lat))[:, None] * np.sin(np.radians(lon))[None] + 0.01 * lat[:, None]
    coords = {"lat": ("lat", lat, {"units": "degrees_north"}), "lon": ("lon", lon, {"units": "degrees_east"})}
    return xr.DataArray(values, dims=("lat", "lon"), coords=coords, name="ssh", attrs={"units": units})


def region() -> tuple[xr.DataArray, xr.DataArray]:
    frame = synthetic_sst(days=2).isel(time=0)
    return frame.truth, frame.valid


FIELDS = {
    "a region": lambda: region()[0],
    "the globe 0..360": lambda: geographic(np.arange(-90, 91, 15.0), np.arange(0, 360, 15.0)),
    "the globe -180..180 with both ends": lambda: geographic(np.arange(90, -91, -15.0), np.arange(-180, 181, 15.0)),
    "across the date line": lambda: geographic(np.arange(-9, 10, 3.0), np.r_[165:180:3.0, -180:-160:3.0]),
    "across Greenwich in 0..360": lambda: geographic(np.arange(40, 60, 2.0), np.r_[350:360:2.0, 0:10:2.0]),
    "a pole, descending": lambda: geographic(np.arange(90, 60, -3.0), np.arange(0, 360, 20.0)),
    "an image": lambda: xr.DataArray(np.arange(35.0).reshape(5, 7), dims=("y", "x")),
    "unnamed axes": lambda: xr.DataArray(np.arange(35.0).reshape(5, 7)),
    "projected metres": lambda: xr.DataArray(
        np.arange(12.0).reshape(3, 4),
        dims=("y", "x"),
        coords={"y": np.arange(3) * 1e3, "x": np.arange(4) * 1e3},
    ),
    "time against latitude": lambda: synthetic_sst(days=4).truth.isel(lon=20),
    "one cell": lambda: region()[0].isel(lat=slice(20, 21), lon=slice(20, 21)),
    "nothing but gaps": lambda: region()[0] * np.nan,
    "a constant": lambda: xr.full_like(region()[0], 3.0),
}


def saved(figure: Any) -> bytes:
    """Render: what is drawn lazily fails here."""
    stream = io.BytesIO()
    figure.savefig(stream, dpi=40)
    return stream.getvalue()


@pytest.mark.parametrize("kind", FIELDS)
def test_every_kind_of_field_is_drawn_without_network(kind: str) -> None:
    assert saved(field_map(FIELDS[kind]()).figure)


def test_four_panels_are_drawn_across_the_date_line_too() -> None:
    field = FIELDS["across the date line"]()
    figure = comparison(field, field + 0.1, 0 * field + 0.2, error=0 * field + 0.1)
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == ["truth", "filled: mean", "standard deviation", "error: mean - truth"]
    assert saved(figure)


def meshes(figure: Any) -> list[Any]:
    return [ax.collections[0] for ax in figure.axes if ax.get_title()]


def test_truth_and_mean_share_their_limits_and_the_error_is_symmetric() -> None:
    truth, valid = region()
    rng = np.random.default_rng(0)
    mean = truth + rng.normal(0.3, 1.0, truth.shape)
    first, second, spread, error = meshes(comparison(truth, mean, abs(mean - truth), error=mean - truth, valid=valid))
    assert first.get_clim() == second.get_clim()
    assert first.get_clim()[0] == pytest.approx(min(float(truth.min()), float(mean.min())))
    assert first.get_clim()[1] == pytest.approx(max(float(truth.max()), float(mean.max())))
    assert spread.get_clim()[0] == 0
    assert error.get_clim()[0] == -error.get_clim()[1]


def test_every_bar_names_its_units() -> None:
    truth, valid = region()
    figure = comparison(truth, truth, 0.1 + 0 * truth, error=0 * truth, valid=valid)
    labels = [mesh.colorbar.ax.get_ylabel() for mesh in meshes(figure)]
    assert len(labels) == 4
    assert all(label.endswith("[°C]") for label in labels)


def test_values_outside_the_valid_region_do_not_stretch_the_colours() -> None:
    truth, valid = region()
    wild = truth.where(valid, 1e6)
    assert meshes(comparison(truth, wild, 0 * truth, valid=valid))[1].get_clim()[1] < 100


def test_without_a_truth_the_first_of_three_panels_is_called_observed() -> None:
    truth, _ = region()
    figure = comparison(truth.where(truth > 15), truth, 0 * truth, title="")
    assert [ax.get_title() for ax in figure.axes if ax.get_title()] == [
        "observed",
        "filled: mean",
        "standard deviation",
    ]
    assert figure.get_suptitle() == ""


def test_the_title_is_the_time_of_the_frame() -> None:
    truth, _ = region()
    assert comparison(truth, truth, 0 * truth).get_suptitle() == "2021-04-15"


def outlines(ax: Any) -> list[Any]:
    return [artist for artist in ax.collections if isinstance(artist, LineCollection)]


def test_the_valid_region_is_outlined_when_no_coastlines_are_on_disk() -> None:
    truth, valid = region()
    ax = field_map(truth, valid=valid).axes
    assert len(outlines(ax)) == 1
    assert not [artist for artist in ax.get_children() if isinstance(artist, FeatureArtist)]


def test_coastlines_on_disk_are_drawn_instead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shapefile = pytest.importorskip("shapefile")
    folder = tmp_path / "shapefiles" / "natural_earth" / "physical"
    with shapefile.Writer(str(folder / "ne_110m_coastline"), shapeType=shapefile.POLYLINE) as writer:
        writer.field("name", "C")
        writer.line([[[0.0, 36.0], [6.0, 41.0], [12.0, 44.0]]])
        writer.record("a coast")
    monkeypatch.setitem(cartopy.config, "data_dir", tmp_path)
    truth, valid = region()
    ax = field_map(truth, valid=valid).axes
    assert not outlines(ax)
    assert [artist for artist in ax.get_children() if isinstance(artist, FeatureArtist)]
    assert saved(ax.figure)


@pytest.mark.parametrize("share", ["none", "one row"])
def test_a_valid_region_without_an_edge_has_no_outline(share: str) -> None:
    truth, valid = region()
    valid = xr.full_like(valid, share != "none")
    part = {"lat": slice(0, 1)} if share == "one row" else {}
    ax = field_map(truth.isel(part), valid=valid.isel(part)).axes
    assert not outlines(ax)
    assert saved(ax.figure)


def test_a_field_across_the_date_line_is_one_piece_with_true_longitudes_on_its_axis() -> None:
    field = FIELDS["across the date line"]()
    ax = field_map(field).axes
    low, high = ax.get_xlim()
    assert high - low == pytest.approx(36.0)
    assert ax.projection == ccrs.PlateCarree(-178.5)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["170°E", "180°", "170°W"]


def test_the_order_of_longitudes_does_not_matter() -> None:
    field = FIELDS["across the date line"]()
    other = field.sortby("lon")
    np.testing.assert_array_equal(field_map(field).get_array(), field_map(other).get_array())


def test_latitudes_may_descend() -> None:
    field = geographic(np.arange(-30, 31, 10.0), np.arange(0, 50, 10.0))
    for one in (field, field.isel(lat=slice(None, None, -1))):
        mesh = field_map(one)
        top = mesh.get_array()[np.argmax(mesh.get_coordinates()[:-1, 0, 1])]
        np.testing.assert_allclose(top, field.isel(lat=-1))
        assert mesh.axes.get_ylim() == (-35.0, 35.0)


def test_cells_stop_at_the_poles_and_at_one_turn_of_the_globe() -> None:
    _, ax = plt.subplots()
    field_map(FIELDS["the globe -180..180 with both ends"](), ax=ax)
    assert ax.get_ylim() == (-90.0, 90.0)
    assert ax.get_xlim() == (-180.0, 180.0)


def test_an_image_has_its_first_row_on_top_and_a_projected_field_its_y_upwards() -> None:
    assert field_map(FIELDS["an image"]()).axes.yaxis_inverted()
    assert not field_map(FIELDS["projected metres"]()).axes.yaxis_inverted()


@pytest.mark.parametrize("projection", [ccrs.Orthographic(5, 40), None])
def test_axes_of_the_users_own_are_drawn_on(projection: Any) -> None:
    truth, valid = region()
    figure, ax = plt.subplots(subplot_kw={"projection": projection})
    assert field_map(truth, ax=ax, valid=valid, vmin=10, vmax=20, cmap="magma", label="K").axes is ax
    assert saved(figure)


def test_curvilinear_coordinates_are_a_map_too() -> None:
    j, i = np.mgrid[0:6, 0:8]
    lon, lat = (170 + 2 * i + j + 180.0) % 360 - 180, 50.0 + j - 0.2 * i
    field = xr.DataArray(i + j * 1.0, dims=("j", "i"), coords={"lon": (("j", "i"), lon), "lat": (("j", "i"), lat)})
    mesh = field_map(field)
    assert np.ptp(mesh.axes.get_xlim()) < 30
    assert saved(mesh.figure)


def test_without_cartopy_a_plain_plot_has_the_degrees(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cartopy", "cartopy.crs"):
        monkeypatch.setitem(sys.modules, name, None)
    truth, valid = region()
    ax = field_map(truth, valid=valid).axes
    assert not hasattr(ax, "projection")
    assert "40°N" in [label.get_text() for label in ax.get_yticklabels()]
    assert len(outlines(ax)) == 1


def test_no_label_leaves_the_figure_or_covers_a_bar() -> None:
    truth, valid = region()
    figure = comparison(truth, truth, 0.1 + 0 * truth, error=0 * truth, valid=valid)
    figure.canvas.draw()
    boxes = [ax.get_tightbbox() for ax in figure.axes]
    assert all(box.x0 >= -1 and box.x1 <= figure.bbox.x1 + 1 for box in boxes)
    assert not [(a, b) for a in boxes for b in boxes if a is not b and a.shrunk(0.98, 0.98).overlaps(b)]


def test_lazy_fields_are_computed_together() -> None:
    dask = pytest.importorskip("dask")
    runs: list[int] = []

    def both(block: np.ndarray) -> np.ndarray:
        runs.append(1)
        return np.stack([block, block + 0.5])

    truth, valid = region()
    tile = dask.delayed(both)(truth.values)
    mean, std = (truth.copy(data=dask.array.from_delayed(tile[k], truth.shape, dtype=float)) for k in (0, 1))
    comparison(truth, mean, std, valid=valid)
    assert len(runs) == 1


def test_more_than_one_frame_says_how_to_choose_one() -> None:
    with pytest.raises(DimensionError, match=r"has 3: \('time', 'lat', 'lon'\).*field\.isel\(time=0\)"):
        field_map(synthetic_sst(days=2).sst)


def test_a_valid_region_on_other_cells_says_what_was_found() -> None:
    truth, valid = region()
    with pytest.raises(AlignmentError, match=r"`valid` has dimensions .*'lat': 35"):
        field_map(truth, valid=valid.isel(lat=slice(1, None)))
    with pytest.raises(AlignmentError, match=r"other values of 'lon' \(0\.0 to 6\.0\).*reindex_like"):
        field_map(truth, valid=valid.assign_coords(lon=valid.lon / 2))


def test_fields_are_matched_by_coordinates_not_by_place() -> None:
    truth, valid = region()
    turned = truth.isel(lat=slice(None, None, -1)).T
    first, second = meshes(comparison(truth, turned, 0 * turned, valid=valid.T))[:2]
    np.testing.assert_array_equal(first.get_array(), second.get_array())


def test_plotting_loads_matplotlib_and_cartopy_only_when_it_draws() -> None:
    code = "import sys, xgpfill.plotting; print({'torch', 'matplotlib', 'cartopy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_map_of_a_time_series_points_to_the_picture_of_one() -> None:
    with pytest.raises(
        DimensionError, match=r"needs two dimensions; this field has 1: .*`reconstruction\.plot\.series"
    ):
        field_map(xr.DataArray([1.0, 2.0], dims="time"))


AMPLITUDE = xr.DataArray(np.geomspace(0.3, 3.0, 12).reshape(3, 4), dims=("y", "x"), name="amplitude")
PLACED = {"lat": ("lat", [38.0, 40.0, 42.0]), "lon": ("lon", [2.0, 4.0, 6.0, 8.0])}
CURVED = {"lat": (("y", "x"), 40.0 + np.add.outer(np.arange(3.0), 0.1 * np.arange(4.0)))}
CURVED["lon"] = (("y", "x"), 2.0 + np.add.outer(0.1 * np.arange(3.0), np.arange(4.0)))


@pytest.mark.parametrize(
    "field",
    [
        AMPLITUDE,
        AMPLITUDE.rename(y="lat", x="lon").assign_coords(PLACED),
        AMPLITUDE.assign_coords(y=("y", [0.0, 5e3, 1e4], {"units": "m"}), x=("x", np.arange(4) * 5e3, {"units": "m"})),
        AMPLITUDE.assign_coords(CURVED),
        AMPLITUDE.rename(y="lat", x="lon").assign_coords(PLACED).stack(site=("lat", "lon")).reset_index("site"),
    ],
    ids=["image", "degrees", "metres", "curvilinear", "stations"],
)
def test_factors_are_drawn_on_a_logarithm_with_round_numbers_on_its_bar(field: xr.DataArray) -> None:
    mesh = field_map(field.assign_attrs(units="1"), norm="log", vmin=0.3, vmax=3.0)
    assert mesh.norm(1.0) == pytest.approx(np.log(1.0 / 0.3) / np.log(10.0))
    assert np.ma.count(mesh.get_array()) == 12
    assert [tick.get_text() for tick in mesh.colorbar.ax.get_yticklabels()] == ["0.5", "1", "2"]
    assert mesh.colorbar.ax.get_ylabel() == "amplitude"
    assert saved(mesh.axes.figure)


@pytest.mark.parametrize("values", [np.nan, 2.0])
def test_a_logarithm_of_one_value_or_none_is_drawn_too(values: float) -> None:
    assert saved(field_map(AMPLITUDE * 0 + values, norm="log").axes.figure)


@pytest.mark.parametrize(
    ("field", "options", "match"),
    [
        (AMPLITUDE - 1.0, {"norm": "log"}, r"norm='log': the colours would run from -0\.7 to 2,.*where\(field > 0\)"),
        (AMPLITUDE, {"norm": "log", "vmin": 0.0}, r"norm='log': the colours would run from 0 to 3"),
        (AMPLITUDE, {"norm": "sqrt"}, r"norm='sqrt': choose one of 'linear', 'log'"),
        (AMPLITUDE, {"vmax": np.inf}, r"vmax=inf: expected a finite number"),
    ],
)
def test_a_scale_of_colours_that_cannot_be_says_what_to_type(field: Any, options: dict[str, Any], match: str) -> None:
    with pytest.raises(DataError, match=match):
        field_map(field, **options)
