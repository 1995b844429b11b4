"""What is said while work goes on, in a line, to a logger, and when it is interrupted."""

from __future__ import annotations

import inspect
import logging
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import dask
import numpy as np
import pytest
import xgpfill
from xgpfill.engines.lattice import system
from xgpfill.options import interruptible, status_line
from xgpfill.tiling.solve import TileSolver

if TYPE_CHECKING:
    import xarray as xr
    from xgpfill.model import FittedModel


@pytest.fixture(scope="module")
def iterative(ds: xr.Dataset, model: FittedModel) -> FittedModel:
    known = {"hyperparameters": model.hyperparameters, "valid": ds.valid}
    return ds.sst.gpfill.fit(method=xgpfill.Iterative(max_steps=77), **known)


# A line that says how far it has come


def test_a_watched_solve_says_that_it_sets_up_and_how_many_steps_it_has_taken(iterative, capsys) -> None:
    iterative.condition(iterative.layout.template).reconstruct(progress=True)
    said = capsys.readouterr().err
    assert said.index("Setting up: neighbours of the observations") < said.index("Solving: 1 of at most 77 steps")


def test_averages_are_watched_too(iterative: FittedModel, capsys, monkeypatch) -> None:
    monkeypatch.setattr("xgpfill.posterior.averages.show_progress", lambda _: True)
    iterative.reconstruct(variance=False, progress=False).average(("lat", "lon"))
    said = capsys.readouterr().err
    assert "Averaging" in said and "Solving: 1 of at most 77 steps" in said


def test_samples_and_predictions_are_watched_too(iterative: FittedModel, capsys, monkeypatch) -> None:
    monkeypatch.setattr("xgpfill.posterior.points.show_progress", lambda _: True)
    monkeypatch.setattr("xgpfill.posterior.targets.show_progress", lambda _: True)
    found = None
    for call in ("sample", "predict", "average"):
        fresh = iterative.condition(iterative.layout.template)
        if call == "sample":
            fresh.sample(2, progress=True)
        elif call == "predict":
            found = fresh.predict({"lat": [40.0, 41.0]})
        else:
            assert found is not None
            found.average("lat")
        said = capsys.readouterr().err
        assert "Setting up: neighbours" in said and "Solving: 1 of at most 77 steps" in said, call


def test_a_line_that_is_off_prints_nothing(capsys) -> None:
    with status_line("Working", show=False) as say:
        say("Still working")
    assert capsys.readouterr() == ("", "")


# A logger


def test_a_standard_logger_tells_what_was_chosen_and_how_long_it_took(ds: xr.Dataset, model, caplog) -> None:
    with caplog.at_level(logging.INFO, logger="xgpfill"):
        known = {"hyperparameters": model.hyperparameters, "valid": ds.valid}
        ds.sst.gpfill.fit(method="exact", **known).reconstruct()
    told = [record.getMessage() for record in caplog.records]
    assert told[0].startswith("fitted 'sst': ") and "named by `method=`; 0 evaluations in " in told[0]
    assert any(line.startswith("solved tile (0, 0, 0), 576 cells, in ") for line in told)
    assert all(record.name.startswith("xgpfill.") for record in caplog.records)


def test_nothing_is_logged_unless_asked(ds: xr.Dataset, model: FittedModel, capsys) -> None:
    model.reconstruct()
    assert capsys.readouterr() == ("", "")
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("xgpfill").handlers)


# Ctrl-C

PACKAGE = str(Path(xgpfill.__file__).parent)


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("verb", ["reconstruct", "predict", "sample", "aggregate", "average", "mean", "fill"])
def test_an_interrupt_leaves_a_short_traceback(ds: xr.Dataset, model: FittedModel, monkeypatch, verb: str) -> None:
    found = model.reconstruct()
    calls = {
        "reconstruct": model.reconstruct,
        "predict": lambda: model.predict({"lat": 40.0, "lon": 3.0}),
        "sample": model.sample,
        "aggregate": lambda: model.aggregate(ds.valid),
        "average": found.average,
    }
    calls |= {
        "mean": found.resample(time="4D").mean,
        "fill": lambda: ds.sst.gpfill.fill(valid=ds.valid, method="exact"),
    }
    monkeypatch.setattr(TileSolver, "posterior", interrupted)
    with pytest.raises(KeyboardInterrupt, match=rf"`{verb}` was interrupted; nothing was changed") as caught:
        calls[verb]()
    ours = [f for f in traceback.extract_tb(caught.value.__traceback__) if f.filename.startswith(PACKAGE)]
    assert len(ours) == 1 and caught.value.__suppress_context__


def test_an_interrupt_of_learning_and_of_lazy_work_is_as_short(ds: xr.Dataset, model, iterative, monkeypatch) -> None:
    lazy = iterative.condition(ds.sst.chunk(time=3)).reconstruct()
    monkeypatch.setattr(system, "conjugate_gradients", interrupted)
    monkeypatch.setattr("xgpfill.learning.steps.learn", interrupted)
    with dask.config.set(scheduler="synchronous"), pytest.raises(KeyboardInterrupt, match="`compute` was interrupted"):
        lazy.compute()
    with pytest.raises(KeyboardInterrupt, match="`fit` was interrupted"):
        ds.sst.gpfill.fit(valid=ds.valid)
    assert np.isfinite(model.reconstruct().mean.where(ds.valid, 0.0)).all()


@pytest.mark.parametrize("verb", ["reconstruct", "sample", "to_netcdf", "to_zarr", "report"])
def test_an_interrupt_of_several_variables_and_of_writing_is_as_short(ds, model, tmp_path, monkeypatch, verb) -> None:
    both = xgpfill.FittedDataset({"sst": model})
    lazy = model.condition(ds.sst.chunk(time=3)).reconstruct()
    calls = {
        "reconstruct": both.reconstruct,
        "sample": both.sample,
        "to_netcdf": lambda: lazy.to_netcdf(tmp_path / "out.nc"),
        "to_zarr": lambda: lazy.to_zarr(tmp_path / "out.zarr"),
        "report": lambda: lazy.report(tmp_path / "out.html"),
    }
    monkeypatch.setattr(TileSolver, "posterior", interrupted)
    with (
        dask.config.set(scheduler="synchronous"),
        pytest.raises(KeyboardInterrupt, match=f"`{verb}` was interrupted") as caught,
    ):
        calls[verb]()
    ours = [f for f in traceback.extract_tb(caught.value.__traceback__) if f.filename.startswith(PACKAGE)]
    assert len(ours) == 1 and not list(tmp_path.iterdir())


def test_what_can_be_interrupted_keeps_its_name_arguments_and_text() -> None:
    @interruptible
    def verb(a: int, *, b: int = 2) -> int:
        """Add."""
        return a + b

    assert verb(1, b=3) == 4 and verb.__name__ == "verb" and verb.__doc__ == "Add."
    assert list(inspect.signature(verb).parameters) == ["a", "b"]
