"""Regular meridians are found where there are some, and a kernel on them has the blocks of its dense matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from xgpfill.errors import MethodError
from xgpfill.grid.meridians import find_meridians
from xgpfill.kernels import spec
from xgpfill.kernels.outside import FromFunction
from xgpfill.operators import space as module
from xgpfill.operators.space import by_row, dense_space, images, is_even, lags_around, levels, product_period, spectrum

from tests import reference as ref
from tests.problems import SPACE_KERNELS, oracle


def embedded(lat, lon, geometry="sphere"):
    """Coordinates (ny, nx, d) of a lattice; degrees, or hundreds of km on a plane."""
    lat, lon = np.meshgrid(np.asarray(lat, float), np.asarray(lon, float), indexing="ij")
    if geometry == "plane":
        return 100.0 * np.stack([lon, lat], axis=-1)
    return (ref.chord if geometry == "sphere" else ref.cylinder)(lat, lon)


GLOBE, POLES = np.arange(0, 360, 30.0), np.linspace(-90, 90, 7)
REGULAR = {
    # name: latitudes, longitudes, geometry, whether around the globe, columns of a full circle
    "globe": ([-20, 10, 40], GLOBE, "sphere", True, 12),
    "globe with poles": (POLES, GLOBE, "sphere", True, 12),
    "globe from -180": (POLES, GLOBE - 180, "sphere", True, 12),
    "globe, descending": (POLES[::-1], GLOBE[::-1], "sphere", True, 12),
    "globe on a cylinder": (POLES, GLOBE, "cylinder", True, 12),
    "repeated meridian": (POLES, np.append(GLOBE, 360), "sphere", False, 12),
    "two meridians": ([-20, 10], [0, 180], "sphere", True, 2),
    "three meridians": (POLES, [0, 120, 240], "sphere", True, 3),
    "region": ([-20, 10, 40], np.arange(5, 55, 10.0), "sphere", False, 36),
    "region, descending": ([-20, 10, 40], np.arange(5, 55, 10.0)[::-1], "sphere", False, 36),
    "region across the date line": ([-20, 10], [150, 160, 170, 180, -170, -160], "sphere", False, 36),
    "region across Greenwich": ([-20, 10], [340, 350, 0, 10, 20], "sphere", False, 36),
    "region with a pole": ([60, 75, 90], np.arange(5, 55, 10.0), "sphere", False, 36),
    "region on a cylinder": ([60, 75, 90], np.arange(5, 55, 10.0), "cylinder", False, 36),
    "region of odd steps": ([60, 75, 80], 7.0 * np.arange(6), "sphere", False, None),
    "region of odd steps, descending": ([60, 75, 80], 7.0 * np.arange(6)[::-1], "sphere", False, None),
    "most of the globe": (POLES, np.arange(0, 330, 30.0), "sphere", False, 12),
    "plane": ([0, 3, 4], np.arange(6) * 2.5, "plane", False, None),
    "plane, descending": ([4, 3, 0], np.arange(6)[::-1] * 2.5 - 4, "plane", False, None),
    "one row": ([35], GLOBE, "sphere", True, 12),
}


@pytest.mark.parametrize("name", REGULAR)
def test_regular_meridians_are_one_column_again_and_again(name):
    lat, lon, geometry, is_global, circle = REGULAR[name]
    coordinates = embedded(lat, lon, geometry)
    found = find_meridians(coordinates, geometry)
    assert found is not None
    assert found.size == len(lon)
    columns = found.columns(np.arange(len(lon), dtype=float))
    assert_allclose(columns.transpose(1, 0, 2), coordinates, atol=1e-8)
    assert found.is_global is is_global
    assert found.longest_period == circle
    assert product_period(found) == len(lon) if is_global else product_period(found) >= 2 * len(lon) - 1


@pytest.mark.parametrize("geometry", ["sphere", "cylinder", "plane"])
@pytest.mark.parametrize(("share", "accepted"), [(4e-4, True), (1e-1, False)])
def test_meridians_may_lie_a_thousandth_of_a_step_off(geometry, share, accepted):
    rng = np.random.default_rng(0)
    lon = 3.0 * np.arange(20) + 3.0 * share * rng.uniform(-1, 1, 20)
    found = find_meridians(embedded([-30, 10, 50], lon, geometry), geometry)
    assert (found is not None) is accepted


def test_a_globe_may_miss_the_full_circle_by_a_thousandth_of_a_step():
    rounded = np.round(np.arange(0, 360, 360 / 7), 3)
    found = find_meridians(embedded(POLES, rounded), "sphere")
    assert found is not None
    assert found.is_global


def curvilinear():
    lat, lon = np.meshgrid(np.linspace(10, 30, 5), np.linspace(0, 40, 6), indexing="ij")
    return lat + 0.1 * lon, lon - 0.2 * lat


def test_what_is_not_regular_has_no_meridians():
    lat, lon = curvilinear()
    sites = ref.chord(lat, lon)
    assert find_meridians(sites, "sphere") is None
    assert find_meridians(sites.reshape(-1, 1, 3), "sphere") is None  # a list of sites
    assert find_meridians(100 * np.stack([lon, lat], axis=-1), "plane") is None
    assert find_meridians(embedded(POLES, [10.0]), "sphere") is None  # one column
    assert find_meridians(embedded([1, 2], [5.0, 5.0], "plane"), "plane") is None  # twice the same
    assert find_meridians(embedded([1, 2], [0, 1, 3, 4, 5]), "sphere") is None  # a gap


def test_the_seam_of_a_globe_is_no_wider_than_a_step():
    """A gap of one meridian is a region, not a globe."""
    found = find_meridians(embedded(POLES, np.delete(GLOBE, -1)), "sphere")
    assert found is not None
    assert not found.is_global


# Blocks


def blocks_of(kernel, found, lags, *, every=False):
    """Those of products, all of them or those that matter."""
    period = product_period(found)
    table = by_row(kernel, found, found.columns(np.arange(lags, dtype=float)[: period // 2 + 1]))
    return spectrum(table, period, count=period // 2 + 1 if every else None)


@pytest.mark.parametrize("name", ["globe with poles", "globe, descending", "region", "region with a pole", "plane"])
@pytest.mark.parametrize("kernel", ["matern12", "rbf", "a weighted sum"])
def test_the_blocks_transform_back_to_the_covariances_between_columns(name, kernel):
    lat, lon, geometry, *_ = REGULAR[name]
    found = find_meridians(embedded(lat, lon, geometry), geometry)
    blocks = blocks_of(SPACE_KERNELS[kernel], found, len(lon), every=True).numpy()
    lags = np.fft.irfft(blocks, n=product_period(found), axis=0)
    columns = found.columns(np.arange(len(lon), dtype=float))
    for lag in range(len(lon)):
        expected = oracle(SPACE_KERNELS[kernel], columns[0], columns[lag], geometry)
        assert_allclose(lags[lag], expected, atol=1e-10)
        assert_allclose(lags[-lag], expected, atol=1e-10)


def test_a_smooth_kernel_needs_few_frequencies():
    lon = np.arange(0, 360, 2.0)
    found = find_meridians(embedded([-20, 10, 40], lon), "sphere")
    smooth = blocks_of(spec.RBF(4000.0), found, 180)
    assert len(smooth) < 30
    lags = np.fft.irfft(np.pad(smooth.numpy(), ((0, 91 - len(smooth)), (0, 0), (0, 0))), n=180, axis=0)
    columns = found.columns(np.arange(180.0))
    assert_allclose(lags[11], oracle(spec.RBF(4000.0), columns[0], columns[11], "sphere"), atol=1e-7)


def test_a_dense_matrix_counts_along_x_innermost(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 64)  # several blocks of rows
    lat, lon = curvilinear()
    sites = ref.chord(lat, lon)
    K = dense_space(SPACE_KERNELS["matern32"], sites, "sphere")
    flat = sites.reshape(-1, 3)
    assert_allclose(K, oracle(SPACE_KERNELS["matern32"], flat, flat), atol=1e-12)


def test_too_many_irregular_sites_say_what_to_do(monkeypatch):
    monkeypatch.setattr(module, "MAX_DENSE_SITES", 20)
    lat, lon = curvilinear()
    with pytest.raises(MethodError, match=r"or up to 20 other places; these 30 lie on no regular meridians.*tile="):
        dense_space(spec.Matern(0.5, 100.0), ref.chord(lat, lon), "sphere")


# What users bring


def gaussian(scaling):
    """exp(−½|S(a − b)|²) of coordinates over 1,000 km."""

    def function(x, y):
        a, b = (z @ np.asarray(scaling, float).T / 1000.0 for z in (x, y))
        return np.exp(-0.5 * ((a[:, None] - b[None]) ** 2).sum(-1))

    return FromFunction(function, name="gaussian")


def by_latitude(x, y):
    """A product with a function of latitude alone: not stationary, but the same along every parallel."""
    distance = np.linalg.norm(x[:, None] - y[None], axis=-1)
    return np.exp(-distance / 2000.0) * np.outer(1 + x[:, -1] / 9000, 1 + y[:, -1] / 9000)


@pytest.mark.parametrize(
    ("kernel", "geometry", "even"),
    [
        (spec.Matern(0.5, 100.0), "sphere", True),
        (gaussian(np.eye(3)), "sphere", True),
        (gaussian(np.diag([1, 1, 2])), "sphere", True),  # stretched along the axis
        (gaussian(np.diag([2, 1, 1])), "sphere", False),  # knows one meridian from another
        (FromFunction(by_latitude), "sphere", True),
        (gaussian(np.diag([1, 3])), "plane", True),
        (gaussian([[1, 0.8], [0, 1]]), "plane", False),  # slanting: left is not right
        (spec.Matern(0.5, 100.0) * gaussian([[1, 0.8], [0, 1]]), "plane", False),
    ],
)
def test_kernels_that_differ_along_or_between_meridians_are_told_apart(kernel, geometry, even):
    lat, lon = ([-20, 10, 40], GLOBE) if geometry == "sphere" else ([0, 3, 7], np.arange(6) * 2.5)
    assert is_even(kernel, find_meridians(embedded(lat, lon, geometry), geometry)) is even


def test_images_make_a_short_circle_positive_definite():
    found = find_meridians(embedded(np.arange(4), np.arange(12.0), "plane"), "plane")
    kernel, period = spec.RBF(400.0), 23
    plain, summed = (
        spectrum(by_row(kernel, found, *columns), period, count=period // 2 + 1)
        for columns in ([lags_around(found, period)], images(kernel, found, period))
    )
    assert float(torch.linalg.eigvalsh(plain).min()) < -1e-4
    assert float(torch.linalg.eigvalsh(summed).min()) > -1e-10


def test_a_table_is_of_every_row_with_every_row(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 20)  # several parts of a row
    found = find_meridians(embedded(*REGULAR["region with a pole"][:2]), "sphere")
    columns = found.columns(np.arange(5.0))
    table = by_row(SPACE_KERNELS["matern32"], found, columns)
    for lag in range(5):
        expected = oracle(SPACE_KERNELS["matern32"], columns[0], columns[lag], "sphere")
        assert_allclose(table[..., lag], expected, atol=1e-12)


def test_the_level_of_a_frequency_is_the_largest_on_the_diagonal_of_its_block():
    found = find_meridians(embedded(*REGULAR["region"][:2]), "sphere")
    period = product_period(found)
    table = by_row(SPACE_KERNELS["matern32"], found, lags_around(found, period))
    blocks = spectrum(table, period, count=period // 2 + 1)
    along = table.diagonal(dim1=0, dim2=1)
    assert_allclose(levels([along], period), blocks.diagonal(dim1=1, dim2=2).abs().amax(1), rtol=1e-9)
    assert_allclose(levels([along / 4, 3 * along / 4], period), levels([along], period), rtol=1e-12)
