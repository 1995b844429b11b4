"""What to type to convert between common units of data."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from xgpfill.cf.units import call_that_converts, conversion, siblings

PAIRS = [
    ("K", "degC", 300.0, 26.85),
    ("degC", "kelvin", 26.85, 300.0),
    ("degF", "K", 80.33, 300.0),
    ("K", "°F", 300.0, 80.33),
    ("mK", "K", 1500.0, 1.5),
    ("hPa", "Pa", 1013.25, 101325.0),
    ("percent", "1", 12.0, 0.12),
    ("kg m**-2 s**-1", "mm/day", 1 / 86400, 1.0),
    ("m s^-1", "km/h", 10.0, 36.0),
    ("mg m-3", "kg m-3", 2.0, 2e-6),
]


@pytest.mark.parametrize(("found", "wanted", "value", "expected"), PAIRS)
def test_the_call_converts_values_and_says_so(found: str, wanted: str, value: float, expected: float) -> None:
    da = xr.DataArray([value], dims="x", attrs={"units": found})
    converted = eval(call_that_converts(found, wanted), {"da": da})
    np.testing.assert_allclose(converted, expected, rtol=1e-9)
    assert converted.attrs["units"] == wanted
    factor, offset = conversion(wanted, found)
    np.testing.assert_allclose(factor * converted + offset, value, rtol=1e-9)


def test_units_that_are_not_known_have_no_call_and_no_siblings() -> None:
    assert call_that_converts("K", "m") == call_that_converts("psu", "g kg-1") == ""
    assert siblings("psu") == []
    assert siblings("kelvin") == ["degC", "degF", "mK"]
