"""Batches of experiments: a report of each, named by what was tried, and one that compares them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.errors import XgpfillError, listed
from xgpfill.files import written_whole
from xgpfill.options import progress_bar, show_progress
from xgpfill.plotting.scores import METRICS, bars, metric_name
from xgpfill.report.document import opened, titled
from xgpfill.report.single import prepared, write
from xgpfill.report.typesetting import Section
from xgpfill.words import bracketed, rounded, units_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from xgpfill.report.source import Fields

FORMATS = ("pdf", "html")
RUNS_ON_A_PAGE = 10


@dataclass(frozen=True, eq=False)
class Experiment:
    """One run: what was reconstructed, behind which mask, against which truth.

    Attributes
    ----------
    reconstruction : Reconstruction
    mask : DataArray or mapping, optional
        The mask, or its attributes ``mask``, ``kind``, ``probability`` and ``seed``; they name the run.
    truth : DataArray, optional
        Of this run; by default that of the batch.
    name : str, optional
        Instead of the one made of kernels, mask, probability and engine.
    """

    reconstruction: Fields
    mask: xr.DataArray | Mapping[str, Any] | None = None
    truth: Any = None
    name: str | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What was tried, as far as it is known."""
        attrs = dict(self.mask.attrs if isinstance(self.mask, xr.DataArray) else self.mask or {})
        summary = self.reconstruction.summary
        facts: dict[str, Any] = {}
        if summary is not None and not isinstance(summary, Mapping):
            facts["time_kernel"], facts["space_kernel"] = summary.kernels
            facts["engine"] = summary.engine
        return facts | {key: attrs[key] for key in ("mask", "kind", "probability", "seed") if key in attrs}

    @property
    def label(self) -> str:
        """Name for a file: ``matern32-matern32_clouds-dynamic_p0.90_variational``."""
        if self.name:
            return safe_name(self.name)
        facts = self.facts
        words = [
            "-".join(str(facts[k]) for k in ("time_kernel", "space_kernel") if k in facts),
            "-".join(str(facts[k]) for k in ("mask", "kind") if k in facts),
            f"p{float(facts['probability']):.2f}" if "probability" in facts else "",
            str(facts.get("engine", "")),
        ]
        return safe_name("_".join(word for word in words if word) or "run")


def safe_name(name: str) -> str:
    """A name that every file system takes.

    Examples
    --------
    >>> safe_name("rbf+periodic / clouds: 90 %"), safe_name("../x")
    ('rbf+periodic-clouds-90', 'x')
    """
    return re.sub(r"[^\w.+-]+", "-", name).strip("-._ ")[:150].strip("-._ ") or "run"


def report_experiments(
    folder: str | Path,
    runs: Iterable[Experiment | Fields],
    truth: Any = None,
    *,
    format: str = "pdf",  # noqa: A002  (the word of `savefig`)
    name: str = "experiments",
    frames: Any = None,
    title: str = "Experiments",
    progress: bool | None = None,
) -> xr.Dataset:
    """Write a report of every run, and one that compares them with bars and a table.

    Runs are taken one at a time, so an iterator that makes each when asked needs the memory of one.

    Parameters
    ----------
    folder : path
        An existing folder. Reports are named by kernels, mask, probability and engine; a name that comes again gets a
        number.
    runs : iterable of Experiment or Reconstruction
    truth : DataArray, optional
        Of the runs that bring none.
    format : {"pdf", "html"}
    name : str
        Of the comparison, ``{name}.pdf`` and the table ``{name}.csv``. The table is written after every run.
    frames : int, slice or positions, optional
        Which frames get a page in each report, as in :meth:`Reconstruction.report`.
    title : str
        Of the comparison.
    progress : bool, optional
        Show a bar over runs.

    Returns
    -------
    Dataset
        On ``run``: mae, rmse (data units), mean_variance (with noise, on the scored cells, units²),
        variance_error_correlation, and the other scores; NaN for a run without truth. What was tried as coordinates.

    Raises
    ------
    XgpfillError
        When the folder does not exist, there is no run, or something else than a run.

    Examples
    --------
    >>> import xgpfill, tempfile, pathlib, matplotlib
    >>> matplotlib.use("Agg")
    >>> ds = xgpfill.datasets.synthetic_sst(days=4, nlat=6, nlon=8)
    >>> found = ds.sst.gpfill.fit(valid=ds.valid, method="exact").reconstruct()
    >>> run = xgpfill.Experiment(found, {"mask": "clouds", "kind": "dynamic", "probability": 0.6})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = xgpfill.report_experiments(folder, [run], ds.truth, format="html", frames=0)
    ...     sorted(path.name for path in pathlib.Path(folder).iterdir())
    ['experiments.csv', 'experiments.html', 'matern32-matern32_clouds-dynamic_p0.60_exact.html']
    """
    folder = _checked_folder(folder, format)
    rows: dict[str, dict[str, Any]] = {}
    units: dict[str, str] = {}
    with progress_bar("Experiments", show_progress(progress), total=None) as step:
        for run in runs:
            experiment = _as_experiment(run)
            label = _free(experiment.label, {*rows, name})
            known = truth if experiment.truth is None else experiment.truth
            with prepared(experiment.reconstruction, known, None, folder) as parts:
                write(folder / f"{label}.{format}", parts, frames=frames, title=label, progress=False)
                alone = known is not None and len(parts) == 1
                scores = parts[0].found.score(known).compute() if alone else xr.Dataset()
            units |= {str(n): units_of(v) for n, v in scores.items()}
            rows[label] = {**experiment.facts, **{str(n): float(v) for n, v in scores.items()}}
            _write_csv(folder / f"{name}.csv", rows)
            step()
    if not rows:
        raise XgpfillError("There is no run to report. Give at least one, e.g. `[xgpfill.Experiment(reconstruction)]`.")
    table = _table(rows, units)
    _write_comparison(folder / f"{name}.{format}", table, title)
    return table


def _checked_folder(folder: str | Path, format: str) -> Path:  # noqa: A002
    if format not in FORMATS:
        raise XgpfillError(f"format={format!r}: choose one of {listed(FORMATS)}.")
    folder = Path(folder)
    if not folder.is_dir():
        raise XgpfillError(
            f"There is no folder {str(folder)!r} to write reports into. Make it first, e.g. "
            f"`pathlib.Path({str(folder)!r}).mkdir(parents=True)`."
        )
    return folder


def _as_experiment(run: Any) -> Experiment:
    if isinstance(run, Experiment):
        return run
    if hasattr(run, "observation_std") and hasattr(run, "score"):
        return Experiment(run)
    raise XgpfillError(
        f"A run is a {type(run).__name__}; expected an xgpfill.Experiment or a Reconstruction, e.g. "
        f"`xgpfill.Experiment(model.reconstruct(), mask)`."
    )


def _free(label: str, taken: set[str]) -> str:
    """The label, with a number when it is taken."""
    number, found = 1, label
    while found in taken:
        number += 1
        found = f"{label}_{number}"
    return found


def _table(rows: dict[str, dict[str, Any]], units: dict[str, str]) -> xr.Dataset:
    """Runs side by side: scores as variables, what was tried as coordinates."""
    ds = xr.Dataset(coords={"run": list(rows)})
    for key in dict.fromkeys(key for row in rows.values() for key in row):
        column = [row.get(key) for row in rows.values()]
        if key in units:
            numbers = np.array([np.nan if value is None else value for value in column], float)
            ds[key] = ("run", numbers, {"units": units[key]} if units[key] else {})
        else:
            ds = ds.assign_coords({key: ("run", ["" if value is None else str(value) for value in column])})
    return ds


def _write_csv(path: Path, rows: dict[str, dict[str, Any]]) -> None:
    import csv

    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    with written_whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["run", *columns], restval="")
        writer.writeheader()
        writer.writerows({"run": label, **row} for label, row in rows.items())


def _write_comparison(path: Path, table: xr.Dataset, title: str) -> None:
    """The table, and bars of a few runs to a page."""
    names = [metric for metric in METRICS if metric in table]
    count = table.sizes["run"]
    with opened(path, title) as document:
        document.text(title, [Section(f"{count} runs", _table_rows(table, names), _heads(table, names))])
        for runs in np.array_split(np.arange(count), -(-count // RUNS_ON_A_PAGE)) if names else []:  # none left alone
            part = table.isel(run=runs)
            document.figure("Scores of the runs", titled(bars(part, metrics=names), "Scores of the runs"))


def _heads(table: xr.Dataset, names: list[str]) -> tuple[str, ...]:
    return (*(bracketed(metric_name(n), units_of(table[n])) for n in names), "run")


def _table_rows(table: xr.Dataset, names: list[str]) -> list[tuple[str, ...]]:
    """The scores of every run, each to three figures."""
    return [(*(rounded(float(table[n].sel(run=run))) for n in names), str(run)) for run in table["run"].values]
