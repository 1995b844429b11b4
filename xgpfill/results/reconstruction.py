"""What a reconstruction is: a mean and a variance that unpack, and all that may be asked of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import xarray as xr

from xgpfill.errors import DataError, XgpfillError, shown
from xgpfill.options import interruptible
from xgpfill.report import report
from xgpfill.results.attributes import suffixed
from xgpfill.results.estimate import OF_EACH, Estimate
from xgpfill.results.grouping import Grouped, Groups
from xgpfill.results.nearness import as_days, as_length
from xgpfill.results.pictures import Pictures

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence
    from pathlib import Path

    from xgpfill.metrics.averaging import Dim
    from xgpfill.results.estimate import Field


class Reconstruction(Estimate):
    """Mean and variance of the field; unpacks as ``mean, variance = model.reconstruct()``.

    Beside that it behaves as the Dataset of :meth:`to_dataset`: ``r["sst_std"]``, ``r.sel(time="2011-02")``, ``r.lat``,
    ``r.load()``, ``dask.compute(r)``. Selections are reconstructions again. Both fields come from the same tasks, so
    evaluate them together: :meth:`compute`, :meth:`persist`, :meth:`to_zarr`.

    Functions of xarray, which take nothing but their own classes, are given that Dataset: ``xr.merge([r.to_dataset(),
    other])``, ``xr.concat([a.to_dataset(), b.to_dataset()], "time")``, ``xr.align``, ``xr.combine_by_coords`` too.

    Attributes
    ----------
    mean : DataArray or Dataset
        In data units.
    variance : DataArray or Dataset, or None
        In data units², latent or observed as its attr ``variance_kind`` says; None when it was not asked for.
    """

    @classmethod
    def paired(cls, parts: Mapping[Hashable, Self]) -> Self:
        """Reconstructions of several variables as one of Datasets."""
        mean = xr.Dataset({n: r.mean for n, r in parts.items()})
        first = next(iter(parts.values()))
        variance = (
            None
            if first.variance is None
            else xr.Dataset({suffixed(n, "variance"): r.variance for n, r in parts.items()})
        )
        observed = xr.Dataset({n: r.context.observed for n, r in parts.items()})
        each: dict[str, Any] = {
            what: {n: getattr(r.context, what) for n, r in parts.items()} for what in OF_EACH if what != "observed"
        }
        if first.context.averager is None:
            each["averager"] = None
        if all(found is None for found in each["intervals"].values()):
            each["intervals"] = None
        sources = frozenset().union(*(r.context.sources for r in parts.values()))
        return cls(mean, variance, replace(first.context, observed=observed, sources=sources, **each))

    @property
    def plot(self) -> Pictures:
        """Pictures: ``.comparison(truth, time=...)``, ``.map()``, ``.facets()``, ``.series(sel=...)``."""
        return Pictures(self)

    @interruptible
    def near_data(
        self, *, where_sd_below: float | None = None, max_gap: Any = None, max_distance: float | None = None
    ) -> Self:
        """The same with cells that are far from all data left empty: NaN in the mean, the variance, and what follows.

        What was observed stays. All conditions that are given must hold.

        Parameters
        ----------
        where_sd_below : float, optional
            The largest standard deviation, data units, of the kind that the variance is.
        max_gap : float (days), text or timedelta, optional
            How far in time an observation of the same place may be, e.g. ``"10D"``; with `max_distance` one of a place
            within that: (time / max_gap)² + (distance / max_distance)² ≤ 1.
        max_distance : float, optional
            How far the place of an observation may be, in km (or the unit of a plane), at any time without `max_gap`.

        Raises
        ------
        DataError
            When nothing is given, or it is no positive number.

        Examples
        --------
        >>> import xgpfill
        >>> ds = xgpfill.datasets.synthetic_sst(days=8, nlat=8, nlon=8)
        >>> found = ds.sst.gpfill.fit(valid=ds.valid, method="exact").reconstruct()
        >>> kept = found.near_data(max_gap="2D", max_distance=100.0).mean.notnull()
        >>> bool(kept.where(ds.sst.notnull(), True).all())
        True
        """
        sd = as_length(where_sd_below, "where_sd_below", "0.5")
        days, distance = as_days(max_gap), as_length(max_distance, "max_distance", "200.0")
        if sd is None and days is None and distance is None:
            raise DataError(
                "near_data() was given no limit. Type one, e.g. `r.near_data(max_distance=200.0)` (km), "
                "`max_gap='10D'` or `where_sd_below=0.5` (data units)."
            )

        kept = self._each(lambda name: self._kept(name, sd, days, distance))
        mean, variance, noise, observed, positions = self._parts_known()
        mean, variance = (None if field is None else _only(field, kept, mean) for field in (mean, variance))
        found = self._with_parts((mean, variance, noise, observed, positions))
        return type(self)(found.mean, found.variance, replace(found.context, averager=None))

    def _kept(
        self, name: Hashable | None, sd: float | None, days: float | None, distance: float | None
    ) -> xr.DataArray:
        """Which cells of one variable are near data, or observed."""
        mean, observed = self._seen(name)
        near = xr.ones_like(mean, dtype=bool)
        if sd is not None:
            near = near & (self._parts(name)[1] <= sd**2)
        if days is not None or distance is not None:
            nearness, positions = self.context.nearness, self.context.positions
            if nearness is None:
                raise XgpfillError(
                    "Where the data of these cells are is not known here: they are averages already. Leave cells empty "
                    "before: `model.reconstruct().near_data(...)`."
                )
            if name is not None:
                nearness, positions = nearness[name], positions[name]
            near = near & nearness(positions, days, distance).drop_vars(list(near.coords), errors="ignore")
        return (near | observed.notnull()).transpose(*mean.dims).drop_attrs()

    @interruptible
    def average(self, dims: Dim = None, weights: xr.DataArray | str | None = None) -> Reconstruction:
        """Average over dimensions, with the true variance of the average: errors of cells go together.

        It takes one solve for each average, of all observations together; where memory does not hold that, draws, as
        the attribute ``comment`` of the variance says. Of a selection it is the average of the cells selected; of
        predictions, of up to 5,000 targets.

        Parameters
        ----------
        dims : names, optional
            Averaged over; all by default.
        weights : DataArray, "area" or "cos_lat", optional
            Weights of the cells, zero or NaN where they do not count; "area": their areas, as
            :func:`xgpfill.metrics.area_weights` tells them; "cos_lat": the cosine of their latitude. Cells where the
            field does not exist never count.

        Returns
        -------
        Reconstruction
            Of the same kind of variance; float64.

        Raises
        ------
        MethodError
            When there are more averages, or targets of predictions, than can be solved for.
        XgpfillError
            When these are averages already.

        Examples
        --------
        >>> import xgpfill
        >>> ds = xgpfill.datasets.synthetic_sst(days=8, nlat=8, nlon=8)
        >>> found = ds.sst.gpfill.fit(valid=ds.valid, method="exact").reconstruct()
        >>> found.sel(lat=slice(36, 40)).average(("lat", "lon"), weights="cos_lat").std().dims
        ('time',)
        """
        return self._averaged(dims, weights)

    def resample(self, freq: str | None = None, **how: str) -> Grouped:
        """Form periods of time, ``r.resample(time="MS").mean(("lat", "lon"))``: as :meth:`average`, of each."""
        call = f"resample({shown(freq) if freq is not None else ', '.join(f'{k}={v!r}' for k, v in how.items())})"
        return Grouped(self._averaged, lambda field: Groups.resampled(field, freq, how), call)

    def groupby(self, group: Any) -> Grouped:
        """Form groups along a dimension, ``r.groupby("time.month").mean("lat")``: as :meth:`average`, of each."""
        return Grouped(self._averaged, lambda field: Groups.by(field, group), f"groupby({shown(group)})")

    def _averaged(self, dims: Any, weights: Any, form: Any = None) -> Reconstruction:
        known = self.context
        if known.averager is None:
            raise XgpfillError(
                "How the errors of these cells go together is not known here: they are averages already, or some were "
                "left empty. Average the reconstruction, over all dimensions at once: "
                "`model.reconstruct().average(dims)`."
            )

        def one(field: xr.DataArray, averager: Any, positions: Any) -> Reconstruction:
            groups = () if form is None else (form(field),)
            return averager(field, positions, dims, weights, *groups)  # type: ignore[no-any-return]

        if isinstance(self.mean, xr.Dataset):
            names = self.mean.data_vars
            return self.paired({n: one(self.mean[n], known.averager[n], known.positions[n]) for n in names})
        return one(self.mean, known.averager, known.positions)

    @interruptible
    def report(
        self,
        path: str | Path,
        truth: Field | None = None,
        *,
        frames: int | slice | Sequence[int] | None = None,
        model: Any = None,
        title: str | None = None,
        progress: bool | None = None,
    ) -> None:
        """Write a report as PDF or HTML: settings, description, covariance, scores, and a page for each frame.

        It is written whole or not at all. Lazy fields are evaluated once, tile by tile, into a temporary folder beside
        `path`; pages are drawn one at a time, so hundreds of frames need no more memory than a few.

        Parameters
        ----------
        path : path
            Ending in ``.pdf`` or ``.html``.
        truth : DataArray (or Dataset when several variables were fitted), optional
            On the same grid, data units: adds the error of every frame, and scores.
        frames : int, slice or positions, optional
            Which frames get a page: every one by default, a number of evenly spaced ones, or those named.
        model : FittedModel, optional
            Needed only for a reconstruction that does not know its model.
        title : str, optional
        progress : bool, optional
            Show a bar over pages.

        Raises
        ------
        XgpfillError
            When `path` is no place for a report, `truth` does not align, or there is no variance.

        Examples
        --------
        >>> import xgpfill, tempfile, pathlib, matplotlib
        >>> matplotlib.use("Agg")
        >>> ds = xgpfill.datasets.synthetic_sst(days=4, nlat=6, nlon=8)
        >>> found = ds.sst.gpfill.fit(valid=ds.valid, method="exact").reconstruct()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found.report(pathlib.Path(folder) / "sst.html", ds.truth, frames=1)
        ...     [file.name for file in pathlib.Path(folder).iterdir()]
        ['sst.html']
        """
        report(self, path, truth, frames=frames, model=model, title=title, progress=progress)


def _only(field: Field, kept: Any, mean: Field) -> Field:
    """A field, or a Dataset of them in the order of those of `mean`, with NaN elsewhere."""

    def one(da: xr.DataArray, mask: xr.DataArray) -> xr.DataArray:
        found = da.where(mask).assign_attrs(da.attrs)
        found.encoding = dict(da.encoding)
        return found

    if isinstance(field, xr.Dataset):
        pairs = zip(field.data_vars, mean.data_vars, strict=True)
        return xr.Dataset({own: one(field[own], kept[name]) for own, name in pairs})
    return one(field, kept)
