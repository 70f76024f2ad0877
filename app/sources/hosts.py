"""How hard one host may be asked: at most n requests at once, and none before it wants more."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime

from app.core.errors import SourceUnavailable

REMEMBERED_HOSTS = 1024
LONGEST_RETRY_AFTER = 3600.0
LONGEST_PAUSE = 20.0
"""Seconds for which one answer of 429 or 503 quiets a whole host. Its photo waits for as long as it
was told; the host's other photos may well be served."""


class _Slots:
    """A fair semaphore, of which a free slot is taken without a coroutine: a fetch takes two."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[asyncio.Future[None]] = deque()

    def take(self) -> bool:
        if self._free < 1 or self._waiting:
            return False
        self._free -= 1
        return True

    async def take_in_turn(self) -> None:
        if self.take():
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.give()  # the slot came in the same moment
            elif turn in self._waiting:
                self._waiting.remove(turn)
            raise

    def give(self) -> None:
        """To whoever has waited the longest, or back."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class _Host:
    def __init__(self, limit: int) -> None:
        self.slots = _Slots(limit)
        self.users = 0
        self.not_before = 0.0  # on the monotonic clock


class HostGate:
    """Slots for requests, overall and per host, and each host's Retry-After."""

    def __init__(self, concurrency: int, per_host: int) -> None:
        self._all = _Slots(concurrency)
        self._per_host = per_host
        self._hosts: dict[str, _Host] = {}

    @asynccontextmanager
    async def slot(self, origin: str) -> AsyncIterator[None]:
        """Waits for a free slot, and gives it back at the end."""
        await self.enter(origin)
        try:
            yield
        finally:
            self.leave(origin)

    def enter_now(self, origin: str) -> bool:
        """Takes a slot if one is free; `leave` gives it back."""
        host = self._host(origin)
        if not host.slots.take():
            return False
        if not self._all.take():
            host.slots.give()
            return False
        host.users += 1
        return True

    async def enter(self, origin: str) -> None:
        """Waits for a free slot; `leave` gives it back. The host's own comes first: a slow host
        must not fill the rest."""
        host = self._host(origin)
        host.users += 1
        try:
            await host.slots.take_in_turn()
            try:
                await self._all.take_in_turn()
            except BaseException:
                host.slots.give()
                raise
        except BaseException:
            host.users -= 1
            raise

    def leave(self, origin: str) -> None:
        """Gives the slot of an `enter` back."""
        host = self._hosts[origin]  # kept while it has users
        self._all.give()
        host.slots.give()
        host.users -= 1

    def postpone(self, origin: str, seconds: float) -> None:
        """Nobody asks this host again before `seconds` have passed."""
        host = self._host(origin)
        pause = min(seconds, LONGEST_PAUSE)
        host.not_before = max(host.not_before, time.monotonic() + pause)

    def wait_left(self, origin: str) -> float:
        """Seconds until the host may be asked again; 0 for now."""
        host = self._hosts.get(origin)
        if host is None or not host.not_before:
            return 0.0
        return max(0.0, host.not_before - time.monotonic())

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
