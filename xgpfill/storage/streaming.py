"""A reconstruction written tile by tile, which goes on where it was stopped."""

from __future__ import annotations

import math
import shutil
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.errors import XgpfillError, listed
from xgpfill.files import checked_place, require_free, written_whole
from xgpfill.options import progress_bar
from xgpfill.posterior.field import reconstruct
from xgpfill.tiling.stored import STILL, StoredAnswers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from xgpfill.posterior.state import State
    from xgpfill.tiling.solve import TileSolver
    from xgpfill.tiling.tiles import TilePlan

UNFINISHED = "unfinished"
"""How the result is called until it is whole; a run that was killed leaves it, and the next replaces it."""


def reconstruct_to(
    state: State,
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
    place = checked_place(path).resolve()  # workers may be in other folders
    require_free(place, mode, state.sources)
    folder = tiles_of(place)
    _require_own(folder)
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    unfinished = folder / f"{UNFINISHED}{place.suffix}"
    found = reconstruct(
        _lazy(state, solver.plan), solver, include_noise=include_noise, variance=variance, show=False,
        stored=StoredAnswers(folder),
    )  # fmt: skip
    write = found.to_netcdf if place.suffix in (".nc", ".nc4", ".h5") else found.to_zarr
    try:
        with _counted(show, len(solver.plan) * math.prod(state.lattice.extra_shape)):
            write(unfinished, mode="w")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_left(folder)) from None
    with written_whole(place) as temporary:
        unfinished.replace(temporary)
    shutil.rmtree(folder)


def _left(folder: Path) -> str:
    """What is said of a run that was interrupted; a folder without a finished tile is removed."""
    count = len(list(folder.glob("*.npy")))
    if not count:
        shutil.rmtree(folder)
        return "`reconstruct_to` was interrupted before a tile was finished; nothing was changed"
    return (
        f"`reconstruct_to` was interrupted; {count} finished tiles are kept in {str(folder)!r}. Type the same line "
        f"again to go on, or remove that folder"
    )


def _require_own(folder: Path) -> None:
    """Refuse a folder of the name of ours that holds other things.

    Raises
    ------
    XgpfillError
    """
    if folder.exists() and not folder.is_dir():
        raise XgpfillError(
            f"{str(folder)!r} is a file, and the folder of that name is where finished tiles are kept. Move it, or "
            f"give another path."
        )
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    others = [p.name for p in found if p.suffix not in (".npy", STILL) and UNFINISHED not in p.name]
    if others:
        raise XgpfillError(
            f"{str(folder)!r} is where finished tiles are kept, and it holds other things: {listed(others[:3])}. They "
            f"would be lost. Move them, or give another path."
        )


def tiles_of(place: Path) -> Path:
    """The folder beside a result in which finished tiles are kept until it is written."""
    return place.with_name(f"{place.name}.tiles")


def _lazy(state: State, plan: TilePlan) -> State:
    """The model with lazy data, in chunks like the tiles where they were in memory."""
    if state.lattice.is_lazy:
        return state
    import dask.array as da

    chunks = [tuple(np.diff(axis.edges).tolist()) for axis in plan.axes]
    values = da.from_array(state.lattice.values, chunks=(*((1,) * n for n in state.lattice.extra_shape), *chunks))
    return replace(state, lattice=replace(state.lattice, values=values))


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
