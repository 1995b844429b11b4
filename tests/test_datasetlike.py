"""A reconstruction is asked for, cut and computed like a Dataset, and still unpacks."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import pytest
import xarray as xr
import xgpfill
from xgpfill.errors import VariableError, XgpfillError

if TYPE_CHECKING:
    from xgpfill.model import FittedModel


@pytest.fixture(scope="module")
def found(model: FittedModel) -> xgpfill.Reconstruction:
    return model.reconstruct()


@pytest.fixture
def lazy(ds: xr.Dataset, model: FittedModel) -> xgpfill.Reconstruction:
    return model.condition(ds.sst.chunk(time=3)).reconstruct()


@pytest.fixture
def several(ds: xr.Dataset, model: FittedModel) -> xgpfill.Reconstruction:
    pair = xr.Dataset({"a": ds.sst, "b": 2 * ds.sst}).chunk(time=3)
    known = {"hyperparameters": {"a": model.hyperparameters, "b": model.hyperparameters}, "method": "exact"}
    return pair.gpfill.fit(variable=["a", "b"], valid=ds.valid, **known).reconstruct()


# Names


def test_fields_and_coordinates_are_found_by_name(found: xgpfill.Reconstruction) -> None:
    out = found.to_dataset()
    for name in ("sst", "sst_variance", "sst_std", "lat"):
        xr.testing.assert_identical(found[name], out[name])
        xr.testing.assert_identical(getattr(found, name), out[name])
        assert name in found
    assert "truth" not in found
    xr.testing.assert_identical(found[["sst", "sst_std"]], out[["sst", "sst_std"]])
    assert found.sizes == out.sizes and list(found.data_vars) == list(out) and list(found.keys()) == list(out)
    xr.testing.assert_identical(xr.Dataset(dict(found)), out.drop_attrs(deep=False))


def test_it_still_unpacks_and_counts_as_two(found: xgpfill.Reconstruction) -> None:
    mean, variance = found
    assert (mean is found[0]) and (variance is found[1]) and len(found) == 2 and found[:1] == (mean,)


def test_what_is_not_there_is_named_with_what_is(found: xgpfill.Reconstruction) -> None:
    with pytest.raises(VariableError, match=r"no 'truth' in this reconstruction, which has 'sst', 'sst_variance'"):
        _ = found["truth"]
    with pytest.raises(AttributeError, match=r"no attribute 'truth', nor has the Dataset of 'sst'"):
        _ = found.truth


def test_a_notebook_completes_names_of_fields_and_verbs_of_datasets(found: xgpfill.Reconstruction) -> None:
    assert {"sst", "sst_std", "lat", "to_dataframe", "sel", "score"} <= set(dir(found))
    assert "index" not in dir(found)
    assert set(found._ipython_key_completions_()) == set(found.to_dataset().variables)


def test_other_verbs_are_those_of_the_dataset(found: xgpfill.Reconstruction) -> None:
    xr.testing.assert_identical(found.max("time"), found.to_dataset().max("time"))
    xr.testing.assert_identical(found.count(), found.to_dataset().count())


@pytest.mark.parametrize("verb", ["sum", "median", "rolling", "coarsen"])
def test_numbers_whose_variance_does_not_follow_are_refused_with_the_calls_that_work(found, verb: str) -> None:
    with pytest.raises(XgpfillError, match=rf"`{verb}` makes one number.*r\.average\(.*r\.to_dataset\(\)\.{verb}"):
        getattr(found, verb)("time")


def test_arithmetic_with_the_pair_is_refused(found: xgpfill.Reconstruction) -> None:
    changes = (lambda r: r * 2, lambda r: 2 * r, lambda r: r - 273.15, lambda r: r + r, lambda r: r / 2)
    others = (lambda r: -r, lambda r: r > 3, lambda r: r.mean - r, np.exp, np.asarray)
    for change in (*changes, *others):
        with pytest.raises(XgpfillError, match=r"a mean and a variance, which do not change alike. Type .*`mean - 273"):
            change(found)


def test_a_field_called_as_its_coordinate_makes_no_dataset_and_is_shown_all_the_same(found) -> None:
    odd = xgpfill.Reconstruction(found.mean.rename("lat"), found.variance.rename("lat_variance"), found.context)
    assert not hasattr(odd, "sizes") and "std" in dir(odd) and odd._repr_html_()
    with pytest.raises(AttributeError, match=r"no attribute 'sizes': The field has the name of its own coordinate"):
        _ = odd.sizes


def test_functions_of_xarray_take_the_dataset_and_say_so_of_the_pair(ds: xr.Dataset, found) -> None:
    early, late = found.isel(time=slice(4)).to_dataset(), found.isel(time=slice(4, None)).to_dataset()
    for both in (xr.concat([early, late], "time"), xr.combine_by_coords([late, early])):
        xr.testing.assert_equal(both, found.to_dataset())
    assert list(xr.merge([found.to_dataset(), ds[["truth"]]])) == ["sst", "sst_variance", "sst_std", "truth"]
    assert list(xr.merge(found)) == ["sst", "sst_variance"]
    with pytest.raises(TypeError, match=r"only .*Dataset\(s\), DataArray\(s\).*a Dataset: `r\.to_dataset\(\)`"):
        xr.merge([found])
    cure = r"Reconstruction'> \(give its Dataset: `r\.to_dataset\(\)`\)"
    with pytest.raises(TypeError, match=rf"only concatenate xarray Dataset and DataArray objects, got .*{cure}"):
        xr.concat([found, found], "time")
    with pytest.raises(TypeError, match=rf"received type .*{cure}"):
        xr.save_mfdataset([found], ["out.nc"])


@pytest.mark.parametrize("verb", [xr.align, xr.broadcast], ids=["align", "broadcast"])
def test_functions_that_bring_fields_together_say_what_they_are_to_be_given(ds, found, verb: Any) -> None:
    with pytest.raises(AttributeError, match=r"give functions of xarray its Dataset, `r\.to_dataset\(\)`"):
        verb(ds.truth, found)
    assert verb(ds.truth, found.to_dataset())[1].equals(found.to_dataset())
    with pytest.raises(AttributeError, match=r"no attribute '_nothing'$"):
        _ = found._nothing


# Selection


def test_selections_are_reconstructions_of_the_cells_selected(ds: xr.Dataset, found: xgpfill.Reconstruction) -> None:
    days = {"time": slice("2021-04-16", "2021-04-18")}
    for part in (found.sel(days), found.isel(time=slice(1, 4)), found[{"time": slice(1, 4)}]):
        assert type(part) is xgpfill.Reconstruction
        xr.testing.assert_identical(part.to_dataset(), found.to_dataset().sel(days))
        xr.testing.assert_identical(part.filled, found.filled.sel(days))
        expected = found.score(ds.truth, dim=("lat", "lon")).sel(days)
        xr.testing.assert_allclose(part.score(ds.truth.sel(days), dim=("lat", "lon")), expected)
    assert found.sel(lat=40, method="nearest").std().dims == ("time", "lon")
    assert found.transpose("lon", ...).variance.dims == ("lon", "time", "lat")


def test_a_selection_of_several_variables_is_one_of_each(several: xgpfill.Reconstruction) -> None:
    part = several.isel(time=0)
    assert list(part.mean) == ["a", "b"] and list(part.variance) == ["a_variance", "b_variance"]
    assert part.sizes == {"lat": 8, "lon": 9}


# Lazy and in memory


def test_dask_takes_it_as_one_collection(found: xgpfill.Reconstruction, lazy: xgpfill.Reconstruction) -> None:
    assert dask.is_dask_collection(lazy) and not dask.is_dask_collection(found)
    (persisted,) = dask.persist(lazy)
    (optimized,) = dask.optimize(lazy)
    (computed,) = dask.compute(lazy)
    for made in (persisted, optimized, computed):
        assert type(made) is xgpfill.Reconstruction
        xr.testing.assert_allclose(made.to_dataset().compute(), found.to_dataset())
    assert dask.is_dask_collection(persisted) and not dask.is_dask_collection(computed)
    assert not dask.is_dask_collection(computed.observed)
    assert dask.base.tokenize(lazy) == dask.base.tokenize(lazy)
    assert found.compute() is not found and dask.compute(found)[0] is found


def test_dask_computes_several_variables_together(several: xgpfill.Reconstruction) -> None:
    (computed,) = dask.compute(several)
    assert not dask.is_dask_collection(computed)
    np.testing.assert_allclose(computed.mean.b, 2 * computed.mean.a, rtol=0.2)


def test_load_fills_the_same_object_and_leaves_the_data_lazy(ds: xr.Dataset, model: FittedModel) -> None:
    data = ds.sst.chunk(time=3)
    found = model.condition(data).reconstruct()
    mean, variance = found
    assert found.load() is found
    for part in (found, mean, variance, found.observed):
        assert not dask.is_dask_collection(part)
    assert dask.is_dask_collection(data)


def test_load_fills_several_variables(several: xgpfill.Reconstruction) -> None:
    mean, _ = several.load()
    assert not dask.is_dask_collection(mean) and not dask.is_dask_collection(several)


def test_chunks_can_be_changed(found: xgpfill.Reconstruction, lazy: xgpfill.Reconstruction) -> None:
    assert found.chunk(time=4).mean.chunks == found.chunk({"time": 4}).variance.chunks == ((4, 4), (8,), (9,))
    assert lazy.chunk({"time": -1}).chunksizes["time"] == (8,)


def test_a_lazy_one_says_how_to_solve_once(found, lazy) -> None:
    assert "lazy: to solve once, `r = r.compute()` or `r.persist()`" in repr(lazy)
    assert "lazy" not in repr(found)


@pytest.mark.parametrize("duplicate", [lambda r: pickle.loads(pickle.dumps(r)), copy.copy, copy.deepcopy])
def test_copies_behave_alike(lazy: xgpfill.Reconstruction, duplicate: Any) -> None:
    assert duplicate(lazy).isel(time=0).sizes == {"lat": 8, "lon": 9}


def test_it_equals_itself_and_the_dataset_that_it_makes(found: xgpfill.Reconstruction) -> None:
    assert found.equals(found)
    assert found.identical(found.to_dataset())
    assert not found.equals(found.isel(time=slice(1, None)))
    assert not found.equals(found.to_dataset() + 1.0)
