"""Fitting: from a gappy DataArray and a prior's description to a FittedModel."""

from __future__ import annotations

import logging
import time as clock_time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.barriers.reading import read_barrier, require_afloat, require_one_tile
from xgpfill.cf.fills import check_fills, check_range, declared_range
from xgpfill.checks import checked_flag, known_mean, require_array
from xgpfill.covariance.check import check_outside
from xgpfill.engines.select import settings_for
from xgpfill.errors import DataError, NoiseError, shown, warn
from xgpfill.files import sources_of
from xgpfill.following.latitudes import resolve_latitudes
from xgpfill.following.places import as_asked, asked_for, require_apart, require_learning
from xgpfill.grid.scaling import Scaling
from xgpfill.grid.vertical.profile import Profile
from xgpfill.kernels import hyperparameters as tables
from xgpfill.kernels.levels.spec import DEFAULT, as_depth_kernel, require_fitted
from xgpfill.kernels.levels.terms import with_depth
from xgpfill.kernels.parts import is_directional
from xgpfill.kernels.prior import Prior, build_prior, ordered, resolve_brownian
from xgpfill.kernels.spec import as_kernel
from xgpfill.layout.companions import as_mask, in_memory_as, note_noise, read_noise, require_inside, within_valid
from xgpfill.layout.encode import Coords, Dims, encode
from xgpfill.learning.blocks import BlockPlan, distinct, draw_blocks, observed_share
from xgpfill.learning.samples import in_memory_if_small, values_of_fields, values_of_levels
from xgpfill.learning.steps import Course, Rules
from xgpfill.model import FittedModel
from xgpfill.options import (
    canonical_sizes,
    checked_dtype,
    checked_seed,
    plain_sizes,
    progress_bar,
    resolve_device,
    show_progress,
)
from xgpfill.posterior.state import Halo, Record, Tile
from xgpfill.results.fields import with_fields_of, with_levels_of
from xgpfill.settings import Exact, Settings, Variational, as_settings, require_affordable
from xgpfill.tiling.views.halo import check_tiles
from xgpfill.tiling.views.screening import distances_where_large

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xgpfill.arrays import FloatArray
    from xgpfill.grid.lattice import Lattice
    from xgpfill.grid.points import Observations
    from xgpfill.layout.encode import Layout

AUTO = "auto"
_log = logging.getLogger(__name__)


def fit(
    da: xr.DataArray,
    *,
    dims: Dims = None,
    coords: Coords = None,
    time_kernel: Any = "matern32",
    space_kernel: Any = "matern32",
    depth_kernel: Any = DEFAULT,
    combine: str | None = None,
    scales: int = 2,
    noise: float | xr.DataArray | None = None,
    noise_std: float | xr.DataArray | None = None,
    noise_variance: float | xr.DataArray | None = None,
    noise_fixed: bool | None = None,
    trend: float | str | None = "constant",
    method: str | Settings = "auto",
    geometry: str = "auto",
    anisotropy: bool | float | None = None,
    valid: xr.DataArray | bool | None = None,
    barrier: xr.DataArray | None = None,
    hyperparameters: xr.Dataset | None = None,
    tile: Tile = "auto",
    halo: Halo = "auto",
    check: str = "blocks",
    amplitude: bool = True,
    calibrate: bool = True,
    device: str = "auto",
    dtype: str = "float64",
    seed: int = 0,
    progress: bool | None = None,
) -> FittedModel:
    """Learn the covariance of a gappy field and condition on it; see :meth:`xgpfill.accessor.DataArrayAccessor.fit`."""
    began = clock_time.perf_counter()
    require_array(da, "fit")
    opened = sources_of(da, noise, noise_std, noise_variance, valid, barrier)  # before anything is read
    show = show_progress(progress)
    settings, mean = as_settings(method), known_mean(trend)
    amplitude, calibrate = checked_flag(amplitude, "amplitude"), checked_flag(calibrate, "calibrate")
    options: dict[str, Any] = {
        "device": resolve_device(device), "dtype": checked_dtype(dtype), "seed": checked_seed(seed),
        "calibrate": calibrate,
    }  # fmt: skip
    named = {"time": time_kernel, "space": space_kernel, "depth": depth_kernel}
    auto = tuple(axis for axis, kernel in named.items() if _is_auto(kernel))
    kernels = named | dict.fromkeys(auto, "matern32")
    directional = is_directional(as_kernel(kernels["space"]))
    ratio = asked_for(anisotropy, kernels["space"], hyperparameters)
    alias, noise = noise, read_noise(noise, noise_std, noise_variance)
    valid, noise = as_mask(in_memory_as(da, valid)), in_memory_as(da, noise)
    errors = noise if isinstance(noise, xr.DataArray) else None
    _checked_first(da, check)
    how: dict[str, Any] = {"geometry": geometry, "directional": directional, "valid": valid, "errors": errors}
    lattice, layout = encode(da, dims=dims, coords=coords, **how)
    require_fitted(depth_kernel, dims, layout.roles.depth)
    require_apart(ratio, kernels["space"], barrier, layout.roles.depth)
    if ratio is not None:
        lattice, layout = as_asked(da, lattice, layout, ratio, geometry=geometry, how=how)
    if dims is None and (said := layout.fields_in_words()):
        warn(said)
    lattice = replace(lattice, barrier=read_barrier(barrier, layout, lattice.space))
    require_one_tile(lattice.barrier, tile, halo)
    whole, lattice = lattice, within_valid(lattice)
    read = in_memory_if_small(whole)
    known = lattice if read is whole else within_valid(read)
    if read is not whole and read.valid is not None:
        require_inside(read.values, read.valid)
    share = observed_share(whole if known.is_lazy else known, options["seed"])
    sizes = {"tile": tile, "halo": halo}
    options |= {key: plain_sizes(canonical_sizes(key, size, layout.axis_names)) for key, size in sizes.items()}
    check_tiles(lattice, options["tile"], options["halo"])
    blocks = draw_blocks(known, BlockPlan(), options["seed"])
    observed = values_of_fields(known, blocks, options["seed"])
    require_afloat(lattice.barrier, blocks)
    if lattice.is_lazy:
        _require_values(da, lattice, blocks if known.is_lazy else [], observed)
    count, parts = round(share * float(np.prod(lattice.shape))), _parts(layout)
    prior = _terms(lattice, kernels, combine, scales, vector=parts.startswith("vector"))
    choice = settings_for(settings, count, lattice, prior, parts)
    if isinstance(choice.settings, Exact) and options["tile"] == "auto" and hyperparameters is None:
        require_affordable(choice.settings, count)
    check_outside(prior, lattice, options["seed"])
    prior = _told_of(prior, lattice, layout)
    prior = replace(_with_noise(prior, noise, noise_fixed), centred=prior.centred or mean is not None)
    given = prior.is_given and hyperparameters is None
    require_learning(ratio, given=given)
    scaling = _units(da, observed, prior, 0.0 if prior.centred and mean is None else mean)
    scaling = scaling if given else _with_levels(scaling, known, blocks, prior)
    note_noise(alias, da, scaling.scale)
    prior = prior if errors is not None else _with_jitter(prior, scaling)
    options["calibrate"] = calibrate and not given
    bound = choice.settings if isinstance(choice.settings, Variational) and choice.settings.train == "elbo" else None
    own_amplitude = amplitude and not prior.holds_variances
    rules = Rules(bound, errors is not None, auto, own_amplitude, calibrate, options["seed"], options["device"])
    if hyperparameters is not None:
        prior = _given(prior, hyperparameters, has_errors=errors is not None)
        tables.require_units(hyperparameters, lattice)
        scaling = scaling.with_amplitude(tables.amplitude_of(hyperparameters))
        scaling = with_fields_of(scaling, hyperparameters.get("field_amplitude"), da, layout.roles.extra)
        scaling = with_levels_of(scaling, hyperparameters)
        course = _course(known, blocks, scaling, rules, prior)
        intervals = course.intervals(prior.scaled(1 / scaling.reference**2, noise=errors is None))
        record = Record(choice=str(choice))
    elif given:
        intervals, record = None, Record(choice=str(choice))
    else:
        free = prior.scaled(1 / scaling.reference**2, noise=errors is None)
        with progress_bar("Learning", show, total=None) as step:
            course = _course(known, blocks, scaling, rules, prior, step)
            if ratio is True:
                course, layout = _with_ratio(course, free, layout)
                lattice = replace(lattice, space=course.lattice.space)
            found = course.run(free)
        scaling, intervals = found.scaling, found.calibration
        prior = ordered(found.prior.scaled(scaling.reference**2, noise=errors is None))
        seconds = clock_time.perf_counter() - began
        record = Record(seconds, found.evaluations, found.log_likelihood, str(choice))
    _log.info("fitted %r: %s; %d evaluations in %.1f s", da.name, choice, record.evaluations, record.seconds)
    own = tables.standardised(prior, scaling.reference, has_errors=errors is not None)
    return FittedModel(
        prior=prior, scaling=scaling, settings=choice.settings, lattice=lattice, layout=layout, options=options,
        record=record, share=share, valid=valid, errors=errors, opened=opened, intervals=intervals,
        learned_shape=(lattice.moments.size, lattice.num_places),
        typical_error=_typical(blocks) if errors is not None else None,
        screening=distances_where_large(lattice, own, choice.settings, options["seed"]),
    )  # fmt: skip


def _parts(layout: Layout) -> str:
    """What asked for rows of several parts; empty where nothing did."""
    roles = layout.roles
    if roles.component is None:
        return ""
    return f"depth among dims= ({roles.depth!r})" if roles.layered else "vector=True"


def _terms(lattice: Lattice, kernels: Mapping[str, Any], combine: str | None, scales: int, *, vector: bool) -> Prior:
    """The terms that the kernels of the axes mean on this lattice; those of levels with a kernel of depth each."""
    depth = as_depth_kernel(kernels["depth"]) if lattice.space.depths else None
    combine = "product" if combine is None and depth is not None and depth.is_fixed else combine
    prior = build_prior(
        kernels["time"], kernels["space"], combine=combine, scales=scales, num_times=lattice.moments.size,
        num_sites=lattice.num_places, geometry=lattice.space.geometry, vector=vector,
    )  # fmt: skip
    return prior if depth is None else with_depth(prior, depth, len(lattice.space.depths))


def _with_levels(scaling: Scaling, lattice: Lattice, blocks: list[Observations], prior: Prior) -> Scaling:
    """Units of each level, where depth is fitted: its own mean, unless that is known, and standard deviation."""
    if not lattice.space.depths:
        return scaling
    found = Profile.of(values_of_levels(lattice, blocks, scaling))
    if (few := found.without_own_mean) and not prior.centred:
        levels = f"{', '.join(f'{depth:g}' for depth in few)} {lattice.space.depth_unit}".strip()
        warn(
            f"At {levels} there are too few observations for a mean of their own; it is taken from the levels around. "
            f"Standard deviations know how uncertain that is, draws and averages do not. Leave these levels out, or "
            f"take off a known mean and type `trend=None`."
        )
    found = found.about_zero() if prior.centred else found
    return scaling.with_levels(found.alike() if prior.holds_variances else found)


def _told_of(prior: Prior, lattice: Lattice, layout: Layout) -> Prior:
    """The prior with what its kernels need to know of the data: when they begin, how far from the equator they are."""
    begin, extent = lattice.moments.min() - lattice.time_step, lattice.time_extent + lattice.time_step
    prior = resolve_brownian(prior, begin, extent)
    return resolve_latitudes(prior, lattice.space, degrees=layout.metric.degrees)


def _with_ratio(course: Course, prior: Prior, layout: Layout) -> tuple[Course, Layout]:
    """The same course on places with the ratio of lengthscales to the east and north that is learned here."""
    from xgpfill.following.anisotropy import with_ratio

    course, metric = with_ratio(course, prior, layout.metric)
    return course, replace(layout, metric=metric)


def _course(
    lattice: Lattice, blocks: list[Observations], scaling: Scaling, rules: Rules, prior: Prior, step: Any = None
) -> Course:
    known = rules.has_errors or prior.fixed_noise
    return Course(lattice, blocks, scaling, rules, known, *([] if step is None else [step]))


def _units(da: xr.DataArray, observed: list[FloatArray], prior: Prior, mean: float | None) -> Scaling:
    """Units to compute in: those of the data, or of a prior that is given, which needs none.

    Raises
    ------
    DataError
        When the data tell none, or no mean where they should.
    """
    name = repr(da.name) if da.name is not None else "the data"
    if prior.is_given:
        values = np.concatenate(observed)
        if mean is None and not values.size:
            raise DataError(
                f"{name} has no observation at all (every value is NaN), which could tell the mean. Give it, e.g. "
                f"`fit(trend=0.0)`, or check the mask, `da.notnull().sum()`."
            )
        total = sum(float(term.variance or 0.0) for term in prior.terms)
        return Scaling(float(values.mean()) if mean is None else mean, total**0.5)
    scaling = Scaling.of_fields(observed, name)
    scaling = scaling if mean is None else scaling.about(mean)
    return scaling.of_all() if prior.holds_variances else scaling


def _require_values(da: xr.DataArray, lattice: Lattice, blocks: list[Observations], observed: list[FloatArray]) -> None:
    """Refuse fill values and what is out of range in what is read of lazy data."""
    values = distinct(blocks).values if blocks else np.concatenate(observed)
    check_fills(values, lattice.fills, part=bool(blocks))
    check_range(values, declared_range(da), part=bool(blocks))


def _typical(blocks: list[Observations]) -> float | None:
    """The median standard error of observations; None where there is none."""
    found = [block.noise for block in blocks]
    return float(np.sqrt(np.median(np.concatenate(found)))) if found else None


def _is_auto(kernel: Any) -> bool:
    return isinstance(kernel, str) and kernel.lower() == AUTO


def _with_noise(prior: Prior, noise: float | xr.DataArray | None, held: bool | None) -> Prior:
    """The prior with the noise that was given: a variance in data units², which is held unless `held` says no.

    Of a field of standard errors the factor on their squares is learned, unless `held` says to leave them as they are.
    """
    fixed = None if held is None else checked_flag(held, "noise_fixed")
    if noise is None:
        if fixed:
            raise NoiseError(
                "noise_fixed=True holds the noise, and none was given. Give it, e.g. `noise_std=0.3`, or leave "
                "`noise_fixed=` out."
            )
        return prior
    if isinstance(noise, xr.DataArray):
        return replace(prior, noise=1.0, fixed_noise=True) if fixed else prior
    return replace(prior, noise=noise, fixed_noise=fixed is not False)


def _with_jitter(prior: Prior, scaling: Scaling) -> Prior:
    """The prior with a given noise that is no less than rounding."""
    if prior.noise is None:
        return prior
    return replace(prior, noise=max(prior.noise, tables.SMALLEST_NOISE * scaling.reference**2))


def _given(prior: Prior, hyperparameters: xr.Dataset, *, has_errors: bool) -> Prior:
    """The prior with given numbers; a `noise=` that was named as well takes precedence."""
    known = tables.from_dataset(prior, hyperparameters)
    said = str(hyperparameters["noise"].attrs.get("long_name", ""))
    if said and has_errors != ("factor" in said):
        kind = "a noise variance" if has_errors else "a factor on squared standard errors"
        raise NoiseError(
            f"`hyperparameters` hold {kind}, which does not go with this `noise=`. Give hyperparameters that were "
            f"learned {'with' if has_errors else 'without'} standard errors, or leave `noise=` "
            f"{'out' if has_errors else 'to be those errors'}."
        )
    return replace(known, noise=prior.noise, fixed_noise=True) if prior.fixed_noise else known


def _checked_first(da: xr.DataArray, check: str) -> None:
    """Scan all of lazy data where `check` asks for it."""
    if not isinstance(check, str) or check not in ("blocks", "full"):
        raise DataError(
            f"check={shown(check)}: choose 'blocks' (read only what learning reads) or 'full' (scan all data first)."
        )
    if check == "full" and da.chunks is not None:
        _scan(da)


def _scan(da: xr.DataArray) -> None:
    """Look for infinities in all of lazy data, chunk by chunk."""
    if da.dtype.kind == "f" and bool(
        xr.apply_ufunc(np.isinf, da, dask="parallelized", output_dtypes=[bool]).any().compute()
    ):
        raise DataError("The data hold infinite values. Make them gaps: `da.where(np.isfinite(da))`.")
