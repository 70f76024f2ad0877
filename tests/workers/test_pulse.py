"""Rows of living workers come and go, and say what each of them does."""

import os
import platform

from sqlalchemy import text

import app
from app.operate import fleet
from app.operate.fleet import WorkerState
from app.storage.engine import session_scope
from workers import pulse
from workers.pulse import Pulse


def rows(engine):
    with engine.connect() as connection:
        return connection.execute(
            text("SELECT name, pid, queues, state, seen_at FROM worker ORDER BY name")
        ).all()


def seen(engine):
    with session_scope(engine) as session:
        return fleet.workers(session)


def test_a_worker_is_listed_while_it_lives(engine, eventually, monkeypatch):
    monkeypatch.setattr(pulse, "EVERY_SECONDS", 0.05)
    alive = Pulse(engine, ["query", "ingest"])
    alive.start()
    eventually(lambda: rows(engine))
    (first,) = rows(engine)
    assert (first.pid, first.queues) == (os.getpid(), "ingest, query")
    eventually(lambda: rows(engine)[0].seen_at > first.seen_at)
    alive.stop()
    assert not alive.is_alive()
    assert rows(engine) == []


def test_it_says_who_it_is_and_what_it_does(engine, eventually, monkeypatch):
    monkeypatch.setattr(pulse, "EVERY_SECONDS", 600.0)  # so that a change of state comes at once
    photos = [0]
    alive = Pulse(engine, ["ingest"], done=lambda: photos[0])
    alive.start()
    eventually(lambda: rows(engine))
    (worker,) = seen(engine)
    assert (worker.host, worker.version) == (platform.node(), app.__version__)
    assert (worker.state, worker.done, worker.recent) == (WorkerState.STARTING, 0, 0)
    photos[0] = 7
    alive.say(WorkerState.WORKING)
    eventually(lambda: seen(engine)[0].state is WorkerState.WORKING)
    (worker,) = seen(engine)
    assert (worker.done, worker.recent) == (7, 7)
    assert worker.to_json()["state"] == "working"
    alive.say(WorkerState.DRAINING)
    eventually(lambda: seen(engine)[0].state is WorkerState.DRAINING)
    alive.stop()
    assert seen(engine) == []


def test_only_the_last_minute_is_recent(engine, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(pulse.time, "monotonic", lambda: now[0])
    alive = Pulse(engine, ["ingest"])
    counted = []
    for moment, done in ((1005, 10), (1030, 30), (1060, 40), (1066, 50), (1091, 60), (1200, 60)):
        now[0] = moment
        counted.append(alive._recent(done))
    assert counted == [10, 30, 40, 40, 30, 0]


def test_processes_of_one_name_and_number_do_not_overwrite_each_other(engine, eventually):
    """As in containers, where every process has the number 1."""
    both = [Pulse(engine, ["ingest"]) for _ in range(2)]
    for each in both:
        each.start()
    eventually(lambda: len(rows(engine)) == 2)
    both[0].stop()
    assert len(rows(engine)) == 1
    both[1].stop()


def test_the_dead_are_forgotten_after_a_while(engine, eventually):
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO worker (name, host, pid, queues, recent, seen_at) VALUES"
                " ('old', 'h', 1, 'ingest', 5, now() - interval '1 hour'),"
                " ('missed', 'h', 2, 'ingest', 5, now() - interval '1 minute')"
            )
        )
    alive = Pulse(engine, ["ingest"])
    alive.start()
    eventually(lambda: {row.name for row in rows(engine)}.isdisjoint({"old"}))
    missed = next(worker for worker in seen(engine) if worker.name == "missed")
    assert (missed.state, missed.recent) == (WorkerState.STALE, 0)
    assert missed.seen_seconds_ago > 50
    alive.stop()
    assert [row.name for row in rows(engine)] == ["missed"]
