"""Products of the lattice operator equal those of the oracle's dense covariance, wherever cells lie."""

from __future__ import annotations

from dataclasses import replace

import gpytorch
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from xgpfill.errors import MethodError
from xgpfill.grid.points import Points
from xgpfill.kernels import spec
from xgpfill.kernels.outside import FromFunction, FromGPyTorch
from xgpfill.kernels.prior import Prior, Term
from xgpfill.operators import lattice as module
from xgpfill.operators import time
from xgpfill.operators.lattice import LatticeOperator

from tests import reference as ref
from tests.linalg.lattices import product_of
from tests.problems import SPACE_KERNELS, TIME_KERNELS, anova, oracle, oracle_covariance, product

DIRECTIONAL = ("periodic", "spectral", "a product")
TIMES = np.array([0.0, 1.0, 2.0, 4.5, 5.0])
GLOBE = np.arange(0, 360, 36.0)


def curvilinear():
    lat, lon = np.meshgrid(np.linspace(20, 40, 4), np.linspace(0, 30, 5), indexing="ij")
    return lat + 0.1 * lon, lon - 0.2 * lat


def crossed(lat, lon):
    return np.meshgrid(np.asarray(lat, float), np.asarray(lon, float), indexing="ij")


PLACES = {
    "globe": crossed([-60, -10, 35], GLOBE),
    "globe with poles": crossed(np.linspace(90, -90, 5), GLOBE),
    "globe, odd and descending": crossed([-60, -10, 35], np.arange(9)[::-1] * 40.0),
    "repeated meridian": crossed([-90, -10, 35], np.append(GLOBE, 360.0)),
    "region": crossed([10, 25, 30, 32], 10 + 4.0 * np.arange(7)),
    "region across the date line": crossed([10, 25, 30], [170, 175, 180, -175, -170]),
    "region with a pole": crossed([70, 80, 90], 6.0 * np.arange(6)),
    "most of the globe": crossed([-50, 0, 50], GLOBE[:-2]),
    "one row": crossed([35], 4.0 * np.arange(8)),
    "one column": crossed([10, 25, 40, 80], [35]),
    "one site": crossed([35], [10]),
    "irregular longitudes": crossed([10, 25, 30], [0, 3, 7, 8, 20]),
    "curvilinear": curvilinear(),
    "a list of sites": tuple(a.reshape(-1, 1) for a in curvilinear()),
}


def embedded(name, geometry="sphere"):
    lat, lon = PLACES[name]
    if geometry == "plane":
        return 100.0 * np.stack([lon, lat], axis=-1)
    return (ref.chord if geometry == "sphere" else ref.cylinder)(lat, lon)


def cells(times, coordinates):
    return Points.grid(times, coordinates.reshape(-1, coordinates.shape[-1]))


def assert_dense(prior, coordinates, times=TIMES, *, K=None, tight=1e-9):
    """In float64 to 1e-9 and in float32 to 1e-5 of the largest."""
    points = cells(times, coordinates)
    v = np.random.default_rng(0).standard_normal((len(points), 3))
    expected = (oracle_covariance(prior, points, points) if K is None else K) @ v
    for dtype, tolerance in ((torch.float64, tight), (torch.float32, 1e-5)):
        operator = LatticeOperator(prior, times, coordinates, "cpu", dtype)
        assert_allclose(product_of(operator, v), expected, rtol=0, atol=tolerance * np.abs(expected).max())
    return operator


# Every kernel, combination and place


@pytest.mark.parametrize("geometry", ["sphere", "cylinder", "plane"])
@pytest.mark.parametrize("places", PLACES)
def test_anova_everywhere(places, geometry):
    if geometry != "plane" or places != "repeated meridian":
        assert_dense(anova("matern32", geometry), embedded(places, geometry))


@pytest.mark.parametrize("places", ["globe with poles", "region", "curvilinear", "one site"])
@pytest.mark.parametrize("kernel", TIME_KERNELS)
def test_every_kernel_of_time(kernel, places):
    assert_dense(product(TIME_KERNELS[kernel], SPACE_KERNELS["matern32"], "sphere", 1.7), embedded(places))


@pytest.mark.parametrize(
    ("places", "geometry"),
    [
        ("globe with poles", "sphere"),
        ("region", "sphere"),
        ("region with a pole", "cylinder"),
        ("region", "cylinder"),
        ("region", "plane"),
        ("curvilinear", "plane"),
        ("one row", "plane"),
    ],
)
@pytest.mark.parametrize("kernel", SPACE_KERNELS)
def test_every_kernel_of_space(kernel, places, geometry):
    if geometry != "sphere" or kernel not in DIRECTIONAL:
        assert_dense(product(TIME_KERNELS["matern12"], SPACE_KERNELS[kernel], geometry), embedded(places, geometry))


@pytest.mark.parametrize("family", ["matern12", "matern52", "rbf", "rational_quadratic"])
@pytest.mark.parametrize("places", ["globe with poles", "region"])
def test_anova_of_every_family(family, places):
    assert_dense(anova(family), embedded(places))


SUM = Prior(
    (
        Term("space", spec.Constant(), SPACE_KERNELS["matern12"], 0.7),
        Term("time", TIME_KERNELS["matern52"], spec.Constant(), 1.1),
        Term("offset", spec.Constant(), spec.Constant(), 0.4),
    ),
    noise=0.05,
    combine="sum",
    geometry="sphere",
)
SHARED = Prior(
    (
        Term("a", TIME_KERNELS["matern32"], SPACE_KERNELS["rbf"], 0.7),  # of few frequencies
        Term("b", TIME_KERNELS["matern32"], SPACE_KERNELS["matern12"], 0.2),
        Term("c", TIME_KERNELS["matern32"], spec.Constant(), 0.3),
        Term("d", TIME_KERNELS["matern32"], spec.Independent(), 0.1),
        Term("e", TIME_KERNELS["rbf"], SPACE_KERNELS["rbf"], 0.5),
        Term("f", spec.Independent(), SPACE_KERNELS["matern52"], 0.2),
        Term("g", spec.Constant(), spec.Independent(), 0.1),
    ),
    noise=0.05,
    geometry="sphere",
)


@pytest.mark.parametrize("times", [TIMES, TIMES[:1]], ids=["times", "one time"])
@pytest.mark.parametrize("places", ["globe with poles", "region", "one column", "curvilinear", "one site"])
@pytest.mark.parametrize("prior", [SUM, SHARED, anova()], ids=["sum", "shared kernels", "anova"])
def test_sums_of_terms_of_all_kinds(prior, places, times):
    assert_dense(prior, embedded(places), times)


@pytest.mark.parametrize("time", ["brownian", "independent", "periodic"])
def test_one_time(time):
    prior = product(TIME_KERNELS[time], SPACE_KERNELS["matern32"], "sphere", 0.6)
    assert_dense(prior, embedded("region"), np.array([3.0]))


def test_one_right_hand_side_and_many_give_the_same_columns():
    operator = LatticeOperator(anova(), TIMES, embedded("globe"), "cpu", torch.float64)
    v = np.random.default_rng(1).standard_normal((operator.num_sites * TIMES.size, 9))
    together = product_of(operator, v)
    for i in (0, 8):
        assert_allclose(product_of(operator, v[:, [i]])[:, 0], together[:, i], atol=1e-12)
    assert_allclose(product_of(operator, v), together, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("places", ["globe with poles", "region with a pole", "curvilinear"])
def test_products_are_symmetric_and_never_negative(places, dtype):
    operator = LatticeOperator(anova("rbf"), TIMES, embedded(places), "cpu", dtype)
    K = product_of(operator, np.eye(operator.num_sites * TIMES.size))
    rounding = {torch.float64: 1e-8, torch.float32: 1e-5}[dtype] * len(K)
    assert_allclose(K, K.T, atol=rounding)
    assert np.linalg.eigvalsh(0.5 * (K + K.T)).min() > -rounding


def test_the_field_that_is_given_stays_as_it_is():
    operator = LatticeOperator(SHARED, TIMES, embedded("region"), "cpu", torch.float64)
    field = torch.as_tensor(np.random.default_rng(0).standard_normal((operator.num_sites, 2, TIMES.size)))
    before = field.clone()
    operator(field)
    assert torch.equal(field, before)


# Long time axes


def long_product(prior, times, coordinates, v):
    """The oracle's Kronecker factors, one after the other: the dense matrix would be large."""
    flat = coordinates.reshape(-1, coordinates.shape[-1])
    V, total = v.reshape(times.size, len(flat)), 0.0
    for term in prior.terms:
        T = oracle(term.time, times, times)
        S = oracle(term.space, flat, flat, prior.geometry)
        total = total + term.variance * (T @ V @ S)
    return total.reshape(v.shape)


@pytest.mark.parametrize("places", ["region", "curvilinear"])
def test_a_long_regular_axis_of_time(places):
    times = 0.25 * np.arange(2003)
    terms = [
        Term("static", spec.Constant(), SPACE_KERNELS["rbf"], 0.5),
        Term("slow", TIME_KERNELS["matern32"], SPACE_KERNELS["matern32"], 1.0),
        Term("rough", TIME_KERNELS["spectral"], spec.Independent(), 0.3),
    ]
    prior, coordinates = Prior(tuple(terms), noise=0.1, geometry="sphere"), embedded(places)[:2, :2]
    v = np.random.default_rng(0).standard_normal((times.size * 4, 1))
    expected = long_product(prior, times, coordinates, v)
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-5)):
        found = product_of(LatticeOperator(prior, times, coordinates, "cpu", dtype), v)
        assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())


@pytest.fixture
def short(monkeypatch):
    """Time axes are long from 20 steps on, and very long from 30."""
    monkeypatch.setattr(module, "MAX_DENSE_TIMES", 20)
    monkeypatch.setattr(time, "MAX_TIMES", 30)


LONG = {
    "regular": np.arange(26.0),
    "descending": np.arange(26.0)[::-1].copy(),
    "rounded": np.round(np.arange(26) / 24, 6),
    "irregular": np.sort(np.random.default_rng(0).uniform(0, 30, 26)),
}


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("prior", [anova(), SHARED], ids=["anova", "shared kernels"])
@pytest.mark.parametrize("times", LONG.values(), ids=LONG)
def test_long_axes_of_time_regular_or_not(times, prior):
    coordinates = embedded("region")[:2, :3]
    points = cells(times, coordinates)
    v = np.random.default_rng(0).standard_normal((len(points), 2))
    found = product_of(LatticeOperator(prior, times, coordinates, "cpu", torch.float64), v)
    assert_allclose(found, oracle_covariance(prior, points, points) @ v, atol=1e-4)  # times are taken for regular


def test_steps_that_grow_slowly_are_not_regular():
    """Each step differs little from the next, but in the middle a time is half a step from where it would be."""
    steps = np.arange(2003)
    times = steps + 4e-7 * steps.astype(float) ** 2
    prior = product(spec.Matern(0.5, 2.0), spec.Constant(), "sphere")
    v = np.random.default_rng(0).standard_normal((times.size, 1))
    found = product_of(LatticeOperator(prior, times, embedded("one site"), "cpu", torch.float64), v)
    assert_allclose(found, oracle(spec.Matern(0.5, 2.0), times, times) @ v, atol=1e-9)


@pytest.mark.usefixtures("short")
def test_very_long_irregular_axes_of_time_say_what_to_do():
    times = np.sort(np.random.default_rng(0).uniform(0, 30, 31))
    with pytest.raises(MethodError, match=r"takes 31 time steps at once only when they are regular.*tile=\{'time'"):
        LatticeOperator(anova(), times, embedded("region"), "cpu", torch.float64)


# What users bring


def gpytorch_rbf(lengthscale):
    kernel = gpytorch.kernels.RBFKernel()
    kernel.lengthscale = lengthscale
    return FromGPyTorch(kernel)


@pytest.mark.parametrize(("places", "geometry"), [("globe with poles", "sphere"), ("region", "plane")])
def test_a_kernel_of_gpytorch_gives_the_products_of_ours(places, geometry):
    theirs = product(gpytorch_rbf(2.0), gpytorch_rbf(600.0), geometry)
    ours = product(spec.RBF(2.0), spec.RBF(600.0), geometry)
    points = cells(TIMES, embedded(places, geometry))
    K = oracle_covariance(ours, points, points)
    operator = assert_dense(theirs, embedded(places, geometry), K=K, tight=1e-6)  # theirs holds a float32 lengthscale
    assert operator.meridians is not None


def exponential(x, y):
    """The same everywhere."""
    return np.exp(-np.linalg.norm(x[:, None] - y[None], axis=-1) / 900.0)


@pytest.mark.parametrize(
    ("places", "geometry"), [("globe with poles", "sphere"), ("region", "plane"), ("one row", "plane")]
)
def test_a_function_that_is_the_same_everywhere_goes_the_fast_way(places, geometry):
    prior = product(spec.Matern(1.5, 3.0), FromFunction(exponential), geometry)
    points = cells(TIMES, embedded(places, geometry))
    K = ref.matern(ref.distance(points.time, points.time), 3.0, 1.5) * exponential(points.space, points.space)
    assert assert_dense(prior, embedded(places, geometry), K=K).meridians is not None


def uneven(x, y):
    """Exponential, of a variance that grows with the first coordinate: not the same along a parallel."""
    distance = np.linalg.norm(x[:, None] - y[None], axis=-1)
    return np.exp(-distance / 2000.0) * np.outer(1 + x[:, 0] / 9000, 1 + y[:, 0] / 9000)


def slanting(x, y):
    """Exponential along a slanting axis: left is not right."""
    a, b = (z @ np.array([[1.0, 0.0], [0.8, 1.0]]) for z in (x, y))
    return np.exp(-np.linalg.norm(a[:, None] - b[None], axis=-1) / 500.0)


@pytest.mark.parametrize(
    ("function", "places", "geometry"),
    [(uneven, "globe", "sphere"), (uneven, "region", "plane"), (slanting, "region", "plane")],
)
def test_a_function_that_is_not_the_same_along_a_parallel_goes_the_dense_way(function, places, geometry):
    coordinates = embedded(places, geometry)
    prior = product(spec.Matern(1.5, 3.0), FromFunction(function), geometry)
    both = replace(prior, terms=(*prior.terms, *anova("matern12", geometry).terms))
    points = cells(TIMES, coordinates)
    K = ref.matern(ref.distance(points.time, points.time), 3.0, 1.5) * function(points.space, points.space)
    assert assert_dense(prior, coordinates, K=K).meridians is None
    others = oracle_covariance(anova("matern12", geometry), points, points)
    assert_dense(both, coordinates, K=K + others)


def test_a_function_of_time_keeps_its_own_variance_at_a_single_time():
    prior = product(FromFunction(lambda x, y: 2.0 + np.minimum(x, y.T), name="walk"), spec.Matern(0.5, 900.0), "sphere")
    points = cells(np.array([3.0]), embedded("region"))
    assert_dense(prior, embedded("region"), np.array([3.0]), K=5.0 * ref.matern(points_distance(points), 900.0, 0.5))


def points_distance(points):
    return ref.distance(points.space, points.space)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("function", [lambda x, y: 2 + np.minimum(x, y.T), lambda x, y: np.exp(-np.abs(x - y.T) / 3)])
def test_a_long_time_axis_of_a_function_stationary_or_not(function):
    times, coordinates = np.arange(25.0), embedded("region")[:2, :2]
    prior = product(FromFunction(function, name="mine"), spec.Matern(0.5, 900.0), "sphere")
    points = cells(times, coordinates)
    K = function(points.time[:, None], points.time[:, None]) * ref.matern(points_distance(points), 900.0, 0.5)
    assert_dense(prior, coordinates, times, K=K)


# Next to nothing is nothing


def matrices(operator):
    """All that products are made with."""
    for term in operator.terms:
        yield term.matrix
        if term.time is not None:
            yield term.time.matrix
    for part in (operator._common, operator._alone):
        if part is not None:
            yield part.matrix


def denormal(matrix):
    return int(((matrix != 0) & (matrix.abs() < torch.finfo(matrix.dtype).tiny)).sum())


FAMILIES = {
    "rbf": spec.RBF,
    "matern12": lambda lengthscale: spec.Matern(0.5, lengthscale),
    "matern52": lambda lengthscale: spec.Matern(2.5, lengthscale),
}


def near_only(family, *, days=0.5, km=150.0, variance=1.0):
    """Terms that reach from next to nothing to a part of the domain, static, common and alone ones too."""
    kernel = FAMILIES[family]
    terms = (
        Term("short", kernel(days), kernel(km), variance),
        Term("long", spec.Matern(1.5, 20.0), spec.Matern(1.5, 2000.0), 0.5),
        Term("static", spec.Constant(), kernel(km), 0.3 * variance),
        Term("common", kernel(3.0 * days), spec.Constant(), 0.2 * variance),
        Term("alone", kernel(2.0 * days), spec.Independent(), 0.1 * variance),
    )
    return Prior(terms, noise=0.05, geometry="sphere")


ROWS = np.linspace(-80, 80, 161)
MANY_ROWS = {
    "region": ref.chord(*crossed(ROWS, 10 + np.arange(6.0))),
    "globe": ref.chord(*crossed(ROWS, 45 * np.arange(8.0))),
}


@pytest.mark.parametrize(("places", "variance"), [("region", 1.0), ("globe", 1e-20), ("curvilinear", 1.0)])
@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_that_is_multiplied_is_a_denormal_number(family, places, variance):
    coordinates = embedded(places) if places == "curvilinear" else MANY_ROWS[places]
    times = np.arange(40.0)
    for days, km in ((0.03, 3.0), (1.0, 300.0)):
        prior = near_only(family, days=days, km=km, variance=variance)
        double, single = (LatticeOperator(prior, times, coordinates, "cpu", d) for d in (torch.float64, torch.float32))
        for operator in (double, single, double.to(torch.float32)):
            found = list(matrices(operator))
            assert len(found) == 7
            assert [denormal(matrix) for matrix in found] == [0] * 7
            assert all(matrix.dtype == operator.dtype for matrix in found)


def test_there_would_be_denormal_numbers():
    """The test before this one can fail."""
    table = torch.as_tensor(np.exp(-0.5 * np.arange(60.0) ** 2))
    assert denormal(table) > 0
    assert denormal(table.float()) > 0


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("places", MANY_ROWS)
@pytest.mark.parametrize("family", FAMILIES)
def test_panels_give_the_products_of_whole_blocks(family, places, dtype, tolerance, monkeypatch):
    prior, times, coordinates = near_only(family), np.arange(4.0), MANY_ROWS[places]
    operator = LatticeOperator(prior, times, coordinates, "cpu", dtype)
    assert [len(term.panels[0]) > 1 for term in operator.terms] == [True, False, True]  # short, long, static
    for term in operator.terms:
        assert len(term.panels) == -(-len(term.matrix) // module.BAND)
        for number, panels in enumerate(term.panels):
            assert [i for some, _ in panels for i in range(some.start, some.stop)] == list(range(161))
            blocks = term.matrix[number * module.BAND : (number + 1) * module.BAND]
            for some, near in panels:
                outside = torch.ones(161, dtype=torch.bool)
                outside[near] = False
                assert not blocks[:, some][:, :, outside].any()
    monkeypatch.setattr(module, "NOTHING", dict.fromkeys(module.NOTHING, 0.0))
    whole = LatticeOperator(prior, times, coordinates, "cpu", dtype)
    whole.terms = [replace(term, panels=()) for term in whole.terms]
    for columns in (1, 12):
        v = np.random.default_rng(0).standard_normal((operator.num_sites * times.size, columns))
        expected = product_of(whole, v)
        assert_allclose(product_of(operator, v), expected, rtol=0, atol=tolerance * np.abs(expected).max())


def test_products_with_panels_are_those_of_the_oracle():
    prior, times, coordinates = near_only("matern12"), np.arange(3.0), MANY_ROWS["region"][:, :3]
    operator = LatticeOperator(prior, times, coordinates, "cpu", torch.float64)
    assert operator.terms[0].panels
    points = cells(times, coordinates)
    v = np.random.default_rng(0).standard_normal((len(points), 20))
    expected = oracle_covariance(prior, points, points) @ v
    assert_allclose(product_of(operator, v), expected, rtol=0, atol=1e-9 * np.abs(expected).max())
