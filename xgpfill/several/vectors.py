"""A vector field, two variables with one covariance: to the model one field with a dimension of its components.

What the covariance of components is stands in :mod:`xgpfill.grid.directions`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import xarray as xr

from xgpfill.cf.conventions import with_companions
from xgpfill.cf.variables import named_variable
from xgpfill.errors import AlignmentError, DimensionError, VariableError, listed, shown, warn
from xgpfill.layout.dims import COMPONENT, find_roles
from xgpfill.metrics.scoring import same_units
from xgpfill.options import interruptible
from xgpfill.results.attributes import mean_attrs
from xgpfill.results.components import by_component
from xgpfill.results.reconstruction import Reconstruction

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence
    from pathlib import Path

    from xgpfill.model import FittedModel

EAST, NORTH = r"(^|_)(eastward|x)(_|$)", r"(^|_)(northward|y)(_|$)"
"""What CF standard names of components hold: eastward_wind, x_wind, sea_water_y_velocity."""
Attributes = dict[str, dict[str, Any]]
"""Attributes of each component by name, east (or along x) first."""


@dataclass(frozen=True, eq=False)
class FittedParts:
    """Variables that are parts of one field, with a dimension of its own for them; every call gives a Dataset of all.

    Attributes
    ----------
    model : FittedModel
        Of the one field.
    components : dict of name to attributes
        The variables, in order.
    """

    model: FittedModel
    components: Attributes

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"{type(self).__name__!r} object has no attribute {name!r}. What is known of all parts together is "
            f"at `model.model`, of one field with a dimension {self._dim!r}."
            if not name.startswith("_")
            else f"{type(self).__name__!r} object has no attribute {name!r}"
        )

    def __repr__(self) -> str:
        return f"xgpfill.{type(self).__name__} of {listed(self.components)}, as one field:\n{self.model!r}"

    def _repr_html_(self) -> str:
        return self.model._repr_html_()

    @property
    def _dim(self) -> str:
        return str(self.model.layout.roles.component)

    @property
    def sources(self) -> frozenset[Path]:
        """Files and stores that lazy data of any part come from."""
        return self.model.sources

    @interruptible
    def reconstruct(self, **kwargs: Any) -> Reconstruction:
        """Mean and variance Datasets; see :meth:`FittedModel.reconstruct`."""
        return self._by_name(self.model.reconstruct(**kwargs))

    @interruptible
    def predict(self, target: Any, *, include_noise: bool = False, covariance: bool = False, valid: Any = None) -> Any:
        """Mean and variance Datasets elsewhere; see :meth:`FittedModel.predict`.

        With ``covariance=True`` the mean and the joint covariance of the first parts of all targets, then of the second
        ones, and so on.
        """
        found = self.model.predict(target, include_noise=include_noise, covariance=covariance, valid=valid)
        if isinstance(found, Reconstruction):
            return self._by_name(found)
        mean, joint = found
        labels = np.repeat(list(self.components), joint.sizes["target"] // len(self.components))
        sides = {f"{self._dim}{side}": (f"target{side}", labels) for side in ("", "_other")}
        return self._apart(mean), self._in_units(joint.assign_coords(sides))

    @interruptible
    def sample(self, n: int = 1, **kwargs: Any) -> xr.Dataset:
        """Coherent draws of all parts together; see :meth:`FittedModel.sample`."""
        return self._apart(self.model.sample(n, **kwargs))

    @interruptible
    def aggregate(self, weights: xr.DataArray, **kwargs: Any) -> Reconstruction:
        """Averages of each part with their true standard deviations; see :meth:`FittedModel.aggregate`."""
        return self._by_name(self.model.aggregate(weights, **kwargs))

    @property
    def filled(self) -> xr.Dataset:
        """Observed values with the gaps filled by the means."""
        return self.reconstruct().filled  # type: ignore[no-any-return]

    def save(self, path: str | Path, *, data: bool = True, mode: str = "w-") -> None:
        """Write to one file, which :func:`xgpfill.load` reads; see :func:`xgpfill.storage.saving.save`."""
        from xgpfill.storage.saving import save

        save(self.model, path, data=data, mode=mode, components=self.components)

    def _by_name(self, whole: Reconstruction) -> Reconstruction:
        """A reconstruction of the one field as one of Datasets."""
        return by_component(whole, self._dim, self.components)

    def _in_units(self, joint: xr.DataArray) -> xr.DataArray:
        """A joint covariance in the units of the parts."""
        return joint

    def _apart(self, both: xr.DataArray) -> xr.Dataset:
        """A field with a dimension of components as a variable for each."""
        parts = {}
        for number, (name, own) in enumerate(self.components.items()):
            parts[name] = both.isel({self._dim: number}, drop=True).rename(name).assign_attrs(own)
        return xr.Dataset(parts)


@dataclass(frozen=True, eq=False, repr=False)
class FittedVector(FittedParts):
    """A vector field whose two components were fitted with one covariance; every call gives a Dataset of both.

    Attributes
    ----------
    model : FittedModel
        Of one field with a dimension of components.
    components : dict of name to attributes
        East (or along x), then north (or along y).
    """

    @property
    def hyperparameters(self) -> xr.Dataset:
        """Those that the components share, in physical units; ``fit(hyperparameters=...)`` takes them back."""
        return self.model.hyperparameters

    @interruptible
    def condition(self, ds: xr.Dataset, **kwargs: Any) -> FittedVector:
        """The same covariance conditioned on other observations; see :meth:`FittedModel.condition`."""
        names = list(self.components)
        both, _ = stacked(ds, names, dim=self._dim)
        given = {key: of_both(value, names, self._dim, key) for key, value in kwargs.items()}
        return replace(self, model=self.model.condition(both, **given), components=own_attributes(ds, names))


# From two variables to one field


def component_names(variable: Any) -> tuple[str, str]:
    """The two names that are meant.

    Raises
    ------
    VariableError
    """
    names = tuple(variable) if isinstance(variable, (list, tuple)) else ()
    if len(names) != 2 or len(set(names)) != 2 or not all(isinstance(name, str) for name in names):
        raise VariableError(
            f"vector=True with variable={shown(variable)}: expected the names of two variables, the component to the "
            f"east and the one to the north, e.g. `fit(variable=('u', 'v'), vector=True)`."
        )
    return names[0], names[1]


def stacked(ds: xr.Dataset, names: Sequence[str], dim: str | None = None) -> tuple[xr.DataArray, str]:
    """The two variables as one field, and the name of its first dimension, that of the components.

    Raises
    ------
    VariableError, AlignmentError
        When they do not lie on the same cells, or have different units.
    """
    first, second = (with_companions(named_variable(ds, name), ds) for name in names)
    if set(first.dims) != set(second.dims):
        raise AlignmentError(
            f"The components of a vector lie on the same cells, but {names[0]!r} has the dimensions "
            f"{listed(first.dims)} and {names[1]!r} {listed(second.dims)}. Bring them to one grid first, e.g. by "
            f"`ds[{names[1]!r}].interp(...)`."
        )
    _require_order(first, second, names)
    _warn_of_none(first, second)
    units = [str(da.attrs.get("units", "")) for da in (first, second)]
    if all(units) and not same_units(*units):
        raise VariableError(
            f"The components of a vector have one unit, but {names[0]!r} is in {units[0]!r} and {names[1]!r} in "
            f"{units[1]!r}. Convert one of them; if both mean the same, set its `attrs['units']`."
        )
    dim = free_name(first) if dim is None else dim
    parts = [first, second.transpose(*first.dims).assign_attrs(units=first.attrs.get("units", units[1]))]
    both = xr.concat(
        parts, labels(names, dim), coords="minimal", compat="override", join="override", combine_attrs="override"
    )
    both.attrs = {
        k: v for k, v in parts[0].attrs.items() if k in parts[1].attrs and np.array_equal(v, parts[1].attrs[k])
    }
    both.name, both.encoding = f"{names[0]}_{names[1]}", first.encoding
    return both, dim


def _require_order(first: xr.DataArray, second: xr.DataArray, names: Sequence[str]) -> None:
    """Refuse components whose CF names say that they are the other way round."""
    said = [str(da.attrs.get("standard_name", "")) for da in (first, second)]
    if re.search(NORTH, said[0]) or re.search(EAST, said[1]):
        raise VariableError(
            f"The component to the east (or along x) comes first, but the standard names of {names[0]!r} and "
            f"{names[1]!r} are {said[0]!r} and {said[1]!r}. Type `variable=({names[1]!r}, {names[0]!r})`."
        )


def _warn_of_none(*components: xr.DataArray) -> None:
    """Say where one of the components, in memory, has no observation."""
    for da in components:
        if da.chunks is None and not bool(da.notnull().any()):
            warn(
                f"{da.name!r} has no observation; it is filled from the other component alone, and says little. Check "
                f"the mask, e.g. `ds[{da.name!r}].notnull().sum()`."
            )


def free_name(da: xr.DataArray) -> str:
    """A name of the dimension of components that nothing else has."""
    taken = {str(name) for name in (*da.dims, *da.coords)}
    return next(name for name in (COMPONENT, f"vector_{COMPONENT}", f"vector_{COMPONENT}_") if name not in taken)


def component_roles(
    both: xr.DataArray, dim: str, dims: Any, coords: Iterable[Hashable] | Hashable | None
) -> dict[str, Hashable]:
    """Which dimension plays which role, as a mapping for `fit`.

    Raises
    ------
    DimensionError
        When observations are scattered, which no engine for vectors takes.
    """
    roles = find_roles(both.isel({dim: 0}, drop=True), dims, coords)
    if roles.layered:
        raise DimensionError(
            f"vector=True does not go with depth as a fitted dimension, and dims= names {roles.depth!r}. Leave it out: "
            f"each level is then a wind of its own; or fit the components apart, `fit(variable=['u', 'v'])`."
        )
    if roles.scattered or (roles.y_dim is None and roles.x_dim is None):
        what = "scattered observations" if roles.scattered else "no dimension of space"
        raise DimensionError(
            f"vector=True is for fields on a grid or at a list of places, and these data have {what}. Fit the "
            f"components apart, `fit(variable=['u', 'v'])`, or bring them to a grid."
        )
    return {**roles.by_role, COMPONENT: dim}


def of_both(value: Any, names: Sequence[str], dim: str, key: str) -> Any:
    """An argument of both components: a Dataset of `valid` or noise as one field; anything else as it is.

    Raises
    ------
    VariableError
        When it lacks one of them.
    """
    if not isinstance(value, xr.Dataset) or key == "hyperparameters":
        return value
    missing = [name for name in names if name not in value.data_vars]
    if missing:
        raise VariableError(f"`{key}` holds nothing for {listed(missing)}, only for {listed(value.data_vars)}.")
    return xr.concat([value[name] for name in names], labels(names, dim), join="exact").rename(None)


def labels(names: Sequence[str], dim: str) -> xr.DataArray:
    """The names along the dimension of components."""
    return xr.DataArray(list(names), dims=dim, name=dim)


def own_attributes(ds: xr.Dataset, names: Sequence[str]) -> Attributes:
    """What each component is called and measured in, as its mean will say."""
    return {name: mean_attrs(with_companions(ds[name], ds)) for name in names}
