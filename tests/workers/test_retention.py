"""Faces leave when their event's retention is over, and come back only by a renewed consent."""

import logging

import numpy as np
import pytest
from sqlalchemy import text

from app.core.photos import Locator
from app.ingest import ledger, recording
from app.ingest.consent import expire_faces, set_faces
from app.storage.engine import session_scope
from app.storage.events import get_event
from app.storage.queue import RedisJobQueue
from app.storage.vectors import model_number, store_face_vectors
from tests.factories import FACE_MODEL, index_photos, make_photos
from workers import sweeper
from workers.sweeper import Sweeper


def allow(engine, days, event="party"):
    with session_scope(engine) as session:
        set_faces(
            session, get_event(session, event), on=True, purpose="test", retention_days=days, by="t"
        )


def rows(engine, statement):
    with engine.connect() as connection:
        return connection.execute(text(statement)).all()


@pytest.fixture
def made(engine):
    """Four photos with a face each; those of the first two were found 31 days ago."""
    made = make_photos(engine, 4, faces_on=True)
    index_photos(engine, made)
    allow(engine, 30)
    with session_scope(engine) as session:
        number = model_number(session, FACE_MODEL)
        found = session.connection().execute(
            text(
                "INSERT INTO face (photo_id, event_id, box_left, box_top, box_right, box_bottom,"
                " score, landmarks) SELECT id, event_id, 0, 0, 1, 1, 1, '{}' FROM photo RETURNING id"
            )
        )
        vector = np.array([1, 0, 0, 0], np.float32)
        store_face_vectors(session, number, [(row[0], made.event_id, vector) for row in found])
        session.connection().execute(
            text(
                "UPDATE photo SET faces_at = now() - CASE WHEN id = ANY(:old)"
                " THEN interval '31 days' ELSE interval '29 days' END"
            ),
            {"old": made.photo_ids[:2]},
        )
    return made


def expire(engine) -> int:
    with session_scope(engine) as session:
        return expire_faces(session)


def record_again(engine, made) -> list[int]:
    with session_scope(engine) as session:
        scan = recording.Scan(
            event_id=made.event_id,
            source_id=made.source_id,
            run_id=made.run_id,
            model=made.model,
            faces_on=True,
        )
        locators = [Locator(f"http://o/{n}.jpg", f"http://o/{n}.jpg") for n in range(4)]
        return recording.record_locators(session, scan, locators).to_do


def test_old_faces_go_with_their_vectors(engine, made):
    assert expire(engine) == 2
    left = [(photo_id,) for photo_id in made.photo_ids[2:]]
    assert rows(engine, "SELECT photo_id FROM face ORDER BY 1") == left
    assert rows(engine, "SELECT count(*) FROM face_vector") == [(2,)]
    assert expire(engine) == 0


def test_an_event_without_retention_keeps_them(engine, made):
    with engine.begin() as connection:
        connection.execute(text("UPDATE event SET faces_retention_days = NULL"))
    assert expire(engine) == 0


def test_no_ingest_makes_them_again(engine, made):
    expire(engine)
    assert record_again(engine, made) == []
    # not even one that has to look at the photo for another reason
    with session_scope(engine) as session:
        session.connection().execute(text("UPDATE photo SET state = 'pending'"))
        claims = ledger.claim(session, made.photo_ids)
    assert [claim.wants_faces for claim in claims] == [False, False, True, True]


def test_a_renewed_consent_does(engine, made):
    expire(engine)
    allow(engine, 60)
    assert record_again(engine, made) == made.photo_ids[:2]
    with session_scope(engine) as session:
        assert all(claim.wants_faces for claim in ledger.claim(session, made.photo_ids[:2]))


def test_a_longer_retention_comes_too_late_for_what_had_expired(engine, made):
    allow(engine, 60)  # before any sweep
    assert rows(engine, "SELECT count(*) FROM face") == [(2,)]


def test_the_sweeper_sees_to_it_once_a_minute(
    engine, made, redis_url, eventually, monkeypatch, caplog
):
    monkeypatch.setattr(sweeper, "EVERY_SECONDS", 0.02)
    calls = []
    monkeypatch.setattr(sweeper, "sweep_once", lambda *arguments: calls.append(arguments))
    caplog.set_level(logging.INFO)
    thread = Sweeper(engine, RedisJobQueue(redis_url), 3)
    thread.start()
    eventually(lambda: rows(engine, "SELECT count(*) FROM face") == [(2,)])
    with engine.begin() as connection:
        connection.execute(text("UPDATE photo SET faces_at = now() - interval '40 days'"))
    seen = len(calls)
    eventually(lambda: len(calls) > seen + 3)
    thread.stop()
    thread.join()
    assert rows(engine, "SELECT count(*) FROM face") == [(2,)]  # the minute is not over
    assert "2 faces were deleted" in caplog.text


@pytest.mark.parametrize("how", ["expired", "withdrawn"])
def test_what_was_laid_out_by_faces_is_made_anew_without_them(engine, made, how):
    with session_scope(engine) as session:
        session.connection().execute(
            text(
                "INSERT INTO layout (event_id, name, version, model, count, bounds)"
                " VALUES (:event, 'people', 'ab', :model, 4, '{0,0,0,1,1,1}')"
            ),
            {"event": made.event_id, "model": made.model},
        )
    if how == "expired":
        expire(engine)
    else:
        with session_scope(engine) as session:
            set_faces(session, get_event(session, "party"), on=False, by="t")
    assert rows(engine, "SELECT state FROM run WHERE kind = 'layout'") == [("pending",)]
