"""Variables filled together and apart: a correlated and an uncorrelated pair, and the time that three variables take.

python benchmarks/joint.py                        # five seeds of each pair, and the times
python benchmarks/joint.py --seeds 1 --no-times

Fields of one Matérn-3/2 covariance in time and on the sphere, one with 10 % and one with 30 % noise, hidden in blocks
of 5 × 4 cells: 60 % of those of the first, 30 % of those of the second, apart. RMSE on hidden cells, of both together
in standard deviations of each; coverage of 95 % intervals; seconds of fit and reconstruction.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import xgpfill  # noqa: E402
from cases import save, surroundings  # noqa: E402
from tests import reference as ref  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

NOISES, HIDDEN = (0.1, 0.3, 0.2), (0.6, 0.3, 0.45)
BLOCK = 5, 4
CORRELATIONS = 0.9, 0.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a line each and save all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--times", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--save", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args(arguments)
    options.threads, options.targets, options.seed = None, None, 0
    about = {name: value for name, value in surroundings(options).items() if "peers" not in name}
    rows = [compared(correlation, seed) for correlation in CORRELATIONS for seed in range(options.seeds)]
    times = timed() if options.times else {}
    if options.save:
        save(HERE / "results" / "joint.json", {**about, "pairs": rows, "times": times})


def fields(correlation: float, seed: int, *, count: int = 2, shape: tuple[int, int, int] = (12, 10, 12)) -> Any:
    """The truth of some variables of unit variance, each correlated with the first, and what is seen of them."""
    rng, (nt, ny, nx) = np.random.default_rng(seed), shape
    lat, lon = np.linspace(30.0, 40.0, ny), np.linspace(0.0, 12.0, nx)
    places = ref.chord(*(x.ravel() for x in np.meshgrid(lat, lon, indexing="ij")))
    matrices = ref.distance(places, places), ref.distance(np.arange(nt), np.arange(nt))
    factors = [
        np.linalg.cholesky(ref.matern(d, length, 1.5) + 1e-9 * np.eye(len(d)))
        for d, length in zip(matrices, (300.0, 4.0), strict=True)
    ]
    drawn = [(factors[1] @ rng.standard_normal((nt, ny * nx)) @ factors[0].T).reshape(shape) for _ in range(count)]
    coords = {
        "time": np.datetime64("2021-01-01") + np.arange(nt).astype("timedelta64[D]"),
        "lat": ("lat", lat, {"units": "degrees_north"}), "lon": ("lon", lon, {"units": "degrees_east"}),
    }  # fmt: skip
    mixed = [drawn[0], *(correlation * drawn[0] + np.sqrt(1 - correlation**2) * own for own in drawn[1:])]
    truth = xr.Dataset({f"v{k}": (("time", "lat", "lon"), own) for k, own in enumerate(mixed)}, coords)
    seen = {}
    for k, name in enumerate(truth):
        blocks = rng.random((nt, -(-ny // BLOCK[0]), -(-nx // BLOCK[1]))) < HIDDEN[k]
        hidden = blocks.repeat(BLOCK[0], 1).repeat(BLOCK[1], 2)[:, :ny, :nx]
        seen[name] = (truth[name] + NOISES[k] * rng.standard_normal(shape)).where(truth[name].copy(data=~hidden))
    return truth, xr.Dataset(seen)


def filled(ds: xr.Dataset, truth: xr.Dataset, **how: Any) -> dict[str, Any]:
    """Errors on hidden cells, coverage, seconds."""
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xgpfill.errors.XgpfillWarning)  # that variables stay apart
        model = ds.gpfill.fit(variable=list(ds), valid=True, **how)
        found = model.reconstruct()
    seconds = time.perf_counter() - began
    rmse = {
        name: float((((found.mean[name] - truth[name]) ** 2).where(ds[name].isnull())).mean()) ** 0.5 for name in ds
    }
    sd = found.std()
    inside = [float((abs(found.mean[n] - truth[n]) <= 1.96 * sd[f"{n}_std"]).where(ds[n].isnull()).mean()) for n in ds]
    both = float(np.sqrt(np.mean(np.square(list(rmse.values())))))
    return {"kind": type(model).__name__, "rmse": rmse, "both": both, "coverage95": inside, "seconds": seconds}


def compared(correlation: float, seed: int) -> dict[str, Any]:
    """One pair, together and apart."""
    truth, ds = fields(correlation, seed)
    apart, together = filled(ds, truth), filled(ds, truth, joint=True)
    ratio = together["both"] / apart["both"]
    print(f"correlation {correlation}, seed {seed}: {together['kind']}, RMSE {apart['both']:.4f} apart, "
          f"{together['both']:.4f} together, ratio {ratio:.3f}; {apart['seconds']:.0f} and {together['seconds']:.0f} s",
          flush=True)  # fmt: skip
    return {"correlation": correlation, "seed": seed, "apart": apart, "together": together, "ratio": ratio}


def timed() -> dict[str, float]:
    """Seconds to reconstruct three variables together, and one that has a third of their observations; iterative."""
    _, ds = fields(0.9, 0, count=3, shape=(20, 24, 32))
    found = {}
    for name, chosen, how in (("one", ds[["v2"]], {}), ("three", ds, {"variable": list(ds), "joint": True})):
        model = chosen.gpfill.fit(valid=True, method="iterative", **how)
        model.reconstruct()  # compiled loops are loaded
        fresh = model.condition(ds if name == "three" else ds.v2, valid=True)
        began, work = time.perf_counter(), time.process_time()
        fresh.reconstruct()
        found[f"{name} (s)"], found[f"{name} (processor s)"] = time.perf_counter() - began, time.process_time() - work
    print(found)
    return found


if __name__ == "__main__":
    main()
