"""Every engine at its exact limit answers as the dense oracle does. A new engine is one line in ENGINES."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from xgpfill.covariance.matrices import Covariance
from xgpfill.engines.exact import ExactEngine
from xgpfill.engines.iterative import IterativeEngine
from xgpfill.engines.select import build_engine, select_settings
from xgpfill.engines.variational import VariationalEngine
from xgpfill.engines.vecchia import VecchiaEngine
from xgpfill.errors import MethodError, TooManyPointsError, XgpfillWarning
from xgpfill.grid.lattice import Lattice, Space
from xgpfill.grid.points import Observations
from xgpfill.kernels import spec
from xgpfill.kernels.outside import FromFunction
from xgpfill.settings import Exact, Iterative, Variational, Vecchia, as_settings
from xgpfill.tiling.memory import (
    LIBRARIES,
    MEMORY_SHARE,
    OBSERVATIONS_PER_INDUCING,
    PER_CELL,
    PER_EVALUATED,
    PER_LAG,
    PER_OBSERVATION,
    PER_PAIR_OF_PLACES,
    available_memory,
    tile_limit,
)

from tests.problems import (
    SPACE_KERNELS,
    TIME_KERNELS,
    anova,
    gridded,
    observed,
    oracle_covariance,
    oracle_posterior,
    product,
    scattered,
)

ENGINES = {
    "exact": ExactEngine(),
    "variational, all points inducing": VariationalEngine(Variational(num_inducing=10_000)),
    "iterative, all points neighbours": IterativeEngine(
        Iterative(tolerance=1e-10, num_samples=2, num_neighbours=10_000)
    ),
    "vecchia, all points neighbours": VecchiaEngine(Vecchia(num_neighbours=10_000)),
}
TIGHT, SMOOTH = 1e-6, 1e-4
PRIORS = {
    "matern12": (anova("matern12"), TIGHT),
    "matern32": (anova("matern32"), TIGHT),
    "matern32 on a cylinder": (anova("matern32", "cylinder"), TIGHT),
    "matern52": (anova("matern52", "plane"), SMOOTH),
    "rbf": (anova("rbf"), SMOOTH),
    "brownian": (product(TIME_KERNELS["brownian"], SPACE_KERNELS["matern12"], "sphere", 2.0), TIGHT),
    "each frame on its own": (product(spec.Independent(), SPACE_KERNELS["matern32"], "sphere"), TIGHT),
    "a composition": (product(TIME_KERNELS["a product"], SPACE_KERNELS["a weighted sum"], "sphere"), SMOOTH),
}

engines = pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
trends = pytest.mark.parametrize("trend", [False, True], ids=["zero mean", "unknown mean"])


def distinct(points):
    """Only one of points at the same place and time: as inducing points they would be singular."""
    together = np.column_stack([points.time, points.space])
    return points.take(np.sort(np.unique(together, axis=0, return_index=True)[1]))


def problem(prior, *, unequal=False, seed=0, n=70):
    """Observations, and targets: new points, and a grid of which the engine makes blocks."""
    rng = np.random.default_rng(seed)
    points = distinct(scattered(rng, n, prior.geometry))
    observations = observed(rng, prior, points, unequal=unequal)
    observations = observations.with_values(observations.values + 0.7)
    return observations, scattered(rng, 25, prior.geometry), gridded(rng, 4, 6, prior.geometry)


# The table


@trends
@pytest.mark.parametrize("name", PRIORS)
@engines
def test_moments_equal_the_oracle(engine, name, trend):
    prior, tolerance = PRIORS[name]
    observations, *targets = problem(prior, unequal=True)
    posterior = engine.condition(Covariance(prior), observations, trend=trend)
    for points in (*targets, observations.points):
        expected = oracle_posterior(prior, observations, points, trend=trend)
        found = posterior.moments(points)
        assert_allclose(found.mean, expected.mean, rtol=tolerance, atol=tolerance)
        assert_allclose(found.variance, expected.variance, rtol=tolerance)


@trends
@engines
def test_the_joint_covariance_and_the_trend_equal_the_oracle(engine, trend):
    prior, tolerance = PRIORS["matern32"]
    observations, targets, grid = problem(prior, unequal=True)
    posterior = engine.condition(Covariance(prior), observations, trend=trend)
    for points in (targets, grid):
        expected = oracle_posterior(prior, observations, points, trend=trend, full=True)
        found = posterior.covariance(points)
        assert_allclose(found, expected.covariance, rtol=tolerance, atol=tolerance)
        assert_allclose(np.diag(found), posterior.moments(points).variance, rtol=1e-9)
        assert_allclose(found, found.T, rtol=0, atol=0)
    if not trend:
        assert posterior.trend is None
        return
    estimate, error = posterior.trend
    assert estimate == pytest.approx(expected.beta[0], rel=tolerance)
    assert error**2 == pytest.approx(expected.beta_covariance[0, 0], rel=tolerance)


@trends
@engines
def test_several_draws_of_the_data_get_the_means_they_would_get_alone(engine, trend):
    prior, tolerance = PRIORS["matern32"]
    observations, targets, grid = problem(prior, unequal=True)
    columns = np.random.default_rng(2).standard_normal((len(observations), 4)) + observations.values[:, None]
    together = engine.condition(Covariance(prior), observations.with_values(columns), trend=trend)
    for points in (targets, grid):
        found = together.means(points)
        assert found.shape == (len(points), 4)
        for i in range(4):
            alone = observations.with_values(columns[:, i])
            expected = oracle_posterior(prior, alone, points, trend=trend)
            assert_allclose(found[:, i], expected.mean, rtol=tolerance, atol=tolerance)
        assert_allclose(together.moments(points).mean, found[:, 0], rtol=1e-12)
    single = engine.condition(Covariance(prior), observations, trend=trend)
    assert_allclose(single.means(targets), single.moments(targets).mean[:, None], rtol=1e-12)


@engines
def test_without_observations_the_posterior_is_the_prior(engine):
    prior, _ = PRIORS["matern32"]
    observations, targets, _ = problem(prior)
    nothing = observations.take(np.arange(0))
    posterior = engine.condition(Covariance(prior), nothing, trend=False)
    found = posterior.moments(targets)
    K = oracle_covariance(prior, targets, targets)
    assert_allclose(found.mean, 0.0, atol=0)
    assert_allclose(found.variance, np.diag(K), rtol=1e-12)
    assert_allclose(posterior.covariance(targets), K, rtol=1e-10, atol=1e-13)
    assert posterior.means(targets).shape == (len(targets), 1)


@trends
@engines
def test_one_observation_is_enough(engine, trend):
    prior, tolerance = PRIORS["matern32"]
    observations, targets, _ = problem(prior)
    one = observations.take(np.array([3]))
    expected = oracle_posterior(prior, one, targets, trend=trend)
    found = engine.condition(Covariance(prior), one, trend=trend).moments(targets)
    assert_allclose(found.mean, expected.mean, rtol=tolerance)
    assert_allclose(found.variance, expected.variance, rtol=tolerance)


@engines
def test_repeated_points_are_repeated_measurements(engine):
    prior, _ = PRIORS["matern12"]
    observations, targets, _ = problem(prior)
    n = len(observations)
    twice = observations.take(np.r_[0:n, 0:n])
    halved = Observations(observations.points, observations.values, observations.noise / 2)
    expected = oracle_posterior(prior, halved, targets, trend=True)
    found = engine.condition(Covariance(prior), twice, trend=True).moments(targets)
    assert_allclose(found.mean, expected.mean, atol=1e-5)
    assert_allclose(found.variance, expected.variance, rtol=1e-5)


@trends
@engines
def test_float32_answers_to_its_precision(engine, trend):
    prior, _ = PRIORS["matern12"]
    observations, targets, _ = problem(prior)
    expected = oracle_posterior(prior, observations, targets, trend=trend)
    if isinstance(engine, IterativeEngine):  # a residual that float32 can reach
        engine = IterativeEngine(replace(engine.settings, tolerance=1e-4))
    found = engine.condition(Covariance(prior, dtype=torch.float32), observations, trend=trend).moments(targets)
    assert found.mean.dtype == found.variance.dtype == np.float64
    assert_allclose(found.mean, expected.mean, atol=1e-3)
    assert_allclose(found.variance, expected.variance, atol=1e-3)


@engines
def test_targets_of_no_point_give_empty_answers(engine):
    prior, _ = PRIORS["matern12"]
    observations, targets, _ = problem(prior)
    nowhere = targets.take(np.arange(0))
    posterior = engine.condition(Covariance(prior), observations)
    assert posterior.moments(nowhere).mean.shape == posterior.moments(nowhere).variance.shape == (0,)
    assert posterior.means(nowhere).shape == (0, 1)


# Properties


@engines
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    name=st.sampled_from(sorted(PRIORS)),
    n=st.integers(1, 40),
    noise=st.floats(-8, 1).map(lambda power: 10.0**power),
)
def test_the_posterior_variance_lies_between_zero_and_the_prior(engine, seed, name, n, noise):
    prior, _ = PRIORS[name]
    rng = np.random.default_rng(seed)
    points = scattered(rng, n, prior.geometry)
    observations = Observations(points, rng.standard_normal(n), np.full(n, noise))
    targets = scattered(rng, 15, prior.geometry)
    law = Covariance(prior)
    posterior = engine.condition(law, observations, trend=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XgpfillWarning)  # repeated points of next to no noise defy a residual of 1e-10
        for where in (targets, points):
            variance, prior_variance = posterior.moments(where).variance, law.diagonal(where).numpy()
            assert (variance >= 0).all()
            assert (variance <= prior_variance * (1 + 1e-9)).all()
            assert (np.diag(posterior.covariance(where)) >= 0).all()


@engines
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), name=st.sampled_from(["matern12", "matern32", "brownian"]), trend=st.booleans())
def test_the_order_of_observations_is_irrelevant(engine, seed, name, trend):
    prior, tolerance = PRIORS[name]
    observations, targets, _ = problem(prior, unequal=True, seed=seed, n=40)
    assume(len(observations) > 1)
    order = np.random.default_rng(seed).permutation(len(observations))
    law = Covariance(prior)
    one, other = (
        engine.condition(law, o, trend=trend).moments(targets) for o in (observations, observations.take(order))
    )
    assert_allclose(one.mean, other.mean, rtol=tolerance, atol=tolerance)
    assert_allclose(one.variance, other.variance, rtol=tolerance)


@engines
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shift=st.floats(-50, 50), scale=st.floats(0.1, 20))
def test_the_mean_is_linear_in_the_data_and_a_shift_goes_to_the_trend(engine, seed, shift, scale):
    prior, _ = PRIORS["matern32"]
    observations, targets, _ = problem(prior, seed=seed, n=30)
    law = Covariance(prior)
    plain = engine.condition(law, observations)
    moved = engine.condition(law, observations.with_values(scale * observations.values + shift))
    size = abs(scale) + abs(shift)
    assert_allclose(moved.moments(targets).mean, scale * plain.moments(targets).mean + shift, atol=1e-8 * size)
    assert_allclose(moved.moments(targets).variance, plain.moments(targets).variance, rtol=1e-9)
    assert moved.trend[0] == pytest.approx(scale * plain.trend[0] + shift, abs=1e-8 * size)


# What is special to one


def test_the_exact_engine_refuses_too_many_points_with_their_memory_and_three_ways_out():
    prior, _ = PRIORS["matern12"]
    observations, *_ = problem(prior)
    n = len(observations)
    few = ExactEngine(Exact(max_observations=n - 1))
    with pytest.raises(
        TooManyPointsError,
        match=rf"factor a {n} × {n} matrix: 0\.0 GiB.*max_observations={n - 1}\. "
        rf"Type `method='vecchia'`, `method='variational'`, smaller tiles.*xgpfill\.Exact\(max_observations={n}\)",
    ):
        few.condition(Covariance(prior), observations)
    ExactEngine(Exact(max_observations=n)).condition(Covariance(prior), observations)


def test_the_memory_in_the_message_is_that_of_three_matrices():
    prior, _ = PRIORS["matern12"]
    observations, *_ = problem(prior)
    many = observations.take(np.zeros(20_000, dtype=np.intp))
    with pytest.raises(TooManyPointsError, match=r"20000 × 20000 matrix: 8\.9 GiB"):
        ExactEngine().condition(Covariance(prior), many)


def test_fewer_inducing_points_never_claim_more_than_the_prior_and_come_close():
    prior, _ = PRIORS["matern32"]
    observations, targets, _ = problem(prior, n=120)
    law = Covariance(prior)
    exact = ExactEngine().condition(law, observations).moments(targets)
    errors = []
    for count in (20, 60, 100):
        found = VariationalEngine(Variational(num_inducing=count)).condition(law, observations).moments(targets)
        errors.append(np.sqrt(np.mean((found.mean - exact.mean) ** 2 / exact.variance)))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.1


# Which engine


@pytest.mark.parametrize(
    ("method", "settings_"),
    [
        ("auto", None),
        ("exact", Exact()),
        ("variational", Variational()),
        (Exact(7), Exact(7)),
        ("iterative", Iterative()),
        (Variational(num_inducing=5), Variational(num_inducing=5)),
        (Iterative(max_steps=5), Iterative(max_steps=5)),
    ],
)
def test_a_method_is_a_name_or_settings(method, settings_):
    assert as_settings(method) == settings_


def test_a_class_of_settings_is_to_be_made():
    with pytest.raises(MethodError, match=r"method=Exact is a class\. Type `method=xgpfill\.Exact\(\)`"):
        as_settings(Exact)


@pytest.mark.parametrize("method", ["kriging", None, 3])
def test_an_unknown_method_lists_those_there_are(method):
    with pytest.raises(
        MethodError,
        match=r"Unknown method.*'auto', 'exact', 'iterative', 'variational', 'vecchia', or settings such as",
    ):
        as_settings(method)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Exact(0), r"Exact\(max_observations=0\): expected a positive integer"),
        (lambda: Exact(2.0), r"Exact\(max_observations=2\.0\): expected a positive integer"),
        (lambda: Variational(num_inducing=-1), r"Variational\(num_inducing=-1\): expected a positive integer"),
        (lambda: Variational(batch_size=True), r"Variational\(batch_size=True\): expected a positive integer"),
        (lambda: Variational(epochs="9"), r"Variational\(epochs='9'\): expected a positive integer"),
        (
            lambda: Variational(validation=1.0),
            r"Variational\(validation=1\.0\): expected a share of at least 0, below 1",
        ),
        (lambda: Variational(validation=-0.1), r"expected a share of at least 0, below 1"),
        (lambda: Iterative(num_samples=0), r"Iterative\(num_samples=0\): expected a positive integer"),
        (lambda: Iterative(num_neighbours=2.5), r"Iterative\(num_neighbours=2\.5\): expected a positive integer"),
        (lambda: Iterative(max_steps=-3), r"Iterative\(max_steps=-3\): expected a positive integer"),
        (lambda: Iterative(tolerance=0), r"Iterative\(tolerance=0\): expected a number between 0 and 1, e\.g\. 1e-3"),
        (lambda: Iterative(tolerance=1.0), r"Iterative\(tolerance=1\.0\): expected a number between 0 and 1"),
        (lambda: Iterative(tolerance="tight"), r"Iterative\(tolerance='tight'\): expected a number between 0 and 1"),
        (lambda: Iterative(tolerance=float("nan")), r"Iterative\(tolerance=nan\): expected a number between 0 and 1"),
        (lambda: Vecchia(num_neighbours=0), r"Vecchia\(num_neighbours=0\): expected a positive integer"),
        (lambda: Variational(train="adam"), r"Variational\(train='adam'\): choose 'composite' or 'elbo'"),
    ],
)
def test_settings_out_of_range_say_what_was_expected(make, message):
    with pytest.raises(MethodError, match=message):
        make()


def test_auto_is_exact_for_few_observations_iterates_on_more_and_takes_neighbours_for_many_and_says_why():
    few, more, many = select_settings(4000), select_settings(4001), select_settings(20_001)
    assert (few.settings, more.settings, many.settings) == (Exact(), Iterative(), Vecchia())
    assert "without a matrix up to 20000" in more.reason
    assert "too many for all pairs of them" in many.reason and "in linear memory" in many.reason
    brought = product(FromFunction(lambda a, b: np.exp(-abs(a - b.T))), SPACE_KERNELS["matern12"])
    assert select_settings(4001, None, brought).settings == Variational()
    assert "4000 observations" in str(few) and "20001 observations" in str(many)


def test_settings_build_their_engine_and_say_how_much_a_tile_holds():
    assert build_engine(Exact(7)) == ExactEngine(Exact(7))
    assert build_engine(Variational(9)) == VariationalEngine(Variational(9))
    assert build_engine(Iterative(max_steps=9)) == IterativeEngine(Iterative(max_steps=9))
    few = Lattice(None, np.arange(3.0), Space(np.random.default_rng(0).uniform(0, 9e3, (4, 1, 2)), "plane"))
    assert tile_limit(Exact(), few) is None
    assert tile_limit(Variational(num_inducing=100), few).observations == OBSERVATIONS_PER_INDUCING * 100


def test_a_tile_takes_more_where_tables_draws_or_observations_are_many(monkeypatch):
    monkeypatch.setattr("distributed.system.MEMORY_LIMIT", 8 * 2**30)

    def load(nt, ny, nx, share=1.0, evaluated=0.0, **settings):
        y, x = np.meshgrid(np.arange(float(ny)), np.arange(float(nx)), indexing="ij")
        lattice = Lattice(None, np.arange(float(nt)), Space(np.stack([x, y], -1), "plane"))
        limit = tile_limit(Iterative(**settings), lattice)
        return limit.load(lattice.shape, share * nt * ny * nx, evaluated) * limit.memory

    one = Lattice(None, np.arange(1.0), Space(np.zeros((1, 1, 2)), "plane"))
    assert tile_limit(Iterative(), one).memory == MEMORY_SHARE * (8 * 2**30 - LIBRARIES)
    monkeypatch.setattr("distributed.system.MEMORY_LIMIT", 4e8)
    assert tile_limit(Iterative(), one).memory == pytest.approx(0.1 * 4e8)
    cells, tables = 3 * 10 * 20, PER_LAG * 10 * 10 * 20 + PER_PAIR_OF_PLACES * 200**2
    full = (PER_CELL + PER_OBSERVATION) * cells
    assert load(3, 10, 20) == pytest.approx(full + tables)
    assert load(3, 10, 20, 0.1) == pytest.approx((PER_CELL + 0.1 * PER_OBSERVATION) * cells + tables)
    assert load(3, 10, 20, num_samples=18) == pytest.approx(2 * full + tables)
    assert load(3, 10, 20, evaluated=cells) == pytest.approx(full + tables + PER_EVALUATED * cells)
    assert load(3, 500, 900) > PER_LAG * 500 * 500 * 900
    sites = Lattice(None, np.arange(3.0), Space(np.random.default_rng(0).uniform(0, 9e3, (400, 1, 2)), "plane"))
    assert tile_limit(Iterative(), sites).bytes(sites.shape, 0.0, 0.0) > PER_LAG * 400 * 400


def test_a_tile_of_lazy_data_holds_the_chunks_that_it_reads():
    import dask.array as da

    y, x = np.meshgrid(np.arange(40.0), np.arange(60.0), indexing="ij")
    values = da.zeros((30, 40, 60), chunks=((10, 20), 8, 60), dtype=np.float32)
    lazy = Lattice(values, np.arange(30.0), Space(np.stack([x, y], -1), "plane"))
    eager = Lattice(values.compute(), lazy.time, lazy.space)
    whole, part = (
        [tile_limit(Iterative(), each).bytes(shape, 0.0, 0.0) for each in (lazy, eager)]
        for shape in ((30, 40, 60), (5, 10, 60))
    )
    assert whole[0] - whole[1] == pytest.approx(4 * 30 * 40 * 60)
    assert part[0] - part[1] == pytest.approx(4 * (5 + 19) * (10 + 7) * 60)


def test_lazy_data_are_planned_for_the_smallest_share_of_a_worker_of_the_cluster(monkeypatch):
    from distributed import Client, LocalCluster

    monkeypatch.setattr("distributed.system.MEMORY_LIMIT", 8 * 2**30)
    how = {
        "n_workers": 1,
        "threads_per_worker": 2,
        "memory_limit": 2**31,
        "processes": False,
        "dashboard_address": ":0",
    }
    with LocalCluster(**how) as cluster, Client(cluster):
        assert available_memory(lazy=True) == 2**30
        assert available_memory() == 8 * 2**30
    assert available_memory(lazy=True) == 8 * 2**30


def test_long_axes_of_time_are_iterated_where_they_are_regular_and_nothing_wanders():
    sites = Space(np.random.default_rng(0).uniform(0, 9e3, (4, 1, 2)), "plane")
    regular = Lattice(None, np.arange(30_000.0), sites)
    uneven = Lattice(None, np.sort(np.random.default_rng(0).uniform(0, 3e4, 30_000)), sites)
    assert isinstance(select_settings(90_000, regular).settings, Iterative)
    assert isinstance(select_settings(90_000, regular, anova()).settings, Iterative)
    assert isinstance(select_settings(90_000, uneven).settings, Vecchia)
    wandering = product(TIME_KERNELS["brownian"], SPACE_KERNELS["matern12"], "plane")
    assert isinstance(select_settings(90_000, regular, wandering).settings, Vecchia)
