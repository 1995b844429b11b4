"""Dask in, dask out: what stays lazy, what is computed once, and that it equals the answer in memory."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import xgpfill
from xgpfill.datasets import synthetic_sst
from xgpfill.errors import DataError, NoiseError, XgpfillWarning
from xgpfill.posterior import samples as sampling
from xgpfill.tiling.solve import TileSolver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from xgpfill.model import FittedModel

CUBE = ("time", "lat", "lon")
CHUNKS = [
    {"time": 3},
    {"time": (3, 1, 4), "lat": (5, 3), "lon": 9},
    {"time": 1, "lat": (1, 6, 1), "lon": (2, 7)},
    {"time": -1, "lat": -1, "lon": -1},
]
TILES = {"tile": {"time": 4, "lat": 4}, "halo": 2}


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    return synthetic_sst(days=8, nlat=8, nlon=9)


@pytest.fixture(scope="module")
def eager(ds: xr.Dataset) -> FittedModel:
    return ds.sst.gpfill.fit(valid=ds.valid, method="exact")


@pytest.fixture(scope="module")
def known(ds: xr.Dataset, eager: FittedModel) -> dict[str, Any]:
    """Arguments of a fit that learns nothing."""
    return {"valid": ds.valid, "method": "exact", "hyperparameters": eager.hyperparameters}


@pytest.fixture
def lazy(ds: xr.Dataset, known: dict[str, Any]) -> FittedModel:
    return ds.sst.chunk(time=3, lat=5).gpfill.fit(**known)


@pytest.fixture
def learned() -> dict[str, Any]:
    """Arguments of a fit that learns nothing, on the exact engine."""
    time, space = xgpfill.Matern(1.5, 4.0, fixed=True), xgpfill.Matern(1.5, 300.0, fixed=True)
    return {"time_kernel": time, "space_kernel": space, "noise_variance": 0.01, "method": "exact"}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[tuple[int, ...]]]:
    """How often each tile is evaluated, on the synchronous scheduler."""
    counted: Counter[tuple[int, ...]] = Counter()
    moments = TileSolver.moments

    def counting(self: TileSolver, tile: tuple[int, ...], *args: Any) -> Any:
        counted[tile] += 1
        return moments(self, tile, *args)

    monkeypatch.setattr(TileSolver, "moments", counting)
    with dask.config.set(scheduler="synchronous"):
        yield counted


# Lazy stays lazy


@pytest.mark.parametrize("tiles", [{}, TILES], ids=["one tile", "tiles"])
@pytest.mark.parametrize("include_noise", [False, True])
def test_reconstruct_and_all_that_follows_compute_nothing(
    ds: xr.Dataset, lazy: FittedModel, nothing_is_computed: None, tiles: dict[str, Any], include_noise: bool
) -> None:
    found = lazy.reconstruct(include_noise=include_noise, **tiles)
    for made in (found.mean, found.variance, found.filled, found.std(), *found.interval(), lazy.filled):
        assert dask.is_dask_collection(made)
    for made in (found.to_dataset(), found.score(ds.truth), found.score(ds.truth, dim="time")):
        assert dask.is_dask_collection(made)
    assert lazy.reconstruct(variance=False).variance is None


def test_sample_and_predict_compute_nothing(lazy: FittedModel, nothing_is_computed: None) -> None:
    for include_noise in (False, True):
        assert dask.is_dask_collection(lazy.sample(2, include_noise=include_noise))
        assert dask.is_dask_collection(
            lazy.predict({"lat": [40.0, 41.0], "lon": 5.0}, include_noise=include_noise).mean
        )


def test_a_lazy_sample_draws_frames_once_however_many_chunks_they_are_in(
    ds: xr.Dataset, lazy: FittedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    true = sampling.prior_fields

    def counting(draws: Any, n: int, member: int, window: Any) -> Any:
        drawn.append(window[0].size * window[1].size * window[2].size)
        return true(draws, n, member, window)

    monkeypatch.setattr(sampling, "prior_fields", counting)
    small = lazy.condition(ds.sst.chunk(time=4, lat=3, lon=4))
    with dask.config.set(scheduler="synchronous"):
        found = small.sample(2, seed=3).compute()
    assert sum(drawn) == ds.sst.size
    np.testing.assert_allclose(found, lazy.condition(ds.sst).sample(2, seed=3), atol=1e-5)


def test_looking_at_lazy_objects_computes_nothing(lazy: FittedModel, nothing_is_computed: None) -> None:
    found = lazy.reconstruct()
    for made in (lazy, found):
        assert repr(made)
        assert made._repr_html_()


def test_conditioning_on_lazy_data_computes_nothing(
    ds: xr.Dataset, eager: FittedModel, nothing_is_computed: None
) -> None:
    conditioned = eager.condition(ds.sst.chunk(time=2))
    assert dask.is_dask_collection(conditioned.reconstruct().mean)


@pytest.fixture(scope="module")
def with_errors(ds: xr.Dataset) -> FittedModel:
    """Fitted in memory with standard errors, all 0.1 degC."""
    return ds.sst.gpfill.fit(valid=ds.valid, method="exact", noise=xr.full_like(ds.sst, 0.1))


def test_lazy_standard_errors_stay_lazy(ds: xr.Dataset, with_errors: FittedModel, nothing_is_computed: None) -> None:
    model = with_errors.condition(ds.sst.chunk(time=3), noise=xr.full_like(ds.sst, 0.1).chunk(time=3))
    for include_noise in (False, True):
        found = model.reconstruct(include_noise=include_noise)
        for made in (found.mean, found.variance, *found.interval(), model.sample(2, include_noise=include_noise)):
            assert dask.is_dask_collection(made)


def test_lazy_standard_errors_give_the_same_answer(ds: xr.Dataset, with_errors: FittedModel) -> None:
    model = with_errors.condition(ds.sst.chunk(time=3), noise=xr.full_like(ds.sst, 0.1).chunk(time=3))
    one, other = (m.reconstruct(include_noise=True) for m in (model, with_errors))
    assert one.variance.chunks == ds.sst.chunk(time=3).chunks
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-5)
    np.testing.assert_allclose(one.variance, other.variance, rtol=1e-4)
    np.testing.assert_allclose(model.sample(2), with_errors.sample(2), rtol=1e-5)


@pytest.mark.parametrize("chunks", [{"time": 3}, {"time": 2, "lat": 3}, {"time": -1}], ids=str)
def test_standard_errors_chunked_otherwise_and_unknown_in_the_gaps_change_nothing(ds, with_errors, chunks) -> None:
    rng = np.random.default_rng(0)
    errors = (xr.full_like(ds.sst, 0.1) * rng.uniform(0.5, 2.0, ds.sst.shape)).where(ds.sst.notnull())
    eager = with_errors.condition(ds.sst, noise=errors)
    lazy = with_errors.condition(ds.sst.chunk(time=3), noise=errors.chunk(chunks))
    one, other = (m.reconstruct(include_noise=True) for m in (lazy, eager))
    assert one.variance.chunks == one.mean.chunks == one.interval()[0].chunks == ds.sst.chunk(time=3).chunks
    np.testing.assert_allclose(one.variance, other.variance, rtol=1e-4)
    draws = (m.sample(2, include_noise=True) for m in (lazy, eager))
    np.testing.assert_allclose(*draws, rtol=1e-5)


def test_predict_works_with_lazy_standard_errors(ds: xr.Dataset, with_errors: FittedModel) -> None:
    errors = xr.full_like(ds.sst, 0.1).chunk(time=3, lat=4)
    model = with_errors.condition(ds.sst.chunk(time=3, lat=4), noise=errors)
    extra = [model.predict({"lat": 40.0, "lon": 5.0}, include_noise=n).variance for n in (False, True)]
    np.testing.assert_allclose(extra[1] - extra[0], 0.01 * float(model.hyperparameters.noise), rtol=1e-3)


def test_lazy_integers_and_arrays_in_memory_keep_their_kind(ds: xr.Dataset, known, lazy: FittedModel) -> None:
    counts = (100 * ds.truth.fillna(15.0)).astype("int16").chunk(time=3)
    mean = lazy.condition(counts).reconstruct().mean
    assert dask.is_dask_collection(mean) and mean.dtype == np.float64
    assert not dask.is_dask_collection(ds.sst.gpfill.fit(**known).reconstruct().mean)


# Chunks


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
@pytest.mark.parametrize("tiles", [{}, TILES], ids=["one tile", "tiles"])
def test_output_chunks_equal_input_chunks(ds: xr.Dataset, eager: FittedModel, chunks, tiles) -> None:
    data = ds.sst.chunk(chunks)
    model = eager.condition(data)
    found = model.reconstruct(include_noise=True, **tiles)
    made = (found.mean, found.variance, found.filled, found.std(), *found.interval())
    assert {m.chunks for m in made} == {data.chunks}
    assert model.sample(2).chunks[1:] == data.chunks


@pytest.mark.parametrize("order", [("lon", "time", "lat"), ("lat", "lon", "time")])
def test_output_chunks_equal_input_chunks_in_any_order_of_dims(ds: xr.Dataset, eager: FittedModel, order) -> None:
    data = ds.sst.transpose(*order).chunk(CHUNKS[1])
    model = eager.condition(data)
    mean, variance = model.reconstruct()
    assert mean.dims == order
    assert mean.chunks == variance.chunks == data.chunks
    assert model.sample(2).chunks[1:] == data.chunks


def test_output_chunks_equal_input_chunks_of_extra_dims(ds: xr.Dataset, eager: FittedModel) -> None:
    members = xr.concat([ds.sst + k for k in range(3)], pd.Index([0, 1, 2], name="member"))
    data = members.transpose("time", "member", "lat", "lon").chunk(member=(2, 1), time=(5, 3), lon=4)
    model = eager.condition(data)
    mean, variance = model.reconstruct()
    assert mean.dims == data.dims
    assert mean.chunks == variance.chunks == data.chunks
    assert model.sample(2).chunks[1:] == data.chunks
    np.testing.assert_allclose(mean.isel(member=2), eager.condition(ds.sst + 2).reconstruct().mean, rtol=1e-5)


def test_output_chunks_equal_input_chunks_when_valid_is_chunked_otherwise(ds: xr.Dataset, known) -> None:
    data = ds.sst.chunk(time=3, lat=5)
    model = data.gpfill.fit(**{**known, "valid": ds.valid.chunk(lat=3)})
    mean, variance = model.reconstruct()
    assert mean.chunks == variance.chunks == data.chunks
    assert model.sample(2).chunks[1:] == data.chunks


# Each tile once


def all_tiles(model: FittedModel, **tiles: Any) -> set[tuple[int, ...]]:
    return set(model.solver(tiles.get("tile"), tiles.get("halo")).plan.tiles())


@pytest.mark.parametrize(
    ("way", "tiles"),
    [*((way, {}) for way in ("compute", "persist", "to_dataset", "to_zarr", "to_netcdf")), ("to_zarr", TILES)],
)
def test_mean_and_variance_come_from_one_evaluation_of_each_tile(
    lazy: FittedModel, calls: Counter[tuple[int, ...]], tmp_path: Path, way: str, tiles: dict[str, Any]
) -> None:
    found = lazy.reconstruct(**tiles)
    if way == "to_dataset":
        found.to_dataset().compute()
    elif way in ("compute", "persist"):
        getattr(found, way)()
    else:
        getattr(found, way)(tmp_path / "out", **({"consolidated": False} if way == "to_zarr" else {}))
    assert calls == dict.fromkeys(all_tiles(lazy, **tiles), 1)


def test_after_compute_nothing_is_evaluated_again(ds: xr.Dataset, lazy: FittedModel, calls: Counter[Any]) -> None:
    found = lazy.reconstruct(**TILES).compute()
    before = sum(calls.values())
    _ = found.std(), found.filled.compute(), found.interval(), found.score(ds.truth).compute(), found.to_dataset()
    assert sum(calls.values()) == before
    assert isinstance(found.mean.data, np.ndarray) and isinstance(found.variance.data, np.ndarray)


def test_after_persist_the_result_is_still_dask_and_evaluated_once(lazy: FittedModel, calls: Counter[Any]) -> None:
    found = lazy.reconstruct(**TILES).persist()
    before = sum(calls.values())
    assert dask.is_dask_collection(found.mean)
    found.std().compute()
    found.to_dataset().compute()
    assert sum(calls.values()) == before


# Scores of what was computed


def lazy_parts(scores: xr.Dataset) -> list[str]:
    return [str(name) for name, da in scores.variables.items() if da.chunks is not None]


@pytest.mark.parametrize("chunks", [{}, {"time": 2}], ids=["truth in memory", "lazy truth"])
@pytest.mark.parametrize("how", [{}, {"dim": ("lat", "lon"), "weights": "cos_lat"}], ids=["all", "each day"])
def test_the_scores_of_a_computed_reconstruction_are_numbers(ds, lazy: FittedModel, chunks, how) -> None:
    truth = ds.truth.chunk(chunks) if chunks else ds.truth
    expected = lazy.reconstruct().score(ds.truth, **how)
    assert lazy_parts(expected)
    scores = lazy.reconstruct().compute().score(truth, **how)
    assert not lazy_parts(scores)
    xr.testing.assert_allclose(scores, expected.compute())


def test_the_scores_of_computed_predictions_are_numbers(ds: xr.Dataset, lazy: FittedModel) -> None:
    predicted = lazy.predict(ds.truth)
    assert lazy_parts(predicted.score(ds.truth))
    assert not lazy_parts(predicted.compute().score(ds.truth))


def test_the_scores_of_several_computed_variables_are_numbers(ds: xr.Dataset, known) -> None:
    arguments = {**known, "hyperparameters": {"sst": known["hyperparameters"]}}
    found = ds[["sst"]].chunk(time=3).gpfill.fit(variable=["sst"], **arguments).reconstruct()
    truth = ds[["truth"]].rename(truth="sst")
    assert lazy_parts(found.score(truth))
    assert not lazy_parts(found.compute().score(truth))


def test_the_scores_of_a_computed_reconstruction_with_lazy_standard_errors_are_numbers(ds, with_errors) -> None:
    model = with_errors.condition(ds.sst.chunk(time=3), noise=xr.full_like(ds.sst, 0.1).chunk(time=3))
    assert not lazy_parts(model.reconstruct().compute().score(ds.truth))


def test_after_compute_nothing_is_lazy_any_more(ds: xr.Dataset, lazy: FittedModel) -> None:
    found = lazy.reconstruct().compute()
    for made in (found.mean, found.variance, found.observed, found.filled, found.std(), *found.interval()):
        assert not dask.is_dask_collection(made)
    xr.testing.assert_identical(found.observed, ds.sst)


def test_after_persist_scores_are_lazy_and_read_no_data_again(ds: xr.Dataset, eager: FittedModel) -> None:
    data, reads = counted((8, 8, 9), (2, 4, 3))
    model = eager.condition(data.assign_coords(ds.sst.coords).assign_attrs(ds.sst.attrs))
    with dask.config.set(scheduler="synchronous"):
        found = model.reconstruct().persist()
        reads.clear()
        scores = found.score(ds.truth)
        assert lazy_parts(scores)
        assert int(scores.compute().cells) == 0
        found.filled.compute()
    assert not reads


def test_a_selection_evaluates_only_the_tiles_it_touches(lazy: FittedModel, calls: Counter[tuple[int, ...]]) -> None:
    lazy.reconstruct(tile={"time": 4}, halo=1).mean.isel(time=0).compute()
    assert set(calls) == {(0, 0, 0)}


# The same answer


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
def test_lazy_values_equal_those_in_memory_given_the_hyperparameters(ds, eager: FittedModel, known, chunks) -> None:
    found = ds.sst.chunk(chunks).gpfill.fit(**known).reconstruct(include_noise=True)
    expected = eager.reconstruct(include_noise=True)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-5)
    np.testing.assert_allclose(found.variance, expected.variance, rtol=1e-4)
    np.testing.assert_allclose(found.filled, expected.filled, rtol=1e-5)
    np.testing.assert_allclose(found.score(ds.truth).crps, expected.score(ds.truth).crps, rtol=1e-4)


def test_lazy_tiles_equal_tiles_in_memory(ds: xr.Dataset, eager: FittedModel, lazy: FittedModel) -> None:
    np.testing.assert_allclose(lazy.reconstruct(**TILES).mean, eager.reconstruct(**TILES).mean, rtol=1e-5)
    np.testing.assert_allclose(lazy.reconstruct(**TILES).variance, eager.reconstruct(**TILES).variance, rtol=1e-4)


@pytest.mark.parametrize("include_noise", [False, True])
def test_lazy_draws_equal_draws_in_memory(eager: FittedModel, lazy: FittedModel, include_noise: bool) -> None:
    draws = (m.sample(3, seed=2, include_noise=include_noise) for m in (eager, lazy))
    expected, found = draws
    assert found.dims == expected.dims
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_lazy_predictions_equal_predictions_in_memory(eager: FittedModel, lazy: FittedModel) -> None:
    target = {"lat": [39.5, 41.0], "lon": [4.0, 5.0, 8.0]}
    for one, other in zip(lazy.predict(target), eager.predict(target), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)
    one, other = (m.predict({**target, "time": eager.layout.template.time[:1]}, covariance=True) for m in (lazy, eager))
    np.testing.assert_allclose(one[1], other[1], rtol=1e-4, atol=1e-6)


def test_the_trend_of_lazy_data_equals_that_in_memory(eager: FittedModel, lazy: FittedModel) -> None:
    xr.testing.assert_allclose(lazy.trend, eager.trend)


def test_learning_from_lazy_data_gives_a_field_as_good(ds: xr.Dataset, eager: FittedModel) -> None:
    model = ds.sst.chunk(time=4).gpfill.fit(valid=ds.valid, method="exact")
    rmse = [float(m.reconstruct().score(ds.truth).rmse) for m in (model, eager)]
    assert rmse[0] < 1.2 * rmse[1]


def test_fill_of_lazy_data_is_lazy_and_whole(ds: xr.Dataset, known) -> None:
    filled = ds.sst.chunk(time=3).gpfill.fill(**known)
    assert filled.chunks == filled.sst_flag.chunks == ds.sst.chunk(time=3).chunks
    filled = filled.drop_vars("sst_flag")
    xr.testing.assert_equal(filled.notnull().compute(), ds.valid.broadcast_like(ds.sst).transpose(*CUBE))


def test_threads_give_the_same_answer(eager: FittedModel, lazy: FittedModel) -> None:
    with dask.config.set(scheduler="threads", num_workers=2):
        found = lazy.reconstruct(**TILES).compute()
        draws = lazy.sample(2).compute()
    np.testing.assert_allclose(found.mean, eager.reconstruct(**TILES).mean, rtol=1e-5)
    np.testing.assert_allclose(found.variance, eager.reconstruct(**TILES).variance, rtol=1e-4)
    np.testing.assert_allclose(draws, eager.sample(2), rtol=1e-5)


def test_processes_of_a_cluster_give_the_same_answer(eager: FittedModel, lazy: FittedModel, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        distributed.Client(cluster),
    ):
        found = lazy.reconstruct(**TILES)
        computed, draws = found.compute(), lazy.sample(2).compute()
        found.to_zarr(tmp_path / "out.zarr", consolidated=False)
    expected = eager.reconstruct(**TILES)
    np.testing.assert_allclose(computed.mean, expected.mean, rtol=1e-5)
    np.testing.assert_allclose(computed.variance, expected.variance, rtol=1e-4)
    np.testing.assert_allclose(draws, eager.sample(2), rtol=1e-5)
    written = xr.open_zarr(tmp_path / "out.zarr", consolidated=False, chunks=None)
    np.testing.assert_allclose(written.sst, expected.mean, rtol=1e-5)


# Reading


def counted(shape: tuple[int, int, int], chunks: tuple[int, int, int]) -> tuple[xr.DataArray, Counter[Any]]:
    """Random lazy data that counts how often each chunk is read."""
    reads: Counter[Any] = Counter()

    def make(block_info: Any = None) -> np.ndarray:
        where = block_info[None]
        if where["chunk-location"]:
            reads[where["chunk-location"]] += 1
        rng = np.random.default_rng(list(where["chunk-location"]))
        return rng.normal(size=where["chunk-shape"])

    sizes = [(c,) * (n // c) for n, c in zip(shape, chunks, strict=True)]
    values = da.map_blocks(make, chunks=tuple(sizes), dtype=float, meta=np.zeros((0, 0, 0)))
    axes = np.arange(float(shape[0])), np.linspace(0, 40, shape[1]), np.linspace(0, 40, shape[2])
    reads.clear()
    return xr.DataArray(values, dict(zip(CUBE, axes, strict=True)), CUBE, "noise"), reads


def test_fitting_reads_only_the_chunks_its_blocks_and_windows_touch(eager: FittedModel, monkeypatch) -> None:
    monkeypatch.setattr("xgpfill.learning.samples.SMALL", 0)
    data, reads = counted((1200, 60, 60), (10, 20, 20))
    with dask.config.set(scheduler="synchronous"):
        model = data.gpfill.fit(method="exact", valid=True, hyperparameters=eager.hyperparameters)
    assert 0 < len(reads) < 0.5 * data.data.npartitions
    assert model.lattice.is_lazy


def test_reconstructing_reads_each_chunk_once(ds: xr.Dataset, eager: FittedModel) -> None:
    data, reads = counted((8, 8, 9), (2, 4, 3))
    found = eager.condition(data.assign_coords(ds.sst.coords).assign_attrs(ds.sst.attrs)).reconstruct()
    with dask.config.set(scheduler="synchronous"):
        dask.compute(found.mean, found.variance)
        assert reads == dict.fromkeys(np.ndindex(4, 2, 3), 1)
        reads.clear()
        found.compute()  # the observed values are kept with them
    assert max(reads.values()) <= 2


# Infinities


@pytest.fixture
def spoilt(ds: xr.Dataset) -> xr.DataArray:
    """Sixteen days with an infinite value on day 14, in the last of four chunks."""
    longer = xr.concat([ds.sst, ds.sst.assign_coords(time=ds.time + np.timedelta64(8, "D"))], "time")
    longer[14, 5, 5] = np.inf
    return longer.chunk(time=4)


def test_an_infinity_that_fit_did_not_read_raises_when_its_tile_is_computed(spoilt, eager: FittedModel) -> None:
    found = eager.condition(spoilt).reconstruct(tile={"time": 4}, halo=0)
    with pytest.raises(DataError, match=r"hold an infinite value.*da\.where\(np\.isfinite\(da\)\)"):
        found.compute()


def test_the_error_of_an_infinity_names_its_time_step_of_the_whole_field(spoilt, eager, monkeypatch) -> None:
    monkeypatch.setattr("xgpfill.posterior.conditioning.observed_share", lambda *a, **k: 0.3)  # so that the tile reads
    with pytest.raises(DataError, match="infinite value at time step 14"):
        eager.condition(spoilt).reconstruct(tile={"time": 4}, halo=0).compute()


def test_a_negative_infinity_raises_in_draws_too(spoilt, eager: FittedModel) -> None:
    with pytest.raises(DataError, match="infinite value"):
        eager.condition(-spoilt).sample(1).compute()


def test_an_infinity_that_fit_reads_raises_at_once(ds: xr.Dataset, known) -> None:
    with pytest.raises(DataError, match="infinite value"):
        ds.sst.where(ds.sst.notnull(), np.inf).chunk(time=3).gpfill.fit(**known)


def test_an_inverted_mask_of_lazy_data_is_told_from_the_chunks_that_are_read(ds, learned, monkeypatch) -> None:
    monkeypatch.setattr("xgpfill.learning.samples.SMALL", 0)
    sea = ds.sst.where(ds.valid)
    with pytest.raises(
        DataError, match=r"^The data have no observation at all where `valid` says.*type `valid=~valid`"
    ):
        sea.chunk(time=3).gpfill.fit(**learned, valid=~ds.valid)
    beach = sea.where((ds.lat < ds.lat[7]) | (ds.lon > ds.lon[1]), ds.time.dt.day + 0.0)
    few = {"have 16 of": {"time": 3}, "read so far have": {"time": 1, "lat": 2}}  # of half of the chunks
    for found, chunks in few.items():
        with pytest.warns(XgpfillWarning, match=rf"^The data {found}.* where `valid` says.*type `valid=~valid`"):
            model = beach.chunk(chunks).gpfill.fit(**learned, valid=~ds.valid)
    assert model.share < 0.1
    same = beach.chunk(time=3).gpfill.fit(**learned, valid=ds.valid)
    assert same.share == pytest.approx(float(sea.notnull().mean()))


def test_an_inverted_mask_of_small_lazy_data_is_told_as_in_memory(ds, learned) -> None:
    sea = ds.sst.where(ds.valid)
    for data in (sea, sea.chunk(time=3)):
        with pytest.raises(DataError, match=r"^The data have no observation at all where `valid`.*type `valid=~valid`"):
            data.gpfill.fit(**learned, valid=~ds.valid)


def test_lazy_data_without_units_are_looked_at_when_their_tiles_are_computed(ds, eager: FittedModel) -> None:
    bare = (ds.sst + 273.15).drop_attrs(deep=False).chunk(time=3)
    found = eager.condition(bare).reconstruct()
    with pytest.warns(XgpfillWarning, match=r"taken for 'degC'.*in 'K' they would be plausible: `\(da - 273") as record:
        found.compute(scheduler="synchronous")
    assert len([w for w in record if "taken for" in str(w.message)]) == 1  # not of every chunk
    assert found.mean.chunks == bare.chunks
    for plausible in (bare - 273.15, (ds.sst + 273.15).chunk(time=3)):  # the second says that it is in degC
        eager.condition(plausible).reconstruct().compute(scheduler="synchronous")


def test_check_full_scans_all_data_first(spoilt: xr.DataArray, eager: FittedModel, known, monkeypatch) -> None:
    monkeypatch.setattr("xgpfill.fitting.draw_blocks", lambda *a, **k: pytest.fail("read for learning"))
    arguments = {**known, "valid": True}
    with pytest.raises(DataError, match=r"The data hold infinite values.*np\.isfinite"):
        spoilt.gpfill.fit(**arguments, check="full")


def test_check_full_of_clean_data_reads_every_chunk(eager: FittedModel) -> None:
    data, reads = counted((600, 60, 60), (10, 20, 20))
    with dask.config.set(scheduler="synchronous"):
        data.gpfill.fit(method="exact", valid=True, hyperparameters=eager.hyperparameters, check="full")
    assert set(reads) == set(np.ndindex(60, 3, 3))


# Other bad input on lazy data


def test_fitting_lazy_data_with_missing_standard_errors_is_refused(ds: xr.Dataset, with_errors) -> None:
    errors = xr.full_like(ds.sst, 0.1).where(ds.sst.isnull())
    with pytest.raises(NoiseError, match=r"`noise` \(standard errors\) is missing, zero or negative"):
        ds.sst.chunk(time=3).gpfill.fit(
            valid=ds.valid, method="exact", noise=errors, hyperparameters=with_errors.hyperparameters
        ).reconstruct().compute()


def test_lazy_data_with_missing_standard_errors_are_refused(ds: xr.Dataset, with_errors: FittedModel) -> None:
    """Either at once or when it is read, but as an error about the standard errors."""
    errors = xr.full_like(ds.sst, 0.1).where(ds.sst.isnull())
    with pytest.raises(NoiseError, match=r"`noise` \(standard errors\) is missing, zero or negative"):
        with_errors.condition(ds.sst.chunk(time=3), noise=errors).reconstruct().compute()


@pytest.mark.parametrize("wrong", [0.0, -0.1])
def test_lazy_data_with_standard_errors_of_zero_or_less_are_refused(ds, with_errors, wrong: float) -> None:
    errors = xr.full_like(ds.sst, wrong)
    with pytest.raises(NoiseError, match=r"`noise` \(standard errors\) is missing, zero or negative"):
        with_errors.condition(ds.sst.chunk(time=3), noise=errors).reconstruct().compute()


def test_lazy_data_without_any_observation_are_refused(ds: xr.Dataset) -> None:
    with pytest.raises(DataError, match="no observation at all"):
        ds.sst.where(False).chunk(time=3).gpfill.fit(valid=True)


def test_a_lazy_member_without_any_observation_gets_the_prior(ds: xr.Dataset, eager: FittedModel) -> None:
    members = xr.concat([ds.sst, ds.sst.where(False)], pd.Index([1, 2], name="member")).chunk(member=1, time=4)
    mean, variance = eager.condition(members).reconstruct().compute()
    np.testing.assert_allclose(mean.sel(member=1), eager.reconstruct().mean, rtol=1e-5)
    assert bool(variance.sel(member=2).notnull().any())


def test_the_public_names_are_enough_to_work_lazily(ds: xr.Dataset, eager: FittedModel) -> None:
    cube = ds.chunk(time=4)
    numbers = eager.hyperparameters
    model = cube.gpfill.fit(variable="sst", valid=cube.valid, method=xgpfill.Exact(), hyperparameters=numbers)
    assert float(model.reconstruct().compute().score(ds.truth).rmse) < 0.5
