"""A century of annual means at stations, most of them with gaps, as a field on a grid.

python examples/stations.py
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

YEARS = pd.date_range("1921-07-01", periods=100, freq="365D")
NOISE = 0.15  # K
GRID = {"lat": np.arange(36.0, 60.1, 2.0), "lon": np.arange(-10.0, 30.1, 2.5)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Make stations, fit them, map every tenth year, score, draw."""
    options = parse(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    records = measured(np.random.default_rng(0), options.stations)
    began = time.perf_counter()
    model = records.gpfill.fit(valid=True)  # a station that says nothing in a year is a gap
    maps = model.predict({"time": YEARS[::10], **GRID})
    seconds = time.perf_counter() - began
    truth = anomaly(maps.mean.time, maps.mean.lat, maps.mean.lon).transpose(*maps.mean.dims)
    share = float(records.notnull().mean())
    print(f"{records.sizes['station']} stations, {share:.0%} of {YEARS.size} years seen, in {seconds:.1f} s\n{model}\n")
    error = maps.mean - truth
    inside = float((abs(error) < 1.96 * maps.std()).mean())
    print(f"RMSE {float(np.sqrt((error**2).mean())):.2f} K of {float(truth.std()):.2f} K; ", end="")
    print(f"{inside:.1%} of the truth within 1.96 standard deviations")
    maps.plot.comparison(truth, time=YEARS[50]).savefig(options.output / "maps.png", dpi=110)
    place = {"time": YEARS, "lat": 48.0, "lon": 10.0}
    series = model.predict(place)
    known = anomaly(series.mean.time, series.mean.lat, series.mean.lon)
    ax = series.plot.series(truth=known, draws=model.sample(3, target=place))
    ax.figure.savefig(options.output / "series.png", dpi=110)
    print(f"Pictures: {options.output.resolve()}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Bring a century of stations to a grid.")
    parser.add_argument("--stations", type=int, default=60)
    parser.add_argument("--output", type=Path, default=Path("stations_output"), help="folder for the pictures")
    return parser.parse_args(arguments)


def anomaly(when: xr.DataArray, lat: xr.DataArray, lon: xr.DataArray) -> xr.DataArray:
    """A warming that is larger in the north-east, and oscillations that go round, K."""
    years = (when - np.datetime64(YEARS[0])) / np.timedelta64(365, "D")
    warming = 1.5 * (years / 100) ** 2 * (0.7 + 0.01 * (lat - 36.0) + 0.01 * (lon + 10.0))
    wave = 0.5 * np.sin(2 * np.pi * (years / 7.3 + lon / 60.0)) + 0.4 * np.cos(2 * np.pi * (years / 23.0 - lat / 50.0))
    return (warming + wave).rename("tas").assign_attrs(units="K", long_name="temperature anomaly")


def measured(rng: np.random.Generator, count: int) -> xr.DataArray:
    """Records of stations that begin when they were founded and miss some years."""
    coords = {
        "time": YEARS,
        "lat": ("station", rng.uniform(36, 60, count)),
        "lon": ("station", rng.uniform(-10, 30, count)),
    }
    at = xr.Dataset(coords=coords)
    truth = anomaly(at.time, at.lat, at.lon)
    noise = xr.DataArray(NOISE * rng.standard_normal((YEARS.size, count)), dims=("time", "station"))
    founded = xr.DataArray(rng.integers(0, 80, count), dims="station")
    there = (xr.DataArray(np.arange(YEARS.size), dims="time") >= founded) & (
        noise.copy(data=rng.random(noise.shape)) < 0.9
    )
    return (truth + noise).where(there).transpose("time", "station")


if __name__ == "__main__":
    main()
