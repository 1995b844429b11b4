"""Fitting variables of a Dataset: which, and with which arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xgpfill.checks import checked_flag, known_mean
from xgpfill.conventions import with_companions
from xgpfill.errors import DataError, VariableError, listed, shown
from xgpfill.fitting import fit
from xgpfill.grid.variables import has_variable, named_variable, only_variable
from xgpfill.joint.fitting import fit_joint
from xgpfill.variables import FittedDataset, own_arguments
from xgpfill.vectors import FittedVector, component_names, component_roles, of_both, own_attributes, stacked

if TYPE_CHECKING:
    import xarray as xr

    from xgpfill.joint.model import FittedJoint
    from xgpfill.model import FittedModel


def fit_dataset(
    ds: xr.Dataset, variable: Any, *, dims: Any, vector: bool = False, joint: bool = False, **arguments: Any
) -> FittedModel | FittedDataset | FittedVector | FittedJoint:
    """Fit the named variable(s) of a Dataset, or the only one that has the fitted dimensions.

    Raises
    ------
    VariableError
        When a name is missing, or several variables could be meant.
    """
    if checked_flag(joint, "joint"):
        if checked_flag(vector, "vector"):
            raise VariableError("vector=True and joint=True exclude each other: a vector is fitted together as it is.")
        if arguments.pop("anisotropy", None) not in (None, False):
            raise VariableError(
                "anisotropy= with joint=True: joint variables share one geometry, and each would learn a ratio of its "
                "own. Leave `anisotropy=` out, or fit the variables apart, `fit(variable=[...])`."
            )
        return fit_joint(ds, variable, dims=dims, **arguments)
    if checked_flag(vector, "vector"):
        return _fit_vector(ds, variable, dims=dims, **arguments)
    if isinstance(variable, list) or (isinstance(variable, tuple) and not has_variable(ds, variable)):
        if not variable:
            raise VariableError(f"variable={variable!r} names nothing. The Dataset has {listed(ds.data_vars)}.")
        chosen = {name: with_companions(named_variable(ds, name), ds) for name in variable}
        return FittedDataset({n: fit(da, dims=dims, **own_arguments(arguments, n)) for n, da in chosen.items()})
    da = named_variable(ds, variable) if variable is not None else only_variable(ds, dims)
    return fit(with_companions(da, ds), dims=dims, **arguments)


def _fit_vector(ds: xr.Dataset, variable: Any, *, dims: Any, **arguments: Any) -> FittedVector:
    """Fit two variables as the components of a vector, with one covariance."""
    names = component_names(variable)
    if known_mean(trend := arguments.get("trend", "constant")):
        raise DataError(
            f"trend={shown(trend)} with vector=True: the components of a vector have no level, since directions differ "
            f"from place to place. Take a mean flow off first, or leave `trend=` out."
        )
    both, told = stacked(ds, names)
    arguments = {key: of_both(value, names, told, key) for key, value in arguments.items()}
    roles = component_roles(both, told, dims, arguments.get("coords"))
    return FittedVector(fit(both, dims=roles, **arguments), own_attributes(ds, names))
