"""Several variables fitted together, each in its own units: to the model one standardised field with a dimension more.

What they share is learned in :mod:`xgpfill.several.coupling`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.cf.conventions import with_companions
from xgpfill.cf.variables import named_variable
from xgpfill.errors import AlignmentError, VariableError, XgpfillError, listed, shown
from xgpfill.kernels import hyperparameters as tables
from xgpfill.kernels.shared import Shared
from xgpfill.layout.companions import read_noise
from xgpfill.metrics.scoring import same_units
from xgpfill.options import interruptible
from xgpfill.results.components import by_component
from xgpfill.several.variables import own_arguments
from xgpfill.several.vectors import FittedParts, labels, own_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from xgpfill.kernels.prior import Prior
    from xgpfill.results.attributes import Measure
    from xgpfill.results.reconstruction import Reconstruction

NOISES = ("noise", "noise_std", "noise_variance")


@dataclass(frozen=True, eq=False, repr=False)
class FittedJoint(FittedParts):
    """Variables that were fitted together; every call gives a Dataset of all.

    Attributes
    ----------
    model : FittedModel
        Of one standardised field with a dimension of variables.
    components : dict of name to attributes
    measures : dict of name to Measure
        What each variable is measured in.
    """

    measures: Mapping[str, Measure]

    @property
    def hyperparameters(self) -> xr.Dataset:
        """The terms in standardised units, days and km, with what each variable has of them.

        Returns
        -------
        Dataset
            ``variance(term)`` and lengthscales as of one variable, ``loading(term, variable)``; ``scale`` and ``shift``
            of each variable say what standardised units are. A term of the covariance between a and b is
            ``variance · loading_a · loading_b · scale_a · scale_b`` times its correlation.
        """
        prior, names = self.model.prior, list(self.components)
        found = tables.to_dataset(of_shared(prior), self.model.lattice, "1", noise_is_scale=True)
        loadings = [term.space.loadings for term in prior.terms if isinstance(term.space, Shared)]
        scalings = [self.measures[name].scaling for name in names]
        return found.drop_vars("noise").assign(
            loading=(("term", "variable"), np.array(loadings)), scale=("variable", [s.scale for s in scalings]),
            shift=("variable", [s.shift for s in scalings]), variable=names,
        )  # fmt: skip

    @interruptible
    def condition(self, ds: xr.Dataset, *, valid: Any = None, **noises: Any) -> FittedJoint:
        """The same covariance conditioned on other observations of all variables; see :meth:`FittedModel.condition`.

        Standard errors of each may be given, as a Dataset; else they are those of typical observations. Intervals stay
        as they are.
        """
        names = list(self.components)
        self._require_units(ds)
        both = standardised(ds, self.measures, self._dim)
        each = {name: own_arguments({"valid": valid, **noises}, name) for name in names}
        errors = {name: self._errors(name, **{k: v for k, v in each[name].items() if k != "valid"}) for name in names}
        how: dict[str, Any] = {"noise_std": side_by_side(errors, self._dim), "calibrate": False}
        if any(own["valid"] is not None for own in each.values()):
            how["valid"] = side_by_side({name: each[name]["valid"] for name in names}, self._dim, missing=True)
        return replace(self, model=self.model.condition(both, **how), components=own_attributes(ds, names))

    @interruptible
    def sample(self, n: int = 1, **kwargs: Any) -> xr.Dataset:
        """Coherent draws of all variables together; see :meth:`FittedModel.sample`."""
        if kwargs.get("target") is not None and kwargs.get("include_noise"):
            raise XgpfillError(
                "Draws of joint variables at a target are of the field alone. Leave `include_noise=` out, and add the "
                "noise of each variable, `model.reconstruct().noise[name]`."
            )
        return super().sample(n, **kwargs)

    @interruptible
    def aggregate(self, weights: xr.DataArray, **kwargs: Any) -> Reconstruction:
        """Averages of each variable with their true standard deviations; see :meth:`FittedModel.aggregate`."""
        if kwargs.get("normalize") is False:
            raise XgpfillError(
                "normalize=False gives sums, which joint variables have no level for. Leave it out, and multiply the "
                "averages by `weights.sum()`."
            )
        return super().aggregate(weights, **kwargs)

    def save(self, path: str | Path, *, data: bool = True, mode: str = "w-") -> None:
        """Write to one file, which :func:`xgpfill.load` reads; see :func:`xgpfill.storage.saving.save`."""
        from xgpfill.storage.saving import save

        save(self.model, path, data=data, mode=mode, components=self.components, measures=self.measures)

    def _by_name(self, whole: Reconstruction) -> Reconstruction:
        return by_component(whole, self._dim, self.components, self.measures)

    def _in_units(self, joint: xr.DataArray) -> xr.DataArray:
        scale = {name: own.scaling.scale for name, own in self.measures.items()}
        rows, columns = (
            joint[f"{self._dim}{side}"].copy(data=[scale[str(name)] for name in joint[f"{self._dim}{side}"].values])
            for side in ("", "_other")
        )
        return joint.copy(data=joint.values * rows.values[:, None] * columns.values)

    def _apart(self, both: xr.DataArray) -> xr.Dataset:
        parts = super()._apart(both)
        return parts.assign({name: own.values(parts[name]) for name, own in self.measures.items()})

    def _errors(self, name: str, **noises: Any) -> xr.DataArray:
        """Standard errors of new observations of one variable, standardised."""
        found, own = read_noise(**{key: noises.get(key) for key in NOISES}), self.measures[name]
        if found is None:
            return xr.DataArray(own.noise**0.5)
        return (found if isinstance(found, xr.DataArray) else xr.DataArray(found**0.5)) / own.scaling.scale

    def _require_units(self, ds: xr.Dataset) -> None:
        """Refuse data in other units, as far as both say theirs."""
        for name, known in self.components.items():
            found, own = (str(attrs.get("units", "")) for attrs in (named_variable(ds, name).attrs, known))
            if found and own and not same_units(found, own):
                raise AlignmentError(
                    f"{name!r} is in {found!r}, but the model was fitted in {own!r}. Convert it first; if both mean "
                    f"the same, set its `attrs['units']`."
                )


def of_shared(prior: Prior) -> Prior:
    """The terms of what variables share, whatever they have of them."""
    return replace(
        prior,
        terms=tuple(replace(t, space=t.space.of_one) if isinstance(t.space, Shared) else t for t in prior.terms),
    )


def joint_names(variable: Any) -> list[str]:
    """The names that are meant.

    Raises
    ------
    VariableError
    """
    names = list(variable) if isinstance(variable, (list, tuple)) else []
    if len(names) < 2 or len(set(names)) < len(names) or not all(isinstance(name, str) for name in names):
        raise VariableError(
            f"joint=True with variable={shown(variable)}: expected the names of two or more variables, e.g. "
            f"`fit(variable=['sst', 'chl'], joint=True)`."
        )
    return names


def standardised(ds: xr.Dataset, measures: Mapping[str, Measure], dim: str) -> xr.DataArray:
    """Variables as one field without units, its first dimension that of the variables.

    Raises
    ------
    AlignmentError
        When they do not lie on the same cells.
    """
    arrays = {name: with_companions(named_variable(ds, name), ds) for name in measures}
    first = next(iter(arrays.values()))
    other = next((name for name, da in arrays.items() if set(da.dims) != set(first.dims)), None)
    if other is not None:
        raise AlignmentError(
            f"Joint variables lie on the same cells, but {first.name!r} has the dimensions {listed(first.dims)} and "
            f"{other!r} {listed(arrays[other].dims)}. Bring them to one grid, e.g. by `ds[{other!r}].interp(...)`."
        )
    parts = []
    for name, own in measures.items():
        da = arrays[name].transpose(*first.dims)
        parts.append(da.copy(data=own.scaling.standardised(da.data.astype(float))))
    both = xr.concat(
        parts, labels(list(measures), dim), coords="minimal", compat="override", join="override", combine_attrs="drop"
    )
    both.name, both.encoding = "_".join(measures), first.encoding
    return both


def side_by_side(fields: Mapping[str, Any], dim: str, missing: Any = None) -> xr.DataArray:
    """One field for each variable as one of all, `missing` where there is none or it is True."""
    each = [field if isinstance(field, xr.DataArray) else xr.DataArray(missing) for field in fields.values()]
    each = [field.reset_coords(drop=True) for field in each]
    return xr.concat(xr.broadcast(*each), labels(list(fields), dim), join="exact").rename(None)
