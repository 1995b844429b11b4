"""Answers of tiles on disk, so that a run that was stopped goes on where it was: nothing finished is computed again.

A file is named after all that its answer depends on, the observations included, so that no answer is ever taken for
another's. It is plain numbers (npy), and there whole or not at all.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from xgpfill.arrays import FloatArray

STILL = ".unfinished"
"""The suffix of an answer that is being written."""


@dataclass(frozen=True)
class StoredAnswers:
    """Those in a folder that every worker sees.

    Attributes
    ----------
    folder : Path
        That exists.
    """

    folder: Path

    def get(self, key: str, make: Callable[[], FloatArray]) -> FloatArray:
        """The answer to a question, made and stored when it is not there."""
        path = self.folder / f"{key}.npy"
        found = _read(path)
        if found is None:
            found = make()
            temporary = self.folder / f"{key}-{uuid.uuid4().hex}{STILL}"
            with temporary.open("wb") as file:
                np.save(file, found, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        return found


def _read(path: Path) -> FloatArray | None:
    """What is there; None when nothing is, or what a broken disk left."""
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError):
        return None
