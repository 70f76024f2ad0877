"""The heartbeat of a worker process: its row in the table of workers."""

from __future__ import annotations

import os
import platform
import threading
from contextlib import suppress

from sqlalchemy import Engine, text

from app.core.errors import DiskFull, ServiceDown
from app.storage.engine import session_scope

EVERY_SECONDS = 5.0
FORGET_SECONDS = 600.0


class Pulse(threading.Thread):
    """Says every few seconds that this process is alive, and takes the row away at the end."""

    def __init__(self, engine: Engine, queues: list[str]) -> None:
        super().__init__(name="pulse", daemon=True)
        self._engine, self._queues = engine, ", ".join(sorted(queues))
        self._name = f"{platform.node()}:{os.getpid()}"
        self._stopped = threading.Event()

    def run(self) -> None:
        while True:
            # A missed beat is made good by the next; the page shows how long ago the last one was.
            with suppress(ServiceDown, DiskFull):
                self._beat()
            if self._stopped.wait(EVERY_SECONDS):
                return

    def _beat(self) -> None:
        with session_scope(self._engine) as session:
            session.connection().execute(
                text(
                    "INSERT INTO worker (name, host, pid, queues) VALUES (:name, :host, :pid, :q)"
                    " ON CONFLICT (name) DO UPDATE SET seen_at = now(), queues = excluded.queues"
                ),
                {
                    "name": self._name,
                    "host": platform.node(),
                    "pid": os.getpid(),
                    "q": self._queues,
                },
            )
            session.connection().execute(
                text("DELETE FROM worker WHERE seen_at < now() - make_interval(secs => :old)"),
                {"old": FORGET_SECONDS},
            )

    def stop(self) -> None:
        self._stopped.set()
        self.join(timeout=EVERY_SECONDS)
        try:
            with session_scope(self._engine) as session:
                session.connection().execute(
                    text("DELETE FROM worker WHERE name = :name"), {"name": self._name}
                )
        except (ServiceDown, DiskFull):
            return  # the row is forgotten by age
