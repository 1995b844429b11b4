"""How fast the lattice operator is: its batched products against the machine's matrix products, and its cost per cell.

python benchmarks/products.py [--device cpu|cuda] [--dtype float64|float32] [--columns 8] [--save]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from xgpfill.grid.metric import Metric
from xgpfill.kernels.prior import Prior, Term
from xgpfill.kernels.spec import Constant, Matern
from xgpfill.operators.lattice import LatticeOperator

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS = Path(__file__).parent / "results"
LATTICES = {
    "region 70 x 64 x 96": (70, 64, 96, 60.0),
    "region 10 x 201 x 301": (10, 201, 301, 6.0),
    "globe 110 x 64 x 128": (110, 64, 128, 360.0),
    "globe 30 x 96 x 192": (30, 96, 192, 360.0),
    "wide 12 x 64 x 128": (12, 64, 128, 120.0),
    "wide 12 x 64 x 1280": (12, 64, 1280, 300.0),
}
"""Times, latitudes, longitudes, degrees of longitude."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float64")
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    dtype = getattr(torch, options.dtype)
    rate = product_rate(options.device, dtype)
    print(f"matrix products: {rate / 1e9:.1f} GFLOP/s on {options.device}, {options.dtype}")
    rows = [measured(name, *sizes, options, dtype, rate) for name, sizes in LATTICES.items()]
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        about = {"device": options.device, "dtype": options.dtype, "columns": options.columns, "gflops": rate / 1e9}
        path = RESULTS / f"products_{options.device}_{options.dtype}.json"
        path.write_text(json.dumps({**about, "threads": torch.get_num_threads(), "lattices": rows}, indent=1) + "\n")


def measured(
    name: str, nt: int, ny: int, nx: int, width: float, options: Any, dtype: torch.dtype, rate: float
) -> dict[str, Any]:
    """One lattice: seconds of a product, share of the machine's rate, cost per cell and right-hand side."""
    operator = LatticeOperator(prior(), np.arange(float(nt)), places(ny, nx, width), options.device, dtype)
    field = torch.randn(nx * ny, options.columns, nt, dtype=dtype, device=options.device)
    seconds = best(lambda: operator(field), options.device)
    work = operations(operator, options.columns)
    row = {
        "lattice": name,
        "seconds": seconds,
        "share": work / (seconds * rate),
        "ns_per_cell_and_column": seconds / (nt * ny * nx * options.columns) * 1e9,
    }
    print(f"{name:24}{seconds * 1e3:10.1f} ms {row['share']:8.1%} {row['ns_per_cell_and_column']:8.1f} ns a cell")
    return row


def operations(operator: LatticeOperator, columns: int) -> float:
    """Floating-point operations of the batched products: blocks, time matrices and transforms by matrix."""
    nx, ny, nt = operator.shape
    total = 0.0
    for term in operator.terms:
        frequencies = len(term.matrix)
        times = 1 if term.time is None else nt
        total += 2.0 * 2 * frequencies * ny * ny * times * columns
        if term.time is not None:
            total += 2.0 * 2 * frequencies * ny * nt * nt * columns
    transform = operator.transform
    if transform is not None and transform.by_matrix:
        total += 2 * 2.0 * transform.num_frequencies * nx * ny * nt * columns  # half the meridians for each part
    return total


def product_rate(device: str, dtype: torch.dtype) -> float:
    """Operations a second of a large matrix product."""
    n = 2048
    a = torch.randn(n, n, dtype=dtype, device=device)
    b = torch.empty_like(a)
    return 2.0 * n**3 / best(lambda: torch.mm(a, a, out=b), device)


def best(call: Callable[[], Any], device: str, repeats: int = 7) -> float:
    """The least seconds of several calls."""
    call()
    found = []
    for _ in range(repeats):
        if device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - began)
    return min(found)


def prior() -> Prior:
    """Static, common, slow and fast, all Matérn-3/2."""
    matern = Matern
    terms = (
        Term("static", Constant(), matern(1.5, 800.0), 1.0),
        Term("common", matern(1.5, 20.0), Constant(), 0.5),
        Term("slow", matern(1.5, 10.0), matern(1.5, 1500.0), 1.0),
        Term("fast", matern(1.5, 1.5), matern(1.5, 400.0), 1.0),
    )
    return Prior(terms=terms, noise=0.05, geometry="sphere")


def places(ny: int, nx: int, width: float) -> np.ndarray[Any, Any]:
    """Embedded coordinates (ny, nx, 3) in km."""
    latitude = np.linspace(-80.0, 80.0, ny) if width == 360.0 else np.linspace(30.0, 30.0 + width / 2, ny).clip(-89, 89)
    longitude = np.arange(nx) * width / nx
    return Metric("sphere", degrees=True).embed(latitude[:, None], longitude[None])


if __name__ == "__main__":
    main()
