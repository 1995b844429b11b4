"""Pictures of priors: lines, dots and steps where the numbers say."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from xgpfill.errors import KernelError
from xgpfill.plotting import covariance, prior_draws

LAGS = np.linspace(0.0, 10.0, 21)


def table(**others: Any) -> xr.Dataset:
    """Two terms: 2 exp(-t/4), and 1."""
    values = np.stack([2 * np.exp(-LAGS / 4), np.ones_like(LAGS)])
    return xr.Dataset(
        {
            "time_covariance": (("term", "time_lag"), values, {"units": "K2"}),
            "time_lengthscale": ("term", [4.0, np.nan], {"units": "days"}),
            "noise": ((), 0.5),
            **others,
        },
        coords={"term": ["slow", "static"], "time_lag": ("time_lag", LAGS, {"units": "days"})},
    )


def line(ax: Any, start: str) -> tuple[np.ndarray, np.ndarray]:
    (found,) = [found for found in ax.lines if found.get_label().startswith(start)]
    return found.get_data()


def test_the_total_is_the_sum_of_its_terms_and_the_noise_a_step_at_lag_zero() -> None:
    (ax,) = covariance(table()).axes
    assert line(ax, "field")[1][0] == pytest.approx(3.0)
    assert [float(v[0]) for v in line(ax, "noise: 0.5 K²")] == [0.0, pytest.approx(3.5)]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time lag [days]", "covariance [K²]")


def test_a_lengthscale_is_a_dot_on_its_curve_and_stands_in_the_legend() -> None:
    (ax,) = covariance(table()).axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "field",
        "slow: 4 days",
        "static",
        "noise: 0.5 K²",
    ]
    dots = [found.get_xydata() for found in ax.lines if found.get_marker() == "o"]
    np.testing.assert_allclose(np.concatenate(dots), [[4.0, 2 / np.e]])


def test_one_dominant_term_does_not_hide_the_others() -> None:
    own = table()
    own["time_covariance"] = own.time_covariance * xr.DataArray([0.01, 1.0], dims="term")
    (ax,) = covariance(own).axes
    assert ax.get_yscale() == "log"
    bottom, top = ax.transData.inverted().transform(ax.transAxes.transform([(0, 0), (0, 1)]))[:, 1]
    (noise,) = [found for found in ax.lines if found.get_label().startswith("noise")]
    for value in (0.02, 1.0, float(noise.get_ydata()[0])):
        assert 0.05 < np.log(value / bottom) / np.log(top / bottom) < 0.95
    assert float(noise.get_ydata()[0]) == 0.5


def test_a_term_that_turns_negative_is_seen_beside_a_dominant_one() -> None:
    own = table()
    own["time_covariance"] = (
        ("term", "time_lag"),
        np.stack([0.05 * np.cos(LAGS), np.full_like(LAGS, 3.0)]),
        {"units": "K2"},
    )
    (ax,) = covariance(own).axes
    assert ax.get_yscale() == "symlog" and ax.get_ylim()[0] < -0.01


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_the_field_is_drawn_in_ink_that_is_seen(style: str) -> None:
    with plt.style.context(style):
        (ax,) = covariance(table()).axes
    (total,) = [found for found in ax.lines if found.get_label() == "field"]
    assert abs(float(total.get_color()) - ax.get_facecolor()[0]) > 0.8


def test_axes_of_the_users_own_are_drawn_on() -> None:
    figure, ax = plt.subplots()
    assert covariance(table(), axes=[ax]) is figure


@pytest.mark.parametrize(
    ("found", "axes", "match"),
    [
        (xr.Dataset(), None, r"no covariance to draw in a Dataset.*model\.covariance\(time="),
        (3.0, None, r"no covariance to draw in a float"),
        (table(), [], r"axes= holds 0 panel\(s\); 1 are needed"),
    ],
)
def test_what_is_no_covariance_says_what_to_give(found: Any, axes: Any, match: str) -> None:
    with pytest.raises(KernelError, match=match):
        covariance(found, axes=axes)


def test_each_kernel_has_a_panel_with_its_name_and_its_draws() -> None:
    coords = {"kernel": list("abcd"), "distance": ("distance", LAGS, {"units": "km"})}
    draws = xr.DataArray(np.zeros((4, 2, LAGS.size)), dims=("kernel", "sample", "distance"), coords=coords)
    figure = prior_draws(draws)
    assert [ax.get_title() for ax in figure.axes] == list("abcd")
    assert [len(ax.lines) for ax in figure.axes] == [2] * 4
    assert [ax.get_xlabel() for ax in figure.axes] == ["", "distance [km]", "distance [km]", "distance [km]"]


def test_kernels_themselves_are_to_be_drawn_from_first() -> None:
    with pytest.raises(KernelError, match=r"no draws of kernels in \['rbf'\].*xgpfill\.prior_draws"):
        prior_draws(["rbf"])  # type: ignore[arg-type]
