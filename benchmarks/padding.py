"""Edges hidden from fields without gaps and continued into, by every mode of padding; and the seconds for images.

python benchmarks/padding.py
python benchmarks/padding.py --field tas --width 1 2

Each of the four edges is hidden in turn, and the rest padded by as many cells: the root mean square error there. Zero
is that of the field itself and, in fairness, of its anomalies from its mean; replicate and reflect are those of numpy.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import xgpfill  # noqa: E402, F401  (registers .gpfill)
from cases import save, surroundings  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DATA = HERE.parent.parent / "shared" / "data"
WIDTHS = (1, 2, 4, 8)
LINEAR = (
    ("lp1x1", "cov_stab"), ("lp1x1", "cov_sym_stab"), ("lp1x1", "correlation"), ("lp2x1", "cov_stab"),
    ("lp2x1", "cov_sym_stab"), ("lp2x1", "correlation"), ("lp2x3", "correlation"),
)  # fmt: skip


def tas() -> xr.DataArray:
    """Seventy days of air temperature over Europe and the North Atlantic, without gaps."""
    return xr.open_dataset(DATA / "tas_dynamic50.nc")["truth"].load()


def synthetic(fields: int = 8, size: int = 64) -> xr.DataArray:
    """Fields whose spectrum falls with the fourth power of the wavenumber, cut from a sheet twice as large."""
    rng, wavenumber = np.random.default_rng(0), np.fft.fftfreq(2 * size)
    radius = np.hypot(wavenumber[:, None], wavenumber)
    radius[0, 0] = np.inf
    white = np.fft.fft2(rng.standard_normal((fields, 2 * size, 2 * size)))
    drawn = np.fft.ifft2(white / radius**2).real[:, :size, :size]
    return xr.DataArray(drawn / drawn.std(axis=(1, 2), keepdims=True), dims=("field", "y", "x"))


FIELDS: dict[str, Callable[[], xr.DataArray]] = {"tas": tas, "synthetic": synthetic}


def plain(mode: str, **how: Any) -> Callable[..., xr.DataArray]:
    """A mode that fits nothing."""

    def padded(seen: xr.DataArray, widths: dict[str, tuple[int, int]]) -> xr.DataArray:
        values = np.pad(seen.values, [widths.get(str(d), (0, 0)) for d in seen.dims], mode=mode, **how)
        return xr.DataArray(values, dims=seen.dims)

    return padded


def zero_anomalies(seen: xr.DataArray, widths: dict[str, tuple[int, int]]) -> xr.DataArray:
    """Zero in the margins once the mean of each field is taken off."""
    mean = seen.mean(seen.dims[1:])
    return plain("constant")(seen - mean, widths) + mean.variable


def ours(mode: str, method: str | None = None) -> Callable[..., xr.DataArray]:
    """A mode of the accessor."""
    return lambda seen, widths: seen.gpfill.pad(widths, mode=mode, method=method)


MODES: dict[str, Callable[..., xr.DataArray]] = {
    "zero": plain("constant"),
    "zero of anomalies": zero_anomalies,
    "replicate": plain("edge"),
    "reflect": plain("reflect"),
    **{f"{mode} {method}": ours(mode, method) for mode, method in LINEAR},
    "gp": ours("gp"),
}


def edge_error(field: xr.DataArray, width: int, padded: Callable[..., xr.DataArray]) -> float:
    """Root mean square error of the continuation into all four edges."""
    squares = []
    for dim in map(str, field.dims[1:]):
        inner, outer = slice(width, None), slice(None, -width)
        for seen, sides, hidden in (
            (inner, (width, 0), slice(None, width)),
            (outer, (0, width), slice(-width, None)),
        ):
            found = padded(field.isel({dim: seen}), {dim: sides})
            off = found.isel({dim: hidden}).values - field.isel({dim: hidden}).values
            squares.append(float(np.mean(off.astype(float) ** 2)) * off.size)
    cells = 2 * width * sum(field.size // field.sizes[d] for d in field.dims[1:])
    return float(np.sqrt(sum(squares) / cells))


def seconds_of_images() -> dict[str, float]:
    """Padding of 32 × 3 × 256 × 256 images of single precision by 8 cells on all sides, the fastest of three."""
    drawn = np.random.default_rng(0).standard_normal((32, 3, 256, 256)).cumsum(2).cumsum(3).astype("float32")
    images = xr.DataArray(drawn, dims=("batch", "channel", "y", "x"))
    found = {}
    for mode, method in LINEAR:
        times = []
        for _ in range(3):
            began = time.perf_counter()
            images.gpfill.pad({"y": 8, "x": 8}, mode=mode, method=method)
            times.append(time.perf_counter() - began)
        found[f"{mode} {method}"] = round(min(times), 3)
    return found


def recorded(key: str, otherwise: Any) -> Any:
    """What an earlier run left in the results."""
    path = HERE / "results" / "padding.json"
    return json.loads(path.read_text())[key] if path.exists() else otherwise


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the fields asked for, print a line for each mode and save all; rows of other modes stay as they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--field", action="append", choices=list(FIELDS), help="may be repeated")
    parser.add_argument("--width", type=int, nargs="+", default=list(WIDTHS), help="cells of the hidden edge")
    parser.add_argument("--mode", nargs="+", choices=list(MODES), default=list(MODES))
    parser.add_argument("--images", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--save", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args(arguments)
    options.threads, options.seed, options.targets = None, None, None
    about = {name: value for name, value in surroundings(options).items() if "peers" not in name}
    path = HERE / "results" / "padding.json"
    rows: list[dict[str, Any]] = recorded("edges", [])
    seconds = seconds_of_images() if options.images else recorded("seconds_of_images", {})
    for mode, value in seconds.items():
        print(f"{mode:24}{value:10.3f} s for 32 × 3 × 256 × 256")
    for name in options.field or FIELDS:
        field = FIELDS[name]()
        print(f"{name:24}" + "".join(f"{f'{width} cells':>10}" for width in options.width))
        for mode in options.mode:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                errors = [edge_error(field, width, MODES[mode]) for width in options.width]
            rows = [row for row in rows if (row["field"], row["mode"]) != (name, mode)]
            errors_by_width = dict(zip(map(str, options.width), errors, strict=True))
            rows.append({"field": name, "mode": mode, "commit": about["commit"], "rmse": errors_by_width})
            print(f"{mode:24}" + "".join(f"{error:10.4f}" for error in errors), flush=True)
            if options.save:
                save(path, {**about, "edges": rows, "seconds_of_images": seconds})


if __name__ == "__main__":
    main()
