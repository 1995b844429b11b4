"""Covariances of averages against averages of covariances."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from xgpfill.covariance.averaged import Averaged, Members
from xgpfill.covariance.evaluate import Lags, correlation
from xgpfill.covariance.matrices import Covariance
from xgpfill.errors import NumericalError
from xgpfill.kernels import spec

from tests.problems import TIME_KERNELS, lattice, oracle
from tests.reference import EARTH_RADIUS

TIMES = np.arange(12.0)[:, None] * 1.5
GROUPS = [[0, 1, 2], [3, 4], [5], [6], [7], [8, 9, 10, 11]]


def averaging(groups, size):
    """The matrix that averages groups."""
    W = np.zeros((len(groups), size))
    for row, group in zip(W, groups, strict=True):
        row[group] = 1 / len(group)
    return W


def members(groups, places, turns=""):
    several = [g for g in groups if len(g) > 1]
    at = np.array([places[g[len(g) // 2]] for g in several])
    sizes = np.array([len(g) for g in several])
    return Members.among(places, at, np.concatenate([places[g] for g in several]), sizes, turns)


@pytest.mark.parametrize("name", [n for n in TIME_KERNELS if n != "independent"])
def test_averages_over_epochs_have_the_averages_of_the_covariances(name):
    kernel = TIME_KERNELS[name]
    W, stands = averaging(GROUPS, len(TIMES)), TIMES[[g[len(g) // 2] for g in GROUPS]]
    expected = W @ oracle(kernel, TIMES, TIMES, "time") @ W.T
    own, x = Averaged(kernel, members(GROUPS, TIMES)), torch.as_tensor(stands)
    assert_allclose(correlation(own, Lags.matrix(x, x, "time")), expected, rtol=1e-9, atol=1e-12)
    assert_allclose(correlation(own, Lags.matrix(x[:2], x, "time")), expected[:2], rtol=1e-9, atol=1e-12)
    assert_allclose(correlation(own, Lags(x, x.flip(0), "time")), np.diag(expected[:, ::-1]), rtol=1e-9, atol=1e-12)


def test_white_noise_of_an_epoch_is_less_the_more_members_it_has():
    own, x = Averaged(spec.Independent(), members(GROUPS, TIMES)), torch.as_tensor(TIMES[[1, 4, 5]])
    assert_allclose(correlation(own, Lags.matrix(x, x, "time")), np.diag([1 / 3, 1 / 2, 1.0]))


@pytest.mark.parametrize("geometry", ["sphere", "cylinder", "plane"])
def test_bands_of_rows_are_the_same_on_all_meridians_on_the_grid_and_between(geometry):
    frame = lattice(np.zeros((1, 9, 7)), geometry=geometry)
    coordinates, bands = frame.space.coordinates, [[0, 1, 2], [3], [4], [5, 6], [7, 8]]
    (ny, nx), flat = frame.space.shape, coordinates.reshape(-1, coordinates.shape[-1])
    kernel = spec.Matern(1.5, 400.0)
    W = np.kron(averaging(bands, ny), np.eye(nx))
    expected = W @ oracle(kernel, flat, flat, geometry) @ W.T
    own = Averaged(kernel, members(bands, coordinates[:, 0], geometry))
    x = torch.as_tensor(np.concatenate([coordinates[b[len(b) // 2]] for b in bands]))
    assert_allclose(correlation(own, Lags.matrix(x, x, geometry)), expected, rtol=1e-8, atol=1e-10)
    assert_allclose(correlation(own, Lags(x, x, geometry)), np.diag(expected), rtol=1e-8, atol=1e-10)
    if geometry != "plane":  # a longitude that is no column
        c, s = np.cos(0.3), np.sin(0.3)
        turned = x.clone()
        turned[:, 0], turned[:, 1] = c * x[:, 0] - s * x[:, 1], s * x[:, 0] + c * x[:, 1]
        assert_allclose(correlation(own, Lags.matrix(turned, turned, geometry)), expected, rtol=1e-8, atol=1e-10)


def test_a_band_with_the_pole_in_it():
    lat = np.radians([80.0, 85.0, 90.0])
    column = EARTH_RADIUS * np.stack([np.cos(lat), 0 * lat, np.sin(lat)], 1)
    own = Averaged(spec.RBF(900.0), Members.among(column, column[1:2], column, np.array([3]), "sphere"))
    angle = np.array([0.0, 1.0, 2.0])
    turned = np.array([[np.cos(a) * column[:, 0], np.sin(a) * column[:, 0], column[:, 2]] for a in angle])  # (3, d, m)
    flat = turned.transpose(0, 2, 1).reshape(-1, 3)
    W = np.kron(np.eye(3), np.full((1, 3), 1 / 3))
    x = torch.as_tensor(np.ascontiguousarray(turned[:, :, 1]))
    expected = W @ oracle(spec.RBF(900.0), flat, flat, "sphere") @ W.T
    assert_allclose(correlation(own, Lags.matrix(x, x, "sphere")), expected, rtol=1e-9)


def test_batches_single_precision_and_what_lies_elsewhere():
    kernel, groups = spec.Matern(0.5, 4.0), members(GROUPS, TIMES)
    own, x = Averaged(kernel, groups), torch.as_tensor(TIMES[[1, 4, 5]])
    alone = torch.tensor([[0.7], [33.0]], dtype=torch.float64)
    W = averaging([[0, 1, 2], [3, 4], [5]], len(TIMES))
    expected = W @ oracle(kernel, TIMES, alone.numpy(), "time")
    assert_allclose(correlation(own, Lags.matrix(x, alone, "time")), expected, rtol=1e-9)
    both = correlation(own, Lags.matrix(torch.stack([x, x + 100.0]), torch.stack([alone, alone]), "time"))
    assert_allclose(both[0], expected, rtol=1e-9)
    assert_allclose(both[1], oracle(kernel, (x + 100.0).numpy(), alone.numpy(), "time"), rtol=1e-9)
    single = correlation(own, Lags.matrix(x.float(), alone.float(), "time"))
    assert single.dtype == torch.float32
    assert_allclose(single, expected, rtol=1e-4)


def test_many_members_are_taken_in_pieces(monkeypatch):
    own, x = Averaged(spec.RBF(3.0), members(GROUPS, TIMES)), torch.as_tensor(TIMES[[1, 4, 5, 10]])
    once = correlation(own, Lags.matrix(x, x, "time")), correlation(own, Lags(x, x.flip(0), "time"))
    monkeypatch.setattr("xgpfill.covariance.evaluate.AVERAGED_AT_ONCE", 3)
    assert_allclose(correlation(own, Lags.matrix(x, x, "time")), once[0], rtol=1e-12)
    assert_allclose(correlation(own, Lags(x, x.flip(0), "time")), once[1], rtol=1e-12)


def test_equal_groups_make_equal_kernels_and_others_do_not():
    one, same = (Averaged(spec.RBF(3.0), members(GROUPS, TIMES)) for _ in range(2))
    other = Averaged(spec.RBF(3.0), members([[0, 1], *GROUPS[1:]], TIMES))
    assert one == same and hash(one) == hash(same) and repr(one) == repr(same)
    assert one != other and repr(one) != repr(other)
    assert replace(one, kernel=spec.RBF(4.0)) == one.with_parts((spec.RBF(4.0),)) != one


def test_the_covariance_of_points_uses_them():
    from xgpfill.grid.points import Points
    from xgpfill.kernels.prior import Prior, Term

    own = Averaged(spec.Matern(1.5, 4.0), members(GROUPS, TIMES))
    prior = Prior((Term("a", own, spec.RBF(300.0), 2.0), Term("b", spec.Constant(), spec.RBF(900.0), 1.0)))
    points = Points.grid(TIMES[[1, 4, 5], 0], np.random.default_rng(0).normal(size=(4, 3)) * 200)
    law = Covariance(replace(prior, geometry="plane"))
    assert_allclose(law.diagonal(points), np.diag(law.matrix(points, points)), rtol=1e-12)
    assert float(law.diagonal(points)[0]) < 2.9


def test_cells_far_from_the_origin_are_not_taken_for_a_group_beside_them():
    """Rows of five centimetres, five thousand kilometres from the origin; days of ten seconds, a century from it."""
    for step, origin in ((5e-5, 5000.0), (10 / 86400, 36524.0)):
        x = origin + step * np.arange(8.0)[:, None]
        own = Averaged(spec.Matern(0.5, 3 * step), members([[0, 1], [2], [3], [4], [5, 6, 7]], x))
        stands = x[[1, 2, 3, 4, 6]]
        W = averaging([[0, 1], [2], [3], [4], [5, 6, 7]], 8)
        expected = W @ np.exp(-np.abs(x - x.T) / (3 * step)) @ W.T
        at = torch.as_tensor(stands)
        assert_allclose(correlation(own, Lags.matrix(at, at, "time")), expected, rtol=1e-5)
        with pytest.raises(NumericalError, match=r"dtype='float64'"):
            correlation(own, Lags.matrix(at.float(), at.float(), "time"))


def test_no_points_have_no_covariances():
    own, x = Averaged(spec.RBF(3.0), members(GROUPS, TIMES)), torch.as_tensor(TIMES[[1, 4]])
    assert correlation(own, Lags.matrix(x, x[:0], "time")).shape == (2, 0)
    assert correlation(own, Lags.matrix(x[:0], x, "time")).shape == (0, 2)
