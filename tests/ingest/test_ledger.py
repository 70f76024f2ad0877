"""Who may work on a photo, and that nothing is lost, doubled or worked on for ever."""

from dataclasses import replace

import pytest
from sqlalchemy import text

from app.core.errors import NotAnImage, SourceUnavailable
from app.core.photos import Locator
from app.ingest import ledger
from app.storage.engine import session_scope
from tests.factories import index_photos, make_photos


def states(engine, made):
    with engine.connect() as connection:
        return dict(
            connection.execute(
                text("SELECT state, count(*) FROM photo WHERE event_id = :e GROUP BY state"),
                {"e": made.event_id},
            ).all()
        )


def expire_leases(engine):
    with session_scope(engine) as session:
        session.connection().execute(
            text(
                "UPDATE photo SET lease_until = now() - interval '1 second' WHERE state = 'working'"
            )
        )


def record(engine, made, locators, *, faces_on=False):
    with session_scope(engine) as session:
        return ledger.record_locators(
            session,
            event_id=made.event_id,
            source_id=made.source_id,
            run_id=made.run_id,
            model=made.model,
            faces_on=faces_on,
            locators=locators,
        )


def test_a_photo_is_claimed_once(engine):
    made = make_photos(engine, 4)
    with session_scope(engine) as one, session_scope(engine) as two:
        first = ledger.claim(one, made.photo_ids[:3])
        second = ledger.claim(two, made.photo_ids)
    assert [c.photo_id for c in first] == made.photo_ids[:3]
    assert [c.photo_id for c in second] == made.photo_ids[3:]
    with session_scope(engine) as session:
        assert ledger.claim(session, made.photo_ids) == []


def test_a_stale_worker_cannot_write(engine):
    made = make_photos(engine, 1)
    with session_scope(engine) as session:
        (claim,) = ledger.claim(session, made.photo_ids)
    expire_leases(engine)
    with session_scope(engine) as session:
        ledger.sweep(session, queue_is_idle=True)
    with session_scope(engine) as session:
        (newer,) = ledger.claim(session, made.photo_ids)
    assert newer.lease == claim.lease + 1
    with session_scope(engine) as session:
        ledger.record_failure(session, claim, NotAnImage("late"))
    assert states(engine, made) == {"working": 1}


def test_passing_faults_are_tried_three_times_then_kept_with_their_reason(engine):
    made = make_photos(engine, 1)
    waits = []
    for _ in range(3):
        with session_scope(engine) as session:
            session.connection().execute(text("UPDATE photo SET retry_at = now()"))
        with session_scope(engine) as session:
            (claim,) = ledger.claim(session, made.photo_ids)
        with session_scope(engine) as session:
            error = SourceUnavailable("server-error", "503", after=None)
            waits.append(ledger.record_failure(session, claim, error))
    assert waits == [*ledger.RETRY_WAITS, None]
    with engine.connect() as connection:
        row = connection.execute(text("SELECT state, reason, attempts FROM photo")).one()
    assert tuple(row) == ("rejected", "server-error", 3)


def test_retry_after_is_honoured_within_reason(engine):
    made = make_photos(engine, 2)
    with session_scope(engine) as session:
        one, two = ledger.claim(session, made.photo_ids)
    with session_scope(engine) as session:
        polite = SourceUnavailable("rate-limited", "429", after=33.0)
        absurd = SourceUnavailable("rate-limited", "429", after=1e9)
        assert ledger.record_failure(session, one, polite) == 33.0
        assert ledger.record_failure(session, two, absurd) is None  # a person may retry it later


def test_a_permanent_fault_is_not_tried_again(engine):
    made = make_photos(engine, 1)
    with session_scope(engine) as session:
        (claim,) = ledger.claim(session, made.photo_ids)
        assert ledger.record_failure(session, claim, NotAnImage("a PDF")) is None
    assert states(engine, made) == {"rejected": 1}


def test_a_photo_that_kills_its_worker_is_quarantined_after_three_deaths(engine):
    made = make_photos(engine, 1)
    for death in range(1, ledger.MAX_DEATHS + 1):
        with session_scope(engine) as session:
            assert len(ledger.claim(session, made.photo_ids)) == 1
        expire_leases(engine)
        with session_scope(engine) as session:
            swept = ledger.sweep(session, queue_is_idle=True)
        last = death == ledger.MAX_DEATHS
        assert swept.suspects == ([] if last else made.photo_ids)
        assert swept.quarantined == int(last)
    with engine.connect() as connection:
        row = connection.execute(text("SELECT state, reason, message FROM photo")).one()
    assert row[0:2] == ("rejected", "killed-worker")
    assert "3 times" in row[2]


def test_lost_nudges_are_sent_again_only_while_the_queue_is_idle(engine):
    made = make_photos(engine, 3)
    with session_scope(engine) as session:
        session.connection().execute(
            text("UPDATE photo SET nudged_at = now() - interval '1 minute'")
        )
    with session_scope(engine) as session:
        assert ledger.sweep(session, queue_is_idle=False).due == []
    with session_scope(engine) as session:
        assert ledger.sweep(session, queue_is_idle=True).due == made.photo_ids
    with session_scope(engine) as session:  # and not at once again
        assert ledger.sweep(session, queue_is_idle=True).due == []


def test_a_due_retry_is_nudged_once(engine):
    made = make_photos(engine, 1)
    with session_scope(engine) as session:
        (claim,) = ledger.claim(session, made.photo_ids)
        ledger.record_failure(session, claim, SourceUnavailable("timeout", "slow"))
    with session_scope(engine) as session:
        assert ledger.sweep(session, queue_is_idle=True).due == []
        session.connection().execute(text("UPDATE photo SET retry_at = now(), nudged_at = NULL"))
    with session_scope(engine) as session:
        assert ledger.sweep(session, queue_is_idle=False).due == made.photo_ids
    with session_scope(engine) as session:
        assert ledger.sweep(session, queue_is_idle=False).due == []


def test_released_photos_lose_no_attempt(engine):
    made = make_photos(engine, 2)
    with session_scope(engine) as session:
        claims = ledger.claim(session, made.photo_ids)
        ledger.release(session, claims)
    with engine.connect() as connection:
        assert set(connection.execute(text("SELECT state, attempts FROM photo")).all()) == {
            ("pending", 0)
        }


def test_renewing_prolongs_only_what_is_held(engine):
    made = make_photos(engine, 1)
    with session_scope(engine) as session:
        (claim,) = ledger.claim(session, made.photo_ids)
    expire_leases(engine)
    with session_scope(engine) as session:
        ledger.renew(session, [replace(claim, lease=claim.lease - 1)])
    with session_scope(engine) as session:
        assert ledger.sweep(session, queue_is_idle=True).suspects == made.photo_ids


class TestRescan:
    def test_indexed_photos_are_left_alone(self, engine):
        made = make_photos(engine, 3)
        index_photos(engine, made)
        again = record(
            engine, made, [Locator(f"http://o/{n}.jpg", f"http://o/{n}.jpg") for n in range(4)]
        )
        assert again.unchanged == 3
        assert len(again.to_do) == 1
        assert states(engine, made) == {"indexed": 3, "pending": 1}

    def test_another_version_is_work(self, engine):
        made = make_photos(engine, 1)
        index_photos(engine, made)
        locator = Locator("http://o/0.jpg", "http://o/0.jpg", version="10-1")
        assert record(engine, made, [locator]).to_do == made.photo_ids
        index_photos(engine, made)
        assert record(engine, made, [locator]).to_do == []

    def test_missing_faces_are_work_once_the_event_allows_them(self, engine):
        made = make_photos(engine, 1)
        index_photos(engine, made)
        locator = Locator("http://o/0.jpg", "http://o/0.jpg")
        assert record(engine, made, [locator]).to_do == []
        assert record(engine, made, [locator], faces_on=True).to_do == made.photo_ids

    def test_failed_photos_are_tried_again(self, engine):
        made = make_photos(engine, 1)
        with session_scope(engine) as session:
            (claim,) = ledger.claim(session, made.photo_ids)
            ledger.record_failure(session, claim, NotAnImage("x"))
        record(engine, made, [Locator("http://o/0.jpg", "http://o/0.jpg")])
        with engine.connect() as connection:
            assert connection.execute(text("SELECT state, attempts, reason FROM photo")).one() == (
                "pending",
                0,
                None,
            )

    def test_a_photo_under_work_keeps_its_lease(self, engine):
        made = make_photos(engine, 1)
        with session_scope(engine) as session:
            (claim,) = ledger.claim(session, made.photo_ids)
        record(engine, made, [Locator("http://o/0.jpg", "http://o/0.jpg")])
        with engine.connect() as connection:
            row = connection.execute(text("SELECT state, lease, attempts FROM photo")).one()
        assert tuple(row) == ("working", claim.lease, 1)


@pytest.mark.parametrize("size", [0, 1, 400])
def test_batches_of_any_size(engine, size):
    made = make_photos(engine, size)
    assert len(made.photo_ids) == size
