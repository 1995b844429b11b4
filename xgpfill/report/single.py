"""The report of one reconstruction: which pages, in which order. Files are written elsewhere."""

from __future__ import annotations

import datetime as dt
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill import plotting
from xgpfill.description import describe
from xgpfill.description.text import SUGGESTED, heading, sections
from xgpfill.errors import AlignmentError, XgpfillError, shown
from xgpfill.files import checked_place
from xgpfill.grid.dims import find_roles
from xgpfill.grid.vertical.axis import DEPTH
from xgpfill.options import progress_bar, show_progress
from xgpfill.plotting._layout import sites_of
from xgpfill.report.document import Document, checked_suffix, opened, titled
from xgpfill.report.source import chosen, evaluated, frames_of, leading_dims
from xgpfill.report.typesetting import Section
from xgpfill.scoring import check_variables, on_grid_of
from xgpfill.words import label_of, name_of, typeset, units_of, with_units

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from xgpfill.report.source import Frame
    from xgpfill.report.summary import ModelSummary
    from xgpfill.results import Reconstruction

MOST_NUMBERS = 12
"""Numbers of one hyperparameter that are written one by one."""
SPREAD_KINDS = {"latent": "of the field itself", "observed": "of a new observation of it"}


def report(
    found: Reconstruction,
    path: str | Path,
    truth: Any = None,
    *,
    frames: Any = None,
    model: Any = None,
    title: str | None = None,
    progress: bool | None = None,
) -> None:
    """Write the report of a reconstruction; see :meth:`xgpfill.results.Reconstruction.report`."""
    checked_suffix(path)
    beside = checked_place(path).parent
    if title is not None and not isinstance(title, str):
        raise XgpfillError(f"title={shown(title)}: expected text, e.g. `title='SST of April'`.")
    if model is not None and not hasattr(model, "summary"):
        raise XgpfillError(f"model={shown(model)}: expected the fitted model, e.g. `report(path, model=model)`.")
    summary = None if model is None else model.summary
    for part in split(found, truth, summary):
        part.wanted(frames)  # refused before anything is evaluated
    with prepared(found, truth, summary, beside) as parts:
        write(path, parts, frames=frames, title=title, progress=progress)


@contextmanager
def prepared(found: Reconstruction, truth: Any, summary: ModelSummary | None, beside: Path) -> Iterator[list[Part]]:
    """The variables of a reconstruction with lazy fields evaluated, each tile once."""
    with ExitStack() as stack:
        parts = list(split(found, truth, summary))
        yield [part.replaced(stack.enter_context(evaluated(part.found, beside))) for part in parts]


def write(path: str | Path, parts: Sequence[Part], *, frames: Any, title: str | None, progress: bool | None) -> None:
    """All parts into one document."""
    total = sum(len(part.wanted(frames)) for part in parts)
    whole = title or f"Reconstruction of {', '.join(part.name for part in parts)}"
    with opened(path, whole) as document, progress_bar("Report", show_progress(progress), total=total) as step:
        for part in parts:
            write_part(document, part, frames, title or f"Reconstruction of {part.name}", step)


class Part:
    """One variable of a reconstruction with its truth and the summary of its model."""

    def __init__(self, found: Reconstruction, truth: xr.DataArray | None, summary: ModelSummary | None) -> None:
        self.found, self.truth, self.summary = found, truth, summary
        if found.variance is None:
            raise XgpfillError("A report needs the variance. Ask for it: `model.reconstruct(variance=True)`.")
        if truth is not None:
            self.truth = _aligned(truth, found.mean)

    def replaced(self, found: Reconstruction) -> Part:
        """The same with other fields."""
        return Part(found, self.truth, self.summary)

    @property
    def name(self) -> str:
        """Of the variable."""
        return str(self.found.mean.name or "field")

    @property
    def dims(self) -> Mapping[str, Hashable]:
        """The fitted dimensions by role."""
        if self.summary is not None:  # of a level that was selected as well
            present = self.found.mean.dims
            return {role: name for role, name in self.summary.dims.items() if role != DEPTH or name in present}
        return find_roles(self.found.mean, None).by_role

    @property
    def valid(self) -> xr.DataArray | bool | None:
        """Where the field exists, in memory."""
        valid = None if self.summary is None else self.summary.valid
        return valid.compute() if isinstance(valid, xr.DataArray) else valid

    @property
    def leading(self) -> tuple[Hashable, ...]:
        """The dimensions that tell frames apart."""
        return leading_dims(self.found.mean, self.dims)

    def wanted(self, frames: Any) -> Any:
        """Positions of the frames that get a page."""
        count = int(np.prod([self.found.mean.sizes[d] for d in self.leading], dtype=int))
        return chosen(count, frames)


def split(found: Reconstruction, truth: Any, summary: ModelSummary | None) -> Iterator[Part]:
    """A reconstruction by variable."""
    known = found._context.model if summary is None else summary
    if truth is not None:
        check_variables(truth, found.mean, "report(path, truth")
    if not isinstance(found.mean, xr.Dataset):
        yield Part(found, truth, known)
        return
    for name in found.mean.data_vars:
        if found.variance is None:
            raise XgpfillError("A report needs the variance. Ask for it: `model.reconstruct(variance=True)`.")
        mean, variance, noise, observed = found._parts(name)
        own = known.get(name) if isinstance(known, dict) else known
        context = type(found._context)(observed, noise, found._context.variance_kind, own)
        yield Part(type(found)(mean, variance, context), None if truth is None else truth[name], own)


def _aligned(truth: xr.DataArray, mean: xr.DataArray) -> xr.DataArray:
    """The truth on the cells of the reconstruction."""
    truth = on_grid_of(truth, mean)
    if set(truth.dims) != set(mean.dims):
        raise AlignmentError(
            f"`truth` has the dimensions {tuple(truth.dims)}, the reconstruction {tuple(mean.dims)}. Give one value "
            f"for every cell, e.g. `truth.broadcast_like(mean)`."
        )
    return truth.transpose(*mean.dims)


def write_part(document: Document, part: Part, frames: Any, title: str, step: Callable[[], None]) -> None:
    """All pages of one variable."""
    overall = part.found.score(part.truth).compute() if part.truth is not None else None
    document.text(title, summary_sections(part, overall))
    observed = part.found._context.observed
    told = describe(observed, dims=dict(part.dims) or None, valid=part.valid)
    document.text(
        f"The data: {heading(told)}", [Section(name, list(rows)) for name, rows in sections(told) if name != SUGGESTED]
    )
    covariance = xr.Dataset() if part.summary is None else part.summary.covariance()
    if {"time_covariance", "space_covariance"} & set(covariance):
        document.figure("Learned covariance", titled(plotting.covariance(covariance), "Learned covariance"))
    if (time := part.dims.get("time")) is not None and part.found.mean.sizes[time] > 1:
        panels = over_time_panels(part, time, told.over_time)
        document.figure("Over time", titled(plotting.over_time(*panels, dim=time), "Over time"))
    write_frames(document, part, frames, step)


def summary_sections(part: Part, overall: xr.Dataset | None) -> list[Section]:
    """The first page: what, when, with which covariance, how well."""
    found, summary = part.found, part.summary
    sizes = ", ".join(f"{d} {n}" for d, n in found.mean.sizes.items())
    kind = found._context.variance_kind
    now = dt.datetime.now(tz=dt.UTC)
    what: list[tuple[str, ...]] = [
        ("variable", label_of(found.mean) or part.name),
        ("cells", sizes),
        ("variance", f"{kind}: {SPREAD_KINDS[kind]}"),
        ("written", f"{now:%Y-%m-%d %H:%M} UTC, xgpfill {sys.modules['xgpfill'].__version__}"),
    ]
    made = [Section("What", what)]
    if overall is not None:
        made.append(Section("Scores on cells that were not observed", score_rows(overall)))
    if summary is not None:
        made.append(Section("Model", [("fitted", summary.heading), *summary.facts.items()]))
        made.append(
            Section("Covariance", [(name, typeset(std), *axes) for name, std, *axes in summary.table], summary.headings)
        )
        if summary.notes:
            made.append(Section("Notes", [("!", note) for note in summary.notes]))
        made.append(Section("Hyperparameters", hyperparameter_rows(summary.hyperparameters)))
    return made


def hyperparameter_rows(table: xr.Dataset) -> list[tuple[str, ...]]:
    """Every hyperparameter of every term with its units; what a term has not is left out."""
    rows: list[tuple[str, ...]] = []
    for name, values in table.data_vars.items():
        units = units_of(values)
        if "term" not in values.dims:
            rows.append((str(name).replace("_", " "), with_units(_in_short(np.ravel(values.values)), units)))
            continue
        for term in values["term"].values:
            numbers = np.atleast_1d(values.sel(term=term).values)
            written = " ".join(f"{n:.5g}" for n in numbers[np.isfinite(numbers)])
            if written:
                rows.append((f"{term} {name}".replace("_", " "), with_units(written, units)))
    return rows


def _in_short(numbers: Any) -> str:
    """A few numbers, or how many there are and between which they lie."""
    if numbers.size <= MOST_NUMBERS:
        return " ".join(f"{number:.5g}" for number in numbers)
    return f"{numbers.size} numbers from {numbers.min():.3g} to {numbers.max():.3g}"


def score_rows(scores: xr.Dataset) -> list[tuple[str, ...]]:
    """Scores with their names and units."""
    return [
        (name_of(score), with_units(f"{float(score):.5g}", units_of(score)))
        for score in scores.data_vars.values()
        if score.ndim == 0
    ]


def over_time_panels(part: Part, time: Hashable, gaps: xr.DataArray | None) -> list[xr.Dataset]:
    """Errors and spread of every step, and the share of gaps."""
    found, units = part.found, units_of(part.found.mean)
    others = [d for d in found.mean.dims if d != time]
    ds = xr.Dataset()
    if part.truth is not None:
        ds = found.score(part.truth, dim=others)[["rmse", "mae", "bias"]]
    spread = (found._observed_std(None) ** 2).mean(others) ** 0.5
    ds["spread"] = spread.assign_attrs(long_name="root mean variance, with noise", units=units)
    told = "spread" if part.truth is None else "error and spread"
    panels = [ds.compute().assign_attrs(long_name=told)]
    if gaps is not None:
        panels.append(xr.Dataset({"gaps": (100 * gaps).assign_attrs(long_name="share of gaps", units="%")}))
    return panels


def write_frames(document: Document, part: Part, frames: Any, step: Callable[[], None]) -> None:
    """A page for every wanted frame."""
    for frame in frames_of(part.found, part.truth, part.leading, part.wanted(frames)):
        title = f"{part.name} {frame.title}".strip()
        document.figure(title, frame_figure(frame, part, title))
        step()


def frame_figure(frame: Frame, part: Part, title: str) -> Figure:
    """Truth or observations, mean, standard deviation and error of a frame; a curve where there is one axis."""
    fields = frame.fields
    mean, truth = fields["mean"], fields.get("truth")
    if mean.ndim < 2 and sites_of(mean) is None:
        return _curve({k: da.expand_dims("point") if da.ndim == 0 else da for k, da in fields.items()}, title)
    error = None if truth is None else (mean - truth).assign_attrs(units=units_of(mean))
    first = fields["observed"] if truth is None else truth
    valid = part.valid
    own = None
    if isinstance(valid, xr.DataArray):
        place = {d: mean.coords[d] for d in valid.dims if d in mean.coords and d not in mean.dims}
        own = valid.sel(place).broadcast_like(mean).transpose(*mean.dims)
    known = {} if truth is None else {"observed": fields["observed"]}
    return plotting.comparison(first, mean, fields["std"], error=error, valid=own, title=title, **known)


def _curve(fields: dict[str, xr.DataArray], title: str) -> Figure:
    """A field along its one axis, with its bands, observed and true values."""
    import matplotlib.pyplot as plt

    mean, truth = fields["mean"], fields.get("truth")
    variance = (fields["spread"] ** 2).assign_attrs(variance_kind="observed")
    figure, ax = plt.subplots(figsize=(10.5, 5.5), layout="constrained")
    if mean.notnull().any():
        (dim,) = mean.dims
        plotting.series(mean=mean, variance=variance, observed=fields["observed"], truth=truth, dim=dim, ax=ax)
        ax.set_title("")  # the page says where
    else:
        ax.text(0.5, 0.5, "no values", ha="center", transform=ax.transAxes)
    figure.suptitle(title)
    return figure
