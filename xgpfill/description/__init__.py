"""What a gappy field is, before anything is fitted to it: axes, gaps, values, and the settings that suit it."""

from __future__ import annotations

from xgpfill.description.describe import describe
from xgpfill.description.description import Description
from xgpfill.description.figures import Axis, Gaps

__all__ = ["Axis", "Description", "Gaps", "describe"]
