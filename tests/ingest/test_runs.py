"""Runs: one settles exactly once, whoever finishes last, and tells people the truth."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from app.core.errors import BadInput, NotAnImage, UnknownRun
from app.core.jobs import Job, Queue
from app.core.photos import BadEntry
from app.ingest import control, figures, ledger, recording, runs
from app.ingest.consent import set_faces
from app.storage.engine import session_scope
from app.storage.events import get_event
from app.storage.tables import Run, RunKind
from tests.factories import index_photos, make_photos


def finish_discovery(engine, made, discovered):
    with session_scope(engine) as session:
        run = session.get(Run, made.run_id)
        return runs.finish_discovery(session, run, discovered=discovered, unchanged=0, duplicates=0)


def settle(engine, run_id):
    with session_scope(engine) as session:
        return runs.settle(session, run_id)


def test_a_run_settles_once_and_only_when_all_is_done(engine):
    made = make_photos(engine, 3)
    assert settle(engine, made.run_id) is None  # discovery still runs
    finish_discovery(engine, made, 3)
    assert settle(engine, made.run_id) is None  # photos are open
    index_photos(engine, made)
    graph = settle(engine, made.run_id)
    assert graph.kind == RunKind.GRAPH
    assert graph.parent_id == made.run_id
    assert settle(engine, made.run_id) is None
    with session_scope(engine) as session:
        summary = figures.run_summary(session, made.run_id)
    assert (summary.state, summary.indexed, summary.failed) == ("done", 3, 0)
    assert summary.stages["graph"] == "pending"
    assert summary.stages["layout"] == "none"


def test_failures_are_grouped_by_reason_with_their_cure(engine):
    made = make_photos(engine, 3)
    with session_scope(engine) as session:
        claims = ledger.claim(session, made.photo_ids)
        for claim in claims[:2]:
            ledger.record_failure(session, claim, NotAnImage("It is a PDF."))
        scan = recording.Scan(
            event_id=made.event_id,
            source_id=made.source_id,
            run_id=made.run_id,
            model=made.model,
            faces_on=False,
        )
        entry = BadEntry("bad-entry:9", "htp:/x", "bad-address", "Line 9 is no address.")
        recording.record_bad_entries(session, scan, [entry])
        summary = figures.run_summary(session, made.run_id)
    assert [(g.reason, g.count) for g in summary.failures] == [
        ("not-an-image", 2),
        ("bad-address", 1),
    ]
    assert summary.failures[0].message == "It is a PDF."
    assert all(group.cure for group in summary.failures)


def test_retrying_reopens_the_run_for_that_reason_only(engine):
    made = make_photos(engine, 2)
    finish_discovery(engine, made, 2)
    with session_scope(engine) as session:
        one, two = ledger.claim(session, made.photo_ids)
        ledger.record_failure(session, one, NotAnImage("x", reason="truncated"))
        ledger.record_failure(session, two, NotAnImage("y"))
    settle(engine, made.run_id)
    with session_scope(engine) as session:
        assert control.retry(session, made.run_id, reason="truncated") == 1
        assert figures.run_summary(session, made.run_id).state == "working"
        assert [c.photo_id for c in ledger.claim_next(session, 9)] == [one.photo_id]
    with session_scope(engine) as session:
        assert control.retry(session, made.run_id) == 1
    with pytest.raises(UnknownRun), session_scope(engine) as session:
        control.retry(session, 999_999)


def test_a_lost_lease_cannot_finish(engine):
    made = make_photos(engine, 1)
    with session_scope(engine) as session:
        session.connection().execute(text("UPDATE run SET lease_until = now() - interval '1 s'"))
    with session_scope(engine) as session:
        stale = session.get(Run, made.run_id)
        session.expunge(stale)
        assert runs.claim_run(session, made.run_id) is not None
    with session_scope(engine) as session:
        assert not runs.finish_discovery(session, stale, discovered=1, unchanged=0, duplicates=0)
        assert not runs.hold_run(session, stale)


def test_the_same_source_twice_is_one_run_while_open(engine):
    made = make_photos(engine, 1)
    with session_scope(engine) as session:
        event = get_event(session, "party")
        assert runs.start_ingest(session, event, "list", "http://o/list.txt").id == made.run_id
        assert runs.start_ingest(session, event, "list", "http://o/other.txt").id != made.run_id


def test_the_sweeper_finds_runs_whose_worker_died_and_gives_up_after_three(engine):
    made = make_photos(engine, 0)
    for attempt in range(1, runs.MAX_RUN_ATTEMPTS + 1):
        with session_scope(engine) as session:
            session.connection().execute(
                text("UPDATE run SET lease_until = now() - interval '1 s'")
            )
        with session_scope(engine) as session:
            jobs = runs.sweep_runs(session, idle=set(Queue))
        if attempt < runs.MAX_RUN_ATTEMPTS:
            assert jobs == [(Job.DISCOVER, made.run_id)]
            with session_scope(engine) as session:
                assert runs.claim_run(session, made.run_id) is not None
    assert jobs == []
    with session_scope(engine) as session:
        assert figures.run_summary(session, made.run_id).state == "failed"


def test_the_sweeper_settles_what_nobody_settled(engine):
    made = make_photos(engine, 1)
    finish_discovery(engine, made, 1)
    index_photos(engine, made)
    with session_scope(engine) as session:
        ((job, _),) = runs.sweep_runs(session, idle=set(Queue))
    assert job is Job.BUILD_STAGE


def test_summaries_are_json(engine):
    made = make_photos(engine, 1)
    with session_scope(engine) as session:
        body = figures.run_summary(session, made.run_id).to_json()
        assert figures.latest_run(session, made.event_id).id == made.run_id
    assert body["event"] == "party"
    assert isinstance(body["started_at"], str)
    assert body["seconds_left"] is None


def test_consent_needs_a_purpose_and_its_withdrawal_deletes_faces(engine):
    made = make_photos(engine, 1)
    with session_scope(engine) as session:
        event = get_event(session, "party")
        with pytest.raises(BadInput, match="purpose"):
            set_faces(session, event, on=True, purpose="  ", by="owner")
        set_faces(session, event, on=True, purpose="To find guests.", by="owner")
        session.connection().execute(
            text(
                "INSERT INTO face (photo_id, event_id, box_left, box_top, box_right, box_bottom,"
                " score, landmarks) VALUES (:p, :e, 0, 0, 1, 1, 1, '{}')"
            ),
            {"p": made.photo_ids[0], "e": made.event_id},
        )
    with session_scope(engine) as session:
        event = get_event(session, "party")
        assert (event.faces_on, event.faces_decided_by) == (True, "owner")
        assert event.faces_decided_at is not None
        set_faces(session, event, on=False, by="owner")
        assert session.connection().execute(text("SELECT count(*) FROM face")).scalar() == 0


def test_a_pending_run_is_sent_again_only_while_its_queue_is_idle(engine):
    made = make_photos(engine, 0)
    with session_scope(engine) as session:
        graph = runs.follow_up(session, session.get(Run, made.run_id), RunKind.GRAPH)
        session.connection().execute(
            text("UPDATE run SET created_at = now() - interval '1 minute' WHERE id = :id"),
            {"id": graph.id},
        )
        assert runs.sweep_runs(session, idle={Queue.INGEST}) == []
        assert runs.sweep_runs(session, idle={Queue.GRAPH}) == [(Job.BUILD_STAGE, graph.id)]


def test_the_same_source_started_at_once_is_one_run(engine):
    made = make_photos(engine, 0)

    def start(_):
        with session_scope(engine) as session:
            return runs.start_ingest(
                session, get_event(session, "party"), "list", "http://o/new"
            ).id

    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(start, range(4)))
    assert len(found) == 1
    assert made.run_id not in found
