"""The owner's decisions: an append-only log, added up in the photo's own columns.

A *batch* is what a person did in one go (reject 37 photos), and is undone as one. Undo takes back a
person's newest batch that stands; redo restores what they took back last. Whoever decides anew has nothing
left to redo: batches and undoings are numbered by one sequence, and a new batch comes after both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import text
from sqlmodel import Session

from app.core.errors import BadInput, UnknownPhoto

MOST_PHOTOS = 100_000
"""Of one batch."""


class Field(StrEnum):
    """What is decided about a photo.

    `flag`: 1 pick, -1 reject, 0 neither. `kept`: 1 where it stays whatever resembles it. `best`: 1
    where it is the best frame of whatever group it is in; of several in one group the newest.
    """

    FLAG = "flag"
    KEPT = "kept"
    BEST = "best"


_VALUES = {Field.FLAG: (-1, 0, 1), Field.KEPT: (0, 1), Field.BEST: (0, 1)}


@dataclass(frozen=True, slots=True)
class Change:
    """A batch that was recorded, undone or redone, and its photos, ascending."""

    batch: int
    photo_ids: tuple[int, ...]


def decide(
    session: Session,
    event_id: int,
    decisions: Sequence[tuple[Field, int, Sequence[int]]],
    *,
    by: str,
) -> Change:
    """Record (field, value, photo ids) of one event as one batch.

    Raises BadInput for a value that the field doesn't have, UnknownPhoto for one of another event.
    """
    ids = sorted({photo_id for _, _, photos in decisions for photo_id in photos})
    if not ids:
        raise BadInput("Choose at least one photo.")
    if len(ids) > MOST_PHOTOS:
        raise BadInput(f"At most {MOST_PHOTOS:,} photos can be decided in one go.")
    for field, value, _ in decisions:
        if value not in _VALUES[field]:
            raise BadInput(f"“{field}” can't be {value}.")
    connection = session.connection()
    # Locked in the order of ids, so that two who decide at once wait rather than deadlock.
    locked = connection.execute(
        text(
            "SELECT id FROM photo WHERE event_id = :event AND id = ANY(:ids) ORDER BY id"
            " FOR NO KEY UPDATE"
        ),
        {"event": event_id, "ids": ids},
    )
    missing = set(ids) - {row[0] for row in locked}
    if missing:
        raise UnknownPhoto(min(missing))
    batch = int(connection.execute(text("SELECT nextval('decision_batch')")).scalar_one())
    for field, value, photos in decisions:
        connection.execute(
            text(
                "INSERT INTO decision (batch, event_id, photo_id, field, value, actor)"
                " SELECT :batch, :event, id, :field, :value, :by"
                " FROM unnest(CAST(:ids AS bigint[])) AS chosen (id)"
            ),
            {
                "batch": batch,
                "event": event_id,
                "field": field,
                "value": value,
                "by": by,
                "ids": sorted(set(photos)),
            },
        )
    _add_up(session, ids)
    return Change(batch, tuple(ids))


def undo(session: Session, event_id: int, *, by: str, batch: int | None = None) -> Change | None:
    """Take back this batch of the person, or the newest that stands; None where there is none."""
    return _turn(session, _NEWEST_STANDING, event_id, by, batch, "nextval('decision_batch')")


def redo(session: Session, event_id: int, *, by: str) -> Change | None:
    """Restore what the person undid last; None where there is nothing."""
    return _turn(session, _LAST_UNDONE, event_id, by, None, "CAST(NULL AS bigint)")


_NEWEST_STANDING = """
SELECT batch FROM decision WHERE event_id = :event AND actor = :by AND undone IS NULL
    AND (CAST(:batch AS bigint) IS NULL OR batch = :batch) ORDER BY batch DESC LIMIT 1
"""
_LAST_UNDONE = """
SELECT batch FROM decision WHERE event_id = :event AND actor = :by
    AND CAST(:batch AS bigint) IS NULL AND undone > (SELECT max(batch) FROM decision
        WHERE event_id = :event AND actor = :by)
    ORDER BY undone DESC LIMIT 1
"""


def _turn(
    session: Session, which: str, event_id: int, by: str, batch: int | None, undone: str
) -> Change | None:
    connection = session.connection()
    # One at a time: two presses of a key at once must not turn the same batch twice.
    connection.execute(
        text("SELECT 1 FROM event WHERE id = :event FOR NO KEY UPDATE"), {"event": event_id}
    )
    found = connection.execute(text(which), {"event": event_id, "by": by, "batch": batch}).first()
    if found is None:
        return None
    rows = connection.execute(
        text(
            f"UPDATE decision SET undone = (SELECT {undone}) WHERE batch = :batch"  # noqa: S608 - one of two words of ours
            " RETURNING photo_id"
        ),
        {"batch": found[0]},
    )
    ids = sorted({row[0] for row in rows})
    _add_up(session, ids)
    return Change(int(found[0]), tuple(ids))


def _add_up(session: Session, photo_ids: Sequence[int]) -> None:
    """Set the photos' columns to what their newest standing decisions say."""
    session.connection().execute(
        text(
            "UPDATE photo SET flag = coalesce(sum.flag, 0), kept_at = sum.kept_at,"
            " best_at = sum.best_at FROM ("
            " SELECT chosen.id,"
            "  max(value) FILTER (WHERE field = 'flag') AS flag,"
            "  max(created_at) FILTER (WHERE field = 'kept' AND value = 1) AS kept_at,"
            "  max(created_at) FILTER (WHERE field = 'best' AND value = 1) AS best_at"
            " FROM unnest(CAST(:ids AS bigint[])) AS chosen (id)"
            " LEFT JOIN LATERAL (SELECT DISTINCT ON (field) field, value, created_at FROM decision"
            "   WHERE photo_id = chosen.id AND undone IS NULL ORDER BY field, id DESC) AS newest"
            "  ON true GROUP BY chosen.id) AS sum WHERE photo.id = sum.id"
        ),
        {"ids": list(photo_ids)},
    )
