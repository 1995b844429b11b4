"""Fields continued past their edges by linear prediction, so that stencils and networks have sane borders.

The arithmetic is in :mod:`xgpfill.padding.predictors` and :mod:`xgpfill.padding.continuation` and knows arrays alone.
No torch here; the Gaussian process that continues a field is in :mod:`xgpfill.padding.continuing`.
"""

from __future__ import annotations

from xgpfill.padding.linear import METHODS, checked_method, linearly_continued
from xgpfill.padding.margins import Dims, Margins, read_margins, require_whole

__all__ = ["METHODS", "Dims", "Margins", "checked_method", "linearly_continued", "read_margins", "require_whole"]
