"""The iterative engine answers as the dense one does, to its tolerance, on lattices with gaps of all kinds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from xgpfill.covariance.matrices import Covariance
from xgpfill.engines.exact import ExactEngine
from xgpfill.engines.iterative import IterativeEngine
from xgpfill.errors import NumericalError, XgpfillWarning
from xgpfill.grid.lattice import Lattice, Space
from xgpfill.grid.points import Observations, Points
from xgpfill.kernels import spec
from xgpfill.operators.draws import PriorDraws
from xgpfill.settings import Exact, Iterative

from tests import reference as ref
from tests.problems import SPACE_KERNELS, TIME_KERNELS, anova, oracle_posterior, product


@dataclass
class Problem:
    """Observations on a lattice with gaps, and all its cells."""

    prior: object
    observations: Observations
    cells: Points

    @property
    def law(self):
        return Covariance(self.prior)


def embedded(lat, lon, geometry):
    lat, lon = np.meshgrid(np.asarray(lat, float), np.asarray(lon, float), indexing="ij")
    if geometry == "plane":
        return 100.0 * np.stack([lon, lat], axis=-1)
    return (ref.chord if geometry == "sphere" else ref.cylinder)(lat, lon)


def random_gaps(rng, shape, share=0.5):
    return rng.uniform(size=shape) < share


def clouds(rng, shape):
    """Observed but for boxes, and whole frames."""
    seen = np.ones(shape, bool)
    for _ in range(int(np.prod(shape)) // 56):
        t, y, x = (int(rng.integers(n)) for n in shape)
        seen[t, max(0, y - 3) : y + 4, max(0, x - 3) : x + 4] = False
    if shape[0] > 1:
        seen[shape[0] // 2] = False
    return seen


def tracks(rng, shape):
    """Next to nothing but diagonal lines."""
    t, y, x = np.indices(shape)
    return (x + 2 * y + 5 * t) % 7 == 0


def problem(prior, lat, lon, times, gaps=random_gaps, *, seed=0, unequal=False, shift=0.4, most=1500):
    rng = np.random.default_rng(seed)
    coordinates = embedded(lat, lon, prior.geometry)
    frame = coordinates.shape[:2]
    times = np.asarray(times, float)
    shape = (times.size, *frame)
    cells = Points.grid(times, coordinates.reshape(-1, coordinates.shape[-1]), frame)
    index = np.flatnonzero(gaps(rng, shape))
    index = np.sort(rng.choice(index, most, replace=False)) if index.size > most else index
    points = Points(cells.times, cells.sites, cells.time_index[index], cells.site_index[index], frame=frame)
    noise = np.full(index.size, float(prior.noise))
    if unequal:
        noise *= 10.0 ** rng.uniform(-1, 1, index.size)
    lattice = Lattice(None, times, Space(coordinates, prior.geometry))
    truth = PriorDraws(lattice, prior, seed + 100).field(0, 0, tuple(np.arange(n) for n in shape))
    values = truth.ravel()[index] + np.sqrt(noise) * rng.standard_normal(index.size) + shift
    return Problem(prior, Observations(points, values, noise), cells)


def region(n):
    return np.linspace(20, 40, n)


PROBLEMS = {
    "random gaps": lambda: problem(anova("matern32"), region(14), 2.0 * np.arange(16), np.arange(10)),
    "clouds": lambda: problem(anova("matern32"), region(14), 2.0 * np.arange(16), np.arange(10), clouds),
    "tracks, little noise": lambda: problem(
        anova("matern12", noise=1e-3), region(14), 2.0 * np.arange(16), np.arange(12), tracks
    ),
    "errors of each cell": lambda: problem(
        anova("matern32"), region(14), 2.0 * np.arange(16), np.arange(10), clouds, unequal=True
    ),
    "one time": lambda: problem(
        product(spec.Constant(), SPACE_KERNELS["matern32"], "sphere"), region(40), 0.7 * np.arange(52), [3.0], clouds
    ),
    "globe with poles": lambda: problem(
        anova("matern32"), np.linspace(-90, 90, 13), 15.0 * np.arange(24), np.arange(7)
    ),
    "plane": lambda: problem(
        product(TIME_KERNELS["rational_quadratic"], spec.Matern(2.5, 300.0), "plane"),
        np.arange(14),
        np.arange(16),
        np.arange(10),
        clouds,
    ),
    "brownian, cylinder": lambda: problem(
        product(TIME_KERNELS["brownian"], SPACE_KERNELS["matern12"], "cylinder"),
        region(14),
        2.0 * np.arange(16),
        np.arange(10),
    ),
    "each frame on its own": lambda: problem(
        product(spec.Independent(), SPACE_KERNELS["matern32"], "sphere"), region(14), 2.0 * np.arange(16), np.arange(9)
    ),
    "irregular longitudes": lambda: problem(
        anova("matern32"), region(12), np.cumsum(np.random.default_rng(0).uniform(1, 3, 17)), np.arange(10)
    ),
}
_MADE: dict[str, tuple] = {}


def made(name):
    """A problem, its exact answer and the iterative posterior, once."""
    if name not in _MADE:
        p = PROBLEMS[name]()
        exact = ExactEngine().condition(p.law, p.observations)
        _MADE[name] = p, exact, IterativeEngine().condition(p.law, p.observations)
    return _MADE[name]


@pytest.mark.parametrize("name", PROBLEMS)
def test_moments_are_those_of_the_exact_engine(name):
    """The mean within 1 % of a standard deviation (rms); standard deviations within 5 %, and 2 % on the whole."""
    p, exact, found = made(name)
    assert len(p.cells) >= 2000
    expected, answer = exact.moments(p.cells), found.moments(p.cells)
    off = (answer.mean - expected.mean) / np.sqrt(expected.variance)
    assert np.sqrt(np.mean(off**2)) < 0.01
    ratio = np.sqrt(answer.variance / expected.variance)
    assert np.median(np.abs(ratio - 1)) < 0.05
    assert abs(np.median(ratio) - 1) < 0.02
    assert abs(np.mean(ratio) - 1) < 0.02
    assert (answer.variance > 0).all()


@pytest.mark.parametrize("name", ["random gaps", "globe with poles"])
def test_the_trend_and_its_standard_error_are_those_of_the_exact_engine(name):
    _, exact, found = made(name)
    (estimate, error), (expected, its_error) = found.trend, exact.trend
    assert abs(estimate - expected) < 0.01 * its_error
    assert error == pytest.approx(its_error, rel=0.01)


def test_without_a_trend_there_is_none():
    p, *_ = made("random gaps")
    found = IterativeEngine().condition(p.law, p.observations, trend=False)
    expected = ExactEngine().condition(p.law, p.observations, trend=False).moments(p.cells)
    assert found.trend is None
    answer = found.moments(p.cells)
    assert np.sqrt(np.mean((answer.mean - expected.mean) ** 2 / expected.variance)) < 0.01
    assert abs(np.median(np.sqrt(answer.variance / expected.variance)) - 1) < 0.02


def off_lattice(rng, n=40):
    """Scattered points between the cells, and beyond them."""
    return Points.scattered(rng.uniform(-1, 11, n), ref.chord(rng.uniform(15, 45, n), rng.uniform(-5, 35, n)))


def test_targets_off_the_lattice_get_their_moments():
    _, exact, found = made("clouds")
    rng = np.random.default_rng(1)
    finer = embedded(np.linspace(19, 41, 9), np.linspace(-1, 33, 11), "sphere").reshape(-1, 3)
    for targets in (
        off_lattice(rng),
        Points.grid(np.array([0.5, 3.0]), finer, (9, 11)),
    ):
        expected, answer = exact.moments(targets), found.moments(targets)
        assert np.sqrt(np.mean((answer.mean - expected.mean) ** 2 / expected.variance)) < 0.01
        ratio = np.sqrt(answer.variance / expected.variance)
        assert np.median(np.abs(ratio - 1)) < 0.08
        assert abs(np.median(ratio) - 1) < 0.04


def test_part_of_the_lattice_gets_the_means_it_gets_with_the_whole():
    p, _, found = made("random gaps")
    nt, (ny, nx) = p.cells.times.size, p.cells.frame
    everything = found.means(p.cells).reshape(nt, ny, nx)
    t, y, x = np.array([7, 2, 3]), np.array([1, 5, 9]), np.array([3, 4, 5, 15])
    sites = p.cells.sites.reshape(ny, nx, -1)[np.ix_(y, x)].reshape(-1, 3)
    part = found.means(Points.grid(p.cells.times[t], sites, (3, 4)))
    assert_allclose(part.reshape(3, 3, 4), everything[np.ix_(t, y, x)], rtol=1e-12)


def test_the_joint_covariance_is_that_of_the_exact_engine():
    p, exact, found = made("clouds")
    rng = np.random.default_rng(2)
    for targets in (off_lattice(rng, 15), p.cells.take(rng.choice(len(p.cells), 15))):
        expected, answer = exact.covariance(targets), found.covariance(targets)
        size = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
        assert np.abs((answer - expected) / size).max() < 0.02
        assert_array_equal(answer, answer.T)


def test_several_draws_of_the_data_get_their_means():
    p, *_ = made("clouds")
    rng = np.random.default_rng(3)
    columns = p.observations.values[:, None] + rng.standard_normal((len(p.observations), 3)) * [0, 0.1, 0.3]
    several = p.observations.with_values(columns)
    found, exact = (e.condition(p.law, several) for e in (IterativeEngine(), ExactEngine()))
    sd = np.sqrt(exact.moments(p.cells).variance)[:, None]
    means = found.means(p.cells)
    assert means.shape == (len(p.cells), 3)
    assert np.sqrt(np.mean(((means - exact.means(p.cells)) / sd) ** 2, axis=0)).max() < 0.02
    assert_allclose(found.moments(p.cells).mean, means[:, 0], atol=1e-10)


def test_a_shift_of_the_data_moves_the_mean_by_as_much():
    """The constant mean takes it, whatever its size: the tolerance is not that of the shift."""
    p, exact, _ = made("clouds")
    moved = p.observations.with_values(p.observations.values + 100.0)
    found = IterativeEngine().condition(p.law, moved).moments(p.cells)
    expected = exact.moments(p.cells)
    assert np.sqrt(np.mean((found.mean - 100.0 - expected.mean) ** 2 / expected.variance)) < 0.01


def test_more_draws_come_closer():
    p, exact, _ = made("tracks, little noise")
    expected = exact.moments(p.cells).variance
    errors = []
    for count in (4, 64):
        settings = Iterative(num_samples=count)
        variance = IterativeEngine(settings).condition(p.law, p.observations).moments(p.cells).variance
        errors.append(np.median(np.abs(np.sqrt(variance / expected) - 1)))
    assert errors[1] < errors[0]


def test_the_same_question_has_the_same_answer():
    p, *_ = made("globe with poles")
    one, other = (IterativeEngine().condition(p.law, p.observations) for _ in range(2))
    first = one.moments(p.cells)
    for second in (other.moments(p.cells), one.moments(p.cells)):
        assert_allclose(second.mean, first.mean, rtol=0, atol=1e-9)
        assert_allclose(second.variance, first.variance, rtol=1e-7)


def test_the_cells_of_a_pole_have_one_answer():
    p, _, found = made("globe with poles")
    nt, (ny, nx) = p.cells.times.size, p.cells.frame
    answer = found.moments(p.cells)
    mean, sd = (a.reshape(nt, ny, nx)[:, [0, -1]] for a in (answer.mean, np.sqrt(answer.variance)))
    assert (np.ptp(mean, axis=-1) < 0.1 * sd.min(-1)).all()  # to the tolerance, at the worst of them


def test_float32_stays_within_the_tolerance():
    p, exact, _ = made("clouds")
    found = IterativeEngine().condition(Covariance(p.prior, dtype=torch.float32), p.observations).moments(p.cells)
    expected = exact.moments(p.cells)
    assert np.sqrt(np.mean((found.mean - expected.mean) ** 2 / expected.variance)) < 0.015
    assert abs(np.median(np.sqrt(found.variance / expected.variance)) - 1) < 0.02


@pytest.mark.parametrize("noise", [1e-4, 1e-6, 1e-12])
def test_next_to_no_noise_is_no_trouble(noise):
    """A residual that is small against the data is large against the noise; observed cells must not feel it."""
    p = problem(anova("matern12", noise=noise), region(12), 2.0 * np.arange(14), np.arange(6), most=500)
    found = IterativeEngine().condition(p.law, p.observations).moments(p.cells)
    expected = ExactEngine().condition(p.law, p.observations).moments(p.cells)
    gaps = np.ones(len(p.cells), bool)
    points = p.observations.points
    gaps[points.time_index * len(p.cells.sites) + points.site_index] = False
    for part in (gaps, ~gaps):
        off = (found.mean - expected.mean)[part] / np.sqrt(expected.variance[part])
        assert np.sqrt(np.mean(off**2)) < 0.015
        if part is gaps or noise > 1e-9:  # below, what is left is rounding
            ratio = np.sqrt(found.variance / expected.variance)[part]
            assert np.median(np.abs(ratio - 1)) < 0.05
            assert abs(np.median(ratio) - 1) < 0.02
    assert (found.variance > 0).all()
    assert (found.variance[~gaps] < 2 * noise + 1e-9).all()


@pytest.mark.parametrize("n", [1, 2, 5])
def test_very_few_observations_are_enough(n):
    p = problem(anova("matern32"), region(5), 2.0 * np.arange(6), np.arange(3), most=n)
    found = IterativeEngine().condition(p.law, p.observations).moments(p.cells)
    expected = oracle_posterior(p.prior, p.observations, p.cells, trend=True)
    assert_allclose(found.mean, expected.mean, atol=0.01)
    assert_allclose(found.variance, expected.variance, rtol=0.01)


def test_no_gap_at_all_and_all_gaps():
    full = problem(anova("matern32"), region(5), 2.0 * np.arange(6), np.arange(3), lambda _, s: np.ones(s, bool))
    found = IterativeEngine().condition(full.law, full.observations).moments(full.cells)
    expected = oracle_posterior(full.prior, full.observations, full.cells, trend=True)
    assert np.sqrt(np.mean((found.mean - expected.mean) ** 2 / expected.variance)) < 0.01
    nothing = full.observations.take(np.arange(0))
    empty = IterativeEngine().condition(full.law, nothing, trend=False).moments(full.cells)
    assert_allclose(empty.variance, 2.1)
    assert_array_equal(empty.mean, 0.0)


# What it says


def test_too_few_steps_leave_the_answer_to_the_dense_engine():
    p, exact, _ = made("clouds")
    engine = IterativeEngine(Iterative(max_steps=2, num_neighbours=2))
    found = engine.condition(p.law, p.observations)
    with pytest.warns(
        XgpfillWarning,
        match=r"stopped after 2 steps with means about \S+ standard deviations off\. The dense engine answers instead, "
        r"for \d+ observations\. To spare the time, type `method='exact'`; else type a larger `noise=`",
    ):
        answer = found.means(p.cells)
    assert_allclose(answer, exact.means(p.cells), atol=1e-10)
    assert_allclose(found.trend, exact.trend, atol=1e-10)


def test_too_few_steps_raise_where_observations_are_too_many_for_the_dense_engine(monkeypatch):
    p, *_ = made("clouds")
    monkeypatch.setattr("xgpfill.engines.iterative.Exact", lambda: Exact(max_observations=100))
    engine = IterativeEngine(Iterative(max_steps=2, num_neighbours=2))
    with pytest.raises(
        NumericalError, match=r"are more than the 100 that the dense engine takes instead\. The field is"
    ):
        engine.condition(p.law, p.observations).means(p.cells)


def test_some_steps_too_few_warn_with_how_far_it_came_and_what_to_type():
    p, *_ = made("clouds")
    done = IterativeEngine().condition(p.law, p.observations)
    done.moments(p.cells)
    steps = done.system.record[0].steps
    engine = IterativeEngine(Iterative(max_steps=steps + 3, tolerance=1e-7))
    with pytest.warns(
        XgpfillWarning,
        match=r"stopped after \d+ steps at \S+ times the tolerance: means are about \S+ standard deviations off\. "
        r"Type `method=xgpfill\.Iterative\(num_neighbours=128\)`, more `max_steps=`, or a larger `noise=`",
    ):
        engine.condition(p.law, p.observations).means(p.cells)


def test_how_the_solve_went_is_kept():
    p, *_ = made("clouds")
    posterior = IterativeEngine().condition(p.law, p.observations)
    posterior.moments(p.cells)
    (solve,) = posterior.system.record
    assert solve.observations == len(p.observations)
    assert solve.columns == 10  # the data, the mean, eight draws
    assert solve.residual <= 1.0
    assert 1 <= solve.steps <= 60
    posterior.means(p.cells)
    posterior.moments(p.cells)
    assert len(posterior.system.record) <= 2


def test_tiles_come_near_one_tile(ds):
    model = ds["sst"].gpfill.fit(valid=ds["valid"], method="iterative")
    one, tiled = model.reconstruct(), model.reconstruct(tile={"time": 5}, halo={"time": 3})
    sd = np.sqrt(one.variance)
    assert float(np.sqrt((((tiled.mean - one.mean) / sd) ** 2).mean())) < 0.5
    assert float((np.sqrt(tiled.variance) / sd).median()) == pytest.approx(1.0, abs=0.1)


def test_how_solves_went_is_told(ds):
    model = ds["sst"].gpfill.fit(valid=ds["valid"], method="iterative")
    assert model.convergence.sizes["solve"] == 0
    model.reconstruct(variance=False)
    told = model.convergence.isel(solve=0)
    assert int(told["steps"]) > 0
    assert 0 < float(told["residual"]) <= 1.0
    assert int(told["columns"]) == 2  # the data and the constant mean


def test_sites_that_follow_each_other_in_a_list_share_no_neighbours_unless_they_are_near():
    """Stations in no order: sharing those of the middle one would leave others without their own observations."""
    rng = np.random.default_rng(0)
    prior = product(spec.Matern(1.5, 5.0), spec.Matern(1.5, 400.0), "sphere")
    sites = ref.chord(rng.uniform(20, 60, 30), rng.uniform(0, 60, 30)).reshape(30, 1, 3)
    sites[16, 0] = sites[15, 0] + 1.0  # the two in the middle are neighbours
    cells = Points.grid(np.arange(20.0), sites.reshape(-1, 3), (30, 1))
    index = np.sort(rng.choice(len(cells), 400, replace=False))
    points = Points(cells.times, cells.sites, cells.time_index[index], cells.site_index[index], frame=(30, 1))
    observations = Observations(points, rng.standard_normal(400), np.full(400, 0.05))
    expected = ExactEngine().condition(Covariance(prior), observations).moments(cells).variance
    answer = IterativeEngine().condition(Covariance(prior), observations).moments(cells).variance
    ratio = np.sqrt(answer / expected)
    assert np.quantile(np.abs(ratio - 1), 0.9) < 0.1
