"""Daily maps with their uncertainty from the tracks of two altimeters, of a field that is known.

python examples/altimetry.py
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr
import xgpfill  # noqa: F401  (registers the accessor .gpfill)

if TYPE_CHECKING:
    from collections.abc import Sequence

REGION = {"lat": np.arange(33.0, 43.1, 0.5), "lon": np.arange(292.0, 308.1, 0.5)}
START, DAYS = pd.Timestamp("2020-03-01"), 20
NOISE = 0.03  # m


def main(arguments: Sequence[str] | None = None) -> None:
    """Fly over the field, fit what was seen, map every day, score, draw."""
    options = parse(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    tracks = flown(np.random.default_rng(0), DAYS)
    began = time.perf_counter()
    model = tracks.gpfill.fit()  # coordinates called time, lat and lon are recognised
    grid = {"time": pd.date_range(START, periods=DAYS), **REGION}
    maps = model.predict(grid)
    seconds = time.perf_counter() - began
    truth = sea_level(maps.mean.time, maps.mean.lat, maps.mean.lon).transpose(*maps.mean.dims)
    print(f"{tracks.size} observations, {maps.mean.size} cells of daily maps in {seconds:.1f} s\n{model}\n")
    error, expected = maps.mean - truth, float(np.sqrt(maps.variance.mean()))
    inside = float((abs(error) < 1.96 * maps.std()).mean())
    print(
        f"RMSE {float(np.sqrt((error**2).mean())):.3f} m of {float(truth.std()):.3f} m, expected {expected:.3f} m; ",
        end="",
    )
    print(f"{inside:.1%} of the truth within 1.96 standard deviations")
    day = START + pd.Timedelta(days=DAYS // 2)
    figure = maps.plot.comparison(truth, time=day)
    figure.savefig(options.output / "maps.png", dpi=110)
    maps.to_netcdf(options.output / "maps.nc", mode="w")
    print(f"Maps and their picture: {options.output.resolve()}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Map sea level from the tracks of altimeters.")
    parser.add_argument("--output", type=Path, default=Path("altimetry_output"), help="folder for the maps")
    return parser.parse_args(arguments)


def sea_level(when: xr.DataArray, lat: xr.DataArray, lon: xr.DataArray) -> xr.DataArray:
    """Eddies that drift westward over a front, m."""
    days = (when - np.datetime64(START)) / np.timedelta64(1, "D")
    rng = np.random.default_rng(7)
    found = 0.4 * np.tanh((lat - 38.0 - 0.7 * np.sin(np.radians(40.0 * lon))) / -1.5) + 0.0 * days
    for _ in range(14):
        y, x, size, sign = rng.uniform(33, 43), rng.uniform(292, 310), rng.uniform(0.6, 1.4), rng.choice([-0.3, 0.3])
        east = (lon - x + 0.06 * days) * np.cos(np.radians(38.0))
        found = found + sign * np.exp(-((lat - y) ** 2 + east**2) / (2 * size**2))
    return found.rename("sla").assign_attrs(units="m", long_name="sea level anomaly")


def flown(rng: np.random.Generator, days: int) -> xr.DataArray:
    """What two altimeters measure along ascending and descending passes, an observation each 20 km or so."""
    passes = []
    for day in np.arange(0.0, days, 0.25):
        along = np.linspace(32.5, 43.5, 60)
        slope = 0.45 if rng.random() < 0.5 else -0.45
        lon = rng.uniform(290, 310) + slope * (along - 38.0)
        seconds = day * 86400 + np.arange(60.0) * 3
        passes.append(np.stack([seconds, along, lon]))
    seconds, lat, lon = np.concatenate(passes, axis=1)
    inside = (lon >= 291.5) & (lon <= 308.5)
    when = START + pd.to_timedelta(seconds[inside], unit="s")
    where = {"time": ("obs", when), "lat": ("obs", lat[inside]), "lon": ("obs", lon[inside])}
    at = xr.Dataset(coords=where)
    seen = sea_level(at.time, at.lat, at.lon)
    return seen + NOISE * xr.DataArray(rng.standard_normal(seen.size), dims="obs")


if __name__ == "__main__":
    main()
