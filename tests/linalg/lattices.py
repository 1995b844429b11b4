"""Lattices for tests of what is tabulated on them: coordinates, cells, observations."""

from __future__ import annotations

import numpy as np
import torch
from xgpfill.grid.points import Observations, Points
from xgpfill.operators.tables import Tables
from xgpfill.vecchia.neighbours import Neighbours

from tests import reference as ref


def crossed(lat, lon, geometry="sphere"):
    """Coordinates (ny, nx, d) of a regular lattice; degrees, or hundreds of km on a plane."""
    lat, lon = np.meshgrid(np.asarray(lat, float), np.asarray(lon, float), indexing="ij")
    if geometry == "plane":
        return 100.0 * np.stack([lon, lat], axis=-1)
    return (ref.chord if geometry == "sphere" else ref.cylinder)(lat, lon)


def curvilinear():
    """On no regular meridians."""
    lat, lon = np.meshgrid(np.linspace(20, 40, 4), np.linspace(0, 30, 5), indexing="ij")
    return ref.chord(lat + 0.1 * lon, lon - 0.2 * lat)


REGULAR, UNEVEN = np.arange(6.0), np.array([0.0, 1.0, 2.5, 3.0, 7.0, 7.5])
LATTICES = {
    # name: times, coordinates, geometry
    "globe with poles": (REGULAR, crossed(np.linspace(90, -90, 5), np.arange(0, 360, 36.0)), "sphere"),
    "globe, odd": (UNEVEN, crossed([-60, -10, 35], np.arange(9) * 40.0), "sphere"),
    "region": (REGULAR, crossed([10, 25, 30, 32], 10 + 4.0 * np.arange(7)), "sphere"),
    "region, uneven times": (UNEVEN, crossed([10, 25, 30, 32], 10 + 4.0 * np.arange(7)), "sphere"),
    "plane": (REGULAR, crossed([0, 1, 3], np.arange(7), "plane"), "plane"),
    "irregular": (REGULAR, curvilinear(), "sphere"),
    "a list of sites": (UNEVEN, curvilinear().reshape(-1, 1, 3), "sphere"),
    "one frame": (REGULAR[:1], crossed(np.linspace(20, 40, 8), np.linspace(0, 20, 12)), "sphere"),
    "one site": (UNEVEN, crossed([35], [10]), "sphere"),
}


def every_cell(times, coordinates):
    """All of the lattice, times outermost."""
    return Points.grid(times, coordinates.reshape(-1, coordinates.shape[-1]), coordinates.shape[:2])


def observed_on(times, coordinates, share=0.4, *, seed=0, noise=None, repeats=0):
    """Observations of some cells, in no order, and of some of these again."""
    rng = np.random.default_rng(seed)
    points = every_cell(times, coordinates)
    chosen = rng.permutation(len(points))[: max(1, int(share * len(points)))]
    chosen = np.r_[chosen, chosen[:repeats]]
    noise = rng.uniform(0.02, 0.5, chosen.size) if noise is None else np.full(chosen.size, noise)
    return Observations(points.take_in_order(chosen), rng.standard_normal(chosen.size), noise)


def neighbours_of(prior, observations, frame, *, seed=0):
    """The observations of a lattice of this shape (ny, nx) as factors want them."""
    points = observations.points
    tables = Tables.of(prior, points.times, points.sites.reshape(*frame, -1))
    cells = tables.cells(points.time_index, points.site_index)
    return Neighbours(tables, cells, observations.noise, seed=seed)


def product_of(operator, v):
    """K times (points, R), points in the order of a grid of times and sites."""
    nt = operator.times.size
    t, s = np.indices((nt, operator.num_sites)).reshape(2, -1)
    site, time = operator.cells(t, s)
    field = operator.empty(v.shape[1])
    field[site, :, time] = torch.as_tensor(v).to(field)
    return operator(field)[site, :, time].double().numpy()
