"""What a reconstruction remembers of its model: enough for a report, light enough to travel with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from xgpfill.kernels.functions.by_latitude import ByLatitude
from xgpfill.kernels.spec import Constant, Independent, Kernel, Matern, Sum
from xgpfill.words import aligned, html_table

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    import xarray as xr
    from numpy.typing import ArrayLike

    from xgpfill.kernels.prior import Prior


HEADINGS = ("term", "std. dev.", "time", "space")
"""Of the table of a model."""


@dataclass(frozen=True, eq=False)
class ModelSummary:
    """A fitted model in short: plain data, no observations.

    Attributes
    ----------
    heading : str
        What was fitted, how.
    table : list of (term, standard deviation, time, space)
        The covariance in words.
    hyperparameters : Dataset
        In physical units.
    prior : Prior
        The terms, in data units², days and km.
    engine : str
        "exact", "variational", ...
    facts : mapping of str to str
        Settings, choice, seconds, evaluations, likelihood, calibration.
    notes : list of str
    dims : mapping of role to name
        The fitted dimensions.
    valid : bool DataArray, True or None
        Where the field exists.
    extents : (float or None, float or None)
        Days and `space_unit` that the data span; None along an axis of which only one step or place was learned.
    noise : DataArray
        Noise variance, with standard errors that of the median one.
    units : str
        Of the variances.
    space_unit : str
    """

    heading: str
    table: list[tuple[str, str, str, str]]
    hyperparameters: xr.Dataset
    prior: Prior
    engine: str
    facts: Mapping[str, str]
    notes: list[str]
    dims: Mapping[str, Hashable]
    valid: xr.DataArray | bool | None
    extents: tuple[float | None, float | None]
    noise: xr.DataArray
    units: str
    space_unit: str = "km"

    def as_text(self) -> str:
        """As a model is shown in a terminal."""
        return "\n".join([self.heading, *aligned([HEADINGS, *self.table]), *self.notes])

    def as_html(self) -> str:
        """As a model is shown in a notebook."""
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return f"<div><b>{escape(self.heading)}</b>{html_table(self.table, HEADINGS)}{notes}</div>"

    @property
    def kernels(self) -> tuple[str, str]:
        """Short names of the kernels of time and space, of the term that has most of both."""
        terms = self.prior.terms
        product = next(
            (t for t in terms if not isinstance(t.time, Constant) and not isinstance(t.space, Constant)), None
        )
        times = (product or next((t for t in terms if not isinstance(t.time, Constant)), terms[0])).time
        space = (product or next((t for t in terms if not isinstance(t.space, Constant)), terms[0])).space
        return kernel_name(times), kernel_name(space)

    def covariance(self, time: ArrayLike | None = None, distance: ArrayLike | None = None) -> xr.Dataset:
        """Learned covariance against lag; see :meth:`xgpfill.model.FittedModel.covariance`."""
        from xgpfill.kernels.bylag import covariance_by_lag

        out = covariance_by_lag(
            self.prior, time, distance, extents=self.extents, units=self.units, space_unit=self.space_unit
        )
        table = self.hyperparameters
        for axis, unit in (("time", "days"), ("space", self.space_unit)):
            if f"{axis}_covariance" in out:  # of a periodic kernel it is not in this unit
                own = [key for key in table if str(key).startswith(f"{axis}_") and str(key).endswith("lengthscale")]
                out = out.merge({key: table[key] for key in own if table[key].attrs["units"] == unit})
        return out.assign(noise=self.noise)


def kernel_name(kernel: Kernel) -> str:
    """A kernel as one would type it.

    Examples
    --------
    >>> from xgpfill.kernels.spec import RBF, Periodic
    >>> kernel_name(Matern(1.5)), kernel_name(RBF() + Periodic(365.25))
    ('matern32', 'rbf+periodic')
    """
    if isinstance(kernel, Independent):
        return "none"
    if isinstance(kernel, Matern):
        return f"matern{int(2 * kernel.nu)}2"
    if isinstance(kernel, ByLatitude):
        return f"{kernel_name(kernel.of_one)} by latitude"
    if kernel.parts:
        return ("+" if isinstance(kernel, Sum) else "x").join(kernel_name(part) for part in kernel.parts)
    name = type(kernel).__name__
    return name.lower() if name.isupper() else re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
