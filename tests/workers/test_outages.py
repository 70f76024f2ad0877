"""What the fault is not a photo's or a source's own is not charged to it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from sqlalchemy import text

from app.core.errors import ServiceDown, SourceUnavailable
from app.core.jobs import Job, Queue
from app.ingest import control, figures, ledger, runs
from app.ingest.discovery import Discovery
from app.storage.engine import make_engine, session_scope
from app.storage.events import create_event
from app.storage.progress import ProgressPublisher
from app.storage.queue import RedisJobQueue
from app.storage.vectors import model_number
from tests.factories import IMAGE_MODEL, RecordedJobs, make_photos
from tests.ingest.test_pipeline import ArithmeticImages, Bench, answers, jpeg
from tests.origin import Origin


def rows(engine, statement):
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def fail(engine, photo_ids, reason: str, after=None) -> float | None:
    """One more attempt that ends like this; returns the wait before the next."""
    with session_scope(engine) as session:
        session.connection().execute(text("UPDATE photo SET retry_at = now()"))
    with session_scope(engine) as session:
        (claim,) = ledger.claim(session, photo_ids)
    with session_scope(engine) as session:
        return ledger.record_failure(session, claim, SourceUnavailable(reason, "x", after=after))


def test_a_rate_limit_is_waited_out_patiently_and_not_for_ever(engine):
    made = make_photos(engine, 1)
    waits = [fail(engine, made.photo_ids, "rate-limited", after=2.0) for _ in range(10)]
    assert waits == [*ledger.PATIENT_WAITS, None]
    assert waits[:-1] == sorted(waits[:-1])
    assert rows(engine, "SELECT state, reason FROM photo") == [("rejected", "rate-limited")]


def test_a_rate_limit_uses_up_no_attempt_of_other_faults(engine):
    made = make_photos(engine, 1)
    for _ in range(4):
        assert fail(engine, made.photo_ids, "rate-limited") is not None
    assert fail(engine, made.photo_ids, "timeout") is not None


@pytest.fixture
def bench(engine, redis_url, tmp_path):
    return Bench(engine, redis_url, tmp_path / "home")


def test_a_chunk_that_is_cancelled_goes_back_at_once(bench):
    """As Dramatiq does when its worker is told to stop."""
    began = asyncio.Event()

    class Endless(ArithmeticImages):
        def encode_images(self, images):
            loop.call_soon_threadsafe(began.set)
            return super().encode_images(images)

    bench.images = Endless()

    async def stop_in_the_middle() -> None:
        nonlocal loop
        loop = asyncio.get_running_loop()
        work = asyncio.create_task(bench.drain(1))
        await began.wait()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    loop = None
    with Origin(answers({"/a.jpg": jpeg((1, 2, 3))})) as origin:
        bench.jobs.sent = [(Job.DISCOVER, bench.start(origin.url("/list.txt")))]
        asyncio.run(stop_in_the_middle())
    ((state, attempts, deaths),) = bench.rows("SELECT state, attempts, deaths FROM photo")
    assert (state, attempts, deaths) in {("pending", 0, 0), ("indexed", 1, 0)}
    assert bench.rows("SELECT count(*) FROM photo WHERE lease_until IS NOT NULL") == [(0,)]


def test_a_photo_that_cannot_be_stored_does_not_take_its_chunk_along(bench, monkeypatch):
    from app.ingest import pipeline

    store = pipeline.store_finished

    def picky(session, finished, **models):
        if any(photo.claim.locator.uri.endswith("/2.jpg") for photo in finished):
            raise RuntimeError("the database refuses a value")
        return store(session, finished, **models)

    monkeypatch.setattr(pipeline, "store_finished", picky)
    with Origin(answers({f"/{n}.jpg": jpeg((40 * n, 9, 9)) for n in range(4)})) as origin:
        summary = bench.ingest(origin.url("/list.txt"))
    assert (summary.indexed, summary.failed) == (3, 1)
    assert summary.failures[0].reason == "internal"


class Breaking:
    """A source that yields some photos, then fails; the next time it gets further."""

    revalidates = False

    def __init__(self, error: Exception, *ends: int) -> None:
        self.error, self.ends = error, list(ends)

    async def discover(self):
        from app.core.photos import Locator

        end = self.ends.pop(0)
        for number in range(end):
            yield Locator(f"http://o/{number}.jpg", f"http://o/{number}.jpg")
        if self.ends:
            raise self.error


def discover(engine, redis_url, source, times: int, jobs=None) -> int:
    with session_scope(engine) as session:
        event = create_event(session, "Broken off")
        run_id = runs.start_ingest(session, event, "list", "http://o/list.txt").id
    discovery = Discovery(
        engine=engine,
        jobs=jobs or RecordedJobs(),
        progress=ProgressPublisher(redis_url),
        open_source=lambda row: source,
        model=1,
        chunk_size=4,
    )
    for _ in range(times):
        with suppress(ServiceDown):
            asyncio.run(discovery.run(run_id))
        with engine.begin() as connection:
            connection.execute(text("UPDATE run SET lease_until = now() WHERE NOT discovery_done"))
    return run_id


RUN = "SELECT state, attempts, discovery_done, discovered, unchanged, message FROM run"


def test_a_source_that_breaks_off_is_read_again_and_its_complaint_forgotten(engine, redis_url):
    source = Breaking(SourceUnavailable("timeout", "It was slow."), 6, 10)
    discover(engine, redis_url, source, 2)
    assert rows(engine, RUN) == [("working", 2, True, 10, 0, "")]


def test_what_the_run_indexed_itself_is_not_unchanged(engine, redis_url):
    """Indexed while its source was still being read, which then broke off and was read again."""
    with session_scope(engine) as session:
        assert model_number(session, IMAGE_MODEL) == 1

    class Slow(Breaking):
        async def discover(self):
            async for entry in super().discover():
                yield entry
                with engine.begin() as connection:
                    connection.execute(
                        text("UPDATE photo SET state = 'indexed', indexed_at = now()")
                    )
                    connection.execute(
                        text(
                            "INSERT INTO photo_vector (model, photo_id, event_id, vector)"
                            " SELECT 1, id, event_id, '[1,0,0,0,0,0,0,0]' FROM photo"
                            " ON CONFLICT DO NOTHING"
                        )
                    )

    jobs = RecordedJobs()
    discover(engine, redis_url, Slow(SourceUnavailable("timeout", "x"), 6, 10), 2, jobs)
    assert rows(engine, RUN) == [("working", 2, True, 10, 0, "")]
    states = rows(engine, "SELECT state, count(*) FROM photo GROUP BY state ORDER BY 1")
    assert states == [("indexed", 6), ("pending", 4)]
    assert jobs.sent.count((Job.INGEST_CHUNK,)) * 4 >= 6 + 4  # four photos to a chunk


def test_a_source_that_always_breaks_off_keeps_what_was_found(engine, redis_url):
    source = Breaking(SourceUnavailable("timeout", "It was slow."), 6, 6, 6, 6)
    run_id = discover(engine, redis_url, source, 3)
    ((state, _, done, discovered, _, message),) = rows(engine, RUN)
    assert (state, done, discovered) == ("working", True, 6)
    assert "broke off after 6 photos" in message
    with session_scope(engine) as session:
        assert figures.run_summary(session, run_id).state == "working"
        session.connection().execute(text("UPDATE photo SET state = 'rejected', reason = 'gone'"))
        runs.sweep_runs(session, idle=set(Queue))
        assert figures.run_summary(session, run_id).state == "done"


def test_an_outage_costs_the_run_none_of_its_attempts(engine, redis_url):
    source = Breaking(ServiceDown("PostgreSQL is away."), *[3] * 6, 8)
    discover(engine, redis_url, source, 7)
    assert rows(engine, RUN) == [("working", 1, True, 8, 0, "")]


def test_a_queue_that_is_away_leaves_the_photos_to_the_sweeper(engine, redis_url):
    away = RedisJobQueue("redis://127.0.0.1:1/0")
    run_id = discover(engine, redis_url, Breaking(ServiceDown("x"), 9), 1, away)
    assert rows(engine, RUN)[0][:4] == ("working", 1, True, 9)
    with session_scope(engine) as session:
        assert ledger.sweep(session).due == 9
        assert figures.run_summary(session, run_id).discovered == 9


def test_retrying_a_run_that_was_never_read_to_its_end_reads_it_again(engine):
    made = make_photos(engine, 1)
    with session_scope(engine) as session:
        session.connection().execute(
            text("UPDATE photo SET state = 'rejected', reason = 'timeout'")
        )
        runs.fail_run(session, made.run_id, "Its worker died 3 times.")
    with session_scope(engine) as session:
        assert control.retry(session, made.run_id) == 1
    with session_scope(engine) as session:
        assert runs.sweep_runs(session, idle=set()) == [(Job.DISCOVER, made.run_id)]
        assert runs.claim_run(session, made.run_id) is not None


def test_a_machine_that_vanishes_in_a_transaction_frees_its_rows_soon(engine, database_url):
    """PostgreSQL itself ends the transaction; tests/faults/test_network.py pulls a cable."""
    shown = rows(engine, "SELECT current_setting('idle_in_transaction_session_timeout')")
    assert shown == [("15s",)]
    separator = "&" if "?" in database_url else "?"
    own = f"{database_url}{separator}options=-c%20idle_in_transaction_session_timeout%3D1h"
    made = make_engine(own, pool_size=1)
    shown = rows(made, "SELECT current_setting('idle_in_transaction_session_timeout')")
    made.dispose()
    assert shown == [("1h",)]  # the operator's own word counts
