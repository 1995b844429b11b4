"""The covariance of a prior between points: one oracle, and one answer whatever the layout and the blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from xgpfill.covariance import matrices as module
from xgpfill.covariance.matrices import Covariance
from xgpfill.grid.points import Points
from xgpfill.kernels import spec
from xgpfill.kernels.prior import Prior, Term

from tests.problems import (
    GEOMETRIES,
    SPACE_KERNELS,
    TIME_KERNELS,
    anova,
    gridded,
    oracle_covariance,
    product,
    scattered,
)

PRIORS = {
    **{f"anova of {name} on {g}": anova(name, g) for name in ("matern12", "rbf") for g in GEOMETRIES},
    "a static and a common term": Prior(
        (
            Term("space", spec.Constant(), SPACE_KERNELS["matern32"], 0.7),
            Term("time", TIME_KERNELS["brownian"], spec.Constant(), 1.1),
        ),
        geometry="sphere",
    ),
    "each frame on its own": product(spec.Independent(), SPACE_KERNELS["matern52"], "sphere", 3.0),
    "each site on its own": product(TIME_KERNELS["spectral"], spec.Independent(), "sphere", 3.0),
    "nothing but a constant": product(spec.Constant(), spec.Constant(), "sphere", 2.0),
    "periodic space on a cylinder": product(TIME_KERNELS["periodic"], SPACE_KERNELS["periodic"], "cylinder"),
    "no term": Prior(()),
}
LAYOUTS = {
    "a grid with a grid": lambda rng, g: (gridded(rng, 4, 5, g), gridded(rng, 3, 6, g)),
    "scattered points with a grid": lambda rng, g: (scattered(rng, 11, g), gridded(rng, 3, 6, g)),
    "a grid with scattered points": lambda rng, g: (gridded(rng, 4, 5, g), scattered(rng, 11, g)),
    "scattered points": lambda rng, g: (scattered(rng, 11, g), scattered(rng, 9, g)),
    "points that share nothing": lambda rng, g: (
        scattered(rng, 11, g).take(np.arange(6, 11)),
        scattered(rng, 12, g).take(np.arange(7, 12)),
    ),
    "part of a grid in another order": lambda rng, g: (
        gridded(rng, 4, 5, g).take(np.array([17, 3, 3, 8])),
        gridded(rng, 4, 5, g).take(np.array([0, 19, 7])),
    ),
    "one point with nothing": lambda rng, g: (scattered(rng, 1, g), scattered(rng, 3, g).take(np.arange(0))),
}
TABULATED = pytest.mark.parametrize("share", [0.0, 0.5, 1e9], ids=["never tabulated", "as is", "always tabulated"])


@TABULATED
@pytest.mark.parametrize("name", PRIORS)
def test_the_matrix_equals_the_oracle(name, share, monkeypatch):
    monkeypatch.setattr(module, "TABLE_SHARE", share)
    prior = PRIORS[name]
    for layout, points_of in LAYOUTS.items():
        a, b = points_of(np.random.default_rng(1), prior.geometry)
        found = Covariance(prior).matrix(a, b)
        assert found.shape == (len(a), len(b))
        assert_allclose(found, oracle_covariance(prior, a, b), rtol=1e-10, atol=1e-13, err_msg=layout)


@pytest.mark.parametrize("elements", [1, 40])
@pytest.mark.parametrize("layout", ["scattered points", "a grid with a grid"])
@TABULATED
def test_the_matrix_does_not_depend_on_the_size_of_its_pieces(layout, elements, share, monkeypatch):
    prior = PRIORS["anova of matern12 on sphere"]
    a, b = LAYOUTS[layout](np.random.default_rng(2), "sphere")
    whole = Covariance(prior).matrix(a, b)
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", elements)
    monkeypatch.setattr(module, "TABLE_SHARE", share)
    assert_allclose(Covariance(prior).matrix(a, b), whole, rtol=1e-13)


@pytest.mark.parametrize("name", PRIORS)
def test_the_diagonal_is_that_of_the_matrix(name):
    prior = PRIORS[name]
    rng = np.random.default_rng(3)
    for points in (gridded(rng, 4, 5, prior.geometry), scattered(rng, 11, prior.geometry)):
        expected = np.diag(oracle_covariance(prior, points, points))
        assert_allclose(Covariance(prior).diagonal(points), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("width", [1, 5, None])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_blocks_hold_every_target_once_with_its_columns_and_variance(layout, width):
    prior = PRIORS["a static and a common term"]
    a, targets = LAYOUTS[layout](np.random.default_rng(4), prior.geometry)
    law = Covariance(prior)
    seen, columns, variance = [], torch.full((len(a), len(targets)), torch.nan), torch.full((len(targets),), torch.nan)
    columns, variance = columns.double(), variance.double()
    for block in law.blocks(a, targets, width):
        assert width is None or len(block.index) <= width
        seen += block.index.tolist()
        columns[:, block.index], variance[block.index] = block.columns, block.variance
    assert sorted(seen) == list(range(len(targets)))
    assert_allclose(columns, oracle_covariance(prior, a, targets), rtol=1e-10, atol=1e-13)
    assert_allclose(variance, law.diagonal(targets), rtol=1e-14)


def test_blocks_need_no_points_to_be_asked_about():
    targets = gridded(np.random.default_rng(5), 2, 3, "sphere")
    nothing = targets.take(np.arange(0))
    found = np.concatenate([b.variance for b in Covariance(anova()).blocks(nothing, targets)])
    assert_allclose(found, 2.1, rtol=1e-12)


def test_columns_of_a_block_can_be_changed_without_changing_the_next():
    law = Covariance(PRIORS["each site on its own"])
    a, targets = LAYOUTS["a grid with a grid"](np.random.default_rng(6), "sphere")
    for block in law.blocks(a, targets):
        expected = oracle_covariance(law.prior, a, targets)[:, block.index]
        assert_allclose(block.columns, expected, rtol=1e-10, atol=1e-13)
        block.columns.zero_()


def test_float32_holds_the_same_to_its_precision():
    prior = anova()
    a, b = LAYOUTS["scattered points with a grid"](np.random.default_rng(7), "sphere")
    law = Covariance(prior, dtype=torch.float32)
    assert law.matrix(a, b).dtype == law.diagonal(a).dtype == torch.float32
    assert_allclose(law.matrix(a, b), oracle_covariance(prior, a, b), atol=2e-6)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    name=st.sampled_from(sorted(set(PRIORS) - {"no term"})),
    num_points=st.integers(1, 30),
)
def test_the_covariance_of_any_points_is_symmetric_and_positive_semidefinite(seed, name, num_points):
    prior = PRIORS[name]
    points = scattered(np.random.default_rng(seed), num_points, prior.geometry)
    K = Covariance(prior).matrix(points, points).numpy()
    assert_allclose(K, K.T, rtol=1e-13)
    assert np.linalg.eigvalsh(K).min() > -1e-10 * np.trace(K)


def test_the_order_of_points_is_the_order_of_rows():
    rng = np.random.default_rng(8)
    points = scattered(rng, 10, "sphere")
    order = rng.permutation(10)
    law = Covariance(anova())
    K = law.matrix(points, points)
    assert_allclose(law.matrix(points.take(order), points.take(order)), K[order][:, order], rtol=1e-14)
    again = Points.scattered(points.time[order], points.space[order])
    assert_allclose(law.matrix(again, again), K[order][:, order], rtol=1e-14)
