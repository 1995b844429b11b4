"""Units of data: how values in one become values in another, for pairs that are common. No coordinates here."""

from __future__ import annotations

KELVIN = ("K", "kelvin", "Kelvin", "degK", "deg_K", "degree_K", "degrees_K")
CELSIUS = (
    "degC", "celsius", "Celsius", "degree_Celsius", "degrees_Celsius", "deg_C", "degree_C", "degrees_C", "°C", "C",
)  # fmt: skip
PERCENT = ("%", "percent")
"""How these are spelled, the usual spelling first."""

_TEMPERATURES = {
    **dict.fromkeys(KELVIN, (1.0, 0.0)),
    **dict.fromkeys(CELSIUS, (1.0, 273.15)),
    **dict.fromkeys(("degF", "fahrenheit", "Fahrenheit", "degree_F", "degrees_F", "°F"), (5 / 9, 459.67 * 5 / 9)),
    "mK": (1e-3, 0.0),
}
_LENGTHS = {
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), (1.0, 0.0)),
    **dict.fromkeys(("km", "kilometer", "kilometers", "kilometre", "kilometres"), (1e3, 0.0)),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), (1e-2, 0.0)),
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), (1e-3, 0.0)),
    **dict.fromkeys(("ft", "foot", "feet"), (0.3048, 0.0)),
}
_PRESSURES = {
    **dict.fromkeys(("Pa", "pascal", "pascals"), (1.0, 0.0)),
    **dict.fromkeys(("hPa", "mbar", "mb", "millibar", "millibars"), (1e2, 0.0)),
    "kPa": (1e3, 0.0), "dbar": (1e4, 0.0), "bar": (1e5, 0.0),
}  # fmt: skip
_SHARES = {"1": (1.0, 0.0), **dict.fromkeys(PERCENT, (1e-2, 0.0)), "permille": (1e-3, 0.0)}
_SPEEDS = {
    **dict.fromkeys(("m s-1", "m/s", "ms-1"), (1.0, 0.0)), **dict.fromkeys(("cm s-1", "cm/s"), (1e-2, 0.0)),
    **dict.fromkeys(("km h-1", "km/h", "kmh-1"), (1 / 3.6, 0.0)),
    **dict.fromkeys(("knot", "knots", "kt", "kn"), (1852 / 3600, 0.0)),
}  # fmt: skip
_RAIN_RATES = {
    **dict.fromkeys(("kg m-2 s-1", "kg/m2/s", "mm s-1", "mm/s"), (1.0, 0.0)),
    **dict.fromkeys(("mm h-1", "mm/h", "mm hr-1", "mm/hr", "kg m-2 h-1"), (1 / 3600, 0.0)),
    **dict.fromkeys(("mm day-1", "mm/day", "mm d-1", "mm/d", "kg m-2 day-1", "kg m-2 d-1"), (1 / 86400, 0.0)),
}
_CONCENTRATIONS = {
    **dict.fromkeys(("kg m-3", "kg/m3"), (1.0, 0.0)), **dict.fromkeys(("g m-3", "g/m3"), (1e-3, 0.0)),
    **dict.fromkeys(("mg m-3", "mg/m3"), (1e-6, 0.0)),
    **dict.fromkeys(("ug m-3", "ug/m3", "µg m-3", "µg/m3", "μg m-3", "μg/m3"), (1e-9, 0.0)),
}  # fmt: skip
_KINDS = (_TEMPERATURES, _LENGTHS, _PRESSURES, _SHARES, _SPEEDS, _RAIN_RATES, _CONCENTRATIONS)
"""What one is in the base of its kind: base = factor × value + offset."""


def conversion(found: str, wanted: str) -> tuple[float, float] | None:
    """Factor and offset that make values in `found` values in `wanted`; None for units that are not known.

    Examples
    --------
    >>> conversion("degC", "K"), conversion("hPa", "Pa"), conversion("K", "Pa")
    ((1.0, 273.15), (100.0, 0.0), None)
    """
    found, wanted = _spelled(found), _spelled(wanted)
    for kind in _KINDS:
        if found in kind and wanted in kind:
            (factor, offset), (unit, zero) = kind[found], kind[wanted]
            return factor / unit, (offset - zero) / unit
    return None


def call_that_converts(found: str, wanted: str, name: str = "da", *, spread: bool = False) -> str:
    """What to type to bring `name` from units `found` to units `wanted`; empty for units that are not known.

    Of a `spread`, as standard errors are, nothing is taken off.

    Examples
    --------
    >>> call_that_converts("K", "degC"), call_that_converts("mm/day", "kg m-2 s-1")
    ("(da - 273.15).assign_attrs(units='degC')", "(da / 86400).assign_attrs(units='kg m-2 s-1')")
    """
    known = conversion(found, wanted)
    if known is None:
        return ""
    factor, offset = known[0], 0.0 if spread else known[1]
    scaled = name if factor == 1 else f"{factor:.10g} * {name}" if factor > 1 else f"{name} / {1 / factor:.10g}"
    shift = f" {'+' if offset > 0 else '-'} {abs(offset):.10g}" if offset else ""
    return f"({scaled}{shift}).assign_attrs(units={wanted!r})"


def siblings(units: str) -> list[str]:
    """Other units of the same kind, one spelling of each."""
    kind = next((kind for kind in _KINDS if _spelled(units) in kind), {})
    first: dict[tuple[float, float], str] = {}
    for name, step in kind.items():
        first.setdefault(step, name)
    return [name for step, name in first.items() if step != kind[_spelled(units)]]


def _spelled(units: str) -> str:
    """Units with exponents as udunits writes them."""
    return " ".join(units.replace("**", "").replace("^", "").split())
