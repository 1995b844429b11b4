"""Hyperparameters for people: a Dataset in physical units, tables as text and HTML, and back into a prior."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xgpfill.errors import KernelError, listed, shown
from xgpfill.grid.scaling import Amplitude
from xgpfill.kernels.functions.by_latitude import ByLatitude
from xgpfill.kernels.outside import Outside
from xgpfill.kernels.prior import AXES
from xgpfill.kernels.spec import AXIS_FREQUENCY, AXIS_UNIT, Constant, Independent, Kernel, Matern
from xgpfill.words import squared, with_units

if TYPE_CHECKING:
    from xgpfill.grid.lattice import Lattice
    from xgpfill.kernels.prior import Prior


SMALLEST_NOISE = 1e-8
"""Noise below this share of the variance of the data is raised to it, for the sake of rounding."""


def standardised(prior: Prior, reference: float, *, has_errors: bool) -> Prior:
    """The prior in units of the data's scale, its noise no less than rounding; of errors the factor on them."""
    prior = prior.scaled(1 / reference**2)
    assert prior.noise is not None
    return prior if has_errors else replace(prior, noise=max(float(prior.noise), SMALLEST_NOISE))


def jitter(prior: Prior, reference: float, units: str) -> str:
    """What to say where noise was given as nothing and yet is not; empty where it is what was said."""
    least = SMALLEST_NOISE * reference**2
    if not prior.fixed_noise or prior.noise is None or float(prior.noise) > least * (1 + 1e-9):
        return ""
    size = with_units(f"{least**0.5:.3g}", units)
    return f"noise raised to a standard deviation of {size} (a jitter), for the sake of rounding"


def to_dataset(
    prior: Prior, lattice: Lattice, units: str, *, noise_is_scale: bool, amplitude: Amplitude | None = None,
    fields: xr.DataArray | None = None, comment: str = "", anisotropy: float = 1.0,
) -> xr.Dataset:  # fmt: skip
    """Every hyperparameter by term, in data units², days and km.

    Returns
    -------
    Dataset
        ``variance(term)``, ``time_lengthscale(term)``, ``space_lengthscale(term)``, … and the scalar ``noise``;
        NaN where a term has no such hyperparameter. The coordinates ``time_kernel(term)`` and ``space_kernel(term)``
        name the kernels that the numbers are of. Mixtures have a dimension ``component``. With a local amplitude
        its ``amplitude_centre``, ``amplitude_weight``, ``amplitude_lengthscale`` and ``amplitude_level``; with several
        fields ``field_amplitude``, the standard deviation of each relative to that of the terms. Where lengthscales to
        the east are not those to the north, ``anisotropy`` is how many times as long they are.
    """
    names = [term.name for term in prior.terms]
    columns: dict[str, dict[str, Any]] = defaultdict(dict)
    unit_of: dict[str, str] = {}
    for path, value, unit, _ in prior.items():
        if path == "noise":
            continue
        term, rest = path.split(".", 1)
        key = rest.replace(".", "_")
        columns[key][term] = value
        unit_of[key] = _unit(unit, "days" if rest.startswith("time") else lattice.space.unit, units)
    kernels = {f"{axis}_kernel": ("term", [family(getattr(t, axis)) for t in prior.terms]) for axis in AXES}
    ds = xr.Dataset(coords={"term": names, **kernels})
    for key, by_term in columns.items():
        size = max(len(v) if isinstance(v, tuple) else 0 for v in by_term.values())
        if size:
            table = np.full((len(names), size), np.nan)
            for term, value in by_term.items():
                table[names.index(term), : len(value)] = value
            ds[key] = (("term", f"{key}_component"), table)
        else:
            ds[key] = ("term", np.array([float(by_term.get(n, np.nan)) for n in names]))
        ds[key].attrs["units"] = unit_of[key]
    ds["noise"] = ((), float(prior.noise) if prior.noise is not None else np.nan)
    ds["noise"].attrs = {
        "units": "1" if noise_is_scale else squared(units),
        "long_name": "factor on the squared standard errors" if noise_is_scale else "noise variance",
    }
    if anisotropy != 1.0:
        ds["anisotropy"] = (
            (),
            anisotropy,
            {"units": "1", "long_name": "lengthscales to the east over those to the north"},
        )
    if comment:
        ds["noise"].attrs["comment"] = comment
    if fields is not None:
        ds["field_amplitude"] = fields.assign_attrs(units="1")
    return ds if amplitude is None else ds.assign(_of_amplitude(amplitude, lattice.space.unit))


def _of_amplitude(amplitude: Amplitude, unit: str) -> dict[str, Any]:
    """The local amplitude as variables of a Dataset."""
    return {
        "amplitude_centre": (("bump", "axis"), np.array(amplitude.centres), {"units": unit}),
        "amplitude_weight": ("bump", np.array(amplitude.weights), {"units": "1"}),
        "amplitude_lengthscale": ((), amplitude.lengthscale, {"units": unit}),
        "amplitude_level": ((), amplitude.level, {"units": "1"}),
    }


def amplitude_of(ds: xr.Dataset) -> Amplitude | None:
    """The local amplitude that such a Dataset holds, if it does.

    Raises
    ------
    KernelError
        When it holds a part of one.
    """
    names = [f"amplitude_{part}" for part in ("centre", "weight", "lengthscale", "level")]
    missing = [name for name in names if name not in ds]
    if len(missing) == len(names):
        return None
    if missing:
        raise KernelError(
            f"`hyperparameters` has a local amplitude without {listed(missing)}. Give `model.hyperparameters` of a "
            f"fitted model, whole, or drop all of {listed(names)}."
        )
    centre, weight, lengthscale, level = (np.asarray(ds[name], float) for name in names)
    return Amplitude(tuple(map(tuple, centre.tolist())), tuple(weight.tolist()), float(lengthscale), float(level))


def noise_variance(
    table: xr.Dataset, errors: xr.DataArray | None, typical_error: float | None, units: str
) -> xr.DataArray:
    """Noise variance in data units²; with standard errors, that of the typical one."""
    attrs = {"long_name": "noise variance"} | ({"units": squared(units)} if units else {})
    if errors is None:
        return table["noise"].assign_attrs(attrs)
    error = np.nan if typical_error is None else typical_error
    found: xr.DataArray = table["noise"] * error**2
    return found.assign_attrs(attrs | {"comment": "of the median standard error"})


def _unit(marker: str, axis: str, units: str) -> str:
    return {AXIS_UNIT: axis, AXIS_FREQUENCY: f"{axis}-1", "variance": squared(units)}.get(marker, "1")


def from_dataset(prior: Prior, ds: xr.Dataset) -> Prior:
    """The prior with its numbers read from such a Dataset.

    Raises
    ------
    KernelError
        When it holds other terms, or lacks a hyperparameter.
    """
    if not isinstance(ds, xr.Dataset) or "term" not in ds.coords or "noise" not in ds:
        raise KernelError(
            "`hyperparameters` is not a Dataset of hyperparameters. Give `model.hyperparameters` of a fitted model."
        )
    terms = [t.name for t in prior.terms]
    found = [str(t) for t in ds["term"].values]
    if found != terms:
        raise KernelError(
            f"`hyperparameters` has the terms {listed(found)}, but these arguments build {listed(terms)}. Use the "
            f"kernels, `combine=` and `scales=` it was learned with."
        )
    _require_kernels(prior, ds)
    values: dict[str, Any] = {}
    for path, _, _, _ in prior.items():
        key = "noise" if path == "noise" else path.split(".", 1)[1].replace(".", "_")
        if key not in ds:
            raise KernelError(f"`hyperparameters` has no {key!r}; it was learned with other kernels.")
        entry = ds[key] if path == "noise" else ds[key].sel(term=path.split(".", 1)[0])
        numbers = _numbers(entry.values)
        numbers = numbers[np.isfinite(numbers)]
        if numbers.size == 0 or (numbers < 0).any():
            raise KernelError(
                f"`hyperparameters` has no usable number for {path!r}: {shown(entry.values)}; expected a positive "
                f"one. Give `model.hyperparameters` of a fitted model."
            )
        if path == "noise" and entry.ndim:
            raise KernelError(f"`hyperparameters` has a noise of shape {entry.shape}; expected one number.")
        values[path] = tuple(numbers.tolist()) if entry.ndim else float(numbers[0])
    return prior.with_values(values)


def _require_kernels(prior: Prior, ds: xr.Dataset) -> None:
    """Refuse numbers of other kernels, as far as the Dataset names those it was learned with."""
    for axis in AXES:
        named = ds.coords.get(f"{axis}_kernel")
        if named is None:
            continue
        for name, term in zip(named.values, prior.terms, strict=True):
            learned, own = str(name), family(getattr(term, axis))
            if learned != own:
                raise KernelError(
                    f"`hyperparameters` were learned with {learned} along {axis}, in the term {term.name!r}, and these "
                    f"arguments say {own}: the numbers of one are none of the other. Type the `{axis}_kernel=` that "
                    f"they were learned with, or learn anew."
                )


def _numbers(values: Any) -> Any:
    """As float64; nothing where they are no numbers."""
    try:
        return np.asarray(values, float)
    except (TypeError, ValueError):
        return np.array([np.nan])


def require_units(ds: xr.Dataset, lattice: Lattice) -> None:
    """Refuse lengthscales in other units than those of this lattice.

    Raises
    ------
    KernelError
    """
    found = str(ds["space_lengthscale"].attrs.get("units", "")) if "space_lengthscale" in ds else ""
    if found and found != lattice.space.unit and lattice.space.size > 1:
        raise KernelError(
            f"`hyperparameters` has lengthscales of space in {found!r}, but the distances of these data are in "
            f"{lattice.space.unit!r}. Give the data the coordinates of those it was learned on, or learn anew."
        )


def rows(prior: Prior, lattice: Lattice, units: str, *, noise_is_scale: bool) -> list[tuple[str, str, str, str]]:
    """The table people read: term, standard deviation, time, space."""
    table = []
    for term in prior.terms:
        deviation = "" if term.variance is None else f"{float(term.variance) ** 0.5:.3g} {units}".strip()
        table.append((term.name, deviation, described(term.time, "days"), described(term.space, lattice.space.unit)))
    if prior.noise is not None:
        noise = f"{float(prior.noise) ** 0.5:.3g} {'× error' if noise_is_scale else units}".strip()
        table.append(("noise", noise, "", ""))
    return table


def family(kernel: Kernel) -> str:
    """A kernel in words, without its numbers: ``Matérn-3/2``."""
    if isinstance(kernel, (Constant, Independent)):
        return type(kernel).__name__.lower()
    if isinstance(kernel, ByLatitude):
        return f"{family(kernel.of_one)} by latitude"
    if kernel.parts:
        return _sign(kernel).join(map(family, kernel.parts))
    if isinstance(kernel, Outside):
        return kernel.name
    return f"Matérn-{int(2 * kernel.nu)}/2" if isinstance(kernel, Matern) else type(kernel).__name__


def _sign(kernel: Kernel) -> str:
    return " + " if type(kernel).__name__ == "Sum" else " × "


def described(kernel: Kernel, unit: str) -> str:
    """A kernel in words: ``Matérn-3/2, 12.3 days``."""
    if isinstance(kernel, ByLatitude):
        ratio = "" if kernel.to_pole is None else f", {float(kernel.to_pole):.3g} × at a pole"
        return f"{described(kernel.of_one, unit)}{ratio}"
    if kernel.parts:
        return _sign(kernel).join(described(part, unit) for part in kernel.parts)
    numbers = []
    for key, marker in kernel.parameter_units().items():
        value = getattr(kernel, key)
        if value is None:
            continue
        suffix = {AXIS_UNIT: f" {unit}", AXIS_FREQUENCY: f" per {unit.rstrip('s')}"}.get(marker, "")
        label = "" if key == "lengthscale" and marker == AXIS_UNIT else f"{key} "
        written = " ".join(f"{v:.3g}" for v in value) if isinstance(value, tuple) else f"{float(value):.4g}"
        numbers.append(f"{label}{written}{suffix}")
    return ", ".join([family(kernel), *numbers])


def unidentified(prior: Prior, lattice: Lattice) -> list[str]:
    """Terms with a lengthscale beyond half the extent, so that it trades off against the variance."""
    axes = {"time": lattice.time_extent, "space": lattice.space.extent}
    found: dict[str, None] = {}
    for path, value, unit, _ in prior.items():
        if not path.endswith("lengthscale") or unit != AXIS_UNIT or value is None:
            continue
        term, axis = path.split(".")[:2]
        if 0 < axes[axis] < 2 * float(value):
            found[term] = None
    return list(found)
