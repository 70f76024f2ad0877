"""What fell out of the queue is found in PostgreSQL and sent again, over a real Redis."""

from __future__ import annotations

import time

import psycopg
import pytest
from dramatiq import Message
from sqlalchemy import text

from app.core.jobs import Job, Queue
from app.embedded.postgres import libpq_url
from app.ingest import control, ledger, rescan, runs
from app.storage.engine import session_scope
from app.storage.queue import RedisJobQueue
from app.storage.tables import Run, RunKind, Source
from tests.factories import make_photos
from workers import sweeper
from workers.sweeper import Sweeper, sweep_once


@pytest.fixture
def jobs(redis_url):
    queue = RedisJobQueue(redis_url)
    yield queue
    queue.close()


def waiting(jobs, queue=Queue.INGEST):
    """(job, arguments) of the messages in a queue; takes them out of it."""
    client = jobs._client
    found = []
    while (key := client.lpop(f"dramatiq:{queue}")) is not None:
        message = Message.decode(client.hget(f"dramatiq:{queue}.msgs", key))
        client.hdel(f"dramatiq:{queue}.msgs", key)
        found.append((message.actor_name, *message.args))
    return found


def change(engine, statement: str) -> None:
    with session_scope(engine) as session:
        session.connection().execute(text(statement))


def die(engine, ids) -> None:
    """A worker that claims photos and is never heard of again."""
    with session_scope(engine) as session:
        assert len(ledger.claim(session, ids)) == len(ids)
    change(engine, "UPDATE photo SET lease_until = now() - interval '1 s' WHERE state = 'working'")


def test_photos_of_a_dead_worker_come_back_as_suspects_once(engine, jobs):
    made = make_photos(engine, 6)
    die(engine, made.photo_ids[:4])
    assert sweep_once(engine, jobs, 3) == 2
    assert sweep_once(engine, jobs, 3) == 0  # the tickets wait in the queue
    assert waiting(jobs) == [(Job.INGEST_CHUNK,)] * 2
    with session_scope(engine) as session:
        (suspect,) = ledger.claim_next(session, 3)
    assert suspect.photo_id == made.photo_ids[0]


def test_a_photo_whose_workers_die_is_quarantined_and_sent_no_more(engine, jobs):
    made = make_photos(engine, 2)
    for _ in range(ledger.MAX_DEATHS):
        die(engine, made.photo_ids[:1])
        sweep_once(engine, jobs, 3)
    with engine.connect() as connection:
        row = connection.execute(text("SELECT state, reason FROM photo ORDER BY id LIMIT 1")).one()
    assert tuple(row) == ("rejected", "killed-worker")


def test_after_a_flush_everything_is_sent_again_in_chunks(engine, jobs):
    made = make_photos(engine, 7)
    jobs.send(Job.INGEST_CHUNK)
    assert sweep_once(engine, jobs, 3) == 0  # nothing is lost yet
    jobs._client.flushdb()
    assert sweep_once(engine, jobs, 3) == 3
    assert waiting(jobs) == [(Job.INGEST_CHUNK,)] * 3
    assert len(made.photo_ids) == 7


def hold_one(jobs) -> None:
    """A worker that took a message and has not acknowledged it."""
    jobs._client.sadd("dramatiq:__acks__.somebody.ingest", "m-1")
    jobs._client.sadd("dramatiq:__acks__.somebody.graph", "m-2")


def test_photos_given_back_are_sent_with_the_next_sweep(engine, jobs):
    made = make_photos(engine, 3)
    hold_one(jobs)  # a worker that is busy: its message may have been the last
    with session_scope(engine) as session:
        ledger.release(session, ledger.claim(session, made.photo_ids[:2]))
    assert sweep_once(engine, jobs, 3) == 1
    assert waiting(jobs) == [(Job.INGEST_CHUNK,)]


def test_nothing_is_sent_for_a_paused_run(engine, jobs):
    made = make_photos(engine, 3)
    with session_scope(engine) as session:
        control.pause(session, made.run_id)
    assert sweep_once(engine, jobs, 3) == 0


def test_a_source_whose_rescan_is_due_is_read_again_once(engine, jobs):
    made = make_photos(engine, 1)
    change(engine, "UPDATE run SET state = 'done', discovery_done = true")
    change(engine, "UPDATE photo SET state = 'indexed'")
    with session_scope(engine) as session:
        rescan.schedule(session, session.get(Source, made.source_id), 3600)
    assert sweep_once(engine, jobs, 3) == 0  # in an hour
    change(engine, "UPDATE source SET next_scan_at = now()")
    sweep_once(engine, jobs, 3)
    change(engine, "UPDATE run SET created_at = now() - interval '6 s' WHERE state = 'pending'")
    assert sweep_once(engine, jobs, 3) == 1
    ((job, run_id),) = waiting(jobs, Queue.DISCOVER)
    assert job == Job.DISCOVER
    assert run_id != made.run_id
    assert sweep_once(engine, jobs, 3) <= 1
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM run")).scalar_one() == 2


def graph_run(engine, made) -> int:
    with session_scope(engine) as session:
        run = session.get(Run, made.run_id)
        return runs.follow_up(session, run, RunKind.GRAPH).id


def test_later_stages_are_sent_again_only_while_their_queue_is_idle(engine, jobs):
    run_id = graph_run(engine, make_photos(engine, 0))
    assert sweep_once(engine, jobs, 3) == 0  # just made: its message is on its way
    change(engine, "UPDATE run SET created_at = now() - interval '30 s'")
    hold_one(jobs)
    assert sweep_once(engine, jobs, 3) == 0
    jobs._client.flushdb()
    assert sweep_once(engine, jobs, 3) == 1
    assert waiting(jobs, Queue.GRAPH) == [(Job.BUILD_STAGE, run_id)]


def test_a_stage_whose_worker_died_is_sent_again_whatever_waits(engine, jobs):
    run_id = graph_run(engine, make_photos(engine, 0))
    hold_one(jobs)
    with session_scope(engine) as session:
        assert runs.claim_run(session, run_id) is not None
    change(engine, "UPDATE run SET lease_until = now() - interval '1 s' WHERE kind = 'graph'")
    assert sweep_once(engine, jobs, 3) == 1


def test_only_one_sweeps_at_a_time(engine, jobs, database_url):
    made = make_photos(engine, 1)
    die(engine, made.photo_ids)
    with psycopg.connect(libpq_url(database_url)) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [sweeper._LOCK])
        assert sweep_once(engine, jobs, 3) == 0
    assert sweep_once(engine, jobs, 3) == 1


def test_it_goes_on_after_an_outage_and_leaves_workers_time_to_renew(
    engine, jobs, monkeypatch, eventually
):
    """While Redis is away it waits; it never takes that for the death of workers."""
    made = make_photos(engine, 1)
    monkeypatch.setattr(sweeper, "EVERY_SECONDS", 0.02)
    monkeypatch.setattr(sweeper, "AFTER_OUTAGE_SECONDS", 0.04)
    away = RedisJobQueue("redis://127.0.0.1:1/0")
    thread = Sweeper(engine, away, 3)
    seen = []
    monkeypatch.setattr(sweeper, "sweep_once", recorded(seen, sweeper.sweep_once))
    thread.start()
    eventually(lambda: len(seen) >= 2)  # more than one failing round
    die(engine, made.photo_ids)
    thread._jobs = jobs
    eventually(lambda: waiting(jobs))
    thread.stop()
    thread.join()


def recorded(seen, function):
    def call(*arguments):
        seen.append(time.monotonic())
        return function(*arguments)

    return call
