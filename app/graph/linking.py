"""Which events are linked: decided by their owner, both ways at once."""

from __future__ import annotations

from sqlalchemy import text
from sqlmodel import Session

from app.core.errors import BadInput
from app.ingest.runs import start_stage
from app.storage.tables import Event, Run, RunKind


def link(session: Session, one: Event, other: Event) -> list[Run]:
    """Photos of both events find each other from now on. Returns the graph runs to send.

    Raises BadInput for an event and itself.
    """
    if one.id == other.id:
        raise BadInput("An event is linked with itself already.")
    session.connection().execute(
        text(
            "INSERT INTO event_link (event_id, other_id) VALUES (:one, :other), (:other, :one)"
            " ON CONFLICT DO NOTHING"
        ),
        {"one": one.id, "other": other.id},
    )
    return _build(session, one, other)


def unlink(session: Session, one: Event, other: Event) -> list[Run]:
    """Photos of the events are strangers again; their edges go with the next build."""
    session.connection().execute(
        text(
            "DELETE FROM event_link WHERE (event_id, other_id) IN ((:one, :other), (:other, :one))"
        ),
        {"one": one.id, "other": other.id},
    )
    return _build(session, one, other)


def _build(session: Session, *events: Event) -> list[Run]:
    return [start_stage(session, event.id, RunKind.GRAPH) for event in events]
