"""A worker that is told to stop begins nothing new, gives back what it holds, and leaves."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from app.core.jobs import Job
from app.ingest import runs
from app.operate import fleet
from app.settings import Settings
from app.storage.engine import session_scope
from app.storage.events import create_event
from app.storage.queue import RedisJobQueue
from tests.faults.pictures import as_answers, pictures
from tests.faults.pool import Pool
from tests.origin import Origin

PHOTOS = 60


@pytest.fixture
def local(settings):
    """May read from this machine."""
    return Settings.from_environment(
        {**settings.to_environment(), "CLAIR_ALLOWED_CIDRS": "127.0.0.0/8"}
    )


@pytest.fixture
def origin():
    with Origin(as_answers(pictures(PHOTOS))) as running:
        yield running


def start_run(engine, redis_url, url: str) -> int:
    with session_scope(engine) as session:
        run_id = runs.start_ingest(session, create_event(session, "Party"), "list", url).id
    RedisJobQueue(redis_url).send(Job.DISCOVER, run_id)
    return run_id


def states(engine) -> dict[str, int]:
    with engine.connect() as connection:
        return dict(
            map(tuple, connection.execute(text("SELECT state, count(*) FROM photo GROUP BY 1")))
        )


def workers(engine):
    with session_scope(engine) as session:
        return [(worker.state.value, worker.queues) for worker in fleet.workers(session)]


def test_a_stop_gives_back_what_is_in_hand(engine, redis_url, local, origin, eventually):
    with Pool(local) as pool:
        worker = pool.start()
        worker.hold()
        start_run(engine, redis_url, origin.url("/list.txt"))
        eventually(lambda: worker.holding and sum(states(engine).values()) == PHOTOS)
        eventually(lambda: workers(engine) == [("working", "discover, ingest")])
        held = states(engine)["working"]
        with engine.connect() as other:  # giving back waits for it, so that draining can be seen
            other.execute(text("SELECT 1 FROM photo WHERE state = 'working' FOR UPDATE"))
            worker.process.terminate()
            eventually(lambda: workers(engine) == [("draining", "discover, ingest")])
            assert states(engine)["working"] == held
        eventually(lambda: "working" not in states(engine))
        worker.let_go()
        assert worker.process.wait(30) == 0
        assert workers(engine) == []
        with engine.connect() as connection:
            counted = connection.execute(text("SELECT max(attempts), max(deaths) FROM photo"))
            assert counted.one() == (0, 0)
        assert states(engine) == {"pending": PHOTOS}
        pool.start()
        eventually(lambda: states(engine) == {"indexed": PHOTOS})


def test_a_stop_while_a_source_is_read_gives_its_run_back(
    engine, redis_url, local, origin, eventually
):
    origin.answers["/list.txt"].delay = 600.0
    with Pool(local) as pool:
        worker = pool.start()
        run_id = start_run(engine, redis_url, origin.url("/list.txt"))
        eventually(lambda: origin.requests["/list.txt"])
        assert worker.end() == 0
    with engine.connect() as connection:
        row = connection.execute(
            text("SELECT state, attempts, lease_until <= now() FROM run WHERE id = :r"),
            {"r": run_id},
        ).one()
    assert tuple(row) == ("working", 0, True)
