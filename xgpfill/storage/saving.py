"""Save and load a fitted model as netCDF or Zarr: plain arrays and JSON, nothing that could be executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.barriers.barrier import Barrier
from xgpfill.cf.conventions import BOUNDS, OF_COORDINATES, origin, placing, without_bounds
from xgpfill.checks import checked_flag
from xgpfill.errors import DataError, FileFormatError, XgpfillError, listed
from xgpfill.files import as_path, checked_place, require_free, uniform_chunks, written_whole
from xgpfill.grid.metric import Clock, Metric
from xgpfill.grid.scaling import Amplitude, Scaling
from xgpfill.grid.vertical.axis import Vertical
from xgpfill.grid.vertical.profile import Profile
from xgpfill.kernels.by_latitude import ByLatitude
from xgpfill.kernels.levels.spec import Layered
from xgpfill.kernels.outside import FromFunction, FromGPyTorch, Outside
from xgpfill.kernels.prior import Prior, Term
from xgpfill.kernels.shared import Shared
from xgpfill.kernels.spec import TYPES
from xgpfill.layout.dims import Roles
from xgpfill.metrics.calibration import Calibration
from xgpfill.results.attributes import Measure
from xgpfill.settings import METHODS

if TYPE_CHECKING:
    from pathlib import Path

    from xgpfill.posterior.state import State

    Components = Mapping[str, dict[str, Any]]

FORMAT = 5
"""Version of the file format; a file of a newer one is refused."""

_PLAIN: dict[str, type] = {
    **TYPES,
    Shared.__name__: Shared,
    Layered.__name__: Layered,
    ByLatitude.__name__: ByLatitude,
    **{
        cls.__name__: cls
        for cls in (
            FromFunction,
            FromGPyTorch,
            Prior,
            Term,
            Roles,
            Metric,
            Clock,
            Scaling,
            Profile,
            Vertical,
            Amplitude,
            Calibration,
            Measure,
            *METHODS.values(),
        )
    },
}


def to_plain(value: Any) -> Any:
    """A spec as JSON-ready data, its type's name under ``"type"``; without the functions that users brought."""
    if is_dataclass(value) and not isinstance(value, type):
        kept = [f.name for f in fields(value) if not (isinstance(value, Outside) and f.name == "function")]
        content = {name: to_plain(getattr(value, name)) for name in kept}
        return {"type": type(value).__name__, **content}
    if isinstance(value, tuple):
        return {"type": "tuple", "items": [to_plain(v) for v in value]}
    if isinstance(value, Mapping):
        return {"type": "dict", "items": [[to_plain(k), to_plain(v)] for k, v in value.items()]}
    return value.item() if isinstance(value, np.generic) else value


def from_plain(value: Any) -> Any:
    """A spec from such data; only types known here are ever made."""
    if not isinstance(value, dict):
        return value
    kind = value["type"]
    if kind == "tuple":
        return tuple(from_plain(v) for v in value["items"])
    if kind == "dict":
        return {from_plain(k): from_plain(v) for k, v in value["items"]}
    if kind not in _PLAIN:
        raise FileFormatError(f"The file holds a {kind!r}, which this version does not know. Update xgpfill.")
    return _PLAIN[kind](**{k: from_plain(v) for k, v in value.items() if k != "type"})


def save(
    state: State | Mapping[Any, State],
    path: str | Path,
    *,
    data: bool = True,
    mode: str = "w-",
    components: Components | None = None,
    measures: Mapping[str, Measure] | None = None,
) -> None:
    """Write a model to ``*.nc`` (netCDF) or ``*.zarr``, whole or not at all; those of several variables as groups.

    Parameters
    ----------
    state : State, or mapping of name to these
        A model, or those of several variables.
    path : path
    data : bool
        Whether the observations are saved too; without them a loaded model can only ``condition``.
    mode : {"w-", "w"}
        "w-" writes only where nothing is yet, "w" replaces what is there; never what the data come from.
    components : mapping of name to attributes, optional
        Of the components of a vector, or the joint variables, that the model is of.
    measures : mapping of name to Measure, optional
        Of joint variables.

    Raises
    ------
    XgpfillError
        When the path is no place to write to, or the data come from it.
    PlaceTakenError
        When something is there and may not be replaced; a FileExistsError too.
    """
    kind = _kind(as_path(path))
    data = checked_flag(data, "data")
    all_of_them = state.values() if isinstance(state, Mapping) else [state]
    require_free(checked_place(path), mode, frozenset().union(*(one.sources for one in all_of_them)))
    nodes = _groups(state, data=data) if isinstance(state, Mapping) else _nodes(state, data=data, components=components)
    if measures is not None:
        nodes["/"].attrs["measures"] = json.dumps([[name, to_plain(own)] for name, own in measures.items()])
    tree = xr.DataTree.from_dict(nodes)
    with written_whole(path) as temporary:
        if kind == "zarr":
            tree.to_zarr(temporary, zarr_format=3, consolidated=False)
        else:
            tree.to_netcdf(temporary)


def _groups(models: Mapping[Any, State], *, data: bool) -> dict[str, xr.Dataset]:
    """What is written of several models, each in a group of its own."""
    whole = {"format": FORMAT, "models": [to_plain(name) for name in models]}
    found = {"/": xr.Dataset(attrs={"xgpfill": json.dumps(whole), "title": "xgpfill fitted models"})}
    for number, state in enumerate(models.values()):
        found |= {f"/{number}{group}".rstrip("/"): ds for group, ds in _nodes(state, data=data).items()}
    return found


def _nodes(state: State, *, data: bool, components: Components | None = None) -> dict[str, xr.Dataset]:
    """What is written of one model, by the path of its group; of a vector with the attributes of its components."""
    data = data and state.has_data
    parts = {"prior": state.prior, "scaling": state.scaling, "settings": state.settings, "options": state.options}
    parts |= {"roles": state.layout.roles, "metric": state.layout.metric, "clock": state.layout.clock}
    parts["vertical"] = state.layout.vertical
    parts |= {"record": asdict(state.record), "share": state.share, "typical_error": state.typical_error}
    parts |= {"learned_shape": state.learned_shape, "intervals": state.intervals, "screening": state.screening}
    parts["valid"] = None if isinstance(state.valid, xr.DataArray) else state.valid
    plain = {"format": FORMAT, "data": data, **{name: to_plain(part) for name, part in parts.items()}}
    plain |= {} if components is None else {"components": [[name, own] for name, own in components.items()]}
    arrays = {"observed": state.layout.template, "errors": state.errors}
    if not data:
        none = dict.fromkeys(state.layout.roles.fitted, slice(0))  # labels of fields stay
        whole = {k: None if da is None else without_bounds(da) for k, da in arrays.items()}
        arrays = {k: None if da is None else da.isel(none, missing_dims="ignore") for k, da in whole.items()}
    arrays["valid"] = state.valid if isinstance(state.valid, xr.DataArray) else None
    arrays["barrier"] = None if state.lattice.barrier is None else state.lattice.barrier.as_array()
    return {
        "/": xr.Dataset(attrs={"xgpfill": json.dumps(plain, default=_jsonable), "title": "xgpfill fitted model"}),
        **{f"/{name}": _packed(da) for name, da in arrays.items() if da is not None},
    }


_NAME = "_xgpfill_field"
_SINCE = "microseconds since 1970-01-01"


def _packed(da: xr.DataArray) -> xr.Dataset:
    """Numbers and strings alone; types, calendars and attributes as JSON, so that no reader guesses from them."""
    bounds = da.encoding.get(OF_COORDINATES, {})
    variables, notes = {}, {}
    for name, variable in {**da.to_dataset(name=_NAME).variables, **bounds}.items():
        data, note = _packed_values(variable)
        variables[name] = xr.Variable(variable.dims, data)
        named = {k: v for k, v in variable.encoding.items() if k in BOUNDS and v in bounds}
        notes[name] = {"attrs": variable.attrs | named, **note}
    coords = {name: variable for name, variable in variables.items() if name != _NAME}
    told = {"name": da.name, "encoding": placing(da)[1] | origin(da), "variables": notes, "bounds": list(bounds)}
    about = json.dumps(told, default=_jsonable)
    return uniform_chunks(xr.Dataset({_NAME: variables[_NAME]}, coords, attrs={"about": about}))


def _packed_values(variable: xr.Variable) -> tuple[Any, dict[str, Any]]:
    """The values in a type that both formats store exactly, and what brings them back."""
    data, kind = variable.data, variable.dtype.kind
    note = {"dtype": variable.dtype.str if kind in "biufmMU" else "O"}
    if kind in "mMb":
        return data.astype("int8" if kind == "b" else "int64"), note
    if kind == "U":
        return np.asarray(data).astype(object), note
    if kind == "S":
        return np.char.decode(np.asarray(data), "utf-8").astype(object), {"bytes": "utf-8"}
    if kind == "O" and variable.size and hasattr(np.ravel(data)[0], "calendar"):
        from cftime import date2num

        calendar = np.ravel(data)[0].calendar
        return date2num(np.asarray(data), _SINCE, calendar=calendar), {"calendar": calendar}
    if kind == "O" and not all(isinstance(value, str) for value in np.ravel(data)):
        raise DataError(
            f"A coordinate along {listed(variable.dims)} holds a {type(np.ravel(data)[0]).__name__}; files hold "
            f"numbers, dates and strings. Condition on data without it, e.g. `model.condition(da.reset_index(dim))`."
        )
    return data, note


def _unpacked(ds: xr.Dataset) -> xr.DataArray:
    """What :func:`_packed` was given, in memory."""
    about = json.loads(ds.attrs["about"])
    variables = {}
    for name, note in about["variables"].items():
        variable = ds.variables[name]
        variables[name] = xr.Variable(variable.dims, _unpacked_values(variable.values, note), note["attrs"])
    field, bounds = variables.pop(_NAME), {name: variables.pop(name) for name in about.get("bounds", ())}
    found = xr.DataArray(field.data, variables, field.dims, about["name"], field.attrs)
    found.encoding = about.get("encoding", {}) | ({OF_COORDINATES: bounds} if bounds else {})
    return found


def _unpacked_values(values: Any, note: dict[str, Any]) -> Any:
    if "calendar" in note:
        from cftime import num2date

        return np.asarray(num2date(values, _SINCE, calendar=note["calendar"]), object)
    if "bytes" in note:
        return np.char.encode(values.astype(object).astype(str), note["bytes"])
    return values.astype(note["dtype"])


def _jsonable(value: Any) -> Any:
    """An attribute that JSON does not know: its plain numbers, or what it prints as."""
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else str(value)


@dataclass(frozen=True, eq=False)
class Stored:
    """What a file holds of a model: its plain parts, and the arrays."""

    template: xr.DataArray
    errors: xr.DataArray | None
    valid: xr.DataArray | bool | None
    barrier: Barrier | None
    parts: dict[str, Any]
    has_data: bool
    components: dict[str, dict[str, Any]] | None = None
    measures: dict[str, Measure] | None = None


def read(path: str | Path) -> Stored | dict[Any, Stored]:
    """Read what :func:`save` wrote: a model, or those of several variables by name.

    Raises
    ------
    FileFormatError
        When it is no such file, or of a newer format.
    """
    path = as_path(path)
    if not path.exists():
        raise FileFormatError(f"There is no file {str(path)!r}. Give the path that `model.save(path)` wrote.")
    how: dict[str, Any] = {"engine": "zarr", "consolidated": False} if path.is_dir() else {"engine": "netcdf4"}
    try:
        with xr.open_datatree(path, decode_cf=False, **how) as opened:
            tree = opened.load()
    except (OSError, ValueError, KeyError) as error:
        raise FileFormatError(f"{str(path)!r} cannot be read as netCDF or Zarr: {error}.") from None
    if "xgpfill" not in tree.attrs:
        raise FileFormatError(f"{str(path)!r} is not a model saved by xgpfill. Write one with `model.save(path)`.")
    try:
        state = _state(tree, path)
        if "models" not in state:
            return _stored(tree, path)
        return {from_plain(name): _stored(tree.children[str(i)], path) for i, name in enumerate(state["models"])}
    except FileFormatError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(
            f"{str(path)!r} is a model saved by xgpfill, but damaged ({type(error).__name__}: {error}). Write it anew "
            f"with `model.save(path)`."
        ) from error


def _state(tree: xr.DataTree, path: Path) -> dict[str, Any]:
    """The plain part of a file, of a format that is known."""
    state: dict[str, Any] = json.loads(tree.attrs["xgpfill"])
    if state["format"] > FORMAT:
        raise FileFormatError(
            f"{str(path)!r} has format {state['format']}, newer than {FORMAT}, the newest this version reads. Update: "
            f"`pip install -U xgpfill`."
        )
    return state


def _stored(tree: xr.DataTree, path: Path) -> Stored:
    state = _state(tree, path)
    arrays = {str(name): _unpacked(node.to_dataset()) for name, node in tree.children.items()}
    parts = {name: from_plain(state[name]) for name in _PARTS if name in state or state["format"] == FORMAT}
    parts["screening"] = tuple(from_plain(state["screening"])) if "screening" in state else (None, None)
    if state["format"] == 1:  # intervals were widened by a factor on all variances
        parts["intervals"] = None
        parts["record"].pop("calibration", None)
    valid = arrays.get("valid", parts.pop("valid"))
    components = dict(state["components"]) if "components" in state else None
    told = tree.attrs.get("measures")
    measures = None if told is None else {name: from_plain(own) for name, own in json.loads(told)}
    barrier = Barrier.from_array(arrays["barrier"]) if "barrier" in arrays else None
    return Stored(arrays["observed"], arrays.get("errors"), valid, barrier, parts, state["data"], components, measures)


_PARTS = (
    "prior", "scaling", "settings", "options", "roles", "metric", "clock", "record", "share", "typical_error", "valid",
    "learned_shape", "intervals", "vertical",
)  # fmt: skip


def _kind(path: Path) -> str:
    if path.suffix in (".nc", ".nc4"):
        return "netcdf"
    if path.suffix == ".zarr":
        return "zarr"
    raise XgpfillError(f"Cannot tell the format of {str(path)!r} from its name. End it in '.nc' or '.zarr'.")
