"""Edges between the photos of linked events, which their owner wants to find each other."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlmodel import Session

from app.core.vectors import Vectors
from app.graph.knn import Neighbours
from app.storage.copying import read_columns
from app.storage.vectors import event_vectors

NEIGHBOURS_ACROSS = 5
"""Photos of each linked event that one photo is linked to."""


def linked_events(session: Session, event_id: int) -> list[int]:
    """Ids of the events that this one is linked to, ascending."""
    rows = session.connection().execute(
        text("SELECT other_id FROM event_link WHERE event_id = :event ORDER BY other_id"),
        {"event": event_id},
    )
    return [row[0] for row in rows]


def stamps_of(session: Session, event_id: int, model: int) -> tuple[NDArray[np.int64], ...]:
    """Ids (n,) int64, ascending, of the event's photos that have a vector, and when each was made
    (n,) int64: what a graph is built from, without the vectors themselves."""
    found = read_columns(
        session,
        "SELECT p.id, (extract(epoch FROM greatest(p.indexed_at, p.changed_at)) * 1e6)::int8"
        " FROM photo p WHERE p.event_id = %(event)s AND p.indexed_at IS NOT NULL AND EXISTS"
        " (SELECT 1 FROM photo_vector v WHERE v.model = %(model)s AND v.photo_id = p.id)"
        " ORDER BY p.id",
        {"id": "i8", "stamp": "i8"},
        {"event": event_id, "model": model},
    )
    return found["id"], found["stamp"]


def neighbours_across(
    session: Session, vectors: Vectors, others: list[int], model: int
) -> tuple[NDArray[np.int64], Neighbours]:
    """The nearest photos of each other event, exact: their ids, and `rows` (n, k) into these ids.

    -1 where an event has fewer photos than NEIGHBOURS_ACROSS.
    """
    ids: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    rows: list[NDArray[np.int64]] = [np.empty((len(vectors), 0), np.int64)]
    weights: list[NDArray[np.float32]] = [np.empty((len(vectors), 0), np.float32)]
    offset = 0
    for other in others:
        found, theirs = event_vectors(session, other, model)
        k = min(NEIGHBOURS_ACROSS, len(found))
        if not k or not len(vectors):
            continue
        similarity, neighbour = faiss.knn(
            np.ascontiguousarray(vectors, np.float32),
            np.ascontiguousarray(theirs, np.float32),
            k,
            metric=faiss.METRIC_INNER_PRODUCT,
        )
        ids.append(found)
        rows.append(np.where(neighbour >= 0, neighbour + offset, -1))
        weights.append(similarity)
        offset += len(found)
    return np.concatenate(ids), Neighbours(np.hstack(rows), np.hstack(weights))
