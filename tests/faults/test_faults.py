"""The figures of SECURITY.md against a real installation: processes are killed, nothing is lost.

The short forms run with all other tests; CLAIR_FAULTS=long runs them at full size (an hour). The
short forms let dead workers' leases run out at once; the long ones wait for them.
"""

from __future__ import annotations

import random
import signal
import time
import urllib.error
import urllib.request

import psutil
import pytest
from sqlalchemy import text

from app.core.jobs import Job
from tests.faults.conftest import LONG
from tests.faults.place import bury, wait_for

pytestmark = pytest.mark.slow

PATIENCE = 1800.0 if LONG else 90.0


def kill(process: psutil.Process, number: int = signal.SIGKILL) -> None:
    process.send_signal(number)


def kill_ingest_at_work(place, run_id: int) -> None:
    """Kills the ingest worker at a moment at which it holds photos; returns once it is back."""
    wait_for(lambda: place.states(run_id)["working"] > 0 and place.worker() is not None, PATIENCE)
    dead = place.worker()
    kill(dead)
    wait_for(lambda: (alive := place.worker()) is not None and alive.pid != dead.pid)
    if not LONG:
        bury(place.engine, place.redis)


def finish(place, run_id: int, expected) -> None:
    wait_for(lambda: place.state(run_id) == "done", PATIENCE)
    assert place.states(run_id) == {"indexed": len(expected)}
    assert [found[:2] for found in place.contents(run_id)] == expected
    if not LONG:
        place.drop_stages(run_id)


def test_killed_workers_lose_and_double_nothing(place, origin, expected):
    run_id = place.ingest("Killed workers", origin.url("/list.txt"))
    slowest = 0.0
    chance = random.Random(3)
    for _ in range(50 if LONG else 3):
        before = place.states(run_id)["indexed"]
        kill_ingest_at_work(place, run_id)
        if place.state(run_id) == "done":
            break
        slowest = max(
            slowest, wait_for(lambda n=before: place.states(run_id)["indexed"] > n, PATIENCE)
        )
        if LONG:
            time.sleep(chance.uniform(0.0, 3.0))  # so that kills meet every stage of the work
    finish(place, run_id, expected)
    assert slowest < 45 if LONG else True


def test_redis_flushed_and_killed(place, origin, expected):
    run_id = place.ingest("Redis away", origin.url("/list.txt"))
    for share in (0.1, 0.5, 0.9) if LONG else (0.1,):
        flush_and_kill_redis(place, run_id, int(share * len(expected)))
    finish(place, run_id, expected)


def flush_and_kill_redis(place, run_id: int, enough: int) -> None:
    wait_for(lambda: place.states(run_id)["indexed"] >= enough, PATIENCE)
    place.redis.flushall()
    wait_for(lambda: place.states(run_id)["indexed"] > enough, PATIENCE)
    dead = place.server("redis-server")
    kill(dead)
    wait_for(lambda: place.server("redis-server") not in (None, dead))


def test_postgres_stopped_without_mercy(place, origin, expected):
    run_id = place.ingest("PostgreSQL away", origin.url("/list.txt"))
    answers = set()
    for stop in range(10 if LONG else 1):
        enough = stop * len(expected) // 12 + 16
        wait_for(lambda n=enough: place.states(run_id)["indexed"] >= n, PATIENCE)
        acknowledged = set(place.contents(run_id))
        kill(place.server("postgres"), signal.SIGQUIT)
        wait_for(lambda: answers.add(status(place, "/readyz")) or not down(place), 15)
        wait_for(lambda: status(place, "/readyz") == 200, 15)
        assert acknowledged <= set(place.contents(run_id))
    finish(place, run_id, expected)
    assert answers <= {200, 503}


def down(place) -> bool:
    return place.state(1) == "unknown"


def status(place, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{place.port}{path}", timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


class Twice:
    """A queue that delivers every message twice."""

    def __init__(self, queue) -> None:
        self._queue = queue

    def send(self, job, *arguments, delay=None):
        for _ in range(2):
            self._queue.send(job, *arguments, delay=delay)


def test_every_message_twice(place, origin, expected):
    """The test reads the source itself, to send what a worker would send, twice."""
    import asyncio

    from app.encoders.registry import profile_models
    from app.ingest.discovery import Discovery
    from app.sources.addresses import AddressPolicy
    from app.sources.http import Fetcher
    from app.sources.open import source_for
    from app.storage.engine import session_scope
    from app.storage.progress import ProgressPublisher
    from app.storage.vectors import model_number
    from tests.origin import LOOPBACK

    class Kept:
        def send(self, job, *arguments, delay=None):
            """Not sent: this test does that job itself."""

    run_id = place.ingest("Twice", origin.url("/list.txt"), Kept())
    with session_scope(place.engine) as session:
        model = model_number(session, profile_models("pocket")[0])

    async def discover() -> None:
        async with Fetcher(AddressPolicy(LOOPBACK)) as fetcher:
            discovery = Discovery(
                engine=place.engine,
                jobs=Twice(place.queue),
                progress=ProgressPublisher(place.services.redis_url),
                open_source=lambda kind, uri: source_for(kind, uri, fetcher=fetcher),
                model=model,
                chunk_size=16,
            )
            await asyncio.gather(discovery.run(run_id), discovery.run(run_id))

    asyncio.run(discover())
    Twice(place.queue).send(Job.DISCOVER, run_id)
    finish(place, run_id, expected)
    assert sum(origin.requests.values()) == len(expected) + 1


def test_the_supervisor_killed_and_started_again(place, origin, expected):
    run_id = place.ingest("Supervisor killed", origin.url("/list.txt"))
    wait_for(lambda: place.states(run_id)["indexed"] > 0, PATIENCE)
    family = [place.supervisor, *place.supervisor.children(recursive=True)]
    kill(family[0])
    _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == []
    place.start()
    if not LONG:
        bury(place.engine, place.redis)
    finish(place, run_id, expected)


@pytest.mark.skipif(not LONG, reason="takes a minute: CLAIR_FAULTS=long runs it")
def test_stopped_and_started_again_in_the_middle(place, origin, expected):
    """Nobody is charged with a death, and the stages after the ingest come by themselves too."""
    run_id = place.ingest("Stopped", origin.url("/list.txt"))
    wait_for(lambda: place.states(run_id)["indexed"] > 0, PATIENCE)
    place.stop()
    place.start()
    left = place.states(run_id)
    assert left["working"] == 0
    wait_for(lambda: place.states(run_id)["indexed"] > left["indexed"], 45)
    assert deaths(place, run_id) == 0
    finish(place, run_id, expected)
    wait_for(lambda: place.whole(run_id), PATIENCE)


def deaths(place, run_id: int) -> int:
    with place.engine.connect() as connection:
        return connection.execute(
            text("SELECT sum(deaths) FROM photo WHERE run_id = :r"), {"r": run_id}
        ).scalar_one()
