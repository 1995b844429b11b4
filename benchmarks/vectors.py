"""Winds filled as vectors, beside two scalar fits and scipy's RBFInterpolator tuned in latitude and longitude.

python benchmarks/vectors.py                                    # all winds of tests/winds.py
python benchmarks/vectors.py --wind rough --hidden 0.9

RMSE of both components together over the standard deviation of the truth, on all hidden cells and on those within 15
degrees of a pole; share of the truth within 95 % intervals of either component; seconds of all.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import xgpfill  # noqa: E402, F401  (registers .gpfill)
from cases import save, surroundings  # noqa: E402
from tests import winds  # noqa: E402  (found beside this folder)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import xarray as xr

DEGREES = np.linspace(-90.0, 90.0, 61), np.arange(0.0, 360.0, 3.0)
COARSE = np.linspace(-90.0, 90.0, 32), np.arange(64) * 360.0 / 64
WINDS: dict[str, Callable[[], xr.Dataset]] = {
    "harmonics": lambda: winds.harmonics(*COARSE),
    "sheet": winds.sheet,
    "rough": lambda: winds.rough(*DEGREES),
}
NEAR_POLES = 75.0
KERNELS, SMOOTHINGS, NEIGHBOURS = ("linear", "thin_plate_spline", "cubic"), (0.0, 1e-3, 1e-1, 1.0, 10.0), (20, 60)
TENTH = 0.1


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the winds asked for, print a line each and save all."""
    options = parse(arguments)
    about = {name: value for name, value in surroundings(options).items() if "peers" not in name}
    rows: list[dict[str, Any]] = []
    print(f"{'':52}{'RMSE':>10}{'at poles':>10}{'95 % u':>8}{'95 % v':>8}{'s':>7}")
    for name, share in product(options.wind or WINDS, options.hidden):
        truth = WINDS[name]()
        ds = winds.hidden(truth, share, seed=options.seed)
        for method, fill in methods(name).items():
            began = time.perf_counter()
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                mean, coverage = fill(ds, truth)
            row = {"wind": name, "hidden": share, "method": method, **errors(mean, truth, ds), "coverage95": coverage}
            rows.append({**row, "seconds": time.perf_counter() - began, "warnings": [str(w.message) for w in said]})
            print(told(rows[-1]), flush=True)
    if options.save:
        save(HERE / "results" / "vectors.json", {**about, "winds": rows})


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wind", action="append", choices=list(WINDS), help="may be repeated")
    parser.add_argument("--hidden", action="append", type=float, help="shares of the cells; default 0.5")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", action=argparse.BooleanOptionalAction, default=True)
    found = parser.parse_args(arguments)
    found.threads, found.targets, found.hidden = None, None, found.hidden or [0.5]
    return found


def methods(name: str) -> dict[str, Callable[..., tuple[xr.Dataset, list[float]]]]:
    """What is compared on a wind."""
    if name == "sheet":
        return {
            f"vector, geometry={geometry!r}": lambda ds, truth, g=geometry: ours(ds, truth, vector=True, geometry=g)
            for geometry in ("cylinder", "plane")
        }
    return {
        "vector": lambda ds, truth: ours(ds, truth, vector=True),
        "two scalars": ours,
        "scipy RBF in lat-lon, tuned": interpolated,
    }


def ours(ds: xr.Dataset, truth: xr.Dataset, **how: Any) -> tuple[xr.Dataset, list[float]]:
    """Defaults."""
    found = ds.gpfill.fit(variable=list(winds.NAMES), valid=True, **how).reconstruct()
    return found.mean, found.score(truth).coverage95.values.tolist()


def interpolated(ds: xr.Dataset, _: xr.Dataset) -> tuple[xr.Dataset, list[float]]:
    """Each component in units of cells, the globe repeated on both sides; tuned on a tenth of what was observed."""
    from scipy.interpolate import RBFInterpolator

    lat, lon = np.meshgrid(ds.lat, ds.lon, indexing="ij")
    step = float(ds.lon[1] - ds.lon[0])
    filled = ds.copy()
    for name in winds.NAMES:
        seen = ds[name].notnull().values
        places, values = np.column_stack([lat[seen], lon[seen]]) / step, ds[name].values[seen]
        order = np.random.default_rng(0).permutation(values.size)
        out, kept = np.split(order, [int(TENTH * order.size)])

        def predicted(known: Any, wanted: Any, how: Any, p: Any = places, v: Any = values) -> Any:
            around = np.concatenate([p[known] + [0.0, turn / step] for turn in (-360.0, 0.0, 360.0)])
            kernel, smoothing, neighbours = how
            every = {"kernel": kernel, "smoothing": smoothing, "neighbors": neighbours}
            return RBFInterpolator(around, np.tile(v[known], 3), **every)(wanted)

        choices = list(product(KERNELS, SMOOTHINGS, NEIGHBOURS))
        best = min(choices, key=lambda how: np.mean((predicted(kept, places[out], how) - values[out]) ** 2))
        gaps = np.column_stack([lat[~seen], lon[~seen]]) / step
        complete = ds[name].values.copy()
        complete[~seen] = predicted(np.arange(values.size), gaps, best)
        filled[name] = ds[name].copy(data=complete)
    return filled, []


def errors(mean: xr.Dataset, truth: xr.Dataset, ds: xr.Dataset) -> dict[str, float]:
    """RMSE over the standard deviation, on all hidden cells and near the poles."""
    square = ((mean - truth) ** 2).where(ds.isnull()).to_dataarray()
    sd = float(truth.to_dataarray().std())
    near = square.where(abs(truth.lat) >= NEAR_POLES)
    return {"rmse": float(square.mean()) ** 0.5 / sd, "rmse_near_poles": float(near.mean()) ** 0.5 / sd}


def told(row: dict[str, Any]) -> str:
    """One line of the table."""
    title = f"{row['wind']}, {row['hidden']:.0%} hidden: {row['method']}"
    shares = "".join(f"{share:8.3f}" for share in row["coverage95"]) or 16 * " "
    return f"{title:52}{row['rmse']:10.5f}{row['rmse_near_poles']:10.5f}{shares}{row['seconds']:7.0f}"


if __name__ == "__main__":
    main()
