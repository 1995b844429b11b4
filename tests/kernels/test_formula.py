"""A prior as numbers for compiled loops gives the covariances of the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from xgpfill.covariance.formula import formula, has_formula
from xgpfill.errors import MethodError
from xgpfill.kernels import spec
from xgpfill.kernels.outside import FromFunction
from xgpfill.machine.compiled import plain
from xgpfill.vecchia.loops import covariances
from xgpfill.vecchia.scattered import cells_of, scattered_arrays

from tests.problems import SPACE_KERNELS, TIME_KERNELS, anova, oracle_covariance, product, scattered


def by_loops(prior, a, b):
    """The covariance (n, m) pair by pair."""
    arrays = plain(scattered_arrays(np.r_[a.times, b.times], np.r_[a.sites, b.sites], formula(prior)))
    first = cells_of(a)
    second = cells_of(b) + np.array([len(a.times), len(a.sites), 0], np.int32)
    found, every = np.empty((len(a), len(b))), np.arange(len(b), dtype=np.int32)
    for i, row in enumerate(found):
        covariances(arrays, first, i, second, every, len(b), row)
    return found


PRIORS = {f"{name} in time": product(kernel, SPACE_KERNELS["matern12"]) for name, kernel in TIME_KERNELS.items()}
PRIORS |= {f"{name} in space": product(TIME_KERNELS["matern32"], kernel) for name, kernel in SPACE_KERNELS.items()}
PRIORS |= {"four terms": anova("matern52", "sphere"), "around a cylinder": anova("matern32", "cylinder")}


@pytest.mark.parametrize("name", PRIORS)
def test_covariances_pair_by_pair_are_those_of_the_oracle(name):
    prior, rng = PRIORS[name], np.random.default_rng(0)
    a, b = scattered(rng, 12, prior.geometry), scattered(rng, 9, prior.geometry)
    assert has_formula(prior)
    for one, other in ((a, b), (a, a)):
        assert_allclose(by_loops(prior, one, other), oracle_covariance(prior, one, other), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(
    ("kernel", "geometry", "word"),
    [
        (FromFunction(lambda a, b: np.exp(-abs(a - b.T))), "plane", "FromFunction"),
        (spec.Periodic(900.0, 1.1), "sphere", "Periodic"),
        (spec.RBF(3.0) * spec.Spectral(1, (1.0,), (0.1,), (0.1,)), "cylinder", "Product"),
    ],
)
def test_what_is_no_function_of_a_lag_is_refused_with_what_takes_it(kernel, geometry, word):
    prior = product(spec.Matern(1.5, 3.0), kernel, geometry)
    assert not has_formula(prior)
    with pytest.raises(MethodError, match=f"knows no {word} here.*method='variational'"):
        formula(prior)
