"""The errors and warnings of xgpfill. Every message says what was found, what was expected and what to type."""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class XgpfillError(ValueError):
    """Base of every error that xgpfill raises on purpose."""


class DimensionError(XgpfillError):
    """A dimension is missing, ambiguous, or cannot be given a role."""


class CoordinateError(XgpfillError):
    """A coordinate cannot be used: NaN, not numeric, out of range, duplicated or unsorted."""


class DataError(XgpfillError):
    """The data cannot be fitted: nothing observed, constant, infinite, or of a wrong type."""


class AlignmentError(XgpfillError):
    """A mask, error field or target does not lie on the grid of the data."""


class VariableError(XgpfillError):
    """A variable is missing, or several could be meant and none was named."""


class KernelError(XgpfillError):
    """A kernel or combination of kernels is unknown or not valid here."""


class MethodError(XgpfillError):
    """An engine is unknown, or cannot do what was asked of it."""


class TooManyPointsError(MethodError):
    """The dense engine would need more memory than is sensible."""


class DeviceError(XgpfillError):
    """A device is unknown or absent."""


class NoiseError(XgpfillError):
    """A noise variance or standard error is negative, zero, missing or misplaced."""


class NotFittedError(XgpfillError):
    """Something was asked of a model that this object does not hold."""


class FileFormatError(XgpfillError):
    """A file is not a saved model, or was written by a newer format."""


class PlaceTakenError(XgpfillError, FileExistsError):
    """Something is already where a file was to be written; also a FileExistsError, as xarray raises."""


class NumericalError(XgpfillError):
    """A factorisation failed even after regularisation."""


class XgpfillWarning(UserWarning):
    """Base of every warning that xgpfill gives on purpose."""


def warn(message: str) -> None:
    """Warn of the line outside this package that called it, however deep the call went."""
    frames = inspect.stack(context=0)
    own = frames[0].filename.removesuffix("errors.py")
    level = next((i for i, frame in enumerate(frames) if not frame.filename.startswith(own)), len(frames) - 1)
    warnings.warn(message, XgpfillWarning, stacklevel=level + 1)


def listed(names: object) -> str:
    """Write names for a message: ``'a', 'b', 'c'``."""
    return ", ".join(repr(name) for name in names) if names else "none"  # type: ignore[attr-defined]


def shown(value: object, width: int = 60) -> str:
    """What was found, for a message: on one line and short; of data only what they are.

    Examples
    --------
    >>> shown([1, 2]), shown("x" * 100, 12)
    ('[1, 2]', "'xxxxxxxx...")
    """
    if not isinstance(value, type) and hasattr(value, "data_vars"):
        return f"<{type(value).__name__} of {listed(value.data_vars)}>"
    if not isinstance(value, type) and hasattr(value, "__array__") and getattr(value, "ndim", True):
        return f"<{type(value).__name__} of shape {getattr(value, 'shape', ())}>"
    text = " ".join(repr(value).split())
    return text if len(text) <= width else f"{text[: width - 3]}..."


def parentheses(value: object, known: Iterable[type]) -> str:
    """The cure for a class where one of its objects was meant, for a message; empty for anything else."""
    named = isinstance(value, type) and value in known
    return f" Add parentheses: `xgpfill.{value.__name__}()`." if named else ""  # type: ignore[attr-defined]
