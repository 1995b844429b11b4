"""From a file back to a fitted model. What stands in the file is read in :mod:`xgpfill.io`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.grid.companions import within_valid
from xgpfill.grid.encode import Layout, encode
from xgpfill.grid.lattice import Lattice, Space
from xgpfill.io import Stored, read
from xgpfill.joint.model import FittedJoint
from xgpfill.kernels.prior import with_outside
from xgpfill.model import FittedModel, Record
from xgpfill.options import resolve_device
from xgpfill.variables import FittedDataset
from xgpfill.vectors import FittedVector

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def load(
    path: str | Path, *, kernels: Mapping[str, Any] | None = None
) -> FittedModel | FittedDataset | FittedVector | FittedJoint:
    """Read a saved model, or those of several variables.

    Parameters
    ----------
    path : path
        What :meth:`FittedModel.save` wrote.
    kernels : mapping of name to kernel, optional
        The GPyTorch kernels and functions that the model was fitted with; files never hold them.

    Returns
    -------
    FittedModel, FittedDataset where several were saved, FittedVector or FittedJoint
        One saved without data can only ``condition``.

    Raises
    ------
    FileFormatError
        When it is no such file, or of a newer format.
    KernelError
        When a kernel that was brought is not given back.

    Examples
    --------
    >>> import xgpfill
    >>> xgpfill.load("no-such-file.nc")
    Traceback (most recent call last):
    xgpfill.errors.FileFormatError: There is no file 'no-such-file.nc'. Give the path that `model.save(path)` wrote.
    """
    stored = read(path)
    if isinstance(stored, Stored):
        model = _loaded(stored, kernels)
        if stored.components is None:
            return model
        if stored.measures is None:
            return FittedVector(model, stored.components)
        return FittedJoint(model, stored.components, stored.measures)
    return FittedDataset({name: _loaded(one, kernels) for name, one in stored.items()})


def _loaded(stored: Stored, kernels: Mapping[str, Any] | None) -> FittedModel:
    """A model from what stands in the file."""
    parts, valid = stored.parts, stored.valid
    layout = Layout(stored.template, parts["roles"], parts["metric"], parts["clock"], parts.get("vertical"))
    if stored.has_data:
        everywhere = True if valid is None else valid
        lattice, layout = encode(stored.template, valid=everywhere, errors=stored.errors, like=layout)
        lattice = within_valid(lattice)
    else:
        unit = "" if layout.vertical is None else layout.vertical.units
        space = Space(np.zeros((0, 0, 2)), layout.metric.geometry, layout.metric.unit, depth_unit=unit)
        lattice = Lattice(values=None, time=np.zeros(0), space=space)
    return FittedModel(
        prior=with_outside(parts["prior"], kernels), scaling=parts["scaling"], settings=parts["settings"],
        lattice=lattice, layout=layout,
        options={**parts["options"], "device": resolve_device("auto")}, record=Record(**parts["record"]),
        share=parts["share"], valid=valid, errors=stored.errors, typical_error=parts["typical_error"],
        has_data=stored.has_data, learned_shape=parts["learned_shape"], intervals=parts["intervals"],
        screening=parts["screening"],
    )  # fmt: skip
