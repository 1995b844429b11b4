"""Which terms the arguments mean (DESIGN §2), and what can be done with a prior."""

from __future__ import annotations

from dataclasses import replace

import gpytorch
import numpy as np
import pytest
from xgpfill.errors import KernelError
from xgpfill.kernels.outside import FromFunction, FromGPyTorch
from xgpfill.kernels.prior import Prior, Term, build_prior, ordered, resolve_brownian
from xgpfill.kernels.spec import (
    RBF,
    Brownian,
    Constant,
    Independent,
    Matern,
    Periodic,
    Product,
    Spectral,
    Sum,
)

from tests.problems import SPACE_KERNELS, TIME_KERNELS, anova

ONE, NONE = Constant(), Independent()
ROUGH, SMOOTH = Matern(0.5), RBF()


def terms(time="matern12", space="rbf", *, combine=None, scales=2, num_times=20, num_sites=30):
    """(name, time, space) of every term that the arguments build."""
    prior = build_prior(
        time, space, combine=combine, scales=scales, num_times=num_times, num_sites=num_sites, geometry="sphere"
    )
    assert all(term.variance is None for term in prior.terms) and prior.noise is None
    return [(t.name, t.time, t.space) for t in prior.terms]


# The terms of each combination

STATIC, COMMON = ("static", ONE, SMOOTH), ("common", ROUGH, ONE)
SLOW, FAST = ("slow", ROUGH, SMOOTH), ("fast", ROUGH, SMOOTH)


def test_by_default_a_static_a_common_a_slow_and_a_fast_term_are_built():
    assert terms() == terms(combine="anova") == [STATIC, COMMON, SLOW, FAST]


@pytest.mark.parametrize(
    ("scales", "names"), [(1, ["product"]), (2, ["slow", "fast"]), (3, ["scale1", "scale2", "scale3"])]
)
def test_scales_sets_how_many_products_there_are(scales, names):
    assert [name for name, _, _ in terms(scales=scales)] == ["static", "common", *names]


def test_product_is_one_product_and_sum_is_space_plus_time():
    assert terms(combine="product") == [("product", ROUGH, SMOOTH)]
    assert terms(combine="sum") == [("space", ONE, SMOOTH), ("time", ROUGH, ONE)]


def test_one_time_step_leaves_terms_of_space_only():
    assert terms(num_times=1) == [("slow", ONE, SMOOTH), ("fast", ONE, SMOOTH)]
    assert terms(num_times=1, combine="product") == [("product", ONE, SMOOTH)]
    assert terms(num_times=1, combine="sum") == [("space", ONE, SMOOTH)]


def test_one_site_leaves_terms_of_time_only():
    assert terms(num_sites=1) == [("slow", ROUGH, ONE), ("fast", ROUGH, ONE)]
    assert terms(num_sites=1, combine="product") == [("product", ROUGH, ONE)]
    assert terms(num_sites=1, combine="sum") == [("time", ROUGH, ONE)]


@pytest.mark.parametrize("combine", ["anova", "product", "sum"])
def test_a_single_cell_still_has_a_term(combine):
    found = terms(num_times=1, num_sites=1, combine=combine)
    assert found and all((time, space) == (ONE, ONE) for _, time, space in found)


@pytest.mark.parametrize("num_times", [1, 20])
def test_none_for_a_frame_of_its_own_gives_one_term_that_is_independent_or_nothing(num_times):
    time = ONE if num_times == 1 else NONE
    assert terms(time=None, num_times=num_times) == [("product", time, SMOOTH)]


def test_none_on_one_side_implies_a_product_and_is_not_constant():
    assert terms(time=None) == [("product", NONE, SMOOTH)]
    assert terms(space=None) == [("product", ROUGH, NONE)]
    assert terms(time=None, space=None) == [("product", NONE, NONE)]


def test_none_under_an_explicit_anova_drops_the_static_and_the_common_term():
    assert terms(time=None, combine="anova") == [("slow", NONE, SMOOTH), ("fast", NONE, SMOOTH)]
    assert terms(space=None, combine="anova") == [("slow", ROUGH, NONE), ("fast", ROUGH, NONE)]


def test_a_fixed_kernel_implies_a_product_unless_combine_is_given():
    fixed = RBF(300.0, fixed=True)
    assert terms(space=fixed) == [("product", ROUGH, fixed)]
    assert terms(space=fixed * "matern12") == [("product", ROUGH, Product((fixed, ROUGH)))]
    assert terms(space=fixed, combine="anova") == [STATIC, COMMON, ("slow", ROUGH, fixed), FAST]


def test_given_numbers_belong_to_the_slow_product_and_the_family_to_every_term():
    time = Matern(0.5, 30.0) + Periodic(365.25, 1.0)
    family = Matern(0.5) + Periodic(365.25)  # a period that is held is that of every term
    assert terms(time=time, space=RBF(400.0)) == [
        STATIC,
        ("common", family, ONE),
        ("slow", time, RBF(400.0)),
        ("fast", family, SMOOTH),
    ]


def test_a_period_that_is_to_be_learned_is_that_of_the_slow_product_alone():
    free = Periodic(365.25, learn_period=True)
    found = {name: (time.period, time.learn_period) for name, time, _ in terms(time=free) if isinstance(time, Periodic)}
    assert found == {"common": (None, True), "slow": (365.25, True), "fast": (None, True)}


def test_the_family_of_a_mixture_keeps_its_number_of_components():
    given = Spectral(2, (1.0, 1.0), (0.1, 0.2), (0.1, 0.1))
    found = {name: time for name, time, _ in terms(time=given)}
    assert found["fast"] == Spectral(2)


def test_the_weights_of_a_sum_are_numbers_too():
    weighted = Sum((Matern(0.5, 3.0), RBF(9.0)), (1.0, 2.0))
    found = {name: time for name, time, _ in terms(time=weighted)}
    assert found["slow"] == weighted
    assert found["fast"] == found["common"] == Sum((Matern(0.5), RBF()))


def test_products_that_cannot_differ_are_one():
    """A function has no numbers to learn; a kernel of GPyTorch has."""
    function = FromFunction(lambda a, b: np.exp(-np.abs(a - b)), name="mine")
    assert terms(time=function, num_sites=1, combine="anova") == [("product", function, ONE)]
    assert terms(time=function, space=function, combine="anova")[2:] == [("product", function, function)]
    assert [name for name, _, _ in terms(time=function)] == ["static", "common", "slow", "fast"]
    assert len(terms(space=FromGPyTorch(gpytorch.kernels.RBFKernel()), num_times=1)) == 2


def test_the_names_of_terms_are_different():
    for scales in range(1, 6):
        names = [name for name, _, _ in terms(scales=scales)]
        assert len(set(names)) == len(names)


def test_the_prior_remembers_how_it_was_built():
    prior = build_prior("rbf", None, combine=None, scales=2, num_times=3, num_sites=4, geometry="cylinder")
    assert (prior.combine, prior.geometry, prior.fixed_noise) == ("product", "cylinder", False)


# Errors


@pytest.mark.parametrize("space", ["brownian", Brownian(1.0), RBF() * Brownian(), "matern12" + Brownian()])
def test_brownian_in_space_is_refused_with_another_kernel_to_type(space):
    with pytest.raises(KernelError, match=r"brownian is a kernel of time only.*space_kernel='matern12'"):
        terms(space=space)


@pytest.mark.parametrize("combine", ["Anova", "add", 2])
def test_an_unknown_combination_lists_those_there_are(combine):
    with pytest.raises(KernelError, match=r"Unknown combine=.*'anova', 'product', 'sum'"):
        terms(combine=combine)


@pytest.mark.parametrize("scales", [0, -1, 2.0, True, "2", None])
def test_scales_must_be_a_positive_integer(scales):
    with pytest.raises(KernelError, match=r"scales=.*expected a positive integer, e\.g\. `scales=2`"):
        terms(scales=scales)


def test_an_unknown_kernel_on_either_axis_lists_those_there_are():
    for kernels in ({"time": "walk"}, {"space": "walk"}):
        with pytest.raises(KernelError, match=r"Unknown kernel 'walk'.*'matern32'"):
            terms(**kernels)


# Hyperparameters by path


@pytest.fixture
def prior():
    composed = TIME_KERNELS["a weighted sum"]
    slow = Term("slow", composed, SPACE_KERNELS["rbf"], 2.0)
    fast = Term("fast", Matern(0.5, 1.0, fixed=True), ONE, 0.5)
    return Prior((slow, fast), noise=0.1, geometry="plane")


def test_items_list_every_hyperparameter_with_its_unit_and_whether_it_is_fixed(prior):
    assert list(prior.items()) == [
        ("slow.variance", 2.0, "variance", False),
        ("slow.time.weights", (3.0, 1.0), "1", False),
        ("slow.time.0.lengthscale", 4.0, "axis", False),
        ("slow.time.1.period", 5.0, "axis", True),
        ("slow.time.1.lengthscale", 0.8, "1", False),
        ("slow.space.lengthscale", 600.0, "axis", False),
        ("fast.variance", 0.5, "variance", False),
        ("fast.time.lengthscale", 1.0, "axis", True),
        ("noise", 0.1, "variance", False),
    ]
    assert list(replace(prior, fixed_noise=True).items())[-1] == ("noise", 0.1, "variance", True)


def test_with_values_replaces_what_is_named_and_nothing_else(prior):
    values = {path: value for path, value, _, _ in prior.items()}
    assert prior.with_values(values) == prior.with_values({}) == prior
    changed = {"slow.time.1.lengthscale": 7.0, "slow.time.weights": (1.0, 1.0), "fast.variance": 9.0, "noise": 3.0}
    found = {path: value for path, value, _, _ in prior.with_values(changed).items()}
    assert found == values | changed
    assert {path: value for path, value, _, _ in prior.items()} == values


def test_a_value_reaches_the_term_of_its_name_only():
    both = Prior((Term("scale1", RBF(), ONE), Term("scale10", RBF(), ONE)))
    changed = both.with_values({"scale1.time.lengthscale": 5.0})
    assert [t.time.lengthscale for t in changed.terms] == [5.0, None]


def test_scaled_multiplies_every_variance_and_the_noise_unless_it_is_a_factor(prior):
    scaled = prior.scaled(4.0)
    assert [t.variance for t in scaled.terms] == [8.0, 2.0]
    assert scaled.noise == pytest.approx(0.4)
    assert prior.scaled(4.0, noise=False).noise == 0.1
    assert scaled.scaled(0.25) == prior
    assert [(t.time, t.space) for t in scaled.terms] == [(t.time, t.space) for t in prior.terms]


def test_scaled_keeps_terms_whose_variance_is_not_known_yet():
    unknown = build_prior("rbf", "rbf", combine=None, scales=2, num_times=9, num_sites=9, geometry="plane")
    assert unknown.scaled(4.0) == unknown


def test_restricted_keeps_the_named_terms_in_their_order():
    prior = anova()
    assert [t.name for t in prior.restricted(("slow", "static")).terms] == ["static", "slow"]
    assert prior.restricted(()).terms == ()
    assert prior.restricted(("slow",)).geometry == prior.geometry


# Order of the products


def with_lengthscales(slow, fast, *, time=True, fixed=False):
    def term(name, days, km):
        return Term(name, RBF(days, fixed=fixed) if time else ONE, RBF(km), {"slow": 1.0, "fast": 2.0}[name])

    return Prior((Term("static", ONE, RBF(9000.0), 1.0), term("slow", *slow), term("fast", *fast)), noise=0.1)


def test_ordered_gives_the_name_slow_to_the_longer_time_lengthscale():
    turned = ordered(with_lengthscales((1.0, 500.0), (8.0, 100.0)))
    assert [(t.name, t.time, t.variance) for t in turned.terms] == [
        ("static", ONE, 1.0),
        ("slow", RBF(8.0), 2.0),
        ("fast", RBF(1.0), 1.0),
    ]
    assert ordered(turned) == turned


def test_ordered_without_time_goes_by_the_space_lengthscale():
    turned = ordered(with_lengthscales((1.0, 100.0), (8.0, 500.0), time=False))
    assert [(t.name, t.space) for t in turned.terms[1:]] == [("slow", RBF(500.0)), ("fast", RBF(100.0))]


def test_ordered_leaves_fixed_terms_where_the_user_put_them():
    fixed = with_lengthscales((1.0, 500.0), (8.0, 100.0), fixed=True)
    assert ordered(fixed) == fixed


def test_ordered_sorts_any_number_of_scales():
    scales = tuple(Term(f"scale{i + 1}", RBF(days), RBF(1.0), days) for i, days in enumerate((2.0, 9.0, 4.0)))
    turned = ordered(Prior(scales))
    assert [(t.name, t.variance) for t in turned.terms] == [("scale1", 9.0), ("scale2", 4.0), ("scale3", 2.0)]


def test_ordered_does_not_take_the_lengthscale_of_a_periodic_kernel_for_days():
    quick = Term("slow", RBF(0.5) * Periodic(1.0, 30.0), ONE, 1.0)
    slow = Term("fast", RBF(9.0) * Periodic(1.0, 0.5), ONE, 2.0)
    assert [t.variance for t in ordered(Prior((quick, slow))).terms] == [2.0, 1.0]


# Brownian


def test_a_brownian_kernel_gets_its_start_and_extent_wherever_it_is():
    prior = Prior((Term("slow", RBF() * Brownian(), ONE), Term("fast", Brownian(start=-9.0, extent=3.0), ONE)))
    slow, fast = resolve_brownian(prior, -1.0, 12.0).terms
    assert slow.time == RBF() * Brownian(start=-1.0, extent=12.0)
    assert fast.time == Brownian(start=-9.0, extent=3.0)
    plain = anova()
    assert resolve_brownian(plain, -1.0, 12.0) == plain
