"""Arrows of vector fields."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import xarray as xr
from xgpfill.errors import AlignmentError, DataError
from xgpfill.plotting import vector_map
from xgpfill.plotting.vectors import direction


def components(lat, lon, u=1.0, v=0.0, names=("lat", "lon")):
    coords = dict(zip(names, (lat, lon), strict=True))
    whole = xr.DataArray(np.ones((len(lat), len(lon))), coords, names, attrs={"units": "m s-1"})
    return (u * whole).assign_attrs(whole.attrs), (v * whole).assign_attrs(whole.attrs)


@pytest.mark.parametrize(("u", "v", "degrees"), [(0, 1, 0), (1, 0, 90), (0, -1, 180), (-1, 0, 270)])
def test_a_direction_counts_from_north_by_east(u: float, v: float, degrees: float) -> None:
    found = direction(*components([0.0], [0.0], u, v))
    assert found.item() == pytest.approx(degrees) and found.attrs["units"] == "degree"


def test_arrows_on_a_globe_leave_out_the_poles_and_others_are_thinned() -> None:
    u, v = components(np.linspace(-90, 90, 19), np.arange(0, 360, 10.0))
    mesh, quiver = vector_map(u, v, arrows=36)
    assert quiver.N == 17 * 36
    mesh.figure.canvas.draw()
    assert vector_map(u, v, arrows=12)[1].N == 6 * 12


def test_on_a_plane_arrows_stand_at_the_middle_of_cells() -> None:
    u, v = components([0.0, 1.0], [5.0, 6.0, 7.0], names=("y", "x"))
    _, quiver = vector_map(u, v)
    np.testing.assert_allclose(quiver.X, [5, 6, 7, 5, 6, 7])
    np.testing.assert_allclose(quiver.U, 1.0)


def test_what_cannot_be_drawn_is_refused() -> None:
    u, v = components([0.0, 1.0], [5.0, 6.0])
    with pytest.raises(DataError, match="colours='size': choose 'speed' or 'direction'"):
        vector_map(u, v, colours="size")
    with pytest.raises(DataError, match="arrows=0: expected a positive number"):
        vector_map(u, v, arrows=0)
    with pytest.raises(AlignmentError, match="v"):
        vector_map(u, v.isel(lat=slice(1)))
