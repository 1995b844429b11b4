"""Land that observations do not see across: basins of water, and places that are joined over water.

A Vecchia approximation is positive definite whatever neighbours it takes (Datta et al. 2016), so those across land can
be left out. How the field is conditioned on the neighbours that are left is told in :mod:`xgpfill.engines.vecchia`.
"""

from __future__ import annotations
