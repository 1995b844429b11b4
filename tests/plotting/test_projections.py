"""Which projection a region gets, where its cells, coasts, gaps and labels lie in it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import cartopy
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from cartopy import crs as ccrs
from matplotlib.collections import LineCollection
from matplotlib.patches import Circle, PathPatch, Rectangle
from xgpfill.errors import XgpfillWarning
from xgpfill.plotting import comparison, facets, field_map
from xgpfill.plotting.drawing import coast

if TYPE_CHECKING:
    from pathlib import Path


def field_on(lat: Any, lon: Any) -> xr.DataArray:
    """A field whose values tell its cells apart."""
    lat, lon = np.asarray(lat, float), np.asarray(lon, float)
    values = np.arange(lat.size * lon.size, dtype=float).reshape(lat.size, lon.size)
    return xr.DataArray(values, dims=("lat", "lon"), coords={"lat": lat, "lon": lon}, name="t", attrs={"units": "K"})


def curvilinear(crs: Any, x: np.ndarray, y: np.ndarray) -> xr.DataArray:
    """A grid that is regular in another projection."""
    points = ccrs.PlateCarree().transform_points(crs, *np.meshgrid(x, y))
    coords = {"lat": (("j", "i"), points[..., 1]), "lon": (("j", "i"), points[..., 0])}
    return xr.DataArray(np.arange(float(x.size * y.size)).reshape(y.size, x.size), dims=("j", "i"), coords=coords)


GLOBE = field_on(np.arange(-80, 81, 20), np.arange(0, 360, 20))
ARCTIC = field_on(np.arange(60, 90, 5), np.arange(-180, 180, 30))


@pytest.mark.parametrize(
    ("field", "expected", "central"),
    [
        (GLOBE, ccrs.Robinson, 170.0),
        (ARCTIC, ccrs.NorthPolarStereo, 0.0),
        (field_on(np.arange(-90, -54, 4), np.arange(0, 360, 30)), ccrs.SouthPolarStereo, 0.0),
        (field_on(np.arange(35, 71, 5), np.arange(-10, 41, 10)), ccrs.LambertConformal, 15.0),
        (field_on(np.arange(-60, -29, 5), np.arange(150, 211, 10)), ccrs.LambertConformal, 180.0),
        (field_on(np.arange(-10, 11, 5), np.arange(100, 141, 10)), ccrs.PlateCarree, 120.0),
        (field_on(np.arange(36, 44), np.arange(0, 12)), ccrs.PlateCarree, 5.5),
        (curvilinear(ccrs.NorthPolarStereo(), np.linspace(-3e6, 3e6, 8), np.linspace(-3e6, 3e6, 8)),
         ccrs.NorthPolarStereo, 0.0),
    ],
    ids=["globe", "arctic", "antarctic", "europe", "south pacific", "tropics", "small region", "grid round a pole"],
)  # fmt: skip
def test_a_region_is_drawn_in_the_projection_an_atlas_would_take(field: Any, expected: Any, central: float) -> None:
    crs = field_map(field).axes.projection
    assert type(crs) is expected
    middle = crs.transform_point(
        central, 0.0 if expected in (ccrs.Robinson, ccrs.PlateCarree) else 60.0, ccrs.Geodetic()
    )
    assert middle[0] == pytest.approx(0.0, abs=1e-6)


def test_cells_of_a_conic_map_lie_where_their_corners_are() -> None:
    field = field_on(np.arange(40, 61, 10), np.arange(0, 61, 20))
    mesh = field_map(field)
    corners = mesh.axes.projection.transform_points(ccrs.Geodetic(), np.array([-10.0, 70.0]), np.array([35.0, 65.0]))
    nodes = mesh.get_coordinates()
    np.testing.assert_allclose([nodes[0, 0], nodes[-1, -1]], corners[:, :2], atol=1.0)
    assert set(np.unique(mesh.get_array())) == set(np.ravel(field))


def test_a_small_region_keeps_its_shape() -> None:
    field = field_on(np.arange(59.0, 61.1, 0.5), np.arange(0.0, 4.1, 0.5))
    assert field_map(field).axes.get_aspect() == pytest.approx(2.0, rel=1e-2)  # 1 / cos 60°


def test_a_grid_round_a_pole_has_no_seam() -> None:
    field = curvilinear(ccrs.NorthPolarStereo(), np.linspace(-3e6, 3e6, 8), np.linspace(-3e6, 3e6, 8))
    mesh = field_map(field)
    np.testing.assert_array_equal(mesh.get_array(), field)
    widths = np.diff(mesh.get_coordinates()[..., 0], axis=1)
    assert widths.min() > 0.0 and widths.max() < 1.5 * widths.min()


def test_a_curvilinear_grid_round_the_globe_leaves_out_only_cells_on_the_seam() -> None:
    field = curvilinear(ccrs.RotatedPole(120, 70), np.arange(-175.0, 180.0, 10.0), np.arange(-85.0, 90.0, 10.0))
    mesh = field_map(field)
    assert isinstance(mesh.axes.projection, ccrs.Robinson)
    lost = np.isnan(np.ma.filled(mesh.get_array(), np.nan))
    assert 0.0 < lost.mean() < 0.05


def boxes(ax: Any) -> list[Any]:
    ax.figure.canvas.draw()
    shown = [text for text in [*ax.texts, ax.title] if text.get_text() and text.get_visible()]
    return [text.get_window_extent() for text in shown]


@pytest.mark.parametrize("own", [None, ccrs.Robinson(20.0)], ids=["ours", "the user's"])
@pytest.mark.parametrize("width", [2.9, 4.6])
def test_labels_do_not_collide_in_robinson(own: Any, width: float) -> None:
    field = GLOBE
    if own is None:
        figure = facets(field.expand_dims(time=3), columns=3) if width < 4 else comparison(field, field, field)
        ax = figure.axes[0]
    else:
        _, ax = plt.subplots(figsize=(width, width), subplot_kw={"projection": own}, layout="constrained")
        field_map(field, ax=ax)
    found = boxes(ax)
    assert len(found) >= 7
    assert not [pair for pair in itertools.combinations(found, 2) if pair[0].overlaps(pair[1])]


def test_where_all_meridians_meet_there_are_no_longitudes() -> None:
    _, ax = plt.subplots(subplot_kw={"projection": ccrs.Mollweide()})
    field_map(GLOBE, ax=ax)
    assert {text.get_gid() for text in ax.texts} == {"parallel"}
    assert boxes(ax)


def test_longitudes_round_a_pole_stand_outside_its_circle_and_leave_room_for_the_title() -> None:
    ax = field_map(ARCTIC).axes
    ax.set_title("the Arctic")
    found = boxes(ax)
    assert not [pair for pair in itertools.combinations(found, 2) if pair[0].overlaps(pair[1])]
    assert {"0°", "60°E", "120°W", "80°N"} <= {text.get_text() for text in ax.texts}


def test_inner_panels_of_curved_maps_have_no_labels() -> None:
    figure = facets(ARCTIC.sel(lon=slice(-60, 60)).expand_dims(time=4), columns=2)
    texts = [[text.get_gid() for text in ax.texts] for ax in figure.axes[:4]]
    assert ["parallel" in found for found in texts] == [True, False, True, False]
    assert ["meridian" in found for found in texts] == [False, False, True, True]


def lines_of(ax: Any) -> list[np.ndarray]:
    return [line for found in ax.collections if isinstance(found, LineCollection) for line in found.get_segments()]


def test_an_island_of_one_cell_is_a_square_along_its_edges() -> None:
    field = field_on(np.arange(-2, 3), np.arange(10, 16))
    valid = xr.ones_like(field, dtype=bool)
    valid[2, 3] = False
    ax = field_map(field, valid=valid).axes
    nodes = {tuple(node) for line in lines_of(ax) for node in line}
    assert ax.projection == ccrs.PlateCarree(12.5)
    assert nodes == {(0.0, -0.5), (1.0, -0.5), (0.0, 0.5), (1.0, 0.5)}
    assert sum(len(line) - 1 for line in lines_of(ax)) == 4


def test_a_coast_follows_curved_cells_too() -> None:
    field = field_on(np.arange(40, 61, 5), np.arange(0, 61, 10))
    valid = xr.ones_like(field, dtype=bool)
    valid[2, 3] = False
    ax = field_map(field, valid=valid).axes
    back = ccrs.PlateCarree().transform_points(ax.projection, *np.concatenate(lines_of(ax)).T)
    np.testing.assert_allclose([back[:, 0].min(), back[:, 0].max()], [25.0, 35.0], atol=1e-6)
    np.testing.assert_allclose([back[:, 1].min(), back[:, 1].max()], [47.5, 52.5], atol=1e-6)


def hatched(ax: Any) -> list[Any]:
    return [patch for patch in ax.patches if isinstance(patch, PathPatch) and patch.get_hatch()]


def test_a_comparison_always_shows_what_was_observed_with_its_gaps_hatched() -> None:
    truth = field_on(np.arange(0, 5), np.arange(0, 6))
    observed = truth.where(truth % 3 > 0)
    valid = truth < 28
    for given in ({"observed": observed, "error": 0 * truth}, {}):
        figure = comparison(truth if given else observed, truth, 0 * truth + 1, valid=valid, **given)
        found = {ax.get_title(): ax for ax in figure.axes if ax.get_title()}
        assert [title for title, ax in found.items() if hatched(ax)] == ["observed"]
        (patch,) = hatched(found["observed"])
        rings = patch.get_path().to_polygons()
        area = sum(float(np.ptp(ring[:, 0]) * np.ptp(ring[:, 1])) for ring in rings)
        assert area == pytest.approx(int((observed.isnull() & valid).sum()))
    assert list(found) == ["observed", "filled: mean", "standard deviation"]


@pytest.mark.parametrize("own", [ccrs.Orthographic(0, 40), ccrs.Robinson(100.0)], ids=["far side", "a seam inside"])
def test_hatching_and_coasts_stop_where_a_projection_of_the_users_own_does(own: Any) -> None:
    valid = xr.ones_like(GLOBE, dtype=bool)
    valid[:4] = False
    _, ax = plt.subplots(subplot_kw={"projection": own})
    field_map(GLOBE.where(GLOBE < 0), ax=ax, valid=valid, hatched=True)
    lengths = [np.abs(np.diff(line, axis=0)).max() for line in lines_of(ax)]
    assert lengths and max(lengths) < 0.1 * np.ptp(own.x_limits)
    (patch,) = hatched(ax)
    rings = patch.get_path().to_polygons()
    seen = np.concatenate(rings)
    assert np.ptp(seen[:, 0]) > 0.8 * np.ptp(own.x_limits)
    assert all(np.abs(np.diff(ring, axis=0)).max() < 0.1 * np.ptp(own.x_limits) for ring in rings)


def test_truth_stands_below_the_mean_and_the_error_below_the_standard_deviation() -> None:
    truth = field_on(np.arange(0, 5), np.arange(0, 6))
    figure = comparison(truth, truth, 0 * truth + 1, error=0 * truth, observed=truth.where(truth > 3))
    figure.canvas.draw()
    at = {ax.get_title(): ax.get_position() for ax in figure.axes if ax.get_title()}
    for upper, lower in (("filled: mean", "truth"), ("standard deviation", "error: mean - truth")):
        assert at[upper].x0 == pytest.approx(at[lower].x0, abs=0.02)
        assert at[upper].y0 > at[lower].y1
    (legend,) = [ax.get_legend() for ax in figure.axes if ax.get_legend()]
    assert [text.get_text() for text in legend.get_texts()] == ["not observed"]


@pytest.mark.filterwarnings("error")
def test_a_newcomer_is_warned_once_of_his_own_line_how_to_get_coastlines() -> None:
    coast.hint_at_coastlines.cache_clear()
    with pytest.warns(XgpfillWarning, match="Natural Earth is not on this disk.*cartopy_feature_download") as told:
        facets(ARCTIC.expand_dims(time=2), dim="time")
    field_map(ARCTIC)  # it would be an error now
    (warning,) = told
    assert warning.filename == __file__


def test_plain_axes_hear_nothing_of_coastlines(recwarn: pytest.WarningsRecorder) -> None:
    coast.hint_at_coastlines.cache_clear()
    field_map(xr.DataArray(np.zeros((3, 4)), dims=("y", "x")))
    assert not recwarn.list


@pytest.mark.parametrize("folder", ["pre_existing_data_dir", "data_dir"])
@pytest.mark.parametrize("scale", ["10m", "50m", "110m"])
def test_natural_earth_is_found_where_cartopy_itself_reads_it(folder, scale, tmp_path: Path, monkeypatch) -> None:
    from cartopy.io.shapereader import natural_earth

    monkeypatch.setitem(cartopy.config, folder, tmp_path)
    place = tmp_path / "shapefiles" / "natural_earth" / "physical"
    place.mkdir(parents=True)
    for part in (".shp", ".shx", ".dbf"):
        assert coast.coastlines_on_disk(10.0) is None
        (place / f"ne_{scale}_coastline{part}").touch()
    assert [coast.coastlines_on_disk(width) for width in (10.0, 100.0, 360.0)] == [scale] * 3
    assert natural_earth(scale, "physical", "coastline") == place / f"ne_{scale}_coastline.shp"


def test_the_resolution_of_coastlines_suits_the_width_of_the_map(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(cartopy.config, "data_dir", tmp_path)
    place = tmp_path / "shapefiles" / "natural_earth" / "physical"
    place.mkdir(parents=True)
    for scale, part in itertools.product(("10m", "50m", "110m"), (".shp", ".shx", ".dbf")):
        (place / f"ne_{scale}_coastline{part}").touch()
    assert [coast.coastlines_on_disk(width) for width in (10.0, 100.0, 360.0)] == ["10m", "50m", "110m"]


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_lines_and_land_are_seen_on_light_and_on_dark_paper(style: str) -> None:
    field = field_on(np.arange(-2, 3), np.arange(10, 16))
    with plt.style.context(style):
        ax = field_map(field.where(field != 1), valid=field > 3, hatched=True).axes
    paper = np.array(ax.get_facecolor()[:3])
    (outline,) = [found for found in ax.collections if isinstance(found, LineCollection)]
    assert abs(np.array(outline.get_colors()[0][:3]) - paper).mean() > 0.7
    land = ax.collections[1].get_cmap()(0.0)[:3]
    assert 0.15 < abs(np.array(land) - paper).mean() < 0.5


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_hatching_is_seen_on_light_and_on_dark_paper(style: str) -> None:
    with plt.style.context(style):
        ax = field_map(GLOBE.where(GLOBE < 100), hatched=True).axes
    (patch,) = hatched(ax)
    paper = np.array(ax.get_facecolor()[:3])
    assert abs(np.array(patch.get_edgecolor()[:3]) - paper).mean() > 0.59


EUROPE = field_on(np.arange(35, 71, 5), np.arange(-10, 41, 5))
SITES = EUROPE.stack(site=("lat", "lon")).reset_index("site")


@pytest.mark.parametrize(
    ("field", "style"),
    [(GLOBE, "default"), (ARCTIC, "dark_background"), (EUROPE, "default"), (SITES, "dark_background")],
    ids=["globe", "pole", "conic", "stations"],
)
@pytest.mark.parametrize("known", [True, False], ids=["truth", "no truth"])
def test_no_word_is_cut_at_the_edge_and_the_title_stands_clear(field: xr.DataArray, known: bool, style: str) -> None:
    field = field.assign_attrs(long_name="sea surface temperature")
    observed = field.where(field % 3 > 0)
    options = {"error": 0 * field, "observed": observed} if known else {}
    with plt.style.context(style):
        figure = comparison(field if known else observed, field, 0 * field + 1, title="2021-04-15", **options)
        figure.canvas.draw()
    room = 0.05 * figure.dpi
    words = figure.get_tightbbox().transformed(figure.dpi_scale_trans)
    paper = figure.bbox
    assert words.x0 > room and words.y0 > room and words.x1 < paper.x1 - room and words.y1 < paper.y1 - room
    title = figure._suptitle.get_window_extent()
    assert all(title.y0 > ax.title.get_window_extent().y1 + room for ax in figure.axes if ax.get_title())


def test_gaps_of_stations_have_a_hatched_ring_in_the_legend() -> None:
    for field, shape in ((SITES, Circle), (EUROPE, Rectangle)):
        figure = comparison(field.where(field % 3 > 0), field, 0 * field + 1)
        figure.canvas.draw()
        (mark,) = figure.legends[0].get_patches()
        assert type(mark) is shape and mark.get_hatch()
