"""How well the originals are, by photo and by source: what a person should look after."""

from __future__ import annotations

from itertools import takewhile

from sqlalchemy import text
from sqlmodel import Session, col, select

from app.core.failures import cure_for
from app.core.runs import SourceHealth, Trouble
from app.storage.tables import Source


def source_health(session: Session, event_id: int) -> list[SourceHealth]:
    """An event's sources in the order of their adding, each with what is wrong with its photos."""
    sources = session.exec(
        select(Source).where(Source.event_id == event_id).order_by(col(Source.id))
    ).all()
    counts: dict[int, tuple[int, int, int, str, str]] = {}
    troubles: dict[int, list[Trouble]] = {}
    connection = session.connection()
    for row in connection.execute(
        text(
            "SELECT source_id, count(*), count(*) FILTER (WHERE indexed_at IS NOT NULL),"
            ' count(*) FILTER (WHERE gone_at IS NOT NULL), min(uri COLLATE "C"),'
            ' max(uri COLLATE "C") FROM photo WHERE event_id = :event GROUP BY source_id'
        ),
        {"event": event_id},
    ):
        counts[row[0]] = (row[1], row[2], row[3], row[4], row[5])
    for row in connection.execute(
        text(
            "SELECT source_id, health, count(*), min(uri), min(health_message) FROM photo"
            " WHERE event_id = :event AND health IS NOT NULL AND state <> 'ignored'"
            " GROUP BY source_id, health ORDER BY count(*) DESC, health"
        ),
        {"event": event_id},
    ):
        troubles.setdefault(row[0], []).append(
            Trouble(row[1], row[2], row[3], row[4] or "", cure_for(row[1]))
        )
    none = (0, 0, 0, "", "")
    return [
        SourceHealth(
            id=source.id,
            kind=source.kind,
            uri=source.uri,
            base=_base(source.uri, *counts.get(source.id, none)[3:]),
            options=dict(source.options),
            has_credentials=source.sealed is not None,
            photos=counts.get(source.id, none)[0],
            indexed=counts.get(source.id, none)[1],
            vanished=counts.get(source.id, none)[2],
            troubles=troubles.get(source.id, []),
            trouble=source.trouble,
            scanned_at=source.scanned_at,
            next_scan_at=source.next_scan_at,
            rescan_seconds=source.rescan_seconds,
        )
        for source in sources
    ]


def _base(uri: str, first: str, last: str) -> str:
    """What the addresses of a source begin with; `first` and `last` are those in order of bytes.

    The source's own address where its photos lie below it, or where they share none.
    """
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    shared = "".join(letter for letter, _ in alike).rpartition("/")[0]
    below = f"{shared}/".startswith(f"{uri.rstrip('/')}/")
    server, _, path = shared.partition("://")
    return uri if below or not (server and path) or server == "file" else shared


def note_health(session: Session, photo_id: int, reason: str | None, message: str = "") -> None:
    """What opening a photo's original just showed; None where it is well.

    A photo that its source no longer lists stays vanished.
    """
    session.connection().execute(
        text(
            "UPDATE photo SET health = CAST(:reason AS text), health_at = now(),"
            " health_message = nullif(:message, '')"
            " WHERE id = :id AND gone_at IS NULL AND health IS DISTINCT FROM CAST(:reason AS text)"
        ),
        {"id": photo_id, "reason": reason, "message": message[:1000]},
    )
