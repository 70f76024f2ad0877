"""Rows of living workers come and go."""

import os

from sqlalchemy import text

from workers import pulse
from workers.pulse import Pulse


def rows(engine):
    with engine.connect() as connection:
        return connection.execute(
            text("SELECT name, pid, queues, seen_at FROM worker ORDER BY name")
        ).all()


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


def test_the_dead_are_forgotten_after_a_while(engine, eventually):
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO worker (name, host, pid, queues, seen_at) VALUES"
                " ('old', 'h', 1, 'ingest', now() - interval '1 hour'),"
                " ('missed', 'h', 2, 'ingest', now() - interval '1 minute')"
            )
        )
    alive = Pulse(engine, ["ingest"])
    alive.start()
    eventually(lambda: len(rows(engine)) == 2 and rows(engine)[0].name != "old")
    assert "missed" in {row.name for row in rows(engine)}  # shown as late
    alive.stop()
    assert [row.name for row in rows(engine)] == ["missed"]
