"""The time that one request may take, and the bytes that it must bring meanwhile (SECURITY.md 11)."""

from __future__ import annotations

import asyncio
from types import TracebackType

import aiohttp

LOOK_EVERY = 0.25
"""Seconds: how late a clock may ring."""


class Stalled(Exception):
    """A window of time brought fewer bytes than the minimum rate asks for."""


class Clocks:
    """The clocks of all requests of one event loop, behind one timer: a timeout around each step of
    a request costs more than the step.

    `seconds`: for a whole request. `min_rate`: bytes a second, counted over `window` seconds.
    """

    def __init__(self, seconds: float, window: float, min_rate: float) -> None:
        self.seconds, self.window, self.least = seconds, window, min_rate * window
        self.running: set[RequestClock] = set()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> RequestClock:
        """A clock that runs from now on until it is stopped."""
        loop = asyncio.get_running_loop()
        clock = RequestClock(self, loop)
        self.running.add(clock)
        if self._timer is None:
            self._timer = loop.call_later(LOOK_EVERY, self._look, loop)
        return clock

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for clock in tuple(self.running):
            clock.look(now)
        self._timer = loop.call_later(LOOK_EVERY, self._look, loop) if self.running else None


class RequestClock:
    """What one request may take, from its beginning to the end of its body.

    What is waited for at the deadline ends with TimeoutError; a body that is too slow, with Stalled.
    Time in which nobody waits is the reader's, not the origin's, and ends nothing. `with clock:`
    surrounds the wait for the answer; after `begin`, `reading` is set while the body's next bytes
    are waited for, and `arrived` counts what came.
    """

    late = False
    reading: aiohttp.StreamReader | None = None
    arrived = 0
    _asking: asyncio.Task[object] | None = None
    _cancelled = 0
    _rang = False

    def __init__(self, clocks: Clocks, loop: asyncio.AbstractEventLoop) -> None:
        self._clocks, self._loop = clocks, loop
        self._answered_at = loop.time()
        self._deadline = self._answered_at + clocks.seconds
        self._window_ends = self._answered_at + clocks.window

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine of asyncio runs in one
        self._asking, self._cancelled = task, task.cancelling()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task, self._asking = self._asking, None
        self._answered_at = self._loop.time()
        # As asyncio.timeout does it: a cancellation from elsewhere stays one.
        if self._rang and task is not None and task.uncancel() <= self._cancelled:
            self._rang = False
            if kind is not None and issubclass(kind, asyncio.CancelledError):
                raise TimeoutError from error

    def begin(self) -> None:
        """The body is read from now on; what passed since the answer does not count."""
        now = self._loop.time()
        self._deadline += now - self._answered_at
        self._window_ends = now + self._clocks.window
        self.late = False

    def stop(self) -> None:
        self._clocks.running.discard(self)

    def look(self, now: float) -> None:
        if now >= self._deadline:
            self.late = True
            if self._asking is not None and not self._rang:
                self._rang = True
                self._asking.cancel()
            if self.reading is not None:
                self.reading.set_exception(TimeoutError())
        elif now >= self._window_ends:
            if self.reading is not None and self.arrived < self._clocks.least:
                self.reading.set_exception(Stalled())
            self.arrived, self._window_ends = 0, now + self._clocks.window
