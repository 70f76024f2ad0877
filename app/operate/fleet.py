"""The processes that work for this installation, as their heartbeats tell."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import text
from sqlmodel import Session

STALE_SECONDS = 20.0
"""Four beats missed: by then its leases run out, and others take its photos over."""


class WorkerState(StrEnum):
    """STALE is said of a process that is silent, by whoever looks."""

    STARTING = "starting"
    WORKING = "working"
    DRAINING = "draining"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """One worker process. `done` are its photos since its start, `recent` those of its last minute."""

    name: str
    host: str
    pid: int
    queues: str
    version: str
    state: WorkerState
    done: int
    recent: int
    seen_seconds_ago: float

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "host": self.host,
            "pid": self.pid,
            "queues": self.queues,
            "version": self.version,
            "state": self.state.value,
            "done": self.done,
            "recent": self.recent,
            "seen_seconds_ago": round(self.seen_seconds_ago, 1),
        }


def workers(session: Session) -> list[WorkerSeen]:
    """All that were seen of late, by host. Their age is by PostgreSQL's clock, as their beats are."""
    rows = session.connection().execute(
        text(
            "SELECT name, host, pid, queues, version, state, done, recent,"
            " extract(epoch FROM clock_timestamp() - seen_at)::float8 AS age"
            " FROM worker ORDER BY host, queues, pid, name"
        )
    )
    return [
        WorkerSeen(
            name=row.name,
            host=row.host,
            pid=row.pid,
            queues=row.queues,
            version=row.version,
            state=WorkerState.STALE if row.age > STALE_SECONDS else WorkerState(row.state),
            done=row.done,
            recent=row.recent if row.age <= STALE_SECONDS else 0,
            seen_seconds_ago=max(0.0, row.age),
        )
        for row in rows
    ]
