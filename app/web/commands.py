"""What pages and API set going alike: make an event, start an ingest, decide on faces.

Each commits with its audit entry first and nudges a worker afterwards. What is asked of sources and
runs that exist goes to the ingest service itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from sqlalchemy import Engine

from app.core.errors import BadInput
from app.core.runs import RunSummary
from app.ingest.consent import set_faces
from app.ingest.service import IngestService
from app.sources.listing import is_web
from app.sources.open import AUTO, kind_names, kind_of, recognise
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


@dataclass(frozen=True, slots=True)
class Wanted:
    """A source as a person describes it. None leaves what is stored of it already."""

    source: str
    kind: str = AUTO
    options: Mapping[str, str] | None = None
    credentials: Mapping[str, str] | None = field(default=None, repr=False)
    rescan_seconds: int | None = None


class Commands:
    """`ingests` carries out what is asked of sources and runs."""

    def __init__(self, engine: Engine, ingests: IngestService) -> None:
        self._engine = engine
        self.ingests = ingests

    def create_event(self, name: str, on: date | None, by: Principal) -> Event:
        """A new event. Raises BadInput."""
        with session_scope(self._engine) as session:
            event = create_event(session, name, on=on)
            audit.record(session, by.label, "create event", event.slug)
        return event

    def ingest(self, slug: str, wanted: Wanted, by: Principal) -> RunSummary:
        """Start reading a source into an event. Raises UnknownEvent, BadInput."""
        uri, kind = recognised(wanted.source, wanted.kind)
        with session_scope(self._engine) as session:
            event_id = gallery.event_by_slug(session, slug).id
        return self.ingests.start(
            event_id,
            kind,
            uri,
            by=by.label,
            options=wanted.options,
            credentials=wanted.credentials,
            rescan_seconds=wanted.rescan_seconds,
        )

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
    local = _is_local(source)
    if not local and "://" not in source:
        raise BadInput(
            f"“{source[:200]}” is no address and no full path.",
            cure="Give an address that starts with https://, or a folder's path from the root on.",
        )
    found = recognise(source)[0] if kind == AUTO or local else kind
    if local and found != "folder":
        # Its lines would come back as failures: whoever may ingest could read the server's files.
        raise BadInput(
            "A file on the server's disk can't be read from here.",
            cure="Use `clairvision ingest` on the server, or the file's web address.",
        )
    misplaced = local or found == "folder" or (found == "list" and not is_web(source))
    misplaced = misplaced and not (local and kind == found)
    if kind != AUTO and misplaced:
        chosen = kind_of(kind)
        raise BadInput(
            f"“{source[:200]}” is no address of this kind: {chosen.title.lower()}.",
            cure=f"One looks like {chosen.example}",
        )
    return source, found


def _is_local(source: str) -> bool:
    return source.lower().startswith("file:") or Path(source).is_absolute()
