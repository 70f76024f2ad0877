"""Groups as they are shown and stored: ranked, in words, and under the ids that they had."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlmodel import Session

from app.graph.best import Measures, Ranked, copy_words, frame_words, rank_copies, rank_frames
from app.graph.grouping import Groups
from app.storage.copying import copy_rows
from app.storage.tables_graph import GroupKind

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Group:
    """A group of one kind: its members, the best first, each with its cosine similarity to the best
    and its reason; `reason` says why the best is the best."""

    kind: GroupKind
    members: tuple[int, ...]
    similarities: tuple[float, ...]
    reasons: tuple[str, ...]
    reason: str


def described(
    groups: Groups,
    measures: Measures,
    content: Index,
    mirrored: Callable[[int, int], bool],
    similarity: Callable[[Index, Index], NDArray[np.float32]],
) -> list[Group]:
    """All groups by photos' indices, widest kind last.

    The best of a wider group is the best of the bests inside it, so that a photo that is best in the
    whole is best in each part. `mirrored` and `similarity` tell it of two photos, by index.
    """
    made: list[Group] = []
    copies = _ranked(groups.exact, np.arange(len(groups.exact)), {}, measures)
    bursts = _ranked(groups.burst, groups.exact, copies, measures)
    alike = _ranked(groups.lookalike, groups.burst, bursts, measures)
    for kind, ranked, inner in (
        (GroupKind.EXACT, copies, {}),
        (GroupKind.BURST, bursts, copies),
        (GroupKind.LOOKALIKE, alike, bursts),
    ):
        # What is nothing but one group of a narrower kind is not told twice.
        told = {id(each) for each in inner.values()}
        several = [e for e in ranked.values() if len(e.members) > 1 and id(e) not in told]
        flat = np.array([photo for each in several for photo in each.members], np.int64)
        best = np.repeat([each.members[0] for each in several], [len(e.members) for e in several])
        values = similarity(flat, best.astype(np.int64))
        start = 0
        for each in several:
            end = start + len(each.members)
            words = _words(each, groups, measures, content, mirrored)
            nearness = tuple(float(value) for value in values[start:end])
            made.append(Group(kind, each.members, nearness, words, each.reason))
            start = end
    return made


def _ranked(
    whole: Index, part: Index, inner: dict[int, Ranked], measures: Measures
) -> dict[int, Ranked]:
    """For each centre of a wider grouping its photos in order: part by part, the best part first.

    `inner` holds the parts that are already ranked, by their centres; a part without an entry is one
    photo.
    """
    parts: dict[int, list[int]] = {}
    for centre in np.unique(part).tolist():
        parts.setdefault(int(whole[centre]), []).append(centre)
    found: dict[int, Ranked] = {}
    for centre, inside in parts.items():
        ranked = [inner.get(each) or Ranked((each,), "") for each in inside]
        if len(ranked) == 1:
            found[centre] = ranked[0]
            continue
        bests = {each.members[0]: each for each in ranked}
        outer = (rank_frames if inner else rank_copies)(measures, list(bests))
        order = tuple(photo for best in outer.members for photo in bests[best].members)
        found[centre] = Ranked(order, outer.reason)
    return found


def _words(
    ranked: Ranked,
    groups: Groups,
    measures: Measures,
    content: Index,
    mirrored: Callable[[int, int], bool],
) -> tuple[str, ...]:
    best = ranked.members[0]
    words = [ranked.reason]
    for photo in ranked.members[1:]:
        if groups.exact[photo] == groups.exact[best]:
            identical = bool(content[photo] == content[best])
            words.append(copy_words(measures, photo, best, identical=identical))
        else:
            in_time = bool(groups.burst[photo] == groups.burst[best])
            turned = mirrored(photo, best)
            words.append(frame_words(measures, photo, best, in_time=in_time, mirrored=turned))
    return tuple(words)


def store_groups(
    session: Session, event_id: int, ids: Index, groups: Sequence[Group], alive: Index
) -> int:
    """Replace an event's groups; one that kept most of its members keeps its id. Returns how many.

    `ids` (n,) are the photos behind the groups' indices; those that are not `alive` are left out.
    """
    connection = session.connection()
    there = np.isin(ids, alive)
    kept = [each for each in (_alive(group, there) for group in groups) if each is not None]
    old = connection.execute(
        text(
            "DELETE FROM photo_group_member AS m USING photo_group AS g"
            " WHERE g.id = m.group_id AND g.event_id = :event RETURNING g.id, m.photo_id, m.kind"
        ),
        {"event": event_id},
    ).all()
    known = _matched([(row[0], row[1], row[2]) for row in old], ids, kept)
    connection.execute(
        text("DELETE FROM photo_group WHERE event_id = :event AND id <> ALL(:kept)"),
        {"event": event_id, "kept": [number for number in known if number is not None]},
    )
    fresh = connection.execute(
        text(
            "SELECT nextval(pg_get_serial_sequence('photo_group', 'id'))"
            " FROM generate_series(1, :n)"
        ),
        {"n": known.count(None)},
    ).scalars()
    numbered = [(next(fresh) if n is None else n, g) for n, g in zip(known, kept, strict=True)]
    changed = [
        {"id": n, "best": int(ids[g.members[0]]), "size": len(g.members), "reason": g.reason}
        for n, g in numbered
    ]
    updates = [row for row, number in zip(changed, known, strict=True) if number is not None]
    if updates:
        connection.execute(
            text(
                "UPDATE photo_group SET best_id = :best, size = :size, reason = :reason"
                " WHERE id = :id"
            ),
            updates,
        )
    copy_rows(
        session,
        "photo_group",
        ("id", "event_id", "kind", "best_id", "size", "reason"),
        ("int8", "int8", "text", "int8", "int4", "text"),
        (
            (row["id"], event_id, group.kind.value, row["best"], row["size"], row["reason"])
            for row, (_, group), number in zip(changed, numbered, known, strict=True)
            if number is None
        ),
    )
    copy_rows(
        session,
        "photo_group_member",
        ("group_id", "photo_id", "kind", "rank", "similarity", "reason"),
        ("int8", "int8", "text", "int4", "float4", "text"),
        _member_rows(ids, numbered),
    )
    return len(numbered)


def _member_rows(
    ids: Index, numbered: Iterable[tuple[int, Group]]
) -> Iterable[tuple[int, int, str, int, float, str]]:
    for number, group in numbered:
        rows = zip(group.members, group.similarities, group.reasons, strict=True)
        for rank, (photo, similarity, reason) in enumerate(rows):
            yield number, int(ids[photo]), group.kind.value, rank, similarity, reason


def _alive(group: Group, there: NDArray[np.bool_]) -> Group | None:
    rows = [row for row, photo in enumerate(group.members) if there[photo]]
    if len(rows) == len(group.members):
        return group
    if len(rows) < 2:
        return None
    return Group(
        group.kind,
        tuple(group.members[row] for row in rows),
        tuple(group.similarities[row] for row in rows),
        tuple(group.reasons[row] for row in rows),
        group.reason,
    )


def _matched(
    old: Sequence[tuple[int, int, str]], ids: Index, groups: Sequence[Group]
) -> list[int | None]:
    """For each group the id of the old one whose members it has most of, each id once."""
    owner = {(kind, photo): number for number, photo, kind in old}
    sizes = Counter(number for number, _, _ in old)
    shared: Counter[tuple[int, int]] = Counter()
    for row, group in enumerate(groups):
        for photo in group.members:
            number = owner.get((group.kind.value, int(ids[photo])))
            if number is not None:
                shared[number, row] += 1
    found: list[int | None] = [None] * len(groups)
    taken: set[int] = set()
    for (number, row), count in sorted(shared.items(), key=lambda each: (-each[1], each[0])):
        if found[row] is None and number not in taken and 2 * count > sizes[number]:
            found[row] = number
            taken.add(number)
    return found
