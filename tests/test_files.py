"""Writing: nothing that is there is replaced unless that was asked for, and never what the data come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr
import xgpfill
from xgpfill.errors import PlaceTakenError, XgpfillError
from xgpfill.files import sources_of

if TYPE_CHECKING:
    from pathlib import Path

    from xgpfill.model import FittedModel

ZARR: dict[str, Any] = {"consolidated": False}


@pytest.fixture
def raw(ds: xr.Dataset, tmp_path: Path) -> Path:
    """A folder with the same data as a Zarr store and as netCDF, beside another variable."""
    both = ds[["sst", "truth"]].drop_encoding()
    both.to_zarr(tmp_path / "raw.zarr", **ZARR)
    both.to_netcdf(tmp_path / "raw.nc")
    return tmp_path


def opened(path: Path, **how: Any) -> xr.DataArray:
    engine = {"engine": "zarr", **ZARR} if path.suffix == ".zarr" else {}
    return xr.open_dataset(path, chunks={}, **engine, **how).sst


@pytest.mark.parametrize("name", ["raw.zarr", "raw.nc"])
@pytest.mark.parametrize("mode", ["w-", "w"])
@pytest.mark.parametrize("how", [{}, {"inline_array": True}], ids=["graph", "inlined"])
def test_what_the_lazy_data_come_from_is_never_written_onto(model: FittedModel, raw: Path, name, mode, how) -> None:
    own = model.condition(opened(raw / name, **how), valid=True)
    before = {p: p.read_bytes() for p in raw.rglob("*") if p.is_file()}
    fields = own.reconstruct(), own.predict({"lat": 41.0}), own.reconstruct().compute()
    for write in (own.save, *(f.to_netcdf if name == "raw.nc" else f.to_zarr for f in fields)):
        with pytest.raises(XgpfillError, match=rf"data come from '.*{name}'.*e\.g\. '.*raw_filled\."):
            write(raw / name, mode=mode)
    assert {p: p.read_bytes() for p in raw.rglob("*") if p.is_file()} == before


def test_the_store_is_known_behind_what_was_computed_lazily_from_it(raw: Path) -> None:
    lazy = (opened(raw / "raw.zarr").chunk(time=2) + opened(raw / "raw.nc")).rolling(time=2).mean()
    bare = xr.DataArray(da.from_zarr(str(raw / "raw.zarr"), component="truth"))
    assert sources_of(lazy, None, 3.0) == {raw / "raw.zarr", raw / "raw.nc"}
    assert sources_of(bare.to_dataset(name="a")) == {raw / "raw.zarr"}
    assert sources_of(lazy.compute(), xr.DataArray(da.zeros(3, chunks=1))) == set()


@pytest.mark.parametrize("name", ["raw.zarr", "raw.nc"])
def test_by_default_nothing_that_is_there_is_replaced(model: FittedModel, raw: Path, name: str) -> None:
    path = raw / name
    found = model.reconstruct()
    write = found.to_netcdf if path.suffix == ".nc" else found.to_zarr
    for call in (model.save, write):
        with pytest.raises(PlaceTakenError, match=r"is there already, and mode='w-'.*raw_filled.*type `mode='w'`"):
            call(path)
        with pytest.raises(FileExistsError):  # as xarray says
            call(path)
    write(path, mode="w")
    model.save(path, mode="w")
    assert xgpfill.load(path).prior == model.prior


@pytest.mark.parametrize(
    ("taken", "free"), [("sst.nc", "sst_2.nc"), ("sst_filled.nc", "sst_filled_3.nc"), ("raw.nc", "raw_filled.nc")]
)
def test_the_place_that_is_proposed_is_free(model: FittedModel, tmp_path: Path, taken: str, free: str) -> None:
    for name in ("sst.nc", "sst_filled.nc", "sst_filled_2.nc", "raw.nc"):
        (tmp_path / name).touch()
    with pytest.raises(PlaceTakenError, match=rf"{tmp_path / free}"):
        model.save(tmp_path / taken)


def test_an_unknown_mode_is_refused_and_parts_of_a_file_are_named(model: FittedModel, tmp_path: Path) -> None:
    with pytest.raises(XgpfillError, match=r"mode='x': a file is written whole, so choose 'w-'.*or 'w'"):
        model.save(tmp_path / "model.nc", mode="x")
    with pytest.raises(XgpfillError, match=r"mode='a' is not\. Type `reconstruction\.to_dataset\(\)\.to_zarr"):
        model.reconstruct().to_zarr(tmp_path / "out.zarr", mode="a")
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_is_a_free_place(model: FittedModel, tmp_path: Path) -> None:
    (tmp_path / "out.zarr").mkdir()
    model.reconstruct().to_zarr(tmp_path / "out.zarr", **ZARR)
    found = xr.open_zarr(tmp_path / "out.zarr", chunks=None, **ZARR)
    assert bool(np.isfinite(found.sst).any())


@pytest.mark.parametrize("name", ["raw.nc", "raw.zarr"])
@pytest.mark.parametrize("mode", ["w", "a"])
def test_what_was_opened_without_chunks_is_kept_from_its_file_too(
    raw: Path, ds: xr.Dataset, name: str, mode: str
) -> None:
    """Such data are read when they are needed, and remember where from."""
    path = raw / name
    how: dict[str, Any] = {"engine": "zarr", **ZARR} if name.endswith("zarr") else {}
    opened = xr.open_dataset(path, chunks=None, **how)
    model = opened["sst"].gpfill.fit(valid=ds["valid"], method="exact", progress=False)
    write = getattr(model.reconstruct(), "to_zarr" if name.endswith("zarr") else "to_netcdf")
    with pytest.raises(XgpfillError, match=r"The data come from .* whatever the mode.*raw_filled"):
        write(path, mode=mode)
    with pytest.raises(XgpfillError, match="The data come from"):
        model.save(path, mode="w")
    opened.close()
    with xr.open_dataset(path, **how) as again:
        assert set(again.data_vars) == {"sst", "truth"}


def test_stations_that_were_stacked_are_opened_from_nothing(ds: xr.Dataset) -> None:
    stations = ds.sst.stack(station=("lat", "lon")).isel(station=slice(0, 40, 4)).reset_index("station")
    assert sources_of(stations) == set()
