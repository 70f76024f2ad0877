"""What pages and API set going alike: make an event, start an ingest, retry, decide on faces.

Each commits with its audit entry first and nudges a worker afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from sqlalchemy import Engine

from app.core.errors import BadInput
from app.core.jobs import Job, JobQueue
from app.core.runs import RunSummary
from app.ingest.consent import set_faces
from app.ingest.figures import run_summary
from app.ingest.nudges import nudge
from app.ingest.runs import retry_failures, start_ingest
from app.sources.listing import is_web
from app.sources.open import AUTO, kind_names, recognise
from app.storage import audit, gallery
from app.storage.engine import session_scope
from app.storage.events import create_event
from app.storage.tables import Event
from app.web.authorize import Principal


@dataclass(frozen=True, slots=True)
class FaceDecision:
    on: bool
    purpose: str
    policy: str
    retention_days: int | None


class Commands:
    def __init__(self, engine: Engine, jobs: JobQueue) -> None:
        self._engine = engine
        self._jobs = jobs

    def create_event(self, name: str, on: date | None, by: Principal) -> Event:
        """A new event. Raises BadInput."""
        with session_scope(self._engine) as session:
            event = create_event(session, name, on=on)
            audit.record(session, by.label, "create event", event.slug)
        return event

    def ingest(self, slug: str, source: str, kind: str, by: Principal) -> RunSummary:
        """Start reading a source into an event. Raises UnknownEvent, BadInput."""
        uri, kind = recognised(source, kind)
        with session_scope(self._engine) as session:
            event = gallery.event_by_slug(session, slug)
            run = start_ingest(session, event, kind, uri)
            summary = run_summary(session, run.id)
            audit.record(session, by.label, "start ingest", f"{slug} run {run.id}")
        nudge(self._jobs, Job.DISCOVER, run.id)
        return summary

    def retry(self, run_id: int, reason: str | None, by: Principal) -> RunSummary:
        """Try a run's failures again, or those of one reason. Raises UnknownRun."""
        with session_scope(self._engine) as session:
            count = retry_failures(session, run_id, reason or None)
            summary = run_summary(session, run_id)
            audit.record(session, by.label, "retry failures", f"run {run_id}", f"{count} photos")
        if count:
            nudge(self._jobs, Job.RESUME, run_id)
        return summary

    def decide_faces(self, slug: str, decision: FaceDecision, by: Principal) -> None:
        """Allow or forbid face recognition in an event. Raises UnknownEvent, BadInput."""
        with session_scope(self._engine) as session:
            event = gallery.event_by_slug(session, slug)
            set_faces(
                session,
                event,
                on=decision.on,
                purpose=decision.purpose,
                policy=decision.policy,
                retention_days=decision.retention_days,
                by=by.label,
            )
            action = "turn faces on" if decision.on else "turn faces off"
            audit.record(session, by.label, action, slug)


def recognised(source: str, kind: str) -> tuple[str, str]:
    """(uri, kind) of what a person gave. Raises BadInput."""
    if kind not in kind_names():
        raise BadInput(
            f"There is no kind of source “{kind}”.", cure=f"Known: {', '.join(kind_names())}."
        )
    source = source.strip()
    if not is_web(source) and not _is_absolute(source):
        raise BadInput(
            f"“{source[:200]}” is no web address and no full path.",
            cure="Give an address that starts with https://, or a folder's path from the root on.",
        )
    found = recognise(source)[0]
    found = found if kind == AUTO else kind
    if found == "list" and not is_web(source):
        # Its lines would come back as failures: whoever may ingest could read the server's files.
        raise BadInput(
            "A list on the server's disk can't be read from here.",
            cure="Use `clairvision ingest` on the server, or the list's web address.",
        )
    return source, found


def _is_absolute(source: str) -> bool:
    return source.lower().startswith("file:") or Path(source).is_absolute()
