"""What people decide about a run: pause, resume, cancel, retry, ignore."""

from __future__ import annotations

from sqlalchemy import text
from sqlmodel import Session

from app.core.errors import Conflict, UnknownPhoto, UnknownRun
from app.ingest.runs import reopen, settle
from app.storage.tables import OPEN_RUNS, Run, RunKind, RunState


def _locked(session: Session, run_id: int) -> Run:
    run = session.get(Run, run_id, with_for_update=True, populate_existing=True)
    if run is None or run.kind != RunKind.INGEST:
        raise UnknownRun(run_id)
    return run


def pause(session: Session, run_id: int) -> None:
    """No further photo of the run is begun, and its source is not read on; what is in hand is
    finished. Raises UnknownRun, Conflict where it has ended."""
    run = _locked(session, run_id)
    if run.state not in OPEN_RUNS:
        raise Conflict(f"Run {run_id} has ended: it is {run.state}.")
    # A raised lease ends a discovery that is under way at its next write.
    run.state, run.lease, run.lease_until = RunState.PAUSED, run.lease + 1, None
    session.add(run)


def resume(session: Session, run_id: int) -> Run | None:
    """Go on with a paused run. Returns the graph run to send where nothing was left to do.

    Commit, then send Job.DISCOVER and tickets for its waiting photos. Raises UnknownRun, Conflict.
    """
    run = _locked(session, run_id)
    if run.state != RunState.PAUSED:
        raise Conflict(f"Run {run_id} is not paused: it is {run.state}.")
    reopen(session, run)
    return settle(session, run_id)


def cancel(session: Session, run_id: int) -> Run | None:
    """End a run now. Its waiting photos are given up, until its source is ingested again; photos
    that are indexed stay, and those in hand are finished. Returns the graph run to send, if any.
    Raises UnknownRun, Conflict."""
    run = _locked(session, run_id)
    if run.state not in OPEN_RUNS:
        raise Conflict(f"Run {run_id} has ended: it is {run.state}.")
    run.state, run.lease, run.lease_until = RunState.CANCELLED, run.lease + 1, None
    run.finished_at = session.connection().execute(text("SELECT now()")).scalar_one()
    session.add(run)
    session.flush()
    return settle(session, run_id)


def retry(
    session: Session,
    run_id: int,
    *,
    reason: str | None = None,
    photo_id: int | None = None,
    ignored: bool = False,
) -> int:
    """Try a run's failures again: all, those of one reason, or one photo (also an ignored one).
    With `ignored`, those that were ignored instead.

    Reopens the run. Returns how many; commit, then send that many photos' tickets. Raises
    UnknownRun, UnknownPhoto.
    """
    run = _locked(session, run_id)
    count = (
        session.connection()
        .execute(
            text(
                "UPDATE photo SET state = 'pending', attempts = 0, deaths = 0, reason = NULL,"
                " message = NULL WHERE run_id = :run"
                # Entries of a list that name nothing which could be tried (sources/listing.py).
                " AND source_key NOT LIKE 'bad-entry:%'"
                " AND (state = CASE WHEN :ignored THEN 'ignored' ELSE 'rejected' END"
                "   OR (state = 'ignored' AND id = :photo))"
                " AND (CAST(:reason AS text) IS NULL OR reason = :reason)"
                " AND (CAST(:photo AS bigint) IS NULL OR id = :photo)"
            ),
            {"run": run_id, "reason": reason, "photo": photo_id, "ignored": ignored},
        )
        .rowcount
    )
    if photo_id is not None and not count:
        raise UnknownPhoto(photo_id)
    if count and run.state != RunState.PAUSED:
        reopen(session, run)
    return count


def ignore(
    session: Session, run_id: int, *, reason: str | None = None, photo_id: int | None = None
) -> int:
    """Stop showing a run's failures as such: all, those of one reason, or one photo.

    They are not tried again until they change or a person retries them. Returns how many. Raises
    UnknownRun, UnknownPhoto.
    """
    run = _locked(session, run_id)
    count = (
        session.connection()
        .execute(
            text(
                "UPDATE photo SET state = CASE WHEN indexed_at IS NULL THEN 'ignored'"
                " ELSE 'indexed' END"
                " WHERE run_id = :run AND state = 'rejected'"
                " AND (CAST(:reason AS text) IS NULL OR reason = :reason)"
                " AND (CAST(:photo AS bigint) IS NULL OR id = :photo)"
            ),
            {"run": run_id, "reason": reason, "photo": photo_id},
        )
        .rowcount
    )
    if photo_id is not None and not count:
        raise UnknownPhoto(photo_id)
    if run.summary is not None:
        # A run that has ended shows the counts that it kept.
        kept = run.summary
        run.summary = {
            **kept,
            "failed": max(0, kept.get("failed", 0) - count),
            "ignored": kept.get("ignored", 0) + count,
        }
        session.add(run)
    return count


def ignored_photos(session: Session, event_id: int) -> dict[int, list[tuple[int, int]]]:
    """For each source of an event with ignored photos that could be tried again: (run, count) of
    the runs that `retry` takes them of, the newest first."""
    rows = session.connection().execute(
        text(
            "SELECT source_id, run_id, count(*) FROM photo WHERE event_id = :event"
            " AND state = 'ignored' AND run_id IS NOT NULL AND source_key NOT LIKE 'bad-entry:%'"
            " GROUP BY source_id, run_id ORDER BY source_id, run_id DESC"
        ),
        {"event": event_id},
    )
    found: dict[int, list[tuple[int, int]]] = {}
    for source_id, run_id, count in rows:
        found.setdefault(source_id, []).append((run_id, count))
    return found
