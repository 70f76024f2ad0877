"""Origins that misbehave: what passes costs time only, what lasts has a reason, and what is indexed
is exactly what was sent."""

from __future__ import annotations

import os

import pytest

from app.core.failures import CURES
from app.core.jobs import Job
from app.ingest import runs
from app.storage.engine import session_scope
from app.storage.tables import Source
from tests.faults.conftest import LONG, PATIENCE, note
from tests.faults.installation import hashes, wait_for
from tests.faults.pictures import pictures
from tests.faults.pool import Pool
from tests.origin import Answer, Origin

pytestmark = pytest.mark.slow

PHOTOS = 3000 if LONG else 60


def finish(ledger, run_id: int) -> None:
    """To the end of the run; in the short form no retry has to wait for its time."""

    def ended() -> bool:
        if not LONG:
            ledger.make_due()
        return ledger.state(run_id) == "done"

    wait_for(ended, PATIENCE)


def busy(status: int, seconds: int, then: Answer) -> Answer:
    return Answer(status=status, headers={"Retry-After": str(seconds)}, then=then)


def test_an_origin_that_does_everything_wrong(ledger, local):
    photos = pictures(PHOTOS)
    good = dict(photos)
    names = iter(photos)

    def one() -> tuple[str, bytes]:
        name = next(names)
        return name, photos[name]

    odd: dict[str, Answer] = {}
    for what in ("stalls", "longer", "cut", "429", "503"):
        name, data = one()
        then = Answer(data)
        odd[name] = {
            "stalls": Answer(data, drip=(300, 3600.0), then=then),
            "longer": Answer(data, announced=len(data) + 5000, then=then),
            "cut": Answer(data, cut=1000, then=then),
            "429": busy(429, 1, busy(429, 2, then)),
            "503": busy(503, 1, then),
        }[what]
    changing, old = one()
    new = pictures(PHOTOS + 1)[f"{PHOTOS:05}.jpg"]
    odd[changing] = Answer(
        old, headers={"ETag": '"1"'}, cut=500, then=Answer(new, headers={"ETag": '"2"'})
    )
    good[changing] = new
    lasting = {
        "truncated": lambda data: Answer(data, announced=len(data) + 5000),
        "truncated ": lambda data: Answer(data, announced=len(data) // 2),
        "not-found": lambda _: busy(503, 1, Answer(status=404)),  # deleted in the middle
        "gone": lambda _: Answer(status=410),
        "empty": lambda _: Answer(b""),
        "not-an-image": lambda _: Answer(b"<html>Sign in to see this photo</html>"),
        "rate-limited": lambda _: busy(429, 86_400, Answer(status=500)),
    }
    if LONG:
        lasting["too-slow"] = lambda data: Answer(data, drip=(300, 3600.0))
        name, data = one()
        odd[name] = Answer(data, delay=600.0, then=Answer(data))
    reasons = {}
    for reason, make in lasting.items():
        name, data = one()
        reasons[name] = reason.strip()
        odd[name] = make(data)
        del good[name]
    # It asks to be left alone for a day, which must not quiet the one that the others lie on.
    patient = next(name for name, reason in reasons.items() if reason == "rate-limited")
    with Origin({f"/{patient}": odd.pop(patient)}) as far, Origin() as origin, Pool(local) as pool:
        answers = {name: odd.get(name, Answer(data)) for name, data in photos.items()}
        listed = [far.url(f"/{name}") if name == patient else name for name in photos]
        origin.answers |= {f"/{name}": answer for name, answer in answers.items()}
        origin.answers["/list.txt"] = Answer("\n".join(listed).encode())
        run_id = ledger.ingest("Misbehaving", origin.url("/list.txt"))
        pool.start()
        finish(ledger, run_id)
        assert {origin.requests[f"/{name}"] for name in good if name not in odd} == {1}
    assert [found[:2] for found in ledger.contents(run_id)] == hashes(good)
    failed = ledger.rows(
        "SELECT regexp_replace(uri, '.*/', ''), reason FROM photo"
        " WHERE run_id = :r AND state = 'rejected'",
        r=run_id,
    )
    assert dict(failed) == reasons
    assert set(reasons.values()) <= set(CURES)
    assert ledger.deaths(run_id) == 0
    ((version,),) = ledger.rows("SELECT version FROM photo WHERE uri LIKE :u", u=f"%/{changing}")
    assert version == '"2"'
    note(f"misbehaving origin: {len(good)} indexed, {len(reasons)} failed, each with its reason")


def test_originals_that_change_between_discovery_and_fetch(ledger, local, tmp_path):
    """What is indexed is what was there at the fetch, with the version of just that."""
    folder = tmp_path / "share"
    folder.mkdir()
    photos = pictures(PHOTOS)
    for name, data in photos.items():
        (folder / name).write_bytes(data)
    fresh = pictures(PHOTOS + 2)
    with Pool(local) as pool:
        worker = pool.start()
        worker.hold()
        run_id = ledger.ingest("Changing", str(folder), kind="folder")
        wait_for(lambda: worker.holding and sum(ledger.states(run_id).values()) == PHOTOS, PATIENCE)
        waiting = ledger.rows("SELECT uri FROM photo WHERE state = 'pending' ORDER BY id")
        changed, deleted = (os.path.basename(uri) for (uri,) in waiting[-2:])
        photos[changed] = fresh[f"{PHOTOS:05}.jpg"]
        (folder / changed).write_bytes(photos[changed])
        (folder / deleted).unlink()
        del photos[deleted]
        worker.let_go()
        finish(ledger, run_id)
        assert [found[:2] for found in ledger.contents(run_id)] == hashes(photos)
        failed = ledger.rows("SELECT uri, reason FROM photo WHERE state = 'rejected'")
        assert [(os.path.basename(uri), reason) for uri, reason in failed] == [
            (deleted, "not-found")
        ]
        # So the next look finds nothing new, and that one of them is gone.
        ((source_id,),) = ledger.rows("SELECT source_id FROM run WHERE id = :r", r=run_id)
        with session_scope(ledger.engine) as session:
            again = runs.start_scan(session, session.get(Source, source_id)).id
        ledger.queue.send(Job.DISCOVER, again)
        finish(ledger, again)
        summary = ledger.summary(again)
        assert (summary.unchanged, summary.indexed, summary.failed) == (len(photos), 0, 0)
