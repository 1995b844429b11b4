"""Files that are written whole or not at all."""

from __future__ import annotations

import shutil
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from xgpfill.errors import XgpfillError

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
    path = _checked(path)
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


def _checked(path: str | Path) -> Path:
    if "://" in str(path):
        raise XgpfillError(f"{path!r} is an address; expected a path on this machine. Write to one and copy it there.")
    path = Path(path)
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
