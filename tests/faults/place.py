"""An installation to break: `clairvision up` in a process family of its own, and its rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import redis
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from app.core.errors import ServiceDown
from app.core.jobs import Job
from app.embedded.services import Services, running_services
from app.ingest import figures, runs
from app.settings import Settings
from app.storage.engine import make_engine, session_scope
from app.storage.events import create_event
from app.storage.queue import RedisJobQueue


@dataclass
class Place:
    """`engine` and `queue` are the test's own connections to the installation's services."""

    home: Path
    port: int

    def start(self) -> None:
        done = self._cli("up", "--detach", "--port", str(self.port))
        assert done.returncode == 0, done.stderr
        found = running_services(Settings.from_environment({}, home=self.home))
        assert found is not None
        self.services: Services = found
        self.engine: Engine = make_engine(found.database_url, pool_size=2)
        self.queue = RedisJobQueue(found.redis_url)
        self.redis = redis.Redis.from_url(found.redis_url)

    def stop(self) -> None:
        done = self._cli("down")
        assert done.returncode == 0, done.stderr

    def _cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "app.cli", *arguments, "--home", str(self.home)],
            env={
                **os.environ,
                "CLAIR_ALLOWED_CIDRS": "127.0.0.0/8",
                "DATABASE_URL": "",
                "REDIS_URL": "",
            },
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def supervisor(self) -> psutil.Process:
        noted = json.loads((self.home / "run" / "supervisor.json").read_text())
        return psutil.Process(noted["pid"])

    def worker(self, name: str = "ingest") -> psutil.Process | None:
        """The supervised child of this name; None while it is being started again."""
        noted = json.loads((self.home / "run" / "supervisor.json").read_text())
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(noted["children"].get(name, 0))
            if process.status() != psutil.STATUS_ZOMBIE and "--queues" in process.cmdline():
                return process
        return None

    def server(self, name: str) -> psutil.Process | None:
        """The first process of `postgres` or `redis-server`; None while it is started again."""
        for process in self.supervisor.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if process.name() == name and process.parent().name() != name:
                    return process
        return None

    def ingest(self, event: str, url: str, queue: RedisJobQueue | None = None) -> int:
        """Starts an ingest as the API does; returns the run."""
        with session_scope(self.engine) as session:
            run = runs.start_ingest(session, create_event(session, event), "list", url)
            run_id = run.id
        (queue or self.queue).send(Job.DISCOVER, run_id)
        return run_id

    def states(self, run_id: int) -> Counter[str]:
        """How many photos of the run are in which state; empty while PostgreSQL is away."""
        try:
            with self.engine.connect() as connection:
                rows = connection.execute(
                    text("SELECT state, count(*) FROM photo WHERE run_id = :r GROUP BY 1"),
                    {"r": run_id},
                ).all()
        except DBAPIError:
            return Counter()
        return Counter(dict(map(tuple, rows)))

    def state(self, run_id: int) -> str:
        with suppress(ServiceDown), session_scope(self.engine) as session:
            return figures.run_summary(session, run_id).state
        return "unknown"

    def whole(self, run_id: int) -> bool:
        """Whether the ingest and the stages after it are done."""
        with suppress(ServiceDown), session_scope(self.engine) as session:
            summary = figures.run_summary(session, run_id)
            return {summary.state, *summary.stages.values()} == {"done"}
        return False

    def drop_stages(self, run_id: int) -> None:
        """Leave the graph of this ingest out: its layout would take the next test's processor."""
        with session_scope(self.engine) as session:
            session.connection().execute(
                text("UPDATE run SET state = 'failed' WHERE parent_id = :r AND state = 'pending'"),
                {"r": run_id},
            )

    def contents(self, run_id: int) -> list[tuple[str, str, str]]:
        """(file, hash of the original, thumbnail) of every indexed photo that has one vector."""
        with self.engine.connect() as connection:
            rows = connection.execute(
                text(
                    "SELECT uri, encode(sha256, 'hex'), thumb, (SELECT count(*) FROM photo_vector"
                    " v WHERE v.photo_id = photo.id) FROM photo WHERE run_id = :r"
                    " AND state = 'indexed'"
                ),
                {"r": run_id},
            ).all()
        assert {row[3] for row in rows} <= {1}
        return sorted((row[0].rsplit("/", 1)[-1], row[1], row[2]) for row in rows)


def bury(engine: Engine, client: redis.Redis) -> None:
    """What 20 seconds do: leases run out, and what a dead worker held is in the queue again."""
    with session_scope(engine) as session:
        for table in ("photo", "run"):
            session.connection().execute(
                text(
                    f"UPDATE {table} SET lease_until = now()"
                    " WHERE state = 'working' AND lease_until IS NOT NULL"
                )
            )
    for key in client.scan_iter("dramatiq:__acks__.*.ingest"):
        for message in client.smembers(key):
            client.rpush("dramatiq:ingest", message)
        client.delete(key)


def wait_for(holds, seconds: float = 90.0) -> float:
    """Asks until the answer is yes; returns the seconds it took. Fails after `seconds`."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > seconds:
            raise AssertionError(f"it did not come true within {seconds:g} s")
        time.sleep(0.02)
    return time.monotonic() - began
