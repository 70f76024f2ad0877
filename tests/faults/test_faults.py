"""The figures of SECURITY.md against a real installation: processes are killed, nothing is lost.

The short forms run with all other tests; CLAIR_FAULTS=long runs them at full size (an hour). The
short forms let dead workers' leases run out at once; the long ones wait for them.
"""

from __future__ import annotations

import asyncio
import random
import signal
import threading
import time

import psutil
import pytest

from app.core.jobs import Job
from app.core.sources import SourceSpec
from app.encoders.registry import profile_models
from app.ingest.discovery import Discovery
from app.sources.addresses import AddressPolicy
from app.sources.http import Fetcher
from app.sources.kinds import SourceTools
from app.sources.open import SourceOpener
from app.storage.engine import session_scope
from app.storage.progress import ProgressPublisher
from app.storage.vectors import model_number
from tests.faults.conftest import LONG, PATIENCE, note, note_times, only_long
from tests.faults.installation import Kept, hashes, wait_for
from tests.origin import LOOPBACK

pytestmark = pytest.mark.slow

KILLS = 50 if LONG else 2
STOPS = 10 if LONG else 1


def finish(place, run_id: int, expected, *, stages: bool = False) -> None:
    """To the end of the ingest, with everything there once; its graph and layout where wanted."""
    wait_for(lambda: place.state(run_id) == "done", PATIENCE)
    if not stages:
        place.drop_stages(run_id)
    assert place.states(run_id) == {"indexed": len(expected)}
    assert [found[:2] for found in place.contents(run_id)] == expected


def test_killed_workers_lose_and_double_nothing(place, origin, expected):
    """Kills are spread over the whole run; each waits for a moment at which photos are in hand."""
    run_id = place.ingest("Killed workers", origin.url("/list.txt"))
    resumed = []
    chance = random.Random(3)
    for kill in range(KILLS):
        enough = (kill + chance.random()) * len(expected) / (KILLS + 1)
        wait_for(lambda n=enough: place.states(run_id)["indexed"] >= n, PATIENCE)
        wait_for(lambda: place.states(run_id)["working"] and place.worker(), PATIENCE)
        before = place.states(run_id)["indexed"]
        dead = place.worker()
        dead.kill()
        began = time.monotonic()
        wait_for(lambda pid=dead.pid: (now := place.worker()) is not None and now.pid != pid)
        if not LONG:
            place.bury()
        wait_for(lambda n=before: place.states(run_id)["indexed"] > n, PATIENCE)
        resumed.append(time.monotonic() - began)
    finish(place, run_id, expected)
    note(f"killed workers: {place.deaths(run_id)} photos lost a worker, none was lost or doubled")
    note_times("killed workers: next photo indexed after", resumed, 30)


def test_redis_flushed_and_killed(place, origin, expected):
    run_id = place.ingest("Redis away", origin.url("/list.txt"))
    sent = []
    for share in (0.1, 0.5, 0.9) if LONG else (0.1,):
        enough = int(share * len(expected))
        wait_for(lambda n=enough: place.states(run_id)["indexed"] >= n, PATIENCE)
        place.redis.flushall()
        sent.append(wait_for(lambda: refilled(place, run_id), PATIENCE))
        dead = place.server("redis-server")
        dead.kill()
        began = time.monotonic()
        wait_for(lambda d=dead: place.server("redis-server") not in (None, d))
        wait_for(lambda: refilled(place, run_id), PATIENCE)
        sent.append(time.monotonic() - began)
    finish(place, run_id, expected)
    note_times("Redis flushed or killed: work is in the queue again after", sent, 60)


def refilled(place, run_id: int) -> bool:
    """Whether the sweeper has sent tickets again, or nothing is left to send any for."""
    try:
        waiting = place.redis.llen("dramatiq:ingest")
    except OSError:
        return False
    return bool(waiting) or not place.states(run_id)["pending"]


def test_postgres_stopped_without_mercy(place, origin, expected):
    run_id = place.ingest("PostgreSQL away", origin.url("/list.txt"))
    recovered = []
    with Visitor(place) as visitor:
        for stop in range(STOPS):
            enough = stop * len(expected) // (STOPS + 2) + 16
            wait_for(lambda n=enough: place.states(run_id)["indexed"] >= n, PATIENCE)
            acknowledged = set(place.contents(run_id))
            dead = place.server("postgres")
            dead.send_signal(signal.SIGQUIT)
            began = time.monotonic()
            wait_for(lambda d=dead: place.server("postgres") not in (None, d))
            wait_for(lambda: place.page("/readyz") == 200 and place.page("/login") == 200)
            recovered.append(time.monotonic() - began)
            wait_for(lambda: place.state(run_id) != "unknown")
            assert acknowledged <= set(place.contents(run_id))
        finish(place, run_id, expected)
    assert visitor.answers <= {200, 503}
    assert 503 in visitor.answers
    note_times("PostgreSQL stopped: pages answer again after", recovered, 15)


class Visitor(threading.Thread):
    """Somebody who asks for pages all the time; `answers` are the statuses that came."""

    def __init__(self, place) -> None:
        super().__init__(name="visitor", daemon=True)
        self._place, self._over = place, threading.Event()
        self.answers: set[int] = set()

    def run(self) -> None:
        while not self._over.wait(0.02):
            self.answers.add(self._place.page("/readyz"))

    def __enter__(self) -> Visitor:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


class Twice:
    """A queue that delivers every message twice."""

    def __init__(self, queue) -> None:
        self._queue = queue

    def send(self, job, *arguments, delay=None):
        for _ in range(2):
            self._queue.send(job, *arguments, delay=delay)


def test_every_message_twice(place, origin, expected):
    """The test reads the source itself, to send what a worker would send, twice."""
    run_id = place.ingest("Twice", origin.url("/list.txt"), queue=Kept())
    with session_scope(place.engine) as session:
        model = model_number(session, profile_models("pocket")[0])

    async def discover() -> None:
        async with Fetcher(AddressPolicy(LOOPBACK)) as fetcher:
            opener = SourceOpener(SourceTools(fetcher))
            discovery = Discovery(
                engine=place.engine,
                jobs=Twice(place.queue),
                progress=ProgressPublisher(place.services.redis_url),
                open_source=lambda row: opener(SourceSpec(row.kind, row.uri)),
                model=model,
                chunk_size=16,
            )
            await asyncio.gather(discovery.run(run_id), discovery.run(run_id))

    asyncio.run(discover())
    Twice(place.queue).send(Job.DISCOVER, run_id)
    finish(place, run_id, expected)
    assert sum(origin.requests.values()) == len(expected) + 1


@only_long
def test_the_supervisor_killed_and_started_again(place, small_origin, few):
    run_id = place.ingest("Supervisor killed", small_origin.url("/list.txt"))
    wait_for(lambda: place.states(run_id)["indexed"] > 0, PATIENCE)
    family = [place.supervisor, *place.supervisor.children(recursive=True)]
    family[0].kill()
    _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == []
    place.disconnect()
    place.start()
    finish(place, run_id, hashes(few))


def test_a_search_is_answered_while_photos_are_indexed(place, small_origin, few):
    run_id = place.ingest("Searched meanwhile", small_origin.url("/list.txt"))
    model = profile_models("pocket")[0].id
    place.queue.ask(Job.ENCODE_TEXT, model, "it may still be loading", timeout=60)
    wait_for(lambda: place.states(run_id)["indexed"] > 0, PATIENCE)
    took = []
    while place.state(run_id) == "working" and len(took) < (1000 if LONG else 100):
        began = time.monotonic()
        assert place.queue.ask(Job.ENCODE_TEXT, model, f"balloons {len(took)}", timeout=60)
        took.append(time.monotonic() - began)
    assert took
    finish(place, run_id, hashes(few))
    ordered = sorted(took)
    note(
        f"searches during an ingest: {len(took)}, median {ordered[len(took) // 2] * 1000:.0f} ms,"
        f" p95 {ordered[int(len(took) * 0.95)] * 1000:.0f} ms"
    )


@only_long
def test_stopped_and_started_again_in_the_middle(place, small_origin, few):
    """Nobody is charged with a death, and the stages after the ingest come by themselves too."""
    run_id = place.ingest("Stopped", small_origin.url("/list.txt"))
    wait_for(lambda: place.states(run_id)["indexed"] > 0, PATIENCE)
    place.stop()
    place.start()
    left = place.states(run_id)
    assert left["working"] == 0
    wait_for(lambda: place.states(run_id)["indexed"] > left["indexed"], 45)
    assert place.deaths(run_id) == 0
    finish(place, run_id, hashes(few), stages=True)
    wait_for(lambda: place.whole(run_id), PATIENCE)
