"""Face recognition is off per event until its owner turns it on, with a purpose (SECURITY.md 22)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from sqlalchemy import text
from sqlmodel import Session

from app.core.errors import BadInput
from app.ingest.runs import start_stage
from app.storage.tables import Event, RunKind


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
    get their faces at the next ingest of their source. Turning it on again while it is on renews
    the consent: photos whose faces have expired get them again then. Raises BadInput without a
    purpose.
    """
    if on and not purpose.strip():
        raise BadInput(
            "Face recognition needs a purpose.",
            cure="Say in a sentence what the faces are used for.",
        )
    if retention_days is not None and retention_days < 1:
        raise BadInput("The retention is a number of days, at least 1.")
    if on and event.id is not None:
        _forget_expired(session, event.id)
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
    _forget_people(session, {event_id})


def _forget_people(session: Session, event_ids: Collection[int]) -> None:
    """What was laid out by faces goes with them: by the layout stage, which owns it. The sweeper
    sends the run."""
    with_people = session.connection().execute(
        text(
            "SELECT DISTINCT event_id FROM layout WHERE event_id = ANY(:events) AND name = 'people'"
        ),
        {"events": list(event_ids)},
    )
    for (event_id,) in with_people.all():
        start_stage(session, event_id, RunKind.LAYOUT)


_EXPIRED = (
    "SELECT photo.id FROM photo JOIN event ON event.id = photo.event_id"
    " WHERE photo.faces_at < now() - make_interval(days => event.faces_retention_days)"
)


def expire_faces(session: Session) -> int:
    """Delete faces older than their event's retention, with their vectors; returns how many.

    A photo keeps the time at which its faces were looked for, so that no later ingest makes them
    again: that takes a renewed consent (`set_faces`). Events without a retention keep theirs.
    """
    deleted = session.connection().execute(
        text(f"DELETE FROM face WHERE photo_id IN ({_EXPIRED}) RETURNING event_id")  # noqa: S608 - a constant
    )
    events = [row[0] for row in deleted]
    _forget_people(session, set(events))
    return len(events)


def _forget_expired(session: Session, event_id: int) -> None:
    expire_faces(session)
    session.connection().execute(
        text(
            f"UPDATE photo SET faces_at = NULL WHERE event_id = :event AND id IN ({_EXPIRED})"  # noqa: S608 - a constant
        ),
        {"event": event_id},
    )
