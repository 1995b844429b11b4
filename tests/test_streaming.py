"""A reconstruction that is written tile by tile, stopped, and goes on."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import xgpfill
from xgpfill.errors import PlaceTakenError, XgpfillError
from xgpfill.tiling.solve import TileSolver
from xgpfill.tiling.stored import StoredAnswers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from xgpfill.model import FittedModel

TILES: dict[str, Any] = {"tile": {"time": 3}, "halo": 1}


@pytest.fixture(scope="module")
def model(ds: xr.Dataset) -> FittedModel:
    return ds.sst.gpfill.fit(valid=ds.valid, method="exact")


@pytest.fixture
def solved(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Which tiles were solved."""
    found: list[tuple[int, ...]] = []
    true = TileSolver.moments

    def counted(self: TileSolver, tile: Any, seen: Any) -> Any:
        found.append(tile)
        return true(self, tile, seen)

    monkeypatch.setattr(TileSolver, "moments", counted)
    return found


def stopped(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Every tile beyond the first few is interrupted."""
    true, count = TileSolver.moments, [0]

    def interrupted(self: TileSolver, tile: Any, seen: Any) -> Any:
        count[0] += 1
        if count[0] > after:
            raise KeyboardInterrupt
        return true(self, tile, seen)

    monkeypatch.setattr(TileSolver, "moments", interrupted)


@pytest.mark.parametrize("name", ["found.zarr", "found.nc"])
@pytest.mark.parametrize("lazy", [False, True])
def test_what_is_written_is_the_reconstruction(ds, model: FittedModel, tmp_path: Path, name: str, lazy: bool) -> None:
    own = model.condition(ds.sst.chunk(time=4)) if lazy else model
    own.reconstruct_to(tmp_path / name, **TILES)
    expected = model.reconstruct(**TILES).to_dataset()
    with xr.open_dataset(tmp_path / name) as found:
        assert set(found.data_vars) == set(expected.data_vars)
        for variable in expected.data_vars:
            assert found[variable].dims == expected[variable].dims and found[variable].attrs == expected[variable].attrs
            np.testing.assert_allclose(found[variable], expected[variable], rtol=1e-9)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_run_that_was_stopped_goes_on_and_ends_as_one_that_was_not(model, tmp_path: Path, monkeypatch) -> None:
    with monkeypatch.context() as patch, dask.config.set(scheduler="synchronous"):
        stopped(patch, after=2)
        with pytest.raises(KeyboardInterrupt):
            model.reconstruct_to(tmp_path / "out.zarr", **TILES)
    assert {p.name for p in tmp_path.iterdir()} == {"out.zarr.tiles"}
    with monkeypatch.context() as patch, dask.config.set(scheduler="synchronous"):
        stopped(patch, after=0)
        with pytest.raises(KeyboardInterrupt, match=r"2 finished tiles are kept in .*Type the same line again"):
            model.reconstruct_to(tmp_path / "out.zarr", **TILES)
        with pytest.raises(KeyboardInterrupt, match=r"before a tile was finished; nothing was changed"):
            model.reconstruct_to(tmp_path / "other.zarr", **TILES)
    assert {p.name for p in tmp_path.iterdir()} == {"out.zarr.tiles"}
    assert len(list((tmp_path / "out.zarr.tiles").glob("*.npy"))) == 2
    solved: list[Any] = []
    true = TileSolver.moments
    monkeypatch.setattr(TileSolver, "moments", lambda s, t, o: solved.append(t) or true(s, t, o))
    with dask.config.set(scheduler="synchronous"):
        model.reconstruct_to(tmp_path / "out.zarr", **TILES)
        assert len(solved) == 1  # of three
        model.reconstruct_to(tmp_path / "whole.zarr", **TILES)
    assert len(solved) == 4
    with xr.open_zarr(tmp_path / "out.zarr") as found, xr.open_zarr(tmp_path / "whole.zarr") as whole:
        xr.testing.assert_identical(found.load(), whole.load())


def test_a_model_read_from_a_file_goes_on_where_another_process_was(model, tmp_path: Path, monkeypatch, solved) -> None:
    with monkeypatch.context() as patch, dask.config.set(scheduler="synchronous"):
        stopped(patch, after=1)
        with pytest.raises(KeyboardInterrupt):
            model.reconstruct_to(tmp_path / "out.nc", **TILES)
    solved.clear()
    model.save(tmp_path / "model.nc")
    xgpfill.load(tmp_path / "model.nc").reconstruct_to(tmp_path / "out.nc", **TILES)
    assert len(solved) == 2


@pytest.mark.parametrize("change", ["data", "tiles", "noise", "anew"])
def test_tiles_of_other_data_settings_or_tiles_are_never_taken(
    ds, model, tmp_path, monkeypatch, solved, change
) -> None:
    with monkeypatch.context() as patch, dask.config.set(scheduler="synchronous"):
        stopped(patch, after=2)
        with pytest.raises(KeyboardInterrupt):
            model.reconstruct_to(tmp_path / "out.zarr", **TILES)
    solved.clear()
    other, how = model, dict(TILES)
    if change == "data":
        moved = ds.sst.where(ds.time > ds.time[0], ds.sst + 0.01)
        other = model.condition(moved, calibrate=False)
    elif change == "noise":
        known = model.hyperparameters.assign(noise=2 * model.hyperparameters.noise)
        other = ds.sst.gpfill.fit(valid=ds.valid, method="exact", hyperparameters=known)
    elif change == "tiles":
        how["halo"] = 2
    else:
        how["resume"] = False
    other.reconstruct_to(tmp_path / "out.zarr", **how)
    assert len(solved) == 3
    expected = other.reconstruct(tile=how["tile"], halo=how["halo"])
    with xr.open_zarr(tmp_path / "out.zarr") as found:
        np.testing.assert_allclose(found.sst, expected.mean, rtol=1e-9)


def test_levels_with_scales_of_their_own(ds: xr.Dataset, tmp_path: Path) -> None:
    levels = xr.concat([ds.sst, 5 * ds.sst - 60.0], pd.Index([0, 10], name="depth"))
    model = levels.gpfill.fit(valid=ds.valid, method="exact")
    model.reconstruct_to(tmp_path / "out.zarr", **TILES)
    with xr.open_zarr(tmp_path / "out.zarr") as found:
        np.testing.assert_allclose(found.sst, model.reconstruct(**TILES).mean, rtol=1e-9)


def test_nothing_is_replaced_unless_asked_and_not_before_all_is_ready(model, tmp_path: Path, monkeypatch) -> None:
    place = tmp_path / "out.zarr"
    model.reconstruct_to(place, variance=False)
    with pytest.raises(PlaceTakenError, match=r"mode='w-'"):
        model.reconstruct_to(place, **TILES)
    with monkeypatch.context() as patch, dask.config.set(scheduler="synchronous"):
        stopped(patch, after=1)
        with pytest.raises(KeyboardInterrupt):
            model.reconstruct_to(place, mode="w", **TILES)
    with xr.open_zarr(place) as before:
        assert "sst_variance" not in before
    model.reconstruct_to(place, mode="w", **TILES)
    with xr.open_zarr(place) as after:
        assert "sst_variance" in after


def test_never_onto_what_the_data_come_from(ds: xr.Dataset, model: FittedModel, tmp_path: Path) -> None:
    ds[["sst"]].drop_encoding().to_zarr(tmp_path / "raw.zarr", consolidated=False)
    own = model.condition(xr.open_zarr(tmp_path / "raw.zarr", consolidated=False).sst)
    with pytest.raises(XgpfillError, match=r"data come from"):
        own.reconstruct_to(tmp_path / "raw.zarr", mode="w")


def test_a_folder_of_that_name_with_other_things_in_it_is_left_alone(model: FittedModel, tmp_path: Path) -> None:
    (tmp_path / "out.zarr.tiles").mkdir()
    (tmp_path / "out.zarr.tiles" / "thesis.tex").touch()
    for resume in (True, False):
        with pytest.raises(XgpfillError, match=r"holds other things: 'thesis\.tex'.*Move them"):
            model.reconstruct_to(tmp_path / "out.zarr", resume=resume)
    assert (tmp_path / "out.zarr.tiles" / "thesis.tex").exists()


def test_what_is_in_the_way_is_told_or_replaced(model: FittedModel, tmp_path: Path) -> None:
    (tmp_path / "a.zarr.tiles").touch()
    with pytest.raises(XgpfillError, match=r"is a file, and the folder of that name.*Move it"):
        model.reconstruct_to(tmp_path / "a.zarr")
    (tmp_path / "b.zarr").write_text("a file")
    model.reconstruct_to(tmp_path / "b.zarr", mode="w", **TILES)
    assert (tmp_path / "b.zarr").is_dir() and {p.name for p in tmp_path.iterdir()} == {"a.zarr.tiles", "b.zarr"}


def test_a_field_without_a_name_has_none_in_files_either(ds: xr.Dataset, model: FittedModel, tmp_path: Path) -> None:
    bare = ds.sst.rename(None)
    known = {"valid": ds.valid, "method": "exact", "hyperparameters": model.hyperparameters}
    bare.gpfill.fit(**known).reconstruct_to(tmp_path / "out.nc", **TILES)
    lazy = bare.chunk(time=4).gpfill.fit(**known).reconstruct(**TILES).to_dataset()
    with xr.open_dataset(tmp_path / "out.nc") as found:
        assert set(found.data_vars) == set(lazy.data_vars) == set(bare.gpfill.fit(**known).reconstruct().to_dataset())


def test_a_relative_path_is_the_same_place_for_workers_elsewhere(model, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    true = StoredAnswers.get

    def elsewhere(self: StoredAnswers, key: str, make: Any) -> Any:
        assert self.folder.is_absolute()
        return true(self, key, make)

    monkeypatch.setattr(StoredAnswers, "get", elsewhere)
    model.reconstruct_to("out.zarr", **TILES)
    assert [p.name for p in tmp_path.iterdir()] == ["out.zarr"]


def test_memory_is_no_part_of_what_tells_tiles_apart(model: FittedModel, monkeypatch) -> None:
    one = model.solver({"time": 3}, 1).identity
    model._solvers.clear()
    monkeypatch.setattr("xgpfill.posterior.state.settings_of_all", lambda *_: None)
    assert model.solver({"time": 3}, 1).identity == one
    model._solvers.clear()
    assert model.solver({"time": 4}, 1).identity != one
    model._solvers.clear()


def test_a_stored_answer_that_is_broken_is_made_again(tmp_path: Path) -> None:
    answers, made = StoredAnswers(tmp_path), []

    def make() -> np.ndarray:
        made.append(1)
        return np.arange(5.0)

    for _ in range(2):
        np.testing.assert_array_equal(answers.get("a", make), np.arange(5.0))
    assert len(made) == 1
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-9])
    np.testing.assert_array_equal(answers.get("a", make), np.arange(5.0))
    assert len(made) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["a.npy"]


def test_a_stored_file_is_never_executed(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.testing.assert_array_equal(StoredAnswers(tmp_path).get("a", lambda: np.zeros(2)), np.zeros(2))


def test_a_bar_counts_the_tiles(model: FittedModel, tmp_path: Path, monkeypatch) -> None:
    steps: list[int] = []

    @contextmanager
    def counted(title: str, show: bool, *, total: int) -> Iterator[Any]:
        assert (title, show, total) == ("Reconstructing", True, 3)
        yield lambda: steps.append(1)

    monkeypatch.setattr("xgpfill.storage.streaming.progress_bar", counted)
    model.reconstruct_to(tmp_path / "out.zarr", progress=True, **TILES)
    assert len(steps) == 3
