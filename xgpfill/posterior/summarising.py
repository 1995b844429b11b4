"""A fitted model in short: what is told of it when it is shown, and what its reconstructions remember."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xgpfill.kernels import hyperparameters as tables
from xgpfill.metrics import normal_quantile
from xgpfill.metrics.calibration import LEVELS, NORMAL
from xgpfill.posterior.amplitude import amplitude
from xgpfill.report.summary import ModelSummary
from xgpfill.words import squared, units_of, with_units

if TYPE_CHECKING:
    from xgpfill.posterior.state import State

WORTH_SAYING = 0.05
"""Change of a half-width from which on it is told."""


def summarised(state: State) -> ModelSummary:
    """The model in short, as plain data."""
    record, units = state.record, units_of(state.layout.template)
    table = tables.rows(state.prior, state.lattice, units, noise_is_scale=state.errors is not None)
    computed = "{dtype} on {device}, seed {seed}".format_map(state.options)
    facts = {"engine": record.choice or str(state.settings), "computed": computed}
    if record.evaluations:
        facts["learning"] = (
            f"{record.seconds:.1f} s, {record.evaluations} evaluations of the likelihood, composite "
            f"log-likelihood {record.log_likelihood:.4g} per observation"
        )
    times, places = state.learned_shape
    return ModelSummary(
        heading=_heading(state), table=table, hyperparameters=state.hyperparameters, prior=state.prior,
        engine=type(state.settings).__name__.lower(), facts=facts, notes=_notes(state),
        dims=state.layout.roles.by_role, valid=state.valid,
        extents=(
            None if times == 1 else state.lattice.time_extent,
            None if places == 1 else state.lattice.space.extent,
        ),
        noise=tables.noise_variance(state.hyperparameters, state.errors, state.typical_error, units),
        units=squared(units), space_unit=state.lattice.space.unit,
    )  # fmt: skip


def _heading(state: State) -> str:
    name, sizes = state.layout.template.name, dict(state.layout.template.sizes)
    engine = type(state.settings).__name__.lower()
    return f"xgpfill.FittedModel of {name!r} {sizes}, {engine} engine, {state.lattice.space.geometry}"


def _notes(state: State) -> list[str]:
    loose = tables.unidentified(state.prior, state.lattice)
    notes = [] if state.has_data else ["Loaded without data: `condition` it on observations first."]
    notes += [*_anisotropy(state), *_mean(state), *_barrier(state), *_amplitude(state), *_intervals(state)]
    if state.jitter:
        notes.append(f"{state.jitter.capitalize()}.")
    if loose:
        notes.append(
            f"Lengthscale beyond half the extent: variance and lengthscale not separately identified "
            f"({', '.join(loose)})."
        )
    return [*notes, *_checked(state)]


def _checked(state: State) -> list[str]:
    """What the last check of its answers found, if there was one."""
    told = state.convergence
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


def _anisotropy(state: State) -> list[str]:
    """How lengthscales differ with the direction, where they do."""
    metric = state.layout.metric
    if metric.anisotropy == 1.0:
        return []
    where = {"sphere": " at the equator, and less so towards the poles", "cylinder": " in degrees"}
    times = f"{metric.anisotropy:.3g} times as long{where.get(metric.geometry, '')}"
    return [f"Anisotropy: lengthscales of space are those to the north; to the east they are {times}."]


def _mean(state: State) -> list[str]:
    """The mean, where it is known."""
    if not state.prior.centred or (state.layout.components > 1 and not state.layout.roles.layered):
        return []
    return [f"The mean is known: {with_units(f'{state.scaling.shift:.6g}', units_of(state.layout.template))}."]


def _barrier(state: State) -> list[str]:
    """The land that observations do not see across."""
    barrier = state.lattice.barrier
    if barrier is None:
        return []
    basins = "1 basin" if barrier.num_basins == 1 else f"{barrier.num_basins} basins"
    return [f"Observations do not see across land: a barrier of {barrier.share:.1%} of its cells, {basins} of water."]


def _amplitude(state: State) -> list[str]:
    """That the field varies more in some places or fields than in others."""
    if not state.has_data or state.scaling.is_uniform:
        return []
    found = amplitude(state)
    return [
        f"Local amplitude {float(found.min()):.2g} to {float(found.max()):.2g} times these standard deviations and "
        f"noise: `model.amplitude`."
    ]


def _intervals(state: State) -> list[str]:
    """How wide intervals are, where that is not as the normal law says."""
    if state.intervals is None:
        return []
    ratios = np.array([state.intervals.curve(i).ratios for i in range(len(state.intervals.ratios))])
    if np.abs(ratios - 1.0).max() < WORTH_SAYING:
        return []
    told = ", ".join(f"{100 * level:g} %: {_span(ratios[:, i])}" for i, level in enumerate(LEVELS))
    return [f"Intervals are calibrated on hidden observations; half-widths relative to the normal law: {told}."]


def _span(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return low if low == high else f"{low} to {high}"


def calibration_table(state: State) -> xr.Dataset:
    """See :attr:`xgpfill.model.FittedModel.calibration`."""
    found, extra = state.intervals or NORMAL, state.layout.roles.extra
    template, alone = state.layout.template, len((state.intervals or NORMAL).ratios) == 1
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
