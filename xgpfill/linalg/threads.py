"""Threads of our own: work is cut into parts that do not depend on how many there are, so neither do results.

Threads inside an operation of torch or BLAS wait for each other in busy loops: on a machine that is busy with other
things a solve takes ten times as long. And how they cut a sum depends on their number. So for the time of a solve each
operation runs on one thread, and we run several operations at once.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from threading import Lock, local
from typing import TYPE_CHECKING

import torch
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Part = Callable[[int, int], object]

PARTS_PER_THREAD = 8


class _Own(local):
    """What the current thread shares its work among: a pool and how many threads it has."""

    pool: ThreadPoolExecutor | None = None
    threads = 1


class _Limits:
    """Limits of BLAS belong to the process: the first to come sets them, the last to go lifts them."""

    def __init__(self) -> None:
        self._lock, self._users, self._stack = Lock(), 0, ExitStack()

    @contextmanager
    def held(self) -> Iterator[None]:
        """One thread for each operation of BLAS."""
        with self._lock:
            if not self._users:
                self._stack.enter_context(threadpool_limits(1, user_api="blas"))
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._stack.close()


_OWN, _LIMITS = _Own(), _Limits()


@contextmanager
def own_threads() -> Iterator[int]:
    """Run each operation on one thread for a while; yields how many threads there are to share, those torch had.

    Within another such block nothing changes.
    """
    if _OWN.pool is not None:
        yield _OWN.threads
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _LIMITS.held(), ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
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
