"""How things are written, the same everywhere: names with their units, moments, tables. Nothing is drawn here."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    import xarray as xr


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_CELSIUS = re.compile(r"\b(?:deg_?|degrees?_)C(?:elsius)?(?![A-Za-z])|\b[Cc]elsius(?![A-Za-z])")
_EXPONENT = re.compile(r"((?<![A-Za-z0-9.])[A-Za-z°µ]+|\))(?:\^|\*\*)?(-?\d+)(?![\w.])")
_MOLECULES = frozenset({"CO2", "O2", "O3", "NO2", "SO2", "CH4", "NH3", "N2", "H2"})


def bracketed(name: str, units: str) -> str:
    """Write `name [units]`; without units, the name alone."""
    return f"{name} [{typeset(units)}]" if units not in ("", "1") else name


def with_units(number: str, units: str) -> str:
    """Write a number with its units, if it has any."""
    return number if units in ("", "1") else f"{number} {typeset(units)}"


def typeset(units: str) -> str:
    """Units as they are printed: exponents raised, degrees by their sign. Attributes keep the spelling of udunits.

    Examples
    --------
    >>> typeset("K2"), typeset("(%)2"), typeset("kg m**-2"), typeset("degC2"), typeset("ppm CO2")
    ('K²', '(%)²', 'kg m⁻²', '°C²', 'ppm CO2')
    """

    def raised(found: re.Match[str]) -> str:
        return found[0] if found[0] in _MOLECULES else found[1] + found[2].translate(_RAISED)

    return _EXPONENT.sub(raised, _CELSIUS.sub("°C", units))


def rounded(value: float, figures: int = 3) -> str:
    """Write a number to so many significant figures; powers of ten only where they are shorter.

    Examples
    --------
    >>> rounded(0.5), rounded(12345.6), rounded(-0.0123456), rounded(1.5e-7), rounded(float("nan"))
    ('0.500', '12300', '-0.0123', '1.50 × 10⁻⁷', 'none')
    """
    if not np.isfinite(value):
        return "none"
    mantissa, power = f"{value:.{figures - 1}e}".split("e")
    if not -4 <= int(power) <= 5:
        return f"{mantissa} × 10{str(int(power)).translate(_RAISED)}"
    return f"{float(f'{mantissa}e{power}'):.{max(figures - 1 - int(power), 0)}f}"


def squared(units: str) -> str:
    """Write the units of a variance.

    Examples
    --------
    >>> squared("K"), squared("m s-1"), squared("1")
    ('K2', '(m s-1)2', '1')
    """
    if units in ("", "1"):
        return units
    return f"{units}2" if units.isalpha() else f"({units})2"


def degrees(value: float, signs: str) -> str:
    """Write degrees with their side, 3.5°W for -3.5; 0 and 180 have none."""
    value = round(value if signs == "NS" else (value + 180.0) % 360.0 - 180.0, 6)
    side = "" if value == 0 or abs(value) == 180 else signs[int(value < 0)]
    return f"{abs(value):g}°{side}"


def units_of(field: xr.DataArray) -> str:
    """Units in the attributes; empty when there are none."""
    return str(field.attrs.get("units", ""))


def name_of(field: xr.DataArray) -> str:
    """Write the name of a field: the long one if it has one."""
    name = field.attrs.get("long_name") or field.attrs.get("standard_name") or field.name or ""
    return str(name).replace("_", " ")


def label_of(field: xr.DataArray) -> str:
    """Write the name of a field with its units."""
    return bracketed(name_of(field), units_of(field))


def moment_of(field: xr.DataArray) -> str:
    """Tell the time of a frame cut from a series; nothing when it has none."""
    for name, coordinate in field.coords.items():
        if coordinate.ndim == 0 and str(name) in ("time", "t", "date"):
            return value_of(coordinate)
    return ""


def place_in_order(field: xr.DataArray, dim: Hashable, step: int) -> str:
    """Title the frame at `step` of `dim`: its date, its level with units, or its number."""
    if dim not in field.coords:
        return f"{dim} {step}"
    coordinate = field.coords[dim][step]
    if coordinate.dtype.kind in "iuf":
        return f"{dim} = {value_of(coordinate)}"
    return value_of(coordinate)


def value_of(coordinate: xr.DataArray) -> str:
    """Write a scalar coordinate, a number with its units."""
    return with_units(written(coordinate.values[()]), units_of(coordinate) if coordinate.dtype.kind in "iuf" else "")


def written(value: Any) -> str:
    """Write a coordinate in short: a date (its time of day only when there is one), days, or a number.

    Examples
    --------
    >>> written(np.datetime64("2021-04-15T06:30:00")), written(np.datetime64("2021-04-15T00:00:00"))
    ('2021-04-15 06:30', '2021-04-15')
    >>> written(0.1 + 0.2), written(np.timedelta64(36, "h"))
    ('0.3', '1.5 days')
    """
    if isinstance(value, np.timedelta64):
        return f"{value / np.timedelta64(1, 'D'):g} days"
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    if not isinstance(value, np.datetime64) and not hasattr(value, "calendar"):
        return str(value)
    date = np.datetime_as_string(value, unit="s") if isinstance(value, np.datetime64) else value
    return str(date).replace("T", " ").removesuffix(" 00:00:00").removesuffix(":00")


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Write rows of cells as lines of text, column below column.

    Examples
    --------
    >>> aligned([("noise", "0.1 K"), ("a", "3 K")])
    ['noise  0.1 K', 'a      3 K']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def html_table(rows: Sequence[Sequence[str]], headings: Sequence[str] = ()) -> str:
    """Write rows of cells as HTML; whatever stands in them is escaped.

    Examples
    --------
    >>> html_table([("a", "<b>")]).count("&lt;b&gt;")
    1
    """
    style = " style='text-align:left;vertical-align:top;padding-right:1em'"

    def line(cells: Sequence[str], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}{style}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"

    head = f"<thead>{line(headings, 'th')}</thead>" if headings else ""
    body = "\n".join(line(row, "td") for row in rows)
    return f"<table>{head}<tbody>{body}</tbody></table>"
