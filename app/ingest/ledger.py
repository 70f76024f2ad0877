"""The ledger of photos: who may work on which photo, and what came of it.

State, lease, attempts and reason live in the photo's row (SECURITY.md 1–3). A claim raises the
lease number and counts the attempt before any work is done; every later write names that number,
so that a worker which lost its lease changes nothing. All functions run inside the caller's
transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import Session

from app.core.errors import ClairError, PhotoRejected, TryAgain
from app.core.photos import BadEntry, Locator

LEASE_SECONDS = 20.0
MAX_DEATHS = 3
RETRY_WAITS = (4.0, 20.0)
"""Seconds before the second and third attempt at a photo whose source failed in passing."""
LONGEST_RETRY_AFTER = 300.0
RATE_LIMITED = "rate-limited"
PATIENT_WAITS = (4.0, 20.0, 60.0, 120.0, *5 * (LONGEST_RETRY_AFTER,))
"""The same for an origin that asks for patience: ten attempts over about half an hour. Most of them
send no request at all, because the fetcher knows how long the host wants to be left alone."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A photo under this worker's lease."""

    photo_id: int
    event_id: int
    run_id: int | None
    lease: int
    attempts: int
    source_kind: str
    source_uri: str
    locator: Locator
    wants_faces: bool
    rate_limited: bool
    """Whether the attempt before this one ended at the origin's rate limit."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What recording a batch of locators did: ids to work on, and how many need nothing."""

    to_do: list[int]
    unchanged: int


_RECORD = text("""
WITH entry AS (
    SELECT * FROM unnest(
        CAST(:keys AS text[]), CAST(:uris AS text[]), CAST(:titles AS text[]),
        CAST(:photographers AS text[]), CAST(:times AS timestamp[]), CAST(:versions AS text[]),
        CAST(:sizes AS bigint[])
    ) AS e(key, uri, title, photographer, listed_at, version, size)
), written AS (
    INSERT INTO photo (event_id, source_id, run_id, source_key, uri, title, photographer,
                       listed_at, version, size, state, nudged_at)
    SELECT :event, :source, :run, key, uri, title, photographer, listed_at, version, size,
           'pending', now()
    FROM entry
    ON CONFLICT (event_id, source_key) DO UPDATE SET
        run_id = excluded.run_id, source_id = excluded.source_id, uri = excluded.uri,
        title = coalesce(excluded.title, photo.title),
        photographer = coalesce(excluded.photographer, photo.photographer),
        listed_at = coalesce(excluded.listed_at, photo.listed_at),
        version = coalesce(excluded.version, photo.version),
        state = CASE WHEN photo.state = 'working' THEN photo.state ELSE 'pending' END,
        attempts = CASE WHEN photo.state = 'working' THEN photo.attempts ELSE 0 END,
        deaths = CASE WHEN photo.state = 'working' THEN photo.deaths ELSE 0 END,
        reason = NULL, message = NULL, retry_at = NULL, nudged_at = now()
    WHERE photo.state <> 'indexed'
       OR (excluded.version IS NOT NULL AND photo.version IS DISTINCT FROM excluded.version)
       OR (:faces_on AND photo.faces_at IS NULL)
       OR NOT EXISTS (SELECT 1 FROM photo_vector v
                      WHERE v.photo_id = photo.id AND v.model = :model)
    RETURNING id, state
)
SELECT id FROM written ORDER BY id
""")


def record_locators(
    session: Session,
    *,
    event_id: int,
    source_id: int,
    run_id: int,
    model: int,
    faces_on: bool,
    locators: Sequence[Locator],
) -> Recorded:
    """Write a batch of discovered photos (distinct keys).

    New photos, changed ones (another `version`), failed ones, and indexed ones that lack this
    model's vector or wanted faces become pending; all others are left as they are.
    """
    if not locators:
        return Recorded([], 0)
    rows = session.connection().execute(
        _RECORD,
        {
            "event": event_id,
            "source": source_id,
            "run": run_id,
            "model": model,
            "faces_on": faces_on,
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
        },
    )
    to_do = [row[0] for row in rows]
    return Recorded(to_do, len(locators) - len(to_do))


def count_of_run(session: Session, run_id: int, locators: Sequence[Locator]) -> int:
    """How many of these photos the run has taken on."""
    count = session.connection().execute(
        text("SELECT count(*) FROM photo WHERE run_id = :run AND source_key = ANY(:keys)"),
        {"run": run_id, "keys": [entry.key for entry in locators]},
    )
    return int(count.scalar_one())


_RECORD_BAD = text("""
INSERT INTO photo (event_id, source_id, run_id, source_key, uri, state, reason, message)
SELECT :event, :source, :run, key, uri, 'rejected', reason, message
FROM unnest(CAST(:keys AS text[]), CAST(:uris AS text[]), CAST(:reasons AS text[]),
            CAST(:messages AS text[])) AS e(key, uri, reason, message)
ON CONFLICT (event_id, source_key) DO UPDATE SET
    run_id = excluded.run_id, state = excluded.state, reason = excluded.reason,
    message = excluded.message
WHERE photo.state <> 'indexed'
""")


def record_bad_entries(
    session: Session, *, event_id: int, source_id: int, run_id: int, entries: Sequence[BadEntry]
) -> None:
    """Keep entries that can't be tried, with their reasons, so that nothing is lost silently."""
    if entries:
        session.connection().execute(
            _RECORD_BAD,
            {
                "event": event_id,
                "source": source_id,
                "run": run_id,
                "keys": [entry.key for entry in entries],
                "uris": [entry.uri for entry in entries],
                "reasons": [entry.reason for entry in entries],
                "messages": [entry.message for entry in entries],
            },
        )


_CLAIM = text("""
UPDATE photo SET state = 'working', lease = photo.lease + 1, attempts = attempts + 1,
       lease_until = now() + make_interval(secs => :seconds), retry_at = NULL
FROM source, event
WHERE photo.id IN (
    SELECT id FROM photo
    WHERE id = ANY(:ids)
      AND (state = 'pending' OR (state = 'retry' AND retry_at <= now()))
    FOR UPDATE SKIP LOCKED
)
AND source.id = photo.source_id AND event.id = photo.event_id
RETURNING photo.id, photo.event_id, photo.run_id, photo.lease, photo.attempts, source.kind,
          source.uri, photo.source_key, photo.uri, photo.title, photo.version,
          event.faces_on AND (photo.faces_at IS NULL OR event.faces_retention_days IS NULL
              OR photo.faces_at >= now() - make_interval(days => event.faces_retention_days)),
          photo.reason
""")


def claim(session: Session, photo_ids: Sequence[int]) -> list[Claim]:
    """Take a lease on those of the photos that are to be worked on now. Commit before working."""
    rows = session.connection().execute(_CLAIM, {"ids": list(photo_ids), "seconds": LEASE_SECONDS})
    return [
        Claim(
            photo_id=row[0],
            event_id=row[1],
            run_id=row[2],
            lease=row[3],
            attempts=row[4],
            source_kind=row[5],
            source_uri=row[6],
            locator=Locator(key=row[7], uri=row[8], title=row[9], version=row[10]),
            wants_faces=row[11],
            rate_limited=row[12] == RATE_LIMITED,
        )
        for row in sorted(rows)
    ]


def renew(session: Session, claims: Sequence[Claim]) -> None:
    """Prolong leases that are still held."""
    session.connection().execute(
        text(
            "UPDATE photo SET lease_until = now() + make_interval(secs => :seconds)"
            " FROM unnest(CAST(:ids AS bigint[]), CAST(:leases AS int[])) AS held(id, lease)"
            " WHERE photo.id = held.id AND photo.lease = held.lease AND state = 'working'"
        ),
        {
            "seconds": LEASE_SECONDS,
            "ids": [claim.photo_id for claim in claims],
            "leases": [claim.lease for claim in claims],
        },
    )


def mark_fetched(session: Session, claims: Sequence[Claim], sizes: Sequence[int]) -> None:
    """Note that these photos' bytes arrived, for honest progress."""
    session.connection().execute(
        text(
            "UPDATE photo SET fetched_at = now(), size = held.size"
            " FROM unnest(CAST(:ids AS bigint[]), CAST(:leases AS int[]), CAST(:sizes AS bigint[]))"
            " AS held(id, lease, size) WHERE photo.id = held.id AND photo.lease = held.lease"
        ),
        {
            "ids": [claim.photo_id for claim in claims],
            "leases": [claim.lease for claim in claims],
            "sizes": list(sizes),
        },
    )


def record_failure(session: Session, claim: Claim, error: ClairError) -> float | None:
    """Write what went wrong. Returns the wait in seconds where it will be tried again, else None.

    An origin's rate limit uses up none of the attempts that other faults have. One that wants to be
    left alone for longer than LONGEST_RETRY_AFTER is not waited for: a person may retry it later.
    """
    wait: float | None = None
    if isinstance(error, TryAgain):
        patient = claim.rate_limited or error.reason == RATE_LIMITED
        waits = PATIENT_WAITS if patient else RETRY_WAITS
        told = error.after or 0.0
        if claim.attempts <= len(waits) and told <= LONGEST_RETRY_AFTER:
            wait = max(waits[claim.attempts - 1], told)
    reason = error.reason if isinstance(error, TryAgain | PhotoRejected) else "internal"
    session.connection().execute(
        text(
            "UPDATE photo SET state = :state, reason = :reason, message = :message,"
            " lease_until = NULL, retry_at = now() + make_interval(secs => CAST(:wait AS float8))"
            " WHERE id = :id AND lease = :lease AND state = 'working'"
        ),
        {
            "state": "rejected" if wait is None else "retry",
            "reason": reason,
            "message": str(error)[:1000],
            "wait": wait,
            "id": claim.photo_id,
            "lease": claim.lease,
        },
    )
    return wait


def release(session: Session, claims: Sequence[Claim]) -> None:
    """Give photos back untouched, their attempt not counted: the fault was not theirs.

    The next sweep sends them again.
    """
    session.connection().execute(
        text(
            "UPDATE photo SET state = 'pending', lease_until = NULL, attempts = attempts - 1,"
            " nudged_at = NULL"
            " FROM unnest(CAST(:ids AS bigint[]), CAST(:leases AS int[])) AS held(id, lease)"
            " WHERE photo.id = held.id AND photo.lease = held.lease AND state = 'working'"
        ),
        {
            "ids": [claim.photo_id for claim in claims],
            "leases": [claim.lease for claim in claims],
        },
    )


@dataclass(frozen=True, slots=True)
class Swept:
    """Photos to nudge again: `due` in chunks, `suspects` (their worker died) one by one."""

    due: list[int]
    suspects: list[int]
    quarantined: int


def sweep(
    session: Session, *, queue_is_idle: bool, queue_is_empty: bool = False, limit: int = 5000
) -> Swept:
    """Bring back photos whose lease ran out, whose retry is due, or whose nudge was lost.

    A lease that ran out means that the worker died or hung: after MAX_DEATHS of them the photo is
    quarantined. Pending photos are nudged again only while the queue is idle (Redis was flushed, or
    the nudge was never sent): otherwise their message is still waiting in it. An empty queue whose
    workers still hold messages counts as idle after a minute, since an acknowledgement can be lost.
    """
    connection = session.connection()
    quarantined = connection.execute(
        text(
            "UPDATE photo SET state = 'rejected', reason = 'killed-worker', lease_until = NULL,"
            " deaths = deaths + 1, message = 'Its worker died ' || deaths + 1 || ' times while"
            " working on it.' WHERE state = 'working' AND lease_until < now()"
            " AND deaths + 1 >= :deaths"
        ),
        {"deaths": MAX_DEATHS},
    ).rowcount
    connection.execute(
        text(
            "UPDATE photo SET state = 'pending', deaths = deaths + 1, lease_until = NULL,"
            " nudged_at = NULL WHERE state = 'working' AND lease_until < now()"
        )
    )
    rows = connection.execute(
        text(
            "UPDATE photo SET nudged_at = now() WHERE id IN ("
            " SELECT id FROM photo WHERE"
            " (state = 'retry' AND retry_at <= now() AND (nudged_at IS NULL OR nudged_at < retry_at))"
            " OR (state = 'pending' AND (nudged_at IS NULL"
            "     OR nudged_at < now() - make_interval(secs => CAST(:patience AS float8))))"
            " ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED) RETURNING id, deaths"
        ),
        {"patience": 5.0 if queue_is_idle else 60.0 if queue_is_empty else None, "limit": limit},
    ).all()
    return Swept(
        due=sorted(row[0] for row in rows if row[1] == 0),
        suspects=sorted(row[0] for row in rows if row[1] > 0),
        quarantined=quarantined,
    )
