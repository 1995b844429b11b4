"""A vector, or joint variables, along a dimension of one field, as a reconstruction of several variables."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import xarray as xr

from xgpfill.metrics.calibration import Intervals
from xgpfill.results.attributes import Measure, suffixed, variance_attrs
from xgpfill.results.reconstruction import Reconstruction

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping


def by_component(
    whole: Reconstruction,
    dim: Hashable,
    attrs: Mapping[str, dict[str, Any]],
    measures: Mapping[str, Measure] | None = None,
) -> Reconstruction:
    """A reconstruction of a vector or of joint variables, which are along `dim`, as one of Datasets.

    Parameters
    ----------
    whole : Reconstruction
    dim : name
    attrs : mapping of name to attributes
        Of each component, in order, as those of its mean.
    measures : mapping of name to Measure, optional
        Of joint variables, which are in standardised units.
    """
    parts: dict[Hashable, Reconstruction] = {}
    for number, (name, own) in enumerate(attrs.items()):
        part = whole.isel({dim: number}, drop=True)
        part = part if measures is None else _measured(part, measures[name])
        known, mean = part.context, part.mean.rename(name).assign_attrs(own)
        variance = part.variance
        if variance is not None:
            kept = {key: variance.attrs[key] for key in ("comment",) if key in variance.attrs}
            said = variance_attrs(mean.attrs, known.variance_kind, name) | kept
            variance = variance.rename(suffixed(name, "variance")).drop_attrs(deep=False).assign_attrs(said)
        observed = known.observed.rename(name).assign_attrs(own)
        parts[name] = Reconstruction(mean, variance, replace(known, observed=observed))
    found = Reconstruction.paired(parts)
    if measures is not None:
        return found
    first, second = parts
    return Reconstruction(*found, replace(found.context, vector=(str(first), str(second))))


def _measured(part: Reconstruction, own: Measure) -> Reconstruction:
    """A standardised reconstruction of one variable in its units, with its noise and its intervals."""
    known, variance, noise = part.context, part.variance, part.context.noise
    if not isinstance(noise, xr.DataArray):  # that of a typical observation
        if variance is not None and known.variance_kind == "observed":
            variance = variance.copy(data=variance.data + (own.noise - noise))
        noise = own.noise
    variance = None if variance is None else own.variances(variance)
    intervals = None if own.intervals is None else Intervals(own.intervals, {})
    averager = None if known.averager is None else _MeasuredAverager(known.averager, own)
    observed = known.observed if known.observed is None else own.values(known.observed)
    changed = {"noise": own.variances(noise), "observed": observed, "intervals": intervals, "averager": averager}
    return Reconstruction(own.values(part.mean), variance, replace(known, **changed))


@dataclass(frozen=True, eq=False)
class _MeasuredAverager:
    """Averages of one joint variable, in its units."""

    standardised: Any
    measure: Measure

    def __call__(self, *about: Any) -> Reconstruction:
        return _measured(self.standardised(*about), replace(self.measure, dtype="float64"))

    def weights(self, *about: Any) -> Any:
        return self.standardised.weights(*about)
