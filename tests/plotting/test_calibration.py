"""Pictures of calibration: which cells, which law, and what the three panels show of fields whose law is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm
from xgpfill.errors import AlignmentError, DataError, VariableError, XgpfillError
from xgpfill.metrics.calibration import Calibration, Intervals
from xgpfill.plotting import calibration
from xgpfill.plotting.calibration import pit
from xgpfill.results.estimate import Context
from xgpfill.results.reconstruction import Reconstruction

from tests.counted import counted_pair

NOISE = 0.19


def made(scale: float = 1.0, shift: float = 0.0, **options: Any) -> tuple[Reconstruction, xr.DataArray]:
    """A field of unequal standard deviations, and a truth whose errors are `scale` times as large."""
    rng = np.random.default_rng(4)
    coords = {"time": np.arange(60.0), "lat": np.arange(40.0, 50.0), "lon": np.arange(10.0)}
    mean = xr.DataArray(rng.normal(size=(60, 10, 10)), coords, ("time", "lat", "lon"), name="t", attrs={"units": "K"})
    variance = 0 * mean + rng.uniform(0.0, 4.0, mean.shape)
    truth = mean + shift + scale * np.sqrt(variance + NOISE) * rng.normal(size=mean.shape)
    observed = truth.where(rng.random(mean.shape) < 0.5)
    return Reconstruction(mean, variance, Context(observed, NOISE, "latent")), truth.assign_attrs(units="K")


def points(ax: Any) -> np.ndarray:
    """What was found, (n, 2)."""
    (line,) = [line for line in ax.lines if line.get_marker() == "o"]
    return line.get_xydata()


def test_the_transform_is_the_normal_one_with_noise_on_cells_that_were_hidden() -> None:
    found, truth = made()
    expected = norm.cdf(truth, found.mean, np.sqrt(found.variance + NOISE))
    hidden = found.observed.isnull()
    ranks = pit(found, truth.transpose("lon", "time", "lat"))
    np.testing.assert_allclose(ranks.transpose(*hidden.dims).values[hidden], expected[hidden], rtol=1e-9)
    assert ranks.transpose(*hidden.dims).where(~hidden).isnull().all()


def test_the_transform_is_that_of_calibrated_intervals() -> None:
    """Where the 80 % interval is widened, as much of a truth lies within it as ranks between 0.1 and 0.9."""
    found, truth = made(2.0)
    wide = Intervals(Calibration(((2.0,) * 5,), (1000,)), {})
    context = replace(found.context, intervals=wide, positions=xr.Dataset())
    widened = Reconstruction(found.mean, found.variance, context)
    ranks, hidden = pit(widened, truth), found.observed.isnull()
    expected = norm.cdf((truth - found.mean) / np.sqrt(found.variance + NOISE) / 2.0)
    np.testing.assert_allclose(ranks.values[hidden], expected[hidden], rtol=1e-9)
    lower, upper = widened.interval(0.8)
    inside = (truth > lower) & (truth < upper)
    np.testing.assert_array_equal(inside.values[hidden], (abs(ranks - 0.5) < 0.4).values[hidden])


def test_a_calibrated_field_is_flat_and_on_both_diagonals() -> None:
    found, truth = made()
    ranks, coverage, skill = calibration(found, truth).axes
    heights = np.array([bar.get_height() for bar in ranks.patches if bar.get_width() < 0.5])
    (band,) = [patch for patch in ranks.patches if patch.get_width() >= 0.5]
    inside = (heights >= band.get_y()) & (heights <= band.get_y() + band.get_height())
    assert heights.mean() == pytest.approx(1.0)
    assert inside.mean() >= 0.75
    assert points(coverage)[[0, -1], 0].tolist() == [5, 99]
    np.testing.assert_allclose(*points(coverage).T, atol=3.0)
    np.testing.assert_allclose(*points(skill).T, rtol=0.15)
    assert np.ptp(points(skill)[:, 0]) > 1.0
    assert (skill.get_xlabel(), skill.get_ylabel()) == (
        "predicted standard deviation [K]",
        "root mean squared error [K]",
    )


@pytest.mark.parametrize(("scale", "below"), [(2.0, True), (0.5, False)])
def test_intervals_that_are_too_narrow_lie_below_the_diagonal_and_errors_above(scale: float, below: bool) -> None:
    ranks, coverage, skill = calibration(*made(scale)).axes
    nominal, share = points(coverage)[:-1].T
    predicted, error = points(skill).T
    assert ((share[:-2] < nominal[:-2]) == below).all() and ((error > predicted) == below).all()
    heights = [bar.get_height() for bar in ranks.patches if bar.get_width() < 0.5]
    assert (heights[0] + heights[-1] > 3.0) == below
    at95 = share[nominal == 95][0]
    assert [text.get_text() for text in coverage.texts] == [f"95 % intervals hold {at95:.3g} %"]


def test_a_few_cells_are_enough_and_the_title_counts_them() -> None:
    found, truth = made()
    part = found.isel(time=slice(2), lat=[0], lon=slice(4))
    figure = calibration(part, truth.isel(time=slice(2), lat=[0], lon=slice(4)))
    count = int(part.observed.isnull().sum())
    assert figure.get_suptitle() == f"t: {count} cells that were not observed"


def test_a_lazy_field_is_computed_once() -> None:
    found, truth = made()
    mean, variance, runs = counted_pair(found, (30, 10, 10))
    calibration(Reconstruction(mean, variance, found.context), truth)
    assert sorted(runs) == [(0, 0, 0), (1, 0, 0)]


def test_the_picture_belongs_to_a_reconstruction_and_to_each_of_its_variables() -> None:
    found, truth = made()
    assert len(found.plot.calibration(truth).axes) == 3
    two = Reconstruction(
        xr.Dataset({"a": found.mean, "b": found.mean}),
        xr.Dataset({"a_variance": found.variance, "b_variance": found.variance}),
        Context(xr.Dataset({"a": found.observed, "b": found.observed}), {"a": NOISE, "b": NOISE}, "latent"),
    )
    assert two.plot["b"].calibration(xr.Dataset({"b": truth})).get_suptitle().startswith("b: ")
    with pytest.raises(VariableError, match=r"several variables, 'a', 'b'"):
        two.plot.calibration(truth)


def test_what_cannot_be_checked_says_what_to_type() -> None:
    found, truth = made()
    bare = Reconstruction(found.mean, None, found.context)
    with pytest.raises(XgpfillError, match=r"no variance\. Ask for it: `model\.reconstruct\(variance=True\)`"):
        bare.plot.calibration(truth)
    with pytest.raises(DataError, match=r"no cell to check.*masks\.random\(da, 0\.1\)\)\.gpfill\.fit\(\)`"):
        found.plot.calibration(found.observed)
    with pytest.raises(AlignmentError, match="does not lie on the grid"):
        found.plot.calibration(truth.assign_coords(lat=truth.lat + 1))


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_what_was_found_stands_out_from_the_paper(style: str) -> None:
    with plt.style.context(style):
        ranks, coverage, _ = calibration(*made()).axes
    paper = np.array(ranks.get_facecolor()[:3])
    assert abs(np.array(ranks.patches[0].get_facecolor()[:3]) - paper).mean() > 0.25
    (line,) = [line for line in coverage.lines if line.get_marker() == "o"]
    assert abs(np.array(plt.matplotlib.colors.to_rgb(line.get_color())) - paper).mean() > 0.25
