"""Messages: what a tile is told of the rest is what the whole posterior says, when the features hold the slow terms."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from xgpfill.engines.exact import ExactEngine
from xgpfill.engines.settings import Exact, Variational
from xgpfill.grid.points import Points
from xgpfill.grid.scaling import Scaling
from xgpfill.kernels import spec
from xgpfill.kernels.covariance import Covariance
from xgpfill.kernels.prior import Prior, Term
from xgpfill.tiling import messages as module
from xgpfill.tiling.assemble import member_trend, run_member, tile_means
from xgpfill.tiling.messages import Information, SlowFeatures, ToldLaw, choose_features
from xgpfill.tiling.plan import AxisTiles, TilePlan
from xgpfill.tiling.solve import TileSolver

from tests.problems import (
    SPACE_KERNELS,
    TIME_KERNELS,
    anova,
    gridded,
    lattice,
    observed,
    oracle_covariance,
    oracle_posterior,
    scattered,
)

NAMES = ("static", "common", "slow")


def information(rng, size, *, draws=1, strength=3.0):
    """Information of some observations: any positive definite precision."""
    root = rng.standard_normal((size, size))
    return Information(root @ root.T * strength + np.eye(size), rng.standard_normal((size, draws)), 5)


def numpy_law(prior, features, told, a, b):
    """K − ΦΦᵀ + G C Gᵀ and G m, as the module's docstring has them, in numpy."""
    slow, anchors = prior.restricted(features.names), features.anchors
    L = np.linalg.cholesky(oracle_covariance(slow, anchors, anchors))
    phi_a, phi_b = (np.linalg.solve(L, oracle_covariance(slow, anchors, p)) for p in (a, b))
    matrix = oracle_covariance(prior, a, b) - phi_a.T @ phi_b
    if told is None:
        return matrix, None
    G_a, G_b = (np.vstack([phi, np.ones(phi.shape[1])]) for phi in (phi_a, phi_b))
    C = np.linalg.inv(told.precision + np.diag([1.0] * len(L) + [0.0]))
    return matrix + G_a.T @ C @ G_b, G_a.T @ C @ told.vector


@pytest.fixture(params=[False, True], ids=["no message", "a message"])
def law(request):
    rng = np.random.default_rng(0)
    features = SlowFeatures(NAMES, scattered(rng, 12, "sphere").take(np.arange(4, 12)))
    told = information(rng, 9, draws=2) if request.param else None
    return ToldLaw(Covariance(anova()), features, told), told


# The law


@pytest.mark.parametrize("layout", ["scattered", "grid"])
def test_the_law_of_a_tile_is_that_of_its_docstring(law, layout):
    law, told = law
    rng = np.random.default_rng(1)
    a = scattered(rng, 10, "sphere")
    b = scattered(rng, 7, "sphere") if layout == "scattered" else gridded(rng, 3, 4, "sphere")
    matrix, mean = numpy_law(law.base.prior, law.features, told, a, b)
    assert_allclose(law.matrix(a, b), matrix, rtol=1e-8, atol=1e-9)
    if told is None:
        assert law.mean(a) is None
    else:
        assert_allclose(law.mean(a), mean, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("layout", ["scattered", "grid"])
@pytest.mark.parametrize("width", [1, 3, None])
def test_matrix_diagonal_mean_and_blocks_say_the_same(law, layout, width):
    law, _ = law
    rng = np.random.default_rng(2)
    a = scattered(rng, 10, "sphere")
    b = scattered(rng, 7, "sphere") if layout == "scattered" else gridded(rng, 3, 4, "sphere")
    matrix, diagonal, mean = law.matrix(a, b), law.diagonal(b), law.mean(b)
    assert_allclose(diagonal, law.matrix(b, b).diagonal(), rtol=1e-8, atol=1e-10)
    seen = []
    for block in law.blocks(a, b, width):
        seen += block.index.tolist()
        assert_allclose(block.columns, matrix[:, block.index], rtol=1e-8, atol=1e-10)
        assert_allclose(block.variance, diagonal[block.index], rtol=1e-8, atol=1e-10)
        assert block.mean is None if mean is None else np.allclose(block.mean, mean[block.index], rtol=1e-9)
    assert sorted(seen) == list(range(len(b)))


def test_without_a_message_the_law_is_positive_semidefinite_and_below_the_prior():
    rng = np.random.default_rng(3)
    features = SlowFeatures(NAMES, scattered(rng, 12, "sphere"))
    points = scattered(rng, 20, "sphere")
    law = ToldLaw(Covariance(anova()), features)
    assert np.linalg.eigvalsh(law.matrix(points, points)).min() > -1e-8
    assert (law.diagonal(points) <= law.base.diagonal(points) + 1e-9).all()


def test_a_law_without_slow_terms_has_the_constant_mean_alone():
    rng = np.random.default_rng(4)
    features = SlowFeatures((), scattered(rng, 3, "sphere").take(np.arange(0)))
    points = scattered(rng, 6, "sphere")
    law = ToldLaw(Covariance(anova()), features, Information(np.array([[4.0]]), np.array([[8.0]]), 9))
    K = oracle_covariance(anova(), points, points)
    assert_allclose(law.matrix(points, points), K + 0.25, rtol=1e-10)
    assert_allclose(law.mean(points), np.full((6, 1), 2.0))
    assert law.mean_variance == pytest.approx(0.25)


def test_what_all_observations_say_of_the_features_is_their_posterior():
    """A law told of all data answers at other points as the oracle does, when its rest is independent between them."""
    rng = np.random.default_rng(5)
    prior = Prior(
        (
            Term("slow", TIME_KERNELS["matern12"], SPACE_KERNELS["matern12"], 1.0),
            Term("fast", spec.Independent(), spec.Independent(), 0.3),
        ),
        noise=0.05,
        geometry="sphere",
    )
    points, targets = (
        scattered(rng, 20, "sphere").take(np.arange(10, 20)),
        scattered(rng, 12, "sphere").take(np.arange(6)),
    )
    anchors = Points.scattered(np.r_[points.time, targets.time], np.r_[points.space, targets.space])
    features, base = SlowFeatures(("slow",), anchors), Covariance(prior)
    observations = observed(rng, prior, points, unequal=True)
    segment = ToldLaw(base, features)
    basis = segment.basis(points).T.numpy()
    gram = ExactEngine().condition(segment, observations, trend=False).gram(basis, np.c_[basis, observations.columns])
    law = ToldLaw(base, features, Information(gram[:, :-1], gram[:, -1:], len(observations)))
    expected = oracle_posterior(prior, observations, targets, trend=True, full=True)
    assert_allclose(law.mean(targets)[:, 0], expected.mean, rtol=1e-7)
    assert_allclose(law.matrix(targets, targets), expected.covariance, rtol=1e-6, atol=1e-8)
    assert float(law.coefficients[-1, 0]) == pytest.approx(expected.beta[0], rel=1e-7)
    assert law.mean_variance == pytest.approx(expected.beta_covariance[0, 0], rel=1e-7)


# Information


def test_information_adds_up_and_can_be_taken_away_again():
    rng = np.random.default_rng(6)
    one, two, three = (information(rng, 4, draws=2) for _ in range(3))
    total = one.plus([two, three])
    assert_allclose(total.precision, one.precision + two.precision + three.precision)
    assert total.count == 15
    back = total.plus([three, one], sign=-1.0)
    assert_allclose(back.precision, two.precision)
    assert_allclose(back.vector, two.vector)
    assert back.count == 5
    nothing = Information.none(4, 2)
    assert (nothing.count, nothing.precision.any(), nothing.vector.shape) == (0, False, (4, 2))


def test_adding_information_leaves_the_parts_as_they_were():
    rng = np.random.default_rng(7)
    one, two = information(rng, 4), information(rng, 4)
    before = one.precision.copy(), two.vector.copy()
    one.plus([two])
    assert_array_equal(one.precision, before[0])
    assert_array_equal(two.vector, before[1])


# The choice of features


def test_the_features_leave_at_most_a_thousandth_of_the_slow_variance():
    of = lattice(np.zeros((20, 6, 8)))
    prior = anova("rbf")
    features = choose_features(of, prior, ("static", "slow"), seed=0)
    sites = of.space.coordinates.reshape(48, 3)
    everywhere = Points.grid(of.time, sites)
    left = ToldLaw(Covariance(prior.restricted(features.names)), features).diagonal(everywhere)
    assert float(left.sum()) < 2 * module.UNEXPLAINED * len(everywhere) * 1.4
    assert 0 < len(features.anchors) < 768


def test_the_features_have_a_largest_number_and_the_same_seed_gives_the_same(monkeypatch):
    of = lattice(np.zeros((20, 6, 8)))
    monkeypatch.setattr(module, "MAX_FEATURES", 10)
    first, again, other = (choose_features(of, anova("matern12"), NAMES, seed) for seed in (0, 0, 1))
    assert len(first.anchors) == 10
    assert_array_equal(first.anchors.time, again.anchors.time)
    assert_array_equal(first.anchors.space, again.anchors.space)
    assert not np.array_equal(first.anchors.space, other.anchors.space)


def test_no_slow_term_needs_no_feature():
    assert len(choose_features(lattice(np.zeros((9, 3, 4))), anova(), (), seed=0).anchors) == 0


def test_a_large_lattice_is_thinned_before_features_are_chosen(monkeypatch):
    monkeypatch.setattr(module, "NUM_CANDIDATES", 50)
    monkeypatch.setattr(module, "MAX_FEATURES", 60)
    features = choose_features(lattice(np.zeros((300, 10, 10))), anova("matern12"), NAMES, seed=0)
    assert len(features.anchors) == 50


def test_features_travel_without_what_was_made_here():
    features = SlowFeatures(NAMES, scattered(np.random.default_rng(8), 12, "sphere"))
    ToldLaw(Covariance(anova()), features)
    there = pickle.loads(pickle.dumps(features))
    assert there.names == NAMES
    assert_array_equal(there.anchors.space, features.anchors.space)


# The law of messages: tiles that are told everything answer as one tile

SHAPE = (8, 3, 6)
STATIC = Term("static", spec.Constant(), SPACE_KERNELS["matern12"], 0.6)
COMMON = Term("common", TIME_KERNELS["matern12"], spec.Constant(), 0.5)
SLOW = Term("slow", TIME_KERNELS["matern12"], SPACE_KERNELS["matern12"], 0.8)
CASES = {
    "a static field, each frame else on its own, tiles of time": (
        (STATIC, Term("fast", spec.Independent(), SPACE_KERNELS["matern32"], 0.4)),
        ("static",),
        (4, 1, 1),
        lambda times, sites: Points.grid(times[:1], sites),
    ),
    "a common series, each site else on its own, tiles of space": (
        (COMMON, Term("fast", TIME_KERNELS["matern32"], spec.Independent(), 0.4)),
        ("common",),
        (1, 1, 3),
        lambda times, sites: Points.grid(times, sites[:1]),
    ),
    "a slow term and white noise, tiles of both": (
        (SLOW, Term("fast", spec.Independent(), spec.Independent(), 0.4)),
        ("slow",),
        (4, 1, 3),
        Points.grid,
    ),
    "nothing slow but the mean, tiles of time": (
        (Term("fast", spec.Independent(), SPACE_KERNELS["matern32"], 0.4),),
        (),
        (4, 1, 1),
        lambda times, sites: Points.grid(times[:0], sites),
    ),
}


def solvers(case, *, settings=None, halo=0, wraps=False):
    """The solver of the tiles and that of one tile, for the same gappy draw of the prior."""
    terms, names, counts, anchors_of = CASES[case]
    prior = Prior(terms, noise=0.05, geometry="sphere")
    frame = lattice(np.zeros(SHAPE), wraps=wraps)
    sites = frame.space.coordinates.reshape(-1, 3)
    rng = np.random.default_rng(9)
    everywhere = Points.grid(frame.time, sites)
    values = 2.0 + 0.5 * observed(rng, prior, everywhere).values.reshape(SHAPE)
    values[rng.random(SHAPE) < 0.5] = np.nan
    values[2:4] = np.nan
    features = SlowFeatures(names, anchors_of(frame.time, sites))
    axes = [
        AxisTiles(n, c, halo if c > 1 else 0, wraps and i == 2)
        for i, (n, c) in enumerate(zip(SHAPE, counts, strict=True))
    ]
    common = (frame, prior, Scaling(2.0, 0.5), settings or Exact())
    tiled = TileSolver(*common, TilePlan(*axes), features, "cpu", "float64")
    single = TileSolver(*common, TilePlan(*(AxisTiles(n) for n in SHAPE)), None, "cpu", "float64")
    return tiled, single, values


ENGINES = pytest.mark.parametrize("settings", [Exact(), Variational(num_inducing=10_000)], ids=["exact", "variational"])


@ENGINES
@pytest.mark.parametrize("case", CASES)
def test_tiles_that_are_told_of_the_rest_answer_as_one_tile(case, settings):
    tiled, single, values = solvers(case, settings=settings)
    expected, found = run_member(single, values, None), run_member(tiled, values, None)
    assert found.shape == (2, *SHAPE)
    assert_allclose(found[0], expected[0], rtol=1e-6, atol=1e-6)
    assert_allclose(found[1], expected[1], rtol=1e-6)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("halo", [1, 2])
def test_a_halo_beside_the_message_counts_no_observation_twice(case, halo):
    tiled, single, values = solvers(case, halo=halo)
    expected, found = run_member(single, values, None), run_member(tiled, values, None)
    assert_allclose(found[0], expected[0], rtol=1e-6, atol=1e-6)
    assert_allclose(found[1], expected[1], rtol=1e-6)


@pytest.mark.parametrize("case", [c for c in CASES if "space" in c or "both" in c])
def test_a_message_goes_round_the_globe(case):
    tiled, single, values = solvers(case, halo=1, wraps=True)
    expected, found = run_member(single, values, None), run_member(tiled, values, None)
    assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_unequal_errors_go_into_the_message(case):
    tiled, single, values = solvers(case)
    errors = np.random.default_rng(10).uniform(0.1, 0.8, (1, *SHAPE[1:]))
    expected, found = run_member(single, values, errors), run_member(tiled, values, errors)
    assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert not np.allclose(found, run_member(tiled, values, None), rtol=1e-3)


@pytest.mark.parametrize("case", CASES)
def test_every_draw_of_the_data_gets_its_own_message(case):
    tiled, single, values = solvers(case)
    draws = values + np.random.default_rng(11).standard_normal((3, *SHAPE))
    expected, found = (run_member(s, draws, None, work=tile_means) for s in (single, tiled))
    assert found.shape == (3, *SHAPE)
    assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_the_constant_mean_is_that_of_all_observations(case):
    tiled, single, values = solvers(case)
    assert member_trend(tiled, values, None) == pytest.approx(member_trend(single, values, None), rel=1e-6)


def test_the_constant_mean_of_a_field_without_observations_is_not_known():
    tiled, single, values = solvers("a slow term and white noise, tiles of both")
    nothing = np.full_like(values, np.nan)
    assert np.isnan(member_trend(single, nothing, None)).all()
    assert np.isnan(member_trend(tiled, nothing, None)).all()


def test_a_solver_travels_and_answers_the_same():
    tiled, _, values = solvers("a slow term and white noise, tiles of both")
    here = run_member(tiled, values, None)
    there = pickle.loads(pickle.dumps(tiled))
    assert_array_equal(run_member(there, values, None), here)


@pytest.mark.parametrize(
    "terms",
    [
        (Term("product", spec.Matern(1.5, 60.0), spec.Matern(1.5, 3000.0), 1.0),),
        (Term("space", spec.Constant(), SPACE_KERNELS["rbf"], 0.6), Term("time", spec.RBF(30.0), spec.Constant(), 0.5)),
    ],
    ids=["one long product", "space plus time"],
)
@ENGINES
def test_tiles_work_when_all_of_the_prior_is_told(terms, settings):
    """On a small lattice the features may hold the whole prior: of the law of a segment only rounding is left."""
    prior = Prior(terms, noise=0.05, geometry="sphere")
    frame = lattice(np.zeros(SHAPE), spacing=1.0)
    rng = np.random.default_rng(12)
    values = observed(rng, prior, Points.grid(frame.time, frame.space.coordinates.reshape(-1, 3))).values.reshape(SHAPE)
    values[rng.random(SHAPE) < 0.5] = np.nan
    names = tuple(t.name for t in terms)
    common = (frame, prior, Scaling(0.0, 1.0), settings)
    plan = TilePlan(AxisTiles(SHAPE[0], 4, 1), AxisTiles(SHAPE[1]), AxisTiles(SHAPE[2]))
    tiled = TileSolver(*common, plan, choose_features(frame, prior, names, 0), "cpu", "float64")
    single = TileSolver(*common, TilePlan(*(AxisTiles(n) for n in SHAPE)), None, "cpu", "float64")
    expected, found = run_member(single, values, None), run_member(tiled, values, None)
    assert np.sqrt(np.mean((found[0] - expected[0]) ** 2 / expected[1] ** 2)) < 0.1
    assert_allclose(found[1], expected[1], rtol=0.1)
