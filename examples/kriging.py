"""Krige with everything given, in one dimension and two, and see what kernels say: nothing is learned here.

python examples/kriging.py                     # 10,000 points each, as tutorials of kernel solvers do
python examples/kriging.py --points 1000       # fewer
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
import xgpfill
from xgpfill import RBF, FromFunction, Matern

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Kernels and their draws, a posterior with its bands and draws, many points on a line and in a plane."""
    options = parse(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    kernels(options.output)
    few_points(options.output)
    on_a_line(options.points, options.output)
    in_a_plane(options.points, options.output)
    print(f"Pictures: {options.output.resolve()}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Krige points with a kernel, a mean and a ridge that are given.")
    parser.add_argument("--points", type=int, default=10_000, help="observations on the line, and in the plane")
    parser.add_argument("--output", type=Path, default=Path("kriging_output"), help="folder for the pictures")
    return parser.parse_args(arguments)


def wiener(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Brownian motion, min(s, t): any function of two arrays of coordinates, (n, 1) and (m, 1), is a kernel."""
    return np.minimum(s, t.T)


# Few points: what is behind it


def kernels(output: Path) -> None:
    """Covariances of kernels, and functions drawn from them."""
    shown = ["rbf", "matern12", FromFunction(wiener)]
    save(xgpfill.plotting.prior_covariance(xgpfill.prior_covariance(shown, extent=10.0)), output / "kernels.png")
    save(xgpfill.plotting.prior_draws(xgpfill.prior_draws(shown, extent=10.0)), output / "draws.png")


def few_points(output: Path) -> None:
    """Posterior mean with bands of 1, 2 and 3 standard deviations, its covariance, and draws from it."""
    x = np.array([-4.0, -3.0, -1.5, 0.0, 1.0, 2.0])
    da = xr.DataArray(np.sin(x), {"x": ("obs", x)}, ["obs"], name="sine")
    kernel = RBF(1.0, variance=1.0, fixed=True)
    model = da.gpfill.fit(dims=("obs",), coords=("x",), space_kernel=kernel, trend=None, noise_variance=1e-4)
    target = {"x": np.linspace(-6.0, 6.0, 200)}
    filled = model.predict(target)
    mean, covariance = model.predict(target, covariance=True)
    print(f"A sine seen at {x.size} places: covariance {covariance.shape}, its largest {float(covariance.max()):.3f}")
    ax = filled.plot.series(dim="x", sigmas=(1, 2, 3), draws=model.sample(5, target=target), truth=np.sin(mean.x))
    ax.plot(x, np.sin(x), "ko", markersize=4)
    save(ax.figure, output / "posterior.png")


# Many points


def on_a_line(n: int, output: Path) -> None:
    """A noisy function of one variable, by a Gaussian kernel."""
    rng = np.random.default_rng(0)
    x = rng.random(n)
    values = x + 0.5 * np.sin(6.0 * x) + 0.1 * np.sin(20.0 * x) + 0.05 * rng.standard_normal(n)
    da = xr.DataArray(values, {"x": ("obs", x)}, ["obs"], name="b")
    filled = kriged(da, ("x",), RBF(0.1, variance=1.0, fixed=True), 0.8, {"x": np.linspace(0.0, 1.0, 500)})
    ax = xgpfill.plotting.series(mean=filled.mean, variance=filled.variance, dim="x")  # of the function, without noise
    ax.plot(x[:2000], values[:2000], ".", color="0.4", markersize=1.5, zorder=3)
    save(ax.figure, output / "line.png")


def in_a_plane(n: int, output: Path) -> None:
    """A function of two variables of which a quarter of the observations are outliers, by an exponential kernel."""
    rng = np.random.default_rng(0)
    x, y = rng.random((2, n))
    values = ((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.1) + 0.05 * rng.standard_normal(n)
    wild = rng.choice(n, n // 4, replace=False)
    values[wild] = rng.uniform(-1.0, 2.0, wild.size)
    da = xr.DataArray(values, {"x": ("obs", x), "y": ("obs", y)}, ["obs"], name="b")
    kernel = Matern(0.5, 0.1, variance=1.0, fixed=True)
    target = {"y": np.linspace(0.0, 1.0, 100), "x": np.linspace(0.0, 1.0, 100)}
    filled = kriged(da, ("x", "y"), kernel, 10.0, target)
    figure, axes = plt.subplots(1, 3, figsize=(13, 3.9), layout="constrained")
    dots = axes[0].scatter(x, y, c=values, s=2, vmin=-0.5, vmax=1.5)
    axes[0].set_title(f"{n} observations, 25 % of them outliers")
    figure.colorbar(dots, ax=axes[0])
    for ax, what in zip(axes[1:], ("mean", "std"), strict=True):
        filled.plot.map(what, ax=ax)
        ax.set_title(what)
    save(figure, output / "plane.png")


def kriged(da: xr.DataArray, coords: tuple[str, ...], kernel: Any, ridge: float, target: dict[str, Any]) -> Any:
    """Mean and variance of simple kriging with this ridge, and how long it took."""
    began = time.perf_counter()
    model = da.gpfill.fit(
        dims=("obs",), coords=coords, space_kernel=kernel, trend=None, noise_variance=ridge, method="vecchia"
    )
    filled = model.predict(target)
    print(f"{da.size} observations, {filled.mean.size} targets: {time.perf_counter() - began:.1f} s, {model.settings}")
    return filled


def save(figure: Any, path: Path) -> None:
    """Write a picture and let go of it."""
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
