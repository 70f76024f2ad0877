"""Finished layouts: the newest of an event and space. Light: the web process reads them."""

from __future__ import annotations

from sqlalchemy import text
from sqlmodel import Session, select

from app.storage.tables_graph import Layout

LOOK = "look"
LOOK_TIME = "look-time"
PEOPLE = "people"
SPACES = (LOOK, LOOK_TIME, PEOPLE)
"""The named spaces. The first always exists; the others where photos have times, or faces."""


def latest_layout(session: Session, event_id: int, name: str = LOOK) -> Layout | None:
    """The newest layout of this name, None while none is built."""
    return session.exec(
        select(Layout)
        .where(Layout.event_id == event_id, Layout.name == name)
        .order_by(Layout.id.desc())  # type: ignore[attr-defined]
        .limit(1)
    ).first()


def built_spaces(session: Session, event_id: int) -> list[str]:
    """Names of the spaces that an event has, in the order of SPACES."""
    found = session.connection().execute(
        text("SELECT DISTINCT name FROM layout WHERE event_id = :event"), {"event": event_id}
    )
    names = {row[0] for row in found}
    return [name for name in SPACES if name in names]
