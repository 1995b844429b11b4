"""Conventions of real data: filled as on plain axes, or refused with the call that makes them so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
import xgpfill
from xgpfill.errors import DimensionError, XgpfillWarning

from tests import conventions

TIME = xgpfill.Matern(1.5, 4.0, fixed=True)
REACH = {"degrees": 300.0, "km": 3.0}


def model_of(da: xr.DataArray, unit: str, **arguments: Any) -> Any:
    space = xgpfill.Matern(1.5, REACH[unit], fixed=True)
    known = {"time_kernel": TIME, "space_kernel": space, "noise_std": 0.05, "method": "exact", "valid": True}
    return da.gpfill.fit(**known | arguments)


def gap_rmse(found: xr.DataArray, truth: xr.DataArray, seen: xr.DataArray) -> float:
    error = (found - truth).where(seen.isnull())
    return float(np.sqrt((error**2).mean()))


def unit_of(field: xr.DataArray) -> str:
    return "degrees" if "lat" in field.coords else "km"


PROMISED = (
    "CF", "ROMS", "NEMO/ORCA", "CESM", "WRF", "ICON", "HEALPix", "EASE-Grid", "rotated pole", "GeoTIFF", "stations",
    "trajectory", "profile", "noleap", "360_day", "packed integers", "0 to 360", "descending", "cyclic meridian",
    "images",
)  # fmt: skip


def test_every_convention_that_is_promised_is_filled_or_refused_here() -> None:
    tables = {*conventions.FILLED, *conventions.REFUSED, "profile"}  # which has a test of its own
    assert len(set(PROMISED)) == 20
    assert set(PROMISED) <= tables


@pytest.mark.parametrize("name", conventions.FILLED)
def test_a_convention_is_filled_as_on_plain_axes(name: str) -> None:
    field, make = conventions.FILLED[name]
    truth = field()
    seen, unit = conventions.hidden(truth), unit_of(truth)
    expected = model_of(seen, unit).reconstruct().mean
    own = make(seen)
    before = own.copy(deep=True)
    model = model_of(own, unit)
    found = model.reconstruct().mean
    assert found.dims == own.dims
    assert set(found.coords) == set(own.coords)
    assert len(model.layout.roles.space) == (1 if own.ndim < 3 else 2) and model.layout.roles.clock is not None
    rmse, best = (gap_rmse(f, make(truth), own) for f in (found, make(expected)))
    assert best < 0.6
    assert rmse == pytest.approx(best, rel=0.05)
    xr.testing.assert_identical(own, before)


@pytest.mark.parametrize("name", conventions.REFUSED)
def test_a_convention_that_is_refused_names_the_call_that_makes_it_plain(name: str) -> None:
    field, make, call = conventions.REFUSED[name]
    truth = field()
    seen, unit = conventions.hidden(truth), unit_of(truth)
    own = make(seen)
    dims = {"time": "time", "x": "obs"} if "obs" in own.dims and own.ndim > 1 else None
    with pytest.raises(DimensionError) as refused:
        model_of(own, unit, dims=dims)
    assert f"`{call}`" in str(refused.value)
    cured, whole = (eval(call, {"da": da}) for da in (own, make(truth)))
    found = model_of(cured, unit).reconstruct().mean
    best = gap_rmse(model_of(seen, unit).reconstruct().mean, truth, seen)
    assert gap_rmse(found, whole, cured) == pytest.approx(best, rel=0.05)


def test_an_image_is_filled_channel_by_channel_as_frames_on_plain_axes() -> None:
    truth = conventions.on_a_plane()
    seen = conventions.hidden(truth)
    expected = model_of(seen, "km", time_kernel=None).reconstruct().mean
    image = seen.drop_vars(["y", "x", "time"]).rename(time="channel").transpose("y", "x", "channel")
    found = model_of(image, "km").reconstruct().mean
    assert found.dims == image.dims
    back = xr.zeros_like(truth) + found.rename(channel="time").drop_attrs()
    rmse, best = (gap_rmse(f, truth, seen) for f in (back, expected))
    assert best < 0.6
    assert rmse == pytest.approx(best, rel=0.05)


def test_cells_whose_places_are_told_anew_at_each_time_are_predicted_at_some_times() -> None:
    own = conventions.as_wrf(conventions.hidden(conventions.plain())).swap_dims(Time="XTIME")
    model = model_of(own, "degrees")
    found = model.predict({"XTIME": own.XTIME.values[1:3]}).mean
    assert found.dims == ("XTIME", "south_north", "west_east")
    np.testing.assert_allclose(found, model.reconstruct().mean[1:3], rtol=1e-6)


def test_a_profile_is_warned_of_and_filled_by_the_call_that_is_named() -> None:
    truth = conventions.in_depth()
    seen = conventions.hidden(truth)
    own, call = conventions.as_profile(seen), {"time": "time", "x": "depth"}
    with pytest.warns(
        XgpfillWarning, match=rf"No dimension of space was found: 'depth' .*`dims={call!r}`".replace("{", r"\{")
    ):
        own.gpfill.fit(time_kernel=TIME, noise_std=0.05, method="exact", valid=True)
    found = model_of(own, "km", dims=call).reconstruct().mean
    best = gap_rmse(model_of(seen, "km").reconstruct().mean, truth, seen)
    assert gap_rmse(found, conventions.as_profile(truth), own) == pytest.approx(best, rel=0.05)


def test_places_that_may_have_been_taken_for_fields_are_warned_of_unless_the_dims_were_named() -> None:
    seen = conventions.hidden(conventions.plain())
    cells = conventions.as_healpix(seen).drop_vars(["lat", "lon"])
    fixed = {"time_kernel": TIME, "noise_std": 0.05, "method": "exact", "valid": True}
    with pytest.warns(
        XgpfillWarning, match=r"No dimension of space was found: 'cell' became.*\(cell: 42\).*coordinates"
    ):
        cells.gpfill.fit(**fixed)
    assert cells.gpfill.fit(**fixed, dims="time").layout.roles.extra == ("cell",)
    assert any("independent fields" in problem for problem in cells.gpfill.describe().problems)
    many = seen.expand_dims(wave=21)
    assert "'wave' became" in many.gpfill.describe().problems[0]
    assert not seen.expand_dims(wave=3).gpfill.describe(valid=True).problems
