"""What learning makes of fields whose truth and hyperparameters are known: the regimes of tests/regimes.py.

python benchmarks/regimes.py                                    # all regimes, seeds 0 to 9
python benchmarks/regimes.py --regime "static map" --seeds 3 --starts 30

Each regime is learned from, filled and scored on its hidden cells. The table has, over all seeds: RMSE over that with
the true hyperparameters (mean, worst, and the share of seeds within 1.03), the share of new observations of hidden
cells within central intervals of 50, 68, 95 and 99 %, the noise found over the true one, and seconds of learning. With
--starts N also how much likelier per observation the best of N random starts ends than what was learned (worst), and
the share of seeds within 0.005.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from cases import save, surroundings  # noqa: E402
from tests import regimes  # noqa: E402  (found beside this folder)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from tests.regimes import Regime

LEVELS = (0.5, 0.68, 0.95, 0.99)
COLUMNS = ("ratio", "worst", "in 1.03", "50 %", "68 %", "95 %", "99 %", "noise", "seconds")
WITH_STARTS = ("likelier", "in 0.005")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the regimes asked for, print a line each and save all."""
    options = parse(arguments)
    rows: list[dict[str, Any]] = []
    about = {name: value for name, value in surroundings(options).items() if "peers" not in name}
    titles = COLUMNS + (WITH_STARTS if options.starts else ())
    print(f"{'':20}" + "".join(f"{title:>10}" for title in titles))
    for name in options.regime or regimes.REGIMES:
        own = [measured(name, seed, options.starts) for seed in range(options.seeds)]
        rows += own
        print(f"{name:20}" + "".join(f"{value:10.3f}" for value in summary(own)), flush=True)
        if options.save:
            save(HERE / "results" / "regimes.json", {**about, "regimes": rows})


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regime", action="append", choices=list(regimes.REGIMES), help="may be repeated")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--starts", type=int, default=0, help="random starts that are followed to the end; slow")
    parser.add_argument("--save", action=argparse.BooleanOptionalAction, default=True)
    found = parser.parse_args(arguments)
    found.threads, found.seed, found.targets = None, None, None
    return found


def measured(name: str, seed: int, starts: int = 0) -> dict[str, Any]:
    """Learn one draw of a regime, fill it, and score it beside the true hyperparameters."""
    regime = regimes.make(name, seed)
    how = {"valid": True, "progress": False, **regime.fit_arguments}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        began = time.perf_counter()
        model = regime.observed.gpfill.fit(seed=seed, **how)
        learned = time.perf_counter() - began
        field = model.reconstruct(progress=False)
        known = regime.observed.gpfill.fit(hyperparameters=true_numbers(regime), **how).reconstruct(progress=False)
        gain = None if not starts else likelier(regime, seed, starts, how)
    hidden = regime.observed.isnull()
    errors = [float((((found.mean - regime.truth) ** 2).where(hidden)).mean() ** 0.5) for found in (field, known)]
    return {
        "regime": name, "seed": seed, "rmse": errors[0], "rmse_of_truth": errors[1],
        "coverage": [covered(field, level, regime, seed) for level in LEVELS],
        "noise_over_true": float(model.prior.noise) / float(regime.prior.noise), "seconds": learned, "likelier": gain,
    }  # fmt: skip


def true_numbers(regime: Regime) -> xr.Dataset:
    """The hyperparameters that the regime was drawn with, and the standard deviation of each of its fields."""
    found = regime.hyperparameters
    if regime.scale is None:
        return found
    return found.assign(field_amplitude=regime.scale / float((regime.scale**2).mean() ** 0.5))


def covered(field: Any, level: float, regime: Regime, seed: int) -> float:
    """How many new observations of hidden cells lie within the central interval of a level."""
    lower, upper = field.interval(level)
    scale = 1.0 if regime.scale is None else regime.scale / float((regime.scale**2).mean() ** 0.5)
    draws = np.random.default_rng(seed + 1000).standard_normal(regime.truth.shape)
    new = regime.truth + scale * float(regime.prior.noise) ** 0.5 * regime.truth.copy(data=draws)
    inside = (new >= lower) & (new <= upper)
    return float(inside.where(regime.observed.isnull()).mean())


def likelier(regime: Regime, seed: int, starts: int, how: dict[str, Any]) -> float:
    """How much likelier per observation the best of some random starts ends than what learning found."""
    from xgpfill.learning import steps
    from xgpfill.learning.starts import other_starts

    calls: list[Any] = []
    learn, steps.learn = steps.learn, lambda *given, **rest: calls.append((given, rest)) or learn(*given, **rest)
    try:
        model = regime.observed.gpfill.fit(seed=seed, amplitude=False, calibrate=False, **how)
    finally:
        steps.learn = learn
    (prior, blocks), rest = calls[0]
    first = {path: value for path, value, _, fixed in prior.items() if not fixed}
    each = other_starts(prior, rest["axes"], first, 0.5, seed + 1)[:starts]
    to_the_end = {"axes": rest["axes"], "rounds": ("fine",)}
    found = [learn(prior.with_values(values), blocks, **to_the_end).log_likelihood for values in each]
    return max(found) - model.record.log_likelihood


def summary(rows: list[dict[str, Any]]) -> list[float]:
    """Averages over the seeds of one regime."""
    ratios = np.array([row["rmse"] / max(row["rmse_of_truth"], 1e-12) for row in rows])
    coverage = np.mean([row["coverage"] for row in rows], axis=0)
    noise = float(np.median([row["noise_over_true"] for row in rows]))
    seconds = float(np.mean([row["seconds"] for row in rows]))
    found = [ratios.mean(), ratios.max(), (ratios <= 1.03).mean(), *(100 * coverage), noise, seconds]
    gains = [row["likelier"] for row in rows if row["likelier"] is not None]
    return found + ([max(gains), float(np.mean(np.array(gains) <= 0.005))] if gains else [])


if __name__ == "__main__":
    main()
