"""Files that are written whole or not at all, and never over what is there unless that was asked for."""

from __future__ import annotations

import os
import shutil
import uuid
import warnings
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import xarray as xr

from xgpfill.errors import PlaceTakenError, XgpfillError, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MODES = ("w-", "w")
"""Write where nothing is, as xarray means it; or replace what is there."""


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """A temporary neighbour of `path` that takes its place only when writing has succeeded.

    Raises
    ------
    XgpfillError
        When `path` is no place to write to, or a folder whose content would be lost.
    """
    path = checked_place(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        if path.is_dir() or (path.exists() and temporary.is_dir()):
            old = temporary.with_suffix(".old")
            path.replace(old)
            temporary.replace(path)
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        else:
            temporary.replace(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def as_path(path: Any) -> Path:
    """A path from what names one.

    Raises
    ------
    XgpfillError
    """
    if not isinstance(path, (str, os.PathLike)) or not str(path) or "\0" in str(path):
        raise XgpfillError(f"path={shown(path)}: expected the name of a file, e.g. `'model.nc'` or a pathlib.Path.")
    return Path(path)


def checked_place(path: str | Path) -> Path:
    """A path that can be written to.

    Raises
    ------
    XgpfillError
        When it is no place to write to, or a folder whose content would be lost.
    """
    said, path = str(path), as_path(path)
    if "://" in said:
        raise XgpfillError(f"{said!r} is an address; expected a path on this machine. Write to one and copy it there.")
    if not path.parent.is_dir():
        raise XgpfillError(
            f"There is no folder {str(path.parent)!r} to write {path.name!r} into. Make it first, e.g. "
            f"`pathlib.Path({str(path.parent)!r}).mkdir(parents=True)`."
        )
    if path.is_dir() and any(path.iterdir()) and not any((path / name).exists() for name in ("zarr.json", ".zgroup")):
        raise XgpfillError(
            f"{str(path)!r} is a folder that holds other things than a Zarr store; they would be lost. Give a path "
            f"inside it, e.g. {str(path / 'out.zarr')!r}."
        )
    return path


def require_free(path: str | Path, mode: Any, sources: Iterable[Path] = ()) -> None:
    """Refuse a place that is taken, unless `mode` is "w", and one that the data come from, whatever the mode.

    Parameters
    ----------
    path : path
        A place that can be written to.
    mode : {"w-", "w"}
    sources : paths
        Files and stores that the data were opened from, as :func:`sources_of` finds them.

    Raises
    ------
    XgpfillError
        For another mode, or where the data come from.
    PlaceTakenError
        When something is there; a FileExistsError too.
    """
    if mode not in MODES:
        raise XgpfillError(
            f"mode={shown(mode)}: a file is written whole, so choose 'w-' (only where nothing is yet) or 'w' (replace "
            f"what is there)."
        )
    path = as_path(path)
    refuse_sources(path, sources)
    if mode == "w-" and path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise PlaceTakenError(
            f"{str(path)!r} is there already, and mode='w-' (the default) replaces nothing. Give another path, e.g. "
            f"{_other(path)!r}, or type `mode='w'` to replace it."
        )


def refuse_sources(path: Path, sources: Iterable[Path]) -> None:
    """Refuse a place that the data were opened from.

    Raises
    ------
    XgpfillError
    """
    whole = path.resolve()
    for source in sources:
        if whole == source or whole in source.parents or source in whole.parents:
            raise XgpfillError(
                f"The data come from {str(source)!r}, so nothing is written there, whatever the mode: what it holds "
                f"would be lost. Give another path, e.g. {_other(path)!r}."
            )


def _other(path: Path) -> str:
    """A path beside another."""
    numbers = (f"{path.stem}_{k}{path.suffix}" for k in count(2))
    names = chain([f"{path.stem}_filled{path.suffix}"] if "filled" not in path.stem else [], numbers)
    return str(next(p for p in map(path.with_name, names) if not p.exists()))


def sources_of(*fields: Any) -> frozenset[Path]:
    """Files and stores that fields were opened from: those that lazy ones are read from, and those they remember.

    What was opened without chunks is read when it is needed, and afterwards only netCDF remembers its file: so look
    before.

    Parameters
    ----------
    *fields
        DataArrays and Datasets; whatever else there is is in memory.
    """
    found: set[Path] = set()
    for field in fields:
        variables = getattr(field, "variables", None) or getattr(field, "coords", {})
        own = [getattr(field, "variable", None), *(getattr(v, "variable", v) for v in variables.values())]
        for variable in own:
            lazy = getattr(variable, "chunks", None) is not None
            plain = [] if isinstance(variable, xr.IndexVariable) else [getattr(variable, "_data", None)]
            leaves = _leaves(variable.data) if lazy else plain
            names = [getattr(variable, "encoding", {}).get("source"), *map(_file_of, leaves)]
            found |= {Path(name).resolve() for name in names if isinstance(name, (str, os.PathLike))}
    return frozenset(found)


def _leaves(array: Any) -> Iterator[Any]:
    """What the graph of a dask array reads from: values that stand in it alone, or as arguments of blocks."""
    for layer in array.dask.layers.values():
        blocks = getattr(layer, "indices", None)
        if blocks is not None:
            yield from (value for value, labels in blocks if labels is None)
        else:
            yield from (getattr(task, "value", task) for task in layer.values())


def _file_of(leaf: Any) -> Any:
    """The file or store behind an array of xarray or Zarr; None for anything else."""
    while not isinstance(leaf, pd.Index) and hasattr(leaf, "array"):  # xarray wraps them several times
        leaf = leaf.array
    store = getattr(getattr(leaf, "_array", leaf), "store", None)
    if store is not None:
        return getattr(store, "root", None) or getattr(store, "path", None)
    manager = getattr(getattr(leaf, "datastore", None), "_manager", None) or getattr(leaf, "manager", None)
    arguments = getattr(manager, "_args", ())
    return arguments[0] if arguments else None


def uniform_chunks(ds: xr.Dataset) -> xr.Dataset:
    """Chunks of one length along each dimension, as Zarr wants them, where lazy data have others: months, say."""
    lazy = {name: v for name, v in ds.variables.items() if v.chunks is not None}
    return ds.assign({name: v.chunk({d: max(c) for d, c in v.chunksizes.items()}) for name, v in lazy.items()})


def write_netcdf(ds: xr.Dataset, path: str | Path, kwargs: dict[str, Any], sources: Iterable[Path] = ()) -> None:
    """Write to netCDF, whole or not at all, and never onto the `sources` of the data.

    `kwargs` are those of xarray, but that nothing is replaced by default.
    """
    kwargs = _free_to_write(path, "to_netcdf", kwargs, sources)
    with written_whole(path) as temporary:
        ds.to_netcdf(temporary, **kwargs)


def write_zarr(ds: xr.Dataset, path: str | Path, kwargs: dict[str, Any], sources: Iterable[Path] = ()) -> None:
    """Write to a Zarr store in the same way."""
    kwargs = _free_to_write(path, "to_zarr", kwargs, sources)
    with written_whole(path) as temporary, warnings.catch_warnings():
        # that Zarr 3 has not specified what xarray writes by default
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        uniform_chunks(ds).to_zarr(temporary, **kwargs)


def _free_to_write(path: str | Path, writer: str, kwargs: dict[str, Any], sources: Iterable[Path]) -> dict[str, Any]:
    """The arguments but for the mode. Refuse what writes later or into a part of a file: it is written at once."""
    refuse_sources(as_path(path), sources)
    whole = {"compute": True, "append_dim": None, "region": None, "group": None}
    partial = {"mode": kwargs["mode"]} if kwargs.get("mode") in ("a", "a-", "r+") else {}
    partial |= {name: value for name, value in kwargs.items() if name in whole and value != whole[name]}
    for name, value in partial.items():
        raise XgpfillError(
            f"`{writer}` writes a file whole and at once, which {name}={value!r} is not. Type "
            f"`reconstruction.to_dataset().{writer}(path, {name}={value!r})`."
        )
    require_free(checked_place(path), kwargs.get("mode", "w-"))
    return {name: value for name, value in kwargs.items() if name != "mode"}
