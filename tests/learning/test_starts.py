"""Learning starts from what anomalies look like, and from many lengthscales: one start finds one optimum."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose
from xgpfill.errors import XgpfillWarning
from xgpfill.grid.points import Observations, Points
from xgpfill.kernels import spec
from xgpfill.kernels.prior import Prior, Term, build_prior
from xgpfill.learning import composite
from xgpfill.learning.starts import (
    LEAST_STEPS,
    NUM_STARTS,
    AxisSummary,
    anomalies,
    anomaly_share,
    bounds_of,
    other_starts,
    starting_values,
)

from tests import reference as ref
from tests import regimes

AXES = {"time": AxisSummary(1.0, 60.0, 3.0, ()), "space": AxisSummary(100.0, 5000.0, 700.0, ())}


def block_of(values):
    """A block of all cells of a field (time, site)."""
    nt, ns = values.shape
    t, s = np.divmod(np.arange(nt * ns), ns)
    sites = np.stack([100.0 * np.arange(ns), np.zeros(ns)], axis=1)
    return Observations(Points(np.arange(float(nt)), sites, t, s), values.ravel(), np.ones(nt * ns))


def prior_of(**arguments):
    """The default one, nothing known."""
    how = {"combine": None, "scales": 2, "num_times": 30, "num_sites": 50, "geometry": "plane"} | arguments
    return build_prior("matern32", "matern32", **how)


def test_anomalies_are_what_a_static_map_and_a_common_series_leave():
    rng = np.random.default_rng(0)
    static, common, rest = 20.0 * rng.standard_normal(40), 5.0 * rng.standard_normal(50), rng.standard_normal((50, 40))
    rest -= rest.mean(0) + rest.mean(1)[:, None] - rest.mean()
    block = block_of(static + common[:, None] + rest)
    assert_allclose(anomalies(block), rest.ravel(), atol=0.15)
    assert anomaly_share([block]) == pytest.approx(np.mean(rest**2) / np.var(block.values), rel=0.05)


def test_of_one_time_anomalies_are_deviations_from_the_mean():
    values = np.random.default_rng(1).standard_normal((1, 30))
    assert_allclose(anomalies(block_of(values)), (values - values.mean()).ravel())
    assert anomaly_share([block_of(values)]) == 1.0  # no place is seen often enough to tell


def test_other_starts_lie_within_bounds_and_are_the_same_for_the_same_seed():
    prior = prior_of()
    first = starting_values(prior, AXES)
    found = other_starts(prior, AXES, first, 0.01, 3)
    assert len(found) == NUM_STARTS
    assert found == other_starts(prior, AXES, first, 0.01, 3) != other_starts(prior, AXES, first, 0.01, 4)
    units = {path: unit for path, _, unit, _ in prior.items()}
    for values in found:
        for path, value in values.items():
            low, high = bounds_of(path, units[path], AXES)
            assert low <= value <= high
        assert values["slow.variance"] + values["fast.variance"] == pytest.approx(0.01)
        assert values["static.variance"] == first["static.variance"]
        assert values["noise"] < first["noise"] or values["noise"] == pytest.approx(first["noise"] * 0.01 * 15)
    lengths = np.array([values["fast.time.lengthscale"] for values in found])
    assert lengths.min() < 2.0 * LEAST_STEPS * AXES["time"].step
    assert lengths.max() > 0.5 * AXES["time"].extent


def test_given_numbers_are_no_starts():
    prior = build_prior(
        spec.Matern(1.5, 4.0, fixed=True), spec.Matern(1.5, 800.0, fixed=True),
        combine="product", scales=1, num_times=30, num_sites=50, geometry="plane",
    )  # fmt: skip
    assert other_starts(prior, AXES, starting_values(prior, AXES), 1.0, 0) == []


def test_a_lengthscale_has_at_least_half_a_step():
    for path, axis in (("slow.time.lengthscale", "time"), ("static.space.lengthscale", "space")):
        assert bounds_of(path, "days" if axis == "time" else "km", AXES)[0] == 0.5 * AXES[axis].step


def annual_means(seed, num_times=60):
    """A map 12 times larger than anomalies, which are white in time and correlated over thousands of km."""
    rng = np.random.default_rng(seed)
    lat, lon = np.arange(-60.0, 61.0, 15.0), np.arange(0.0, 360.0, 20.0)
    time = np.array([f"{1900 + i}-07-01" for i in range(num_times)], dtype="datetime64[ns]")
    sites = ref.chord(*np.meshgrid(lat, lon, indexing="ij")).reshape(-1, 3)
    terms = (
        Term("static", spec.Constant(), spec.Matern(1.5, 3000.0), 10.0**2),
        Term("common", spec.Matern(1.5, 5000.0), spec.Constant(), 0.1),
        Term("product", spec.Matern(1.5, 150.0), spec.Matern(1.5, 2500.0), 0.8**2),
    )
    prior = Prior(terms, noise=0.2**2, geometry="sphere")
    days = (time - time[0]) / np.timedelta64(1, "D")
    field = regimes.draw(rng, prior, days, sites).reshape(num_times, lat.size, lon.size)
    coords = {"time": time, "lat": lat, "lon": lon}
    truth = xr.DataArray(field + 10.0, dims=("time", "lat", "lon"), coords=coords, name="t", attrs={"units": "K"})
    return truth, (truth + 0.2 * rng.standard_normal(truth.shape)).where(rng.uniform(size=truth.shape) < 0.3)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_anomalies_beside_a_large_static_map_are_not_taken_for_noise(seed):
    """From one start they were: standard deviations of 0.8 K are what was missed then, 0.2 K is the noise."""
    truth, observed = annual_means(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XgpfillWarning)
        model = observed.gpfill.fit(valid=True, progress=False)
        error = (model.reconstruct(variance=False, progress=False).mean - truth).where(observed.isnull())
    assert float(np.sqrt(model.hyperparameters["noise"])) < 0.4
    assert float(np.sqrt((error**2).mean())) < 0.62


def test_without_other_starts_they_would_be(monkeypatch):
    """The test before this one can fail."""
    monkeypatch.setattr(composite, "_best_start", lambda problem, *_: problem.packing.start)
    monkeypatch.setattr("xgpfill.learning.starts.anomalies", lambda block: block.values)
    _, observed = annual_means(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XgpfillWarning)
        model = observed.gpfill.fit(valid=True, progress=False)
    assert float(np.sqrt(model.hyperparameters["noise"])) > 0.4


def speckled(shape, signal, seed):
    """White noise of sd one, and waves of sd `signal` that are days and degrees long; 70 % of it seen."""
    rng = np.random.default_rng(seed)
    t, y, x = np.meshgrid(*(np.arange(float(n)) for n in shape), indexing="ij")
    k, m, n, phase = rng.uniform([[0.1], [0.1], [0.1], [0.0]], [[0.5], [0.5], [0.5], [6.3]], (4, 40))[
        ..., None, None, None
    ]
    waves = np.cos(k * t + m * y + n * x + phase).sum(0)
    values = signal * waves / waves.std() + rng.standard_normal(shape)
    whole = xr.DataArray(values, dims=("time", "y", "x"), coords={"time": np.arange(float(shape[0]))}, name="speckled")
    return whole.where(rng.uniform(size=shape) < 0.7)


@pytest.mark.parametrize(("shape", "seed"), [((20, 12, 14), 1), ((60, 8, 8), 0)])
def test_white_noise_is_noise(shape, seed):
    with pytest.warns(XgpfillWarning, match=r"90% or more of the variance was taken for noise"):
        model = speckled(shape, 0.0, seed).gpfill.fit(valid=True, progress=False)
    found = model.hyperparameters
    assert float(found["noise"]) > 0.9 * float(found["noise"] + found["variance"].sum())


def test_white_noise_of_a_short_series_is_noise():
    series = speckled((50, 1, 1), 0.0, 3)[:, 0, 0]
    with pytest.warns(XgpfillWarning, match=r"90% or more of the variance was taken for noise"):
        found = series.gpfill.fit(progress=False).hyperparameters
    assert float(found["noise"]) > 0.9 * float(found["noise"] + found["variance"].sum())


def test_a_weak_field_is_not_taken_for_noise():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XgpfillWarning)
        found = speckled((20, 12, 14), 0.4, 0).gpfill.fit(valid=True, progress=False).hyperparameters
    assert float(found["variance"].sum()) == pytest.approx(0.16, rel=0.7)
    assert float(found["noise"]) == pytest.approx(1.0, rel=0.1)


def test_the_most_likely_start_is_followed(monkeypatch):
    """Beside the own one, no more than a few, and the best of what they come to is taken."""
    followed = []

    def stays(problem, theta, *_):
        followed.append(float(theta[0]))
        return SimpleNamespace(x=theta, fun=problem.evaluate(theta)[0])

    monkeypatch.setattr(composite, "_minimised", stays)
    problem = SimpleNamespace(
        evaluate=lambda theta: (abs(theta[0] - 3.0), None), packing=SimpleNamespace(start=np.zeros(1))
    )
    others = [np.array([x]) for x in (9.0, 2.5, -4.0, 3.1, 5.0, 2.0)]
    assert composite._best_start(problem, others, {"evaluations": 0}, None) == [3.1]
    assert followed == [0.0, 3.1, 2.5, 2.0]
