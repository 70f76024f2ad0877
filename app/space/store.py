"""Finished layouts: the newest of an event."""

from __future__ import annotations

from sqlmodel import Session, select

from app.storage.tables_graph import Layout

LOOK = "look"


def latest_layout(session: Session, event_id: int, name: str = LOOK) -> Layout | None:
    """The newest layout of this name, None while none is built."""
    return session.exec(
        select(Layout)
        .where(Layout.event_id == event_id, Layout.name == name)
        .order_by(Layout.id.desc())  # type: ignore[attr-defined]
        .limit(1)
    ).first()
