"""Fill the gaps of a field and see how good the answer is.

python examples/quickstart.py                            # a made-up sea surface temperature under clouds
python examples/quickstart.py FILE --variable sst        # your own netCDF or Zarr
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
import xgpfill  # noqa: F401  (registers the accessor .gpfill)
from xgpfill.datasets import SENSOR_NOISE, synthetic_sst

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

TRUTH, VALID = "truth", "valid"


@dataclass(frozen=True)
class Case:
    """What the methods may see, what they are scored against, and in words where."""

    observed: xr.DataArray
    truth: xr.DataArray
    valid: xr.DataArray | None
    scored_on: str
    noise: float = 0.0

    @property
    def scored(self) -> xr.DataArray:
        """True where the answer is known and was not seen."""
        return self.truth.notnull() & self.observed.isnull()

    @property
    def measured(self) -> xr.DataArray:
        """The truth as the instrument would have seen it: what 95 % intervals are about."""
        noise = self.noise * np.random.default_rng(0).standard_normal(self.truth.shape)
        return (self.truth + noise).assign_attrs(self.truth.attrs)


def main(arguments: Sequence[str] | None = None) -> None:
    """Load, fill, score, draw, save."""
    options = parse(arguments)
    case = load(options)
    describe(case)
    began = time.perf_counter()
    progress = not options.no_progress
    model = case.observed.gpfill.fit(
        dims=None, method=options.method, valid=case.valid, seed=options.seed, progress=progress
    )
    filled = model.reconstruct(progress=progress).compute()
    seconds = time.perf_counter() - began

    print(f"\n{model}\n")
    print(f"Scores on {case.scored_on}:")
    print(table(all_scores(case, filled), units(case.observed)))
    options.output.mkdir(parents=True, exist_ok=True)
    saved = options.output / "filled.nc"
    filled.to_dataset().to_netcdf(saved)
    picture = draw(case, filled, options.output / "map.png")
    print(f"\nFilled in {seconds:.1f} s.")
    print(f"  mean, variance and standard deviation (CF netCDF): {saved.resolve()}")
    if picture is not None:
        print(f"  map of the frame with the most gaps: {picture.resolve()}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Fill the gaps of a gridded field with a Gaussian process.")
    parser.add_argument("file", nargs="?", type=Path, help="netCDF file or Zarr store (default: a made-up field)")
    parser.add_argument("--variable", help="which variable of the file to fill")
    parser.add_argument("--output", type=Path, default=Path("quickstart_output"), help="folder for the results")
    parser.add_argument("--method", default="auto", help="auto, exact or variational")
    parser.add_argument(
        "--hide", type=share, default=0.1, help="share of the observed cells to hide and score on, 0 to 1"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-progress", action="store_true", help="no progress bars")
    return parser.parse_args(arguments)


def share(text: str) -> float:
    """Read a number between 0 and 1."""
    value = float(text)
    if not 0.0 < value < 1.0:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1; type e.g. `--hide 0.1`")
    return value


# The data


def load(options: argparse.Namespace) -> Case:
    """Take a field, and the truth when there is one; otherwise hide some of what was observed."""
    dataset = synthetic_sst(seed=options.seed) if options.file is None else open_any(options.file)
    name = "sst" if options.file is None else choose_variable(dataset, options.variable)
    data = dataset[name].load()
    valid = dataset[VALID].load().astype(bool) if VALID in dataset and name != VALID else None
    if TRUTH in dataset and name != TRUTH and dict(dataset[TRUTH].sizes) == dict(data.sizes):
        noise = SENSOR_NOISE if options.file is None else 0.0
        where = (
            "the gaps, against what the satellite would have seen" if noise else "the gaps, where the truth is known"
        )
        return Case(data, dataset[TRUTH].load(), valid, where, noise)
    hidden, how = hide(data, options.hide, np.random.default_rng(options.seed))
    return Case(data.where(~hidden), data, valid, f"observed cells hidden {how}")


def open_any(path: Path) -> xr.Dataset:
    """Open netCDF or Zarr, whichever it is."""
    if not path.exists():
        sys.exit(f"There is no {str(path)!r}. Give a netCDF file or a Zarr store, or nothing for a made-up field.")
    return xr.open_zarr(path) if path.is_dir() else xr.open_dataset(path)


def choose_variable(dataset: xr.Dataset, name: str | None) -> str:
    """Take the variable named, or the only one there is."""
    fields = {str(v): d for v, d in dataset.data_vars.items() if d.ndim and d.dtype.kind in "iuf"}
    fields.pop(TRUTH, None)
    if name in fields or (name is not None and name in dataset):
        return str(name)
    if name is None and len(fields) == 1:
        return next(iter(fields))
    listing = "\n".join(f"  {v}  {dict(d.sizes)}  {d.attrs.get('long_name', '')}".rstrip() for v, d in fields.items())
    found = "Several variables could be filled" if name is None else f"There is no variable {name!r}"
    sys.exit(f"{found}. Choose one with `--variable NAME` out of:\n{listing or '  (none with numbers in it)'}")


def time_dim(data: xr.DataArray) -> Hashable | None:
    """Find the dimension of time: by dates along it, or by its name."""
    for dim in data.dims:
        dates = dim in data.indexes and isinstance(data.indexes[dim], (xr.CFTimeIndex, pd.DatetimeIndex))
        if dates or str(dim).lower() in ("time", "t", "date"):
            return dim
    return None


def hide(data: xr.DataArray, wanted: float, rng: np.random.Generator) -> tuple[xr.DataArray, str]:
    """Choose observed cells to hide: under another day's gaps, or at random when no day offers any."""
    along = time_dim(data)
    if along is not None and data.sizes[along] > 1:
        frames = data.transpose(along, ...)
        seen = frames.notnull().values
        hidden = hidden_like_other_frames(seen.reshape(len(seen), -1), wanted, rng)
        if hidden.any():
            found = frames.copy(data=hidden.reshape(seen.shape)).transpose(*data.dims)
            return found, f"under another day's gaps ({share_of(found, data):.1%} of them)"
    found = data.notnull() & (rng.random(data.shape) < wanted)
    return found, f"at random ({share_of(found, data):.1%} of them)"


def hidden_like_other_frames(seen: np.ndarray, wanted: float, rng: np.random.Generator) -> np.ndarray:
    """(frame, cell) True where a frame is seen and its random partner is not, until enough are hidden.

    A partner that hides next to nothing, or nearly everything, is passed over.
    """
    hidden = np.zeros_like(seen)
    for frame in rng.permutation(len(seen)):
        for partner in rng.permutation(len(seen))[:20]:
            candidates = seen[frame] & ~seen[partner]
            if 0.05 <= candidates.sum() / max(seen[frame].sum(), 1) <= 0.9:
                hidden[frame] = candidates
                break
        if hidden.sum() >= wanted * seen.sum():
            break
    return hidden


def share_of(cells: xr.DataArray, data: xr.DataArray) -> float:
    """How many of the observed cells these are."""
    return float(cells.sum() / max(int(data.notnull().sum()), 1))


# What people use today


def climatology(data: xr.DataArray, along: Hashable | None) -> xr.DataArray:
    """Mean over time of each cell; the overall mean where nothing was ever observed."""
    each = data if along is None else data.mean([along])
    overall = float(data.mean())
    return (each.fillna(overall) if along is not None else xr.full_like(data, overall)).broadcast_like(data)


def persistence(data: xr.DataArray, along: Hashable | None) -> xr.DataArray:
    """Last value observed at the cell, else the next, else climatology."""
    if along is None:
        return climatology(data, along)
    return carried(data, along).fillna(carried(data, along, backwards=True)).fillna(climatology(data, along))


def linear(data: xr.DataArray, along: Hashable | None) -> xr.DataArray:
    """Linear in time, nearest at its ends, else climatology; without time, linear along rows and columns."""
    if along is not None:
        inside = data.interpolate_na(along, use_coordinate=data.indexes[along].is_monotonic_increasing)
        return inside.fillna(persistence(data, along))
    directions = [data.interpolate_na(dim, use_coordinate=False) for dim in data.dims if data.sizes[dim] > 1]
    return xr.concat(directions, "direction", coords="minimal").mean("direction").fillna(float(data.mean()))


def carried(data: xr.DataArray, along: Hashable, *, backwards: bool = False) -> xr.DataArray:
    """Carry each observation on in time until the next one."""

    def carry(values: np.ndarray) -> np.ndarray:
        values = values[..., ::-1] if backwards else values
        steps = np.where(np.isfinite(values), np.arange(values.shape[-1]), 0)
        carried_on = np.take_along_axis(values, np.maximum.accumulate(steps, axis=-1), axis=-1)
        return carried_on[..., ::-1] if backwards else carried_on

    out: xr.DataArray = xr.apply_ufunc(carry, data, input_core_dims=[[along]], output_core_dims=[[along]])
    return out.transpose(*data.dims)


# Scores


def all_scores(case: Case, filled: Any) -> dict[str, dict[str, float]]:
    """Score xgpfill and the baselines on the same cells."""
    data, along = case.observed.astype(float), time_dim(case.observed)
    along = along if along is not None and data.sizes[along] > 1 else None
    cells = case.scored & filled.mean.notnull()
    truth = case.measured
    own = filled.score(truth.where(cells))
    return {
        "xgpfill": {name: float(own[name]) for name in ("rmse", "mae", "crps", "coverage95")},
        "linear" if along is None else "linear in time": score(linear(data, along), truth, cells),
        "persistence": score(persistence(data, along), truth, cells),
        "climatology": score(climatology(data, along), truth, cells),
    }


def score(guess: xr.DataArray, truth: xr.DataArray, cells: xr.DataArray) -> dict[str, float]:
    """Score a guess without a spread: its CRPS is its mean absolute error, and it covers nothing."""
    error = (guess - truth).where(cells)
    mae = float(abs(error).mean())
    return {"rmse": float(np.sqrt((error**2).mean())), "mae": mae, "crps": mae, "coverage95": float("nan")}


def table(rows: dict[str, dict[str, float]], unit: str) -> str:
    """Lay scores out as text, one method a line, to three digits of the smallest."""
    smallest = min(values["mae"] for values in rows.values())
    digits = max(0, 2 - int(np.floor(np.log10(smallest)))) if smallest > 0 else 3
    first = f"method{unit}"
    width = max(len(first), *map(len, rows)) + 2
    lines = [f"{first:{width}}{'RMSE':>9}{'MAE':>9}{'CRPS':>9}{'95 % interval covers':>23}"]
    for name, values in rows.items():
        numbers = "".join(f"{values[key]:9.{digits}f}" for key in ("rmse", "mae", "crps"))
        covers = "-" if np.isnan(values["coverage95"]) else f"{values['coverage95']:.1%}"
        lines.append(f"{name:{width}}{numbers}{covers:>23}")
    return "\n".join(lines)


def units(data: xr.DataArray) -> str:
    """Write the units in brackets, or nothing."""
    return f" [{data.attrs['units']}]" if data.attrs.get("units") else ""


def describe(case: Case) -> None:
    """Say what is to be filled."""
    data = case.observed
    sizes = " x ".join(f"{n} {dim}" for dim, n in data.sizes.items())
    exists = data.size if case.valid is None else int(case.valid.broadcast_like(data).sum())
    print(f"{data.name}{units(data)}: {sizes}, {int(data.notnull().sum()) / exists:.1%} observed")
    print(f"Scored on {int(case.scored.sum()):,} cells: {case.scored_on}.")


# The picture


def draw(case: Case, filled: Any, path: Path) -> Path | None:
    """Save a map of the frame with the most gaps; nothing when it is no map."""
    import matplotlib.pyplot as plt
    from xgpfill.plotting import comparison

    chosen = worst_frame(case)
    fields = (case.truth, filled.mean, filled.std(), case.observed)
    truth, mean, std, observed = (field.isel(chosen) for field in fields)
    if truth.ndim != 2:
        return None
    valid = None if case.valid is None else case.valid.isel(chosen, missing_dims="ignore")
    figure = comparison(truth, mean, std, error=mean - truth, observed=observed, valid=valid)
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path


def worst_frame(case: Case) -> dict[Hashable, int]:
    """Find the index, along all dimensions but two of space, of the frame with most cells to score."""
    along = time_dim(case.observed)
    space = [dim for dim in case.observed.dims if dim != along][-2:]
    gaps = case.scored.sum(space)
    place = np.unravel_index(int(gaps.values.argmax()), gaps.shape)
    return {dim: int(i) for dim, i in zip(gaps.dims, place, strict=True)}


if __name__ == "__main__":
    main()
