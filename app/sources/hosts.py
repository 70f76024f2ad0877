"""How hard one host may be asked: at most n requests at once, and none before it wants more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime

from app.core.errors import SourceUnavailable

REMEMBERED_HOSTS = 1024
LONGEST_RETRY_AFTER = 3600.0
LONGEST_PAUSE = 20.0
"""Seconds for which one answer of 429 or 503 quiets a whole host. Its photo waits for as long as it
was told; the host's other photos may well be served."""


class _Host:
    def __init__(self, limit: int) -> None:
        self.slots = asyncio.Semaphore(limit)
        self.users = 0
        self.not_before = 0.0  # on the monotonic clock


class HostGate:
    """Slots for requests, overall and per host, and each host's Retry-After."""

    def __init__(self, concurrency: int, per_host: int) -> None:
        self._all = asyncio.Semaphore(concurrency)
        self._per_host = per_host
        self._hosts: dict[str, _Host] = {}

    @asynccontextmanager
    async def slot(self, origin: str) -> AsyncIterator[None]:
        """Waits for a free slot. The host's own comes first: a slow host must not fill the rest."""
        host = self._host(origin)
        host.users += 1
        try:
            async with host.slots, self._all:
                yield
        finally:
            host.users -= 1

    def postpone(self, origin: str, seconds: float) -> None:
        """Nobody asks this host again before `seconds` have passed."""
        host = self._host(origin)
        pause = min(seconds, LONGEST_PAUSE)
        host.not_before = max(host.not_before, time.monotonic() + pause)

    def wait_left(self, origin: str) -> float:
        """Seconds until the host may be asked again; 0 for now."""
        host = self._hosts.get(origin)
        return max(0.0, host.not_before - time.monotonic()) if host else 0.0

    async def wait(self, origin: str, longest: float) -> None:
        """Sleeps until the host may be asked. Raises SourceUnavailable where that takes longer."""
        left = self.wait_left(origin)
        if left > longest:
            raise SourceUnavailable(
                "rate-limited", f"{origin} asked to be left alone for {left:.0f} s.", after=left
            )
        if left > 0:
            await asyncio.sleep(left)

    def _host(self, origin: str) -> _Host:
        host = self._hosts.pop(origin, None) or _Host(self._per_host)
        self._hosts[origin] = host  # the youngest use stands last
        if len(self._hosts) > REMEMBERED_HOSTS:
            now = time.monotonic()
            for name, other in list(self._hosts.items())[:-1]:
                if other.users == 0 and other.not_before <= now:
                    del self._hosts[name]
                    break
        return host


def retry_after(value: str | None) -> float | None:
    """Seconds from a Retry-After header, in either form of RFC 9110 10.2.3, capped at an hour."""
    if not value:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_RETRY_AFTER)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)
