"""Kernels as data: names, composition, validation, paths."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from xgpfill.errors import KernelError
from xgpfill.kernels.parts import has_type, is_directional, replaced, walk
from xgpfill.kernels.spec import (
    KERNELS,
    RBF,
    TYPES,
    Brownian,
    Constant,
    Independent,
    Matern,
    Periodic,
    Product,
    RationalQuadratic,
    Spectral,
    Sum,
    as_kernel,
)

# Names


@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        ("rbf", RBF()),
        ("matern", Matern(1.5)),
        ("matern12", Matern(0.5)),
        ("matern32", Matern(1.5)),
        ("matern52", Matern(2.5)),
        ("rational_quadratic", RationalQuadratic()),
        ("periodic", Periodic()),
        ("spectral", Spectral()),
        ("brownian", Brownian()),
        ("constant", Constant()),
    ],
)
def test_every_kernel_of_the_design_has_its_name(name, kernel):
    assert as_kernel(name) == as_kernel(name.upper()) == kernel
    assert type(kernel).__name__ in TYPES


def test_no_kernel_is_independent_along_the_axis_and_not_constant():
    assert as_kernel(None) == Independent()


def test_a_kernel_object_stays_itself():
    kernel = Matern(2.5, 30.0, fixed=True)
    assert as_kernel(kernel) is kernel


@pytest.mark.parametrize("kernel", ["matern31", "", 3, Matern, ["rbf"]])
def test_an_unknown_kernel_names_all_that_are_known_and_what_to_type(kernel):
    with pytest.raises(KernelError, match=r"Unknown kernel.*'rbf'.*'brownian'.*xgpfill\.Matern\(") as raised:
        as_kernel(kernel)
    assert all(repr(name) in str(raised.value) for name in KERNELS)


# Composition


def test_kernels_add_and_multiply_with_kernels_and_with_names_on_either_side():
    assert Matern(1.5) + Periodic(365.25) == Sum((Matern(1.5), Periodic(365.25)))
    assert RBF() + "matern12" == Sum((RBF(), Matern(0.5)))
    assert "matern12" + RBF() == Sum((Matern(0.5), RBF()))
    assert RBF() * "periodic" == Product((RBF(), Periodic()))
    assert "periodic" * RBF() == Product((Periodic(), RBF()))


def test_a_chain_of_one_sign_is_one_composition():
    assert "rbf" + Matern(0.5) + "constant" == Sum((RBF(), Matern(0.5), Constant()))
    assert RBF() * "periodic" * Matern(0.5) == Product((RBF(), Periodic(), Matern(0.5)))


def test_signs_nest_as_in_arithmetic():
    assert RBF() + Periodic() * Matern(0.5) == Sum((RBF(), Product((Periodic(), Matern(0.5)))))
    assert (RBF() + Periodic()) * Matern(0.5) == Product((Sum((RBF(), Periodic())), Matern(0.5)))


def test_a_sum_with_weights_stays_one_part_of_a_longer_sum():
    weighted = Sum((RBF(), Periodic()), (1.0, 3.0))
    assert weighted + "matern12" == Sum((weighted, Matern(0.5)))


@pytest.mark.parametrize("compose", [lambda: RBF() + "matern31", lambda: "matern31" * RBF()])
def test_composition_with_an_unknown_name_is_an_error_that_lists_the_names(compose):
    with pytest.raises(KernelError, match=r"Unknown kernel 'matern31'.*'matern32'"):
        compose()


def test_kernels_are_frozen_and_can_be_dictionary_keys():
    kernel = Matern(1.5, 3.0) + Spectral(2, (1.0, 1.0), (0.1, 0.2), (0.1, 0.1))
    assert {kernel: 1}[Matern(1.5, 3.0) + Spectral(2, (1.0, 1.0), (0.1, 0.2), (0.1, 0.1))] == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        kernel.weights = (1.0, 2.0)


# Validation


@pytest.mark.parametrize("nu", [0, 1, 2, 3.5, -0.5, "1.5", None])
def test_a_matern_of_another_smoothness_is_refused(nu):
    with pytest.raises(KernelError, match=r"Matern\(nu=.*expected nu of 0\.5, 1\.5 or 2\.5"):
        Matern(nu)


@pytest.mark.parametrize(
    ("kernel", "name"),
    [
        (Matern, "lengthscale"),
        (RBF, "lengthscale"),
        (RationalQuadratic, "alpha"),
        (Periodic, "period"),
        (Periodic, "lengthscale"),
        (Brownian, "offset"),
    ],
)
def test_a_hyperparameter_must_be_a_positive_finite_number(kernel, name):
    message = rf"{kernel.__name__}\({name}=.*expected a positive, finite number, or None"
    for value in (0, -1.0, float("nan"), float("inf"), True, "3", [3.0], (3.0, 4.0), np.float32(-3), np.int64(0)):
        with pytest.raises(KernelError, match=message):
            kernel(**{name: value})


def test_a_numpy_number_is_a_number():
    assert RBF(np.float32(3)).lengthscale == RBF(np.int64(3)).lengthscale == 3


@pytest.mark.parametrize(
    ("make", "lacks"),
    [
        (lambda: Matern(1.5, fixed=True), "lengthscale"),
        (lambda: RBF(fixed=True), "lengthscale"),
        (lambda: RationalQuadratic(3.0, fixed=True), "alpha"),
        (lambda: Periodic(lengthscale=1.0, fixed=True), "period"),
        (lambda: Brownian(fixed=True), "offset"),
    ],
)
def test_what_is_fixed_must_be_given(make, lacks):
    with pytest.raises(KernelError, match=rf"is fixed but has no {lacks}\. Give a number, e\.g\. `.*fixed=True\)`"):
        make()


def test_a_period_is_held_when_it_is_given_and_not_to_be_learned():
    assert [k.holds("period") for k in (Periodic(), Periodic(5.0), Periodic(5.0, learn_period=True))] == [
        False,
        True,
        False,
    ]
    assert not Periodic(5.0).holds("lengthscale") and not Periodic(5.0).is_fixed
    started = replaced(Periodic(), {"period": 3.0, "lengthscale": 1.0})
    assert not started.holds("period")
    with pytest.raises(
        KernelError, match=r"holds its period but has none\. Give it, e\.g\. `Periodic\(period=365\.25\)`"
    ):
        Periodic(learn_period=False)
    with pytest.raises(KernelError, match=r"learn_period='no'\): expected True or False"):
        Periodic(5.0, learn_period="no")


@pytest.mark.parametrize("count", [0, -1, 2.0, "3"])
def test_a_mixture_has_a_positive_number_of_components(count):
    with pytest.raises(KernelError, match=r"num_components=.*expected a positive integer"):
        Spectral(count)


@pytest.mark.parametrize("name", ["weights", "frequencies", "bandwidths"])
def test_a_mixture_wants_one_number_for_each_component(name):
    for value in ((1.0,), [1.0, 1.0], 1.0):
        with pytest.raises(KernelError, match=rf"Spectral\({name}=.*expected a tuple of 2 positive numbers"):
            Spectral(2, **{name: value})
    for value in ((-1.0, 1.0), (float("nan"), 1.0), (float("inf"), 1.0), (np.float32(-1), 1.0), ("1", 1.0)):
        with pytest.raises(KernelError, match=rf"Spectral\({name}=.*at least zero"):
            Spectral(2, **{name: value})


def test_a_fixed_mixture_must_be_given_whole():
    with pytest.raises(KernelError, match=r"Spectral\(bandwidths=None\): expected a tuple of 1"):
        Spectral(1, (1.0,), (0.1,), fixed=True)


def test_a_sum_needs_as_many_weights_as_parts():
    with pytest.raises(KernelError, match=r"Sum has 2 parts but 1 weights"):
        Sum((RBF(), RBF()), (1.0,))


def test_the_weights_of_a_sum_are_not_negative():
    with pytest.raises(KernelError, match=r"Sum\(weights=\(1\.0, -1\.0\)\): expected finite numbers of at least zero"):
        Sum((RBF(), RBF()), (1.0, -1.0))


# Paths


def test_walk_visits_every_part_with_the_path_that_replaced_understands():
    kernel = RBF(1.0) + Periodic(2.0, 1.0) * Matern(0.5, 3.0)
    assert [(path, type(k).__name__) for path, k in walk(kernel)] == [
        ("", "Sum"),
        ("0.", "RBF"),
        ("1.", "Product"),
        ("1.0.", "Periodic"),
        ("1.1.", "Matern"),
    ]
    changed = replaced(kernel, {"weights": (1.0, 2.0), "0.lengthscale": 9.0, "1.1.lengthscale": 8.0})
    assert changed == Sum((RBF(9.0), Product((Periodic(2.0, 1.0), Matern(0.5, 8.0)))), (1.0, 2.0))
    assert replaced(kernel, {}) == kernel


def test_units_tell_days_or_km_from_plain_numbers():
    assert Matern.parameter_units() == {"lengthscale": "axis"}
    assert Periodic.parameter_units() == {"period": "axis", "lengthscale": "1"}
    assert Spectral.parameter_units() == {"weights": "1", "frequencies": "1/axis", "bandwidths": "1/axis"}
    assert Constant.parameter_units() == Independent.parameter_units() == Product.parameter_units() == {}


def test_a_composition_is_fixed_when_any_part_is():
    assert (RBF() * Periodic(365.25, 1.0, fixed=True)).is_fixed
    assert not (RBF() * Periodic(365.25, 1.0)).is_fixed


def test_periodic_and_spectral_anywhere_need_the_two_directions_apart():
    assert is_directional(RBF() + RBF() * Periodic())
    assert is_directional(as_kernel("spectral"))
    assert not is_directional(RBF() + "matern12")
    assert has_type(RBF() * ("rbf" + Brownian()), Brownian) and not has_type(RBF(), Brownian, Matern)
