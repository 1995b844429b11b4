"""Whether a change of the code changes any number: 200 small problems, all regimes, and what is found of them.

python benchmarks/same.py --save before.npz       # before the change
python benchmarks/same.py --against before.npz    # after it: says which numbers differ by more than 1e-10

Of every problem: hyperparameters, mean and variance on all cells, at targets, one draw, or the error that was raised.
Numbers are compared relative to the largest of their kind in the problem.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

sys.path[:0] = [str(Path(__file__).parents[1])]

import xgpfill  # noqa: E402
from tests import regimes  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TOLERANCE = 1e-10
KERNELS = ("matern12", "matern32", "matern52", "rbf", "rational_quadratic")
METHODS = ("auto", "exact", "iterative", "variational", "vecchia")
KINDS = ("region", "globe", "image", "stations", "series", "levels", "lazy")
SHAPES = {"image": (1, 18, 20), "stations": (24, 9, 1), "series": (60, 1, 1), "levels": (8, 6, 7)}
Numbers = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Save the numbers of now, or compare them with those of before."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--save", type=Path)
    parser.add_argument("--against", type=Path)
    options = parser.parse_args(arguments)
    found = dict(all_numbers(options.problems))
    if options.save:
        np.savez_compressed(options.save, **found)
    if options.against:
        with np.load(options.against) as before:
            different = compared(dict(before), found)
        print("\n".join(different) or f"{len(found)} arrays are the same within {TOLERANCE:g}")
        sys.exit(int(bool(different)))


def compared(before: Numbers, after: Numbers) -> list[str]:
    """What differs, in words."""
    found = [f"{name}: only {'before' if name in before else 'after'}" for name in sorted(before.keys() ^ after.keys())]
    for name in sorted(before.keys() & after.keys()):
        one, other = before[name], after[name]
        if one.dtype.kind == "U" or other.dtype.kind == "U" or one.shape != other.shape:
            found += [] if np.array_equal(one, other) else [f"{name}: {one!s:.90} became {other!s:.90}"]
            continue
        scale = max(float(np.nanmax(np.abs(one), initial=0.0)), 1e-300)
        same = np.isclose(one, other, rtol=0.0, atol=TOLERANCE * scale, equal_nan=True)
        if not same.all():
            found.append(f"{name}: {np.nanmax(np.abs(one - other)) / scale:.2g} of the largest")
    return found


def all_numbers(problems: int) -> Iterator[tuple[str, Any]]:
    """Every array by its name."""
    for seed in range(problems):
        yield from named(f"problem {seed:03d}", lambda seed=seed: numbers(*problem(np.random.default_rng(seed))))
    for name in regimes.REGIMES:
        yield from named(f"regime {name}", lambda name=name: numbers(regimes.make(name).observed, {}))


def named(name: str, make: Any) -> Iterator[tuple[str, Any]]:
    """The numbers of one problem under its name, or its error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = make()
        except xgpfill.errors.XgpfillError as error:
            found = {"error": np.array(str(error))}
    for part, values in found.items():
        yield f"{name}, {part}", np.asarray(values)


def problem(rng: np.random.Generator) -> tuple[xr.DataArray, dict[str, Any]]:
    """A field with gaps, and how it is fitted."""
    kind = str(rng.choice(KINDS))
    da = field(kind, rng)
    how: dict[str, Any] = {
        "time_kernel": str(rng.choice(KERNELS)), "space_kernel": str(rng.choice(KERNELS)),
        "method": str(rng.choice(METHODS)), "scales": int(rng.integers(1, 3)), "seed": int(rng.integers(3)),
    }  # fmt: skip
    if rng.random() < 0.3:
        how["combine"] = str(rng.choice(["anova", "product", "sum"]))
    if rng.random() < 0.3:
        how["noise_std"] = 0.2
    if kind in ("region", "globe", "levels") and rng.random() < 0.3:
        how["tile"] = {"time": 4}
    return da, how


def field(kind: str, rng: np.random.Generator) -> xr.DataArray:
    """Waves with noise, a part of them seen."""
    shape = SHAPES.get(kind, (8, 8, 10))
    lat, lon = np.linspace(-75, 75, shape[1]), 36.0 * np.arange(shape[2])
    if kind != "globe":
        lat, lon = 40 + 0.5 * np.arange(shape[1]), 5 + 0.5 * np.arange(shape[2])
    t = np.arange(float(shape[0]))
    fields = []
    for _ in range(2 if kind == "levels" else 1):
        phase = rng.uniform(0, 6.3, 3)
        waves = np.sin(0.7 * t[:, None, None] + phase[0]) + np.cos(np.radians(9 * lat) + phase[1])[:, None]
        waves = waves + np.sin(np.radians(2 * lon) + phase[2])
        fields.append(np.where(rng.random(shape) < 0.5, waves + 0.2 * rng.standard_normal(shape), np.nan))
    days = np.datetime64("2020-01-01", "ns") + t.astype(int) * np.timedelta64(1, "D")
    coords = {"time": days, "lat": lat, "lon": lon}
    if kind == "levels":
        return xr.DataArray(np.array(fields), {"level": [500.0, 850.0], **coords}, ("level", "time", "lat", "lon"))
    da = xr.DataArray(fields[0], coords, ("time", "lat", "lon"))
    if kind == "stations":
        places = {"lat": ("site", rng.uniform(40, 50, shape[1])), "lon": ("site", rng.uniform(0, 10, shape[1]))}
        return xr.DataArray(fields[0][:, :, 0], {"time": days, **places}, ("time", "site"))
    if kind in ("image", "series"):
        return da[0] if kind == "image" else da[:, 0, 0]
    return da.chunk(time=4) if kind == "lazy" else da


def numbers(da: xr.DataArray, how: dict[str, Any]) -> Numbers:
    """What is found of a field."""
    model = da.gpfill.fit(progress=False, **({"valid": True} | how))
    found: Numbers = {f"hyperparameters {name}": own.values for name, own in model.hyperparameters.data_vars.items()}
    result = model.reconstruct().compute()
    found |= {"mean": result.mean.values, "variance": result.variance.values}
    if "time" in da.dims and da.sizes["time"] > 1:
        middle = da.time[:1] + (da.time[1] - da.time[0]) / 2
        at = model.predict({"time": middle.values})
        found |= {"mean between": at.mean.compute().values, "variance between": at.variance.compute().values}
    return found | {"draw": model.sample(1, seed=1).compute().values}


if __name__ == "__main__":
    main()
