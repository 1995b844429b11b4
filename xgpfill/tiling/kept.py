"""Answers of tiles that stay in this process: a lazy field that is asked for piece by piece is solved for once.

Mean and variance come from one task, and so does every frame of a tile; but what dask computes for one of them is gone
when the next is asked for. So the answers used last are kept, up to a bound; beyond it a warning says what to do.
"""

from __future__ import annotations

import uuid
import warnings
from collections import OrderedDict
from dataclasses import fields, is_dataclass
from hashlib import blake2b
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from xgpfill.errors import XgpfillWarning

if TYPE_CHECKING:
    from collections.abc import Callable

    from xgpfill.arrays import FloatArray

MOST_BYTES = 2**28
"""Kept in a process: mean and standard deviation of 16 million cells."""
MOST_REMEMBERED = 2**16
"""Answers known to have been given and not kept."""


class KeptAnswers:
    """The answers used last.

    Parameters
    ----------
    most_bytes : int
        Of all that are kept.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self._answers: OrderedDict[str, FloatArray] = OrderedDict()
        self._dropped: OrderedDict[str, None] = OrderedDict()
        self._lock = Lock()

    def get(self, key: str, make: Callable[[], FloatArray]) -> FloatArray:
        """The answer to a question, made when it is not here; not to be written to.

        Warns
        -----
        XgpfillWarning
            When it was made before and could not be kept.
        """
        with self._lock:
            if key in self._answers:
                self._answers.move_to_end(key)
                return self._answers[key]
            again = key in self._dropped
        if again:
            warnings.warn(
                f"A part of this lazy field is solved for again, since answers of more than "
                f"{self.most_bytes / 2**20:.0f} MiB are not kept. Evaluate once: `r = r.compute()`, `r.persist()` on "
                f"a cluster, or `r.to_zarr(path)`.",
                XgpfillWarning,
                stacklevel=2,
            )
        made = make()
        made.flags.writeable = False
        with self._lock:
            self._answers[key] = made
            while sum(answer.nbytes for answer in self._answers.values()) > self.most_bytes:
                self._dropped[self._answers.popitem(last=False)[0]] = None
            while len(self._dropped) > MOST_REMEMBERED:
                self._dropped.popitem(last=False)
        return made

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._answers.clear()
            self._dropped.clear()


KEPT = KeptAnswers()
"""Those of this process."""


_NAMES: dict[int, tuple[Any, str]] = {}
"""Functions and modules that users bring, each held and with a name by which it is known in this process."""


def fingerprint(*parts: Any) -> str:
    """What tells one question from another: bytes of arrays, what dataclasses are compared by, all else in words."""
    found = blake2b(digest_size=20)
    for part in parts:
        _add(found, part)
    return found.hexdigest()


def _add(found: Any, part: Any) -> None:
    if isinstance(part, np.ndarray) and part.dtype != object:
        found.update(f"{part.dtype}{part.shape}".encode())
        found.update(np.ascontiguousarray(part).data)
    elif is_dataclass(part) and type(part).__module__.startswith("xgpfill."):
        found.update(type(part).__qualname__.encode())
        for each in (own for own in fields(part) if own.compare):
            found.update(each.name.encode())
            _add(found, getattr(part, each.name))
    elif isinstance(part, (tuple, list)):
        found.update(f"{len(part)}".encode())
        for each in part:
            _add(found, each)
    elif callable(part):  # what it does depends on more than can be read
        found.update(_NAMES.setdefault(id(part), (part, uuid.uuid4().hex))[1].encode())
    else:
        found.update(repr(part).encode())
    found.update(b"|")
