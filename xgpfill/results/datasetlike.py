"""How a pair of fields behaves as the Dataset that they make: names, selection, chunks, and dask's protocol.

What the fields mean is told in :mod:`xgpfill.results.reconstruction`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, NoReturn, Self

import xarray as xr

from xgpfill.errors import VariableError, XgpfillError, listed, shown
from xgpfill.options import interruptible

Part = Any
"""A DataArray, a Dataset, a number, a mapping of names to these, or None."""

_NOT_CELL_BY_CELL = frozenset(
    ("coarsen", "cumprod", "cumsum", "cumulative", "diff", "differentiate", "integrate", "interp", "interp_like",
     "median", "polyfit", "prod", "quantile", "rank", "reduce", "rolling", "rolling_exp", "sum", "var", "weighted")
)  # fmt: skip
"""What makes new numbers of several cells, whose variances do not follow from those of the cells."""


class _NamesItsDataset(type):
    """Errors of functions of xarray, which take nothing but its own classes, name others: with what would be taken."""

    def __repr__(cls) -> str:
        return f"{super().__repr__()} (give its Dataset: `r.to_dataset()`)"


class DatasetLike(tuple[Any, Any], metaclass=_NamesItsDataset):
    """Two fields that unpack, and that are asked for, cut and computed as the Dataset of :meth:`to_dataset`.

    What a Dataset has and this has not is that of the Dataset: ``r.sizes``, ``r.lat``, ``r.to_dataframe()``.
    """

    # What it is made of, which subclasses say

    def to_dataset(self) -> xr.Dataset:
        """All fields as one Dataset."""
        raise NotImplementedError

    def _parts_known(self) -> tuple[Part, ...]:
        """Everything that has the dimensions of the fields."""
        raise NotImplementedError

    def _with_parts(self, parts: Iterable[Part]) -> Self:
        """The same with other parts."""
        raise NotImplementedError

    def _changed(self, change: Callable[[Any], Any]) -> Self:
        """The same with every field changed alike."""
        return self._with_parts([_applied(change, part) for part in self._parts_known()])

    # Names

    def __getitem__(self, key: Any) -> Any:
        """A variable or coordinate by name, several by a list of names; the two fields by 0 and 1."""
        if isinstance(key, int | slice) and not isinstance(key, bool):
            return super().__getitem__(key)
        if isinstance(key, Mapping):
            return self.isel(key)
        ds = self.to_dataset()
        try:
            return ds[key]
        except (KeyError, TypeError, ValueError):
            raise VariableError(
                f"There is no {shown(key)} in this reconstruction, which has {listed(ds.data_vars)} and the "
                f"coordinates {listed(ds.coords)}. Name one of these, or a list of them."
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self.to_dataset()

    def _ipython_key_completions_(self) -> list[Hashable]:
        return list(self.to_dataset().variables)

    def __dir__(self) -> list[str]:
        try:
            variables = list(map(str, self.to_dataset().variables))
        except XgpfillError:  # fields that no Dataset can hold
            variables = []
        names = {*super().__dir__(), *variables, *dir(xr.Dataset)} - {"index"} - _NOT_CELL_BY_CELL
        return sorted(name for name in names if name.isidentifier())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            cure = ": give functions of xarray its Dataset, `r.to_dataset()`" if hasattr(xr.Dataset, name) else ""
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{cure}")
        if name in _NOT_CELL_BY_CELL:
            return _refusal(name)
        try:
            ds = self.to_dataset()
        except XgpfillError as error:  # fields that no Dataset can hold
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}: {error}") from None
        if not hasattr(ds, name):
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}, nor has the Dataset of "
                f"{listed(ds.data_vars)}"
            )
        return getattr(ds, name)

    def count(self, *args: Any, **kwargs: Any) -> Any:
        """How many cells have a value; see :meth:`xarray.Dataset.count`."""
        return self.to_dataset().count(*args, **kwargs)

    def equals(self, other: Any) -> bool:
        """Whether another reconstruction, or a Dataset, holds the same; see :meth:`xarray.Dataset.equals`."""
        return bool(self.to_dataset().equals(_dataset_of(other)))

    def identical(self, other: Any) -> bool:
        """Whether names and attributes are the same too; see :meth:`xarray.Dataset.identical`."""
        return bool(self.to_dataset().identical(_dataset_of(other)))

    def _no_arithmetic(self, *_: object, **__: object) -> NoReturn:
        raise XgpfillError(
            f"A {type(self).__name__} is a mean and a variance, which do not change alike. Type what is meant, e.g. "
            f"`mean, variance = r` and `mean - 273.15`; functions that take a Dataset are given `r.to_dataset()`."
        )

    __add__ = __radd__ = __sub__ = __rsub__ = __pow__ = __rpow__ = __neg__ = __abs__ = _no_arithmetic
    __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __array__ = _no_arithmetic
    __lt__ = __le__ = __gt__ = __ge__ = _no_arithmetic

    # Selection

    def sel(
        self, indexers: Mapping[Any, Any] | None = None, method: str | None = None, tolerance: Any = None,
        drop: bool = False, **labels: Any,
    ) -> Self:  # fmt: skip
        """Select cells by label, of all fields alike; see :meth:`xarray.Dataset.sel`."""
        return self._changed(lambda field: field.sel(indexers, method, tolerance, drop, **labels))

    def isel(
        self, indexers: Mapping[Any, Any] | None = None, drop: bool = False, missing_dims: Any = "raise", **places: Any
    ) -> Self:
        """Select cells by position, of all fields alike; see :meth:`xarray.Dataset.isel`."""
        return self._changed(lambda field: field.isel(indexers, drop, missing_dims, **places))

    def transpose(self, *dims: Any) -> Self:
        """All fields with their dimensions in another order; see :meth:`xarray.Dataset.transpose`."""

        def turned(field: Any) -> Any:
            corners = [d for d in field.dims if d not in self[0].dims]  # of the bounds of coordinates
            return field.transpose(*dims, *(corners if dims and ... not in dims else ()))

        return self._changed(turned)

    # Lazy and in memory

    def chunk(self, chunks: Any = "auto", **sizes: Any) -> Self:
        """All fields in chunks of these sizes; see :meth:`xarray.Dataset.chunk`. Tiles stay as they are."""
        wanted = chunks if not sizes else {**(chunks if isinstance(chunks, Mapping) else {}), **sizes}
        return self._changed(lambda field: field.chunk(wanted))

    @interruptible
    def compute(self, **kwargs: Any) -> Self:
        """Evaluate mean and variance together, each tile once, and read the data they come from with them."""
        import dask

        return self._with_parts(dask.compute(*self._parts_known(), **kwargs))

    @interruptible
    def persist(self, **kwargs: Any) -> Self:
        """Evaluate the same together and keep it on the workers."""
        import dask

        return self._with_parts(dask.persist(*self._parts_known(), **kwargs))

    @interruptible
    def load(self, **kwargs: Any) -> Self:
        """Evaluate as :meth:`compute`, into this same object and its two fields; the user's data stay as they are."""
        known = self.compute(**kwargs)
        for lazy, found in zip(self, known, strict=True):
            for name in getattr(lazy, "data_vars", ()):
                lazy[name].variable.data = found[name].data
            if isinstance(lazy, xr.DataArray):
                lazy.data = found.data
        self.__dict__.update(known.__dict__)
        return self

    def _lazy(self) -> list[Any]:
        import dask

        return [leaf for part in self._parts_known() for leaf in _leaves(part) if dask.is_dask_collection(leaf)]

    def __dask_graph__(self) -> Any:
        from dask.highlevelgraph import HighLevelGraph

        lazy = self._lazy()
        return HighLevelGraph.merge(*(part.__dask_graph__() for part in lazy)) if lazy else None

    def __dask_keys__(self) -> list[Any]:
        return [part.__dask_keys__() for part in self._lazy()]

    def __dask_layers__(self) -> tuple[str, ...]:
        return tuple(layer for part in self._lazy() for layer in part.__dask_layers__())

    def __dask_tokenize__(self) -> Any:
        from dask.base import normalize_token

        return type(self), [normalize_token(part) for part in self._parts_known()]

    @property
    def __dask_optimize__(self) -> Any:
        import dask.array as da

        return da.Array.__dask_optimize__

    @property
    def __dask_scheduler__(self) -> Any:
        import dask.array as da

        return da.Array.__dask_scheduler__

    def __dask_postcompute__(self) -> tuple[Any, tuple[()]]:
        def finished(results: Any) -> DatasetLike:
            made = [part.__dask_postcompute__() for part in self._lazy()]
            return self._with_lazy([f(result, *args) for (f, args), result in zip(made, results, strict=True)])

        return finished, ()

    def __dask_postpersist__(self) -> tuple[Any, tuple[()]]:
        def rebuilt(graph: Any, *, rename: Any = None) -> DatasetLike:
            made = [part.__dask_postpersist__() for part in self._lazy()]
            kwargs = {"rename": rename} if rename else {}
            return self._with_lazy([f(graph, *args, **kwargs) for f, args in made])

        return rebuilt, ()

    def _with_lazy(self, found: list[Any]) -> Self:
        """The same with the parts that were lazy replaced in turn."""
        import dask

        rest = iter(found)
        return self._changed(lambda field: next(rest) if dask.is_dask_collection(field) else field)


def _leaves(part: Part) -> list[Any]:
    """The fields and numbers in a part, as :func:`_applied` comes to them."""
    return list(part.values()) if isinstance(part, dict) else [part]


def _applied(change: Callable[[Any], Any], part: Part) -> Part:
    """A change of the fields in a part; numbers stay."""
    if isinstance(part, xr.DataArray | xr.Dataset):
        return change(part)
    if isinstance(part, dict):
        return {name: _applied(change, field) for name, field in part.items()}
    return part


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refused(*_: Any, **__: Any) -> NoReturn:
        raise XgpfillError(
            f"`{name}` makes one number of several cells, whose variance does not follow from theirs. For means with "
            f"their true standard deviation type `r.average(dims, weights=...)` or `r.resample(time='MS').mean()`; for "
            f"the numbers alone, `r.to_dataset().{name}(...)`."
        )

    return refused


def _dataset_of(other: Any) -> Any:
    """The Dataset that two fields make; anything else as it is."""
    return other.to_dataset() if isinstance(other, DatasetLike) else other
