"""Save and load a fitted model as netCDF or Zarr: plain arrays and JSON, nothing that could be executed."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.engines.settings import METHODS
from xgpfill.errors import FileFormatError, XgpfillError
from xgpfill.files import written_whole
from xgpfill.grid.dims import Roles
from xgpfill.grid.metric import Clock, Metric
from xgpfill.grid.scaling import Scaling
from xgpfill.kernels.prior import Prior, Term
from xgpfill.kernels.spec import TYPES

if TYPE_CHECKING:
    from xgpfill.model import FittedModel

FORMAT = 1
"""Version of the file format; a file of a newer one is refused."""

_PLAIN: dict[str, type] = {
    **TYPES,
    **{cls.__name__: cls for cls in (Prior, Term, Roles, Metric, Clock, Scaling, *METHODS.values())},
}


def to_plain(value: Any) -> Any:
    """A spec as JSON-ready data; its type's name under ``"type"``."""
    if is_dataclass(value) and not isinstance(value, type):
        content = {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
        return {"type": type(value).__name__, **content}
    if isinstance(value, tuple):
        return {"type": "tuple", "items": [to_plain(v) for v in value]}
    if isinstance(value, np.generic):
        return value.item()
    return value


def from_plain(value: Any) -> Any:
    """A spec from such data; only types known here are ever made."""
    if isinstance(value, dict) and "type" in value:
        kind = value["type"]
        if kind == "tuple":
            return tuple(from_plain(v) for v in value["items"])
        if kind not in _PLAIN:
            raise FileFormatError(f"The file holds a {kind!r}, which this version does not know. Update xgpfill.")
        return _PLAIN[kind](**{k: from_plain(v) for k, v in value.items() if k != "type"})
    return value


def save(model: FittedModel, path: str | Path, *, data: bool = True) -> None:
    """Write a model to ``*.nc`` (netCDF) or ``*.zarr``.

    Parameters
    ----------
    model : FittedModel
    path : path
        Replaced when it exists; written whole or not at all.
    data : bool
        Whether the observations are saved too; without them a loaded model can only ``condition``.
    """
    path = Path(path)
    kind = _kind(path)
    state = {
        "format": FORMAT,
        "prior": to_plain(model.prior),
        "scaling": to_plain(model.scaling),
        "settings": to_plain(model.settings),
        "roles": to_plain(model.layout.roles),
        "metric": to_plain(model.layout.metric),
        "clock": to_plain(model.layout.clock),
        "options": model.options,
        "share": model.share,
        "data": data,
    }
    template = model.layout.template
    observed = template if data else template.isel({d: slice(0, 0) for d in template.dims})
    parts: dict[str, xr.Dataset] = {
        "/": xr.Dataset(attrs={"xgpfill": json.dumps(state), "title": "xgpfill fitted model"}),
        "/observed": observed.to_dataset(name=_NAME).assign_attrs(original_name=json.dumps(template.name)),
    }
    if data and model.errors is not None:
        parts["/errors"] = model.errors.to_dataset(name=_NAME)
    if data and isinstance(model.valid, xr.DataArray):
        parts["/valid"] = model.valid.to_dataset(name=_NAME)
    tree = xr.DataTree.from_dict({name: _storable(ds) for name, ds in parts.items()})
    with written_whole(path) as temporary:
        if kind == "zarr":
            tree.to_zarr(temporary, zarr_format=3, consolidated=False)
        else:
            tree.to_netcdf(temporary)


_NAME = "field"


def _storable(ds: xr.Dataset) -> xr.Dataset:
    """Without encodings that would quantise values or fail elsewhere."""
    ds = ds.copy()
    for variable in ds.variables.values():
        kept = {k: v for k, v in variable.encoding.items() if k in ("units", "calendar")}
        variable.encoding = kept
        variable.attrs = {
            k: v for k, v in variable.attrs.items() if isinstance(v, (str, int, float, np.generic, np.ndarray, list))
        }
    return ds


@dataclass(frozen=True, eq=False)
class Stored:
    """What a file holds of a model: its plain parts, and the arrays."""

    template: xr.DataArray
    arrays: dict[str, xr.DataArray]
    parts: dict[str, Any]
    options: dict[str, Any]
    share: float
    has_data: bool


def read(path: str | Path) -> Stored:
    """Read what :func:`save` wrote.

    Raises
    ------
    FileFormatError
        When it is no such file, or of a newer format.
    """
    path = Path(path)
    if not path.exists():
        raise FileFormatError(f"There is no file {str(path)!r}. Give the path that `model.save(path)` wrote.")
    try:
        with xr.open_datatree(path, engine="zarr" if path.is_dir() else "netcdf4") as opened:
            tree = opened.load()
    except (OSError, ValueError, KeyError) as error:
        raise FileFormatError(f"{str(path)!r} cannot be read as netCDF or Zarr: {error}.") from None
    if "xgpfill" not in tree.attrs:
        raise FileFormatError(f"{str(path)!r} is not a model saved by xgpfill. Write one with `model.save(path)`.")
    state = json.loads(tree.attrs["xgpfill"])
    if state["format"] > FORMAT:
        raise FileFormatError(
            f"{str(path)!r} has format {state['format']}, newer than {FORMAT}, the newest this version reads. Update: "
            f"`pip install -U xgpfill`."
        )
    observed = tree["observed"].to_dataset()
    arrays = {name: tree[name].to_dataset()[_NAME] for name in ("errors", "valid") if name in tree.children}
    template = observed[_NAME].rename(json.loads(observed.attrs["original_name"]))
    parts = {k: from_plain(state[k]) for k in ("prior", "scaling", "settings", "roles", "metric", "clock")}
    return Stored(template, arrays, parts, state["options"], state["share"], state["data"])


def _kind(path: Path) -> str:
    if path.suffix in (".nc", ".nc4"):
        return "netcdf"
    if path.suffix == ".zarr":
        return "zarr"
    raise XgpfillError(f"Cannot tell the format of {str(path)!r} from its name. End it in '.nc' or '.zarr'.")
