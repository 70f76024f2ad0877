"""Stored clusters: those of before go on under their id, number and name; the others come and go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlmodel import Session

from app.graph.clustering import Labels
from app.graph.matching import Matched, free_numbers, inherited_names, match
from app.graph.naming import Suggestion, chosen_words, sentence_case, time_name
from app.storage.copying import copy_columns, read_columns
from app.storage.tables_graph import ClusterLevel


@dataclass(frozen=True)
class Fresh:
    """Clusters of one level, from 0, none of them empty.

    `ids` (n,) int64 ascending; `labels` (n,); `typical` (n,): the greatest is the cover; `taken` (n,)
    seconds, NaN where unknown; `words` by label.
    """

    ids: NDArray[np.int64]
    labels: Labels
    typical: NDArray[np.float32]
    taken: NDArray[np.float64]
    words: list[list[Suggestion]]


@dataclass(frozen=True)
class Placed:
    """`row_ids` (c,) int64 by label; how many of them were `kept`, and `named` by a word."""

    row_ids: NDArray[np.int64]
    kept: int
    named: int


@dataclass(frozen=True)
class _Before:
    """The stored clusters of the level; their photos `ids` (n,) ascending, `labels` (n,) index them."""

    row_ids: list[int]
    numbers: list[int]
    names: list[str]
    words: list[list[str]]
    own_names: list[str | None]
    ids: NDArray[np.int64]
    labels: Labels


def store_level(
    session: Session,
    event_id: int,
    level: ClusterLevel,
    fresh: Fresh,
    parents: NDArray[np.int64] | None,
) -> Placed:
    """Replace an event's clusters of one level. `parents` (c,): the row ids of their chapters."""
    before = _before(session, event_id, level)
    count = len(fresh.words)
    matched = match(
        before.ids,
        before.labels,
        fresh.ids,
        fresh.labels,
        old=len(before.row_ids),
        new=count,
    )
    rows = _rows(fresh, before, matched, level)
    if parents is not None:
        for row, parent in zip(rows, parents, strict=True):
            row["parent"] = int(parent)
    gone = sorted(set(before.row_ids) - {row["id"] for row in rows})
    connection = session.connection()
    here = {"event": event_id, "level": level.value}
    connection.execute(
        text(
            "DELETE FROM cluster_member WHERE level = :level AND photo_id IN"
            " (SELECT id FROM photo WHERE event_id = :event)"
        ),
        here,
    )
    connection.execute(text("DELETE FROM cluster WHERE id = ANY(:ids)"), {"ids": gone})
    for row in rows:
        statement = _INSERT if row["id"] is None else _UPDATE
        row["id"] = connection.execute(statement, row | here).scalar_one()
    row_ids = np.array([row["id"] for row in rows], np.int64)
    copy_columns(
        session,
        "cluster_member",
        {"photo_id": fresh.ids, "level": level.value, "cluster_id": row_ids[fresh.labels]},
    )
    kept = int((matched.old >= 0).sum())
    return Placed(row_ids, kept, sum(1 for row in rows if row["words"]))


_INSERT = text(
    "INSERT INTO cluster (event_id, level, parent_id, number, name, words, own_name, size, cover_id,"
    " first_at, last_at) VALUES (:event, :level, :parent, :number, :name, :words, :own_name, :size,"
    " :cover, to_timestamp(:first) AT TIME ZONE 'UTC', to_timestamp(:last) AT TIME ZONE 'UTC')"
    " RETURNING id"
)
_UPDATE = text(
    "UPDATE cluster SET parent_id = :parent, name = :name, words = :words, own_name = :own_name,"
    " size = :size, cover_id = :cover, first_at = to_timestamp(:first) AT TIME ZONE 'UTC',"
    " last_at = to_timestamp(:last) AT TIME ZONE 'UTC' WHERE id = :id RETURNING id"
)


def _before(session: Session, event_id: int, level: ClusterLevel) -> _Before:
    """Locks the clusters, so that no name is given to one that is being replaced."""
    rows = (
        session.connection()
        .execute(
            text(
                "SELECT id, number, name, words, own_name FROM cluster WHERE event_id = :event"
                " AND level = :level ORDER BY id FOR UPDATE"
            ),
            {"event": event_id, "level": level.value},
        )
        .all()
    )
    members = read_columns(
        session,
        "SELECT m.photo_id, m.cluster_id FROM cluster_member m JOIN cluster c ON c.id = m.cluster_id"
        " WHERE c.event_id = %(event)s AND c.level = %(level)s ORDER BY m.photo_id",
        {"photo_id": "i8", "cluster_id": "i8"},
        {"event": event_id, "level": level.value},
    )
    row_ids = [row[0] for row in rows]
    labels = np.searchsorted(np.array(row_ids, np.int64), members["cluster_id"])
    return _Before(
        row_ids=row_ids,
        numbers=[row[1] for row in rows],
        names=[row[2] for row in rows],
        words=[list(row[3]) for row in rows],
        own_names=[row[4] for row in rows],
        ids=members["photo_id"],
        labels=np.asarray(labels, np.int64),
    )


def _rows(
    fresh: Fresh, before: _Before, matched: Matched, level: ClusterLevel
) -> list[dict[str, Any]]:
    """What is stored of each new cluster; `id` None where it is new."""
    old = [int(i) for i in matched.old]
    own = inherited_names(
        matched, {i: name for i, name in enumerate(before.own_names) if name is not None}
    )
    numbers = _numbers(old, before)
    names = _names(fresh, old, before, set(own.values()))
    rows: list[dict[str, Any]] = []
    for label in range(len(fresh.words)):
        its = np.flatnonzero(fresh.labels == label)
        known = fresh.taken[its][np.isfinite(fresh.taken[its])]
        name = names.get(label)
        rows.append(
            {
                "id": before.row_ids[old[label]] if old[label] >= 0 else None,
                "parent": None,
                "number": numbers[label],
                "name": name.name if name else time_name(fresh.taken[its], fresh.taken) or "",
                "words": name.words if name else [],
                "own_name": own.get(label),
                "size": len(its),
                "cover": int(fresh.ids[its[fresh.typical[its].argmax()]]),
                "first": float(known.min()) if len(known) else None,
                "last": float(known.max()) if len(known) else None,
            }
        )
    return _distinct(rows, level)


def _numbers(old: Sequence[int], before: _Before) -> list[int]:
    """The number of each new cluster: its own of before, or the lowest that is free."""
    kept = {before.numbers[i] for i in old if i >= 0}
    free = iter(free_numbers(kept, sum(1 for i in old if i < 0)))
    return [before.numbers[i] if i >= 0 else next(free) for i in old]


@dataclass(frozen=True, slots=True)
class _Name:
    name: str
    words: list[str]


def _names(fresh: Fresh, old: Sequence[int], before: _Before, own: set[str]) -> dict[int, _Name]:
    """Names by label: those of before that were words, then words that nobody has yet. A cluster
    that was named by time or number may get a word now."""
    names = {
        label: _Name(before.names[i], before.words[i])
        for label, i in enumerate(old)
        if i >= 0 and before.words[i]
    }
    offers = [[] if label in names else words for label, words in enumerate(fresh.words)]
    found = chosen_words(offers, {*(name.name for name in names.values()), *own})
    for label, word in found.items():
        others = [offer.word for offer in offers[label] if offer.word != word]
        names[label] = _Name(sentence_case(word), [word, *others])
    return names


def _distinct(rows: list[dict[str, Any]], level: ClusterLevel) -> list[dict[str, Any]]:
    """A name by number where there is none, or where a time is another's name as well."""
    noun = level.value.capitalize()
    seen = {row["name"] for row in rows if row["words"]}
    for row in rows:
        if row["words"]:
            continue
        if not row["name"] or row["name"] in seen:
            row["name"] = f"{noun} {row['number'] + 1}"
        seen.add(row["name"])
    return rows
