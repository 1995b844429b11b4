"""What ``describe`` gives: figures that write themselves out."""

from __future__ import annotations

from dataclasses import dataclass

from xgpfill.description import text
from xgpfill.description.figures import Figures


@dataclass(frozen=True, eq=False, repr=False)
class Description(Figures):
    """What ``da.gpfill.describe()`` found; text in a terminal, a small table in a notebook.

    Attributes
    ----------
    name, long_name, units, dtype : str
    axes : tuple of Axis
    geometry : str
        What distance would mean: sphere, plane, ...
    cells : int
        In all.
    steps_read, steps : int
        Steps of time that were read, and that there are.
    missing_share : float
        Share of all cells read without a value.
    gap_share : float
        Share of gaps among the cells counted: those of `valid`, or without it those that are observed at some time.
    never_share : float
        Share of the places that exist and were never observed.
    counted_all : bool
        Whether such places are counted among the gaps.
    over_time : DataArray (time,) or None
        Gap share of each step that was read.
    over_space : DataArray or None
        Gap share of each place, NaN where nothing is counted.
    patches, areas : Gaps or None
        Connected gaps of a frame, in cells and in km²; neighbours share an edge, the date line is no edge.
    durations : Gaps or None
        Unbroken gaps of a place, in days; those cut off by an end of the series count with what is seen of them.
    values : ValueRange
        Minimum, maximum, mean and standard deviation of what is observed, and the number of infinities.
    memory : str
        Size and chunks.
    problems : tuple of str
        What ``fit`` would refuse or warn of, with cures.
    suggestions : dict of str to str
        Arguments of ``fit`` that suit these data, with the reason.
    """

    def __repr__(self) -> str:
        return text.as_text(self)

    def _repr_html_(self) -> str:
        return text.as_html(self)

    @property
    def worst_time(self) -> str:
        """The step with the largest share of gaps; empty without a time axis."""
        return text.worst(self.over_time)
