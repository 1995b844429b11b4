"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xgpfill.errors import XgpfillError, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    import xarray as xr


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
        if path.is_dir():
            old = temporary.with_suffix(".old")
            path.replace(old)
            temporary.replace(path)
            shutil.rmtree(old)
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


def uniform_chunks(ds: xr.Dataset) -> xr.Dataset:
    """Chunks of one length along each dimension, as Zarr wants them, where lazy data have others: months, say."""
    lazy = {name: v for name, v in ds.variables.items() if v.chunks is not None}
    return ds.assign({name: v.chunk({d: max(c) for d, c in v.chunksizes.items()}) for name, v in lazy.items()})


def write_netcdf(ds: xr.Dataset, path: str | Path, kwargs: dict[str, Any]) -> None:
    """Write to netCDF, whole or not at all; `kwargs` as those of xarray."""
    _require_whole("to_netcdf", kwargs)
    with written_whole(path) as temporary:
        ds.to_netcdf(temporary, **kwargs)


def write_zarr(ds: xr.Dataset, path: str | Path, kwargs: dict[str, Any]) -> None:
    """Write to a Zarr store, whole or not at all; `kwargs` as those of xarray."""
    _require_whole("to_zarr", kwargs)
    with written_whole(path) as temporary, warnings.catch_warnings():
        # that Zarr 3 has not specified what xarray writes by default
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        uniform_chunks(ds).to_zarr(temporary, **kwargs)


def _require_whole(writer: str, kwargs: dict[str, Any]) -> None:
    """Refuse what writes later or into a part of a file: the file is replaced as soon as the call ends."""
    whole = {"compute": True, "mode": "w", "append_dim": None, "region": None, "group": None}
    for name, value in kwargs.items():
        if name in whole and value != whole[name]:
            raise XgpfillError(
                f"`{writer}` writes a file whole and at once, which {name}={value!r} is not. Type "
                f"`reconstruction.to_dataset().{writer}(path, {name}={value!r})`."
            )
