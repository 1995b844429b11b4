"""The vertical axis: told by attributes, units and names; its numbers in one unit; what is usual at each depth."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose
from xgpfill.errors import DimensionError
from xgpfill.grid.vertical.axis import Vertical, is_vertical, vertical_of
from xgpfill.grid.vertical.profile import Profile


def levels(name="k", **attrs):
    return xr.DataArray(np.zeros((3, 2)), {name: (name, [1.0, 2.0, 4.0], attrs)}, (name, "lat"))


@pytest.mark.parametrize(
    "attrs",
    [{"axis": "Z"}, {"positive": "up"}, {"standard_name": "depth"}, {"standard_name": "altitude"}, {"units": "hPa"},
     {"units": "dbar"}],
)  # fmt: skip
def test_attributes_and_units_of_pressure_tell_it(attrs):
    assert is_vertical(levels(**attrs), "k")
    assert not is_vertical(levels(units="m"), "k")


@pytest.mark.parametrize("name", ["depth", "lev", "level", "height", "plev", "z", "deptht", "isobaricInhPa"])
def test_names_tell_it_and_directions_of_the_map_are_none(name):
    da = levels(name)
    assert is_vertical(da, name)
    assert not is_vertical(da, "lat")
    assert vertical_of(da, None) is None
    assert vertical_of(da, ("lat",)) is None
    assert vertical_of(da, ("lat", name)) == (name, ("lat",))
    assert vertical_of(da, {"y": "lat", "depth": name}) == (name, {"y": "lat"})


def test_a_mapping_that_names_a_dimension_that_is_not_there_is_refused():
    with pytest.raises(DimensionError, match=r"Dimension 'q' is not in the data, whose dimensions are 'k', 'lat'"):
        vertical_of(levels(), {"depth": "q"})


def test_numbers_are_read_in_one_unit():
    own = Vertical.of(levels(units="Pa"), "k")
    assert_allclose(own.read(levels(units="hPa")["k"]), [100.0, 200.0, 400.0])
    assert_allclose(own.read(levels()["k"]), [1.0, 2.0, 4.0])
    assert Vertical.of(levels().drop_vars("k"), "k").units == "level"


def test_a_profile_is_that_of_the_levels_and_goes_on_beyond_them():
    rng = np.random.default_rng(0)
    values = {0.0: 5 + 2 * rng.standard_normal(400), 10.0: np.zeros(3), 30.0: 1 + rng.standard_normal(400)}
    found = Profile.of(values)
    means, scales = ([f(values[z]) for z in (0.0, 30.0)] for f in (np.mean, np.std))
    assert_allclose(found.mean_at(np.array([0.0, 10.0, 99.0])), [means[0], np.interp(10, [0, 30], means), means[1]])
    assert_allclose(found.scale_at(np.array([-5.0, 30.0])), scales)
    assert_allclose(found.scale_at(np.array([15.0])), np.sqrt(np.prod(scales)))
    assert_allclose(found.about_zero().scale_at(np.array([0.0])), np.hypot(means[0], scales[0]))
    assert Profile.of({0.0: np.zeros(2), 1.0: np.ones(50)}).are_alike
