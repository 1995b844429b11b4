"""Walks over a lattice by falling covariance, and observations by blocks of it, as compiled loops read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from xgpfill.arrays import Int32Array


class Walks(NamedTuple):
    """Lags (steps in time, rows and columns) by falling covariance, for every row or one for all.

    Attributes
    ----------
    lags : int32 array (rows or 1, n, 3)
        Steps in time and in columns are taken both ways.
    length : int32 array (rows or 1,)
    """

    lags: Int32Array
    length: Int32Array


class Map(NamedTuple):
    """Observations by block of the lattice, numbered in the order in which they may be neighbours.

    Attributes
    ----------
    walks : Walks
        In blocks.
    first : int32 array (nt, rows of blocks, columns of blocks)
        The first observation of a block; n where there is none.
    following : int32 array (n,)
        The next one of the same block, or n.
    block : int
        Rows and columns of a block; 0 where there is no such map.
    """

    walks: Walks
    first: Int32Array
    following: Int32Array
    block: int
