"""Stored edges: written in bulk, only where they changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlmodel import Session

from app.graph.knn import Neighbours
from app.storage.copying import copy_columns, read_columns
from app.storage.tables_graph import EdgeKind


def alive_photos(session: Session, *event_ids: int) -> NDArray[np.int64]:
    """Ids of the events' photos, ascending; none of them is deleted before the transaction ends."""
    events = list(event_ids)
    session.connection().execute(
        text(
            "SELECT count(*) FROM (SELECT 1 FROM photo WHERE event_id = ANY(:events)"
            " ORDER BY id FOR KEY SHARE) AS p"
        ),
        {"events": events},
    )
    found = read_columns(
        session,
        "SELECT id FROM photo WHERE event_id = ANY(%(events)s) ORDER BY id",
        {"id": "i8"},
        {"events": events},
    )
    return found["id"]


@dataclass(frozen=True)
class Edges:
    """The neighbours of photos `ids` (n,) among photos `targets` (m,), to which their rows point.

    `model`: the partition of the vectors they were found by.
    """

    kind: EdgeKind
    model: int
    ids: NDArray[np.int64]
    targets: NDArray[np.int64]
    neighbours: Neighbours


def replace_edges(
    session: Session,
    event_id: int,
    edges: Edges,
    *,
    alive: NDArray[np.int64],
    changed: NDArray[np.bool_] | None = None,
) -> int:
    """Store an event's edges of one kind: of all photos, or of the `changed` ones where the others
    are stored as they are. Edges to photos that are not `alive` are left out. Returns how many
    photos' edges were written."""
    ids, kind = edges.ids, edges.kind
    connection = session.connection()
    names = {"event": event_id, "kind": kind.value}
    if changed is None:
        connection.execute(text("DELETE FROM edge WHERE event_id = :event AND kind = :kind"), names)
        changed = np.ones(len(ids), np.bool_)
    else:
        connection.execute(
            text("DELETE FROM edge WHERE event_id = :event AND kind = :kind AND src = ANY(:ids)"),
            {**names, "ids": ids[changed].tolist()},
        )
    rows, weights = edges.neighbours.rows[changed], edges.neighbours.weights[changed]
    src = np.repeat(ids[changed], rows.shape[1])
    there = rows.ravel() >= 0
    dst = edges.targets[rows.ravel()] if len(edges.targets) else np.zeros(len(src), np.int64)
    kept = there & np.isin(src, alive) & np.isin(dst, alive)
    copy_columns(
        session,
        "edge",
        {
            "event_id": event_id,
            "kind": kind.value,
            "src": src[kept],
            "dst": dst[kept],
            "model": np.full(int(kept.sum()), edges.model, np.int16),
            "weight": weights.ravel()[kept],
        },
    )
    return int(changed.sum())
