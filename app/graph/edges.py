"""Stored edges: written in bulk, only where they changed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlmodel import Session

from app.graph.knn import Neighbours
from app.storage.copying import copy_columns, read_columns
from app.storage.tables_graph import EdgeKind


def alive_photos(session: Session, event_id: int) -> NDArray[np.int64]:
    """Ids of an event's photos, ascending; none of them is deleted before the transaction ends."""
    session.connection().execute(
        text(
            "SELECT count(*) FROM (SELECT 1 FROM photo WHERE event_id = :event FOR KEY SHARE) AS p"
        ),
        {"event": event_id},
    )
    found = read_columns(
        session,
        "SELECT id FROM photo WHERE event_id = %(event)s ORDER BY id",
        {"id": "i8"},
        {"event": event_id},
    )
    return found["id"]


def replace_edges(
    session: Session,
    event_id: int,
    kind: EdgeKind,
    model: int,
    ids: NDArray[np.int64],
    neighbours: Neighbours,
    *,
    alive: NDArray[np.int64],
    changed: NDArray[np.bool_] | None,
) -> int:
    """Store the neighbours of photos `ids`: of all, or of the `changed` rows where the others are
    stored as they are. Edges to photos that are not `alive` are left out. Returns the rows written."""
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
    rows, weights = neighbours.rows[changed], neighbours.weights[changed]
    src = np.repeat(ids[changed], rows.shape[1])
    there = rows.ravel() >= 0
    dst = ids[rows.ravel()] if len(ids) else src
    kept = there & np.isin(src, alive) & np.isin(dst, alive)
    copy_columns(
        session,
        "edge",
        {
            "event_id": event_id,
            "kind": kind.value,
            "src": src[kept],
            "dst": dst[kept],
            "model": np.full(int(kept.sum()), model, np.int16),
            "weight": weights.ravel()[kept],
        },
    )
    return int(changed.sum())
