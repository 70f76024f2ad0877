"""Groups as the Duplicates page and the API show them: what is left to decide, best frame first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import load_only
from sqlmodel import Session, col, select

from app.core.errors import BadInput, UnknownGroup
from app.storage.cursors import damaged_cursor, read_cursor, write_cursor
from app.storage.gallery import TILE
from app.storage.tables import Photo
from app.storage.tables_graph import Grouping, GroupKind, PhotoGroup, PhotoGroupMember

MOST_MEMBERS = 60
"""Members of one group that a page of groups shows; a group itself shows all."""


@dataclass(frozen=True, slots=True)
class Member:
    """`similarity` is to the group's best frame, `reason` says why it is here and what differs."""

    photo: Photo
    rank: int
    similarity: float
    reason: str

    @property
    def decided(self) -> bool:
        return self.photo.flag != 0 or self.photo.kept_at is not None


@dataclass(frozen=True, slots=True)
class Group:
    """`members`: the best frame first. `undecided`: members of all, shown or not."""

    id: int
    event_id: int
    kind: GroupKind
    size: int
    reason: str
    undecided: int
    members: list[Member]


@dataclass(frozen=True, slots=True)
class GroupSlice:
    groups: list[Group]
    next: str | None


@dataclass(frozen=True, slots=True)
class GroupCount:
    """`open` groups have members without a decision; `photos` are all members."""

    groups: int = 0
    open: int = 0
    photos: int = 0


_UNDECIDED = """
(SELECT count(*) FROM photo_group_member m JOIN photo p ON p.id = m.photo_id
 WHERE m.group_id = g.id AND p.flag = 0 AND p.kept_at IS NULL)
"""


def group_counts(session: Session, event_id: int) -> dict[GroupKind, GroupCount]:
    """For each kind, those without any group too."""
    rows = session.connection().execute(
        text(
            "SELECT kind, count(*), count(*) FILTER (WHERE undecided > 0), sum(size)"  # noqa: S608 - no value is put in
            f" FROM (SELECT g.kind, g.size, {_UNDECIDED} AS undecided FROM photo_group g"
            " WHERE g.event_id = :event) AS g GROUP BY kind"
        ),
        {"event": event_id},
    )
    found = {GroupKind(row[0]): GroupCount(row[1], row[2], int(row[3])) for row in rows}
    return {kind: found.get(kind, GroupCount()) for kind in GroupKind}


def group_slice(
    session: Session,
    event_id: int,
    kind: GroupKind,
    *,
    cursor: str | None = None,
    limit: int = 20,
    open_only: bool = True,
) -> GroupSlice:
    """Groups of one kind, the largest first. Raises BadInput for a cursor that isn't one.

    A cursor names a size and an id: groups that are decided or made meanwhile shift nothing.
    """
    size, after = _read_cursor(cursor) if cursor else (2**31 - 1, 0)
    rows = (
        session.connection()
        .execute(
            text(
                f"SELECT id, size, reason, undecided FROM (SELECT g.*, {_UNDECIDED} AS undecided"  # noqa: S608 - no value is put in
                "  FROM photo_group g WHERE event_id = :event AND kind = :kind"
                "  AND (-size, id) > (-:size, :after)) AS g"
                " WHERE undecided > 0 OR NOT :open ORDER BY size DESC, id LIMIT :limit"
            ),
            {
                "event": event_id,
                "kind": kind.value,
                "size": size,
                "after": after,
                "open": open_only,
                "limit": limit + 1,
            },
        )
        .all()
    )
    shown = rows[:limit]
    members = _members(session, [row.id for row in shown], MOST_MEMBERS)
    groups = [
        Group(row.id, event_id, kind, row.size, row.reason, row.undecided, members[row.id])
        for row in shown
    ]
    more = len(rows) > limit
    return GroupSlice(groups, write_cursor(shown[-1].size, shown[-1].id) if more else None)


def group_of(session: Session, group_id: int) -> Group:
    """One group with all its members. Raises UnknownGroup: regrouping may have ended it."""
    found = session.get(PhotoGroup, group_id)
    if found is None:
        raise UnknownGroup(group_id)
    members = _members(session, [group_id], found.size)[group_id]
    undecided = sum(not member.decided for member in members)
    kind = GroupKind(found.kind)
    return Group(group_id, found.event_id, kind, found.size, found.reason, undecided, members)


def groups_of_photo(session: Session, photo_id: int) -> list[Group]:
    """The groups that a photo is in, the narrowest first."""
    ids = session.exec(
        select(PhotoGroupMember.group_id).where(PhotoGroupMember.photo_id == photo_id)
    ).all()
    order = list(GroupKind)
    return sorted((group_of(session, i) for i in ids), key=lambda group: order.index(group.kind))


def _members(session: Session, group_ids: Sequence[int], most: int) -> dict[int, list[Member]]:
    rows = session.exec(
        select(PhotoGroupMember, Photo)
        .options(
            load_only(
                *TILE,
                Photo.flag,  # type: ignore[arg-type]
                Photo.kept_at,  # type: ignore[arg-type]
                Photo.best_at,  # type: ignore[arg-type]
                Photo.size,  # type: ignore[arg-type]
            )
        )
        .join(Photo, col(Photo.id) == col(PhotoGroupMember.photo_id))
        .where(col(PhotoGroupMember.group_id).in_(group_ids), PhotoGroupMember.rank < most)
        .order_by(col(PhotoGroupMember.group_id), col(PhotoGroupMember.rank), col(Photo.id))
    ).all()
    found: dict[int, list[Member]] = {group_id: [] for group_id in group_ids}
    for member, photo in rows:
        made = Member(photo, member.rank, member.similarity, member.reason)
        found[member.group_id].append(made)
    return found


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """`counts`: for each step of the slider, how many groups and photos of each kind there would
    be; empty until the first grouping."""

    value: int
    counts: dict[str, dict[str, list[int]]]


def sensitivity_of(session: Session, event_id: int) -> Sensitivity:
    found = session.get(Grouping, event_id)
    return Sensitivity(found.sensitivity, found.counts or {}) if found else Sensitivity(50, {})


def set_sensitivity(session: Session, event_id: int, value: int) -> None:
    """Raises BadInput. Takes effect with the next grouping: start one after it."""
    if not 0 <= value <= 100:
        raise BadInput(f"The sensitivity is 0 to 100, not {value}.")
    session.connection().execute(
        text(
            "INSERT INTO grouping (event_id, sensitivity) VALUES (:event, :value)"
            " ON CONFLICT (event_id) DO UPDATE SET sensitivity = excluded.sensitivity"
        ),
        {"event": event_id, "value": value},
    )


def _read_cursor(cursor: str) -> tuple[int, int]:
    size, group_id = read_cursor(cursor, 100)
    if type(size) is not int or type(group_id) is not int:
        raise damaged_cursor()
    if not (0 <= size < 2**31 and 0 <= group_id < 2**63):
        raise damaged_cursor()
    return size, group_id
