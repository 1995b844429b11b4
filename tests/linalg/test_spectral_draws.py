"""Draws by factors in longitude have the covariance of the oracle, on regions and around the globe."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from xgpfill.grid.lattice import Lattice, Space
from xgpfill.grid.meridians import find_meridians
from xgpfill.kernels import spec
from xgpfill.operators import draws
from xgpfill.operators import spectral_draws as module
from xgpfill.operators.draws import FEW_SITES, PriorDraws
from xgpfill.operators.spectral_draws import spectral_factor

from tests import reference as ref
from tests.problems import SPACE_KERNELS, anova, oracle, product

DRAWS = 1000


def embedded(lat, lon, geometry="sphere"):
    lat, lon = np.meshgrid(np.asarray(lat, float), np.asarray(lon, float), indexing="ij")
    if geometry == "plane":
        return 100.0 * np.stack([lon, lat], axis=-1)
    return (ref.chord if geometry == "sphere" else ref.cylinder)(lat, lon)


class Identity:
    """In place of a generator: white noise of which every number is one in one draw, so that draws are a factor."""

    def standard_normal(self, shape):
        *own, rank = shape
        return np.eye(int(np.prod(own)), rank).reshape(shape)


def covariance_of(factor):
    """What draws have exactly, (cells, cells), x innermost."""
    nf, ny, _ = factor.factors.shape
    basis = factor.draws([Identity()], None, 2 * nf * ny)[0]
    basis = basis.reshape(len(basis), -1)
    return basis.T @ basis


CASES = {
    # name: coordinates, geometry, kernel
    "region": (embedded([10, 20, 25], 3.0 * np.arange(9)), "sphere", spec.Matern(1.5, 500.0)),
    "region, odd steps": (embedded([10, 20, 25], 7.0 * np.arange(9)), "sphere", spec.Matern(1.5, 300.0)),
    "region, descending": (embedded([10, 20, 25], 7.0 * np.arange(9)[::-1]), "sphere", spec.Matern(0.5, 200.0)),
    "region, smooth": (embedded([10, 20, 25], 3.0 * np.arange(9)), "sphere", spec.RBF(600.0)),
    "region, long": (embedded([10, 20, 25], 3.0 * np.arange(9)), "sphere", spec.Matern(1.5, 9000.0)),
    "region with a pole, long": (embedded([70, 80, 90], 10.0 * np.arange(9)), "sphere", spec.Matern(2.5, 6000.0)),
    "half the globe, long": (embedded([-50, 0, 50], 10.0 * np.arange(19)), "sphere", spec.Matern(1.5, 7000.0)),
    "most of the globe": (embedded([-50, 0, 50], 10.0 * np.arange(34)), "sphere", spec.Matern(1.5, 2000.0)),
    "wider than half a turn": (
        embedded(np.linspace(-60, -48, 5), 3.0 * np.arange(63)),
        "sphere",
        spec.Matern(1.5, 400.0),
    ),
    "globe with poles": (embedded(np.linspace(-90, 90, 5), 30.0 * np.arange(12)), "sphere", spec.Matern(1.5, 3000.0)),
    "globe, odd": (embedded([-60, 0, 90], 24.0 * np.arange(15)), "sphere", spec.RBF(2500.0)),
    "globe, descending": (embedded([-60, 0], 24.0 * np.arange(15)[::-1]), "sphere", spec.RBF(2500.0)),
    "repeated meridian": (embedded([-90, 0, 40], 30.0 * np.arange(13)), "sphere", spec.Matern(0.5, 2000.0)),
    "plane": (embedded([0, 1, 3], np.arange(12), "plane"), "plane", spec.Matern(1.5, 150.0)),
    "plane, descending": (embedded([0, 1, 3], np.arange(12)[::-1], "plane"), "plane", spec.Matern(0.5, 100.0)),
    "plane, smooth": (embedded([0, 1, 3], np.arange(12), "plane"), "plane", spec.RBF(300.0)),
    "plane, heavy tails": (embedded([0, 1], np.arange(12), "plane"), "plane", spec.RationalQuadratic(50.0, 1.5)),
    "mixture on a plane": (
        embedded([0, 1, 3], np.arange(12), "plane"),
        "plane",
        spec.Spectral(2, (2.0, 1.0), (1 / 700, 1 / 300), (1 / 1500, 1 / 2000)),
    ),
    "a sum": (embedded([10, 20, 25], 3.0 * np.arange(9)), "sphere", spec.RBF(300.0) + spec.Matern(0.5, 400.0)),
    "cylinder": (embedded([-80, 0, 90], 3.0 * np.arange(9), "cylinder"), "cylinder", spec.Matern(1.5, 500.0)),
    "one row": (embedded([50], 3.0 * np.arange(20)), "sphere", spec.Matern(1.5, 400.0)),
}
MUST = set(CASES) - {"plane, heavy tails"}
"""Those that need no dense matrix; heavy tails may."""


@pytest.mark.parametrize("name", CASES)
def test_draws_have_the_covariance_of_the_kernel(name):
    coordinates, geometry, kernel = CASES[name]
    meridians = find_meridians(coordinates, geometry)
    factor = spectral_factor(kernel, meridians)
    if factor is None:
        assert name not in MUST
        return
    flat = coordinates.reshape(-1, coordinates.shape[-1])
    assert_allclose(covariance_of(factor), oracle(kernel, flat, flat, geometry), atol=1e-3)


def test_draws_are_the_same_however_much_white_noise_is_made_at_once(monkeypatch):
    coordinates, geometry, kernel = CASES["globe with poles"]
    factor = spectral_factor(kernel, find_meridians(coordinates, geometry))
    in_time = np.linalg.cholesky(spec_in_time(6))

    def drawn():
        return factor.draws([np.random.default_rng(k) for k in range(3)], in_time, 6)

    whole = drawn()
    monkeypatch.setattr(module, "AT_ONCE", 200)
    assert_array_equal(drawn(), whole)
    assert_allclose(factor.draws([np.random.default_rng(0)], in_time[2:4], 6)[0], whole[0, 2:4], rtol=1e-12, atol=1e-14)


def spec_in_time(n):
    """An exponential covariance of n times."""
    return np.exp(-np.abs(np.subtract.outer(np.arange(n), np.arange(n))) / 3.0)


@pytest.mark.parametrize(
    ("lat", "lon", "lengthscale", "parts"),
    [
        ([0, 2, 4, 6], 3.75 * np.arange(16), 1600.0, 2),
        ([0, 3], np.arange(8.0), 1500.0, 3),
        ([0, 3], np.arange(40.0), 1100.0, 3),
    ],
)
def test_an_image_that_is_the_same_to_both_sides_is_counted_once(lat, lon, lengthscale, parts):
    coordinates, kernel = embedded(lat, lon), spec.Matern(1.5, lengthscale)
    meridians = find_meridians(coordinates, "sphere")
    assert parts * module._circle(kernel, meridians) == meridians.longest_period
    flat = coordinates.reshape(-1, 3)
    found = covariance_of(spectral_factor(kernel, meridians, 0.01))
    assert_allclose(found, oracle(kernel, flat, flat, "sphere"), atol=module.UNCORRELATED)


def test_factors_are_exact_to_rounding_where_there_is_little_noise():
    coordinates, kernel = embedded([-60, 0, 30], 24.0 * np.arange(15)), spec.Matern(1.5, 2500.0)
    flat, meridians = coordinates.reshape(-1, 3), find_meridians(coordinates, "sphere")
    for share, within in ((1e-9, 1e-10), (0.01, 2e-7)):
        found = covariance_of(spectral_factor(kernel, meridians, share))
        assert_allclose(found, oracle(kernel, flat, flat, "sphere"), atol=within)


def test_where_no_circle_is_long_enough_there_is_no_factor():
    never = spec.Periodic(500.0, 1.0)
    plane = find_meridians(embedded([0, 1, 3], np.arange(12), "plane"), "plane")
    assert spectral_factor(never, plane) is None
    assert spectral_factor(spec.Matern(1.5, 1e5), plane) is None
    odd = find_meridians(embedded([10, 20], 7.0 * np.arange(9)), "sphere")  # no whole number of steps makes a circle
    assert spectral_factor(spec.Matern(1.5, 9000.0), odd) is None


def test_what_is_too_much_has_no_factor(monkeypatch):
    coordinates, geometry, kernel = CASES["region"]
    monkeypatch.setattr(module, "AFFORDABLE", 10)
    assert spectral_factor(kernel, find_meridians(coordinates, geometry)) is None


# On a lattice


def frame(coordinates, geometry, times=None):
    return Lattice(None, np.arange(DRAWS, dtype=float) if times is None else times, Space(coordinates, geometry))


def whole(of):
    return tuple(np.arange(n) for n in of.shape)


LARGE = {
    "region": (embedded(np.linspace(10, 25, 12), 3.0 * np.arange(24)), "sphere", SPACE_KERNELS["matern32"]),
    "region, long": (embedded(np.linspace(10, 25, 12), 0.7 * np.arange(24)), "sphere", spec.Matern(2.5, 20_000.0)),
    "globe with poles": (embedded(np.linspace(-90, 90, 9), 10.0 * np.arange(36)), "sphere", spec.Matern(1.5, 5000.0)),
    "plane": (embedded(np.arange(12), np.arange(24), "plane"), "plane", spec.RBF(300.0)),
    "plane, long": (embedded(np.arange(12), np.arange(24), "plane"), "plane", spec.RBF(1e4)),
    "periodic": (embedded(np.arange(12), np.arange(24), "plane"), "plane", SPACE_KERNELS["periodic"]),
}


@pytest.mark.parametrize("name", LARGE)
def test_many_draws_of_a_lattice_have_the_covariance_of_the_oracle(name):
    """Times that are independent are as many draws."""
    coordinates, geometry, kernel = LARGE[name]
    of = frame(coordinates, geometry)
    assert of.space.size > FEW_SITES
    fields = PriorDraws(of, product(spec.Independent(), kernel, geometry, 2.0), 0).field(0, 0, whole(of))
    fields = fields.reshape(DRAWS, -1)
    flat = coordinates.reshape(-1, coordinates.shape[-1])
    K = 2.0 * oracle(kernel, flat, flat, geometry)
    error = np.sqrt((np.outer(np.diag(K), np.diag(K)) + K**2) / DRAWS)
    assert np.abs((fields.T @ fields / DRAWS - K) / error).max() < 5.5
    smoothed = fields.mean(1)  # the smoothest part, to more digits
    assert smoothed.var() == pytest.approx(K.mean(), rel=5 * np.sqrt(2 / DRAWS))


def test_a_circle_on_which_images_overlap_gives_way_to_a_full_one():
    kernel = spec.Matern(1.5, 400.0)
    meridians = find_meridians(embedded(np.linspace(-60, -48, 5), 3.0 * np.arange(63)), "sphere")
    shorter = module._circle(kernel, meridians)
    assert shorter < 120 and module._factor_on(kernel, meridians, shorter, 0.04) is None
    assert spectral_factor(kernel, meridians, 0.04).transform.period == 120


def test_terms_of_time_and_space_have_the_covariance_of_the_oracle():
    """Time correlates what the factor in longitude draws."""
    prior = anova("matern32")
    of = frame(embedded([10, 20, 25], np.arange(0, 360, 4.0)), "sphere", np.array([0.0, 1.0, 3.0]))
    some = [(0, 0, 0), (1, 0, 1), (2, 2, 89), (0, 1, 45)]
    source = PriorDraws(of, prior, 0)
    draws = 1500
    found = np.array([[f[c] for c in some] for f in (source.field(i, 0, whole(of)) for i in range(draws))])
    t, y, x = np.array(some).T
    times, sites = of.time[t], of.space.coordinates[y, x]
    K = sum(
        term.variance * oracle(term.time, times, times) * oracle(term.space, sites, sites, "sphere")
        for term in prior.terms
    )
    error = np.sqrt((np.outer(np.diag(K), np.diag(K)) + K**2) / draws)
    assert np.abs((found.T @ found / draws - K) / error).max() < 5


@pytest.mark.parametrize("name", ["globe with poles", "region"])
def test_the_same_seed_draws_the_same_and_a_window_is_cut_from_the_whole(name):
    coordinates, geometry, _ = LARGE[name]
    of = frame(coordinates, geometry, np.arange(4.0))
    source = PriorDraws(of, anova("matern32", geometry), seed=3)
    everything = source.field(2, 1, whole(of))
    assert_array_equal(PriorDraws(of, source.prior, 3).field(2, 1, whole(of)), everything)
    assert np.abs(PriorDraws(of, source.prior, 4).field(2, 1, whole(of)) - everything).max() > 0.1
    for window in (
        (np.array([1]), np.array([0, 5]), np.array([0, 1, 2])),
        (np.array([2, 0]), np.array([1]), np.array([20, 21, 0])),
    ):
        assert_allclose(source.field(2, 1, window), everything[np.ix_(*window)], rtol=1e-12, atol=1e-13)


def test_the_cells_of_a_pole_are_one_location():
    coordinates, geometry, kernel = LARGE["globe with poles"]
    of = frame(coordinates, geometry, np.arange(2.0))
    field = PriorDraws(of, product(spec.Matern(0.5, 3.0), kernel, geometry), 0).field(0, 0, whole(of))
    assert np.ptp(field[:, 0], axis=-1).max() < 5e-3
    assert np.ptp(field[:, 4], axis=-1).min() > 0.5


def test_several_draws_at_once_are_those_one_by_one(monkeypatch):
    coordinates, geometry, _ = LARGE["region"]
    of = frame(coordinates, geometry, np.arange(4.0))
    source = PriorDraws(of, anova("matern32", geometry), seed=3)
    one_by_one = [source.field(k, 1, whole(of)) for k in range(2, 7)]
    assert_allclose(list(source.fields(range(2, 7), 1, whole(of))), one_by_one, rtol=1e-12, atol=1e-12)
    monkeypatch.setattr(draws, "CHUNK", 2 * of.space.size * 4)  # two at once
    assert_allclose(list(source.fields(range(2, 7), 1, whole(of))), one_by_one, rtol=1e-12, atol=1e-12)


def test_a_smooth_kernel_is_told_from_few_lags_and_a_rough_one_from_a_short_circle():
    """A kernel much smoother than the step needs every so-manieth lag; the draws' covariance is the same."""
    coordinates = embedded([0, 1, 3], np.arange(60), "plane")
    meridians = find_meridians(coordinates, "plane")
    flat = coordinates.reshape(-1, 2)
    smooth, rough = spec.RBF(2000.0), spec.Matern(0.5, 50.0)
    for kernel in (smooth, rough):
        factor = spectral_factor(kernel, meridians)
        assert_allclose(covariance_of(factor), oracle(kernel, flat, flat, "plane"), atol=1e-3)
    period = module._circle(smooth, meridians)
    columns = module.images(smooth, meridians, period)
    count, stride = module._frequencies(smooth, meridians, period, columns)
    assert stride > 1
    assert count < period // 4
    assert module._circle(rough, meridians) < 2 * 60 - 1
