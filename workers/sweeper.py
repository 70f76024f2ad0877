"""The sweeper: brings back what fell out of the queue. Any number may run; one works at a time."""

from __future__ import annotations

import logging
import threading
import time

from redis.exceptions import RedisError
from sqlalchemy import Engine, text

from app.core.errors import ServiceDown
from app.core.jobs import Queue
from app.ingest import ledger, runs
from app.ingest.consent import expire_faces
from app.ingest.nudges import send_tickets
from app.ingest.rescan import due_sources
from app.storage.engine import session_scope
from app.storage.queue import RedisJobQueue
from app.storage.tables import Source

log = logging.getLogger(__name__)

EVERY_SECONDS = 5.0
FIRST_SECONDS = 1.0
"""Before the first sweep: whoever starts, perhaps after a crash, shall find work soon."""
AFTER_OUTAGE_SECONDS = 10.0
"""Before the first sweep after an outage of PostgreSQL: live workers renew their leases meanwhile, or
give them back, so that the outage is not counted as their deaths."""
EXPIRE_EVERY_SECONDS = 60.0
_LOCK = 7_263_418_250_114_002


def sweep_once(engine: Engine, jobs: RedisJobQueue, chunk_size: int) -> int:
    """One round; returns the number of messages sent. Does nothing while another sweeper works."""
    waiting = jobs.lengths()
    empty = {q for q in Queue if waiting[q][0] == 0}
    idle = {q for q in empty if jobs.in_flight(q) == 0}
    with session_scope(engine) as session:
        connection = session.connection()
        mine = connection.execute(
            text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}
        ).scalar_one()
        if not mine:
            return 0
        swept = ledger.sweep(session)
        for source_id in due_sources(session):
            source = session.get(Source, source_id)
            if source is not None:
                runs.start_scan(session, source)
        to_send = runs.sweep_runs(session, idle=idle, empty=empty)
    if swept.quarantined or swept.suspects:
        log.warning(
            "%d photos lost their worker, %d were quarantined",
            swept.suspects + swept.quarantined,
            swept.quarantined,
        )
    for job, run_id in to_send:
        jobs.send(job, run_id)
    # A ticket names no photo, so while some are waiting none is missing.
    tickets = send_tickets(jobs, swept.due, chunk_size) if Queue.INGEST in empty else 0
    return len(to_send) + tickets


class Sweeper(threading.Thread):
    """Sweeps every few seconds until stopped."""

    def __init__(self, engine: Engine, jobs: RedisJobQueue, chunk_size: int) -> None:
        super().__init__(name="sweeper", daemon=True)
        self._engine, self._jobs, self._chunk_size = engine, jobs, chunk_size
        self._stopped = threading.Event()
        self._expire_at = 0.0

    def run(self) -> None:
        pause = FIRST_SECONDS
        while not self._stopped.wait(pause):
            pause = EVERY_SECONDS
            try:
                sweep_once(self._engine, self._jobs, self._chunk_size)
                self._expire()
            except ServiceDown as error:
                log.warning("sweeping waits: %s", error)
                if not isinstance(error.__cause__, RedisError):  # leases are in PostgreSQL
                    pause = AFTER_OUTAGE_SECONDS
            except Exception:
                log.exception("a sweep failed; the next one tries again")

    def _expire(self) -> None:
        if time.monotonic() < self._expire_at:
            return
        self._expire_at = time.monotonic() + EXPIRE_EVERY_SECONDS
        with session_scope(self._engine) as session:
            deleted = expire_faces(session)
        if deleted:
            log.info("%d faces were deleted: their retention is over", deleted)

    def stop(self) -> None:
        self._stopped.set()
