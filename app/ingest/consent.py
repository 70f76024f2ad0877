"""Face recognition is off per event until its owner turns it on, with a purpose (SECURITY.md 22)."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import text
from sqlmodel import Session

from app.core.errors import BadInput
from app.storage.tables import Event


def set_faces(
    session: Session,
    event: Event,
    *,
    on: bool,
    purpose: str = "",
    policy: str = "",
    retention_days: int | None = None,
    by: str,
) -> None:
    """Allow or forbid face recognition in an event; who decided and when is recorded.

    Turning it off deletes every face and face vector of the event. Photos that are already indexed
    get their faces at the next ingest of their source. Raises BadInput without a purpose.
    """
    if on and not purpose.strip():
        raise BadInput(
            "Face recognition needs a purpose.",
            cure="Say in a sentence what the faces are used for.",
        )
    if retention_days is not None and retention_days < 1:
        raise BadInput("The retention is a number of days, at least 1.")
    event.faces_on = on
    event.faces_purpose = purpose.strip()
    event.faces_policy = policy.strip()
    event.faces_retention_days = retention_days
    event.faces_decided_by = by
    event.faces_decided_at = datetime.now(UTC)
    session.add(event)
    session.flush()
    if not on:
        forget_faces(session, event.id)


def forget_faces(session: Session, event_id: int) -> None:
    """Delete the faces and face vectors of an event."""
    connection = session.connection()
    connection.execute(text("DELETE FROM face WHERE event_id = :event"), {"event": event_id})
    connection.execute(
        text("UPDATE photo SET faces_at = NULL WHERE event_id = :event"), {"event": event_id}
    )
