"""The graph of a lazy field: what tiles read from chunks, which chunks they are in, and how small it stays."""

from __future__ import annotations

import pickle
import time
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
import xarray as xr
import xgpfill
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from xgpfill.grid.lattice import Lattice, Space
from xgpfill.grid.scaling import Scaling
from xgpfill.kernels import spec
from xgpfill.kernels.prior import Prior, Term
from xgpfill.settings import Exact
from xgpfill.tiling.assemble import lazy_member, node_of, run_member, tile_moments
from xgpfill.tiling.graph import Reads, base_level, chunked_alike, touching
from xgpfill.tiling.solve import TileSolver
from xgpfill.tiling.tiles import AxisTiles, TilePlan
from xgpfill.tiling.views.pyramid import Pyramid

from tests import reference as ref
from tests.problems import lattice

LOCAL = Prior(
    (
        Term("common", spec.Matern(1.5, 2.0), spec.Constant(), 0.3),
        Term("fast", spec.Matern(1.5, 1.0), spec.Matern(1.5, 60.0), 0.4),
    ),
    noise=0.05,
    geometry="sphere",
)


@st.composite
def cuts(draw, size):
    """An axis cut in chunks."""
    inner = draw(st.sets(st.integers(1, size - 1), max_size=5)) if size > 1 else set()
    return tuple(int(n) for n in np.diff([0, *sorted(inner), size]))


@st.composite
def problems(draw):
    shape = tuple(draw(st.integers(1, n)) for n in (24, 20, 16))
    counts = [draw(st.integers(1, min(n, 4))) for n in shape]
    halos = tuple(draw(st.integers(0, 6)) for _ in range(counts[1])) if draw(st.booleans()) else ()
    wraps = draw(st.booleans())
    axes = [
        AxisTiles(n, c, draw(st.integers(0, 4)), wraps and i == 2)
        for i, (n, c) in enumerate(zip(shape, counts, strict=True))
    ]
    bands = tuple(replace(axes[2], halo=halo) for halo in halos)
    return shape, TilePlan(*axes, bands), tuple(draw(cuts(n)) for n in shape)


def solver_of(shape, plan):
    return TileSolver(lattice(np.zeros(shape), spacing=3.0), LOCAL, Scaling(0.0, 1.0), Exact(), plan, "cpu", "float64")


@settings(max_examples=30, deadline=None)
@given(problems(), st.booleans(), st.tuples(*(st.booleans(),) * 3))
def test_a_tile_cuts_from_chunks_what_it_sees_of_the_pyramid(problem, draws, errors):
    shape, plan, chunks = problem
    solver = solver_of(shape, plan)
    rng = np.random.default_rng(0)
    data = rng.standard_normal((*((2,) * draws), *shape))
    data[..., rng.random(shape) < 0.4] = np.nan
    given_errors = rng.uniform(0.1, 1.0, [n if k else 1 for n, k in zip(shape, errors, strict=True)])
    given_errors = given_errors if any(errors) else None
    own = ((data.shape[0],),) if draws else ()
    values, errors = chunked_alike(da.from_array(data, chunks=(*own, *chunks)), given_errors)
    reads = Reads(solver, values, errors, Pyramid(base_level(node_of(solver), values, errors)))
    whole = Pyramid(solver.sums(tuple(np.arange(n) for n in shape), data, given_errors))
    keys = {tile: reads.of(tile) for tile in plan.tiles()}
    held = {key: part for level in reads.sources for key, part in chunks_of(level)}

    def found(nested):
        if nested is None:
            return None
        return [found(n) for n in nested] if isinstance(nested, list) else held[nested]

    for tile, pieces in keys.items():
        parts = reads.starts.cut(solver, solver.view(tile), [found(piece) for piece in pieces])
        expected = [whole.part(by, blocks) for by, blocks, _ in solver.view(tile).pieces]
        for part, true in zip(parts, expected, strict=True):
            assert_array_equal(part, true)


def chunks_of(level):
    """Every chunk of a lazy array by its key."""
    whole, starts = level.compute(scheduler="sync"), [np.cumsum((0, *own)) for own in level.chunks]
    for where in np.ndindex(level.numblocks):
        at = tuple(slice(own[k], own[k + 1]) for own, k in zip(starts, where, strict=True))
        yield (level.name, *where), whole[at]


@settings(max_examples=100, deadline=None)
@given(problems())
def test_a_chunk_is_blended_from_the_tiles_that_evaluate_cells_of_it(problem):
    _, plan, chunks = problem
    starts = [np.cumsum((0, *own)) for own in chunks]
    seen = set()
    for where, bounds, tiles in touching(plan, chunks):
        assert_array_equal(bounds, [own[k : k + 2] for own, k in zip(starts, where, strict=True)])
        cells = [set(range(*ends)) for ends in bounds.tolist()]
        expected = {
            tile
            for tile in plan.tiles()
            if all(own & set(w.tolist()) for own, w in zip(cells, plan.evaluated(tile), strict=True))
        }
        assert set(tiles) == expected and len(tiles) == len(expected)
        seen.add(where)
    assert len(seen) == np.prod([len(own) for own in chunks])


def test_thousands_of_tiles_make_a_small_graph_fast():
    lat, lon = np.arange(-60.0, 60.0, 0.5), np.arange(0.0, 360.0, 0.5)
    space = Space(ref.chord(*np.meshgrid(lat, lon, indexing="ij")), "sphere", wraps=True)
    frame = Lattice(None, np.arange(20.0), space)
    plan = TilePlan(AxisTiles(20, 4, 2), AxisTiles(240, 24, 3), AxisTiles(720, 40, 9, wraps=True))
    solver = TileSolver(frame, LOCAL, Scaling(0.0, 1.0), Exact(), plan, "cpu", "float64")
    values = da.zeros(frame.shape, chunks=(5, 60, 120))
    began = time.perf_counter()
    node = node_of(solver)
    found = lazy_member(node, solver, values, None, work=tile_moments, leading=2)
    graph = dict(found.__dask_graph__())
    seconds = time.perf_counter() - began
    assert len(plan) == 3840
    assert len(graph) < 1.5 * len(plan)
    own = {key: task for key, task in graph.items() if key != node.key}
    assert len(pickle.dumps({key: task for key, task in own.items() if "zeros" not in str(key)})) < 1500 * len(plan)
    assert seconds < 20.0


def test_a_fitted_model_travels_without_its_coordinates_and_answers_the_same(tmp_path):
    xgpfill.datasets.synthetic_sst(days=4, nlat=40, nlon=60)[["sst"]].to_netcdf(tmp_path / "raw.nc")
    lazy = xr.open_dataset(tmp_path / "raw.nc", chunks={"time": 3}).sst
    model = lazy.gpfill.fit(valid=True, scales=1, progress=False)
    travelled = pickle.dumps(model)
    assert len(travelled) < 30_000
    again = pickle.loads(travelled)
    assert_array_equal(again.lattice.space.coordinates, model.lattice.space.coordinates)
    part = replace(model.lattice.space, coordinates=model.lattice.space.coordinates[::2, 3:])
    assert_array_equal(pickle.loads(pickle.dumps(part)).coordinates, part.coordinates)


def test_a_model_on_bent_coordinates_is_known_by_the_same_name_after_it_travelled():
    ds = xgpfill.datasets.synthetic_sst(days=4, nlat=6, nlon=8)
    lat, lon = np.meshgrid(ds.lat.values, ds.lon.values, indexing="ij")
    bent = xr.DataArray(
        ds.sst.values, dims=("time", "j", "i"), name="sst",
        coords={"time": ds.time, "lat": (("j", "i"), lat), "lon": (("j", "i"), lon + 0.3 * lat)},
    )  # fmt: skip
    for da_ in (bent, ds.sst):
        model = da_.gpfill.fit(valid=True, scales=1, amplitude=False, calibrate=False, progress=False)
        again = pickle.loads(pickle.dumps(model))
        assert again.solver({"time": 2}, "auto").identity == model.solver({"time": 2}, "auto").identity


def test_chunks_without_cells_are_empty():
    shape = (4, 5, 8)
    solver = solver_of(shape, TilePlan(AxisTiles(4, 2, 2), AxisTiles(5), AxisTiles(8)))
    values = np.random.default_rng(2).standard_normal(shape)
    lazy = da.from_array(values, chunks=((0, 1, 3), (5,), (4, 4)))
    found = lazy_member(node_of(solver), solver, lazy, None, work=tile_moments, leading=2)
    assert_array_equal(found.compute(scheduler="sync"), run_member(solver, values, None))


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("with_errors", [False, True])
def test_sums_of_chunks_are_those_in_memory(draws, with_errors):
    shape = (6, 5, 8)
    solver = solver_of(shape, TilePlan(*map(AxisTiles, shape)))
    rng = np.random.default_rng(1)
    values = rng.standard_normal((draws, *shape))
    values[:, rng.random(shape) < 0.5] = np.nan
    values = values if draws > 1 else values[0]
    errors = rng.uniform(0.1, 1.0, (1, *shape[1:])) if with_errors else None
    chunks = ((2, 4), (5,), (3, 3, 2))
    lazy = da.from_array(values, chunks=((draws,) * (draws > 1), *chunks)[1 - (draws > 1) :])
    for given_errors in (errors, None if errors is None else da.from_array(errors, chunks=(1, 2, 8))):
        found = base_level(node_of(solver), *chunked_alike(lazy, given_errors))
        assert found.chunks[1:] == chunks
        whole = tuple(np.arange(n) for n in shape)
        assert_array_equal(found.compute(scheduler="sync"), solver.sums(whole, values, errors))
