"""Variances of the iterative engine are checked on cells solved exactly; a check that fails says so, with a cure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from xgpfill.engines.exact import ExactEngine
from xgpfill.engines.iterative import IterativeEngine
from xgpfill.engines.lattice import marginals
from xgpfill.engines.lattice import posterior as posteriors
from xgpfill.engines.lattice.posterior import EXACT_TARGETS
from xgpfill.errors import XgpfillWarning
from xgpfill.grid.points import Points
from xgpfill.settings import Iterative

from tests import reference as ref
from tests import regimes
from tests.engines.test_iterative import PROBLEMS, Problem, problem
from tests.problems import anova, oracle_covariance, oracle_terms

NAMES = ("random gaps", "clouds", "tracks, little noise", "one time")
_MADE: dict[str, tuple] = {}


def conditioned(p, *, trend=True, **settings):
    """A posterior that nothing was asked of."""
    return IterativeEngine(Iterative(**settings)).condition(p.law, p.observations, trend=trend)


def expected_of(p, targets, *, trend=True):
    """The oracle's posterior; all kernels are one at no lag."""
    points, n, m = p.observations.points, len(p.observations), len(targets)
    return ref.posterior(
        oracle_covariance(p.prior, points, points),
        oracle_covariance(p.prior, points, targets),
        np.full(m, sum(term["variance"] for term in oracle_terms(p.prior))),
        p.observations.values,
        p.observations.noise,
        basis=np.ones((n, 1)) if trend else None,
        basis_targets=np.ones((m, 1)) if trend else None,
    )


def made(name):
    """A problem without a trend, its posterior and moments of all cells, and those of the oracle; once."""
    if name not in _MADE:
        p = PROBLEMS[name]()
        posterior = conditioned(p, trend=False)
        expected = expected_of(p, p.cells, trend=False)
        _MADE[name] = p, posterior, posterior.moments(p.cells), expected
    return _MADE[name]


def seen_cells(p):
    found, points = np.zeros(len(p.cells), bool), p.observations.points
    found[points.time_index * len(p.cells.sites) + points.site_index] = True
    return found


def probed(p, posterior):
    """Which cells were solved exactly."""
    cells = posterior.system.probes.cells
    return cells[:, 0] * len(p.cells.sites) + cells[:, 1]


# Probes


@pytest.mark.parametrize("name", NAMES)
def test_probes_are_unobserved_cells_whose_variance_is_that_of_the_oracle(name):
    p, posterior, _, expected = made(name)
    at, probes = probed(p, posterior), posterior.system.probes
    assert 8 <= np.unique(at).size == at.size == len(probes.variance)
    assert not seen_cells(p)[at].any()
    assert_allclose(p.cells.time[at], probes.points.time)
    assert_allclose(p.cells.space[at], probes.points.space)
    assert_allclose(probes.variance, expected.variance[at], rtol=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_what_the_check_says_is_the_truth(name):
    """At the probes to a thousandth; of all cells without an observation about."""
    p, posterior, answer, expected = made(name)
    at, check = probed(p, posterior), posterior.system.record[-1].check
    ratio = np.sqrt(answer.variance / expected.variance)
    off = np.abs(ratio - 1)
    assert check.probes == at.size
    assert check.std_error == pytest.approx(np.median(off[at]), abs=1e-3)
    assert check.worst_std_error == pytest.approx(off[at].max(), abs=1e-3)
    assert check.std_error == pytest.approx(np.median(off[~seen_cells(p)]), abs=0.01)
    assert check.std_bias == pytest.approx(ratio.mean() - 1, abs=0.03)
    assert check.region_bias == 0.0


def test_the_error_of_means_is_told():
    for name in ("random gaps", "clouds"):
        _, posterior, answer, expected = made(name)
        off = np.abs(answer.mean - expected.mean) / np.sqrt(expected.variance)
        assert posterior.system.record[-1].check.mean_error > 0.3 * np.quantile(off, 0.9)


def test_a_field_without_gaps_is_probed_where_it_was_observed():
    p = problem(
        anova("matern32"), np.linspace(20, 40, 6), 2.0 * np.arange(8), np.arange(5), lambda _, s: np.ones(s) > 0
    )
    posterior = conditioned(p, trend=False)
    posterior.moments(p.cells)
    expected = expected_of(p, p.cells, trend=False)
    assert_allclose(posterior.system.probes.variance, expected.variance[probed(p, posterior)], rtol=0.01)


# What it says


def spoil(monkeypatch, factor):
    """Multiply variances (cells) as they are told by draws."""
    true = marginals._told

    def told(*arguments):
        variance, rest = true(*arguments)
        return variance * factor, rest

    monkeypatch.setattr(marginals, "_told", told)


def corner(p):
    """A quarter of the domain, at all times."""
    found = np.zeros((p.cells.times.size, *p.cells.frame), bool)
    found[:, : found.shape[1] // 2, : found.shape[2] // 2] = True
    return found.ravel()


@pytest.fixture
def no_dense_engine(monkeypatch):
    """As for many observations: where a check fails the dense engine does not answer instead."""
    monkeypatch.setattr(marginals, "DENSE_OPERATIONS", 0.0)


CURE = r"Type `method=xgpfill\.Iterative\(num_neighbours=\d+, num_samples=\d+\)` for closer ones, or `method='exact'`"


@pytest.mark.usefixtures("no_dense_engine")
@pytest.mark.parametrize("name", NAMES)
def test_true_variances_are_not_warned_of(name):
    p = PROBLEMS[name]()
    conditioned(p).moments(p.cells)  # warnings are errors


@pytest.mark.usefixtures("no_dense_engine")
@pytest.mark.parametrize("name", NAMES)
def test_variances_that_are_too_small_everywhere_are_said_with_a_figure_and_a_cure(name, monkeypatch):
    p = PROBLEMS[name]()
    posterior = conditioned(p)
    spoil(monkeypatch, 0.7)  # sd 16 % off
    with pytest.warns(
        XgpfillWarning,
        match=r"standard deviations of \d+ cells that were solved exactly are off by 1[4-8]% \(median\) and \d\d% "
        rf"\(worst\).*{CURE}",
    ):
        answer = posterior.moments(p.cells)
    assert posterior.system.record[-1].check.std_error == pytest.approx(1 - np.sqrt(0.7), abs=0.02)
    assert np.isfinite(answer.variance).all()


@pytest.mark.usefixtures("no_dense_engine")
@pytest.mark.parametrize(("name", "draws"), [("random gaps", 8), ("clouds", 64), ("tracks, little noise", 64)])
def test_variances_that_are_too_large_in_a_part_of_the_domain_are_said(name, draws, monkeypatch):
    p = PROBLEMS[name]()
    posterior = conditioned(p, num_samples=draws)
    spoil(monkeypatch, np.where(corner(p), 1.2**2, 1.0))
    with pytest.warns(
        XgpfillWarning, match=rf"The solve was checked:.*deviations in part of the domain are \+\d\d% off.*{CURE}"
    ) as caught:
        posterior.moments(p.cells)
    check = posterior.system.record[-1].check
    assert 0.05 < check.region_bias < 0.5
    assert f"{check.region_bias:+.0%}" in str(caught[0].message)
    assert f"num_neighbours={2 * check.neighbours}, num_samples={4 * draws}" in str(caught[0].message)


def test_where_it_costs_little_the_dense_engine_answers_instead(monkeypatch):
    p, _, _, expected = made("tracks, little noise")
    spoil(monkeypatch, 0.7)
    answer = conditioned(p, trend=False).moments(p.cells)
    assert_allclose(answer.variance, expected.variance, rtol=1e-6)
    assert_allclose(answer.mean, expected.mean, atol=1e-8)


def test_how_true_answers_were_found_is_kept_with_the_solve(ds):
    model = ds["sst"].gpfill.fit(valid=ds["valid"], method="iterative")
    model.reconstruct()
    assert int(model.convergence["steps"][-1]) > 0
    (record,) = (r for solver in model._solvers.values() for r in solver.records)
    assert record.steps == int(model.convergence["steps"][-1])
    assert record.check.probes == int(model.convergence["probes"][-1]) > 0
    assert record.check.std_error == float(model.convergence["std_error"][-1])
    assert 0.0 <= record.check.std_error <= record.check.worst_std_error < 0.25
    assert record.columns == 10  # the data, the constant mean, eight draws


def test_the_check_of_a_solve_outlives_later_questions():
    p, *_ = made("clouds")
    posterior = conditioned(p)
    posterior.moments(p.cells)
    before = posterior.system.record[-1].check
    posterior.moments(part_of(p))
    assert posterior.system.record[0].check == before


# Parts of the lattice


def part_of(p, times=4, rows=5, columns=6):
    sites = p.cells.sites.reshape(*p.cells.frame, -1)[:rows, :columns].reshape(rows * columns, -1)
    return Points.grid(p.cells.times[:times], sites, (rows, columns))


def test_a_part_of_the_lattice_has_about_the_variances_it_has_with_the_whole():
    p, posterior, whole, _ = made("clouds")
    shape = (p.cells.times.size, *p.cells.frame)
    expected = whole.variance.reshape(shape)[:4, :5, :6].ravel()
    for asked in (conditioned(p, trend=False), posterior):
        assert_allclose(np.sqrt(asked.moments(part_of(p)).variance / expected), 1.0, atol=0.05)


# Off the lattice


def places(seed, n):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 9, n), ref.chord(rng.uniform(21, 39, n), rng.uniform(1, 29, n))


def where(points, times, sites):
    """Which of the points these are."""
    same = (points.time == times[:, None]) & (np.abs(points.space - sites[:, None]).max(-1) < 1e-9)
    assert (same.sum(1) == 1).all()
    return same.argmax(1)


def test_few_targets_off_the_lattice_equal_the_oracle():
    p, *_ = made("clouds")
    targets = Points.scattered(*places(1, 101))
    assert len(targets) <= EXACT_TARGETS
    answer, expected = conditioned(p).moments(targets), expected_of(p, targets)
    assert_allclose(np.sqrt(answer.variance / expected.variance), 1.0, atol=0.02)
    assert_allclose((answer.mean - expected.mean) / np.sqrt(expected.variance), 0.0, atol=0.02)


def test_one_target_alone_has_the_answer_that_it_has_among_a_hundred_others():
    p, *_ = made("clouds")
    times, sites = places(1, 101)
    among, posterior = Points.scattered(times, sites), conditioned(p)
    together = posterior.moments(among)
    for i in range(0, 101, 20):
        alone = posterior.moments(Points.scattered(times[[i]], sites[[i]]))
        (k,) = where(among, times[[i]], sites[[i]])
        assert_allclose(np.sqrt(alone.variance / together.variance[k]), 1.0, atol=0.01)
        assert_allclose(alone.mean, together.mean[k], atol=0.01 * np.sqrt(together.variance[k]))


def many(company):
    """Twenty targets and 280 others."""
    (times, sites), (others, their_sites) = places(2, 20), places(company, EXACT_TARGETS + 24)
    targets = Points.scattered(np.r_[times, others], np.r_[sites, their_sites])
    return targets, where(targets, times, sites)


def test_many_targets_off_the_lattice_have_answers_of_their_own_whoever_else_is_asked_for():
    p, *_ = made("clouds")
    answers = []
    for company in (3, 4):
        targets, shared = many(company)
        found = conditioned(p).moments(targets)
        answers.append((found.mean[shared], found.variance[shared]))
    for one, other in zip(*answers, strict=True):
        assert_allclose(one, other, rtol=1e-6)


def test_many_targets_off_the_lattice_have_the_same_answers_whatever_was_asked_before():
    p, *_ = made("clouds")
    targets, _ = many(3)
    before = conditioned(p)
    before.moments(part_of(p))
    assert_allclose(before.moments(targets).variance, conditioned(p).moments(targets).variance, rtol=1e-3)


def test_many_targets_off_the_lattice_have_about_the_variances_of_the_oracle():
    p, *_ = made("clouds")
    targets, _ = many(3)
    answer, expected = conditioned(p).moments(targets), expected_of(p, targets)
    assert_allclose(np.sqrt(answer.variance / expected.variance), 1.0, atol=0.15)
    off = (answer.mean - expected.mean) / np.sqrt(expected.variance)
    assert np.quantile(np.abs(off), 0.99) < 0.05


WIDE, DENSE = (
    pytest.param(
        name,
        marks=[
            pytest.mark.slow,
            pytest.mark.xfail(raises=AssertionError, reason=f"standard deviations {off} % too small"),
        ],
    )
    for name, off in (("static map", 15), ("dense", 4))
)


@pytest.mark.parametrize("name", ["little noise", WIDE, DENSE])
def test_many_targets_off_the_lattice_are_not_more_certain_than_the_oracle(name, monkeypatch):
    monkeypatch.setattr(posteriors, "EXACT_TARGETS", 0)
    regime = regimes.make(name)
    p = Problem(regime.prior, regime.observations(), regime.cells)
    between = 0.5 * (p.cells.sites[:-1] + p.cells.sites[1:])
    rng = np.random.default_rng(0)
    targets = Points.scattered(rng.uniform(0, p.cells.times[-1], 100), between[rng.integers(len(between), size=100)])
    answer, expected = conditioned(p).moments(targets), expected_of(p, targets)
    ratio = np.sqrt(answer.variance / expected.variance)
    assert abs(ratio.mean() - 1) < 0.03
    assert np.median(np.abs(ratio - 1)) < 0.05


# Places that are there several times

GLOBES = {
    "poles": (np.linspace(-90, 90, 13), 15.0 * np.arange(24)),
    "a meridian at 0 and 360": (np.linspace(-60, 60, 11), 15.0 * np.arange(25)),
    "both, from -180 to 180": (np.linspace(90, -90, 11), -180.0 + 15.0 * np.arange(25)),
}


@pytest.mark.parametrize(("name", "unequal"), list(zip(GLOBES, (True, False, True), strict=True)))
def test_one_place_has_one_answer_and_it_is_the_posterior_given_all_observations_of_it(name, unequal):
    lat, lon = GLOBES[name]
    p = problem(anova("matern32"), lat, lon, np.arange(6.0), unequal=unequal)
    posterior = conditioned(p)
    assert len(posterior.system.observations) < len(p.observations)  # some places were observed several times
    answer, expected = posterior.moments(p.cells), expected_of(p, p.cells, trend=True)
    for values in (answer.mean, answer.variance):
        field = values.reshape(6, lat.size, lon.size)
        for row in np.flatnonzero(np.abs(lat) == 90):
            assert_array_equal(field[:, row], field[:, row, :1].repeat(lon.size, 1))
        if lon[-1] - lon[0] == 360:
            assert_array_equal(field[..., -1], field[..., 0])
    off, ratio = (
        (answer.mean - expected.mean) / np.sqrt(expected.variance),
        np.sqrt(answer.variance / expected.variance),
    )
    assert np.quantile(np.abs(off), 0.99) < 0.02
    assert np.median(np.abs(ratio - 1)) < 0.02
    assert np.quantile(np.abs(ratio - 1), 0.99) < 0.1
    assert abs(ratio.mean() - 1) < 0.02


def test_the_posterior_of_merged_observations_is_that_of_all():
    """At the observed places themselves, and to rounding, by the dense engine under the merged ones."""
    lat, lon = GLOBES["both, from -180 to 180"]
    p = problem(anova("matern32"), lat, lon, np.arange(4.0), unequal=True)
    merged = conditioned(p).system.observations
    found = ExactEngine().condition(p.law, merged).moments(p.cells)
    expected = expected_of(p, p.cells, trend=True)
    assert_allclose(found.mean, expected.mean, atol=1e-7)
    assert_allclose(found.variance, expected.variance, rtol=1e-6)


def test_a_small_part_of_the_lattice_is_checked_on_cells_of_its_own():
    p, *_ = made("clouds")
    posterior = conditioned(p)
    posterior.moments(part_of(p, 1, 2, 2))
    check = posterior.system.record[-1].check
    assert check.probes >= 1
    assert all(np.isfinite(getattr(check, name)) for name in ("std_error", "mean_error", "std_bias", "region_bias"))


@pytest.mark.parametrize("noise", [1e-4, 1e-8])
def test_single_targets_at_observed_cells_keep_to_what_was_measured_where_noise_is_little(noise):
    """The residual of a solve is small against the data, and not against such a noise."""
    p = PROBLEMS["random gaps"]()
    observations = replace(p.observations, noise=np.full(len(p.observations), noise))
    targets = p.cells.take_in_order(np.random.default_rng(0).choice(np.flatnonzero(seen_cells(p)), 30, replace=False))
    found = IterativeEngine().condition(p.law, observations).moments(targets)
    expected = ExactEngine().condition(p.law, observations).moments(targets)
    assert np.max(np.abs(found.mean - expected.mean) / np.sqrt(expected.variance)) < 0.05
