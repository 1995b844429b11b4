"""A description in words: rows of a table, as text and as HTML. Nothing is computed from data here."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from xgpfill.words import aligned, bracketed, html_table, typeset, written

if TYPE_CHECKING:
    import xarray as xr

    from xgpfill.description.figures import Axis, Figures, Gaps

Rows = list[tuple[str, str]]
SUGGESTED = "Suggested"
"""The section of arguments for a fit to come."""


def sections(found: Figures) -> list[tuple[str, Rows]]:
    """All that is said, as titled tables of (what, how much)."""
    parts = [
        ("Dimensions", [(f"{axis.name} ({axis.role})", _axis(axis)) for axis in found.axes]),
        ("Gaps", _gaps(found)),
        ("Values", _values(found)),
        ("Problems", [("!", problem) for problem in found.problems]),
        (SUGGESTED, list(found.suggestions.items())),
    ]
    return [(title, rows) for title, rows in parts if rows]


def heading(found: Figures) -> str:
    """The first line."""
    long_name = f", {found.long_name}" if found.long_name not in ("", found.name) else ""
    return bracketed(f"{found.name}{long_name}", found.units)


def _axis(axis: Axis) -> str:
    units = {"degrees_north": "°", "degrees_east": "°"}.get(axis.units, f" {axis.units}" if axis.units else "")
    words = [f"{axis.size}"]
    if axis.first:
        dates = "" if axis.role == "time" else units
        words.append(axis.first if axis.size == 1 else f"{axis.first} … {axis.last}{dates}")
    if not math.isnan(axis.step):
        words.append(f"{'every' if axis.regular else 'irregular, typically'} {axis.step:.6g}{units}")
    return "; ".join([*words, *axis.notes])


def _gaps(found: Figures) -> Rows:
    rows: Rows = [("gaps", _counted(found))]
    if found.never_share > 0:
        told = "counted as gaps" if found.counted_all else "left out of these figures"
        rows.append(("never observed", f"{percent(found.never_share)} of the places, {told}"))
    if found.over_time is not None:
        rows.append(("over time", f"{spread(found.over_time)}; most on {worst(found.over_time)}"))
    if found.over_space is not None:
        rows.append(("over space", spread(found.over_space)))
    if found.patches is not None:
        rows.append(("patches", gaps_in_words(found.patches)))
    if found.areas is not None:
        rows.append(("", gaps_in_words(found.areas)))
    if found.durations is not None:
        rows.append(("durations", gaps_in_words(found.durations)))
    if found.steps_read < found.steps:
        rows.append(
            (
                "sampled",
                f"{found.steps_read} of {found.steps} steps, evenly spaced, were read; durations need all: raise "
                f"`max_cells`",
            )
        )
    return rows


def _counted(found: Figures) -> str:
    if abs(found.gap_share - found.missing_share) < 1e-9:
        return f"{percent(found.gap_share)} of the cells"
    which = "of `valid`" if found.counted_all else "observed at some time"
    return f"{percent(found.gap_share)} of the cells {which}; {percent(found.missing_share)} of all cells"


def _values(found: Figures) -> Rows:
    values, units = found.values, f" {typeset(found.units)}" if found.units else ""
    rows: Rows = []
    if values.count:
        rows.append(("range", f"{values.minimum:.5g} … {values.maximum:.5g}{units}"))
        rows.append(("mean ± std. dev.", f"{values.mean:.5g} ± {values.std:.3g}{units}"))
    rows.append(("observed", f"{values.count} of {found.cells} cells" + _of_read(found)))
    rows.append(("memory", f"{found.dtype}, {found.memory}"))
    return rows


def _of_read(found: Figures) -> str:
    return " (in the steps read)" if found.steps_read < found.steps else ""


def gaps_in_words(gaps: Gaps) -> str:
    """Median, 90 % and largest, with what is known of them."""
    sizes = ", ".join(
        f"{label} {size(value)}"
        for label, value in (("median", gaps.median), ("90 %", gaps.ninety), ("largest", gaps.largest))
    )
    return f"{gaps.count}: {sizes} {gaps.units}" + (f" ({gaps.where})" if gaps.where else "")


def size(value: float) -> str:
    """A number of three digits, without an exponent."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def percent(share: float) -> str:
    """A share in per cent: few digits, but never 0 or 100 unless it is."""
    if math.isnan(share) or share in (0.0, 1.0):
        return "none" if math.isnan(share) else f"{share:.0%}"
    return f"{share:.1%}" if 0.001 <= share <= 0.999 else f"{share:.2g}" if share < 0.5 else f"{share:.4%}"


def spread(share: xr.DataArray) -> str:
    """Least, median and most of a share."""
    known = share.values[np.isfinite(share.values)]
    if not known.size:
        return "none"
    return f"{percent(known.min())} … {percent(known.max())}, median {percent(float(np.median(known)))}"


def worst(share: xr.DataArray | None) -> str:
    """The step with the largest share, as a date or number."""
    if share is None or not np.isfinite(share.values).any():
        return ""
    return written(share[share.dims[0]].values[int(np.nanargmax(share.values))])


def as_text(found: Figures) -> str:
    """Aligned columns under titles, in the manner of xarray."""
    lines = [f"<xgpfill.Description> {heading(found)}"]
    for title, rows in sections(found):
        lines += [f"{title}:", *(f"    {line}" for line in aligned(rows))]
    return "\n".join(lines)


def as_html(found: Figures) -> str:
    """A small table that opens and closes by section; everything from the data is escaped."""
    parts = (f"<details open><summary>{title}</summary>{html_table(rows)}</details>" for title, rows in sections(found))
    return f"<div><b>xgpfill.Description</b> {escape(heading(found))}{''.join(parts)}</div>"
