"""What ``fit`` would refuse or warn of, and the arguments that suit the data. Nothing is learned here."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from xgpfill.engines.memory import tile_limit
from xgpfill.engines.select import select_settings
from xgpfill.grid.fills import cure_of_fill, declared_range, is_outside, packing_in_words, range_in_words

if TYPE_CHECKING:
    from collections.abc import Hashable

    from xgpfill.description.survey import Survey
    from xgpfill.grid.encode import Layout
    from xgpfill.grid.lattice import Lattice

YEAR = 365.25  # days


def problems(layout: Layout, found: Survey, never: float, refused: str, *, told: bool) -> tuple[str, ...]:
    """What stands in the way of a fit, each with its cure."""
    values, said = found.values, [refused] if refused else []
    if values.infinities:
        said.append(f"{values.infinities} infinite value(s). Make them gaps: `da.where(np.isfinite(da))`.")
    if fields := layout.fields_in_words():
        said.append(fields)
    if values.fills:
        said.append(
            f"{values.fills} value(s) like {values.fill:.10g}, which stand for none: counted as gaps here, but "
            f"`fit` does not take them for gaps. Make them so: `{cure_of_fill(values.fill)}`."
        )
    if packed := packing_in_words(layout.template):
        said.append(packed)
    bounds, extremes = declared_range(layout.template), (values.minimum, values.maximum)
    if bounds is not None and any(is_outside(value, bounds) for value in extremes):
        said.append(range_in_words(f"Values run from {extremes[0]:.6g} to {extremes[1]:.6g},", bounds))
    if values.count == 0:
        said.append("No observation at all: every cell read is NaN.")
    elif values.count == 1:
        said.append("One observation only; a covariance cannot be learned from it.")
    elif values.minimum == values.maximum:
        said.append(f"The field is constant: every value is {values.minimum:.6g}. There is nothing to learn from.")
    if never > 0 and not told and values.count and layout.roles.time is not None:
        said.append(
            f"{never:.1%} of the places are never observed. If they are land, type "
            f"`valid=da.notnull().any({str(layout.roles.time)!r})`; if they are gaps, `valid=True`."
        )
    return tuple(said)


def suggestions(
    layout: Layout, lattice: Lattice, found: Survey, never: float, *, told: bool, depth: Hashable | None = None
) -> dict[str, str]:
    """Arguments of ``fit`` and why; empty when there is nothing to fit. `depth` is to be fitted too, if it is one."""
    if found.values.count < 2:
        return {}
    fitted = {*layout.roles.fitted, depth}
    advice = {"dims": repr(tuple(d for d in layout.template.dims if d in fitted) if depth else layout.roles.fitted)}
    if never > 0 and not told and layout.roles.time is not None:
        time = str(layout.roles.time)
        advice["valid"] = f"da.notnull().any({time!r}) if cells that are never observed are land; True if they are gaps"
    share = found.values.count / found.observed.size
    levels = 1 if depth is None else layout.template.sizes[depth]
    count = round(share * lattice.shape[0] * lattice.space.size * levels)
    choice = select_settings(count, lattice)
    name = type(choice.settings).__name__.lower()
    advice["method"] = f"{name!r}: {choice.reason}"
    if lattice.shape[0] > 1:
        advice["time_kernel"] = _time_kernel(lattice)
    if lattice.space.size > 1:
        advice["space_kernel"] = "'matern32'; 'matern12' for a rough field (steep terrain, fronts)"
    limit = tile_limit(choice.settings, lattice)
    if limit is not None:
        tiles = max(1, math.ceil(limit.load(lattice.shape, count)))
        advice["tile"] = f"'auto' makes about {tiles} tile(s) of {-(-count // tiles)} observations"
    return advice


def _time_kernel(lattice: Lattice) -> str:
    seasonal = lattice.time_extent >= 2 * YEAR and lattice.time_step <= YEAR / 4
    if seasonal:
        return f"xgpfill.Matern(1.5) + xgpfill.Periodic(period={YEAR}): the series spans several seasons"
    return "'matern32'"
