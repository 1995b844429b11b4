"""Reports: what is in them, numbers against numpy, laziness, files whole or not at all, batches of experiments."""

from __future__ import annotations

import pickle
import re
import weakref
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import pytest
import xarray as xr
import xgpfill
from xgpfill.errors import AlignmentError, DimensionError, VariableError, XgpfillError
from xgpfill.grid.scaling import Amplitude
from xgpfill.plotting.scores import bars
from xgpfill.report.document import ROOM, opened, titled
from xgpfill.report.experiments import _write_comparison, safe_name
from xgpfill.report.single import hyperparameter_rows
from xgpfill.report.source import chosen
from xgpfill.report.typesetting import Section, set_above
from xgpfill.report.typesetting import pages as typeset_pages
from xgpfill.results.estimate import Context
from xgpfill.results.reconstruction import Reconstruction
from xgpfill.tiling.solve import TileSolver
from xgpfill.words import rounded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from xgpfill.model import FittedModel

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")


@pytest.fixture(scope="module")
def found(model: FittedModel) -> Reconstruction:
    return model.reconstruct()


@pytest.fixture
def unprinted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made, but not rendered to HTML, which takes most of the time of a report."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda _, stream, **__: stream.write(b"\x89PNG\r\n\x1a\n"))


class Outline(HTMLParser):
    """Headings, alternative texts of images, cells of tables and whether every tag is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.images: list[str] = []
        self.cells: list[str] = []
        self.open: list[str] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("img", "meta"):
            self.open.append(tag)
        if tag == "img":
            self.images.append(dict(attrs)["alt"] or "")
            assert (dict(attrs)["src"] or "").startswith("data:image/png;base64,iVBOR")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.cells.append(data)


def pages(path: Path) -> int:
    return len(re.findall(rb"/Type /Page\b(?!s)", path.read_bytes()))


def truth_of(ds: xr.Dataset, found: Reconstruction) -> xr.DataArray:
    return ds.truth.assign_coords(found.mean.coords)


# Structure


def test_an_html_report_has_every_part_in_order_and_the_scores_of_score(ds, found, tmp_path: Path) -> None:
    found.report(tmp_path / "r.html", ds.truth, frames=[0, -1], title="A <title> & more")
    outline = Outline(tmp_path / "r.html")
    assert outline.open == []
    assert outline.headings == [
        "A <title> & more", "A <title> & more", "The data: sst, sea surface temperature [°C]", "Learned covariance",
        "Over time", "sst time=2021-04-15", "sst time=2021-04-22",
    ]  # fmt: skip
    assert outline.images == outline.headings[3:]
    rmse = outline.cells[outline.cells.index("root mean squared error") + 1]
    hidden = ds.truth.where(ds.sst.isnull())
    assert rmse == f"{float(np.sqrt(((found.mean - hidden) ** 2).mean())):.5g} °C"
    assert f"{found.context.model.prior.noise:.5g} °C²" in outline.cells


def test_a_pdf_report_has_a_page_for_each_frame(ds, found, tmp_path: Path) -> None:
    open_before = matplotlib.pyplot.get_fignums()
    for frames in (0, 1):
        found.report(tmp_path / f"{frames}.pdf", ds.truth, frames=frames)
    assert pages(tmp_path / "1.pdf") - pages(tmp_path / "0.pdf") == 1
    content = (tmp_path / "1.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    boxes = [[float(x) for x in box.split()] for box in re.findall(rb"/MediaBox \[([^]]*)\]", content)]
    np.testing.assert_allclose([(x1 - x0, y1 - y0) for x0, y0, x1, y1 in boxes], len(boxes) * [(842.4, 597.6)])  # A4
    assert matplotlib.pyplot.get_fignums() == open_before


def test_a_local_amplitude_and_the_fields_are_among_the_hyperparameters(model: FittedModel) -> None:
    known = Amplitude(tuple((float(i), 0.0, 0.0) for i in range(30)), tuple(np.linspace(-0.5, 0.5, 30)), 200.0)
    table = replace(model, scaling=model.scaling.with_amplitude(known)).hyperparameters
    rows = dict(hyperparameter_rows(table.assign(field_amplitude=("level", [0.25, 2.0]))))
    assert rows["amplitude weight"] == "30 numbers from -0.5 to 0.5"
    assert rows["field amplitude"] == "0.25 2"
    assert rows["amplitude lengthscale"].startswith("200")


@pytest.mark.usefixtures("unprinted")
def test_without_truth_there_are_no_scores_and_no_error(found, tmp_path: Path) -> None:
    found.report(tmp_path / "r.html", frames=1)
    assert not any("squared error" in cell for cell in Outline(tmp_path / "r.html").cells)


def test_a_report_keeps_no_pixels_of_the_pages_before(found, tmp_path: Path, monkeypatch) -> None:
    from xgpfill.report import document

    kept = []

    def figure(self: Any, title: str, fig: Any, original: Any = document._Pdf.figure) -> None:
        original(self, title, fig)
        kept.append([image for image, _, _ in self._pages._file._images.values()])

    monkeypatch.setattr(document._Pdf, "figure", figure)
    found.report(tmp_path / "r.pdf", frames=2)
    assert len(kept[-1]) >= 6  # three panels of two frames
    assert all(image is None for page in kept for image in page)


@pytest.mark.parametrize(
    ("frames", "positions"),
    [(None, range(10)), (3, [0, 4, 9]), (0, []), (99, range(10)), (slice(8, None), [8, 9]), ([0, -1], [0, 9])],
)
def test_frames_can_be_chosen_in_several_ways(frames: Any, positions: Any) -> None:
    assert list(chosen(10, frames)) == list(positions)


@pytest.mark.usefixtures("unprinted")
def test_stations_are_reported_as_maps_of_dots(tmp_path: Path, monkeypatch) -> None:
    places = {"lat": ("site", [38.0, 40.0, 41.0]), "lon": ("site", [3.0, 5.0, 7.0])}
    reported, truth = made(xr.DataArray(RNG.normal(size=(2, 3)), {"time": [0.0, 1.0], **places}, ("time", "site")))
    drawn = []

    def kept(*fields: Any, original: Any = xgpfill.plotting.comparison, **options: Any) -> Any:
        drawn.append((fields[0].dims, "observed" in options))
        return original(*fields, **options)

    monkeypatch.setattr("xgpfill.plotting.comparison", kept)
    reported.report(tmp_path / "r.html", truth)
    assert drawn == [(("site",), True)] * 2


# Set text


def section(count: int, *, wide: int = 1) -> Section:
    return Section("A table", [(f"row {i}", *("12.5 K",) * wide) for i in range(count)])


def words(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.texts]


@pytest.fixture
def closed() -> Iterator[None]:
    yield
    matplotlib.pyplot.close("all")


@pytest.mark.usefixtures("closed")
@pytest.mark.parametrize("count", [1, 40, 88, 96, 104, 180, 300])
def test_no_page_is_left_with_a_few_lines(count: int) -> None:
    found = typeset_pages([("Title", [section(count)])], 10.5, 7.1)
    shares = [sum(word.startswith("row") for word in words(page)) for page in found]
    assert sum(shares) == count
    assert min(shares) >= 0.4 * max(shares)
    assert words(found[0])[0] == "Title" and all(words(page)[0] == "Title (continued)" for page in found[1:])


@pytest.mark.usefixtures("closed")
def test_text_is_set_in_measured_columns_inside_the_page() -> None:
    long = "a note that is much longer than half of a page is wide, so that it needs to be wrapped " * 3
    (page,) = typeset_pages([("Title", [Section("Notes", [("!", long), ("word", "x" * 300)]), section(30)])], 10.5, 7.1)
    page.canvas.draw()
    boxes = [text.get_window_extent() for text in page.texts]
    assert all(box.x0 >= -1 and box.x1 <= page.bbox.x1 + 1 and box.y0 >= -1 for box in boxes)
    assert not [(a, b) for a, b in combinations(boxes, 2) if a.shrunk(0.9, 0.6).overlaps(b.shrunk(0.9, 0.6))]
    assert {text.get_fontfamily()[0] for text in page.texts} == {"sans-serif"}
    assert "".join(word for word in words(page) if set(word) == {"x"}) == "x" * 300


@pytest.mark.usefixtures("closed")
def test_a_heading_stays_with_its_first_row_and_names_of_columns_are_repeated() -> None:
    table = Section("Runs", [("0.5", "1", f"run {i}") for i in range(200)], ("MAE", "RMSE", "run"))
    found = typeset_pages([("Title", [section(20), table])], 10.5, 7.1)
    assert len(found) > 1
    for page in found[1:]:
        assert words(page)[1:4] == ["MAE", "RMSE", "run"]
    for page in found:
        for heading, first in (("A table", "row 0"), ("Runs", "run 0")):
            assert (heading in words(page)) == (first in words(page))


@pytest.mark.usefixtures("closed")
def test_numbers_end_below_each_other_and_a_wide_table_has_the_page_to_itself() -> None:
    table = Section("Runs", [(*("0.5",) * 6, "a run")], ("a score with a long name",) * 6 + ("run",))
    (page,) = typeset_pages([("Title", [table])], 10.5, 7.1)
    numbers = [text for text in page.texts if text.get_text() == "0.5"]
    assert {text.get_ha() for text in numbers} == {"right"}
    assert max(text.get_position()[0] for text in numbers) > 0.6


@pytest.mark.usefixtures("closed")
def test_powers_of_ten_and_missing_numbers_end_below_the_others() -> None:
    numbers = ("0.500", "1.23 × 10⁻⁷", "none")
    rows = [(*(number,) * 6, f"run {number}") for number in numbers]
    (page,) = typeset_pages(
        [("Title", [Section("Runs", rows, ("a score with a long name",) * 6 + ("run",))])], 10.5, 7.1
    )
    ends = [{(t.get_ha(), t.get_position()[0]) for t in page.texts if t.get_text() == number} for number in numbers]
    assert ends[0] == ends[1] == ends[2]
    assert len(ends[0]) == 6 and {align for align, _ in ends[0]} == {"right"}


def test_texts_share_pages_until_a_figure_follows(tmp_path: Path) -> None:
    with opened(tmp_path / "r.pdf", "Title") as document:
        document.text("One", [section(5)])
        document.text("Two", [section(5)])
        document.figure("A figure", matplotlib.pyplot.figure(figsize=(30, 5)))
        document.text("Three", [section(5)])
    assert pages(tmp_path / "r.pdf") == 3


def test_no_page_of_bars_has_one_run_alone(tmp_path: Path, monkeypatch) -> None:
    shown: list[int] = []

    def counted(part: xr.Dataset, original: Any = bars, **options: Any) -> Any:
        shown.append(part.sizes["run"])
        return original(part, **options)

    monkeypatch.setattr("xgpfill.report.experiments.bars", counted)
    table = xr.Dataset({"mae": ("run", np.ones(21))}, {"run": [f"r{i}" for i in range(21)]})
    _write_comparison(tmp_path / "c.pdf", table, "Runs")
    assert shown == [7, 7, 7]


@pytest.mark.parametrize(("count", "expected"), [(2, 1), (3, 1), (60, 7)])
def test_the_table_of_a_few_runs_shares_the_page_of_their_bars(tmp_path: Path, count: int, expected: int) -> None:
    table = xr.Dataset({"mae": ("run", np.ones(count))}, {"run": [f"r{i}" for i in range(count)]})
    _write_comparison(tmp_path / "c.pdf", table, "Runs")
    assert pages(tmp_path / "c.pdf") == expected


@pytest.mark.usefixtures("closed")
def test_a_table_over_bars_covers_neither_them_nor_their_title() -> None:
    rows = [(*("0.5",) * 4, f"a run with a name, number {i}") for i in range(3)]
    scores = {name: ("run", np.ones(3)) for name in ("mae", "rmse", "crps", "coverage95")}
    figure = titled(bars(xr.Dataset(scores, {"run": [row[-1] for row in rows]})), "Scores of the runs")
    assert set_above(figure, [("Runs", [Section("3 runs", rows, ("MAE", "RMSE", "CRPS", "coverage", "run"))])], *ROOM)
    figure.canvas.draw()
    lowest = min(text.get_window_extent().y0 for text in figure.texts if text is not figure._suptitle)
    title = figure._suptitle.get_window_extent()
    assert title.y1 <= lowest and title.y0 >= max(ax.get_tightbbox().y1 for ax in figure.axes)
    boxes = [text.get_window_extent() for text in figure.texts]
    assert all(box.x0 >= -1 and box.x1 <= figure.bbox.x1 + 1 for box in boxes)
    assert not set_above(figure, [("Runs", [section(60)])], *ROOM)


# The model in short


def test_the_summary_has_the_covariance_of_its_model_and_names_its_kernels(ds: xr.Dataset, model: FittedModel) -> None:
    xr.testing.assert_identical(model.summary.covariance(), model.covariance())
    assert model.summary.kernels == ("matern32", "matern32")
    series = ds.sst.isel(lat=4, lon=6).fillna(16.0) + np.sin(np.arange(8))
    for kernel in ("brownian", "periodic"):
        fitted = series.gpfill.fit(time_kernel=kernel, method="exact", scales=1)
        assert fitted.summary.kernels[0] == kernel
        assert "space_covariance" not in fitted.covariance()


# Lazy


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[Any]]:
    counted: Counter[Any] = Counter()
    moments = TileSolver.moments

    def counting(self: TileSolver, tile: Any, *args: Any) -> Any:
        counted[tile] += 1
        return moments(self, tile, *args)

    monkeypatch.setattr(TileSolver, "moments", counting)
    with dask.config.set(scheduler="synchronous"):
        yield counted


@pytest.mark.usefixtures("unprinted")
def test_a_lazy_report_evaluates_each_tile_once_and_equals_the_one_in_memory(ds, model, found, calls, tmp_path) -> None:
    lazy = model.condition(ds.sst.chunk(time=4)).reconstruct(tile={"time": 4}, halo=1)
    lazy.report(tmp_path / "lazy.html", ds.truth.chunk(time=3), frames=3)
    assert len(calls) == 2 and set(calls.values()) == {1}
    eager = model.reconstruct(tile={"time": 4}, halo=1)
    eager.report(tmp_path / "eager.html", ds.truth, frames=3)
    one, other = (Outline(tmp_path / f"{name}.html") for name in ("lazy", "eager"))
    assert one.headings == other.headings
    at = one.cells.index("root mean squared error") + 1
    assert one.cells[at][:5] == other.cells[at][:5]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["eager.html", "lazy.html"]


def test_reconstructing_lazily_for_a_report_computes_nothing(ds, model, request) -> None:
    conditioned = model.condition(ds.sst.chunk(time=4))
    request.getfixturevalue("nothing_is_computed")
    assert conditioned.reconstruct().context.model is not None


@pytest.mark.usefixtures("unprinted")
def test_the_summary_survives_a_pickle_and_evaluation(found: Reconstruction, ds, tmp_path: Path) -> None:
    again = pickle.loads(pickle.dumps(found.compute()))
    assert again.context.model.table == found.context.model.table
    again.report(tmp_path / "r.html", ds.truth, frames=0)
    assert "Learned covariance" in Outline(tmp_path / "r.html").headings


@pytest.mark.usefixtures("unprinted")
def test_a_reconstruction_that_knows_no_model_is_reported_and_can_be_told(ds, model, found, tmp_path: Path) -> None:
    bare = Reconstruction(*found, Context(found.context.observed, found.context.noise, "latent"))
    bare.report(tmp_path / "bare.html", ds.truth, frames=1)
    bare.report(tmp_path / "told.html", ds.truth, frames=1, model=model)
    has = ["Learned covariance" in Outline(tmp_path / f"{name}.html").headings for name in ("bare", "told")]
    assert has == [False, True]


# Kinds of data


def made(mean: xr.DataArray) -> tuple[Reconstruction, xr.DataArray]:
    """A reconstruction without any fit."""
    variance = (0.1 + 0 * mean).rename("v").assign_attrs(units="K2")
    return Reconstruction(mean, variance, Context(mean.where(mean > 0), 0.01, "latent")), mean + 0.1


RNG = np.random.default_rng(0)
DAYS = xr.date_range("2000-01-01", periods=2, calendar="360_day", use_cftime=True)
KINDS = {
    "time only": (xr.DataArray(RNG.normal(size=4), {"time": np.arange(4.0)}, ("time",)), 1),
    "another calendar": (xr.DataArray(RNG.normal(size=(2, 3, 4)), {"time": DAYS}, ("time", "y", "x")), 2),
    "an image": (xr.DataArray(RNG.normal(size=(5, 6)), dims=("y", "x")), 1),
    "time and one direction": (xr.DataArray(RNG.normal(size=(4, 5)), dims=("time", "x")), 1),
    "members": (xr.DataArray(RNG.normal(size=(2, 2, 3, 4)), dims=("member", "time", "y", "x")), 4),
    "transposed": (xr.DataArray(RNG.normal(size=(3, 4, 2)), dims=("y", "x", "time")), 2),
    "all gaps": (xr.DataArray(-np.ones((1, 3, 4)), dims=("time", "y", "x")), 1),
    "nothing at all": (xr.DataArray(np.full(4, np.nan), dims=("time",)), 1),
    "named places": (xr.DataArray(RNG.normal(size=3), {"x": ["Palma", "Ibiza", "Soller"]}, ("x",)), 1),
    "a line of text for a name": (xr.DataArray(RNG.normal(size=(3, 4)), dims=("y", "x"), name="$a_{<b>}$"), 1),
}


PRINTED = {"time only", "a line of text for a name"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_field_gets_its_frames(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if kind not in PRINTED:
        request.getfixturevalue("unprinted")
    mean, count = KINDS[kind]
    found, truth = made(mean)
    found.report(tmp_path / "r.html", truth)
    outline = Outline(tmp_path / "r.html")
    assert len([h for h in outline.images if h not in ("Over time", "Learned covariance")]) == count


@pytest.mark.usefixtures("unprinted")
def test_several_variables_are_reported_one_after_the_other(ds: xr.Dataset, model, tmp_path: Path) -> None:
    both = ds[["sst"]].assign(warm=ds.sst + 1.0)
    fitted = both.gpfill.fit(
        variable=["sst", "warm"], valid=ds.valid, method="exact", hyperparameters=model.hyperparameters
    )
    fitted.reconstruct().report(tmp_path / "r.html", xr.Dataset({"sst": ds.truth, "warm": ds.truth + 1}), frames=1)
    headings = Outline(tmp_path / "r.html").headings
    assert headings.count("Learned covariance") == 2
    assert {"sst time=2021-04-15", "warm time=2021-04-15"} <= set(headings)


# Refusals, and files that are whole or not there


@pytest.mark.parametrize(
    ("name", "change", "error", "match"),
    [
        ("r.doc", {}, XgpfillError, r"ends in '\.doc'; a report is a '\.pdf' or a '\.html'"),
        ("none/r.pdf", {}, XgpfillError, r"There is no folder .*none.*mkdir\(parents=True\)"),
        ("r.pdf", {"truth": lambda t: t.isel(lat=slice(3))}, AlignmentError, "`truth` does not lie on the grid"),
        ("r.pdf", {"truth": lambda t: t.isel(time=0)}, AlignmentError, r"`truth` has the dimensions \('lat', 'lon'\)"),
        ("r.pdf", {"truth": lambda t: t.to_dataset()}, VariableError, r"`truth` is a Dataset.*truth\['sst'\]"),
        ("r.pdf", {"frames": [99]}, DimensionError, r"frames=\[99\]: there are 8 frames"),
        ("r.pdf", {"frames": -1}, DimensionError, r"frames=-1: expected at least zero"),
    ],
)  # fmt: skip
def test_a_report_that_cannot_be_written_is_refused_with_a_cure(
    ds, found, tmp_path, name, change, error, match
) -> None:
    truth = change.get("truth", lambda t: t)(ds.truth)
    with pytest.raises(error, match=match):
        found.report(tmp_path / name, truth, frames=change.get("frames"))
    assert list(tmp_path.iterdir()) == []


def test_a_report_without_variance_is_refused(model: FittedModel, tmp_path: Path) -> None:
    with pytest.raises(XgpfillError, match=r"A report needs the variance.*reconstruct\(variance=True\)"):
        model.reconstruct(variance=False).report(tmp_path / "r.pdf")


@pytest.mark.parametrize("suffix", [".pdf", ".html"])
def test_a_report_that_fails_on_the_way_leaves_the_old_one(found, tmp_path: Path, monkeypatch, suffix: str) -> None:
    path = tmp_path / f"r{suffix}"
    path.write_text("old")

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr("xgpfill.plotting.comparison", fail)
    with pytest.raises(RuntimeError, match="no ink"):
        found.report(path, frames=1)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


# Experiments

MASK = {"mask": "clouds", "kind": "dynamic", "probability": 0.9, "seed": 0}


@pytest.mark.usefixtures("unprinted")
def test_experiments_are_named_by_what_was_tried_and_compared(ds: xr.Dataset, found, tmp_path: Path) -> None:
    mask = ds.sst.notnull().assign_attrs(MASK)
    runs = [xgpfill.Experiment(found, mask), xgpfill.Experiment(found, MASK), xgpfill.Experiment(found, name="a/b: c")]
    table = xgpfill.report_experiments(tmp_path, runs, ds.truth, format="html", frames=0)
    label = "matern32-matern32_clouds-dynamic_p0.90_exact"
    assert list(table.run.values) == [label, f"{label}_2", "a-b-c"]
    assert {p.name for p in tmp_path.iterdir()} == {
        f"{label}.html", f"{label}_2.html", "a-b-c.html", "experiments.html", "experiments.csv",
    }  # fmt: skip
    hidden = (ds.sst.isnull() & ds.truth.notnull()).values
    error = (found.mean - ds.truth).values[hidden]
    variance = found.variance.values[hidden] + found.context.noise
    np.testing.assert_allclose(table.mae, np.abs(error).mean())
    np.testing.assert_allclose(table.mean_variance, variance.mean())
    assert (table.mean_variance.attrs["units"], table.rmse.attrs["units"]) == ("degC2", "degC")
    assert list(table.probability.values) == ["0.9", "0.9", ""]
    rows = (tmp_path / "experiments.csv").read_text().splitlines()
    assert len(rows) == 4 and rows[0].startswith("run,time_kernel,space_kernel,engine,mask,kind,probability,seed")
    outline = Outline(tmp_path / "experiments.html")
    assert outline.images == ["Scores of the runs"] and "mean variance [°C²]" in outline.cells
    assert {"CRPS [°C]", "coverage of the 95 % interval", rounded(float(table.crps[0]))} <= set(outline.cells)


@pytest.mark.usefixtures("unprinted")
def test_the_table_of_runs_has_three_figures_units_crps_and_coverage(tmp_path: Path) -> None:
    celsius = {"units": "degC"}
    scores = {
        "mae": ("run", [0.123456, 12.0, np.nan], celsius),
        "crps": ("run", [0.0654321, 1234.5, np.nan], celsius),
        "coverage95": ("run", [0.9512, 0.5, np.nan]),
        "mean_variance": ("run", [1.23456e-7, 1e9, np.nan], {"units": "degC2"}),
    }
    _write_comparison(tmp_path / "c.html", xr.Dataset(scores, {"run": ["a", "b", "c"]}), "Runs")
    assert Outline(tmp_path / "c.html").cells == [
        "MAE [°C]", "CRPS [°C]", "coverage of the 95 % interval", "mean variance [°C²]", "run",
        "0.123", "0.0654", "0.951", "1.23 × 10⁻⁷", "a",
        "12.0", "1230", "0.500", "1.00 × 10⁹", "b",
        "none", "none", "none", "none", "c",
    ]  # fmt: skip


@pytest.mark.usefixtures("unprinted")
def test_runs_are_taken_one_at_a_time(found: Reconstruction, ds: xr.Dataset, tmp_path: Path) -> None:
    alive: list[weakref.ref[Any]] = []

    class Kept(Reconstruction):
        """One that can be watched."""

    def runs() -> Iterator[xgpfill.Experiment]:
        for _ in range(3):
            run = xgpfill.Experiment(Kept(found.mean.copy(), found.variance, found.context))
            alive.append(weakref.ref(run))
            yield run
            del run
            assert sum(ref() is not None for ref in alive[:-1]) == 0

    xgpfill.report_experiments(tmp_path, runs(), ds.truth, format="html", frames=0)
    assert len(alive) == 3


@pytest.mark.usefixtures("unprinted")
def test_a_run_without_truth_has_no_scores_but_a_report(found: Reconstruction, tmp_path: Path) -> None:
    table = xgpfill.report_experiments(tmp_path, [found], format="html", frames=0)
    assert list(table.run.values) == ["matern32-matern32_exact"]
    assert "mae" not in table


@pytest.mark.parametrize(
    ("name", "safe"), [("../etc/passwd", "etc-passwd"), ("a b:c*?", "a-b-c"), ("///", "run"), ("x" * 300, "x" * 150)]
)
def test_names_of_files_are_made_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"folder": "none"}, r"There is no folder .*none"),
        ({"runs": []}, "There is no run to report"),
        ({"runs": [3]}, r"A run is a int; expected an xgpfill\.Experiment"),
        ({"format": "docx"}, r"format='docx': choose one of 'pdf', 'html'"),
    ],
)
def test_a_batch_that_cannot_be_reported_is_refused(found, tmp_path: Path, change: Any, match: str) -> None:
    folder = tmp_path / change.get("folder", "")
    with pytest.raises(XgpfillError, match=match):
        xgpfill.report_experiments(folder, change.get("runs", [found]), format=change.get("format", "pdf"))
