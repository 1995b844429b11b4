"""A fitted model in short: what is told of it when it is shown, and what its reconstructions remember."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xgpfill import hyperparameters as tables
from xgpfill.report.summary import ModelSummary
from xgpfill.words import squared, units_of

if TYPE_CHECKING:
    from xgpfill.model import FittedModel


def summarised(model: FittedModel) -> ModelSummary:
    """The model in short, as plain data."""
    record, units = model.record, units_of(model.layout.template)
    table = tables.rows(model.prior, model.lattice, units, noise_is_scale=model.errors is not None)
    computed = "{dtype} on {device}, seed {seed}".format_map(model.options)
    facts = {"engine": record.choice or str(model.settings), "computed": computed}
    if record.evaluations:
        facts["learning"] = (
            f"{record.seconds:.1f} s, {record.evaluations} evaluations of the likelihood, composite "
            f"log-likelihood {record.log_likelihood:.4g} per observation"
        )
    times, places = model.learned_shape
    return ModelSummary(
        heading=_heading(model), table=table, hyperparameters=model.hyperparameters, prior=model.prior,
        engine=type(model.settings).__name__.lower(), facts=facts, notes=_notes(model),
        dims=model.layout.roles.by_role, valid=model.valid,
        extents=(
            None if times == 1 else model.lattice.time_extent,
            None if places == 1 else model.lattice.space.extent,
        ),
        noise=tables.noise_variance(model.hyperparameters, model.errors, model.typical_error, units),
        units=squared(units), space_unit=model.lattice.space.unit,
    )  # fmt: skip


def _heading(model: FittedModel) -> str:
    name, sizes = model.layout.template.name, dict(model.layout.template.sizes)
    engine = type(model.settings).__name__.lower()
    return f"xgpfill.FittedModel of {name!r} {sizes}, {engine} engine, {model.lattice.space.geometry}"


def _notes(model: FittedModel) -> list[str]:
    loose = tables.unidentified(model.prior, model.lattice)
    notes = [] if model.has_data else ["Loaded without data: `condition` it on observations first."]
    if abs(model.record.calibration - 1.0) >= 0.05:
        notes.append(
            f"Variances include a factor of {model.record.calibration:.2f}, calibrated on hidden observations."
        )
    if loose:
        notes.append(
            f"Lengthscale beyond half the extent: variance and lengthscale not separately identified "
            f"({', '.join(loose)})."
        )
    return [*notes, *_checked(model)]


def _checked(model: FittedModel) -> list[str]:
    """What the last check of its answers found, if there was one."""
    told = model.convergence
    if "probes" not in told:
        return []
    last = told.isel(solve=np.flatnonzero(np.isfinite(told["probes"]))[-1])
    probes, median, worst, mean, bias = (
        float(last[name]) for name in ("probes", "std_error", "worst_std_error", "mean_error", "std_bias")
    )
    exact = (
        f"within {median:.1%} (median) and {worst:.0%} (worst) on {probes:.0f} cells solved exactly, " if probes else ""
    )
    means = f"; means within {mean:.3f} standard deviations" if probes else ""
    return [f"Checked: standard deviations {exact}{bias:+.1%} on the whole{means}."]
