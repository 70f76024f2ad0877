"""What a rescan finds out beside new photos: which are gone, which moved; and moved sources."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from app.core.errors import BadInput, Conflict
from app.sources.kinds import check_address
from app.storage.tables import OPEN_RUNS, Run, RunKind, Source

SHORTEST_RESCAN = 300
LONGEST_RESCAN = 366 * 86_400
CHANGE_THE_LIST = (
    "The source itself stays where it was, and was not read again: what it lists may still name"
    " the old addresses. Change the list first, then rescan; a scan before that would take the"
    " photos at the new addresses for vanished."
)


def mark_gone(session: Session, source_id: int, seen: Collection[str]) -> int:
    """Note the photos that the source no longer lists; they keep all else until the owner clears
    them. Failures that it no longer lists are settled by that, and go.

    Returns how many are newly gone. Only after the source was read to its end.
    """
    names = {"source": source_id, "keys": list(seen)}
    connection = session.connection()
    connection.execute(
        text(
            "DELETE FROM photo_rendition r USING photo WHERE photo.id = r.photo_id"
            " AND photo.source_id = :source AND NOT EXISTS (SELECT 1"
            "   FROM unnest(CAST(:keys AS text[])) AS seen(key) WHERE seen.key = r.key)"
        ),
        names,
    )
    connection.execute(
        text(
            "DELETE FROM photo WHERE source_id = :source AND indexed_at IS NULL"
            " AND state <> 'working' AND NOT EXISTS (SELECT 1"
            "   FROM unnest(CAST(:keys AS text[])) AS seen(key) WHERE seen.key = source_key)"
        ),
        names,
    )
    return connection.execute(
        text(
            "UPDATE photo SET gone_at = now(), health = 'vanished', health_at = now(),"
            " health_message = 'Its source does not list it any more.'"
            " WHERE source_id = :source AND gone_at IS NULL AND NOT EXISTS (SELECT 1"
            "   FROM unnest(CAST(:keys AS text[])) AS seen(key) WHERE seen.key = source_key)"
            " AND NOT EXISTS (SELECT 1 FROM photo_rendition r WHERE r.photo_id = photo.id)"
        ),
        names,
    ).rowcount


_MOVED = text("""
WITH added AS (
    SELECT photo.id, photo.event_id, sha256,
           row_number() OVER (PARTITION BY photo.event_id, sha256 ORDER BY photo.id) AS n
    FROM photo JOIN run ON run.id = photo.run_id
    WHERE run.id = :run AND photo.state = 'indexed' AND photo.created_at >= run.started_at
), gone AS (
    SELECT photo.id, photo.event_id, photo.sha256,
           row_number() OVER (PARTITION BY photo.event_id, photo.sha256 ORDER BY photo.id) AS n
    FROM photo JOIN added ON added.event_id = photo.event_id AND added.sha256 = photo.sha256
        AND added.n = 1
    WHERE photo.gone_at IS NOT NULL AND photo.indexed_at IS NOT NULL
)
SELECT gone.id AS old, added.id AS new
FROM added JOIN gone ON gone.event_id = added.event_id AND gone.sha256 = added.sha256
    AND gone.n = added.n
""")


def join_moved(session: Session, run_id: int) -> int:
    """Photos of the run with the same bytes as one that is gone are that photo at a new place.

    The old row keeps its id and all that hangs on it, and takes over the new one's address.
    Returns how many.
    """
    connection = session.connection()
    pairs = connection.execute(_MOVED, {"run": run_id}).all()
    for old, new in pairs:
        row = (
            connection.execute(
                text(
                    "DELETE FROM photo WHERE id = :new RETURNING source_id, run_id, source_key, uri,"
                    " title, version, listed_width, listed_height"
                ),
                {"new": new},
            )
            .one()
            ._asdict()
        )
        connection.execute(
            text(
                "UPDATE photo SET source_id = :source_id, run_id = :run_id,"
                " source_key = :source_key, uri = :uri, title = coalesce(:title, title),"
                " version = :version, listed_width = :listed_width, listed_height = :listed_height,"
                " state = 'indexed', reason = NULL, message = NULL, gone_at = NULL, health = NULL,"
                " health_message = NULL, health_at = now() WHERE id = :old"
            ),
            {**row, "old": old},
        )
    return len(pairs)


def gone_since(session: Session, run: Run) -> int:
    """How many photos of the run's source are missing since the run began."""
    count = session.connection().execute(
        text("SELECT count(*) FROM photo WHERE source_id = :source AND gone_at >= :started"),
        {"source": run.source_id, "started": run.started_at},
    )
    return int(count.scalar_one())


def clear_vanished(session: Session, source_id: int) -> tuple[int, list[str]]:
    """Delete the photos of a source that vanished from it, for ever.

    Returns how many, and the thumbnails that no photo shows any more: delete them after the commit.
    """
    connection = session.connection()
    rows = connection.execute(
        text("DELETE FROM photo WHERE source_id = :id AND gone_at IS NOT NULL RETURNING thumb"),
        {"id": source_id},
    ).all()
    thumbs = {row[0] for row in rows if row[0]}
    kept = connection.execute(
        text("SELECT DISTINCT thumb FROM photo WHERE thumb = ANY(:thumbs)"),
        {"thumbs": sorted(thumbs)},
    )
    return len(rows), sorted(thumbs - {row[0] for row in kept})


def schedule(session: Session, source: Source, seconds: int | None) -> None:
    """Rescan a source every so many seconds from now on, or never (None). Raises BadInput."""
    if seconds is not None and not SHORTEST_RESCAN <= seconds <= LONGEST_RESCAN:
        raise BadInput(
            f"A source can't be rescanned every {seconds} seconds.",
            cure=f"Choose {SHORTEST_RESCAN} seconds to a year, or never.",
        )
    session.connection().execute(
        text(
            "UPDATE source SET rescan_seconds = CAST(:seconds AS int),"
            " next_scan_at = now() + make_interval(secs => CAST(:seconds AS int)) WHERE id = :id"
        ),
        {"seconds": seconds, "id": source.id},
    )


def due_sources(session: Session) -> list[int]:
    """Sources whose scheduled rescan is due; their next one is set by this call.

    One whose run a person has paused waits for that person: its turn passes.
    """
    rows = session.connection().execute(
        text(
            "UPDATE source SET next_scan_at = now() + make_interval(secs => rescan_seconds)"
            " WHERE next_scan_at <= now() AND rescan_seconds IS NOT NULL RETURNING id, EXISTS"
            " (SELECT 1 FROM run WHERE run.source_id = source.id AND run.state = 'paused')"
        )
    )
    return sorted(source_id for source_id, paused in rows if not paused)


def repoint(session: Session, source: Source, old: str, new: str) -> int:
    """The photos of a source live elsewhere now: rewrite the base of its addresses.

    Nothing is fetched or embedded again for it; photos that were only unreachable are well again
    until the next rescan says otherwise. Returns how many photos have another address. Raises
    BadInput where nothing starts with the old base, Conflict where a new address is taken.
    """
    old, new = old.strip().rstrip("/"), new.strip().rstrip("/")
    if not old or not new or old == new:
        raise BadInput("Give the old and the new beginning of the addresses, different ones.")
    check_address(new)
    if _reach(old) != _reach(new):
        raise BadInput(
            "The new addresses are of another sort than the old ones.",
            cure="Ingest the new place as a source of its own instead.",
        )
    connection = session.connection()
    address, moved = source.uri, 0
    try:
        with session.begin_nested():
            for before, after in _spellings(old, new):
                names = {"id": source.id, "old": before, "new": after}
                moved += connection.execute(_REPOINT_PHOTOS, names).rowcount
                connection.execute(_REPOINT_RENDITIONS, names)
                connection.execute(
                    text(
                        "UPDATE source SET uri = :new || substr(uri, length(:old) + 1)"
                        " WHERE id = :id AND (uri = :old OR starts_with(uri, :old || '/'))"
                    ),
                    names,
                )
    except IntegrityError as error:
        raise Conflict(
            "A photo or source of this event has one of the new addresses already.",
            cure="Ingest the new place as a source of its own instead.",
        ) from error
    session.refresh(source)
    if not moved and source.uri == address:
        raise BadInput(
            f"No address of this source starts with {old}.",
            cure="Look at a photo's address, and give its beginning.",
        )
    return moved


def leave_unread(session: Session, source: Source) -> None:
    """After its photos were re-pointed and the source itself was not: what it lists names the old
    addresses still, and a scan would take the photos at the new ones for vanished. A scheduled one
    leaves people its whole time to change the list. Raises Conflict where it is being read.
    """
    reading = session.exec(
        select(Run.id).where(
            Run.source_id == source.id,
            Run.kind == RunKind.INGEST,
            col(Run.state).in_(OPEN_RUNS),
            col(Run.discovery_done).is_(False),
        )
    ).first()
    if reading is not None:
        raise Conflict(
            f"The old addresses are being read by run {reading}.",
            cure="Wait until the run has found all photos, or cancel it; then re-point.",
        )
    session.connection().execute(
        text(
            "UPDATE source SET next_scan_at = now() + make_interval(secs => rescan_seconds)"
            " WHERE id = :id AND rescan_seconds IS NOT NULL"
        ),
        {"id": source.id},
    )


_REPOINT_PHOTOS = text("""
UPDATE photo SET uri = :new || substr(uri, length(:old) + 1),
    source_key = CASE WHEN starts_with(source_key, :old || '/')
        THEN :new || substr(source_key, length(:old) + 1) ELSE source_key END,
    state = CASE WHEN state = 'rejected' AND indexed_at IS NOT NULL THEN 'indexed' ELSE state END,
    gone_at = NULL, health = NULL, health_message = NULL
WHERE source_id = :id AND starts_with(uri, :old || '/')
""")
_REPOINT_RENDITIONS = text("""
UPDATE photo_rendition r SET uri = :new || substr(r.uri, length(:old) + 1),
    key = CASE WHEN starts_with(r.key, :old || '/')
        THEN :new || substr(r.key, length(:old) + 1) ELSE r.key END
FROM photo WHERE photo.id = r.photo_id AND photo.source_id = :id
    AND starts_with(r.uri, :old || '/')
""")


def _reach(address: str) -> str:
    """What a kind of source can't change: a web address never becomes a file of the server."""
    scheme, separator, _ = address.partition("://")
    known = {"https": "http", "dav": "http", "davs": "http"}
    return known.get(scheme.lower(), scheme.lower()) if separator else "file"


_AS_IT_IS = "/:%?&=+,;@!$'()*~#[]"


def _spellings(old: str, new: str) -> list[tuple[str, str]]:
    """A folder's photos are file:// addresses, while people write paths; those of a bucket are
    percent-encoded, while people write names as they are."""
    found = [(old, new)]
    if "://" in old and "://" in new:
        encoded = (quote(old, safe=_AS_IT_IS), quote(new, safe=_AS_IT_IS))
        found += [encoded] if encoded != found[0] else []
    if Path(old).is_absolute() and Path(new).is_absolute():
        found.append((Path(old).as_uri(), Path(new).as_uri()))
    return found


def finished_scan(session: Session, run: Run) -> None:
    """The source of the run was read to its end."""
    session.connection().execute(
        text("UPDATE source SET scanned_at = now(), trouble = NULL WHERE id = :id"),
        {"id": run.source_id},
    )


def failed_scan(session: Session, run: Run, message: str) -> None:
    """The source of the run could not be read."""
    session.connection().execute(
        text("UPDATE source SET trouble = :message WHERE id = :id"),
        {"id": run.source_id, "message": message[:1000]},
    )
