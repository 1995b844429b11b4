"""Currents that reach farther to the east than to the north: the ratio that is learned, and what it is worth.

python benchmarks/following.py                        # ratios of 1, 2 and 3, six seeds each
python benchmarks/following.py --ratio 2.5 --seeds 3

Fields of tests/currents.py, half of the cells hidden: RMSE on these of a fit with `anisotropy=True` over that of one
without, the ratio that was learned over that of the field, seconds of both fits.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import xgpfill  # noqa: E402, F401  (registers .gpfill)
from cases import save, surroundings  # noqa: E402
from tests.currents import currents  # noqa: E402  (found beside this folder)

if TYPE_CHECKING:
    from collections.abc import Sequence

SHAPE = 16, 24, 32
TOLD = "{ratio:6.1f}{seed:6d}{learned:10.3f}{plain:12.4f}{following:10.4f}{share:8.3f}{plain_s:7.1f}{s:7.1f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a line each and save all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratio", action="append", type=float, help="may be repeated; default 1, 2 and 3")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--save", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args(arguments)
    options.threads, options.targets, options.seed = None, None, 0
    about = {name: value for name, value in surroundings(options).items() if "peers" not in name}
    rows = []
    print(f"{'ratio':>6}{'seed':>6}{'learned':>10}{'RMSE plain':>12}{'with it':>10}{'share':>8}{'s':>7}{'s':>7}")
    for ratio in options.ratio or (1.0, 2.0, 3.0):
        for seed in range(options.seeds):
            row = measured(ratio, seed)
            rows.append(row)
            print(TOLD.format_map(row), flush=True)
    if options.save:
        save(HERE / "results" / "following.json", {**about, "currents": rows})


def measured(ratio: float, seed: int) -> dict[str, Any]:
    """One field, with and without."""
    truth, seen = currents(ratio, seed, SHAPE)
    found: dict[str, Any] = {"ratio": ratio, "seed": seed}
    for name, anisotropy in (("plain", None), ("following", True)):
        began = time.perf_counter()
        model = seen.gpfill.fit(anisotropy=anisotropy, valid=True)
        found["plain_s" if name == "plain" else "s"] = time.perf_counter() - began
        square = (model.reconstruct(variance=False).mean - truth) ** 2
        found[name] = float(np.sqrt(square.where(seen.isnull()).mean()))
    found["learned"] = float(model.hyperparameters.get("anisotropy", 1.0))
    return found | {"share": found["following"] / found["plain"]}


if __name__ == "__main__":
    main()
