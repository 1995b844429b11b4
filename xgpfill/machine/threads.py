"""Threads of our own: work is cut into parts that do not depend on how many there are, so neither do results.

Threads inside an operation of torch or BLAS wait for each other in busy loops: on a machine that is busy with other
things a solve takes ten times as long. And how they cut a sum depends on their number. So for the time of a solve each
operation runs on one thread, and we run several operations at once.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from threading import Lock, local
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from threadpoolctl import ThreadpoolController

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scipy.spatial import cKDTree

    from xgpfill.arrays import FloatArray, IntArray

    Part = Callable[[int, int], object]

PARTS_PER_THREAD = 8


class _Own(local):
    """What the current thread shares its work among: a pool and how many threads it has."""

    pool: ThreadPoolExecutor | None = None
    threads = 1


class _Limits:
    """One thread for each operation of BLAS while anybody is here; then as many as there were before the first came.

    The number belongs to the process. Who sets it first is the only thread that threadpoolctl lets change it again, so
    a thread of our own does, for everybody, and gives that right back when the last one goes.
    """

    def __init__(self) -> None:
        self._lock, self._users, self._threads = Lock(), 0, 1
        self._before: dict[str, int] = {}
        self._keeper = ThreadPoolExecutor(1, thread_name_prefix="xgpfill-limits")

    @contextmanager
    def held(self) -> Iterator[int]:
        """Yields the number of threads that torch had before anybody came."""
        libraries = [x for x in _controller("scipy.linalg" in sys.modules).lib_controllers if x.user_api == "blas"]
        with self._lock:
            if not self._users:
                self._before, self._threads = {}, torch.get_num_threads()
            self._users += 1
            self._keeper.submit(self._limit, libraries).result()
            threads = max(self._threads, torch.get_num_threads())  # others here have set it to one for all that start
        try:
            yield threads
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._keeper.submit(self._lift, libraries).result()

    def _limit(self, libraries: list[Any]) -> None:
        for library in libraries:
            self._before.setdefault(library.filepath, library.num_threads)
            library.set_num_threads(1)

    def _lift(self, libraries: list[Any]) -> None:
        for library in libraries:
            library.set_num_threads(self._before.get(library.filepath, 1))
            with suppress(AttributeError):  # threadpoolctl before 3.8 has no such right
                type(library).clear_controlling_thread()


@cache
def _controller(_: bool) -> ThreadpoolController:
    """What limits BLAS; to look for its libraries takes milliseconds, and scipy may bring another one later."""
    return ThreadpoolController()


_OWN, _LIMITS = _Own(), _Limits()


@contextmanager
def own_threads() -> Iterator[int]:
    """Run each operation on one thread for a while; yields how many threads there are to share, those torch had.

    Within another such block nothing changes.
    """
    if _OWN.pool is not None:
        yield _OWN.threads
        return
    with _LIMITS.held() as threads:
        torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                _OWN.pool, _OWN.threads = pool, threads
                try:
                    yield threads
                finally:
                    _OWN.pool = None
        finally:
            torch.set_num_threads(threads)


def on_threads(work: Part, count: int, *, least: int = 256) -> None:
    """Call ``work(start, stop)`` for parts of ``range(count)``, of which each element is worked on by itself."""
    with own_threads() as threads:
        in_parts(work, count, max(least, -(-count // (threads * PARTS_PER_THREAD))))


def nearest_of(tree: cKDTree, points: FloatArray, count: int) -> IntArray:
    """The nearest points of a tree to each of some others, (n, count), found on our own threads."""
    found = np.empty((len(points), count), np.intp)

    def part(start: int, stop: int) -> None:
        found[start:stop] = tree.query(points[start:stop], k=count)[1].reshape(-1, count)

    on_threads(part, len(points))
    return found


def in_parts(work: Part, count: int, step: int) -> None:
    """Call ``work(start, stop)`` for parts of ``range(count)`` of `step` elements each, on our own threads."""
    with own_threads() as threads:
        starts = range(0, count, step)
        if threads == 1 or len(starts) <= 1:
            for start in starts:
                work(start, min(start + step, count))
            return
        assert _OWN.pool is not None
        for part in [_OWN.pool.submit(work, start, min(start + step, count)) for start in starts]:
            part.result()
