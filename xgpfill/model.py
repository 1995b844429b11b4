"""The fitted model: a learned covariance and its observations; reconstruct, predict, sample, save."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill import hyperparameters as tables
from xgpfill.engines.select import tile_capacity
from xgpfill.errors import AlignmentError, DataError, NoiseError, NotFittedError, listed
from xgpfill.grid.encode import Layout, encode
from xgpfill.grid.lattice import Lattice, Space
from xgpfill.kernels.prior import with_outside
from xgpfill.learning.blocks import nearest_known, observed_share
from xgpfill.options import canonical_sizes, checked_seed, progress_bar, resolve_device, show_progress
from xgpfill.results import Context, Reconstruction, decode
from xgpfill.tiling.assemble import lazy_member, member_trend, over_members, run_member, tile_moments
from xgpfill.tiling.messages import choose_features
from xgpfill.tiling.plan import message_terms, plan_tiles
from xgpfill.tiling.solve import TileSolver

if TYPE_CHECKING:
    from pathlib import Path

    from xgpfill.engines.settings import Settings
    from xgpfill.grid.scaling import Scaling
    from xgpfill.kernels.prior import Prior

KernelLike = Any
"""A kernel object, its name, a GPyTorch kernel, a function of two arrays, or None."""
Tile = str | Mapping[str, int]
Halo = str | int | Mapping[str, int]
SMALLEST_NOISE = 1e-8
"""Noise below this share of the variance of the data is raised to it, for the sake of rounding."""


@dataclass(frozen=True)
class Record:
    """How learning went.

    Attributes
    ----------
    seconds : float
    evaluations : int
        Of the likelihood; 0 when nothing was learned.
    log_likelihood : float
        Composite, per observation; NaN when nothing was learned.
    calibration : float
        What all variances were multiplied with so that left-out observations fall where they should.
    choice : str
        The engine and why it was chosen.
    """

    seconds: float = 0.0
    evaluations: int = 0
    log_likelihood: float = float("nan")
    calibration: float = 1.0
    choice: str = ""


@dataclass(frozen=True, eq=False)
class FittedModel:
    """A covariance that was learned and the observations it is conditioned on. Immutable; what ``fit`` returns.

    Attributes
    ----------
    prior : Prior
        The terms, in data units², days and km.
    settings : Exact or Variational
        The engine.
    record : Record
        How learning went.
    share : float
        Share of cells with an observation; on lazy data estimated while fitting.
    valid : bool DataArray, True or None
        Where the field exists, as it was given.
    errors : DataArray or None
        Standard errors of the observations.
    typical_error : float or None
        Their median, for places that have none.
    """

    prior: Prior
    scaling: Scaling
    settings: Settings
    lattice: Lattice
    layout: Layout
    options: dict[str, Any]
    record: Record
    share: float
    valid: xr.DataArray | bool | None = None
    errors: xr.DataArray | None = None
    typical_error: float | None = None
    has_data: bool = True
    learned_shape: tuple[int, int] = (0, 0)

    # What was learned

    @property
    def hyperparameters(self) -> xr.Dataset:
        """All hyperparameters in physical units; ``fit(hyperparameters=...)`` takes them back."""
        return tables.to_dataset(self.prior, self.lattice, self._units, noise_is_scale=self.errors is not None)

    @property
    def _units(self) -> str:
        return str(self.layout.template.attrs.get("units", ""))

    @property
    def _table(self) -> list[tuple[str, str, str, str]]:
        return tables.rows(self.prior, self.lattice, self._units, noise_is_scale=self.errors is not None)

    def _heading(self) -> str:
        name, sizes = self.layout.template.name, dict(self.layout.template.sizes)
        engine = type(self.settings).__name__.lower()
        return f"xgpfill.FittedModel of {name!r} {sizes}, {engine} engine, {self.lattice.space.geometry}"

    def _notes(self) -> list[str]:
        loose = tables.unidentified(self.prior, self.lattice)
        notes = [] if self.has_data else ["Loaded without data: `condition` it on observations first."]
        if abs(self.record.calibration - 1.0) >= 0.05:
            notes.append(f"Variances include a factor of {self.record.calibration:.2f}, calibrated on unseen blocks.")
        if loose:
            notes.append(
                f"Lengthscale beyond half the extent: variance and lengthscale not separately identified "
                f"({', '.join(loose)})."
            )
        return notes

    def __repr__(self) -> str:
        return "\n".join([self._heading(), tables.as_text(self._table), *self._notes()])

    def _repr_html_(self) -> str:
        from html import escape

        notes = "".join(f"<p>{escape(note)}</p>" for note in self._notes())
        return f"<div><b>{escape(self._heading())}</b>{tables.as_html(self._table)}{notes}</div>"

    # Other observations

    def condition(
        self, da: xr.DataArray, *, noise: xr.DataArray | None = None, valid: xr.DataArray | bool | None = None
    ) -> FittedModel:
        """The same covariance conditioned on other observations; nothing is learned.

        Parameters
        ----------
        da : DataArray
            On the fitted dimensions; other times, places and masks are welcome.
        noise : DataArray, optional
            Standard errors, needed when the model was fitted with them.
        valid : bool DataArray or True, optional
            Where the field exists; by default as in ``fit``, where it still lies on the same grid.

        Returns
        -------
        FittedModel

        Examples
        --------
        >>> import xgpfill, xarray as xr
        >>> ds = xgpfill.datasets.synthetic_sst(days=8, nlat=8, nlon=8)
        >>> model = ds.sst.gpfill.fit(valid=ds.valid, method="exact")
        >>> later = model.condition(ds.sst.isel(time=slice(4, 8)))
        """
        if not isinstance(da, xr.DataArray):
            raise DataError(
                f"`condition` got a {type(da).__name__}; expected a DataArray, e.g. `model.condition(ds['sst'])`."
            )
        if (noise is None) != (self.errors is None):
            raise NoiseError(
                "The model was fitted with standard errors; give those of the new data: `condition(da, noise=errors)`."
                if noise is None
                else "The model was fitted with one noise variance; leave `noise=` out."
            )
        kept = self._kept_valid(da) if valid is None else valid
        kept, noise = in_memory_as(da, kept), in_memory_as(da, noise)
        lattice, layout = encode(da, valid=kept, errors=noise, like=self.layout)
        self._require_learned_axes(lattice)
        lattice = within_valid(lattice)
        return replace(
            self, lattice=lattice, layout=layout, errors=noise, has_data=True,
            share=self.share if lattice.is_lazy else observed_share(lattice, 0),
            valid=kept, typical_error=typical(da, noise, self.typical_error),
        )  # fmt: skip

    def _kept_valid(self, da: xr.DataArray) -> xr.DataArray | bool | None:
        """What was said of the old data's cells, which must hold for the new ones too."""
        if not set(self.layout.roles.fitted) <= set(da.dims):
            return None  # which is refused for that reason
        if isinstance(self.valid, xr.DataArray) and not _same_grid(self.valid, da):
            raise AlignmentError(
                f"The `valid` that the model was fitted with, on {listed(self.valid.dims)}, does not lie on the grid "
                f"of the new data. Give theirs: `condition(da, valid=...)`, or `valid=True` if it exists everywhere."
            )
        return self.valid

    def _require_learned_axes(self, lattice: Lattice) -> None:
        """Refuse several times where learning saw one: nothing is known of how they go together."""
        for name, seen, found in (
            (f"step of {self.layout.roles.time!r}", self.learned_shape[0], lattice.time.size),
            ("place", self.learned_shape[1], lattice.space.size),
        ):
            if seen == 1 < found:
                raise AlignmentError(
                    f"The model was fitted on one {name}, so it knows nothing of how several go together, and the new "
                    f"data have {found}. Condition on one at a time, or fit on several."
                )

    # The field

    def reconstruct(
        self,
        *,
        include_noise: bool = False,
        variance: bool = True,
        tile: Tile | None = None,
        halo: Halo | None = None,
        progress: bool | None = None,
    ) -> Reconstruction:
        """Posterior mean and variance on every cell of the grid.

        Lazy when the data are lazy: nothing is computed until asked, output chunks equal input chunks, and mean
        and variance of a tile come from one task.

        Parameters
        ----------
        include_noise : bool
            False: the variance of the field itself (latent). True: of a new observation of it (observed).
        variance : bool
            Whether the variance is wanted.
        tile, halo : optional
            Override those of ``fit``.
        progress : bool, optional
            Show a bar over tiles; by default in an interactive terminal or notebook.

        Returns
        -------
        Reconstruction
            Unpacks as ``mean, variance``, in data units and units².
        """
        self._require_data()
        solver = self._solver(tile, halo)
        kind = "observed" if include_noise else "latent"
        field = self._field(solver, show_progress(progress))
        mean_data, noise = field[0], self._noise_variance()
        mean = self._decoded(mean_data)
        spread = None
        if variance:
            latent = field[1] ** 2
            extra = 0.0 if not include_noise else (noise if isinstance(noise, float) else self.layout.canonical(noise))
            spread = self._decoded(latent + extra, kind="variance", note=kind)
            if include_noise and self.errors is not None:
                spread.attrs["comment"] = "noise: where no standard error is known, that of the nearest known cell"
        return Reconstruction(mean, spread, Context(self.layout.template, noise, kind))

    def _field(self, solver: TileSolver, show: bool) -> Any:
        """Mean and standard deviation (2, extra..., time, y, x)."""
        lattice = self.lattice
        if lattice.is_lazy:
            import dask

            node = dask.delayed(solver, traverse=False)
            return over_members(
                lattice,
                lambda m: lazy_member(
                    node, solver, lattice.values[m], self._member_errors(m), work=tile_moments, leading=2
                ),
            )
        total = len(solver.plan) * max(1, int(np.prod(lattice.extra_shape)))
        with progress_bar("Reconstructing", show and total > 1, total=total) as step:
            return over_members(
                lattice, lambda m: run_member(solver, lattice.values[m], self._member_errors(m), step=step)
            )

    def _member_errors(self, member: tuple[int, ...]) -> Any:
        errors = self.lattice.errors
        if errors is None:
            return None
        return errors[tuple(0 if n == 1 else m for n, m in zip(errors.shape, member, strict=False))]

    def _decoded(self, data: Any, **kwargs: Any) -> xr.DataArray:
        return self.within_valid(decode(self.layout, data, **kwargs))

    def within_valid(self, da: xr.DataArray) -> xr.DataArray:
        """NaN where the field does not exist; dimensions, attributes and chunks as they were."""
        if not isinstance(self.valid, xr.DataArray):
            return da
        exists = self.valid.drop_vars([c for c in self.valid.coords if c not in self.valid.dims])
        masked = da.where(exists).transpose(*da.dims).assign_attrs(da.attrs)
        masked.encoding = da.encoding
        return masked if da.chunks is None else masked.chunk(dict(da.chunksizes))

    def _noise_variance(self) -> Any:
        """Noise variance in data units²: a number, or a DataArray when there are standard errors."""
        assert self.prior.noise is not None
        if self.errors is None:
            return float(self.prior.noise)
        errors = self.errors.drop_vars([c for c in self.errors.coords if c not in self.errors.dims])
        field = [d for d in errors.dims if d in self.layout.roles.fitted]
        errors = errors if errors.chunks is None else errors.chunk(dict.fromkeys(field, -1))  # nearest in any chunk
        known = xr.apply_ufunc(
            nearest_known, errors, self.typical_error, input_core_dims=[field, []], output_core_dims=[field],
            vectorize=True, keep_attrs=False, dask="parallelized", output_dtypes=[float],
        )  # fmt: skip
        whole = (known**2 * float(self.prior.noise)).broadcast_like(self.layout.template)
        whole = whole.transpose(*self.layout.template.dims)
        return whole if errors.chunks is None else whole.chunk(dict(self.layout.template.chunksizes))

    @property
    def filled(self) -> xr.DataArray:
        """The observed values with the gaps filled by the mean."""
        return self.reconstruct().filled  # type: ignore[no-any-return]

    @property
    def trend(self) -> xr.Dataset:
        """The constant mean with its standard error (data units), for each independent field."""
        self._require_data()
        solver = self._solver(None, None)
        found = [
            member_trend(solver, np.asarray(self.lattice.values[m]), self._member_errors(m))
            for m in self.lattice.members()
        ]
        table = np.array(found).reshape(*self.lattice.extra_shape, 2)
        dims = self.layout.roles.extra
        coords = {d: self.layout.template.coords[d] for d in dims if d in self.layout.template.coords}
        attrs = {"units": self._units} if self._units else {}
        return xr.Dataset(
            {
                "mean": (dims, self.scaling.physical(table[..., 0]), attrs),
                "mean_standard_error": (dims, table[..., 1] * self.scaling.scale, attrs),
            },
            coords=coords,
        )

    def predict(self, target: Any, *, include_noise: bool = False, covariance: bool = False) -> Any:
        """Posterior at other places and times.

        Parameters
        ----------
        target : Dataset, DataArray, or mapping of coordinate names to values
            Coordinates named as those of the data. Coordinates on their own dimensions give a grid; coordinates that
            share a dimension give points. What is left out is as in the data.
        include_noise : bool
            Add the noise variance.
        covariance : bool
            Return the mean and the joint covariance matrix instead, for up to 5,000 targets.

        Returns
        -------
        Reconstruction, or (mean, covariance) DataArrays
        """
        from xgpfill.prediction import predict

        self._require_data()
        return predict(self, target, include_noise=include_noise, covariance=covariance)

    def sample(
        self, n: int = 1, *, seed: int = 0, include_noise: bool = False, progress: bool | None = None
    ) -> xr.DataArray:
        """Coherent draws of the field given the data, by Matheron's rule (Wilson et al. 2021, eq. 9).

        Parameters
        ----------
        n : int
            Number of draws.
        seed : int
            Same seed, same draws, whatever the tiles.
        include_noise : bool
            Add noise to each draw.

        Returns
        -------
        DataArray (sample, ...)
            Data units; lazy when the data are lazy.
        """
        from xgpfill.prediction import sample

        self._require_data()
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
            raise DataError(f"n={n!r}: expected a positive number of samples, e.g. `model.sample(8, seed=1)`.")
        if "sample" in self.layout.template.dims:
            raise DataError("The data have a dimension 'sample' already. Rename it, e.g. `da.rename(sample='member')`.")
        return sample(self, int(n), checked_seed(seed), include_noise=include_noise, show=show_progress(progress))

    def save(self, path: str | Path, *, data: bool = True) -> None:
        """Write the model to ``.nc`` or ``.zarr``; read it with :func:`xgpfill.load`. See :func:`xgpfill.io.save`."""
        from xgpfill.io import save

        save(self, path, data=data)

    # Inside

    def _require_data(self) -> None:
        if not self.has_data:
            raise NotFittedError(
                "This model was loaded without data. Give it observations: `model.condition(da)`, then call this on "
                "the result."
            )

    def _solver(self, tile: Tile | None, halo: Halo | None) -> TileSolver:
        """What each tile needs, with the tiles planned for this lattice."""
        names = self.layout.axis_names
        tile = canonical_sizes(self.options["tile"] if tile is None else tile, names)
        halo = canonical_sizes(self.options["halo"] if halo is None else halo, names)
        key = repr((tile, halo))
        if key not in self._solvers:
            self._solvers[key] = self._planned(tile, halo)
        return self._solvers[key]

    @cached_property
    def _solvers(self) -> dict[str, TileSolver]:
        return {}

    def _planned(self, tile: Tile, halo: Halo) -> TileSolver:
        prior = self.prior.scaled(1 / self.scaling.scale**2)
        prior = replace(prior, noise=self._floored_noise(prior))
        plan = plan_tiles(
            self.lattice,
            prior,
            tile=tile,
            halo=halo,
            max_observations=tile_capacity(self.settings),
            observed_share=self.share,
        )
        features = None
        if len(plan) > 1:
            names = message_terms(self.lattice, prior, plan.shape)
            features = choose_features(self.lattice, prior, names, self.options["seed"])
        frame = replace(self.lattice, values=None, valid=None, errors=None)
        return TileSolver(
            frame, prior, self.scaling, self.settings, plan, features, self.options["device"], self.options["dtype"]
        )

    def _floored_noise(self, prior: Prior) -> float:
        assert prior.noise is not None
        return float(prior.noise) if self.errors is not None else max(float(prior.noise), SMALLEST_NOISE)


def load(path: str | Path, *, kernels: Mapping[str, Any] | None = None) -> FittedModel:
    """Read a saved model.

    Parameters
    ----------
    path : path
        What :meth:`FittedModel.save` wrote.
    kernels : mapping of name to kernel, optional
        The GPyTorch kernels and functions that the model was fitted with; files never hold them.

    Returns
    -------
    FittedModel
        One saved without data can only ``condition``.

    Raises
    ------
    FileFormatError
        When it is no such file, or of a newer format.
    KernelError
        When a kernel that was brought is not given back.

    Examples
    --------
    >>> import xgpfill
    >>> xgpfill.load("no-such-file.nc")
    Traceback (most recent call last):
    xgpfill.errors.FileFormatError: There is no file 'no-such-file.nc'. Give the path that `model.save(path)` wrote.
    """
    from xgpfill.io import read

    stored = read(path)
    parts, valid = stored.parts, stored.valid
    layout = Layout(stored.template, parts["roles"], parts["metric"], parts["clock"])
    if stored.has_data:
        everywhere = True if valid is None else valid
        lattice, layout = encode(stored.template, valid=everywhere, errors=stored.errors, like=layout)
        lattice = within_valid(lattice)
    else:
        space = Space(np.zeros((0, 0, 2)), layout.metric.geometry, layout.metric.unit)
        lattice = Lattice(values=None, time=np.zeros(0), space=space)
    return FittedModel(
        prior=with_outside(parts["prior"], kernels), scaling=parts["scaling"], settings=parts["settings"],
        lattice=lattice, layout=layout,
        options={**parts["options"], "device": resolve_device("auto")}, record=Record(**parts["record"]),
        share=parts["share"], valid=valid, errors=stored.errors, typical_error=parts["typical_error"],
        has_data=stored.has_data, learned_shape=parts["learned_shape"],
    )  # fmt: skip


def within_valid(lattice: Lattice) -> Lattice:
    """Values outside `valid` are gaps."""
    if lattice.valid is None:
        return lattice
    values, valid = lattice.values, lattice.valid
    if lattice.is_lazy:
        import dask.array as da

        return replace(lattice, values=da.where(valid, values, np.nan).rechunk(values.chunks))
    return replace(lattice, values=np.where(valid, values, np.nan))


def in_memory_as(da: xr.DataArray, field: Any) -> Any:
    """A lazy `valid` or `noise` of data in memory, loaded: numpy in, numpy out."""
    if isinstance(field, xr.DataArray) and field.chunks is not None and da.chunks is None:
        return field.compute()
    return field


def typical(da: xr.DataArray, errors: xr.DataArray | None, otherwise: float | None) -> float | None:
    """Median of standard errors in memory; lazy ones are not read for that."""
    return (
        otherwise
        if errors is None or errors.chunks is not None or da.chunks is not None
        else float(errors.where(da.notnull()).median())
    )


def _same_grid(valid: xr.DataArray, da: xr.DataArray) -> bool:
    """Whether every dimension of `valid` is one of the data, with the same labels."""
    try:
        xr.align(valid, da, join="exact", copy=False)
    except ValueError:
        return False
    return set(valid.dims) <= set(da.dims)
