"""The models of several variables side by side. Which are fitted is decided in :mod:`xgpfill.several.dataset`."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NoReturn

import xarray as xr

from xgpfill.cf.conventions import with_companions
from xgpfill.cf.variables import named_variable
from xgpfill.errors import VariableError, XgpfillError, listed
from xgpfill.options import interruptible
from xgpfill.results.reconstruction import Reconstruction

if TYPE_CHECKING:
    from pathlib import Path

    from xgpfill.model import FittedModel


def own_arguments(arguments: dict[str, Any], name: Hashable) -> dict[str, Any]:
    """Arguments of one variable: Datasets of `noise` or `valid` hold one field for each name."""
    own = dict(arguments)
    for key in ("noise", "noise_std", "noise_variance", "valid"):
        if isinstance(own.get(key), xr.Dataset):
            own[key] = _of_name(own[key], name, key)
    if isinstance(own.get("hyperparameters"), Mapping) and not isinstance(own["hyperparameters"], xr.Dataset):
        own["hyperparameters"] = _of_name(own["hyperparameters"], name, "hyperparameters")
    return own


def _of_name(parts: Mapping[Any, Any], name: Hashable, key: str) -> Any:
    """What a mapping of variable to argument holds for one of them."""
    if name not in parts:
        raise VariableError(f"`{key}` holds nothing for {name!r}, only for {listed(list(parts))}. Give one for each.")
    return parts[name]


@dataclass(frozen=True, eq=False)
class FittedDataset:
    """Models of several variables, fitted independently; every call gives a Dataset.

    Attributes
    ----------
    models : dict of name to FittedModel
    """

    models: dict[Hashable, FittedModel]

    def __getitem__(self, name: Hashable) -> FittedModel:
        if name not in self.models:
            raise VariableError(f"No model of {name!r}; there are models of {listed(self.models)}.")
        return self.models[name]

    def __getattr__(self, name: str) -> NoReturn:
        from xgpfill.model import FittedModel

        said = f"{type(self).__name__!r} object has no attribute {name!r}"
        if name.startswith("_") or not (
            hasattr(FittedModel, name) or name in {field.name for field in fields(FittedModel)}
        ):
            raise AttributeError(said)
        raise AttributeError(
            f"{said}, which the model of each variable has. Ask one of {listed(self.models)}, e.g. "
            f"`model[{next(iter(self.models))!r}].{name}`."
        )

    def __repr__(self) -> str:
        return "\n\n".join(map(repr, self.models.values()))

    def _repr_html_(self) -> str:
        return "".join(model._repr_html_() for model in self.models.values())

    @property
    def sources(self) -> frozenset[Path]:
        """Files and stores that lazy data of any variable come from."""
        return frozenset().union(*(model.sources for model in self.models.values()))

    @property
    def hyperparameters(self) -> dict[Hashable, xr.Dataset]:
        """Hyperparameters of each variable."""
        return {name: model.hyperparameters for name, model in self.models.items()}

    @interruptible
    def condition(self, ds: xr.Dataset, **kwargs: Any) -> FittedDataset:
        """The same covariances conditioned on other observations; see :meth:`FittedModel.condition`."""
        models = {
            n: m.condition(with_companions(named_variable(ds, n), ds), **own_arguments(kwargs, n))
            for n, m in self.models.items()
        }
        return replace(self, models=models)

    @interruptible
    def reconstruct(self, **kwargs: Any) -> Reconstruction:
        """Mean and variance Datasets; see :meth:`FittedModel.reconstruct`."""
        return Reconstruction.paired({n: m.reconstruct(**kwargs) for n, m in self.models.items()})

    @interruptible
    def predict(
        self, target: Any, *, include_noise: bool = False, covariance: bool = False, valid: Any = None
    ) -> Reconstruction:
        """Mean and variance Datasets elsewhere; see :meth:`FittedModel.predict`."""
        if covariance:
            raise XgpfillError("covariance=True needs one variable: `model['name'].predict(target, covariance=True)`.")
        each = {n: own_arguments({"valid": valid}, n) for n in self.models}
        return Reconstruction.paired(
            {n: m.predict(target, include_noise=include_noise, **each[n]) for n, m in self.models.items()}
        )

    @interruptible
    def sample(self, n: int = 1, **kwargs: Any) -> xr.Dataset:
        """Coherent draws of each variable; see :meth:`FittedModel.sample`."""
        return xr.Dataset({name: model.sample(n, **kwargs) for name, model in self.models.items()})

    @interruptible
    def aggregate(self, weights: xr.DataArray, **kwargs: Any) -> Reconstruction:
        """Averages of each variable with their true standard deviations; see :meth:`FittedModel.aggregate`."""
        return Reconstruction.paired({n: m.aggregate(weights, **kwargs) for n, m in self.models.items()})

    @property
    def filled(self) -> xr.Dataset:
        """Observed values with the gaps filled by the means."""
        return self.reconstruct().filled  # type: ignore[no-any-return]

    def save(self, path: str | Path, **kwargs: Any) -> None:
        """Write all models to one file, which :func:`xgpfill.load` reads; see :func:`xgpfill.storage.saving.save`."""
        from xgpfill.storage.saving import save

        save(self.models, path, **kwargs)
