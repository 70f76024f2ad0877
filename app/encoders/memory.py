"""Gives memory back to the system: what the networks need while running, idle workers need not.

glibc keeps freed memory, and one pool of it a thread: after a few photos a worker held 480 MB
where 150 MB are in use. One pool and a trim after two idle seconds cost nothing that can be measured
(docs/models.md); elsewhere than on glibc this module does nothing.
"""

from __future__ import annotations

import ctypes
import threading
import time
from functools import cache

_ARENA_MAX, _TRIM_THRESHOLD, _MMAP_THRESHOLD = -8, -1, -3  # malloc.h
_IDLE = 2.0  # seconds


class _Trimmer:
    """Trims once nobody has called `used` for a while."""

    def __init__(self, libc: ctypes.CDLL) -> None:
        self._libc = libc
        self._called = threading.Event()
        threading.Thread(target=self._serve, name="memory-trim", daemon=True).start()

    def used(self) -> None:
        self._called.set()

    def _serve(self) -> None:
        while self._called.wait():
            while self._called.is_set():
                self._called.clear()
                time.sleep(_IDLE)
            self._libc.malloc_trim(0)


@cache
def _trimmer() -> _Trimmer | None:
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "malloc_trim") or not hasattr(libc, "mallopt"):
        return None
    libc.mallopt(_ARENA_MAX, 1)
    libc.mallopt(_TRIM_THRESHOLD, 64 << 20)
    libc.mallopt(_MMAP_THRESHOLD, 16 << 20)  # 1 MB would halve the peak and cost half the speed
    return _Trimmer(libc)


def used() -> None:
    """Called after a network has run; the first call also sets up the process."""
    trimmer = _trimmer()
    if trimmer:
        trimmer.used()
