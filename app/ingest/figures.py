"""The figures of ingest runs, read from the ledger: what pages, API and command line show."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text
from sqlmodel import Session, select

from app.core.errors import UnknownRun
from app.core.failures import cure_for
from app.core.runs import FailureGroup, RunSummary
from app.storage.tables import Event, Run, RunKind, RunState, Source

RATE_WINDOW_SECONDS = 60.0


def photo_counts(session: Session, run_id: int) -> dict[str, Any]:
    """A run's photos by what became of them, and its recent rate; all zero for a run without any."""
    row = (
        session.connection()
        .execute(
            text(
                "SELECT count(*) FILTER (WHERE fetched_at >= run.started_at) AS fetched,"
                " count(*) FILTER (WHERE photo.state = 'indexed') AS indexed,"
                " count(*) FILTER (WHERE photo.state = 'rejected') AS failed,"
                " count(*) FILTER (WHERE photo.state IN ('pending', 'working', 'retry')) AS open,"
                " coalesce(sum(size) FILTER (WHERE fetched_at >= run.started_at), 0) AS bytes,"
                " count(*) FILTER (WHERE indexed_at > now() - make_interval(secs => :window)) AS recent,"
                " extract(epoch FROM now() - greatest(run.started_at,"
                "   now() - make_interval(secs => :window))) AS window"
                " FROM photo JOIN run ON run.id = photo.run_id WHERE run.id = :run"
                " GROUP BY run.started_at"
            ),
            {"run": run_id, "window": RATE_WINDOW_SECONDS},
        )
        .first()
    )
    if row is None:
        return {
            "fetched": 0,
            "indexed": 0,
            "failed": 0,
            "open": 0,
            "bytes": 0,
            "recent": 0,
            "window": 0,
        }
    return {name: float(v) if name == "window" else int(v) for name, v in row._mapping.items()}


def _failures(session: Session, run_id: int) -> list[FailureGroup]:
    rows = session.connection().execute(
        text(
            "SELECT reason, count(*), min(uri), (array_agg(message ORDER BY uri))[1] FROM photo"
            " WHERE run_id = :run AND state = 'rejected' GROUP BY reason ORDER BY 2 DESC, 1"
        ),
        {"run": run_id},
    )
    return [FailureGroup(row[0], row[1], row[2], row[3] or "", cure_for(row[0])) for row in rows]


def failed_photos(session: Session, run_id: int) -> list[tuple[str, str, str]]:
    """(uri, reason, message) of every photo of the run that was rejected, by uri."""
    rows = session.connection().execute(
        text(
            "SELECT uri, reason, coalesce(message, '') FROM photo"
            " WHERE run_id = :run AND state = 'rejected' ORDER BY uri, id"
        ),
        {"run": run_id},
    )
    return [(row[0], row[1], row[2]) for row in rows]


def _stages(session: Session, run_id: int) -> dict[str, str]:
    rows = session.connection().execute(
        text(
            "SELECT DISTINCT ON (kind) kind, state FROM run WHERE parent_id = :run"
            " ORDER BY kind, id DESC"
        ),
        {"run": run_id},
    )
    return {"graph": "none", "layout": "none"} | {row[0]: row[1] for row in rows}


def run_summary(session: Session, run_id: int) -> RunSummary:
    """The figures of an ingest run, read from the ledger. Raises UnknownRun."""
    run = session.get(Run, run_id, populate_existing=True)
    if run is None or run.kind != RunKind.INGEST:
        raise UnknownRun(run_id)
    event = session.get(Event, run.event_id)
    source = session.get(Source, run.source_id)
    assert event is not None and source is not None  # noqa: S101, PT018 - foreign keys
    counts = photo_counts(session, run_id) | (run.summary or {})
    now = session.connection().execute(text("SELECT now()")).scalar_one()
    seconds = (
        ((run.finished_at or now) - run.started_at).total_seconds() if run.started_at else None
    )
    done = run.state in (RunState.DONE, RunState.FAILED)
    if done:
        rate = counts["indexed"] / seconds if seconds else None
    else:
        rate = counts["recent"] / counts["window"] if counts["window"] > 0 else None
    left = None
    if not done and rate and run.discovery_done:
        left = counts["open"] / rate
    return RunSummary(
        id=run.id,
        event=event.slug,
        source=source.uri,
        state=run.state,
        message=run.message,
        discovery_done=run.discovery_done,
        discovered=run.discovered,
        fetched=counts["fetched"],
        indexed=counts["indexed"],
        unchanged=run.unchanged,
        duplicates=run.duplicates,
        failed=counts["failed"],
        bytes=counts["bytes"],
        photos_per_second=rate,
        seconds_left=left,
        seconds=seconds,
        started_at=run.started_at,
        finished_at=run.finished_at,
        failures=_failures(session, run_id),
        stages=_stages(session, run_id),
    )


def event_runs(session: Session, event_id: int, limit: int = 20) -> list[RunSummary]:
    """An event's ingest runs, the newest first."""
    ids = session.exec(
        select(Run.id)
        .where(Run.event_id == event_id, Run.kind == RunKind.INGEST)
        .order_by(Run.id.desc())  # type: ignore[attr-defined]
        .limit(limit)
    ).all()
    return [run_summary(session, run_id) for run_id in ids]


def latest_run(session: Session, event_id: int) -> RunSummary | None:
    """An event's newest ingest run."""
    return next(iter(event_runs(session, event_id, limit=1)), None)
