"""xgpfill fills the gaps of gridded geoscience data with Gaussian processes, in one line of xarray.

>>> import xarray as xr
>>> import xgpfill  # registers .gpfill on Dataset and DataArray
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from xgpfill import accessor as _accessor  # noqa: F401  (registers .gpfill)

if TYPE_CHECKING:
    from xgpfill import datasets as datasets
    from xgpfill import errors as errors
    from xgpfill import masks as masks
    from xgpfill import metrics as metrics
    from xgpfill import plotting as plotting
    from xgpfill.description import Description as Description
    from xgpfill.engines.select import select_method as select_method
    from xgpfill.engines.settings import Exact as Exact
    from xgpfill.engines.settings import Iterative as Iterative
    from xgpfill.engines.settings import Variational as Variational
    from xgpfill.engines.settings import Vecchia as Vecchia
    from xgpfill.joint.model import FittedJoint as FittedJoint
    from xgpfill.kernels.functions.by_latitude import ByLatitude as ByLatitude
    from xgpfill.kernels.outside import FromFunction as FromFunction
    from xgpfill.kernels.outside import FromGPyTorch as FromGPyTorch
    from xgpfill.kernels.spec import RBF as RBF
    from xgpfill.kernels.spec import Brownian as Brownian
    from xgpfill.kernels.spec import Constant as Constant
    from xgpfill.kernels.spec import Matern as Matern
    from xgpfill.kernels.spec import Periodic as Periodic
    from xgpfill.kernels.spec import RationalQuadratic as RationalQuadratic
    from xgpfill.kernels.spec import Spectral as Spectral
    from xgpfill.loading import load as load
    from xgpfill.model import FittedModel as FittedModel
    from xgpfill.priors import prior_covariance as prior_covariance
    from xgpfill.priors import prior_draws as prior_draws
    from xgpfill.report import Experiment as Experiment
    from xgpfill.report import report_experiments as report_experiments
    from xgpfill.results import Reconstruction as Reconstruction
    from xgpfill.variables import FittedDataset as FittedDataset
    from xgpfill.vectors import FittedVector as FittedVector

__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())  # silent until the user asks

_MODULES = ("datasets", "errors", "masks", "metrics", "plotting")
_HOMES = {
    "Description": "description",
    "select_method": "engines.select",
    "Exact": "engines.settings",
    "Iterative": "engines.settings",
    "Variational": "engines.settings",
    "Vecchia": "engines.settings",
    "load": "loading",
    "ByLatitude": "kernels.functions.by_latitude",
    "FromFunction": "kernels.outside",
    "FromGPyTorch": "kernels.outside",
    "RBF": "kernels.spec",
    "Brownian": "kernels.spec",
    "Constant": "kernels.spec",
    "Matern": "kernels.spec",
    "Periodic": "kernels.spec",
    "RationalQuadratic": "kernels.spec",
    "Spectral": "kernels.spec",
    "FittedDataset": "variables",
    "FittedJoint": "joint.model",
    "FittedModel": "model",
    "FittedVector": "vectors",
    "Experiment": "report",
    "report_experiments": "report",
    "Reconstruction": "results",
    "prior_covariance": "priors",
    "prior_draws": "priors",
}

__all__ = ["__version__", *_MODULES, *_HOMES]


def __getattr__(name: str) -> Any:
    """Load a public name on first use, so that importing xgpfill costs next to nothing."""
    if name in _MODULES:
        return import_module(f"xgpfill.{name}")
    if name in _HOMES:
        return getattr(import_module(f"xgpfill.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'xgpfill' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
