"""What every method is given, what it must return, and how that is scored. No method lives here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

VARIABLES = ("obs", "truth", "valid")
SPREAD = ("crps", "coverage95", "coverage68")
PLANE_EXTENT = 20.0  # degrees: smaller regions lie on a local plane, larger ones on the sphere
HELD_OUT, MOST_OF_A_FRAME = 0.2, 0.75


@dataclass(frozen=True)
class Case:
    """A gappy field, its truth, and where the field exists.

    Attributes
    ----------
    name : str
    obs, truth : DataArray (time, lat, lon)
        What a method may see, NaN in the gaps; the whole field.
    valid : bool DataArray (lat, lon)
        Where the field exists.
    """

    name: str
    obs: xr.DataArray
    truth: xr.DataArray
    valid: xr.DataArray

    @property
    def hidden(self) -> xr.DataArray:
        """True on the cells that are scored: a truth, and no observation."""
        return (self.truth.notnull() & self.obs.isnull()).transpose(*self.obs.dims)


@dataclass(frozen=True)
class Request:
    """One measurement: a method on a case.

    Attributes
    ----------
    method : str
        Key of ``measure.RUNNERS``.
    path : str
        The file of the case.
    engine : str
        `method=` of xgpfill's ``fit``.
    seed, threads : int
    targets : {"hidden", "gaps"}
        Cells that peers predict: those that are scored, or all valid cells without an observation.
    model : str
        File that a learned model of xgpfill is saved to or read from; "" for none.
    """

    method: str
    path: str
    engine: str = "auto"
    seed: int = 0
    threads: int = 1
    targets: str = "hidden"
    model: str = ""


@dataclass(frozen=True)
class Filled:
    """What a method answers.

    Attributes
    ----------
    label : str
        The method's name in tables.
    mean : DataArray
        On the grid of the case, data units.
    std : DataArray or None
        Standard deviation of a new observation (noise included), data units; None when the method has none.
    learn_seconds : float or None
        None when nothing is learned.
    solve_seconds : float
    notes : dict
        What was learned or chosen, for the record.
    spread : dict
        Scores of a law of new observations that is not normal, as the method itself tells them.
    """

    label: str
    mean: xr.DataArray
    std: xr.DataArray | None
    learn_seconds: float | None
    solve_seconds: float
    notes: dict[str, Any] = field(default_factory=dict)
    spread: dict[str, float] = field(default_factory=dict)


def open_case(path: Path) -> Case:
    """Read one case into memory.

    Raises
    ------
    ValueError
        When a variable is missing.
    """
    with xr.open_dataset(path) as ds:
        missing = [name for name in VARIABLES if name not in ds]
        if missing:
            raise ValueError(
                f"{path.name} has the variables {sorted(map(str, ds.data_vars))}, but a case needs {list(VARIABLES)}: "
                f"{missing} missing. Write them, e.g. `ds.rename(sst='obs').to_netcdf({path.name!r})`."
            )
        ds = ds[list(VARIABLES)].load()
    return Case(path.stem, ds["obs"], ds["truth"], ds["valid"].astype(bool))


def scored(case: Case, filled: Filled) -> dict[str, float | None]:
    """RMSE, MAE, CRPS (data units), coverage of 95 and 68 % intervals on the hidden cells; None without a spread."""
    from xgpfill.metrics import interval_coverage
    from xgpfill.scoring import score_gaussian

    std = xr.full_like(filled.mean, np.nan) if filled.std is None else filled.std
    scores = score_gaussian(filled.mean, std, case.truth, observed=case.obs)
    scores["coverage68"] = interval_coverage(case.truth.where(case.hidden), filled.mean, std, level=0.68, skipna=True)
    found: dict[str, float | None] = {name: float(scores[name]) for name in ("rmse", "mae")}
    spread = {name: None if filled.std is None else float(scores[name]) for name in SPREAD}
    return found | spread | filled.spread


@dataclass(frozen=True)
class Table:
    """A case as the list of points that other tools want.

    Attributes
    ----------
    coordinates : array (n, 1 + d)
        Days, then kilometres: on a local plane (d = 2) when the region is small, else on the sphere (d = 3). A case
        of one frame has no column of days.
    values : array (n,)
        Observations, data units.
    targets : array (m, 1 + d)
        Where to predict.
    has_time : bool
    steps : (float, float)
        Days from one frame to the next, and kilometres between neighbouring cells.
    days : array (time,)
        Of the frames, from the first.
    spacing : (float, float)
        Kilometres between neighbouring cells along y and along x.
    where : bool array (time, y, x)
        The cells of the targets.
    like : DataArray (time, y, x)
        The observations.
    """

    coordinates: NDArray[np.float64]
    values: NDArray[np.float64]
    targets: NDArray[np.float64]
    has_time: bool
    steps: tuple[float, float]
    days: NDArray[np.float64]
    spacing: tuple[float, float]
    where: NDArray[np.bool_]
    like: xr.DataArray

    def field(self, values: NDArray[np.floating[Any]]) -> xr.DataArray:
        """Predictions at the targets as a field on the grid of the case, NaN elsewhere."""
        data = np.full(self.where.shape, np.nan)
        data[self.where] = values
        return self.like.copy(data=data)


@dataclass(frozen=True)
class Scattered:
    """Points of no lattice as other tools want them; see :class:`Table`."""

    coordinates: NDArray[np.float64]
    values: NDArray[np.float64]
    targets: NDArray[np.float64]
    has_time: bool = False


def tabulated(case: Case, targets: str = "hidden") -> Table:
    """List the observations of a case and the cells to predict.

    Parameters
    ----------
    case : Case
    targets : {"hidden", "gaps"}
        The cells that are scored, or every valid cell without an observation.
    """
    from xgpfill.grid.encode import encode

    lattice, layout = encode(case.obs, valid=case.valid, geometry=_geometry(case.obs))
    obs = case.obs.transpose(*layout.canonical_dims).astype(float)
    gaps = case.obs.isnull() & case.valid
    where = (case.hidden if targets == "hidden" else gaps).transpose(*obs.dims).values
    nt, ny, nx = lattice.shape
    places = lattice.space.coordinates
    columns = np.empty((nt, ny, nx, 1 + places.shape[-1]))
    columns[..., 0] = lattice.time[:, None, None]
    columns[..., 1:] = places
    has_time = nt > 1
    columns = columns.reshape(*obs.shape, -1)[..., 0 if has_time else 1 :]
    seen = obs.notnull().values
    space_step = float(np.mean([step for step in lattice.space.steps if step > 0]))
    return Table(
        columns[seen], obs.values[seen], columns[where], has_time, (lattice.time_step, space_step),
        lattice.time - lattice.time[0], lattice.space.steps, where, obs,
    )  # fmt: skip


def held_out(case: Case, like: xr.DataArray, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Choose observations to hide while a peer is tuned, in the shape of the case's own gaps.

    The clearest frames take the gaps of another frame, drawn at random, until a fifth of the observations is hidden,
    as dineof_cvp of DINEOF does; a lone frame takes its own gaps, shifted around. No frame loses more than three
    quarters of what it has. Where gaps leave too little for that, a tenth is hidden at random.

    Parameters
    ----------
    case : Case
    like : DataArray (time, y, x)
        The observations in the order of the answer, as ``Table.like``.
    rng : Generator
    """
    seen = like.notnull().values
    gaps = case.valid.broadcast_like(like).transpose(*like.dims).values & ~seen
    held = np.zeros_like(seen)
    nt, ny, nx = seen.shape
    for frame in np.argsort(-seen.sum((1, 2)), kind="stable"):
        shift = (0, 0) if nt > 1 else (rng.integers(ny), rng.integers(nx))
        other = (frame + rng.integers(1, nt)) % nt if nt > 1 else 0
        hidden = seen[frame] & np.roll(gaps[other], shift, (0, 1))
        if hidden.sum() <= MOST_OF_A_FRAME * seen[frame].sum():
            held[frame] = hidden
        if held.sum() >= HELD_OUT * seen.sum():
            return held
    return held if held.any() else seen & (rng.random(seen.shape) < HELD_OUT / 2)


def _geometry(obs: xr.DataArray) -> str:
    """Choose "plane" for a small region of latitudes and longitudes, else whatever suits the coordinates."""
    from xgpfill.grid.dims import find_roles

    roles = find_roles(obs, None)
    if not roles.degrees:
        return "auto"
    extents = [float(np.ptp(obs[name].values)) for name in (roles.y, roles.x)]
    return "plane" if max(extents) < PLANE_EXTENT else "auto"
