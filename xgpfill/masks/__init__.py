"""Masks that hide cells of a field, to learn on one part and test on the other. No scores and no data live here.

A mask is a boolean DataArray on the field's dimensions and coordinates, **True = observed**: ``da.where(mask)`` hides.
`probability` is the share of cells that is hidden. The same seed gives the same mask, whatever the chunks; on lazy data
the mask is lazy and has the field's chunks. Roles of dimensions are found as in ``fit``, or named by ``dims=``; as
there, dimensions that have none (member, level) are independent fields: each has gaps of its own. To hide the same
cells in all of them, make the mask of one: ``masks.random(da.isel(member=0, drop=True), 0.5)``.

>>> import xgpfill
>>> sst = xgpfill.datasets.synthetic_sst(days=4).truth
>>> mask = xgpfill.masks.clouds(sst, 0.6, lengthscale=150.0, duration=2.0, seed=1)
>>> round(float((~mask).mean()), 2)
0.6
"""

from xgpfill.masks._cells import blocks, other_days, random
from xgpfill.masks._orbits import tracks
from xgpfill.masks._weather import clouds

__all__ = ["blocks", "clouds", "other_days", "random", "tracks"]
