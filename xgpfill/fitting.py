"""Fitting: from a gappy DataArray and a prior's description to a FittedModel."""

from __future__ import annotations

import logging
import time as clock_time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill import hyperparameters as tables
from xgpfill.checks import checked_flag, require_array
from xgpfill.engines.select import Choice, select_settings
from xgpfill.engines.settings import Exact, Settings, Variational, as_settings, require_affordable
from xgpfill.errors import DataError, NoiseError, shown, warn
from xgpfill.files import sources_of
from xgpfill.grid.companions import as_mask, in_memory_as, note_noise, read_noise, within_valid
from xgpfill.grid.encode import Dims, encode
from xgpfill.grid.fills import check_fills, check_range, declared_range
from xgpfill.grid.scaling import Scaling
from xgpfill.kernels.check import check_outside
from xgpfill.kernels.prior import Prior, build_prior, ordered, resolve_brownian
from xgpfill.kernels.spec import as_kernel, is_directional
from xgpfill.learning.blocks import (
    BlockPlan,
    all_values,
    distinct,
    draw_blocks,
    draw_sample,
    observed_share,
    one_field,
    read_window,
    whole,
)
from xgpfill.learning.heldout import held_out, settle_noise, settle_smoothness
from xgpfill.learning.starts import anomaly_share, other_starts, starting_values, summarise
from xgpfill.model import FittedModel, Halo, KernelLike, Record, Tile
from xgpfill.options import (
    canonical_sizes,
    checked_dtype,
    checked_seed,
    plain_sizes,
    progress_bar,
    resolve_device,
    show_progress,
)
from xgpfill.reconstruction import SMALLEST_NOISE
from xgpfill.tiling.plan import check_tiles

if TYPE_CHECKING:
    from xgpfill.grid.lattice import Lattice
    from xgpfill.grid.points import Observations

FRESH_BLOCKS = BlockPlan(compact=24, scattered=4, size=384)
"""Blocks, other than those of learning, that settle noise and calibration where the field is not read whole."""
MAX_POOL = 2**24
"""Cells of a field in memory that is read whole for that."""
AUTO = "auto"
_log = logging.getLogger(__name__)
ELBO_OBSERVATIONS = 100_000
"""The most observations that training by evidence lower bound sees."""


def fit(
    da: xr.DataArray,
    *,
    dims: Dims = None,
    time_kernel: KernelLike = "matern32",
    space_kernel: KernelLike = "matern32",
    combine: str | None = None,
    scales: int = 2,
    noise: float | xr.DataArray | None = None,
    noise_std: float | xr.DataArray | None = None,
    noise_variance: float | xr.DataArray | None = None,
    noise_fixed: bool | None = None,
    method: str | Settings = "auto",
    geometry: str = "auto",
    valid: xr.DataArray | bool | None = None,
    hyperparameters: xr.Dataset | None = None,
    tile: Tile = "auto",
    halo: Halo = "auto",
    check: str = "blocks",
    device: str = "auto",
    dtype: str = "float64",
    seed: int = 0,
    progress: bool | None = None,
) -> FittedModel:
    """Learn the covariance of a gappy field and condition on it; see :meth:`xgpfill.accessor.DataArrayAccessor.fit`."""
    began = clock_time.perf_counter()
    require_array(da, "fit")
    opened = sources_of(da, noise, noise_std, noise_variance, valid)  # before anything is read
    show = show_progress(progress)
    settings = as_settings(method)
    options: dict[str, Any] = {
        "device": resolve_device(device),
        "dtype": checked_dtype(dtype),
        "seed": checked_seed(seed),
    }
    auto = tuple(axis for axis, k in (("time", time_kernel), ("space", space_kernel)) if _is_auto(k))
    time_kernel, space_kernel = ("matern32" if _is_auto(k) else k for k in (time_kernel, space_kernel))
    directional = is_directional(as_kernel(space_kernel))
    alias, noise = noise, read_noise(noise, noise_std, noise_variance)
    valid, noise = as_mask(in_memory_as(da, valid)), in_memory_as(da, noise)
    errors = noise if isinstance(noise, xr.DataArray) else None
    if not isinstance(check, str) or check not in ("blocks", "full"):
        raise DataError(
            f"check={shown(check)}: choose 'blocks' (read only what learning reads) or 'full' (scan all data first)."
        )
    if check == "full" and da.chunks is not None:
        _scan(da)
    lattice, layout = encode(da, dims=dims, geometry=geometry, directional=directional, valid=valid, errors=errors)
    if dims is None and (said := layout.fields_in_words()):
        warn(said)
    whole, lattice = lattice, within_valid(lattice)
    share = observed_share(whole if whole.is_lazy else lattice, options["seed"])
    sizes = {"tile": tile, "halo": halo}
    options |= {key: plain_sizes(canonical_sizes(size, layout.axis_names)) for key, size in sizes.items()}
    check_tiles(lattice, options["tile"], options["halo"])
    blocks = draw_blocks(lattice, BlockPlan(), options["seed"])
    observed = all_values(blocks) if lattice.is_lazy else _observed_values(lattice)
    if lattice.is_lazy and blocks:
        check_fills(distinct(blocks).values, lattice.fills, part=True)
        check_range(distinct(blocks).values, declared_range(da), part=True)
    scaling = Scaling.of(observed, repr(da.name) if da.name is not None else "the data")
    note_noise(alias, da, scaling.scale)
    count = round(share * float(np.prod(lattice.shape)))
    prior = build_prior(
        time_kernel, space_kernel, combine=combine, scales=scales,
        num_times=lattice.time.size, num_sites=lattice.space.size, geometry=lattice.space.geometry,
    )  # fmt: skip
    choice = Choice(settings, "named by `method=`") if settings else select_settings(count, lattice, prior)
    if isinstance(choice.settings, Exact) and options["tile"] == "auto" and hyperparameters is None:
        require_affordable(choice.settings, count)
    check_outside(prior, lattice, options["seed"])
    prior = resolve_brownian(prior, lattice.time.min() - lattice.time_step, lattice.time_extent + lattice.time_step)
    prior = _with_noise(prior, noise, noise_fixed, scaling)
    record = Record(choice=str(choice))
    if hyperparameters is not None:
        prior = _given(prior, hyperparameters, has_errors=errors is not None)
        tables.require_units(hyperparameters, lattice)
    else:
        prior, record = _learned(
            prior, blocks, lattice, scaling, choice.settings, errors is not None, auto, options, show
        )
        record = replace(record, choice=str(choice), seconds=clock_time.perf_counter() - began)
    _log.info("fitted %r: %s; %d evaluations in %.1f s", da.name, choice, record.evaluations, record.seconds)
    return FittedModel(
        prior=prior, scaling=scaling, settings=choice.settings, lattice=lattice, layout=layout, options=options,
        record=record, share=share, valid=valid, errors=errors, opened=opened,
        learned_shape=(lattice.time.size, lattice.space.size),
        typical_error=None if errors is None else float(np.sqrt(np.median(np.concatenate([b.noise for b in blocks])))),
    )  # fmt: skip


def _learned(
    prior: Prior,
    blocks: list[Observations],
    lattice: Lattice,
    scaling: Scaling,
    settings: Settings,
    has_errors: bool,
    auto: tuple[str, ...],
    options: dict[str, Any],
    show: bool,
) -> tuple[Prior, Record]:
    """Learn what is free, in standardised units, and bring it back to data units."""
    from xgpfill.learning.composite import learn

    square = scaling.scale**2

    def standardised(found: Observations) -> Observations:
        noise = found.noise / square if has_errors else found.noise
        return replace(found, values=scaling.standardised(found.values), noise=noise)

    standard = [standardised(block) for block in blocks]
    axes = summarise(standard, lattice, prior)
    start = _scaled_known(prior, 1 / square, noise=not has_errors)
    values = starting_values(start, axes, noise_is_scale=has_errors)
    share, how = anomaly_share(standard), {"noise_is_scale": has_errors}
    starts = other_starts(start, axes, values, share, options["seed"], **how)
    start = start.with_values(values)
    factor, seed = 1.0, options["seed"]
    field, pool = _pool(lattice, seed + 1) if auto or not prior.fixed_noise else (lattice, None)
    pool = None if pool is None else standardised(pool)
    with progress_bar("Learning", show, total=None) as step:
        relearn = partial(learn, blocks=standard, axes=axes, callback=lambda *_: step())
        if auto and pool is not None:
            start = _smoothness(start, auto, relearn, starts, field, pool, seed)
        if isinstance(settings, Variational) and settings.train == "elbo":
            from xgpfill.learning.elbo import learn_elbo

            sample = standardised(draw_sample(lattice, ELBO_OBSERVATIONS, seed))
            kwargs = {"seed": seed, "device": options["device"], "callback": lambda *_: step()}
            learned = learn_elbo(start, sample, axes, settings, **kwargs)
        else:
            learned = relearn(start, rounds=("fine",)) if auto else relearn(start, starts=starts)
        found = learned.prior
        hidden = held_out(found, field, pool, seed + 1) if pool is not None and not prior.fixed_noise else None
        if hidden is not None:
            found = settle_noise(found, hidden)
            factor = hidden.predict(found).factor
    record = Record(evaluations=learned.evaluations, log_likelihood=learned.log_likelihood, calibration=factor)
    return ordered(found.scaled(factor).scaled(square, noise=not has_errors)), record


def _is_auto(kernel: KernelLike) -> bool:
    return isinstance(kernel, str) and kernel.lower() == AUTO


def _smoothness(
    start: Prior, auto: tuple[str, ...], relearn: Any, starts: Any, lattice: Lattice, pool: Observations, seed: int
) -> Prior:
    """The prior with the smoothness of these axes settled, near its optimum."""

    def near(prior: Prior, starts: Any = ()) -> Prior:
        return relearn(prior, rounds=("coarse",), starts=starts).prior  # type: ignore[no-any-return]

    first = near(start, starts)
    hidden = held_out(first, lattice, pool, seed + 1)
    return first if hidden is None else settle_smoothness(first, auto, near, hidden)


def _pool(lattice: Lattice, seed: int) -> tuple[Lattice, Observations | None]:
    """One field and observations to hide some of: all of those in memory, else fresh blocks of them."""
    for member in lattice.members():
        field = one_field(lattice, member)
        if not lattice.is_lazy and np.prod(lattice.shape) <= MAX_POOL:
            found = [read_window(field, (), whole(field))]
        else:
            found = draw_blocks(field, FRESH_BLOCKS, seed)
        if any(map(len, found)):
            return field, distinct(found) if len(found) > 1 else found[0]
    return lattice, None


def _scaled_known(prior: Prior, factor: float, *, noise: bool) -> Prior:
    """A prior of which only the noise may be known, in other units."""
    known = prior.noise * factor if prior.noise is not None and noise else prior.noise
    return replace(prior, noise=known)


def _with_noise(prior: Prior, noise: float | xr.DataArray | None, held: bool | None, scaling: Scaling) -> Prior:
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
    return replace(prior, noise=max(noise, SMALLEST_NOISE * scaling.scale**2), fixed_noise=fixed is not False)


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


def _observed_values(lattice: Lattice) -> Any:
    values = np.asarray(lattice.values)
    return values[np.isfinite(values)]


def _scan(da: xr.DataArray) -> None:
    """Look for infinities in all of lazy data, chunk by chunk."""
    if da.dtype.kind == "f" and bool(
        xr.apply_ufunc(np.isinf, da, dask="parallelized", output_dtypes=[bool]).any().compute()
    ):
        raise DataError("The data hold infinite values. Make them gaps: `da.where(np.isfinite(da))`.")
