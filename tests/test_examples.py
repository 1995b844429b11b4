"""What a newcomer runs does run: the notebook, the quickstart, the other examples, the code of README and how-tos."""

from __future__ import annotations

import base64
import importlib
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import pytest
import xarray as xr
from xgpfill.datasets import synthetic_sst

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "first_look.ipynb"
FIGURES = 8
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def code_of(page: Path) -> list[str]:
    """The Python blocks of a page."""
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, but for a file `sst.nc`."""
    monkeypatch.chdir(tmp_path)
    field = synthetic_sst(days=8, nlat=8, nlon=9).sst
    field.fillna(field.mean()).where(field.lon != field.lon[field.time.dt.day % 9]).to_netcdf("sst.nc")
    return tmp_path


# The notebook


@pytest.mark.slow
def test_the_notebook_runs_and_shows_its_pictures(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat  # seconds
    from nbclient import NotebookClient

    monkeypatch.delenv("MPLBACKEND", raising=False)  # pictures go into the notebook
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": here}}).execute()
    shown = [out.data for cell in notebook.cells for out in cell.get("outputs", []) if "data" in out]
    images = [base64.b64decode(data["image/png"]) for data in shown if "image/png" in data]
    assert len(images) == FIGURES
    assert all(len(image) > 8000 for image in images)  # none is blank
    assert sorted(path.name for path in here.iterdir()) == ["sst.nc"]  # its files are in a folder that it removes


def test_the_notebook_is_stored_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert len(cells) > 10
    assert [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []


# Pages


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if code_of(page)], ids=lambda page: page.name)
def test_the_code_of_a_page_runs(page: Path, here: Path) -> None:
    names: dict[str, object] = {}
    try:
        for block in code_of(page):
            exec(compile(block, page.name, "exec"), names)
    finally:
        plt.close("all")
    if page.name == "README.md":
        left = {"filled.nc", "filled.zarr", "model.nc", "own.nc", "sst.pdf", "out"}
        assert left <= {path.name for path in here.iterdir()}
        assert (here / "out" / "experiments.csv").read_text().count("\n") == 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


# The quickstart


@pytest.fixture
def quickstart(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    sys.modules.pop("quickstart", None)
    import quickstart

    return quickstart


def test_the_quickstart_fills_a_file_scores_it_and_leaves_a_map(
    quickstart: ModuleType, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quickstart.main(["sst.nc", "--method", "exact", "--no-progress", "--output", "out"])
    said = capsys.readouterr().out
    assert "xgpfill.FittedModel of 'sst'" in said
    assert all(f"\n{method} " in said for method in ("xgpfill", "linear in time", "persistence", "climatology"))
    assert (here / "out" / "map.png").stat().st_size > 8000
    with xr.open_dataset(here / "out" / "filled.nc") as filled:
        assert {"sst", "sst_variance", "sst_std"} <= set(filled.data_vars)
        assert bool(filled["sst"].notnull().all())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing.nc"], r"There is no 'nothing\.nc'\. Give a netCDF file"),
        (["sst.nc", "--variable", "chlorophyll"], r"There is no variable 'chlorophyll'\. Choose one"),
    ],
)
def test_the_quickstart_says_what_it_lacks(quickstart: ModuleType, here: Path, arguments: list[str], said: str) -> None:
    with pytest.raises(SystemExit, match=said):
        quickstart.main([*arguments, "--output", str(here)])


# The other examples


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "pictures", "said"),
    [
        ("kriging", ["draws", "kernels", "line", "plane", "posterior"], "10000 observations, 10000 targets"),
        ("altimetry", ["maps"], "of the truth within 1.96 standard deviations"),
        ("stations", ["maps", "series"], "of the truth within 1.96 standard deviations"),
    ],
)
def test_an_example_runs_and_leaves_its_pictures(
    name: str, pictures: list[str], said: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    try:
        importlib.import_module(name).main(["--output", "out"])
    finally:
        plt.close("all")
    assert said in capsys.readouterr().out
    assert sorted(path.stem for path in (here / "out").glob("*.png")) == pictures
    assert all(path.stat().st_size > 8000 for path in (here / "out").glob("*.png"))
