"""The event that an address names, with the head that its pages share."""

from __future__ import annotations

from sqlmodel import Session
from starlette.requests import Request

from app.storage import gallery
from app.storage.tables import Event
from app.web import present
from app.web.contexts import EventHead


def event_and_head(session: Session, request: Request, active: str) -> tuple[Event, EventHead]:
    """`active` is the tab that is open: photos | space | sources. Raises UnknownEvent."""
    event = gallery.event_by_slug(session, request.path_params["slug"])
    counts = gallery.event_counts(session, [event.id])[event.id]
    return event, present.event_head(event, counts, active)
