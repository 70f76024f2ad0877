"""Writing down what a source holds: new photos, changed ones, renditions, and bad entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import Session

from app.core.photos import BadEntry, Locator
from app.ingest.pairing import Found


@dataclass(frozen=True, slots=True)
class Recorded:
    """What recording a batch did: ids to work on, and how many photos need nothing."""

    to_do: list[int]
    unchanged: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """On whose behalf photos are recorded. `model` is the partition of the image model in use.

    `revalidates`: the source can't tell what changed, so indexed photos are asked for again on
    condition.
    """

    event_id: int
    source_id: int
    run_id: int
    model: int
    faces_on: bool
    revalidates: bool = False


_RECORD = text("""
WITH entry AS (
    SELECT * FROM unnest(
        CAST(:keys AS text[]), CAST(:uris AS text[]), CAST(:titles AS text[]),
        CAST(:photographers AS text[]), CAST(:times AS timestamp[]), CAST(:versions AS text[]),
        CAST(:sizes AS bigint[]), CAST(:widths AS int[]), CAST(:heights AS int[])
    ) AS e(key, uri, title, photographer, listed_at, version, size, width, height)
), written AS (
    INSERT INTO photo (event_id, source_id, run_id, source_key, uri, title, photographer,
                       listed_at, version, size, listed_width, listed_height, state)
    SELECT :event, :source, :run, key, uri, title, photographer, listed_at, version, size,
           width, height, 'pending'
    FROM entry
    ON CONFLICT (event_id, source_key) DO UPDATE SET
        run_id = excluded.run_id, source_id = excluded.source_id, uri = excluded.uri,
        title = coalesce(excluded.title, photo.title),
        photographer = coalesce(excluded.photographer, photo.photographer),
        listed_at = coalesce(excluded.listed_at, photo.listed_at),
        listed_width = coalesce(excluded.listed_width, photo.listed_width),
        listed_height = coalesce(excluded.listed_height, photo.listed_height),
        -- That of an indexed photo is what its vector was made from: the new one comes with it.
        version = CASE WHEN photo.indexed_at IS NULL
            THEN coalesce(excluded.version, photo.version) ELSE photo.version END,
        state = CASE WHEN photo.state = 'working' THEN photo.state ELSE 'pending' END,
        attempts = CASE WHEN photo.state = 'working' THEN photo.attempts ELSE 0 END,
        deaths = CASE WHEN photo.state = 'working' THEN photo.deaths ELSE 0 END,
        reason = NULL, message = NULL, retry_at = NULL, gone_at = NULL
    WHERE photo.state NOT IN ('indexed', 'ignored')
       OR photo.state = 'ignored' AND excluded.version IS NOT NULL
          AND photo.version IS DISTINCT FROM excluded.version
       OR photo.state = 'indexed' AND (
          (excluded.version IS NOT NULL AND photo.version IS DISTINCT FROM excluded.version)
          OR (:revalidates AND excluded.version IS NULL AND photo.version IS NOT NULL
              AND photo.run_id IS DISTINCT FROM :run)
          OR (:faces_on AND photo.faces_at IS NULL)
          OR NOT EXISTS (SELECT 1 FROM photo_vector v
                         WHERE v.photo_id = photo.id AND v.model = :model))
    RETURNING id
)
SELECT id FROM written ORDER BY id
""")


_BACK = text("""
UPDATE photo SET gone_at = NULL,
    health = CASE WHEN health = 'vanished' THEN NULL ELSE health END,
    health_message = CASE WHEN health = 'vanished' THEN NULL ELSE health_message END
WHERE event_id = :event AND source_key = ANY(:keys)
  AND (gone_at IS NOT NULL OR health = 'vanished')
""")


def record_locators(session: Session, scan: Scan, locators: Sequence[Locator]) -> Recorded:
    """Write a batch of discovered photos (distinct keys).

    New photos, changed ones (another `version`), failed ones, and indexed ones that lack this
    model's vector or wanted faces become pending; all others are left as they are. Where the source
    revalidates, indexed photos become pending too if their origin gave them a version to ask with:
    those without could only be downloaded again.
    """
    if not locators:
        return Recorded([], 0)
    rows = session.connection().execute(
        _RECORD,
        {
            "event": scan.event_id,
            "source": scan.source_id,
            "run": scan.run_id,
            "model": scan.model,
            "faces_on": scan.faces_on,
            "revalidates": scan.revalidates,
            "keys": [entry.key for entry in locators],
            "uris": [entry.uri for entry in locators],
            "titles": [entry.title for entry in locators],
            "photographers": [entry.photographer for entry in locators],
            "times": [
                entry.taken_at.replace(tzinfo=None) if entry.taken_at else None
                for entry in locators
            ],
            "versions": [entry.version for entry in locators],
            "sizes": [entry.size for entry in locators],
            "widths": [entry.width for entry in locators],
            "heights": [entry.height for entry in locators],
        },
    )
    to_do = [row[0] for row in rows]
    # Listed again: whatever else is wrong with them, they have not vanished.
    session.connection().execute(_BACK, {"event": scan.event_id, "keys": [e.key for e in locators]})
    return Recorded(to_do, len(locators) - len(to_do))


def record_found(session: Session, scan: Scan, found: Sequence[Found]) -> Recorded:
    """Write a batch of photos with their renditions.

    The file that a photo was first indexed from stays its main one, so that a RAW which gets its
    JPEG later, or a JPEG which gets its RAW, is one photo and keeps its id.
    """
    photos, renditions = _known(session, scan.event_id, found)
    mains: list[Locator] = []
    others: list[tuple[str, Locator]] = []
    for each in found:
        owned = [entry for entry in each.entries if entry.key in photos]
        main = owned[0] if owned else each.entries[0]
        owners = {renditions[e.key] for e in each.entries if e.key in renditions} - set(photos)
        if not owned and owners:
            # Its main file is not listed any more: this one takes its place.
            _promote(session, scan.event_id, owners.pop(), main)
        mains.append(main)
        others += [(main.key, entry) for entry in each.entries if entry.key != main.key]
    recorded = record_locators(session, scan, mains)
    _record_renditions(session, scan.event_id, others)
    return recorded


def _known(
    session: Session, event_id: int, found: Sequence[Found]
) -> tuple[set[str], dict[str, str]]:
    """Which keys are photos already, and for keys that are renditions their photo's key."""
    keys = [entry.key for each in found for entry in each.entries]
    connection = session.connection()
    photos = connection.execute(
        text("SELECT source_key FROM photo WHERE event_id = :event AND source_key = ANY(:keys)"),
        {"event": event_id, "keys": keys},
    )
    renditions = connection.execute(
        text(
            "SELECT r.key, p.source_key FROM photo_rendition r JOIN photo p ON p.id = r.photo_id"
            " WHERE r.event_id = :event AND r.key = ANY(:keys)"
        ),
        {"event": event_id, "keys": keys},
    )
    return {row[0] for row in photos}, {row[0]: row[1] for row in renditions}


def _promote(session: Session, event_id: int, photo_key: str, entry: Locator) -> None:
    connection = session.connection()
    names = {"event": event_id, "key": entry.key, "old": photo_key, "uri": entry.uri}
    connection.execute(
        text("DELETE FROM photo_rendition WHERE event_id = :event AND key = :key"), names
    )
    connection.execute(
        text(
            "UPDATE photo SET source_key = :key, uri = :uri, version = NULL, gone_at = NULL"
            " WHERE event_id = :event AND source_key = :old"
        ),
        names,
    )


def _record_renditions(
    session: Session, event_id: int, others: Sequence[tuple[str, Locator]]
) -> None:
    if not others:
        return
    session.connection().execute(
        text("""
            INSERT INTO photo_rendition (photo_id, event_id, key, uri, version, size)
            SELECT photo.id, :event, e.key, e.uri, e.version, e.size
            FROM unnest(CAST(:mains AS text[]), CAST(:keys AS text[]), CAST(:uris AS text[]),
                        CAST(:versions AS text[]), CAST(:sizes AS bigint[]))
                AS e(main, key, uri, version, size)
            JOIN photo ON photo.event_id = :event AND photo.source_key = e.main
            WHERE NOT EXISTS (SELECT 1 FROM photo other
                              WHERE other.event_id = :event AND other.source_key = e.key)
            ON CONFLICT (event_id, key) DO UPDATE SET photo_id = excluded.photo_id,
                uri = excluded.uri, version = excluded.version, size = excluded.size
        """),
        {
            "event": event_id,
            "mains": [main for main, _ in others],
            "keys": [entry.key for _, entry in others],
            "uris": [entry.uri for _, entry in others],
            "versions": [entry.version for _, entry in others],
            "sizes": [entry.size for _, entry in others],
        },
    )


def count_of_run(session: Session, run_id: int, found: Sequence[Found]) -> int:
    """How many of these photos the run has taken on."""
    count = session.connection().execute(
        text("SELECT count(*) FROM photo WHERE run_id = :run AND source_key = ANY(:keys)"),
        {"run": run_id, "keys": [entry.key for each in found for entry in each.entries]},
    )
    return int(count.scalar_one())


_RECORD_BAD = text("""
INSERT INTO photo (event_id, source_id, run_id, source_key, uri, state, reason, message,
                   health, health_message, health_at)
SELECT :event, :source, :run, key, uri, 'rejected', reason, message, reason, message, now()
FROM unnest(CAST(:keys AS text[]), CAST(:uris AS text[]), CAST(:reasons AS text[]),
            CAST(:messages AS text[])) AS e(key, uri, reason, message)
ON CONFLICT (event_id, source_key) DO UPDATE SET
    run_id = excluded.run_id, state = excluded.state, reason = excluded.reason,
    message = excluded.message, health = excluded.health,
    health_message = excluded.health_message, health_at = excluded.health_at
WHERE photo.state NOT IN ('indexed', 'ignored')
""")


def record_bad_entries(session: Session, scan: Scan, entries: Sequence[BadEntry]) -> None:
    """Keep entries that can't be tried, with their reasons, so that nothing is lost silently."""
    if entries:
        session.connection().execute(
            _RECORD_BAD,
            {
                "event": scan.event_id,
                "source": scan.source_id,
                "run": scan.run_id,
                "keys": [entry.key for entry in entries],
                "uris": [entry.uri for entry in entries],
                "reasons": [entry.reason for entry in entries],
                "messages": [entry.message for entry in entries],
            },
        )
