"""The heartbeat of a worker process: its row in the table of workers."""

from __future__ import annotations

import os
import platform
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy import Engine, text

from app import __version__
from app.core.errors import DiskFull, ServiceDown
from app.operate.fleet import WorkerState
from app.storage.engine import session_scope

EVERY_SECONDS = 5.0
FORGET_SECONDS = 600.0
RECENT_SECONDS = 60.0

_BEAT = text(
    "INSERT INTO worker (name, host, pid, queues, version, state, done, recent)"
    " VALUES (:name, :host, :pid, :queues, :version, :state, :done, :recent)"
    " ON CONFLICT (name) DO UPDATE SET seen_at = now(), state = excluded.state,"
    " done = excluded.done, recent = excluded.recent"
)
_FORGET = text("DELETE FROM worker WHERE seen_at < now() - make_interval(secs => :old)")


class Pulse(threading.Thread):
    """Says every few seconds that this process is alive, and takes the row away at the end.

    `done` tells how many photos the process has finished since its start.
    """

    def __init__(
        self, engine: Engine, queues: list[str], *, done: Callable[[], int] = lambda: 0
    ) -> None:
        super().__init__(name="pulse", daemon=True)
        self._engine, self._queues, self._done = engine, ", ".join(sorted(queues)), done
        # Two machines may have one name, and in containers every process the same number.
        self._name = f"{platform.node()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._state = WorkerState.STARTING
        self._history = deque([(time.monotonic(), 0)])
        self._due = threading.Event()
        self._stopped = False

    def say(self, state: WorkerState) -> None:
        """Show another state from now on."""
        if state is not self._state:
            self._state = state
            self._due.set()

    def run(self) -> None:
        while not self._stopped:
            self._due.clear()
            # A missed beat is made good by the next; the page shows how long ago the last one was.
            with suppress(ServiceDown, DiskFull):
                self._beat()
            self._due.wait(EVERY_SECONDS)

    def _beat(self) -> None:
        done = self._done()
        with session_scope(self._engine) as session:
            session.connection().execute(
                _BEAT,
                {
                    "name": self._name,
                    "host": platform.node(),
                    "pid": os.getpid(),
                    "queues": self._queues,
                    "version": __version__,
                    "state": self._state,
                    "done": done,
                    "recent": self._recent(done),
                },
            )
            session.connection().execute(_FORGET, {"old": FORGET_SECONDS})

    def _recent(self, done: int) -> int:
        """Photos of the last minute, by the beats that were noted since."""
        now = time.monotonic()
        self._history.append((now, done))
        while len(self._history) > 1 and self._history[1][0] <= now - RECENT_SECONDS:
            self._history.popleft()
        return done - self._history[0][1]

    def stop(self) -> None:
        """Take the row away; to be called once nothing is in hand any more."""
        self._stopped = True
        self._due.set()
        self.join(timeout=EVERY_SECONDS)
        with suppress(ServiceDown, DiskFull), session_scope(self._engine) as session:
            # Where this fails the row is forgotten by age.
            session.connection().execute(
                text("DELETE FROM worker WHERE name = :name"), {"name": self._name}
            )
