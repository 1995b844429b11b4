"""A reconstruction written tile by tile, which goes on where it was stopped."""

from __future__ import annotations

import math
import shutil
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from xgpfill.files import checked_place, require_free
from xgpfill.options import progress_bar
from xgpfill.reconstruction import reconstruct
from xgpfill.tiling.stored import StoredAnswers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from xgpfill.model import FittedModel
    from xgpfill.tiling.plan import TilePlan
    from xgpfill.tiling.solve import TileSolver


def reconstruct_to(
    model: FittedModel,
    solver: TileSolver,
    path: str | Path,
    *,
    mode: str,
    resume: bool,
    include_noise: bool,
    variance: bool,
    show: bool,
) -> None:
    """See :meth:`xgpfill.model.FittedModel.reconstruct_to`."""
    place = checked_place(path)
    require_free(place, mode, model.sources)
    folder = tiles_of(place)
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    found = reconstruct(
        _lazy(model, solver.plan), solver, include_noise=include_noise, variance=variance, show=False,
        stored=StoredAnswers(folder),
    )  # fmt: skip
    write = found.to_netcdf if place.suffix in (".nc", ".nc4", ".h5") else found.to_zarr
    with _counted(show, len(solver.plan) * math.prod(model.lattice.extra_shape)):
        write(place, mode=mode)
    shutil.rmtree(folder)


def tiles_of(place: Path) -> Path:
    """The folder beside a result in which finished tiles are kept until it is written."""
    return place.with_name(f"{place.name}.tiles")


def _lazy(model: FittedModel, plan: TilePlan) -> FittedModel:
    """The model with lazy data, in chunks like the tiles where they were in memory."""
    if model.lattice.is_lazy:
        return model
    import dask.array as da
    import numpy as np

    chunks = [tuple(np.diff(axis.edges).tolist()) for axis in plan.axes]
    values = da.from_array(model.lattice.values, chunks=(*((1,) * n for n in model.lattice.extra_shape), *chunks))
    return replace(model, lattice=replace(model.lattice, values=values))


@contextmanager
def _counted(show: bool, total: int) -> Iterator[None]:
    """A bar that counts tiles as this process finishes them."""
    from dask.callbacks import Callback

    with progress_bar("Reconstructing", show, total=total) as step:

        def finished(key: Any, *_: Any) -> None:
            name = key[0] if isinstance(key, tuple) else key
            if str(name).startswith("solved"):
                step()

        with Callback(posttask=finished):
            yield
