"""Pictures of fields and of how they were filled. Matplotlib and cartopy load when something is drawn."""

from __future__ import annotations

from xgpfill.plotting.maps import comparison, field_map

__all__ = ["comparison", "field_map"]
