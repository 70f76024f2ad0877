"""Who may work on a photo, and that nothing is lost, doubled or worked on for ever."""

from dataclasses import replace

import pytest
from sqlalchemy import text

from app.core.errors import NotAnImage, SourceUnavailable
from app.core.photos import Locator
from app.ingest import control, ledger, recording
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
        scan = recording.Scan(
            event_id=made.event_id,
            source_id=made.source_id,
            run_id=made.run_id,
            model=made.model,
            faces_on=faces_on,
        )
        return recording.record_locators(session, scan, locators)


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
        ledger.sweep(session)
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
            swept = ledger.sweep(session)
        last = death == ledger.MAX_DEATHS
        assert swept.suspects == int(not last)
        assert swept.quarantined == int(last)
    with engine.connect() as connection:
        row = connection.execute(text("SELECT state, reason, message FROM photo")).one()
    assert row[0:2] == ("rejected", "killed-worker")
    assert "3 times" in row[2]


def test_a_retry_is_due_when_its_time_has_come(engine):
    made = make_photos(engine, 1)
    with session_scope(engine) as session:
        (claim,) = ledger.claim(session, made.photo_ids)
        ledger.record_failure(session, claim, SourceUnavailable("timeout", "slow"))
    with session_scope(engine) as session:
        assert ledger.sweep(session).due == 0
        assert ledger.claim_next(session, 9) == []
        session.connection().execute(text("UPDATE photo SET retry_at = now()"))
    with session_scope(engine) as session:
        assert ledger.sweep(session).due == 1
        assert len(ledger.claim_next(session, 9)) == 1


class TestTurns:
    def taken(self, engine, limit=2):
        with session_scope(engine) as session:
            claims = ledger.claim_next(session, limit)
        return {claim.event_id for claim in claims}, [claim.photo_id for claim in claims]

    def test_events_take_turns_whatever_their_size(self, engine):
        big, small = make_photos(engine, 20), make_photos(engine, 3, event="Small")
        turns = [self.taken(engine)[0].pop() for _ in range(5)]
        assert turns == [big.event_id, small.event_id] * 2 + [big.event_id]

    def test_an_event_that_holds_workers_leaves_the_others_to_the_rest(self, engine):
        """Its origin stalls, say, while the other's photos are done as soon as they are taken."""
        stalled, quick = make_photos(engine, 20), make_photos(engine, 6, event="Quick")
        assert self.taken(engine)[0] == {stalled.event_id}
        for _ in range(3):
            events, ids = self.taken(engine)
            assert events == {quick.event_id}
            index_photos(engine, replace(quick, photo_ids=ids))
        assert self.taken(engine)[0] == {stalled.event_id}

    def test_a_chunk_is_the_oldest_photos_of_one_run(self, engine):
        made = make_photos(engine, 5)
        assert self.taken(engine, 3)[1] == made.photo_ids[:3]
        assert self.taken(engine, 3)[1] == made.photo_ids[3:]
        assert self.taken(engine, 3)[1] == []

    def test_a_paused_run_has_no_turn(self, engine):
        made, other = make_photos(engine, 4), make_photos(engine, 1, event="Other")
        with session_scope(engine) as session:
            control.pause(session, made.run_id)
        assert self.taken(engine)[0] == {other.event_id}
        assert self.taken(engine)[1] == []
        with session_scope(engine) as session:
            control.resume(session, made.run_id)
        assert self.taken(engine)[1] == made.photo_ids[:2]

    def test_suspects_are_taken_alone_and_one_at_a_time(self, engine):
        """So that only the guilty one is charged with the next death."""
        made = make_photos(engine, 5)
        with session_scope(engine) as session:
            ledger.claim(session, made.photo_ids[:3])
        expire_leases(engine)
        with session_scope(engine) as session:
            assert ledger.sweep(session).suspects == 3
        assert self.taken(engine, 9)[1] == made.photo_ids[:1]
        assert self.taken(engine, 9)[1] == made.photo_ids[3:]  # innocent ones meanwhile
        assert self.taken(engine, 9)[1] == []  # the other suspects wait
        index_photos(engine, replace(made, photo_ids=made.photo_ids[:1]))
        assert self.taken(engine, 9)[1] == made.photo_ids[1:2]


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
        assert ledger.sweep(session).suspects == 1


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
        with session_scope(engine) as session:  # as storing the photo does
            session.connection().execute(text("UPDATE photo SET version = '10-1'"))
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
