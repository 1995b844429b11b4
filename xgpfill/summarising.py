"""A fitted model in short: what is told of it when it is shown, and what its reconstructions remember."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xgpfill import hyperparameters as tables
from xgpfill.calibration import LEVELS, NORMAL
from xgpfill.metrics import normal_quantile
from xgpfill.report.summary import ModelSummary
from xgpfill.words import squared, units_of, with_units

if TYPE_CHECKING:
    from xgpfill.model import FittedModel

WORTH_SAYING = 0.05
"""Change of a half-width from which on it is told."""


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
    notes += [*_anisotropy(model), *_mean(model), *_amplitude(model), *_intervals(model)]
    if model._jitter:
        notes.append(f"{model._jitter.capitalize()}.")
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


def _anisotropy(model: FittedModel) -> list[str]:
    """How lengthscales differ with the direction, where they do."""
    metric = model.layout.metric
    if metric.anisotropy == 1.0:
        return []
    where = {"sphere": " at the equator, and less so towards the poles", "cylinder": " in degrees"}
    times = f"{metric.anisotropy:.3g} times as long{where.get(metric.geometry, '')}"
    return [f"Anisotropy: lengthscales of space are those to the north; to the east they are {times}."]


def _mean(model: FittedModel) -> list[str]:
    """The mean, where it is known."""
    if not model.prior.centred or model.layout.roles.component is not None:
        return []
    return [f"The mean is known: {with_units(f'{model.scaling.shift:.6g}', units_of(model.layout.template))}."]


def _amplitude(model: FittedModel) -> list[str]:
    """That the field varies more in some places or fields than in others."""
    if not model.has_data or model.scaling.is_uniform:
        return []
    found = model.amplitude
    return [
        f"Local amplitude {float(found.min()):.2g} to {float(found.max()):.2g} times these standard deviations and "
        f"noise: `model.amplitude`."
    ]


def _intervals(model: FittedModel) -> list[str]:
    """How wide intervals are, where that is not as the normal law says."""
    if model.intervals is None:
        return []
    ratios = np.array([model.intervals.curve(i).ratios for i in range(len(model.intervals.ratios))])
    if np.abs(ratios - 1.0).max() < WORTH_SAYING:
        return []
    told = ", ".join(f"{100 * level:g} %: {_span(ratios[:, i])}" for i, level in enumerate(LEVELS))
    return [f"Intervals are calibrated on hidden observations; half-widths relative to the normal law: {told}."]


def _span(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return low if low == high else f"{low} to {high}"


def calibration_table(model: FittedModel) -> xr.Dataset:
    """See :attr:`xgpfill.model.FittedModel.calibration`."""
    found, extra = model.intervals or NORMAL, model.layout.roles.extra
    template, alone = model.layout.template, len((model.intervals or NORMAL).ratios) == 1
    dims = () if alone else extra
    shape = tuple(template.sizes[d] for d in dims)
    normal = np.array([normal_quantile(level) for level in LEVELS])
    half_width = (np.array(found.ratios) * normal).reshape(*shape, len(LEVELS))
    attrs = {"units": "1"}
    table = xr.Dataset(
        {
            "half_width": (
                (*dims, "probability"),
                half_width,
                {"long_name": "half-width in standard deviations", **attrs},
            ),
            "normal_half_width": ("probability", normal, {"long_name": "half-width of the normal law", **attrs}),
            "hidden": (dims, np.reshape(found.counts, shape), {"long_name": "hidden observations"}),
        },
        {"probability": ("probability", list(LEVELS), {"long_name": "probability of the interval"})},
    )
    return table.assign_coords({d: template.coords[d] for d in dims if d in template.coords})
