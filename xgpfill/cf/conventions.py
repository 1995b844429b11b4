"""What CF asks of an answer beside names and units: that it mentions no variable which is not there, and the like.

Metadata Conventions 1.11, https://cfconventions.org; what answers are called is in :mod:`xgpfill.results.attributes`.
"""

from __future__ import annotations

import datetime as dt
import re
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from xgpfill.words import name_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    import xarray as xr

PLACING = ("grid_mapping", "cell_measures")
"""Attributes of a field that name variables which say where and how large its cells are."""
OF_DATASET = "dataset_attrs"
"""Encoding of a field under which it keeps what its Dataset says of itself; no file has it."""
OF_COORDINATES = "coordinate_bounds"
"""The same for bounds of its coordinates, which have a dimension that a DataArray has no room for."""
_ORIGIN = ("title", "institution", "source", "license")
_ADDED_TO = ("history", "references")
_OF_FIELDS = (*PLACING, "ancillary_variables")
BOUNDS = ("bounds", "climatology")
"""Attributes of a coordinate that name a variable of the edges of its cells."""
_OF_COORDINATES = (*BOUNDS, "formula_terms")
_ON_SCALE, _DIFFERENCE = "temperature: on_scale", "temperature: difference"
_TEMPERATURES = {"k", "kelvin", "degk", "degc", "celsius", "°c", "degf", "fahrenheit", "°f"}
REFERENCES = "Gaussian process regression, e.g. Rasmussen & Williams 2006, Gaussian Processes for Machine Learning"


def mentioned(reference: Any) -> set[str]:
    """Names in an attribute such as ``grid_mapping``: ``"crs"``, ``"crs: x y"`` or ``"area: areacella"``.

    Examples
    --------
    >>> mentioned("crs"), sorted(mentioned("area: areacella volume: volcello"))
    ({'crs'}, ['areacella', 'volcello'])
    """
    words = str(reference).split()
    keys = {word[:-1] for word in words if word.endswith(":")}
    names = {word for word in words if not word.endswith(":")}
    return (keys | names) if keys and not keys & {"area", "volume"} else names


def placing(field: xr.DataArray) -> tuple[dict[str, Any], dict[str, Any]]:
    """Attributes and encodings that say where cells are, of those whose variables come with the field."""
    found = [
        {key: where[key] for key in PLACING if key in where and _is_here(where[key], field)}
        for where in (field.attrs, field.encoding)
    ]
    return found[0], {key: value for key, value in found[1].items() if key not in field.attrs}


def mapping_names(field: xr.DataArray) -> set[str]:
    """The variables that hold the coordinate reference system of a field."""
    return mentioned(field.attrs.get("grid_mapping", "")) | mentioned(field.encoding.get("grid_mapping", ""))


def _is_here(reference: Any, field: xr.DataArray) -> bool:
    return mentioned(reference) <= set(map(str, field.coords))


def own_attrs(field: xr.DataArray) -> dict[str, Any]:
    """Attributes of a field, without mention of what does not come with it."""
    return {k: v for k, v in field.attrs.items() if k not in _OF_FIELDS or _is_here(v, field)}


def settled(answer: xr.DataArray) -> xr.DataArray:
    """The same field with coordinates as CF wants them; those of the user's data stay as they are."""
    out = answer.copy(deep=False)
    for name in out.coords:
        coordinate = out.coords[name]
        for key in _OF_COORDINATES:
            for where in (coordinate.attrs, coordinate.encoding):
                if key in where and not _is_here(where[key], answer):
                    del where[key]
        _leave_out_fill(coordinate)
    return out


def _leave_out_fill(coordinate: xr.DataArray) -> None:
    """See to it that a coordinate gets no fill value in a file."""
    if coordinate.dtype.kind == "f" and not _has_gaps(coordinate):
        coordinate.attrs.pop("_FillValue", None)
        coordinate.encoding["_FillValue"] = None


def _has_gaps(coordinate: xr.DataArray) -> bool:
    """Whether a coordinate may have cells without a value; large and lazy ones are not read for that."""
    return coordinate.chunks is not None or coordinate.ndim > 2 or bool(np.isnan(coordinate.values).any())


def with_companions(da: xr.DataArray, ds: xr.Dataset) -> xr.DataArray:
    """A variable of a Dataset with what belongs to it there.

    Those that say where its cells are, its grid mapping and their areas, become coordinates; bounds of coordinates, and
    what the Dataset says of itself, go into the encoding.
    """
    names: set[Hashable] = set()
    for where in (da.attrs, da.encoding):
        for key in PLACING:
            names |= mentioned(where.get(key, "")) & set(map(str, ds.data_vars))
    out = da.assign_coords({n: ds[n].variable for n in names if set(ds[n].dims) <= set(da.dims)})
    said = {key: ds.attrs[key] for key in (*_ORIGIN, *_ADDED_TO, "comment") if key in ds.attrs}
    out.encoding = {**out.encoding, OF_DATASET: said, OF_COORDINATES: _bounds_in(ds, out)}
    return out


def _bounds_in(ds: xr.Dataset, field: xr.DataArray) -> dict[Hashable, xr.Variable]:
    """The bounds that a Dataset holds of the coordinates of a field: along these, and then along their corners."""
    found: dict[Hashable, xr.Variable] = {}
    for name, (_, _, bounds) in _bounds_named(field).items():
        own = ds.variables.get(bounds)
        if own is not None and bounds not in field.coords and own.dims[:-1] == field.coords[name].dims:
            found[bounds] = own if own.chunks is not None and own.ndim > 2 else own.compute()
    return found


def _bounds_named(field: xr.DataArray | xr.Dataset) -> dict[Hashable, tuple[str, str, str]]:
    """The bounds that coordinates mention, and where and by which word they do it."""
    return {
        name: (where, key, str(getattr(coordinate, where)[key]))
        for name, coordinate in field.coords.items()
        for where in ("encoding", "attrs")
        for key in BOUNDS
        if key in getattr(coordinate, where)
    }


def without_bounds(field: xr.DataArray) -> xr.DataArray:
    """A field that may be cut by the user, whose encoding would not be."""
    if OF_COORDINATES not in field.encoding:
        return field
    out = field.copy(deep=False)
    out.encoding = {key: value for key, value in field.encoding.items() if key != OF_COORDINATES}
    return out


def with_bounds(ds: xr.Dataset, observed: Any, positions: Any) -> xr.Dataset:
    """A Dataset with those bounds of its coordinates that the data mention and that came with them.

    Parameters
    ----------
    ds : Dataset
    observed : DataArray or Dataset
        The data, cut like `ds`.
    positions : Dataset, mapping of name to these, or None
        What came with them, cut likewise.
    """
    parts = positions.values() if isinstance(positions, dict) else [positions]
    known = {name: variable for part in parts if part is not None for name, variable in part.variables.items()}
    named = {c: said for c, said in _bounds_named(observed).items() if c in ds.coords and said[-1] in known}
    out = ds.assign_coords({bounds: known[bounds] for *_, bounds in named.values()}).copy(deep=False)
    for name, (where, key, bounds) in named.items():
        getattr(out.coords[name], where)[key] = bounds
        _leave_out_fill(out.coords[bounds])
        _share_units(out.coords[name], known[bounds])
    return out


def _share_units(dates: xr.DataArray, bounds: xr.Variable) -> None:
    """Choose the unit that dates are written in where nothing says it, so that their bounds have the same."""
    if "units" in dates.encoding or bounds.chunks is not None or not dates.size:
        return
    parts = [np.ravel(values)[~pd.isnull(np.ravel(values))] for values in (dates.values, bounds.values)]
    if not all(part.size and (part.dtype.kind == "M" or hasattr(part[0], "calendar")) for part in parts):
        return
    both = np.concatenate(parts)
    first = both.min()
    whole = not (pd.to_timedelta(both - first) % pd.Timedelta("1D")).any()
    since = first if hasattr(first, "isoformat") else pd.Timestamp(first)
    dates.encoding["units"] = f"{'days' if whole else 'seconds'} since {since.isoformat(sep=' ')}"


def origin(field: xr.DataArray) -> dict[str, Any]:
    """The encoding in which a field keeps what its Dataset says of itself."""
    return {key: value for key, value in field.encoding.items() if key == OF_DATASET}


def is_temperature(units: Any) -> bool:
    """Whether units are of a temperature, whose zero may be a place on a scale or no difference.

    Examples
    --------
    >>> is_temperature("degrees_Celsius"), is_temperature("K"), is_temperature("kg")
    (True, True, False)
    """
    plain = re.sub(r"deg(ree)?s?[ _]*", "deg", str(units).strip().lower())
    return plain in _TEMPERATURES or plain.removeprefix("deg") in _TEMPERATURES


def difference(units: Any) -> dict[str, str]:
    """Say of a spread that it is a difference of temperatures, where it is."""
    return {"units_metadata": _DIFFERENCE} if is_temperature(units) else {}


def on_scale(attrs: dict[str, Any]) -> dict[str, str]:
    """Say of a temperature that it is one on a scale, where its standard name says so and nothing else is said."""
    named = str(attrs.get("standard_name", "")).endswith("temperature")
    told = "units_metadata" in attrs or not named or not is_temperature(attrs.get("units", ""))
    return {} if told else {"units_metadata": _ON_SCALE}


def global_attrs(fields: Sequence[xr.DataArray]) -> dict[str, Any]:
    """Attributes of a file: what it is, where it comes from, what was done, and after whom.

    What the Dataset of the data says of itself is kept, or else what the data say; history and references are added to.
    """
    said: dict[str, Any] = {}
    for field in fields:
        own = {key: field.attrs[key] for key in (*_ORIGIN, *_ADDED_TO) if key in field.attrs}
        said = own | origin(field).get(OF_DATASET, {}) | said  # the first field goes before the others
    names = ", ".join(filter(None, map(name_of, fields)))
    today = dt.datetime.now(dt.UTC).date().isoformat()
    history, references = (str(said.get(key, "")).splitlines() for key in _ADDED_TO)
    return {
        "Conventions": "CF-1.11",
        "title": f"{names or 'Field'}: gaps filled by a Gaussian process",
        **said,
        "history": "\n".join([*history, f"{today}: filled by xgpfill {version('xgpfill')}"]),
        "references": "\n".join(dict.fromkeys([*references, REFERENCES])),
    }
