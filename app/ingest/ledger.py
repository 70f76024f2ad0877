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
from sqlmodel import Session, col, select

from app.core.errors import ClairError, PhotoRejected, TryAgain
from app.core.photos import Locator
from app.storage.tables import Source

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
    source: Source
    locator: Locator
    wants_faces: bool
    rate_limited: bool
    """Whether the attempt before this one ended at the origin's rate limit."""
    held_version: str | None
    held_sha256: bytes | None
    """Version and content that are indexed already, where nothing else is asked of the photo: an
    original which is still the same needs no work."""


_CLAIM = text("""
UPDATE photo SET state = 'working', lease = photo.lease + 1, attempts = attempts + 1,
       lease_until = now() + make_interval(secs => :seconds), retry_at = NULL
FROM event
WHERE photo.id IN (
    SELECT id FROM photo
    WHERE id = ANY(:ids)
      AND (state = 'pending' OR (state = 'retry' AND retry_at <= now()))
    FOR UPDATE SKIP LOCKED
)
AND event.id = photo.event_id
RETURNING photo.id, photo.event_id, photo.run_id, photo.lease, photo.attempts, photo.source_id,
          photo.source_key, photo.uri, photo.title, photo.version, photo.listed_width,
          photo.listed_height, photo.reason, photo.sha256,
          event.faces_on AND (photo.faces_at IS NULL OR event.faces_retention_days IS NULL
              OR photo.faces_at >= now() - make_interval(days => event.faces_retention_days))
              AS wanted,
          photo.indexed_at IS NOT NULL AND (NOT event.faces_on OR photo.faces_at IS NOT NULL)
          AND EXISTS (SELECT 1 FROM photo_vector v
                      WHERE v.photo_id = photo.id AND v.model = :model) AS complete
""")


def claim(session: Session, photo_ids: Sequence[int], model: int | None = None) -> list[Claim]:
    """Take a lease on those of the photos that are to be worked on now. Commit before working.

    `model` is the image model's partition: by it a photo is known to be indexed already.
    """
    rows = (
        session.connection()
        .execute(_CLAIM, {"ids": list(photo_ids), "seconds": LEASE_SECONDS, "model": model or 0})
        .all()
    )
    found = session.exec(select(Source).where(col(Source.id).in_({row.source_id for row in rows})))
    sources = {source.id: source for source in found}
    return [
        Claim(
            photo_id=row.id,
            event_id=row.event_id,
            run_id=row.run_id,
            lease=row.lease,
            attempts=row.attempts,
            source=sources[row.source_id],
            locator=Locator(
                key=row.source_key,
                uri=row.uri,
                title=row.title,
                version=row.version,
                width=row.listed_width,
                height=row.listed_height,
            ),
            wants_faces=row.wanted,
            rate_limited=row.reason == RATE_LIMITED,
            held_version=row.version if row.complete else None,
            held_sha256=bytes(row.sha256) if row.complete and row.sha256 else None,
        )
        for row in sorted(rows, key=lambda row: row.id)
    ]


_DUE = "(state = 'pending' OR (state = 'retry' AND retry_at <= now()))"

_RUNS_IN_TURN = text(f"""
SELECT run.id FROM run
WHERE run.kind = 'ingest' AND run.state IN ('working', 'failed')
  AND EXISTS (SELECT 1 FROM photo WHERE run_id = run.id AND {_DUE})
ORDER BY (SELECT (count(*) + :limit - 1) / :limit FROM photo JOIN run AS other
          ON other.id = photo.run_id WHERE other.event_id = run.event_id
            AND other.state IN ('working', 'failed') AND photo.state = 'working'),
         (SELECT max(served_at) FROM run AS other
          WHERE other.event_id = run.event_id AND other.state IN ('working', 'failed')) NULLS FIRST,
         run.served_at NULLS FIRST, run.id
""")  # noqa: S608 - the fragment is ours

_NEXT_OF_RUN = text(f"""
SELECT id FROM photo WHERE run_id = :run AND deaths = 0 AND {_DUE}
ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
""")  # noqa: S608 - the fragment is ours

_NEXT_SUSPECT = text(f"""
SELECT id FROM photo WHERE run_id = :run AND deaths > 0 AND {_DUE}
  AND NOT EXISTS (SELECT 1 FROM photo AS other WHERE other.state = 'working' AND other.deaths > 0
                    AND other.lease_until > now())
ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
""")  # noqa: S608 - the fragment is ours


def claim_next(session: Session, limit: int, model: int | None = None) -> list[Claim]:
    """Take a lease on up to `limit` photos of the run whose turn it is. Commit before working.

    It is the turn of the event that has the fewest chunks in work, so that one whose origin stalls
    can't hold every worker, and among equals of the one that was served longest ago; runs within an
    event likewise. A small event that starts behind a big one waits for a chunk, not for the queue.
    A photo whose worker died is taken alone, and only while no other of that sort is worked on, so
    that just the guilty one is charged with the next death. Runs that are paused or cancelled have
    no turn.
    """
    connection = session.connection()
    for (run_id,) in connection.execute(_RUNS_IN_TURN, {"limit": limit}).all():
        for query in (_NEXT_SUSPECT, _NEXT_OF_RUN):
            rows = connection.execute(query, {"run": run_id, "limit": limit}).all()
            if claims := claim(session, [row[0] for row in rows], model):
                connection.execute(
                    text("UPDATE run SET served_at = clock_timestamp() WHERE id = :id"),
                    {"id": run_id},
                )
                return claims
    return []


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
            " lease_until = NULL, retry_at = now() + make_interval(secs => CAST(:wait AS float8)),"
            " health = CASE WHEN :final THEN :reason ELSE health END,"
            " health_message = CASE WHEN :final THEN :message ELSE health_message END,"
            " health_at = CASE WHEN :final THEN now() ELSE health_at END"
            " WHERE id = :id AND lease = :lease AND state = 'working'"
        ),
        {
            "state": "rejected" if wait is None else "retry",
            "final": wait is None,
            "reason": reason,
            "message": str(error)[:1000],
            "wait": wait,
            "id": claim.photo_id,
            "lease": claim.lease,
        },
    )
    return wait


def mark_unchanged(session: Session, claim: Claim, version: str | None) -> None:
    """The original is what it was: back to indexed, and well. `version` where it has a new one."""
    session.connection().execute(
        text(
            "UPDATE photo SET state = 'indexed', lease_until = NULL, reason = NULL, message = NULL,"
            " gone_at = NULL, health = NULL, health_message = NULL, health_at = now(),"
            " version = coalesce(:version, version)"
            " WHERE id = :id AND lease = :lease AND state = 'working'"
        ),
        {"version": version, "id": claim.photo_id, "lease": claim.lease},
    )


def release(session: Session, claims: Sequence[Claim]) -> None:
    """Give photos back untouched, their attempt not counted: the fault was not theirs.

    The next sweep sends them again.
    """
    session.connection().execute(
        text(
            "UPDATE photo SET state = 'pending', lease_until = NULL, attempts = attempts - 1"
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
    """`due`: photos that could be worked on now. `suspects`: those that just lost their worker."""

    due: int
    suspects: int
    quarantined: int


def sweep(session: Session, *, most: int = 4096) -> Swept:
    """Bring back photos whose lease ran out, and count what is due, up to `most`.

    A lease that ran out means that the worker died or hung: after MAX_DEATHS of them the photo is
    quarantined.
    """
    connection = session.connection()
    quarantined = connection.execute(
        text(
            "UPDATE photo SET state = 'rejected', reason = 'killed-worker', lease_until = NULL,"
            " health = 'killed-worker', health_at = now(), deaths = deaths + 1,"
            " message = 'Its worker died ' || deaths + 1 || ' times while working on it.'"
            " WHERE state = 'working' AND lease_until < now() AND deaths + 1 >= :deaths"
        ),
        {"deaths": MAX_DEATHS},
    ).rowcount
    suspects = connection.execute(
        text(
            "UPDATE photo SET state = 'pending', deaths = deaths + 1, lease_until = NULL"
            " WHERE state = 'working' AND lease_until < now()"
        )
    ).rowcount
    due = connection.execute(
        text(
            "SELECT count(*) FROM (SELECT 1 FROM photo JOIN run ON run.id = photo.run_id"
            " WHERE (photo.state = 'pending' OR (photo.state = 'retry' AND retry_at <= now()))"
            " AND run.state IN ('working', 'failed') LIMIT :most) AS found"
        ),
        {"most": most},
    ).scalar_one()
    return Swept(due, suspects, quarantined)
