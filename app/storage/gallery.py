"""What pages show of events and photos: counts, covers, and the gallery in pages.

The gallery's order is capture time (photos without one last), then id. A cursor names the last
photo seen by exactly these two, so photos that arrive meanwhile never shift a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Text, TextClause, cast, text
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import defer, load_only
from sqlmodel import Session, col, func, select

from app.core.errors import UnknownEvent, UnknownPhoto
from app.core.photos import OPEN_STATES, PhotoState
from app.storage.cursors import damaged_cursor, read_cursor, write_cursor
from app.storage.tables import (
    OPEN_RUNS,
    Event,
    Face,
    Photo,
    PhotoRendition,
    Run,
    RunKind,
    RunState,
    Source,
)
from app.storage.tables_graph import ClusterMember, GroupKind

TILE: Any = (
    Photo.event_id,
    Photo.uri,
    Photo.title,
    Photo.width,
    Photo.height,
    Photo.taken_at,
    Photo.thumb,
)
"""What a tile shows; a page of a thousand photos is twice as fast without the rest."""


@dataclass(frozen=True, slots=True)
class EventCounts:
    """`waiting` photos are found and not yet indexed for the first time."""

    photos: int = 0
    failed: int = 0
    waiting: int = 0
    faces: int = 0
    run_state: str | None = None

    @property
    def state(self) -> str:
        """empty | ingesting | paused | ready | trouble."""
        if self.run_state in (RunState.PENDING, RunState.WORKING):
            return "ingesting"
        if self.run_state == RunState.PAUSED:
            return "paused"
        if self.run_state == RunState.FAILED or (self.failed and not self.photos):
            return "trouble"
        return "ready" if self.photos else "empty"

    @property
    def progress(self) -> float | None:
        """Share of the found photos that are finished, 0 to 1; None unless ingesting."""
        if self.state != "ingesting":
            return None
        found = self.photos + self.failed + self.waiting
        return (self.photos + self.failed) / found if found else 0.0


@dataclass(frozen=True, slots=True)
class PhotoSlice:
    """Some photos in gallery order and the cursor of the rest, None at the end."""

    photos: list[Photo]
    next: str | None


def event_by_slug(session: Session, slug: str) -> Event:
    """The event of exactly this slug, which is what addresses carry. Raises UnknownEvent."""
    event = session.exec(select(Event).where(Event.slug == slug)).first()
    if event is None:
        raise UnknownEvent(slug)
    return event


def slug_of(session: Session, event_id: int) -> str:
    """What an event's addresses carry."""
    return session.exec(select(Event.slug).where(Event.id == event_id)).one()


def event_counts(session: Session, event_ids: Sequence[int]) -> dict[int, EventCounts]:
    """Counts and the latest ingest's state for each of the events."""
    ids = list(event_ids)
    photos = session.exec(
        select(
            Photo.event_id,
            func.count().filter(col(Photo.indexed_at).is_not(None)),
            func.count().filter(col(Photo.state) == PhotoState.REJECTED.value),
            func.count().filter(col(Photo.state).in_(OPEN_STATES), col(Photo.indexed_at).is_(None)),
        )
        .where(col(Photo.event_id).in_(ids))
        .group_by(col(Photo.event_id))
    ).all()
    faces = dict(
        session.exec(
            select(Face.event_id, func.count())
            .where(col(Face.event_id).in_(ids))
            .group_by(col(Face.event_id))
        ).all()
    )
    states = dict(
        session.exec(
            select(Run.event_id, Run.state)
            .ext(distinct_on(col(Run.event_id)))
            .where(col(Run.event_id).in_(ids), Run.kind == RunKind.INGEST)
            .order_by(
                col(Run.event_id),
                col(Run.state).in_(OPEN_RUNS).desc(),
                col(Run.id).desc(),
            )
        ).all()
    )
    by_event = {row[0]: row[1:] for row in photos}
    found = {}
    for event_id in ids:
        indexed, failed, waiting = by_event.get(event_id, (0, 0, 0))
        found[event_id] = EventCounts(
            photos=indexed,
            failed=failed,
            waiting=waiting,
            faces=faces.get(event_id, 0),
            run_state=states.get(event_id),
        )
    return found


def covers(session: Session, event_ids: Sequence[int], each: int = 4) -> dict[int, list[Photo]]:
    """Up to `each` photos for each event's card: the middles of as many equal parts of its order.

    Neighbours are often frames of one burst; the parts show what the event holds.
    """
    rows = session.connection().execute(
        text(_SPREAD_PHOTOS), {"events": list(event_ids), "each": each}
    )
    ids = [row[0] for row in rows]
    photos = session.exec(
        select(Photo)
        .options(load_only(*TILE))
        .where(col(Photo.id).in_(ids))
        .order_by(col(Photo.taken_key), col(Photo.id))
    )
    found: dict[int, list[Photo]] = {event_id: [] for event_id in event_ids}
    for photo in photos:
        found[photo.event_id].append(photo)
    return found


# Counted and walked in the gallery's partial index alone: no row of photo is read for it.
_SPREAD_PHOTOS = """
    SELECT chosen.id FROM unnest(CAST(:events AS bigint[])) AS event (id)
    CROSS JOIN LATERAL (
        SELECT count(*) AS photos, least(count(*), CAST(:each AS bigint)) AS parts
        FROM photo WHERE event_id = event.id AND indexed_at IS NOT NULL
    ) AS size
    CROSS JOIN LATERAL generate_series(0, size.parts - 1) AS part
    CROSS JOIN LATERAL (
        SELECT id FROM photo WHERE event_id = event.id AND indexed_at IS NOT NULL
        ORDER BY taken_key, id OFFSET (2 * part + 1) * size.photos / (2 * size.parts) LIMIT 1
    ) AS chosen
"""


def photo_slice(
    session: Session,
    event_id: int,
    cursor: str | None,
    limit: int,
    *,
    cluster_id: int | None = None,
    fold: GroupKind | None = None,
) -> PhotoSlice:
    """The next `limit` photos after the cursor, of the event or of one of its clusters.

    `fold`: of each group of this kind, or of a narrower one, only the best frame. Raises BadInput
    for a cursor that isn't one.
    """
    query = (
        select(Photo, cast(col(Photo.taken_key), Text))
        .options(load_only(*TILE))
        .where(Photo.event_id == event_id, col(Photo.indexed_at).is_not(None))
        .order_by(col(Photo.taken_key), col(Photo.id))
        .limit(limit + 1)
    )
    if cluster_id is not None:
        query = query.where(_of_cluster(cluster_id))
    if fold is not None:
        query = query.where(_leads(fold))
    if cursor:
        key, photo_id = _read_cursor(cursor)
        query = query.where(
            text("(photo.taken_key, photo.id) > (CAST(:key AS timestamp), :id)").bindparams(
                key=key, id=photo_id
            )
        )
    rows = session.exec(query).all()
    photos = [row[0] for row in rows[:limit]]
    last = rows[limit - 1] if len(rows) > limit else None
    return PhotoSlice(photos, write_cursor(last[1], last[0].id) if last else None)


def photo_count(
    session: Session,
    event_id: int,
    *,
    cluster_id: int | None = None,
    fold: GroupKind | None = None,
) -> int:
    """How many photos `photo_slice` gives in all."""
    query = (
        select(func.count())
        .select_from(Photo)
        .where(Photo.event_id == event_id, col(Photo.indexed_at).is_not(None))
    )
    if cluster_id is not None:
        query = query.where(_of_cluster(cluster_id))
    if fold is not None:
        query = query.where(_leads(fold))
    return session.exec(query).one()


@dataclass(frozen=True, slots=True)
class Stack:
    """The group that a best frame stands for."""

    group_id: int
    kind: str
    size: int


def stacks(session: Session, photo_ids: Sequence[int], fold: GroupKind) -> dict[int, Stack]:
    """For photos that lead a folded group: the widest one, by the photo's id."""
    rows = session.connection().execute(
        text(
            "SELECT DISTINCT ON (m.photo_id) m.photo_id, g.id, g.kind, g.size"
            " FROM photo_group_member m JOIN photo_group g ON g.id = m.group_id"
            " WHERE m.photo_id = ANY(:ids) AND m.kind = ANY(:kinds)"
            " ORDER BY m.photo_id, array_position(CAST(:kinds AS text[]), m.kind) DESC"
        ),
        {"ids": list(photo_ids), "kinds": _up_to(fold)},
    )
    return {row[0]: Stack(row[1], row[2], row[3]) for row in rows}


def _up_to(fold: GroupKind) -> list[str]:
    """From the narrowest kind to this one; groups of one lie wholly in groups of the next."""
    kinds = [kind.value for kind in GroupKind]
    return kinds[: kinds.index(fold) + 1]


def _leads(fold: GroupKind) -> TextClause:
    """The photo is in no group, or the first that is there of the widest that it is in."""
    return text(
        "NOT coalesce((SELECT EXISTS (SELECT 1 FROM photo_group_member AS better"
        "   WHERE better.group_id = m.group_id AND better.rank < m.rank)"
        " FROM photo_group_member AS m WHERE m.photo_id = photo.id AND m.kind = ANY(:kinds)"
        " ORDER BY array_position(CAST(:kinds AS text[]), m.kind) DESC LIMIT 1), false)"
    ).bindparams(kinds=_up_to(fold))


def _of_cluster(cluster_id: int) -> ColumnElement[bool]:
    return col(Photo.id).in_(
        select(ClusterMember.photo_id).where(ClusterMember.cluster_id == cluster_id)
    )


def indexed_photo(session: Session, photo_id: int) -> tuple[Photo, Event, Source]:
    """An indexed photo with its event and source. Raises UnknownPhoto."""
    row = session.exec(
        select(Photo, Event, Source)
        .options(defer(Photo.taken_key))  # type: ignore[arg-type]
        .join(Event, col(Event.id) == col(Photo.event_id))
        .join(Source, col(Source.id) == col(Photo.source_id))
        .where(Photo.id == photo_id, col(Photo.indexed_at).is_not(None))
    ).first()
    if row is None:
        raise UnknownPhoto(photo_id)
    return row


def photos_with_slugs(session: Session, photo_ids: Sequence[int]) -> dict[int, tuple[Photo, str]]:
    """Indexed photos by id, each with its event's slug; others are left out."""
    rows = session.exec(
        select(Photo, Event.slug)
        .options(load_only(*TILE))
        .join(Event, col(Event.id) == col(Photo.event_id))
        .where(col(Photo.id).in_(photo_ids), col(Photo.indexed_at).is_not(None))
    ).all()
    return {photo.id: (photo, slug) for photo, slug in rows}


def thumb_of(session: Session, photo_id: int) -> str:
    """Content hash of a photo's thumbnail. Raises UnknownPhoto."""
    thumb = session.exec(
        select(Photo.thumb).where(Photo.id == photo_id, col(Photo.indexed_at).is_not(None))
    ).first()
    if thumb is None:
        raise UnknownPhoto(photo_id)
    return thumb


def neighbours(session: Session, photo: Photo) -> tuple[int | None, int | None]:
    """Ids of the photos before and after this one in the gallery."""
    here = {"event": photo.event_id, "id": photo.id}
    connection = session.connection()
    return (
        connection.execute(text(_BEFORE), here).scalar(),
        connection.execute(text(_AFTER), here).scalar(),
    )


_BEFORE = """
    SELECT id FROM photo WHERE event_id = :event AND indexed_at IS NOT NULL
    AND (taken_key, id) < (SELECT taken_key, id FROM photo WHERE id = :id)
    ORDER BY taken_key DESC, id DESC LIMIT 1
"""
_AFTER = """
    SELECT id FROM photo WHERE event_id = :event AND indexed_at IS NOT NULL
    AND (taken_key, id) > (SELECT taken_key, id FROM photo WHERE id = :id)
    ORDER BY taken_key, id LIMIT 1
"""


def photo_faces(session: Session, photo_id: int) -> list[Face]:
    """Faces found in a photo, the largest first."""
    faces = session.exec(select(Face).where(Face.photo_id == photo_id).order_by(col(Face.id)))
    return sorted(faces, key=lambda f: (f.box_left - f.box_right) * (f.box_bottom - f.box_top))


def photo_renditions(session: Session, photo_id: int) -> list[PhotoRendition]:
    """The other files of a photo's picture, in the order of their names."""
    return list(
        session.exec(
            select(PhotoRendition)
            .where(PhotoRendition.photo_id == photo_id)
            .order_by(col(PhotoRendition.uri))
        )
    )


def _read_cursor(cursor: str) -> tuple[str, int]:
    key, photo_id = read_cursor(cursor, 200)
    try:
        known = key == "infinity" or datetime.fromisoformat(key)
    except (ValueError, TypeError) as error:
        raise damaged_cursor() from error
    if not known or type(photo_id) is not int or not 0 < photo_id < 2**63:
        raise damaged_cursor()
    return key, photo_id
