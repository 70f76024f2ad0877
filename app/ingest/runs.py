"""Runs: an ingest from its first message to its last photo, and the stages that follow it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import text
from sqlmodel import Session, col, select

from app.core.jobs import JOB_QUEUE, Job, Queue
from app.ingest.figures import kept_counts, photo_counts
from app.ingest.rescan import gone_since, join_moved
from app.storage.tables import OPEN_RUNS, Event, Run, RunKind, RunState, Source

RUN_LEASE_SECONDS = 30.0
MAX_RUN_ATTEMPTS = 3


def start_ingest(
    session: Session,
    event: Event,
    kind: str,
    uri: str,
    *,
    options: Mapping[str, str] | None = None,
    sealed: bytes | None = None,
) -> Run:
    """A new ingest run of a source, or the one of the same source that is still open.

    Options and credentials that are given replace those of before, and a run that reads the source
    by the old ones begins anew. Commit, then send Job.DISCOVER with its id.
    """
    # Two that add the same source at once would both find none.
    session.connection().execute(
        text("SELECT 1 FROM event WHERE id = :id FOR NO KEY UPDATE"), {"id": event.id}
    )
    source = session.exec(
        select(Source).where(Source.event_id == event.id, Source.kind == kind, Source.uri == uri)
    ).first()
    if source is None:
        source = Source(event_id=event.id, kind=kind, uri=uri)
    if options is not None:
        source.options = dict(options)
    if sealed is not None:
        source.sealed = sealed
    session.add(source)
    session.flush()
    return start_scan(session, source, anew=options is not None or sealed is not None)


def start_scan(session: Session, source: Source, *, anew: bool = False) -> Run:
    """A new run of a source that is known, or the one that is still open; a paused one goes on.

    An open run whose source was read already reads it again, for it may hold other photos by now.
    `anew`: also one that is in the midst of reading, because the source is another than before.
    """
    # Two that scan the same source at once would both find no open run.
    session.connection().execute(
        text("SELECT 1 FROM event WHERE id = :id FOR NO KEY UPDATE"), {"id": source.event_id}
    )
    open_run = session.exec(
        select(Run).where(
            Run.source_id == source.id,
            Run.kind == RunKind.INGEST,
            col(Run.state).in_(OPEN_RUNS),
        )
    ).first()
    if open_run is not None:
        reopen(session, open_run)
        if open_run.state == RunState.WORKING and (anew or open_run.discovery_done):
            # A raised lease ends a reader at its next write; one that is over lets a new one begin.
            now = session.connection().execute(text("SELECT now()")).scalar_one()
            open_run.discovery_done, open_run.lease_until = False, now
            open_run.lease, open_run.attempts = open_run.lease + 1, min(open_run.attempts, 1)
            session.add(open_run)
            session.flush()
        return open_run
    run = Run(event_id=source.event_id, source_id=source.id, kind=RunKind.INGEST)
    session.add(run)
    session.flush()
    return run


def reopen(session: Session, run: Run) -> bool:
    """Set a run that stands still (paused, or ended with photos to do again) working; False where
    it works already. Its source is read again where it was not read to its end."""
    if run.state in (RunState.PENDING, RunState.WORKING):
        return False
    now = session.connection().execute(text("SELECT now()")).scalar_one()
    run.state, run.finished_at, run.summary = RunState.WORKING, None, None
    run.message, run.attempts = "", 0
    run.started_at = run.started_at or now
    # A lease that is over: the next message or sweep takes the discovery up.
    run.lease_until = None if run.discovery_done else now
    session.add(run)
    session.flush()
    return True


def claim_run(session: Session, run_id: int) -> Run | None:
    """Take the run's lease, or None where it is done or another worker holds it."""
    row = (
        session.connection()
        .execute(
            text(
                "UPDATE run SET state = 'working', lease = lease + 1, attempts = attempts + 1,"
                " lease_until = now() + make_interval(secs => :seconds),"
                " started_at = coalesce(started_at, now())"
                " WHERE id = :id AND NOT discovery_done AND (state = 'pending'"
                "   OR (state = 'working' AND lease_until < now()))"
                " RETURNING id"
            ),
            {"id": run_id, "seconds": RUN_LEASE_SECONDS},
        )
        .first()
    )
    if row is None:
        return None
    session.expire_all()
    return session.get(Run, run_id)


def hold_run(
    session: Session, run: Run, seconds: float = RUN_LEASE_SECONDS, **changes: object
) -> bool:
    """Prolong the lease and write counters; False where the lease was lost (stop working then)."""
    assignments = "".join(f", {name} = :{name}" for name in changes)
    result = session.connection().execute(
        text(
            f"UPDATE run SET lease_until = now() + make_interval(secs => :seconds){assignments}"  # noqa: S608 - names are ours
            " WHERE id = :id AND lease = :lease AND state = 'working'"
        ),
        {"seconds": seconds, "id": run.id, "lease": run.lease, **changes},
    )
    return result.rowcount == 1


def finish_discovery(
    session: Session, run: Run, *, discovered: int, unchanged: int, duplicates: int, gone: int = 0
) -> bool:
    """The source was read to its end. False where the lease was lost."""
    result = session.connection().execute(
        text(
            "UPDATE run SET discovery_done = true, lease_until = NULL, discovered = :discovered,"
            " unchanged = :unchanged, duplicates = :duplicates, gone = :gone"
            " WHERE id = :id AND lease = :lease AND state = 'working'"
        ),
        {
            "discovered": discovered,
            "unchanged": unchanged,
            "duplicates": duplicates,
            "gone": gone,
            "id": run.id,
            "lease": run.lease,
        },
    )
    return result.rowcount == 1


def give_back_run(session: Session, run_id: int, *, after: float) -> None:
    """Hand a run back unfinished, its attempt not counted, to be sent again `after` seconds."""
    session.connection().execute(
        text(
            "UPDATE run SET lease_until = now() + make_interval(secs => :after),"
            " attempts = greatest(attempts - 1, 0) WHERE id = :id AND state = 'working'"
            " AND NOT discovery_done"
        ),
        {"id": run_id, "after": after},
    )


def end_run(
    session: Session,
    run: Run,
    state: RunState,
    *,
    message: str = "",
    summary: Mapping[str, Any] | None = None,
) -> bool:
    """End a run under its lease: done, or failed with a message. False where the lease was lost."""
    fresh = session.get(Run, run.id, with_for_update=True)
    if fresh is None or fresh.lease != run.lease or fresh.state != RunState.WORKING:
        return False
    fresh.state, fresh.message, fresh.lease_until = state, message, None
    fresh.summary = dict(summary) if summary is not None else fresh.summary
    session.add(fresh)
    session.flush()
    session.connection().execute(
        text("UPDATE run SET finished_at = now() WHERE id = :id"), {"id": run.id}
    )
    return True


def fail_run(session: Session, run_id: int, message: str) -> None:
    """End a run as failed, whoever holds it: its work broke in a way that repeats."""
    session.connection().execute(
        text(
            "UPDATE run SET state = 'failed', message = :message, lease_until = NULL,"
            " finished_at = now() WHERE id = :id AND state IN ('pending', 'working')"
        ),
        {"id": run_id, "message": message},
    )


def follow_up(session: Session, run: Run, kind: RunKind) -> Run:
    """The next stage after a run of the same event, as a pending run."""
    return start_stage(session, run.event_id, kind, parent_id=run.parent_id or run.id)


def start_stage(
    session: Session, event_id: int, kind: RunKind, *, parent_id: int | None = None
) -> Run:
    """A pending run of a stage. One that waits already covers what is asked of it meanwhile, and
    counts for the newest parent. Commit, then send its job."""
    made = session.connection().execute(
        text(
            "INSERT INTO run (event_id, kind, parent_id, state)"
            " VALUES (:event, :kind, :parent, 'pending')"
            " ON CONFLICT (event_id, kind) WHERE state = 'pending' AND kind <> 'ingest'"
            " DO UPDATE SET parent_id = coalesce(excluded.parent_id, run.parent_id) RETURNING id"
        ),
        {"event": event_id, "kind": kind, "parent": parent_id},
    )
    started = session.get(Run, made.scalar_one(), populate_existing=True)
    assert started is not None  # noqa: S101 - it was returned above
    return started


_SETTLED = """
UPDATE run SET state = 'done', finished_at = now(), lease_until = NULL
WHERE id = :id AND kind = 'ingest' AND state IN ('working', 'paused') AND discovery_done
  AND NOT EXISTS (SELECT 1 FROM photo WHERE run_id = :id
                  AND state IN ('pending', 'working', 'retry'))
RETURNING id
"""


GIVE_UP = """
UPDATE photo SET retry_at = NULL, reason = NULL, message = NULL,
    state = CASE WHEN indexed_at IS NULL THEN 'cancelled' ELSE 'indexed' END
WHERE run_id = :run AND state IN ('pending', 'retry')
  AND EXISTS (SELECT 1 FROM run WHERE id = :run AND state = 'cancelled')
"""
_CANCELLED = """
UPDATE run SET summary = '{}' WHERE id = :id AND state = 'cancelled'
  AND coalesce(jsonb_typeof(summary), 'null') = 'null'
  AND NOT EXISTS (SELECT 1 FROM photo WHERE run_id = :id AND state = 'working')
RETURNING id
"""


def settle(session: Session, run_id: int) -> Run | None:
    """End an ingest whose last photo is through, exactly once. Returns the graph run to send.

    A paused one with nothing left to do is done too; a cancelled one gets its figures when the last
    photo that was in hand is through. None where photos are still open, another worker settled it,
    or nothing was indexed.
    """
    connection = session.connection()
    if connection.execute(text(_SETTLED), {"id": run_id}).first() is None:
        connection.execute(text(GIVE_UP), {"run": run_id})
        if connection.execute(text(_CANCELLED), {"id": run_id}).first() is None:
            return None
    session.expire_all()
    run = session.get(Run, run_id)
    assert run is not None  # noqa: S101 - it was updated above
    run.moved = join_moved(session, run_id)
    if run.moved:
        run.gone = gone_since(session, run)
    counts = photo_counts(session, run_id)
    run.summary = kept_counts(counts)
    session.add(run)
    return follow_up(session, run, RunKind.GRAPH) if counts["indexed"] else None


def are_halted(session: Session, run_ids: Collection[int]) -> bool:
    """Whether all of these runs were paused or cancelled; False for none."""
    standing = session.connection().execute(
        text("SELECT bool_and(state IN ('paused', 'cancelled')) FROM run WHERE id = ANY(:ids)"),
        {"ids": list(run_ids)},
    )
    return bool(standing.scalar_one())


def waiting_photos(session: Session, run_id: int) -> int:
    """How many photos of a run could be worked on now."""
    count = session.connection().execute(
        text(
            "SELECT count(*) FROM photo WHERE run_id = :run"
            " AND (state = 'pending' OR (state = 'retry' AND retry_at <= now()))"
        ),
        {"run": run_id},
    )
    return int(count.scalar_one())


def sweep_runs(
    session: Session, *, idle: Collection[Queue], empty: Collection[Queue] = ()
) -> list[tuple[Job, int]]:
    """Jobs of runs whose worker died or whose message was lost; hopeless runs end as failed.

    A pending run is sent again only while its queue is idle: otherwise its message waits in it.
    After a minute an empty queue is enough, since an acknowledgement can be lost.
    Also settles ingests that nobody settled because their last worker died just before.
    """
    connection = session.connection()
    connection.execute(
        text(
            "UPDATE run SET state = 'failed', finished_at = now(), lease_until = NULL,"
            " message = 'Its worker died ' || attempts || ' times. The worker''s log says why.'"
            " WHERE state = 'working' AND lease_until < now() AND attempts >= :most"
        ),
        {"most": MAX_RUN_ATTEMPTS},
    )
    rows = connection.execute(
        text(
            "SELECT id, kind, state, created_at < now() - interval '1 minute' FROM run"
            " WHERE (state = 'working' AND lease_until < now())"
            " OR (state = 'pending' AND created_at < now() - interval '5 seconds') ORDER BY id"
        )
    ).all()
    jobs = []
    for run_id, kind, state, old in rows:
        job = Job.DISCOVER if kind == RunKind.INGEST else Job.BUILD_STAGE
        queue = JOB_QUEUE[job]
        if state == "working" or queue in idle or (old and queue in empty):
            jobs.append((job, run_id))
    for (run_id,) in connection.execute(
        text(
            "SELECT id FROM run WHERE kind = 'ingest' AND (discovery_done"
            " AND state IN ('working', 'paused') OR state = 'cancelled'"
            "   AND coalesce(jsonb_typeof(summary), 'null') = 'null')"
        )
    ).all():
        if (graph := settle(session, run_id)) is not None:
            jobs.append((Job.BUILD_STAGE, graph.id))
    return jobs
