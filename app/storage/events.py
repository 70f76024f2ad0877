"""Events: find, make, list."""

from __future__ import annotations

import re
import unicodedata
from datetime import date

from sqlalchemy import text
from sqlmodel import Session, select

from app.core.errors import BadInput, UnknownEvent
from app.storage.tables import Event

_MAX_NAME = 200


def slug_of(name: str) -> str:
    """A URL-safe name: letters and digits joined by hyphens; `event` where nothing is left."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:80] or "event"


def get_event(session: Session, slug: str) -> Event:
    """The event of this slug or name. Raises UnknownEvent."""
    event = find_event(session, slug)
    if event is None:
        raise UnknownEvent(slug)
    return event


def find_event(session: Session, name: str) -> Event | None:
    """The event whose slug or name is exactly this."""
    by_slug = session.exec(select(Event).where(Event.slug == name)).first()
    return (
        by_slug
        or session.exec(
            select(Event).where(Event.name == name).order_by(Event.id)  # type: ignore[arg-type]
        ).first()
    )


def create_event(session: Session, name: str, *, on: date | None = None) -> Event:
    """A new event; its slug gets a number where another has it. Raises BadInput on a bad name."""
    # Invisible characters (controls, direction marks) would make two names look alike.
    name = " ".join(
        "".join(c for c in name if unicodedata.category(c)[0] != "C" or c.isspace()).split()
    )
    if not name or len(name) > _MAX_NAME:
        raise BadInput(f"An event's name has 1 to {_MAX_NAME} characters.", cure="Choose another.")
    # Two that make the same name at once would choose the same slug.
    session.connection().execute(text("SELECT pg_advisory_xact_lock(hashtext('event slug'))"))
    base = slug_of(name)
    taken = set(session.exec(select(Event.slug).where(Event.slug.like(f"{base}%"))))  # type: ignore[attr-defined]
    slug = next(
        s for n in range(1, len(taken) + 2) if (s := base if n == 1 else f"{base}-{n}") not in taken
    )
    event = Event(slug=slug, name=name, date=on)
    session.add(event)
    session.flush()
    return event


def all_events(session: Session) -> list[Event]:
    """Every event, the newest first."""
    return list(session.exec(select(Event).order_by(Event.id.desc())))  # type: ignore[attr-defined]
