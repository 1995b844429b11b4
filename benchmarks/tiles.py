"""Fields made in tiles against the same fields made at once: shared cases, made clouds, a region of a quarter degree.

python benchmarks/tiles.py
python benchmarks/tiles.py --case tas_dynamic90

Those "as large" are taken for fields of more than a million cells: how far observations matter is measured, and tiles
see no farther.

Of hidden cells: how far means in tiles are from those of one tile, in its standard deviations (root mean square, 99th
percentile), the median ratio of standard deviations, RMSE over that of one tile, 95 % coverage of both, and seconds.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import xarray as xr

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import xgpfill  # noqa: E402
from cases import save, surroundings  # noqa: E402
from scale import NOISE, block  # noqa: E402
from xgpfill.tiling.views import screening  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DATA = HERE.parent.parent / "shared" / "data"
COLUMNS = ("rms", "99 %", "sd ratio", "RMSE", "95 %", "of one", "seconds", "of one")
Parts = tuple[xr.DataArray, xr.DataArray, Any]


def shared(name: str) -> Parts:
    """Observations, truth and where the field exists."""
    ds = xr.open_dataset(DATA / f"{name}.nc").load()
    return ds["obs"], ds["truth"], ds["valid"]


def under_clouds() -> Parts:
    """Temperatures of which clouds hide 88 %."""
    _, truth, valid = shared("tas_dynamic50")
    mask = xgpfill.masks.clouds(truth, 0.88, lengthscale=800.0, duration=2.0, seed=3)
    return truth.where(mask), truth, valid


def region(*, clouds: bool) -> Parts:
    """Thirty days of a quarter degree, 30 % seen, or 20 % where clouds are not."""
    location = [(0, 2), (0, 30), (0, 60), (0, 240)]
    cells = block(0.125 + 0.25 * np.arange(-32, 28), {None: {"array-location": location}})
    lat, lon = 0.125 + 0.25 * np.arange(-32, 28), 0.25 * np.arange(240)
    coords = {
        "time": np.datetime64("2020-01-01", "ns") + np.arange(30) * np.timedelta64(1, "D"),
        "lat": lat,
        "lon": lon,
    }
    truth, observed = (xr.DataArray(part, coords, ("time", "lat", "lon")) for part in cells)
    if clouds:
        noise = NOISE * np.random.default_rng(0).standard_normal(truth.shape)
        observed = (truth + noise).where(xgpfill.masks.clouds(truth, 0.8, lengthscale=500.0, duration=2.0, seed=3))
    return observed, truth, True


AS_LARGE = " as large"
CASES: dict[str, tuple[Callable[[], Parts], tuple[dict[str, int], ...]]] = {
    "tas_dynamic90": (lambda: shared("tas_dynamic90"), ({"time": 10}, {"time": 5}, {"lat": 6}, {"time": 10, "lat": 6})),
    "tas_dynamic50": (lambda: shared("tas_dynamic50"), ({"time": 10}, {"time": 5})),
    "tas under clouds": (under_clouds, ({"time": 10}, {"time": 5}, {"time": 10, "lat": 6})),
    "alboran_clouds": (lambda: shared("alboran_clouds"), ({"time": 5}, {"lat": 40})),
    "tas_dynamic90" + AS_LARGE: (lambda: shared("tas_dynamic90"), ({"time": 10}, {"time": 5}, {"lat": 6, "lon": 16})),
    "tas_dynamic50" + AS_LARGE: (lambda: shared("tas_dynamic50"), ({"time": 10},)),
    "tas under clouds" + AS_LARGE: (under_clouds, ({"time": 10}, {"time": 5})),
    "alboran_clouds" + AS_LARGE: (lambda: shared("alboran_clouds"), ({"lat": 40, "lon": 60},)),
    "region" + AS_LARGE: (lambda: region(clouds=False), ({"time": 10}, {"lat": 30, "lon": 60})),
    "region under clouds" + AS_LARGE: (lambda: region(clouds=True), ({"time": 10}, {"lat": 30, "lon": 60})),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the cases asked for, print a line for each way to cut and save all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=list(CASES), help="may be repeated")
    parser.add_argument("--save", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args(arguments)
    options.threads, options.seed, options.targets = None, None, None
    about = {name: value for name, value in surroundings(options).items() if "peers" not in name}
    rows: list[dict[str, Any]] = []
    print(f"{'':44}" + "".join(f"{title:>10}" for title in COLUMNS))
    for name in options.case or CASES:
        for row in measured(name):
            rows.append({"case": name, **row})
            numbers = [value for key, value in row.items() if key != "tile"]
            print(f"{name + ' ' + str(row['tile']):44}" + "".join(f"{value:10.3f}" for value in numbers), flush=True)
            if options.save:
                save(HERE / "results" / "tiles.json", {**about, "tiles": rows})


def measured(name: str) -> list[dict[str, Any]]:
    """Every way to cut a case, against one tile."""
    (make, tiles), rows = CASES[name], []
    observed, truth, valid = make()
    large = 0 if name.endswith(AS_LARGE) else screening.LARGE
    with warnings.catch_warnings(), mock.patch.object(screening, "LARGE", large):
        warnings.simplefilter("ignore")
        model = observed.gpfill.fit(valid=valid, progress=False)
        one, seconds = timed(model, {"time": observed.sizes["time"]})
        hidden = observed.isnull() & one.mean.notnull()
        for tile in tiles:
            tiled, own = timed(model, tile)
            off = np.abs((tiled.mean - one.mean) / one.std()).where(hidden).values
            scores = [r.score(truth) for r in (tiled, one)]
            rows.append({
                "tile": tile,
                "rms": float(np.sqrt(np.nanmean(off**2))),
                "p99": float(np.nanquantile(off, 0.99)),
                "sd_ratio": float(np.nanmedian((tiled.std() / one.std()).where(hidden))),
                "rmse_ratio": float(scores[0].rmse / scores[1].rmse),
                "coverage95": float(scores[0].coverage95),
                "coverage95_of_one": float(scores[1].coverage95),
                "seconds": own,
                "seconds_of_one": seconds,
            })  # fmt: skip
    return rows


def timed(model: Any, tile: dict[str, int]) -> tuple[Any, float]:
    """A reconstruction and the seconds it took."""
    began = time.perf_counter()
    found = model.reconstruct(tile=tile, progress=False)
    return found, time.perf_counter() - began


if __name__ == "__main__":
    main()
