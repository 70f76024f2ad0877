"""Pause, resume, cancel, retry, ignore: a person's word holds, whatever workers do meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from sqlalchemy import text
from sqlmodel import select

from app.core.errors import BadInput, Conflict, NotAnImage, UnknownPhoto, UnknownRun
from app.core.jobs import Job
from app.ingest import control, figures, health, ledger, rescan, runs
from app.ingest.service import IngestService
from app.storage import audit
from app.storage.blobs import BlobStore
from app.storage.engine import session_scope
from app.storage.tables import Run, Source
from app.storage.tables_access import Audit
from tests.factories import RecordedJobs, index_photos, make_photos
from tests.ingest.test_pipeline import COLOURS, SEALER, Bench, answers, jpeg
from tests.origin import Answer, Origin


@pytest.fixture
def bench(engine, redis_url, tmp_path):
    return Bench(engine, redis_url, tmp_path / "home")


@pytest.fixture
def jobs():
    return RecordedJobs()


@pytest.fixture
def service(engine, jobs, tmp_path):
    return IngestService(engine, jobs, SEALER, BlobStore.in_folder(tmp_path / "blobs"), 4)


def states(engine) -> dict[str, int]:
    with engine.connect() as connection:
        return dict(
            connection.execute(text("SELECT state, count(*) FROM photo GROUP BY state")).all()
        )


def fail_all(engine, made, reason="truncated"):
    with session_scope(engine) as session:
        for claim in ledger.claim(session, made.photo_ids):
            ledger.record_failure(session, claim, NotAnImage("broken", reason=reason))


def test_a_paused_run_goes_on_where_it_was_and_reads_its_source_to_the_end(bench, service, jobs):
    photos = {f"/{n}.jpg": jpeg(c) for n, c in enumerate(COLOURS)}
    with Origin(answers(photos)) as origin:
        run_id = bench.start(origin.url("/list.txt"))
        paused = service.pause(run_id, by="test")
        assert paused.state == "paused"
        bench.jobs.sent = [(Job.DISCOVER, run_id)]
        assert bench.finish(run_id).discovered == 0  # nothing happens while it is paused
        resumed = service.resume(run_id, by="test")
        assert resumed.state == "working"
        bench.jobs.sent, jobs.sent = jobs.sent, []
        summary = bench.finish(run_id)
    assert (summary.state, summary.indexed) == ("done", 8)


def test_pausing_in_mid_discovery_ends_it_and_resuming_loses_nothing(bench, service):
    photos = {f"/{n}.jpg": jpeg(c) for n, c in enumerate(COLOURS)}
    with Origin(answers(photos)) as origin:
        run_id = bench.start(origin.url("/list.txt"))
        with session_scope(bench.engine) as session:
            stale = runs.claim_run(session, run_id)
        service.pause(run_id, by="test")
        service.resume(run_id, by="test")
        with session_scope(bench.engine) as session:
            assert not runs.hold_run(session, stale)  # the old reader finds itself replaced
        bench.jobs.sent = [(Job.DISCOVER, run_id)]
        summary = bench.finish(run_id)
    assert (summary.state, summary.indexed) == ("done", 8)


def test_what_is_in_hand_at_a_pause_is_finished(engine, service):
    made = make_photos(engine, 3)
    with session_scope(engine) as session:
        (claim,) = ledger.claim_next(session, 1)
    service.pause(made.run_id, by="test")
    with session_scope(engine) as session:
        ledger.renew(session, [claim])
        ledger.record_failure(session, claim, NotAnImage("x"))
    assert states(engine) == {"pending": 2, "rejected": 1}


def test_a_paused_run_with_nothing_left_to_do_is_done(engine, service, jobs):
    made = make_photos(engine, 2)
    with session_scope(engine) as session:
        session.connection().execute(text("UPDATE run SET discovery_done = true"))
    service.pause(made.run_id, by="test")
    index_photos(engine, made)
    with session_scope(engine) as session:
        assert runs.settle(session, made.run_id).kind == "graph"
        assert figures.run_summary(session, made.run_id).state == "done"


def test_cancelling_gives_waiting_photos_up_until_the_next_ingest(engine, service, jobs):
    made = make_photos(engine, 5)
    index_photos(engine, made.__class__(**{**made.__dict__, "photo_ids": made.photo_ids[:2]}))
    summary = service.cancel(made.run_id, by="test")
    assert (summary.state, summary.indexed, summary.cancelled) == ("cancelled", 2, 3)
    assert states(engine) == {"indexed": 2, "cancelled": 3}
    assert [sent[0] for sent in jobs.sent] == [Job.BUILD_STAGE]  # what there is can be seen
    with session_scope(engine) as session:
        assert ledger.claim_next(session, 9) == []
    again = service.rescan(made.source_id, by="test")
    assert again.id != made.run_id


def test_the_figures_of_a_cancelled_run_wait_for_what_was_in_hand(engine, service, jobs):
    made = make_photos(engine, 5)
    with session_scope(engine) as session:
        one, two = ledger.claim_next(session, 2)
    summary = service.cancel(made.run_id, by="test")
    assert (summary.indexed, summary.cancelled) == (0, 3)
    assert jobs.sent == []
    index_photos(engine, made.__class__(**{**made.__dict__, "photo_ids": [one.photo_id]}))
    with session_scope(engine) as session:
        ledger.release(session, [two])  # its worker stopped: nobody takes it up again
        (job,) = runs.sweep_runs(session, idle=set())
        summary = figures.run_summary(session, made.run_id)
    assert job[0] == Job.BUILD_STAGE
    assert (summary.state, summary.indexed, summary.cancelled) == ("cancelled", 1, 4)
    with session_scope(engine) as session:
        assert runs.sweep_runs(session, idle=set()) == []


def test_a_rescan_of_a_source_that_is_still_worked_on_reads_it_again(engine, service, jobs):
    """What changed since it was read, an address or a password, would be missed otherwise."""
    made = make_photos(engine, 2)
    with session_scope(engine) as session:
        run = session.get(Run, made.run_id)
        session.expunge(run)
        assert runs.finish_discovery(session, run, discovered=2, unchanged=0, duplicates=0)
    again = service.rescan(made.source_id, by="test")
    assert (again.id, again.discovery_done) == (made.run_id, False)
    assert jobs.sent == [(Job.DISCOVER, made.run_id)]
    with session_scope(engine) as session:
        reader = runs.claim_run(session, made.run_id)
    service.rescan(made.source_id, by="test")
    with session_scope(engine) as session:
        assert not runs.hold_run(session, reader)  # it began before the change


@pytest.mark.parametrize(
    "uri", ["https://ada:secret@h.example/list.csv", "s3://ada:secret@b/", "dav://ada@h.example/x"]
)
def test_an_address_with_a_password_is_refused_and_not_repeated(engine, service, uri):
    made = make_photos(engine, 0)
    with pytest.raises(BadInput) as caught:
        service.start(made.event_id, "list", uri, by="test")
    assert "secret" not in str(caught.value)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM source")).scalar_one() == 1


def test_a_photo_whose_renewal_is_cancelled_stays_indexed(engine, service):
    made = make_photos(engine, 1)
    index_photos(engine, made)
    with session_scope(engine) as session:
        session.connection().execute(text("UPDATE photo SET state = 'pending'"))
    service.cancel(made.run_id, by="test")
    assert states(engine) == {"indexed": 1}


@pytest.mark.parametrize("state", ["done", "failed", "cancelled"])
def test_what_has_ended_cannot_be_paused_resumed_or_cancelled(engine, service, state):
    made = make_photos(engine, 1)
    with session_scope(engine) as session:
        session.connection().execute(text("UPDATE run SET state = :s"), {"s": state})
    for act in (service.pause, service.resume, service.cancel):
        with pytest.raises(Conflict, match=state):
            act(made.run_id, by="test")


def test_one_photo_or_one_reason_is_tried_again(engine, service, jobs):
    made = make_photos(engine, 6)
    fail_all(engine, made)
    one = service.retry(made.run_id, photo_id=made.photo_ids[2], by="test")
    assert one.failed == 5
    assert jobs.sent == [(Job.DISCOVER, made.run_id), (Job.INGEST_CHUNK,)]
    assert service.retry(made.run_id, reason="no such reason", by="test").failed == 5
    assert service.retry(made.run_id, reason="truncated", by="test").failed == 0
    with pytest.raises(UnknownPhoto):
        service.retry(made.run_id, photo_id=made.photo_ids[0], by="test")  # not failed any more


def test_ignored_failures_are_not_failures_until_somebody_wants_them_again(engine, service):
    made = make_photos(engine, 3)
    fail_all(engine, made)
    assert service.ignore(made.run_id, photo_id=made.photo_ids[0], by="test").failed == 2
    summary = service.ignore(made.run_id, reason="truncated", by="test")
    assert (summary.failed, summary.ignored, summary.failures) == (0, 3, [])
    assert service.retry(made.run_id, by="test").ignored == 3  # all *failures*
    assert service.retry(made.run_id, photo_id=made.photo_ids[0], by="test").ignored == 2
    assert states(engine) == {"ignored": 2, "pending": 1}


def test_ignoring_all_of_a_list_can_be_undone(bench, service, jobs):
    """A list states no versions, so that no rescan could ever bring them back."""
    photos = {f"/{n}.jpg": jpeg(c) for n, c in enumerate(COLOURS)}
    served = answers(photos)
    fine = {path: served[path] for path in ("/0.jpg", "/1.jpg")}
    with Origin(served | {path: Answer(b"no", status=403) for path in fine}) as origin:
        run_id = bench.ingest(origin.url("/list.txt")).id
        assert service.ignore(run_id, by="test").ignored == 2
        origin.answers.update(fine)
        bench.ingest(origin.url("/list.txt"))
        assert states(bench.engine) == {"indexed": 6, "ignored": 2}
        with session_scope(bench.engine) as session:
            (told,) = control.ignored_photos(session, session.get(Run, run_id).event_id).values()
        assert told == [(run_id, 2)]
        jobs.sent = []
        assert service.retry(run_id, ignored=True, by="test").ignored == 0
        bench.jobs.sent, jobs.sent = jobs.sent, []
        summary = bench.finish(run_id)
    assert (summary.state, summary.failed, summary.ignored) == ("done", 0, 0)
    assert states(bench.engine) == {"indexed": 8}


def test_only_what_was_ignored_is_tried_again_where_that_is_asked_for(engine, service):
    made = make_photos(engine, 4)
    fail_all(engine, made)
    service.ignore(made.run_id, photo_id=made.photo_ids[0], by="test")
    service.ignore(made.run_id, photo_id=made.photo_ids[1], by="test")
    other = service.retry(made.run_id, reason="timeout", ignored=True, by="test")
    assert (other.failed, other.ignored) == (2, 2)
    back = service.retry(made.run_id, reason="truncated", ignored=True, by="test")
    assert (back.failed, back.ignored, back.waiting) == (2, 0, 2)
    with session_scope(engine) as session:
        assert control.ignored_photos(session, made.event_id) == {}


def test_an_ignored_entry_that_names_nothing_is_not_offered_again(engine, service):
    made = make_photos(engine, 1)
    fail_all(engine, made)
    with session_scope(engine) as session:
        session.connection().execute(text("UPDATE photo SET source_key = 'bad-entry:1'"))
    service.ignore(made.run_id, by="test")
    with session_scope(engine) as session:
        assert control.ignored_photos(session, made.event_id) == {}


def test_a_paused_run_stays_paused_when_its_failures_are_tried_again(engine, service):
    made = make_photos(engine, 2)
    fail_all(engine, made)
    service.pause(made.run_id, by="test")
    assert service.retry(made.run_id, by="test").state == "paused"
    with session_scope(engine) as session:
        assert ledger.claim_next(session, 9) == []


def test_starting_a_paused_source_again_resumes_it(engine, service):
    made = make_photos(engine, 2)
    service.pause(made.run_id, by="test")
    again = service.start(made.event_id, "list", "http://o/list.txt", by="test")
    assert (again.id, again.state) == (made.run_id, "working")


def test_unknown_runs_are_said_to_be_unknown(engine, service):
    for act in (service.pause, service.resume, service.cancel, service.retry, service.ignore):
        with pytest.raises(UnknownRun):
            act(999, by="test")


def test_everything_is_in_the_audit_log_and_no_secret_anywhere(engine, service):
    made = make_photos(engine, 1)
    service.pause(made.run_id, by="owner ada")
    service.start(
        made.event_id,
        "webdav",
        "https://cloud.example/dav/",
        options={"user": "ada"},
        credentials={"password": "hunter2-hunter2"},
        by="owner ada",
    )
    with session_scope(engine) as session:
        assert audit.first_broken(session) is None
        entries = session.exec(select(Audit).order_by(Audit.id)).all()
        source = session.exec(select(Source).where(Source.kind == "webdav")).one()
        (_, told) = health.source_health(session, made.event_id)
    assert [(e.actor, e.action) for e in entries] == [
        ("owner ada", "pause run"),
        ("owner ada", "start ingest"),
    ]
    assert (told.options, told.has_credentials) == ({"user": "ada"}, True)
    assert b"hunter2" not in source.sealed
    assert "hunter2" not in f"{entries} {told} {source}"
    service.set_credentials(source.id, {}, by="owner ada")
    with session_scope(engine) as session:
        assert session.get(Source, source.id).sealed is None


def test_credentials_are_never_taken_along_to_another_server(engine, service):
    """Whoever may re-point a source could otherwise have its password sent to a server of theirs."""
    made = make_photos(engine, 0)

    def sealed(kind):
        with session_scope(engine) as session:
            source = session.exec(select(Source).where(Source.kind == kind)).one()
            return source.id, source.sealed is not None

    service.start(
        made.event_id, "webdav", "https://a.example/dav/x", by="t", credentials={"password": "p"}
    )
    source_id, _ = sealed("webdav")
    service.repoint(source_id, "https://a.example/dav/x", "https://a.example/dav/y", by="t")
    assert sealed("webdav")[1]
    service.repoint(source_id, "https://a.example/dav", "https://b.example/dav", by="t")
    assert not sealed("webdav")[1]
    service.start(
        made.event_id,
        "s3",
        "s3://b/",
        by="t",
        options={"region": "x"},
        credentials={"access_key_id": "i", "secret_access_key": "s"},
    )
    service.start(made.event_id, "s3", "s3://b/", by="t")
    service.start(made.event_id, "s3", "s3://b/", by="t", options={"region": "y"})
    assert sealed("s3")[1]
    service.start(made.event_id, "s3", "s3://b/", by="t", options={"endpoint": "https://b.example"})
    assert not sealed("s3")[1]


def test_options_and_credentials_are_set_together(engine, service):
    made = make_photos(engine, 0)
    service.start(
        made.event_id, "webdav", "https://a.example/dav/", by="t", options={"include": "*.jpg"}
    )

    def stored(kind="webdav"):
        with session_scope(engine) as session:
            source = session.exec(select(Source).where(Source.kind == kind)).one()
            return source.id, source.options, dict(SEALER.unseal(source.sealed))

    source_id = stored()[0]
    both = {"credentials": {"password": "p"}, "options": {"user": "ada"}}
    service.set_credentials(source_id, **both, by="t")
    assert stored()[1:] == ({"include": "*.jpg", "user": "ada"}, {"password": "p"})
    # Half of it is wrong: nothing of it is kept.
    for wrong in (
        {"credentials": {"password": "q"}, "options": {"colour": "red"}},
        {"credentials": {"colour": "q"}, "options": {"user": "bob"}},
        {"credentials": {"password": "q"}, "options": {"password": "q"}},
    ):
        with pytest.raises(BadInput):
            service.set_credentials(source_id, **wrong, by="t")
    assert stored()[1:] == ({"include": "*.jpg", "user": "ada"}, {"password": "p"})
    # Options alone leave the credentials; an empty one is taken away.
    kept = service.set_credentials(source_id, None, options={"include": "", "user": "bob"}, by="t")
    assert kept is False
    assert stored()[1:] == ({"user": "bob"}, {"password": "p"})


def test_an_option_that_leads_elsewhere_leaves_the_stored_credentials_behind(engine, service):
    made = make_photos(engine, 0)
    keys = {"access_key_id": "i", "secret_access_key": "s"}
    run = service.start(made.event_id, "s3", "s3://b/", by="t", credentials=keys)

    def opened():
        with session_scope(engine) as session:
            return dict(SEALER.unseal(session.get(Source, run.source_id).sealed))

    away = {"endpoint": "https://b.example"}
    assert service.set_credentials(run.source_id, None, options={"region": "x"}, by="t") is False
    assert opened() == keys
    assert service.set_credentials(run.source_id, None, options=away, by="t") is True
    assert opened() == {}
    assert service.set_credentials(run.source_id, keys, options=away, by="t") is False
    assert service.set_credentials(run.source_id, None, options=away, by="t") is False
    assert opened() == keys  # it leads where it led
    other = {"endpoint": "https://c.example"}
    new = {**keys, "secret_access_key": "t"}
    assert service.set_credentials(run.source_id, new, options=other, by="t") is False
    assert opened() == new
    assert service.set_credentials(run.source_id, None, options={"endpoint": ""}, by="t") is True
    assert opened() == {}


def test_re_pointing_does_not_read_a_list_that_still_names_the_old_addresses(bench, service, jobs):
    """The scan would take the photos at the working addresses for vanished."""
    photos = {f"/{n}.jpg": jpeg(c) for n, c in enumerate(COLOURS[:3])}
    with Origin(photos_at(photos)) as old, Origin(photos_at(photos)) as new:
        listed = Origin({"/list.txt": Answer("\n".join(map(old.url, photos)).encode())})
        with listed:
            run = bench.ingest(listed.url("/list.txt"))
            jobs.sent = []
            moved = service.repoint(run.source_id, old.url(""), new.url(""), by="test")
            assert moved == (3, None)
            assert jobs.sent == []
            listed.answers["/list.txt"] = Answer("\n".join(map(new.url, photos)).encode())
            again = bench.ingest(listed.url("/list.txt"))
    assert (again.unchanged, again.indexed, again.gone) == (3, 0, 0)


def test_a_schedule_waits_its_time_after_addresses_that_a_list_names_were_rewritten(
    engine, service
):
    made = make_photos(engine, 1)
    service.schedule(made.source_id, 600, by="test")
    with session_scope(engine) as session:
        session.connection().execute(text("UPDATE source SET next_scan_at = now()"))
        session.connection().execute(
            text("UPDATE photo SET uri = 'http://old/1.jpg'; UPDATE run SET state = 'done'")
        )
    assert service.repoint(made.source_id, "http://old", "http://new", by="test") == (1, None)
    with session_scope(engine) as session:
        assert rescan.due_sources(session) == []
        assert session.get(Source, made.source_id).next_scan_at is not None


def test_addresses_are_not_rewritten_while_the_list_that_names_them_is_read(engine, service):
    made = make_photos(engine, 1)
    with session_scope(engine) as session:
        session.connection().execute(text("UPDATE photo SET uri = 'http://old/1.jpg'"))
    with pytest.raises(Conflict, match=f"run {made.run_id}"):
        service.repoint(made.source_id, "http://old", "http://new", by="test")
    with engine.connect() as connection:
        uris = connection.execute(text("SELECT uri FROM photo")).scalars().all()
    assert uris == ["http://old/1.jpg"]


def photos_at(photos):
    return {path: Answer(body) for path, body in photos.items()}


def test_the_rate_and_the_time_left_are_of_the_last_minute(engine):
    made = make_photos(engine, 10)
    with session_scope(engine) as session:
        session.connection().execute(
            text("UPDATE run SET discovery_done = true, started_at = now() - interval '1 hour'")
        )
    index_photos(engine, made.__class__(**{**made.__dict__, "photo_ids": made.photo_ids[:6]}))
    with session_scope(engine) as session:
        summary = figures.run_summary(session, made.run_id)
        control.pause(session, made.run_id)
        paused = figures.run_summary(session, made.run_id)
    assert summary.photos_per_second == pytest.approx(6 / 60)
    assert summary.seconds_left == pytest.approx(4 * 60 / 6)
    assert paused.seconds_left is None


def test_many_hands_at_once(engine, service):
    """Pausing, resuming and claiming at the same time never deadlock and lose no photo."""
    made = make_photos(engine, 30)

    def claim_some():
        with session_scope(engine) as session:
            claims = ledger.claim_next(session, 3)
        with session_scope(engine) as session:
            ledger.release(session, claims)

    def flip():
        for act in (service.pause, service.resume):
            with suppress(Conflict):
                act(made.run_id, by="test")

    async def all_at_once():
        await asyncio.gather(
            *(asyncio.to_thread(act) for _ in range(6) for act in (claim_some, flip))
        )

    asyncio.run(all_at_once())
    assert states(engine) == {"pending": 30}
