"""What a test does to an installation and reads of it, however that one is run."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from contextlib import suppress

import redis
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from app.core.errors import ServiceDown
from app.core.jobs import Job
from app.ingest import figures, runs
from app.ingest.nudges import nudge
from app.storage.engine import make_engine, session_scope
from app.storage.events import create_event
from app.storage.queue import RedisJobQueue


class Installation:
    """The test's own connections to an installation's services."""

    engine: Engine
    queue: RedisJobQueue
    redis: redis.Redis

    def connect(self, database_url: str, redis_url: str) -> None:
        self.engine = make_engine(database_url, pool_size=2)
        self.queue = RedisJobQueue(redis_url)
        self.redis = redis.Redis.from_url(redis_url)

    def disconnect(self) -> None:
        self.engine.dispose()
        self.queue.close()
        self.redis.close()

    def ingest(self, event: str, uri: str, kind: str = "list", queue=None) -> int:
        """Starts an ingest as pages and API do; returns the run."""
        with session_scope(self.engine) as session:
            run_id = runs.start_ingest(session, create_event(session, event), kind, uri).id
        nudge(queue or self.queue, Job.DISCOVER, run_id)
        return run_id

    def rows(self, statement: str, **values) -> list[tuple]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement), values)]

    def execute(self, statement: str, **values) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement), values)

    def states(self, run_id: int) -> Counter[str]:
        """How many photos of the run are in which state; empty while PostgreSQL is away."""
        statement = "SELECT state, count(*) FROM photo WHERE run_id = :r GROUP BY 1"
        with suppress(DBAPIError):
            return Counter(dict(self.rows(statement, r=run_id)))
        return Counter()

    def state(self, run_id: int) -> str:
        with suppress(ServiceDown), session_scope(self.engine) as session:
            return figures.run_summary(session, run_id).state
        return "unknown"

    def summary(self, run_id: int):
        with session_scope(self.engine) as session:
            return figures.run_summary(session, run_id)

    def whole(self, run_id: int) -> bool:
        """Whether the ingest and the stages after it are done."""
        with suppress(ServiceDown):
            summary = self.summary(run_id)
            return {summary.state, *summary.stages.values()} == {"done"}
        return False

    def drop_stages(self, run_id: int) -> None:
        """Leave the graph of this ingest out: its layout would take the next test's processor."""
        self.execute(
            "UPDATE run SET state = 'failed' WHERE parent_id = :r AND state = 'pending'", r=run_id
        )

    def contents(self, run_id: int) -> list[tuple[str, str, str]]:
        """(file, hash of the original, thumbnail) of every indexed photo that has one vector."""
        found = self.rows(
            "SELECT uri, encode(sha256, 'hex'), thumb, (SELECT count(*) FROM photo_vector"
            " v WHERE v.photo_id = photo.id) FROM photo WHERE run_id = :r AND state = 'indexed'",
            r=run_id,
        )
        assert {row[3] for row in found} <= {1}
        return sorted((row[0].rsplit("/", 1)[-1], row[1], row[2]) for row in found)

    def deaths(self, run_id: int) -> int:
        return self.rows("SELECT sum(deaths) FROM photo WHERE run_id = :r", r=run_id)[0][0]

    def bury(self, photo_ids: list[int] | None = None) -> None:
        """What 20 seconds do: leases run out, and what a dead worker held is in the queue again.

        `photo_ids`: only those of the dead one, where others live.
        """
        self.execute(
            "UPDATE photo SET lease_until = now() WHERE state = 'working'"
            " AND (CAST(:ids AS bigint[]) IS NULL OR id = ANY(:ids))",
            ids=photo_ids,
        )
        self.execute(
            "UPDATE run SET lease_until = now() WHERE state = 'working' AND lease_until IS NOT NULL"
        )
        for queue in ("ingest", "discover"):
            for key in self.redis.scan_iter(f"dramatiq:__acks__.*.{queue}"):
                for message in self.redis.smembers(key):
                    self.redis.rpush(f"dramatiq:{queue}", message)
                self.redis.delete(key)

    def make_due(self) -> None:
        """What waiting does: photos that are to be tried again later are due now."""
        self.execute("UPDATE photo SET retry_at = now() WHERE state = 'retry'")


class Kept:
    """A queue that keeps what is sent: the test does that job itself."""

    def send(self, job, *arguments, delay=None):
        return None


def hashes(photos: dict[str, bytes]) -> list[tuple[str, str]]:
    """(file, hash of its bytes) of every photo: each must be there once, whatever happened."""
    return sorted((name, hashlib.sha256(data).hexdigest()) for name, data in photos.items())


def wait_for(holds, seconds: float = 90.0) -> float:
    """Asks until the answer is yes; returns the seconds it took. Fails after `seconds`."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > seconds:
            raise AssertionError(f"it did not come true within {seconds:g} s")
        time.sleep(0.02)
    return time.monotonic() - began
