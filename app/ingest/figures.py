"""The figures of ingest runs, read from the ledger: what pages, API and command line show."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlmodel import Session, col, select

from app.core.errors import UnknownRun
from app.core.failures import cure_for
from app.core.runs import FailedPhoto, FailureGroup, Progress, RunSummary
from app.storage.tables import OPEN_RUNS, STAGES, Event, Run, RunKind, RunState, Source

RATE_WINDOW_SECONDS = 60.0


_KEPT = ("fetched", "indexed", "changed", "rechecked", "failed", "ignored", "cancelled", "bytes")


def photo_counts(session: Session, run_id: int) -> dict[str, Any]:
    """A run's photos by what became of them, and its recent rate; all zero for a run without any.

    `rechecked` photos were asked for again and are what they were.
    """
    return _counts(session, [run_id])[run_id]


def _counts(session: Session, run_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    rows = session.connection().execute(
        text(
            "SELECT run.id, count(*) FILTER (WHERE fetched_at >= run.started_at) AS fetched,"
            " count(*) FILTER (WHERE photo.state = 'indexed'"
            "   AND indexed_at >= run.started_at) AS indexed,"
            " count(*) FILTER (WHERE photo.state = 'indexed'"
            "   AND changed_at >= run.started_at) AS changed,"
            " count(*) FILTER (WHERE photo.state = 'indexed'"
            "   AND indexed_at < run.started_at) AS rechecked,"
            " count(*) FILTER (WHERE photo.state = 'rejected') AS failed,"
            " count(*) FILTER (WHERE photo.state = 'ignored') AS ignored,"
            " count(*) FILTER (WHERE photo.state = 'cancelled') AS cancelled,"
            " count(*) FILTER (WHERE photo.state IN ('pending', 'working', 'retry')) AS open,"
            " coalesce(sum(size) FILTER (WHERE fetched_at >= run.started_at), 0) AS bytes,"
            " count(*) FILTER (WHERE greatest(indexed_at, health_at)"
            "   > now() - make_interval(secs => :window)) AS recent,"
            " extract(epoch FROM now() - greatest(run.started_at,"
            "   now() - make_interval(secs => :window))) AS window"
            " FROM photo JOIN run ON run.id = photo.run_id WHERE run.id = ANY(:runs)"
            " GROUP BY run.id, run.started_at"
        ),
        {"runs": list(run_ids), "window": RATE_WINDOW_SECONDS},
    )
    found = {
        row.id: {
            name: float(value) if name == "window" else int(value)
            for name, value in row._mapping.items()
            if name != "id"
        }
        for row in rows
    }
    none = dict.fromkeys((*_KEPT, "open", "recent", "window"), 0)
    return {run_id: found.get(run_id, dict(none)) for run_id in run_ids}


def kept_counts(counts: dict[str, Any]) -> dict[str, Any]:
    """Those of `photo_counts` that a run keeps when it ends: a later run may take its photos."""
    return {name: counts[name] for name in _KEPT}


def _failures(session: Session, run_ids: Sequence[int]) -> dict[int, list[FailureGroup]]:
    rows = session.connection().execute(
        text(
            "SELECT run_id, reason, count(*), min(uri), (array_agg(message ORDER BY uri))[1],"
            " count(*) FILTER (WHERE source_key NOT LIKE 'bad-entry:%')"
            " FROM photo WHERE run_id = ANY(:runs) AND state = 'rejected'"
            " GROUP BY run_id, reason ORDER BY 3 DESC, 2"
        ),
        {"runs": list(run_ids)},
    )
    found: dict[int, list[FailureGroup]] = {run_id: [] for run_id in run_ids}
    for run_id, reason, count, uri, message, retriable in rows:
        group = FailureGroup(reason, count, uri, message or "", cure_for(reason), retriable)
        found[run_id].append(group)
    return found


def failed_photos(
    session: Session, run_id: int, *, reason: str | None = None, after: int = 0, limit: int = 1000
) -> list[FailedPhoto]:
    """Rejected photos of a run with ids above `after`, of one reason or all, by id."""
    rows = session.connection().execute(
        text(
            "SELECT id, uri, reason, coalesce(message, ''), source_key NOT LIKE 'bad-entry:%'"
            " FROM photo"
            " WHERE run_id = :run AND state = 'rejected' AND id > :after"
            " AND (CAST(:reason AS text) IS NULL OR reason = :reason) ORDER BY id LIMIT :limit"
        ),
        {"run": run_id, "reason": reason, "after": after, "limit": limit},
    )
    return [FailedPhoto(*row) for row in rows]


def count_failed(
    session: Session, run_id: int, *, reason: str | None = None, after: int = 0
) -> int:
    """How many `failed_photos` there are without a limit."""
    count = session.connection().execute(
        text(
            "SELECT count(*) FROM photo WHERE run_id = :run AND state = 'rejected' AND id > :after"
            " AND (CAST(:reason AS text) IS NULL OR reason = :reason)"
        ),
        {"run": run_id, "reason": reason, "after": after},
    )
    return int(count.scalar_one())


def _stages(session: Session, run_ids: Sequence[int]) -> dict[int, dict[str, str]]:
    rows = session.connection().execute(
        text(
            "SELECT DISTINCT ON (parent_id, kind) parent_id, kind, state FROM run"
            " WHERE parent_id = ANY(:runs) ORDER BY parent_id, kind, id DESC"
        ),
        {"runs": list(run_ids)},
    )
    found = {run_id: {stage.value: "none" for stage in STAGES} for run_id in run_ids}
    for run_id, kind, state in rows:
        found[run_id][kind] = state
    return found


def run_summary(session: Session, run_id: int) -> RunSummary:
    """The figures of an ingest run, read from the ledger. Raises UnknownRun."""
    found = summaries(session, [run_id])
    if not found:
        raise UnknownRun(run_id)
    return found[0]


def summaries(session: Session, run_ids: Sequence[int]) -> list[RunSummary]:
    """The figures of these ingest runs, in this order; those that don't exist are left out.

    A handful of queries, however many runs.
    """
    rows = session.exec(
        select(Run, Event.slug, Source.uri)
        .join(Event, col(Event.id) == col(Run.event_id))
        .join(Source, col(Source.id) == col(Run.source_id))
        .where(col(Run.id).in_(run_ids), Run.kind == RunKind.INGEST)
        .execution_options(populate_existing=True)
    ).all()
    found = {row[0].id: row for row in rows}
    known = [run_id for run_id in run_ids if run_id in found]
    if not known:
        return []
    # A run that has ended keeps its counts, for a later one may have taken its photos.
    counted = _counts(session, [i for i in known if not _is_kept(found[i][0])])
    failures, stages = _failures(session, known), _stages(session, known)
    now = session.connection().execute(text("SELECT now()")).scalar_one()
    made = []
    for run_id in known:
        run, event, source = found[run_id]
        counts = counted.get(run_id, {"open": 0, "recent": 0, "window": 0}) | (run.summary or {})
        told = {"failures": failures[run_id], "stages": stages[run_id]}
        made.append(_summary(run, event, source, counts, now, **told))
    return made


def _is_kept(run: Run) -> bool:
    return run.summary is not None and all(name in run.summary for name in _KEPT)


def _summary(
    run: Run, event: str, source: str, counts: dict[str, Any], now: datetime, **told: Any
) -> RunSummary:
    assert run.source_id is not None  # noqa: S101 - an ingest has one
    seconds = (
        ((run.finished_at or now) - run.started_at).total_seconds() if run.started_at else None
    )
    rate = None
    if run.state not in OPEN_RUNS:
        finished = counts["indexed"] + counts["rechecked"]
        rate = finished / seconds if seconds else None
    elif run.state != RunState.PAUSED and counts["window"] > 0:
        rate = counts["recent"] / counts["window"]
    left = None
    if run.state == RunState.WORKING and rate and run.discovery_done:
        left = counts["open"] / rate
    return RunSummary(
        id=run.id,
        event=event,
        source_id=run.source_id,
        source=source,
        state=run.state,
        message=run.message,
        discovery_done=run.discovery_done,
        discovered=run.discovered,
        waiting=counts["open"] if run.state in OPEN_RUNS else 0,
        fetched=counts["fetched"],
        indexed=counts["indexed"],
        # A photo at a new address was indexed before, but it is not where it was.
        unchanged=run.unchanged + max(0, counts["rechecked"] - run.moved),
        duplicates=run.duplicates,
        changed=counts["changed"],
        moved=run.moved,
        gone=run.gone,
        failed=counts["failed"],
        ignored=counts["ignored"],
        cancelled=counts["cancelled"],
        bytes=counts["bytes"],
        photos_per_second=rate,
        seconds_left=left,
        seconds=seconds,
        started_at=run.started_at,
        finished_at=run.finished_at,
        **told,
    )


def event_runs(session: Session, event_id: int, limit: int = 20) -> list[RunSummary]:
    """An event's ingest runs, the newest first."""
    ids = session.exec(
        select(Run.id)
        .where(Run.event_id == event_id, Run.kind == RunKind.INGEST)
        .order_by(col(Run.id).desc())
        .limit(limit)
    ).all()
    return summaries(session, ids)


def latest_run(session: Session, event_id: int) -> RunSummary | None:
    """An event's newest ingest run."""
    return next(iter(event_runs(session, event_id, limit=1)), None)


def source_runs(session: Session, event_id: int) -> dict[int, RunSummary]:
    """For each source of an event its open ingest run, else its newest; by the source's id."""
    ids = session.connection().execute(
        text(
            "SELECT DISTINCT ON (source_id) id FROM run WHERE event_id = :event AND kind = 'ingest'"
            " ORDER BY source_id, state IN ('pending', 'working', 'paused') DESC, id DESC"
        ),
        {"event": event_id},
    )
    return {run.source_id: run for run in summaries(session, [row[0] for row in ids])}


MOST_TOLD = 50
"""Runs of one event that its progress tells one by one."""


def event_progress(session: Session, event_id: int) -> Progress:
    """How far an event's ingests are: its open runs together, or its newest where none is open.

    Raises nothing for an event without any run: its state is `none`.
    """
    ids = session.exec(
        select(Run.id)
        .where(Run.event_id == event_id, Run.kind == RunKind.INGEST, col(Run.state).in_(OPEN_RUNS))
        .order_by(col(Run.id).desc())
        .limit(MOST_TOLD)
    ).all()
    latest = event_runs(session, event_id, limit=1) if not ids else []
    event = session.get(Event, event_id)
    return Progress.of(event.slug if event else "", summaries(session, ids) or latest)
